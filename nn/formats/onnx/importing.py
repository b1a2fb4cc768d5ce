"""A model becomes a Module: a Sequential or gModule where all nodes are layers, or an OnnxGraph."""

from __future__ import annotations

import mmap
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Parameter
from tapegrad.nn.formats.common import network
from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError
from tapegrad.nn.formats.onnx.graph import PRODUCER, Array, NodeGraph, OnnxModel, OnnxNode
from tapegrad.nn.formats.onnx.in_layers import LINEAR, PLAIN, WITH_WEIGHTS, LayerNode
from tapegrad.nn.formats.onnx.in_shapes import shapes_of
from tapegrad.nn.formats.onnx.operators import (
    NEWEST,
    OLDEST,
    UNREADABLE,
    OperatorCall,
    reader_of,
)
from tapegrad.nn.formats.onnx.running import OnnxGraph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tapegrad.nn.module import Module

__all__ = ["build_module"]

# Inputs that say how to compute; numbers there are not learned.
HOW = {
    "Resize": (1, 2), "Upsample": (1,), "Clip": (1, 2), "Pad": (2,), "OneHot": (2,),
    "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2), "Pow": (1,), "Range": (0, 1, 2),
    "Dropout": (1,),
}  # fmt: skip
# Operators that are computed while a model is read, on few whole numbers.
FOLDED = frozenset((
    "Constant", "Identity", "Cast", "Concat", "Unsqueeze", "Squeeze", "Gather", "Slice", "Shape",
    "Add", "Sub", "Mul", "Div", "Reshape", "ConstantOfShape", "Equal", "Where", "Neg", "Floor",
    "Range",
))  # fmt: skip
# What our own writer calls arrays that are no parameters.
MADE = re.compile(r"(constant|ones|shares|places|scales)(_\d+)?")
FEW = 64  # entries
LARGE = 1 << 20  # bytes


def build_module(model: OnnxModel) -> Module:
    """The module of a model, in evaluation mode.

    Raises UnsupportedError for an operator that is not known and for another opset; FormatError for
    names that are wrong.
    """
    if not OLDEST <= model.opset <= NEWEST:
        raise UnsupportedError(f"an opset from {OLDEST} to {NEWEST}", model.opset)
    reading = _Reading(model.graph, model.opset, own=model.producer == PRODUCER)
    try:
        reading.fold()
        layers = reading.as_layers()
        return (reading.as_graph() if layers is None else layers).evaluate()
    except FormatError as error:
        error.path = error.path or reading.place()
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # ONNX says how many inputs each operator has and what its attributes are; a file may say
        # anything, and here is the one place that is reached whatever it says
        found = f"{type(error).__name__}: {error}"
        raise FormatError(
            "a node with the inputs and attributes of its operator", found[:200],
            path=reading.place(),
        ) from error  # fmt: skip


