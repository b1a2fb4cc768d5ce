"""Elementwise primitives: ufuncs, selections, special functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.onnx.calls import Call, refuses, writes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tapegrad.nn.formats.onnx.building import GraphValue

__all__ = ["is_nan", "log_of_one_plus", "log_of_sum"]

BOOL = np.dtype(bool)

# Primitive -> ONNX's operator of the same meaning, on operands in the dtype of the ufunc's loop.
SAME = {
    "ceil": "Ceil", "floor": "Floor", "rint": "Round", "sqrt": "Sqrt",
    "subtract": "Sub", "divide": "Div", "negative": "Neg", "reciprocal": "Reciprocal",
    "power": "Pow", "exp": "Exp", "log": "Log", "absolute": "Abs", "fabs": "Abs",
    "sin": "Sin", "cos": "Cos", "tan": "Tan", "arcsin": "Asin", "arccos": "Acos",
    "arctan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "tanh": "Tanh", "arcsinh": "Asinh",
    "arccosh": "Acosh", "arctanh": "Atanh",
}  # fmt: skip
# The same, where booleans have an operator of their own.
ON_BOOLEANS = {
    "add": ("Add", "Or"), "multiply": ("Mul", "And"), "maximum": ("Max", "Or"),
    "minimum": ("Min", "And"),
}  # fmt: skip
COMPARISONS = {
    "less": "Less", "less_equal": "LessOrEqual", "greater": "Greater",
    "greater_equal": "GreaterOrEqual", "equal": "Equal",
}  # fmt: skip
LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}
UNCHANGED = (
    "positive", "conjugate", "identity", "real", "to_device", "scale_gradient", "penalize_l1",
    "add_gradient", "watch_gradient", "copy", "check_positions", "sum_over_ranks",
)  # fmt: skip


def _same(op: str) -> Callable[[Call], GraphValue]:
    return lambda call: call.builder.op(op, *call.promoted())


for _name, _op in SAME.items():
    writes(_name)(_same(_op))


def _or_logic(op: str, logic: str) -> Callable[[Call], GraphValue]:
    def write(call: Call) -> GraphValue:
        operands = call.promoted()
        return call.builder.op(logic if operands[0].dtype == BOOL else op, *operands)

    return write


for _name, (_op, _on_booleans) in ON_BOOLEANS.items():
    writes(_name)(_or_logic(_op, _on_booleans))


def _comparison(op: str) -> Callable[[Call], GraphValue]:
    def write(call: Call) -> GraphValue:
        x1, x2 = call.promoted()
        if x1.dtype == BOOL and op != "Equal":
            x1, x2 = x1.cast(np.int32), x2.cast(np.int32)
        return x1.compare(op, x2)

    return write


for _name, _op in COMPARISONS.items():
    writes(_name)(_comparison(_op))


def _logic(op: str) -> Callable[[Call], GraphValue]:
    return lambda call: call.builder.op(op, call.value(0, bool), call.value(1, bool))


for _name, _op in LOGIC.items():
    writes(_name)(_logic(_op))


@writes(*UNCHANGED)
def _unchanged(call: Call) -> GraphValue:
    return call.x


@writes("replace_gradients")
def _unchanged_list(call: Call) -> list[GraphValue]:
    return list(call.operands[0])


@writes("not_equal")
def _not_equal(call: Call) -> GraphValue:
    x1, x2 = call.promoted()
    return ~x1.compare("Equal", x2)


@writes("logical_not")
def _logical_not(call: Call) -> GraphValue:
    return ~call.value(0, bool)


@writes("trunc")
def _trunc(call: Call) -> GraphValue:
    return _truncated(call.promoted()[0])


def _truncated(x: GraphValue) -> GraphValue:
    if x.dtype.kind != "f":
        return x
    w = x.builder
    return w.where(x.compare("Less", 0), w.op("Ceil", x), w.op("Floor", x))


@writes("fractional_part")
def _fractional_part(call: Call) -> GraphValue:
    x = call.x
    y = x - _truncated(x)
    return x.builder.where(_is_infinite(x), 0.0, y)


@writes("square")
def _square(call: Call) -> GraphValue:
    x = call.promoted()[0]
    return x * x


def _modulo(x1: GraphValue, x2: GraphValue) -> GraphValue:
    """The remainder with the divisor's sign, as Python's %."""
    w = x1.builder
    if x1.dtype.kind != "f":
        return w.op("Mod", x1, x2)
    rest = w.op("Mod", x1, x2, fmod=1)
    wrong = ~rest.compare("Equal", 0) & (rest.compare("Less", 0) ^ x2.compare("Less", 0))
    return w.where(wrong, rest + x2, rest)


@writes("remainder")
def _remainder(call: Call) -> GraphValue:
    return _modulo(*call.promoted())


@writes("fmod")
def _fmod(call: Call) -> GraphValue:
    return call.builder.op("Mod", *call.promoted(), fmod=1)


@writes("floor_divide")
def _floor_divide(call: Call) -> GraphValue:
    x1, x2 = call.promoted()
    quotient = (x1 - _modulo(x1, x2)) / x2
    return call.builder.op("Round", quotient) if x1.dtype.kind == "f" else quotient


@writes("isnan")
def _isnan(call: Call) -> GraphValue:
    return is_nan(call.value(0))


def is_nan(x: GraphValue) -> GraphValue:
    """Whether entries are NaN; no integer is."""
    if x.dtype.kind == "f":
        return x.builder.op("IsNaN", x, dtype=BOOL)
    return x.builder.op("Xor", *(x.compare("Equal", x),) * 2)


def _is_infinite(x: GraphValue) -> GraphValue:
    wide = x.cast(np.float32) if x.dtype != np.float64 else x
    return x.builder.op("IsInf", wide, dtype=BOOL)


@writes("isinf")
def _isinf(call: Call) -> GraphValue:
    return _is_infinite(call.x)


@writes("isfinite")
def _isfinite(call: Call) -> GraphValue:
    return ~(_is_infinite(call.x) | is_nan(call.x))


@writes("isreal")
def _isreal(call: Call) -> GraphValue:
    return call.x.builder.op("Or", is_nan(call.x), ~is_nan(call.x))


@writes("iscomplex")
def _iscomplex(call: Call) -> GraphValue:
    return is_nan(call.x) & ~is_nan(call.x)


@writes("imag")
def _imag(call: Call) -> GraphValue:
    return call.builder.where(is_nan(call.x), 0, call.x * 0)


@writes("heaviside")
def _heaviside(call: Call) -> GraphValue:
    x1, x2 = call.promoted()
    w = call.builder
    one, zero = w.number(1, x1.dtype), w.number(0, x1.dtype)
    step = w.where(x1.compare("Greater", 0), one, w.where(x1.compare("Less", 0), zero, x1))
    return w.where(x1.compare("Equal", 0), x2, step)


@writes("fmax", "fmin")
def _ignoring_nan(call: Call) -> GraphValue:
    x1, x2 = call.promoted()
    w = call.builder
    op = "Max" if call.primitive.name == "fmax" else "Min"
    if x1.dtype == BOOL:
        return x1 | x2 if op == "Max" else x1 & x2
    both = w.op(op, x1, x2)
    if x1.dtype.kind != "f":
        return both
    return w.where(is_nan(x1), x2, w.where(is_nan(x2), x1, both))


# Exponentials and logarithms ---------------------------------------------------------------------


@writes("expm1")
def _expm1(call: Call) -> GraphValue:
    x = call.promoted()[0]
    w = call.builder
    half = w.op("Tanh", x * 0.5)
    small = (half * 2) / (1 - half)  # expm1(x) = 2t / (1 - t) with t = tanh(x/2)
    return w.where(w.op("Abs", x).compare("Less", 1), small, w.op("Exp", x) - 1)


@writes("log1p")
def _log1p(call: Call) -> GraphValue:
    return log_of_one_plus(call.promoted()[0])


def log_of_one_plus(x: GraphValue) -> GraphValue:
    """log(1 + x), with all its digits near 0 (W. Kahan's way)."""
    w = x.builder
    u = x + 1
    log = w.op("Log", u)
    small = log * (x / (u - 1))
    near = w.op("Abs", x).compare("Less", 1)
    return w.where(u.compare("Equal", 1), x, w.where(near, small, log))


def log_of_sum(x1: GraphValue, x2: GraphValue, scale: float = 1.0) -> GraphValue:
    """log(b^x1 + b^x2) to the base b = e^scale."""
    w = x1.builder
    top, gap = w.op("Max", x1, x2), w.op("Abs", x1 - x2)
    rest = log_of_one_plus(w.op("Exp", gap * -scale))
    if scale != 1.0:
        rest = rest / scale
    same = x1.compare("Equal", x2)  # infinities too, whose difference is NaN
    return w.where(same, x1 + math.log(2) / scale, top + rest)


@writes("logaddexp")
def _logaddexp(call: Call) -> GraphValue:
    x1, x2 = call.promoted()
    return log_of_sum(x1, x2)


@writes("logaddexp2")
def _logaddexp2(call: Call) -> GraphValue:
    x1, x2 = call.promoted()
    return log_of_sum(x1, x2, math.log(2))


@writes("exp2")
def _exp2(call: Call) -> GraphValue:
    x = call.promoted()[0]
    return call.builder.op("Pow", call.builder.number(2, x.dtype), x)


@writes("exp10")
def _exp10(call: Call) -> GraphValue:
    x = call.value(0, call.dtype)
    return call.builder.op("Pow", call.builder.number(10, x.dtype), x)


@writes("log2", "log10")
def _log_to_base(call: Call) -> GraphValue:
    base = 2 if call.primitive.name == "log2" else 10
    return call.builder.op("Log", call.promoted()[0]) * (1 / math.log(base))


@writes("cbrt")
def _cbrt(call: Call) -> GraphValue:
    x = call.promoted()[0]
    w = call.builder
    root = w.op("Pow", w.op("Abs", x), w.number(1 / 3, x.dtype))
    return w.op("Sign", x) * root


@writes("ldexp")
def _ldexp(call: Call) -> GraphValue:
    x1 = call.value(0, call.dtype)
    power = call.builder.op("Pow", call.builder.number(2, x1.dtype), call.value(1, x1.dtype))
    return x1 * power


# Signs, sizes, angles ----------------------------------------------------------------------------


def _is_negative(x: GraphValue) -> GraphValue:
    """Whether the sign bit is set: -0 has it too."""
    below = x.compare("Less", 0)
    return below | (1.0 / x).compare("Less", 0) if x.dtype.kind == "f" else below


@writes("signbit")
def _signbit(call: Call) -> GraphValue:
    return _is_negative(call.promoted()[0])


@writes("copysign")
def _copysign(call: Call) -> GraphValue:
    x1, x2 = call.promoted()
    size = call.builder.op("Abs", x1)
    return call.builder.where(_is_negative(x2), -size, size)


@writes("hypot")
def _hypot(call: Call) -> GraphValue:
    w = call.builder
    x1, x2 = (w.op("Abs", x) for x in call.promoted())
    top, low = w.op("Max", x1, x2), w.op("Min", x1, x2)
    ratio = low / w.where(top.compare("Equal", 0), 1.0, top)
    return top * w.op("Sqrt", ratio * ratio + 1)


@writes("deg2rad", "radians")
def _radians(call: Call) -> GraphValue:
    return call.promoted()[0] * (math.pi / 180)


@writes("rad2deg", "degrees")
def _degrees(call: Call) -> GraphValue:
    return call.promoted()[0] * (180 / math.pi)


@writes("arctan2")
def _arctan2(call: Call) -> GraphValue:
    x1, x2 = call.promoted()
    w = call.builder
    right = w.op("Atan", x1 / w.where(x2.compare("Equal", 0), 1.0, x2))
    negative = _is_negative(x1)
    turned = right + w.where(negative, w.number(-math.pi, x1.dtype), math.pi)
    half = w.number(math.pi / 2, x1.dtype)
    upright = w.where(x1.compare("Equal", 0), x1, w.where(negative, -half, half))
    on_axis = w.where(x2.compare("Less", 0), turned, right)
    return w.where(x2.compare("Equal", 0), upright, on_axis)


@writes("signum", "absolute_slope", "phase")
def _sign(call: Call) -> GraphValue:
    return call.builder.op("Sign", call.x)


@writes("sinc")
def _sinc(call: Call) -> GraphValue:
    x = call.value(0, call.dtype) * math.pi
    w = call.builder
    zero = x.compare("Equal", 0)
    return w.where(zero, 1.0, w.op("Sin", x) / w.where(zero, 1.0, x))


@writes("over_cosh_squared")
def _over_cosh_squared(call: Call) -> GraphValue:
    size = call.builder.op("Cosh", call.value(1, call.dtype))
    return call.value(0, call.dtype) / size / size


def _bits(op: str, logic: str) -> Callable[[Call], GraphValue]:
    def write(call: Call) -> GraphValue:
        operands = call.promoted()
        if operands[0].dtype == BOOL:
            return call.builder.op(logic, *operands)
        _needs(call, 18)
        return call.builder.op(op, *operands)

    return write


def _needs(call: Call, opset: int) -> None:
    if call.builder.opset < opset:
        raise UnsupportedError(
            f"{call.primitive.name} needs opset {opset}, and the file has {call.builder.opset}"
        )


for _name, _op, _of_bools in (
    ("bitwise_and", "BitwiseAnd", "And"),
    ("bitwise_or", "BitwiseOr", "Or"),
    ("bitwise_xor", "BitwiseXor", "Xor"),
    ("invert", "BitwiseNot", "Not"),
):
    writes(_name)(_bits(_op, _of_bools))


@writes("left_shift", "right_shift")
def _shift(call: Call) -> GraphValue:
    x1, x2 = call.promoted()
    left = call.primitive.name == "left_shift"
    if x1.dtype.kind == "u":
        return call.builder.op("BitShift", x1, x2, direction="LEFT" if left else "RIGHT")
    power = call.builder.op("Pow", call.builder.number(2, x1.dtype), x2)
    return x1 * power if left else (x1 - _modulo(x1, power)) / power


refuses("ONNX has no operator that counts bits, or takes numbers apart into them",
        "bitwise_count", "packbits", "unpackbits", "binary_exponent", "nextafter")  # fmt: skip
refuses("ONNX has no greatest common divisor", "gcd", "lcm")
