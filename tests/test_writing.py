"""Writes into Tensors: NumPy's own behaviour, differentiated.

The judge is NumPy: a random program of views, writes and arithmetic runs on plain complex arrays,
whose imaginary part at a step of 10⁻³⁰ is the derivative to the last digits (W. Squire and
G. Trapp, 1998), and the same program, unchanged, on Tensors.

All of it runs both ways in which a write finds out whether somebody else holds the memory.
"""

from __future__ import annotations

import gc
import itertools
import operator
import random
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapegrad import nn
from tapegrad.autograd import (
    InPlaceError,
    Parameter,
    ReplayError,
    Tensor,
    elementwise_grad,
    grad,
    hessian,
    no_grad,
    replay,
    value_and_grad,
    vjp,
    vmap,
)
from tapegrad.autograd.check import check_gradients
from tapegrad.autograd.core.tensor import result_tensor
from tapegrad.autograd.core.views import living_views
from tapegrad.autograd.reverse import ownership

# What an interpreter cannot do is not tried; the second one must work on any.
STRATEGIES = {"by weak reference": ownership.BY_WEAK_REFERENCE}
if ownership.strategy is ownership.BY_COUNT:
    STRATEGIES["by count"] = ownership.BY_COUNT


@pytest.fixture(params=STRATEGIES, autouse=True)
def strategy(request, monkeypatch):
    """How writes find out whether somebody else holds the memory."""
    monkeypatch.setattr(ownership, "strategy", STRATEGIES[request.param])
    return STRATEGIES[request.param]


rng = np.random.default_rng(0)


def slope_of(f, x, u):
    """The derivative of f at x along u, by a complex step through plain NumPy."""
    return f(x + 1e-30j * u).imag / 1e-30


def assert_differentiates(f, x, relative=1e-10):
    """grad(f) is the derivative of the NumPy function f, and leaves x as it is."""
    kept, u = x.copy(), np.random.default_rng(1).standard_normal(x.shape)
    g = grad(f)(x)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_allclose(
        np.sum(g * u), slope_of(f, x, u), rtol=relative, atol=relative * np.abs(g * u).sum()
    )


# Random programs ----------------------------------------------------------------------------------

SHAPES = [(4, 6), (6,), (3, 2, 2), (5,), (1, 7)]


def some_index(draw, shape):
    """A random index into an array of this shape: basic, of integers that may repeat, or a mask."""
    n, last = shape[0], shape[-1]
    return draw.choice([
        lambda: draw.randrange(-n, n),
        lambda: slice(draw.randrange(n), None),
        lambda: (Ellipsis, slice(None, None, -1)),
        lambda: (Ellipsis, draw.randrange(last)),
        lambda: (slice(None, None, 2), None),
        lambda: np.array([draw.randrange(-n, n) for _ in range(draw.randrange(1, 5))]),
        lambda: (Ellipsis, np.array([draw.randrange(last) for _ in range(3)])),
        lambda: np.array([draw.random() < 0.5 for _ in range(n)]),
        lambda: Ellipsis,
    ])()  # fmt: skip


