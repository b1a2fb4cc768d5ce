"""CTC: the loss of a sequence of labels whose times are not known.

The sum over all alignments is `alignment_likelihood`; here are the loss and its targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd import Tensor, ops, primitive
from tapegrad.autograd.ops.batch_rules import leading_axes_rule
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.criterions.alignment_likelihood import alignment_likelihood, least_logarithm
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.criterions.targets import set_reduction, sum_or_mean, target_tensor

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest
    from tapegrad.devices import Array, Namespace

__all__ = ["CTCCriterion"]

NO_LABEL = (
    "the target holds {label}: labels are integers from 0 to {last} other than blank, {blank}, and "
    "a negative one ends the list"
)
NO_LENGTH = (
    "the target has {found} lengths {values}, they must be {count} integers from 0 to {last}"
)


class CTCCriterion(Criterion):
    """loss = -log Σ exp Σₜ x[t, n, aₜ] over the alignments a of sample n's labels, the mean over n.

    An alignment has a label or `blank` for each step; blanks left out, and equal neighbours taken
    for one, it gives the labels.
    x: log-probabilities (T, N, C), as nn.LogSoftMax gives of (…, C);  target: labels (N, S), which
    end at the first negative one, or [labels, lengths] with the number of steps of each sample (N,)
    -> 0-d.  The mean divides the loss of a sample by the number of its labels, at least 1, first;
    reduction "none" gives (N,).  Without an alignment the loss is ∞, and 0 with zero_infinity.
    Raises ShapeError for other shapes, and labels or lengths that are none.
    Source: A. Graves et al., "Connectionist temporal classification", ICML 2006, section 4.1.
    """

    keeps = ("blank", "zero_infinity")

    def __init__(
        self, blank: int = 0, zero_infinity: bool = False, reduction: str = "mean"
    ) -> None:
        self.blank = blank
        self.zero_infinity = bool(zero_infinity)
        set_reduction(self, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        if x.ndim != 3:
            raise ShapeError(f"the input of shape {x.shape} is not (T, N, C)")
        samples, classes = x.shape[1:]
        if not -1 < self.blank < classes:
            raise ShapeError(f"blank is {self.blank}, the input has {classes} classes")
        labels, lengths = target if isinstance(target, (list, tuple)) else (target, None)
        labels = target_tensor(labels, x)
        if labels.ndim != 2 or labels.shape[0] != samples:
            raise ShapeError(f"the labels of shape {labels.shape} are not ({samples}, S)")
        path = extended_labels(labels, classes=classes, blank=self.blank)
        losses = -alignment_likelihood(x, path, _lengths(lengths, x))
        impossible = losses >= -least_logarithm(losses.dtype)
        losses = ops.where(impossible, 0 if self.zero_infinity else np.inf, losses)
        if self.reduction == "mean":
            ends = ops.sum(ops.greater_equal(path, 0), axis=1) - 1
            losses = losses / ops.cast(ops.maximum(ends // 2, 1), dtype=losses.dtype)
        return sum_or_mean(losses, self)


def _lengths(lengths: Nest, x: Tensor) -> Tensor | None:
    """The numbers of steps as (N, 1); None for all steps."""
    if lengths is None:
        return None
    steps, samples, _ = x.shape
    given = target_tensor(lengths, x)
    if given.ndim != 1:
        found = given.shape
        raise ShapeError(
            NO_LENGTH.format(found=found, values=given.numpy(), count=samples, last=steps)
        )
    checked: Tensor = numbers_of_steps(given, count=samples, steps=steps)
    return checked


@primitive(differentiable=False)
def numbers_of_steps(xp: Namespace, lengths: Array, *, count: int, steps: int) -> Array:
    """Lengths (…, N) as integers (…, N, 1).

    Raises ShapeError unless N is `count` and all are whole numbers from 0 to `steps`.
    """
    fits = (lengths >= 0) & (lengths <= steps) & (lengths == xp.floor(lengths))
    if lengths.shape[-1:] != (count,) or not bool(fits.all()):
        raise ShapeError(
            NO_LENGTH.format(found=lengths.shape, values=lengths, count=count, last=steps)
        )
    return lengths.astype("int64")[..., None]


numbers_of_steps.batch(leading_axes_rule)


@primitive(differentiable=False)
def extended_labels(xp: Namespace, labels: Array, *, classes: int, blank: int) -> Array:
    """Labels (…, S) with blanks around each, (…, 2S + 1); -1 behind the last blank of a row.

    Raises ShapeError for a label, before the first negative one of its row, that is none.
    """
    listed = xp.cumsum(labels < 0, axis=-1) == 0
    known = (labels < classes) & (labels == xp.floor(labels)) & (labels != blank)
    if not bool((known | ~listed).all()):
        wrong = labels[listed & ~known][0].item()
        raise ShapeError(NO_LABEL.format(label=wrong, last=classes - 1, blank=blank))
    *rows, count = labels.shape
    path = xp.full((*rows, 2 * count + 1), -1, dtype="int64")
    path[..., 0] = blank
    path[..., 1::2] = xp.where(listed, labels, -1)
    path[..., 2::2] = xp.where(listed, blank, -1)
    return path


extended_labels.batch(leading_axes_rule)
