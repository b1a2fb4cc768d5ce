"""Losses of class labels by machine code, which checks the labels as it goes.

Of the cross entropy each row is read once, and its gradient written.
"""

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
from tapegrad.autograd.kernels.vector_functions import (
    LIMIT,
    choose,
    exp_of,
    halves_joined,
    larger,
)

__all__ = ["label_losses", "picked", "placed"]

Array = np.ndarray[Any, Any]
FLOAT = np.dtype(np.float32)
FLOATS = (FLOAT, np.dtype(np.float64))
KEPT = 64  # shapes of scores that a thread remembers
_local = threading.local()


def _parts(k: KernelCode, count: Whole) -> list[tuple[int, Whole | int, Whole]]:
    """(width, start, stop) of the numbers that whole registers, quarters and single ones take."""
    quarter = k.lanes // 4
    whole, most = count // k.lanes * k.lanes, count // quarter * quarter
    return [(k.lanes, 0, whole), (quarter, whole, most), (1, most, count)]


@lru_cache(maxsize=1)
def _rows() -> Callable[..., None]:
    """Softmax of each row into y, less 1 at its label, all of it times the number at `share`.

    Into totals: Σ e^(x - max); into gaps: x - max at the label.

    Rows whose label is no class, or that have none, keep their softmax, and are counted.
    """
    k = KernelCode("x labels y rows classes totals gaps nowhere share outside", FLOAT)
    x, labels, y, rows, classes = k["x labels y rows classes"]
    totals, gaps, nowhere, share = k["totals gaps nowhere share"]
    factor = k.load(share, 0, 1)

    def row(n: Whole, wrong: Whole) -> list[Whole]:
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
        place, is_wrong = k.inside(label, classes, k.at(into, label), nowhere)
        k.store(k.load(place, 0, 1) - k.all(1.0, 1), place)
        scale(factor)
        place, _ = k.inside(label, classes, k.at(first, label), first)
        k.store(total, totals, n)
        k.store(k.load(place, 0, 1) - high, gaps, n)
        return [wrong + is_wrong]

    [wrong] = k.loop(rows, row, [k.zero()])
    k.store_whole(wrong, k["outside"])
    return ready(k)


class _RowsCall:
    """A call of the kernel on scores of one shape: a thread keeps it, and fills in three addresses.

    totals, gaps: what the kernel says of each row;  outside: how many labels are no class, in the
    last entry
    """

    def __init__(self, count: int, classes: int, share: float) -> None:
        results = np.empty(2 * count + 2, FLOAT)
        results[-2:] = 0, share
        self.totals, self.gaps = results[:count], results[count : 2 * count]
        kernel: Any = _rows()
        self.run, nowhere = kernel.at, address(results) + 8 * count
        self.table = (ctypes.c_int64 * 11)(
            *(0, 0, 0, count, classes), address(self.totals), address(self.gaps), nowhere,
            nowhere + 4,
        )  # fmt: skip
        self.table[9] = ctypes.addressof(self.table) + 80  # the last entry itself


def label_losses(x: Array, labels: Array, share: float = 1) -> tuple[Array, Array, int] | None:
    """The loss of each row of x (N, C), share · its gradient (N, C), and how many labels are wrong.

    labels: int64 (N,); of a row whose label is no class, loss and gradient mean nothing
    Returns None if no code fits.
    """
    fits = type(x) is np.ndarray and x.dtype == FLOAT and x.size and type(labels) is np.ndarray
    if not fits or labels.dtype != np.int64 or not machine.is_available():
        return None
    x, labels = readable(x, FLOAT), readable(labels, labels.dtype)
    try:
        calls: dict[Any, _RowsCall] = _local.calls
    except AttributeError:
        calls = _local.calls = {}
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
    return losses, y, table[10]


# Picking and placing ------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _at_labels(dtype: np.dtype[Any], placing: bool) -> Callable[..., None]:
    """values[n, p] = x[n, t, p] with t = labels[n, p], or the reverse; wrong labels are counted.

    outside: where the count is stored, and behind it what is picked for a wrong label
    """
    k = KernelCode("x labels values samples classes points outside nowhere", dtype)
    x, labels, values, samples = k["x labels values samples"]
    classes, points, outside, nowhere = k["classes points outside nowhere"]

    def sample(n: Whole, wrong: Whole) -> list[Whole]:
        first, own = k.at(x, n * classes * points), n * points

        def point(p: Whole, wrong: Whole) -> list[Whole]:
            label = k.load_whole(labels, own + p)
            place, is_wrong = k.inside(label, classes, k.at(first, label * points + p), nowhere)
            if placing:
                k.store(k.load(values, own + p, 1), place)
            else:
                k.store(k.load(place, 0, 1), values, own + p)
            return [wrong + is_wrong]

        found: list[Whole] = k.loop(points, point, [wrong])
        return found

    [wrong] = k.loop(samples, sample, [k.zero()])
    k.store_whole(wrong, outside)
    return ready(k)


def _run_at_labels(x: Array, labels: Array, values: Array, placing: bool) -> int:
    """Run the kernel, and return how many labels are no class."""
    results = (ctypes.c_int64 * 2)()
    outside = ctypes.addressof(results)
    samples, classes = x.shape[:2]
    points = labels.size // samples
    _at_labels(x.dtype, placing)(
        address(x), address(labels), address(values), samples, classes, points, outside, outside + 8
    )
    return results[0]


def _fits(x: Array, labels: Array) -> bool:
    floats = type(x) is np.ndarray and x.dtype in FLOATS and x.dtype.isnative and x.size > 0
    whole = type(labels) is np.ndarray and labels.dtype == np.int64 and labels.size > 0
    return floats and whole and machine.is_available()


def picked(x: Array, labels: Array) -> tuple[Array, int] | None:
    """x[n, t, …] with t = labels[n, …], and how many labels are no class, for which it has 0.

    x: (N, C, …);  labels: (N, …), int64.  Returns None if no code fits.
    """
    if not _fits(x, labels):
        return None
    values = np.empty(labels.shape, x.dtype)
    x, labels = readable(x, x.dtype), readable(labels, labels.dtype)
    return values, _run_at_labels(x, labels, values, placing=False)


def placed(values: Array, labels: Array, classes: int) -> Array | None:
    """Zeros (N, classes, …) with y[n, t, …] = values[n, …] with t = labels[n, …], if that is one.

    labels: (N, …), int64.  Returns None if no code fits.
    """
    if not classes or not _fits(values, labels):
        return None
    y = np.zeros((values.shape[0], classes, *values.shape[1:]), values.dtype)
    values, labels = readable(values, values.dtype), readable(labels, labels.dtype)
    _run_at_labels(y, labels, values, placing=True)
    return y
