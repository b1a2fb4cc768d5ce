"""`trace_entry` runs a primitive's own body on stand-ins, and so takes it apart into ufunc calls.

The body is the one declaration of what a primitive computes.  Run on stand-ins that have a shape
and a dtype but no values, with a namespace that notes calls, it tells its elementwise calls and
sums: softmax becomes max, subtract, exp, sum, divide.  So nothing lists which primitives can be
fused.  A body that does anything else (reads a value, indexes, writes, calls another library)
raises `Untraceable` and is run as it is.

A body may also ask what it was given (`xp is np`), or draw, and no stand-in notices.  So its calls
are computed once on arrays of our own, and must give what the body itself gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from tapegrad.autograd.compiling.standins import (
    DTYPES,
    ScalarCall,
    Standin,
    Tracer,
    Untraceable,
    Value,
)
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.replay.recording import ProgramSlot

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.layouts import Layout
    from tapegrad.autograd.core.declaration import Primitive
    from tapegrad.autograd.replay.recording import ProgramEntry

__all__ = ["Traced", "trace_entry"]

RANGES = ((-3.0, 3.0), (0.0, 1.0))  # of the arrays on which calls are compared with their body
PERIOD = 4099  # a prime, so that the rows of a matrix differ
REPEATS = 8  # a body that draws one of two numbers makes the same calls once in 2**REPEATS

DIFFERS = "its body gives something else on stand-ins than on arrays"

# Primitive -> for what it was called with, whether its calls give what its body gives.
_verdicts: WeakKeyDictionary[Primitive, dict[Any, bool]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Traced:
    """An entry taken apart: its calls in order, of which the last gives the (first) result."""

    calls: tuple[ScalarCall, ...]
    result: Value


def trace_entry(entry: ProgramEntry, layouts: list[Layout], *, by_steps: bool = True) -> Traced:
    """The calls that an entry's body makes.  Raises `Untraceable`, with the reason.

    by_steps: whether to take the stepwise code of a primitive that has some, which is for kernels
    """
    primitive = entry.primitive
    if by_steps and primitive.steps is not None:
        return _trace_steps(entry, layouts)
    if primitive.mutates or primitive.random or primitive.aux or primitive.several:
        raise Untraceable("writes, draws or has several results")
    target = entry.results[0].number
    if layouts[target].dtype not in DTYPES:
        raise Untraceable(f"its dtype is {layouts[target].dtype}")
    verdicts, form = _verdicts.setdefault(primitive, {}), _form(entry, layouts)
    if not verdicts.get(form, True):
        raise Untraceable(DIFFERS)
    body, result = _run_on_standins(entry, layouts, primitive.body)
    if type(result) is not Standin:
        raise Untraceable("it moves entries and computes nothing")
    found = result.value
    _require_result(found, layouts[target])
    if form not in verdicts and primitive.inline is None:
        verdicts[form] = _gives_what_its_body_gives(entry, layouts, body, found)
        if not verdicts[form]:
            raise Untraceable(DIFFERS)
    return _named(body, {found: target})


def _trace_steps(entry: ProgramEntry, layouts: list[Layout]) -> Traced:
    """The calls of the array code by which a kernel may join an entry to others."""
    assert entry.primitive.steps is not None
    body, result = _run_on_standins(entry, layouts, entry.primitive.steps)
    results = list(result) if type(result) in (tuple, list) else [result]
    targets = list(leaves(list(entry.results)))
    if len(results) != len(targets) or any(type(r) is not Standin for r in results):
        raise Untraceable("its steps give other results than its body")
    for found, target in zip(results, targets, strict=True):
        _require_result(found.value, layouts[target.number])
    slots = {r.value: t.number for r, t in zip(results, targets, strict=True)}
    return _named(body, slots, relaxed=True)


def _require_result(found: Value, expected: Layout) -> None:
    if found.slot is not None:
        raise Untraceable("it returns its operand")
    if found.dtype != expected.dtype or found.shape != expected.shape:
        raise Untraceable("its stand-in has another shape or dtype than its result")
    if not expected.contiguous or not expected.owns:
        raise Untraceable("its result has gaps, another order, or another's memory")


def _named(body: Tracer, slots: dict[Value, int], *, relaxed: bool = False) -> Traced:
    """The calls of a body, whose results have the numbers that they have in the program."""
    names = {value: Value(value.shape, value.dtype, slot) for value, slot in slots.items()}

    def named(value: Any) -> Any:
        return names.get(value, value) if isinstance(value, Value) else value

    calls = [
        replace(
            c,
            operands=tuple(map(named, c.operands)),
            result=named(c.result),
            relaxed=relaxed,
        )
        for c in body.calls
    ]
    return Traced(tuple(calls), next(iter(names.values())))


def _run_on_standins(
    entry: ProgramEntry, layouts: list[Layout], code: Callable[..., Any]
) -> tuple[Tracer, Any]:
    """What a body or stepwise code calls, and what it returns.  Raises `Untraceable`."""
    body, optional = Tracer(), code is entry.primitive.steps
    operands = [
        None if part is None and optional else body.operand(part, layouts)
        for part in entry.operands
    ]
    try:
        result = code(body, *operands, **entry.settings)
    except Exception as error:  # noqa: BLE001  # whatever a body raises that meets a stand-in
        raise Untraceable(f"its body is no plain elementwise code ({error})") from None
    if not body.calls:
        raise Untraceable("it moves entries and computes nothing")
    return body, result


# The comparison of calls with their body ---------------------------------------------------------


def _form(entry: ProgramEntry, layouts: list[Layout]) -> Any:
    """What an entry has in common with others whose bodies make the same calls."""
    slots: dict[int, int] = {}
    operands = [
        (slots.setdefault(part.number, len(slots)), layouts[part.number].shape,
         layouts[part.number].dtype)
        if isinstance(part, ProgramSlot)
        else (type(part), repr(part))
        for part in entry.operands
    ]  # fmt: skip
    return tuple(operands), repr(entry.settings)


def _gives_what_its_body_gives(
    entry: ProgramEntry, layouts: list[Layout], body: Tracer, result: Value
) -> bool:
    """Whether the calls of an entry, computed on some arrays, give what its body gives on them."""
    said = body.summary()
    code = entry.primitive.body
    if any(_run_on_standins(entry, layouts, code)[0].summary() != said for _ in range(REPEATS)):
        return False
    generator = np.random.default_rng(0)
    for low, high in RANGES:
        arrays = {
            number: _some_array(generator, layouts[number], low, high) for number in body.operands
        }
        operands = [arrays[p.number] if isinstance(p, ProgramSlot) else p for p in entry.operands]
        with np.errstate(all="ignore"):
            known: dict[Any, Any] = {s.value: arrays[n] for n, s in body.operands.items()}
            for call in body.calls:
                known[call.result] = _compute(call, [known.get(o, o) for o in call.operands])
            try:
                expected = np.asarray(entry.primitive.body(np, *operands, **entry.settings))
            except Exception:  # noqa: BLE001  # it refuses values, which its calls do not
                return False
        found = np.asarray(known[result])
        equal = np.array_equal(found, expected)  # the other question takes ten times as long
        if found.dtype != expected.dtype or not (
            equal or np.array_equal(found, expected, equal_nan=True)
        ):
            return False
    return True


def _some_array(
    generator: np.random.Generator, layout: Layout, low: float, high: float
) -> np.ndarray:
    """Numbers of a range, or truths, in an array of a layout's shape and dtype."""
    numbers = generator.uniform(low, high, PERIOD)
    some = numbers > (low + high) / 2 if layout.dtype == bool else numbers.astype(layout.dtype)
    return np.resize(some, layout.shape)


def _compute(call: ScalarCall, operands: list[Any]) -> Any:
    """What a call gives, by NumPy."""
    if call.axes:
        kept = getattr(np, call.name)(operands[0], axis=call.axes, keepdims=True)
        return np.reshape(kept, call.result.shape)
    if call.name == "cast":
        return operands[0].astype(call.result.dtype)
    if call.name == "stretch":
        return np.broadcast_to(operands[0], call.result.shape)
    return getattr(np, call.name)(*operands)
