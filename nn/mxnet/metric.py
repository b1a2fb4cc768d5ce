"""Metrics: sums over batches, with a value at the end of an epoch.  Source: mx.metric.

Numbers that MXNet takes as means over calls of `update` (mae, mse, rmse, f1, …) are means over
calls here, too, since scripts compare them.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
from tapegrad.nn.mxnet.registry import Registry

__all__ = [
    "Accuracy",
    "Caffe",
    "CompositeEvalMetric",
    "CrossEntropy",
    "CustomMetric",
    "EvalMetric",
    "F1",
    "Loss",
    "MAE",
    "MCC",
    "MSE",
    "NegativeLogLikelihood",
    "PCC",
    "PearsonCorrelation",
    "Perplexity",
    "RMSE",
    "TopKAccuracy",
    "Torch",
    "as_metric",
    "check_label_shapes",
    "create",
    "names",
    "np_metric",
    "register",
]

_registry: Registry[Any] = Registry("metric")


def register(*names: str) -> Callable[[type[EvalMetric]], type[EvalMetric]]:
    """Decorator: enter a metric under its name in lower case, and other names."""

    def enter(cls: type[EvalMetric]) -> type[EvalMetric]:
        return _registry.enter(cls, cls.__name__, *names)

    return enter


def create(metric: Any, *args: Any, **kwargs: Any) -> EvalMetric:
    """A metric from a name, a function of (label, prediction), a list of them, or its JSON text.

    Raises ValueError for an unknown name, with the nearest one.
    """
    if isinstance(metric, EvalMetric):
        return metric
    if callable(metric):
        return CustomMetric(metric, *args, **kwargs)
    if isinstance(metric, (list, tuple)):
        composite = CompositeEvalMetric()
        for one in metric:
            composite.add(create(one, *args, **kwargs))
        return composite
    if isinstance(metric, Mapping):
        settings = dict(metric)
        made: EvalMetric = _registry.find(settings.pop("metric"))(**settings)
        return made
    if metric.startswith("["):
        name, settings = json.loads(metric)
        loaded: EvalMetric = _registry.find(name)(**settings)
        return loaded
    named: EvalMetric = _registry.find(metric)(*args, **kwargs)
    return named


def names() -> list[str]:
    """The names that `create` knows."""
    return _registry.names()


def as_metric(metric: Any) -> EvalMetric:
    """The metric itself, or what `create` makes."""
    return metric if isinstance(metric, EvalMetric) else create(metric)


def check_label_shapes(
    labels: Any, preds: Any, wrap: bool = False, shape: bool = False
) -> tuple[Any, Any]:
    """Labels and predictions, as lists if `wrap`.

    Raises ValueError for lists of several lengths, or arrays of several shapes if `shape`.
    """
    found = (labels.shape, preds.shape) if shape else (len(labels), len(preds))
    if found[0] != found[1]:
        raise ValueError(
            f"Shape of labels {found[0]} does not match shape of predictions {found[1]}"
        )
    if wrap:
        labels = [labels] if isinstance(labels, (NDArray, np.ndarray)) else labels
        preds = [preds] if isinstance(preds, (NDArray, np.ndarray)) else preds
    return labels, preds


def bare(x: Any) -> np.ndarray:
    """The NumPy array of an NDArray, or the array itself."""
    return x.asnumpy() if isinstance(x, NDArray) else np.asarray(x)


class EvalMetric:
    """A sum and a number of instances; the value is their quotient, NaN without instances.

    output_names, label_names: which outputs and labels `update_dict` takes; all when None
    Values since `reset` are the global ones; `reset_local` begins others, which `get` gives.
    """

    def __init__(
        self,
        name: str,
        output_names: Sequence[str] | None = None,
        label_names: Sequence[str] | None = None,
        **kwargs: Any,
    ):
        self.name = str(name)
        self.output_names, self.label_names = output_names, label_names
        self._has_global_stats = kwargs.pop("has_global_stats", False)
        self._kwargs = kwargs
        self.reset()

    def __str__(self) -> str:
        return f"EvalMetric: {dict(self.get_name_value())}"

    def get_config(self) -> dict[str, Any]:
        """The settings from which `create` makes the metric again."""
        config = dict(self._kwargs)
        config.update(
            metric=type(self).__name__, name=self.name, output_names=self.output_names,
            label_names=self.label_names,
        )  # fmt: skip
        return config

    def update_dict(self, label: Mapping[str, Any], pred: Mapping[str, Any]) -> None:
        """Add labels and predictions by name."""
        preds = (
            list(pred.values())
            if self.output_names is None
            else [pred[name] for name in self.output_names]
        )
        labels = (
            list(label.values())
            if self.label_names is None
            else [label[name] for name in self.label_names]
        )
        self.update(labels, preds)

    def update(self, labels: Any, preds: Any) -> None:
        """Add lists of labels and of predictions."""
        raise NotImplementedError

    def add(self, value: float, count: float = 1) -> None:
        """Add to the sums."""
        self.sum_metric += value
        self.global_sum_metric += value
        self.num_inst += count
        self.global_num_inst += count

    def reset(self) -> None:
        """Begin anew."""
        self.num_inst: float = 0
        self.sum_metric: float = 0.0
        self.global_num_inst: float = 0
        self.global_sum_metric: float = 0.0

    def reset_local(self) -> None:
        """Begin anew, and keep the global sums."""
        self.num_inst = 0
        self.sum_metric = 0.0

    def _value(self, total: float, count: float) -> float:
        return total / count

    def get(self) -> tuple[Any, Any]:
        """(name, value since the last reset_local)."""
        if self.num_inst == 0:
            return self.name, float("nan")
        return self.name, self._value(self.sum_metric, self.num_inst)

    def get_global(self) -> tuple[Any, Any]:
        """(name, value since the last reset)."""
        if self.global_num_inst == 0:
            return self.name, float("nan")
        return self.name, self._value(self.global_sum_metric, self.global_num_inst)

    def get_name_value(self) -> list[tuple[str, float]]:
        """[(name, value)]."""
        return _pairs(self.get())

    def get_global_name_value(self) -> list[tuple[str, float]]:
        """[(name, value since the last reset)]."""
        return _pairs(self.get_global())


def _pairs(found: tuple[Any, Any]) -> list[tuple[str, float]]:
    names, values = found
    if not isinstance(names, list):
        return [(names, values)]
    return list(zip(names, values, strict=True))


@register("composite")
class CompositeEvalMetric(EvalMetric):
    """Several metrics as one."""

    def __init__(
        self,
        metrics: Sequence[Any] | None = None,
        name: str = "composite",
        output_names: Sequence[str] | None = None,
        label_names: Sequence[str] | None = None,
    ):
        self.metrics = [create(one) for one in metrics or ()]
        super().__init__(name, output_names, label_names)

    def add(self, metric: Any, count: float = 1) -> None:
        """Add a metric."""
        self.metrics.append(create(metric))

    def get_metric(self, index: int) -> Any:
        """A metric by its number; a ValueError, not raised, for a number out of range, as MXNet."""
        if 0 <= index < len(self.metrics):
            return self.metrics[index]
        return ValueError(f"Metric index {index} is out of range 0 and {len(self.metrics)}")

    def update_dict(self, label: Mapping[str, Any], pred: Mapping[str, Any]) -> None:
        """Add labels and predictions, by name, to every metric."""
        if self.label_names is not None:
            label = OrderedDict((k, v) for k, v in label.items() if k in self.label_names)
        if self.output_names is not None:
            pred = OrderedDict((k, v) for k, v in pred.items() if k in self.output_names)
        for metric in self.metrics:
            metric.update_dict(label, pred)

    def update(self, labels: Any, preds: Any) -> None:
        """Add lists of labels and of predictions to every metric."""
        for metric in self.metrics:
            metric.update(labels, preds)

    def reset(self) -> None:
        """Begin anew."""
        for metric in getattr(self, "metrics", ()):
            metric.reset()

    def reset_local(self) -> None:
        """Begin anew, and keep the global sums."""
        for metric in getattr(self, "metrics", ()):
            metric.reset_local()

    def _all(self, method: str) -> tuple[Any, Any]:
        names: list[str] = []
        values: list[float] = []
        for metric in self.metrics:
            name, value = getattr(metric, method)()
            names += name if isinstance(name, list) else [name]
            values += value if isinstance(value, list) else [value]
        return names, values

    def get(self) -> tuple[Any, Any]:
        """(names, values)."""
        return self._all("get")

    def get_global(self) -> tuple[Any, Any]:
        """(names, values since the last reset)."""
        return self._all("get_global")

    def get_config(self) -> dict[str, Any]:
        """The settings from which `create` makes the metric again."""
        return {**super().get_config(), "metrics": [m.get_config() for m in self.metrics]}


@register("acc")
class Accuracy(EvalMetric):
    """The share of predictions whose largest entry along `axis` is the label's."""

    def __init__(self, axis: int = 1, name: str = "accuracy", **settings: Any):
        super().__init__(name, axis=axis, **settings)
        self.axis = axis

    def update(self, labels: Any, preds: Any) -> None:
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

    def __init__(self, top_k: int = 1, name: str = "top_k_accuracy", **settings: Any):
        super().__init__(name, top_k=top_k, **settings)
        if top_k <= 1:
            raise AssertionError("Please use Accuracy if top_k is no more than 1")
        self.top_k = top_k
        self.name += f"_{top_k}"

    def update(self, labels: Any, preds: Any) -> None:
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

    score = ""

    def __init__(self, name: str, average: str = "macro", **settings: Any):
        self.average = average
        self._local, self._global = _Counts(), _Counts()
        super().__init__(name, **settings)

    def update(self, labels: Any, preds: Any) -> None:
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

    def update(self, labels: Any, preds: Any) -> None:
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

    def __init__(
        self, ignore_label: int | None, axis: int = -1, name: str = "perplexity", **settings: Any
    ):
        super().__init__(name, ignore_label=ignore_label, axis=axis, **settings)
        self.ignore_label, self.axis = ignore_label, axis

    def update(self, labels: Any, preds: Any) -> None:
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


