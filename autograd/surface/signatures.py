"""The reductions with every option that NumPy gives them.

The primitives take what their rules need, ``sum(x, axis, keepdims)``.  NumPy's functions and array
methods have further options, in an order of their own: ``x.sum(axis, dtype, out, keepdims, …)``.
The functions here have NumPy's signatures, so that a positional dtype is never taken for
`keepdims`.  They are the methods of Tensor, and NumPy's functions come here when a call uses an
option that the primitive lacks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import linalg, statistics
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, wrap_like
from tapegrad.autograd.surface.shape_signatures import cast_if_needed, write_to_out

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Axes, DTypeLike, Operand, Shape

__all__ = [
    "FULL",
    "REDUCE",
    "all",
    "any",
    "argmax",
    "argmin",
    "cumprod",
    "cumsum",
    "matrix_trace",
    "max",
    "mean",
    "min",
    "prod",
    "std",
    "sum",
    "trace",
    "var",
]

NEEDS_INITIAL = "{name}: with where= there may be nothing to compare, so give initial= as well"

# Reductions ---------------------------------------------------------------------------------------


def _fill_unselected(x: Array, where: Array, fill: Array) -> Array:
    """x with `fill`, the neutral value of the reduction, where `where` does not hold."""
    return x if where is True else e.where(where, x, np.asarray(fill, dtype=x.dtype)[()])


def sum(
    a: Operand,
    axis: Axes = None,
    dtype: DTypeLike | None = None,
    out: Tensor | None = None,
    keepdims: bool = False,
    initial: Operand | None = None,
    where: Operand = True,
) -> Tensor:
    """Σ x over `axis`, of the entries where `where` holds, from `initial` on."""
    if dtype is None and out is None and initial is None and where is True:
        return r.sum(a, axis=axis, keepdims=keepdims)
    x = _fill_unselected(cast_if_needed(as_operand(a), dtype), where, 0)
    y = r.sum(x, axis=axis, keepdims=keepdims)
    y = cast_if_needed(y if initial is None else y + initial, dtype)
    return write_to_out(out, y, "sum")


def prod(
    a: Operand,
    axis: Axes = None,
    dtype: DTypeLike | None = None,
    out: Tensor | None = None,
    keepdims: bool = False,
    initial: Operand | None = None,
    where: Operand = True,
) -> Tensor:
    """Π x over `axis`, of the entries where `where` holds, from `initial` on."""
    if dtype is None and out is None and initial is None and where is True:
        return r.prod(a, axis=axis, keepdims=keepdims)
    x = _fill_unselected(cast_if_needed(as_operand(a), dtype), where, 1)
    y = r.prod(x, axis=axis, keepdims=keepdims)
    y = cast_if_needed(y if initial is None else y * initial, dtype)
    return write_to_out(out, y, "prod")


def _count_where(
    x: Array, axis: Axes, keepdims: bool, where: Array, shape: Shape | None = None
) -> Array:
    """How many entries take part, of x or an array of `shape`, as x's own kind of real number."""
    wide = s.broadcast_to(as_operand(where), tuple(x.shape) if shape is None else shape)
    kind = np.zeros((), x.dtype).real.dtype
    return e.cast(r.sum(wide, axis=axis, keepdims=keepdims), dtype=kind)


def mean(
    a: Operand,
    axis: Axes = None,
    dtype: DTypeLike | None = None,
    out: Tensor | None = None,
    keepdims: bool = False,
    *,
    where: Operand = True,
) -> Tensor:
    """The arithmetic mean over `axis`, of the entries where `where` holds."""
    if dtype is None and out is None and where is True:
        return r.mean(a, axis=axis, keepdims=keepdims)
    x = cast_if_needed(as_operand(a), dtype)
    if where is True:
        y = r.mean(x, axis=axis, keepdims=keepdims)
    else:
        x = x if x.dtype.kind in "fc" else e.cast(x, dtype=np.float64)
        total = r.sum(_fill_unselected(x, where, 0), axis=axis, keepdims=keepdims)
        y = total / _count_where(x, axis, keepdims, where)
    return write_to_out(out, cast_if_needed(y, dtype), "mean")


_mean = mean  # `var` has a parameter of that name


