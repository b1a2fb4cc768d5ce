"""Recurrent layers over time: states, masks, and what the records do not cover."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, ops
from tapegrad.autograd import ReplayError, grad, replay
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.ops import recurrent

RNG = np.random.default_rng(11)


def sequence(t=5, n=2, size=3):
    return RNG.standard_normal((t, n, size))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.SeqLSTM(3, 4),
        lambda: nn.SeqLSTM(3, 4, 2),
        lambda: nn.SeqGRU(3, 4),
        lambda: nn.Sequencer(nn.RecLSTM(3, 4)),
        lambda: nn.Sequencer(nn.Sequential(nn.LSTM(3, 4), nn.GRU(4, 4))),
    ],
)
def test_remembered_states_join_the_parts_of_a_sequence(make):
    module, x = make().double(), sequence()
    whole = module.forward(x).numpy().copy()
    module.remember("both")
    parts = [module.forward(part).numpy().copy() for part in (x[:2], x[2:])]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-13)
    module.forget()
    np.testing.assert_allclose(module.forward(x[:2]).numpy(), whole[:2], rtol=1e-13)


def test_states_are_remembered_in_the_mode_that_was_asked_for_only():
    module, x = nn.SeqGRU(3, 4).double().remember("eval"), sequence()
    first = module.forward(x).numpy().copy()
    np.testing.assert_array_equal(module.forward(x).numpy(), first)
    module.evaluate()
    module.forward(x)
    assert not np.allclose(module.forward(x).numpy(), first)
    with pytest.raises(ValueError, match="none of"):
        module.remember("sometimes")


def test_a_failing_call_leaves_the_remembered_states_alone():
    class Refusing(nn.Module):
        def updateOutput(self, x):
            nn.shape_check(x.shape[0] == 5, "five steps only")
            return x

    inner = nn.SeqLSTM(3, 4).double().remember()
    module, x = nn.Sequential(inner, Refusing()), sequence()
    module.forward(x)
    before = [state.numpy().copy() for state in inner._kept]
    with pytest.raises(nn.ShapeError):
        module.forward(x[:3])
    for state, old in zip(inner._kept, before, strict=True):
        np.testing.assert_array_equal(state.numpy(), old)


@pytest.mark.parametrize("kind", [nn.SeqLSTM, nn.SeqGRU])
def test_masked_steps_give_zeros_and_start_afresh(kind):
    module, x = kind(3, 4).double(), sequence(t=5, n=1)
    mask = np.array([[False], [False], [True], [False], [False]])
    y = module.setZeroMask(mask).forward(x).numpy().copy()
    module.setZeroMask(None)
    assert not y[2].any()
    np.testing.assert_allclose(y[:2], module.forward(x[:2]).numpy(), rtol=1e-13)
    np.testing.assert_allclose(y[3:], module.forward(x[3:]).numpy(), rtol=1e-13)
    found = module.maskZero().forward(x * ~mask[..., None]).numpy()
    np.testing.assert_array_equal(found, y)
    module.setZeroMask(mask[:3])
    with pytest.raises(nn.ShapeError, match="mask"):
        module.forward(x)


def test_a_layer_on_its_own_takes_one_step_from_zeros():
    module, x = nn.RecGRU(3, 4).double(), sequence(t=1)
    alone = module.forward(x[0]).numpy().copy()
    np.testing.assert_array_equal(module.forward(x[0]).numpy(), alone)
    np.testing.assert_array_equal(nn.Sequencer(module).forward(x).numpy()[0], alone)


def test_an_inner_run_over_time_has_states_of_its_own():
    """The same layer in two Sequencers, one inside the other's step, does not mix its states."""
    cell = nn.RecGRU(3, 3).double()

    class Nested(nn.Module):
        def __init__(self):
            self.inner, self.cell = nn.Sequencer(cell), cell

        def updateOutput(self, x):
            self.inner([x, x])
            return self.cell(x)

    x = sequence()
    found = nn.Sequencer(Nested()).forward(x).numpy()
    np.testing.assert_allclose(found, nn.Sequencer(cell).forward(x).numpy(), rtol=1e-13)


def test_a_sequence_of_steps_may_be_a_list():
    module, x = nn.Sequencer(nn.FastLSTM(3, 4)).double(), sequence()
    listed = module.forward(list(x))
    assert isinstance(listed, list)
    stacked = np.stack([y.numpy() for y in listed])
    np.testing.assert_array_equal(stacked, module.forward(x).numpy())


