"""Replay sees what its Python reads from outside: settings, options, closed-over values."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import operator
import pickle
import sys
import types
import warnings

import numpy as np
import pytest
from cases import CRITERIONS, MODULES, OPTIMIZERS

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.autograd import Parameter, ReplayError, Tensor, replay
from tapegrad.autograd.check import CRITERION_LAWS, MODULE_LAWS, OPTIMIZER_LAWS, Draws, LawError
from tapegrad.autograd.check.criterions import CriterionTrial
from tapegrad.autograd.check.modules import ModuleTrial
from tapegrad.autograd.check.optimizers import OptimizerTrial
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.replay.step import Replay
from tapegrad.autograd.replay.watching import Watches

X = np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(3, 4)
SCALE = 2.0


# Closed-over and global values ----------------------------------------------------------------


@dataclasses.dataclass
class Config:
    scale: float = 2.0


class Plain:
    factor = 2.0

    def __init__(self):
        self.scale = 2.0

    def doubled(self):
        return self.scale * self.factor


class Slotted:
    __slots__ = ("scale",)

    def __init__(self):
        self.scale = 2.0


def helper(x):
    return x * SCALE


def rebind_a_closed_over_number():
    scale = 2.0

    def change():
        nonlocal scale
        scale = 5.0

    return (lambda x: x * scale), change


def change_a_global(monkeypatch):
    return helper, lambda: monkeypatch.setitem(globals(), "SCALE", 5.0)


def in_a(holder, change, read):
    return (lambda x: x * read(holder)), lambda: change(holder)


def change_a_default():
    def step(x, scale=2.0):
        return x * scale

    return step, lambda: setattr(step, "__defaults__", (5.0,))


def change_a_list_in_a_partial():
    scales = [2.0]
    return functools.partial(lambda scales, x: x * scales[0], scales), lambda: scales.append(
        scales.pop() + 3.0
    )


def change_the_object_of_a_method():
    owner = Plain()
    owner.step = types.MethodType(lambda self, x: x * self.scale, owner)
    return owner.step, lambda: setattr(owner, "scale", 5.0)


def change_what_a_helper_reads():
    owner = Plain()

    def inner(x):
        return x * owner.doubled()

    return (inner), lambda: setattr(owner, "scale", 5.0)


def change_a_class(monkeypatch):
    owner = Plain()
    return (lambda x: x * owner.doubled()), lambda: monkeypatch.setattr(Plain, "factor", 5.0)


def change_a_class_that_is_read_by_name(monkeypatch):
    return (lambda x: x * Plain.factor), lambda: monkeypatch.setattr(Plain, "factor", 5.0)


def write_into_a_converted_array():
    mask = np.array([1, 0, 1, 0])

    def change():
        mask[:] = [0, 0, 1, 1]

    return (lambda x: x * mask.astype(np.float32)), change


def write_into_an_operand():
    factors = np.ones(4, np.float32)

    def change():
        factors[:] = [0, 0, 1, 1]

    return (lambda x: x * factors), change


def replace_an_array():
    arrays = {"a": np.ones(4, np.float32)}
    return (lambda x: x * arrays["a"]), lambda: arrays.update(a=np.zeros(4, np.float32))


def read_by_a_text(read):
    owner = Plain()
    return (lambda x: x * read(owner)), lambda: setattr(owner, "scale", 5.0)


def read_a_global_by_a_text(monkeypatch):
    return (lambda x: x * globals()["SCALE"]), lambda: monkeypatch.setitem(globals(), "SCALE", 5.0)


def change_what_an_inner_replay_reads():
    rate = [2.0]
    inner = replay(lambda x: x * rate[0])
    return (lambda x: inner(x) + 1), lambda: rate.__setitem__(0, 5.0)


CHANGES = [
    rebind_a_closed_over_number,
    change_a_global,
    lambda: in_a([2.0], lambda a: a.__setitem__(0, 5.0), lambda a: a[0]),
    lambda: in_a({"s": 2.0}, lambda a: a.update(s=5.0), lambda a: a["s"]),
    lambda: in_a({"s": [2.0]}, lambda a: a["s"].append(5.0), lambda a: a["s"][-1]),
    lambda: in_a((1, [2.0]), lambda a: a[1].append(5.0), lambda a: a[1][-1]),
    lambda: in_a({2.0}, lambda a: a.add(5.0), sum),
    lambda: in_a(Config(), lambda a: setattr(a, "scale", 5.0), lambda a: a.scale),
    lambda: in_a(Plain(), lambda a: setattr(a, "scale", 5.0), lambda a: a.scale),
    lambda: in_a(Slotted(), lambda a: setattr(a, "scale", 5.0), lambda a: a.scale),
    lambda: in_a(
        types.SimpleNamespace(scale=2.0), lambda a: setattr(a, "scale", 5.0), lambda a: a.scale
    ),
    lambda: in_a(np.float64(2), lambda _: None, float),
    change_a_default,
    change_a_list_in_a_partial,
    change_the_object_of_a_method,
    change_what_a_helper_reads,
    change_a_class,
    change_a_class_that_is_read_by_name,
    write_into_a_converted_array,
    write_into_an_operand,
    replace_an_array,
    lambda: read_by_a_text(lambda owner: getattr(owner, "scale")),  # noqa: B009  # what is tested
    lambda: read_by_a_text(lambda owner: vars(owner)["scale"]),
    lambda: read_by_a_text(lambda owner: owner.__dict__["scale"]),
    lambda: read_by_a_text(operator.attrgetter("scale")),
    read_a_global_by_a_text,
    change_what_an_inner_replay_reads,
]


@pytest.mark.parametrize("make", CHANGES, ids=lambda make: make.__name__)
def test_a_value_from_outside_that_changes_is_seen(make, monkeypatch):
    needs = inspect.signature(make).parameters
    step, change = make(monkeypatch) if needs else make()
    again = replay(step)
    for _ in range(3):
        np.testing.assert_array_equal(again(X).numpy(), np.asarray(step(X)))
    assert again.recorded == 1
    change()
    for _ in range(4):
        np.testing.assert_array_equal(again(X).numpy(), np.asarray(step(X)))


def test_equal_values_are_no_change():
    settings = {"scale": 2.0, "name": "a", "mask": np.array([True, False, True, True])}
    step = replay(lambda x: x * settings["scale"] * settings["mask"].astype(np.float32))
    for _ in range(5):
        step(X)
        settings = {**settings}  # another dict is a change; its entries are none
    for _ in range(5):
        settings["scale"] = float("2.0")
        settings["mask"] = settings["mask"].copy()
        step(X)
    assert step.recorded <= 2


def test_what_was_recorded_for_earlier_settings_is_used_again():
    model, calls = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), []

    @replay
    def step(x):
        calls.append(1)
        return model(x)

    for _ in range(3):
        for mode in (model.training, model.evaluate):
            mode()
            for _ in range(3):
                step(X)
    assert step.recorded == 2
    assert len(calls) == 4


def test_a_step_whose_settings_never_stay_runs_as_plain_python_after_a_warning():
    masks = nn.MaskZero(nn.Linear(4, 4), maskoutput=True)
    step = replay(masks)
    rng = np.random.default_rng(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(20):
            x = rng.normal(size=(20, 4)).astype(np.float32)
            masks.setZeroMask(rng.random(20) < 0.5)
            np.testing.assert_array_equal(step(x).numpy(), masks(x).numpy())
    [warning] = caught
    assert "_mask" in str(warning.message)
    assert "without replay" in str(warning.message)


# What the step changes itself ------------------------------------------------------------------


def test_a_number_that_the_step_counts_up_is_refused():
    count = 0

    @replay
    def step(x):
        nonlocal count
        count += 1
        return x * 2

    step(X)
    with pytest.raises(ReplayError, match="changes count from 1 to 2"):
        step(X)


def test_a_number_that_a_module_counts_up_is_refused():
    class Counting(nn.Module):
        def __init__(self):
            self.calls = 0

        def updateOutput(self, x):
            self.calls += 1
            return x * 2

    step = replay(Counting())
    step(X)
    with pytest.raises(ReplayError, match=r"\.calls from 1 to 2"):
        step(X)


def test_a_gradient_that_each_call_binds_anew_is_refused():
    """A replay would leave in p.grad what the last recording computed."""
    w = Parameter(np.ones((4, 2), np.float32))

    @replay
    def step(x):
        w.grad = None
        (x @ w).sum().backward()

    step(X)
    with pytest.raises(ReplayError, match="zero them in place"):
        step(X)


def test_a_gradient_that_is_taken_away_is_seen():
    w = Parameter(np.ones((4, 2), np.float32))
    step = replay(lambda x: (x @ w).sum().backward())
    for _ in range(3):
        step(X)
    w.grad = None
    step(X)
    np.testing.assert_allclose(w.grad.numpy(), X.sum(0)[:, None] * np.ones((1, 2)), rtol=1e-6)


def test_a_list_of_results_and_a_state_built_by_the_first_call_are_no_settings():
    class Lazy(nn.Module):
        def __init__(self):
            self.weight, self.seen = None, []

        def updateOutput(self, x):
            if self.weight is None:
                self.weight = Parameter(np.ones((x.shape[-1], 2), np.float32))
            self.last = x @ self.weight
            self.seen.append(x.shape)
            return self.last

    step = replay(Lazy())
    for _ in range(4):
        np.testing.assert_array_equal(step(X).numpy(), X @ np.ones((4, 2), np.float32))
    assert step.recorded == 1


# Modules and optimizers --------------------------------------------------------------------------


def change(name, *arguments):
    return lambda m: getattr(m, name)(*arguments)


LAYERS = {
    "setZeroMask of an LSTM": (lambda: nn.SeqLSTM(4, 3), change("setZeroMask", np.eye(3, 2) > 0)),
    "remember": (lambda: nn.SeqLSTM(4, 3), change("remember", "both")),
    "double": (lambda: nn.Linear(4, 3), change("double")),
    "add": (lambda: nn.Sequential(nn.Linear(4, 3)), change("add", nn.Tanh())),
    "a replaced Parameter": (
        lambda: nn.Linear(4, 3),
        lambda m: setattr(m, "weight", Parameter(np.ones((3, 4), np.float32))),
    ),
    "a replaced part": (
        lambda: nn.Sequential(nn.Tanh(), nn.Linear(4, 3)),
        lambda m: m.modules.__setitem__(0, nn.ReLU()),
    ),
    "data of a Parameter": (
        lambda: nn.Linear(4, 3),
        lambda m: setattr(m.weight, "data", np.ones((3, 4), np.float32)),
    ),
    "a Parameter set to an array": (
        lambda: nn.Linear(4, 3),
        lambda m: setattr(m, "weight", np.ones((3, 4), np.float32)),
    ),
    "a bias taken away": (lambda: nn.Linear(4, 3), lambda m: setattr(m, "bias", None)),
    "freeze": (lambda: nn.Linear(4, 3), change("freeze")),
    "getParameters": (lambda: nn.Linear(4, 3), change("getParameters")),
    "load_state_dict": (
        lambda: nn.Linear(4, 1, bias=False),
        change("load_state_dict", {"weight": np.full((1, 4), 3.0)}),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_change_by_a_method_is_seen(name):
    make, change = LAYERS[name]
    layer = make()
    twin = layer.clone()
    x = np.stack([X[:2], X[1:], X[:2]]) if "LSTM" in name or name == "remember" else X
    step = replay(layer)
    for _ in range(3):
        step(x)
    for each in (layer, twin):
        change(each)
    for i in range(3):
        try:
            found = step(x + np.float32(i)).numpy()
        except ReplayError:
            assert name == "remember"
            break
        np.testing.assert_array_equal(found, twin(x + np.float32(i)).numpy())


def rebind(m):
    m.weight = Parameter(np.full((2, 4), 3.0, np.float32))


def rebind_the_memory(m):
    m.weight.data = np.full((2, 4), 3.0, np.float32)


def of_backward(m, x):
    m.zeroGradParameters()
    y = m(x)
    (y * y).sum().backward()
    m.updateParameters(0.125)
    return y


def of_torch7(m, x):
    m.zeroGradParameters()
    y = m.forward(x)
    m.updateGradInput(x, y)
    m.accGradParameters(x, y)
    m.updateParameters(0.125)
    return y


@pytest.mark.parametrize("change", [rebind, rebind_the_memory])
@pytest.mark.parametrize("training_step", [of_backward, of_torch7])
def test_a_rebound_parameter_is_trained_without_an_optimizer_too(change, training_step):
    runs = []
    for wrap in (lambda step: step, replay):
        model = nn.Linear(4, 2)
        model.load_state_dict({"weight": np.ones((2, 4)), "bias": np.zeros(2)})
        step = wrap(functools.partial(training_step, model))
        outputs = []
        for i in range(6):
            if i == 3:
                change(model)
            outputs.append(np.array(step(X).numpy()))
        runs.append([*outputs, *(np.array(p.numpy()) for p in model.parameters()[0])])
    for found, expected in zip(*runs, strict=True):
        np.testing.assert_array_equal(found, expected)


CLASSES = [cls for name, cls in vars(optim).items() if name[:1].isupper() and hasattr(cls, "rule")]
OBJECT_CHANGES = [
    (cls, option)
    for cls in CLASSES
    for option in [*cls.defaults, "clip_grad_norm", "clip_grad_value"]
]


def other_value(cls, option):
    if option.startswith("clip"):
        return 1e-3
    old = cls.defaults[option]
    if isinstance(old, tuple):
        return tuple(v and v / 2 for v in old)
    if isinstance(old, bool):
        return not old
    return old / 2 if isinstance(old, float) and old else 0.25 if isinstance(old, float) else None


@pytest.mark.parametrize(
    ("cls", "option"), OBJECT_CHANGES, ids=[f"{c.__name__}-{o}" for c, o in OBJECT_CHANGES]
)
def test_an_option_of_an_optimizer_set_after_recording_is_seen(cls, option):
    value = other_value(cls, option)
    if value is None:
        pytest.skip(f"{option} is no number by default")
    results = []
    for wrap in (lambda step: step, replay):
        w = Parameter(np.linspace(0.5, 1.5, 8).reshape(4, 2))
        try:
            optimizer = cls([w])
        except ValueError as error:
            pytest.skip(str(error))

        def step(x, w=w, optimizer=optimizer):
            optimizer.zero_grad()
            ((x @ w) ** 2).mean().backward()
            optimizer.step()

        run = wrap(step)
        for i in range(7):
            if i == 4 and option.startswith("clip"):
                setattr(optimizer, option, value)
            elif i == 4:
                optimizer.groups[0].options[option] = value
            try:
                run(X.astype(np.float64))
            except ValueError as error:
                results.append(str(error))
                break
        else:
            results.append(w.numpy().tobytes())
    assert results[0] == results[1]


def test_a_schedule_set_after_recording_is_seen_and_a_number_is_not_recorded_anew():
    w = Parameter(np.ones(3))
    optimizer = optim.SGD([w], lr=0.1)

    @replay
    def step():
        optimizer.zero_grad()
        w.sum().backward()
        optimizer.step()

    moved = []
    for lr in (0.1, 0.1, 0.1, 0.2, lambda t: 0.01 * t, None, 0.5, None):
        if lr is not None:
            optimizer.lr = lr
        before = w.numpy()[0]
        step()
        moved.append(before - w.numpy()[0])
    np.testing.assert_allclose(moved[:4], [0.1, 0.1, 0.1, 0.2])
    np.testing.assert_allclose(moved[4:6], [0.04, 0.05])
    np.testing.assert_allclose(moved[6:], [0.5, 0.5])


# The laws find a replay that does not look -----------------------------------------------------


@pytest.mark.parametrize(
    ("law", "trial"),
    [
        (MODULE_LAWS, lambda d: ModuleTrial("LeakyReLU", MODULES["LeakyReLU"], d)),
        (MODULE_LAWS, lambda d: ModuleTrial("Linear", MODULES["Linear"], d)),
        (
            CRITERION_LAWS,
            lambda d: CriterionTrial("MarginCriterion", CRITERIONS["MarginCriterion"], d),
        ),
        (OPTIMIZER_LAWS, lambda d: OptimizerTrial("sgd", optim.sgd, OPTIMIZERS["sgd"], d)),
    ],
)
def test_the_laws_find_a_replay_that_does_not_look_at_settings(law, trial, monkeypatch):
    monkeypatch.setattr(Watches, "hold", lambda _: True)
    [law] = [each for each in law if each.name.endswith("changed_after_recording_is_seen")]
    found = 0
    for seed in range(20):
        try:
            law.check(trial(Draws(seed)))
        except LawError:
            found += 1
    assert found


def test_a_stateful_forward_in_a_step_is_replayed_too():
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh())

    @replay
    def step(x):
        y = model.forward(x)
        model.backward(x, y)
        return model.gradInput

    for i in range(4):
        found = leaves(step(X + np.float32(i)))[0].numpy().copy()
        y = model.forward(X + np.float32(i))
        expected = model.backward(X + np.float32(i), y).numpy()
        np.testing.assert_array_equal(found, expected)
    assert isinstance(model.output, Tensor)


# Options and arguments that change --------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda sgd: setattr(sgd, "momentum", 0.5),
        lambda sgd: setattr(sgd, "weight_decay", 0.1),
        lambda sgd: sgd.groups[0].options.update(nesterov=True),
    ],
)
def test_an_option_may_change_after_the_first_call(change):
    def losses(recorded):
        tg.manual_seed(0)
        model = nn.Linear(4, 2)
        sgd = optim.SGD(model, lr=0.1, momentum=0.9)

        def step(x):
            sgd.zero_grad()
            loss = (model(x) ** 2).sum()
            loss.backward()
            sgd.step()
            return loss

        run = replay(step) if recorded else step
        found = [float(run(X))]
        change(sgd)
        return found + [float(run(X)) for _ in range(4)]

    assert losses(recorded=True) == losses(recorded=False)


def test_zeros_of_either_sign_are_other_arguments():
    turned = replay(np.arctan2)
    zeros = np.zeros(2)
    for _ in range(3):
        for y, angle in (
            (0.0, 0.0),
            (-0.0, np.pi),
            (np.float32(0.0), 0.0),
            (np.float32(-0.0), np.pi),
        ):
            np.testing.assert_allclose(turned(zeros, y).numpy(), angle)


def test_a_nan_is_one_argument():
    filled = replay(lambda x, y: x * 0 + y)
    for _ in range(4):
        assert np.isnan(filled(X, float("nan")).numpy()).all()
    assert filled.recorded == 1


def test_a_number_that_changes_at_each_call_ends_in_a_warning_and_takes_no_memory():
    scaled = replay(lambda x, k: x * k)

    def run():
        for k in range(40):
            np.testing.assert_array_equal(scaled(X, float(k)).numpy(), X * k)

    with pytest.warns(RuntimeWarning, match=r"argument 1 was another value.* as a 0-d array"):
        run()
    assert len(scaled._variants) < 40
    for _ in range(3):  # a known one is replayed all the same
        np.testing.assert_array_equal(scaled(X, 3.0).numpy(), X * 3)
    assert scaled.recorded == 1


def test_ever_new_shapes_are_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr(sys.modules[Replay.__module__], "KEYS", 10)
    doubled = replay(lambda x: x * 2)
    for n in range(30):
        doubled(np.ones(n))
    assert len(doubled._variants) == 10


@pytest.mark.parametrize("make", [replay, tg.compile])
def test_a_copy_and_a_pickle_record_anew(make):
    call = make(nn.Linear(4, 2))
    for _ in range(3):
        expected = call(X).numpy()
    for other in (copy.deepcopy(call), copy.copy(call), pickle.loads(pickle.dumps(call))):
        assert type(other) is type(call)
        assert other.recorded == 0
        np.testing.assert_array_equal(other(X).numpy(), expected)
