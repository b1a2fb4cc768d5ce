"""Kernels of compiled steps: NumPy's bits where that is promised, stated bounds elsewhere."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import weakref

import numpy as np
import pytest
from compiled_steps import RNG, bound_program, calls, kernels, single, start_again, third_call

from tapegrad import compile, value_and_grad
from tapegrad.autograd import Tensor, ops
from tapegrad.autograd.compiling import bound, compiled
from tapegrad.autograd.compiling.functions import FUNCTIONS
from tapegrad.autograd.compiling.kernel_text import KernelText
from tapegrad.autograd.compiling.scalar_code import EXACT
from tapegrad.autograd.compiling.single_functions import BOUNDS, SINGLE_FUNCTIONS
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.specialize import public_function
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.kernels import machine


@pytest.fixture(autouse=True)
def the_same_numbers_in_every_run():
    """Tests come in another order on each processor."""
    start_again()


SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3e38, 1e-38]

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


def function_of(name, *, by_steps):
    """A primitive that calls NumPy's function of a name, in its body or in stepwise code."""
    declared = Primitive(lambda xp, x: getattr(xp, name)(x), differentiable=False)
    if by_steps:
        declared.stepwise(declared.body)
    return public_function(declared, declared.body)


@needs_llvm
@pytest.mark.parametrize("name", sorted(SINGLE_FUNCTIONS))
def test_functions_in_single_precision_are_within_their_bound(name):
    x = floats(np.float32, 400_000)
    found = in_kernel(function_of(name, by_steps=True), x)
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype("d"))
    distance = units(found, exact)
    worst = np.argmax(distance)
    assert distance[worst] <= BOUNDS[name], (x[worst], found[worst], exact[worst])
    zero = x == 0
    np.testing.assert_array_equal(np.signbit(found)[zero], np.signbit(exact)[zero])


@needs_llvm
def test_tanh_and_its_derivative_in_kernels():
    x = np.concatenate([floats(np.float32, 100_000), single(100_000) * 20])
    g = single(x.size)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        tanh, slope = np.tanh(wide), g / np.cosh(wide) / np.cosh(wide)
        found = in_kernel(ops.over_cosh_squared, g, x)
    assert units(in_kernel(np.tanh, x), tanh).max() <= BOUNDS["tanh"]
    assert units(found, slope)[np.abs(x) < 43].max() <= 8  # as NumPy's own: 1 / cosh is squared
    np.testing.assert_allclose(found, slope, rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"logaddexp"}))
def test_functions_are_within_their_bound_of_float64(name):
    must_be_within_bound(name, floats(np.float32, 20_000))


def must_be_within_bound(name, x):
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype(np.float64))
    found = in_kernel(function_of(name, by_steps=False), x)
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


# Bodies that only seem to be elementwise code ---------------------------------------------------


def operation(body):
    """A primitive with this body, that no registry knows."""
    return public_function(Primitive(body, differentiable=False), body)


def writes_into_out(xp, x):
    t = x * 2
    xp.add(t, 1, out=t)
    return t * 3


def limits_into_out(xp, x):
    y = x * 1
    xp.clip(x * 2, 0, 3, out=y)
    return y


def sums_into_out(xp, x):
    y = xp.max(x, axis=0, keepdims=True)
    xp.sum(x * 2, axis=0, keepdims=True, out=y)
    return x * y


def adds_in_place_to_another_name(xp, x):
    t = x * 2
    u = t
    t += 1
    return u


def divides_by_a_sum_of_ones(xp, x):
    return x / xp.ones_like(x).sum()


def catches_all_errors(xp, x):
    try:
        return x[0] + x * 0
    except Exception:  # noqa: BLE001  # as a user may write it
        return x * 5


def catches_everything(xp, x):
    try:
        return x[0] + x * 0
    except:  # noqa: E722  # as a user may write it
        return x * 5


def asks_for_the_namespace(xp, x):
    return x * 2 if xp is np else x * 3


def asks_for_the_class(xp, x):
    return x * 2 if isinstance(x, np.ndarray) else x * 3


def asks_for_the_type(xp, x):
    return x * 2 if type(x) is np.ndarray else x * 3


