"""Modules and functions of Tensors where MXNet's Module wants a Symbol."""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad import nn, optim
from tapegrad.nn import mxnet as mx

RNG = np.random.RandomState(0)
X = RNG.randn(32, 5).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.float32)


def network():
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNormalization(8), nn.Tanh(), nn.Linear(8, 2)
    )  # fmt: skip


def by_hand(model, steps):
    """The same training written with nn and optim."""
    criterion, optimizer = nn.CrossEntropyCriterion(), optim.SGD(model, lr=0.1, momentum=0.9)
    for i in range(steps):
        rows = slice(16 * (i % 2), 16 * (i % 2) + 16)
        optimizer.zero_grad()
        criterion(model(X[rows]), Y[rows]).backward()
        optimizer.step()
    return model


def values(model):
    named = (*model.named_parameters(), *model.named_buffers())
    return {name.replace(".", "_"): np.array(x.numpy()) for name, x in named}


def test_a_module_is_trained_as_by_hand_and_gets_the_values():
    model = network()
    expected = values(by_hand(model.clone(), 6))
    m = mx.mod.Module(model, loss=nn.CrossEntropyCriterion())
    m.fit(
        mx.io.NDArrayIter(X, Y, 16), num_epoch=3,
        optimizer_params={"learning_rate": 0.1, "momentum": 0.9},
    )  # fmt: skip
    arguments, states = m.get_params()
    assert [*arguments] == ["0_weight", "0_bias", "1_weight", "1_bias", "3_weight", "3_bias"]
    assert [*states] == ["1_running_mean", "1_running_var"]
    own = values(model)
    for name, x in expected.items():
        found = {**arguments, **states}[name].asnumpy()
        np.testing.assert_allclose(found, x, rtol=2e-5, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(found, own[name])
    data = mx.io.NDArrayIter(X, Y, 16)
    model.evaluate()
    np.testing.assert_allclose(m.predict(data).asnumpy(), model(X).numpy(), rtol=1e-6, atol=1e-6)
    right = np.mean(model(X).numpy().argmax(1) == Y)
    assert m.score(data, "acc") == [("accuracy", pytest.approx(right))]


def test_its_own_values_stay_unless_others_are_asked_for():
    model = network()
    first = values(model)
    m = mx.mod.Module(model, label_names=None)
    m.bind([("data", (4, 5))])
    m.init_params()
    for name, x in m.get_params()[0].items():
        np.testing.assert_array_equal(x.asnumpy(), first[name])
    m.init_params(mx.init.One(), force_init=True)
    assert np.all(m.get_params()[0]["0_weight"].asnumpy() == 1)
    m.set_params({**m.get_params()[0], "3_bias": np.array([5, 6], "f")}, m.get_params()[1])
    assert m.get_params()[0]["3_bias"].asnumpy().tolist() == [5, 6]


def test_frozen_parameters_are_not_trained_and_several_contexts_share_the_work():
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
    model.get(0).weight.freeze()
    one, two = (
        mx.mod.Module(
            model.clone(), loss=nn.CrossEntropyCriterion(), context=[mx.cpu(i) for i in range(n)]
        )
        for n in (1, 2)
    )
    first = values(model)
    results = []
    for m in (one, two):
        m.bind([("data", (8, 5))], [("softmax_label", (8,))])
        m.init_params()
        m.init_optimizer(optimizer_params={"learning_rate": 0.5})
        for _ in range(3):
            m.forward_backward(mx.io.DataBatch([X[:8]], [Y[:8]]))
            m.update()
        results.append({name: x.asnumpy() for name, x in m.get_params()[0].items()})
    np.testing.assert_array_equal(results[0]["0_weight"], first["0_weight"])
    assert not np.array_equal(results[0]["0_bias"], first["0_bias"])
    for name, x in results[0].items():
        np.testing.assert_allclose(results[1][name], x, rtol=1e-5, atol=1e-6)


def test_a_graph_with_two_inputs_and_gradients_of_them():
    a, b = nn.node(nn.Linear(3, 4)), nn.node(nn.Linear(5, 4))
    model = nn.gModule([a, b], [nn.CAddTable()(a, b)])
    m = mx.mod.Module(model, data_names=["a", "b"], label_names=None)
    m.bind([("a", (2, 3)), ("b", (2, 5))], inputs_need_grad=True)
    m.init_params()
    x = [RNG.randn(2, n).astype(np.float32) for n in (3, 5)]
    m.forward(mx.io.DataBatch(x), is_train=True)
    np.testing.assert_allclose(m.get_outputs()[0].asnumpy(), model.forward(x).numpy(), rtol=1e-6)
    g = RNG.randn(2, 4).astype(np.float32)
    m.backward([g])
    for found, expected in zip(m.get_input_grads(), model.backward(x, g), strict=True):
        np.testing.assert_allclose(found.asnumpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


ZEROS = np.zeros(5, np.float32)


def square(data, softmax_label, slope=ZEROS, offset=ZEROS[:1]):
    return (data @ slope + offset - softmax_label) ** 2


def test_a_function_of_tensors_returns_its_loss():
    m = mx.mod.Module(square)
    target = X @ np.arange(5, dtype=np.float32) + 1
    m.fit(
        mx.io.NDArrayIter(X, target, 16), eval_metric="loss", num_epoch=60,
        optimizer_params={"learning_rate": 0.1},
    )  # fmt: skip
    found = m.get_params()[0]
    np.testing.assert_allclose(found["slope"].asnumpy(), np.arange(5), atol=0.01)
    np.testing.assert_allclose(found["offset"].asnumpy(), [1], atol=0.01)


def test_a_function_composes_with_symbols():
    def double(x):
        return 2 * x

    hidden = mx.mod.symbol_of(double, ["x"], name="double")
    assert hidden.list_outputs() == ["double_output"]
    both = mx.sym.FullyConnected(hidden, num_hidden=3, name="fc")
    assert both.infer_shape(x=(2, 4))[0] == [(2, 4), (3, 4), (3,)]
    y = both.eval(x=X[:2, :4], fc_weight=np.ones((3, 4), "f"), fc_bias=np.zeros(3, "f"))[0]
    np.testing.assert_allclose(y.asnumpy()[:, 0], 2 * X[:2, :4].sum(1), rtol=1e-6)


def test_what_cannot_stand_for_a_symbol_is_refused():
    with pytest.raises(TypeError, match=r"a Symbol, an nn.Module or a function, not int"):
        mx.mod.Module(5)
    with pytest.raises(ValueError, match=r"no argument 'zz'.*data, softmax_label"):
        mx.mod.Module(square, data_names=["zz"])
    twice = nn.Sequential(nn.Linear(2, 2))
    twice.get(0).a_b = nn.Linear(2, 2)
    twice.get(0).a = nn.Sequential()
    twice.get(0).a.b = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="would both be called"):
        mx.mod.Module(twice)
    with pytest.raises(mx.MXNetError, match=r"symbol\.json"):
        mx.mod.Module(square).symbol.tojson()
