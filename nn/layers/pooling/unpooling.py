"""The inverse of max pooling: each value goes back to the position of the maximum."""

from __future__ import annotations

import math
from typing import ClassVar

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError, shape_check
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import batch_of, drop_added_batch
from tapegrad.nn.layers.pooling.fixed import SpatialMaxPooling, VolumetricMaxPooling, _MaxPooling
from tapegrad.nn.module import Module

__all__ = ["SpatialMaxUnpooling", "VolumetricMaxUnpooling"]


class SpatialMaxUnpooling(Module):
    """Zeros, with each entry of x at the position where the pooling found that window's maximum.

    poolingModule: a SpatialMaxPooling whose stride is its kernel, and whose last output had the
                   shape of x
    x: (C, H', W') or (N, C, H', W') -> (N,) C, H, W, the sides of the pooling's input.
    Raises ValueError for another pooling, ShapeError before the pooling has run, for another shape
    of x, and for a position outside the output.  Source: nn.SpatialMaxUnpooling.
    """

    keeps = ("pooling",)
    promotes = True
    undoes: ClassVar[type[_MaxPooling]] = SpatialMaxPooling

    def __init__(self, poolingModule: _MaxPooling) -> None:
        wanted = self.undoes.__name__
        if type(poolingModule) is not self.undoes:
            raise ValueError(
                f"{type(self).__name__} undoes a {wanted}, not a {type(poolingModule).__name__}"
            )
        if poolingModule.along("k") != poolingModule.along("d"):
            raise ValueError(
                f"{type(self).__name__}: the pooling's stride {poolingModule.lengths_text('d')} "
                f"must be its kernel {poolingModule.lengths_text('k')}, so that its windows do "
                "not overlap"
            )
        self.pooling = poolingModule
        poolingModule.remember_picks()

    def updateOutput(self, x: Tensor) -> Tensor:
        axes = self.undoes.axes
        batch = batch_of(x, axes)
        if self.pooling.picks is None:
            raise ShapeError("nothing was pooled yet: run the pooling module before this one")
        indices, sides = self.pooling.picks
        shape_check(
            tuple(indices.shape) == tuple(batch.shape),
            f"the input of shape {x.shape} does not belong to what was pooled: "
            f"the picks have shape {tuple(indices.shape)}",
        )
        positions = ops.check_positions(indices, shape=tuple(batch.shape), size=math.prod(sides))
        planes = batch.shape[:2]
        y = ops.max_unpool2d(
            batch.reshape((*planes, 1, math.prod(batch.shape[2:]))),
            positions.reshape((*planes, 1, math.prod(batch.shape[2:]))),
            (*planes, 1, math.prod(sides)),
        )
        return drop_added_batch(y.reshape((*planes, *sides)), x, axes)

    def __repr__(self) -> str:
        return f"{torch7_name(self)} associated to {self.pooling!r}"


class VolumetricMaxUnpooling(SpatialMaxUnpooling):
    """SpatialMaxUnpooling for films: undoes a VolumetricMaxPooling whose stride is its kernel.

    x: (C, T', H', W') or (N, C, T', H', W') -> (N,) C, T, H, W.  Source: nn.VolumetricMaxUnpooling.
    """

    undoes = VolumetricMaxPooling