class _Reading:
    """A graph that is being read.

    arrays: the file's; known: those that are computed while reading, and constants
    """

    def __init__(self, graph: NodeGraph, opset: int, *, own: bool = False) -> None:
        self.graph, self.opset = graph, opset
        self.arrays = dict(graph.initializers)
        self.known: dict[str, Array] = {}
        self.parameters: dict[str, Parameter] = {}
        self.current: OnnxNode | None = None  # the node that is being looked at
        self.nodes = self._without_branches(graph.nodes)
        self._check()
        reads = Counter(name for node in self.nodes for name in node.inputs)
        reads.update(info.name for info in graph.outputs)
        self.reads = reads
        how = {
            node.inputs[i]
            for node in self.nodes
            for i in HOW.get(node.op, ())
            if i < len(node.inputs)
        }
        self.learned = {
            name for name, array in self.arrays.items()
            if array.dtype.kind == "f" and array.ndim and name not in how
            and not (own and MADE.fullmatch(name))
        }  # fmt: skip
        self.known.update({n: a for n, a in self.arrays.items() if n not in self.learned})

    def place(self) -> str:
        """Where in the graph the reader is."""
        node = self.current
        return "graph" if node is None else f"graph.node[{node.name or node.op}]"

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs that the file has no array for."""
        return [info.name for info in self.graph.inputs if info.name not in self.arrays]

    # Checks --------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Raise for names that are used before or never made, or made twice; unknown operators."""
        inputs = [info.name for info in self.graph.inputs]
        twice = [name for name, count in Counter(inputs).items() if count > 1]
        if twice:
            raise FormatError("inputs with different names", twice[0])
        made = {*inputs, *self.arrays}
        for i, node in enumerate(self.nodes):
            place = f"graph.node[{i}]"
            if node.domain:
                raise UnsupportedError(
                    "an operator of ONNX's own", f"{node.domain}.{node.op}", path=place
                )
            if reader_of(node.op, self.opset) is None:
                reason = UNREADABLE.get(node.op)
                raise UnsupportedError(
                    "an operator that is known" if reason is None else reason, node.op, path=place
                )
            for name in node.inputs:
                if name and name not in made:
                    later = any(name in other.outputs for other in self.nodes[i:])
                    expected = "values made by earlier nodes"
                    found = f"{name}, made later: a cycle, or another order" if later else name
                    raise FormatError(expected, found, path=place)
            for name in node.outputs:
                if name and name in made:
                    raise FormatError("a name for each value", f"{name} twice", path=place)
                made.add(name)
            if not any(node.outputs):
                raise FormatError("an output", node.op, path=place)
        if not self.graph.outputs:
            raise FormatError("an output of the graph")
        for info in self.graph.outputs:
            if info.name not in made:
                raise FormatError("an output that a node makes", info.name)

    def _without_branches(self, nodes: Sequence[OnnxNode]) -> list[OnnxNode]:
        """The nodes, with the branch of each If whose condition the file has in its place."""
        if not any(node.op == "If" for node in nodes):
            return list(nodes)
        result: list[OnnxNode] = []
        waiting = list(reversed(nodes))
        constants = {
            node.outputs[0]: node.attributes["value"] for node in nodes
            if node.op == "Constant" and "value" in node.attributes and node.outputs
        }  # fmt: skip
        while waiting:
            node = waiting.pop()
            if node.op != "If" or node.domain:
                result.append(node)
                continue
            name = node.inputs[0] if node.inputs else ""
            condition: Any = self.arrays.get(name, constants.get(name))
            if not isinstance(condition, np.ndarray) or condition.size != 1:
                raise UnsupportedError("an If whose condition the file has", name)
            chosen = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
            branch = node.attributes.get(chosen)
            if not isinstance(branch, NodeGraph) or len(branch.outputs) < len(node.outputs):
                raise FormatError(f"a {chosen} with the outputs of the If")
            for key, array in branch.initializers.items():
                if key in self.arrays:
                    raise FormatError("a name for each array", key)
                self.arrays[key] = array
            copies = [
                OnnxNode("Identity", [info.name], [output])
                for info, output in zip(branch.outputs, node.outputs, strict=False)
            ]
            waiting.extend(reversed([*branch.nodes, *copies]))
        return result

    # What is known while reading -----------------------------------------------------------------

    def fold(self) -> None:
        """Compute the nodes that depend on few whole numbers of the file alone."""
        kept: list[OnnxNode] = []
        outputs = {info.name for info in self.graph.outputs}
        for node in self.nodes:
            self.current = node
            value = None if outputs.intersection(node.outputs) else self._folded(node)
            if value is None:
                kept.append(node)
            else:
                self.known[node.outputs[0]] = value
        self.nodes = kept
        self._shape_arrays()
        self._join_linear()

    def _shape_arrays(self) -> None:
        """Give arrays that one node reads, in another shape, that shape."""
        kept: list[OnnxNode] = []
        for node in self.nodes:
            self.current = node
            name = node.inputs[0] if node.inputs else ""
            shape = self.known.get(node.inputs[1]) if len(node.inputs) == 2 else None
            if node.op != "Reshape" or shape is None or not self._is_own(name):
                kept.append(node)
                continue
            self.arrays[name] = self.arrays[name].reshape(shape.reshape(-1).tolist())
            self._rename(node.outputs[0], name)
        self.nodes = kept

    def _is_own(self, name: str) -> bool:
        """Whether an array of the file is learned, and read by one node alone."""
        return name in self.learned and self.reads[name] == 1

    def _rename(self, old: str, new: str) -> None:
        for node in self.nodes:
            node.inputs = [new if each == old else each for each in node.inputs]

    def _join_linear(self) -> None:
        """x·W, or x·Wᵀ, and a bias as one node LINEAR, which is a layer: [x, W of nn.Linear, b]."""
        made = {name: node for node in self.nodes for name in node.outputs}
        dropped: set[int] = set()
        for node in self.nodes:
            self.current = node
            if node.op != "MatMul":
                continue
            name = node.inputs[1]
            turned = made.get(name)
            if turned is not None and turned.op == "Transpose" and self.reads[name] == 1:
                name = turned.inputs[0]
                if not self._is_own(name) or turned.attributes.get("perm", [1, 0]) != [1, 0]:
                    continue
                if self.arrays[name].ndim != 2:
                    continue
                dropped.add(id(turned))
            elif self._is_own(name) and self.arrays[name].ndim == 2:
                self.arrays[name] = self.arrays[name].T
            else:
                continue
            node.op, node.inputs = LINEAR, [node.inputs[0], name]
        for node in self.nodes:
            self.current = node
            if node.op != "Add":
                continue
            for side in (0, 1):
                main, bias = made.get(node.inputs[side]), node.inputs[1 - side]
                fits = main is not None and main.op == LINEAR and len(main.inputs) == 2
                if not fits or self.reads[node.inputs[side]] != 1 or not self._is_own(bias):
                    continue
                assert main is not None
                if self.arrays[bias].shape != self.arrays[main.inputs[1]].shape[:1]:
                    continue
                dropped.add(id(main))
                node.op, node.inputs = LINEAR, [*main.inputs, bias]
                break
        self.nodes = [node for node in self.nodes if id(node) not in dropped]

    def _folded(self, node: OnnxNode) -> Array | None:
        if node.op not in FOLDED or len(node.outputs) != 1 or "" in node.inputs:
            return None
        arguments = [self.known.get(name) for name in node.inputs]
        if any(value is None for value in arguments):
            return None
        if node.op != "Constant":
            few = all(v.size <= FEW and v.dtype.kind in "iub" for v in arguments if v is not None)
            if not few or (
                node.op in ("ConstantOfShape", "Range") and not self._is_small(arguments)
            ):
                return None
        reader = reader_of(node.op, self.opset)
        assert reader is not None
        value = reader(OperatorCall(node.op, arguments, node.attributes, self.opset, 1))
        return np.asarray(value) if np.size(value) <= FEW or node.op == "Constant" else None

    @staticmethod
    def _is_small(arguments: Sequence[Any]) -> bool:
        return bool(all(np.all(np.abs(value.astype(float)) <= FEW) for value in arguments)) and (
            float(np.prod(np.abs(arguments[0].astype(float)))) <= FEW
        )

    # Layers --------------------------------------------------------------------------------------

    def parameter(self, name: str) -> Parameter:
        """The Parameter of an array of the file, one for each name."""
        if name not in self.parameters:
            array = self.arrays[name]
            self.parameters[name] = Parameter(np.array(array, array.dtype.newbyteorder("=")))
            _release(array)
        return self.parameters[name]

    def _layer_node(self, node: OnnxNode, shapes: Mapping[str, Any]) -> LayerNode:
        weights = {n: self.arrays[n] for n in node.inputs if n in self.learned}
        return LayerNode(
            node, self.opset, weights, self.known, shapes, self.parameter,
            lambda name: self.reads[name] == 1,
        )  # fmt: skip

    def as_layers(self) -> Module | None:
        """The graph as layers, None if a node is none."""
        shapes = shapes_of(self._now(), {**self.arrays, **self.known})
        made: list[network.NetworkNode] = []
        names: dict[str, str] = {name: name for name in self.inputs}
        taken = set(self.inputs)
        for node in self.nodes:
            self.current = node
            entry = WITH_WEIGHTS.get(node.op) or PLAIN.get(node.op)
            layer_node = self._layer_node(node, shapes)
            layer = None if entry is None else entry(layer_node)
            data = [n for n in node.inputs if n and n not in self.arrays and n not in self.known]
            table = node.op in ("Concat", "Add", "Sum", "Mul", "Sub", "Div", "Max", "Min")
            if layer is None or (not table and len(data) != 1) or len(node.outputs) != 1:
                return None
            if table and len(data) != len(node.inputs):
                return None
            name = _free(_layer_name(node, self.learned), taken)
            taken.add(name)
            names[node.outputs[0]] = name
            inputs = tuple(network.NetworkValue(names[n]) for n in data)
            made.append(network.NetworkNode(name, layer.setName(name), inputs, table=table))
        outputs = [info.name for info in self.graph.outputs]
        types = {i.dtype.kind for i in self.graph.inputs if i.name in self.inputs and i.dtype}
        if types != {"f"}:  # layers compute with floating point numbers
            return None
        if not made or any(name not in names for name in outputs) or not self.inputs:
            return None
        values = tuple(network.NetworkValue(names[name]) for name in outputs)
        return network.module_of(network.Network(made, tuple(self.inputs), values))

    def _now(self) -> NodeGraph:
        inputs = [info for info in self.graph.inputs if info.name not in self.arrays]
        return NodeGraph(self.nodes, inputs, self.graph.outputs, {})

    def as_graph(self) -> Module:
        """The graph as one module that runs its nodes; nodes with weights are layers in it."""
        shapes = shapes_of(self._now(), {**self.arrays, **self.known})
        layers: dict[str, Module] = {}
        steps: list[Any] = []
        used: set[str] = set()
        for node in self.nodes:
            self.current = node
            entry = WITH_WEIGHTS.get(node.op)
            layer = None if entry is None else entry(self._layer_node(node, shapes))
            inputs, name = list(node.inputs), None
            if layer is not None:
                name = _free(_layer_name(node, self.learned).replace(".", "_"), layers)
                layers[name] = layer.setName(_layer_name(node, self.learned))
                inputs = inputs[:1]
            used.update(inputs)
            attributes = {
                key: value
                for key, value in node.attributes.items()
                if not isinstance(value, NodeGraph)
            }
            steps.append([node.op, self.opset, inputs, list(node.outputs), attributes, name])
        used.update(info.name for info in self.graph.outputs)
        weights = {name: self.parameter(name) for name in self.learned if name in used}
        weights = {name: weights[name] for name in self.arrays if name in weights}  # their order
        constants = {
            name: np.array(array, array.dtype.newbyteorder("="))
            for name, array in self.known.items() if name in used
        }  # fmt: skip
        outputs = [info.name for info in self.graph.outputs]
        return OnnxGraph(self.inputs, outputs, weights, constants, layers, steps)


def _release(array: Array) -> None:
    """Let go of the memory of a map that a large array is a view of: the file still has it."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    if array.nbytes > LARGE and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _layer_name(node: OnnxNode, learned: set[str]) -> str:
    """What a layer is called: as its arrays are without their last word, or as the node is."""
    weights = [name for name in node.inputs[1:] if name in learned]
    stems = {name.rpartition(".")[0] for name in weights}
    if len(stems) == 1 and (stem := stems.pop()):
        return stem
    return node.name or node.outputs[0]


def _free(name: str, taken: Any) -> str:
    """The name, with a number if it is taken."""
    free, count = name, 1
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    return free
