"""How each layer is written: WRITERS, operator -> class -> function."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.core.axes import axis_of
from tapegrad.nn.formats.common.network import NetworkValue
from tapegrad.nn.formats.tensorflow.image_layers import IMAGE_WRITERS
from tapegrad.nn.formats.tensorflow.pointwise_layers import (
    KEEP_COLUMNS,
    POINTWISE_WRITERS,
    Writer,
)
from tapegrad.nn.layers.indexing import Narrow, Select
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.rearranging import InferReshape, Tile
from tapegrad.nn.layers.reduction import Max, Mean, Min, Sum
from tapegrad.nn.layers.shape import (
    Flatten,
    Padding,
    Reshape,
    Squeeze,
    Transpose,
    Unsqueeze,
    View,
)
from tapegrad.nn.layers.table import (
    MM,
    JoinTable,
    Pack,
)

if TYPE_CHECKING:
    from tapegrad.nn.formats.tensorflow.writing import LayerWriting

__all__ = ["WRITERS"]


# Tables -------------------------------------------------------------------------------------------


def _write_join(w: LayerWriting, layer: Any) -> None:
    ndim = len(w.shape())
    axis = w.axis(axis_of(layer.dimension, ndim, layer.nInputDims))
    number = w.const("axis", np.array(axis, np.int32))
    count = len(w.at.inputs)
    w.give(w.add("ConcatV2", [*w.refs(), number], N=count, Tidx=np.dtype("i4")))


def _write_pack(w: LayerWriting, layer: Any) -> None:
    ndim = len(w.shape()) + 1
    refs = [w.ours(i) for i in range(len(w.at.inputs))]
    ours = layer.dimension % ndim
    packed = w.add("Pack", refs, "packed", N=len(refs), axis=ours)
    w.give(w.turned(packed, range(ndim)))


def _write_mm(w: LayerWriting, layer: Any) -> None:
    if len(w.shape()) == 2:
        w.give(w.add("MatMul", w.refs(), transpose_a=layer.transA, transpose_b=layer.transB))
    else:
        w.give(w.add("BatchMatMul", w.refs(), adj_x=layer.transA, adj_y=layer.transB))


# Linear and shapes --------------------------------------------------------------------------------


def _write_linear(w: LayerWriting, layer: Any) -> None:
    shape, wire = w.shape(), w.wire()
    weight = w.array(layer.weight)
    turned = weight.T if wire.columns is None else weight.T[wire.columns]
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


def _write_reshape(w: LayerWriting, _: Any) -> None:
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


def _inferred(w: LayerWriting, shape: tuple[int, ...], result: tuple[int, ...]) -> list[int]:
    """The result's lengths, with -1 for the one that grows with the batch."""
    inner = math.prod(shape[1:])
    for i, n in enumerate(result):
        rest = math.prod(result) // n if n else 0
        if rest and inner % rest == 0 and n == shape[0] * (inner // rest):
            return [-1 if j == i else m for j, m in enumerate(result)]
    raise w.refusal("a shape with one axis that grows with the batch", f"{shape} to {result}")


def _only_linear_reads(w: LayerWriting, name: str) -> bool:
    """Whether all that reads a value, past _elementwise layers, are Linear layers."""
    network = w.pen.network
    readers = network.readers_of()
    waiting = [name]
    while waiting:
        value = NetworkValue(waiting.pop())
        if value in network.outputs:
            return False
        for node in readers.get(value, ()):
            if type(node.layer) in KEEP_COLUMNS and len(node.inputs) == 1:
                waiting.append(node.name)
            elif type(node.layer) is not Linear:
                return False
    return True


def _write_transpose(w: LayerWriting, layer: Any) -> None:
    ndim = len(w.shape())
    batch = 0 if layer.numInputDims is None else ndim - layer.numInputDims
    places = list(range(ndim))
    for pair in layer.permutations:
        a, b = (axis_of(d + batch if d >= 0 else d, ndim) for d in pair)
        places[a], places[b] = places[b], places[a]
    order = w.pen.order(ndim)
    w.give(_through(w, [order[place] for place in places]))


def _through(w: LayerWriting, order: list[int]) -> str:
    """The input, whose axis order[i] is the result's axis i."""
    if tuple(order) == w.pen.order(len(order)):
        return w.add("Identity", [w.ref()])
    return w.turned(w.ref(), order)


def _write_squeeze(w: LayerWriting, layer: Any) -> None:
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


def _reordered(w: LayerWriting, gone: list[int], op: str, ndim: int, more: dict[str, Any]) -> None:
    """A node that takes axes of ours away, and then the rest as the graph has such arrays."""
    order = w.pen.order(len(w.shape()))
    taken = [order[a] for a in gone]
    left = [o - sum(t < o for t in taken) for i, o in enumerate(order) if i not in gone]
    last = tuple(left) == w.pen.order(ndim)
    inputs = [w.ref()]
    if "axes" in more:
        inputs.append(w.integers("axes", more.pop("axes")))
    w.give(w.turned(w.add(op, inputs, "" if last else "whole", **more), left))


def _write_unsqueeze(w: LayerWriting, layer: Any) -> None:
    ndim = len(w.shape()) + 1
    place = layer.pos + (len(w.shape()) - layer.numInputDims if layer.numInputDims is not None
                         and layer.pos >= 0 else 0)  # fmt: skip
    ref = w.add("ExpandDims", [w.ours(), w.const("axis", np.array(place % ndim, np.int32))], "wide")
    turned = w.turned(ref, range(ndim))
    w.give(w.add("Identity", [turned]) if turned == ref else turned)


def _reduction(op: str) -> Writer:
    def write(w: LayerWriting, layer: Any) -> None:
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


def _write_narrow(w: LayerWriting, layer: Any) -> None:
    shape, result = w.shape(), w.result().shape
    axis = axis_of(layer.dimension, len(shape))
    start = max(layer.index, 0)
    begin = [start if i == axis else 0 for i in range(len(shape))]
    size = [result[axis] if i == axis else -1 for i in range(len(shape))]
    refs = [w.integers("begin", w.pen.in_graph(begin)), w.integers("size", w.pen.in_graph(size))]
    w.give(w.add("Slice", [w.ref(), *refs], Index=np.dtype("i4")))


def _write_select(w: LayerWriting, layer: Any) -> None:
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


def _write_padding(w: LayerWriting, layer: Any) -> None:
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


def _write_tile(w: LayerWriting, layer: Any) -> None:
    ndim = len(w.shape())
    axis = w.axis(axis_of(layer.dim, ndim))
    times = w.integers("times", [layer.copies if i == axis else 1 for i in range(ndim)])
    w.give(w.add("Tile", [w.ref(), times], Tmultiples=np.dtype("i4")))


WRITERS: dict[str, dict[type, Writer]] = {
    **POINTWISE_WRITERS,
    **IMAGE_WRITERS,
    "MatMul": {Linear: _write_linear, MM: _write_mm},
    "ConcatV2": {JoinTable: _write_join},
    "Pack": {Pack: _write_pack},
    "Reshape": dict.fromkeys((View, Reshape, InferReshape, Flatten), _write_reshape),
    "Transpose": {Transpose: _write_transpose},
    "Squeeze": {Squeeze: _write_squeeze},
    "ExpandDims": {Unsqueeze: _write_unsqueeze},
    "Mean": {Mean: _reduction("Mean")},
    "Sum": {Sum: _reduction("Sum")},
    "Max": {Max: _reduction("Max")},
    "Min": {Min: _reduction("Min")},
    "Slice": {Narrow: _write_narrow},
    "StridedSlice": {Select: _write_select},
    "Pad": {**IMAGE_WRITERS.get("Pad", {}), Padding: _write_padding},
    "Tile": {Tile: _write_tile},
}
