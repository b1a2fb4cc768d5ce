"""`unfold` makes the windows along an axis an axis of their own, and `fold` adds them up again.

Both are linear, and each is the other's adjoint.  Layers that look through windows (over time, over
features, with separate weights at every position) are then contractions over the last axis.  Images
with shared weights and pooling have faster kernels of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops.batch_rules import axes_rule, axis_in_batch

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace, Shape

__all__ = ["fold", "largest_positions", "unfold"]


def _window_count(where: str, length: int, size: int, step: int, dilation: int) -> int:
    """How many windows there are.  Raises ShapeError if not one fits."""
    if min(size, step, dilation) < 1:
        raise ValueError(
            f"{where}: size, step and dilation must be at least 1, found {size}, {step}, {dilation}"
        )
    extent = dilation * (size - 1) + 1
    if length < extent:
        raise ShapeError(f"{where}: a window spans {extent} entries, the axis has only {length}")
    return (length - extent) // step + 1


@primitive(view="read-only")
def unfold(
    xp: Namespace, x: Array, *, axis: int, size: int, step: int = 1, dilation: int = 1
) -> Array:
    """y[…, o, …, k] = x[…, o·step + k·dilation, …]: windows of `size` entries along `axis`.

    x (…, n, …) -> (…, ⌊(n - dilation·(size - 1) - 1) / step⌋ + 1, …, size), a view.
    Raises ShapeError for an axis shorter than one window.  Source: Torch7's Tensor:unfold.
    """
    axis %= x.ndim
    count = _window_count("unfold", x.shape[axis], size, step, dilation)
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :], size)
    along = x.strides[axis]
    strides = (*x.strides[:axis], along * step, *x.strides[axis + 1 :], along * dilation)
    return xp.lib.stride_tricks.as_strided(x, shape, strides)


@primitive
def fold(
    xp: Namespace, x: Array, *, shape: Shape, axis: int, step: int = 1, dilation: int = 1
) -> Array:
    """Zeros of `shape` with every window of x added where `unfold` reads it: its adjoint.

    x (…, count, …, size), as `unfold` returns it for an array of `shape` -> `shape`.
    Raises ShapeError when x is not of that shape.
    """
    axis %= len(shape)
    size = x.shape[-1]
    count = _window_count("fold", shape[axis], size, step, dilation)
    expected = (*shape[:axis], count, *shape[axis + 1 :], size)
    if tuple(x.shape) != expected:
        raise ShapeError(f"fold: x must have shape {expected}, found {tuple(x.shape)}")
    y = xp.zeros(shape, dtype=x.dtype)
    before = (slice(None),) * axis
    for k in range(size):
        first = k * dilation
        y[(*before, slice(first, first + (count - 1) * step + 1, step))] += x[..., k]
    return y


unfold.vjp(
    x=lambda g, x_shape, axis, step, dilation: fold(
        g, shape=x_shape, axis=axis, step=step, dilation=dilation
    )
)
fold.vjp(
    x=lambda g, x_shape, shape, axis, step, dilation: unfold(
        g, axis=axis % len(shape), size=x_shape[-1], step=step, dilation=dilation
    )
)
unfold.jvp(
    x=lambda t, axis, step, dilation, y_shape: unfold(
        t, axis=axis, size=y_shape[-1], step=step, dilation=dilation
    )
)
fold.jvp(
    x=lambda t, shape, axis, step, dilation: fold(
        t, shape=shape, axis=axis, step=step, dilation=dilation
    )
)

unfold.batch(axes_rule)


@fold.batch
def _fold_batch(x: Array, samples: int, shape: Shape, axis: int, step: int, dilation: int) -> Array:
    return fold(x, (samples, *shape), axis_in_batch(axis, len(shape)), step, dilation)


@primitive(differentiable=False)
def largest_positions(xp: Namespace, x: Array, *, count: int, axis: int) -> Array:
    """Where the `count` largest entries along `axis` are, in rising order of position.

    x (…, n, …) -> int64 (…, count, …).  Of equal entries the earlier are taken; NaN counts as the
    largest.
    Raises ShapeError unless 1 <= count <= n.
    """
    n = x.shape[axis]
    if not 1 <= count <= n:
        raise ShapeError(f"largest_positions: count is {count}, axis {axis} has {n} entries")
    # Sorting puts NaN last.  The reversed array is sorted, so that of equal entries the one that
    # comes first in x is sorted last, and taken.
    rising = xp.argsort(xp.flip(x, axis=axis), axis=axis, kind="stable")
    index: list[Any] = [slice(None)] * x.ndim
    index[axis] = slice(n - count, n)
    return xp.sort(n - 1 - rising[tuple(index)], axis=axis).astype(xp.int64, copy=False)


largest_positions.batch(axes_rule)
