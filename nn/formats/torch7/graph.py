"""Translate nngraph's gModule, which a file holds as two graphs, to a list of steps and back.

The forward and the backward graph have the same nodes, with edges in opposite directions.  A node
and its twin share a table, the node's *data*: its module, and the data of its parents, the nodes
from which it takes its values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.nn.containers.graph import Step
from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError
from tapegrad.nn.formats.torch7.objects import Table, TorchObject
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.nn.formats.torch7.entry import Fields

__all__ = ["PARTS", "read_gmodule", "write_gmodule"]

PARTS = frozenset({"graph.Edge", "graph.Graph", "graph.Node", "nngraph.Node"})


# Reading --------------------------------------------------------------------------------------


def read_gmodule(fields: Fields, _version: int) -> Fields:
    """Make a step of each node, but not of nodes that only hand on the input or split a list.

    Raises FormatError for data that are no graph of nodes in an order in which they can run.
    """
    modules, count = fields.get("modules"), fields.get("nInputs")
    if not isinstance(modules, list) or not all(isinstance(m, Module) for m in modules):
        raise FormatError("a list of modules", type(modules).__name__)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise FormatError("a number called nInputs", f"{count!r:.60}")
    numbers = {id(module): i for i, module in enumerate(modules)}
    nodes = fields.get("forwardnodes")
    if not isinstance(nodes, list):
        raise FormatError("a list of nodes called forwardnodes", type(nodes).__name__)
    start, end = _data(fields.get("innode")), _data(fields.get("outnode"))
    # By the id of their data: nodes whose value is the input, or the list of all inputs; the number
    # of the input that is a node's value; the number of the step that computes a node's value.
    whole_input = {id(start)}
    input_numbers = {id(start): 0} if count == 1 else {}
    step_numbers: dict[int, int] = {}
    steps: list[Any] = []
    for data in map(_data, nodes):
        if data is start or data is end:
            continue
        parents = _parents(data)
        if not parents:
            raise FormatError("a node that takes a value", "one without any but the first")
        module, selected, first = data.get("module"), data.get("selectindex"), id(parents[0])
        if selected is not None and (not isinstance(selected, int) or selected < 1):
            raise FormatError("a place in a list, from 1", f"{selected!r:.60}")
        if module is None and len(parents) == 1:
            if first in whole_input and count > 1 and selected is not None:
                input_numbers[id(data)] = selected - 1
                continue
            if selected is None and first in whole_input:
                whole_input.add(id(data))
                if first in input_numbers:
                    input_numbers[id(data)] = input_numbers[first]
                continue
            splits = data.get("nSplitOutputs") is not None
            if selected is None and first in step_numbers and splits:
                step_numbers[id(data)] = step_numbers[first]
                continue
        if module is not None and id(module) not in numbers:
            raise FormatError("one of the modules in a node", type(module).__name__)
        number = input_numbers.get(first) if len(parents) == 1 else None
        earlier = () if number is not None else tuple(_step_of(p, step_numbers) for p in parents)
        words = data.get("annotations")
        words = words if isinstance(words, Table) else Table()
        step_numbers[id(data)] = len(steps)
        steps.append(
            Step(
                None if module is None else numbers[id(module)],
                earlier,
                number,
                None if selected is None else selected - 1,
                str(words.get("name", "")),
                str(words.get("description", "")),
            )
        )
    if any(step.input is not None and step.input >= count for step in steps):
        raise FormatError(f"{count} inputs", "one beyond them")
    outputs = tuple(_step_of(parent, step_numbers) for parent in _parents(end))
    if not outputs:
        raise FormatError("an output", "none")
    return {"modules": modules, "steps": steps, "nInputs": count, "outputs": outputs}


def _data(node: Any) -> Table:
    fields = node.fields if isinstance(node, TorchObject) else None
    data = fields.get("data") if isinstance(fields, Table) else None
    if not isinstance(data, Table):
        raise FormatError("a node of a graph", type(node).__name__)
    return data


def _parents(data: Table) -> list[Any]:
    """The data of the nodes whose values a node takes, in their order."""
    found = data.get("mapindex", [])
    if isinstance(found, list):
        return found
    if not isinstance(found, Table):
        raise FormatError("a table called mapindex", type(found).__name__)
    parents: list[Any] = []
    while len(parents) + 1 in found:
        parents.append(found[len(parents) + 1])
    return parents


def _step_of(data: Any, step_numbers: dict[int, int]) -> int:
    number = step_numbers.get(id(data))
    if number is None:
        raise FormatError("nodes in an order in which they can run", "another")
    return number


# Writing --------------------------------------------------------------------------------------


class _Graphs:
    """The forward and the backward graph while they grow; a node comes after its parents."""

    def __init__(self) -> None:
        self.forward: list[TorchObject] = []
        self.backward: list[TorchObject] = []
        self.edges: list[tuple[int, int]] = []

    def add(self, parents: list[int], **data: Any) -> int:
        number = len(self.forward)
        own = Table({"annotations": Table(), "input": Table(), **data})
        own["mapindex"], own["reverseMap"] = Table(), Table()
        own["forwardNodeId"] = number + 1
        for nodes in (self.forward, self.backward):
            plain = {"id": number + 1, "marked": False, "visited": False, "children": Table()}
            nodes.append(TorchObject("nngraph.Node", Table({**plain, "data": own})))
        for index, parent in enumerate(parents, 1):
            data_of_parent = self.forward[parent]["data"]
            own["mapindex"][index] = data_of_parent
            own["mapindex"][data_of_parent] = index
            data_of_parent["reverseMap"][self.backward[number]] = True
            _append(self.forward[parent]["children"], self.forward[number])
            _append(self.backward[number]["children"], self.backward[parent])
            self.edges.append((parent, number))
        return number

    def graph(self, nodes: list[TorchObject], *, reverse: bool) -> TorchObject:
        listed, edges = Table(), Table()
        for node in nodes:
            _append(listed, node)
        for ends in self.edges:
            start, end = reversed(ends) if reverse else ends
            between = Table({"from": nodes[start], "to": nodes[end]})
            _append(edges, TorchObject("graph.Edge", between))
        return TorchObject("graph.Graph", Table({"nodes": listed, "edges": edges}))


def _append(table: Table, item: Any) -> None:
    """Add an item under the next number, and its number under the item."""
    if item not in table:
        number = len(table) // 2 + 1
        table[number], table[item] = item, number


def write_gmodule(module: Any, fields: Fields) -> Fields:
    """Write both graphs; a node with nSplitOutputs splits the list of inputs, or a step's list.

    Raises UnsupportedError for a graph in which gradients stop.
    """
    if module.stopped:
        raise UnsupportedError("a graph without stopGradient", f"steps {module.stopped}")
    graphs = _Graphs()
    start = graphs.add([])
    input_nodes = [start]
    if module.nInputs > 1:
        split = graphs.add([start], nSplitOutputs=module.nInputs)
        input_nodes = [graphs.add([split], selectindex=i + 1) for i in range(module.nInputs)]
    lengths: dict[int, int] = {}
    for step in module.steps:
        if step.selected is not None:
            parent = step.parents[0]
            lengths[parent] = max(lengths.get(parent, 0), step.selected + 1)
    nodes_of_steps: list[int] = []
    splits: dict[int, int] = {}
    for step in module.steps:
        parents = [nodes_of_steps[parent] for parent in step.parents]
        if step.input is not None:
            parents = [input_nodes[step.input]]
        data: Fields = {}
        if step.module is not None:
            data["module"] = module.modules[step.module]
        if step.selected is not None:
            data["selectindex"] = step.selected + 1
            parent = step.parents[0]
            if parent not in splits:
                splits[parent] = graphs.add(parents, nSplitOutputs=lengths[parent])
            parents = [splits[parent]]
        words = {"name": step.name, "description": step.description}
        data["annotations"] = Table({key: text for key, text in words.items() if text})
        nodes_of_steps.append(graphs.add(parents, **data))
    graphs.add([nodes_of_steps[step] for step in module.outputs])
    others = {
        k: v for k, v in fields.items() if k not in {"steps", "nInputs", "outputs", "stopped"}
    }
    return others | {
        "fg": graphs.graph(graphs.forward, reverse=False),
        "bg": graphs.graph(graphs.backward, reverse=True),
        "forwardnodes": list(graphs.forward),
        "backwardnodes": list(reversed(graphs.backward)),
        "innode": graphs.forward[0],
        "outnode": graphs.backward[-1],
        "nInputs": module.nInputs,
        "verbose": False,
    }
