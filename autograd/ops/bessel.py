"""SciPy's Bessel functions, elementwise; the order has no derivative here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.scipy_ufuncs import refuse_order, scipy_ufunc

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "i0e",
    "i1",
    "i1e",
    "iv",
    "ive",
    "j0",
    "j1",
    "jv",
    "k0",
    "k1",
    "kv",
    "special_i0",
    "y0",
    "y1",
    "yv",
]


def _in_double(x: Array) -> Array:
    """x in float64: terms of the rules of scaled Bessel functions cancel, by a factor of x."""
    return e.cast(x, dtype=np.float64) if x.dtype.kind == "f" else x


@scipy_ufunc()
def special_i0(x: Array) -> Array:
    """The modified Bessel function of the first kind, of order 0."""


special_i0.vjp(x=lambda g, x: g * i1(x))


@scipy_ufunc()
def i1(x: Array) -> Array:
    """The modified Bessel function of the first kind, of order 1."""


i1.vjp(x=lambda g, x: g * ((special_i0(x) + iv(2, x)) / 2))


@scipy_ufunc()
def i0e(x: Array) -> Array:
    """exp(-|x|)·I₀(x)."""


def _i0e_rule(g: Array, x: Array) -> Array:
    x = _in_double(x)
    return g * (i1e(x) - e.signum(x) * i0e(x))


i0e.vjp(x=_i0e_rule)


@scipy_ufunc()
def i1e(x: Array) -> Array:
    """exp(-|x|)·I₁(x)."""


def _i1e_rule(g: Array, x: Array) -> Array:
    x = _in_double(x)
    return g * ((i0e(x) + ive(2, x)) / 2 - e.signum(x) * i1e(x))


i1e.vjp(x=_i1e_rule)


@scipy_ufunc()
def iv(order: Array, x: Array) -> Array:
    """The modified Bessel function of the first kind, of a given order."""


iv.vjp(order=refuse_order, x=lambda g, order, x: g * ((iv(order - 1, x) + iv(order + 1, x)) / 2))


@scipy_ufunc()
def ive(order: Array, x: Array) -> Array:
    """exp(-|Re x|)·I_v(x)."""


def _ive_rule(g: Array, order: Array, x: Array) -> Array:
    x = _in_double(x)
    slope = g * ((ive(order - 1, x) + ive(order + 1, x)) / 2)
    # the factor exp(-|Re x|) follows the real part alone
    return slope - e.signum(e.real(x)) * e.real(g * ive(order, x))


def _ive_tangent(t: Array, order: Array, x: Array) -> Array:
    x = _in_double(x)
    slope = t * ((ive(order - 1, x) + ive(order + 1, x)) / 2)
    return slope - e.signum(e.real(x)) * (e.real(t) * ive(order, x))


ive.vjp(order=refuse_order, x=_ive_rule)
ive.jvp(x=_ive_tangent)


@scipy_ufunc(domain={"x": (0, None)})
def k0(x: Array) -> Array:
    """The modified Bessel function of the second kind, of order 0; x > 0."""


k0.vjp(x=lambda g, x: -(g * k1(x)))


@scipy_ufunc(domain={"x": (0, None)})
def k1(x: Array) -> Array:
    """The modified Bessel function of the second kind, of order 1; x > 0."""


k1.vjp(x=lambda g, x: -(g * ((k0(x) + kv(2, x)) / 2)))


@scipy_ufunc(domain={"x": (0, None)})
def kv(order: Array, x: Array) -> Array:
    """The modified Bessel function of the second kind; x > 0."""


kv.vjp(order=refuse_order, x=lambda g, order, x: -(g * ((kv(order - 1, x) + kv(order + 1, x)) / 2)))


@scipy_ufunc()
def j0(x: Array) -> Array:
    """The Bessel function of the first kind, of order 0."""


j0.vjp(x=lambda g, x: -(g * j1(x)))


@scipy_ufunc()
def j1(x: Array) -> Array:
    """The Bessel function of the first kind, of order 1."""


j1.vjp(x=lambda g, x: g * ((j0(x) - jv(2, x)) / 2))


@scipy_ufunc()
def jv(order: Array, x: Array) -> Array:
    """The Bessel function of the first kind, of a given order."""


jv.vjp(order=refuse_order, x=lambda g, order, x: g * ((jv(order - 1, x) - jv(order + 1, x)) / 2))


@scipy_ufunc(domain={"x": (0, None)})
def y0(x: Array) -> Array:
    """The Bessel function of the second kind, of order 0; x > 0."""


y0.vjp(x=lambda g, x: -(g * y1(x)))


@scipy_ufunc(domain={"x": (0, None)})
def y1(x: Array) -> Array:
    """The Bessel function of the second kind, of order 1; x > 0."""


y1.vjp(x=lambda g, x: g * ((y0(x) - yv(2, x)) / 2))


@scipy_ufunc(domain={"x": (0, None)})
def yv(order: Array, x: Array) -> Array:
    """The Bessel function of the second kind; x > 0."""


yv.vjp(order=refuse_order, x=lambda g, order, x: g * ((yv(order - 1, x) - yv(order + 1, x)) / 2))
