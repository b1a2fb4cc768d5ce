"""Gradient descent, with momentum, on flat memory by machine code: the bits of NumPy's operations.

NumPy walks over a block once for each operation; a step of ours reads and writes it once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.kernels.threads import run_pieces
from tapegrad.autograd.kernels.vector_code import Floats, KernelCode, Whole, address, ready

__all__ = ["descend"]

Array = np.ndarray[Any, Any]
PIECE = 1 << 17  # entries for one thread at a time


def _rounded(name: str, a: Floats, b: Floats) -> Floats:
    """A sum, difference or product that is neither reordered nor joined with another."""
    k = a.kernel
    return Floats(k, k.let(f"{name} {k.vector(a.width)} {a.name}, {b.name}"), a.width)


@lru_cache(maxsize=16)
def _step(dtype: np.dtype[Any], decays: bool, moves: bool, nesterov: bool) -> Callable[..., None]:
    """g += x·w;  v = m·v + g;  x -= rate·(g + v·m, v, or g).  numbers: rate, w, m"""
    k = KernelCode("x g v count numbers", dtype)
    x, g, v, count, numbers = k["x g v count numbers"]
    rate, decay, momentum = (k.load(numbers, number, 1) for number in range(3))

    def entry(i: Whole, width: int) -> None:
        old, slope = k.load(x, i, width), k.load(g, i, width)
        if decays:
            slope = _rounded("fadd", slope, _rounded("fmul", old, decay.repeated(width)))
        if moves:
            share = momentum.repeated(width)
            speed = _rounded("fadd", _rounded("fmul", share, k.load(v, i, width)), slope)
            k.store(speed, v, i)
            slope = _rounded("fadd", slope, _rounded("fmul", speed, share)) if nesterov else speed
        step = _rounded("fmul", rate.repeated(width), slope)
        k.store(_rounded("fsub", old, step), x, i)

    wide = 4 * k.lanes
    even, whole = count // wide * wide, count // k.lanes * k.lanes
    k.loop(even, lambda i: entry(i, wide), step=wide)
    k.loop(whole, lambda i: entry(i, k.lanes), start=even, step=k.lanes)
    k.loop(count, lambda i: entry(i, 1), start=whole)
    return ready(k)


def descend(
    x: Array, g: Array, v: Array | None, rate: float, decay: float, momentum: float, nesterov: bool
) -> None:
    """g += x·decay;  v = momentum·v + g;  x -= rate·v, or rate·(g + v·momentum) with nesterov.

    x, g, v: flat arrays of one dtype, float32 or float64, without gaps; without v, x -= rate·g
    """
    run = _step(x.dtype, bool(decay), v is not None, nesterov)
    numbers = np.array([rate, decay, momentum], x.dtype)
    at_x, at_g, at_numbers = address(x), address(g), address(numbers)
    at_v, count, size = 0 if v is None else address(v), x.size, x.itemsize

    def piece(number: int) -> None:
        moved = number * PIECE * size
        left = min(PIECE, count - number * PIECE)
        run(at_x + moved, at_g + moved, at_v + moved, left, at_numbers)

    run_pieces(piece, -(-count // PIECE))
