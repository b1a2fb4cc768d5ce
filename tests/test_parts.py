"""Loops over rows, and what NumPy shares and what it copies: views, arguments, threads, steps."""

import asyncio
import random
import threading
import time

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.core.errors import BatchingError, InPlaceError


def slope(f, x, h=1e-6):
    steps = h * np.eye(x.size).reshape(x.size, *x.shape)
    return np.reshape([(float(f(x + s)) - float(f(x - s))) / (2 * h) for s in steps], x.shape)


# Gradients of parts -------------------------------------------------------------------------------


def iterated(x):
    total = 0.0
    for i, row in enumerate(x):
        total = total + (i + 1) * np.sum(np.sin(row))
    return total


def read_and_whole(x):
    y = x * 2
    return np.sum(y[0] * y[1]) + np.sum(np.cos(y)) + np.sum(y[:, 3]) + y[2, 5] * y[-1, -1]


def read_by_arrays(x):
    total = np.sum(x**2)
    for i in range(4):
        total = total + np.sum(x[[i, i, 0]] ** 2) + x[np.array([1, 2]), [i, 3]].sum()
    return total


def filled(x):
    y = np.zeros_like(x)
    y[0] = np.sin(x[0])
    for i in range(1, len(x)):
        y[i] = 0.9 * y[i - 1] * x[i]
        y[i, 2] += x[0, i % 3]
    return np.sum(y * y) + np.sum(y[2])


def overwritten(x):
    y = x * 1
    before = np.sum(y[1] ** 2)
    for i in range(len(x)):
        y[i] = i
    y.T[1] = x[:, 2]
    y[[0, 2], 3] = x[0, :2]
    return before + np.sum(y**2) + np.sum(x)


@pytest.mark.parametrize("f", [iterated, read_and_whole, read_by_arrays, filled, overwritten])
def test_gradients_of_parts_are_right_and_those_of_a_recorded_sweep(f):
    x = np.random.default_rng(0).normal(size=(20, 16))
    gradient = tg.grad(f)(x)
    np.testing.assert_allclose(gradient, slope(f, x), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(gradient, tg.grad(f)(Tensor(x)).numpy())
    p = Parameter(x)
    f(p * 1).backward()
    np.testing.assert_array_equal(p.grad.numpy(), gradient)


def test_cotangents_that_others_hold_are_not_overwritten():
    x = np.random.default_rng(0).normal(size=(20, 16))

    def g(x):
        y = x * 1
        z = y + 0
        z[0] = 1.0
        return z

    seed = np.ones((20, 16))
    _, pull = tg.vjp(g, x)
    first, second = pull(seed), pull(seed)
    np.testing.assert_array_equal(seed, 1)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[0], 0)


def seconds(f, *args):
    f(*args)
    best = 1e9
    for _ in range(2):
        start = time.process_time()
        f(*args)
        best = min(best, time.process_time() - start)
    return best


def read_cells(x):
    total = 0.0
    for i in range(len(x)):
        total = total + x[i, 0] * x[i, 1]
    return total


def unstacked(x):
    return sum(np.sum(row) for row in np.unstack(x))


@pytest.mark.extra
@pytest.mark.parametrize("f", [iterated, unstacked, read_cells, filled])
def test_loops_over_rows_take_linear_time(f):
    short, long = np.ones((150, 2000)), np.ones((1200, 2000))
    few, many = seconds(tg.grad(f), short), seconds(tg.grad(f), long)
    assert many < 24 * few  # 8 times the rows; a quadratic loop takes 64 times as long


# Views and copies ---------------------------------------------------------------------------------

X, K = np.array([0.7, 1.9, 0.4, -1.2]), np.arange(1.0, 5)


def plus(x):
    y = x * 1
    z = +y
    z[0] = 5.0
    return np.sum(np.sin(y) * K)


def resized(x):
    y = x * 1
    z = np.resize(y, (2, 2))
    z[0, 0] = 5.0
    return np.sum(np.sin(y) * K)


def nan_in_place(x):
    y = np.where([1, 0, 1, 1], x, np.nan)
    z = np.nan_to_num(y, copy=False, nan=2.0)
    z[3] = x[0]
    return np.sum(np.sin(y) * K)


def ravel_of_steps(x):
    y = x * 1
    y[3] = 2 * x[3]
    z = y[::2].ravel()
    z[0] = 5.0
    w = np.ravel(y[:1])
    w[0] = x[1]
    return np.sum(np.sin(y) * K)


def ravel_of_few(x):
    y = np.ones(16) * x[0]
    y[3] = x[1]
    z = y[::4].ravel()
    z += 1
    return np.sum(np.sin(y))


def ravel_reversed(x):
    y = x * 1
    z = y[::-1].ravel()
    z += 1
    return np.sum(np.sin(y) * K)


def diagonal_by_einsum(x):
    y = np.ones((3, 4)) * x
    np.einsum("ii->i", y[:, :3])[...] = 7.0 * x[0]
    np.einsum("ij->ji", y)[3] = x[1]
    return np.sum(np.sin(y) * K)


