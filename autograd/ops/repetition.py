"""Composites that repeat entries: np.repeat and np.tile."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import (
    as_operand,
    device_array,
    normalize_axis,
    value_of,
)
from tapegrad.autograd.ops.indexing import take

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Operand

__all__ = ["repeat", "tile"]


@composite(numpy=np.repeat)
def repeat(x: Operand, repeats: int | Array, axis: int | None = None) -> Tensor:
    """Each entry of x `repeats` times in a row along `axis`; flattened when None.

    repeats: one number, or one for each index along the axis
    """
    x = as_operand(x)
    if axis is None:
        x, axis = s.ravel(x), 0
    axis = normalize_axis(axis, x.ndim)
    if np.ndim(repeats):
        return take(
            x, device_array(np.repeat(np.arange(x.shape[axis]), value_of(repeats)), x), axis
        )
    shape = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
    wide = s.broadcast_to(s.expand_dims(x, axis + 1), shape)
    y = s.reshape(wide, (*x.shape[:axis], x.shape[axis] * repeats, *x.shape[axis + 1 :]))
    return s.with_own_memory(y, x)


@composite(numpy=np.tile)
def tile(x: Operand, reps: int | Sequence[int]) -> Tensor:
    """x laid out `reps` times along each axis."""
    x = as_operand(x)
    times = tuple(map(operator.index, np.atleast_1d(value_of(reps))))
    ndim = max(x.ndim, len(times))
    if set(times) <= {1}:
        return s.copy(s.reshape(x, (1,) * (ndim - x.ndim) + x.shape), "K")
    lengths = (1,) * (ndim - x.ndim) + x.shape
    times = (1,) * (ndim - len(times)) + times
    interleaved = tuple(n for pair in zip((1,) * ndim, lengths, strict=True) for n in pair)
    wide = tuple(n for pair in zip(times, lengths, strict=True) for n in pair)
    y = s.broadcast_to(s.reshape(x, interleaved), wide)
    y = s.reshape(y, tuple(t * n for t, n in zip(times, lengths, strict=True)))
    return s.with_own_memory(y, x)
