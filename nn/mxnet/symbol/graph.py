"""SymbolNode: a variable or the call of an operator; and the order in which a graph's nodes run.

A graph has no object of its own: it is what can be reached from some outputs.  An output is a pair
(node, index).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tapegrad.nn.mxnet.attributes import Attributes, input_of

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.declaration import Operator

__all__ = ["SymbolNode", "Output", "in_order", "output_name", "states_of", "takes_head_gradient"]


@dataclass(eq=False)
class SymbolNode:
    """A variable (`op` is None) or the call of an operator, with its attributes as texts."""

    op: Operator | None
    name: str
    attrs: dict[str, str] = field(default_factory=dict)
    inputs: list[tuple[SymbolNode, int]] = field(default_factory=list)

    @cached_property
    def read(self) -> Attributes:
        """The attributes, read.  A variable's are for others: it has none of its own."""
        if self.op is None:
            return Attributes(self.name, {}, {})
        return self.op.read(self.attrs, self.name)

    @property
    def input_names(self) -> list[str]:
        """The names that the operator gives its inputs; arg0, arg1, … where any number may come."""
        if self.op is None:
            return []
        if self.op.variadic:
            return [f"arg{i}" for i in range(len(self.inputs))]
        return self.op.input_names(self.read)

    @property
    def output_names(self) -> list[str]:
        """The full names of the visible outputs, as "fc1_output"; of a variable its own name."""
        if self.op is None:
            return [self.name]
        return [f"{self.name}_{suffix}" for suffix in self.op.output_names(self.read)]

    def pass_on(self, key: str, value: str) -> None:
        """Give an attribute that is meant for an input, as weight_lr_mult, to that variable."""
        meant = input_of(key)
        if meant is None or meant[0] not in self.input_names:
            return
        variable = self.inputs[self.input_names.index(meant[0])][0]
        if variable.op is None:
            variable.attrs.setdefault(meant[1], value)

    @property
    def count(self) -> int:
        """The number of outputs, hidden ones included, as symbol.json counts them."""
        if self.op is None:
            return 1
        return len(self.op.output_names(self.read)) + self.op.hidden(self.read)


Output = tuple[SymbolNode, int]


def output_name(output: Output) -> str:
    """The name of an output; of a hidden one its node's with a number."""
    node, index = output
    names = node.output_names
    return names[index] if index < len(names) else f"{node.name}_hidden{index}"


def in_order(heads: Iterable[Output]) -> list[SymbolNode]:
    """All nodes below the heads, each behind its inputs: depth first, inputs from left to right."""
    found: list[SymbolNode] = []
    seen: set[int] = set()
    for head, _ in heads:
        waiting: list[tuple[SymbolNode, int]] = [(head, 0)]
        while waiting:
            node, at = waiting.pop()
            if id(node) in seen:
                continue
            if at < len(node.inputs):
                waiting.append((node, at + 1))
                child = node.inputs[at][0]
                if id(child) not in seen:
                    waiting.append((child, 0))
            else:
                seen.add(id(node))
                found.append(node)
    return found


def states_of(nodes: Iterable[SymbolNode]) -> set[int]:
    """The ids of the variables that are auxiliary states: their operators say so, not the file."""
    found = set()
    for node in nodes:
        if node.op is None or not (own := node.op.auxiliary(node.read)):
            continue
        for name, (child, _) in zip(node.input_names, node.inputs, strict=False):
            if name in own and child.op is None:
                found.add(id(child))
    return found


def takes_head_gradient(output: Output, wanted: Collection[str]) -> bool:
    """Whether a gradient that arrives at an output reaches one of the variables `wanted`.

    A loss has its own gradient, and BlockGrad, argmax and their like let none through.
    """
    seen: dict[int, bool] = {}
    for node in in_order([output]):
        if node.op is None:
            seen[id(node)] = node.name in wanted
            continue
        names = zip(node.input_names, node.inputs, strict=False)
        seen[id(node)] = not node.op.loss(node.read) and any(
            seen[id(child)] for name, (child, _) in names if name not in node.op.flat
        )
    return seen[id(output[0])]
