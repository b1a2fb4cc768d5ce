"""`confirm_recordings` compares two recordings of a step, to find out whether it can be replayed.

An array from outside the step that is the same object in both recordings is state (parameters,
gradients, running means); replay reads it where it is.  Any other array from outside must hold the
same bits in both, and is a constant.  An array that changes can be neither, and is an error that
names the line that used it.
"""

from __future__ import annotations

from typing import Any

from tapegrad.autograd.core.tensor import Tensor, array_of
from tapegrad.autograd.replay.places import is_plain, is_same
from tapegrad.autograd.replay.recording import ProgramEntry, ProgramSlot, Recording, ReplayError

__all__ = ["confirm_recordings"]

CHANGED_BY_STEP = (
    "the step changes {place} from {old!r:.60} to {new!r:.60} in each call; replay does not run "
    "its Python, so the change would be missing. Make it outside of the step, or keep the number "
    "in a 0-d array that the step updates in place."
)
REBOUND_BY_STEP = (
    "{where}: the step binds another array to {place} in each call; replay would go on with the "
    "first. Write the new values into it in place (x[...] = v, "
    "Buffer.assign; for gradients zero them in place instead of setting None)."
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


def confirm_recordings(old: Recording, new: Recording) -> dict[int, Any]:
    """The arrays from outside the step that a program reads, by slot number.

    Raises ReplayError where the recordings differ.
    """
    for a, b in zip(old.entries, new.entries, strict=False):
        if a.primitive is not b.primitive or not _has_same_slots(a, b):
            error = ReplayError(
                OTHER_PATH.format(
                    where=b.where, old=f"{a.primitive.name} at {a.where}", new=b.primitive.name
                )
            )
            error.forgivable = True
            raise error
    if len(old.entries) != len(new.entries):
        longer = max(old.entries, new.entries, key=len)
        extra = longer[min(len(old.entries), len(new.entries))]
        error = ReplayError(
            OTHER_PATH.format(
                where=extra.where, old=f"{len(old.entries)} calls", new=f"{len(new.entries)} calls"
            )
        )
        error.forgivable = True
        raise error
    for a, b in zip(old.entries, new.entries, strict=True):
        _require_same_numbers(list(a.operands), list(b.operands), b.where)
        for name, value in a.settings.items():
            _require_same_numbers(value, b.settings[name], b.where)
    _refuse_changes(new)
    state = {}
    begun = {id(array) for each in (old, new) for _, array in each.watches.begun}
    for number, (array, where) in new.outside.items():
        earlier = old.outside.get(number)
        if earlier is None or earlier[0] is array or {id(earlier[0]), id(array)} <= begun:
            state[number] = array
            continue
        if old.bits[number] != new.bits[number]:
            raise ReplayError(CHANGED_ARRAY.format(where=where, shape=array.shape))
        state[number] = array
    return state


def _refuse_changes(recording: Recording) -> None:
    """Raise ReplayError for what the step reads and changes itself, without writing in place."""
    read = {id(array): where for array, where in recording.outside.values()}
    for place, old, new in recording.changed:
        if is_plain(old) and is_plain(new) and old is not None:
            raise ReplayError(CHANGED_BY_STEP.format(place=place, old=old, new=new))
        array = array_of(old) if isinstance(old, Tensor) else old
        gradient = place.endswith(".grad") and old is not None
        if gradient or id(array) in read:
            where = read.get(id(array), "the step")
            raise ReplayError(REBOUND_BY_STEP.format(where=where, place=place))


def _has_same_slots(a: ProgramEntry, b: ProgramEntry) -> bool:
    """True if two calls have the same slots at the same positions."""
    return _slot_structure(a.operands) == _slot_structure(b.operands) and a.results == b.results


def _slot_structure(value: Any) -> Any:
    if isinstance(value, ProgramSlot):
        return value
    if isinstance(value, (list, tuple)):
        return [_slot_structure(item) for item in value]
    return None


def _require_same_numbers(old: Any, new: Any, where: str) -> None:
    if isinstance(old, (list, tuple)) and type(old) is type(new) and len(old) == len(new):
        for a, b in zip(old, new, strict=True):
            _require_same_numbers(a, b, where)
        return
    if old is new or (is_same(old, new) if isinstance(old, (float, complex)) else old == new):
        return
    raise ReplayError(CHANGED_NUMBER.format(where=where, old=old, new=new))
