"""Activations that are primitives: a composition would overflow, or have a longer derivative."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops.arrays import half_in_single, refuse_complex
from tapegrad.autograd.ops.batch_rules import axes_rule, leading_axes_rule
from tapegrad.autograd.ops.fused_bodies import fuse, fuse_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["log_softmax", "relu", "sigmoid", "softmax", "softsign"]


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

fuse(sigmoid, softmax, log_softmax, softsign)


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
fuse_rule(softmax, _softmax_gradient)
fuse_rule(log_softmax, _log_softmax_gradient)
fuse_rule(softsign, lambda xp, g, x: g / xp.square(xp.absolute(x) + 1))
