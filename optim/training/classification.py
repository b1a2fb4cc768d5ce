"""Metrics of classifiers.

A row of scores with a NaN in it is no prediction: it is wrong whatever the target is, and never the
class that an argmax would find there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.optim.training.labels import (
    IgnoreIndex,
    binary_labels,
    looks_like_probabilities,
    one_array,
    scores_and_labels,
)
from tapegrad.optim.training.metrics import METRICS, LabelMetric

__all__ = ["AUC", "Accuracy", "BinaryAccuracy", "F1", "Perplexity", "Precision", "Recall"]

NOT_PROBABILITIES = (
    "{name}: the output holds {score}, which is no probability. For scores, such as the input of "
    "MultiLabelSoftMarginCriterion, give threshold=0"
)
PROBABILITIES = (
    "perplexity takes scores or log-probabilities, and the output seems to be probabilities: let "
    "the model end with LogSoftMax"
)


class Accuracy(LabelMetric):
    """The share of samples whose target is among the k classes with the highest scores: "top1".

    Shapes of outputs and targets as `scores_and_labels` takes them; class_axis: where the classes
    stand, if the shapes leave it open.  Of equal scores the first counts as the highest, as for
    argmax.  Raises ValueError for other shapes and for labels that are no class.
    """

    def __init__(
        self, k: int = 1, *, ignore_index: IgnoreIndex = None, class_axis: int | None = None
    ) -> None:
        super().__init__(ignore_index=ignore_index)
        if k < 1:
            raise ValueError(f"Accuracy: k must be at least 1, not {k}")
        self.k, self.class_axis = k, class_axis
        self.name = f"top{k}"

    def batch_sum(self, output: Any, target: Any) -> Any:
        """Return how many samples are right, and how many have a label."""
        scores, labels = scores_and_labels(
            self.name, output, target, ignore_index=self.ignore_index, class_axis=self.class_axis
        )
        own = np.take_along_axis(scores, labels[:, None], axis=1)
        # A class with an equal score counts as better when it stands before the target.
        before = np.arange(scores.shape[1])[None] < labels[:, None]
        better = (scores > own) | ((scores == own) & before)
        right = (better.sum(axis=1) < self.k) & ~np.isnan(scores).any(axis=1)
        return right.sum(), len(labels)


class BinaryAccuracy(LabelMetric):
    """The share of entries on the right side of `threshold`: "binary_accuracy".

    output: probabilities of "yes", any shape, or scores with threshold=0;  target: 0 or 1 for each
    Raises ValueError for other targets, and with the threshold 0.5 for what is no probability.
    """

    name = "binary_accuracy"

    def __init__(self, *, threshold: float = 0.5, ignore_index: IgnoreIndex = None) -> None:
        super().__init__(ignore_index=ignore_index)
        self.threshold = threshold

    def batch_sum(self, output: Any, target: Any) -> Any:
        """Return how many entries are right, and how many have a label."""
        scores, labels = binary_labels(self.name, output, target, self.ignore_index)
        answers = _answers(self.name, scores, self.threshold)
        return (answers == labels).sum(), len(labels)


def _answers(name: str, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return 1 above the threshold, 0 elsewhere, and -1 for NaN."""
    outside = (scores < 0) | (scores > 1)
    if threshold == 0.5 and outside.any():
        raise ValueError(NOT_PROBABILITIES.format(name=name, score=scores[outside][0].item()))
    return np.where(np.isnan(scores), -1, scores > threshold)


