"""Replay: record a step once as one list of primitive calls, and run the list again.

A training step (forward, reverse, update) is Python deciding which primitives to call.  While it is
recorded, every call and every in-place write is noted: which body, on which values, with which
settings.  Running the list again repeats the arithmetic without the decisions, with equal bits.

What a value is, is decided by comparing two recordings of the step.  An argument is bound anew at
each call.  An array that is the same object in both is state (parameters, gradients, running means)
and is read where it is.  Any other array from outside must hold the same bits in both, and is a
constant; one that changes would be frozen wrongly, so it is an error at the line that used it.
Reading a value (`float(t)`, `if t:`) lets Python decide by it, so that is an error too.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core import mode as _mode
from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.node import note_write
from tapegrad.autograd.core.tensor import Tensor, as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves, unflatten

__all__ = ["Replay", "ReplayError", "guard", "replay"]

READS = (
    "{where}: the step {action} while it is recorded for replay: what Python does with the value "
    "cannot be repeated. Return the Tensor from the step and read it outside."
)
CHANGED_ARRAY = (
    "{where}: an array of shape {shape} comes from outside the step, is neither an argument nor "
    "state, and changed between two calls. Pass it as an argument, or write new values into it in "
    "place (Buffer.assign, x[...] = v)."
)
CHANGED_NUMBER = (
    "{where}: the number {old!r} became {new!r} between two calls; replay would repeat the first. "
    "Pass it as an argument, or keep it in a 0-d array that the step updates in place."
)
OTHER_PATH = (
    "{where}: the step took another path than before ({old}, now {new}); a step that is replayed "
    "must make the same calls each time."
)


class ReplayError(RuntimeError):
    """A step cannot be replayed; the message starts with the line that is the reason."""


@dataclass(frozen=True)
class Slot:
    """A value of the step, by number in order of appearance."""

    number: int


@dataclass(frozen=True)
class Entry:
    """One recorded call."""

    primitive: Any
    operands: tuple[Any, ...]  # Slots, numbers, and lists of them
    settings: dict[str, Any]
    results: tuple[Any, ...]  # Slots; a list of Slots for a call with several results
    where: str


@dataclass
class Recording(_mode.Observer):
    """What one run of the step did: an observer of primitive calls."""

    refuses = True

    entries: list[Entry] = field(default_factory=list)
    outside: dict[int, tuple[Any, str]] = field(default_factory=dict)  # slot -> (array, line)
    bits: dict[int, bytes] = field(default_factory=dict)
    guards: list[tuple[Any, str, Any]] = field(default_factory=list)
    result: Any = None
    _slots: dict[int, Slot] = field(default_factory=dict)
    _kept: list[Any] = field(default_factory=list)  # so that no id is used twice

    def slot(self, array: Any) -> Slot:
        """The slot of an array; a new one when it is met for the first time."""
        known = self._slots.get(id(array))
        if known is None:
            known = self._slots[id(array)] = Slot(len(self._kept))
            self._kept.append(array)
        return known

    def array(self, slot: Slot) -> Any:
        """The array that had this slot in the recording."""
        return self._kept[slot.number]

    def known(self, array: Any) -> bool:
        """Has this array been met?"""
        return id(array) in self._slots

    def _operand(self, value: Any, where: str) -> Any:
        if isinstance(value, list):
            return [self._operand(item, where) for item in value]
        if not devices.is_array(value):
            return value
        new = not self.known(value)
        slot = self.slot(value)
        if new:
            self.outside[slot.number] = (value, where)
            self.bits[slot.number] = _bits(value)
        return slot

    def call(self, primitive: Any, operands: Any, settings: dict[str, Any], results: Any) -> None:
        """Note a call (see `_mode.Observer`)."""
        where = user_line()
        noted = tuple(self._operand(value, where) for value in operands)
        slots = tuple(
            [self.slot(item) for item in r] if isinstance(r, list) else self.slot(r)
            for r in results
        )
        self.entries.append(Entry(primitive, noted, dict(settings), slots, where))

    def take(self, primitive: Any, operands: Any, settings: dict[str, Any], aux: bool) -> Any:
        """Calls come by `call`."""
        raise AssertionError("calls are observed, not taken over")

    def finish(self, result: Any) -> None:
        """Note what the step returned; an array that no call made comes from outside too."""
        self.result = map_leaves(
            lambda value: (
                self._operand(as_array(value), "the step's result") if _is_value(value) else value
            ),
            result,
        )

    def refuse(self, action: str) -> None:
        """A value is being read (see `_mode.Observer`)."""
        raise ReplayError(READS.format(where=user_line(), action=action))

    def guard(self, owner: Any, attribute: str) -> None:
        """What was recorded holds while this attribute keeps its value."""
        self.guards.append((weakref.ref(owner), attribute, getattr(owner, attribute)))


def guard(owner: Any, attribute: str) -> None:
    """Tell a recording that the step depends on ``owner.attribute``: a change records it anew."""
    observer = _mode.observer()
    if observer is not None:
        observer.guard(owner, attribute)


def _bits(array: Any) -> bytes:
    return devices.to_numpy(array).tobytes()


class Program:
    """A list of calls that has been confirmed by two recordings."""

    def __init__(self, recording: Recording, state: dict[int, Any], inputs: list[Slot]) -> None:
        self.guards = recording.guards
        self.length = len(recording._kept)
        self.state = state
        self.inputs = inputs
        self.actions = [_bound(entry, recording) for entry in recording.entries]
        self.result = recording.result

    def holds(self) -> bool:
        """Do all guards still hold?"""
        for reference, attribute, value in self.guards:
            owner = reference()
            if owner is None or getattr(owner, attribute) != value:
                return False
        return True

    def run(self, arrays: list[Any]) -> Any:
        """Run the calls on new arguments and return what the step returned."""
        values: list[Any] = [None] * self.length
        for number, array in self.state.items():
            values[number] = array
        for slot, array in zip(self.inputs, arrays, strict=True):
            values[slot.number] = array
        for action in self.actions:
            action(values)
        return map_leaves(
            lambda part: untracked(values[part.number]) if isinstance(part, Slot) else part,
            self.result,
        )


def _bound(entry: Entry, recording: Recording) -> Callable[[list[Any]], None]:
    """A recorded call as a function of the list of values, with all that is known looked up."""
    primitive, settings = entry.primitive, entry.settings
    arrays = [recording.array(part) for part in leaves(list(entry.operands)) if _is_slot(part)]
    arrays += [recording.array(part) for part in leaves(list(entry.results))]
    xp = devices.namespace(*arrays)
    body = primitive.body_for(xp)
    if primitive.inline is not None and xp is np:
        run: Callable[..., Any] = primitive.inline
    else:

        def run(*operands: Any) -> Any:
            return body(xp, *operands, **settings)

    if primitive.mutates:
        target = primitive.arguments.index(primitive.mutates)

        def write(values: list[Any]) -> None:
            operands = [_value(part, values) for part in entry.operands]
            _mode.about_to_write(operands[target])
            run(*operands)
            note_write(operands[target])

        return write

    if primitive.aux or primitive.several:

        def call_several(values: list[Any]) -> None:
            results = run(*[_value(part, values) for part in entry.operands])
            for slot, result in zip(leaves(list(entry.results)), results, strict=True):
                values[slot.number] = result

        return call_several

    place = entry.results[0].number
    numbers = [part.number for part in entry.operands if _is_slot(part)]
    if len(numbers) == len(entry.operands) <= 2:
        first, *rest = numbers or [0]
        if len(numbers) == 1:

            def call_one(values: list[Any]) -> None:
                y = run(values[first])
                values[place] = y if devices.is_array(y) else xp.asarray(y)

            return call_one
        if len(numbers) == 2:
            second = rest[0]

            def call_two(values: list[Any]) -> None:
                y = run(values[first], values[second])
                values[place] = y if devices.is_array(y) else xp.asarray(y)

            return call_two

    def call(values: list[Any]) -> None:
        y = run(*[_value(part, values) for part in entry.operands])
        values[place] = y if devices.is_array(y) else xp.asarray(y)

    return call


def _is_slot(part: Any) -> bool:
    return isinstance(part, Slot)


def _value(part: Any, values: list[Any]) -> Any:
    if isinstance(part, Slot):
        return values[part.number]
    if isinstance(part, list):
        return [_value(item, values) for item in part]
    return part


class Replay:
    """A step that records itself on its first calls, then replays.  Made by `replay`."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self._step = step
        self._recordings: dict[Any, tuple[Recording, list[Slot], int]] = {}
        self._programs: dict[Any, Program] = {}
        self.__name__ = getattr(step, "__name__", type(step).__name__)
        self.__doc__ = step.__doc__

    def __call__(self, *args: Any) -> Any:
        """Run the step: recorded on the first calls with these shapes, replayed afterwards.

        Where calls are observed, by anomaly mode or another step that is being recorded, the step
        runs as it stands: a list of bodies would pass the observer by.
        """
        flat = leaves(list(args))
        if _mode.observer() is not None:
            tensors = [untracked(as_array(a)) if devices.is_array(a) else a for a in flat]
            return self._step(*unflatten(list(args), tensors))
        arrays = [as_array(a) if _is_value(a) else a for a in flat]
        key = _key(args, arrays)
        program = self._programs.get(key)
        if program is not None:
            if program.holds():
                return program.run([a for a in arrays if devices.is_array(a)])
            del self._programs[key]
        return self._record(key, args, arrays)

    @property
    def recorded(self) -> int:
        """How many variants (shapes, modes) of the step are ready to be replayed."""
        return len(self._programs)

    def _record(self, key: Any, args: tuple[Any, ...], arrays: list[Any]) -> Any:
        recording = Recording()
        tensors = [untracked(a) if devices.is_array(a) else a for a in arrays]
        inputs = [recording.slot(a) for a in arrays if devices.is_array(a)]
        with _mode.observed(recording):
            result = self._step(*unflatten(list(args), tensors))
        recording.finish(result)
        earlier = self._recordings.get(key)
        if earlier is not None:
            old, _, tries = earlier
            try:
                state = _confirmed(old, recording)
            except ReplayError as error:
                # The first call may build state that later ones find: one difference is forgiven.
                if tries > 1 or not getattr(error, "forgivable", False):
                    raise
                self._recordings[key] = (recording, inputs, tries + 1)
                return result
            self._programs[key] = Program(recording, state, inputs)
            del self._recordings[key]
        else:
            self._recordings[key] = (recording, inputs, 1)
        return result


