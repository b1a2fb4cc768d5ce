"""`bind_program` runs a program in fixed memory: kernels, and bodies that write into given arrays.

Each intermediate value gets a place that its last use frees (`buffers.py`).  Views of such places
are made once.  What the step returns is new memory in each call; so is what a body returns that
cannot write into a given array.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.compiling.blocks import bind_blocks
from tapegrad.autograd.compiling.buffers import (
    Lifetime,
    aligned_bytes,
    plan_buffers,
)
from tapegrad.autograd.compiling.kernel_calls import (
    KernelCalls,
    bind_kernel,
    bytes_of_scratch,
    calls_in_a_row,
    pieces_of,
    stride_of,
)
from tapegrad.autograd.compiling.kernel_text import KernelText, kernel_text, pieced_text
from tapegrad.autograd.compiling.layouts import Layout, Ownership, slots_in
from tapegrad.autograd.compiling.standins import Value
from tapegrad.autograd.compiling.times import StepTimes
from tapegrad.autograd.core.errors import EngineSignal
from tapegrad.autograd.core.mode import announce_write
from tapegrad.autograd.core.node import note_write
from tapegrad.autograd.kernels import machine
from tapegrad.autograd.replay.plain import bind_entry
from tapegrad.autograd.replay.recording import ProgramSlot

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.grouping import EntryGroup
    from tapegrad.autograd.replay.program import Program, ProgramRun
    from tapegrad.autograd.replay.recording import ProgramEntry

__all__ = ["BoundProgram", "bind_program"]

Action = Callable[[list[Any]], object]


@dataclass
class BoundProgram:
    """A program that is ready to run, and what `explain` says of it.

    kernels: for each group that is a kernel, its text
    nbytes:  the memory of all intermediate values
    unplanned: the bytes that they would take without reuse
    scratch: the memory that kernels work in
    views:   entries that are views, made once
    timed:   runs as `run` does, and notes in `times` how long each part took
    """

    run: ProgramRun
    timed: ProgramRun
    groups: list[EntryGroup]
    kernels: dict[int, KernelText] = field(default_factory=dict)
    nbytes: int = 0
    unplanned: int = 0
    scratch: int = 0
    views: set[int] = field(default_factory=set)
    times: StepTimes = field(default_factory=StepTimes)


def bind_program(
    program: Program, groups: list[EntryGroup], layouts: list[Layout], ownership: Ownership
) -> BoundProgram:
    """Compile the kernels of a program, plan its memory, and return what runs it."""
    return _Binder(program, groups, layouts, ownership).bind()


class _OtherForm(EngineSignal):
    """The entry at a position gave a result of another shape, dtype or layout than before."""

    def __init__(self, position: int, slot: int = -1, value: Any = None) -> None:
        super().__init__(position)
        self.position, self.slot, self.value = position, slot, value


class _Binder:
    def __init__(
        self,
        program: Program,
        groups: list[EntryGroup],
        layouts: list[Layout],
        ownership: Ownership,
    ) -> None:
        self.program, self.groups = program, groups
        self.layouts, self.ownership = layouts, ownership
        self.kernels: dict[int, KernelText] = {}
        self.compiled: dict[str, machine.Kernel] = {}
        self.fixed: dict[int, np.ndarray] = dict(program.state)
        self.reads = [self._reads_of(g) for g in groups]
        self.last_use: dict[int, int] = {}  # slot -> position
        for position, slots in enumerate(self.reads):
            self.last_use.update(dict.fromkeys(slots, position))
        self.views: set[int] = set()
        self.arena = aligned_bytes(0)
        self.scratch = aligned_bytes(0)
        self.planned: dict[int, int] = {}  # slot -> offset in the arena

    def _reads_of(self, group: EntryGroup) -> set[int]:
        if group.space is not None and not self._runs_alone(group):
            made = {s for e in group.entries for s in slots_in(e.results)}
            values = [v for c in group.space.calls for v in c.operands if isinstance(v, Value)]
            return {v.slot for v in values if v.slot is not None and v.slot not in made}
        return {slot for e in group.entries for slot in slots_in(e.operands)}

    @staticmethod
    def _runs_alone(group: EntryGroup) -> bool:
        """Whether a group is one NumPy call, which needs no kernel."""
        if group.space is None:
            return True
        [first, *more] = group.entries
        by_steps = first.primitive.steps is not None and machine.is_available()
        if more or (first.primitive.inline is None and not by_steps):
            return False
        read = {v.slot for c in group.space.calls for v in c.operands if isinstance(v, Value)}
        known = {None, *slots_in(first.operands), *slots_in(first.results)}
        return read <= known  # else it reads the base of a stretched view

    def bind(self) -> BoundProgram:
        """Bind all groups."""
        self._write_kernels()
        unplanned = self._plan()
        actions = self._actions()
        times = StepTimes()
        template: list[Any] = [None] * self.program.slot_count
        for slot, array in self.fixed.items():
            template[slot] = array
        inputs = [slot.number for slot in self.program.inputs]
        program, freed = self.program, self._freed()
        steps: list[tuple[Action, list[int]]] = []
        for position, action in enumerate(actions):
            if action is not _nothing:
                steps.append((self._watched(position, action), [*freed[position]]))
            elif steps:
                steps[-1][1].extend(freed[position])

        def run_steps(values: list[Any]) -> int | None:
            try:
                for action, gone in steps:
                    action(values)
                    for number in gone:
                        values[number] = None
            except _OtherForm as other:
                return other.position
            return None

        def run_timed(values: list[Any]) -> int | None:
            parts: list[tuple[int, int, int]] = []
            first = perf_counter_ns()
            try:
                for position, action in enumerate(self.alone):
                    if action is not _nothing:
                        begin = perf_counter_ns()
                        action(values)
                        parts.append((position, begin, perf_counter_ns()))
                    for number in freed[position]:
                        values[number] = None
            except _OtherForm as other:
                return other.position
            finally:
                times.calls.append((first, perf_counter_ns(), parts))
            return None

        def run(arrays: list[Any], run_steps: Callable[..., int | None] = run_steps) -> Any:
            values = template.copy()
            for number, array in zip(inputs, arrays, strict=True):
                values[number] = array
            if (stopped := run_steps(values)) is not None:
                self._go_on(stopped + 1, values)
            return program.build_result(values)

        return BoundProgram(
            run,
            partial(run, run_steps=run_timed),
            self.groups,
            self.kernels,
            self.arena.nbytes,
            unplanned,
            self.scratch.nbytes,
            self.views,
            times,
        )

    def _watched(self, position: int, action: Action) -> Action:
        """The action of a position, which notices results of another form than the recorded ones.

        What comes after was made for those forms: the number of entries that a mask picks, say,
        depends on values.
        """
        results = [s for e in self.groups[position].entries for s in slots_in(e.results)]
        if position in self.kernels or not (moving := [s for s in results if s not in self.fixed]):
            return action
        forms = [(s, self.layouts[s]) for s in moving]
        wanted = [(s, layout.shape, layout.dtype, layout.strides) for s, layout in forms]

        def act(values: list[Any]) -> None:
            action(values)
            for slot, shape, dtype, strides in wanted:
                y = values[slot]
                if y.shape != shape or y.dtype != dtype or (y.strides != strides and y.size > 1):
                    raise _OtherForm(position)

        return act

    def _go_on(self, first: int, values: list[Any]) -> None:
        """Run the groups from `first` by the bodies of their entries."""
        made = {s: e for g in self.groups for e in g.entries for s in slots_in(e.results)}

        def run(entry: ProgramEntry) -> None:
            for slot in slots_in(entry.operands):
                if values[slot] is None:  # a view, of which a kernel reads only the base
                    run(made[slot])
            bind_entry(entry)(values)

        for group in self.groups[first:]:
            for entry in group.entries:
                run(entry)

    def _freed(self) -> list[list[int]]:
        """For each position, the values of no fixed place that nobody needs any more."""
        kept = {*self.fixed, *slots_in([self.program.result])}
        freed: list[list[int]] = [[] for _ in self.groups]
        for slot, position in self.last_use.items():
            if slot not in kept:
                freed[position].append(slot)
        return freed

    # Memory ---------------------------------------------------------------------------------------

    def _write_kernels(self) -> None:
        needed = {*self.last_use, *slots_in([self.program.result])}
        for position, group in enumerate(self.groups):
            if self._runs_alone(group):
                continue
            assert group.space is not None
            results = {s for e in group.entries for s in slots_in(e.results)}
            outside = {slot: self.layouts[slot].dtype for slot in self.reads[position]}
            stored = results & needed
            if machine.is_available():
                pieces = pieces_of(group.space)
                self.kernels[position] = (
                    pieced_text(group.space, outside, stored, pieces, stride_of)
                    if pieces
                    else kernel_text(group.space, outside, stored)
                )
            else:
                self.kernels[position] = KernelText("", sorted(outside), sorted(stored))

    def _plan(self) -> int:
        """Give places to all results that can be written into one; return their bytes."""
        lifetimes: dict[int, Lifetime] = {}
        by_owner: dict[int, int] = {}  # owner -> the slot that has a place
        for position, group in enumerate(self.groups):
            for entry in group.entries:
                for slot in slots_in(entry.results):
                    layout = self.layouts[slot]
                    stored = position not in self.kernels or slot in self.kernels[position].writes
                    if stored and layout.owns and self._can_write(position, entry, slot):
                        by_owner[layout.owner] = slot
                        lifetimes[slot] = Lifetime(layout.nbytes, position, position)
        for slot, position in self.last_use.items():
            owner = self.layouts[slot].owner
            if owner in by_owner:
                life = lifetimes[by_owner[owner]]
                life.last = max(life.last, position)
        self.planned, total = plan_buffers(lifetimes)
        self.arena = aligned_bytes(total)
        for slot, offset in self.planned.items():
            layout = self.layouts[slot]
            self.fixed[slot] = np.ndarray(
                layout.shape, layout.dtype, self.arena, offset, layout.strides
            )
        self.scratch = aligned_bytes(max(map(bytes_of_scratch, self.kernels.values()), default=0))
        return sum(life.nbytes for life in lifetimes.values())

    def _can_write(self, position: int, entry: ProgramEntry, slot: int) -> bool:
        layout = self.layouts[slot]
        if not self.ownership.is_plain(slot) or not layout.size:
            return False
        if position in self.kernels:
            return True
        primitive = entry.primitive
        if primitive.mutates or primitive.random or primitive.aux or primitive.several:
            return False
        if primitive.inline is None and not _takes_out(primitive.body_for(np)):
            return False
        return layout.contiguous or _is_transposed(layout)

    # Actions --------------------------------------------------------------------------------------

    def _actions(self) -> list[Action]:
        """The action of each group; the first of kernels in a row runs them all."""
        actions: list[Action] = []
        row: list[KernelCalls] = []
        self.alone: list[Action] = []  # each group by itself, to be timed
        if self.kernels and machine.is_available():
            texts = [t for kernel in self.kernels.values() for t in (kernel.text, kernel.end) if t]
            self.compiled = machine.compiled_kernels(texts)
        start = 0
        for position, group in enumerate(self.groups):
            if position in self.kernels and machine.is_available():
                start = start if row else position
                row.append(
                    bind_kernel(
                        self.kernels[position],
                        self.compiled,
                        self.fixed,
                        self.layouts,
                        self.scratch,
                    )
                )
                actions.append(_nothing)
                self.alone.append(calls_in_a_row(row[-1:]))
                continue
            action = self._bind_group(position, group)
            actions.append(action)
            self.alone.append(action if action is _nothing else self._watched(position, action))
            if row and action is not _nothing:
                actions[start] = calls_in_a_row(row)
                row = []
        if row:
            actions[start] = calls_in_a_row(row)
        return actions

    def _bind_group(self, position: int, group: EntryGroup) -> Action:
        if position in self.kernels:
            return self._bind_blocks(group, self.kernels[position])
        [entry] = group.entries
        results = list(slots_in(entry.results))
        primitive = entry.primitive
        is_view = primitive.view and not (primitive.several or primitive.aux)
        if is_view and self._bind_view(entry, results[0]):
            self.views.add(position)
            return _nothing
        if len(results) == 1 and results[0] in self.planned:
            return self._bind_writing(entry, self.fixed[results[0]])
        if primitive.prepare is not None and set(slots_in(entry.operands)) <= set(self.fixed):
            operands = [_filled(part, self.fixed) for part in entry.operands]
            call = primitive.prepare(*operands, **entry.settings)
            if call is not None:
                return _noted_write(call, operands[primitive.arguments.index(primitive.mutates)])
        return bind_entry(entry)

    def _bind_view(self, entry: ProgramEntry, slot: int) -> bool:
        """Make a view of fixed memory once; False if it is none, or of memory that moves."""
        base, layout = entry.operands[0], self.layouts[slot]
        if not isinstance(base, ProgramSlot) or base.number not in self.fixed:
            return False
        if layout.owner != self.layouts[base.number].owner or len(entry.operands) != 1:
            return False
        view = entry.primitive.body_for(np)(np, self.fixed[base.number], **entry.settings)
        same = view.shape == layout.shape and view.strides == layout.strides
        if not same or not (view is self.fixed[base.number] or view.base is not None):
            return False
        self.fixed[slot] = view
        return True

    def _bind_writing(self, entry: ProgramEntry, out: np.ndarray) -> Action:
        """A body that writes its result into `out`."""
        primitive = entry.primitive
        run: Callable[..., Any]
        if primitive.inline is not None and primitive.direct is not None:
            run = primitive.direct
            operands = _as_arrays(primitive.inline, entry.operands, self.layouts)
        else:
            run = partial(primitive.body_for(np), np, **entry.settings)
            operands = list(entry.operands)
        slots = set(slots_in(tuple(operands)))
        if slots <= set(self.fixed):
            arguments = tuple(_filled(part, self.fixed) for part in operands)
            call = partial(run, *arguments, out=out)
            return lambda _: call()
        return lambda values: run(*[_filled(part, values) for part in operands], out=out)

    def _bind_blocks(self, group: EntryGroup, kernel: KernelText) -> Action:
        assert group.space is not None
        run = bind_blocks(group.space, kernel.reads, kernel.writes)
        made = [slot for slot in kernel.writes if slot not in self.fixed]
        slots = [*kernel.reads, *kernel.writes]

        def call(values: list[Any]) -> None:
            for slot in made:
                values[slot] = np.empty(self.layouts[slot].shape, self.layouts[slot].dtype)
            run({slot: values[slot] for slot in slots})

        return call


def _noted_write(call: Callable[[], Any], target: np.ndarray) -> Action:
    """The action of a call on fixed arrays that writes into `target`."""

    def act(_: list[Any]) -> None:
        announce_write(target)
        call()
        note_write(target)

    return act


def _nothing(_: list[Any]) -> None:
    """The action of a view that has been made already."""


@cache
def _takes_out(body: Callable[..., Any]) -> bool:
    return "out" in inspect.signature(body).parameters


def _is_transposed(layout: Layout) -> bool:
    """Whether the entries follow each other in column-major order, without gaps."""
    flipped = replace(layout, shape=layout.shape[::-1], strides=layout.strides[::-1])
    return flipped.contiguous


def _filled(part: Any, values: Any) -> Any:
    """An operand with arrays in place of slots."""
    if isinstance(part, ProgramSlot):
        return values[part.number]
    if isinstance(part, list):
        return [_filled(item, values) for item in part]
    return part


def _as_arrays(function: np.ufunc, operands: tuple[Any, ...], layouts: list[Layout]) -> list[Any]:
    """The operands of a ufunc; numbers as 0-d arrays of the loop's dtype, which are read faster."""
    kinds = [layouts[o.number].dtype if isinstance(o, ProgramSlot) else type(o) for o in operands]
    if not all(isinstance(o, ProgramSlot) or type(o) is float for o in operands):
        return list(operands)
    *dtypes, _ = function.resolve_dtypes((*kinds, None))
    return [
        o if isinstance(o, ProgramSlot) else np.array(o, dtype)
        for o, dtype in zip(operands, dtypes, strict=True)
    ]
