"""Elementwise functions: the primitives themselves, under the standard's names.

Operands broadcast, and either may be a Python number.  What a result's dtype is, the standard says
for operands of one kind (`result_type`); where it leaves the result undefined, as for a square root
of integers, NumPy's answer is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops import counting
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.elementwise import (
    add,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    copysign,
    cos,
    cosh,
    divide,
    equal,
    exp,
    expm1,
    floor_divide,
    greater,
    greater_equal,
    hypot,
    imag,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    negative,
    nextafter,
    not_equal,
    positive,
    real,
    reciprocal,
    remainder,
    sign,
    signbit,
    sin,
    sinh,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
)

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Operand

__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "clip",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "divide",
    "equal",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "positive",
    "pow",
    "real",
    "reciprocal",
    "remainder",
    "round",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "trunc",
]

abs = e.absolute
acos = e.arccos
acosh = e.arccosh
asin = e.arcsin
asinh = e.arcsinh
atan = e.arctan
atan2 = e.arctan2
atanh = e.arctanh
bitwise_invert = e.invert
bitwise_left_shift = e.left_shift
bitwise_right_shift = e.right_shift
ceil = e.ceil
conj = e.conjugate
floor = e.floor
pow = e.power
trunc = e.trunc

WIDER_BOUND = (
    "clip: x has shape {x}, and {name} has shape {bound}, to which x would have to be broadcast; "
    "write clip(broadcast_to(x, shape), …)"
)


def round(x: Operand, /) -> Tensor:
    """The nearest integer, of two that are equally near the even one, elementwise, in x's dtype."""
    return counting.round(as_operand(x))


def clip(x: Operand, /, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """min where x < min, max where x > max, else x, elementwise, in x's dtype.

    min, max: numbers, Tensors that broadcast to x's shape, or None for no bound
    Raises ShapeError for a bound of another shape, to which x would be broadcast.
    """
    x = as_operand(x)
    for name, bound in (("min", min), ("max", max)):
        shape = getattr(bound, "shape", ())
        if len(shape) > x.ndim or any(
            n not in (1, own) for n, own in zip(shape[::-1], x.shape[::-1], strict=False)
        ):
            raise ShapeError(WIDER_BOUND.format(x=x.shape, name=name, bound=tuple(shape)))
    if min is None and max is None:
        return s.copy(x)
    y = e.numpy_clip(x, min, max)
    return y if y.dtype == x.dtype else e.numpy_clip(x, _as(min, x), _as(max, x))


def _as(bound: Operand | None, x: Tensor) -> Operand | None:
    """A bound in x's dtype."""
    return None if bound is None else as_operand(bound).astype(x.dtype)
