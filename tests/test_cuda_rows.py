"""Gradients of tables on a GPU: only the rows that were looked up are zeroed, added to and updated.

Kernels are run on the CPU, on the strict stand-in, and NVRTC compiles their texts.
"""

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

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.autograd.core import zeros

pytestmark = [
    pytest.mark.extra,
    pytest.mark.skipif(bool(why_no_compiler()), reason=why_no_compiler()),
]

ROWS, WIDTH = 300, 9


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


@pytest.fixture
def launcher(folder, monkeypatch):
    """Launches on the strict stand-in; afterwards NVRTC compiles what has been launched."""
    monkeypatch.setattr(zeros, "LEAST_LAUNCHED", 256)
    made = HostLauncher(folder)
    with launching_on_strict(made):
        yield made
    if not why_no_nvrtc():
        for source in dict.fromkeys(made.sources):
            for architecture in ARCHITECTURES:
                assert compile_by_nvrtc(source, architecture)


class Tables(nn.Module):
    """A table alone, with a layer behind it, beside another, looked up twice, or from its end."""

    def __init__(self, kind):
        rng = np.random.default_rng(0)
        self.kind = kind
        self.first = nn.LookupTable(ROWS, WIDTH)
        self.parts = {"with a layer": [nn.Linear(WIDTH, 3)],
                      "two tables": [nn.LookupTable(ROWS, WIDTH)]}.get(kind, [])  # fmt: skip
        for p in self.parameters()[0]:
            p.detach()[...] = rng.normal(size=p.shape).astype("f")

    def updateOutput(self, i):
        if self.kind == "from the end":
            return self.first.weight[i - ROWS]
        y = self.first(i)
        if self.kind == "with a layer":
            return self.parts[0](y)
        if self.kind == "two tables":
            return y + self.parts[0](i - 1)
        return y + self.first(i - 1) if self.kind == "twice" else y


def nothing(model):
    pass


def write_a_row(model):
    model.first.weight.grad[5] += 1


def write_bare(model):
    model.first.weight.grad.data[7] = 2


def write_into_what_is_held(model):
    held = vars(model).setdefault("_held", [])
    if not held:
        held.append(model.first.weight.grad.data)
    held[0][9] += 1


def write_flat(model):
    model.getParameters()[1][3 * WIDTH : 4 * WIDTH] += 1


def scale(model):
    model.first.weight.grad *= 2


def another_gradient(model):
    p = model.first.weight
    p.grad = p.grad * 1 + 0.5


def no_gradient(model):
    model.first.weight.grad = None


def backward_again(model):
    i = tg.Tensor(np.array([1, 3, 3, 200]), device=model.first.weight.device)
    np.sum(model(i)).backward()


def backward_all(model):
    np.sum(model.first.weight * 0.5).backward()


def endless(model):
    model.first.weight.detach()[11] = np.inf
    model.first.weight.detach()[12] = -0.0


DISTURBANCES = [
    nothing, write_a_row, write_bare, write_into_what_is_held, write_flat, scale, another_gradient,
    no_gradient, backward_again, backward_all, endless,
]  # fmt: skip


def trained(kind, disturb, device="strict", *, wrap=None, steps=4, rates=(1e-2,), **options):
    """Weights and gradients after each step."""
    rng = np.random.default_rng(1)
    model = Tables(kind).to(device)
    optimizer = optim.SGD(model, lr=rates[0], **options)

    def body(i):
        optimizer.zero_grad()
        if not wrap:
            disturb(model)
        loss = np.sum(model(i) ** 2)
        loss.backward()
        optimizer.step()
        return loss

    run, found = wrap(body) if wrap else body, []
    for number in range(steps):
        optimizer.lr = rates[number % len(rates)]
        named = rng.permutation(ROWS - 1)[:12] + 1
        i = tg.Tensor(np.concatenate([named, named[:1], named[:3]]), device=device)
        if wrap and number >= 4:
            disturb(model)
        with np.errstate(all="ignore"):
            run(i)
        for p in model.parameters()[0]:
            found += [p.detach().numpy().copy(), None if p.grad is None else gradient_of(p)]
    return found


def gradient_of(p):
    """A copy that hands nothing out."""
    return np.array(tg.devices.to_numpy(p.grad._bare))


