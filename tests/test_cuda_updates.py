"""Optimizers' steps on a GPU: one generated kernel for a rule that is elementwise.

The kernels are run on the CPU, on the strict stand-in, and NVRTC compiles their texts.
"""

from __future__ import annotations

import threading
from types import SimpleNamespace

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
from test_laws import SUBJECTS

import tapegrad as tg
from tapegrad import devices, nn, optim
from tapegrad.autograd.check import Law, LawProfile
from tapegrad.devices._launching import CupyLauncher
from tapegrad.optim.core.launched_step import MOST_BLOCKS
from tapegrad.optim.core.rule import UpdateRule

RULES = {name: r for name in optim.__all__ if isinstance(r := getattr(optim, name), UpdateRule)}
# Those that look at a whole parameter run as array code, each operation by itself.
WITHOUT = {"adafactor", "lamb", "lars", "muon"}

needs_compiler = [
    pytest.mark.extra,
    pytest.mark.skipif(bool(why_no_compiler()), reason=why_no_compiler()),
]


class TextLauncher:
    """Keeps the texts of kernels, and launches nothing."""

    def __init__(self):
        self.sources, self.launched = [], 0

    def compile(self, source, name):
        self.sources.append(source)

        def launch(blocks, threads, arguments):
            self.launched += 1

        return launch

    def is_capturing(self):
        return False


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("updates")


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


def strict(x):
    return tg.Tensor(x, device="strict")


def steps_of(rule, x, count, device, state, **options):
    """x after some steps whose gradients are drawn."""
    rng = np.random.default_rng(1)
    x = tg.Tensor(x.copy(), device=device)
    for _ in range(count):
        g = tg.Tensor(rng.normal(size=x.shape).astype(x.dtype), device=device)
        rule(lambda _, g=g: (0.0, g), x, options, state)
    return x.numpy()


@pytest.mark.parametrize("name", RULES)
def test_each_rule_is_one_kernel_or_is_named_here(name):
    made = TextLauncher()
    with launching_on_strict(made):
        steps_of(RULES[name], np.ones((2, 3), "f"), 3, "strict", {})
    assert (len(made.sources), made.launched) == ((0, 0) if name in WITHOUT else (1, 3))
    assert RULES[name].needs_whole_array == (name in WITHOUT)


def steps_by_kernels(made):
    """The law that drawn options, dtypes and shapes give on a GPU what they give on the CPU."""

    def law(trial):
        rule = trial.function
        for dtype, bound in ((np.float64, 1e-14), (np.float32, 1e-6)):
            before = made.launched
            expected, state = trial.run(4, dtype=dtype)
            found, kept = trial.run(4, dtype=dtype, device="strict")
            repeats = trial.setting.config.get(rule.repeat, 1) if rule.repeat else 1
            assert made.launched - before == 4 * repeats
            for one, two in [(found, expected), *((kept[n], state[n]) for n in rule.state_names
                                                  if n in state)]:  # fmt: skip
                size = np.max(np.abs(two.numpy()), initial=1.0)
                np.testing.assert_allclose(one.numpy(), two.numpy(), rtol=bound, atol=bound * size)

    return law


@pytest.mark.parametrize("name", sorted(RULES.keys() - WITHOUT))
@needs_compiler[0]
@needs_compiler[1]
def test_the_kernel_of_a_rule_gives_what_the_rule_gives(launcher, name):
    law = Law("kernels_are_the_rule", steps_by_kernels(launcher))
    SUBJECTS["optimizer"][name].examine(law, LawProfile(8)).raise_error()
    assert launcher.launched


