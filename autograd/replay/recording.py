"""Recordings: what one run of a step did, as a list of primitive calls on numbered values.

Reading a value (`float(t)`, `if t:`) lets Python decide by it, which cannot be repeated, so that is
an error at its line.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.mode import Observer
from tapegrad.autograd.core.tensor import Tensor, as_array
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.devices import TapegradError

__all__ = ["ProgramEntry", "Recording", "ReplayError", "ProgramSlot", "is_array_or_tensor"]

READS = (
    "{where}: the step {action} while it is recorded for replay: what Python does with the value "
    "cannot be repeated. Return the Tensor from the step and read it outside."
)


class ReplayError(TapegradError, RuntimeError):
    """A step cannot be replayed; the message starts with the line that is the reason."""

    forgivable = False  # may the next recording still be confirmed by a later one?


@dataclass(frozen=True)
class ProgramSlot:
    """A value of the step, by number in order of appearance."""

    number: int


@dataclass(frozen=True)
class ProgramEntry:
    """One recorded call."""

    primitive: Any
    operands: tuple[Any, ...]  # Slots, numbers, and lists of them
    settings: dict[str, Any]
    results: tuple[Any, ...]  # Slots; a list of Slots for a call with several results
    where: str
    xp: Any  # the array library that the body ran on


@dataclass
class Recording(Observer):
    """What one run of the step did: an observer of primitive calls."""

    refuses = True

    entries: list[ProgramEntry] = field(default_factory=list)
    outside: dict[int, tuple[Any, str]] = field(default_factory=dict)  # slot -> (array, line)
    bits: dict[int, bytes] = field(default_factory=dict)
    guards: list[tuple[Any, str, Any]] = field(default_factory=list)
    result: Any = None
    _slots: dict[int, ProgramSlot] = field(default_factory=dict)
    _kept: list[Any] = field(default_factory=list)  # so that no id is used twice

    def slot(self, array: Any) -> ProgramSlot:
        """The slot of an array; a new one when it is met for the first time."""
        known = self._slots.get(id(array))
        if known is None:
            known = self._slots[id(array)] = ProgramSlot(len(self._kept))
            self._kept.append(array)
        return known

    @property
    def slot_count(self) -> int:
        """How many slots there are."""
        return len(self._kept)

    def has_slot(self, array: Any) -> bool:
        """Has this array been met?"""
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

    def call(self, primitive: Any, operands: Any, settings: dict[str, Any], results: Any) -> None:
        """Note a call (see `Observer`)."""
        where = user_line()
        noted = tuple(self._operand(value, where) for value in operands)
        slots = tuple(
            [self.slot(item) for item in r] if isinstance(r, list) else self.slot(r)
            for r in results
        )
        arrays = [value for value in leaves(list(operands)) if devices.is_array(value)]
        xp = devices.namespace(*(arrays or leaves(list(results))))  # a draw has no operands
        self.entries.append(ProgramEntry(primitive, noted, dict(settings), slots, where, xp))

    def finish(self, result: Any) -> None:
        """Note what the step returned; an array that no call made comes from outside too."""
        self.result = map_leaves(
            lambda value: (
                self._operand(as_array(value), "the step's result")
                if is_array_or_tensor(value)
                else value
            ),
            result,
        )

    def refuse(self, action: str) -> None:
        """A value is being read (see `Observer`)."""
        raise ReplayError(READS.format(where=user_line(), action=action))

    def guard(self, owner: Any, attribute: str) -> None:
        """What was recorded holds while this attribute keeps its value."""
        self.guards.append((weakref.ref(owner), attribute, getattr(owner, attribute)))


def _array_bytes(array: Any) -> bytes:
    return devices.to_numpy(array).tobytes()


def is_array_or_tensor(a: Any) -> bool:
    """Is it an array, or a Tensor?"""
    return isinstance(a, (Tensor, np.ndarray)) or devices.is_array(a)
