"""`bind_bodies` runs a program by the bodies of its primitives, in order and with equal bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.mode import announce_write
from tapegrad.autograd.core.node import note_write
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.replay.recording import ProgramEntry, ProgramSlot

if TYPE_CHECKING:
    from tapegrad.autograd.replay.program import Program, ProgramRun

__all__ = ["bind_bodies", "bind_entry", "operand_reader", "operand_value"]


def bind_bodies(program: Program) -> ProgramRun:
    """Return a function that runs `program` by the primitives' own bodies."""
    actions = [bind_entry(entry) for entry in program.entries]

    def run(arrays: list[Any]) -> Any:
        values = program.initial_values(arrays)
        for action in actions:
            action(values)
        return program.build_result(values)

    return run


def bind_entry(entry: ProgramEntry) -> Callable[[list[Any]], None]:
    """Return a recorded call as a function of the list of values, with its body looked up once."""
    primitive, settings, xp = entry.primitive, entry.settings, entry.xp
    body = primitive.body_for(xp)
    run: Callable[..., Any]
    if primitive.direct is not None and xp is np:
        run = primitive.direct
    else:

        def run(*operands: Any) -> Any:
            return body(xp, *operands, **settings)

    if primitive.mutates:
        written = primitive.arguments.index(primitive.mutates)
        operands_in = operand_reader(entry.operands)

        def write(values: list[Any]) -> None:
            operands = operands_in(values)
            announce_write(operands[written])
            finish = run(*operands)
            note_write(operands[written])
            if finish is not None and callable(finish):  # what a pass has put in has to do then
                finish()

        return write

    if primitive.aux or primitive.several:
        read = operand_reader(entry.operands)
        numbers = [slot.number for slot in leaves(list(entry.results))]

        def call_several(values: list[Any]) -> None:
            for number, result in zip(numbers, run(*read(values)), strict=True):
                values[number] = result if devices.is_array(result) else xp.asarray(result)

        return call_several

    target = entry.results[0].number
    numbers = [part.number for part in entry.operands if isinstance(part, ProgramSlot)]
    if len(numbers) == len(entry.operands) <= 2:
        first, *rest = numbers or [0]
        if len(numbers) == 1:

            def call_one(values: list[Any]) -> None:
                y = run(values[first])
                values[target] = y if devices.is_array(y) else xp.asarray(y)

            return call_one
        if len(numbers) == 2:
            second = rest[0]

            def call_two(values: list[Any]) -> None:
                y = run(values[first], values[second])
                values[target] = y if devices.is_array(y) else xp.asarray(y)

            return call_two

    read = operand_reader(entry.operands)

    def call(values: list[Any]) -> None:
        y = run(*read(values))
        values[target] = y if devices.is_array(y) else xp.asarray(y)

    return call


def operand_reader(parts: Sequence[Any]) -> Callable[[Any], Sequence[Any]]:
    """A function of the values that returns the operands: arrays in place of slots."""
    if len(parts) > 1 and all(isinstance(part, ProgramSlot) for part in parts):
        return itemgetter(*[part.number for part in parts])
    return lambda values: [operand_value(part, values) for part in parts]


def operand_value(part: Any, values: Any) -> Any:
    """An operand with arrays in place of slots: values[number], a list or a dict."""
    if isinstance(part, ProgramSlot):
        return values[part.number]
    if isinstance(part, list):
        return [operand_value(item, values) for item in part]
    return part
