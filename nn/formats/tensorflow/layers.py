"""How each layer is written: WRITERS, operator -> class -> function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.nn.core.axes import axis_of
from tapegrad.nn.formats.common.network import Value
from tapegrad.nn.formats.tensorflow.image_layers import IMAGE_WRITERS
from tapegrad.nn.formats.tensorflow.tensors import transposed
from tapegrad.nn.formats.tensorflow.writing import Writing
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
from tapegrad.nn.layers.indexing import Narrow, Select
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.pointwise import AddConstant, CAdd, CMul, MulConstant, Scale
from tapegrad.nn.layers.rearranging import InferReshape, Tile
from tapegrad.nn.layers.rectifiers import ELU, LeakyReLU, PReLU, ReLU, ReLU6
from tapegrad.nn.layers.reduction import Max, Mean, Min, Sum
from tapegrad.nn.layers.shape import (
    Contiguous,
    Flatten,
    Padding,
    Reshape,
    Squeeze,
    Transpose,
    Unsqueeze,
    View,
)
from tapegrad.nn.layers.softmax import LogSoftMax, SoftMax, SpatialSoftMax
from tapegrad.nn.layers.table import (
    MM,
    CAddTable,
    CDivTable,
    CMaxTable,
    CMinTable,
    CMulTable,
    CSubTable,
    JoinTable,
    Pack,
)

__all__ = ["KEEP_COLUMNS", "RESHAPES", "WRITERS"]

Writer = Callable[[Writing, Any], None]


# Elementwise --------------------------------------------------------------------------------------


def elementwise(
    op: str, attributes: Callable[[Writing, Any], dict[str, Any]] | None = None
) -> Writer:
    """An operator of one input, entry by entry, of any order of axes and columns."""

    def write(w: Writing, layer: Any) -> None:
        wire = w.wire()
        more = attributes(w, layer) if attributes else {}
        w.give(w.add(op, [wire.ref], **more), columns=wire.columns)

    return write


def _plain_elu(w: Writing, layer: Any) -> dict[str, Any]:
    if layer.alpha != 1:
        raise w.refusal("ELU with alpha 1", layer.alpha)
    return {}


def _plain_softplus(w: Writing, layer: Any) -> dict[str, Any]:
    if layer.beta != 1:
        raise w.refusal("SoftPlus with beta 1", layer.beta)
    return {}


def _plain_sqrt(w: Writing, layer: Any) -> dict[str, Any]:
    if layer.eps:
        raise w.refusal("Sqrt without eps", layer.eps)
    return {}


def _of_number(op: str, number: Callable[[Any], Any]) -> Writer:
    """An operator of the input and one number."""

    def write(w: Writing, layer: Any) -> None:
        value = np.asarray(number(layer))
        if value.size != 1:
            raise w.refusal("one number", value.shape)
        constant = w.number("number", float(value.reshape(())))
        w.give(w.add(op, [w.ref(), constant]))

    return write


def write_clamp(w: Writing, layer: Any) -> None:
    low, high = float(layer.min_val), float(layer.max_val)
    ref = w.ref()
    if not math.isinf(low):
        name = "" if math.isinf(high) else "low"
        ref = w.add("Maximum", [ref, w.number("min", low)], name)
    if not math.isinf(high):
        ref = w.add("Minimum", [ref, w.number("max", high)])
    w.give(ref)


def write_power(w: Writing, layer: Any) -> None:
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


def write_prelu(w: Writing, layer: Any) -> None:
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


def _constant_like(w: Writing, array: Any) -> Any:
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


def write_cadd(w: Writing, layer: Any) -> None:
    bias = w.const("bias", _constant_like(w, w.array(layer.bias)))
    w.give(w.add("Add", [w.ref(), bias]))


def write_cmul(w: Writing, layer: Any) -> None:
    weight = w.const("weight", _constant_like(w, w.array(layer.weight)))
    w.give(w.add("Mul", [w.ref(), weight]))


def write_scale(w: Writing, layer: Any) -> None:
    weight = w.const("weight", _constant_like(w, w.array(layer.weight)))
    product = w.add("Mul", [w.ref(), weight], "product")
    w.give(w.add("Add", [product, w.const("bias", _constant_like(w, w.array(layer.bias)))]))


def _softmax(op: str) -> Writer:
    def write(w: Writing, layer: Any) -> None:
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


def table(op: str) -> Writer:
    """An operator of several arrays of one shape, taken two at a time."""

    def write(w: Writing, _: Any) -> None:
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


def write_join(w: Writing, layer: Any) -> None:
    ndim = len(w.shape())
    axis = w.axis(axis_of(layer.dimension, ndim, layer.nInputDims))
    number = w.const("axis", np.array(axis, np.int32))
    count = len(w.at.inputs)
    w.give(w.add("ConcatV2", [*w.refs(), number], N=count, Tidx=np.dtype("i4")))


def write_pack(w: Writing, layer: Any) -> None:
    ndim = len(w.shape()) + 1
    refs = [w.ours(i) for i in range(len(w.at.inputs))]
    ours = layer.dimension % ndim
    packed = w.add("Pack", refs, "packed", N=len(refs), axis=ours)
    w.give(w.turned(packed, range(ndim)))


def write_mm(w: Writing, layer: Any) -> None:
    if len(w.shape()) == 2:
        w.give(w.add("MatMul", w.refs(), transpose_a=layer.transA, transpose_b=layer.transB))
    else:
        w.give(w.add("BatchMatMul", w.refs(), adj_x=layer.transA, adj_y=layer.transB))


# Linear and shapes --------------------------------------------------------------------------------


def write_linear(w: Writing, layer: Any) -> None:
    shape, wire = w.shape(), w.wire()
    weight = w.array(layer.weight)
    turned = transposed(weight) if wire.columns is None else weight.T[wire.columns]
    n_out = weight.shape[0]
    ref = wire.ref if wire.columns is not None else w.ours()
    if len(shape) == 1:
        raise w.refusal("a batch", f"an input of shape {shape}")
    if len(shape) > 2:
        ref = w.add("Reshape", [ref, w.integers("rows", [-1, shape[-1]])], "flat")
    last = len(shape) == 2
    plain = layer.bias is None and last
    # a permuted weight is this layer's own
    name = (
        w.weight("weight", layer.weight, turned)
        if wire.columns is None
        else w.const("weight", turned)
    )
    ref = w.add(
        "MatMul", [ref, name], "" if plain else "matmul", transpose_a=False, transpose_b=False
    )
    if layer.bias is not None:
        bias = w.weight("bias", layer.bias, w.array(layer.bias))
        ref = w.add("BiasAdd", [ref, bias], "" if last else "biasAdd", data_format="NHWC")
    if not last:
        sizes = w.integers("sizes", [-1, *shape[1:-1], n_out])
        ref = w.turned(w.add("Reshape", [ref, sizes], "unflat"), range(len(shape)))
    w.give(ref)


def write_reshape(w: Writing, _: Any) -> None:
    """Any layer whose result has the entries of its input, row by row."""
    shape, result = w.shape(), w.result().shape
    order = w.pen.order(len(shape))
    joined = len(shape) == 4 and len(result) == 2 and shape[0] == result[0]
    if joined and order != tuple(range(4)) and _only_linear_reads(w, w.at.name):
        ours = np.arange(math.prod(shape[1:])).reshape(shape[1:])
        columns = ours.transpose(1, 2, 0).reshape(-1)  # as the graph joins H, W, C
        sizes = w.integers("sizes", [-1, result[1]])
        w.give(w.add("Reshape", [w.ref(), sizes], Tshape=np.dtype("i4")), columns=columns)
        return
    same_batch = bool(shape) and bool(result) and shape[0] == result[0]
    sizes = w.integers("sizes", [-1, *result[1:]] if same_batch else _inferred(w, shape, result))
    name = "shaped" if len(result) == 4 and w.pen.nhwc else ""
    ref = w.add("Reshape", [w.ours(), sizes], name, Tshape=np.dtype("i4"))
    w.give(w.turned(ref, range(len(result))))


def _inferred(w: Writing, shape: tuple[int, ...], result: tuple[int, ...]) -> list[int]:
    """The result's lengths, with -1 for the one that grows with the batch."""
    inner = math.prod(shape[1:])
    for i, n in enumerate(result):
        rest = math.prod(result) // n if n else 0
        if rest and inner % rest == 0 and n == shape[0] * (inner // rest):
            return [-1 if j == i else m for j, m in enumerate(result)]
    raise w.refusal("a shape with one axis that grows with the batch", f"{shape} to {result}")


def _only_linear_reads(w: Writing, name: str) -> bool:
    """Whether all that reads a value, past elementwise layers, are Linear layers."""
    network = w.pen.network
    readers = network.readers_of()
    waiting = [name]
    while waiting:
        value = Value(waiting.pop())
        if value in network.outputs:
            return False
        for node in readers.get(value, ()):
            if type(node.layer) in KEEP_COLUMNS and len(node.inputs) == 1:
                waiting.append(node.name)
            elif type(node.layer) is not Linear:
                return False
    return True


def write_transpose(w: Writing, layer: Any) -> None:
    ndim = len(w.shape())
    batch = 0 if layer.numInputDims is None else ndim - layer.numInputDims
    places = list(range(ndim))
    for pair in layer.permutations:
        a, b = (axis_of(d + batch if d >= 0 else d, ndim) for d in pair)
        places[a], places[b] = places[b], places[a]
    order = w.pen.order(ndim)
    w.give(_through(w, [order[place] for place in places]))


def _through(w: Writing, order: list[int]) -> str:
    """The input, whose axis order[i] is the result's axis i."""
    if tuple(order) == w.pen.order(len(order)):
        return w.add("Identity", [w.ref()])
    return w.turned(w.ref(), order)


def write_squeeze(w: Writing, layer: Any) -> None:
    shape, result = w.shape(), w.result().shape
    if layer.dim is None:
        batched = len(shape) - 1 == layer.numInputDims
        gone = [i for i, n in enumerate(shape) if n == 1 and not (batched and i == 0)]
    else:
        gone = [axis_of(layer.dim, len(shape), layer.numInputDims)]
        gone = [axis for axis in gone if shape[axis] == 1]
    if len(result) != len(shape) - len(gone) or 0 in gone:
        raise w.refusal("axes of length 1 other than the batch's", shape)
    _reordered(w, gone, "Squeeze", len(result), {"squeeze_dims": sorted(w.axis(a) for a in gone)})


def _reordered(w: Writing, gone: list[int], op: str, ndim: int, more: dict[str, Any]) -> None:
    """A node that takes axes of ours away, and then the rest as the graph has such arrays."""
    order = w.pen.order(len(w.shape()))
    taken = [order[a] for a in gone]
    left = [o - sum(t < o for t in taken) for i, o in enumerate(order) if i not in gone]
    last = tuple(left) == w.pen.order(ndim)
    inputs = [w.ref()]
    if "axes" in more:
        inputs.append(w.integers("axes", more.pop("axes")))
    w.give(w.turned(w.add(op, inputs, "" if last else "whole", **more), left))


def write_unsqueeze(w: Writing, layer: Any) -> None:
    ndim = len(w.shape()) + 1
    place = layer.pos + (len(w.shape()) - layer.numInputDims if layer.numInputDims is not None
                         and layer.pos >= 0 else 0)  # fmt: skip
    ref = w.add("ExpandDims", [w.ours(), w.const("axis", np.array(place % ndim, np.int32))], "wide")
    turned = w.turned(ref, range(ndim))
    w.give(w.add("Identity", [turned]) if turned == ref else turned)


def _reduction(op: str) -> Writer:
    def write(w: Writing, layer: Any) -> None:
        shape = w.shape()
        axis = axis_of(layer.dimension, len(shape), layer.nInputDims)
        kept = not getattr(layer, "squeeze", True)
        name = "Mean" if getattr(layer, "sizeAverage", False) else op
        if len(w.result().shape) != len(shape) - (not kept):
            raise w.refusal("a result with one axis less", w.result().shape)
        if kept:
            axes = w.integers("axes", [w.axis(axis)])
            w.give(w.add(name, [w.ref(), axes], keep_dims=True, Tidx=np.dtype("i4")))
            return
        more = {"axes": [w.axis(axis)], "keep_dims": False, "Tidx": np.dtype("i4")}
        _reordered(w, [axis], name, len(shape) - 1, more)

    return write


def write_narrow(w: Writing, layer: Any) -> None:
    shape, result = w.shape(), w.result().shape
    axis = axis_of(layer.dimension, len(shape))
    start = max(layer.index, 0)
    begin = [start if i == axis else 0 for i in range(len(shape))]
    size = [result[axis] if i == axis else -1 for i in range(len(shape))]
    refs = [w.integers("begin", w.pen.in_graph(begin)), w.integers("size", w.pen.in_graph(size))]
    w.give(w.add("Slice", [w.ref(), *refs], Index=np.dtype("i4")))


def write_select(w: Writing, layer: Any) -> None:
    shape = w.shape()
    axis = axis_of(layer.dimension, len(shape))
    place = layer.index % shape[axis]
    in_graph = w.axis(axis)
    cut = range(in_graph + 1)
    begin = w.integers("begin", [place if i == in_graph else 0 for i in cut])
    end = w.integers("end", [place + 1 if i == in_graph else 0 for i in cut])
    mask = (1 << in_graph) - 1
    refs = [w.ref(), begin, end, w.integers("strides", [1 for _ in cut])]
    order = w.pen.order(len(shape))
    left = [o - (in_graph < o) for i, o in enumerate(order) if i != axis]
    last = tuple(left) == w.pen.order(len(left))
    ref = w.add(
        "StridedSlice", refs, "" if last else "whole", begin_mask=mask, end_mask=mask,
        shrink_axis_mask=1 << in_graph, ellipsis_mask=0, new_axis_mask=0, Index=np.dtype("i4"),
    )  # fmt: skip
    w.give(w.turned(ref, left))


def write_padding(w: Writing, layer: Any) -> None:
    shape = w.shape()
    if layer.index:
        raise w.refusal("padding at an end of the axis", f"index {layer.index}")
    batched = layer.nInputDim is not None and len(shape) != layer.nInputDim and layer.dim >= 0
    axis = axis_of(layer.dim + batched, len(shape))
    table = np.zeros((len(shape), 2), np.int32)
    table[w.axis(axis), 0 if layer.pad < 0 else 1] = abs(layer.pad)
    ref = w.const("paddings", table)
    if layer.value:
        w.give(w.add("PadV2", [w.ref(), ref, w.number("value", layer.value)]))
    else:
        w.give(w.add("Pad", [w.ref(), ref], Tpaddings=np.dtype("i4")))


def write_tile(w: Writing, layer: Any) -> None:
    ndim = len(w.shape())
    axis = w.axis(axis_of(layer.dim, ndim))
    times = w.integers("times", [layer.copies if i == axis else 1 for i in range(ndim)])
    w.give(w.add("Tile", [w.ref(), times], Tmultiples=np.dtype("i4")))


_identity = elementwise("Identity")

WRITERS: dict[str, dict[type, Writer]] = {
    **IMAGE_WRITERS,
    "Relu": {ReLU: elementwise("Relu")},
    "Relu6": {ReLU6: elementwise("Relu6")},
    "Elu": {ELU: elementwise("Elu", _plain_elu)},
    "LeakyRelu": {LeakyReLU: elementwise("LeakyRelu", lambda _, m: {"alpha": float(m.negval)})},
    "Tanh": {Tanh: elementwise("Tanh")},
    "Sigmoid": {Sigmoid: elementwise("Sigmoid")},
    "Softplus": {SoftPlus: elementwise("Softplus", _plain_softplus)},
    "Softsign": {SoftSign: elementwise("Softsign")},
    "Abs": {Abs: elementwise("Abs")},
    "Exp": {Exp: elementwise("Exp")},
    "Log": {Log: elementwise("Log")},
    "Neg": {Negative: elementwise("Neg")},
    "Sqrt": {Sqrt: elementwise("Sqrt", _plain_sqrt)},
    "Square": {Square: elementwise("Square")},
    "Identity": {Dropout: _identity, SpatialDropout: _identity, Contiguous: _identity},
    "Softmax": {SoftMax: _softmax("Softmax"), SpatialSoftMax: _softmax("Softmax")},
    "LogSoftmax": {LogSoftMax: _softmax("LogSoftmax")},
    "Add": {
        CAddTable: table("Add"),
        CAdd: write_cadd,
        Scale: write_scale,
        PReLU: write_prelu,
        AddConstant: _of_number("Add", lambda m: m.constant_scalar),
    },
    "Mul": {
        CMulTable: table("Mul"),
        CMul: write_cmul,
        MulConstant: _of_number("Mul", lambda m: m.constant_scalar),
    },
    "Sub": {CSubTable: table("Sub")},
    "RealDiv": {CDivTable: table("RealDiv")},
    "Maximum": {CMaxTable: table("Maximum")},
    "Minimum": {CMinTable: table("Minimum"), HardTanh: write_clamp, Clamp: write_clamp},
    "Pow": {Power: write_power},
    "MatMul": {Linear: write_linear, MM: write_mm},
    "ConcatV2": {JoinTable: write_join},
    "Pack": {Pack: write_pack},
    "Reshape": dict.fromkeys((View, Reshape, InferReshape, Flatten), write_reshape),
    "Transpose": {Transpose: write_transpose},
    "Squeeze": {Squeeze: write_squeeze},
    "ExpandDims": {Unsqueeze: write_unsqueeze},
    "Mean": {Mean: _reduction("Mean")},
    "Sum": {Sum: _reduction("Sum")},
    "Max": {Max: _reduction("Max")},
    "Min": {Min: _reduction("Min")},
    "Slice": {Narrow: write_narrow},
    "StridedSlice": {Select: write_select},
    "Pad": {**IMAGE_WRITERS.get("Pad", {}), Padding: write_padding},
    "Tile": {Tile: write_tile},
}

RESHAPES = (View, Reshape, InferReshape, Flatten)
# Classes that are written by `elementwise`, whatever the order of columns.
KEEP_COLUMNS = (
    ReLU, ReLU6, ELU, LeakyReLU, Tanh, Sigmoid, SoftPlus, SoftSign, Abs, Exp, Log, Negative, Sqrt,
    Square, Dropout, SpatialDropout, Contiguous,
)  # fmt: skip
