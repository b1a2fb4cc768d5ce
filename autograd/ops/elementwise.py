"""Elementwise primitives: arithmetic, exponentials, trigonometry, comparisons, selection.

Each operates entry by entry on broadcast operands, so its rule is multiplication by a derivative;
the sweep sums over broadcast axes.  Rules avoid Python numbers where they can: NumPy spends longer
converting one than on ten entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.autograd.primitive import NUMBERS, primitive, ufunc

__all__ = [
    "absolute",
    "add",
    "arccos",
    "arcsin",
    "arctan",
    "arctan2",
    "cast",
    "ceil",
    "clip",
    "conjugate",
    "cos",
    "cosh",
    "divide",
    "equal",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "identity",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "power",
    "real",
    "remainder",
    "rint",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "where",
]

# Without a derivative -----------------------------------------------------------------------------


@ufunc(np.sign, differentiable=False)
def sign(x: Any) -> Any:
    """-1, 0 or 1, elementwise; NaN stays NaN.  Its derivative is 0 wherever it exists."""


@ufunc(np.floor, differentiable=False)
def floor(x: Any) -> Any:
    """The largest integer not above x, elementwise, in x's dtype."""


@ufunc(np.ceil, differentiable=False)
def ceil(x: Any) -> Any:
    """The smallest integer not below x, elementwise, in x's dtype."""


@ufunc(np.rint, differentiable=False)
def rint(x: Any) -> Any:
    """The nearest integer, halves to even, elementwise, in x's dtype."""


@ufunc(np.floor_divide, differentiable=False)
def floor_divide(x1: Any, x2: Any) -> Any:
    """floor(x1 / x2), elementwise."""


@ufunc(np.less, differentiable=False)
def less(x1: Any, x2: Any) -> Any:
    """x1 < x2, elementwise, as booleans."""


@ufunc(np.less_equal, differentiable=False)
def less_equal(x1: Any, x2: Any) -> Any:
    """x1 <= x2, elementwise, as booleans."""


@ufunc(np.greater, differentiable=False)
def greater(x1: Any, x2: Any) -> Any:
    """x1 > x2, elementwise, as booleans."""


@ufunc(np.greater_equal, differentiable=False)
def greater_equal(x1: Any, x2: Any) -> Any:
    """x1 >= x2, elementwise, as booleans."""


@ufunc(np.equal, differentiable=False)
def equal(x1: Any, x2: Any) -> Any:
    """x1 == x2, elementwise, as booleans."""


@ufunc(np.not_equal, differentiable=False)
def not_equal(x1: Any, x2: Any) -> Any:
    """x1 != x2, elementwise, as booleans."""


@ufunc(np.logical_and, differentiable=False)
def logical_and(x1: Any, x2: Any) -> Any:
    """x1 and x2, elementwise, as booleans."""


@ufunc(np.logical_or, differentiable=False)
def logical_or(x1: Any, x2: Any) -> Any:
    """x1 or x2, elementwise, as booleans."""


@ufunc(np.logical_xor, differentiable=False)
def logical_xor(x1: Any, x2: Any) -> Any:
    """Exactly one of x1 and x2, elementwise, as booleans."""


@ufunc(np.logical_not, differentiable=False)
def logical_not(x: Any) -> Any:
    """not x, elementwise, as booleans."""


@ufunc(np.isnan, differentiable=False)
def isnan(x: Any) -> Any:
    """Is the entry NaN?  Elementwise, as booleans."""


@ufunc(np.isinf, differentiable=False)
def isinf(x: Any) -> Any:
    """Is the entry infinite?  Elementwise, as booleans."""


@ufunc(np.isfinite, differentiable=False)
def isfinite(x: Any) -> Any:
    """Is the entry neither NaN nor infinite?  Elementwise, as booleans."""


# Arithmetic --------------------------------------------------------------------------------------


@ufunc(np.add)
def add(x1: Any, x2: Any) -> Any:
    """x1 + x2, elementwise with broadcasting."""


add.vjp(x1=lambda g: g, x2=lambda g: g)


@ufunc(np.subtract)
def subtract(x1: Any, x2: Any) -> Any:
    """x1 - x2, elementwise with broadcasting."""


subtract.vjp(x1=lambda g: g, x2=lambda g: -g)


