"""Reductions over axes, and cumulative sums.

`axis` is an int, a tuple of ints or None for all axes, counted from 0, negative from the end, as in
NumPy.  A reduction's rule spreads the cotangent over the axes that were reduced.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, half_in_single
from tapegrad.autograd.ops.batch_rules import axes_rule, axis_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Axes, Namespace, Operand, Shape

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "cumsum",
    "logsumexp",
    "max",
    "mean",
    "min",
    "prod",
    "std",
    "sum",
    "var",
]


def normalize_axes(axis: Axes, ndim: int) -> tuple[int, ...]:
    """`axis` as a tuple of distinct axes counted from 0.  Raises AxisError outside the array."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    for a in axes:
        if not -ndim <= a < ndim:
            raise np.exceptions.AxisError(a, ndim)
    return tuple(a % ndim for a in axes)


def restore_axes(g: Array, shape: Shape, axis: Axes, keepdims: bool) -> Array:
    """g with the reduced axes of `shape` as axes of length 1, so that it broadcasts to `shape`.

    A 0-d g, and one that has all the axes, broadcasts as it is.
    """
    if keepdims or not g.ndim or g.ndim == len(shape):
        return g
    reduced = normalize_axes(axis, len(shape))
    return s.reshape(g, tuple(1 if i in reduced else n for i, n in enumerate(shape)))


def with_methods(xp: Namespace, x: Array) -> Array:
    """x as an array, whose methods cost up to 3 µs less than NumPy's functions."""
    return x if hasattr(x, "ndim") else xp.asarray(x)


@primitive(numpy=np.sum)
def sum(
    xp: Namespace, x: Array, *, axis: Axes = None, keepdims: bool = False, out: Array | None = None
) -> Array:
    """Σ x over `axis`; the reduced axes are dropped, or kept with length 1."""
    return with_methods(xp, x).sum(axis=axis, keepdims=keepdims, out=out)


sum.vjp(
    x=lambda g, x_shape, axis, keepdims: s.broadcast_to(
        restore_axes(g, x_shape, axis, keepdims), x_shape
    )
)
sum.jvp(x=lambda t, axis, keepdims: sum(t, axis, keepdims))
sum.batch(axes_rule)


@primitive(numpy=np.mean)
def mean(
    xp: Namespace, x: Array, *, axis: Axes = None, keepdims: bool = False, out: Array | None = None
) -> Array:
    """The arithmetic mean of x over `axis`."""
    return with_methods(xp, x).mean(axis=axis, keepdims=keepdims, out=out)


def _mean_rule(g: Array, x_shape: Shape, axis: Axes, keepdims: bool) -> Array:
    count = math.prod(x_shape[a] for a in normalize_axes(axis, len(x_shape)))
    share = restore_axes(g, x_shape, axis, keepdims) / (count or 1)
    return s.broadcast_to(share, x_shape)


mean.vjp(x=_mean_rule)
mean.jvp(x=lambda t, axis, keepdims: mean(t, axis, keepdims))
mean.batch(axes_rule)


@primitive(numpy=(np.max, np.amax))
def max(
    xp: Namespace, x: Array, *, axis: Axes = None, keepdims: bool = False, out: Array | None = None
) -> Array:
    """The largest entry over `axis`; NaN if one is; ties share the gradient equally."""
    return with_methods(xp, x).max(axis=axis, keepdims=keepdims, out=out)


@primitive(numpy=(np.min, np.amin))
def min(
    xp: Namespace, x: Array, *, axis: Axes = None, keepdims: bool = False, out: Array | None = None
) -> Array:
    """The smallest entry over `axis`; NaN if one is; ties share the gradient equally."""
    return with_methods(xp, x).min(axis=axis, keepdims=keepdims, out=out)


def _extremum_rule(g: Array, x: Array, y: Array, axis: Axes, keepdims: bool) -> Array:
    shape = x.shape
    y = restore_axes(y, shape, axis, keepdims)
    g = restore_axes(g, shape, axis, keepdims)
    # Where the extremum is NaN, the entries that made it so are the ones it depends on.
    hit = e.logical_or(x == y, e.isnan(x))
    ties = sum(hit, axis=normalize_axes(axis, len(shape)), keepdims=True)
    return hit * (g / e.cast(ties, dtype=g.dtype))


def _extremum_tangent(t: Array, x: Array, y: Array, axis: Axes, keepdims: bool) -> Array:
    axes = normalize_axes(axis, len(x.shape))
    hit = e.logical_or(x == restore_axes(y, x.shape, axis, keepdims), e.isnan(x))
    ties = sum(hit, axis=axes, keepdims=keepdims)
    return sum(hit * t, axis=axes, keepdims=keepdims) / e.cast(ties, dtype=t.dtype)


max.vjp(x=_extremum_rule)
max.jvp(x=_extremum_tangent)
max.batch(axes_rule)
min.vjp(x=_extremum_rule)
min.jvp(x=_extremum_tangent)
min.batch(axes_rule)


@primitive(numpy=np.cumsum)
def cumsum(xp: Namespace, x: Array, *, axis: int | None = None, out: Array | None = None) -> Array:
    """The running sum along `axis`; of the flattened array when None."""
    return xp.cumsum(x, axis=axis, out=out)


