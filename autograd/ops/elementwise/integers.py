"""Bits, divisors and multiples of integers, which have no derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.autograd.ops.ufunc import ufunc

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
