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

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from tapegrad.autograd.core.declaration import NUMBERS
from tapegrad.autograd.core.errors import EngineSignal
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.replay.recording import ProgramSlot

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.layouts import Layout
    from tapegrad.autograd.core.declaration import Primitive
    from tapegrad.autograd.replay.recording import ProgramEntry

__all__ = ["REDUCTIONS", "ScalarCall", "Traced", "Untraceable", "Value", "trace_entry"]

REDUCTIONS = frozenset({"sum", "max", "min"})
FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
DTYPES = FLOATS | {np.dtype(bool)}  # what a fused value may be

RANGES = ((-3.0, 3.0), (0.0, 1.0))  # of the arrays on which calls are compared with their body
PERIOD = 4099  # a prime, so that the rows of a matrix differ
REPEATS = 8  # a body that draws one of two numbers makes the same calls once in 2**REPEATS

WRITES = "its body writes into an array"
DIFFERS = "its body gives something else on stand-ins than on arrays"

# Primitive -> for what it was called with, whether its calls give what its body gives.
_verdicts: WeakKeyDictionary[Primitive, dict[Any, bool]] = WeakKeyDictionary()


class Untraceable(EngineSignal):
    """Why a body cannot be taken apart."""


@dataclass(frozen=True, eq=False)
class Value:
    """A value inside a body; `slot` is its number in the program, None for one in between."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    slot: int | None = None


@dataclass(frozen=True)
class ScalarCall:
    """One call of a ufunc, or a reduction, in a body that has been taken apart.

    name:     the ufunc's name; "where", "cast", "stretch" or one of REDUCTIONS
    operands: values, and numbers as they were written
    dtypes:   in which each operand takes part
    axes:     those that a reduction runs over; it keeps them with length 1
    relaxed:  from stepwise code, which states a bound of its own: float32 stays in its precision
    """

    name: str
    operands: tuple[Any, ...]
    dtypes: tuple[np.dtype[Any], ...]
    result: Value
    axes: tuple[int, ...] = ()
    relaxed: bool = False


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
    if type(result) is not _Standin:
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
    if len(results) != len(targets) or any(type(r) is not _Standin for r in results):
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


def _named(body: _Body, slots: dict[Value, int], *, relaxed: bool = False) -> Traced:
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
) -> tuple[_Body, Any]:
    """What a body or stepwise code calls, and what it returns.  Raises `Untraceable`."""
    body, optional = _Body(), code is entry.primitive.steps
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
    entry: ProgramEntry, layouts: list[Layout], body: _Body, result: Value
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


# Stand-ins ---------------------------------------------------------------------------------------


class _Body:
    """The namespace `xp` that a body sees: notes calls, and computes nothing."""

    pi, e, inf, nan, newaxis = np.pi, np.e, np.inf, np.nan, None
    float32, float64, bool_ = np.float32, np.float64, np.bool_

    def __init__(self) -> None:
        self.calls: list[ScalarCall] = []
        self.operands: dict[int, _Standin] = {}

    def summary(self) -> list[Any]:
        """The calls without what tells one run of the body from another."""
        return [
            (c.name, c.dtypes, c.axes, c.result.shape,
             [repr(o) for o in c.operands if not isinstance(o, Value)])
            for c in self.calls
        ]  # fmt: skip

    def operand(self, part: Any, layouts: list[Layout]) -> Any:
        """The stand-in of a slot; a number is itself."""
        if isinstance(part, ProgramSlot):
            layout = layouts[part.number]
            if layout.dtype not in DTYPES:
                raise Untraceable(f"an operand's dtype is {layout.dtype}")
            if part.number not in self.operands:
                value = Value(layout.shape, layout.dtype, part.number)
                self.operands[part.number] = _Standin(self, value)
            return self.operands[part.number]
        if type(part) in NUMBERS and not isinstance(part, complex):
            return part
        raise Untraceable("an operand is a list, or missing")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(np, name, None)
        if isinstance(function, np.ufunc) and function.nout == 1 and function.signature is None:

            def call(*operands: Any, out: None = None) -> _Standin:
                _refuse_to_write(out)
                return self.ufunc(function, operands)

            return call
        raise Untraceable(f"its body calls {name}, which is not elementwise")

    def ufunc(self, function: np.ufunc, operands: tuple[Any, ...]) -> _Standin:
        """Note the call of a ufunc, in the dtypes of the loop that NumPy would take."""
        kinds: list[Any] = []
        for operand in operands:
            if isinstance(operand, _Standin):
                kinds.append(operand.dtype)
            elif type(operand) in (bool, int, float):
                kinds.append(type(operand) if type(operand) is not bool else np.dtype(bool))
            elif isinstance(operand, (np.floating, np.bool_)):
                kinds.append(operand.dtype)
            else:
                raise Untraceable("an operand is no number")
        *dtypes, result = function.resolve_dtypes((*kinds, None))
        if not {*dtypes, result} <= DTYPES:
            raise Untraceable(f"{function.__name__} computes in {result}")
        return self.note(function.__name__, operands, tuple(dtypes), result)

    def note(
        self,
        name: str,
        operands: tuple[Any, ...],
        dtypes: tuple[np.dtype[Any], ...],
        result: np.dtype[Any],
    ) -> _Standin:
        """Note an elementwise call, whose operands broadcast."""
        values = tuple(o.value if isinstance(o, _Standin) else o for o in operands)
        shape = np.broadcast_shapes(*(v.shape for v in values if isinstance(v, Value)))
        made = Value(shape, result)
        self.calls.append(ScalarCall(name, values, dtypes, made))
        return _Standin(self, made)

    def where(self, condition: Any, x1: Any, x2: Any) -> _Standin:
        """Note a selection."""
        if not isinstance(condition, _Standin) or condition.dtype != bool:
            raise Untraceable("its condition is no array of booleans")
        kinds = [x.dtype if isinstance(x, _Standin) else x for x in (x1, x2)]
        if any(type(k) not in NUMBERS and not isinstance(k, np.dtype) for k in kinds):
            raise Untraceable("an operand is no number")
        result = np.result_type(*kinds)
        if result not in DTYPES:
            raise Untraceable(f"where computes in {result}")
        dtypes = (condition.dtype, result, result)
        return self.note("where", (condition, x1, x2), dtypes, result)

    def clip(self, x: Any, low: Any, high: Any, out: None = None) -> Any:
        """Note a limit below and a limit above."""
        _refuse_to_write(out)
        y = x if low is None else self.ufunc(np.maximum, (x, low))
        return y if high is None else self.ufunc(np.minimum, (y, high))

    def zeros(self, shape: Any, dtype: Any = np.float64) -> Any:
        """A 0-d zero, as a number of its dtype."""
        if shape != () or np.dtype(dtype) not in FLOATS:
            raise Untraceable("its body makes an array")
        return np.dtype(dtype).type(0)

    def ones_like(self, x: Any) -> _Standin:
        """Note ones in the shape of an array."""
        return self._filled_like(_standin(x), 1)

    def zeros_like(self, x: Any) -> _Standin:
        """Note zeros in the shape of an array."""
        return self._filled_like(_standin(x), 0)

    def _filled_like(self, x: _Standin, number: int) -> _Standin:
        fill = x.dtype.type(number)
        return self.where(x == x, fill, fill)  # noqa: PLR0124  # a call, which has the shape of x

    def broadcast_to(self, x: Any, shape: Any) -> _Standin:
        """Note a view with repeated entries."""
        shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        if not isinstance(x, _Standin) or np.broadcast_shapes(x.shape, shape) != shape:
            raise Untraceable("it stretches no array")
        made = Value(shape, x.dtype)
        self.calls.append(ScalarCall("stretch", (x.value,), (x.dtype,), made))
        return _Standin(self, made)

    def abs(self, x: Any, out: None = None) -> _Standin:
        """Note |x|."""
        _refuse_to_write(out)
        return self.ufunc(np.absolute, (x,))

    def sum(self, x: Any, axis: Any = None, keepdims: bool = False, out: None = None) -> Any:
        """Note a sum."""
        return _standin(x).sum(axis, keepdims=keepdims, out=out)

    def mean(self, x: Any, axis: Any = None, keepdims: bool = False, out: None = None) -> Any:
        """Note a mean."""
        return _standin(x).mean(axis, keepdims=keepdims, out=out)

    def max(self, x: Any, axis: Any = None, keepdims: bool = False, out: None = None) -> Any:
        """Note a maximum."""
        return _standin(x).max(axis, keepdims=keepdims, out=out)

    def min(self, x: Any, axis: Any = None, keepdims: bool = False, out: None = None) -> Any:
        """Note a minimum."""
        return _standin(x).min(axis, keepdims=keepdims, out=out)


class _Standin:
    """An array without values, whose operators and methods are noted."""

    __array_ufunc__ = None  # NumPy's numbers leave operators to it
    __hash__ = None  # type: ignore[assignment]  # as an array has none

    def __init__(self, body: _Body, value: Value) -> None:
        self._body = body
        self.value = value
        self.shape, self.dtype = value.shape, value.dtype
        self.ndim, self.size = len(value.shape), math.prod(value.shape)

    def astype(self, dtype: Any) -> _Standin:
        """Note a conversion."""
        dtype = np.dtype(dtype)
        if dtype not in FLOATS:
            raise Untraceable(f"it converts to {dtype}")
        return self._body.note("cast", (self,), (self.dtype,), dtype)

    def _reduce(self, name: str, axis: Any, keepdims: bool) -> _Standin:
        if self.dtype not in FLOATS or not self.size:
            raise Untraceable(f"a {name} of {self.dtype}, or of nothing")
        axes = range(self.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        reduced = tuple(sorted({a % self.ndim for a in axes}))
        if not reduced:
            raise Untraceable(f"a {name} over no axis")
        kept = tuple(1 if i in reduced else n for i, n in enumerate(self.shape))
        left = kept if keepdims else tuple(n for i, n in enumerate(kept) if i not in reduced)
        made = Value(left, self.dtype)
        call = ScalarCall(name, (self.value,), (self.dtype,), made, reduced)
        self._body.calls.append(call)
        return _Standin(self._body, made)

    def sum(self, axis: Any = None, *, keepdims: bool = False, out: None = None) -> _Standin:
        """Note a sum."""
        _refuse_to_write(out)
        return self._reduce("sum", axis, keepdims)

    def max(self, axis: Any = None, *, keepdims: bool = False, out: None = None) -> _Standin:
        """Note a maximum."""
        _refuse_to_write(out)
        return self._reduce("max", axis, keepdims)

    def min(self, axis: Any = None, *, keepdims: bool = False, out: None = None) -> _Standin:
        """Note a minimum."""
        _refuse_to_write(out)
        return self._reduce("min", axis, keepdims)

    def mean(self, axis: Any = None, *, keepdims: bool = False, out: None = None) -> _Standin:
        """Note a sum and a quotient, as NumPy computes a mean."""
        _refuse_to_write(out)
        total = self._reduce("sum", axis, keepdims)
        return self._body.ufunc(np.divide, (total, float(self.size // max(total.size, 1))))

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"its body reads {name}")

    def _refuse(self, *_: Any) -> Any:
        raise Untraceable("its body reads a value")

    __bool__ = __float__ = __int__ = __index__ = __iter__ = __len__ = __getitem__ = _refuse
    __array__ = __matmul__ = __rmatmul__ = __contains__ = _refuse

    def _refuse_in_place(self, *_: Any) -> Any:
        raise Untraceable(WRITES)

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ifloordiv__ = __imod__ = _refuse_in_place
    __ipow__ = __imatmul__ = __iand__ = __ior__ = __ixor__ = _refuse_in_place
    __ilshift__ = __irshift__ = __setitem__ = __delitem__ = _refuse_in_place

    def _refuse_class(self) -> Any:
        raise Untraceable("its body asks for the class of an operand")

    __class__ = property(_refuse_class)  # isinstance reads it


def _refuse_to_write(out: Any) -> None:
    if out is not None:
        raise Untraceable(WRITES)


def _standin(x: Any) -> _Standin:
    if not isinstance(x, _Standin):
        raise Untraceable("an operand is no array")
    return x


def _operator(function: np.ufunc, *, swapped: bool = False) -> Callable[..., _Standin]:
    def operate(self: _Standin, *others: Any) -> _Standin:
        operands = (*others, self) if swapped else (self, *others)
        return self._body.ufunc(function, operands)

    return operate


_BOTH_WAYS: dict[str, np.ufunc] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power,
}  # fmt: skip
_ONE_WAY: dict[str, np.ufunc] = {
    "neg": np.negative, "abs": np.absolute, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "and": np.logical_and, "or": np.logical_or, "invert": np.logical_not,
}  # fmt: skip
for _name, _function in _BOTH_WAYS.items():
    setattr(_Standin, f"__{_name}__", _operator(_function))
    setattr(_Standin, f"__r{_name}__", _operator(_function, swapped=True))
for _name, _function in _ONE_WAY.items():
    setattr(_Standin, f"__{_name}__", _operator(_function))
