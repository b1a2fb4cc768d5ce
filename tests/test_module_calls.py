"""Calls of modules: names, hooks, other parameters, slices, and the words of other systems."""

from __future__ import annotations

import copy
import json
import pickle
import threading

import numpy as np
import pytest

from tapegrad import nn, optim
from tapegrad.autograd import Parameter, Tensor, checkpoint, grad, no_grad, replay
from tapegrad.nn.methods import advice

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3))


class Masked(nn.Module):
    def __init__(self):
        self.inner = nn.Linear(3, 3).double()

    def forward(self, x, mask=None, mode="a", *, scale=1):
        y = self.inner(x) * scale
        assert isinstance(mask, (Tensor, type(None)))
        if mode == "b":
            y = y + 1
        return y if mask is None else np.where(mask, y, 0)


# Arguments by name ----------------------------------------------------------------------------


def test_arguments_by_name_reach_the_forward_code():
    net, mask = Masked(), X > 0
    plain = net.inner(X).numpy()
    np.testing.assert_array_equal(net(X, mask=mask).numpy(), np.where(mask, plain, 0))
    np.testing.assert_array_equal(net(X, mask=Tensor(mask)).numpy(), np.where(mask, plain, 0))
    np.testing.assert_array_equal(net(X, mode="b").numpy(), plain + 1)
    np.testing.assert_array_equal(net(X, None, "b").numpy(), plain + 1)
    np.testing.assert_array_equal(net(X, mask, "b", scale=2).numpy(),
                                  np.where(mask, plain * 2 + 1, 0))  # fmt: skip
    np.testing.assert_array_equal(net(x=X, mode="b").numpy(), plain + 1)
    np.testing.assert_array_equal(nn.MSECriterion()(X, target=X * 0).numpy(), np.mean(X**2))
    np.testing.assert_array_equal(nn.MSECriterion()(x=X, target=X * 0).numpy(), np.mean(X**2))


def test_a_stateful_call_takes_names_and_its_backward_is_about_the_inputs():
    net, mask = Masked(), X > 0
    y = net.forward(X, mask=mask, scale=2)
    np.testing.assert_array_equal(y.numpy(), net(X, mask=mask, scale=2).numpy())
    found = net.backward(X, y * 0 + 1).numpy()
    expected = grad(lambda x: np.sum(net(x, mask=mask, scale=2)))(X).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_names_pass_through_super_and_nested_modules_and_checkpoints():
    class Twice(Masked):
        def forward(self, x, mask=None, mode="a", *, scale=1):
            return super().forward(x, mask, mode, scale=scale) * 2

    class Outer(nn.Module):
        def __init__(self):
            self.part = Twice()

        def updateOutput(self, x, mask=None):
            return checkpoint(lambda x: self.part.forward(x, mask=mask, mode="b"))(x)

    net, mask = Outer(), X > 0
    once = Masked.updateOutput(net.part, Tensor(X), Tensor(mask), "b").numpy()
    np.testing.assert_array_equal(net(X, mask=mask).numpy(), 2 * once)


def test_a_gradient_passes_to_an_array_by_name_and_stops_at_a_frozen_parameter_by_name():
    class Product(nn.Module):
        def updateOutput(self, x, weight):
            return x * weight

    w = Parameter(np.ones(3))
    Product()(X, weight=w).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), X.sum(0))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m(X, nask=X), "nask"),
        (lambda m: m(), "without an input"),
        (lambda m: m(mode="b"), "without an input"),
        (lambda m: m(nn.node(nn.Identity()), mode="b"), "called on nodes and"),
        (lambda m: m("a"), "is str, not an array"),
        (lambda m: m(X, None, "a", "b"), "argument"),
        (lambda m: m(X, None, "a", mode="b"), "by position and by name"),
        (lambda m: nn.Sequential(m)(X, mode="b"), "mode"),
    ],
)
def test_arguments_that_fit_nothing_are_refused(call, words):
    with pytest.raises(TypeError, match=words):
        call(Masked())


def test_a_replayed_call_with_names_sees_each_value():
    net = Masked()
    step = replay(lambda x, mask, mode: net(x, mask=mask, mode=mode))
    for i in range(6):
        mask, mode = X + i > 1, "ab"[i % 2]
        np.testing.assert_array_equal(step(X, mask, mode).numpy(), net(X, mask, mode).numpy())


