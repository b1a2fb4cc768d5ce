"""`trace_update` takes array code apart that overwrites some of its operands, as a rule does.

The operands are arrays of one shape ("full"), single numbers in memory ("one"), and numbers of
Python ("number") and of NumPy ("scalar").  These are no constants of what is traced: code that
changes them from call to call, as a schedule changes a rate, is traced once.  Whether such a number
is 0 may be asked, and is then the same for all that the trace serves; any other question ends it.

As in `tracing.py`, the calls are computed once on arrays of our own, and must give what the code
itself gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapegrad.autograd.compiling.standins import (
    FLOATS,
    ScalarCall,
    Standin,
    Tracer,
    Untraceable,
    Value,
)
from tapegrad.autograd.core.declaration import NUMBERS

__all__ = ["Update", "UpdateOperand", "trace_update"]

SHAPES = ((7,), (3, 5))  # of the arrays of two traces, which must make the same calls
RANGES = ((-3.0, 3.0), (0.0, 1.0))  # of the arrays on which calls are compared with the code

# (xp, operands by name) -> what overwrites some of them, by name
UpdateCode = Callable[[Any, dict[Any, Any]], Mapping[Any, Any]]


@dataclass(frozen=True)
class UpdateOperand:
    """One operand of an update.

    name:    a word, or whatever tells operands apart
    kind:    "full", "one", "number" or "scalar"
    dtype:   float32 or float64; float64 for a number
    example: the number or scalar
    """

    name: Any
    kind: str
    dtype: np.dtype[Any]
    example: float = 0.0


@dataclass(frozen=True)
class Update:
    """An update taken apart.

    values:  the value of each operand
    calls:   in order
    results: by the name of the operand that they overwrite: values, or numbers
    """

    operands: tuple[UpdateOperand, ...]
    values: tuple[Value, ...]
    calls: tuple[ScalarCall, ...]
    results: dict[Any, Any]


def trace_update(code: UpdateCode, operands: Sequence[UpdateOperand]) -> Update:
    """Take an update apart.  Raises `Untraceable`, with the reason."""
    update, tracer = _traced(code, operands, SHAPES[0])
    other, _ = _traced(code, operands, SHAPES[1])
    if _summary(update) != _summary(other):
        raise Untraceable("numbers in it depend on the shape, or are drawn")
    if not _gives_what_its_code_gives(update, code, tracer):
        raise Untraceable("it gives something else on stand-ins than on arrays")
    return update


def _traced(
    code: UpdateCode, operands: Sequence[UpdateOperand], shape: tuple[int, ...]
) -> tuple[Update, _UpdateTracer]:
    tracer = _UpdateTracer(shape)
    given = {o.name: tracer.stand_in(o) for o in operands}
    try:
        found = dict(code(tracer, dict(given)))
    except Exception as error:  # noqa: BLE001  # whatever code raises that meets a stand-in
        raise Untraceable(f"it is no plain elementwise code ({error})") from None
    if any(c.axes for c in tracer.calls):
        raise Untraceable("it adds up entries")
    results = {name: _result(given[name], y) for name, y in found.items()}
    values = tuple(given[o.name].value for o in operands)
    return Update(tuple(operands), values, tuple(tracer.calls), results), tracer


def _summary(update: Update) -> list[Any]:
    """The calls and results without what tells one trace from another."""
    values = [*update.values, *(c.result for c in update.calls)]
    places = {value: place for place, value in enumerate(values)}

    def name(part: Any) -> Any:
        return places[part] if isinstance(part, Value) else repr(part)

    calls = [(c.name, c.dtypes, list(map(name, c.operands))) for c in update.calls]
    return [*calls, {target: name(y) for target, y in update.results.items()}]


def _result(target: Standin, result: Any) -> Any:
    if not isinstance(result, Standin):
        if type(result) not in NUMBERS or isinstance(result, complex):
            raise Untraceable("a result is no array")
        return result
    if result.shape not in {(), target.shape}:
        raise Untraceable("a result has another shape than what it overwrites")
    return result.value


class _Number(Standin):
    """A number that no array holds.

    kind:  `float` for one of Python: arithmetic on it is Python's, and arrays keep their dtype
    truth: whether it is not 0; None for one that has been computed, of which nobody may ask that
    """

    def __init__(self, tracer: _UpdateTracer, value: Value, kind: Any, truth: bool | None) -> None:
        super().__init__(tracer, value)
        self.kind = kind
        self.truth = truth

    def __bool__(self) -> bool:
        if self.truth is None:
            raise Untraceable("it reads a number")
        return self.truth


def _is_of_python(x: Any) -> bool:
    return type(x) in (int, float) or (type(x) is _Number and x.kind is float)


class _UpdateTracer(Tracer):
    """The namespace of an update, and what it computes of numbers.

    shape:   of the full operands
    numbers: the values that Python would hold
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.numbers: set[Value] = set()

    def stand_in(self, operand: UpdateOperand) -> Standin:
        value = Value(self.shape if operand.kind == "full" else (), operand.dtype)
        if operand.kind in {"full", "one"}:
            return Standin(self, value)
        if operand.kind == "scalar":
            return _Number(self, value, operand.dtype, bool(operand.example))
        self.numbers.add(value)
        return _Number(self, value, float, bool(operand.example))

    def arithmetic(self, function: np.ufunc, operands: tuple[Any, ...]) -> Standin:
        """Note an operator on numbers, or on one and an array."""
        result = self.ufunc(function, operands)
        if not all(map(_is_of_python, operands)):
            return result
        self.numbers.add(result.value)
        return _Number(self, result.value, float, None)

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        """Note a conversion; of a number, to a 0-d array."""
        if not isinstance(x, Standin):
            return np.asarray(x, dtype)[()]
        wanted = x.dtype if dtype is None else np.dtype(dtype)
        if type(x) is Standin and wanted == x.dtype:
            return x
        if wanted not in FLOATS:
            raise Untraceable(f"it converts to {wanted}")
        return self.note("cast", (x,), (x.dtype,), wanted)


