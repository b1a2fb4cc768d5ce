"""The network between the files of layered formats and modules, both ways.

A Network is a list of named leaf layers with edges.  Its operators *are* layers of nn (Linear,
JoinTable, View, …), so that there is no second vocabulary: `network_of` takes the containers of a
module apart, `module_of` puts a module together, and a format has one entry for each of its
operators (`operators.py`), which reads it into layers and writes it out of them.

    module --network_of--> Network --writers of a format--> file
    file --readers of a format--> Network --module_of--> module

Layers are never copied and never changed: a module and its Network share parameters, and a layer
that is used in two places is two nodes with one layer.  Nothing here recurses into what a file
says: a reader makes nodes, in any order, and `module_of` sorts them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tapegrad.nn.containers.container import ConcatTable, Sequential
from tapegrad.nn.containers.graph import GraphNode, gModule, node
from tapegrad.nn.formats.common.errors import FormatError
from tapegrad.nn.layers.activation import Identity

if TYPE_CHECKING:
    from tapegrad.nn.module import Module

__all__ = ["ArrayType", "Network", "NetworkNode", "NetworkValue", "module_of"]


class NetworkValue(NamedTuple):
    """What a node returns: `NetworkValue("conv1")`; of a table that a layer returns, one entry:
    `NetworkValue("slice", 1)`.  `name` may also be that of an input of the network.
    """

    name: str
    entry: int | None = None

    def __str__(self) -> str:
        return self.name if self.entry is None else f"{self.name}[{self.entry}]"


class ArrayType(NamedTuple):
    """Shape, with the batch, and dtype (NumPy's name) of an array that flows in a network."""

    shape: tuple[int, ...]
    dtype: str


@dataclass
class NetworkNode:
    """A leaf layer in a network: a module without a graph inside.

    name:   unique in the network, its inputs included
    layer:  any Module that `module_of` may call; network_of gives leaves only
    inputs: what the layer reads, in order
    table:  whether the layer takes its inputs as a list, as CAddTable does; with two inputs or more
            it always does.  A table of one is a list of one
    place:  where in the module (or in the file) the layer is, for messages: "[2].[0]"
    """

    name: str
    layer: Module
    inputs: tuple[NetworkValue, ...]
    table: bool = False
    place: str = ""

    def __post_init__(self) -> None:
        self.inputs = tuple(self.inputs)
        self.table = self.table or len(self.inputs) > 1


@dataclass
class Network:
    """Named layers with edges, in an order in which they can run.

    inputs:  names, no two alike; the module takes one array, or a list of as many arrays
    outputs: what the module returns: one NetworkValue, or a list of several
    types:   shape and dtype of each value and each input, where an example was run; else empty
    """

    nodes: list[NetworkNode]
    inputs: tuple[str, ...]
    outputs: tuple[NetworkValue, ...]
    types: dict[NetworkValue, ArrayType] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inputs = tuple(self.inputs)
        self.outputs = tuple(self.outputs)

    def type_of(self, value: NetworkValue) -> ArrayType | None:
        """Shape and dtype of a value; None where no example was run."""
        return self.types.get(value)

    def readers_of(self) -> dict[NetworkValue, list[NetworkNode]]:
        """For each value, the nodes that read it, in their order."""
        found: dict[NetworkValue, list[NetworkNode]] = {}
        for each in self.nodes:
            for value in dict.fromkeys(each.inputs):
                found.setdefault(value, []).append(each)
        return found

    def by_name(self) -> dict[str, NetworkNode]:
        """The nodes by their names."""
        return {each.name: each for each in self.nodes}

    def sorted(self) -> list[NetworkNode]:
        """The nodes, each behind those that it reads; in their own order where that is possible.

        Raises FormatError for two nodes (or a node and an input) of one name, for a value that
        nothing gives, and for a cycle.
        """
        names = Counter([*self.inputs, *(each.name for each in self.nodes)])
        twice = next((name for name, count in names.items() if count > 1), None)
        if twice is not None:
            raise FormatError("a name for each layer and input", f"two called {twice!r}")
        waits: dict[str, int] = {}
        feeds: dict[str, list[int]] = {}
        for number, each in enumerate(self.nodes):
            sources = {value.name for value in each.inputs} - set(self.inputs)
            for source in sources:
                if source not in names:
                    raise FormatError(f"what {each.name} reads: {source}", "no layer of that name")
                feeds.setdefault(source, []).append(number)
            waits[each.name] = len(sources)
        for value in self.outputs:
            if value.name not in names:
                raise FormatError(f"the output {value}", "no layer of that name")
        ready = deque(i for i, each in enumerate(self.nodes) if not waits[each.name])
        if all(_comes_after(each, seen) for each, seen in _with_those_before(self)):
            return list(self.nodes)
        order: list[NetworkNode] = []
        while ready:
            each = self.nodes[ready.popleft()]
            order.append(each)
            for number in feeds.get(each.name, ()):
                reader = self.nodes[number].name
                waits[reader] -= 1
                if not waits[reader]:
                    ready.append(number)
        if len(order) < len(self.nodes):
            left = sorted(name for name, count in waits.items() if count)
            raise FormatError("layers without a cycle", f"a cycle through {', '.join(left[:5])}")
        return order


def _with_those_before(network: Network) -> Iterable[tuple[NetworkNode, set[str]]]:
    seen = set(network.inputs)
    for each in network.nodes:
        yield each, seen
        seen.add(each.name)


def _comes_after(each: NetworkNode, seen: set[str]) -> bool:
    return all(value.name in seen for value in each.inputs)


def module_of(network: Network) -> Module:
    """The module that a network describes: a Sequential of a chain, else a gModule.

    Layers without a name of their own get the node's (`setName`).  A gModule takes a list of arrays
    where the network has several inputs, and returns one where it has several outputs.
    Raises FormatError as `Network.sorted` does, and for a network without outputs.
    """
    nodes = network.sorted()
    if not network.outputs:
        raise FormatError("a network with an output", "none")
    for each in nodes:
        if not each.layer.hasName():
            each.layer.setName(each.name)
    if _is_chain(nodes, network):
        return Sequential(*(each.layer for each in nodes))
    made: dict[str, GraphNode] = {}
    for name in network.inputs:
        made[name] = node(Identity().setName(name))
    split: dict[NetworkValue, GraphNode] = {}

    def graph_node(value: NetworkValue) -> GraphNode:
        if value.entry is None:
            return made[value.name]
        if value not in split:
            split[value] = GraphNode(None, (made[value.name],), selected=value.entry)
        return split[value]

    for each in nodes:
        parents = [graph_node(value) for value in each.inputs]
        if each.table and len(parents) == 1:
            parents = [node(ConcatTable(Identity()), parents)]
        made[each.name] = node(each.layer, parents)
    return gModule(
        [made[name] for name in network.inputs], [graph_node(value) for value in network.outputs]
    )


def _is_chain(nodes: Sequence[NetworkNode], network: Network) -> bool:
    """Whether each node reads only what the one before it returns, and the output is the last's."""
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        return False
    last = NetworkValue(network.inputs[0])
    for each in nodes:
        if each.inputs != (last,) or each.table:
            return False
        last = NetworkValue(each.name)
    return network.outputs == (last,)


def unused_name(wanted: str, taken: set[str]) -> str:
    """`wanted`, or with a number behind it if that is taken; the result is taken from now on."""
    name, number = wanted, 0
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def type_of_array(array: Any) -> ArrayType:
    """Shape and dtype of an array or Tensor."""
    return ArrayType(tuple(int(n) for n in array.shape), str(array.dtype))