def test_bisequencer_joins_both_directions():
    module, x = nn.BiSequencer(nn.RecGRU(3, 2)).double(), sequence()
    y = module.forward(x).numpy()
    ahead, back = module.modules
    np.testing.assert_allclose(y[..., :2], ahead.forward(x).numpy(), rtol=1e-13)
    np.testing.assert_allclose(y[..., 2:], back.forward(x[::-1]).numpy()[::-1], rtol=1e-13)


@pytest.mark.extra
def test_a_long_sequence_needs_no_recursion():
    module = nn.SeqGRU(1, 1).double()
    x = RNG.standard_normal((3000, 1, 1))
    module.forward(x)
    gradient = module.backward(x, np.ones((3000, 1, 1)))
    assert np.isfinite(gradient.numpy()).all()


def test_the_loss_over_time_is_the_sum_over_steps():
    x, target = sequence(), RNG.standard_normal((5, 2, 3))
    criterion = nn.SequencerCriterion(nn.MSECriterion())
    steps = [float(nn.MSECriterion().forward(a, b)) for a, b in zip(x, target, strict=True)]
    assert float(criterion.forward(x, target)) == pytest.approx(sum(steps), rel=1e-13)
    averaged = nn.SequencerCriterion(nn.MSECriterion(), sizeAverage=True)
    assert float(averaged.forward(x, target)) == pytest.approx(sum(steps) / 5, rel=1e-13)


def test_masked_samples_do_not_count():
    x, target = sequence()[0], np.array([1, 2])
    criterion = nn.MaskZeroCriterion(nn.CrossEntropyCriterion()).setZeroMask([False, True])
    alone = nn.CrossEntropyCriterion().forward(x[:1], target[:1])
    assert float(criterion.forward(x, target)) == pytest.approx(float(alone), rel=1e-13)
    assert not criterion.backward(x, target).numpy()[1].any()
    assert float(criterion.setZeroMask([True, True]).forward(x, target)) == 0


# Tables -------------------------------------------------------------------------------------------


def test_the_padding_of_an_embedding_is_zero_and_gets_no_gradient():
    module = nn.Embedding(4, 3, padding_idx=-1).double()
    x = np.array([[0, 3], [3, 1]])
    y = module.forward(x).numpy()
    assert not y[0, 1].any()
    assert y[0, 0].any()
    module.zeroGradParameters()
    module.backward(x, np.ones((2, 2, 3)))
    np.testing.assert_array_equal(module.gradWeight.numpy().sum(axis=1), [3, 3, 0, 0])
    with pytest.raises(ValueError, match="padding_idx"):
        nn.Embedding(4, 3, padding_idx=4)


def test_indices_of_no_row_are_named():
    for module in (nn.Embedding(4, 3), nn.LookupTableMaskZero(4, 3)):
        with pytest.raises(nn.ShapeError, match="holds the index 4, and the table has 4 rows"):
            module.forward(np.array([0, 4]))
    with pytest.raises(nn.ShapeError, match="holds the index -1, and the table has 4 rows"):
        nn.Embedding(4, 3).forward(np.array([-1]))
    assert not nn.LookupTableMaskZero(4, 3).forward(np.array([-1])).numpy().any()


def test_gradients_through_time_are_those_of_the_unrolled_formula():
    module = nn.SeqLSTM(2, 1).double()
    x = sequence(t=3, n=1, size=2)
    w, b = module.weight.numpy(), module.bias.numpy()

    def unrolled(x):
        h = c = np.zeros((1, 1))
        for t in range(3):
            a = x[t] @ w[:2] + h @ w[2:] + b
            i, f, o = (1 / (1 + np.exp(-a[:, k : k + 1])) for k in range(3))
            c = f * c + i * np.tanh(a[:, 3:])
            h = o * np.tanh(c)
        return np.sum(h)

    module.forward(x)
    found = module.backward(x, np.array([[[0.0]], [[0.0]], [[1.0]]])).numpy()
    np.testing.assert_allclose(found, grad(unrolled)(x), rtol=1e-12)


# States in and out --------------------------------------------------------------------------------


