"""A program is a step as data, which passes may rewrite and back ends run.

`entries` stays a list of recorded calls on numbered values.  A back end is a function that takes a
program and returns a `ProgramRun`: a function from the bare arrays of the arguments to the result
of the step.  `plain.py` is the back end that runs the primitives' own bodies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.autograd.core.tensor import untracked
from tapegrad.autograd.core.tree import map_leaves
from tapegrad.autograd.replay.recording import ProgramEntry, ProgramSlot, Recording

__all__ = ["Program", "ProgramRun"]

ProgramRun = Callable[[list[Any]], Any]


class Program:
    """The calls of a step, which two recordings have confirmed.

    entries: the calls, in order
    slot_count: the number of slots that they use
    inputs:  the slots of the arguments' arrays
    state:   slot number -> array from outside the step, which is read and written where it is
    result:  what the step returned, a nest with slots for arrays
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
        """True if all guarded attributes still have their values."""
        for reference, attribute, value in self.guards:
            owner = reference()
            if owner is None or not _is_same(getattr(owner, attribute), value):
                return False
        return True

    def initial_values(self, arrays: list[Any]) -> list[Any]:
        """The values at the start of a run: arguments and state in their slots, None elsewhere."""
        values: list[Any] = [None] * self.slot_count
        for number, array in self.state.items():
            values[number] = array
        for slot, array in zip(self.inputs, arrays, strict=True):
            values[slot.number] = array
        return values

    def build_result(self, values: list[Any]) -> Any:
        """The result of the step, from the values that a run has computed."""
        return map_leaves(
            lambda part: untracked(values[part.number]) if isinstance(part, ProgramSlot) else part,
            self.result,
        )


def _is_same(now: Any, then: Any) -> bool:
    """True if a guarded attribute has its value still; masks are arrays, compared by entries."""
    if isinstance(then, np.ndarray):
        return now is then or (isinstance(now, np.ndarray) and np.array_equal(now, then))
    return now is then or bool(np.all(now == then))
