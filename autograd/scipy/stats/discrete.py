"""The discrete distributions of scipy.stats that are used most."""

from __future__ import annotations

import math
from typing import Any

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.special import gammaln, xlog1py, xlogy
from tapegrad.autograd.scipy.stats.distribution import Discrete
from tapegrad.autograd.scipy.ufuncs.probability import bdtr, bdtrc, nbdtr, nbdtrc, pdtr, pdtrc

__all__ = ["bernoulli", "binom", "geom", "nbinom", "poisson"]


def _choices(n: Any, k: Any) -> Any:
    """log n! / (k! (n - k)!)."""
    return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)


bernoulli = Discrete(
    "bernoulli",
    "p",
    lambda k, p: xlogy(k, p) + xlog1py(1 - k, -p),
    lambda k, p: e.where(e.less(k, 1), 1 - p, 1.0),
    above=lambda k, p: e.where(e.less(k, 1), p, 0.0),
    support=(0.0, 1.0),
    inside=0.0,
)
binom = Discrete(
    "binom",
    "n p",
    lambda k, n, p: _choices(n, k) + xlogy(k, p) + xlog1py(n - k, -p),
    lambda k, n, p: bdtr(e.floor(k), n, p),
    above=lambda k, n, p: bdtrc(e.floor(k), n, p),
    support=(0.0, lambda n, _p: n),
    inside=0.0,
)
poisson = Discrete(
    "poisson",
    "mu",
    lambda k, mu: xlogy(k, mu) - gammaln(k + 1.0) - mu,
    lambda k, mu: pdtr(e.floor(k), mu),
    above=lambda k, mu: pdtrc(e.floor(k), mu),
    support=(0.0, math.inf),
    inside=0.0,
)
geom = Discrete(
    "geom",
    "p",
    lambda k, p: xlog1py(k - 1, -p) + e.log(p),
    lambda k, p: -e.expm1(e.floor(k) * e.log1p(-p)),
    above=lambda k, p: e.exp(e.floor(k) * e.log1p(-p)),
    log_above=lambda k, p: e.floor(k) * e.log1p(-p),
    support=(1.0, math.inf),
    inside=1.0,
)
nbinom = Discrete(
    "nbinom",
    "n p",
    lambda k, n, p: _choices(k + n - 1, k) + n * e.log(p) + xlog1py(k, -p),
    lambda k, n, p: nbdtr(e.floor(k), n, p),
    above=lambda k, n, p: nbdtrc(e.floor(k), n, p),
    support=(0.0, math.inf),
    inside=0.0,
)
