"""Softmax along an axis that is not the last, and gated halves, by machine code.

An array is seen as (outer, length, inner): numbers that belong together lie `inner` apart, and
neighbours in memory, which fill registers, belong to different columns.  A block of columns is
small enough to stay in the cache while it is read two or three times.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.addresses import address
from tapegrad.autograd.kernels.vector_code import Floats, KernelCode, Whole, lanes_of, ready
from tapegrad.autograd.kernels.vector_functions import LIMIT, choose, exp_of, larger, strict

__all__ = [
    "gated",
    "gated_gradient",
    "log_softmax_gradient_of_columns",
    "log_softmax_of_columns",
    "softmax_gradient_of_columns",
    "softmax_of_columns",
]

Array = np.ndarray[Any, Any]
FLOAT = np.dtype(np.float32)
Kernel = Callable[..., None]
CLOSED = 104.0  # e to its negative is no float32
WIDE = 4  # registers of columns that are computed together, where there are as many


def _power(x: Floats) -> Floats:
    """e to the power x ≤ 0, and 0 where that is hardly a float32; NaN stays NaN."""
    k, width = x.kernel, x.width
    return choose("olt", x, k.all(-LIMIT, width), k.all(0.0, width), exp_of(x))


class _ColumnLoops:
    """Loops over the columns of arrays (outer, length, inner), `width` of them at a time."""

    def __init__(self, arguments: str, width: int) -> None:
        self.k, self.width = KernelCode(f"{arguments} outer length inner", FLOAT), width
        self.outer, self.length, self.inner = self.k["outer length inner"]

    def run(self, block: Callable[[Whole, Whole], None]) -> Kernel:
        """Compile block(n, i), which computes the columns from i on of the array number n."""
        k = self.k
        k.loop(
            self.outer,
            lambda n: k.starts(self.inner, lambda i: block(n, i), self.width),
        )
        return ready(k)

    def along(
        self, body: Callable[..., list[Floats] | None], carried: tuple[Floats, ...] = ()
    ) -> list[Floats]:
        """Run body(place of the row, *carried) for each entry of the columns."""
        return self.k.loop(self.length, lambda j, *c: body(j * self.inner, *c), carried)

    def all(self, value: float) -> Floats:
        return self.k.all(value, self.width)


@lru_cache
def _softmax_kernel(width: int, is_log: bool) -> Kernel:
    """Into y: the softmax of x; or x less its maximum, and the sums of powers into totals."""
    c = _ColumnLoops("x y totals", width)
    k = c.k
    x, y, totals = k["x y totals"]

    def block(n: Whole, i: Whole) -> None:
        start = n * c.length * c.inner + i
        first, into = k.at(x, start), k.at(y, start)
        [high] = c.along(
            lambda at, best: [larger(k.load(first, at, width), best)], (c.all(-np.inf),)
        )

        def add(at: Whole, total: Floats) -> list[Floats]:
            below = k.load(first, at, width) - high
            power = _power(below)
            k.store(below if is_log else power, into, at)
            return [total + power]

        [total] = c.along(add, (c.all(0.0),))
        if is_log:
            k.store(total, totals, n * c.inner + i)
            return
        inverse = c.all(1.0) / total

        def scale(at: Whole) -> None:
            k.store(k.load(into, at, width) * inverse, into, at)

        c.along(scale)

    return c.run(block)


@lru_cache
def _softmax_gradient_kernel(width: int, is_log: bool) -> Kernel:
    """Into dx: y·(g - Σ g·y), or g - eʸ·Σ g."""
    c = _ColumnLoops("g y dx", width)
    k = c.k
    g, y, dx = k["g y dx"]

    def block(n: Whole, i: Whole) -> None:
        start = n * c.length * c.inner + i
        of_g, of_y, into = k.at(g, start), k.at(y, start), k.at(dx, start)

        def add(at: Whole, total: Floats) -> list[Floats]:
            term = k.load(of_g, at, width)
            return [total + (term if is_log else term * k.load(of_y, at, width))]

        [total] = c.along(add, (c.all(0.0),))

        def put(at: Whole) -> None:
            cotangent, result = k.load(of_g, at, width), k.load(of_y, at, width)
            entry = cotangent - _power(result) * total if is_log else result * (cotangent - total)
            k.store(entry, into, at)

        c.along(put)

    return c.run(block)


@lru_cache
def _gated_kernel(width: int, is_gradient: bool) -> Kernel:
    """Into y: a·sigmoid(b) of the halves a and b of x; or into y the gradient of x, from g."""
    c = _ColumnLoops("x g y", width)  # of two rows
    k = c.k
    x, g, y = k["x g y"]
    one, none = c.all(1.0), c.all(0.0)

    def block(n: Whole, i: Whole) -> None:
        start, half = n * c.length * c.inner + i, n * c.inner + i
        first = k.at(x, start)
        a, b = k.load(first, 0, width), k.load(first, c.inner, width)
        decay = exp_of(b * -1.0)
        total = one + decay
        gate = choose("olt", b, c.all(-CLOSED), none, one / total)
        if not is_gradient:
            k.store(a * gate, y, half)
            return
        cotangent, into = k.load(g, half, width), k.at(y, start)
        k.store(cotangent * gate, into)
        rest = decay / total  # 1 - gate, with all its digits
        k.store(cotangent * a * strict("fmul", gate, rest), into, c.inner)

    return c.run(block)


def _sizes(x: Any, axis: int, least: int = 0) -> tuple[int, int, int] | None:
    """(outer, length, inner) of an array along an axis; None where no code fits.

    least: of inner; a register of float32 if it is 0
    """
    if type(x) is not np.ndarray or x.dtype != FLOAT or not x.ndim or not machine.is_available():
        return None
    axis %= x.ndim
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    fits = (
        x.flags.c_contiguous and x.flags.aligned and x.size and inner >= (least or lanes_of(FLOAT))
    )
    return (outer, x.shape[axis], inner) if fits else None


def _width(inner: int) -> int:
    lanes = lanes_of(FLOAT)
    return WIDE * lanes if inner >= WIDE * lanes else lanes


def _softmax(x: Any, axis: int, is_log: bool) -> Array | None:
    sizes = _sizes(x, axis)
    if sizes is None:
        return None
    outer, _, inner = sizes
    y, totals = np.empty_like(x), np.empty((outer, 1, inner) if is_log else 0, FLOAT)
    _softmax_kernel(_width(inner), is_log)(address(x), address(y), address(totals), *sizes)
    if is_log:
        columns = y.reshape(sizes)
        columns -= np.log(totals, out=totals)
    return y


def _softmax_gradient(g: Any, y: Any, axis: int, is_log: bool) -> Array | None:
    sizes = _sizes(y, axis)
    if sizes is None or _sizes(g, axis) != sizes or g.shape != y.shape:
        return None
    dx = np.empty_like(y)
    kernel = _softmax_gradient_kernel(_width(sizes[2]), is_log)
    kernel(address(g), address(y), address(dx), *sizes)
    return dx


def softmax_of_columns(x: Any, axis: int) -> Array | None:
    """eˣ / Σ eˣ along an axis; None where no code fits, as for the last one."""
    return _softmax(x, axis, False)


def log_softmax_of_columns(x: Any, axis: int) -> Array | None:
    """x - log Σ eˣ along an axis; None where no code fits, as for the last one."""
    return _softmax(x, axis, True)


def softmax_gradient_of_columns(g: Any, y: Any, axis: int) -> Array | None:
    """y·(g - Σ g·y) along an axis; None where no code fits."""
    return _softmax_gradient(g, y, axis, False)


def log_softmax_gradient_of_columns(g: Any, y: Any, axis: int) -> Array | None:
    """g - eʸ·Σ g along an axis; None where no code fits."""
    return _softmax_gradient(g, y, axis, True)


def gated(x: Any, axis: int) -> Array | None:
    """a·sigmoid(b) of the halves a and b of x along an axis; None where no code fits."""
    halves = _halves(x, axis)
    if halves is None:
        return None
    sizes, shape = halves
    y = np.empty(shape, FLOAT)
    _gated_kernel(_width(sizes[2]), False)(address(x), 0, address(y), *sizes)
    return y


def gated_gradient(g: Any, x: Any, axis: int) -> Array | None:
    """The gradient of x from that of its gated halves; None where no code fits."""
    halves = _halves(x, axis)
    if halves is None or _sizes(g, axis, 1) is None or g.shape != halves[1]:
        return None
    sizes, dx = halves[0], np.empty_like(x)
    _gated_kernel(_width(sizes[2]), True)(address(x), address(g), address(dx), *sizes)
    return dx


def _halves(x: Any, axis: int) -> tuple[tuple[int, int, int], tuple[int, ...]] | None:
    """(sizes of x as (outer, 2, inner), shape of a half); None where no code fits."""
    if type(x) is not np.ndarray or not x.ndim:
        return None
    axis %= x.ndim
    before, length, behind = x.shape[:axis], x.shape[axis] // 2, x.shape[axis + 1 :]
    sizes = _sizes(x.reshape(*before, 2, length, *behind), axis) if x.flags.c_contiguous else None
    return None if sizes is None else (sizes, (*before, length, *behind))
