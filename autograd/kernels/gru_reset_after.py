"""The gates of PyTorch's GRU by machine code: one product with the state and one pass a step.

The reset gate multiplies a product with the state and not the state itself, as `gru.py` has it; so
all three parts of that product are made at once, forward and reverse.
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
from tapegrad.autograd.kernels.recurrent import all_entries, begun_loops
from tapegrad.autograd.kernels.threads import scratch_arrays
from tapegrad.autograd.kernels.vector_code import KernelCode, Whole, ready
from tapegrad.autograd.kernels.vector_functions import sigmoid_of, tanh_of

__all__ = ["gru", "gru_gradient"]

Array = np.ndarray[Any, Any]


@lru_cache(maxsize=2)
def _step(dtype: np.dtype[Any]) -> Callable[..., None]:
    """r, u = σ of gates + product + bias;  n = tanh of gates + bias + r·(inner = product + shift);
    y = n + u·(old - n).
    """
    k = KernelCode("product bias shift old gates inner y rows size", dtype)
    product, bias, shift, old = k["product bias shift old"]
    gates, inner, y, rows, size = k["gates inner y rows size"]

    def entry(n: Whole, j: Whole, width: int) -> None:
        at, first = n * size + j, n * size * 3 + j
        opened = []
        for number in range(2):
            column, place = size * number + j, first + size * number
            total = k.load(gates, place, width) + k.load(product, place, width)
            opened.append(sigmoid_of(total + k.load(bias, column, width)))
            k.store(opened[-1], gates, place)
        reset, update = opened
        place, column = first + size * 2, size * 2 + j
        left = k.load(product, place, width) + k.load(shift, j, width)
        k.store(left, inner, at)
        total = k.load(gates, place, width) + k.load(bias, column, width)
        new = tanh_of(total.plus_product(reset, left))
        k.store(new, gates, place)
        k.store(new.plus_product(update, k.load(old, at, width) - new), y, at)

    all_entries(k, rows, size, entry)
    return ready(k)


@lru_cache(maxsize=2)
def _step_back(dtype: np.dtype[Any]) -> Callable[..., None]:
    """From g + direct + product: the cotangents of the sums with the input and of those with the
    state, which differ in the third part, and `direct` through u.
    """
    k = KernelCode("g direct product gates inner old sums by_state rows size", dtype)
    g, direct, product, gates = k["g direct product gates"]
    inner, old, sums, by_state, rows, size = k["inner old sums by_state rows size"]

    def entry(n: Whole, j: Whole, width: int) -> None:
        at, first = n * size + j, n * size * 3 + j
        places = [first + size * number for number in range(3)]
        reset, update, new = (k.load(gates, place, width) for place in places)
        by_y = k.load(g, at, width) + k.load(direct, at, width) + k.load(product, at, width)
        one = k.all(1.0, width)
        by_new = by_y * (one - update) * (one - new * new)
        by_update = by_y * (k.load(old, at, width) - new) * update * (one - update)
        by_reset = by_new * k.load(inner, at, width) * reset * (one - reset)
        for value, place in zip((by_reset, by_update, by_new), places, strict=True):
            k.store(value, sums, place)
        for value, place in zip((by_reset, by_update, by_new * reset), places, strict=True):
            k.store(value, by_state, place)
        k.store(by_y * update, direct, at)

    all_entries(k, rows, size, entry)
    return ready(k)


def gru(x: Array, weight: Array, bias: Array, shift: Array, h: Array) -> list[Array]:
    """`ops.gru_reset_after_over_time` by machine code."""
    (steps, samples, _), size, dtype = x.shape, h.shape[1], x.dtype
    x, bias, shift, h = (readable(a, dtype) for a in (x, bias, shift, h))
    gates = np.empty((steps, samples, 3 * size), dtype)
    ys, inner = (np.empty((steps, samples, size), dtype) for _ in range(2))
    product, begun = begun_loops(x, weight, h, gates, ys)
    function, at_bias, at_shift = _step(dtype), address(bias), address(shift)

    def piece(part: slice) -> None:
        count, into = part.stop - part.start, places(ys[:, part])
        loop = begun(part)
        loop.call(
            function, address(product[part]), at_bias, at_shift,
            np.append(address(h[part]), into[:-1]), places(gates[:, part]),
            places(inner[:, part]), into, count, size,
        )  # fmt: skip
        loop.run()

    run_samples(piece, samples, steps * samples * weight.size, dtype)
    return [ys, gates, inner]


def gru_gradient(
    g: Array, results: list[Array], x: Array, weight: Array, h: Array, with_x: bool
) -> list[Array]:
    """The cotangents of the arguments of `ops.gru_reset_after_over_time`, by machine code.

    results: its own;  g: the cotangent of the first;  with_x: whether that of x is wanted, which is
    empty otherwise
    """
    (steps, samples, inputs), size, dtype = x.shape, h.shape[1], x.dtype
    ys, gates, inner = (readable(a, dtype) for a in results)
    x, h, g = (readable(a, dtype) for a in (x, h, g))
    sums, by_state, joined = scratch_arrays(
        dtype, gates.shape, gates.shape, (steps, samples, 1 + inputs + size + 1)
    )
    is_plain = leaves_to_blas(samples * weight.size, steps)
    state_back = RightFactor(weight[inputs:].T, is_plain)
    by_input = RightFactor(weight[:inputs].T, is_plain) if with_x else None
    direct, product = np.zeros(h.shape, dtype), np.zeros(h.shape, dtype)
    by_x = np.empty(x.shape if with_x else 0, dtype)
    function = _step_back(dtype)

    def piece(part: slice) -> None:
        count = part.stop - part.start
        joined[:, part, 0] = 1
        join(joined[:, part, 1:], x[:, part], h[part], ys[:, part])
        loop, back, back_state = Loop(steps), sums[::-1, part], by_state[::-1, part]
        loop.call(
            function, places(g[::-1, part]), address(direct[part]), address(product[part]),
            places(gates[::-1, part]), places(inner[::-1, part]),
            np.append(places(ys[::-1, part])[1:], address(h[part])),
            places(back), places(back_state), count, size,
        )  # fmt: skip
        loop.product(back_state, state_back, product[part])
        if by_input is not None:
            loop.product(back, by_input, by_x[::-1, part])
        loop.run()

    run_samples(piece, samples, steps * samples * weight.size, dtype)
    found = np.empty((1 + len(weight) + 1, 3 * size), dtype)
    transposed_product(joined[..., : 1 + inputs], sums, state_back, found[: 1 + inputs])
    transposed_product(joined[..., 1 + inputs :], by_state, state_back, found[1 + inputs :])
    return [by_x, found[1:-1], found[0], found[-1, 2 * size :], direct + product]
