"""Primitives that move entries without changing them: shapes, order, joining and splitting.

Bodies return views where the array library does.  Settings are normalised (negative axes, -1 in
shapes) by the array library itself; rules work from the recorded shapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.core.nesting import register_stack
from tapegrad.autograd.core.node import owner_of
from tapegrad.autograd.core.tensor import Tensor, as_array
from tapegrad.autograd.ops.arrays import as_axes, as_operand, normalize_axis
from tapegrad.autograd.ops.batch_rules import (
    align_samples,
    axes_rule,
    axis_in_batch,
    leading_axes_rule,
)

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Axes, Namespace, Operand, Shape

__all__ = [
    "atleast_1d",
    "broadcast_to",
    "concatenate",
    "copy",
    "expand_dims",
    "flip",
    "moveaxis",
    "pad",
    "ravel",
    "reshape",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "transpose",
]


@primitive(numpy=np.reshape, view=True)
def reshape(xp: Namespace, x: Array, *, shape: int | Shape) -> Array:
    """The entries of x, in row-major order, in another shape; one length may be -1."""
    return x.reshape(shape) if hasattr(x, "ndim") else xp.reshape(x, shape)


reshape.vjp(x=lambda g, x_shape: reshape(g, x_shape))
reshape.jvp(x=lambda t, y_shape: reshape(t, y_shape))


def _as_shape(shape: int | Shape) -> tuple[int, ...]:
    return tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)


@reshape.batch
def _reshape_batch(x: Array, samples: int, shape: int | Shape) -> Array:
    # The length that -1 stands for is that of one sample, also in a batch of none.
    known = np.reshape(np.broadcast_to(np.empty(()), x.shape[1:]), _as_shape(shape)).shape
    return reshape(x, (samples, *known))


@primitive(numpy=np.transpose, view=True)
def transpose(xp: Namespace, x: Array, *, axes: tuple[int, ...] | None = None) -> Array:
    """x with its axes in the order `axes`; reversed when None."""
    return x.transpose(axes) if hasattr(x, "ndim") else xp.transpose(x, axes)


def _transpose_rule(g: Array, axes: tuple[int, ...] | None) -> Array:
    if axes is None:
        return transpose(g)
    inverse = sorted(range(len(axes)), key=lambda i: axes[i] % len(axes))
    return transpose(g, tuple(inverse))


transpose.vjp(x=_transpose_rule)
transpose.jvp(x=lambda t, axes: transpose(t, axes))


@transpose.batch
def _transpose_batch(x: Array, axes: tuple[int, ...] | None) -> Array:
    ndim = x.ndim - 1
    return transpose(
        x, (0, *axis_in_batch(tuple(range(ndim))[::-1] if axes is None else axes, ndim))
    )


@primitive(numpy=np.broadcast_to, view="read-only")
def broadcast_to(xp: Namespace, x: Array, *, shape: int | Shape) -> Array:
    """x repeated to `shape` without copying: length-1 axes stretch, new axes come first."""
    stretched = _broadcast_view(x, shape) if isinstance(x, (np.ndarray, np.generic)) else None
    return xp.broadcast_to(x, shape) if stretched is None else stretched


def _broadcast_view(x: Array, shape: int | Shape) -> Array | None:
    """The view that np.broadcast_to returns, at a tenth of its cost; None for the cases left to it.

    The derivative of every sum calls this.
    """
    array = np.asarray(x)
    if not isinstance(shape, tuple) or not array.flags.c_contiguous:
        return None
    new = len(shape) - array.ndim
    if new < 0:
        return None
    steps = [0] * new
    for n, target, step in zip(array.shape, shape[new:], array.strides, strict=True):
        if n not in (target, 1):
            return None
        steps.append(step if n == target else 0)
    y: Any = np.ndarray(shape, array.dtype, array, 0, steps)
    y.flags.writeable = False
    return y


# The sweep sums a cotangent over the axes that were stretched, for every primitive.
broadcast_to.vjp(x=lambda g: g)
broadcast_to.jvp(x=lambda t: t)  # and tangents are stretched for every primitive


@broadcast_to.batch
def _broadcast_batch(x: Array, samples: int, shape: int | Shape) -> Array:
    wide = _as_shape(shape)
    return broadcast_to(align_samples(x, builtin_max(len(wide), x.ndim - 1)), (samples, *wide))


@primitive(numpy=np.flip, view=True)
def flip(xp: Namespace, x: Array, *, axis: Axes = None) -> Array:
    """x in reverse order along `axis`, an int, a tuple, or None for all."""
    return xp.flip(x, axis=axis)


flip.vjp(x=lambda g, axis: flip(g, axis))
flip.jvp(x=lambda t, axis: flip(t, axis))
flip.batch(axes_rule)


@primitive(numpy=np.copy)
def copy(xp: Namespace, x: Array, *, order: str = "C") -> Array:
    """A copy of x, of any shape, in an `order` of memory: "C", "F", or "K" for that of x."""
    return xp.array(x, order=order, copy=True)


copy.vjp(x=lambda g: g)
copy.jvp(x=lambda t: t)
copy.batch(leading_axes_rule)


def lie_as(y: Tensor, *, fortran: bool) -> Tensor:
    """y, or a copy of it whose entries lie in C order, in Fortran order if `fortran`."""
    flags = getattr(as_array(y), "flags", None)
    lies_so = flags is None or (flags.f_contiguous if fortran else flags.c_contiguous)
    return y if lies_so else copy(y, "F" if fortran else "C")


def with_own_memory(y: Tensor, x: Array) -> Tensor:
    """y, which was made from x by moving entries, or a copy where it still is in x's memory."""
    if owner_of(as_array(y)) is not owner_of(as_array(x)):
        return y
    return copy(y)


