"""Criterions over time: a criterion for every step, summed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.criterions.targets import require_number
from tapegrad.nn.recurrent.over_time import steps_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from tapegrad.autograd.core.types import Nest

__all__ = ["MaskZeroCriterion", "RepeaterCriterion", "SequencerCriterion"]


class SequencerCriterion(Criterion):
    """loss = Σₜ criterion(xₜ, targetₜ), divided by the number of steps with sizeAverage.

    x, target: (T, …), or lists with an entry for each step -> 0-d.
    Raises ShapeError when the numbers of steps differ.  Source: torch/rnn's nn.SequencerCriterion.
    """

    keeps = ("criterion", "sizeAverage")

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

        Raises ValueError for numbers other than 0 and 1.
        """
        self._mask = None if mask is None else booleans_of(mask)
        return self

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        if self._mask is None or self._mask.shape != x.shape[:1]:
            raise ShapeError(
                f"setZeroMask must be given {x.shape[:1]} booleans for the input of shape {x.shape}"
            )
        [left] = np.nonzero(~self._mask)
        if not left.size:
            nothing: Tensor = ops.sum(x) * 0
            return nothing
        if getattr(target, "shape", x.shape)[:1] != x.shape[:1]:
            raise ShapeError(f"the input has {x.shape[0]} samples, the target {target.shape[:1]}")
        indices = Tensor(left, device=x.device)
        return self.criterion(x[indices], target[indices])


def booleans_of(mask: npt.ArrayLike) -> np.ndarray:
    """A mask as booleans.  Raises ValueError for numbers other than 0 and 1: -∞ is no True."""
    array = np.asarray(mask)
    if array.dtype.kind != "b" and not np.isin(array, (0, 1)).all():
        raise ValueError(f"a mask holds booleans, or 0 and 1, found {array.ravel()[:5]}")
    return np.array(array, bool)
