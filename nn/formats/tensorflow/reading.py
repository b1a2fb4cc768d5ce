"""What an entry of the table reads with: one node of a graph, its inputs, its attributes.

`GraphSession` is one file; `NodeReading` is one node in it, and makes layers of nn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Parameter
from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    Limits,
    UnsupportedError,
)
from tapegrad.nn.formats.common.network import NetworkNode, NetworkValue, unused_name
from tapegrad.nn.formats.tensorflow.tensors import array_of_tensor, forget, type_of_number
from tapegrad.nn.formats.tensorflow.values import (
    CHANNELS_FIRST,
    Computed,
    Const,
    Dim,
    Sizes,
    Unknown,
    same_order,
)
from tapegrad.nn.layers.shape import Reshape, Transpose

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["Dead", "NodeReading", "GraphSession", "bare_module", "swaps"]

KNOWN = "a constant: what is computed from the input of the module has no place here"
Array = np.ndarray[Any, Any]


class Dead:
    """What comes out of the branch of a Switch that a constant says is not taken."""


def bare_module(cls: type, **attributes: Any) -> Any:
    """A module of a class with these attributes, without its constructor, which would draw weights
    that the file's replace.
    """
    module: Any = object.__new__(cls)
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def swaps(order: Sequence[int]) -> list[tuple[int, int]]:
    """The pairs of axes to exchange, one after the other, to bring axis order[i] to place i."""
    now, pairs = list(range(len(order))), []
    for i, wanted in enumerate(order):
        j = now.index(wanted)
        if i != j:
            now[i], now[j] = now[j], now[i]
            pairs.append((i, j))
    return pairs


@dataclass
class GraphSession:
    """One graph that is read.

    ours:   whether images come in and go out in our order, channels first
    budget: bytes that constants computed from others may have together
    """

    file: str | None
    limits: Limits
    ours: bool
    big: bool
    budget: int
    nodes: list[NetworkNode] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    by_name: dict[str, NetworkNode] = field(default_factory=dict)
    reordered: dict[tuple[NetworkValue, tuple[int, ...], bool], Computed] = field(
        default_factory=dict
    )
    parameters: dict[tuple[int, str], tuple[Array, Any]] = field(default_factory=dict)
    images: bool = False  # whether any node has images as N, H, W, C
    functions: frozenset[str] = frozenset()

    def emit(
        self,
        name: str,
        layer: Any,
        reads: Sequence[NetworkValue],
        place: str,
        *,
        table: bool = False,
    ) -> NetworkValue:
        """A node of the network; returns its value.  Raises LimitError for too many."""
        node = NetworkNode(unused_name(name, self.names), layer, tuple(reads), table, place)
        if len(self.nodes) >= self.limits.max_nodes:
            raise LimitError(f"at most {self.limits.max_nodes} layers", file=self.file, path=place)
        self.nodes.append(node)
        self.by_name[node.name] = node
        return NetworkValue(node.name)

    def graph_order(self, flow: Computed, place: str) -> Computed:
        """The same value with its axes as the graph has them."""
        if flow.shape is None:
            return flow
        return self.in_order(flow, same_order(len(flow.shape)), place)

    def in_order(self, flow: Computed, order: tuple[int, ...], place: str) -> Computed:
        """The same value with its axes in this order; a Transpose where they lie otherwise."""
        if flow.folded is not None:
            flow = self._unfolded(flow, place)
        if flow.order == order:
            return flow
        key = (flow.value, order, False)
        if key not in self.reordered:
            moved = [flow.order.index(axis) for axis in order]
            name = f"{flow.value.name}/transpose"
            value = self.emit(name, Transpose(*swaps(moved)), [flow.value], place)
            self.reordered[key] = Computed(value, flow.shape, order, flow.sole)
        return self.reordered[key]

    def _unfolded(self, flow: Computed, place: str) -> Computed:
        """What a Reshape of images made, in fact, with entries as the graph has them."""
        assert flow.folded is not None
        assert flow.shape is not None
        key = (flow.folded[0].value, flow.order, True)
        if key not in self.reordered:
            images = self.graph_order(flow.folded[0], place)
            layer = Reshape(math.prod(flow.folded[1][1:]), batchMode=True)
            value = self.emit(f"{images.value.name}/flat", layer, [images.value], place)
            self.reordered[key] = Computed(value, flow.shape, flow.order, flow.sole)
        return self.reordered[key]

    def charge(self, size: int, place: str) -> None:
        """So many bytes more are computed from constants.  Raises LimitError for too many."""
        self.budget -= size
        if self.budget < 0:
            expected = "less that is computed from constants than so many bytes"
            raise LimitError(expected, size, file=self.file, path=place)


class NodeReading:
    """One node that is read.

    ins:    its inputs: Const, Sizes, Computed
    path:   where it is, for errors
    """

    def __init__(self, session: GraphSession, record: Record, ins: list[Any]) -> None:
        self.session, self.record, self.ins = session, record, ins
        self.name, self.op = record.name, record.op
        self.path = f"node {self.name[:80]!r} ({self.op[:40]})"

    # Errors ---------------------------------------------------------------------------------------

    def error(
        self, expected: str, found: Any = None, kind: type[FormatError] = FormatError
    ) -> FormatError:
        """An error about this node."""
        return kind(expected, found, file=self.session.file, path=self.path)

    def refusal(self, expected: str, found: Any = None) -> FormatError:
        """An error about what nn, or this reader, does not have."""
        return self.error(expected, found, UnsupportedError)

    # Attributes -----------------------------------------------------------------------------------

    def _attr(self, name: str, kind: str) -> Any:
        value = self.record.attr.get(name)
        if value is None:
            return None
        if value.which("value") not in (kind, None):
            raise self.error(f"{kind} for {name}", value.which("value"))
        return getattr(value, kind)

    def flag(self, name: str, default: bool = False) -> bool:
        """An attribute that is true or false."""
        found = self._attr(name, "b")
        return default if found is None else bool(found)

    def number(self, name: str, default: float) -> float:
        """An attribute that is a float."""
        found = self._attr(name, "f")
        return default if found is None else float(found)

    def whole(self, name: str, default: int | None = None) -> int:
        """An attribute that is an integer.  Raises FormatError without it, unless it may miss."""
        found = self._attr(name, "i")
        if found is None and default is None:
            raise self.error(f"an attribute {name}")
        return int(default if found is None else found)  # type: ignore[arg-type]  # just seen

    def text(self, name: str, default: str = "") -> str:
        """An attribute that is a text."""
        found = self._attr(name, "s")
        return default if found is None else bytes(found).decode("utf-8", "replace")

    def wholes(self, name: str, count: int | None = None) -> list[int]:
        """An attribute that is a list of integers, of `count` or, where it misses, of none."""
        found = self._attr(name, "list")
        numbers = [] if found is None else [int(n) for n in found.i]
        if count is not None and numbers and len(numbers) != count:
            raise self.error(f"{count} numbers for {name}", len(numbers))
        return numbers

    def dtype(self, name: str) -> np.dtype[Any]:
        """An attribute that is a type."""
        return type_of_number(int(self._attr(name, "type") or 0), self.path, self.session.file)

    def tensor(self, name: str) -> Array:
        """An attribute that is an array."""
        found = self._attr(name, "tensor")
        if found is None:
            raise self.error(f"an attribute {name}")
        return array_of_tensor(found, self.path, self.session.file, self.session.big)

    # Inputs ---------------------------------------------------------------------------------------

    def needs(self, least: int, most: int | None = None) -> None:
        """Raise FormatError for another number of inputs."""
        most = least if most is None else most
        if not least <= len(self.ins) <= most:
            raise self.error(f"{least} to {most} inputs", len(self.ins))

    def all_const(self, first: int = 0) -> bool:
        """Whether all inputs from `first` on are arrays that are known."""
        return all(self._known(each) is not None for each in self.ins[first:])

    @staticmethod
    def _known(value: Any) -> Array | None:
        if isinstance(value, Const):
            return value.array
        if isinstance(value, Sizes) and all(isinstance(n, int) for n in value.dims):
            found = np.array(value.dims, np.int64)
            return found.reshape(()) if value.scalar else found
        return None

    def const(self, index: int) -> Array:
        """An input that is known.  Raises UnsupportedError for another."""
        found = self._known(self.ins[index])
        if found is None:
            raise self.refusal(KNOWN, f"input {index}")
        return found

    def integers(self, index: int) -> list[int]:
        """An input that is a known vector of integers, or one."""
        found = self.const(index)
        if found.dtype.kind not in "iu" or found.ndim > 1 or found.size > 1000:
            raise self.error("a vector of integers", f"{found.dtype} {found.shape}")
        return [int(n) for n in found.reshape(-1)]

    def dims(self, index: int) -> tuple[Dim, ...]:
        """An input that is a vector of lengths, of which some may be unknown."""
        value = self.ins[index]
        if isinstance(value, Sizes):
            return value.dims
        return tuple(self.integers(index))

    def flow(self, index: int) -> Computed:
        """An input that the module computes.  Raises UnsupportedError for a constant."""
        value = self.ins[index]
        if not isinstance(value, Computed):
            raise self.refusal("what is computed from an input of the module", "a constant")
        return value

    def shaped(self, index: int) -> tuple[Computed, tuple[Dim, ...]]:
        """A flow and its shape, of which at least the number of axes is known."""
        flow = self.flow(index)
        if flow.shape is None:
            raise self.refusal("an input whose number of axes is known: give the Placeholder one")
        return flow, flow.shape

    def in_graph_order(self, index: int) -> Computed:
        """A flow with its axes as the graph has them."""
        return self.session.graph_order(self.shaped(index)[0], self.path)

    def images(self, index: int, form: str = "NHWC") -> tuple[Computed, tuple[Dim, ...]]:
        """(images with channels first, their shape (N, C, H, W)); form: the graph's order."""
        return self.as_images(self.flow(index), form)

    def as_images(self, flow: Computed, form: str) -> tuple[Computed, tuple[Dim, ...]]:
        """A flow as images with channels first, and their shape."""
        if form not in ("NHWC", "NCHW"):
            raise self.refusal("images as NHWC or NCHW", form)
        if flow.shape is None:
            flow.shape = (Unknown(), Unknown(), Unknown(), Unknown())
            flow.order = same_order(4)
        if len(flow.shape) != 4:
            raise self.refusal("images, which have four axes", f"{len(flow.shape)} axes")
        order = CHANNELS_FIRST if form == "NHWC" else same_order(4)
        shape = tuple(flow.shape[axis] for axis in order)
        return self.session.in_order(flow, order, self.path), shape

    def axis(self, index: int, ndim: int) -> int:
        """A known axis of an array with so many."""
        numbers = self.integers(index)
        if len(numbers) != 1 or not -ndim <= numbers[0] < ndim:
            raise self.error(f"an axis of {ndim}", numbers)
        return numbers[0] % ndim

    # Results --------------------------------------------------------------------------------------

    def folded(self, compute: Callable[..., Any], *arrays: Array, size: int = 0) -> list[Any]:
        """A result that is known; size: its bytes, where they are more than those of its inputs."""
        self.session.charge(max(size, max((a.nbytes for a in arrays), default=0)), self.path)
        with np.errstate(all="ignore"):
            return [Const(np.asarray(compute(*arrays)))]

    def then(
        self,
        layer: Any,
        flows: Computed | Sequence[Computed],
        shape: Sequence[Dim] | None,
        order: Sequence[int],
        suffix: str = "",
    ) -> Computed:
        """A layer that reads a flow, or a table of several; order, shape: as in Computed."""
        table = not isinstance(flows, Computed)
        reads = [flows] if isinstance(flows, Computed) else list(flows)
        name = f"{self.name}/{suffix}" if suffix else self.name
        value = self.session.emit(name, layer, [f.value for f in reads], self.path, table=table)
        return Computed(value, None if shape is None else tuple(shape), tuple(order))

    def of_images(self, layer: Any, flow: Computed, shape: Sequence[Dim], form: str) -> Computed:
        """A layer on images with channels first; shape: (N, C, H, W)."""
        order = CHANNELS_FIRST if form == "NHWC" else same_order(4)
        in_graph = [shape[order.index(axis)] for axis in range(4)]
        return self.then(layer, flow, in_graph, order)

    def parameter(self, array: Array, what: str, turn: Callable[[Array], Array]) -> Parameter:
        """A Parameter with the entries of a constant, turned; one for all that use it so.

        what: a word for `turn`
        """
        key = (id(array), what)
        if key not in self.session.parameters:
            if array.dtype.kind != "f":
                raise self.refusal("weights that are floats", array.dtype)
            if (id(array), "") in self.session.parameters:  # another copy of the same
                self.session.charge(array.nbytes, self.path)
            self.session.parameters[id(array), ""] = array, None
            copied = turn(array)
            if np.may_share_memory(copied, array):
                copied = np.array(copied, order="C")
            forget(array)
            self.session.parameters[key] = array, Parameter(copied)
        found: Parameter = self.session.parameters[key][1]
        return found

    def layer_of(self, flow: Computed, *classes: type) -> Any:
        """The layer that alone makes what alone this node reads, if it is of one of the classes."""
        node = self.session.by_name.get(flow.value.name)
        if node is None or not flow.sole or flow.value.entry is not None:
            return None
        return node if type(node.layer) in classes else None
