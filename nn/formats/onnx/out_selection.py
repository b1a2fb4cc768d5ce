"""Primitives that choose between entries, guard them, and convert them."""

from __future__ import annotations

import math

import numpy as np

from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.onnx.building import GraphValue
from tapegrad.nn.formats.onnx.calls import Call, writes

__all__: list[str] = []

BOOL = np.dtype(bool)


@writes("where")
def _where(call: Call) -> GraphValue:
    return call.builder.where(
        call.value(0, bool), call.value(1, call.dtype), call.value(2, call.dtype)
    )


@writes("larger_share")
def _larger_share(call: Call) -> GraphValue:
    dtype = np.result_type(*(x.dtype for x in call.operands if isinstance(x, GraphValue)))
    x1, x2 = call.value(0, dtype), call.value(1, dtype)
    larger = x1.compare("Greater", x2).cast(call.dtype)
    return larger + x1.compare("Equal", x2).cast(call.dtype) * 0.5


@writes("clip")
def _clip(call: Call) -> GraphValue:
    x = call.value(0, call.dtype)
    low, high = call.setting("a_min"), call.setting("a_max")
    w = call.builder
    if low is not None and high is not None and low > high:
        return w.op("Min", w.op("Max", x, w.number(low, x.dtype)), w.number(high, x.dtype))
    bounds = [None if b is None else w.number(b, x.dtype) for b in (low, high)]
    return w.op("Clip", x, *bounds)


@writes("guarded_divide")
def _guarded_divide(call: Call) -> GraphValue:
    x1, x2 = call.value(0, call.dtype), call.value(1, call.dtype)
    zero = x2.compare("Equal", 0)
    w = call.builder
    return w.where(zero, x1 * 0, x1 / w.where(zero, 1.0, x2))


@writes("guarded_sqrt")
def _guarded_sqrt(call: Call) -> GraphValue:
    return call.builder.op("Sqrt", call.x)


@writes("guarded_power")
def _guarded_power(call: Call) -> GraphValue:
    size, p = call.builder.op("Abs", call.x), call.setting("p")
    if p == 1:
        return size
    return size * size if p == 2 else call.builder.op("Pow", size, _exponent(call, p))


def _exponent(call: Call, p: float) -> GraphValue:
    return call.builder.number(p, call.dtype)


@writes("step_with_gate")
def _step_with_gate(call: Call) -> GraphValue:
    return call.x.compare("Greater", call.setting("threshold")).cast(call.dtype)


@writes("nan_unless_zero")
def _nan_unless_zero(call: Call) -> GraphValue:
    w = call.builder
    x = call.x
    total = w.reduce("ReduceSum", w.op("Abs", call.value(1)), (-1, -2), keepdims=True)
    near = w.op("Abs", x).compare("LessOrEqual", total * call.setting("share"))
    return w.where(call.value(2, bool) & ~near, w.number(math.nan, x.dtype), x * 0)


# Conversions -------------------------------------------------------------------------------------


@writes("cast", "to_index", "to_int32", "indices_within", "class_labels")
def _cast(call: Call) -> GraphValue:
    if call.primitive.name == "class_labels" and call.setting("ignored") is not None:
        ignored = call.x.compare("Equal", call.setting("ignored"))
        return call.builder.where(ignored, -1, call.value(0, call.dtype))
    return call.value(0, call.dtype)


@writes("to_integer")
def _to_integer(call: Call) -> GraphValue:
    x = call.x
    if call.dtype == BOOL:
        return ~x.compare("Equal", 0) if x.dtype != BOOL else x
    return x.cast(call.dtype)


@writes("round")
def _round(call: Call) -> GraphValue:
    decimals = call.setting("decimals")
    w = call.builder
    if call.x.dtype.kind != "f":
        if decimals < 0:
            raise UnsupportedError("integers are rounded to tens by no operator of ONNX")
        return call.x
    if not decimals:
        return w.op("Round", call.x)
    scale = 10.0**decimals
    return w.op("Round", call.x * scale) / scale
