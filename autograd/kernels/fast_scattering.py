"""Rows of a matrix that an index names: taken, added to, and cleared, by machine code."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.addresses import address, readable
from tapegrad.autograd.kernels.threads import run_shares
from tapegrad.autograd.kernels.vector_code import KernelCode, Whole, ready

__all__ = ["add_rows", "clear_rows", "take_rows"]

Array = np.ndarray[Any, Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
FEWEST = 64  # entries for which the call is worth its while
MANY = 2**14  # entries to take for which the call is
AHEAD = 4  # rows


@lru_cache(maxsize=2)
def _rows_added(dtype: np.dtype[Any]) -> Callable[..., None]:
    """y[index[n]] += x[n] in some columns, one row after the other; x and y begin at the first.

    A row that comes soon is on its way from memory meanwhile.
    """
    k = KernelCode("x index y rows columns some", dtype)
    x, index, y, rows, columns, some = k["x index y rows columns some"]
    last: Any = rows - 1

    def row(n: Whole) -> None:
        first, into = k.at(x, n * columns), k.at(y, k.load_whole(index, n) * columns)
        soon = k.at(y, k.load_whole(index, (n + AHEAD).minimum(last)) * columns)
        whole = some // k.lanes * k.lanes

        def add(i: Whole, width: int) -> None:
            k.store(k.load(into, i, width) + k.load(first, i, width), into, i)

        def line(i: Whole) -> None:
            k.fetch(soon, i)
            add(i, k.lanes)

        k.loop(whole, line, step=k.lanes)
        k.loop(some, lambda i: add(i, 1), start=whole)

    k.loop(rows, row)
    return ready(k)


@lru_cache(maxsize=2)
def _rows_taken(dtype: np.dtype[Any]) -> Callable[..., None]:
    """y[n] = x[index[n]]."""
    k = KernelCode("x index y rows columns", dtype)
    x, index, y, rows, columns = k["x index y rows columns"]
    last: Any = rows - 1

    def row(n: Whole) -> None:
        source, into = k.at(x, k.load_whole(index, n) * columns), k.at(y, n * columns)
        soon = k.at(x, k.load_whole(index, (n + AHEAD).minimum(last)) * columns)
        whole = columns // k.lanes * k.lanes

        def copy(i: Whole, width: int) -> None:
            k.store(k.load(source, i, width), into, i)

        def line(i: Whole) -> None:
            k.fetch(soon, i)
            copy(i, k.lanes)

        k.loop(whole, line, step=k.lanes)
        k.loop(columns, lambda i: copy(i, 1), start=whole)

    k.loop(rows, row)
    return ready(k)


@lru_cache(maxsize=2)
def _rows_cleared(dtype: np.dtype[Any]) -> Callable[..., None]:
    """y[index[n]] = 0."""
    k = KernelCode("index y rows columns", dtype)
    index, y, rows, columns = k["index y rows columns"]

    def row(n: Whole) -> None:
        into, whole = k.at(y, k.load_whole(index, n) * columns), columns // k.lanes * k.lanes
        k.loop(whole, lambda i: k.store(k.all(0.0, k.lanes), into, i), step=k.lanes)
        k.loop(columns, lambda i: k.store(k.all(0.0, 1), into, i), start=whole)

    k.loop(rows, row)
    return ready(k)


def clear_rows(y: Any, index: Any) -> bool:
    """y[index] = 0 for a matrix and an array of rows; False where no code fits."""
    if type(y) is not np.ndarray or type(index) is not np.ndarray or y.dtype not in FLOATS:
        return False
    if index.dtype != np.int64 or not index.flags.carray or not y.flags.carray or y.ndim != 2:
        return False
    columns = y.shape[1]
    if index.size * columns < MANY or not machine.is_available():
        return False
    if index.view(np.uint64).max() >= len(y):  # as which negative ones are large
        return False
    run = _rows_cleared(y.dtype)

    def share(part: slice) -> None:
        first = address(index) + part.start * index.itemsize
        run(first, address(y), part.stop - part.start, columns)

    run_shares(share, index.size, index.size * columns)
    return True


def _row_numbers(index: Array, rows: int) -> Array | None:
    """An index as kernels read it, from 0 and int64; None where it is out of range."""
    if index.dtype == np.int64 and index.view(np.uint64).max() < rows:  # negative ones are large
        return readable(index, index.dtype)
    low, high = int(index.min()), int(index.max())
    if low < -rows or high >= rows:
        return None
    return readable(index % rows if low < 0 else index, np.dtype(np.int64))


def take_rows(x: Any, index: Any) -> Array | None:
    """x[index] for an array of integers; None where no code fits, or an index is out of range."""
    if type(x) is not np.ndarray or type(index) is not np.ndarray or x.dtype not in FLOATS:
        return None
    if index.dtype.kind not in "iu" or x.ndim < 2 or not index.size or not x.flags.c_contiguous:
        return None
    rows, columns = x.shape[0], math.prod(x.shape[1:])
    if index.size * columns < MANY or not x.flags.aligned or not machine.is_available():
        return None
    found = _row_numbers(index, rows)
    if found is None:
        return None
    index = found
    y = np.empty(index.shape + x.shape[1:], x.dtype)
    run, size = _rows_taken(x.dtype), columns * x.itemsize

    def share(part: slice) -> None:
        run(
            address(x), address(index) + part.start * index.itemsize,
            address(y) + part.start * size, part.stop - part.start, columns,
        )  # fmt: skip

    run_shares(share, index.size, y.size)
    return y


def add_rows(y: Array, index: Any, x: Any) -> bool:
    """y[index] += x for an array of integers, in the index's order; False where no code fits.

    Nothing is written then, nor where an index is out of range.
    """
    if type(y) is not np.ndarray or type(index) is not np.ndarray or type(x) is not np.ndarray:
        return False
    if y.dtype not in FLOATS or x.dtype != y.dtype or index.dtype.kind not in "iu":
        return False
    if x.size < FEWEST or not index.size or not y.flags.carray or not y.ndim:
        return False
    if x.shape != index.shape + y.shape[1:] or not machine.is_available():
        return False
    rows, columns = y.shape[0], math.prod(y.shape[1:])
    found = _row_numbers(index, rows)
    if found is None:
        return False
    index, x = found, readable(x, x.dtype)
    if np.may_share_memory(x, y):
        return False
    run, size = _rows_added(y.dtype), x.itemsize

    def share(part: slice) -> None:
        run(
            address(x) + part.start * size, address(index), address(y) + part.start * size,
            index.size, columns, part.stop - part.start,
        )  # fmt: skip

    run_shares(share, columns, x.size, whole=64 // size)  # a cache line; a row may come twice
    return True
