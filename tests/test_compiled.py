"""Compiled steps: equal bits without fusion, stated bounds with it, the guards of replay."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from tapegrad import compile, devices, nn, no_grad, optim
from tapegrad.autograd import Parameter, ReplayError, Tensor, ops, value_and_grad
from tapegrad.autograd.compiling import bound, buffers, machine
from tapegrad.autograd.compiling.buffers import ALIGNMENT, Lifetime, plan_buffers
from tapegrad.autograd.compiling.functions import FUNCTIONS
from tapegrad.autograd.compiling.kernel_text import KernelText
from tapegrad.autograd.compiling.scalar_code import EXACT
from tapegrad.autograd.core.tree import leaves

RNG = np.random.default_rng(0)
SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3e38, 1e-38]


def single(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def third_call(step, *args):
    """The result of the first call that runs compiled."""
    for _ in range(2):
        step(*args)
    assert step.recorded == 1
    return step(*args)


def bound_program(step):
    [(_, _, found)] = step._bound
    assert not isinstance(found, str)
    return found


def kernels(step):
    return len(bound_program(step).kernels)


def calls(step):
    """What runs by its own body, by the name of the primitive."""
    found = bound_program(step)
    return [
        g.entries[0].primitive.name
        for i, g in enumerate(found.groups)
        if i not in found.kernels and i not in found.views
    ]


# Training steps -----------------------------------------------------------------------------------


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
        c = x - np.mean(x, -1, keepdims=True)  # waits for the sum of its squares
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
    assert calls(step).count("start_sum") == 4
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


# Kernels ------------------------------------------------------------------------------------------

needs_llvm = pytest.mark.skipif(not machine.is_available(), reason="needs llvmlite")


def floats(dtype, count):
    """Numbers spread over all bit patterns of a dtype, and special ones."""
    bits = np.dtype(f"u{np.dtype(dtype).itemsize}")
    top = int(np.iinfo(bits).max)
    spread = np.array([i * (top // count) + i % 997 for i in range(count)], bits).view(dtype)
    return np.concatenate([spread, np.array(SPECIAL, dtype)])


def in_kernel(function, *args):
    """A function of arrays, computed in a kernel."""
    step = compile(lambda *x: function(*[a * 1.0 for a in x]))
    with np.errstate(all="ignore"):
        y = third_call(step, *args)
    assert kernels(step) == 1
    assert calls(step) == []
    return y.numpy()


@needs_llvm
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(n for n in EXACT if hasattr(np, n) and n != "where"))
def test_exact_code_has_the_bits_of_numpy(name, dtype):
    function = getattr(np, name)
    x = floats(dtype, 2000)
    args = [x, RNG.permutation(x)][: function.nin]
    with np.errstate(all="ignore"):
        expected = function(*args)
    found = in_kernel(function, *args)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    if name not in {"maximum", "minimum"} and expected.dtype.kind == "f":
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found)[number], np.signbit(expected)[number])


def units(found, exact):
    """The distance from the exact value in units of the last place of float32."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        unit = np.spacing(np.maximum(np.abs(rounded), np.float32(2.0**-126))).astype(np.float64)
        distance = np.abs(found.astype(np.float64) - exact) / unit
    same = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
    return np.where(same, 0, np.where(np.isnan(distance), np.inf, distance))


@needs_llvm
@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"logaddexp"}))
def test_functions_are_within_their_bound_of_float64(name):
    must_be_within_bound(name, floats(np.float32, 20_000))


def must_be_within_bound(name, x):
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype(np.float64))
    found = in_kernel(getattr(np, name), x)
    assert found.dtype == np.float32
    worst = np.argmax(units(found, exact))
    assert units(found, exact)[worst] <= 0.55, (x[worst], found[worst], exact[worst])
    zero = found == 0
    np.testing.assert_array_equal(np.signbit(found)[zero], np.signbit(exact)[zero])


@pytest.mark.extra
@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"logaddexp"}))
def test_functions_are_within_their_bound_at_four_million_points(name):
    must_be_within_bound(name, floats(np.float32, 4_000_000))


