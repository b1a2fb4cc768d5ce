"""From the nodes of a graph to a Network: what the outputs need, in an order to read it in.

Nothing recurses: a graph of any depth is sorted by counting what each node waits for.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.common.errors import FormatError, LimitError, UnsafeError, UnsupportedError
from tapegrad.nn.formats.common.network import Network, NetworkValue
from tapegrad.nn.formats.tensorflow.operators import CALLS, IMAGES, TABLE
from tapegrad.nn.formats.tensorflow.reading import Dead, GraphSession, NodeReading
from tapegrad.nn.formats.tensorflow.values import (
    CHANNELS_FIRST,
    Computed,
    Const,
    Dim,
    Unknown,
    same_order,
)

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["axes_form", "network_of_graph", "stated_shape"]

Reference = tuple[str, int]  # a node and the number of one of its outputs
# What nobody reads and is no output all the same.
_NO_OUTPUTS = {"Const", "NoOp", "Assert", "Placeholder", "PlaceholderWithDefault", "Shape"}
_MOST_EDGES = 2_000_000
NO_OUTPUT = "an output: a node that computes something of a Placeholder (name it in `outputs`)"
TRAINING = (
    "a float Placeholder of one axis or more; give {name!r} its value: constants={{{name!r}: …}}"
)


def _reference(text: str) -> Reference:
    """A node's name and the number of its output: "split:1"."""
    name, colon, number = text.rpartition(":")
    if colon and number.isdigit() and len(number) < 6:
        return name, int(number)
    return text, 0


def _quoted(name: str) -> str:
    return f"node {name[:80]!r}"


class _Graph:
    """The nodes by name, and the edges between them."""

    def __init__(self, graph: Record, file: str | None) -> None:
        self.file = file
        self.nodes: dict[str, Record] = {}
        self.reads: dict[str, list[Reference]] = {}
        edges = 0
        for node in graph.node:
            name = node.name
            if not name or name in self.nodes:
                raise self.error("a name for each node, and each once", repr(name[:80]))
            self.nodes[name] = node
            self.reads[name] = [_reference(i) for i in node.input if not i.startswith("^")]
            edges += len(node.input)
        if edges > _MOST_EDGES:
            raise LimitError(f"at most {_MOST_EDGES} edges", edges, file=file)
        self.functions = frozenset(f.signature.name for f in graph.library.function)

    def error(self, expected: str, found: Any = None, path: str | None = None) -> FormatError:
        return FormatError(expected, found, file=self.file, path=path)

    def refuse_unsafe(self) -> None:
        """Raise UnsafeError for any node that touches what is outside the graph."""
        for name, node in self.nodes.items():
            if node.op in TABLE.unsafe:
                TABLE.reader(node.op, _quoted(name), self.file)

    def leaves(self) -> list[Reference]:
        """What nobody reads."""
        read = {name for reads in self.reads.values() for name, _ in reads}
        return [
            (name, 0)
            for name, node in self.nodes.items()
            if name not in read and node.op not in _NO_OUTPUTS
        ]

    def needed(self, outputs: Iterable[Reference], stops: set[str]) -> dict[str, None]:
        """The nodes that the outputs need, going back as far as `stops`."""
        found: dict[str, None] = {}
        waiting = [(name, "an output") for name, _ in outputs]
        while waiting:
            name, reader = waiting.pop()
            if name in found:
                continue
            if name not in self.nodes:
                raise self.error(f"a node {name[:80]!r}, which {reader[:80]} reads", "none")
            found[name] = None
            if name not in stops:
                waiting += ((source, name) for source, _ in self.reads[name])
        return found

    def ordered(self, needed: dict[str, None], stops: set[str]) -> list[str]:
        """The needed nodes, each behind those that it reads, as far as possible as in the file."""
        waits: dict[str, int] = {}
        feeds: dict[str, list[str]] = {}
        for name in self.nodes:
            if name in needed:
                sources = set() if name in stops else {source for source, _ in self.reads[name]}
                waits[name] = len(sources)
                for source in sources:
                    feeds.setdefault(source, []).append(name)
        ready = deque(name for name, count in waits.items() if not count)
        order = []
        while ready:
            name = ready.popleft()
            order.append(name)
            for reader in feeds.get(name, ()):
                waits[reader] -= 1
                if not waits[reader]:
                    ready.append(reader)
        if len(order) < len(waits):
            left = [name[:40] for name, count in waits.items() if count][:5]
            expected = "a graph without cycles: loops are not read"
            raise UnsupportedError(expected, ", ".join(left), file=self.file)
        return order


