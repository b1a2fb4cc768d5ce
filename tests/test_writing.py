"""Writes into Tensors: NumPy's own behaviour, differentiated.

The judge is NumPy: a random program of views, writes and arithmetic runs on plain complex arrays,
whose imaginary part at a step of 10⁻³⁰ is the derivative to the last digits (J. N. Lyness and C. B.
Moler, 1967), and the same program, unchanged, on Tensors.
"""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapegrad import nn
from tapegrad.autograd import (
    InPlaceError,
    Parameter,
    Tensor,
    grad,
    hessian,
    no_grad,
    replay,
    vjp,
)
from tapegrad.autograd.check import check_gradients
from tapegrad.devices import strict

rng = np.random.default_rng(0)


# Random programs ----------------------------------------------------------------------------------

SHAPES = [(4, 6), (6,), (3, 2, 2), (5,)]


def index_for(draw, shape):
    """A random index of any kind into an array of this shape."""
    kind = draw.randrange(8)
    n = shape[0]
    if kind == 0:
        return draw.randrange(-n, n)
    if kind == 1:
        return slice(draw.randrange(n), None)
    if kind == 2:
        return (Ellipsis, slice(None, None, -1))
    if kind == 3:
        return (Ellipsis, draw.randrange(shape[-1]))
    if kind == 4:
        return slice(None, None, 2)
    if kind == 5:
        return np.array([draw.randrange(-n, n) for _ in range(draw.randrange(1, 5))])
    if kind == 6:
        return np.array([[draw.random() < 0.5 for _ in range(shape[-1])]] * n).reshape(
            (n, *(1 for _ in shape[1:-1]), shape[-1])[: len(shape)] if len(shape) != 1 else (n, -1)
        )[..., 0] if len(shape) == 1 else np.array([draw.random() < 0.5 for _ in range(n)])  # fmt: skip
    return Ellipsis


def view_of(draw, a):
    """A view of a, or a copy where NumPy makes one."""
    kind = draw.randrange(9)
    if kind == 0 and a.ndim > 1:
        return a[draw.randrange(a.shape[0])]
    if kind == 1:
        return a.T
    if kind == 2:
        return a.reshape(-1)
    if kind == 3:
        return a[::-1]
    if kind == 4:
        return a[..., : max(1, a.shape[-1] // 2)]
    if kind == 5:
        return np.split(a, [a.shape[0] // 2])[draw.randrange(2)]
    if kind == 6:
        return np.swapaxes(a, 0, -1)
    if kind == 7:
        return np.expand_dims(a, 0)
    return np.flip(a, axis=-1)


def expression(draw, names):
    """Something smooth of one of the variables."""
    a = draw.choice(names)
    return draw.choice([
        lambda v: v[a] * v[a] * 0.5,
        lambda v: np.sin(v[a]),
        lambda v: v[a] + 1.5,
        lambda v: v[a] * 0.25,
    ]), a  # fmt: skip


def program(seed, length):
    """A random program as a function of x: arrays or Tensors, whatever x is."""
    import random

    def run(x):
        draw = random.Random(seed)
        variables = [x, x * 1, np.zeros_like(x)]
        for _ in range(length):
            kind = draw.randrange(10)
            target = draw.randrange(len(variables))
            source = draw.randrange(len(variables))
            a, b = variables[target], variables[source]
            if not a.size or not b.size:
                continue
            if kind <= 2:
                if a.ndim < 4:
                    variables.append(view_of(draw, a))
            elif kind == 3:
                variables.append(np.sin(b) * 0.5 + b * b)
            elif kind <= 6 and a.ndim:
                index = index_for(draw, a.shape)
                region = np.empty(a.shape)[index].shape
                value = draw.choice(["number", "mean", "same"])
                if value == "same" and b.shape == region:
                    a[index] = b * b
                elif value == "number":
                    a[index] = 0.5
                else:
                    a[index] = np.mean(b * b)
            elif kind == 7 and a.ndim:
                index = index_for(draw, a.shape)
                a[index] *= np.mean(b)
            elif kind == 8:
                if a.shape == b.shape:
                    a += b * 0.5
                else:
                    a -= np.mean(b)
            elif a.ndim:
                index = index_for(draw, a.shape)
                np.add.at(a, index, np.mean(b) * 0.1)
        weights = random.Random(seed + 1)
        return sum(np.sum(v * weights.uniform(-1, 1)) for v in variables)

    return run


@given(st.integers(0, 2**32), st.integers(1, 14), st.sampled_from(SHAPES))
def test_programs_that_write_have_numpys_values_and_derivatives(seed, length, shape):
    f = program(seed, length)
    draw = np.random.default_rng(seed)
    x, u = draw.standard_normal(shape) * 0.5, draw.standard_normal(shape)
    kept = x.copy()
    value, pull = vjp(f, x)
    [g] = pull(np.ones(()))
    np.testing.assert_array_equal(x, kept)  # the caller's array is the caller's
    np.testing.assert_allclose(value, f(x.copy()), rtol=1e-12, atol=1e-12)
    slope = f(x + 1e-30j * u).imag / 1e-30
    np.testing.assert_allclose(np.sum(g * u), slope, rtol=1e-9, atol=1e-9 * np.abs(g * u).sum())
