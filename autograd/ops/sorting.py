"""Sorting and order statistics.

Sorting first finds the indices that sort, and then takes the entries by index, so that a derivative
goes back to where each entry came from.  Ties keep their order.  NaN counts as larger than every
number, as in NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import (
    as_floating,
    as_operand,
    device_array,
    is_fortran,
    normalize_axis,
    refuse_complex,
    value_of,
    wrap_like,
)
from tapegrad.autograd.ops.batch_rules import axis_rule
from tapegrad.autograd.ops.counting import to_index
from tapegrad.autograd.ops.indexing import take, take_along_axis

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Axes, Namespace, Operand, Shape

__all__ = [
    "argpartition",
    "argsort",
    "intersect1d",
    "median",
    "nanmedian",
    "nanpercentile",
    "nanquantile",
    "partition",
    "percentile",
    "quantile",
    "setdiff1d",
    "setxor1d",
    "sort",
    "sort_complex",
    "union1d",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]


@primitive(numpy=np.argsort, differentiable=False)
def argsort(
    xp: Namespace, a: Array, *, axis: int | None = -1, kind: str | None = None, stable: bool = True
) -> Array:
    """The indices, from 0, that sort x along `axis`; ties keep their order."""
    del kind, stable  # a stable sort is right for every kind
    return xp.argsort(a, axis=axis, kind="stable")


argsort.batch(axis_rule)


@primitive(numpy=np.argpartition, differentiable=False)
def argpartition(
    xp: Namespace, a: Array, *, kth: int | tuple[int, ...], axis: int | None = -1
) -> Array:
    """Indices that put the kth entries where sorting would, smaller before and larger after."""
    return xp.argpartition(a, kth, axis=axis)


argpartition.batch(axis_rule)


def _flatten_without_axis(a: Operand, axis: int | None) -> tuple[Tensor, int]:
    """x and `axis` counted from 0; the flattened x and 0 when `axis` is None."""
    a = as_operand(a)
    return (s.ravel(a), 0) if axis is None else (a, normalize_axis(axis, a.ndim))


@composite(numpy=np.sort)
def sort(a: Operand, axis: int | None = -1, kind: str | None = None, stable: bool = True) -> Tensor:
    """x sorted along `axis`; flattened when None."""
    del kind, stable
    a, axis = _flatten_without_axis(a, axis)
    return s.lie_as(take_along_axis(a, argsort(a, axis), axis), fortran=is_fortran(a))


@composite(numpy=np.partition)
def partition(a: Operand, kth: int | Sequence[int], axis: int | None = -1) -> Tensor:
    """x with its kth entries where sorting would put them, smaller before and larger after."""
    a, axis = _flatten_without_axis(a, axis)
    ranks = tuple(kth) if isinstance(kth, Sequence) else int(kth)
    y = take_along_axis(a, argpartition(a, ranks, axis), axis)
    return s.lie_as(y, fortran=is_fortran(a))


@composite(numpy=np.sort_complex)
def sort_complex(a: Operand) -> Tensor:
    """x sorted along its last axis, by real and then imaginary part, as complex numbers."""
    y = sort(a)
    if y.dtype.kind == "c":
        return y
    return e.cast(y, dtype=np.result_type(y.dtype, np.complex64))


# Order statistics --------------------------------------------------------------------------------

_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _merge_axes_last(a: Array, axis: Axes) -> tuple[Any, tuple[int, ...]]:
    """x with the axes in `axis` merged into a last one, and x's shape with them of length 1."""
    axes = r.normalize_axes(axis, a.ndim)
    others = [i for i in range(a.ndim) if i not in axes]
    count = math.prod(a.shape[i] for i in axes)
    moved = s.reshape(s.transpose(a, (*others, *axes)), (*(a.shape[i] for i in others), count))
    return moved, tuple(1 if i in axes else n for i, n in enumerate(a.shape))


