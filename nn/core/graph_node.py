"""GraphNode: a module in a graph that is still being described.

A module that is called on nodes computes nothing: it becomes a node whose parents are those.
`node` makes the others, which have no parents: the inputs of the graph.  The class stands apart
from `containers/graph.py` because `Module.__call__` asks for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from tapegrad.nn.core.part import Part

__all__ = ["GraphNode", "are_nodes", "node", "refuse_no_input"]

NO_INPUT = "{name} was called without an input: its forward code takes ({needs}).{graphs}"
GRAPH_INPUT = " To describe an input of a graph, write nn.node(module)"

TOO_DEEP = "{name} was called on {found}: a node's parents are nodes, or one list of nodes"

NOT_A_MODULE = "nn.node takes a module, such as nn.Identity(), not {found}"

NO_CRITERION = (
    "{name} is a criterion, which is no part of a graph: use nn.CriterionTable(criterion)"
)


class GraphNode:
    """A module in a graph, and the nodes from which it takes its input.

    ``nn.node(module)`` makes an input of the graph, which has no parents; ``module(node, …)`` makes
    the others.  Several parents are given to the module as one list.  (nngraph's Node.)
    """

    def __init__(
        self, module: Any, parents: Iterable[GraphNode] = (), *, selected: int | None = None
    ) -> None:
        self.module = module
        self.parents = tuple(parents)
        self.selected = selected
        self.name = ""
        self.description = ""

    def split(self, count: int) -> list[GraphNode]:
        """`count` nodes, one for each entry of the list that this node's module returns.

        Raises ValueError for a count below 1.
        """
        if count < 1:
            raise ValueError(f"GraphNode.split: count is {count}, it must be at least 1")
        return [GraphNode(None, (self,), selected=i) for i in range(count)]

    def annotate(self, *, name: str = "", description: str = "") -> GraphNode:
        """Set the words that a picture of the graph shows for this node; returns self."""
        self.name, self.description = name, description
        return self

    def __sub__(self, module: Any) -> Any:
        """``node - module``: the module called on this node, so that chains read from the left."""
        return module(self) if callable(module) else NotImplemented

    def __repr__(self) -> str:
        what = f"entry {self.selected}" if self.module is None else repr(self.module)
        return f"GraphNode({what}, {len(self.parents)} parents)"


def are_nodes(inputs: tuple[Any, ...]) -> bool:
    """Whether a module's arguments describe a graph: they are nodes, or a list with a node."""
    if not inputs:
        return False
    first = inputs[0]
    if isinstance(first, (list, tuple)):
        return any(isinstance(part, GraphNode) for part in first)
    return isinstance(first, GraphNode)


def node(module: Part, *parents: GraphNode | Sequence[GraphNode]) -> GraphNode:
    """A node of a graph: `module`, fed by `parents`, which are nodes or one list of nodes.

    Without parents it is an input of the graph: the module runs on the graph's own input.  With
    parents it is the same as ``module(*parents)``.
    Raises TypeError for what is no module, a criterion, and parents that are no nodes.

    >>> x = nn.node(nn.Identity())  # doctest: +SKIP
    >>> model = nn.gModule(x, nn.Tanh()(nn.Linear(3, 2)(x)))  # doctest: +SKIP
    """
    if not isinstance(module, Part):
        raise TypeError(NOT_A_MODULE.format(found=type(module).__name__))
    if not module._in_graphs:
        raise TypeError(NO_CRITERION.format(name=type(module).__name__))
    nodes: Sequence[Any] = parents
    if len(nodes) == 1 and isinstance(nodes[0], (list, tuple)):
        nodes = nodes[0]
    for parent in nodes:
        if not isinstance(parent, GraphNode):
            raise TypeError(
                TOO_DEEP.format(name=type(module).__name__, found=type(parent).__name__)
            )
    return GraphNode(module, nodes)


def refuse_no_input(module: Any) -> None:
    """Raise TypeError, for a call without an input, if the module's forward code needs one."""
    signature = inspect.signature(module.updateOutput)
    try:
        signature.bind()
    except TypeError:
        name = type(module).__name__
        needs = ", ".join(signature.parameters)
        graphs = GRAPH_INPUT if module._in_graphs else ""
        raise TypeError(NO_INPUT.format(name=name, needs=needs, graphs=graphs)) from None
