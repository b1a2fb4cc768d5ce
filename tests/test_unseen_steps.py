"""Steps of recurrent layers that nobody sees are one operation, with the results of the steps."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.autograd import replay
from tapegrad.autograd.core.mode import Observer, install_observer
from tapegrad.autograd.core.tree import leaves

LAYERS = {
    "FastLSTM": lambda: nn.Sequencer(nn.FastLSTM(3, 4)),
    "RecLSTM": lambda: nn.Sequencer(nn.RecLSTM(3, 4)),
    "RecGRU": lambda: nn.Sequencer(nn.RecGRU(3, 4)),
    "GRU": lambda: nn.Sequencer(nn.GRU(3, 4)),
    "LSTMCell": lambda: nn.Recurrent().add(nn.LSTMCell(3, 4)),
    "GRUCell": lambda: nn.Recurrent().add(nn.GRUCell(3, 4)),
}


def drawn(make, kind="d"):
    """A layer whose parameters are all different numbers, so that no order of gates is another."""
    layer, rng = make().type(np.dtype(kind)), np.random.default_rng(0)
    for p in layer.parameters()[0]:
        p.data[...] = rng.normal(size=p.shape)
    return layer


def sequence(name="FastLSTM", kind="d"):
    """Five steps of two samples; BigDL has the samples in front."""
    shape = (2, 5, 3) if name.endswith("Cell") else (5, 2, 3)
    return np.random.default_rng(1).normal(size=shape).astype(kind)


def goes_at_once(function):
    """Whether a call runs an operation over time."""
    names = []

    class Names(Observer):
        def call(self, primitive, operands, settings, results):
            names.append(primitive.name)

    with install_observer(Names()):
        function()
    return any(name.endswith("_over_time") for name in names)


def watched(layer):
    """The layer with a hook inside, which sees every step."""
    cell = layer.modules[0]
    child = cell.children()[0]
    child.register_forward_hook(lambda *_: None)
    return layer


def results(layer, x, states=None):
    """The output, the last states, and the gradients of everything."""
    given = [tg.Parameter(a) for a in leaves([x, [] if states is None else states])]
    layer.zeroGradParameters()
    v = np.random.default_rng(7).normal(size=(*x.shape[:2], 4)).astype(x.dtype)
    if states is None:
        y, last = layer(given[0]), []
    else:
        passed = given[1:] if len(given) == 3 else given[1]
        entry = [passed] if isinstance(layer, nn.Sequencer) else passed
        y, last = nn.WithStates(layer)([given[0], [entry]])
    kept = leaves(last)
    (np.sum(y * v) + sum(np.sum(state * state) for state in kept)).backward()
    gradients = [p.grad for p in (*given, *layer.parameters()[0])]
    return [np.array(a.numpy()) for a in (y, *kept, *gradients)]


@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize("kind", ["f", "d", "e"])
@pytest.mark.parametrize("name", LAYERS)
def test_one_operation_gives_what_the_steps_give(name, kind, with_states):
    layer, seen = drawn(LAYERS[name], kind), watched(drawn(LAYERS[name], kind))
    x = sequence(name, kind)
    assert goes_at_once(lambda: layer(x))
    assert not goes_at_once(lambda: seen(x))
    states = None
    if with_states:
        count = 2 if "LSTM" in name else 1
        states = list(np.random.default_rng(2).normal(size=(count, 2, 4)).astype(kind))
    found, expected = results(layer, x, states), results(seen, x, states)
    for one, wanted in zip(found, expected, strict=True):
        assert one.dtype == wanted.dtype
        limit = {"f": 1e-5, "d": 1e-13, "e": 2e-2}[kind] * np.abs(wanted).max()
        np.testing.assert_allclose(one, wanted, rtol=0, atol=limit)


@pytest.mark.parametrize("name", LAYERS)
def test_remembered_states_join_the_parts_of_a_sequence(name):
    layer, x = drawn(LAYERS[name]), sequence(name)
    axis = 1 if isinstance(layer, nn.Recurrent) else 0
    whole = layer(x).numpy()
    layer.remember()
    parts = [layer(part).numpy() for part in np.split(x, [2], axis=axis)]
    assert goes_at_once(lambda: layer(x))
    np.testing.assert_allclose(np.concatenate(parts, axis=axis), whole, rtol=1e-12)
    with pytest.raises(nn.ShapeError, match="states have shape"):
        layer(np.zeros((3, 3, 3)))


def with_bias(layer):
    layer.modules[0].o2g = nn.Linear(4, 16).double()


def without_bias(layer):
    layer.modules[0].i2g.noBias()


@pytest.mark.parametrize("change", [with_bias, without_bias])
def test_both_products_or_none_may_have_a_bias(change):
    layer, x = drawn(LAYERS["FastLSTM"]), sequence()
    change(layer)
    assert goes_at_once(lambda: layer(x))
    found = layer(x).numpy()
    np.testing.assert_allclose(found, watched(layer)(x).numpy(), rtol=1e-12)


def test_a_list_of_steps_is_one_operation_with_a_list_of_outputs():
    layer, x = drawn(LAYERS["FastLSTM"]), sequence()
    assert goes_at_once(lambda: layer(list(x)))
    y = layer(list(x))
    assert isinstance(y, list)
    np.testing.assert_array_equal(np.stack([step.numpy() for step in y]), layer(x).numpy())
    assert not goes_at_once(lambda: layer([x[0], x[1].astype("f")]))
    with pytest.raises(nn.ShapeError, match="states have shape"):
        layer([x[0], x[1, :1]])


class Doubled(nn.FastLSTM):
    def step(self, x, state):
        y, state = super().step(x, state)
        return 2 * y, state


def override(layer):
    cell = layer.modules[0]
    cell.step = cell.step  # an attribute of its own


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequencer(Doubled(3, 4)),
        lambda: nn.Sequencer(nn.LSTM(3, 4)),
        lambda: nn.Sequencer(nn.RecLSTM(3, 4, 2)),
        lambda: nn.Recurrent().add(nn.LSTMCell(3, 4, 0.5)),
        lambda: nn.Recurrent().add(nn.LSTMCell(3, 4, 0, nn.ReLU())),
        lambda: nn.Recurrent().add(nn.GRUCell(3, 4, 0, None, nn.HardSigmoid())),
        lambda: nn.Recurrent({"eps": 1e-5}).add(nn.LSTMCell(3, 4)),
        lambda: nn.Recurrent(maskZero=True).add(nn.LSTMCell(3, 4)),
    ],
)
def test_other_equations_go_by_steps(make):
    layer, x = drawn(make), sequence()
    assert not goes_at_once(lambda: layer(x))


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.modules[0].i2g.freeze(),
        lambda layer: layer.freeze(),
        lambda layer: layer.modules[0].register_forward_pre_hook(lambda *_: None),
        override,
    ],
)
def test_whoever_sees_steps_has_them(change):
    layer, x = drawn(LAYERS["FastLSTM"]), sequence()
    expected = layer(x).numpy()
    change(layer)
    assert not goes_at_once(lambda: layer(x))
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-12)


def test_forward_keeps_what_every_module_inside_computed():
    layer, x = drawn(LAYERS["FastLSTM"]), sequence()
    assert not goes_at_once(lambda: layer.forward(x))
    np.testing.assert_array_equal(layer.modules[0].output.numpy(), layer.output.numpy()[-1])
    np.testing.assert_allclose(layer(x).numpy(), layer.output.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", ["FastLSTM", "LSTMCell"])
def test_a_replayed_step_takes_notice_of_a_hook_that_comes_later(name):
    layer, x, calls = drawn(LAYERS[name]), sequence(name), []
    step = replay(layer)
    for _ in range(3):
        step(x)
    child = layer.modules[0].children()[-1]
    handle = child.register_forward_hook(lambda *_: calls.append(1))
    step(x)
    assert len(calls) >= 5
    handle.remove()
    np.testing.assert_allclose(step(x).numpy(), layer(x).numpy(), rtol=1e-12)


def test_what_is_frozen_has_no_gradient_and_goes_at_once_where_nothing_is_tracked():
    layer, x = drawn(LAYERS["FastLSTM"]), sequence()
    linear = layer.modules[0].i2g.freeze()
    np.sum(layer(x)).backward()
    assert linear.weight.grad is None or not linear.weight.grad.numpy().any()
    assert layer.modules[0].o2g.weight.grad.numpy().all()
    with tg.no_grad():
        assert goes_at_once(lambda: layer(x))


def test_nothing_is_a_sequence_without_steps_or_features_of_another_size():
    layer = drawn(LAYERS["FastLSTM"])
    for shape, message in [((0, 2, 3), "no steps"), ((5, 2, 4), "inputsize")]:
        with pytest.raises(nn.ShapeError, match=message):
            layer(np.zeros(shape))
    assert layer(np.zeros((5, 3))).shape == (5, 4)
    assert layer(np.zeros((5, 0, 3))).shape == (5, 0, 4)
    assert layer(np.zeros((5, 2, 3), int)).shape == (5, 2, 4)
    x = sequence()
    np.testing.assert_allclose(layer(x + 0j).numpy().real, layer(x).numpy(), rtol=1e-12)
