"""Max pooling over windows at random positions, whose output's length need not divide the input's.

The windows are lists of positions, as in adaptive pooling.  Each call draws the positions and keeps
them, so that `fixPoolingRegions()` can use them again.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.trace import as_tensors
from tapegrad.nn.core.windows import Lengths, batch_of, cross_text, drop_added_batch
from tapegrad.nn.layers.pooling.adaptive import max_over_windows
from tapegrad.nn.module import Module

__all__ = ["SpatialFractionalMaxPooling", "VolumetricFractionalMaxPooling"]


class _FractionalPooling(Lengths, Module):
    """Max pooling over windows at random positions with nearly equal distances."""

    keeps: ClassVar[tuple[str, ...]] = ("newRandomPool", "randomSamples")
    promotes = True

    def _check_settings(self, pools: tuple[int, ...], targets: tuple[float, ...]) -> bool:
        """Whether `targets` are lengths, not ratios; no windows are kept from here on.

        Raises ValueError for windows that are too small and for targets that are neither.
        """
        name = type(self).__name__
        if min(pools) < 2:
            raise ValueError(
                f"{name}: windows hold at least 2 entries along each axis, got {pools}"
            )
        exact = min(targets) >= 1
        if not exact and not all(0 < target < 1 for target in targets):
            raise ValueError(
                f"{name}: give sizes of the output (at least 1) or ratios between 0 and 1, for "
                f"all axes, found {targets}"
            )
        self.newRandomPool = False
        self.randomSamples: Tensor | None = None
        return exact

    def fixPoolingRegions(self, val: bool = True) -> Self:
        """Keep the windows of the last call from now on; with False, draw them at each call."""
        self.newRandomPool = val
        return self

    def _targets(self, sides: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output's lengths.  Raises ShapeError when the windows do not fit."""
        exact = self.along("out")
        lengths = tuple(
            math.floor(n * ratio) if out is None else int(out)
            for n, ratio, out in zip(sides, self.along("ratio"), exact, strict=True)
        )
        for n, length, pool in zip(sides, lengths, self.along("poolSize"), strict=True):
            if length < 1 or length + pool - 1 > n:
                raise ShapeError(
                    f"an axis of {n} entries holds no {length} windows of {pool} entries that "
                    f"begin at different positions ({cross_text(sides)} to {cross_text(lengths)})"
                )
        return lengths

    def _samples(self, batch: Tensor) -> Tensor:
        """Return one draw of U[0, 1) for each plane and axis, in Torch7's order of axes."""
        shape = (*batch.shape[:2], len(self.order))
        kept = self.randomSamples
        if self.newRandomPool and kept is not None and kept.shape == shape:
            kept = self.randomSamples = kept.to(batch.device)
        else:
            stream = self.random_stream(batch)
            # In double precision for every dtype, so that equal seeds give equal windows.
            double = np.dtype(np.float64)
            kept = as_tensors(ops.uniform(generator=stream, shape=shape, dtype=double))
            if type(kept) is Tensor:  # inside vmap these are the draws of one sample: not kept
                self.randomSamples = kept
        return kept

    def updateOutput(self, x: Tensor) -> Tensor:
        batch = batch_of(x, self.axes)
        lengths = self._targets(tuple(batch.shape[2:]))
        samples = self._samples(batch)
        taps = []
        for letter, n, length, pool in zip(
            self.axes.split()[1:], batch.shape[2:], lengths, self.along("poolSize"), strict=True
        ):
            column = self.order.index(letter)
            starts = _window_starts(samples[:, :, column : column + 1], n, length, pool)
            entries = Tensor(np.arange(pool), device=batch.device)
            taps.append(starts.reshape((*starts.shape, 1)) + entries)
        return drop_added_batch(max_over_windows(batch, taps), x, self.axes)

    def clearState(self) -> Self:
        """Forget outputs, gradients of inputs, and windows that are not fixed."""
        if not self.newRandomPool:
            self.randomSamples = None
        return super().clearState()

    def __repr__(self) -> str:
        target = "out" if getattr(self, f"out{self.order[0]}") is not None else "ratio"
        sizes = f"{self.lengths_text(target, 'x')}, {self.lengths_text('poolSize')}"
        return f"{torch7_name(self)}({sizes})"


