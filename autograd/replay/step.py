"""`replay` records a step as one list of primitive calls, and runs the list from then on.

In a training step (forward, reverse, update) Python decides which primitives to call.  A recording
(`recording.py`) notes every call and every in-place write: which body, on which values, with which
settings.  To run the list again repeats the arithmetic without the decisions, with equal bits.

Two recordings of the step are compared (`confirm.py`) to find out which values are constants and
which are state; arguments are new at each call.  The result is a program (`program.py`), data from
which a back end makes a function.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.mode import install_observer, is_followed, is_recording
from tapegrad.autograd.core.tensor import Tensor, as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves, replace_leaves
from tapegrad.autograd.replay.confirm import confirm_recordings
from tapegrad.autograd.replay.plain import bind_bodies
from tapegrad.autograd.replay.program import Program, ProgramRun
from tapegrad.autograd.replay.recording import (
    Recording,
    ReplayError,
    is_array_or_tensor,
)

if TYPE_CHECKING:
    from tapegrad.autograd.replay.watching import Watches

__all__ = ["Replay"]

P = ParamSpec("P")  # the step's own parameters

KEYS = 256  # shapes and Python arguments of one step that are remembered; the oldest goes
ALIKE = 32  # new keys in a row that differ in Python arguments alone
VARIANTS = 8  # of one step with one key, such as training and evaluation mode; the oldest goes
MISSES = 6  # calls in a row that found other settings than all before them

NEVER_THE_SAME = (
    "replay: {place} was another than before at each of the last calls, so {name} runs without "
    "replay. Pass what changes as an argument, or write it in place into a Tensor or Buffer."
)

OTHER_NUMBERS = (
    "replay: argument {number} was another value at each of the last {count} calls, and a step is "
    "recorded for each, so {name} runs without replay for values that are new. Pass a number that "
    "changes as a 0-d array."
)
TRACKED = (
    "{name}: argument {number} is tracked, and what a recorded step returns has no past, so its "
    "derivative would be lost. Differentiate within the step, as in replay(value_and_grad(f)), or "
    "pass x.detach()."
)


class _Variants:
    """What is known of a step for one key: programs, recordings that nothing has confirmed yet."""

    def __init__(self) -> None:
        self.programs: list[tuple[Program, ProgramRun]] = []
        self.pending: list[_Pending] = []
        self.misses = 0

    def latest_watches(self) -> Watches:
        """What the latest recording, or else the latest program, watches."""
        if self.pending:
            return self.pending[-1].recording.watches
        return self.programs[-1][0].watches


class _Pending:
    """A recording that waits for a second one, and how many were made for it."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.tries = 1


