"""Recurrent layers over time: states, masks, and what the records do not cover."""

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.autograd import grad

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
        with pytest.raises(nn.ShapeError, match="reach from 0 to 4"):
            module.forward(np.array([0, 4]))
    with pytest.raises(nn.ShapeError, match="holds -1"):
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
