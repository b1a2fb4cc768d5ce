"""Gradient descent and Adam on flat memory by machine code: the bits of NumPy's operations.

NumPy walks over a block once for each operation; a step of ours reads and writes it once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.kernels.addresses import address, readable
from tapegrad.autograd.kernels.threads import run_pieces, run_shares
from tapegrad.autograd.kernels.vector_code import Floats, KernelCode, Whole, ready

if TYPE_CHECKING:
    from tapegrad.autograd.core.zeros import UncleanPart

__all__ = ["adapt", "descend", "descend_parts", "prepared_adaptation", "prepared_descent"]

Array = np.ndarray[Any, Any]
AHEAD = 4  # rows
PIECE = 1 << 17  # entries for one thread at a time


def _rounded(name: str, a: Floats, b: Floats) -> Floats:
    """A sum, difference or product that is neither reordered nor joined with another."""
    k = a.kernel
    return Floats(k, k.let(f"{name} {k.vector(a.width)} {a.name}, {b.name}"), a.width)


@lru_cache(maxsize=16)
def _step(dtype: np.dtype[Any], decays: bool, moves: bool, nesterov: bool) -> Callable[..., None]:
    """g += x·w;  v = m·v + g;  x -= rate·(g + v·m, v, or g).  numbers: rate, w, m"""
    k = KernelCode("x g v count numbers", dtype)
    x, g, v, count, numbers = k["x g v count numbers"]
    rate, decay, momentum = (k.load(numbers, number, 1) for number in range(3))

    def entry(i: Whole, width: int) -> None:
        old, slope = k.load(x, i, width), k.load(g, i, width)
        if decays:
            slope = _rounded("fadd", slope, _rounded("fmul", old, decay.repeated(width)))
        if moves:
            share = momentum.repeated(width)
            speed = _rounded("fadd", _rounded("fmul", share, k.load(v, i, width)), slope)
            k.store(speed, v, i)
            slope = _rounded("fadd", slope, _rounded("fmul", speed, share)) if nesterov else speed
        step = _rounded("fmul", rate.repeated(width), slope)
        k.store(_rounded("fsub", old, step), x, i)

    _for_all(k, count, entry)
    return ready(k)


def _for_all(k: KernelCode, count: Whole, entry: Callable[[Whole, int], None]) -> None:
    """Run entry(i, width) so that each of `count` entries takes part once."""
    wide = 4 * k.lanes
    even, whole = count // wide * wide, count // k.lanes * k.lanes
    k.loop(even, lambda i: entry(i, wide), step=wide)
    k.loop(whole, lambda i: entry(i, k.lanes), start=even, step=k.lanes)
    k.loop(count, lambda i: entry(i, 1), start=whole)


@lru_cache(maxsize=8)
def _adaptive_step(dtype: np.dtype[Any], decays: bool, shrinks: bool) -> Callable[..., None]:
    """Adam's step; numbers: β₁, 1 - β₁, β₂, 1 - β₂, step, ε, weight decay, what is kept of x"""
    k = KernelCode("x g m v count numbers", dtype)
    x, g, m, v, count, numbers = k["x g m v count numbers"]
    given = [k.load(numbers, number, 1) for number in range(8)]

    def entry(i: Whole, width: int) -> None:
        b1, a1, b2, a2, step, small, decay, kept = (one.repeated(width) for one in given)
        old, slope = k.load(x, i, width), k.load(g, i, width)
        if decays:
            slope = _rounded("fadd", slope, _rounded("fmul", old, decay))
        if shrinks:
            old = _rounded("fmul", old, kept)
        mean = _rounded("fmul", k.load(m, i, width), b1)
        mean = _rounded("fadd", mean, _rounded("fmul", slope, a1))
        square = _rounded("fmul", k.load(v, i, width), b2)
        square = _rounded("fadd", square, _rounded("fmul", _rounded("fmul", slope, slope), a2))
        k.store(mean, m, i)
        k.store(square, v, i)
        way = _rounded("fdiv", mean, _rounded("fadd", square.sqrt(), small))
        k.store(_rounded("fsub", old, _rounded("fmul", way, step)), x, i)

    _for_all(k, count, entry)
    return ready(k)


