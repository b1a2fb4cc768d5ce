"""Indices, counts and truths: NumPy's functions whose results have no derivative.

They give untracked Tensors, so that replay sees masks and indices change from step to step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import BatchingError
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import (
    as_operand,
    inside_numbers,
    refuse_complex,
    replay_records,
    value_of,
)
from tapegrad.autograd.ops.batch_rules import align_samples, axes_rule, leading_axes_rule
from tapegrad.autograd.ops.batched_index import DIFFERENT_COUNTS

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Axes, Namespace, Operand, Shape

__all__ = [
    "argwhere",
    "array_equiv",
    "binary_exponent",
    "count_nonzero",
    "digitize",
    "fix",
    "flatnonzero",
    "iscomplex",
    "isin",
    "isneginf",
    "isposinf",
    "isreal",
    "lexsort",
    "lexsort_rows",
    "nanargmax",
    "nanargmin",
    "nonzero",
    "nonzero_parts",
    "numpy_round",
    "packbits",
    "ravel_multi_index",
    "round",
    "searchsorted",
    "to_index",
    "unpackbits",
    "unravel_index",
]


@primitive(differentiable=False)
def to_index(xp: Namespace, x: Array) -> Array:
    """x, whose entries are integers of any dtype, converted to the dtype of indices."""
    return x.astype(np.intp)


to_index.batch(leading_axes_rule)


@primitive(differentiable=False)
def binary_exponent(xp: Namespace, x: Array) -> Array:
    """The integer k with |x| = m · 2^k and 1/2 <= m < 1, elementwise."""
    return xp.frexp(x)[1]


binary_exponent.batch(leading_axes_rule)


@primitive(differentiable=False)
def round(xp: Namespace, x: Array, *, decimals: int = 0, out: Array | None = None) -> Array:
    """x rounded to `decimals` decimals, halves to even, elementwise."""
    return xp.round(x, decimals, out=out)


round.batch(leading_axes_rule)


@composite(numpy=(np.round, np.around), differentiable=False)
def numpy_round(a: Operand, decimals: int = 0) -> Tensor:
    """x rounded to `decimals` decimals, halves to even."""
    return round(as_operand(a), decimals)


@composite(numpy=np.fix, differentiable=False)
def fix(x: Operand) -> Tensor:
    """The integer part of x, towards zero."""
    return e.trunc(x)


@primitive(numpy=np.count_nonzero, differentiable=False)
def count_nonzero(xp: Namespace, a: Array, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """How many entries over `axis` are not 0."""
    return (a != 0).sum(axis=axis, keepdims=keepdims)


count_nonzero.batch(axes_rule)


@primitive(differentiable=False, several=True)
def nonzero_parts(xp: Namespace, a: Array) -> list[Array]:
    """The indices of the entries that are not 0, an array for every axis."""
    return list(xp.nonzero(a))


@nonzero_parts.batch
def _nonzero_batch(a: Array) -> Array:
    raise BatchingError(DIFFERENT_COUNTS.format(where=user_line(), name="nonzero"))


@composite(numpy=np.nonzero, differentiable=False)
def nonzero(a: Operand) -> tuple[Tensor, ...]:
    """The indices of the entries that are not 0, a tuple with an array for every axis."""
    return tuple(nonzero_parts(as_operand(a)))


@composite(numpy=np.flatnonzero, differentiable=False)
def flatnonzero(a: Operand) -> Tensor:
    """The indices of the entries of the flattened x that are not 0."""
    return nonzero(s.ravel(as_operand(a)))[0]


@composite(numpy=np.argwhere, differentiable=False)
def argwhere(a: Operand) -> Tensor:
    """The indices of the entries that are not 0, one in every row."""
    a = as_operand(a)
    return s.transpose(s.stack(nonzero(a if a.ndim else s.reshape(a, (1,)))))[:, : a.ndim]


@primitive(numpy=np.searchsorted, differentiable=False)
def searchsorted(xp: Namespace, a: Array, v: Array, *, side: str = "left") -> Array:
    """Where v would be inserted into the sorted vector a to keep it sorted."""
    return xp.searchsorted(a, v, side=side)


@searchsorted.batch
def _searchsorted_batch(a: Array, v: Array, batched: tuple[bool, ...], side: str) -> Array:
    if not batched[0]:
        return searchsorted(a, v, side)
    # The borders differ from sample to sample: count those that belong before each value.
    v = s.expand_dims(v, -1)
    borders = align_samples(a, v.ndim - batched[1])
    before = e.less(borders, v) if side == "left" else e.less_equal(borders, v)
    after_all = e.logical_and(e.isnan(v), e.logical_not(e.isnan(borders)))
    if side == "right":
        after_all = e.isnan(v)
    return count_nonzero(e.logical_or(before, after_all), axis=-1)


@primitive(numpy=np.digitize, differentiable=False)
def digitize(xp: Namespace, x: Array, bins: Array, *, right: bool = False) -> Array:
    """The number of the bin, between rising or falling borders, that each entry falls into."""
    return xp.digitize(x, bins, right=right)


@digitize.batch
def _digitize_batch(x: Array, bins: Array, batched: tuple[bool, ...], right: bool) -> Array:
    if not batched[1]:
        return digitize(x, bins, right=right)
    x = s.expand_dims(x, -1)
    borders = align_samples(bins, x.ndim - batched[0])
    rising = e.less_equal(borders[..., :1], borders[..., -1:])
    up = e.less(borders, x) if right else e.less_equal(borders, x)
    down = e.greater_equal(borders, x) if right else e.greater(borders, x)
    return count_nonzero(e.where(rising, up, down), axis=-1)


@primitive(differentiable=False)
def lexsort_rows(xp: Namespace, keys: Array, *, axis: int) -> Array:
    """The indices (n,) that sort by the last of the keys (k, n), then by the one before, …"""
    return xp.lexsort(keys) if axis == -1 else xp.lexsort(xp.moveaxis(keys, axis, -1))


@lexsort_rows.batch
def _lexsort_batch(keys: Array, axis: int) -> Array:
    along = axis if axis < 0 else axis + 1
    return lexsort_rows(s.moveaxis(keys, 0, 1), along)


@composite(numpy=np.lexsort, differentiable=False)
def lexsort(keys: Operand, axis: int = -1) -> Tensor:
    """The indices that sort by the last key, among equals by the one before, …"""
    return lexsort_rows(s.stack(list(keys)) if isinstance(keys, (list, tuple)) else keys, axis)


@primitive(numpy=np.isin, differentiable=False)
def isin(xp: Namespace, element: Array, test_elements: Array, *, invert: bool = False) -> Array:
    """Whether each entry is one of the test elements, as booleans."""
    return xp.isin(element, test_elements, invert=invert)


@isin.batch
def _isin_batch(
    element: Array, test_elements: Array, batched: tuple[bool, ...], samples: int, invert: bool
) -> Array:
    if not batched[1]:
        return isin(element, test_elements, invert=invert)
    flat = s.reshape(test_elements, (samples, -1))
    element = s.expand_dims(element, -1)
    member = r.any(e.equal(element, align_samples(flat, element.ndim - batched[0])), axis=-1)
    return e.logical_not(member) if invert else member


@primitive(numpy=np.isreal, differentiable=False)
def isreal(xp: Namespace, x: Array) -> Array:
    """Whether the imaginary part is 0, elementwise, as booleans."""
    return xp.isreal(x)


isreal.batch(leading_axes_rule)


@primitive(numpy=np.iscomplex, differentiable=False)
def iscomplex(xp: Namespace, x: Array) -> Array:
    """Whether the imaginary part is not 0, elementwise, as booleans."""
    return xp.iscomplex(x)


iscomplex.batch(leading_axes_rule)


@composite(numpy=np.isposinf, differentiable=False)
def isposinf(x: Operand) -> Tensor:
    """Whether the entry is +∞, elementwise, as booleans."""
    x = as_operand(x)
    refuse_complex(x, "numpy.isposinf")
    return e.equal(x, np.inf)


@composite(numpy=np.isneginf, differentiable=False)
def isneginf(x: Operand) -> Tensor:
    """Whether the entry is -∞, elementwise, as booleans."""
    x = as_operand(x)
    refuse_complex(x, "numpy.isneginf")
    return e.equal(x, -np.inf)


def _arg_extremum(
    a: Array, axis: Axes, keepdims: bool, of: Callable[..., Tensor], worst: float
) -> Array:
    """`of` with NaN replaced by `worst`.  Raises ValueError where there is nothing but NaN."""
    missing = e.isnan(a)
    if not replay_records() and bool(r.any(r.all(missing, axis=axis))):
        raise ValueError("All-NaN slice encountered")
    return of(e.where(missing, worst, a), axis=axis, keepdims=keepdims)


@composite(numpy=np.nanargmax, differentiable=False)
def nanargmax(a: Operand, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first largest entry that is not NaN."""
    return _arg_extremum(as_operand(a), axis, keepdims, r.argmax, -np.inf)