def _quantiles(
    a: Array, q: Array, axis: Axes, method: str, keepdims: bool, ignore_nan: bool, name: str
) -> Array:
    """The order statistics of the shares q over `axis`, for all functions that ask for some."""
    if method not in _METHODS:
        raise TypeError(
            f"numpy.{name} on a Tensor: the method {method!r} is not one of {', '.join(_METHODS)}"
        )
    if getattr(q, "tracked", False):
        raise TypeError(f"numpy.{name}: q has no derivative here; pass q.detach()")
    shares = np.asarray(value_of(as_operand(q)), dtype=np.float64)
    if shares.size and not (shares.min() >= 0 and shares.max() <= 1):
        raise ValueError(f"{name}: q is outside its range")
    a = as_operand(a)
    if method not in ("lower", "higher", "nearest"):
        a = as_floating(a)
    if name != "nanmedian":  # as in NumPy, which takes complex medians by the order of sorting
        refuse_complex(a, f"numpy.{name}")
    flat, one = _merge_axes_last(a, axis)
    dtype = flat.dtype
    n = flat.shape[-1]
    ordered = sort(flat, -1)
    missing = e.isnan(flat)
    if ignore_nan:
        count = r.sum(e.logical_not(missing), axis=-1, keepdims=True)
        last = e.maximum(count - 1, 0)
    else:
        last = device_array(np.full((1,) * flat.ndim, n - 1), flat)
    results = []
    for share in shares.ravel():
        position = last * float(share)
        low, high = e.floor(position), e.ceil(position)
        if method == "lower":
            high = low
        elif method == "higher":
            low = high
        elif method == "nearest":
            low = high = e.rint(position)
        weight = position - low if method == "linear" else (e.not_equal(high, low)) * 0.5
        first, second = (
            take_along_axis(ordered, _as_index(i, flat.shape), -1)[..., 0] for i in (low, high)
        )
        weight = e.cast(weight, dtype=dtype)[..., 0]
        # exact at both ends and monotonic in between; there is no gap between equal infinities
        endless = e.logical_and(e.isinf(first), e.equal(first, second))
        gap = e.where(endless, 0, second - first)
        y = e.where(weight < 0.5, first + gap * weight, second - gap * (1 - weight))
        if ignore_nan:
            y = e.where(e.equal(count[..., 0], 0), np.nan, y)
        else:
            y = e.where(e.isnan(ordered[..., -1]), ordered[..., -1], y)
        results.append(s.reshape(y, one) if keepdims else y)
    if not shares.ndim:
        return results[0]
    stacked = s.stack(results)
    return s.reshape(stacked, (*shares.shape, *stacked.shape[1:]))


def _as_index(x: Array, shape: Shape) -> Array:
    """The positions x as an index array for entries of `shape`, one on the last axis."""
    return s.broadcast_to(to_index(x), (*shape[:-1], 1))


