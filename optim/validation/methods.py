"""Validation methods of one number for each sample: accuracies, losses and errors.

A method is called with the output and the target of a batch, arrays or Tensors, and returns a
`ValidationResult`.  Labels count from 0; `first_label=1` reads data whose labels count from 1.
Negative labels are missing, and their samples are not counted.

Source: BigDL's optim.ValidationMethod.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.autograd import Tensor, no_grad
from tapegrad.autograd.core.tree import map_leaves
from tapegrad.optim.core.samples import samples_in
from tapegrad.optim.training.evaluation import to_tensors
from tapegrad.optim.training.labels import nest_to_numpy
from tapegrad.optim.training.losses import batch_loss
from tapegrad.optim.validation.results import AccuracyResult, LossResult, ValidationResult

__all__ = [
    "MAE",
    "Loss",
    "Top1Accuracy",
    "Top5Accuracy",
    "TreeNNAccuracy",
    "ValidationMethod",
]

PAIRS = (
    "{name}: the output of shape {output} has {rows} samples, and the target of shape {target} has "
    "{labels}. Rows that only fill up a batch must be cut off first, output[:{labels}]"
)
NO_CLASSES = "{name}: the output of shape {output} is neither (samples, classes) nor (classes,)"
NO_LABEL = (
    "{name}: the target holds {label}, and labels of {classes} classes are whole numbers from "
    "{first} to {last}, negative where there is none{hint}"
)
COUNTS_FROM_1 = ". Data whose labels count from 1 need first_label=1"
NOT_BINARY = "{name}: the output has one score for each sample, and the target holds {label}"
FEW_CLASSES = "{name}: the output has {classes} classes, and {k} are needed at least"
NOT_ALIKE = "{name}: the output has shape {output}, the target {target}: they must be alike"


class ValidationMethod:
    """A figure of merit: `method(output, target)` is the `ValidationResult` of a batch."""

    def __call__(self, output: Any, target: Any) -> ValidationResult:
        """Return the result of a batch, or of one sample."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it measures")

    @property
    def name(self) -> str:
        """What the figure is called in summaries."""
        return type(self).__name__

    def __repr__(self) -> str:
        return self.name


