"""Figures of merit that are gathered over batches: each has `add(output, target)` and `value()`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.tensor import array_of
from tapegrad.optim.training.confusion import ConfusionMatrix

__all__ = ["METRICS", "Metric", "metric"]


class Metric:
    """A mean over samples: a subclass gives the sum over a batch, `of(output, target)`.

    output: (N, …), of a classifier (N, classes) scores or log-probabilities; target: (N, …)
    """

    name = "metric"
    larger_is_better = True

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, output: Any, target: Any) -> None:
        """Take a batch into account."""
        y, t = _array(output), _array(target)
        self.total += float(self.of(y, t))
        self.count += len(t)

    def of(self, output: Any, target: Any) -> Any:
        """The sum over a batch."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it measures")

    def value(self) -> float:
        """The figure so far; NaN before the first batch."""
        return self.total / self.count if self.count else math.nan


class _TopK(Metric):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.name = f"top{k}"

    def of(self, output: Any, target: Any) -> Any:
        own = np.take_along_axis(output, target[:, None].astype(np.int64), axis=1)
        # A class with an equal score counts as better when it stands before the target.
        before = np.arange(output.shape[1])[None] < target[:, None]
        return (((output > own) | ((output == own) & before)).sum(axis=1) < self.k).sum()


class _MeanAbsoluteError(Metric):
    name, larger_is_better = "mae", False

    def of(self, output: Any, target: Any) -> Any:
        return np.abs(output - target).reshape(len(target), -1).mean(axis=1).sum()


class _Perplexity(Metric):
    """exp of the mean negative log-probability of the target; outputs are log-probabilities."""

    name, larger_is_better = "perplexity", False

    def of(self, output: Any, target: Any) -> Any:
        return -np.take_along_axis(output, target[:, None].astype(np.int64), axis=1).sum()

    def value(self) -> float:
        return math.exp(super().value()) if self.count else math.nan


class _Confusion(Metric):
    name = "f1"

    def __init__(self) -> None:
        super().__init__()
        self.matrix: ConfusionMatrix | None = None

    def add(self, output: Any, target: Any) -> None:
        y = _array(output)
        if self.matrix is None:
            self.matrix = ConfusionMatrix(y.shape[1])
        self.matrix.batchAdd(y, _array(target))

    def value(self) -> float:
        """The mean over the classes of F1 = 2·hits/(targets + predictions)."""
        return math.nan if self.matrix is None else float(self.matrix.f1().mean())


METRICS = {
    "top1": lambda: _TopK(1),
    "top5": lambda: _TopK(5),
    "mae": _MeanAbsoluteError,
    "perplexity": _Perplexity,
    "f1": _Confusion,
}


def metric(given: Any) -> Any:
    """A metric by name, from a class or function that makes one."""
    if isinstance(given, str):
        if given not in METRICS:
            raise ValueError(f"there is no metric {given!r}; there are {', '.join(METRICS)}")
        return METRICS[given]()
    return given()


def _array(value: Any) -> Any:
    return (
        devices.to_numpy(array_of(value.detach()))
        if isinstance(value, Tensor)
        else np.asarray(value)
    )
