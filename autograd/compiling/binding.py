"""What the two binders share: `bound.py` for NumPy's arrays, `launched.py` for those of a GPU."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.compiling.buffers import Lifetime
from tapegrad.autograd.compiling.layouts import Layout, slots_in
from tapegrad.autograd.core.errors import EngineSignal
from tapegrad.autograd.replay.plain import bind_entry
from tapegrad.autograd.replay.recording import ProgramSlot

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.grouping import EntryGroup
    from tapegrad.autograd.replay.recording import ProgramEntry

__all__ = ["Action", "OtherForm", "is_transposed", "lifetimes_of", "nothing", "run_bodies_from",
           "takes_out", "view_of_fixed"]  # fmt: skip

Action = Callable[[list[Any]], object]


class OtherForm(EngineSignal):
    """The entry at a position gave a result of another shape, dtype or layout than before.

    slot, value: that result, where it is not yet among the values
    """

    def __init__(self, position: int, slot: int = -1, value: Any = None) -> None:
        super().__init__(position)
        self.position, self.slot, self.value = position, slot, value


def nothing(_: list[Any]) -> None:
    """The action of a view that has been made already."""


@cache
def takes_out(body: Callable[..., Any]) -> bool:
    """Whether a body writes its result into `out=`."""
    return "out" in inspect.signature(body).parameters


def is_transposed(layout: Layout) -> bool:
    """Whether the entries follow each other in column-major order, without gaps."""
    flipped = replace(layout, shape=layout.shape[::-1], strides=layout.strides[::-1])
    return flipped.contiguous


def lifetimes_of(
    placed: Iterable[tuple[int, int]], last_use: dict[int, int], layouts: list[Layout]
) -> dict[int, Lifetime]:
    """The lifetimes of results, and of what views them: slot -> from its position to the last use.

    placed: (position, slot) of each result that is to have a place;  last_use: slot -> position
    """
    lifetimes: dict[int, Lifetime] = {}
    by_owner: dict[int, int] = {}  # owner -> the slot that has a place
    for position, slot in placed:
        by_owner[layouts[slot].owner] = slot
        lifetimes[slot] = Lifetime(layouts[slot].nbytes, position, position)
    for slot, position in last_use.items():
        if (owner := layouts[slot].owner) in by_owner:
            life = lifetimes[by_owner[owner]]
            life.last = max(life.last, position)
    return lifetimes


def view_of_fixed(
    entry: ProgramEntry, slot: int, fixed: dict[int, Any], layouts: list[Layout]
) -> Any:
    """The view that an entry makes of fixed memory; None if it is none, or of memory that moves.

    slot: of its result;  fixed: slot -> array that stays where it is
    """
    base, layout = entry.operands[0], layouts[slot]
    if not isinstance(base, ProgramSlot) or base.number not in fixed:
        return None
    if layout.owner != layouts[base.number].owner or len(entry.operands) != 1:
        return None
    source = fixed[base.number]
    view = entry.primitive.body_for(entry.xp)(entry.xp, source, **entry.settings)
    same = view.shape == layout.shape and view.strides == layout.strides
    return view if same and (view is source or view.base is not None) else None


def run_bodies_from(first: int, groups: list[EntryGroup], values: list[Any]) -> None:
    """Run the groups from `first` by the bodies of their entries."""
    made = {s: e for g in groups for e in g.entries for s in slots_in(e.results)}

    def run(entry: ProgramEntry) -> None:
        for slot in slots_in(entry.operands):
            if values[slot] is None:  # a view, of which a kernel reads only the base
                run(made[slot])
        bind_entry(entry)(values)

    for group in groups[first:]:
        for entry in group.entries:
            run(entry)