def network_of_graph(
    graph: Record,
    session: GraphSession,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    shapes: Mapping[str, Sequence[int | None]],
    constants: Mapping[str, Any],
) -> Network:
    """The network of a GraphDef; arguments as in `loadTF`.

    Raises UnsafeError for a node that touches the outside, UnsupportedError for one that is not in
    the table, FormatError for everything else, with the node's name.
    """
    found = _Graph(graph, session.file)
    session.functions = found.functions
    if outputs is None:
        found.refuse_unsafe()
    ends = found.leaves() if outputs is None else [_reference(name) for name in outputs]
    cuts = [_reference(name) for name in inputs or ()]
    known = {_reference(name)[0]: np.asarray(value) for name, value in constants.items()}
    for name in (*(n for n, _ in cuts), *known):
        if name not in found.nodes:
            raise found.error(f"a node {name[:80]!r}, which is named as an input", "none")
    stops = {name for name, _ in cuts} | known.keys()
    needed = found.needed(ends, stops)
    order = found.ordered(needed, stops)
    forms = {axes_form(found.nodes[name]) for name in order if found.nodes[name].op in IMAGES}
    session.images = bool(forms) and "NCHW" not in forms
    counts = Counter(ref for name in order if name not in stops for ref in found.reads[name])
    counts.update(ends)
    entries = dict.fromkeys(
        n for n in order if found.nodes[n].op == "Placeholder" and n not in known
    )
    starts = cuts if inputs is not None else [(name, 0) for name in entries]
    values: dict[str, Any] = {name: [Const(array)] for name, array in known.items()}
    for name, k in starts:
        flow = _input(found, session, name, shapes)
        values.setdefault(name, {})[k] = replace(flow, sole=counts[name, k] <= 1)
    for name in order:
        if name not in values:
            values[name] = _read(found, session, name, values, counts)
    flows = [value for end in ends if isinstance(value := _value(found, values, end), Computed)]
    if not flows or (outputs is not None and len(flows) < len(ends)):
        raise found.error(NO_OUTPUT, "constants alone")
    if not session.ours:
        flows = [session.graph_order(flow, "an output") for flow in flows]
    flows = [_joined(session, flow) for flow in flows]
    used = {value.name for node in session.nodes for value in node.inputs}
    used |= {flow.value.name for flow in flows}
    names = [name for name, _ in starts if inputs is not None or name in used]
    needed_nodes = _needed_nodes(session, [flow.value for flow in flows])
    return Network(needed_nodes, tuple(dict.fromkeys(names)), tuple(f.value for f in flows))


def _needed_nodes(session: GraphSession, outputs: list[NetworkValue]) -> list[Any]:
    found: set[str] = set()
    waiting = [value.name for value in outputs]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            if name in session.by_name:
                waiting += [value.name for value in session.by_name[name].inputs]
    return [node for node in session.nodes if node.name in found]


def _joined(session: GraphSession, flow: Computed) -> Computed:
    """An output whose axes are joined in fact."""
    return session.graph_order(flow, "an output") if flow.folded is not None else flow


def axes_form(node: Record) -> str:
    """The order of a node's axes, as the file has it: "NHWC" where it says nothing."""
    value = node.attr.get("data_format")
    return "NHWC" if value is None else bytes(value.s).decode("utf-8", "replace")


def _input(
    found: _Graph,
    session: GraphSession,
    name: str,
    shapes: Mapping[str, Sequence[int | None]],
) -> Computed:
    node = found.nodes[name]
    shape = stated_shape(node) if name not in shapes else shapes[name]
    dims: tuple[Dim, ...] | None = None
    if shape is not None:
        if len(shape) > 32 or any(n is not None and not -1 <= n < 1 << 31 for n in shape):
            raise found.error("a shape", list(shape)[:5], _quoted(name))
        dims = tuple(Unknown() if n is None or n < 0 else int(n) for n in shape)
    kind = node.attr["dtype"].type if "dtype" in node.attr else 1
    if node.op == "Placeholder" and (kind not in (1, 2, 14, 19) or dims == ()):
        raise UnsupportedError(TRAINING.format(name=name[:80]), file=found.file, path=_quoted(name))
    order: tuple[int, ...] = () if dims is None else same_order(len(dims))
    if session.ours and session.images:
        if dims is None:
            dims = (Unknown(), Unknown(), Unknown(), Unknown())
        if len(dims) == 4:
            order = CHANNELS_FIRST
        elif not order:
            order = same_order(len(dims))
    session.names.add(name)
    return Computed(NetworkValue(name), dims, order)


def stated_shape(node: Record) -> Sequence[int] | None:
    """The lengths that a Placeholder states, -1 for a free one; None where it states none."""
    for attribute in ("shape", "_output_shapes"):
        value = node.attr.get(attribute)
        if value is None:
            continue
        shape = value.shape if attribute == "shape" else next(iter(value.list.shape), None)
        if shape is not None and not shape.unknown_rank and (shape.dim or attribute == "shape"):
            return [int(d.size) for d in shape.dim]
    return None


def _value(found: _Graph, values: dict[str, Any], reference: Reference) -> Any:
    name, k = reference
    made = values[name]
    if isinstance(made, Dead):
        return made
    if k not in (made if isinstance(made, dict) else range(len(made))):
        raise found.error(f"output {k}, which something reads", "none", _quoted(name))
    return made[k]


def _read(
    found: _Graph,
    session: GraphSession,
    name: str,
    values: dict[str, Any],
    counts: Counter[Reference],
) -> Any:
    node = found.nodes[name]
    path = f"{_quoted(name)} ({node.op[:40]})"
    if node.op in CALLS or node.op in found.functions:
        expected = CALLS.get(node.op, CALLS["PartitionedCall"])
        raise UnsupportedError(expected, node.op[:40], file=found.file, path=_quoted(name))
    ins = [_value(found, values, reference) for reference in found.reads[name]]
    entry = TABLE.reader(node.op, _quoted(name), found.file)
    assert entry.read is not None
    if any(isinstance(each, Dead) for each in ins) and entry.name != "Merge":
        return Dead()
    reading = NodeReading(session, node, ins)
    try:
        with np.errstate(all="ignore"):
            results = entry.read(reading)
    except (FormatError, UnsafeError):
        raise
    except (ValueError, TypeError, ArithmeticError, LookupError, MemoryError) as error:
        expected = f"inputs and attributes that {node.op[:40]} takes: {error!s:.200}"
        raise FormatError(expected, file=found.file, path=path) from error
    return [
        replace(value, sole=value.sole and counts[name, k] <= 1)
        if isinstance(value, Computed)
        else value
        for k, value in enumerate(results)
    ]
