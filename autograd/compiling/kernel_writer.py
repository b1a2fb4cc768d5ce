"""`KernelWriter` writes the loop of a space as one function in LLVM's assembly language.

The function takes a table of addresses: one for each value that it reads or writes, then scratch
memory.  For each row it runs the phases; each is a loop over the columns in vectors, whose last is
masked, so that all columns are computed alike.  Sums are added in float64.  What a later phase of
the row needs, and no table entry holds, waits in scratch memory of one row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.compiling.kernel_sums import (
    LANES,
    ROWS_IN_SINGLE,
    add_double,
    add_lanes,
    add_partial_sums,
    dtype_of_sum,
    join_lanes,
    start_of_sum,
)
from tapegrad.autograd.compiling.loops import carried_loop, loop, loop_while
from tapegrad.autograd.compiling.machine_text import DOUBLE, FLOAT, Code
from tapegrad.autograd.compiling.scalar_code import emit_call
from tapegrad.autograd.compiling.space import END, Space, key_of
from tapegrad.autograd.compiling.standins import ScalarCall, Value

if TYPE_CHECKING:
    import numpy as np

__all__ = ["KernelWriter", "is_flat"]

# Sums and products that later phases compute again: to store a row and to read it takes longer.
CHEAP = 3


def is_flat(space: Space) -> bool:
    """Whether nothing in a kernel depends on where a row ends."""
    kinds = {p.kind for p in space.places.values()} | set(space.outside.values())
    return not any(c.axes for c in space.calls) and kinds <= {"full", "one"}


class KernelWriter:
    """The text of a function, while it is written.

    reads, writes: slots, whose addresses the table holds in this order
    scratch: the bytes of each piece of memory that it works in
    length:  "rows" or "columns" where the table says how many there are, "" where the text does
    """

    def __init__(self, space: Space, dtypes: dict[int, np.dtype[Any]], stored: set[int]) -> None:
        self.space = space
        self.calls = space.calls
        self.stored = stored
        self.dtypes: dict[Any, np.dtype[Any]] = dict(dtypes)
        for call in self.calls:
            self.dtypes[key_of(call.result)] = call.result.dtype
        self.outside = dict(space.outside)
        for call in self.calls:  # single numbers from outside
            for value in call.operands:
                if isinstance(value, Value) and key_of(value) not in space.places:
                    self.outside.setdefault(value.slot, "one")  # type: ignore[arg-type]  # it has a slot
        results = [key_of(c.result) for c in self.calls]
        self.reads = sorted(self.outside)
        self.writes = [k for k in results if k in stored]
        self.table = [*self.reads, *self.writes]
        self.scratch: list[int] = []
        self.code = Code()
        self.pointers: dict[Any, str] = {}
        self.singles: dict[Any, str] = {}  # vectors of one number: of kind row and one
        self.waiting: dict[Any, str] = {}  # pointers to rows in scratch memory
        self.remade: dict[Any, ScalarCall] = {}  # what later phases compute again
        self.rows, self.columns = space.rows, space.columns
        self.length = ""  # "rows" or "columns" where the table says how many
        self._flatten()

    def _flatten(self) -> None:
        """Take all rows for one where nothing depends on where a row ends."""
        if is_flat(self.space):
            self.rows, self.columns = 1, self.rows * self.columns

    def take_length(self) -> None:
        """Leave the number of rows, or of the columns of one row, to the table."""
        self.length = "columns" if is_flat(self.space) else "rows"

    def text(self) -> str:
        """The whole module."""
        declared = sorted(self.code.declared.values())
        header = "define void @kernel(ptr %table) alignstack(64) {"
        return "\n".join([*declared, header, *self.code.lines, "}", ""])

    # The whole ------------------------------------------------------------------------------------

    def write(self, *, ends: bool = True) -> None:
        """Write the function, with what follows the last row or without."""
        self._begin(clears=True)
        if self.length:
            place = self._address_of(len(self.table) + len(self.scratch))
            self.code.do(f"%length = load i64, ptr {place}")
        self._compute_singles()
        last = max((p.phase for p in self.space.places.values() if p.phase != END), default=0)
        if self.length == "rows":
            loop_while(self.code, "%length", 1, lambda row: self._row(row, last))
        else:
            loop(self.code, self.rows, 1, lambda row: self._row(row, last))
        if ends:
            self._finish()
        self.code.do("ret void")

    def write_end(self, pieces: int, stride: int) -> None:
        """Write what follows the last of some pieces, on the table of the first."""
        code = self.code
        self._begin(clears=False)
        self._compute_singles()
        for call in self.calls:
            if call.axes and self._place(call)[1] == END:
                total = self.totals[key_of(call.result)]
                for piece in range(1, pieces):
                    other = code.let(f"getelementptr i8, ptr {total}, i64 {piece * stride}")
                    count = self._length(self._place(call)[0])
                    loop(code, count, 1, partial(add_double, code, other, total))
        self._finish()
        code.do("ret void")

    def _begin(self, *, clears: bool) -> None:
        """Load the addresses of the table, and clear the memory for sums over all rows."""
        self.code.do("entry:")
        for index, key in enumerate(self.table):
            self.pointers[key] = self._address(index)
        self._plan_scratch(clears)

    def _compute_singles(self) -> None:
        """Load single numbers, and compute once what holds for all rows."""
        for key, kind in self.outside.items():
            if kind == "one":
                self.singles[key] = self._load_single(key, "0")
        if self.rows != 1:
            for call in self.calls:
                if self._place(call) == ("one", 0):
                    self._single_call(call)

    def _place(self, call: ScalarCall) -> tuple[str, int]:
        place = self.space.places[key_of(call.result)]
        return place.kind, place.phase

    def _address_of(self, index: int) -> str:
        return self.code.let(f"getelementptr ptr, ptr %table, i64 {index}")

    def _address(self, index: int) -> str:
        return self.code.let(f"load ptr, ptr {self._address_of(index)}")

    def _more_memory(self, nbytes: int) -> str:
        self.scratch.append(nbytes)
        return self._address(len(self.table) + len(self.scratch) - 1)

    def _plan_scratch(self, clears: bool) -> None:
        """Reserve memory for sums over rows, and for rows that wait for a later phase."""
        self.totals: dict[Any, str] = {}
        self.partial: dict[Any, str] = {}  # float32 totals of some rows
        padded = -(-self.columns // LANES) * LANES
        for call in self.calls:
            if call.axes and self._place(call)[1] == END:
                count = self._length(self._place(call)[0])
                partly = self._place(call)[0] == "col" and self._adds_in_single(call)
                size = padded if partly else count
                pointer = self.totals[key_of(call.result)] = self._more_memory(8 * size)
                loop(self.code, size * clears, 1, self._clear(pointer, DOUBLE))
                if partly:
                    pointer = self._more_memory(4 * padded)
                    self.partial[key_of(call.result)] = pointer
                    loop(self.code, padded * clears, 1, self._clear(pointer, call.result.dtype))
        costs: dict[Any, int] = {}
        for call in self.calls:
            key = key_of(call.result)
            kind, phase = self._place(call)
            if kind != "full" or key in self.stored:
                continue
            costs[key] = self._cost(call, costs)
            if costs[key] <= CHEAP:
                self.remade[key] = call
            elif self._needed_after(key, phase):
                width = call.result.dtype.itemsize
                self.waiting[key] = self._more_memory(padded * width)

    def _cost(self, call: ScalarCall, costs: dict[Any, int]) -> int:
        """How many instructions make a value from what is read from outside; many: too many."""
        if call.name not in {"add", "subtract", "multiply", "negative"}:
            return 2 * CHEAP
        total = 1
        for value in call.operands:
            key = key_of(value) if isinstance(value, Value) else None
            if key in self.space.places and self.space.places[key].kind == "full":
                total += 0 if key in self.outside else costs.get(key, 2 * CHEAP)
        return total

    def _length(self, kind: str) -> int:
        """How many numbers a sum over all rows has."""
        if kind == "channel":
            return self.space.shape[1]
        return self.columns if kind == "col" else 1

    def _channel(self, row: str) -> str:
        return self.code.let(f"urem i64 {row}, {self.space.shape[1]}")

    def _clear(self, pointer: str, dtype: np.dtype[Any]) -> Callable[[str], None]:
        def clear(index: str) -> None:
            self.code.store(pointer, dtype, self.code.number(0, dtype, 1), index, 1, None)

        return clear

    def _adds_in_single(self, call: ScalarCall) -> bool:
        return call.result.dtype == FLOAT and dtype_of_sum(call, ROWS_IN_SINGLE) == FLOAT

    def _add_partial_sums(self, row: str) -> None:
        """After some rows, and after the last one, add their float32 totals in float64."""
        if self.partial:
            rows = "%length" if self.length == "rows" else str(self.rows)
            pairs = [(pointer, self.totals[key]) for key, pointer in self.partial.items()]
            add_partial_sums(self.code, pairs, self.columns, row, rows)

    def _needed_after(self, key: Any, phase: int) -> bool:
        return any(
            isinstance(v, Value) and key_of(v) == key and self._phase_of_use(c) > phase
            for c in self.calls
            for v in c.operands
        )

    def _phase_of_use(self, call: ScalarCall) -> int:
        """The phase in whose loop over columns a call reads its operands."""
        if not call.axes:
            return self._place(call)[1]
        value = call.operands[0]
        place = self.space.places.get(key_of(value))
        return 0 if place is None else place.phase

    # One row --------------------------------------------------------------------------------------

    def _row(self, row: str, last: int) -> None:
        self.singles = {k: v for k, v in self.singles.items() if self._lasts(k)}
        for key, kind in self.outside.items():
            if kind == "row":
                self.singles[key] = self._load_single(key, row)
            elif kind == "channel":
                self.singles[key] = self._load_single(key, self._channel(row))
        offset = self.code.let(f"mul i64 {row}, {self.columns}")
        for phase in range(last + 1):
            for call in self.calls:
                kind, known_from = self._place(call)
                if call.axes or kind not in {"row", "one"} or known_from != phase:
                    continue
                if key_of(call.result) not in self.singles:
                    self._single_call(call)
                    self._store_single(call, row)
            self._columns(phase, offset, row)
        self._add_partial_sums(row)

    def _lasts(self, key: Any) -> bool:
        place = self.space.places.get(key)
        return self.outside.get(key) == "one" or (place is not None and place.kind == "one")

    def _single_call(self, call: ScalarCall) -> None:
        operands = [
            self._number(o, dtype, 1)
            if not isinstance(o, Value)
            else self.code.convert(self.singles[key_of(o)], self.dtypes[key_of(o)], dtype, 1)
            for o, dtype in zip(call.operands, call.dtypes, strict=True)
        ]
        key = key_of(call.result)
        self.singles[key] = emit_call(self.code, call, operands, 1)
        if self._place(call) == ("one", 0) and key in self.stored:
            self._store(key, self.singles[key], "0", 1, None)

    def _store_single(self, call: ScalarCall, row: str) -> None:
        key = key_of(call.result)
        if key in self.stored and self._place(call)[0] == "row":
            self._store(key, self.singles[key], row, 1, None)

    def _number(self, value: Any, dtype: np.dtype[Any], width: int) -> str:
        return self.code.number(value, dtype, width)

    # Columns --------------------------------------------------------------------------------------

    def _columns(self, phase: int, offset: str, row: str) -> None:
        """The loop over the columns of one row in one phase, and the sums that it ends with."""
        loop = [
            c
            for c in self.calls
            if (self._place(c)[0] == "full" or c.axes) and self._phase_of_use(c) == phase
        ]
        if not loop:
            return
        sums = [c for c in loop if c.axes and self._place(c)[0] != "col"]
        starts = [start_of_sum(self.code, c, self.columns) for c in sums]
        whole, rest = divmod(self.columns, LANES)
        totals = [first for _, first in starts]
        spread: dict[tuple[Any, int], str] = {}
        self._spread_singles(loop, spread)
        if self.length == "columns":
            self._any_columns(loop, offset, spread)
            return
        if whole == 1:
            totals = self._vector(loop, sums, totals, "0", offset, None, spread)
        elif whole:
            totals = carried_loop(self.code,
                str(whole * LANES), LANES, starts,
                lambda i, c: self._vector(loop, sums, c, i, offset, None, spread),
            )  # fmt: skip
        if rest:
            lanes = ["true"] * rest + ["false"] * (LANES - rest)
            mask = f"<{', '.join(f'i1 {lane}' for lane in lanes)}>"
            at = str(whole * LANES)
            totals = self._vector(loop, sums, totals, at, offset, mask, spread)
        for call, total in zip(sums, totals, strict=True):
            self._end_sum(call, total, row)

    def _any_columns(
        self, loop: list[ScalarCall], offset: str, spread: dict[tuple[Any, int], str]
    ) -> None:
        """The loop over as many columns as the table says, at least one vector of them."""
        code = self.code
        end = code.let(f"and i64 %length, {-LANES}")

        def one_vector(index: str) -> None:
            self._vector(loop, [], [], index, offset, None, spread)

        loop_while(self.code, end, LANES, one_vector)
        rest = code.let(f"and i64 %length, {LANES - 1}")
        kind = f"<{LANES} x i64>"
        first = code.let(f"insertelement {kind} poison, i64 {rest}, i64 0")
        spread_mask = f"<{LANES} x i32> zeroinitializer"
        rests = code.let(f"shufflevector {kind} {first}, {kind} poison, {spread_mask}")
        lanes = f"<{', '.join(f'i64 {i}' for i in range(LANES))}>"
        mask = code.let(f"icmp ult {kind} {lanes}, {rests}")
        self._vector(loop, [], [], end, offset, mask, spread)

    def _spread_singles(self, loop: list[ScalarCall], spread: dict[tuple[Any, int], str]) -> None:
        """Vectors of equal numbers, made before the loop that reads them."""
        made = {key_of(c.result) for c in loop if not c.axes}
        waiting = list(loop)
        for call in waiting:  # which grows
            for value in call.operands:
                key = key_of(value) if isinstance(value, Value) else None
                if key in self.singles and (key, LANES) not in spread:
                    single = self.singles[key]
                    spread[key, LANES] = self.code.splat(single, self.dtypes[key], LANES)
                elif key in self.remade and key not in made:
                    waiting.append(self.remade[key])

    def _vector(
        self,
        loop: list[ScalarCall],
        sums: list[ScalarCall],
        carried: list[str],
        index: str,
        offset: str,
        mask: str | None,
        spread: dict[tuple[Any, int], str],
    ) -> list[str]:
        """The calls of one phase on one vector of columns."""
        at = offset if index == "0" else self.code.let(f"add i64 {offset}, {index}")
        known: dict[Any, str] = {}
        totals = dict(zip(map(id, sums), carried, strict=True))

        def read(value: Any, dtype: np.dtype[Any]) -> str:
            if not isinstance(value, Value):
                return self._number(value, dtype, LANES)
            key = key_of(value)
            if (key, LANES) in spread:
                name = spread[key, LANES]
            elif key in known:
                name = known[key]
            elif key in self.remade:
                call = self.remade[key]
                operands = [read(o, d) for o, d in zip(call.operands, call.dtypes, strict=True)]
                name = known[key] = emit_call(self.code, call, operands, LANES)
            else:
                name = known[key] = self._load_columns(key, index, at, mask)
            return self.code.convert(name, self.dtypes[key], dtype, LANES)

        made = {key_of(c.result) for c in loop if not c.axes}
        for call in loop:  # all loads come first: one behind a store may wait for it in vain
            for value in call.operands:
                if isinstance(value, Value) and key_of(value) not in made:
                    read(value, self.dtypes[key_of(value)])
        for call in loop:
            operands = [read(o, d) for o, d in zip(call.operands, call.dtypes, strict=True)]
            key = key_of(call.result)
            if call.axes:
                if self._place(call)[0] == "col":
                    self._add_to_columns(call, operands[0], index, mask)
                else:
                    before = totals[id(call)]
                    totals[id(call)] = add_lanes(
                        self.code, call, before, operands[0], mask, self.columns
                    )
                continue
            known[key] = emit_call(self.code, call, operands, LANES)
            if key in self.stored:
                self._store(key, known[key], at, LANES, mask)
            elif key in self.waiting:
                self.code.store(self.waiting[key], self.dtypes[key], known[key], index, LANES, None)
        return [totals[id(c)] for c in sums]

    def _load_columns(self, key: Any, index: str, at: str, mask: str | None) -> str:
        dtype = self.dtypes[key]
        if key in self.waiting:
            return self.code.load(self.waiting[key], dtype, index, LANES, None)
        where = index if self.outside.get(key) == "col" else at
        return self.code.load(self.pointers[key], dtype, where, LANES, mask)

    def _add_to_columns(self, call: ScalarCall, value: str, index: str, mask: str | None) -> None:
        key = key_of(call.result)
        if key in self.partial:
            pointer, dtype = self.partial[key], call.result.dtype
            before = self.code.load(pointer, dtype, index, LANES, None)
            if mask is not None:
                zero = self.code.number(0, dtype, LANES)
                value = self.code.select(mask, value, zero, dtype, LANES)
            total = self.code.binary("fadd", before, value, dtype, LANES)
            self.code.store(pointer, dtype, total, index, LANES, None)
            return
        pointer = self.totals[key]
        wide = self.code.convert(value, call.result.dtype, DOUBLE, LANES)
        before = self.code.load(pointer, DOUBLE, index, LANES, mask)
        total = self.code.binary("fadd", before, wide, DOUBLE, LANES)
        self.code.store(pointer, DOUBLE, total, index, LANES, mask)

    def _end_sum(self, call: ScalarCall, total: str, row: str) -> None:
        """Join the lanes of a sum to one number; of a sum over all rows, add it to the others."""
        code = self.code
        dtype, total = join_lanes(code, call, total, self.columns)
        key = key_of(call.result)
        if self._place(call)[1] == END:
            at = self._channel(row) if self._place(call)[0] == "channel" else "0"
            before = self.code.load(self.totals[key], DOUBLE, at, 1, None)
            total = code.binary("fadd", before, total, DOUBLE, 1)
            self.code.store(self.totals[key], DOUBLE, total, at, 1, None)
            return
        self.singles[key] = code.convert(total, dtype, call.result.dtype, 1)
        if key in self.stored:
            self._store(key, self.singles[key], row, 1, None)

    def _finish(self) -> None:
        """Sums over all rows in their own dtype, and the calls that need them."""
        ends = [c for c in self.calls if self._place(c)[1] == END]
        for call in ends:
            key = key_of(call.result)
            if self._place(call)[0] != "one":
                continue
            if call.axes:
                total = self.code.load(self.totals[key], DOUBLE, "0", 1, None)
                self.singles[key] = self.code.convert(total, DOUBLE, call.result.dtype, 1)
            else:
                self._single_call(call)
            if key in self.stored:
                self._store(key, self.singles[key], "0", 1, None)
        for kind in ("col", "channel"):
            calls = [c for c in ends if self._place(c)[0] == kind]
            if calls:
                loop(self.code, self._length(kind), 1, self._write_numbers(calls))

    def _write_numbers(self, calls: list[ScalarCall]) -> Callable[[str], None]:
        """The body of a loop over sums over all rows, and over what is computed of them."""

        def write(index: str) -> None:
            for call in calls:
                key = key_of(call.result)
                if call.axes:
                    total = self.code.load(self.totals[key], DOUBLE, index, 1, None)
                    self.singles[key] = self.code.convert(total, DOUBLE, call.result.dtype, 1)
                else:
                    self._single_call(call)
                if key in self.stored:
                    self._store(key, self.singles[key], index, 1, None)

        return write

    # Memory ---------------------------------------------------------------------------------------

    def _load_single(self, key: Any, at: str) -> str:
        return self.code.load(self.pointers[key], self.dtypes[key], at, 1, None)

    def _store(self, key: Any, value: str, at: str, width: int, mask: str | None) -> None:
        self.code.store(self.pointers[key], self.dtypes[key], value, at, width, mask)
