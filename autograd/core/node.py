"""Nodes of the tape, and the counter that orders everything that happens.

A node is one recorded call.  It hangs on the Tensor it produced and points to the nodes of its
tracked operands, never to Tensors, and never forward: there are no reference cycles, and dropping
a result frees its past.  Serial numbers come from one counter, so sorting by them is a topological
order and a loop can replace recursion.  In-place writes take numbers from the same counter: a node
older than the last write to an array it saved can tell that its saved value is gone.

Slots, and no constructor on the hot path: creating nodes is a third of the cost of recording.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any, Protocol

__all__ = [
    "LEAF",
    "Leaf",
    "Node",
    "Plan",
    "last_write",
    "next_serial",
    "note_write",
    "owner_of",
    "parents_of",
    "record_call",
    "set_write",
    "write_of",
    "write_serial",
    "written_after",
]

next_serial = itertools.count().__next__

# Leaves are older than every call: one comparison in the sweep bounds it and tells them apart.
LEAF = -1


class Plan(Protocol):
    """How a recorded call is reversed: what the sweep, the tape and anomaly mode ask of it.

    Its ``repr`` names the call.  Each maker of nodes derives a class from this one: calls of
    primitives, checkpoints, modules whose gradient is written by hand.

    primitive: the primitive that was called, None where the call is of something else
    mask:      which arguments of the primitive were tracked; for a list, a tuple of that
    names:     what the saved values are called in the rules, in order; "y" is the result
    sources:   where each saved value came from, for sweeps that are recorded themselves: its place
               among the parents, None for an untracked operand, a list of these; "y" for the
               result, "" for what is no Tensor's value
    pull:      (g, *saved) -> the cotangent of the one parent, or a tuple of those of several
    """

    __slots__ = ()

    primitive: Any
    mask: tuple[Any, ...]
    names: tuple[str, ...]
    sources: tuple[Any, ...]
    pull: Callable[..., Any]

    def restricted(self, wanted: tuple[int, ...]) -> tuple[Callable[..., Any], tuple[int, ...]]:
        """The pull for the parents at the places `wanted` only, and which saved values it takes."""


class Node:
    """One recorded call: serial number, plan (primitive and which operands are tracked), parents,
    saved values, and the shape and dtype that its cotangent must have.

    `parents` is the parent node itself when one operand is tracked, else a tuple of nodes.
    """

    __slots__ = ("__weakref__", "dtype", "parents", "plan", "saved", "serial", "shape")

    serial: int
    plan: Any  # a Plan; None for a leaf
    parents: Any
    saved: tuple[Any, ...]
    shape: Any
    dtype: Any

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.serial}: {self.plan} -> {self.shape}>"


class Leaf(Node):
    """The node of a Parameter: it has no past, and the gradient that arrives is kept in `grad`."""

    __slots__ = ("grad",)

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.serial = LEAF
        self.plan = None
        self.parents = ()
        self.saved = ()
        self.shape = shape
        self.dtype = dtype
        self.grad: Any = None


def record_call(
    plan: Plan, parents: tuple[Node, ...], saved: tuple[Any, ...], results: Any
) -> Node:
    """The node of a call that was just made.

    results: the array that it returned, or a list of several; whoever makes these into Tensors
             gives each a node of its own (`call.item_node`)
    The source that `specialize.py` generates has these lines written out, which is faster.
    """
    node = _new(Node)
    node.serial = next_serial()
    node.plan = plan
    node.parents = parents[0] if len(parents) == 1 else parents
    node.saved = saved
    if type(results) is list:
        node.shape = node.dtype = None
    else:
        node.shape, node.dtype = results.shape, results.dtype
    return node


_new = object.__new__


def parents_of(node: Node) -> tuple[Node, ...]:
    """The parents of a node as a tuple, also where it has one."""
    parents = node.parents
    return parents if type(parents) is tuple else (parents,)


# In-place writes -------------------------------------------------------------------------------
#
# id of the array that owns the memory -> (serial of the last write, weak reference to the owner).
# The reference's callback removes the entry, so that a reused id is never mistaken.

_writes: dict[int, tuple[int, Any]] = {}
last_write = [LEAF]  # a one-element list: the sweep reads it without a function call


def owner_of(array: Any) -> Any:
    """The array that owns the memory of `array`: itself, or the end of its chain of bases."""
    while (base := getattr(array, "base", None)) is not None and hasattr(base, "dtype"):
        array = base
    return array


def note_write(array: Any) -> None:
    """Say that the memory of `array` has just been written in place."""
    owner = owner_of(array)
    key = id(owner)
    serial = next_serial()
    last_write[0] = serial
    known = _writes.get(key)
    if known is not None:
        reference = known[1]
    else:

        def forget(_: Any) -> None:
            _writes.pop(key, None)

        reference = weakref.ref(owner, forget)
    _writes[key] = (serial, reference)


def write_serial(array: Any) -> int:
    """The number of the last write to the memory of `array`, LEAF if there was none."""
    known = write_of(array)
    return LEAF if known is None else known[0]


def written_after(array: Any, serial: int) -> bool:
    """Has the memory of `array` been written in place after the call number `serial`?"""
    return write_serial(array) > serial


def write_of(array: Any) -> tuple[int, Any] | None:
    """What is known of the last write to the memory of `array`: its serial number comes first."""
    return _writes.get(id(owner_of(array)))


def set_write(array: Any, write: tuple[int, Any] | None) -> None:
    """Let `write`, which `write_of` gave, be the last one: its entries are what they were then."""
    if write is None:
        _writes.pop(id(owner_of(array)), None)
    else:
        _writes[id(owner_of(array))] = write
