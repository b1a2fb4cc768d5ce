"""`update_text` writes an update as one kernel in CUDA C, which reads and writes memory once.

Each thread has entries of its own: it reads all that it needs of them before it overwrites any.
Single numbers are read and computed by one thread of each block.  New ones are written by that
block which is the last to have read the old ones; to find it, blocks take numbered tickets.

No length stands in the text, nor any number that Python holds: these are arguments.

`rows_text` writes a kernel for updates in which a gradient of 0 changes nothing: it updates the
rows that are named, each once, however often it is named.  New rows are computed into memory of
their own first, and then replace the old ones, so that equal rows meet equal values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd.compiling.cuda_code import NAMES, cuda_expression, cuda_number, cuda_obstacle
from tapegrad.autograd.compiling.standins import Untraceable, Value

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.autograd.compiling.standins import ScalarCall
    from tapegrad.autograd.compiling.updates import Update

__all__ = ["COMPUTE", "LAST", "PART", "REPLACE", "THREADS", "TICKETS", "rows_text", "update_text"]

THREADS = 256
# Launches that run at the same time take different tickets; so many of them are a lot.
TICKETS = 1024

# What a launch of the kernel of `rows_text` does: it updates a part, computes the new rows of one,
# or replaces the old by the new; the last one counts, too, or updates all if that has to be.
PART, COMPUTE, REPLACE, LAST = range(4)

_TICKETS = f"__device__ static unsigned int tickets[{TICKETS}];\n"
_KERNEL = """\
{tickets}extern "C" __global__ void __launch_bounds__({threads}) run({parameters}) {{
{shared}{body}}}
"""


def update_text(update: Update) -> str:
    """The kernel `run`: of the operands in order, the number of entries, and a ticket's number.

    Arrays are given by pointers, numbers and scalars as they are.  Raises `Untraceable` for a call
    without code.
    """
    return _UpdateWriter(update).write()


def rows_text(update: Update, x: Any, g: Any) -> str:
    """The kernel `run` of an update by rows, where no other operand is full.  Raises `Untraceable`.

    x, g: the names of the operand that is updated and of its gradient
    It takes, after the operands and the number of all entries, a ticket, what to do, how many
    entries that concerns, where the part begins, its rows and columns, an index of int64, and
    memory for the new rows.  Whether a gradient of 0 changes nothing is tried on x = -0.0: with an
    infinite rate, or one below 0, it does, and all entries are updated.
    """
    return _RowsWriter(update, x, g).write()


class _UpdateWriter:
    def __init__(self, update: Update) -> None:
        for call in update.calls:
            reason = cuda_obstacle(call)
            if reason:
                raise Untraceable(reason)
        self.update = update
        self.made: dict[Value, ScalarCall] = {c.result: c for c in update.calls}
        self.pointers: dict[Value, str] = {}
        self.full: dict[str, Any] = {}  # pointer -> what is written there, for each entry
        self.ones: dict[str, Any] = {}  # the same of single numbers
        self.dtypes: dict[str, np.dtype[Any]] = {}
        self.numbers: dict[Value, str] = {}  # what needs no memory
        self.names: dict[Value, str] = {}  # what is known where the writer stands
        self.lines: list[str] = []
        self.depth = 1
        self._count = 0

    def write(self) -> str:
        """The text."""
        parameters = [*self._parameters(), "const long long count", "const int ticket"]
        header = ", ".join([*parameters, *self._more_parameters()])
        shared = self._begin()
        self._entries()
        self._end()
        return _KERNEL.format(
            tickets=_TICKETS if self.ones else "",
            threads=THREADS,
            parameters=header,
            shared="".join(f"    __shared__ {kind} {name};\n" for name, kind in shared.items()),
            body="".join(line + "\n" for line in self.lines),
        )

    def _parameters(self) -> list[str]:
        found = []
        pairs = zip(self.update.operands, self.update.values, strict=True)
        for number, (operand, value) in enumerate(pairs):
            name, kind = f"a{number}", NAMES[operand.dtype]
            if operand.kind in {"number", "scalar"}:
                self.numbers[value] = name
                found.append(f"const {kind} {name}")
                continue
            self.pointers[value], self.dtypes[name] = name, operand.dtype
            is_written = operand.name in self.update.results
            if is_written:
                targets = self.full if operand.kind == "full" else self.ones
                targets[name] = self.update.results[operand.name]
            found.append(f"{'' if is_written else 'const '}{kind} *{name}")
        return found

    def _more_parameters(self) -> list[str]:
        return []

    # Text -----------------------------------------------------------------------------------------

    def _do(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def _open(self, text: str) -> None:
        self._do(text + " {")
        self.depth += 1

    def _close(self) -> None:
        self.depth -= 1
        self._do("}")

    def _let(self, dtype: np.dtype[Any], text: str) -> str:
        self._count += 1
        self._do(f"const {NAMES[dtype]} v{self._count} = {text};")
        return f"v{self._count}"

    def _read(self, value: Any, dtype: np.dtype[Any]) -> str:
        """A value, or a number, in a dtype."""
        if not isinstance(value, Value):
            return cuda_number(value, dtype)
        name = self._known(value)
        return name if value.dtype == dtype else f"({NAMES[dtype]}){name}"

    def _known(self, value: Value) -> str:
        """The name of a value here; what it is computed of comes first."""
        if value in self.numbers:
            return self.numbers[value]
        if value not in self.names:
            if value in self.pointers:
                at = "i" if value.shape else "0"
                text = f"{self.pointers[value]}[{at}]"
            else:
                call = self.made[value]
                operands = zip(call.operands, call.dtypes, strict=True)
                text = cuda_expression(call, [self._read(o, d) for o, d in operands])
            self.names[value] = self._let(value.dtype, text)
        return self.names[value]

    # The three parts ------------------------------------------------------------------------------

    def _needed(self) -> list[Value]:
        """The single numbers of memory that the new entries are computed of."""
        once: dict[Value, None] = {}
        seen: set[Value] = set()
        left = [v for v in self.full.values() if isinstance(v, Value)]
        while left:
            value = left.pop()
            if value in seen or value in self.numbers:
                continue
            seen.add(value)
            if not value.shape:
                once[value] = None
            elif value in self.made:
                left += [o for o in self.made[value].operands if isinstance(o, Value)]
        return list(once)

    def _begin(self) -> dict[str, str]:
        """Let one thread compute the single numbers of all; returns the shared memory's names."""
        once = self._needed()
        if not once:
            return {}
        self._open("if (threadIdx.x == 0)")
        for number, value in enumerate(once):
            self._do(f"s{number} = {self._known(value)};")
        self._close()
        self._do("__syncthreads();")
        self.names = {v: self._let(v.dtype, f"s{number}") for number, v in enumerate(once)}
        return {f"s{number}": NAMES[v.dtype] for number, v in enumerate(once)}

    def _entries(self) -> None:
        """The loop of a thread over its entries."""
        before = dict(self.names)
        first, step = "(long long)blockIdx.x * blockDim.x + threadIdx.x", "gridDim.x * blockDim.x"
        self._open(f"for (long long i = {first}; i < count; i += (long long){step})")
        # All that is read of an entry is read here, before anything of it is written.
        new = {a: self._read(value, self.dtypes[a]) for a, value in self.full.items()}
        for pointer, name in new.items():
            self._do(f"{pointer}[i] = {name};")
        self._close()
        self.names = before

    def _end(self) -> None:
        """Let the block that is the last to have read single numbers write the new ones."""
        if not self.ones:
            return
        self.names = {}
        self._open("if (threadIdx.x == 0)")
        self._do("__threadfence();")
        self._open("if (atomicAdd(&tickets[ticket], 1u) == gridDim.x - 1)")
        self._do("tickets[ticket] = 0;")
        new = {a: self._read(value, self.dtypes[a]) for a, value in self.ones.items()}
        for pointer, name in new.items():
            self._do(f"{pointer}[0] = {name};")
        self._close()
        self._close()
        self.names = {}


