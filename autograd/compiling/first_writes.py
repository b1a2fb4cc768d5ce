"""`write_first_instead_of_zeroing` saves the pass over gradients that sets them to zero.

A step that zeroes a buffer and then adds to each of its pieces may as well write each piece's first
contribution.  It is written as 0 + x, which is not x where x is -0.0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.compiling.layouts import byte_bounds, may_overlap, slots_in
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.node import owner_of
from tapegrad.autograd.replay.recording import ProgramEntry, ProgramSlot

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.layouts import Layout
    from tapegrad.autograd.replay.program import Program
    from tapegrad.devices import Array, Namespace

__all__ = ["START", "write_first_instead_of_zeroing"]


def start_sum(xp: Namespace, target: Array, x: Array) -> None:
    """target[...] = 0 + x, in the dtype and with the bits of target = 0; target += x."""
    xp.add(xp.zeros((), dtype=target.dtype), x, out=target)


START = Primitive(start_sum, mutates="target")


@START.prepared
def _start_prepared(target: Array, x: Array) -> Callable[[], Array]:
    return partial(np.add, np.zeros((), target.dtype), x, target)


def write_first_instead_of_zeroing(program: Program, layouts: list[Layout]) -> Program:
    """The program with first contributions written, where a buffer was zeroed to add to it."""
    entries: list[ProgramEntry | None] = list(program.entries)
    zeroed = []
    for index, entry in enumerate(program.entries):
        first = _contributions(program, layouts, index, entry)
        if first:
            for at in first:
                entries[at] = _as_first(program.entries[at])
            entries[index] = None
            zeroed.append(owner_of(_zeroed(program, entry)))
    changed = program.replaced([e for e in entries if e is not None])
    changed.apart = (*program.apart, *zeroed)
    return changed


def _as_first(entry: ProgramEntry) -> ProgramEntry:
    return ProgramEntry(START, entry.operands, {}, (), entry.where, entry.xp)


def _contributions(
    program: Program, layouts: list[Layout], index: int, entry: ProgramEntry
) -> list[int]:
    """The entries that add to the pieces of a buffer that `entry` zeroes; none if unsure."""
    whole = _zeroed(program, entry)
    if whole is None or not whole.flags.c_contiguous or whole.dtype.kind != "f":
        return []
    owner = layouts[entry.operands[0].number].owner
    bounds = byte_bounds(whole)
    if bounds is None:
        return []
    start, stop = bounds
    found: list[int] = []
    pieces: list[tuple[int, int]] = []
    for at in range(index + 1, len(program.entries)):
        later = program.entries[at]
        touched = [n for n in slots_in(later.operands) if _meets(n, owner, whole, program, layouts)]
        if not touched:
            continue
        piece = program.state.get(touched[0])
        adds = later.primitive.name == "accumulate" and later.operands[0] == ProgramSlot(touched[0])
        if not adds or len(touched) != 1 or piece is None or not piece.flags.c_contiguous:
            return []
        low, high = byte_bounds(piece) or (-1, -1)
        if low < start or high > stop or any(low < b and a < high for a, b in pieces):
            return []
        found.append(at)
        pieces.append((low, high))
        if sum(b - a for a, b in pieces) == stop - start:
            return found
    return []


def _zeroed(program: Program, entry: ProgramEntry) -> Any:
    """The array of the state that a call sets to zero, if that is what it does."""
    if entry.primitive.name != "assign" or not isinstance(entry.operands[0], ProgramSlot):
        return None
    value = entry.operands[1]
    if type(value) not in (int, float) or value != 0 or str(value)[0] == "-":
        return None
    return program.state.get(entry.operands[0].number)


def _meets(slot: int, owner: int, whole: Array, program: Program, layouts: list[Layout]) -> bool:
    """Whether a value may lie in the memory of `whole`."""
    array: Any = program.state.get(slot)
    if array is not None:
        return may_overlap(array, whole)
    return layouts[slot].owner == owner  # an argument is kept apart from it when the step runs
