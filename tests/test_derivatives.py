"""jvp, jacobian, hessian and what else is read off the pullback."""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad.autograd import (
    Parameter,
    Tensor,
    custom_vjp,
    elementwise_grad,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    replay,
    stop_gradient,
    vmap,
)

RNG = np.random.default_rng(0)
W = RNG.normal(size=(3, 4))
X = RNG.normal(size=4)


def layer(x):
    return np.tanh(W @ x)


def loss(x):
    return np.sum(np.exp(layer(x)))


def test_jacobian_has_the_shape_of_result_and_argument() -> None:
    expected = (1 - np.tanh(W @ X) ** 2)[:, None] * W
    got = jacobian(layer)(X)
    assert type(got) is np.ndarray
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    batch = jacobian(lambda x: x * x)(np.ones((2, 3)))
    assert batch.shape == (2, 3, 2, 3)
    assert isinstance(jacobian(layer)(Tensor(X)), Tensor)
    np.testing.assert_allclose(jacobian(lambda a, x: layer(x) * a, 1)(2.0, X), 2 * expected)
    assert jacobian(lambda x: x)(np.zeros(0)).shape == (0, 0)


def test_jvp_is_the_jacobian_times_the_direction() -> None:
    v = RNG.normal(size=4)
    value, derivative = jvp(layer, X, v)
    np.testing.assert_allclose(value, layer(X))
    np.testing.assert_allclose(derivative, jacobian(layer)(X) @ v, rtol=1e-12)
    pair = jvp(lambda x, y: {"p": x * y, "s": [x + y]}, (2.0, 3.0), (1.0, 10.0))
    assert pair[1]["p"] == 23.0
    assert pair[1]["s"][0] == 11.0
    with pytest.raises(ValueError, match="tangents holds the shapes"):
        jvp(layer, X, np.ones(3))


def test_hessian_is_symmetric_and_agrees_with_its_products() -> None:
    h = hessian(loss)(X)
    np.testing.assert_allclose(h, h.T, rtol=1e-12)
    v = RNG.normal(size=4)
    product = hvp(loss, X, v)
    np.testing.assert_allclose(product, h @ v, rtol=1e-12)
    step = 1e-5 * v
    numeric = (grad(loss)(X + step) - grad(loss)(X - step)) / 2e-5
    np.testing.assert_allclose(product, numeric, rtol=1e-7)


def test_elementwise_grad_and_stop_gradient() -> None:
    np.testing.assert_allclose(elementwise_grad(np.sin)(X), np.cos(X))
    assert grad(lambda x: x * stop_gradient(x))(3.0) == 3.0
    assert stop_gradient([1.0, None]) == [1.0, None]


def test_custom_vjp_takes_arguments_of_any_name() -> None:
    f = custom_vjp(lambda x, y: x * y * y)
    f.vjp(x=lambda g, y: g * y * y, y=lambda g, x, y, y_shape: g * 2 * x * y * (len(y_shape) + 1))
    x, y = np.array(3.0), np.array(2.0)
    assert float(f(x, y)) == float(f(x=x, y=y)) == 12
    assert [float(s) for s in grad(f, (0, 1))(x, y)] == [4, 12]
    assert float(grad(lambda y: f(y=y, x=x))(y)) == 12
    assert float(grad(grad(lambda y: f(x, y)))(y)) == 6

    @custom_vjp
    def product(g, out, xp, y):
        """g · out · xp · y."""
        return g * out * xp * y

    @product.joint_vjp("g", "out")
    def both(g, g_, out):
        return g * out * 35, g * g_ * 35

    product.vjp(xp=None, y=lambda g, y, result: g * result / y)
    slopes = grad(product, (0, 1, 3))(2.0, 3.0, 5.0, 7.0)
    assert [float(s) for s in slopes] == [105, 70, 30]

    product.batch(lambda g, out, xp, y: g * out * xp * y)
    found = vmap(product)(np.ones(2), np.arange(2.0), np.ones(2), np.ones(2))
    np.testing.assert_array_equal(found, [0, 1])


def test_custom_vjp_replaces_the_derivative_at_every_order() -> None:
    reversal = custom_vjp(lambda x: x * 1)
    reversal.vjp(x=lambda g: -g)
    assert grad(lambda x: reversal(x * x))(3.0) == -6.0
    cube = custom_vjp(lambda x: x * x * x)
    cube.vjp(x=lambda g, x: 3 * g * x * x)
    assert grad(grad(cube))(2.0) == 12.0
    run = replay(cube)
    for _ in range(4):
        assert run(np.array([2.0])).numpy() == [8.0]
    with pytest.raises(TypeError, match="nothing about x"):
        custom_vjp(lambda x: x)(np.ones(1))


