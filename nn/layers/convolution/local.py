"""Locally connected layers of BigDL: convolutions with other weights at every position."""

from __future__ import annotations

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.core.windows import (
    batch_of,
    channels_first,
    channels_last,
    checked_format,
    drop_added_batch,
    same_padding,
)
from tapegrad.nn.layers.convolution.common import _Convolution
from tapegrad.nn.module import Module

__all__ = ["LocallyConnected1D", "LocallyConnected2D"]


class LocallyConnected1D(Module):
    """y[t] = weight[t] · (frames t·strideW … t·strideW + kernelW - 1 as one vector) + bias[t].

    x: (nInputFrame, inputFrameSize) or (N, nInputFrame, inputFrameSize) -> (N,) nOutputFrame,
    outputFrameSize with nOutputFrame = ⌊(nInputFrame - kernelW) / strideW⌋ + 1.
    weight (nOutputFrame, outputFrameSize, kernelW·inputFrameSize), frame by frame, and bias
    (nOutputFrame, outputFrameSize) start from U(-s, s), s = 1/√(kernelW·inputFrameSize).
    propagateBack False: the gradient of x is 0.
    Raises ValueError for a kernel longer than the sequence, ShapeError for other inputs.
    Source: BigDL's LocallyConnected1D.
    """

    keeps = (
        "nInputFrame",
        "inputFrameSize",
        "outputFrameSize",
        "kernelW",
        "strideW",
        "propagateBack",
        "weight",
        "bias",
    )
    promotes = True

    def __init__(
        self,
        nInputFrame: int,
        inputFrameSize: int,
        outputFrameSize: int,
        kernelW: int,
        strideW: int = 1,
        propagateBack: bool = True,
    ) -> None:
        if kernelW > nInputFrame:
            raise ValueError(
                f"LocallyConnected1D: a kernel of {kernelW} frames is longer than the sequence of "
                f"{nInputFrame}"
            )
        self.nInputFrame, self.inputFrameSize = nInputFrame, inputFrameSize
        self.outputFrameSize = outputFrameSize
        self.kernelW, self.strideW = kernelW, strideW
        self.propagateBack = bool(propagateBack)
        frames, dtype = (nInputFrame - kernelW) // strideW + 1, default_dtype()
        shape = (frames, outputFrameSize, kernelW * inputFrameSize)
        self.weight = Parameter(np.empty(shape, dtype))
        self.bias = Parameter(np.empty(shape[:2], dtype))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√(kernelW·inputFrameSize), or stdv·√3."""
        s = bound(self.kernelW * self.inputFrameSize, stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def updateOutput(self, x: Tensor) -> Tensor:
        wanted = (self.nInputFrame, self.inputFrameSize)
        if x.ndim not in (2, 3) or x.shape[-2:] != wanted:
            raise ShapeError(f"the input of shape {x.shape} is neither {wanted} nor (N, *{wanted})")
        if not self.propagateBack:
            x = ops.scale_gradient(x, 0)
        sequences = x if x.ndim == 3 else x.reshape((1, *x.shape))
        windows = ops.unfold(sequences, axis=1, size=self.kernelW, step=self.strideW)
        windows = windows.transpose((0, 1, 3, 2))
        windows = windows.reshape((*windows.shape[:2], self.kernelW * self.inputFrameSize))
        y = ops.einsum("nti,toi->nto", windows, self.weight) + self.bias
        return drop_added_batch(y, x, "T F")


class LocallyConnected2D(_Convolution):
    """SpatialConvolution with another weight and bias for every position of the output.

    x: (nInputPlane, inputHeight, inputWidth), or with N in front -> (N,) nOutputPlane, H', W', as
    in SpatialConvolution, padding -1 and format included.
    weight (H'·W', nOutputPlane, nInputPlane·kernelH·kernelW) and bias (nOutputPlane, H'·W'), or
    None without withBias, start from U(-s, s), s = 1/√(kernelH·kernelW·nInputPlane).
    propagateBack False: the gradient of x is 0.
    Raises ValueError for a kernel larger than the padded image, ShapeError for other inputs.
    Source: BigDL's LocallyConnected2D.
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
        "propagateBack",
        "format",
    )

    def __init__(
        self,
        nInputPlane: int,
        inputWidth: int,
        inputHeight: int,
        nOutputPlane: int,
        kernelW: int,
        kernelH: int,
        strideW: int = 1,
        strideH: int = 1,
        padW: int = 0,
        padH: int = 0,
        propagateBack: bool = True,
        withBias: bool = True,
        format: str = "NCHW",
    ) -> None:
        self.nInputPlane, self.nOutputPlane = nInputPlane, nOutputPlane
        self.iW, self.iH = inputWidth, inputHeight
        self.kW, self.kH = kernelW, kernelH
        self.dW, self.dH = strideW, strideH
        self.padW, self.padH = padW, padH
        self.propagateBack = bool(propagateBack)
        self.format = checked_format(format)
        positions = self._positions()
        if min(positions) < 1:
            raise ValueError(
                f"LocallyConnected2D: a kernel of {kernelH} rows and {kernelW} columns is larger "
                f"than the image of {inputHeight} x {inputWidth}, padded by {padH} and {padW}"
            )
        count = positions[0] * positions[1]
        self._make_parameters(
            (count, nOutputPlane, nInputPlane * kernelH * kernelW), (nOutputPlane, count)
        )
        if not withBias:
            self.noBias()

    def _widths(self) -> list[tuple[int, int]]:
        """Zeros before and after the rows, and the columns."""
        if self._is_same():
            return same_padding((self.iH, self.iW), self.along("k"), self.along("d"))
        return [(self.padH, self.padH), (self.padW, self.padW)]

    def _positions(self) -> tuple[int, ...]:
        """The rows and columns of the output."""
        sizes = zip(
            (self.iH, self.iW), self._widths(), self.along("k"), self.along("d"), strict=True
        )
        return tuple((n + sum(width) - k) // d + 1 for n, width, k, d in sizes)

    def updateOutput(self, x: Tensor) -> Tensor:
        if not self.propagateBack:
            x = ops.scale_gradient(x, 0)
        x = channels_first(x, self.format)
        images = batch_of(x, self.axes, self.nInputPlane)
        if images.shape[-2:] != (self.iH, self.iW):
            raise ShapeError(
                f"the input has images of {images.shape[-2]} x {images.shape[-1]}, inputHeight x "
                f"inputWidth is {self.iH} x {self.iW}"
            )
        images = ops.pad(images, ((0, 0), (0, 0), *self._widths()))
        rows = ops.unfold(images, axis=2, size=self.kH, step=self.dH)
        windows = ops.unfold(rows, axis=3, size=self.kW, step=self.dW)
        height, width = windows.shape[2:4]
        kernels = self.weight.reshape(
            (height, width, self.nOutputPlane, self.nInputPlane, self.kH, self.kW)
        )
        y = ops.einsum("nchwij,hwocij->nohw", windows, kernels)
        if self.bias is not None:
            y = y + self.bias.reshape((self.nOutputPlane, height, width))
        return channels_last(drop_added_batch(y, x, self.axes), self.format)
