"""tapegrad.scipy.integrate: values are SciPy's, derivatives those of the exact solutions."""

import numpy as np
import pytest
import scipy.integrate

from tapegrad import grad
from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.check import check_gradients
from tapegrad.autograd.scipy import integrate

pytestmark = pytest.mark.extra


def wave(t, a, b):
    return np.exp(-a * t) * np.cos(b * t)


def test_quad():
    expected = scipy.integrate.quad(wave, 0.1, 2, (0.7, 3.0))
    found = integrate.quad(wave, 0.1, 2, (0.7, 3.0))
    np.testing.assert_allclose(found[0], expected[0])
    assert found[1] == expected[1]
    check_gradients(
        lambda low, high, a, b: integrate.quad(wave, low, high, (a, b))[0], 0.1, 2.0, 0.7, 3.0,
        order=2,
    )  # fmt: skip


def test_quad_to_infinity_and_of_arrays():
    rates = np.array([1.5, 2.5])

    def bell(t, a):
        return np.exp(-t * t * a[0] - a[1] * t)

    np.testing.assert_allclose(
        integrate.quad(bell, -np.inf, np.inf, (rates,))[0],
        scipy.integrate.quad(bell, -np.inf, np.inf, (rates,))[0],
    )
    check_gradients(
        lambda a: integrate.quad(bell, -np.inf, np.inf, (a,), epsabs=1e-12)[0], rates, order=2
    )
    exact = np.sqrt(np.pi / rates[0]) * np.exp(rates[1] ** 2 / (4 * rates[0])) * rates[1]
    slope = grad(lambda a: integrate.quad(bell, -np.inf, np.inf, (a,))[0])(rates)
    np.testing.assert_allclose(slope[1], exact / (2 * rates[0]), rtol=1e-8)


def test_quad_vec_and_fixed_quad():
    k = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(
        integrate.quad_vec(lambda t, k: np.sin(k * t), 0, 2, args=(k,))[0], (1 - np.cos(2 * k)) / k
    )
    check_gradients(
        lambda b, k: integrate.quad_vec(lambda t, k: np.sin(k * t), 0, b, args=(k,))[0], 2.0, k,
        order=2,
    )  # fmt: skip
    np.testing.assert_allclose(
        integrate.fixed_quad(wave, 0.1, 2, (0.7, 3.0), n=7)[0],
        scipy.integrate.fixed_quad(wave, 0.1, 2, (0.7, 3.0), n=7)[0],
    )
    check_gradients(
        lambda a, b, c: integrate.fixed_quad(wave, a, b, (c, 3.0))[0], 0.1, 2.0, 0.7, order=2
    )


def test_quad_refuses():
    hidden = Parameter(np.float64(2.0))
    with pytest.raises(TypeError, match="pass it in args"):
        integrate.quad(lambda t: t * hidden, 0, 1)
    with pytest.raises(TypeError, match="quad_vec integrates vectors"):
        integrate.quad(lambda t: np.ones(2) * t, 0, 1)


@pytest.mark.parametrize("n", [2, 3, 4, 6, 7])
@pytest.mark.parametrize("axis", [0, -1])
def test_samples(n, axis):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(n, 2) if axis == 0 else (2, n))
    x = np.cumsum(rng.uniform(0.3, 1, n))
    for name in ("simpson", "trapezoid", "cumulative_trapezoid"):
        ours, theirs = getattr(integrate, name), getattr(scipy.integrate, name)
        given = x if axis == -1 else x[:, None]
        for options in ({"x": x}, {"dx": 0.3}):
            broad = {"x": given} if "x" in options and name != "simpson" else options
            expected = theirs(y, axis=axis, **options)
            got = ours(y, axis=axis, **(options if name != "trapezoid" else broad))
            np.testing.assert_allclose(got, expected, atol=1e-14)
        check_gradients(
            lambda x, y, ours=ours: ours(y, x, axis=axis), given if name == "trapezoid" else x, y
        )


def pendulum(y, t, b, c):
    return [y[1], -b * y[1] - c * np.sin(y[0]) + 0.1 * np.cos(t)]


TIMES = np.array([0.0, 0.4, 1.1, 2.0])
START = np.array([1.2, 0.3])
TIGHT = {"rtol": 1e-12, "atol": 1e-12}


def test_odeint():
    found = integrate.odeint(pendulum, START, TIMES, (0.25, 5.0))
    np.testing.assert_allclose(
        found, scipy.integrate.odeint(pendulum, START, TIMES, (0.25, 5.0)), rtol=1e-12
    )
    check_gradients(
        lambda y0, t, b, c: integrate.odeint(pendulum, y0, t, (b, c), **TIGHT),
        START, TIMES, 0.25, 5.0,
    )  # fmt: skip
    check_gradients(
        lambda y0, b: integrate.odeint(pendulum, y0, TIMES[:2], (b, 5.0), **TIGHT), START, 0.25,
        order=2, lowest=2,
    )  # fmt: skip


def test_the_default_tolerance_is_that_of_the_gradient():
    slope = grad(lambda k: integrate.odeint(lambda y, t, k: -k * y, [1.0], [0.0, 1.0], (k,))[1, 0])
    np.testing.assert_allclose(slope(np.float64(0.8)), -np.exp(-0.8), rtol=1e-6)


def decay(t, y, rate):
    return -rate * y + np.sin(t)


@pytest.mark.parametrize("method", ["RK45", "LSODA"])
def test_solve_ivp(method):
    rate, y0 = np.array([0.5, 1.5]), np.array([1.0, 2.0])
    for t_eval in (None, np.array([0.0, 0.5, 2.0]), np.array([0.7, 1.3])):
        found = integrate.solve_ivp(decay, (0, 2), y0, method, t_eval, args=(rate,))
        expected = scipy.integrate.solve_ivp(decay, (0, 2), y0, method, t_eval, args=(rate,))
        assert found.success
        np.testing.assert_allclose(found.t, expected.t)
        np.testing.assert_allclose(found.y, expected.y, rtol=1e-10)
    end = Tensor(np.array([0.0, 2.0]))
    assert isinstance(integrate.solve_ivp(decay, (0, 2), y0, method, end, args=(rate,)).y, Tensor)
    check_gradients(
        lambda y0, rate: integrate.solve_ivp(
            decay, (0, 2), y0, method, [1.1, 2.0], args=(rate,), rtol=1e-11, atol=1e-12
        ).y,
        y0, rate,
    )  # fmt: skip


def test_solve_ivp_refuses():
    with pytest.raises(TypeError, match="give t_eval"):
        integrate.solve_ivp(decay, (0, Parameter(np.float64(2))), [1.0], args=(1.0,))
    with pytest.raises(TypeError, match="events"):
        integrate.solve_ivp(decay, (0, 1), [1.0], args=(1.0,), events=lambda t, y: y[0])
