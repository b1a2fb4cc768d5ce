"""`bind_program` runs a program in fixed memory: kernels, and bodies that write into given arrays.

Each intermediate value gets a place that its last use frees (`buffers.py`).  Views of such places
are made once.  What the step returns is new memory in each call; so is what a body returns that
cannot write into a given array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

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
from tapegrad.autograd.compiling.blocks import bind_blocks
from tapegrad.autograd.compiling.buffers import Lifetime, aligned_bytes, plan_buffers
from tapegrad.autograd.compiling.first_writes import START
from tapegrad.autograd.compiling.kernel_calls import (
    KernelCalls,
    bind_kernel,
    bytes_of_scratch,
    calls_in_a_row,
    pieces_of,
    stride_of,
)
from tapegrad.autograd.compiling.kernel_text import KernelText, kernel_text, pieced_text
from tapegrad.autograd.compiling.layouts import Layout, Ownership, may_overlap, slots_in
from tapegrad.autograd.compiling.standins import Value
from tapegrad.autograd.compiling.times import StepTimes
from tapegrad.autograd.core.mode import announce_write
from tapegrad.autograd.core.node import writes_to
from tapegrad.autograd.kernels import machine
from tapegrad.autograd.replay.plain import bind_entry, operand_reader, operand_value
from tapegrad.autograd.replay.recording import ProgramSlot

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.grouping import EntryGroup
    from tapegrad.autograd.replay.program import Program, ProgramRun
    from tapegrad.autograd.replay.recording import ProgramEntry

__all__ = ["BoundProgram", "bind_program"]


@dataclass
class BoundProgram:
    """A program that is ready to run, and what `explain` says of it.

    kernels: for each group that is a kernel, its text, or None for one of a GPU
    nbytes:  the memory of all intermediate values
    unplanned: the bytes that they would take without reuse
    scratch: the memory that kernels work in
    views:   entries that are views, made once
    timed:   runs as `run` does, and notes in `times` how long each part took
    placed:  first contributions to gradients that were computed in their place
    """

    run: ProgramRun
    timed: ProgramRun
    groups: list[EntryGroup]
    kernels: Mapping[int, KernelText | None] = field(default_factory=dict)
    nbytes: int = 0
    unplanned: int = 0
    scratch: int = 0
    views: set[int] = field(default_factory=set)
    times: StepTimes = field(default_factory=StepTimes)
    placed: set[int] = field(default_factory=set)


def bind_program(
    program: Program,
    groups: list[EntryGroup],
    layouts: list[Layout],
    ownership: Ownership,
    *,
    exact: bool = False,
) -> BoundProgram:
    """Compile the kernels of a program, plan its memory, and return what runs it.

    exact: whether results must have the bits of calls one by one, signs of zeros as well
    """
    return _Binder(program, groups, layouts, ownership, exact).bind()


class _Binder:
    def __init__(
        self,
        program: Program,
        groups: list[EntryGroup],
        layouts: list[Layout],
        ownership: Ownership,
        exact: bool,
    ) -> None:
        self.program, self.groups = program, groups
        self.layouts, self.ownership, self.exact = layouts, ownership, exact
        self.kernels: dict[int, KernelText] = {}
        self.compiled: dict[str, machine.Kernel] = {}
        self.fixed: dict[int, np.ndarray] = dict(program.state)
        self.reads = [self._reads_of(g) for g in groups]
        self.last_use: dict[int, int] = {}  # slot -> position
        for position, slots in enumerate(self.reads):
            self.last_use.update(dict.fromkeys(slots, position))
        self.views: set[int] = set()
        self.placed: set[int] = set()
        self.in_gradients: dict[int, np.ndarray] = {}  # slot -> the gradient that it is written to
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
        if machine.is_available() and pieces_of(group.space):  # which several threads can take
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
        template: list[Any] = [None] * len(self.layouts)
        for slot, array in self.fixed.items():
            template[slot] = array
        inputs = [slot.number for slot in self.program.inputs]
        program, freed = self.program, self._freed()
        steps: list[tuple[Action, list[int]]] = []
        for position, action in enumerate(actions):
            if action is not nothing:
                steps.append((self._watched(position, action), [*freed[position]]))
            elif steps:
                steps[-1][1].extend(freed[position])

        def run_steps(values: list[Any]) -> int | None:
            try:
                for action, gone in steps:
                    action(values)
                    for number in gone:
                        values[number] = None
            except OtherForm as other:
                return other.position
            return None

        def run_timed(values: list[Any]) -> int | None:
            parts: list[tuple[int, int, int]] = []
            first = perf_counter_ns()
            try:
                for position, action in enumerate(self.alone):
                    if action is not nothing:
                        begin = perf_counter_ns()
                        action(values)
                        parts.append((position, begin, perf_counter_ns()))
                    for number in freed[position]:
                        values[number] = None
            except OtherForm as other:
                return other.position
            finally:
                times.calls.append((first, perf_counter_ns(), parts))
            return None

        def run(arrays: list[Any], run_steps: Callable[..., int | None] = run_steps) -> Any:
            values = template.copy()
            for number, array in zip(inputs, arrays, strict=True):
                values[number] = array
            if (stopped := run_steps(values)) is not None:
                run_bodies_from(stopped + 1, self.groups, values)
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
            self.placed,
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
                    raise OtherForm(position)

        return act

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
        placed = []
        for position, group in enumerate(self.groups):
            for entry in group.entries:
                for slot in slots_in(entry.results):
                    stored = position not in self.kernels or slot in self.kernels[position].writes
                    owns = stored and self.layouts[slot].owns
                    if owns and self._can_write(position, entry, slot):
                        placed.append((position, slot))
        lifetimes = lifetimes_of(placed, self.last_use, self.layouts)
        if not self.exact:
            self._place_in_gradients(lifetimes)
        self.planned, total = plan_buffers(lifetimes)
        self.arena = aligned_bytes(total)
        for slot, offset in self.planned.items():
            layout = self.layouts[slot]
            self.fixed[slot] = np.ndarray(
                layout.shape, layout.dtype, self.arena, offset, layout.strides
            )
        self.scratch = aligned_bytes(max(map(bytes_of_scratch, self.kernels.values()), default=0))
        return sum(life.nbytes for life in lifetimes.values())

    def _place_in_gradients(self, lifetimes: dict[int, Lifetime]) -> None:
        """Let results be computed in the gradients whose first contributions they are.

        Of the lifetimes, theirs are taken out.
        """
        by_owner = {self.layouts[slot].owner: slot for slot in lifetimes}
        for position, group in enumerate(self.groups):
            [entry, *more] = group.entries
            if more or entry.primitive is not START:
                continue
            [target, x] = slots_in(entry.operands)
            slot, gradient = by_owner.get(self.layouts[x].owner), self.program.state[target]
            if slot is None or lifetimes[slot].first in self.kernels:
                continue
            life, layout = lifetimes[slot], self.layouts[slot]
            is_whole = layout.nbytes == gradient.nbytes and _lies_as(self.layouts[x], gradient)
            if not is_whole or self._touches(life, gradient):  # the sum itself, if not the last use
                continue
            del lifetimes[slot]
            self.fixed[slot] = np.ndarray(
                layout.shape, layout.dtype, gradient, strides=layout.strides
            )
            self.in_gradients[slot] = gradient
            self.placed.add(position)

    def _touches(self, life: Lifetime, array: np.ndarray) -> bool:
        """Whether something reads or writes an array of the state in a lifetime, but at its end.

        It may do so by a view that was made before.
        """
        state = self.program.state
        overlapping = {slot for slot, other in state.items() if may_overlap(other, array)}
        owners = {self.layouts[slot].owner for slot in overlapping}
        return any(
            slot in overlapping if slot in state else self.layouts[slot].owner in owners
            for group in self.groups[life.first : life.last]
            for entry in group.entries
            for slot in slots_in((*entry.operands, *entry.results))
        )

    def _can_write(self, position: int, entry: ProgramEntry, slot: int) -> bool:
        layout = self.layouts[slot]
        if not self.ownership.is_plain(slot) or not layout.size:
            return False
        if position in self.kernels:
            return True
        primitive = entry.primitive
        if primitive.mutates or primitive.random or primitive.aux or primitive.several:
            return False
        if primitive.inline is None and not takes_out(primitive.body_for(np)):
            return False
        return layout.contiguous or is_transposed(layout)

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
                actions.append(nothing)
                self.alone.append(calls_in_a_row(row[-1:]))
                continue
            action = self._bind_group(position, group)
            actions.append(action)
            self.alone.append(action if action is nothing else self._watched(position, action))
            if row and action is not nothing:
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
        if primitive.view and not (primitive.several or primitive.aux):
            view = view_of_fixed(entry, results[0], self.fixed, self.layouts)
            if view is not None:
                self.fixed[results[0]] = view
                self.views.add(position)
                return nothing
        if position in self.placed:
            return nothing
        if len(results) == 1 and results[0] in self.planned:
            return self._bind_writing(entry, self.fixed[results[0]])
        if len(results) == 1 and results[0] in self.in_gradients:
            action = self._bind_writing(entry, self.fixed[results[0]])
            return _noted_write(action, self.in_gradients[results[0]])
        if primitive.prepare is not None and set(slots_in(entry.operands)) <= set(self.fixed):
            operands = [operand_value(part, self.fixed) for part in entry.operands]
            call = primitive.prepare(*operands, **entry.settings)
            if call is not None:
                target = operands[primitive.arguments.index(primitive.mutates)]
                return _noted_write(lambda _: call(), target)
        return bind_entry(entry)

    def _bind_writing(self, entry: ProgramEntry, out: np.ndarray) -> Action:
        """A body that writes its result into `out`."""
        primitive = entry.primitive
        run: Callable[..., Any]
        if primitive.inline is not None and primitive.direct is not None:
            run = partial(primitive.direct, out=out)
            operands = _as_arrays(primitive.inline, entry.operands, self.layouts)
        elif primitive.refill is not None and not self.exact and machine.is_available():
            run = primitive.refill(out, **entry.settings)
            operands = list(entry.operands)
        else:
            run = partial(primitive.body_for(np), np, out=out, **entry.settings)
            operands = list(entry.operands)
        slots = set(slots_in(tuple(operands)))
        if slots <= set(self.fixed):
            arguments = tuple(operand_value(part, self.fixed) for part in operands)
            call = partial(run, *arguments)
            return lambda _: call()
        read = operand_reader(operands)
        return lambda values: run(*read(values))

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


def _lies_as(layout: Layout, array: np.ndarray) -> bool:
    """Whether a value has an array's form, and its entries the same order in memory."""
    if layout.shape != array.shape or layout.dtype != array.dtype:
        return False
    steps = zip(layout.shape, layout.strides, array.strides, strict=True)
    return all(length == 1 or one == other for length, one, other in steps)


def _noted_write(action: Action, target: np.ndarray) -> Action:
    """An action that writes into `target`."""
    note = writes_to(target)

    def act(values: list[Any]) -> None:
        announce_write(target)
        action(values)
        note()

    return act


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
