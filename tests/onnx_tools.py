"""What the tests of ONNX's files share: examples of layers, and other programs that run files."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tapegrad import nn, no_grad
from tapegrad.autograd import Tensor
from tapegrad.autograd.check import Draws
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.nn.formats.onnx.encoding import record_of
from tapegrad.nn.formats.onnx.fields import SCHEMA
from tapegrad.nn.formats.onnx.graph import NodeGraph, OnnxModel, OnnxNode, ValueInfo

EXAMPLES = 4  # of each layer


def as_single(nest: Any) -> Any:
    """A nest of arrays, in single precision where they are floating point numbers."""

    def single(leaf: Any) -> Any:
        if not isinstance(leaf, (np.ndarray, np.generic, float, int)):
            return leaf
        array = np.asarray(leaf)
        return array.astype(np.float32) if array.dtype.kind == "f" else array

    return map_leaves(single, nest)


def arrays_of(nest: Any) -> list[np.ndarray]:
    """The arrays of a nest, bare."""
    found = [leaf for leaf in leaves(nest) if isinstance(leaf, (Tensor, np.ndarray))]
    return [leaf.numpy() if isinstance(leaf, Tensor) else leaf for leaf in found]


def examples(case: Any, count: int = EXAMPLES) -> Iterator[tuple[nn.Module, Any]]:
    """(layer in evaluation mode and single precision, an input) of a case."""
    for seed in range(count):
        example = case(Draws(seed))
        module = example.module.evaluate()
        if isinstance(module, nn.Module):
            yield module.float(), as_single(example.input)


def outputs(module: Any, inputs: Any) -> list[np.ndarray]:
    """The arrays that a module returns, without recording and without what it prints."""
    with no_grad(), contextlib.redirect_stdout(io.StringIO()):
        return arrays_of(module(inputs))


def run_onnxruntime(path: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """What onnxruntime computes, after onnx.checker has seen the file."""
    import onnx
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


def expect_close(found: list[np.ndarray], expected: list[np.ndarray], tolerance: float) -> None:
    """Equal shapes and dtypes, and entries up to a share of their size, or of 1."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(a, b)


def file_of(
    nodes: list[OnnxNode],
    inputs: dict[str, tuple[Any, ...] | None],
    outputs: list[str],
    arrays: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    dtype: Any = np.float32,
) -> bytes:
    """The bytes of a model, by our own writer."""
    kind = np.dtype(dtype)
    graph = NodeGraph(
        nodes,
        [ValueInfo(name, kind, shape) for name, shape in inputs.items()],
        [ValueInfo(name, kind, None) for name in outputs],
        arrays or {},
    )
    stream = io.BytesIO()
    SCHEMA.write(record_of(OnnxModel(graph, opset, producer="test")), stream)
    return stream.getvalue()
