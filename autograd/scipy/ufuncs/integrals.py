"""Functions that are integrals: exponential, trigonometric, Fresnel's, Dawson's, of Faddeeva."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.bessel import j0, k0, special_i0, y0
from tapegrad.autograd.ops.error_function import erf
from tapegrad.autograd.ops.integral_functions import sinc
from tapegrad.autograd.ops.scipy_ufuncs import declare_ufunc
from tapegrad.autograd.ops.special import exprel
from tapegrad.autograd.scipy.ufuncs.common import WHOLE, joined
from tapegrad.autograd.scipy.ufuncs.cylinder import modstruve, struve
from tapegrad.autograd.scipy.ufuncs.hypergeometric import hyp2f1

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "dawsn",
    "erfi",
    "exp1",
    "expi",
    "expn",
    "fresnel",
    "it2i0k0",
    "it2j0y0",
    "it2struve0",
    "iti0k0",
    "itj0y0",
    "itmodstruve0",
    "itstruve0",
    "modfresnelm",
    "modfresnelp",
    "owens_t",
    "shichi",
    "sici",
    "spence",
    "voigt_profile",
    "wofz",
]

_ROOT_PI = math.sqrt(math.pi)
_ROOT_TAU = math.sqrt(math.tau)

exp1 = declare_ufunc(
    __name__, "exp1", "E₁(z) = ∫ exp(-t)/t dt from z to ∞.", z=lambda g, z: -(g * (e.exp(-z) / z))
)
expi = declare_ufunc(
    __name__, "expi", "Ei(z) = ∫ exp(t)/t dt from -∞ to z.", z=lambda g, z: g * (e.exp(z) / z)
)


def _expn_slope(g: Array, n: Any, x: Array) -> Array:
    """-E_{n-1}(x); E_{-1}, which SciPy has not, is in closed form."""
    if not hasattr(n, "dtype"):
        return -(g * (expn(n - 1, x) if n > 0 else _before_first(x)))
    below = expn(e.maximum(n - 1, 0), x)
    return -(g * e.where(n > 0, below, _before_first(x)))


def _before_first(x: Array) -> Array:
    """E_{-1}(x)."""
    return e.exp(-x) * (x + 1) / e.square(x)


expn = declare_ufunc(
    __name__,
    "expn",
    "E_n(x) = ∫ exp(-xt)/tⁿ dt from 1 to ∞; n a whole number, x > 0.",
    n=WHOLE,
    x=_expn_slope,
)


def _spence_slope(z: Array) -> Array:
    """log(z) / (1 - z), near 1 by its series, which does not divide 0 by 0."""
    near = e.absolute(z - 1) < 0.25
    series = -hyp2f1(1.0, 1.0, 2.0, 1 - e.where(near, z, 1.0))
    away = e.where(near, 0.5, z)
    return e.where(near, series, e.log(away) / (1 - away))


spence = declare_ufunc(
    __name__,
    "spence",
    "Spence's function, ∫ log(t)/(1 - t) dt from 1 to z.",
    z=lambda g, z: g * _spence_slope(z),
)
dawsn = declare_ufunc(
    __name__,
    "dawsn",
    "Dawson's integral exp(-x²) ∫ exp(t²) dt from 0 to x.",
    x=lambda g, x, y: g * (1 - 2 * x * y),
)
erfi = declare_ufunc(
    __name__,
    "erfi",
    "-i·erf(iz).",
    z=lambda g, z: g * (e.exp(e.square(z)) * (2 / _ROOT_PI)),
)
wofz = declare_ufunc(
    __name__,
    "wofz",
    "Faddeeva's function exp(-z²)·erfc(-iz), complex.",
    z=lambda g, z, y: g * (2j / _ROOT_PI - 2 * z * y),
)


def _voigt_parts(x: Array, sigma: Array, gamma: Array) -> tuple[Array, Array, Array, Array]:
    """z = (x + iγ)/(σ√2), and w'(z) for w = `wofz`: the real and imaginary parts of both."""
    scale = math.sqrt(0.5) / sigma
    across, along = x * scale, gamma * scale
    w = wofz(across + along * 1j)
    real, imaginary = e.real(w), e.imag(w)
    slope = 2 * (along * imaginary - across * real)
    turn = 2 / _ROOT_PI - 2 * (across * imaginary + along * real)
    return across, along, slope, turn


def _voigt_x(g: Array, x: Array, sigma: Array, gamma: Array) -> Array:
    _, _, slope, _ = _voigt_parts(x, sigma, gamma)
    return g * (slope / (2 * _ROOT_PI * e.square(sigma)))


def _voigt_gamma(g: Array, x: Array, sigma: Array, gamma: Array) -> Array:
    _, _, _, turn = _voigt_parts(x, sigma, gamma)
    return -(g * (turn / (2 * _ROOT_PI * e.square(sigma))))


def _voigt_sigma(g: Array, x: Array, sigma: Array, gamma: Array, y: Array) -> Array:
    across, along, slope, turn = _voigt_parts(x, sigma, gamma)
    product = across * slope - along * turn
    return -(g * (y / sigma + product / (_ROOT_TAU * e.square(sigma))))


