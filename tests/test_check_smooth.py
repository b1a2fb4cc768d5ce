"""A function of smooth operations alone has one gradient, at 0 too; a mask may choose."""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad.autograd.check import LawError, check_jax, check_torch, check_vjp
from tapegrad.autograd.check.frameworks.smooth import (
    is_smooth_jax,
    is_smooth_numpy,
    is_smooth_torch,
)

GRADIENT = "its_gradient_is_the_derivative"
POINT = np.array([[0.0, 1.5, -2.0], [3.0, 0.0, 1.0]])

SMOOTH = {
    "a ufunc": np.arctan,
    "products": lambda x: np.prod(x, -1),
    "methods": lambda x: x.T.dot(x).sum(0).mean(),
    "a whole power": lambda x: x**2,
    "softmax without a maximum": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "several results": lambda x: [np.sin(x), x[0]],
    "joined": lambda x: np.concatenate([x, 2 * x]),
}
DOUBTFUL = {
    "a mask": lambda x: x * (x != 0),
    "a mask of a copy": lambda x: x * (np.asarray(x) != 0),
    "numbers made of a copy": lambda x: x * (np.asarray(x) != 0).astype(float),
    "pieces": lambda x: np.maximum(x, 0) - np.maximum(-x, 0),
    "a choice": lambda x: np.where(x > 0, x, x),
    "a branch": lambda x: 2 * x if x[0, 1] > 0 else 2.0 * x,
    "a branch on a number": lambda x: 2 * x if float(x[0, 1]) > 0 else 2.0 * x,
    "a root": np.sqrt,
    "a power": lambda x: x**1.5,
    "an order": lambda x: x[np.arange(2), x.argmax(-1)],
    "what is not seen": lambda x: 2 * np.array(x),
    "an error": lambda x: x @ x,
}


@pytest.mark.parametrize("what", SMOOTH)
def test_numpy_of_smooth_operations_is_smooth(what):
    assert is_smooth_numpy(SMOOTH[what], [POINT])


@pytest.mark.parametrize("what", DOUBTFUL)
def test_numpy_with_a_doubt_is_not(what):
    with np.errstate(invalid="ignore"):
        assert not is_smooth_numpy(DOUBTFUL[what], [POINT])


def test_a_gradient_that_is_wrong_at_zero_only_is_found():
    def rule(g, x):
        return g * (x != 0) / (1 + x * x)

    with pytest.raises(LawError, match="at the tied point"):
        check_vjp(np.arctan, rule, "N C", law=GRADIENT)


def test_a_product_by_division_is_found():
    def rule(g, x):
        whole = g[..., None] * np.prod(x, -1, keepdims=True)
        return np.where(x == 0, 0, whole / np.where(x == 0, 1, x))

    with pytest.raises(LawError, match="at the tied point"):
        check_vjp(lambda x: np.prod(x, -1), rule, "N C", law=GRADIENT)


def test_a_mask_and_pieces_with_the_gradient_zero_at_zero_are_not_accused():
    def rule(g, x):
        return g * (x != 0)

    assert check_vjp(lambda x: x * (x != 0), rule, "N C", law=GRADIENT).ok
    assert check_vjp(DOUBTFUL["pieces"], rule, "N C", law=GRADIENT).ok


@pytest.mark.extra
def test_torch_sees_what_a_function_of_its_own_calls():
    torch = pytest.importorskip("torch")

    class Arctangent(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.atan()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * (x != 0) / (1 + x * x)

    class Masked(Arctangent):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(0 * x)
            return x * (x != 0)

        @staticmethod
        def backward(ctx, g):
            return g

    x = torch.tensor(POINT)
    smooth = [Arctangent.apply, torch.nn.Linear(3, 2).double(), torch.nn.Softmax(-1), torch.prod]
    doubtful = [
        Masked.apply, lambda x: x.relu() - (-x).relu(), torch.sqrt, torch.sinc,
        lambda x: x if x[0, 1] > 0 else 2 * x,
    ]  # fmt: skip
    assert all(is_smooth_torch(torch, function, [x]) for function in smooth)
    assert not any(is_smooth_torch(torch, function, [x]) for function in doubtful)
    with pytest.raises(LawError, match="at the tied point"):
        check_torch(Arctangent, "N C", law=GRADIENT)
    assert check_torch(lambda x: x.relu() - (-x).relu(), "N C", law=GRADIENT).ok


@pytest.mark.extra
def test_jax_sees_what_a_function_of_its_own_calls():
    jax = pytest.importorskip("jax")

    @jax.custom_vjp
    def arctangent(x):
        return jax.numpy.arctan(x)

    def rule(x, g):
        return (g * (x != 0) / (1 + x * x),)

    arctangent.defvjp(lambda x: (arctangent(x), x), rule)
    with jax.enable_x64(True):
        assert is_smooth_jax(jax, arctangent, [POINT])
        assert is_smooth_jax(jax, jax.jit(arctangent), [POINT])
        assert not is_smooth_jax(jax, lambda x: jax.numpy.where(x > 0, x, x), [POINT])
        assert not is_smooth_jax(jax, jax.jit(lambda x: x * (x != 0)), [POINT])
    with pytest.raises(LawError, match="at the tied point"):
        check_jax(arctangent, "N C", law=GRADIENT)
