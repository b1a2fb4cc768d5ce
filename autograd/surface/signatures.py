"""The reductions and shape functions with every option that NumPy gives them.

The primitives take what their rules need, ``sum(x, axis, keepdims)``.  NumPy's functions and array
methods have further options, in an order of their own: ``x.sum(axis, dtype, out, keepdims, …)``.
The functions here have NumPy's signatures, so that a positional dtype is never taken for
`keepdims`.  They are the methods of Tensor, and NumPy's functions come here when a call uses an
option that the primitive lacks.  `Flat` is what ``x.flat`` gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops import counting, indexing, linalg, statistics, writing
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, wrap_like
from tapegrad.autograd.ops.conversion import to_integer
from tapegrad.autograd.reverse.write import write_result

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Axes, DTypeLike, Operand
    from tapegrad.devices import Device

__all__ = [
    "FULL",
    "OUT_IS_TENSOR",
    "REDUCE",
    "Flat",
    "all",
    "any",
    "argmax",
    "argmin",
    "astype",
    "copy",
    "cumprod",
    "cumsum",
    "flatten",
    "max",
    "mean",
    "min",
    "prod",
    "ravel",
    "reshape",
    "std",
    "sum",
    "take",
    "trace",
    "var",
]

OUT_IS_TENSOR = (
    "{name}(…, out=…): an ndarray cannot take a Tensor's result without losing its gradient; "
    "write `y = …` instead of `y += …` or `out=y`, or make y a Tensor."
)
NEEDS_INITIAL = "{name}: with where= there may be nothing to compare, so give initial= as well"
NO_ORDER = "{name}: a Tensor shows no memory order, so order={order!r} is unknown; 'C' and 'F' are"
Casting: TypeAlias = Literal["no", "equiv", "safe", "same_kind", "unsafe"]
CANNOT_CAST = "astype: {own} cannot be cast to {dtype} according to casting={casting!r}"

# Reductions ---------------------------------------------------------------------------------------


def _write_to_out(out: Array | None, y: Array, name: str) -> Array:
    """Return y, or write it into the Tensor `out` and return that."""
    if out is None:
        return y
    if not isinstance(out, Tensor):
        raise TypeError(OUT_IS_TENSOR.format(name=name))
    return write_result(out, y, f"{name}(…, out=x)")


def _cast_if_needed(x: Array, dtype: DTypeLike) -> Array:
    """x in `dtype`; x itself when that is None or its own."""
    return x if dtype is None or x.dtype == np.dtype(dtype) else astype(x, dtype)


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
    x = _fill_unselected(_cast_if_needed(as_operand(a), dtype), where, 0)
    y = r.sum(x, axis=axis, keepdims=keepdims)
    return _write_to_out(out, y if initial is None else y + initial, "sum")


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
    x = _fill_unselected(_cast_if_needed(as_operand(a), dtype), where, 1)
    y = r.prod(x, axis=axis, keepdims=keepdims)
    return _write_to_out(out, y if initial is None else y * initial, "prod")


def _count_where(x: Array, axis: Axes, keepdims: bool, where: Array) -> Array:
    """How many entries take part, as x's own kind of number."""
    wide = s.broadcast_to(as_operand(where), tuple(x.shape))
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
    x = _cast_if_needed(as_operand(a), dtype)
    if where is True:
        return _write_to_out(out, r.mean(x, axis=axis, keepdims=keepdims), "mean")
    x = x if x.dtype.kind in "fc" else e.cast(x, dtype=np.float64)
    total = r.sum(_fill_unselected(x, where, 0), axis=axis, keepdims=keepdims)
    return _write_to_out(out, total / _count_where(x, axis, keepdims, where), "mean")


