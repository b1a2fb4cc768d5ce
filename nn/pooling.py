"""SpatialMaxPooling and SpatialAveragePooling: one number for each window of a feature map.

The windows, and what is wrong with them, are the primitives' business; the layers here name them in
Torch7's order, width before height, and accept a single sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from tapegrad.autograd import ops
from tapegrad.nn._text import torch7_name
from tapegrad.nn.module import Module, ShapeError

__all__ = ["SpatialAveragePooling", "SpatialMaxPooling"]


class _Pooling(Module):
    """What both have in common: window, stride, padding, rounding of the output's size."""

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # lengths

    def __init__(self, kW: int, kH: int, dW: int, dH: int, padW: int, padH: int) -> None:
        self.kW, self.kH = kW, kH
        self.dW, self.dH = dW, dH
        self.padW, self.padH = padW, padH
        self.ceil_mode = False

    def ceil(self) -> Self:
        """Round the number of windows up: a last one may reach beyond the padded image."""
        self.ceil_mode = True
        return self

    def floor(self) -> Self:
        """Round the number of windows down, the default."""
        self.ceil_mode = False
        return self

    def pooled(self, images: Any, **windows: Any) -> Any:
        """The primitive's result on (N, C, H, W)."""
        raise NotImplementedError

    def updateOutput(self, x: Any) -> Any:
        if x.ndim not in (3, 4):
            raise ShapeError(f"the input of shape {x.shape} is neither (C, H, W) nor (N, C, H, W)")
        images = x if x.ndim == 4 else x.reshape((1, *x.shape))
        try:
            y = self.pooled(
                images,
                kernel=(self.kH, self.kW),
                stride=(self.dH, self.dW),
                padding=(self.padH, self.padW),
                ceil_mode=self.ceil_mode,
            )
        except ValueError as error:  # the primitive has looked at the windows
            raise ShapeError(f"the input of shape {x.shape} does not fit: {error}") from error
        return y if x.ndim == 4 else y.reshape(y.shape[1:])

    def __repr__(self) -> str:
        text = f"{self.kW}x{self.kH}, {self.dW},{self.dH}"
        if self.padW or self.padH:
            text += f", {self.padW},{self.padH}"
        return f"{torch7_name(self)}({text})"


class SpatialMaxPooling(_Pooling):
    """The largest entry of each window kW x kH, moved by dW and dH (the kernel when omitted).

    x: (C, H, W) or (N, C, H, W) -> the same with H' = ⌊(H + 2·padH - kH) / dH⌋ + 1, W' likewise;
    rounded up after `ceil()`, where a window must still begin within the image or the padding
    before it.  Padding never wins.  Of equal entries the first in row order gets the gradient.
    Raises ShapeError for other shapes, windows larger than the padded image, and padding of more
    than half a kernel.  Source: nn.SpatialMaxPooling.
    """

    def __init__(
        self,
        kW: int,
        kH: int,
        dW: int | None = None,
        dH: int | None = None,
        padW: int = 0,
        padH: int = 0,
    ) -> None:
        super().__init__(kW, kH, kW if dW is None else dW, kH if dH is None else dH, padW, padH)

    def pooled(self, images: Any, **windows: Any) -> Any:
        return ops.max_pool2d(images, **windows)


class SpatialAveragePooling(_Pooling):
    """The mean of each window kW x kH, moved by dW and dH, which are 1 when omitted.

    x: (C, H, W) or (N, C, H, W) -> as for SpatialMaxPooling.  Padding counts as zeros, unless
    `setCountExcludePad()` was called; what a last window of `ceil()` has beyond it never counts.
    With the field `divide` False the result is the sum where all of a window counts.
    Raises ShapeError as SpatialMaxPooling does.  Source: nn.SpatialAveragePooling.
    """

    def __init__(
        self, kW: int, kH: int, dW: int = 1, dH: int = 1, padW: int = 0, padH: int = 0
    ) -> None:
        super().__init__(kW, kH, dW, dH, padW, padH)
        self.count_include_pad = True
        self.divide = True

    def setCountIncludePad(self) -> Self:
        """Count padding as entries of the window, the default."""
        self.count_include_pad = True
        return self

    def setCountExcludePad(self) -> Self:
        """Count only entries of the image."""
        self.count_include_pad = False
        return self

    def pooled(self, images: Any, **windows: Any) -> Any:
        return ops.avg_pool2d(
            images, count_include_pad=self.count_include_pad, divide=self.divide, **windows
        )
