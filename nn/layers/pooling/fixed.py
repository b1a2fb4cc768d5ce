"""Pooling over windows of one size: one number for each window of a feature map or a film.

The primitives compute the windows and check their sizes.  The layers take the sizes in Torch7's
order (time, width, height), and accept single samples.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self, cast

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.transient import transient_state_of, transient_value
from tapegrad.nn.core.windows import (
    Lengths,
    batch_of,
    channels_first,
    channels_last,
    checked_format,
    drop_added_batch,
    pad_same,
)
from tapegrad.nn.module import Module

__all__ = [
    "SpatialAveragePooling",
    "SpatialDilatedMaxPooling",
    "SpatialMaxPooling",
    "SpatialSubSampling",
    "VolumetricAveragePooling",
    "VolumetricDilatedMaxPooling",
    "VolumetricMaxPooling",
]


class _Pooling(Lengths, Module):
    """What these layers have in common: sizes, single samples, errors, text."""

    promotes = True
    format = "NCHW"  # BigDL's option, of some classes

    def _set_format(self, format: str) -> None:
        """Set `format`, unless it is the usual one.  Raises ValueError for one that is none."""
        if checked_format(format) != "NCHW":
            self.format = format

    def _is_same(self) -> bool:
        """Whether the padding is -1: as much as gives ⌈side / stride⌉ windows."""
        return min(self.along("pad")) == -1

    def _pool(self, batch: Tensor) -> Tensor:
        """Return the primitive's result on a batch (N, C, …)."""
        raise NotImplementedError

    def updateOutput(self, x: Tensor) -> Tensor:
        x = channels_first(x, self.format)
        y = drop_added_batch(self._pool(batch_of(x, self.axes)), x, self.axes)
        return channels_last(y, self.format)

    def __repr__(self) -> str:
        text = f"{self.lengths_text('k', 'x')}, {self.lengths_text('d')}"
        if hasattr(self, "padW") and any(self.along("pad")):
            text += f", {self.lengths_text('pad')}"
        if hasattr(self, "dilationW"):
            text += f", {self.lengths_text('dilation')}"
        return f"{torch7_name(self)}({text})"


class _RoundedPooling(_Pooling):
    """Pooling whose number of windows is rounded down, or up."""

    keeps: ClassVar[tuple[str, ...]] = ("ceil_mode",)
    ceil_mode = False

    def ceil(self) -> Self:
        """Round the number of windows up: the last window may reach beyond the padded input."""
        self.ceil_mode = True
        return self

    def floor(self) -> Self:
        """Round the number of windows down, the default."""
        self.ceil_mode = False
        return self

    def _windows(self) -> dict[str, Any]:
        names = ("kernel", "k"), ("stride", "d"), ("padding", "pad")
        settings: dict[str, Any] = {name: self.along(letter) for name, letter in names}
        if hasattr(self, "dilationW"):
            settings["dilation"] = self.along("dilation")
        return settings | {"ceil_mode": self.ceil_mode}