def _operator(function: np.ufunc, *, swapped: bool = False) -> Callable[..., Standin]:
    def operate(self: _Number, *others: Any) -> Standin:
        operands = (*others, self) if swapped else (self, *others)
        tracer: Any = self._body
        return tracer.arithmetic(function, operands)

    return operate


_BOTH_WAYS: dict[str, np.ufunc] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power,
}  # fmt: skip
for _name, _function in _BOTH_WAYS.items():
    setattr(_Number, f"__{_name}__", _operator(_function))
    setattr(_Number, f"__r{_name}__", _operator(_function, swapped=True))
_ONE_WAY: dict[str, np.ufunc] = {"neg": np.negative, "abs": np.absolute}
for _name, _function in _ONE_WAY.items():
    setattr(_Number, f"__{_name}__", _operator(_function))


# The comparison of calls with the code -----------------------------------------------------------


def _gives_what_its_code_gives(update: Update, code: UpdateCode, tracer: _UpdateTracer) -> bool:
    """Whether the calls, computed on some arrays, give what the code gives on them."""
    generator = np.random.default_rng(0)
    for turn, (low, high) in enumerate(RANGES):
        given: dict[Any, Any] = {}
        for o in update.operands:
            if o.kind == "full":
                given[o.name] = generator.uniform(low, high, SHAPES[0]).astype(o.dtype)
            else:
                number = 2.0 * turn if o.kind == "one" else o.example
                given[o.name] = number if o.kind == "number" else np.asarray(number, o.dtype)[()]
        with np.errstate(all="ignore"):
            try:
                expected = code(np, dict(given))
            except Exception:  # noqa: BLE001  # it refuses values, which its calls do not
                return False
            known = _computed(update, given, tracer)
        if expected.keys() != update.results.keys():
            return False
        for name, y in update.results.items():
            one, two = np.empty_like(given[name]), np.empty_like(given[name])
            one[...], two[...] = known.get(y, y), expected[name]
            if not np.array_equal(one, two, equal_nan=True):
                return False
    return True


def _computed(update: Update, given: dict[Any, Any], tracer: _UpdateTracer) -> dict[Any, Any]:
    """What each value is, by NumPy."""
    known: dict[Any, Any] = {
        v: given[o.name] for o, v in zip(update.operands, update.values, strict=True)
    }
    for call in update.calls:
        operands = [known.get(o, o) for o in call.operands]
        if call.name == "cast":
            y = np.asarray(operands[0]).astype(call.result.dtype)
        elif call.name == "stretch":
            y = np.broadcast_to(operands[0], call.result.shape)
        else:
            y = getattr(np, call.name)(*operands)
        known[call.result] = float(y) if call.result in tracer.numbers else y
    return known
