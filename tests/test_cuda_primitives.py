"""Each primitive, with its gradient, compiled for a GPU: its kernels are run on the CPU.

Values are those of ordinary calls on the strict stand-in, and NVRTC compiles every text.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from cuda_tools import (
    HostLauncher,
    compile_by_nvrtc,
    launching_on_strict,
    why_no_compiler,
    why_no_nvrtc,
)
from test_laws import on_device

import tapegrad as tg
from tapegrad.autograd.check import Law, LawProfile
from tapegrad.autograd.check.primitives.trial import floating_results
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.replay.recording import ReplayError
from tapegrad.autograd.transforms.products import vjp

pytestmark = [
    pytest.mark.extra,
    pytest.mark.skipif(bool(why_no_compiler()), reason=why_no_compiler()),
    # It takes many minutes, and a kernel that is wrong ends the process that runs it.
    pytest.mark.skipif(
        "TAPEGRAD_CUDA_PRIMITIVES" not in os.environ,
        reason="runs by itself: python -m tests.nightly cuda_primitives",
    ),
]


def _is_held_here(name):
    """Not SciPy's functions: they have no kernels, and what their rules compute of an order that
    is a number is an array of the CPU while a step is recorded.
    """
    return not name.startswith(("special_", "gammainc"))


@pytest.fixture(scope="module")
def launcher(tmp_path_factory):
    return HostLauncher(tmp_path_factory.mktemp("kernels"))


def moved(x):
    return x if isinstance(x, tg.Tensor) else tg.Tensor(x, device="strict")


def compiled_is_eager(trial):
    """Results and gradients of the compiled step are those of the step."""
    point = tuple(map(moved, trial.point))
    v = [moved(c) for c in trial.cotangents()] if trial.derives else []

    def step(*x):
        if not trial.derives:
            return [y for y in leaves(trial.run(wrap=moved)) if isinstance(y, tg.Tensor)]
        y, pull = vjp(lambda *x: floating_results(trial.run(x, wrap=moved)), x)
        return [y, pull(v)]

    compiled = tg.compile(step)
    with np.errstate(all="ignore"):
        expected = leaves(step(*point))
        try:
            for _ in range(3):
                found = leaves(compiled(*point))
        except ReplayError:  # its body reads a value, so no step has it
            return
    for y, e in zip(found, expected, strict=True):
        a, b = y.numpy(), e.numpy()
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        size = np.max(np.abs(b[np.isfinite(b)]), initial=1.0) if b.dtype.kind == "f" else 1.0
        np.testing.assert_allclose(
            a, b, rtol=1e-5, atol=(1e-5 if a.itemsize == 4 else 1e-12) * size
        )


@pytest.mark.parametrize("subject", [p for p in on_device("primitive") if _is_held_here(p.id)])
def test_the_kernels_of_a_primitive_give_what_its_body_gives(launcher, subject):
    launcher.sources.clear()
    with launching_on_strict(launcher):
        subject.examine(Law("compiled_is_eager", compiled_is_eager), LawProfile(1)).raise_error()
    if not why_no_nvrtc():
        for source in dict.fromkeys(launcher.sources):
            assert compile_by_nvrtc(source, "sm_90")
