"""Joining arrays, splitting them, and broadcasting several to one shape."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaration import newer_numpy
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, normalize_axis

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, DTypeLike, Nest, Operand, Shape

__all__ = [
    "append",
    "array_split",
    "atleast_2d",
    "atleast_3d",
    "block",
    "broadcast_arrays",
    "column_stack",
    "dsplit",
    "dstack",
    "hsplit",
    "hstack",
    "meshgrid",
    "numpy_split",
    "resize",
    "unstack",
    "vsplit",
    "vstack",
]

FORBIDDEN = "cannot cast array data from {own} to {dtype} according to the rule {casting!r}"


def _apply_to_each(
    arrays: tuple[Operand, ...], change: Callable[[Tensor], Tensor]
) -> Tensor | tuple[Tensor, ...]:
    """`change` of every array: a tuple, or the only result."""
    results = tuple(change(as_operand(a)) for a in arrays)
    return results[0] if len(results) == 1 else results


def _at_least_2d(x: Array) -> Array:
    return x if x.ndim > 1 else s.reshape(x, (1, -1) if x.size else (1, 0))


def _at_least_3d(x: Array) -> Array:
    if x.ndim > 2:
        return x
    return s.reshape(x, (*x.shape, 1) if x.ndim == 2 else (1, x.size, 1))


@composite(numpy=np.atleast_2d)
def atleast_2d(*arys: Operand) -> Tensor | tuple[Tensor, ...]:
    """Each array with axes of length 1 put before its own until it has two."""
    return _apply_to_each(arys, _at_least_2d)


@composite(numpy=np.atleast_3d)
def atleast_3d(*arys: Operand) -> Tensor | tuple[Tensor, ...]:
    """Each array with axes of length 1 put around its own until it has three."""
    return _apply_to_each(arys, _at_least_3d)


def cast_all(arrays: Sequence[Operand], dtype: DTypeLike | None, casting: str) -> list[Tensor]:
    """The arrays in `dtype`, or as they are.  Raises TypeError for what `casting` forbids."""
    parts = [as_operand(a) for a in arrays]
    if dtype is None and casting in ("safe", "same_kind", "unsafe"):
        return parts  # what they are joined to holds them all
    common = np.result_type(*[a.dtype for a in parts]) if dtype is None else np.dtype(dtype)
    for a in parts:
        if not np.can_cast(a.dtype, common, casting):  # type: ignore[arg-type]  # NumPy checks it
            raise TypeError(FORBIDDEN.format(own=a.dtype, dtype=common, casting=casting))
    return [a if a.dtype == common else a.astype(common) for a in parts]


@composite(numpy=np.vstack)
def vstack(
    tup: Sequence[Operand], *, dtype: DTypeLike | None = None, casting: str = "same_kind"
) -> Tensor:
    """The arrays joined along their first axis; vectors are rows."""
    return s.concatenate([_at_least_2d(a) for a in cast_all(tup, dtype, casting)], 0)


@composite(numpy=np.hstack)
def hstack(
    tup: Sequence[Operand], *, dtype: DTypeLike | None = None, casting: str = "same_kind"
) -> Tensor:
    """The arrays joined along their second axis; vectors along their only one."""
    arrays = cast_all(tup, dtype, casting)
    arrays = [a if a.ndim else s.reshape(a, (1,)) for a in arrays]
    return s.concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1)


@composite(numpy=np.dstack)
def dstack(tup: Sequence[Operand]) -> Tensor:
    """The arrays joined along their third axis."""
    return s.concatenate([_at_least_3d(as_operand(a)) for a in tup], 2)


@composite(numpy=np.column_stack)
def column_stack(tup: Sequence[Operand]) -> Tensor:
    """Vectors as columns of a matrix, matrices beside one another."""
    arrays = [as_operand(a) for a in tup]
    return s.concatenate([a if a.ndim > 1 else s.reshape(a, (a.size, 1)) for a in arrays], 1)


@composite(numpy=np.append)
def append(arr: Operand, values: Operand, axis: int | None = None) -> Tensor:
    """`values` after `arr` along `axis`; both flattened when None."""
    arr, values = as_operand(arr), as_operand(values)
    if axis is None:
        return s.concatenate([s.ravel(arr), s.ravel(values)], 0)
    return s.concatenate([arr, values], axis)


@composite(numpy=np.block)
def block(arrays: Nest) -> Tensor:
    """The blocks of nested lists as one array.

    The innermost lists are joined along the last axis, those around them along the axis before, …
    """
    levels = _nesting_depth(arrays)
    ndim = max(levels, _max_ndim(arrays))
    y = _concatenate_blocks(arrays, levels, ndim)
    return y if levels else s.copy(y)


def _nesting_depth(part: Array) -> int:
    """How deep lists are nested around a block."""
    return 1 + max(map(_nesting_depth, part)) if isinstance(part, list) else 0


def _max_ndim(part: Array) -> int:
    """The most axes that a block has."""
    return max(map(_max_ndim, part)) if isinstance(part, list) else np.ndim(part)


def _concatenate_blocks(part: Array, level: int, ndim: int) -> Array:
    """The blocks of one level of lists, each with `ndim` axes, joined into one array."""
    if not isinstance(part, list):
        part = as_operand(part)
        return s.reshape(part, (1,) * (ndim - part.ndim) + tuple(part.shape))
    return s.concatenate([_concatenate_blocks(p, level - 1, ndim) for p in part], -level)


@composite(numpy=np.array_split)
def array_split(
    ary: Operand, indices_or_sections: int | Sequence[int], axis: int = 0
) -> list[Tensor]:
    """x split along `axis` before the given indices, or into parts whose lengths differ by one.

    Raises ValueError for fewer than one part.
    """
    ary = as_operand(ary)
    if not isinstance(indices_or_sections, (int, np.integer)):
        return s.split(ary, tuple(int(i) for i in indices_or_sections), axis)
    count = int(indices_or_sections)
    if count < 1:
        raise ValueError(f"array_split: {count} is not a number of parts")
    short, longer = divmod(ary.shape[axis], count)
    ends = np.cumsum([short + 1] * longer + [short] * (count - longer))
    return s.split(ary, tuple(int(i) for i in ends[:-1]), axis)


@composite(numpy=np.split)
def numpy_split(
    ary: Operand, indices_or_sections: int | Sequence[int], axis: int = 0
) -> list[Tensor]:
    """NumPy's split: into equal parts, or before the given indices."""
    if isinstance(indices_or_sections, (int, np.integer)):
        return s.split(ary, int(indices_or_sections), axis)
    return s.split(ary, tuple(int(i) for i in indices_or_sections), axis)


