"""The kernels of a GPU's compiled steps: their texts are run on the CPU, and compiled by NVRTC."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_tools import (
    ARCHITECTURES,
    HostLauncher,
    compile_by_nvrtc,
    launching_on_strict,
    why_no_compiler,
    why_no_nvrtc,
)
from test_compiled_programs import compare

import tapegrad as tg
from tapegrad import nn, ops, optim
from tapegrad.autograd.compiling.cuda_code import _EXPRESSIONS, _FUNCTIONS
from tapegrad.autograd.core.tree import leaves

pytestmark = [
    pytest.mark.extra,
    pytest.mark.skipif(bool(why_no_compiler()), reason=why_no_compiler()),
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture
def launcher(folder):
    """Launches on the strict stand-in; afterwards NVRTC compiles what has been launched."""
    made = HostLauncher(folder)
    with launching_on_strict(made):
        yield made
    if not why_no_nvrtc():
        for source in dict.fromkeys(made.sources):
            for architecture in ARCHITECTURES:
                assert compile_by_nvrtc(source, architecture)


def test_nvrtc_is_here():
    if why_no_nvrtc():
        pytest.skip(why_no_nvrtc())
    with pytest.raises(ValueError, match="undefined"):
        compile_by_nvrtc('extern "C" __global__ void run() { nothing(); }', "sm_90")


def run(function, *arrays, calls=4):
    """(compiled step, its result on the strict stand-in) for a function of NumPy arrays."""
    step = tg.compile(function)
    given = [tg.devices.to_device(a, "strict") for a in arrays]
    with np.errstate(all="ignore"):
        for _ in range(calls):
            found = step(*given)
    return step, [y.numpy() for y in leaves(found)]


def kernels(step):
    [(_, _, found)] = step._bound
    return len(found.kernels)


def units(found, expected):
    """The largest distance in units in the last place; NaN counts as equal to NaN."""
    both = np.isfinite(found) & np.isfinite(expected)
    np.testing.assert_array_equal(np.where(both, 0, found), np.where(both, 0, expected))
    gap = np.abs(found[both].astype(float) - expected[both].astype(float))
    return float(np.max(gap / np.spacing(np.abs(expected[both])), initial=0))


SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, -2.5, 3e-5, 7.0]


def _taking(count):
    named = {n: getattr(np, n, None) for n in (*_FUNCTIONS, *_EXPRESSIONS)}
    return [n for n, f in named.items() if isinstance(f, np.ufunc) and f.nin == count]


ROUNDED = set(_FUNCTIONS) - {
    "absolute",
    "fabs",
    "ceil",
    "copysign",
    "floor",
    "rint",
    "sqrt",
    "trunc",
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_function_of_one_array_gives_what_numpy_gives(launcher, dtype):
    x = np.concatenate([SPECIAL, np.random.default_rng(0).normal(size=300) * 3]).astype(dtype)
    names = [n for n in _taking(1) if not n.startswith("logical")]
    step, found = run(lambda x: [getattr(np, n)(x) * 1 for n in names], x)
    assert kernels(step) >= 1
    with np.errstate(all="ignore"):
        for name, y in zip(names, found, strict=True):
            expected = getattr(np, name)(x) * x.dtype.type(1)
            assert units(y, expected) <= (4 if name in ROUNDED else 0), name
            if name not in ROUNDED:
                assert (np.signbit(y) == np.signbit(expected))[~np.isnan(y)].all(), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_function_of_two_arrays_gives_what_numpy_gives(launcher, dtype):
    x, y = (a.ravel().astype(dtype) for a in np.meshgrid(SPECIAL, SPECIAL))
    names = [n for n in _taking(2) if not n.startswith("logical")]
    step, found = run(lambda x, y: [getattr(np, n)(x, y) * 1 for n in names], x, y)
    assert kernels(step) >= 1
    with np.errstate(all="ignore"):
        for name, z in zip(names, found, strict=True):
            expected = getattr(np, name)(x, y) * np.dtype(dtype).type(1)
            # e.g. log(2) of float32 in logaddexp is rounded
            assert units(z, expected) <= (4 if name in ROUNDED | {"logaddexp"} else 0), name


def test_truths_selections_and_constants(launcher):
    x, y = np.array(SPECIAL, "f"), np.array(SPECIAL[::-1], "f")

    def logic(x, y):
        a, b = x > 0, np.logical_not(y >= 1)
        return (np.logical_and(a, b), np.logical_or(a, b), np.logical_xor(a, b),
                np.where(np.isnan(x), y, np.float32(-3.5)), np.where(a, np.inf, x),
                x * 1e-40 + 0.1)  # fmt: skip

    step, found = run(logic, x, y)
    assert kernels(step) == 1
    with np.errstate(all="ignore"):
        for z, expected in zip(found, logic(x, y), strict=True):
            np.testing.assert_array_equal(z, expected)


def normalized(x, g, h):
    c = x - np.mean(x, -1, keepdims=True)
    z = c / np.sqrt(np.mean(c * c, -1, keepdims=True) + 1e-5) * g + h
    return np.sum(np.tanh(z) * np.max(z, -1, keepdims=True))


@pytest.mark.parametrize(
    "shape", [(7, 3), (5, 33), (3, 300), (2, 4, 257), (2, 5000), (700, 1), (1, 9)]
)
def test_rows_columns_and_their_sums(launcher, shape):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype("f") for s in (shape, shape[-1:], shape[-1:])]
    step, found = run(tg.value_and_grad(normalized, (0, 1, 2)), *arrays)
    assert kernels(step) >= 1
    expected = leaves(tg.value_and_grad(normalized, (0, 1, 2))(*arrays))
    for y, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(y, e, rtol=2e-5, atol=2e-5 * np.abs(e).max())


@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (2, 70, 3, 3), (3, 2, 40, 40)])
def test_sums_of_channels(launcher, shape):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=shape).astype("f"), rng.normal(size=(shape[1], 1, 1)).astype("f")

    def loss(x, w):
        mean = np.mean(x, (0, 2, 3), keepdims=True)
        return np.sum(np.tanh((x - mean) * w) ** 2)

    step, found = run(tg.value_and_grad(loss, (0, 1)), x, w)
    assert kernels(step) >= 2
    for y, e in zip(found, leaves(tg.value_and_grad(loss, (0, 1))(x, w)), strict=True):
        np.testing.assert_allclose(y, e, rtol=2e-5, atol=1e-4)


def test_more_entries_than_threads(launcher):
    x = np.random.default_rng(0).normal(size=700_001).astype("f")
    y = x[:-1].reshape(7, -1).copy()
    step, (found, total) = run(lambda x, y: (np.tanh(x) * 2, np.sum(y * y)), x, y)
    np.testing.assert_allclose(found, np.tanh(x) * 2, rtol=1e-6)
    np.testing.assert_allclose(total, np.sum(y.astype(float) ** 2), rtol=1e-7)
    assert kernels(step) >= 2


def test_a_second_launcher_of_the_process_joins_its_threads_too(tmp_path):
    expected = np.full(300, 40, np.float32)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        launcher = HostLauncher(tmp_path / name)
        with launching_on_strict(launcher):
            _, [found] = run(lambda x: ops.sum(x * x, axis=1), np.ones((300, 40), np.float32))
        assert any("__shared__" in source for source in launcher.sources)
        np.testing.assert_array_equal(found, expected)


def test_a_long_row_is_left_to_the_array_library(launcher):
    x = np.ones(70_000, "f")
    step, (found,) = run(np.sum, x)
    assert found == 70_000
    assert "a long row is added up by many blocks" in step.explain()


@pytest.mark.parametrize("derive", [False, True])
def test_drawn_programs_give_what_ordinary_calls_give(launcher, derive):
    for seed in range(8):
        compare(seed, True, derive, "strict")
    assert launcher.launched > 30


# Graphs ------------------------------------------------------------------------------------------


def trained(wrap):
    """Losses and parameters of some training steps on the strict stand-in."""
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 3))
    model = model.to("strict")
    optimizer, criterion = optim.SGD(model, lr=0.1, momentum=0.9), nn.CrossEntropyCriterion()

    def body(x, y):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step, rng, losses = wrap(body), np.random.default_rng(0), []
    for _ in range(7):
        x, y = rng.normal(size=(4, 8)).astype("f"), rng.integers(0, 3, 4)
        losses.append(float(step(*[tg.Tensor(a, device="strict") for a in (x, y)])))
    return losses, [p.numpy() for p in model.parameters()[0]]


def test_a_training_step_runs_as_graphs(launcher):
    losses, parameters = trained(tg.compile)
    assert max(launcher.captured) > 10
    expected, values = trained(lambda body: body)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for p, q in zip(parameters, values, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-5, atol=1e-7)


def test_results_of_graphs_are_the_callers_own(launcher):
    step = tg.compile(lambda x: (np.tanh(x) + 1, x * 2 + 1, x))
    given = [tg.devices.to_device(np.full(3, n, "f"), "strict") for n in range(6)]
    found = [step(x) for x in given]
    for n, (y, z, x) in enumerate(found):
        np.testing.assert_array_equal(y.numpy(), np.tanh(np.full(3, n, "f")) + 1)
        np.testing.assert_array_equal(z.numpy(), np.full(3, 2 * n + 1, "f"))
        assert tg.devices.is_array(given[n])
        np.testing.assert_array_equal(x.numpy(), np.full(3, n, "f"))
    assert launcher.captured


@pytest.mark.parametrize("what", ["argument", "view"])
def test_a_step_that_writes_or_returns_its_argument_is_launched_one_by_one(launcher, what):
    def step(x):
        y = np.tanh(x) * 0.5 + x
        if what == "argument":
            ops.assign(x, y)
        return y, x.reshape(-1)

    compiled = tg.compile(step)
    x = np.ones((2, 2), "f")
    given = tg.devices.to_device(x, "strict")
    for _ in range(5):
        compiled(given)
        if what == "argument":
            x = np.tanh(x) * np.float32(0.5) + x
    np.testing.assert_allclose(tg.devices.to_numpy(given), x, rtol=1e-6)
    assert not launcher.captured
    assert launcher.launched


def test_a_value_that_is_read_ends_a_graph(launcher):
    """Of a schedule the number of updates is read, which no graph repeats."""

    def run(device):
        tg.manual_seed(0)
        model = nn.Linear(4, 4).to(device)
        optimizer = optim.SGD(model, lr=lambda t: 0.5 / (1 + t))
        step = model.compile(nn.MSECriterion(), optimizer)
        x, y = (tg.Tensor(np.full((2, 4), n, "f"), device=device) for n in (1, 2))
        return [float(step(x, y)) for _ in range(7)]

    np.testing.assert_allclose(run("strict"), run("cpu"), rtol=1e-5)
    assert launcher.captured


def test_a_result_of_another_shape_than_recorded(launcher):
    def step(x):
        y = np.tanh(x) * 2 + 1
        return np.exp(y[y > 1.5] * 2) + 1, np.exp(y) * 3 - 1

    compiled = tg.compile(step)
    rng = np.random.default_rng(0)
    for _ in range(6):
        x = rng.normal(size=20).astype("f")
        found = compiled(tg.devices.to_device(x, "strict"))
        for y, e in zip(found, step(x), strict=True):
            np.testing.assert_allclose(y.numpy(), e, rtol=1e-5)
