"""`bind_launched` runs a program on a GPU: generated kernels, and graphs of what is launched.

Intermediate values lie in fixed memory, each in a place that its last use frees.  The first call
launches each kernel and each body by itself.  The second records graphs: of everything in order,
up to a call that the library cannot record (a matrix product, a draw, a value that is read), which
runs by itself in later calls too and whose result is copied to where the next graph reads it.
Arguments are copied to fixed places, and what the step returns is copied from them.

Where the library has no launcher (the strict stand-in), each entry runs by its own body.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.compiling.binding import (
    Action,
    OtherForm,
    is_transposed,
    lifetimes_of,
    nothing,
    run_bodies_from,
    takes_out,
    view_of_fixed,
)
from tapegrad.autograd.compiling.bound import BoundProgram
from tapegrad.autograd.compiling.buffers import plan_buffers
from tapegrad.autograd.compiling.cuda_code import cuda_obstacle
from tapegrad.autograd.compiling.cuda_text import FLAT_THREADS, CudaText, Unwritable, cuda_text
from tapegrad.autograd.compiling.grouping import EntryGroup, group_entries
from tapegrad.autograd.compiling.layouts import Layout, Ownership, slots_in
from tapegrad.autograd.compiling.standins import Value
from tapegrad.autograd.compiling.times import StepTimes
from tapegrad.autograd.core.mode import announce_write
from tapegrad.autograd.core.node import note_write
from tapegrad.autograd.replay.plain import bind_entry, operand_value

if TYPE_CHECKING:
    from tapegrad.autograd.replay.program import Program
    from tapegrad.autograd.replay.recording import ProgramEntry
    from tapegrad.devices import Launcher

__all__ = ["bind_launched"]

LEAST_GRAPH = 2  # actions: a graph of one saves nothing


def bind_launched(
    program: Program, layouts: list[Layout], ownership: Ownership, *, fuse: bool = True
) -> BoundProgram:
    """Compile a program whose arrays are all of one library other than NumPy."""
    return _DeviceBinder(program, layouts, ownership, fuse=fuse).bind()


class _DeviceBinder:
    def __init__(
        self, program: Program, layouts: list[Layout], ownership: Ownership, *, fuse: bool
    ) -> None:
        self.program, self.layouts, self.ownership = program, layouts, ownership
        self.xp = program.entries[0].xp if program.entries else np
        example = self.xp.empty((), np.float32)
        self.device = devices.device_of(example)
        self.launcher: Launcher | None = devices.launcher_of(example)
        obstacle = cuda_obstacle if fuse and self.launcher is not None else None
        self.groups = group_entries(program, layouts, ownership, obstacle)
        self.texts: dict[int, CudaText] = {}
        self._write_texts()
        self.reads = [self._reads_of(i, g) for i, g in enumerate(self.groups)]
        self.last_use: dict[int, int] = {}
        for position, slots in enumerate(self.reads):
            self.last_use.update(dict.fromkeys(slots, position))
        self.fixed: dict[int, Any] = dict(program.state)
        self.views: set[int] = set()
        self.launches: dict[tuple[str, str], Callable[..., None]] = {}

    # Kernels --------------------------------------------------------------------------------------

    def _write_texts(self) -> None:
        """The texts of all kernels; the entries of a group without one run by their bodies."""
        read: dict[int, set[int]] = {}  # slot -> groups that read it
        for number, group in enumerate(self.groups):
            for slot in self._operands_of(group):
                read.setdefault(slot, set()).add(number)
        leaving = set(slots_in([self.program.result]))
        groups: list[EntryGroup] = []
        for number, group in enumerate(self.groups):
            if group.space is not None:
                results = {s for e in group.entries for s in slots_in(e.results)}
                stored = {s for s in results if s in leaving or read.get(s, set()) - {number}}
                outside = self._operands_of(group) - results
                try:
                    dtypes = {slot: self.layouts[slot].dtype for slot in outside}
                    self.texts[len(groups)] = cuda_text(group.space, dtypes, stored)
                except Unwritable as why:
                    reason = str(why)
                    groups += [EntryGroup([e], 0, None, reason) for e in group.entries]
                    continue
            groups.append(group)
        self.groups = groups

    @staticmethod
    def _operands_of(group: EntryGroup) -> set[int]:
        if group.space is None:
            return {slot for e in group.entries for slot in slots_in(e.operands)}
        values = [v for c in group.space.calls for v in c.operands if isinstance(v, Value)]
        return {v.slot for v in values if v.slot is not None}

    def _reads_of(self, position: int, group: EntryGroup) -> set[int]:
        if position in self.texts:
            return set(self.texts[position].reads)
        return self._operands_of(group)

    def _launch(self, source: str, name: str) -> Callable[..., None]:
        assert self.launcher is not None
        if (source, name) not in self.launches:
            self.launches[source, name] = self.launcher.compile(source, name)
        return self.launches[source, name]

    def _bind_kernel(self, text: CudaText) -> Action:
        run = self._launch(text.source, "run")
        finish = self._launch(text.source, "finish") if text.ends else None
        sums = tuple(self.xp.empty(n, np.float64) for n in text.sums)
        blocks = np.int32(text.blocks)
        made = [s for s in text.writes if s not in self.fixed]
        forms = [(s, self.layouts[s].shape, self.layouts[s].dtype) for s in made]
        slots = [*text.reads, *text.writes]

        def launch(values: list[Any]) -> None:
            for slot, shape, dtype in forms:
                if values[slot] is None:
                    values[slot] = self.xp.empty(shape, dtype)
            arguments = (*[values[s] for s in slots], *sums, blocks)
            run(text.blocks, text.threads, arguments)
            if finish is not None:
                finish(text.ends, FLAT_THREADS, arguments)

        return launch

    # Memory ---------------------------------------------------------------------------------------

    def _plan(self) -> int:
        """Give places to results that can be written into one; return their bytes."""
        placed = []
        for position, group in enumerate(self.groups):
            text = self.texts.get(position)
            for entry in group.entries:
                for slot in slots_in(entry.results):
                    owns = (text is None or slot in text.writes) and self.layouts[slot].owns
                    if owns and self._can_write(position, entry, slot):
                        placed.append((position, slot))
        lifetimes = lifetimes_of(placed, self.last_use, self.layouts)
        planned, self.nbytes = plan_buffers(lifetimes)
        self.planned = set(planned)
        arena = self.xp.empty(self.nbytes, np.uint8)
        for slot, offset in planned.items():
            layout = self.layouts[slot]
            flat = arena[offset : offset + layout.nbytes].view(layout.dtype)
            whole = flat.reshape(layout.shape if layout.contiguous else layout.shape[::-1])
            self.fixed[slot] = whole if layout.contiguous else whole.T
        return sum(life.nbytes for life in lifetimes.values())

    def _can_write(self, position: int, entry: ProgramEntry, slot: int) -> bool:
        layout = self.layouts[slot]
        if not self.ownership.is_plain(slot) or not layout.size:
            return False
        if position in self.texts:
            return True
        primitive = entry.primitive
        if primitive.mutates or primitive.random or primitive.aux or primitive.several:
            return False
        fits = layout.contiguous or is_transposed(layout)
        return fits and takes_out(primitive.body_for(self.xp))

    # Actions --------------------------------------------------------------------------------------

    def _bind_group(self, position: int, group: EntryGroup) -> Action:
        if position in self.texts:
            return self._bind_kernel(self.texts[position])
        [entry] = group.entries
        results = list(slots_in(entry.results))
        primitive = entry.primitive
        if primitive.view and not (primitive.several or primitive.aux):
            view = view_of_fixed(entry, results[0], self.fixed, self.layouts)
            if view is not None:
                self.fixed[results[0]] = view
                self.views.add(position)
                return nothing
        if len(results) == 1 and results[0] in self.planned:
            out = self.fixed[results[0]]
            body = partial(primitive.body_for(entry.xp), entry.xp, **entry.settings)
            return lambda values: body(*[operand_value(p, values) for p in entry.operands], out=out)
        return bind_entry(entry)

    def bind(self) -> BoundProgram:
        """Bind all groups."""
        unplanned = self._plan()
        actions = [self._bind_group(i, g) for i, g in enumerate(self.groups)]
        times = StepTimes()
        steps = _Steps(self, actions)
        return BoundProgram(
            steps.run,
            partial(steps.run_timed, times=times),
            self.groups,
            dict.fromkeys(self.texts),
            self.nbytes,
            unplanned,
            sum(8 * n for text in self.texts.values() for n in text.sums),
            self.views,
            times,
        )


class _Steps:
    """Runs the actions of a program: one by one, or as graphs with some actions in between."""

    def __init__(self, binder: _DeviceBinder, actions: list[Action]) -> None:
        self.program, self.layouts = binder.program, binder.layouts
        self.groups, self.device = binder.groups, binder.device
        self.launcher, self.actions = binder.launcher, actions
        self.template: list[Any] = [None] * len(self.layouts)
        for slot, array in binder.fixed.items():
            self.template[slot] = array
        self.fixed, self.kernels = set(binder.fixed), set(binder.texts)
        self.inputs = [slot.number for slot in self.program.inputs]
        self.written = [self._targets(group) for group in self.groups]
        self.calls = 0
        self.graphs: list[Callable[[list[Any]], None]] | None = None
        self.may_record = self.launcher is not None and self._may_record(binder.ownership)
        self.frame: list[Any] = []  # the values of a call that runs as graphs

    @staticmethod
    def _targets(group: EntryGroup) -> list[int]:
        return [
            slot
            for e in group.entries
            if e.primitive.mutates
            for slot in slots_in([e.operands[e.primitive.arguments.index(e.primitive.mutates)]])
        ]

    def _may_record(self, ownership: Ownership) -> bool:
        """Whether the step leaves its arguments alone, and returns no views of them."""
        owners = {self.layouts[n].owner for n in self.inputs}
        if len(owners) < len(self.inputs) or owners & ownership.written:
            return False
        leaving = set(slots_in([self.program.result])) - set(self.inputs)
        return not any(self.layouts[n].owner in owners for n in leaving)

    # One by one -----------------------------------------------------------------------------------

    def run(self, arrays: list[Any]) -> Any:
        """One call of the step."""
        self.calls += 1
        if self.may_record and self.calls > 1:
            return self._run_graphs(arrays)
        values = self._start(arrays)
        self._run_from(0, values, lambda _, action: action(values))
        return self.program.build_result(values)

    def run_timed(self, arrays: list[Any], times: StepTimes) -> Any:
        """One call, in which each part is waited for."""
        values, parts = self._start(arrays), []
        devices.synchronize(self.device)
        first = perf_counter_ns()

        def timed(position: int, action: Action) -> None:
            begin = perf_counter_ns()
            action(values)
            devices.synchronize(self.device)
            parts.append((position, begin, perf_counter_ns()))

        self._run_from(0, values, timed)
        times.calls.append((first, perf_counter_ns(), parts))
        return self.program.build_result(values)

    def _start(self, arrays: list[Any]) -> list[Any]:
        values = self.template.copy()
        for number, array in zip(self.inputs, arrays, strict=True):
            values[number] = array
        return values

    def _run_from(
        self, first: int, values: list[Any], act: Callable[[int, Action], object]
    ) -> None:
        for position in range(first, len(self.actions)):
            if self.actions[position] is not nothing:
                act(position, self.actions[position])
                if self._is_other(position, values):
                    run_bodies_from(position + 1, self.groups, values)
                    return

    def _moving(self, position: int) -> list[int]:
        if position in self.kernels:  # which makes its results itself, as they were recorded
            return []
        results = [s for e in self.groups[position].entries for s in slots_in(e.results)]
        return [s for s in results if s not in self.fixed]

    def _is_other(self, position: int, values: list[Any]) -> bool:
        """Whether a result has another form than the recorded one; later code was made for that."""
        for slot in self._moving(position):
            y, layout = values[slot], self.layouts[slot]
            if y is not None and (y.shape, y.dtype) != (layout.shape, layout.dtype):
                return True
            if y is not None and y.strides != layout.strides and y.size > 1:
                return True
        return False

    # Graphs ---------------------------------------------------------------------------------------

    def _run_graphs(self, arrays: list[Any]) -> Any:
        try:
            if self.graphs is None:
                self.frame = self.template.copy()
                for number, array in zip(self.inputs, arrays, strict=True):
                    self.frame[number] = array.copy()
                self._record()
            else:
                for number, array in zip(self.inputs, arrays, strict=True):
                    self.frame[number][...] = array
                for step in self.graphs:
                    step(self.frame)
        except OtherForm as other:
            values = self.frame.copy()
            values[other.slot] = other.value
            run_bodies_from(other.position + 1, self.groups, values)
            return self._result(values, arrays)
        return self._result(self.frame, arrays)

    def _result(self, frame: list[Any], arrays: list[Any]) -> Any:
        """What the step returns, in memory that later calls leave alone."""
        values = frame.copy()
        for number, array in zip(self.inputs, arrays, strict=True):
            values[number] = array
        owners = {self.layouts[n].owner for n in self.program.state}
        for slot in set(slots_in([self.program.result])) - set(self.inputs):
            if self.layouts[slot].owner not in owners:
                values[slot] = values[slot].copy()
        return self.program.build_result(values)

    def _record(self) -> None:
        """Do what a call does, and keep it as graphs and the actions between these."""
        steps: list[Callable[[list[Any]], None]] = []
        position, count = 0, len(self.actions)
        while position < count:
            stop = self._refused_from(position)
            work = [i for i in range(position, stop) if self.actions[i] is not nothing]
            if len(work) >= LEAST_GRAPH:
                launch = self._captured(work)
                new = [partial(self._launch_graph, launch, work)]
            else:
                new = [partial(self._act_and_land, i) for i in work]
            if stop < count:
                new.append(partial(self._act_and_land, stop))
            for step in new:
                step(self.frame)
            steps += new
            position = stop + 1
        self.graphs = steps  # not before: a result of another form ends the attempt

    def _refused_from(self, first: int) -> int:
        """The first position from `first` on whose action cannot be recorded."""
        assert self.launcher is not None
        for position in range(first, len(self.actions)):
            if any(e.primitive.random for e in self.groups[position].entries):
                return self._first_refused(first, position)
        return self._first_refused(first, len(self.actions))

    def _first_refused(self, first: int, stop: int) -> int:
        assert self.launcher is not None
        reached = [first]

        def attempt() -> None:
            values = self.frame.copy()
            for position in range(first, stop):
                reached[0] = position
                self._act_quietly(position, values)

        try:
            self.launcher.capture(attempt)
        except devices.CaptureError:
            return reached[0]
        return stop

    def _act_quietly(self, position: int, values: list[Any]) -> None:
        action = self.actions[position]
        if action is not nothing:
            action(values)

    def _captured(self, work: list[int]) -> Callable[[], None]:
        assert self.launcher is not None

        def act() -> None:
            for position in work:
                self.actions[position](self.frame)

        return self.launcher.capture(act)

    def _launch_graph(self, launch: Callable[[], None], work: list[int], frame: list[Any]) -> None:
        targets = [frame[slot] for i in work for slot in self.written[i]]
        for target in targets:
            announce_write(target)
        launch()
        for target in targets:
            note_write(target)

    def _act_and_land(self, position: int, frame: list[Any]) -> None:
        """An action by itself; what later graphs read of its results goes where they read it."""
        moving = self._moving(position)
        before = {slot: frame[slot] for slot in moving}
        self.actions[position](frame)
        for slot in moving:
            new, old, layout = frame[slot], before[slot], self.layouts[slot]
            is_other = (new.shape, new.dtype) != (layout.shape, layout.dtype)
            if is_other or (old is None and new.strides != layout.strides and new.size > 1):
                frame[slot] = old
                raise OtherForm(position, slot, new)
            if old is not None and new is not old:
                frame[slot] = old
                old[...] = new
