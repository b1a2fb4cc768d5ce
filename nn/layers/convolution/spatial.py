"""Convolutions of images.

Layers whose weights have other shapes (matrices, depthwise) rearrange them for the ordinary
primitives; SpatialConvolutionLocal unfolds its input.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import fill_, uniform_
from tapegrad.nn.core.windows import (
    batch_of,
    channels_first,
    channels_last,
    checked_format,
    drop_added_batch,
)
from tapegrad.nn.layers.convolution.common import (
    _Convolution,
    _ImageConvolution,
    _TransposedConvolution,
)

__all__ = [
    "SpatialConvolution",
    "SpatialConvolutionLocal",
    "SpatialConvolutionMM",
    "SpatialDepthWiseConvolution",
    "SpatialDilatedConvolution",
    "SpatialFullConvolution",
    "SpatialSeparableConvolution",
    "SpatialShareConvolution",
]


class SpatialConvolution(_ImageConvolution):
    """y[o] = Σᵢ weight[o, i] ⋆ x[i] + bias[o], with ⋆ the cross-correlation of two images.

    x: (nInputPlane, H, W) or (N, nInputPlane, H, W) -> (N,) nOutputPlane, H', W' with
    H' = ⌊(H + 2·padH - kH) / dH⌋ + 1, W' likewise.  Width comes before height in the arguments:
    kernel kW x kH, stride dW x dH, zeros padded on either side padW and padH (padW when omitted).
    weight (nOutputPlane, nInputPlane, kH, kW) and bias (nOutputPlane,) or None start from
    U(-s, s), s = 1/√(kW·kH·nInputPlane).
    BigDL's options: padW = padH = -1 pads so that H' = ⌈H / dH⌉, more of it after than before.
    nGroup: groups of planes, whose outputs see only their inputs; weight (nOutputPlane,
    nInputPlane / nGroup, kH, kW).  propagateBack False: the gradient of x is 0.  withBias False: no
    bias.  format "NHWC": the planes are the last axis of x and y.
    Raises ShapeError for other shapes and for images smaller than the kernel, ValueError for planes
    that do not divide into groups.
    Source: nn.SpatialConvolution.

    >>> from tapegrad import nn
    >>> images = np.zeros((2, 1, 8, 8), np.float32)
    >>> nn.SpatialConvolution(1, 4, 3, 3)(images).shape
    (2, 4, 6, 6)
    >>> nn.SpatialConvolution(1, 4, 3, 3, 1, 1, 1, 1)(images).shape
    (2, 4, 8, 8)
    """

    keeps: ClassVar[tuple[str, ...]] = ("nGroup", "propagateBack", "format")

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        kW: int,
        kH: int,
        dW: int = 1,
        dH: int = 1,
        padW: int = 0,
        padH: int | None = None,
        nGroup: int = 1,
        propagateBack: bool = True,
        withBias: bool = True,
        format: str = "NCHW",
    ) -> None:
        self.nInputPlane, self.nOutputPlane = nInputPlane, nOutputPlane
        self._set_groups(nGroup)
        if not propagateBack:
            self.propagateBack = False
        if checked_format(format) != "NCHW":
            self.format = format
        super().__init__(nInputPlane, nOutputPlane, kW, kH, dW, dH, padW, padH)
        if not withBias:
            self.noBias()

    def updateOutput(self, x: Tensor) -> Tensor:
        if not self.propagateBack:
            x = ops.scale_gradient(x, 0)
        if self.format == "NCHW":
            return super().updateOutput(x)
        return channels_last(super().updateOutput(channels_first(x, self.format)), self.format)


class SpatialShareConvolution(SpatialConvolution):
    """SpatialConvolution: BigDL's variant that shares memory between samples, which all do here.

    x: (nInputPlane, H, W) or (N, nInputPlane, H, W), as SpatialConvolution.

    Source: BigDL's SpatialShareConvolution.
    """


class SpatialConvolutionMM(_ImageConvolution):
    """SpatialConvolution whose weight is a matrix (nOutputPlane, nInputPlane·kH·kW).

    Shapes, arguments and errors are those of SpatialConvolution.  Source: nn.SpatialConvolutionMM.
    """

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.nOutputPlane, self.nInputPlane * self.kH * self.kW)

    def _kernels(self) -> Tensor:
        return self.weight.reshape((self.nOutputPlane, self.nInputPlane, self.kH, self.kW))


class SpatialDilatedConvolution(SpatialConvolution):
    """SpatialConvolution with kernel entries dilationW and dilationH apart.

    H' = ⌊(H + 2·padH - dilationH·(kH - 1) - 1) / dH⌋ + 1, W' likewise; everything else as in
    SpatialConvolution.  Source: nn.SpatialDilatedConvolution;
    F. Yu, V. Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016.
    """

    keeps = ("dilationW", "dilationH")

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        kW: int,
        kH: int,
        dW: int = 1,
        dH: int = 1,
        padW: int = 0,
        padH: int | None = None,
        dilationW: int = 1,
        dilationH: int = 1,
    ) -> None:
        super().__init__(nInputPlane, nOutputPlane, kW, kH, dW, dH, padW, padH)
        self.dilationW, self.dilationH = dilationW, dilationH

    def _dilation(self) -> tuple[int, ...]:
        return self.along("dilation")

    def _tail_text(self) -> str:
        return f", {self.lengths_text('dilation')}"


class SpatialDepthWiseConvolution(_Convolution):
    """Each input plane convolved with nOutputPlane kernels of its own.

    x: (nInputPlane, H, W) or (N, nInputPlane, H, W) -> (N,) nInputPlane·nOutputPlane, H', W' with
    the planes of one input plane next to each other; lengths as in SpatialConvolution.
    weight (nOutputPlane, nInputPlane·kH·kW) and bias (nOutputPlane, nInputPlane), or None, start
    from U(-s, s), s = 1/√(kW·kH·nInputPlane).
    Raises ShapeError as SpatialConvolution does.  Source: nn.SpatialDepthWiseConvolution.
    """

    keeps = ("nInputPlane", "nOutputPlane", "kW", "kH", "dW", "dH", "padW", "padH")

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        kW: int,
        kH: int,
        dW: int = 1,
        dH: int = 1,
        padW: int = 0,
        padH: int | None = None,
    ) -> None:
        self.nInputPlane, self.nOutputPlane = nInputPlane, nOutputPlane
        self.kW, self.kH = kW, kH
        self.dW, self.dH = dW, dH
        self.padW, self.padH = padW, padW if padH is None else padH
        self._make_parameters((nOutputPlane, nInputPlane * kH * kW), (nOutputPlane, nInputPlane))

    def updateOutput(self, x: Tensor) -> Tensor:
        planes = self.nInputPlane * self.nOutputPlane
        kernels = self.weight.reshape((self.nOutputPlane, self.nInputPlane, self.kH, self.kW))
        y = ops.conv2d(
            self._to_batch(x),
            kernels.transpose((1, 0, 2, 3)).reshape((planes, 1, self.kH, self.kW)),
            stride=self.along("d"),
            padding=self.along("pad"),
            groups=self.nInputPlane,
        )
        if self.bias is not None:
            y = y + self.bias.T.reshape((planes, 1, 1))
        return drop_added_batch(y, x, self.axes)


class SpatialConvolutionLocal(_Convolution):
    """Convolution with another weight and bias for every position of the output.

    x: (nInputPlane, iH, iW) or (N, nInputPlane, iH, iW) -> (N,) nOutputPlane, oH, oW; lengths as in
    SpatialConvolution.  weight (oH, oW, nOutputPlane, nInputPlane, kH, kW) and bias
    (nOutputPlane, oH, oW), or None, start from U(-s, s), s = 1/√(kW·kH·nInputPlane).
    Raises ValueError for a kernel larger than the padded image, ShapeError for other inputs.
    Source: nn.SpatialConvolutionLocal.
    """

    keeps = (
        "nInputPlane",
        "nOutputPlane",
        "iW",
        "iH",
        "kW",
        "kH",
        "dW",
        "dH",
        "padW",
        "padH",
        "oW",
        "oH",
    )

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        iW: int,
        iH: int,
        kW: int,
        kH: int,
        dW: int = 1,
        dH: int = 1,
        padW: int = 0,
        padH: int | None = None,
    ) -> None:
        self.nInputPlane, self.nOutputPlane = nInputPlane, nOutputPlane
        self.iW, self.iH = iW, iH
        self.kW, self.kH = kW, kH
        self.dW, self.dH = dW, dH
        self.padW, self.padH = padW, padW if padH is None else padH
        self.oW = (iW + 2 * self.padW - kW) // dW + 1
        self.oH = (iH + 2 * self.padH - kH) // dH + 1
        if self.oW < 1 or self.oH < 1:
            raise ValueError(
                f"SpatialConvolutionLocal: a kernel of {kH} rows and {kW} columns is larger than "
                f"the image of {iH} x {iW}, padded by {self.padH} and {self.padW}"
            )
        self._make_parameters(
            (self.oH, self.oW, nOutputPlane, nInputPlane, kH, kW), (nOutputPlane, self.oH, self.oW)
        )

    def updateOutput(self, x: Tensor) -> Tensor:
        images = batch_of(x, self.axes, self.nInputPlane)
        if x.shape[-2:] != (self.iH, self.iW):
            raise ShapeError(
                f"the input of shape {x.shape} has images of {x.shape[-2]} x {x.shape[-1]}, "
                f"iH x iW is {self.iH} x {self.iW}"
            )
        if self.padH or self.padW:
            margins = ((0, 0), (0, 0), (self.padH, self.padH), (self.padW, self.padW))
            images = ops.pad(images, margins)
        rows = ops.unfold(images, axis=2, size=self.kH, step=self.dH)
        windows = ops.unfold(rows, axis=3, size=self.kW, step=self.dW)
        y = ops.einsum("nchwij,hwocij->nohw", windows, self.weight)
        if self.bias is not None:
            y = y + self.bias
        return drop_added_batch(y, x, self.axes)

    def _size_text(self) -> str:
        sizes = f"{self.iW}x{self.iH}, {self.kW}x{self.kH}"
        return f"{self.nInputPlane} -> {self.nOutputPlane}, {sizes}"


class SpatialFullConvolution(_TransposedConvolution):
    """The adjoint of SpatialConvolution, plus a bias: each entry of x adds a scaled kernel.

    x: (nInputPlane, H, W) or (N, nInputPlane, H, W) -> (N,) nOutputPlane, H', W' with
    H' = (H - 1)·dH - 2·padH + kH + adjH, W' likewise.  adjW < dW and adjH < dH choose among the
    sizes that a convolution maps to H x W.  For the table [x, reference] they are computed so that
    the result has the size of `reference` (…, H', W'), whose gradient is 0.
    weight (nInputPlane, nOutputPlane, kH, kW) and bias (nOutputPlane,) or None start from U(-s, s),
    s = 1/√(kW·kH·nInputPlane).  padH is 0 when omitted.  nGroup, BigDL's option: groups of planes,
    whose outputs see only their inputs; weight (nInputPlane, nOutputPlane / nGroup, kH, kW).
    Raises ValueError for an adj that is too large, ShapeError for other inputs.
    Source: nn.SpatialFullConvolution.
    """

    keeps = (
        "nInputPlane",
        "nOutputPlane",
        "kW",
        "kH",
        "dW",
        "dH",
        "padW",
        "padH",
        "adjW",
        "adjH",
        "nGroup",
    )

    def __init__(
        self,
        nInputPlane: int,
        nOutputPlane: int,
        kW: int,
        kH: int,
        dW: int = 1,
        dH: int = 1,
        padW: int = 0,
        padH: int = 0,
        adjW: int = 0,
        adjH: int = 0,
        nGroup: int = 1,
    ) -> None:
        self.nInputPlane, self.nOutputPlane = nInputPlane, nOutputPlane
        self.kW, self.kH = kW, kH
        self.dW, self.dH = dW, dH
        self.padW, self.padH = padW, padH
        self.adjW, self.adjH = adjW, adjH
        self._check_adjustment()
        self._set_groups(nGroup)
        self._make_parameters((nInputPlane, nOutputPlane // nGroup, kH, kW), (nOutputPlane,))


class SpatialSeparableConvolution(_Convolution):
    """Each input plane convolved with depthMultiplier kernels of its own; then planes are mixed.

    x: (nInputChannel, H, W) or (N, nInputChannel, H, W) -> (N,) nOutputChannel, H', W'; lengths,
    padding -1 and format as in SpatialConvolution.  weight (nInputChannel·depthMultiplier, 1,
    kH, kW), pointWeight (nOutputChannel, nInputChannel·depthMultiplier) and bias (nOutputChannel,),
    or None without hasBias, start from U(0, 1), U(0, 1) and 0.
    Raises ShapeError as SpatialConvolution does.  Source: BigDL's SpatialSeparableConvolution;
    F. Chollet, "Xception", CVPR 2017.
    """

    keeps = (
        "nInputPlane",
        "nOutputPlane",
        "depthMultiplier",
        "kW",
        "kH",
        "dW",
        "dH",
        "padW",
        "padH",
        "format",
        "pointWeight",
    )

    def __init__(
        self,
        nInputChannel: int,
        nOutputChannel: int,
        depthMultiplier: int,
        kW: int,
        kH: int,
        sW: int = 1,
        sH: int = 1,
        pW: int = 0,
        pH: int = 0,
        hasBias: bool = True,
        format: str = "NCHW",
    ) -> None:
        self.nInputPlane, self.nOutputPlane = nInputChannel, nOutputChannel
        self.depthMultiplier = depthMultiplier
        self.kW, self.kH = kW, kH
        self.dW, self.dH = sW, sH
        self.padW, self.padH = pW, pH
        self.format = checked_format(format)
        planes, dtype = nInputChannel * depthMultiplier, default_dtype()
        self.weight = Parameter(np.empty((planes, 1, kH, kW), dtype))
        self.pointWeight = Parameter(np.empty((nOutputChannel, planes), dtype))
        self.bias = Parameter(np.empty(nOutputChannel, dtype)) if hasBias else None
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw both weights from U(0, 1), or U(0, stdv·√12); set the bias to 0."""
        high = 1.0 if stdv is None else stdv * math.sqrt(12)
        uniform_(self.weight, 0.0, high)
        uniform_(self.pointWeight, 0.0, high)
        fill_(self.bias, 0.0)

    def updateOutput(self, x: Tensor) -> Tensor:
        x = channels_first(x, self.format)
        planes = ops.conv2d(
            self._to_batch(x),
            self.weight,
            stride=self.along("d"),
            padding=(0, 0) if self._is_same() else self.along("pad"),
            groups=self.nInputPlane,
        )
        y = ops.conv2d(planes, self.pointWeight.reshape((*self.pointWeight.shape, 1, 1)))
        return channels_last(self._add_bias(y, x), self.format)
