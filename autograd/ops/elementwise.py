"""Elementwise primitives: arithmetic, exponentials, trigonometry, comparisons, selection.

Each operates entry by entry on broadcast operands, so its rule is multiplication by a derivative;
the sweep sums over broadcast axes.  Rules avoid Python numbers where they can: NumPy spends longer
converting one than on ten entries.

Complex derivatives, here and everywhere: the cotangent g of a complex z pairs with a change dz as
Re(g·dz), without a conjugate, so a holomorphic function has the same rule for real and complex
arguments (`multiply` gives g·x2).  The gradient of a real f is ∂f/∂x - i·∂f/∂y, as in HIPS autograd
and JAX; f falls fastest along -conj(g).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaration import NUMBERS
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops._arrays import must_be_ordered
from tapegrad.autograd.ops.batch_rules import elementwise, native
from tapegrad.autograd.ops.ufunc import ufunc

__all__ = [
    "absolute",
    "absolute_square",
    "add",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "bitwise_and",
    "bitwise_count",
    "bitwise_or",
    "bitwise_xor",
    "cast",
    "cbrt",
    "ceil",
    "clip",
    "conjugate",
    "copysign",
    "cos",
    "cosh",
    "deg2rad",
    "degrees",
    "divide",
    "equal",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "gcd",
    "greater",
    "greater_equal",
    "heaviside",
    "hypot",
    "identity",
    "imag",
    "invert",
    "isfinite",
    "isinf",
    "isnan",
    "lcm",
    "ldexp",
    "left_shift",
    "less",
    "less_equal",
    "log",
    "log10",
    "log1p",
    "log2",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "numpy_clip",
    "phase",
    "positive",
    "power",
    "rad2deg",
    "radians",
    "real",
    "reciprocal",
    "remainder",
    "right_shift",
    "rint",
    "sign",
    "signbit",
    "signum",
    "sin",
    "sinh",
    "spacing",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "trunc",
    "where",
]

LN2, LN10 = math.log(2), math.log(10)

# Without a derivative -----------------------------------------------------------------------------


@primitive(differentiable=False)
def signum(xp: Any, x: Any, *, out: Any = None) -> Any:
    """-1, 0 or 1 of real x, elementwise; NaN stays NaN.  Its derivative is 0 where it exists."""
    must_be_ordered(x, "signum")
    return xp.sign(x, out=out)


signum.batch(elementwise)


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


@ufunc(np.trunc, differentiable=False)
def trunc(x: Any) -> Any:
    """The integer part of x, towards zero, elementwise, in x's dtype."""


@ufunc(np.signbit, differentiable=False)
def signbit(x: Any) -> Any:
    """Is the sign bit set?  Elementwise, as booleans."""


@ufunc(np.bitwise_and, differentiable=False)
def bitwise_and(x1: Any, x2: Any) -> Any:
    """x1 & x2 bit by bit, elementwise, of integers or booleans."""


@ufunc(np.bitwise_or, differentiable=False)
def bitwise_or(x1: Any, x2: Any) -> Any:
    """x1 | x2 bit by bit, elementwise, of integers or booleans."""


@ufunc(np.bitwise_xor, differentiable=False)
def bitwise_xor(x1: Any, x2: Any) -> Any:
    """x1 ^ x2 bit by bit, elementwise, of integers or booleans."""


@ufunc(np.bitwise_count, differentiable=False)
def bitwise_count(x: Any) -> Any:
    """How many bits of |x| are set, elementwise, of integers."""


@ufunc(np.invert, differentiable=False)
def invert(x: Any) -> Any:
    """Every bit of x turned, elementwise, of integers or booleans."""


@ufunc(np.left_shift, differentiable=False)
def left_shift(x1: Any, x2: Any) -> Any:
    """x1 shifted x2 bits to the left, elementwise, of integers."""


@ufunc(np.right_shift, differentiable=False)
def right_shift(x1: Any, x2: Any) -> Any:
    """x1 shifted x2 bits to the right, elementwise, of integers."""


@ufunc(np.gcd, differentiable=False)
def gcd(x1: Any, x2: Any) -> Any:
    """The greatest common divisor, elementwise, of integers."""


@ufunc(np.lcm, differentiable=False)
def lcm(x1: Any, x2: Any) -> Any:
    """The least common multiple, elementwise, of integers."""


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
    """|x|, elementwise, real for complex x; the derivative at 0 is taken as 0."""


absolute.vjp(x=lambda g, x: g * conjugate(phase(x)) if x.dtype.kind == "c" else g * signum(x))


@primitive
def phase(xp: Any, x: Any) -> Any:
    """x / |x| of complex x, elementwise; 0 at 0, where the derivative is taken as 0."""
    return xp.sign(x)


phase.batch(elementwise)


@phase.on("cuda")
def _phase_by_division(xp: Any, x: Any) -> Any:
    size = xp.abs(x)  # CuPy's sign is that of the real part
    return x / xp.where(size == 0, 1, size)