def var(
    a: Operand,
    axis: Axes = None,
    dtype: DTypeLike | None = None,
    out: Tensor | None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Operand = True,
    mean: Operand | None = None,
    correction: float | None = None,
) -> Tensor:
    """The variance over `axis`, of the entries where `where` holds; `correction` is `ddof`.

    mean: what the entries deviate from, instead of their own mean; keepdims=True as it was made
    """
    ddof = ddof if correction is None else correction
    if dtype is None and out is None and where is True and mean is None:
        return r.var(a, axis=axis, ddof=ddof, keepdims=keepdims)
    x, dtype = as_operand(a), None if dtype is None else np.dtype(dtype)
    if dtype is not None and dtype.kind == x.dtype.kind == "f":
        x = cast_if_needed(x, dtype)
    elif dtype is not None and dtype.kind == "c" and x.dtype.kind in "fc":
        x = cast_if_needed(x, np.promote_types(x.dtype, np.zeros((), dtype).real.dtype))
    if where is True and mean is None and (dtype is None or dtype.kind in "fc"):
        y = r.var(x, axis=axis, ddof=ddof, keepdims=keepdims)
        return write_to_out(out, cast_if_needed(y, dtype), "var")
    wide: Any = e.widen_half(x if x.dtype.kind in "fc" else e.cast(x, dtype=np.float64))
    center = _mean(wide, axis, dtype, keepdims=True, where=where) if mean is None else mean
    squares = cast_if_needed(e.absolute_square(wide - center), dtype)
    total = r.sum(_fill_unselected(squares, where, 0), axis=axis, keepdims=keepdims)
    free = _count_where(total, axis, keepdims, where, tuple(x.shape)) - ddof
    y = e.as_half_was(total / free, x) if dtype is None else cast_if_needed(total / free, dtype)
    return write_to_out(out, y, "var")


def std(
    a: Operand,
    axis: Axes = None,
    dtype: DTypeLike | None = None,
    out: Tensor | None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Operand = True,
    mean: Operand | None = None,
    correction: float | None = None,
) -> Tensor:
    """The standard deviation over `axis`, of the entries where `where` holds; see `var`."""
    ddof = ddof if correction is None else correction
    if where is True and mean is None and (dtype is None or np.dtype(dtype).kind == "f"):
        y = r.std(cast_if_needed(as_operand(a), dtype), axis=axis, ddof=ddof, keepdims=keepdims)
        return write_to_out(out, y, "std")
    v = var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean)
    y = e.sqrt(v) if v.dtype.kind != "f" else e.guarded_sqrt(v)
    return write_to_out(out, cast_if_needed(y, dtype), "std")


def _extremum(
    name: str,
    plain: Callable[..., Tensor],
    pair: Callable[..., Tensor],
    x: Operand,
    axis: Axes,
    out: Tensor | None,
    keepdims: bool,
    initial: Operand | None,
    where: Operand,
) -> Tensor:
    """`plain` over the entries where `where` holds, and `pair` of that and `initial`."""
    if where is not True:
        if initial is None:
            raise ValueError(NEEDS_INITIAL.format(name=name))
        x = e.where(where, x, initial)
    if initial is not None and not x.size:
        shape = r.sum(x, axis=axis, keepdims=keepdims).shape
        if math.prod(shape):  # nothing but `initial` is compared
            first = as_operand(initial)
            first = first if isinstance(first, Tensor) else wrap_like(np.asarray(first), x)
            y = s.broadcast_to(e.cast(first, dtype=x.dtype), tuple(shape))
            return write_to_out(out, s.copy(y), name)
    y = plain(x, axis=axis, keepdims=keepdims)
    return write_to_out(out, y if initial is None else pair(y, initial), name)


def max(
    a: Operand,
    axis: Axes = None,
    out: Tensor | None = None,
    keepdims: bool = False,
    initial: Operand | None = None,
    where: Operand = True,
) -> Tensor:
    """The largest entry over `axis`, of those where `where` holds, and of `initial`."""
    if out is None and initial is None and where is True:
        return r.max(a, axis=axis, keepdims=keepdims)
    x = as_operand(a)
    return _extremum("max", r.max, e.maximum, x, axis, out, keepdims, initial, where)


