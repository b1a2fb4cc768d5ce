"""Validation methods that rank all samples by their scores: average precision, and its area.

Their results keep the score of each sample, since a rank is known only when all samples are.  Of
equal scores the wrong ones come first: nobody gains by giving all samples one score.

Source: BigDL's optim.MeanAveragePrecision and PrecisionRecallAUC; M. Everingham et al., "The
PASCAL visual object classes challenge", 2010.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.optim.training.labels import nest_to_numpy
from tapegrad.optim.validation.methods import ValidationMethod, scores_with_labels
from tapegrad.optim.validation.results import ValidationResult, in_order

__all__ = [
    "AUCResult",
    "MAPResult",
    "MeanAveragePrecision",
    "PrecisionRecallAUC",
    "average_precision",
]

STYLES = ("voc2007", "voc2010", "coco")
WRONG_STYLE = "average_precision: style must be one of {styles}, not {style!r}"
OTHER_SETTINGS = "results of methods with other settings cannot be added: {own} and {other}"
WRONG_CLASSES = "MeanAveragePrecision: the output has {found} classes, not {classes}"
NOT_BINARY = (
    "PrecisionRecallAUC: the target of shape {target} must hold a 0 or 1 for each of the {count} "
    "scores"
)


def average_precision(correct: np.ndarray, positives: int, style: str = "voc2010") -> float:
    """Return the mean of the precision at some recalls, each with the best at that recall or more.

    correct:   booleans of what was found, in order of falling scores
    positives: how many there are to be found; 0 gives 0
    style:     recalls 1/positives, 2/positives … 1 ("voc2010"), 0, 0.1 … 1 ("voc2007"), or
               0, 0.01 … 1 ("coco")
    Raises ValueError for another style.
    """
    if style not in STYLES:
        raise ValueError(WRONG_STYLE.format(styles=STYLES, style=style))
    if not positives:
        return 0.0
    hits = np.flatnonzero(correct)
    best = np.zeros(positives + 1)  # by how many have been found
    if len(hits):
        precision = np.arange(1, len(hits) + 1) / (hits + 1)
        best[1 : len(hits) + 1] = np.maximum.accumulate(precision[::-1])[::-1]
        best[0] = best[1]
    if style == "voc2010":
        needed = np.arange(1, positives + 1)
    else:
        parts = 10 if style == "voc2007" else 100
        needed = -(-np.arange(parts + 1) * positives // parts)  # the whole number above
    return math.fsum(best[needed].tolist()) / len(needed)


class AUCResult(ValidationResult):
    """Scores and labels of samples: result() is (the area below precision over recall, count)."""

    def __init__(self, scores: np.ndarray, labels: np.ndarray) -> None:
        self.scores, self.labels = in_order(scores.astype(np.float64), labels.astype(np.int64))

    def result(self) -> tuple[float, int]:
        """Return the area, by trapezia from precision 1 at recall 0; NaN without a label 1."""
        count, positives = len(self.scores), int(self.labels.sum())
        if not positives:
            return math.nan, count
        _, starts = np.unique(self.scores, return_index=True)
        # From the largest score down: how many are at least as large, and how many of them are 1.
        found = count - starts[::-1]
        above = np.cumsum(self.labels[::-1])[found - 1]
        precision = np.concatenate([[1.0], above / found])
        recall = np.concatenate([[0.0], above / positives])
        heights = (precision[1:] + precision[:-1]) / 2
        return math.fsum((np.diff(recall) * heights).tolist()), count

    def _parts(self) -> tuple[Any, ...]:
        return tuple(self.scores.tolist()), tuple(self.labels.tolist())

    def _added(self, other: AUCResult) -> AUCResult:
        return AUCResult(
            np.concatenate([self.scores, other.scores]), np.concatenate([self.labels, other.labels])
        )


class PrecisionRecallAUC(ValidationMethod):
    """The area below the curve of precision over recall.

    output: scores (N,), or of any shape with N entries;  target: 0 or 1 for each
    Raises ValueError for other targets.
    """

    def __call__(self, output: Any, target: Any) -> AUCResult:
        """Return the result of a batch."""
        scores, labels = (np.asarray(nest_to_numpy(v)).reshape(-1) for v in (output, target))
        if scores.size != labels.size or ((labels != 0) & (labels != 1)).any():
            shape = np.shape(nest_to_numpy(target))
            raise ValueError(NOT_BINARY.format(target=shape, count=scores.size))
        return AUCResult(scores, labels)


class MAPResult(ValidationResult):
    """Scores of all classes and labels of samples: result() is (mean average precision, 1).

    scores: (N, classes);  labels: (N,), from 0
    k:      only the k largest scores of each class count; all if negative
    """

    def __init__(self, scores: np.ndarray, labels: np.ndarray, k: int, style: str) -> None:
        order = np.lexsort((*scores.T[::-1], labels))
        self.scores, self.labels = scores[order], labels[order]
        self.k, self.style = k, style

    def result(self) -> tuple[float, int]:
        """Return the mean over classes, 0 for one without a sample; the count is 1, as in BigDL."""
        classes = self.scores.shape[1]
        found = []
        for c in range(classes):
            own = self.labels == c
            _, correct = in_order(-self.scores[:, c].astype(np.float64), own)
            first = correct if self.k < 0 else correct[: self.k]
            found.append(average_precision(first, int(own.sum()), self.style))
        return math.fsum(found) / classes, 1

    def _parts(self) -> tuple[Any, ...]:
        rows = tuple(map(tuple, self.scores.tolist()))
        return rows, tuple(self.labels.tolist()), self.k, self.style

    def _added(self, other: MAPResult) -> MAPResult:
        own, their = (self.k, self.style), (other.k, other.style)
        if own != their or self.scores.shape[1:] != other.scores.shape[1:]:
            raise TypeError(OTHER_SETTINGS.format(own=own, other=their))
        return MAPResult(
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.labels, other.labels]),
            self.k,
            self.style,
        )


class MeanAveragePrecision(ValidationMethod):
    """The mean over classes of the average precision of a classifier's scores.

    k: only the k largest scores of each class count; all if -1;  classes: how many there are
    output: (N, classes);  target: labels (N,), from 0 in BigDL too; first_label for others
    Raises ValueError for k 0 or below -1, and for another number of classes.
    """

    def __init__(self, k: int, classes: int, first_label: int = 0, style: str = "voc2010") -> None:
        if k < 1 and k != -1:
            raise ValueError(f"MeanAveragePrecision: k must be at least 1, or -1 for all, not {k}")
        if style not in STYLES:
            raise ValueError(WRONG_STYLE.format(styles=STYLES, style=style))
        self.k, self.classes, self.first_label, self.style = k, classes, first_label, style

    @property
    def name(self) -> str:
        """MAP@k."""
        return "MAP" if self.k < 0 else f"MAP@{self.k}"

    def __call__(self, output: Any, target: Any) -> MAPResult:
        """Return the result of a batch."""
        rows, labels = scores_with_labels(self.name, output, target, self.first_label)
        if rows.shape[1] != self.classes:
            raise ValueError(WRONG_CLASSES.format(found=rows.shape[1], classes=self.classes))
        return MAPResult(rows, labels, self.k, self.style)
