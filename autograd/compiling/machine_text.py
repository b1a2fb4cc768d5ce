"""`Code` collects the lines of one function in LLVM's assembly language.

Values are vectors of `width` numbers, and single numbers are vectors of one; so one text serves
both.  Arithmetic has no flags: it rounds as NumPy's does, and equal inputs give equal bits.  Only
polynomials inside a function such as exp may be contracted to fused multiply-adds.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

__all__ = ["Code", "FLOAT", "DOUBLE", "BOOL", "type_of"]

FLOAT, DOUBLE, BOOL = np.dtype(np.float32), np.dtype(np.float64), np.dtype(bool)
_NAMES = {FLOAT: "float", DOUBLE: "double", BOOL: "i1"}
_STORED = {FLOAT: "float", DOUBLE: "double", BOOL: "i8"}  # in memory
_SUFFIX = {FLOAT: "f32", DOUBLE: "f64", BOOL: "i8"}


def type_of(dtype: np.dtype[Any], width: int) -> str:
    """LLVM's name for a vector of numbers."""
    return f"<{width} x {_NAMES[dtype]}>"


class Code:
    """Lines of a function body, and the intrinsic functions that they call."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.declared: dict[str, str] = {}
        self._count = 0

    def fresh(self, prefix: str = "v") -> str:
        """A name that is not in use."""
        self._count += 1
        return f"%{prefix}{self._count}"

    def let(self, text: str) -> str:
        """Add an instruction that has a result, and return the result's name."""
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """Add an instruction without a result, or a label."""
        self.lines.append(text if text.endswith(":") else f"  {text}")

    def number(self, value: float, dtype: np.dtype[Any], width: int) -> str:
        """A constant vector whose entries are all `value`."""
        if dtype == BOOL:
            item = f"i1 {'true' if value else 'false'}"
        else:
            with np.errstate(over="ignore"):
                bits = struct.pack(">d", float(dtype.type(value))).hex()
            item = f"{_NAMES[dtype]} 0x{bits}"
        return f"<{', '.join([item] * width)}>"

    def integer(self, value: int, width: int) -> str:
        """A constant vector of 64-bit integers."""
        return f"<{', '.join([f'i64 {value}'] * width)}>"

    def binary(self, name: str, a: str, b: str, dtype: np.dtype[Any], width: int) -> str:
        """An instruction of two operands of one type."""
        return self.let(f"{name} {type_of(dtype, width)} {a}, {b}")

    def compare(self, test: str, a: str, b: str, dtype: np.dtype[Any], width: int) -> str:
        """A comparison of floating point numbers, by LLVM's name for it."""
        return self.let(f"fcmp {test} {type_of(dtype, width)} {a}, {b}")

    def select(self, test: str, a: str, b: str, dtype: np.dtype[Any], width: int) -> str:
        """Entries of a where `test` holds, else of b."""
        kind = type_of(dtype, width)
        return self.let(f"select <{width} x i1> {test}, {kind} {a}, {kind} {b}")

    def intrinsic(self, name: str, operands: list[str], dtype: np.dtype[Any], width: int) -> str:
        """A call of LLVM's own elementwise function, such as sqrt."""
        kind = type_of(dtype, width)
        full = f"@llvm.{name}.v{width}{'f32' if dtype == FLOAT else 'f64'}"
        self.declared[full] = f"declare {kind} {full}({', '.join([kind] * len(operands))})"
        return self.let(f"call {kind} {full}({', '.join(f'{kind} {o}' for o in operands)})")

    def splat(self, value: str, dtype: np.dtype[Any], width: int) -> str:
        """A vector of one number as a vector of `width` equal ones."""
        if width == 1:
            return value
        kind = type_of(dtype, 1)
        mask = f"<{width} x i32> zeroinitializer"
        return self.let(f"shufflevector {kind} {value}, {kind} poison, {mask}")

    def convert(self, value: str, old: np.dtype[Any], new: np.dtype[Any], width: int) -> str:
        """A vector in another dtype, as NumPy's `astype` converts."""
        if old == new:
            return value
        if new == BOOL:
            return self.compare("une", value, self.number(0, old, width), old, width)
        if old == BOOL:
            how = "uitofp"
        else:
            how = "fpext" if new == DOUBLE else "fptrunc"
        return self.let(f"{how} {type_of(old, width)} {value} to {type_of(new, width)}")

    def load(
        self, pointer: str, dtype: np.dtype[Any], at: str, width: int, mask: str | None
    ) -> str:
        """Numbers from memory, beginning with number `at`; masked ones are 0."""
        item = _STORED[dtype]
        place = self.let(f"getelementptr {item}, ptr {pointer}, i64 {at}")
        kind, align = f"<{width} x {item}>", dtype.itemsize
        if mask is None:
            value = self.let(f"load {kind}, ptr {place}, align {align}")
        else:
            function = f"@llvm.masked.load.v{width}{_SUFFIX[dtype]}.p0"
            self.declared[function] = f"declare {kind} {function}(ptr, i32, <{width} x i1>, {kind})"
            value = self.let(
                f"call {kind} {function}(ptr {place}, i32 {align}, <{width} x i1> {mask}, "
                f"{kind} zeroinitializer)"
            )
        if dtype == BOOL:
            value = self.let(f"icmp ne {kind} {value}, zeroinitializer")
        return value

    def store(
        self, pointer: str, dtype: np.dtype[Any], value: str, at: str, width: int, mask: str | None
    ) -> None:
        """Numbers into memory, beginning at number `at`, but for masked ones."""
        item = _STORED[dtype]
        kind, align = f"<{width} x {item}>", dtype.itemsize
        if dtype == BOOL:
            value = self.let(f"zext <{width} x i1> {value} to {kind}")
        place = self.let(f"getelementptr {item}, ptr {pointer}, i64 {at}")
        if mask is None:
            self.do(f"store {kind} {value}, ptr {place}, align {align}")
            return
        function = f"@llvm.masked.store.v{width}{_SUFFIX[dtype]}.p0"
        self.declared[function] = f"declare void {function}({kind}, ptr, i32, <{width} x i1>)"
        self.do(
            f"call void {function}({kind} {value}, ptr {place}, i32 {align}, <{width} x i1> {mask})"
        )
