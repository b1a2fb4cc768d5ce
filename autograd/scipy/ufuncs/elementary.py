"""Powers, angles in degrees, transformations and losses of scipy.special, and its mean of Gauss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.bessel import kv, yv
from tapegrad.autograd.ops.scipy_ufuncs import by_name, declare_ufunc
from tapegrad.autograd.ops.special import box_cox_slope
from tapegrad.autograd.scipy.ufuncs.elliptic import elliprd

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "agm",
    "boxcox1p",
    "cosdg",
    "cosm1",
    "cotdg",
    "gammasgn",
    "huber",
    "inv_boxcox",
    "inv_boxcox1p",
    "powm1",
    "pseudo_huber",
    "radian",
    "round",
    "sindg",
    "tandg",
    "tklmbda",
]

_DEGREE = math.pi / 180

# SciPy has ufuncs of its own for these, which are ours already.
by_name.update(cbrt=e.cbrt, exp2=e.exp2, expm1=e.expm1, kn=kv, log1p=e.log1p, yn=yv)

cosm1 = declare_ufunc(__name__, "cosm1", "cos(x) - 1.", x=lambda g, x: -(g * e.sin(x)))


def _powm1_slope(g: Array, x: Array, exponent: Array) -> Array:
    """∂(x^e)/∂x."""
    return g * (exponent * e.power(x, exponent - 1))


powm1 = declare_ufunc(
    __name__,
    "powm1",
    "x^exponent - 1, exact near x = 1 and exponent = 0.",
    x=_powm1_slope,
    exponent=lambda g, x, y: g * ((y + 1) * e.log(x)),
)
sindg = declare_ufunc(
    __name__, "sindg", "sin of x degrees.", x=lambda g, x: g * (_DEGREE * cosdg(x))
)
cosdg = declare_ufunc(
    __name__, "cosdg", "cos of x degrees.", x=lambda g, x: g * (-_DEGREE * sindg(x))
)
tandg = declare_ufunc(
    __name__, "tandg", "tan of x degrees.", x=lambda g, y: g * (_DEGREE * (1 + y * y))
)
cotdg = declare_ufunc(
    __name__, "cotdg", "cot of x degrees.", x=lambda g, y: g * (-_DEGREE * (1 + y * y))
)
radian = declare_ufunc(
    __name__,
    "radian",
    "The angle of d degrees, m minutes and s seconds in radians.",
    d=lambda g: g * _DEGREE,
    m=lambda g: g * (_DEGREE / 60),
    s=lambda g: g * (_DEGREE / 3600),
)
round = declare_ufunc(
    __name__,
    "round",
    "The nearest whole number, an even one halfway.",
    differentiable=False,
    x=None,
)
gammasgn = declare_ufunc(__name__, "gammasgn", "The sign of Γ(x).", differentiable=False, x=None)


def _box_cox_inverted(g: Array, log: Array, lmbda: Array) -> Array:
    """The cotangent of λ of the inverse of `boxcox`, whose result's logarithm is given."""
    return -(g * (box_cox_slope(log, lmbda) * e.exp(log * (1 - lmbda))))


boxcox1p = declare_ufunc(
    __name__,
    "boxcox1p",
    "((1 + x)^λ - 1) / λ, or log(1 + x) where λ is 0; x > -1.",
    x=lambda g, x, lmbda: g * e.exp((lmbda - 1) * e.log1p(x)),
    lmbda=lambda g, x, lmbda: g * box_cox_slope(e.log1p(x), lmbda),
)
inv_boxcox = declare_ufunc(
    __name__,
    "inv_boxcox",
    "(λx + 1)^(1/λ), or exp(x) where λ is 0: the inverse of `boxcox`.",
    x=lambda g, lmbda, y: g * e.power(y, 1 - lmbda),
    lmbda=lambda g, lmbda, y: _box_cox_inverted(g, e.log(y), lmbda),
)
inv_boxcox1p = declare_ufunc(
    __name__,
    "inv_boxcox1p",
    "(λx + 1)^(1/λ) - 1, or exp(x) - 1 where λ is 0: the inverse of `boxcox1p`.",
    x=lambda g, lmbda, y: g * e.exp((1 - lmbda) * e.log1p(y)),
    lmbda=lambda g, lmbda, y: _box_cox_inverted(g, e.log1p(y), lmbda),
)


def _tukey_density(p: Array, lmbda: Array) -> Array:
    """1 over the derivative of Tukey's quantile function (p^λ - (1 - p)^λ) / λ.

    Outside of its values, for λ > 0 beyond ±1/λ, the distribution function is 0 or 1, and flat.
    """
    inside = (p > 0) & (p < 1)
    p = e.where(inside, p, 0.5)
    return e.where(inside, 1 / (e.power(p, lmbda - 1) + e.power(1 - p, lmbda - 1)), 0)


tklmbda = declare_ufunc(
    __name__,
    "tklmbda",
    "The distribution function of Tukey's lambda.",
    x=lambda g, lmbda, y: g * _tukey_density(y, lmbda),
    lmbda=lambda g, lmbda, y: (
        g
        * (box_cox_slope(e.log1p(-y), lmbda) - box_cox_slope(e.log(y), lmbda))
        * _tukey_density(y, lmbda)
    ),
)
huber = declare_ufunc(
    __name__,
    "huber",
    "r²/2 where |r| <= δ, else δ(|r| - δ/2).",
    delta=lambda g, delta, r: g * e.maximum(e.absolute(r) - delta, 0),
    r=lambda g, delta, r: g * e.maximum(e.minimum(r, delta), -delta),
)


def _pseudo_huber_delta(g: Array, delta: Array, r: Array) -> Array:
    """δt⁴ / (s (s + 1)²) with t = r/δ and s = √(1 + t²), which loses no digits near r = 0."""
    square = e.square(r / delta)
    root = e.sqrt(1 + square)
    return g * (delta * square * square / (root * e.square(root + 1)))


pseudo_huber = declare_ufunc(
    __name__,
    "pseudo_huber",
    "δ²(√(1 + (r/δ)²) - 1).",
    delta=_pseudo_huber_delta,
    r=lambda g, delta, r: g * (r / e.sqrt(1 + e.square(r / delta))),
)


def _agm_slope(g: Array, a: Any, b: Any, y: Array) -> Array:
    """∂agm(a, b)/∂a, of agm = (π/2) / R_F(0, a², b²)."""
    return g * (e.square(y) * a * elliprd(0.0, e.square(b), e.square(a)) * (2 / (3 * math.pi)))


agm = declare_ufunc(
    __name__,
    "agm",
    "The arithmetic-geometric mean; a, b > 0.",
    a=_agm_slope,
    b=lambda g, a, b, y: _agm_slope(g, b, a, y),
)
