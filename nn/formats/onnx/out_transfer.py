"""Transfer functions of neural networks as nodes of ONNX."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tapegrad.nn.formats.onnx.calls import Call, writes
from tapegrad.nn.formats.onnx.out_elementwise import log_of_one_plus

if TYPE_CHECKING:
    from tapegrad.nn.formats.onnx.building import GraphValue

__all__: list[str] = []


def _input(call: Call) -> GraphValue:
    return call.value(0, call.dtype)


def _log_one_plus_exp(x: GraphValue) -> GraphValue:
    """log(1 + eˣ), without overflow."""
    w = x.builder
    rest = log_of_one_plus(w.op("Exp", -w.op("Abs", x)))
    return w.op("Max", x, w.number(0, x.dtype)) + rest


@writes("leaky_relu")
def _leaky_relu(call: Call) -> GraphValue:
    x = _input(call)
    return call.builder.where(x.compare("Greater", 0), x, x * call.setting("slope"))


@writes("magnitude")
def _magnitude(call: Call) -> GraphValue:
    return call.builder.op("Abs", _input(call))


@writes("threshold")
def _threshold(call: Call) -> GraphValue:
    x = _input(call)
    return call.builder.where(
        x.compare("LessOrEqual", call.setting("limit")), float(call.setting("value")), x
    )


@writes("root")
def _root(call: Call) -> GraphValue:
    return call.builder.op("Sqrt", _input(call))


@writes("hard_shrink")
def _hard_shrink(call: Call) -> GraphValue:
    x = _input(call)
    inside = call.builder.op("Abs", x).compare("LessOrEqual", call.setting("limit"))
    return call.builder.where(inside, 0.0, x)


def _limited(x: GraphValue, low: float, high: float) -> GraphValue:
    w = x.builder
    return w.op("Min", w.op("Max", x, w.number(low, x.dtype)), w.number(high, x.dtype))


@writes("soft_shrink")
def _soft_shrink(call: Call) -> GraphValue:
    x, limit = _input(call), call.setting("limit")
    return x - _limited(x, -limit, limit)


@writes("hard_tanh")
def _hard_tanh(call: Call) -> GraphValue:
    return _limited(_input(call), call.setting("low"), call.setting("high"))


@writes("elu")
def _elu(call: Call) -> GraphValue:
    return call.builder.op("Elu", _input(call), alpha=float(call.setting("alpha")))


@writes("huber")
def _huber(call: Call) -> GraphValue:
    x, delta = _input(call), call.setting("delta")
    size = call.builder.op("Abs", x)
    near, far = x * x * 0.5, (size - 0.5 * delta) * delta
    return call.builder.where(size.compare("Less", delta), near, far)


@writes("log_sigmoid")
def _log_sigmoid(call: Call) -> GraphValue:
    return -_log_one_plus_exp(-_input(call))


@writes("log_one_plus_exp")
def _log_one_plus_exp_call(call: Call) -> GraphValue:
    return _log_one_plus_exp(_input(call))


@writes("logistic_loss")
def _logistic_loss(call: Call) -> GraphValue:
    x, t = _input(call), call.value(1, call.dtype)
    w = call.builder
    size = w.op("Abs", x)
    share = w.where(x.compare("GreaterOrEqual", 0), w.number(1, t.dtype) - t, t)
    return size * share + log_of_one_plus(w.op("Exp", -size))


@writes("soft_plus")
def _soft_plus(call: Call) -> GraphValue:
    x, beta = _input(call), call.setting("beta")
    smooth = _log_one_plus_exp(x * beta) / beta
    return call.builder.where((x * beta).compare("Greater", call.setting("threshold")), x, smooth)


@writes("silu")
def _silu(call: Call) -> GraphValue:
    x = _input(call)
    return x * call.builder.op("Sigmoid", x)


@writes("mish")
def _mish(call: Call) -> GraphValue:
    x = _input(call)
    return x * call.builder.op("Tanh", _log_one_plus_exp(x))


@writes("gelu")
def _gelu(call: Call) -> GraphValue:
    x = _input(call)
    return x * 0.5 * (call.builder.op("Erf", x * math.sqrt(0.5)) + 1)


@writes("gelu_by_tanh")
def _gelu_by_tanh(call: Call) -> GraphValue:
    x = _input(call)
    argument = (x + x * x * x * 0.044715) * (2 * math.sqrt(2 / math.pi))
    return x * call.builder.op("Sigmoid", argument)