SEEMING = [
    writes_into_out,
    limits_into_out,
    sums_into_out,
    adds_in_place_to_another_name,
    divides_by_a_sum_of_ones,
    catches_all_errors,
    catches_everything,
    asks_for_the_namespace,
    asks_for_the_class,
    asks_for_the_type,
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("body", SEEMING, ids=lambda body: body.__name__)
def test_a_body_means_the_same_in_a_compiled_step(body, dtype):
    called = operation(body)
    step = compile(lambda x: called(x) * 1)
    x = np.array([1.0, 2.0], dtype)
    y = third_call(step, x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.numpy(), body(np, x))


def test_what_a_body_multiplies_in_place_keeps_its_dtype():
    def body(xp, x, w):
        y = x * 2
        y *= w
        return (y * y).astype(x.dtype)

    called = operation(body)
    args = single(1000), RNG.normal(size=1000)
    y = third_call(compile(lambda x, w: called(x, w) * 1), *args)
    np.testing.assert_array_equal(y.numpy(), body(np, *args))


def test_a_body_that_refuses_values_of_arrays_refuses_them_in_a_compiled_step():
    def body(xp, x):
        if isinstance(x, np.ndarray) and not np.isfinite(x).all():
            raise ValueError("not finite")
        return x * 2

    called = operation(body)
    step = compile(lambda x: called(x) * 1)
    third_call(step, single(3))
    with pytest.raises(ValueError, match="not finite"):
        step(np.full(3, np.inf, np.float32))


@pytest.mark.parametrize("draw", [RNG.random, lambda: RNG.integers(2)], ids=["number", "choice"])
def test_a_body_that_draws_unannounced_draws_in_each_call(draw):
    called = operation(lambda xp, x: x * 0 + float(draw()))
    step = compile(lambda x: called(x) * 1)
    x = single(2)
    assert len({float(third_call(step, x).numpy()[0]), *(float(step(x)[0]) for _ in range(30))}) > 1


def test_equal_calls_of_a_body_that_draws_unannounced_are_not_joined():
    called = operation(lambda xp, x: x * 0 + float(RNG.random()))
    y = third_call(compile(lambda x: called(x) - called(x)), single(2))
    assert (y.numpy() != 0).all()


@needs_llvm
def test_ones_and_zeros_in_the_shape_of_an_operand_are_part_of_a_kernel():
    def body(xp, x):
        top = xp.max(x, axis=-1, keepdims=True)
        top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
        return (x - top) * xp.ones_like(x) / xp.sum(xp.ones_like(x), axis=-1, keepdims=True)

    called = operation(body)
    step = compile(lambda x: called(x) * 1)
    x = single(5, 33)
    np.testing.assert_array_equal(third_call(step, x).numpy(), body(np, x))
    assert kernels(step) == 1
    assert calls(step) == []


def test_a_body_may_return_its_operand():
    same = operation(lambda xp, x: x)
    writable = operation(lambda xp, x, *, out=None: x)

    def shift(xp, t):
        t -= 5
        return t

    shifted = operation(shift)
    x = np.array([1.0, -2.0])
    found = third_call(compile(lambda x: same(np.abs(x)) * 1), x)
    np.testing.assert_array_equal(found.numpy(), [1, 2])
    found = third_call(compile(lambda x: writable(np.abs(x)) * (np.exp(x) * 0 + 1)), x)
    np.testing.assert_array_equal(found.numpy(), [1, 2])
    found = third_call(compile(lambda x: shifted(x * 2) * 1), x)
    np.testing.assert_array_equal(found.numpy(), [-3, -9])


def test_what_reads_an_operand_before_a_body_changes_and_returns_it_reads_the_old_value():
    def shift(xp, t):
        t -= 5
        return t

    shifted = operation(shift)

    def body(x):
        t = np.sort(x)
        before = t * 3  # could run later, in one kernel with the sum
        return before + shifted(t)

    found = third_call(compile(body), np.array([3.0, 1.0]))
    np.testing.assert_array_equal(found.numpy(), [-1, 7])


def living_kernels(step):
    """References to the kernels of a step, and to what owns their code, that keep neither alive."""
    texts = [k.text for _, _, found in step._bound for k in found.kernels.values()]
    found = machine.compiled_kernels(texts).values()
    return [weakref.ref(part) for kernel in found for part in (kernel, kernel.library)]


def chain(x):
    """Two kernels with a product between them."""
    return np.exp(np.tanh(x + 0.125) @ x) * 3.0


@needs_llvm
def test_kernels_are_freed_with_their_step(monkeypatch):
    freed = []
    free = machine._free
    monkeypatch.setattr(machine, "_free", lambda *args: (free(*args), freed.append(args[0].closed)))
    step = compile(chain)
    third_call(step, single(7, 7))
    references = living_kernels(step)
    assert len(references) == 4
    assert references[1]() is references[3]()  # one library has all kernels of a program
    del step
    gc.collect()
    assert [r() for r in references] == [None] * 4
    assert freed == [True]


@needs_llvm
def test_a_kernel_that_two_steps_share_lives_as_long_as_one_of_them():
    x = single(7, 6)
    first, second = (compile(lambda x: np.tanh(x * 0.375) + 2.0) for _ in range(2))
    expected = third_call(first, x).numpy()
    third_call(second, x)
    references = living_kernels(first)
    assert references == living_kernels(second)
    del first
    gc.collect()
    assert None not in [r() for r in references]
    np.testing.assert_array_equal(second(x).numpy(), expected)


@pytest.mark.extra
@needs_llvm
def test_sessions_of_llvm_are_replaced_and_freed(monkeypatch):
    machine._all()  # which stays
    monkeypatch.setattr(machine, "LIBRARIES", 1)
    sessions = []
    session_of = machine._session

    def noted(number):
        session = session_of(number)
        sessions.append(weakref.ref(session))
        return session

    monkeypatch.setattr(machine, "_session", noted)
    for size in range(3, 6):
        step = compile(chain)
        third_call(step, single(size, size))
        del step
    gc.collect()
    assert [s() is None for s in sessions] == [True, True, False]


@pytest.mark.extra
@needs_llvm
def test_the_least_recently_used_variants_of_a_step_are_replayed(monkeypatch):
    monkeypatch.setattr(compiled, "COMPILED_VARIANTS", 3)
    machine._all()  # which stays
    gc.collect()
    before = len(machine._kernels)
    step = compile(chain)
    arrays = {size: single(size, size) for size in range(3, 9)}
    for x in arrays.values():
        for _ in range(3):
            step(x)
        step(arrays[3])  # never the one that was used longest ago
    gc.collect()
    assert step.recorded == 6
    assert [b.groups[0].space.shape[0] for _, _, b in step._bound] == [3, 7, 8]
    assert len(machine._kernels) - before == 6
    for x in arrays.values():
        np.testing.assert_allclose(step(x).numpy(), chain(x), rtol=1e-5)
    assert step.recorded == 6
    assert step.explain().count("operations") == 3


@pytest.mark.extra
@needs_llvm
def test_code_that_runs_is_not_freed(monkeypatch):
    monkeypatch.setattr(compiled, "COMPILED_VARIANTS", 1)
    step = compile(chain)
    small, large = single(4, 4), single(6, 6)
    expected = third_call(step, small).numpy()
    references = living_kernels(step)
    call_all = machine.call_all

    def forget_and_call(addresses):
        monkeypatch.setattr(machine, "call_all", call_all)
        for _ in range(3):
            step(large)
        gc.collect()
        assert len(step._bound) == 1
        assert None not in [r() for r in references]
        call_all(addresses)

    monkeypatch.setattr(machine, "call_all", forget_and_call)
    np.testing.assert_array_equal(step(small).numpy(), expected)
    gc.collect()
    assert [r() for r in references] == [None] * 4


@needs_llvm
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_of_a_process_that_compiles_has_kernels(monkeypatch):
    started = threading.Event()
    compile_texts = machine._compile

    def slow(texts):
        monkeypatch.setattr(machine, "_compile", compile_texts)
        started.set()
        time.sleep(0.1)
        return compile_texts(texts)

    monkeypatch.setattr(machine, "_compile", slow)
    thread = threading.Thread(target=lambda: third_call(compile(chain), single(5, 9)[:, :5]))
    thread.start()
    assert started.wait(20.0)
    child = os.fork()
    if not child:
        status = 1
        try:
            step = compile(chain)
            third_call(step, np.ones((9, 9), np.float32))
            status = 0 if kernels(step) == 2 else 2
        finally:
            os._exit(status)
    thread.join()
    end = time.monotonic() + 20.0
    done, status = os.waitpid(child, os.WNOHANG)
    while not done and time.monotonic() < end:
        time.sleep(0.01)
        done, status = os.waitpid(child, os.WNOHANG)
    if not done:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert done, "the child waits for ever"
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_an_interrupted_step_runs_compiled_in_its_next_call():
    guarded = compiled._Guarded(lambda _: None, lambda _: None, ())

    def interrupt(*_):
        raise KeyboardInterrupt

    def call_until_interrupted(seconds):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        while True:
            guarded([])

    earlier = signal.signal(signal.SIGALRM, interrupt)
    try:
        for i in range(2000):
            with pytest.raises(KeyboardInterrupt):
                call_until_interrupted(1e-5 + i * 1e-8)
            assert not guarded._running.locked()
    finally:
        signal.signal(signal.SIGALRM, earlier)


@needs_llvm
def test_stepwise_code_by_itself_reads_the_view_that_its_call_read():
    step = compile(lambda x: ops.gelu(np.broadcast_to(x, (64, 64))))
    x = single(64)
    np.testing.assert_allclose(third_call(step, x), np.tile(ops.gelu(x), (64, 1)), rtol=1e-5)
