"""Cotangents of parts of an array are written into one array: see compiling/joined_parts.py."""

from __future__ import annotations

import numpy as np
import pytest
from compiled_steps import calls, single, third_call

from tapegrad import compile, value_and_grad


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


@pytest.mark.parametrize("loss", [halves, gates, overlapping, entries, read_twice])
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


def test_parts_that_are_read_elsewhere_stay():
    def loss(x):
        with_parts = value_and_grad(lambda x: np.sum(np.sin(x[:4]) * x[4:]))(x)[1]
        return with_parts[:4], with_parts

    x = single(8, 8)
    step = compile(loss, fuse=False)
    expected = loss(x)
    for a, b in zip(third_call(step, x), expected, strict=True):
        np.testing.assert_array_equal(a.numpy(), np.asarray(b))
