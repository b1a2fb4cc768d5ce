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
from tapegrad.autograd.kernels.recurrent import FLOAT, ROWS, all_entries
from tapegrad.autograd.kernels.threads import scratch_arrays
from tapegrad.autograd.kernels.vector_code import KernelCode, Whole, ready
from tapegrad.autograd.kernels.vector_functions import sigmoid_of, tanh_of

__all__ = ["gru", "gru_gradient"]

Array = np.ndarray[Any, Any]


@lru_cache(maxsize=1)
def _step() -> Callable[..., None]:
    """r, u = σ of x + product + bias;  n = tanh of x + bias + r·inner, inner = product + shift;
    y = n + u·(old - n).
    """
    k = KernelCode("x product bias shift old gates inner y rows size", FLOAT)
    x, product, bias, shift, old = k["x product bias shift old"]
    gates, inner, y, rows, size = k["gates inner y rows size"]

    def entry(n: Whole, j: Whole, width: int) -> None:
        at, first = n * size + j, n * size * 3 + j
        opened = []
        for number in range(2):
            column, place = size * number + j, first + size * number
            total = k.load(x, place, width) + k.load(product, place, width)
            opened.append(sigmoid_of(total + k.load(bias, column, width)))
            k.store(opened[-1], gates, place)
        reset, update = opened
        place, column = first + size * 2, size * 2 + j
        left = k.load(product, place, width) + k.load(shift, j, width)
        k.store(left, inner, at)
        total = k.load(x, place, width) + k.load(bias, column, width)
        new = tanh_of(total.plus_product(reset, left))
        k.store(new, gates, place)
        k.store(new.plus_product(update, k.load(old, at, width) - new), y, at)

    all_entries(k, rows, size, entry)
    return ready(k)


@lru_cache(maxsize=1)
def _step_back() -> Callable[..., None]:
    """From g + direct + product: the cotangents of the sums with the input and of those with the
    state, which differ in the third part, and `direct` through u.
    """
    k = KernelCode("g direct product gates inner old sums by_state rows size", FLOAT)
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
    steps, samples, inputs = x.shape
    size = h.shape[1]
    x, weight, bias, shift, h = (readable(a, FLOAT) for a in (x, weight, bias, shift, h))
    gates = np.empty((steps, samples, 3 * size), FLOAT)
    ys, inner = (np.empty((steps, samples, size), FLOAT) for _ in range(2))
    several = max(1, ROWS // samples)  # steps whose products with the input are one
    sums, product = scratch_arrays(FLOAT, (several, *gates.shape[1:]), gates.shape[1:])
    by_input, by_state = weight[:inputs], weight[inputs:]
    run = _step()
    wide, narrow = product.nbytes, ys[0].nbytes
    at_x, at_product, at_bias, at_shift = (address(a) for a in (sums, product, bias, shift))
    at_gates, at_inner, at_y, before = (address(a) for a in (gates, inner, ys, h))
    for first in range(0, steps, several):
        part = x[first : first + several].reshape(-1, inputs)
        np.dot(part, by_input, out=sums.reshape(-1, 3 * size)[: len(part)])
        for t in range(first, min(first + several, steps)):
            np.dot(h if t == 0 else ys[t - 1], by_state, out=product)
            into = at_y + t * narrow
            run(
                at_x + (t - first) * wide, at_product, at_bias, at_shift, before,
                at_gates + t * wide, at_inner + t * narrow, into, samples, size,
            )  # fmt: skip
            before = into
    return [ys, gates, inner]


def gru_gradient(
    g: Array, results: list[Array], x: Array, weight: Array, h: Array, with_x: bool
) -> list[Array]:
    """The cotangents of the arguments of `ops.gru_reset_after_over_time`, by machine code.

    results: its own;  g: the cotangent of the first;  with_x: whether that of x is wanted, which is
    empty otherwise
    """
    steps, samples, inputs = x.shape
    size = h.shape[1]
    ys, gates, inner = (readable(a, FLOAT) for a in results)
    x, weight, h, g = (readable(a, FLOAT) for a in (x, weight, h, g))
    back, sums, by_state, states = scratch_arrays(
        FLOAT, weight.T.shape, gates.shape, gates.shape, ys.shape
    )
    back[...] = weight.T  # a transposed operand costs more, many times
    state_back = back[:, inputs:]
    direct, product = np.zeros(h.shape, FLOAT), np.zeros(h.shape, FLOAT)
    run = _step_back()
    wide, narrow = gates[0].nbytes, ys[0].nbytes
    at_g, at_direct, at_product, at_gates = (address(a) for a in (g, direct, product, gates))
    at_inner, at_y, at_sums, at_by = (address(a) for a in (inner, ys, sums, by_state))
    at_first = address(h)
    for t in reversed(range(steps)):
        old = at_first if t == 0 else at_y + (t - 1) * narrow
        run(
            at_g + t * narrow, at_direct, at_product, at_gates + t * wide, at_inner + t * narrow,
            old, at_sums + t * wide, at_by + t * wide, samples, size,
        )  # fmt: skip
        np.dot(by_state[t], state_back, out=product)
    flat, flat_states = (a.reshape(steps * samples, 3 * size) for a in (sums, by_state))
    by_x = np.dot(flat, back[:, :inputs]).reshape(x.shape) if with_x else np.empty(0, FLOAT)
    by_weight = np.empty(weight.shape, FLOAT)
    np.dot(x.reshape(steps * samples, inputs).T, flat, out=by_weight[:inputs])
    states[0], states[1:] = h, ys[:-1]
    np.dot(states.reshape(steps * samples, size).T, flat_states, out=by_weight[inputs:])
    ones = np.ones(len(flat), FLOAT)
    by_shift = np.dot(ones, flat_states[:, 2 * size :])
    return [by_x, by_weight, np.dot(ones, flat), by_shift, direct + product]
