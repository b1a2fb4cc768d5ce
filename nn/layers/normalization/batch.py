"""Batch normalization of feature vectors, images and volumes, and Torch7's layer normalization.

All of it is forward code; the tape gives the gradient, through the statistics of the batch too.
Running statistics are Buffers, written by a recorded assignment, so that replay updates them.

S. Ioffe, C. Szegedy, "Batch Normalization", ICML 2015, algorithm 1.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, no_grad, ops
from tapegrad.nn.containers.container import ConcatTable, Sequential
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.half import in_single
from tapegrad.nn.core.initialization import fill_, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import channels_first, channels_last, checked_format
from tapegrad.nn.layers.activation import Identity
from tapegrad.nn.layers.distance import Normalize
from tapegrad.nn.layers.pointwise import Add, CMul, MulConstant
from tapegrad.nn.layers.reduction import Mean
from tapegrad.nn.layers.shape import Replicate
from tapegrad.nn.layers.table import CSubTable
from tapegrad.nn.module import Module

__all__ = [
    "BatchNormalization",
    "LayerNormalization",
    "SpatialBatchNormalization",
    "VolumetricBatchNormalization",
]

NO_MOMENTUM = (
    "{name}: momentum is None, it must be a number: for statistics of all batches alike, call "
    "optim.update_bn(model, data) after training"
)


class BatchNormalization(Module):
    """y = (x - mean) / √(var + eps) · weight + bias, feature by feature.

    x: (N, nOutput) -> the same shape; in evaluate() also a single sample, (nOutput,).
    While training, mean and var (divided by N) are those of the batch, and the running ones move
    towards them: running += momentum·(batch - running), with var divided by N - 1.  In evaluate(),
    and for a batch of one, mean and var are the running ones.
    affine: with weight, which starts from U(0, 1), and bias, which starts at 0.
    Raises ShapeError for other shapes, and ValueError for a momentum that is no number.  Source:
    nn.BatchNormalization.

    >>> from tapegrad import nn
    >>> x = np.random.default_rng(0).normal(5, 2, (100, 3)).astype(np.float32)
    >>> y = nn.BatchNormalization(3)(x).numpy()
    >>> bool(np.abs(y.mean(axis=0)).max() < 1e-5), y.shape
    (True, (100, 3))
    """

    keeps: ClassVar[tuple[str, ...]] = (
        "eps",
        "momentum",
        "affine",
        "running_mean",
        "running_var",
        "weight",
        "bias",
    )
    promotes = True
    nDim = 2

    def __init__(
        self, nOutput: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True
    ) -> None:
        if momentum is None:
            raise ValueError(NO_MOMENTUM.format(name=type(self).__name__))
        dtype = default_dtype()
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.running_mean = Buffer(np.zeros(nOutput, dtype))
        self.running_var = Buffer(np.ones(nOutput, dtype))
        self.weight = Parameter(np.empty(nOutput, dtype)) if affine else None
        self.bias = Parameter(np.empty(nOutput, dtype)) if affine else None
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight from U(0, 1), and reset bias and running statistics; ignores stdv."""
        uniform_(self.weight, 0.0, 1.0)
        fill_(self.bias, 0.0)
        fill_(self.running_mean, 0.0)
        fill_(self.running_var, 1.0)

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        single = self._is_single_sample(x)
        axis = 0 if single else 1
        features_shape = tuple(-1 if a == axis else 1 for a in range(x.ndim))
        weight: Tensor | None = self.weight
        bias: Tensor | None = self.bias
        if weight is not None and bias is not None:
            weight, bias = weight.reshape(features_shape), bias.reshape(features_shape)
        if self.train and x.shape[0] > 1:
            axes = tuple(a for a in range(x.ndim) if a != axis)
            y, mean, var = ops.normalize.with_aux(x, weight, bias, axes=axes, eps=self.eps)
            self._update_statistics(mean, var, math.prod(x.shape[a] for a in axes))
            return y
        scale = ops.sqrt(self.running_var.reshape(features_shape) + self.eps)
        y = (x - self.running_mean.reshape(features_shape)) / scale
        return y if weight is None or bias is None else y * weight + bias

    def _update_statistics(self, mean: Tensor, var: Tensor, count: int) -> None:
        """Move the running statistics towards those of a batch with `count` values per feature."""
        old = 1 - self.momentum
        with no_grad():
            mean = mean.reshape(-1) * self.momentum
            var = var.reshape(-1) * (self.momentum * count / (count - 1))
            self.running_mean.assign(self.running_mean * old + mean)
            self.running_var.assign(self.running_var * old + var)

    def _is_single_sample(self, x: Tensor) -> bool:
        """Whether x is a single sample.  Raises ShapeError if x is no batch either."""
        single = x.ndim == self.nDim - 1 and not self.train
        if x.ndim != self.nDim and not single:
            hint = ", or a single sample in evaluate()" if x.ndim == self.nDim - 1 else ""
            raise ShapeError(
                f"the input of shape {x.shape} has {x.ndim} axes; a batch has {self.nDim}{hint}"
            )
        found, features = x.shape[0 if single else 1], self.running_mean.shape[0]
        if found != features:
            raise ShapeError(
                f"the input of shape {x.shape} has {found} features, nOutput is {features}"
            )
        return single

    def __repr__(self) -> str:
        return f"{torch7_name(self)} ({self.nDim}D) ({self.running_mean.shape[0]})"


