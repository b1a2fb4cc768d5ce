"""A node is one recorded call; the tape is all nodes, in the order of their serial numbers.

The Tensor that a call produced holds its node, and the node refers to the nodes of the tracked
operands, its parents.  It never refers to Tensors or to later nodes; so there are no reference
cycles, and to drop a result frees its past.  Serial numbers come from one counter, so they sort the
nodes topologically and a loop can replace recursion.  In-place writes take numbers from the same
counter: if the last write to a saved array is newer than the node, the saved value is gone.

Nodes have slots and no constructor, since making them is a third of the cost of recording.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tapegrad.autograd.core.pushing import Push

if TYPE_CHECKING:
    from tapegrad.devices import Array

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
    "writes_to",
    "was_written_after",
    "zeros_by_owner",
]

next_serial = itertools.count().__next__

# Leaves have a serial number below that of every call, so one comparison ends the sweep at them.
LEAF = -1


class Plan(Protocol):
    """A plan says how a recorded call is reversed; the sweep, the tape and anomaly mode read it.

    Its ``repr`` names the call.  Each maker of nodes derives a class from this one: calls of
    primitives, checkpoints, modules whose gradient is written by hand.

    primitive: the primitive that was called; None for a call of anything else
    mask:      for each argument of the primitive, whether it was tracked; a tuple for a list
    names:     the names of the saved values in the rules, in order; "y" is the result
    sources:   for each saved value where it came from, for sweeps that are recorded themselves:
               the index of a parent, None for an untracked operand, a list of these; "y" for the
               result, "" for a value that is no Tensor's
    pull:      (g, *saved) -> the cotangent of the one parent, or a tuple for several parents
    push:      (t, *saved) -> the tangent of the result, from that of the one parent or a tuple for
               several; None where `push_for` must be asked, False where it has not been yet
    """

    __slots__ = ()

    primitive: Any
    mask: tuple[Any, ...]
    names: tuple[str, ...]
    sources: tuple[Any, ...]
    pull: Callable[..., Any]
    push: Callable[..., Any] | bool | None = None

    def restrict(self, wanted: tuple[int, ...]) -> tuple[Callable[..., Any], tuple[int, ...]]:
        """The pull for the parents at the indices `wanted`, and the indices of its saved values."""

    def push_for(self, moved: tuple[int, ...]) -> Push:
        """How the tangents of the parents at the indices `moved` give that of the result."""
        return Push(None, (), moved)


class Node:
    """One recorded call.

    serial:  its number; calls were made in this order
    plan:    how the call is reversed; None for a leaf
    parents: the parent node itself if one operand is tracked, else a tuple of nodes
    saved:   the values that the rules take
    shape, dtype: of the result, which its cotangent must have; None for several results
    """

    __slots__ = ("__weakref__", "dtype", "parents", "plan", "saved", "serial", "shape")

    serial: int
    plan: Any
    parents: Any
    saved: tuple[Any, ...]
    shape: Any
    dtype: Any

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.serial}: {self.plan} -> {self.shape}>"


class Leaf(Node):
    """The node of a Parameter; it has no past, and `grad` keeps the gradient that arrives.

    adjust: what a gradient becomes before it is added to `grad`, None if it stays as it is; the
            function returns None where nothing is to be added
    """

    __slots__ = ("adjust", "grad")

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.serial = LEAF
        self.plan = None
        self.parents = ()
        self.saved = ()
        self.shape = shape
        self.dtype = dtype
        self.grad: Any = None
        self.adjust: Callable[[Any], Any] | None = None


def record_call(
    plan: Plan, parents: tuple[Node, ...], saved: tuple[Any, ...], results: Any
) -> Node:
    """Make the node of a call that has just run.

    results: the array that the call returned, or a list of several; the caller then gives each of
             several a node of its own (`call.item_node`)
    The source that `specialize.py` generates contains these lines itself, which is faster.
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


_new: Any = object.__new__


def parents_of(node: Node) -> tuple[Node, ...]:
    """The parents of a node, always as a tuple."""
    parents = node.parents
    return parents if type(parents) is tuple else (parents,)


# In-place writes -------------------------------------------------------------------------------
#
# The id of the array that owns the memory -> (serial of the last write, weak reference to the
# array). The reference's callback removes the entry, so that a reused id never finds it.

_writes: dict[int, tuple[int, Any]] = {}
zeros_by_owner: dict[int, Any] = {}  # id of an owner -> what is known of its zeros; see zeros.py
last_write = [LEAF]  # serial of the last write; a list, which the sweep reads without a call


def owner_of(array: Array) -> Array:
    """The array that owns the memory of `array`: the end of its chain of bases, or itself."""
    while (base := getattr(array, "base", None)) is not None and hasattr(base, "dtype"):
        array = base
    return array


def note_write(array: Array) -> None:
    """Record that the memory of `array` has just been written in place."""
    owner = owner_of(array)
    earlier = _writes.get(id(owner))
    _note(id(owner), _reference_to(owner) if earlier is None else earlier[1])


def writes_to(array: Array) -> Callable[[], None]:
    """A function that does what `note_write` does, of an array that its caller keeps alive."""
    owner = owner_of(array)
    return partial(_note, id(owner), _reference_to(owner))


def _reference_to(owner: Array) -> Any:
    key = id(owner)

    def forget(_: Any) -> None:
        _writes.pop(key, None)

    return weakref.ref(owner, forget)


def _note(key: int, reference: Any) -> None:
    last_write[0] = serial = next_serial()
    zeros = zeros_by_owner.get(key)
    if zeros is not None:
        zeros.writes += 1
    _writes[key] = (serial, reference)


def write_serial(array: Array) -> int:
    """The serial number of the last write to the memory of `array`; LEAF without a write."""
    write = write_of(array)
    return LEAF if write is None else write[0]


def was_written_after(array: Array, serial: int) -> bool:
    """True if the memory of `array` was written in place after the call number `serial`."""
    return write_serial(array) > serial


def write_of(array: Array) -> tuple[int, Any] | None:
    """The entry of the last write to the memory of `array`: its serial number, a reference."""
    return _writes.get(id(owner_of(array)))


def set_write(array: Array, write: tuple[int, Any] | None) -> None:
    """Restore an earlier result of `write_of`, when the entries are what they were then."""
    if write is None:
        _writes.pop(id(owner_of(array)), None)
    else:
        _writes[id(owner_of(array))] = write