class _RowsWriter(_UpdateWriter):
    def __init__(self, update: Update, x: Any, g: Any) -> None:
        super().__init__(update)
        by_name = dict(zip((o.name for o in update.operands), update.values, strict=True))
        full = {o.name for o in update.operands if o.kind == "full"}
        written = {o.name for o in update.operands if o.name in update.results}
        if full != {x, g} or x not in written or by_name[x].dtype != by_name[g].dtype:
            raise Untraceable("it is no update of x by its gradient alone")
        self.x, self.g, self.new = by_name[x], by_name[g], update.results[x]
        self.kind = NAMES[self.x.dtype]

    def _more_parameters(self) -> list[str]:
        names = ("some", "begin", "height", "columns")
        return [
            "const int way", *(f"const long long {name}" for name in names),
            "const long long *rows", f"{self.kind} *held",
        ]  # fmt: skip

    def _begin(self) -> dict[str, str]:
        """As for all updates; and try what a gradient of 0 does."""
        once = self._needed()
        self._open("if (threadIdx.x == 0)")
        for number, value in enumerate(once):
            self._do(f"s{number} = {self._known(value)};")
        zero = cuda_number(0.0, self.x.dtype)
        self.names |= {self.x: self._let(self.x.dtype, f"-{zero}"), self.g: zero}
        tried = self._let(self.x.dtype, self._read(self.new, self.x.dtype))
        self._do(f"idle = {tried} == 0 && 1 / {tried} < 0;")
        self._close()
        self._do("__syncthreads();")
        self.names = {v: self._let(v.dtype, f"s{number}") for number, v in enumerate(once)}
        return {**{f"s{number}": NAMES[v.dtype] for number, v in enumerate(once)}, "idle": "bool"}

    def _entries(self) -> None:
        first, step = "(long long)blockIdx.x * blockDim.x + threadIdx.x", "gridDim.x * blockDim.x"
        x = self.pointers[self.x]
        self._open(f"if (idle && way == {PART})")
        self._open(f"for (long long n = {first}; n < some; n += (long long){step})")
        self._do("const long long i = begin + n;")
        self._update(f"{x}[i]")
        self._close()
        self._close()
        self._open("else if (idle)")
        self._open(f"for (long long n = {first}; n < some; n += (long long){step})")
        self._do("const long long at = rows[n / columns] % height;")
        row = "(at < 0 ? at + height : at)"
        self._do(f"const long long i = begin + {row} * columns + n % columns;")
        self._open(f"if (way == {COMPUTE})")
        self._update("held[n]")
        self._close()
        self._do(f"else {x}[i] = held[n];")
        self._close()
        self._close()
        self._open(f"else if (way == {LAST})")
        self._open(f"for (long long i = {first}; i < count; i += (long long){step})")
        self._update(f"{x}[i]")
        self._close()
        self._close()

    def _update(self, target: str) -> None:
        before = dict(self.names)
        self._do(f"{target} = {self._read(self.new, self.x.dtype)};")
        self.names = before

    def _end(self) -> None:
        self._open(f"if (way == {LAST})")
        super()._end()
        self._close()
