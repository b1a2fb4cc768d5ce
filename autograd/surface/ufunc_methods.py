"""A ufunc's methods on Tensors: reduce, accumulate, reduceat, outer and at, of every binary ufunc.

Sums, products and extrema have primitives.  Others go from entry to entry, as NumPy does; where the
grouping does not matter they join halves, and steps of length 1, 2, 4, … when they accumulate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, normalize_axis, value_of, wrap_like
from tapegrad.autograd.ops.indexing import getitem
from tapegrad.autograd.ops.statistics import cumprod
from tapegrad.autograd.reverse.write import add_at, write
from tapegrad.autograd.surface.shape_signatures import astype
from tapegrad.autograd.surface.signatures import REDUCE
from tapegrad.autograd.surface.ufunc_options import unused_safe

__all__ = ["METHODS", "accumulate", "at", "reduce", "reduceat"]

NO_IDENTITY = "zero-size array to reduction operation {name} which has no identity"
ONE_AXIS_ONLY = (
    "reduction operation '{name}' is not reorderable, so at most one axis may be specified"
)
WHERE_NEEDS_INITIAL = (
    "reduction operation '{name}' does not have an identity, so to use a where mask one has to "
    "specify 'initial'"
)
INTO_NDARRAY = (
    "numpy.{name}.at: an ndarray cannot take a Tensor's entries without losing their gradient; "
    "make the target a Tensor"
)
OUT_OF_RANGE = "numpy.{name}.reduceat: the index {index} is outside the {n} entries of the axis"

_MISSING: Any = object()
_ACCUMULATIONS: dict[np.ufunc, Callable[..., Tensor]] = {np.add: r.cumsum, np.multiply: cumprod}
_ADDITIONS = {np.add: "+", np.subtract: "-"}
# However their operands are grouped, the result is the same but for rounding.
_ASSOCIATIVE = {
    np.add,
    np.multiply,
    np.maximum,
    np.minimum,
    np.fmax,
    np.fmin,
    np.logaddexp,
    np.logaddexp2,
    np.hypot,
    np.logical_and,
    np.logical_or,
    np.logical_xor,
    np.bitwise_and,
    np.bitwise_or,
    np.bitwise_xor,
    np.gcd,
    np.lcm,
}


def _loop_input(ufunc: np.ufunc, x: Any, dtype: Any) -> Tensor:
    """x in the type in which the ufunc reduces it.  Raises TypeError where there is none."""
    x = as_operand(x)
    if dtype is None and ufunc in (np.add, np.multiply):
        return r.widen_integers(x) if x.dtype.kind in "biu" else x
    fixed: Any = {} if dtype is None else {"signature": (np.dtype(dtype), None, None)}
    kind = ufunc.resolve_dtypes((None, x.dtype, None), reduction=True, **fixed)[1]
    return x if x.dtype == kind else astype(x, kind)


def reduce(
    ufunc: np.ufunc,
    function: Callable[..., Any],
    array: Any,
    axis: Any = 0,
    dtype: Any = None,
    keepdims: bool = False,
    initial: Any = _MISSING,
    where: Any = True,
) -> Any:
    """`function` of all entries over `axis`, from the first, or from `initial`, on.

    Raises ValueError for nothing to reduce, and TypeError for types that the ufunc cannot reduce.
    """
    name = ufunc.__name__
    x = as_operand(array)
    axes = r.normalize_axes(tuple(axis) if isinstance(axis, list) else axis, x.ndim)
    starts_plain = initial is _MISSING or ufunc not in (np.logical_and, np.logical_or)
    if ufunc in REDUCE and initial is not None and starts_plain:
        options: dict[str, Any] = {"keepdims": keepdims}
        if initial is not _MISSING:
            options["initial"] = initial
        if where is not True:
            options["where"] = where
        if dtype is not None and ufunc in (np.add, np.multiply):
            options["dtype"] = dtype
        elif dtype is not None:
            x = _loop_input(ufunc, x, dtype)
        return REDUCE[ufunc](x, axis=axes, **options)
    if len(axes) > 1 and ufunc not in _ASSOCIATIVE:
        raise ValueError(ONE_AXIS_ONLY.format(name=name))
    x = _loop_input(ufunc, x, dtype)
    if initial is _MISSING or initial is None:
        explicit = initial is None
        initial = None if explicit else ufunc.identity
        if ufunc.identity is not None and x.size and where is True:
            initial = None  # NumPy begins with the first entry
        elif initial is None and where is not True:
            raise ValueError(WHERE_NEEDS_INITIAL.format(name=name))
    others = [a for a in range(x.ndim) if a not in axes]
    rest: tuple[int, ...] = tuple(x.shape[a] for a in others)
    count = math.prod(x.shape[a] for a in axes)
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape)) if keepdims else rest

    def entries_first(a: Tensor) -> Tensor:
        return s.reshape(s.transpose(a, (*axes, *others)), (count, *rest))

    rows = entries_first(x)
    if where is not True:
        mask = entries_first(s.broadcast_to(as_operand(where), tuple(x.shape)))
        y = _fold_selected(function, rows, mask, initial)
    elif not count and initial is None and 0 not in rest:
        raise ValueError(NO_IDENTITY.format(name=name))
    elif not count:
        first = 0 if initial is None else initial
        y = s.broadcast_to(e.cast(as_operand(first), dtype=x.dtype), rest)
        y = y if isinstance(y, Tensor) else wrap_like(y, x)
    else:
        if initial is not None:
            start = astype(s.broadcast_to(as_operand(initial), (1, *rest)), x.dtype)
            rows = s.concatenate([start, rows], 0)
        y = _fold_halves(function, rows) if ufunc in _ASSOCIATIVE else _fold(function, rows)
    return s.reshape(y, shape)


def _fold(function: Callable[..., Any], rows: Any) -> Any:
    y = rows[0]
    for i in range(1, len(rows)):
        y = function(y, rows[i])
    return y


def _fold_halves(function: Callable[..., Any], rows: Any) -> Any:
    while len(rows) > 1:
        half = len(rows) // 2
        joined = function(rows[:half], rows[half : 2 * half])
        rows = s.concatenate([joined, rows[2 * half :]], 0) if len(rows) % 2 else joined
    return rows[0]


def _fold_selected(function: Callable[..., Any], rows: Any, mask: Any, initial: Any) -> Any:
    y = astype(s.broadcast_to(as_operand(initial), tuple(rows.shape[1:])), rows.dtype)
    for i in range(len(rows)):
        entry = unused_safe(function, 1, rows[i], mask[i])
        y = e.where(mask[i], function(y, entry), y)
    return y


def accumulate(
    ufunc: np.ufunc, function: Callable[..., Any], array: Any, axis: int = 0, dtype: Any = None
) -> Any:
    """The results of `function` of the entries up to each one, along `axis`.

    Raises TypeError for types that the ufunc cannot reduce.
    """
    x = _loop_input(ufunc, array, dtype)
    axis = normalize_axis(axis, x.ndim)
    if ufunc in _ACCUMULATIONS:
        return _ACCUMULATIONS[ufunc](x, axis=axis)
    rows = s.moveaxis(x, axis, 0)
    n = len(rows)
    if n < 2:
        return s.copy(x)
    if ufunc in _ASSOCIATIVE:
        step = 1
        while step < n:
            rows = s.concatenate([rows[:step], function(rows[:-step], rows[step:])], 0)
            step *= 2
        return s.moveaxis(rows, 0, axis)
    results = [rows[0]]
    for i in range(1, n):
        results.append(function(results[-1], rows[i]))
    return s.stack(results, axis)


def reduceat(
    ufunc: np.ufunc,
    function: Callable[..., Any],
    array: Any,
    indices: Any,
    axis: int = 0,
    dtype: Any = None,
) -> Any:
    """`reduce` over the entries from each index to the next; the entry itself where that falls.

    Raises IndexError for an index outside the axis.
    """
    x = _loop_input(ufunc, array, dtype)
    axis = normalize_axis(axis, x.ndim)
    n = x.shape[axis]
    starts = [int(i) for i in np.asarray(value_of(as_operand(indices)))]
    before = (slice(None),) * axis
    results = []
    for start, stop in zip(starts, [*starts[1:], n], strict=True):
        if not 0 <= start < n:
            raise IndexError(OUT_OF_RANGE.format(name=ufunc.__name__, index=start, n=n))
        part = x[(*before, slice(start, max(stop, start + 1)))]
        results.append(reduce(ufunc, function, part, axis))
    return s.stack(results, axis) if results else x[(*before, slice(0, 0))]


def at(ufunc: np.ufunc, function: Callable[..., Any], x: Any, index: Any, *value: Any) -> None:
    """x[index] = function(x[index], value), once more for every time that an entry is named.

    Raises TypeError for an ndarray x, and what ``x[i] = v`` raises.
    """
    if ufunc in _ADDITIONS:
        add_at(x, index, value[0], _ADDITIONS[ufunc])
        return
    if not isinstance(x, Tensor):
        raise TypeError(INTO_NDARRAY.format(name=ufunc.__name__))
    plain = index if isinstance(index, tuple) else (index,)
    plain = tuple(value_of(i) if isinstance(i, Tensor) else i for i in plain)
    places = np.asarray(np.arange(x.size).reshape(x.shape)[plain])
    flat = places.ravel()
    values = [s.ravel(s.broadcast_to(as_operand(v), places.shape)) for v in value]
    for turn in _turns(flat):
        where = tuple(np.unravel_index(flat[turn], x.shape)) if x.ndim else ()
        old = getitem(x, where)
        new = function(old, *[getitem(v, turn) if x.ndim else v[0] for v in values])
        write(x, where or (...,), new, f"numpy.{ufunc.__name__}.at(x, i, v)")


def _turns(flat: np.ndarray) -> list[np.ndarray]:
    """Positions in `flat`, sorted into turns in which no number occurs twice, in their order."""
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if flat.size else order
    lengths = np.diff(np.r_[first, flat.size])
    number = np.empty(flat.size, int)
    number[order] = np.arange(flat.size) - np.repeat(first, lengths)
    return [np.flatnonzero(number == k) for k in range(int(number.max(initial=-1)) + 1)]


METHODS: dict[str, Callable[..., Any]] = {
    "reduce": reduce,
    "accumulate": accumulate,
    "reduceat": reduceat,
}
