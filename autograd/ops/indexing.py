"""Indexing: slices, integer arrays and masks, and their adjoints.

Basic indices (ints, slices, None, Ellipsis) are settings: the result is a view.  Index arrays are
operands, so that replay sees them change from step to step; `template` keeps the rest of the index,
with None-like marks where the arrays go.  The adjoint of reading is adding: entries read twice
collect both cotangents.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.composite import composite
from tapegrad.autograd.kernels.scattering import add_at
from tapegrad.autograd.ops.elementwise import imag
from tapegrad.autograd.ops.shape import reshape
from tapegrad.autograd.primitive import primitive
from tapegrad.autograd.tensor import Tensor
from tapegrad.autograd.views import Step, taken

__all__ = [
    "getitem",
    "index_add",
    "last_written",
    "overwritten",
    "take",
    "take_along_axis",
    "take_index",
    "take_slice",
    "unslice",
]


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
        add_at(xp, y.reshape(-1), flat, x)
        return y
    add_at(xp, y, _filled(template, indices), x)
    return y


take_index.vjp(
    x=lambda g, indices, template, x_shape: index_add(g, indices, template, x_shape), indices=None
)
index_add.vjp(x=lambda g, indices, template: take_index(g, indices, template), indices=None)


def store(
    xp: Any,
    array: Any,
    v: Any,
    indices: list[Any],
    template: tuple[Any, ...],
    path: tuple[Step, ...],
) -> None:
    """Write v at an index of the view of a bare array that `path` leads to."""
    for function, given, item in path:  # by the bodies: what happens inside a body is not recorded
        primitive = function.primitive
        operands = len(primitive.arguments) - 1
        settings = dict(zip(primitive.settings, given[operands:], strict=True))
        array = primitive.body_for(xp)(xp, array, *given[:operands], **settings)
        array = array if item is None else array[item]
    array[_filled(template, indices)] = v


@primitive
def overwritten(
    xp: Any,
    x: Any,
    v: Any,
    indices: list[Any],
    *,
    template: tuple[Any, ...],
    path: tuple[Step, ...] = (),
) -> Any:
    """x with v, which broadcasts, at an index: y = x.copy(); y[index] = v.

    path: the views of y that lead to where the index counts; y itself when empty
    """
    y = xp.array(x, copy=True)
    store(xp, y, v, indices, template, path)
    return y


def _value_rule(
    g: Any,
    indices: list[Any],
    template: tuple[Any, ...],
    path: tuple[Step, ...],
    v_shape: tuple[int, ...],
) -> Any:
    for step in path:
        # a real v at the place of an imaginary part stands for i·v, and Re(g·iv) = -Im(g)·v
        g = -imag(g) if step[0] is imag else taken(g, (step,))
    if indices:
        shape = g.shape
        g = take_index(g, indices, template)
        if any(index.dtype.kind in "iu" for index in indices):
            g = g * last_written(indices, template, shape)
    else:
        g = take_slice(g, template)
    # v may have more axes than the place it was written to, if they are of length 1
    missing = len(v_shape) - g.ndim
    return reshape(g, (1,) * missing + g.shape) if missing > 0 else g


overwritten.vjp(
    x=lambda g, indices, template, path: overwritten(g, 0, indices, template, path),
    v=_value_rule,
    indices=None,
)


@primitive(differentiable=False)
def last_written(
    xp: Any, indices: list[Any], *, template: tuple[Any, ...], shape: tuple[int, ...]
) -> Any:
    """For each entry that y[index] = v writes, whether it stays: of several at one place the last.

    shape: y's; the result has the shape of y[index], booleans
    """
    index = _filled(template, indices)
    writer = xp.zeros(shape, dtype=np.int64)
    places = writer[index].shape
    order = xp.arange(math.prod(places), dtype=np.int64).reshape(places)
    writer[index] = order
    return writer[index] == order


def _is_array(part: Any) -> bool:
    return isinstance(part, (Tensor, list)) or (
        devices.is_array(part) and (part.ndim > 0 or part.dtype.kind == "b")
    )


def parted(index: Any) -> tuple[list[Any], tuple[Any, ...]]:
    """An index as its arrays, and a template of the rest with a HOLE for each of them.

    Raises IndexError for floating point indices.
    """
    parts = index if isinstance(index, tuple) else (index,)
    if not any(_is_array(part) for part in parts):
        return [], tuple(part.item() if devices.is_array(part) else part for part in parts)
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
    return arrays, tuple(template)


def getitem(x: Any, index: Any) -> Any:
    """x[index], with any index that NumPy takes.

    Raises IndexError for floating point indices, TypeError for tracked ones.
    """
    arrays, template = parted(index)
    return take_index(x, arrays, template) if arrays else take_slice(x, template)


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
