"""`replay` records a step as one list of primitive calls, and runs the list from then on.

In a training step (forward, reverse, update) Python decides which primitives to call.  A recording
(`recording.py`) notes every call and every in-place write: which body, on which values, with which
settings.  To run the list again repeats the arithmetic without the decisions, with equal bits.

Two recordings of the step are compared (`confirm.py`) to find out which values are constants and
which are state; arguments are new at each call.  The result is a program (`program.py`), data from
which a back end makes a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, overload

from tapegrad import devices
from tapegrad.autograd.core.mode import install_observer, is_followed
from tapegrad.autograd.core.tensor import as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves, replace_leaves
from tapegrad.autograd.replay.confirm import confirm_recordings
from tapegrad.autograd.replay.plain import bind_bodies
from tapegrad.autograd.replay.program import Program, ProgramRun
from tapegrad.autograd.replay.recording import (
    ProgramSlot,
    Recording,
    ReplayError,
    is_array_or_tensor,
)

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Replay", "replay"]

P = ParamSpec("P")  # the step's own parameters


class Replay(Generic[P]):
    """A step that is recorded on its first calls and replayed afterwards; `replay` makes one."""

    def __init__(self, step: Callable[P, Any]) -> None:
        self._step: Callable[..., Any] = step
        self._recordings: dict[Any, tuple[Recording, list[ProgramSlot], int]] = {}
        self._programs: dict[Any, tuple[Program, ProgramRun]] = {}
        self.__name__ = getattr(step, "__name__", type(step).__name__)
        self.__doc__ = step.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run the step: recorded on the first calls with these shapes, replayed afterwards.

        While anomaly mode, the recording of another step or a batch follows all calls, the step
        runs as ordinary Python, since these would not see a replay.
        """
        # the arguments as one nest: a list by position, a pair where some were passed by name
        nest: Any = (list(args), kwargs) if kwargs else list(args)
        flat = leaves(nest)
        if is_followed():
            tensors = [untracked(as_array(a)) if devices.is_array(a) else a for a in flat]
            return self._run_step(replace_leaves(nest, tensors))
        arrays = [as_array(a) if is_array_or_tensor(a) else a for a in flat]
        key = _call_key(nest, arrays)
        known = self._programs.get(key)
        if known is not None:
            program, run = known
            if program.guards_hold():
                return run([a for a in arrays if devices.is_array(a)])
            del self._programs[key]
        return self._record(key, nest, arrays)

    @property
    def recorded(self) -> int:
        """The number of variants of the step (shapes, modes) that are ready to be replayed."""
        return len(self._programs)

    def _run_step(self, nest: Any) -> Any:
        """Call the step with the arguments of a nest, as `__call__` makes it."""
        if isinstance(nest, tuple):
            args, kwargs = nest
            return self._step(*args, **kwargs)
        return self._step(*nest)

    def _record(self, key: Any, nest: Any, arrays: list[Any]) -> Any:
        recording = Recording()
        tensors = [untracked(a) if devices.is_array(a) else a for a in arrays]
        inputs = [recording.slot(a) for a in arrays if devices.is_array(a)]
        with install_observer(recording):
            result = self._run_step(replace_leaves(nest, tensors))
        recording.finish(result)
        earlier = self._recordings.get(key)
        if earlier is not None:
            old, _, tries = earlier
            try:
                state = confirm_recordings(old, recording)
            except ReplayError as error:
                # The first call may build state that later calls use: one difference is accepted.
                if tries > 1 or not error.forgivable:
                    raise
                self._recordings[key] = (recording, inputs, tries + 1)
                return result
            program = Program(recording, state, inputs)
            self._programs[key] = program, bind_bodies(program)
            del self._recordings[key]
        else:
            self._recordings[key] = (recording, inputs, 1)
        return result


def _call_key(nest: Any, arrays: list[Any]) -> Any:
    parts: list[Any] = [repr(map_leaves(lambda _: "*", nest))]
    first: dict[int, int] = {}  # one array passed twice is another step than two arrays
    for i, a in enumerate(arrays):
        if devices.is_array(a):
            same = first.setdefault(id(a), i)
            parts.append((a.shape, str(a.dtype), str(devices.device_of(a)), same))
        else:
            parts.append((type(a), a))
    return tuple(parts)


@overload
def replay(step: np.ufunc) -> Replay[...]: ...
@overload
def replay(step: Callable[P, Any]) -> Replay[P]: ...
def replay(step: Callable[..., Any]) -> Replay[...]:
    """Make a step that is recorded on its first calls and replayed with equal bits from then on.

    step: a function of arrays (or nests of them) that computes, calls `backward` and updates
          parameters; its Python runs only while it is recorded.
    A call with other shapes, dtypes, devices or Python arguments, or with modules in another mode,
    records the step anew.  Raises ReplayError, which names the line, for what cannot be repeated.
    """
    return Replay(step)
