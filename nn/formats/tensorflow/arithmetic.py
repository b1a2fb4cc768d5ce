"""Elementwise operators, and those on matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.autograd import Parameter
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.formats.tensorflow.reading import NodeReading, bare_module
from tapegrad.nn.formats.tensorflow.tensors import transposed
from tapegrad.nn.formats.tensorflow.values import CHANNELS_FIRST, Computed, Const, Sizes, same_order
from tapegrad.nn.layers.activation import (
    Abs,
    Clamp,
    Exp,
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
from tapegrad.nn.layers.convolution.spatial import (
    SpatialConvolution,
    SpatialDilatedConvolution,
    SpatialFullConvolution,
)
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.pointwise import AddConstant, CAdd, CMul, MulConstant
from tapegrad.nn.layers.rectifiers import ELU, LeakyReLU, ReLU, ReLU6
from tapegrad.nn.layers.shape import Reshape
from tapegrad.nn.layers.softmax import LogSoftMax, SoftMax
from tapegrad.nn.layers.table import MM, CAddTable, CDivTable, CMaxTable, CMinTable, CMulTable
from tapegrad.nn.layers.table import CSubTable as CSub

__all__ = ["READERS", "in_one_order"]

SAME_SHAPES = "arrays of one shape: nn adds and multiplies tables of these alone"
CONVOLUTIONS = (SpatialConvolution, SpatialDilatedConvolution)
Array = np.ndarray[Any, Any]
Reader = Callable[[NodeReading], list[Any]]


# Of one array -------------------------------------------------------------------------------------


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _unary(
    make: Callable[[NodeReading], Any], compute: Callable[[Array], Array] | None = None
) -> Reader:
    """An elementwise operator: make: the layer; compute: the same of a known array."""

    def read(r: NodeReading) -> list[Any]:
        r.needs(1)
        if r.all_const():
            if compute is None:
                raise r.refusal("an input that the module computes", "a constant")
            return r.folded(compute, r.const(0))
        flow = r.flow(0)
        if flow.folded is not None:
            flow = r.session.graph_order(flow, r.path)
        return [r.then(make(r), flow, flow.shape, flow.order)]

    return read


def _leaky(r: NodeReading) -> Any:
    return LeakyReLU(r.number("alpha", 0.2))


UNARY: dict[str, Reader] = {
    "Relu": _unary(lambda _: ReLU(), lambda x: np.maximum(x, 0)),
    "Relu6": _unary(lambda _: ReLU6(), lambda x: np.clip(x, 0, 6)),
    "Elu": _unary(lambda _: ELU()),
    "LeakyRelu": _unary(_leaky),
    "Tanh": _unary(lambda _: Tanh(), np.tanh),
    "Sigmoid": _unary(lambda _: Sigmoid(), _sigmoid),
    "Softplus": _unary(lambda _: SoftPlus()),
    "Softsign": _unary(lambda _: SoftSign()),
    "Abs": _unary(lambda _: Abs(), np.abs),
    "Exp": _unary(lambda _: Exp(), np.exp),
    "Log": _unary(lambda _: Log(), np.log),
    "Neg": _unary(lambda _: Negative(), np.negative),
    "Sqrt": _unary(lambda _: Sqrt(), np.sqrt),
    "Rsqrt": _unary(lambda _: Power(-0.5), lambda x: 1 / np.sqrt(x)),
    "Square": _unary(lambda _: Square(), np.square),
    "Reciprocal": _unary(lambda _: Power(-1), np.reciprocal),
}


def _read_same(r: NodeReading) -> list[Any]:
    """Identity and what is one when a graph is run: the input, under another name."""
    if len(r.ins) < 1:
        raise r.error("an input")
    return [r.ins[0]]


def _read_softmax(r: NodeReading) -> list[Any]:
    r.needs(1)
    flow, shape = r.shaped(0)
    if flow.folded is not None:
        flow = r.session.graph_order(flow, r.path)
    axis = flow.order.index(len(shape) - 1)
    usual = len(shape) == 2 or (len(shape) == 4 and axis == 1)  # where nn has its classes
    if r.op == "Softmax":
        layer = SoftMax() if usual else SoftMax(axis)
        return [r.then(layer, flow, shape, flow.order)]
    if usual:
        return [r.then(LogSoftMax(), flow, shape, flow.order)]
    inner = r.then(SoftMax(axis), flow, shape, flow.order, "softmax")
    return [r.then(Log(), inner, shape, flow.order)]


# Of two arrays ------------------------------------------------------------------------------------


def _aligned(r: NodeReading, constant: Array, flow: Computed) -> Array:
    """A constant with the axes of the flow, in our order; those that it lacks have length 1."""
    if flow.shape is None or constant.ndim > len(flow.shape):
        raise r.refusal("a constant with no more axes than the input", constant.shape)
    wide = constant.reshape((1,) * (len(flow.shape) - constant.ndim) + constant.shape)
    for n, length in zip(wide.shape, flow.shape, strict=True):
        if n != 1 and isinstance(length, int) and n != length:
            raise r.refusal("a constant that goes with the input", f"{wide.shape}, {flow.shape}")
    return wide.transpose(flow.order)


def _by_channel(wide: Array, channel: int) -> Array | None:
    """The entries of an array that differ along one axis only."""
    if all(n == 1 for axis, n in enumerate(wide.shape) if axis != channel):
        return wide.reshape(-1)
    return None


def _absorb(r: NodeReading, flow: Computed, wide: Array, add: bool) -> list[Any] | None:
    """What is added or multiplied, within the layer before, where that is a linear one."""
    node = r.layer_of(flow, Linear, *CONVOLUTIONS, SpatialFullConvolution)
    if node is None or wide.dtype.kind != "f":
        return None
    layer = node.layer
    vector = _by_channel(wide, wide.ndim - 1 if type(layer) is Linear else 1)
    full = type(layer) is SpatialFullConvolution
    n_out = layer.weight.shape[0] if not full else layer.nOutputPlane
    if vector is None or len(vector) not in (1, n_out):
        return None
    vector = np.broadcast_to(vector, (n_out,)).astype(layer.weight.dtype)
    if add:
        bias = vector if layer.bias is None else array_of(layer.bias) + vector
        layer.bias = Parameter(np.array(bias))
    else:
        if full:
            return None
        weight = array_of(layer.weight)
        r.session.charge(weight.nbytes, r.path)
        layer.weight = Parameter(weight * vector.reshape((-1,) + (1,) * (weight.ndim - 1)))
        if layer.bias is not None:
            layer.bias = Parameter(array_of(layer.bias) * vector)
    _rename(r, node)
    return [Computed(flow.value, flow.shape, flow.order)]


def _rename(r: NodeReading, node: Any) -> None:
    """Call a layer that two nodes of the graph made by what their names have in common."""
    scope = r.name if node.name.startswith(f"{r.name}/") else r.name.rpartition("/")[0]
    if not scope or node.layer.hasName() or scope in r.session.names:
        return
    if node.name.startswith(f"{scope}/") and "/" not in node.name[len(scope) + 1 :]:
        r.session.names.add(scope)
        node.layer.setName(scope)


def _add_constant(r: NodeReading, flow: Computed, constant: Array) -> list[Any]:
    if flow.folded is not None:
        flow = r.session.graph_order(flow, r.path)
    if constant.size == 1 and flow.shape is None:
        layer: Any = AddConstant(float(constant.reshape(())))
        return [r.then(layer, flow, flow.shape, flow.order)]
    wide = _aligned(r, constant, flow)
    absorbed = _absorb(r, flow, wide, add=True)
    if absorbed is not None:
        return absorbed
    if constant.size == 1:
        layer = AddConstant(float(constant.reshape(())))
    else:
        layer = bare_module(CAdd, bias=Parameter(np.array(wide, order="C")))
    return [r.then(layer, flow, flow.shape, flow.order)]


def _multiply_constant(r: NodeReading, flow: Computed, constant: Array) -> list[Any]:
    if flow.folded is not None:
        flow = r.session.graph_order(flow, r.path)
    if constant.size == 1:
        layer: Any = MulConstant(float(constant.reshape(())))
        return [r.then(layer, flow, flow.shape, flow.order)]
    wide = _aligned(r, constant, flow)
    absorbed = _absorb(r, flow, wide, add=False)
    if absorbed is not None:
        return absorbed
    layer = bare_module(CMul, weight=Parameter(np.array(wide, order="C")))
    return [r.then(layer, flow, flow.shape, flow.order)]


def in_one_order(r: NodeReading, flows: list[Computed]) -> list[Computed]:
    """The flows with their axes in one order: that of images, if one of them has it."""
    flows = [r.session.graph_order(f, r.path) if f.folded is not None else f for f in flows]
    orders = {f.order for f in flows}
    if len(orders) == 1:
        return flows
    if CHANNELS_FIRST in orders and all(f.ndim == 4 for f in flows):
        return [r.session.in_order(f, CHANNELS_FIRST, r.path) for f in flows]
    return [r.session.graph_order(f, r.path) for f in flows]


def _two_flows(r: NodeReading, layer: Any) -> list[Any]:
    """A layer on a table of arrays of one shape."""
    flows = in_one_order(r, [r.flow(i) for i in range(len(r.ins))])
    first = flows[0].shape
    for other in flows[1:]:
        a, b = first, other.shape
        if a is None or b is None:
            continue
        if len(a) != len(b) or any(
            isinstance(m, int) and isinstance(n, int) and m != n for m, n in zip(a, b, strict=True)
        ):
            raise r.refusal(SAME_SHAPES, f"{a} and {b}")
    return [r.then(layer, flows, first, flows[0].order)]


def _binary(
    compute: Callable[[Array, Array], Array],
    table: type,
    left: Callable[[NodeReading, Computed, Array], list[Any]],
    right: Callable[[NodeReading, Computed, Array], list[Any]],
) -> Reader:
    """An operator of two arrays: left, right: where the second, the first is a constant."""

    def read(r: NodeReading) -> list[Any]:
        r.needs(2)
        if r.all_const():
            a, b = r.const(0), r.const(1)
            shape = np.broadcast_shapes(a.shape, b.shape)
            return r.folded(compute, a, b, size=math.prod(shape) * a.itemsize)
        if any(isinstance(each, Sizes) for each in r.ins):
            raise r.refusal("lengths of axes that are known")
        if isinstance(r.ins[1], Const):
            return left(r, r.flow(0), r.const(1))
        if isinstance(r.ins[0], Const):
            return right(r, r.flow(1), r.const(0))
        return _two_flows(r, table())

    return read


def _negative(r: NodeReading, flow: Computed) -> Computed:
    flow = r.session.graph_order(flow, r.path) if flow.folded is not None else flow
    return r.then(Negative(), flow, flow.shape, flow.order, "negative")


def _inverse(r: NodeReading, flow: Computed) -> Computed:
    flow = r.session.graph_order(flow, r.path) if flow.folded is not None else flow
    return r.then(Power(-1), flow, flow.shape, flow.order, "inverse")


def _bounded(low: bool) -> Callable[[NodeReading, Computed, Array], list[Any]]:
    def read(r: NodeReading, flow: Computed, constant: Array) -> list[Any]:
        if constant.size != 1:
            raise r.refusal("one number as a bound", constant.shape)
        if flow.folded is not None:
            flow = r.session.graph_order(flow, r.path)
        bound = float(constant.reshape(()))
        layer: Any = Clamp(bound, math.inf) if low else Clamp(-math.inf, bound)
        layer = ReLU() if low and bound == 0 else layer
        return [r.then(layer, flow, flow.shape, flow.order)]

    return read


def _divided(a: Array, b: Array) -> Array:
    return (a // b if a.dtype.kind in "iu" else a / b).astype(a.dtype)


def _power(r: NodeReading, flow: Computed, constant: Array) -> list[Any]:
    if constant.size != 1:
        raise r.refusal("one number as a power", constant.shape)
    flow = r.session.graph_order(flow, r.path) if flow.folded is not None else flow
    return [r.then(Power(float(constant.reshape(()))), flow, flow.shape, flow.order)]


def _no_power_of(r: NodeReading, *_: Any) -> list[Any]:
    raise r.refusal("a power of what the module computes", "a constant to such a power")


BINARY: dict[str, Reader] = {
    "Add": _binary(np.add, CAddTable, _add_constant, _add_constant),
    "Mul": _binary(np.multiply, CMulTable, _multiply_constant, _multiply_constant),
    "Sub": _binary(
        np.subtract,
        CSub,
        lambda r, flow, c: _add_constant(r, flow, -c),
        lambda r, flow, c: _add_constant(r, _negative(r, flow), c),
    ),
    "RealDiv": _binary(
        _divided,
        CDivTable,
        lambda r, flow, c: _multiply_constant(r, flow, 1 / c),
        lambda r, flow, c: _multiply_constant(r, _inverse(r, flow), c),
    ),
    "Maximum": _binary(np.maximum, CMaxTable, _bounded(low=True), _bounded(low=True)),
    "Minimum": _binary(np.minimum, CMinTable, _bounded(low=False), _bounded(low=False)),
    "Pow": _binary(np.power, CMulTable, _power, _no_power_of),
}


def _read_squared_difference(r: NodeReading) -> list[Any]:
    [difference] = BINARY["Sub"](r)
    if isinstance(difference, Const):
        return r.folded(np.square, difference.array)
    return [r.then(Square(), difference, difference.shape, difference.order, "square")]


def _read_add_n(r: NodeReading) -> list[Any]:
    if r.all_const():
        return r.folded(
            lambda *arrays: sum(arrays[1:], arrays[0]), *map(r.const, range(len(r.ins)))
        )
    if len(r.ins) == 1:
        return [r.ins[0]]
    return _two_flows(r, CAddTable())


def _read_bias_add(r: NodeReading) -> list[Any]:
    r.needs(2)
    bias = r.const(1)
    if bias.ndim != 1:
        raise r.error("a vector as bias", bias.shape)
    if r.all_const():
        raise r.refusal("an input that the module computes", "a constant")
    flow = r.flow(0)
    if flow.shape is not None and r.text("data_format", "NHWC") == "NCHW":
        bias = bias.reshape((-1,) + (1,) * (len(flow.shape) - 2))
    return _add_constant(r, flow, bias)


# Matrices -----------------------------------------------------------------------------------------


def _read_matmul(r: NodeReading) -> list[Any]:
    r.needs(2)
    turn_a = r.flag("transpose_a") or r.flag("adj_x")
    turn_b = r.flag("transpose_b") or r.flag("adj_y")
    if r.all_const():
        a, b = r.const(0), r.const(1)
        a, b = a.T if turn_a else a, b.T if turn_b else b
        if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
            raise r.error("two matrices that can be multiplied", f"{a.shape}, {b.shape}")
        r.session.charge(a.shape[0] * a.shape[1] * b.shape[1], r.path)  # time is bounded as well
        return r.folded(np.matmul, a, b)
    flow, shape = r.shaped(0)
    if isinstance(r.ins[1], Computed):
        flows = [r.in_graph_order(0), r.in_graph_order(1)]
        other = flows[1].shape or ()
        if len(shape) not in (2, 3) or len(other) != len(shape):
            raise r.refusal("matrices, or batches of them", f"{shape}, {other}")
        rows, columns = shape[-1 if turn_a else -2], other[-2 if turn_b else -1]
        out = (*shape[:-2], rows, columns)
        return [r.then(MM(turn_a, turn_b), flows, out, same_order(len(out)))]
    if turn_a:
        raise r.refusal("an input that is not transposed", "transpose_a")
    matrix = r.const(1)
    if matrix.ndim != 2:
        raise r.refusal("one matrix of weights", matrix.shape)
    n_out, n_in = matrix.shape if turn_b else matrix.shape[::-1]
    known = math.prod(n for n in shape[1:] if isinstance(n, int))
    if len(shape) > 2 and shape[-1] != n_in and known == n_in:
        # BigDL's saver leaves out the View before a Linear
        flow = _flattened(r, flow, shape, n_in)
        shape = (shape[0], n_in)
    elif isinstance(shape[-1], int) and shape[-1] != n_in:
        raise r.error(f"an input of {n_in} columns", shape)
    if flow.folded is not None:
        images, lengths = flow.folded
        places = np.arange(n_in).reshape(lengths[1:])
        ours = places.transpose([axis - 1 for axis in images.order[1:]]).reshape(-1)
        r.session.charge(matrix.nbytes, r.path)
        weight = Parameter(np.array((matrix if turn_b else matrix.T)[:, ours], order="C"))
        layer = Reshape(n_in, batchMode=True)
        flat = r.then(layer, images, shape, same_order(2), "flat")
        return [
            r.then(bare_module(Linear, weight=weight, bias=None), flat, (shape[0], n_out), (0, 1))
        ]
    flow = r.session.graph_order(flow, r.path)
    turned = "matrix" if turn_b else "matrix transposed"
    weight = r.parameter(matrix, turned, lambda m: m if turn_b else transposed(m))
    out = (*shape[:-1], n_out)
    layer = bare_module(Linear, weight=weight, bias=None)
    return [r.then(layer, flow, out, same_order(len(out)))]


def _flattened(r: NodeReading, flow: Computed, shape: tuple[Any, ...], n_in: int) -> Computed:
    lengths = tuple(n if isinstance(n, int) else 0 for n in shape)
    if flow.order != same_order(len(shape)):
        return Computed(flow.value, (shape[0], n_in), (0, 1), flow.sole, (flow, lengths))
    layer = Reshape(n_in, batchMode=True)
    return r.then(layer, flow, (shape[0], n_in), (0, 1), "flat")


READERS: dict[str, Reader] = {
    **UNARY,
    **BINARY,
    "Identity": _read_same,
    "Softmax": _read_softmax,
    "LogSoftmax": _read_softmax,
    "SquaredDifference": _read_squared_difference,
    "AddN": _read_add_n,
    "BiasAdd": _read_bias_add,
    "MatMul": _read_matmul,
}
