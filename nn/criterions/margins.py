"""Losses with a margin: hinges, rankings and embeddings.

Targets of the pairwise losses are signs: +1 means "alike" or "the first is larger", -1 the
opposite.  Targets of the multi-class losses are labels, counted from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from tapegrad import devices
from tapegrad.autograd import ops, primitive
from tapegrad.autograd.core.tensor import array_of
from tapegrad.autograd.ops.arrays import refuse_complex
from tapegrad.autograd.ops.batch_rules import leading_axes_rule
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.labels import class_labels, pick_by_label
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.criterions.targets import (
    longer_axes,
    set_reduction,
    sum_or_mean,
    target_like,
    target_of_shape,
    target_tensor,
    weights_buffer,
)

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Nest, Operand
    from tapegrad.devices import Array, Namespace, Shape

__all__ = [
    "CosineEmbeddingCriterion",
    "DistanceRatioCriterion",
    "HingeEmbeddingCriterion",
    "L1HingeEmbeddingCriterion",
    "MarginCriterion",
    "MarginRankingCriterion",
    "MultiLabelMarginCriterion",
    "MultiMarginCriterion",
    "SoftMarginCriterion",
    "TripletMarginCriterion",
]

NO_LABELS = (
    "the target holds {label}, and the input has {classes} classes: labels are integers from "
    "0 to {last}, and a negative one ends the list"
)


# One score for each target ------------------------------------------------------------------------


class MarginCriterion(Criterion):
    """loss = Σ max(0, margin - x·y) / n; squared: of the squares of these (BigDL's option).

    x: scores;  target y: a sign for each -> 0-d.  With `sizeAverage` set to False the sum is not
    divided.  Raises ShapeError when the shapes differ.  Source: nn.MarginCriterion.
    """

    keeps = ("margin", "sizeAverage", "squared")
    squared = False

    def __init__(self, margin: float = 1, squared: bool = False) -> None:
        self.margin = margin
        self.sizeAverage = True
        if squared:
            self.squared = True

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        losses = ops.relu(self.margin - x * target_like(x, target))
        return sum_or_mean(ops.square(losses) if self.squared else losses, self)


class SoftMarginCriterion(Criterion):
    """loss = Σ log(1 + exp(-x·y)) / n, without overflow.

    x: scores;  target y: a sign for each -> 0-d.  With `sizeAverage` set to False the sum is not
    divided.  Raises ShapeError when the shapes differ.  Source: nn.SoftMarginCriterion.
    """

    keeps = ("sizeAverage",)

    def __init__(self) -> None:
        self.sizeAverage = True

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        return sum_or_mean(ops.log_one_plus_exp(-(x * target_like(x, target))), self)


class HingeEmbeddingCriterion(Criterion):
    """loss = Σ (x where y = 1, max(0, margin - x) where y = -1) / n.

    x: distances;  target y: a sign for each, or one for all -> 0-d.  With `sizeAverage` set to
    False the sum is not divided.  Raises ShapeError for another number of signs.
    Source: nn.HingeEmbeddingCriterion.
    """

    keeps = ("margin", "sizeAverage")

    def __init__(self, margin: float = 1) -> None:
        self.margin = margin
        self.sizeAverage = True

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        alike = ops.greater(signs(target, x, x.shape), 0)
        hinges = ops.maximum(self.margin - x, 0)
        return sum_or_mean(ops.where(alike, x, hinges), self)


# Pairs --------------------------------------------------------------------------------------------


class L1HingeEmbeddingCriterion(Criterion):
    """loss = d where y = 1, max(0, margin - d) where y = -1, with d = Σ |a - b|.

    x: [a, b], of one shape;  target y: one sign -> 0-d.  The derivative of |0| is 0.
    Raises ShapeError when the shapes differ.  Source: nn.L1HingeEmbeddingCriterion.
    """

    keeps = ("margin",)

    def __init__(self, margin: float = 1) -> None:
        self.margin = margin

    def updateOutput(self, x: Nest, target: Nest) -> Tensor:
        a, b = two_arrays(x)
        distance = ops.sum(ops.absolute(a - b))
        alike = ops.greater(signs(target, a, ()), 0)
        return ops.where(alike, distance, ops.relu(self.margin - distance))


class CosineEmbeddingCriterion(Criterion):
    """loss = Σ (1 - c where y = 1, max(0, c - margin) where y = -1) / N, with c = cos(a, b).

    x: [a, b], both (F,) or (N, F);  target y: one sign, or N of them -> 0-d.  The squared norms
    have 1e-12 added.  With `sizeAverage` set to False the sum is not divided.
    Raises ShapeError for other shapes.  Source: nn.CosineEmbeddingCriterion.
    """

    keeps = ("margin", "sizeAverage")
    eps = 1e-12

    def __init__(self, margin: float = 0) -> None:
        self.margin = margin
        self.sizeAverage = True

    def updateOutput(self, x: Nest, target: Nest) -> Tensor:
        a, b = two_arrays(x)
        if a.ndim not in (1, 2):
            raise ShapeError(f"the inputs of shape {a.shape} are neither (F,) nor (N, F)")
        squares = [ops.sum(ops.square(v), axis=-1) + self.eps for v in (a, b)]
        cosine = ops.sum(a * b, axis=-1) / ops.sqrt(squares[0] * squares[1])
        alike = ops.greater(signs(target, a, cosine.shape), 0)
        return sum_or_mean(ops.where(alike, 1 - cosine, ops.relu(cosine - self.margin)), self)


class MarginRankingCriterion(Criterion):
    """loss = Σ max(0, margin - y·(a - b)) / n: y = 1 wants a larger than b, y = -1 the opposite.

    x: [a, b], of one shape;  target y: a sign for each entry, or one for all -> 0-d.  With
    `sizeAverage` set to False the sum is not divided.
    Raises ShapeError for other shapes.  Source: nn.MarginRankingCriterion.
    """

    keeps = ("margin", "sizeAverage")

    def __init__(self, margin: float = 1) -> None:
        self.margin = margin
        self.sizeAverage = True

    def updateOutput(self, x: Nest, target: Nest) -> Tensor:
        a, b = two_arrays(x)
        lead = (a - b) * signs(target, a, a.shape)
        return sum_or_mean(ops.maximum(self.margin - lead, 0), self)


class DistanceRatioCriterion(Criterion):
    """loss = Σ log(1 + exp(a - b)) / n: near pairs at distances a, far pairs at distances b.

    x: [a, b], of one shape -> 0-d; there is no target.  With sizeAverage False the sum is not
    divided.  Raises ShapeError when the shapes differ.
    Source: nn.DistanceRatioCriterion; E. Hoffer, N. Ailon, "Deep metric learning using triplet
    network", 2014.
    """

    keeps = ("sizeAverage",)

    def __init__(self, sizeAverage: bool = True) -> None:
        self.sizeAverage = sizeAverage

    def updateOutput(self, x: Nest, target: Nest = None) -> Tensor:
        near, far = two_arrays(x)
        return sum_or_mean(ops.log_one_plus_exp(near - far), self)


class TripletMarginCriterion(Criterion):
    """loss = Σ max(0, margin + d(a, b) - d(a, c)) / N, with d(u, v) = ‖u - v + eps‖ₚ.

    x: [a, b, c], of one shape (F,) or (N, F): anchors, samples alike and samples that differ ->
    0-d; there is no target.  swap: take the smaller of d(a, c) and d(b, c).
    Raises ShapeError for other shapes, ValueError unless p >= 1.
    Source: V. Balntas et al., "Learning shallow convolutional feature descriptors with triplet
    losses", BMVC 2016.
    """

    keeps = ("margin", "p", "eps", "swap")

    def __init__(
        self,
        margin: float = 1,
        p: float = 2,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        if not p >= 1:
            raise ValueError(f"TripletMarginCriterion: p is {p}, it must be at least 1")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = bool(swap)
        set_reduction(self, reduction)

    def updateOutput(self, x: Nest, target: Nest = None) -> Tensor:
        a, b, c = entries_of(x, 3)
        if not a.shape == b.shape == c.shape or a.ndim not in (1, 2):
            raise ShapeError(
                f"the inputs of shapes {a.shape}, {b.shape}, {c.shape} are not all (F,) or (N, F)"
            )
        apart = self._distance(a, c)
        if self.swap:
            apart = ops.minimum(apart, self._distance(b, c))
        return sum_or_mean(ops.relu(self.margin + self._distance(a, b) - apart), self)

    def _distance(self, u: Tensor, v: Tensor) -> Tensor:
        """‖u - v + eps‖ₚ over the last axis."""
        return ops.vector_norm(u - v + self.eps, axis=-1, ord=self.p)


# One score for each class -------------------------------------------------------------------------


class MultiMarginCriterion(Criterion):
    """loss = Σₙ w[t]·Σ_{i≠t} max(0, margin - x[t] + x[i])ᵖ / C / N, with t the label of sample n.

    x: scores (C,) or (N, C);  target: one label, or N of them -> 0-d.  p: 1 or 2.
    weights: (C,), one for each class; all 1 when None.  With `sizeAverage` set to False the sum is
    divided by C only.
    Raises ValueError for another p, ShapeError for other shapes and a label that is no class.
    Source: nn.MultiMarginCriterion.
    """

    keeps = ("p", "margin", "weights", "sizeAverage")
    counts: ClassVar[Mapping[str, str]] = {"target": "label"}

    def __init__(self, p: int = 1, weights: Operand | None = None, margin: float = 1) -> None:
        if p not in (1, 2):
            raise ValueError(f"MultiMarginCriterion: p is {p}, only 1 and 2 are supported")
        self.p = p
        self.margin = margin
        self.weights = weights_buffer(weights)
        self.sizeAverage = True

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        rows = class_rows(x)
        samples, classes = rows.shape
        target = target_of_shape(target_tensor(target, x), (samples,), "one label for each sample")
        if self.weights is not None and self.weights.shape != (classes,):
            raise ShapeError(
                f"the input has {classes} classes, weights has shape {self.weights.shape}"
            )
        labels = class_labels(target, classes=classes)
        columns = labels.reshape((samples, 1))
        own = pick_by_label(rows, labels).reshape(columns.shape)
        hinges = ops.relu(self.margin - own + rows)
        if self.p == 2:
            hinges = ops.square(hinges)
        others = ops.not_equal(columns, class_numbers(rows, classes))
        hinges = ops.where(others, hinges, 0)
        if self.weights is not None:
            hinges = hinges * ops.cast(self.weights[labels], dtype=rows.dtype).reshape(
                columns.shape
            )
        return sum_or_mean(ops.sum(hinges, axis=1) / classes, self)


class MultiLabelMarginCriterion(Criterion):
    """loss = Σₙ Σ_{t in target} Σ_{i not in target} max(0, 1 - x[t] + x[i]) / C / N.

    x: scores (C,) or (N, C);  target: of the same shape, the labels of each sample, which end at
    the first negative one -> 0-d.  With `sizeAverage` set to False the sum is divided by C only.
    Raises ShapeError for other shapes and a label that is no class.
    Source: nn.MultiLabelMarginCriterion, where the labels end at the first 0.
    """

    keeps = ("sizeAverage",)
    counts: ClassVar[Mapping[str, str]] = {"target": "label"}

    def __init__(self) -> None:
        self.sizeAverage = True

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        rows = class_rows(x)
        classes = rows.shape[1]
        target = target_tensor(target, x)
        if target.shape != x.shape:
            raise ShapeError(f"the target of shape {target.shape} has not the input's, {x.shape}")
        labels = leading_labels(target.reshape(rows.shape), classes=classes)
        return sum_or_mean(multi_label_hinges(rows, labels) / classes, self)


# Shared -------------------------------------------------------------------------------------------


def signs(target: Nest, x: Tensor, shape: Shape) -> Tensor:
    """The target as signs of `shape`, or as a single sign, in the dtype of x.

    Raises ShapeError for another number of signs.
    """
    target = target_tensor(target, x)
    if target.size != 1 and longer_axes(target.shape) != longer_axes(shape):
        raise ShapeError(
            f"the target of shape {target.shape} holds neither one sign nor signs of shape {shape}"
        )
    target = ops.cast(target, dtype=x.dtype)
    return target.reshape(() if target.size == 1 else shape)


def two_arrays(x: Nest) -> tuple[Tensor, Tensor]:
    """The two arrays in the list x.  Raises ShapeError unless there are two, of one shape."""
    if not isinstance(x, (list, tuple)) or len(x) != 2:
        raise ShapeError("the input is a list of two arrays")
    a, b = x
    if a.shape != b.shape:
        raise ShapeError(f"the two inputs have shapes {a.shape} and {b.shape}")
    return a, b


def class_rows(x: Tensor) -> Tensor:
    """The scores x, (C,) or (N, C), as (N, C).  Raises ShapeError for other numbers of axes."""
    if x.ndim not in (1, 2):
        raise ShapeError(f"the input of shape {x.shape} is neither (C,) nor (N, C)")
    return x.reshape((-1, x.shape[-1]))


def class_numbers(x: Tensor, count: int) -> Array:
    """The numbers 0 … count - 1, on the device of x."""
    return devices.namespace(array_of(x)).arange(count)


@primitive(differentiable=False)
def leading_labels(xp: Namespace, labels: Array, *, classes: int) -> Array:
    """Rows of labels as integers, with -1 from the first negative label of a row on.

    Raises ShapeError for a label before it that is no class.
    """
    listed = xp.cumsum(labels < 0, axis=-1) == 0
    known = (labels < classes) & (labels == xp.floor(labels))
    if not bool((known | ~listed).all()):
        wrong = labels[listed & ~known][0].item()
        raise ShapeError(NO_LABELS.format(label=wrong, classes=classes, last=classes - 1))
    return xp.where(listed, labels, -1).astype("int64")


leading_labels.batch(leading_axes_rule)


@primitive(aux=("slopes",))
def multi_label_hinges(xp: Namespace, x: Array, labels: Array) -> tuple[Array, Array]:
    """Σ_{t in labels} Σ_{i not in labels} max(0, 1 - x[t] + x[i]) of each row.

    x: scores (…, C), real;  labels: as `leading_labels` gives them, (…, C) -> (…,); the auxiliary
    result is its gradient, which is constant between the hinges' corners, and 0 at these.

    It takes as many passes as the longest list has labels, each over all rows: all pairs of classes
    at once would be an array of N·C² hinges, of which most are of no label.
    """
    refuse_complex(x, "multi_label_hinges")
    classes = x.shape[-1]
    scores, lists = x.reshape((-1, classes)), labels.reshape((-1, classes))
    rows = xp.arange(len(lists))
    most = int((lists >= 0).sum(axis=1).max()) if lists.size else 0
    free = xp.ones(scores.shape, dtype=bool)
    for column in range(most):
        own = lists[:, column]
        free[rows[own >= 0], own[own >= 0]] = False
    losses = xp.zeros(len(lists), dtype=x.dtype)
    slopes = xp.zeros(scores.shape, dtype=x.dtype)
    for column in range(most):
        is_label = lists[:, column] >= 0
        own = xp.where(is_label, lists[:, column], 0)
        hinges = scores - scores[rows, own][:, None]
        hinges += 1
        apart = free & is_label[:, None]
        losses += xp.where(apart, xp.maximum(hinges, 0), 0).sum(axis=1)
        above = apart & (hinges > 0)
        slopes += above
        slopes[rows, own] -= above.sum(axis=1).astype(x.dtype)
    return losses.reshape(x.shape[:-1]), slopes.reshape(x.shape)


multi_label_hinges.vjp(x=lambda g, slopes: ops.expand_dims(g, -1) * slopes, labels=None)
multi_label_hinges.jvp(x=lambda t, slopes: ops.sum(t * slopes, axis=-1))
multi_label_hinges.batch(lambda x, labels: multi_label_hinges.with_aux(x, labels=labels))
