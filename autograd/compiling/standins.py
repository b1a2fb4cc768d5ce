"""Stand-ins for arrays, on which array code notes its calls and computes nothing.

Code over a namespace `xp` is run on a `Tracer` for `xp` and on stand-ins that have a shape and a
dtype but no values.  What it does beyond elementwise calls and sums raises `Untraceable`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.declaration import NUMBERS
from tapegrad.autograd.core.errors import EngineSignal
from tapegrad.autograd.replay.recording import ProgramSlot

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.layouts import Layout

__all__ = [
    "DTYPES",
    "FLOATS",
    "REDUCTIONS",
    "ScalarCall",
    "Standin",
    "Tracer",
    "Untraceable",
    "Value",
]

REDUCTIONS = frozenset({"sum", "max", "min"})
FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
DTYPES = FLOATS | {np.dtype(bool)}  # what a fused value may be

WRITES = "its body writes into an array"


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


class Tracer:
    """The namespace `xp` that a body sees: notes calls, and computes nothing."""

    pi, e, inf, nan, newaxis = np.pi, np.e, np.inf, np.nan, None
    float32, float64, bool_ = np.float32, np.float64, np.bool_

    def __init__(self) -> None:
        self.calls: list[ScalarCall] = []
        self.operands: dict[int, Standin] = {}

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
                self.operands[part.number] = Standin(self, value)
            return self.operands[part.number]
        if type(part) in NUMBERS and not isinstance(part, complex):
            return part
        raise Untraceable("an operand is a list, or missing")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(np, name, None)
        if isinstance(function, np.ufunc) and function.nout == 1 and function.signature is None:

            def call(*operands: Any, out: None = None) -> Standin:
                _refuse_to_write(out)
                return self.ufunc(function, operands)

            return call
        raise Untraceable(f"its body calls {name}, which is not elementwise")

    def ufunc(self, function: np.ufunc, operands: tuple[Any, ...]) -> Standin:
        """Note the call of a ufunc, in the dtypes of the loop that NumPy would take."""
        kinds: list[Any] = []
        for operand in operands:
            if isinstance(operand, Standin):
                kinds.append(operand.kind)
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
    ) -> Standin:
        """Note an elementwise call, whose operands broadcast."""
        values = tuple(o.value if isinstance(o, Standin) else o for o in operands)
        shape = np.broadcast_shapes(*(v.shape for v in values if isinstance(v, Value)))
        made = Value(shape, result)
        self.calls.append(ScalarCall(name, values, dtypes, made))
        return Standin(self, made)

    def where(self, condition: Any, x1: Any, x2: Any) -> Standin:
        """Note a selection."""
        if not isinstance(condition, Standin) or condition.dtype != bool:
            raise Untraceable("its condition is no array of booleans")
        kinds = [x.kind if isinstance(x, Standin) else x for x in (x1, x2)]
        kinds = [0.0 if kind is float else kind for kind in kinds]
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

    def ones_like(self, x: Any) -> Standin:
        """Note ones in the shape of an array."""
        return self._filled_like(_as_standin(x), 1)

    def zeros_like(self, x: Any) -> Standin:
        """Note zeros in the shape of an array."""
        return self._filled_like(_as_standin(x), 0)

    def _filled_like(self, x: Standin, number: int) -> Standin:
        fill = x.dtype.type(number)
        return self.where(x == x, fill, fill)  # noqa: PLR0124  # a call, which has the shape of x

    def broadcast_to(self, x: Any, shape: Any) -> Standin:
        """Note a view with repeated entries."""
        shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        if not isinstance(x, Standin) or np.broadcast_shapes(x.shape, shape) != shape:
            raise Untraceable("it stretches no array")
        made = Value(shape, x.dtype)
        self.calls.append(ScalarCall("stretch", (x.value,), (x.dtype,), made))
        return Standin(self, made)

    def abs(self, x: Any, out: None = None) -> Standin:
        """Note |x|."""
        _refuse_to_write(out)
        return self.ufunc(np.absolute, (x,))

    def sum(self, x: Any, axis: Any = None, keepdims: bool = False, out: None = None) -> Any:
        """Note a sum."""
        return _as_standin(x).sum(axis, keepdims=keepdims, out=out)

    def mean(self, x: Any, axis: Any = None, keepdims: bool = False, out: None = None) -> Any:
        """Note a mean."""
        return _as_standin(x).mean(axis, keepdims=keepdims, out=out)

    def max(self, x: Any, axis: Any = None, keepdims: bool = False, out: None = None) -> Any:
        """Note a maximum."""
        return _as_standin(x).max(axis, keepdims=keepdims, out=out)

    def min(self, x: Any, axis: Any = None, keepdims: bool = False, out: None = None) -> Any:
        """Note a minimum."""
        return _as_standin(x).min(axis, keepdims=keepdims, out=out)


class Standin:
    """An array without values, whose operators and methods are noted."""

    __array_ufunc__ = None  # NumPy's numbers leave operators to it
    __hash__ = None  # type: ignore[assignment]  # as an array has none

    def __init__(self, body: Tracer, value: Value) -> None:
        self._body = body
        self.value = value
        self.shape, self.dtype = value.shape, value.dtype
        self.ndim, self.size = len(value.shape), math.prod(value.shape)
        # What promotion makes of it: a dtype; `float` for a number that takes on those of arrays.
        self.kind: Any = value.dtype

    def astype(self, dtype: Any) -> Standin:
        """Note a conversion."""
        dtype = np.dtype(dtype)
        if dtype not in FLOATS:
            raise Untraceable(f"it converts to {dtype}")
        return self._body.note("cast", (self,), (self.dtype,), dtype)

    def _reduce(self, name: str, axis: Any, keepdims: bool) -> Standin:
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
        return Standin(self._body, made)

    def sum(self, axis: Any = None, *, keepdims: bool = False, out: None = None) -> Standin:
        """Note a sum."""
        _refuse_to_write(out)
        return self._reduce("sum", axis, keepdims)

    def max(self, axis: Any = None, *, keepdims: bool = False, out: None = None) -> Standin:
        """Note a maximum."""
        _refuse_to_write(out)
        return self._reduce("max", axis, keepdims)

    def min(self, axis: Any = None, *, keepdims: bool = False, out: None = None) -> Standin:
        """Note a minimum."""
        _refuse_to_write(out)
        return self._reduce("min", axis, keepdims)

    def mean(self, axis: Any = None, *, keepdims: bool = False, out: None = None) -> Standin:
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


def _as_standin(x: Any) -> Standin:
    if not isinstance(x, Standin):
        raise Untraceable("an operand is no array")
    return x


def _operator(function: np.ufunc, *, swapped: bool = False) -> Callable[..., Standin]:
    def operate(self: Standin, *others: Any) -> Standin:
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
    setattr(Standin, f"__{_name}__", _operator(_function))
    setattr(Standin, f"__r{_name}__", _operator(_function, swapped=True))
for _name, _function in _ONE_WAY.items():
    setattr(Standin, f"__{_name}__", _operator(_function))
