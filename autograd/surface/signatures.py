"""NumPy's own signatures: the reductions and shapes with every option that NumPy gives them.

The primitives take what their rules need, ``sum(x, axis, keepdims)``.  NumPy's functions and array
methods have further options at places of their own, ``x.sum(axis, dtype, out, keepdims, …)``; those
are met here, so that a positional dtype is never taken for `keepdims`.  Methods of Tensor are these
functions; NumPy's functions come here when a call uses an option that the primitive lacks.  `Flat`
is what ``x.flat`` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops import counting, indexing, linalg, statistics, writing
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.conversion import to_integer
from tapegrad.autograd.reverse.write import write_result

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
CANNOT_CAST = "astype: {own} cannot be cast to {dtype} according to casting={casting!r}"

Axis = int | tuple[int, ...] | None

# Reductions ---------------------------------------------------------------------------------------


def _into(out: Any, y: Any, name: str) -> Any:
    if out is None:
        return y
    if not isinstance(out, Tensor):
        raise TypeError(OUT_IS_TENSOR.format(name=name))
    return write_result(out, y, f"{name}(…, out=x)")


def _of_dtype(x: Any, dtype: Any) -> Any:
    return x if dtype is None or x.dtype == np.dtype(dtype) else astype(x, dtype)


def _chosen(x: Any, where: Any, fill: Any) -> Any:
    """x with `fill`, which the reduction does not notice, in the places that do not take part."""
    return x if where is True else e.where(where, x, np.asarray(fill, dtype=x.dtype)[()])


def sum(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    """Σ x over `axis`, of the entries where `where` holds, from `initial` on."""
    if dtype is None and out is None and initial is None and where is True:
        return r.sum(a, axis=axis, keepdims=keepdims)
    x = _chosen(_of_dtype(as_operand(a), dtype), where, 0)
    y = r.sum(x, axis=axis, keepdims=keepdims)
    return _into(out, y if initial is None else y + initial, "sum")


def prod(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    """Π x over `axis`, of the entries where `where` holds, from `initial` on."""
    if dtype is None and out is None and initial is None and where is True:
        return r.prod(a, axis=axis, keepdims=keepdims)
    x = _chosen(_of_dtype(as_operand(a), dtype), where, 1)
    y = r.prod(x, axis=axis, keepdims=keepdims)
    return _into(out, y if initial is None else y * initial, "prod")


def _count(x: Any, axis: Axis, keepdims: bool, where: Any) -> Any:
    """How many entries take part, as x's own kind of number."""
    wide = s.broadcast_to(as_operand(where), tuple(x.shape))
    kind = np.zeros((), x.dtype).real.dtype
    return e.cast(r.sum(wide, axis=axis, keepdims=keepdims), dtype=kind)


def mean(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
    *,
    where: Any = True,
) -> Any:
    """The arithmetic mean over `axis`, of the entries where `where` holds."""
    if dtype is None and out is None and where is True:
        return r.mean(a, axis=axis, keepdims=keepdims)
    x = _of_dtype(as_operand(a), dtype)
    if where is True:
        return _into(out, r.mean(x, axis=axis, keepdims=keepdims), "mean")
    x = x if x.dtype.kind in "fc" else e.cast(x, dtype=np.float64)
    total = r.sum(_chosen(x, where, 0), axis=axis, keepdims=keepdims)
    return _into(out, total / _count(x, axis, keepdims, where), "mean")


def var(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    correction: float | None = None,
) -> Any:
    """The variance over `axis`, of the entries where `where` holds; `correction` is `ddof`."""
    ddof = ddof if correction is None else correction
    if dtype is None and out is None and where is True:
        return r.var(a, axis=axis, ddof=ddof, keepdims=keepdims)
    x = _of_dtype(as_operand(a), dtype)
    if where is True:
        return _into(out, r.var(x, axis=axis, ddof=ddof, keepdims=keepdims), "var")
    x = x if x.dtype.kind in "fc" else e.cast(x, dtype=np.float64)
    squares = e.absolute_square(x - mean(x, axis, keepdims=True, where=where))
    total = r.sum(_chosen(squares, where, 0), axis=axis, keepdims=keepdims)
    return _into(out, total / (_count(x, axis, keepdims, where) - ddof), "var")


def std(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    correction: float | None = None,
) -> Any:
    """The standard deviation over `axis`, of the entries where `where` holds."""
    ddof = ddof if correction is None else correction
    if where is True:
        y = r.std(_of_dtype(as_operand(a), dtype), axis=axis, ddof=ddof, keepdims=keepdims)
        return _into(out, y, "std")
    v = var(a, axis, dtype, None, ddof, keepdims, where=where)
    constant = e.equal(v, 0)
    return _into(out, e.where(constant, 0, e.sqrt(e.where(constant, 1, v))), "std")


def _extremum(
    name: str, plain: Any, pair: Any, x: Any, axis: Axis, out: Any, keepdims: bool,
    initial: Any, where: Any,
) -> Any:  # fmt: skip
    if where is not True:
        if initial is None:
            raise ValueError(NEEDS_INITIAL.format(name=name))
        x = e.where(where, x, initial)
    y = plain(x, axis=axis, keepdims=keepdims)
    return _into(out, y if initial is None else pair(y, initial), name)


