"""Sums and extrema in a kernel: vectors of totals, one for each lane, joined at the end."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.compiling.loops import loop, only_if
from tapegrad.autograd.compiling.machine_text import DOUBLE, FLOAT, Code, type_of
from tapegrad.autograd.compiling.scalar_code import emit_extremum

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.autograd.compiling.standins import ScalarCall

__all__ = [
    "LANES",
    "ROWS_IN_SINGLE",
    "add_double",
    "add_lanes",
    "add_partial_sums",
    "dtype_of_sum",
    "join_lanes",
    "start_of_sum",
]

LANES = 16  # numbers in one vector
MOST_IN_SINGLE = 4096  # terms of a sum of relaxed code that 16 lanes add in float32
ROWS_IN_SINGLE = 32  # rows that relaxed code adds in float32, before they are added in float64

_TESTS = {"max": "oge", "min": "ole"}


def dtype_of_sum(call: ScalarCall, count: int) -> np.dtype[Any]:
    """In which dtype `count` terms are added: float64, but for short sums of relaxed code."""
    return call.result.dtype if call.relaxed and count <= MOST_IN_SINGLE else DOUBLE


def start_of_sum(code: Code, call: ScalarCall, count: int) -> tuple[str, str]:
    """Type and first value of what a sum carries through the loop."""
    if call.name == "sum":
        dtype = dtype_of_sum(call, count)
        return type_of(dtype, LANES), code.number(0, dtype, LANES)
    dtype = call.result.dtype
    return type_of(dtype, LANES), code.number(_identity(call.name), dtype, LANES)


def add_lanes(
    code: Code, call: ScalarCall, total: str, value: str, mask: str | None, count: int
) -> str:
    """The totals with a vector of values that are not masked."""
    dtype = call.result.dtype
    if mask is not None:
        neutral = code.number(_identity(call.name), dtype, LANES)
        value = code.select(mask, value, neutral, dtype, LANES)
    if call.name == "sum":
        own = dtype_of_sum(call, count)
        return code.binary("fadd", total, code.convert(value, dtype, own, LANES), own, LANES)
    return emit_extremum(_TESTS[call.name], code, [total, value], dtype, LANES)


def join_lanes(code: Code, call: ScalarCall, total: str, count: int) -> tuple[np.dtype[Any], str]:
    """The totals of all lanes as one number, and its dtype: a sum is still a float64."""
    dtype = DOUBLE if call.name == "sum" else call.result.dtype
    if call.name == "sum":
        total = code.convert(total, dtype_of_sum(call, count), DOUBLE, LANES)
    width = LANES
    while width > 1:
        width //= 2
        kind = type_of(dtype, 2 * width)
        halves = [
            code.let(f"shufflevector {kind} {total}, {kind} poison, {_lanes(start, width)}")
            for start in (0, width)
        ]
        if call.name == "sum":
            total = code.binary("fadd", halves[0], halves[1], DOUBLE, width)
        else:
            total = emit_extremum(_TESTS[call.name], code, halves, dtype, width)
    return dtype, total


def add_partial_sums(
    code: Code, pairs: list[tuple[str, str]], columns: int, row: str, rows: str
) -> None:
    """After some rows, and after the last one, add float32 totals of columns to float64 ones.

    pairs: pointers to the former, which begin anew, and to the latter; both have whole vectors
    """
    following = code.let(f"add i64 {row}, 1")
    rest = code.let(f"urem i64 {following}, {ROWS_IN_SINGLE}")
    is_full = code.let(f"icmp eq i64 {rest}, 0")
    is_last = code.let(f"icmp eq i64 {following}, {rows}")

    def add_all() -> None:
        for pair in pairs:
            loop(code, columns, LANES, partial(_add_vector, code, *pair))

    only_if(code, code.let(f"or i1 {is_full}, {is_last}"), add_all)


def _add_vector(code: Code, source: str, total: str, index: str) -> None:
    value = code.convert(code.load(source, FLOAT, index, LANES, None), FLOAT, DOUBLE, LANES)
    before = code.load(total, DOUBLE, index, LANES, None)
    value = code.binary("fadd", before, value, DOUBLE, LANES)
    code.store(total, DOUBLE, value, index, LANES, None)
    code.store(source, FLOAT, code.number(0, FLOAT, LANES), index, LANES, None)


def add_double(code: Code, source: str, total: str, index: str) -> None:
    """Add a float64 of one piece of memory to that of another."""
    before = code.load(total, DOUBLE, index, 1, None)
    value = code.load(source, DOUBLE, index, 1, None)
    code.store(total, DOUBLE, code.binary("fadd", before, value, DOUBLE, 1), index, 1, None)


def _identity(name: str) -> float:
    """The number that changes no sum, or no extremum, when it takes part."""
    return {"sum": 0.0, "max": -math.inf, "min": math.inf}[name]


def _lanes(start: int, width: int) -> str:
    return f"<{width} x i32> <{', '.join(f'i32 {start + i}' for i in range(width))}>"
