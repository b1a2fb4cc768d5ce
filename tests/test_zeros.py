"""Steps that touch only the rows of a gradient that may differ from 0: the bits of whole steps."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from compiled_steps import calls

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.autograd.core import zeros
from tapegrad.autograd.core.node import zeros_by_owner
from tapegrad.autograd.kernels import machine
from tapegrad.optim.rules import descent

ROWS, WIDTH = 1100, 64
needs_llvm = pytest.mark.skipif(not machine.is_available(), reason="needs the fast extra")


class Tables(nn.Module):
    """One table, or one with a layer behind it, or two modules with one table."""

    def __init__(self, kind):
        rng = np.random.default_rng(0)
        self.first = nn.LookupTable(ROWS, WIDTH)
        self.first.weight.detach()[...] = rng.normal(size=(ROWS, WIDTH)).astype("f")
        self.parts = []
        if kind == "with a layer":
            self.parts = [nn.Linear(WIDTH, 3)]
            for p in self.parts[0].parameters()[0]:
                p.detach()[...] = rng.normal(size=p.shape).astype("f")
        if kind == "twice":
            self.parts = [nn.LookupTable(ROWS, WIDTH).share(self.first, "weight", "gradWeight")]
        self.kind = kind

    def updateOutput(self, i):
        y = self.first(i)
        if self.kind == "with a layer":
            y = self.parts[0](y)
        return y + self.parts[0](i + 1) if self.kind == "twice" else y


def write_a_row(model, optimizer):
    model.first.weight.grad[5] += 1


def write_bare(model, optimizer):
    model.first.weight.grad.data[7] = 2


def write_into_numpy(model, optimizer):
    model.first.weight.grad.numpy()[7] += 2


def write_into_asarray(model, optimizer):
    np.asarray(model.first.weight.grad)[7] += 2


def write_by_dlpack(model, optimizer):
    np.from_dlpack(model.first.weight.grad)[7] += 2


def write_into_what_is_held(model, optimizer):
    held = vars(model).setdefault("_held", [])
    if not held:
        held.append(model.first.weight.grad.data)
    held[0][9] += 1


def write_flat(model, optimizer):
    model.getParameters()[1][3 * WIDTH : 4 * WIDTH] += 1


def scale(model, optimizer):
    model.first.weight.grad *= 2


def clip(model, optimizer):
    nn.utils.clip_grad_norm_(model.parameters()[0], 0.5) if hasattr(nn, "utils") else None
    g = model.first.weight.grad
    g[...] = np.clip(g, -0.01, 0.01)


def another_gradient(model, optimizer):
    p = model.first.weight
    p.grad = p.grad * 1 + 0.5


def no_gradient(model, optimizer):
    model.first.weight.grad = None


def backward_again(model, optimizer):
    np.sum(model(np.array([1, 3, 3, 900]))).backward()


def backward_all(model, optimizer):
    np.sum(model.first.weight * 0.5).backward()


def nothing(model, optimizer):
    pass


def endless(model, optimizer):
    model.first.weight.detach()[11] = np.inf
    model.first.weight.detach()[12] = -0.0


DISTURBANCES = [
    nothing, write_a_row, write_bare, write_into_numpy, write_into_asarray, write_by_dlpack,
    write_into_what_is_held, write_flat, scale, clip, another_gradient, no_gradient,
    backward_again, backward_all, endless,
]  # fmt: skip


def trained(kind, disturb, when, wrap=None, steps=5, **options):
    """Weights and gradients after each step."""
    rng = np.random.default_rng(1)
    model = Tables(kind)
    optimizer = optim.SGD(model, lr=1e-3, **options)

    def body(i):
        optimizer.zero_grad()
        loss = np.sum(model(i) ** 2)
        loss.backward()
        optimizer.step()
        return loss

    run, found = wrap(body) if wrap else None, []
    for number in range(steps):
        i = rng.integers(0, ROWS - 1, 30)
        if wrap:
            if number >= 3:
                disturb(model, optimizer)
            run(i)
        else:
            if when == "before":
                disturb(model, optimizer)
            optimizer.zero_grad()
            if when == "between":
                disturb(model, optimizer)
            np.sum(model(i) ** 2).backward()
            if when == "after":
                disturb(model, optimizer)
            optimizer.step()
        for p in model.parameters()[0]:
            found += [np.array(p.detach()), None if p.grad is None else np.array(p.grad)]
    return found


def same_bits(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a.view("u4"), b.view("u4"))


@pytest.mark.extra
@pytest.mark.parametrize("when", ["before", "between", "after"])
@pytest.mark.parametrize("kind", ["alone", "with a layer", "twice"])
@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda f: f.__name__)
def test_steps_by_rows_have_the_bits_of_whole_steps(disturb, kind, when, monkeypatch):
    found = trained(kind, disturb, when)
    monkeypatch.setattr(zeros, "LEAST", 1 << 60)  # nothing is known of any memory
    same_bits(found, trained(kind, disturb, when))


@pytest.mark.parametrize(
    "disturb", [nothing, write_a_row, write_bare, write_into_what_is_held, backward_again]
)
def test_steps_by_rows_next_to_a_layer_have_the_bits_of_whole_steps(disturb, monkeypatch):
    found = trained("with a layer", disturb, "between")
    monkeypatch.setattr(zeros, "LEAST", 1 << 60)
    same_bits(found, trained("with a layer", disturb, "between"))


@pytest.mark.extra
@needs_llvm
@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda f: f.__name__)
def test_compiled_steps_by_rows_have_the_bits_of_whole_steps(disturb, monkeypatch):
    if disturb in {another_gradient, no_gradient}:
        return  # other memory: recorded anew, as in the test of eager steps
    found = trained("alone", disturb, "", tg.compile)
    monkeypatch.setattr(zeros, "LEAST", 1 << 60)
    same_bits(found, trained("alone", disturb, "", tg.compile))
    same_bits(found[:6], trained("alone", nothing, "before")[:6])


@pytest.mark.parametrize(
    "options", [{"momentum": 0.9}, {"weight_decay": 0.1}, {"clip_grad_norm": 0.1}], ids=str
)
def test_steps_that_move_rows_without_gradient_move_all(options, monkeypatch):
    found = trained("alone", nothing, "", **options)
    monkeypatch.setattr(zeros, "LEAST", 1 << 60)
    same_bits(found, trained("alone", nothing, "", **options))


@needs_llvm
@pytest.mark.parametrize("timed", ["nothing", "another module", "the module"])
def test_a_step_touches_the_rows_that_were_looked_up(timed, monkeypatch):
    """Also while modules are timed, whose clock follows the sweeps of all."""
    seen = []
    original = descent.descend_parts

    def watched(x, g, parts, rate):
        seen.append([None if p.rows is None else list(p.rows) for p in parts])
        original(x, g, parts, rate)

    monkeypatch.setattr(descent, "descend_parts", watched)
    model, other = Tables("alone"), nn.Linear(2, 1)
    if timed != "nothing":
        (model if timed == "the module" else other).resetTimes()
    np.sum(other(np.ones((1, 2), "f"))).backward()
    optimizer = optim.SGD(model, lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        np.sum(model(np.array([5, 3, 5]))).backward()
        optimizer.step()
    assert seen == [[[3, 5]]] * 3
    gradient = model.first.weight.grad
    memory = gradient._bare
    memory[100] = 7  # nobody can write there unseen; what the next step does shows what it touches
    optimizer.zero_grad()
    assert memory[100, 0] == 7
    assert not memory[:100].any()


@needs_llvm
def test_a_compiled_step_adds_rows_to_the_gradient_itself():
    model = Tables("alone")
    optimizer = optim.SGD(model, lr=0.1)

    @tg.compile
    def step(i):
        optimizer.zero_grad()
        loss = np.sum(model(i) ** 2)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(4):
        step(np.array([5, 3, 5]))
    assert "start_rows" in calls(step)
    assert "index_add" not in calls(step)
    memory = model.first.weight.grad._bare
    memory[100] = 7
    step(np.array([4, 4, 2]))
    assert memory[100, 0] == 7
    assert list(np.flatnonzero(memory.any(1))) == [2, 4, 100]


def test_copies_know_nothing_of_the_memory_of_the_original():
    model = Tables("alone")
    optimizer = optim.SGD(model, lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        np.sum(model(np.array([5, 3]))).backward()
        optimizer.step()
    for copied in (
        copy.deepcopy((model, optimizer)),
        pickle.loads(pickle.dumps((model, optimizer))),
    ):
        other, its_optimizer = copied
        other.first.weight.grad.detach()[50] = 1
        its_optimizer.zero_grad()
        assert not np.any(np.asarray(other.first.weight.grad))
        assert np.any(np.asarray(model.first.weight.grad))


@needs_llvm
def test_a_rule_of_somebody_else_may_write_into_its_gradient():
    held = []

    @optim.update_rule(counter="t")
    def mine(xp, x, g, state, *, lr=0.1):
        held.append(g)
        return x - lr * g, {}

    class Mine(optim.Optimizer):
        rule = mine

    model = Tables("alone")
    theirs, ours = Mine(model), optim.SGD(model, lr=0.1)
    theirs.zero_grad()
    np.sum(model(np.array([5, 3]))).backward()
    theirs.step()
    ours.zero_grad()
    held[0].reshape(-1)[-1] = 3
    ours.zero_grad()
    assert not np.any(np.asarray(model.first.weight.grad))


def test_what_is_known_of_memory_ends_with_it():
    gc.collect()
    before = len(zeros_by_owner)
    model = Tables("alone")
    optimizer = optim.SGD(model, lr=0.1)
    optimizer.zero_grad()
    np.sum(model(np.array([5, 3]))).backward()
    optimizer.step()
    assert len(zeros_by_owner) > before
    del model, optimizer
    gc.collect()
    assert len(zeros_by_owner) == before


def test_what_was_known_of_memory_that_is_handed_out_is_freed_at_once():
    """Not by a garbage collection: it is in no cycle with the reference to its memory."""
    array = np.zeros((ROWS, WIDTH), "f")
    zeros.watch_zeros(array)
    known = weakref.ref(zeros.zeros_of(array))
    gc.disable()
    try:
        zeros.forget_zeros(array)
        assert known() is None
    finally:
        gc.enable()


def test_memory_that_is_watched_anew_is_forgotten_with_its_own_end_only():
    array = np.zeros((ROWS, WIDTH), "f")
    zeros.watch_zeros(array)
    first = zeros.zeros_of(array)
    zeros.watch_zeros(array)
    second = zeros.zeros_of(array)
    first.owner.__callback__(first.owner)
    assert zeros.zeros_of(array) is second
    del array
    assert second not in zeros_by_owner.values()


@pytest.mark.parametrize("dtype", ["i8", "i4", "u2"])
@pytest.mark.parametrize("lowest", [0, -7])
@pytest.mark.parametrize("height", [10, 40, 1000])
@pytest.mark.parametrize("counts", [(), (0,), (5,), (3, 0, 8), (30,)])
def test_rows_are_named_once_and_in_order(counts, height, lowest, dtype):
    """By a flag for each row, or sorted where they are few; some are counted from the end."""
    rng = np.random.default_rng(0)
    lowest = 0 if dtype[0] == "u" else lowest
    rows = [rng.integers(lowest, 10, count).astype(dtype) for count in counts]
    found = zeros._joined(np.empty(0), rows, height)
    expected = sorted({int(row) % height for each in rows for row in each})
    assert found.dtype == np.int64
    assert found.tolist() == expected
