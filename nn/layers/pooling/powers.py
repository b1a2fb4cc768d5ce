"""Pooling by p-norms: roots of sums of powers, over windows or neighbouring features."""

from __future__ import annotations

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.containers.container import Sequential
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.half import in_single
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.layers.activation import Power, Sqrt, Square
from tapegrad.nn.layers.pointwise import MulConstant
from tapegrad.nn.layers.pooling.fixed import SpatialAveragePooling
from tapegrad.nn.module import Module

__all__ = ["FeatureLPPooling", "SpatialLPPooling"]


class SpatialLPPooling(Sequential):
    """(Σ of each window kW x kH of x^pnorm)^(1 / pnorm), as a Sequential of simple layers.

    x: (C, H, W) or (N, C, H, W) -> as for SpatialAveragePooling, with strides that are the kernel's
    lengths if omitted.  nInputPlane is not used, as in Torch7.  With odd powers the entries should
    be positive.  Raises ShapeError as SpatialAveragePooling does.  Source: nn.SpatialLPPooling;
    P. Sermanet, S. Chintala, Y. LeCun, "Convolutional Neural Networks Applied to House Numbers
    Digit Classification", ICPR 2012, section 2.2.
    """

    keeps = ("kW", "kH", "dW", "dH")
    promotes = True

    def __init__(
        self,
        nInputPlane: int,
        pnorm: float,
        kW: int,
        kH: int,
        dW: int | None = None,
        dH: int | None = None,
    ) -> None:
        self.kW, self.kH = kW, kH
        self.dW, self.dH = kW if dW is None else dW, kH if dH is None else dH
        super().__init__(
            Square() if pnorm == 2 else Power(pnorm),
            SpatialAveragePooling(kW, kH, self.dW, self.dH),
            MulConstant(kW * kH),
            Sqrt() if pnorm == 2 else Power(1 / pnorm),
        )

    updateOutput = in_single(Sequential.updateOutput)


class FeatureLPPooling(Module):
    """y[o] = (Σₖ x[o·stride + k]^power)^(1 / power), k < width, along the axis of features.

    x: (F,), (F, A) or (F, A, B); with batch_mode an axis of samples in front of them
    -> the same with ⌊(F - width) / stride⌋ + 1 features.  Where a sum is 0 the gradient is 0; with
    odd powers the entries should be positive.
    Raises ValueError unless 2 <= width <= 16 and 1 <= stride <= 4, ShapeError for other shapes.
    Source: nn.FeatureLPPooling.
    """

    keeps = ("width", "stride", "power", "batch_mode")
    promotes = True

    def __init__(self, width: int, stride: int, power: float, batch_mode: bool = False) -> None:
        if not 2 <= width <= 16 or not 1 <= stride <= 4:
            raise ValueError(
                f"FeatureLPPooling: width must be 2 … 16 and stride 1 … 4, found {width}, {stride}"
            )
        self.width, self.stride, self.power = width, stride, power
        self.batch_mode = bool(batch_mode)

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        axis = int(self.batch_mode)
        if not 1 <= x.ndim - axis <= 3:
            raise ShapeError(
                f"the input of shape {x.shape} has {x.ndim} axes, it must have {axis + 1} to "
                f"{axis + 3}"
            )
        if x.shape[axis] < self.width:
            raise ShapeError(
                f"the input of shape {x.shape} has {x.shape[axis]} features, a window {self.width}"
            )
        powers = ops.square(x) if self.power == 2 else x**self.power
        windows = ops.unfold(powers, axis=axis, size=self.width, step=self.stride)
        return guarded_root(ops.sum(windows, axis=-1), self.power)

    def __repr__(self) -> str:
        text = f"w{self.width} s{self.stride} power {self.power} batch {int(self.batch_mode)}"
        return f"{torch7_name(self)}({text})"


def guarded_root(x: Tensor, power: float) -> Tensor:
    """Return x^(1 / power) with derivative 0 where x is 0."""
    zero = ops.equal(x, 0)
    base = ops.where(zero, 1, x)
    y = ops.sqrt(base) if power == 2 else base ** (1 / power)
    return ops.where(zero, 0, y)
