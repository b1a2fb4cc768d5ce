"""Shapes of values in a graph, as far as they follow without running it.

They decide which layers a node can become: CAddTable adds arrays of one shape, and which batch
normalization a node is depends on its axes.  A length is a number, a name, or None where unknown.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tapegrad.nn.formats.onnx.graph import Array, NodeGraph, OnnxNode

__all__ = ["Shape", "shapes_of"]

Shape: TypeAlias = "tuple[int | str | None, ...]"

SAME = frozenset(
    [
        "Relu",
        "Sigmoid",
        "Tanh",
        "LeakyRelu",
        "Elu",
        "Selu",
        "Clip",
        "PRelu",
        "Softmax",
        "LogSoftmax",
        "BatchNormalization",
        "LRN",
        "Dropout",
        "Identity",
        "Cast",
        "HardSigmoid",
        "Softplus",
        "Softsign",
        "Gelu",
        "Erf",
        "Exp",
        "Log",
        "Sqrt",
        "Neg",
        "Abs",
        "LayerNormalization",
        "InstanceNormalization",
        "GroupNormalization",
        "HardSwish",
        "Mish",
        "Floor",
        "Ceil",
    ]
)
BROADCASTING = frozenset(["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"])


def shapes_of(graph: NodeGraph, constants: Mapping[str, Array]) -> dict[str, Shape]:
    """Name of a value -> its shape; values of which it is not known are left out."""
    known: dict[str, Shape] = {name: array.shape for name, array in constants.items()}
    for info in graph.inputs:
        if info.shape is not None:
            known.setdefault(info.name, info.shape)
    for node in graph.nodes:
        try:
            shape = _shape_after(node, known, constants)
        except (AttributeError, LookupError, TypeError, ValueError, ZeroDivisionError):
            shape = None  # what is wrong with the node is said where it is read
        if shape is not None and node.outputs:
            known[node.outputs[0]] = shape
    return known


def _shape_after(
    node: OnnxNode, known: Mapping[str, Shape], constants: Mapping[str, Array]
) -> Shape | None:
    shapes = [known.get(name) for name in node.inputs]
    if not shapes or shapes[0] is None:
        return None
    first = shapes[0]
    if node.op in SAME:
        return first
    if node.op in BROADCASTING:
        return _broadcast(shapes)
    if node.op in ("MaxPool", "AveragePool", "Conv"):
        return _windows(node, first, shapes)
    if node.op == "ConvTranspose":
        weight = shapes[1] if len(shapes) > 1 else None
        group = node.attributes.get("group", 1)
        if weight is None or not isinstance(weight[1], int) or not isinstance(group, int):
            return None
        return (first[0], weight[1] * group, *(None,) * (len(first) - 2))
    if node.op.startswith("Global"):
        return (*first[:2], *(1,) * (len(first) - 2))
    if node.op == "Gemm":
        weight = shapes[1]
        if weight is None or len(weight) != 2:
            return None
        return (first[0], weight[0] if node.attributes.get("transB") else weight[1])
    if node.op == "x Wᵀ + b":
        weight = shapes[1]
        return None if weight is None else (*first[:-1], weight[0])
    if node.op == "MatMul" and len(shapes) > 1 and shapes[1] is not None and len(shapes[1]) == 2:
        return (*first[:-1], shapes[1][1])
    if node.op == "Flatten" and node.attributes.get("axis", 1) == 1 and first:
        rest = first[1:]
        lengths = [n for n in rest if isinstance(n, int)]
        return (first[0], math.prod(lengths) if len(lengths) == len(rest) else None)
    if node.op == "Concat":
        return _joined(node, shapes)
    if node.op == "Transpose":
        perm = node.attributes.get("perm")
        if isinstance(perm, list) and sorted(perm) == list(range(len(first))):
            return tuple(first[i] for i in perm)
    if node.op == "Reshape" and len(node.inputs) > 1 and node.inputs[1] in constants:
        target = [int(n) for n in constants[node.inputs[1]].reshape(-1)]
        return tuple(
            (first[i] if i < len(first) else None) if n == 0 else (None if n < 0 else n)
            for i, n in enumerate(target)
        )
    return None


def _broadcast(shapes: list[Shape | None]) -> Shape | None:
    given = [shape for shape in shapes if shape is not None]
    if len(given) != len(shapes):
        return None
    ndim = max(map(len, given))
    result: list[Any] = [1] * ndim
    for shape in given:
        for i, n in enumerate(shape, ndim - len(shape)):
            if result[i] == 1:
                result[i] = n
    return tuple(result)


def _windows(node: OnnxNode, first: Shape, shapes: list[Shape | None]) -> Shape | None:
    weight = shapes[1] if node.op == "Conv" and len(shapes) > 1 else None
    if node.op == "Conv" and (weight is None or len(weight) != len(first)):
        return None
    many = len(first) - 2
    kernel: Any = node.attributes.get("kernel_shape", weight[2:] if weight else None)
    strides: Any = node.attributes.get("strides", [1] * many)
    pads: Any = node.attributes.get("pads", [0] * 2 * many)
    dilations: Any = node.attributes.get("dilations", [1] * many)
    planes = weight[0] if weight is not None else first[1]
    lists = (kernel, strides, pads, dilations)
    if not all(isinstance(each, (list, tuple)) for each in lists):
        return None
    if [len(each) for each in lists] != [many, many, 2 * many, many]:
        return None
    if node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return (first[0], planes, *(None,) * many)
    ceil = bool(node.attributes.get("ceil_mode", 0))
    sides: list[int | None] = []
    for i in range(many):
        n, k = first[2 + i], kernel[i]
        if not isinstance(n, int) or not isinstance(k, int) or strides[i] < 1:
            sides.append(None)
            continue
        room = n + pads[i] + pads[many + i] - dilations[i] * (k - 1) - 1
        count = -(-room // strides[i]) + 1 if ceil else room // strides[i] + 1
        if ceil and (count - 1) * strides[i] >= n + pads[i]:
            count -= 1
        sides.append(count)
    return (first[0], planes, *sides)


def _joined(node: OnnxNode, shapes: list[Shape | None]) -> Shape | None:
    given = [shape for shape in shapes if shape is not None]
    axis = node.attributes.get("axis", 1)
    if len(given) != len(shapes) or not isinstance(axis, int):
        return None
    ndim = len(given[0])
    if any(len(shape) != ndim for shape in given) or not -ndim <= axis < ndim:
        return None
    axis %= ndim
    lengths = [shape[axis] for shape in given]
    numbers = [n for n in lengths if isinstance(n, int)]
    total = sum(numbers) if len(numbers) == len(lengths) else None
    return (*given[0][:axis], total, *given[0][axis + 1 :])
