"""The likelihood of labels over all alignments: against their list, by kernel and by arrays."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import nn
from tapegrad.autograd import ops
from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.alignments import alignments
from tapegrad.nn.criterions.alignment import extended_labels
from tapegrad.nn.criterions.alignment_likelihood import IMPOSSIBLE, alignment_likelihood

needs_kernels = pytest.mark.skipif(not machine.is_available(), reason="no kernels here")


def by_arrays(*given):
    """The results of the body without a kernel."""
    return alignment_likelihood.primitive.body(np, *given)


WAYS = [alignment_likelihood.with_aux, by_arrays]


def alignments_of(labels, steps, classes):
    """All lists of `steps` states, of which 0 is the blank, that give the labels."""
    for states in product(range(classes), repeat=steps):
        if [s for s, _ in groupby(states) if s] == list(labels):
            yield states


def by_list(x, rows, lengths):
    """The logarithm for each sample, summed over the list of its alignments; -∞ without any."""
    logs = []
    for n, (labels, steps) in enumerate(zip(rows, lengths, strict=True)):
        every = list(alignments_of([s for s in labels if s > 0], steps, x.shape[2]))
        terms = [
            sum((x[t, n, s] for t, s in enumerate(states)), 0 * x[0, n, 0]) for states in every
        ]
        logs.append(ops.logsumexp(ops.stack(terms)) if terms else None)
    return logs


def drawn(seed, steps, samples, length, classes, dtype="d"):
    rng = np.random.default_rng(seed)
    x = np.log(rng.dirichlet(np.ones(classes), (steps, samples))).astype(dtype)
    rows = rng.integers(1, classes, (samples, length))
    rows = np.where(np.arange(length) < rng.integers(0, length + 1, (samples, 1)), rows, -1)
    lengths = rng.integers(0, steps + 1, (samples, 1))
    path = np.asarray(extended_labels(rows, classes=classes, blank=0))
    return x, rows, path, lengths


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("way", WAYS)
def test_values_and_gradients_are_those_of_the_list_of_alignments(seed, way):
    x, rows, path, lengths = drawn(seed, 5, 3, 3, 3)
    logs, slopes = map(np.asarray, way(x, path, lengths))
    for n, expected in enumerate(by_list(x, rows, lengths[:, 0])):
        if expected is None:
            assert logs[n] == IMPOSSIBLE
            assert not slopes[:, n].any()
            continue
        np.testing.assert_allclose(logs[n], expected, atol=1e-13)
        gradient = tg.grad(lambda x, n=n: by_list(x, rows, lengths[:, 0])[n])(x)
        np.testing.assert_allclose(slopes[:, n], np.asarray(gradient)[:, n], atol=1e-13)


def test_second_derivatives_are_those_of_the_list_of_alignments():
    x, _, _, _ = drawn(0, 4, 2, 2, 3)
    rows, lengths = np.array([[1, 2], [1, -1]]), np.array([[4], [3]])
    path = np.asarray(extended_labels(rows, classes=3, blank=0))
    weights = np.array([1.0, -2.0])

    def loss(x):
        return ops.sum(weights * alignment_likelihood(x, path, lengths) ** 2)

    def plain(x):
        return sum(
            w * log**2 for w, log in zip(weights, by_list(x, rows, lengths[:, 0]), strict=True)
        )

    found, expected = (np.asarray(tg.hessian(f)(x)) for f in (loss, plain))
    np.testing.assert_allclose(found, expected, atol=1e-11)
    v = np.random.default_rng(1).normal(size=x.shape)
    found, expected = (tg.jvp(f, (x,), (v,))[1] for f in (loss, plain))
    np.testing.assert_allclose(float(found), float(expected), atol=1e-11)


@needs_kernels
@given(
    steps=st.integers(1, 9),
    samples=st.integers(1, 4),
    length=st.integers(0, 20),
    classes=st.integers(2, 40),
    dtype=st.sampled_from(["f", "d"]),
    kind=st.sampled_from(["", "strided", "zeros", "far", "all steps"]),
    seed=st.integers(0, 9),
)
def test_the_kernel_computes_what_the_arrays_do(steps, samples, length, classes, dtype, kind, seed):
    x, _, path, lengths = drawn(seed, steps, samples, length, classes, dtype)
    if kind == "strided":
        x, path = np.repeat(x, 2, 1)[:, ::2], np.repeat(path, 2, 0)[::2]
    if kind == "zeros":  # probabilities of 0
        x[np.random.default_rng(seed).random(x.shape) < 0.6] = -np.inf
    if kind == "far":
        x *= 50
    ends = None if kind == "all steps" else lengths
    found = alignments(x, path, ends, IMPOSSIBLE)
    assert found is not None
    limit = (1e-5 if dtype == "f" else 1e-13) * (50 if kind == "far" else 1)
    for one, wanted in zip(found, by_arrays(x, path, ends), strict=True):
        assert one.dtype == wanted.dtype == dtype
        np.testing.assert_allclose(one, wanted, rtol=limit, atol=limit)


@needs_kernels
def test_the_kernel_takes_nothing_that_it_cannot_answer_for():
    x, _, path, lengths = drawn(0, 4, 2, 2, 3)
    assert alignments(x, path, lengths, IMPOSSIBLE) is not None
    assert alignments(x, path + 3 * (path > 0), lengths, IMPOSSIBLE) is None
    assert alignments(x, path, lengths * 0 + 5, IMPOSSIBLE) is None
    assert alignments(x, path, lengths * 0 - 1, IMPOSSIBLE) is None
    assert alignments(x.astype(np.float16), path, lengths, IMPOSSIBLE) is None
    assert alignments(x.astype(">f8"), path, lengths, IMPOSSIBLE) is None
    assert alignments(x * np.nan, path, lengths * 0 + 4, IMPOSSIBLE) is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_what_no_alignment_reads_may_be_nan(way, dtype):
    x = np.log(np.full((3, 2, 4), 0.25, dtype))
    path = np.array([[0, 1, 0], [0, 2, 0]])
    x[:, :, 3] = np.nan  # a class of neither
    x[2, 0] = np.nan  # behind its last step
    given = x, path, np.array([[2], [3]])
    logs, slopes = map(np.asarray, way(*given))
    # of 16 alignments of two steps three give the label, of 64 of three steps six do
    np.testing.assert_allclose(logs, np.log([3 / 16, 6 / 64]), rtol=1e-6)
    assert np.isfinite(slopes).all()
    np.testing.assert_allclose(slopes.sum(2), [[1, 1], [1, 1], [0, 1]], rtol=1e-6)
    x[1, 1, 2] = np.nan
    with np.errstate(invalid="ignore"):
        logs, slopes = map(np.asarray, way(*given))
    assert np.isnan(logs).tolist() == [False, True]
    assert np.isnan(slopes).any(axis=(0, 2)).tolist() == [False, True]


@pytest.mark.parametrize("way", WAYS)
def test_a_state_that_cannot_get_to_the_end_may_be_nan(way):
    x, path = np.zeros((2, 1, 3)), np.array([[0, 1, 0, 2, 0]])
    x[1, 0, 1] = np.nan  # of two steps, each has one of the two labels
    logs, slopes = map(np.asarray, way(x, path))
    assert logs.tolist() == [0]
    assert slopes[:, 0].tolist() == [[0, 1, 0], [0, 0, 1]]


def test_half_precision_is_computed_in_single():
    x, rows, path, lengths = drawn(0, 6, 4, 3, 4, "e")
    logs, slopes = alignment_likelihood.with_aux(x, path, lengths)
    wide = alignment_likelihood.with_aux(x.astype("f"), path, lengths)
    possible = np.asarray(wide[0]) > -100
    assert possible.tolist() == [True, False, True, True]
    assert logs.dtype == slopes.dtype == x.dtype
    np.testing.assert_allclose(logs[possible], wide[0][possible], rtol=1e-3)
    np.testing.assert_allclose(slopes, wide[1], atol=1e-3)
    for zero_infinity in (False, True):
        criterion = nn.CTCCriterion(0, zero_infinity)
        given = [rows, lengths[:, 0]]
        loss, gradient = tg.value_and_grad(lambda x: criterion(x, given))(x)  # noqa: B023  # called at once
        assert np.isfinite(loss) == zero_infinity
        assert np.isfinite(gradient).all()


def test_the_results_of_a_batch_are_those_of_its_parts():
    parts = [drawn(seed, 4, 2, 2, 3) for seed in range(3)]
    given = [np.stack([part[i] for part in parts]) for i in (0, 2, 3)]
    mapped = tg.vmap(alignment_likelihood.with_aux)(*given)
    for n, one in enumerate(zip(*given, strict=True)):
        for found, expected in zip(mapped, alignment_likelihood.with_aux(*one), strict=True):
            np.testing.assert_allclose(np.asarray(found)[n], expected, atol=1e-13)


def test_sample_by_sample_and_all_at_once():
    x, rows, _, lengths = drawn(3, 6, 4, 3, 4)
    criterion = nn.CTCCriterion(zero_infinity=True, reduction="none")

    def loss(x, labels, steps):
        return criterion(x[:, None], [labels[None], steps])[0]

    given = np.swapaxes(x, 0, 1), rows, lengths
    mapped = tg.vmap(tg.value_and_grad(loss))(*given)
    for n, one in enumerate(zip(*given, strict=True)):
        value, gradient = tg.value_and_grad(loss)(*one)
        np.testing.assert_allclose(np.asarray(mapped[0])[n], value, atol=1e-13)
        np.testing.assert_allclose(np.asarray(mapped[1])[n], gradient, atol=1e-13)


def test_no_steps_are_an_alignment_of_no_labels():
    x = np.zeros((0, 2, 3))
    loss = nn.CTCCriterion(reduction="none")(x, np.array([[-1], [1]]))
    assert loss.numpy().tolist() == [0, np.inf]
