"""Optimizers of modules: agreement with PyTorch where it is installed, groups, schedules, state."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

from tapegrad import nn, optim
from tapegrad.autograd import Parameter, Tensor, replay

STEPS = 100
SHARED = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.5}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.01, "eps": 1e-8}),
    ("Adagrad", {"lr": 0.05, "lr_decay": 0.01, "initial_accumulator_value": 0.1}),
    ("Adadelta", {"lr": 1.0, "rho": 0.9, "weight_decay": 0.01}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5, "eps": 1e-4}),
    ("Rprop", {"lr": 0.01}),
    ("ASGD", {"lr": 0.05, "lambd": 0.01, "t0": 10}),
    ("Adafactor", {"lr": 0.01, "weight_decay": 0.01}),
    ("Muon", {"lr": 0.01}),
]


def problem(dtype):
    """Start, and smooth gradients that pull towards a point: one matrix, one vector."""
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal((4, 3)).astype(dtype), rng.standard_normal(5).astype(dtype)]
    goals = [rng.standard_normal(s.shape).astype(dtype) for s in starts]
    return starts, goals


@pytest.mark.extra
@pytest.mark.parametrize(("name", "options"), SHARED, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_object_forms_agree_with_pytorch(name, options, dtype, tolerance, monkeypatch):
    torch = pytest.importorskip("torch")
    # Muon orthogonalises in bfloat16 there, in the parameters' own precision here.
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    # ASGD keeps its rate in the default dtype there, in float64 here.
    monkeypatch.setattr(torch, "as_tensor", lambda v, **_: torch.tensor(v, dtype=torch.float64))
    starts, goals = problem(dtype)
    if name == "Muon":
        starts, goals = starts[:1], goals[:1]
    theirs = [torch.tensor(s.copy(), requires_grad=True) for s in starts]
    ours = [Parameter(s.copy()) for s in starts]
    reference = getattr(torch.optim, name)(theirs, **options)
    optimizer = getattr(optim, name)(ours, **options)
    for _ in range(STEPS):
        for p, q, goal in zip(theirs, ours, goals, strict=True):
            # One gradient for both, so that only the update is compared.
            g = np.tanh(p.detach().numpy() - goal) + 0.1 * np.sin(3 * p.detach().numpy())
            p.grad, q.grad = torch.tensor(g), g.copy()
        reference.step()
        optimizer.step()
    for p, q in zip(theirs, ours, strict=True):
        expected = p.detach().numpy()
        assert q.dtype == dtype
        assert np.max(np.abs(q.numpy() - expected)) <= tolerance * np.max(np.abs(expected))


@pytest.mark.extra
@pytest.mark.parametrize(
    "name", ["step", "exponential", "cosine", "one_cycle", "multi_step", "polynomial"]
)
def test_schedules_agree_with_pytorch(name):
    torch = pytest.importorskip("torch")
    s = torch.optim.lr_scheduler
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    theirs, ours = {
        "step": (lambda o: s.StepLR(o, 10, 0.3), optim.step_decay(0.5, 10, 0.3)),
        "exponential": (lambda o: s.ExponentialLR(o, 0.9), optim.exponential_decay(0.5, 0.9)),
        "cosine": (
            lambda o: s.CosineAnnealingWarmRestarts(o, 10, 2, 0.01),
            optim.cosine_decay(0.5, 10, 0.01, restarts=True, stretch=2),
        ),
        "one_cycle": (
            lambda o: s.OneCycleLR(o, 0.5, total_steps=50, cycle_momentum=False),
            optim.one_cycle(0.5, 50),
        ),
        "multi_step": (
            lambda o: s.MultiStepLR(o, [5, 20], 0.2),
            optim.multi_step_decay(0.5, (5, 20), 0.2),
        ),
        "polynomial": (lambda o: s.PolynomialLR(o, 40, 2.0), optim.polynomial_decay(0.5, 40, 2.0)),
    }[name]
    scheduler = theirs(optimizer)
    for t in range(50):
        assert ours(t) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9, abs=1e-12)
        optimizer.step()
        if t < 49:
            scheduler.step()


# Rules without a counterpart there, against their papers' formulas --------------------------------


def by_hand(name, x, gradients, **o):
    """Final x after one step per gradient, in plain float64 formulas."""
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t, g in enumerate(gradients, 1):
        if name == "Lion":
            c = 0.9 * m + 0.1 * g
            x = x - o["lr"] * (np.sign(c) + o["weight_decay"] * x)
            m = 0.99 * m + 0.01 * g
        elif name == "SignSGD":
            m = o["momentum"] * m + (1 - o["momentum"]) * g
            x = x - o["lr"] * (np.sign(m) + o["weight_decay"] * x)
        elif name == "LAMB":
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            r = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6) + o["weight_decay"] * x
            x = x - o["lr"] * np.linalg.norm(x) / np.linalg.norm(r) * r
        elif name == "LARS":
            d = o["weight_decay"]
            local = 1e-3 * np.linalg.norm(x) / (np.linalg.norm(g) + d * np.linalg.norm(x))
            v = 0.9 * v + o["lr"] * local * (g + d * x)
            x = x - v
    return x


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Lion", {"lr": 0.01, "weight_decay": 0.1}),
        ("SignSGD", {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}),
        ("LAMB", {"lr": 0.01, "weight_decay": 0.1}),
        ("LARS", {"lr": 1.0, "weight_decay": 0.1}),
    ],
)
def test_rules_follow_their_papers(name, options):
    rng = np.random.default_rng(1)
    starts = [rng.standard_normal((4, 3)), rng.standard_normal(5)]
    gradients = [[rng.standard_normal(s.shape) for _ in range(20)] for s in starts]
    parameters = [Parameter(s.copy()) for s in starts]
    optimizer = getattr(optim, name)(parameters, **options)
    for t in range(20):
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g[t].copy()
        optimizer.step()
    for p, s, g in zip(parameters, starts, gradients, strict=True):
        np.testing.assert_allclose(p.numpy(), by_hand(name, s, g, **options), rtol=1e-12)


def faster_ways():
    """Each faster way to run a rule, alone, with each option at its default and at another."""
    for name in optim.__all__:
        rule = getattr(optim, name)
        for way in getattr(rule, "faster", ()):
            yield pytest.param(rule, way, {}, id=f"{name}-{way}-defaults")
            for key, option in rule.declared.declared.items():
                for value in option.values_to_try():
                    if value != option.default and key != "nesterov":  # see MOVING
                        yield pytest.param(
                            rule, way, {key: value}, id=f"{name}-{way}-{key}={value}"
                        )


EVERYTHING = {
    "learningRate": optim.exponential_decay(0.01, 0.9), "learningRateDecay": 0.1,
    "weightDecay": 0.1, "decoupledDecay": 0.1, "paper": True,
}  # fmt: skip
MOVING = {"momentum": 0.9, "dampening": 0.0, "weightDecay": 0.01, "learningRateDecay": 0.1}
TOGETHER = [
    *[
        pytest.param(optim.adam, way, EVERYTHING, id=f"adam-{way}-everything")
        for way in ("numpy", "machine")
    ],
    pytest.param(optim.sgd, "machine", MOVING, id="sgd-machine-moving"),
    pytest.param(optim.sgd, "machine", {**MOVING, "nesterov": True}, id="sgd-machine-nesterov"),
    pytest.param(optim.sgd, "machine", {**MOVING, "dampening": 0.1}, id="sgd-machine-damped"),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rule", "way", "config"), [*faster_ways(), *TOGETHER])
def test_faster_ways_to_run_a_rule_give_its_bits(rule, way, config, dtype):
    """Whatever the options: one that a faster way forgets is found."""
    if way in {"numba", "machine"}:
        pytest.importorskip("numba")
    rng = np.random.default_rng(5)
    start = rng.standard_normal(40_000).astype(dtype)
    gradients = [rng.standard_normal(start.shape).astype(dtype) for _ in range(3)]
    ends = []
    for ways in ({}, {way: rule.faster[way]}):
        x, state = start.copy(), {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rule, "faster", ways)
            for g in gradients:
                rule(lambda _, g=g: (0.0, g), x, config, state)
        ends.append({"x": x, **{name: state[name].numpy() for name in state}})
    assert ends[0].keys() == ends[1].keys()
    for name, expected in ends[0].items():
        assert ends[1][name].tobytes() == expected.tobytes(), name
    assert float(ends[0][rule.counter]) == 3


def test_blocks_give_the_bits_of_the_whole():
    rng = np.random.default_rng(6)
    start, factors = rng.standard_normal((2, 50_000))
    ends = []
    for block in (7_000, 10**9):
        x = start.copy()
        config = {"learningRates": factors, "momentum": 0.9, "learningRate": 0.1}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tapegrad.optim.core.step.BLOCK", block)
            for _ in range(3):
                optim.sgd(lambda v: (0.0, np.sin(v)), x, config)
                optim.asgd(lambda v: (0.0, np.sin(v)), x, average := {"eta0": 0.1, "t0": 1})
        ends.append([x, config["dfdx"].numpy(), average["ax"].numpy()])
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)


# Modules, groups, state ---------------------------------------------------------------------------


def network():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    rng = np.random.default_rng(2)
    for p in model.parameters()[0]:
        p.detach()[...] = rng.standard_normal(p.shape)
    return model


def loss_of(model, batch=0):
    x = np.random.default_rng(3 + batch).standard_normal((6, 3))
    return ((model(x) - 1) ** 2).mean()


def train(model, optimizer, steps, start=0):
    for t in range(start, start + steps):
        optimizer.zero_grad()
        loss_of(model, t).backward()
        optimizer.step()
    return [p.numpy().copy() for p in model.parameters()[0]]


OBJECTS = [name for name in optim.__all__
           if isinstance(getattr(optim, name), type)
           and issubclass(getattr(optim, name), optim.Optimizer)
           and getattr(optim, name) is not optim.Optimizer]  # fmt: skip


def made(name, model, **options):
    """An optimizer of the whole model, or of its matrices for Muon."""
    if name == "Muon":
        model = {n: p for n, p in model.named_parameters() if p.ndim > 1}
    return getattr(optim, name)(model, **options)


@pytest.mark.parametrize("name", OBJECTS)
def test_flat_runs_equal_separate_parameters(name):
    first, second = network(), network()
    found = train(first, made(name, first), 5)
    separate = dict(second.named_parameters())
    if name == "Muon":
        separate = {n: p for n, p in separate.items() if p.ndim > 1}
    expected = train(second, getattr(optim, name)(separate), 5)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OBJECTS)
def test_a_saved_state_goes_on_with_equal_bits(name):
    straight = network()
    expected = train(straight, made(name, straight), 7)
    first = network()
    optimizer = made(name, first)
    train(first, optimizer, 3)
    second = network()
    second.load_state_dict(first.state_dict())
    resumed = made(name, second)
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.steps == optimizer.steps
    for a, b in zip(train(second, resumed, 4, start=3), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OBJECTS)
def test_a_replayed_step_equals_eager_with_a_schedule(name):
    lr = (
        0.01 if name in {"Rprop", "ASGD"} else optim.cosine_decay(0.01, 10)
    )  # theirs starts, or decays
    eager, recorded = network(), network()
    expected = train(eager, made(name, eager, lr=lr), 6)
    optimizer = made(name, recorded, lr=lr)
    parameters = recorded.parameters()[0]

    @replay
    def step(x):
        optimizer.zero_grad()
        ((recorded(x) - 1) ** 2).mean().backward()
        optimizer.step()

    for t in range(6):
        step(Tensor(np.random.default_rng(3 + t).standard_normal((6, 3))))
    assert step.recorded == 1
    for p, b in zip(parameters, expected, strict=True):
        np.testing.assert_array_equal(p.numpy(), b)


def test_groups_have_their_own_options():
    model = network()
    before = [p.numpy().copy() for p in model.parameters()[0]]
    optimizer = optim.SGD(
        model, lr=0.5, groups=[{"params": "*.bias", "lr": 0.0}, {"params": model.get(2), "lr": 0.1}]
    )
    optimizer.zero_grad()
    loss_of(model).backward()
    gradients = [p.grad.numpy().copy() for p in model.parameters()[0]]
    optimizer.step()
    rates = {"0.weight": 0.5, "0.bias": 0.0, "2.weight": 0.1, "2.bias": 0.0}
    names = [n for n, _ in model.named_parameters()]
    assert len(names) == 4
    for p, b, g, (suffix, rate) in zip(
        model.parameters()[0], before, gradients, rates.items(), strict=True
    ):
        np.testing.assert_allclose(p.numpy(), b - rate * g, rtol=1e-15, err_msg=suffix)
    optimizer.lr = 0.25
    assert optimizer.rates() == [0.25, 0.25, 0.25]


def test_mistakes_are_named_and_change_nothing():
    model = network()
    with pytest.raises(TypeError, match="did you mean 'weight_decay'"):
        optim.Adam(model, weight_decai=0.1)
    with pytest.raises(ValueError, match="at least 0"):
        optim.Adam(model, lr=-1.0)
    with pytest.raises(ValueError, match="nesterov"):
        optim.SGD(model, nesterov=True)
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        optim.Adam(model, betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="matches none"):
        optim.Adam(model, groups=[{"params": "*.wieght"}])
    with pytest.raises(ValueError, match=r"bias.*another optimizer"):
        optim.Muon(model)
    optimizer = optim.Adam(model)
    with pytest.raises(KeyError, match="nothing about"):
        optimizer.load_state_dict({"state": {}, "rates": [0.1], "accumulated": 0})


WAYS = {
    "item": lambda group, **given: [group.options.__setitem__(k, v) for k, v in given.items()],
    "update": lambda group, **given: group.options.update(given),
    "update by keyword": lambda group, **given: group.options.update(**given),
    "or": lambda group, **given: group.options.__ior__(given),
    "another dict": lambda group, **given: setattr(group, "options", {**group.options, **given}),
}


@pytest.mark.parametrize("way", WAYS)
def test_options_that_are_set_later_count_from_the_next_step_on(way):
    first, second = network(), network()
    optimizer = optim.AdamW(first, lr=0.1)
    train(first, optimizer, 2)
    later = {"lr": 0.02, "betas": (0.5, 0.9), "weight_decay": 0.3}
    WAYS[way](optimizer.groups[0], **later)
    found = train(first, optimizer, 2, start=2)
    resumed = optim.AdamW(second, lr=0.1)
    train(second, resumed, 2)
    saved, resumed = resumed.state_dict(), optim.AdamW(second, **later)
    resumed.load_state_dict(saved | {"rates": [0.02]})
    assert optimizer.lr == resumed.lr == 0.02
    for a, b in zip(found, train(second, resumed, 2, start=2), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"weight_decay": -1}, ValueError, "Adam: weight_decay must be at least 0, not -1"),
        ({"eps": math.nan}, ValueError, "Adam: eps must be at least 0, not nan"),
        ({"lr": -0.5}, ValueError, "Adam: lr must be at least 0, not -0.5"),
        ({"betas": (0.9, 1.0)}, ValueError, r"Adam: betas\[1\] must lie in \[0, 1\), not 1.0"),
        ({"betas": (0.9,)}, ValueError, "shorter"),
        ({"epz": 1e-3}, TypeError, "Adam: there is no option 'epz'.*the options are lr, betas"),
        ({"learningRate": 1e-3}, TypeError, "Adam: there is no option 'learningRate'"),
        ({"lr": "fast"}, ValueError, "could not convert"),
    ],
    ids=str,
)
def test_a_bad_option_is_refused_where_it_is_set(way, given, kind, message):
    first, second = network(), network()
    optimizer, other = optim.Adam(first, lr=0.1), optim.Adam(second, lr=0.1)
    train(first, optimizer, 1)
    train(second, other, 1)
    before = dict(optimizer.groups[0].options)
    with pytest.raises(kind, match=message):
        WAYS[way](optimizer.groups[0], **given)
    assert optimizer.groups[0].options == before
    for a, b in zip(train(first, optimizer, 1), train(second, other, 1), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_keyword_of_the_constructor_may_have_been_meant():
    said = "no option 'clip_norm' .write clip_grad_norm=1.0.*lr, .*groups, accumulate"
    with pytest.raises(TypeError, match=said):
        optim.Adam(network(), clip_norm=1.0)
    with pytest.raises(TypeError, match="Adam: clip_grad_norm is for all parameters: give it to"):
        optim.Adam(network(), groups=[{"params": "*", "clip_grad_norm": 1.0}])


@pytest.mark.parametrize("way", [*WAYS, "lr"])
def test_a_number_after_a_schedule_is_a_rate_that_recorded_steps_read(way):
    model = network()
    optimizer = optim.SGD(model, lr=lambda _: 0.5)

    def give(lr):
        if way == "lr":
            optimizer.lr = lr
        else:
            WAYS[way](optimizer.groups[0], lr=lr)

    give(0.25)
    assert isinstance(optimizer.groups[0].rate, Tensor)
    gradients = [np.ones_like(p.numpy()) for p in model.parameters()[0]]

    @replay
    def step():
        for p, g in zip(model.parameters()[0], gradients, strict=True):
            p.grad = g
        optimizer.step()

    moved = []
    for lr in (0.25, 0.25, 0.25, 0.125):
        give(lr)
        before = model.parameters()[0][0].numpy().copy()
        step()
        moved.append(float((before - model.parameters()[0][0].numpy()).max()))
    assert step.recorded == 1
    np.testing.assert_allclose(moved, [0.25, 0.25, 0.25, 0.125], rtol=1e-5)


def test_a_copy_has_the_rate_that_was_loaded():
    optimizer, other = optim.Adam(network(), lr=0.1), optim.Adam(network(), lr=0.05)
    optimizer.load_state_dict(other.state_dict())
    assert optimizer.lr == 0.05
    assert copy.deepcopy(optimizer).lr == pickle.loads(pickle.dumps(optimizer)).lr == 0.05


def test_a_rate_among_the_options_is_read_by_a_recorded_step_and_may_be_a_schedule():
    model = network()
    optimizer = optim.SGD(model, lr=0.1)
    [group] = optimizer.groups

    @replay
    def moved(x):
        optimizer.zero_grad()
        (model(x) ** 2).sum().backward()
        before = model.get(0).weight.detach().copy()
        optimizer.step()
        return abs(model.get(0).weight - before).sum()

    x = np.ones((2, 3))
    assert all(float(moved(x)) > 0 for _ in range(3))
    group.options["lr"] = 0.0
    assert float(moved(x)) == 0
    group.options["lr"] = Tensor(np.array(0.25))
    assert optimizer.lr == 0.25
    group.options["lr"] = lambda step: 0.5 + step
    assert optimizer.lr == 0.5 + optimizer.steps
    group.options["lr"] = 0.125
    assert optimizer.lr == copy.deepcopy(optimizer).lr == 0.125


def test_of_several_options_all_are_set_or_none():
    [group] = optim.Adam(network()).groups
    before = dict(group.options)
    for way in set(WAYS) - {"item"}:
        with pytest.raises(ValueError, match="eps"):
            WAYS[way](group, weight_decay=0.5, eps=-1)
        assert group.options == before


def test_options_that_do_not_go_together_are_refused_at_the_next_step():
    model = network()
    groups = [{"params": "0.*", "momentum": 0.5}]
    optimizer = optim.SGD(model, lr=0.1, groups=groups, accumulate=2)
    before = [p.numpy().copy() for p in model.parameters()[0]]
    optimizer.groups[-1].options["nesterov"] = True  # it needs a momentum, which may come later
    for _ in range(3):
        loss_of(model).backward()
        if optimizer.accumulated:
            with pytest.raises(ValueError, match="sgd: nesterov needs momentum > 0"):
                optimizer.step()
        else:
            optimizer.step()
    for p, b in zip(model.parameters()[0], before, strict=True):  # not those of the first group
        np.testing.assert_array_equal(p.numpy(), b)
    optimizer.groups[-1].options["momentum"] = 0.9
    assert optimizer.step()
    assert not np.array_equal(model.parameters()[0][0].numpy(), before[0])


def test_a_list_among_the_options_is_checked_when_its_entries_change():
    first, second = network(), network()
    betas = [0.5, 0.9]
    optimizer = optim.Adam(first, lr=0.1, betas=betas)
    train(first, optimizer, 2)
    betas[1] = 1.0
    with pytest.raises(ValueError, match=r"Adam: betas\[1\] must lie in \[0, 1\), not 1.0"):
        train(first, optimizer, 1)
    betas[1] = 0.99
    found = train(first, optimizer, 1, start=2)
    other = optim.Adam(second, lr=0.1, betas=(0.5, 0.9))
    train(second, other, 2)
    other.groups[0].options["betas"] = (0.5, 0.99)
    for a, b in zip(found, train(second, other, 1, start=2), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_option_that_is_removed_has_the_rule_s_default():
    ways = (
        lambda o: o.__delitem__("momentum"),
        lambda o: o.pop("momentum"),
        lambda o: o.popitem(),
        lambda o: o.clear(),
    )
    for remove in ways:
        first, second = network(), network()
        optimizer = optim.SGD(first, lr=0.1, momentum=0.9)
        options = optimizer.groups[0].options
        options["momentum"] = options.pop("momentum")  # the last one, for popitem
        train(first, optimizer, 1)
        remove(options)
        assert "momentum" not in options
        found = train(first, optimizer, 1)
        other = optim.SGD(second, lr=0.1, momentum=0.9)
        train(second, other, 1)
        other.groups[0].options["momentum"] = 0.0
        for a, b in zip(found, train(second, other, 1), strict=True):
            np.testing.assert_array_equal(a, b)
        with pytest.raises(ValueError, match="momentum must be at least 0, not -1"):
            options.setdefault("momentum", -1)
        assert options.setdefault("momentum", 0.5) == options.setdefault("momentum") == 0.5


def test_steps_check_no_options_that_are_as_they_were(monkeypatch):
    model = network()
    optimizer = optim.Adam(model, lr=0.1, groups=[{"params": "*.bias", "betas": [0.5, 0.9]}])
    checks = []
    complete = optim.UpdateRule.complete_options
    monkeypatch.setattr(
        optim.UpdateRule,
        "complete_options",
        lambda self, config: checks.append(config) or complete(self, config),
    )
    train(model, optimizer, 3)
    assert not checks  # the constructor has made the settings of each group
    optimizer.lr = 0.01
    train(model, optimizer, 2)
    assert not checks  # a rate is an array, which the rule reads in each step
    optimizer.groups[0].options["eps"] = 1e-3
    train(model, optimizer, 2)
    assert len(checks) == 1
    optimizer.lr = optim.constant_rate(0.1)
    train(model, optimizer, 2)
    assert len(checks) == 3  # one for each group


def test_a_deep_copy_has_a_rate_of_its_own():
    model = nn.Linear(2, 2)
    optimizer = optim.Adam(model, lr=0.01)
    _, other = copy.deepcopy((model, optimizer))
    other.lr = 0.5
    assert (optimizer.lr, other.lr) == (0.01, 0.5)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_of_an_optimizer_checks_its_own_options(copied):
    optimizer = optim.Adam(list(network().parameters()[0]))
    other = copied(optimizer)
    other.groups[0].options["eps"] = 0.5
    assert optimizer.groups[0].options["eps"] == 1e-8
    with pytest.raises(ValueError, match="Adam: eps"):
        other.groups[0].options["eps"] = -1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_of_copies_learn_what_is_unfrozen_in_them(copied):
    """Where the Parameters of the first lay, those of a later copy may lie."""
    for _ in range(20):
        model = optimizer = None
        model = network()
        model.get(0).bias.freeze()
        optimizer = optim.SGD(model, lr=0.1)
        for _ in range(4):
            model, optimizer = copied((model, optimizer))
        bias = model.get(0).bias.unfreeze()
        before = bias.numpy().copy()
        bias.grad = np.ones(bias.shape)
        optimizer.step()
        np.testing.assert_allclose(bias.numpy(), before - np.float32(0.1), rtol=1e-6)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_leaves_what_was_frozen_after_the_last_step(copied):
    model = network()
    optimizer = optim.SGD(model, lr=0.1)
    train(model, optimizer, 1)
    model.freeze()
    model, optimizer = copied((model, optimizer))
    before = model.state_dict()
    for _, p in model.named_parameters():
        p.grad = np.ones(p.shape)
    optimizer.step()
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_state_that_is_refused_leaves_what_is_frozen_now_as_it_is():
    model = network()
    optimizer = optim.SGD(model, lr=0.1)
    saved = optim.Adam(model.clone(), lr=0.1)
    train(saved.module, saved, 1)
    bias = model.get(0).bias.freeze()
    with pytest.raises(ValueError, match="no slot"):
        optimizer.load_state_dict(saved.state_dict())
    before = bias.numpy().copy()
    for p in model.get(0).own_parameters():
        p.grad = np.ones(p.shape)
    optimizer.step()
    np.testing.assert_array_equal(bias.numpy(), before)


@pytest.mark.parametrize("rests", [0, 1])
def test_memory_that_went_on_learning_keeps_its_state_when_a_sharer_learns_again(rests):
    """Of two layers that share all, one is frozen for a time: the momentum is that of the other."""
    layer = nn.Linear(3, 3).double()
    twin = layer.clone("weight", "bias", "gradWeight", "gradBias")
    model = nn.Sequential(layer, twin)
    optimizer = optim.SGD(model, lr=0.1, momentum=0.5)
    moved = []
    for step in range(4):
        if step in {1, 3}:
            (model.get(rests).unfreeze if step == 3 else model.get(rests).freeze)()
        model.get(1 - rests).weight.grad.data[...] = 1.0
        before = layer.weight.numpy().copy()
        optimizer.step()
        moved.append((before - layer.weight.numpy())[0, 0])
    np.testing.assert_allclose(moved, [0.1, 0.15, 0.175, 0.1875])


def test_a_gradient_that_was_replaced_is_the_one_that_counts():
    first, second = network(), network()
    a, b = optim.SGD(first, lr=0.1), optim.SGD(dict(second.named_parameters()), lr=0.1)
    for model, optimizer in ((first, a), (second, b)):
        for i, p in enumerate(model.parameters()[0]):
            p.grad = None if i == 1 else np.full(p.shape, i + 1.0)
        optimizer.step()
    for p, q in zip(first.parameters()[0], second.parameters()[0], strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_gathered_gradients_are_averaged():
    first, second = network(), network()
    gathering = optim.SGD(first, lr=0.1, accumulate=2)
    for t in range(4):
        gathering.zero_grad()
        loss_of(first, t % 2).backward()
        assert gathering.step() == (t % 2 == 1)
    plain = optim.SGD(second, lr=0.1)
    for _ in range(2):
        plain.zero_grad()
        ((loss_of(second, 0) + loss_of(second, 1)) / 2).backward()
        plain.step()
    for p, q in zip(first.parameters()[0], second.parameters()[0], strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-13)


def test_gradients_are_clipped():
    def fresh():
        model = network()
        (1000 * loss_of(model)).backward()
        return model, [p.grad.numpy().copy() for p in model.parameters()[0]]

    model, before = fresh()
    total = math.sqrt(sum(float(np.sum(g**2)) for g in before))
    assert float(optim.clip_grad_norm(model, 2.0)) == pytest.approx(total)
    for p, g in zip(model.parameters()[0], before, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), g * 2 / total, rtol=1e-6)
    model, before = fresh()
    optim.clip_each_grad_norm(model, 1.0)
    for p in model.parameters()[0]:
        assert np.linalg.norm(p.grad.numpy()) == pytest.approx(1.0, rel=1e-5)
    model, before = fresh()
    optim.clip_grad_value(model, 0.5)
    for p, g in zip(model.parameters()[0], before, strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), np.clip(g, -0.5, 0.5))


def test_a_converted_model_keeps_its_optimizer_state():
    model = network()
    optimizer = optim.Adam(model, lr=0.01)
    train(model, optimizer, 3)
    model.float()
    train_float = train(model, optimizer, 1)
    assert optimizer.steps == 4
    assert all(p.dtype == np.float32 for p in train_float)


def test_the_average_follows_and_is_put_in_place():
    model = network()
    average = optim.ExponentialMovingAverage(model, 0.5)
    start = {n: p.numpy().copy() for n, p in model.named_parameters()}
    train(model, optim.SGD(model, lr=0.1), 1)
    average.update()
    now = {n: p.numpy().copy() for n, p in model.named_parameters()}
    with average.apply():
        for n, p in model.named_parameters():
            np.testing.assert_allclose(p.numpy(), (start[n] + now[n]) / 2, rtol=1e-14)
    for n, p in model.named_parameters():
        np.testing.assert_array_equal(p.numpy(), now[n])


def test_schedules_say_how_they_are_joined():
    rise, fall = optim.constant_rate(0.1), optim.cosine_decay(0.1, 50)
    with pytest.raises(TypeError, match=r"no schedule\..*join_schedules\(first, 100, second\)"):
        optim.join_schedules([rise, fall], [100])
    with pytest.raises(TypeError, match=r"0\.1 is no schedule"):
        optim.join_schedules(rise, 100, 0.1)
    with pytest.raises(TypeError, match="a step or a schedule is missing"):
        optim.join_schedules(rise, fall, fall)
    with pytest.raises(TypeError, match="a step or a schedule is missing"):
        optim.join_schedules(rise, 100)
    with pytest.raises(ValueError, match=r"the steps \[100, 50\] do not increase"):
        optim.join_schedules(rise, 100, fall, 50, rise)
    with pytest.raises(TypeError, match=r"0.1: for a rate that stays write optim.constant_rate"):
        optim.linear_warmup(0.1, 100)


def test_schedules_one_after_another_and_plateaus(tmp_path):
    schedule = optim.join_schedules(
        optim.linear_warmup(optim.constant_rate(1.0), 4), 10, optim.exponential_decay(1.0, 0.5)
    )
    assert [schedule(t) for t in (0, 2, 4, 9, 10, 12)] == [0, 0.5, 1, 1, 1, 0.25]
    optim.plot_schedule(schedule, 20, tmp_path / "rate.png")
    assert (tmp_path / "rate.png").stat().st_size > 1000
    plateau = optim.ReduceOnPlateau(1.0, factor=0.5, patience=1)
    model = network()
    optimizer = optim.SGD(model, lr=plateau.rate)
    fell = [plateau.report(v) for v in (3.0, 2.0, 2.0, 2.0, 2.0)]
    assert fell == [False, False, False, True, False]
    assert optimizer.lr == 0.5
