"""Kernels of attention: rows of scores become weights, and weights and slopes those of scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.kernels.vector_code import Floats, KernelCode, Whole, ready
from tapegrad.autograd.kernels.vector_functions import (
    choose,
    exp_of,
    halves_joined,
    larger,
    limit_of,
)

__all__ = ["sloping_kernel", "weighing_kernel"]


def _parts(k: KernelCode, count: Whole) -> list[tuple[int, Whole | int, Whole]]:
    """(width, start, stop) of the numbers that four registers take, one, a quarter, or none."""
    parts: list[tuple[int, Whole | int, Whole]] = []
    start: Whole | int = 0
    for width in (4 * k.lanes, k.lanes, max(k.lanes // 4, 1)):
        stop = count // width * width
        parts.append((width, start, stop))
        start = stop
    return [*parts, (1, start, count)]


def _power(x: Floats) -> Floats:
    """e to the power x ≤ 0, and 0 where that is too small for the dtype; NaN stays NaN."""
    k, width = x.kernel, x.width
    return choose("olt", x, k.all(-limit_of(k.dtype), width), k.all(0.0, width), exp_of(x))


def _each_row(k: KernelCode, body: Callable[[Whole, Whole], None]) -> None:
    """Run body(n, seen) for the rows n of all matrices."""
    count, rows, columns, seen = k["count rows columns seen"]

    def matrix(number: Whole) -> None:
        def row(i: Whole) -> None:
            here = k.zero() - (k.zero() - (seen + i).minimum(columns)).minimum(0)  # not below 0
            body(number * rows + i, here)

        k.loop(rows, row)

    k.loop(count, matrix)


def _whole_registers(k: KernelCode, line: Whole, seen: Whole, columns: Whole) -> Whole:
    """How many scores of a line to read: what is seen, and -inf until a register is full."""
    whole = ((seen + (k.lanes - 1)) // k.lanes * k.lanes).minimum(columns)
    k.loop(whole, lambda i: k.store(k.all(-np.inf, 1), line, i), start=seen)
    return whole


def _fill(line: Whole, start: Whole, stop: Whole, value: Floats) -> None:
    """The numbers from `start` to `stop` of a line become a value."""
    k = value.kernel
    whole = start + (stop - start) // k.lanes * k.lanes
    for width, first, last in ((k.lanes, start, whole), (1, whole, stop)):
        many = value.repeated(width)
        k.loop(last, lambda i, many=many: k.store(many, line, i), start=first, step=width)


@lru_cache(maxsize=2)
def weighing_kernel(dtype: np.dtype[Any]) -> Callable[..., None]:
    """Each row of scores becomes e^(score - high), high the largest of the row and of those before.

    seen:        the first row of each of `count` matrices sees that many columns, the next one
                 more, …; the others become 0
    high, total: of each row, the largest so far and Σ e^(score - high); both are renewed
    share:       what the sums so far are to be multiplied by
    """
    k = KernelCode("scores count rows columns seen high total share", dtype)
    scores, columns, high, total, share = k["scores columns high total share"]

    def row(n: Whole, seen: Whole) -> None:
        line = k.at(scores, n * columns)
        whole = _whole_registers(k, line, seen, columns)
        parts = _parts(k, whole)
        old = k.load(high, n, 1)

        def higher(i: Whole, best: Floats) -> list[Floats]:
            return [larger(k.load(line, i, best.width), best)]

        most = old
        for width, start, stop in parts:
            first = old.repeated(width)
            [best] = k.loop(stop, higher, [first], start=start, step=width)
            most = larger(halves_joined(best, larger), most)

        def terms(i: Whole, found: Floats) -> list[Floats]:
            power = _power(k.load(line, i, found.width) - most.repeated(found.width))
            k.store(power, line, i)
            return [found + power]

        factor = _power(old - most)
        sums = k.load(total, n, 1) * factor
        for width, start, stop in parts:
            [found] = k.loop(stop, terms, [k.all(0.0, width)], start=start, step=width)
            sums = sums + halves_joined(found, lambda a, b: a + b)
        k.store(most, high, n)
        k.store(sums, total, n)
        k.store(factor, share, n)
        _fill(line, whole, columns, k.all(0.0, 1))

    _each_row(k, row)
    return ready(k)


@lru_cache(maxsize=4)
def sloping_kernel(dtype: np.dtype[Any], whole: bool) -> Callable[..., None]:
    """Scores become weights w = e^(score - high) · inverse, slopes w · (slope - mean).

    seen:                as of `weighing_kernel`; what is not seen has no weight and no slope
    high, inverse, mean: of each row
    whole:               whether rows are whole: then the mean is Σ w · slope, whatever is given
    """
    k = KernelCode("scores slopes count rows columns seen high inverse mean", dtype)
    scores, slopes, columns = k["scores slopes columns"]
    high, inverse, mean = k["high inverse mean"]

    def row(n: Whole, seen: Whole) -> None:
        line, other = k.at(scores, n * columns), k.at(slopes, n * columns)
        most, factor = k.load(high, n, 1), k.load(inverse, n, 1)
        stop = _whole_registers(k, line, seen, columns)
        parts = _parts(k, stop)

        def weight_at(i: Whole, width: int) -> Floats:
            weight = _power(k.load(line, i, width) - most.repeated(width)) * factor.repeated(width)
            k.store(weight, line, i)
            return weight

        def terms(i: Whole, found: Floats) -> list[Floats]:
            return [found + weight_at(i, found.width) * k.load(other, i, found.width)]

        middle = k.all(0.0, 1) if whole else k.load(mean, n, 1)
        for width, start, end in parts if whole else ():
            [found] = k.loop(end, terms, [k.all(0.0, width)], start=start, step=width)
            middle = middle + halves_joined(found, lambda a, b: a + b)
        for width, start, end in parts:

            def slope(i: Whole, width: int = width) -> None:
                weight = k.load(line, i, width) if whole else weight_at(i, width)
                k.store(weight * (k.load(other, i, width) - middle.repeated(width)), other, i)

            k.loop(end, slope, start=start, step=width)
        _fill(line, stop, columns, k.all(0.0, 1) * factor)  # NaN in a row without a sum
        _fill(other, seen, columns, k.all(0.0, 1))

    _each_row(k, row)
    return ready(k)
