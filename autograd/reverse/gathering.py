"""How the sweep applies a `Pending` cotangent: in place, where nothing else holds the array.

Whether something else does is found by the interpreter's count of references, as in `ownership.py`;
an interpreter without a reliable count costs copies, never a wrong value.
"""

from __future__ import annotations

import heapq
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.ops.indexing import write_into_array
from tapegrad.autograd.ops.pending import PartOf, Pending, RowsOf, WithoutEntries
from tapegrad.autograd.reverse.ownership import BY_COUNT, strategy

if TYPE_CHECKING:
    from tapegrad.autograd.core.node import Node

__all__ = ["form_cotangent", "gather", "gather_later"]


def form_cotangent(pending: Pending, node: Node) -> np.ndarray[Any, Any]:
    """The cotangent of `node` that `pending` stands for, an array that nothing else holds."""
    if isinstance(pending, PartOf):
        whole = np.zeros(node.shape, dtype=node.dtype)
        _add_part(whole, pending)
        return whole
    if isinstance(pending, RowsOf):
        return pending.form()
    assert isinstance(pending, WithoutEntries)
    whole = _own(pending.held)
    write_into_array(np, whole, 0, pending.indices, pending.template, pending.path)
    return whole


def gather(pending: Pending, node: Node, held: list[Any]) -> Any:
    """The sum of `pending` and of the array in the list `held`, which is emptied."""
    if isinstance(pending, PartOf) and type(held[0]) is np.ndarray:
        whole = _own(held)
        _add_part(whole, pending)
        return whole
    whole = form_cotangent(pending, node)
    return held.pop() + whole


def gather_later(
    pending: Pending, node: Node, waiting: dict[int, tuple[Node, Any]], heap: list[int]
) -> None:
    """Add `pending` to what waits for `node` in a sweep."""
    entry = waiting.pop(node.serial, None)
    if entry is None:
        waiting[node.serial] = (node, form_cotangent(pending, node))
        heapq.heappush(heap, -node.serial)
        return
    held = [entry[1]]
    del entry
    waiting[node.serial] = (node, gather(pending, node, held))


def _add_part(whole: np.ndarray[Any, Any], pending: PartOf) -> None:
    part = pending.part
    if part.dtype.kind == "c" and whole.dtype.kind != "c":
        part = part.real
    whole[pending.index] += part


def _count(held: list[Any]) -> int:
    return sys.getrefcount(held[0])


def _own(held: list[Any]) -> np.ndarray[Any, Any]:
    """The array in the list `held`, or a copy of it if anything else holds it."""
    array = held[0]
    is_own = array.base is None and array.flags.writeable
    del array
    if is_own and strategy is BY_COUNT and _count(held) <= _ALONE:
        return held.pop()
    return np.array(held.pop())


_ALONE = _count([np.empty(1)]) if hasattr(sys, "getrefcount") else 0
