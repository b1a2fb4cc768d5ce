"""Normalization of each sample by itself: LayerNorm, RMSNorm, GroupNorm, InstanceNorm.

Unlike batch normalization these layers have no running statistics, and compute the same in training
and in evaluate().  Torch7 lacks them; they compute what PyTorch's layers of these names do, and the
tests compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.half import in_single, run_in_single
from tapegrad.nn.core.initialization import fill_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.layers.distance import Normalize
from tapegrad.nn.layers.pointwise import broadcast_parameter
from tapegrad.nn.module import Module

__all__ = ["GroupNorm", "InstanceNorm", "LayerNorm", "NormalizeScale", "RMSNorm"]


class _LastAxesNorm(Module):
    """What LayerNorm and RMSNorm share: the last axes that are normalized, and their weight."""

    promotes = True

    normalized_shape: tuple[int, ...]
    weight: Parameter | None
    bias: Parameter | None = None

    def reset(self, stdv: float | None = None) -> None:
        """Set weight to 1 and bias to 0; ignores stdv."""
        fill_(self.weight, 1.0)
        fill_(self.bias, 0.0)

    def _normalized_axes(self, x: Tensor) -> tuple[int, ...]:
        """Return the axes to normalize.  Raises ShapeError unless x ends in normalized_shape."""
        count = len(self.normalized_shape)
        if x.shape[x.ndim - count :] != self.normalized_shape:
            raise ShapeError(
                f"the input of shape {x.shape} does not end in {self.normalized_shape}"
            )
        return tuple(range(-count, 0))

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({'x'.join(map(str, self.normalized_shape))})"


class LayerNorm(_LastAxesNorm):
    """y = (x - mean) / √(var + eps) · weight + bias, over the last axes of each sample.

    x: (…, *normalized_shape) -> the same shape;  weight, bias: normalized_shape, starting from 1
    and 0; None without affine, or without `bias`.  var is divided by the number of
    entries.
    Raises ShapeError when x does not end in normalized_shape, an int or a sequence of ints.
    Source: J. L. Ba, J. R. Kiros, G. Hinton, "Layer normalization", 2016, equation 3.
    """

    keeps = ("normalized_shape", "eps", "weight", "bias")

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        affine: bool = True,
        bias: bool = True,
    ) -> None:
        self.normalized_shape = to_shape(normalized_shape)
        self.eps = eps
        dtype = default_dtype()
        if affine:
            self.weight = Parameter(np.empty(self.normalized_shape, dtype))
            self.bias = Parameter(np.empty(self.normalized_shape, dtype)) if bias else None
        else:
            self.weight = self.bias = None
        self.reset()

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        axes = self._normalized_axes(x)
        return ops.normalize(x, self.weight, self.bias, axes=axes, eps=self.eps)


class RMSNorm(_LastAxesNorm):
    """y = x / √(mean x² + eps) · weight, over the last axes of each sample.

    x: (…, *normalized_shape) -> the same shape;  weight: normalized_shape, starting from 1; None
    without affine.  eps None: the spacing of the dtype of x at 1.
    Raises ShapeError when x does not end in normalized_shape, an int or a sequence of ints.
    Source: B. Zhang, R. Sennrich, "Root mean square layer normalization", 2019, equation 4.
    """

    keeps = ("normalized_shape", "eps", "weight")

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        affine: bool = True,
    ) -> None:
        self.normalized_shape = to_shape(normalized_shape)
        self.eps = eps
        dtype = default_dtype()
        self.weight = Parameter(np.empty(self.normalized_shape, dtype)) if affine else None
        self.reset()

    def updateOutput(self, x: Tensor) -> Tensor:
        eps = float(np.finfo(x.dtype).eps) if self.eps is None else self.eps
        return run_in_single(lambda x: self._normalize(x, eps), x)

    def _normalize(self, x: Tensor, eps: float) -> Tensor:
        square = ops.mean(ops.square(x), axis=self._normalized_axes(x), keepdims=True)
        y = x / ops.sqrt(square + eps)
        return y if self.weight is None else y * self.weight


class GroupNorm(Module):
    """y = (x - mean) / √(var + eps) · weight + bias, over groups of neighbouring channels.

    x: (N, C, …) -> the same shape; each of the num_groups groups of C / num_groups channels has its
    own mean and var, over all positions.  weight, bias: (C,), starting from 1 and 0; None
    without affine.
    Raises ValueError when num_groups does not divide num_channels, ShapeError for another C.
    Source: Y. Wu, K. He, "Group normalization", ECCV 2018.
    """

    keeps = ("num_groups", "num_channels", "eps", "weight", "bias")
    promotes = True

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_groups {num_groups} does not divide num_channels {num_channels}"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        dtype = default_dtype()
        self.weight = Parameter(np.empty(num_channels, dtype)) if affine else None
        self.bias = Parameter(np.empty(num_channels, dtype)) if affine else None
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Set weight to 1 and bias to 0; ignores stdv."""
        fill_(self.weight, 1.0)
        fill_(self.bias, 0.0)

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ShapeError(f"the input of shape {x.shape} is not (N, {self.num_channels}, …)")
        members = self.num_channels // self.num_groups
        groups = x.reshape((x.shape[0], self.num_groups, members, math.prod(x.shape[2:])))
        weight: Tensor | None = self.weight
        bias: Tensor | None = self.bias
        if weight is not None and bias is not None:
            own = (self.num_groups, members, 1)
            weight, bias = weight.reshape(own), bias.reshape(own)
        return ops.normalize(groups, weight, bias, axes=(2, 3), eps=self.eps).reshape(x.shape)

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({self.num_groups}, {self.num_channels})"


