"""Activations that are primitives: a composition would overflow, or have a longer derivative."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.core.late import late_module
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops.arrays import half_in_single, refuse_complex
from tapegrad.autograd.ops.batch_rules import axes_rule, leading_axes_rule
from tapegrad.autograd.ops.fused_bodies import fuse, fuse_rule, is_large
from tapegrad.autograd.ops.shape import concatenate, split

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["gated_linear", "log_softmax", "relu", "sigmoid", "softmax", "softsign"]

columns = late_module("tapegrad.autograd.kernels.columns")


@primitive(elementwise=True)
def relu(xp: Namespace, x: Array, *, out: Array | None = None) -> Array:
    """max(x, 0), elementwise; NaN stays NaN; the derivative at 0 is 0."""
    return xp.maximum(x, xp.zeros((), dtype=x.dtype), out=out)


# A product with the mask, not a selection: NumPy multiplies six times faster than it selects.
relu.vjp(x=lambda g, y: g * (y > 0))
relu.batch(leading_axes_rule)


@primitive(elementwise=True)
def softsign(xp: Namespace, x: Array) -> Array:
    """x / (1 + |x|), elementwise, real.

    The rule is 1 / (1 + |x|)²; its own derivative jumps from 2 to -2 at 0 and is 0 there.
    """
    refuse_complex(x, "softsign")
    return x / (xp.abs(x) + 1)


softsign.vjp(x=lambda g, x: g / e.square(x * e.signum(x) + 1))
softsign.batch(leading_axes_rule)


@primitive(elementwise=True)
def sigmoid(xp: Namespace, x: Array) -> Array:
    """1 / (1 + e⁻ˣ), elementwise, without overflow at either end."""
    if x.dtype.kind == "c":
        right = x.real >= 0
        decay = xp.exp(xp.where(right, -x, x))
        return xp.where(right, 1, decay) / (1 + decay)
    decay = xp.exp(-xp.abs(x))
    if xp is np:  # whose `where` takes ten times as long as its exp
        return xp.exp(xp.minimum(x, 0)) / (1 + decay)
    return xp.where(x >= 0, 1, decay) / (1 + decay)


sigmoid.vjp(x=lambda g, x: e.over_cosh_squared(g * 0.25, x * 0.5))
sigmoid.batch(leading_axes_rule)


@primitive
@half_in_single
def softmax(xp: Namespace, x: Array, *, axis: int = -1) -> Array:
    """eˣ / Σ eˣ along `axis`, without overflow."""
    y = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return y / xp.sum(y, axis=axis, keepdims=True)


softmax.vjp(x=lambda g, y, axis: y * (g - r.sum(e.widen_half(g * y), axis=axis, keepdims=True)))
# its Jacobian is symmetric
softmax.jvp(x=lambda t, y, axis: y * (t - r.sum(e.widen_half(t * y), axis=axis, keepdims=True)))
softmax.batch(axes_rule)


@primitive
@half_in_single
def log_softmax(xp: Namespace, x: Array, *, axis: int = -1) -> Array:
    """x - log Σ eˣ along `axis`, without overflow."""
    axis_in_batch = x - xp.max(x, axis=axis, keepdims=True)
    return axis_in_batch - xp.log(xp.sum(xp.exp(axis_in_batch), axis=axis, keepdims=True))


log_softmax.vjp(
    x=lambda g, y, axis: g - e.exp(y) * r.sum(e.widen_half(g), axis=axis, keepdims=True)
)
log_softmax.jvp(
    x=lambda t, y, axis: t - r.sum(e.widen_half(t * e.exp(y)), axis=axis, keepdims=True)
)
log_softmax.batch(axes_rule)

fuse(sigmoid, softsign)
fuse(softmax, otherwise=lambda x, axis: columns().softmax_of_columns(x, axis))
fuse(log_softmax, otherwise=lambda x, axis: columns().log_softmax_of_columns(x, axis))


def _sigmoid_gradient(xp: Namespace, g: Array, x: Array) -> Array:
    if x.dtype.kind == "c":
        size = xp.cosh(x * 0.5)
        return g * 0.25 / size / size
    decay = xp.exp(-xp.absolute(x))
    inverse = 1 / (1 + decay)
    return g * (decay * inverse * inverse)


def _softmax_gradient(xp: Namespace, g: Array, y: Array, axis: int) -> Array:
    if y.dtype == np.float16:
        wide = g.astype(np.float32), y.astype(np.float32)
        return _softmax_gradient(xp, *wide, axis).astype(np.float16)
    return y * (g - xp.sum(g * y, axis=axis, keepdims=True))


def _log_softmax_gradient(xp: Namespace, g: Array, y: Array, axis: int) -> Array:
    if y.dtype == np.float16:
        wide = g.astype(np.float32), y.astype(np.float32)
        return _log_softmax_gradient(xp, *wide, axis).astype(np.float16)
    return g - xp.exp(y) * xp.sum(g, axis=axis, keepdims=True)


fuse_rule(sigmoid, _sigmoid_gradient)
fuse_rule(
    softmax,
    _softmax_gradient,
    otherwise=lambda g, y, axis: columns().softmax_gradient_of_columns(g, y, axis),
)
fuse_rule(
    log_softmax,
    _log_softmax_gradient,
    otherwise=lambda g, y, axis: columns().log_softmax_gradient_of_columns(g, y, axis),
)
fuse_rule(softsign, lambda xp, g, x: g / xp.square(xp.absolute(x) + 1))


# Gated halves -------------------------------------------------------------------------------------


def _halves(x: Array, axis: int) -> tuple[Array, Array]:
    """Both halves of an array along an axis."""
    half, before = x.shape[axis] // 2, (slice(None),) * (axis % x.ndim)
    return x[(*before, slice(half))], x[(*before, slice(half, None))]


@primitive
def gated_linear(xp: Namespace, x: Array, *, axis: int = -1) -> Array:
    """a·sigmoid(b), where a and b are the halves of x along `axis`.

    x: (…, 2·F, …) -> (…, F, …).  Raises ShapeError where the axis has an odd length.
    Source: Y. Dauphin et al., "Language modeling with gated convolutional networks", ICML 2017.
    """
    if x.shape[axis] % 2:
        raise ShapeError(f"gated_linear: axis {axis} of {x.shape} has an odd length")
    a, b = _halves(x, axis)
    return a * sigmoid.primitive.body(xp, b)


def _gated_linear_rule(g: Array, x: Array, axis: int) -> Array:
    a, b = split(x, 2, axis)
    slope = e.over_cosh_squared(g * a * 0.25, b * 0.5)
    return concatenate([g * sigmoid(b), slope], axis=axis)


def _gated_linear_tangent(t: Array, x: Array, axis: int) -> Array:
    a, b = split(x, 2, axis)
    of_a, of_b = split(t, 2, axis)
    return of_a * sigmoid(b) + e.over_cosh_squared(of_b * a * 0.25, b * 0.5)


def _gated_linear_gradient(xp: Namespace, g: Array, x: Array, axis: int) -> Array:
    a, b = _halves(x, axis)
    gate = sigmoid.primitive.body(xp, b)
    return xp.concatenate([g * gate, _sigmoid_gradient(xp, g * a, b)], axis=axis)


@gated_linear.on("numba")
def _gated_linear_by_loop(xp: Namespace, x: Array, *, axis: int = -1) -> Array:
    large = is_large(x) and x.dtype == np.float32
    y = columns().gated(np.ascontiguousarray(x), axis) if large else None
    return gated_linear.primitive.body(xp, x, axis=axis) if y is None else y


gated_linear.vjp(x=_gated_linear_rule)
gated_linear.jvp(x=_gated_linear_tangent)
gated_linear.batch(axes_rule)
fuse_rule(
    gated_linear,
    _gated_linear_gradient,
    otherwise=lambda g, x, axis: columns().gated_gradient(g, x, axis),
)