def test_states_of_another_batch_are_refused_everywhere():
    """A state of one sample never stands for three."""
    x = sequence(n=3)
    for module in (
        nn.SeqLSTM(3, 4),
        nn.SeqGRU(3, 4),
        nn.RNNLayer("gru", 3, 4),
        nn.Sequencer(nn.RecLSTM(3, 4)),
        nn.Sequencer(nn.Sequential(nn.LSTM(3, 4), nn.GRU(4, 4))),
        nn.Sequencer(nn.LookupRNN(5, 4)),
    ):
        given = np.zeros((5, 3), int) if "Lookup" in repr(module) else x
        module.double().remember("both").forward(given[:, :1])
        with pytest.raises(nn.ShapeError, match="another batch"):
            module.forward(given)
        module.forget().forward(given)
        with pytest.raises(nn.ShapeError, match="another batch"):
            module.forward(given[:, :1])
    for step, shapes in ((nn.StepLSTM(3, 4), [(3, 3), (1, 4), (1, 4)]), (nn.StepGRU(3, 4), None)):
        with pytest.raises(nn.ShapeError, match="the same samples"):
            step.forward([np.zeros(shape) for shape in shapes or [(3, 3), (1, 4)]])
    with pytest.raises(nn.ShapeError, match="another batch"):
        nn.Sequencer(nn.RecGRU(3, 4)).forward([x[0], x[0, :1]])


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.SeqLSTM(3, 4, 2),
        lambda: nn.SeqGRU(3, 4),
        lambda: nn.RNNLayer("lstm", 3, 4, 2),
        lambda: nn.RNNLayer("gru", 3, 4),
        lambda: nn.WithStates(nn.Sequencer(nn.Sequential(nn.LSTM(3, 4), nn.RecGRU(4, 2)))),
        lambda: nn.WithStates(nn.Sequential(nn.SeqGRU(3, 4), nn.Tanh(), nn.SeqLSTM(4, 2))),
        lambda: nn.WithStates(nn.RNNLayer("tanh", 3, 4)),
    ],
)
def test_states_that_are_passed_join_the_parts_of_a_sequence_and_their_gradients(make):
    module, x = make().double(), sequence()

    def loss(x, cuts):
        states, total = None, 0
        for part in np.split(x, cuts):
            y, states = module([part, states])
            total = total + (y**2).sum()
        return total

    assert float(loss(x, [2, 3])) == pytest.approx(float(loss(x, [])), rel=1e-12)
    found, expected = (grad(lambda x, cuts=cuts: loss(x, cuts))(x) for cuts in ([2, 3], []))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-10, atol=1e-14)


def test_a_decoder_sends_gradients_into_its_encoder():
    """Through states, by Torch7's methods: forward and backward of each."""
    encoder, decoder = nn.SeqLSTM(3, 4).double(), nn.SeqLSTM(2, 4).double()
    x, z = sequence(), sequence(t=3, size=2)
    y, states = encoder.forward([x, None])
    out, last = decoder.forward([z, states])
    none = [np.zeros_like(state.numpy()) for state in last]
    _, gradients = decoder.backward([z, states], [np.ones_like(out.numpy()), none])
    found, _ = encoder.backward([x, None], [np.zeros_like(y.numpy()), gradients])

    def loss(x):
        return decoder([z, encoder([x, None])[1]])[0].sum()

    np.testing.assert_allclose(found.numpy(), grad(loss)(x).numpy(), rtol=1e-12)


def test_remembered_states_can_be_read_and_set():
    for module in (
        nn.SeqLSTM(3, 4).double(),
        nn.RNNLayer("gru", 3, 4, bidirectional=True).double(),
        nn.Sequencer(nn.Sequential(nn.FastLSTM(3, 4), nn.RecGRU(4, 3))).double(),
    ):
        x = sequence()
        with pytest.raises(RuntimeError, match=r"remember\(\) first"):
            module.setHiddenState([1])
        module.remember()
        assert module.getHiddenState() is None
        module.forward(x)
        states, expected = module.getHiddenState(), module.forward(x).numpy().copy()
        module.forget().setHiddenState(states)
        np.testing.assert_array_equal(module.forward(x).numpy(), expected)
        assert module.setHiddenState(None).getHiddenState() is None
    recurrent = nn.SeqGRU(3, 4).double().remember()
    weight = recurrent.weight[:2, :4]
    with pytest.raises(TypeError, match="no gradient passes"):
        recurrent.setHiddenState(weight)
    with pytest.raises(nn.ShapeError, match="list of 2"):
        module.setHiddenState([np.zeros((2, 4))])


def test_states_that_do_not_fit_are_named():
    x = sequence()
    with pytest.raises(nn.ShapeError, match=r"list of 1, one for each .*SeqGRU"):
        nn.WithStates(nn.SeqGRU(3, 4)).double().forward([x, []])
    with pytest.raises(nn.ShapeError, match=r"\[x, states\]"):
        nn.WithStates(nn.SeqGRU(3, 4)).double().forward(x)
    with pytest.raises(nn.ShapeError, match=r"\[x, states\]"):
        nn.SeqGRU(3, 4).double().forward([x, None, None])
    with pytest.raises(nn.ShapeError, match="need"):
        nn.SeqLSTM(3, 4).double().forward([x, [np.zeros((2, 4))]])
    with pytest.raises(nn.ShapeError, match="WithStates"):
        nn.SeqBLSTM(3, 4).double().forward([x, None])


