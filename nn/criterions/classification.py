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
from tapegrad.nn.core.axes import axis_of
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.labels import class_labels, pick_by_label
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.criterions.cross_entropy import cross_entropy
from tapegrad.nn.criterions.label_likelihood import label_likelihood
from tapegrad.nn.criterions.losses import MSECriterion
from tapegrad.nn.criterions.targets import (
    check_reduction,
    in_shape,
    is_mean,
    longer_axes,
    set_reduction,
    sum_or_mean,
    target_of_shape,
    target_tensor,
    weights_buffer,
)
from tapegrad.nn.layers.softmax import LogSoftMax

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Nest, Operand
    from tapegrad.devices import Shape

__all__ = [
    "ClassNLLCriterion",
    "ClassSimplexCriterion",
    "CrossEntropyCriterion",
    "SpatialClassNLLCriterion",
]


NO_LABELS = (
    "the target of shape {found} fits the input of shape {x} neither as labels {wanted} nor as "
    "shares of the classes {x}; the classes are along axis {axis}{hint}"
)
CLASSES_LAST = ": where they are the last axis, say axis=-1"


class ClassNLLCriterion(Criterion):
    """loss = -Σᵢ w[tᵢ]·x[i, tᵢ] / Σᵢ w[tᵢ]: the negative log-likelihood of the labels t.

    x: log-probabilities (C,) or (N, C);  target: one label, or N of them, any numeric dtype -> 0-d.
    weights: (C,), one for each class; all 1 when None.  With sizeAverage False the sum is not
    divided.  Samples whose label is `ignoreIndex` are left out of both sums; the loss of no samples
    is 0.  With reduction "none" the result has the target's shape.
    logProbAsInput False: x are probabilities, which count as at least 1e-8 (BigDL's option).
    Raises ShapeError for other shapes, and for a label that is no class.
    Source: nn.ClassNLLCriterion.
    """

    keeps = ("weights", "sizeAverage", "ignoreIndex", "logProbAsInput")
    counts: ClassVar[Mapping[str, str]] = {"ignoreIndex": "label", "target": "label"}
    ignoreIndex: int | None
    logProbAsInput = True

    def __init__(
        self,
        weights: Operand | None = None,
        sizeAverage: bool = True,
        ignoreIndex: int | None = -100,
        reduction: str | None = None,
        logProbAsInput: bool = True,
    ) -> None:
        if not logProbAsInput:
            self.logProbAsInput = False
        self.weights = weights_buffer(weights)
        self.sizeAverage = sizeAverage
        self.ignoreIndex = ignoreIndex
        set_reduction(self, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        if x.ndim not in (1, 2):
            raise ShapeError(f"the input of shape {x.shape} is neither (C,) nor (N, C)")
        rows = in_shape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
        target = target_tensor(target, x)
        if target.ndim == 0 and rows.shape[0] == 1:
            target = target.reshape((1,))
        if target.shape != rows.shape[:1]:
            raise ShapeError(
                f"the target of shape {target.shape} does not hold one label for each of the "
                f"{rows.shape[0]} samples of the input of shape {x.shape}"
            )
        if not self.logProbAsInput:
            rows = ops.log(ops.clip(rows, 1e-8, 1))
        return self.loss_of_labels(rows, target, x.shape[:-1])

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        """The mean divides by the weights of the labels that count, and so does that of batches."""
        if not is_mean(self):
            return 1, samples
        labels = np.asarray(devices.to_numpy(array_of(target_tensor(target, x).detach())))
        labels = labels[(labels >= 0) & (labels != self.ignoreIndex)]
        if self.weights is None:
            return labels.size, labels.size
        weights = devices.to_numpy(array_of(self.weights.detach()))
        total = float(weights[labels.astype(np.int64)].sum())
        return total, total

    def loss_of_labels(
        self, x: Tensor, target: Tensor, shape: Shape, *, smoothing: float = 0
    ) -> Tensor:
        """The loss of log-probabilities (N, C, …) and labels (N, …).

        smoothing: the share of the mean over all classes.  shape: of the losses that reduction
        "none" gives.
        """
        classes = x.shape[1]
        self.check_weights(classes)
        if self.reduction is not None:
            check_reduction(self, self.reduction)
        if self.reduction != "none" and not smoothing:
            return label_likelihood(
                x, target, self.weights, ignored=self.ignoreIndex, mean=is_mean(self)
            )
        labels = class_labels(target, classes=classes, ignored=self.ignoreIndex)
        counted = ops.cast(ops.greater_equal(labels, 0), dtype=x.dtype)
        factors = counted
        if self.weights is not None:
            own = ops.cast(self.weights[ops.maximum(labels, 0)], dtype=x.dtype)
            factors = counted * own
        losses = -(pick_by_label(x, labels) * factors)
        if smoothing:
            even = -ops.mean(self.weighted(x), axis=1) * counted
            losses = losses * (1 - smoothing) + even * smoothing
        total = ops.sum(factors)
        count = ops.where(ops.equal(total, 0), 1, total)
        return sum_or_mean(in_shape(losses, shape), self, count)

    def loss_of_shares(self, rows: Tensor, shares: Tensor, shape: Shape) -> Tensor:
        """The loss of log-probabilities (N, C) and shares (N, C) of the classes."""
        self.check_weights(rows.shape[1])
        losses = -ops.sum(self.weighted(rows) * shares, axis=1)
        return sum_or_mean(in_shape(losses, shape), self, max(rows.shape[0], 1))

    def weighted(self, rows: Tensor) -> Tensor:
        """Log-probabilities (N, C), each multiplied by the weight of its class."""
        return rows if self.weights is None else rows * ops.cast(self.weights, dtype=rows.dtype)

    def check_weights(self, classes: int) -> None:
        """Raise ShapeError unless there is one weight for each class, or none at all."""
        if self.weights is not None and self.weights.shape != (classes,):
            raise ShapeError(
                f"the input has {classes} classes, weights has shape {self.weights.shape}"
            )


class SpatialClassNLLCriterion(ClassNLLCriterion):
    """ClassNLLCriterion at every pixel of an image: the weighted mean over all pixels.

    x: log-probabilities (N, C, H, W) or (C, H, W);  target: labels (N, H, W) or (H, W) -> 0-d.
    weights, sizeAverage, reduction: as in ClassNLLCriterion; ignoreIndex too, None for no label.
    Raises as it does.  Source: nn.SpatialClassNLLCriterion, which takes batches only.
    """

    counts: ClassVar[Mapping[str, str]] = {"ignoreIndex": "label", "target": "label"}

    def __init__(
        self,
        weights: Operand | None = None,
        sizeAverage: bool = True,
        ignoreIndex: int | None = None,
        reduction: str | None = None,
    ) -> None:
        super().__init__(weights, sizeAverage, ignoreIndex, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        if x.ndim not in (3, 4):
            raise ShapeError(f"the input of shape {x.shape} is neither (C, H, W) nor (N, C, H, W)")
        target = target_tensor(target, x)
        pixels = (*x.shape[:-3], *x.shape[-2:])
        if target.shape != pixels:
            raise ShapeError(
                f"the target of shape {target.shape} does not hold one label for each of the "
                f"pixels {pixels} of the input of shape {x.shape}"
            )
        images, labels = in_shape(x, (-1, *x.shape[-3:])), in_shape(target, (-1, *pixels[-2:]))
        return self.loss_of_labels(images, labels, target.shape)


class CrossEntropyCriterion(Criterion):
    """ClassNLLCriterion of LogSoftMax of x: the cross entropy of unnormalised scores.

    x: scores (C,) or (N, C), or (N, C, …) at many positions, such as pixels; classes are along
    `axis`, 1 when None (0 for a single sample), and -1 for (N, T, C).
    target: labels in the shape of x without that axis, axes of length 1 apart; or shares of all
    classes, in the shape of x (soft labels) -> 0-d.  Shares are not checked to add up to 1.
    label_smoothing: this share of every target is spread evenly over the classes.
    weights, sizeAverage, ignoreIndex, reduction: as in ClassNLLCriterion; with shares the mean
    divides by the number of positions.  Raises as it does, ValueError for a label_smoothing that is
    no share.
    Source: nn.CrossEntropyCriterion; C. Szegedy et al., "Rethinking the Inception architecture",
    2016, section 7 (label smoothing).

    >>> from tapegrad import nn
    >>> scores = np.array([[2.0, 0.0], [0.0, 3.0]])
    >>> round(nn.CrossEntropyCriterion()(scores, np.array([0, 1])).item(), 4)
    0.0878
    """

    keeps = ("lsm", "nll", "sizeAverage", "label_smoothing", "axis")
    counts: ClassVar[Mapping[str, str]] = {
        "ignoreIndex": "label", "axis": "dimension", "target": "label"
    }  # fmt: skip
    label_smoothing: float = 0
    axis: int | None = None

    def __init__(
        self,
        weights: Operand | None = None,
        sizeAverage: bool = True,
        ignoreIndex: int | None = -100,
        label_smoothing: float = 0,
        reduction: str | None = None,
        axis: int | None = None,
    ) -> None:
        self.lsm = LogSoftMax()
        self.nll = ClassNLLCriterion(weights, sizeAverage, ignoreIndex)
        self.sizeAverage = sizeAverage
        if not 0 <= label_smoothing <= 1:
            raise ValueError(
                f"CrossEntropyCriterion: label_smoothing is {label_smoothing}, it must be "
                "0 <= label_smoothing <= 1"
            )
        if label_smoothing:
            self.label_smoothing = label_smoothing
        if axis is not None:
            self.axis = axis
        set_reduction(self, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        target = target_tensor(target, x)
        if x.ndim == 0:
            raise ShapeError("the input is one number, it must be scores (C,) or (N, C, …)")
        axis = axis_of(min(1, x.ndim - 1) if self.axis is None else self.axis, x.ndim)
        last = x if axis == x.ndim - 1 else ops.moveaxis(x, axis, -1)
        scores = in_shape(last, (math.prod(last.shape[:-1]), last.shape[-1]))
        if target.shape == scores.shape[:1] and self._is_simple():
            return cross_entropy(scores, target, ignored=self.nll.ignoreIndex, mean=is_mean(self))
        rows = self.lsm.updateOutput(scores)
        self.nll.sizeAverage, self.nll.reduction = self.sizeAverage, self.reduction
        if target.shape == x.shape:
            shares = ops.cast(ops.moveaxis(target, axis, -1).reshape(rows.shape), dtype=rows.dtype)
            if self.label_smoothing:
                shares = shares * (1 - self.label_smoothing) + self.label_smoothing / rows.shape[1]
            return self.nll.loss_of_shares(rows, shares, last.shape[:-1])
        if longer_axes(target.shape) != longer_axes(last.shape[:-1]):
            raise ShapeError(
                NO_LABELS.format(
                    found=target.shape, x=x.shape, axis=axis, wanted=last.shape[:-1],
                    hint=CLASSES_LAST if target.shape == x.shape[:-1] else "",
                )
            )  # fmt: skip
        return self.nll.loss_of_labels(
            rows, in_shape(target, rows.shape[:1]), last.shape[:-1], smoothing=self.label_smoothing
        )

    def _is_simple(self) -> bool:
        """Whether `cross_entropy` computes this loss of labels."""
        if self.reduction is not None:
            check_reduction(self, self.reduction)
        return self.nll.weights is None and not self.label_smoothing and self.reduction != "none"

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        """Return the weights of the labels; for shares of the classes, the number of samples."""
        self.nll.sizeAverage, self.nll.reduction = self.sizeAverage, self.reduction
        target = target_tensor(target, x)
        if target.shape == x.shape:
            return super().mean_weights(x, target, samples)
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
        samples = x.reshape((-1, self.nClasses)).shape[:1]
        target = target_of_shape(target_tensor(target, x), samples, "one label for each sample")
        labels = class_labels(target, classes=self.nClasses)
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
