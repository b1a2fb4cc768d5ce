"""NumPy's further ways of moving entries: rolling, diagonals, triangles, stacking, inserting.

Diagonals and triangles are primitives, since indexing would cost several calls; the rest is
composed of `shape.py` and `indexing.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops._arrays import as_operand, axis_of, constant, value_of
from tapegrad.autograd.ops.batch_rules import shifted
from tapegrad.autograd.ops.index_template import HOLE
from tapegrad.autograd.ops.indexing import getitem, index_add, take, take_along_axis

__all__ = [
    "append",
    "apply_along_axis",
    "apply_over_axes",
    "array_split",
    "atleast_2d",
    "atleast_3d",
    "block",
    "broadcast_arrays",
    "choose",
    "column_stack",
    "compress",
    "delete",
    "diag",
    "diagflat",
    "diagonal",
    "dsplit",
    "dstack",
    "extract",
    "fliplr",
    "flipud",
    "from_diagonal",
    "hsplit",
    "hstack",
    "insert",
    "matrix_diagonal",
    "matrix_transpose",
    "meshgrid",
    "numpy_split",
    "piecewise",
    "resize",
    "roll",
    "rolled",
    "rollaxis",
    "rot90",
    "select",
    "tril",
    "trim_zeros",
    "triu",
    "unstack",
    "vsplit",
    "vstack",
]

# Diagonals and triangles -------------------------------------------------------------------------


@primitive(numpy=np.diagonal)
def diagonal(xp: Any, x: Any, *, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of two axes, moved to the end: x[i, i + offset]."""
    return xp.array(xp.diagonal(x, offset, axis1, axis2), copy=True)


@primitive
def from_diagonal(
    xp: Any, x: Any, *, shape: tuple[int, ...], offset: int = 0, axis1: int = 0, axis2: int = 1
) -> Any:
    """Zeros of `shape` with the last axis of x on a diagonal: the adjoint of `diagonal`."""
    y = xp.zeros(shape, dtype=x.dtype)
    places = xp.arange(x.shape[-1])
    view = xp.moveaxis(y, (axis1, axis2), (-2, -1))
    view[..., places + builtin_max(0, -offset), places + builtin_max(0, offset)] = x
    return y


builtin_max = max

diagonal.vjp(
    x=lambda g, x_shape, offset, axis1, axis2: from_diagonal(g, x_shape, offset, axis1, axis2)
)
from_diagonal.vjp(x=lambda g, offset, axis1, axis2: diagonal(g, offset, axis1, axis2))


@diagonal.batch
def _diagonal_batch(x: Any, offset: int, axis1: int, axis2: int) -> Any:
    return diagonal(x, offset, *shifted((axis1, axis2), x.ndim - 1))


@from_diagonal.batch
def _from_diagonal_batch(
    x: Any, samples: int, shape: Any, offset: int, axis1: int, axis2: int
) -> Any:
    return from_diagonal(x, (samples, *shape), offset, *shifted((axis1, axis2), len(shape)))


@primitive(numpy=np.tril)
def tril(xp: Any, m: Any, *, k: int = 0) -> Any:
    """The last two axes on and below the diagonal k, zeros above."""
    return xp.tril(m, k)


@primitive(numpy=np.triu)
def triu(xp: Any, m: Any, *, k: int = 0) -> Any:
    """The last two axes on and above the diagonal k, zeros below."""
    return xp.triu(m, k)


tril.vjp(m=lambda g, k: tril(g, k))
triu.vjp(m=lambda g, k: triu(g, k))


def _as_matrices(m: Any) -> Any:
    """NumPy takes a vector for a matrix of equal rows."""
    return m if m.ndim > 2 else s.broadcast_to(s.expand_dims(m, 1), (*m.shape, m.shape[1]))


tril.batch(lambda m, k: tril(_as_matrices(m), k))
triu.batch(lambda m, k: triu(_as_matrices(m), k))


@composite(numpy=np.linalg.diagonal)
def matrix_diagonal(x: Any, offset: int = 0) -> Any:
    """The diagonals of matrices (…, m, n)."""
    return diagonal(x, offset, -2, -1)