def some_view(draw, a):
    """A view of a, or a copy where NumPy makes one."""
    return draw.choice([
        lambda: a[draw.randrange(a.shape[0])] if a.ndim > 1 else a[1:],
        lambda: a.T,
        lambda: a.reshape(-1),
        lambda: a[::-1],
        lambda: a[..., : max(1, a.shape[-1] // 2)],
        lambda: np.split(a, [a.shape[0] // 2])[draw.randrange(2)],
        lambda: np.swapaxes(a, 0, -1),
        lambda: np.expand_dims(a, 0) if a.ndim < 4 else a,
        lambda: np.flip(a, axis=-1),
    ])()  # fmt: skip


def step(draw, variables, placed):
    """One random statement; `placed` puts an index array where the variables are."""
    a, b = draw.choice(variables), draw.choice(variables)
    if not a.size or not b.size or not a.ndim:
        return
    kind = draw.randrange(10)
    if kind <= 2:
        variables.append(some_view(draw, a))
        return
    if kind == 3:
        variables.append(np.sin(b) * 0.5 + b * b)
        return
    if kind == 4:
        if a.shape == b.shape:
            a += b * 0.5
        else:
            a -= np.mean(b)
        return
    index = some_index(draw, a.shape)
    place = np.empty(a.shape)[index].shape
    index = tuple(map(placed, index)) if isinstance(index, tuple) else placed(index)
    if kind == 5:
        a[index] *= np.mean(b)
    elif kind == 6:
        np.add.at(a, index, np.mean(b) * 0.1)
    elif b.shape == place and kind <= 8:
        # NumPy reads an overlapping value first, except where the index is a mask
        overlaps_safely = getattr(index, "dtype", np.dtype(int)).kind != "b"
        a[index] = b if kind == 7 and overlaps_safely else b * b
    else:
        a[index] = 0.5 if kind == 9 else np.mean(b * b)


def program(seed, length, placed=lambda part: part):
    """A random program as a function of x: an array or a Tensor, whichever it is given."""

    def run(x):
        draw = random.Random(seed)
        variables = [x, x * 1, np.zeros_like(x)]
        for _ in range(length):
            step(draw, variables, placed)
        weights = random.Random(seed + 1)
        return sum(np.sum(v * weights.uniform(-1, 1)) for v in variables)

    return run


PROGRAMS = (st.integers(0, 2**32), st.integers(1, 14), st.sampled_from(SHAPES))


@given(*PROGRAMS)
def test_programs_that_write_have_numpys_values_and_derivatives(seed, length, shape):
    f = program(seed, length)
    draw = np.random.default_rng(seed)
    x, u = draw.standard_normal(shape) * 0.5, draw.standard_normal(shape)
    kept = x.copy()
    value, pull = vjp(f, x)
    g = pull(np.ones(()))
    np.testing.assert_array_equal(x, kept)  # the caller's array is the caller's
    np.testing.assert_allclose(value, f(x.copy()), rtol=1e-12, atol=1e-12)
    scale = 1 + np.abs(g * u).sum()
    np.testing.assert_allclose(np.sum(g * u), slope_of(f, x, u), rtol=1e-9, atol=1e-9 * scale)


@given(*PROGRAMS)
def test_untracked_programs_have_numpys_values(seed, length, shape):
    f = program(seed, length)
    x = np.random.default_rng(seed).standard_normal(shape) * 0.5
    inside, outside = x.copy(), x.copy()
    expected = f(outside)
    np.testing.assert_allclose(f(Tensor(inside)).numpy(), expected, rtol=1e-12, atol=1e-12)
    # Tensor(array) shares the array's memory
    np.testing.assert_allclose(inside, outside, rtol=1e-13, atol=1e-13)


@given(*PROGRAMS)
def test_programs_that_write_run_on_strict_arrays(seed, length, shape):
    def placed(part):
        return Tensor(part, device="strict") if isinstance(part, np.ndarray) else part

    x = np.random.default_rng(seed).standard_normal(shape) * 0.5
    expected = grad(program(seed, length))(x)
    found = grad(program(seed, length, placed))(Tensor(x, device="strict"))
    assert str(found.device) == "strict"
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-10)


@given(*PROGRAMS)
def test_programs_that_write_have_right_second_derivatives(seed, length, shape):
    x = np.random.default_rng(seed).standard_normal(shape) * 0.5
    check_gradients(program(seed, min(length, 6)), x, order=2, probes=1, seed=seed % 1000)


@given(*PROGRAMS)
def test_programs_that_write_run_on_all_samples_at_once(seed, length, shape):
    f = program(seed, length)
    xs = np.random.default_rng(seed).standard_normal((3, *shape)) * 0.5
    np.testing.assert_allclose(vmap(f)(xs), [f(x.copy()) for x in xs], rtol=1e-10, atol=1e-10)
    slopes = np.stack([grad(f)(x) for x in xs])
    np.testing.assert_allclose(vmap(grad(f))(xs), slopes, rtol=1e-9, atol=1e-9)


# What people write --------------------------------------------------------------------------------


def test_a_loop_that_fills_an_array():
    def f(x):
        y = np.zeros_like(x)
        y[0] = x[0]
        for i in range(1, len(x)):
            y[i] = 0.5 * y[i - 1] ** 2 + x[i]
        return np.sum(y)

    assert_differentiates(f, rng.standard_normal(8) * 0.5)


def test_a_cholesky_factor_by_hand():
    def factor(a):
        root = np.zeros_like(a)
        for i in range(len(a)):
            for j in range(i + 1):
                rest = a[i, j] - np.sum(root[i, :j] * root[j, :j])
                root[i, j] = np.sqrt(rest) if i == j else rest / root[j, j]
        return root

    x = rng.standard_normal((4, 4))
    a = x @ x.T + 4 * np.eye(4)
    np.testing.assert_allclose(factor(Tensor(a)).numpy(), np.linalg.cholesky(a), rtol=1e-12)
    v = rng.standard_normal((4, 4))
    ours = grad(lambda a: np.sum(factor((a + a.T) / 2) * v))(a)
    theirs = grad(lambda a: np.sum(np.linalg.cholesky((a + a.T) / 2) * v))(a)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_rows_are_changed_in_a_loop_over_them():
    def f(x):
        x = x * x + 1
        for row in x:
            row /= np.sum(row)
        return np.sum(x * weights)

    weights = rng.standard_normal((3, 4))
    assert_differentiates(f, rng.standard_normal((3, 4)))


def test_diffusion_in_place():
    def f(u):
        for _ in range(5):
            u[1:-1] += 0.1 * (u[2:] * u[1:-1] + u[:-2])
        return np.sum(u * u)

    assert_differentiates(f, rng.standard_normal(9))


@pytest.mark.parametrize("sign", ["+", "-", "*", "/", "**", "//", "%"])
def test_augmented_assignment_is_numpys(sign):
    operate = {
        "+": operator.iadd, "-": operator.isub, "*": operator.imul, "/": operator.itruediv,
        "**": operator.ipow, "//": operator.ifloordiv, "%": operator.imod,
    }[sign]  # fmt: skip

    def f(x):
        y = x * 1
        row = y[1]
        y = operate(y, 3.0)
        row = operate(row, 2.0)
        return np.sum(y * y)

    x = np.abs(rng.standard_normal((3, 2))) + 0.5
    np.testing.assert_allclose(f(Tensor(x)).numpy(), f(x), rtol=1e-14)
    if sign not in "//%":  # NumPy has no complex floor, so no complex step
        assert_differentiates(f, x)


def test_integers_and_truths_are_changed_in_place():
    for operate, v in (
        (operator.iand, 6), (operator.ior, 5), (operator.ixor, 3), (operator.ilshift, 2),
        (operator.irshift, 1), (operator.iadd, 4), (operator.ifloordiv, 2),
    ):  # fmt: skip
        x = np.array([[1, 6], [12, 3]])
        t = Tensor(x.copy())
        column, mine = t[:, 1], x[:, 1]
        column, mine = operate(column, v), operate(mine, v)
        np.testing.assert_array_equal(t.numpy(), x)
        np.testing.assert_array_equal(column.numpy(), mine)


def test_operators_of_integers_are_bitwise_as_in_numpy():
    x, y = np.array([1, 6, 12]), np.array([3, 5, 8])
    for f in (operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift, divmod):
        for a, b in ((Tensor(x), Tensor(y)), (Tensor(x), y), (Tensor(x), 3), (3, Tensor(y))):
            first = a.numpy() if isinstance(a, Tensor) else a
            second = b.numpy() if isinstance(b, Tensor) else b
            np.testing.assert_array_equal(np.asarray(f(a, b)), f(first, second))
    np.testing.assert_array_equal((~Tensor(x)).numpy(), ~x)
    np.testing.assert_array_equal((~Tensor(x > 2)).numpy(), ~(x > 2))
    with pytest.raises(TypeError, match="bitwise_and"):
        Tensor(x) & 1.5


# Views --------------------------------------------------------------------------------------------


def test_a_view_shows_what_is_written_to_its_root_and_the_other_way_round():
    p = Parameter(np.arange(6.0).reshape(2, 3))
    y = p * 1
    row, column = y[0], y.T[1]
    y[0, 1] = p[1, 2] * 10
    np.testing.assert_array_equal(row.numpy(), [0, 50, 2])
    np.testing.assert_array_equal(column.numpy(), [50, 4])
    row[2] = 7.0
    column *= 2
    np.testing.assert_array_equal(y.numpy(), [[0, 100, 7], [3, 8, 5]])
    (np.sum(row) + np.sum(column)).backward()
    np.testing.assert_array_equal(p.grad.numpy(), [[1, 0, 0], [0, 2, 40]])


def test_views_of_complex_tensors():
    def f(x):
        z = x * (1 + 0.5j)
        z.real[0] = x[1] * x[2]
        z.imag[1:] = x[1:] ** 2
        z.real *= 2
        z.imag = z.imag + x
        return np.sum(np.abs(z) ** 2)

    check_gradients(f, rng.standard_normal(3), order=2)
    x = rng.standard_normal(3)
    assert f(Tensor(x)).item() == pytest.approx(f(x), rel=1e-14)


def test_a_value_that_overlaps_its_place():
    def f(x):
        y = x * 1
        y[1:] = y[:-1]
        y[:-2] = y[2:]
        return np.sum(y * np.arange(5.0))

    assert_differentiates(f, rng.standard_normal(5))


def test_a_value_that_overlaps_a_mask_is_read_first():
    mask = np.array([False, False, True, True, False, True])
    for x in (Tensor(np.arange(6.0)), np.exp(Tensor(np.zeros(6))) * np.arange(6.0)):
        x[mask] = x[:3]  # NumPy overwrites x[2] before it reads it
        np.testing.assert_array_equal(x.numpy(), [0, 1, 0, 1, 4, 2])


def test_of_several_values_for_one_place_the_last_counts():
    def f(x):
        y = np.zeros_like(x)
        y[[0, 2, 0, 0]] = x[:4]
        y[[1, 1]] = x[4]
        return np.sum(y * np.arange(1.0, 6.0))

    x = rng.standard_normal(5)
    np.testing.assert_array_equal(grad(f)(x), [0, 3, 0, 1, 2])


def test_values_broadcast_and_may_have_axes_of_length_one_in_front():
    def f(x):
        y = np.zeros_like(x)
        y[0] = x[None, None, 1] * 2
        y[1:] = x[2, 0]
        y[:, 1] = x[:1, 2]
        return np.sum(y * y)

    assert_differentiates(f, rng.standard_normal((3, 3)))


def test_what_a_rule_has_saved_is_not_overwritten():
    def f(x):
        y = np.tanh(x)
        a = y * y  # saves y
        row = y[1:]
        b = row * 3 * row  # saves a view of y
        y[0] = 0.0
        row += a[1:]
        c = np.exp(y)
        y[...] = 1.0
        return np.sum(a) + np.sum(b) + np.sum(c) + np.sum(y)

    assert_differentiates(f, rng.standard_normal(5))


def test_memory_that_a_function_of_the_users_keeps_is_not_overwritten():
    from tapegrad.autograd import custom_vjp

    kept = np.zeros(6)
    part = custom_vjp(lambda x: kept[:3])
    part.vjp(x=lambda g: g)
    y = part(Parameter(np.ones(3)))
    y[0] = 5.0
    assert kept[0] == 0
    assert y[0].item() == 5


def test_memory_that_was_handed_out_is_written_through_where_nothing_is_recorded():
    array = np.zeros(3)
    Tensor(array)[1] = 5.0
    assert array[1] == 5
    t = np.exp(Tensor(array))
    shared = t.numpy()
    t[0] = 9.0
    assert shared[0] == 9


def test_a_recorded_write_leaves_the_callers_array_alone():
    array = np.zeros(3)
    t = Tensor(array)
    first = t[:2]
    t[1] = Parameter(np.ones(())) * 4
    assert array[1] == 0
    assert first[1].item() == 4
    assert first.tracked


@pytest.mark.extra
def test_small_parts_of_an_array_do_not_keep_all_of_it():
    def f(x):
        y = np.zeros_like(x)
        for i in range(1, len(x)):
            y[i] = np.tanh(y[i - 1] * y[i - 1] + x[i])  # the product saves a part of y
        return np.sum(y)

    def peak(n):
        x = np.zeros((n, 8))
        grad(f)(x)
        gc.collect()
        tracemalloc.start()
        grad(f)(x)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(400) < 2.5 * peak(200)


HOLDERS = {
    "a variable": lambda array: array,
    "a list": lambda array: [array],
    "a rule": None,  # of its own below: it needs the Tensor
    "a closure": lambda array: lambda: array,
    "a view": lambda array: array[..., :1],
    "a view of a view": lambda array: array.T[:1].T,
    "a buffer": memoryview,
    "another Tensor": result_tensor,
}


def own(strategy, shape=(2, 3), order="C"):
    """A Tensor whose memory is its own, as after a first write."""
    x = result_tensor(np.ones(shape, order=order))
    strategy.take_own(x)
    return x


@pytest.mark.parametrize("holder", HOLDERS)
def test_whoever_holds_the_memory_is_noticed(strategy, holder):
    x = own(strategy)
    assert strategy.holds_alone(x)
    if holder == "a rule":
        held = np.exp(Parameter(np.ones(3)) * x)._node.parents  # multiply saved x
    else:
        held = HOLDERS[holder](x._bare)
    for _ in range(2):
        assert not strategy.holds_alone(x)
    del held
    for _ in range(2):
        assert strategy.holds_alone(x)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (2, 3, 4)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_of_its_own_lies_as_a_copy_does(strategy, shape, order):
    x = own(strategy, shape, order)
    array = np.ones(shape, order=order)
    for _ in range(3):
        assert strategy.holds_alone(x)
        assert type(x._bare) is np.ndarray
        assert x._bare.flags.writeable
        assert (x._bare.strides, x._bare.dtype) == (array.strides, array.dtype)
        np.testing.assert_array_equal(x._bare, array)
    transposed = result_tensor(np.arange(24.0).reshape(2, 3, 4).transpose(1, 2, 0))
    before = transposed._bare.copy(order="K")
    strategy.take_own(transposed)
    assert transposed._bare.strides == before.strides
    np.testing.assert_array_equal(transposed._bare, before)


def test_memory_that_cannot_be_written_is_not_its_own(strategy):
    x = own(strategy)
    x._bare.flags.writeable = False
    held = x._bare
    assert not strategy.holds_alone(x)
    del held
    shown = result_tensor(np.broadcast_to(np.zeros(1), (3,)))
    assert not strategy.holds_alone(shown)


def test_the_owner_of_handed_out_memory_is_noticed(strategy):
    y = Parameter(np.zeros(4)) * 1
    y[0] = 1.0
    y[1] = 2.0
    owner = y.numpy().base  # NumPy shows it to everybody
    before = None if owner is None else np.array(owner)
    y[2] = 3.0
    assert owner is None or np.array_equal(owner, before)
    np.testing.assert_array_equal(y.numpy(), [1, 2, 3, 0])


def test_a_loop_that_fills_an_array_copies_it_once(strategy, monkeypatch):
    copies = []

    def counted(x):
        copies.append(x)
        strategy.take_own(x)

    monkeypatch.setattr(ownership, "strategy", strategy._replace(take_own=counted))
    x = Parameter(np.ones(100))
    y = np.zeros_like(x * 1)
    for i in range(100):
        y[i] = np.tanh(x[i])
    assert len(copies) <= 1
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1 / np.cosh(1) ** 2)


@pytest.mark.parametrize("count", [lambda _: 2, lambda _: 2**30, None])
def test_an_interpreter_that_counts_otherwise_is_found_out(monkeypatch, count):
    if count is None:
        monkeypatch.delattr(sys, "getrefcount")
    else:
        monkeypatch.setattr(sys, "getrefcount", count)
    assert not ownership._counts_are_reliable()


def test_without_counts_the_other_way_is_taken():
    code = """
import sys
del sys.getrefcount
import numpy as np
from tapegrad import grad
from tapegrad.autograd.reverse import ownership
assert ownership.strategy is ownership.BY_WEAK_REFERENCE

def f(x):
    y = np.zeros_like(x)
    for i in range(4):
        y[i] = x[i] ** 2
    return y.sum()

assert grad(f)(np.arange(4.0)).tolist() == [0, 2, 4, 6]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.extra
def test_roots_forget_views_that_are_gone_and_leave_no_cycles():
    y = Parameter(np.zeros((4, 4))) * 1
    gc.collect()
    gc.disable()
    try:
        for i in range(200):
            y[i % 4] = y[(i + 1) % 4].T * 0.5
            y.T[0] += 1
        assert len(y._alias.handles) < 40
        assert not list(living_views(y))
        del y
        assert gc.collect() == 0
    finally:
        gc.enable()


# NumPy's ways to write ----------------------------------------------------------------------------


def test_numpys_functions_that_write():
    def f(x):
        y = x * 1
        np.copyto(y[0], x[1] ** 2, where=np.array([True, False, True]))
        np.put(y, [4, -1], x[2, :2])
        np.place(y, np.eye(3, dtype=bool), x[0, :2] * 2)
        np.putmask(y, np.tri(3, k=-1) > 0, x * x)
        np.put_along_axis(y, np.array([[2], [2], [0]]), x[:, :1] * 3, axis=1)
        np.fill_diagonal(y, x[1])
        np.multiply(y, x, out=y)
        np.cumsum(y[0], out=y[2])
        np.add.at(y, (0, [1, 1]), x[0, 0])
        np.subtract.at(y, np.array([2, 2]), x[1])
        return np.sum(y * weights)

    weights = rng.standard_normal((3, 3))
    assert_differentiates(f, rng.standard_normal((3, 3)))


def test_an_array_takes_the_entries_of_untracked_tensors():
    x = Tensor(np.arange(9.0).reshape(3, 3))
    largest = np.argmax(x, axis=1)[:, None]
    calls = [
        (np.copyto, (x,), {"where": x > 4}),
        (np.put, (Tensor(np.array([4, -1])), x[2, :2]), {}),
        (np.place, (x > 3, x[0]), {}),
        (np.putmask, (x > 3, x), {}),
        (np.put_along_axis, (largest, x[:, :1]), {"axis": 1}),
        (np.put_along_axis, (), {"indices": largest, "values": -1.0, "axis": 1}),
        (np.fill_diagonal, (x[1],), {}),
        (np.putmask, ([[True, False, False]] * 3, [x[1, 1], 2.0]), {}),
    ]
    for function, operands, settings in calls:
        ours, theirs = np.full((3, 3), 0.5), np.full((3, 3), 0.5)
        function(ours, *operands, **settings)
        plain = {name: value for name, value in settings.items() if name == "axis"}
        arrays = {name: np.asarray(settings[name]) for name in settings.keys() - plain}
        function(theirs, *map(np.asarray, operands), **arrays, **plain)
        assert np.array_equal(ours, theirs)
        assert not np.array_equal(ours, np.full((3, 3), 0.5))


def test_an_array_does_not_take_the_entries_of_tracked_tensors():
    target, w = np.zeros(3), Parameter(np.ones(3))
    for write in (
        lambda: np.copyto(target, w),
        lambda: np.put_along_axis(target, Tensor(np.array([0])), w[:1], 0),
        lambda: np.put_along_axis(target, np.array([0]), values=w[:1], axis=0),
        lambda: np.place(target, w > 0, w),
    ):
        with pytest.raises(TypeError, match="an ndarray cannot take a Tensor's entries"):
            write()
    assert not target.any()
    step = replay(lambda x: np.copyto(target, x))
    with pytest.raises(ReplayError, match="converts a Tensor"):
        step(np.ones(3))
    assert not target.any()


def test_methods_that_write():
    def f(x):
        y = x * 1
        y[0].fill(0.5)
        y.put([5, 4], x[0, :2] * 2)
        y[2].sort()
        return np.sum(y * weights)

    weights = rng.standard_normal((3, 3))
    assert_differentiates(f, rng.standard_normal((3, 3)))


def test_functions_of_numpy_that_cannot_write_say_so():
    y, array = Parameter(np.ones(3)) * 1, np.zeros(3)
    with pytest.raises(TypeError, match="gradient"):
        np.add.at(array, [0], y)
    with pytest.raises(TypeError, match="gradient"):
        np.multiply(y, 2, out=array)
    with pytest.raises(TypeError, match="gradient"):
        np.sum(np.stack([y, y]), axis=0, out=array)
    with pytest.raises(TypeError, match=r"maximum\.at"):
        np.maximum.at(array, [0], y)
    with pytest.raises(ValueError, match="shape"):
        np.multiply(y, np.ones((2, 3)), out=y)


# Refusals: the error names the line's statement and the fix, and nothing has changed --------------


def refused(error, match, statement, *tensors):
    before = [t.numpy().copy() for t in tensors]
    with pytest.raises(error, match=match):
        statement()
    for t, old in zip(tensors, before, strict=True):
        np.testing.assert_array_equal(t.detach().numpy(), old)


def test_state_is_not_written_where_it_is_recorded():
    p = Parameter(np.ones(3))
    view, buffer = p[1:], nn.Buffer(np.zeros(3))
    refused(InPlaceError, r"x\[i\] = v.*Parameter.*no_grad", lambda: p.__setitem__(0, 2.0))
    refused(InPlaceError, r"x \+= v.*Parameter", lambda: p.__iadd__(1))
    refused(InPlaceError, "Parameter", lambda: view.__setitem__(0, 2.0))
    refused(InPlaceError, "Buffer.*detach", lambda: buffer.__setitem__(0, p[0]), buffer)
    buffer[0] = 2.0
    with no_grad():
        p[0] = 5.0
        p += 1
        view *= 2
    np.testing.assert_array_equal(p.detach().numpy(), [6, 4, 4])
    np.testing.assert_array_equal(view.detach().numpy(), [4, 4])
    assert buffer[0].item() == 2


def test_tracked_tensors_are_not_written_unrecorded():
    y = Parameter(np.ones(3)) * 1
    with no_grad():
        refused(InPlaceError, r"no_grad\(\)", lambda: y.__setitem__(0, 2.0))
        refused(InPlaceError, r"no_grad\(\)", lambda: y.__iadd__(2.0))


def test_numbers_that_do_not_fit_are_refused():
    y = Parameter(np.ones(3)) * 1
    whole = Tensor(np.arange(3))
    refused(TypeError, r"int64.*astype", lambda: whole.__setitem__(0, y[0]), whole)
    refused(TypeError, "complex128", lambda: (y * 1).__setitem__(0, y[0] * 1j))
    refused(TypeError, "float64", lambda: whole.__itruediv__(2), whole)
    refused(ValueError, "shape", lambda: y.__iadd__(np.ones((2, 3))))
    refused(ValueError, "broadcast", lambda: y.__setitem__(slice(0, 2), np.ones(3)))
    refused(IndexError, "out of bounds", lambda: y.__setitem__(5, 1.0))
    refused(IndexError, "integers or booleans", lambda: y.__setitem__(np.array([0.5]), 1.0))
    refused(TypeError, "imaginary", lambda: setattr(y, "imag", 1.0))
    single = Tensor(np.ones(3, np.float32))
    single[0] = y[0]
    single += y
    assert single.dtype == np.float32
    assert single.tracked


def test_a_failed_write_leaves_views_alive():
    y = Parameter(np.arange(4.0)) * 1
    half = y[:2]
    with pytest.raises(ValueError, match="broadcast"):
        y[...] = np.ones(3)
    np.testing.assert_array_equal(half.detach().numpy(), [0, 1])
    y[0] = 5.0
    assert half[0].item() == 5


def test_tensors_that_repeat_entries_are_read_only():
    p = Parameter(np.ones(3))
    wide = np.broadcast_to(p * 1, (2, 3))
    with pytest.raises(ValueError, match=r"broadcast_to.*copy"):
        wide[0] = 1.0
    wide = wide.copy()
    wide[0] = 1.0


def test_a_copy_of_a_broadcast_tensor_is_written():
    def f(x):
        wide = np.broadcast_to(x, (2, 3)).copy()
        wide[0] = 5.0
        return np.sum(wide)

    np.testing.assert_array_equal(grad(f)(np.ones(3)), [1, 1, 1])


# Together with the rest ---------------------------------------------------------------------------


def test_higher_orders():
    def f(x):
        y = np.zeros_like(x)
        y[0] = x[0] ** 3
        y[1] = y[0] * x[1]
        y *= x[2]
        return np.sum(y)

    x = rng.standard_normal(3)
    a, b, c = x
    np.testing.assert_allclose(
        hessian(f)(x),
        [
            [6 * a * (1 + b) * c, 3 * a**2 * c, 3 * a**2 * (1 + b)],
            [3 * a**2 * c, 0, a**3],
            [3 * a**2 * (1 + b), a**3, 0],
        ],
        rtol=1e-12,
        atol=1e-12,
    )

    def clipped(x):
        x[x > 1] = 1.0
        return x**3

    derivative = elementwise_grad(elementwise_grad(clipped))
    np.testing.assert_allclose(derivative(np.array([0.5, 2.0])), [3.0, 0.0])


def test_a_step_that_writes_is_replayed():
    weight = Parameter(np.ones(3))
    mean = nn.Buffer(np.zeros(3))

    def step(x):
        y = np.zeros_like(x)
        y[0] = x[0] * weight[1]
        row = y[1:]
        row += x[1:] * weight[:2]
        y[[0, 2]] *= 3.0
        mean[...] = mean * 0.5 + y.detach()
        loss = np.sum(y * y)
        loss.backward()
        return loss

    xs = rng.standard_normal((6, 3))
    eager = []
    for x in xs:
        weight.grad = None
        eager.append((step(Tensor(x)).numpy(), weight.grad.numpy().copy()))
    final = mean.numpy().copy()
    mean.assign(0)
    replayed = replay(step)
    for x, (value, gradient) in zip(xs, eager, strict=True):
        if weight.grad is not None:
            weight.grad[...] = 0
        np.testing.assert_array_equal(replayed(x).numpy(), value)
        np.testing.assert_array_equal(weight.grad.numpy(), gradient)
    assert replayed.recorded == 1
    np.testing.assert_array_equal(mean.numpy(), final)


def test_a_module_may_write_into_its_input():
    class Clipping(nn.Module):
        def updateOutput(self, x):
            x[x < 0] *= 0.1
            return x

    model = nn.Sequential(nn.Linear(3, 4), Clipping(), nn.Linear(4, 2))
    x = rng.standard_normal((5, 3)).astype(np.float32)
    kept, v = x.copy(), np.ones((5, 2), np.float32)
    model.zeroGradParameters()
    output = model.forward(x).numpy().copy()
    gradient = model.backward(x, v).numpy().copy()
    model.modules[1] = nn.LeakyReLU(0.1)
    np.testing.assert_allclose(output, model.forward(x).numpy(), rtol=1e-6)
    np.testing.assert_allclose(gradient, model.backward(x, v).numpy(), rtol=1e-6)
    direct = Clipping()
    direct.forward(x)
    direct.backward(x, np.ones_like(x))
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_allclose(direct.gradInput.numpy(), np.where(x < 0, 0.1, 1), rtol=1e-6)


def test_outputs_of_a_module_can_be_changed_without_harm_to_backward():
    layer = nn.Sigmoid()
    x = rng.standard_normal(4)
    y = layer.forward(x)
    y[0] = 100.0
    s = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(layer.backward(x, np.ones(4)).numpy(), s * (1 - s), rtol=1e-12)


def test_a_failing_forward_takes_back_what_it_wrote_into_buffers():
    class Counting(nn.Module):
        def __init__(self):
            self.calls = nn.Buffer(np.zeros(2))

        def updateOutput(self, x):
            self.calls[0] = 7.0
            self.calls += 1
            return x + np.ones(5)

    counting = Counting()
    with pytest.raises(ValueError, match="broadcast"):
        counting.forward(np.ones(3))
    np.testing.assert_array_equal(counting.calls.numpy(), [0, 0])
    counting.forward(np.ones(5))
    np.testing.assert_array_equal(counting.calls.numpy(), [8, 1])


@pytest.mark.extra
def test_views_of_views_may_be_as_deep_as_anyone_likes():
    x = Parameter(np.zeros((2, 2))) * 1
    view = x
    for _ in range(100_000):
        view = view.T
    view[0, 1] = 3.0
    assert x[0, 1].item() == 3
    del x, view  # without recursion


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("cotangent", ["C", "F"])
def test_a_write_through_a_flat_view_of_turned_memory_has_its_derivative(order, cotangent):
    weights = np.array(np.arange(6.0).reshape(2, 3), order=cotangent)
    flat = (lambda y: y.T.reshape(-1)) if order == "F" else (lambda y: y.reshape(-1))

    def f(x):
        y = x.T * 2 if order == "F" else x * 2
        flat(y)[...] = flat(y) * 3
        return np.sum(y * weights)

    x = np.arange(1.0, 7.0).reshape((3, 2) if order == "F" else (2, 3))
    gradient = grad(f)(x)
    np.testing.assert_array_equal(gradient, 6 * (weights.T if order == "F" else weights))


# Which reshaped arrays are views of x, so that a write into them reaches it, depends on how x lies
# in memory.  A write into x leaves that as it is, in NumPy and here.

LAYOUTS = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "turned": lambda a: a.transpose(1, 0, 2),
    "backwards": lambda a: a[::-1],
    "rows backwards": lambda a: a[:, :, ::-1],
    "every second": lambda a: np.repeat(a, 2, axis=2)[..., ::2],
    "every twentieth": lambda a: np.repeat(a, 20, axis=2)[..., ::20],
    "a part": lambda a: np.concatenate([a, a], axis=1)[:, :3],
    "one row": lambda a: a[:1],
    "none": lambda a: a[:, :0],
}


def _subtract(x, s):
    x -= s


def _subtract_c_order(x, s):
    x -= np.ones(x.shape) * s


def _set_row(x, s):
    x[:1] = s


FIRST_WRITES = {
    "x -= s": _subtract,
    "x -= array": _subtract_c_order,
    "x[:1] = s": _set_row,
    "subtract.at": lambda x, s: np.subtract.at(x, [0] * min(len(x), 2), s),
}
FLAT = {
    "reshape": lambda x: x.reshape(-1),
    "ravel": lambda x: x.ravel(),
    "turned": lambda x: x.transpose(1, 0, 2).reshape(-1),
    "copy": lambda x: x.copy("K").transpose(2, 1, 0).reshape(-1),
}


@pytest.mark.parametrize("held", [False, True], ids=["alone", "held"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_written_tensor_lies_as_the_written_array_does(layout, held):
    def made():
        return LAYOUTS[layout](np.arange(24.0).reshape(2, 3, 4))

    def program(x, s, write, flat):
        write(x, s)
        y = flat(x)
        y[1:2] = 7.0
        return np.sum(x * x) + np.sum(y**3)

    for (write, first), (flat, second) in itertools.product(FIRST_WRITES.items(), FLAT.items()):
        holder = [made()]  # if held, the tape must copy what somebody else has
        x = Tensor(holder[0] if held else holder.pop())
        value, _ = value_and_grad(lambda s: program(x, s, first, second))(1.5)  # noqa: B023  # runs here
        assert value == program(made(), 1.5, first, second), (write, flat)


@pytest.mark.parametrize("read", [np.asarray, np.ma.getdata, lambda x: np.asarray(x)[1:]])
@pytest.mark.parametrize(
    "write",
    [
        lambda x, v: np.sin(v, out=x),
        lambda x, v: x.__setitem__(0, v[0]),
        lambda x, v: x.__iadd__(v),
        lambda x, v: x[1:].__imul__(v[1:]),
    ],
)
def test_a_recorded_write_that_an_array_of_numpy_would_not_show_is_refused(read, write):
    def f(v, kept):
        x = Tensor(np.ones(3))
        array = read(x)
        if not kept:
            del array
        write(x, v)
        return x.sum()

    with pytest.raises(InPlaceError, match=r"NumPy made an array that is still there"):
        grad(f)(np.array([0.5, 1.0, 2.0]), True)
    assert grad(f)(np.array([0.5, 1.0, 2.0]), False).any()


def test_a_value_of_its_time_stays_and_writes_without_a_past_are_shown():
    x = Tensor(np.ones(3))
    array, value = np.asarray(x), x.numpy()
    x[0] = 5.0
    assert array[0] == value[0] == 5
    del array
    v = Parameter(np.array(2.0))
    x[0] = v * 1
    assert value[0] == 5
    assert x.detach().numpy()[0] == 2


def test_memory_that_is_read_only_is_not_written():
    x = np.broadcast_arrays(Tensor(np.ones(1)), np.zeros(3))[0]
    for write in (lambda: x.__setitem__(0, 2.0), lambda: x.__iadd__(1.0)):
        with pytest.raises(ValueError, match=r"read-only, .* a copy of it \(x = x\.copy\(\)\)"):
            write()
    assert x.numpy().tolist() == [1, 1, 1]
