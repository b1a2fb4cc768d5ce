"""SpatialConvolution: a bank of filters slid over feature maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from tapegrad.autograd import Parameter, default_dtype, ops
from tapegrad.nn._text import torch7_name
from tapegrad.nn.initialization import bound, uniform_
from tapegrad.nn.module import Module, ShapeError

__all__ = ["SpatialConvolution"]


class SpatialConvolution(Module):
    """y[o] = Σᵢ weight[o, i] ⋆ x[i] + bias[o], with ⋆ the cross-correlation of two images.

    x: (nInputPlane, H, W) or (N, nInputPlane, H, W) -> (N,) nOutputPlane, H', W' with
    H' = ⌊(H + 2·padH - kH) / dH⌋ + 1, W' likewise.  Width comes before height in the arguments:
    kernel kW x kH, stride dW x dH, zeros padded on either side padW and padH (padW when omitted).
    weight (nOutputPlane, nInputPlane, kH, kW) and bias (nOutputPlane,) or None start from
    U(-s, s), s = 1/√(kW·kH·nInputPlane).
    Raises ShapeError for other shapes and for images smaller than the kernel.
    Source: nn.SpatialConvolution.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # counts and lengths

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
        dtype = default_dtype()
        self.weight = Parameter(np.empty((nOutputPlane, nInputPlane, kH, kW), dtype))
        self.bias: Parameter | None = Parameter(np.empty(nOutputPlane, dtype))
        self.reset()

    def noBias(self) -> Self:
        """Drop the bias."""
        self.bias = None
        return self

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight, then bias, from U(-s, s): s = 1/√(kW·kH·nInputPlane), or stdv·√3."""
        s = bound(self.kW * self.kH * self.nInputPlane, stdv)
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -s, s)

    def updateOutput(self, x: Any) -> Any:
        if x.ndim not in (3, 4) or x.shape[-3] != self.nInputPlane:
            raise ShapeError(
                f"the input of shape {x.shape} is neither ({self.nInputPlane}, H, W) "
                f"nor (N, {self.nInputPlane}, H, W); nInputPlane is {self.nInputPlane}"
            )
        rows, columns = x.shape[-2] + 2 * self.padH, x.shape[-1] + 2 * self.padW
        if rows < self.kH or columns < self.kW:
            raise ShapeError(
                f"the input of shape {x.shape}, padded to {rows} x {columns}, is smaller than the "
                f"kernel of {self.kH} rows and {self.kW} columns"
            )
        images = x if x.ndim == 4 else x.reshape((1, *x.shape))
        y = ops.conv2d(
            images, self.weight, stride=(self.dH, self.dW), padding=(self.padH, self.padW)
        )
        if self.bias is not None:
            y = y + self.bias.reshape((-1, 1, 1))
        return y if x.ndim == 4 else y.reshape(y.shape[1:])

    def __repr__(self) -> str:
        text = f"{self.nInputPlane} -> {self.nOutputPlane}, {self.kW}x{self.kH}"
        padded = bool(self.padW or self.padH)
        if self.dW != 1 or self.dH != 1 or padded:
            text += f", {self.dW},{self.dH}"
        if padded:
            text += f", {self.padW},{self.padH}"
        ending = "" if self.bias is not None else " without bias"
        return f"{torch7_name(self)}({text}){ending}"
