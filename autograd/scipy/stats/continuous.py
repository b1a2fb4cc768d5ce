"""The continuous distributions of scipy.stats that are used most."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.special import (
    betaln,
    gammainc,
    gammaincc,
    gammaln,
    log_expit,
    log_ndtr,
    ndtr,
    xlog1py,
    xlogy,
)
from tapegrad.autograd.scipy.stats.distribution import Continuous
from tapegrad.autograd.scipy.ufuncs.probability import (
    betainc,
    betaincc,
    chdtr,
    chdtrc,
    fdtr,
    fdtrc,
    stdtr,
)

__all__ = [
    "beta",
    "cauchy",
    "chi2",
    "expon",
    "f",
    "gamma",
    "gumbel_l",
    "gumbel_r",
    "halfnorm",
    "invgamma",
    "laplace",
    "logistic",
    "lognorm",
    "norm",
    "pareto",
    "rayleigh",
    "t",
    "triang",
    "truncnorm",
    "uniform",
    "weibull_min",
]

_HALF_LOG_TAU = math.log(math.tau) / 2
_POSITIVE = (0.0, math.inf)


def _normal(x: Any) -> Any:
    """The logarithm of the standard normal density."""
    return e.square(x) * -0.5 - _HALF_LOG_TAU


norm = Continuous(
    "norm",
    "",
    _normal,
    ndtr,
    above=lambda x: ndtr(-x),
    log_below=log_ndtr,
    log_above=lambda x: log_ndtr(-x),
)
halfnorm = Continuous(
    "halfnorm",
    "",
    lambda x: _normal(x) + math.log(2),
    lambda x: 2 * ndtr(x) - 1,
    above=lambda x: 2 * ndtr(-x),
    log_above=lambda x: log_ndtr(-x) + math.log(2),
    support=_POSITIVE,
)


def _log_normal(x: Any, s: Any) -> Any:
    logarithm = e.log(x)
    return _normal(logarithm / s) - logarithm - e.log(s)


lognorm = Continuous(
    "lognorm",
    "s",
    _log_normal,
    lambda x, s: ndtr(e.log(x) / s),
    above=lambda x, s: ndtr(-e.log(x) / s),
    log_below=lambda x, s: log_ndtr(e.log(x) / s),
    log_above=lambda x, s: log_ndtr(-e.log(x) / s),
    support=(np.nextafter(0, 1), math.inf),
)


def _truncated(a: Any, b: Any) -> Any:
    """P(a < Z < b), without cancelling in the upper tail."""
    return e.where(e.greater(a, 0), ndtr(-a) - ndtr(-b), ndtr(b) - ndtr(a))


truncnorm = Continuous(
    "truncnorm",
    "a b",
    lambda x, a, b: _normal(x) - e.log(_truncated(a, b)),
    lambda x, a, b: _truncated(a, x) / _truncated(a, b),
    above=lambda x, a, b: _truncated(x, b) / _truncated(a, b),
    support=(lambda a, _b: a, lambda _a, b: b),
    inside=lambda a, b: (a + b) / 2,
)
uniform = Continuous(
    "uniform", "", lambda x: x * 0.0, lambda x: x * 1.0, log_above=lambda x: e.log1p(-x),
    support=(0.0, 1.0),
)  # fmt: skip
expon = Continuous(
    "expon",
    "",
    lambda x: -x,
    lambda x: -e.expm1(-x),
    above=lambda x: e.exp(-x),
    log_above=lambda x: -x,
    support=_POSITIVE,
)


def _laplace_below(x: Any) -> Any:
    left = e.exp(-e.absolute(x)) / 2
    return e.where(e.less(x, 0), left, 1 - left)


laplace = Continuous(
    "laplace",
    "",
    lambda x: -e.absolute(x) - math.log(2),
    _laplace_below,
    above=lambda x: _laplace_below(-x),
)


logistic = Continuous(
    "logistic",
    "",
    lambda x: log_expit(x) + log_expit(-x),
    lambda x: e.exp(log_expit(x)),
    above=lambda x: e.exp(log_expit(-x)),
    log_below=log_expit,
    log_above=lambda x: log_expit(-x),
)
cauchy = Continuous(
    "cauchy",
    "",
    lambda x: -e.log1p(e.square(x)) - math.log(math.pi),
    lambda x: e.arctan2(1.0, -x) / math.pi,
    above=lambda x: e.arctan2(1.0, x) / math.pi,
)
gumbel_r = Continuous(
    "gumbel_r",
    "",
    lambda x: -x - e.exp(-x),
    lambda x: e.exp(-e.exp(-x)),
    above=lambda x: -e.expm1(-e.exp(-x)),
    log_below=lambda x: -e.exp(-x),
)
gumbel_l = Continuous(
    "gumbel_l",
    "",
    lambda x: x - e.exp(x),
    lambda x: -e.expm1(-e.exp(x)),
    above=lambda x: e.exp(-e.exp(x)),
    log_above=lambda x: -e.exp(x),
)
rayleigh = Continuous(
    "rayleigh",
    "",
    lambda x: e.log(x) - e.square(x) / 2,
    lambda x: -e.expm1(e.square(x) * -0.5),
    above=lambda x: e.exp(e.square(x) * -0.5),
    log_above=lambda x: e.square(x) * -0.5,
    support=_POSITIVE,
)
weibull_min = Continuous(
    "weibull_min",
    "c",
    lambda x, c: e.log(c) + xlogy(c - 1, x) - e.power(x, c),
    lambda x, c: -e.expm1(-e.power(x, c)),
    above=lambda x, c: e.exp(-e.power(x, c)),
    log_above=lambda x, c: -e.power(x, c),
    support=_POSITIVE,
)
pareto = Continuous(
    "pareto",
    "b",
    lambda x, b: e.log(b) - (b + 1) * e.log(x),
    lambda x, b: -e.expm1(-b * e.log(x)),
    above=lambda x, b: e.exp(-b * e.log(x)),
    log_above=lambda x, b: -b * e.log(x),
    support=(1.0, math.inf),
    inside=2.0,
)


def _triangle(x: Any, c: Any) -> Any:
    return math.log(2) + e.where(e.less(x, c), e.log(x / c), e.log((1 - x) / (1 - c)))


triang = Continuous(
    "triang",
    "c",
    _triangle,
    lambda x, c: e.where(e.less(x, c), e.square(x) / c, 1 - e.square(1 - x) / (1 - c)),
    support=(0.0, 1.0),
)
gamma = Continuous(
    "gamma",
    "a",
    lambda x, a: xlogy(a - 1, x) - x - gammaln(a),
    lambda x, a: gammainc(a, x),
    above=lambda x, a: gammaincc(a, x),
    support=_POSITIVE,
)
invgamma = Continuous(
    "invgamma",
    "a",
    lambda x, a: -(a + 1) * e.log(x) - gammaln(a) - 1 / x,
    lambda x, a: gammaincc(a, 1 / x),
    above=lambda x, a: gammainc(a, 1 / x),
    support=(np.nextafter(0, 1), math.inf),
)
chi2 = Continuous(
    "chi2",
    "df",
    lambda x, df: xlogy(df / 2 - 1, x) - x / 2 - gammaln(df / 2) - math.log(2) * df / 2,
    lambda x, df: chdtr(df, x),
    above=lambda x, df: chdtrc(df, x),
    support=_POSITIVE,
)
beta = Continuous(
    "beta",
    "a b",
    lambda x, a, b: xlogy(a - 1, x) + xlog1py(b - 1, -x) - betaln(a, b),
    lambda x, a, b: betainc(a, b, x),
    above=lambda x, a, b: betaincc(a, b, x),
    support=(0.0, 1.0),
)


def _student(x: Any, df: Any) -> Any:
    half = (df + 1) / 2
    constant = gammaln(half) - gammaln(df / 2) - e.log(df) / 2 - math.log(math.pi) / 2
    return constant - half * e.log1p(e.square(x) / df)


t = Continuous(
    "t",
    "df",
    _student,
    lambda x, df: stdtr(df, x),
    above=lambda x, df: stdtr(df, -x),
)


def _fisher(x: Any, dfn: Any, dfd: Any) -> Any:
    n, d = dfn / 2, dfd / 2
    logs = n * e.log(dfn) + d * e.log(dfd) + xlogy(n - 1, x)
    return logs - (n + d) * e.log(dfd + dfn * x) - betaln(n, d)


f = Continuous(
    "f",
    "dfn dfd",
    _fisher,
    lambda x, dfn, dfd: fdtr(dfn, dfd, x),
    above=lambda x, dfn, dfd: fdtrc(dfn, dfd, x),
    support=_POSITIVE,
)
