"""What a layer is written with: nodes of a graph, and where the axes of its values are.

With "NHWC" every array of four axes is an image for the graph: it has the channels last.  An array
with another number of axes is in our order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.common.network import (
    ArrayType,
    Network,
    NetworkNode,
    NetworkValue,
    unused_name,
)
from tapegrad.nn.formats.tensorflow.fields import SCHEMA
from tapegrad.nn.formats.tensorflow.tensors import DTYPES, tensor_of_array
from tapegrad.nn.formats.tensorflow.values import CHANNELS_FIRST, same_order

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["Pen", "Edge", "LayerWriting"]

Array = np.ndarray[Any, Any]
_TYPES = {np.dtype(text): number for number, (text, _) in DTYPES.items()}
NO_EXAMPLE = "a shape for each input, which says what flows through the layers"


@dataclass
class Edge:
    """A value in the graph.

    ref:     "conv1" or "split:1"
    columns: where a graph joined the axes of images that it has in another order: its column j is
             our column columns[j]
    """

    ref: str
    columns: Array | None = None


@dataclass
class Pen:
    """One graph that is written."""

    network: Network
    nhwc: bool
    batch: int | None  # None: any
    nodes: list[Record] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    wires: dict[NetworkValue, Edge] = field(default_factory=dict)
    constants: dict[tuple[int, str], tuple[Any, str]] = field(default_factory=dict)

    def order(self, ndim: int) -> tuple[int, ...]:
        """Which axis of the graph each of ours is."""
        return CHANNELS_FIRST if self.nhwc and ndim == 4 else same_order(ndim)

    def in_graph(self, shape: Sequence[Any]) -> list[Any]:
        """Lengths of our axes in the graph's order."""
        order = self.order(len(shape))
        return [shape[order.index(axis)] for axis in range(len(shape))]

    def add(self, op: str, name: str, inputs: Sequence[str], **attributes: Record) -> str:
        """A node; returns its name, which others may read."""
        name = unused_name(name, self.names)
        self.nodes.append(
            SCHEMA.new("NodeDef", name=name, op=op, input=list(inputs), attr=attributes)
        )
        return name

    def constant(self, name: str, array: Array) -> str:
        """A Const."""
        kind = SCHEMA.new("AttrValue", type=_TYPES[array.dtype.newbyteorder("=")])
        tensor = SCHEMA.new("AttrValue", tensor=tensor_of_array(array))
        return self.add("Const", name, [], dtype=kind, value=tensor)


