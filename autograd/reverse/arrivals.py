"""A reverse sweep that hands each leaf's cotangent over as soon as nothing more can come.

`backward` adds to the gradients when the sweep has ended.  What sends gradients to other ranks
begins with the last layers while the sweep is still in the first ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.mode import is_followed, sweep_follower
from tapegrad.autograd.core.node import LEAF, Leaf, Node, parents_of
from tapegrad.autograd.core.tensor import as_array
from tapegrad.autograd.reverse.sweep import NOT_TRACKED, seed_for, sweep, unrecorded_sweep

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Operand

__all__ = ["backward_by_leaf"]

LATE = "a cotangent came to a leaf of which all uses were done"


class _Arrivals(dict[Node, Any]):
    """What a sweep collects; a leaf leaves it with the last of its cotangents."""

    def __init__(self, uses: dict[Node, int], receive: Callable[[Leaf, Any], None]) -> None:
        super().__init__()
        self._left, self._receive = uses, receive

    def __setitem__(self, node: Node, g: Any) -> None:
        left = self._left.get(node)
        if left is None:
            super().__setitem__(node, g)
            return
        if not left:
            raise RuntimeError(LATE)
        self._left[node] = left - 1
        if left > 1:
            super().__setitem__(node, g)
            return
        self.pop(node, None)
        self._receive(node, g)  # type: ignore[arg-type]  # counted are leaves


def backward_by_leaf(
    output: Tensor, receive: Callable[[Leaf, Any], None], gradient: Operand | None = None
) -> None:
    """Call `receive(leaf, cotangent)` once for each leaf behind `output`, while the sweep runs.

    receive:  a function of a `Leaf`, that of a Parameter, and an array of its shape and dtype
    gradient: array of the output's shape; 1 when omitted, if `output` has one entry
    No gradient changes.  Where an observer follows the sweep, all calls come at its end.
    Raises ValueError as `backward` does.
    """
    if output._node is None:
        raise ValueError(NOT_TRACKED)
    seeds = [(output._node, seed_for(output, gradient))]
    if sweep_follower[0] is not None or is_followed():
        collected = unrecorded_sweep(seeds)
    else:
        collected = _Arrivals(_uses_of_leaves(output._node), receive)
        sweep([(node, as_array(g)) for node, g in seeds], into=collected)
    for leaf, g in collected.items():
        if isinstance(leaf, Leaf):
            receive(leaf, as_array(g))


def _uses_of_leaves(output: Node) -> dict[Node, int]:
    """How many recorded arguments each leaf behind `output` is, over all calls."""
    uses: Counter[Node] = Counter()
    if output.serial == LEAF:
        uses[output] = 1
        return uses
    seen = {output}
    stack = [output]
    while stack:
        for parent in parents_of(stack.pop()):
            if parent.serial == LEAF:
                if isinstance(parent, Leaf):
                    uses[parent] += 1
            elif parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return uses
