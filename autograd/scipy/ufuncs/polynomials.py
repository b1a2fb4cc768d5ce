"""Orthogonal polynomials and the functions of Legendre; the degree has no derivative here.

The derivative of a family is the next family, one degree lower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.scipy_ufuncs import declare_ufunc
from tapegrad.autograd.scipy.ufuncs.common import PARAMETER, WHOLE
from tapegrad.autograd.scipy.ufuncs.hypergeometric import binom

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "eval_chebyc",
    "eval_chebys",
    "eval_chebyt",
    "eval_chebyu",
    "eval_gegenbauer",
    "eval_genlaguerre",
    "eval_hermite",
    "eval_hermitenorm",
    "eval_jacobi",
    "eval_laguerre",
    "eval_legendre",
    "eval_sh_chebyt",
    "eval_sh_chebyu",
    "eval_sh_jacobi",
    "eval_sh_legendre",
    "lpmv",
]


def _lower(g: Array, n: Any, slope: Any) -> Array:
    """g times slope(n - 1), and 0 where n is 0."""
    some = n != 0
    return g * (some * slope(n - some))


eval_jacobi = declare_ufunc(
    __name__,
    "eval_jacobi",
    "Jacobi's polynomial P_n^(α, β)(x).",
    n=PARAMETER,
    alpha=PARAMETER,
    beta=PARAMETER,
    x=lambda g, n, alpha, beta, x: _lower(
        g, n, lambda k: (n + alpha + beta + 1) / 2 * eval_jacobi(k, alpha + 1, beta + 1, x)
    ),
)
eval_sh_jacobi = declare_ufunc(
    __name__,
    "eval_sh_jacobi",
    "Jacobi's shifted polynomial G_n^(p, q)(x).",
    n=PARAMETER,
    p=PARAMETER,
    q=PARAMETER,
    x=lambda g, n, p, q, x: _lower(
        g,
        n,
        lambda k: (n + p) / binom(2 * n + p - 1.0, n) * eval_jacobi(k, p - q + 1, q, 2 * x - 1),
    ),
)
eval_gegenbauer = declare_ufunc(
    __name__,
    "eval_gegenbauer",
    "Gegenbauer's polynomial C_n^(α)(x).",
    n=PARAMETER,
    alpha=PARAMETER,
    x=lambda g, n, alpha, x: _lower(g, n, lambda k: 2 * alpha * eval_gegenbauer(k, alpha + 1.0, x)),
)


def _chebyshev(n: Any, x: Array, scale: float) -> Any:
    """The derivative of T_n, of a multiple of x by `scale`."""
    return lambda k: scale * n * eval_chebyu(k, x)


def _gegenbauer(x: Array, alpha: float, scale: float) -> Any:
    """A multiple of the Gegenbauer polynomial."""
    return lambda k: scale * eval_gegenbauer(k, alpha, x)


eval_chebyt = declare_ufunc(
    __name__,
    "eval_chebyt",
    "Chebyshev's polynomial of the first kind, T_n(x).",
    n=PARAMETER,
    x=lambda g, n, x: _lower(g, n, _chebyshev(n, x, 1.0)),
)
eval_chebyu = declare_ufunc(
    __name__,
    "eval_chebyu",
    "Chebyshev's polynomial of the second kind, U_n(x).",
    n=PARAMETER,
    x=lambda g, n, x: _lower(g, n, _gegenbauer(x, 2.0, 2.0)),
)
eval_chebyc = declare_ufunc(
    __name__,
    "eval_chebyc",
    "C_n(x) = 2·T_n(x/2).",
    n=PARAMETER,
    x=lambda g, n, x: _lower(g, n, _chebyshev(n, x / 2, 1.0)),
)
eval_chebys = declare_ufunc(
    __name__,
    "eval_chebys",
    "S_n(x) = U_n(x/2).",
    n=PARAMETER,
    x=lambda g, n, x: _lower(g, n, _gegenbauer(x / 2, 2.0, 1.0)),
)
eval_sh_chebyt = declare_ufunc(
    __name__,
    "eval_sh_chebyt",
    "T_n(2x - 1).",
    n=PARAMETER,
    x=lambda g, n, x: _lower(g, n, _chebyshev(n, 2 * x - 1, 2.0)),
)
eval_sh_chebyu = declare_ufunc(
    __name__,
    "eval_sh_chebyu",
    "U_n(2x - 1).",
    n=PARAMETER,
    x=lambda g, n, x: _lower(g, n, _gegenbauer(2 * x - 1, 2.0, 4.0)),
)
eval_legendre = declare_ufunc(
    __name__,
    "eval_legendre",
    "Legendre's polynomial P_n(x).",
    n=PARAMETER,
    x=lambda g, n, x: _lower(g, n, _gegenbauer(x, 1.5, 1.0)),
)
eval_sh_legendre = declare_ufunc(
    __name__,
    "eval_sh_legendre",
    "P_n(2x - 1).",
    n=PARAMETER,
    x=lambda g, n, x: _lower(g, n, _gegenbauer(2 * x - 1, 1.5, 2.0)),
)
eval_genlaguerre = declare_ufunc(
    __name__,
    "eval_genlaguerre",
    "The generalized polynomial of Laguerre, L_n^(α)(x).",
    n=PARAMETER,
    alpha=PARAMETER,
    x=lambda g, n, alpha, x: _lower(g, n, lambda k: -eval_genlaguerre(k, alpha + 1.0, x)),
)
eval_laguerre = declare_ufunc(
    __name__,
    "eval_laguerre",
    "The polynomial of Laguerre, L_n(x).",
    n=PARAMETER,
    x=lambda g, n, x: _lower(g, n, lambda k: -eval_genlaguerre(k, 1.0, x)),
)
eval_hermite = declare_ufunc(
    __name__,
    "eval_hermite",
    "The physicists' polynomial of Hermite, H_n(x).",
    n=WHOLE,
    x=lambda g, n, x: _lower(g, n, lambda k: 2 * n * eval_hermite(k, x)),
)
eval_hermitenorm = declare_ufunc(
    __name__,
    "eval_hermitenorm",
    "The probabilists' polynomial of Hermite, He_n(x).",
    n=WHOLE,
    x=lambda g, n, x: _lower(g, n, lambda k: n * eval_hermitenorm(k, x)),
)
lpmv = declare_ufunc(
    __name__,
    "lpmv",
    "The associated function of Legendre, P_v^m(x), of whole order m; |x| < 1.",
    m=WHOLE,
    v=PARAMETER,
    x=lambda g, m, v, x, y: g * ((v * x * y - (v + m) * lpmv(m, v - 1, x)) / (e.square(x) - 1)),
)
