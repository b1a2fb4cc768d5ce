"""Compiled steps: equal bits without fusion, stated bounds with it, the guards of replay."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
from compiled_steps import RNG, bound_program, calls, kernels, single, start_again, third_call

from tapegrad import compile, devices, grad, hvp, nn, no_grad, optim, replay
from tapegrad.autograd import Parameter, ReplayError, Tensor, ops, value_and_grad
from tapegrad.autograd.compiling import bound, buffers
from tapegrad.autograd.compiling.buffers import ALIGNMENT, Lifetime, plan_buffers
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.specialize import public_function
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.kernels import machine
from tapegrad.nn import Buffer

# Training steps -----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def the_same_weights_in_every_run():
    """Tests come in another order on each processor."""
    devices.manual_seed(0)
    start_again()


def network():
    devices.manual_seed(5)
    return nn.Sequential(
        nn.SpatialConvolution(1, 4, 3, 3),
        nn.SpatialBatchNormalization(4),
        nn.ReLU(),
        nn.SpatialMaxPooling(2, 2),
        nn.Dropout(0.3),
        nn.View(36),
        nn.Linear(36, 12),
        nn.LayerNorm(12),
        nn.GELU(),
        nn.Linear(12, 3),
    )


def training(wrap, rule):
    model = network()
    optimizer = rule(model, lr=0.01)
    criterion = nn.CrossEntropyCriterion()

    def body(x, t):
        optimizer.zero_grad()
        loss = criterion(model(x), t)
        loss.backward()
        optimizer.step()
        return loss

    step = wrap(body)
    rng = np.random.default_rng(3)
    losses = []
    for _ in range(7):
        x = rng.normal(size=(6, 1, 8, 8)).astype(np.float32)
        losses.append(step(x, rng.integers(0, 3, 6)).numpy())
    return losses, model.state_dict(), step


@pytest.mark.parametrize("rule", [optim.SGD, optim.Adam])
def test_without_fusion_a_training_step_has_the_bits_of_ordinary_calls(rule):
    losses, state, _ = training(lambda body: body, rule)
    found, found_state, step = training(lambda body: compile(body, fuse=False), rule)
    assert step.recorded == 1
    assert [a.tobytes() for a in found] == [a.tobytes() for a in losses]
    assert {k: v.tobytes() for k, v in found_state.items()} == {
        k: v.tobytes() for k, v in state.items()
    }


def test_a_fused_training_step_is_close_to_the_ordinary_one():
    # Not by Adam, which makes steps of full length from gradients that are nothing but rounding.
    losses, state, _ = training(lambda body: body, optim.SGD)
    found, found_state, step = training(compile, optim.SGD)
    assert kernels(step) > 3
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    for name, value in state.items():
        np.testing.assert_allclose(found_state[name], value, rtol=2e-4, atol=2e-5)


def test_what_a_step_returns_is_new_in_each_call():
    step = compile(lambda x: (np.exp(x) * 2.0, (np.exp(x) * 2.0).reshape(-1)))
    x = single(3, 4)
    first, flat = third_call(step, x)
    kept = first.numpy().copy()
    second, _ = step(-x)
    np.testing.assert_array_equal(first.numpy(), kept)
    np.testing.assert_array_equal(flat.numpy(), kept.reshape(-1))
    assert not np.array_equal(second.numpy(), kept)


def test_after_the_first_run_no_intermediate_array_is_made(monkeypatch):
    w = Parameter(single(5, 5))

    def body(x):
        return np.sum(np.tanh(np.tanh(x @ w) @ w))

    step = compile(value_and_grad(body), fuse=False)
    x = single(4, 5)
    third_call(step, x)
    made = []
    found = bound_program(step)
    values = dict(enumerate(found.groups))
    assert values
    monkeypatch.setattr(np, "empty", lambda *a, **k: made.append(a))
    step(x)
    assert made == []
    writing = {e.primitive.name for g in found.groups for e in g.entries} - {"broadcast_to"}
    assert "matmul" in writing
    assert found.nbytes < found.unplanned  # memory is used again


def test_parameters_moved_settings_changed_and_other_shapes_are_recorded_anew():
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Tanh())
    step = compile(model)
    x = single(2, 3)
    third_call(step, x)
    model.evaluate()
    for _ in range(3):
        np.testing.assert_allclose(step(x).numpy(), model(x).numpy(), rtol=1e-6)
    model[0].weight.data[...] *= 2  # in place: read where it is
    np.testing.assert_allclose(step(x).numpy(), model(x).numpy(), rtol=1e-6)
    wide = single(7, 3)
    for _ in range(3):
        np.testing.assert_allclose(step(wide).numpy(), model(wide).numpy(), rtol=1e-6)
    assert step.recorded == 3


def test_an_argument_that_lies_otherwise_in_memory_is_another_variant():
    step = compile(lambda x: np.exp(x) * 2.0 + x)
    x = single(4, 6)
    expected = np.exp(x) * 2 + x
    third_call(step, x)
    backwards, columns = np.flip(x), np.asfortranarray(x)
    spaced = np.repeat(x, 2, axis=1)[:, ::2]
    shifted = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(4, 6)
    assert not shifted.flags.aligned
    for _ in range(3):
        np.testing.assert_allclose(step(backwards).numpy(), np.flip(expected), rtol=1e-6)
        for other in (columns, spaced, shifted):
            np.testing.assert_allclose(step(other).numpy(), expected, rtol=1e-6)


def test_one_array_passed_twice_is_not_two_arrays():
    def body(x, y):
        ops.assign(x, y * 2.0 + 1.0)
        return x + y

    step = compile(body)
    for turn in range(4):
        x, y = single(5), single(5)
        expected = (y * np.float32(2) + 1) + y
        np.testing.assert_array_equal(step(x, y).numpy(), expected)
        z = single(5)
        both = z * np.float32(2) + 1
        np.testing.assert_array_equal(step(z, z).numpy(), both + both, err_msg=str(turn))


def test_errors_are_those_of_replay_and_name_the_line():
    with pytest.raises(ReplayError, match=r"test_compiled.py:\d+: the step .*float"):
        compile(lambda x: float(np.sum(x)))(single(3))


def test_an_error_in_a_later_call_leaves_the_step_usable():
    criterion = nn.CrossEntropyCriterion()
    step = compile(criterion)
    x, t = single(4, 3), np.array([0, 1, 2, 0])
    expected = third_call(step, x, t).numpy()
    with pytest.raises(ValueError, match="class"):
        step(x, np.array([0, 1, 9, 0]))
    np.testing.assert_array_equal(step(x, t).numpy(), expected)


def test_threads_that_call_one_step_at_a_time_do_not_disturb_each_other():
    step = compile(lambda x: np.exp(np.tanh(x) * 2.0) @ np.ones((50, 50), np.float32))
    points = [single(40, 50) for _ in range(4)]
    third_call(step, points[0])
    expected = [step(x).numpy() for x in points]
    wrong = []

    def work(index):
        for _ in range(50):
            found = step(points[index]).numpy()
            if not np.allclose(found, expected[index], rtol=1e-5):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_memory_that_kernels_write_to_lives_as_long_as_they(monkeypatch):
    made = []

    def remember(nbytes):
        memory = buffers.aligned_bytes(nbytes)
        made.append((nbytes, weakref.ref(memory.base)))
        return memory

    monkeypatch.setattr(bound, "aligned_bytes", remember)
    w = np.eye(40, dtype=np.float32)

    def body(x):
        c = np.tanh(x - np.mean(x, -1, keepdims=True))  # waits for the sum of its squares
        return (c / np.sum(c * c, -1, keepdims=True)) @ w * 2.0

    step = compile(body)
    third_call(step, single(6, 40))
    gc.collect()
    needed = [memory for nbytes, memory in made if nbytes]
    assert len(needed) == (2 if machine.is_available() else 1)  # of values, and of kernels
    assert all(memory() is not None for memory in needed)


# Order and memory ---------------------------------------------------------------------------------


def test_writes_into_state_keep_their_place_among_reads():
    state = nn.Buffer(np.zeros(6, np.float32))

    def body(x):
        before = state * 2.0 + 1.0
        state.assign(x * 3.0)
        after = state * 2.0 + 1.0
        state.assign(after - before)
        return before + 0.0, after * 1.0, state * 1.0

    results = []
    for wrap in (lambda f: f, compile):
        state.assign(np.zeros(6, np.float32))
        step = wrap(body)
        rng = np.random.default_rng(1)
        found = []
        for _ in range(5):
            x = rng.normal(size=6).astype(np.float32)
            found += [y.numpy().tobytes() for y in step(x)]
        results.append(found)
    assert results[0] == results[1]


def test_writes_into_views_inside_a_step_keep_their_place():
    def body(x):
        y = x * 2.0
        row = y[0]
        total = np.sum(y * 1.0) + 1.0
        with no_grad():
            row[...] = 5.0
        return total, np.sum(y * 1.0) + 1.0, y

    step = compile(body)
    for _ in range(4):
        x = single(3, 4)
        before, after, y = step(x)
        expected = x * np.float32(2)
        np.testing.assert_allclose(before.numpy(), expected.sum() + 1, rtol=1e-5)
        expected[0] = 5
        np.testing.assert_allclose(after.numpy(), expected.sum() + 1, rtol=1e-5)
        np.testing.assert_array_equal(y.numpy(), expected)


def test_places_in_memory_do_not_overlap_while_they_live():
    lives = {}
    for key in range(300):
        first = int(RNG.integers(0, 200))
        lives[key] = Lifetime(int(RNG.integers(0, 5000)), first, first + int(RNG.integers(0, 30)))
    offsets, total = plan_buffers(lives)
    for a, one in lives.items():
        assert offsets[a] % ALIGNMENT == 0
        assert offsets[a] + one.nbytes <= total
        for b, other in lives.items():
            if a < b and one.first <= other.last and other.first <= one.last:
                apart = offsets[a] + one.nbytes <= offsets[b]
                assert apart or offsets[b] + other.nbytes <= offsets[a]
    assert total < sum(life.nbytes for life in lives.values()) / 2


# Passes -------------------------------------------------------------------------------------------


def test_equal_and_unused_entries_run_once_and_never():
    def body(x):
        np.exp(x) * 7.0  # unused
        return np.sum(np.log1p(x * x)) + np.sum(np.log1p(x * x))

    step = compile(body)
    x = single(9)
    y = third_call(step, x)
    np.testing.assert_allclose(y.numpy(), 2 * np.log1p(x * x).sum(), rtol=1e-6)
    names = [e.primitive.name for g in bound_program(step).groups for e in g.entries]
    assert sorted(names) == ["add", "log1p", "multiply", "sum"]


def test_products_that_are_equal_or_unused_run_once_and_never():
    X, y, v = single(30, 4), single(30), single(4)

    def loss(w):
        return np.mean(np.logaddexp(0, -y * (X @ w)))

    step = compile(lambda w: hvp(loss, (w,), (v,)))
    w = single(4)
    found = third_call(step, w)
    np.testing.assert_allclose(found, hvp(loss, (w,), (v,)), rtol=1e-5, atol=1e-7)
    names = [e.primitive.name for g in bound_program(step).groups for e in g.entries]
    assert names.count("matmul") == 3  # of the gradient, only its derivative is wanted

    def body(a, b):
        turned = b.T
        twice = np.einsum("ij,kj->ik", a, b) + np.einsum("ij,kj->ik", a, b)
        return twice, (a @ turned) * (a @ turned)

    step = compile(body)
    a, b = single(5, 3), single(4, 3)
    for one, other in zip(third_call(step, a, b), body(a, b), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    names = [e.primitive.name for g in bound_program(step).groups for e in g.entries]
    assert names.count("contract") == names.count("matmul") == 1


def test_a_users_product_stays_though_nobody_reads_it():
    calls = []

    def matmul(xp, x):
        calls.append(1)
        return xp.cumsum(x)

    own = Primitive(matmul, differentiable=False)
    product = public_function(own, own.body)
    step = compile(lambda x: (product(x), x + 1)[1])
    x = single(3)
    third_call(step, x)
    before = len(calls)
    step(x)
    assert len(calls) == before + 1


def test_equal_entries_with_a_write_between_them_stay_two():
    state = nn.Buffer(np.ones(4, np.float32))

    def body(x):
        first = state + 1.0
        state.assign(x)
        return first * 2.0, (state + 1.0) * 2.0

    step = compile(body)
    for _ in range(4):
        before, x = state.numpy().copy(), single(4)
        first, second = step(x)
        np.testing.assert_array_equal(first.numpy(), (before + 1) * 2)
        np.testing.assert_array_equal(second.numpy(), (x + 1) * 2)


def test_views_of_one_of_two_equal_values_keep_its_memory_alive():
    def body(x):
        first = np.tanh(x * 2.0)
        second = np.tanh(x * 2.0)
        turned = second.T
        other = np.abs(first) + 1.0
        for _ in range(4):
            other = np.sqrt(other) * 2.0
        return turned * 1.0 + other.T

    step = compile(body, fuse=False)
    x = single(7, 5)
    np.testing.assert_array_equal(third_call(step, x).numpy(), body(x))


def test_a_constant_is_computed_once():
    def body(x):
        return x * (np.float32(2) * ops.exp(np.zeros((1, 3), np.float32)))

    step = compile(body)
    x = single(2, 3)
    np.testing.assert_array_equal(third_call(step, x).numpy(), x * 2)
    names = [e.primitive.name for g in bound_program(step).groups for e in g.entries]
    assert names == ["multiply"]


def test_gradients_are_written_first_and_not_zeroed():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    flat, gradient = model.getParameters()
    assert flat.size == gradient.size

    def body(x):
        model.zeroGradParameters()
        np.sum(model(x)).backward()
        return np.sum(gradient) * 1.0

    step = compile(body)
    x = single(5, 3)
    third_call(step, x)
    assert calls(step).count("start_sum") == 2
    assert len(bound_program(step).placed) == 2  # two are computed where they belong
    assert "assign" not in calls(step)
    gradient.data[...] = 77
    found = step(x).numpy()
    ordinary = gradient.numpy().copy()
    expected = body(x).numpy()
    np.testing.assert_allclose(ordinary, gradient.numpy(), rtol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_an_argument_in_the_memory_of_the_gradients_sees_the_zeros():
    w = Parameter(single(4))
    w.grad = np.zeros(4, np.float32)

    def body(x):
        ops.assign(w.grad, 0)
        np.sum(w * (x + 1.0)).backward()
        return w.grad * 1.0

    step = compile(body)
    third_call(step, single(4))
    assert "start_sum" in calls(step)
    w.grad.data[...] = 3
    np.testing.assert_array_equal(step(w.grad.data).numpy(), np.ones(4))


def test_what_a_step_adds_twice_or_reads_before_is_zeroed_as_before():
    w = Parameter(single(4))
    w.grad = np.zeros(4, np.float32)

    def body(x):
        ops.assign(w.grad, 0)
        seen = np.sum(w.grad + 1.0)
        np.sum(w * x).backward()
        np.sum(w * x).backward()
        return seen, w.grad * 1.0

    step = compile(body)
    x = single(4)
    third_call(step, x)
    assert "start_sum" not in calls(step)
    w.grad.data[...] = 3
    seen, gradient = step(x)
    assert seen.numpy() == 4
    np.testing.assert_array_equal(gradient.numpy(), x + x)


def test_the_passes_give_the_same_results():
    x = single(6, 5)

    def body(x):
        return value_and_grad(lambda x: np.mean(np.logaddexp(0, -x) * np.tanh(x) ** 2))(x)

    results = []
    for rewrites in ((), None):
        with pytest.MonkeyPatch.context() as patch:
            if rewrites is not None:
                patch.setattr("tapegrad.autograd.compiling.compiled.PASSES", rewrites)
            step = compile(body, fuse=False)
            results.append([y.numpy().tobytes() for y in leaves(third_call(step, x))])
    assert results[0] == results[1]


def test_what_is_dropped_as_a_variant_is_freed():
    factor = [1.0]
    step = compile(lambda x: np.exp(x * factor[0]) + 1.0)
    x = single(4)
    for number in range(12):
        factor[0] = float(number)
        third_call_of_many(step, x)
    assert step.recorded == len(step.explain().split("\n\nruns")) - 1 == 8


def third_call_of_many(step, x):
    for _ in range(3):
        step(x)


# What it says -------------------------------------------------------------------------------------


def test_explain_says_what_runs_and_what_kept_an_entry_out_of_a_kernel():
    w = single(3, 3)
    step = compile(lambda x: np.sort(np.exp(x * 2.0) @ w + 1.0))
    assert step.explain().startswith("<lambda> has not been recorded yet")
    third_call(step, single(4, 3))
    text = step.explain()
    assert "test_compiled.py" in text
    assert "matmul: its body calls matmul, which is not elementwise" in text
    assert "sort: " in text
    if machine.is_available():
        assert "4 × 3" in text
        assert "multiply, exp" in text


def test_an_array_of_another_kind_is_run_one_by_one_and_said():
    step = compile(lambda x: np.exp(x) * 2.0)
    unaligned = np.frombuffer(b"\0" + single(4).tobytes(), np.uint8)[1:].view(np.float32)
    third_call(step, unaligned)
    assert "run one by one" in step.explain()


# Results whose shape depends on values ------------------------------------------------------------


def picked(x):
    return np.sum(np.tanh(x[x > 0]) * 2 + 1)


def positions(x):
    return np.sum(np.exp(-x[np.nonzero(x > 0)[0]]) + 1.0)


def through_a_mask(x, m):
    chosen = x[m]
    return np.tanh(chosen - np.mean(chosen)) * 2 + np.sum(x)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("body", [picked, positions])
def test_a_mask_may_pick_another_number_of_entries(body, fuse):
    step = compile(body, fuse=fuse)
    third_call(step, np.ones(1000, np.float32))
    for count in (3, 1, 0, 999, 1000):
        x = np.where(np.arange(1000) < count, 1, -1).astype(np.float32)
        np.testing.assert_allclose(step(x).numpy(), body(x), rtol=1e-5)


@pytest.mark.parametrize("fuse", [True, False])
def test_one_picked_entry_is_not_stretched(fuse):
    step, x = compile(through_a_mask, fuse=fuse), np.arange(6, dtype=np.float32)
    third_call(step, x, x > 2)
    for mask in (x > 4, x > 0, x > 2):
        found, expected = step(x, mask).numpy(), through_a_mask(x, mask)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("fuse", [True, False])
def test_what_follows_another_number_of_entries_is_done_once(fuse):
    total = Buffer(np.zeros(4, np.float32))

    def body(x):
        chosen = x[x > 0]
        total.assign(total + np.sum(chosen))
        return np.tanh(chosen) + 1, np.sum(total * 2)

    step = compile(body, fuse=fuse)
    inputs = [single(50) - shift for shift in (0.0, 0.0, 0.0, 1.0, 3.0, 0.5)]
    wanted = np.zeros(4, np.float32)
    for x in inputs:
        picks, doubled = step(x)
        wanted += np.sum(x[x > 0])
        np.testing.assert_allclose(total.numpy(), wanted, rtol=1e-4)
        np.testing.assert_allclose(doubled.numpy(), 2 * wanted.sum(), rtol=1e-4)
        np.testing.assert_allclose(picks.numpy(), np.tanh(x[x > 0]) + 1, rtol=1e-5)


# Derivatives are taken within a step --------------------------------------------------------------


@pytest.mark.parametrize("wrap", [compile, replay])
def test_a_tracked_argument_is_refused_in_every_call(wrap):
    step = wrap(lambda x: np.tanh(x) * x)
    x = np.array([0.5, 1.0])
    for _ in range(4):
        with pytest.raises(ReplayError, match=r"argument 0 is tracked.*value_and_grad"):
            grad(lambda x: np.sum(step(x) * x))(x)
        with pytest.raises(ReplayError, match=r"argument 0 is tracked"):
            step(Parameter(x))
        with no_grad():
            assert np.allclose(step(Parameter(x)).numpy(), np.tanh(x) * x)
        step(x)


@pytest.mark.parametrize("wrap", [compile, replay])
def test_what_a_step_returns_has_no_past_from_the_first_call_on(wrap):
    model = nn.Linear(3, 2)
    step = wrap(model)
    for _ in range(4):
        assert not step(np.ones((4, 3), np.float32)).tracked


@pytest.mark.parametrize("wrap", [compile, replay])
def test_an_array_that_a_step_makes_is_new_in_each_call(wrap):
    def body(x):
        made = Tensor(np.arange(3.0))
        return x + made, made, made[1:], made * 2

    step = wrap(body)
    for _ in range(5):
        found = step(np.ones(3))
        for part, expected in zip(found, body(np.ones(3)), strict=True):
            np.testing.assert_array_equal(part.numpy(), expected.numpy())
        for part in found[1:]:
            part.numpy()[...] = 100


@pytest.mark.parametrize("wrap", [compile, replay])
def test_threads_may_make_the_first_calls(wrap):
    def body(x):
        return np.tanh(x) * 2 + np.sum(x)

    for _ in range(10):
        step, barrier, errors = wrap(body), threading.Barrier(6), []

        def run(step=step, barrier=barrier, errors=errors):
            barrier.wait()
            try:
                for i in range(6):
                    x = np.arange(4.0) + i
                    np.testing.assert_allclose(step(x).numpy(), body(x))
            except Exception as error:  # noqa: BLE001  # shown below
                errors.append(error)

        threads = [threading.Thread(target=run) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors


class Settings:
    def __init__(self):
        self.rate, self.rates = 1.0, [1.0]


@pytest.mark.parametrize("wrap", [compile, replay])
def test_what_an_argument_holds_is_seen_when_it_changes(wrap):
    step, settings = wrap(lambda x, s: x * s.rate * s.rates[0]), Settings()
    third_call(step, np.ones(2), settings)
    settings.rate = 5.0
    assert step(np.ones(2), settings).numpy().tolist() == [5, 5]
    settings.rates[0] = 2.0
    assert step(np.ones(2), settings).numpy().tolist() == [10, 10]
