"""What scripts of 2016 do besides fit: outputs without a gradient in a Group, names, registries.

The scripts behind the recordings run unchanged on this package; each of these differed once.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from mxnet_records import path

from tapegrad.nn import mxnet as mx

DATA, LABEL = [("data", (4, 5))], [("softmax_label", (4,))]


def batch():
    draws = np.random.RandomState(0)
    return mx.io.DataBatch(
        [mx.nd.array(draws.normal(size=(4, 5)))], [mx.nd.array(draws.randint(0, 3, 4))]
    )


def hidden_and_loss():
    hidden = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc1")
    scores = mx.sym.FullyConnected(hidden, num_hidden=3, name="fc2")
    return hidden, scores, mx.sym.SoftmaxOutput(scores, name="softmax")


def trained(symbol, **settings):
    mx.random.seed(0)
    module = mx.mod.Module(symbol, **settings)
    module.bind(DATA, LABEL)
    module.init_params(mx.init.Xavier())
    module.init_optimizer(optimizer_params={"learning_rate": 0.5})
    for _ in range(3):
        module.forward_backward(batch())
        module.update()
    return module


class TestOutputsWithoutAGradient:
    @pytest.mark.parametrize("context", [mx.cpu(), [mx.cpu(0), mx.cpu(1)]])
    def test_features_and_predictions_beside_a_loss(self, context):
        hidden, scores, loss = hidden_and_loss()
        beside = mx.sym.Group([
            mx.sym.BlockGrad(hidden, name="feat"), loss, mx.sym.argmax(scores, axis=1, name="best"),
            mx.sym.argsort(scores, name="order"), mx.sym.BlockGrad(scores) * 2,
        ])  # fmt: skip
        found, alone = trained(beside, context=context), trained(loss, context=context)
        for name, value in alone.get_params()[0].items():
            np.testing.assert_array_equal(found.get_params()[0][name].asnumpy(), value.asnumpy())
        outputs = [y.asnumpy() for y in found.get_outputs()]
        np.testing.assert_array_equal(outputs[2], outputs[1].argmax(1))

    def test_an_output_that_has_one_asks_for_it(self):
        hidden, _, loss = hidden_and_loss()
        module = mx.mod.Module(mx.sym.Group([loss, hidden]))
        module.bind(DATA, LABEL)
        module.init_params()
        module.forward(batch(), is_train=True)
        with pytest.raises(mx.MXNetError, match="'fc1_output' is no loss: give backward its"):
            module.backward()
        module.backward([mx.nd.ones((4, 3)), mx.nd.zeros((4, 4))])
        # where nobody wants the gradients behind it, it needs none
        frozen = trained(mx.sym.Group([loss, hidden]),
                         fixed_param_names=["fc1_weight", "fc1_bias"])  # fmt: skip
        assert frozen.get_params()[0]["fc2_weight"].asnumpy().any()

    def test_a_module_without_gradients_runs_backward(self):
        module = mx.mod.Module(hidden_and_loss()[2])
        module.bind(DATA, LABEL, grad_req="null")
        module.init_params()
        module.forward_backward(batch())
        assert module.get_outputs()[0].shape == (4, 3)
        assert module._exec_group.grad_arrays == [[None]] * 4


class TestNames:
    def test_numbers_and_symbols(self):
        with mx.NameManager():
            x = mx.sym.Variable("x")
            found = [2**x, x**2, x > 0, x >= 0, x < 0, x <= 0, x == 0, x != 0, -x, 3 - x, x % 2]
        assert [y.name for y in found] == [
            "_rpower_scalar0", "_powerscalar0", "_greater_scalar0", "_greater_equal_scalar0",
            "_lesser_scalar0", "_lesser_equal_scalar0", "_equal_scalar0", "_not_equal_scalar0",
            "_mulscalar0", "_rminusscalar0", "_modscalar0",
        ]  # fmt: skip
        np.testing.assert_array_equal(
            (-x).eval(ctx=mx.cpu(), x=mx.nd.array([1, -2]))[0].asnumpy(), [-1, 2]
        )

    def test_first_values_of_variables_that_are_given(self):
        gamma = mx.sym.Variable("gamma", shape=(1,))
        mx.sym.LeakyReLU(mx.sym.Variable("data"), gamma, act_type="prelu")
        assert json.loads(gamma.attr("__init__")) == ["Constant", {"value": 0.25}]
        own = mx.sym.Variable("own", init=mx.init.Constant(2))
        mx.sym.LeakyReLU(mx.sym.Variable("data"), own, act_type="prelu")
        assert json.loads(own.attr("__init__")) == ["constant", {"value": 2}]
        first, second = mx.sym.Variable("a"), mx.sym.Variable("b")
        y = mx.sym.UpSampling(first, second, scale=2, sample_type="nearest")
        assert y.attr("num_args") == "2"
        assert json.loads(second.attr("__init__")) == ["bilinear", {}]
        assert first.attr("__init__") is None

    def test_a_checkpoint_of_buckets_has_the_recorded_symbols(self, tmp_path):
        folder = path("lstm_bucket")
        info = json.loads((folder / "info.json").read_text())
        stack = mx.rnn.SequentialRNNCell()
        stack.add(mx.rnn.LSTMCell(info["H"], prefix="lstm_l0_"))

        def sym_gen(length):
            embedded = mx.sym.Embedding(
                mx.sym.Variable("data"), input_dim=info["V"], output_dim=info["E"], name="embed"
            )
            stack.reset()
            outputs, _ = stack.unroll(length, inputs=embedded, merge_outputs=True)
            flat = mx.sym.Reshape(outputs, shape=(-1, info["H"]))
            scores = mx.sym.FullyConnected(flat, num_hidden=info["V"], name="pred")
            label = mx.sym.Reshape(mx.sym.Variable("softmax_label"), shape=(-1,))
            loss = mx.sym.SoftmaxOutput(
                scores, label, name="softmax", use_ignore=True, ignore_label=0
            )
            return loss, ("data",), ("softmax_label",)

        with mx.NameManager():
            model = mx.mod.BucketingModule(sym_gen, default_bucket_key=6)
            model.bind([("data", (3, 6))], [("softmax_label", (3, 6))])
            model.init_params()
            for length in (4, 3):
                model.switch_bucket(
                    length, [("data", (3, length))], [("softmax_label", (3, length))]
                )
            model.save_checkpoint(str(tmp_path / "m"), 1)
        for name in ("m-6-symbol.json", "m-4-symbol.json", "m-3-symbol.json", "m.buckets"):
            assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_registries_by_their_base_class():
    assert mx.registry.get_registry(mx.metric.EvalMetric)["acc"] is mx.metric.Accuracy
    assert mx.registry.get_registry(mx.init.Initializer)["xavier"] is mx.init.Xavier
    assert mx.optimizer.Optimizer.opt_registry["adam"] is mx.optimizer.Adam

    @mx.optimizer.Optimizer.register
    class Fancy(mx.optimizer.SGD):
        pass

    try:
        assert type(mx.optimizer.Optimizer.create_optimizer("fancy")) is Fancy
    finally:
        del mx.optimizer.Optimizer.opt_registry["fancy"]


def test_an_iterator_resets_before_it_has_its_data():
    seen = []

    class Logged(mx.io.NDArrayIter):
        def reset(self):
            seen.append(hasattr(self, "data_list"))
            super().reset()

    rows = Logged(np.ones((4, 2)), np.zeros(4), 2)
    assert seen == [False]
    rows.reset()
    assert seen == [False, True]
    assert len(list(rows)) == 2


class Softmax(mx.operator.NumpyOp):
    """The loss that MXNet's example of 2015 writes in NumPy."""

    def __init__(self):
        super().__init__(False)

    def list_arguments(self):
        return ["data", "label"]

    def infer_shape(self, in_shape):
        return [in_shape[0], (in_shape[0][0],)], [in_shape[0]]

    def forward(self, in_data, out_data):
        x, y = in_data[0], out_data[0]
        y[:] = np.exp(x - x.max(axis=1).reshape((x.shape[0], 1)))
        y /= y.sum(axis=1).reshape((x.shape[0], 1))

    def backward(self, out_grad, in_data, out_data, in_grad):
        label = in_data[1].reshape(-1).astype(int)
        in_grad[0][:] = out_data[0]
        in_grad[0][np.arange(len(label)), label] -= 1.0