def turned_by_360_degrees(x):
    y = np.ones((4, 4)) * x
    np.rot90(y, 4)[0, 0] = 5.0
    np.rot90(y, 2)[0, 0] = x[1]
    return np.sum(np.sin(y) * K)


def checkpointed(body, *args):
    return tg.checkpoint(body)(*args) if isinstance(args[0], Tensor) else body(*args)


def written_argument(x):
    y = x * 1

    def body(a):
        a[0] = 3.0
        a[1] *= a[2]
        return np.sum(a**2)

    return checkpointed(body, y) * x[1] + np.sum(y * K)


def returned_argument(x):
    y = x * 1
    z = checkpointed(lambda a: (a[1:], np.sin(a)), y)
    z[0][0] = x[3]
    return np.sum(y * K) + np.sum(z[1])


@pytest.mark.parametrize(
    "f",
    [plus, resized, nan_in_place, ravel_of_steps, ravel_of_few, ravel_reversed, diagonal_by_einsum,
     turned_by_360_degrees, written_argument, returned_argument],
)  # fmt: skip
def test_writes_show_where_numpy_shows_them(f):
    value, gradient = tg.value_and_grad(f)(X)
    assert float(value) == pytest.approx(float(f(X)))
    np.testing.assert_allclose(gradient, slope(f, X), rtol=1e-5, atol=1e-7)


def test_a_checkpoint_refuses_tracked_values_in_an_untracked_argument():
    p, y = Parameter(np.ones(3)), Tensor(np.zeros(3))

    def body(a):
        a[...] = p * 2
        return np.sum(a)

    with pytest.raises(InPlaceError, match="Write into a copy"):
        tg.checkpoint(body)(y)


# Random numbers in a batch ------------------------------------------------------------------------

GENERATOR = np.random.default_rng(0)


class Noisy:
    def __init__(self):
        self.rng = np.random.RandomState(0)

    def __call__(self, x):
        return x + self.rng.normal()


@pytest.mark.parametrize(
    ("fn", "named"),
    [
        (lambda x: x * np.random.normal(), "NumPy's global"),  # noqa: NPY002  # users write it
        (lambda x: x * random.random(), "Python's"),
        (lambda x: x * GENERATOR.normal(), "PCG64"),
        (lambda x, rng=GENERATOR: x + rng.uniform(), "PCG64"),
        (Noisy(), "MT19937"),
    ],
)
def test_draws_that_all_samples_would_share_are_refused(fn, named):
    with pytest.raises(BatchingError, match=named):
        tg.vmap(fn)(np.ones((3, 2)))


def test_draws_outside_and_of_tapegrad_are_allowed():
    generator = tg.devices.Generator(seed=0)

    def noisy(x, e):
        return x + e + tg.ops.normal(generator=generator, shape=(2,), dtype=np.float64)

    y = tg.vmap(noisy)(np.zeros((3, 2)), np.random.default_rng(0).normal(size=3))
    assert len(np.unique(y)) == 6


# Contexts as decorators ---------------------------------------------------------------------------

P = Parameter(np.ones(2))


def test_no_grad_holds_in_each_step_of_a_generator_and_not_between():
    @tg.no_grad()
    def steps():
        sent = yield P * 2
        try:
            yield sent, P * 3
        except ValueError:
            yield "caught", P * 4
        return 7

    run = steps()
    assert not next(run).tracked
    assert (P * 1).tracked
    assert run.send("sent")[0] == "sent"
    assert not run.throw(ValueError())[1].tracked
    with pytest.raises(StopIteration) as end:
        next(run)
    assert end.value.value == 7


def test_no_grad_and_enable_grad_hold_in_coroutines():
    @tg.no_grad()
    async def quiet():
        before = (P * 2).tracked
        await asyncio.sleep(0)
        return before, (P * 2).tracked, await loud()

    @tg.enable_grad()
    async def loud():
        return (P * 2).tracked

    assert asyncio.run(quiet()) == (False, False, True)


def test_detect_anomaly_holds_in_a_generator():
    @tg.detect_anomaly()
    def steps():
        yield np.log(P * 0)

    with pytest.raises(tg.AnomalyError):
        next(steps())


def test_an_asynchronous_generator_is_refused():
    async def steps():
        yield P

    with pytest.raises(TypeError, match="write the `with` statement inside"):
        tg.no_grad()(steps)


def test_a_function_decorated_before_a_recording_is_seen_by_it():
    @tg.no_grad()
    def scaled(x):
        return x * 3

    replayed = tg.replay(lambda x: scaled(x) + 0 * x)
    for value in (1.0, 2.0, 3.0, 4.0):
        assert replayed(Tensor(np.array([value]))).numpy() == 3 * value


# Threads ------------------------------------------------------------------------------------------


def test_threads_that_add_to_one_gradient_lose_nothing():
    p, x = Parameter(np.zeros(200_000)), np.ones(200_000)

    def work():
        for _ in range(10):
            (p * x).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(p.grad.numpy(), 40)
