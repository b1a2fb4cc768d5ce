"""What a stateful call leaves: a trace, with a span for each module that was called inside it.

A span holds the nodes at a module's inputs, which mark where on the tape the module begins.  The
trace also logs how to undo what the call changes, until the call has succeeded.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tapegrad.nn.core.part import Part

if TYPE_CHECKING:
    from tapegrad.autograd.core.node import Node

__all__ = ["Span", "Trace"]


@dataclass
class Span:
    """One call of a module inside a trace."""

    reference: Any  # weak: the module keeps the trace, so a strong one would be a cycle
    nodes: list[Node | None]  # the identity node of each input leaf, None where nothing is tracked
    inputs: Any
    output: Any
    first: int  # the position among the trace's spans of the first one inside this one

    def keep(self, name: str, value: Any, *, tracked: bool = False) -> None:
        """Store a result on the module, if the module still exists."""
        module = self.reference()
        if module is not None:
            Part.keep(module, name, value, tracked=tracked)  # also where an attribute hides keep


@dataclass
class Trace:
    """One stateful call: the serial of its first node, its spans, and how to undo its changes."""

    first: int
    spans: list[Span] = field(default_factory=list)
    undo: dict[Hashable, Callable[[], None]] = field(default_factory=dict)

    @property
    def root(self) -> Span:
        """The span of the module whose `forward` was called, which finishes last."""
        return self.spans[-1]

    def restore(self) -> None:
        """Undo everything that changed since the trace was opened."""
        for action in reversed(list(self.undo.values())):
            action()
        self.undo.clear()
