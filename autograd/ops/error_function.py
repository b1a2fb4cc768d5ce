"""The error function, which GELU needs and NumPy leaves to SciPy.

The array namespaces of NumPy and CuPy have no `erf`, and a dependency on SciPy for one function is
too much.  W. J. Cody's rational approximations are accurate to double precision for every real x.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.arrays import half_in_single
from tapegrad.autograd.ops.batch_rules import leading_axes_rule
from tapegrad.autograd.ops.fused_bodies import fuse, fuse_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["complement", "erf", "erfc"]

# Numerator and denominator of each piece, highest power first.  W. J. Cody, "Rational Chebyshev
# approximations for the error function", Mathematics of Computation 23 (1969).
SMALL = (
    (0.185777706184603153, 3.16112374387056560, 113.864154151050156, 377.485237685302021,
     3209.37758913846947),
    (1.0, 23.6012909523441209, 244.024637934444173, 1282.61652607737228, 2844.23683343917062),
)  # fmt: skip
MIDDLE = (
    (2.15311535474403846e-8, 0.564188496988670089, 8.88314979438837594, 66.1191906371416295,
     298.635138197400131, 881.952221241769090, 1712.04761263407058, 2051.07837782607147,
     1230.33935479799725),
    (1.0, 15.7449261107098347, 117.693950891312499, 537.181101862009858, 1621.38957456669019,
     3290.79923573345963, 4362.61909014324716, 3439.36767414372164, 1230.33935480374942),
)  # fmt: skip
LARGE = (
    (0.0163153871373020978, 0.305326634961232344, 0.360344899949804439, 0.125781726111229246,
     0.0160837851487422766, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242, 1.87295284992346725, 0.527905102951428412, 0.0605183413124413191,
     0.00233520497626869185),
)  # fmt: skip


def _rational(pieces: tuple[tuple[float, ...], ...], x: Array) -> Array:
    """The rational function with the coefficients of numerator and denominator, at x."""
    over, under = pieces
    numerator, denominator = over[0] * x + over[1], under[0] * x + under[1]
    for p, q in zip(over[2:], under[2:], strict=True):
        numerator, denominator = numerator * x + p, denominator * x + q
    return numerator / denominator


@primitive(elementwise=True)
@half_in_single
def erf(xp: Namespace, x: Array) -> Array:
    """2/√π ∫₀ˣ exp(-t²) dt, elementwise, to within two units in the last place.

    Complex x needs SciPy.
    """
    if x.dtype.kind == "c":
        return devices.special(xp).erf(x)
    inner, rest = _erf_and_rest(xp, x)
    return xp.where(xp.abs(x) <= 0.46875, inner, xp.copysign(1 - rest, x))


def _erf_and_rest(xp: Namespace, x: Array) -> tuple[Array, Array]:
    """erf(x), right where |x| <= 0.46875, and 1 - erf(|x|), right and not rounded beyond."""
    size = xp.abs(x)
    inner = x * _rational(SMALL, xp.minimum(size, 0.5) ** 2)
    cut = xp.minimum(size, 30.0)  # beyond, 1 - erf is 0
    middle = _rational(MIDDLE, xp.minimum(cut, 4.0))
    inverse = 1 / xp.maximum(cut, 4.0) ** 2
    tail = (1 / math.sqrt(math.pi) - inverse * _rational(LARGE, inverse)) / xp.maximum(cut, 4.0)
    # exp(-x²) from a square without rounding: x² itself would lose as many digits as it has before
    # the point.
    near = xp.floor(cut * 16) / 16
    fall = xp.exp(-near * near) * xp.exp((near - cut) * (near + cut))
    return inner, fall * xp.where(cut <= 4.0, middle, tail)


def _erf_rule(g: Array, x: Array) -> Array:
    x = e.widen_half(x)  # x² would exceed float16
    return g * (e.exp(-(x * x)) * (2 / math.sqrt(math.pi)))


erf.vjp(x=_erf_rule)
erf.batch(leading_axes_rule)


@primitive(elementwise=True)
@half_in_single
def erfc(xp: Namespace, x: Array) -> Array:
    """1 - erf(x), elementwise, without the rounding of that difference.

    Complex x needs SciPy.
    """
    if x.dtype.kind == "c":
        return devices.special(xp).erfc(x)
    return complement(xp, x)


def complement(xp: Namespace, x: Array) -> Array:
    """1 - erf(x) of an array of real numbers, without the rounding of that difference."""
    inner, rest = _erf_and_rest(xp, x)
    return xp.where(xp.abs(x) <= 0.46875, 1 - inner, xp.where(x > 0, rest, 2 - rest))


erfc.vjp(x=lambda g, x: -_erf_rule(g, x))
erfc.batch(leading_axes_rule)


def _erf_gradient(xp: Namespace, g: Array, x: Array) -> Array:
    wide = x.astype(np.float32) if x.dtype == np.float16 else x
    return g * (xp.exp(-(wide * wide)) * (2 / math.sqrt(math.pi)))


fuse(erf, erfc)
fuse_rule(erf, _erf_gradient)
fuse_rule(erfc, lambda xp, g, x: -_erf_gradient(xp, g, x))
