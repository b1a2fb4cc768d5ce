"""Contractions of NumPy arrays by plans against the plain body, of operands that lie in any way."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registers import registers_of

import tapegrad as tg
from tapegrad.autograd.kernels import (
    contraction,
    machine,
    products,
    vector_code,
)
from tapegrad.autograd.kernels.tabled_products import DEPTH, MOST, strips
from tapegrad.autograd.kernels.threads import get_num_threads
from tapegrad.autograd.ops import linalg

F, D = np.dtype(np.float32), np.dtype(np.float64)
needs_llvm = pytest.mark.skipif(not machine.is_available(), reason="needs tapegrad[fast]")
PARTS = ["batch", "left", "right", "summed", "lone"]
NETWORK = "abc,bde,cef,dgh,fhi,gia->"


@pytest.fixture(
    params=[
        "as it is",
        "tables",
        pytest.param("AVX-512's products", marks=pytest.mark.extra),
    ]
)
def way(request, monkeypatch):
    """Plans as this processor has them; or such as it would not choose for few numbers."""
    contraction._plan.cache_clear()
    if request.param != "as it is":
        if not machine.is_available():
            pytest.skip("needs tapegrad[fast]")
        monkeypatch.setattr(products, "LEAST", [1])
        monkeypatch.setattr(contraction, "keeps_up_with_blas", lambda: True)
        monkeypatch.setattr(products, "keeps_up_with_blas", lambda: True)
    if request.param == "tables":
        prefer_tables(monkeypatch)
    if request.param == "AVX-512's products":
        monkeypatch.setattr(contraction, "STRIPS", 0)
        monkeypatch.setattr(products, "beats_blas", lambda: True)
    yield request.param
    monkeypatch.undo()
    contraction._plan.cache_clear()


def prefer_tables(monkeypatch):
    contraction._plan.cache_clear()
    monkeypatch.setattr(products, "LEAST", [1])
    monkeypatch.setattr(contraction, "keeps_up_with_blas", lambda: True)
    monkeypatch.setattr(contraction, "FEW", 1)
    monkeypatch.setattr(contraction, "PACKED", 10**9)


def kind(x1, x2, axes1, axes2, result):
    """Which plan is made: the name of its class."""
    plan = contraction._plan(
        axes1, axes2, result, x1.shape, x2.shape, x1.strides, x2.strides, x1.dtype, x2.dtype, True
    )
    return type(plan.__self__).__name__


def plain(x1, x2, axes1, axes2, result):
    return linalg._contract(np, np.matmul, x1, x2, axes1, axes2, result)


def laid(rng, shape, order, dtype, *, gap=0, reverse=False):
    """Random numbers whose axes lie in memory in some order, with gaps, or backwards."""
    lengths = [shape[i] + gap for i in order]
    x = rng.standard_normal(lengths)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(lengths)
    x = (x * 3).astype(dtype)[tuple(slice(shape[i]) for i in order)]
    if reverse:
        x = x[(slice(None, None, -1),) * x.ndim]
    return x.transpose(np.argsort(order)) if order else x


def must_agree(x1, x2, axes1, axes2, result):
    # OpenBLAS was seen to set the flag in a product of a vector whose numbers were all finite; what
    # is not a number would fail below.
    with np.errstate(invalid="ignore"):
        y = contraction.contract(x1, x2, axes1, axes2, result)
        expected = plain(x1, x2, axes1, axes2, result)
    assert type(y) is np.ndarray
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    assert y.flags.writeable
    assert not np.shares_memory(y, x1)
    assert not np.shares_memory(y, x2)
    if y.dtype.kind in "biu":
        np.testing.assert_array_equal(y, expected)
        return y
    size = plain(abs(x1).astype(D), abs(x2).astype(D), axes1, axes2, result)
    # twice as many roundings as terms, at most: of this sum and of the plain one
    terms = 2 + x1.size * x2.size / max(1, y.size)
    bound = size * np.finfo(y.dtype).eps * 4 * np.sqrt(terms)
    assert (abs(y - expected) <= bound).all()
    return y


@st.composite
def contractions(draw):
    """(x1, x2, axes1, axes2, result) with letters of all parts, in any order."""
    letters = "abcdefg"[: draw(st.integers(1, 7))]
    part = {c: draw(st.sampled_from(PARTS[:4] * 3 + PARTS[4:])) for c in letters}
    lengths = st.sampled_from([1, 2, 3, 8, 9, 17, 30] if len(letters) < 5 else [1, 2, 3, 5])
    size = {c: draw(lengths) for c in letters}
    if draw(st.integers(0, 19)) == 0:
        size[draw(st.sampled_from(letters))] = 0

    def some(*parts):
        return "".join(draw(st.permutations([c for c in letters if part[c] in parts])))

    axes1, axes2 = some("batch", "left", "summed", "lone"), some("batch", "right", "summed")
    result = some("batch", "left", "right")
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtypes = st.sampled_from([*"ffdDFie?", ">f4"])
    first = draw(dtypes)
    second = draw(st.sampled_from([first] * 7 + list("fdi")))
    operands = []
    for axes, dtype in ((axes1, first), (axes2, second)):
        alone = draw(st.integers(0, 29)) == 0  # lengths of 1 beside others
        shape = [1 if alone and i == 0 else size[c] for i, c in enumerate(axes)]
        order = draw(st.permutations(range(len(axes))))
        gap, reverse = draw(st.sampled_from([(0, False)] * 6 + [(1, False), (0, True)]))
        x = laid(rng, shape, order, dtype, gap=gap, reverse=reverse)
        if axes and shape[0] > 1 and draw(st.integers(0, 9)) == 0:
            x = np.broadcast_to(x[:1], x.shape)
        operands.append(x)
    if draw(st.booleans()):
        return (*operands[::-1], axes2, axes1, result)
    return (*operands, axes1, axes2, result)


@settings(max_examples=40)
@given(case=contractions())
def test_contractions_agree_with_the_plain_body(case):
    must_agree(*case)


@pytest.mark.extra
def test_contractions_agree_with_the_plain_body_by_any_way(way):
    @settings(max_examples=400)
    @given(case=contractions())
    def check(case):
        must_agree(*case)

    check()


CASES = [  # axes of x1, how x1 lies, axes of x2, result
    ("acde", "acde", "cef", "fad"),
    ("acde", "acde", "cef", "adf"),
    ("dgfi", "dfgi", "fhi", "dgh"),
    ("acde", "eadc", "abc", "bde"),
    ("ab", "ab", "cb", "ca"),
    ("abc", "bca", "bd", "acd"),
]
SIZES = dict(zip("abcdefghi", (7, 5, 9, 6, 31, 20, 4, 3, 33), strict=True))


@needs_llvm
@pytest.mark.parametrize("dtype", [F, D])
def test_tables_of_rows_and_sums_in_any_order(monkeypatch, dtype):
    prefer_tables(monkeypatch)
    rng = np.random.default_rng(0)
    for axes1, lies, axes2, result in CASES:
        order = [axes1.index(c) for c in lies]
        x1 = laid(rng, [SIZES[c] for c in axes1], order, dtype)
        x2 = laid(rng, [SIZES[c] for c in axes2], range(len(axes2)), dtype)
        for arguments in ((x1, x2, axes1, axes2, result), (x2, x1, axes2, axes1, result)):
            assert kind(*arguments) == "_Tabled"
            must_agree(*arguments)
    contraction._plan.cache_clear()


@needs_llvm
@pytest.mark.parametrize("dtype", [F, D])
def test_tables_of_all_sizes(monkeypatch, dtype):
    prefer_tables(monkeypatch)
    monkeypatch.setattr(contraction, "STRIPS", 10)
    rng = np.random.default_rng(0)
    lanes = vector_code.lanes_of(dtype)
    widths = (1, 3, lanes - 1, lanes, lanes + 1, 3 * lanes + 2, 4 * lanes, 13 * lanes + 1)
    for n in widths:
        for m, depth in ((1, 1), (MOST - 1, 3), (2 * MOST + 3, DEPTH), (MOST, 2 * DEPTH + 5)):
            x = laid(rng, (m, 3, depth), (2, 0, 1), dtype)
            b = laid(rng, (3, depth, n), (1, 0, 2), dtype)
            assert kind(x, b, "asd", "sdn", "an") == "_Tabled"
            must_agree(x, b, "asd", "sdn", "an")
            must_agree(b, x, "sdn", "asd", "na")
    contraction._plan.cache_clear()


@needs_llvm
def test_tables_stay_short(monkeypatch):
    prefer_tables(monkeypatch)
    monkeypatch.setattr(contraction, "LONGEST", 63)
    rng = np.random.default_rng(0)
    x, b = laid(rng, (7, 6, 5, 9), (2, 0, 3, 1), F), laid(rng, (6, 20), (0, 1), F)
    for arguments in ((x, b, "abcd", "bn", "dnac"), (b, x, "bn", "abcd", "dcan")):
        must_agree(*arguments)
        plan = contraction._plan.__wrapped__(
            *arguments[2:], *(y.shape for y in arguments[:2]), *(y.strides for y in arguments[:2]),
            F, F, True,
        ).__self__  # fmt: skip
        assert plan.sizes == (63, 6)
        assert len(plan.calls) == 5
    long = rng.standard_normal((9, 64)).astype(F)
    assert kind(long, long, "ab", "cb", "ac") == "_ProductOfMatrices"
    contraction._plan.cache_clear()


@needs_llvm
def test_strips_cover_all_columns_with_registers_that_are_there():
    for dtype in (F, D):
        lanes = vector_code.lanes_of(dtype)
        for n in range(1, 20 * lanes):
            end = 0
            for first, columns, tile in strips(dtype, n):
                assert first == end
                assert tile.width <= columns <= tile.vectors * tile.width < columns + tile.width
                assert tile.rows * tile.vectors <= (24 if lanes * dtype.itemsize == 64 else 12)
                assert 2 <= tile.rows <= MOST
                end = first + columns
            assert end == n


@needs_llvm
def test_threads_give_the_same_bits(monkeypatch):
    prefer_tables(monkeypatch)
    rng = np.random.default_rng(0)
    before = get_num_threads()
    try:
        for n in (20, 90):
            x = rng.standard_normal((11, 7, 5, 40)).astype(F)
            b = rng.standard_normal((7, 40, n)).astype(F)
            found = []
            for threads in (1, 2, 3):
                tg.set_num_threads(threads)
                assert kind(x, b, "abcd", "bdn", "nac") == "_Tabled"
                found.append(must_agree(x, b, "abcd", "bdn", "nac"))
            np.testing.assert_array_equal(found[1], found[0])
            np.testing.assert_array_equal(found[2], found[0])
    finally:
        tg.set_num_threads(before)
        contraction._plan.cache_clear()


@needs_llvm
def test_operands_that_are_frozen_or_lie_between_numbers(monkeypatch):
    prefer_tables(monkeypatch)
    rng = np.random.default_rng(0)
    x, b = rng.standard_normal((5, 6, 7, 8)).astype(F), rng.standard_normal((6, 8, 9)).astype(F)
    between = np.zeros(x.nbytes + 1, np.uint8)[1:].view(F).reshape(x.shape)
    between[...] = x
    x.flags.writeable = b.flags.writeable = False
    assert kind(x, b, "abcd", "bde", "ace") == "_Tabled"
    y = must_agree(x, b, "abcd", "bde", "ace")
    np.testing.assert_array_equal(must_agree(between, b, "abcd", "bde", "ace"), y)
    for fields in (["i1", F], [F, "i1", F]):  # a copy of a field has other strides
        records = np.zeros((5, 6, 7, 8), [(f"f{i}", t) for i, t in enumerate(fields)])
        field = records[f"f{fields.index(F)}"]
        field[...] = x
        for part in (field, field[:, ::-1], field[::-1, :, :, ::-1]):
            expected = contraction.contract(part.copy(), b, "abcd", "bde", "ace")
            np.testing.assert_array_equal(must_agree(part, b, "abcd", "bde", "ace"), expected)
    contraction._plan.cache_clear()


@pytest.mark.parametrize("dtypes", ["ef", "fe", "fd", "df", "eD", "Fd"])
def test_sums_of_one_operand_have_the_dtype_of_the_result(dtypes):
    """2,000 times 100 is infinite in float16, and sums in float32 lose digits of float64."""
    x1 = np.full((3, 2000), 100.1).astype(dtypes[0])
    x2 = np.full((3, 2000), 100.1).astype(dtypes[1])
    for axes1, axes2 in (("ab", "ac"), ("ab", "a"), ("a", "ac")):
        left, right = (x[:, 0] if len(a) == 1 else x for x, a in ((x1, axes1), (x2, axes2)))
        expected = np.einsum(f"{axes1},{axes2}->a", left.astype("G"), right.astype("G"))
        for contract in (contraction.contract, plain):
            y = contract(left, right, axes1, axes2, "a")
            assert y.dtype == np.result_type(x1, x2)
            np.testing.assert_allclose(y, expected, rtol=np.finfo(y.dtype).eps * 100)


def test_what_is_not_finite_reaches_its_sums_alone(way):
    rng = np.random.default_rng(0)
    x, b = rng.standard_normal((5, 6, 7, 8)).astype(F), rng.standard_normal((6, 8, 19)).astype(F)
    x[1, 2, 3, 4], b[5, 7, 18] = np.nan, np.inf
    y = contraction.contract(x, b, "abcd", "bde", "ace")
    expected = np.einsum("abcd,bde->ace", x, b)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))


@pytest.mark.extra
@needs_llvm
@pytest.mark.parametrize("size", [16, 32, 64])
def test_tables_on_other_processors(monkeypatch, size):
    prefer_tables(monkeypatch)
    rng = np.random.default_rng(0)
    with registers_of(size):
        for dtype in (F, D):
            for n in (3, 8, 21, 50):
                x = laid(rng, (13, 4, 5, 30), (2, 1, 0, 3), dtype)
                b = laid(rng, (4, 30, n), (0, 1, 2), dtype)
                tabled = kind(x, b, "abcd", "bdn", "acn") == "_Tabled"
                assert tabled == (size > 16 and len(strips(dtype, n)) <= contraction.STRIPS)
                must_agree(x, b, "abcd", "bdn", "acn")
        must_have_the_networks_gradients()


# What is copied -----------------------------------------------------------------------------------


def peak(x1, x2, axes1, axes2, result):
    """The result, and the most bytes that were taken beside it."""
    contraction.contract(x1, x2, axes1, axes2, result)  # plans and kernels are made
    tracemalloc.start()
    try:
        y = contraction.contract(x1, x2, axes1, axes2, result)
        return y, tracemalloc.get_traced_memory()[1] - y.nbytes
    finally:
        tracemalloc.stop()


@needs_llvm
def test_an_array_times_a_narrow_matrix_is_not_copied(monkeypatch):
    monkeypatch.setattr(contraction, "keeps_up_with_blas", lambda: True)
    contraction._plan.cache_clear()
    if vector_code.lanes_of(F) < 8:
        pytest.skip("BLAS keeps products where registers are narrow")
    n = 20
    x, b = np.ones((n,) * 4, F), np.ones((n,) * 3, F)
    for axes, result in (("bdn", "acn"), ("bdn", "nac"), ("adn", "bcn"), ("abn", "cdn")):
        _, beside = peak(x, b, "abcd", axes, result)
        assert beside < x.nbytes / 4, (axes, result)
    contraction._plan.cache_clear()


def test_a_result_is_written_in_its_order():
    q, k = np.ones((4, 30, 5, 20)), np.ones((4, 40, 5, 20))  # batch, place, head, width
    scores, beside = peak(q, k, "bqhd", "bkhd", "bhqk")
    assert scores.flags.c_contiguous
    assert beside < 10_000  # no operand was copied
    mixed, beside = peak(scores, k, "bhqk", "bkhd", "bqhd")
    assert mixed.flags.c_contiguous
    assert beside < 10_000
    rng = np.random.default_rng(0)
    x1, x2 = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3, 5, 6))
    assert must_agree(x1, x2, "bcik", "bckj", "bicj").flags.c_contiguous  # i stands between
    assert peak(np.ones((50, 60)), np.ones((60, 70)), "ij", "jk", "ki")[0].flags.c_contiguous


def test_entries_times_entries_are_no_product_of_matrices(monkeypatch):
    monkeypatch.setattr(products, "matmul", None)
    rng = np.random.default_rng(0)
    for axes1, axes2, result in [("", "abc", "cab"), ("ab", "bc", "cab"), ("ab", "ba", "ab")]:
        x1, x2 = (rng.standard_normal([3] * len(axes)) for axes in (axes1, axes2))
        must_agree(x1, x2, axes1, axes2, result)


# Derivatives --------------------------------------------------------------------------------------


def network(*operands):
    return np.einsum(NETWORK, *operands)


def must_have_the_networks_gradients():
    """Gradients and second derivatives of a network of tensors are those of NumPy's einsum."""
    rng = np.random.default_rng(0)
    terms = NETWORK[:-2].split(",")
    operands = [rng.standard_normal([SIZES[c] for c in term]) / 10 for term in terms]
    values = dict(zip(terms, operands, strict=True))

    def without(*missing, result):
        left = [term for term in terms if term not in missing]
        return np.einsum(
            ",".join(left) + "->" + result, *(values[term] for term in left), optimize=True
        )

    for one, g in zip(terms, tg.grad(network, tuple(range(6)))(*operands), strict=True):
        np.testing.assert_allclose(g, without(one, result=one), rtol=1e-9, atol=1e-12)
    v = rng.standard_normal(operands[2].shape)
    by_v = tg.grad(lambda *x: (tg.grad(network, 2)(*x) * v).sum(), 3)(*operands)
    expected = np.einsum("cefdgh,cef->dgh", without("cef", "dgh", result="cefdgh"), v)
    np.testing.assert_allclose(by_v, expected, rtol=1e-9, atol=1e-12)


def test_gradients_of_a_network(way):
    must_have_the_networks_gradients()


@pytest.mark.parametrize("run", [tg.replay, tg.compile])
def test_a_recorded_step_contracts_as_an_ordinary_one(way, run):
    rng = np.random.default_rng(1)
    operands = [
        rng.standard_normal([SIZES[c] for c in term]).astype(F) for term in NETWORK[:-2].split(",")
    ]

    def step(*x):
        return tg.value_and_grad(network, tuple(range(6)))(*x)

    value, gradients = step(*operands)
    recorded = run(step)
    for _ in range(3):
        found, others = recorded(*operands)
        np.testing.assert_array_equal(found, value)
        for g, other in zip(gradients, others, strict=True):
            np.testing.assert_array_equal(other, g)
