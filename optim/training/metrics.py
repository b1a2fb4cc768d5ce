"""Figures of merit that are gathered over batches: each has `add(output, target)` and `value()`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tapegrad.autograd.core.settings_text import ShowsSettings
from tapegrad.optim.core.advice import OF_METRICS
from tapegrad.optim.core.samples import samples_in
from tapegrad.optim.training.labels import IgnoreIndex, in_one_shape, nest_to_numpy

if TYPE_CHECKING:
    import numpy.typing as npt

    from tapegrad.autograd import Tensor

__all__ = ["MeanAbsoluteError", "Metric"]

SAME_NAME = (
    "two metrics are called {name!r}, and one would overwrite the other: give one of them another "
    "`name`, as a class attribute"
)


class Metric(ShowsSettings):
    """A mean over samples: a subclass gives the sum over a batch, `batch_sum(output, target)`.

    output: (N, …), of a classifier (N, classes) scores or log-probabilities; target: (N, …)
    name:   what the figure is called, after "val_"; made of the class's name unless it says one
    gathered: the attributes in which `add` collects: numbers and arrays that add up, None before
            the first, and lists that follow each other.  A subclass with an `add` of its own names
            them, and is then measured by several ranks together; else every rank measures all
    """

    name = "metric"
    larger_is_better = True
    gathered: tuple[str, ...] = ("total", "count")
    _says_its_name = False
    _is_mergeable = True

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "name" in vars(cls):
            cls._says_its_name = True
        elif not cls._says_its_name:
            words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__)
            cls.name = words.strip("_").lower()
        if "add" in vars(cls):
            cls._is_mergeable = "gathered" in vars(cls)
        elif "gathered" in vars(cls):
            cls._is_mergeable = True

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0.0

    def add(self, output: Tensor | npt.ArrayLike, target: Tensor | npt.ArrayLike) -> None:
        """Take a batch into account."""
        y, t = nest_to_numpy(output), nest_to_numpy(target)
        found = self.batch_sum(y, t)
        total, count = found if isinstance(found, tuple) else (found, samples_in(t))
        self.total += float(total)
        self.count += float(count)

    def batch_sum(self, output: Any, target: Any) -> Any:
        """Return the sum over a batch, one number.

        Or (sum, count), where not all samples count.  Several outputs or targets come as lists of
        arrays, or as dicts.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it measures")

    def value(self) -> float:
        """Return the figure so far; NaN when no sample was counted."""
        return self.total / self.count if self.count else math.nan

    @property
    def is_mergeable(self) -> bool:
        """Whether `merge` knows all that `add` has collected."""
        return self._is_mergeable

    def state_dict(self) -> dict[str, Any]:
        """Return what has been collected so far, by the names in `gathered`."""
        return {name: getattr(self, name) for name in self.gathered}

    def merge(self, collected: Mapping[str, Any]) -> None:
        """Take into account what another metric of this class has collected: its `state_dict`.

        Raises ValueError where it was another number of classes.
        """
        for name in self.gathered:
            own, other = getattr(self, name), collected[name]
            if own is None or other is None:
                setattr(self, name, other if own is None else own)
            elif not isinstance(own, list) and np.shape(own) != np.shape(other):
                raise ValueError(f"{self.name}: {np.shape(own)} figures, and {np.shape(other)}")
            else:
                setattr(self, name, own + other)


class LabelMetric(Metric):
    """A metric of class labels; negative labels are missing, and their samples are not counted.

    ignore_index: a further label, or several, whose samples are not counted.  A Trainer gives its
                  metrics the `ignoreIndex` of its criterion, unless they have one of their own
    """

    def __init__(self, *, ignore_index: IgnoreIndex = None) -> None:
        super().__init__()
        self.ignore_index = ignore_index


class MeanAbsoluteError(Metric):
    """The mean of |output - target| over samples, and over the entries of each: "mae".

    Raises ValueError where the shapes differ by more than axes of length 1.
    """

    name, larger_is_better = "mae", False

    def batch_sum(self, output: Any, target: Any) -> Any:
        """Return the sum over samples of the means of their entries."""
        y, t = in_one_shape(self.name, output, target)
        # Unsigned integers would wrap below 0, float16 overflow above 65,504.
        error = np.abs(y.astype(np.float64) - t)
        return error.reshape(len(error), -1).mean(axis=1).sum() if error.size else 0.0


# A metric by name, or a class or function that makes one.
MetricSource: TypeAlias = str | Callable[[], Metric]

METRICS: dict[str, Callable[[], Metric]] = {"mae": MeanAbsoluteError}


def make_metric(source: MetricSource, ignored: Sequence[int] = ()) -> Metric:
    """Make a metric from its name, or by a class or function.

    ignored: labels that it leaves out, if it is one of labels and names none itself
    Raises ValueError for an unknown name, TypeError for what makes no metric.
    """
    if isinstance(source, str):
        if source not in METRICS:
            note = f": use {OF_METRICS[source]!r}" if source in OF_METRICS else ""
            raise ValueError(f"there is no metric {source!r}{note}; there are {', '.join(METRICS)}")
        source = METRICS[source]
    if isinstance(source, Metric):
        raise TypeError(
            f"metrics= takes what makes a metric anew for each validation: a name, a class or a "
            f"function. Give lambda: {type(source).__name__}(…)"
        )
    metric = source()
    if not callable(getattr(metric, "add", None)) or not callable(getattr(metric, "value", None)):
        raise TypeError(f"a metric has add(output, target) and value(); this is {metric!r:.60}")
    if isinstance(metric, LabelMetric) and metric.ignore_index is None:
        metric.ignore_index = tuple(ignored)
    return metric


def make_metrics(sources: Sequence[MetricSource], ignored: Sequence[int] = ()) -> list[Metric]:
    """Make all metrics.  Raises ValueError when two of them have one name, or that of the loss."""
    metrics = [make_metric(source, ignored) for source in sources]
    names = ["loss"]
    for metric in metrics:
        if metric.name in names:
            raise ValueError(SAME_NAME.format(name=metric.name))
        names.append(metric.name)
    return metrics