def same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a.view("u4"), b.view("u4"))


def launched_by_rows(launcher):
    return [s for s in launcher.sources if "const long long *rows" in s]


@pytest.mark.parametrize("kind", ["alone", "with a layer", "two tables", "twice", "from the end"])
@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda f: f.__name__)
def test_steps_by_rows_have_the_bits_of_whole_steps(launcher, disturb, kind, monkeypatch):
    found = trained(kind, disturb)
    if disturb is nothing and kind != "twice":
        assert launched_by_rows(launcher)
    monkeypatch.setattr(zeros, "LEAST_LAUNCHED", 1 << 60)  # nothing is known of any memory
    same(found, trained(kind, disturb))


@pytest.mark.parametrize("rates", [(np.inf,), (0.1, np.inf), (0.1, 0.0), (0.1, np.nan)])
def test_a_rate_with_which_all_entries_change(launcher, rates, monkeypatch):
    monkeypatch.setattr(optim.core.optimizer.Optimizer, "lr", property(
        None, lambda self, v: [tg.ops.assign(g.rate, v) for g in self.groups]))  # fmt: skip
    found = trained("two tables", endless, rates=rates)
    assert launched_by_rows(launcher)
    monkeypatch.setattr(zeros, "LEAST_LAUNCHED", 1 << 60)
    expected = trained("two tables", endless, rates=rates)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "options", [{"momentum": 0.9}, {"weight_decay": 0.1}, {"clip_grad_norm": 0.1}], ids=str
)
def test_steps_that_move_rows_without_gradient_move_all(launcher, options, monkeypatch):
    found = trained("alone", nothing, **options)
    assert not launched_by_rows(launcher)
    monkeypatch.setattr(zeros, "LEAST_LAUNCHED", 1 << 60)
    same(found, trained("alone", nothing, **options))


def test_a_step_touches_the_rows_that_were_looked_up(launcher):
    model = Tables("alone").to("strict")
    optimizer = (
        optim.SGD(model, lr=0.1, learningRateDecay=0.5) if False else optim.SGD(model, lr=0.1)
    )
    i = tg.Tensor(np.array([5, 3, 5]), device="strict")
    for _ in range(3):
        optimizer.zero_grad()
        np.sum(model(i)).backward()
        optimizer.step()
    memory, weight = model.first.weight.grad._bare._array, model.first.weight.numpy()
    memory[100] = 7  # nobody can write there unseen; what the next step does shows what it touches
    before = weight[100].copy()
    optimizer.step()
    np.testing.assert_array_equal(model.first.weight.numpy()[100], before)
    assert optimizer.steps == 4
    optimizer.zero_grad()
    assert (memory[100] == 7).all()
    assert not memory[:100].any()


@pytest.mark.parametrize("kind", ["with a layer", "two tables", "from the end"])
@pytest.mark.parametrize(
    "disturb", [nothing, write_a_row, write_bare, write_flat, scale, backward_again, endless],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_compiled_steps_by_rows_have_the_bits_of_whole_steps(launcher, kind, disturb, monkeypatch):
    found = trained(kind, disturb, wrap=tg.compile, steps=8)
    assert bool(launcher.captured) == (kind == "from the end")  # others look at the indices
    if kind == "from the end":  # of a part of memory it is not known when it was zero
        assert launched_by_rows(launcher)
    monkeypatch.setattr(zeros, "LEAST_LAUNCHED", 1 << 60)
    same(found, trained(kind, disturb, wrap=tg.compile, steps=8))


def test_the_step_reads_nothing_on_the_cpu(launcher, monkeypatch):
    model = Tables("from the end").to("strict")
    optimizer = optim.SGD(model, lr=0.1)
    i = tg.Tensor(np.array([5, 3, 5]), device="strict")

    def step():
        optimizer.zero_grad()
        np.sum(model(i)).backward()
        optimizer.step()

    for _ in range(2):
        step()
    kind = type(model.first.weight._bare)
    for name in ("get", "__array__", "item", "__float__", "__int__", "__bool__", "tolist"):
        monkeypatch.setattr(kind, name, lambda *_: pytest.fail("a value was read"))
    step()
