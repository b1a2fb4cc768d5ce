"""infer_shapes, infer_types: shapes and types of all variables and outputs from a few of them.

Shapes flow both ways: a weight's follows from the data's, and an unknown batch size (0) of a
recurrent state from the layer that it meets.  An operator without a rule runs on zeros once.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad
from tapegrad.nn.mxnet.attributes import Shape
from tapegrad.nn.mxnet.declaration import Call, PartialShape
from tapegrad.nn.mxnet.errors import MXNetValueError
from tapegrad.nn.mxnet.symbol.graph import Output, SymbolNode, in_order

__all__ = ["TYPE_FLAGS", "Shapes", "infer_shapes", "infer_types", "known", "known_all", "unify"]


# The numbers that files use for types (`__dtype__`).
TYPE_FLAGS = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")


def known(shape: PartialShape) -> bool:
    """Are all dimensions known?"""
    return shape is not None and all(n > 0 for n in shape)


def unify(first: PartialShape, second: PartialShape) -> PartialShape:
    """What both shapes say together.  Raises ValueError where they contradict each other."""
    if first is None or second is None:
        return first if second is None else second
    if len(first) != len(second):
        raise ValueError(f"{first} and {second} have different numbers of axes")
    for n, m in zip(first, second, strict=True):
        if n > 0 and m > 0 and n != m:
            raise ValueError(f"{first} and {second} differ")
    return tuple(n if n > 0 else m for n, m in zip(first, second, strict=True))


class Shapes:
    """The shapes of all outputs of a graph, as far as they are known."""

    def __init__(self, heads: Sequence[Output], given: Mapping[str, Sequence[int]]):
        self.nodes = in_order(heads)
        self.of: dict[tuple[int, int], PartialShape] = {}
        for node in self.nodes:
            if node.op is None:
                self.of[id(node), 0] = _declared(node, given)
        for _ in range(len(self.nodes) + 1):
            before = dict(self.of)
            for node in (*self.nodes, *reversed(self.nodes)):
                if node.op is not None:
                    self._visit(node)
            if before == self.of:
                break

    def __getitem__(self, output: Output) -> PartialShape:
        return self.of.get((id(output[0]), output[1]))

    def unknown(self) -> list[str]:
        """The names of variables whose shape is not known."""
        return [n.name for n in self.nodes if n.op is None and not known(self[n, 0])]

    def missing(self) -> str:
        """The first operator that lacks a shape, and which one; "" where nothing is unknown."""
        for node in self.nodes:
            if node.op is None:
                continue
            for name, entry in zip(node.input_names, node.inputs, strict=False):
                if not known(self[entry]):
                    shape = self[entry]
                    what = "the shape" if shape is None else f"a dimension of the shape {shape}"
                    return f"{node.op.name} {node.name!r} lacks {what} of its input {name}"
            if not known(self[node, 0]):
                return f"{node.op.name} {node.name!r} leaves its shape {self[node, 0]} open"
        return ""

    def _visit(self, node: SymbolNode) -> None:
        assert node.op is not None
        inputs = [self[entry] for entry in node.inputs]
        outputs = [self[node, i] for i in range(len(node.op.output_names(node.read)))]
        if known_all(inputs) and known_all(outputs):
            return
        try:
            if node.op.infer is not None:
                node.op.infer(node.read, inputs, outputs)
            elif known_all(inputs):
                outputs = _run_on_zeros(node, inputs)
        except (ValueError, TypeError, IndexError, ArithmeticError) as error:
            shown = ", ".join(
                f"{name}={shape}" for name, shape in zip(node.input_names, inputs, strict=False)
            )
            raise MXNetValueError(f"{node.op.name} {node.name!r} ({shown}): {error}") from error
        for entry, shape in zip(node.inputs, inputs, strict=True):
            self._learn(entry, shape, node)
        for i, shape in enumerate(outputs):
            self._learn((node, i), shape, node)

    def _learn(self, output: Output, shape: PartialShape, at: SymbolNode) -> None:
        key = (id(output[0]), output[1])
        try:
            self.of[key] = unify(self.of.get(key), shape)
        except ValueError as error:
            raise MXNetValueError(
                f"{at.name!r} needs another shape of {output[0].name!r}: {error}"
            ) from error


def known_all(shapes: Sequence[PartialShape]) -> bool:
    """Are all these shapes known?"""
    return all(known(shape) for shape in shapes)


def _declared(node: SymbolNode, given: Mapping[str, Sequence[int]]) -> PartialShape:
    if node.name in given:
        return tuple(int(n) for n in given[node.name])
    text = node.attrs.get("__shape__")
    return None if text is None else Shape().read(text)


def _run_on_zeros(node: SymbolNode, inputs: Sequence[PartialShape]) -> list[PartialShape]:
    assert node.op is not None
    zeros = [Tensor(np.zeros(shape or (), np.float32)) for shape in inputs]
    with no_grad(), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        stream = devices.Generator(seed=0) if node.op.random else None
        results = node.op(Call(node.read, False, stream, node.name), *zeros)
    count = len(node.op.output_names(node.read))
    return [tuple(y.shape) for y in results[:count]]


def infer_shapes(heads: Sequence[Output], given: Mapping[str, Sequence[int]]) -> Shapes:
    """The shapes that follow from those of some variables.

    Raises MXNetError, with the node, where two shapes contradict each other.
    """
    return Shapes(heads, given)


def infer_types(heads: Sequence[Output], given: Mapping[str, Any]) -> dict[tuple[int, int], Any]:
    """The types of all outputs: a variable's own, else the type of the data it meets.

    The type of an output is its attribute `dtype`, else that of its first input; float32 where
    nothing says otherwise.
    """
    found: dict[tuple[int, int], Any] = {}
    nodes = in_order(heads)
    for node in nodes:
        if node.op is None:
            dtype = given.get(node.name, node.attrs.get("__dtype__"))
            if dtype is not None:
                found[id(node), 0] = _dtype(dtype)
    for node in nodes:
        if node.op is None:
            continue
        seen = [found[id(n), i] for n, i in node.inputs if (id(n), i) in found]
        kind = seen[0] if seen else np.dtype(np.float32)
        if node.op.types is not None:
            first, i = node.inputs[0]
            taken, given_out = node.op.types(node.read, found.get((id(first), i)))
            for (n, i), dtype in zip(node.inputs, taken, strict=False):
                found.setdefault((id(n), i), dtype)
            for i, dtype in enumerate(given_out):
                found[id(node), i] = dtype
            continue
        for n, i in node.inputs:
            found.setdefault((id(n), i), kind)
        own = getattr(node.read, "dtype", None) if "dtype" in node.op.kinds else None
        for i in range(node.count):
            found[id(node), i] = own if own is not None else kind
    for node in nodes:
        if node.op is None:
            found.setdefault((id(node), 0), np.dtype(np.float32))
    return found


def _dtype(value: Any) -> np.dtype[Any]:
    text = str(value)
    if text.isdigit() and int(text) < len(TYPE_FLAGS):
        return np.dtype(TYPE_FLAGS[int(text)])
    return np.dtype(value)