@needs_llvm
def test_logaddexp_is_within_a_unit_of_its_operands_or_result():
    x = np.concatenate([floats(np.float32, 5000), single(5000) * 20])
    with np.errstate(all="ignore"):
        y = np.where(RNG.random(x.size) < 0.3, RNG.permutation(x), x + single(x.size) * 30)
        y = y.astype(np.float32)
        exact = np.logaddexp(x.astype(np.float64), y.astype(np.float64))
        found = in_kernel(np.logaddexp, x, y)
        size = np.maximum(np.maximum(np.abs(x), np.abs(y)), np.abs(exact)).astype(np.float32)
        near = np.abs(found - exact) <= np.spacing(np.where(np.isfinite(size), size, 1))
        rounded = exact.astype(np.float32)
    assert (near | (found == rounded) | (np.isnan(found) & np.isnan(rounded))).all()


@needs_llvm
def test_a_cancellation_that_is_exact_stays_exact():
    x = single(1000)
    y = in_kernel(lambda x: np.sqrt(x * x - x * x) + ((x + 1e7) - 1e7), x)
    np.testing.assert_array_equal(y, (x + np.float32(1e7)) - np.float32(1e7))


SHAPES = [(1, 1), (3, 1), (1, 5), (4, 15), (4, 16), (5, 17), (3, 33), (2, 3, 40), (7,), (100,), ()]


@needs_llvm
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_extrema_and_broadcasts_in_kernels(shape, dtype):
    def body(x, row, col, one):
        m = np.max(x * 1.0, -1, keepdims=True) if x.ndim else x * 1.0
        low = np.min(x * 1.0, -1, keepdims=True) if x.ndim else x * 1.0
        z = (x - m) * row + col * one + low
        mean = np.mean(z, -1, keepdims=True) if x.ndim else z
        c = z - mean
        columns = np.sum(c * z, tuple(range(x.ndim - 1))) if x.ndim > 1 else c * 1.0
        return c * (c > 0), mean, columns, np.sum(c * c) / 2.0 + one, np.where(c > z, c, -z)

    def array(*shape):
        return RNG.normal(size=shape).astype(dtype)

    row = array(*shape[:-1], 1) if shape else array()
    args = (array(*shape), row, array(*shape[-1:]), array())
    step = compile(body)
    third_call(step, *args)
    args = (array(*shape), row, array(*shape[-1:]), array())
    found, expected = step(*args), body(*map(Tensor, args))
    assert kernels(step) >= 1
    for f, e in zip(found, expected, strict=True):
        assert f.dtype == e.dtype
        assert f.shape == e.shape
        size = np.max(np.abs(e.numpy()), initial=1.0) * max(np.prod(shape, dtype=int), 1)
        np.testing.assert_allclose(f.numpy(), e.numpy(), atol=size * np.finfo(dtype).eps)


@needs_llvm
def test_nan_and_infinity_go_through_sums_and_extrema():
    def body(x):
        return np.max(x * 1.0, 1), np.min(x * 1.0, 1), np.sum(x * 1.0, 1), np.sum(x * 1.0, 0)

    x = single(6, 40)
    x[1, 20], x[2, 39], x[3, 0], x[4, 3], x[4, 5] = np.nan, np.inf, -np.inf, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        found, expected = third_call(compile(body), x), body(x)
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f.numpy(), e, rtol=1e-5, atol=1e-5)


@needs_llvm
def test_a_float32_sum_is_as_good_as_one_in_float64():
    x = RNG.random((3, 100_000), np.float32)
    y = third_call(compile(lambda x: np.sum(x * 1.0, 1)), x).numpy()
    np.testing.assert_array_equal(y, x.sum(1, dtype=np.float64).astype(np.float32))


@needs_llvm
def test_a_square_matrix_confuses_no_rows_with_columns():
    def body(x):
        rows, columns = np.sum(x, 1), np.sum(x, 0)
        return rows * 2.0 + rows, x - rows, x - rows[:, None], columns * rows, x + columns

    x = single(17, 17)
    for f, e in zip(third_call(compile(body), x), body(x), strict=True):
        np.testing.assert_allclose(f.numpy(), e, rtol=1e-4, atol=1e-4)


