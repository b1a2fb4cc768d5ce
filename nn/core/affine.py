"""x Wᵀ + b as one primitive: a step of a small network is made of little else.

Recorded as a transposition, a product and a sum, a layer costs three calls and as many rules; on
large arrays the sum is one more pass.  Where somebody looks on, it is those three operations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops, primitive
from tapegrad.autograd.core.late import late_module
from tapegrad.autograd.core.mode import may_join
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops.batch_rules import align_samples, ndim_of

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = ["affine", "affine_map"]

products = late_module("tapegrad.autograd.kernels.products")
WIDE = (np.dtype(np.float32), np.dtype(np.float64))


def affine_map(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x Wᵀ + b: (…, k), (n, k), (n,) -> (…, n).

    It is one call where these are their kinds and nobody looks on; somebody may have put a number
    or another array in the place of a Parameter.
    """
    if may_join() and isinstance(weight, Tensor) and isinstance(bias, Tensor):
        dtype = x.dtype
        same = dtype in WIDE and dtype == weight.dtype == bias.dtype
        if same and weight.ndim == 2 and bias.shape == weight.shape[:1]:
            y: Tensor = affine(x, weight, bias)
            return y
    return x @ weight.T + bias


@primitive
def affine(xp: Namespace, x: Array, weight: Array, bias: Array) -> Array:
    """x Wᵀ + b: (…, k), (n, k), (n,) -> (…, n)."""
    return _plus(xp, xp.matmul(x, weight.T), bias)


@affine.on("numba")
def _affine_compiled(xp: Namespace, x: Array, weight: Array, bias: Array) -> Array:
    return _plus(xp, products().matmul(x, weight.T), bias)


def _plus(xp: Namespace, y: Array, bias: Array) -> Array:
    in_place = y.ndim and y.dtype == np.result_type(y.dtype, bias.dtype)
    total: Array = xp.add(y, bias, out=y) if in_place else y + bias
    return total


def _turned(x: Any) -> Any:
    return x.T if type(x) is np.ndarray else ops.transpose(x)


def _times(g: Any, weight: Any) -> Any:
    if type(g) is np.ndarray and type(weight) is np.ndarray:
        return products().matmul(g, weight)
    return g @ weight


def _weight_rule(g: Any, x: Any) -> Any:
    """Σ gᵀ x, over all but the last axis."""
    if x.ndim != 2:
        rows = math.prod(x.shape[:-1])  # -1 would not do for no columns
        x, g = (ops.reshape(each, (rows, each.shape[-1])) for each in (x, g))
    return _times(_turned(g), x)


affine.vjp(x=_times, weight=_weight_rule, bias=lambda g: g)
affine.jvp(
    x=lambda t, weight: t @ _turned(weight), weight=lambda t, x: x @ _turned(t), bias=lambda t: t
)


@affine.batch
def _affine_batch(x: Array, weight: Array, bias: Array, batched: tuple[bool, ...]) -> Any:
    across = ops.swapaxes(weight, -1, -2)
    ndim = ndim_of(x, batched[0])
    if batched[0] and not batched[1]:
        y = x @ across
    else:
        own = align_samples(x, max(ndim, 2)) if batched[0] else x
        y = own @ (align_samples(across, max(ndim, 2)) if batched[1] else across)
        if batched[0] and ndim == 1:
            y = ops.reshape(y, (y.shape[0], y.shape[-1]))
    return y + (align_samples(bias, ndim) if batched[2] else bias)
