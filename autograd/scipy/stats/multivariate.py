"""The multivariate normal, Dirichlet's, and the multinomial distribution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.linalg import trace
from tapegrad.autograd.ops.matrices.factorizations import cholesky
from tapegrad.autograd.ops.matrices.solving import solve
from tapegrad.autograd.ops.special import digamma, gammaln, xlogy

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Operand

__all__ = ["dirichlet", "multinomial", "multivariate_normal"]


class MultivariateNormal:
    """The normal distribution of vectors of k entries, with a positive definite covariance."""

    def logpdf(self, x: Operand, mean: Operand = 0.0, cov: Operand = 1.0) -> Tensor:
        """The logarithm of the density.  x (…, k), mean (k,), cov (k, k), (k,) or () -> (…).

        Vectors of one entry may be numbers; a vector of covariances is a diagonal.
        """
        x, mean, cov = as_operand(x), as_operand(mean), as_operand(cov)
        k = max(*(np.shape(a)[-1] if np.ndim(a) else 1 for a in (mean, cov)), 1)
        if k == 1 and len(x.shape) < 2 and np.ndim(mean) == 0:
            x = s.reshape(x, (*x.shape, 1))  # numbers, each a vector of one entry
        elif np.ndim(mean) == 0 and np.ndim(cov) == 0:
            k = int(x.shape[-1])
        if len(cov.shape) < 2:
            cov = cov * np.eye(k)
        return self._of(x - mean, cov, k)

    def _of(self, deviation: Any, cov: Any, k: int) -> Any:
        lower = cholesky(cov)
        rows = s.reshape(deviation, (-1, k))
        white = solve(lower, s.transpose(rows))
        squares = s.reshape(r.sum(e.square(white), axis=0), deviation.shape[:-1])
        determinant = 2 * trace(e.log(lower * np.eye(k) + (1 - np.eye(k))) * np.eye(k))
        return (squares + determinant + k * math.log(math.tau)) * -0.5

    def pdf(self, x: Operand, mean: Operand = 0.0, cov: Operand = 1.0) -> Tensor:
        """The density; see `logpdf`."""
        return e.exp(self.logpdf(x, mean, cov))

    def entropy(self, mean: Operand = 0.0, cov: Operand = 1.0) -> Tensor:
        """The differential entropy, a number."""
        cov = as_operand(cov)
        k = int(cov.shape[-1]) if len(cov.shape) else max(int(np.size(mean)), 1)
        if len(cov.shape) < 2:
            cov = cov * np.eye(k)
        return self._of(np.zeros(k), cov, k) * -1 + k / 2


class Dirichlet:
    """Dirichlet's distribution of k positive numbers whose sum is 1."""

    def logpdf(self, x: Operand, alpha: Operand) -> Tensor:
        """The logarithm of the density.  x (k, …) or (k - 1, …), alpha (k,) -> (…).

        Where x has one entry less than alpha, the last one is what is missing to 1.
        """
        x, alpha = as_operand(x), as_operand(alpha)
        if x.shape[0] == alpha.shape[0] - 1:
            x = s.concatenate([x, 1 - r.sum(x, axis=0, keepdims=True)], axis=0)
        if x.shape[0] != alpha.shape[0]:
            raise ValueError(f"dirichlet: x has {x.shape[0]} entries, alpha {alpha.shape[0]}")
        weights = s.reshape(alpha, (-1, *(1,) * (len(x.shape) - 1)))
        constant = gammaln(r.sum(alpha)) - r.sum(gammaln(alpha))
        return constant + r.sum(xlogy(weights - 1, x), axis=0)

    def pdf(self, x: Operand, alpha: Operand) -> Tensor:
        """The density; see `logpdf`."""
        return e.exp(self.logpdf(x, alpha))

    def mean(self, alpha: Operand) -> Tensor:
        """The mean, (k,) -> (k,)."""
        alpha = as_operand(alpha)
        return alpha / r.sum(alpha)

    def entropy(self, alpha: Operand) -> Tensor:
        """The differential entropy, (k,) -> ()."""
        alpha = as_operand(alpha)
        total = r.sum(alpha)
        logs = r.sum(gammaln(alpha)) - gammaln(total)
        inner = r.sum((alpha - 1) * digamma(alpha))
        return logs + (total - alpha.shape[0]) * digamma(total) - inner


class Multinomial:
    """The multinomial distribution of k counts whose sum is n."""

    def logpmf(self, x: Operand, n: Operand, p: Operand) -> Tensor:
        """The logarithm of P(X = x).  x (…, k), counts that sum to n; p (k,) -> (…)."""
        x = as_operand(x)
        counts = r.sum(x, axis=-1)
        y = gammaln(as_operand(n) + 1.0) + r.sum(xlogy(x, p) - gammaln(x + 1.0), axis=-1)
        return e.where(e.equal(counts, n), y, -np.inf)

    def pmf(self, x: Operand, n: Operand, p: Operand) -> Tensor:
        """P(X = x); see `logpmf`."""
        return e.exp(self.logpmf(x, n, p))


multivariate_normal = MultivariateNormal()
dirichlet = Dirichlet()
multinomial = Multinomial()
