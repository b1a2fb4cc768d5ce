"""Choosing between operands: by a condition, by size, within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaration import NUMBERS
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops.batch_rules import elementwise_rule, leading_axes_rule
from tapegrad.autograd.ops.elementwise.comparisons import isnan, logical_not, logical_or
from tapegrad.autograd.ops.ufunc import ufunc

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand, Scalar

__all__ = [
    "clip",
    "fmax",
    "fmin",
    "heaviside",
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
    """The larger of x1 and x2, elementwise; NaN if either is; ties give their gradient to x1."""


maximum.vjp(
    x1=lambda g, x1, x2: g * logical_not(x2 > x1),
    x2=lambda g, x1, x2: g * (x2 > x1),
)


@ufunc(np.minimum)
def minimum(x1: Array, x2: Array) -> Array:
    """The smaller of x1 and x2, elementwise; NaN if either is; ties give their gradient to x1."""


minimum.vjp(
    x1=lambda g, x1, x2: g * logical_not(x2 < x1),
    x2=lambda g, x1, x2: g * (x2 < x1),
)


@ufunc(np.fmax)
def fmax(x1: Array, x2: Array) -> Array:
    """The larger of x1 and x2, elementwise; the other where one is NaN; ties go to x1."""


@ufunc(np.fmin)
def fmin(x1: Array, x2: Array) -> Array:
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
def where(xp: Namespace, condition: Array, x1: Array, x2: Array) -> Array:
    """x1 where `condition` holds, x2 elsewhere, elementwise with broadcasting."""
    return xp.where(condition, x1, x2)


where.vjp(
    condition=None,
    x1=lambda g, condition: where(condition, g, 0),
    x2=lambda g, condition: where(condition, 0, g),
)
where.batch(elementwise_rule)


@primitive
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
    if low is None:
        return minimum(x, high)
    y = maximum(x, low)
    return y if high is None else minimum(y, high)


_BOUNDS = NUMBERS | {type(None)}