class _Regression(EvalMetric):
    """A mean over calls of update."""

    def __init__(self, name: str, **settings: Any):
        super().__init__(name, **settings)

    @staticmethod
    def error(label: np.ndarray, pred: np.ndarray) -> float:
        raise NotImplementedError

    def update(self, labels: Any, preds: Any) -> None:
        """Raises ValueError for lists of several lengths."""
        labels, preds = check_label_shapes(labels, preds, wrap=True)
        for label, pred in zip(labels, preds, strict=True):
            y, p = bare(label), bare(pred)
            y = y.reshape(y.shape[0], 1) if y.ndim == 1 else y
            p = p.reshape(p.shape[0], 1) if p.ndim == 1 else p
            self.add(self.error(y, p))


@register()
class MAE(_Regression):
    """The mean of |label - prediction|, the mean over batches."""

    def __init__(self, name: str = "mae", **settings: Any):
        super().__init__(name, **settings)

    @staticmethod
    def error(label: np.ndarray, pred: np.ndarray) -> float:
        """The mean of a batch."""
        return float(np.abs(label - pred).mean())


@register()
class MSE(_Regression):
    """The mean of (label - prediction)², the mean over batches."""

    def __init__(self, name: str = "mse", **settings: Any):
        super().__init__(name, **settings)

    @staticmethod
    def error(label: np.ndarray, pred: np.ndarray) -> float:
        """The mean of a batch."""
        return float(((label - pred) ** 2.0).mean())


