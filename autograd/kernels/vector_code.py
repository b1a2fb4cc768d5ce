"""`KernelCode` collects one loop nest on vectors, written in Python, as a text for LLVM.

Python runs while the text is written: a Python loop unrolls, a Python function is inlined, and
``a + b`` adds an instruction.  `machine.py` makes the text a function, which runs without Python's
lock.  So a kernel is as short as its formulas, and says itself what lies in registers.

A kernel takes whole numbers and addresses.  Floating point arithmetic may be contracted to fused
multiply-adds and reordered, and the sign of a zero is free; NaN and infinity are respected.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.turns import call_in_turn, is_taking_turns

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "Floats",
    "Int",
    "Ints",
    "KernelCode",
    "Whole",
    "lanes_of",
    "ready",
]

FREE = "contract reassoc nsz arcp"  # never nnan or ninf: NaN and infinity are data


class Whole:
    """A whole number or an address that is known when the kernel runs."""

    __slots__ = ("kernel", "name")

    def __init__(self, kernel: KernelCode, name: str) -> None:
        self.kernel, self.name = kernel, name

    def __add__(self, other: Int) -> Whole:
        return self if _is(other, 0) else self._with("add nsw", other)

    def __sub__(self, other: Int) -> Whole:
        return self._with("sub nsw", other)

    def __mul__(self, other: Int) -> Whole:
        return self if _is(other, 1) else self._with("mul nsw", other)

    __radd__, __rmul__ = __add__, __mul__

    def __floordiv__(self, other: Int) -> Whole:
        return self._with("sdiv", other)

    def minimum(self, other: Int) -> Whole:
        """The smaller of two."""
        k = self.kernel
        test = k.let(f"icmp slt i64 {self.name}, {_text(other)}")
        return Whole(k, k.let(f"select i1 {test}, i64 {self.name}, i64 {_text(other)}"))

    def _with(self, operation: str, other: Int) -> Whole:
        k = self.kernel
        return Whole(k, k.let(f"{operation} i64 {self.name}, {_text(other)}"))


Int: TypeAlias = "int | Whole"


def _is(value: Int, number: int) -> bool:
    return isinstance(value, int) and value == number


def _text(value: Int) -> str:
    return str(value) if isinstance(value, int) else value.name


class Floats:
    """A vector of floating point numbers in a register."""

    __slots__ = ("kernel", "name", "width")

    def __init__(self, kernel: KernelCode, name: str, width: int) -> None:
        self.kernel, self.name, self.width = kernel, name, width

    def __add__(self, other: Floats) -> Floats:
        return self._with("fadd", other)

    def __sub__(self, other: Floats) -> Floats:
        return self._with("fsub", other)

    def __mul__(self, other: Floats | float) -> Floats:
        return self._with("fmul", other)

    __rmul__ = __mul__

    def __truediv__(self, other: Floats) -> Floats:
        return self._with("fdiv", other)

    def sqrt(self) -> Floats:
        """The square root of each entry."""
        k, kind = self.kernel, self.kernel.vector(self.width)
        function = f"@llvm.sqrt.{k.suffix(self.width)}"
        k.declare(f"declare {kind} {function}({kind})")
        return Floats(k, k.let(f"call {kind} {function}({kind} {self.name})"), self.width)

    def _with(self, operation: str, other: Floats | float) -> Floats:
        k = self.kernel
        name = other.name if isinstance(other, Floats) else k.constant(other, self.width)
        kind = k.vector(self.width)
        return Floats(k, k.let(f"{operation} {FREE} {kind} {self.name}, {name}"), self.width)

    def plus_product(self, a: Floats, b: Floats) -> Floats:
        """The sum of this and a · b, rounded once where the processor can."""
        k, kind = self.kernel, self.kernel.vector(self.width)
        function = f"@llvm.fmuladd.{k.suffix(self.width)}"
        k.declare(f"declare {kind} {function}({kind}, {kind}, {kind})")
        call = (
            f"call {FREE} {kind} {function}({kind} {a.name}, {kind} {b.name}, {kind} {self.name})"
        )
        return Floats(k, k.let(call), self.width)

    def shuffled(self, other: Floats, lanes: Sequence[int]) -> Floats:
        """The entries with these numbers of this vector and, from `width` on, of another."""
        k, kind = self.kernel, self.kernel.vector(self.width)
        mask = ", ".join(f"i32 {lane}" for lane in lanes)
        text = (
            f"shufflevector {kind} {self.name}, {kind} {other.name}, <{len(lanes)} x i32> <{mask}>"
        )
        return Floats(k, k.let(text), len(lanes))

    def repeated(self, width: int) -> Floats:
        """A vector of one, as a vector of equal numbers."""
        return self if width == 1 else self.shuffled(self, [0] * width)

    def total(self) -> Floats:
        """The sum of the entries, by halves, as a vector of one."""
        value = self
        while value.width > 1:
            half = value.width // 2
            low = value.shuffled(value, range(half))
            value = low + value.shuffled(value, range(half, value.width))
        return value

    def above(self, other: Floats) -> Test:
        """Where this vector is greater, or NaN: NaN wins, and no number beats it."""
        k, kind = self.kernel, self.kernel.vector(self.width)
        more = k.let(f"fcmp ogt {kind} {self.name}, {other.name}")
        nan = k.let(f"fcmp uno {kind} {self.name}, {self.name}")
        return Test(k, k.let(f"or <{self.width} x i1> {more}, {nan}"), self.width)


class Ints:
    """A vector of 64-bit integers."""

    __slots__ = ("kernel", "name", "width")

    def __init__(self, kernel: KernelCode, name: str, width: int) -> None:
        self.kernel, self.name, self.width = kernel, name, width

    def __add__(self, other: Ints) -> Ints:
        k = self.kernel
        return Ints(k, k.let(f"add <{self.width} x i64> {self.name}, {other.name}"), self.width)


class Test:
    """Where something holds."""

    __slots__ = ("kernel", "name", "width")

    def __init__(self, kernel: KernelCode, name: str, width: int) -> None:
        self.kernel, self.name, self.width = kernel, name, width

    def choose(self, a: Any, b: Any) -> Any:
        """Entries of a where it holds, else of b; vectors of one kind."""
        k = self.kernel
        kind = k.vector(self.width) if isinstance(a, Floats) else f"<{self.width} x i64>"
        text = f"select <{self.width} x i1> {self.name}, {kind} {a.name}, {kind} {b.name}"
        return type(a)(k, k.let(text), self.width)


Value: TypeAlias = Whole | Floats | Ints


class KernelCode:
    """A function under construction.

    arguments: the names of the whole numbers and addresses that it takes, separated by blanks
    dtype:     float32 or float64, of all floating point numbers in it; LLVM calls it `item`
    """

    def __init__(self, arguments: str, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.item = "float" if dtype.itemsize == 4 else "double"
        self.lanes = lanes_of(dtype)
        self._lines: list[str] = []
        self._declared: dict[str, None] = {}
        self._count = 0
        self._block = "entry"
        self.arguments = arguments.split()
        self._given: dict[str, Whole] = {}
        for number, name in enumerate(self.arguments):
            place = self.let(f"getelementptr i64, ptr %table, i64 {number}")
            self._given[name] = Whole(self, self.let(f"load i64, ptr {place}"))

    def __getitem__(self, names: str) -> Any:
        """The arguments with these names: one, or several as a list."""
        given = [self._given[name] for name in names.split()]
        return given if len(given) > 1 else given[0]

    # Lines ----------------------------------------------------------------------------------------

    def let(self, text: str) -> str:
        """Add an instruction that has a result, and return the result's name."""
        self._count += 1
        name = f"%v{self._count}"
        self._lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """Add an instruction without a result."""
        self._lines.append(f"  {text}")

    def declare(self, text: str) -> None:
        """Declare a function of LLVM."""
        self._declared[text] = None

    def vector(self, width: int) -> str:
        """LLVM's name for a vector of floating point numbers."""
        return f"<{width} x {self.item}>"

    def suffix(self, width: int) -> str:
        """How LLVM's functions of such vectors end."""
        return f"v{width}f{8 * self.dtype.itemsize}"

    def constant(self, value: float, width: int) -> str:
        """A vector of equal numbers."""
        bits = struct.pack(">d", float(self.dtype.type(value))).hex()
        return f"<{', '.join([f'{self.item} 0x{bits}'] * width)}>"

    def text(self) -> str:
        """The finished function."""
        body = "\n".join(self._lines)
        head = "define void @kernel(ptr noalias %table) {\nentry:\n"
        return "\n".join([*self._declared, f"{head}{body}\n  ret void\n}}\n"])

    # Values ---------------------------------------------------------------------------------------

    def all(self, value: float, width: int) -> Floats:
        """A vector of equal numbers."""
        return Floats(self, self.constant(value, width), width)

    def spread(self, value: Whole, width: int) -> Ints:
        """A vector of equal integers."""
        one = self.let(f"insertelement <1 x i64> poison, i64 {value.name}, i64 0")
        mask = f"<{width} x i32> zeroinitializer"
        return Ints(
            self, self.let(f"shufflevector <1 x i64> {one}, <1 x i64> poison, {mask}"), width
        )

    def place(self, base: Whole, at: Int, item: str) -> str:
        """The pointer to number `at` of a type from `base` on."""
        pointer = self.let(f"inttoptr i64 {base.name} to ptr")
        if _is(at, 0):
            return pointer
        return self.let(f"getelementptr {item}, ptr {pointer}, i64 {_text(at)}")

    def at(self, base: Whole, index: Int) -> Whole:
        """The address of the floating point number `index` from `base` on."""
        return base + index * self.dtype.itemsize

    def load(self, base: Whole, at: Int = 0, width: int | None = None) -> Floats:
        """Neighbours in memory, from number `at` on."""
        width = self.lanes if width is None else width
        place = self.place(base, at, self.item)
        text = f"load {self.vector(width)}, ptr {place}, align {self.dtype.itemsize}"
        return Floats(self, self.let(text), width)

    def load_all(self, base: Whole, at: Int = 0, width: int | None = None) -> Floats:
        """One number of memory, as a vector of equal numbers."""
        width = self.lanes if width is None else width
        return self.load(base, at, 1).repeated(width)

    def store(self, value: Floats | Ints, base: Whole, at: Int = 0) -> None:
        """Neighbours in memory, from number `at` on."""
        if isinstance(value, Ints):
            place = self.place(base, at, "i64")
            self.do(f"store <{value.width} x i64> {value.name}, ptr {place}, align 8")
            return
        place = self.place(base, at, self.item)
        kind = self.vector(value.width)
        self.do(f"store {kind} {value.name}, ptr {place}, align {self.dtype.itemsize}")

    def inside(self, index: Whole, size: Whole, a: Whole, b: Whole) -> tuple[Whole, Whole]:
        """(a, 0) if 0 ≤ index < size, else (b, 1)."""
        test = self.let(f"icmp ult i64 {index.name}, {size.name}")
        chosen = self.let(f"select i1 {test}, i64 {a.name}, i64 {b.name}")
        return Whole(self, chosen), Whole(self, self.let(f"select i1 {test}, i64 0, i64 1"))

    def store_whole(self, value: Whole, base: Whole, at: Int = 0) -> None:
        """Store a 64-bit integer as number `at` from `base` on."""
        self.do(f"store i64 {value.name}, ptr {self.place(base, at, 'i64')}, align 8")

    def zero(self) -> Whole:
        """The whole number 0, to carry through a loop."""
        return Whole(self, "0")

    def load_whole(self, base: Whole, at: Int = 0) -> Whole:
        """The 64-bit integer `at` from `base` on."""
        return Whole(self, self.let(f"load i64, ptr {self.place(base, at, 'i64')}, align 8"))

    def fetch(self, base: Whole, at: Int) -> None:
        """Let the processor bring a number, with its cache line, from memory for later."""
        self.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        place = self.place(base, at, self.item)
        self.do(f"call void @llvm.prefetch.p0(ptr {place}, i32 0, i32 3, i32 1)")

    def load_strided(self, base: Whole, at: Int, step: int, width: int) -> Floats:
        """Every `step`-th number of memory from number `at` on; step 1 or 2.

        It reads nothing behind the last of them.
        """
        if step == 1 or width == 1:
            return self.load(base, at, width)
        low, high = self.load(base, at, width), self.load(self.at(base, width - 1), at, width)
        lanes = [lane if lane < width else lane + 1 for lane in range(0, 2 * width, 2)]
        return low.shuffled(high, lanes)

    def load_wholes(self, base: Whole, at: Int, width: int) -> Ints:
        """Neighbouring 64-bit integers, from number `at` on."""
        place = self.place(base, at, "i64")
        return Ints(self, self.let(f"load <{width} x i64>, ptr {place}, align 8"), width)

    def transposed(self, rows: Sequence[Floats]) -> list[Floats]:
        """The columns of a square of vectors, whose side is a power of two."""
        side = len(rows)
        rows = list(rows)
        step = 1
        while step < side:
            low = [lane if not lane & step else lane - step + side for lane in range(side)]
            high = [lane + step if not lane & step else lane + side for lane in range(side)]
            for first in range(side):
                if not first & step:
                    a, b = rows[first], rows[first + step]
                    rows[first], rows[first + step] = a.shuffled(b, low), a.shuffled(b, high)
            step *= 2
        return rows

    # Loops ----------------------------------------------------------------------------------------

    def loop(
        self,
        stop: Int,
        body: Callable[..., Sequence[Value] | None],
        carried: Sequence[Value] = (),
        *,
        start: Int = 0,
        step: Int = 1,
    ) -> list[Any]:
        """Run body(i, *carried), which returns the next `carried`, for i from `start` below `stop`.

        Returns the last `carried`.
        """
        self._count += 1
        label = f"loop{self._count}"
        before = self._block
        self.do(f"br label %{label}")
        self._lines.append(f"{label}:")
        self._block = label
        index = Whole(self, f"%{label}.i")
        marks = [len(self._lines)]
        self._lines.append("")
        values = []
        for number, value in enumerate(carried):
            marks.append(len(self._lines))
            self._lines.append("")
            values.append(_renamed(value, f"%{label}.c{number}"))
        test = self.let(f"icmp slt i64 {index.name}, {_text(stop)}")
        self.do(f"br i1 {test}, label %{label}.body, label %{label}.end")
        self._lines.append(f"{label}.body:")
        self._block = f"{label}.body"
        following = body(index, *values) or ()
        further = index + step
        after = self._block
        self.do(f"br label %{label}")
        firsts, nexts = [_text(start), *(v.name for v in carried)], [further, *following]
        for mark, old, first, nxt in zip(marks, [index, *values], firsts, nexts, strict=True):
            kind = self._kind(old)
            self._lines[mark] = (
                f"  {old.name} = phi {kind} [ {first}, %{before} ], [ {nxt.name}, %{after} ]"
            )
        self._lines.append(f"{label}.end:")
        self._block = f"{label}.end"
        return values

    def sums(
        self,
        count: Whole,
        terms: Callable[[Whole, int], list[Floats]],
        number: int,
        registers: int = 4,
    ) -> list[Floats]:
        """The sums of terms(i, width), which are `number` vectors, over `count` entries.

        Each entry takes part once, in vectors of four registers (or `registers`), then of one, then
        alone.  Totals start again every 16 vectors, so that few numbers are added to a large one.
        """
        wide, block = registers * self.lanes, 16 * registers * self.lanes

        def add(width: int) -> Callable[..., list[Floats]]:
            return lambda i, *totals: [
                total + term for total, term in zip(totals, terms(i, width), strict=True)
            ]

        def none(width: int) -> list[Floats]:
            return [self.all(0.0, width)] * number

        even, whole = count // wide * wide, count // self.lanes * self.lanes

        def blocks(first: Whole, *totals: Floats) -> list[Floats]:
            stop = (first + block).minimum(even)
            inner = self.loop(stop, add(wide), none(wide), start=first, step=wide)
            return [total + part for total, part in zip(totals, inner, strict=True)]

        wides = self.loop(even, blocks, none(wide), step=block)
        narrow = self.loop(whole, add(self.lanes), none(self.lanes), start=even, step=self.lanes)
        alone = self.loop(count, add(1), none(1), start=whole)
        return [a.total() + b.total() + c for a, b, c in zip(wides, narrow, alone, strict=True)]

    def _kind(self, value: Value) -> str:
        if isinstance(value, Whole):
            return "i64"
        return self.vector(value.width) if isinstance(value, Floats) else f"<{value.width} x i64>"

    def starts(self, count: Int, body: Callable[[Whole], None], lanes: int | None = None) -> None:
        """Run body(first) for vectors that cover `count` ≥ lanes entries; the last may overlap."""
        lanes = self.lanes if lanes is None else lanes
        last: Int = count - lanes

        def one(i: Whole) -> None:
            body(i.minimum(last))

        self.loop(count, one, step=lanes)