class TestOperatorsAsObjects:
    def test_a_numpy_op_is_a_loss(self):
        _, scores, loss = hidden_and_loss()
        own = Softmax()(data=scores, name="softmax")
        assert own.list_arguments() == loss.list_arguments()
        found, expected = trained(own), trained(loss)
        for name, value in expected.get_params()[0].items():
            np.testing.assert_allclose(
                found.get_params()[0][name].asnumpy(), value.asnumpy(), rtol=1e-5, atol=1e-6
            )
        with mx.NameManager():
            assert Softmax()(scores).name == "_native0"

    def test_an_ndarray_op_passes_gradients_on(self):
        class Square(mx.operator.NDArrayOp):
            def forward(self, in_data, out_data):
                assert isinstance(in_data[0], mx.nd.NDArray)
                out_data[0][:] = in_data[0] * in_data[0]

            def backward(self, out_grad, in_data, out_data, in_grad):
                in_grad[0][:] = 2 * in_data[0] * out_grad[0]

        y = Square()(mx.sym.Variable("x"))
        executor = y.simple_bind(mx.cpu(), x=(3,))
        executor.arg_dict["x"][:] = np.array([1, -2, 3])
        assert executor.forward(is_train=True)[0].asnumpy().tolist() == [1, 4, 9]
        executor.backward([mx.nd.array([1, 10, 100])])
        assert executor.grad_dict["x"].asnumpy().tolist() == [2, -40, 600]
        plain = mx.operator.PythonOp()(mx.sym.Variable("x")).simple_bind(mx.cpu(), x=(2,))
        plain.arg_dict["x"][:] = 5
        assert plain.forward(is_train=True)[0].asnumpy().tolist() == [5, 5]
        plain.backward([mx.nd.array([3, 4])])
        assert plain.grad_dict["x"].asnumpy().tolist() == [1, 1]


