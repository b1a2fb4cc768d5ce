"""Transfer functions of neural networks: elementwise, each one loop over memory.

At a kink a derivative is Torch7's.  Conditions are written so that NaN stays NaN.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.activation import sigmoid
from tapegrad.autograd.ops.arrays import half_in_single, real_only, refuse_complex
from tapegrad.autograd.ops.batch_rules import elementwise_rule, leading_axes_rule
from tapegrad.autograd.ops.error_function import complement, erfc
from tapegrad.autograd.ops.fused_bodies import fuse, fuse_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = [
    "elu",
    "gelu",
    "gelu_by_tanh",
    "hard_shrink",
    "hard_tanh",
    "huber",
    "leaky_relu",
    "log_one_plus_exp",
    "log_sigmoid",
    "logistic_loss",
    "magnitude",
    "mish",
    "root",
    "silu",
    "soft_plus",
    "soft_shrink",
    "threshold",
]


def _logistic(xp: Namespace, x: Array) -> Array:
    """1 / (1 + e⁻ˣ) of an array, without overflow."""
    decay = xp.exp(-xp.absolute(x))
    return xp.where(x >= 0, 1, decay) / (1 + decay)


def _log_one_plus_exp(xp: Namespace, x: Array) -> Array:
    """log(1 + eˣ) of an array, without overflow."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.absolute(x)))


# With a kink --------------------------------------------------------------------------------------


@primitive(elementwise=True)
@real_only
def leaky_relu(xp: Namespace, x: Array, *, slope: float = 0.01) -> Array:
    """x where x > 0, else slope·x, elementwise; the derivative at 0 is the slope.

    Source: A. Maas, A. Hannun, A. Ng, "Rectifier nonlinearities improve neural network acoustic
    models", 2013.
    """
    return xp.where(x > 0, x, x * slope)


leaky_relu.vjp(x=lambda g, x, slope: e.where(x > 0, g, g * slope))
fuse_rule(leaky_relu, lambda xp, g, x, slope: xp.where(x > 0, g, g * slope))


@primitive(elementwise=True)
@real_only
def magnitude(xp: Namespace, x: Array) -> Array:
    """|x|, elementwise; the derivative at 0 is 1, as Torch7 has it."""
    return xp.where(x >= 0, x, -x)


magnitude.vjp(x=lambda g, x: e.where(x >= 0, g, -g))
fuse_rule(magnitude, lambda xp, g, x: xp.where(x >= 0, g, -g))


@primitive(elementwise=True)
@real_only
def threshold(xp: Namespace, x: Array, *, limit: float = 1e-6, value: float = 0) -> Array:
    """x where x > limit, else the value, elementwise; NaN stays NaN; the derivative at limit is 0.

    Source: nn.Threshold.
    """
    return xp.where(x <= limit, value, x)


threshold.vjp(x=lambda g, x, limit: e.where(x <= limit, 0, g))
fuse_rule(threshold, lambda xp, g, x, limit: xp.where(x <= limit, 0, g))


@primitive(elementwise=True, domain={"x": (0, None)})
def root(xp: Namespace, x: Array) -> Array:
    """√x, elementwise; at 0 the derivative, and every further one, is 0, as Torch7 has it."""
    return xp.sqrt(x)


root.vjp(x=lambda g, y: g / e.where(y == 0, np.inf, y + y))
fuse_rule(root, lambda xp, g, y: g / xp.where(y == 0, xp.inf, y + y))


@primitive(elementwise=True)
@real_only
def hard_shrink(xp: Namespace, x: Array, *, limit: float = 0.5) -> Array:
    """x where |x| > limit, else 0, elementwise."""
    return xp.where(xp.absolute(x) <= limit, 0, x)


hard_shrink.vjp(x=lambda g, x, limit: e.where(e.absolute(x) <= limit, 0, g))
fuse_rule(hard_shrink, lambda xp, g, x, limit: xp.where(xp.absolute(x) <= limit, 0, g))