voigt_profile = declare_ufunc(
    __name__,
    "voigt_profile",
    "The density at x of the sum of a normal (σ) and a Cauchy variable (γ); σ > 0, γ >= 0.",
    x=_voigt_x,
    sigma=_voigt_sigma,
    gamma=_voigt_gamma,
)
sici = declare_ufunc(
    __name__,
    "sici",
    "[∫ sin(t)/t dt from 0 to x, -∫ cos(t)/t dt from x to ∞].",
    several=True,
    x=lambda g, x: joined(g, lambda: sinc(x * (1 / math.pi)), lambda: e.cos(x) / x),
)


def _sinhc(x: Array) -> Array:
    """sinh(x) / x, 1 at 0."""
    if x.dtype.kind == "c":
        return sinc(x * (1j / math.pi))
    return e.exp(-x) * exprel(2 * x)


shichi = declare_ufunc(
    __name__,
    "shichi",
    "[∫ sinh(t)/t dt from 0 to x, γ + log x + ∫ (cosh(t) - 1)/t dt from 0 to x].",
    several=True,
    x=lambda g, x: joined(g, lambda: _sinhc(x), lambda: e.cosh(x) / x),
)


def _fresnel_slope(g: Any, z: Array) -> Array:
    angle = e.square(z) * (math.pi / 2)
    return joined(g, lambda: e.sin(angle), lambda: e.cos(angle))


fresnel = declare_ufunc(
    __name__,
    "fresnel",
    "[∫ sin(πt²/2) dt, ∫ cos(πt²/2) dt] from 0 to z.",
    several=True,
    z=_fresnel_slope,
)


def _modified_fresnel(g: Any, x: Array, y: Any, turn: complex) -> Array:
    """The slopes of [∫ exp(±it²) dt from x to ∞, that times exp(∓i(x² + π/4)) / √π]."""
    start = complex(np.exp(-turn * math.pi / 4)) / _ROOT_PI
    return joined(g, lambda: -e.exp(turn * e.square(x)), lambda: -2 * turn * x * y[1] - start)


modfresnelp = declare_ufunc(
    __name__,
    "modfresnelp",
    "[∫ exp(it²) dt from x to ∞, that times exp(-i(x² + π/4))/√π], complex; x >= 0.",
    several=True,
    double=True,
    x=lambda g, x, y: _modified_fresnel(g, x, y, 1j),
)
modfresnelm = declare_ufunc(
    __name__,
    "modfresnelm",
    "[∫ exp(-it²) dt from x to ∞, that times exp(i(x² + π/4))/√π], complex; x >= 0.",
    several=True,
    double=True,
    x=lambda g, x, y: _modified_fresnel(g, x, y, -1j),
)


def _owens_h(g: Array, h: Array, a: Array) -> Array:
    return -(g * (e.exp(e.square(h) * -0.5) * erf(a * h * math.sqrt(0.5)) / (2 * _ROOT_TAU)))


def _owens_a(g: Array, h: Array, a: Array) -> Array:
    square = 1 + e.square(a)
    return g * (e.exp(e.square(h) * square * -0.5) / (math.tau * square))


owens_t = declare_ufunc(
    __name__,
    "owens_t",
    "Owen's T: the probability of X > h and 0 < Y < aX, both standard normal.",
    h=_owens_h,
    a=_owens_a,
)

# Integrals of Bessel and Struve functions ---------------------------------------------------------

iti0k0 = declare_ufunc(
    __name__,
    "iti0k0",
    "[∫ I₀, ∫ K₀] from 0 to x; x > 0.",
    several=True,
    x=lambda g, x: joined(g, lambda: special_i0(x), lambda: k0(x)),
)
itj0y0 = declare_ufunc(
    __name__,
    "itj0y0",
    "[∫ J₀, ∫ Y₀] from 0 to x; x > 0.",
    several=True,
    x=lambda g, x: joined(g, lambda: j0(x), lambda: y0(x)),
)
it2i0k0 = declare_ufunc(
    __name__,
    "it2i0k0",
    "[∫ (I₀(t) - 1)/t dt from 0 to x, ∫ K₀(t)/t dt from x to ∞]; x > 0.",
    several=True,
    x=lambda g, x: joined(g, lambda: (special_i0(x) - 1) / x, lambda: -k0(x) / x),
)
it2j0y0 = declare_ufunc(
    __name__,
    "it2j0y0",
    "[∫ (1 - J₀(t))/t dt from 0 to x, ∫ Y₀(t)/t dt from x to ∞]; x > 0.",
    several=True,
    x=lambda g, x: joined(g, lambda: (1 - j0(x)) / x, lambda: -y0(x) / x),
)
itstruve0 = declare_ufunc(
    __name__, "itstruve0", "∫ H₀ from 0 to x.", x=lambda g, x: g * struve(0.0, x)
)
itmodstruve0 = declare_ufunc(
    __name__, "itmodstruve0", "∫ L₀ from 0 to x.", x=lambda g, x: g * modstruve(0.0, x)
)
it2struve0 = declare_ufunc(
    __name__,
    "it2struve0",
    "∫ H₀(t)/t dt from x to ∞; x > 0.",
    x=lambda g, x: -(g * (struve(0.0, x) / x)),
)
