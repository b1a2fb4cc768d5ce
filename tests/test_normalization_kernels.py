"""Machine code of normalization against float64, on shapes of every kind, and against its rule."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from unittest import mock

import numpy as np
import pytest
from compiled_steps import calls, single, third_call
from hypothesis import example, given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.autograd import ops
from tapegrad.autograd.kernels import machine, normalization, normalizing_whole
from tapegrad.autograd.ops.fused_bodies import fused_at_any_size

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="needs the fast extra: llvmlite")

FLOAT, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
IN_PARTS = {"groups": "stretches", "short columns": "columns"}
LIMITS = {FLOAT: 1e-5, DOUBLE: 1e-13}  # of the largest number
# (shape, axes, shape of the weight) of sizes a, b, c -> the kind of work
FORMS = {
    "batch of images": (lambda a, b, c: ((a, b, c), (0, 2), (b, 1)), "stretches"),
    "groups": (lambda a, b, c: ((2, a, b, c), (2, 3), (a, b, 1)), "groups"),
    "instances": (lambda a, b, c: ((a, b, c), (-1,), (1, b, 1)), "groups"),
    "all": (lambda a, b, c: ((a, b, c), (0, 1, 2), (1, 1, 1)), "groups"),
    "one number": (lambda a, b, c: ((a, b, c), (0, 1, 2), ()), "groups"),
    "layers": (lambda a, b, c: ((a, b, c), (2,), (c,)), "rows"),
    "two axes": (lambda a, b, c: ((a, b, c), (-1, -2), (b, c)), "rows"),
    "features": (lambda a, b, c: ((a * b, c), (0,), (c,)), "short columns"),
    "channels last": (lambda a, b, c: ((a, b, c), (0, 1), (1, 1, c)), "short columns"),
    "shared columns": (lambda a, b, c: ((a, b, c), (0,), (b, 1)), "short columns"),
}


def arrays_of(form, sizes, dtype, seed, offset=0.0):
    make, kind = FORMS[form]
    shape, axes, own = make(*sizes)
    rng = np.random.default_rng(seed)
    x, g = rng.normal(offset, 2, shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    weight, bias = rng.normal(size=own).astype(dtype), rng.normal(size=own).astype(dtype)
    return axes, kind, [x, weight, bias], g


@contextmanager
def in_parts():
    """Take groups for too large for a cache, and columns for too long."""
    with (
        mock.patch.object(normalization, "_groups", return_value=None),
        mock.patch.object(normalization, "MOST_ROWS", 0),
    ):
        normalization._work.cache_clear()
        yield
    normalization._work.cache_clear()


def by_steps(arrays, axes, eps, g):
    """The result, mean, var and cotangents in float64, by the composition."""
    wide = tuple(None if a is None else a.astype("d") for a in arrays)
    given = tuple(a for a in wide if a is not None)

    def compose(x, *rest):
        rest = list(rest)
        y = ops.standardize(x, axes, eps)[0]
        y = y if wide[1] is None else y * rest.pop(0)
        return y if wide[2] is None else y + rest.pop(0)

    y, pull = tg.vjp(compose, given)
    x = wide[0]
    mean, var = np.mean(x, axes, keepdims=True), np.var(x, axes, keepdims=True)
    return y, mean, var, pull(g.astype("d"))


def close(found, expected, limit):
    found = np.asarray(found)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit * np.max(np.abs(expected)))


@given(
    form=st.sampled_from(sorted(FORMS)),
    sizes=st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(8, 90)),
    dtype=st.sampled_from([FLOAT, DOUBLE]),
    without=st.sampled_from([(), (1,), (2,), (1, 2)]),
    eps=st.sampled_from([1e-5, 0.1]),
    whole=st.booleans(),
    seed=st.integers(0, 9),
)
@example("layers", (2, 3, 5000), FLOAT, (), 1e-5, True, 0)
@example("batch of images", (3, 2, 5000), FLOAT, (), 1e-5, True, 0)
@example("groups", (3, 2, 5000), FLOAT, (), 1e-5, True, 0)
@example("groups", (3, 9, 30000), FLOAT, (), 1e-5, True, 0)
@example("features", (70, 70, 33), FLOAT, (), 1e-5, True, 0)
@example("features", (16, 64, 33), FLOAT, (), 1e-5, True, 0)
def test_results_and_cotangents_are_those_of_the_composition(
    form, sizes, dtype, without, eps, whole, seed
):
    with nullcontext() if whole else in_parts():
        check_results_and_cotangents(form, sizes, dtype, without, eps, whole, seed)


def check_results_and_cotangents(form, sizes, dtype, without, eps, whole, seed):
    axes, kind, arrays, g = arrays_of(form, sizes, dtype, seed)
    if arrays[0].size // np.mean(arrays[0], axes).size < 4:
        return  # of two numbers the cotangents are differences of nearly equal ones
    for number in without:
        arrays[number] = None
    given = tuple(a for a in arrays if a is not None)
    work = normalization.shape_of_work(*arrays, axes)
    assert work is not None
    wanted = kind if whole else IN_PARTS.get(kind, kind)
    assert without or max(sizes[:2]) > 9 or sizes[2] > 90 or work.kind == wanted
    y, mean, var, cotangents = by_steps(arrays, axes, eps, g)
    limit = LIMITS[dtype]

    def run(*given):
        rest = iter(given)
        return ops.normalize.with_aux(
            *[None if a is None else next(rest) for a in arrays], axes=axes, eps=eps
        )

    with fused_at_any_size():
        found = run(*given)
        pulled = tg.vjp(lambda *a: run(*a)[0], given)[1](g)
    for one, wanted in zip(found, (y, mean, var), strict=True):
        assert np.asarray(one).dtype == dtype
        close(one, wanted, limit)
    for one, wanted in zip(pulled, cotangents, strict=True):
        assert one.dtype == dtype
        close(one, wanted, 4 * limit)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_large_mean_does_no_harm(form, whole):
    """A difference of mean squares would have no digit left."""
    axes, _, arrays, _ = arrays_of(form, (4, 8, 64), FLOAT, 0, offset=3000.0)
    wide = arrays[0].astype("d")
    exact = (wide - wide.mean(axes, keepdims=True)) / wide.std(axes, keepdims=True)
    with fused_at_any_size(), nullcontext() if whole else in_parts():
        y, _, var = ops.normalize.with_aux(arrays[0], arrays[1], None, axes=axes, eps=1e-12)
    close(y, exact * arrays[1], 1e-5)
    close(var, wide.var(axes, keepdims=True), 1e-6)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("form", sorted(FORMS))
def test_infinity_and_nan_stay_in_their_part(form, whole):
    axes, _, arrays, g = arrays_of(form, (3, 3, 20), FLOAT, 1)
    for value in (np.inf, np.nan):
        arrays[0].reshape(-1)[5] = value
        parts = nullcontext() if whole else in_parts()
        with fused_at_any_size(), parts, np.errstate(all="ignore"):
            y, pull = tg.vjp(lambda *a: ops.normalize(*a, axes=axes, eps=1e-5), tuple(arrays))
            expected = ops.normalize.primitive.body(np, *arrays, axes=axes, eps=1e-5)[0]
            bad, by_x = np.isfinite(y), np.asarray(pull(g)[0])
        np.testing.assert_array_equal(np.isfinite(expected), bad)
        np.testing.assert_array_equal(np.isfinite(by_x), bad)


@pytest.mark.parametrize(
    ("shape", "axes", "own"),
    [
        ((4, 8, 3), (0, 2), (8, 1)),  # short stretches
        ((4, 8, 16), (1,), (8, 1)),  # a middle axis
        ((4, 8, 16), (0, 2), (16,)),  # a weight along one of the axes
        ((4, 5), (1,), (5,)),
        ((4, 16), (1, 1), (16,)),
        ((4, 16), (), (16,)),
        ((1, 16), (1,), (4, 16)),  # a larger result
    ],
)
def test_other_shapes_run_by_the_body(shape, axes, own):
    x, weight = np.ones(shape, "f"), np.ones(own, "f")
    assert normalization.shape_of_work(x, weight, None, axes) is None


def test_arrays_with_gaps_of_two_dtypes_or_in_another_order():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(32, 64)).astype("f"), rng.normal(size=32).astype("f")
    expected = ops.normalize.primitive.body(np, x.T, weight, axes=(1,))[0]
    assert normalization.shape_of_work(x, weight.astype("d"), None, (0,)) is None
    assert normalization.shape_of_work(x.astype(np.float16), None, None, (0,)) is None
    assert normalization.shape_of_work(x, weight, weight[:1], (0,)) is None
    with fused_at_any_size():
        y = ops.normalize(x.T, weight, axes=(1,))
        gaps = ops.normalize(np.repeat(x.T, 2, 0)[::2], weight, axes=(1,))
        mixed = ops.normalize(x.T, weight.astype("d"), axes=(1,))
    close(y, expected, 1e-5)
    close(gaps, expected, 1e-5)
    assert np.asarray(mixed).dtype == DOUBLE


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("form", sorted(FORMS))
def test_threads_give_equal_bits(form, whole, monkeypatch):
    monkeypatch.setattr(normalizing_whole, "PIECE_BYTES", 1000)
    axes, _, arrays, g = arrays_of(form, (5, 7, 40), FLOAT, 3)

    def run():
        with fused_at_any_size(), nullcontext() if whole else in_parts():
            y, pull = tg.vjp(lambda *a: ops.normalize(*a, axes=axes), tuple(arrays))
            return [np.asarray(y), *map(np.asarray, pull(g))]

    alone = run()
    tg.set_num_threads(3)
    try:
        for one, wanted in zip(run(), alone, strict=True):
            np.testing.assert_array_equal(one, wanted)
    finally:
        tg.set_num_threads(1)


def test_second_derivatives_and_batches_go_by_the_rule():
    axes, _, arrays, _ = arrays_of("layers", (2, 3, 16), DOUBLE, 4)

    def loss(x, weight, bias):
        return np.sum(np.tanh(ops.normalize(x, weight, bias, axes=axes)))

    with fused_at_any_size():
        v = tuple(np.ones_like(a) for a in arrays)
        products = tg.hvp(loss, tuple(arrays), v)
        step = 1e-5
        ends = [
            tg.grad(loss, (0, 1, 2))(*[a + s * step * w for a, w in zip(arrays, v, strict=True)])
            for s in (1, -1)
        ]
        for product, plus, minus in zip(products, *ends, strict=True):
            np.testing.assert_allclose(product, (plus - minus) / (2 * step), atol=1e-7)
        mapped = tg.vmap(lambda x: ops.normalize(x, arrays[1], axes=(1,)))(arrays[0])
        np.testing.assert_allclose(
            mapped, ops.normalize(arrays[0], arrays[1], axes=axes), atol=1e-12
        )


@pytest.mark.parametrize("shape", [(40, 16), (33, 70), (3, 5, 1000), (70, 4100)])
@pytest.mark.parametrize("without", [(), (1,), (2,), (1, 2)])
def test_a_kernel_of_a_compiled_step_joins_rows_to_their_neighbours(shape, without):
    axes = (len(shape) - 1,)
    rng = np.random.default_rng(0)
    x, g = rng.normal(0, 2, shape).astype("f"), rng.normal(size=shape).astype("f")
    arrays = [x, *(rng.normal(size=shape[-1:]).astype("f") for _ in range(2))]
    for number in without:
        arrays[number] = None
    parameters = [None if a is None else tg.Parameter(a.copy()) for a in arrays]

    given = [p for p in parameters if p is not None]
    for p in given:
        p.grad = np.zeros(p.shape, "f")

    @tg.compile
    def step(g):
        for p in given:
            p.grad[...] = 0
        x, *rest = parameters
        y = ops.normalize(x * 2, *rest, axes=axes)
        np.sum(y * g).backward()
        return y

    y = third_call(step, g)
    assert "normalize" not in calls(step)
    assert "normalize_gradient" not in calls(step)
    expected, _, _, pulled = by_steps([x * 2, *arrays[1:]], axes, 1e-5, g)
    close(y, expected, 1e-5)
    found = [np.asarray(p.grad) for p in given]
    for one, wanted, scale in zip(found, pulled, (2, 1, 1), strict=False):
        close(one, wanted * scale, 4e-5)


def test_rows_far_from_zero_lose_no_digits_in_a_kernel():
    x = np.random.default_rng(0).normal(3000, 1, (5, 4000)).astype("f")
    step = tg.compile(lambda x: ops.normalize(x * 1, axes=(1,), eps=1e-12) * 1)
    found = third_call(step, x)
    assert calls(step) == []
    wide = x.astype("d")
    close(found, (wide - wide.mean(1, keepdims=True)) / wide.std(1, keepdims=True), 1e-5)


def test_rows_by_themselves_run_the_code_for_rows():
    x = single(64, 64)
    step = tg.compile(lambda x: ops.normalize(x, axes=(1,)))
    np.testing.assert_array_equal(third_call(step, x), ops.normalize(x, axes=(1,)))
    assert calls(step) == ["normalize"]
