"""From the layers of a file to a Network: tops and bottoms become edges, the table gives nodes.

A top is a name that the next layer with that top takes over (layers that work in place); a blob
that no layer reads is an output, in the order in which the file makes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tapegrad.nn.formats.caffe.joining import joined
from tapegrad.nn.formats.caffe.reading import Flow, LayerText, Lengths, Reading, Session
from tapegrad.nn.formats.caffe.table import DATA, TABLE
from tapegrad.nn.formats.common.errors import FormatError, LimitError
from tapegrad.nn.formats.common.network import Network, NetworkNode, NetworkValue, unused_name

__all__ = ["network_of_layers"]

NO_OUTPUT = "a layer that gives something"
MOST_TOPS = 100_000  # edges of a file, all together


class _Blobs:
    """What flows while the layers are read in their order."""

    def __init__(self, session: Session, inputs: Iterable[tuple[str, Any]]) -> None:
        self.session = session
        self.flows: dict[str, Flow] = {}
        self.inputs: dict[str, str] = {}  # names of the network's inputs, by their tops
        self.optional: set[str] = set()  # tops of data layers: an input where something reads it
        self.unread: dict[str, None] = {}  # tops that nothing has read, in order
        self.kept: set[str] = set()  # tops that a layer reads, other than a loss as its labels
        self.edges = 0
        for name, shape in inputs:
            self.enter(name, shape)

    def enter(self, top: str, shape: Any, *, optional: bool = False) -> None:
        """An input of the network.

        Raises FormatError for the name of another, and for lengths below 1.
        """
        if top in self.flows:
            raise FormatError("one top of a name", repr(top[:60]), path="the inputs",
                              file=self.session.file)  # fmt: skip
        name = unused_name(top or "data", self.session.names)
        dims = [int(n) for n in shape or ()]
        if len(dims) > 32 or min(dims, default=1) < 1:
            raise FormatError("a shape of lengths from 1", dims[:8], path=f"the input {name}",
                              file=self.session.file)  # fmt: skip
        # a module takes batches of any size
        lengths: Lengths = (None, *dims[1:]) if dims else None
        self.flows[top] = Flow(NetworkValue(name), lengths)
        self.inputs[top] = name
        if optional:
            self.optional.add(top)
        else:
            self.unread[top] = None

    def bottoms(self, layer: LayerText) -> list[Flow]:
        self.edges += len(layer.bottoms) + len(layer.tops)
        if self.edges > MOST_TOPS:
            raise LimitError(f"at most {MOST_TOPS} bottoms and tops", path=layer.path,
                             file=self.session.file)  # fmt: skip
        found = []
        for number, name in enumerate(layer.bottoms or [self._first_input()]):
            if name not in self.flows:
                expected = "a bottom that an earlier layer has as top"
                raise FormatError(
                    expected, repr(name[:60]), path=layer.path, file=self.session.file
                )
            found.append(self.flows[name])
            self.unread.pop(name, None)
            if not number or not layer.kind.endswith("Loss"):
                self.kept.add(name)
        return found

    def _first_input(self) -> str:
        """What a layer without bottoms reads: BigDL writes no inputs."""
        if not self.inputs:
            self.enter("data", None, optional=True)
        return next(iter(self.inputs))

    def give(self, layer: LayerText, flows: list[Flow]) -> None:
        if len(layer.tops) != len(flows) and not (len(flows) == 1 and layer.tops):
            expected = f"{len(flows)} tops"
            raise FormatError(expected, len(layer.tops), path=layer.path, file=self.session.file)
        # a layer of BigDL has the same blob under a top for each reader
        for top in layer.tops:
            if top in self.flows and top not in layer.bottoms:
                expected = "a top of one layer, or of one that works in place"
                raise FormatError(expected, repr(top[:60]), path=layer.path, file=self.session.file)
        for top, flow in zip(layer.tops, flows if len(flows) > 1 else flows * len(layer.tops),
                             strict=True):  # fmt: skip
            self.flows[top] = flow
            self.unread.pop(top, None)
            self.unread[top] = None
            self.inputs.pop(top, None) if top not in layer.bottoms else None


def network_of_layers(
    layers: list[LayerText], inputs: Iterable[tuple[str, Any]], session: Session
) -> Network:
    """The network of a file's layers.

    Raises UnsupportedError for a layer that nn does not have, UnsafeError for one that runs code,
    FormatError for bottoms that nothing gives, each with the layer's name and place.
    """
    blobs = _Blobs(session, inputs)
    made_by: dict[str, str] = {}
    for layer in layers:
        if layer.kind in DATA:
            _enter_data(blobs, layer)
            continue
        entry = TABLE.reader(layer.kind, layer.path, session.file)
        assert entry.read is not None
        reading = Reading(session, layer, blobs.bottoms(layer))
        try:
            flows = entry.read(reading)
        except FormatError:
            raise
        except (ValueError, OverflowError, TypeError) as error:  # a constructor of nn refuses
            raise reading.error(f"numbers that nn.{layer.kind} takes: {error}") from None
        if layer.kind == "Silence":
            continue
        blobs.give(layer, flows)
        made_by.update(dict.fromkeys(layer.tops, layer.name))
    return _finished(blobs, session)


def _enter_data(blobs: _Blobs, layer: LayerText) -> None:
    shapes: list[Any] = []
    record = layer.record
    if layer.kind == "Input":
        shapes = [tuple(s.dim) for s in record.input_param.shape]
    elif layer.kind == "DummyData":
        p = record.dummy_data_param
        shapes = [tuple(s.dim) for s in p.shape]
        shapes = shapes or list(zip(p.num, p.channels, p.height, p.width, strict=False))
    elif layer.kind == "MemoryData":
        p = record.memory_data_param
        sides = (p.batch_size, p.channels, p.height, p.width)
        shapes = [sides] if min(sides) > 0 else []
    many = len(shapes) == len(layer.tops)
    for number, top in enumerate(layer.tops):
        first = number == 0 and layer.kind != "DummyData"
        shape = (
            shapes[number]
            if many
            else shapes[0]
            if shapes and (first or len(shapes) == 1)
            else None
        )
        blobs.enter(top, shape, optional=layer.kind != "Input")


def _finished(blobs: _Blobs, session: Session) -> Network:
    outputs = [blobs.flows[top].value for top in blobs.unread if top not in blobs.inputs]
    if not outputs and not session.nodes:  # a file of inputs
        outputs = [blobs.flows[top].value for top in blobs.unread]
    if not outputs:
        raise FormatError(NO_OUTPUT, "none", path="net", file=session.file)
    needed = _needed(session.nodes, outputs)
    nodes = [each for each in session.nodes if each.name in needed]
    read = {value.name for each in nodes for value in each.inputs}
    read |= {value.name for value in outputs}
    kept = blobs.kept - blobs.optional
    names = [name for top, name in blobs.inputs.items() if name in read or top in kept]
    network = Network(nodes, tuple(names), tuple(outputs))
    return joined(network, session)


def _needed(nodes: list[NetworkNode], outputs: list[NetworkValue]) -> set[str]:
    """The names of what the outputs depend on."""
    by_name = {each.name: each for each in nodes}
    found: set[str] = set()
    waiting = [value.name for value in outputs]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            if name in by_name:
                waiting += [value.name for value in by_name[name].inputs]
    return found
