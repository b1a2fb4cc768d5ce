"""`plan_buffers` gives every intermediate value a place in one piece of memory, by its last use."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import numpy as np

__all__ = ["ALIGNMENT", "Lifetime", "aligned_bytes", "plan_buffers"]

ALIGNMENT = 64  # bytes of a line of the cache, and of the widest vector register


@dataclass
class Lifetime:
    """The bytes of one value, and the first and last position in the program that needs them."""

    nbytes: int
    first: int
    last: int


def plan_buffers(lifetimes: dict[int, Lifetime]) -> tuple[dict[int, int], int]:
    """(offset of each value, bytes in all); values that live at one time do not overlap.

    A value takes the smallest free piece that holds it and is at most twice as large, else new
    memory.
    """
    offsets: dict[int, int] = {}
    total = 0
    free: list[tuple[int, int]] = []  # (bytes, offset), sorted
    living: list[tuple[int, int, int]] = []  # (last position, bytes, offset), sorted
    for key, life in sorted(lifetimes.items(), key=lambda item: item[1].first):
        while living and living[0][0] < life.first:
            _, size, offset = living.pop(0)
            bisect.insort(free, (size, offset))
        size = -(-max(life.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        at = bisect.bisect_left(free, (size, -1))
        if at < len(free) and free[at][0] <= 2 * size:
            size, offset = free.pop(at)
        else:
            offset = total
            total += size
        offsets[key] = offset
        bisect.insort(living, (life.last, size, offset))
    return offsets, total


def aligned_bytes(nbytes: int) -> np.ndarray:
    """New memory that begins at a multiple of ALIGNMENT."""
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + nbytes]
