"""What a number is made of: size and sign, or phase; real and imaginary part.

A size has a kink at 0, where its derivative is taken as 0.  There is no such choice for the second
derivative: |x|² and |x|³ are smooth, and whatever number stood for the second derivative of |x|
would be wrong for one of them.  So it is NaN there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops.arrays import as_operand, refuse_complex
from tapegrad.autograd.ops.batch_rules import elementwise_rule, leading_axes_rule
from tapegrad.autograd.ops.elementwise.arithmetic import square
from tapegrad.autograd.ops.elementwise.comparisons import equal
from tapegrad.autograd.ops.elementwise.selection import where
from tapegrad.autograd.ops.fused_bodies import fuse_elementwise
from tapegrad.autograd.ops.ufunc import ufunc

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand

__all__ = [
    "absolute",
    "absolute_slope",
    "absolute_square",
    "conjugate",
    "copysign",
    "fabs",
    "guarded_divide",
    "guarded_sqrt",
    "hypot",
    "imag",
    "phase",
    "real",
    "sign",
    "signbit",
    "signum",
]


@primitive(differentiable=False)
def signum(xp: Namespace, x: Array, *, out: Array | None = None) -> Array:
    """-1, 0 or 1 of real x, elementwise; NaN stays NaN.  Its derivative is 0 where it exists."""
    refuse_complex(x, "signum")
    return xp.sign(x, out=out)


signum.batch(elementwise_rule)


@ufunc(np.signbit, differentiable=False)
def signbit(x: Array) -> Array:
    """Whether the sign bit is set, elementwise, as booleans."""


@ufunc(np.absolute)
def absolute(x: Array) -> Array:
    """|x|, elementwise, real for complex x; the derivative at 0 is taken as 0."""


absolute.vjp(x=lambda g, x: g * absolute_slope(x))


@primitive(elementwise=True)
def absolute_slope(xp: Namespace, x: Array) -> Array:
    """conj(x) / |x|, elementwise, 0 at 0: the derivative of |x|, whose own is NaN at 0."""
    if x.dtype.kind != "c":
        return xp.sign(x)
    size = xp.abs(x)
    return xp.conj(x) / xp.where(size == 0, xp.ones_like(size), size)


def _absolute_slope_rule(g: Array, x: Array, y: Array) -> Array:
    if x.dtype.kind != "c":
        return g * where(equal(x, 0), np.nan, 0)
    size = absolute(x)
    return -(y * (imag(g * y) / where(equal(size, 0), np.nan, size) * 1j))


absolute_slope.vjp(x=_absolute_slope_rule)
absolute_slope.batch(elementwise_rule)


@primitive
def phase(xp: Namespace, x: Array) -> Array:
    """x / |x| of complex x, elementwise; 0 at 0, where the derivative is taken as 0."""
    return xp.sign(x)


phase.batch(elementwise_rule)


@phase.on("cuda")
def _phase_by_division(xp: Namespace, x: Array) -> Array:
    size = xp.abs(x)  # CuPy's sign is that of the real part
    return x / xp.where(size == 0, 1, size)


def _phase_rule(g: Array, x: Array, y: Array) -> Array:
    # Only a change of x at right angles to x changes its phase: dy = i·y·Im(conj(y)·dx) / |x|.
    size = absolute(x)
    return conjugate(y) * (imag(g * y) * 1j / (size + equal(size, 0)))


phase.vjp(x=_phase_rule)
phase.jvp(x=lambda t, x, y: y * (imag(conjugate(y) * t) * 1j / (absolute(x) + equal(x, 0))))


@composite(numpy=np.sign)
def sign(x: Operand) -> Tensor:
    """x / |x|, elementwise, 0 at 0: without a derivative of real x, with one of complex x."""
    x = as_operand(x)
    return phase(x) if x.dtype.kind == "c" else signum(x)


@ufunc(np.fabs)
def fabs(x: Array) -> Array:
    """|x| of real x, elementwise; the derivative at 0 is taken as 0."""


fabs.vjp(x=lambda g, x: g * absolute_slope(x))


@primitive(elementwise=True, domain={"x2": (0, None)})
def guarded_divide(xp: Namespace, x1: Array, x2: Array) -> Array:
    """x1 / x2, elementwise, and 0 where x2 is 0; the derivative in x2 is NaN there."""
    zero = x2 == 0
    return xp.where(zero, x1 * 0, x1 / (x2 + zero))


guarded_divide.vjp(
    x1=lambda g, x2: guarded_divide(g, x2),
    x2=lambda g, x2, y: -(g * (y / where(equal(x2, 0), np.nan, x2))),
)
guarded_divide.batch(elementwise_rule)
fuse_elementwise(guarded_divide, warns=True, exact=True)


@primitive(elementwise=True, domain={"x": (0, None)})
def guarded_sqrt(xp: Namespace, x: Array) -> Array:
    """√x, elementwise; at 0 the derivative is taken as 0, and the second one is NaN."""
    return xp.sqrt(x)


guarded_sqrt.vjp(x=lambda g, y: guarded_divide(g, y + y))
guarded_sqrt.batch(elementwise_rule)


@ufunc(np.hypot)
def hypot(x1: Array, x2: Array) -> Array:
    """√(x1² + x2²), elementwise, without overflow; the derivative at the origin is taken as 0."""


hypot.vjp(
    x1=lambda g, x1, y: g * guarded_divide(x1, y), x2=lambda g, x2, y: g * guarded_divide(x2, y)
)


@ufunc(np.copysign)
def copysign(x1: Array, x2: Array) -> Array:
    """|x1| with the sign of x2, elementwise; constant in x2 wherever it has a derivative."""


copysign.vjp(x1=lambda g, x1, y: g * (absolute_slope(x1) * signum(y)), x2=None)


@ufunc(np.conjugate)
def conjugate(x: Array) -> Array:
    """The complex conjugate, elementwise; x itself when real."""


conjugate.vjp(x=lambda g: conjugate(g))


@primitive(elementwise=True, numpy=np.real, view=True)
def real(xp: Namespace, x: Array) -> Array:
    """The real part, elementwise; complex64 -> float32, complex128 -> float64."""
    return x.real


real.vjp(x=lambda g: g)
real.batch(leading_axes_rule)


@primitive(elementwise=True, numpy=np.imag, view=True)
def imag(xp: Namespace, x: Array) -> Array:
    """The imaginary part, elementwise; complex64 -> float32, complex128 -> float64; 0 of real x."""
    return x.imag if x.dtype.kind == "c" else xp.zeros_like(x)


# d Im z = Re(-i dz); real arguments keep the real part of that, which is 0.
imag.vjp(x=lambda g: g * -1j)
imag.batch(leading_axes_rule)


@composite()
def absolute_square(x: Array) -> Tensor:
    """|x|², elementwise, real; smooth at 0, where |x| alone is not."""
    return real(x * conjugate(x)) if x.dtype.kind == "c" else square(x)
