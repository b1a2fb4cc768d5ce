"""Layers over sequences: convolution, row convolution, subsampling and pooling along time.

A sequence is (time, features), or (N, time, features): time comes before features, unlike in
images.  `unfold` gives the windows of frames an axis of their own; the rest is products and sums.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import drop_added_batch
from tapegrad.nn.module import Module

__all__ = [
    "TemporalConvolution",
    "TemporalDynamicKMaxPooling",
    "TemporalMaxPooling",
    "TemporalRowConvolution",
    "TemporalSubSampling",
]


def _as_sequences(x: Tensor, features: int | None, kW: int, *, batches: bool = True) -> Tensor:
    """Return x as (N, time, features).  Raises ShapeError for other shapes and too few frames."""
    if x.ndim != 2 and not (batches and x.ndim == 3):
        ending = " nor (N, time, features)" if batches else ""
        raise ShapeError(
            f"the input of shape {x.shape} is n{'either' if batches else 'ot'} (time, features)"
            f"{ending}"
        )
    if features is not None and x.shape[-1] != features:
        raise ShapeError(
            f"the input of shape {x.shape} has {x.shape[-1]} features, inputFrameSize is {features}"
        )
    if x.shape[-2] < kW:
        raise ShapeError(f"the input of shape {x.shape} has {x.shape[-2]} frames, kW is {kW}")
    return x if x.ndim == 3 else x.reshape((1, *x.shape))


class _TemporalLayer(Module):
    """A layer over sequences with weight and bias, which start from U(-s, s)."""

    keeps: ClassVar[tuple[str, ...]] = ("weight", "bias")
    promotes = True
    weight: Parameter
    bias: Parameter | None

    def _make_parameters(self, weight: tuple[int, ...], bias: int) -> None:
        dtype = default_dtype()
        self.weight = Parameter(np.empty(weight, dtype))
        self.bias = Parameter(np.empty(bias, dtype))
        self.reset()

    def _fan_in(self) -> int:
        raise NotImplementedError

    def noBias(self) -> Self:
        """Drop the bias."""
        self.bias = None
        return self

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√(entries in a window), or stdv·√3."""
        s = bound(self._fan_in(), stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def _add_bias(self, y: Tensor) -> Tensor:
        return y if self.bias is None else y + self.bias

    def __repr__(self) -> str:
        return torch7_name(self)


class TemporalConvolution(_TemporalLayer):
    """y[t] = weight · (frames t·dW … t·dW + kW - 1 as one vector) + bias.

    x: (T, inputFrameSize) or (N, T, inputFrameSize) -> (N,) ⌊(T - kW) / dW⌋ + 1, outputFrameSize.
    weight (outputFrameSize, kW·inputFrameSize), frame by frame, and bias (outputFrameSize,) start
    from U(-s, s), s = 1/√(kW·inputFrameSize).
    Raises ShapeError for other shapes and fewer than kW frames.  Source: nn.TemporalConvolution.
    """

    keeps = ("inputFrameSize", "outputFrameSize", "kW", "dW")

    def __init__(self, inputFrameSize: int, outputFrameSize: int, kW: int, dW: int = 1) -> None:
        self.inputFrameSize, self.outputFrameSize = inputFrameSize, outputFrameSize
        self.kW, self.dW = kW, dW
        self._make_parameters((outputFrameSize, kW * inputFrameSize), outputFrameSize)

    def _fan_in(self) -> int:
        return self.kW * self.inputFrameSize

    def updateOutput(self, x: Tensor) -> Tensor:
        sequences = _as_sequences(x, self.inputFrameSize, self.kW)
        windows = ops.unfold(sequences, axis=1, size=self.kW, step=self.dW).transpose((0, 1, 3, 2))
        rows = windows.reshape((*windows.shape[:2], self._fan_in()))
        return drop_added_batch(self._add_bias(rows @ self.weight.T), x, "T F")


class TemporalSubSampling(_TemporalLayer):
    """y[t] = weight · Σ (frames t·dW … t·dW + kW - 1) + bias, feature by feature.

    x: (T, inputFrameSize) -> (⌊(T - kW) / dW⌋ + 1, inputFrameSize); no batches, as in Torch7.
    weight and bias (inputFrameSize,) start from U(-s, s), s = 1/√kW.
    Raises ShapeError for other shapes and fewer than kW frames.  Source: nn.TemporalSubSampling.
    """

    keeps = ("inputFrameSize", "kW", "dW")

    def __init__(self, inputFrameSize: int, kW: int, dW: int = 1) -> None:
        self.inputFrameSize, self.kW, self.dW = inputFrameSize, kW, dW
        self._make_parameters((inputFrameSize,), inputFrameSize)

    def _fan_in(self) -> int:
        return self.kW

    def updateOutput(self, x: Tensor) -> Tensor:
        _as_sequences(x, self.inputFrameSize, self.kW, batches=False)
        sums = ops.sum(ops.unfold(x, axis=0, size=self.kW, step=self.dW), axis=-1)
        return self._add_bias(sums * self.weight)


class TemporalRowConvolution(_TemporalLayer):
    """y[t, f] = Σₖ weight[f, 0, k] · x[t·dW + k, f] + bias[f]: each feature by itself.

    x: (T, inputFrameSize) or (N, T, inputFrameSize) -> (N,) ⌊(T - kW) / dW⌋ + 1, inputFrameSize;
    with featFirst the last two axes are exchanged in both.
    weight (inputFrameSize, 1, kW) and bias (inputFrameSize,) or None start from U(-s, s),
    s = 1/√(kW·inputFrameSize).
    Raises ShapeError for other shapes and fewer than kW frames.
    Source: nn.TemporalRowConvolution; D. Amodei et al., "Deep Speech 2", ICML 2016, section 3.5.
    """

    keeps = ("inputFrameSize", "kW", "dW", "featFirst")

    def __init__(self, inputFrameSize: int, kW: int, dW: int = 1, featFirst: bool = False) -> None:
        self.inputFrameSize, self.kW, self.dW = inputFrameSize, kW, dW
        self.featFirst = bool(featFirst)
        self._make_parameters((inputFrameSize, 1, kW), inputFrameSize)

    def _fan_in(self) -> int:
        return self.kW * self.inputFrameSize

    def updateOutput(self, x: Tensor) -> Tensor:
        frames_first = x.swapaxes(-1, -2) if self.featFirst and x.ndim >= 2 else x
        sequences = _as_sequences(frames_first, self.inputFrameSize, self.kW)
        windows = ops.unfold(sequences, axis=1, size=self.kW, step=self.dW)
        kernels = self.weight.reshape((self.inputFrameSize, self.kW))
        y = self._add_bias(ops.einsum("ntfk,fk->ntf", windows, kernels))
        y = y.swapaxes(1, 2) if self.featFirst else y
        return drop_added_batch(y, x, "T F")

    def __repr__(self) -> str:
        text = f"{self.inputFrameSize}, {self.kW}" + (f", {self.dW}" if self.dW != 1 else "")
        ending = "" if self.bias is not None else " without bias"
        return f"{torch7_name(self)}({text}){ending}"


class TemporalMaxPooling(Module):
    """The largest entry of each window of kW frames, dW apart (kW if omitted), feature by feature.

    x: (T, F) or (N, T, F) -> (N,) ⌊(T - kW) / dW⌋ + 1, F.  Of equal entries the first gets the
    gradient.  Raises ShapeError for other shapes and fewer than kW frames.
    Source: nn.TemporalMaxPooling.
    """

    keeps = ("kW", "dW")
    promotes = True

    def __init__(self, kW: int, dW: int | None = None) -> None:
        self.kW, self.dW = kW, kW if dW is None else dW

    def updateOutput(self, x: Tensor) -> Tensor:
        sequences = _as_sequences(x, None, self.kW)
        images = sequences.reshape((len(sequences), 1, *sequences.shape[1:]))
        y = ops.max_pool2d(images, kernel=(self.kW, 1), stride=(self.dW, 1))
        return drop_added_batch(y.reshape((len(sequences), *y.shape[2:])), x, "T F")

    def __repr__(self) -> str:
        return torch7_name(self)


class TemporalDynamicKMaxPooling(Module):
    """The k largest entries of each feature, in their order in time.

    x: (T, F) or (N, T, F) -> (N,) k, F with k = max(minK, ⌈factor·T⌉).  Of equal entries the
    earlier ones are taken.
    Raises ShapeError for other shapes and fewer than k frames.
    Source: nn.TemporalDynamicKMaxPooling; N. Kalchbrenner, E. Grefenstette, P. Blunsom, "A
    Convolutional Neural Network for Modelling Sentences", ACL 2014, section 3.3.
    """

    keeps = ("minK", "factor")
    promotes = True

    def __init__(self, minK: int, factor: float = 0) -> None:
        self.minK, self.factor = minK, factor

    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim not in (2, 3):
            raise ShapeError(
                f"the input of shape {x.shape} is neither (time, features) nor (N, time, features)"
            )
        frames = x.shape[-2]
        k = max(self.minK, math.ceil(self.factor * frames))
        if frames < k:
            raise ShapeError(f"the input of shape {x.shape} has {frames} frames, {k} are taken")
        positions = ops.largest_positions(x, count=k, axis=x.ndim - 2)
        return ops.take_along_axis(x, positions, axis=x.ndim - 2)

    def __repr__(self) -> str:
        return torch7_name(self)
