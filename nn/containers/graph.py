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

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from tapegrad.autograd import Tensor
from tapegrad.autograd.core.tree import map_leaves
from tapegrad.nn.containers.container import Container
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.graph_node import GraphNode, node
from tapegrad.nn.core.state import saved_record
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.transient import transient_state_of

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["Graph", "GraphNode", "Model", "gModule", "node"]

NOT_AN_INPUT = (
    "gModule: {node} has no parents, and is not among the inputs: list it there, or call its "
    "module on a node"
)
NOT_NEEDED = "Graph: no output needs the input {node}: leave it out, or add the output"
SAME_NAME = "Graph: two modules are called {name!r}: give them names of their own"
NO_STEP = "{name}: no module of the graph is called {wanted!r}; there are {known}"
SEVERAL_STEPS = "{name}.node: several steps are called {wanted!r}: give them names of their own"


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

    >>> from tapegrad import nn
    >>> x = nn.node(nn.Identity())
    >>> model = nn.gModule(x, nn.CAddTable()(x, nn.Linear(3, 3)(x)))
    >>> model(np.ones((2, 3), np.float32)).shape
    (2, 3)
    """

    drawn_as = "graph"

    keeps = ("steps", "nInputs", "outputs", "stopped")
    renamed: ClassVar[Mapping[str, str]] = {"inputs": "nInputs"}  # of files of version 1

    stopped: tuple[int, ...] = ()  # the steps at whose inputs gradients stop

    def __init__(
        self,
        inputs: GraphNode | Sequence[GraphNode],
        outputs: GraphNode | Sequence[GraphNode],
    ) -> None:
        inputs, outputs = _list_of_nodes(inputs, "inputs"), _list_of_nodes(outputs, "outputs")
        super().__init__()
        order = self._order(inputs, outputs)
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
        self.nInputs = len(inputs)
        self.outputs = tuple(step_of[each] for each in outputs)

    def updateOutput(self, x: Nest) -> Nest:
        entries = [x] if self.nInputs == 1 else x
        if not isinstance(entries, (list, tuple)) or len(entries) != self.nInputs:
            found = len(entries) if isinstance(entries, (list, tuple)) else "a single array"
            raise ShapeError(f"the graph has {self.nInputs} inputs, and was given {found}")
        values: list[Any] = []
        for step in self.steps:
            parents = [values[parent] for parent in step.parents]
            if step.input is not None:
                parents = [entries[step.input]]
            value = parents[0] if len(parents) == 1 else parents
            if self.stopped and len(values) in self.stopped:
                value = map_leaves(_detached, value)
            if step.selected is not None:
                value = _select_entry(value, step.selected)
            values.append(value if step.module is None else self.modules[step.module](value))
        results = [values[step_number] for step_number in self.outputs]
        return results[0] if len(results) == 1 else results

    def stopGradient(self, *names: str | Sequence[str]) -> Self:
        """Let no gradient pass to the inputs of the modules with these names; without names, let
        every gradient pass again.

        names: those of `setName`, or one list of them.  The modules' own parameters still learn.
        Files and copies keep it.  Returns self.
        Raises KeyError for a name that no module of the graph has, TypeError for what is no text;
        nothing is changed then.
        """
        if len(names) == 1 and isinstance(names[0], (list, tuple)):
            names = tuple(names[0])
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"{type(self).__name__}.stopGradient takes names of modules: {names!r}")
        self.stopped = tuple(number for name in names for number in self._steps_called(str(name)))
        return self

    def node(self, name: str) -> GraphNode:
        """The node that describes the step of the module with this name, or annotated with it.

        It is made anew, on the same modules, and so are the nodes before it, once for each graph:
        ``Graph(g.node("data"), g.node("conv1"))`` is the graph up to a layer.
        Raises KeyError for a name that no step has, ValueError for one that several have.
        """
        numbers = self._steps_called(name)
        if len(numbers) > 1:
            raise ValueError(SEVERAL_STEPS.format(name=type(self).__name__, wanted=name))
        return self._nodes()[numbers[0]]

    def _nodes(self) -> list[GraphNode]:
        """A node for each step, made once for the modules and steps of today."""
        state = transient_state_of(self)
        made_of = [*self.modules, *self.steps]
        known = state.nodes
        if known is None or list(map(id, known[0])) != list(map(id, made_of)):
            nodes: list[GraphNode] = []
            for step in self.steps:
                module = None if step.module is None else self.modules[step.module]
                parents = [nodes[parent] for parent in step.parents]
                new = GraphNode(module, parents, selected=step.selected)
                nodes.append(new.annotate(name=step.name, description=step.description))
            known = state.nodes = (made_of, nodes)
        found: list[GraphNode] = known[1]
        return found

    def _steps_called(self, name: str) -> list[int]:
        names = [
            {step.name} if step.module is None else {step.name, self.modules[step.module].getName()}
            for step in self.steps
        ]
        found = [number for number, called in enumerate(names) if name in called]
        if not found:
            known = ", ".join(sorted(filter(None, {each for called in names for each in called})))
            raise KeyError(NO_STEP.format(name=type(self).__name__, wanted=name, known=known))
        return found

    def _order(self, inputs: list[GraphNode], outputs: list[GraphNode]) -> list[GraphNode]:
        """Every node of the graph, in the order of the steps."""
        order = _forward_order(outputs)
        reached = set(order)
        return [*(each for each in inputs if each not in reached), *order]

    def describe(self, first: int) -> str:
        return torch7_name(self)


class Graph(gModule):
    """BigDL's Graph: a gModule whose layers lie in BigDL's order, with its checks.

    inputs, outputs: a node, or a list of nodes; `Input` makes inputs, ``module.inputs(node)`` the
    others.
    x: the input of the input node, or a list with one entry for each input node -> the value of the
    output node, or a list with the values of several.
    Parameters come in the order in which BigDL's files and flat arrays have them: the nodes by
    their distance from the outputs, the farthest first.
    Raises ValueError for an input that is not listed, for one that no output needs, and for two
    modules of one name; TypeError for anything but nodes, ShapeError for a wrong number of inputs.
    Source: BigDL's StaticGraph.
    """

    def _order(self, inputs: list[GraphNode], outputs: list[GraphNode]) -> list[GraphNode]:
        order = _order_by_distance(outputs)
        for each in inputs:
            if each not in set(order):
                raise ValueError(NOT_NEEDED.format(node=each))
        called: dict[str, Any] = {}
        for each in order:
            named = each.module is not None and each.module.hasName()
            name = each.module.getName() if named else ""
            if named and called.setdefault(name, each.module) is not each.module:
                raise ValueError(SAME_NAME.format(name=name))
        return order


Model = Graph


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _order_by_distance(outputs: Sequence[GraphNode]) -> list[GraphNode]:
    """Every node on which the outputs depend, those with the longest way to an output first.

    BigDL sorts from the outputs: it takes all nodes whose consumers have been taken, again and
    again, each time in the order in which a search from the outputs met them first.
    """
    consumers: dict[GraphNode, int] = dict.fromkeys(outputs, 0)
    pending, seen = list(dict.fromkeys(outputs)), set(outputs)
    while pending:
        current = pending.pop()
        for parent in current.parents:
            consumers[parent] = consumers.get(parent, 0) + 1
            if parent not in seen:
                seen.add(parent)
                pending.append(parent)
    order: list[GraphNode] = []
    while consumers:
        level = [each for each, count in consumers.items() if count == 0]
        order += level
        for each in level:
            for parent in each.parents:
                consumers[parent] -= 1
            del consumers[each]
    return order[::-1]


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
