"""Constructors refuse settings that make no sense, and say which."""

import numpy as np
import pytest

from tapegrad import nn


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.GELU("erf"), "approximate is 'erf'"),
        (lambda: nn.HardTanh(1, 1), "max_value 1 must be larger"),
        (lambda: nn.Clamp(1, -1), "Clamp: max_value -1"),
        (lambda: nn.RReLU(0.5, 0.1), "they are 0.5 and 0.1"),
        (lambda: nn.MultiMarginCriterion(3), "p is 3"),
        (lambda: nn.ClassSimplexCriterion(1), "nClasses is 1"),
        (lambda: nn.GroupNorm(2, 5), "does not divide num_channels 5"),
        (lambda: nn.MultiHeadAttention(5, 2), "does not divide embed_dim 5"),
        (lambda: nn.TransformerEncoderLayer(4, 2, activation="tanh"), "activation is 'tanh'"),
        (lambda: nn.MuFuRu(2, 2, ["keep", "swap"]), "swap"),
        (lambda: nn.Repeater(nn.RecGRU(2, 2), 0), "seqlen is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_an_argument_of_another_name_says_which_there_are():
    words = (
        r"^Linear takes no argument 'in_features'; its arguments are inputSize, outputSize, bias\. "
    )
    with pytest.raises(TypeError, match=words):
        nn.Linear(in_features=3, outputSize=2)
    with pytest.raises(TypeError, match=r"Conv2d takes no argument 'padding_mode'; .* padding, "):
        nn.Conv2d(1, 1, 1, padding_mode="reflect")
    with pytest.raises(TypeError, match=r"ReLU takes no argument 'p'"):
        nn.ReLU(p=1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'outputSize'"):
        nn.Linear(3)

    class Mine(nn.Module):
        def __init__(self, a=1, **more):
            self.a, self.b = a, int(more["b"], base=None)

    with pytest.raises(TypeError, match="NoneType"):  # one of the constructor's own
        Mine(b="1")


@pytest.mark.parametrize(
    ("criterion", "x", "target", "words"),
    [
        (nn.MSECriterion(), np.ones(3), None, "needs a target"),
        (nn.MultiMarginCriterion(), np.ones((2, 3)), np.array([0, 3]), "holds 3"),
        (nn.MultiLabelMarginCriterion(), np.ones(3), np.array([3, -1, -1]), "holds 3"),
        (nn.ClassSimplexCriterion(3), np.ones(3), np.array([-1]), "holds -1"),
        (nn.BCECriterion([1.0, 2.0]), np.ones((2, 3)) / 2, np.ones((2, 3)), "do not fit"),
        (nn.CosineEmbeddingCriterion(), [np.ones(3), np.ones(2)], 1, "shapes"),
        (nn.HingeEmbeddingCriterion(), np.ones(3), np.ones(2), "neither one sign"),
        (nn.ParallelCriterion().add(nn.L1Cost()), [np.ones(2)] * 2, [[], []], "list of 1 entries"),
        (nn.MultiCriterion(), np.ones(2), np.ones(2), "no criterions"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Criterion) else "",
)
def test_targets_that_do_not_fit_are_refused(criterion, x, target, words):
    with pytest.raises((ValueError, TypeError), match=words):
        criterion.forward(x, target)


def test_penalties_take_no_target():
    x = np.array([1.0, -2.0])
    penalty = nn.L1Cost()
    assert float(penalty.forward(x)) == 3
    np.testing.assert_array_equal(penalty.backward(x).numpy(), [1, -1])


def test_a_simplex_tells_which_corner_is_nearest():
    criterion = nn.ClassSimplexCriterion(4)
    corners = criterion.simplex.numpy()
    np.testing.assert_allclose(corners @ corners.T, np.eye(4) * 4 / 3 - 1 / 3, atol=1e-12)
    assert criterion.getTopPrediction(corners[[2, 0]] * 3).tolist() == [2, 0]
