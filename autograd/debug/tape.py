"""A `Tape` shows the recorded calls behind a result, in the order in which they were made.

Results hold their own record; a Tape is the sorted list of the ancestors of some results.  It shows
how much memory recording costs, and draws what was computed.  A call saves only what its rules
need, so the Tape cannot show a setting that no rule names, or the value of an untracked operand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from tapegrad import devices
from tapegrad.autograd.core.drawing import MOST_BOXES, Box, Picture, draw_boxes, shape_text
from tapegrad.autograd.core.node import LEAF, Node, owner_of, parents_of
from tapegrad.autograd.core.parameter import leaf_of
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.reverse.sweep import NOT_TRACKED

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.autograd.core.types import Nest

__all__ = ["TapeEntry", "Tape"]

NO_MODULE = "the names are those of a module's parameters, and a {kind} has none"
CONSTANT = "constant"
HEADER = ("serial", "operation", "operands", "settings", "result", "dtype", "saved")
RIGHT_ALIGNED = {"serial", "saved"}  # the columns of numbers


@dataclass(frozen=True)
class TapeEntry:
    """One recorded call.

    serial:    its number; calls were made in this order
    operation: name of the primitive
    operands:  for each argument the serial of the call that made it, or "parameter 0 (3, 4)" (the
               Parameter's name, where it is known), "input 0 (3,)", "constant"; a tuple of these
               for a list argument
    settings:  the settings that a rule needs; the others are not saved
    shape:     of the result; None for a call with several results
    dtype:     of the result; None for a call with several results
    nbytes:    of the arrays that it saves for its derivative; a view counts with its own size
    """

    serial: int
    operation: str
    operands: tuple[Any, ...]
    settings: dict[str, Any]
    shape: tuple[int, ...] | None
    dtype: np.dtype[Any] | None
    nbytes: int


class Tape:
    """The record behind a result: its ancestors in the order of their calls.

    ``Tape(y)`` for a tracked Tensor or a nest of them, or for a module after its ``forward``.
    ``len`` is the number of recorded calls, and iteration gives a `TapeEntry` for each call.
    `nbytes` counts the memory that the calls keep alive, `show` prints them and `draw` draws them.
    Parameters are called "parameter 0", …; by their names in a module where the Tape is of one, or
    where `show` and `draw` are given one: ``Tape(loss).draw(model)`` says "encoder.0.weight".
    A Tape keeps the record alive as long as it lives itself.
    Raises ValueError when nothing is tracked.

    >>> from tapegrad import Parameter
    >>> w = Parameter(np.ones(3))
    >>> [entry.operation for entry in Tape(np.sum(np.tanh(w)))]
    ['tanh', 'sum']
    """

    def __init__(self, y: Nest) -> None:
        results = y.__tape__() if hasattr(y, "__tape__") else y
        tensors = [t for t in leaves(results) if isinstance(t, Tensor)]
        self._results: list[Node] = [t._node for t in tensors if t._node is not None]
        if not self._results:
            raise ValueError(NOT_TRACKED)
        self._nodes: list[Node] = []  # the calls
        self._names: dict[Node, str] = {}  # of parameters and inputs
        counts = {"parameter": 0, "input": 0}
        for node in _sorted_ancestors(self._results):
            kind = _node_kind(node)
            if kind == "call":
                self._nodes.append(node)
            else:
                self._names[node] = f"{kind} {counts[kind]}"
                counts[kind] += 1
        if hasattr(y, "named_parameters"):
            self._name_parameters(y)

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[TapeEntry]:
        return map(self._entry, self._nodes)

    def __repr__(self) -> str:
        count = sum(node.serial == LEAF for node in self._names)
        return (
            f"<Tape of {_count_text(len(self), 'call')} on {_count_text(count, 'parameter')} and "
            f"{_count_text(len(self._names) - count, 'input')}, {_size_text(self.nbytes)}>"
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that the record keeps alive; shared memory is counted once.

        A view counts with the size of the array that owns its memory.  A parameter that a rule
        saved counts too, though it also lives without the tape.
        """
        owners = {id(owner): owner for a in _saved_arrays(self._nodes) for owner in [owner_of(a)]}
        return sum(int(owner.nbytes) for owner in owners.values())

    def _name_parameters(self, module: Any) -> None:
        """Call the Parameters of a module by their names there.  Raises TypeError for no module."""
        if not hasattr(module, "named_parameters"):
            raise TypeError(NO_MODULE.format(kind=type(module).__name__))
        named = {leaf_of(p): name for name, p in module.named_parameters()}
        self._names |= {node: named[node] for node in self._names if node in named}

    def show(
        self, file: TextIO | None = None, *, limit: int | None = 40, module: Any = None
    ) -> None:
        """Print the calls as a table, with a total.

        file:   where to print; standard output when omitted
        limit:  the number of rows, None for all; the text says how many in the middle are left out
        module: whose names the Parameters get.  Raises TypeError for what has no parameters
        """
        if module is not None:
            self._name_parameters(module)
        nodes, left_out = self._nodes, 0
        if limit is not None and len(nodes) > limit:
            left_out = len(nodes) - limit
            nodes = [*nodes[: (limit + 1) // 2], *nodes[len(nodes) - limit // 2 :]]
        rows = [HEADER, *(_table_row(self._entry(node)) for node in nodes)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                text.rjust(width) if name in RIGHT_ALIGNED else text.ljust(width)
                for text, width, name in zip(row, widths, HEADER, strict=True)
            ).rstrip()
            for row in rows
        ]
        if left_out:
            middle = 1 + (len(rows)) // 2
            lines.insert(middle, f"{'…'.rjust(widths[0])}  {_count_text(left_out, 'more call')}")
        count = len({id(owner_of(a)) for a in _saved_arrays(self._nodes)})
        kept = f"{_size_text(self.nbytes)} kept in {_count_text(count, 'array')}"
        lines.append(f"{_count_text(len(self), 'call')}, {kept}")
        (sys.stdout if file is None else file).write("\n".join(lines) + "\n")

    def draw(self, module: Any = None) -> Picture:
        """Draw the graph, with a box for each call, parameter, input and result.

        module: whose names the Parameters get.  Raises TypeError for what has no parameters
        Jupyter shows the picture; its method ``save("tape.svg")`` writes a file.
        """
        if module is not None:
            self._name_parameters(module)
        boxes: list[Box] = []
        box_of: dict[Node, int] = {}
        for node in self._nodes:
            parents = self._boxes_of(dict.fromkeys(parents_of(node)), boxes, box_of)
            box_of[node] = len(boxes)
            # A box with parameters alone behind it, such as a transposed weight, stands at its use.
            late = all(boxes[parent].late for parent in parents)
            boxes.append(Box(self._lines(node), "module", parents, late))
        for i, node in enumerate(self._results):
            text = f"result {i}" if len(self._results) > 1 else "result"
            boxes.append(Box([text], "end", self._boxes_of([node], boxes, box_of)))
        if len(boxes) > MOST_BOXES:
            boxes = [Box([repr(self)[1:-1], f"{len(boxes)} boxes: too many to draw"])]
        return draw_boxes(boxes)

    def _boxes_of(
        self, nodes: Iterable[Node], boxes: list[Box], box_of: dict[Node, int]
    ) -> list[int]:
        """The indices of the nodes' boxes; a parameter or input gets a new box for each use."""
        indices = []
        for node in nodes:
            if node in self._names:
                lines = [self._names[node], shape_text(tuple(node.shape))]
                boxes.append(Box(lines, "entry" if node.serial == LEAF else "end", late=True))
                indices.append(len(boxes) - 1)
            else:
                indices.append(box_of[node])
        return indices

    def _lines(self, node: Node) -> list[str]:
        """The text of a call's box: its name, the settings that are not defaults, its shape."""
        entry = self._entry(node)
        primitive = node.plan.primitive
        defaults = {} if primitive is None else primitive.settings
        settings = [
            f"{key}={_shorten(value)}"
            for key, value in entry.settings.items()
            if value is not defaults[key]
        ]
        shape = [] if entry.shape is None else [shape_text(entry.shape)]
        return [f"{entry.operation} {entry.serial}", *settings, *shape]

    def _entry(self, node: Node) -> TapeEntry:
        primitive = node.plan.primitive
        saved = dict(zip(node.plan.names, node.saved, strict=True))
        settings = {} if primitive is None else primitive.settings
        return TapeEntry(
            serial=node.serial,
            operation=repr(node.plan),
            operands=self._operands(node, saved),
            settings={name: saved[name] for name in settings if name in saved},
            shape=None if node.shape is None else tuple(node.shape),
            dtype=node.dtype,
            nbytes=sum(int(array.nbytes) for array in _saved_arrays([node])),
        )

    def _operands(self, node: Node, saved: dict[str, Any]) -> tuple[Any, ...]:
        primitive = node.plan.primitive
        source = map(self._name, parents_of(node))
        if primitive is None:  # a checkpoint, or a module with a gradient written by hand
            return tuple(source)
        operands: list[Any] = []
        for name, tracked in zip(primitive.arguments, node.plan.mask, strict=True):
            if isinstance(tracked, tuple):
                operands.append(tuple(next(source) if flag else CONSTANT for flag in tracked))
            elif tracked:
                operands.append(next(source))
            else:
                operands.append(_constant_text(saved.get(name)))
        return tuple(operands)

    def _name(self, node: Node) -> Any:
        name = self._names.get(node)
        return node.serial if name is None else f"{name} {tuple(node.shape)}"


# Nodes --------------------------------------------------------------------------------------------


def _sorted_ancestors(results: Iterable[Node]) -> list[Node]:
    """The nodes `results` and their ancestors by serial number, which puts parameters first."""
    seen: dict[Node, None] = {}
    stack = list(results)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen[node] = None
            stack.extend(reversed(parents_of(node)))
    return sorted(seen, key=lambda node: node.serial)


def _node_kind(node: Node) -> str:
    """The kind of a node: "parameter", "input" (a variable, without parents) or "call"."""
    if node.serial == LEAF:
        return "parameter"
    return "call" if parents_of(node) else "input"


def _saved_arrays(nodes: Iterable[Node]) -> Iterator[Any]:
    """Yield the arrays that nodes saved."""
    for node in nodes:
        for value in leaves(list(node.saved)):
            if devices.is_array(value):
                yield value


# Texts --------------------------------------------------------------------------------------------


def _constant_text(value: Any) -> str:
    if devices.is_array(value):
        return f"{CONSTANT} {tuple(value.shape)}"
    return CONSTANT if value is None else repr(value)


def _table_row(entry: TapeEntry) -> tuple[str, ...]:
    return (
        str(entry.serial),
        entry.operation,
        ", ".join(_operand_text(operand) for operand in entry.operands),
        ", ".join(f"{key}={_shorten(value)}" for key, value in entry.settings.items()),
        "several" if entry.shape is None else str(entry.shape),
        "" if entry.dtype is None else str(entry.dtype),
        _size_text(entry.nbytes) if entry.nbytes else "",
    )


def _operand_text(operand: Any) -> str:
    if isinstance(operand, tuple):
        return f"[{', '.join(map(_operand_text, operand))}]"
    return str(operand)


def _shorten(value: Any) -> str:
    text = f"array {tuple(value.shape)}" if devices.is_array(value) else str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"


def _count_text(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _size_text(count: int) -> str:
    """A number of bytes, in the unit that makes it less than 1000: 96 B, 1.2 kB, 3.4 MB."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.95 or unit == "GB":
            break
        size /= 1000
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
