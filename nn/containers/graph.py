"""gModule: a module whose children form any graph without cycles.

A graph is described by calling modules on nodes::

    x = node(Identity())
    h = Tanh()(Linear(4, 3)(x))
    module = gModule([x], [Linear(3, 2)(h), h])

A gModule keeps a flat list of steps in the order in which they run, and no nodes, so that a graph
of any depth can be copied and pickled.  The order is nngraph's, depth first from the outputs and
parents before a node; it fixes the order of the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tapegrad.nn.containers.container import Container
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.graph_node import GraphNode, node
from tapegrad.nn.core.state import saved_record
from tapegrad.nn.core.text import torch7_name

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["GraphNode", "gModule", "node"]

NOT_AN_INPUT = (
    "gModule: {node} has no parents, and is not among the inputs: list it there, or call its "
    "module on a node"
)


@saved_record
class Step(NamedTuple):
    """One node of a finished graph, which names its module and its parents by their numbers."""

    module: int | None  # among `modules`; None where an entry of a list is selected
    parents: tuple[int, ...]  # among the steps
    input: int | None  # which input of the graph it takes
    selected: int | None  # which entry of its parent's value it is
    name: str
    description: str


class gModule(Container):  # noqa: N801  # nngraph's name
    """The outputs of a graph of modules, as functions of its inputs.

    inputs, outputs: a node, or a list of nodes.
    x: the input of the input node, or a list with one entry for each input node -> the value of the
    output node, or a list with the values of several.
    Raises ValueError for a graph with an input that is not listed, TypeError for anything but
    nodes, ShapeError for a wrong number of inputs, and for a list with too few entries to split.
    Source: nngraph's nn.gModule.
    """

    drawn_as = "graph"

    keeps = ("steps", "inputs", "outputs")

    def __init__(
        self,
        inputs: GraphNode | Sequence[GraphNode],
        outputs: GraphNode | Sequence[GraphNode],
    ) -> None:
        inputs, outputs = _list_of_nodes(inputs, "inputs"), _list_of_nodes(outputs, "outputs")
        super().__init__()
        order = _forward_order(outputs)
        unreached = [each for each in inputs if each not in set(order)]
        order = [*unreached, *order]
        step_of = {each: number for number, each in enumerate(order)}
        input_of = {each: number for number, each in enumerate(inputs)}
        self.steps: list[Step] = []
        for each in order:
            if not each.parents and each not in input_of:
                raise ValueError(NOT_AN_INPUT.format(node=each))
            child = None
            if each.module is not None:
                child = len(self.modules)
                self.modules.append(self._checked(each.module))
            parents = () if each in input_of else tuple(step_of[p] for p in each.parents)
            self.steps.append(
                Step(child, parents, input_of.get(each), each.selected, each.name, each.description)
            )
        self.inputs = len(inputs)
        self.outputs = tuple(step_of[each] for each in outputs)

    def updateOutput(self, x: Nest) -> Nest:
        entries = [x] if self.inputs == 1 else x
        if not isinstance(entries, (list, tuple)) or len(entries) != self.inputs:
            found = len(entries) if isinstance(entries, (list, tuple)) else "a single array"
            raise ShapeError(f"the graph has {self.inputs} inputs, and was given {found}")
        values: list[Any] = []
        for step in self.steps:
            parents = [values[parent] for parent in step.parents]
            if step.input is not None:
                parents = [entries[step.input]]
            value = parents[0] if len(parents) == 1 else parents
            if step.selected is not None:
                value = _select_entry(value, step.selected)
            values.append(value if step.module is None else self.modules[step.module](value))
        results = [values[step_number] for step_number in self.outputs]
        return results[0] if len(results) == 1 else results

    def describe(self, first: int) -> str:
        return torch7_name(self)


def _list_of_nodes(nodes_or_one: Any, what: str) -> list[GraphNode]:
    is_one = isinstance(nodes_or_one, GraphNode)
    nodes = [nodes_or_one] if is_one else nodes_or_one
    if not isinstance(nodes, Sequence) or not nodes:
        raise TypeError(f"gModule: {what} is a node or a list of nodes, not {nodes!r:.60}")
    for each in nodes:
        if not isinstance(each, GraphNode):
            raise TypeError(f"gModule: {what} holds {each!r:.60}, which is no node")
    return list(nodes)


def _forward_order(outputs: Sequence[GraphNode]) -> list[GraphNode]:
    """Every node on which the outputs depend, parents first; found without recursion."""
    order: list[GraphNode] = []
    seen: set[GraphNode] = set()
    for root in outputs:
        pending = [(root, False)]
        while pending:
            current, finished = pending.pop()
            if finished:
                order.append(current)
            elif current not in seen:
                seen.add(current)
                pending.append((current, True))
                pending.extend((parent, False) for parent in reversed(current.parents))
    return order


def _select_entry(value: Nest, index: int) -> Nest:
    if not isinstance(value, (list, tuple)) or index >= len(value):
        found = f"{len(value)} entries" if isinstance(value, (list, tuple)) else "one array"
        raise ShapeError(f"split: entry {index} is wanted of a value that has {found}")
    return value[index]