def max(
    a: Any,
    axis: Axis = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    """The largest entry over `axis`, of those where `where` holds, and of `initial`."""
    if out is None and initial is None and where is True:
        return r.max(a, axis=axis, keepdims=keepdims)
    x = as_operand(a)
    return _extremum("max", r.max, e.maximum, x, axis, out, keepdims, initial, where)


def min(
    a: Any,
    axis: Axis = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    """The smallest entry over `axis`, of those where `where` holds, and of `initial`."""
    if out is None and initial is None and where is True:
        return r.min(a, axis=axis, keepdims=keepdims)
    x = as_operand(a)
    return _extremum("min", r.min, e.minimum, x, axis, out, keepdims, initial, where)


def any(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, *, where: Any = True
) -> Any:
    """Is any entry over `axis` not zero, of those where `where` holds?"""
    x = a if where is True else e.logical_and(as_operand(a), where)
    return _into(out, r.any(x, axis=axis, keepdims=keepdims), "any")


def all(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, *, where: Any = True
) -> Any:
    """Are all entries over `axis` different from zero, of those where `where` holds?"""
    x = a if where is True else e.logical_or(as_operand(a), e.logical_not(where))
    return _into(out, r.all(x, axis=axis, keepdims=keepdims), "all")


def argmax(a: Any, axis: int | None = None, out: Any = None, *, keepdims: bool = False) -> Any:
    """The index, from 0, of the first largest entry along `axis`; of all entries if None."""
    return _into(out, r.argmax(a, axis=axis, keepdims=keepdims), "argmax")


def argmin(a: Any, axis: int | None = None, out: Any = None, *, keepdims: bool = False) -> Any:
    """The index, from 0, of the first smallest entry along `axis`; of all entries if None."""
    return _into(out, r.argmin(a, axis=axis, keepdims=keepdims), "argmin")


def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
    """The running sum along `axis`; of the flattened array when None."""
    return _into(out, r.cumsum(_of_dtype(as_operand(a), dtype), axis=axis), "cumsum")


def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
    """The running product along `axis`; of the flattened array when None."""
    return _into(out, statistics.cumprod(_of_dtype(as_operand(a), dtype), axis), "cumprod")


def trace(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None
) -> Any:
    """The sum of a diagonal of the axes `axis1` and `axis2`."""
    x = _of_dtype(as_operand(a), dtype)
    return _into(out, linalg.trace(x, offset, axis1, axis2), "trace")


# Shapes -------------------------------------------------------------------------------------------


def _is_fortran(name: str, order: str) -> bool:
    if order not in ("C", "F"):
        raise TypeError(NO_ORDER.format(name=name, order=order))
    return order == "F"


def ravel(a: Any, order: str = "C") -> Any:
    """The entries as one axis, row by row, or column by column for order "F"."""
    a = as_operand(a)
    return s.ravel(s.transpose(a) if _is_fortran("ravel", order) else a)


def flatten(a: Any, order: str = "C") -> Any:
    """A copy with one axis; of the entries column by column for order "F"."""
    return s.copy(ravel(a, order))


def reshape(
    a: Any,
    /,
    shape: Any = None,
    order: str = "C",
    *,
    newshape: Any = None,
    copy: bool | None = None,
) -> Any:
    """The entries in another shape; read and placed column by column for order "F"."""
    shape = newshape if shape is None else shape
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    a = as_operand(a)
    if _is_fortran("reshape", order):
        y = s.transpose(s.reshape(s.transpose(a), shape[::-1]))
    else:
        y = s.reshape(a, shape)
    return s.copy(y) if copy else y


def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """A copy, tracked as x is; no order of memory shows from outside."""
    del order, subok
    return s.copy(as_operand(a))


def astype(
    x: Any,
    dtype: Any,
    order: str = "K",
    casting: Any = "unsafe",
    subok: bool = True,
    copy: bool = True,
) -> Any:
    """The entries converted; a conversion to integers or booleans has no derivative.

    casting: which conversions are refused with TypeError, as in NumPy
    copy:    when False and the dtype is x's own, x itself is returned
    """
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
    a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise"
) -> Any:
    """The entries at `indices` along `axis`; those outside raise, "wrap" round or are "clip"ped."""
    a, indices = as_operand(a), as_operand(indices)
    n = a.size if axis is None else a.shape[axis]
    if mode == "wrap":
        indices = e.remainder(indices, n)
    elif mode == "clip":
        indices = e.clip(indices, 0, n - 1)
    elif mode != "raise":
        raise ValueError(f"take: the mode is {mode!r}, none of 'raise', 'wrap', 'clip'")
    return _into(out, indexing.take(a, indices, axis), "take")


def where(condition: Any, *choices: Any) -> Any:
    """x where the condition holds, else y; of the condition alone, the places where it holds."""
    return e.where(condition, *choices) if choices else counting.nonzero(condition)


def numpy_astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """The entries converted: `astype`, as a function."""
    y = astype(x, dtype, copy=copy)
    return y if device is None else y.to(device)


# NumPy's function -> the function above that has all of its options, and how many leading arguments
# mean the same to the primitive.
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
    np.copy: (copy, 1),
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

    def __getitem__(self, index: Any) -> Any:
        return s.copy(s.ravel(self.base)[index])

    def __setitem__(self, index: Any, value: Any) -> None:
        writing.put(self.base, np.arange(self.base.size)[index], value)

    def copy(self) -> Any:
        """The entries as a Tensor of one axis."""
        return flatten(self.base)