def scores_with_labels(
    name: str, output: Any, target: Any, first_label: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (N, classes) and labels (N,), from 0, of the samples that have a label.

    output: (N, classes) or (classes,);  target: (N,), (N, 1) or a single number
    Of one class, labels are 0 and 1 whatever `first_label` is.
    Raises ValueError for other shapes and for labels that are no class.
    """
    y, t = nest_to_numpy(output), nest_to_numpy(target)
    if not isinstance(y, np.ndarray) or y.ndim not in (1, 2) or not y.shape[-1]:
        raise ValueError(NO_CLASSES.format(name=name, output=getattr(y, "shape", type(y).__name__)))
    rows, labels = y.reshape(-1, y.shape[-1]), np.asarray(t).reshape(-1)
    if len(rows) != len(labels):
        raise ValueError(
            PAIRS.format(
                name=name, output=y.shape, rows=len(rows), target=t.shape, labels=len(labels)
            )
        )
    classes = rows.shape[1]
    first, last = (0, 1) if classes == 1 else (first_label, first_label + classes - 1)
    missing = labels < 0
    wrong = ~missing & ~((labels >= first) & (labels <= last) & (labels == np.floor(labels)))
    if wrong.any():
        label = labels[wrong][0].item()
        if classes == 1:
            raise ValueError(NOT_BINARY.format(name=name, label=label))
        hint = COUNTS_FROM_1 if first == 0 and label == classes else ""
        raise ValueError(
            NO_LABEL.format(
                name=name, label=label, classes=classes, first=first, last=last, hint=hint
            )
        )
    return rows[~missing], labels[~missing].astype(np.int64) - first


def _count_correct(name: str, output: Any, target: Any, first_label: int, k: int) -> AccuracyResult:
    """Count the samples whose label is among the k largest scores, the first of equal ones first.

    Of a single score, 0.5 or more means label 1.  Scores that are NaN are never correct.
    """
    rows, labels = scores_with_labels(name, output, target, first_label)
    if rows.shape[1] == 1:
        scores = rows[:, 0]
        correct = ((scores >= 0.5) == (labels == 1)) & ~np.isnan(scores)
        return AccuracyResult(correct.sum(), len(labels))
    own = np.take_along_axis(rows, labels[:, None], axis=1)
    before = np.arange(rows.shape[1]) < labels[:, None]
    ahead = (rows > own).sum(axis=1) + ((rows == own) & before).sum(axis=1)
    correct = (ahead < k) & ~np.isnan(rows).any(axis=1)
    return AccuracyResult(correct.sum(), len(labels))


class Top1Accuracy(ValidationMethod):
    """How many samples have their label's score as the largest one, the first of equal ones.

    output: (N, classes) or (classes,);  target: (N,) or (N, 1).  With one class, a score of 0.5 or
    more means label 1.  first_label: what the first class is called.
    Raises ValueError where output and target are not of the same samples, and for labels that are
    no class.
    """

    def __init__(self, first_label: int = 0) -> None:
        self.first_label = first_label

    def __call__(self, output: Any, target: Any) -> AccuracyResult:
        """Return the result of a batch."""
        return _count_correct(self.name, output, target, self.first_label, 1)


class Top5Accuracy(ValidationMethod):
    """How many samples have their label's score among the five largest, first ones first.

    output: (N, classes) or (classes,);  target: (N,) or (N, 1).  first_label: what the first class
    is called.  Raises ValueError for fewer than five classes, and as Top1Accuracy does.
    """

    def __init__(self, first_label: int = 0) -> None:
        self.first_label = first_label

    def __call__(self, output: Any, target: Any) -> AccuracyResult:
        """Return the result of a batch."""
        classes = np.shape(nest_to_numpy(output))[-1]
        if classes < 5:
            raise ValueError(FEW_CLASSES.format(name=self.name, classes=classes, k=5))
        return _count_correct(self.name, output, target, self.first_label, 5)


class TreeNNAccuracy(ValidationMethod):
    """Top1Accuracy of the first node of each tree, its root.

    output: (N, nodes, classes), or (nodes, classes) of one tree;  target: (N, nodes) or (nodes,).
    first_label: what the first class is called.  Raises ValueError for other shapes.
    """

    def __init__(self, first_label: int = 0) -> None:
        self.first_label = first_label

    def __call__(self, output: Any, target: Any) -> AccuracyResult:
        """Return the result of a batch."""
        y, t = nest_to_numpy(output), nest_to_numpy(target)
        trees = y[None] if y.ndim == 2 else y
        if trees.ndim != 3 or not t.size:
            raise ValueError(NOT_ALIKE.format(name=self.name, output=y.shape, target=t.shape))
        labels = t.reshape(len(trees), -1) if t.size % len(trees) == 0 else t
        return _count_correct(self.name, trees[:, 0], labels[:, 0], self.first_label, 1)


class Loss(ValidationMethod):
    """The mean of a criterion over samples.

    criterion: (output, target) -> 0-d Tensor;  None: the negative of the label's score, which is
    the negative log-likelihood of log-probabilities (N, classes)
    The criterion is called on each sample by itself (some tenths of a millisecond each), so that
    the result does not depend on how the data are cut.  Raises ValueError as Top1Accuracy does, and
    as the criterion does.
    """

    def __init__(
        self, criterion: Callable[[Any, Any], Any] | None = None, first_label: int = 0
    ) -> None:
        self.criterion, self.first_label = criterion, first_label

    def __call__(self, output: Any, target: Any) -> LossResult:
        """Return the result of a batch."""
        if self.criterion is None:
            rows, labels = scores_with_labels(self.name, output, target, self.first_label)
            picked = np.take_along_axis(rows, labels[:, None], axis=1)
            return LossResult(-picked[:, 0].astype(np.float64), len(labels))
        y, t = to_tensors(output), to_tensors(target)
        values, weights, count = [], [], samples_in(t)
        with no_grad():
            for i in range(count):
                one, its_target = (map_leaves(_rows(i), nest) for nest in (y, t))
                loss, (factor, weight), _ = batch_loss(self.criterion, one, its_target)
                # The loss of no labelled sample may be NaN.
                values.append(float(factor) * float(loss) if factor else 0.0)
                weights.append(float(weight))
        return LossResult(values, count, weights=weights)


def _rows(i: int) -> Callable[[Any], Any]:
    return lambda leaf: leaf[i : i + 1] if isinstance(leaf, (Tensor, np.ndarray)) else leaf


class MAE(ValidationMethod):
    """The mean over samples of |output - target|.

    output, target: of one shape, (N, …): the mean over each sample's entries;  or an output (N,
    classes) of several classes and labels (N,): the index of the largest score takes the place of
    the output.  first_label: what the first class is called.
    Raises ValueError for other shapes.
    """

    def __init__(self, first_label: int = 0) -> None:
        self.first_label = first_label

    def __call__(self, output: Any, target: Any) -> LossResult:
        """Return the result of a batch."""
        y, t = np.asarray(nest_to_numpy(output)), np.asarray(nest_to_numpy(target))
        if y.size == t.size and t.ndim and y.ndim and len(y) == len(t):
            errors = np.abs(y.astype(np.float64).reshape(len(y), -1) - t.reshape(len(t), -1))
            return LossResult(errors.mean(axis=1), len(t), name="MAE")
        if y.ndim != 2 or t.size != len(y):
            raise ValueError(NOT_ALIKE.format(name=self.name, output=y.shape, target=t.shape))
        found = y.argmax(axis=1) + self.first_label
        errors = np.abs(found.astype(np.float64) - t.reshape(-1))
        return LossResult(errors, len(y), name="MAE")
