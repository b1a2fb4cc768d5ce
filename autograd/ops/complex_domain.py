"""NumPy's np.emath: functions whose results turn complex where real ones do not reach.

The values decide, so the dtype may change from call to call, and batches and replay refuse it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.arrays import as_floating, as_operand, value_of

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Operand

__all__ = [
    "emath_arccos",
    "emath_arcsin",
    "emath_arctanh",
    "emath_log",
    "emath_log10",
    "emath_log2",
    "emath_logn",
    "emath_power",
    "emath_sqrt",
]


def _as_complex(x: Tensor) -> Tensor:
    small = x.dtype in (np.float32, np.float16) or x.dtype.itemsize < 4
    return e.cast(x, dtype=np.complex64 if small else np.complex128)


def _where_negative(x: Operand) -> Tensor:
    """x, as complex numbers if an entry is negative."""
    x = as_operand(x)
    return _as_complex(x) if x.dtype.kind != "c" and bool((value_of(x) < 0).any()) else x


def _where_beyond_one(x: Operand) -> Tensor:
    """x, as complex numbers if an entry is beyond ±1."""
    x = as_operand(x)
    beyond = x.dtype.kind != "c" and bool((np.abs(value_of(x)) > 1).any())
    return _as_complex(x) if beyond else x


@composite(numpy=np.emath.sqrt)
def emath_sqrt(x: Operand) -> Tensor:
    """√x, complex where an entry is negative."""
    return e.sqrt(_where_negative(x))


@composite(numpy=np.emath.log)
def emath_log(x: Operand) -> Tensor:
    """The natural logarithm, complex where an entry is negative."""
    return e.log(_where_negative(x))


@composite(numpy=np.emath.log10)
def emath_log10(x: Operand) -> Tensor:
    """The logarithm to base 10, complex where an entry is negative."""
    return e.log10(_where_negative(x))


@composite(numpy=np.emath.log2)
def emath_log2(x: Operand) -> Tensor:
    """The logarithm to base 2, complex where an entry is negative."""
    return e.log2(_where_negative(x))


@composite(numpy=np.emath.logn)
def emath_logn(n: Operand, x: Operand) -> Tensor:
    """The logarithm of x to base n, complex where an entry of one of both is negative."""
    return e.log(_where_negative(x)) / e.log(_where_negative(n))


@composite(numpy=np.emath.power)
def emath_power(x: Operand, p: Operand) -> Tensor:
    """x to the power p, complex where an entry of x is negative."""
    exponent: Any = p
    if not isinstance(exponent, (int, float, complex)):
        exponent = as_operand(exponent)
        if exponent.dtype.kind in "iu" and bool((value_of(exponent) < 0).any()):
            exponent = as_floating(exponent)
    elif isinstance(exponent, int):
        exponent = float(exponent)  # integers have no negative powers
    return e.power(_where_negative(x), exponent)


@composite(numpy=np.emath.arccos)
def emath_arccos(x: Operand) -> Tensor:
    """The inverse cosine, complex where an entry is beyond ±1."""
    return e.arccos(_where_beyond_one(x))


@composite(numpy=np.emath.arcsin)
def emath_arcsin(x: Operand) -> Tensor:
    """The inverse sine, complex where an entry is beyond ±1."""
    return e.arcsin(_where_beyond_one(x))


@composite(numpy=np.emath.arctanh)
def emath_arctanh(x: Operand) -> Tensor:
    """The inverse hyperbolic tangent, complex where an entry is beyond ±1."""
    return e.arctanh(_where_beyond_one(x))