# What a forward code returns, and its errors -----------------------------------------------------


def test_an_ndarray_from_forward_code_is_refused_where_a_gradient_should_pass():
    class Lost(nn.Module):
        def __init__(self):
            self.inner = nn.Linear(3, 2).double()

        def updateOutput(self, x):
            return self.inner(x).numpy() * 2

    net = nn.Sequential(Lost())
    for call in (net, net.forward):
        with pytest.raises(TypeError, match=r"Lost.updateOutput returned ndarray") as caught:
            call(X)
        assert "in module Sequential[0].Lost" in caught.value.__notes__
    with no_grad():
        assert net(X).shape == (4, 2)  # nothing asks for a gradient here


def test_an_error_inside_a_layer_of_ones_own_has_the_modules_path():
    class Wrong(nn.Module):
        def updateOutput(self, x):
            return x + np.ones((7, 7))

    with pytest.raises(ValueError, match="broadcast") as caught:
        nn.Sequential(nn.Tanh(), Wrong())(X)
    assert "in module Sequential[1].Wrong" in caught.value.__notes__


def test_an_index_that_is_too_large_speaks_of_the_table():
    for layer in (nn.Embedding(5, 2), nn.LookupRNN(5, 2)):
        with pytest.raises(nn.ShapeError, match=r"index 64.* 5 rows") as caught:
            layer(np.array([64]))
        assert "target" not in str(caught.value)


# Hooks -----------------------------------------------------------------------------------------


def hooked():
    return nn.Sequential(nn.Linear(3, 3).double(), nn.Tanh())


def test_forward_hooks_see_and_change_inputs_and_output():
    net, seen = hooked(), []
    expected = net(X * 2).numpy() + 1
    first = net[0].register_forward_pre_hook(lambda m, x: (x[0] * 2,))
    second = net.register_forward_hook(lambda m, x, y: y + 1)
    third = net.register_forward_hook(lambda m, x, y: seen.append((m, x[0].shape, y.shape)))
    np.testing.assert_array_equal(net(X).numpy(), expected)
    np.testing.assert_array_equal(net.forward(X).numpy(), expected)
    assert seen == [(net, (4, 3), (4, 3))] * 2
    for handle in (first, second, third):
        handle.remove()
        handle.remove()
    np.testing.assert_array_equal(net(X * 2).numpy() + 1, expected)
    with net.register_forward_hook(lambda m, x, y: y * 0):
        assert not net(X).numpy().any()
    assert net(X).numpy().any()


def test_backward_hooks_see_and_change_gradients():
    net, seen = hooked(), []
    g = np.ones((4, 3))
    net.forward(X)
    plain = net.backward(X, g).numpy()
    net[1].register_full_backward_hook(lambda m, gi, go: seen.append((gi[0], go[0])))
    net[0].register_full_backward_hook(lambda m, gi, go: (gi[0] * 3,))
    net[1].register_full_backward_pre_hook(lambda m, go: (go[0] * 2,))
    net.forward(X)
    np.testing.assert_allclose(net.backward(X, g).numpy(), 6 * plain, rtol=1e-12)
    [(grad_input, grad_output)] = seen
    np.testing.assert_allclose(np.asarray(grad_output), 2 * g)
    np.testing.assert_allclose(np.asarray(grad_input), 2 * (1 - net[1].output.numpy() ** 2))
    np.testing.assert_allclose(grad(lambda x: np.sum(net(x)))(X).numpy(), 6 * plain, rtol=1e-12)


def test_a_backward_hook_of_several_inputs_and_outputs_gets_all_at_once():
    class Pair(nn.Module):
        def updateOutput(self, x):
            a, b = x
            return [a * b, a + b]

    net, seen = Pair(), []
    net.register_full_backward_hook(lambda m, gi, go: seen.append((len(gi), len(go))))
    a, b = X, X + 1
    net.forward([a, b])
    ga, gb = net.backward([a, b], [np.ones_like(a), np.zeros_like(a)])
    np.testing.assert_array_equal(ga.numpy(), b)
    np.testing.assert_array_equal(gb.numpy(), a)
    assert seen == [(2, 2)]


def test_a_backward_hook_without_a_tracked_input_gets_none():
    layer, seen = nn.Linear(3, 2), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].shape)))
    layer(X.astype(np.float32)).sum().backward()
    assert seen == [((None,), (4, 2))]
    assert layer.weight.grad.numpy().any()


