"""Convolution with output planes in registers against the plain code, and any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from registers import registers_of

import tapegrad as tg
from tapegrad.autograd.kernels import (
    convolution,
    direct_by_planes,
    direct_planes,
    direct_plans,
    machine,
    vector_code,
)
from tapegrad.autograd.kernels.windows import plane_windows

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="needs the fast extra: llvmlite")

FLOAT, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
LIMITS = {FLOAT: 2e-5, DOUBLE: 1e-12}  # of the largest number, for sums in another order


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


def close(found, expected, dtype):
    size = np.max(np.abs(expected), initial=1e-30)
    np.testing.assert_allclose(found, expected, rtol=0, atol=LIMITS[dtype] * size)


def arguments(n, groups, c, o, size, kernel, settings, dtype, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, groups * c, *size)).astype(dtype)
    w = rng.normal(size=(groups * o, c, *kernel)).astype(dtype)
    rows, columns = plane_windows("test", x.shape, kernel, **settings)
    g = rng.normal(size=(n, groups * o, rows.count, columns.count)).astype(dtype)
    return x, w, g, rows, columns


def results(x, w, g, rows, columns, groups):
    y, dx, dw = (np.full(a.shape, np.nan, a.dtype) for a in (g, x, w))
    direct_by_planes.conv2d_by_planes(x, w, rows, columns, groups, y)
    if all(a.size >= 3 * a.stride for a in (rows, columns)):  # each remainder fills a tile
        direct_by_planes.input_gradient_by_planes(g, w, rows, columns, groups, dx)
    else:
        dx = None
    direct_by_planes.weight_gradient_by_planes(x, g, rows, columns, groups, dw)
    return y, dx, dw


def agrees(n, groups, c, o, size, kernel, settings, dtype, seed):
    lanes = vector_code.lanes_of(dtype)
    given = arguments(n, groups, c * lanes, o * lanes, size, kernel, settings, dtype, seed)
    x, w, g, rows, columns = given
    if not direct_planes.fits_planes(dtype, o * lanes, rows.count * columns.count):
        return False
    y, dx, dw = results(*given, groups)
    settings = {**settings, "groups": groups}
    close(y, convolution.conv2d(np, x, w, **settings), dtype)
    if dx is not None:
        close(dx, convolution.conv2d_input_gradient(np, g, w, shape=x.shape, **settings), dtype)
    close(dw, convolution.conv2d_weight_gradient(np, x, g, shape=w.shape, **settings), dtype)
    return True


@given(
    n=st.integers(1, 3),
    groups=st.sampled_from([1, 1, 2]),
    c=st.integers(1, 3),
    o=st.integers(1, 3),  # so many registers
    size=pairs(3, 20),
    kernel=pairs(1, 5),
    stride=pairs(1, 3),
    padding=pairs(0, 3),
    dilation=pairs(1, 2),
    dtype=st.sampled_from([FLOAT, DOUBLE]),
    seed=st.integers(0, 2**32 - 1),
)
@example(  # a register without another beside it, in each operation
    n=2, groups=2, c=3, o=3, size=(9, 10), kernel=(3, 2), stride=(1, 2), padding=(1, 0),
    dilation=(1, 1), dtype=FLOAT, seed=0,
)  # fmt: skip
def test_planes_in_registers_agree_with_the_plain_code(
    n, groups, c, o, size, kernel, stride, padding, dilation, dtype, seed
):
    sides = zip(size, kernel, padding, dilation, strict=True)
    assume(all(side + 2 * p > d * (k - 1) for side, k, p, d in sides))
    settings = {"stride": stride, "padding": padding, "dilation": dilation}
    assume(agrees(n, groups, c, o, size, kernel, settings, dtype, seed))


@pytest.mark.extra
@pytest.mark.parametrize("size", [16, 32, 64])
def test_planes_agree_on_other_processors(size):
    settings = {"stride": 2, "padding": 1, "dilation": 1}
    with registers_of(size):
        for dtype in (FLOAT, DOUBLE) if size > 16 else (FLOAT,):
            for o in (1, 2, 3):
                assert agrees(2, 2, 1, o, (13, 16), (3, 3), settings, dtype, 0)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    monkeypatch.setattr(direct_plans, "PIECE_WORK", 1)
    settings = {"stride": 2, "padding": 1, "dilation": 1}
    given = arguments(7, 1, 16, 24, (15, 18), (3, 5), settings, FLOAT, 0)
    before = tg.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            tg.set_num_threads(threads)
            found.append(results(*given, 1))
    finally:
        tg.set_num_threads(before)
    for other in found[1:]:
        for one, wanted in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(one, wanted)