class TestKernels:
    """Where kernels run."""

    pytestmark = needs_compiler

    @pytest.mark.parametrize(
        ("name", "size"),
        [("adam", 1), ("asgd", 700), ("adam", 700), ("sgd", MOST_BLOCKS * 256 + 9)],
    )
    def test_all_blocks_read_the_numbers_of_the_step_before(self, launcher, name, size):
        x = np.random.default_rng(0).normal(size=size).astype("f")
        states = {}, {}
        options = {"momentum": 0.9} if name == "sgd" else {"t0": 1} if name == "asgd" else {}
        found = steps_of(RULES[name], x, 3, "strict", states[0], **options)
        expected = steps_of(RULES[name], x, 3, "cpu", states[1], **options)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
        for slot, value in states[1].items():
            np.testing.assert_allclose(states[0][slot].numpy(), value.numpy(), rtol=1e-6, atol=1e-9)
        assert len(set(launcher.sources)) == 1
        assert launcher.launched == 3

    def test_numbers_that_change_from_step_to_step_need_no_other_kernel(self, launcher):
        found = {}
        for device in ("strict", "cpu"):
            tg.manual_seed(0)
            model = nn.Linear(4, 3).to(device)
            x = tg.Tensor(np.ones((2, 4), "f"), device=device)
            makers = [
                optim.Adam(model, lr=lambda t: 0.1 / (1 + t)),
                optim.Adam(model, lr=lambda t: np.float64(0.1) * 0.9**t),
                optim.Adam(model, lr=0.1),
            ]
            for optimizer in makers:
                for turn in range(4):
                    optimizer.zero_grad()
                    np.sum(model(x) ** 2).backward()
                    optimizer.step()
                    if turn == 1 and optimizer is makers[2]:
                        optimizer.lr, optimizer.betas, optimizer.eps = 0.05, (0.8, 0.9), 1e-6
            found[device] = [p.numpy() for p in model.parameters()[0]]
        for one, two in zip(found["strict"], found["cpu"], strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)
        kinds = [s for s in launcher.sources if "tickets" in s]
        assert len(kinds) == 3  # the rate is a number of Python, of NumPy, and in an array

    def test_float16_is_computed_in_float32(self, launcher):
        x = np.random.default_rng(0).normal(size=9).astype(np.float16)
        for rule in (optim.adam, optim.sgd):
            found = steps_of(rule, x, 3, "strict", {}, learningRate=0.1)
            np.testing.assert_array_equal(found, steps_of(rule, x, 3, "cpu", {}, learningRate=0.1))
        assert launcher.launched == 6

    def test_an_array_of_rates_and_one_number_in_an_array(self, launcher):
        x = np.random.default_rng(0).normal(size=(3, 4)).astype("f")
        rates = np.linspace(0.5, 1, 12).reshape(3, 4).astype("f")
        for device in ("strict", "cpu"):
            options = {"learningRate": tg.Tensor(np.array(0.1), device=device),
                       "learningRates": tg.Tensor(rates, device=device)}  # fmt: skip
            found = steps_of(optim.sgd, x, 3, device, {}, **options)
            if device == "strict":
                by_kernels = found
        np.testing.assert_allclose(by_kernels, found, rtol=1e-6)
        assert launcher.launched == 3

    def test_a_compiled_step_has_the_kernel_in_its_graph(self, launcher):
        def trained(device, wrap):
            tg.manual_seed(0)
            model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).to(device)
            optimizer, criterion = optim.Adam(model, lr=0.05), nn.CrossEntropyCriterion()

            def body(x, y):
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                return loss

            step, rng = wrap(body), np.random.default_rng(0)
            for _ in range(7):
                x, y = rng.normal(size=(4, 8)).astype("f"), rng.integers(0, 3, 4)
                step(tg.Tensor(x, device=device), tg.Tensor(y, device=device))
            return [p.numpy() for p in model.parameters()[0]], int(optimizer.steps)

        found, count = trained("strict", tg.compile)
        assert launcher.captured
        assert count == 7
        for one, two in zip(found, trained("cpu", lambda body: body)[0], strict=True):
            np.testing.assert_allclose(one, two, rtol=2e-5, atol=1e-6)

    def test_a_step_alone_is_captured_with_nothing_read(self, launcher):
        x, g = strict(np.ones(5, "f")), strict(np.full(5, 0.5, "f"))
        state, options = {}, optim.adam.complete_options({})
        optim.adam.update(x, g, state, options)
        graph = launcher.capture(lambda: optim.adam.update(x, g, state, options))
        assert launcher.captured == [1]
        for _ in range(2):
            graph()
        assert float(state["t"]) == 3
        one = tg.Tensor(np.ones(5, "f"))
        kept = {}
        for _ in range(3):
            optim.adam.update(one, tg.Tensor(np.full(5, 0.5, "f")), kept, options)
        np.testing.assert_allclose(x.numpy(), one.numpy(), rtol=1e-6)