@primitive(elementwise=True)
@real_only
def soft_shrink(xp: Namespace, x: Array, *, limit: float = 0.5) -> Array:
    """x moved towards 0 by limit, and 0 where |x| <= limit, elementwise."""
    return x - xp.maximum(xp.minimum(x, limit), -limit)


soft_shrink.vjp(x=lambda g, x, limit: e.where(e.absolute(x) <= limit, 0, g))
fuse_rule(soft_shrink, lambda xp, g, x, limit: xp.where(xp.absolute(x) <= limit, 0, g))


@primitive(elementwise=True)
@real_only
def hard_tanh(xp: Namespace, x: Array, *, low: float = -1, high: float = 1) -> Array:
    """x limited to low … high, elementwise; the derivative at the limits is 0."""
    return xp.minimum(xp.maximum(x, low), high)


hard_tanh.vjp(x=lambda g, x, low, high: g * ((x > low) & (x < high)))
fuse_rule(hard_tanh, lambda xp, g, x, low, high: xp.where(x > low, xp.where(x < high, g, 0), 0))


@primitive(elementwise=True)
@real_only
def elu(xp: Namespace, x: Array, *, alpha: float = 1) -> Array:
    """x where x > 0, else alpha·(eˣ - 1), elementwise.

    Source: D.-A. Clevert et al., "Fast and accurate deep network learning by exponential linear
    units (ELUs)", ICLR 2016.
    """
    below = xp.expm1(xp.minimum(x, 0)) * alpha  # eˣ must not overflow where x is large
    return xp.where(x > 0, x, below)


elu.vjp(x=lambda g, x, alpha: e.where(x > 0, g, g * (e.exp(e.minimum(x, 0)) * alpha)))
fuse_rule(elu, lambda xp, g, x, alpha: xp.where(x > 0, g, g * (xp.exp(xp.minimum(x, 0)) * alpha)))


@primitive(elementwise=True)
@real_only
def huber(xp: Namespace, x: Array, *, delta: float = 1) -> Array:
    """x²/2 where |x| < delta, else delta·(|x| - delta/2), elementwise.

    Source: P. Huber, "Robust estimation of a location parameter", 1964.
    """
    size = xp.absolute(x)
    return xp.where(size < delta, x * x * 0.5, delta * (size - 0.5 * delta))


huber.vjp(x=lambda g, x, delta: e.where(e.absolute(x) < delta, g * x, g * e.sign(x) * delta))
fuse_rule(
    huber,
    lambda xp, g, x, delta: xp.where(xp.absolute(x) < delta, g * x, g * xp.sign(x) * delta),
)


# Smooth -------------------------------------------------------------------------------------------


@primitive(elementwise=True)
@real_only
def log_sigmoid(xp: Namespace, x: Array) -> Array:
    """log(1 / (1 + e⁻ˣ)), elementwise, without overflow."""
    return xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.absolute(x)))


log_sigmoid.vjp(x=lambda g, x: g * sigmoid(-x))
fuse_rule(log_sigmoid, lambda xp, g, x: g * _logistic(xp, -x))


@primitive(elementwise=True)
@real_only
def log_one_plus_exp(xp: Namespace, x: Array) -> Array:
    """log(1 + eˣ), elementwise, without overflow."""
    return _log_one_plus_exp(xp, x)


log_one_plus_exp.vjp(x=lambda g, x: g * sigmoid(x))
fuse_rule(log_one_plus_exp, lambda xp, g, x: g * _logistic(xp, x))


@primitive(elementwise=True, domain={"t": (0, 1)})
def logistic_loss(xp: Namespace, x: Array, t: Array) -> Array:
    """t·log(1 + e⁻ˣ) + (1 - t)·log(1 + eˣ), elementwise, without overflow, small where it is so.

    0 <= t <= 1.  It is -log of the probability that a score x gives to the target t, 0 or 1.
    """
    share = xp.where(x >= 0, 1 - t, t)
    refuse_complex(x, "logistic_loss")
    refuse_complex(share, "logistic_loss")
    size = xp.absolute(x)
    return size * share + xp.log1p(xp.exp(-size))


