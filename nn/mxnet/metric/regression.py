"""Metrics of numbers: means over calls of `update`, as MXNet has them.  Source: mx.metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.metric.base import EvalMetric, bare, check_label_shapes, register
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import MetricArrays


__all__ = ["Caffe", "Loss", "MAE", "MSE", "PearsonCorrelation", "RMSE", "Torch"]


class _Regression(EvalMetric):
    """A mean over calls of update."""

    _has_global_stats = True

    def __init__(self, name: str, **settings: Any):
        super().__init__(name, **settings)

    @staticmethod
    def error(label: np.ndarray, pred: np.ndarray) -> float:
        raise NotImplementedError

    def update(self, labels: MetricArrays, preds: MetricArrays) -> None:
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


@register("pearsonr")
class PearsonCorrelation(EvalMetric):
    """Pearson's correlation: the mean over batches ("macro"), or of all entries ("micro")."""

    _has_global_stats = True

    def __init__(self, name: str = "pearsonr", average: str = "macro", **settings: Any):
        self.average = average
        super().__init__(name, **settings)

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        self._labels: list[np.ndarray] = []
        self._preds: list[np.ndarray] = []

    def update(self, labels: MetricArrays, preds: MetricArrays) -> None:
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

    _has_global_stats = True

    def __init__(self, name: str = "loss", **settings: Any):
        super().__init__(name, **settings)

    def update(self, _: object, preds: MetricArrays) -> None:
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
