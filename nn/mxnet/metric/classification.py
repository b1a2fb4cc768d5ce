"""Metrics of classes.  Source: mx.metric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.metric.base import EvalMetric, bare, check_label_shapes, register

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import MetricArrays


__all__ = [
    "Accuracy",
    "CrossEntropy",
    "F1",
    "MCC",
    "NegativeLogLikelihood",
    "PCC",
    "Perplexity",
    "TopKAccuracy",
]


@register("acc")
class Accuracy(EvalMetric):
    """The share of predictions whose largest entry along `axis` is the label's."""

    _has_global_stats = True

    def __init__(self, axis: int = 1, name: str = "accuracy", **settings: Any):
        super().__init__(name, axis=axis, **settings)
        self.axis = axis

    def update(self, labels: MetricArrays, preds: MetricArrays) -> None:
        """Raises ValueError for lists of several lengths."""
        labels, preds = check_label_shapes(labels, preds, wrap=True)
        for label, pred in zip(labels, preds, strict=True):
            p, y = bare(pred), bare(label)
            if p.shape != y.shape:
                p = np.argmax(p, axis=self.axis)
            p, y = p.astype(np.int32).reshape(-1), y.astype(np.int32).reshape(-1)
            check_label_shapes(y, p)
            self.add(float(np.sum(p == y)), p.size)


@register("top_k_accuracy", "top_k_acc")
class TopKAccuracy(EvalMetric):
    """The share of predictions among whose k largest entries is the label's."""

    _has_global_stats = True

    def __init__(self, top_k: int = 1, name: str = "top_k_accuracy", **settings: Any):
        super().__init__(name, top_k=top_k, **settings)
        if top_k <= 1:
            raise AssertionError("Please use Accuracy if top_k is no more than 1")
        self.top_k = top_k
        self.name += f"_{top_k}"

    def update(self, labels: MetricArrays, preds: MetricArrays) -> None:
        """Raises ValueError for lists of several lengths."""
        labels, preds = check_label_shapes(labels, preds, wrap=True)
        for label, pred in zip(labels, preds, strict=True):
            p, y = bare(pred).astype(np.float32), bare(label).astype(np.int32).reshape(-1)
            if p.ndim > 2:
                raise AssertionError("Predictions should be no more than 2 dims")
            if p.ndim == 1:
                self.add(float(np.sum(np.argsort(p).reshape(-1) == y)), p.shape[0])
                continue
            order = np.argpartition(p, -min(self.top_k, p.shape[1]))
            k = min(p.shape[1], self.top_k)
            hit = sum(np.sum(order[:, -1 - j].reshape(-1) == y) for j in range(k))
            self.add(float(hit), p.shape[0])


class _Counts:
    """True and false, positives and negatives of two classes."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.tp = self.fp = self.tn = self.fn = 0

    def update(self, label: np.ndarray, pred: np.ndarray) -> None:
        label = label.astype(np.int32)
        chosen = np.argmax(pred, axis=1)
        check_label_shapes(label, pred)
        if len(np.unique(label)) > 2:
            raise ValueError("F1 and MCC are for two classes: labels 0 and 1")
        self.tp += int(np.sum((chosen == 1) & (label == 1)))
        self.fp += int(np.sum((chosen == 1) & (label == 0)))
        self.fn += int(np.sum((chosen == 0) & (label == 1)))
        self.tn += int(np.sum((chosen == 0) & (label == 0)))

    @property
    def total(self) -> int:
        return self.tp + self.fp + self.tn + self.fn

    @property
    def f1(self) -> float:
        precision = self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0
        recall = self.tp / (self.tp + self.fn) if self.tp + self.fn else 0.0
        both = precision + recall
        return 2 * precision * recall / both if both else 0.0

    @property
    def mcc(self) -> float:
        if not self.total:
            return 0.0
        terms = (self.tp + self.fp, self.tp + self.fn, self.tn + self.fp, self.tn + self.fn)
        denominator = math.prod(t for t in terms if t)
        return (self.tp * self.tn - self.fp * self.fn) / math.sqrt(denominator)


class _TwoClasses(EvalMetric):
    """A score of two classes: the mean over batches ("macro") or of all together ("micro")."""

    _has_global_stats = True

    score = ""

    def __init__(self, name: str, average: str = "macro", **settings: Any):
        self.average = average
        self._local, self._global = _Counts(), _Counts()
        super().__init__(name, **settings)

    def update(self, labels: MetricArrays, preds: MetricArrays) -> None:
        """Raises ValueError for more than two classes."""
        labels, preds = check_label_shapes(labels, preds, wrap=True)
        for label, pred in zip(labels, preds, strict=True):
            for counts in (self._local, self._global):
                counts.update(bare(label), bare(pred))
        if self.average == "macro":
            self.sum_metric += getattr(self._local, self.score)
            self.global_sum_metric += getattr(self._global, self.score)
            self.num_inst += 1
            self.global_num_inst += 1
            self._local.reset()
            self._global.reset()
        else:
            self.sum_metric = getattr(self._local, self.score) * self._local.total
            self.global_sum_metric = getattr(self._global, self.score) * self._global.total
            self.num_inst, self.global_num_inst = self._local.total, self._global.total

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        self._local.reset()
        self._global.reset()

    def reset_local(self) -> None:
        """Begin anew, and keep the global sums."""
        super().reset_local()
        self._local.reset()


@register()
class F1(_TwoClasses):
    """2·precision·recall / (precision + recall) of two classes."""

    score = "f1"

    def __init__(self, name: str = "f1", average: str = "macro", **settings: Any):
        super().__init__(name, average, **settings)


@register()
class MCC(_TwoClasses):
    """Matthews' correlation coefficient of two classes."""

    score = "mcc"

    def __init__(self, name: str = "mcc", average: str = "macro", **settings: Any):
        super().__init__(name, average, **settings)


