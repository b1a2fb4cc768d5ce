"""BigDL's losses of distributions: cross entropies, divergences, likelihoods, policy gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from tapegrad.autograd import ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.criterions.label_likelihood import label_likelihood
from tapegrad.nn.criterions.targets import target_like, target_of_shape, target_tensor

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Nest

__all__ = [
    "CategoricalCrossEntropy",
    "GaussianCriterion",
    "KLDCriterion",
    "KullbackLeiblerDivergenceCriterion",
    "PGCriterion",
    "PoissonCriterion",
    "SoftmaxWithCriterion",
]

SMALL = 1e-7  # Keras's epsilon
MODES = ("VALID", "FULL", "BATCH_SIZE", "NONE")


def samples_of(x: Tensor) -> int:
    """The number of samples of (N, …), 1 of a single vector; at least 1."""
    return max(x.shape[0], 1) if x.ndim > 1 else 1


class CategoricalCrossEntropy(Criterion):
    """loss = -Σ t·log(x / Σ x) / N, of probabilities x and shares t of the classes.

    x: (N, C), positive;  target t: in the shape of x, such as 1 for a class and 0 for the others ->
    0-d.  Raises ShapeError when the shapes differ.  Source: BigDL's CategoricalCrossEntropy.
    """

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        t = target_like(x, target)
        logarithms = ops.log(x) - ops.log(ops.sum(x, axis=-1, keepdims=True))
        return -ops.sum(t * logarithms) / samples_of(x)


class KullbackLeiblerDivergenceCriterion(Criterion):
    """loss = Σ t·log(t / x) / N, of probabilities x and t, which count as at least 1e-7.

    x, target t: (N, C) of one shape -> 0-d.  Raises ShapeError when the shapes differ.
    Source: BigDL's KullbackLeiblerDivergenceCriterion, after Keras.
    """

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        x, t = (ops.clip(p, SMALL, 1) for p in (x, target_like(x, target)))
        return ops.sum(t * (ops.log(t) - ops.log(x))) / samples_of(x)


class KLDCriterion(Criterion):
    """loss = ½ Σ (m² + eᵛ - 1 - v) / N: the divergence of N(m, eᵛ) from N(0, 1); no target.

    x: [m, v], means and logarithms of variances, (N, n) of one shape -> 0-d.  With sizeAverage
    False the sum is not divided.  Raises ShapeError when the shapes differ.
    Source: BigDL's KLDCriterion; D. Kingma, M. Welling, "Auto-encoding variational Bayes", 2014,
    appendix B.
    """

    keeps = ("sizeAverage",)

    def __init__(self, sizeAverage: bool = True) -> None:
        self.sizeAverage = sizeAverage

    def updateOutput(self, x: Nest, target: Nest = None) -> Tensor:
        mean, logarithm = means_and_variances(x)
        total = 0.5 * ops.sum(ops.square(mean) + ops.exp(logarithm) - 1 - logarithm)
        return total / samples_of(mean) if self.sizeAverage else total


class GaussianCriterion(Criterion):
    """loss = Σ ½·(v + log 2π + (t - m)²/eᵛ): the negative logarithm of N(m, eᵛ) at t.

    x: [m, v], means and logarithms of variances;  target t: all of one shape -> 0-d.
    Raises ShapeError when the shapes differ.  Source: BigDL's GaussianCriterion.
    """

    def updateOutput(self, x: Nest, target: Nest) -> Tensor:
        mean, logarithm = means_and_variances(x)
        squares = ops.square(target_like(mean, target) - mean) / ops.exp(logarithm)
        return 0.5 * ops.sum(logarithm + math.log(2 * math.pi) + squares)

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        return 1, samples


def means_and_variances(x: Nest) -> tuple[Tensor, Tensor]:
    """[means, logarithms of variances].  Raises ShapeError when their shapes differ."""
    mean, logarithm = entries_of(x, 2)
    if mean.shape != logarithm.shape:
        raise ShapeError(f"the means are {mean.shape}, the variances {logarithm.shape}")
    return mean, logarithm


class PoissonCriterion(Criterion):
    """loss = Σ (x - t·log(x + 1e-7)) / n: of counts t, with x the expected count.

    x, target t: of one shape -> 0-d.  Raises ShapeError when the shapes differ.
    Source: BigDL's PoissonCriterion, after Keras.
    """

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        return ops.mean(x - target_like(x, target) * ops.log(x + SMALL))


class PGCriterion(Criterion):
    """loss = -Σ r·log x: the policy gradient of probabilities x and rewards r.

    x: (N, actions);  target r: in the shape of x, the reward at the action that was taken, else 0
    -> 0-d.  sizeAverage divides by N.  Raises ShapeError when the shapes differ.
    Source: BigDL's PGCriterion; R. Williams, "Simple statistical gradient-following algorithms for
    connectionist reinforcement learning", 1992.
    """

    keeps = ("sizeAverage",)

    def __init__(self, sizeAverage: bool = False) -> None:
        self.sizeAverage = sizeAverage

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        total = -ops.sum(target_like(x, target) * ops.log(x))
        return total / samples_of(x) if self.sizeAverage else total


class SoftmaxWithCriterion(Criterion):
    """loss = -Σ log softmax(x)[t] / M, over all samples and places, the classes along axis 1.

    x: scores (N, C, …);  target: a label for each sample and place, (N, …) or (N, 1, …) -> 0-d.
    ignoreLabel: a label that does not count.  normalizeMode says what M is: "VALID" the number of
    labels that count, "FULL" that of all, "BATCH_SIZE" N, "NONE" 1; at least 1.
    Raises ValueError for another mode, ShapeError for other shapes and labels that are no class.
    Source: BigDL's SoftmaxWithCriterion, after Caffe's SoftmaxWithLoss.
    """

    keeps = ("ignoreLabel", "normalizeMode")
    counts: ClassVar[Mapping[str, str]] = {"ignoreLabel": "label", "target": "label"}

    def __init__(self, ignoreLabel: int | None = None, normalizeMode: str = "VALID") -> None:
        if normalizeMode not in MODES:
            raise ValueError(
                f"SoftmaxWithCriterion: normalizeMode is {normalizeMode!r}, it must be one of "
                f"{', '.join(MODES)}"
            )
        self.ignoreLabel = ignoreLabel
        self.normalizeMode = normalizeMode

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        if x.ndim < 2:
            raise ShapeError(f"the input of shape {x.shape} is not (N, C, …)")
        places = (x.shape[0], *x.shape[2:])
        target = target_of_shape(target_tensor(target, x), places, "one label for each place")
        valid = self.normalizeMode == "VALID"
        loss = label_likelihood(
            ops.log_softmax(x, axis=1), target, ignored=self.ignoreLabel, mean=valid
        )
        if valid:
            return loss
        divisor = {"FULL": math.prod(places), "BATCH_SIZE": x.shape[0], "NONE": 1}
        return loss / max(divisor[self.normalizeMode], 1)
