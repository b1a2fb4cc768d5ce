"""A group that is added to an optimizer learns from then on; everything else goes on as before."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from tapegrad import nn, optim
from tapegrad.autograd import Parameter, replay

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
KINDS = [
    (optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (optim.Adam, {"lr": 0.05}),
    (optim.AdamW, {"lr": optim.step_decay(0.05, every=2), "weight_decay": 0.1}),
    (optim.Muon, {"lr": 0.05}),  # one array at a time
]


def model_of(seed=0):
    nn.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 3, bias=False), nn.Tanh())


def head():
    nn.manual_seed(7)
    return nn.Linear(3, 2, bias=False)


def learn(model, *optimizers, steps=3):
    for _ in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        (model(X) ** 2).sum().backward()
        for optimizer in optimizers:
            optimizer.step()


def weights(model):
    return {name: p.numpy().copy() for name, p in model.named_parameters()}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=lambda v: getattr(v, "__name__", ""))
def test_it_learns_as_with_an_optimizer_of_its_own(kind, options):
    one, two = model_of(), model_of()
    optimizer, first = kind(one, **options), kind(two, **options)
    learn(one, optimizer)
    learn(two, first)
    one.add(head())
    two.add(head())
    group = optimizer.add_group(one[2], lr=0.02)
    body = kind([two[0].weight], **options)  # goes on as the first did
    saved = first.state_dict()
    body.load_state_dict({**saved, "state": {"0": saved["state"]["0.weight"]}})
    other = kind([two[2].weight], **{**options, "lr": 0.02})
    learn(one, optimizer)
    learn(two, body, other)
    assert_equal(weights(one), weights(two))
    assert optimizer.groups[-1] is group
    assert list(group.named) == ["2.weight"]
    assert optimizer.rates() == [body.lr, 0.02]


def test_its_other_options_are_the_constructors():
    model = model_of()
    optimizer = optim.SGD(model, lr=0.1, momentum=0.5, groups=[{"params": "0.*", "momentum": 0.9}])
    optimizer.lr = 3.0
    model.add(head())
    assert dict(optimizer.add_group("2.*").options)["momentum"] == 0.5
    assert optimizer.rates() == [3.0, 0.1]


@pytest.mark.parametrize("made_of", ["list", "dict"])
def test_an_optimizer_of_parameters_takes_others(made_of):
    a, b, c = (Parameter(np.ones(2)) for _ in "abc")
    optimizer = optim.SGD([a] if made_of == "list" else {"a": a}, lr=0.5)
    if made_of == "list":
        optimizer.add_group(b, lr=0.25)
        optimizer.add_group([c])
        assert list(optimizer.named) == ["0", "1", "2"]
    else:
        optimizer.add_group({"b": b, "c": c}, lr=0.25)
        layer = nn.Linear(2, 2)
        optimizer.add_group(layer)
        assert list(optimizer.named) == ["a", "b", "c", "weight", "bias"]
    (a.sum() + b.sum() + c.sum()).backward()
    optimizer.step()
    assert [a.numpy()[0], b.numpy()[0]] == [0.5, 0.75]


def test_a_recorded_step_sees_it():
    def run(wrap):
        model = model_of()
        optimizer = optim.Adam(model, lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (model(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        step = wrap(step)
        for turn in range(8):
            if turn == 4:
                model.add(head())
                optimizer.add_group(model[2], lr=0.3)
            step(X)
        return weights(model)

    assert_equal(run(replay), run(lambda step: step))


def test_it_is_saved_loaded_and_copied():
    model = model_of()
    optimizer = optim.Adam(model, lr=0.1)
    learn(model, optimizer)
    model.add(head())
    optimizer.add_group(model[2], lr=0.3)
    learn(model, optimizer)
    fresh = model_of().add(head())
    fresh.load_state_dict(model.state_dict())
    again = optim.Adam(fresh, lr=0.1, groups=[{"params": "0.*"}, {"params": "2.*", "lr": 0.3}])
    again.load_state_dict(optimizer.state_dict())
    pairs = [copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))]
    for each in [(model, optimizer), (fresh, again), *pairs]:
        learn(*each)
        assert_equal(weights(each[0]), weights(model))


def test_frozen_and_new_layers():
    model = model_of()
    optimizer = optim.SGD(model, lr=0.1)
    model.add(head())
    model[2].freeze()
    optimizer.add_group(model[2])
    assert optimizer.learning == ["0.weight"]
    model.unfreeze()
    assert optimizer.learning == ["0.weight", "2.weight"]
    before = weights(model)
    learn(model, optimizer, steps=1)
    assert (weights(model)["2.weight"] != before["2.weight"]).all()


def test_a_layer_that_nobody_added_is_named():
    model = model_of()
    optimizer = optim.SGD(model, lr=0.1)
    model.add(head())
    model.add(nn.Linear(2, 1))
    optimizer.add_group(model[2])
    with pytest.raises(
        RuntimeError, match=r"new Parameters: 3.weight, 3.bias. optimizer.add_group"
    ):
        learn(model, optimizer)
    optimizer.add_group("3.*")
    learn(model, optimizer)


def test_a_layer_in_the_memory_of_the_one_that_it_replaces_is_another():
    """The list alone shows it, where no attribute is set: by its items, not by their ids."""
    model, template = model_of(), head()
    optimizer = optim.SGD(model.add(head()), lr=0.1)
    assert not optimizer._structure.may_differ()
    number, made = id(model.modules.pop()), []
    while len(made) < 100 and number not in map(id, made):
        made.append(object.__new__(nn.Linear))  # as pickle makes one
    vars(made[-1]).update(vars(template))
    model.modules.append(made[-1])
    with pytest.raises(RuntimeError, match="not those that this optimizer was made for"):
        optimizer.step()


REFUSED = [
    (lambda m: m[0], {}, ValueError, "has 0.weight, which the optimizer has already"),
    (lambda m: "7.*", {}, ValueError, r"'7.\*' matches none of \['0.weight', '2.weight'\]"),
    (lambda m: nn.Linear(2, 2), {}, ValueError, "matches none of"),
    (lambda m: [m[2], nn.Linear(2, 2)], {}, ValueError, "is not in the optimizer's Sequential"),
    (lambda m: 7, {}, TypeError, "a group's 'params' are int"),
    (lambda m: m[2], {"lr": -1}, ValueError, "SGD: lr must be at least 0"),
    (lambda m: m[2], {"eps": 1}, TypeError, "eps"),
]


@pytest.mark.parametrize(("choose", "options", "kind", "words"), REFUSED)
def test_what_is_refused_changes_nothing(choose, options, kind, words):
    model = model_of()
    optimizer = optim.SGD(model, lr=0.1, momentum=0.9)
    learn(model, optimizer)
    model.add(head())
    before = str(optimizer.state_dict()), repr(optimizer), list(optimizer.named)
    with pytest.raises(kind, match=words):
        optimizer.add_group(choose(model), **options)
    assert before == (str(optimizer.state_dict()), repr(optimizer), list(optimizer.named))


def test_more_of_what_is_refused():
    model = model_of()
    optimizer = optim.SGD(model, lr=0.1)
    model.insert(nn.Linear(3, 3, bias=False), 0)
    with pytest.raises(ValueError, match=r"called 0.weight as others"):
        optimizer.add_group(model[0])
    with pytest.raises(ValueError, match="called weight as others"):
        optim.SGD(dict(nn.Linear(1, 1).named_parameters()), lr=1).add_group(nn.Linear(1, 1, False))
    with pytest.raises(TypeError, match="parameter 0 is int"):
        optim.SGD([Parameter(np.ones(1))], lr=1).add_group([1])
    with pytest.raises(ValueError, match="has no parameters"):
        optim.SGD([Parameter(np.ones(1))], lr=1).add_group([])
    with pytest.raises(ValueError, match="Muon"):
        optim.Muon([Parameter(np.ones((2, 2)))], lr=1).add_group(Parameter(np.ones(2)))
