"""argnums: arguments by position and by name, alone and several, through every transformation."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.autograd import (
    Tensor,
    checkpoint,
    elementwise_grad,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    value_and_grad,
    vjp,
)

RNG = np.random.default_rng(0)
X, W, B = RNG.normal(size=3), RNG.normal(size=(2, 3)), RNG.normal(size=2)


def model(x, w, b=0.5, *, scale=1.0):
    return np.tanh(w @ x + b) * scale


def loss(x, w, b=0.5, *, scale=1.0):
    return np.sum(model(x, w, b, scale=scale) ** 2)


def by_hand():
    y = np.tanh(W @ X + B)
    slope = 2 * y * (1 - y * y)
    return {"x": W.T @ slope, "w": np.outer(slope, X), "b": slope}


# The ways to call a function with three arguments.
CALLS = [
    lambda f: f(X, W, B),
    lambda f: f(X, W, b=B),
    lambda f: f(X, b=B, w=W),
    lambda f: f(b=B, w=W, x=X),
]


@pytest.mark.parametrize("call", CALLS)
def test_names_and_positions_choose_however_the_caller_passes(call) -> None:
    expected = by_hand()
    for position, name in enumerate("xwb"):
        for argnums in name, position:
            np.testing.assert_allclose(call(grad(loss, argnums)), expected[name], rtol=1e-13)
    for argnums in ("w", "b"), (1, 2), ("w", 2), ["w", "b"]:
        found = call(grad(loss, argnums))
        assert type(found) is tuple
        np.testing.assert_allclose(found[0], expected["w"], rtol=1e-13)
        np.testing.assert_allclose(found[1], expected["b"], rtol=1e-13)
    value, [gradient] = call(value_and_grad(loss, ("x",)))
    np.testing.assert_allclose(value, np.sum(np.tanh(W @ X + B) ** 2))
    np.testing.assert_allclose(gradient, expected["x"], rtol=1e-13)


def test_keyword_only_variadic_and_positional_only_arguments() -> None:
    np.testing.assert_allclose(
        grad(loss, "scale")(X, W, B, scale=3.0), 6 * np.sum(np.tanh(W @ X + B) ** 2)
    )

    def f(a, /, *rest, k, **others):
        return a * rest[0] * k * others["z"]

    given = {"k": 5.0, "z": 7.0}
    assert grad(f, ("a", 1, "k", "z"))(2.0, 3.0, **given) == (105.0, 70.0, 42.0, 30.0)
    assert grad(f, -1)(2.0, 3.0, **given) == 70.0
    assert grad(np.sum)(X).tolist() == [1.0] * 3
    assert grad(nn.Sequential(nn.Identity(), nn.Sum()), 0)(X).tolist() == [1.0] * 3


def test_named_arguments_keep_their_structure_and_kind() -> None:
    def f(x, *, p):
        return np.sum(p["w"] @ x + p["b"][0])

    found = grad(f, "p")(X, p={"w": W, "b": [B, None]})
    np.testing.assert_array_equal(found["w"], np.stack([X, X]))
    assert found["b"][0].tolist() == [1.0, 1.0]
    assert found["b"][1] is None
    assert isinstance(grad(f, "p")(X, p={"w": Tensor(W), "b": [B]})["w"], Tensor)
    assert not isinstance(grad(f, "x")(X, p={"w": W, "b": [B]}), Tensor)


def test_the_signature_survives_and_names_work_under_nesting() -> None:
    first = grad(loss, "w")
    assert list(inspect.signature(first).parameters) == ["x", "w", "b", "scale"]

    def cubic(x, w):
        return x**3 * w**2

    assert grad(grad(cubic, "x"), "w")(2.0, w=3.0) == 72.0
    assert grad(grad(cubic, "w"), "x")(x=2.0, w=3.0) == 72.0
    assert grad(grad(grad(cubic, "x"), "x"), ("x", "w"))(2.0, 3.0) == (54.0, 72.0)
    outer = grad(lambda x, w: grad(cubic, "w")(x, w=w) * x, "x")  # a derivative inside
    assert outer(2.0, 3.0) == 4 * 8 * 6.0
    assert grad(checkpoint(cubic), "w")(2.0, w=3.0) == 48.0


# The other transformations ------------------------------------------------------------------------


def test_jacobian_by_name_and_of_several_arguments() -> None:
    by_w = jacobian(model, "w")(X, w=W, b=B)
    assert by_w.shape == (2, 2, 3)
    pair = jacobian(model, ("x", "b"))(X, W, b=B)
    slope = 1 - np.tanh(W @ X + B) ** 2
    np.testing.assert_allclose(by_w, np.einsum("i,ij,k->ijk", slope, np.eye(2), X), rtol=1e-13)
    np.testing.assert_allclose(pair[0], slope[:, None] * W, rtol=1e-13)
    np.testing.assert_allclose(pair[1], np.diag(slope), rtol=1e-13)


def test_jacobian_of_nests_is_a_nest_of_jacobians() -> None:
    def f(p, x):
        return {"y": p["w"] @ x, "s": [p["b"] * p["b"], np.sum(p["w"] @ x)]}

    found = jacobian(f)({"w": W, "b": B}, X)
    assert found["y"]["w"].shape == (2, 2, 3)
    assert not found["y"]["b"].any()
    assert found["y"]["b"].shape == (2, 2)
    np.testing.assert_array_equal(found["s"][0]["b"], np.diag(2 * B))
    assert found["s"][1]["w"].shape == (2, 3)
    both = jacobian(f, ("p", "x"))({"w": W, "b": B}, x=X)
    np.testing.assert_array_equal(both["y"][1], W)
    np.testing.assert_array_equal(both["s"][1][1], W.sum(axis=0))
    assert isinstance(jacobian(model, "x")(Tensor(X), W, B), Tensor)
    constant = jacobian(lambda x: [x, 1.0])(X)[1]
    np.testing.assert_array_equal(constant, np.zeros(3), strict=True)
    with pytest.raises(TypeError, match="returned a list with a part of type str, which is no"):
        jacobian(lambda x: [x, "1.0"])(X)


def test_hessian_blocks_agree_with_the_hessian_of_one_vector() -> None:
    def flat(v):
        return loss(v[:3], v[3:9].reshape(2, 3), v[9:])

    whole = hessian(flat)(np.concatenate([X, W.ravel(), B]))
    blocks = hessian(loss, ("x", "w", "b"))(X, w=W, b=B)
    sizes = [slice(0, 3), slice(3, 9), slice(9, 11)]
    for i, rows in enumerate(sizes):
        for j, columns in enumerate(sizes):
            expected = whole[rows, columns]
            found = blocks[i][j]
            assert found.shape == (*(X, W, B)[i].shape, *(X, W, B)[j].shape)
            np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-12)
    nest = hessian(lambda p: loss(p["x"], *p["rest"]))({"x": X, "rest": [W, B]})
    np.testing.assert_allclose(nest["x"]["rest"][0], blocks[0][1], atol=1e-13)
    np.testing.assert_allclose(nest["rest"][1]["x"], blocks[2][0], atol=1e-13)
    np.testing.assert_allclose(hessian(loss, "b")(X, W, b=B), blocks[2][2], atol=1e-13)


def test_elementwise_grad_vjp_jvp_and_hvp_by_name() -> None:
    np.testing.assert_allclose(
        elementwise_grad(lambda k, x: np.sin(k * x), "x")(2.0, x=X), 2 * np.cos(2 * X)
    )
    v = RNG.normal(size=2)
    rows = jacobian(model, ("x", "w"))(X, W, B)
    value, pull = vjp(model, (X,), argnums=("w", "x"), b=B, w=W)
    np.testing.assert_allclose(value, model(X, W, B))
    np.testing.assert_allclose(pull(v)[0], np.tensordot(v, rows[1], 1), rtol=1e-12)
    np.testing.assert_allclose(pull(v)[1], v @ rows[0], rtol=1e-12)
    np.testing.assert_allclose(vjp(model, (X, W), b=B, argnums="x")[1](v), v @ rows[0], rtol=1e-12)
    assert len(vjp(model, (X, W), b=B)[1](v)) == 2

    named = {"w": W, "x": X, "b": B}
    along = {"b": RNG.normal(size=2), "x": RNG.normal(size=3), "w": RNG.normal(size=(2, 3))}
    value, derivative = jvp(model, named, along)
    by_position = jvp(model, (X, W, B), (along["x"], along["w"], along["b"]))
    np.testing.assert_allclose(derivative, by_position[1], rtol=1e-13)
    product = hvp(loss, named, along)
    expected = hvp(loss, (X, W, B), (along["x"], along["w"], along["b"]))
    assert list(product) == ["w", "x", "b"]
    for name, e in zip("xwb", expected, strict=True):
        np.testing.assert_allclose(product[name], e, rtol=1e-12)


# Bad input ----------------------------------------------------------------------------------------


def test_what_is_not_there_is_named_with_what_is() -> None:
    with pytest.raises(
        TypeError, match=r"argnums='v': loss has no argument 'v'; it has x, w, b, sc"
    ):
        grad(loss, "v")(X, W)
    with pytest.raises(TypeError, match=r"loss was called without 'b'; it was given 2 arguments"):
        grad(loss, ("w", "b"))(X, W)
    with pytest.raises(TypeError, match=r"without 'scale'; it was given 1 argument .* and w by na"):
        jacobian(loss, "scale")(X, w=W)
    with pytest.raises(TypeError, match=r"argnums=5: loss was called without argument number 5"):
        grad(loss, 5)(X, W)
    with pytest.raises(TypeError, match=r"argnums=\('w', 1\) names an argument of loss twice"):
        hessian(loss, ("w", 1))(X, W)
    with pytest.raises(TypeError, match="argument w of loss holds int64"):
        grad(loss, "w")(X, w=np.ones((2, 3), int))
    with pytest.raises(TypeError, match="argument 1 of loss holds int64"):
        grad(loss, 1)(X, np.ones((2, 3), int))
    for wrong in 1.5, None, (0, None), True:
        with pytest.raises(TypeError, match="give the position or the name of an argument of loss"):
            grad(loss, wrong)
