"""ConfusionMatrix: how often each class was taken for each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.figures import make_figure, show_image
from tapegrad.autograd.core.tensor import array_of

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure, SubFigure

    from tapegrad.autograd.core.types import Operand

__all__ = ["ConfusionMatrix"]

MOST_NUMBERED = 20  # classes: beyond, the numbers would not fit


class ConfusionMatrix:
    """mat[target, prediction] counts samples.

    Labels count from 0; a sample with a negative target has none, and is not counted.
    classes: their names, or how many there are
    `updateValids` computes from the counts: valids, the share of each class that was recognised;
    unionvalids, hits over (targets + predictions - hits); totalValid, the share of all samples;
    averageValid and averageUnionValid, means over the classes that occur.  `str(matrix)` is
    Torch7's table.  Source: optim.ConfusionMatrix of torch/optim.
    """

    def __init__(self, classes: int | Sequence[Any]) -> None:
        self.classes = list(range(classes)) if isinstance(classes, int) else list(classes)
        self.nclasses = len(self.classes)
        if not self.nclasses:
            raise ValueError("ConfusionMatrix: there must be at least one class")
        self.mat = np.zeros((self.nclasses, self.nclasses), np.int64)
        self.zero()

    def zero(self) -> None:
        """Forget all samples."""
        self.mat[...] = 0
        self.valids = np.zeros(self.nclasses)
        self.unionvalids = np.zeros(self.nclasses)
        self.totalValid = self.averageValid = self.averageUnionValid = 0.0

    def add(self, prediction: Operand, target: Operand) -> None:
        """Count one sample: each argument is a label, or one score per class (the largest wins)."""
        self.batchAdd(
            np.asarray(_untracked(prediction))[None], np.asarray(_untracked(target))[None]
        )

    def batchAdd(self, predictions: Operand, targets: Operand) -> None:
        """Count a batch: labels (N,) or scores (N, classes); samples without a target are left out.

        Raises ValueError, counting nothing, for other shapes, labels out of range and scores NaN.
        """
        p = self._labels("predictions", predictions, lowest=0)
        t = self._labels("targets", targets, lowest=-np.inf)
        if len(p) != len(t):
            raise ValueError(f"ConfusionMatrix: {len(p)} predictions for {len(t)} targets")
        known = t >= 0
        np.add.at(self.mat, (t[known], p[known]), 1)

    def _labels(self, what: str, labels_or_scores: Operand, lowest: float) -> np.ndarray:
        values = np.asarray(_untracked(labels_or_scores))
        if values.ndim == 2 and values.shape[1] == self.nclasses:
            if np.isnan(values).any():
                raise ValueError(
                    f"ConfusionMatrix: {what} hold NaN, which is the score of no class"
                )
            return values.argmax(axis=1)
        if values.ndim != 1:
            expected = f"(N,) or (N, {self.nclasses})"
            raise ValueError(f"ConfusionMatrix: {what} are {values.shape}, expected {expected}")
        bad = (values != np.floor(values)) | (values < lowest) | (values >= self.nclasses)
        if bad.any():
            raise ValueError(
                f"ConfusionMatrix: {what} hold {values[bad][0]}; "
                f"labels are 0 to {self.nclasses - 1}"
            )
        return values.astype(np.int64)

    def updateValids(self) -> None:
        """Compute the shares from the counts."""
        hits, targets, predicted = np.diag(self.mat), self.mat.sum(axis=1), self.mat.sum(axis=0)
        union = targets + predicted - hits
        self.valids = hits / np.maximum(targets, 1)
        self.unionvalids = hits / np.maximum(union, 1)
        self.totalValid = float(hits.sum() / max(self.mat.sum(), 1))
        self.averageValid = _mean_where(self.valids, targets > 0)
        self.averageUnionValid = _mean_where(self.unionvalids, union > 0)

    def f1(self) -> np.ndarray:
        """Return 2·hits / (targets + predictions) of each class; 0 for one that does not occur."""
        total = self.mat.sum(axis=0) + self.mat.sum(axis=1)
        return 2 * np.diag(self.mat) / np.maximum(total, 1)

    def farFrr(self) -> tuple[np.ndarray, np.ndarray]:
        """Return false acceptance fp/(fp + tn) and false rejection fn/(tp + fn) of each class."""
        hits = np.diag(self.mat)
        fn, fp = self.mat.sum(axis=1) - hits, self.mat.sum(axis=0) - hits
        tn = self.mat.sum() - hits - fn - fp
        return fp / np.maximum(fp + tn, 1), fn / np.maximum(hits + fn, 1)

    def __str__(self) -> str:
        self.updateValids()
        lines = ["ConfusionMatrix:"]
        width = 9 if self.mat.sum() > 1e7 else 8 if self.nclasses <= 10 else 6
        for t in range(self.nclasses):
            row = "".join(f"{n:{width}d}" for n in self.mat[t])
            opening = "[[" if t == 0 else " ["
            closing = "]] " if t == self.nclasses - 1 else "]  "
            share = f"{100 * self.valids[t]:.3f}%"
            name = f" \t[class: {self.classes[t]}]" if self.nclasses > 0 else ""
            lines.append(f"{opening}{row}{closing} {share}{name}".replace("]   ", "]   "))
        lines.append(f" + average row correct: {100 * self.averageValid:.14g}% ")
        union = 100 * self.averageUnionValid
        lines.append(f" + average rowUcol correct (VOC measure): {union:.14g}% ")
        lines.append(f" + global correct: {100 * self.totalValid:.14g}%")
        return "\n".join(lines)

    __tostring__ = __repr__ = __str__

    @classmethod
    def from_predictions(
        cls, target: Operand, prediction: Operand, classes: int | Sequence[Any] | None = None
    ) -> ConfusionMatrix:
        """The matrix of labels (N,) and predictions: labels (N,), or scores (N, classes).

        classes: their names, or how many there are; found in the data when omitted
        Raises what `batchAdd` raises.
        """
        if classes is None:
            found = np.asarray(_untracked(prediction))
            labels = np.asarray(_untracked(target))
            highest = max(labels.max(initial=0), found.max(initial=0) if found.ndim == 1 else 0)
            classes = found.shape[1] if found.ndim == 2 else int(highest) + 1
        matrix = cls(classes)
        matrix.batchAdd(prediction, target)
        return matrix

    def render(
        self, path: str | Path | None = None, *, figure: Figure | SubFigure | None = None
    ) -> Figure | SubFigure | None:
        """Draw the matrix with Matplotlib: counts, coloured by their share of the row's class.

        figure: where to draw; a new one when omitted
        Returns the figure, or saves it under `path`.  More than 20 classes have no numbers.
        Raises ImportError where Matplotlib is not installed.
        """
        side = min(2.2 + 0.45 * self.nclasses, 12)
        figure = make_figure("ConfusionMatrix.render", figure, (side + 0.6, side))
        axes = figure.subplots()
        shares = self.mat / np.maximum(self.mat.sum(axis=1, keepdims=True), 1)
        image = show_image(axes, shares, vmin=0, vmax=1, cmap="Blues")
        figure.colorbar(image, label="share of the target's samples", shrink=0.8)
        names = [str(name) for name in self.classes]
        upright = max(map(len, names)) * self.nclasses > 60
        axes.set_xticks(range(self.nclasses), names, rotation=90 if upright else 0)
        axes.set_yticks(range(self.nclasses), names)
        axes.set(xlabel="predicted", ylabel="target")
        if self.nclasses <= MOST_NUMBERED:
            for (row, column), count in np.ndenumerate(self.mat):
                colour = "white" if shares[row, column] > 0.5 else "0.25"
                axes.text(column, row, f"{count}", ha="center", va="center", color=colour)
        if path is None:
            return figure
        drawn: Any = figure
        (drawn if hasattr(drawn, "savefig") else drawn.figure).savefig(
            path
        )  # a part, with the whole
        return None


def _untracked(value: Operand) -> Any:
    return devices.to_numpy(array_of(value.detach())) if isinstance(value, Tensor) else value


def _mean_where(values: np.ndarray, where: np.ndarray) -> float:
    return float(values[where].mean()) if where.any() else 0.0
