"""Sorting, and sets of entries.

Sorting first finds the indices that sort, and then takes the entries by index, so that a derivative
goes back to where each entry came from.  Ties keep their order.  NaN counts as larger than every
number, as in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import (
    as_operand,
    device_array,
    is_fortran,
    normalize_axis,
    value_of,
    wrap_like,
)
from tapegrad.autograd.ops.batch_rules import axis_rule
from tapegrad.autograd.ops.indexing import take, take_along_axis

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace, Operand

__all__ = [
    "argpartition",
    "argsort",
    "intersect1d",
    "partition",
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
def partition(
    a: Operand, kth: int | Sequence[int], axis: int | None = -1, kind: str = "introselect"
) -> Tensor:
    """x with its kth entries where sorting would put them, smaller before and larger after."""
    del kind  # there is but one
    a, axis = _flatten_without_axis(a, axis)
    numbers = np.asarray(value_of(as_operand(kth)))
    ranks: Any = tuple(int(k) for k in numbers) if numbers.ndim else int(numbers)
    y = take_along_axis(a, argpartition(a, ranks, axis), axis)
    return s.lie_as(y, fortran=is_fortran(a))


@composite(numpy=np.sort_complex)
def sort_complex(a: Operand) -> Tensor:
    """x sorted along its last axis, by real and then imaginary part, as complex numbers."""
    y = sort(a)
    if y.dtype.kind == "c":
        return y
    return e.cast(y, dtype=np.result_type(y.dtype, np.complex64))


# Sets -------------------------------------------------------------------------------------------
#
# The values decide which entries are in the result, so its length may change from call to call.


class _Distinct:
    """The distinct entries of x, sorted, and where and how often each of them is in x.

    NumPy finds them by value; the entries themselves are taken from the Tensor by index.
    axis:   of whose slices the distinct ones are meant; None for the entries
    others: further options of np.unique
    """

    def __init__(self, x: Operand, axis: int | None = None, **others: bool) -> None:
        x = as_operand(x)
        whole = s.ravel(x) if axis is None else x
        numbers = value_of(whole)
        found = np.unique(numbers, True, True, True, axis=axis, **others)
        _, first, inverse, counts = (device_array(part, whole) for part in found)
        self.values = take(whole, first, 0 if axis is None else axis)
        self.index = wrap_like(first, x)
        shape = tuple(x.shape) if axis is None else tuple(inverse.shape)
        self.inverse = wrap_like(s.reshape(inverse, shape), x)
        self.counts = wrap_like(counts, x)


@composite(numpy=np.unique)
def unique(
    ar: Operand,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Tensor | tuple[Tensor, ...]:
    """The distinct entries of x, sorted; with first indices, inverse, counts where asked.

    axis:      the distinct slices along it, sorted by their entries, instead of the entries
    equal_nan: whether NaN counts as one entry
    sorted:    False allows NumPy another order; here they are sorted all the same
    Raises AxisError for an axis that x does not have.
    """
    del sorted
    distinct = _Distinct(ar, axis, equal_nan=equal_nan)
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
def intersect1d(
    ar1: Operand, ar2: Operand, assume_unique: bool = False, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """The distinct entries that are in both, sorted; with `return_indices` where both have them.

    There is no derivative: the slightest change of an entry takes it out of the result.
    assume_unique: says that no entry is twice in one of both
    """
    ar1, ar2 = as_operand(ar1), as_operand(ar2)
    values, *places = np.intersect1d(value_of(ar1), value_of(ar2), assume_unique, True)
    like = ar1 if isinstance(ar1, Tensor) else ar2
    if not return_indices:
        return wrap_like(values, like)
    first, second = (wrap_like(place, like) for place in places)
    return wrap_like(values, like), first, second


@composite(numpy=np.setdiff1d)
def setdiff1d(ar1: Operand, ar2: Operand, assume_unique: bool = False) -> Tensor:
    """The distinct entries of the first that are not in the second, sorted.

    assume_unique: says that no entry is twice in one of both; they then keep their order
    """
    values = s.ravel(as_operand(ar1)) if assume_unique else _Distinct(ar1).values
    return _select(values, ~np.isin(value_of(values), value_of(as_operand(ar2))))


@composite(numpy=np.setxor1d)
def setxor1d(ar1: Operand, ar2: Operand, assume_unique: bool = False) -> Tensor:
    """The distinct entries that are in exactly one of both, sorted.

    assume_unique: says that no entry is twice in one of both
    """
    del assume_unique  # it allows a shorter way to the same result
    values = union1d(ar1, ar2)
    numbers = value_of(values)
    return _select(
        values,
        np.isin(numbers, value_of(as_operand(ar1))) != np.isin(numbers, value_of(as_operand(ar2))),
    )
