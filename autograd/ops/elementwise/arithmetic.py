"""Arithmetic: sums, products, quotients, remainders, squares and roots; rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.ops.ufunc import ufunc

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "add",
    "ceil",
    "divide",
    "floor",
    "floor_divide",
    "fmod",
    "multiply",
    "negative",
    "positive",
    "reciprocal",
    "remainder",
    "rint",
    "sqrt",
    "square",
    "subtract",
    "trunc",
]


@ufunc(np.floor, differentiable=False)
def floor(x: Array) -> Array:
    """The largest integer not above x, elementwise, in x's dtype."""


@ufunc(np.ceil, differentiable=False)
def ceil(x: Array) -> Array:
    """The smallest integer not below x, elementwise, in x's dtype."""


@ufunc(np.rint, differentiable=False)
def rint(x: Array) -> Array:
    """The nearest integer, halves to even, elementwise, in x's dtype."""


@ufunc(np.floor_divide, differentiable=False)
def floor_divide(x1: Array, x2: Array) -> Array:
    """floor(x1 / x2), elementwise."""


@ufunc(np.trunc, differentiable=False)
def trunc(x: Array) -> Array:
    """The integer part of x, towards zero, elementwise, in x's dtype."""


@ufunc(np.add)
def add(x1: Array, x2: Array) -> Array:
    """x1 + x2, elementwise with broadcasting."""


add.vjp(x1=lambda g: g, x2=lambda g: g)


@ufunc(np.subtract)
def subtract(x1: Array, x2: Array) -> Array:
    """x1 - x2, elementwise with broadcasting."""


subtract.vjp(x1=lambda g: g, x2=lambda g: -g)


@ufunc(np.multiply)
def multiply(x1: Array, x2: Array) -> Array:
    """x1 · x2, elementwise with broadcasting."""


multiply.vjp(x1=lambda g, x2: g * x2, x2=lambda g, x1: g * x1)


@ufunc(np.divide, domain={"x2": (0, None)})
def divide(x1: Array, x2: Array) -> Array:
    """x1 / x2, elementwise with broadcasting; as NumPy where x2 is 0."""


divide.vjp(x1=lambda g, x2: g / x2, x2=lambda g, x2, y: -(g * y / x2))


@ufunc(np.remainder, domain={"x2": (0, None)})
def remainder(x1: Array, x2: Array) -> Array:
    """x1 - x2·floor(x1 / x2), elementwise: Python's ``%``."""


remainder.vjp(x1=lambda g: g, x2=lambda g, x1, x2: -(g * floor_divide(x1, x2)))


@ufunc(np.negative)
def negative(x: Array) -> Array:
    """-x, elementwise."""


negative.vjp(x=lambda g: -g)


@ufunc(np.square)
def square(x: Array) -> Array:
    """x², elementwise."""


square.vjp(x=lambda g, x: g * (x + x))


@ufunc(np.sqrt, domain={"x": (0, None)})
def sqrt(x: Array) -> Array:
    """√x, elementwise; x >= 0."""


sqrt.vjp(x=lambda g, y: g / (y + y))


@ufunc(np.positive)
def positive(x: Array) -> Array:
    """+x, elementwise: a copy."""


positive.vjp(x=lambda g: g)


@ufunc(np.reciprocal, domain={"x": (0, None)})
def reciprocal(x: Array) -> Array:
    """1 / x, elementwise."""


reciprocal.vjp(x=lambda g, y: -(g * (y * y)))


@ufunc(np.fmod, domain={"x2": (0, None)})
def fmod(x1: Array, x2: Array) -> Array:
    """x1 - x2·trunc(x1 / x2), elementwise: C's remainder, with the sign of x1."""


fmod.vjp(x1=lambda g: g, x2=lambda g, x1, x2: -(g * trunc(x1 / x2)))