def test_no_state_leaves_a_checkpoint():
    """Its gradient would not reach what went into the checkpoint."""
    x = sequence()
    inside = nn.Sequencer(nn.Checkpoint(nn.RecGRU(3, 4))).double()
    with pytest.raises(RuntimeError, match="put the checkpoint around"):
        inside.forward(x)
    with pytest.raises(RuntimeError, match="put the checkpoint around"):
        nn.WithStates(nn.Checkpoint(nn.SeqGRU(3, 4))).double().forward([x, None])
    around = nn.Checkpoint(nn.WithStates(nn.Sequencer(nn.RecGRU(3, 4)))).double()
    plain = around.modules[0]
    ones = [np.ones((5, 2, 4)), [[np.ones((2, 4))]]]
    plain.forward([x, None])
    expected = plain.backward([x, None], ones)[0].numpy().copy()
    around.forward([x, None])
    found = around.backward([x, None], ones)[0].numpy()
    # sums in another order: an entry that cancels out has the errors of the terms, not its own
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_a_replayed_step_takes_states_as_inputs_and_refuses_remembered_ones():
    layer, x = nn.SeqGRU(3, 4).double(), sequence()
    step = replay(lambda x, h: layer([x, h]))
    for k in range(4):
        h = np.full((2, 4), 0.1 * k)
        (y, last), (right, right_last) = step(x, h), layer([x, h])
        np.testing.assert_array_equal(y.numpy(), right.numpy())
        np.testing.assert_array_equal(last.numpy(), right_last.numpy())
    step = replay(layer)
    for _ in range(3):
        step(x)
    layer.remember()
    with pytest.raises(ReplayError, match=r"remembers its states.*WithStates"):
        step(x)


# Masks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nn.SeqBLSTM, nn.SeqBGRU])
def test_both_directions_see_sequences_of_several_lengths(kind):
    """Each sample is what it is alone, without its padding."""
    module, x = kind(3, 4).double(), sequence(t=5, n=3)
    lengths = np.array([5, 2, 4])
    mask = np.arange(5)[:, None] >= lengths
    y = module.forward(x, mask).numpy().copy()
    np.testing.assert_array_equal(module.setZeroMask(mask).forward(x).numpy(), y)
    module.setZeroMask(None)
    for n, length in enumerate(lengths):
        alone = module.forward(x[:length, n : n + 1]).numpy()[:, 0]
        np.testing.assert_allclose(y[:length, n], alone, rtol=1e-12)
        assert not y[length:, n].any()
    zeros = module.maskZero().forward(x * ~mask[..., None]).numpy()
    np.testing.assert_array_equal(zeros, y)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.SeqLSTM(3, 4),
        lambda: nn.SeqBGRU(3, 4),
        lambda: nn.MaskZero(nn.Linear(3, 4)),
        lambda: nn.MaskZeroCriterion(nn.MSECriterion()),
    ],
)
def test_a_mask_of_other_numbers_is_refused(make):
    """-inf, and a mask in which 1.0 stands for what is kept, are floats."""
    for mask in ([[0.0, -np.inf]], [[1.0, 0.0]], [[2, 0]], [["yes", "no"]]):
        with pytest.raises(TypeError, match="booleans are needed"):
            make().setZeroMask(mask)
    make().setZeroMask([[0, 1]])


@pytest.mark.parametrize("kind", ["SeqLSTM", "MaskZero", "RNNLayer", "MultiHeadAttention"])
def test_a_replayed_step_sees_another_mask(kind):
    x, none, some = sequence(t=2), np.zeros((2, 2), bool), np.array([[False, True], [False, True]])
    if kind == "MaskZero":
        layer, none, some = nn.MaskZero(nn.Linear(3, 2)).double(), none[0], some[0]
    else:
        layer = {
            "SeqLSTM": lambda: nn.SeqLSTM(3, 2),
            "RNNLayer": lambda: nn.RNNLayer("lstm", 3, 2),
            "MultiHeadAttention": lambda: nn.MultiHeadAttention(3, 1),
        }[kind]().double()
    if kind != "RNNLayer":

        def set_mask(mask):
            if kind == "MultiHeadAttention":
                layer.setMask(key_padding_mask=mask)
            else:
                layer.setZeroMask(mask)

        set_mask(none)
        step = replay(layer)
        for mask in (none, none, none, some, some, some, none):
            set_mask(mask)
            np.testing.assert_array_equal(step(x).numpy(), layer(x).numpy())
    if kind in ("SeqLSTM", "RNNLayer"):
        step = replay(layer)
        for mask in (none, some, none, some):
            np.testing.assert_array_equal(step(x, mask).numpy(), layer(x, mask).numpy())


