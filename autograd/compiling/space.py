"""A `Space` is the loop of one kernel: rows of columns, and how each value lies in them.

Values of a fused run are of five kinds:

- full: one number for each row and column
- row:  one number for each row; a sum along the last axis gives one
- col:  one number for each column, read from outside; a sum over all rows gives one, at the end
- one:  a single number
- channel: one number for each index of the second axis, as images have them; a sum over all other
        axes gives one, at the end

Rows end before the last axis, or, where there are channels, before the third.
Within a row the loop over columns may have to run more than once: what needs the sum of a row comes
in a later *phase* than what is summed.  What needs a sum over all rows comes after the loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.compiling.standins import REDUCTIONS, ScalarCall, Value
from tapegrad.autograd.core.errors import EngineSignal

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.layouts import Layout

__all__ = ["END", "ValuePlace", "Space", "Unplaceable"]

END = 1 << 30  # the phase after the loop over rows


class Unplaceable(EngineSignal):
    """A call does not fit into a space; the text says why."""


@dataclass(frozen=True)
class ValuePlace:
    """kind: "full", "row", "col", "one" or "channel"; phase: from when on the value is known."""

    kind: str
    phase: int


@dataclass
class Space:
    """The rows and columns of one kernel, the calls in it, and where their values lie."""

    shape: tuple[int, ...]
    obstacle: Callable[[ScalarCall], str]  # why a call cannot run in a kernel, "" if it can
    channels: bool = False  # whether values of the kind "channel" may take part
    split: int | None = None  # the first axis of the columns; None while any would do
    calls: list[ScalarCall] = field(default_factory=list)
    places: dict[Any, ValuePlace] = field(
        default_factory=dict
    )  # by slot; by value for one in between
    shapes: dict[Any, tuple[int, ...]] = field(default_factory=dict)
    outside: dict[int, str] = field(default_factory=dict)  # slot -> kind

    def copy(self) -> Space:
        """A space that can be filled further without changing this one."""
        return Space(
            self.shape,
            self.obstacle,
            self.channels,
            self.split,
            list(self.calls),
            dict(self.places),
            dict(self.shapes),
            dict(self.outside),
        )

    @property
    def columns(self) -> int:
        """The length of a row."""
        return math.prod(self.shape[self._first_column() :])

    @property
    def rows(self) -> int:
        """The number of rows."""
        return math.prod(self.shape[: self._first_column()])

    def _first_column(self) -> int:
        return max(len(self.shape) - 1, 0) if self.split is None else self.split

    def _split_at(self, axis: int) -> None:
        """Let rows end before an axis.  Raises Unplaceable if they end elsewhere already."""
        if self.split not in {None, axis}:
            raise Unplaceable("its rows end elsewhere")
        self.split = axis

    def _split_last(self) -> None:
        self._split_at(max(len(self.shape) - 1, 0))

    def add(self, calls: tuple[ScalarCall, ...], layouts: list[Layout]) -> None:
        """ValuePlace all calls of one entry.  Raises Unplaceable; the space is then of no use."""
        for call in calls:
            reason = self.obstacle(call)
            if reason:
                raise Unplaceable(reason)
            place = self._reduced(call, layouts) if call.axes else self._computed(call, layouts)
            key = key_of(call.result)
            self.places[key] = place
            self.shapes[key] = call.result.shape
            self.calls.append(call)

    def operand(self, value: Value, shape: tuple[int, ...], layouts: list[Layout]) -> ValuePlace:
        """Where an operand of a call with this result's shape lies."""
        key = key_of(value)
        if key in self.places:
            place = self.places[key]
            if place.kind == "row" and self.rows > 1 and not self._meets(self.shapes[key], shape):
                raise Unplaceable("its rows are another value's columns")
            return place
        layout = layouts[value.slot]  # type: ignore[index]  # a value without slot is placed
        if layout.size == 1:
            kind = "one"
        elif not layout.contiguous:
            raise Unplaceable("an operand has gaps or another order")
        elif layout.shape == self.shape:
            kind = "full"
        elif layout.shape == (*self.shape[:-1], 1):
            kind = "row"
        elif self._is_column(layout.shape) and shape == self.shape:
            kind = "col"
        elif layout.shape == self.shape[:-1] == shape:
            kind = "row"
        elif self._is_channel(layout.shape) and shape == self.shape:
            kind = "channel"
        else:
            raise Unplaceable(f"shapes {layout.shape} and {self.shape}")
        if kind in {"row", "col"}:
            self._split_last()
        if kind == "channel":
            self._split_at(2)
        if kind == "row" and not self._meets(layout.shape, shape):
            raise Unplaceable("its rows are another value's columns")
        if self.outside.setdefault(value.slot, kind) != kind:  # type: ignore[arg-type]  # as above
            raise Unplaceable("an operand is a row here and a column there")
        return ValuePlace(kind, 0)

    def _is_channel(self, shape: tuple[int, ...]) -> bool:
        bare = shape[next((i for i, n in enumerate(shape) if n != 1), len(shape)) :]
        axes = len(self.shape)
        return self.channels and axes > 2 and bare == (self.shape[1], *[1] * (axes - 2))

    def _is_column(self, shape: tuple[int, ...]) -> bool:
        bare = shape[next((i for i, n in enumerate(shape) if n != 1), len(shape)) :]
        return bare == self.shape[-1:]

    def _meets(self, row: tuple[int, ...], result: tuple[int, ...]) -> bool:
        """Whether a row value, as NumPy broadcasts its shape, has the rows of the result."""
        return row == (*self.shape[:-1], 1) or row == result

    def _computed(self, call: ScalarCall, layouts: list[Layout]) -> ValuePlace:
        shape = call.result.shape
        places = [self.operand(v, shape, layouts) for v in call.operands if isinstance(v, Value)]
        phase = max((p.phase for p in places), default=0)
        kinds = {p.kind for p in places}
        if shape == self.shape and math.prod(shape) != 1:
            if phase == END:
                raise Unplaceable("it needs a sum over all rows")
            return ValuePlace("full", phase)
        if phase == END and (kinds - {"one"}) in ({"col"}, {"channel"}):
            for value in call.operands:  # what is left of all rows: entry by entry, at the end
                key = key_of(value) if isinstance(value, Value) else None
                place = self.places.get(key)
                if place is not None and place.kind != "one" and self.shapes[key] != shape:
                    raise Unplaceable("its shape is not that of the sum")
            [kind] = kinds - {"one"}
            return ValuePlace(kind, END)
        if kinds & {"full", "col", "channel"}:
            raise Unplaceable("its shape is not the kernel's")
        if phase == END:
            if kinds - {"one"} and self.rows > 1:
                raise Unplaceable("it needs a sum over all rows")
            if math.prod(shape) != 1:
                raise Unplaceable("it stretches a single number")
            return ValuePlace("one", END)
        if "row" in kinds:
            if shape not in {(*self.shape[:-1], 1), self.shape[:-1]} and self.rows > 1:
                raise Unplaceable("its shape is not the kernel's")
            if self.rows == 1 and math.prod(shape) != 1:
                raise Unplaceable("its shape is not the kernel's")
            return ValuePlace("row", phase)
        if math.prod(shape) != 1:
            raise Unplaceable("it stretches a single number")
        return ValuePlace("one", 0)

    def _reduced(self, call: ScalarCall, layouts: list[Layout]) -> ValuePlace:
        assert call.name in REDUCTIONS
        value = call.operands[0]
        place = self.operand(value, value.shape, layouts)
        if value.shape != self.shape or place.phase == END or math.prod(self.shape) == 1:
            raise Unplaceable("it adds up another shape")
        last = len(self.shape) - 1
        long = {i for i, n in enumerate(self.shape) if n != 1}
        if last in call.axes and long & set(call.axes) <= {last}:
            self._split_last()
            return ValuePlace("row", place.phase + 1)
        if call.name != "sum":
            raise Unplaceable("an extremum over rows")
        if long <= set(call.axes):
            return ValuePlace("one", END)
        if last not in call.axes and long - {last} <= set(call.axes):
            self._split_last()
            return ValuePlace("col", END)
        if self.channels and last > 1 and 1 not in call.axes and long - {1} <= set(call.axes):
            self._split_at(2)
            return ValuePlace("channel", END)
        raise Unplaceable("a sum over some axes that are not the last")


def key_of(value: Value) -> Any:
    """What values of one number have in common: the slot, or the value itself."""
    return value if value.slot is None else value.slot
