"""Kernels make cheap values again, where they would read them: see compiling/recomputing.py."""

from __future__ import annotations

import numpy as np
import pytest
from compiled_steps import bound_program, single, third_call

from tapegrad import Parameter, Tensor, compile, ops, optim, value_and_grad
from tapegrad.autograd.compiling import grouping, recomputing
from tapegrad.autograd.kernels import machine

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="needs tapegrad[fast]")


@pytest.fixture(autouse=True)
def _small_arrays_too(monkeypatch):
    monkeypatch.setattr(recomputing, "LEAST", [1])


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


def block(x, w, v):
    """A product on both sides: what is between is one kernel, and its reverse another."""
    return np.sum((gelu(x @ w) @ v) ** 2)


def polynomial(x, w, v):
    y = x @ w
    z = y * 1.5 - 2
    return np.sum(((y * z - 3 * z) @ v.T) ** 2)


def abs_and_squares(x, w, v):
    y = np.abs(x @ w)
    return np.sum(((y * y * y - np.square(y)) @ v) ** 3)


ARGUMENTS = single(32, 48), single(48, 64) / 8, single(64, 64) / 8


def kernels(step):
    """The groups of entries that are kernels, of the one program of a compiled step."""
    bound = bound_program(step)
    return [bound.groups[position] for position in bound.kernels]


@pytest.mark.parametrize("loss", [block, polynomial, abs_and_squares])
def test_the_bits_are_those_without(loss, monkeypatch):
    step = compile(value_and_grad(loss, (0, 1, 2)))
    value, found = third_call(step, *ARGUMENTS)
    assert sum(group.again for group in kernels(step))
    assert "made again" in step.explain()
    monkeypatch.setattr(grouping, "recompute", lambda *_: None)
    plain = compile(value_and_grad(loss, (0, 1, 2)))
    other, expected = third_call(plain, *ARGUMENTS)
    assert not sum(group.again for group in kernels(plain))
    assert value.numpy().tobytes() == other.numpy().tobytes()
    for a, b in zip(found, expected, strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


def test_less_is_stored_and_read():
    step = compile(value_and_grad(block, (0, 1, 2)))
    third_call(step, *ARGUMENTS)
    [(_, program, bound)] = step._bound
    *_, last = [text for at, text in bound.kernels.items() if bound.groups[at].again]
    assert len(last.reads) == 3, "the product, 1 + tanh, and what comes from behind"
    assert len(program.entries) >= sum(len(group.entries) - group.again for group in kernels(step))


def test_what_is_written_meanwhile_is_read():
    """Between its kernel and the next one a value is overwritten, and so are its operands."""

    def step(x, w):
        y = x @ w
        z = y * 3
        half = ops.assign(z, z + 1)  # another memory would be a value of its own
        g = half @ w.T @ w
        y += g
        return y * half + z * 2, z

    x, w = single(16, 16), single(16, 16) / 4
    found = third_call(compile(step), x, w)
    for a, b in zip(found, step(Tensor(x), Tensor(w)), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-5)


def test_small_arrays_are_read(monkeypatch):
    monkeypatch.setattr(recomputing, "LEAST", [1 << 18])
    step = compile(value_and_grad(block, (0, 1, 2)))
    third_call(step, *ARGUMENTS)
    assert not sum(group.again for group in kernels(step))


def test_a_training_step_learns_the_same():
    """With an optimizer, whose parameters are overwritten in the step."""
    losses, x, start = [], single(16, 32), single(32, 32) / 6
    for fuse in (True, False):
        w, v = Parameter(start.copy()), Parameter(start.T.copy())
        optimizer = optim.SGD([w, v], lr=0.1, momentum=0.9)

        def body(x, w=w, v=v, optimizer=optimizer):
            optimizer.zero_grad()
            loss = np.mean((gelu(x @ w) @ v * w[0]) ** 2)
            loss.backward()
            optimizer.step()
            return loss

        step = compile(body, fuse=fuse)
        losses.append([float(step(x)) for _ in range(6)])
        assert bool(sum(group.again for group in kernels(step))) == fuse
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
