"""`write_rows_first` adds the gradient of a table to the rows that it concerns, and to no others.

The cotangent of looking up rows is an array of the table's size that is 0 but for a few rows.
Where a gradient begins with it, the rows are added to the gradient's memory, after that has been
set to zero, which `core/zeros.py` does by few rows too.  The bits are the same: both begin at 0.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.compiling.first_writes import START
from tapegrad.autograd.compiling.layouts import overwritten, slots_in
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.zeros import kept_rows, set_to_zero, zeros_of
from tapegrad.autograd.kernels.scattering import scatter_add
from tapegrad.autograd.replay.recording import ProgramEntry, ProgramSlot

if TYPE_CHECKING:
    from collections.abc import Callable

    from tapegrad.autograd.compiling.layouts import Layout
    from tapegrad.autograd.replay.program import Program
    from tapegrad.devices import Array, Namespace

__all__ = ["write_rows_first"]

OWN_ROWS = "each call sets other rows to zero"


def start_rows(xp: Namespace, target: Array, x: Array, index: Array) -> Callable[[], None]:
    """target[...] = 0, then target[index] += x; returns what is to be done once that is noted.

    Raises CaptureError while a graph is recorded: which rows differ from 0 is found in each call.
    """
    zeros = zeros_of(target)
    if zeros is not None and xp is not np:
        launcher = devices.launcher_of(target)
        if launcher is not None and launcher.is_capturing():
            raise devices.CaptureError(OWN_ROWS)
    set_to_zero(target)
    before = -1 if zeros is None else zeros.begin()
    scatter_add(xp, target, (index,), x)
    if zeros is None:
        return lambda: None
    return partial(zeros.end, before, target, kept_rows(index))


_START_ROWS = Primitive(start_rows, mutates="target")


def write_rows_first(program: Program, layouts: list[Layout]) -> Program:
    """The program with rows added to gradients, where these began with an array of their size."""
    entries: list[ProgramEntry | None] = list(program.entries)
    made_by = {s: i for i, e in enumerate(program.entries) for s in slots_in(e.results)}
    reads = Counter(s for e in program.entries for s in slots_in(e.operands))
    reads.update(slots_in([program.result]))
    shared = Counter(layout.owner for layout in layouts)
    for index, entry in enumerate(program.entries):
        if entry.primitive is not START:
            continue
        target, whole = entry.operands
        at = made_by.get(whole.number) if isinstance(whole, ProgramSlot) else None
        if at is None or reads[whole.number] != 1 or shared[layouts[whole.number].owner] != 1:
            continue
        made = program.entries[at]
        rows = _rows_of(made, layouts[whole.number], layouts)
        if rows is None or not _is_alike(layouts[target.number], layouts[whole.number]):
            continue
        owners = {layouts[slot].owner for slot in slots_in(list(rows))}
        between = program.entries[at:index]
        if any(layouts[slot].owner in owners for e in between for slot in overwritten(e)):
            continue
        entries[at] = None
        entries[index] = ProgramEntry(_START_ROWS, (target, *rows), {}, (), entry.where, entry.xp)
    return program.replaced([e for e in entries if e is not None])


def _rows_of(
    entry: ProgramEntry, result: Layout, layouts: list[Layout]
) -> tuple[ProgramSlot, ProgramSlot] | None:
    """The values and the index of an entry that adds rows to zeros; None for any other."""
    if entry.primitive.name != "index_add" or len(entry.settings["template"]) != 1:
        return None
    x: Any = entry.operands[0]
    indices: Any = entry.operands[1]
    if not isinstance(x, ProgramSlot) or len(indices) != 1:
        return None
    [index] = indices
    if not isinstance(index, ProgramSlot) or layouts[index.number].dtype.kind not in "iu":
        return None
    same = layouts[x.number].dtype == result.dtype and result.dtype.itemsize > 2
    return (x, index) if same and result.dtype.kind == "f" else None


def _is_alike(target: Layout, whole: Layout) -> bool:
    is_flat = target.contiguous and whole.contiguous
    return is_flat and (target.shape, target.dtype) == (whole.shape, whole.dtype)