@ufunc(np.multiply)
def multiply(x1: Any, x2: Any) -> Any:
    """x1 · x2, elementwise with broadcasting."""


multiply.vjp(x1=lambda g, x2: g * x2, x2=lambda g, x1: g * x1)


@ufunc(np.divide, domain={"x2": (0, None)})
def divide(x1: Any, x2: Any) -> Any:
    """x1 / x2, elementwise with broadcasting; as NumPy where x2 is 0."""


divide.vjp(x1=lambda g, x2: g / x2, x2=lambda g, x2, y: -(g * y / x2))


def _power_base(g: Any, x1: Any, x2: Any) -> Any:
    if type(x2) in NUMBERS:  # keep a number a number: an array would decide the dtype
        return g * (x2 * x1 ** (x2 - 1)) if x2 else g * 0
    # The derivative of x1⁰ is 0 · x1⁻¹, which at x1 = 0 must be 0 and not NaN.
    return g * (x2 * power(x1, where(logical_and(x1 == 0, x2 == 0), 1, x2 - 1)))


def _power_exponent(g: Any, x1: Any, y: Any) -> Any:
    # d(x1^x2)/dx2 = y·log x1, which tends to 0 as x1 -> 0 (x2 > 0).
    if type(x1) in NUMBERS:
        return g * (y * float(np.log(x1))) if x1 else g * 0
    return g * (y * log(where(x1 == 0, x1 + 1, x1)))


@ufunc(np.power, domain={"x1": (0, None)})
def power(x1: Any, x2: Any) -> Any:
    """x1 raised to x2, elementwise with broadcasting; the exponent's derivative needs x1 >= 0."""


power.vjp(x1=_power_base, x2=_power_exponent)


@ufunc(np.remainder, domain={"x2": (0, None)})
def remainder(x1: Any, x2: Any) -> Any:
    """x1 - x2·floor(x1 / x2), elementwise: Python's ``%``."""


remainder.vjp(x1=lambda g: g, x2=lambda g, x1, x2: -(g * floor_divide(x1, x2)))


@ufunc(np.negative)
def negative(x: Any) -> Any:
    """-x, elementwise."""


negative.vjp(x=lambda g: -g)


@ufunc(np.absolute)
def absolute(x: Any) -> Any:
    """|x|, elementwise; the derivative at 0 is taken as 0."""


absolute.vjp(x=lambda g, x: g * sign(x))


@ufunc(np.square)
def square(x: Any) -> Any:
    """x², elementwise."""


square.vjp(x=lambda g, x: g * (x + x))


@ufunc(np.sqrt, domain={"x": (0, None)})
def sqrt(x: Any) -> Any:
    """√x, elementwise; x >= 0."""


sqrt.vjp(x=lambda g, y: g / (y + y))


@ufunc(np.conjugate)
def conjugate(x: Any) -> Any:
    """The complex conjugate, elementwise; x itself when real."""


conjugate.vjp(x=lambda g: conjugate(g))


@primitive(numpy=np.real, view=True)
def real(xp: Any, x: Any) -> Any:
    """The real part, elementwise; complex64 -> float32, complex128 -> float64."""
    return x.real


real.vjp(x=lambda g: g)


@primitive(numpy=np.astype)
def cast(xp: Any, x: Any, *, dtype: Any) -> Any:
    """x converted to another floating point `dtype`; the cotangent is converted back."""
    return x.astype(dtype)


cast.vjp(x=lambda g: g)


@primitive(view=True)
def identity(xp: Any, x: Any) -> Any:
    """x itself, as a call of its own: what marks a place on the tape."""
    return x


identity.vjp(x=lambda g: g)

# Exponentials, logarithms ------------------------------------------------------------------------


@ufunc(np.exp)
def exp(x: Any) -> Any:
    """eˣ, elementwise."""


exp.vjp(x=lambda g, y: g * y)


@ufunc(np.expm1)
def expm1(x: Any) -> Any:
    """eˣ - 1, elementwise, exact for small x."""


expm1.vjp(x=lambda g, y: g * y + g)


@ufunc(np.log, domain={"x": (0, None)})
def log(x: Any) -> Any:
    """Natural logarithm, elementwise; x > 0."""


log.vjp(x=lambda g, x: g / x)


@ufunc(np.log1p, domain={"x": (-1, None)})
def log1p(x: Any) -> Any:
    """log(1 + x), elementwise, exact for small x; x > -1."""


