"""What `tapegrad show` prints of an ONNX model, and the inputs that the file states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.common.errors import FormatError, Limits
from tapegrad.nn.formats.onnx.decoding import model_of
from tapegrad.nn.formats.onnx.external import ExternalData
from tapegrad.nn.formats.onnx.fields import SCHEMA

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from tapegrad.nn.core.files import InputType, Line
    from tapegrad.nn.formats.onnx.graph import OnnxModel, OnnxNode, ValueInfo

__all__ = ["describe", "input_types"]

_BATCH = 2  # where a file leaves the number of samples free


def _read(path: str | os.PathLike[str] | bytes, limits: Limits | None) -> OnnxModel:
    limits = limits or Limits()
    try:
        return model_of(SCHEMA.read(path, "ModelProto", limits), limits, ExternalData(None))
    except FormatError as error:
        error.file = error.file or (None if isinstance(path, bytes) else str(path))
        raise


def describe(path: str | os.PathLike[str] | bytes, limits: Limits | None = None) -> Iterator[Line]:
    """(depth, name, what it is, its arrays) of the model, its inputs and its nodes; nothing is run.

    Raises FormatError or one of its children for the content, OSError for the file itself.
    """
    model = _read(path, limits)
    graph = model.graph
    yield 0, f"{graph.name:.60}", f"ONNX opset {model.opset}, by {model.producer:.40}", {}
    left = dict(graph.initializers)
    for given in graph.inputs:
        if given.name not in left:
            yield 1, f"{given.name:.60}", f"input {_type_text(given)}", {}
    for node in graph.nodes:
        arrays = {name: left.pop(name) for name in node.inputs if name in left}
        yield 1, f"{_label(node):.60}", _node_text(node), arrays
    for name, array in left.items():
        yield 1, f"{name:.60}", "not read by a node", {"": array}
    for made in graph.outputs:
        yield 1, f"{made.name:.60}", f"output {_type_text(made)}", {}


def _label(node: OnnxNode) -> str:
    return node.name or next((name for name in node.outputs if name), "node")


def _node_text(node: OnnxNode) -> str:
    settings = ", ".join(
        f"{key} {value!s:.40}"
        for key, value in sorted(node.attributes.items())
        if isinstance(value, (int, float, str, list)) and len(str(value)) < 80
    )
    reads, makes = (
        ", ".join(f"{n:.30}" for n in names[:5]) for names in (node.inputs, node.outputs)
    )
    flow = f"[{reads}] -> [{makes}]"
    return f"{node.op:.60} {flow}" + (f" ({settings:.200})" if settings else "")


def _type_text(info: ValueInfo) -> str:
    shape = (
        "?" if info.shape is None else "x".join("?" if n is None else str(n) for n in info.shape)
    )
    return f"{info.dtype} {shape:.80}"


def input_types(
    path: str | os.PathLike[str] | bytes, limits: Limits | None = None
) -> list[InputType]:
    """(shape, dtype) of each input that a file states, 2 for a free axis 0; an empty list else.

    Raises FormatError or one of its children for the content, OSError for the file itself.
    """
    graph = _read(path, limits).graph
    found: list[Any] = []
    for given in graph.inputs:
        if given.name in graph.initializers:
            continue
        if given.shape is None or given.dtype is None:
            return []
        shape = [n if isinstance(n, int) else _BATCH if k == 0 else 0
                 for k, n in enumerate(given.shape)]  # fmt: skip
        if any(n < 1 for n in shape):
            return []
        found.append((tuple(shape), str(np.dtype(given.dtype))))
    return found
