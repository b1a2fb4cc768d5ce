"""How elementwise layers, on one array or a table of them, are written."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.nn.formats.tensorflow.writing import LayerWriting
from tapegrad.nn.layers.activation import (
    Abs,
    Clamp,
    Exp,
    HardTanh,
    Log,
    Negative,
    Power,
    Sigmoid,
    SoftPlus,
    SoftSign,
    Sqrt,
    Square,
    Tanh,
)
from tapegrad.nn.layers.dropout import Dropout, SpatialDropout
from tapegrad.nn.layers.pointwise import AddConstant, CAdd, CMul, MulConstant, Scale
from tapegrad.nn.layers.rectifiers import ELU, LeakyReLU, PReLU, ReLU, ReLU6
from tapegrad.nn.layers.shape import (
    Contiguous,
)
from tapegrad.nn.layers.softmax import LogSoftMax, SoftMax, SpatialSoftMax
from tapegrad.nn.layers.table import (
    CAddTable,
    CDivTable,
    CMaxTable,
    CMinTable,
    CMulTable,
    CSubTable,
)

__all__ = ["KEEP_COLUMNS", "POINTWISE_WRITERS", "Writer"]

Writer = Callable[[LayerWriting, Any], None]


# Elementwise --------------------------------------------------------------------------------------


def _elementwise(
    op: str, attributes: Callable[[LayerWriting, Any], dict[str, Any]] | None = None
) -> Writer:
    """An operator of one input, entry by entry, of any order of axes and columns."""

    def write(w: LayerWriting, layer: Any) -> None:
        wire = w.wire()
        more = attributes(w, layer) if attributes else {}
        w.give(w.add(op, [wire.ref], **more), columns=wire.columns)

    return write


def _plain_elu(w: LayerWriting, layer: Any) -> dict[str, Any]:
    if layer.alpha != 1:
        raise w.refusal("ELU with alpha 1", layer.alpha)
    return {}


def _plain_softplus(w: LayerWriting, layer: Any) -> dict[str, Any]:
    if layer.beta != 1:
        raise w.refusal("SoftPlus with beta 1", layer.beta)
    return {}


def _plain_sqrt(w: LayerWriting, layer: Any) -> dict[str, Any]:
    if layer.eps:
        raise w.refusal("Sqrt without eps", layer.eps)
    return {}


def _of_number(op: str, number: Callable[[Any], Any]) -> Writer:
    """An operator of the input and one number."""

    def write(w: LayerWriting, layer: Any) -> None:
        value = np.asarray(number(layer))
        if value.size != 1:
            raise w.refusal("one number", value.shape)
        constant = w.number("number", float(value.reshape(())))
        w.give(w.add(op, [w.ref(), constant]))

    return write


def _write_clamp(w: LayerWriting, layer: Any) -> None:
    low, high = float(layer.min_val), float(layer.max_val)
    ref = w.ref()
    if not math.isinf(low):
        name = "" if math.isinf(high) else "low"
        ref = w.add("Maximum", [ref, w.number("min", low)], name)
    if not math.isinf(high):
        ref = w.add("Minimum", [ref, w.number("max", high)])
    w.give(ref)


def _write_power(w: LayerWriting, layer: Any) -> None:
    ref = w.ref()
    if layer.scale != 1:
        ref = w.add("Mul", [ref, w.number("factor", layer.scale)], "scaled")
    if layer.shift:
        ref = w.add("Add", [ref, w.number("addend", layer.shift)], "shifted")
    if layer.pow == -0.5:
        w.give(w.add("Rsqrt", [ref]))
    elif layer.pow == -1:
        w.give(w.add("Reciprocal", [ref]))
    else:
        w.give(w.add("Pow", [ref, w.number("power", layer.pow)]))


def _write_prelu(w: LayerWriting, layer: Any) -> None:
    """max(x, 0) + (-a) · max(-x, 0), in the form that other programs know as PReLU."""
    slope = w.array(layer.weight)
    ndim = len(w.shape())
    if slope.size > 1 and ndim not in (2, 4):
        raise w.refusal("a batch of vectors or images", f"{ndim} axes")
    if slope.size > 1 and not w.pen.nhwc and ndim == 4:
        slope = slope.reshape(-1, 1, 1)
    positive = w.add("Relu", [w.ref()], "positive")
    negated = w.add("Neg", [w.ref()], "negated")
    negative = w.add("Relu", [negated], "negative")
    factor = w.add("Neg", [w.const("alpha", slope)], "factor")
    w.give(w.add("Add", [positive, w.add("Mul", [factor, negative], "product")]))


def _constant_like(w: LayerWriting, array: Any) -> Any:
    """A parameter of CAdd or CMul with axes that go with the input's, in the graph's order."""
    shape = w.shape()
    if array.ndim != len(shape) or any(
        n not in (1, m) for n, m in zip(array.shape, shape, strict=True)
    ):
        if array.size != math.prod(shape[1:]):
            raise w.refusal("a parameter that goes with one sample", array.shape)
        array = array.reshape(1, *shape[1:])
    order = w.pen.order(len(shape))
    return array.transpose([order.index(axis) for axis in range(len(shape))])


def _write_cadd(w: LayerWriting, layer: Any) -> None:
    bias = w.const("bias", _constant_like(w, w.array(layer.bias)))
    w.give(w.add("Add", [w.ref(), bias]))


def _write_cmul(w: LayerWriting, layer: Any) -> None:
    weight = w.const("weight", _constant_like(w, w.array(layer.weight)))
    w.give(w.add("Mul", [w.ref(), weight]))


def _write_scale(w: LayerWriting, layer: Any) -> None:
    weight = w.const("weight", _constant_like(w, w.array(layer.weight)))
    product = w.add("Mul", [w.ref(), weight], "product")
    w.give(w.add("Add", [product, w.const("bias", _constant_like(w, w.array(layer.bias)))]))


def _softmax(op: str) -> Writer:
    def write(w: LayerWriting, layer: Any) -> None:
        ndim = len(w.shape())
        given = getattr(layer, "axis", None)
        ours = given % ndim if given is not None else {2: 1, 4: 1}.get(ndim, 0)
        if w.axis(ours) == ndim - 1:
            w.give(w.add(op, [w.ref()]))
            return
        left = [axis for axis in range(ndim) if axis != ours]  # the sum runs over the last axis
        turn = w.integers("last/perm", [*left, ours])
        last = w.add("Transpose", [w.ours(), turn], "last", Tperm=np.dtype("i4"))
        w.give(
            w.turned(w.add(op, [last], "whole"), [*range(ours), ndim - 1, *range(ours, ndim - 1)])
        )

    return write


# Tables -------------------------------------------------------------------------------------------


def _table(op: str) -> Writer:
    """An operator of several arrays of one shape, taken two at a time."""

    def write(w: LayerWriting, _: Any) -> None:
        refs = w.refs()
        if len({w.shape(i) for i in range(len(refs))}) != 1:
            raise w.refusal("arrays of one shape")
        ref = refs[0]
        if len(refs) == 1:
            ref = w.add("Identity", [ref])
        for i, other in enumerate(refs[1:], 2):
            ref = w.add(op, [ref, other], "" if i == len(refs) else f"{i}")
        w.give(ref)

    return write


_identity = _elementwise("Identity")

POINTWISE_WRITERS: dict[str, dict[type, Writer]] = {
    "Relu": {ReLU: _elementwise("Relu")},
    "Relu6": {ReLU6: _elementwise("Relu6")},
    "Elu": {ELU: _elementwise("Elu", _plain_elu)},
    "LeakyRelu": {LeakyReLU: _elementwise("LeakyRelu", lambda _, m: {"alpha": float(m.negval)})},
    "Tanh": {Tanh: _elementwise("Tanh")},
    "Sigmoid": {Sigmoid: _elementwise("Sigmoid")},
    "Softplus": {SoftPlus: _elementwise("Softplus", _plain_softplus)},
    "Softsign": {SoftSign: _elementwise("Softsign")},
    "Abs": {Abs: _elementwise("Abs")},
    "Exp": {Exp: _elementwise("Exp")},
    "Log": {Log: _elementwise("Log")},
    "Neg": {Negative: _elementwise("Neg")},
    "Sqrt": {Sqrt: _elementwise("Sqrt", _plain_sqrt)},
    "Square": {Square: _elementwise("Square")},
    "Identity": {Dropout: _identity, SpatialDropout: _identity, Contiguous: _identity},
    "Softmax": {SoftMax: _softmax("Softmax"), SpatialSoftMax: _softmax("Softmax")},
    "LogSoftmax": {LogSoftMax: _softmax("LogSoftmax")},
    "Add": {
        CAddTable: _table("Add"),
        CAdd: _write_cadd,
        Scale: _write_scale,
        PReLU: _write_prelu,
        AddConstant: _of_number("Add", lambda m: m.constant_scalar),
    },
    "Mul": {
        CMulTable: _table("Mul"),
        CMul: _write_cmul,
        MulConstant: _of_number("Mul", lambda m: m.constant_scalar),
    },
    "Sub": {CSubTable: _table("Sub")},
    "RealDiv": {CDivTable: _table("RealDiv")},
    "Maximum": {CMaxTable: _table("Maximum")},
    "Minimum": {CMinTable: _table("Minimum"), HardTanh: _write_clamp, Clamp: _write_clamp},
    "Pow": {Power: _write_power},
}

# Classes that are written by `elementwise`, whatever the order of columns.
KEEP_COLUMNS = (
    ReLU, ReLU6, ELU, LeakyReLU, Tanh, Sigmoid, SoftPlus, SoftSign, Abs, Exp, Log, Negative, Sqrt,
    Square, Dropout, SpatialDropout, Contiguous,
)  # fmt: skip
