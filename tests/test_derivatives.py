"""jvp, jacobian, hessian and what else is read off the pullback."""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad.autograd import (
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
    value, derivative = jvp(layer, (X,), (v,))
    np.testing.assert_allclose(value, layer(X))
    np.testing.assert_allclose(derivative, jacobian(layer)(X) @ v, rtol=1e-12)
    pair = jvp(lambda x, y: {"p": x * y, "s": [x + y]}, (2.0, 3.0), (1.0, 10.0))
    assert pair[1]["p"] == 23.0
    assert pair[1]["s"][0] == 11.0
    with pytest.raises(ValueError, match="directions have shapes"):
        jvp(layer, (X,), (np.ones(3),))


def test_hessian_is_symmetric_and_agrees_with_its_products() -> None:
    h = hessian(loss)(X)
    np.testing.assert_allclose(h, h.T, rtol=1e-12)
    v = RNG.normal(size=4)
    [product] = hvp(loss, (X,), (v,))
    np.testing.assert_allclose(product, h @ v, rtol=1e-12)
    step = 1e-5 * v
    numeric = (grad(loss)(X + step) - grad(loss)(X - step)) / 2e-5
    np.testing.assert_allclose(product, numeric, rtol=1e-7)


def test_elementwise_grad_and_stop_gradient() -> None:
    np.testing.assert_allclose(elementwise_grad(np.sin)(X), np.cos(X))
    assert grad(lambda x: x * stop_gradient(x))(3.0) == 3.0
    assert stop_gradient([1.0, None]) == [1.0, None]


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