def adapt(
    x: Array, g: Array, m: Array, v: Array, numbers: Array, decays: bool, shrinks: bool
) -> None:
    """g += decay·x;  x = kept·x;  m = β₁m + (1 - β₁)g;  v = β₂v + (1 - β₂)g²;  x -= step·m/(√v + ε)

    x, g, m, v: flat arrays of one dtype, float32 or float64, without gaps; g is not written
    numbers: β₁, 1 - β₁, β₂, 1 - β₂, step, ε, decay, kept, of that dtype
    decays, shrinks: whether the first and the second of these operations take place
    """
    run = _adaptive_step(x.dtype, decays, shrinks)
    places = [address(array) for array in (x, g, m, v)]
    at_numbers, count, size = address(numbers), x.size, x.itemsize

    def piece(number: int) -> None:
        moved = number * PIECE * size
        left = min(PIECE, count - number * PIECE)
        run(*[place + moved for place in places], left, at_numbers)

    run_pieces(piece, -(-count // PIECE))


def prepared_adaptation(
    x: Array,
    g: Array,
    m: Array,
    v: Array,
    coefficients: Callable[[], Sequence[Any]],
    decays: bool,
    shrinks: bool,
) -> Callable[[], None] | None:
    """`adapt` on these arrays, with the numbers that `coefficients` returns when it is called.

    None for arrays so large that the call is not what takes time.
    """
    if x.size > PIECE:
        return None
    run: Any = _adaptive_step(x.dtype, decays, shrinks)
    numbers = np.empty(8, x.dtype)
    call = run.fixed(*map(address, (x, g, m, v)), x.size, address(numbers))

    def adaptation(_held: Any = (x, g, m, v)) -> None:
        numbers[:] = coefficients()
        call()

    return adaptation


def descend(
    x: Array, g: Array, v: Array | None, rate: float, decay: float, momentum: float, nesterov: bool
) -> None:
    """g += x·decay;  v = momentum·v + g;  x -= rate·v, or rate·(g + v·momentum) with nesterov.

    x, g, v: flat arrays of one dtype, float32 or float64, without gaps; without v, x -= rate·g
    """
    run = _step(x.dtype, bool(decay), v is not None, nesterov)
    numbers = np.array([rate, decay, momentum], x.dtype)
    at_x, at_g, at_numbers = address(x), address(g), address(numbers)
    at_v, count, size = 0 if v is None else address(v), x.size, x.itemsize

    def piece(number: int) -> None:
        moved = number * PIECE * size
        left = min(PIECE, count - number * PIECE)
        run(at_x + moved, at_g + moved, at_v + moved, left, at_numbers)

    run_pieces(piece, -(-count // PIECE))


def prepared_descent(
    x: Array, g: Array, v: Array | None, rate: Any, decay: float, momentum: float, nesterov: bool
) -> Callable[[], None] | None:
    """`descend` on these arrays, with the rate that is in a 0-d array when it is called.

    None for arrays so large that the call is not what takes time.
    """
    if x.size > PIECE:
        return None
    run: Any = _step(x.dtype, bool(decay), v is not None, nesterov)
    numbers = np.array([0, decay, momentum], x.dtype)
    call = run.fixed(
        address(x), address(g), 0 if v is None else address(v), x.size, address(numbers)
    )

    def descent(_held: Any = (x, g, v)) -> None:
        numbers[0] = rate
        call()

    return descent


@lru_cache(maxsize=2)
def _rows_step(dtype: np.dtype[Any]) -> Callable[..., None]:
    """x[r] -= rate·g[r] for the rows r that an index names, each once."""
    k = KernelCode("x g index rows columns rate", dtype)
    x, g, index, rows, columns, rate = k["x g index rows columns rate"]
    factor = k.load(rate, 0, 1)
    last: Any = rows - 1

    def row(n: Whole) -> None:
        at = k.load_whole(index, n) * columns
        into, source = k.at(x, at), k.at(g, at)
        later = k.load_whole(index, (n + AHEAD).minimum(last)) * columns
        soon = k.at(x, later), k.at(g, later)
        whole = columns // k.lanes * k.lanes

        def entry(i: Whole, width: int) -> None:
            step = _rounded("fmul", factor.repeated(width), k.load(source, i, width))
            k.store(_rounded("fsub", k.load(into, i, width), step), into, i)

        def line(i: Whole) -> None:
            for base in soon:  # on their way from memory meanwhile
                k.fetch(base, i)
            entry(i, k.lanes)

        k.loop(whole, line, step=k.lanes)
        k.loop(columns, lambda i: entry(i, 1), start=whole)

    k.loop(rows, row)
    return ready(k)


def descend_parts(x: Array, g: Array, parts: Sequence[UncleanPart], rate: float) -> None:
    """x -= rate·g in some parts of these flat arrays, as `descend` does in all."""
    for part in parts:
        if part.rows is None:
            whole = slice(part.begin, part.stop)
            descend(x[whole], g[whole], None, rate, 0.0, 0.0, nesterov=False)
            continue
        _descend_rows(part.of(x), part.of(g), readable(part.rows, np.dtype(np.int64)), rate)


def _descend_rows(x: Array, g: Array, index: Array, rate: float) -> None:
    number, run, columns = np.array([rate], x.dtype), _rows_step(x.dtype), x.shape[1]

    def share(part: slice) -> None:
        run(
            address(x), address(g), address(index) + part.start * index.itemsize,
            part.stop - part.start, columns, address(number),
        )  # fmt: skip

    run_shares(share, index.size, index.size * columns)
