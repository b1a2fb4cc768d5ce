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
from tapegrad.autograd.kernels.over_time import (
    Loop,
    join,
    places,
    run_samples,
    transposed_product,
)
from tapegrad.autograd.kernels.products import RightFactor, leaves_to_blas
from tapegrad.autograd.kernels.recurrent import ROWS, all_entries
from tapegrad.autograd.kernels.threads import scratch_arrays
from tapegrad.autograd.kernels.vector_code import KernelCode, Whole, ready
from tapegrad.autograd.kernels.vector_functions import sigmoid_of, tanh_of

__all__ = ["gru", "gru_gradient"]

Array = np.ndarray[Any, Any]


@lru_cache(maxsize=2)
def _opened(dtype: np.dtype[Any]) -> Callable[..., None]:
    """r, u = σ of gates + product + bias, into gates;  left = r·old."""
    k = KernelCode("product bias old gates left rows size", dtype)
    product, bias, old = k["product bias old"]
    gates, left, rows, size = k["gates left rows size"]

    def entry(n: Whole, j: Whole, width: int) -> None:
        for number in range(2):
            column = size * number + j
            at = n * size * 3 + column
            total = k.load(gates, at, width) + k.load(product, n * size * 2 + column, width)
            gate = sigmoid_of(total + k.load(bias, column, width))
            k.store(gate, gates, at)
            if number == 0:
                k.store(gate * k.load(old, n * size + j, width), left, n * size + j)

    all_entries(k, rows, size, entry)
    return ready(k)


@lru_cache(maxsize=2)
def _moved(dtype: np.dtype[Any]) -> Callable[..., None]:
    """n = tanh of gates + product + bias, into gates;  y = n + u·(old - n)."""
    k = KernelCode("product bias old gates y rows size", dtype)
    product, bias, old = k["product bias old"]
    gates, y, rows, size = k["gates y rows size"]

    def entry(n: Whole, j: Whole, width: int) -> None:
        column, at = size * 2 + j, n * size + j
        place = n * size * 3 + column
        total = k.load(gates, place, width) + k.load(product, at, width)
        new = tanh_of(total + k.load(bias, column, width))
        k.store(new, gates, place)
        update = k.load(gates, place - size, width)
        k.store(new.plus_product(update, k.load(old, at, width) - new), y, at)

    all_entries(k, rows, size, entry)
    return ready(k)


@lru_cache(maxsize=2)
def _moved_back(dtype: np.dtype[Any]) -> Callable[..., None]:
    """From g + direct + product: the cotangents of the sums of u and n, and `direct` through u."""
    k = KernelCode("g direct product gates old sums rows size", dtype)
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


@lru_cache(maxsize=2)
def _opened_back(dtype: np.dtype[Any]) -> Callable[..., None]:
    """From the cotangent of r·old: that of the sum of r;  direct += r·that;  left = r·old."""
    k = KernelCode("by_left gates old direct sums left rows size", dtype)
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
    (steps, samples, inputs), size, dtype = x.shape, h.shape[1], x.dtype
    x, bias, h = (readable(a, dtype) for a in (x, bias, h))  # panels are made of any weight
    gates = np.empty((steps, samples, 3 * size), dtype)
    ys = np.empty((steps, samples, size), dtype)
    product, left, second = scratch_arrays(dtype, (samples, 2 * size), h.shape, h.shape)
    is_plain = leaves_to_blas(samples * weight.size, steps)
    by_input, opening, renewing = (
        RightFactor(part, is_plain)
        for part in (weight[:inputs], weight[inputs:, : 2 * size], weight[inputs:, 2 * size :])
    )
    opened, moved, at_bias = _opened(dtype), _moved(dtype), address(bias)

    def piece(part: slice) -> None:
        count = part.stop - part.start
        loop, of_gates, into = Loop(steps), places(gates[:, part]), places(ys[:, part])
        before, at_left = np.append(address(h[part]), into[:-1]), address(left[part])
        loop.product(x[:, part], by_input, gates[:, part], several=max(1, ROWS // count))
        loop.product(ys[:, part], opening, product[part], first=h[part])
        loop.call(
            opened, address(product[part]), at_bias, before, of_gates, at_left, count, size
        )  # fmt: skip
        loop.product(np.broadcast_to(left[part], ys[:, part].shape), renewing, second[part])
        loop.call(moved, address(second[part]), at_bias, before, of_gates, into, count, size)
        loop.run()

    run_samples(piece, samples, steps * samples * weight.size, dtype)
    return [ys, gates]


def gru_gradient(
    g: Array, results: list[Array], x: Array, weight: Array, h: Array, with_x: bool
) -> list[Array]:
    """The cotangents of the arguments of `ops.gru_over_time`, by machine code.

    results: its own;  g: the cotangent of the first;  with_x: whether that of x is wanted, which is
    empty otherwise
    """
    (steps, samples, inputs), size, dtype = x.shape, h.shape[1], x.dtype
    ys, gates, x, h, g = (readable(a, dtype) for a in (*results, x, h, g))
    by_left, sums, lefts, joined = scratch_arrays(
        dtype, h.shape, gates.shape, ys.shape, (steps, samples, inputs + size + 1)
    )
    is_plain = leaves_to_blas(samples * weight.size, steps)
    opening, renewing = (
        RightFactor(part.T, is_plain)
        for part in (weight[inputs:, : 2 * size], weight[inputs:, 2 * size :])
    )
    by_input = RightFactor(weight[:inputs].T, is_plain) if with_x else None
    direct, product = np.zeros(h.shape, dtype), np.zeros(h.shape, dtype)
    by_x = np.empty(x.shape if with_x else 0, dtype)
    moved, opened = _moved_back(dtype), _opened_back(dtype)

    def piece(part: slice) -> None:
        count = part.stop - part.start
        join(joined[:, part], x[:, part], h[part], ys[:, part])
        loop, back = Loop(steps), sums[::-1, part]
        of_gates, into, at_direct = places(gates[::-1, part]), places(back), address(direct[part])
        before = np.append(places(ys[::-1, part])[1:], address(h[part]))
        loop.call(
            moved, places(g[::-1, part]), at_direct, address(product[part]), of_gates, before,
            into, count, size,
        )  # fmt: skip
        loop.product(back[:, :, 2 * size :], renewing, by_left[part])
        loop.call(
            opened, address(by_left[part]), of_gates, before, at_direct, into,
            places(lefts[::-1, part]), count, size,
        )  # fmt: skip
        loop.product(back[:, :, : 2 * size], opening, product[part])
        if by_input is not None:
            loop.product(back, by_input, by_x[::-1, part])
        loop.run()

    run_samples(piece, samples, steps * samples * weight.size, dtype)
    found = np.empty((len(weight) + 1, 3 * size), dtype)
    transposed_product(joined, sums[..., : 2 * size], opening, found[:, : 2 * size])
    joined[..., inputs:-1] = lefts
    transposed_product(joined, sums[..., 2 * size :], opening, found[:, 2 * size :])
    return [by_x, found[:-1], found[-1], direct + product]
