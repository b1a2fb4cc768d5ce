"""Criterions over time: a criterion for every step, summed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.axes import axis_of
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.masks import boolean_mask
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.criterions.targets import is_mean, require_number, target_tensor
from tapegrad.nn.recurrent.over_time import steps_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from tapegrad.autograd.core.types import Nest

__all__ = [
    "MaskZeroCriterion",
    "RepeaterCriterion",
    "SequencerCriterion",
    "TimeDistributedCriterion",
    "TimeDistributedMaskCriterion",
]


class SequencerCriterion(Criterion):
    """loss = Σₜ criterion(xₜ, targetₜ), divided by the number of steps with sizeAverage.

    x, target: (T, …), or lists with an entry for each step -> 0-d.
    Raises ShapeError when the numbers of steps differ.  Source: torch/rnn's nn.SequencerCriterion.
    """

    keeps: ClassVar[tuple[str, ...]] = ("criterion", "sizeAverage")

    def __init__(self, criterion: Criterion, sizeAverage: bool = False) -> None:
        self.criterion = criterion
        self.sizeAverage = bool(sizeAverage)

    def updateOutput(self, x: Nest, target: Nest) -> Tensor:
        steps, targets = steps_of(x), steps_of(target)
        if len(steps) != len(targets):
            raise ShapeError(f"the input has {len(steps)} steps, the target {len(targets)}")
        pairs = zip(steps, targets, strict=True)
        loss = ops.sum(
            ops.stack([require_number(self.criterion(step, t), self) for step, t in pairs])
        )
        return loss / len(steps) if self.sizeAverage else loss

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        return _weights_of_step(self.criterion, steps_of(x)[0], steps_of(target)[0])


class RepeaterCriterion(Criterion):
    """loss = Σₜ criterion(xₜ, target): one target for every step.

    x: (T, …), or a list of steps;  target: that of a step -> 0-d.
    Raises ShapeError for an input without steps.  Source: torch/rnn's nn.RepeaterCriterion.
    """

    keeps = ("criterion",)

    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion

    def updateOutput(self, x: Nest, target: Nest) -> Tensor:
        return ops.sum(
            ops.stack([require_number(self.criterion(step, target), self) for step in steps_of(x)])
        )

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        return _weights_of_step(self.criterion, steps_of(x)[0], target)


class MaskZeroCriterion(Criterion):
    """loss = criterion(x, target) of the samples that are not masked.

    x, target: (N, …) -> 0-d.  `setZeroMask` sets the mask, booleans (N,), True for a sample to
    leave out; the loss of no samples is 0.
    Raises ShapeError for a mask that does not fit, and without one.
    Source: torch/rnn's nn.MaskZeroCriterion.
    """

    keeps = ("criterion", "_mask")

    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion
        self._mask: Any = None

    def setZeroMask(self, mask: npt.ArrayLike | None) -> Self:
        """Set which samples to leave out, as booleans (N,); returns self.

        Raises TypeError for numbers other than 0 and 1.
        """
        self._mask = None if mask is None else boolean_mask(mask, type(self).__name__)
        return self

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        indices = self._indices(x)
        if not indices.size:
            nothing: Tensor = ops.sum(x) * 0
            return nothing
        if getattr(target, "shape", x.shape)[:1] != x.shape[:1]:
            raise ShapeError(f"the input has {x.shape[0]} samples, the target {target.shape[:1]}")
        return self.criterion(x[indices], target[indices])

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        """The weights of the samples that are left."""
        indices = self._indices(x)
        if not indices.size:
            return 0, 0
        return self.criterion.mean_weights(x[indices], target[indices], indices.size)

    def _indices(self, x: Any) -> Tensor:
        if self._mask is None or self._mask.shape != x.shape[:1]:
            raise ShapeError(
                f"setZeroMask must be given {x.shape[:1]} booleans for the input of shape {x.shape}"
            )
        [left] = np.nonzero(~self._mask)
        return Tensor(left, device=x.device)


class TimeDistributedCriterion(SequencerCriterion):
    """loss = Σₜ criterion(xₜ, targetₜ), with the steps along `dimension` of x and target.

    x, target: (N, T, …) with the default -> 0-d; sizeAverage divides by T.
    Raises ShapeError when the numbers of steps differ.  Source: BigDL's TimeDistributedCriterion.
    """

    keeps = ("dimension",)
    counts: ClassVar[Mapping[str, str]] = {"dimension": "dimension"}

    def __init__(self, criterion: Criterion, sizeAverage: bool = False, dimension: int = 1) -> None:
        super().__init__(criterion, sizeAverage)
        self.dimension = dimension

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        target = target_tensor(target, x)
        return super().updateOutput(*(steps_first(v, self.dimension) for v in (x, target)))

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        steps = steps_first(x, self.dimension)
        targets = steps_first(target_tensor(target, x), self.dimension)
        return super().mean_weights(steps, targets, samples)


class TimeDistributedMaskCriterion(Criterion):
    """loss = Σₜ lₜ / M, with M the number of labels that are not `paddingValue`.

    lₜ is the criterion's loss at step t, times the number of labels that count there if it is a
    mean; the criterion must itself leave out the labels that do not, as ClassNLLCriterion does with
    ignoreIndex.  x: (N, T, …);  target: labels (N, T) -> 0-d; of no labels the loss is 0.
    Raises ShapeError when the numbers of steps differ.
    Source: BigDL's TimeDistributedMaskCriterion.
    """

    keeps = ("criterion", "paddingValue")
    counts: ClassVar[Mapping[str, str]] = {"paddingValue": "label"}

    def __init__(self, criterion: Criterion, paddingValue: int = -1) -> None:
        self.criterion = criterion
        self.paddingValue = paddingValue

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        target = target_tensor(target, x)
        steps, targets = (steps_of(steps_first(v, 1)) for v in (x, target))
        if len(steps) != len(targets):
            raise ShapeError(f"the input has {len(steps)} steps, the target {len(targets)}")
        losses, counts = [], []
        for step, labels in zip(steps, targets, strict=True):
            loss = require_number(self.criterion(step, labels), self)
            counted = ops.not_equal(labels.detach(), self.paddingValue)
            counts.append(ops.sum(ops.cast(counted, dtype=loss.dtype)))
            losses.append(loss * counts[-1] if is_mean(self.criterion) else loss)
        return ops.sum(ops.stack(losses)) / ops.maximum(ops.sum(ops.stack(counts)), 1)


def steps_first(x: Tensor, dimension: int) -> Tensor:
    """x with the axis `dimension` in front.  Raises ShapeError when there is no such axis."""
    return ops.moveaxis(x, axis_of(dimension, x.ndim), 0)


def _weights_of_step(criterion: Criterion, x: Any, target: Any) -> tuple[float, float]:
    """The weights of a sum over steps: a step's, which has all samples of the batch.

    The mean over the labels of a step that count is no mean over samples, but is taken for one: the
    sum of such means over the steps has no common divisor.
    """
    samples = len(target)
    factor, weight = criterion.mean_weights(x, target, samples)
    return (samples if factor == weight else 1), samples
