"""Distribution functions of scipy.special, and their inverses.

The derivative of a distribution function is its density, that of an inverse one over the density
at the result.  Derivatives in the parameters are known where a parameter only scales the argument,
or where neighbouring parameters give it (noncentrality).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.scipy_ufuncs import declare_ufunc
from tapegrad.autograd.ops.special import betaln, gammaln, ndtri, xlog1py, xlogy
from tapegrad.autograd.scipy.ufuncs.common import INVERSE, PARAMETER, SERIES, WHOLE

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "bdtr",
    "bdtrc",
    "bdtri",
    "bdtrik",
    "bdtrin",
    "betainc",
    "betaincc",
    "betainccinv",
    "betaincinv",
    "btdtria",
    "btdtrib",
    "chdtr",
    "chdtrc",
    "chdtri",
    "chdtriv",
    "fdtr",
    "fdtrc",
    "fdtri",
    "fdtridfd",
    "gammainccinv",
    "gammaincinv",
    "gdtr",
    "gdtrc",
    "gdtria",
    "gdtrib",
    "gdtrix",
    "kolmogi",
    "kolmogorov",
    "nbdtr",
    "nbdtrc",
    "nbdtri",
    "nbdtrik",
    "nbdtrin",
    "ndtri_exp",
    "nrdtrimn",
    "nrdtrisd",
    "pdtr",
    "pdtrc",
    "pdtri",
    "pdtrik",
    "smirnov",
    "smirnovi",
    "stdtr",
    "stdtridf",
    "stdtrit",
]

_ROOT_TAU = math.sqrt(math.tau)


def _gamma_density(a: Array, x: Array) -> Array:
    """x^(a-1)·exp(-x) / Γ(a)."""
    return e.exp(xlogy(a - 1, x) - x - gammaln(a))


def _beta_density(a: Array, b: Array, x: Array) -> Array:
    """x^(a-1)·(1-x)^(b-1) / B(a, b)."""
    return e.exp(xlogy(a - 1, x) + xlog1py(b - 1, -x) - betaln(a, b))


# Incomplete beta and gamma functions --------------------------------------------------------------

betainc = declare_ufunc(
    __name__,
    "betainc",
    "The regularized incomplete beta function I_x(a, b); a, b > 0, 0 <= x <= 1.",
    a=PARAMETER,
    b=PARAMETER,
    x=lambda g, a, b, x: g * _beta_density(a, b, x),
)
betaincc = declare_ufunc(
    __name__,
    "betaincc",
    "1 - I_x(a, b).",
    a=PARAMETER,
    b=PARAMETER,
    x=lambda g, a, b, x: -(g * _beta_density(a, b, x)),
)
betaincinv = declare_ufunc(
    __name__,
    "betaincinv",
    "The x with I_x(a, b) = p.",
    a=PARAMETER,
    b=PARAMETER,
    p=lambda g, a, b, y: g / _beta_density(a, b, y),
)
betainccinv = declare_ufunc(
    __name__,
    "betainccinv",
    "The x with 1 - I_x(a, b) = p.",
    a=PARAMETER,
    b=PARAMETER,
    p=lambda g, a, b, y: -(g / _beta_density(a, b, y)),
)
btdtria = declare_ufunc(
    __name__, "btdtria", "The a with I_x(a, b) = p.", p=INVERSE, b=INVERSE, x=INVERSE
)
btdtrib = declare_ufunc(
    __name__, "btdtrib", "The b with I_x(a, b) = p.", a=INVERSE, p=INVERSE, x=INVERSE
)
gammaincinv = declare_ufunc(
    __name__,
    "gammaincinv",
    "The x with P(a, x) = p.",
    a=PARAMETER,
    p=lambda g, a, y: g / _gamma_density(a, y),
)
gammainccinv = declare_ufunc(
    __name__,
    "gammainccinv",
    "The x with 1 - P(a, x) = p.",
    a=PARAMETER,
    p=lambda g, a, y: -(g / _gamma_density(a, y)),
)

# The gamma distribution with rate a and shape b, and chi-square -----------------------------------

gdtr = declare_ufunc(
    __name__,
    "gdtr",
    "The distribution function P(b, ax) of a gamma variable.",
    a=lambda g, a, b, x: g * (x * _gamma_density(b, a * x)),
    b=PARAMETER,
    x=lambda g, a, b, x: g * (a * _gamma_density(b, a * x)),
)
gdtrc = declare_ufunc(
    __name__,
    "gdtrc",
    "1 - P(b, ax).",
    a=lambda g, a, b, x: -(g * (x * _gamma_density(b, a * x))),
    b=PARAMETER,
    x=lambda g, a, b, x: -(g * (a * _gamma_density(b, a * x))),
)
gdtria = declare_ufunc(
    __name__,
    "gdtria",
    "The a with P(b, ax) = p.",
    p=lambda g, b, x, y: g / (x * _gamma_density(b, x * y)),
    b=INVERSE,
    x=lambda g, x, y: -(g * (y / x)),
)
gdtrib = declare_ufunc(
    __name__, "gdtrib", "The b with P(b, ax) = p.", a=INVERSE, p=INVERSE, x=INVERSE
)
gdtrix = declare_ufunc(
    __name__,
    "gdtrix",
    "The x with P(b, ax) = p.",
    a=lambda g, a, y: -(g * (y / a)),
    b=INVERSE,
    p=lambda g, a, b, y: g / (a * _gamma_density(b, a * y)),
)


def _chi_square_density(v: Array, x: Array) -> Array:
    return _gamma_density(v / 2, x / 2) / 2


chdtr = declare_ufunc(
    __name__,
    "chdtr",
    "The distribution function of chi-square with v degrees of freedom.",
    v=PARAMETER,
    x=lambda g, v, x: g * _chi_square_density(v, x),
)
chdtrc = declare_ufunc(
    __name__,
    "chdtrc",
    "1 minus the distribution function of chi-square.",
    v=PARAMETER,
    x=lambda g, v, x: -(g * _chi_square_density(v, x)),
)
chdtri = declare_ufunc(
    __name__,
    "chdtri",
    "The x that a chi-square variable exceeds with probability p.",
    v=PARAMETER,
    p=lambda g, v, y: -(g / _chi_square_density(v, y)),
)
chdtriv = declare_ufunc(__name__, "chdtriv", "The v with chdtr(v, x) = p.", p=INVERSE, x=INVERSE)

# F and t ------------------------------------------------------------------------------------------


def _f_density(dfn: Array, dfd: Array, x: Array) -> Array:
    """The density of F: that of a beta variable dfn·x / (dfd + dfn·x)."""
    whole = dfd + dfn * x
    return _beta_density(dfn / 2, dfd / 2, dfn * x / whole) * (dfn * dfd / e.square(whole))


fdtr = declare_ufunc(
    __name__,
    "fdtr",
    "The distribution function of F with dfn and dfd degrees of freedom.",
    dfn=PARAMETER,
    dfd=PARAMETER,
    x=lambda g, dfn, dfd, x: g * _f_density(dfn, dfd, x),
)
fdtrc = declare_ufunc(
    __name__,
    "fdtrc",
    "1 minus the distribution function of F.",
    dfn=PARAMETER,
    dfd=PARAMETER,
    x=lambda g, dfn, dfd, x: -(g * _f_density(dfn, dfd, x)),
)
fdtri = declare_ufunc(
    __name__,
    "fdtri",
    "The quantile of F at p.",
    dfn=PARAMETER,
    dfd=PARAMETER,
    p=lambda g, dfn, dfd, y: g / _f_density(dfn, dfd, y),
)
fdtridfd = declare_ufunc(
    __name__, "fdtridfd", "The dfd with fdtr(dfn, dfd, x) = p.", dfn=INVERSE, p=INVERSE, x=INVERSE
)


def _t_density(df: Array, t: Array) -> Array:
    """Student's density."""
    half = df / 2
    log = gammaln(half + 0.5) - gammaln(half) - (half + 0.5) * e.log1p(e.square(t) / df)
    return e.exp(log) / e.sqrt(math.pi * df)


