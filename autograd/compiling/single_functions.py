"""exp and tanh of float32 in single precision, for code that states a bound of its own.

A register holds twice as many numbers as in `functions.py`, and nothing is converted: the code
takes a third of the time.  Its error is at most one unit in the last place, which a test holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tapegrad.autograd.compiling.machine_text import FLOAT, Code

__all__ = ["BOUNDS", "SINGLE_FUNCTIONS"]

BOUNDS = {"exp": 1.0, "tanh": 2.5}

# A number between 2²³ and 2²⁴: added to a small x, its last bits are x rounded to an integer.
SHIFTER = 1.5 * 2.0**23
HIGH_LOG2 = 0.693359375  # log 2 in so few bits that its product with a small integer is exact
LOW_LOG2 = math.log(2) - HIGH_LOG2
LEAST, MOST = -104.0, 89.0  # where the result is 0 and where it is infinite
NEAR = 0.55  # where tanh is below 1/2
END_OF_TANH = -40.0  # of -2 |x|: tanh is 1 long before
END = 0.3466  # of the reduced argument: log(2) / 2


def _tail(r: np.ndarray) -> np.ndarray:
    """(eʳ - 1 - r) / r², also at 0."""
    return np.sum([r**i / math.factorial(i + 2) for i in range(12)], axis=0)


_NODES = END * np.cos(np.pi * (2 * np.arange(5) + 1) / 10)  # Chebyshev's
SERIES = [float(c) for c in np.linalg.solve(np.vander(_NODES, increasing=True), _tail(_NODES))]


class _Floats:
    """Shorthand for arithmetic on vectors of float32."""

    def __init__(self, code: Code, width: int) -> None:
        self.code, self.width = code, width

    def k(self, value: float) -> str:
        return self.code.number(value, FLOAT, self.width)

    def binary(self, name: str, a: str, b: str) -> str:
        return self.code.binary(name, a, b, FLOAT, self.width)

    def fma(self, a: str, b: str, c: str) -> str:
        """a · b + c, with one rounding or two."""
        return self.binary("fadd contract", self.binary("fmul contract", a, b), c)

    def limited(self, test: str, x: str, limit: float) -> str:
        """x, or the limit where the comparison of x with it holds; NaN stays NaN."""
        beyond = self.code.compare(test, x, self.k(limit), FLOAT, self.width)
        return self.code.select(beyond, self.k(limit), x, FLOAT, self.width)

    def integers(self, name: str, a: str, b: str) -> str:
        return self.code.let(f"{name} <{self.width} x i32> {a}, {b}")

    def all_equal(self, number: int) -> str:
        return f"<{', '.join([f'i32 {number}'] * self.width)}>"

    def power_of_two(self, exponent: str) -> str:
        """2ⁿ of integers n that a float32 has as an exponent."""
        moved = self.integers("shl", exponent, self.all_equal(23))
        bits = self.integers("add", moved, self.all_equal(127 << 23))
        return self.code.let(f"bitcast <{self.width} x i32> {bits} to <{self.width} x float>")


def _exp_parts(f: _Floats, x: str) -> tuple[str, str, str]:
    """(n in its last bits, r, t) such that eˣ = 2ⁿ (1 + r + t r²), and |r| <= log(2) / 2."""
    shifted = f.binary("fadd", f.binary("fmul", x, f.k(1 / math.log(2))), f.k(SHIFTER))
    n = f.binary("fsub", shifted, f.k(SHIFTER))
    r = f.fma(n, f.k(-LOW_LOG2), f.fma(n, f.k(-HIGH_LOG2), x))
    *rest, total = map(f.k, SERIES)
    for coefficient in reversed(rest):
        total = f.fma(total, r, coefficient)
    bits = f.code.let(f"bitcast <{f.width} x float> {shifted} to <{f.width} x i32>")
    return bits, r, total


def _exp(code: Code, operands: list[str], width: int) -> str:
    f = _Floats(code, width)
    bits, r, t = _exp_parts(f, f.limited("olt", f.limited("ogt", operands[0], MOST), LEAST))
    power = f.fma(f.fma(t, r, f.k(1.0)), r, f.k(1.0))
    # 2ⁿ as a product of two, for n may be beyond the range of exponents
    half = f.integers("ashr", bits, f.all_equal(1))
    for part in (half, f.integers("sub", bits, half)):
        power = f.binary("fmul", power, f.power_of_two(part))
    return power


def _tanh(code: Code, operands: list[str], width: int) -> str:
    """-p / (2 + p) with p = exp(-2 |x|) - 1 near 0, and 1 - 2 (1 + p) / (2 + p) elsewhere."""
    f = _Floats(code, width)
    size = code.intrinsic("fabs", operands, FLOAT, width)
    bits, r, t = _exp_parts(f, f.limited("olt", f.binary("fmul", size, f.k(-2.0)), END_OF_TANH))
    q = f.fma(f.binary("fmul", t, r), r, r)
    scale = f.power_of_two(bits)
    p = f.fma(scale, q, f.binary("fsub", scale, f.k(1.0)))
    near = code.compare("olt", size, f.k(NEAR), FLOAT, width)
    minus = code.let(f"fneg <{width} x float> {p}")
    above = code.select(near, minus, f.fma(p, f.k(2.0), f.k(2.0)), FLOAT, width)
    y = f.binary("fdiv", above, f.binary("fadd", p, f.k(2.0)))
    y = code.select(near, y, f.binary("fsub", f.k(1.0), y), FLOAT, width)
    return code.intrinsic("copysign", [y, *operands], FLOAT, width)


# ufunc's name -> (code, operands, width) -> the result's name
SINGLE_FUNCTIONS: dict[str, Callable[[Code, list[str], int], str]] = {"exp": _exp, "tanh": _tanh}
