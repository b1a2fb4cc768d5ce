"""Indexing: slices, integer arrays and masks, and their adjoints.

Basic indices (ints, slices, None, Ellipsis) are settings: the result is a view.  Index arrays are
operands, so that replay sees them change from step to step; `template` keeps the rest of the index
(`index_template.py`).  The adjoint of reading is adding: entries that are read twice collect both
cotangents.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import BatchingError
from tapegrad.autograd.core.tensor import Tensor, array_of, as_array, untracked
from tapegrad.autograd.core.views import ViewStep, follow_path
from tapegrad.autograd.kernels.scattering import scatter_add
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.batch_rules import lifted
from tapegrad.autograd.ops.batched_index import batched_index
from tapegrad.autograd.ops.elementwise import cast, imag, real, where
from tapegrad.autograd.ops.index_template import HOLE, filled, parted

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


PARTS = (
    "{where}: a write to the real or imaginary part of a complex Tensor cannot be done for all "
    "samples of a batch at once; write re + 1j * im instead"
)

builtin_max = max


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


# Samples of a batch: the batch is one more axis in front of the index.
take_slice.batch(lambda x, index: take_slice(x, (slice(None), *index)))
unslice.batch(lambda x, samples, index, shape: unslice(x, (slice(None), *index), (samples, *shape)))


@primitive
def take_index(xp: Any, x: Any, indices: list[Any], *, template: tuple[Any, ...]) -> Any:
    """x indexed by integer or boolean arrays, and the basic indices of `template`."""
    return x[filled(template, indices)]


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
        scatter_add(xp, y.reshape(-1), flat, x)
        return y
    scatter_add(xp, y, filled(template, indices), x)
    return y


take_index.vjp(
    x=lambda g, indices, template, x_shape: index_add(g, indices, template, x_shape), indices=None
)
index_add.vjp(x=lambda g, indices, template: take_index(g, indices, template), indices=None)


@take_index.batch
def _take_batch(
    x: Any, indices: list[Any], batched: tuple[bool, bool], samples: int, template: Any
) -> Any:
    place = batched_index(template, indices, x.ndim - batched[0], batched[1], samples)
    if not batched[0]:  # all samples read in one array
        y = take_index(x, place.indices[1:], template)
        return s.moveaxis(y, place.before, 0) if place.together else y
    return place.read(take_index(x, place.indices, place.template))


@index_add.batch
def _index_add_batch(
    x: Any,
    indices: list[Any],
    batched: tuple[bool, bool],
    samples: int,
    template: Any,
    shape: tuple[int, ...],
) -> Any:
    if not batched[0]:
        x = s.broadcast_to(x, (samples, *x.shape))
    place = batched_index(template, indices, len(shape), batched[1], samples)
    return index_add(place.written(x), place.indices, place.template, (samples, *shape))


def store(
    xp: Any,
    array: Any,
    v: Any,
    indices: list[Any],
    template: tuple[Any, ...],
    path: tuple[ViewStep, ...],
) -> None:
    """Write v at an index of the view of a bare array that `path` leads to."""
    for function, given, item in path:  # by the bodies: what happens inside a body is not recorded
        primitive = function.primitive
        operands = len(primitive.arguments) - 1
        settings = dict(zip(primitive.settings, given[operands:], strict=True))
        array = primitive.body_for(xp)(xp, array, *given[:operands], **settings)
        array = array if item is None else array[item]
    array[filled(template, indices)] = v


@primitive
def overwritten(
    xp: Any,
    x: Any,
    v: Any,
    indices: list[Any],
    *,
    template: tuple[Any, ...],
    path: tuple[ViewStep, ...] = (),
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
    path: tuple[ViewStep, ...],
    v_shape: tuple[int, ...],
) -> Any:
    for step in path:
        # a real v at the place of an imaginary part stands for i·v, and Re(g·iv) = -Im(g)·v
        g = -imag(g) if step[0] is imag else follow_path(g, (step,))
    if indices:
        shape = g.shape
        g = take_index(g, indices, template)
        if any(index.dtype.kind in "iu" for index in indices):
            g = g * last_written(indices, template, shape)
    else:
        g = take_slice(g, template)
    # v may have more axes than the place it was written to, if they are of length 1
    missing = len(v_shape) - g.ndim
    return s.reshape(g, (1,) * missing + g.shape) if missing > 0 else g


overwritten.vjp(
    x=lambda g, indices, template, path: overwritten(g, 0, indices, template, path),
    v=_value_rule,
    indices=None,
)


# A sample's entries are told by their places in its flat memory, which one array counts for all.
@overwritten.batch
def _overwritten_batch(
    x: Any,
    v: Any,
    indices: list[Any],
    batched: tuple[bool, bool, bool],
    samples: int,
    template: tuple[Any, ...],
    path: tuple[ViewStep, ...],
) -> Any:
    if not batched[0]:
        x = s.broadcast_to(x, (samples, *x.shape))
    ndim_of_v = getattr(v, "ndim", 0) - batched[1]
    mask = batched[2] and not path and template == (HOLE,) and indices[0].dtype.kind == "b"
    if mask and ndim_of_v == 0:  # samples may choose more or fewer entries, if all get one value
        v = lifted(v, x.ndim - 1) if batched[1] else v
        y = where(lifted(indices[0], x.ndim - 1), v, x)
        return y if y.dtype == x.dtype else cast(y, dtype=x.dtype)
    if any(step[0] in (real, imag) for step in path):
        raise BatchingError(PARTS.format(where=user_line()))
    shape = x.shape[1:]
    xp = devices.namespace(as_array(x))
    places = follow_path(xp.arange(math.prod(shape)).reshape(shape), path)
    if batched[2]:
        places = _take_batch(untracked(places), indices, (False, True), samples, template)
    else:
        places = take_index(places, indices, template) if indices else take_slice(places, template)
    region = places.shape[1:] if batched[2] else places.shape
    if hasattr(v, "ndim") and ndim_of_v:
        own = v.shape[1:] if batched[1] else v.shape
        v = s.reshape(v, v.shape[:1] * batched[1] + own[builtin_max(0, ndim_of_v - len(region)) :])
        v = lifted(v, len(region)) if batched[1] else v
        v = s.reshape(s.broadcast_to(v, (samples, *region)), (samples, math.prod(region)))
    elif batched[1]:
        v = s.reshape(v, (samples, 1))
    flat = s.reshape(x, (samples, math.prod(shape)))
    if batched[2]:
        rows = xp.arange(samples).reshape(samples, 1)
        index: list[Any] = [rows, s.reshape(places, (samples, math.prod(region)))]
        y = overwritten(flat, v, index, (HOLE, HOLE))
    else:
        y = overwritten(flat, v, [s.reshape(places, (-1,))], (slice(None), HOLE))
    return s.reshape(y, x.shape)


@primitive(differentiable=False)
def last_written(
    xp: Any, indices: list[Any], *, template: tuple[Any, ...], shape: tuple[int, ...]
) -> Any:
    """For each entry that y[index] = v writes, whether it stays: of several at one place the last.

    shape: y's; the result has the shape of y[index], booleans
    """
    index = filled(template, indices)
    writer = xp.zeros(shape, dtype=np.int64)
    places = writer[index].shape
    order = xp.arange(math.prod(places), dtype=np.int64).reshape(places)
    writer[index] = order
    return writer[index] == order


@last_written.batch
def _last_written_batch(
    indices: list[Any],
    batched: tuple[bool],
    samples: int,
    template: tuple[Any, ...],
    shape: tuple[int, ...],
) -> Any:
    place = batched_index(template, indices, len(shape), True, samples)
    return place.read(last_written(place.indices, place.template, (samples, *shape)))


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
    xp = devices.namespace(array_of(indices) if isinstance(indices, Tensor) else indices)
    grid = [
        xp.arange(n).reshape((-1,) + (1,) * (x.ndim - i - 1)) for i, n in enumerate(indices.shape)
    ]
    grid[axis] = indices
    return getitem(x, tuple(grid))
