"""A recording is the list of primitive calls that one run of a step made, on numbered values.

A step that reads a value (`float(t)`, `if t:`) lets Python decide by it.  Replay cannot repeat the
decision, so to read a value is an error that names the line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.mode import Observer
from tapegrad.autograd.core.tensor import Tensor, as_array
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.autograd.replay.watching import Watches
from tapegrad.devices import TapegradError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tapegrad.autograd.core.declaration import Primitive
    from tapegrad.devices import Array, Namespace

__all__ = ["ProgramEntry", "Recording", "ReplayError", "ProgramSlot", "is_array_or_tensor"]

READS = (
    "{where}: the step {action} while it is recorded for replay: what Python does with the value "
    "cannot be repeated. Return the Tensor from the step and read it outside."
)


class ReplayError(TapegradError, RuntimeError):
    """A step cannot be replayed; the message starts with the line that is the reason."""

    forgivable = False  # True if a later recording may still confirm the last one


@dataclass(frozen=True)
class ProgramSlot:
    """A value of the step; values are numbered in order of appearance."""

    number: int


@dataclass(frozen=True)
class ProgramEntry:
    """One recorded call."""

    primitive: Primitive
    operands: tuple[Any, ...]  # slots, numbers, and lists of these
    settings: dict[str, Any]
    results: tuple[Any, ...]  # slots; a list of slots for a call with several results
    where: str  # file:line of the call
    xp: Namespace  # the array library on whose arrays the body ran


@dataclass
class Recording(Observer):
    """The record of one run of a step; an observer of primitive calls.

    entries: the calls, in order
    outside: slot number -> (array that no call made and no argument holds, line of its first use)
    bits:    slot number -> the bytes of that array at its first use
    watches: what the step reads from outside beside arrays, and what of it the step changed itself
    result:  what the step returned, a nest with slots for arrays
    """

    refuses = True

    entries: list[ProgramEntry] = field(default_factory=list)
    outside: dict[int, tuple[Any, str]] = field(default_factory=dict)
    bits: dict[int, bytes] = field(default_factory=dict)
    watches: Watches = field(default_factory=Watches)
    changed: list[tuple[str, Any, Any]] = field(default_factory=list)
    result: Any = None
    _slots: dict[int, ProgramSlot] = field(default_factory=dict)
    _arrays: list[Any] = field(default_factory=list)  # kept alive, so that no id is reused

    def slot(self, array: Array) -> ProgramSlot:
        """The slot of an array; a new slot for an array that has none yet."""
        slot = self._slots.get(id(array))
        if slot is None:
            slot = self._slots[id(array)] = ProgramSlot(len(self._arrays))
            self._arrays.append(array)
        return slot

    @property
    def slot_count(self) -> int:
        """The number of slots."""
        return len(self._arrays)

    def forget_arrays(self) -> None:
        """Free the memory of what the calls made; the recording is finished, and is compared."""
        self._slots = {}
        self._arrays = [None] * len(self._arrays)

    @property
    def arrays(self) -> list[Any]:
        """The array of each slot, in this recording."""
        return self._arrays

    def has_slot(self, array: Array) -> bool:
        """True if the array has a slot."""
        return id(array) in self._slots

    def _operand(self, value: Any, where: str) -> Any:
        if isinstance(value, list):
            return [self._operand(item, where) for item in value]
        if not devices.is_array(value):
            return value
        new = not self.has_slot(value)
        slot = self.slot(value)
        if new:
            self.outside[slot.number] = (value, where)
            self.bits[slot.number] = _array_bytes(value)
        return slot

    def call(
        self,
        primitive: Primitive,
        operands: Sequence[Any],
        settings: dict[str, Any],
        results: Sequence[Any],
    ) -> None:
        """Note a call (see `Observer`)."""
        where = user_line()
        noted_operands = tuple(self._operand(value, where) for value in operands)
        slots = tuple(
            [self.slot(item) for item in r] if isinstance(r, list) else self.slot(r)
            for r in results
        )
        arrays = [value for value in leaves(list(operands)) if devices.is_array(value)]
        xp = devices.namespace(*(arrays or leaves(list(results))))  # a draw has no operands
        self.entries.append(
            ProgramEntry(primitive, noted_operands, dict(settings), slots, where, xp)
        )

    def finish(self, result: Any) -> None:
        """Note what the step returned; an array in it that no call made is from outside."""
        self.result = map_leaves(
            lambda value: (
                self._operand(as_array(value), "the step's result")
                if is_array_or_tensor(value)
                else value
            ),
            result,
        )
        self.changed = self.watches.settle(self._arrays)

    def refuse(self, action: str) -> None:
        """Raise, since the step reads a value (see `Observer`)."""
        raise ReplayError(READS.format(where=user_line(), action=action))

    def watch(self, owner: Any) -> None:
        """Note that the recording is valid while the attributes of `owner` keep their values."""
        self.watches.add(owner)


def _array_bytes(array: Array) -> bytes:
    return devices.to_numpy(array).tobytes()


def is_array_or_tensor(a: Any) -> bool:
    """True for an array and for a Tensor."""
    return isinstance(a, (Tensor, np.ndarray)) or devices.is_array(a)
