"""Compiled steps that compute a gradient where it is kept: when they may, and with what results."""

from __future__ import annotations

import numpy as np
import pytest
from compiled_steps import bound_program, single, third_call

import tapegrad as tg
from tapegrad import compile, nn, optim


class Step:
    """A step of training, with what it may do between its gradients and the update."""

    def __init__(self, between=lambda model: None):
        tg.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(5, 40), nn.Tanh(), nn.Linear(40, 3))
        self.optimizer = optim.SGD(self.model, lr=0.1, momentum=0.9)
        self.between = between

    def __call__(self, x, t):
        self.optimizer.zero_grad()
        loss = np.mean((self.model(x) - t) ** 2)
        loss.backward()
        seen = self.between(self.model)
        self.optimizer.step()
        return loss if seen is None else (loss, seen)

    def arrays(self):
        return [a.detach().data for p in self.model.parameters()[0] for a in (p, p.grad)]


def trained(between=lambda model: None, calls=6):
    """A compiled step, and an ordinary one, after as many calls."""
    x, t = single(7, 5), single(7, 3)
    ordinary, step = Step(between), Step(between)
    run = compile(step)
    for _ in range(calls):
        expected, found = ordinary(x, t), run(x, t)
    for a, b in zip(tg.autograd.core.tree.leaves(found), tg.autograd.core.tree.leaves(expected),
                    strict=True):  # fmt: skip
        np.testing.assert_allclose(a.data, b.data, rtol=1e-5, atol=1e-6)
    for a, b in zip(step.arrays(), ordinary.arrays(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    return run


def test_products_are_written_to_the_gradients_that_they_are():
    run = trained()
    assert len(bound_program(run).placed) == 2
    assert "2 results in a gradient's place" in run.explain()
    assert run.explain().count("placed") == 2


def products(after, before=lambda weight: ()):
    """A compiled step that delivers a product to a gradient, and the same on ordinary calls."""
    found = []
    for compiled in (True, False):
        weight = tg.Parameter(np.zeros((4, 5), np.float32))
        optimizer = optim.SGD([weight], lr=0.1)
        weight.grad = np.ones((4, 5), np.float32)

        def body(a, b, weight=weight, optimizer=optimizer):
            seen = before(weight)
            y = a.T @ b
            return after(weight, y, optimizer.zero_grad, *seen)

        step = compile(body) if compiled else body
        twos = np.full((6, 5), 2, np.float32)
        arguments = [(np.full((6, 4), i, np.float32), twos) for i in range(5)]
        results = [np.array(r) for pair in arguments for r in step(*pair)]
        found.append([*results, np.array(weight.grad)])
        if compiled:
            found.append(bound_program(step).placed)
    return found


def test_a_gradient_that_is_read_meanwhile_is_written_afterwards():
    def after(weight, y, zero):
        before = weight.grad.detach() * 1.0
        zero()
        weight.backward(y)
        return [before]

    found, placed, expected = products(after)
    assert not placed
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("view", [np.transpose, np.ravel, lambda g: g[2]])
def test_a_gradient_that_a_view_from_before_reads_or_writes_is_written_afterwards(view):
    def reads(weight, y, zero, old):
        values = old * 2.0
        zero()
        weight.backward(y)
        return [values]

    def writes(weight, y, zero, old):
        old[...] = 5.0
        zero()
        weight.backward(y)
        return [y * 1.0]

    for after in (reads, writes):
        found, placed, expected = products(after, lambda weight: [view(weight.grad.detach())])
        assert not placed
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_product_that_is_used_afterwards_is_no_gradient():
    def after(weight, y, zero):
        zero()
        weight.backward(y)
        weight.grad[...] = weight.grad.detach() * 3.0
        return [y * 1.0]

    found, placed, expected = products(after)
    assert not placed
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_product_that_is_only_delivered_is_the_gradient():
    def after(weight, y, zero):
        zero()
        weight.backward(y)
        return [y.shape[0] + weight.grad.detach() * 0.0]

    found, placed, expected = products(after)
    assert len(placed) == 1
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_contributions_add_up():
    x, model = single(6, 5), nn.Linear(5, 5, bias=False)
    ordinary = model.clone()

    def step_of(model):
        def body(x):
            model.zero_grad()
            y = model(model(x))
            (y * y).sum().backward()
            return model.weight.grad.detach() + 0.0

        return body

    step = compile(step_of(model))
    third_call(step, x)
    np.testing.assert_allclose(step(x).data, step_of(ordinary)(x).data, rtol=1e-4, atol=1e-5)


def test_a_gradient_that_is_read_afterwards_is_the_gradient():
    trained(lambda model: model[0].weight.grad.detach() * 1.0)


def test_without_fusing_signs_of_zeros_are_those_of_ordinary_calls():
    model = nn.Linear(3, 2, bias=False)
    x = np.array([[0.0, 1, 2]], np.float32)

    def body(x):
        model.zero_grad()
        (model(x) * np.float32(-1)).sum().backward()
        return x.sum()

    body(x)
    expected = model.weight.grad.detach().data.copy()
    step = compile(body, fuse=False)
    for _ in range(4):
        step(x)
    np.testing.assert_array_equal(np.signbit(model.weight.grad.data), np.signbit(expected))
    assert not bound_program(step).placed


def test_a_watcher_of_writes_hears_before_the_product_is_there():
    from tapegrad.autograd.core.mode import watch_writes

    x, t, step = single(7, 5), single(7, 3), Step()
    run = compile(step)
    for _ in range(4):
        run(x, t)
    assert bound_program(run).placed
    weight = step.model[0].weight
    before, heard = weight.grad.detach().data.copy(), []

    def hear(array):
        if np.may_share_memory(array, weight.grad.data) and array.shape == before.shape:
            heard.append(np.array_equal(array, before))

    with watch_writes(hear):
        run(single(7, 5), t)
    assert heard[0]