logistic_loss.vjp(
    x=lambda g, x, t: g * ((1 - t) * sigmoid(x) - t * sigmoid(-x)),
    t=lambda g, x: -(g * x),
)


def _logistic_loss_gradient(xp: Namespace, g: Array, x: Array, t: Array) -> Array:
    decay = xp.exp(-xp.absolute(x))
    is_positive = x >= 0
    above = (1 - t) * xp.where(is_positive, 1, decay)
    return g * ((above - t * xp.where(is_positive, decay, 1)) * (1 / (1 + decay)))


fuse_rule(logistic_loss, _logistic_loss_gradient)


@primitive(elementwise=True)
@real_only
def soft_plus(xp: Namespace, x: Array, *, beta: float = 1, threshold: float = 20) -> Array:
    """log(1 + exp(beta·x)) / beta, elementwise; x itself where beta·x > threshold."""
    scaled = x * beta
    return xp.where(scaled > threshold, x, _log_one_plus_exp(xp, scaled) / beta)


soft_plus.vjp(
    x=lambda g, x, beta, threshold: e.where(x * beta > threshold, g, g * sigmoid(x * beta))
)
fuse_rule(
    soft_plus,
    lambda xp, g, x, beta, threshold: xp.where(
        x * beta > threshold, g, g * _logistic(xp, x * beta)
    ),
)


@primitive(elementwise=True)
@real_only
def silu(xp: Namespace, x: Array) -> Array:
    """x·sigmoid(x), elementwise.

    Source: S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network
    function approximation in reinforcement learning", 2017, equation 3.
    """
    return x * _logistic(xp, x)


def _silu_rule(g: Array, x: Array) -> Array:
    return g * sigmoid(x) + g * x * e.over_cosh_squared(0.25, x * 0.5)


def _silu_gradient(xp: Namespace, g: Array, x: Array) -> Array:
    decay = xp.exp(-xp.absolute(x))
    inverse = 1 / (1 + decay)
    return g * (xp.where(x >= 0, 1, decay) * inverse + x * (decay * inverse * inverse))


silu.vjp(x=_silu_rule)
fuse_rule(silu, _silu_gradient)


@primitive(elementwise=True)
@real_only
def mish(xp: Namespace, x: Array) -> Array:
    """x·tanh(log(1 + eˣ)), elementwise.

    Source: D. Misra, "Mish: a self regularized non-monotonic activation function", 2019.
    """
    return x * xp.tanh(_log_one_plus_exp(xp, x))


def _mish_rule(g: Array, x: Array) -> Array:
    inner = e.logaddexp(x, 0)
    return g * e.tanh(inner) + g * x * sigmoid(x) * e.over_cosh_squared(1.0, inner)


def _mish_gradient(xp: Namespace, g: Array, x: Array) -> Array:
    y = xp.tanh(_log_one_plus_exp(xp, x))
    return g * (y + x * _logistic(xp, x) * (1 - y) * (1 + y))


mish.vjp(x=_mish_rule)
fuse_rule(mish, _mish_gradient)


ROOT_HALF, DENSITY = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)


@primitive(elementwise=True)
@real_only
@half_in_single
def gelu(xp: Namespace, x: Array) -> Array:
    """x·Φ(x), Φ the normal distribution function, elementwise.

    Source: D. Hendrycks, K. Gimpel, "Gaussian error linear units (GELUs)", 2016, section 2.
    """
    return x * 0.5 * complement(xp, x * -ROOT_HALF)


def _gelu_rule(g: Array, x: Array) -> Array:
    wide = e.widen_half(x)
    normal = erfc(wide * -ROOT_HALF) * 0.5
    return g * (normal + wide * (e.exp(wide * wide * -0.5) * DENSITY))


def _gelu_gradient(xp: Namespace, g: Array, x: Array) -> Array:
    wide = x.astype(np.float32) if x.dtype == np.float16 else x
    normal = complement(xp, wide * -ROOT_HALF) * 0.5
    return g * (normal + wide * (xp.exp(wide * wide * -0.5) * DENSITY))


