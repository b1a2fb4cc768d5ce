"""Metrics, against scikit-learn and against plain NumPy; in batches of any size, and refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tapegrad import Tensor, nn, optim

sklearn_metrics = pytest.importorskip("sklearn.metrics")
AVERAGES = ("macro", "micro", "weighted")


def measured(metric, *batches):
    for output, target in batches:
        metric.add(output, target)
    return metric.value()


@st.composite
def classified(draw, least=2, most=4, ties=True):
    """Scores (N, C), labels (N,) and where to cut them into batches."""
    n, count = draw(st.integers(1, 12)), draw(st.integers(least, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = rng.integers(0, 4, (n, count)) * 0.7 if ties else rng.normal(size=(n, count)) * 3
    labels = rng.integers(0, draw(st.integers(1, count)), n)
    cut = draw(st.integers(0, n))
    return scores, labels, [(scores[:cut], labels[:cut]), (scores[cut:], labels[cut:])]


@given(classified())
def test_shares_of_classes_are_those_of_scikit_learn(data):
    scores, labels, batches = data
    found = scores.argmax(axis=1)
    for average in AVERAGES:
        for metric, truth in (
            (optim.Precision, sklearn_metrics.precision_score),
            (optim.Recall, sklearn_metrics.recall_score),
            (optim.F1, sklearn_metrics.f1_score),
        ):
            right = truth(labels, found, average=average, zero_division=0)
            assert measured(metric(average=average), *batches) == pytest.approx(right)
    for k in (1, 2):
        better = [[s > row[t] or (s == row[t] and i < t) for i, s in enumerate(row)]
                  for row, t in zip(scores, labels, strict=True)]  # fmt: skip
        right = np.mean([sum(b) < k for b in better])
        assert measured(optim.Accuracy(k), *batches) == pytest.approx(right)


@given(classified(ties=False), st.sampled_from([0, 60]))
def test_areas_are_those_of_scikit_learn(data, more):
    scores, labels, batches = data
    count = scores.shape[1]
    scores[:, -1] += more  # sure of its class: a softmax rounds to 1
    logarithms = scores - np.logaddexp.reduce(scores, axis=1)[:, None]
    odds = np.stack([scores[:, c] - np.logaddexp.reduce(np.delete(scores, c, 1), axis=1)
                     for c in range(count)], axis=1)  # fmt: skip
    present = [c for c in range(count) if 0 < (labels == c).sum() < len(labels)]
    if count == 2:
        present = [c for c in present if c == 1]
    found = measured(optim.AUC(), *batches)
    if not present:
        assert math.isnan(found)
        return
    right = np.mean([sklearn_metrics.roc_auc_score(labels == c, odds[:, c]) for c in present])
    assert found == pytest.approx(right)
    assert measured(optim.AUC(), (logarithms, labels)) == pytest.approx(right)
    if count == 2:
        assert measured(optim.AUC(), (odds[:, 1], labels)) == pytest.approx(right)
        assert measured(optim.AUC(), (odds[:, 1:], labels[:, None])) == pytest.approx(right)


@given(classified(most=2), st.booleans())
def test_one_score_a_sample_is_that_of_yes(data, column):
    scores, labels, _ = data
    yes = scores[:, 0] / 3
    output = yes[:, None] if column else yes
    answers = yes > 0.5
    batches = [(output[:3], labels[:3]), (output[3:], labels[3:])]
    right = sklearn_metrics.accuracy_score(labels, answers)
    assert measured(optim.BinaryAccuracy(), *batches) == pytest.approx(right)
    for metric, truth in ((optim.Precision, sklearn_metrics.precision_score),
                          (optim.Recall, sklearn_metrics.recall_score),
                          (optim.F1, sklearn_metrics.f1_score)):  # fmt: skip
        found = measured(metric(), *batches)
        if answers.any() or labels.any():
            assert found == pytest.approx(truth(labels, answers, zero_division=0))
        else:
            assert math.isnan(found)
    assume(0 < labels.sum() < len(labels))
    right = sklearn_metrics.roc_auc_score(labels, yes)
    assert measured(optim.AUC(), *batches) == pytest.approx(right)


LABELLED = {
    "top1": optim.Accuracy, "top2": lambda **o: optim.Accuracy(2, **o), "f1": optim.F1,
    "precision": optim.Precision, "recall": optim.Recall, "auc": optim.AUC,
    "perplexity": optim.Perplexity,
}  # fmt: skip


@given(
    classified(most=3),
    st.sampled_from(sorted(LABELLED)),
    st.lists(st.sampled_from([-1, -100, 255]), max_size=12),
    st.sampled_from([np.int64, np.int8, np.float32, np.uint8]),
)
def test_samples_without_a_label_change_nothing(data, name, missing, dtype):
    scores, labels, _ = data
    rows = np.concatenate([scores, scores[: len(missing)]])
    missing = missing[: len(rows) - len(labels)]
    extended = np.concatenate([labels, missing]).astype(np.int64)
    if np.dtype(dtype).kind == "u" or dtype is np.int8:
        extended[extended < -1] = -1
        extended[extended == 255] = -1 if dtype is np.int8 else 255
        extended = np.where(extended < 0, 255, extended) if dtype is np.uint8 else extended
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    found = measured(LABELLED[name](ignore_index=255), (rows[order], extended.astype(dtype)[order]))
    right = measured(LABELLED[name](), (scores, labels))
    assert found == pytest.approx(right, nan_ok=True)


@given(classified(most=3), st.sampled_from(sorted(LABELLED)), st.data())
def test_every_shape_that_holds_labels_is_read(data, name, more):
    """(N, …, C) and (N, C, …); labels, labels in a column, and 1 among zeros."""
    scores, labels, _ = data
    count = scores.shape[1]
    right = measured(LABELLED[name](), (scores, labels))
    n = len(labels)
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    shape = more.draw(st.sampled_from([(n,), *((d, n // d) for d in divisors)]))
    axis = more.draw(st.sampled_from([1, -1]))
    y = np.moveaxis(scores.reshape(*shape, count), -1, axis)
    t = labels.reshape(shape)
    form = more.draw(st.sampled_from(["labels", "column", "one-hot"]))
    if form == "column":
        t = np.expand_dims(t, axis)
    if form == "one-hot":
        t = np.moveaxis(np.eye(count)[t], -1, axis)
    found, refusal = None, ""
    try:
        found = measured(LABELLED[name](), (y, t))
    except ValueError as error:
        refusal = str(error)
    if found is None:
        assert "may stand along axis 1 or along axis 2" in refusal
        axis = axis % y.ndim
        found = measured(LABELLED[name](class_axis=axis), (y, t))
    assert found == pytest.approx(right, nan_ok=True)


def test_pictures_have_their_classes_along_axis_1():
    rng = np.random.default_rng(1)
    y, t = rng.normal(size=(3, 3, 3, 3)), rng.integers(0, 3, (3, 3, 3))
    assert measured(optim.Accuracy(), (y, t)) == (y.argmax(axis=1) == t).mean()


def test_a_score_that_is_nan_is_no_prediction():
    y, t = np.full((40, 10), np.nan), np.arange(40) % 10
    for metric in (optim.Accuracy(), optim.Accuracy(5), optim.Precision(), optim.F1()):
        assert measured(metric, (y, t)) == 0
    assert math.isnan(measured(optim.Perplexity(), (y, t)))
    assert math.isnan(measured(optim.AUC(), (y, t)))
    y = np.eye(10)[t]
    y[3, 3] = np.nan  # only the score of the right class
    y[4, 9] = np.nan  # or of another one
    assert measured(optim.Accuracy(), (y, t)) == 38 / 40
    assert measured(optim.BinaryAccuracy(), ([0.9, np.nan, np.nan], [1, 0, 1])) == 1 / 3
    with pytest.raises(ValueError, match="predictions hold NaN"):
        optim.ConfusionMatrix(10).batchAdd(y, t)


@given(classified(ties=False), st.sampled_from([np.float64, np.float32, np.float16]))
def test_perplexity_is_that_of_scores_and_of_log_probabilities(data, dtype):
    scores, labels, batches = data
    logarithms = scores - np.logaddexp.reduce(scores, axis=1)[:, None]
    right = np.exp(-logarithms[np.arange(len(labels)), labels].mean())
    assert right >= 1
    assert measured(optim.Perplexity(), *batches) == pytest.approx(right)
    close = 1e-9 if dtype is np.float64 else 3e-2
    found = measured(optim.Perplexity(), (logarithms.astype(dtype), labels))
    assert found == pytest.approx(right, rel=close)
    with pytest.raises(ValueError, match="let the model end with LogSoftMax"):
        measured(optim.Perplexity(), (np.exp(logarithms).astype(dtype), labels))


def test_perplexity_has_no_largest_value():
    assert measured(optim.Perplexity(), ([[0.0, 5000.0]], [0])) == math.inf
    assert measured(optim.Perplexity(), ([[-np.inf, 0.0]], [0])) == math.inf
    assert measured(optim.Perplexity(), ([[-np.inf, 0.0]], [1])) == 1


def test_mean_absolute_errors_pair_entries_and_never_wrap():
    y = np.arange(5.0)
    assert measured(optim.MeanAbsoluteError(), (y[:, None], y + 0.5)) == 0.5
    assert measured(optim.MeanAbsoluteError(), (y, y[:, None] + 0.5)) == 0.5
    small, large = np.array([0, 250], np.uint8), np.array([250, 0], np.uint8)
    assert measured(optim.MeanAbsoluteError(), (small, large)) == 250
    halves = np.full((2, 3), 60000, np.float16)
    assert measured(optim.MeanAbsoluteError(), (halves, -halves)) == 2 * float(halves[0, 0])
    for output, target in (((5, 3), (3, 5)), ((5, 3), (3,)), ((5,), (1, 5)), ((5,), ())):
        with pytest.raises(ValueError, match="mae: the output has shape"):
            measured(optim.MeanAbsoluteError(), (np.ones(output), np.ones(target)))


@pytest.mark.parametrize(
    ("metric", "output", "target", "message"),
    [
        (
            optim.Accuracy(),
            np.ones((2, 3)),
            [0, 3],
            "top1: the target holds 3, and the output has 3",
        ),
        (optim.Accuracy(), np.ones((2, 3)), [0, 1.5], "holds 1.5"),
        (optim.Accuracy(), np.ones((2, 3)), [0, np.nan], "holds nan"),
        (optim.F1(), np.ones((2, 3)), [0, 1, 2], r"f1: the target of shape \(3,\) holds neither"),
        (optim.F1(), np.ones((2, 3)), [[0.5, 0.5, 0], [1, 0, 0]], "holds neither one label nor"),
        (optim.Accuracy(), np.ones((2, 1)), [0, 1], "optim.BinaryAccuracy compares it"),
        (optim.Accuracy(), np.ones(3), [0, 1, 1], "no axis of classes"),
        (optim.BinaryAccuracy(), [0.2, 7.0], [0, 1], "give threshold=0"),
        (optim.BinaryAccuracy(), [0.2, 0.7], [-1, 1], "must be 0 or 1"),
        (optim.Precision(), [0.2, 0.7], [2, 1], "must be 0 or 1"),
        (optim.AUC(), [0.2, 0.7], [0.5, 1], "must be 0 or 1"),
    ],
)
def test_what_is_no_label_is_refused(metric, output, target, message):
    with pytest.raises(ValueError, match=message):
        metric.add(np.asarray(output), np.asarray(target))
    assert math.isnan(metric.value())


def test_binary_answers_may_be_scores_and_several_a_sample():
    y, t = np.array([[-2.0, 3.0], [0.5, -1.0]]), np.array([[0, 1], [0, 0]])
    assert measured(optim.BinaryAccuracy(threshold=0), (y, t)) == 0.75
    t[1, 0] = -1
    assert measured(optim.BinaryAccuracy(threshold=0, ignore_index=-1), (y, t)) == 1


def test_several_outputs_are_refused_and_reach_a_metric_of_ones_own():
    pair = [Tensor(np.ones((4, 3))), Tensor(np.zeros((4, 2)))]
    with pytest.raises(TypeError, match="top1 takes one array, and the output is a list"):
        optim.Accuracy().add(pair, np.zeros(4))

    class SecondIsZero(optim.Metric):
        def batch_sum(self, output, target):
            return (output[1] == 0).all(axis=1).sum(), len(target)

    metric = SecondIsZero()
    assert metric.name == "second_is_zero"
    assert measured(metric, (pair, np.zeros(4))) == 1


def test_two_metrics_of_one_name_are_refused():
    class Mine(optim.Metric):
        def batch_sum(self, output, target):
            return 0.0

    class Loss(Mine):
        name = "loss"

    def trainer(*metrics):
        model = nn.Linear(2, 2)
        return optim.Trainer(model, nn.MSECriterion(), optim.SGD(model, lr=0.1), metrics=metrics)

    assert trainer(Mine, "top1", "mae").metrics
    for two in ([Mine, Mine], ["top1", optim.Accuracy], [Loss]):
        with pytest.raises(ValueError, match="one would overwrite the other"):
            trainer(*two)
    with pytest.raises(TypeError, match="Give lambda: Accuracy"):
        trainer(optim.Accuracy())


# The confusion matrix ---------------------------------------------------------------------------


def test_missing_targets_of_a_confusion_matrix_are_not_counted():
    matrix = optim.ConfusionMatrix(2)
    matrix.batchAdd(np.array([0, 1, 1]), np.array([0, 1, -1]))
    matrix.add(1, -7)
    assert matrix.mat.tolist() == [[1, 0], [0, 1]]
    for prediction, target in (([0, -1], [0, 1]), ([0, 1], [0, 2]), ([0, 1], [0, -0.5])):
        with pytest.raises(ValueError, match="labels are 0 to 1"):
            matrix.batchAdd(np.array(prediction), np.array(target))
    assert matrix.mat.tolist() == [[1, 0], [0, 1]]
