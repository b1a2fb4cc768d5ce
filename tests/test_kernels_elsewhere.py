"""Kernels with vectors of another length than this processor's registers give the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from registers import registers_of

from tapegrad.autograd.kernels import (
    alignments,
    attention,
    descending,
    fast_scattering,
    gru,
    label_losses,
    machine,
    normalization,
    recurrent,
)
from tapegrad.nn.criterions.alignment import extended_labels
from tapegrad.nn.criterions.alignment_likelihood import IMPOSSIBLE, alignment_likelihood

pytestmark = [
    pytest.mark.extra,
    pytest.mark.skipif(not machine.is_available(), reason="needs the fast extra: llvmlite"),
]


@pytest.fixture(params=[16, 32, 64])
def other_registers(request):
    with registers_of(request.param):
        yield


def some(*shape, dtype="f"):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


@pytest.mark.usefixtures("other_registers")
@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize(
    ("shape", "axes", "own"),
    [
        ((3, 5, 71), (2,), (71,)),
        ((3, 5, 71), (0, 2), (5, 1)),
        ((3, 5, 71), (2,), (5, 1)),
        ((3, 5, 71), (1, 2), (5, 1)),
        ((9, 71), (0,), (71,)),
        ((1100, 71), (0,), (71,)),
    ],
)
def test_normalization(shape, axes, own, dtype):
    x, g = some(*shape, dtype=dtype), some(*shape, dtype=dtype) + 1
    g *= g.dtype.type(min(1, 9 / len(g)))  # sums of about one size
    weight = some(*own, dtype=dtype)
    work = normalization.shape_of_work(x, weight, weight, axes)
    y, mean, var = normalization.normalize(work, x, weight, weight, axes, 0.1)
    wide = x.astype("d")
    inverse = 1 / np.sqrt(wide.var(axes, keepdims=True) + 0.1)
    ideal = (wide - wide.mean(axes, keepdims=True)) * inverse
    np.testing.assert_allclose(y, ideal * weight + weight, atol=1e-5)
    by_x, by_weight, by_bias = normalization.normalize_gradient(
        work, g, x, weight, mean, var, 0.1, own
    )
    scaled = g.astype("d") * weight
    slope = np.mean(scaled * ideal, axes, keepdims=True)
    expected = (scaled - np.mean(scaled, axes, keepdims=True) - ideal * slope) * inverse
    np.testing.assert_allclose(by_x, expected, atol=1e-5)
    others = {(71,): tuple(range(len(shape) - 1)), (5, 1): (0, 2)}[own]
    np.testing.assert_allclose(by_weight, (g * ideal).sum(others).reshape(own), atol=1e-4)
    np.testing.assert_allclose(by_bias, g.sum(others).reshape(own), atol=1e-4)


@pytest.mark.usefixtures("other_registers")
def test_gates():
    x, h, c = some(3, 2, 4), some(2, 21), some(2, 21) * 2
    weight, bias = some(25, 84) / 5, some(84)
    found = recurrent.lstm(x, weight, bias, h, c)
    old, cell = h.astype("d"), c.astype("d")
    for t in range(3):
        i, f, o, n = np.split(x[t] @ weight[:4] + old @ weight[4:] + bias, 4, -1)
        i, f, o = (1 / (1 + np.exp(-a)) for a in (i, f, o))
        cell = f * cell + i * np.tanh(n)
        old = o * np.tanh(cell)
        np.testing.assert_allclose(found[0][t], old, atol=1e-5)
        np.testing.assert_allclose(found[1][t], cell, atol=1e-5)
    assert len(gru.gru(x, weight[:, :63], bias[:63], h)) == 2


@pytest.mark.usefixtures("other_registers")
def test_losses_rows_and_steps():
    x = some(5, 37) * 4
    losses, slopes, outside = label_losses.label_losses(x, np.arange(5))
    assert outside == 0
    shares = np.exp(x.astype("d"))
    shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(losses, -np.log(shares[np.arange(5), np.arange(5)]), atol=1e-5)
    shares[np.arange(5), np.arange(5)] -= 1
    np.testing.assert_allclose(slopes, shares, atol=1e-6)
    rows, index = np.zeros((4, 37), "f"), np.array([3, 0, 3, 1, 3])
    assert fast_scattering.add_rows(rows, index, x)
    expected = np.zeros_like(rows)
    np.add.at(expected, index, x)
    np.testing.assert_array_equal(rows, expected)
    v, g = some(37), some(38)[:37]
    flat, speed = x[0].copy(), v.copy()
    descending.descend(flat, g, speed, 0.1, 0.01, 0.9, nesterov=True)
    slope = g + x[0] * np.float32(0.01)
    np.testing.assert_array_equal(speed, np.float32(0.9) * v + slope)
    step = np.float32(0.1) * (slope + speed * np.float32(0.9))
    np.testing.assert_array_equal(flat, x[0] - step)


@pytest.mark.usefixtures("other_registers")
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_alignments(dtype):
    x = np.log(np.random.default_rng(0).dirichlet(np.ones(9), (30, 3))).astype(dtype)
    labels = np.array(
        [[1, 2, 3, 3, 4, 5, 6, 6, 1, 8, 7], [2, 3, 2, 3, 2, 3, 2] + [-1] * 4, [4, 2, 5] + [-1] * 8]
    )
    path = np.asarray(extended_labels(labels, classes=9, blank=0))
    given = x, path, np.array([[30], [9], [30]])
    found = alignments.alignments(*given, IMPOSSIBLE)
    ideal = alignment_likelihood.primitive.body(np, *given)
    for a, b in zip(found, ideal, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("other_registers")
@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("causal", [False, True])
def test_attention(dtype, causal):
    q, k, v, g = (some(2, 71, 5, dtype=dtype) + n for n in range(4))
    task = attention.Task.of(np, q, k, v, None, lead=(2,), causal=causal, scale=0.5)
    steps = attention.compiled_steps(task, skips=causal)
    y, *numbers = attention.attend(steps)
    found = attention.attend_in_reverse(steps, g, y, *numbers)
    wide = [x.astype("d") for x in (q, k, v)]
    plain = attention.Steps(np, task._replace(**dict(zip("qkv", wide, strict=True))))
    ideal, *numbers = attention.attend(plain)
    expected = attention.attend_in_reverse(plain, g.astype("d"), ideal, *numbers)
    for a, b in zip([y, *found], [ideal, *expected], strict=True):
        np.testing.assert_allclose(a, b, atol=3e-5)
