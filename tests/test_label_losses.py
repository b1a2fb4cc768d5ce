"""The cross entropy of labels as one primitive: against its definition, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import nn
from tapegrad.autograd import ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.criterions.cross_entropy import cross_entropy


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
