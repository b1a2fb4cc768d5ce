"""A program is a step as data, which passes may rewrite and back ends run.

`entries` stays a list of recorded calls on numbered values.  A back end is a function that takes a
program and returns a `ProgramRun`: a function from the bare arrays of the arguments to the result
of the step.  `plain.py` is the back end that runs the primitives' own bodies.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.tensor import untracked
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.autograd.replay.recording import (
    ProgramEntry,
    ProgramSlot,
    Recording,
    ReplayError,
)

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = ["Program", "ProgramRun"]

BEGUN = (
    "{where}: the step makes a gradient anew in each call, and does not begin with a sum; keep the "
    "gradient, and set it to zero in place, instead of setting None."
)


def first_sum(xp: Namespace, x: Array, *, out: Array | None = None) -> Array:
    """0 + x: what a gradient that has just been made is after the first contribution."""
    return xp.add(x, xp.zeros((), dtype=x.dtype), out=out)


_FIRST = Primitive(first_sum, differentiable=False)

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
    begun: Parameters without a gradient, and the slots of the ones that the step makes
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
        self.begun: list[tuple[Any, int]] = []
        self._begin_gradients(recording)
        self._outside = frozenset(state) - self.constants
        self._shared = self._shared_results()
        for number in {*self._shared.values()} & self.constants:
            self.state[number] = state[number].copy()  # the caller has the recorded one

    def _begin_gradients(self, recording: Recording) -> None:
        """Make the gradients that the step begins new ones in each call, as it does itself.

        Raises ReplayError where one begins with anything but a sum.
        """
        numbers = {id(array): number for number, (array, _) in recording.outside.items()}
        for parameter, array in recording.watches.begun:
            number = numbers.get(id(array))
            if number is None or number not in self.constants:
                continue
            slot = ProgramSlot(number)
            at = next(i for i, e in enumerate(self.entries) if slot in leaves(list(e.operands)))
            entry = self.entries[at]
            x = entry.operands[1] if len(entry.operands) > 1 else None
            form = recording.forms[x.number] if isinstance(x, ProgramSlot) else None
            if (
                entry.primitive.name != "accumulate"
                or entry.operands[0] != slot
                or form is None
                or (form.shape, form.dtype) != (array.shape, array.dtype)
            ):
                raise ReplayError(BEGUN.format(where=entry.where))
            self.entries = [*self.entries]
            self.entries[at] = ProgramEntry(_FIRST, (x,), {}, (slot,), entry.where, entry.xp)
            del self.state[number]
            self.constants -= {number}
            self.begun.append((parameter, number))
        if self.begun:
            self.result = [self.result, [ProgramSlot(number) for _, number in self.begun]]

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
        if self.begun and any(parameter.grad is not None for parameter, _ in self.begun):
            return False
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
        """The result of the step, from the values that a run has computed.

        Parameters get the gradients that the step began.
        """
        result = self.result
        if self.begun:
            result = result[0]
            for parameter, number in self.begun:
                parameter.grad = untracked(values[number])

        if isinstance(result, ProgramSlot) and result.number not in self._shared:
            return untracked(values[result.number])

        def built(part: Any) -> Any:
            if not isinstance(part, ProgramSlot):
                return part
            value = values[part.number]
            return untracked(value.copy() if part.number in self._shared else value)

        return map_leaves(built, result)
