"""Standardization: the one step that batch, layer and group normalization share.

As a composition it takes about fifteen passes over the array, forward and reverse; as a primitive
six.  Mean and variance are results of their own, so that running statistics can use them and
second derivatives reach through them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops.batch_rules import axis_in_batch

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["standardize"]


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


def _standardize_rule(g: Array, y: Array, axes: tuple[int, ...], eps: float) -> Array:
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


standardize.vjp(x=_standardize_rule)
standardize.batch(lambda x, axes, eps: standardize(x, axis_in_batch(axes, x.ndim - 1), eps))
