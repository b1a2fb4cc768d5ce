"""Exponentials, logarithms and powers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.declaration import NUMBERS
from tapegrad.autograd.ops.elementwise.comparisons import logical_and
from tapegrad.autograd.ops.elementwise.selection import where
from tapegrad.autograd.ops.fused_bodies import fuse_elementwise
from tapegrad.autograd.ops.ufunc import ufunc

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

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
        if not x2:
            return g * 0
        return g * (x2 * (x1 if x2 == 2 else power(x1, x2 - 1)))
    # The derivative of x1⁰ is 0 · x1⁻¹, which at x1 = 0 must be 0 and not NaN.
    return g * (x2 * power(x1, where(logical_and(x1 == 0, x2 == 0), 1, x2 - 1)))


def _power_exponent(g: Array, x1: Array, y: Array) -> Array:
    # d(x1^x2)/dx2 = y·log x1, which tends to 0 as x1 -> 0 (x2 > 0).
    if type(x1) in NUMBERS:
        return g * (y * float(np.log(x1))) if x1 else g * 0
    return g * (y * log(where(x1 == 0, x1 + 1, x1)))


# NumPy takes three hundred times as long for a power of a negative number as for a product.
FEW = 32  # entries below which a call costs more than its work
WHOLE, HALVES = 4, 1.5  # the largest exponents of products: each may cost half a unit
MOST = 1 << 20  # a float32 knows of whole numbers below it whether they are odd
FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})


def _root_of(xp: Namespace, x: Array) -> Array:
    """√x as other powers have it: 0 at -0, and infinite at -∞."""
    return xp.where(x == -xp.inf, xp.inf, xp.sqrt(x + 0.0))


def _product(xp: Namespace, x: Array, p: float, root: Array | None) -> Array:
    """x to the power p by products; root: √x for the half in p.

    1 / x is what is multiplied for a negative p, for xⁿ may overflow or lose digits near 0 where
    its inverse does not.
    """
    n = int(abs(p))
    if root is not None and not n:  # 1 / x may overflow where 1 / √x does not
        return xp.reciprocal(root) if p < 0 else root
    y = xp.reciprocal(x) if p < 0 else x
    if n > 1:
        square = y * y
        y = square if n == 2 else square * y if n == 3 else square * square
    if root is None:
        return y
    return y * (xp.reciprocal(root) if p < 0 else root)


def _is_product(p: Any) -> bool:
    """Whether an exponent is a number for `_product`."""
    return type(p) in (int, float) and (
        (abs(p) <= WHOLE and p == int(p) and p not in (0, 1)) or p in (-1.5, -0.5, 0.5, HALVES)
    )


def _power(xp: Namespace, x1: Any, x2: Any, out: Array | None = None) -> Any:
    """x1 to the power x2: by products for small whole numbers and halves, which are fast."""
    is_number = type(x2) in (int, float)
    if not is_number or getattr(x1, "dtype", None) not in FLOATS or x1.size < FEW:
        return xp.power(x1, x2, out=out)
    if x2 == 0.5:
        return xp.sqrt(x1, out=out)
    if _is_product(x2):
        if x2 == int(x2):
            return _delivered(_product(xp, x1, x2, None), out)
        if x1.min() > 0:
            return _delivered(_product(xp, x1, x2, xp.sqrt(x1)), out)
    elif WHOLE < abs(x2) < MOST and x2 == int(x2) and x1.min() < 0:
        if x2 % 2 == 0:
            return xp.power(xp.absolute(x1), x2, out=out)
        return xp.copysign(xp.power(xp.absolute(x1), x2), x1, out=out)
    return xp.power(x1, x2, out=out)


def _delivered(y: Any, out: Array | None) -> Any:
    if out is None:
        return y
    out[...] = y
    return out


@ufunc(np.power, domain={"x1": (0, None)}, faster=(_power, FEW))
def power(x1: Array, x2: Array) -> Array:
    """x1 raised to x2, elementwise with broadcasting; the exponent's derivative needs x1 >= 0.

    Whole numbers up to 4, and halves up to 1.5, are exponents of products and roots in float32 and
    float64, within |x2| + 1 units in the last place.
    """


power.vjp(x1=_power_base, x2=_power_exponent)


@power.primitive.stepwise
def _power_in_steps(xp: Namespace, x1: Array, x2: Array) -> Array:
    if not _is_product(x2) or x1.dtype not in FLOATS or x1.size < FEW:
        return xp.power(x1, x2)
    if x2 == 0.5:
        return xp.sqrt(x1)  # NumPy's power of this number is √x at -0 and -∞, too
    if x2 == int(x2):
        return _product(xp, x1, x2, None)
    return _product(xp, xp.absolute(x1), x2, _root_of(xp, x1))


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
