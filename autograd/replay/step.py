"""Replay: record a step once as one list of primitive calls, and run the list again.

A training step (forward, reverse, update) is Python deciding which primitives to call.  While it is
recorded (`recording.py`), every call and every in-place write is noted: which body, on which
values, with which settings.  Running the list again repeats the arithmetic without the decisions,
with equal bits.

What a value is, is decided by comparing two recordings of the step (`confirm.py`).  An argument is
bound anew at each call.  What is confirmed is a program (`program.py`), data that a back end makes
runnable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, overload

from tapegrad import devices
from tapegrad.autograd.core.mode import is_followed, observed
from tapegrad.autograd.core.tensor import as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves, unflatten
from tapegrad.autograd.replay.confirm import confirmed
from tapegrad.autograd.replay.plain import plain
from tapegrad.autograd.replay.program import Program, Run
from tapegrad.autograd.replay.recording import Recording, ReplayError, Slot, is_value

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Replay", "replay"]

P = ParamSpec("P")  # the step's own parameters


class Replay(Generic[P]):
    """A step that records itself on its first calls, then replays.  Made by `replay`."""

    def __init__(self, step: Callable[P, Any]) -> None:
        self._step: Callable[..., Any] = step
        self._recordings: dict[Any, tuple[Recording, list[Slot], int]] = {}
        self._programs: dict[Any, tuple[Program, Run]] = {}
        self.__name__ = getattr(step, "__name__", type(step).__name__)
        self.__doc__ = step.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run the step: recorded on the first calls with these shapes, replayed afterwards.

        Where calls are followed, by anomaly mode, another step that is being recorded or a batch,
        the step runs as it stands: a list of bodies would pass them by.
        """
        # the arguments as one nest: a list by position, a pair where some were passed by name
        nest: Any = (list(args), kwargs) if kwargs else list(args)
        flat = leaves(nest)
        if is_followed():
            tensors = [untracked(as_array(a)) if devices.is_array(a) else a for a in flat]
            return self._run_step(unflatten(nest, tensors))
        arrays = [as_array(a) if is_value(a) else a for a in flat]
        key = _key(nest, arrays)
        known = self._programs.get(key)
        if known is not None:
            program, run = known
            if program.holds():
                return run([a for a in arrays if devices.is_array(a)])
            del self._programs[key]
        return self._record(key, nest, arrays)

    @property
    def recorded(self) -> int:
        """How many variants (shapes, modes) of the step are ready to be replayed."""
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
        with observed(recording):
            result = self._run_step(unflatten(nest, tensors))
        recording.finish(result)
        earlier = self._recordings.get(key)
        if earlier is not None:
            old, _, tries = earlier
            try:
                state = confirmed(old, recording)
            except ReplayError as error:
                # The first call may build state that later ones find: one difference is forgiven.
                if tries > 1 or not error.forgivable:
                    raise
                self._recordings[key] = (recording, inputs, tries + 1)
                return result
            program = Program(recording, state, inputs)
            self._programs[key] = program, plain(program)
            del self._recordings[key]
        else:
            self._recordings[key] = (recording, inputs, 1)
        return result


def _key(nest: Any, arrays: list[Any]) -> Any:
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
    Shapes, dtypes, devices, Python arguments and the mode of modules are guards: where one differs,
    the step is recorded anew.  Raises ReplayError, naming the line, for what cannot be repeated.
    """
    return Replay(step)
