"""The loss of a batch, and how much it counts in the mean over an epoch.

The mean over an epoch must not depend on how the epoch was cut into batches.  A criterion that
averages divides by something, which is the number of samples for most, and the sum of the weights
of the labels that count for others; one that sums divides by nothing.  Criterions say it themselves
(`mean_weights`); of functions nothing is known, and they are taken for means over samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, ops
from tapegrad.autograd.core.tensor import array_of
from tapegrad.optim.core.samples import samples_in

__all__ = [
    "MeanLoss",
    "batch_loss",
    "batch_weights",
    "is_mean_loss",
    "labels_ignored_by",
    "mean_loss",
    "sample_factors",
]

ONE_NUMBER = (
    "Trainer(sample_weights=True): the criterion returns one loss for the batch, and weights of "
    "samples need one loss for each sample"
)
NOT_ONE_EACH = (
    "Trainer: the criterion returned losses of shape {losses} for {samples} samples: one number is "
    "needed, or one for each sample"
)
WRONG_WEIGHTS = (
    "Trainer(sample_weights=True): weights of shape {weights} for {samples} samples. A batch is "
    "(x, …, target, weights), the weights one for each sample and at least 0"
)


class MeanLoss:
    """The mean loss over batches: Σ factor·loss / Σ weight."""

    def __init__(self, total: float = 0.0, weight: float = 0.0) -> None:
        self.total, self.weight = total, weight

    def add(self, loss: float, weights: tuple[float, float]) -> None:
        """Take the loss of a batch into account, with its (factor, weight)."""
        factor, weight = weights
        if factor:  # the loss of no samples may be NaN
            self.total += factor * loss
        self.weight += weight

    def value(self) -> float:
        """Return the mean so far; NaN when nothing has counted."""
        return self.total / self.weight if self.weight else float("nan")


def batch_loss(
    criterion: Callable[[Any, Any], Any], output: Any, target: Any, sample_weights: Any = None
) -> tuple[Any, tuple[float, float], bool]:
    """Return the loss of a batch, 0-d, its (factor, weight) in the mean over batches, one_each.

    one_each: whether the criterion returned a loss for each sample

    A criterion that returns one loss for each sample, (N, …), is averaged over the samples, with
    their weights if there are any.  Raises ValueError for other shapes.
    """
    factors, total = None, None
    if sample_weights is not None:
        factors, total = sample_factors(sample_weights, samples_in(target))
    losses = criterion(output, target)
    loss = mean_loss(losses, factors, samples_in(target))
    one_each = np.ndim(losses) > 0
    if total is not None:
        return loss, (total, total), one_each
    return loss, batch_weights(criterion, output, target, one_each=one_each), one_each


def sample_factors(sample_weights: Any, samples: int) -> tuple[np.ndarray, float]:
    """Return weights of samples divided by their sum, (N,) float64, and the sum.

    Raises ValueError for negative weights, and for another number of them.
    """
    weights = _checked_weights(sample_weights, samples)
    total = float(weights.sum())
    return weights / (total or 1), total


def mean_loss(losses: Any, factors: Any, samples: int) -> Any:
    """Return the loss of a batch, 0-d: of losses of samples, (N, …), the mean, or Σ factor·loss.

    factors: (N,), or None for 1 / N each
    Raises ValueError for losses that are not one for each sample.
    """
    if not getattr(losses, "ndim", 0):
        if factors is not None:
            raise ValueError(ONE_NUMBER)
        return losses
    if losses.shape[0] != samples:
        raise ValueError(NOT_ONE_EACH.format(losses=losses.shape, samples=samples))
    each = ops.mean(losses.reshape((samples, -1)), axis=1)
    if factors is None:
        return ops.mean(each)
    if not isinstance(factors, Tensor):
        factors = Tensor(devices.to_device(factors, each.device))
    return ops.sum(each * factors.astype(each.dtype))


def batch_weights(
    criterion: Any, output: Any, target: Any, *, one_each: bool
) -> tuple[float, float]:
    """Return the (factor, weight) of a batch without weights of samples.

    one_each: whether the criterion returned a loss for each sample
    """
    samples = samples_in(target)
    mean_weights = None if one_each else getattr(criterion, "mean_weights", None)
    return (samples, samples) if mean_weights is None else mean_weights(output, target, samples)


def is_mean_loss(criterion: Any, output: Any, target: Any, *, one_each: bool) -> bool:
    """Whether the loss of a batch is divided by the sum of its samples' weights, or is a sum."""
    if one_each or not hasattr(criterion, "mean_weights"):
        return True
    # a mean's two numbers are equal, a sum's are 1 and a number of samples that is not 1 here
    factor, weight = criterion.mean_weights(output, target, samples_in(target) + 1)
    return bool(factor == weight)


def _checked_weights(weights: Any, samples: int) -> np.ndarray:
    if isinstance(weights, Tensor):
        weights = devices.to_numpy(array_of(weights.detach()))
    found = np.asarray(weights, np.float64)
    if found.size != samples or not (found >= 0).all():
        raise ValueError(WRONG_WEIGHTS.format(weights=found.shape, samples=samples))
    return found.reshape(-1)


def labels_ignored_by(criterion: Any) -> tuple[int, ...]:
    """Return the labels whose samples the criterion, or a part of it, leaves out."""
    return tuple(sorted({int(label) for label in _ignored(criterion)}))


def _ignored(criterion: Any) -> Iterator[Any]:
    parts = criterion.listModules() if hasattr(criterion, "listModules") else [criterion]
    for part in parts:
        label = getattr(part, "ignoreIndex", None)
        if label is not None:
            yield label