def min(
    a: Operand,
    axis: Axes = None,
    out: Tensor | None = None,
    keepdims: bool = False,
    initial: Operand | None = None,
    where: Operand = True,
) -> Tensor:
    """The smallest entry over `axis`, of those where `where` holds, and of `initial`."""
    if out is None and initial is None and where is True:
        return r.min(a, axis=axis, keepdims=keepdims)
    x = as_operand(a)
    return _extremum("min", r.min, e.minimum, x, axis, out, keepdims, initial, where)


def any(
    a: Operand,
    axis: Axes = None,
    out: Tensor | None = None,
    keepdims: bool = False,
    *,
    where: Operand = True,
) -> Tensor:
    """Whether any entry over `axis` is not zero, of those where `where` holds."""
    x = a if where is True else e.logical_and(as_operand(a), where)
    return write_to_out(out, r.any(x, axis=axis, keepdims=keepdims), "any")


def all(
    a: Operand,
    axis: Axes = None,
    out: Tensor | None = None,
    keepdims: bool = False,
    *,
    where: Operand = True,
) -> Tensor:
    """Whether no entry over `axis` is zero, of those where `where` holds."""
    x = a if where is True else e.logical_or(as_operand(a), e.logical_not(where))
    return write_to_out(out, r.all(x, axis=axis, keepdims=keepdims), "all")


def argmax(
    a: Operand, axis: int | None = None, out: Tensor | None = None, *, keepdims: bool = False
) -> Tensor:
    """The index, from 0, of the first largest entry along `axis`; of all entries if None."""
    return write_to_out(out, r.argmax(a, axis=axis, keepdims=keepdims), "argmax")


def argmin(
    a: Operand, axis: int | None = None, out: Tensor | None = None, *, keepdims: bool = False
) -> Tensor:
    """The index, from 0, of the first smallest entry along `axis`; of all entries if None."""
    return write_to_out(out, r.argmin(a, axis=axis, keepdims=keepdims), "argmin")


def cumsum(
    a: Operand, axis: int | None = None, dtype: DTypeLike | None = None, out: Tensor | None = None
) -> Tensor:
    """The running sum along `axis`; of the flattened array when None."""
    y = r.cumsum(cast_if_needed(as_operand(a), dtype), axis=axis)
    return write_to_out(out, cast_if_needed(y, dtype), "cumsum")


def cumprod(
    a: Operand, axis: int | None = None, dtype: DTypeLike | None = None, out: Tensor | None = None
) -> Tensor:
    """The running product along `axis`; of the flattened array when None."""
    y = statistics.cumprod(cast_if_needed(as_operand(a), dtype), axis)
    return write_to_out(out, cast_if_needed(y, dtype), "cumprod")


def trace(
    a: Operand,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    dtype: DTypeLike | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The sum of a diagonal of the axes `axis1` and `axis2`."""
    x = cast_if_needed(as_operand(a), dtype)
    return write_to_out(out, linalg.trace(x, offset, axis1, axis2), "trace")


def matrix_trace(x: Operand, *, offset: int = 0, dtype: DTypeLike | None = None) -> Tensor:
    """The sums of the diagonals of matrices (…, m, n) -> (…), in `dtype` if that is given."""
    return trace(x, offset, -2, -1, dtype)


# NumPy's function -> the function above that has all its options, and how many leading arguments it
# shares with the primitive.
FULL: dict[Callable[..., Any], tuple[Callable[..., Any], int]] = {
    np.sum: (sum, 2),
    np.prod: (prod, 2),
    np.mean: (mean, 2),
    np.var: (var, 2),
    np.std: (std, 2),
    np.max: (max, 2),
    np.amax: (max, 2),
    np.min: (min, 2),
    np.amin: (min, 2),
    np.any: (any, 2),
    np.all: (all, 2),
    np.argmax: (argmax, 2),
    np.argmin: (argmin, 2),
    np.cumsum: (cumsum, 2),
    np.cumprod: (cumprod, 2),
    np.trace: (trace, 4),
    np.linalg.trace: (matrix_trace, 1),
}
REDUCE: dict[np.ufunc, Callable[..., Any]] = {
    np.add: sum,
    np.multiply: prod,
    np.maximum: max,
    np.minimum: min,
    np.logical_or: any,
    np.logical_and: all,
}
