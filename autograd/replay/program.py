"""A program is a step as data, which passes may rewrite and back ends run.

`entries` stays a list of recorded calls on numbered values.  A back end is a function that takes a
program and returns a `ProgramRun`: a function from the bare arrays of the arguments to the result
of the step.  `plain.py` is the back end that runs the primitives' own bodies.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tapegrad.autograd.core.tensor import untracked
from tapegrad.autograd.core.tree import leaves, map_leaves
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
    watches: what must be as it was while the step was recorded
    constants: the slots of those arrays in `state` that the step makes anew, with equal bits
    apart: arrays whose memory no argument may share, else a pass has changed the step
    """

    def __init__(
        self,
        recording: Recording,
        state: dict[int, Any],
        inputs: list[ProgramSlot],
        constants: frozenset[int] = frozenset(),
    ) -> None:
        self.entries: list[ProgramEntry] = recording.entries
        self.slot_count = recording.slot_count
        self.inputs = inputs
        self.state = dict(state)
        self.result = recording.result
        self.watches = recording.watches
        self.constants = constants
        self.apart: tuple[Any, ...] = ()
        self._outside = frozenset(state) - constants
        self._shared = self._shared_results()
        for number in {*self._shared.values()} & constants:
            self.state[number] = state[number].copy()  # the caller has the recorded one

    def _shared_results(self) -> dict[int, int]:
        """The results in memory that one call would share with the next -> what they are views of.

        An ordinary call makes such constants anew, so the caller may write into them.
        """
        bases = {
            leaf.number: entry.operands[0].number
            for entry in self.entries
            if entry.primitive.view and isinstance(entry.operands[0], ProgramSlot)
            for leaf in leaves(list(entry.results))
            if leaf.number > entry.operands[0].number  # else the view is its base itself
        }
        found = {}
        for part in leaves(self.result):
            if isinstance(part, ProgramSlot):
                root = part.number
                while root in bases:
                    root = bases[root]
                if root in self.state and root not in self._outside:
                    found[part.number] = root
        return found

    def replaced(self, entries: list[ProgramEntry], state: dict[int, Any] | None = None) -> Program:
        """The same step by other entries, and by more state if that is given."""
        other = copy.copy(self)
        other.entries = entries
        other.state = self.state if state is None else state
        other._shared = other._shared_results()  # noqa: SLF001  # of this class
        return other

    def is_valid(self) -> bool:
        """True if all that the step read from outside, beside arrays, is as it was."""
        return self.watches.hold()

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

        def built(part: Any) -> Any:
            if not isinstance(part, ProgramSlot):
                return part
            value = values[part.number]
            return untracked(value.copy() if part.number in self._shared else value)

        return map_leaves(built, self.result)
