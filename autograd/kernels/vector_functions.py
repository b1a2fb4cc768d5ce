"""e to a power, sigmoid and tanh in kernels of `vector_code.py`, in the precision of the kernel.

e to a power is a polynomial after reduction by log 2.  For float32 it has degree 6, and tanh near 0
is a polynomial of its own; for float64 it has degree 13, and tanh comes from e to a power minus 1.
Errors are a few units in the last place, which a test holds.  (The functions of `compile`'s kernels
compute float32 in double precision, which takes two to three times as long.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tapegrad.autograd.kernels.vector_code import Floats

__all__ = [
    "LIMIT",
    "choose",
    "exp_of",
    "halves_joined",
    "larger",
    "limit_of",
    "log_to_three",
    "sigmoid_of",
    "strict",
    "tanh_of",
]

Array = np.ndarray[Any, Any]
LIMIT = 87.0  # e to it is a float32, and so is its inverse


class _Format(NamedTuple):
    """What the functions need to know of a dtype.

    limit:   e to it is a number of the dtype, and so is its inverse
    bits:    of the fraction
    offset:  of the exponent
    high:    log 2 with so few bits that its product with an exponent is exact
    low:     what it lacks
    """

    limit: float
    bits: int
    offset: int
    high: float
    low: float

    @property
    def shifter(self) -> float:
        """Added to a small number, its last bits are that number rounded."""
        return 1.5 * 2.0**self.bits


FORMATS = {
    4: _Format(LIMIT, 23, 127, 0.693359375, math.log(2) - 0.693359375),
    8: _Format(708.0, 52, 1023, 0.6931471803691238, 1.9082149292705877e-10),
}


def _polynomial(function: Callable[[Array], Array], count: int, low: float, high: float) -> Any:
    """`count` coefficients of the polynomial through a function at Chebyshev's nodes."""
    nodes = np.cos(np.pi * (2 * np.arange(count) + 1) / (2 * count))
    nodes = (low + high) / 2 + (high - low) / 2 * nodes
    return np.linalg.solve(np.vander(nodes, increasing=True), function(nodes))


NEAR = 0.6  # where tanh has a polynomial of its own
EXP = _polynomial(np.exp, 7, -0.35, 0.35)
WIDE_EXP = [1 / math.factorial(n) for n in range(14)]
# (artanh √u / √u - 1) / u = 1/3 + u/5 + u²/7 + …, for `log_to_three`
LOG = {
    size: _polynomial(lambda u: sum((u**n / (2 * n + 3) for n in range(40)), 0 * u), count, 0, 0.25)
    for size, count in ((4, 7), (8, 14))
}
TANH = _polynomial(lambda u: (np.tanh(u**0.5) / u**0.5 - 1) / u, 6, 1e-4, NEAR**2)


def strict(name: str, a: Floats, b: Floats) -> Floats:
    """A sum, difference or product that LLVM must not reorder."""
    k = a.kernel
    return Floats(k, k.let(f"{name} {k.vector(a.width)} {a.name}, {b.name}"), a.width)


def choose(test: str, a: Floats, b: Floats, yes: Floats, no: Floats) -> Floats:
    """`yes` where the comparison of a with b holds, else `no`."""
    k, kind = a.kernel, a.kernel.vector(a.width)
    found = k.let(f"fcmp {test} {kind} {a.name}, {b.name}")
    text = f"select <{a.width} x i1> {found}, {kind} {yes.name}, {kind} {no.name}"
    return Floats(k, k.let(text), a.width)


def larger(a: Floats, b: Floats) -> Floats:
    """The larger numbers of two registers; NaN is larger than all."""
    return a.above(b).choose(a, b)


def halves_joined(a: Floats, join: Callable[[Floats, Floats], Floats]) -> Floats:
    """The numbers of a register as one."""
    while a.width > 1:
        half = a.width // 2
        a = join(a.shuffled(a, range(half)), a.shuffled(a, range(half, a.width)))
    return a


def _series(x: Floats, coefficients: Any) -> Floats:
    k = x.kernel
    *rest, last = (k.all(float(c), x.width) for c in coefficients)
    total = last
    for coefficient in reversed(rest):
        total = coefficient.plus_product(total, x)
    return total


def _reduced(x: Floats) -> tuple[Floats, Floats]:
    """(r, 2ⁿ) with x = r + n log 2 and r within ±(log 2)/2, of x limited; NaN stays NaN."""
    k, width = x.kernel, x.width
    of, size = FORMATS[k.dtype.itemsize], 8 * k.dtype.itemsize
    high, low = k.all(of.limit, width), k.all(-of.limit, width)
    x = choose("ogt", x, high, high, x)
    x = choose("olt", x, low, low, x)
    shifted = strict("fadd", x * (1 / math.log(2)), k.all(of.shifter, width))
    n = strict("fsub", shifted, k.all(of.shifter, width))
    rest = strict("fsub", x, strict("fmul", n, k.all(of.high, width)))
    rest = strict("fsub", rest, strict("fmul", n, k.all(of.low, width)))
    bits = k.let(f"bitcast {k.vector(width)} {shifted.name} to <{width} x i{size}>")
    ends = (f"<{', '.join([f'i{size} {m}'] * width)}>" for m in (of.bits, of.offset << of.bits))
    moved = k.let(f"shl <{width} x i{size}> {bits}, {next(ends)}")
    power = k.let(f"add <{width} x i{size}> {moved}, {next(ends)}")
    scale = Floats(k, k.let(f"bitcast <{width} x i{size}> {power} to {k.vector(width)}"), width)
    return rest, scale


def limit_of(dtype: np.dtype[Any]) -> float:
    """The largest number that `exp_of` takes as it is: e to it is a number of the dtype."""
    return FORMATS[dtype.itemsize].limit


def exp_of(x: Floats) -> Floats:
    """e to the power x, of x limited to what the dtype holds; NaN stays NaN."""
    rest, scale = _reduced(x)
    return _series(rest, EXP if x.kernel.dtype.itemsize == 4 else WIDE_EXP) * scale


def sigmoid_of(x: Floats) -> Floats:
    """1 / (1 + e⁻ˣ)."""
    one = x.kernel.all(1.0, x.width)
    return one / (one + exp_of(x * -1.0))


def tanh_of(x: Floats) -> Floats:
    """tanh x."""
    k, width = x.kernel, x.width
    one, two = k.all(1.0, width), k.all(2.0, width)
    if k.dtype.itemsize == 8:
        rest, scale = _reduced(x * 2.0)
        less = _series(rest, WIDE_EXP[1:]) * rest  # e to the rest, minus 1
        power = strict("fsub", scale, one).plus_product(less, scale)
        return power / (power + two)
    square = x * x
    near = x.plus_product(x * square, _series(square, TANH))
    far = one - two / (one + exp_of(x * 2.0))
    return choose("olt", square, k.all(NEAR**2, width), near, far)


def log_to_three(x: Floats) -> Floats:
    """log x = 2 artanh r with r = (x - 1) / (x + 1), of x from 1 to 3; NaN stays NaN."""
    one = x.kernel.all(1.0, x.width)
    ratio = (x - one) / (x + one)
    twice, square = ratio * 2.0, ratio * ratio
    return twice.plus_product(twice * square, _series(square, LOG[x.kernel.dtype.itemsize]))