class _MaxPooling(_RoundedPooling):
    """Max pooling that can remember the positions of the maxima for an unpooling layer.

    Once an unpooling layer refers to it, every call, also `module(x)`, keeps the positions until
    the next call or `clearState`: the unpooling layer is another module, which cannot get them from
    the result.  Otherwise `module(x)` keeps nothing, as for every module.
    """

    keeps: ClassVar[tuple[str, ...]] = ("_remembers",)
    _remembers = False

    def remember_picks(self) -> None:
        """Keep the positions of the maxima of every further call, for an unpooling layer."""
        self._remembers = True

    @property
    def picks(self) -> tuple[Tensor, tuple[int, ...]] | None:
        """(positions, sides of the image) of the last call that kept them; None before it."""
        return transient_value(self, "picks")

    def _pool(self, batch: Tensor) -> Tensor:
        if not self._remembers:
            return self._maxima(batch)
        y, indices = self._with_indices(batch)
        transient_state_of(self).picks = indices, tuple(batch.shape[2:])
        return y

    def _maxima(self, batch: Tensor) -> Tensor:
        if self._is_same():
            batch = pad_same(batch, self.along("k"), self.along("d"), -math.inf)
            return ops.max_pool2d(batch, self.along("k"), self.along("d"))
        return ops.max_pool2d(batch, **self._windows())

    def _with_indices(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        return ops.max_pool2d.with_aux(batch, **self._windows())

    def clearState(self) -> Self:
        """Forget outputs, gradients of inputs, and the positions of the maxima."""
        transient_state_of(self).picks = None
        return super().clearState()


class SpatialMaxPooling(_MaxPooling):
    """The largest entry of each window kW x kH; windows are dW and dH apart, kW and kH if omitted.

    x: (C, H, W) or (N, C, H, W) -> the same with H' = ⌊(H + 2·padH - kH) / dH⌋ + 1, W' likewise;
    rounded up after `ceil()`, but each window begins within the image or the padding before it.
    An entry of the padding is never the maximum.  Of equal entries the first in row order gets the
    gradient.  BigDL's options: padW = padH = -1 pads so that H' = ⌈H / dH⌉, more of it after than
    before; format "NHWC": the planes are the last axis of x and y.
    Raises ShapeError for other shapes, windows larger than the padded image, and padding of more
    than half a kernel, ValueError for another format.  Source: nn.SpatialMaxPooling.

    >>> from tapegrad import nn
    >>> nn.SpatialMaxPooling(2, 2, 2, 2)(np.arange(16.0).reshape(1, 4, 4))
    Tensor([[[ 5.,  7.],
             [13., 15.]]])
    """

    keeps: ClassVar[tuple[str, ...]] = ("kW", "kH", "dW", "dH", "padW", "padH", "format")

    def __init__(
        self,
        kW: int,
        kH: int,
        dW: int | None = None,
        dH: int | None = None,
        padW: int = 0,
        padH: int = 0,
        format: str = "NCHW",
    ) -> None:
        self.kW, self.kH = kW, kH
        self.dW, self.dH = kW if dW is None else dW, kH if dH is None else dH
        self.padW, self.padH = padW, padH
        self.ceil_mode = False
        self._set_format(format)


class SpatialDilatedMaxPooling(SpatialMaxPooling):
    """SpatialMaxPooling whose windows have entries dilationW and dilationH apart.

    H' = ⌊(H + 2·padH - dilationH·(kH - 1) - 1) / dH⌋ + 1, W' likewise; everything else as in
    SpatialMaxPooling.  Source: nn.SpatialDilatedMaxPooling.
    """

    keeps = ("dilationW", "dilationH")

    def __init__(
        self,
        kW: int,
        kH: int,
        dW: int | None = None,
        dH: int | None = None,
        padW: int = 0,
        padH: int = 0,
        dilationW: int = 1,
        dilationH: int = 1,
    ) -> None:
        super().__init__(kW, kH, dW, dH, padW, padH)
        self.dilationW, self.dilationH = dilationW, dilationH


class SpatialAveragePooling(_RoundedPooling):
    """The mean of each window kW x kH; windows are dW and dH apart, 1 if omitted.

    x: (C, H, W) or (N, C, H, W) -> as for SpatialMaxPooling.  Padding counts as zeros, unless
    `setCountExcludePad()` was called; entries beyond the padding, after `ceil()`, never count.
    With the attribute `divide` False the result is the sum, if all entries of a window count.
    BigDL's options: globalPooling, one window for the whole image; ceilMode, as `ceil()`;
    countIncludePad and divide, the attributes; padding -1 and format as in SpatialMaxPooling.
    Raises ShapeError as SpatialMaxPooling does.  Source: nn.SpatialAveragePooling.
    """

    keeps = (
        "kW",
        "kH",
        "dW",
        "dH",
        "padW",
        "padH",
        "count_include_pad",
        "divide",
        "global_pooling",
        "format",
    )
    global_pooling = False

    def __init__(
        self,
        kW: int,
        kH: int,
        dW: int = 1,
        dH: int = 1,
        padW: int = 0,
        padH: int = 0,
        globalPooling: bool = False,
        ceilMode: bool = False,
        countIncludePad: bool = True,
        divide: bool = True,
        format: str = "NCHW",
    ) -> None:
        self.kW, self.kH = kW, kH
        self.dW, self.dH = dW, dH
        self.padW, self.padH = padW, padH
        self.ceil_mode = bool(ceilMode)
        self.count_include_pad = bool(countIncludePad)
        self.divide = bool(divide)
        if globalPooling:
            self.global_pooling = True
        self._set_format(format)

    def setCountIncludePad(self) -> Self:
        """Count padding as entries of the window, the default."""
        self.count_include_pad = True
        return self

    def setCountExcludePad(self) -> Self:
        """Count only entries of the image."""
        self.count_include_pad = False
        return self

    def _pool(self, batch: Tensor) -> Tensor:
        counted = {"count_include_pad": self.count_include_pad, "divide": self.divide}
        if self.global_pooling:
            return ops.avg_pool2d(batch, batch.shape[2:], divide=self.divide)
        if not self._is_same():
            return ops.avg_pool2d(batch, **counted, **self._windows())
        kernel, stride = self.along("k"), self.along("d")
        sums = ops.avg_pool2d(pad_same(batch, kernel, stride), kernel, stride, divide=self.divide)
        if self.count_include_pad or not self.divide:
            return sums
        ones = Tensor(np.ones((1, 1, *batch.shape[2:])), dtype=batch.dtype, device=batch.device)
        return sums / ops.avg_pool2d(pad_same(ones, kernel, stride), kernel, stride)


class SpatialSubSampling(_Pooling):
    """y[c] = weight[c] · Σ of each window kW x kH + bias[c].

    x: (nInputPlane, H, W) or (N, nInputPlane, H, W) -> the same with H' = ⌊(H - kH) / dH⌋ + 1, W'
    likewise.  weight and bias (nInputPlane,) start from U(-s, s), s = 1/√(kW·kH).
    Raises ShapeError for other shapes and windows larger than the image.
    Source: nn.SpatialSubSampling.
    """

    keeps = ("nInputPlane", "kW", "kH", "dW", "dH", "weight", "bias")

    def __init__(self, nInputPlane: int, kW: int, kH: int, dW: int = 1, dH: int = 1) -> None:
        self.nInputPlane = nInputPlane
        self.kW, self.kH = kW, kH
        self.dW, self.dH = dW, dH
        self.weight = Parameter(np.empty(nInputPlane, default_dtype()))
        self.bias = Parameter(np.empty(nInputPlane, default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√(kW·kH), or stdv·√3."""
        s = bound(self.kW * self.kH, stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def updateOutput(self, x: Tensor) -> Tensor:
        batch_of(x, self.axes, self.nInputPlane)
        return super().updateOutput(x)

    def _pool(self, batch: Tensor) -> Tensor:
        sums = ops.avg_pool2d(batch, self.along("k"), self.along("d"), divide=False)
        return sums * self.weight.reshape((-1, 1, 1)) + self.bias.reshape((-1, 1, 1))

    def __repr__(self) -> str:
        return torch7_name(self)


class VolumetricMaxPooling(_MaxPooling):
    """The largest entry of each window kT x kH x kW of a film.

    x: (C, T, H, W) or (N, C, T, H, W) -> the same with T' = ⌊(T + 2·padT - kT) / dT⌋ + 1, the
    others likewise, rounded up after `ceil()`.  Arguments come in the order time, width, height;
    strides are the kernel's lengths if omitted.  Everything else as in SpatialMaxPooling.
    Source: nn.VolumetricMaxPooling.
    """

    keeps: ClassVar[tuple[str, ...]] = ("kT", "kW", "kH", "dT", "dW", "dH", "padT", "padW", "padH")
    order = "TWH"
    axes = "C T H W"

    def __init__(
        self,
        kT: int,
        kW: int,
        kH: int,
        dT: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padT: int = 0,
        padW: int = 0,
        padH: int = 0,
    ) -> None:
        self.kT, self.kW, self.kH = kT, kW, kH
        self.dT, self.dW, self.dH = (
            k if d is None else d for k, d in ((kT, dT), (kW, dW), (kH, dH))
        )
        self.padT, self.padW, self.padH = padT, padW, padH
        self.ceil_mode = False

    def _maxima(self, batch: Tensor) -> Tensor:
        return cast("Tensor", ops.max_pool3d(batch, **self._windows()))

    def _with_indices(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        both = ops.max_pool3d(batch, return_indices=True, **self._windows())
        return cast("tuple[Tensor, Tensor]", both)


class VolumetricDilatedMaxPooling(VolumetricMaxPooling):
    """VolumetricMaxPooling whose windows have entries dilationT, dilationW and dilationH apart.

    Everything else as in VolumetricMaxPooling.  Source: nn.VolumetricDilatedMaxPooling.
    """

    keeps = ("dilationT", "dilationW", "dilationH")

    def __init__(
        self,
        kT: int,
        kW: int,
        kH: int,
        dT: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padT: int = 0,
        padW: int = 0,
        padH: int = 0,
        dilationT: int = 1,
        dilationW: int = 1,
        dilationH: int = 1,
    ) -> None:
        super().__init__(kT, kW, kH, dT, dW, dH, padT, padW, padH)
        self.dilationT, self.dilationW, self.dilationH = dilationT, dilationW, dilationH


class VolumetricAveragePooling(_RoundedPooling):
    """The mean of each window kT x kH x kW of a film.

    x: (C, T, H, W) or (N, C, T, H, W) -> the same with T' = ⌊(T + 2·padT - kT) / dT⌋ + 1, the
    others likewise, rounded up with ceilMode; strides are the kernel's lengths if omitted (1 in
    SpatialAveragePooling).  Padding counts as zeros with countIncludePad; entries beyond it never.
    The options from padT on are BigDL's.
    Raises ShapeError for other shapes and windows larger than the padded film.
    Source: nn.VolumetricAveragePooling.
    """

    keeps = (
        "kT",
        "kW",
        "kH",
        "dT",
        "dW",
        "dH",
        "padT",
        "padW",
        "padH",
        "count_include_pad",
    )
    order = "TWH"
    axes = "C T H W"
    padT = padW = padH = 0
    count_include_pad = True

    def __init__(
        self,
        kT: int,
        kW: int,
        kH: int,
        dT: int | None = None,
        dW: int | None = None,
        dH: int | None = None,
        padT: int = 0,
        padW: int = 0,
        padH: int = 0,
        countIncludePad: bool = True,
        ceilMode: bool = False,
    ) -> None:
        self.kT, self.kW, self.kH = kT, kW, kH
        self.dT, self.dW, self.dH = (
            k if d is None else d for k, d in ((kT, dT), (kW, dW), (kH, dH))
        )
        if padT or padW or padH:
            self.padT, self.padW, self.padH = padT, padW, padH
        if not countIncludePad:
            self.count_include_pad = False
        if ceilMode:
            self.ceil()

    def _pool(self, batch: Tensor) -> Tensor:
        kernel, stride, padding = self.along("k"), self.along("d"), self.along("pad")
        if not self.ceil_mode and not any(padding):
            return ops.avg_pool3d(batch, kernel, stride)
        widths, counts = [], []
        for n, k, d, p in zip(batch.shape[2:], kernel, stride, padding, strict=True):
            if n + 2 * p < k:
                raise ShapeError(f"the input of shape {batch.shape[1:]} is smaller than the window")
            windows = (n + 2 * p - k + (d - 1) * self.ceil_mode) // d + 1
            if self.ceil_mode and (windows - 1) * d >= n + p:
                windows -= 1
            widths.append((p, p + max((windows - 1) * d + k - n - 2 * p, 0)))
            first = np.arange(windows) * d - p
            if self.count_include_pad:
                counts.append(np.minimum(first + k, n + p) - first)
            else:
                counts.append(np.minimum(first + k, n) - np.maximum(first, 0))
        padded = ops.pad(batch, ((0, 0), (0, 0), *widths))
        mean = ops.avg_pool3d(padded, kernel, stride)
        sides = tuple(len(count) for count in counts)
        factors = math.prod(kernel) / np.einsum("i,j,k->ijk", *counts)
        mean = mean[(..., *(slice(0, side) for side in sides))]
        return mean * Tensor(factors, dtype=batch.dtype, device=batch.device)
