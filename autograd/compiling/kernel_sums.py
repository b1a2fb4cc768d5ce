"""Sums and extrema in a kernel: vectors of totals, one for each lane, joined at the end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.compiling.machine_text import DOUBLE, Code, type_of
from tapegrad.autograd.compiling.scalar_code import emit_extremum

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.autograd.compiling.tracing import ScalarCall

__all__ = ["LANES", "add_lanes", "join_lanes", "start_of_sum"]

LANES = 16  # numbers in one vector

_TESTS = {"max": "oge", "min": "ole"}


def start_of_sum(code: Code, call: ScalarCall) -> tuple[str, str]:
    """Type and first value of what a sum carries through the loop."""
    if call.name == "sum":
        return type_of(DOUBLE, LANES), code.number(0, DOUBLE, LANES)
    dtype = call.result.dtype
    return type_of(dtype, LANES), code.number(_identity(call.name), dtype, LANES)


def add_lanes(code: Code, call: ScalarCall, total: str, value: str, mask: str | None) -> str:
    """The totals with a vector of values that are not masked."""
    dtype = call.result.dtype
    if mask is not None:
        neutral = code.number(_identity(call.name), dtype, LANES)
        value = code.select(mask, value, neutral, dtype, LANES)
    if call.name == "sum":
        wide = code.convert(value, dtype, DOUBLE, LANES)
        return code.binary("fadd", total, wide, DOUBLE, LANES)
    return emit_extremum(_TESTS[call.name], code, [total, value], dtype, LANES)


def join_lanes(code: Code, call: ScalarCall, total: str) -> tuple[np.dtype[Any], str]:
    """The totals of all lanes as one number, and its dtype: a sum is still a float64."""
    dtype = DOUBLE if call.name == "sum" else call.result.dtype
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


def _identity(name: str) -> float:
    """The number that changes no sum, or no extremum, when it takes part."""
    return {"sum": 0.0, "max": -math.inf, "min": math.inf}[name]


def _lanes(start: int, width: int) -> str:
    return f"<{width} x i32> <{', '.join(f'i32 {start + i}' for i in range(width))}>"