@primitive(numpy=np.concatenate)
def concatenate(xp: Namespace, arrays: list[Array], *, axis: int | None = 0) -> Array:
    """The arrays joined along an existing `axis`; flattened first when it is None."""
    return xp.concatenate(arrays, axis=axis)


def _concatenate_rule(
    g: Array, arrays_shape: list[tuple[int, ...]], axis: int | None
) -> list[Array]:
    if axis is None:
        ends = np.cumsum([math.prod(shape) for shape in arrays_shape])
        parts = split(g, tuple(int(e) for e in ends[:-1]), 0)
        return [reshape(p, shape) for p, shape in zip(parts, arrays_shape, strict=True)]
    ends = np.cumsum([shape[axis] for shape in arrays_shape])
    return split(g, tuple(int(e) for e in ends[:-1]), axis)


concatenate.vjp(arrays=_concatenate_rule)


def _concatenate_tangents(
    t: list[Any], arrays_shape: list[tuple[int, ...]], axis: int | None
) -> Tensor:
    like: Any = next(part for part in t if part is not None)
    xp = devices.namespace(as_array(like))
    return concatenate(
        [
            xp.zeros(shape, dtype=like.dtype) if part is None else part
            for part, shape in zip(t, arrays_shape, strict=True)
        ],
        axis,
    )


concatenate.jvp(arrays=_concatenate_tangents)


@concatenate.batch
def _concatenate_batch(arrays: list[Array], samples: int, axis: int | None) -> Array:
    if axis is None:
        flat = [reshape(x, (samples, math.prod(x.shape[1:]))) for x in arrays]
        return concatenate(flat, axis=1)
    return concatenate(arrays, axis=axis_in_batch(axis, arrays[0].ndim - 1))


@primitive(several=True, view=True)
def split(
    xp: Namespace, x: Array, *, sections: int | tuple[int, ...], axis: int = 0
) -> list[Array]:
    """x split along `axis` into that many equal parts, or before the given indices: a list.

    Raises ShapeError when an equal division is impossible.
    """
    n = x.shape[axis]
    if isinstance(sections, int):
        if n % sections:
            raise ShapeError(f"split: axis {axis} has length {n}, not a multiple of {sections}")
        step = n // sections
        ends = [step * i for i in range(1, sections)]
    else:
        ends = list(sections)
    index: list[Any] = [slice(None)] * x.ndim
    parts = []
    for start, stop in zip([0, *ends], [*ends, n], strict=True):
        index[axis] = slice(start, stop)
        parts.append(x[tuple(index)])
    return parts


def _split_rule(g: Array, y: Array, axis: int) -> Array:
    parts = [
        # a part that nothing used has no cotangent
        (part * 0) if cotangent is None else cotangent
        for part, cotangent in zip(y, g, strict=True)
    ]
    return concatenate(parts, axis=axis)


split.vjp(x=_split_rule)


def _split_tangents(t: Array, y: list[Array], axis: int) -> list[Tensor]:
    ends = np.cumsum([part.shape[axis] for part in y])
    return split(t, tuple(int(e) for e in ends[:-1]), axis)


split.jvp(x=_split_tangents)
split.batch(axes_rule)


