"""Machine code of convolution and pooling against the plain code, on shapes of every kind.

Hypothesis draws sizes and settings, a seed the entries.  `another_body_gives_what_the_plain_one
gives` is the law of all primitives; what only shapes larger than its examples reach is here.
"""

from __future__ import annotations

import sys

import cases
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tapegrad import compile as compiled
from tapegrad.autograd import ops, value_and_grad
from tapegrad.autograd.check import Case, Subject, check
from tapegrad.autograd.kernels import (
    convolution,
    direct,
    fast_convolution,
    fast_pooling,
    kept_memory,
    machine,
    pooling,
    threads,
    vector_code,
    winograd,
)
from tapegrad.autograd.kernels.addresses import address
from tapegrad.autograd.kernels.vector_code import KernelCode, ready
from tapegrad.autograd.kernels.windows import plane_windows

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="needs the fast extra: llvmlite")

FLOAT, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
ULPS = {FLOAT: 2e-5, DOUBLE: 1e-12}  # of the largest number, for sums in another order
WINOGRAD = 1e-5  # of the largest sum of the terms' absolute values


def close(found, expected, relative):
    """Two arrays differ by at most `relative` times the largest number."""
    size = np.max(np.abs(expected), initial=1e-30)
    np.testing.assert_allclose(found, expected, rtol=0, atol=relative * size)


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


# The writer of kernels ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [FLOAT, DOUBLE])
def test_a_kernel_computes_what_its_python_says(dtype):
    k = KernelCode("x y n", dtype)
    x, y, n = k["x y n"]

    def body(i, total):
        value = k.load(x, i)
        k.store(2.0 * value - k.load(y, i) + value * value, y, i)
        return [total.plus_product(value, value)]

    [total] = k.loop(n - 1, body, [k.all(0.0, k.lanes)], step=k.lanes)
    k.store(total.total(), y, n - 1)
    numbers = np.arange(33, dtype=dtype)
    results = np.ones(33, dtype)
    ready(k)(address(numbers), address(results), 33)
    first = numbers[:32]
    np.testing.assert_array_equal(results[:32], 2 * first - 1 + first * first)
    assert results[32] == np.sum(first * first)


def test_squares_of_registers_are_transposed_and_strided_loads_read_no_further():
    k = KernelCode("x y z", FLOAT)
    x, y, z = k["x y z"]
    rows = [k.load(x, k.lanes * i) for i in range(k.lanes)]
    for i, column in enumerate(k.transposed(rows)):
        k.store(column, y, k.lanes * i)
    k.store(k.load_strided(x, 1, 2, k.lanes), z)
    side = k.lanes
    numbers = np.arange(side * side, dtype=FLOAT)
    found, strided = np.zeros((side, side), FLOAT), np.zeros(side, FLOAT)
    ready(k)(address(numbers), address(found), address(strided))
    np.testing.assert_array_equal(found, numbers.reshape(side, side).T)
    np.testing.assert_array_equal(strided, numbers[1 : 2 * side : 2])
    assert "fast" not in k.text()
    assert "nnan" not in k.text()
    assert "ninf" not in k.text()


def caches_of_kernels():
    """All that the kernels keep of code and plans, which were made for one length of vectors.

    Whatever ran in this process before has left some, and to mix lengths would be to write
    beyond the ends of arrays.
    """
    of_the_process = {machine.__name__, threads.__name__, kept_memory.__name__}
    modules = [
        module for name, module in sys.modules.items() if name.startswith(direct.__package__ + ".")
    ]
    found = {id(f): f for module in modules for f in vars(module).values()}
    return [
        f
        for f in found.values()
        if hasattr(f, "cache_clear") and f.__module__ not in of_the_process
    ]


@pytest.mark.extra
@pytest.mark.parametrize("size", [16, 32, 64])
def test_kernels_for_other_processors_compile(monkeypatch, size):
    """With vectors of another length than this processor has registers, results are the same."""
    monkeypatch.setattr(vector_code, "_vector_bytes", lambda: size)
    caches = caches_of_kernels()
    for cache in caches:
        cache.cache_clear()
    try:
        assert check_winograd(2, 17, 21, (30, 26), (1, 1), 0)
        for dtype in (FLOAT, DOUBLE):
            assert check_direct(3, 2, 2, 5, (9, 30), (3, 3), (1, 2), (1, 0), (1, 1), dtype, 0)
            assert check_pooling(2, (9, 21), (3, 2), (2, 2), (1, 1), (1, 1), False, dtype, 0)
    finally:
        monkeypatch.undo()
        for cache in caches:
            cache.cache_clear()


