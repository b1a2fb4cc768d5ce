"""The cross entropy of labels by machine code: each row is read once, and its gradient written."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.vector_code import (
    Floats,
    KernelCode,
    Whole,
    address,
    readable,
    ready,
)
from tapegrad.autograd.kernels.vector_functions import LIMIT, choose, exp_of

__all__ = ["label_losses"]

Array = np.ndarray[Any, Any]
FLOAT = np.dtype(np.float32)


@lru_cache(maxsize=1)
def _rows() -> Callable[..., None]:
    """Softmax of each row into y, less 1 at its label; Σ e^(x - max), and x - max at its label.

    Rows whose label is no class, or that have none, keep their softmax.
    """
    k = KernelCode("x labels y rows classes results nowhere", FLOAT)
    x, labels, y, rows, classes = k["x labels y rows classes"]
    results, nowhere = k["results nowhere"]

    def row(n: Whole) -> None:
        first, into = k.at(x, n * classes), k.at(y, n * classes)
        whole = classes // k.lanes * k.lanes

        def higher(i: Whole, best: Floats) -> list[Floats]:
            value = k.load(first, i, best.width)
            return [value.above(best).choose(value, best)]

        [high] = k.loop(whole, higher, [k.all(-np.inf, k.lanes)], step=k.lanes)
        while high.width > 1:
            half = high.width // 2
            low = high.shuffled(high, range(half))
            rest = high.shuffled(high, range(half, high.width))
            high = low.above(rest).choose(low, rest)
        [high] = k.loop(classes, higher, [high], start=whole)

        def terms(i: Whole, width: int) -> list[Floats]:
            below = k.load(first, i, width) - high.repeated(width)
            power = choose("olt", below, k.all(-LIMIT, width), k.all(0.0, width), exp_of(below))
            k.store(power, into, i)
            return [power]

        [total] = k.sums(classes, terms, 1, registers=1)
        inverse = k.all(1.0, 1) / total
        whole_of = [(k.lanes, 0, whole), (1, whole, classes)]
        for width, start, stop in whole_of:

            def scale(i: Whole, width: int = width) -> None:
                k.store(k.load(into, i, width) * inverse.repeated(width), into, i)

            k.loop(stop, scale, start=start, step=width)
        label = k.load_whole(labels, n)
        place, _ = k.inside(label, classes, k.at(into, label), nowhere)
        k.store(k.load(place, 0, 1) - k.all(1.0, 1), place)
        place, _ = k.inside(label, classes, k.at(first, label), first)
        k.store(total, results, n * 2)
        k.store(k.load(place, 0, 1) - high, results, n * 2 + 1)

    k.loop(rows, row)
    return ready(k)


def label_losses(x: Array, labels: Array) -> tuple[Array, Array] | None:
    """The loss of each row of x (N, C), and its gradient (N, C); None where no code fits.

    labels: int64 (N,); of a row whose label is no class, loss and gradient mean nothing
    """
    fits = type(x) is np.ndarray and x.dtype == FLOAT and x.size and type(labels) is np.ndarray
    if not fits or labels.dtype != np.int64 or not machine.is_available():
        return None
    x, labels = readable(x, FLOAT), readable(labels, labels.dtype)
    y, results = np.empty(x.shape, FLOAT), np.empty((len(x) + 1, 2), FLOAT)
    results[-1] = 0
    _rows()(
        address(x), address(labels), address(y), len(x), x.shape[1], address(results),
        address(results[-1:]),
    )  # fmt: skip
    return np.log(results[:-1, 0]) - results[:-1, 1], y
