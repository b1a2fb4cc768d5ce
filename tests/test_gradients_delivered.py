"""A first gradient may be the array that the sweep has made, and never one that others hold."""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad.autograd import Parameter
from tapegrad.autograd.core.node import owner_of
from tapegrad.autograd.reverse import accumulation


def made():
    rng = np.random.default_rng(0)
    return [Parameter(rng.normal(size=(40, 30))) for _ in range(2)]


def added(p, q, seed):
    (p + q).backward(seed)


def same_twice(p, q, seed):
    (p + p).backward(seed)
    (q * 1).backward(seed)


def reshaped(p, q, seed):
    p.reshape(-1).backward(seed.reshape(-1))
    q.T.backward(seed.T)


def stretched(p, q, seed):
    np.sum(p).backward()
    np.sum(q, 0).backward(seed[0])


def multiplied(p, q, seed):
    (p * q * 2).backward(seed)


@pytest.mark.parametrize("use", [added, same_twice, reshaped, stretched, multiplied])
def test_gradients_share_no_memory_with_each_other_or_with_what_was_given(use):
    p, q = made()
    seed = np.random.default_rng(1).normal(size=p.shape)
    kept = seed.copy()
    use(p, q, seed)
    owners = {id(owner_of(a)) for a in (p.grad._bare, q.grad._bare, seed, p._bare, q._bare)}
    assert len(owners) == 5
    first = [p.grad._bare.copy(), q.grad._bare.copy()]
    p.grad[...] = 7
    np.testing.assert_array_equal(q.grad._bare, first[1])
    np.testing.assert_array_equal(seed, kept)
    p.grad[...] = first[0]
    use(p, q, seed)
    np.testing.assert_array_equal(p.grad._bare, 2 * first[0])
    np.testing.assert_array_equal(seed, kept)


def test_a_first_gradient_is_the_array_that_the_sweep_made(monkeypatch):
    monkeypatch.setattr(accumulation, "add_to_grad", None)  # which would make another
    [p, _] = made()
    for _ in range(2):
        (p * 3).backward(np.ones(p.shape))
        assert p.grad._bare.base is None
        np.testing.assert_array_equal(p.grad._bare, np.full(p.shape, 3.0))
        p.grad = None
    (p * -0.0).backward(np.ones(p.shape))
    assert not np.signbit(p.grad._bare).any()


def test_so_is_what_the_sweep_made_in_another_shape(monkeypatch):
    monkeypatch.setattr(accumulation, "add_to_grad", None)
    [p, _] = made()
    (p.reshape(-1) * 3).backward(np.ones(p.size))
    assert p.grad._bare.base.size == p.size
    np.testing.assert_array_equal(p.grad._bare, np.full(p.shape, 3.0))


@pytest.mark.parametrize("count", [1200, 1201])
def test_but_not_what_others_hold_or_what_is_a_part(count):
    [p, _] = made()
    held = np.ones(count)
    collected = {p._node: held[:1200].reshape(p.shape)}
    if count > 1200:
        held = None
    accumulation.deliver_to_grad(p._node, collected)
    assert p.grad._bare.base is None