@register()
class RMSE(_Regression):
    """The root of the mean of (label - prediction)², the mean over batches."""

    def __init__(self, name: str = "rmse", **settings: Any):
        super().__init__(name, **settings)

    @staticmethod
    def error(label: np.ndarray, pred: np.ndarray) -> float:
        """The root mean of a batch."""
        return float(np.sqrt(((label - pred) ** 2.0).mean()))


class _LogLikelihood(EvalMetric):
    def __init__(self, eps: float, name: str, **settings: Any):
        super().__init__(name, eps=eps, **settings)
        self.eps = eps

    def update(self, labels: Any, preds: Any) -> None:
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


@register("pearsonr")
class PearsonCorrelation(EvalMetric):
    """Pearson's correlation: the mean over batches ("macro"), or of all entries ("micro")."""

    def __init__(self, name: str = "pearsonr", average: str = "macro", **settings: Any):
        self.average = average
        super().__init__(name, **settings)

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        self._labels: list[np.ndarray] = []
        self._preds: list[np.ndarray] = []

    def update(self, labels: Any, preds: Any) -> None:
        """Raises ValueError for arrays of several shapes."""
        labels, preds = check_label_shapes(labels, preds, wrap=True)
        for label, pred in zip(labels, preds, strict=True):
            check_label_shapes(label, pred, shape=True)
            y, p = bare(label).reshape(-1).astype(np.float64), bare(pred).reshape(-1)
            if self.average == "macro":
                self.add(float(np.corrcoef(p, y)[0, 1]))
            else:
                self._labels.append(y)
                self._preds.append(p.astype(np.float64))
                self.num_inst += 1
                self.global_num_inst += 1

    def get(self) -> tuple[Any, Any]:
        """(name, value)."""
        if self.average == "macro" or not self.num_inst:
            return super().get()
        y, p = np.concatenate(self._labels), np.concatenate(self._preds)
        return self.name, float(np.corrcoef(p, y)[0, 1])

    def get_global(self) -> tuple[Any, Any]:
        """(name, value since the last reset)."""
        return super().get_global() if self.average == "macro" else self.get()


