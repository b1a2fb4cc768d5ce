"""Products of small integers, which quantized layers are made of; they have no derivative."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops import linalg as la
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.elementwise import cast

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["int8_product"]

# As many products of int8 numbers have a sum that float32 holds exactly: 1040 · 127² < 2²⁴.
EXACT = 1040

# The compiled loop reads int8 weights once, which is faster where memory is what takes the time:
# for up to so many rows, and from so many weights on.
MOST_ROWS = 4
LEAST_WEIGHTS = 16_384


@primitive(differentiable=False)
def int8_product(xp: Namespace, x: Array, w: Array) -> Array:
    """x wᵀ of integers from -127 to 127, exactly: (…, K) and (O, K) int8 -> (…, O) int32.

    Raises ShapeError for other shapes and dtypes.
    """
    if x.dtype != np.int8 or w.dtype != np.int8 or w.ndim != 2 or x.shape[-1:] != w.shape[-1:]:
        raise ShapeError(
            f"int8_product takes int8 arrays (…, K) and (O, K), not {x.dtype} {x.shape} and "
            f"{w.dtype} {w.shape}"
        )
    total = xp.zeros((*x.shape[:-1], w.shape[0]), np.int32)
    for start in range(0, x.shape[-1], EXACT):
        part = slice(start, start + EXACT)
        product = x[..., part].astype(np.float32) @ w[:, part].astype(np.float32).T
        total += product.astype(np.int32)
    return total


@int8_product.batch
def _int8_product_batch(x: Array, w: Array, batched: tuple[bool, ...]) -> Array:
    if not batched[1]:
        return int8_product(x, w)
    # Sums of float64 are exact as well.
    wide, turned = cast(x, dtype=np.float64), s.swapaxes(cast(w, dtype=np.float64), -1, -2)
    if batched[0] and x.ndim > 2:
        turned = s.reshape(turned, (turned.shape[0], *(1,) * (x.ndim - 3), *turned.shape[1:]))
    elif batched[0]:
        return cast(la.matmul(s.expand_dims(wide, 1), turned)[:, 0], dtype=np.int32)
    return cast(la.matmul(wide, turned), dtype=np.int32)


@functools.cache
def _loop() -> Any:
    from numba import int32, njit

    @njit(nogil=True, cache=True, error_model="numpy")
    def loop(x, w, total):
        for o in range(w.shape[0]):
            for n in range(x.shape[0]):
                sum_ = int32(0)
                for k in range(x.shape[1]):
                    sum_ += int32(x[n, k]) * int32(w[o, k])
                total[n, o] = sum_

    return loop


@int8_product.on("numba")
def _int8_product_compiled(xp: Namespace, x: Array, w: Array) -> Array:
    """Run the compiled loop for a few rows of many weights, else the plain body."""
    rows = math.prod(x.shape[:-1])
    fits = x.dtype == w.dtype == np.int8 and w.ndim == 2 and x.shape[-1:] == w.shape[-1:]
    if not fits or not 0 < rows <= MOST_ROWS or w.size < LEAST_WEIGHTS:
        return int8_product.primitive.body(xp, x, w)
    total = np.empty((rows, w.shape[0]), np.int32)
    matrix = np.ascontiguousarray(x.reshape(rows, x.shape[-1]))
    _loop()(matrix, np.ascontiguousarray(w), total)
    return total.reshape((*x.shape[:-1], w.shape[0]))
