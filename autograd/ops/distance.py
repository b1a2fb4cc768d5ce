"""Norms whose derivative is guarded against division by 0, and the nearest of some points.

A norm has no derivative at 0.  Torch7 adds a small number to the denominator of its gradient there,
and so do the rules here: 0 instead of NaN at 0, and elsewhere smaller than the derivative by a
relative small/norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import half_in_single, refuse_complex
from tapegrad.autograd.ops.batch_rules import axes_rule, leading_axes_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["guarded_norm", "guarded_power", "nearest_centroid"]


def _conjugate(x: Array) -> Array:
    """The complex conjugate; x itself when real, without a call."""
    return e.conjugate(x) if x.dtype.kind == "c" else x


@primitive
@half_in_single
def guarded_norm(
    xp: Namespace, x: Array, *, axis: int = -1, p: float = 2, small: float = 0
) -> Array:
    """(Σ |x|ᵖ)^(1/p) along `axis`, which stays with length 1; p >= 1.

    The rule is sign(x)·|x|ᵖ⁻¹ / (y + small)ᵖ⁻¹: the derivative, guarded against division by 0.
    """
    if x.dtype.kind == "c":
        x = xp.abs(x)
    if p == 2:
        return xp.sqrt(xp.sum(x * x, axis=axis, keepdims=True))
    if p == 1:
        return xp.sum(xp.abs(x), axis=axis, keepdims=True)
    return xp.sum(xp.abs(x) ** p, axis=axis, keepdims=True) ** (1 / p)


def _guarded_norm_rule(g: Array, x: Array, y: Array, p: float, small: float) -> Array:
    if p == 2:
        return g * (_conjugate(x) / (y + small))
    if p == 1:
        return g * _conjugate(e.sign(x))
    return g * _conjugate(e.sign(x)) * (e.absolute(x) / (y + small)) ** (p - 1)


guarded_norm.vjp(x=_guarded_norm_rule)
guarded_norm.batch(axes_rule)


@primitive(elementwise=True)
def guarded_power(xp: Namespace, x: Array, *, p: float, small: float = 0) -> Array:
    """|x|ᵖ, elementwise.  Its rule is p·x·(|x| + small)ᵖ⁻², the derivative guarded at 0."""
    size = xp.abs(x)
    return size if p == 1 else size * size if p == 2 else size**p


def _guarded_power_rule(g: Array, x: Array, p: float, small: float) -> Array:
    x_or_conjugate = _conjugate(x)
    if p == 2:
        return g * (x_or_conjugate + x_or_conjugate)
    return g * (p * x_or_conjugate * (e.absolute(x) + small) ** (p - 2))


guarded_power.vjp(x=_guarded_power_rule)
guarded_power.batch(leading_axes_rule)


@primitive
def nearest_centroid(xp: Namespace, x: Array, weight: Array) -> Array:
    """For each row of x the number of the nearest row of `weight`, in x's dtype; NaN for a NaN.

    x (n, d), weight (k, d) -> (n,).

    The rule gives each centroid itself minus the mean of its rows, whatever the cotangent is: the
    cotangent of a row's number has no meaning.
    """
    for points in (x, weight):
        refuse_complex(points, "nearest_centroid")
    squares = xp.sum((x[:, None, :] - weight) ** 2, axis=-1)
    nearest = xp.argmin(squares, axis=-1).astype(x.dtype)
    return xp.where(xp.isnan(xp.sum(squares, axis=-1)), xp.asarray(np.nan, dtype=x.dtype), nearest)


def _centroid_rule(g: Array, x: Array, weight: Array, y: Array) -> Array:
    one = weight[:, 0] * 0 + 1
    member = e.cast(s.expand_dims(y, -1) == r.cumsum(one) - 1, dtype=x.dtype)  # (N, k)
    count = s.expand_dims(r.sum(member, axis=0), -1)
    total = s.transpose(member) @ x
    return (weight * count - total) / (count + 1e-7)  # Torch7's guard for a centroid without rows


nearest_centroid.vjp(x=lambda g, x: x * 0, weight=_centroid_rule)  # noqa: ARG005  # whatever g is