class Perplexity(LabelMetric):
    """exp of the mean negative log-probability of the target: "perplexity", at least 1.

    output: scores or log-probabilities, which are their own log-softmax; shapes as in `Accuracy`
    Raises ValueError for probabilities, and as `Accuracy` does.
    """

    name, larger_is_better = "perplexity", False

    def __init__(self, *, ignore_index: IgnoreIndex = None, class_axis: int | None = None) -> None:
        super().__init__(ignore_index=ignore_index)
        self.class_axis = class_axis

    def batch_sum(self, output: Any, target: Any) -> Any:
        """Return the sum of -log p over the samples, and how many have a label."""
        scores, labels = scores_and_labels(
            self.name, output, target, ignore_index=self.ignore_index, class_axis=self.class_axis
        )
        if looks_like_probabilities(scores):
            raise ValueError(PROBABILITIES)
        logarithms = _log_softmax(scores)
        return -np.take_along_axis(logarithms, labels[:, None], axis=1).sum(), len(labels)

    def value(self) -> float:
        """Return exp of the mean so far."""
        mean = super().value()
        return math.inf if mean > 709 else math.exp(mean)  # exp(709.8) is no float64


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    y = scores.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        y = y - y.max(axis=1, keepdims=True, initial=-np.inf)
        return y - np.log(np.exp(y).sum(axis=1, keepdims=True))


class _ClassCounts(LabelMetric):
    """Hits, predictions and targets of each class, and a share of them.

    output: (N, classes, …), or (N,) and (N, 1) of probabilities of "yes", whose share is that of
    "yes";  target: labels.  Shapes and class_axis as in `Accuracy`.
    average: "macro", the mean over the classes that occur in targets or predictions; "weighted",
             with the number of targets; "micro", the share of all samples together.
    Source: scikit-learn's definitions, where a share of nothing is 0.
    """

    gathered = ("counts",)

    def __init__(
        self,
        *,
        average: str = "macro",
        threshold: float = 0.5,
        ignore_index: IgnoreIndex = None,
        class_axis: int | None = None,
    ) -> None:
        super().__init__(ignore_index=ignore_index)
        if average not in {"macro", "micro", "weighted"}:
            raise ValueError(
                f"{type(self).__name__}: average is macro, micro or weighted, not {average!r}"
            )
        self.average, self.threshold, self.class_axis = average, threshold, class_axis
        # (3, classes): hits, predictions, targets; of "yes" alone for one score a sample.
        self.counts: np.ndarray | None = None

    def add(self, output: Any, target: Any) -> None:
        """Count a batch.  Raises ValueError for another number of classes than before."""
        y = one_array(self.name, "output", output)
        if y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1):
            scores, labels = binary_labels(self.name, y, target, self.ignore_index)
            predictions, classes = _answers(self.name, scores, self.threshold), 2
        else:
            rows, labels = scores_and_labels(
                self.name, y, target, ignore_index=self.ignore_index, class_axis=self.class_axis
            )
            classes = rows.shape[1]
            predictions = np.where(np.isnan(rows).any(axis=1), -1, rows.argmax(axis=1))
        groups = (predictions[predictions == labels], predictions[predictions >= 0], labels)
        counts = np.stack([np.bincount(group, minlength=classes) for group in groups])
        if y.ndim == 1 or y.shape[1:] == (1,):
            counts = counts[:, 1:]
        if self.counts is None:
            self.counts = np.zeros_like(counts)
        if self.counts.shape != counts.shape:
            raise ValueError(
                f"{self.name}: {counts.shape[1]} classes after batches of {self.counts.shape[1]}"
            )
        self.counts += counts

    def value(self) -> float:
        """Return the figure so far; NaN when no class has occurred."""
        if self.counts is None or not self.counts.any():
            return math.nan
        if self.average == "micro":
            return float(self._shares(*self.counts.sum(axis=1)))
        shares = self._shares(*self.counts)
        _, predicted, targets = self.counts
        weights = targets if self.average == "weighted" else predicted + targets > 0
        return float((shares * weights).sum() / weights.sum()) if weights.any() else math.nan

    def _shares(self, hits: Any, predicted: Any, targets: Any) -> Any:
        raise NotImplementedError


class Precision(_ClassCounts):
    """hits / predictions of each class, averaged as `average` says: "precision"."""

    name = "precision"

    def _shares(self, hits: Any, predicted: Any, targets: Any) -> Any:
        return hits / np.maximum(predicted, 1)


