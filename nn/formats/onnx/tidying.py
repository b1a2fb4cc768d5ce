"""Small changes to a written graph that keep its numbers: fewer nodes, those that programs know.

x·Wᵀ + b becomes Gemm, a convolution takes its bias; nodes and arrays that nothing reads go.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tapegrad.nn.formats.onnx.graph import NodeGraph, OnnxNode

__all__ = ["tidied"]

OPTIONAL = frozenset({"MaxPool", "LSTM", "GRU", "RNN"})  # whose outputs may be left out


def tidied(graph: NodeGraph, matrices: set[str]) -> NodeGraph:
    """The graph with the same outputs; its nodes may be changed.

    matrices: names of values that have two axes
    """
    _drop_copies(graph)
    _join_biases(graph, matrices)
    _drop_unread(graph)
    return graph


def _readers(graph: NodeGraph) -> Counter[str]:
    """How often each value is read; an output of the graph counts too."""
    counts = Counter(name for node in graph.nodes for name in node.inputs)
    counts.update(info.name for info in graph.outputs)
    return counts


def _drop_copies(graph: NodeGraph) -> None:
    """Let readers of an Identity read what it copies, unless it makes an output of the graph."""
    outputs = {info.name for info in graph.outputs}
    same: dict[str, str] = {}
    kept: list[OnnxNode] = []
    for node in graph.nodes:
        node.inputs = [same.get(name, name) for name in node.inputs]
        if node.op == "Identity" and node.outputs[0] not in outputs:
            same[node.outputs[0]] = node.inputs[0]
        else:
            kept.append(node)
    graph.nodes = kept


def _join_biases(graph: NodeGraph, matrices: set[str]) -> None:
    """Conv + bias and MatMul(x, transposed weight) + bias as single nodes."""
    made = {name: node for node in graph.nodes for name in node.outputs}
    reads = _readers(graph)
    ranks = {name: array.ndim for name, array in graph.initializers.items()}
    dropped: set[int] = set()
    for node in graph.nodes:
        if node.op == "MatMul":
            _as_gemm(node, made, ranks, matrices)
        if node.op == "Add":
            for side in (0, 1):
                main = made.get(node.inputs[side])
                if main is None or reads[main.outputs[0]] != 1:
                    continue
                bias = _bias_of(graph, main, node.inputs[1 - side], made)
                if bias is not None:
                    node.op, node.attributes = main.op, main.attributes
                    node.inputs = [*main.inputs[:2], bias]
                    dropped.add(id(main))
                    break
    graph.nodes = [node for node in graph.nodes if id(node) not in dropped]


def _as_gemm(
    node: OnnxNode, made: dict[str, OnnxNode], ranks: dict[str, int], matrices: set[str]
) -> None:
    """Make Gemm of a product of a matrix and a transposed array of the file."""
    turned = made.get(node.inputs[1])
    if turned is None or turned.op != "Transpose" or turned.attributes.get("perm") != [1, 0]:
        return
    if ranks.get(turned.inputs[0]) != 2 or node.inputs[0] not in matrices:
        return
    node.op, node.attributes = "Gemm", {"transB": 1}
    node.inputs = [node.inputs[0], turned.inputs[0]]


def _bias_of(graph: NodeGraph, main: OnnxNode, name: str, made: dict[str, OnnxNode]) -> str | None:
    """The vector of the file that `main` can add by itself, if the value `name` is one."""
    if len(main.inputs) != 2:
        return None
    weight = graph.initializers.get(main.inputs[1])
    if weight is None:
        return None
    if main.op == "Gemm":
        bias = graph.initializers.get(name)
        fits = bias is not None and bias.shape == (weight.shape[0],)
        return name if fits else None
    if main.op not in ("Conv", "ConvTranspose"):
        return None
    shaped = made.get(name)
    if shaped is None or shaped.op != "Reshape" or shaped.inputs[0] not in graph.initializers:
        return None
    bias, shape = graph.initializers[shaped.inputs[0]], graph.initializers.get(shaped.inputs[1])
    group = main.attributes.get("group", 1)
    planes = weight.shape[0] if main.op == "Conv" else weight.shape[1] * int(str(group))
    if shape is None or bias.ndim != 1 or bias.size != planes:
        return None
    axes = [int(n) for n in np.asarray(shape)]
    spatial = weight.ndim - 2
    wanted = [planes] + [1] * spatial
    alternatives = (wanted, [1, *wanted], [-1, *wanted[1:]], [1, -1, *wanted[1:]])
    return shaped.inputs[0] if axes in alternatives else None


def _drop_unread(graph: NodeGraph) -> None:
    """Leave out nodes and arrays that no output depends on."""
    needed = {info.name for info in graph.outputs}
    kept: list[OnnxNode] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(filter(None, node.inputs))
    graph.nodes = kept[::-1]
    for node in graph.nodes:
        if node.op not in OPTIONAL:
            continue
        node.outputs = [name if name in needed else "" for name in node.outputs]
        while not node.outputs[-1]:
            node.outputs.pop()
    graph.initializers = {k: a for k, a in graph.initializers.items() if k in needed}
