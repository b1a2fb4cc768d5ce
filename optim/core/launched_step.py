"""A rule's step on arrays of a GPU as one generated kernel, in place of one for each operation.

The rule's own array code is taken apart (`autograd/compiling/updates.py`); the kernel reads x, the
gradient and the slots once, and overwrites x and the slots.  It is made when the rule first meets
dtypes and kinds of options; rates, other numbers, and the count of steps are its arguments.

Where the gradient is known to be 0 but for some rows, and the rule leaves all others alone, these
rows only are read and written.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.compiling.machine_text import DOUBLE
from tapegrad.autograd.compiling.standins import FLOATS, Untraceable
from tapegrad.autograd.compiling.update_text import (
    COMPUTE,
    LAST,
    PART,
    REPLACE,
    THREADS,
    TICKETS,
    rows_text,
    update_text,
)
from tapegrad.autograd.compiling.updates import Update, UpdateOperand, trace_update
from tapegrad.autograd.core.node import owner_of
from tapegrad.autograd.core.zeros import unclean_parts, zeros_of

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array
    from tapegrad.autograd.core.zeros import UncleanPart
    from tapegrad.devices import Launcher
    from tapegrad.optim.core.rule import UpdateRule

__all__ = ["run_launched"]

OWN_ROWS = "each call updates other rows"

MOST_BLOCKS = 2048
MOST_FORMS = 64  # of one rule, of which the kernels are kept

_tickets = itertools.count()

# What an operand is called: "x", "g", or a slot or an option and its name.
_X, _G = ("x", ""), ("g", "")

# What has a kernel of its own: of each operand its name, kind, dtype and, of a number, whether it
# is not 0; and the constants by name.
_Form = tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]


def run_launched(
    rule: UpdateRule, x: Array, g: Array, state: Mapping[str, Array], settings: Mapping[str, Any]
) -> bool:
    """Make a step, its count included, by one kernel; False, and nothing done, if it has none.

    x, g, state, settings: as the rule gets them, schedules being numbers already
    """
    launcher = devices.launcher_of(x)
    if launcher is None or rule.needs_whole_array:
        return False
    sorted_out = _sort_out(rule, x, g, state, settings)
    if sorted_out is None:
        return False
    form, arguments = sorted_out

    def kernel_of(write: Callable[[Update], str]) -> Callable[..., None] | None:
        kernels = rule.kernels.setdefault(launcher, {})
        key = form, write
        if key not in kernels:
            if len(kernels) >= MOST_FORMS:
                kernels.clear()
            kernels[key] = _made(launcher, write, rule, form, arguments)
        made: Callable[..., None] | None = kernels[key]
        return made

    parts = _parts(rule, x, g, settings)
    if parts is not None and launcher.is_capturing():
        raise devices.CaptureError(OWN_ROWS)
    with devices.device_of(x):
        by_rows = None if parts is None else kernel_of(_rows_text)
        if parts is not None and by_rows is not None:
            _launch_parts(by_rows, x, arguments, parts)
            return True
        kernel = kernel_of(update_text)
        if kernel is None:
            return False
        kernel(_blocks(x.size), THREADS, (*arguments, np.int64(x.size), _ticket()))
    return True


def _made(
    launcher: Launcher,
    write: Callable[[Update], str],
    rule: UpdateRule,
    form: _Form,
    arguments: Sequence[Any],
) -> Callable[..., None] | None:
    operands = [
        UpdateOperand(part, kind, dtype, float(value) if kind in {"number", "scalar"} else 0.0)
        for (part, kind, dtype, _), value in zip(form[0], arguments, strict=True)
    ]
    try:
        text = write(trace_update(_code_of(rule, dict(form[1])), operands))
    except Untraceable:
        return None
    return launcher.compile(text, "run")


def _rows_text(update: Update) -> str:
    return rows_text(update, _X, _G)


def _blocks(entries: int) -> int:
    return max(1, min(-(-entries // THREADS), MOST_BLOCKS))


def _ticket() -> np.int32:
    return np.int32(next(_tickets) % TICKETS)


# Some rows ----------------------------------------------------------------------------------------


def _parts(
    rule: UpdateRule, x: Array, g: Array, settings: Mapping[str, Any]
) -> list[UncleanPart] | None:
    """The parts of x of which the gradient may differ from 0; None for all of x."""
    if zeros_of(g) is None or rule.skips is None or not rule.skips(settings):
        return None
    parts = unclean_parts(g)
    return parts if parts and any(part.rows is not None for part in parts) else None


def _launch_parts(
    kernel: Callable[..., None], x: Array, arguments: list[Any], parts: Sequence[UncleanPart]
) -> None:
    """Update some parts of x: all new rows are computed before the first replaces an old one."""
    xp = devices.namespace(x)
    common = (*arguments, np.int64(x.size), _ticket())

    def launch(way: int, some: int, part: UncleanPart, rows: Array, held: Array) -> None:
        columns = (part.stop - part.begin) // part.height
        numbers = [np.int64(n) for n in (some, part.begin, part.height, columns)]
        blocks = _blocks(x.size if way == LAST else some)
        kernel(blocks, THREADS, (*common, np.int32(way), *numbers, rows, held))

    computed = []
    for part in parts:
        if part.rows is None:
            launch(PART, part.stop - part.begin, part, x, x)
            continue
        some = part.rows.size * ((part.stop - part.begin) // part.height)
        held = xp.empty(some, x.dtype)
        launch(COMPUTE, some, part, part.rows, held)
        computed.append((some, part, part.rows, held))
    for each in computed[:-1]:
        launch(REPLACE, *each)
    launch(LAST, *computed[-1])


# All entries --------------------------------------------------------------------------------------


def _code_of(rule: UpdateRule, constants: dict[str, Any]) -> Callable[..., Mapping[Any, Any]]:
    """The rule as code of an update; the count of steps grows by 1."""

    def code(xp: Any, given: dict[Any, Any]) -> Mapping[Any, Any]:
        state = {name: y for (kind, name), y in given.items() if kind == "slot"}
        options = {name: y for (kind, name), y in given.items() if kind == "option"}
        new_x, new = rule.function(xp, given[_X], given[_G], dict(state), **options, **constants)
        found = {_X: new_x, **{("slot", name): y for name, y in new.items()}}
        if rule.counter is not None:
            found["slot", rule.counter] = new.get(rule.counter, state[rule.counter]) + 1
        return found

    return code


def _sort_out(
    rule: UpdateRule, x: Array, g: Array, state: Mapping[str, Array], settings: Mapping[str, Any]
) -> tuple[_Form, list[Any]] | None:
    """The form of a step, and its operands; None for no kernel."""
    operands: list[Any] = []
    arguments: list[Any] = []
    constants: list[tuple[str, Any]] = []
    like, shape = type(x), x.shape
    arrays: list[tuple[tuple[str, str], Any, bool]] = [(_X, x, False), (_G, g, False)]
    arrays += [(("slot", n), s, rule.has_one_number(n)) for n, s in state.items()]
    for name, value in settings.items():
        part, kind = ("option", name), type(value)
        if kind is like:
            arrays.append((part, value, value.size == 1))
        elif kind is int or kind is float:
            operands.append((part, "number", DOUBLE, bool(value)))
            arguments.append(np.float64(value))
        elif kind is np.float64 or kind is np.float32:
            operands.append((part, "scalar", value.dtype, bool(value)))
            arguments.append(value)
        elif callable(value) or not _is_constant(value):
            return None
        else:
            constants.append((name, value))
    written = {id(owner_of(a)) for _, a, is_one in arrays[: 2 + len(state)] if not is_one}
    for part, array, is_one in arrays:
        if type(array) is not like or array.dtype not in FLOATS:
            return None
        if is_one:
            if array.size != 1 or id(owner_of(array)) in written:
                return None
        elif array.shape != shape or not array.flags.c_contiguous:
            return None
        operands.append((part, "one" if is_one else "full", array.dtype, True))
        arguments.append(array)
    return (tuple(operands), tuple(constants)), arguments


def _is_constant(value: Any) -> bool:
    """Whether an option is a word, a truth, None, or a tuple of numbers and these."""
    if type(value) is tuple:
        return all(type(v) in (int, float) or _is_constant(v) for v in value)
    return value is None or type(value) in (bool, str)
