"""exp of float32 in single precision, for code that states a bound of its own.

A register holds twice as many numbers as in `functions.py`, and nothing is converted: the code
takes a third of the time.  Its error is at most one unit in the last place, which a test holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tapegrad.autograd.compiling.machine_text import FLOAT, Code

__all__ = ["SINGLE_FUNCTIONS"]

# A number between 2²³ and 2²⁴: added to a small x, its last bits are x rounded to an integer.
SHIFTER = 1.5 * 2.0**23
HIGH_LOG2 = 0.693359375  # log 2 in so few bits that its product with a small integer is exact
LOW_LOG2 = math.log(2) - HIGH_LOG2
LEAST, MOST = -104.0, 89.0  # where the result is 0 and where it is infinite
END = 0.3466  # of the reduced argument: log(2) / 2


def _tail(r: np.ndarray) -> np.ndarray:
    """(eʳ - 1 - r) / r², also at 0."""
    return np.sum([r**i / math.factorial(i + 2) for i in range(12)], axis=0)


_NODES = END * np.cos(np.pi * (2 * np.arange(5) + 1) / 10)  # Chebyshev's
SERIES = [float(c) for c in np.linalg.solve(np.vander(_NODES, increasing=True), _tail(_NODES))]


def _exp(code: Code, operands: list[str], width: int) -> str:
    [x] = operands

    def k(value: float) -> str:
        return code.number(value, FLOAT, width)

    def binary(name: str, a: str, b: str) -> str:
        return code.binary(name, a, b, FLOAT, width)

    def fma(a: str, b: str, c: str) -> str:
        return binary("fadd contract", binary("fmul contract", a, b), c)

    def limited(test: str, x: str, limit: float) -> str:  # NaN stays NaN
        beyond = code.compare(test, x, k(limit), FLOAT, width)
        return code.select(beyond, k(limit), x, FLOAT, width)

    def integers(name: str, a: str, b: str) -> str:
        return code.let(f"{name} <{width} x i32> {a}, {b}")

    def all_equal(number: int) -> str:
        return f"<{', '.join([f'i32 {number}'] * width)}>"

    x = limited("olt", limited("ogt", x, MOST), LEAST)
    shifted = binary("fadd", binary("fmul", x, k(1 / math.log(2))), k(SHIFTER))
    n = binary("fsub", shifted, k(SHIFTER))
    r = fma(n, k(-LOW_LOG2), fma(n, k(-HIGH_LOG2), x))
    *rest, total = map(k, SERIES)
    for coefficient in reversed(rest):
        total = fma(total, r, coefficient)
    power = fma(fma(total, r, k(1.0)), r, k(1.0))
    # 2ⁿ as a product of two, for n may be beyond the range of exponents
    bits = code.let(f"bitcast <{width} x float> {shifted} to <{width} x i32>")
    half = integers("ashr", bits, all_equal(1))
    for part in (half, integers("sub", bits, half)):
        moved = integers("add", integers("shl", part, all_equal(23)), all_equal(127 << 23))
        scale = code.let(f"bitcast <{width} x i32> {moved} to <{width} x float>")
        power = binary("fmul", power, scale)
    return power


# ufunc's name -> (code, operands, width) -> the result's name
SINGLE_FUNCTIONS: dict[str, Callable[[Code, list[str], int], str]] = {"exp": _exp}
