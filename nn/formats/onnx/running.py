"""OnnxGraph: a module that runs the nodes of an ONNX graph, layers and operators in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad.autograd import Parameter, Tensor
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError
from tapegrad.nn.formats.onnx import (
    in_elementwise,
    in_quantized,
    in_recurrent,
    in_reduction,
    in_sampling,
    in_shape,
    in_windows,
)
from tapegrad.nn.formats.onnx.operators import OperatorCall, reader_of
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OnnxGraph"]

_ = (
    in_elementwise, in_quantized, in_recurrent, in_reduction, in_sampling, in_shape, in_windows,
)  # they enter the table  # fmt: skip


class OnnxGraph(Module):
    """The outputs of an ONNX graph as functions of its inputs.

    x: the array of the one input, or a list with an array for each -> the array of the one output,
    or a list.
    weights:   the file's arrays of floating point numbers by their names, which are learned
    constants: its other arrays; layers: modules by name, which hold the arrays of their nodes
    steps:     for each node [operator, opset, names of inputs, names of outputs, attributes, name
               of its layer or None]
    Raises ShapeError for another number of inputs; what an operator refuses is a FormatError.
    """

    keeps: ClassVar[tuple[str, ...]] = (
        "inputs_named", "outputs_named", "weights", "constants", "layers", "steps",
    )  # fmt: skip

    def __init__(
        self, inputs: list[str], outputs: list[str], weights: dict[str, Parameter],
        constants: dict[str, Any], layers: dict[str, Module], steps: list[Any],
    ) -> None:  # fmt: skip
        self.inputs_named, self.outputs_named = list(inputs), list(outputs)
        self.weights, self.constants, self.layers = weights, constants, layers
        self.steps = steps

    def updateOutput(self, x: Any) -> Any:
        given = [x] if len(self.inputs_named) == 1 and not isinstance(x, (list, tuple)) else x
        if len(given) != len(self.inputs_named):
            raise ShapeError(f"the graph has {len(self.inputs_named)} inputs, given {len(given)}")
        values: dict[str, Any] = dict(zip(self.inputs_named, given, strict=True))
        values.update(self.constants)
        values.update(self.weights)
        last = self._last_reads()
        for i, (op, opset, inputs, outputs, attributes, layer) in enumerate(self.steps):
            arguments = [values[name] if name else None for name in inputs]
            if layer is not None:
                results = [self.layers[layer](_tensor(arguments[0]))]
            else:
                results = _run(op, opset, arguments, attributes, len(outputs))
            made = zip(outputs, results, strict=False)
            values.update((name, result) for name, result in made if name)
            for name in last.get(i, ()):
                values.pop(name, None)
        last_ones = [_tensor(values[name]) for name in self.outputs_named]
        return last_ones[0] if len(last_ones) == 1 else last_ones

    def _last_reads(self) -> dict[int, list[str]]:
        """Number of a step -> the values that no later step reads, so that memory is freed."""
        last: dict[str, int] = {}
        for i, (_, _, inputs, outputs, _, _) in enumerate(self.steps):
            for name in (*inputs, *outputs):
                last[name] = i
        kept = {*self.outputs_named, *self.weights, *self.constants}
        found: dict[int, list[str]] = {}
        for name, i in last.items():
            if name not in kept:
                found.setdefault(i, []).append(name)
        return found

    def __repr__(self) -> str:
        return (
            f"OnnxGraph({len(self.steps)} nodes: {', '.join(self.inputs_named)} -> "
            f"{', '.join(self.outputs_named)})"
        )


def _tensor(value: Any) -> Any:
    return value if isinstance(value, Tensor) else Tensor(np.asarray(value))


def _run(
    op: str, opset: int, arguments: list[Any], attributes: Mapping[str, Any], count: int
) -> list[Any]:
    """The outputs of an operator.  Raises UnsupportedError for one without a reader."""
    reader = reader_of(op, opset)
    if reader is None:
        raise UnsupportedError("an operator that is known", op)
    result = reader(OperatorCall(op, arguments, attributes, opset, count))
    results = result if isinstance(result, list) else [result]
    if len(results) < count:
        raise FormatError(f"{op}: at most {len(results)} outputs", count)
    return results
