"""The gates of an LSTM by machine code: one pass over memory for a step, forward and reverse.

The products with the inputs of several steps are one, and so are those for the cotangents of
weights and inputs; only the products with the state are made step by step, with panels of the
weight that are written once.
Float32 only, with the functions of `vector_functions.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.addresses import address, readable
from tapegrad.autograd.kernels.products import RightFactor, matmul
from tapegrad.autograd.kernels.threads import scratch_arrays
from tapegrad.autograd.kernels.vector_code import KernelCode, Whole, ready
from tapegrad.autograd.kernels.vector_functions import sigmoid_of, tanh_of

__all__ = ["FLOAT", "ROWS", "all_entries", "fits", "lstm", "lstm_gradient"]

Array = np.ndarray[Any, Any]
FLOAT = np.dtype(np.float32)
ROWS = 64  # of a product that is large enough to run at full speed


def fits(*arrays: Any) -> bool:
    """Whether machine code takes these arrays: float32, not empty."""
    return machine.is_available() and all(
        type(a) is np.ndarray and a.dtype == FLOAT and a.size for a in arrays
    )


# Steps --------------------------------------------------------------------------------------------


def all_entries(k: KernelCode, rows: Whole, size: Whole, body: Callable[..., None]) -> None:
    """Run body(row, entry, width) for all entries of rows of `size`."""

    def row(n: Whole) -> None:
        whole = size // k.lanes * k.lanes
        k.loop(whole, lambda j: body(n, j, k.lanes), step=k.lanes)
        k.loop(size, lambda j: body(n, j, 1), start=whole)

    k.loop(rows, row)


@lru_cache(maxsize=1)
def _lstm_step() -> Callable[..., None]:
    """gates = σ, σ, σ, tanh of x + h + bias;  c = f·old + i·n;  y = o·tanh c."""
    k = KernelCode("x h bias old gates c y rows size", FLOAT)
    x, h, bias, old, gates, c, y, rows, size = k["x h bias old gates c y rows size"]

    def entry(n: Whole, j: Whole, width: int) -> None:
        values = []
        for number in range(4):
            column = size * number + j
            at = n * size * 4 + column
            total = k.load(x, at, width) + k.load(h, at, width) + k.load(bias, column, width)
            values.append(tanh_of(total) if number == 3 else sigmoid_of(total))
            k.store(values[-1], gates, at)
        i, f, o, new = values
        at = n * size + j
        cell = (i * new).plus_product(f, k.load(old, at, width))
        k.store(cell, c, at)
        k.store(o * tanh_of(cell), y, at)

    all_entries(k, rows, size, entry)
    return ready(k)


@lru_cache(maxsize=2)
def _lstm_step_back(with_cells: bool) -> Callable[..., None]:
    """From g_y + dy and dc (+ g_c): the cotangents of the four sums, and dc of the step before."""
    k = KernelCode("g_y g_c dy dc gates c old sums rows size", FLOAT)
    g_y, g_c, dy, dc, gates = k["g_y g_c dy dc gates"]
    c, old, sums, rows, size = k["c old sums rows size"]

    def entry(n: Whole, j: Whole, width: int) -> None:
        at, first = n * size + j, n * size * 4 + j
        places = [first + size * number for number in range(4)]
        i, f, o, new = (k.load(gates, place, width) for place in places)
        one, tanh = k.all(1.0, width), tanh_of(k.load(c, at, width))
        by_y = k.load(g_y, at, width) + k.load(dy, at, width)
        by_c = k.load(dc, at, width) + by_y * o * (one - tanh * tanh)
        if with_cells:
            by_c = by_c + k.load(g_c, at, width)
        k.store(by_c * new * i * (one - i), sums, places[0])
        k.store(by_c * k.load(old, at, width) * f * (one - f), sums, places[1])
        k.store(by_y * tanh * o * (one - o), sums, places[2])
        k.store(by_c * i * (one - new * new), sums, places[3])
        k.store(by_c * f, dc, at)

    all_entries(k, rows, size, entry)
    return ready(k)


def lstm(x: Array, weight: Array, bias: Array, h: Array, c: Array) -> list[Array]:
    """`ops.lstm_over_time` by machine code."""
    steps, samples, inputs = x.shape
    size = h.shape[1]
    x, weight, bias = (readable(a, FLOAT) for a in (x, weight, bias))
    h, c = readable(h, FLOAT), readable(c, FLOAT)
    gates = np.empty((steps, samples, 4 * size), FLOAT)
    ys, cs = (np.empty((steps, samples, size), FLOAT) for _ in range(2))
    several = max(1, ROWS // samples)  # steps whose products with the input are one
    sums, product = scratch_arrays(FLOAT, (several, *gates.shape[1:]), gates.shape[1:])
    by_input, by_state = RightFactor(weight[:inputs]), RightFactor(weight[inputs:])
    run = _lstm_step()
    wide, narrow = product.nbytes, ys[0].nbytes
    at_x, at_gates, at_c, at_y = (address(a) for a in (sums, gates, cs, ys))
    at_product, at_bias, before = address(product), address(bias), address(c)
    for first in range(0, steps, several):
        part = x[first : first + several].reshape(-1, inputs)
        by_input.times(part, sums.reshape(-1, 4 * size)[: len(part)])
        for t in range(first, min(first + several, steps)):
            by_state.times(ys[t - 1] if t else h, product)
            run(
                at_x + (t - first) * wide, at_product, at_bias, before, at_gates + t * wide,
                at_c + t * narrow, at_y + t * narrow, samples, size,
            )  # fmt: skip
            before = at_c + t * narrow
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
    steps, samples, inputs = x.shape
    size = h.shape[1]
    ys, cs, gates = (readable(a, FLOAT) for a in results)
    x, weight, h, c, g_y = (readable(a, FLOAT) for a in (x, weight, h, c, g_y))
    g_c = None if g_c is None else readable(g_c, FLOAT)
    sums, states = scratch_arrays(FLOAT, gates.shape, ys.shape)
    by_state = RightFactor(weight[inputs:].T)
    dy, dc = np.zeros((samples, size), FLOAT), np.zeros((samples, size), FLOAT)
    run = _lstm_step_back(g_c is not None)
    wide, narrow = gates[0].nbytes, ys[0].nbytes
    at_g, at_sums, at_gates, at_c = (address(a) for a in (g_y, sums, gates, cs))
    at_g_c = 0 if g_c is None else address(g_c)
    at_dy, at_dc, at_first = address(dy), address(dc), address(c)
    for t in reversed(range(steps)):
        old = at_first if t == 0 else at_c + (t - 1) * narrow
        run(
            at_g + t * narrow, at_g_c + t * narrow, at_dy, at_dc, at_gates + t * wide,
            at_c + t * narrow, old, at_sums + t * wide, samples, size,
        )  # fmt: skip
        by_state.times(sums[t], dy)
    flat = sums.reshape(steps * samples, 4 * size)
    by_x = matmul(flat, weight[:inputs].T).reshape(x.shape) if with_x else np.empty(0, FLOAT)
    by_weight = np.empty(weight.shape, FLOAT)
    matmul(x.reshape(steps * samples, inputs).T, flat, out=by_weight[:inputs])
    states[0], states[1:] = h, ys[:-1]
    matmul(states.reshape(steps * samples, size).T, flat, out=by_weight[inputs:])
    by_bias = np.dot(np.ones(len(flat), FLOAT), flat)
    return [by_x, by_weight, by_bias, dy, dc]
