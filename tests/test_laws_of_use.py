"""What a person does with a module and an optimizer is right, or refused at its line."""

from __future__ import annotations

import copy
import pickle
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest

from tapegrad import nn, no_grad, optim
from tapegrad.autograd import (
    Parameter,
    Tensor,
    elementwise_grad,
    grad,
    hessian,
    hvp,
    jacobian,
    value_and_grad,
    vjp,
)

X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


def network():
    nn.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def train(module, optimizer, steps=3):
    for _ in range(steps):
        optimizer.zero_grad()
        (module(X) ** 2).mean().backward()
        optimizer.step()


# Where modules and parameters are found -----------------------------------------------------------


class Named(nn.Module):
    """A layer under a private name, under the name of a result, and under equal keys."""

    def __init__(self):
        self._stem = nn.Linear(3, 3)
        self._noise = nn.Dropout(0.5)
        self.output = nn.Linear(3, 3)
        self.gradInput = nn.Linear(3, 3)
        self.heads = {1: nn.Linear(3, 3), "1": nn.Linear(3, 3), "a.b": Parameter(np.ones(3))}
        self.nested = {"a": {"b": nn.Linear(3, 3)}}

    def updateOutput(self, x):
        x = self.gradInput(self.output(self._noise(self._stem(x))))
        return self.nested["a"]["b"](self.heads["1"](self.heads[1](x))) * self.heads["a.b"]


def test_layers_under_any_name_learn_are_saved_and_obey_modes(tmp_path):
    module = Named()
    assert len(list(module.named_parameters())) == len(module.state_dict()) == 13
    before = module.state_dict()
    train(module, optim.SGD(module, lr=0.5))
    assert all(np.any(before[n] != value) for n, value in module.state_dict().items())
    module.evaluate()
    result = module.forward(X)
    np.testing.assert_array_equal(result.numpy(), module(X).numpy())
    assert isinstance(module.output, nn.Linear)
    module.save(tmp_path / "named.safetensors")
    loaded = nn.load(tmp_path / "named.safetensors", classes=[Named])
    np.testing.assert_array_equal(loaded(X).numpy(), result.numpy())


@pytest.mark.parametrize(
    "holder",
    [
        lambda m: {m},
        lambda m: frozenset({m}),
        lambda m: deque([m]),
        lambda m: SimpleNamespace(layer=m),
        lambda m: np.array([m, None], object),
        lambda m: [{"deep": {m}}],
    ],
)
def test_a_layer_that_nothing_would_find_is_refused(holder):
    module = nn.Identity()
    with pytest.raises(TypeError, match="put it into a list, a tuple or a dict"):
        module.parts = holder(nn.Linear(2, 2))
    assert not hasattr(module, "parts")
    module.known = nn.Linear(2, 2)
    module.parts = holder(module.known)  # a second way to a layer that is found


@pytest.mark.parametrize("name", ["forward", "backward", "updateOutput", "train", "gradWeight"])
def test_names_under_which_a_module_runs_are_refused_for_layers(name):
    with pytest.raises(TypeError, match=f"{name} is a .* of every module"):
        setattr(nn.Linear(2, 2), name, nn.Linear(2, 2))


def test_an_array_assigned_to_a_parameter_becomes_its_values():
    table = nn.LookupTable(5, 3)
    weight, vectors = table.weight, np.arange(15.0).reshape(5, 3)
    table.weight = vectors
    assert table.weight is weight
    np.testing.assert_array_equal(weight.numpy(), vectors)
    norm = nn.BatchNormalization(3)
    norm.running_mean = np.ones(3)
    norm.forward(X)
    assert "running_mean" in norm.state_dict()
    with pytest.raises(ValueError, match=r"of shape \(5, 3\), which an array of shape \(3, 3\)"):
        table.weight = np.ones((3, 3))
    with pytest.raises(TypeError, match="its past would be cut"):
        table.weight = table.weight - 0.1
    with pytest.raises(TypeError, match="is no array to overwrite it with"):
        table.weight = "vectors"
    table.weight = Parameter(np.ones((2, 3)))
    assert table.weight.shape == (2, 3)


# Freezing -----------------------------------------------------------------------------------------

RULES = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("Adam", {}), ("AdamW", {}), ("RMSprop", {"momentum": 0.9}), ("Lion", {}), ("SignSGD", {}),
    ("LAMB", {"weight_decay": 0.1}), ("LARS", {"weight_decay": 0.1}), ("Adamax", {}), ("ASGD", {}),
    ("Adafactor", {}), ("Rprop", {}), ("Adagrad", {}), ("Adadelta", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), RULES)
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("single", [False, True])
def test_what_is_frozen_stays_and_what_is_unfrozen_learns(name, options, listed, late, single):
    module = network()
    frozen = module[0].weight if single else module[0]
    if not late:
        frozen.freeze()
    source = [p for _, p in module.named_parameters()] if listed else module
    optimizer = getattr(optim, name)(source, **options)
    if late:
        train(module, optimizer)
        frozen.freeze()
    before = module.state_dict()
    train(module, optimizer)
    after = module.state_dict()
    np.testing.assert_array_equal(after["0.weight"], before["0.weight"])
    assert np.any(after["2.weight"] != before["2.weight"])
    optimizer.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    frozen.unfreeze()
    train(module, optimizer)
    assert np.any(module.state_dict()["0.weight"] != after["0.weight"])


