"""Activations and special functions, and the reasons why many of these have no form in ONNX."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.nn.formats.onnx.calls import Call, refuses, writes
from tapegrad.nn.formats.onnx.out_elementwise import is_nan, log_of_one_plus, log_of_sum

if TYPE_CHECKING:
    from collections.abc import Callable

    from tapegrad.nn.formats.onnx.building import GraphValue

__all__: list[str] = []

BOOL = np.dtype(bool)

ACTIVATIONS = {"relu": "Relu", "softsign": "Softsign", "sigmoid": "Sigmoid", "expit": "Sigmoid"}


def _activation(op: str) -> Callable[[Call], GraphValue]:
    return lambda call: call.builder.op(op, call.value(0, call.dtype))


for _name, _op in ACTIVATIONS.items():
    writes(_name)(_activation(_op))


@writes("erf")
def _erf(call: Call) -> GraphValue:
    return call.builder.op("Erf", call.value(0, call.dtype))


@writes("erfc")
def _erfc(call: Call) -> GraphValue:
    return 1 - call.builder.op("Erf", call.value(0, call.dtype))


@writes("ndtr")
def _ndtr(call: Call) -> GraphValue:
    x = call.value(0, call.dtype)
    return (call.builder.op("Erf", x * math.sqrt(0.5)) + 1) * 0.5


@writes("logit")
def _logit(call: Call) -> GraphValue:
    x = call.value(0, call.dtype)
    return call.builder.op("Log", x / (1 - x))


@writes("log_expit")
def _log_expit(call: Call) -> GraphValue:
    x = call.value(0, call.dtype)
    return -log_of_sum(-x, call.builder.number(0, x.dtype))


def _times_log(x1: GraphValue, log: GraphValue) -> GraphValue:
    """x1 · log, and 0 where x1 is 0 and the logarithm is not NaN."""
    w = x1.builder
    free = x1.compare("Equal", 0) & ~is_nan(log)
    return w.where(free, 0.0, x1 * log)


@writes("xlogy")
def _xlogy(call: Call) -> GraphValue:
    return _times_log(call.value(0, call.dtype), call.builder.op("Log", call.value(1, call.dtype)))


@writes("xlog1py")
def _xlog1py(call: Call) -> GraphValue:
    return _times_log(call.value(0, call.dtype), log_of_one_plus(call.value(1, call.dtype)))


@writes("entr")
def _entr(call: Call) -> GraphValue:
    x = call.value(0, call.dtype)
    w = call.builder
    y = -(x * w.op("Log", x))
    low = w.where(x.compare("Less", 0), w.number(-math.inf, x.dtype), y)
    return w.where(x.compare("Equal", 0), 0.0, low)


def _relative_entropy(call: Call) -> GraphValue:
    x1, x2 = call.value(0, call.dtype), call.value(1, call.dtype)
    w = call.builder
    inside = x1.compare("Greater", 0) & x2.compare("Greater", 0)
    at_zero = x1.compare("Equal", 0) & x2.compare("GreaterOrEqual", 0)
    one = w.number(1, x1.dtype)
    ratio = w.where(inside, x1, one) / w.where(inside, x2, one)
    y = w.where(inside, x1 * w.op("Log", ratio), w.number(math.inf, x1.dtype))
    known = w.where(at_zero, 0.0, y)
    return w.where(is_nan(x1) | is_nan(x2), x1 + x2, known)


@writes("rel_entr")
def _rel_entr(call: Call) -> GraphValue:
    return _relative_entropy(call)


@writes("kl_div")
def _kl_div(call: Call) -> GraphValue:
    x1, x2 = call.value(0, call.dtype), call.value(1, call.dtype)
    w = call.builder
    y = _relative_entropy(call)
    return w.where(w.op("IsInf", y, dtype=BOOL), y, y - x1 + x2)


@writes("boxcox")
def _boxcox(call: Call) -> GraphValue:
    x, order = call.value(0, call.dtype), call.value(1, call.dtype)
    w = call.builder
    log = w.op("Log", x)
    zero = order.compare("Equal", 0)
    safe = w.where(zero, 1.0, order)
    return w.where(zero, log, (w.op("Pow", x, safe) - 1) / safe)


refuses("ONNX has no Bessel functions",
        "special_i0", "i1", "i0e", "i1e", "iv", "ive", "k0", "k1", "kv", "j0", "j1", "jv", "y0",
        "y1", "yv", "i0", "i0_derivative")  # fmt: skip
refuses("ONNX has no gamma function, and none of its relatives",
        "digamma", "gammaln", "gamma", "rgamma", "beta", "betaln", "gammainc", "gammaincc",
        "polygamma")  # fmt: skip
refuses("ONNX has no hypergeometric functions", "hyp1f1", "exprel")
refuses("ONNX's error function has no inverse, and no scaled form",
        "erfcx", "erfinv", "erfcinv", "ndtri", "log_ndtr")  # fmt: skip
refuses("a derivative of sinc, of which ONNX has no stable form", "sinc_derivative")
refuses("a loss, which no model computes",
        "alignment_likelihood", "cross_entropy", "label_likelihood", "multi_label_hinges",
        "pick_by_label", "place_by_label")  # fmt: skip
