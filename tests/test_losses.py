"""Options of losses by formula: reductions, weights of samples, targets, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad import nn, replay

RNG = np.random.default_rng(3)
X, LABELS = RNG.standard_normal((4, 3)), np.array([0, 1, 2, 0])
LOGS = X - np.log(np.exp(X).sum(axis=1, keepdims=True))
PICKED = -LOGS[np.arange(4), LABELS]


def test_label_smoothing_mixes_in_the_mean_over_classes():
    loss = nn.CrossEntropyCriterion(label_smoothing=0.3).forward(X, LABELS)
    np.testing.assert_allclose(loss.numpy(), np.mean(0.7 * PICKED - 0.3 * LOGS.mean(axis=1)))


def test_labels_and_their_shares_have_one_loss():
    for smoothing in (0, 0.2):
        criterion = nn.CrossEntropyCriterion(label_smoothing=smoothing)
        shares = criterion.forward(X, np.eye(3)[LABELS]).numpy()
        np.testing.assert_allclose(shares, criterion.forward(X, LABELS).numpy())
        np.testing.assert_allclose(shares, criterion.forward(X, np.eye(3, dtype=int)[LABELS]))


def test_ignored_labels_count_nowhere():
    criterion = nn.CrossEntropyCriterion(ignoreIndex=2)
    np.testing.assert_allclose(criterion.forward(X, LABELS).numpy(), PICKED[LABELS != 2].mean())
    assert criterion.forward(X, np.full(4, 2)) == 0
    each = nn.CrossEntropyCriterion(ignoreIndex=2, reduction="none").forward(X, LABELS).numpy()
    np.testing.assert_allclose(each, np.where(LABELS == 2, 0, PICKED))
    pixels = nn.SpatialClassNLLCriterion(ignoreIndex=-1)
    maps = LOGS.T.reshape(3, 2, 2)
    labels = np.array([[0, -1], [2, -1]])
    np.testing.assert_allclose(pixels.forward(maps, labels).numpy(), PICKED[[0, 2]].mean())


def test_classes_in_the_last_axis():
    x, t = X.reshape(2, 2, 3), LABELS.reshape(2, 2)
    loss = nn.CrossEntropyCriterion(axis=-1).forward(x, t)
    np.testing.assert_allclose(loss.numpy(), PICKED.mean())
    with pytest.raises(nn.ShapeError, match="say axis=-1"):
        nn.CrossEntropyCriterion().forward(x, t)


def test_reduction_none_gives_each_loss_and_backward_the_gradient_of_their_sum():
    criterion = nn.MSECriterion(reduction="none")
    t = np.ones_like(X)
    np.testing.assert_allclose(criterion.forward(X, t).numpy(), (X - 1) ** 2)
    np.testing.assert_allclose(criterion.backward(X, t).numpy(), 2 * (X - 1))
    criterion.reduction = "sum"
    np.testing.assert_allclose(criterion.forward(X, t).numpy(), np.sum((X - 1) ** 2))


def test_a_reduction_that_is_none_is_refused():
    with pytest.raises(ValueError, match="it must be 'mean', 'sum' or 'none'"):
        nn.MSECriterion(reduction="max")
    criterion = nn.MultiMarginCriterion()
    criterion.reduction = "average"
    with pytest.raises(ValueError, match="MultiMarginCriterion: reduction is 'average'"):
        criterion.forward(X, LABELS)


def test_criterions_of_criterions_add_up_numbers_only():
    each = nn.MSECriterion(reduction="none")
    for criterion in (
        nn.MultiCriterion().add(each),
        nn.SequencerCriterion(each),
        nn.RepeaterCriterion(each),
    ):
        with pytest.raises(nn.ShapeError, match="gave losses of shape"):
            criterion.forward(X, X[0] if isinstance(criterion, nn.RepeaterCriterion) else X)


@pytest.mark.parametrize("inner", [nn.CrossEntropyCriterion(), nn.MultiMarginCriterion()])
def test_weights_of_samples(inner):
    weights = np.array([1.0, 0.0, 2.0, 1.0])
    criterion = nn.SampleWeightedCriterion(inner)
    inner.reduction = None
    each = np.array([inner.forward(X[n : n + 1], LABELS[n : n + 1]).item() for n in range(4)])
    found = criterion.forward(X, [LABELS, weights])
    np.testing.assert_allclose(found.numpy(), np.sum(weights * each) / 4)
    assert not criterion.backward(X, [LABELS, weights]).numpy()[1].any()
    assert criterion.forward(X, [LABELS, np.zeros(4)]) == 0
    with pytest.raises(nn.ShapeError, match="one weight for each sample"):
        criterion.forward(X, [LABELS, np.ones(3)])


def test_weights_of_samples_need_a_criterion_of_single_losses():
    with pytest.raises(TypeError, match="L1Cost has no losses of single samples"):
        nn.SampleWeightedCriterion(nn.L1Cost()).forward(X, [LABELS, np.ones(4)])


ENTRYWISE = [
    nn.MSECriterion(),
    nn.AbsCriterion(),
    nn.SmoothL1Criterion(),
    nn.HuberCriterion(),
    nn.BCECriterion(),
    nn.BCEWithLogitsCriterion(),
    nn.MultiLabelSoftMarginCriterion(),
    nn.SoftMarginCriterion(),
    nn.MarginCriterion(),
    nn.DistKLDivCriterion(),
    nn.FocalCriterion(),
    nn.PoissonNLLCriterion(),
    nn.HingeEmbeddingCriterion(),
]


@pytest.mark.parametrize("criterion", ENTRYWISE, ids=lambda c: type(c).__name__)
def test_a_target_of_another_shape_is_refused_whatever_its_size(criterion):
    x = RNG.uniform(0.1, 0.9, (3, 5))
    for shape in ((5, 3), (15,), (1, 15), (3, 5, 2), (5,)):
        with pytest.raises(nn.ShapeError, match=r"the target of shape"):
            criterion.forward(x, np.zeros(shape))


@pytest.mark.parametrize("criterion", ENTRYWISE, ids=lambda c: type(c).__name__)
def test_axes_of_length_one_do_not_matter(criterion):
    x, t = RNG.uniform(0.1, 0.9, 5), np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    expected = criterion.forward(x, t).numpy().copy()
    for left, right in (((5, 1), (5,)), ((5,), (5, 1)), ((1, 5), (5, 1))):
        assert criterion.forward(x.reshape(left), t.reshape(right)) == expected


def test_labels_in_another_arrangement_are_refused():
    square = RNG.standard_normal((4, 3))
    for criterion in (nn.MultiMarginCriterion(), nn.ClassSimplexCriterion(3)):
        with pytest.raises(nn.ShapeError):
            criterion.forward(square, LABELS.reshape(2, 2))
    with pytest.raises(nn.ShapeError, match="neither as labels"):
        nn.CrossEntropyCriterion().forward(RNG.standard_normal((1, 3, 3)), np.array([0, 1]))


@pytest.mark.parametrize("value", [-0.1, 1.1, 1000.0])
def test_what_is_no_probability_is_refused(value):
    with pytest.raises(ValueError, match="no probability"):
        nn.BCECriterion().forward(np.array([0.5, value]), np.array([0.0, 1.0]))


def test_a_replayed_step_checks_probabilities_too():
    criterion = nn.BCECriterion()
    step = replay(lambda x: criterion(x, np.array([1.0, 0.0])))
    for _ in range(3):
        step(np.array([0.5, 0.25]))
    with pytest.raises(ValueError, match="no probability"):
        step(np.array([0.5, 1.25]))


def test_nan_is_no_error_and_stays():
    assert np.isnan(nn.BCECriterion().forward(np.array([np.nan]), np.array([1.0])).numpy())


def test_focal_loss_is_the_cross_entropy_times_a_power():
    x, t = RNG.standard_normal(6), np.array([1.0, 0, 1, 0, 1, 0])
    q = 1 / (1 + np.exp(-x * (2 * t - 1)))
    for gamma, alpha in ((0, None), (2, None), (1.5, 0.25)):
        a = 1 if alpha is None else np.where(t == 1, alpha, 1 - alpha)
        loss = nn.FocalCriterion(gamma, alpha).forward(x, t)
        np.testing.assert_allclose(loss.numpy(), np.mean(-a * (1 - q) ** gamma * np.log(q)))


@pytest.mark.parametrize("ignored", [None, 2])
@pytest.mark.parametrize("mode", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
def test_the_softmax_loss_of_places_by_formula(mode, ignored):
    x, labels = RNG.standard_normal((3, 4, 2)), np.array([[0, 2], [3, 2], [1, 1]])
    logs = np.log(np.exp(x) / np.exp(x).sum(1, keepdims=True))
    each = -np.take_along_axis(logs, labels[:, None], 1)[:, 0]
    counted = labels != ignored
    divisor = {"VALID": counted.sum(), "FULL": 6, "BATCH_SIZE": 3, "NONE": 1}[mode]
    found = nn.SoftmaxWithCriterion(ignored, mode)(x, labels)
    np.testing.assert_allclose(found.numpy(), each[counted].sum() / divisor)
    nothing = nn.SoftmaxWithCriterion(2, mode)(x, np.full((3, 2), 2))
    assert nothing == 0


def test_ctc_is_the_sum_over_alignments():
    """Two steps and one label: (label, label), (label, blank), (blank, label)."""
    p = np.array([[0.2, 0.8], [0.5, 0.5]])
    loss = nn.CTCCriterion().forward(np.log(p)[:, None], np.array([[1]]))
    total = p[0, 1] * p[1, 1] + p[0, 1] * p[1, 0] + p[0, 0] * p[1, 1]
    np.testing.assert_allclose(loss.numpy(), -np.log(total))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.array([[3]]), "labels are integers from 0 to 2"),
        (np.array([[0]]), "other than blank, 0"),
        (np.array([[1.5]]), "the target holds 1.5"),
        (np.array([1]), "are not"),
        ([np.array([[1]]), np.array([3])], "from 0 to 2"),
    ],
)
def test_ctc_refuses_what_is_no_target(target, message):
    with pytest.raises(nn.ShapeError, match=message):
        nn.CTCCriterion().forward(np.zeros((2, 1, 3)), target)


def test_likelihoods_by_formula():
    m, v, t = np.array([1.0, 2.0]), np.array([0.5, 2.0]), np.array([0.0, 3.0])
    gaussian = nn.GaussianNLLCriterion(full=True).forward([m, v], t)
    density = np.exp(-((t - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)
    np.testing.assert_allclose(gaussian.numpy(), -np.log(density).mean())
    poisson = nn.PoissonNLLCriterion().forward(m, t)
    np.testing.assert_allclose(poisson.numpy(), np.mean(np.exp(m) - t * m))
    with pytest.raises(ValueError, match=r"the variances hold -0\.5"):
        nn.GaussianNLLCriterion().forward([m, -v], t)


def test_a_mask_is_of_booleans():
    criterion = nn.MaskZeroCriterion(nn.MSECriterion())
    with pytest.raises(TypeError, match="booleans are needed"):
        criterion.setZeroMask([0, -np.inf])
    criterion.setZeroMask([0, 1])
    assert criterion.forward(np.array([[2.0], [5.0]]), np.array([[0.0], [0.0]])) == 4
    with pytest.raises(nn.ShapeError, match="2 samples, the target"):
        criterion.forward(np.ones((2, 1)), np.ones((3, 1)))


@pytest.mark.parametrize(
    "criterion",
    [
        nn.MSECriterion(reduction="none"),
        nn.CrossEntropyCriterion(label_smoothing=0.1),
        nn.CrossEntropyCriterion(axis=-1),
    ],
)
def test_what_torch7_lacks_is_not_written_to_its_files(criterion, tmp_path):
    with pytest.raises(ValueError, match=r"Torch7|sizeAverage"):
        criterion.save(tmp_path / "c.t7")
    criterion.save(tmp_path / "c.safetensors")
    loaded = nn.load(tmp_path / "c.safetensors")
    x = RNG.standard_normal((4, 4))
    t = x if isinstance(criterion, nn.MSECriterion) else np.zeros(4)
    np.testing.assert_array_equal(loaded.forward(x, t).numpy(), criterion.forward(x, t).numpy())
