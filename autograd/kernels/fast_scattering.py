"""Rows added to the rows of a matrix that an index names, by machine code."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.addresses import address, readable
from tapegrad.autograd.kernels.vector_code import KernelCode, Whole, ready

__all__ = ["add_rows"]

Array = np.ndarray[Any, Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
FEWEST = 64  # entries for which the call is worth its while


@lru_cache(maxsize=2)
def _rows_added(dtype: np.dtype[Any]) -> Callable[..., None]:
    """y[index[n]] += x[n], one row after the other."""
    k = KernelCode("x index y rows columns", dtype)
    x, index, y, rows, columns = k["x index y rows columns"]

    def row(n: Whole) -> None:
        first, into = k.at(x, n * columns), k.at(y, k.load_whole(index, n) * columns)
        whole = columns // k.lanes * k.lanes

        def add(i: Whole, width: int) -> None:
            k.store(k.load(into, i, width) + k.load(first, i, width), into, i)

        k.loop(whole, lambda i: add(i, k.lanes), step=k.lanes)
        k.loop(columns, lambda i: add(i, 1), start=whole)

    k.loop(rows, row)
    return ready(k)


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
    low, high = int(index.min()), int(index.max())
    if low < -rows or high >= rows:
        return False
    index = readable(index % rows if low < 0 else index, np.dtype(np.int64))
    x = readable(x, x.dtype)
    if np.may_share_memory(x, y):
        return False
    _rows_added(y.dtype)(address(x), address(index), address(y), index.size, columns)
    return True
