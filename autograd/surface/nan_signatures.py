"""The reductions that leave NaN out, with every option that NumPy gives them: see `signatures.py`.

Each is the reduction of the entries where neither NaN nor `where` leaves one out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.surface import signatures
from tapegrad.autograd.surface.shape_signatures import astype, write_to_out

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Axes, DTypeLike, Operand

__all__ = [
    "NAN_FULL",
    "nancumprod",
    "nancumsum",
    "nanmax",
    "nanmean",
    "nanmin",
    "nanprod",
    "nanstd",
    "nansum",
    "nanvar",
]

INEXACT = "{name}: if x is a floating point array, the dtype must be one too, not {dtype}"


def _without_nan(a: Operand, value: float, where: Operand = True) -> tuple[Tensor, Any]:
    """a with `value` for NaN, and where a is not NaN and `where` holds."""
    x = as_operand(a)
    missing = e.isnan(x)
    filled = e.where(missing, np.asarray(value, x.dtype)[()], x) if x.dtype.kind in "fc" else x
    present = e.logical_not(missing)
    return filled, present if where is True else e.logical_and(present, where)


def nansum(
    a: Operand,
    axis: Axes = None,
    dtype: DTypeLike | None = None,
    out: Tensor | None = None,
    keepdims: bool = False,
    initial: Operand | None = None,
    where: Operand = True,
) -> Tensor:
    """Σ over `axis` of the entries that are not NaN, from `initial` on."""
    return signatures.sum(_without_nan(a, 0)[0], axis, dtype, out, keepdims, initial, where)


def nanprod(
    a: Operand,
    axis: Axes = None,
    dtype: DTypeLike | None = None,
    out: Tensor | None = None,
    keepdims: bool = False,
    initial: Operand | None = None,
    where: Operand = True,
) -> Tensor:
    """Π over `axis` of the entries that are not NaN, from `initial` on."""
    return signatures.prod(_without_nan(a, 1)[0], axis, dtype, out, keepdims, initial, where)


def nancumsum(
    a: Operand, axis: int | None = None, dtype: DTypeLike | None = None, out: Tensor | None = None
) -> Tensor:
    """The running sum along `axis`, NaN counted as 0."""
    return signatures.cumsum(_without_nan(a, 0)[0], axis, dtype, out)


def nancumprod(
    a: Operand, axis: int | None = None, dtype: DTypeLike | None = None, out: Tensor | None = None
) -> Tensor:
    """The running product along `axis`, NaN counted as 1."""
    return signatures.cumprod(_without_nan(a, 1)[0], axis, dtype, out)


def _require_inexact(x: Tensor, dtype: DTypeLike | None, name: str) -> None:
    if dtype is not None and x.dtype.kind in "fc" and np.dtype(dtype).kind not in "fc":
        raise TypeError(INEXACT.format(name=name, dtype=np.dtype(dtype)))


def nanmean(
    a: Operand,
    axis: Axes = None,
    dtype: DTypeLike | None = None,
    out: Tensor | None = None,
    keepdims: bool = False,
    *,
    where: Operand = True,
) -> Tensor:
    """The mean over `axis` of the entries that are not NaN; NaN where there are none."""
    x = as_operand(a)
    _require_inexact(x, dtype, "nanmean")
    filled, present = _without_nan(x, 0, where)
    return signatures.mean(filled, axis, dtype, out, keepdims, where=present)


def nanvar(
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
    """The variance over `axis` of the entries that are not NaN; NaN where too few are left.

    mean, correction: as for `var`
    """
    x = as_operand(a)
    _require_inexact(x, dtype, "nanvar")
    ddof = ddof if correction is None else correction
    v, free = _variance(x, axis, dtype, ddof, keepdims, where, mean)
    return _result(out, e.where(e.greater(free, 0), v, np.nan), x, dtype, "nanvar")


def nanstd(
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
    """The standard deviation over `axis` of the entries that are not NaN; see `nanvar`."""
    x = as_operand(a)
    _require_inexact(x, dtype, "nanstd")
    ddof = ddof if correction is None else correction
    v, free = _variance(x, axis, dtype, ddof, keepdims, where, mean)
    y = e.guarded_sqrt(v) if v.dtype.kind == "f" else e.sqrt(v)
    return _result(out, e.where(e.greater(free, 0), y, np.nan), x, dtype, "nanstd")


def _variance(
    x: Tensor,
    axis: Axes,
    dtype: DTypeLike | None,
    ddof: float,
    keepdims: bool,
    where: Operand,
    mean: Operand | None,
) -> tuple[Tensor, Tensor]:
    """The variance of the entries that count, and how many of them are free; 1 where none is."""
    wide: Any = x if x.dtype.kind in "fc" else e.cast(x, dtype=np.float64)
    wide = e.widen_half(wide) if dtype is None else wide
    filled, present = _without_nan(wide, 0, where)
    count = r.sum(s.broadcast_to(present, tuple(x.shape)), axis=axis, keepdims=keepdims)
    free = count - ddof
    if mean is None:
        mean = signatures.mean(filled, axis, dtype, None, True, where=present)
    squares = e.absolute_square(e.where(present, filled - mean, 0))
    squares = squares if dtype is None else astype(squares, dtype)
    total = r.sum(squares, axis=axis, keepdims=keepdims)
    kind = np.zeros((), total.dtype).real.dtype
    return total / e.cast(e.where(e.greater(free, 0), free, 1), dtype=kind), free


def _result(out: Tensor | None, y: Tensor, x: Tensor, dtype: DTypeLike | None, name: str) -> Tensor:
    y = e.as_half_was(y, x) if dtype is None else y
    return write_to_out(out, y, name)


def _extremum_of_present(
    full: Callable[..., Tensor],
    a: Operand,
    axis: Axes,
    out: Tensor | None,
    keepdims: bool,
    initial: Operand | None,
    where: Operand,
    worst: float,
) -> Tensor:
    x = as_operand(a)
    if x.dtype.kind not in "fc":
        return full(x, axis, out, keepdims, initial, where)
    filled, present = _without_nan(x, worst, where)
    y = full(filled, axis, None, keepdims, initial, where)
    if initial is None:
        some = r.any(s.broadcast_to(present, tuple(x.shape)), axis=axis, keepdims=keepdims)
        y = e.where(some, y, np.nan)
    return write_to_out(out, y, f"nan{full.__name__}")


def nanmax(
    a: Operand,
    axis: Axes = None,
    out: Tensor | None = None,
    keepdims: bool = False,
    initial: Operand | None = None,
    where: Operand = True,
) -> Tensor:
    """The largest entry over `axis` that is not NaN, or `initial`; ties share the gradient."""
    of = signatures.max
    return _extremum_of_present(of, a, axis, out, keepdims, initial, where, -np.inf)


def nanmin(
    a: Operand,
    axis: Axes = None,
    out: Tensor | None = None,
    keepdims: bool = False,
    initial: Operand | None = None,
    where: Operand = True,
) -> Tensor:
    """The smallest entry over `axis` that is not NaN, or `initial`; ties share the gradient."""
    of = signatures.min
    return _extremum_of_present(of, a, axis, out, keepdims, initial, where, np.inf)


# NumPy's function -> the one above, and how many leading arguments it shares with the composite.
NAN_FULL: dict[Callable[..., Any], tuple[Callable[..., Any], int]] = {
    np.nansum: (nansum, 2),
    np.nanprod: (nanprod, 2),
    np.nancumsum: (nancumsum, 2),
    np.nancumprod: (nancumprod, 2),
    np.nanmean: (nanmean, 2),
    np.nanvar: (nanvar, 2),
    np.nanstd: (nanstd, 2),
    np.nanmax: (nanmax, 2),
    np.nanmin: (nanmin, 2),
}
