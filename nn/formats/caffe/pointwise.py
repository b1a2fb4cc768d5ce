"""Layers that work entry by entry, sums of blobs, Softmax and losses, read and written."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.nn.formats.caffe.reading import Flow, Reading, made
from tapegrad.nn.formats.common.operators import Operator
from tapegrad.nn.layers.activation import (
    Abs,
    Clamp,
    Exp,
    HardTanh,
    Log,
    Power,
    Sigmoid,
    SiLU,
    SoftPlus,
    Sqrt,
    Square,
    Tanh,
)
from tapegrad.nn.layers.dropout import Dropout
from tapegrad.nn.layers.pointwise import AddConstant, MulConstant
from tapegrad.nn.layers.rectifiers import ELU, BinaryThreshold, LeakyReLU, PReLU, ReLU, ReLU6
from tapegrad.nn.layers.softmax import LogSoftMax, SoftMax, SpatialLogSoftMax, SpatialSoftMax
from tapegrad.nn.layers.table import CAddTable, CMaxTable, CMulTable, CSubTable

if TYPE_CHECKING:
    from tapegrad.nn.formats.caffe.writing import Writing

__all__ = ["OPERATORS"]


def _plain(make: Callable[[], Any]) -> Callable[[Reading], list[Flow]]:
    def read(r: Reading) -> list[Flow]:
        r.needs(1, 1)
        return [r.then(make(), r.shape)]

    return read


def _named(kind: str) -> Callable[[Writing, Any], list[str]]:
    def write(w: Writing, _: Any) -> list[str]:
        return w.put(kind)

    return write


def read_relu(r: Reading) -> list[Flow]:
    r.needs(1, 1)
    slope = r.param("relu_param").negative_slope
    return [r.then(LeakyReLU(slope) if slope else ReLU(), r.shape)]


def write_leaky(w: Writing, layer: Any) -> list[str]:
    return w.put("ReLU", relu_param={"negative_slope": layer.negval})


def read_prelu(r: Reading) -> list[Flow]:
    r.needs(1, 1)
    p, planes, stored = r.param("prelu_param"), r.length(1), r.stored_shape(0)
    if p.channel_shared:
        return [r.then(made(PReLU, nOutputPlane=0, weight=r.parameter(0, (1,), 0.25)), r.shape)]
    if planes is None and stored is not None:
        planes = math.prod(stored)
    if planes is None:
        raise r.error("a shape of the input, or weights, which say how many planes there are")
    r.positive("planes", planes)
    layer = made(PReLU, nOutputPlane=planes, weight=r.parameter(0, (planes,), 0.25))
    return [r.then(layer, r.shape)]


def write_prelu(w: Writing, layer: Any) -> list[str]:
    if layer.nOutputPlane == 0:
        return w.put("PReLU", blobs=[layer.weight], prelu_param={"channel_shared": True})
    return w.put("PReLU", blobs=[layer.weight])


def read_elu(r: Reading) -> list[Flow]:
    r.needs(1, 1)
    return [r.then(ELU(r.param("elu_param").alpha), r.shape)]


def write_elu(w: Writing, layer: Any) -> list[str]:
    return w.put("ELU", elu_param={"alpha": layer.alpha})


def read_swish(r: Reading) -> list[Flow]:
    r.needs(1, 1)
    beta = r.param("swish_param").beta
    if beta != 1:
        raise r.refusal("beta: 1", beta)
    return [r.then(SiLU(), r.shape)]


def read_clip(r: Reading) -> list[Flow]:
    r.needs(1, 1)
    p = r.param("clip_param")
    if not p.min < p.max:
        raise r.error("min below max", (p.min, p.max))
    return [r.then(Clamp(p.min, p.max), r.shape)]


def write_clip(w: Writing, layer: Any) -> list[str]:
    return w.put("Clip", clip_param={"min": layer.min_val, "max": layer.max_val})


def write_softplus(w: Writing, layer: Any) -> list[str]:
    if layer.beta != 1:
        raise w.refusal("beta 1", layer.beta)
    return w.put("BNLL")


def read_threshold(r: Reading) -> list[Flow]:
    r.needs(1, 1)
    return [r.then(BinaryThreshold(r.param("threshold_param").threshold), r.shape)]


def write_threshold(w: Writing, layer: Any) -> list[str]:
    return w.put("Threshold", threshold_param={"threshold": layer.threshold})


def read_power(r: Reading) -> list[Flow]:
    r.needs(1, 1)
    p = r.param("power_param")
    if p.power != 1:
        return [r.then(Power(p.power, p.scale, p.shift), r.shape)]
    layers: list[Any] = [] if p.scale == 1 else [MulConstant(p.scale)]
    if p.shift or not layers:
        layers.append(AddConstant(p.shift))
    return r.chain(*layers, shape=r.shape)


def write_power(w: Writing, layer: Any) -> list[str]:
    p = {"power": layer.pow, "scale": layer.scale, "shift": layer.shift}
    return w.put("Power", power_param=p)


def _number(w: Writing, value: Any) -> float:
    if not isinstance(value, (int, float)):
        raise w.refusal("one number", "an array")
    return float(value)


def write_multiplied(w: Writing, layer: Any) -> list[str]:
    return w.put("Power", power_param={"scale": _number(w, layer.constant_scalar)})


def write_added(w: Writing, layer: Any) -> list[str]:
    return w.put("Power", power_param={"shift": _number(w, layer.constant_scalar)})


def _write_fixed(power: float) -> Callable[[Writing, Any], list[str]]:
    def write(w: Writing, _: Any) -> list[str]:
        return w.put("Power", power_param={"power": power})

    return write


def _scaled(p: Any, factor: float, middle: Any) -> list[Any]:
    """Layers of middle((shift + scale · x) · factor)."""
    scale, shift = p.scale * factor, p.shift * factor
    layers: list[Any] = [] if scale == 1 else [MulConstant(scale)]
    if shift:
        layers.append(AddConstant(shift))
    return [*layers, middle]


def _logarithm(r: Reading, base: float) -> float:
    if base != -1 and (base <= 0 or base == 1):
        raise r.error("a base above 0 other than 1", base)
    return 1.0 if base == -1 else math.log(base)


def read_exp(r: Reading) -> list[Flow]:
    r.needs(1, 1)
    p = r.param("exp_param")
    return r.chain(*_scaled(p, _logarithm(r, p.base), Exp()), shape=r.shape)


def read_log(r: Reading) -> list[Flow]:
    r.needs(1, 1)
    p = r.param("log_param")
    layers, base = _scaled(p, 1.0, Log()), _logarithm(r, p.base)
    if base != 1:
        layers.append(MulConstant(1 / base))
    return r.chain(*layers, shape=r.shape)


def read_dropout_layer(r: Reading) -> list[Flow]:
    r.needs(1, 1)
    p = r.param("dropout_param").dropout_ratio
    if not 0 <= p < 1:
        raise r.error("a dropout_ratio of at least 0, below 1", p)
    return [r.then(Dropout(p), r.shape)]


def write_dropout(w: Writing, layer: Any) -> list[str]:
    if not layer.v2:
        raise w.refusal("a Dropout that scales in training", "the first version, which does not")
    return w.put("Dropout", dropout_param={"dropout_ratio": layer.p})


# Several blobs ------------------------------------------------------------------------------------


def read_eltwise(r: Reading) -> list[Flow]:
    p = r.param("eltwise_param")
    r.needs(2)
    tables = {0: CMulTable, 1: CAddTable, 2: CMaxTable}
    if p.operation not in tables:
        raise r.error("PROD, SUM or MAX", p.operation)
    factors = list(p.coeff)
    if factors and (p.operation != 1 or len(factors) != len(r.bottoms)):
        raise r.error(f"a coeff for each of {len(r.bottoms)} bottoms of a SUM", len(factors))
    shape = next((b.shape for b in r.bottoms if b.shape is not None), None)
    if factors == [1, -1]:
        return [r.then(CSubTable(), shape, r.bottoms)]
    reads: list[Flow] = []
    for bottom, factor in zip(r.bottoms, factors or [1.0] * len(r.bottoms), strict=True):
        if factor == 1:
            reads.append(bottom)
            continue
        scaled = Reading(r.session, r.layer, [bottom])
        scaled.name = f"{r.name}_{len(reads)}"
        reads.append(scaled.then(MulConstant(factor), bottom.shape))
    return [r.then(tables[p.operation](), shape, reads)]


def _eltwise(operation: int, coeff: list[float]) -> Callable[[Writing, Any], list[str]]:
    def write(w: Writing, _: Any) -> list[str]:
        if len(w.bottoms) == 1:
            return w.put("Split")
        p: dict[str, Any] = {"operation": operation}
        return w.put("Eltwise", eltwise_param=p | ({"coeff": coeff} if coeff else {}))

    return write


# Classes ------------------------------------------------------------------------------------------


def read_softmax(r: Reading) -> list[Flow]:
    r.needs(1)
    axis = r.param("softmax_param").axis
    usual = r.ndim in (2, 4) and r.axis(axis) == 1
    return [r.then(SoftMax() if usual else SoftMax(r.axis(axis)), r.shape)]


def write_softmax(w: Writing, layer: Any) -> list[str]:
    axis, ndim = layer.axis, w.ndim()
    if axis is None:
        if ndim in (1, 3):
            raise w.refusal("a batch", "a single sample")
        axis = 1
    axis = w.axis(axis)
    return w.put("Softmax") if axis == 1 else w.put("Softmax", softmax_param={"axis": axis})


def write_log_softmax(w: Writing, _: Any) -> list[str]:
    if w.ndim() in (1, 3):
        raise w.refusal("a batch", "a single sample")
    return w.put("Log", reads=w.put("Softmax", ending="_softmax"))


def read_sigmoid_loss(r: Reading) -> list[Flow]:
    r.needs(1)
    return [r.then(Sigmoid(), r.shape)]


def read_loss(r: Reading) -> list[Flow]:
    """What the loss is taken of: the first bottom."""
    r.needs(1)
    return [r.bottoms[0]]


OPERATORS = [
    Operator("ReLU", read_relu, {ReLU: _named("ReLU"), LeakyReLU: write_leaky}),
    Operator("ReLU6", _plain(ReLU6), {ReLU6: _named("ReLU6")}, note="of forks of Caffe"),
    Operator("PReLU", read_prelu, {PReLU: write_prelu}),
    Operator("ELU", read_elu, {ELU: write_elu}),
    Operator("Swish", read_swish, {SiLU: _named("Swish")}, note="beta 1"),
    Operator("Clip", read_clip, dict.fromkeys((Clamp, HardTanh), write_clip)),
    Operator("Sigmoid", _plain(Sigmoid), {Sigmoid: _named("Sigmoid")}),
    Operator("TanH", _plain(Tanh), {Tanh: _named("TanH")}),
    Operator("AbsVal", _plain(Abs), {Abs: _named("AbsVal")}),
    Operator("BNLL", _plain(SoftPlus), {SoftPlus: write_softplus}, note="beta 1"),
    Operator("Threshold", read_threshold, {BinaryThreshold: write_threshold}),
    Operator(
        "Power",
        read_power,
        {
            Power: write_power, MulConstant: write_multiplied, AddConstant: write_added,
            Square: _write_fixed(2.0), Sqrt: _write_fixed(0.5),
        },
    ),
    Operator("Exp", read_exp, {Exp: _named("Exp")}),
    Operator("Log", read_log, {Log: _named("Log")}),
    Operator("Dropout", read_dropout_layer, {Dropout: write_dropout}),
    Operator(
        "Eltwise",
        read_eltwise,
        {
            CMulTable: _eltwise(0, []), CAddTable: _eltwise(1, []), CMaxTable: _eltwise(2, []),
            CSubTable: _eltwise(1, [1.0, -1.0]),
        },
    ),
    Operator(
        "Softmax",
        read_softmax,
        dict.fromkeys((SoftMax, SpatialSoftMax), write_softmax)
        | dict.fromkeys((LogSoftMax, SpatialLogSoftMax), write_log_softmax),
        note="LogSoftMax is written as Softmax and Log, and read as one layer again",
    ),
    Operator("SoftmaxWithLoss", read_softmax, aliases=("SoftmaxLoss",), note="read as Softmax"),
    Operator("SigmoidCrossEntropyLoss", read_sigmoid_loss, note="read as Sigmoid"),
    *(
        Operator(f"{name}Loss", read_loss, note="left out: its first bottom is the output")
        for name in ("Euclidean", "Hinge", "Infogain", "MultinomialLogistic")
    ),
]  # fmt: skip
