"""The expression of each ufunc in CUDA C, by NumPy's name for it.

Arithmetic, roots, comparisons and selections give NumPy's bits: kernels are compiled without fused
multiply-adds, and division and square root round correctly.  Functions such as exp are those of
CUDA's library, whose bounds stand in its programming guide: at most 4 units in the last place.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.compiling.machine_text import BOOL, DOUBLE, FLOAT
from tapegrad.autograd.compiling.standins import REDUCTIONS

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.standins import ScalarCall

__all__ = [
    "NAMES",
    "STORED",
    "block_sum_text",
    "cuda_expression",
    "cuda_number",
    "cuda_obstacle",
    "extremum",
]

NAMES = {FLOAT: "float", DOUBLE: "double", BOOL: "bool"}
STORED = {FLOAT: "float", DOUBLE: "double", BOOL: "unsigned char"}  # in memory

# Few rows of more columns than that are left to the array library, which divides a row.
LONG_ROW, FEW_ROWS = 1 << 16, 64

# ufunc's name -> the function of C's library, for float64; an f is added for float32
_FUNCTIONS = {
    "absolute": "fabs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh",
    "arctan": "atan", "arctan2": "atan2", "arctanh": "atanh", "cbrt": "cbrt", "ceil": "ceil",
    "copysign": "copysign", "cos": "cos", "cosh": "cosh", "exp": "exp", "exp2": "exp2",
    "expm1": "expm1", "fabs": "fabs", "floor": "floor", "hypot": "hypot", "log": "log",
    "log10": "log10", "log1p": "log1p", "log2": "log2", "power": "pow", "rint": "rint",
    "sin": "sin", "sinh": "sinh", "sqrt": "sqrt", "tan": "tan", "tanh": "tanh", "trunc": "trunc",
}  # fmt: skip

# ufunc's name -> its expression; {0} and {1} are operands, {f} is the suffix of C's functions
_EXPRESSIONS = {
    "add": "{0} + {1}", "divide": "{0} / {1}", "multiply": "{0} * {1}", "negative": "-{0}",
    "positive": "{0}", "reciprocal": "1 / {0}", "square": "{0} * {0}", "subtract": "{0} - {1}",
    "cast": "{0}", "stretch": "{0}",
    "equal": "{0} == {1}", "greater": "{0} > {1}", "greater_equal": "{0} >= {1}",
    "less": "{0} < {1}", "less_equal": "{0} <= {1}", "not_equal": "{0} != {1}",
    "isfinite": "fabs{f}({0}) < {infinity}", "isinf": "fabs{f}({0}) == {infinity}",
    "isnan": "{0} != {0}",
    "logical_and": "({0} != 0) & ({1} != 0)", "logical_not": "{0} == 0",
    "logical_or": "({0} != 0) | ({1} != 0)", "logical_xor": "({0} != 0) != ({1} != 0)",
    "maximum": "({0} >= {1} || {0} != {0}) ? {0} : {1}",
    "minimum": "({0} <= {1} || {0} != {0}) ? {0} : {1}",
    "sign": "{0} > 0 ? 1 : {0} < 0 ? -1 : {0} == 0 ? 0 : {0}",
    "where": "{0} ? {1} : {2}",
    "logaddexp": "{0} == {1} ? {0} + {log2} : "
    "({0} > {1} ? {0} : {1}) + log1p{f}(exp{f}(-fabs{f}({0} - {1})))",
}  # fmt: skip
# Those that booleans may go through as well.
_OF_BOOLS = frozenset(
    {"cast", "logical_and", "logical_not", "logical_or", "logical_xor", "stretch", "where"}
)


def cuda_obstacle(call: ScalarCall) -> str:
    """Why a call has no code for a GPU; "" if it has."""
    if call.name in REDUCTIONS:
        rows = math.prod(call.result.shape)
        length = math.prod(call.operands[0].shape) // max(rows, 1)
        if length > LONG_ROW and rows <= FEW_ROWS and len(call.operands[0].shape) == 1:
            return "a long row is added up by many blocks of threads"
        return ""
    if call.name not in _FUNCTIONS and call.name not in _EXPRESSIONS:
        return f"{call.name} has no code"
    if call.dtypes[-1] == BOOL and call.name not in _OF_BOOLS:
        return f"{call.name} of booleans has no code"
    return ""


def cuda_number(value: Any, dtype: np.dtype[Any]) -> str:
    """A constant of a dtype, with all its bits."""
    if dtype == BOOL:
        return "true" if value else "false"
    with np.errstate(over="ignore"):
        number = float(dtype.type(value))
    if math.isfinite(number):
        text = repr(number) + ("f" if dtype == FLOAT else "")
        return f"({text})" if text.startswith("-") else text
    bits = np.array(number, dtype).view(f"i{dtype.itemsize}")
    read = "__int_as_float" if dtype == FLOAT else "__longlong_as_double"
    return f"{read}({int(bits)}{'' if dtype == FLOAT else 'LL'})"


def extremum(name: str, a: str, b: str) -> str:
    """The larger ("max") or the smaller ("min") of two; NaN if one is."""
    return _EXPRESSIONS[name + "imum"].format(a, b)


def cuda_expression(call: ScalarCall, operands: list[str]) -> str:
    """The value of a call.

    operands: names or constants, in the call's own dtypes
    """
    dtype = call.dtypes[-1]
    suffix = "f" if dtype == FLOAT else ""
    if call.name == "power" and type(call.operands[1]) in (int, float) and call.operands[1] == 2:
        return f"{operands[0]} * {operands[0]}"
    if call.name in _FUNCTIONS:
        return f"{_FUNCTIONS[call.name]}{suffix}({', '.join(operands)})"
    infinity = "" if dtype == BOOL else cuda_number(math.inf, dtype)
    log2 = "" if dtype == BOOL else cuda_number(math.log(2), dtype)
    return _EXPRESSIONS[call.name].format(*operands, f=suffix, infinity=infinity, log2=log2)


# Threads sum in stages, each of few numbers: T -> 32 -> 4 -> 1.  All threads get the total.
_JOIN = """\
__device__ static {type} {name}({type} x, {type} *shared) {{
    const int t = threadIdx.x, n = blockDim.x;
    {type} y = x;
    __syncthreads();
    shared[t] = x;
    __syncthreads();
    if (t < 32) {{
        for (int i = t + 32; i < n; i += 32) {{ const {type} z = shared[i]; y = {both}; }}
        shared[t] = y;
    }}
    __syncthreads();
    if (t < 4) {{
        for (int i = t + 4; i < 32; i += 4) {{ const {type} z = shared[i]; y = {both}; }}
        shared[t] = y;
    }}
    __syncthreads();
    y = shared[0];
    for (int i = 1; i < 4; ++i) {{ const {type} z = shared[i]; y = {both}; }}
    return y;
}}
"""


def block_sum_text(name: str) -> str:
    """The function called "sum_double", "max_float", …: of the numbers of a block's threads."""
    how, kind = name.split("_")
    both = "y + z" if how == "sum" else extremum(how, "y", "z")
    return _JOIN.format(name=name, type=kind, both=both)