@composite(numpy=np.nanargmin, differentiable=False)
def nanargmin(a: Operand, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first smallest entry that is not NaN."""
    return _arg_extremum(as_operand(a), axis, keepdims, r.argmin, np.inf)


@composite(numpy=np.array_equiv, fact=True)
def array_equiv(a1: Operand, a2: Operand) -> bool:
    """Whether a1 and a2 are equal once they are broadcast to one shape."""
    return bool(np.array_equiv(value_of(as_operand(a1)), value_of(as_operand(a2))))


@primitive(numpy=np.packbits, differentiable=False)
def packbits(xp: Namespace, a: Array, *, bitorder: str = "big") -> Array:
    """Truth values of any shape, flattened, packed eight to a byte: (⌈n / 8⌉,)."""
    return xp.packbits(a.ravel(), bitorder=bitorder)


@primitive(numpy=np.unpackbits, differentiable=False)
def unpackbits(xp: Namespace, a: Array, *, bitorder: str = "big") -> Array:
    """The bits of bytes of any shape, flattened: (8·n,)."""
    return xp.unpackbits(a.ravel(), bitorder=bitorder)


@composite(numpy=np.unravel_index, differentiable=False)
def unravel_index(indices: Operand, shape: Shape, order: str = "C") -> tuple[Tensor, ...]:
    """Flat indices as a tuple of indices, one array for every axis."""
    parts = []
    rest = as_operand(indices)
    axes = list(range(len(shape)))
    for axis in axes[::-1] if order == "C" else axes:
        n = int(shape[axis])
        parts.append(e.remainder(rest, n))
        rest = e.floor_divide(rest, n)
    return tuple(parts[::-1] if order == "C" else parts)


@composite(numpy=np.ravel_multi_index, differentiable=False)
def ravel_multi_index(
    multi_index: Sequence[Operand],
    dims: Sequence[int],
    mode: str | Sequence[str] = "raise",
    order: str = "C",
) -> Tensor:
    """A tuple of indices, one array for every axis, as flat indices.

    mode:  what indices outside do, of all axes or of each: "wrap" round, or are "clip"ped
    order: "C", or "F" for entries column by column
    """
    count = len(dims)
    modes = [mode] * count if isinstance(mode, str) else list(mode)
    axes = range(count) if order == "C" else range(count - 1, -1, -1)
    flat: Any = 0
    for i in axes:
        part = inside_numbers(as_operand(multi_index[i]), int(dims[i]), modes[i], "index")
        flat = flat * int(dims[i]) + part
    return flat
