"""Bessel functions that are scaled, of the third kind, of Struve, Kelvin and Airy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.scipy_ufuncs import declare_ufunc
from tapegrad.autograd.ops.special import rgamma
from tapegrad.autograd.scipy.ufuncs.common import PARAMETER, joined

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "airy",
    "airye",
    "bei",
    "beip",
    "ber",
    "berp",
    "besselpoly",
    "hankel1",
    "hankel1e",
    "hankel2",
    "hankel2e",
    "itairy",
    "jve",
    "k0e",
    "k1e",
    "kei",
    "keip",
    "kelvin",
    "ker",
    "kerp",
    "kve",
    "modstruve",
    "struve",
    "yve",
]

_ROOT_PI = math.sqrt(math.pi)


def _difference(function: Any, v: Array, z: Array) -> Array:
    """The derivative of an unscaled function of the kinds J, Y, H."""
    return (function(v - 1, z) - function(v + 1, z)) / 2


def _of_scaled(g: Array, function: Any, v: Array, z: Array, y: Array) -> Array:
    """The rule of a function of the kind J or Y times exp(-|Im z|)."""
    slope = g * _difference(function, v, z)
    if z.dtype.kind != "c":
        return slope
    # the factor follows the imaginary part alone
    return slope + 1j * e.signum(e.imag(z)) * e.real(g * y)


def _tangent_of_scaled(t: Array, function: Any, v: Array, z: Array, y: Array) -> Array:
    """The same for a tangent."""
    slope = t * _difference(function, v, z)
    if z.dtype.kind != "c":
        return slope
    return slope - e.signum(e.imag(z)) * e.imag(t) * y


jve = declare_ufunc(
    __name__,
    "jve",
    "J_v(z)·exp(-|Im z|).",
    v=PARAMETER,
    holomorphic=False,
    z=lambda g, v, z, y: _of_scaled(g, jve, v, z, y),
)
jve.jvp(z=lambda t, v, z, y: _tangent_of_scaled(t, jve, v, z, y))
yve = declare_ufunc(
    __name__,
    "yve",
    "Y_v(z)·exp(-|Im z|).",
    v=PARAMETER,
    holomorphic=False,
    z=lambda g, v, z, y: _of_scaled(g, yve, v, z, y),
)
yve.jvp(z=lambda t, v, z, y: _tangent_of_scaled(t, yve, v, z, y))
kve = declare_ufunc(
    __name__,
    "kve",
    "K_v(z)·exp(z).",
    v=PARAMETER,
    z=lambda g, v, z, y: g * (y - (kve(v - 1, z) + kve(v + 1, z)) / 2),
)
k0e = declare_ufunc(__name__, "k0e", "K₀(x)·exp(x).", x=lambda g, x, y: g * (y - k1e(x)))
k1e = declare_ufunc(__name__, "k1e", "K₁(x)·exp(x).", x=lambda g, x, y: g * (y - k0e(x) - y / x))
hankel1 = declare_ufunc(
    __name__,
    "hankel1",
    "J_v(z) + i·Y_v(z), complex.",
    v=PARAMETER,
    z=lambda g, v, z: g * _difference(hankel1, v, z),
)
hankel2 = declare_ufunc(
    __name__,
    "hankel2",
    "J_v(z) - i·Y_v(z), complex.",
    v=PARAMETER,
    z=lambda g, v, z: g * _difference(hankel2, v, z),
)
hankel1e = declare_ufunc(
    __name__,
    "hankel1e",
    "`hankel1` times exp(-iz), complex.",
    v=PARAMETER,
    z=lambda g, v, z, y: g * (_difference(hankel1e, v, z) - 1j * y),
)
hankel2e = declare_ufunc(
    __name__,
    "hankel2e",
    "`hankel2` times exp(iz), complex.",
    v=PARAMETER,
    z=lambda g, v, z, y: g * (_difference(hankel2e, v, z) + 1j * y),
)


def _struve_term(v: Array, x: Array) -> Array:
    """(x/2)^v / (√π·Γ(v + 3/2)), in which the recurrences of Struve functions differ."""
    return e.power(x * 0.5, v) * rgamma(v + 1.5) / _ROOT_PI


struve = declare_ufunc(
    __name__,
    "struve",
    "Struve's function H_v(x).",
    v=PARAMETER,
    x=lambda g, v, x: g * (_difference(struve, v, x) + _struve_term(v, x) / 2),
)
modstruve = declare_ufunc(
    __name__,
    "modstruve",
    "Struve's modified function L_v(x).",
    v=PARAMETER,
    x=lambda g, v, x: g * ((modstruve(v - 1, x) + modstruve(v + 1, x) + _struve_term(v, x)) / 2),
)
besselpoly = declare_ufunc(
    __name__,
    "besselpoly",
    "∫ x^λ J_v(2ax) dx from 0 to 1.",
    a=lambda g, a, lmbda, v: (
        g * (besselpoly(a, lmbda + 1, v - 1) - besselpoly(a, lmbda + 1, v + 1))
    ),
    lmbda=PARAMETER,
    v=PARAMETER,
)

# Kelvin: w = ber + i·bei and ker + i·kei solve x²w'' + xw' = ix²w ---------------------------------

ber = declare_ufunc(__name__, "ber", "Kelvin's ber(x).", x=lambda g, x: g * berp(x))
bei = declare_ufunc(__name__, "bei", "Kelvin's bei(x).", x=lambda g, x: g * beip(x))
ker = declare_ufunc(__name__, "ker", "Kelvin's ker(x); x > 0.", x=lambda g, x: g * kerp(x))
kei = declare_ufunc(__name__, "kei", "Kelvin's kei(x); x > 0.", x=lambda g, x: g * keip(x))
berp = declare_ufunc(
    __name__, "berp", "The derivative of `ber`; x > 0.", x=lambda g, x, y: -(g * (bei(x) + y / x))
)
beip = declare_ufunc(
    __name__, "beip", "The derivative of `bei`; x > 0.", x=lambda g, x, y: g * (ber(x) - y / x)
)
kerp = declare_ufunc(
    __name__, "kerp", "The derivative of `ker`; x > 0.", x=lambda g, x, y: -(g * (kei(x) + y / x))
)
keip = declare_ufunc(
    __name__, "keip", "The derivative of `kei`; x > 0.", x=lambda g, x, y: g * (ker(x) - y / x)
)


def _kelvin_slope(g: Any, x: Array, y: Any) -> Array:
    first, second, first_slope, second_slope = y
    return joined(
        g,
        lambda: first_slope,
        lambda: second_slope,
        lambda: 1j * first - first_slope / x,
        lambda: 1j * second - second_slope / x,
    )


kelvin = declare_ufunc(
    __name__,
    "kelvin",
    "[ber + i·bei, ker + i·kei, and the derivatives of both]; x > 0, complex.",
    several=True,
    x=_kelvin_slope,
)

# Airy: y'' = zy -----------------------------------------------------------------------------------


def _airy_slope(g: Any, z: Array, y: Any) -> Array:
    return joined(g, lambda: y[1], lambda: z * y[0], lambda: y[3], lambda: z * y[2])


airy = declare_ufunc(__name__, "airy", "Airy's [Ai, Ai', Bi, Bi'].", several=True, z=_airy_slope)

SCALED_AIRY = (
    "airye of complex numbers has no derivative: its factor |exp(…)| is not one of z alone"
)


def _airye_slope(g: Any, z: Array, y: Any) -> Array:
    if z.dtype.kind == "c":
        raise TypeError(SCALED_AIRY)
    root = e.sqrt(z)
    return joined(
        g,
        lambda: y[1] + root * y[0],
        lambda: z * y[0] + root * y[1],
        lambda: y[3] - root * y[2],
        lambda: z * y[2] - root * y[3],
    )


airye = declare_ufunc(
    __name__,
    "airye",
    "[Ai, Ai'] times exp(2z^{3/2}/3), [Bi, Bi'] times exp(-2z^{3/2}/3); z > 0.",
    several=True,
    z=_airye_slope,
)
itairy = declare_ufunc(
    __name__,
    "itairy",
    "[∫ Ai(t), ∫ Bi(t), ∫ Ai(-t), ∫ Bi(-t)] dt from 0 to x.",
    several=True,
    x=lambda g, x: joined(
        g,
        lambda: airy(x)[0],
        lambda: airy(x)[2],
        lambda: airy(-x)[0],
        lambda: airy(-x)[2],
    ),
)
