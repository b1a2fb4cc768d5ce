"""ConfusionMatrix: how often each class was taken for each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.tensor import array_of

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from tapegrad.autograd.core.types import Operand

__all__ = ["ConfusionMatrix"]


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

    def render(self, path: str | Path | None = None) -> Figure | None:
        """Draw the matrix with Matplotlib, each row as shares of its class.

        Returns the figure, or saves it under `path`.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 4))
        axes = figure.subplots()
        shares = self.mat / np.maximum(self.mat.sum(axis=1, keepdims=True), 1)
        figure.colorbar(axes.imshow(shares, vmin=0, vmax=1, cmap="viridis"))
        axes.set_xticks(range(self.nclasses), [str(name) for name in self.classes])
        axes.set_yticks(range(self.nclasses), [str(name) for name in self.classes])
        axes.set(xlabel="predicted", ylabel="target")
        if path is None:
            return figure
        figure.savefig(path)
        return None


def _untracked(value: Operand) -> Any:
    return devices.to_numpy(array_of(value.detach())) if isinstance(value, Tensor) else value


def _mean_where(values: np.ndarray, where: np.ndarray) -> float:
    return float(values[where].mean()) if where.any() else 0.0
