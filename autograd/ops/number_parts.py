"""Parts of numbers (angle, mantissa, integer part), replacement of NaN, powers in double precision.

These use reductions or counting, which `elementwise/` may not import.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.batch_rules import elementwise_rule
from tapegrad.autograd.ops.counting import binary_exponent

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand

__all__ = [
    "angle",
    "divmod",
    "float_power",
    "fractional_part",
    "frexp",
    "modf",
    "nan_to_num",
    "real_if_close",
]


@composite(numpy=np.angle)
def angle(z: Operand, deg: bool = False) -> Tensor:
    """The angle of a complex number, in radians or degrees; of real numbers 0 or π."""
    y = e.arctan2(e.imag(z), e.real(z))
    return y * (180 / math.pi) if deg else y


@composite(numpy=np.nan_to_num)
def nan_to_num(
    x: Operand,
    copy: bool = True,
    nan: float = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """x with NaN and the infinities replaced by numbers: a new array, or x itself if not `copy`."""
    x = as_operand(x)
    if not copy:
        x[...] = nan_to_num(x, True, nan, posinf, neginf)
        return x
    if x.dtype.kind == "c":
        return nan_to_num(e.real(x), True, nan, posinf, neginf) + 1j * nan_to_num(
            e.imag(x), True, nan, posinf, neginf
        )
    if x.dtype.kind not in "fc":
        return s.copy(x)
    limits = np.finfo(x.dtype)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    y = e.where(e.isnan(x), nan, x)
    infinite = e.isinf(x)
    y = e.where(e.logical_and(infinite, x > 0), high, y)
    return e.where(e.logical_and(infinite, x < 0), low, y)


@composite(numpy=np.real_if_close)
def real_if_close(a: Operand, tol: float = 100) -> Tensor:
    """The real part if no imaginary part exceeds `tol` times the machine epsilon, else x."""
    a = as_operand(a)
    if a.dtype.kind != "c":
        return a
    limit = tol * float(np.finfo(a.dtype).eps) if tol > 1 else tol
    return e.real(a) if bool(r.all(e.less(e.absolute(e.imag(a)), limit))) else a


@composite(numpy=np.float_power)
def float_power(x1: Operand, x2: Operand) -> Tensor:
    """x1 raised to x2 in double precision."""
    x1, x2 = as_operand(x1), as_operand(x2)
    dtype = np.result_type(x1.dtype, x2.dtype, np.float64)
    return e.power(e.cast(x1, dtype=dtype), e.cast(x2, dtype=dtype))


@composite(numpy=np.divmod)
def divmod(x1: Operand, x2: Operand) -> tuple[Tensor, Tensor]:
    """(floor(x1 / x2), the remainder), elementwise; the first has no derivative."""
    return e.floor_divide(x1, x2), e.remainder(x1, x2)


@primitive(elementwise=True)
def fractional_part(xp: Namespace, x: Array) -> Array:
    """x minus x rounded towards 0, elementwise, with the sign of x; ±0 for an infinity."""
    return xp.modf(x)[0]


fractional_part.vjp(x=lambda g: g)
fractional_part.batch(elementwise_rule)


@composite(numpy=np.modf)
def modf(x: Operand) -> tuple[Tensor, Tensor]:
    """(fractional part, integer part), both with the sign of x; the second has no derivative."""
    x = as_operand(x)
    if x.dtype.kind not in "fc":  # the narrowest floats that hold them, as of every ufunc of floats
        x = x.astype(np.result_type(x.dtype, np.float16))
    integer = e.trunc(x)
    return fractional_part(x), integer


@composite(numpy=np.frexp)
def frexp(x: Operand) -> tuple[Tensor, Tensor]:
    """(m, k) with x = m · 2^k and 1/2 <= |m| < 1; the second has no derivative."""
    exponent = binary_exponent(x)
    return e.ldexp(x, e.negative(exponent)), exponent
