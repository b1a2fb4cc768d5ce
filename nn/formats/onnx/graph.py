"""An ONNX graph as data: what the writer makes and the reader takes apart.

It has no more than the file: names of values, operators by name, attributes as Python values
(int, float, str, arrays, lists of them).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "DTYPES",
    "ELEMENT_TYPES",
    "PRODUCER",
    "Array",
    "Attribute",
    "NodeGraph",
    "OnnxModel",
    "OnnxNode",
    "ValueInfo",
]

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.generic]]"

PRODUCER = "tapegrad"  # how files of our own say who wrote them

# ONNX's number of an element type -> NumPy's dtype.
DTYPES: dict[int, np.dtype[np.generic]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    4: np.dtype(np.uint16),
    5: np.dtype(np.int16),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    9: np.dtype(np.bool_),
    10: np.dtype(np.float16),
    11: np.dtype(np.float64),
    12: np.dtype(np.uint32),
    13: np.dtype(np.uint64),
}
ELEMENT_TYPES: dict[np.dtype[np.generic], int] = {dtype: n for n, dtype in DTYPES.items()}

Numbers: TypeAlias = "Sequence[int] | Sequence[float]"
Attribute: TypeAlias = "int | float | str | bytes | Array | NodeGraph | Numbers | Sequence[str]"


@dataclass
class OnnxNode:
    """One operator; "" among `inputs` is an input that is left out."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Attribute] = field(default_factory=dict)
    name: str = ""
    domain: str = ""


@dataclass
class ValueInfo:
    """Name, dtype and shape of an input or output; a length is a number, a name, or None."""

    name: str
    dtype: np.dtype[np.generic] | None
    shape: tuple[int | str | None, ...] | None


@dataclass
class NodeGraph:
    """Nodes in an order in which they can run, and the arrays that the file has."""

    nodes: list[OnnxNode]
    inputs: list[ValueInfo]
    outputs: list[ValueInfo]
    initializers: dict[str, Array]
    name: str = "graph"


@dataclass
class OnnxModel:
    """A graph and the version of the operators in it."""

    graph: NodeGraph
    opset: int
    producer: str = PRODUCER
    ir_version: int = 8
    domains: Mapping[str, int] = field(default_factory=dict)  # besides ONNX's own
