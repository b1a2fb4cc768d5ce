"""BigDL's losses that compare vectors: by angle, by overlap, by relative error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapegrad.autograd import ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.criterions.distributions import SMALL, samples_of
from tapegrad.nn.criterions.targets import target_like, target_tensor

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Nest

__all__ = [
    "CosineDistanceCriterion",
    "CosineProximityCriterion",
    "DiceCoefficientCriterion",
    "DotProductCriterion",
    "MeanAbsolutePercentageCriterion",
    "MeanSquaredLogarithmicCriterion",
    "SmoothL1CriterionWithWeights",
]


class CosineDistanceCriterion(Criterion):
    """loss = Σ (1 - cos(x, t)) / N.

    x, target t: (n,) or (N, n) of one shape -> 0-d; squared norms have 1e-12 added.  With
    sizeAverage False the sum is not divided.  Raises ShapeError for other shapes.
    Source: BigDL's CosineDistanceCriterion.
    """

    keeps = ("sizeAverage",)

    def __init__(self, sizeAverage: bool = True) -> None:
        self.sizeAverage = sizeAverage

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        if x.ndim not in (1, 2):
            raise ShapeError(f"the input of shape {x.shape} is neither (n,) nor (N, n)")
        t = target_like(x, target)
        squares = [ops.sum(ops.square(v), axis=-1) + 1e-12 for v in (x, t)]
        cosine = ops.sum(x * t, axis=-1) / (ops.sqrt(squares[0]) * ops.sqrt(squares[1]))
        total = ops.sum(1 - cosine)
        return total / samples_of(x) if self.sizeAverage else total


class CosineProximityCriterion(Criterion):
    """loss = -Σ cos(x, t) / n, with n the number of entries, not of samples.

    x, target t: of one shape, vectors along the last axis -> 0-d; a squared norm counts as at least
    1e-12.  Raises ShapeError when the shapes differ, and for a single number.
    Source: BigDL's CosineProximityCriterion, after Keras.
    """

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        if not x.ndim:
            raise ShapeError("the input is a single number, it must be vectors (…, n)")
        units = [
            v / ops.sqrt(ops.maximum(ops.sum(ops.square(v), axis=-1, keepdims=True), 1e-12))
            for v in (x, target_like(x, target))
        ]
        return -ops.mean(units[0] * units[1])


class DotProductCriterion(Criterion):
    """loss = Σ x·t.

    x, target t: (n,) or (N, n) of one shape -> 0-d; sizeAverage divides by N.
    Raises ShapeError when the shapes differ.  Source: BigDL's DotProductCriterion.
    """

    keeps = ("sizeAverage",)

    def __init__(self, sizeAverage: bool = False) -> None:
        self.sizeAverage = sizeAverage

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        total = ops.sum(x * target_like(x, target))
        return total / samples_of(x) if self.sizeAverage else total


class DiceCoefficientCriterion(Criterion):
    """loss = Σ (1 - (2·Σ x·t + epsilon) / (Σ x + Σ t + epsilon)) / N, the inner sums by sample.

    x, target t: (n,) or (N, …) of one shape -> 0-d.  With sizeAverage False the sum is not divided.
    Raises ShapeError when the shapes differ.  Source: BigDL's DiceCoefficientCriterion.
    """

    keeps = ("sizeAverage", "epsilon")

    def __init__(self, sizeAverage: bool = True, epsilon: float = 1) -> None:
        self.sizeAverage = sizeAverage
        self.epsilon = epsilon

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        t = target_like(x, target)
        axes = tuple(range(min(x.ndim - 1, 1), x.ndim))
        overlap = 2 * ops.sum(x * t, axis=axes) + self.epsilon
        size = ops.sum(x, axis=axes) + ops.sum(t, axis=axes) + self.epsilon
        total = ops.sum(1 - overlap / size)
        return total / samples_of(x) if self.sizeAverage else total


class MeanAbsolutePercentageCriterion(Criterion):
    """loss = 100·Σ |x - t| / |t| / n, where |t| counts as at least 1e-7.

    x, target t: of one shape -> 0-d.  Raises ShapeError when the shapes differ.
    Source: BigDL's MeanAbsolutePercentageCriterion, after Keras.
    """

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        t = target_like(x, target)
        return 100 * ops.mean(ops.absolute(x - t) / ops.maximum(ops.absolute(t), SMALL))


class MeanSquaredLogarithmicCriterion(Criterion):
    """loss = Σ (log(1 + x) - log(1 + t))² / n, where x and t count as at least 1e-7.

    x, target t: of one shape -> 0-d.  Raises ShapeError when the shapes differ.
    Source: BigDL's MeanSquaredLogarithmicCriterion, after Keras.
    """

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        logarithms = [ops.log(ops.maximum(v, SMALL) + 1) for v in (x, target_like(x, target))]
        return ops.mean(ops.square(logarithms[0] - logarithms[1]))


class SmoothL1CriterionWithWeights(Criterion):
    """loss = Σ w_out·h(w_in·(x - t)) / M; h(d) = (sigma·d)²/2 near 0, |d| - 1/(2·sigma²) elsewhere.

    Near 0 means |d| < 1/sigma².  x: (N, …);  target: [t, w_in, w_out], in the shape of x, or [t]
    with weights 1 -> 0-d.  M is num, or N if num is 0.
    Raises ShapeError for other shapes, ValueError unless sigma > 0.
    Source: BigDL's SmoothL1CriterionWithWeights; R. Girshick, "Fast R-CNN", ICCV 2015, equation 3.
    """

    keeps = ("sigma", "num")

    def __init__(self, sigma: float, num: int = 0) -> None:
        if not sigma > 0:
            raise ValueError(f"SmoothL1CriterionWithWeights: sigma is {sigma}, it must be positive")
        self.sigma = sigma
        self.num = num

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        parts = entries_of(target) if isinstance(target, (list, tuple)) else [target]
        if len(parts) not in (1, 3):
            raise ShapeError(
                f"the target has {len(parts)} entries, it must be [t] or [t, w_in, w_out]"
            )
        t, *weights = (target_like(x, target_tensor(part, x)) for part in parts)
        difference = (x - t) * weights[0] if weights else x - t
        size, square = ops.absolute(difference), self.sigma**2
        near = 0.5 * square * ops.square(difference)
        losses = ops.where(ops.less(size, 1 / square), near, size - 0.5 / square)
        if weights:
            losses = losses * weights[1]
        return ops.sum(losses) / (self.num if self.num > 0 else max(x.shape[0] if x.ndim else 1, 1))
