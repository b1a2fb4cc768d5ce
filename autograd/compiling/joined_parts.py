"""`join_parts` writes the cotangents of parts of an array into one array, instead of adding arrays.

Taking q, k and v out of one product, or the gates of a cell, gives cotangents that are zeros but
for a part.  Their sum is one array with each part added where it belongs; it has the same bits.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.compiling.layouts import overwritten, slots_in
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.replay.recording import ProgramEntry, ProgramSlot

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.layouts import Layout
    from tapegrad.autograd.replay.program import Program
    from tapegrad.devices import Array, Namespace

__all__ = ["join_parts"]


def sum_of_parts(
    xp: Namespace,
    *parts: Array,
    indices: tuple[tuple[Any, ...], ...],
    shape: tuple[int, ...],
    out: Array | None = None,
) -> Array:
    """Zeros of `shape` to which parts[i] is added at indices[i]."""
    y = xp.zeros(shape, dtype=parts[0].dtype) if out is None else out
    if out is not None:
        y.fill(0)
    for part, index in zip(parts, indices, strict=True):
        # a view of one entry too, which would be a number otherwise
        piece = y[index if Ellipsis in index else (*index, Ellipsis)]
        xp.add(piece, part, out=piece)
    return y


_SUM = Primitive(sum_of_parts, differentiable=False)


class _Parts:
    """A value that is zeros with parts: the slots of these, and where they belong."""

    def __init__(self, at: int, slots: list[ProgramSlot], indices: list[tuple[Any, ...]]) -> None:
        self.entries, self.slots, self.indices = [at], slots, indices


def join_parts(program: Program, layouts: list[Layout]) -> Program:
    """The program with one entry in place of such arrays and their sums."""
    reads = Counter(s for e in program.entries for s in slots_in(e.operands))
    reads.update(slots_in([program.result]))
    shared = Counter(layout.owner for layout in layouts)
    known: dict[int, _Parts] = {}
    sums: dict[int, _Parts] = {}  # by the result's slot

    def taken(part: Any) -> _Parts | None:
        """What is known of an operand that is read here and nowhere else."""
        if not isinstance(part, ProgramSlot) or reads[part.number] != 1:
            return None
        return known.get(part.number) if shared[layouts[part.number].owner] == 1 else None

    for at, entry in enumerate(program.entries):
        results = list(slots_in(entry.results))
        if len(results) != 1 or not (layouts[results[0]].owns and layouts[results[0]].contiguous):
            continue
        found = _unsliced(at, entry, layouts)
        if entry.primitive.name == "add" and len(entry.operands) == 2:
            two = [taken(part) for part in entry.operands]
            alike = all(_same_form(part, results[0], layouts) for part in entry.operands)
            if None not in two and alike:
                found = _joined(two, at)
            if found is not None:
                for part in entry.operands:
                    sums.pop(part.number, None)
                sums[results[0]] = found
        if found is not None:
            known[results[0]] = found
    entries: list[ProgramEntry | None] = list(program.entries)
    for number, parts in sums.items():
        if not _stays(program, parts, layouts):
            continue
        for at in parts.entries:
            entries[at] = None
        last = program.entries[parts.entries[-1]]
        settings = {"indices": tuple(parts.indices), "shape": layouts[number].shape}
        entries[parts.entries[-1]] = ProgramEntry(
            _SUM, tuple(parts.slots), settings, last.results, last.where, last.xp
        )
    return program.replaced([e for e in entries if e is not None])


def _unsliced(at: int, entry: ProgramEntry, layouts: list[Layout]) -> _Parts | None:
    if entry.primitive.name != "unslice" or not isinstance(entry.operands[0], ProgramSlot):
        return None
    [result] = slots_in(entry.results)
    if layouts[entry.operands[0].number].dtype != layouts[result].dtype:
        return None
    return _Parts(at, [entry.operands[0]], [entry.settings["index"]])


def _joined(two: list[Any], at: int) -> _Parts | None:
    """The sum of two such values.  One must be a single part: sums keep their order."""
    first, second = sorted(two, key=lambda parts: -len(parts.slots))
    if len(second.slots) > 1:
        return None
    found = _Parts(at, first.slots + second.slots, first.indices + second.indices)
    found.entries = [*first.entries, *second.entries, at]
    return found


def _same_form(part: Any, result: int, layouts: list[Layout]) -> bool:
    if not isinstance(part, ProgramSlot):
        return False
    one, two = layouts[part.number], layouts[result]
    return (one.shape, one.dtype) == (two.shape, two.dtype)


def _stays(program: Program, parts: _Parts, layouts: list[Layout]) -> bool:
    """Whether nobody writes into the parts before their sum is made."""
    owners = {layouts[slot.number].owner for slot in parts.slots}
    between = program.entries[min(parts.entries) : parts.entries[-1]]
    return not any(layouts[slot].owner in owners for e in between for slot in overwritten(e))
