"""exp, log, tanh and their relatives for float32, as vector code in double precision.

Each takes and returns float32 and computes in float64 in between, so that only the last rounding
counts: an error of at most 0.55 units in the last place, which a test holds over each function's
range.  Half as many numbers fit into a register, but no second part of a logarithm has to be
carried, and the series are short.

Source of the methods: reduction by log 2 for exp, atanh for log; polynomials that interpolate at
Chebyshev's nodes, found below.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tapegrad.autograd.compiling.machine_text import DOUBLE, FLOAT, Code

__all__ = ["FUNCTIONS"]

# A number between 2⁵² and 2⁵³: added to a small x, its last bits are x rounded to an integer.
SHIFTER = 1.5 * 2.0**52
SHIFTER_BITS = 0x4338000000000000
BIAS_BITS = 1023 << 52
ROOT_HALF_BITS = 0x3FE6A09E667F3BCD
LIMIT = 350.0  # beyond it float32 has long left its range, and its exp² is still a float64


def _polynomial(
    function: Callable[[np.ndarray], np.ndarray], count: int, end: float
) -> list[float]:
    """`count` coefficients of the polynomial through `function` at Chebyshev's nodes in ±end."""
    nodes = end * np.cos(np.pi * (2 * np.arange(count) + 1) / (2 * count))
    return [float(c) for c in np.linalg.solve(np.vander(nodes, increasing=True), function(nodes))]


def _atanh_quotient(t: np.ndarray) -> np.ndarray:
    return np.sum([2 * t**i / (2 * i + 1) for i in range(16)], axis=0)


# (eʳ - 1) / r for |r| <= log(2) / 2 and 2 atanh(s) / s by s² for |s| <= 0.172, within 10⁻⁹
EXP = _polynomial(lambda r: np.expm1(r) / r, 7, 0.3466)
LOG = _polynomial(_atanh_quotient, 6, 0.0295)


class _Doubles:
    """Shorthand for arithmetic on vectors of doubles."""

    def __init__(self, code: Code, width: int) -> None:
        self.code, self.width = code, width

    def k(self, value: float) -> str:
        return self.code.number(value, DOUBLE, self.width)

    def add(self, a: str, b: str) -> str:
        return self.code.binary("fadd", a, b, DOUBLE, self.width)

    def sub(self, a: str, b: str) -> str:
        return self.code.binary("fsub", a, b, DOUBLE, self.width)

    def mul(self, a: str, b: str) -> str:
        return self.code.binary("fmul", a, b, DOUBLE, self.width)

    def div(self, a: str, b: str) -> str:
        return self.code.binary("fdiv", a, b, DOUBLE, self.width)

    def fma(self, a: str, b: str, c: str) -> str:
        """a · b + c, with one rounding or two."""
        product = self.code.binary("fmul contract", a, b, DOUBLE, self.width)
        return self.code.binary("fadd contract", product, c, DOUBLE, self.width)

    def size(self, a: str) -> str:
        return self.code.intrinsic("fabs", [a], DOUBLE, self.width)

    def sign(self, size: str, of: str) -> str:
        return self.code.intrinsic("copysign", [size, of], DOUBLE, self.width)

    def choose(self, test: str, x: str, y: str, a: str, b: str) -> str:
        """a where the comparison of x with y holds, else b."""
        found = self.code.compare(test, x, y, DOUBLE, self.width)
        return self.code.select(found, a, b, DOUBLE, self.width)

    def bits(self, a: str) -> str:
        return self.code.let(f"bitcast <{self.width} x double> {a} to <{self.width} x i64>")

    def from_bits(self, a: str) -> str:
        return self.code.let(f"bitcast <{self.width} x i64> {a} to <{self.width} x double>")

    def whole(self, name: str, a: str, number: int) -> str:
        """An instruction on integers, with a constant."""
        constant = self.code.integer(number, self.width)
        return self.code.let(f"{name} <{self.width} x i64> {a}, {constant}")


def _series(d: _Doubles, x: str, coefficients: list[float]) -> str:
    """c₀ + c₁ x + c₂ x² + …, from the inside out."""
    *rest, last = coefficients
    total = d.k(last)
    for coefficient in reversed(rest):
        total = d.fma(total, x, d.k(coefficient))
    return total


def _limited(d: _Doubles, x: str) -> str:
    """x between -LIMIT and LIMIT; NaN stays NaN."""
    x = d.choose("ogt", x, d.k(LIMIT), d.k(LIMIT), x)
    return d.choose("olt", x, d.k(-LIMIT), d.k(-LIMIT), x)


def _power_of_two(d: _Doubles, shifted: str) -> str:
    """2ⁿ, where n is the integer in the last bits of `shifted`."""
    return d.from_bits(d.whole("add", d.whole("shl", d.bits(shifted), 52), BIAS_BITS))


def _exp_parts(d: _Doubles, x: str, per_log2: float, log2: float) -> tuple[str, str]:
    """(s, q) such that the power is s (1 + q), |q| < 1/2, and q has all its digits near 0."""
    x = _limited(d, x)
    shifted = d.add(d.mul(x, d.k(per_log2)), d.k(SHIFTER))
    n = d.sub(shifted, d.k(SHIFTER))
    if log2 == 1:
        r = d.mul(d.sub(x, n), d.k(math.log(2)))
    else:
        r = d.fma(n, d.k(-log2), x)
    return _power_of_two(d, shifted), d.mul(r, _series(d, r, EXP))


