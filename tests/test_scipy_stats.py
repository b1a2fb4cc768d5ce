"""tapegrad.scipy.stats: values are SciPy's, derivatives those of the values."""

import numpy as np
import pytest
import scipy.stats

from tapegrad import grad
from tapegrad.autograd import Parameter
from tapegrad.autograd.check import check_gradients
from tapegrad.autograd.scipy import stats

pytestmark = pytest.mark.extra

X = np.array([0.3, 0.85, 1.7])
# The shapes, and a point of the standard support at which to stand.
CONTINUOUS = {
    "beta": ((2.3, 1.4), [0.2, 0.5, 0.8]),
    "cauchy": ((), X),
    "chi2": ((3.5,), X),
    "expon": ((), X),
    "f": ((3.5, 4.2), X),
    "gamma": ((2.3,), X),
    "gumbel_l": ((), X - 1),
    "gumbel_r": ((), X - 1),
    "halfnorm": ((), X),
    "invgamma": ((2.3,), X),
    "laplace": ((), X - 1),
    "logistic": ((), X - 1),
    "lognorm": ((0.7,), X),
    "norm": ((), X - 1),
    "pareto": ((2.3,), X + 1),
    "rayleigh": ((), X),
    "t": ((3.5,), X - 1),
    "triang": ((0.4,), [0.2, 0.5, 0.8]),
    "truncnorm": ((-0.8, 1.9), X - 0.7),
    "uniform": ((), [0.2, 0.5, 0.8]),
    "weibull_min": ((2.3,), X),
}
DISCRETE = {
    "bernoulli": ((0.3,), [0, 1]),
    "binom": ((5, 0.3), [0, 2, 5]),
    "geom": ((0.3,), [1, 2, 5]),
    "nbinom": ((4, 0.3), [0, 2, 5]),
    "poisson": ((2.3,), [0, 2, 5]),
}
TAILS = ("cdf", "sf", "logcdf", "logsf")
LOC, SCALE = 0.4, 1.3
# Functions whose shapes have no known derivative.
OF_SHAPES = {"beta", "chi2", "f", "gamma", "invgamma", "t"}


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("function", ["pdf", "logpdf", *TAILS])
def test_continuous_distributions(name, function):
    shapes, standard = CONTINUOUS[name]
    ours, theirs = (getattr(getattr(room, name), function) for room in (stats, scipy.stats))
    x = np.asarray(standard) * SCALE + LOC
    everywhere = np.concatenate([x, [-3.0, LOC, 5.0, 30.0]])
    with np.errstate(all="ignore"):
        expected = theirs(everywhere, *shapes, LOC, SCALE)
        found = ours(everywhere, *shapes, loc=LOC, scale=SCALE)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(ours(np.asarray(standard), *shapes), theirs(standard, *shapes))
    if name in OF_SHAPES and function in TAILS:
        check_gradients(lambda x, a, b: ours(x, *shapes, a, b), x, LOC, SCALE, order=2)
        with pytest.raises(TypeError, match="not known"):
            grad(lambda a: ours(x, a, *shapes[1:]).sum())(np.float64(shapes[0]))
    else:
        check_gradients(ours, x, *shapes, LOC, SCALE, order=2)


@pytest.mark.parametrize("name", DISCRETE)
@pytest.mark.parametrize("function", ["pmf", "logpmf", *TAILS])
def test_discrete_distributions(name, function):
    shapes, k = DISCRETE[name]
    ours, theirs = (getattr(getattr(room, name), function) for room in (stats, scipy.stats))
    everywhere = np.array([*k, -1, 3, 7, 0])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(
            ours(everywhere, *shapes), theirs(everywhere, *shapes), rtol=1e-11, atol=1e-14
        )
        halves = everywhere + 0.5
        np.testing.assert_allclose(
            ours(halves, *shapes), theirs(halves, *shapes), rtol=1e-11, atol=1e-14
        )
    np.testing.assert_allclose(ours(everywhere, *shapes, loc=1), theirs(everywhere, *shapes, 1))
    k = np.array(k)
    if function not in ("logcdf", "logsf"):
        check_gradients(lambda p: ours(k, *shapes[:-1], p), shapes[-1], order=2)
    with pytest.raises(TypeError, match="whole numbers"):
        ours(Parameter(np.array(k, float)), *shapes)


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="gamma take x, a, loc and scale, and not x"):
        stats.gamma.pdf(1.0)
    with pytest.raises(TypeError, match="norm take x, loc and scale"):
        stats.norm.cdf(1.0, mean=3)