def _cumsum_rule(g: Array, x_shape: Shape, axis: int | None) -> Array:
    along = 0 if axis is None else axis
    g = e.widen_half(g)  # NumPy adds float16 in float16, and a sum of ones would end at 2048
    return s.reshape(s.flip(cumsum(s.flip(g, axis=along), axis=along), axis=along), x_shape)


cumsum.vjp(x=_cumsum_rule)
cumsum.jvp(x=lambda t, axis: cumsum(t, axis))
cumsum.batch(axis_rule)


@primitive(numpy=np.argmax, differentiable=False)
def argmax(xp: Namespace, x: Array, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """The index, from 0, of the first largest entry along `axis`; of all entries if None."""
    return xp.argmax(x, axis=axis, keepdims=keepdims)


argmax.batch(axis_rule)


@primitive(numpy=np.argmin, differentiable=False)
def argmin(xp: Namespace, x: Array, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """The index, from 0, of the first smallest entry along `axis`; of all entries if None."""
    return xp.argmin(x, axis=axis, keepdims=keepdims)


argmin.batch(axis_rule)


@primitive(numpy=np.any, differentiable=False)
def any(xp: Namespace, x: Array, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """Whether any entry over `axis` is not zero, as booleans."""
    return xp.any(x, axis=axis, keepdims=keepdims)


any.batch(axes_rule)


@primitive(numpy=np.all, differentiable=False)
def all(xp: Namespace, x: Array, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """Whether no entry over `axis` is zero, as booleans."""
    return xp.all(x, axis=axis, keepdims=keepdims)


all.batch(axes_rule)


def widen_integers(x: Tensor) -> Tensor:
    """Booleans and small integers as NumPy's sums and products have them, others unchanged.

    Those of less than 64 bits become 64 bits wide, signed or not as they are.
    """
    if x.dtype.kind in "fc" or (x.dtype.kind in "iu" and x.dtype.itemsize >= 8):
        return x
    return x.astype(np.uint64 if x.dtype.kind == "u" else np.int64)


@composite(numpy=np.prod)
def prod(x: Operand, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Π x over `axis`.

    The first half of the entries is multiplied by the second until one entry is left.  That needs
    no division, so the product is differentiable where entries are 0.
    """
    factors: Tensor = widen_integers(as_operand(x))
    sizes: Shape = factors.shape
    axes = normalize_axes(axis, len(sizes))
    others = [a for a in range(len(sizes)) if a not in axes]
    count = math.prod([sizes[a] for a in axes])
    rest = tuple(sizes[a] for a in others)
    y = s.reshape(s.transpose(factors, (*axes, *others)), (count, *rest))
    if not count:
        y = s.broadcast_to(sum(y, axis=0, keepdims=True) + 1, (1, *rest))
    while len(y) > 1:
        half = len(y) // 2
        product = y[:half] * y[half : 2 * half]
        y = s.concatenate([product, y[2 * half :]], axis=0) if len(y) % 2 else product
    shape = tuple(1 if a in axes else n for a, n in enumerate(sizes)) if keepdims else rest
    return s.with_own_memory(s.reshape(y, shape), factors)


@composite(numpy=np.var)
def var(x: Operand, axis: Axes = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    """The mean squared deviation from the mean over `axis`, divided by n - `ddof` instead of n."""
    x = as_operand(x)
    v = _wide_var(e.widen_half(x), axis, ddof, keepdims)
    return e.as_half_was(v, x)


def _wide_var(x: Operand, axis: Axes, ddof: float, keepdims: bool) -> Tensor:
    """The variance of what is no float16, whose squares soon add up to infinity."""
    x = as_operand(x)
    count = math.prod(x.shape[a] for a in normalize_axes(axis, x.ndim))
    deviations = x - mean(x, axis=axis, keepdims=True)
    return sum(e.absolute_square(deviations), axis=axis, keepdims=keepdims) / (count - ddof)


@composite(numpy=np.std)
def std(x: Operand, axis: Axes = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    """The square root of the variance over `axis`; where that is 0 the derivative is taken as 0."""
    x = as_operand(x)
    v = _wide_var(e.widen_half(x), axis, ddof, keepdims)
    # Of one entry it is 0 everywhere, which has all derivatives.
    single = math.prod(x.shape[a] for a in normalize_axes(axis, x.ndim)) == 1 and not ddof
    y = v if single else e.guarded_sqrt(v)
    return e.as_half_was(y, x)


@primitive
@half_in_single
def logsumexp(xp: Namespace, x: Array, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """log Σ exp(x) over `axis`, without overflow."""
    top = xp.max(x, axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    y = xp.log(xp.sum(xp.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else xp.squeeze(y, axis=axis)


logsumexp.vjp(
    x=lambda g, x, y, axis, keepdims: (
        restore_axes(g, x.shape, axis, keepdims)
        * e.exp(x - restore_axes(y, x.shape, axis, keepdims))
    )
)
logsumexp.jvp(
    x=lambda t, x, y, axis, keepdims: sum(
        t * e.exp(x - restore_axes(y, x.shape, axis, keepdims)), axis, keepdims
    )
)
logsumexp.batch(axes_rule)