class Recall(_ClassCounts):
    """hits / targets of each class, averaged as `average` says: "recall"."""

    name = "recall"

    def _shares(self, hits: Any, predicted: Any, targets: Any) -> Any:
        return hits / np.maximum(targets, 1)


class F1(_ClassCounts):
    """2·hits / (predictions + targets) of each class, averaged as `average` says: "f1"."""

    name = "f1"

    def _shares(self, hits: Any, predicted: Any, targets: Any) -> Any:
        return 2 * hits / np.maximum(predicted + targets, 1)


for _counted in (Precision, Recall, F1):
    _counted.__doc__ = f"{_counted.__doc__}\n\n{(_ClassCounts.__doc__ or '').split(chr(10), 2)[2]}"


class AUC(LabelMetric):
    """The area under the ROC curve: "auc".

    It is the probability that a sample of the class has a higher score than one of another class,
    equal scores counted half.  output: (N,) or (N, 1) scores of "yes", (N, 2), or (N, C) scores,
    log-probabilities or probabilities;  target: labels.  With more than two classes it is the mean
    over each class against the rest, of those that occur.  NaN when all targets are of one class,
    and when a score is NaN.  Shapes and class_axis as in `Accuracy`.
    Source: T. Fawcett, "An introduction to ROC analysis", 2006, section 7.
    """

    name = "auc"
    gathered = ("scores", "labels")

    def __init__(self, *, ignore_index: IgnoreIndex = None, class_axis: int | None = None) -> None:
        super().__init__(ignore_index=ignore_index)
        self.class_axis = class_axis
        self.scores: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []

    def add(self, output: Any, target: Any) -> None:
        """Keep the scores of a batch.  Raises ValueError for another number of classes."""
        y = one_array(self.name, "output", output)
        if y.ndim == 1 or y.shape[1:] == (1,):
            scores, labels = binary_labels(self.name, y, target, self.ignore_index)
            scores = scores[:, None]
        else:
            scores, labels = scores_and_labels(
                self.name, y, target, ignore_index=self.ignore_index, class_axis=self.class_axis
            )
        if self.scores and self.scores[0].shape[1] != scores.shape[1]:
            raise ValueError(
                f"auc: {scores.shape[1]} scores a sample after batches of {self.scores[0].shape[1]}"
            )
        self.scores.append(scores.copy())
        self.labels.append(labels)

    def value(self) -> float:
        """Return the figure so far."""
        if not self.scores:
            return math.nan
        scores, labels = np.concatenate(self.scores), np.concatenate(self.labels)
        if np.isnan(scores).any():
            return math.nan
        if scores.shape[1] == 1:
            return _area(scores[:, 0], labels == 1)
        # Not the log-softmax itself: it rounds to 0 for all samples that are sure of their class.
        scores = scores if looks_like_probabilities(scores) else _log_odds(scores)
        if scores.shape[1] == 2:
            return _area(scores[:, 1], labels == 1)
        areas = [_area(scores[:, c], labels == c) for c in range(scores.shape[1])]
        found = [area for area in areas if not math.isnan(area)]
        return float(np.mean(found)) if found else math.nan


def _log_odds(scores: np.ndarray) -> np.ndarray:
    """Return log p/(1 - p) of each class, for the softmax p of the scores (M, classes)."""
    y = scores.astype(np.float64)
    columns = []
    for c in range(y.shape[1]):
        others = np.delete(y, c, axis=1)
        columns.append(y[:, c] - np.logaddexp.reduce(others, axis=1))
    return np.stack(columns, axis=1)


def _area(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the share of pairs (positive, negative) in order; ties count half."""
    n = int(positive.sum())
    pairs = n * (len(positive) - n)
    if not pairs:
        return math.nan
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[place][positive].sum() - n * (n + 1) / 2) / pairs)


METRICS.update(
    {
        "top1": Accuracy,
        "top5": lambda: Accuracy(5),
        "binary_accuracy": BinaryAccuracy,
        "precision": Precision,
        "recall": Recall,
        "f1": F1,
        "auc": AUC,
        "perplexity": Perplexity,
    }
)