@composite(numpy=np.vsplit)
def vsplit(ary: Operand, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """x split along its first axis."""
    return numpy_split(ary, indices_or_sections, 0)


@composite(numpy=np.hsplit)
def hsplit(ary: Operand, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """x split along its second axis; a vector along its only one."""
    ary = as_operand(ary)
    return numpy_split(ary, indices_or_sections, 1 if ary.ndim > 1 else 0)


@composite(numpy=np.dsplit)
def dsplit(ary: Operand, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """x split along its third axis."""
    return numpy_split(ary, indices_or_sections, 2)


@composite(numpy=newer_numpy("unstack"))
def unstack(x: Operand, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices of x along `axis`, as a tuple."""
    x = as_operand(x)
    axis = normalize_axis(axis, x.ndim)
    return tuple(x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis]))


@composite(numpy=np.broadcast_arrays)
def broadcast_arrays(*args: Operand) -> tuple[Tensor, ...]:
    """The arrays broadcast to their common shape."""
    arrays = [as_operand(a) for a in args]
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    return tuple(s.broadcast_to(a, shape) for a in arrays)


@composite(numpy=np.meshgrid)
def meshgrid(
    *xi: Operand, indexing: str = "xy", sparse: bool = False, copy: bool = True
) -> tuple[Tensor, ...]:
    """Coordinates of the grid points over vectors, one array for each; a tuple.

    Raises ValueError for an `indexing` that is neither "xy" nor "ij".
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing is {indexing!r}, neither 'xy' nor 'ij'")
    count = len(xi)
    order = list(range(count))
    if indexing == "xy" and count > 1:
        order[:2] = [1, 0]
    grids = []
    for x, axis in zip(xi, order, strict=True):
        x = as_operand(x)
        shape = [1] * count
        shape[axis] = x.size
        grids.append(s.reshape(x, tuple(shape)))
    if not sparse:
        grids = list(broadcast_arrays(*grids))
    return tuple(s.copy(g) for g in grids) if copy else tuple(grids)


@composite(numpy=np.resize)
def resize(a: Operand, new_shape: int | Shape) -> Tensor:
    """The entries of a, repeated as often as needed, in another shape.

    Raises ShapeError for an empty a.
    """
    a = s.ravel(as_operand(a))
    lengths: Any = new_shape if isinstance(new_shape, (tuple, list)) else (new_shape,)
    shape = tuple(map(operator.index, lengths))
    size = math.prod(shape)
    if not a.size:
        raise ShapeError("resize: an empty array has no entries to repeat")
    times = -(-size // a.size)
    return s.reshape(s.concatenate([a] * times, 0)[:size] if times > 1 else s.copy(a[:size]), shape)
