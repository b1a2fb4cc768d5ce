"""Pages of mapped files: given back to the system once their arrays are copied.

A map that was read counts as memory of the process as much as the copies do; a file of a gigabyte
would need two.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

__all__ = ["give_back"]

_SMALL = 1 << 20


def give_back(view: np.ndarray[Any, Any]) -> None:
    """Let go of the pages under an array that is a view of a mapped file; they come back when read.

    Small arrays and arrays of other memory are left alone.
    """
    if view.nbytes < _SMALL or not view.flags.c_contiguous:
        return
    base: Any = view
    while isinstance(base, np.ndarray):
        base = base.base
    owner = base.obj if isinstance(base, memoryview) else base
    if not isinstance(owner, mmap.mmap) or not hasattr(owner, "madvise"):
        return
    start = _address(view) - _address(np.frombuffer(owner, np.uint8))
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    stop = (start + view.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if stop > first:
        owner.madvise(mmap.MADV_DONTNEED, first, stop - first)


def _address(array: np.ndarray[Any, Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
