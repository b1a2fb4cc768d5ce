"""Order statistics: medians, quantiles and percentiles, by each of NumPy's methods.

The entries are sorted and then taken by index, so that a derivative goes back to where each entry
came from.  NaN counts as larger than every number, as in NumPy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import (
    as_floating,
    as_operand,
    device_array,
    refuse_complex,
    value_of,
)
from tapegrad.autograd.ops.counting import to_index
from tapegrad.autograd.ops.indexing import take_along_axis
from tapegrad.autograd.ops.sorting import argsort, sort

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Axes, Operand, Shape

__all__ = ["median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile"]

UNKNOWN_METHOD = "{name}: the method {method!r} is none of {known}"
WEIGHTED_METHOD = "{name}: only method='inverted_cdf' takes weights, not {method!r}"
NEEDS_AXIS = "{name}: weights of another shape than x need an axis"
WRONG_WEIGHTS = "{name}: the weights do not have the shape of x's axes"
NEGATIVE = "{name}: weights must not be negative"

# Where the share q of n sorted entries lies: q·n + α + q·(1 - α - β) - 1, a position from 0, for
# the methods that then interpolate (Hyndman and Fan, 1996).
_CONTINUOUS = {
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
_OF_ENTRIES = ("lower", "higher", "nearest", "inverted_cdf", "closest_observation")
_METHODS = ("linear", "midpoint", "averaged_inverted_cdf", *_OF_ENTRIES, *_CONTINUOUS)


def _positions(method: str, n: Array, share: float) -> tuple[Array, Array, Array]:
    """(lower index, upper index, weight of the upper) of the share of n sorted entries."""
    last = n - 1
    position: Any
    if method in ("inverted_cdf", "averaged_inverted_cdf", "closest_observation"):
        position = n * share - 1 - (0.5 if method == "closest_observation" else 0)
        before = e.floor(position)
        exact = e.equal(position, before)
        if method == "averaged_inverted_cdf":
            low, high, weight = before, before + 1, e.where(exact, 0.5, 1.0)
        else:
            if method == "closest_observation":
                exact = e.logical_and(exact, e.equal(e.remainder(before, 2), 1))
            low = high = e.where(exact, before, before + 1)
            weight = position * 0
    elif method in _CONTINUOUS:
        alpha, beta = _CONTINUOUS[method]
        position = n * share + (alpha + share * (1 - alpha - beta)) - 1
        low = e.floor(position)
        high, weight = low + 1, position - low
    else:
        position = last * share
        low, high = e.floor(position), e.ceil(position)
        if method == "lower":
            high = low
        elif method == "higher":
            low = high
        elif method == "nearest":
            low = high = e.rint(position)
        weight = position - low if method == "linear" else (e.not_equal(high, low)) * 0.5
    low, high = (e.maximum(e.minimum(i, last), 0) for i in (low, high))
    return low, high, e.where(e.equal(low, high), 0.0, weight)


def _weights_last(weights: Array, a: Array, axis: Axes, name: str) -> Array:
    """The weights for the entries of `a` with the axes in `axis` merged into a last one."""
    if getattr(weights, "tracked", False):
        raise TypeError(f"numpy.{name}: weights have no derivative here; pass weights.detach()")
    weights = as_operand(weights)
    axes = r.normalize_axes(axis, a.ndim)
    if weights.shape != a.shape:
        if axis is None:
            raise TypeError(NEEDS_AXIS.format(name=name))
        if tuple(weights.shape) != tuple(a.shape[i] for i in axes):
            raise ValueError(WRONG_WEIGHTS.format(name=name))
        order = sorted(range(len(axes)), key=lambda i: axes[i])
        weights = s.transpose(weights, tuple(order))
        weights = s.reshape(weights, tuple(n if i in axes else 1 for i, n in enumerate(a.shape)))
        weights = s.broadcast_to(weights, tuple(a.shape))
    if bool((value_of(weights) < 0).any()):
        raise ValueError(NEGATIVE.format(name=name))
    return _merge_axes_last(weights, axis)[0]


def _weighted_index(flat: Array, weights: Array, share: float) -> Array:
    """The place of the first sorted entry up to which the weights are the share of them all."""
    ordered = take_along_axis(weights, argsort(flat, -1), -1)
    running = r.cumsum(e.cast(ordered, dtype=np.float64), axis=-1)
    running = running / running[..., -1:]
    # a share of 0 is that of the first entry that has a weight
    before = e.logical_or(e.less(running, share), e.equal(running, 0))
    count = r.sum(before, axis=-1, keepdims=True)
    return e.minimum(count, flat.shape[-1] - 1)


def _merge_axes_last(a: Array, axis: Axes) -> tuple[Any, tuple[int, ...]]:
    """x with the axes in `axis` merged into a last one, and x's shape with them of length 1."""
    axes = r.normalize_axes(axis, a.ndim)
    others = [i for i in range(a.ndim) if i not in axes]
    count = math.prod(a.shape[i] for i in axes)
    moved = s.reshape(s.transpose(a, (*others, *axes)), (*(a.shape[i] for i in others), count))
    return moved, tuple(1 if i in axes else n for i, n in enumerate(a.shape))