def test_a_frozen_parameter_stays_frozen_in_copies_and_files(tmp_path):
    module = network()
    module[2].bias.freeze()
    module.save(tmp_path / "m.safetensors")
    copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module)), module.clone()]
    for each in [*copies, nn.load(tmp_path / "m.safetensors")]:
        assert each[2].bias.frozen
        assert len(each.parameters()[0]) == 3
        each.unfreeze()
        assert len(each.parameters()[0]) == 4


def test_a_replaced_layer_makes_the_optimizer_say_so():
    module = network()
    optimizer = optim.SGD(module, lr=0.1)
    module.modules[2] = nn.Linear(4, 2)
    with pytest.raises(RuntimeError, match="make a new optimizer"):
        optimizer.step()


# Shared memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [optim.Adam, lambda m: m.getParameters()])
def test_what_shares_memory_goes_on_sharing_it(make):
    module = network()
    twin, view = module.clone("weight", "bias"), Parameter(module[0].weight.data)
    make(module)
    train(module, optim.SGD(module, lr=0.5))
    np.testing.assert_array_equal(twin(X).numpy(), module(X).numpy())
    np.testing.assert_array_equal(view.numpy(), module[0].weight.numpy())
    with pytest.raises(ValueError, match="end the sharing"):
        module.double()


def test_a_replaced_layer_shares_with_nobody():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    module.add(module[0].clone("weight", "bias", "gradWeight", "gradBias"))
    module.getParameters()
    module.modules[0] = nn.Linear(4, 4)
    assert module.double()[2].weight.dtype == np.float64


def test_an_array_that_somebody_kept_follows_training():
    module = network()
    kept = module[0].weight.data
    train(module, optim.Adam(module))
    np.testing.assert_array_equal(kept, module[0].weight.numpy())


def test_copies_carry_neither_results_nor_a_whole_flat_buffer():
    module = nn.Sequential(nn.Linear(300, 300), nn.Linear(3, 3))
    module.getParameters()
    module[1].forward(np.ones((5000, 3), np.float32))
    assert len(pickle.dumps(module[1])) < 2000
    assert copy.deepcopy(module[1]).weight.data.base.nbytes == 48


# Gradients that depend on Parameters --------------------------------------------------------------

W = np.array([2.0, 3.0])


@pytest.mark.parametrize(
    "derivative",
    [
        lambda f, x: grad(f)(x),
        lambda f, x: value_and_grad(f)(x)[1],
        lambda f, x: vjp(f, x)[1](np.array(1.0)),
        lambda f, x: jacobian(f)(x),
        lambda f, x: hessian(f)(x).sum(0) * x / 2,
        lambda f, x: hvp(f, x, x) / 2,
        lambda f, x: elementwise_grad(f)(x),
    ],
)
@pytest.mark.parametrize("wrap", [np.array, Tensor])
def test_a_gradient_inside_a_loss_has_its_own_gradient(derivative, wrap):
    w, x = Parameter(W), np.array([0.5, -1.0])
    slope = derivative(lambda x: (w * x**3).sum(), wrap(x))
    (slope**2).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * 9 * W * x**4)
    with no_grad():
        assert isinstance(grad(lambda x: (w * x**3).sum())(x), np.ndarray)


def test_descent_by_hand_and_criterions_that_learn():
    class Center(nn.Criterion):
        def __init__(self):
            self.center = Parameter(np.zeros(3))

        def updateOutput(self, x, target=None):
            return ((x - self.center) ** 2).sum()

    criterion, x = Center(), np.ones(3)
    criterion.forward(x)
    np.testing.assert_array_equal(criterion.backward(x).numpy(), [2, 2, 2])
    np.testing.assert_array_equal(criterion.center.grad.numpy(), [-2, -2, -2])
    criterion.center.data -= 0.5 * criterion.center.grad.numpy()
    np.testing.assert_array_equal(criterion.center.numpy(), [1, 1, 1])
    with pytest.raises(ValueError, match="cannot overwrite"):
        criterion.center.data = np.ones(2)


def test_limits_count_each_gradient_once_and_totals_each_memory_once():
    module = nn.Linear(3, 3)
    both = nn.Sequential(module, module.clone("weight", "bias", "gradWeight", "gradBias"))
    both[0].weight.grad.data[...] = 1.0
    assert float(optim.clip_grad_norm(both, 0.01)) == pytest.approx(3)
    assert np.sqrt((both[1].weight.grad.numpy() ** 2).sum()) == pytest.approx(0.01, rel=1e-4)
    for clip in (optim.clip_grad_norm, optim.clip_each_grad_norm, optim.clip_grad_value):
        with pytest.raises(ValueError, match="must be at least 0"):
            clip(both, -1)
    assert both.summary().splitlines()[-1].startswith("12 parameters")
    both[0].freeze()
    assert "12 parameters" in both.summary()


def test_averages_hold_running_statistics_too():
    module = nn.Sequential(nn.BatchNormalization(3))
    average = optim.ExponentialMovingAverage(module, 0.5, buffers=True)
    start = module[0].running_mean.numpy().copy()
    module.forward(X + 5)
    average.update()
    now = module[0].running_mean.numpy().copy()
    with average.apply():
        np.testing.assert_allclose(module[0].running_mean.numpy(), (start + now) / 2, rtol=1e-6)
    np.testing.assert_array_equal(module[0].running_mean.numpy(), now)