def _exp(d: _Doubles, x: str) -> str:
    s, q = _exp_parts(d, x, 1 / math.log(2), math.log(2))
    return d.fma(s, q, s)


def _exp2(d: _Doubles, x: str) -> str:
    s, q = _exp_parts(d, x, 1.0, 1.0)
    return d.fma(s, q, s)


def _expm1(d: _Doubles, x: str) -> str:
    s, q = _exp_parts(d, x, 1 / math.log(2), math.log(2))
    return d.choose("oeq", x, d.k(0.0), x, d.fma(s, q, d.sub(s, d.k(1.0))))


def _log_parts(d: _Doubles, x: str) -> tuple[str, str]:
    """(e, l) such that log x = e log 2 + l, for normal x > 0; l has all its digits near 1."""
    bits = d.bits(x)
    exponent = d.whole("ashr", d.whole("sub", bits, ROOT_HALF_BITS), 52)
    power = d.whole("shl", exponent, 52)
    w = d.width
    f = d.sub(d.from_bits(d.code.let(f"sub <{w} x i64> {bits}, {power}")), d.k(1.0))
    s = d.div(f, d.add(f, d.k(2.0)))
    series = _series(d, d.mul(s, s), LOG)
    e = d.sub(d.from_bits(d.whole("add", exponent, SHIFTER_BITS)), d.k(SHIFTER))
    return e, d.mul(s, series)


def _with_ends(d: _Doubles, x: str, y: str) -> str:
    """A logarithm y of x with its values at 0, below 0, at infinity and at NaN."""
    y = d.choose("olt", x, d.k(math.inf), y, x)  # infinity, NaN
    y = d.choose("olt", x, d.k(0.0), d.k(math.nan), y)
    return d.choose("oeq", x, d.k(0.0), d.k(-math.inf), y)


def _log(d: _Doubles, x: str) -> str:
    e, log = _log_parts(d, x)
    return _with_ends(d, x, d.fma(e, d.k(math.log(2)), log))


def _log2(d: _Doubles, x: str) -> str:
    e, log = _log_parts(d, x)
    return _with_ends(d, x, d.fma(log, d.k(1 / math.log(2)), e))


def _log10(d: _Doubles, x: str) -> str:
    e, log = _log_parts(d, x)
    natural = d.fma(e, d.k(math.log(2)), log)
    return _with_ends(d, x, d.mul(natural, d.k(1 / math.log(10))))


def _log1p(d: _Doubles, x: str) -> str:
    u = d.add(x, d.k(1.0))
    lost = d.div(d.sub(x, d.sub(u, d.k(1.0))), u)  # what rounding took from u
    e, log = _log_parts(d, u)
    y = d.fma(e, d.k(math.log(2)), d.add(log, lost))
    y = _with_ends(d, u, y)
    return d.choose("olt", d.size(x), d.k(2.0**-60), x, y)


def _tanh(d: _Doubles, x: str) -> str:
    # From exp(|x|), which cosh needs as well: tanh and its derivative then share it.
    s, q = _exp_parts(d, d.size(x), 1 / math.log(2), math.log(2))
    m = d.fma(s, q, d.sub(s, d.k(1.0)))
    p = d.mul(m, d.add(m, d.k(2.0)))  # exp(2|x|) - 1
    return d.sign(d.div(p, d.add(p, d.k(2.0))), x)


def _sinh(d: _Doubles, x: str) -> str:
    m = _expm1(d, d.size(x))
    total = d.add(m, d.div(m, d.add(m, d.k(1.0))))
    return d.sign(d.mul(total, d.k(0.5)), x)


def _cosh(d: _Doubles, x: str) -> str:
    e = _exp(d, d.size(x))
    return d.mul(d.add(e, d.div(d.k(1.0), e)), d.k(0.5))


def _logaddexp(d: _Doubles, x: str, y: str) -> str:
    gap = d.sub(x, y)
    large = d.choose("ogt", gap, d.k(0.0), x, y)
    small = _log1p(d, _exp(d, d.sub(d.k(0.0), d.size(gap))))
    total = d.add(large, small)
    return d.choose("oeq", x, y, d.add(x, d.k(math.log(2))), total)  # of infinities too


_BODIES: dict[str, Callable[..., str]] = {
    "cosh": _cosh,
    "exp": _exp,
    "exp2": _exp2,
    "expm1": _expm1,
    "log": _log,
    "log10": _log10,
    "log1p": _log1p,
    "log2": _log2,
    "logaddexp": _logaddexp,
    "sinh": _sinh,
    "tanh": _tanh,
}


def _in_doubles(body: Callable[..., str]) -> Callable[[Code, list[str], int], str]:
    def emit(code: Code, operands: list[str], width: int) -> str:
        wide = [code.convert(o, FLOAT, DOUBLE, width) for o in operands]
        return code.convert(body(_Doubles(code, width), *wide), DOUBLE, FLOAT, width)

    return emit


# ufunc's name -> (code, operands, width) -> the result's name
FUNCTIONS: dict[str, Callable[[Code, list[str], int], str]] = {
    name: _in_doubles(body) for name, body in _BODIES.items()
}
