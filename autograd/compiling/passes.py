"""Passes over a program: functions program -> program that leave its results as they are.

They touch only entries that are *pure*: views, ufuncs, bodies that can be taken apart into such
(`tracing.py`), and products.  Any other body may raise, draw or look at something, and is left
alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.compiling.layouts import Ownership, slots_in
from tapegrad.autograd.compiling.standins import Untraceable
from tapegrad.autograd.compiling.tracing import trace_entry
from tapegrad.autograd.core.tree import map_leaves
from tapegrad.autograd.replay.plain import operand_value
from tapegrad.autograd.replay.recording import ProgramSlot

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.layouts import Layout
    from tapegrad.autograd.replay.program import Program
    from tapegrad.autograd.replay.recording import ProgramEntry

__all__ = ["fold_constants", "join_equal_entries", "ownership_of", "remove_unused"]

PRODUCTS = frozenset({"contract", "matmul"})  # of arrays whose shapes have been looked at
FOLDED_BYTES = 4096  # a larger constant would take memory for good, to save little time


def ownership_of(program: Program, layouts: list[Layout]) -> Ownership:
    """Whose memory the values of a program are."""
    outside = [*program.state, *(slot.number for slot in program.inputs)]
    return Ownership(layouts, program.entries, iter(outside), program.result)


def remove_unused(program: Program, layouts: list[Layout]) -> Program:
    """The program without pure entries whose results nobody reads."""
    needed = set(slots_in([program.result]))
    kept: list[ProgramEntry] = []
    for entry in reversed(program.entries):
        if _is_pure(entry, layouts) and needed.isdisjoint(slots_in(entry.results)):
            continue
        needed.update(slots_in(entry.operands))
        kept.append(entry)
    return program.replaced(kept[::-1])


def fold_constants(program: Program, layouts: list[Layout]) -> Program:
    """The program with the results of pure entries that read only constants as state."""
    ownership = ownership_of(program, layouts)
    constants = {
        n
        for n in program.constants
        if layouts[n].owner not in ownership.written | ownership.leaving
    }
    state = dict(program.state)
    kept = []
    for entry in program.entries:
        reads = set(slots_in(entry.operands))
        results = list(slots_in(entry.results))
        if (
            len(results) == 1
            and reads <= constants
            and _computes(entry, layouts)
            and ownership.is_plain(results[0])
            and layouts[results[0]].nbytes <= FOLDED_BYTES
        ):
            operands = [operand_value(part, state) for part in entry.operands]
            value = entry.primitive.body_for(entry.xp)(entry.xp, *operands, **entry.settings)
            state[results[0]] = entry.xp.asarray(value)
            constants.add(results[0])
        else:
            kept.append(entry)
    return program.replaced(kept, state)


def join_equal_entries(program: Program, layouts: list[Layout]) -> Program:
    """The program with one entry in place of several pure ones that compute the same."""
    ownership = ownership_of(program, layouts)
    produced = Counter(slot for e in program.entries for slot in slots_in(e.results))
    sharing = Counter(layout.owner for layout in layouts)
    instead: dict[int, int] = {}
    known: dict[Any, int] = {}
    kept = []
    for entry in program.entries:
        entry = replace(entry, operands=_renamed(entry.operands, instead))
        results = list(slots_in(entry.results))
        alone = (
            len(results) == 1 and produced[results[0]] == sharing[layouts[results[0]].owner] == 1
        )
        # Not what has views: these would then lie in the memory of the first entry's result.
        if alone and _may_join(entry, layouts, ownership):
            key = (entry.primitive.name, id(entry.primitive), repr(entry.operands),
                   repr(entry.settings))  # fmt: skip
            first = known.setdefault(key, results[0])
            if first != results[0]:
                instead[results[0]] = first
                continue
        kept.append(entry)
    return program.replaced(kept)


def _may_join(entry: ProgramEntry, layouts: list[Layout], ownership: Ownership) -> bool:
    """Whether an entry gives the same wherever it stands, and nobody sees which array it gave."""
    if not _computes(entry, layouts) or not ownership.is_plain(next(slots_in(entry.results))):
        return False
    return all(layouts[n].owner not in ownership.written for n in slots_in(entry.operands))


def _is_pure(entry: ProgramEntry, layouts: list[Layout]) -> bool:
    primitive = entry.primitive
    is_view = bool(primitive.view) and not (primitive.several or primitive.aux)
    return is_view or _computes(entry, layouts)


def _computes(entry: ProgramEntry, layouts: list[Layout]) -> bool:
    """Whether an entry is arithmetic and nothing else."""
    function, body = entry.primitive.inline, entry.primitive.body
    if entry.primitive.name in PRODUCTS and body.__module__.startswith("tapegrad."):
        return True
    if function is not None:
        return function.signature is None
    try:
        trace_entry(entry, layouts)
    except Untraceable:
        return False
    return True


def _renamed(operands: tuple[Any, ...], instead: dict[int, int]) -> tuple[Any, ...]:
    def rename(part: Any) -> Any:
        if isinstance(part, ProgramSlot):
            return ProgramSlot(instead.get(part.number, part.number))
        return part

    return tuple(map_leaves(rename, list(operands)))
