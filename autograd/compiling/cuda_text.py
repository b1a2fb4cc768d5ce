"""`cuda_text` writes the loop of a space as CUDA C, from the same calls as the CPU's kernels.

Where nothing is added up along rows or columns, each thread computes some entries (`flat`).
Otherwise each block of threads takes some rows, one after another: its threads share the columns
of a row, and phases of a row end with sums over the block.  Values that a later phase needs again
stay in registers where rows are short, and are computed again where they are long.  Sums are added
in float64 and in an order that depends on nothing but the launch, so equal calls give equal bits.
What is summed over all rows is left by each block in memory, and a second kernel, `finish`, adds
these up and computes what depends on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.compiling.cuda_code import (
    NAMES,
    STORED,
    block_sum_text,
    cuda_expression,
    cuda_number,
    extremum,
)
from tapegrad.autograd.compiling.machine_text import BOOL, DOUBLE
from tapegrad.autograd.compiling.space import END, Space, key_of
from tapegrad.autograd.compiling.standins import ScalarCall, Value
from tapegrad.autograd.core.errors import EngineSignal

if TYPE_CHECKING:
    import numpy as np

__all__ = ["CudaText", "Unwritable", "cuda_text"]

FLAT_THREADS = 256
MOST_BLOCKS = 2048
MOST_SUMMING = 256  # blocks, where each leaves a row of sums
KEPT = 8  # numbers of one value that a thread keeps for later phases


class Unwritable(EngineSignal):
    """A space has no text; the message says why."""


@dataclass
class CudaText:
    """The text of a kernel, what it takes, and how it is launched.

    source:  the kernel `run` and, if it ends with sums over all rows, `finish`; both take pointers
             to `reads`, `writes` and `sums`, and the number of blocks of `run`
    reads:   slots that it reads
    writes:  slots that it writes
    sums:    float64 numbers of each piece of memory for sums, for the number of blocks
    blocks, threads: of the launch of `run`
    ends:    blocks of the launch of `finish`; 0 for none
    """

    source: str
    reads: list[int]
    writes: list[int]
    blocks: int
    threads: int
    sums: list[int] = field(default_factory=list)
    ends: int = 0


def cuda_text(space: Space, dtypes: dict[int, np.dtype[Any]], stored: set[int]) -> CudaText:
    """Write the kernel of a space.  Raises `Unwritable`.

    dtypes: of the slots that it reads from outside
    stored: the slots of its results that others need
    """
    return _CudaWriter(space, dtypes, stored).write()


class _CudaWriter:
    def __init__(self, space: Space, dtypes: dict[int, np.dtype[Any]], stored: set[int]) -> None:
        self.space, self.calls, self.stored = space, space.calls, stored
        self.dtypes: dict[Any, np.dtype[Any]] = dict(dtypes)
        self.made: dict[Any, ScalarCall] = {}
        for call in self.calls:
            self.dtypes[key_of(call.result)] = call.result.dtype
            self.made[key_of(call.result)] = call
        self.outside = dict(space.outside)
        for call in self.calls:  # single numbers from outside
            for value in call.operands:
                if isinstance(value, Value) and key_of(value) not in space.places:
                    self.outside.setdefault(value.slot, "one")  # type: ignore[arg-type]  # it has a slot
        self.reads = sorted(self.outside)
        self.writes = [key_of(c.result) for c in self.calls if key_of(c.result) in stored]
        self.rows, self.columns = space.rows, space.columns
        self.ends = [c for c in self.calls if self._is_end(c)]
        self.sums = [c for c in self.ends if c.axes]
        kinds = {self._place(c.result)[0] for c in self.calls if c.axes}
        self.flat = kinds <= {"one"}
        self.lines: list[str] = []
        self.helpers: set[str] = set()
        self.names: dict[Any, str] = {}  # what is known where the writer stands
        self.depth = 1
        self._count = 0
        if self.flat:
            self.threads = FLAT_THREADS
            most = -(-max(self.rows * self.columns, 1) // self.threads)
            self.blocks = min(most, MOST_BLOCKS)
        else:
            self.threads = min(max(32, 1 << (self.columns - 1).bit_length()), FLAT_THREADS)
            if self.columns > KEPT * FLAT_THREADS:
                self.threads = 1024
            sums = bool(kinds & {"col"})
            self.blocks = max(1, min(self.rows, MOST_SUMMING if sums else MOST_BLOCKS))
        self.turns = -(-self.columns // self.threads)  # columns of one thread
        self.index = "long long" if self.rows * self.columns >= 1 << 30 else "int"

    def _place(self, value: Value) -> tuple[str, int]:
        place = self.space.places[key_of(value)]
        return place.kind, place.phase

    # Text -----------------------------------------------------------------------------------------

    def _do(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def _open(self, text: str) -> None:
        self._do(text + " {")
        self.depth += 1

    def _close(self) -> None:
        self.depth -= 1
        self._do("}")

    def _fresh(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def _let(self, dtype: np.dtype[Any], text: str) -> str:
        name = self._fresh()
        self._do(f"const {NAMES[dtype]} {name} = {text};")
        return name

    def write(self) -> CudaText:
        """Write both kernels."""
        table = {key: f"a{i}" for i, key in enumerate([*self.reads, *self.writes])}
        self.pointers = table
        self.memory = {key_of(c.result): f"s{i}" for i, c in enumerate(self.sums)}
        parameters = [
            f"const {STORED[self.dtypes[k]]} *__restrict__ {table[k]}" for k in self.reads
        ]
        parameters += [f"{STORED[self.dtypes[k]]} *__restrict__ {table[k]}" for k in self.writes]
        parameters += [f"double *__restrict__ {name}" for name in self.memory.values()]
        header = ", ".join([*parameters, "const int blocks"])
        run = self._kernel("run", header, self._flat if self.flat else self._by_rows)
        ends, finish = 0, ""
        if self.ends:
            longest = max(self._length(self._place(c.result)[0]) for c in self.ends)
            ends = -(-longest // FLAT_THREADS)
            finish = self._kernel("finish", header, self._finish)
        joins = [block_sum_text(name) for name in sorted(self.helpers)]
        source = "\n".join([*joins, run, finish])
        sums = [self._scratch(c) for c in self.sums]
        return CudaText(source, self.reads, self.writes, self.blocks, self.threads, sums, ends)

    def _kernel(self, name: str, header: str, body: Any) -> str:
        self.lines, self.names, self.depth = [], {}, 1
        self._shared: set[str] = set()
        body()
        threads = self.threads if name == "run" else FLAT_THREADS
        start = f'extern "C" __global__ void __launch_bounds__({threads}) {name}({header}) {{'
        shared = [
            f"    __shared__ {kind} shared_{kind}[{threads}];" for kind in sorted(self._shared)
        ]
        return "\n".join([start, *shared, *self.lines, "}", ""])

    def _length(self, kind: str) -> int:
        return {"channel": self.space.shape[1] if kind == "channel" else 0,
                "col": self.columns}.get(kind, 1)  # fmt: skip

    def _scratch(self, call: ScalarCall) -> int:
        kind, _ = self._place(call.result)
        if kind == "channel":
            return self.rows
        return self.blocks * self._length(kind)

    # Values ---------------------------------------------------------------------------------------

    def _load(self, key: Any, at: str) -> str:
        dtype = self.dtypes[key]
        text = f"{self.pointers[key]}[{at}]"
        return self._let(dtype, f"{text} != 0" if dtype == BOOL else text)

    def _store(self, key: Any, name: str, at: str) -> None:
        self._do(f"{self.pointers[key]}[{at}] = {name};")

    def _read(self, value: Any, dtype: np.dtype[Any]) -> str:
        """An operand in the dtype in which it takes part."""
        if not isinstance(value, Value):
            return cuda_number(value, dtype)
        key = key_of(value)
        return self._converted(self._known(key), self.dtypes[key], dtype)

    @staticmethod
    def _converted(name: str, old: np.dtype[Any], new: np.dtype[Any]) -> str:
        if old == new:
            return name
        return f"({name} != 0)" if new == BOOL else f"({NAMES[new]}){name}"

    def _known(self, key: Any) -> str:
        """The name of a value here; what it is computed of comes first."""
        if key not in self.names:
            if key in self.outside:
                self.names[key] = self._load(key, self._where(self.outside[key]))
            else:
                self.names[key] = self._compute(self.made[key])
        return self.names[key]

    def _where(self, kind: str) -> str:
        """Where a value of a kind lies, in terms of what the loops define."""
        if kind == "channel":
            return f"row % {self.space.shape[1]}"
        return {"full": "i", "row": "row", "col": "column", "one": "0"}[kind]

    def _compute(self, call: ScalarCall) -> str:
        if call.axes:
            raise Unwritable("a sum is needed where it is not known")
        operands = [self._read(o, d) for o, d in zip(call.operands, call.dtypes, strict=True)]
        return self._let(call.result.dtype, cuda_expression(call, operands))

    def _ones(self) -> None:
        """Single numbers, of which the first thread of all writes those that others need."""
        for key, kind in self.outside.items():
            if kind == "one":
                self._known(key)
        for call in self.calls:
            key = key_of(call.result)
            if self._place(call.result) == ("one", 0):
                self._known(key)
                if key in self.stored:
                    self._open("if (blockIdx.x == 0 && threadIdx.x == 0)")
                    self._store(key, self.names[key], "0")
                    self._close()

    def _calls(self, kind: str) -> list[ScalarCall]:
        return [c for c in self.calls if self._place(c.result)[0] == kind and not self._is_end(c)]

    def _is_end(self, call: ScalarCall) -> bool:
        return self._place(call.result)[1] == END

    # Entries in any order -------------------------------------------------------------------------

    def _flat(self) -> None:
        self._ones()
        for call in self.sums:
            self._do(f"double t_{self.memory[key_of(call.result)]} = 0;")
        known = dict(self.names)
        first = "(long long)blockIdx.x * blockDim.x + threadIdx.x"
        full = self._calls("full")
        rows = [c for c in self._calls("row") if key_of(c.result) in self.stored]
        if full or rows or self.sums:
            count, step = self.rows * self.columns, f"({self.index})gridDim.x * blockDim.x"
            self._open(f"for ({self.index} i = {first}; i < {count}; i += {step})")
            self._do(f"const {self.index} row = i / {self.columns};")
            self._do(f"const {self.index} column = i % {self.columns};")
            self._do("(void)row; (void)column;")
            for call in full:
                key = key_of(call.result)
                if key in self.stored:
                    self._store(key, self._known(key), "i")
            for call in self.sums:
                term = self._read(call.operands[0], DOUBLE)
                self._do(f"t_{self.memory[key_of(call.result)]} += {term};")
            if rows:
                before = dict(self.names)
                self._open("if (column == 0)")
                for call in rows:
                    key = key_of(call.result)
                    self._store(key, self._known(key), "row")
                self._close()
                self.names = before
            self._close()
        self.names = known
        self._leave_totals()

    def _leave_totals(self) -> None:
        """The total of this block of each sum to a single number."""
        for call in self.sums:
            if self._place(call.result)[0] != "one":
                continue
            name = self.memory[key_of(call.result)]
            total = self._joined("sum", DOUBLE, f"t_{name}")
            self._do(f"if (threadIdx.x == 0) {name}[blockIdx.x] = {total};")

    def _joined(self, how: str, dtype: np.dtype[Any], text: str) -> str:
        kind = NAMES[dtype]
        self._shared.add(kind)
        self.helpers.add(f"{how}_{kind}")
        return self._let(dtype, f"{how}_{kind}({text}, shared_{kind})")

    # Rows -----------------------------------------------------------------------------------------

    def _by_rows(self) -> None:
        self._ones()
        for call in self.sums:
            name, (kind, _) = self.memory[key_of(call.result)], self._place(call.result)
            if kind == "col":
                self._do(f"double t_{name}[{self.turns}];")
                self._do(f"for (int k = 0; k < {self.turns}; ++k) t_{name}[k] = 0;")
            elif kind == "one":
                self._do(f"double t_{name} = 0;")
        known = dict(self.names)
        self._open(f"for (int row = blockIdx.x; row < {self.rows}; row += gridDim.x)")
        self.kept: dict[Any, str] = {}
        last = max((p.phase for p in self.space.places.values() if p.phase != END), default=0)
        for phase in range(last + 1):
            for call in self._calls("row"):
                if not call.axes and self._place(call.result)[1] == phase:
                    self._known(key_of(call.result))
                    self._store_row(call)
            self._columns(phase)
        self._close()
        self.names = known
        for call in self.sums:
            name, (kind, _) = self.memory[key_of(call.result)], self._place(call.result)
            if kind == "col":
                self._turns()
                self._do(f"{name}[(long long)blockIdx.x * {self.columns} + column] = t_{name}[k];")
                self._close()
                self._close()
        self._leave_totals()

    def _turns(self) -> None:
        """Begin the loop of a thread over its columns."""
        if self.turns <= KEPT:
            self._do("#pragma unroll")
        self._open(f"for (int k = 0; k < {self.turns}; ++k)")
        self._do(f"const int column = threadIdx.x + k * {self.threads};")
        self._open(f"if (column < {self.columns})")

    def _store_row(self, call: ScalarCall) -> None:
        key = key_of(call.result)
        if key in self.stored:
            self._open("if (threadIdx.x == 0)")
            self._store(key, self.names[key], "row")
            self._close()

    def _phase_of_use(self, call: ScalarCall) -> int:
        value = call.operands[0]
        place = self.space.places.get(key_of(value))
        return 0 if place is None else place.phase

    def _columns(self, phase: int) -> None:
        """One loop over the columns of a row, and the sums that it ends with."""
        full = [c for c in self._calls("full") if self._place(c.result)[1] == phase]
        stored = [c for c in full if key_of(c.result) in self.stored]
        sums = [c for c in self.calls if c.axes and self._phase_of_use(c) == phase]
        if not stored and not sums:
            return
        totals: dict[Any, str] = {}
        for call in sums:
            if self._place(call.result)[0] in {"row", "channel"}:
                dtype = DOUBLE if call.name == "sum" else call.result.dtype
                start = {"sum": 0.0, "max": -math.inf, "min": math.inf}[call.name]
                name = totals[key_of(call.result)] = self._fresh()
                self._do(f"{NAMES[dtype]} {name} = {cuda_number(start, dtype)};")
        if self.turns <= KEPT:
            for call in full:
                key = key_of(call.result)
                if self._is_needed_after(key, phase):
                    self.kept[key] = self._fresh()
                    self._do(f"{NAMES[call.result.dtype]} {self.kept[key]}[{self.turns}];")
        before = dict(self.names)
        self._turns()
        self._do(f"const {self.index} i = ({self.index})row * {self.columns} + column;")
        self._do("(void)i;")
        mine = {key_of(c.result) for c in full}
        for key, name in self.kept.items():
            if key not in mine:
                self.names[key] = f"{name}[k]"
        for call in full:
            key = key_of(call.result)
            if key in self.stored or key in self.kept:
                name = self._known(key)
                if key in self.stored:
                    self._store(key, name, "i")
                if key in self.kept:
                    self._do(f"{self.kept[key]}[k] = {name};")
        for call in sums:
            self._add(call, totals)
        self._close()
        self._close()
        self.names = before
        for call in sums:
            self._end_sum(call, totals)

    def _is_needed_after(self, key: Any, phase: int) -> bool:
        for call in self.calls:
            later = self._phase_of_use(call) if call.axes else self._place(call.result)[1]
            read = any(isinstance(o, Value) and key_of(o) == key for o in call.operands)
            if read and phase < later < END:
                return True
        return False

    def _add(self, call: ScalarCall, totals: dict[Any, str]) -> None:
        key, (kind, _) = key_of(call.result), self._place(call.result)
        if call.name != "sum":
            term, name = self._read(call.operands[0], call.result.dtype), totals[key]
            term = self._let(call.result.dtype, term)
            self._do(f"{name} = {extremum(call.name, name, term)};")
            return
        term = self._read(call.operands[0], DOUBLE)
        if kind in {"row", "channel"}:
            self._do(f"{totals[key]} += {term};")
        else:
            self._do(f"t_{self.memory[key]}{'[k]' if kind == 'col' else ''} += {term};")

    def _end_sum(self, call: ScalarCall, totals: dict[Any, str]) -> None:
        key, (kind, _) = key_of(call.result), self._place(call.result)
        if kind not in {"row", "channel"}:
            return
        dtype = DOUBLE if call.name == "sum" else call.result.dtype
        total = self._joined(call.name, dtype, totals[key])
        if kind == "channel":
            self._do(f"if (threadIdx.x == 0) {self.memory[key]}[row] = {total};")
            return
        self.names[key] = self._let(
            call.result.dtype, self._converted(total, dtype, call.result.dtype)
        )
        self._store_row(call)

    # After all rows -------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The second kernel: sums over all rows, and what is computed of them."""
        for key, kind in self.outside.items():
            if kind == "one":
                self._known(key)
        ones = [c for c in self.ends if self._place(c.result)[0] == "one"]
        for call in ones:
            key = key_of(call.result)
            if call.axes:
                name, total = self.memory[key], self._fresh()
                self._do(f"double {total} = 0;")
                step = f"b < {self.blocks}; b += {FLAT_THREADS}"
                self._do(f"for (int b = threadIdx.x; {step}) {total} += {name}[b];")
                total = self._joined("sum", DOUBLE, total)
                self.names[key] = self._let(
                    call.result.dtype, self._converted(total, DOUBLE, call.result.dtype)
                )
            else:
                self._known(key)
            if key in self.stored:
                self._open("if (blockIdx.x == 0 && threadIdx.x == 0)")
                self._store(key, self.names[key], "0")
                self._close()
        for kind in ("col", "channel"):
            calls = [c for c in self.ends if self._place(c.result)[0] == kind]
            if calls:
                self._finish_many(kind, calls)

    def _finish_many(self, kind: str, calls: list[ScalarCall]) -> None:
        before, length = dict(self.names), self._length(kind)
        self._do("{")
        self.depth += 1
        self._do("const int n = blockIdx.x * blockDim.x + threadIdx.x;")
        self._open(f"if (n < {length})")
        for call in calls:
            key = key_of(call.result)
            if call.axes:
                total = self._fresh()
                count = self.blocks if kind == "col" else self.rows // length
                self._do(f"double {total} = 0;")
                at = f"{self.memory[key]}[(long long)b * {length} + n]"
                self._do(f"for (int b = 0; b < {count}; ++b) {total} += {at};")
                self.names[key] = self._let(
                    call.result.dtype, self._converted(total, DOUBLE, call.result.dtype)
                )
            else:
                self._known(key)
            if key in self.stored:
                self._store(key, self.names[key], "n")
        self._close()
        self._close()
        self.names = before
