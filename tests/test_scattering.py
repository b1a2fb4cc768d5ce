"""Rows added by machine code have the bits of NumPy's `add.at`, and its errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.fast_scattering import add_rows
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
