"""The code of each ufunc in a kernel, by NumPy's name for it.

Arithmetic, roots, comparisons and selections give NumPy's bits, apart from the sign of a zero that
a maximum or minimum takes from two zeros of either sign.  The functions of `functions.py` are for
float32.  What is not here is not fused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.compiling.functions import FUNCTIONS
from tapegrad.autograd.compiling.machine_text import BOOL, FLOAT, Code, type_of
from tapegrad.autograd.compiling.single_functions import SINGLE_FUNCTIONS
from tapegrad.autograd.compiling.standins import REDUCTIONS

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.standins import ScalarCall

__all__ = ["EXACT", "obstacle_to", "emit_call", "emit_extremum"]

Emit = Callable[[Code, list[str], np.dtype[Any], int], str]


def _instruction(name: str) -> Emit:
    def emit(code: Code, operands: list[str], dtype: np.dtype[Any], width: int) -> str:
        return code.let(f"{name} {type_of(dtype, width)} {', '.join(operands)}")

    return emit


def _intrinsic(name: str) -> Emit:
    return lambda code, operands, dtype, width: code.intrinsic(name, operands, dtype, width)


def _comparison(test: str) -> Emit:
    def emit(code: Code, operands: list[str], dtype: np.dtype[Any], width: int) -> str:
        a, b = operands
        return code.compare(test, a, b, dtype, width)

    return emit


def _logic(name: str) -> Emit:
    def emit(code: Code, operands: list[str], dtype: np.dtype[Any], width: int) -> str:
        truths = [code.convert(o, dtype, BOOL, width) for o in operands]
        return code.let(f"{name} <{width} x i1> {', '.join(truths)}")

    return emit


def emit_extremum(
    test: str, code: Code, operands: list[str], dtype: np.dtype[Any], width: int
) -> str:
    """The larger ("oge") or the smaller ("ole") of two; NaN if one is."""
    a, b = operands
    kept = code.compare(test, a, b, dtype, width)
    nan = code.compare("uno", a, a, dtype, width)
    return code.select(code.binary("or", kept, nan, BOOL, width), a, b, dtype, width)


def _extremum(test: str) -> Emit:
    return lambda code, operands, dtype, width: emit_extremum(test, code, operands, dtype, width)


def _not(code: Code, operands: list[str], dtype: np.dtype[Any], width: int) -> str:
    truth = code.convert(operands[0], dtype, BOOL, width)
    return code.binary("xor", truth, code.number(1, BOOL, width), BOOL, width)


def _square(code: Code, operands: list[str], dtype: np.dtype[Any], width: int) -> str:
    return code.binary("fmul", operands[0], operands[0], dtype, width)


def _reciprocal(code: Code, operands: list[str], dtype: np.dtype[Any], width: int) -> str:
    return code.binary("fdiv", code.number(1, dtype, width), operands[0], dtype, width)


def _same(code: Code, operands: list[str], dtype: np.dtype[Any], width: int) -> str:
    return operands[0]


def _sign(code: Code, operands: list[str], dtype: np.dtype[Any], width: int) -> str:
    (x,) = operands
    zero, one = code.number(0, dtype, width), code.number(1, dtype, width)
    minus = code.number(-1, dtype, width)
    below = code.select(code.compare("olt", x, zero, dtype, width), minus, x, dtype, width)
    other = code.select(code.compare("ogt", x, zero, dtype, width), one, below, dtype, width)
    return code.select(code.compare("oeq", x, zero, dtype, width), zero, other, dtype, width)


def _against_infinity(test: str) -> Emit:
    def emit(code: Code, operands: list[str], dtype: np.dtype[Any], width: int) -> str:
        size = code.intrinsic("fabs", operands, dtype, width)
        return code.compare(test, size, code.number(math.inf, dtype, width), dtype, width)

    return emit


def _isnan(code: Code, operands: list[str], dtype: np.dtype[Any], width: int) -> str:
    return code.compare("uno", operands[0], operands[0], dtype, width)


def _where(code: Code, operands: list[str], dtype: np.dtype[Any], width: int) -> str:
    raise AssertionError("`where` has operands of two dtypes")


# ufunc's name -> its code in any of the dtypes of a kernel
EXACT: dict[str, Emit] = {
    "absolute": _intrinsic("fabs"),
    "add": _instruction("fadd"),
    "cast": _same,
    "ceil": _intrinsic("ceil"),
    "copysign": _intrinsic("copysign"),
    "divide": _instruction("fdiv"),
    "equal": _comparison("oeq"),
    "fabs": _intrinsic("fabs"),
    "floor": _intrinsic("floor"),
    "greater": _comparison("ogt"),
    "greater_equal": _comparison("oge"),
    "isfinite": _against_infinity("one"),
    "isinf": _against_infinity("oeq"),
    "isnan": _isnan,
    "less": _comparison("olt"),
    "less_equal": _comparison("ole"),
    "logical_and": _logic("and"),
    "logical_not": _not,
    "logical_or": _logic("or"),
    "logical_xor": _logic("xor"),
    "maximum": _extremum("oge"),
    "minimum": _extremum("ole"),
    "multiply": _instruction("fmul"),
    "negative": _instruction("fneg"),
    "not_equal": _comparison("une"),
    "positive": _same,
    "reciprocal": _reciprocal,
    "rint": _intrinsic("rint"),
    "sign": _sign,
    "sqrt": _intrinsic("sqrt"),
    "square": _square,
    "stretch": _same,
    "subtract": _instruction("fsub"),
    "trunc": _intrinsic("trunc"),
    "where": _where,
}
JOINED = {"add": "fadd", "subtract": "fsub", "multiply": "fmul"}
# Those that booleans may go through as well.
_OF_BOOLS = frozenset(
    {"cast", "logical_and", "logical_not", "logical_or", "logical_xor", "stretch", "where"}
)


def obstacle_to(call: ScalarCall) -> str:
    """Why a call has no code; "" if it has."""
    dtype = call.dtypes[-1]
    if call.name in REDUCTIONS:
        return ""
    if call.name == "power" and type(call.operands[1]) in (int, float) and call.operands[1] == 2:
        return ""
    if call.name in FUNCTIONS:
        return "" if dtype == FLOAT else f"{call.name} of {dtype} has no code"
    if call.name not in EXACT:
        return f"{call.name} has no code"
    if dtype == BOOL and call.name not in _OF_BOOLS:
        return f"{call.name} of booleans has no code"
    return ""


def emit_call(code: Code, call: ScalarCall, operands: list[str], width: int) -> str:
    """Add a call's instructions, and return the name of its result.

    operands: in the call's own dtypes
    """
    dtype = call.dtypes[-1]
    if call.name == "where":
        condition, x1, x2 = operands
        return code.select(condition, x1, x2, dtype, width)
    if call.name == "cast":
        return code.convert(operands[0], dtype, call.result.dtype, width)
    if call.name == "power":
        return _square(code, operands[:1], dtype, width)
    if call.relaxed and call.name in SINGLE_FUNCTIONS:
        return SINGLE_FUNCTIONS[call.name](code, operands, width)
    if call.relaxed and call.name in JOINED:  # a sum of a product is rounded once
        a, b = operands
        return code.binary(f"{JOINED[call.name]} contract", a, b, dtype, width)
    if call.name in FUNCTIONS:
        return FUNCTIONS[call.name](code, operands, width)
    return EXACT[call.name](code, operands, dtype, width)