def _is_value(a: Any) -> bool:
    return isinstance(a, (Tensor, np.ndarray)) or devices.is_array(a)


def _key(args: tuple[Any, ...], arrays: list[Any]) -> Any:
    parts: list[Any] = [repr(map_leaves(lambda _: "*", list(args)))]
    first: dict[int, int] = {}  # one array passed twice is another step than two arrays
    for i, a in enumerate(arrays):
        if devices.is_array(a):
            same = first.setdefault(id(a), i)
            parts.append((a.shape, str(a.dtype), str(devices.device_of(a)), same))
        else:
            parts.append((type(a), a))
    return tuple(parts)


def _confirmed(old: Recording, new: Recording) -> dict[int, Any]:
    """The arrays from outside that a program reads, by slot.  Raises ReplayError."""
    for a, b in zip(old.entries, new.entries, strict=False):
        if a.primitive is not b.primitive or not _same_shape(a, b):
            error = ReplayError(
                OTHER_PATH.format(
                    where=b.where, old=f"{a.primitive.name} at {a.where}", new=b.primitive.name
                )
            )
            error.forgivable = True  # type: ignore[attr-defined]  # read where it is caught
            raise error
    if len(old.entries) != len(new.entries):
        longer = max(old.entries, new.entries, key=len)
        extra = longer[min(len(old.entries), len(new.entries))]
        error = ReplayError(
            OTHER_PATH.format(
                where=extra.where, old=f"{len(old.entries)} calls", new=f"{len(new.entries)} calls"
            )
        )
        error.forgivable = True  # type: ignore[attr-defined]  # read where it is caught
        raise error
    for a, b in zip(old.entries, new.entries, strict=True):
        _same_numbers(list(a.operands), list(b.operands), b.where)
        for name, value in a.settings.items():
            _same_numbers(value, b.settings[name], b.where)
    state = {}
    for number, (array, where) in new.outside.items():
        before = old.outside.get(number)
        if before is not None and before[0] is not array and old.bits[number] != new.bits[number]:
            raise ReplayError(CHANGED_ARRAY.format(where=where, shape=array.shape))
        state[number] = array
    return state