class Replay(Generic[P]):
    """A step that is recorded on its first calls and replayed afterwards; `replay` makes one."""

    _step_results: tuple[str, ...] = ("_variants", "_alike")

    def __init__(self, step: Callable[P, Any]) -> None:
        self._step: Callable[..., Any] = step
        self._variants: dict[Any, _Variants] = {}
        # Python arguments of the last new key, and how many like it came in a row.
        self._alike: tuple[Any, int] = (None, 0)
        self.__name__ = getattr(step, "__name__", type(step).__name__)
        self.__doc__ = step.__doc__

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.__name__}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run the step: recorded on the first calls with these shapes, replayed afterwards.

        While anomaly mode, the recording of another step or a batch follows all calls, the step
        runs as ordinary Python, since these would not see a replay.
        """
        # the arguments as one nest: a list by position, a pair where some were passed by name
        nest: Any = (list(args), kwargs) if kwargs else list(args)
        flat = leaves(nest)
        if is_recording():
            self._refuse_tracked(flat)
        if is_followed():
            tensors = [untracked(as_array(a)) if devices.is_array(a) else a for a in flat]
            return self._run_step(replace_leaves(nest, tensors))
        arrays = [as_array(a) if is_array_or_tensor(a) else a for a in flat]
        key = self._call_key(nest, arrays)
        known = self._variants.get(key)
        if known is None:
            if self._is_never_the_same(arrays):
                tensors = [untracked(a) if devices.is_array(a) else a for a in arrays]
                return _without_past(self._run_step(replace_leaves(nest, tensors)))
            known = self._add_key(key)
        for program, run in known.programs:
            if program.is_valid():
                known.misses = 0
                self._alike = (None, 0)
                return run([a for a in arrays if devices.is_array(a)])
        return self._record(known, nest, arrays)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._step,)  # a copy records anew

    def _add_key(self, key: Any) -> _Variants:
        """Make room for the programs of a new key; the oldest key goes where there are too many."""
        while len(self._variants) >= KEYS:
            self._variants.pop(next(iter(self._variants)), None)
        known = self._variants[key] = _Variants()
        return known

    def _is_never_the_same(self, arrays: list[Any]) -> bool:
        """Whether new Python arguments have come at each of many calls with arrays alike."""
        form = [(a.shape, a.dtype) if devices.is_array(a) else type(a) for a in arrays]
        values = [None if devices.is_array(a) else a for a in arrays]
        (earlier, count) = self._alike
        if earlier is None or earlier[0] != form:
            self._alike = ((form, values), 1)
            return False
        self._alike = ((form, values), count + 1)
        if count == ALIKE:
            changed = (i for i, (a, b) in enumerate(zip(earlier[1], values, strict=True)) if a != b)
            number = next(changed, 0)
            text = OTHER_NUMBERS.format(name=self.__name__, number=number, count=ALIKE)
            warnings.warn(text, RuntimeWarning, stacklevel=3)
        return count >= ALIKE

    @property
    def recorded(self) -> int:
        """The number of variants of the step (shapes, settings) that are ready to be replayed."""
        return sum(len(known.programs) for known in self._variants.values())

    def _refuse_tracked(self, flat: list[Any]) -> None:
        """Raise ReplayError for a tracked argument: the result of a recorded step has no past."""
        for number, a in enumerate(flat):
            if isinstance(a, Tensor) and a.tracked:
                raise ReplayError(TRACKED.format(name=self.__name__, number=number))

    def _run_step(self, nest: Any) -> Any:
        """Call the step with the arguments of a nest, as `__call__` makes it."""
        if isinstance(nest, tuple):
            args, kwargs = nest
            return self._step(*args, **kwargs)
        return self._step(*nest)

    def _record(self, known: _Variants, nest: Any, arrays: list[Any]) -> Any:
        tensors = [untracked(a) if devices.is_array(a) else a for a in arrays]
        earlier = next((each for each in known.pending if each.recording.watches.hold()), None)
        if earlier is None and (known.programs or known.pending):
            known.misses += 1
            if known.misses >= MISSES:
                if known.misses == MISSES:
                    place = known.latest_watches().difference()
                    text = NEVER_THE_SAME.format(name=self.__name__, place=place)
                    warnings.warn(text, RuntimeWarning, stacklevel=3)
                return _without_past(self._run_step(replace_leaves(nest, tensors)))
        recording = Recording()
        for read in (self._step, *(a for a in arrays if not devices.is_array(a))):
            recording.watches.add(read)
        inputs = [recording.slot(a, keep=True) for a in arrays if devices.is_array(a)]
        with install_observer(recording):
            result = self._run_step(replace_leaves(nest, tensors))
        recording.finish(result)
        result = _without_past(result)
        if earlier is None:
            recording.forget_arrays()
            known.pending = [*known.pending[1 - VARIANTS :], _Pending(recording)]
            return result
        try:
            state = confirm_recordings(earlier.recording, recording)
        except ReplayError as error:
            # The first call may build state that later calls use: one difference is accepted.
            if earlier.tries > 1 or not error.forgivable:
                raise
            recording.forget_arrays()
            earlier.recording, earlier.tries = recording, earlier.tries + 1
            return result
        if earlier in known.pending:  # another thread may have confirmed it too
            known.pending.remove(earlier)
        program = Program(recording, state, inputs, _made_anew(earlier.recording, recording))
        run = self._bind(program, recording)
        known.programs = [*known.programs[1 - VARIANTS :], (program, run)]
        return result

    def _bind(self, program: Program, recording: Recording) -> ProgramRun:
        """What runs a program; `recording` still has the arrays of its last call."""
        return bind_bodies(program)

    def _call_key(self, nest: Any, arrays: list[Any]) -> Any:
        """What the arguments of calls that share their programs have in common."""
        return _call_key(nest, arrays)


def _without_past(result: Any) -> Any:
    """The result as later calls give it: what a program computes has no past."""
    parts = leaves(result)
    if not any(isinstance(part, Tensor) and part.tracked for part in parts):
        return result
    return map_leaves(lambda part: part.detach() if isinstance(part, Tensor) else part, result)


def _made_anew(old: Recording, new: Recording) -> frozenset[int]:
    """The slots of arrays from outside that are another array, of equal bits, in each recording."""
    return frozenset(
        number
        for number, (array, _) in new.outside.items()
        if number in old.outside and old.outside[number][0] is not array
    )


def _call_key(nest: Any, arrays: list[Any]) -> Any:
    parts: list[Any] = [repr(map_leaves(lambda _: "*", nest))]
    first: dict[int, int] = {}  # one array passed twice is another step than two arrays
    for i, a in enumerate(arrays):
        if devices.is_array(a):
            same = first.setdefault(id(a), i)
            parts.append((a.shape, str(a.dtype), str(devices.device_of(a)), same))
        else:
            parts.append((type(a), _told_apart(a)))
    return tuple(parts)


def _told_apart(value: Any) -> Any:
    """A key for a Python argument: 0.0 is not -0.0, and nan is itself."""
    if isinstance(value, np.generic):
        return value.tobytes()
    return repr(value) if isinstance(value, (float, complex)) else value