def _quantiles(
    a: Array,
    q: Array,
    axis: Axes,
    method: str,
    keepdims: bool,
    ignore_nan: bool,
    name: str,
    weights: Array = None,
) -> Array:
    """The order statistics of the shares q over `axis`, for all functions that ask for some."""
    numbers, shares = _checked_shares(q, method, name)
    # Whole shares are entries; arrays of shares have a dtype that counts, Python's numbers none.
    of_entries = method in _OF_ENTRIES or (method == "linear" and numbers.dtype.kind in "iu")
    a = as_operand(a)
    if not of_entries:
        a = as_floating(a)
        if type(q) not in (int, float):
            a = _widened_to(a, numbers.dtype)
    if name != "nanmedian":  # as in NumPy, which takes complex medians by the order of sorting
        refuse_complex(a, f"numpy.{name}")
    flat, one = _merge_axes_last(a, axis)
    ordered = sort(flat, -1)
    missing = e.isnan(flat)
    if weights is not None:
        if method != "inverted_cdf":
            raise ValueError(WEIGHTED_METHOD.format(name=name, method=method))
        weights = _weights_last(weights, a, axis, name)
        if ignore_nan:
            weights = e.where(missing, 0, weights)
    if ignore_nan:
        count = r.sum(e.logical_not(missing), axis=-1, keepdims=True)
    else:
        count = device_array(np.full((1,) * flat.ndim, flat.shape[-1]), flat)
    some = e.maximum(count, 1)
    results = []
    for share in shares.ravel():
        if weights is None:
            low, high, weight = _positions(method, some, float(share))
        else:
            low = high = _weighted_index(flat, weights, float(share))
            weight = low * 0.0
        first, second = (
            take_along_axis(ordered, _as_index(i, flat.shape), -1)[..., 0] for i in (low, high)
        )
        y = first if of_entries else _between(first, second, weight)
        if flat.dtype.kind in "fc":
            if ignore_nan:
                y = e.where(e.equal(count[..., 0], 0), np.nan, y)
            else:
                y = e.where(e.isnan(ordered[..., -1]), ordered[..., -1], y)
        results.append(s.reshape(y, one) if keepdims else y)
    if not shares.ndim:
        return results[0]
    stacked = s.stack(results)
    return s.reshape(stacked, (*shares.shape, *stacked.shape[1:]))