@optim.update_rule(counter="t", slots=("before",))
def shifted(xp, x, g, state, *, lr=0.1, pull=0.0):
    """A rule that steps from the x of the step before, and keeps the x of this one."""
    before = state["before"]
    return before - lr * (g + pull * before if pull else g), {"before": x}


@optim.update_rule()
def by_size(xp, x, g, state, *, lr=0.1):
    """A rule whose numbers depend on the size."""
    return x - lr / x.size * g, {}


@optim.update_rule()
def by_library(xp, x, g, state, *, lr=0.1):
    """A rule that asks where it runs."""
    return x - (lr if xp is np else 2 * lr) * g, {}


@optim.update_rule()
def by_value(xp, x, g, state, *, lr=0.1):
    """A rule that compares a number."""
    return x - min(lr, 0.5) * g, {}


@optim.update_rule()
def by_mean(xp, x, g, state, *, lr=0.1):
    """A rule that is not elementwise."""
    return x - lr * (g - g.mean()), {}


@needs_compiler[0]
@needs_compiler[1]
def test_slots_are_read_before_they_are_written(launcher):
    x = np.random.default_rng(0).normal(size=600).astype("f")
    for pull in (0.0, 0.5, 0.25):
        found = steps_of(shifted, x, 4, "strict", {}, pull=pull)
        np.testing.assert_allclose(
            found, steps_of(shifted, x, 4, "cpu", {}, pull=pull), rtol=1e-6, atol=1e-7
        )
    assert len(launcher.sources) == 2  # with pull and without


@pytest.mark.parametrize("rule", [by_size, by_library, by_value, by_mean])
def test_a_rule_that_cannot_be_taken_apart_runs_as_array_code(rule):
    made, x = TextLauncher(), np.random.default_rng(0).normal(size=6).astype("f")
    expected = steps_of(rule, x, 2, "strict", {})
    with launching_on_strict(made):
        found = steps_of(rule, x, 2, "strict", {})
    np.testing.assert_array_equal(found, expected)
    assert not made.sources
    assert made.launched == 0


def test_parameters_with_gaps_run_as_array_code():
    made = TextLauncher()
    with launching_on_strict(made):
        whole = devices.to_device(np.ones((4, 6), "f"), "strict")
        x = tg.Tensor(whole[:, ::2])
        optim.sgd(lambda x: (0.0, tg.Tensor(np.ones((4, 3), "f"), device="strict")), x, {}, {})
    assert made.launched == 0
    assert float(x.numpy()[0, 0]) == np.float32(1 - 1e-3)


def test_a_launcher_of_cupy_knows_when_its_thread_records():
    class Stream:
        def __init__(self, **_):
            self.begin_capture = lambda mode: None
            self.end_capture = lambda: SimpleNamespace(launch=lambda: None)
            self.synchronize = lambda: None

        __enter__ = __exit__ = lambda *_: None

    cuda = SimpleNamespace(
        Stream=Stream, get_current_stream=Stream, using_allocator=lambda _: Stream(),
        MemoryPool=lambda: SimpleNamespace(malloc=None),
        runtime=SimpleNamespace(streamCaptureModeRelaxed=2),
    )  # fmt: skip
    made, seen = CupyLauncher(SimpleNamespace(cuda=cuda)), []

    def run():
        other = threading.Thread(target=lambda: seen.append(made.is_capturing()))
        other.start()
        other.join()
        seen.append(made.is_capturing())

    made.capture(run)()
    with pytest.raises(devices.CaptureError):
        made.capture(lambda: 1 / 0)
    assert [*seen, made.is_capturing()] == [False, True, False]