def _same_shape(a: Entry, b: Entry) -> bool:
    """Do two calls have slots in the same places?"""
    return _places(a.operands) == _places(b.operands) and a.results == b.results


def _places(value: Any) -> Any:
    if isinstance(value, Slot):
        return value
    if isinstance(value, (list, tuple)):
        return [_places(item) for item in value]
    return None


def _same_numbers(old: Any, new: Any, where: str) -> None:
    if isinstance(old, (list, tuple)) and type(old) is type(new) and len(old) == len(new):
        for a, b in zip(old, new, strict=True):
            _same_numbers(a, b, where)
        return
    if old is new or old == new:
        return
    if isinstance(old, float) and isinstance(new, float) and math.isnan(old) and math.isnan(new):
        return
    raise ReplayError(CHANGED_NUMBER.format(where=where, old=old, new=new))


def replay(step: Callable[..., Any]) -> Replay:
    """Make a step that is recorded on its first calls and replayed with equal bits from then on.

    step: a function of arrays (or nests of them) that computes, calls `backward` and updates
          parameters; its Python runs only while it is recorded.
    Shapes, dtypes, devices, Python arguments and the mode of modules are guards: where one differs,
    the step is recorded anew.  Raises ReplayError, naming the line, for what cannot be repeated.
    """
    return Replay(step)
