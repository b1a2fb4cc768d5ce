"""Losses that compare entry by entry: squares, magnitudes, and divergences of probabilities.

The prediction comes first and the target second, in the same shape.  The losses
are means over entries, not over samples, as in Torch7; with sizeAverage False they are sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tapegrad.autograd import ops
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.criterions.targets import (
    outside_unit_interval,
    set_reduction,
    sum_or_mean,
    target_like,
    weights_buffer,
    weights_for,
)

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Nest, Operand

__all__ = [
    "AbsCriterion",
    "BCECriterion",
    "DistKLDivCriterion",
    "HuberCriterion",
    "L1Cost",
    "MSECriterion",
    "MultiLabelSoftMarginCriterion",
    "SmoothL1Criterion",
    "SpatialAutoCropMSECriterion",
    "WeightedMSECriterion",
]


class MSECriterion(Criterion):
    """loss = Σ (x - target)² / n, with n the number of entries, not of samples.

    x, target: arrays of one shape, axes of length 1 apart -> 0-d, in the dtype of x.
    With sizeAverage False the sum is not divided; reduction: see Criterion.  Raises ShapeError when
    the shapes differ.  Source: nn.MSECriterion.

    >>> from tapegrad import nn
    >>> nn.MSECriterion()(np.array([1.0, 2.0]), np.array([1.0, 4.0])).item()
    2.0
    """

    keeps: ClassVar[tuple[str, ...]] = ("sizeAverage",)

    def __init__(self, sizeAverage: bool = True, reduction: str | None = None) -> None:
        self.sizeAverage = sizeAverage
        set_reduction(self, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        return sum_or_mean(ops.square(x - target_like(x, target)), self)


class AbsCriterion(Criterion):
    """loss = Σ |x - target| / n; the derivative of |0| is 1.

    x, target: arrays of one shape, axes of length 1 apart -> 0-d.  With sizeAverage False the sum
    is not divided; reduction: see Criterion.  Raises ShapeError when the shapes
    differ.  Source: nn.AbsCriterion.
    """

    keeps = ("sizeAverage",)

    def __init__(self, sizeAverage: bool = True, reduction: str | None = None) -> None:
        self.sizeAverage = sizeAverage
        set_reduction(self, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        return sum_or_mean(ops.magnitude(x - target_like(x, target)), self)


class SmoothL1Criterion(Criterion):
    """loss = Σ h(x - target) / n, with h(d) = d²/2 where |d| < 1, else |d| - 1/2.

    x, target: arrays of one shape, axes of length 1 apart -> 0-d.  With sizeAverage False the sum
    is not divided; reduction: see Criterion.  Raises ShapeError when the shapes
    differ.  Source: nn.SmoothL1Criterion;
    P. Huber, "Robust estimation of a location parameter", 1964.
    """

    keeps = ("sizeAverage",)

    def __init__(self, sizeAverage: bool = True, reduction: str | None = None) -> None:
        self.sizeAverage = sizeAverage
        set_reduction(self, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        return sum_or_mean(ops.huber(x - target_like(x, target)), self)


class HuberCriterion(Criterion):
    """loss = Σ h(x - target) / n, with h(d) = d²/2 where |d| < δ, else δ·(|d| - δ/2).

    x, target: arrays of one shape, axes of length 1 apart -> 0-d.  delta δ > 0; 1 is
    SmoothL1Criterion.  Raises ValueError for another delta, ShapeError when the shapes differ.
    Source: P. Huber, "Robust estimation of a location parameter", 1964.
    """

    keeps = ("delta",)

    def __init__(self, delta: float = 1, reduction: str = "mean") -> None:
        if not delta > 0:
            raise ValueError(f"HuberCriterion: delta is {delta}, it must be positive")
        self.delta = delta
        set_reduction(self, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        return sum_or_mean(ops.huber(x - target_like(x, target), delta=self.delta), self)


class WeightedMSECriterion(MSECriterion):
    """loss = Σ (x - weight·target)² / n: the weight multiplies the target only, as in Torch7.

    x, target: (…, *weight.shape) -> 0-d.  With `sizeAverage` set to False the sum is not divided.
    Raises ShapeError when the shapes differ.  Source: nn.WeightedMSECriterion.
    """

    keeps = ("weight",)

    def __init__(self, weight: Operand) -> None:
        super().__init__()
        self.weight = Buffer(weight)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        return super().updateOutput(x, target_like(x, target) * weights_for(self.weight, x))


class SpatialAutoCropMSECriterion(MSECriterion):
    """MSECriterion against the centre of a target that may be larger than the prediction.

    x: (…, H, W);  target: (…, H', W') with H' >= H, W' >= W -> 0-d.  The crop starts at
    ⌊(H' - H)/2⌋, ⌊(W' - W)/2⌋.
    Raises ShapeError when the target is smaller, or its other axes differ.
    Source: nn.SpatialAutoCropMSECriterion.
    """

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        if getattr(target, "ndim", 0) != x.ndim or x.ndim < 2 or x.shape[:-2] != target.shape[:-2]:
            raise ShapeError(
                f"the input of shape {x.shape} and the target of shape "
                f"{getattr(target, 'shape', ())} may differ in height and width only"
            )
        sides = list(zip(target.shape[-2:], x.shape[-2:], strict=True))
        margins = [target_side - side for target_side, side in sides]
        if min(margins) < 0:
            raise ShapeError(f"the target of shape {target.shape} is smaller than {x.shape}")
        rows, columns = (
            slice(margin // 2, margin // 2 + side)
            for margin, (_, side) in zip(margins, sides, strict=True)
        )
        return super().updateOutput(x, target[..., rows, columns])


class L1Cost(Criterion):
    """loss = Σ |x|: a penalty, which needs no target; the derivative of |0| is 0.

    x: any shape -> 0-d.  Source: nn.L1Cost.
    """

    def updateOutput(self, x: Tensor, target: Nest = None) -> Tensor:
        return ops.sum(ops.absolute(x))

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        return 1, samples


class DistKLDivCriterion(Criterion):
    """loss = Σ t·(log t - x) / n over the entries where t > 0: the Kullback-Leibler divergence.

    x: log-probabilities;  target t: probabilities, of the same shape -> 0-d; n counts all entries.
    With `sizeAverage` set to False the sum is not divided.  Raises ShapeError when the shapes
    differ.  Source: nn.DistKLDivCriterion.
    """

    keeps = ("sizeAverage",)

    def __init__(self) -> None:
        self.sizeAverage = True

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        t = target_like(x, target)
        positive = ops.greater(t, 0)
        # Where t is 0 the term is 0 for every x, also for x = -∞.
        logarithms = ops.log(ops.where(positive, t, 1))
        terms = ops.where(positive, t * (logarithms - x), 0)
        return sum_or_mean(terms, self)


class BCECriterion(Criterion):
    """loss = -Σ w·(t·log(x + ε) + (1 - t)·log(1 - x + ε)) / n, with ε = 1e-12.

    x: probabilities, 0 <= x <= 1;  target t: of the same shape -> 0-d.
    weights w: of the last axes of x; 1 when None.  With sizeAverage False the sum is not divided.
    Raises ShapeError when the shapes differ, or the weights do not fit, ValueError when x is no
    probability.  Source: nn.BCECriterion.
    """

    keeps = ("weights", "sizeAverage")
    eps = 1e-12

    def __init__(
        self,
        weights: Operand | None = None,
        sizeAverage: bool = True,
        reduction: str | None = None,
    ) -> None:
        self.weights = weights_buffer(weights)
        self.sizeAverage = sizeAverage
        set_reduction(self, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        t = target_like(x, target)
        zero = outside_unit_interval(x)  # before the logarithms, which would warn
        terms = t * ops.log(x + self.eps) + (1 - t) * ops.log(1 - x + self.eps) + zero
        if self.weights is not None:
            terms = terms * weights_for(self.weights, x)
        return -sum_or_mean(terms, self)


class MultiLabelSoftMarginCriterion(Criterion):
    """loss = -Σ w·(t·log σ(x) + (1 - t)·log(1 - σ(x))) / n: BCE of scores, without overflow.

    x: scores;  target t: 0 or 1 for each -> 0-d.  weights w: of the last axes of x; 1 when None.
    With sizeAverage False the sum is not divided.
    Raises ShapeError when the shapes differ, or the weights do not fit.
    Source: nn.MultiLabelSoftMarginCriterion.
    """

    keeps = ("weights", "sizeAverage")

    def __init__(
        self,
        weights: Operand | None = None,
        sizeAverage: bool = True,
        reduction: str | None = None,
    ) -> None:
        self.weights = weights_buffer(weights)
        self.sizeAverage = sizeAverage
        set_reduction(self, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        t = target_like(x, target)
        terms = ops.logistic_loss(x, t)
        if self.weights is not None:
            terms = terms * weights_for(self.weights, x)
        return sum_or_mean(terms, self)