def test_files_and_copies_do_not_contain_hooks(tmp_path):
    net = hooked()
    net.register_forward_hook(lambda m, x, y: y * 0)
    net.save(tmp_path / "m.safetensors")
    for other in (
        nn.load(tmp_path / "m.safetensors"),
        net.clone(),
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
    ):
        assert other(X).numpy().any()
    assert not net(X).numpy().any()


def test_a_hook_that_comes_goes_or_reads_another_number_is_seen_by_replay():
    net, factor = hooked(), [2.0]
    step = replay(net)
    plain = net(X).numpy()

    def must_give(expected):
        for _ in range(3):
            np.testing.assert_array_equal(step(X).numpy(), expected)

    must_give(plain)
    handle = net.register_forward_hook(lambda m, x, y: y * factor[0])
    must_give(plain * 2)
    factor[0] = 3.0
    must_give(plain * 3)
    handle.remove()
    must_give(plain)


def test_hooks_that_cannot_be_called_or_would_never_be_are_refused():
    class Mine(nn.Module):
        def updateOutput(self, x):
            return x * 2

        def updateGradInput(self, input, gradOutput):
            return gradOutput * 2

    with pytest.raises(TypeError, match="a hook is a function"):
        nn.Tanh().register_forward_hook("print")
    with pytest.raises(TypeError, match="hand-written"):
        Mine().register_full_backward_hook(print)


# Other parameters -----------------------------------------------------------------------------


def test_a_functional_call_computes_with_other_parameters_and_leaves_the_module_alone():
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNormalization(3), nn.Linear(3, 2)).double()
    other = net.clone()
    other.reset()
    before = net.state_dict()
    found = nn.functional_call(net, other.state_dict(), X)
    np.testing.assert_allclose(found.numpy(), other(X).numpy(), rtol=1e-12)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert net[0].weight.grad is None


def test_gradients_reach_the_parameters_that_are_given_and_meta_gradients_too():
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    state = {name: p.numpy() for name, p in net.named_parameters()}

    def loss(parameters, x=X):
        return np.sum(nn.functional_call(net, parameters, x) ** 2)

    (np.sum(net(X) ** 2)).backward()
    found = grad(loss)(state)
    for name, p in net.named_parameters():
        np.testing.assert_allclose(found[name], p.grad.numpy(), rtol=1e-10)

    def after_a_step(rate):
        g = grad(loss)({name: Tensor(value) for name, value in state.items()})
        return loss({name: state[name] - rate * g[name] for name in state})

    rate, h = np.array(0.01), 1e-6
    slope = (after_a_step(rate + h) - after_a_step(rate - h)).numpy() / (2 * h)
    np.testing.assert_allclose(grad(after_a_step)(rate), slope, rtol=1e-5)


def test_functional_calls_share_parts_tie_weights_and_run_in_threads():
    layer = nn.Linear(3, 3).double()
    net = nn.Sequential(layer, nn.Tanh(), layer)
    weights = [RNG.normal(size=(3, 3)) for _ in range(4)]
    expected = []
    for w in weights:
        twin = net.clone()
        twin[0].weight.data[...] = w
        expected.append(twin(X).numpy())
    found = [None] * 4

    def run(i):
        for _ in range(20):
            found[i] = nn.functional_call(net, {"0.weight": weights[i]}, X).numpy()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_functional_call_takes_names_and_refuses_what_does_not_fit():
    net = Masked()
    w = RNG.normal(size=(3, 3))
    y = nn.functional_call(net, {"inner.weight": w}, X, mode="b")
    np.testing.assert_allclose(y.numpy(), X @ w.T + net.inner.bias.numpy() + 1)
    with pytest.raises(KeyError, match="no \\['weight'\\]"):
        nn.functional_call(net, {"weight": w}, X)
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(3, 3\)"):
        nn.functional_call(net, {"inner.weight": w[:, :2]}, X)


# Sequential as a list ----------------------------------------------------------------------------


def test_slices_are_sequentials_of_the_same_children():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    body = net[:-1]
    assert type(body) is nn.Sequential
    assert [*body] == [net[0], net[1]]
    assert [*net[::-1]] == [*net][::-1]
    assert len(net[5:]) == 0
    with pytest.raises(TypeError, match="numbers of its children"):
        nn.ConcatTable(nn.Tanh())[0:1]