@needs_llvm
def test_a_sum_over_all_rows_that_is_stretched_again_stays_a_number_for_all():
    def body(x):
        total = np.sum(np.tanh(x), 0) * 2.0
        wide = np.broadcast_to(total, (1, 17, 2))
        return wide * wide, np.broadcast_to(np.sum(x * x), (3, 4)) + 1.0

    x = single(17, 1)
    for f, e in zip(third_call(compile(body), x), body(x), strict=True):
        np.testing.assert_allclose(f.numpy(), e, rtol=1e-5)


@needs_llvm
@pytest.mark.parametrize("shape", [(4, 3, 5, 7), (2, 5, 16), (1, 4, 3, 3), (6, 3, 1, 1), (3, 1, 4)])
def test_numbers_of_channels_and_their_sums_are_part_of_a_kernel(shape):
    ones = (1, shape[1], *[1] * (len(shape) - 2))

    def body(x, scale, shift):
        z = np.maximum(x * scale + shift, 0.0) * scale
        others = tuple(i for i in range(len(shape)) if i != 1)
        return z, np.sum(z * z, others), np.mean(x * z, others, keepdims=True), np.sum(z)

    args = single(*shape), single(*ones), single(*ones[1:])
    step = compile(body)
    found = third_call(step, *args)
    assert kernels(step) == 1
    assert calls(step) == []
    for f, e in zip(found, body(*args), strict=True):
        assert f.shape == e.shape
        np.testing.assert_allclose(f.numpy(), e, rtol=1e-4, atol=1e-5)


@needs_llvm
def test_a_whole_normalization_with_its_gradient_is_one_kernel():
    def loss(x, g, h):
        c = x - np.mean(x, -1, keepdims=True)
        z = c / np.sqrt(np.mean(c * c, -1, keepdims=True) + 1e-5) * g + h
        return np.mean(z * np.tanh(z) ** 2)

    step = compile(value_and_grad(loss, (0, 1, 2)))
    args = single(20, 33), single(33), single(33)
    found = leaves(third_call(step, *args))
    assert kernels(step) == 1
    assert calls(step) == []
    for f, e in zip(found, leaves(value_and_grad(loss, (0, 1, 2))(*args)), strict=True):
        np.testing.assert_allclose(f.numpy(), e, rtol=1e-4, atol=1e-6)


def test_long_chains_are_cut_into_kernels_that_share_their_code():
    def body(x):
        for _ in range(100):
            x = np.tanh(x + 0.01) * 1.01
        return x

    step = compile(body)
    x = single(10)
    np.testing.assert_allclose(third_call(step, x).numpy(), body(x), rtol=1e-4)
    if machine.is_available():
        assert kernels(step) == 3
        assert len({k.text for k in bound_program(step).kernels.values()}) == 2


def test_without_llvm_large_arrays_are_computed_in_blocks(monkeypatch):
    monkeypatch.setattr(machine, "is_available", lambda: False)

    def body(x):
        c = x - np.mean(x, -1, keepdims=True)
        return np.sum(np.exp(c * 2.0) / (np.max(c, -1, keepdims=True) + 9.0), 0)

    step = compile(body)
    x = single(4, 6)
    np.testing.assert_array_equal(third_call(step, x).numpy(), body(x))
    assert kernels(step) == 0
    step = compile(body)
    x = single(1000, 300)  # a last block of fewer rows
    np.testing.assert_allclose(third_call(step, x).numpy(), body(x.astype(float)), rtol=1e-5)
    assert kernels(step) == 1
    assert calls(step) == []


@needs_llvm
def test_a_kernel_that_llvm_refuses_is_not_used(monkeypatch):
    monkeypatch.setattr(bound, "kernel_text", lambda *_: KernelText("no such text", [], []))
    step = compile(lambda x: np.exp(x * 2.0) + 1.0)
    x = single(4)
    step(x)
    with pytest.warns(RuntimeWarning, match="LLVM refuses a kernel"):
        step(x)
    np.testing.assert_array_equal(step(x).numpy(), np.exp(x * 2) + 1)
    assert kernels(step) == 0


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
