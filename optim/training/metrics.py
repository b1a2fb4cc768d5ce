"""Figures of merit that are gathered over batches: each has `add(output, target)` and `value()`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.tensor import array_of
from tapegrad.optim.training.confusion import ConfusionMatrix

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Metric"]


class Metric:
    """A mean over samples: a subclass gives the sum over a batch, `batch_sum(output, target)`.

    output: (N, …), of a classifier (N, classes) scores or log-probabilities; target: (N, …)
    """

    name = "metric"
    larger_is_better = True

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, output: Tensor | npt.ArrayLike, target: Tensor | npt.ArrayLike) -> None:
        """Take a batch into account."""
        y, t = _to_numpy(output), _to_numpy(target)
        self.total += float(self.batch_sum(y, t))
        self.count += len(t)

    def batch_sum(self, output: np.ndarray, target: np.ndarray) -> Any:
        """Return the sum over a batch, one number."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it measures")

    def value(self) -> float:
        """Return the figure so far; NaN before the first batch."""
        return self.total / self.count if self.count else math.nan


# A metric by name, or a class or function that makes one.
MetricSource: TypeAlias = str | Callable[[], Metric]


class _TopK(Metric):
    """The share of samples whose target is among the k classes with the highest scores."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.name = f"top{k}"

    def batch_sum(self, output: np.ndarray, target: np.ndarray) -> Any:
        own = np.take_along_axis(output, target[:, None].astype(np.int64), axis=1)
        # A class with an equal score counts as better when it stands before the target.
        before = np.arange(output.shape[1])[None] < target[:, None]
        return (((output > own) | ((output == own) & before)).sum(axis=1) < self.k).sum()


class _MeanAbsoluteError(Metric):
    name, larger_is_better = "mae", False

    def batch_sum(self, output: np.ndarray, target: np.ndarray) -> Any:
        return np.abs(output - target).reshape(len(target), -1).mean(axis=1).sum()


class _Perplexity(Metric):
    """exp of the mean negative log-probability of the target; outputs are log-probabilities."""

    name, larger_is_better = "perplexity", False

    def batch_sum(self, output: np.ndarray, target: np.ndarray) -> Any:
        return -np.take_along_axis(output, target[:, None].astype(np.int64), axis=1).sum()

    def value(self) -> float:
        return math.exp(super().value()) if self.count else math.nan


class _MeanF1(Metric):
    name = "f1"

    def __init__(self) -> None:
        super().__init__()
        self.matrix: ConfusionMatrix | None = None

    def add(self, output: Tensor | npt.ArrayLike, target: Tensor | npt.ArrayLike) -> None:
        y = _to_numpy(output)
        if self.matrix is None:
            self.matrix = ConfusionMatrix(y.shape[1])
        self.matrix.batchAdd(y, _to_numpy(target))

    def value(self) -> float:
        """Return the mean over the classes of F1 = 2·hits/(targets + predictions)."""
        return math.nan if self.matrix is None else float(self.matrix.f1().mean())


METRICS: dict[str, Callable[[], Metric]] = {
    "top1": lambda: _TopK(1),
    "top5": lambda: _TopK(5),
    "mae": _MeanAbsoluteError,
    "perplexity": _Perplexity,
    "f1": _MeanF1,
}


def make_metric(source: MetricSource) -> Metric:
    """Make a metric from its name, or by a class or function.

    Raises ValueError for an unknown name.
    """
    if isinstance(source, str):
        if source not in METRICS:
            raise ValueError(f"there is no metric {source!r}; there are {', '.join(METRICS)}")
        return METRICS[source]()
    return source()


def _to_numpy(value: Tensor | npt.ArrayLike) -> np.ndarray:
    if isinstance(value, Tensor):
        return devices.to_numpy(array_of(value.detach()))
    return np.asarray(value)
