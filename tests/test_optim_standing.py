"""Steps that were made ready: the numbers of steps that are not, whatever changes between them."""

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.autograd.kernels.machine import is_available

RULES = [
    (optim.SGD, {"lr": 0.1}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (optim.Adam, {"lr": 0.01}),
    (optim.Adam, {"lr": 0.01, "weight_decay": 0.1}),
    (optim.AdamW, {"lr": 0.01}),
    (optim.RMSprop, {"lr": 0.01}),
]


def model(dtype=np.float32):
    """100 × 100 weights and more: what machine code updates."""
    tg.manual_seed(0)
    net = nn.Sequential(nn.Linear(100, 100), nn.Tanh(), nn.Linear(100, 20))
    return net.double() if dtype == np.float64 else net


def train(net, optimizer, number):
    """One step; the gradients depend on its number."""
    rng = np.random.default_rng(number)
    optimizer.zero_grad()
    np.mean(net(rng.normal(size=(8, 100)).astype(net[0].weight.dtype)) ** 2).backward()
    optimizer.step()


def forget(optimizer):
    """The next step is a first one."""
    for group in optimizer.groups:
        for run in group.runs:
            run.standing = None


def no_change(_net, _optimizer):
    """Nothing."""


def change_rate(_net, optimizer):
    """Half of the rate."""
    optimizer.lr *= 0.5


def change_option(_net, optimizer):
    """Another decay of weights."""
    if "weight_decay" in optimizer.groups[0].options:
        optimizer.groups[0].options["weight_decay"] = 0.3


def use_schedule(_net, optimizer):
    """A rate that is a function of the step."""
    optimizer.lr = optim.cosine_decay(0.1, 30)


def freeze(net, _optimizer):
    """Part of the model, and so other runs."""
    net[0].freeze()


def rebind(net, _optimizer):
    """Other memory for a weight."""
    net[2].weight.data = net[2].weight.numpy() + 1


def other_gradient(net, _optimizer):
    """Somebody's own array as a gradient."""
    net[0].weight.grad = tg.Tensor(np.ones((100, 100), net[0].weight.dtype))


def load(_net, optimizer):
    """The state of an earlier step."""
    saved = optimizer.state_dict()
    for slots in saved["state"].values():
        for name, value in slots.items():
            slots[name] = value * 0.5
    optimizer.load_state_dict(saved)


CHANGES = [
    no_change, change_rate, change_option, use_schedule, freeze, rebind, other_gradient, load,
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("cls", "options"), RULES)
def test_a_standing_step_is_the_step(cls, options, change, dtype):
    """Three steps, a change, three steps: the same bits as by steps that are all first ones."""
    results = []
    for stands in (True, False):
        net = model(dtype)
        optimizer = cls(net, **options)
        for number in range(6):
            if number == 3:
                change(net, optimizer)
            if not stands:
                forget(optimizer)
            train(net, optimizer, number)
        state = optimizer.state_dict()
        results.append((net, state))
    (one, first), (two, second) = results
    for (_, p), (_, q) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())
    assert first["updates"] == second["updates"] == 6
    for name, slots in first["state"].items():
        for slot, value in slots.items():
            np.testing.assert_array_equal(value, second["state"][name][slot])


@pytest.mark.skipif(not is_available(), reason="steps are made ready by numba")
@pytest.mark.parametrize(("cls", "options"), RULES[:6])
def test_a_step_stands_after_the_first(cls, options):
    """What is tested above does happen; a copy begins anew."""
    net = model()
    optimizer = cls(net, **options)
    train(net, optimizer, 0)
    [run] = optimizer.groups[0].runs
    first = run.standing
    assert first.call is not None
    train(net, optimizer, 1)
    assert run.standing is first
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert other.groups[0].runs[0].standing is None


def test_a_standing_step_is_a_write():
    """A loss of before the step says so when it is differentiated after it."""
    net = model()
    optimizer = optim.SGD(net, lr=0.1)
    for number in range(2):
        train(net, optimizer, number)
    loss = np.mean(net(np.ones((2, 100), np.float32)) ** 2)
    optimizer.step()
    with pytest.raises(tg.errors.InPlaceError, match="in place"):
        loss.backward()


@pytest.mark.parametrize("what", ["gradient", "gradient's array", "rate", "rate's array", "slot"])
def test_a_standing_step_sees_other_arrays(what):
    """A Parameter alone, whose gradient, rate or momentum is another array from the third step."""
    results = []
    for stands in (True, False):
        w = tg.Parameter(np.ones((100, 100), np.float32))
        rate = tg.Tensor(np.array(0.1))
        optimizer = optim.SGD([w], lr=rate, momentum=0.9)
        [run] = optimizer.groups[0].runs
        for number in range(4):
            if number == 2:
                new = tg.Tensor(np.full((100, 100), 3, np.float32))
                if what == "gradient":
                    w.grad = new
                elif what == "gradient's array":
                    w.grad.data = new.numpy()
                elif what == "rate":
                    optimizer.lr = tg.Tensor(np.array(0.7))
                elif what == "rate's array":
                    rate.data = np.array(0.7)
                else:
                    run.state["dfdx"] = new
            if w.grad is None:
                w.grad = tg.Tensor(np.full((100, 100), 0.5, np.float32))
            if not stands:
                run.standing = None
            optimizer.step()
        results.append(w.numpy().copy())
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("cls", [optim.Adam, optim.AdamW])
@pytest.mark.parametrize("kind", [tg.Tensor, np.asarray])
def test_a_decay_that_is_an_array_may_become_another_number(cls, kind):
    results = []
    for stands in (True, False):
        w = tg.Parameter(np.ones((100, 100), np.float32))
        w.grad = np.full((100, 100), 0.5, np.float32)
        decay = kind(np.array(0.0))
        optimizer = cls([w], lr=0.1, weight_decay=decay)
        [run] = optimizer.groups[0].runs
        for number in range(4):
            if number == 2:
                decay[...] = 0.5
            if not stands:
                run.standing = None
            optimizer.step()
        results.append(w.numpy().copy())
    np.testing.assert_array_equal(*results)
