"""Programs: a step as data, which passes may rewrite and back ends run.

`entries` stays a list of recorded calls on numbered values.  A back end is a function that takes a
program and returns what runs it: bare arrays of the arguments in, what the step returned out
(`plain.py` runs the primitives' own bodies).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad.autograd.core.tensor import untracked
from tapegrad.autograd.core.tree import map_leaves
from tapegrad.autograd.replay.recording import ProgramEntry, ProgramSlot, Recording

__all__ = ["Program", "ProgramRun"]

ProgramRun = Callable[[list[Any]], Any]


class Program:
    """A list of calls that has been confirmed by two recordings.

    entries: the calls, in order
    slot_count: how many slots they use
    inputs:  the slots of the arguments' arrays
    state:   the arrays that are read, and written, where they are, by the number of their slot
    result:  what the step returned, a nest with Slots for arrays
    guards:  what must keep its value: (weak reference to the owner, attribute, value)
    """

    def __init__(
        self, recording: Recording, state: dict[int, Any], inputs: list[ProgramSlot]
    ) -> None:
        self.entries: list[ProgramEntry] = recording.entries
        self.slot_count = recording.slot_count
        self.inputs = inputs
        self.state = state
        self.result = recording.result
        self.guards = recording.guards

    def guards_hold(self) -> bool:
        """Do all guards still hold?"""
        for reference, attribute, value in self.guards:
            owner = reference()
            if owner is None or getattr(owner, attribute) != value:
                return False
        return True

    def initial_values(self, arrays: list[Any]) -> list[Any]:
        """A value for each slot, to start a run with: those of the arguments, and the state."""
        values: list[Any] = [None] * self.slot_count
        for number, array in self.state.items():
            values[number] = array
        for slot, array in zip(self.inputs, arrays, strict=True):
            values[slot.number] = array
        return values

    def build_result(self, values: list[Any]) -> Any:
        """What the step returns, once a run has filled all slots."""
        return map_leaves(
            lambda part: untracked(values[part.number]) if isinstance(part, ProgramSlot) else part,
            self.result,
        )
