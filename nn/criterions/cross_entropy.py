"""The cross entropy of scores and class labels as one primitive, which has its gradient at once.

As operations of their own, the steps of a small batch cost more than its network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops, primitive
from tapegrad.autograd.kernels.label_losses import label_losses
from tapegrad.autograd.ops.arrays import refuse_complex
from tapegrad.autograd.ops.fused_bodies import runs_unrecorded
from tapegrad.nn.core.labels import class_labels, labels_for_kernels

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = ["cross_entropy"]


@primitive(aux=("slopes",))
def cross_entropy(
    xp: Namespace, x: Array, labels: Array, *, ignored: int | None = None, mean: bool = True
) -> tuple[Array, Array]:
    """-Σᵢ log softmax(x)[i, tᵢ], divided by the number of labels that count with `mean`.

    x: scores (N, C), real;  labels: (N,), any numeric dtype; `ignored` is a label that does not
    count -> 0-d, and 0 when none counts; the auxiliary result is its gradient.
    Raises ShapeError for a label that is no class.
    """
    refuse_complex(x, "cross_entropy")
    labels = class_labels.primitive.body(xp, labels, classes=x.shape[1], ignored=ignored)
    wide = x.astype(np.float32) if x.dtype == np.float16 else x
    counted = labels >= 0
    rows, places = xp.arange(len(labels)), xp.where(counted, labels, 0)
    below = wide - xp.max(wide, axis=1, keepdims=True) if wide.size else wide
    powers = xp.exp(below)
    totals = xp.sum(powers, axis=1, keepdims=True)
    losses = xp.where(counted, xp.log(totals[:, 0]) - below[rows, places], 0)
    factors = (counted / (xp.maximum(xp.sum(counted), 1) if mean else 1)).astype(wide.dtype)
    slopes = xp.where(counted[:, None], powers / totals * factors[:, None], 0)
    slopes[rows, places] -= factors
    return xp.sum(losses * factors).astype(x.dtype), slopes.astype(x.dtype)


@cross_entropy.on("numba")
def _cross_entropy_fast(
    xp: Namespace, x: Array, labels: Array, *, ignored: int | None = None, mean: bool = True
) -> tuple[Array, Array]:
    found = None
    if x.dtype == np.float32 and x.size:
        whole, skipped = labels_for_kernels(labels, x.shape[1], ignored)
        share = np.float32(1 / len(x) if mean else 1)
        found = label_losses(x, whole, float(share))
    if found is not None:
        losses, slopes, outside = found
        if not outside:
            return np.asarray(np.add.reduce(losses) * share), slopes
        counted = whole != skipped
        count = int(np.count_nonzero(counted))
        if count == len(x) - outside:  # else a label is wrong
            ratio = np.float32(len(x) / max(count, 1) if mean else 1)
            slopes *= np.where(counted, ratio, np.float32(0))[:, None]
            slopes[~counted] = 0  # and not NaN
            return np.asarray(np.add.reduce(losses[counted]) * (share * ratio)), slopes
    plain: tuple[Array, Array] = cross_entropy.primitive.body(
        xp, x, labels, ignored=ignored, mean=mean
    )
    return plain


def _cross_entropy_rule(
    g: Any, x: Any, labels: Any, slopes: Any, ignored: int | None, mean: bool
) -> Any:
    if runs_unrecorded(g, (x, slopes)):
        return g * slopes
    factors, corners = _corners(x, labels, ignored, mean)
    return g * (ops.softmax(x, axis=-1) * factors - corners)


def _corners(x: Any, labels: Any, ignored: int | None, mean: bool) -> tuple[Any, Any]:
    """What each label counts, (…, N, 1), and that at the labels alone, (…, N, C)."""
    classes = x.shape[-1]
    labels = class_labels(labels, classes=classes, ignored=ignored)
    labels = ops.expand_dims(labels, -1)
    factors = ops.cast(ops.greater_equal(labels, 0), dtype=x.dtype)
    if mean:
        factors = factors / ops.maximum(ops.sum(factors, axis=-2, keepdims=True), 1)
    places = ops.cumsum(ops.cast(ops.ones_like(x), dtype=np.int64), axis=-1) - 1
    hits = ops.cast(ops.equal(labels, places), dtype=x.dtype)
    return factors, hits * factors


cross_entropy.vjp(x=_cross_entropy_rule, labels=None)


@cross_entropy.batch
def _cross_entropy_batch(x: Any, labels: Any, ignored: int | None, mean: bool) -> tuple[Any, Any]:
    factors, corners = _corners(x, labels, ignored, mean)
    logs = ops.log_softmax(x, axis=-1)
    losses = ops.where(ops.equal(corners, 0), 0, logs * corners)
    return -ops.sum(losses, axis=(-2, -1)), ops.exp(logs) * factors - corners