@primitive
def pad(xp: Namespace, x: Array, *, widths: tuple[tuple[int, int], ...], value: float = 0) -> Array:
    """x with `value` added around it; ``widths[i]`` is how many before and after along axis i.

    Negative widths cut entries off.
    """
    inside = tuple(
        slice(builtin_max(0, -before), n - builtin_max(0, -after))
        for (before, after), n in zip(widths, x.shape, strict=True)
    )
    x = x[inside]
    added = [(builtin_max(0, before), builtin_max(0, after)) for before, after in widths]
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, added, strict=True))
    y = xp.full(shape, value, dtype=x.dtype)
    y[tuple(slice(b, b + n) for (b, _), n in zip(added, x.shape, strict=True))] = x
    return y


builtin_max = max

pad.vjp(x=lambda g, widths: pad(g, tuple((-before, -after) for before, after in widths)))
pad.jvp(x=lambda t, widths: pad(t, widths))
pad.batch(lambda x, widths, value: pad(x, ((0, 0), *widths), value))


# Composites --------------------------------------------------------------------------------------


@composite(numpy=np.expand_dims)
def expand_dims(x: Array, axis: int | Sequence[int]) -> Tensor:
    """x with new axes of length 1, at the positions `axis` of the result.

    Raises ValueError for a position that is named twice.
    """
    if type(axis) is int and -x.ndim <= axis + 1 <= x.ndim + 1:
        before = axis if axis >= 0 else axis + x.ndim + 1
        return reshape(x, (*x.shape[:before], 1, *x.shape[before:]))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    ndim = x.ndim + len(axes)
    new = set(as_axes(axes, ndim))
    if len(new) < len(axes):
        raise ValueError(f"expand_dims: axis={axis} names a position twice")
    lengths = iter(x.shape)
    return reshape(x, tuple(1 if i in new else next(lengths) for i in range(ndim)))


@composite(numpy=np.squeeze)
def squeeze(x: Array, axis: Axes = None) -> Tensor:
    """x without its axes of length 1, or without those given.

    Raises ShapeError for a given axis of another length.
    """
    if axis is None:
        return reshape(x, tuple(n for n in x.shape if n != 1))
    axes = axis if isinstance(axis, tuple) else (axis,)
    dropped = {normalize_axis(a, x.ndim) for a in axes}
    long = [a for a in dropped if x.shape[a] != 1]
    if long:
        raise ShapeError(
            f"squeeze: axis {long[0]} of shape {x.shape} has length {x.shape[long[0]]}"
        )
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in dropped))


@composite(numpy=np.ravel)
def ravel(x: Array) -> Tensor:
    """The entries of x in row-major order, as one axis: a view if they lie so, else a copy."""
    y = reshape(x, (-1,) if x.size else (0,))
    return y if _lies_in_order(x) else copy(y)


def _lies_in_order(x: Array) -> bool:
    """Whether x's entries lie in memory without gaps in row-major order, as far as x shows that.

    For a reshaped x, entries at equal distances are enough.
    """
    flags = getattr(getattr(x, "_bare", x), "flags", None)
    return x.ndim == 0 or bool(getattr(flags, "c_contiguous", True))


@composite(numpy=np.swapaxes)
def swapaxes(x: Array, axis1: int, axis2: int) -> Tensor:
    """x with two axes exchanged."""
    axes = list(range(x.ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return transpose(x, tuple(axes))


@composite(numpy=np.moveaxis)
def moveaxis(x: Array, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """x with the axes `source` moved to the positions `destination`, the others in order.

    Raises ValueError for an axis or a position that is named twice, and unless there
    are as many of both.
    """
    sources, positions = as_axes(source, x.ndim), as_axes(destination, x.ndim)
    if not len(sources) == len(positions) == len({*sources}) == len({*positions}):
        raise ValueError(f"moveaxis: source={source} and destination={destination} do not pair up")
    axes = [a for a in range(x.ndim) if a not in sources]
    for position, a in sorted(zip(positions, sources, strict=True)):
        axes.insert(position, a)
    return transpose(x, tuple(axes))


@composite(numpy=np.stack)
def stack(arrays: Sequence[Operand], axis: int = 0) -> Tensor:
    """The arrays, all of one shape, joined along a new `axis`.

    Raises ShapeError for arrays of different shapes.
    """
    parts = [as_operand(a) for a in arrays]
    shapes = {tuple(a.shape) for a in parts}
    if len(shapes) != 1:
        raise ShapeError(f"stack: all arrays must have one shape, found {sorted(shapes)}")
    return concatenate([expand_dims(a, axis) for a in parts], axis=axis)


register_stack(stack)


@composite(numpy=np.atleast_1d)
def atleast_1d(x: Array) -> Tensor:
    """x, or an axis of length 1 around it when it is 0-d."""
    return x if x.ndim else reshape(x, (1,))
