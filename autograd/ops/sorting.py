"""Sorting and order statistics.

What is sorted is found by index first, so that a derivative follows the entries to their places;
ties keep their order.  NaN counts as larger than every number, as in NumPy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.tensor import Tensor, as_array, result_tensor
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, axis_of, constant, must_be_ordered, value_of
from tapegrad.autograd.ops.batch_rules import over_axis
from tapegrad.autograd.ops.counting import to_index
from tapegrad.autograd.ops.indexing import take, take_along_axis

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
    xp: Any, a: Any, *, axis: int | None = -1, kind: str | None = None, stable: bool = True
) -> Any:
    """The indices, from 0, that sort x along `axis`; ties keep their order."""
    del kind, stable  # the stable sort satisfies every wish
    return xp.argsort(a, axis=axis, kind="stable")


argsort.batch(over_axis)


@primitive(numpy=np.argpartition, differentiable=False)
def argpartition(xp: Any, a: Any, *, kth: Any, axis: int | None = -1) -> Any:
    """Indices that put the kth entries where sorting would, smaller before and larger after."""
    return xp.argpartition(a, kth, axis=axis)


argpartition.batch(over_axis)


def _along(a: Any, axis: int | None) -> tuple[Any, int]:
    a = as_operand(a)
    return (s.ravel(a), 0) if axis is None else (a, axis_of(axis, a.ndim))


@composite(numpy=np.sort)
def sort(a: Any, axis: int | None = -1, kind: Any = None, stable: bool = True) -> Any:
    """x sorted along `axis`; flattened when None."""
    del kind, stable
    a, axis = _along(a, axis)
    return take_along_axis(a, argsort(a, axis), axis)


@composite(numpy=np.partition)
def partition(a: Any, kth: Any, axis: int | None = -1) -> Any:
    """x with its kth entries where sorting would put them, smaller before and larger after."""
    a, axis = _along(a, axis)
    kth = tuple(kth) if isinstance(kth, (list, tuple)) else int(kth)
    return take_along_axis(a, argpartition(a, kth, axis), axis)


@composite(numpy=np.sort_complex)
def sort_complex(a: Any) -> Any:
    """x sorted along its last axis, by real and then imaginary part, as complex numbers."""
    y = sort(a)
    if y.dtype.kind == "c":
        return y
    return e.cast(y, dtype=np.result_type(y.dtype, np.complex64))


# Order statistics --------------------------------------------------------------------------------

_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _flattened(a: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """x with the axes of `axis` joined into a last one, and the shape with them kept as 1."""
    axes = r.normalized_axes(axis, a.ndim)
    kept = [i for i in range(a.ndim) if i not in axes]
    count = math.prod(a.shape[i] for i in axes)
    moved = s.reshape(s.transpose(a, (*kept, *axes)), (*(a.shape[i] for i in kept), count))
    return moved, tuple(1 if i in axes else n for i, n in enumerate(a.shape))


def _quantiles(
    a: Any, q: Any, axis: Any, method: str, keepdims: bool, ignore_nan: bool, name: str
) -> Any:
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
    if name != "nanmedian":  # as in NumPy, which takes complex medians by the order of sorting
        must_be_ordered(a, f"numpy.{name}")
    flat, one = _flattened(a, axis)
    dtype = flat.dtype
    n = flat.shape[-1]
    ordered = sort(flat, -1)
    missing = e.isnan(flat)
    if ignore_nan:
        count = r.sum(e.logical_not(missing), axis=-1, keepdims=True)
        last = e.maximum(count - 1, 0)
    else:
        last = constant(np.full((1,) * flat.ndim, n - 1), flat)
    results = []
    for share in shares.ravel():
        place = last * float(share)
        low, high = e.floor(place), e.ceil(place)
        if method == "lower":
            high = low
        elif method == "higher":
            low = high
        elif method == "nearest":
            low = high = e.rint(place)
        weight = place - low if method == "linear" else (e.not_equal(high, low)) * 0.5
        first, second = (
            take_along_axis(ordered, _integers(i, flat.shape), -1)[..., 0] for i in (low, high)
        )
        weight = e.cast(weight, dtype=dtype)[..., 0]
        # the same at both ends, and monotonous between them; equal infinities stay
        gap = e.where(e.equal(first, second), 0, second - first)
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


def _integers(x: Any, shape: tuple[int, ...]) -> Any:
    return s.broadcast_to(to_index(x), (*shape[:-1], 1))


@composite(numpy=np.quantile)
def quantile(
    a: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """The value below which the share q (0 … 1) of the entries over `axis` lies."""
    return _quantiles(a, q, axis, method, keepdims, ignore_nan=False, name="quantile")


@composite(numpy=np.nanquantile)
def nanquantile(
    a: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """`quantile` of the entries that are not NaN."""
    return _quantiles(a, q, axis, method, keepdims, ignore_nan=True, name="nanquantile")


def _hundredth(q: Any) -> Any:
    if getattr(q, "tracked", False):
        raise TypeError("numpy.percentile: q has no derivative here; pass q.detach()")
    return np.asarray(value_of(as_operand(q)), dtype=np.float64) / 100


@composite(numpy=np.percentile)
def percentile(
    a: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """The value below which q percent (0 … 100) of the entries over `axis` lie."""
    return _quantiles(a, _hundredth(q), axis, method, keepdims, ignore_nan=False, name="percentile")


@composite(numpy=np.nanpercentile)
def nanpercentile(
    a: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """`percentile` of the entries that are not NaN."""
    return _quantiles(
        a, _hundredth(q), axis, method, keepdims, ignore_nan=True, name="nanpercentile"
    )


@composite(numpy=np.median)
def median(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The middle entry over `axis`, or the mean of the two in the middle."""
    a = as_operand(a)
    flat, one = _flattened(a, axis)
    n = flat.shape[-1]
    ordered = sort(flat, -1)
    y = r.mean(ordered[..., (n - 1) // 2 : n // 2 + 1], axis=-1)
    y = e.where(e.isnan(ordered[..., -1]), ordered[..., -1], y)
    return s.reshape(y, one) if keepdims else y


@composite(numpy=np.nanmedian)
def nanmedian(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The median of the entries that are not NaN."""
    return _quantiles(a, 0.5, axis, "linear", keepdims, ignore_nan=True, name="nanmedian")


# Sets: which entries are taken is decided by their values, so the number of results may change ----


class _Unique:
    """Unique entries as NumPy finds them, taken from the Tensor by their indices."""

    def __init__(self, ar: Any) -> None:
        ar = s.ravel(as_operand(ar))
        found = np.unique(value_of(ar), True, True, True)
        _, self.index, self.inverse, self.counts = (constant(f, ar) for f in found)
        self.values = take(ar, self.index, 0)


@composite(numpy=np.unique)
def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
) -> Any:
    """The distinct entries of x, sorted; with first indices, inverse, counts where asked."""
    if axis is not None:
        raise TypeError("numpy.unique on a Tensor: the option axis is not supported")
    ar = as_operand(ar)
    found = _Unique(ar)
    results = [found.values]
    if return_index:
        results.append(_wrapped(found.index, ar))
    if return_inverse:
        results.append(_wrapped(s.reshape(found.inverse, tuple(ar.shape)), ar))
    if return_counts:
        results.append(_wrapped(found.counts, ar))
    return results[0] if len(results) == 1 else tuple(results)


def _wrapped(array: Any, like: Any) -> Any:
    return result_tensor(as_array(array)) if isinstance(like, Tensor) else array


@composite(numpy=np.unique_values)
def unique_values(x: Any) -> Any:
    """The distinct entries, sorted."""
    return unique(x)


@composite(numpy=np.unique_counts)
def unique_counts(x: Any) -> Any:
    """(values, counts) of the distinct entries."""
    return unique(x, return_counts=True)


@composite(numpy=np.unique_inverse)
def unique_inverse(x: Any) -> Any:
    """(values, inverse indices) of the distinct entries."""
    return unique(x, return_inverse=True)


@composite(numpy=np.unique_all)
def unique_all(x: Any) -> Any:
    """(values, first indices, inverse indices, counts) of the distinct entries."""
    return unique(x, True, True, True)


def _joined(*arrays: Any) -> Any:
    return s.concatenate([s.ravel(as_operand(a)) for a in arrays], 0)


@composite(numpy=np.union1d)
def union1d(ar1: Any, ar2: Any) -> Any:
    """The distinct entries of both, sorted."""
    return unique(_joined(ar1, ar2))


def _kept(values: Any, mask: Any) -> Any:
    return take(values, constant(np.flatnonzero(mask), values), 0)


@composite(numpy=np.intersect1d, differentiable=False)
def intersect1d(ar1: Any, ar2: Any) -> Any:
    """The distinct entries that are in both, sorted: none once either moves, so no derivative."""
    ar1, ar2 = as_operand(ar1), as_operand(ar2)
    values = unique(ar1.detach() if isinstance(ar1, Tensor) else ar1)
    values = values.astype(np.result_type(ar1.dtype, ar2.dtype))
    return _kept(values, np.isin(value_of(values), value_of(as_operand(ar2))))


@composite(numpy=np.setdiff1d)
def setdiff1d(ar1: Any, ar2: Any) -> Any:
    """The distinct entries of the first that are not in the second, sorted."""
    values = unique(ar1)
    return _kept(values, ~np.isin(value_of(values), value_of(as_operand(ar2))))


@composite(numpy=np.setxor1d)
def setxor1d(ar1: Any, ar2: Any) -> Any:
    """The distinct entries that are in exactly one of both, sorted."""
    values = union1d(ar1, ar2)
    held = value_of(values)
    return _kept(
        values,
        np.isin(held, value_of(as_operand(ar1))) != np.isin(held, value_of(as_operand(ar2))),
    )
