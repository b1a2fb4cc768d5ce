"""Pooling to a given number of bins, whatever the size of the input.

Bins differ in size and may overlap, so the largest entries are looked up by lists of positions,
which gives them the derivative of a lookup; means are products with one matrix for each axis.
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


def max_at(x: Any, taps: list[Any]) -> Any:
    """The largest entry of each window; windows are given by the positions that they hold.

    x:    (N, C, …sides)
    taps: for each side integers (N or 1, C or 1, windows, entries): which positions along it
    -> (N, C, …windows).  Of equal entries the first gets the gradient.
    """
    sides = len(taps)
    places: Any = 0
    for axis, (tap, length) in enumerate(zip(taps, x.shape[2:], strict=True)):
        shape = [*tap.shape[:2], *([1] * (2 * sides))]
        shape[2 + axis], shape[2 + sides + axis] = tap.shape[2:]
        places = places * length + tap.reshape(tuple(shape))
    windows = tuple(tap.shape[2] for tap in taps)
    entries = math.prod(tap.shape[3] for tap in taps)
    planes = x.shape[:2]
    flat = (math.prod(windows), entries)
    places = places.reshape((*places.shape[:2], *flat))
    places = ops.broadcast_to(places, (*planes, *flat))
    plane = x.reshape((*planes, 1, math.prod(x.shape[2:])))
    values = ops.max_pool2d_gather(plane.detach(), places)
    best = ops.argmax(values, axis=-1, keepdims=True)
    y = ops.max_pool2d_gather(plane, ops.take_along_axis(places, best, axis=-1))
    return y.reshape((*planes, *windows))


@lru_cache(maxsize=256)
def adaptive_bins(length: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of `count` bins over `length` entries begins, and where it ends.

    ⌊i·length / count⌋ and ⌈(i + 1)·length / count⌉, in single precision as in Torch7.
    """
    i = np.arange(count, dtype=np.float32)
    step = np.float32(length)
    starts = np.floor(i / np.float32(count) * step)
    ends = np.ceil((i + np.float32(1)) / np.float32(count) * step)
    return starts.astype(np.int64), np.minimum(ends, step).astype(np.int64)


class _Adaptive(Module):
    """Pooling to H x W places, whatever the size of the image."""

    keeps = ("W", "H")

    def __init__(self, W: int, H: int) -> None:
        if min(W, H) < 1:
            raise ValueError(f"{type(self).__name__}: W and H must be at least 1, found {W}, {H}")
        self.W, self.H = W, H

    def updateOutput(self, x: Any) -> Any:
        batch = batch_of(x, "C H W")
        if min(batch.shape[2:]) < 1:
            raise ShapeError(f"the images of the input of shape {x.shape} are empty")
        return drop_added_batch(self.pooled(batch), x, "C H W")

    def pooled(self, batch: Any) -> Any:
        """(N, C, H', W') -> (N, C, H, W)."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return torch7_name(self)


class SpatialAdaptiveMaxPooling(_Adaptive):
    """The largest entry of each of H x W bins, which cover the image and may overlap.

    x: (C, H', W') or (N, C, H', W') -> (N,) C, H, W.  Bin i begins at ⌊i·H' / H⌋ and ends before
    ⌈(i + 1)·H' / H⌉.  Of equal entries the first in row order gets the gradient.
    Raises ShapeError for other shapes.  Source: nn.SpatialAdaptiveMaxPooling.
    """

    def pooled(self, batch: Any) -> Any:
        taps = []
        for length, count in zip(batch.shape[2:], (self.H, self.W), strict=True):
            starts, ends = adaptive_bins(length, count)
            # Shorter bins name their last entry again, which changes no maximum.
            tap = starts[:, None] + np.arange(np.max(ends - starts))
            tap = np.minimum(tap, ends[:, None] - 1)
            taps.append(Tensor(tap[None, None], device=batch.device))
        return max_at(batch, taps)


class SpatialAdaptiveAveragePooling(_Adaptive):
    """The mean of each of H x W bins, which cover the image and may overlap.

    x: (C, H', W') or (N, C, H', W') -> (N,) C, H, W; bins as in SpatialAdaptiveMaxPooling.
    Raises ShapeError for other shapes.  Source: nn.SpatialAdaptiveAveragePooling.
    """

    def pooled(self, batch: Any) -> Any:
        rows, columns = (
            Tensor(_averages(length, count), dtype=batch.dtype, device=batch.device)
            for length, count in zip(batch.shape[2:], (self.H, self.W), strict=True)
        )
        return rows @ (batch @ columns.T)


@lru_cache(maxsize=256)
def _averages(length: int, count: int) -> np.ndarray:
    """(count, length): the matrix that takes the mean of each bin."""
    starts, ends = adaptive_bins(length, count)
    at = np.arange(length)
    inside = (at >= starts[:, None]) & (at < ends[:, None])
    return inside / (ends - starts)[:, None]
