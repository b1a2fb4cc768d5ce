"""The likelihood of labels over all their alignments, and its gradient, by machine code.

The recursions over time of `nn/criterions/alignment_likelihood.py`, sample by sample: a row holds
the logarithms of all states at one step, with entries that no alignment reaches around them, so
that the states before and behind are the same row read from another place.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.addresses import address, readable
from tapegrad.autograd.kernels.vector_code import Floats, KernelCode, Whole, lanes_of, ready
from tapegrad.autograd.kernels.vector_functions import (
    choose,
    exp_of,
    larger,
    limit_of,
    log_to_three,
)

__all__ = ["alignments"]

Array = np.ndarray[Any, Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
LEAD = 2  # entries before the first state of a row


def _log_of_sum(*terms: Floats) -> Floats:
    """log Σ exp of up to three numbers, none of them infinite; NaN if one is."""
    high = terms[0]
    for term in terms[1:]:
        high = larger(term, high)
    total = exp_of(terms[0] - high)
    for term in terms[1:]:
        total = total + exp_of(term - high)
    return high + log_to_three(total)


@lru_cache(maxsize=4)
def _recursions(dtype: np.dtype[Any], impossible: float) -> Callable[..., None]:
    """The logarithm of each sample, and its gradient, added to `slopes`.

    states, ends, lengths: int64 (N, W), (N,), (N,);  allowed: (N, row), above 0 where a state can
    follow the one two before it;  rows, all of them impossible: alphas (T + 1, row), the first with
    0 at its first state; emitted (T, row); others (3, row)
    """
    k = KernelCode(
        "x states allowed ends lengths alphas emitted others logs slopes samples classes width row",
        dtype,
    )
    x, states, allowed, ends, lengths = k["x states allowed ends lengths"]
    alphas, emitted, others, logs, slopes = k["alphas emitted others logs slopes"]
    samples, classes, width, row = k["samples classes width row"]
    lanes = k.lanes
    low, zero = k.all(impossible, lanes), k.all(0.0, lanes)
    limit, least = k.all(0.5 * impossible, lanes), k.all(-limit_of(dtype), lanes)
    beta, moved, shares = (k.at(others, row * number + LEAD) for number in range(3))

    def sample(n: Whole) -> None:
        end = k.load_whole(ends, n)
        count, steps = end + 1, k.load_whole(lengths, n)
        own, follows = states + n * width * 8, k.at(allowed, n * row)
        covered = (count + (lanes - 1)) // lanes * lanes

        def place_of(base: Whole, t: Whole) -> Whole:
            return k.at(base, (t * samples + n) * classes)

        def step(t: Whole) -> None:
            source, e = place_of(x, t), k.at(emitted, t * row)
            before, after = k.at(alphas, t * row + LEAD), k.at(alphas, (t + 1) * row + LEAD)

            def gather(i: Whole) -> None:
                k.store(k.load(source, k.load_whole(own, i), 1), e, i)

            k.loop(count, gather)

            def advance(i: Whole) -> None:
                two = choose("ogt", k.load(follows, i), zero, k.load(before, i - 2), low)
                found = _log_of_sum(k.load(before, i), k.load(before, i - 1), two)
                k.store(larger(found + k.load(e, i), low), after, i)

            k.loop(count, advance, step=lanes)

        k.loop(steps, step)
        last = k.at(alphas, steps * row + LEAD)
        total = _log_of_sum(k.load(last, end, 1), k.load(last, end - 1, 1))
        k.store(total, logs, n)

        def none(i: Whole) -> None:
            k.store(low, beta, i)

        k.loop(count, none, step=lanes)
        k.store(low, moved, covered)  # an earlier sample may have more states
        for last_state in (end, end - 1):
            k.store(k.all(0.0, 1), beta, last_state)

        def step_back(number: Whole) -> None:
            t = steps - 1 - number
            e, alpha = k.at(emitted, t * row), k.at(alphas, (t + 1) * row + LEAD)
            into = place_of(slopes, t)

            def share(i: Whole) -> None:
                behind = k.load(beta, i)
                log = k.load(alpha, i) + behind - total.repeated(lanes)
                found = choose("olt", log, least, zero, exp_of(log))
                k.store(choose("olt", behind, limit, zero, found), shares, i)
                earlier = larger(behind + k.load(e, i), low)
                k.store(choose("olt", behind, limit, low, earlier), moved, i)

            def retreat(i: Whole) -> None:
                two = choose("ogt", k.load(follows, i + 2), zero, k.load(moved, i + 2), low)
                k.store(_log_of_sum(k.load(moved, i), k.load(moved, i + 1), two), beta, i)

            def place(i: Whole) -> None:
                state = k.load_whole(own, i)
                k.store(k.load(into, state, 1) + k.load(shares, i, 1), into, state)

            k.loop(count, share, step=lanes)
            k.loop(count, retreat, step=lanes)
            k.loop(count, place)

        k.loop(steps, step_back)

    k.loop(samples, sample)
    return ready(k)


def alignments(
    x: Array, path: Array, lengths: Array | None, impossible: float
) -> tuple[Array, Array] | None:
    """What `alignment_likelihood` returns; `impossible` is its IMPOSSIBLE.

    Returns None if no code fits, and for results that are not finite.
    """
    fits = type(x) is np.ndarray and x.dtype in FLOATS and x.dtype.isnative and x.size > 0
    if not fits or type(path) is not np.ndarray or not machine.is_available():
        return None
    (steps, samples, classes), width, dtype = x.shape, path.shape[1], x.dtype
    counts = np.full(samples, steps) if lengths is None else lengths.reshape(-1)
    if path.max() >= classes or counts.min() < 0 or counts.max() > steps:
        return None  # the kernel looks at none of them
    row = width + lanes_of(dtype) + 2 * LEAD + 2
    x, counted = readable(x, dtype), path >= 0
    states = np.where(counted, path, 0).astype(np.int64, copy=False)
    ends = np.add.reduce(counted, axis=1, dtype=np.int64) - 1
    counts = readable(counts, np.dtype(np.int64))
    allowed = np.zeros((samples, row), dtype)
    allowed[:, 2:width] = path[:, 2:] != path[:, :-2]
    rows = np.full((2 * steps + 4, row), impossible, dtype)
    rows[0, LEAD] = 0
    logs, slopes = np.empty(samples, dtype), np.zeros(x.shape, dtype)
    alphas, emitted, others = rows[: steps + 1], rows[steps + 1 : -3], rows[-3:]
    arrays = (x, states, allowed, ends, counts, alphas, emitted, others, logs, slopes)
    _recursions(dtype, impossible)(*map(address, arrays), samples, classes, width, row)
    if not np.isfinite(logs).all():
        return None
    without = logs < 0.5 * impossible
    if without.any():
        logs[without], slopes[:, without] = impossible, 0
    return logs, slopes