class LayerWriting:
    """One layer that is written."""

    def __init__(self, pen: Pen, node: NetworkNode) -> None:
        self.pen, self.at, self.name = pen, node, node.name
        self.types = [pen.network.type_of(value) for value in node.inputs]
        self.path = f"model{node.place}"

    def refusal(self, expected: str, found: Any = None) -> UnsupportedError:
        """An error about this layer."""
        found = f"nn.{type(self.at.layer).__name__}" if found is None else found
        return UnsupportedError(expected, found, path=self.path)

    # Inputs ---------------------------------------------------------------------------------------

    def kind(self, index: int = 0) -> ArrayType:
        """Shape and type of an input."""
        found = self.types[index]
        if found is None:
            raise self.refusal(NO_EXAMPLE)
        return found

    def result(self) -> ArrayType:
        """Shape and type of what the layer returns."""
        found = self.pen.network.type_of(NetworkValue(self.at.name))
        if found is None:
            raise self.refusal(NO_EXAMPLE, "a table, or no example")
        return found

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """The lengths of an input's axes, in our order, with the example's batch."""
        return self.kind(index).shape

    def images(self) -> tuple[int, ...]:
        """The shape (N, C, H, W) of the input.  Raises UnsupportedError for another."""
        shape = self.shape()
        if len(shape) != 4:
            raise self.refusal("a batch of images", f"an input of shape {shape}")
        return shape

    def wire(self, index: int = 0) -> Edge:
        """An input, as it is in the graph."""
        return self.pen.wires[self.at.inputs[index]]

    def ref(self, index: int = 0) -> str:
        """An input whose entries have their order."""
        wire = self.wire(index)
        assert wire.columns is None, "only layers that keep columns read such a value"
        return wire.ref

    def refs(self) -> list[str]:
        """All inputs."""
        return [self.ref(i) for i in range(len(self.at.inputs))]

    def axis(self, ours: int, ndim: int | None = None) -> int:
        """The axis of the graph that one of ours is."""
        ndim = len(self.shape()) if ndim is None else ndim
        return self.pen.order(ndim)[ours % ndim]

    # Nodes ----------------------------------------------------------------------------------------

    def type(self) -> Record:
        """The attribute T: the type of the numbers."""
        dtype = np.dtype(self.kind().dtype)
        if dtype not in _TYPES:
            raise self.refusal("a type that TensorFlow has", dtype)
        return SCHEMA.new("AttrValue", type=_TYPES[dtype])

    def add(self, op: str, inputs: Sequence[str], suffix: str = "", **attributes: Any) -> str:
        """A node of the type T; attributes as Python's values.  Without a suffix it has the layer's
        name.
        """
        name = f"{self.name}/{suffix}" if suffix else self.name
        made = {key: _attribute(value) for key, value in attributes.items()}
        return self.pen.add(op, name, inputs, T=self.type(), **made)

    def const(self, suffix: str, array: Any) -> str:
        """A Const of the layer."""
        return self.pen.constant(f"{self.name}/{suffix}", np.asarray(array))

    def weight(self, suffix: str, parameter: Tensor, turned: Array) -> str:
        """A Const with a parameter's entries; one for all layers that share it."""
        key = (id(parameter), f"{turned.shape} {suffix}")
        if key not in self.pen.constants:
            self.pen.constants[key] = (parameter, self.const(suffix, turned))
        return self.pen.constants[key][1]

    def integers(self, suffix: str, numbers: Sequence[int]) -> str:
        """A Const with a vector of integers."""
        return self.const(suffix, np.array(numbers, np.int32))

    def number(self, suffix: str, value: float) -> str:
        """A Const with one number of the input's type."""
        return self.const(suffix, np.array(value, self.kind().dtype))

    def give(self, ref: str, columns: Array | None = None) -> None:
        """The result, with axes as the graph has those of such arrays; columns: as in Edge."""
        self.pen.wires[NetworkValue(self.at.name)] = Edge(ref, columns)

    def turned(self, ref: str, order: Sequence[int], suffix: str = "") -> str:
        """A value whose axis order[i] is our axis i, with its axes as the graph has them."""
        wanted = self.pen.order(len(order))
        if tuple(order) == wanted:
            return ref
        place = {axis: i for i, axis in enumerate(wanted)}
        turn = [order[place[axis]] for axis in range(len(order))]
        perm = self.integers(f"{suffix or 'out'}/perm", turn)
        name = f"{self.name}/{suffix}/transpose" if suffix else self.name
        perm_type = SCHEMA.new("AttrValue", type=3)
        return self.pen.add("Transpose", name, [ref, perm], T=self.type(), Tperm=perm_type)

    def ours(self, index: int = 0) -> str:
        """An input with its axes in our order."""
        ndim, ref = len(self.shape(index)), self.ref(index)
        order = self.pen.order(ndim)
        if order == same_order(ndim):
            return ref
        perm = self.integers("in/perm", order)
        name = f"{self.name}/in"
        perm_type = SCHEMA.new("AttrValue", type=3)
        return self.pen.add("Transpose", name, [ref, perm], T=self.type(), Tperm=perm_type)

    def array(self, parameter: Any) -> Array:
        """A parameter's entries, on the CPU."""
        return np.asarray(devices.to_numpy(array_of(parameter)))

    @property
    def form(self) -> str:
        """The attribute data_format."""
        return "NHWC" if self.pen.nhwc else "NCHW"

    def four(self, height: int, width: int) -> list[int]:
        """Four numbers in the graph's order, 1 for batch and channels."""
        return self.pen.in_graph((1, 1, height, width))


def _attribute(value: Any) -> Record:
    if isinstance(value, bool):
        return SCHEMA.new("AttrValue", b=value)
    if isinstance(value, int):
        return SCHEMA.new("AttrValue", i=value)
    if isinstance(value, float):
        return SCHEMA.new("AttrValue", f=value)
    if isinstance(value, str):
        return SCHEMA.new("AttrValue", s=value.encode())
    if isinstance(value, np.dtype):
        return SCHEMA.new("AttrValue", type=_TYPES[value])
    return SCHEMA.new("AttrValue", list=SCHEMA.new("ListValue", i=[int(n) for n in value]))
