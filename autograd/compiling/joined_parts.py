"""`join_parts` writes the cotangents of parts of an array into one array, instead of adding arrays.

Taking q, k and v out of one product, or the gates of a cell, gives cotangents that are zeros but
for a part.  Their sum is one array with each part added where it belongs; it has the same bits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.compiling.layouts import overwritten, slots_in
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.kernels.threads import run_shares
from tapegrad.autograd.kernels.turns import leave_turn
from tapegrad.autograd.replay.recording import ProgramEntry, ProgramSlot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tapegrad.autograd.compiling.layouts import Layout
    from tapegrad.autograd.replay.program import Program
    from tapegrad.devices import Array, Namespace

__all__ = ["join_parts"]

MOST_PARTS = 255  # of one array: with more it is not looked at whether they cover it


def sum_of_parts(
    xp: Namespace,
    *parts: Array,
    indices: tuple[tuple[Any, ...], ...],
    shape: tuple[int, ...],
    is_whole: bool,
    axes: tuple[int, ...] | None = None,
    final: tuple[int, ...] | None = None,
    out: Array | None = None,
) -> Array:
    """Zeros of `shape` to which parts[i] is added at indices[i].

    is_whole: each entry is one of one part, so that there need be no zeros before
    axes, final: the result has its axes in this order, and then this shape
    """
    turned = shape if axes is None else tuple(shape[axis] for axis in axes)
    if out is None:
        out = xp.empty(turned if final is None else final, dtype=parts[0].dtype)
    y = out.reshape(turned)
    y = y if axes is None else y.transpose(_inverse(axes))
    pieces = [y[_with_ellipsis(index)] for index in indices]
    if not is_whole:
        out.fill(0)
        for part, piece in zip(parts, pieces, strict=True):
            xp.add(piece, part, out=piece)
    elif xp is np and len({piece.shape[:1] for piece in pieces}) == 1 and pieces[0].ndim:

        def add(share: slice) -> None:
            leave_turn()
            for part, piece in zip(parts, pieces, strict=True):
                np.add(0, part[share], out=piece[share])  # to 0, so that there is no -0

        run_shares(add, len(pieces[0]), y.size)
    else:
        for part, piece in zip(parts, pieces, strict=True):
            xp.add(0, part, out=piece)
    return out


def _with_ellipsis(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """An index that gives a view of one entry too, which would be a number otherwise."""
    return index if Ellipsis in index else (*index, Ellipsis)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axes.index(axis) for axis in range(len(axes)))


def _is_whole(shape: tuple[int, ...], indices: list[tuple[Any, ...]]) -> bool:
    """Whether each entry of an array is one of exactly one part."""
    if len(indices) > MOST_PARTS:
        return False
    times = np.zeros(shape, np.uint8)
    for index in indices:
        times[_with_ellipsis(index)] += 1
    return bool((times == 1).all())


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
        shape = layouts[number].shape
        settings = {
            "indices": tuple(parts.indices),
            "shape": shape,
            "is_whole": _is_whole(shape, parts.indices),
        }
        entries[parts.entries[-1]] = ProgramEntry(
            _SUM, tuple(parts.slots), settings, last.results, last.where, last.xp
        )
    return program.replaced(_turned([e for e in entries if e is not None], reads, layouts))


def _turned(
    entries: list[ProgramEntry], reads: Mapping[int, int], layouts: list[Layout]
) -> list[ProgramEntry]:
    """The entries, with sums of parts written where a transposition and a reshape would copy them.

    The heads of attention, say, are taken out of one product that lies position by position.
    """
    readers = {s: at for at, e in enumerate(entries) for s in slots_in(e.operands)}
    found: list[ProgramEntry | None] = list(entries)
    for at, entry in enumerate(entries):
        if entry.primitive is not _SUM:
            continue
        [result] = slots_in(entry.results)
        turn = _only_reader(result, "transpose", entries, readers, reads)
        if turn is None:
            continue
        [across] = slots_in(entries[turn].results)
        reshape = _only_reader(across, "reshape", entries, readers, reads)
        if reshape is None:
            continue
        [final] = slots_in(entries[reshape].results)
        layout, ndim = layouts[final], len(entry.settings["shape"])
        if layout.owner == layouts[result].owner or not layout.contiguous:
            continue
        axes = entries[turn].settings["axes"]
        axes = range(ndim)[::-1] if axes is None else [axis % ndim for axis in axes]
        settings = {**entry.settings, "axes": tuple(axes), "final": layout.shape}
        found[at] = replace(entry, settings=settings, results=entries[reshape].results)
        layouts[final] = replace(layout, owns=True)
        found[turn] = found[reshape] = None
    return [e for e in found if e is not None]


def _only_reader(
    slot: int,
    name: str,
    entries: list[ProgramEntry],
    readers: Mapping[int, int],
    reads: Mapping[int, int],
) -> int | None:
    """Where a value is read by a call of a primitive, and nowhere else."""
    at = readers.get(slot) if reads[slot] == 1 else None
    return at if at is not None and entries[at].primitive.name == name else None


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
