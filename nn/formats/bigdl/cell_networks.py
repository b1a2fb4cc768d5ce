"""The networks by which BigDL computes one step of a cell, made of layers with the cell's arrays.

BigDL's files have such a network in each cell, and its loader wants one; we read only its arrays.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tapegrad.nn.containers.container import ConcatTable, ParallelTable, Sequential
from tapegrad.nn.containers.graph import Graph, GraphNode
from tapegrad.nn.layers.activation import Identity, Sigmoid, Tanh
from tapegrad.nn.layers.dropout import Dropout
from tapegrad.nn.layers.indexing import Narrow, Select
from tapegrad.nn.layers.pointwise import AddConstant, CMul, MulConstant
from tapegrad.nn.layers.shape import Contiguous, Reshape
from tapegrad.nn.layers.table import (
    CAddTable,
    CMulTable,
    FlattenTable,
    NarrowTable,
    SelectTable,
)

__all__ = ["NETWORKS"]

Nodes = Any


def _input() -> GraphNode:
    return GraphNode(Identity())


def _sum(*nodes: Any, inplace: bool = False) -> Any:
    return CAddTable(inplace)(*nodes)


def _product(*nodes: Any) -> Any:
    return CMulTable()(*nodes)


def _other(module: Any) -> Any:
    """A copy of an activation: each node of a graph has a name of its own."""
    return copy.deepcopy(module)


def _rnn(cell: Any) -> Any:
    x, state = _input(), GraphNode(cell.modules[1])
    y: Any = _other(cell.activation)(_sum(x, state))
    return Graph([x, state], [Identity()(y), Identity()(y)])


def _two_states(graph: Graph) -> Any:
    """[x, [h, c]] -> [h', [h', c']]."""
    return Sequential(FlattenTable(), graph, ConcatTable(SelectTable(0), NarrowTable(1, 2)))


def _outputs(inputs: list[GraphNode], h: Any, c: Any) -> Graph:
    return Graph(inputs, [Identity()(h), Identity()(h), c])


def _lstm(cell: Any) -> Any:
    size = cell.hiddenSize
    x, h, c = _input(), _input(), _input()
    parts: Any = Reshape(4, size)(_sum(x, cell.modules[1](h)))
    i, g, f, o = (
        _other(function)(Select(1, k)(parts))
        for k, function in enumerate(
            (cell.innerActivation, cell.activation, cell.innerActivation, cell.innerActivation)
        )
    )
    state = _sum(_product(i, g), _product(f, c), inplace=True)
    return _two_states(_outputs([x, h, c], _product(_other(cell.activation)(state), o), state))


def _gru(cell: Any) -> Any:
    size = cell.hiddenSize
    x, h = _input(), _input()
    both = _sum(Narrow(1, 0, 2 * size)(x), cell.modules[1](h), inplace=True)
    r: Any = _other(cell.innerActivation)(Narrow(1, 0, size)(both))
    z: Any = _other(cell.innerActivation)(Narrow(1, size, size)(both))
    inner: Any = cell.modules[2](Dropout(0.0)(_product(h, r)))
    n: Any = _other(cell.activation)(_sum(Narrow(1, 2 * size, size)(x), inner, inplace=True))
    rest: Any = AddConstant(1)(MulConstant(-1)(z))
    y = _sum(_product(n, rest), _product(h, z))
    return Graph([x, h], [Identity()(y), Identity()(y)])


def _peephole(cell: Any) -> Any:
    size = cell.hiddenSize
    x, h, c = _input(), _input(), _input()
    _, w_f, u_f, w_i, u_i, u_g, w_o, u_o = cell.modules

    def gate(k: int, u: Any, w: Any, state: Any) -> Any:
        seen = [] if w is None else [w(state)]
        total = _sum(Narrow(1, k * size, size)(x), u(h), *seen)
        return (Tanh() if w is None else Sigmoid())(total)

    i, f, g = gate(0, u_i, w_i, c), gate(1, u_f, w_f, c), gate(2, u_g, None, c)
    state = _sum(_product(f, c), _product(i, g))
    o = gate(3, u_o, w_o, state)
    return _two_states(_outputs([x, h, c], _product(o, Tanh()(state)), state))


def _convolutional(cell: Any) -> Any:
    children = list(cell.modules)
    sigmoid, tanh = cell.innerActivation, cell.activation

    def pair() -> list[Any]:
        return [Sequential(Contiguous(), children.pop(0)) for _ in range(2)]

    def gate() -> Any:
        inner = pair()
        if children and isinstance(children[0], CMul):
            return Sequential(ParallelTable(*inner, children.pop(0)), CAddTable(), _other(sigmoid))
        return Sequential(NarrowTable(0, 2), ParallelTable(*inner), CAddTable(), _other(sigmoid))

    forget, into = gate(), gate()
    hidden = Sequential(NarrowTable(0, 2), ParallelTable(*pair()), CAddTable(), _other(tanh))
    out = gate()
    kept = Sequential(ConcatTable(forget, SelectTable(2)), CMulTable())
    new = Sequential(ConcatTable(into, hidden), CMulTable())
    state = Sequential(ConcatTable(kept, new), CAddTable())
    y = Sequential(
        ConcatTable(out, Sequential(SelectTable(2), _other(tanh))), CMulTable(), Contiguous()
    )
    return Sequential(
        FlattenTable(),
        ConcatTable(NarrowTable(0, 2), state),
        FlattenTable(),
        ConcatTable(y, SelectTable(2)),
        ConcatTable(SelectTable(0), Identity()),
    )


NETWORKS: dict[str, Callable[[Any], Any]] = {
    "RnnCell": _rnn,
    "LSTMCell": _lstm,
    "GRUCell": _gru,
    "LSTMPeephole": _peephole,
    "ConvLSTMPeephole": _convolutional,
    "ConvLSTMPeephole3D": _convolutional,
}
