"""MXNet's cells: recorded names, the numbers of the fused operator, weights packed and unpacked."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from mxnet_records import path

from tapegrad.nn import mxnet as mx

T, N, C, H = 3, 2, 4, 5


def language_model():
    """The nets of the recording lstm_bucket, in the order in which MXNet made them."""
    stack = mx.rnn.SequentialRNNCell()
    stack.add(mx.rnn.LSTMCell(5, prefix="lstm_l0_"))

    def make(length):
        data, label = mx.sym.Variable("data"), mx.sym.Variable("softmax_label")
        embedded = mx.sym.Embedding(data, input_dim=11, output_dim=4, name="embed")
        stack.reset()
        outputs, _ = stack.unroll(length, inputs=embedded, merge_outputs=True)
        flat = mx.sym.Reshape(outputs, shape=(-1, 5))
        scores = mx.sym.FullyConnected(flat, num_hidden=11, name="pred")
        return mx.sym.SoftmaxOutput(
            scores, mx.sym.Reshape(label, shape=(-1,)), name="softmax", use_ignore=True,
            ignore_label=0,
        )  # fmt: skip

    return make


def test_an_unrolled_lstm_has_the_recorded_names_and_order():
    make = language_model()
    with mx.NameManager():
        for length in (6, 4, 3):
            found = make(length).tojson()
            assert found == path(f"lstm_bucket/m-{length}-symbol.json").read_text()


def numbers(symbol, values, shapes, train=False):
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", **shapes)
    for name, value in values.items():
        if name in executor.arg_dict:
            executor.arg_dict[name][:] = value
    return [y.asnumpy() for y in executor.forward(is_train=train)]


@pytest.mark.parametrize("mode", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_unfused_cell_computes_what_the_fused_one_does(mode, bidirectional):
    fused = mx.rnn.FusedRNNCell(H, 2, mode, bidirectional, prefix="f_", get_next_state=True)
    y, states = fused.unroll(T, mx.sym.Variable("data"), layout="NTC", merge_outputs=True)
    assert len(states) == (2 if mode == "lstm" else 1)
    shapes = {"data": (N, T, C)}
    size = dict(zip(y.list_arguments(), y.infer_shape(**shapes)[0], strict=True))["f_parameters"]
    draws = np.random.RandomState(0)
    vector = mx.nd.array(draws.uniform(-1, 1, size))
    data = draws.uniform(-1, 1, (N, T, C)).astype(np.float32)
    expected = numbers(y, {"data": data, "f_parameters": vector}, shapes)[0]
    parts = fused.unpack_weights({"f_parameters": vector, "other": vector})
    assert parts["other"] is vector
    back = fused.pack_weights(parts)
    np.testing.assert_array_equal(back["f_parameters"].asnumpy(), vector.asnumpy())

    stack = fused.unfuse()
    z, _ = stack.unroll(T, mx.sym.Variable("data"), layout="NTC", merge_outputs=True)
    weights = stack.pack_weights(parts)
    unknown = set(z.list_arguments()) - set(weights) - {"data"}
    assert not unknown
    found = numbers(z, {**weights, "data": data}, shapes)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    again = stack.unpack_weights(weights)
    assert again.keys() == parts.keys()
    # a list, time first
    z, _ = stack.unroll(T, mx.sym.Variable("data"), layout="TNC", merge_outputs=False)
    steps = numbers(
        mx.sym.Group(list(z)), {**weights, "data": data.swapaxes(0, 1)}, {"data": (T, N, C)}
    )
    np.testing.assert_allclose(np.stack(steps, 1), expected, rtol=1e-4, atol=1e-5)


def test_the_names_of_parts_and_a_vector_of_another_length():
    cell = mx.rnn.FusedRNNCell(H, 1, "lstm", True, prefix="a_")
    names = list(cell._parts.views(mx.nd.zeros(cell._parts.size(C))))
    assert names[:3] == ["a_l0_i2h_i_weight", "a_l0_i2h_f_weight", "a_l0_i2h_c_weight"]
    assert names[8] == "a_r0_i2h_i_weight"
    assert names[-1] == "a_r0_h2h_o_bias"
    gru = mx.rnn.FusedRNNCell(H, 1, "gru", prefix="")
    names = list(gru._parts.views(mx.nd.zeros(gru._parts.size(C))))
    assert names[3:6] == ["l0_h2h_r_weight", "l0_h2h_z_weight", "l0_h2h_o_weight"]
    with pytest.raises(ValueError, match="fits no lstm"):
        cell.unpack_weights({"a_parameters": mx.nd.zeros(cell._parts.size(C) + 1)})
    with pytest.raises(ValueError, match="mode is one of"):
        mx.rnn.FusedRNNCell(H, mode="elman")


@pytest.mark.parametrize("mode", ["lstm", "gru", "rnn_tanh"])
def test_lengths_give_what_each_sequence_gives_alone(mode):
    settings = {
        "mode": mode, "state_size": H, "num_layers": 2, "bidirectional": True,
        "state_outputs": True,
    }  # fmt: skip
    draws, states = np.random.RandomState(0), 2 if mode == "lstm" else 1
    gates = {"lstm": 4, "gru": 3, "rnn_tanh": 1}[mode]
    size = 2 * gates * H * (C + H + 2) + 2 * gates * H * (2 * H + H + 2)
    data, vector = draws.randn(6, 3, C), mx.nd.array(draws.randn(size) / 2)
    first = [draws.randn(4, 3, H) for _ in range(states)]

    def run(at, *lengths):
        given = [mx.nd.array(a) for a in (data[at], *(state[:, at[1]] for state in first))]
        more = [mx.nd.array(part) for part in lengths]
        found = mx.nd.RNN(
            given[0], vector, *given[1:], *more, **settings, use_sequence_length=bool(more)
        )
        return [part.asnumpy() for part in found]

    lengths = [4, 6, 1]
    together = run((slice(None), slice(None)), np.array(lengths))
    for n, length in enumerate(lengths):
        y, *last = run((slice(length), slice(n, n + 1)))
        np.testing.assert_allclose(together[0][:length, n : n + 1], y, atol=1e-6)
        assert not together[0][length:, n].any()
        for one, wanted in zip(together[1:], last, strict=True):
            np.testing.assert_allclose(one[:, n : n + 1], wanted, atol=1e-6)


def test_the_fused_initializer_writes_every_part():
    cell = mx.rnn.FusedRNNCell(H, 2, "lstm", prefix="")
    vector = mx.nd.full(cell._parts.size(C), -7.0)
    first = mx.init.FusedRNN(mx.init.Xavier(), H, 2, "lstm", forget_bias=2.5)
    mx.init.Zero()(mx.init.InitDesc("parameters", {"__init__": first.dumps()}), vector)
    for name, part in cell._parts.views(vector).items():
        values = part.asnumpy()
        if name.endswith("_f_bias"):
            assert (values == 2.5).all()
        elif name.endswith("bias"):
            assert (values == 0).all()
        else:
            assert np.unique(values).size == values.size
            assert (np.abs(values) < 2).all()


def test_a_fused_network_trains_through_module():
    mx.random.seed(1)
    cell = mx.rnn.FusedRNNCell(H, 1, "gru", prefix="g_")
    y, _ = cell.unroll(T, mx.sym.Variable("data"), layout="NTC", merge_outputs=True)
    y = mx.sym.LinearRegressionOutput(mx.sym.Reshape(y, shape=(-1, T * H)), name="lro")
    module = mx.mod.Module(y, label_names=["lro_label"])
    module.bind([("data", (N, T, C))], [("lro_label", (N, T * H))])
    module.init_params(mx.init.Xavier())
    module.init_optimizer(optimizer_params={"learning_rate": 0.5})
    batch = mx.io.DataBatch([mx.nd.ones((N, T, C))], [mx.nd.full((N, T * H), 0.3)])
    errors = []
    for _ in range(60):
        module.forward_backward(batch)
        module.update()
        errors.append(float(np.square(module.get_outputs()[0].asnumpy() - 0.3).mean()))
    assert errors[-1] < errors[0] / 3


class TestModifiers:
    def test_residual(self):
        cell = mx.rnn.ResidualCell(mx.rnn.RNNCell(C, prefix="r_"))
        y, _ = cell.unroll(T, [mx.sym.Variable(f"t{i}") for i in range(T)])
        assert y[0].name == "r_t0_out_plus_residual"
        data = {f"t{i}": np.full((N, C), i, np.float32) for i in range(T)}
        found = numbers(mx.sym.Group(y), data, {k: v.shape for k, v in data.items()})
        for i, step in enumerate(found):  # weights are 0
            np.testing.assert_array_equal(step, i)
        merged, _ = cell.unroll(T, mx.sym.Variable("data"), merge_outputs=True)
        np.testing.assert_array_equal(
            numbers(merged, {"data": np.ones((N, T, C))}, {"data": (N, T, C)})[0], 1
        )
        with pytest.raises(AssertionError, match="modifier"):
            cell.base_cell.begin_state()

    def test_zoneout_keeps_entries_in_training_and_none_after(self):
        inner = mx.rnn.RNNCell(50, prefix="z_")
        cell = mx.rnn.ZoneoutCell(inner, zoneout_outputs=0.5, zoneout_states=0.3)
        y, _ = cell.unroll(2, mx.sym.Variable("data"), merge_outputs=False)
        draws = np.random.RandomState(0)
        values = {
            "data": np.ones((4, 2, C)), "z_i2h_weight": draws.uniform(-1, 1, (50, C)),
            "z_h2h_weight": draws.uniform(-1, 1, (50, 50)),
        }  # fmt: skip
        first, second = numbers(mx.sym.Group(y), values, {"data": (4, 2, C)}, train=True)
        zeros = np.mean(first == 0)  # there is no output before the first
        assert 0.3 < zeros < 0.7
        assert 0.3 < np.mean(first == second) < 0.7
        plain = numbers(mx.sym.Group(y), values, {"data": (4, 2, C)})
        assert not (plain[0] == 0).any()
        with pytest.raises(AssertionError, match="FusedRNNCell doesn't support zoneout"):
            mx.rnn.ZoneoutCell(mx.rnn.FusedRNNCell(4))

    def test_dropout_has_no_states(self):
        stack = mx.rnn.SequentialRNNCell()
        stack.add(mx.rnn.LSTMCell(H, prefix="a_"))
        stack.add(mx.rnn.DropoutCell(0.4))
        stack.add(mx.rnn.GRUCell(H, prefix="b_"))
        assert stack.state_shape == [(0, H)] * 3
        y, states = stack.unroll(T, mx.sym.Variable("data"))
        assert len(y) == T
        assert len(states) == 3
        x, states = stack(mx.sym.Variable("x"), stack.begin_state(func=mx.sym.Variable))
        assert "a_begin_state_0" in x.list_arguments()

    def test_shared_variables(self):
        first = mx.rnn.LSTMCell(H, prefix="s_")
        second = mx.rnn.LSTMCell(H, prefix="s_", params=first.params)
        stack = mx.rnn.SequentialRNNCell()
        stack.add(first)
        stack.add(second)
        y, _ = stack.unroll(1, [mx.sym.Variable("x")])
        assert y[0].list_arguments().count("s_i2h_weight") == 1

    def test_wrong_use_says_so(self):
        cell = mx.rnn.FusedRNNCell(H)
        with pytest.raises(NotImplementedError, match="unroll"):
            cell(mx.sym.Variable("x"), [])
        with pytest.raises(AssertionError, match="2 inputs for 3 steps"):
            mx.rnn.RNNCell(H).unroll(3, [mx.sym.Variable("x")] * 2)
        with pytest.raises(AssertionError, match="needs inputs"):
            mx.rnn.RNNCell(H).unroll(3, None)


def sigma(x):
    return 1 / (1 + np.exp(-x))


def bend(x):
    return np.where(x > 0, x, 0.2 * x)


def plane(x, w, b, stride=1, pad=1, dilate=1):
    """A convolution by sums over the entries of the kernel."""
    k = w.shape[-1]
    x = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    size = [(n - dilate * (k - 1) - 1) // stride + 1 for n in x.shape[2:]]
    total = np.zeros((len(x), len(w), *size)) + b[:, None, None]
    for i in range(k):
        for j in range(k):
            rows = slice(i * dilate, i * dilate + stride * (size[0] - 1) + 1, stride)
            columns = slice(j * dilate, j * dilate + stride * (size[1] - 1) + 1, stride)
            total += np.einsum("ncij,oc->noij", x[:, :, rows, columns], w[:, :, i, j])
    return total


def step_of(kind, of_x, of_h, states):
    """One step by hand: (output, states)."""
    if kind == "ConvRNNCell":
        h = bend(of_x + of_h)
        return h, [h]
    if kind == "ConvLSTMCell":
        i, f, g, o = np.split(of_x + of_h, 4, 1)
        c = sigma(f) * states[1] + sigma(i) * bend(g)
        h = sigma(o) * bend(c)
        return h, [h, c]
    (xr, xz, xo), (hr, hz, ho) = np.split(of_x, 3, 1), np.split(of_h, 3, 1)
    z = sigma(xz + hz)
    h = (1 - z) * bend(xo + sigma(xr + hr) * ho) + z * states[0]
    return h, [h]


class TestConvolutions:
    SHAPES: ClassVar = {"ConvRNNCell": (1, 1), "ConvLSTMCell": (4, 2), "ConvGRUCell": (3, 1)}

    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    @pytest.mark.parametrize("kind", SHAPES)
    def test_a_cell_computes_its_formula(self, kind, layout):
        gates, count = self.SHAPES[kind]
        last = layout == "NHWC"
        cell = getattr(mx.rnn, kind)(
            (1, 5, 6, 3) if last else (1, 3, 5, 6), H, i2h_kernel=(3, 3), i2h_stride=(2, 2),
            i2h_dilate=(1, 1), h2h_kernel=(3, 3), h2h_dilate=(2, 2), conv_layout=layout,
        )  # fmt: skip
        assert cell.state_shape == [(0, 3, 3, H) if last else (0, H, 3, 3)] * count
        y, states = cell.unroll(T, mx.sym.Variable("data"), merge_outputs=True)
        assert len(states) == count
        draws = np.random.RandomState(0)
        prefix = kind.removesuffix("Cell") + "_"
        weights = {
            "i2h_weight": (gates * H, 3, 3, 3), "i2h_bias": (gates * H,),
            "h2h_weight": (gates * H, H, 3, 3), "h2h_bias": (gates * H,),
        }  # fmt: skip
        weights = {k: draws.uniform(-0.5, 0.5, s) for k, s in weights.items()}
        x = draws.uniform(-1, 1, (N, T, 3, 5, 6))
        old = [np.zeros((N, H, 3, 3)) for _ in range(count)]
        expected = []
        for t in range(T):
            of_x = plane(x[:, t], weights["i2h_weight"], weights["i2h_bias"], stride=2)
            of_h = plane(old[0], weights["h2h_weight"], weights["h2h_bias"], pad=2, dilate=2)
            h, old = step_of(kind, of_x, of_h, old)
            expected.append(h)

        def placed(a):
            return np.moveaxis(a, -3, -1) if last and a.ndim > 2 else a

        values = {prefix + k: placed(a) for k, a in weights.items()} | {"data": placed(x)}
        found = numbers(y, values, {"data": placed(x).shape})[0]
        np.testing.assert_allclose(found, placed(np.stack(expected, 1)), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("kind", SHAPES)
    def test_its_weights_are_packed_by_gate(self, kind):
        cell = getattr(mx.rnn, kind)((1, 3, 4, 4), H, prefix="c_", activation="tanh")
        y, _ = cell.unroll(2, mx.sym.Variable("data"), merge_outputs=True)
        shapes = dict(zip(y.list_arguments(), y.infer_shape(data=(N, 2, 3, 4, 4))[0], strict=True))
        draws = np.random.RandomState(0)
        arg = {k: mx.nd.array(draws.uniform(size=s)) for k, s in shapes.items() if k != "data"}
        parts = cell.unpack_weights(arg)
        assert len(parts) == 4 * len(cell._gate_names)
        first = parts[f"c_h2h{cell._gate_names[0]}_weight"].asnumpy()
        np.testing.assert_array_equal(first, arg["c_h2h_weight"].asnumpy()[:H])
        for name, value in cell.pack_weights(parts).items():
            np.testing.assert_array_equal(value.asnumpy(), arg[name].asnumpy())
        assert "Activation" in y.tojson()
        stack = mx.rnn.SequentialRNNCell()
        stack.add(cell)
        stack.add(getattr(mx.rnn, kind)((1, H, 4, 4), 2, prefix="d_"))
        assert stack.unroll(2, mx.sym.Variable("data"), merge_outputs=True)[0].infer_shape(
            data=(N, 2, 3, 4, 4)
        )[1] == [(N, 2, 2, 4, 4)]

    def test_an_even_kernel_over_states_is_refused(self):
        with pytest.raises(AssertionError, match="Only support odd number"):
            mx.rnn.ConvLSTMCell((1, 3, 4, 4), H, h2h_kernel=(2, 2))


def test_checkpoints_hold_one_entry_for_each_gate(tmp_path):
    cell = mx.rnn.LSTMCell(H, prefix="l_")
    y, _ = cell.unroll(2, mx.sym.Variable("data"), merge_outputs=True)
    draws = np.random.RandomState(0)
    shapes = dict(zip(y.list_arguments(), y.infer_shape(data=(N, 2, C))[0], strict=True))
    arg = {k: mx.nd.array(draws.uniform(size=s)) for k, s in shapes.items() if k != "data"}
    prefix = str(tmp_path / "m")
    mx.rnn.do_rnn_checkpoint(cell, prefix, 2)(0, y, arg, {})
    assert not list(tmp_path.iterdir())
    mx.rnn.do_rnn_checkpoint(cell, prefix, 2)(1, y, arg, {})
    assert "arg:l_i2h_i_weight" in mx.nd.load(prefix + "-0002.params")
    symbol, found, aux = mx.rnn.load_rnn_checkpoint(cell, prefix, 2)
    assert symbol.tojson() == y.tojson()
    assert aux == {}
    assert found.keys() == arg.keys()
    for name, value in arg.items():
        np.testing.assert_array_equal(found[name].asnumpy(), value.asnumpy())


class TestSentences:
    def test_words_get_numbers(self):
        found, vocabulary = mx.rnn.encode_sentences(
            [["a", "b"], ["b", "c", "a"]], invalid_label=1, start_label=0
        )
        assert found == [[0, 2], [2, 3, 0]]
        assert vocabulary == {"\n": 1, "a": 0, "b": 2, "c": 3}
        again, _ = mx.rnn.encode_sentences([["c"]], vocabulary)
        assert again == [[3]]
        with pytest.raises(AssertionError, match="Unknown token 'd'"):
            mx.rnn.encode_sentences([["d"]], vocabulary)
        assert mx.rnn.encode_sentences([["d", "e"]], dict(vocabulary, u=9), unknown_token="u")[
            0
        ] == [[9, 9]]

    @pytest.mark.parametrize("layout", ["NT", "TN"])
    def test_batches_of_one_length(self, layout):
        sentences = [[i, i + 1, i + 2] for i in range(1, 6)] + [[7, 8, 9, 10, 11]] * 4 + [[1] * 9]
        with pytest.warns(UserWarning, match="discarded 1 sentences"):
            it = mx.rnn.BucketSentenceIter(
                sentences, 2, buckets=[6, 3], invalid_label=0, layout=layout
            )
        assert it.default_bucket_key == 6
        assert it.provide_data[0].shape == ((2, 6) if layout == "NT" else (6, 2))
        batches = list(it)
        assert sorted(b.bucket_key for b in batches) == [3, 3, 6, 6]
        for batch in batches:
            data, label = batch.data[0].asnumpy(), batch.label[0].asnumpy()
            if layout == "TN":
                data, label = data.T, label.T
            assert batch.provide_data[0].shape == batch.data[0].shape
            np.testing.assert_array_equal(label[:, :-1], data[:, 1:])
            assert (label[:, -1] == 0).all()
            if batch.bucket_key == 6:
                np.testing.assert_array_equal(data, [[7, 8, 9, 10, 11, 0]] * 2)
        it.reset()
        assert len(list(it)) == 4

    def test_lengths_that_fill_a_batch_are_buckets(self):
        with pytest.warns(UserWarning, match="discarded 1"):
            it = mx.rnn.BucketSentenceIter([[1, 2]] * 2 + [[1]] + [[1, 2, 3]], 2)
        assert it.buckets == [2]
        with pytest.raises(ValueError, match="give buckets"):
            mx.rnn.BucketSentenceIter([[1]], 2)
