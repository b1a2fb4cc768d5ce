"""How a number is stored: its dtype, its neighbours, its exponent; and x itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaration import newer_numpy
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops.batch_rules import leading_axes_rule
from tapegrad.autograd.ops.elementwise.parts import absolute, copysign
from tapegrad.autograd.ops.ufunc import ufunc

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, DTypeLike, Namespace, Operand

__all__ = ["as_half_was", "cast", "identity", "ldexp", "nextafter", "spacing", "widen_half"]


@ufunc(np.nextafter)
def nextafter(x1: Array, x2: Array) -> Array:
    """The number of its dtype next to x1 in the direction of x2, elementwise; flat in x2."""


nextafter.vjp(x1=lambda g: g, x2=None)


@ufunc(np.ldexp)
def ldexp(x1: Array, x2: Array) -> Array:
    """x1 · 2^x2 for integers x2, elementwise."""


ldexp.vjp(x1=lambda g, x2: ldexp(g, x2), x2=None)


@primitive(elementwise=True, numpy=newer_numpy("astype"))
def cast(xp: Namespace, x: Array, *, dtype: DTypeLike) -> Array:
    """x converted to another floating point `dtype`; the cotangent is converted back."""
    return x.astype(dtype)


cast.vjp(x=lambda g: g)
cast.batch(leading_axes_rule)


def widen_half(x: Array) -> Array:
    """x in float32 if it is float16, for sums that float16 cannot hold."""
    return cast(x, dtype=np.float32) if x.dtype == np.float16 else x


def as_half_was(y: Array, x: Array) -> Array:
    """y in float16 if x is float16: the end of what `widen_half` began."""
    return cast(y, dtype=np.float16) if x.dtype == np.float16 else y


@primitive(elementwise=True, view=True)
def identity(xp: Namespace, x: Array) -> Array:
    """x itself, as a recorded call, which marks a point of the tape."""
    return x


identity.vjp(x=lambda g: g)
identity.batch(leading_axes_rule)


@composite(numpy=np.spacing, differentiable=False)
def spacing(x: Operand) -> Tensor:
    """The distance from x to the next number of its dtype away from 0, with the sign of x."""
    x = x.detach() if hasattr(x, "detach") else x
    array: Any = x if hasattr(x, "dtype") else np.asarray(x)
    if array.dtype.kind != "f":
        array = array.astype(np.result_type(array.dtype, np.float16))
    size = absolute(array)
    return copysign(nextafter(size, np.inf) - size, array)
