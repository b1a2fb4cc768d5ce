"""Derivatives through the functions of the array API standard, and the page that lists them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from array_api_cases import CASES, DERIVED, flat, ours
from array_api_draws import Draws

import tapegrad
from tapegrad import Tensor
from tapegrad import array_api as xp
from tapegrad.autograd.surface.array_api import page

pytestmark = pytest.mark.extra

ROOT = Path(__file__).resolve().parents[1]
POSITIVE = {"log", "log10", "log1p", "log2", "pow", "sqrt"}


class Tracked(Draws):
    """Draws of which the floating ones are parts of one tracked vector, in turn.

    In the first round, without a vector, the numbers are collected of which it is made.
    """

    def __init__(self, dtype, vector=None):
        super().__init__(xp, dtype, seed=3, make=self.take)
        self.vector, self.at, self.parts = vector, 0, []

    def take(self, array):
        if array.dtype.kind not in "fc":
            return Tensor(array)
        numbers = np.stack([array.real, array.imag]) if array.dtype.kind == "c" else array
        self.parts.append(numbers.ravel())
        if self.vector is None:
            return Tensor(array)
        part = xp.reshape(self.vector[self.at : self.at + numbers.size], numbers.shape)
        self.at += numbers.size
        return part[0] + 1j * part[1] if array.dtype.kind == "c" else part


def weighted(result, random):
    """The sum of a result's floating and complex entries, weighted, and whether it is tracked."""
    total, tracked = 0.0, False
    for y in flat(result):
        if isinstance(y, Tensor) and y.dtype.kind in "fc":
            tracked = tracked or y.tracked
            total = total + xp.sum(xp.real(y) * random.uniform(0.5, 1.5, y.shape))
            if y.dtype.kind == "c":
                total = total + xp.sum(xp.imag(y) * random.uniform(0.5, 1.5, y.shape))
    return total, tracked


@pytest.mark.parametrize("name", sorted(name for name, thing in ours() if callable(thing)))
def test_a_function_has_the_derivative_that_the_page_says(name):
    case = DERIVED.get(name, CASES[name][1])
    dtype = next((t for t in ("float64", "complex128") if t in CASES[name][0]), CASES[name][0][0])
    draws, found = Tracked(dtype), []

    def total(vector):
        value, tracked = weighted(case(xp, Tracked(dtype, vector)), np.random.default_rng(5))
        found.append(tracked)
        return value if tracked else xp.sum(vector * 0.0)

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Degrees of freedom", RuntimeWarning)
        case(xp, draws)
        start = np.concatenate([np.zeros(0), *draws.parts])
        start = np.where(np.isfinite(start) & (abs(start) > 0.01), start, 0.7) + 0.0137
        start = abs(start) if name in POSITIVE else start
        gradient = tapegrad.grad(total)(start)
        assert found[0] == (name in page.DIFFERENTIABLE)
        if not found[0]:
            return
        direction = np.random.default_rng(7).uniform(-1, 1, start.shape)
        up, down = (start + sign * 1e-6 * direction for sign in (1, -1))
        slope = (
            float(weighted(case(xp, Tracked(dtype, Tensor(up))), np.random.default_rng(5))[0])
            - float(weighted(case(xp, Tracked(dtype, Tensor(down))), np.random.default_rng(5))[0])
        ) / 2e-6
    assert np.isfinite(slope)
    np.testing.assert_allclose(gradient @ direction, slope, rtol=1e-6, atol=1e-6)


def test_every_function_is_on_the_page_once():
    names = {name for name, thing in ours() if callable(thing)}
    assert names >= page.DIFFERENTIABLE
    written = (ROOT / "docs" / "array_api.md").read_text(encoding="utf-8")
    assert page.table() in written, "run python -m tapegrad.autograd.surface.array_api.page"
    assert [name for name in names if written.count(f"| `{name}` |") != 1] == []


@pytest.mark.parametrize("name", ["svd", "qr"])
def test_of_vectors_that_complete_a_basis_the_space_has_a_derivative(name):
    options = {"svd": {"full_matrices": True}, "qr": {"mode": "complete"}}[name]
    x = np.random.default_rng(0).normal(size=(5, 2))
    weights = np.random.default_rng(1).normal(size=(5, 5))

    def projection(x):
        rest = getattr(xp.linalg, name)(x, **options)[0][:, 2:]
        return xp.sum(rest @ rest.T * weights)

    def through_the_inverse(x):
        return xp.sum((xp.eye(5) - x @ xp.linalg.pinv(x)) * weights)

    found, expected = tapegrad.grad(projection)(x), tapegrad.grad(through_the_inverse)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    choice = tapegrad.grad(lambda x: xp.sum(getattr(xp.linalg, name)(x, **options)[0][:, 2:]))(x)
    assert np.isnan(choice).all()
