"""Choosing between operands: by a condition, by size, within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaration import NUMBERS
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops.batch_rules import elementwise_rule, leading_axes_rule
from tapegrad.autograd.ops.elementwise.comparisons import (
    greater,
    isnan,
    less,
    logical_and,
    logical_not,
    logical_or,
)
from tapegrad.autograd.ops.fused_bodies import fuse_elementwise
from tapegrad.autograd.ops.ufunc import ufunc

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand, Scalar

__all__ = [
    "clip",
    "fmax",
    "fmin",
    "heaviside",
    "larger_share",
    "maximum",
    "minimum",
    "numpy_clip",
    "where",
]


@ufunc(np.heaviside)
def heaviside(x1: Array, x2: Array) -> Array:
    """0 where x1 < 0, x2 where x1 is 0, 1 where x1 > 0, elementwise; flat in x1."""


heaviside.vjp(x1=None, x2=lambda g, x1: g * (x1 == 0))


@ufunc(np.maximum)
def maximum(x1: Array, x2: Array) -> Array:
    """The larger of x1 and x2, elementwise; NaN if either is; ties share their gradient."""


maximum.vjp(
    x1=lambda g, x1, x2: g * larger_share(x1, x2),
    x2=lambda g, x1, x2: g * larger_share(x2, x1),
)


@ufunc(np.minimum)
def minimum(x1: Array, x2: Array) -> Array:
    """The smaller of x1 and x2, elementwise; NaN if either is; ties share their gradient."""


minimum.vjp(
    x1=lambda g, x1, x2: g * larger_share(x2, x1),
    x2=lambda g, x1, x2: g * larger_share(x1, x2),
)


@primitive(differentiable=False)
def larger_share(xp: Namespace, x1: Array, x2: Array) -> Array:
    """1 where x1 > x2, 1/2 where they are equal, 0 elsewhere and at NaN, elementwise.

    It is the share of x1 in the gradient of the larger.
    """
    dtype = xp.result_type(x1, x2, np.float16)
    y = (x1 > x2).astype(dtype)
    equal = x1 == x2
    if xp is not np or equal.any():
        y = y + equal.astype(dtype) / 2
    return y


larger_share.batch(elementwise_rule)


@ufunc(np.fmax)
def fmax(x1: Array, x2: Array) -> Array:
    """The larger of x1 and x2, elementwise; the other where one is NaN; ties share."""


@ufunc(np.fmin)
def fmin(x1: Array, x2: Array) -> Array:
    """The smaller of x1 and x2, elementwise; the other where one is NaN; ties share."""


def _only_number(x: Array, other: Array) -> Array:
    return logical_and(isnan(other), logical_not(isnan(x)))


fmax.vjp(
    x1=lambda g, x1, x2: g * (larger_share(x1, x2) + _only_number(x1, x2)),
    x2=lambda g, x1, x2: g * (larger_share(x2, x1) + _only_number(x2, x1)),
)
fmin.vjp(
    x1=lambda g, x1, x2: g * (larger_share(x2, x1) + _only_number(x1, x2)),
    x2=lambda g, x1, x2: g * (larger_share(x1, x2) + _only_number(x2, x1)),
)


@primitive(elementwise=True, numpy=np.where)
def where(xp: Namespace, condition: Array, x1: Array, x2: Array) -> Array:
    """x1 where `condition` holds, x2 elsewhere, elementwise with broadcasting."""
    return xp.where(condition, x1, x2)


where.vjp(
    condition=None,
    x1=lambda g, condition: where(condition, g, 0),
    x2=lambda g, condition: where(condition, 0, g),
)
where.batch(elementwise_rule)
# NumPy's takes thirty times as long as a product where the condition changes from entry to entry.
fuse_elementwise(where, exact=True)


@primitive(elementwise=True)
def clip(
    xp: Namespace,
    x: Array,
    *,
    a_min: Scalar | None = None,
    a_max: Scalar | None = None,
    out: Array | None = None,
) -> Array:
    """x limited to the numbers a_min <= x <= a_max; either may be None.

    The derivative is 1 at the bounds themselves.  For array bounds use maximum and minimum.
    """
    return xp.clip(x, a_min, a_max, out=out)


clip.vjp(x=lambda g, x, y: g * (x == y))
clip.batch(leading_axes_rule)


@composite(numpy=np.clip)
def numpy_clip(
    x: Operand,
    a_min: Operand | None = None,
    a_max: Operand | None = None,
    min: Operand | None = None,
    max: Operand | None = None,
) -> Tensor:
    """NumPy's clip: bounds may be arrays and Tensors, and are differentiated then."""
    low, high = a_min if min is None else min, a_max if max is None else max
    if type(low) in _BOUNDS and type(high) in _BOUNDS:
        return clip(x, low, high)
    # As for numbers, the derivative at the bounds is x's.
    y: Any = x
    if low is not None:
        y = where(logical_or(less(y, low), isnan(low)), low, y)
    if high is not None:
        y = where(logical_or(greater(y, high), isnan(high)), high, y)
    return y


_BOUNDS = NUMBERS | {type(None)}