stdtr = declare_ufunc(
    __name__,
    "stdtr",
    "The distribution function of Student's t with df degrees of freedom.",
    df=PARAMETER,
    t=lambda g, df, t: g * _t_density(df, t),
)
stdtrit = declare_ufunc(
    __name__,
    "stdtrit",
    "The quantile of Student's t at p.",
    df=PARAMETER,
    p=lambda g, df, y: g / _t_density(df, y),
)
stdtridf = declare_ufunc(
    __name__, "stdtridf", "The df with stdtr(df, t) = p.", p=INVERSE, t=INVERSE
)

# Binomial, negative binomial, Poisson -------------------------------------------------------------


def _binomial_slope(k: Array, n: Array, p: Array) -> Array:
    """Minus the derivative in p of P(K <= k), of n trials."""
    k = e.floor(k)
    return e.exp(xlogy(k, p) + xlog1py(n - k - 1, -p) - betaln(n - k, k + 1))


bdtr = declare_ufunc(
    __name__,
    "bdtr",
    "P(K <= k) of a binomial variable with n trials of probability p.",
    k=WHOLE,
    n=WHOLE,
    p=lambda g, k, n, p: -(g * _binomial_slope(k, n, p)),
)
bdtrc = declare_ufunc(
    __name__,
    "bdtrc",
    "P(K > k) of a binomial variable with n trials of probability p.",
    k=WHOLE,
    n=WHOLE,
    p=lambda g, k, n, p: g * _binomial_slope(k, n, p),
)
bdtri = declare_ufunc(
    __name__,
    "bdtri",
    "The p with bdtr(k, n, p) = c.",
    k=WHOLE,
    n=WHOLE,
    c=lambda g, k, n, y: -(g / _binomial_slope(k, n, y)),
)
bdtrik = declare_ufunc(
    __name__, "bdtrik", "The k with bdtr(k, n, p) = c.", c=INVERSE, n=INVERSE, p=INVERSE
)
bdtrin = declare_ufunc(
    __name__, "bdtrin", "The n with bdtr(k, n, p) = c.", k=INVERSE, c=INVERSE, p=INVERSE
)


