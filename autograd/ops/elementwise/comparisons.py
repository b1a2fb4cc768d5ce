"""Comparisons, logic and tests of entries: booleans, which have no derivative."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.ops.ufunc import ufunc

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "equal",
    "greater",
    "greater_equal",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
]


@ufunc(np.less, differentiable=False)
def less(x1: Array, x2: Array) -> Array:
    """x1 < x2, elementwise, as booleans."""


@ufunc(np.less_equal, differentiable=False)
def less_equal(x1: Array, x2: Array) -> Array:
    """x1 <= x2, elementwise, as booleans."""


@ufunc(np.greater, differentiable=False)
def greater(x1: Array, x2: Array) -> Array:
    """x1 > x2, elementwise, as booleans."""


@ufunc(np.greater_equal, differentiable=False)
def greater_equal(x1: Array, x2: Array) -> Array:
    """x1 >= x2, elementwise, as booleans."""


@ufunc(np.equal, differentiable=False)
def equal(x1: Array, x2: Array) -> Array:
    """x1 == x2, elementwise, as booleans."""


@ufunc(np.not_equal, differentiable=False)
def not_equal(x1: Array, x2: Array) -> Array:
    """x1 != x2, elementwise, as booleans."""


@ufunc(np.logical_and, differentiable=False)
def logical_and(x1: Array, x2: Array) -> Array:
    """x1 and x2, elementwise, as booleans."""


@ufunc(np.logical_or, differentiable=False)
def logical_or(x1: Array, x2: Array) -> Array:
    """x1 or x2, elementwise, as booleans."""


@ufunc(np.logical_xor, differentiable=False)
def logical_xor(x1: Array, x2: Array) -> Array:
    """Exactly one of x1 and x2, elementwise, as booleans."""


@ufunc(np.logical_not, differentiable=False)
def logical_not(x: Array) -> Array:
    """not x, elementwise, as booleans."""


@ufunc(np.isnan, differentiable=False)
def isnan(x: Array) -> Array:
    """Whether the entry is NaN, elementwise, as booleans."""


@ufunc(np.isinf, differentiable=False)
def isinf(x: Array) -> Array:
    """Whether the entry is infinite, elementwise, as booleans."""


@ufunc(np.isfinite, differentiable=False)
def isfinite(x: Array) -> Array:
    """Whether the entry is neither NaN nor infinite, elementwise, as booleans."""
