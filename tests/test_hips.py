"""tapegrad.hips: HIPS autograd's names do what they did there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tapegrad import hips

PAGE = Path(__file__).resolve().parents[1] / "docs" / "hips.md"
W = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])


def f(x):
    return np.tanh(W @ x)


def test_products_with_vectors():
    x, v, u = np.array([0.3, -0.1, 0.7]), np.array([1.0, 2.0, -1.0]), np.array([0.5, -1.5])
    jacobian = hips.jacobian(f)(x)
    pull, y = hips.make_vjp(f)(x)
    np.testing.assert_allclose(pull(u), u @ jacobian)
    np.testing.assert_allclose(y, f(x))
    y, push = hips.make_jvp(f)(x)(v)
    np.testing.assert_allclose(push, jacobian @ v)
    np.testing.assert_allclose(y, f(x))
    second = hips.hessian(lambda x: np.sum(f(x) ** 2))(x)
    times, slope = hips.make_hvp(lambda x: np.sum(f(x) ** 2))(x)
    np.testing.assert_allclose(times(v), second @ v)
    np.testing.assert_allclose(slope, hips.grad(lambda x: np.sum(f(x) ** 2))(x))
    product = hips.hessian_vector_product(lambda x, y: np.sum(f(x) ** 2) * y, 0)
    np.testing.assert_allclose(product(x, 2.0, v), 2 * second @ v)


def test_defvjp_declares_the_rules_of_a_primitive():
    @hips.primitive
    def logsum(x, y):
        return np.log(np.sum(np.exp(x))) * y

    hips.defvjp(
        logsum,
        lambda ans, x, y: lambda g: g * y * np.exp(x - ans / y),
        lambda ans, x, y: lambda g: g * ans / y,
    )
    x = np.array([0.1, 0.7, -2.0])
    slope = np.exp(x) / np.sum(np.exp(x))
    np.testing.assert_allclose(hips.grad(logsum)(x, 2.0), 2 * slope)
    np.testing.assert_allclose(hips.grad(logsum, 1)(x, 2.0), np.log(np.sum(np.exp(x))))
    alone = hips.primitive(lambda x, n: x**n)
    hips.defvjp(alone, lambda ans, x, n: lambda g: g * n * x ** (n - 1), argnums=(0,))
    np.testing.assert_allclose(hips.grad(alone)(3.0, 2), 6)
    with pytest.raises(TypeError, match="makers for the arguments x, n"):
        hips.defvjp(alone, None, None, None)


def test_flatten_and_back():
    value = {"w": [W, np.array(2.0)], "b": (np.arange(3.0),)}
    vector, unflatten = hips.flatten(value)
    assert vector.shape == (10,)
    again = unflatten(vector * 2)
    assert type(again["b"]) is tuple
    np.testing.assert_array_equal(again["w"][0], W * 2)
    np.testing.assert_array_equal(again["w"][1], 4)
    of_vector, unflatten, start = hips.flatten_func(lambda p: p["b"][0] * p["w"][1], value)
    np.testing.assert_array_equal(of_vector(start), value["b"][0] * 2)
    slope = hips.grad(lambda v: np.sum(of_vector(v)))(start)
    np.testing.assert_array_equal(unflatten(slope)["b"][0], [2, 2, 2])


@pytest.mark.parametrize("optimizer", [hips.sgd, hips.rmsprop, hips.adam])
def test_the_small_optimizers_descend(optimizer):
    seen = []

    def loss(p, i):
        return np.sum((p["x"] - 3) ** 2) + p["y"] ** 2

    found = optimizer(
        hips.grad(loss),
        {"x": np.zeros(2), "y": np.array(1.0)},
        callback=lambda p, i, g: seen.append(i),
        num_iters=400,
        step_size=0.05,
    )
    assert seen == list(range(400))
    np.testing.assert_allclose(found["x"], [3, 3], atol=0.05)
    np.testing.assert_allclose(found["y"], 0, atol=0.05)


def test_the_page_names_every_function():
    page = PAGE.read_text(encoding="utf-8")
    assert set(hips.__all__) <= set(re.findall(r"`(?:hips\.)?(\w+)", page))
