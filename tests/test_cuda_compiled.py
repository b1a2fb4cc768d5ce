"""Compiled steps on arrays that are not NumPy's: on a GPU as kernels and graphs.

On the strict stand-in the same steps run by the bodies of their operations, so that what is
asserted here is known to hold before a GPU sees it.
"""

from __future__ import annotations

import numpy as np
import pytest
from test_compiled_programs import compare

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.autograd.compiling.cuda_code import _FUNCTIONS

DEVICES = ["strict", pytest.param("cuda", marks=pytest.mark.cuda)]


def moved(device, *arrays):
    return [tg.Tensor(a, device=device) for a in arrays]


@pytest.mark.parametrize("derive", [False, True])
@pytest.mark.parametrize("seed", [0, 3, pytest.param(range(20, 60), marks=pytest.mark.cuda)])
@pytest.mark.parametrize("device", DEVICES)
def test_drawn_programs_give_what_ordinary_calls_give(device, seed, derive):
    for each in [seed] if isinstance(seed, int) else seed:
        compare(each, True, derive, device)


@pytest.mark.parametrize("way", [optim.SGD, optim.Adam])
@pytest.mark.parametrize("device", DEVICES)
def test_training_steps_are_those_of_ordinary_calls(device, way):
    results = []
    for wrap in (lambda body: body, tg.compile):
        tg.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).to(device)
        optimizer, criterion = way(model, lr=0.05), nn.CrossEntropyCriterion()

        def body(x, y, model=model, optimizer=optimizer, criterion=criterion):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        step, rng = wrap(body), np.random.default_rng(0)
        losses = [
            step(*moved(device, rng.normal(size=(4, 8)).astype("f"), rng.integers(0, 3, 4)))
            for _ in range(7)
        ]
        results.append([t.numpy() for t in (*losses, *model.parameters()[0])])
    for found, expected in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_draws_differ_from_call_to_call(device):
    tg.manual_seed(0)
    drop = nn.Dropout(0.5)
    step = tg.compile(lambda x: np.exp(drop(x)) * 2 + 1)
    (x,) = moved(device, np.ones(50, "f"))
    found = {step(x).numpy().tobytes() for _ in range(6)}
    assert len(found) == 6


@pytest.mark.parametrize("device", DEVICES)
def test_results_are_the_callers_own(device):
    step = tg.compile(lambda x: (np.tanh(x) + 1, x * 2 + 1, x))
    given = [moved(device, np.full(3, n, "f"))[0] for n in range(6)]
    for n, (y, z, x) in enumerate([step(x) for x in given]):
        np.testing.assert_allclose(y.numpy(), np.tanh(np.full(3, n, "f")) + 1, rtol=1e-6)
        np.testing.assert_array_equal(z.numpy(), np.full(3, 2 * n + 1, "f"))
        np.testing.assert_array_equal(x.numpy(), np.full(3, n, "f"))


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_of_the_gpus_library_are_within_four_units(dtype):
    x = np.random.default_rng(0).normal(size=10_000).astype(dtype) * 3
    names = [n for n in _FUNCTIONS if getattr(np, n).nin == 1]
    step = tg.compile(lambda x: [getattr(np, n)(x) * 1 for n in names])
    for _ in range(3):
        found = step(*moved("cuda", x))
    assert " in 1 kernel" in step.explain()
    with np.errstate(all="ignore"):
        for name, y in zip(names, found, strict=True):
            expected = getattr(np, name)(x)
            error = np.abs(y.numpy() - expected) / np.spacing(np.abs(expected))
            assert np.nanmax(error) <= 4, name