def _checked_shares(q: Array, method: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """q as an array, and the same in float64.  Raises ValueError and TypeError, as NumPy does."""
    if method not in _METHODS:
        known = ", ".join(sorted(_METHODS))
        raise ValueError(UNKNOWN_METHOD.format(name=name, method=method, known=known))
    if getattr(q, "tracked", False):
        raise TypeError(f"numpy.{name}: q has no derivative here; pass q.detach()")
    numbers = np.asarray(value_of(as_operand(q)))
    shares = numbers.astype(np.float64)
    if shares.size and not (shares.min() >= 0 and shares.max() <= 1):
        raise ValueError(f"{name}: q is outside its range")
    return numbers, shares


def _widened_to(a: Array, dtype: np.dtype) -> Array:
    """a in a dtype that holds its own and `dtype` if that is floating, else float64."""
    kind = dtype if dtype.kind == "f" else np.dtype(np.float64)
    if np.can_cast(kind, a.dtype):
        return a
    return e.cast(a, dtype=np.promote_types(a.dtype, kind))


def _between(first: Array, second: Array, weight: Array) -> Array:
    """first + weight · (second - first), exact at both ends and monotonic in between."""
    weight = e.cast(weight, dtype=first.dtype)[..., 0]
    # there is no gap between equal infinities
    endless = e.logical_and(e.isinf(first), e.equal(first, second))
    gap = e.where(endless, 0, second - first)
    return e.where(weight < 0.5, first + gap * weight, second - gap * (1 - weight))


def _as_index(x: Array, shape: Shape) -> Array:
    """The positions x as an index array for entries of `shape`, one on the last axis."""
    return s.broadcast_to(to_index(x), (*shape[:-1], 1))


@composite(numpy=np.quantile)
def quantile(
    a: Operand,
    q: Operand,
    axis: Axes = None,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Operand | None = None,
) -> Tensor:
    """The value below which the share q (0 … 1) of the entries over `axis` lies.

    method:  one of NumPy's thirteen, which say what lies between two entries
    weights: of the entries, of x's shape or of the axes in `axis`, for method="inverted_cdf"; they
             have no derivative
    Raises ValueError for a q outside 0 … 1, another method, and weights with it.
    """
    return _quantiles(
        a, q, axis, method, keepdims, ignore_nan=False, name="quantile", weights=weights
    )


@composite(numpy=np.nanquantile)
def nanquantile(
    a: Operand,
    q: Operand,
    axis: Axes = None,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Operand | None = None,
) -> Tensor:
    """`quantile` of the entries that are not NaN."""
    return _quantiles(
        a, q, axis, method, keepdims, ignore_nan=True, name="nanquantile", weights=weights
    )


def _percent_to_share(q: Any) -> Any:
    """Percent as a share of 1.  Raises TypeError for a tracked Tensor."""
    if getattr(q, "tracked", False):
        raise TypeError("numpy.percentile: q has no derivative here; pass q.detach()")
    return q / 100 if type(q) in (int, float) else np.true_divide(value_of(as_operand(q)), 100)


@composite(numpy=np.percentile)
def percentile(
    a: Operand,
    q: Operand,
    axis: Axes = None,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Operand | None = None,
) -> Tensor:
    """The value below which q percent (0 … 100) of the entries over `axis` lie."""
    return _quantiles(
        a,
        _percent_to_share(q),
        axis,
        method,
        keepdims,
        ignore_nan=False,
        name="percentile",
        weights=weights,
    )


@composite(numpy=np.nanpercentile)
def nanpercentile(
    a: Operand,
    q: Operand,
    axis: Axes = None,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Operand | None = None,
) -> Tensor:
    """`percentile` of the entries that are not NaN."""
    return _quantiles(
        a,
        _percent_to_share(q),
        axis,
        method,
        keepdims,
        ignore_nan=True,
        name="nanpercentile",
        weights=weights,
    )


@composite(numpy=np.median)
def median(a: Operand, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The middle entry over `axis`, or the mean of the two in the middle."""
    a = as_operand(a)
    flat, one = _merge_axes_last(a, axis)
    n = flat.shape[-1]
    ordered = sort(flat, -1)
    if not n:  # NaN, as the mean of nothing
        y = r.mean(ordered, axis=-1)
        return s.reshape(y, one) if keepdims else y
    y = r.mean(ordered[..., (n - 1) // 2 : n // 2 + 1], axis=-1)
    y = e.where(e.isnan(ordered[..., -1]), ordered[..., -1], y)
    return s.reshape(y, one) if keepdims else y


@composite(numpy=np.nanmedian)
def nanmedian(a: Operand, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The median of the entries that are not NaN."""
    return _quantiles(a, 0.5, axis, "linear", keepdims, ignore_nan=True, name="nanmedian")