def _negative_binomial_slope(k: Array, n: Array, p: Array) -> Array:
    """The derivative in p of P(K <= k), of failures before n successes."""
    k = e.floor(k)
    return e.exp(xlogy(n - 1, p) + xlog1py(k, -p) - betaln(n, k + 1))


nbdtr = declare_ufunc(
    __name__,
    "nbdtr",
    "P(K <= k) of the failures before n successes of probability p.",
    k=WHOLE,
    n=WHOLE,
    p=lambda g, k, n, p: g * _negative_binomial_slope(k, n, p),
)
nbdtrc = declare_ufunc(
    __name__,
    "nbdtrc",
    "P(K > k) of the failures before n successes of probability p.",
    k=WHOLE,
    n=WHOLE,
    p=lambda g, k, n, p: -(g * _negative_binomial_slope(k, n, p)),
)
nbdtri = declare_ufunc(
    __name__,
    "nbdtri",
    "The p with nbdtr(k, n, p) = c.",
    k=WHOLE,
    n=WHOLE,
    c=lambda g, k, n, y: g / _negative_binomial_slope(k, n, y),
)
nbdtrik = declare_ufunc(
    __name__, "nbdtrik", "The k with nbdtr(k, n, p) = c.", c=INVERSE, n=INVERSE, p=INVERSE
)
nbdtrin = declare_ufunc(
    __name__, "nbdtrin", "The n with nbdtr(k, n, p) = c.", k=INVERSE, c=INVERSE, p=INVERSE
)


