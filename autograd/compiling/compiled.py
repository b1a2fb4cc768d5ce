"""`compile` makes a step that is recorded as `replay` records it, and then runs as machine code.

Guards, fallbacks and errors are replay's: a call with other shapes, dtypes, strides, devices or
settings is recorded anew.  Only what runs a recorded program is another.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, ParamSpec, overload

import numpy as np

from tapegrad import devices
from tapegrad.autograd.compiling.blocks import LEAST_ENTRIES
from tapegrad.autograd.compiling.bound import BoundProgram, bind_program
from tapegrad.autograd.compiling.explaining import explanation
from tapegrad.autograd.compiling.first_writes import write_first_instead_of_zeroing
from tapegrad.autograd.compiling.grouping import group_entries
from tapegrad.autograd.compiling.joined_parts import join_parts
from tapegrad.autograd.compiling.launched import bind_launched
from tapegrad.autograd.compiling.layouts import layouts_elsewhere, layouts_of, may_overlap
from tapegrad.autograd.compiling.passes import (
    fold_constants,
    join_equal_entries,
    ownership_of,
    remove_unused,
)
from tapegrad.autograd.compiling.row_gradients import write_rows_first
from tapegrad.autograd.compiling.scalar_code import obstacle_to
from tapegrad.autograd.compiling.times import NO_TIMES, draw_timeline
from tapegrad.autograd.core.mode import is_followed
from tapegrad.autograd.core.tensor import Tensor, array_of
from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.kept_memory import LEAST as LEAST_KEPT
from tapegrad.autograd.kernels.kept_memory import give_back_kept_memory, keeping_memory
from tapegrad.autograd.replay.plain import bind_bodies
from tapegrad.autograd.replay.step import Replay

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.layouts import Layout
    from tapegrad.autograd.core.drawing import Picture
    from tapegrad.autograd.replay.program import Program, ProgramRun
    from tapegrad.autograd.replay.recording import Recording

__all__ = ["Compiled", "compile"]

P = ParamSpec("P")  # the step's own parameters
_Form = tuple[Any, ...] | None

PASSES = (
    fold_constants,
    join_equal_entries,
    remove_unused,
    join_parts,
    write_first_instead_of_zeroing,
    write_rows_first,
)

COMPILED_VARIANTS = 64  # of one step; the least recently used one is replayed from then on

NOT_RECORDED = "{name} has not been recorded yet: call it twice first.\n"
REFUSED = "compile: LLVM refuses a kernel, so operations run one by one: {error}"
NOT_COMPILED = "its arrays are not all of one library, or some are not aligned"

_uses = count()


class Compiled(Replay[P]):
    """A step that is recorded on its first calls and compiled for the later ones; see `compile`."""

    def __init__(self, step: Callable[P, Any], *, fuse: bool = True) -> None:
        super().__init__(step)
        self._fuse = fuse
        self._is_timed = False
        # (program as recorded, after the passes, what runs it)
        self._bound: list[tuple[Program, Program, BoundProgram | str]] = []
        # the form of the arguments, what is known of it, and the program that ran
        self._latest: tuple[list[_Form], Any, Program, ProgramRun] | None = None

    _step_results = ("_variants", "_alike", "_bound", "_latest", "_is_timed")

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), fuse=self._fuse), (self._step,)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run the step as `Replay.__call__` does; a call like the last one finds its way faster."""
        latest = self._latest
        if latest is None or kwargs or is_followed():
            return self._call_slowly(args, kwargs)
        forms, known, program, run = latest
        arrays: list[Any] = []
        for a in args:
            if isinstance(a, Tensor):
                if a.tracked:
                    return self._call_slowly(args, kwargs)
                arrays.append(array_of(a))
            else:
                arrays.append(a)
        if list(map(_form, arrays)) == forms and _are_distinct(arrays) and program.is_valid():
            known.misses = 0
            return run(arrays)
        return self._call_slowly(args, kwargs)

    def _call_slowly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = super().__call__(*args, **kwargs)
        arrays = [array_of(a) if isinstance(a, Tensor) else a for a in args]
        forms = [_form(a) for a in arrays]
        if not kwargs and None not in forms and _are_distinct(arrays) and not is_followed():
            known = self._variants.get(self._call_key(list(args), arrays))
            programs = known.programs if known is not None else []
            found = next(((p, run) for p, run in programs if p.is_valid()), None)
            self._latest = None if found is None else (forms, known, *found)
        return result

    def explain(self) -> str:
        """A table of what the step runs: kernels and calls, with their lines, and its memory.

        Where something kept an entry out of a kernel, the table says what.  One part for each
        variant (shapes, settings) that has been compiled.  Microseconds of each kernel and call,
        the minimum over the calls within `timing()`, stand in a column of their own.
        """
        self._forget_old_programs()
        if not self._bound:
            return NOT_RECORDED.format(name=self.__name__)
        return "\n".join(explanation(program, bound) for _, program, bound in self._bound)

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Within ``with step.timing():`` calls note how long each kernel and each call takes.

        `explain()` and `timeline()` show it.  The calls before, which record and compile, are not
        timed; times of an earlier `timing()` are forgotten.
        """
        for _, _, bound in self._bound:
            if not isinstance(bound, str):
                bound.times.calls.clear()
        self._is_timed = True
        try:
            yield
        finally:
            self._is_timed = False

    def timeline(self) -> Picture:
        """Draw the fastest call of those within `timing()`, as a bar for each kernel and call.

        Of several variants, the one that was timed last.  Jupyter shows the picture; its method
        ``save("step.svg")`` writes a file.  Raises ValueError when no call has been timed.
        """
        timed = [b for *_, b in self._bound if not isinstance(b, str) and b.times.calls]
        if not timed:
            raise ValueError(f"{self.__name__}.timeline: {NO_TIMES}")
        latest = max(timed, key=lambda bound: bound.times.calls[-1][0])
        return draw_timeline(latest, self.__name__)

    def _forget_old_programs(self) -> None:
        """Keep nothing of variants that `replay` has dropped."""
        kept = {id(p) for known in self._variants.values() for p, _ in known.programs}
        self._bound = [each for each in self._bound if id(each[0]) in kept]

    def _bind(self, program: Program, recording: Recording) -> ProgramRun:
        self._forget_old_programs()
        recorded, plain = program, bind_bodies(program)
        layouts = layouts_of(recording.forms)
        elsewhere = layouts is None
        if layouts is None:
            libraries = {entry.xp for entry in program.entries}
            alike = len(libraries) == 1 and np not in libraries
            layouts = layouts_elsewhere(recording.forms) if alike else None
        if layouts is None:
            self._bound.append((recorded, program, NOT_COMPILED))
            return plain
        for rewrite in PASSES:
            program = rewrite(program, layouts)
        if elsewhere:
            bound = bind_launched(program, layouts, ownership_of(program, layouts), fuse=self._fuse)
        else:
            give_back_kept_memory()  # of the calls that were recorded
            bound = self._compile(program, layouts)
        self._bound.append((recorded, program, bound))
        self._make_room()

        def run(arrays: list[Any]) -> Any:
            return (bound.timed if self._is_timed else bound.run)(arrays)

        if not elsewhere and any(layout.nbytes >= LEAST_KEPT for layout in layouts):
            # not all is planned: calls of libraries make arrays as well
            run = keeping_memory(run)
        return _Guarded(run, plain, program.apart)

    def _make_room(self) -> None:
        """Leave the least recently used programs to replay, for one more that is compiled."""
        runs = [
            (run, program)
            for known in list(self._variants.values())
            for program, run in known.programs
            if isinstance(run, _Guarded) and run.compiled is not None
        ]
        runs.sort(key=lambda each: each[0].last_use)
        for run, program in runs[: max(0, len(runs) + 1 - COMPILED_VARIANTS)]:
            run.compiled = None
            self._bound = [each for each in self._bound if each[0] is not program]

    def _compile(self, program: Program, layouts: list[Layout]) -> BoundProgram:
        ownership = ownership_of(program, layouts)
        if self._fuse and machine.is_available():
            try:
                groups = group_entries(program, layouts, ownership, obstacle_to)
                return bind_program(program, groups, layouts, ownership)
            except RuntimeError as error:  # LLVM refuses a text on this machine
                warnings.warn(REFUSED.format(error=error), RuntimeWarning, stacklevel=5)
                groups = group_entries(program, layouts, ownership, None)
        elif self._fuse:
            groups = group_entries(program, layouts, ownership, lambda _: "", LEAST_ENTRIES)
        else:
            groups = group_entries(program, layouts, ownership, None)
        return bind_program(program, groups, layouts, ownership, exact=not self._fuse)

    def _call_key(self, nest: Any, arrays: list[Any]) -> Any:
        layouts = tuple(
            (a.strides, getattr(a.flags, "aligned", True))
            if devices.is_array(a) and hasattr(a, "strides")
            else None
            for a in arrays
        )
        return layouts, super()._call_key(nest, arrays)


class _Guarded:
    """Run compiled, or replay where that would not do.

    compiled: None once the program has been left to replay
    apart:    the memory that no argument may share
    """

    def __init__(self, compiled: ProgramRun, plain: ProgramRun, apart: tuple[Any, ...]) -> None:
        self.compiled: ProgramRun | None = compiled
        self.last_use = next(_uses)
        self._plain, self._apart = plain, apart
        self._running = threading.Lock()  # a second thread must not write into the same memory

    def __call__(self, arrays: list[Any]) -> Any:
        run = self.compiled
        self.last_use = next(_uses)
        if run is None or any(may_overlap(a, b) for b in self._apart for a in arrays):
            return self._plain(arrays)
        if self._running.locked():
            return self._plain(arrays)
        # No exception of a signal comes between `with` and its lock, as it may after `acquire`.
        with self._running:  # where two threads come at once, one waits here
            return run(arrays)


def _form(array: Any) -> _Form:
    """What an argument must have in common with that of an earlier call; None for no array."""
    if type(array) is np.ndarray:
        return (array.shape, array.dtype, array.strides) if array.flags.aligned else None
    if not devices.is_array(array) or not hasattr(array, "strides"):
        return None
    return array.shape, array.dtype, array.strides, devices.device_of(array)


def _are_distinct(arrays: list[Any]) -> bool:
    return len(set(map(id, arrays))) == len(arrays)


@overload
def compile(step: np.ufunc, *, fuse: bool = True) -> Compiled[...]: ...
@overload
def compile(step: Callable[P, Any], *, fuse: bool = True) -> Compiled[P]: ...
def compile(step: Callable[..., Any], *, fuse: bool = True) -> Compiled[...]:
    """Make a step that is recorded on its first calls, and compiled for the calls after them.

    step: a function as `replay` takes it, with the same guards and errors
    fuse: False keeps each operation by itself, and gives the bits of ordinary calls on Tensors

    The intermediate values of a compiled step lie in memory that all its calls share.  Runs of
    elementwise operations, and sums within them, become one loop each (with the `fast` extra).
    Fused arithmetic gives NumPy's bits; exp, log and their relatives of float32 are within
    one unit in the last place, tanh within 2.5, and sums are added in float64.  Floating point
    warnings (`np.errstate`) come only from what is not fused.  `explain()` says what became of the
    step.

    >>> import tapegrad as tg
    >>> step = compile(tg.value_and_grad(lambda w: np.sum(np.tanh(w) ** 2)))
    >>> [round(step(np.array([0.5, 1.0]))[0].item(), 4) for _ in range(3)]
    [0.7936, 0.7936, 0.7936]
    """
    return Compiled(step, fuse=fuse)
