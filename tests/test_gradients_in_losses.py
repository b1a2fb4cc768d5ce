"""A gradient of arrays that depends on Parameters: in a loss, it has a gradient itself."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.autograd.core.node import next_serial
from tapegrad.errors import InPlaceError

X = np.array([0.3, 0.5])
V = np.array([1.0, -2.0])


def wave(w):
    return lambda x: np.sum(np.sin(w * x) * w)


DERIVATIVES = {
    "grad": lambda w: tg.grad(wave(w))(X),
    "value_and_grad": lambda w: tg.value_and_grad(wave(w))(X)[1],
    "its value": lambda w: tg.value_and_grad(wave(w))(X)[0],
    "elementwise_grad twice": lambda w: tg.elementwise_grad(
        tg.elementwise_grad(lambda x: np.sin(w * x) * w)
    )(X),
    "of two arguments": lambda w: sum(
        tg.grad(lambda a, b: np.sum(np.sin(a * w) * b * w), (0, 1))(X, V)
    ),
    "of a dict": lambda w: tg.grad(lambda d: wave(w)(d["x"]))({"x": X})["x"],
    "jacobian": lambda w: tg.jacobian(lambda x: np.sin(x * w))(X),
    "hessian": lambda w: tg.hessian(wave(w))(X),
    "hvp": lambda w: tg.hvp(wave(w), X, V),
    "jvp": lambda w: tg.jvp(lambda x: np.sin(x * w), X, V)[1],
    "vjp": lambda w: tg.vjp(lambda x: np.sin(x * w), X)[1](V),
    "the value of vjp": lambda w: tg.vjp(lambda x: np.sin(x * w), X)[0],
    "a tracked cotangent": lambda w: tg.vjp(lambda x: np.sin(x * 3), X)[1](w * 1),
    "Parameters outside of fn": lambda w: tg.grad(wave(np.exp(w)))(X) * w,
    "vmap": lambda w: tg.vmap(tg.grad(lambda x: np.sin(np.sum(x * w))))(np.stack([X, V])),
    "a number": lambda w: tg.grad(lambda x: np.sum(w * x**3))(0.7),
    "checkpoint": lambda w: tg.grad(tg.checkpoint(wave(w)))(X),
    "of a gradient in fn": lambda w: tg.grad(lambda x: np.sum(tg.grad(wave(w))(x) ** 2))(X),
}


def loss(name, w):
    return np.sum(DERIVATIVES[name](w) ** 2)


@pytest.mark.parametrize("name", DERIVATIVES)
def test_a_loss_of_a_derivative_has_its_gradient_by_the_parameters(name):
    w = tg.Parameter(np.array([0.7, 1.3]))
    loss(name, w).backward()
    right = tg.grad(lambda w: loss(name, w))(w.numpy().copy())
    np.testing.assert_allclose(w.grad.numpy(), right, rtol=1e-10)
    step, found = 1e-5, []
    for i in range(2):
        ends = [w.numpy() + side * step * np.eye(2)[i] for side in (1, -1)]
        a, b = (loss(name, tg.Tensor(end)).item() for end in ends)
        found.append((a - b) / (2 * step))
    np.testing.assert_allclose(w.grad.numpy(), found, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", DERIVATIVES)
def test_it_can_be_differentiated_again(name):
    w = tg.Parameter(np.array([0.7, 1.3]))
    [once] = tg.autograd.reverse.sweep.cotangents(
        [((y := loss(name, w))._node, tg.Tensor(np.ones(())))], [w._node], taped=True
    )
    assert y.tracked
    np.sum(once * V).backward()
    right = tg.hvp(lambda w: loss(name, w), w.numpy().copy(), V)
    np.testing.assert_allclose(w.grad.numpy(), right, rtol=1e-9)


def test_arrays_stay_arrays_where_no_parameter_is_behind():
    w = tg.Parameter(V)
    assert type(tg.grad(lambda x: np.sum(x * x))(X)) is np.ndarray
    with tg.no_grad():
        assert type(tg.grad(wave(w))(X)) is np.ndarray
    frozen = nn.Linear(2, 1).freeze()
    assert type(tg.grad(lambda x: np.sum(frozen(x)))(X)) is np.ndarray


def test_a_gradient_that_nobody_differentiates_is_swept_once():
    calls = []
    f = tg.custom_vjp(lambda x: x * 2)
    f.vjp(x=lambda g: (calls.append(1), g * 2)[1])
    w = tg.Parameter(V)
    gradient = tg.grad(lambda x: np.sum(f(x) * w))(X)
    assert len(calls) == 1
    np.sum(gradient).backward()
    assert len(calls) == 2
    np.testing.assert_array_equal(w.grad.numpy(), [2, 2])


@pytest.mark.parametrize("behind", [None, "argument", "closure"])
def test_a_gradient_at_a_constant_tensor_is_no_graph_unless_something_is_behind_it(behind):
    """Its rules would be recorded for second derivatives, and keep all that they computed."""
    x = tg.Tensor(np.array([1.0, 2.0]))
    if behind == "argument":
        x = tg.Parameter(x.data)
    factor = tg.Parameter(np.ones(2)) * 3.0 if behind == "closure" else 3.0
    calls = []

    def loss(x):
        y = (factor * x**3).sum()
        calls.append(next_serial())
        return y

    g = tg.grad(loss)(x)
    recorded = next_serial() - calls[0] - 1
    np.testing.assert_allclose(g, 9 * x**2)
    assert isinstance(g, tg.Tensor)
    assert g.tracked == (behind is not None)
    assert (recorded > 0) == (behind is not None)


def test_a_parameter_that_was_written_since_is_noticed():
    w = tg.Parameter(V)
    gradient = tg.grad(lambda x: np.sum(np.sin(x * w)))(X)
    with tg.no_grad():
        w[...] = 0.0
    with pytest.raises(InPlaceError):
        np.sum(gradient).backward()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x.numpy() * 2,
        lambda x: [x, x.numpy()],
        lambda x: x[0].item(),
        lambda x: x.numpy().sum(),
        lambda x: {"y": x.data},
    ],
)
def test_a_module_that_returns_no_tensor_is_refused(wrong):
    class Mine(nn.Module):
        def updateOutput(self, x):
            return wrong(x)

    model = nn.Sequential().add(Mine())
    for call in (model, model.forward):
        with pytest.raises(TypeError, match=r"Mine\.updateOutput returned \w+.*x\.numpy") as caught:
            call(tg.Parameter(X))  # whose gradient would be lost
        assert "in module Sequential[0].Mine" in caught.value.__notes__
