"""The gates of an LSTM by machine code: one pass over memory for a step, forward and reverse.

The products with the inputs of several steps are one, and so are those for the cotangents of
weights and inputs; only the products with the state are made step by step, with panels of the
weight that are written once.
Float32 and float64, with the functions of `vector_functions.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.addresses import address, readable
from tapegrad.autograd.kernels.over_time import (
    Loop,
    join,
    places,
    run_samples,
    transposed_product,
)
from tapegrad.autograd.kernels.products import RightFactor, leaves_to_blas
from tapegrad.autograd.kernels.threads import scratch_arrays
from tapegrad.autograd.kernels.vector_code import KernelCode, Whole, ready
from tapegrad.autograd.kernels.vector_functions import sigmoid_of, tanh_of

__all__ = ["ROWS", "all_entries", "begun_loops", "fits", "lstm", "lstm_gradient"]

Array = np.ndarray[Any, Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
ROWS = 64  # of a product that is large enough to run at full speed


def fits(*arrays: Any) -> bool:
    """Whether machine code takes these arrays: all float32 or all float64, not empty."""
    dtype = arrays[0].dtype
    return (
        dtype in FLOATS
        and machine.is_available()
        and all(type(a) is np.ndarray and a.dtype == dtype and a.size for a in arrays)
    )


# Steps --------------------------------------------------------------------------------------------


def all_entries(k: KernelCode, rows: Whole, size: Whole, body: Callable[..., None]) -> None:
    """Run body(row, entry, width) for all entries of rows of `size`."""

    def row(n: Whole) -> None:
        whole = size // k.lanes * k.lanes
        k.loop(whole, lambda j: body(n, j, k.lanes), step=k.lanes)
        k.loop(size, lambda j: body(n, j, 1), start=whole)

    k.loop(rows, row)


@lru_cache(maxsize=2)
def _lstm_step(dtype: np.dtype[Any]) -> Callable[..., None]:
    """gates = σ, σ, σ, tanh of gates + h + bias;  c = f·old + i·n;  y = o·tanh c."""
    k = KernelCode("h bias old gates c y rows size", dtype)
    h, bias, old, gates, c, y, rows, size = k["h bias old gates c y rows size"]

    def entry(n: Whole, j: Whole, width: int) -> None:
        columns = [size * number + j for number in range(4)]
        spots = [n * size * 4 + column for column in columns]
        totals = [
            k.load(gates, spot, width) + k.load(h, spot, width) + k.load(bias, column, width)
            for spot, column in zip(spots, columns, strict=True)
        ]
        i, f, o, new = *map(sigmoid_of, totals[:3]), tanh_of(totals[3])
        at = n * size + j
        cell = (i * new).plus_product(f, k.load(old, at, width))
        result = o * tanh_of(cell)
        for value, spot in zip((i, f, o, new), spots, strict=True):
            k.store(value, gates, spot)
        k.store(cell, c, at)
        k.store(result, y, at)

    all_entries(k, rows, size, entry)
    return ready(k)


@lru_cache(maxsize=4)
def _lstm_step_back(dtype: np.dtype[Any], with_cells: bool) -> Callable[..., None]:
    """From g_y + dy and dc (+ g_c): the cotangents of the four sums, and dc of the step before."""
    k = KernelCode("g_y g_c dy dc gates c old sums rows size", dtype)
    g_y, g_c, dy, dc, gates = k["g_y g_c dy dc gates"]
    c, old, sums, rows, size = k["c old sums rows size"]

    def entry(n: Whole, j: Whole, width: int) -> None:
        at, first = n * size + j, n * size * 4 + j
        spots = [first + size * number for number in range(4)]
        i, f, o, new = (k.load(gates, spot, width) for spot in spots)
        one, tanh = k.all(1.0, width), tanh_of(k.load(c, at, width))
        by_y = k.load(g_y, at, width) + k.load(dy, at, width)
        by_c = k.load(dc, at, width) + by_y * o * (one - tanh * tanh)
        if with_cells:
            by_c = by_c + k.load(g_c, at, width)
        parts = (
            by_c * new * i * (one - i),
            by_c * k.load(old, at, width) * f * (one - f),
            by_y * tanh * o * (one - o),
            by_c * i * (one - new * new),
        )
        for part, spot in zip(parts, spots, strict=True):
            k.store(part, sums, spot)
        k.store(by_c * f, dc, at)

    all_entries(k, rows, size, entry)
    return ready(k)


def begun_loops(
    x: Array, weight: Array, h: Array, gates: Array, ys: Array
) -> tuple[Array, Callable[[slice], Loop]]:
    """(product, f): f(slice of samples) is a loop that begins each step with the products of gates.

    These are gates = x W and product = y V, where [W, V] are the rows of the weight and y is the
    result of the step before, h at first.
    """
    steps, samples, inputs = x.shape
    [product] = scratch_arrays(x.dtype, gates.shape[1:])
    is_plain = leaves_to_blas(samples * weight.size, steps)
    by_input, by_state = (RightFactor(w, is_plain) for w in (weight[:inputs], weight[inputs:]))

    def begun(part: slice) -> Loop:
        loop, several = Loop(steps), max(1, ROWS // (part.stop - part.start))
        loop.product(x[:, part], by_input, gates[:, part], several=several)
        loop.product(ys[:, part], by_state, product[part], first=h[part])
        return loop

    return product, begun


def lstm(x: Array, weight: Array, bias: Array, h: Array, c: Array) -> list[Array]:
    """`ops.lstm_over_time` by machine code."""
    (steps, samples, _), size, dtype = x.shape, h.shape[1], x.dtype
    x, bias, h, c = (readable(a, dtype) for a in (x, bias, h, c))  # panels are made of any weight
    gates = np.empty((steps, samples, 4 * size), dtype)
    ys, cs = (np.empty((steps, samples, size), dtype) for _ in range(2))
    product, begun = begun_loops(x, weight, h, gates, ys)
    function, at_bias = _lstm_step(dtype), address(bias)

    def piece(part: slice) -> None:
        count, cells = part.stop - part.start, places(cs[:, part])
        loop = begun(part)
        loop.call(
            function, address(product[part]), at_bias, np.append(address(c[part]), cells[:-1]),
            places(gates[:, part]), cells, places(ys[:, part]), count, size,
        )  # fmt: skip
        loop.run()

    run_samples(piece, samples, steps * samples * weight.size, dtype)
    return [ys, cs, gates]


def lstm_gradient(
    g_y: Array,
    g_c: Array | None,
    results: list[Array],
    x: Array,
    weight: Array,
    h: Array,
    c: Array,
    with_x: bool,
) -> list[Array]:
    """The cotangents of the arguments of `ops.lstm_over_time`, by machine code.

    results: its own;  g_y, g_c: the cotangents of the first two;  with_x: whether that of x is
    wanted, which is empty otherwise
    """
    (steps, samples, inputs), size, dtype = x.shape, h.shape[1], x.dtype
    ys, cs, gates = (readable(a, dtype) for a in results)
    x, h, c, g_y = (readable(a, dtype) for a in (x, h, c, g_y))
    g_c = None if g_c is None else readable(g_c, dtype)
    sums, joined = scratch_arrays(dtype, gates.shape, (steps, samples, inputs + size + 1))
    is_plain = leaves_to_blas(samples * weight.size, steps)
    by_state = RightFactor(weight[inputs:].T, is_plain)
    by_input = RightFactor(weight[:inputs].T, is_plain) if with_x else None
    dy, dc = np.zeros((samples, size), dtype), np.zeros((samples, size), dtype)
    by_x = np.empty(x.shape if with_x else 0, dtype)
    function = _lstm_step_back(dtype, g_c is not None)

    def piece(part: slice) -> None:
        count = part.stop - part.start
        join(joined[:, part], x[:, part], h[part], ys[:, part])
        loop = Loop(steps)
        cells = places(cs[::-1, part])
        loop.call(
            function, places(g_y[::-1, part]), 0 if g_c is None else places(g_c[::-1, part]),
            address(dy[part]), address(dc[part]), places(gates[::-1, part]), cells,
            np.append(cells[1:], address(c[part])), places(sums[::-1, part]), count, size,
        )  # fmt: skip
        loop.product(sums[::-1, part], by_state, dy[part])
        if by_input is not None:
            loop.product(sums[::-1, part], by_input, by_x[::-1, part])
        loop.run()

    run_samples(piece, samples, steps * samples * weight.size, dtype)
    found = np.empty((len(weight) + 1, 4 * size), dtype)
    transposed_product(joined, sums, by_state, found)
    return [by_x, found[:-1], found[-1], dy, dc]
