"""The inverse of max pooling: each value goes back to the place that the pooling layer picked."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from tapegrad.autograd import ops
from tapegrad.nn.core.errors import ShapeError, shape_check
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import batch_of, like_given
from tapegrad.nn.layers.pooling.fixed import SpatialMaxPooling, VolumetricMaxPooling, _MaxPooling
from tapegrad.nn.module import Module

__all__ = ["SpatialMaxUnpooling", "VolumetricMaxUnpooling"]


class SpatialMaxUnpooling(Module):
    """Zeros, with each entry of x where the pooling found the maximum of that window.

    poolingModule: a SpatialMaxPooling whose stride is its kernel; it must have run before, on an
                   input whose pooled shape x has
    x: (C, H', W') or (N, C, H', W') -> (N,) C, H, W, the sides of what was pooled.
    Raises ValueError for another pooling, ShapeError when x and the picks of the pooling do not
    belong together, or a pick lies outside the output.  Source: nn.SpatialMaxUnpooling.
    """

    keeps = ("pooling",)
    undoes: ClassVar[type[_MaxPooling]] = SpatialMaxPooling

    def __init__(self, poolingModule: Any) -> None:
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

    def updateOutput(self, x: Any) -> Any:
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
        places = ops.check_positions(indices, shape=tuple(batch.shape), size=math.prod(sides))
        planes = batch.shape[:2]
        y = ops.max_unpool2d(
            batch.reshape((*planes, 1, math.prod(batch.shape[2:]))),
            places.reshape((*planes, 1, math.prod(batch.shape[2:]))),
            (*planes, 1, math.prod(sides)),
        )
        return like_given(y.reshape((*planes, *sides)), x, axes)

    def __repr__(self) -> str:
        return f"{torch7_name(self)} associated to {self.pooling!r}"


class VolumetricMaxUnpooling(SpatialMaxUnpooling):
    """SpatialMaxUnpooling for films: undoes a VolumetricMaxPooling whose stride is its kernel.

    x: (C, T', H', W') or (N, C, T', H', W') -> (N,) C, T, H, W.  Source: nn.VolumetricMaxUnpooling.
    """

    undoes = VolumetricMaxPooling
