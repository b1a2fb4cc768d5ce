"""`sinc` and `i0`, with derivatives of every order.

Each comes with a primitive for its n-th derivative, whose own rule asks for the next one.  Both are
evaluated as integrals of smooth functions, which keeps their precision where the textbook formulas
cancel.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops.batch_rules import leading_axes_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["i0", "i0_derivative", "sinc", "sinc_derivative"]


@lru_cache(maxsize=1)
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on (0, 1) that integrate cos(πxt)·tᵏ to rounding for |x| < 8."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    return (nodes + 1) / 2, weights / 2


@primitive(elementwise=True, numpy=np.sinc)
def sinc(xp: Namespace, x: Array) -> Array:
    """sin(πx) / (πx), elementwise; 1 at 0."""
    return xp.sinc(x)


@primitive(elementwise=True)
def sinc_derivative(xp: Namespace, x: Array, *, order: int) -> Array:
    """The derivative of `sinc` of the given order >= 1, elementwise."""
    wide = x.astype(np.result_type(x.dtype, np.float64))
    far = xp.abs(wide) > 4 + order
    # ∫₀¹ (πt)ᵏ cos(πxt + kπ/2) dt near 0, where the closed form cancels
    near = xp.where(far, 0.0, wide)
    y = xp.zeros_like(wide)
    for node, weight in zip(*_legendre(), strict=True):
        t = math.pi * float(node)
        y = y + float(weight) * t**order * xp.cos(t * near + order * math.pi / 2)
    # x·s⁽ᵏ⁾ + k·s⁽ᵏ⁻¹⁾ = πᵏ⁻¹ sin(πx + kπ/2) away from it
    away = xp.where(far, wide, 1.0)
    s_k = xp.sinc(away)
    for k in range(1, order + 1):
        wave = xp.sin(math.pi * away + k * math.pi / 2) * math.pi ** (k - 1)
        s_k = (wave - k * s_k) / away
    return xp.where(far, s_k, y).astype(x.dtype)


sinc.vjp(x=lambda g, x: g * sinc_derivative(x, order=1))
sinc.batch(leading_axes_rule)
sinc_derivative.vjp(x=lambda g, x, order: g * sinc_derivative(x, order=order + 1))
sinc_derivative.batch(leading_axes_rule)


@primitive(elementwise=True, numpy=np.i0)
def i0(xp: Namespace, x: Array) -> Array:
    """The modified Bessel function of the first kind and order 0, elementwise."""
    return xp.i0(x).astype(x.dtype if x.dtype.kind in "fc" else np.float64)


_ANGLES = (np.arange(128) + 0.5) * (math.pi / 256)  # the first half of those from 0 to π


@primitive(elementwise=True)
def i0_derivative(xp: Namespace, x: Array, *, order: int) -> Array:
    """The derivative of `i0` of the given order, elementwise.

    (1/π) ∫₀^π cosᵏθ e^(x cos θ) dθ by the midpoint rule, which converges geometrically for periodic
    functions: 256 points reach rounding for every |x| whose result is finite.  The points θ and
    π - θ are added in closed form, so nothing cancels near 0.
    """
    wide = x.astype(np.result_type(x.dtype, np.float64))
    y = xp.zeros_like(wide)
    both = xp.sinh if order % 2 else xp.cosh
    for cosine in np.cos(_ANGLES):
        y = y + float(cosine) ** order * both(wide * float(cosine))
    return (y / len(_ANGLES)).astype(x.dtype if x.dtype.kind in "fc" else np.float64)


i0.vjp(x=lambda g, x: g * i0_derivative(x, order=1))
i0.batch(leading_axes_rule)
i0_derivative.vjp(x=lambda g, x, order: g * i0_derivative(x, order=order + 1))
i0_derivative.batch(leading_axes_rule)
