"""Bits, divisors and multiples of integers, which have no derivative."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.ops.ufunc import ufunc

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "bitwise_and",
    "bitwise_count",
    "bitwise_or",
    "bitwise_xor",
    "gcd",
    "invert",
    "lcm",
    "left_shift",
    "right_shift",
]


@ufunc(np.bitwise_and, differentiable=False)
def bitwise_and(x1: Array, x2: Array) -> Array:
    """x1 & x2 bit by bit, elementwise, of integers or booleans."""


@ufunc(np.bitwise_or, differentiable=False)
def bitwise_or(x1: Array, x2: Array) -> Array:
    """x1 | x2 bit by bit, elementwise, of integers or booleans."""


@ufunc(np.bitwise_xor, differentiable=False)
def bitwise_xor(x1: Array, x2: Array) -> Array:
    """x1 ^ x2 bit by bit, elementwise, of integers or booleans."""


@ufunc(np.bitwise_count, differentiable=False)
def bitwise_count(x: Array) -> Array:
    """How many bits of |x| are set, elementwise, of integers."""


@ufunc(np.invert, differentiable=False)
def invert(x: Array) -> Array:
    """Every bit of x turned, elementwise, of integers or booleans."""


@ufunc(np.left_shift, differentiable=False)
def left_shift(x1: Array, x2: Array) -> Array:
    """x1 shifted x2 bits to the left, elementwise, of integers."""


@ufunc(np.right_shift, differentiable=False)
def right_shift(x1: Array, x2: Array) -> Array:
    """x1 shifted x2 bits to the right, elementwise, of integers."""


@ufunc(np.gcd, differentiable=False)
def gcd(x1: Array, x2: Array) -> Array:
    """The greatest common divisor, elementwise, of integers."""


@ufunc(np.lcm, differentiable=False)
def lcm(x1: Array, x2: Array) -> Array:
    """The least common multiple, elementwise, of integers."""
