"""Exponentials, logarithms and powers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.declaration import NUMBERS
from tapegrad.autograd.ops.elementwise.comparisons import logical_and
from tapegrad.autograd.ops.elementwise.selection import where
from tapegrad.autograd.ops.fused_bodies import fuse_elementwise
from tapegrad.autograd.ops.ufunc import ufunc

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "cbrt",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log10",
    "log1p",
    "log2",
    "logaddexp",
    "logaddexp2",
    "power",
]

LN2, LN10 = math.log(2), math.log(10)


def _power_base(g: Array, x1: Array, x2: Array) -> Array:
    if type(x2) in NUMBERS:  # keep a number a number: an array would decide the dtype
        return g * (x2 * x1 ** (x2 - 1)) if x2 else g * 0
    # The derivative of x1⁰ is 0 · x1⁻¹, which at x1 = 0 must be 0 and not NaN.
    return g * (x2 * power(x1, where(logical_and(x1 == 0, x2 == 0), 1, x2 - 1)))


def _power_exponent(g: Array, x1: Array, y: Array) -> Array:
    # d(x1^x2)/dx2 = y·log x1, which tends to 0 as x1 -> 0 (x2 > 0).
    if type(x1) in NUMBERS:
        return g * (y * float(np.log(x1))) if x1 else g * 0
    return g * (y * log(where(x1 == 0, x1 + 1, x1)))


@ufunc(np.power, domain={"x1": (0, None)})
def power(x1: Array, x2: Array) -> Array:
    """x1 raised to x2, elementwise with broadcasting; the exponent's derivative needs x1 >= 0."""


power.vjp(x1=_power_base, x2=_power_exponent)


@ufunc(np.exp)
def exp(x: Array) -> Array:
    """eˣ, elementwise."""


exp.vjp(x=lambda g, y: g * y)


@ufunc(np.expm1)
def expm1(x: Array) -> Array:
    """eˣ - 1, elementwise, exact for small x."""


expm1.vjp(x=lambda g, x: g * exp(x))


@ufunc(np.log, domain={"x": (0, None)})
def log(x: Array) -> Array:
    """Natural logarithm, elementwise; x > 0."""


log.vjp(x=lambda g, x: g / x)


@ufunc(np.log1p, domain={"x": (-1, None)})
def log1p(x: Array) -> Array:
    """log(1 + x), elementwise, exact for small x; x > -1."""


log1p.vjp(x=lambda g, x: g / (x + 1))


@ufunc(np.logaddexp)
def logaddexp(x1: Array, x2: Array) -> Array:
    """log(e^x1 + e^x2), elementwise, without overflow."""


logaddexp.vjp(x1=lambda g, x1, y: g * exp(x1 - y), x2=lambda g, x2, y: g * exp(x2 - y))
fuse_elementwise(expm1, log1p, logaddexp, warns=True)


@ufunc(np.exp2)
def exp2(x: Array) -> Array:
    """2ˣ, elementwise."""


exp2.vjp(x=lambda g, y: g * (y * LN2))


@ufunc(np.log2, domain={"x": (0, None)})
def log2(x: Array) -> Array:
    """Logarithm to the base 2, elementwise; x > 0."""


log2.vjp(x=lambda g, x: g / (x * LN2))


@ufunc(np.log10, domain={"x": (0, None)})
def log10(x: Array) -> Array:
    """Logarithm to the base 10, elementwise; x > 0."""


log10.vjp(x=lambda g, x: g / (x * LN10))


@ufunc(np.cbrt, domain={"x": (0, None)})
def cbrt(x: Array) -> Array:
    """The real cube root, elementwise, of negative x too; its derivative at 0 is infinite."""


cbrt.vjp(x=lambda g, y: g / (3 * (y * y)))


@ufunc(np.logaddexp2)
def logaddexp2(x1: Array, x2: Array) -> Array:
    """log2(2^x1 + 2^x2), elementwise, without overflow."""


logaddexp2.vjp(x1=lambda g, x1, y: g * exp2(x1 - y), x2=lambda g, x2, y: g * exp2(x2 - y))
