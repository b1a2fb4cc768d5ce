"""The tangent of a call by the transpose of its vjp rule, for calls without a rule for tangents.

A vjp rule is linear in its cotangent: g ↦ Jᵀg.  So it is recorded as a function of g, at g = 0, and
a sweep back over that record turns the tangents of the arguments into that of the result:
t ↦ (Jᵀ)ᵀt = J·t.  Every rule serves that can itself be differentiated.  For what a rule calls, such
as `vjp` and `jacobian`, that is a derivative around it, in which its own result must be recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapegrad import devices
from tapegrad.autograd.core.mode import derivative_depth, enable_grad
from tapegrad.autograd.core.node import Node, parents_of, record_call
from tapegrad.autograd.core.tensor import Tensor, as_array, untracked
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.reverse.sweep import cotangents, fit_cotangent, wrap_saved

__all__ = ["ResultsOfCall", "transpose_call"]

_VARIABLE = e.identity.primitive.plan((False,))


class ResultsOfCall:
    """The tangents of a call with several results, each of which is found when it is asked for.

    moved:    the indices of the parents that have tangents
    tangents: these, in order
    """

    def __init__(
        self, node: Node, moved: tuple[int, ...], tangents: list[Any], taped: bool
    ) -> None:
        self.node = node
        self.moved = moved
        self.tangents = tangents
        self.taped = taped

    def __getitem__(self, index: int) -> ResultOfCall:
        return ResultOfCall(self, index)


class ResultOfCall:
    """The tangent of one result of several; its node says shape and dtype."""

    shape = dtype = None

    def __init__(self, results: ResultsOfCall, index: int) -> None:
        self.results = results
        self.index = index

    def transposed(self, item: Node) -> Any:
        """The tangent; None for a result that does not move.  item: the result's own node."""
        results = self.results
        _, count = item.saved
        return transpose_call(
            results.node,
            results.moved,
            results.tangents,
            results.taped,
            result=item,
            place=(self.index, count),
        )


def transpose_call(
    node: Node,
    moved: tuple[int, ...],
    tangents: Sequence[Any],
    taped: bool,
    *,
    result: Node | None = None,
    place: tuple[int, int] | None = None,
) -> Any:
    """The tangent of a call's result from those of the parents with the indices `moved`.

    result, place: for a call with several results, the node of the one that is asked for, its index
                   and their number
    None where the result does not depend on these parents.
    """
    result = result or node
    parents = parents_of(node)
    saved = wrap_saved(node) if taped else list(map(_constant, node.saved))
    pull = node.plan.pull
    if len(moved) < len(parents):
        pull, indices = node.plan.restrict(moved)
        saved = [saved[i] for i in indices]
    xp = devices.namespace(as_array(tangents[0]))
    zeros = untracked(xp.zeros(result.shape, dtype=result.dtype))
    with enable_grad():
        start = record_call(_VARIABLE, (), (), as_array(zeros))
        variable = zeros.with_node(start)
        g: Any = variable
        if place is not None:
            g = [variable if i == place[0] else None for i in range(place[1])]
        depth = derivative_depth.set(derivative_depth.get() + 1)
        try:
            found = pull(g, *saved)
        finally:
            derivative_depth.reset(depth)
        seeds = []
        for c, i, t in zip([found] if len(moved) == 1 else found, moved, tangents, strict=True):
            fitted = fit_cotangent(c, parents[i])
            if isinstance(fitted, Tensor) and fitted._node is not None:
                seeds.append((fitted._node, t))
    [total] = cotangents(seeds, [start], taped=taped)
    return total


def _constant(value: Any) -> Any:
    """A saved value as the rules take it on Tensors, without its past."""
    if isinstance(value, list):
        return list(map(_constant, value))
    return untracked(value) if devices.is_array(value) else value
