"""Rows taken and added by machine code: NumPy's bits, and its errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import nn
from tapegrad.autograd.kernels import fast_scattering, machine, scattering, threads
from tapegrad.autograd.kernels.fast_scattering import add_rows, clear_rows, take_rows
from tapegrad.autograd.kernels.scattering import scatter_add

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="needs the fast extra: llvmlite")


@given(
    rows=st.integers(1, 9),
    columns=st.sampled_from([(), (1,), (7,), (8,), (33,), (3, 5)]),
    shape=st.sampled_from([(64,), (100,), (9, 12)]),
    dtype=st.sampled_from(["f4", "f8"]),
    kind=st.sampled_from(["i8", "i4", "u2"]),
    seed=st.integers(0, 9),
)
def test_bits_are_those_of_add_at(rows, columns, shape, dtype, kind, seed):
    rng = np.random.default_rng(seed)
    low = 0 if kind[0] == "u" else -rows
    index = rng.integers(low, rows, shape).astype(kind)
    x = rng.normal(size=(*shape, *columns)).astype(dtype)
    start = rng.normal(size=(rows, *columns)).astype(dtype)
    expected, found = start.copy(), start.copy()
    np.add.at(expected, index, x)
    assert add_rows(found, index, x)
    np.testing.assert_array_equal(found, expected)
    other = start.copy()
    scatter_add(np, other, (index,), x)
    np.testing.assert_array_equal(other, expected)


@pytest.mark.parametrize("bad", [5, -6])
def test_an_index_out_of_range_is_numpys_error_and_writes_nothing(bad):
    y, index = np.zeros((5, 3), "f"), np.full(40, bad)
    with pytest.raises(IndexError):
        scatter_add(np, y, (index,), np.ones((40, 3), "f"))
    assert not y.any()


def test_other_arrays_go_by_numpy():
    index, x = np.arange(40) % 5, np.ones((40, 3), "f")
    y = np.zeros((5, 3), "f")
    for other in (
        (y.T, index % 3, np.ones((40, 5), "f")),
        (y, index, x.astype("d")),
        (y, index, x[:, :1]),
        (y, index == 2, x),
        (np.zeros((5, 3), complex), index, x),
        (y, index, np.float32(1)),
    ):
        assert not add_rows(*other)
    scatter_add(np, y, (index,), x.astype("d"))
    np.testing.assert_array_equal(y, 8)


@pytest.mark.parametrize("columns", [(8,), (33,), (3, 5)])
@pytest.mark.parametrize("kind", ["i8", "i4", "u2"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_rows_added_by_turns_have_the_bits_of_add_at(dtype, kind, columns, monkeypatch):
    monkeypatch.setattr(fast_scattering, "add_rows", lambda *_: False)
    rng = np.random.default_rng(0)
    for shape, rows in (((40,), 30), ((9, 12), 200), ((60,), 1)):
        index = rng.integers(0 if kind[0] == "u" else -rows, rows, shape).astype(kind)
        x = rng.normal(size=(*shape, *columns)).astype(dtype)
        found = rng.normal(size=(rows, *columns)).astype(dtype)
        expected = found.copy()
        np.add.at(expected, index, x)
        if rows > 1:  # else one row has too many turns
            turned = found.copy()
            assert scattering._add_by_turns(turned, index, x)
            np.testing.assert_array_equal(turned, expected)
        scatter_add(np, found, index, x)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(IndexError):
        scatter_add(np, found, np.full(40, 1), np.ones((40, *columns), dtype))


# Rows taken -------------------------------------------------------------------------------------


@pytest.fixture(params=[1, 3])
def any_size(request, monkeypatch):
    """Let code take any number of entries, on one thread or three."""
    monkeypatch.setattr(fast_scattering, "MANY", 1)
    monkeypatch.setattr(threads, "WORTH", 1)
    before = tg.get_num_threads()
    tg.set_num_threads(request.param)
    yield
    tg.set_num_threads(before)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("kind", ["i8", "i4", "u2"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("columns", [(1,), (7,), (33,), (3, 5), (64,)])
@pytest.mark.parametrize("shape", [(1,), (100,), (9, 12)])
def test_rows_taken_are_numpys(columns, shape, dtype, kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, *columns)).astype(dtype)
    index = rng.integers(0 if kind[0] == "u" else -9, 9, shape).astype(kind)
    found = take_rows(x, index)
    np.testing.assert_array_equal(found, x[index])
    assert found.shape == x[index].shape
    start, g = rng.normal(size=x.shape).astype(dtype), rng.normal(size=found.shape).astype(dtype)
    expected = start.copy()
    np.add.at(expected, index, g)
    if g.size >= fast_scattering.FEWEST:
        assert add_rows(start, index, g)
        np.testing.assert_array_equal(start, expected)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("columns", [1, 7, 33, 64])
def test_rows_cleared_are_numpys(columns, dtype):
    x = np.random.default_rng(0).normal(size=(50, columns)).astype(dtype)
    index = np.array([3, 4, 17, 49])
    expected = x.copy()
    expected[index] = 0
    assert clear_rows(x, index)
    np.testing.assert_array_equal(x, expected)
    short = index // 2
    for beyond in (50, -1):  # NumPy's code has the error, or counts from the end
        assert not clear_rows(x, np.append(index, beyond))
    for other in ((x[::2], short), (x, index.astype("i4")), (x.astype("f2"), index), (x[0], short)):
        assert not clear_rows(*other)


@pytest.mark.usefixtures("any_size")
def test_rows_that_code_does_not_take():
    x, index = np.ones((5, 8), "f"), np.zeros(4, int)
    for other in ((x, np.array([5])), (x, np.array([-6])), (x.T, index), (x, index == 0),
                  (x[:, 0], index), (x.astype("i4"), index), (x, index[:0]), (x, 1),
                  (x.astype(">f4"), index)):  # fmt: skip
        assert take_rows(*other) is None
    for bad in (5, -6):
        with pytest.raises(IndexError, match="out of bounds"):
            tg.Tensor(x)[np.array([bad])]


@pytest.mark.usefixtures("any_size")
def test_an_index_of_a_tensor_takes_rows_by_code(monkeypatch):
    calls, real = [], take_rows
    monkeypatch.setattr(fast_scattering, "take_rows", lambda *a: calls.append(1) or real(*a))
    x = tg.Parameter(np.arange(40, dtype="f").reshape(5, 8))
    y = x[np.array([3, 1, 3])]
    np.testing.assert_array_equal(y.data, x.data[[3, 1, 3]])
    (y * y).sum().backward()
    expected = np.zeros((5, 8), "f")
    np.add.at(expected, [3, 1, 3], 2 * x.data[[3, 1, 3]])
    np.testing.assert_array_equal(x.grad.data, expected)
    assert calls


# Gradients of rows ------------------------------------------------------------------------------


def dense_gradient(weight, index, g):
    whole = np.zeros_like(weight)
    np.add.at(whole, index, g)
    return whole


@pytest.mark.parametrize("index", [[3, 0, 3, 99, 3], [[-1, 5], [99, -1]], [7]])
def test_rows_are_added_to_a_gradient_as_their_sum_would_be(index):
    rng = np.random.default_rng(0)
    table = tg.Parameter(rng.normal(size=(100, 40)).astype("f"))
    index = np.array(index)
    g, h = rng.normal(size=(2, *index.shape, 40)).astype("f")
    whole = np.zeros((100, 40), "f")
    for cotangent in (g, h, g):
        table[index].backward(cotangent)
        whole += dense_gradient(table.numpy(), index, cotangent)
        np.testing.assert_array_equal(table.grad.numpy(), whole)


def test_a_gradient_of_rows_meets_other_gradients():
    table = tg.Parameter(np.ones((100, 40)))
    index = np.array([1, 1, 2])
    loss = np.sum(table[index]) + np.sum(table * 2) + np.sum(table[np.array([5])] * 3)
    loss = loss + np.sum(table[7]) + np.sum((table * 1)[index])
    loss.backward()
    expected = np.full((100, 40), 2.0)
    expected[1] += 4
    expected[2] += 2
    expected[5] += 3
    expected[7] += 1
    np.testing.assert_array_equal(table.grad.numpy(), expected)
    gradient = tg.grad(lambda t: np.sum(t[index] ** 2))(np.ones((100, 40)))
    assert type(gradient) is np.ndarray
    np.testing.assert_array_equal(gradient[:3, 0], [0, 4, 2])


def test_a_first_gradient_one_that_is_changed_and_one_of_another_kind():
    layer = nn.LookupTable(100, 40)
    index = np.array([4, 4])
    layer.zeroGradParameters()
    layer.weight.grad = None
    np.sum(layer(index)).backward()
    assert layer.weight.grad.numpy()[4, 0] == 2
    masked = tg.Parameter(np.ones((100, 40)))
    mask = np.zeros(100, bool)
    mask[3] = True
    np.sum(masked[mask]).backward()
    assert masked.grad.numpy().sum() == 40
    for run in (tg.replay, tg.compile):
        table = tg.Parameter(np.ones((100, 40), "f"))

        def step(i, table=table):
            np.sum(table[i] * 2).backward()
            return table.grad.detach()[4, 0]

        recorded = run(step)
        assert [float(recorded(index)) for _ in range(4)] == [4, 8, 12, 16]