def _phase_rule(g: Any, x: Any, y: Any) -> Any:
    # Only what turns x changes its phase: dy = i·y·Im(conj(y)·dx) / |x|.
    size = absolute(x)
    return conjugate(y) * (imag(g * y) * 1j / (size + (size == 0)))


phase.vjp(x=_phase_rule)


@composite(numpy=np.sign)
def sign(x: Any) -> Any:
    """x / |x|, elementwise, 0 at 0: without a derivative of real x, with one of complex x."""
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return phase(x) if x.dtype.kind == "c" else signum(x)


@ufunc(np.square)
def square(x: Any) -> Any:
    """x², elementwise."""


square.vjp(x=lambda g, x: g * (x + x))


@ufunc(np.sqrt, domain={"x": (0, None)})
def sqrt(x: Any) -> Any:
    """√x, elementwise; x >= 0."""


sqrt.vjp(x=lambda g, y: g / (y + y))


@ufunc(np.positive)
def positive(x: Any) -> Any:
    """+x, elementwise: a copy."""


positive.vjp(x=lambda g: g)


@ufunc(np.fabs)
def fabs(x: Any) -> Any:
    """|x| of real x, elementwise; the derivative at 0 is taken as 0."""


fabs.vjp(x=lambda g, x: g * signum(x))


@ufunc(np.reciprocal, domain={"x": (0, None)})
def reciprocal(x: Any) -> Any:
    """1 / x, elementwise."""


reciprocal.vjp(x=lambda g, y: -(g * (y * y)))


@ufunc(np.fmod, domain={"x2": (0, None)})
def fmod(x1: Any, x2: Any) -> Any:
    """x1 - x2·trunc(x1 / x2), elementwise: C's remainder, with the sign of x1."""


fmod.vjp(x1=lambda g: g, x2=lambda g, x1, x2: -(g * trunc(x1 / x2)))


@ufunc(np.hypot)
def hypot(x1: Any, x2: Any) -> Any:
    """√(x1² + x2²), elementwise, without overflow; the derivative at the origin is taken as 0."""


def _unit(x: Any, y: Any) -> Any:
    # At the origin both are 0; a sum, unlike `where`, keeps the dtype and costs no Python number.
    return x / (y + (y == 0))


hypot.vjp(x1=lambda g, x1, y: g * _unit(x1, y), x2=lambda g, x2, y: g * _unit(x2, y))


@ufunc(np.copysign)
def copysign(x1: Any, x2: Any) -> Any:
    """|x1| with the sign of x2, elementwise; constant in x2 wherever it has a derivative."""


copysign.vjp(x1=lambda g, x1, y: g * (signum(x1) * signum(y)), x2=None)


@ufunc(np.heaviside)
def heaviside(x1: Any, x2: Any) -> Any:
    """0 where x1 < 0, x2 where x1 is 0, 1 where x1 > 0, elementwise; flat in x1."""


heaviside.vjp(x1=None, x2=lambda g, x1: g * (x1 == 0))


@ufunc(np.nextafter)
def nextafter(x1: Any, x2: Any) -> Any:
    """The number of its dtype next to x1 in the direction of x2, elementwise; flat in x2."""


nextafter.vjp(x1=lambda g: g, x2=None)


@ufunc(np.ldexp)
def ldexp(x1: Any, x2: Any) -> Any:
    """x1 · 2^x2 for integers x2, elementwise."""


ldexp.vjp(x1=lambda g, x2: ldexp(g, x2), x2=None)


@ufunc(np.deg2rad)
def deg2rad(x: Any) -> Any:
    """Degrees to radians: x · π / 180, elementwise."""


@ufunc(np.radians)
def radians(x: Any) -> Any:
    """Degrees to radians: x · π / 180, elementwise."""


@ufunc(np.rad2deg)
def rad2deg(x: Any) -> Any:
    """Radians to degrees: x · 180 / π, elementwise."""


@ufunc(np.degrees)
def degrees(x: Any) -> Any:
    """Radians to degrees: x · 180 / π, elementwise."""


deg2rad.vjp(x=lambda g: deg2rad(g))
radians.vjp(x=lambda g: radians(g))
rad2deg.vjp(x=lambda g: rad2deg(g))
degrees.vjp(x=lambda g: degrees(g))


@ufunc(np.conjugate)
def conjugate(x: Any) -> Any:
    """The complex conjugate, elementwise; x itself when real."""


conjugate.vjp(x=lambda g: conjugate(g))


@primitive(numpy=np.real, view=True)
def real(xp: Any, x: Any) -> Any:
    """The real part, elementwise; complex64 -> float32, complex128 -> float64."""
    return x.real


real.vjp(x=lambda g: g)
real.batch(native)


@primitive(numpy=np.imag, view=True)
def imag(xp: Any, x: Any) -> Any:
    """The imaginary part, elementwise; complex64 -> float32, complex128 -> float64; 0 of real x."""
    return x.imag if x.dtype.kind == "c" else xp.zeros_like(x)


# d Im z = Re(-i dz); real arguments keep the real part of that, which is 0.
imag.vjp(x=lambda g: g * -1j)
imag.batch(native)


