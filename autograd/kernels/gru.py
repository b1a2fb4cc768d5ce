"""The gates of a GRU by machine code, as `recurrent.py` has those of an LSTM.

The candidate needs the product with what the reset gate leaves of the state; so a step has two
products and two passes, forward and reverse.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.kernels.addresses import address, readable
from tapegrad.autograd.kernels.products import RightFactor, matmul
from tapegrad.autograd.kernels.recurrent import FLOAT, ROWS, all_entries
from tapegrad.autograd.kernels.threads import scratch_arrays
from tapegrad.autograd.kernels.vector_code import KernelCode, Whole, ready
from tapegrad.autograd.kernels.vector_functions import sigmoid_of, tanh_of

__all__ = ["gru", "gru_gradient"]

Array = np.ndarray[Any, Any]


@lru_cache(maxsize=1)
def _opened() -> Callable[..., None]:
    """r, u = σ of x + product + bias, into gates;  left = r·old."""
    k = KernelCode("x product bias old gates left rows size", FLOAT)
    x, product, bias, old = k["x product bias old"]
    gates, left, rows, size = k["gates left rows size"]

    def entry(n: Whole, j: Whole, width: int) -> None:
        for number in range(2):
            column = size * number + j
            at = n * size * 3 + column
            total = k.load(x, at, width) + k.load(product, n * size * 2 + column, width)
            gate = sigmoid_of(total + k.load(bias, column, width))
            k.store(gate, gates, at)
            if number == 0:
                k.store(gate * k.load(old, n * size + j, width), left, n * size + j)

    all_entries(k, rows, size, entry)
    return ready(k)


@lru_cache(maxsize=1)
def _moved() -> Callable[..., None]:
    """n = tanh of x + product + bias, into gates;  y = n + u·(old - n)."""
    k = KernelCode("x product bias old gates y rows size", FLOAT)
    x, product, bias, old = k["x product bias old"]
    gates, y, rows, size = k["gates y rows size"]

    def entry(n: Whole, j: Whole, width: int) -> None:
        column, at = size * 2 + j, n * size + j
        place = n * size * 3 + column
        total = k.load(x, place, width) + k.load(product, at, width)
        new = tanh_of(total + k.load(bias, column, width))
        k.store(new, gates, place)
        update = k.load(gates, place - size, width)
        k.store(new.plus_product(update, k.load(old, at, width) - new), y, at)

    all_entries(k, rows, size, entry)
    return ready(k)


@lru_cache(maxsize=1)
def _moved_back() -> Callable[..., None]:
    """From g + direct + product: the cotangents of the sums of u and n, and `direct` through u."""
    k = KernelCode("g direct product gates old sums rows size", FLOAT)
    g, direct, product, gates = k["g direct product gates"]
    old, sums, rows, size = k["old sums rows size"]

    def entry(n: Whole, j: Whole, width: int) -> None:
        at, place = n * size + j, n * size * 3 + size + j
        by_y = k.load(g, at, width) + k.load(direct, at, width) + k.load(product, at, width)
        update, new = k.load(gates, place, width), k.load(gates, place + size, width)
        one = k.all(1.0, width)
        by_update = by_y * (k.load(old, at, width) - new) * update * (one - update)
        k.store(by_update, sums, place)
        k.store(by_y * (one - update) * (one - new * new), sums, place + size)
        k.store(by_y * update, direct, at)

    all_entries(k, rows, size, entry)
    return ready(k)


@lru_cache(maxsize=1)
def _opened_back() -> Callable[..., None]:
    """From the cotangent of r·old: that of the sum of r;  direct += r·that;  left = r·old."""
    k = KernelCode("by_left gates old direct sums left rows size", FLOAT)
    by_left, gates, old, direct = k["by_left gates old direct"]
    sums, left, rows, size = k["sums left rows size"]

    def entry(n: Whole, j: Whole, width: int) -> None:
        at, place = n * size + j, n * size * 3 + j
        slope, reset = k.load(by_left, at, width), k.load(gates, place, width)
        before = k.load(old, at, width)
        k.store(slope * before * reset * (k.all(1.0, width) - reset), sums, place)
        k.store(k.load(direct, at, width).plus_product(slope, reset), direct, at)
        k.store(reset * before, left, at)

    all_entries(k, rows, size, entry)
    return ready(k)


def gru(x: Array, weight: Array, bias: Array, h: Array) -> list[Array]:
    """`ops.gru_over_time` by machine code."""
    steps, samples, inputs = x.shape
    size = h.shape[1]
    x, weight, bias, h = (readable(a, FLOAT) for a in (x, weight, bias, h))
    gates = np.empty((steps, samples, 3 * size), FLOAT)
    ys = np.empty((steps, samples, size), FLOAT)
    several = max(1, ROWS // samples)  # steps whose products with the input are one
    sums, product, left, second = scratch_arrays(
        FLOAT, (several, *gates.shape[1:]), (samples, 2 * size), h.shape, h.shape
    )
    by_input, opening, renewing = (
        RightFactor(weight[:inputs]), RightFactor(weight[inputs:, : 2 * size]),
        RightFactor(weight[inputs:, 2 * size :]),
    )  # fmt: skip
    opened, moved = _opened(), _moved()
    wide, narrow = gates[0].nbytes, ys[0].nbytes
    at_x, at_product, at_left, at_second = (address(a) for a in (sums, product, left, second))
    at_gates, at_y, at_bias, before = (address(a) for a in (gates, ys, bias, h))
    for first in range(0, steps, several):
        part = x[first : first + several].reshape(-1, inputs)
        by_input.times(part, sums.reshape(-1, 3 * size)[: len(part)])
        for t in range(first, min(first + several, steps)):
            place = at_x + (t - first) * wide
            opening.times(ys[t - 1] if t else h, product)
            opened(place, at_product, at_bias, before, at_gates + t * wide, at_left, samples, size)
            renewing.times(left, second)
            into = at_y + t * narrow
            moved(place, at_second, at_bias, before, at_gates + t * wide, into, samples, size)
            before = into
    return [ys, gates]


def gru_gradient(
    g: Array, results: list[Array], x: Array, weight: Array, h: Array, with_x: bool
) -> list[Array]:
    """The cotangents of the arguments of `ops.gru_over_time`, by machine code.

    results: its own;  g: the cotangent of the first;  with_x: whether that of x is wanted, which is
    empty otherwise
    """
    steps, samples, inputs = x.shape
    size = h.shape[1]
    ys, gates, x, weight, h, g = (readable(a, FLOAT) for a in (*results, x, weight, h, g))
    by_left, sums, lefts, states = scratch_arrays(FLOAT, h.shape, gates.shape, ys.shape, ys.shape)
    opening = RightFactor(weight[inputs:, : 2 * size].T)
    renewing = RightFactor(weight[inputs:, 2 * size :].T)
    direct, product = np.zeros(h.shape, FLOAT), np.zeros(h.shape, FLOAT)
    moved, opened = _moved_back(), _opened_back()
    wide, narrow = gates[0].nbytes, ys[0].nbytes
    at_g, at_direct, at_product, at_gates = (address(a) for a in (g, direct, product, gates))
    at_sums, at_y, at_h, at_by_left, at_left = (address(a) for a in (sums, ys, h, by_left, lefts))
    for t in reversed(range(steps)):
        old = at_h if t == 0 else at_y + (t - 1) * narrow
        place, into = at_gates + t * wide, at_sums + t * wide
        moved(at_g + t * narrow, at_direct, at_product, place, old, into, samples, size)
        renewing.times(sums[t, :, 2 * size :], by_left)
        opened(at_by_left, place, old, at_direct, into, at_left + t * narrow, samples, size)
        opening.times(sums[t, :, : 2 * size], product)
    flat = sums.reshape(steps * samples, 3 * size)
    by_x = matmul(flat, weight[:inputs].T).reshape(x.shape) if with_x else np.empty(0, FLOAT)
    by_weight = np.empty(weight.shape, FLOAT)
    matmul(x.reshape(steps * samples, inputs).T, flat, out=by_weight[:inputs])
    states[0], states[1:] = h, ys[:-1]
    by_weight[inputs:, : 2 * size] = matmul(states.reshape(-1, size).T, flat[:, : 2 * size])
    by_weight[inputs:, 2 * size :] = matmul(lefts.reshape(-1, size).T, flat[:, 2 * size :])
    return [by_x, by_weight, np.dot(np.ones(len(flat), FLOAT), flat), direct + product]
