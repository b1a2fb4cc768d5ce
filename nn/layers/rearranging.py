"""Layers of BigDL that reverse, repeat, expand and reshape arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import ClassVar

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.axes import axis_of
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.module import Module

__all__ = ["ExpandSize", "InferReshape", "Reverse", "Tile"]


class ExpandSize(Module):
    """y = x repeated along its axes of length 1, to the lengths `targetSizes`; -1 keeps a length.

    x: as many axes as targetSizes -> targetSizes, without a copy.
    Raises ShapeError for other lengths.  Source: BigDL's ExpandSize.
    """

    keeps = ("targetSizes",)

    def __init__(self, targetSizes: Iterable[int]) -> None:
        self.targetSizes = tuple(int(length) for length in targetSizes)

    def updateOutput(self, x: Tensor) -> Tensor:
        wanted = self.targetSizes
        if x.ndim != len(wanted) or any(
            a not in (1, b) and b != -1 for a, b in zip(x.shape, wanted, strict=True)
        ):
            raise ShapeError(f"the input of shape {x.shape} does not expand to {wanted}")
        pairs = zip(x.shape, wanted, strict=True)
        return ops.broadcast_to(x, tuple(a if b == -1 else b for a, b in pairs))


class InferReshape(Module):
    """y = the entries of x, row by row, in the shape `size`: 0 keeps a length, -1 is what remains.

    x: any shape -> size; with batchMode the first axis stays and `size` is that of a sample.
    Raises ValueError for more than one -1, ShapeError when the entries do not fit.
    Source: BigDL's InferReshape.
    """

    keeps = ("size", "batchMode")

    def __init__(self, size: Iterable[int], batchMode: bool = False) -> None:
        self.size = tuple(int(length) for length in size)
        self.batchMode = bool(batchMode)
        if min(self.size, default=0) < -1 or self.size.count(-1) > 1:
            raise ValueError(f"InferReshape takes lengths and at most one -1, got {self.size}")

    def updateOutput(self, x: Tensor) -> Tensor:
        first = x.shape[:1] if self.batchMode else ()
        kept = x.shape[len(first) :]
        if any(n == 0 and i >= len(kept) for i, n in enumerate(self.size)):
            raise ShapeError(f"the input of shape {x.shape} has too few axes for {self.size}")
        lengths = [kept[i] if n == 0 else n for i, n in enumerate(self.size)]
        entries, known = math.prod(kept), math.prod(n for n in lengths if n != -1)
        if -1 in lengths and known and entries % known == 0:
            lengths[lengths.index(-1)] = entries // known
        if math.prod(lengths) != entries or -1 in lengths:
            raise ShapeError(f"the input of shape {x.shape} does not fit in {self.size}")
        return x.reshape((*first, *lengths))


class Reverse(Module):
    """y = x in the opposite order along `dimension`: any shape -> the same.

    inplace: accepted and kept; the caller's arrays are never overwritten.
    Raises ShapeError when there is no such axis.  Source: BigDL's Reverse.
    """

    keeps = ("dimension", "inplace")
    counts: ClassVar[Mapping[str, str]] = {"dimension": "dimension"}

    def __init__(self, dimension: int = 0, inplace: bool = False) -> None:
        self.dimension = dimension
        self.inplace = bool(inplace)

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.flip(x, axis=axis_of(self.dimension, x.ndim))


class Tile(Module):
    """y = `copies` copies of x, one after the other along the axis `dim`.

    Raises ValueError for less than one copy, ShapeError when there is no such axis.
    Source: BigDL's Tile.
    """

    keeps = ("dim", "copies")
    counts: ClassVar[Mapping[str, str]] = {"dim": "dimension"}

    def __init__(self, dim: int = 0, copies: int = 2) -> None:
        if copies < 1:
            raise ValueError(f"Tile: copies is {copies}, it must be at least 1")
        self.dim = dim
        self.copies = copies

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.concatenate([x] * self.copies, axis=axis_of(self.dim, x.ndim))