def var(
    a: Operand,
    axis: Axes = None,
    dtype: DTypeLike | None = None,
    out: Tensor | None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Operand = True,
    correction: float | None = None,
) -> Tensor:
    """The variance over `axis`, of the entries where `where` holds; `correction` is `ddof`."""
    ddof = ddof if correction is None else correction
    if dtype is None and out is None and where is True:
        return r.var(a, axis=axis, ddof=ddof, keepdims=keepdims)
    x = _cast_if_needed(as_operand(a), dtype)
    if where is True:
        return _write_to_out(out, r.var(x, axis=axis, ddof=ddof, keepdims=keepdims), "var")
    x = x if x.dtype.kind in "fc" else e.cast(x, dtype=np.float64)
    squares = e.absolute_square(x - mean(x, axis, keepdims=True, where=where))
    total = r.sum(_fill_unselected(squares, where, 0), axis=axis, keepdims=keepdims)
    return _write_to_out(out, total / (_count_where(x, axis, keepdims, where) - ddof), "var")


def std(
    a: Operand,
    axis: Axes = None,
    dtype: DTypeLike | None = None,
    out: Tensor | None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Operand = True,
    correction: float | None = None,
) -> Tensor:
    """The standard deviation over `axis`, of the entries where `where` holds."""
    ddof = ddof if correction is None else correction
    if where is True:
        y = r.std(_cast_if_needed(as_operand(a), dtype), axis=axis, ddof=ddof, keepdims=keepdims)
        return _write_to_out(out, y, "std")
    v = var(a, axis, dtype, None, ddof, keepdims, where=where)
    return _write_to_out(out, e.guarded_sqrt(v), "std")


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
            return _write_to_out(out, s.copy(y), name)
    y = plain(x, axis=axis, keepdims=keepdims)
    return _write_to_out(out, y if initial is None else pair(y, initial), name)


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
    return _write_to_out(out, r.any(x, axis=axis, keepdims=keepdims), "any")


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
    return _write_to_out(out, r.all(x, axis=axis, keepdims=keepdims), "all")


def argmax(
    a: Operand, axis: int | None = None, out: Tensor | None = None, *, keepdims: bool = False
) -> Tensor:
    """The index, from 0, of the first largest entry along `axis`; of all entries if None."""
    return _write_to_out(out, r.argmax(a, axis=axis, keepdims=keepdims), "argmax")


def argmin(
    a: Operand, axis: int | None = None, out: Tensor | None = None, *, keepdims: bool = False
) -> Tensor:
    """The index, from 0, of the first smallest entry along `axis`; of all entries if None."""
    return _write_to_out(out, r.argmin(a, axis=axis, keepdims=keepdims), "argmin")


def cumsum(
    a: Operand, axis: int | None = None, dtype: DTypeLike | None = None, out: Tensor | None = None
) -> Tensor:
    """The running sum along `axis`; of the flattened array when None."""
    return _write_to_out(out, r.cumsum(_cast_if_needed(as_operand(a), dtype), axis=axis), "cumsum")


def cumprod(
    a: Operand, axis: int | None = None, dtype: DTypeLike | None = None, out: Tensor | None = None
) -> Tensor:
    """The running product along `axis`; of the flattened array when None."""
    return _write_to_out(
        out, statistics.cumprod(_cast_if_needed(as_operand(a), dtype), axis), "cumprod"
    )