def _renamed(value: Any, name: str) -> Any:
    return (
        Whole(value.kernel, name)
        if isinstance(value, Whole)
        else type(value)(value.kernel, name, value.width)
    )


@lru_cache(maxsize=1)
def _vector_bytes() -> int:
    """How many bytes a register of this processor holds."""
    from llvmlite import binding as llvm

    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") else 16


def lanes_of(dtype: np.dtype[Any]) -> int:
    """How many numbers of a dtype a register holds."""
    return _vector_bytes() // dtype.itemsize


def ready(kernel: KernelCode) -> Callable[..., None]:
    """Compile a kernel, and return the function of its arguments, by position.

    It runs without Python's lock, and looks at nothing: the caller answers for sizes and addresses.
    Its `fixed`, given the arguments, returns a function of none that runs it with these; its `at`
    takes them as an array of ctypes; its `address` is for lists of calls.
    """
    [made] = machine.compiled_kernels([kernel.text()]).values()
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(made.address)
    table = ctypes.c_int64 * len(kernel.arguments)

    def run(*values: int) -> None:
        at(table(*values))

    def fixed(*values: int) -> Callable[[], None]:
        arguments = table(*values)
        place = ctypes.addressof(arguments)
        return lambda _held=(arguments, made): function(place)  # type: ignore[misc]  # a default

    def at(arguments: Any, _owner: machine.Kernel = made) -> None:
        place = ctypes.addressof(arguments)
        call_in_turn(made.address, place) if is_taking_turns() else function(place)

    run.fixed, run.at = fixed, at  # type: ignore[attr-defined]  # what a call leaves to be done
    run.address = made.address  # type: ignore[attr-defined]  # as above
    return run
