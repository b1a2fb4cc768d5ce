"""Negative log-likelihoods that Torch7 lacks: of Gaussian, Poisson and Bernoulli distributions.

They compute what PyTorch's losses of these names do, and the tests compare the two.  `reduction` is
"mean", "sum" or "none", as in Criterion.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tapegrad.autograd import ops, primitive
from tapegrad.autograd.ops.arrays import refuse_complex
from tapegrad.autograd.ops.batch_rules import elementwise_rule
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.criterions.targets import (
    set_reduction,
    sum_or_mean,
    target_like,
    weights_buffer,
    weights_for,
)

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Nest, Operand
    from tapegrad.devices import Array, Namespace

__all__ = [
    "BCEWithLogitsCriterion",
    "FocalCriterion",
    "GaussianNLLCriterion",
    "PoissonNLLCriterion",
]

NEGATIVE = "the variances hold {value}: they are at least 0 (exp or SoftPlus of a layer's result)"


class BCEWithLogitsCriterion(Criterion):
    """loss = Σ w·(p·t·log(1 + e⁻ˣ) + (1 - t)·log(1 + eˣ)) / n: BCECriterion of Sigmoid, exactly.

    x: scores;  target t: in [0, 1], of the same shape -> 0-d.  weights w: of the last axes of x;
    pos_weight p, of the last axes of x too: the weight of positive targets; both 1 when None.
    Raises ShapeError when the shapes differ, or the weights do not fit.
    Source: PyTorch's BCEWithLogitsLoss.
    """

    keeps = ("weights", "pos_weight")

    def __init__(
        self,
        weights: Operand | None = None,
        pos_weight: Operand | None = None,
        reduction: str = "mean",
    ) -> None:
        self.weights = weights_buffer(weights)
        self.pos_weight = weights_buffer(pos_weight)
        set_reduction(self, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        t = target_like(x, target)
        if self.pos_weight is None:
            losses = ops.logistic_loss(x, t)
        else:
            positive = t * ops.log_one_plus_exp(-x) * weights_for(self.pos_weight, x)
            losses = positive + (1 - t) * ops.log_one_plus_exp(x)
        if self.weights is not None:
            losses = losses * weights_for(self.weights, x)
        return sum_or_mean(losses, self)


class FocalCriterion(Criterion):
    """loss = Σ a·(1 - q)^γ·log(1/q) / n, with q = σ(x) where t = 1, and 1 - σ(x) where t = 0.

    x: scores;  target t: 0 or 1, of the same shape -> 0-d.  gamma γ >= 0: how much less an entry
    counts the surer the prediction is; 0 is BCEWithLogitsCriterion.  alpha: a is alpha where t = 1
    and 1 - alpha where t = 0; 1 when None.
    Raises ValueError for a negative gamma, ShapeError when the shapes differ.
    Source: T.-Y. Lin et al., "Focal loss for dense object detection", ICCV 2017, equation 5.
    """

    keeps = ("gamma", "alpha")

    def __init__(
        self, gamma: float = 2, alpha: float | None = None, reduction: str = "mean"
    ) -> None:
        if not gamma >= 0:
            raise ValueError(f"FocalCriterion: gamma is {gamma}, it must be at least 0")
        self.gamma = gamma
        self.alpha = alpha
        set_reduction(self, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        t = target_like(x, target)
        # s is the score of the right answer, so that q = σ(s), and 1 - q = σ(-s) without rounding.
        s = x * (2 * t - 1)
        losses = ops.exp(-self.gamma * ops.log_one_plus_exp(s)) * ops.log_one_plus_exp(-s)
        if self.alpha is not None:
            losses = losses * (self.alpha * t + (1 - self.alpha) * (1 - t))
        return sum_or_mean(losses, self)


class GaussianNLLCriterion(Criterion):
    """loss = Σ ½·(log v + (m - t)²/v) / n, with v = max(variance, eps).

    x: [m, variance], the means and the variances, of one shape, or one variance for the last axis,
    (…, 1);  target t: in the shape of m -> 0-d.  full: add ½·log 2π to each.
    Raises ShapeError for other shapes, ValueError for a negative variance.
    Source: D. Nix, A. Weigend, "Estimating the mean and variance of the target probability
    distribution", 1994.
    """

    keeps = ("full", "eps")

    def __init__(self, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        self.full = bool(full)
        self.eps = eps
        set_reduction(self, reduction)

    def updateOutput(self, x: Nest, target: Nest) -> Tensor:
        mean, variance = entries_of(x, 2)
        if variance.shape not in (mean.shape, (*mean.shape[:-1], 1)):
            raise ShapeError(f"the means are {mean.shape}, the variances {variance.shape}")
        variance = ops.maximum(variance + below_zero(variance), self.eps)
        difference = mean - target_like(mean, target)
        losses = (ops.log(variance) + ops.square(difference) / variance) * 0.5
        return sum_or_mean(losses + (0.5 * math.log(2 * math.pi) if self.full else 0), self)


class PoissonNLLCriterion(Criterion):
    """loss = Σ (eˣ - t·x) / n: of counts t, with x the logarithm of the expected count.

    x, target t: of one shape -> 0-d.  log_input False: x is the expected count itself, and the
    loss Σ (x - t·log(x + eps)) / n.  full: add Stirling's t·log t - t + ½·log 2πt where t > 1.
    Raises ShapeError when the shapes differ.  Source: PyTorch's PoissonNLLLoss.
    """

    keeps = ("log_input", "full", "eps")

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-8,
        reduction: str = "mean",
    ) -> None:
        self.log_input = bool(log_input)
        self.full = bool(full)
        self.eps = eps
        set_reduction(self, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        t = target_like(x, target)
        losses = ops.exp(x) - t * x if self.log_input else x - t * ops.log(x + self.eps)
        if self.full:
            many = ops.greater(t, 1)
            n = ops.where(many, t, 1)
            stirling = n * ops.log(n) - n + 0.5 * ops.log(2 * math.pi * n)
            losses = losses + ops.where(many, stirling, 0)
        return sum_or_mean(losses, self)


@primitive(differentiable=False)
def below_zero(xp: Namespace, x: Array) -> Array:
    """Zeros like x.  Raises ValueError if an entry is below 0.

    It is a primitive, whose result a loss adds, so that a replayed step checks its values too.
    """
    refuse_complex(x, "a loss with variances")
    negative = x < 0
    if bool(negative.any()):
        raise ValueError(NEGATIVE.format(value=x[negative][0].item()))
    return xp.zeros_like(x)


below_zero.batch(elementwise_rule)
