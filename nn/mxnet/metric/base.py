"""EvalMetric: a sum over batches, with a value at the end of an epoch; composites of several.

Source: mx.metric.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
from tapegrad.nn.mxnet.registry import Registry

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import ArrayLike, MetricArrays, MetricLike


__all__ = [
    "CompositeEvalMetric",
    "CustomMetric",
    "EvalMetric",
    "as_metric",
    "bare",
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


def create(metric: MetricLike, *args: Any, **kwargs: Any) -> EvalMetric:
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


def as_metric(metric: MetricLike) -> EvalMetric:
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


def bare(x: ArrayLike) -> np.ndarray:
    """The NumPy array of an NDArray, or the array itself."""
    return x.asnumpy() if isinstance(x, NDArray) else np.asarray(x)


class EvalMetric:
    """A sum and a number of instances; the value is their quotient, NaN without instances.

    output_names, label_names: which outputs and labels `update_dict` takes; all when None
    Values since `reset` are the global ones; `reset_local` begins others, which `get` gives.
    has_global_stats: whether `update` adds to the global sums as well; a script's own metric does
                      not, unless it says so, and `get` stands for them
    """

    _has_global_stats = False

    def __init__(
        self,
        name: str,
        output_names: Sequence[str] | None = None,
        label_names: Sequence[str] | None = None,
        **kwargs: Any,
    ):
        self.name = str(name)
        self.output_names, self.label_names = output_names, label_names
        self._has_global_stats = kwargs.pop("has_global_stats", self._has_global_stats)
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

    def update(self, labels: MetricArrays, preds: MetricArrays) -> None:
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
        if isinstance(self.sum_metric, list):  # a script's metric of several numbers, of before 1.5
            self.reset()
            return
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
        if not self._has_global_stats:
            return self.get()
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

    _has_global_stats = True

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

    def get_metric(self, index: int) -> EvalMetric | ValueError:
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

    def update(self, labels: MetricArrays, preds: MetricArrays) -> None:
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


@register("custom")
class CustomMetric(EvalMetric):
    """A function of (label, prediction) that gives a value, or (sum, number of instances)."""

    _has_global_stats = True

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

    def update(self, labels: MetricArrays, preds: MetricArrays) -> None:
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
