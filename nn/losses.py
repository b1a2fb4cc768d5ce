"""Criterions: MSECriterion, ClassNLLCriterion, CrossEntropyCriterion.

A criterion is a module of two inputs, prediction and target, whose output is one number, a 0-d
Tensor.  The derivative with respect to the prediction comes from the tape; targets are constants.
Class labels count from 0, and a negative one is no class, not one counted from the end: -1 is what
people write for "unknown".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tapegrad.autograd import Tensor, default_dtype, ops, primitive
from tapegrad.nn._text import torch7_name
from tapegrad.nn.activation import LogSoftMax
from tapegrad.nn.criterion import Criterion
from tapegrad.nn.module import Buffer, ShapeError

__all__ = ["ClassNLLCriterion", "CrossEntropyCriterion", "MSECriterion"]

NO_CLASS = (
    "the target holds {label}, and the input has {classes} classes: labels are whole numbers from "
    "0 to {last}, or ignoreIndex, {ignored}"
)


class MSECriterion(Criterion):
    """loss = Σ (x - target)² / n, with n the number of entries, not of samples.

    x, target: arrays with equally many entries, paired in row order -> 0-d, in the dtype of x.
    With sizeAverage False the sum is not divided.  Raises ShapeError when the numbers of entries
    differ.  Source: nn.MSECriterion.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # one flag

    def __init__(self, sizeAverage: bool = True) -> None:
        self.sizeAverage = sizeAverage

    def updateOutput(self, x: Any, target: Any) -> Any:
        target = constant(target, x)
        if x.size != target.size:
            raise ShapeError(
                f"the input of shape {x.shape} has {x.size} entries, "
                f"the target of shape {target.shape} has {target.size}"
            )
        if target.dtype != x.dtype:
            target = ops.cast(target, dtype=x.dtype)
        total = ops.sum(ops.square(x - target.reshape(x.shape)))
        return total / x.size if self.sizeAverage else total


class ClassNLLCriterion(Criterion):
    """loss = -Σᵢ w[tᵢ]·x[i, tᵢ] / Σᵢ w[tᵢ]: the negative log-likelihood of the labels t.

    x: log-probabilities (C,) or (N, C);  target: one label, or N of them, any numeric dtype -> 0-d.
    weights: (C,), one for each class; all 1 when None.  With sizeAverage False the sum is not
    divided.  Samples whose label is `ignoreIndex` count neither above nor below the line; if that
    leaves nothing, the loss is 0.
    Raises ShapeError for other shapes, and for a label that is no class.
    Source: nn.ClassNLLCriterion.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {"ignoreIndex": "label", "target": "label"}

    def __init__(
        self, weights: Any = None, sizeAverage: bool = True, ignoreIndex: int = -100
    ) -> None:
        self.weights = None if weights is None else Buffer(weights, dtype=default_dtype())
        self.sizeAverage = sizeAverage
        self.ignoreIndex = ignoreIndex

    def updateOutput(self, x: Any, target: Any) -> Any:
        if x.ndim not in (1, 2):
            raise ShapeError(f"the input of shape {x.shape} is neither (C,) nor (N, C)")
        rows = x.reshape((-1, x.shape[-1]))
        samples, classes = rows.shape
        target = constant(target, x)
        if target.ndim == 0 and samples == 1:
            target = target.reshape((1,))
        if target.shape != (samples,):
            raise ShapeError(
                f"the target of shape {target.shape} does not hold one label for each of the "
                f"{samples} samples of the input of shape {x.shape}"
            )
        if self.weights is not None and self.weights.shape != (classes,):
            raise ShapeError(
                f"the input has {classes} classes, weights has shape {self.weights.shape}"
            )
        labels = class_labels(target, classes=classes, ignored=self.ignoreIndex)
        factors = ops.cast(ops.greater_equal(labels, 0), dtype=x.dtype)
        labels = ops.maximum(labels, 0)
        if self.weights is not None:
            factors = factors * ops.cast(self.weights[labels], dtype=x.dtype)
        picked = ops.take_along_axis(rows, labels.reshape((samples, 1)), axis=1)
        loss = -ops.sum(picked.reshape((samples,)) * factors)
        if not self.sizeAverage:
            return loss
        total = ops.sum(factors)
        return loss / ops.where(ops.equal(total, 0), 1, total)


class CrossEntropyCriterion(Criterion):
    """ClassNLLCriterion of LogSoftMax of x: the cross entropy of unnormalised scores.

    x: scores (C,) or (N, C); with more axes, those of length 1 are dropped.
    target, weights, sizeAverage: as in ClassNLLCriterion -> 0-d.  Raises as it does.
    Source: nn.CrossEntropyCriterion.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {"target": "label"}

    def __init__(self, weights: Any = None, sizeAverage: bool = True) -> None:
        self.lsm = LogSoftMax()
        self.nll = ClassNLLCriterion(weights, sizeAverage)
        self.sizeAverage = sizeAverage

    def updateOutput(self, x: Any, target: Any) -> Any:
        target = constant(target, x)
        if x.ndim > 2:
            x = x.reshape([length for length in x.shape if length != 1] or [1])
        self.nll.sizeAverage = self.sizeAverage
        return self.nll.updateOutput(self.lsm.updateOutput(x), target.reshape((-1,)))

    def __repr__(self) -> str:
        return torch7_name(self)


def constant(target: Any, x: Any) -> Any:
    """The target as a Tensor: numbers and lists go to the device of x."""
    if isinstance(target, Tensor):
        return target
    return Tensor(target, device=None if hasattr(target, "dtype") else x.device)


@primitive(differentiable=False)
def class_labels(xp: Any, labels: Any, *, classes: int, ignored: int) -> Any:
    """The labels as integers, -1 where a label is `ignored`.

    A primitive, so that a replayed step looks at its new labels too.  Raises ShapeError for a label
    that is no class: NumPy would take it for an index from the end, CuPy for one of its neighbours.
    """
    skipped = labels == ignored
    known = (labels >= 0) & (labels < classes) & (labels == xp.floor(labels))
    if not bool((known | skipped).all()):
        wrong = labels[~(known | skipped)][0].item()
        raise ShapeError(
            NO_CLASS.format(label=wrong, classes=classes, last=classes - 1, ignored=ignored)
        )
    return xp.where(skipped, -1, labels.astype(np.int64))
