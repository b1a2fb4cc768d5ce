"""Losses of class labels.

Class labels count from 0.  A negative label is no class, and does not count from the end, because
people write -1 for "unknown".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad import devices
from tapegrad.autograd import ops
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.labels import class_labels
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.criterions.losses import MSECriterion
from tapegrad.nn.criterions.targets import target_tensor, weights_buffer
from tapegrad.nn.layers.softmax import LogSoftMax

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Nest, Operand

__all__ = [
    "ClassNLLCriterion",
    "ClassSimplexCriterion",
    "CrossEntropyCriterion",
    "SpatialClassNLLCriterion",
]


class ClassNLLCriterion(Criterion):
    """loss = -Σᵢ w[tᵢ]·x[i, tᵢ] / Σᵢ w[tᵢ]: the negative log-likelihood of the labels t.

    x: log-probabilities (C,) or (N, C);  target: one label, or N of them, any numeric dtype -> 0-d.
    weights: (C,), one for each class; all 1 when None.  With sizeAverage False the sum is not
    divided.  Samples whose label is `ignoreIndex` are left out of both sums; the loss of no samples
    is 0.
    Raises ShapeError for other shapes, and for a label that is no class.
    Source: nn.ClassNLLCriterion.
    """

    keeps = ("weights", "sizeAverage", "ignoreIndex")
    counts: ClassVar[Mapping[str, str]] = {"ignoreIndex": "label", "target": "label"}
    ignoreIndex: int | None

    def __init__(
        self, weights: Operand | None = None, sizeAverage: bool = True, ignoreIndex: int = -100
    ) -> None:
        self.weights = weights_buffer(weights)
        self.sizeAverage = sizeAverage
        self.ignoreIndex = ignoreIndex

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        if x.ndim not in (1, 2):
            raise ShapeError(f"the input of shape {x.shape} is neither (C,) nor (N, C)")
        rows = x.reshape((-1, x.shape[-1]))
        target = target_tensor(target, x)
        if target.ndim == 0 and rows.shape[0] == 1:
            target = target.reshape((1,))
        if target.shape != rows.shape[:1]:
            raise ShapeError(
                f"the target of shape {target.shape} does not hold one label for each of the "
                f"{rows.shape[0]} samples of the input of shape {x.shape}"
            )
        return self._loss_of_rows(rows, target)

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        """The mean divides by the weights of the labels that count, and so does that of batches."""
        if not self.sizeAverage:
            return 1, samples
        labels = np.asarray(devices.to_numpy(array_of(target_tensor(target, x).detach())))
        labels = labels[(labels >= 0) & (labels != self.ignoreIndex)]
        if self.weights is None:
            return labels.size, labels.size
        weights = devices.to_numpy(array_of(self.weights.detach()))
        total = float(weights[labels.astype(np.int64)].sum())
        return total, total

    def _loss_of_rows(self, rows: Tensor, target: Tensor) -> Tensor:
        """The loss of log-probabilities (N, C) and N labels."""
        samples, classes = rows.shape
        if self.weights is not None and self.weights.shape != (classes,):
            raise ShapeError(
                f"the input has {classes} classes, weights has shape {self.weights.shape}"
            )
        labels = class_labels(target, classes=classes, ignored=self.ignoreIndex)
        factors = ops.cast(ops.greater_equal(labels, 0), dtype=rows.dtype)
        labels = ops.maximum(labels, 0)
        if self.weights is not None:
            factors = factors * ops.cast(self.weights[labels], dtype=rows.dtype)
        picked = ops.take_along_axis(rows, labels.reshape((samples, 1)), axis=1)
        loss = -ops.sum(picked.reshape((samples,)) * factors)
        if not self.sizeAverage:
            return loss
        total = ops.sum(factors)
        return loss / ops.where(ops.equal(total, 0), 1, total)


class SpatialClassNLLCriterion(ClassNLLCriterion):
    """ClassNLLCriterion at every pixel of an image: the weighted mean over all pixels.

    x: log-probabilities (N, C, H, W) or (C, H, W);  target: labels (N, H, W) or (H, W) -> 0-d.
    weights, sizeAverage: as in ClassNLLCriterion.  Raises as it does.
    Source: nn.SpatialClassNLLCriterion, which takes batches only.
    """

    counts: ClassVar[Mapping[str, str]] = {"target": "label"}

    def __init__(self, weights: Operand | None = None, sizeAverage: bool = True) -> None:
        super().__init__(weights, sizeAverage)
        self.ignoreIndex = None

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        if x.ndim not in (3, 4):
            raise ShapeError(f"the input of shape {x.shape} is neither (C, H, W) nor (N, C, H, W)")
        target = target_tensor(target, x)
        last = ops.moveaxis(x, -3, -1)
        if target.shape != last.shape[:-1]:
            raise ShapeError(
                f"the target of shape {target.shape} does not hold one label for each of the "
                f"pixels {last.shape[:-1]} of the input of shape {x.shape}"
            )
        return self._loss_of_rows(last.reshape((-1, last.shape[-1])), target.reshape((-1,)))


class CrossEntropyCriterion(Criterion):
    """ClassNLLCriterion of LogSoftMax of x: the cross entropy of unnormalised scores.

    x: scores (C,) or (N, C); with more axes, those of length 1 are dropped.
    target, weights, sizeAverage: as in ClassNLLCriterion -> 0-d.  Raises as it does.
    Source: nn.CrossEntropyCriterion.
    """

    keeps = ("lsm", "nll", "sizeAverage")
    counts: ClassVar[Mapping[str, str]] = {"target": "label"}

    def __init__(self, weights: Operand | None = None, sizeAverage: bool = True) -> None:
        self.lsm = LogSoftMax()
        self.nll = ClassNLLCriterion(weights, sizeAverage)
        self.sizeAverage = sizeAverage

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        target = target_tensor(target, x)
        if x.ndim > 2:
            x = x.reshape([length for length in x.shape if length != 1] or [1])
        self.nll.sizeAverage = self.sizeAverage
        return self.nll.updateOutput(self.lsm.updateOutput(x), target.reshape((-1,)))

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        self.nll.sizeAverage = self.sizeAverage
        return self.nll.mean_weights(x, target, samples)


class ClassSimplexCriterion(MSECriterion):
    """MSECriterion against the corner of a regular simplex that stands for the label.

    x: (C,) or (N, C), C = nClasses;  target: one label, or N of them -> 0-d.
    `simplex` (C, C) holds the corners as rows: unit vectors with equal distances from each other,
    whose last coordinate is 0.
    Raises ValueError unless nClasses > 1, ShapeError for other shapes and labels that are no class.
    Source: nn.ClassSimplexCriterion.
    """

    keeps = ("nClasses", "simplex")
    counts: ClassVar[Mapping[str, str]] = {"target": "label"}

    def __init__(self, nClasses: int) -> None:
        if nClasses != int(nClasses) or nClasses < 2:
            raise ValueError(
                f"ClassSimplexCriterion: nClasses is {nClasses}, it must be at least 2"
            )
        super().__init__()
        self.nClasses = int(nClasses)
        self.simplex = Buffer(simplex(self.nClasses))

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        self._check_shape(x)
        target = target_tensor(target, x)
        if target.size * self.nClasses != x.size:
            raise ShapeError(
                f"the target of shape {target.shape} does not hold one label for each sample of "
                f"the input of shape {x.shape}"
            )
        labels = class_labels(target.reshape((-1,)), classes=self.nClasses)
        return super().updateOutput(x, self.simplex[labels].reshape(x.shape))

    def getPredictions(self, x: Tensor) -> Tensor:
        """The scores of all classes, x·simplexᵀ: the nearest corner has the largest."""
        self._check_shape(x)
        return ops.matmul(x, ops.cast(self.simplex, dtype=x.dtype).T)

    def getTopPrediction(self, x: Tensor) -> Tensor:
        """The label of the nearest corner: 0-d, or (N,) for a batch."""
        return ops.argmax(self.getPredictions(x), axis=-1)

    def _check_shape(self, x: Tensor) -> None:
        if x.ndim not in (1, 2) or x.shape[-1] != self.nClasses:
            raise ShapeError(
                f"the input of shape {x.shape} is neither (C,) nor (N, C) with C = {self.nClasses}"
            )


def simplex(corners: int) -> np.ndarray[Any, Any]:
    """The corners of a regular simplex on the unit sphere, as rows: (corners, corners)."""
    rows = np.zeros((corners, corners))
    for k in range(corners - 1):
        rows[k, k] = math.sqrt(1 - float(rows[k, :k] @ rows[k, :k]))
        # Every later corner has the inner product -1/(corners - 1) with this one.
        rows[k + 1 :, k] = (rows[k, k] ** 2 - 1 - 1 / (corners - 1)) / rows[k, k]
    return rows