# RNNLayer -----------------------------------------------------------------------------------------


def test_options_of_an_rnn_layer_are_checked():
    with pytest.raises(ValueError, match="must be one of"):
        nn.RNNLayer("LSTM", 3, 4)
    with pytest.raises(ValueError, match="num_layers"):
        nn.RNNLayer("gru", 3, 4, 0)
    with pytest.raises(ValueError, match="p is 2"):
        nn.RNNLayer("gru", 3, 4, dropout=2)
    layer = nn.RNNLayer("gru", 3, 4).double()
    with pytest.raises(nn.ShapeError, match=r"not \(T, N, D\) with D = 3"):
        layer.forward(np.zeros((2, 2, 4)))
    with pytest.raises(nn.ShapeError, match=r"mask .* needs \(T, N\) = \(5, 2\)"):
        layer.forward(sequence(), np.zeros((2, 5), bool))
    with pytest.raises(nn.ShapeError, match="booleans"):
        layer.forward(sequence(), np.zeros((5, 2)))


@pytest.mark.parametrize("cell", ["lstm", "gru", "tanh", "relu"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_single_sample_and_a_batch_of_samples_agree(cell, bidirectional):
    layer = nn.RNNLayer(cell, 3, 4, 2, batch_first=True, bidirectional=bidirectional).double()
    x = RNG.standard_normal((2, 5, 3))
    mask = np.array([[False] * 5, [False] * 3 + [True] * 2])
    y, states = layer.forward([x, None], mask)
    y, states = y.numpy().copy(), [s.numpy().copy() for s in leaves([states])]
    for n, length in enumerate((5, 3)):
        for part in (layer.forward([x[n], None], mask[n]), layer.forward([x[n, :length], None])):
            alone = part[0].numpy()
            np.testing.assert_allclose(alone[:length], y[n, :length], rtol=1e-12, atol=1e-14)
            for a, b in zip(leaves([part[1]]), states, strict=True):
                np.testing.assert_allclose(a.numpy(), b[:, n], rtol=1e-12, atol=1e-14)


def test_entries_of_a_dict_of_parameters_are_shared_by_their_names():
    layer = nn.RNNLayer("gru", 3, 4)
    again = layer.clone("weight_ih_l0")
    layer.weights["weight_ih_l0"].data[...] = 2
    layer.weights["weight_hh_l0"].data[...] = 2
    assert (again.weights["weight_ih_l0"].numpy() == 2).all()
    assert not (again.weights["weight_hh_l0"].numpy() == 2).any()


def lstm_example(dtype):
    rng = np.random.default_rng(0)
    shapes = ((5, 3, 4), (10, 24), (24,), (3, 6), (3, 6))
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("with_cells", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_lstms_gradient_without_machine_code_is_that_of_its_steps(
    dtype, with_cells, monkeypatch
):
    monkeypatch.setattr(recurrent.kernels(), "fits", lambda *_: False)
    arguments = lstm_example(dtype)
    wide = [a.astype("f8") for a in arguments]
    weights = np.random.default_rng(1).normal(size=(2, 5, 3, 6)).astype(dtype)

    def loss(*arguments):
        y, c, _ = ops.lstm_over_time(*arguments)
        return np.sum(y * weights[0]) + (np.sum(c * weights[1]) if with_cells else 0)

    calls, apply = [], recurrent.apply
    monkeypatch.setattr(recurrent, "apply", lambda *a: calls.append(1) or apply(*a))
    found = tg.grad(loss, tuple(range(5)))(*arguments)
    assert calls
    monkeypatch.setattr(recurrent, "runs_unrecorded", lambda *_: False)
    expected = tg.grad(loss, tuple(range(5)))(*wide)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=1e-4 if dtype == "f4" else 1e-12, atol=1e-5)


def test_an_lstm_of_several_dtypes_computes_in_the_widest():
    x, weight, bias, h, c = lstm_example("f4")
    exact = ops.lstm_over_time(*(a.astype("f8") for a in (x, weight, bias, h, c)))
    for given in ((x, weight, bias.astype("f8"), h, c), (x, weight, bias, h.astype("f8"), c)):
        for a, b in zip(ops.lstm_over_time(*given), exact, strict=True):
            assert a.dtype == "f8"
            np.testing.assert_allclose(a.data, b.data, rtol=1e-5, atol=1e-6)
