"""Pushing tangents: a loop over recorded calls, from the oldest to the newest.

The calls stand on the tape, as for a gradient; each of them on the way from the moved nodes to the
results gives the tangent of its result.  So views, writes and checkpoints are what they are for the
sweep, nested derivatives are told apart as there (an inner one stops at its own variables), and
further directions, the columns of a Jacobian, do not run the function again.  Where none of that
is needed, tangents travel while the function runs (`streaming.py`).

With ``taped=True`` the rules run on Tensors with their past, for derivatives around this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any

from tapegrad.autograd.core.node import Node, last_write
from tapegrad.autograd.forward.transposing import ResultsOfCall, transpose_call
from tapegrad.autograd.ops import elementwise
from tapegrad.autograd.ops import shape as shapes
from tapegrad.autograd.reverse.sweep import (
    check_saved,
    reaches_parameter,
    sweep_observer,
    wrap_saved,
)

__all__ = ["Course", "Moved", "fit_tangent", "push_call"]

_serial = attrgetter("serial")


class Moved(Node):
    """The node of a result that carries its tangent and has no past (`streaming.py`).

    run: the `Stream` to which the tangent belongs
    """

    __slots__ = ("run", "tangent")

    # the same for all, and older than every call
    serial = 0
    plan = elementwise.identity.primitive.plan((False,))
    parents = ()
    saved = ()

    tangent: Any
    run: Any


class Course:
    """The recorded calls from `sources` to `outputs`, over which tangents can be pushed repeatedly.

    outputs: the nodes of the results; None for a result without a past
    sources: the nodes that may be moved; older calls are not visited
    run:     where a `Stream` is given instead, the sources are the nodes that carry its tangents
    """

    def __init__(
        self, outputs: Sequence[Node | None], sources: Iterable[Node] = (), run: Any = None
    ) -> None:
        self.outputs = outputs
        self.sources: list[Any] = list(sources)
        floor = min(map(_serial, self.sources), default=None) if run is None else run.floor
        seen: set[Node] = set(self.sources)
        self._ends: list[Node] = []  # where paths end elsewhere than at a source
        calls: list[Node] = []
        stack = [node for node in outputs if node is not None]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if type(node) is Moved and node.run is run:
                self.sources.append(node)
                continue
            if floor is None or node.serial < floor:
                self._ends.append(node)
                continue
            calls.append(node)
            parents = node.parents
            if type(parents) is tuple:
                stack.extend(parents)
            else:
                stack.append(parents)
        calls.sort(key=_serial)
        self.calls = calls

    @cached_property
    def parameters_beyond(self) -> list[Node]:
        """The nodes older than the calls, no sources, that are a Parameter or have one behind."""
        return list(filter(reaches_parameter, self._ends))

    def push(self, tangents: Iterable[Any], *, taped: bool = False) -> list[Any]:
        """The tangent of each output; None for one that does not move.

        tangents: one for each source, of its shape and dtype; None for one that does not move
        taped:    the tangents are Tensors, and the rules run on Tensors
        Raises InPlaceError when a saved array has been written since it was saved.
        """
        moved: dict[Node, Any] = {}
        t: Any
        for node, t in zip(self.sources, tangents, strict=True):
            if t is not None:
                moved[node] = t if node not in moved else moved[node] + t
        newest_write = last_write[0]
        find = moved.get
        for node in self.calls:
            parents = node.parents
            if type(parents) is tuple:
                t = [find(parent) for parent in parents]
                for part in t:
                    if part is None:
                        t = push_call(node, t, taped)
                        break
                else:
                    push = node.plan.push
                    if taped or not push or node.serial < newest_write:
                        t = push_call(node, t, taped)
                    else:
                        t = push(t, *node.saved)
            else:
                t = find(parents)
                if t is None:
                    continue
                push = node.plan.push
                if taped or not push or node.serial < newest_write:
                    t = push_call(node, [t], taped)
                else:
                    t = push(t, *node.saved)
            if t is None:
                continue
            shape = node.shape
            if shape is not None and (t.shape != shape or t.dtype is not node.dtype):
                t = fit_tangent(t, node)
                if t is None:
                    continue
            moved[node] = t
        return [None if node is None else find(node) for node in self.outputs]


def push_call(node: Node, tangents: list[Any], taped: bool) -> Any:
    """The tangent of the result of a call, from those of its parents, with None for no change."""
    moved = tuple([i for i, t in enumerate(tangents) if t is not None])
    if not moved:
        return None
    observer = sweep_observer()
    if observer is not None:
        return observer.push(node, tangents, lambda: _run_rules(node, tangents, moved, taped))
    return _run_rules(node, tangents, moved, taped)


def _run_rules(node: Node, tangents: list[Any], moved: tuple[int, ...], taped: bool) -> Any:
    if node.serial < last_write[0]:
        check_saved(node)
    push = node.plan.push_for(moved)
    if node.plan.push is False and len(moved) == len(tangents):
        node.plan.push = None if push.the_rest or push.shaped else push.function
    if push.the_rest and node.shape is None:  # of several results each asks for its own tangent
        return ResultsOfCall(node, moved, [tangents[i] for i in moved], taped)
    total = None
    if push.function is not None:
        taken: Any = [tangents[i] for i in push.by_rule]
        saved = wrap_saved(node) if taped else node.saved
        if push.shaped:
            saved = (node.shape, *saved)
        total = push.function(taken if len(taken) > 1 else taken[0], *saved)
    if push.the_rest:
        rest = transpose_call(node, push.the_rest, [tangents[i] for i in push.the_rest], taped)
        total = rest if total is None else total if rest is None else total + rest
    return total


def fit_tangent(t: Any, node: Node) -> Any:
    """A tangent in the shape of its node, by broadcasting, and in the node's dtype.

    None for one result of several that does not move.  Of a real result it keeps the real part: a
    rule multiplies by a derivative, and the result moves by the real part of that product.
    """
    if t.shape is None:  # a `ResultOfCall`
        t = t.transposed(node)
        if t is None:
            return None
    if t.dtype != node.dtype:
        if t.dtype.kind == "c" and node.dtype.kind != "c":
            t = elementwise.real(t)
        t = elementwise.cast(t, dtype=node.dtype)
    return t if t.shape == node.shape else shapes.broadcast_to(t, node.shape)
