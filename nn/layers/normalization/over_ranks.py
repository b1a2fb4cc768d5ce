"""Batch normalization whose statistics are those of a batch that several ranks share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad.autograd import Tensor, no_grad, ops
from tapegrad.devices import collectives
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.half import in_single
from tapegrad.nn.layers.normalization.batch import BatchNormalization

if TYPE_CHECKING:
    from tapegrad.nn.core.buffer import Buffer

__all__ = ["SyncBatchNormalization"]


class SyncBatchNormalization(BatchNormalization):
    """Batch normalization over the samples of all ranks; `optim.DataParallel` has them share.

    y = (x - mean) / √(var + eps) · weight + bias, with mean and var over batch and places of every
    rank's input; on one rank as BatchNormalization, SpatialBatchNormalization and so on.
    x: (N, num_channels, …) -> the same shape.  Each rank runs the layer with at least one sample.
    ``SyncBatchNormalization.convert(model)`` replaces the layers of a model.
    Raises ShapeError for other shapes, ValueError for a momentum that is no number.  Source:
    PyTorch's SyncBatchNorm.
    """

    keeps: ClassVar[tuple[str, ...]] = ()
    synchronizes = True  # what cuts batches for ranks asks it

    def __init__(
        self, num_channels: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True
    ) -> None:
        super().__init__(num_channels, eps, momentum, affine)

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or x.shape[1] != self.running_mean.shape[0]:
            raise ShapeError(
                f"the input of shape {x.shape} is no batch of {self.running_mean.shape[0]} features"
                ", (N, num_channels, …)"
            )
        features = (1, -1, *(1,) * (x.ndim - 2))
        axes = (0, *range(2, x.ndim))
        # with several ranks there are several samples
        if self.train and (x.shape[0] > 1 or collectives.current().size > 1):
            own = np.array(math.prod(x.shape[a] for a in axes), x.dtype)
            count = ops.sum_over_ranks(Tensor(own, device=x.device))
            mean = ops.sum_over_ranks(ops.sum(x, axis=axes, keepdims=True)) / count
            centered = x - mean
            square = ops.sum(centered * centered, axis=axes, keepdims=True)
            var = ops.sum_over_ranks(square) / count
            y = centered / ops.sqrt(var + self.eps)
            with no_grad():
                self._move(self.running_mean, mean)
                self._move(self.running_var, var * (count / (count - 1)))
        else:
            mean, var = self.running_mean.reshape(features), self.running_var.reshape(features)
            y = (x - mean) / ops.sqrt(var + self.eps)
        if self.weight is None or self.bias is None:
            return y
        return y * self.weight.reshape(features) + self.bias.reshape(features)

    def _move(self, running: Buffer, batch: Tensor) -> None:
        running.assign(running * (1 - self.momentum) + batch.reshape(-1) * self.momentum)

    @classmethod
    def of(cls, layer: BatchNormalization) -> SyncBatchNormalization:
        """Return a layer with the parameters and statistics of another, the same objects.

        Raises ValueError for a layer whose features are the last axis.
        """
        if getattr(layer, "format", "NCHW") != "NCHW":
            raise ValueError("SyncBatchNormalization: the features are axis 1, not the last one")
        made = cls(1, layer.eps, layer.momentum, layer.affine)
        for name in ("running_mean", "running_var", "weight", "bias"):
            setattr(made, name, getattr(layer, name))
        made.train = layer.train
        return made

    @classmethod
    def convert(cls, model: Any) -> Any:
        """Replace every batch normalization in `model`, in place; return the model.

        A layer itself is returned as a new one, with the same parameters.
        """
        if isinstance(model, BatchNormalization):
            return model if isinstance(model, cls) else cls.of(model)
        return model.replace(
            lambda part: (
                cls.of(part)
                if isinstance(part, BatchNormalization) and not isinstance(part, cls)
                else part
            )
        )

    def __repr__(self) -> str:
        return f"nn.SyncBatchNormalization ({self.running_mean.shape[0]})"
