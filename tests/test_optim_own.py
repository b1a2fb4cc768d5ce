"""An optimizer that a stranger declares in one file: its rule with the options, and its class.

Everything else must follow from these two statements: Torch7's functional form, the object form,
replay, the checkpoint of a training run, and the laws.  What is forgotten is named.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
from typing import ClassVar

import numpy as np
import pytest

from tapegrad import devices, nn, optim
from tapegrad.autograd import Tensor, replay
from tapegrad.autograd.check import Subject, case_of, discover


@optim.update_rule(counter="t", slots=("velocity",))
def heavy_ball(
    xp,
    x,
    g,
    state,
    *,
    lr=optim.option(0.1, at_least=0),
    momentum=optim.option(0.9, at_least=0, below=1),
    weight_decay=optim.option(0.0, at_least=0),
    nesterov=False,
):
    """v = μv + g;  x -= lr · v, or lr · (g + μv) with nesterov."""
    g = g + weight_decay * x
    velocity = momentum * state["velocity"] + g
    step = g + momentum * velocity if nesterov else velocity
    return x - optim.cast_like(xp, lr, x) * step, {"velocity": velocity}


class HeavyBall(optim.Optimizer):
    """The heavy ball."""

    rule = heavy_ball


class Quick(HeavyBall):
    """The heavy ball with other defaults."""

    defaults: ClassVar = {"lr": 0.5}
    fixed: ClassVar = {"nesterov": True}


[SUBJECT] = discover(sys.modules[__name__])


@pytest.mark.parametrize("law", SUBJECT.laws(), ids=lambda law: law.name)
def test_the_laws_find_it_with_its_case(law):
    assert SUBJECT.target is heavy_ball
    SUBJECT.examine(law).raise_error()


def test_a_wrong_rule_breaks_a_law():
    @optim.update_rule(counter="t")
    def ascent(xp, x, g, state, *, lr=optim.option(0.1, at_least=0)):
        return x + lr * g, {}

    wrong = Subject("ascent", "optimizer", ascent, case_of(ascent), path=False)
    law = next(law for law in wrong.laws() if law.name == "a_quadratic_goes_down")
    assert wrong.examine(law).verdict == "broken"


def test_the_functional_form_takes_the_declared_options():
    x, state = np.array([1.0, 2.0]), {}
    for _ in range(2):
        heavy_ball(lambda v: ((v**2).sum() / 2, v.copy()), x, {"lr": 0.5}, state)
    np.testing.assert_allclose(x, np.array([1.0, 2.0]) * (0.5 - 0.5 * (0.9 + 0.5)))
    assert float(state["t"]) == 2
    with pytest.raises(ValueError, match=r"heavy_ball: momentum must lie in \[0, 1\), not 1"):
        heavy_ball(lambda v: (0.0, v), x, {"momentum": 1})


def network():
    devices.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))


def loss_of(model, step):
    x = np.random.default_rng(step).standard_normal((5, 4)).astype(np.float32)
    return (model(x) ** 2).mean()


def train(model, optimizer, steps, start=0):
    for step in range(start, start + steps):
        optimizer.zero_grad()
        loss_of(model, step).backward()
        optimizer.step()
    return model.getParameters()[0].numpy().copy()


def test_the_class_has_the_options_and_says_so():
    assert HeavyBall.defaults == {
        "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "nesterov": False,
    }  # fmt: skip
    assert Quick.defaults == {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.0}
    assert inspect.signature(Quick).parameters["lr"].default == 0.5
    assert "momentum=0.9" in Quick.__doc__
    model = network()
    assert HeavyBall(model, groups=[{"params": "*.bias", "lr": 0.0}]).rates() == [0.0, 0.1]
    with pytest.raises(TypeError, match="did you mean 'momentum'"):
        HeavyBall(model, momentun=0.5)
    with pytest.raises(TypeError, match="no option 'nesterov'"):
        Quick(model, nesterov=False)


@pytest.mark.parametrize("lr", [0.05, optim.cosine_decay(0.05, 10)], ids=["number", "schedule"])
def test_a_replayed_step_equals_eager(lr):
    """Also with a schedule, which the rule itself knows nothing about."""
    eager, recorded = network(), network()
    expected = train(eager, HeavyBall(eager, lr=lr), 5)
    optimizer = HeavyBall(recorded, lr=lr)

    @replay
    def step(x):
        optimizer.zero_grad()
        (recorded(x) ** 2).mean().backward()
        optimizer.step()

    for t in range(5):
        step(Tensor(np.random.default_rng(t).standard_normal((5, 4)).astype(np.float32)))
    assert step.recorded == 1
    np.testing.assert_array_equal(recorded.getParameters()[0].numpy(), expected)


def test_a_training_run_goes_on_from_its_checkpoint(tmp_path):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((20, 4)).astype(np.float32), rng.integers(0, 2, 20)

    def fit(folder, epochs):
        model = network()
        trainer = optim.Trainer(
            model, nn.CrossEntropyCriterion(), HeavyBall(model), folder=folder, progress=False
        )
        trainer.fit(data, epochs=epochs, batch_size=8, resume=True)
        return model.getParameters()[0].numpy()

    straight = fit(tmp_path / "straight", 4)
    fit(tmp_path / "resumed", 2)
    np.testing.assert_array_equal(fit(tmp_path / "resumed", 4), straight)


def test_a_saved_state_is_a_file_of_arrays(tmp_path):
    model = network()
    optimizer = HeavyBall(model)
    train(model, optimizer, 3)
    optim.save_checkpoint(optimizer.state_dict(), tmp_path / "c")
    other = network()
    other.load_state_dict(model.state_dict())
    resumed = HeavyBall(other)
    resumed.load_state_dict(optim.load_checkpoint(tmp_path / "c"))
    np.testing.assert_array_equal(
        train(other, resumed, 2, start=3), train(model, optimizer, 2, start=3)
    )


def test_a_rule_is_copied_and_pickled_by_its_name():
    assert copy.deepcopy(heavy_ball) is heavy_ball
    assert pickle.loads(pickle.dumps(heavy_ball)) is heavy_ball


def test_what_is_forgotten_or_misspelled_is_named():
    with pytest.raises(TypeError, match="give its option 'rate' a default"):

        @optim.update_rule()
        def bare(xp, x, g, state, *, rate):
            return x - rate * g, {}

    with pytest.raises(TypeError, match=r"defaults names 'learningRate'; the rule heavy_ball has"):
        type("Wrong", (optim.Optimizer,), {"rule": heavy_ball, "defaults": {"learningRate": 1}})
    with pytest.raises(TypeError, match="keywords names 'mu'"):
        type("Wrong", (optim.Optimizer,), {"rule": heavy_ball, "keywords": {"mu": "momentum"}})
    with pytest.raises(TypeError, match="fixed names 'mu'"):
        type("Wrong", (optim.Optimizer,), {"rule": heavy_ball, "fixed": {"mu": 0.5}})
    with pytest.raises(TypeError, match="two options of the rule are called 'lr'"):
        type("Wrong", (optim.Optimizer,), {"rule": heavy_ball, "keywords": {"momentum": "lr"}})
    with pytest.raises(ValueError, match="'numba' or 'machine', not 'cupy'"):
        heavy_ball.on("cupy")


def test_entries_of_a_tuple_are_options_of_their_own_in_the_rule():
    @optim.update_rule()
    def two(
        xp, x, g, state, *,
        low=optim.option(0.5, at_least=0, keyword="limits[0]"),
        high=optim.option(1.5, keyword="limits[1]"),
        inside=optim.option(1, keyword=None),
    ):  # fmt: skip
        return x - low * high * inside * g, {}

    class Two(optim.Optimizer):
        rule = two

    assert Two.defaults == {"limits": (0.5, 1.5)}
    with pytest.raises(ValueError, match=r"Two: limits\[0\] must be at least 0"):
        Two(network(), limits=(-1, 2))


def test_a_slot_may_be_the_x_before_the_step_and_another_slot():
    """What a rule returns are the values before anything is written."""

    @optim.update_rule(slots=("one", "two"))
    def turned(xp, x, g, state, *, lr=1.0):
        return x - lr * g, {"one": x, "two": state["one"]}

    x, state = np.array([8.0]), {}
    for expected in ([7, 8, 0], [6, 7, 8], [5, 6, 7]):
        turned(lambda _: (0.0, np.ones(1)), x, {}, state)
        assert [x[0], state["one"].item(), state["two"].item()] == expected
