"""Pooling over windows of one size: one number for each window of a feature map or a film.

The primitives compute the windows and check their sizes.  The layers take the sizes in Torch7's
order (time, width, height), and accept single samples.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self, cast

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.transient import transient_state_of, transient_value
from tapegrad.nn.core.windows import Lengths, batch_of, drop_added_batch
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

    def _pool(self, batch: Tensor) -> Tensor:
        """Return the primitive's result on a batch (N, C, …)."""
        raise NotImplementedError

    def updateOutput(self, x: Tensor) -> Tensor:
        return drop_added_batch(self._pool(batch_of(x, self.axes)), x, self.axes)

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
    gradient.  Raises ShapeError for other shapes, windows larger than the padded image, and padding
    of more than half a kernel.  Source: nn.SpatialMaxPooling.
    """

    keeps: ClassVar[tuple[str, ...]] = ("kW", "kH", "dW", "dH", "padW", "padH")

    def __init__(
        self,
        kW: int,
        kH: int,
        dW: int | None = None,
        dH: int | None = None,
        padW: int = 0,
        padH: int = 0,
    ) -> None:
        self.kW, self.kH = kW, kH
        self.dW, self.dH = kW if dW is None else dW, kH if dH is None else dH
        self.padW, self.padH = padW, padH
        self.ceil_mode = False


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
    Raises ShapeError as SpatialMaxPooling does.  Source: nn.SpatialAveragePooling.
    """

    keeps = ("kW", "kH", "dW", "dH", "padW", "padH", "count_include_pad", "divide")

    def __init__(
        self, kW: int, kH: int, dW: int = 1, dH: int = 1, padW: int = 0, padH: int = 0
    ) -> None:
        self.kW, self.kH = kW, kH
        self.dW, self.dH = dW, dH
        self.padW, self.padH = padW, padH
        self.ceil_mode = False
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

    def _pool(self, batch: Tensor) -> Tensor:
        counted = {"count_include_pad": self.count_include_pad, "divide": self.divide}
        return ops.avg_pool2d(batch, **counted, **self._windows())


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


class VolumetricAveragePooling(_Pooling):
    """The mean of each window kT x kH x kW of a film, without padding.

    x: (C, T, H, W) or (N, C, T, H, W) -> the same with T' = ⌊(T - kT) / dT⌋ + 1, the others
    likewise; strides are the kernel's lengths if omitted (1 in SpatialAveragePooling).
    Raises ShapeError for other shapes and windows larger than the film.
    Source: nn.VolumetricAveragePooling.
    """

    keeps = ("kT", "kW", "kH", "dT", "dW", "dH")
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
    ) -> None:
        self.kT, self.kW, self.kH = kT, kW, kH
        self.dT, self.dW, self.dH = (
            k if d is None else d for k, d in ((kT, dT), (kW, dW), (kH, dH))
        )

    def _pool(self, batch: Tensor) -> Tensor:
        return ops.avg_pool3d(batch, self.along("k"), self.along("d"))
