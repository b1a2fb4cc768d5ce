"""tapegrad.scipy.optimize: solutions are SciPy's, derivatives those of the implicit function."""

import numpy as np
import pytest
import scipy.optimize

from tapegrad import grad, jacobian, vjp
from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.check import check_gradients
from tapegrad.autograd.scipy import optimize

pytestmark = pytest.mark.extra

M = np.array([[3.0, 0.4], [0.2, 2.0]])
B = np.array([1.0, -0.5])


def system(x, m, b):
    return m @ x + 0.3 * np.tanh(x) - b


def listed(x, m, b):
    return [m[0, 0] * x[0] + x[1] ** 3 - b[0], m[1, 1] * x[1] - b[1] * x[0]]


def cubic(x, a, b):
    return a * x**3 + x - b


def energy(x, m, b):
    return 0.5 * np.sum(x * (m @ m.T @ x)) + np.sum(np.cosh(x)) - np.sum(b * x)


@pytest.mark.parametrize("fun", [system, listed])
@pytest.mark.parametrize("method", ["hybr", "lm"])
def test_root(fun, method):
    x0 = np.zeros(2)
    found = optimize.root(fun, x0, (M, B), method, tol=1e-13)
    assert found.success
    expected = scipy.optimize.root(fun, x0, (M, B), method, tol=1e-13).x
    np.testing.assert_allclose(found.x, expected)
    np.testing.assert_allclose(optimize.fsolve(fun, x0, (M, B)), expected)
    solved = lambda b: optimize.fsolve(fun, x0, (M, b), xtol=1e-13)  # noqa: E731
    pulled = [vjp(solved, B)[1](row) for row in np.eye(2)]
    np.testing.assert_allclose(jacobian(solved)(B), pulled)
    check_gradients(lambda m, b: optimize.root(fun, x0, (m, b), method, tol=1e-13).x, M, B, order=2)


@pytest.mark.parametrize("name", ["brentq", "brenth", "bisect", "ridder"])
def test_a_root_between(name):
    ours, theirs = getattr(optimize, name), getattr(scipy.optimize, name)
    np.testing.assert_allclose(ours(cubic, -3, 3, (0.7, 2.0)), theirs(cubic, -3, 3, (0.7, 2.0)))
    check_gradients(
        lambda a, b: ours(cubic, -3.0, 3.0, (a, b), xtol=1e-14, rtol=1e-14), 0.7, 2.0, order=3
    )


def test_newton_and_root_scalar():
    b = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(
        optimize.newton(cubic, np.ones(3), args=(0.7, b)),
        scipy.optimize.newton(cubic, np.ones(3), args=(0.7, b)),
    )
    check_gradients(
        lambda a, b: optimize.newton(cubic, np.ones(3), args=(a, b), tol=1e-13), 0.7, b, order=2
    )
    found = optimize.root_scalar(cubic, (0.7, 2.0), x0=1.0)
    assert found.converged
    np.testing.assert_allclose(cubic(found.root, 0.7, 2.0), 0, atol=1e-10)
    check_gradients(
        lambda a, b: optimize.root_scalar(cubic, (a, b), bracket=(-3, 3), xtol=1e-14).root,
        0.7, 2.0, order=2,
    )  # fmt: skip


def test_fixed_point():
    x0 = np.array([1.2, 1.3])
    args = (np.array([10.0, 12.0]), np.array([3.0, 5.0]))

    def func(x, c1, c2):
        return np.sqrt(c1 / (x + c2))

    expected = scipy.optimize.fixed_point(func, x0, args)
    np.testing.assert_allclose(optimize.fixed_point(func, x0, args), expected)
    check_gradients(
        lambda c1, c2: optimize.fixed_point(func, x0, (c1, c2), xtol=1e-13), *args, order=2
    )


def test_minimize():
    x0 = np.zeros(2)
    found = optimize.minimize(energy, x0, (M, B), tol=1e-10)
    expected = scipy.optimize.minimize(energy, x0, (M, B), tol=1e-10)
    np.testing.assert_allclose(found.x, expected.x, atol=1e-6)
    np.testing.assert_allclose(found.fun, expected.fun)

    def both(m, b):
        result = optimize.minimize(energy, x0, (m, b), "BFGS", options={"gtol": 1e-12})
        return result.x, result.fun

    check_gradients(both, M, B, order=2)


def test_minimize_scalar_and_least_squares():
    def valley(x, a):
        return np.cosh(x - a) + 0.1 * a * x**2

    found = optimize.minimize_scalar(valley, (0.7,))
    np.testing.assert_allclose(found.x, scipy.optimize.minimize_scalar(valley, args=(0.7,)).x)
    slope = grad(lambda a: optimize.minimize_scalar(valley, (a,), tol=1e-12).x)(np.float64(0.7))
    # cosh(x - a)·(dx - 1) + 0.2(x + a·dx) = 0
    steep = np.cosh(found.x - 0.7)
    np.testing.assert_allclose(slope, (steep - 0.2 * found.x) / (steep + 0.14), rtol=1e-6)

    t = np.linspace(0, 1, 5)

    def misfit(x, y):
        return x[0] * np.exp(x[1] * t) - y

    y = np.array([1.0, 1.3, 1.5, 1.9, 2.6])
    x0 = np.array([1.0, 1.0])
    expected = scipy.optimize.least_squares(misfit, x0, args=(y,)).x
    np.testing.assert_allclose(optimize.least_squares(misfit, x0, (y,)).x, expected, rtol=1e-5)
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15}
    check_gradients(lambda y: optimize.least_squares(misfit, x0, (y,), **tight).x, y, order=2)


def test_types_of_results():
    assert isinstance(optimize.brentq(cubic, -3, 3, (0.7, 2.0)), np.ndarray)
    assert isinstance(optimize.brentq(cubic, -3, 3, (Tensor(0.7), 2.0)), Tensor)
    assert optimize.brentq(cubic, -3, 3, (Parameter(np.float64(0.7)), 2)).tracked
    assert optimize.brentq(lambda x: x - 1, -3, 3) == 1


def test_what_is_tracked_and_no_argument_is_refused():
    hidden = Parameter(np.float64(2.0))
    with pytest.raises(TypeError, match="pass it in args"):
        optimize.brentq(lambda x, a: a * x - hidden, -3, 3, (1.0,))
    with pytest.raises(TypeError, match="leave bounds out"):
        optimize.minimize(energy, B, (Parameter(M), B), bounds=[(0, 1), (0, 1)])
    assert optimize.minimize(energy, B, (M, B), bounds=[(0, 1), (0, 1)]).success
    with pytest.raises(RuntimeError, match="root found no solution"):
        optimize.root(lambda x, a: x**2 + a, np.ones(1), (Parameter(np.ones(1)),))
