"""Cotangents of parts of an array are written into one array: see compiling/joined_parts.py."""

from __future__ import annotations

import numpy as np
import pytest
from compiled_steps import calls, single, third_call

from tapegrad import compile, get_num_threads, set_num_threads, value_and_grad


def halves(x):
    return np.sum(np.tanh(x[:, :4]) * x[:, 4:])


def gates(x):
    y = np.cos(x)
    a, b, c = y[:, :3], y[:, 3:5], y[:, 5:]
    return np.sum(a) * np.sum(b * b) + np.sum(np.exp(c))


def overlapping(x):
    return np.sum(x[:5] * 2) + np.sum(x[3:] ** 3) + np.sum(x[::2] * x[::2]) + np.sum(x[1] ** 2)


def entries(x):
    return np.sin(x[0, 0]) * x[1, 1] + x[0, 1] * np.sum(x[0])


def read_twice(x):
    y = x * 3
    z = y[:4] * y[4:8]
    return np.sum(z) + np.sum(y)


def heads(x):
    """As attention takes q, k and v out of one product, position by position."""
    a, b = np.sin(x).reshape(8, 2, 2, 2).transpose(1, 2, 0, 3)
    return np.sum((a @ np.swapaxes(b, -1, -2)) ** 2) + np.sum(np.minimum(a, 0))


def heads_and_more(x):
    """The same, where the parts are read once more, as they lie before they are turned."""
    parts = np.sin(x).reshape(8, 2, 2, 2).transpose(1, 2, 0, 3)
    return np.sum(parts[0] * parts[1]) + np.sum(parts**2)


def turned(x):
    a, b, c = np.cos(x).T.reshape(4, 4, 4)[:3]
    return np.sum(a * b) + np.sum(c**3)


LOSSES = [halves, gates, overlapping, entries, read_twice, heads, heads_and_more, turned]


@pytest.mark.parametrize("loss", LOSSES)
def test_the_bits_are_those_of_ordinary_calls(loss):
    x = single(8, 8)
    x[0, 0], x[5, 5] = 0.0, -0.0
    ordinary = value_and_grad(loss)(x)
    found = third_call(compile(value_and_grad(loss), fuse=False), x)
    for a, b in zip(found, ordinary, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    fused = third_call(compile(value_and_grad(loss)), x)
    np.testing.assert_allclose(fused[1].numpy(), ordinary[1], rtol=1e-5, atol=1e-6)


def test_parts_become_one_array():
    step = compile(value_and_grad(gates), fuse=False)
    third_call(step, single(8, 8))
    assert calls(step).count("sum_of_parts") == 1
    assert "unslice" not in calls(step)


def test_parts_are_written_where_they_would_be_copied_to():
    step = compile(value_and_grad(heads), fuse=False)
    third_call(step, single(8, 8))
    assert calls(step).count("sum_of_parts") == 1
    assert "unslice" not in calls(step)
    table = step.explain()
    *_, last = [line for line in table.splitlines() if "sum_of_parts" in line]
    behind = table[table.index(last) :]
    assert "reshape" not in behind
    assert "transpose" not in behind


@pytest.mark.parametrize("threads", [1, 2])
def test_large_parts_are_shared(threads):
    """Parts of which each thread writes some, which is all of them."""
    x = single(64, 3, 4, 200)

    def loss(x):
        a, b, c = x.transpose(1, 2, 0, 3)
        return np.sum(a * b) + np.sum(np.sin(c))

    before = get_num_threads()
    set_num_threads(threads)
    try:
        found = third_call(compile(value_and_grad(loss)), x)[1]
    finally:
        set_num_threads(before)
    a, b, c = x[:, 0], x[:, 1], x[:, 2]
    np.testing.assert_allclose(found, np.stack([b, a, np.cos(c)], 1), rtol=1e-6)


def test_parts_that_are_read_elsewhere_stay():
    def loss(x):
        with_parts = value_and_grad(lambda x: np.sum(np.sin(x[:4]) * x[4:]))(x)[1]
        return with_parts[:4], with_parts

    x = single(8, 8)
    step = compile(loss, fuse=False)
    expected = loss(x)
    for a, b in zip(third_call(step, x), expected, strict=True):
        np.testing.assert_array_equal(a.numpy(), np.asarray(b))


def test_parts_that_are_read_in_two_orders_stay():
    def step(x):
        g = value_and_grad(lambda x: np.sum(x[0] * x[1]) + np.sum(x[2] ** 3))(x)[1]
        double = g * 2
        return g.transpose(1, 0, 2).reshape(8, 12), double

    x = single(3, 8, 4)
    turned, double = third_call(compile(step, fuse=False), x)
    g = np.stack([x[1], x[0], 3 * x[2] ** 2])
    np.testing.assert_allclose(double, 2 * g, rtol=1e-6)
    np.testing.assert_allclose(turned, g.transpose(1, 0, 2).reshape(8, 12), rtol=1e-6)