class InstanceNorm(GroupNorm):
    """y = (x - mean) / √(var + eps) · weight + bias, over the positions of each channel.

    x: (N, C, …) with at least one axis of positions -> the same shape.  weight, bias: (C,),
    starting from 1 and 0; None without affine.
    Raises ShapeError for another C, and without positions.
    Source: D. Ulyanov, A. Vedaldi, V. Lempitsky, "Instance normalization", 2016, equation 2.
    """

    def __init__(self, num_channels: int, eps: float = 1e-5, affine: bool = False) -> None:
        super().__init__(num_channels, num_channels, eps, affine)

    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim < 3:
            raise ShapeError(f"the input of shape {x.shape} is not (N, {self.num_channels}, L, …)")
        return super().updateOutput(x)

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({self.num_channels})"


def to_shape(lengths: int | Sequence[int]) -> tuple[int, ...]:
    """Return an int or a sequence of ints as a shape."""
    return (lengths,) if isinstance(lengths, int) else tuple(int(length) for length in lengths)


class NormalizeScale(Module):
    """y = weight · x / (Σ |x|ᵖ + eps)^(1/p), the sum over the planes: Normalize, then CMul.

    x: (N, n) or (N, n, H, W) -> the same shape;  weight has the shape `size`, as (1, n, 1, 1), and
    starts at `scale`.  Raises ValueError unless p > 0, ShapeError for other shapes.
    Source: BigDL's NormalizeScale; W. Liu et al., "ParseNet", 2015, section 3.3.
    """

    keeps = ("p", "eps", "scale", "weight")
    promotes = True

    def __init__(
        self, p: float, eps: float = 1e-10, scale: float = 1, size: Sequence[int] = (1,)
    ) -> None:
        self.p, self.eps, self.scale = p, eps, scale
        Normalize(p, eps)  # which checks p
        self.weight = Parameter(np.empty(tuple(size), default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Set weight to `scale`; ignores stdv."""
        fill_(self.weight, self.scale)

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        y = Normalize(self.p, self.eps).updateOutput(x)
        return y * broadcast_parameter(self.weight, y)
