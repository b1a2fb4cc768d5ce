"""Choosing entries, inserting them, leaving them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import (
    as_axes,
    as_operand,
    device_array,
    inside_numbers,
    is_fortran,
    normalize_axis,
    value_of,
    wrap_like,
)
from tapegrad.autograd.ops.index_template import HOLE
from tapegrad.autograd.ops.indexing import getitem, index_add, take, take_along_axis

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Axes, Operand, Scalar

__all__ = [
    "choose",
    "compress",
    "delete",
    "extract",
    "insert",
    "piecewise",
    "select",
    "trim_zeros",
]


@composite(numpy=np.compress)
def compress(condition: Operand, a: Operand, axis: int | None = None) -> Tensor:
    """The slices of a along `axis` where `condition` holds; of the flattened a when None."""
    a, condition = as_operand(a), as_operand(condition)
    if axis is None:
        a, axis = s.ravel(a), 0
    axis = normalize_axis(axis, a.ndim)
    a = a[(slice(None),) * axis + (slice(len(condition)),)]
    return getitem(a, (slice(None),) * axis + (e.not_equal(condition, 0),))


@composite(numpy=np.extract)
def extract(condition: Operand, arr: Operand) -> Tensor:
    """The entries of arr where `condition` holds, flattened.

    Raises IndexError for a condition that holds beyond the entries of arr.
    """
    mask, flat = s.ravel(as_operand(condition)), s.ravel(as_operand(arr))
    if mask.size > flat.size:
        if value_of(mask[flat.size :]).any():
            raise IndexError(f"extract: the condition holds beyond the {flat.size} entries of arr")
        mask = mask[: flat.size]
    return compress(mask, flat[: mask.size], 0)


@composite(numpy=np.delete)
def delete(arr: Operand, obj: slice | Operand, axis: int | None = None) -> Tensor:
    """arr without the slices at the indices, slice or mask `obj` along `axis`."""
    arr = as_operand(arr)
    if axis is None:
        arr, axis = s.ravel(arr), 0
    axis = normalize_axis(axis, arr.ndim)
    index = _positions(obj)
    remaining = np.delete(np.arange(arr.shape[axis]), index)
    return take(arr, device_array(remaining, arr), axis)


def _positions(obj: slice | Operand) -> Any:
    """Where to delete or insert, as NumPy takes it; an empty list holds integers."""
    if isinstance(obj, slice):
        return obj
    positions = value_of(obj)
    return positions if positions.size or hasattr(obj, "dtype") else positions.astype(int)


@composite(numpy=np.insert)
def insert(arr: Operand, obj: slice | Operand, values: Operand, axis: int | None = None) -> Tensor:
    """arr with `values` put in before the indices `obj` along `axis`."""
    arr, values = as_operand(arr), as_operand(values)
    if axis is None:
        arr, axis = s.ravel(arr), 0
    axis = normalize_axis(axis, arr.ndim)
    n = arr.shape[axis]
    single = not isinstance(obj, slice) and np.ndim(obj) == 0
    index = _positions(obj)
    # np.insert of numbers says what goes where: entry i of the result is entry order[i] of arr, or
    # of the new values when that is n or more.
    many = len(np.insert(np.arange(n), index, 0)) - n
    if single and values.ndim:
        many = values.shape[axis] if values.ndim == arr.ndim else 1
        if arr.ndim == 1:
            many = values.size
    order = np.insert(np.arange(n), index, np.arange(n, n + many) if many != 1 else n)
    shape = list(arr.shape)
    shape[axis] = many
    if single and values.ndim and values.ndim < arr.ndim:
        values = s.expand_dims(values, axis - arr.ndim) if axis else values
    values = s.broadcast_to(e.cast(values, dtype=arr.dtype), tuple(shape))
    return take(s.concatenate([arr, values], axis), device_array(order, arr), axis)


@composite(numpy=np.trim_zeros)
def trim_zeros(filt: Operand, trim: str = "fb", axis: Axes = None) -> Tensor:
    """x without the slices of zeros at the front ("f") and back ("b") of some axes, or of all.

    Raises AxisError for an axis that x does not have, ValueError for another `trim`.
    """
    filt = as_operand(filt)
    if trim.lower() not in ("f", "b", "fb", "bf"):
        raise ValueError(f"trim_zeros: trim is {trim!r}, none of 'f', 'b', 'fb'")
    axes = range(filt.ndim) if axis is None else as_axes(axis, filt.ndim)
    places = np.argwhere(value_of(filt))
    index: list[Any] = [slice(None)] * filt.ndim
    for i in axes:
        first, last = (int(places[:, i].min()), int(places[:, i].max())) if len(places) else (0, -1)
        front, back = "f" in trim.lower(), "b" in trim.lower()
        if not len(places):
            index[i] = slice(0, 0)
        else:
            index[i] = slice(first if front else None, last + 1 if back else None)
    return filt[tuple(index)]


@composite(numpy=np.choose)
def choose(a: Operand, choices: Sequence[Operand], *, mode: str = "raise") -> Tensor:
    """The entry of choices[a], elementwise with broadcasting; a holds integers.

    mode: what numbers of no choice do: "raise" IndexError, "wrap" round, or are "clip"ped
    Raises IndexError when one is not the number of a choice, ValueError for another mode.
    """
    a = as_operand(inside_numbers(as_operand(a), len(choices), mode, "choose"))
    if a.dtype.kind not in "iub":
        raise TypeError(f"choose: the index must hold integers, this one holds {a.dtype}")
    options = [as_operand(c) for c in choices]
    # Python's own numbers take the dtype of the arrays beside them.
    plain = [type(c) in (bool, int, float, complex) for c in choices]
    kinds = [c if p else o.dtype for c, o, p in zip(choices, options, plain, strict=True)]
    dtype = np.result_type(*kinds) if kinds else None
    options = [o if o.dtype == dtype else e.cast(o, dtype=dtype) for o in options]
    shape = np.broadcast_shapes(tuple(a.shape), *[tuple(c.shape) for c in options])
    stacked = s.stack([s.broadcast_to(c, shape) for c in options])
    index = s.expand_dims(s.broadcast_to(a, shape), 0)
    return take_along_axis(stacked, index, 0)[0]


@composite(numpy=np.select)
def select(
    condlist: Sequence[Operand], choicelist: Sequence[Operand], default: Operand = 0
) -> Tensor:
    """The entry of the first choice whose condition holds, elementwise, else `default`.

    Raises ValueError unless there is a choice for each condition.
    """
    if len(condlist) != len(choicelist):
        raise ValueError(f"select: {len(condlist)} conditions, {len(choicelist)} choices")
    y: Any = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        y = e.where(condition, choice, y)
    return s.lie_as(y, fortran=False) if hasattr(y, "dtype") else y


@composite(numpy=np.piecewise)
def piecewise(
    x: Operand,
    condlist: Operand | Sequence[Operand],
    funclist: Sequence[Callable[..., Operand] | Scalar],
    *args: Any,
    **kw: Any,
) -> Tensor:
    """f_i(x) where the condition i holds: each function gets only those entries of x.

    Raises ValueError unless there is a function for each condition, and at most one more.
    """
    x = as_operand(x)
    conditions: Any = condlist
    if not isinstance(conditions, (list, tuple)) or not np.ndim(conditions[0]):
        conditions = [conditions] if np.ndim(conditions) == x.ndim else list(conditions)
    masks = [as_operand(c) for c in conditions]
    if any(mask.shape != x.shape for mask in masks):
        raise ShapeError(f"piecewise: a condition does not have the shape {x.shape} of x")
    functions = list(funclist)
    if len(functions) == len(masks) + 1:
        rest = masks[0]
        for mask in masks[1:]:
            rest = e.logical_or(rest, mask)
        masks.append(e.logical_not(rest))
    if len(functions) != len(masks):
        raise ValueError(f"piecewise: {len(masks)} conditions, {len(functions)} functions")
    assigned = device_array(np.zeros(x.shape, dtype=bool), x)
    y: Any = wrap_like(np.zeros(x.shape, x.dtype), x)
    for mask, function in zip(reversed(masks), reversed(functions), strict=True):
        mask = e.logical_and(mask, e.logical_not(assigned))
        assigned = e.logical_or(assigned, mask)
        part = function(getitem(x, mask), *args, **kw) if callable(function) else function
        part = device_array(np.asarray(part, x.dtype), x) if np.isscalar(part) else part
        part = s.broadcast_to(part, getitem(x, mask).shape)
        scattered = index_add(e.cast(part, dtype=x.dtype), [mask], (HOLE,), tuple(x.shape))
        y = e.where(mask, scattered, y)
    return s.lie_as(y, fortran=is_fortran(x))
