"""Statistics: averages, covariances, running products, and the reductions that leave NaN out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaration import newer_numpy
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, device_array, wrap_like
from tapegrad.autograd.ops.batch_rules import axis_in_batch, axis_rule
from tapegrad.autograd.ops.rearranging import diagonal

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Axes, DTypeLike, Namespace, Operand

__all__ = [
    "average",
    "backward_scan",
    "corrcoef",
    "cov",
    "cumprod",
    "cumulative_prod",
    "cumulative_sum",
    "nancumprod",
    "nancumsum",
    "nanmax",
    "nanmean",
    "nanmin",
    "nanprod",
    "nanstd",
    "nansum",
    "nanvar",
    "ptp",
]


@composite(numpy=np.ptp)
def ptp(a: Operand, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The largest entry less the smallest over `axis`."""
    return r.max(a, axis=axis, keepdims=keepdims) - r.min(a, axis=axis, keepdims=keepdims)


@composite(numpy=np.average)
def average(
    a: Operand,
    axis: Axes = None,
    weights: Operand | None = None,
    returned: bool = False,
    keepdims: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Σ w·x / Σ w over `axis`; with `returned` also Σ w.

    weights: of x's shape, or of the axes in `axis`
    Raises TypeError for weights of another shape without `axis`, ShapeError for the shape of
    other axes.
    """
    a = as_operand(a)
    axes = r.normalize_axes(axis, a.ndim)
    axis = tuple(axis) if isinstance(axis, list) else axis
    if weights is None:
        y = r.mean(a, axis=axis, keepdims=keepdims)
        count = math.prod(a.shape[i] for i in axes)
        return (y, y * 0 + count) if returned else y
    weights = as_operand(weights)
    if weights.shape != a.shape:
        if axis is None:
            raise TypeError("average: weights of another shape than x need an axis")
        if tuple(weights.shape) != tuple(a.shape[i] for i in axes):
            raise ShapeError("average: the weights do not have the shape of x's axes")
        order = sorted(range(len(axes)), key=lambda i: axes[i])
        weights = s.transpose(weights, tuple(order))
        weights = s.reshape(weights, tuple(n if i in axes else 1 for i, n in enumerate(a.shape)))
    common = np.result_type(a.dtype, weights.dtype, *([] if a.dtype.kind in "fc" else [np.float64]))
    a, weights = (x if x.dtype == common else x.astype(common) for x in (a, weights))
    half = common == np.float16
    wide: Any = e.widen_half(weights) if half else weights
    total = r.sum(s.broadcast_to(wide, tuple(a.shape)), axis=axis, keepdims=keepdims)
    y = r.sum((e.widen_half(a) if half else a) * wide, axis=axis, keepdims=keepdims) / total
    if half:
        y, total = (e.cast(part, dtype=np.float16) for part in (y, total))
    return (y, total) if returned else y


def _variables_as_rows(m: Array, y: Array, rowvar: bool) -> Array:
    """The variables of m, and of y below them, as rows."""

    def matrix(x: Array) -> Array:
        x = as_operand(x)
        if x.ndim > 2:
            raise ShapeError("cov: an array has more than two axes")
        x = s.reshape(x, (1, -1)) if x.ndim < 2 else x
        return x if rowvar or x.shape[0] == 1 else s.transpose(x)

    rows = matrix(m)
    return rows if y is None else s.concatenate([rows, matrix(y)], 0)


def _weights_array(weights: Any, x: Tensor) -> Any:
    """The weights as an array; lists become arrays where x lives, of its precision."""
    if weights is None or hasattr(weights, "dtype"):
        return weights
    kind = _real_dtype(x.dtype) if x.dtype.kind in "fc" else None
    return device_array(np.asarray(weights, kind), x)


@composite(numpy=np.cov)
def cov(
    m: Operand,
    y: Operand | None = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Operand | None = None,
    aweights: Operand | None = None,
    *,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """The covariances of variables, (variables, observations) -> (variables, variables).

    fweights, aweights: weights of the observations, as counts or as importance
    dtype:              double precision, or complex double, unless it is given
    Raises TypeError for a dtype that is no floating point.
    """
    x = _variables_as_rows(m, y, rowvar)
    common = np.promote_types(x.dtype, np.float64) if dtype is None else np.dtype(dtype)
    if common.kind not in "fc":
        raise TypeError(f"cov: the dtype {common} on a Tensor is not supported: give a float")
    if common != x.dtype:
        x = e.cast(x, dtype=common)
    ddof = (0 if bias else 1) if ddof is None else ddof
    counts, importance = _weights_array(fweights, x), _weights_array(aweights, x)
    weights = None if counts is None else counts * 1.0
    if importance is not None:
        weights = importance if weights is None else weights * importance
    if weights is None:
        mean, denominator = r.mean(x, axis=1, keepdims=True), x.shape[1] - ddof
        x = x - mean
        scaled = x
    else:
        total = r.sum(weights)
        x = x - r.sum(x * weights, axis=1, keepdims=True) / total
        if ddof == 0 or importance is None:
            denominator = total - ddof
        else:
            denominator = total - ddof * r.sum(weights * importance) / total
        scaled = x * weights
    products = scaled @ s.transpose(e.conjugate(x)) / denominator
    return s.reshape(products, ()) if products.size == 1 else products


@composite(numpy=np.corrcoef)
def corrcoef(
    x: Operand, y: Operand | None = None, rowvar: bool = True, *, dtype: DTypeLike | None = None
) -> Tensor:
    """The correlations of variables, (variables, observations) -> (variables, variables).

    dtype: as for `cov`
    """
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    deviation = e.sqrt(e.real(diagonal(c)))
    c = c / s.reshape(deviation, (-1, 1)) / deviation
    return e.clip(c, -1, 1) if c.dtype.kind == "f" else c


# Running products and sums -----------------------------------------------------------------------


@primitive(numpy=np.cumprod)
def cumprod(xp: Namespace, x: Array, *, axis: int | None = None) -> Array:
    """The running product along `axis`; of the flattened array when None.

    Entries that are 0 have derivatives too, of every order.
    """
    return xp.cumprod(x, axis=axis)


def _cumprod_rule(g: Array, x: Array, y: Array, axis: int | None) -> Array:
    # dyₖ/dxᵢ = Π of the xⱼ before i, times Π of those after i up to k: no division, so no poles.
    if not g.size:
        return g
    along = 0 if axis is None else axis % x.ndim
    start = (slice(None),) * along
    first, others = (*start, slice(0, 1)), (*start, slice(1, None))
    after = backward_scan(g, s.reshape(x, g.shape)[others], axis=along)
    later = y[(*start, slice(0, -1))] * after[others]
    return s.reshape(s.concatenate([after[first], later], along), x.shape)


def _cumprod_tangent(t: Array, x: Array, y: Array, axis: int | None) -> Array:
    # dyₖ = xₖ·dyₖ₋₁ + yₖ₋₁·dxₖ
    if not y.size:
        return y
    along = 0 if axis is None else axis % x.ndim
    start = (slice(None),) * along
    first, others = (*start, slice(0, 1)), (*start, slice(1, None))
    t, x = s.reshape(t, y.shape), s.reshape(x, y.shape)
    added = s.concatenate([t[first], y[(*start, slice(0, -1))] * t[others]], along)
    return _scan_backwards(added, x[others], along)


cumprod.vjp(x=_cumprod_rule)
cumprod.jvp(x=_cumprod_tangent)
cumprod.batch(axis_rule)


@primitive
def backward_scan(xp: Namespace, x: Array, factors: Array, *, axis: int) -> Array:
    """yᵢ = xᵢ + factorsᵢ · yᵢ₊₁ along `axis`, from the last entry, yₙ = xₙ, to the first.

    factors: one less than x along `axis`

    By running products where none of them comes near the largest or smallest number, else by
    joining steps of length 1, 2, 4, …
    """
    x, factors = xp.moveaxis(x, axis, -1), xp.moveaxis(factors, axis, -1)
    dtype = np.result_type(x.dtype, factors.dtype)
    if not x.size or dtype.kind == "c":
        return xp.moveaxis(_scan_by_steps(xp, x, factors, dtype), -1, axis)
    with np.errstate(all="ignore"):
        products = xp.ones(x.shape, dtype=dtype)
        xp.cumprod(factors, axis=-1, out=products[..., 1:])
        moderate = _is_moderate(xp, products)
        if not bool(moderate.any()):
            return xp.moveaxis(_scan_by_steps(xp, x, factors, dtype), -1, axis)
        y = x * products
        xp.cumsum(y[..., ::-1], axis=-1, out=y[..., ::-1])
        y /= products
    if not bool(moderate.all()):
        y = xp.where(moderate, y, _scan_by_steps(xp, x, factors, dtype))
    return xp.moveaxis(y, -1, axis)


def _scan_by_steps(xp: Namespace, x: Array, factors: Array, dtype: DTypeLike) -> Array:
    x, n, step = xp.array(x, dtype=dtype), x.shape[-1], 1
    while step < n:
        x[..., :-step] += factors * x[..., step:]
        factors = factors[..., :-step] * factors[..., step:]
        step *= 2
    return x


def _is_moderate(xp: Namespace, products: Array) -> Array:
    """Where the quotients of a row's products neither overflow nor lose digits to underflow."""
    limit = float(xp.finfo(products.dtype).max) ** 0.25
    low = products.min(axis=-1, keepdims=True)
    if not bool((low > 0).all()):
        products = xp.abs(products)
        low = products.min(axis=-1, keepdims=True)
    return (low > 1 / limit) & (products.max(axis=-1, keepdims=True) < limit)


def _scan_backwards(g: Array, factors: Array, axis: int) -> Array:
    """The cotangent of x: the same recurrence in the other direction."""
    return s.flip(backward_scan(s.flip(g, axis), s.flip(factors, axis), axis), axis)


def _scan_factors_rule(g: Array, factors: Array, y: Array, axis: int) -> Array:
    start = (slice(None),) * axis
    before = _scan_backwards(g, factors, axis)[(*start, slice(0, -1))]
    return before * y[(*start, slice(1, None))]


def _scan_factors_tangent(t: Array, factors: Array, y: Array, axis: int) -> Array:
    start = (slice(None),) * axis
    last = y[(*start, slice(-1, None))] * 0
    added = s.concatenate([t * y[(*start, slice(1, None))], last], axis)
    return backward_scan(added, factors, axis)


backward_scan.vjp(x=_scan_backwards, factors=_scan_factors_rule)
backward_scan.jvp(
    x=lambda t, factors, axis: backward_scan(t, factors, axis), factors=_scan_factors_tangent
)
backward_scan.batch(
    lambda x, factors, axis: backward_scan(x, factors, axis_in_batch(axis, x.ndim - 1))
)


def _cumulate(
    x: Array,
    axis: int | None,
    dtype: DTypeLike | None,
    include_initial: bool,
    of: Callable[..., Tensor],
    initial: int,
) -> Array:
    """`of` along `axis`, after `initial` if that is asked for."""
    x = as_operand(x)
    x = x if dtype is None or x.dtype == np.dtype(dtype) else x.astype(dtype)
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"give the axis of an array of {x.ndim} axes")
        axis = 0
    y = of(x, axis)
    if not include_initial:
        return y
    shape = [*y.shape]
    shape[axis] = 1
    first = wrap_like(np.full(shape, initial, y.dtype), y)
    return s.concatenate([first, y], axis)