def test_the_gradient_outside_of_the_support_is_zero():
    for function in (stats.gamma.pdf, stats.gamma.cdf, stats.gamma.sf):
        slope = grad(lambda x, function=function: function(x, 2.3).sum())(np.array([-1.0, -5.0]))
        np.testing.assert_array_equal(slope, 0)


def test_the_tails_keep_their_digits():
    x = np.array([-40.0, 40.0])
    np.testing.assert_allclose(stats.norm.logcdf(x), scipy.stats.norm.logcdf(x))
    np.testing.assert_allclose(stats.norm.logsf(x), scipy.stats.norm.logsf(x))
    np.testing.assert_allclose(grad(lambda x: stats.norm.logcdf(x).sum())(x)[0], 40, rtol=1e-3)


COV = np.array([[1.0, 0.3, 0.1], [0.3, 2.0, -0.2], [0.1, -0.2, 1.5]])
MEAN = np.array([0.2, -0.3, 1.0])


@pytest.mark.parametrize(
    ("x", "mean", "cov"),
    [
        (np.array([[0.1, 0.5, 0.2], [1.0, 0.0, 2.0]]), MEAN, COV),
        (np.array([0.1, 0.5, 0.2]), MEAN, 1.7),
        (np.array([0.1, 0.5, 0.2]), 0.0, np.array([1.0, 2.0, 0.5])),
        (np.array([0.1, 0.5]), 0.3, 1.7),
    ],
)
def test_multivariate_normal(x, mean, cov):
    if np.ndim(mean) == 0 and np.ndim(cov) == 1:
        mean = np.zeros(3)
    expected = scipy.stats.multivariate_normal.logpdf(x, mean, cov)
    np.testing.assert_allclose(stats.multivariate_normal.logpdf(x, mean, cov), expected)
    density = stats.multivariate_normal.pdf(x, mean, cov)
    np.testing.assert_allclose(density, scipy.stats.multivariate_normal.pdf(x, mean, cov))

    def of_symmetric(x, mean, cov):
        if np.ndim(cov) == 2:
            cov = (cov + np.transpose(cov)) / 2
        return stats.multivariate_normal.logpdf(x, mean, cov)

    check_gradients(of_symmetric, x, mean, cov, order=2)
    if np.ndim(cov) == 2:
        entropy = stats.multivariate_normal.entropy(mean, cov)
        np.testing.assert_allclose(entropy, scipy.stats.multivariate_normal.entropy(mean, cov))


def test_dirichlet():
    alpha, x = np.array([0.7, 2.0, 1.4]), np.array([0.2, 0.5, 0.3])
    points = np.array([[0.2, 0.1], [0.5, 0.3], [0.3, 0.6]])
    for given in (x, x[:2], points):
        expected = scipy.stats.dirichlet.logpdf(given, alpha)
        np.testing.assert_allclose(stats.dirichlet.logpdf(given, alpha), expected)
    np.testing.assert_allclose(stats.dirichlet.pdf(x, alpha), scipy.stats.dirichlet.pdf(x, alpha))
    np.testing.assert_allclose(stats.dirichlet.mean(alpha), scipy.stats.dirichlet.mean(alpha))
    entropy = scipy.stats.dirichlet.entropy(alpha)
    np.testing.assert_allclose(stats.dirichlet.entropy(alpha), entropy)
    check_gradients(stats.dirichlet.logpdf, x[:2], alpha, order=2)
    check_gradients(stats.dirichlet.entropy, alpha, order=2)
    with pytest.raises(ValueError, match="x has 5 entries, alpha 3"):
        stats.dirichlet.logpdf(np.ones(5), alpha)


def test_multinomial():
    x, p = np.array([[2, 1, 1], [0, 4, 0]]), np.array([0.2, 0.5, 0.3])
    np.testing.assert_allclose(stats.multinomial.pmf(x, 4, p), scipy.stats.multinomial.pmf(x, 4, p))
    check_gradients(lambda p: stats.multinomial.logpmf(x, 4, p), p, order=2)
