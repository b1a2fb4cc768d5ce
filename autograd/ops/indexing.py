"""Indexing: slices, integer arrays and masks, and their adjoints.

Basic indices (ints, slices, None, Ellipsis) are settings: the result is a view.  Index arrays are
operands, so that replay sees them change from step to step; `template` keeps the rest of the index,
with None-like marks where the arrays go.  The adjoint of reading is adding: entries read twice
collect both cotangents.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.composite import composite
from tapegrad.autograd.primitive import primitive
from tapegrad.autograd.tensor import Tensor

__all__ = ["getitem", "index_add", "take", "take_along_axis", "take_index", "take_slice", "unslice"]


class _Hole:
    """The place of an index array in a template."""

    def __repr__(self) -> str:
        return "<array>"


HOLE = _Hole()


@primitive(view=True)
def take_slice(xp: Any, x: Any, *, index: tuple[Any, ...]) -> Any:
    """x[index] for ints, slices, None and Ellipsis."""
    return x[index]


@primitive
def unslice(xp: Any, x: Any, *, index: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with x at `index`: the adjoint of `take_slice`."""
    y = xp.zeros(shape, dtype=x.dtype)
    y[index] = x
    return y


take_slice.vjp(x=lambda g, index, x_shape: unslice(g, index, x_shape))
unslice.vjp(x=lambda g, index: take_slice(g, index))


def _filled(template: tuple[Any, ...], indices: list[Any]) -> tuple[Any, ...]:
    arrays = iter(indices)
    return tuple(next(arrays) if part is HOLE else part for part in template)


@primitive
def take_index(xp: Any, x: Any, indices: list[Any], *, template: tuple[Any, ...]) -> Any:
    """x indexed by integer or boolean arrays, and the basic indices of `template`."""
    return x[_filled(template, indices)]


@primitive
def index_add(
    xp: Any, x: Any, indices: list[Any], *, template: tuple[Any, ...], shape: tuple[int, ...]
) -> Any:
    """Zeros of `shape` with x added at the indices; repeated indices add up."""
    y = xp.zeros(shape, dtype=x.dtype)
    whole = len(indices) == len(shape) == len(template) > 1
    if whole and all(index.dtype.kind in "iu" for index in indices):
        flat = indices[0] % shape[0]  # one flat index is much faster than several
        for index, n in zip(indices[1:], shape[1:], strict=True):
            flat = flat * n + index % n
        xp.add.at(y.reshape(-1), flat, x)
        return y
    xp.add.at(y, _filled(template, indices), x)
    return y


take_index.vjp(
    x=lambda g, indices, template, x_shape: index_add(g, indices, template, x_shape), indices=None
)
index_add.vjp(x=lambda g, indices, template: take_index(g, indices, template), indices=None)


def _is_array(part: Any) -> bool:
    return isinstance(part, (Tensor, list)) or (
        devices.is_array(part) and (part.ndim > 0 or part.dtype.kind == "b")
    )


_BASIC = frozenset({int, slice, type(None), type(...)})


def getitem(x: Any, index: Any) -> Any:
    """x[index], with any index that NumPy takes.

    Raises IndexError for floating point indices, TypeError for tracked ones.
    """
    parts = index if isinstance(index, tuple) else (index,)
    if _BASIC.issuperset(map(type, parts)):  # the ordinary case
        return take_slice(x, parts)
    if not any(_is_array(part) for part in parts):
        basic = tuple(part.item() if devices.is_array(part) else part for part in parts)
        return take_slice(x, basic)
    arrays: list[Any] = []
    template: list[Any] = []
    for part in parts:
        if not _is_array(part):
            template.append(part)
            continue
        array = np.asarray(part, dtype=None if part else np.intp) if type(part) is list else part
        if array.dtype.kind not in "iub":
            raise IndexError(
                f"an index must hold integers or booleans, this one holds {array.dtype}"
            )
        arrays.append(array)
        template.append(HOLE)
    return take_index(x, arrays, tuple(template))


@composite(numpy=np.take)
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The entries of x at integer `indices` along `axis`; of the flattened array when None."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    if not hasattr(indices, "dtype"):
        indices = np.asarray(indices)
    return getitem(x, (slice(None),) * (axis % x.ndim) + (indices,))


@composite(numpy=np.take_along_axis)
def take_along_axis(x: Any, indices: Any, axis: int) -> Any:
    """For each place, the entry of x whose position along `axis` is in `indices`."""
    axis %= x.ndim
    xp = devices.namespace(indices._data if isinstance(indices, Tensor) else indices)
    grid = [
        xp.arange(n).reshape((-1,) + (1,) * (x.ndim - i - 1)) for i, n in enumerate(indices.shape)
    ]
    grid[axis] = indices
    return getitem(x, tuple(grid))