@primitive(numpy=np.astype)
def cast(xp: Any, x: Any, *, dtype: Any) -> Any:
    """x converted to another floating point `dtype`; the cotangent is converted back."""
    return x.astype(dtype)


cast.vjp(x=lambda g: g)
cast.batch(native)


@primitive(view=True)
def identity(xp: Any, x: Any) -> Any:
    """x itself, as a call of its own: what marks a place on the tape."""
    return x


identity.vjp(x=lambda g: g)
identity.batch(native)

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


@ufunc(np.exp2)
def exp2(x: Any) -> Any:
    """2ˣ, elementwise."""


exp2.vjp(x=lambda g, y: g * (y * LN2))


@ufunc(np.log2, domain={"x": (0, None)})
def log2(x: Any) -> Any:
    """Logarithm to the base 2, elementwise; x > 0."""


log2.vjp(x=lambda g, x: g / (x * LN2))


@ufunc(np.log10, domain={"x": (0, None)})
def log10(x: Any) -> Any:
    """Logarithm to the base 10, elementwise; x > 0."""


log10.vjp(x=lambda g, x: g / (x * LN10))


@ufunc(np.cbrt, domain={"x": (0, None)})
def cbrt(x: Any) -> Any:
    """The real cube root, elementwise, of negative x too; its derivative at 0 is infinite."""


cbrt.vjp(x=lambda g, y: g / (3 * (y * y)))


@ufunc(np.logaddexp2)
def logaddexp2(x1: Any, x2: Any) -> Any:
    """log2(2^x1 + 2^x2), elementwise, without overflow."""


logaddexp2.vjp(x1=lambda g, x1, y: g * exp2(x1 - y), x2=lambda g, x2, y: g * exp2(x2 - y))

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


@ufunc(np.arcsinh)
def arcsinh(x: Any) -> Any:
    """Inverse hyperbolic sine, elementwise."""


arcsinh.vjp(x=lambda g, x: g / sqrt(x * x + 1))


@ufunc(np.arccosh, domain={"x": (1, None)})
def arccosh(x: Any) -> Any:
    """Inverse hyperbolic cosine, elementwise; x >= 1."""


# Two roots: √(x² - 1) of complex x takes the wrong branch where Re x < 0.
arccosh.vjp(x=lambda g, x: g / (sqrt(x - 1) * sqrt(x + 1)))


@ufunc(np.arctanh, domain={"x": (-1, 1)})
def arctanh(x: Any) -> Any:
    """Inverse hyperbolic tangent, elementwise; -1 <= x <= 1."""


arctanh.vjp(x=lambda g, x: g / (1 - x * x))

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


@ufunc(np.fmax)
def fmax(x1: Any, x2: Any) -> Any:
    """The larger of x1 and x2, elementwise; the other where one is NaN; ties go to x1."""


@ufunc(np.fmin)
def fmin(x1: Any, x2: Any) -> Any:
    """The smaller of x1 and x2, elementwise; the other where one is NaN; ties go to x1."""


fmax.vjp(
    x1=lambda g, x1, x2: g * logical_not(logical_or(x2 > x1, isnan(x1))),
    x2=lambda g, x1, x2: g * logical_or(x2 > x1, isnan(x1)),
)
fmin.vjp(
    x1=lambda g, x1, x2: g * logical_not(logical_or(x2 < x1, isnan(x1))),
    x2=lambda g, x1, x2: g * logical_or(x2 < x1, isnan(x1)),
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
where.batch(elementwise)


@primitive
def clip(xp: Any, x: Any, *, a_min: Any = None, a_max: Any = None, out: Any = None) -> Any:
    """x limited to the numbers a_min <= x <= a_max; either may be None.

    The derivative is 1 at the bounds themselves.  For array bounds use maximum and minimum.
    """
    return xp.clip(x, a_min, a_max, out=out)


clip.vjp(x=lambda g, x, y: g * (x == y))
clip.batch(native)


@composite()
def absolute_square(x: Any) -> Any:
    """|x|², elementwise, real; smooth at 0, where |x| alone is not."""
    return real(x * conjugate(x)) if x.dtype.kind == "c" else square(x)


@composite(numpy=np.clip)
def numpy_clip(
    x: Any, a_min: Any = None, a_max: Any = None, min: Any = None, max: Any = None
) -> Any:
    """NumPy's clip: bounds may be arrays and Tensors, and are differentiated then."""
    low, high = a_min if min is None else min, a_max if max is None else max
    if type(low) in _BOUNDS and type(high) in _BOUNDS:
        return clip(x, low, high)
    y = x if low is None else maximum(x, low)
    return y if high is None else minimum(y, high)


_BOUNDS = NUMBERS | {type(None)}


@composite(numpy=np.spacing, differentiable=False)
def spacing(x: Any) -> Any:
    """The distance from x to the next number of its dtype away from 0, with the sign of x."""
    x = x.detach() if hasattr(x, "detach") else x
    size = absolute(x)
    return copysign(nextafter(size, np.inf) - size, x)
