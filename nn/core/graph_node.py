"""Node: the place of a module in a graph that is still being described.

A module called on nodes computes nothing: it becomes a node whose parents are those.  The class
stands apart from `containers/graph.py` because `Module.__call__` asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["Node", "are_nodes", "node_of"]

TOO_DEEP = "{name} was called on {found}: a node's parents are nodes, or one list of nodes"


class Node:
    """A module, and the nodes that it takes its input from; made by ``module(node, …)``.

    Without parents, ``module()``, it is an input of the graph.  Several parents are given to the
    module as one list.  (nngraph's Node.)
    """

    def __init__(
        self, module: Any, parents: Iterable[Node] = (), *, selected: int | None = None
    ) -> None:
        self.module = module
        self.parents = tuple(parents)
        self.selected = selected
        self.name = ""
        self.description = ""

    def split(self, count: int) -> list[Node]:
        """`count` nodes, one for each entry of the list that this node's module returns."""
        if count < 1:
            raise ValueError(f"Node.split: count is {count}, it must be at least 1")
        return [Node(None, (self,), selected=i) for i in range(count)]

    def annotate(self, *, name: str = "", description: str = "") -> Node:
        """Words for the picture of the graph; returns self."""
        self.name, self.description = name, description
        return self

    def __sub__(self, module: Any) -> Any:
        """``node - module``: the module called on this node, so that chains read from the left."""
        return module(self) if callable(module) else NotImplemented

    def __repr__(self) -> str:
        what = f"entry {self.selected}" if self.module is None else repr(self.module)
        return f"Node({what}, {len(self.parents)} parents)"


def are_nodes(inputs: tuple[Any, ...]) -> bool:
    """Whether a module's arguments describe a graph: nodes, a list with one, or nothing at all."""
    if not inputs:
        return True
    first = inputs[0]
    if isinstance(first, (list, tuple)):
        return any(isinstance(part, Node) for part in first)
    return isinstance(first, Node)


def node_of(module: Any, inputs: tuple[Any, ...]) -> Node:
    """The node of `module` called on `inputs`.  Raises TypeError for a mixture."""
    if len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
        inputs = tuple(inputs[0])
    for parent in inputs:
        if not isinstance(parent, Node):
            raise TypeError(
                TOO_DEEP.format(name=type(module).__name__, found=type(parent).__name__)
            )
    return Node(module, inputs)
