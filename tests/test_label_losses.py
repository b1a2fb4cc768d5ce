"""Losses of class labels as primitives: against their definitions, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import nn
from tapegrad.autograd import ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.labels import pick_by_label, place_by_label
from tapegrad.nn.criterions.cross_entropy import cross_entropy
from tapegrad.nn.criterions.label_likelihood import label_likelihood
from tapegrad.nn.criterions.margins import multi_label_hinges


def by_definition(x, labels, ignored=None, mean=True):
    """The loss and its gradient, row by row, in float64."""
    x = x.astype("d")
    losses, slopes, count = 0.0, np.zeros(x.shape), 0
    for row, (scores, label) in enumerate(zip(x, labels, strict=True)):
        if label == ignored:
            continue
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        losses -= np.log(shares[int(label)])
        slopes[row] = shares
        slopes[row, int(label)] -= 1
        count += 1
    divisor = max(count, 1) if mean else 1
    return losses / divisor, slopes / divisor


@given(
    samples=st.integers(1, 9),
    classes=st.integers(1, 40),
    scale=st.sampled_from([1.0, 30.0]),
    dtype=st.sampled_from(["f", "d"]),
    kind=st.sampled_from(["i8", "i4", "f4"]),
    ignored=st.sampled_from([None, -100, 0]),
    mean=st.booleans(),
    seed=st.integers(0, 9),
)
def test_loss_and_gradient_are_as_defined(
    samples, classes, scale, dtype, kind, ignored, mean, seed
):
    rng = np.random.default_rng(seed)
    x = (scale * rng.normal(size=(samples, classes))).astype(dtype)
    labels = rng.integers(0, classes, samples).astype(kind)
    if ignored is not None:
        labels[rng.integers(0, samples)] = ignored
    loss, slopes = by_definition(x, labels, ignored, mean)
    limit = 3e-6 if dtype == "f" else 1e-13
    found, pull = tg.vjp(lambda x: cross_entropy(x, labels, ignored=ignored, mean=mean), (x,))
    assert found.dtype == x.dtype
    assert abs(float(found) - loss) <= limit * max(scale * samples, 1)
    [gradient] = pull(np.asarray(2, dtype))
    assert gradient.dtype == x.dtype
    np.testing.assert_allclose(gradient, 2 * slopes, atol=2 * limit)


def test_far_scores_infinity_and_nan():
    x = np.array([[1e30, 0, -1e30], [-np.inf, 0, 1], [0, -np.inf, 3]], "f")
    x = np.concatenate([x, np.full((3, 9), -np.inf, "f")], 1)
    loss, pull = tg.vjp(lambda x: cross_entropy(x, np.array([0, 2, 2])), (x,))
    with np.errstate(all="ignore"):
        expected, slopes = by_definition(x, [0, 2, 2])
    assert float(loss) == pytest.approx(expected, abs=1e-6)
    [gradient] = pull(np.float32(1))
    np.testing.assert_allclose(gradient, slopes, atol=1e-6)
    assert (gradient[:, 3:] == 0).all()
    x[1, 1] = np.nan
    loss, pull = tg.vjp(lambda x: cross_entropy(x, np.array([0, 2, 2])), (x,))
    assert np.isnan(float(loss))
    assert np.isnan(pull(np.float32(1))[0]).any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("label", [-1, 3, 10**9, -(10**9), 1.5, np.nan])
def test_labels_that_are_no_class_are_named(label):
    x = np.zeros((2, 3), "f")
    labels = np.array([0, label])
    with pytest.raises(ShapeError, match="labels are integers from 0 to 2"):
        nn.CrossEntropyCriterion()(x, labels)


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_ignored_rows_have_no_gradient_even_if_they_are_nan(dtype):
    x = np.zeros((3, 12), dtype)
    x[1] = np.nan
    loss, pull = tg.vjp(lambda x: cross_entropy(x, np.array([0, -100, 1]), ignored=-100), (x,))
    assert float(loss) == pytest.approx(np.log(12))
    [gradient] = pull(np.ones((), dtype))
    assert (gradient[1] == 0).all()
    assert np.isfinite(gradient).all()


def test_the_criterion_gives_what_its_parts_give():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(4, 5, 6)).astype("f"), rng.integers(0, 5, (4, 6))
    labels[0, 0] = -100
    for average in (True, False):
        criterion = nn.CrossEntropyCriterion(sizeAverage=average)
        weighted = nn.CrossEntropyCriterion(np.ones(5, "f"), sizeAverage=average)  # by parts
        for one, other in ((criterion, weighted),):
            value, gradient = tg.value_and_grad(lambda x, c=one: c(x, labels))(x)
            expected, slopes = tg.value_and_grad(lambda x, c=other: c(x, labels))(x)
            assert float(value) == pytest.approx(float(expected), rel=1e-6)
            np.testing.assert_allclose(gradient, slopes, atol=1e-6)


def test_second_derivatives_and_batches():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(3, 4)), np.array([1, 3, -100])

    def loss(x):
        return cross_entropy(x, labels, ignored=-100)

    hessian = np.asarray(tg.hessian(loss)(x)).reshape(12, 12)
    p = np.asarray(ops.softmax(x))
    expected = np.zeros((3, 4, 3, 4))
    for row in range(2):
        expected[row, :, row] = (np.diag(p[row]) - np.outer(p[row], p[row])) / 2
    np.testing.assert_allclose(hessian, expected.reshape(12, 12), atol=1e-12)
    several = np.stack([x, x * 3])
    mapped = tg.vmap(tg.value_and_grad(loss))(several)
    for number, one in enumerate(several):
        value, slopes = tg.value_and_grad(loss)(one)
        np.testing.assert_allclose(np.asarray(mapped[0])[number], value)
        np.testing.assert_allclose(np.asarray(mapped[1])[number], slopes, atol=1e-12)


# The likelihood of labels -------------------------------------------------------------------------


def likelihood_by_definition(x, labels, weights=None, ignored=None, mean=True):
    """The loss and its gradient, label by label, in float64."""
    loss, total, slopes = 0.0, 0.0, np.zeros(x.shape)
    for place, label in np.ndenumerate(labels):
        if label == ignored:
            continue
        at = (place[0], int(label), *place[1:])
        weight = 1 if weights is None else float(weights[int(label)])
        loss -= weight * float(x[at])
        slopes[at] -= weight
        total += weight
    divisor = total if mean and total else 1
    return loss / divisor, slopes / divisor


@given(
    samples=st.integers(0, 5),
    points=st.sampled_from([(), (3,), (2, 3)]),
    dtype=st.sampled_from(["f", "d"]),
    kind=st.sampled_from(["i8", "i4", "u1", "u8", "f4"]),
    ignored=st.sampled_from([None, 200, 0]),
    weighted=st.booleans(),
    mean=st.booleans(),
    strided=st.booleans(),
    seed=st.integers(0, 9),
)
def test_likelihood_and_gradient_are_as_defined(
    samples, points, dtype, kind, ignored, weighted, mean, strided, seed
):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, 4, *points)).astype(dtype)
    labels = rng.integers(0, 4, (samples, *points)).astype(kind)
    weights = np.array([0.5, 0, 2, 3]) if weighted else None
    if ignored is not None and samples:
        labels[rng.integers(0, samples)] = ignored
    if strided:
        x, labels = np.repeat(x, 2, 1)[:, ::2], np.repeat(labels, 2, 0)[::2]
    loss, slopes = likelihood_by_definition(x, labels, weights, ignored, mean)
    limit = 3e-6 if dtype == "f" else 1e-13
    found, pull = tg.vjp(
        lambda x: label_likelihood(x, labels, weights, ignored=ignored, mean=mean), (x,)
    )
    assert found.dtype == x.dtype
    assert abs(float(found) - loss) <= limit * max(x.size, 1)
    [gradient] = pull(np.asarray(2, dtype))
    assert gradient.dtype == x.dtype
    np.testing.assert_allclose(gradient, 2 * slopes, atol=2 * limit)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("label", [-1, 3, 10**9, -(10**9), 2**63, 1.5, np.nan])
def test_of_the_likelihood_too(label, dtype):
    x = np.zeros((2, 3), dtype)
    labels = np.array([0, label])
    for weights in (None, np.ones(3)):
        with pytest.raises(ShapeError, match="labels are integers from 0 to 2") as caught:
            nn.ClassNLLCriterion(weights)(x, labels)
        assert f"the target holds {labels[1].item()}, and" in str(caught.value)


def test_a_long_label_is_not_taken_for_the_ignored_one():
    labels = np.array([0, 2**64 - 100], np.uint64)
    for criterion in (nn.ClassNLLCriterion(), nn.CrossEntropyCriterion()):
        with pytest.raises(ShapeError, match="the target holds 18446744073709551516, and"):
            criterion(np.zeros((2, 3), "f"), labels)


@pytest.mark.parametrize("weights", [None, np.array([1, 2, 3, 0.5], "f")])
@pytest.mark.parametrize("label", [1, 200])
def test_ways_of_running_the_likelihood_agree_in_all_results(weights, label):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(5, 4, 3)).astype("f"), rng.integers(0, 4, (5, 3))
    labels[2, 0] = label
    found = label_likelihood.with_aux(x, labels, weights, ignored=200)
    expected = label_likelihood.primitive.body(np, x, labels, weights, ignored=200)
    for one, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-6)
        assert one.dtype == wanted.dtype
        assert not np.shares_memory(one, labels)


def test_what_is_ignored_has_no_part_even_if_it_is_infinite():
    x = np.zeros((3, 12), "f")
    x[1] = -np.inf
    labels = np.array([0, -100, 1])
    for criterion in (nn.ClassNLLCriterion(), nn.ClassNLLCriterion(reduction="none")):
        loss, gradient = tg.value_and_grad(lambda x, c=criterion: ops.sum(c(x, labels)))(x)
        assert float(loss) == 0
        assert (gradient[1] == 0).all()
        assert np.isfinite(gradient).all()


def test_no_weight_counts():
    x, labels = np.ones((2, 3)), np.array([1, 1])
    weights = np.array([1.0, 0, 1])
    loss, gradient = tg.value_and_grad(lambda x: label_likelihood(x, labels, weights))(x)
    assert float(loss) == 0
    assert (gradient == 0).all()


def test_second_derivatives_by_scores_and_weights():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(3, 4)), rng.uniform(0.5, 2, 4)
    labels = np.array([1, 3, -100])

    def loss(x, w):
        return label_likelihood(x * x, labels, w, ignored=-100)

    def plain(x, w):
        return -(w[1] * x[0, 1] ** 2 + w[3] * x[1, 3] ** 2) / (w[1] + w[3])

    for order in (tg.hessian, lambda f, i: tg.jacobian(tg.grad(f, 0), 1)):
        for which in (0, 1):
            found, expected = (order(f, which)(x, weights) for f in (loss, plain))
            np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-12)


def test_picking_and_placing_are_adjoint_and_leave_out_what_is_negative():
    x = np.arange(24.0).reshape(2, 3, 4)
    labels = np.array([[0, -1, 2, 1], [2, 2, -1, 0]])
    y = np.asarray(pick_by_label(x, labels))
    assert y.tolist() == [[0, 0, 10, 7], [20, 21, 0, 15]]
    g = np.arange(1.0, 9).reshape(2, 4)
    placed = np.asarray(place_by_label(g, labels, classes=3))
    assert (placed * x).sum() == (g * y).sum()
    assert np.count_nonzero(placed) == 6


# Lists of labels ----------------------------------------------------------------------------------


def test_hinges_of_lists_are_as_defined():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(6, 5)), np.full((6, 5), -1)
    for row, count in enumerate([0, 1, 2, 5, 3, 2]):
        labels[row, :count] = rng.permutation(5)[:count]
    labels[5, :3] = 4, 4, 1  # the same twice
    expected, slopes = np.zeros(6), np.zeros((6, 5))
    for row in range(6):
        listed = [t for t in labels[row] if t >= 0]
        for t in listed:
            for i in set(range(5)) - set(listed):
                if 1 - x[row, t] + x[row, i] > 0:
                    expected[row] += 1 - x[row, t] + x[row, i]
                    slopes[row, i] += 1
                    slopes[row, t] -= 1
    loss, pull = tg.vjp(lambda x: multi_label_hinges(x, labels), (x,))
    np.testing.assert_allclose(loss, expected)
    np.testing.assert_array_equal(pull(np.ones(6))[0], slopes)
    assert not np.asarray(tg.hessian(lambda x: ops.sum(multi_label_hinges(x, labels)))(x)).any()


def test_hinges_of_nan_are_nan():
    x, labels = np.zeros((2, 3)), np.array([[0, -1, -1], [1, -1, -1]])
    x[1, 0] = np.nan
    assert np.isnan(np.asarray(multi_label_hinges(x, labels))).tolist() == [False, True]