@register()
class PCC(EvalMetric):
    """Matthews' correlation coefficient of any number of classes, of all predictions together."""

    _has_global_stats = True

    def __init__(self, name: str = "pcc", **settings: Any):
        self.k = 2
        self.lcm = self.gcm = np.zeros((2, 2))
        super().__init__(name, **settings)

    def _grown(self, n: int) -> None:
        for name in ("lcm", "gcm"):
            old = getattr(self, name)
            new = np.zeros((n, n))
            new[: old.shape[0], : old.shape[1]] = old
            setattr(self, name, new)
        self.k = n

    def update(self, labels: MetricArrays, preds: MetricArrays) -> None:
        """Raises ValueError for lists of several lengths."""
        labels, preds = check_label_shapes(labels, preds, wrap=True)
        for label, pred in zip(labels, preds, strict=True):
            y, p = bare(label).astype(np.int32).reshape(-1), bare(pred)
            chosen = (
                (p if p.shape == y.shape else np.argmax(p, axis=1)).astype(np.int32).reshape(-1)
            )
            n = int(max(chosen.max(initial=0), y.max(initial=0))) + 1
            if n > self.k:
                self._grown(n)
            counts = np.zeros((self.k, self.k))
            np.add.at(counts, (chosen, y), 1)
            self.lcm = self.lcm + counts
            self.gcm = self.gcm + counts
        self.num_inst += 1
        self.global_num_inst += 1

    @staticmethod
    def _correlation(counts: np.ndarray) -> float:
        n = counts.sum()
        x, y = counts.sum(axis=1), counts.sum(axis=0)
        xx, yy = np.sum(x * (n - x)), np.sum(y * (n - y))
        if xx == 0 or yy == 0:
            return float("nan")
        diagonal = np.diag(counts)
        return float(np.sum(diagonal * n - x * y) / math.sqrt(xx * yy))

    def get(self) -> tuple[Any, Any]:
        """(name, value)."""
        return self.name, self._correlation(self.lcm) if self.num_inst else float("nan")

    def get_global(self) -> tuple[Any, Any]:
        """(name, value since the last reset)."""
        return self.name, self._correlation(self.gcm) if self.global_num_inst else float("nan")

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        self.lcm = np.zeros((self.k, self.k))
        self.gcm = np.zeros((self.k, self.k))

    def reset_local(self) -> None:
        """Begin anew, and keep the global counts."""
        super().reset_local()
        self.lcm = np.zeros((self.k, self.k))


@register()
class Perplexity(EvalMetric):
    """exp of the mean -log of the label's probability; labels `ignore_label` are left out."""

    _has_global_stats = True

    def __init__(
        self, ignore_label: int | None, axis: int = -1, name: str = "perplexity", **settings: Any
    ):
        super().__init__(name, ignore_label=ignore_label, axis=axis, **settings)
        self.ignore_label, self.axis = ignore_label, axis

    def update(self, labels: MetricArrays, preds: MetricArrays) -> None:
        """Raises AssertionError for lists of several lengths."""
        if len(labels) != len(preds):
            raise AssertionError(f"{len(labels)} labels for {len(preds)} predictions")
        loss, count = 0.0, 0
        for label, pred in zip(labels, preds, strict=True):
            y, p = bare(label), bare(pred)
            if y.size != p.size / p.shape[-1]:
                raise AssertionError(f"shape mismatch: {y.shape} vs. {p.shape}")
            y = y.reshape(-1).astype(np.int32)
            p = np.moveaxis(p, self.axis, -1).reshape(y.size, -1)
            picked = p[np.arange(y.size), np.clip(y, 0, p.shape[1] - 1)]
            if self.ignore_label is not None:
                kept = y != self.ignore_label
                picked = np.where(kept, picked, 1)
                count -= int(np.sum(~kept))
            loss -= float(np.sum(np.log(np.maximum(1e-10, picked))))
            count += y.size
        self.add(loss, count)

    def _value(self, total: float, count: float) -> float:
        return math.exp(total / count)


class _LogLikelihood(EvalMetric):
    _has_global_stats = True

    def __init__(self, eps: float, name: str, **settings: Any):
        super().__init__(name, eps=eps, **settings)
        self.eps = eps

    def update(self, labels: MetricArrays, preds: MetricArrays) -> None:
        """Raises ValueError for lists of several lengths."""
        labels, preds = check_label_shapes(labels, preds, wrap=True)
        for label, pred in zip(labels, preds, strict=True):
            y, p = bare(label).reshape(-1), bare(pred)
            if y.shape[0] != p.shape[0]:
                raise AssertionError(f"{y.shape[0]} labels for {p.shape[0]} predictions")
            picked = p[np.arange(y.shape[0]), y.astype(np.int64)]
            self.add(float(np.sum(-np.log(picked + self.eps))), y.shape[0])


@register("ce")
class CrossEntropy(_LogLikelihood):
    """The mean of -log(p[label] + eps)."""

    def __init__(self, eps: float = 1e-12, name: str = "cross-entropy", **settings: Any):
        super().__init__(eps, name, **settings)


@register("nll_loss")
class NegativeLogLikelihood(_LogLikelihood):
    """The mean of -log(p[label] + eps)."""

    def __init__(self, eps: float = 1e-12, name: str = "nll-loss", **settings: Any):
        super().__init__(eps, name, **settings)