@composite(numpy=newer_numpy("cumulative_sum"))
def cumulative_sum(
    x: Operand,
    *,
    axis: int | None = None,
    dtype: DTypeLike | None = None,
    include_initial: bool = False,
) -> Tensor:
    """The running sum along `axis`, after a 0 with `include_initial`; in `dtype` if it is given."""
    return _cumulate(x, axis, dtype, include_initial, r.cumsum, 0)


@composite(numpy=newer_numpy("cumulative_prod"))
def cumulative_prod(
    x: Operand,
    *,
    axis: int | None = None,
    dtype: DTypeLike | None = None,
    include_initial: bool = False,
) -> Tensor:
    """The running product along `axis`, after a 1 with `include_initial`; in `dtype` if given."""
    return _cumulate(x, axis, dtype, include_initial, cumprod, 1)


# Without NaN -------------------------------------------------------------------------------------


def _replace_nan(a: Array, value: float) -> tuple[Array, Array]:
    """a with `value` for NaN, and where a is not NaN."""
    a = as_operand(a)
    missing = e.isnan(a)
    return e.where(missing, value, a), e.logical_not(missing)


@composite(numpy=np.nansum)
def nansum(a: Operand, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Σ over `axis` of the entries that are not NaN."""
    return r.sum(_replace_nan(a, 0)[0], axis=axis, keepdims=keepdims)


@composite(numpy=np.nanprod)
def nanprod(a: Operand, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Π over `axis` of the entries that are not NaN."""
    return r.prod(_replace_nan(a, 1)[0], axis=axis, keepdims=keepdims)


@composite(numpy=np.nancumsum)
def nancumsum(a: Operand, axis: int | None = None) -> Tensor:
    """The running sum along `axis`, NaN counted as 0."""
    return r.cumsum(_replace_nan(a, 0)[0], axis=axis)


@composite(numpy=np.nancumprod)
def nancumprod(a: Operand, axis: int | None = None) -> Tensor:
    """The running product along `axis`, NaN counted as 1."""
    return cumprod(_replace_nan(a, 1)[0], axis=axis)


def _count_present(present: Array, like: Array, axis: Axes, keepdims: bool) -> Array:
    """How many entries are present over `axis`, as real numbers of like's precision."""
    return e.cast(r.sum(present, axis=axis, keepdims=keepdims), dtype=_real_dtype(like.dtype))


def _real_dtype(dtype: DTypeLike) -> np.dtype:
    """The dtype of the real part."""
    return np.zeros((), dtype=dtype).real.dtype


@composite(numpy=np.nanmean)
def nanmean(a: Operand, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The mean over `axis` of the entries that are not NaN; NaN where there are none."""
    fill_index, present = _replace_nan(a, 0)
    count = _count_present(present, fill_index, axis, keepdims)
    return r.sum(fill_index, axis=axis, keepdims=keepdims) / count


@composite(numpy=np.nanvar)
def nanvar(a: Operand, axis: Axes = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    """The variance over `axis` of the entries that are not NaN."""
    a = as_operand(a)
    return e.as_half_was(_wide_nanvar(e.widen_half(a), axis, ddof, keepdims), a)


def _wide_nanvar(a: Tensor, axis: Axes, ddof: float, keepdims: bool) -> Tensor:
    """`nanvar` of what is no float16, whose squares soon add up to infinity."""
    deviation, present = _replace_nan(a - nanmean(a, axis, keepdims=True), 0)
    squares = r.sum(e.absolute_square(deviation), axis=axis, keepdims=keepdims)
    free = _count_present(present, deviation, axis, keepdims) - ddof
    return squares / e.where(free > 0, free, np.nan)


@composite(numpy=np.nanstd)
def nanstd(a: Operand, axis: Axes = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    """The standard deviation over `axis` of the entries that are not NaN."""
    a = as_operand(a)
    v = _wide_nanvar(e.widen_half(a), axis, ddof, keepdims)
    # Of one entry it is 0 everywhere, which has all derivatives.
    count = r.sum(e.logical_not(e.isnan(a)), axis=axis, keepdims=keepdims)
    single = e.logical_and(e.equal(count, 1), e.equal(v, 0))
    return e.as_half_was(e.where(single, v, e.guarded_sqrt(e.where(single, 1, v))), a)


def _nan_extremum(
    a: Array, axis: Axes, keepdims: bool, of: Callable[..., Tensor], worst: float
) -> Array:
    """`of` over the entries that are not NaN; NaN where there are none."""
    a = as_operand(a)
    if a.dtype.kind not in "fc":
        return of(a, axis=axis, keepdims=keepdims)
    fill_index, present = _replace_nan(a, worst)
    y = of(fill_index, axis=axis, keepdims=keepdims)
    return e.where(r.any(present, axis=axis, keepdims=keepdims), y, np.nan)


@composite(numpy=np.nanmax)
def nanmax(a: Operand, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The largest entry over `axis` that is not NaN; ties share the gradient."""
    return _nan_extremum(a, axis, keepdims, r.max, -np.inf)


@composite(numpy=np.nanmin)
def nanmin(a: Operand, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The smallest entry over `axis` that is not NaN; ties share the gradient."""
    return _nan_extremum(a, axis, keepdims, r.min, np.inf)