# Complex numbers ----------------------------------------------------------------------------------

Z = RNG.normal(size=3) + 1j * RNG.normal(size=3)
V = RNG.normal(size=3) + 1j * RNG.normal(size=3)
M = RNG.normal(size=(2, 3)) + 1j * RNG.normal(size=(2, 3))


def bent(z):
    """Not holomorphic: phases, conjugates, parts."""
    return np.sign(M @ z) * np.conj(z[:2]) + np.abs(z[1:]) * np.real(z[:2])


def test_jvp_of_complex_functions_needs_no_holomorphy() -> None:
    value, derivative = jvp(bent, Z, V)
    np.testing.assert_allclose(value, bent(Z))
    h = 1e-6
    np.testing.assert_allclose(derivative, (bent(Z + h * V) - bent(Z - h * V)) / (2 * h), rtol=1e-7)


def test_hvp_of_complex_arguments_is_how_the_gradient_changes() -> None:
    def size(z):
        return np.sum(np.abs(bent(z)) ** 3) + np.real(np.prod(z))

    h = 1e-6
    product = hvp(size, Z, V)
    numeric = (grad(size)(Z + h * V) - grad(size)(Z - h * V)) / (2 * h)
    np.testing.assert_allclose(product, numeric, rtol=1e-6)


def test_jacobian_and_hessian_of_holomorphic_functions_are_complex_derivatives() -> None:
    np.testing.assert_allclose(
        jacobian(lambda z: np.exp(M @ z))(Z), np.exp(M @ Z)[:, None] * M, rtol=1e-12
    )
    np.testing.assert_allclose(
        grad(lambda z: np.exp(z[0] * z[1]))(Z)[0], Z[1] * np.exp(Z[0] * Z[1])
    )
    np.testing.assert_allclose(hessian(lambda z: np.sum(z**3))(Z), np.diag(6 * Z), atol=1e-14)


def test_jacobian_of_a_complex_function_of_real_numbers_is_complex() -> None:
    got = jacobian(lambda x: np.exp(1j * x))(X)
    np.testing.assert_allclose(got, np.diag(1j * np.exp(1j * X)), atol=1e-15)
    spectrum = jacobian(np.fft.fft)(X)
    np.testing.assert_allclose(spectrum, np.fft.fft(np.eye(4)), atol=1e-15)
    assert isinstance(jacobian(np.fft.fft)(Tensor(X)), Tensor)


def test_sign_of_complex_numbers_has_a_derivative_and_of_real_ones_has_none() -> None:
    def turned(z):
        return np.sum(np.real(np.sign(z) * np.array([1 + 2j, 3j, -1.0])))

    g = grad(turned)(Z)
    h = 1e-6
    np.testing.assert_allclose(
        np.sum(g * V).real, (turned(Tensor(Z + h * V)) - turned(Tensor(Z - h * V))).item() / (2 * h)
    )
    assert np.abs(np.real(g * Z)).max() < 1e-15  # along the ray it is flat
    assert not np.sign(Parameter(X)).tracked
    # at 0 it is taken as 0, to every order
    assert grad(lambda z: np.sum(np.abs(z)))(np.zeros(2, complex)).tolist() == [0, 0]
    assert grad(turned)(np.zeros(3, complex)).tolist() == [0, 0, 0]


def test_the_second_derivative_of_a_complex_modulus_is_right() -> None:
    """|z| has curvature 1/|z| across its ray and none along it."""
    z = np.array([3 - 4j])
    for direction, curvature in ((z, 0.0), (1j * z, 5.0)):
        product = hvp(lambda z: np.sum(np.abs(z)), z, direction)
        assert abs(np.sum(product * direction).real - curvature) < 1e-14


def test_derivatives_by_an_order_are_refused_not_dropped() -> None:
    import scipy.special

    for name in ("iv", "jv", "kv", "yv", "gammainc", "gammaincc"):
        function = getattr(scipy.special, name)
        with pytest.raises(TypeError, match="with respect to its order"):
            grad(lambda order, f=function: f(order, 1.5))(2.0)
        np.testing.assert_allclose(
            grad(lambda x, f=function: f(Parameter(2.0), x))(1.5).numpy(),
            grad(lambda x, f=function: f(2.0, x))(1.5),
        )
