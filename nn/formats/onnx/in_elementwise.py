"""Elementwise operators of ONNX, as NumPy's functions on Tensors."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.formats.onnx.graph import DTYPES
from tapegrad.nn.formats.onnx.operators import OperatorCall, reads, refuses_to_read

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["attribute_dtype"]

UNARY: dict[str, Callable[[Any], Any]] = {
    "Abs": np.abs, "Neg": np.negative, "Exp": np.exp, "Log": np.log, "Sqrt": np.sqrt,
    "Ceil": np.ceil, "Floor": np.floor, "Round": np.rint, "Sin": np.sin, "Cos": np.cos,
    "Tan": np.tan, "Asin": np.arcsin, "Acos": np.arccos, "Atan": np.arctan, "Sinh": np.sinh,
    "Cosh": np.cosh, "Tanh": np.tanh, "Asinh": np.arcsinh, "Acosh": np.arccosh,
    "Atanh": np.arctanh, "Sign": np.sign, "Not": np.logical_not, "IsNaN": np.isnan,
    "Relu": ops.relu, "Sigmoid": ops.sigmoid, "Erf": ops.erf, "Softsign": ops.softsign,
    "BitwiseNot": np.invert, "Identity": lambda x: x,
}  # fmt: skip
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Less": np.less,
    "LessOrEqual": np.less_equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal,
    "Equal": np.equal, "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}  # fmt: skip


def _unary(function: Callable[[Any], Any]) -> Callable[[OperatorCall], Any]:
    return lambda call: function(call.x)


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[OperatorCall], Any]:
    return lambda call: function(call.x, call.inputs[1])


for _name, _function in UNARY.items():
    reads(_name)(_unary(_function))
for _name, _of_two in BINARY.items():
    reads(_name)(_binary(_of_two))


def attribute_dtype(call: OperatorCall, name: str = "to") -> np.dtype[Any]:
    """The dtype that an attribute says.  Raises UnsupportedError for one that NumPy lacks."""
    number = call.attributes.get(name)
    dtype = DTYPES.get(1 if number == 16 else int(number or 0))
    if dtype is None:
        raise call.unsupported(f"element type {number}")
    return dtype


def like(x: Any, value: float) -> Any:
    """A number in the dtype of x."""
    return np.asarray(value, dtype=x.dtype)


@reads("Div")
def _divide(call: OperatorCall) -> Any:
    x1, x2 = call.x, call.inputs[1]
    if x1.dtype.kind not in "iu":
        return np.divide(x1, x2)
    quotient = np.floor_divide(np.abs(x1), np.abs(x2))
    return quotient * np.sign(x1) * np.sign(x2) if x1.dtype.kind == "i" else quotient


@reads("Mod")
def _modulo(call: OperatorCall) -> Any:
    function = np.fmod if call.number("fmod", 0) else np.remainder
    return function(call.x, call.inputs[1])


@reads("Pow")
def _power(call: OperatorCall) -> Any:
    x, exponent = call.x, call.inputs[1]
    if not isinstance(exponent, Tensor) and exponent.size == 1:
        p = exponent.reshape(-1)[0].item()
        if p == 2:
            return np.square(x) if exponent.ndim <= x.ndim else np.square(x).reshape((1,))
    y = np.power(x, exponent if exponent.dtype == x.dtype else exponent.astype(x.dtype))
    return y if y.dtype == x.dtype else y.astype(x.dtype)


@reads("Reciprocal")
def _reciprocal(call: OperatorCall) -> Any:
    return np.divide(like(call.x, 1), call.x)


@reads("Max")
def _max(call: OperatorCall) -> Any:
    return functools.reduce(np.maximum, call.inputs)


@reads("Min")
def _min(call: OperatorCall) -> Any:
    return functools.reduce(np.minimum, call.inputs)


@reads("Sum")
def _sum(call: OperatorCall) -> Any:
    return functools.reduce(np.add, call.inputs)


@reads("Mean")
def _mean(call: OperatorCall) -> Any:
    return functools.reduce(np.add, call.inputs) / like(call.x, len(call.inputs))


@reads("Where")
def _where(call: OperatorCall) -> Any:
    return np.where(call.x, call.inputs[1], call.inputs[2])


@reads("Cast")
def _cast(call: OperatorCall) -> Any:
    return in_dtype(call.x, attribute_dtype(call))


def in_dtype(x: Any, dtype: np.dtype[Any]) -> Any:
    """x in another dtype."""
    return x if x.dtype == dtype else x.astype(dtype)


@reads("CastLike")
def _cast_like(call: OperatorCall) -> Any:
    return in_dtype(call.x, call.inputs[1].dtype)


@reads("IsInf")
def _is_inf(call: OperatorCall) -> Any:
    x = call.x
    found = np.isinf(x)
    if not call.number("detect_negative", 1):
        found = np.logical_and(found, np.greater(x, 0))
    if not call.number("detect_positive", 1):
        found = np.logical_and(found, np.less(x, 0))
    return found


@reads("BitShift")
def _shift(call: OperatorCall) -> Any:
    function = np.left_shift if call.text("direction", "") == "LEFT" else np.right_shift
    return function(call.x, call.inputs[1])


# Activations -------------------------------------------------------------------------------------


@reads("LeakyRelu")
def _leaky_relu(call: OperatorCall) -> Any:
    x = call.x
    return np.where(np.less(x, 0), x * call.number("alpha", 0.01), x)


@reads("PRelu")
def _prelu(call: OperatorCall) -> Any:
    x = call.x
    return np.where(np.less(x, 0), x * call.inputs[1], x)


@reads("Elu")
def _elu(call: OperatorCall) -> Any:
    x = call.x
    below = np.expm1(np.minimum(x, like(x, 0))) * call.number("alpha", 1.0)
    return np.where(np.less(x, 0), below, x)


@reads("Selu")
def _selu(call: OperatorCall) -> Any:
    x = call.x
    alpha, gamma = call.number("alpha", 1.67326319), call.number("gamma", 1.05070102)
    below = np.expm1(np.minimum(x, like(x, 0))) * alpha
    return np.where(np.greater(x, 0), x, below) * gamma


@reads("Celu")
def _celu(call: OperatorCall) -> Any:
    x, alpha = call.x, call.number("alpha", 1.0)
    below = np.expm1(np.minimum(x, like(x, 0)) / alpha) * alpha
    return np.maximum(x, like(x, 0)) + below


@reads("ThresholdedRelu")
def _thresholded(call: OperatorCall) -> Any:
    x = call.x
    return np.where(np.greater(x, like(x, call.number("alpha", 1.0))), x, like(x, 0))


@reads("HardSigmoid")
def _hard_sigmoid(call: OperatorCall) -> Any:
    return ops.clip(call.x * call.number("alpha", 0.2) + call.number("beta", 0.5), 0, 1)


@reads("HardSwish")
def _hard_swish(call: OperatorCall) -> Any:
    return call.x * ops.clip(call.x * (1 / 6) + 0.5, 0, 1)


@reads("Swish")
def _swish(call: OperatorCall) -> Any:
    return call.x * ops.sigmoid(call.x * call.number("alpha", 1.0))


@reads("Softplus")
def _softplus(call: OperatorCall) -> Any:
    return np.logaddexp(call.x, like(call.x, 0))


@reads("Mish")
def _mish(call: OperatorCall) -> Any:
    return call.x * np.tanh(np.logaddexp(call.x, like(call.x, 0)))


@reads("Shrink")
def _shrink(call: OperatorCall) -> Any:
    x, lambd, bias = call.x, call.number("lambd", 0.5), call.number("bias", 0.0)
    zero = like(x, 0)
    above = np.where(np.greater(x, like(x, lambd)), x - bias, zero)
    return np.where(np.less(x, like(x, -lambd)), x + bias, above)


@reads("Gelu")
def _gelu(call: OperatorCall) -> Any:
    x = call.x
    if call.text("approximate", "none") == "tanh":
        inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
        return x * 0.5 * (np.tanh(inner) + 1)
    return x * ops.erfc(x * -math.sqrt(0.5)) * 0.5


@reads("Clip", since=1)
def _clip_old(call: OperatorCall) -> Any:
    return _clipped(call.x, call.attributes.get("min"), call.attributes.get("max"))


@reads("Clip", since=11)
def _clip(call: OperatorCall) -> Any:
    bounds = [None if b is None else b.reshape(()).item() for b in (call.host(1), call.host(2))]
    return _clipped(call.x, *bounds)


def _clipped(x: Any, low: Any, high: Any) -> Any:
    if low is None and high is None:
        return x
    if isinstance(x, Tensor) and not (low is not None and high is not None and low > high):
        return ops.clip(x, low, high)
    y = x if low is None else np.maximum(x, like(x, low))
    return y if high is None else np.minimum(y, like(x, high))


@reads("Dropout")
def _dropout(call: OperatorCall) -> Any:
    training = call.host(2)
    if training is not None and bool(training.reshape(-1)[0]):
        raise call.unsupported("training_mode: a random draw")
    if call.count == 1:
        return call.x
    return [call.x, np.ones(call.x.shape, bool)]


# Numbers in few bits -----------------------------------------------------------------------------


def _along(call: OperatorCall, value: Any, axis: int, x: Any) -> Any:
    """A scale or zero point so that it broadcasts along an axis of x."""
    if call.number("block_size", 0):
        raise call.unsupported("blocks")
    if value is None or value.ndim != 1 or value.size == 1:
        return value if value is None or value.ndim == 0 else value.reshape(())
    return value.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


@reads("DequantizeLinear")
def _dequantize(call: OperatorCall) -> Any:
    x, scale, zero = call.x, call.inputs[1], call.input(2)
    axis = int(call.number("axis", 1)) if x.ndim > 1 else 0
    scale, zero = (_along(call, part, axis, x) for part in (scale, zero))
    wide = x.astype(scale.dtype)
    return (wide if zero is None else wide - zero.astype(scale.dtype)) * scale


@reads("QuantizeLinear")
def _quantize(call: OperatorCall) -> Any:
    x, scale, zero = call.x, call.inputs[1], call.input(2)
    axis = int(call.number("axis", 1)) if x.ndim > 1 else 0
    scale, zero = (_along(call, part, axis, x) for part in (scale, zero))
    dtype = np.dtype(np.uint8) if zero is None else zero.dtype
    y = np.rint(x / scale)
    y = y if zero is None else y + zero.astype(y.dtype)
    info = np.iinfo(dtype)
    return ops.clip(y, int(info.min), int(info.max)).astype(dtype)


@reads("DynamicQuantizeLinear")
def _dynamic_quantize(call: OperatorCall) -> list[Any]:
    x = call.x
    zero = like(x, 0)
    high, low = np.maximum(np.max(x), zero), np.minimum(np.min(x), zero)
    scale = (high - low) / 255
    point = ops.clip(np.rint(-low / scale), 0, 255)
    y = ops.clip(np.rint(x / scale) + point, 0, 255).astype(np.uint8)
    return [y, scale, point.astype(np.uint8)]


refuses_to_read("a random draw, which a model in evaluation mode does not make",
                "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
                "Multinomial", "Bernoulli")  # fmt: skip
refuses_to_read("it computes with texts, and Tensors hold numbers",
                "StringNormalizer", "TfIdfVectorizer", "RegexFullMatch", "StringConcat",
                "StringSplit", "LabelEncoder")  # fmt: skip
