"""The negative log-likelihood of class labels as one primitive.

Picking one number for each label takes less time than any one call of an operation, so that the
check of the labels, the picking, the weights and their sum are one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops, primitive
from tapegrad.autograd.kernels.label_losses import picked
from tapegrad.autograd.ops.batch_rules import merge_samples, split_samples
from tapegrad.autograd.ops.fused_bodies import runs_unrecorded
from tapegrad.nn.core.labels import class_labels, labels_for_kernels, pick_by_label, place_by_label

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = ["label_likelihood"]


@primitive(aux=("found", "slopes"))
def label_likelihood(
    xp: Namespace,
    x: Array,
    labels: Array,
    weights: Array | None = None,
    *,
    ignored: int | None = None,
    mean: bool = True,
) -> tuple[Array, Array, Array]:
    """-Σ w[t]·x[n, t, …] with t = labels[n, …], divided by Σ w[t] with `mean`.

    x: (N, C, …);  labels: (N, …), any numeric dtype; `ignored` is a label that does not count;
    weights w: (C,), 1 when None -> 0-d, and 0 when no label counts.  Auxiliary: the labels as
    `class_labels` gives them, and the derivative by each x[n, t, …].
    Raises ShapeError for a label that is no class.
    """
    found = class_labels.primitive.body(xp, labels, classes=x.shape[1], ignored=ignored)
    all_count = not found.size or bool(found.min() >= 0)
    if weights is None:
        factors = xp.ones(found.shape, x.dtype) if all_count else (found >= 0).astype(x.dtype)
    else:
        factors = xp.take(weights.astype(x.dtype), found if all_count else xp.maximum(found, 0))
        if not all_count:
            factors = xp.where(found < 0, x.dtype.type(0), factors)
    slopes = -factors
    loss = xp.sum(pick_by_label.primitive.body(xp, x, found) * slopes)
    if not mean:
        return loss, found, slopes
    total = xp.sum(factors)
    total = total + (total == 0)
    return (loss / total).astype(x.dtype), found, slopes / total


@label_likelihood.on("numba")
def _label_likelihood_fast(
    xp: Namespace,
    x: Array,
    labels: Array,
    weights: Array | None = None,
    *,
    ignored: int | None = None,
    mean: bool = True,
) -> tuple[Array, Array, Array]:
    whole, skipped = labels_for_kernels(labels, x.shape[1], ignored)
    found = picked(x, whole)
    if found is not None:
        own, outside = found
        whole = whole.copy() if whole is labels else whole
        counted = None if not outside else whole != skipped
        if counted is None or np.count_nonzero(counted) == whole.size - outside:
            factors = None if weights is None else _factors_of(weights, whole, counted, x.dtype)
            return _likelihood_of(own, whole, counted, factors, mean)
    plain: tuple[Array, Array, Array] = label_likelihood.primitive.body(
        xp, x, labels, weights, ignored=ignored, mean=mean
    )
    return plain


def _factors_of(weights: Array, labels: Array, counted: Array | None, dtype: Any) -> Array:
    """The weight of each label, 0 for one that does not count."""
    weights = weights.astype(dtype, copy=False)
    if counted is None:
        return weights.take(labels)
    return np.where(counted, weights.take(np.where(counted, labels, 0)), dtype.type(0))


def _likelihood_of(
    own: Array, labels: Array, counted: Array | None, factors: Array | None, mean: bool
) -> tuple[Array, Array, Array]:
    """What `label_likelihood` returns, of what is picked for each label, 0 if that is ignored."""
    if counted is not None:
        labels = np.where(counted, labels, -1)
    if factors is None:
        count = labels.size if counted is None else np.count_nonzero(counted)
        slope = own.dtype.type(-1 / max(count, 1) if mean else -1)
        slopes = np.full(own.shape, slope) if counted is None else counted * slope
        return np.asarray(np.add.reduce(own, None) * slope), labels, slopes
    total = np.add.reduce(factors, None) if mean else 1
    factors /= -total if total != 0 else -1
    own *= factors
    return np.asarray(np.add.reduce(own, None)), labels, factors


def _factors(
    labels: Any, weights: Any, classes: int, dtype: Any, ignored: int | None, mean: bool
) -> tuple[Any, Any, Any]:
    """(labels of `class_labels`, the factors, Σ w[t]), in operations that are recorded."""
    found = class_labels(labels, classes=classes, ignored=ignored)
    factors = ops.cast(ops.greater_equal(found, 0), dtype=dtype)
    if weights is not None:
        own = ops.take(ops.cast(weights, dtype=dtype), ops.maximum(found, 0))
        factors = ops.where(ops.less(found, 0), 0, own)
    if not mean:
        return found, factors, 1
    total = ops.sum(factors)
    total = ops.where(ops.equal(total, 0), 1, total)
    return found, factors / total, total


def _rule_of_x(
    g: Any,
    labels: Any,
    weights: Any,
    found: Any,
    slopes: Any,
    x_shape: Any,
    x_dtype: Any,
    ignored: int | None,
    mean: bool,
) -> Any:
    if weights is not None and not runs_unrecorded(g, (weights,)):
        found, factors, _ = _factors(labels, weights, x_shape[1], x_dtype, ignored, mean)
        slopes = -factors
    return place_by_label(g * slopes, found, classes=x_shape[1])


def _rule_of_weights(
    g: Any, y: Any, x: Any, labels: Any, weights: Any, ignored: int | None, mean: bool
) -> Any:
    classes = x.shape[1]
    found, _, total = _factors(labels, weights, classes, x.dtype, ignored, mean)
    each = -pick_by_label(x, found)
    if mean:
        each = each - y
    by_class = place_by_label(each * (g / total), found, classes=classes)
    return ops.sum(by_class, axis=(0, *range(2, x.ndim)))


label_likelihood.vjp(x=_rule_of_x, labels=None, weights=_rule_of_weights)
label_likelihood.jvp(
    x=lambda t, labels, weights, ignored, mean: label_likelihood(
        t, labels, weights, ignored=ignored, mean=mean
    )
)


@label_likelihood.batch
def _label_likelihood_batch(
    x: Any, labels: Any, weights: Any, ignored: int | None, mean: bool
) -> tuple[Any, Any, Any]:
    samples, size = x.shape[:2]
    found = class_labels(labels, classes=x.shape[2], ignored=ignored)
    flat = found.reshape((samples, -1))
    factors = ops.cast(ops.greater_equal(flat, 0), dtype=x.dtype)
    if weights is not None:
        weights = ops.cast(weights, dtype=x.dtype)
        own = ops.take_along_axis(weights, ops.maximum(flat, 0), axis=1)
        factors = ops.where(ops.less(flat, 0), 0, own)
    if mean:
        total = ops.sum(factors, axis=1, keepdims=True)
        factors = factors / ops.where(ops.equal(total, 0), 1, total)
    each = split_samples(pick_by_label(merge_samples(x), merge_samples(found)), samples, size)
    slopes = -factors
    losses = ops.sum(each.reshape((samples, -1)) * slopes, axis=1)
    return losses, found, slopes.reshape(found.shape)
