"""Standardization and normalization: what batch, layer and group normalization share.

As a composition a normalization takes about twenty passes over the array, forward and reverse.
`normalize` is one primitive, by machine code three or four.  Where its derivatives are recorded,
batched or pushed forward, its rule is that of the composition.  Of `standardize` mean and variance
are results of their own, which second derivatives reach through.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.call import apply
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.late import late_module
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops.batch_rules import align_samples, axis_in_batch
from tapegrad.autograd.ops.fused_bodies import is_large, runs_unrecorded

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["normalize", "standardize"]

kernels = late_module("tapegrad.autograd.kernels.normalization")

FEW = 256  # entries for which machine code is worth its call
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


@primitive(several=True)
def standardize(
    xp: Namespace, x: Array, *, axes: tuple[int, ...], eps: float = 1e-5
) -> list[Array]:
    """[(x - mean) / √(var + eps), mean, var], mean and variance taken over `axes`.

    x: any shape -> x's shape, and twice that shape with `axes` of length 1; x's dtype.  var divides
    by the number of entries.  eps > 0 keeps constant data finite.  Of float16 x, mean and var are
    float32, since squares of ordinary numbers may exceed float16.
    Source: S. Ioffe, C. Szegedy, "Batch Normalization", ICML 2015, algorithm 1.
    """
    dtype = x.dtype
    if dtype == np.float16:
        x = x.astype(np.float32)
    mean = xp.mean(x, axis=axes, keepdims=True)
    y = x - mean
    var = xp.mean(xp.square(y), axis=axes, keepdims=True)
    y /= xp.sqrt(var + eps)
    return [y.astype(dtype) if dtype == np.float16 else y, mean, var]


def _standardize_rule(g: Any, y: Any, axes: tuple[int, ...], eps: float) -> Array:
    y, _, var = y
    g_y, g_mean, g_var = g
    y = e.widen_half(y)
    deviation = e.sqrt(var + eps)
    count = math.prod(y.shape[a] for a in axes) or 1
    total: Any = 0
    if g_y is not None:
        average = r.mean(g_y, axis=axes, keepdims=True)
        slope = r.mean(g_y * y, axis=axes, keepdims=True)
        total = (g_y - average - y * slope) / deviation
    if g_var is not None:
        total = total + y * (g_var * deviation * (2 / count))
    if g_mean is not None:
        total = total + g_mean / count
    return total


def _standardize_tangent(t: Array, y: Any, axes: tuple[int, ...], eps: float) -> list[Array]:
    y, _, var = y
    y, t = e.widen_half(y), e.widen_half(t)
    deviation = e.sqrt(var + eps)
    average = r.mean(t, axis=axes, keepdims=True)
    slope = r.mean(t * y, axis=axes, keepdims=True)
    return [(t - average - y * slope) / deviation, average, slope * (deviation + deviation)]


standardize.vjp(x=_standardize_rule)
standardize.jvp(x=_standardize_tangent)
standardize.batch(lambda x, axes, eps: standardize(x, axis_in_batch(axes, x.ndim - 1), eps))


@primitive(aux=("mean", "var"))
def normalize(
    xp: Namespace,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axes: tuple[int, ...],
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    """(x - mean) / √(var + eps) · weight + bias, mean and variance taken over `axes`.

    x: any shape -> x's shape;  weight, bias: shapes that broadcast with x's, 1 and 0 when None.
    `with_aux` gives mean and var as well, as `standardize` does, without derivatives.
    Source: as `standardize`.
    """
    y, mean, var = standardize.primitive.body(xp, x, axes=axes, eps=eps)
    if weight is not None:
        y = y * weight
    return (y if bias is None else y + bias), mean, var


@normalize.primitive.stepwise
def _normalize_in_steps(
    xp: Namespace,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axes: tuple[int, ...],
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    _require_rows(x, weight, bias, axes)
    mean = xp.mean(x, axis=-1, keepdims=True)
    y = x - mean
    rest = xp.mean(y, axis=-1, keepdims=True)  # what rounding took from a large mean
    var = xp.maximum(xp.mean(y * y, axis=-1, keepdims=True) - rest * rest, 0)
    inverse = 1 / xp.sqrt(var + eps)
    y = y * inverse - rest * inverse
    if weight is not None:
        y = y * weight
    return (y if bias is None else y + bias), mean + rest, var


def _require_rows(
    x: Array, weight: Array | None, bias: Array | None, axes: tuple[int, ...]
) -> None:
    """Raise ValueError unless each row has a mean, and each column a weight and a bias."""
    if x.ndim < 2 or tuple(axes) not in {(-1,), (x.ndim - 1,)}:
        raise ValueError("its mean is not that of a row")
    if any(a is not None and a.shape != x.shape[-1:] for a in (weight, bias)):
        raise ValueError("its weight is not that of a column")


@normalize.on("numba")
def _normalize_fast(
    xp: Namespace,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axes: tuple[int, ...],
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]:
    work = kernels().shape_of_work(x, weight, bias, axes) if is_large(x, FEW) else None
    if work is None:
        plain: tuple[Array, Array, Array] = normalize.primitive.body(
            xp, x, weight, bias, axes=axes, eps=eps
        )
        return plain
    return kernels().normalize(work, x, weight, bias, axes, eps)


def normalize_gradient(
    xp: Namespace,
    cotangent: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axes: tuple[int, ...],
    eps: float,
) -> list[Array]:
    """The cotangents of those arguments of `normalize` that are not None, before broadcasting."""
    work = kernels().shape_of_work(x, weight, bias, axes) if is_large(x, FEW) else None
    if work is not None:
        given = bias if weight is None else weight
        own = None if given is None else given.shape
        found = kernels().normalize_gradient(work, cotangent, x, weight, mean, var, eps, own)
        return [c for c, a in zip(found, (x, weight, bias), strict=True) if a is not None]
    deviation = xp.sqrt(var + eps)
    y = (x - mean) / deviation
    scaled = cotangent if weight is None else cotangent * weight
    average, slope = (xp.mean(a, axis=axes, keepdims=True) for a in (scaled, scaled * y))
    cotangents = [(scaled - average - y * slope) / deviation]
    if weight is not None:
        cotangents.append(cotangent * y)
    # a copy: the values of a program are arrays of their own
    return cotangents if bias is None else [*cotangents, xp.positive(cotangent)]


_GRADIENT = Primitive(normalize_gradient, differentiable=False, several=True)


@_GRADIENT.stepwise
def _gradient_in_steps(
    xp: Namespace,
    cotangent: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axes: tuple[int, ...],
    eps: float,
) -> list[Array]:
    _require_rows(x, weight, bias, axes)
    inverse = 1 / xp.sqrt(var + eps)
    y = (x - mean) * inverse
    scaled = cotangent if weight is None else cotangent * weight
    average, slope = (xp.mean(a, axis=-1, keepdims=True) for a in (scaled, scaled * y))
    cotangents = [(scaled - average - y * slope) * inverse]
    rows = tuple(range(x.ndim - 1))
    if weight is not None:
        cotangents.append(xp.sum(cotangent * y, axis=rows))
    return cotangents if bias is None else [*cotangents, xp.sum(cotangent, axis=rows)]


@normalize.joint_vjp("x", "weight", "bias")
def _normalize_rule(
    g: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    var: Array,
    axes: tuple[int, ...],
    eps: float,
) -> tuple[Array | None, ...]:
    given = (x, *(a for a in (weight, bias) if a is not None))
    if runs_unrecorded(g, given) and all(np.dtype(a.dtype) == g.dtype in FLOATS for a in given):
        settings = {"axes": axes, "eps": eps}
        found = iter(apply(_GRADIENT, (g, x, mean, var, weight, bias), settings))
        return tuple(None if a is None else next(found) for a in (x, weight, bias))
    y, _, var = standardize(x, axes, eps)
    scaled = g if weight is None else g * weight
    by_x = _standardize_rule([scaled, None, None], [y, None, var], axes, eps)
    return by_x, (None if weight is None else g * y), (None if bias is None else g)


def _normalize_tangent(
    t: Array, x: Array, weight: Array | None, axes: tuple[int, ...], eps: float
) -> Array:
    moved = _standardize_tangent(t, standardize(x, axes, eps), axes, eps)[0]
    return moved if weight is None else moved * weight


normalize.jvp(
    x=_normalize_tangent,
    weight=lambda t, x, axes, eps: t * standardize(x, axes, eps)[0],
    bias=lambda t: t,
)


@normalize.batch
def _normalize_batch(
    x: Array, weight: Array | None, bias: Array | None, axes: tuple[int, ...], eps: float
) -> tuple[Array, Array, Array]:
    ndim = x.ndim - 1
    y, mean, var = standardize(x, axis_in_batch(axes, ndim), eps)
    if weight is not None:
        y = y * align_samples(weight, ndim)
    return (y if bias is None else y + align_samples(bias, ndim)), mean, var
