"""Layers that take a part of their input: Select, Narrow, Index, MaskedSelect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad.autograd import Tensor, ops, primitive
from tapegrad.autograd.ops.batch_rules import leading_axes_rule
from tapegrad.nn.core.axes import axis_of, position_of
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace, Nest

__all__ = ["Index", "MaskedSelect", "Masking", "Narrow", "Select"]

NO_INTEGER = "an index is {index}: indices are integers (np.rint rounds, astype(int) cuts off)"
NO_ROW = (
    "the input holds the index {index}, and the table has {length} rows: indices are integers from "
    "0 to {last}"
)
NO_INDICES = "indices are {dtype}, they must be integers (np.flatnonzero has those of a mask)"


class Select(Module):
    """y = the slice of x at `index` along `dimension`, which is dropped: Select(-1, 0) of (…, n).

    Negative dimensions and indices count from the end.  Raises ShapeError when there is no such
    axis or entry.  Source: nn.Select.
    """

    keeps = ("dimension", "index")
    counts: ClassVar[Mapping[str, str]] = {"dimension": "dimension", "index": "index"}

    def __init__(self, dimension: int, index: int) -> None:
        self.dimension = dimension
        self.index = index

    def updateOutput(self, x: Tensor) -> Tensor:
        axis = axis_of(self.dimension, x.ndim)
        position_of(self.index, x.shape[axis], f"axis {axis} of {x.shape}")
        return x[(slice(None),) * axis + (self.index,)]


class Narrow(Module):
    """y = the `length` entries of x along `dimension` from `offset` on.

    A negative length counts from the end: -1 takes all entries that follow, -2 all but the last.
    A negative offset of any value takes all entries but the last `length`.  Raises ShapeError when
    there are not so many entries.  Source: nn.Narrow.
    """

    keeps = ("dimension", "index", "length")
    counts: ClassVar[Mapping[str, str]] = {
        "dimension": "dimension", "offset": "index", "index": "index"
    }  # fmt: skip

    def __init__(self, dimension: int, offset: int, length: int = 1) -> None:
        self.dimension = dimension
        self.index = offset  # Torch7's field has another name than its argument
        self.length = length

    def updateOutput(self, x: Tensor) -> Tensor:
        axis = axis_of(self.dimension, x.ndim)
        size = x.shape[axis]
        start, length = self.index, self.length
        if start < 0:
            start, length = 0, size - length
        elif length < 0:
            length = size - start + length + 1
        if length < 0 or start + length > size:
            raise ShapeError(
                f"axis {axis} of {x.shape} does not hold {length} entries from {start} on"
            )
        return x[(slice(None),) * axis + (slice(start, start + length),)]


class Index(Module):
    """[x, indices] -> the slices of x at integer `indices` along `dimension`, in their order.

    indices: (n,).  Where an index repeats, the gradients of the repetitions are added up; the
    indices have no gradient.  Raises ShapeError when one is not in 0 … length - 1.  Source:
    nn.Index.
    """

    keeps = ("dimension",)
    counts: ClassVar[Mapping[str, Any]] = {
        "dimension": "dimension", "input": (None, "index")
    }  # fmt: skip

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def updateOutput(self, x: Nest) -> Tensor:
        values, indices = entries_of(x, 2)
        axis = axis_of(self.dimension, values.ndim)
        return ops.take(values, to_indices(indices, values.shape[axis]), axis=axis)


class MaskedSelect(Module):
    """[x, mask] -> the entries of x where the mask is not 0, in row order, along one axis.

    mask: booleans or integers of x's shape; it has no gradient.  Raises ShapeError when the shapes
    differ.  Source: nn.MaskedSelect.
    """

    def updateOutput(self, x: Nest) -> Tensor:
        values, mask = entries_of(x, 2)
        if values.shape != mask.shape:
            raise ShapeError(f"the input is {values.shape}, its mask {mask.shape}")
        return values[mask.detach() != 0]


class Masking(Module):
    """y = x, with zeros for the steps of a sample whose features all equal `maskValue`.

    x: (N, T, …) -> the same shape.  Raises ShapeError for less than two axes.
    Source: BigDL's Masking.
    """

    keeps = ("maskValue",)
    promotes = True

    def __init__(self, maskValue: float = 0) -> None:
        self.maskValue = maskValue

    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim < 2:
            raise ShapeError(f"the input of shape {x.shape} is not (N, T, …)")
        others = ops.not_equal(x.detach(), self.maskValue)
        steps = ops.any(others, axis=tuple(range(2, x.ndim)), keepdims=True)
        return ops.where(steps, x, 0)


def _extremes(xp: Namespace, indices: Array) -> tuple[int, int]:
    """The smallest and the largest; a GPU is waited for once."""
    low, high = xp.min(indices), xp.max(indices)
    if xp is not np:
        low, high = xp.stack((low, high)).tolist()
    return int(low), int(high)


@primitive(differentiable=False)
def indices_within(xp: Namespace, indices: Array, *, length: int, rows: bool = False) -> Array:
    """Return the indices as integers.  Raises ShapeError unless all are in 0 … length - 1.

    rows: they are indices of the rows of a table, which the message then says
    This is a primitive so that a replayed step checks its new indices too.
    """
    simple = type(indices) is np.ndarray and indices.dtype == np.int64 and indices.size
    if simple and indices.view(np.uint64).max() < length:  # as which a negative one is large
        return indices
    if indices.dtype.kind not in "iuf":
        raise ShapeError(NO_INDICES.format(dtype=indices.dtype))
    if indices.dtype.kind == "f":
        broken = indices != xp.floor(indices)  # NaN too
        if bool(broken.any()):
            raise ShapeError(NO_INTEGER.format(index=indices[broken][0].item()))
    low, high = _extremes(xp, indices) if indices.size else (0, 0)
    if low < 0 or (indices.size and high >= length):
        if rows:
            index = low if low < 0 else high
            raise ShapeError(NO_ROW.format(index=index, length=length, last=length - 1))
        raise ShapeError(f"indices reach from {low} to {high}, they must be in 0 … {length - 1}")
    return indices.astype(np.int64) if indices.dtype.kind == "f" else indices


indices_within.batch(leading_axes_rule)


def to_indices(indices: Tensor, length: int, *, rows: bool = False) -> Tensor:
    """Return indices of any numeric dtype as integers, such as the floats of Torch7's files.

    rows: they are indices of the rows of a table, which the message then says
    Raises ShapeError unless all are integers in 0 … length - 1.
    """
    return indices_within(indices.detach(), length=length, rows=rows)