def _poisson_slope(k: Array, m: Array) -> Array:
    """Minus the derivative in m of P(K <= k)."""
    k = e.floor(k)
    return e.exp(xlogy(k, m) - m - gammaln(k + 1))


pdtr = declare_ufunc(
    __name__,
    "pdtr",
    "P(K <= k) of a Poisson variable of mean m.",
    k=WHOLE,
    m=lambda g, k, m: -(g * _poisson_slope(k, m)),
)
pdtrc = declare_ufunc(
    __name__,
    "pdtrc",
    "P(K > k) of a Poisson variable of mean m.",
    k=WHOLE,
    m=lambda g, k, m: g * _poisson_slope(k, m),
)
pdtri = declare_ufunc(
    __name__,
    "pdtri",
    "The m with pdtr(k, m) = c.",
    k=WHOLE,
    c=lambda g, k, y: -(g / _poisson_slope(k, y)),
)
pdtrik = declare_ufunc(__name__, "pdtrik", "The k with pdtr(k, m) = c.", c=INVERSE, m=INVERSE)

# Normal -------------------------------------------------------------------------------------------

ndtri_exp = declare_ufunc(
    __name__,
    "ndtri_exp",
    "The quantile of the standard normal at exp(x); x < 0.",
    x=lambda g, x, y: g * (e.exp(x + e.square(y) / 2) * _ROOT_TAU),
)


def _quantile_slope(g: Array, p: Array) -> Array:
    return g * (e.exp(e.square(ndtri(p)) / 2) * _ROOT_TAU)


nrdtrimn = declare_ufunc(
    __name__,
    "nrdtrimn",
    "The mean of a normal variable that is below x with probability p.",
    p=lambda g, p, std: -_quantile_slope(g * std, p),
    std=lambda g, p: -(g * ndtri(p)),
    x=lambda g: g,
)
nrdtrisd = declare_ufunc(
    __name__,
    "nrdtrisd",
    "The standard deviation of a normal variable that is below x with probability p.",
    mn=lambda g, p: -(g / ndtri(p)),
    p=lambda g, p, y: -_quantile_slope(g * y / ndtri(p), p),
    x=lambda g, p: g / ndtri(p),
)

# Kolmogorov and Smirnov ---------------------------------------------------------------------------


def _series(term: Callable[[int], Any], count: int) -> Any:
    total = term(1)
    for k in range(2, count + 1):
        total = total + term(k)
    return total


def _kolmogorov_slope(x: Array) -> Array:
    """The derivative of 2·Σ(-1)^(k-1) exp(-2k²x²); below 1 from its other form, which converges."""
    small = x < 1
    low, high = e.where(small, x, 1.0), e.where(small, 1.0, x)

    def alternating(k: int) -> Array:
        return (-1) ** k * 8 * k * k * high * e.exp(-2.0 * k * k * e.square(high))

    def theta(k: int) -> Array:
        c = (2 * k - 1) ** 2 * math.pi**2 / 8
        return e.exp(-c / e.square(low)) * (1 / e.square(low) - 2 * c / low**4)

    return e.where(small, _ROOT_TAU * _series(theta, 4), _series(alternating, 5))


kolmogorov = declare_ufunc(
    __name__,
    "kolmogorov",
    "The probability that Kolmogorov's limiting variable exceeds x; x > 0.",
    x=lambda g, x: g * _kolmogorov_slope(x),
)
kolmogi = declare_ufunc(
    __name__,
    "kolmogi",
    "The x with kolmogorov(x) = p.",
    p=lambda g, y: g / _kolmogorov_slope(y),
)
smirnov = declare_ufunc(
    __name__, "smirnov", "The probability that Smirnov's D⁺ of n exceeds d.", n=WHOLE, d=SERIES
)
smirnovi = declare_ufunc(__name__, "smirnovi", "The d with smirnov(n, d) = p.", n=WHOLE, p=SERIES)
