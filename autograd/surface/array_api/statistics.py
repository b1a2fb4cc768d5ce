"""Sums, means and other reductions, running sums, and differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapegrad.autograd.ops import calculus, counting
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops import statistics as st

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Axes, DTypeLike

__all__ = [
    "all",
    "any",
    "count_nonzero",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "max",
    "mean",
    "min",
    "prod",
    "std",
    "sum",
    "var",
]

WHICH_AXIS = "{name}: x has {ndim} axes; say along which: axis=0, …, or axis=-1"


def _in_dtype(x: Tensor, dtype: DTypeLike) -> Tensor:
    """x in a dtype; x itself for None."""
    return x if dtype is None else x.astype(dtype, copy=False)


def all(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Whether no entry over `axis` is 0."""
    return r.all(x, axis=axis, keepdims=keepdims)


def any(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Whether any entry over `axis` is not 0."""
    return r.any(x, axis=axis, keepdims=keepdims)


def count_nonzero(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """How many entries over `axis` are not 0: int64."""
    return counting.count_nonzero(x, axis=axis, keepdims=keepdims)


def sum(
    x: Tensor, /, *, axis: Axes = None, dtype: DTypeLike = None, keepdims: bool = False
) -> Tensor:
    """Σ x over `axis`; integers in 64 bits, others in x's dtype, unless `dtype` says which."""
    return _in_dtype(x.sum(axis, dtype, keepdims=keepdims), dtype)


def prod(
    x: Tensor, /, *, axis: Axes = None, dtype: DTypeLike = None, keepdims: bool = False
) -> Tensor:
    """Π x over `axis`; integers in 64 bits, others in x's dtype, unless `dtype` says which."""
    return _in_dtype(x.prod(axis, dtype, keepdims=keepdims), dtype)


def mean(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean over `axis`."""
    return r.mean(x, axis=axis, keepdims=keepdims)


def var(
    x: Tensor, /, *, axis: Axes = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """Σ |x - mean|² / (n - correction) over `axis`, with n entries in each."""
    return r.var(x, axis=axis, ddof=correction, keepdims=keepdims)


def std(
    x: Tensor, /, *, axis: Axes = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """The square root of `var`."""
    return r.std(x, axis=axis, ddof=correction, keepdims=keepdims)


def max(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The largest entry over `axis`; NaN if there is one."""
    return r.max(x, axis=axis, keepdims=keepdims)


def min(x: Tensor, /, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The smallest entry over `axis`; NaN if there is one."""
    return r.min(x, axis=axis, keepdims=keepdims)


def _along(x: Tensor, axis: int | None, name: str) -> tuple[Tensor, int]:
    """x and the axis of a running sum.  Raises ValueError if there are several to choose from."""
    if axis is not None:
        return x, axis
    if x.ndim > 1:
        raise ValueError(WHICH_AXIS.format(name=name, ndim=x.ndim))
    return s.reshape(x, (x.size,)), 0


def cumulative_sum(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: DTypeLike = None,
    include_initial: bool = False,
) -> Tensor:
    """The running sum along `axis`, after a 0 with `include_initial`.

    dtype: 64 bits for integers, x's own for others, when omitted
    Raises ValueError without `axis` for x of several axes.
    """
    x, axis = _along(x, axis, "cumulative_sum")
    y = st.cumulative_sum(_in_dtype(x, dtype), axis=axis, include_initial=include_initial)
    return _in_dtype(y, dtype)


def cumulative_prod(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: DTypeLike = None,
    include_initial: bool = False,
) -> Tensor:
    """The running product along `axis`, after a 1 with `include_initial`.

    dtype: 64 bits for integers, x's own for others, when omitted
    Raises ValueError without `axis` for x of several axes.
    """
    x, axis = _along(x, axis, "cumulative_prod")
    y = st.cumulative_prod(_in_dtype(x, dtype), axis=axis, include_initial=include_initial)
    return _in_dtype(y, dtype)


def diff(
    x: Tensor,
    /,
    n: int = 1,
    axis: int = -1,
    *,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """The n-th differences of neighbours along `axis`, of x between `prepend` and `append`.

    Unlike in the standard, n and axis may be given by position, as in NumPy: scikit-learn does so.
    Raises ValueError for a negative n.
    """
    return calculus.diff(x, n, axis, prepend, append)
