"""Pooling to a fixed number of bins, for inputs of any size.

Bins differ in size and may overlap.  Maxima are therefore looked up in lists of positions, so that
their derivative is that of a lookup; means are products with one matrix for each axis.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import batch_of, drop_added_batch
from tapegrad.nn.module import Module

__all__ = ["SpatialAdaptiveAveragePooling", "SpatialAdaptiveMaxPooling"]


def max_over_windows(x: Tensor, taps: list[Tensor]) -> Tensor:
    """Return the largest entry of each window, for windows that are lists of positions.

    x:    (N, C, …)
    taps: for each axis behind the channels the positions along it that each window has, integers
          (N or 1, C or 1, windows, entries)
    -> (N, C, …windows).  Of equal entries the first gets the gradient.
    """
    sides = len(taps)
    positions: Any = 0
    for axis, (tap, length) in enumerate(zip(taps, x.shape[2:], strict=True)):
        shape = [*tap.shape[:2], *([1] * (2 * sides))]
        shape[2 + axis], shape[2 + sides + axis] = tap.shape[2:]
        positions = positions * length + tap.reshape(tuple(shape))
    windows = tuple(tap.shape[2] for tap in taps)
    entries = math.prod(tap.shape[3] for tap in taps)
    planes = x.shape[:2]
    flat = (math.prod(windows), entries)
    positions = positions.reshape((*positions.shape[:2], *flat))
    positions = ops.broadcast_to(positions, (*planes, *flat))
    plane = x.reshape((*planes, 1, math.prod(x.shape[2:])))
    values = ops.max_pool2d_gather(plane.detach(), positions)
    best = ops.argmax(values, axis=-1, keepdims=True)
    y = ops.max_pool2d_gather(plane, ops.take_along_axis(positions, best, axis=-1))
    return y.reshape((*planes, *windows))


@lru_cache(maxsize=256)
def adaptive_bins(length: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where each of `count` bins over `length` entries begins, and where it ends.

    These are ⌊i·length / count⌋ and ⌈(i + 1)·length / count⌉, in single precision as in Torch7.
    """
    i = np.arange(count, dtype=np.float32)
    step = np.float32(length)
    starts = np.floor(i / np.float32(count) * step)
    ends = np.ceil((i + np.float32(1)) / np.float32(count) * step)
    return starts.astype(np.int64), np.minimum(ends, step).astype(np.int64)


class _AdaptivePooling(Module):
    """Pooling to H x W bins, for images of any size."""

    keeps = ("W", "H")
    promotes = True

    def __init__(self, W: int, H: int) -> None:
        if min(W, H) < 1:
            raise ValueError(f"{type(self).__name__}: W and H must be at least 1, found {W}, {H}")
        self.W, self.H = W, H

    def updateOutput(self, x: Tensor) -> Tensor:
        batch = batch_of(x, "C H W")
        if min(batch.shape[2:]) < 1:
            raise ShapeError(f"the images of the input of shape {x.shape} are empty")
        return drop_added_batch(self._pool(batch), x, "C H W")

    def _pool(self, batch: Tensor) -> Tensor:
        """Return the pooled batch: (N, C, H', W') -> (N, C, H, W)."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return torch7_name(self)


class SpatialAdaptiveMaxPooling(_AdaptivePooling):
    """The largest entry of each of H x W bins, which cover the image and may overlap.

    x: (C, H', W') or (N, C, H', W') -> (N,) C, H, W.  Bin i begins at ⌊i·H' / H⌋ and ends before
    ⌈(i + 1)·H' / H⌉.  Of equal entries the first in row order gets the gradient.
    Raises ShapeError for other shapes.  Source: nn.SpatialAdaptiveMaxPooling.
    """

    def _pool(self, batch: Tensor) -> Tensor:
        taps = []
        for length, count in zip(batch.shape[2:], (self.H, self.W), strict=True):
            starts, ends = adaptive_bins(length, count)
            # Shorter bins repeat their last entry, which changes no maximum.
            tap = starts[:, None] + np.arange(np.max(ends - starts))
            tap = np.minimum(tap, ends[:, None] - 1)
            taps.append(Tensor(tap[None, None], device=batch.device))
        return max_over_windows(batch, taps)


class SpatialAdaptiveAveragePooling(_AdaptivePooling):
    """The mean of each of H x W bins, which cover the image and may overlap.

    x: (C, H', W') or (N, C, H', W') -> (N,) C, H, W; bins as in SpatialAdaptiveMaxPooling.
    Raises ShapeError for other shapes.  Source: nn.SpatialAdaptiveAveragePooling.
    """

    def _pool(self, batch: Tensor) -> Tensor:
        rows, columns = (
            Tensor(_averaging_matrix(length, count), dtype=batch.dtype, device=batch.device)
            for length, count in zip(batch.shape[2:], (self.H, self.W), strict=True)
        )
        return rows @ (batch @ columns.T)


@lru_cache(maxsize=256)
def _averaging_matrix(length: int, count: int) -> np.ndarray:
    """Return the matrix (count, length) that takes the mean of each bin."""
    starts, ends = adaptive_bins(length, count)
    entries = np.arange(length)
    inside = (entries >= starts[:, None]) & (entries < ends[:, None])
    return inside / (ends - starts)[:, None]
