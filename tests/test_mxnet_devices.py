"""`mx.gpu(i)`, with the device "strict" in place of a GPU: it refuses what CuPy's arrays refuse."""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad import devices
from tapegrad.nn import mxnet as mx
from tapegrad.nn.mxnet.optimizer.base import names

OPTIMIZERS = sorted(set(names()) - {"groupadagrad"})  # which takes matrices alone


@pytest.fixture(autouse=True)
def strict_in_place_of_a_gpu(monkeypatch):
    monkeypatch.setattr(
        mx.Context,
        "device",
        property(lambda self: devices.device("strict" if self.device_type == "gpu" else "cpu")),
    )


def dense():
    y = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.Variable("data")), num_hidden=3, name="fc")
    return mx.sym.SoftmaxOutput(y, name="softmax")


def convolutions():
    y = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=4, name="conv")
    y = mx.sym.BatchNorm(y, fix_gamma=False, name="bn")
    y = mx.sym.Pooling(mx.sym.Activation(y, act_type="relu"), pool_type="avg", kernel=(2, 2))
    y = mx.sym.FullyConnected(mx.sym.Flatten(y), num_hidden=3, name="fc")
    return mx.sym.SoftmaxOutput(y, name="softmax")


def recurrent():
    data = mx.sym.Reshape(mx.sym.Variable("data"), shape=(0, 6, 6))
    y, _ = mx.rnn.LSTMCell(4).unroll(6, data, merge_outputs=True)
    y = mx.sym.FullyConnected(mx.sym.Dropout(y, p=0.0), num_hidden=3, name="fc")
    return mx.sym.SoftmaxOutput(y, name="softmax")


def trained(make, context, optimizer="sgd", **settings):
    """(parameters and states, predictions, score) after two epochs."""
    mx.random.seed(0)
    draws = np.random.RandomState(0)
    rows = mx.io.NDArrayIter(draws.normal(size=(12, 1, 6, 6)), draws.randint(0, 3, 12), 4)
    with mx.NameManager():
        module = mx.mod.Module(make(), context=context)
    module.fit(
        rows, num_epoch=2, optimizer=optimizer, initializer=mx.init.Xavier(),
        eval_metric=["acc", "ce"], optimizer_params={"learning_rate": 0.05}, **settings,
    )  # fmt: skip
    arg, aux = module.get_params()
    values = {name: x.asnumpy() for name, x in (arg | aux).items()}
    return values, module.predict(rows).asnumpy(), module.score(rows, "ce")[0][1]


def agree(found, expected):
    assert found[0].keys() == expected[0].keys()
    for name, value in expected[0].items():
        np.testing.assert_allclose(found[0][name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-5)
    assert found[2] == pytest.approx(expected[2], rel=1e-4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_steps_on_a_gpu(optimizer):
    agree(trained(dense, mx.gpu(0), optimizer), trained(dense, mx.cpu(), optimizer))


@pytest.mark.extra
@pytest.mark.parametrize("make", [convolutions, recurrent])
@pytest.mark.parametrize("store", ["local", "device", None])
def test_a_network_trains_to_the_same_numbers(make, store):
    agree(trained(make, mx.gpu(0), kvstore=store), trained(make, mx.cpu(), kvstore=store))
    many = [mx.gpu(0), mx.gpu(1)], [mx.cpu(0), mx.cpu(1)]
    agree(*(trained(make, context, kvstore=store) for context in many))


def test_arrays_move_and_compute(tmp_path):
    x = mx.nd.array([[1, 2, 3], [4, 5, 6]], ctx=mx.gpu(0))
    assert str(x.tensor.device) == "strict"
    y = x * 2 + mx.nd.ones((2, 3), ctx=mx.gpu(0))
    assert y.context == mx.gpu(0)
    assert str(y.tensor.device) == "strict"
    np.testing.assert_array_equal(y.asnumpy(), [[3, 5, 7], [9, 11, 13]])
    y[0] = mx.nd.array([7, 8, 9])  # from a CPU
    y[1:] = np.zeros((1, 3))
    np.testing.assert_array_equal(y.asnumpy(), [[7, 8, 9], [0, 0, 0]])
    target = mx.nd.zeros((2, 3))
    y.copyto(target)
    np.testing.assert_array_equal(target.asnumpy(), y.asnumpy())
    assert str(target.as_in_context(mx.gpu(0)).tensor.device) == "strict"
    with mx.gpu(0):
        assert str(mx.nd.arange(3).tensor.device) == "strict"
        assert str(mx.nd.random.uniform(shape=(2,)).tensor.device) == "strict"
        assert mx.nd.one_hot(mx.nd.array([1, 0]), depth=2).asnumpy().tolist() == [[0, 1], [1, 0]]
    mx.nd.save(str(tmp_path / "x"), {"y": y})
    np.testing.assert_array_equal(mx.nd.load(str(tmp_path / "x"))["y"].asnumpy(), y.asnumpy())