def test_a_feed_forward_of_buckets():
    class Rows(mx.io.DataIter):
        default_bucket_key = 4
        provide_data = (("data", (2, 4)),)
        provide_label = (("softmax_label", (2, 4)),)

        def __iter__(self):
            draws = np.random.RandomState(0)
            for length in (4, 3, 4, 3):
                begin = draws.randint(0, 5, (2, 1))
                words = (begin + np.arange(length + 1)) % 5
                shape = (2, length)
                yield mx.io.DataBatch(
                    [mx.nd.array(words[:, :-1])], [mx.nd.array(words[:, 1:])], pad=0,
                    bucket_key=length, provide_data=[("data", shape)],
                    provide_label=[("softmax_label", shape)],
                )  # fmt: skip

        def reset(self):
            pass

    def sym_gen(length):
        words = mx.sym.Embedding(mx.sym.Variable("data"), input_dim=5, output_dim=6, name="embed")
        rows = mx.sym.Reshape(words, shape=(-1, 6))
        label = mx.sym.Reshape(mx.sym.Variable("softmax_label"), shape=(-1,))
        scores = mx.sym.FullyConnected(rows, num_hidden=5, name="pred")
        return mx.sym.SoftmaxOutput(scores, label, name="softmax")

    mx.random.seed(0)
    model = mx.model.FeedForward(
        sym_gen, num_epoch=25, learning_rate=0.5, momentum=0.9, initializer=mx.init.Xavier()
    )
    assert model.symbol is None
    model.fit(Rows(), eval_metric=mx.metric.Perplexity(None))
    assert model.score(Rows(), mx.metric.Perplexity(None)) < 1.1
    assert sorted(model.arg_params) == ["embed_weight", "pred_bias", "pred_weight"]
    assert model.symbol.list_outputs() == ["softmax_output"]


def test_names_of_rooms_that_moved(capsys):
    assert mx.rnd is mx.random
    prior = mx.contrib.sym.MultiBoxPrior(mx.sym.Variable("x"), sizes=(0.5,), name="prior")
    assert prior.list_outputs() == ["prior_output"]
    found = mx.contrib.ndarray.MultiBoxPrior(mx.nd.zeros((1, 1, 2, 2)), sizes=(0.5,))
    assert found.shape == (1, 4, 4)
    log = mx.log.get_logger("an_old_script", level=mx.log.INFO)
    assert mx.log.getLogger("an_old_script") is log
    assert len(log.handlers) == 1
    assert issubclass(mx.optimizer.ccSGD, mx.optimizer.SGD)


