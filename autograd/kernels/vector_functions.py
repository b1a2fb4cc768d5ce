"""e to a power, sigmoid and tanh of float32 in kernels of `vector_code.py`, in single precision.

e to a power is a polynomial of degree 6 after reduction by log 2; tanh near 0 is a polynomial of
its own.  Errors are a few units in the last place, which a test holds.  (The functions of
`compile`'s kernels compute in double precision, which takes two to three times as long.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.autograd.kernels.vector_code import Floats

__all__ = ["LIMIT", "choose", "exp_of", "sigmoid_of", "tanh_of"]

Array = np.ndarray[Any, Any]
SHIFTER = 1.5 * 2.0**23  # added to a small number, its last bits are that number rounded
LOW_LOG2 = math.log(2) - 0.693359375  # what the short number lacks
LIMIT = 87.0  # e to it is a float32, and so is its inverse


def _polynomial(function: Callable[[Array], Array], count: int, low: float, high: float) -> Any:
    """`count` coefficients of the polynomial through a function at Chebyshev's nodes."""
    nodes = np.cos(np.pi * (2 * np.arange(count) + 1) / (2 * count))
    nodes = (low + high) / 2 + (high - low) / 2 * nodes
    return np.linalg.solve(np.vander(nodes, increasing=True), function(nodes))


NEAR = 0.6  # where tanh has a polynomial of its own
EXP = _polynomial(np.exp, 7, -0.35, 0.35)
TANH = _polynomial(lambda u: (np.tanh(u**0.5) / u**0.5 - 1) / u, 6, 1e-4, NEAR**2)


def _strict(name: str, a: Floats, b: Floats) -> Floats:
    """A sum, difference or product that LLVM must not reorder."""
    k = a.kernel
    return Floats(k, k.let(f"{name} {k.vector(a.width)} {a.name}, {b.name}"), a.width)


def choose(test: str, a: Floats, b: Floats, yes: Floats, no: Floats) -> Floats:
    """`yes` where the comparison of a with b holds, else `no`."""
    k, kind = a.kernel, a.kernel.vector(a.width)
    found = k.let(f"fcmp {test} {kind} {a.name}, {b.name}")
    text = f"select <{a.width} x i1> {found}, {kind} {yes.name}, {kind} {no.name}"
    return Floats(k, k.let(text), a.width)


def _series(x: Floats, coefficients: Any) -> Floats:
    k = x.kernel
    *rest, last = (k.all(float(c), x.width) for c in coefficients)
    total = last
    for coefficient in reversed(rest):
        total = coefficient.plus_product(total, x)
    return total


def exp_of(x: Floats) -> Floats:
    """e to the power x, of x limited to ±LIMIT; NaN stays NaN."""
    k, width = x.kernel, x.width
    high, low = k.all(LIMIT, width), k.all(-LIMIT, width)
    x = choose("ogt", x, high, high, x)
    x = choose("olt", x, low, low, x)
    shifted = _strict("fadd", x * (1 / math.log(2)), k.all(SHIFTER, width))
    n = _strict("fsub", shifted, k.all(SHIFTER, width))
    rest = _strict("fsub", x, _strict("fmul", n, k.all(0.693359375, width)))
    rest = _strict("fsub", rest, _strict("fmul", n, k.all(LOW_LOG2, width)))
    bits = k.let(f"bitcast {k.vector(width)} {shifted.name} to <{width} x i32>")
    moved = k.let(f"shl <{width} x i32> {bits}, <{', '.join(['i32 23'] * width)}>")
    power = k.let(f"add <{width} x i32> {moved}, <{', '.join([f'i32 {127 << 23}'] * width)}>")
    scale = Floats(k, k.let(f"bitcast <{width} x i32> {power} to {k.vector(width)}"), width)
    return _series(rest, EXP) * scale


def sigmoid_of(x: Floats) -> Floats:
    """1 / (1 + e⁻ˣ)."""
    one = x.kernel.all(1.0, x.width)
    return one / (one + exp_of(x * -1.0))


def tanh_of(x: Floats) -> Floats:
    """tanh x."""
    k, width = x.kernel, x.width
    one, square = k.all(1.0, width), x * x
    near = x.plus_product(x * square, _series(square, TANH))
    far = one - k.all(2.0, width) / (one + exp_of(x * 2.0))
    return choose("olt", square, k.all(NEAR**2, width), near, far)
