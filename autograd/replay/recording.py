"""A recording is the list of primitive calls that one run of a step made, on numbered values.

A step that reads a value (`float(t)`, `if t:`) lets Python decide by it.  Replay cannot repeat the
decision, so to read a value is an error that names the line.
"""

from __future__ import annotations

import hashlib
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.mode import Observer
from tapegrad.autograd.core.node import owner_of
from tapegrad.autograd.core.tensor import Tensor, as_array
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.autograd.replay.watching import Watches
from tapegrad.devices import TapegradError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tapegrad.autograd.core.declaration import Primitive
    from tapegrad.devices import Array, Namespace

__all__ = [
    "ArrayForm",
    "ProgramEntry",
    "Recording",
    "ReplayError",
    "ProgramSlot",
    "is_array_or_tensor",
]

LONGEST = 256  # bytes of an array that are kept
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


class ArrayForm(NamedTuple):
    """How a value of a recording lay in memory.

    strides: None for arrays of a library that does not tell
    owner: a number that all values on the same memory have in common
    owns:  whether the value is the whole of its own memory, and no view
    plain: whether it is an aligned NumPy array of numbers
    """

    shape: tuple[int, ...]
    dtype: Any
    strides: tuple[int, ...] | None
    owner: int
    owns: bool
    plain: bool


class _Numbers:
    """Numbers for objects, in order of appearance, which keeps none of them alive that it can."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, Any]] = {}
        self._count = 0

    def get(self, value: Any) -> int | None:
        """The number of an object, if it has one."""
        found = self._known.get(id(value))
        return None if found is None else found[0]

    def add(self, value: Any, *, keep: bool = False) -> int:
        """A number for an object that has none."""
        number, key, known = self._count, id(value), self._known
        self._count += 1
        holder = value
        if not keep:
            with suppress(TypeError):  # arrays of other libraries may have no such references
                holder = weakref.ref(value, lambda _: known.pop(key, None))
        known[key] = (number, holder)
        return number

    def living(self) -> list[Any]:
        """The objects that are still there."""
        held = [holder for _, holder in list(self._known.values())]
        found = [h() if isinstance(h, weakref.ref) else h for h in held]
        return [value for value in found if value is not None]

    def forget(self) -> None:
        """Keep nothing."""
        self._known.clear()


@dataclass
class Recording(Observer):
    """The record of one run of a step; an observer of primitive calls.

    entries: the calls, in order
    outside: slot number -> (array that no call made and no argument holds, line of its first use)
    bits:    slot number -> the bytes of that array at its first use, or a digest of them
    watches: what the step reads from outside beside arrays, and what of it the step changed itself
    result:  what the step returned, a nest with slots for arrays
    forms:   how the array of each slot lay; what calls make lives as long as the step keeps it
    """

    refuses = True

    entries: list[ProgramEntry] = field(default_factory=list)
    outside: dict[int, tuple[Any, str]] = field(default_factory=dict)
    bits: dict[int, bytes] = field(default_factory=dict)
    watches: Watches = field(default_factory=Watches)
    changed: list[tuple[str, Any, Any]] = field(default_factory=list)
    result: Any = None
    forms: list[ArrayForm] = field(default_factory=list)
    _slots: _Numbers = field(default_factory=_Numbers)
    _owners: _Numbers = field(default_factory=_Numbers)

    def slot(self, array: Array, *, keep: bool = False) -> ProgramSlot:
        """The slot of an array; a new slot for an array that has none yet.

        keep: the array is from outside of the calls, and lives as long as the recording
        """
        number = self._slots.get(array)
        if number is None:
            number = self._slots.add(array, keep=keep)
            self.forms.append(self._form(array))
        return ProgramSlot(number)

    def _form(self, array: Array) -> ArrayForm:
        memory = owner_of(array)
        owner = self._owners.get(memory)
        if owner is None:
            owner = self._owners.add(memory)
        if type(array) is not np.ndarray:
            strides: Any = getattr(array, "strides", None)
            owns = strides is not None and getattr(array, "base", None) is None
            return ArrayForm(tuple(array.shape), array.dtype, strides, owner, owns, False)
        plain = bool(array.flags.aligned) and not array.dtype.hasobject
        return ArrayForm(array.shape, array.dtype, array.strides, owner, array.base is None, plain)

    @property
    def slot_count(self) -> int:
        """The number of slots."""
        return len(self.forms)

    def forget_arrays(self) -> None:
        """Keep no arrays; the recording is finished, and is compared."""
        self._slots.forget()
        self._owners.forget()

    def has_slot(self, array: Array) -> bool:
        """True if the array has a slot."""
        return self._slots.get(array) is not None

    def _operand(self, value: Any, where: str) -> Any:
        if isinstance(value, list):
            return [self._operand(item, where) for item in value]
        if not devices.is_array(value):
            return value
        new = not self.has_slot(value)
        slot = self.slot(value, keep=True)
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
        self.changed = self.watches.settle(self._slots.living())

    def refuse(self, action: str) -> None:
        """Raise, since the step reads a value (see `Observer`)."""
        raise ReplayError(READS.format(where=user_line(), action=action))

    def watch(self, owner: Any) -> None:
        """Note that the recording is valid while the attributes of `owner` keep their values."""
        self.watches.add(owner)


def _array_bytes(array: Array) -> bytes:
    """The bytes of a small array, and what tells those of a large one from others."""
    values = devices.to_numpy(array)
    if values.nbytes <= LONGEST or values.dtype.hasobject:
        return values.tobytes()
    content = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    return hashlib.blake2b(content, digest_size=32).digest()


def is_array_or_tensor(a: Any) -> bool:
    """True for an array and for a Tensor."""
    return isinstance(a, (Tensor, np.ndarray)) or devices.is_array(a)
