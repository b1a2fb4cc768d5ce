"""`group_entries` joins entries of a program into kernels, where their order allows it.

An entry may join a kernel if it fits into the kernel's space (`space.py`), and if nothing that must
run between the two stands outside of the kernel.  Which entry must come before which, follows from
slots, from writes into memory that others read, and from the order of calls that may raise.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tapegrad.autograd.compiling.layouts import Layout, Ownership, overwritten, slots_in
from tapegrad.autograd.compiling.recomputing import recompute
from tapegrad.autograd.compiling.space import Space, Unplaceable
from tapegrad.autograd.compiling.standins import ScalarCall, Untraceable, Value
from tapegrad.autograd.compiling.tracing import Traced, trace_entry

if TYPE_CHECKING:
    from tapegrad.autograd.replay.program import Program
    from tapegrad.autograd.replay.recording import ProgramEntry

__all__ = ["EntryGroup", "group_entries"]

# Calls in one kernel.  Compiling takes longer than linear time, and a kernel of thousands of calls
# would keep nothing in registers.  120 is a multiple of many periods: the kernels of a step that
# repeats a pattern are then equal, and compiled once.
MOST_CALLS = 120
CANDIDATES = 8  # kernels that an entry tries to join, the newest first
MOST_OPEN = 32  # kernels that can still grow


@dataclass
class EntryGroup:
    """Entries that run together.

    space:  the loop of their kernel; None for one entry that runs by its own body
    reason: why that entry is not in a kernel
    again:  how many of the entries, the first ones, make again what an earlier group has made
    """

    entries: list[ProgramEntry]
    first: int
    space: Space | None = None
    reason: str = ""
    before: set[int] = field(default_factory=set)  # groups that must run earlier
    again: int = 0


def group_entries(
    program: Program,
    layouts: list[Layout],
    ownership: Ownership,
    obstacle: Callable[[ScalarCall], str] | None,
    least: int = 0,
) -> list[EntryGroup]:
    """The entries of a program in groups, in an order in which they can run.

    obstacle: why a call cannot run in a kernel; None if there are no kernels, and each entry is a
              group by itself
    least:    the entries of the smallest array for which a kernel is worth while
    """
    builder = _Builder(layouts, ownership, obstacle, least)
    for index, entry in enumerate(program.entries):
        builder.add(index, entry)
    groups = builder.sorted_groups()
    if obstacle is not None and not least:
        recompute(groups, layouts, ownership, builder.see_through, MOST_CALLS)
    return groups


class _Builder:
    def __init__(
        self,
        layouts: list[Layout],
        ownership: Ownership,
        obstacle: Callable[[ScalarCall], str] | None,
        least: int,
    ) -> None:
        self._layouts = layouts
        self._ownership = ownership
        self._obstacle = obstacle
        self._least = least
        self._channels = not least  # blocks of rows have none
        self._groups: dict[int, EntryGroup] = {}
        self._of_entry: dict[int, int] = {}  # entry -> group
        self._made_by: dict[int, int] = {}  # slot -> entry
        self._last_write: dict[int, int] = {}  # owner -> entry
        self._reads: dict[int, list[int]] = {}  # owner -> entries since the last write
        self._last_opaque: int | None = None
        self._stretched: dict[int, int] = {}  # slot of a stretched view -> slot of its base
        self._open: list[int] = []  # kernels that can still grow, the newest last
        # Of the open kernels alone: which must run before a group, and which groups after one.
        self._before: dict[int, set[int]] = {}
        self._after: dict[int, set[int]] = {}

    def add(self, index: int, entry: ProgramEntry) -> None:
        """Put one entry into a group, a new one or one that is there."""
        reason = ""
        traced: Traced | None = None
        space: Space | None = None
        if self._obstacle is not None:
            try:
                found = trace_entry(entry, self._layouts, by_steps=self._channels)
                traced = self.see_through(found)
                space = self._space_of(traced, self._obstacle)
            except (Untraceable, Unplaceable) as why:
                traced, reason = None, str(why)
        needed = self._order(index, entry, traced)
        if traced is None or not self._join(index, entry, traced, needed):
            if space is not None and math.prod(space.shape) < self._least:
                # By its own body it reads stretched views themselves, not their bases.
                space, reason = None, "its arrays are small"
                makers = [s for s in slots_in(entry.operands) if s in self._made_by]
                needed |= {self._of_entry[self._made_by[s]] for s in makers}
            self._groups[index] = EntryGroup([entry], index, space, reason, needed)
            self._of_entry[index] = index
            self._put_after(self._open_before(needed), {index})
            if space is not None:
                self._open.append(index)
                self._after[index] = set()
                if len(self._open) > MOST_OPEN:
                    del self._after[self._open.pop(0)]
        if entry.primitive.name == "broadcast_to":
            for base in slots_in(entry.operands):
                root = self._stretched.get(base, base)
                if self._layouts[root].owner not in self._ownership.written:
                    self._stretched[entry.results[0].number] = root

    def _space_of(self, traced: Traced, obstacle: Callable[[ScalarCall], str]) -> Space:
        """The space of a kernel for one entry alone.  Raises Unplaceable."""
        values = [v for c in traced.calls for v in (*c.operands, c.result) if isinstance(v, Value)]
        shape = max((v.shape for v in values), key=lambda s: (math.prod(s), len(s)))
        space = Space(shape, obstacle, channels=self._channels)
        space.add(traced.calls, self._layouts)
        return space

    def see_through(self, traced: Traced) -> Traced:
        """The same calls on the bases of stretched views, whose numbers a kernel reads once."""

        def base(value: object) -> object:
            if isinstance(value, Value) and value.slot in self._stretched:
                return replace(value, slot=self._stretched[value.slot])
            return value

        calls: list[ScalarCall] = [
            replace(c, operands=tuple(base(v) for v in c.operands)) for c in traced.calls
        ]
        return Traced(tuple(calls), traced.result)

    # Order ----------------------------------------------------------------------------------------

    def _owner(self, slot: int) -> int:
        owner = self._layouts[slot].owner
        return -1 if owner in self._ownership.outside else owner

    def _order(self, index: int, entry: ProgramEntry, traced: Traced | None) -> set[int]:
        """The groups that must run before an entry; notes what the entry reads and writes."""
        if traced is None:
            reads = set(slots_in(entry.operands))
        else:
            reads = {
                v.slot
                for call in traced.calls
                for v in call.operands
                if isinstance(v, Value) and v.slot is not None
            }
        before = {self._made_by[slot] for slot in reads if slot in self._made_by}
        for owner in {self._owner(slot) for slot in reads}:
            if owner in self._last_write:
                before.add(self._last_write[owner])
            self._reads.setdefault(owner, []).append(index)
        for owner in {self._owner(s) for s in overwritten(entry)}:
            before.update(self._reads.get(owner, ()))
            if owner in self._last_write:
                before.add(self._last_write[owner])
            self._last_write[owner] = index
            self._reads[owner] = []
        if traced is None and not entry.primitive.view:
            if self._last_opaque is not None:  # calls that may raise keep their order
                before.add(self._last_opaque)
            self._last_opaque = index
        for slot in slots_in(entry.results):
            self._made_by.setdefault(slot, index)
        before.discard(index)
        return {self._of_entry[i] for i in before}

    def _open_before(self, groups: set[int]) -> set[int]:
        """The open kernels that must run before something that needs `groups`."""
        found = {g for g in groups if g in self._after}
        for group in groups:
            found |= self._before[group]
        return found & self._after.keys()

    def _put_after(self, kernels: set[int], groups: set[int]) -> None:
        """Note that open kernels must run before groups."""
        for group in groups:
            self._before.setdefault(group, set()).update(kernels)
        for kernel in kernels:
            self._after[kernel] |= groups

    # Joining --------------------------------------------------------------------------------------

    def _join(self, index: int, entry: ProgramEntry, traced: Traced, needed: set[int]) -> bool:
        candidates = [g for g in self._open if g in needed][::-1]
        candidates += [g for g in self._open[::-1] if g not in needed]
        for number in candidates[:CANDIDATES]:
            group = self._groups[number]
            assert group.space is not None
            if len(group.space.calls) + len(traced.calls) > MOST_CALLS:
                continue
            earlier = self._open_before(needed - {number})
            if number in earlier:  # it would need itself
                continue
            space = group.space.copy()
            try:
                space.add(traced.calls, self._layouts)
            except Unplaceable:
                continue
            group.space = space
            group.entries.append(entry)
            group.before |= needed - {number}
            self._of_entry[index] = number
            self._put_after(earlier, {number, *self._after[number]})
            return True
        return False

    def sorted_groups(self) -> list[EntryGroup]:
        """The groups, each after all that must run before it, and otherwise as recorded."""
        left = {number: len(g.before) for number, g in self._groups.items()}
        after: dict[int, list[int]] = {}
        for number, group in self._groups.items():
            for earlier in group.before:
                after.setdefault(earlier, []).append(number)
        ready = [number for number, count in left.items() if not count]
        heapq.heapify(ready)
        found = []
        while ready:
            number = heapq.heappop(ready)
            found.append(self._groups[number])
            for later in after.get(number, ()):
                left[later] -= 1
                if not left[later]:
                    heapq.heappush(ready, later)
        assert len(found) == len(self._groups), "the groups need each other"
        return found