def trace(
    a: Operand,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    dtype: DTypeLike | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The sum of a diagonal of the axes `axis1` and `axis2`."""
    x = _cast_if_needed(as_operand(a), dtype)
    return _write_to_out(out, linalg.trace(x, offset, axis1, axis2), "trace")


# Shapes -------------------------------------------------------------------------------------------


def _is_fortran(name: str, order: str) -> bool:
    """Whether `order` is "F".  Raises TypeError unless it is "C" or "F"."""
    if order not in ("C", "F"):
        raise TypeError(NO_ORDER.format(name=name, order=order))
    return order == "F"


def ravel(a: Operand, order: str = "C") -> Tensor:
    """The entries as one axis, row by row, or column by column for order "F"."""
    a = as_operand(a)
    return s.ravel(s.transpose(a) if _is_fortran("ravel", order) else a)


def flatten(a: Operand, order: str = "C") -> Tensor:
    """A copy with one axis; of the entries column by column for order "F"."""
    return s.copy(ravel(a, order))


def reshape(
    a: Operand,
    /,
    shape: int | Sequence[int] | None = None,
    order: str = "C",
    *,
    newshape: int | Sequence[int] | None = None,
    copy: bool | None = None,
) -> Tensor:
    """The entries in another shape; read and placed column by column for order "F"."""
    target: Any = newshape if shape is None else shape
    lengths = (target,) if isinstance(target, (int, np.integer)) else tuple(target)
    a = as_operand(a)
    if _is_fortran("reshape", order):
        y = s.transpose(s.reshape(s.transpose(a), lengths[::-1]))
    else:
        y = s.reshape(a, lengths)
    return s.copy(y) if copy else y


def copy(a: Operand, order: str = "K", subok: bool = False) -> Tensor:
    """A copy, tracked as x is, in an `order` of memory: "C", "F", or "K" for that of a."""
    del subok
    return s.copy(as_operand(a), order)


def copy_method(a: Operand, order: str = "C") -> Tensor:
    """A copy, tracked as x is, in an `order` of memory: "C", "F", or "K" for that of x."""
    return s.copy(a, order)


def astype(
    x: Operand,
    dtype: DTypeLike,
    order: str = "K",
    casting: Casting = "unsafe",
    subok: bool = True,
    copy: bool = True,
) -> Tensor:
    """The entries converted; a conversion to integers or booleans has no derivative.

    casting: which conversions are refused with TypeError, as in NumPy
    copy:    when False and the dtype is x's own, x itself is returned
    """
    x = as_operand(x)
    del order, subok
    dtype = np.dtype(dtype)
    if casting != "unsafe" and not np.can_cast(x.dtype, dtype, casting):
        raise TypeError(CANNOT_CAST.format(own=x.dtype, dtype=dtype, casting=casting))
    if not copy and x.dtype == dtype:
        return x
    if dtype.kind in "fc":
        return e.cast(x, dtype=dtype)
    return to_integer(x, dtype=dtype)


def take(
    a: Operand,
    indices: Operand,
    axis: int | None = None,
    out: Tensor | None = None,
    mode: str = "raise",
) -> Tensor:
    """The entries at `indices` along `axis`; those outside raise, "wrap" round or are "clip"ped."""
    a, indices = as_operand(a), as_operand(indices)
    n = a.size if axis is None else a.shape[axis]
    if mode == "wrap":
        indices = e.remainder(indices, n)
    elif mode == "clip":
        indices = e.clip(indices, 0, n - 1)
    elif mode != "raise":
        raise ValueError(f"take: the mode is {mode!r}, none of 'raise', 'wrap', 'clip'")
    return _write_to_out(out, indexing.take(a, indices, axis), "take")


def where(condition: Operand, *choices: Operand) -> Tensor | tuple[Tensor, ...]:
    """x where the condition holds, else y; of the condition alone, the indices where it holds."""
    return e.where(condition, *choices) if choices else counting.nonzero(condition)


def numpy_astype(
    x: Operand, dtype: DTypeLike, /, *, copy: bool = True, device: Device | str | None = None
) -> Tensor:
    """The entries converted: `astype`, as a function."""
    y = astype(x, dtype, copy=copy)
    return y if device is None else y.to(device)


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
    np.ravel: (ravel, 1),
    np.reshape: (reshape, 2),
    np.copy: (copy, 0),
    np.take: (take, 3),
    np.where: (where, 0),
    np.astype: (numpy_astype, 0),
}
REDUCE: dict[np.ufunc, Callable[..., Any]] = {
    np.add: sum,
    np.multiply: prod,
    np.maximum: max,
    np.minimum: min,
    np.logical_or: any,
    np.logical_and: all,
}

# The entries in a row -----------------------------------------------------------------------------


class Flat:
    """``x.flat``: the entries in row-major order, to iterate over, read at any index, and write."""

    __slots__ = ("base",)

    def __init__(self, base: Tensor) -> None:
        self.base = base

    def __len__(self) -> int:
        return self.base.size

    def __iter__(self) -> Iterator[Any]:
        return iter(s.ravel(self.base))

    def __getitem__(self, index: Any) -> Tensor:
        return s.copy(s.ravel(self.base)[index])

    def __setitem__(self, index: Any, value: Operand) -> None:
        writing.put(self.base, np.arange(self.base.size)[index], value)

    def copy(self) -> Tensor:
        """The entries as a Tensor of one axis."""
        return flatten(self.base)