# Winograd -----------------------------------------------------------------------------------------


@given(
    n=st.integers(1, 3),
    c=st.integers(16, 40),
    o=st.integers(16, 40),
    size=pairs(9, 45),
    pad=pairs(0, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_winograd_is_within_its_bound(n, c, o, size, pad, seed):
    assume(check_winograd(n, c, o, size, pad, seed))


def check_winograd(n, c, o, size, pad, seed):
    """False if the shapes do not fit."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(n, c, *size)).astype("f"), rng.normal(size=(o, c, 3, 3)).astype("f")
    out = tuple(side + 2 * p - 2 for side, p in zip(size, pad, strict=True))
    if not winograd.winograd_fits(x.shape, w.shape, out):
        return False
    y = np.full((n, o, *out), np.nan, np.float32)
    assert winograd.winograd_conv2d(x, w, pad, y)
    g = rng.normal(size=y.shape).astype("f")
    dw = winograd.winograd_weight_gradient(x, g, pad)
    one, two, three = (a.astype(float) for a in (x, w, g))
    for found, terms in (
        (y, lambda f: convolution.conv2d(np, f(one), f(two), padding=pad)),
        (dw, lambda f: convolution.conv2d_weight_gradient(
            np, f(one), f(three), shape=w.shape, padding=pad)),
    ):  # fmt: skip
        bound = WINOGRAD * np.max(terms(np.abs))
        np.testing.assert_allclose(found, terms(lambda a: a), rtol=0, atol=bound)
    return True


@pytest.mark.parametrize(
    "shape", [(2, 70, 21, 23), (5, 130, 12, 9), (40, 24, 4, 5), (1, 16, 9, 99)]
)
@pytest.mark.parametrize("planes", [16, 24, 97])
def test_all_blocks_of_winograd_agree_with_the_plain_code(monkeypatch, shape, planes):
    """Products run in the kernel, as of small weights, and in BLAS; tiles are few and many."""
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=shape).astype("f"), rng.normal(size=(planes, shape[1], 3, 3)).astype("f")
    expected = convolution.conv2d(np, x.astype(float), w.astype(float), padding=1)
    g = rng.normal(size=expected.shape).astype("f")
    gradient = convolution.conv2d_weight_gradient(
        np, x.astype(float), g.astype(float), shape=w.shape, padding=1
    )
    for nbytes in (0, 2**30):
        monkeypatch.setattr(winograd, "OWN_BYTES", nbytes)
        winograd._work.cache_clear()
        y = np.full(expected.shape, np.nan, np.float32)
        assert winograd.winograd_conv2d(x, w, (1, 1), y)
        close(y, expected, 3e-5)
        close(winograd.winograd_weight_gradient(x, g, (1, 1)), gradient, 3e-5)
    monkeypatch.undo()
    winograd._work.cache_clear()


BIG = (4, 16, 32, 32)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 3e38])
def test_infinite_numbers_spread_no_further_than_in_the_plain_code(bad):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=BIG).astype("f"), rng.normal(size=(16, 16, 3, 3)).astype("f")
    x[1, 2, 7, 9] = bad
    settings = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}
    rows, columns = plane_windows("test", BIG, 3, padding=1)
    assert fast_convolution.way_of(FLOAT, BIG, w.shape, rows, columns, 1) == "winograd"
    with np.errstate(all="ignore"):
        y = fast_convolution.conv2d(x, w, **settings)
        expected = convolution.conv2d(np, x, w, **settings)
        np.testing.assert_array_equal(y, expected)
        g = rng.normal(size=y.shape).astype("f")
        settings["shape"] = w.shape
        np.testing.assert_array_equal(
            fast_convolution.conv2d_weight_gradient(x, g, **settings),
            convolution.conv2d_weight_gradient(np, x, g, **settings),
        )
        g[0, 3, 4, 5] = bad
        settings["shape"] = x.shape
        np.testing.assert_array_equal(
            fast_convolution.conv2d_input_gradient(g, w, **settings),
            convolution.conv2d_input_gradient(np, g, w, **settings),
        )


# Direct -------------------------------------------------------------------------------------------


@given(
    n=st.integers(1, 4),
    groups=st.sampled_from([1, 1, 2, 3]),
    c=st.integers(1, 4),
    o=st.integers(1, 9),
    size=pairs(3, 20),
    kernel=pairs(1, 5),
    stride=pairs(1, 3),
    padding=pairs(0, 3),
    dilation=pairs(1, 2),
    dtype=st.sampled_from([FLOAT, DOUBLE]),
    seed=st.integers(0, 2**32 - 1),
)
def test_direct_convolution_agrees_with_the_plain_code(
    n, groups, c, o, size, kernel, stride, padding, dilation, dtype, seed
):
    sides = zip(size, kernel, padding, dilation, strict=True)
    assume(all(side + 2 * p > d * (k - 1) for side, k, p, d in sides))
    assume(check_direct(n, groups, c, o, size, kernel, stride, padding, dilation, dtype, seed))


def check_direct(n, groups, c, o, size, kernel, stride, padding, dilation, dtype, seed):
    """False if the shapes do not fit."""
    rng = np.random.default_rng(seed)
    settings = {"stride": stride, "padding": padding, "dilation": dilation}
    x = rng.normal(size=(n, groups * c, *size)).astype(dtype)
    w = rng.normal(size=(groups * o, c, *kernel)).astype(dtype)
    rows, columns = plane_windows("test", x.shape, kernel, **settings)
    if not direct.direct_fits(dtype, rows, columns):
        return False
    settings["groups"] = groups
    expected = convolution.conv2d(np, x, w, **settings)
    g = rng.normal(size=expected.shape).astype(dtype)
    y, dx, dw = (np.full(shape, np.nan, dtype) for shape in (g.shape, x.shape, w.shape))
    direct.direct_conv2d(x, w, rows, columns, groups, y)
    close(y, expected, ULPS[dtype])
    direct.direct_input_gradient(g, w, rows, columns, groups, dx)
    close(dx, convolution.conv2d_input_gradient(np, g, w, shape=x.shape, **settings), ULPS[dtype])
    assert direct.direct_weight_gradient(x, g, rows, columns, groups, dw)
    close(dw, convolution.conv2d_weight_gradient(np, x, g, shape=w.shape, **settings), ULPS[dtype])
    return True


def test_an_infinite_entry_makes_no_nan_of_a_weight_that_it_does_not_meet():
    x, g = np.ones((2, 1, 6, 9), np.float32), np.ones((2, 1, 5, 8), np.float32)
    x[0, 0, 1, 8] = np.inf  # which the left column of the weights does not meet
    settings = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "shape": (1, 1, 2, 2)}
    found = fast_convolution.conv2d_weight_gradient(x, g, **settings)
    np.testing.assert_array_equal(found, [[[[80, np.inf], [80, np.inf]]]])


# Ways ---------------------------------------------------------------------------------------------

WAYS = {
    "winograd": ((1, 16, 32, 32), (16, 16, 3, 3), {"padding": 1}),
    "product": ((3, 40, 9, 9), (24, 40, 1, 1), {}),
    "direct": ((3, 6, 14, 14), (16, 6, 5, 5), {}),
    "plain": ((3, 6, 2, 2), (16, 6, 2, 2), {}),
}


def with_gaps(a):
    """The array with every second place in memory."""
    return np.repeat(a, 2, axis=-1)[..., ::2]


def unaligned(a):
    """The array at an odd address."""
    memory = np.empty(a.nbytes + 1, np.uint8)[1:]
    result = memory.view(a.dtype).reshape(a.shape)
    result[...] = a
    return result


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtypes", ["ff", "dd", "fd", "ll", "ee"])
def test_every_way_gives_the_plain_result_of_any_arrays_and_writes_into_out(way, dtypes):
    x_shape, w_shape, settings = WAYS[way]
    settings = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **settings}
    rng = np.random.default_rng(1)
    x, w = (
        (8 * rng.normal(size=shape)).astype(kind)
        for shape, kind in zip((x_shape, w_shape), dtypes, strict=True)
    )
    rows, columns = plane_windows("test", x_shape, w_shape[2:], padding=settings["padding"])
    if dtypes == "ff":
        assert fast_convolution.way_of(FLOAT, x_shape, w_shape, rows, columns, 1) == way
    expected = convolution.conv2d(np, x, w, **settings)
    g = (8 * rng.normal(size=expected.shape)).astype(x.dtype)
    bounds = {"f": 2e-5, "d": 1e-12, "l": 0, "e": 4e-3}
    for change in (lambda a: a, np.asfortranarray, with_gaps, unaligned):
        a, b, c = change(x), change(w), change(g)
        for fast, plain, one, two, more in (
            (fast_convolution.conv2d, convolution.conv2d, a, b, {}),
            (fast_convolution.conv2d_input_gradient, convolution.conv2d_input_gradient, c, b,
             {"shape": x_shape}),
            (fast_convolution.conv2d_weight_gradient, convolution.conv2d_weight_gradient, a, c,
             {"shape": w_shape}),
        ):  # fmt: skip
            wanted = plain(np, one, two, **settings, **more)
            found = fast(one, two, **settings, **more)
            assert found.dtype == wanted.dtype
            close(found, wanted, bounds[wanted.dtype.char])
            for out in (np.ones_like(wanted), np.ones_like(wanted, order="F")):
                assert fast(one, two, **settings, **more, out=out) is out
                np.testing.assert_array_equal(out, found)


def test_bad_shapes_are_refused_as_in_the_plain_code():
    x, w = np.ones((2, 3, 8, 8), "f"), np.ones((4, 2, 3, 3), "f")
    with pytest.raises(ValueError, match="x has 3 channels, w of shape"):
        ops.conv2d(x, w)
    with pytest.raises(ValueError, match="the cotangent must have shape"):
        ops.conv2d_input_gradient(np.ones((2, 4, 9, 9), "f"), np.ones((4, 3, 3, 3), "f"), x.shape)


def test_empty_batches_give_empty_results():
    for shape in ((0, 16, 32, 32), (2, 0, 8, 8)):
        w = np.ones((16, shape[1], 3, 3), "f")
        assert ops.conv2d(np.ones(shape, "f"), w, 1, 1).shape == (shape[0], 16, *shape[2:])


# Pooling ------------------------------------------------------------------------------------------


@given(
    n=st.integers(1, 3),
    size=pairs(3, 24),
    kernel=pairs(1, 4),
    stride=pairs(1, 3),
    padding=pairs(0, 2),
    dilation=pairs(1, 2),
    ceil=st.booleans(),
    dtype=st.sampled_from([FLOAT, DOUBLE]),
    seed=st.integers(0, 2**32 - 1),
)
def test_pooling_agrees_with_the_plain_code(
    n, size, kernel, stride, padding, dilation, ceil, dtype, seed
):
    assume(all(p <= k // 2 for p, k in zip(padding, kernel, strict=True)))
    assume(check_pooling(n, size, kernel, stride, padding, dilation, ceil, dtype, seed))


def check_pooling(n, size, kernel, stride, padding, dilation, ceil, dtype, seed):
    """False if the windows do not fit."""
    rng = np.random.default_rng(seed)
    shape = (n, 2, *size)
    settings = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil}
    special = np.array([-np.inf, np.inf, np.nan, -1, 0, 1, 2])
    for x in (rng.normal(size=shape), rng.choice(special, shape), np.full(shape, -np.inf)):
        x = x.astype(dtype)
        try:
            y, indices = pooling.max_pool2d(np, x, dilation=dilation, **settings)
        except ValueError:
            return False
        found, places = fast_pooling.max_pool2d(x, dilation=dilation, **settings)
        np.testing.assert_array_equal(found, y)
        np.testing.assert_array_equal(places, indices)
        back = fast_pooling.max_unpool2d(y, indices, shape=shape)
        np.testing.assert_array_equal(back, pooling.max_unpool2d(np, y, indices, shape=shape))
    x = rng.normal(size=shape).astype(dtype)
    for include in (True, False):
        settings |= {"count_include_pad": include, "divide": include}
        try:
            y = pooling.avg_pool2d(np, x, **settings)
        except ValueError:
            return False
        close(fast_pooling.avg_pool2d(x, **settings), y, ULPS[dtype])
        wanted = pooling.avg_pool2d_gradient(np, y, shape=shape, **settings)
        close(fast_pooling.avg_pool2d_gradient(y, shape=shape, **settings), wanted, ULPS[dtype])
    return True


def test_positions_outside_of_an_image_write_nowhere():
    x, indices = np.ones((1, 1, 2, 2), "f"), np.array([[[[0, 3], [10**12, -1]]]])
    memory = np.zeros(8, "f")
    with pytest.raises(IndexError):
        fast_pooling.max_unpool2d(
            x, indices, shape=(1, 1, 2, 2), out=memory[:4].reshape(1, 1, 2, 2)
        )
    assert not memory[4:].any()


def test_integers_take_the_plain_way():
    x = np.arange(32).reshape(1, 2, 4, 4)
    y, indices = fast_pooling.max_pool2d(
        x, kernel=2, stride=None, padding=0, dilation=1, ceil_mode=False
    )
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(indices, [[[[5, 7], [13, 15]]] * 2][0:1])


# Compiled steps -----------------------------------------------------------------------------------


def test_a_compiled_step_runs_the_same_kernels_in_fixed_memory():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 16, 16, 16)).astype("f")
    w, v = (rng.normal(size=s).astype("f") for s in ((16, 16, 3, 3), (8, 16, 2, 2)))

    def loss(w, v, x):
        y = ops.max_pool2d(ops.conv2d(x, w, 1, 1), 2)
        return ops.mean(ops.avg_pool2d(ops.conv2d(y, v), 3, 2))

    step = value_and_grad(loss, (0, 1))
    fixed = compiled(step, fuse=False)
    expected = step(w, v, x)
    for _ in range(4):
        value, gradients = fixed(w, v, x)
        np.testing.assert_array_equal(value, expected[0])
        for found, wanted in zip(gradients, expected[1], strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_nothing_is_compiled_before_it_is_needed():
    assert (
        fast_convolution.way_of(
            np.dtype(np.int64),
            (1, 1, 9, 9),
            (1, 1, 3, 3),
            *plane_windows("test", (1, 1, 9, 9), 3),
            1,
        )
        == "plain"
    )


def test_ctrl_c_in_a_compilation_leaves_nothing_half_done(monkeypatch):
    real = machine._compile
    calls = []

    def interrupted(texts):
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return real(texts)

    monkeypatch.setattr(machine, "_compile", interrupted)
    fast_pooling._maxima.cache_clear()
    monkeypatch.setattr(machine, "_kernels", type(machine._kernels)())
    x = np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype("f")
    with pytest.raises(KeyboardInterrupt):
        ops.max_pool2d(x, 2)
    expected, _ = pooling.max_pool2d(np, x, kernel=2)
    np.testing.assert_array_equal(ops.max_pool2d(x, 2), expected)


# The law ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mistake", ["value", "position", "dtype"])
def test_the_law_finds_another_body_that_gives_something_else(monkeypatch, mistake):
    subject = Subject(
        "tapegrad.autograd.ops:max_pool2d",
        "primitive",
        ops.max_pool2d,
        Case(cases.OPERATIONS["max_pool2d"]),
    )
    fast = ops.max_pool2d.primitive.bodies["numba"]

    def wrong(xp, x, **settings):
        y, indices = fast(xp, x, **settings)
        if mistake == "value":
            y = y * x.dtype.type(1.001)
        if mistake == "position":
            indices = indices[..., ::-1].copy()
        return y.astype(float) if mistake == "dtype" else y, indices

    def broken():
        law = "another_body_gives_what_the_plain_one_gives"
        [(_, outcome)] = check([subject], laws=lambda each: each.name == law).outcomes
        return not outcome.ok

    assert not broken()
    monkeypatch.setitem(ops.max_pool2d.primitive.bodies, "numba", wrong)
    assert broken()