def test_children_are_replaced_and_removed():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = X.astype(np.float32)
    net.forward(x)
    head = net[2] = nn.Linear(4, 5)
    assert net[-1] is head
    assert net(x).shape == (4, 5)
    with pytest.raises(RuntimeError, match="call forward"):
        net.backward(x, np.zeros((4, 5)))  # the tape was that of another model
    del net[-1]
    assert net(x).shape == (4, 4)
    net[1:] = [nn.ReLU(), nn.Linear(4, 1)]
    assert net(x).shape == (4, 1)
    del net[1:]
    assert len(net) == 1
    assert net.insert(0, nn.Tanh()).insert(nn.ReLU()).remove(net[1]).size() == 2
    for bad in (lambda: net.__setitem__(0, "a"), lambda: net.__setitem__(slice(1), nn.Tanh())):
        with pytest.raises(TypeError):
            bad()
    with pytest.raises(IndexError):
        net[7] = nn.Tanh()
    with pytest.raises(ValueError, match="no child"):
        net.remove(head)


# Words of other systems -------------------------------------------------------------------------


def test_the_mode_is_a_bool_that_can_be_called():
    net = nn.Sequential(nn.Dropout(0.5))
    assert net.train() is net
    assert net[0].train
    assert net.train(False) is net
    assert not net[0].training
    assert net.training() is net
    net.training = False
    assert net[0].train == True  # noqa: E712  # the comparison is what is tested
    assert not net.train
    assert net.eval() is net
    assert repr(net.train) == str(net.training) == "False"
    assert json.dumps({"a": net.train}) == '{"a": 0}'
    assert pickle.loads(pickle.dumps(net.train)) is False
    assert copy.deepcopy(net.train) is False
    assert isinstance(net.train, int)
    for bad in ([1, 2], 3, "yes", None):
        with pytest.raises(TypeError, match=r"optim\.Trainer"):
            net.train(bad)


def test_a_class_may_override_the_methods_of_the_mode():
    class Counting(nn.Module):
        calls = 0

        def training(self):
            self.calls += 1
            return super().training()

        def updateOutput(self, x):
            return x

    net = Counting().evaluate()
    assert net.training() is net
    assert net.train
    assert net.calls == 1


def test_words_of_pytorch_work():
    net = nn.Sequential(nn.Linear(3, 2))
    net(X.astype(np.float32)).sum().backward()
    net.zero_grad()
    assert not net[0].weight.grad.numpy().any()
    assert net.requires_grad_(False).parameters()[0] == []
    assert len(net.requires_grad_().parameters()[0]) == 2
    assert net.half()[0].weight.dtype == np.float16
    assert nn.Conv2d(3, 8, 3, 2, 1)(np.ones((1, 3, 8, 8), np.float32)).shape == (1, 8, 4, 4)


@pytest.mark.parametrize("name", advice.OF_MODULES)
def test_a_word_that_modules_do_not_have_says_what_to_write(name):
    with pytest.raises(AttributeError, match=name) as caught:
        getattr(nn.Tanh(), name)
    assert advice.OF_MODULES[name] in str(caught.value)
    assert not hasattr(nn.Tanh, name)


def test_an_attribute_error_of_a_property_is_its_own():
    with pytest.raises(AttributeError, match="has no parameter 'weight'"):
        _ = nn.Tanh().gradWeight
    with pytest.raises(AttributeError, match=r"no attribute 'nosuch'$"):
        _ = nn.Tanh().nosuch
    assert not hasattr(nn.Tanh(), "__array__")


def test_words_and_options_of_optimizers():
    net = nn.Linear(3, 2)
    with pytest.raises(TypeError, match="give the module itself"):
        optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(TypeError, match=r"lr=0\.1"):
        optim.SGD(net, 0.1)
    optimizer = optim.SGD(net, lr=0.1)
    for name in ("param_groups", "zeroGradParameters", "learning_rate"):
        with pytest.raises(AttributeError, match="use"):
            getattr(optimizer, name)
    with pytest.raises(AttributeError, match=r"use `optimizer\.lr"):
        optimizer.learning_rate = 0.5
    optimizer.weight_decay = 0.25
    assert optimizer.weight_decay == optimizer.groups[0].options["weight_decay"] == 0.25
    with pytest.raises(ValueError, match="at least 0"):
        optimizer.weight_decay = -1
    assert copy.deepcopy(optimizer).weight_decay == 0.25