SLOPE, FARTHEST = 0.3, 14.0  # beyond, the tail of Φ is no float32


def _tail_series() -> list[float]:
    """The coefficients of (1 - Φ(x)) exp(x²/2) / t as a polynomial in t = 1 / (1 + SLOPE·x)."""
    middle = (1 + 1 / (1 + SLOPE * FARTHEST)) / 2
    t = middle + (1 - middle) * np.cos(np.pi * (np.arange(10) + 0.5) / 10)  # Chebyshev's nodes
    x = (1 / t - 1) / SLOPE
    values = complement(np, x * ROOT_HALF) / 2 * np.exp(x * x / 2) / t
    return [float(c) for c in np.linalg.solve(np.vander(t, increasing=True), values)]


TAIL = _tail_series()


@gelu.primitive.stepwise
def _gelu_in_steps(xp: Namespace, x: Array) -> Array:
    return x * _normal_and_density(xp, x)[0]


def _gelu_gradient_in_steps(xp: Namespace, g: Array, x: Array) -> Array:
    normal, fall = _normal_and_density(xp, x)
    return g * (normal + x * (fall * DENSITY))


def _normal_and_density(xp: Namespace, x: Array) -> tuple[Array, Array]:
    """Φ(x) and exp(-x²/2) of float32, by a polynomial for the tail of Φ."""
    if x.dtype != np.float32:
        raise TypeError("its polynomial is one for float32")
    size = xp.absolute(x)
    fall = xp.exp(size * size * -0.5)
    inverse = 1 / (1 + size * SLOPE)
    *rest, total = TAIL
    for coefficient in reversed(rest):
        total = total * inverse + coefficient
    tail = fall * (total * inverse)
    return xp.where(x < 0, tail, 1 - tail), fall


gelu.vjp(x=_gelu_rule)
fuse_rule(gelu, _gelu_gradient, _gelu_gradient_in_steps)

SCALE, CUBE = 2 * math.sqrt(2 / math.pi), 0.044715


@primitive(elementwise=True)
@real_only
@half_in_single
def gelu_by_tanh(xp: Namespace, x: Array) -> Array:
    """x·(1 + tanh(√(2/π)·(x + 0.044715·x³))) / 2, elementwise: nearly `gelu`.

    Source: as `gelu`.
    """
    argument = (x + x * x * x * CUBE) * SCALE
    decay = xp.exp(-xp.absolute(argument))
    inverse = 1 / (1 + decay)  # as the gradient has it, so that a kernel divides once for both
    return x * (xp.where(argument >= 0, 1, decay) * inverse)


def _gelu_by_tanh_rule(g: Array, x: Array) -> Array:
    x = e.widen_half(x)
    argument = (x + x * x * x * CUBE) * SCALE
    slope = (x * x * (3 * CUBE) + 1) * SCALE
    return g * (sigmoid(argument) + x * slope * e.over_cosh_squared(0.25, argument * 0.5))


def _gelu_by_tanh_gradient(xp: Namespace, g: Array, x: Array) -> Array:
    x = x.astype(np.float32) if x.dtype == np.float16 else x
    argument = (x + x * x * x * CUBE) * SCALE
    slope = (x * x * (3 * CUBE) + 1) * SCALE
    decay = xp.exp(-xp.absolute(argument))
    inverse = 1 / (1 + decay)
    share = xp.where(argument >= 0, 1, decay) * inverse
    return g * (share + x * slope * (decay * inverse * inverse))


gelu_by_tanh.vjp(x=_gelu_by_tanh_rule)
fuse_rule(gelu_by_tanh, _gelu_by_tanh_gradient)

_OF_ONE = (
    leaky_relu, magnitude, threshold, root, hard_shrink, soft_shrink, hard_tanh, elu, huber,
    log_sigmoid, log_one_plus_exp, soft_plus, silu, mish, gelu, gelu_by_tanh,
)  # fmt: skip
fuse(*_OF_ONE, logistic_loss)
for _function in _OF_ONE:
    _function.batch(leading_axes_rule)
logistic_loss.batch(elementwise_rule)
