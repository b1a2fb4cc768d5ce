"""Copies of arrays in mapped files, whose pages are given back to the system at once.

A map that was read counts as memory of the process as much as the copies do; a file of a gigabyte
would need two.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

__all__ = ["copied"]

_PIECE = 1 << 22  # bytes that are copied at once


def copied(view: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy in row-major order and this machine's byte order; where `view` is one of a mapped
    file, the map's pages are let go piece by piece (they come back when they are read again).
    """
    dtype = view.dtype.newbyteorder("=")
    owner = _map_of(view) if view.nbytes > _PIECE and view.flags.c_contiguous else None
    if owner is None:
        return np.array(view, dtype, order="C")
    result = np.empty(view.shape, dtype)
    source, target = view.reshape(-1), result.reshape(-1)
    start = _address(view) - _address(np.frombuffer(owner, np.uint8))
    step = _PIECE // view.dtype.itemsize
    for at in range(0, source.size, step):
        target[at : at + step] = source[at : at + step]
        first = (start + at * view.dtype.itemsize) // mmap.PAGESIZE * mmap.PAGESIZE
        stop = min(start + (at + step) * view.dtype.itemsize, len(owner))
        owner.madvise(mmap.MADV_DONTNEED, first, stop - first)
    return result


def _map_of(view: np.ndarray[Any, Any]) -> mmap.mmap | None:
    """The map that an array is a view of, where its pages can be let go."""
    base: Any = view
    while isinstance(base, np.ndarray):
        base = base.base
    owner = base.obj if isinstance(base, memoryview) else base
    return owner if isinstance(owner, mmap.mmap) and hasattr(owner, "madvise") else None


def _address(array: np.ndarray[Any, Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
