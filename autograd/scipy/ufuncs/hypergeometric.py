"""Hypergeometric functions and their relatives; derivatives in the argument by contiguous ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.scipy_ufuncs import declare_ufunc
from tapegrad.autograd.ops.special import digamma
from tapegrad.autograd.scipy.ufuncs.common import PARAMETER, SERIES

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "binom",
    "hyp0f1",
    "hyp2f1",
    "hyperu",
    "log_wright_bessel",
    "loggamma",
    "poch",
    "wright_bessel",
    "wrightomega",
    "zetac",
]

hyp0f1 = declare_ufunc(
    __name__,
    "hyp0f1",
    "The confluent hypergeometric limit function ₀F₁(v; z).",
    v=PARAMETER,
    z=lambda g, v, z: g * (hyp0f1(v + 1, z) / v),
)
hyp2f1 = declare_ufunc(
    __name__,
    "hyp2f1",
    "Gauss's hypergeometric function ₂F₁(a, b; c; z).",
    a=PARAMETER,
    b=PARAMETER,
    c=PARAMETER,
    z=lambda g, a, b, c, z: g * (a * b / c * hyp2f1(a + 1, b + 1, c + 1, z)),
)
hyperu = declare_ufunc(
    __name__,
    "hyperu",
    "Tricomi's confluent hypergeometric function U(a, b, x); x > 0.",
    a=PARAMETER,
    b=PARAMETER,
    x=lambda g, a, b, x: g * (-a * hyperu(a + 1, b + 1, x)),
)
wright_bessel = declare_ufunc(
    __name__,
    "wright_bessel",
    "Wright's generalized Bessel function Φ(a, b; x); a, b, x >= 0.",
    a=SERIES,
    b=SERIES,
    x=lambda g, a, b, x: g * wright_bessel(a, a + b, x),
)
log_wright_bessel = declare_ufunc(
    __name__,
    "log_wright_bessel",
    "The logarithm of `wright_bessel`.",
    a=SERIES,
    b=SERIES,
    x=lambda g, a, b, x, y: g * e.exp(log_wright_bessel(a, a + b, x) - y),
)
wrightomega = declare_ufunc(
    __name__,
    "wrightomega",
    "The ω that solves ω + log ω = z.",
    z=lambda g, y: g * (y / (1 + y)),
)
loggamma = declare_ufunc(
    __name__,
    "loggamma",
    "The principal branch of log Γ(z); NaN for real z <= 0.",
    z=lambda g, z: g * digamma(z),
)


def _binom_n(g: Array, n: Array, k: Array, y: Array) -> Array:
    return g * (y * (digamma(n + 1) - digamma(n - k + 1)))


def _binom_k(g: Array, n: Array, k: Array, y: Array) -> Array:
    return g * (y * (digamma(n - k + 1) - digamma(k + 1)))


binom = declare_ufunc(
    __name__,
    "binom",
    "Γ(n + 1) / (Γ(k + 1)·Γ(n - k + 1)).",
    n=_binom_n,
    k=_binom_k,
)
poch = declare_ufunc(
    __name__,
    "poch",
    "The rising factorial Γ(z + m) / Γ(z).",
    z=lambda g, z, m, y: g * (y * (digamma(z + m) - digamma(z))),
    m=lambda g, z, m, y: g * (y * digamma(z + m)),
)
zetac = declare_ufunc(__name__, "zetac", "Riemann's ζ(x) - 1.", x=SERIES)