def _window_starts(sample: Tensor, length: int, count: int, pool: int) -> Tensor:
    """Return where `count` windows begin: draws u of U[0, 1), (N, C, 1) -> int64 (N, C, count).

    Window i begins at ⌊(i + u)·α⌋ - ⌊u·α⌋, α = (length - pool) / (count - 1); the last window ends
    where the axis does.
    """
    room = length - pool
    last = Tensor(np.full((*sample.shape[:2], 1), room), device=sample.device)
    if count == 1:
        return last
    step = room / (count - 1)
    i = Tensor(np.arange(count - 1), dtype=sample.dtype, device=sample.device)
    starts = ops.floor((sample + i) * step) - ops.floor(sample * step)
    return ops.concatenate([starts.astype(np.int64), last], axis=2)


class SpatialFractionalMaxPooling(_FractionalPooling):
    """The largest entry of each window poolSizeW x poolSizeH; each call draws new positions.

    arg1, arg2: width and height of the output, or the ratios (0 … 1) of them to the input's
    x: (C, H, W) or (N, C, H, W) -> the same with that height and width.  Along an axis of n entries
    window i begins at ⌊(i + u)·α⌋ - ⌊u·α⌋ with α = (n - pool) / (out - 1) and u from U[0, 1), drawn
    for each plane; the last one ends where the axis does.  `randomSamples` (N, C, 2) holds the last
    u's, width first; `fixPoolingRegions()` keeps them.
    Raises ValueError for sizes that are neither lengths nor ratios, ShapeError for inputs that are
    too small.  Source: nn.SpatialFractionalMaxPooling; B. Graham, "Fractional Max-Pooling",
    arXiv:1412.6071.
    """

    keeps = ("poolSizeW", "poolSizeH", "outW", "outH", "ratioW", "ratioH")
    outW: float | None
    outH: float | None
    ratioW: float | None
    ratioH: float | None

    def __init__(self, poolSizeW: int, poolSizeH: int, arg1: float, arg2: float) -> None:
        exact = self._check_settings((poolSizeW, poolSizeH), (arg1, arg2))
        self.poolSizeW, self.poolSizeH = poolSizeW, poolSizeH
        self.outW, self.outH = (arg1, arg2) if exact else (None, None)
        self.ratioW, self.ratioH = (None, None) if exact else (arg1, arg2)


class VolumetricFractionalMaxPooling(_FractionalPooling):
    """SpatialFractionalMaxPooling over three axes, the last of which is time.

    x: (C, H, W, T) or (N, C, H, W, T), time last, unlike in the other volumetric layers: so it is
    in Torch7.  Arguments come in the order time, width, height; `randomSamples` is (N, C, 3) in
    that order.  Everything else as in SpatialFractionalMaxPooling.  Source:
    nn.VolumetricFractionalMaxPooling.
    """

    keeps = (
        "poolSizeT",
        "poolSizeW",
        "poolSizeH",
        "outT",
        "outW",
        "outH",
        "ratioT",
        "ratioW",
        "ratioH",
    )
    order = "TWH"
    axes = "C H W T"
    outT: float | None
    outW: float | None
    outH: float | None
    ratioT: float | None
    ratioW: float | None
    ratioH: float | None

    def __init__(
        self,
        poolSizeT: int,
        poolSizeW: int,
        poolSizeH: int,
        arg1: float,
        arg2: float,
        arg3: float,
    ) -> None:
        targets, nothing = (arg1, arg2, arg3), (None, None, None)
        exact = self._check_settings((poolSizeT, poolSizeW, poolSizeH), targets)
        self.poolSizeT, self.poolSizeW, self.poolSizeH = poolSizeT, poolSizeW, poolSizeH
        self.outT, self.outW, self.outH = targets if exact else nothing
        self.ratioT, self.ratioW, self.ratioH = nothing if exact else targets
