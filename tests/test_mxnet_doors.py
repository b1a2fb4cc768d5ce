"""How old scripts come in: import mxnet, FeedForward, checkpoints of buckets, Scala's names."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pytest

from tapegrad.nn import mxnet as mx

RNG = np.random.RandomState(0)
X = RNG.randn(40, 6).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.float32)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def net():
    hidden = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=8, name="fc1")
    hidden = mx.sym.Activation(hidden, act_type="tanh")
    out = mx.sym.FullyConnected(hidden, num_hidden=2, name="fc2")
    return mx.sym.SoftmaxOutput(out, name="softmax")


# import mxnet -------------------------------------------------------------------------------------


def run(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.extra
def test_import_mxnet_finds_the_package_after_install_unless_another_is_there():
    done = run("""
        import sys, types
        other = sys.modules["mxnet"] = types.ModuleType("mxnet")
        other.__file__ = "site-packages/mxnet/__init__.py"
        import tapegrad.nn.mxnet as own
        before = list(sys.meta_path)
        try:
            own.install()
        except ImportError as error:
            assert "site-packages/mxnet" in str(error) and "before" in str(error)
        else:
            raise AssertionError("another mxnet was imported")
        assert sys.modules["mxnet"] is other and sys.meta_path == before
        del sys.modules["mxnet"]
        own.install()
        own.install()
        import mxnet, mxnet.io, mxnet.model, mxnet.module.base
        import mxnet as mx
        from mxnet import nd, sym
        from mxnet.io import NDArrayIter
        from mxnet.executor_manager import _split_input_slice
        assert mx is own and mxnet.nd is own.ndarray and nd is own.nd and sym is own.symbol
        assert mxnet.io is own.io and NDArrayIter is own.io.NDArrayIter
        assert own.io.__spec__.name == "tapegrad.nn.mxnet.io"
        assert mx.__version__ == "1.9.1" and mx.base.MXNetError is mx.MXNetError
        assert nd.ones((2, 3)).sum().asscalar() == 6
        for missing, reason in (("gluon", "out of scope"), ("nosuch", "has no 'nosuch'")):
            try:
                exec(f"import mxnet.{missing}")
            except ImportError as error:
                assert reason in str(error), error
            else:
                raise AssertionError(missing)
        try:
            mx.gluon
        except AttributeError as error:
            assert "out of scope" in str(error)
    """)
    assert done.returncode == 0, done.stderr


# FeedForward --------------------------------------------------------------------------------------


def test_feed_forward_fits_predicts_and_is_saved(caplog):
    caplog.set_level(logging.INFO)
    np.random.seed(0)  # noqa: NPY002  # NDArrayIter shuffles with it, as MXNet's
    mx.random.seed(0)
    model = mx.model.FeedForward.create(
        net(), X=X, y=Y, num_epoch=40, numpy_batch_size=10, learning_rate=0.5, momentum=0.9,
        eval_data=(X, Y),
    )  # fmt: skip
    assert "Epoch[39] Validation-accuracy=1.0" in caplog.text
    found = model.predict(X)
    assert isinstance(found, np.ndarray)
    assert found.shape == (40, 2)
    assert np.mean(found.argmax(1) == Y) > 0.95
    data = mx.io.NDArrayIter(X, Y, 16)
    assert model.score(data) == pytest.approx(np.mean(found.argmax(1) == Y))
    outputs, rows, labels = model.predict(data, return_data=True)
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(labels, Y)
    np.testing.assert_allclose(outputs, found, rtol=1e-6)
    model.save("model")
    again = mx.model.FeedForward.load("model", 40)
    np.testing.assert_array_equal(again.predict(X), found)
    with pytest.raises(ValueError, match="y must be specified"):
        again.fit(X)
    with pytest.raises(ValueError, match="call fit"):
        mx.model.FeedForward(net()).predict(X)
    with pytest.raises(ValueError, match="zz is no argument"):
        mx.model.FeedForward(net(), arg_params={"zz": mx.nd.ones(1)})


def test_an_epoch_of_a_given_size():
    seen = []
    model = mx.model.FeedForward(net(), num_epoch=3, epoch_size=5, learning_rate=0.1)
    data = mx.io.NDArrayIter(X, Y, 20)
    model.fit(data, batch_end_callback=lambda param: seen.append((param.epoch, param.nbatch)))
    assert seen == [(epoch, batch) for epoch in range(3) for batch in range(5)]


# Checkpoints of buckets ---------------------------------------------------------------------------


def sym_gen(length):
    data = mx.sym.Variable("data")
    words = mx.sym.Embedding(data, input_dim=7, output_dim=4, name="embed")
    total = mx.sym.sum(words, axis=1)
    out = mx.sym.FullyConnected(total, num_hidden=2, name="fc")
    return mx.sym.SoftmaxOutput(out, name="softmax"), ("data",), ("softmax_label",)


def batch(length):
    rows = RNG.randint(0, 7, (3, length)).astype("f")
    return mx.io.DataBatch(
        [mx.nd.array(rows)], [mx.nd.array([0, 1, 0])], bucket_key=length,
        provide_data=[("data", (3, length))], provide_label=[("softmax_label", (3,))],
    )  # fmt: skip


def test_a_bucketing_module_is_loaded_with_its_parameters():
    made = mx.mod.BucketingModule(sym_gen, default_bucket_key=6)
    made.bind([("data", (3, 6))], [("softmax_label", (3,))])
    made.init_params(mx.init.Normal(1))
    made.init_optimizer(optimizer_params={"learning_rate": 0.5})
    for length in (6, 4):
        made.forward_backward(batch(length))
        made.update()
    made.save_checkpoint("buckets", 2)
    expected = made.get_params()[0]
    one = batch(4)
    made.forward(one, is_train=False)
    for settings in ({}, {"sym_gen": sym_gen, "default_bucket_key": 6}):
        again = mx.mod.BucketingModule.load("buckets", 2, **settings)
        for name, x in again.get_params()[0].items():
            np.testing.assert_array_equal(x.asnumpy(), expected[name].asnumpy())
        again.bind([("data", (3, 6))], [("softmax_label", (3,))])
        again.init_params(mx.init.One())  # it has parameters: nothing happens
        again.forward(one, is_train=False)
        np.testing.assert_array_equal(
            again.get_outputs()[0].asnumpy(), made.get_outputs()[0].asnumpy()
        )
        again.init_optimizer()
        again.forward_backward(batch(4))
        again.update()
        again.save_checkpoint("again", 2)
    loaded = mx.mod.BucketingModule.load("buckets", 2)
    loaded.bind([("data", (3, 6))], [("softmax_label", (3,))])
    with pytest.raises(KeyError, match="bucket 5 is in no file"):
        loaded.forward(batch(5))


def test_rebinding_keeps_what_was_trained():
    made = mx.mod.BucketingModule(sym_gen, default_bucket_key=6)
    shapes = [("data", (3, 6))], [("softmax_label", (3,))]
    made.bind(*shapes)
    made.init_params(mx.init.Normal(1))
    made.init_optimizer(optimizer_params={"learning_rate": 0.5})
    made.forward_backward(batch(4))
    made.update()
    before = {name: x.asnumpy() for name, x in made.get_params()[0].items()}
    made.bind(*shapes, for_training=False, force_rebind=True)
    for name, x in made.get_params()[0].items():
        np.testing.assert_array_equal(x.asnumpy(), before[name])


# Scala --------------------------------------------------------------------------------------------


def test_scalas_names_are_a_face_of_the_same_module():
    m = mx.scala.Module(net(), contexts=[mx.cpu(0), mx.cpu(1)])
    data = mx.io.NDArrayIter(X, Y, 10)
    with pytest.raises(ValueError, match=r"bind\(\) and initParams\(\) must be called first"):
        m.getOutputs()
    with pytest.warns(UserWarning, match="label_shapes"):
        m.bind(data.provide_data, None, forTraining=False)
    assert m.labelShapes == []
    m.bind(data.provide_data, data.provide_label, inputsNeedGrad=True, forceRebind=True)
    first = {
        name: np.full(x.shape, 0.1, "f") for name, x in m.module._arg_params.items()
    }  # fmt: skip
    still = mx.optimizer.SGD(learning_rate=0.0, rescale_grad=0.1)
    settings = mx.scala.FitParams().setOptimizer(still)
    settings.setArgParams(first).setAuxParams({}).setKVStore(None).setForceInit(True)
    m.fit(data, numEpoch=2, fitParams=settings)
    assert m.module._kvstore is None
    np.testing.assert_array_equal(m.getParams()[0]["fc1_weight"].asnumpy(), first["fc1_weight"])
    data.reset()
    m.forwardBackward(data.next())
    assert [[y.shape for y in ys] for ys in m.getOutputs()] == [[(5, 2), (5, 2)]]
    assert [y.shape for y in m.getOutputsMerged()] == [(10, 2)]
    assert [[g.shape for g in gs] for gs in m.getInputGrads()] == [[(5, 6), (5, 6)]]
    assert [g.shape for g in m.getInputGradsMerged()] == [(10, 6)]
    assert [y.shape for y in m.predict(data)] == [(40, 2)]
    unmerged = m.predictEveryBatch(data, numBatch=2)
    assert [[y.shape for y in ys] for ys in unmerged] == [[(10, 2)]] * 2
    found = m.score(data, "acc")
    assert found.get() == ("accuracy", pytest.approx(np.mean(Y == 0), abs=1))
    assert found.num_inst == 40
    assert (m.binded, m.forTraining, m.paramsInitialized, m.optimizerInitialized) == (True,) * 4
    m.saveParams("x.params")
    m.loadParams("x.params")
    mx.nd.save("bad.params", {"zz": mx.nd.ones(1)})
    with pytest.raises(OSError, match="Invalid param file"):
        m.loadParams("bad.params")


# Small helpers ------------------------------------------------------------------------------------


def test_the_helpers_of_tests_check_symbols():
    x = mx.sym.Variable("x")
    y = mx.sym.tanh(x)
    given = RNG.randn(2, 3).astype("f")
    utils = mx.test_utils
    np.testing.assert_allclose(utils.simple_forward(y, x=given), np.tanh(given), rtol=1e-6)
    utils.check_symbolic_forward(y, [given], [np.tanh(given)])
    heads = np.ones((2, 3), "f")
    utils.check_symbolic_backward(y, [given], [heads], [1 - np.tanh(given) ** 2], rtol=1e-4)
    utils.check_numeric_gradient(y, {"x": given})
    with pytest.raises(AssertionError):
        utils.check_symbolic_forward(y, [given], [np.tanh(given) + 0.1])
    a = mx.nd.ones((3,))
    assert utils.same_array(a, a[:2])
    assert not utils.same_array(a, a.copy())
    with mx.engine.bulk(3):
        assert mx.engine.set_bulk_size(3) == 3
    mx.util.makedirs("a/b")
    assert mx.executor_manager._split_input_slice(7, [1, 1]) == [slice(0, 4), slice(4, 7)]


@pytest.mark.extra
def test_a_switch_of_buckets_allocates_nothing_after_the_first_passes():
    made = mx.mod.BucketingModule(sym_gen, default_bucket_key=6)
    made.bind([("data", (3, 6))], [("softmax_label", (3,))])
    made.init_params()
    made.init_optimizer()
    batches = [batch(length) for length in (6, 4, 5)]

    def train():
        for one in batches:
            made.forward_backward(one)
            made.update()

    for _ in range(4):
        train()
    buckets = dict(made._buckets)
    arrays = [
        x
        for module in buckets.values()
        for e in module._exec_group.execs
        for x in (*e.arg_dict.values(), *e.grad_dict.values(), *e.aux_dict.values())
        if x is not None
    ]
    places = {x.tensor.data.__array_interface__["data"][0] for x in arrays}
    # five parameters' and gradients' arrays and the largest data are all that there is
    assert len(places) == 2 * len(made.get_params()[0]) + 2
    tracemalloc.start()
    try:
        held = []
        for _ in range(6):
            train()
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
        # A dictionary of the process may grow in one pass; what a switch keeps, it keeps in each.
        assert min(np.diff(held)) < 2000  # bytes: less than a row here
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for one in batches:
            made.switch_bucket(one.bucket_key, one.provide_data, one.provide_label)
        assert tracemalloc.get_traced_memory()[1] - before < 500
    finally:
        tracemalloc.stop()
    assert made._buckets == buckets
