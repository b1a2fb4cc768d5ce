"""Matrix products by machine code: against exact sums, of every kind of operands and of edges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import ops
from tapegrad.autograd.kernels import machine, products, threads
from tapegrad.autograd.kernels.over_time import Loop
from tapegrad.autograd.kernels.product_code import DEPTH, tiles_of
from tapegrad.autograd.kernels.products import RightFactor, by_blas, matmul, product_into
from tapegrad.autograd.kernels.threads import get_num_threads

needs_llvm = pytest.mark.skipif(not machine.is_available(), reason="needs tapegrad[fast]")
pytestmark = needs_llvm
RNG = np.random.default_rng(0)
F, D = np.dtype(np.float32), np.dtype(np.float64)
ROWS, COLUMNS = tiles_of(F).rows, tiles_of(F).columns


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    """Let machine code take products of any size, whatever BLAS does, on any processor."""
    monkeypatch.setattr(products, "LEAST", [1])
    monkeypatch.setattr(products, "beats_blas", lambda: True)
    monkeypatch.setattr(products, "keeps_up_with_blas", lambda: True)


def matrix(rows, columns, dtype, *, turned=False, gap=0):
    """Numbers that lie line by line, or turned; with numbers between the lines."""
    if turned:
        return matrix(columns, rows, dtype, gap=gap).T
    return RNG.standard_normal((rows, columns + gap)).astype(dtype)[:, :columns]


def must_be_product(y, a, b):
    exact, size = a.astype(D) @ b.astype(D), np.abs(a) @ np.abs(b)
    # as many roundings as terms, half of which take back what others give
    bound = size * np.finfo(a.dtype).eps * (2 + np.sqrt(a.shape[-1]))
    assert (np.abs(y - exact) <= bound).all()
    assert y.dtype == a.dtype


SIZES = [
    (ROWS, 16, COLUMNS),
    (ROWS + 1, 17, COLUMNS + 1),
    (4, 1, 4),
    (5, DEPTH + 44, 10),
    (70, 2 * DEPTH + 1, COLUMNS * 2 + 4),
    (3 * ROWS + 7, 33, 47),
]
WAYS = list(itertools.product((False, True), repeat=2))
# rows and columns of more than a block
LARGE = [(tiles_of(F).high + 30, 20, 1000), (100, 7, 33), (300, DEPTH * 3, 530), (64, 256, 64)]


@pytest.mark.parametrize("dtype", [F, D])
def test_products_of_operands_that_lie_in_any_way(dtype):
    for (m, depth, n), (a_turned, b_turned) in zip(SIZES, itertools.cycle(WAYS), strict=False):
        a, b = matrix(m, depth, dtype, turned=a_turned), matrix(depth, n, dtype, turned=b_turned)
        must_be_product(matmul(a, b), a, b)


@pytest.mark.extra
@pytest.mark.parametrize("dtype", [F, D])
@pytest.mark.parametrize("size", SIZES + LARGE)
@pytest.mark.parametrize(("a_turned", "b_turned"), list(WAYS))
def test_products_of_all_sizes_and_ways(dtype, size, a_turned, b_turned):
    m, depth, n = size
    for gap in (0, 3):
        a = matrix(m, depth, dtype, turned=a_turned, gap=gap)
        b = matrix(depth, n, dtype, turned=b_turned, gap=gap)
        y = matmul(a, b)
        must_be_product(y, a, b)
        room = np.full((m, n + 3), 7, dtype)
        assert matmul(a, b, out=room[:, :n]).base is room
        np.testing.assert_array_equal(room[:, :n], y)
        assert (room[:, n:] == 7).all()


def test_an_entry_does_not_depend_on_the_other_rows_and_columns():
    a, b = matrix(70, 300, F), matrix(300, 101, F)
    whole = matmul(a, b)
    for rows, columns in [
        (slice(3, 40), slice(None)),
        (slice(8), slice(5, 30)),
        (slice(9, 70), slice(60, 64)),
    ]:
        part = matmul(a[rows], b[:, columns])
        np.testing.assert_array_equal(part, whole[rows, columns])
        turned = matmul(np.asfortranarray(a[rows]), np.asfortranarray(b[:, columns]))
        np.testing.assert_array_equal(turned, part)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((3, 5, 9, 17), (3, 5, 17, 20)),
        ((5, 9, 17), (17, 20)),
        ((9, 17), (5, 17, 20)),
        ((2, 1, 9, 17), (1, 4, 17, 20)),
        ((2, 0, 9, 17), (17, 20)),
        ((2, 9, 0), (0, 20)),
    ],
)
def test_batches_are_broadcast_as_in_numpy(first, second):
    a, b = RNG.standard_normal(first).astype(F), RNG.standard_normal(second).astype(F)
    np.testing.assert_allclose(matmul(a, b), a @ b, rtol=1e-4, atol=1e-4)
    turned = matmul(a[..., ::-1, :], b.swapaxes(-1, -2).copy().swapaxes(-1, -2))
    np.testing.assert_allclose(turned, a[..., ::-1, :] @ b, rtol=1e-4, atol=1e-4)
    axes = (*reversed(range(a.ndim - 2)), a.ndim - 2, a.ndim - 1)
    a = np.ascontiguousarray(a.transpose(axes)).transpose(
        axes
    )  # whose batches lie in another order
    np.testing.assert_allclose(matmul(a, b), a @ b, rtol=1e-4, atol=1e-4)


def test_what_kernels_do_not_take_is_numpys():
    a = matrix(8, 8, F)
    for x, y in [
        (a, a[0]), (a[0], a), (a.astype(np.float16),) * 2, (a.astype(int),) * 2, (a, a.astype(D)),
        (a + 1j, a), (a[::2, ::2], a[:4, ::2]), (a[:2], a), (a[..., ::-1], a),
        (a.astype(">f4"), a.astype(">f4")),
    ]:  # fmt: skip
        np.testing.assert_allclose(matmul(x, y), np.matmul(x, y), rtol=1e-4, atol=1e-5)
        assert matmul(x, y).dtype == np.matmul(x, y).dtype
    bytes_between = np.zeros(8 * 8 * 4 + 1, np.uint8)[1:].view(F).reshape(8, 8)
    bytes_between[...] = a
    np.testing.assert_allclose(matmul(bytes_between, a), a @ a, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="mismatch"):
        matmul(a, a[:7])
    with pytest.raises(ValueError, match="mismatch"):
        matmul(a, a, out=np.empty((8, 9), F))


def test_a_result_may_lie_in_an_operand_or_in_another_dtype():
    a, b = matrix(8, 8, F), matrix(8, 8, F)
    right = matmul(a, b)
    for x, y in [(a.copy(), b), (a, b.copy())]:
        into = x if y is b else y
        assert matmul(x, y, out=into) is into
        np.testing.assert_allclose(into, right, rtol=1e-5, atol=1e-5)
    wide = np.empty((8, 8), D)
    matmul(a, b, out=wide)
    np.testing.assert_allclose(wide, right, rtol=1e-5, atol=1e-5)
    turned = np.empty((8, 8), F).T
    assert matmul(a, b, out=turned) is turned
    np.testing.assert_allclose(turned, right, rtol=1e-5, atol=1e-5)
    frozen = np.empty((8, 8), F)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        matmul(a, b, out=frozen)


def test_what_is_not_finite_reaches_its_row_and_column_alone():
    a, b = matrix(20, 30, F), matrix(30, 25, F)
    a[3, 4], b[5, 6] = np.nan, np.inf
    y, expected = matmul(a, b), a @ b
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))


def test_threads_give_the_same_bits():
    a, b = matrix(203, 90, F), matrix(90, 120, F)
    one = matmul(a, b)
    before = get_num_threads()
    try:
        for threads in (2, 3):
            tg.set_num_threads(threads)
            np.testing.assert_array_equal(matmul(a, b), one)
    finally:
        tg.set_num_threads(before)


@pytest.mark.parametrize("dtype", [F, D])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("by_blas", [False, True])
def test_a_factor_of_many_products(turned, by_blas, dtype):
    b = matrix(DEPTH + 40, 2 * COLUMNS + 5, dtype, turned=turned, gap=2)
    factor = RightFactor(b, by_blas)
    for m in (1, 3, ROWS, 50):
        a = [matrix(m, len(b), dtype, gap=m) for _ in range(5)]
        left, room = np.stack(a[1:]), np.full((4, m, b.shape[1] + 2), 7, dtype)
        out = room[:, :, :-2]
        for order in (slice(None), slice(None, None, -1)):
            loop = Loop(4)
            loop.product(left[order], factor, out[order])
            loop.run()
            for one, of in zip(out, a[1:], strict=True):
                must_be_product(one, of, b)
        loop = Loop(4)
        loop.product(left, factor, out, first=a[0])
        loop.product(left, factor, out[0])  # one memory for all steps
        loop.run()
        must_be_product(out[0], a[-1], b)
        for one, of in zip(out[1:], a[1:], strict=False):
            must_be_product(one, of, b)
        loop = Loop(4)
        loop.product(left, factor, out, several=3)
        loop.run()
        for one, of in zip(out, a[1:], strict=True):
            must_be_product(one, of, b)
        assert (room[:, :, -2:] == 7).all()


def test_blas_is_left_the_work_where_it_has_more_threads(monkeypatch):
    monkeypatch.setattr(products, "keeps_up_with_blas", lambda: False)
    monkeypatch.setattr(products, "_product", None)
    a = matrix(50, 50, F)
    np.testing.assert_array_equal(matmul(a, a), a @ a)


def test_the_primitive_and_its_rules_run_it(monkeypatch):
    calls = []
    real = products._product
    monkeypatch.setattr(products, "_product", lambda *a: calls.append(1) or real(*a))
    a, b = tg.Tensor(matrix(9, 10, F)), tg.Tensor(matrix(10, 11, F))
    tg.grad(lambda a, b: (a @ b).sum(), (0, 1))(a, b)
    assert len(calls) == 3
    wide = tg.Tensor(matrix(10, 300, F))  # a narrow matrix would be a table's: test_contraction.py
    ops.einsum("ij,ik->jk", wide, wide)
    assert len(calls) == 4


# BLAS's products, on the threads of the pool --------------------------------------------------


def shared_with(count, monkeypatch):
    monkeypatch.setattr(products, "get_num_threads", lambda: count)
    monkeypatch.setattr(products, "SHARED", 1)
    monkeypatch.setattr(products, "_takes_threads", lambda x1, x2: True)


PAIRS = [((7, 5), (5, 9)), ((200, 5), (5, 9)), ((5, 9), (9, 200)), ((3, 4, 5), (5, 6)),
         ((3, 4, 5), (3, 5, 6)), ((4, 5), (3, 5, 6)), ((1, 4, 5), (3, 5, 6)), ((0, 5), (5, 9)),
         ((2, 3, 4, 5), (3, 5, 6)), ((2, 1, 4, 5), (3, 5, 6)), ((4, 0), (0, 6)),
         ((0, 4, 5), (5, 6)), ((5,), (5, 9)), ((7, 5), (5,)), ((5,), (5,)),
         ((3, 4, 5), (5,))]  # fmt: skip


@pytest.mark.parametrize("kind", ["float32", "float64", "complex64", "int64"])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("shapes", PAIRS, ids=str)
def test_a_product_in_parts_is_the_product(shapes, count, kind, monkeypatch):
    shared_with(count, monkeypatch)
    a, b = ((RNG.standard_normal(shape) * 4).astype(kind) for shape in shapes)
    expected = np.matmul(a, b)
    y = by_blas(a, b)
    assert y.dtype == expected.dtype
    assert np.shape(y) == np.shape(expected)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-4)
    if expected.ndim:
        out = np.full_like(expected, 7)
        assert by_blas(a, b, out) is out
        np.testing.assert_array_equal(out, y)
        wide = np.full((*expected.shape, 2), 7, expected.dtype)
        by_blas(a, b, wide[..., 0])
        np.testing.assert_allclose(wide[..., 0], expected, rtol=1e-5, atol=1e-4)
        assert (wide[..., 1] == 7).all()


def test_a_product_into_one_of_its_factors_is_right(monkeypatch):
    shared_with(2, monkeypatch)
    a, b = matrix(60, 60, D), matrix(60, 60, D)
    expected = a @ b
    by_blas(a, b, a)
    np.testing.assert_array_equal(a, expected)


def test_a_product_of_shapes_that_do_not_fit_is_numpys_error(monkeypatch):
    shared_with(2, monkeypatch)
    with pytest.raises(ValueError, match="matmul"):
        by_blas(matrix(3, 4, D), matrix(3, 4, D))
    with pytest.raises(ValueError, match="broadcast"):
        by_blas(np.ones((2, 3, 4)), np.ones((3, 4, 5)))


def test_blas_has_one_thread_for_what_is_shared_and_for_what_is_not(monkeypatch):
    pytest.importorskip("threadpoolctl")
    [library, *_] = threads._blas_libraries()
    before, seen = tg.get_num_threads(), []

    def watched(*args, **options):
        seen.append(library.num_threads)
        return real(*args, **options)

    real = np.matmul
    monkeypatch.setattr(np, "matmul", watched)
    try:
        tg.set_num_threads(2)
        for rows, count in ((10, 1), (70, 1), (300, 2)):
            seen.clear()
            by_blas(matrix(rows, rows, F), matrix(rows, rows, F))
            assert seen == ([2] if rows == 10 else [1] * count)
            assert library.num_threads == 2
    finally:
        tg.set_num_threads(before)


# Into the same memory, again and again ------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "sizes", [(32, 64, 128), (8, 128, 128), (33, 65, 127), (4, 256, 256), (3, 5, 7)]
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_product_into_the_same_memory(monkeypatch, sizes, turned, dtype):
    """Operands elsewhere in each call, rewritten, unaligned, and of other strides."""
    monkeypatch.setattr(products, "LEAST", [2**20])
    monkeypatch.setattr(products, "TURNED", [1])
    m, k, n = sizes
    rng = np.random.default_rng(0)
    out = np.empty((m, n), dtype)
    run = product_into(out)
    for call in range(4):
        x, w = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(n, k)).astype(dtype)
        if call == 2:
            x = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(dtype).reshape(m, k)
        if call == 3:
            x, w = np.asfortranarray(x), np.repeat(w, 2, axis=1)[:, ::2]
        right = w.T if turned else np.ascontiguousarray(w.T)
        for _ in range(2):
            run(x, right)
            expected = x.astype(np.float64) @ right.astype(np.float64)
            np.testing.assert_allclose(out, expected, rtol=0, atol=np.finfo(dtype).eps * 8 * k)
            if call < 2:
                x *= 2  # in place: the same arrays, other numbers


@pytest.mark.parametrize(
    ("turned", "rows", "kernels"), [(True, 32, 1), (False, 32, 0), (True, 4, 0)]
)
def test_small_products_with_a_turned_factor_are_the_kernels(monkeypatch, turned, rows, kernels):
    """One plan for all calls; BLAS has the others."""
    monkeypatch.setattr(products, "LEAST", [2**20])
    calls = []
    monkeypatch.setattr(
        products, "_planned", lambda *a, made=products._planned: calls.append(a) or made(*a)
    )
    x, w, out = np.ones((rows, 64), F), np.ones((128, 64), F), np.empty((rows, 128), F)
    run = product_into(out)
    for _ in range(3):
        run(x, w.T if turned else np.ascontiguousarray(w.T))
        assert (out == 64).all()
        out[...] = 0
    assert len(calls) == kernels
