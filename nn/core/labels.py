"""Class labels: integers from 0, checked before they index anything, and what they point at.

A label that is no class is an error that names it.  As a plain index, NumPy would count a negative
one from the end of the array.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd import primitive
from tapegrad.autograd.kernels.label_losses import picked, placed
from tapegrad.autograd.ops.batch_rules import (
    leading_axes_rule,
    merge_samples,
    split_samples,
)
from tapegrad.nn.core.errors import ShapeError

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = ["class_labels", "labels_for_kernels", "pick_by_label", "place_by_label"]

NO_CLASS = (
    "the target holds {label}, and the input has {classes} classes: labels are integers from "
    "0 to {last}{besides}"
)


@primitive(differentiable=False)
def class_labels(
    xp: Namespace, labels: Array, *, classes: int, ignored: int | None = None
) -> Array:
    """The labels as integers, -1 where a label is `ignored`.

    It is a primitive, so that a replayed step checks its new labels too.  Raises ShapeError for a
    label that is no class: NumPy would count it from the end, CuPy would use another valid index.
    """
    if labels.dtype.kind in "iub":
        whole = labels.astype(np.int64)
        all_count = ignored is None or not 0 <= ignored < classes
        # In one pass, in the ordinary case: as unsigned numbers, negative ones are large.
        if all_count and labels.size and whole.view(np.uint64).max() < classes:
            return whole
    skipped = xp.zeros(labels.shape, dtype=bool) if ignored is None else labels == ignored
    known = (labels >= 0) & (labels < classes) & (labels == xp.floor(labels))
    if not bool((known | skipped).all()):
        wrong = labels[~(known | skipped)][0].item()
        besides = "" if ignored is None else f", or ignoreIndex, {ignored}"
        raise ShapeError(
            NO_CLASS.format(label=wrong, classes=classes, last=classes - 1, besides=besides)
        )
    return xp.where(skipped, -1, labels.astype(np.int64))


class_labels.batch(leading_axes_rule)


def labels_for_kernels(
    labels: Array, classes: int, ignored: int | None
) -> tuple[Array, int | None]:
    """(int64 labels, the one that is ignored) for a kernel that counts those that are no class.

    The ignored one is no class either: if there are as many of it as the kernel counts, no label is
    wrong.  Raises ShapeError where a label is, if that is looked at here: of other dtypes than
    integers, or where the ignored label is a class.
    """
    if np.can_cast(labels.dtype, np.int64) and (ignored is None or not 0 <= ignored < classes):
        return labels.astype(np.int64, copy=False), ignored
    return class_labels.primitive.body(np, labels, classes=classes, ignored=ignored), -1


@primitive
def pick_by_label(xp: Namespace, x: Array, labels: Array) -> Array:
    """y[n, …] = x[n, t, …] with t = labels[n, …], and 0 where t is negative.

    x: (N, C, …);  labels: what `class_labels` gives, (N, …) -> (N, …), in x's dtype.
    """
    y = xp.take(x.reshape(-1), _places(xp, labels, x.shape[1])).reshape(labels.shape)
    return y if _all_count(labels) else xp.where(labels < 0, x.dtype.type(0), y)


@pick_by_label.on("numba")
def _pick_fast(xp: Namespace, x: Array, labels: Array) -> Array:
    found = picked(x, labels)
    if found is not None:
        return found[0]
    plain: Array = pick_by_label.primitive.body(xp, x, labels)
    return plain


@primitive
def place_by_label(xp: Namespace, x: Array, labels: Array, *, classes: int) -> Array:
    """y[n, t, …] = x[n, …] with t = labels[n, …] ≥ 0, else 0: `pick_by_label`'s adjoint.

    x, labels: (N, …) -> (N, classes, …), in x's dtype.
    """
    y = xp.zeros((x.shape[0], classes, *x.shape[1:]), dtype=x.dtype)
    if y.size:
        x = x if _all_count(labels) else xp.where(labels < 0, x.dtype.type(0), x)
        y.reshape(-1)[_places(xp, labels, classes)] = x.reshape(-1)
    return y


@place_by_label.on("numba")
def _place_fast(xp: Namespace, x: Array, labels: Array, *, classes: int) -> Array:
    found = placed(x, labels, classes)
    if found is not None:
        return found
    plain: Array = place_by_label.primitive.body(xp, x, labels, classes=classes)
    return plain


def _all_count(labels: Array) -> bool:
    return not labels.size or bool(labels.min() >= 0)


def _places(xp: Namespace, labels: Array, classes: int) -> Array:
    """Where in the memory of an array (N, C, …) the labels (N, …) point, flat; class 0 for -1."""
    samples, points = labels.shape[0], math.prod(labels.shape[1:])
    if not _all_count(labels):
        labels = xp.maximum(labels, 0)
    starts = xp.arange(0, samples * classes * points, max(classes * points, 1))
    if points == 1:
        return labels.reshape(-1) + starts
    places = labels.reshape(samples, points) * points
    places += starts[:, None]
    places += xp.arange(points)
    return places.reshape(-1)


pick_by_label.vjp(
    x=lambda g, labels, x_shape: place_by_label(g, labels, classes=x_shape[1]), labels=None
)
pick_by_label.jvp(x=lambda t, labels: pick_by_label(t, labels=labels))
place_by_label.vjp(x=lambda g, labels: pick_by_label(g, labels=labels), labels=None)
place_by_label.jvp(x=lambda t, labels, y_shape: place_by_label(t, labels, classes=y_shape[1]))


@pick_by_label.batch
def _pick_batch(x: Array, labels: Array) -> Array:
    y = pick_by_label(merge_samples(x), merge_samples(labels))
    return split_samples(y, x.shape[0], x.shape[1])


@place_by_label.batch
def _place_batch(x: Array, labels: Array, classes: int) -> Array:
    y = place_by_label(merge_samples(x), merge_samples(labels), classes=classes)
    return split_samples(y, x.shape[0], x.shape[1])