@composite(numpy=np.quantile)
def quantile(
    a: Operand, q: Operand, axis: Axes = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """The value below which the share q (0 … 1) of the entries over `axis` lies."""
    return _quantiles(a, q, axis, method, keepdims, ignore_nan=False, name="quantile")


@composite(numpy=np.nanquantile)
def nanquantile(
    a: Operand, q: Operand, axis: Axes = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """`quantile` of the entries that are not NaN."""
    return _quantiles(a, q, axis, method, keepdims, ignore_nan=True, name="nanquantile")


def _percent_to_share(q: Array) -> Array:
    """Percent as a share of 1.  Raises TypeError for a tracked Tensor."""
    if getattr(q, "tracked", False):
        raise TypeError("numpy.percentile: q has no derivative here; pass q.detach()")
    return np.asarray(value_of(as_operand(q)), dtype=np.float64) / 100


@composite(numpy=np.percentile)
def percentile(
    a: Operand, q: Operand, axis: Axes = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """The value below which q percent (0 … 100) of the entries over `axis` lie."""
    return _quantiles(
        a, _percent_to_share(q), axis, method, keepdims, ignore_nan=False, name="percentile"
    )


@composite(numpy=np.nanpercentile)
def nanpercentile(
    a: Operand, q: Operand, axis: Axes = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """`percentile` of the entries that are not NaN."""
    return _quantiles(
        a, _percent_to_share(q), axis, method, keepdims, ignore_nan=True, name="nanpercentile"
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


# Sets -------------------------------------------------------------------------------------------
#
# The values decide which entries are in the result, so its length may change from call to call.


class _Distinct:
    """The distinct entries of x, sorted, and where and how often each of them is in x.

    NumPy finds them by value; the entries themselves are taken from the Tensor by index.
    """

    def __init__(self, x: Operand, *, equal_nan: bool = True) -> None:
        x = as_operand(x)
        flat = s.ravel(x)
        found = np.unique(value_of(flat), True, True, True, equal_nan=equal_nan)
        _, first, inverse, counts = (device_array(part, flat) for part in found)
        self.values = take(flat, first, 0)
        self.index = wrap_like(first, x)
        self.inverse = wrap_like(s.reshape(inverse, tuple(x.shape)), x)
        self.counts = wrap_like(counts, x)


@composite(numpy=np.unique)
def unique(
    ar: Operand,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """The distinct entries of x, sorted; with first indices, inverse, counts where asked.

    Raises TypeError for an `axis`, which is not supported.
    """
    if axis is not None:
        raise TypeError("numpy.unique on a Tensor: the option axis is not supported")
    distinct = _Distinct(ar)
    results = [distinct.values]
    if return_index:
        results.append(distinct.index)
    if return_inverse:
        results.append(distinct.inverse)
    if return_counts:
        results.append(distinct.counts)
    return results[0] if len(results) == 1 else tuple(results)


@composite(numpy=np.unique_values)
def unique_values(x: Operand) -> Tensor:
    """The distinct entries, sorted; every NaN is one of its own."""
    return _Distinct(x, equal_nan=False).values


@composite(numpy=np.unique_counts)
def unique_counts(x: Operand) -> tuple[Tensor, Tensor]:
    """(values, counts) of the distinct entries."""
    distinct = _Distinct(x, equal_nan=False)
    return distinct.values, distinct.counts


@composite(numpy=np.unique_inverse)
def unique_inverse(x: Operand) -> tuple[Tensor, Tensor]:
    """(values, inverse indices) of the distinct entries."""
    distinct = _Distinct(x, equal_nan=False)
    return distinct.values, distinct.inverse


@composite(numpy=np.unique_all)
def unique_all(x: Operand) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(values, first indices, inverse indices, counts) of the distinct entries."""
    distinct = _Distinct(x, equal_nan=False)
    return distinct.values, distinct.index, distinct.inverse, distinct.counts


def _concatenate_flat(*arrays: Operand) -> Tensor:
    return s.concatenate([s.ravel(as_operand(a)) for a in arrays], 0)


@composite(numpy=np.union1d)
def union1d(ar1: Operand, ar2: Operand) -> Tensor:
    """The distinct entries of both, sorted."""
    return _Distinct(_concatenate_flat(ar1, ar2)).values


def _select(values: Array, mask: Array) -> Array:
    """The entries of `values` where the NumPy array `mask` holds."""
    return take(values, device_array(np.flatnonzero(mask), values), 0)


@composite(numpy=np.intersect1d, differentiable=False)
def intersect1d(ar1: Operand, ar2: Operand) -> Tensor:
    """The distinct entries that are in both, sorted.

    There is no derivative: the slightest change of an entry takes it out of the result.
    """
    ar1, ar2 = as_operand(ar1), as_operand(ar2)
    values = _Distinct(ar1.detach() if isinstance(ar1, Tensor) else ar1).values
    values = values.astype(np.result_type(ar1.dtype, ar2.dtype))
    return _select(values, np.isin(value_of(values), value_of(as_operand(ar2))))


@composite(numpy=np.setdiff1d)
def setdiff1d(ar1: Operand, ar2: Operand) -> Tensor:
    """The distinct entries of the first that are not in the second, sorted."""
    values = _Distinct(ar1).values
    return _select(values, ~np.isin(value_of(values), value_of(as_operand(ar2))))


@composite(numpy=np.setxor1d)
def setxor1d(ar1: Operand, ar2: Operand) -> Tensor:
    """The distinct entries that are in exactly one of both, sorted."""
    values = union1d(ar1, ar2)
    numbers = value_of(values)
    return _select(
        values,
        np.isin(numbers, value_of(as_operand(ar1))) != np.isin(numbers, value_of(as_operand(ar2))),
    )