class SpatialBatchNormalization(BatchNormalization):
    """Batch normalization of feature maps: statistics over batch, rows and columns.

    x: (N, nOutput, H, W) -> the same shape; in evaluate() also (nOutput, H, W).  Everything else as
    in BatchNormalization; a batch of one uses the running statistics however large its maps are.
    format "NHWC", BigDL's option: the features are the last axis.
    Source: nn.SpatialBatchNormalization.
    """

    keeps = ("format",)
    nDim = 4
    format = "NCHW"

    def __init__(
        self,
        nOutput: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        format: str = "NCHW",
    ) -> None:
        super().__init__(nOutput, eps, momentum, affine)
        if checked_format(format) != "NCHW":
            self.format = format

    def updateOutput(self, x: Tensor) -> Tensor:
        if self.format == "NCHW":
            return super().updateOutput(x)
        return channels_last(super().updateOutput(channels_first(x, self.format)), self.format)


class VolumetricBatchNormalization(BatchNormalization):
    """Batch normalization of volumes: statistics over batch, time, rows and columns.

    x: (N, nOutput, T, H, W) -> the same shape; in evaluate() also (nOutput, T, H, W).  Everything
    else as in BatchNormalization.  Source: nn.VolumetricBatchNormalization.
    """

    nDim = 5


class LayerNormalization(Sequential):
    """y = (x - mean) / √(var + eps/n) · weight + bias, with mean and variance over each sample.

    x: (nOutput,) or (N, nOutput) -> the same shape.  A Sequential of simple layers, as in Torch7:
    weight, in its CMul, starts at 1, and bias, in its Add, at `bias`; neither when affine is False.
    Raises ShapeError for other shapes.  Source: nn.LayerNormalization; J. Ba, J. Kiros,
    G. Hinton, "Layer Normalization", 2016.
    """

    keeps = ("start",)

    def __init__(
        self, nOutput: int, bias: float = 0, eps: float = 1e-10, affine: bool = True
    ) -> None:
        mean = Sequential(Mean(0, 1), Replicate(nOutput, 1))
        super().__init__(
            ConcatTable(Identity(), mean),
            CSubTable(),
            Normalize(2, eps),
            MulConstant(math.sqrt(nOutput)),
        )
        self.start = bias
        if affine:
            self.add(CMul(nOutput)).add(Add(nOutput))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Set weight to 1 and bias to its start; ignores stdv."""
        for part in self.modules[4:]:
            fill_(part.parameters()[0][0], self.start if isinstance(part, Add) else 1.0)