def test_a_metric_of_several_numbers_is_reset_within_an_epoch(caplog):
    caplog.set_level("INFO")

    class Both(mx.metric.EvalMetric):
        count = 2

        def __init__(self):
            super().__init__("both")
            self.names = ["sum", "max"]
            self.reset()

        def reset(self):
            self.num_inst, self.sum_metric = [0] * self.count, [0.0] * self.count

        def update(self, labels, preds):
            for k, value in enumerate((preds[0].asnumpy().sum(), preds[0].asnumpy().max())):
                self.sum_metric[k] += value
                self.num_inst[k] += 1

        def get(self):
            pairs = zip(self.sum_metric, self.num_inst, strict=True)
            return self.names, [x / n if n else float("nan") for x, n in pairs]

    metric = Both()
    module = mx.mod.Module(hidden_and_loss()[2])
    rows = mx.io.NDArrayIter(np.ones((12, 5)), np.zeros(12), 4)
    module.fit(
        rows, eval_metric=metric, num_epoch=2, batch_end_callback=mx.callback.Speedometer(4, 2)
    )
    assert metric.names == ["sum", "max"]
    assert "both" not in caplog.text
    assert "Epoch[1] Train-sum=4.000000" in caplog.text


def test_the_epochs_value_of_a_scripts_own_metric(caplog):
    class Hits(mx.metric.EvalMetric):
        def __init__(self):
            super().__init__("hits")

        def update(self, labels, preds):
            self.sum_metric += float((preds[0].asnumpy().argmax(1) == labels[0].asnumpy()).sum())
            self.num_inst += len(preds[0].asnumpy())

    caplog.set_level("INFO")
    rows = mx.io.NDArrayIter(np.eye(5)[:3].repeat(4, 0), np.arange(3).repeat(4), 4)
    module = mx.mod.Module(hidden_and_loss()[2])
    module.fit(
        rows, eval_metric=Hits(), num_epoch=20, optimizer_params={"learning_rate": 1.0},
        initializer=mx.init.Xavier(),
    )  # fmt: skip
    assert "Epoch[19] Train-hits=1.000000" in caplog.text
    assert Hits().get_global_name_value()[0][0] == "hits"
    metric = mx.metric.Accuracy()
    metric.update([mx.nd.array([1, 0])], [mx.nd.array([[0, 1], [0, 1]])])
    metric.reset_local()
    assert metric.get_global()[1] == 0.5


def test_the_text_of_a_graph():
    text = hidden_and_loss()[2].debug_str()
    assert text.startswith("Symbol Outputs:\n\toutput[0]=softmax(0)\nVariable:data\n")
    assert "Op:FullyConnected, Name=fc1\nInputs:\n\targ[0]=data(0) version=0\n" in text
    assert "\targ[0]=fc1(0)\n" in text
    assert "Attrs:\n\tnum_hidden=4\n" in text


def dropped(x):
    return mx.sym.Dropout(x, p=0.5)


def stacked(x):
    """Two recurrent layers with Dropout between them."""
    steps = mx.sym.Reshape(x, shape=(-1, 1, 5))
    cell = mx.rnn.FusedRNNCell(6, num_layers=2, mode="gru", prefix="g_", dropout=0.5)
    y, _ = cell.unroll(1, steps, layout="NTC", merge_outputs=True)
    return mx.sym.Reshape(y, shape=(-1, 6))


def leaky(x):
    return mx.sym.LeakyReLU(x, act_type="rrelu", lower_bound=0.1, upper_bound=0.9)[0]


def noisy(x):
    return x + mx.sym.random.uniform(shape=(4, 5))


@pytest.mark.parametrize("layer", [dropped, stacked, leaky, noisy])
def test_layers_that_draw_draw_anew_in_every_step(layer):
    mx.random.seed(0)
    scores = mx.sym.FullyConnected(layer(mx.sym.Variable("data")), num_hidden=3, name="fc")
    module = mx.mod.Module(mx.sym.SoftmaxOutput(scores, name="softmax"))
    module.bind(DATA, LABEL)
    module.init_params(mx.init.Xavier())
    module.init_optimizer(optimizer_params={"learning_rate": 0.0})
    outputs = []
    for _ in range(6):  # from the third on the step is replayed
        module.forward_backward(batch())
        module.update()
        outputs.append(module.get_outputs()[0].asnumpy())
    for i, y in enumerate(outputs):
        assert all(not np.array_equal(y, other) for other in outputs[:i])
    module.init_optimizer(optimizer_params={"learning_rate": 0.1}, force_init=True)
    gradients = []
    for _ in range(3):
        module.forward_backward(batch())
        gradients.append(module._exec_group.grad_arrays[-2][0].asnumpy())
    assert not np.array_equal(gradients[1], gradients[2])
