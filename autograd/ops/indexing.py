"""Indexing: slices, integer arrays and masks, and their adjoints.

Basic indices (ints, slices, None, Ellipsis) are settings: the result is a view.  Index arrays are
operands, so that replay sees them change from step to step; `template` keeps the rest of the index
(`index_template.py`).  The adjoint of reading is adding: entries that are read twice collect both
cotangents.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import BatchingError
from tapegrad.autograd.core.late import late_module
from tapegrad.autograd.core.tensor import Tensor, array_of, as_array, untracked
from tapegrad.autograd.core.views import ViewStep, follow_path
from tapegrad.autograd.core.zeros import row_clearers
from tapegrad.autograd.kernels.scattering import scatter_add
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import normalize_axis
from tapegrad.autograd.ops.batch_rules import align_samples
from tapegrad.autograd.ops.batched_index import batched_index
from tapegrad.autograd.ops.elementwise import cast, imag, real, where
from tapegrad.autograd.ops.index_template import HOLE, fill_index, split_index
from tapegrad.autograd.ops.pending import FEW, PartOf, WithoutEntries, is_small_part, rows_of

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace, Operand, Shape

__all__ = [
    "getitem",
    "index_add",
    "is_last_write",
    "replace_entries",
    "take",
    "take_along_axis",
    "take_index",
    "take_slice",
    "unslice",
]

fast = late_module("tapegrad.autograd.kernels.fast_scattering")
row_clearers.append(lambda matrix, rows: fast().clear_rows(matrix, rows))


PARTS = (
    "{where}: a write to the real or imaginary part of a complex Tensor cannot be done for all "
    "samples of a batch at once; write re + 1j * im instead"
)

builtin_max = max


@primitive(view=True)
def take_slice(xp: Namespace, x: Array, *, index: tuple[Any, ...]) -> Array:
    """x[index] for ints, slices, None and Ellipsis: an array in the shape that NumPy gives."""
    return x[index]


@primitive
def unslice(xp: Namespace, x: Array, *, index: tuple[Any, ...], shape: Shape) -> Array:
    """Zeros of `shape` with x at `index`: the adjoint of `take_slice`."""
    y = xp.zeros(shape, dtype=x.dtype)
    y[index] = x
    return y


def _slice_rule(g: Array, index: tuple[Any, ...], x_shape: Shape) -> Any:
    return PartOf(g, index) if is_small_part(g, x_shape) else unslice(g, index, x_shape)


take_slice.vjp(x=_slice_rule)
unslice.vjp(x=lambda g, index: take_slice(g, index))
take_slice.jvp(x=lambda t, index: take_slice(t, index))
unslice.jvp(x=lambda t, index, y_shape: unslice(t, index, y_shape))


# Samples of a batch: the batch is one more axis in front of the index.
take_slice.batch(lambda x, index: take_slice(x, (slice(None), *index)))
unslice.batch(lambda x, samples, index, shape: unslice(x, (slice(None), *index), (samples, *shape)))


@primitive
def take_index(
    xp: Namespace, x: Array, indices: list[Array], *, template: tuple[Any, ...]
) -> Array:
    """x indexed by integer or boolean arrays, and the basic indices of `template`."""
    return x[fill_index(template, indices)]


@take_index.on("numba")
def _take_index_compiled(
    xp: Namespace, x: Array, indices: list[Array], *, template: tuple[Any, ...]
) -> Array:
    if len(indices) == 1 and template == (HOLE,):
        y = fast().take_rows(x, indices[0])
        if y is not None:
            return y
    return x[fill_index(template, indices)]


@primitive
def index_add(
    xp: Namespace, x: Array, indices: list[Array], *, template: tuple[Any, ...], shape: Shape
) -> Array:
    """Zeros of `shape` with x added at the indices; repeated indices add up."""
    y = xp.zeros(shape, dtype=x.dtype)
    only_arrays = len(indices) == len(shape) == len(template) > 1
    if only_arrays and all(index.dtype.kind in "iu" for index in indices):
        flat = indices[0] % shape[0]  # one flat index is much faster than several
        for index, n in zip(indices[1:], shape[1:], strict=True):
            flat = flat * n + index % n
        scatter_add(xp, y.reshape(-1), flat, x)
        return y
    scatter_add(xp, y, fill_index(template, indices), x)
    return y


def _take_rule(g: Array, indices: list[Array], template: tuple[Any, ...], x_shape: Shape) -> Any:
    rows = rows_of(g, indices, template, x_shape)
    return index_add(g, indices, template, x_shape) if rows is None else rows


take_index.vjp(x=_take_rule, indices=None)
index_add.vjp(x=lambda g, indices, template: take_index(g, indices, template), indices=None)
take_index.jvp(x=lambda t, indices, template: take_index(t, indices, template))
index_add.jvp(x=lambda t, indices, template, y_shape: index_add(t, indices, template, y_shape))


@take_index.batch
def _take_batch(
    x: Array,
    indices: list[Array],
    batched: tuple[bool, bool],
    samples: int,
    template: tuple[Any, ...],
) -> Array:
    batch = batched_index(template, indices, x.ndim - batched[0], batched[1], samples)
    if not batched[0]:  # all samples read in one array
        y = take_index(x, batch.indices[1:], template)
        return s.moveaxis(y, batch.before, 0) if batch.together else y
    return batch.reorder_result(take_index(x, batch.indices, batch.template))


@index_add.batch
def _index_add_batch(
    x: Array,
    indices: list[Array],
    batched: tuple[bool, bool],
    samples: int,
    template: tuple[Any, ...],
    shape: Shape,
) -> Array:
    if not batched[0]:
        x = s.broadcast_to(x, (samples, *x.shape))
    batch = batched_index(template, indices, len(shape), batched[1], samples)
    return index_add(batch.reorder_values(x), batch.indices, batch.template, (samples, *shape))


def write_into_array(
    xp: Namespace,
    array: Array,
    v: Array,
    indices: list[Array],
    template: tuple[Any, ...],
    path: tuple[ViewStep, ...],
) -> None:
    """Write v at an index of the view of a bare array that `path` leads to."""
    for function, arguments, item in path:  # runs the bodies: calls inside a body are not recorded
        primitive = function.primitive
        operands = len(primitive.arguments) - 1
        settings = dict(zip(primitive.settings, arguments[operands:], strict=True))
        array = primitive.body_for(xp)(xp, array, *arguments[:operands], **settings)
        array = array if item is None else array[item]
    array[fill_index(template, indices)] = v


@primitive
def replace_entries(
    xp: Namespace,
    x: Array,
    v: Array,
    indices: list[Array],
    *,
    template: tuple[Any, ...],
    path: tuple[ViewStep, ...] = (),
) -> Array:
    """x, of any shape, with v, which broadcasts, at an index: y = x.copy(); y[index] = v.

    path: the views of y that lead to where the index counts; y itself when empty
    """
    y = xp.array(x, copy=True)
    write_into_array(xp, y, v, indices, template, path)
    return y


def _overwritten_tangent(
    t: Array,
    x_strides: tuple[int, ...],
    indices: list[Array],
    template: tuple[Any, ...],
    path: tuple[ViewStep, ...],
) -> Array:
    if path and any(x_strides):
        return _rest_rule(t, x_strides, indices, template, path)
    return replace_entries(t, 0, indices, template, path)


def _value_tangent(
    t: Array,
    x_strides: tuple[int, ...],
    indices: list[Array],
    template: tuple[Any, ...],
    path: tuple[ViewStep, ...],
    y_shape: Shape,
) -> Array:
    complex_parts = any(step[0] is real or step[0] is imag for step in path)
    dtype = np.result_type(t.dtype, np.complex64) if complex_parts else t.dtype
    zeros = s.broadcast_to(devices.namespace(as_array(t)).zeros((), dtype=dtype), y_shape)
    return _rest_rule(zeros, x_strides, indices, template, path, t)


def _value_rule(
    g: Array,
    indices: list[Array],
    template: tuple[Any, ...],
    path: tuple[ViewStep, ...],
    v_shape: Shape,
    x_strides: tuple[int, ...],  # for tangents
) -> Array:
    whole = g.shape
    for step in path:
        # a real v written to the imaginary part adds i·v, and Re(g·iv) = -Im(g)·v
        g = -imag(g) if step[0] is imag else follow_path(g, (step,))
    if indices:
        shape = g.shape
        g = take_index(g, indices, template)
        if any(index.dtype.kind in "iu" for index in indices):
            g = g * is_last_write(indices, template, shape)
    else:
        g = take_slice(g, template)
    # v may have more axes than what it was written to, if they are of length 1
    missing = len(v_shape) - g.ndim
    g = s.reshape(g, (1,) * missing + g.shape) if missing > 0 else g
    # a small view would keep the whole cotangent from being overwritten in place
    return g.copy() if type(g) is np.ndarray and is_small_part(g, whole) else g


def _overwritten_rule(
    g: Array,
    indices: list[Array],
    template: tuple[Any, ...],
    path: tuple[ViewStep, ...],
) -> Any:
    if type(g) is np.ndarray and g.size > FEW:
        return WithoutEntries(g, indices, template, path)
    return replace_entries(g, 0, indices, template, path)


def _rest_rule(
    g: Array,
    x_strides: tuple[int, ...],
    indices: list[Array],
    template: tuple[Any, ...],
    path: tuple[ViewStep, ...],
    v: Array | int = 0,
) -> Array:
    # The path leads to a view of x, and to one of g only if g's axes lie in memory in x's order.
    axes = tuple(sorted(range(len(x_strides)), key=lambda axis: -abs(x_strides[axis])))
    ordered = s.lie_as(s.transpose(g, axes), fortran=False)
    back = tuple(axes.index(axis) for axis in range(len(axes)))
    return replace_entries(s.transpose(ordered, back), v, indices, template, path)


replace_entries.vjp(
    x=lambda g, x_strides, indices, template, path: (
        _rest_rule(g, x_strides, indices, template, path)
        if path and any(x_strides)  # a Single has no memory, and no strides but 0
        else _overwritten_rule(g, indices, template, path)
    ),
    v=_value_rule,
    indices=None,
)
replace_entries.jvp(x=_overwritten_tangent, v=_value_tangent)


# An array of the flat positions of a sample's entries is read through the same views and the same
# index as the write; what it gives are the positions that are written in every sample.
@replace_entries.batch
def _overwritten_batch(
    x: Array,
    v: Array,
    indices: list[Array],
    batched: tuple[bool, bool, bool],
    samples: int,
    template: tuple[Any, ...],
    path: tuple[ViewStep, ...],
) -> Array:
    if not batched[0]:
        x = s.broadcast_to(x, (samples, *x.shape))
    ndim_of_v = getattr(v, "ndim", 0) - batched[1]
    mask = batched[2] and not path and template == (HOLE,) and indices[0].dtype.kind == "b"
    if mask and ndim_of_v == 0:  # samples may choose more or fewer entries, if all get one value
        v = align_samples(v, x.ndim - 1) if batched[1] else v
        y = where(align_samples(indices[0], x.ndim - 1), v, x)
        return y if y.dtype == x.dtype else cast(y, dtype=x.dtype)
    if any(step[0] in (real, imag) for step in path):
        raise BatchingError(PARTS.format(where=user_line()))
    shape = x.shape[1:]
    xp = devices.namespace(as_array(x))
    positions = follow_path(xp.arange(math.prod(shape)).reshape(shape), path)
    if batched[2]:
        positions = _take_batch(untracked(positions), indices, (False, True), samples, template)
    else:
        positions = (
            take_index(positions, indices, template) if indices else take_slice(positions, template)
        )
    region = positions.shape[1:] if batched[2] else positions.shape
    if hasattr(v, "ndim") and ndim_of_v:
        own = v.shape[1:] if batched[1] else v.shape
        v = s.reshape(v, v.shape[:1] * batched[1] + own[builtin_max(0, ndim_of_v - len(region)) :])
        v = align_samples(v, len(region)) if batched[1] else v
        v = s.reshape(s.broadcast_to(v, (samples, *region)), (samples, math.prod(region)))
    elif batched[1]:
        v = s.reshape(v, (samples, 1))
    flat = s.reshape(x, (samples, math.prod(shape)))
    if batched[2]:
        rows = xp.arange(samples).reshape(samples, 1)
        index: list[Any] = [rows, s.reshape(positions, (samples, math.prod(region)))]
        y = replace_entries(flat, v, index, (HOLE, HOLE))
    else:
        y = replace_entries(flat, v, [s.reshape(positions, (-1,))], (slice(None), HOLE))
    return s.reshape(y, x.shape)


@primitive(differentiable=False)
def is_last_write(
    xp: Namespace, indices: list[Array], *, template: tuple[Any, ...], shape: Shape
) -> Array:
    """Whether each entry that y[index] = v writes stays: of several written to one entry, the last.

    shape: y's; the result has the shape of y[index], booleans
    """
    index = fill_index(template, indices)
    writer = xp.zeros(shape, dtype=np.int64)
    region = writer[index].shape
    order = xp.arange(math.prod(region), dtype=np.int64).reshape(region)
    writer[index] = order
    return writer[index] == order


@is_last_write.batch
def _last_written_batch(
    indices: list[Array],
    batched: tuple[bool],
    samples: int,
    template: tuple[Any, ...],
    shape: Shape,
) -> Array:
    batch = batched_index(template, indices, len(shape), True, samples)
    return batch.reorder_result(is_last_write(batch.indices, batch.template, (samples, *shape)))


def getitem(x: Array, index: Any) -> Tensor:
    """x[index], with any index that NumPy takes.

    Raises IndexError for floating point indices, TypeError for tracked ones.
    """
    arrays, template = split_index(index)
    return take_index(x, arrays, template) if arrays else take_slice(x, template)


@composite(numpy=np.take)
def take(x: Array, indices: Operand, axis: int | None = None) -> Tensor:
    """The entries of x at integer `indices` along `axis`; of the flattened array when None."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    places: Any = indices if hasattr(indices, "dtype") else np.asarray(indices)
    places = places.astype(np.intp) if places.dtype.kind == "b" else places  # numbers, and no mask
    axis = normalize_axis(axis, x.ndim)
    if not x.shape[axis] and 0 in (*x.shape[:axis], *x.shape[axis + 1 :]):
        # Nothing is taken, so no index is wrong, as in NumPy.
        return s.reshape(x, (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])) * 1
    y = getitem(x, (slice(None),) * axis + (places,))
    return s.lie_as(y, fortran=False) if places.ndim else s.with_own_memory(y, x)


def along_axes(x: Array, indices: Array, name: str) -> None:
    """Raise ValueError unless `indices` have as many axes as x."""
    if indices.ndim != x.ndim:
        raise ValueError(
            f"{name}: indices of shape {indices.shape} for an array of shape {x.shape}; both must "
            "have as many axes"
        )


@composite(numpy=np.take_along_axis)
def take_along_axis(x: Array, indices: Array, axis: int) -> Tensor:
    """y[…, i, …] = x[…, indices[…, i, …], …], with the index i at `axis`; other axes broadcast.

    Raises ValueError unless both have as many axes.
    """
    axis = normalize_axis(axis, x.ndim)
    along_axes(x, indices, "take_along_axis")
    xp = devices.namespace(array_of(indices) if isinstance(indices, Tensor) else indices)
    grid = [xp.arange(n).reshape((-1,) + (1,) * (x.ndim - i - 1)) for i, n in enumerate(x.shape)]
    grid[axis] = indices
    return getitem(x, tuple(grid))