@composite(numpy=np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """A matrix with v on its diagonal k; of a matrix, that diagonal."""
    if v.ndim == 2:
        return diagonal(v, k)
    if v.ndim != 1:
        raise ValueError(f"diag takes one axis or two, not {v.ndim}")
    n = len(v) + abs(k)
    return from_diagonal(v, (n, n), k)


@composite(numpy=np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """A matrix with the entries of v on its diagonal k."""
    return diag(s.ravel(as_operand(v)), k)


# Order of entries --------------------------------------------------------------------------------


@primitive
def rolled(xp: Any, x: Any, *, shift: Any, axis: Any) -> Any:
    """The entries moved `shift` places along `axis`, round the end; ints or tuples of them."""
    if type(shift) is not int or type(axis) is not int or not -x.ndim <= axis < x.ndim:
        return xp.roll(x, shift, axis)
    n = x.shape[axis]
    start = -shift % n if n else 0
    before = (slice(None),) * (axis % x.ndim)
    return xp.concatenate((x[(*before, slice(start, n))], x[(*before, slice(start))]), axis)


def _back(shift: Any) -> Any:
    return tuple(-n for n in shift) if isinstance(shift, tuple) else -shift


rolled.vjp(x=lambda g, shift, axis: rolled(g, _back(shift), axis))


@rolled.batch
def _rolled_batch(x: Any, shift: Any, axis: Any) -> Any:
    if axis is not None:
        return rolled(x, shift, shifted(axis, x.ndim - 1))
    flat = s.reshape(x, (x.shape[0], math.prod(x.shape[1:])))
    return s.reshape(rolled(flat, shift, 1), x.shape)


@composite(numpy=np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """The entries moved `shift` places along `axis`, round the end; of the flattened if None."""
    if type(shift) is not int:
        held = value_of(as_operand(shift))
        shift = tuple(map(int, held)) if held.ndim else int(held)
    return rolled(a, shift, tuple(axis) if isinstance(axis, list) else axis)


@composite(numpy=np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """x with `axis` moved back until it stands before the axis `start`."""
    axis = axis_of(axis, a.ndim)
    start = start + a.ndim if start < 0 else start
    return s.moveaxis(a, axis, start - 1 if axis < start else start)


@composite(numpy=np.rot90)
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """x turned k quarters from the first of `axes` towards the second."""
    first, second = (axis_of(a, m.ndim) for a in axes)
    if k % 4 == 0:
        return s.copy(m)
    if k % 4 == 2:
        return s.flip(m, (first, second))
    if k % 4 == 1:
        return s.swapaxes(s.flip(m, second), first, second)
    return s.flip(s.swapaxes(m, first, second), second)


@composite(numpy=np.fliplr)
def fliplr(m: Any) -> Any:
    """x reversed along its second axis."""
    return s.flip(m, 1)


@composite(numpy=np.flipud)
def flipud(m: Any) -> Any:
    """x reversed along its first axis."""
    return s.flip(m, 0)


@composite(numpy=(np.matrix_transpose, np.linalg.matrix_transpose))
def matrix_transpose(x: Any) -> Any:
    """x with its last two axes exchanged."""
    return s.swapaxes(x, -1, -2)


# Joining and parting -----------------------------------------------------------------------------


def _each(arrays: Any, change: Callable[[Any], Any]) -> Any:
    results = tuple(change(as_operand(a)) for a in arrays)
    return results[0] if len(results) == 1 else results


def _at_least_2d(x: Any) -> Any:
    return x if x.ndim > 1 else s.reshape(x, (1, -1) if x.size else (1, 0))


def _at_least_3d(x: Any) -> Any:
    if x.ndim > 2:
        return x
    return s.reshape(x, (*x.shape, 1) if x.ndim == 2 else (1, x.size, 1))


@composite(numpy=np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    """Each array with axes of length 1 put before its own until it has two."""
    return _each(arys, _at_least_2d)


@composite(numpy=np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    """Each array with axes of length 1 put around its own until it has three."""
    return _each(arys, _at_least_3d)


@composite(numpy=np.vstack)
def vstack(tup: Sequence[Any]) -> Any:
    """The arrays joined along their first axis; vectors are rows."""
    return s.concatenate([_at_least_2d(as_operand(a)) for a in tup], 0)


@composite(numpy=np.hstack)
def hstack(tup: Sequence[Any]) -> Any:
    """The arrays joined along their second axis; vectors along their only one."""
    arrays = [as_operand(a) for a in tup]
    arrays = [a if a.ndim else s.reshape(a, (1,)) for a in arrays]
    return s.concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1)


@composite(numpy=np.dstack)
def dstack(tup: Sequence[Any]) -> Any:
    """The arrays joined along their third axis."""
    return s.concatenate([_at_least_3d(as_operand(a)) for a in tup], 2)


@composite(numpy=np.column_stack)
def column_stack(tup: Sequence[Any]) -> Any:
    """Vectors as columns of a matrix, matrices beside one another."""
    arrays = [as_operand(a) for a in tup]
    return s.concatenate([a if a.ndim > 1 else s.reshape(a, (a.size, 1)) for a in arrays], 1)


@composite(numpy=np.append)
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """`values` after `arr` along `axis`; both flattened when None."""
    arr, values = as_operand(arr), as_operand(values)
    if axis is None:
        return s.concatenate([s.ravel(arr), s.ravel(values)], 0)
    return s.concatenate([arr, values], axis)


@composite(numpy=np.block)
def block(arrays: Any) -> Any:
    """A matrix of blocks: nested lists are joined along the last axis, the one before, …"""
    levels = _depth(arrays)
    ndim = builtin_max(levels, _most_axes(arrays))
    y = _joined(arrays, levels, ndim)
    return y if levels else s.copy(y)


# Functions of the module: ones inside `block` that call themselves would be reference cycles.


def _depth(part: Any) -> int:
    return 1 + builtin_max(map(_depth, part)) if isinstance(part, list) else 0


def _most_axes(part: Any) -> int:
    return builtin_max(map(_most_axes, part)) if isinstance(part, list) else np.ndim(part)


def _joined(part: Any, level: int, ndim: int) -> Any:
    if not isinstance(part, list):
        part = as_operand(part)
        return s.reshape(part, (1,) * (ndim - part.ndim) + tuple(part.shape))
    return s.concatenate([_joined(p, level - 1, ndim) for p in part], -level)


@composite(numpy=np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """x parted along `axis` into parts whose lengths differ by one at most, or before indices."""
    if not isinstance(indices_or_sections, (int, np.integer)):
        return s.split(ary, tuple(int(i) for i in indices_or_sections), axis)
    count = int(indices_or_sections)
    if count < 1:
        raise ValueError(f"array_split: {count} is not a number of parts")
    short, longer = divmod(ary.shape[axis], count)
    ends = np.cumsum([short + 1] * longer + [short] * (count - longer))
    return s.split(ary, tuple(int(i) for i in ends[:-1]), axis)


@composite(numpy=np.split)
def numpy_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """NumPy's split: into equal parts, or before the given indices."""
    if isinstance(indices_or_sections, (int, np.integer)):
        return s.split(ary, int(indices_or_sections), axis)
    return s.split(ary, tuple(int(i) for i in indices_or_sections), axis)


@composite(numpy=np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> Any:
    """x parted along its first axis."""
    return numpy_split(ary, indices_or_sections, 0)


@composite(numpy=np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> Any:
    """x parted along its second axis; a vector along its only one."""
    return numpy_split(ary, indices_or_sections, 1 if ary.ndim > 1 else 0)


@composite(numpy=np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> Any:
    """x parted along its third axis."""
    return numpy_split(ary, indices_or_sections, 2)


@composite(numpy=np.unstack)
def unstack(x: Any, axis: int = 0) -> Any:
    """The slices of x along `axis`, as a tuple."""
    axis = axis_of(axis, x.ndim)
    return tuple(x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis]))


@composite(numpy=np.broadcast_arrays)
def broadcast_arrays(*args: Any) -> Any:
    """The arrays stretched to their common shape."""
    arrays = [as_operand(a) for a in args]
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    return tuple(s.broadcast_to(a, shape) for a in arrays)


@composite(numpy=np.meshgrid)
def meshgrid(*xi: Any, indexing: str = "xy", sparse: bool = False, copy: bool = True) -> Any:
    """Coordinates of the grid points over vectors, one array for each; a tuple."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing is {indexing!r}, neither 'xy' nor 'ij'")
    count = len(xi)
    order = list(range(count))
    if indexing == "xy" and count > 1:
        order[:2] = [1, 0]
    grids = []
    for x, place in zip(xi, order, strict=True):
        x = as_operand(x)
        shape = [1] * count
        shape[place] = x.size
        grids.append(s.reshape(x, tuple(shape)))
    if not sparse:
        grids = list(broadcast_arrays(*grids))
    return tuple(s.copy(g) for g in grids) if copy else tuple(grids)


@composite(numpy=np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    """The entries of a, repeated as often as needed, in another shape."""
    a = s.ravel(as_operand(a))
    shape = (new_shape,) if isinstance(new_shape, int) else tuple(new_shape)
    size = math.prod(shape)
    if not a.size:
        raise ValueError("resize: an empty array has no entries to repeat")
    times = -(-size // a.size)
    return s.reshape(s.concatenate([a] * times, 0)[:size] if times > 1 else a[:size], shape)


# Choosing, inserting, leaving out ----------------------------------------------------------------


@composite(numpy=np.compress)
def compress(condition: Any, a: Any, axis: int | None = None) -> Any:
    """The slices of a along `axis` where `condition` holds; of the flattened a when None."""
    a, condition = as_operand(a), as_operand(condition)
    if axis is None:
        a, axis = s.ravel(a), 0
    axis = axis_of(axis, a.ndim)
    a = a[(slice(None),) * axis + (slice(len(condition)),)]
    return getitem(a, (slice(None),) * axis + (e.not_equal(condition, 0),))


@composite(numpy=np.extract)
def extract(condition: Any, arr: Any) -> Any:
    """The entries of arr where `condition` holds, flattened."""
    return compress(s.ravel(as_operand(condition)), s.ravel(as_operand(arr)), 0)


@composite(numpy=np.delete)
def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    """arr without the slices at the indices, slice or mask `obj` along `axis`."""
    if axis is None:
        arr, axis = s.ravel(arr), 0
    axis = axis_of(axis, arr.ndim)
    index = obj if isinstance(obj, slice) else value_of(obj)
    kept = np.delete(np.arange(arr.shape[axis]), index)
    return take(arr, constant(kept, arr), axis)


@composite(numpy=np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """arr with `values` put in before the indices `obj` along `axis`."""
    arr, values = as_operand(arr), as_operand(values)
    if axis is None:
        arr, axis = s.ravel(arr), 0
    axis = axis_of(axis, arr.ndim)
    n = arr.shape[axis]
    single = not isinstance(obj, slice) and np.ndim(obj) == 0
    index = obj if isinstance(obj, slice) else value_of(obj)
    # NumPy itself says where things go: place i of the result holds entry order[i] of arr, or of
    # the new values when that is n or more.
    many = len(np.insert(np.arange(n), index, 0)) - n
    if single and values.ndim:
        many = values.shape[axis] if values.ndim == arr.ndim else 1
        if arr.ndim == 1:
            many = values.size
    order = np.insert(np.arange(n), index, np.arange(n, n + many) if many > 1 else n)
    shape = list(arr.shape)
    shape[axis] = many
    if single and values.ndim and values.ndim < arr.ndim:
        values = s.expand_dims(values, axis - arr.ndim) if axis else values
    values = s.broadcast_to(e.cast(values, dtype=arr.dtype), tuple(shape))
    return take(s.concatenate([arr, values], axis), constant(order, arr), axis)


@composite(numpy=np.trim_zeros)
def trim_zeros(filt: Any, trim: str = "fb") -> Any:
    """A vector without the zeros at its front ("f") and back ("b")."""
    places = np.flatnonzero(value_of(filt))
    n = len(filt)
    first = int(places[0]) if len(places) else n
    last = int(places[-1]) + 1 if len(places) else n
    return filt[first if "f" in trim.lower() else 0 : last if "b" in trim.lower() else n]


@composite(numpy=np.choose)
def choose(a: Any, choices: Sequence[Any]) -> Any:
    """The entry of choices[a], elementwise with broadcasting; a holds integers.

    Raises IndexError when one is not the number of a choice.
    """
    a = as_operand(a)
    if a.dtype.kind not in "iub":
        raise TypeError(f"choose: the index must hold integers, this one holds {a.dtype}")
    options = [as_operand(c) for c in choices]
    shape = np.broadcast_shapes(tuple(a.shape), *[tuple(c.shape) for c in options])
    stacked = s.stack([s.broadcast_to(c, shape) for c in options])
    index = s.expand_dims(s.broadcast_to(a, shape), 0)
    return take_along_axis(stacked, index, 0)[0]


@composite(numpy=np.select)
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    """The entry of the first choice whose condition holds, elementwise, else `default`."""
    if len(condlist) != len(choicelist):
        raise ValueError(f"select: {len(condlist)} conditions, {len(choicelist)} choices")
    y = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        y = e.where(condition, choice, y)
    return y


@composite(numpy=np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Any:
    """f_i(x) where the condition i holds: each function sees only the entries that it is for."""
    if not isinstance(condlist, (list, tuple)) or not np.ndim(condlist[0]):
        condlist = [condlist] if np.ndim(condlist) == x.ndim else list(condlist)
    masks = [as_operand(c) for c in condlist]
    functions = list(funclist)
    if len(functions) == len(masks) + 1:
        rest = masks[0]
        for mask in masks[1:]:
            rest = e.logical_or(rest, mask)
        masks.append(e.logical_not(rest))
    if len(functions) != len(masks):
        raise ValueError(f"piecewise: {len(masks)} conditions, {len(functions)} functions")
    taken = constant(np.zeros(x.shape, dtype=bool), x)
    y = x * 0
    for mask, function in zip(reversed(masks), reversed(functions), strict=True):
        mask = e.logical_and(mask, e.logical_not(taken))
        taken = e.logical_or(taken, mask)
        part = function(getitem(x, mask), *args, **kw) if callable(function) else function
        part = constant(np.asarray(part, x.dtype), x) if np.isscalar(part) else part
        part = s.broadcast_to(part, getitem(x, mask).shape)
        placed = index_add(e.cast(part, dtype=x.dtype), [mask], (HOLE,), tuple(x.shape))
        y = e.where(mask, placed, y)
    return y


# Along axes --------------------------------------------------------------------------------------


@composite(numpy=np.apply_along_axis)
def apply_along_axis(func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """func1d of every vector along `axis`; the axes of its result take that axis's place."""
    axis = axis_of(axis, arr.ndim)
    moved = s.moveaxis(arr, axis, -1)
    outer = moved.shape[:-1]
    rows = s.reshape(moved, (math.prod(outer), moved.shape[-1]))
    if not len(rows):
        raise ValueError("apply_along_axis: there is no vector to apply the function to")
    results = [as_operand(func1d(row, *args, **kwargs)) for row in rows]
    inner = tuple(results[0].shape)
    y = s.reshape(s.stack(results), (*outer, *inner))
    return s.moveaxis(
        y,
        tuple(range(len(outer), len(outer) + len(inner))),
        tuple(range(axis, axis + len(inner))),
    )


@composite(numpy=np.apply_over_axes)
def apply_over_axes(func: Any, a: Any, axes: Any) -> Any:
    """func(a, axis) for one axis after the other, each result with the axis kept."""
    for axis in (axes,) if isinstance(axes, int) else axes:
        y = func(a, axis)
        a = y if y.ndim == a.ndim else s.expand_dims(y, axis_of(axis, a.ndim))
    return a
