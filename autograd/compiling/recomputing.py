"""`recompute` lets a kernel compute again what costs less than to read it from memory.

The reverse part of a step needs many values of its forward part.  A product of two numbers takes a
sixteenth of a cycle, a number from memory one or more; so a later kernel makes products and sums
again from what it reads anyway, and the earlier one need not store them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.compiling.layouts import slots_in
from tapegrad.autograd.compiling.space import Space, Unplaceable
from tapegrad.autograd.compiling.standins import Untraceable, Value
from tapegrad.autograd.compiling.tracing import trace_entry
from tapegrad.autograd.replay.recording import ProgramEntry, ProgramSlot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tapegrad.autograd.compiling.grouping import EntryGroup
    from tapegrad.autograd.compiling.layouts import Layout, Ownership
    from tapegrad.autograd.compiling.tracing import Traced

__all__ = ["recompute"]

LEAST = [1 << 18]  # bytes of an array that may have left the fastest caches
MOST_AGAIN = 6  # entries that one array is worth
CHEAP = frozenset({np.add, np.subtract, np.multiply, np.negative, np.square, np.absolute})


def recompute(
    groups: list[EntryGroup],
    layouts: list[Layout],
    ownership: Ownership,
    see_through: Callable[[Traced], Traced],
    most_calls: int,
) -> None:
    """Change groups so that kernels make cheap values again; what is made again has new slots.

    layouts:     gets those of the new slots
    see_through: as a group was made, the same calls on the bases of stretched views
    most_calls:  in one kernel
    """
    made: dict[int, ProgramEntry] = {}
    owners = count(max((layout.owner for layout in layouts), default=0) + 1)
    for group in groups:
        if group.space is None:
            continue
        wanted = _read_from_memory(group, made, layouts, ownership)
        changed = _changed(group, wanted, layouts, owners, see_through) if wanted else None
        if changed is not None and len(changed[1].calls) <= most_calls:
            group.again = len(wanted)
            group.entries, group.space = changed
        for entry in group.entries:
            if entry.primitive.inline in CHEAP and not entry.settings:
                [slot] = slots_in(entry.results)
                made[slot] = entry


def _read_from_memory(
    group: EntryGroup,
    made: dict[int, ProgramEntry],
    layouts: list[Layout],
    ownership: Ownership,
) -> list[ProgramEntry]:
    """The entries to make again in a group, in order; those in `made` are of earlier groups."""
    assert group.space is not None
    own = {slot for entry in group.entries for slot in slots_in(entry.results)}
    values = [v for call in group.space.calls for v in call.operands if isinstance(v, Value)]
    read = {v.slot for v in values if v.slot is not None} - own
    kept = {slot for slot in read if _stays(slot, layouts, ownership)}
    size = math.prod(group.space.shape)
    wanted: dict[int, ProgramEntry] = {}
    for slot in sorted(kept & made.keys(), reverse=True):  # the latest first: it may need others
        layout = layouts[slot]
        if layout.size != size or layout.nbytes < LEAST[0]:
            continue
        needed = _made_again(slot, kept - {slot}, made, layouts)
        if needed is not None:
            kept.discard(slot)
            wanted.update(needed)
    return [wanted[slot] for slot in sorted(wanted)]


def _stays(slot: int, layouts: list[Layout], ownership: Ownership) -> bool:
    """Whether nobody may write into the memory of a value."""
    owner = layouts[slot].owner
    return owner not in ownership.written and owner not in ownership.outside


def _made_again(
    slot: int, known: set[int], made: dict[int, ProgramEntry], layouts: list[Layout]
) -> dict[int, ProgramEntry] | None:
    """The entries that make a value from known ones; None if there is no cheap way."""
    needed: dict[int, ProgramEntry] = {}
    waiting = [slot]
    while waiting:
        number = waiting.pop()
        if number in known or number in needed:
            continue
        entry = made.get(number)
        same = (layouts[slot].shape, layouts[slot].dtype)
        if entry is None or (layouts[number].shape, layouts[number].dtype) != same:
            return None
        needed[number] = entry
        if len(needed) > MOST_AGAIN:
            return None
        waiting += slots_in(entry.operands)
    return needed


def _changed(
    group: EntryGroup,
    wanted: list[ProgramEntry],
    layouts: list[Layout],
    owners: Iterator[int],
    see_through: Callable[[Traced], Traced],
) -> tuple[list[ProgramEntry], Space] | None:
    """The entries of a group with some made again before them, and its space."""
    assert group.space is not None
    names: dict[int, int] = {}
    entries = []
    for entry in wanted:
        again = _renamed(entry, names)
        [slot] = slots_in(entry.results)
        names[slot] = len(layouts)
        layouts.append(replace(layouts[slot], owner=next(owners), owns=True))
        entries.append(replace(again, results=(ProgramSlot(names[slot]),)))
    entries += [_renamed(entry, names) for entry in group.entries]
    space = Space(group.space.shape, group.space.obstacle, channels=group.space.channels)
    try:
        for entry in entries:
            traced = see_through(trace_entry(entry, layouts, by_steps=space.channels))
            space.add(traced.calls, layouts)
    except (Untraceable, Unplaceable):
        return None
    return entries, space


def _renamed(entry: ProgramEntry, names: dict[int, int]) -> ProgramEntry:
    def renamed(part: Any) -> Any:
        if isinstance(part, ProgramSlot):
            return ProgramSlot(names.get(part.number, part.number))
        return [renamed(item) for item in part] if isinstance(part, list) else part

    return replace(entry, operands=tuple(map(renamed, entry.operands)))
