"""Pooling to a fixed number of bins, for inputs of any size.

Bins differ in size and may overlap.  Maxima are therefore looked up in lists of positions, so that
their derivative is that of a lookup; means are products with one matrix for each axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import batch_of, drop_added_batch
from tapegrad.nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool3d",
    "SpatialAdaptiveAveragePooling",
    "SpatialAdaptiveMaxPooling",
]


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


@lru_cache(maxsize=256)
def _equal_bins(length: int, count: int) -> int:
    """Return the length of the bins, if they are equal and do not overlap, else 0."""
    starts, ends = adaptive_bins(length, count)
    size = length // count
    equal = size * count == length and bool(np.all(ends - starts == size))
    return size if equal and bool(np.all(starts == np.arange(count) * size)) else 0


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

    def _windows(self, batch: Tensor) -> tuple[int, int] | None:
        """The windows of ordinary pooling that the bins are, or None: it runs faster."""
        if batch.dtype not in (np.float32, np.float64):
            return None
        height, width = batch.shape[2:]
        window = _equal_bins(height, self.H), _equal_bins(width, self.W)
        return window if min(window) else None

    def __repr__(self) -> str:
        return torch7_name(self)


class _AdaptiveOfAxes(Module):
    """Pooling to `output_size` bins along each axis behind the channels."""

    keeps = ("output_size",)
    promotes = True
    axes: ClassVar[str]

    def __init__(self, output_size: int | Sequence[int]) -> None:
        count = len(self.axes.split()) - 1
        sizes = (output_size,) * count if isinstance(output_size, int) else tuple(output_size)
        if len(sizes) != count or min(sizes) < 1:
            raise ValueError(
                f"{type(self).__name__}: output_size is {output_size}, it must be a size of at "
                f"least 1, or {count} of them"
            )
        self.output_size = sizes

    def updateOutput(self, x: Tensor) -> Tensor:
        batch = batch_of(x, self.axes)
        if min(batch.shape[2:]) < 1:
            raise ShapeError(f"the samples of the input of shape {x.shape} are empty")
        return drop_added_batch(self._pool(batch), x, self.axes)

    def _pool(self, batch: Tensor) -> Tensor:
        """Return the pooled batch: (N, C, …) -> (N, C, *output_size)."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({'x'.join(map(str, self.output_size))})"


def exact_bins(length: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where each of `count` bins over `length` entries begins, and where it ends."""
    i = np.arange(count)
    return i * length // count, -((-(i + 1) * length) // count)


class AdaptiveMaxPool1d(_AdaptiveOfAxes):
    """The largest entry of each of output_size bins, which cover the axis and may overlap.

    x: (C, L) or (N, C, L) -> (N,) C, output_size.  Bin i begins at ⌊i·L / output_size⌋ and ends
    before ⌈(i + 1)·L / output_size⌉.  Of equal entries the first gets the gradient.
    Raises ShapeError for other shapes, ValueError for another output_size.
    """

    axes = "C L"

    def _pool(self, batch: Tensor) -> Tensor:
        taps = []
        for length, count in zip(batch.shape[2:], self.output_size, strict=True):
            starts, ends = exact_bins(length, count)
            tap = starts[:, None] + np.arange(np.max(ends - starts))
            tap = np.minimum(tap, ends[:, None] - 1)  # the last entry again changes no maximum
            taps.append(Tensor(tap[None, None], device=batch.device))
        return max_over_windows(batch, taps)


class AdaptiveMaxPool3d(AdaptiveMaxPool1d):
    """The largest entry of each of output_size bins, a number or three: (T, H, W).

    x: (C, T, H, W) or (N, C, T, H, W) -> (N,) C, *output_size; bins as in AdaptiveMaxPool1d.
    Raises as it does.
    """

    axes = "C T H W"


class AdaptiveAvgPool1d(_AdaptiveOfAxes):
    """The mean of each of output_size bins, which cover the axis and may overlap.

    x: (C, L) or (N, C, L) -> (N,) C, output_size; bins as in AdaptiveMaxPool1d.
    Raises as it does.
    """

    axes = "C L"

    def _pool(self, batch: Tensor) -> Tensor:
        for axis, count in enumerate(self.output_size, 2):
            length = batch.shape[axis]
            starts, ends = exact_bins(length, count)
            entries = np.arange(length)
            inside = (entries >= starts[:, None]) & (entries < ends[:, None])
            means = inside / (ends - starts)[:, None]
            matrix = Tensor(means.T, dtype=batch.dtype, device=batch.device)
            batch = ops.moveaxis(ops.moveaxis(batch, axis, -1) @ matrix, -1, axis)
        return batch


class AdaptiveAvgPool3d(AdaptiveAvgPool1d):
    """The mean of each of output_size bins, a number or three: (T, H, W).

    x: (C, T, H, W) or (N, C, T, H, W) -> (N,) C, *output_size; bins as in AdaptiveMaxPool1d.
    Raises as it does.
    """

    axes = "C T H W"


class SpatialAdaptiveMaxPooling(_AdaptivePooling):
    """The largest entry of each of H x W bins, which cover the image and may overlap.

    x: (C, H', W') or (N, C, H', W') -> (N,) C, H, W.  Bin i begins at ⌊i·H' / H⌋ and ends before
    ⌈(i + 1)·H' / H⌉.  Of equal entries the first in row order gets the gradient.
    Raises ShapeError for other shapes.  Source: nn.SpatialAdaptiveMaxPooling.
    """

    def _pool(self, batch: Tensor) -> Tensor:
        if window := self._windows(batch):
            return ops.max_pool2d(batch, kernel=window)
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
        if window := self._windows(batch):
            return ops.avg_pool2d(batch, kernel=window)
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
