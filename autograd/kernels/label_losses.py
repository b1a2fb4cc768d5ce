"""The cross entropy of labels by machine code: each row is read once, and its gradient written."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.addresses import address, readable
from tapegrad.autograd.kernels.vector_code import Floats, KernelCode, Whole, ready
from tapegrad.autograd.kernels.vector_functions import LIMIT, choose, exp_of

__all__ = ["halves_joined", "label_losses", "larger"]

Array = np.ndarray[Any, Any]
FLOAT = np.dtype(np.float32)
KEPT = 64  # shapes of scores that a thread remembers
_local = threading.local()


def _parts(k: KernelCode, count: Whole) -> list[tuple[int, Whole | int, Whole]]:
    """(width, start, stop) of the numbers that whole registers, quarters and single ones take."""
    quarter = k.lanes // 4
    whole, most = count // k.lanes * k.lanes, count // quarter * quarter
    return [(k.lanes, 0, whole), (quarter, whole, most), (1, most, count)]


def larger(a: Floats, b: Floats) -> Floats:
    """The larger numbers of two registers; NaN is larger than all."""
    return a.above(b).choose(a, b)


def halves_joined(a: Floats, join: Callable[[Floats, Floats], Floats]) -> Floats:
    """The numbers of a register as one."""
    while a.width > 1:
        half = a.width // 2
        a = join(a.shuffled(a, range(half)), a.shuffled(a, range(half, a.width)))
    return a


@lru_cache(maxsize=1)
def _rows() -> Callable[..., None]:
    """Softmax of each row into y, less 1 at its label, all of it times the number at `share`.

    Into totals: Σ e^(x - max); into gaps: x - max at the label.

    Rows whose label is no class, or that have none, keep their softmax.
    """
    k = KernelCode("x labels y rows classes totals gaps nowhere share", FLOAT)
    x, labels, y, rows, classes = k["x labels y rows classes"]
    totals, gaps, nowhere, share = k["totals gaps nowhere share"]
    factor = k.load(share, 0, 1)

    def row(n: Whole) -> None:
        first, into = k.at(x, n * classes), k.at(y, n * classes)
        parts = _parts(k, classes)

        def higher(i: Whole, best: Floats) -> list[Floats]:
            return [larger(k.load(first, i, best.width), best)]

        high = k.all(-np.inf, 1)
        for width, start, stop in parts:
            [best] = k.loop(stop, higher, [k.all(-np.inf, width)], start=start, step=width)
            high = larger(halves_joined(best, larger), high)

        def terms(i: Whole, total: Floats) -> list[Floats]:
            below = k.load(first, i, total.width) - high.repeated(total.width)
            low, none = k.all(-LIMIT, total.width), k.all(0.0, total.width)
            power = choose("olt", below, low, none, exp_of(below))
            k.store(power, into, i)
            return [total + power]

        total = k.all(0.0, 1)
        for width, start, stop in parts:
            [sums] = k.loop(stop, terms, [k.all(0.0, width)], start=start, step=width)
            total = total + halves_joined(sums, lambda a, b: a + b)

        def scale(number: Floats) -> None:
            for width, start, stop in parts:

                def scale_part(i: Whole, width: int = width) -> None:
                    k.store(k.load(into, i, width) * number.repeated(width), into, i)

                k.loop(stop, scale_part, start=start, step=width)

        scale(k.all(1.0, 1) / total)
        label = k.load_whole(labels, n)
        place, _ = k.inside(label, classes, k.at(into, label), nowhere)
        k.store(k.load(place, 0, 1) - k.all(1.0, 1), place)
        scale(factor)
        place, _ = k.inside(label, classes, k.at(first, label), first)
        k.store(total, totals, n)
        k.store(k.load(place, 0, 1) - high, gaps, n)

    k.loop(rows, row)
    return ready(k)


class _RowsCall:
    """A call of the kernel on scores of one shape: a thread keeps it, and fills in three addresses.

    totals, gaps: what the kernel says of each row
    """

    def __init__(self, count: int, classes: int, share: float) -> None:
        results = np.empty(2 * count + 2, FLOAT)
        results[-2:] = 0, share
        self.totals, self.gaps = results[:count], results[count : 2 * count]
        kernel: Any = _rows()
        self.run, nowhere = kernel.at, address(results) + 8 * count
        self.table = (ctypes.c_int64 * 9)(
            *(0, 0, 0, count, classes), address(self.totals), address(self.gaps), nowhere,
            nowhere + 4,
        )  # fmt: skip


def label_losses(x: Array, labels: Array, share: float = 1) -> tuple[Array, Array] | None:
    """The loss of each row of x (N, C), and share · its gradient (N, C); None if no code fits.

    labels: int64 (N,); of a row whose label is no class, loss and gradient mean nothing
    """
    fits = type(x) is np.ndarray and x.dtype == FLOAT and x.size and type(labels) is np.ndarray
    if not fits or labels.dtype != np.int64 or not machine.is_available():
        return None
    x, labels = readable(x, FLOAT), readable(labels, labels.dtype)
    calls: dict[Any, _RowsCall] = _local.__dict__.setdefault("calls", {})
    key = (x.shape, share)
    call = calls.get(key)
    if call is None:
        if len(calls) >= KEPT:
            calls.clear()
        call = calls[key] = _RowsCall(len(x), x.shape[1], share)
    y, table = np.empty(x.shape, FLOAT), call.table
    table[0], table[1], table[2] = address(x), address(labels), address(y)
    call.run(table)
    losses = np.log(call.totals)
    losses -= call.gaps
    return losses, y