log1p.vjp(x=lambda g, x: g / (x + 1))


@ufunc(np.logaddexp)
def logaddexp(x1: Any, x2: Any) -> Any:
    """log(e^x1 + e^x2), elementwise, without overflow."""


logaddexp.vjp(x1=lambda g, x1, y: g * exp(x1 - y), x2=lambda g, x2, y: g * exp(x2 - y))

# Trigonometry ------------------------------------------------------------------------------------


@ufunc(np.sin)
def sin(x: Any) -> Any:
    """Sine, elementwise; x in radians."""


@ufunc(np.cos)
def cos(x: Any) -> Any:
    """Cosine, elementwise; x in radians."""


sin.vjp(x=lambda g, x: g * cos(x))
cos.vjp(x=lambda g, x: -(g * sin(x)))


@ufunc(np.tan)
def tan(x: Any) -> Any:
    """Tangent, elementwise; x in radians."""


tan.vjp(x=lambda g, y: g + g * (y * y))


@ufunc(np.arcsin, domain={"x": (-1, 1)})
def arcsin(x: Any) -> Any:
    """Inverse sine in radians, elementwise; -1 <= x <= 1."""


arcsin.vjp(x=lambda g, x: g / sqrt(1 - x * x))


@ufunc(np.arccos, domain={"x": (-1, 1)})
def arccos(x: Any) -> Any:
    """Inverse cosine in radians, elementwise; -1 <= x <= 1."""


arccos.vjp(x=lambda g, x: -(g / sqrt(1 - x * x)))


@ufunc(np.arctan)
def arctan(x: Any) -> Any:
    """Inverse tangent in radians, elementwise."""


arctan.vjp(x=lambda g, x: g / (x * x + 1))


@ufunc(np.arctan2)
def arctan2(x1: Any, x2: Any) -> Any:
    """The angle of the point (x2, x1) in radians, elementwise."""


arctan2.vjp(
    x1=lambda g, x1, x2: g * (x2 / (x1 * x1 + x2 * x2)),
    x2=lambda g, x1, x2: -(g * (x1 / (x1 * x1 + x2 * x2))),
)


@ufunc(np.sinh)
def sinh(x: Any) -> Any:
    """Hyperbolic sine, elementwise."""


@ufunc(np.cosh)
def cosh(x: Any) -> Any:
    """Hyperbolic cosine, elementwise."""


sinh.vjp(x=lambda g, x: g * cosh(x))
cosh.vjp(x=lambda g, x: g * sinh(x))


@ufunc(np.tanh)
def tanh(x: Any) -> Any:
    """Hyperbolic tangent, elementwise."""


tanh.vjp(x=lambda g, y: g - g * (y * y))

# Selection ---------------------------------------------------------------------------------------


@ufunc(np.maximum)
def maximum(x1: Any, x2: Any) -> Any:
    """The larger of x1 and x2, elementwise; NaN if either is; ties give their gradient to x1."""


maximum.vjp(
    x1=lambda g, x1, x2: g * logical_not(x2 > x1),
    x2=lambda g, x1, x2: g * (x2 > x1),
)


@ufunc(np.minimum)
def minimum(x1: Any, x2: Any) -> Any:
    """The smaller of x1 and x2, elementwise; NaN if either is; ties give their gradient to x1."""


minimum.vjp(
    x1=lambda g, x1, x2: g * logical_not(x2 < x1),
    x2=lambda g, x1, x2: g * (x2 < x1),
)


@primitive(numpy=np.where)
def where(xp: Any, condition: Any, x1: Any, x2: Any) -> Any:
    """x1 where `condition` holds, x2 elsewhere, elementwise with broadcasting."""
    return xp.where(condition, x1, x2)


where.vjp(
    condition=None,
    x1=lambda g, condition: where(condition, g, 0),
    x2=lambda g, condition: where(condition, 0, g),
)


@primitive(numpy=np.clip)
def clip(xp: Any, x: Any, *, a_min: Any = None, a_max: Any = None, out: Any = None) -> Any:
    """x limited to the numbers a_min <= x <= a_max; either may be None.

    The derivative is 1 at the bounds themselves.  For array bounds use maximum and minimum.
    """
    return xp.clip(x, a_min, a_max, out=out)


clip.vjp(x=lambda g, x, y: g * (x == y))
