import numpy as np

import tapegrad as tg
from tapegrad.scipy import stats

x = np.array([1.1, 1.5, 2.0])

# %% cauchy expon gumbel_l gumbel_r halfnorm laplace logistic rayleigh uniform
stats.cauchy.logpdf(x, loc=0.2, scale=2.0)
tg.grad(lambda scale: np.sum(stats.cauchy.logpdf(x, scale=scale)))(2.0)

# %% gamma chi2 invgamma lognorm pareto t weibull_min
stats.gamma.logpdf(x, 1.5)
tg.grad(lambda a: np.sum(stats.gamma.logpdf(x, a, scale=0.3)))(1.5)

# %% beta
stats.beta.logpdf(np.array([0.2, 0.7]), 2.0, 3.0)
tg.grad(lambda a: np.sum(stats.beta.logpdf(np.array([0.2, 0.7]), a, 3.0)))(2.0)

# %% f
stats.f.logpdf(x, 4.0, 6.0), tg.grad(lambda d: np.sum(stats.f.logpdf(x, d, 6.0)))(4.0)

# %% triang
stats.triang.pdf(np.array([0.2, 0.5, 0.9]), 0.5)

# %% truncnorm
stats.truncnorm.pdf(x, 0.0, 3.0), stats.truncnorm.cdf(x, 0.0, 3.0)

# %% bernoulli geom
stats.bernoulli.pmf(np.array([0, 1]), 0.3)
tg.grad(lambda p: np.sum(stats.bernoulli.logpmf(np.array([1, 1]), p)))(0.3)

# %% binom nbinom
stats.binom.pmf(np.array([0, 1, 2]), 4, 0.3)
tg.grad(lambda p: np.sum(stats.binom.logpmf(np.array([1, 2]), 4, p)))(0.3)

# %% poisson
stats.poisson.pmf(np.array([0, 1, 2]), 1.5)
tg.grad(lambda mu: np.sum(stats.poisson.logpmf(np.array([1, 2]), mu)))(1.5)

# %% dirichlet
stats.dirichlet.logpdf(np.array([0.2, 0.8]), np.array([2.0, 3.0]))
tg.grad(lambda a: stats.dirichlet.logpdf(np.array([0.2, 0.8]), a))(np.array([2.0, 3.0]))

# %% multinomial
stats.multinomial.logpmf(np.array([2, 1]), 3, np.array([0.4, 0.6]))
tg.grad(lambda p: stats.multinomial.logpmf(np.array([2, 1]), 3, p))(np.array([0.4, 0.6]))

# %% multivariate_normal
mean, cov = np.zeros(2), np.array([[1.0, 0.3], [0.3, 1.0]])
stats.multivariate_normal.logpdf(np.array([0.5, 1.0]), mean, cov)
tg.grad(lambda mean: stats.multivariate_normal.logpdf(np.array([0.5, 1.0]), mean, cov))(mean)