@register()
class Loss(EvalMetric):
    """The mean entry of all outputs; labels do not count."""

    def __init__(self, name: str = "loss", **settings: Any):
        super().__init__(name, **settings)

    def update(self, _: Any, preds: Any) -> None:
        """Add the outputs."""
        for pred in [preds] if isinstance(preds, (NDArray, np.ndarray)) else preds:
            p = bare(pred)
            self.add(float(p.sum()), p.size)


@register()
class Torch(Loss):
    """The mean output of a Torch criterion."""

    def __init__(self, name: str = "torch", **settings: Any):
        super().__init__(name, **settings)


@register()
class Caffe(Loss):
    """The mean output of a Caffe criterion."""

    def __init__(self, name: str = "caffe", **settings: Any):
        super().__init__(name, **settings)


@register("custom")
class CustomMetric(EvalMetric):
    """A function of (label, prediction) that gives a value, or (sum, number of instances)."""

    def __init__(
        self,
        feval: Callable[[np.ndarray, np.ndarray], Any],
        name: str | None = None,
        allow_extra_outputs: bool = False,
        **settings: Any,
    ):
        if name is None:
            name = getattr(feval, "__name__", type(feval).__name__)
            name = f"custom({name})" if "<" in name else name
        super().__init__(name, **settings)
        self._feval, self._allow_extra_outputs = feval, allow_extra_outputs

    def update(self, labels: Any, preds: Any) -> None:
        """Raises ValueError for lists of several lengths, unless extra outputs are allowed."""
        if not self._allow_extra_outputs:
            labels, preds = check_label_shapes(labels, preds, wrap=True)
        for pred, label in zip(preds, labels, strict=False):
            found = self._feval(bare(label), bare(pred))
            if isinstance(found, tuple):
                self.add(found[0], found[1])
            else:
                self.add(found)


def np_metric(
    numpy_feval: Callable[[np.ndarray, np.ndarray], Any],
    name: str | None = None,
    allow_extra_outputs: bool = False,
) -> CustomMetric:
    """The metric of a function of NumPy arrays: mx.metric.np."""

    def feval(label: np.ndarray, pred: np.ndarray) -> Any:
        return numpy_feval(label, pred)

    feval.__name__ = numpy_feval.__name__
    return CustomMetric(feval, name, allow_extra_outputs)
