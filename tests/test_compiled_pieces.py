"""Large kernels run in pieces of rows: equal bits for any number of threads, and right sums."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, ops
from tapegrad.autograd.compiling import kernel_calls
from tapegrad.autograd.kernels import machine

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="needs the extra fast")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(kernel_calls, "PIECE", 64)
    yield
    tg.set_num_threads(1)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def flat(x):
    return np.tanh(x) * x + 1


def rows(x):
    return ops.softmax(x) + np.sum(x * x, -1, keepdims=True)


def columns(x):
    return np.sum(np.exp(x) * x, 0) * 2


def everything(x):
    return np.mean(x * x) + np.sum(np.sin(x[:1]) * 0)


GAIN, SHIFT = drawn(33, seed=1), drawn(33, seed=2)


def normalized(x, g=GAIN, h=SHIFT):
    c = x - np.mean(x, -1, keepdims=True)
    return c / np.sqrt(np.mean(c * c, -1, keepdims=True) + 1e-5) * g + h


def gradients(x):
    def loss(x, g, h):
        return np.sum(normalized(x, g, h) ** 3)

    return tg.value_and_grad(loss, (0, 1, 2))(x, tg.Tensor(GAIN), tg.Tensor(SHIFT))


CASES = [flat, rows, columns, everything, normalized, gradients]


def results(step, x, threads):
    tg.set_num_threads(threads)
    for _ in range(3):
        found = step(x)
    return [np.asarray(y) for y in tg.autograd.core.tree.leaves(found)]


@pytest.mark.parametrize("function", CASES)
def test_pieces_give_equal_bits_on_any_number_of_threads(function):
    x = drawn(57, 33)
    step = tg.compile(function)
    one = results(step, x, 1)
    assert any(k.pieces for *_, bound in step._bound for k in bound.kernels.values())
    for threads in (2, 3):
        for a, b in zip(results(step, x, threads), one, strict=True):
            assert a.tobytes() == b.tobytes()
    plain = [np.asarray(y) for y in tg.autograd.core.tree.leaves(function(tg.Tensor(x)))]
    for a, b in zip(one, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * float(np.abs(b).max()))


def test_channels_begin_with_the_first_one_in_each_piece():
    norm = nn.SpatialBatchNormalization(5)
    step = tg.compile(lambda x: np.sum(norm(x) ** 2 * x))
    x = drawn(6, 5, 4, 4)
    for threads in (1, 2):
        tg.set_num_threads(threads)
        for _ in range(3):
            found = step(x)
    expected = np.sum(norm(tg.Tensor(x)) ** 2 * x)
    np.testing.assert_allclose(float(found), float(expected), rtol=1e-5)


@pytest.mark.parametrize("entries", [127, 128, 129, 1000, 64 * 40 + 7])
def test_pieces_cover_every_entry_once(entries):
    x = np.arange(entries, dtype=np.float32)
    step = tg.compile(lambda x: x * 2 + 1)
    for threads in (1, 2):
        np.testing.assert_array_equal(results(step, x, threads)[0], x * 2 + 1)


def test_times_are_noted_of_pieces_too():
    step = tg.compile(flat)
    x = drawn(57, 33)
    results(step, x, 2)
    with step.timing():
        step(x)
    assert "kernel" in step.explain()


def test_small_kernels_are_whole(monkeypatch):
    monkeypatch.setattr(kernel_calls, "PIECE", 2**17)
    step = tg.compile(flat)
    results(step, drawn(57, 33), 2)
    assert not any(k.pieces for *_, bound in step._bound for k in bound.kernels.values())
