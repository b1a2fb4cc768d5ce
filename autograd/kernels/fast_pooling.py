"""Max and average pooling by machine code: one pass, with the windows' results in registers.

Each plane of an image is by itself, so planes of all images are one list.  A maximum and its
position go over the taps together.  An average is a convolution with ones, whose adjoint is at hand
(`direct.py`).  What has no code here, such as strides above 2 or integers, is left to `pooling.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels import pooling as plain
from tapegrad.autograd.kernels.addresses import address, delivered, readable
from tapegrad.autograd.kernels.direct import direct_conv2d, direct_fits, direct_input_gradient
from tapegrad.autograd.kernels.pooling import average_scale, average_windows, check_indices
from tapegrad.autograd.kernels.threads import get_num_threads, run_pieces, scratch_arrays
from tapegrad.autograd.kernels.vector_code import Floats, Ints, KernelCode, Whole, lanes_of, ready
from tapegrad.autograd.kernels.windows import AxisWindows, IntOrPair, expect_shape, plane_windows

__all__ = ["avg_pool2d", "avg_pool2d_gradient", "max_pool2d", "max_unpool2d"]

Array = np.ndarray[Any, Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
PIECE_BYTES = 2**18
MOST_TAPS = 25  # of a window; each is a few instructions


def _has_code(*arrays: Array) -> bool:
    """Whether these are arrays that kernels can read, and there are kernels."""
    same = all(a.dtype == arrays[0].dtype for a in arrays)
    return (
        same and arrays[0].dtype in FLOATS and arrays[0].dtype.isnative and machine.is_available()
    )


def _pieces(planes: int, plane_bytes: int, *, keeps: bool = True) -> list[slice]:
    """Slices of the planes, as many for each thread as for any other.

    keeps: whether a thread comes back to what it has just written, so that a cache should hold it
    """
    step = max(1, PIECE_BYTES // max(1, plane_bytes))
    if (threads := get_num_threads()) > 1 and planes > step // 2:
        step = -(-planes // (-(-planes // (step * threads)) * threads))
    elif not keeps:
        step = planes
    return [slice(first, min(first + step, planes)) for first in range(0, planes, step)]


# Maxima -------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _maxima(
    dtype: np.dtype[Any], taps: tuple[int, int], dilation: tuple[int, int], step: int, width: int
) -> Callable[..., None]:
    """The maximum of each window, and its position, of a list of planes; rows of `width` results.

    firsts: for rows, then columns, what a position is made of; see `_positions`
    """
    k = KernelCode("x x_plane x_row down y indices planes rows columns positions offsets", dtype)
    x, x_plane, x_row, down, y, indices = k["x x_plane x_row down y indices"]
    planes, rows, columns, positions, offsets = k["planes rows columns positions offsets"]
    corner_rows, first_rows = positions, positions + rows * 8
    corner_columns = positions + rows * 16
    first_columns = corner_columns + columns * 8

    def plane(n: Whole) -> None:
        image = x + n * x_plane

        def row(i: Whole) -> None:
            lines = [image + (i * down + t * dilation[0]) * x_row for t in range(taps[0])]
            into = (n * rows + i) * columns
            corner = k.spread(k.load_whole(corner_rows, i), width)
            begin = k.spread(k.load_whole(first_rows, i), width)

            def block(j: Whole) -> None:
                best: Floats = k.all(-np.inf, width)
                winner: Ints = begin + k.load_wholes(first_columns, j, width)
                for tap in range(taps[0] * taps[1]):
                    a, b = divmod(tap, taps[1])
                    value = k.load_strided(k.at(lines[a], b * dilation[1]), j * step, step, width)
                    offset = k.spread(k.load_whole(offsets, tap), width)
                    higher = value.above(best)
                    best, winner = higher.choose(value, best), higher.choose(offset, winner)
                k.store(best, y, into + j)
                place = corner + k.load_wholes(corner_columns, j, width) + winner
                k.store(place, indices, into + j)

            k.starts(columns, block, width)

        k.loop(rows, row)

    k.loop(planes, plane)
    return ready(k)


@lru_cache(maxsize=256)
def _positions(rows: AxisWindows, columns: AxisWindows) -> tuple[Array, Array]:
    """What the position of a maximum is the sum of: parts of its window, the offset of its tap.

    The parts, one after another: of each row of windows, where it begins, and the offset of its
    first tap inside the image; the same of each column.
    """
    parts: list[Array] = []
    for axis, pitch in ((rows, columns.size), (columns, 1)):
        starts = np.arange(axis.count) * axis.stride - axis.padding
        first = -(-np.maximum(-starts, 0) // axis.dilation) * axis.dilation
        parts += [starts * pitch, first * pitch]
    k, m = np.arange(rows.kernel) * rows.dilation, np.arange(columns.kernel) * columns.dilation
    offsets = (k[:, None] * columns.size + m).reshape(-1)
    return np.concatenate(parts).astype(np.int64), offsets.astype(np.int64)


def _width(dtype: np.dtype[Any], count: int) -> int:
    """How many results a register takes, of a row of `count`."""
    width = lanes_of(dtype)
    while width > count:
        width //= 2
    return width


def max_pool2d(
    x: Array,
    *,
    kernel: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = (0, 0),
    dilation: IntOrPair = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Array, Array]:
    """`pooling.max_pool2d` by machine code."""
    where = "max_pool2d"
    expect_shape(where, "x", x, "(N, C, H, W)")
    rows, columns = plane_windows(
        where,
        x.shape,
        kernel,
        stride=kernel if stride is None else stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        pooling=True,
    )
    taps = (rows.kernel, columns.kernel)
    if not _has_code(x) or columns.stride > 2 or taps[0] * taps[1] > MOST_TAPS or not x.size:
        found: tuple[Array, Array] = plain.max_pool2d(
            np,
            x,
            kernel=kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            ceil_mode=ceil_mode,
        )
        return found
    x = readable(x, x.dtype)
    y = np.empty((*x.shape[:2], rows.count, columns.count), x.dtype)
    indices = np.empty(y.shape, np.int64)
    planes, size = x.shape[0] * x.shape[1], x.itemsize
    flat, flat_y = x.reshape(planes, *x.shape[2:]), y.reshape(planes, *y.shape[2:])
    flat_indices = indices.reshape(flat_y.shape)
    bare = rows.needs_no_padding and columns.needs_no_padding
    frame = x.shape[2:] if bare else (rows.reach, columns.reach)
    inner = tuple(
        (slice(a.padding, a.padding + min(a.size, a.reach - a.padding)), slice(a.reach - a.padding))
        for a in (rows, columns)
    )
    run = _maxima(
        x.dtype, taps, (rows.dilation, columns.dilation), columns.stride,
        _width(x.dtype, columns.count),
    )  # fmt: skip
    positions, offsets = _positions(rows, columns)
    pieces = _pieces(planes, 2 * size * frame[0] * frame[1], keeps=not bare)

    def piece(number: int) -> None:
        part = pieces[number]
        images = flat[part]
        if not bare:
            [frames] = scratch_arrays(x.dtype, (len(images), *frame))
            frames.fill(-np.inf)
            frames[:, inner[0][0], inner[1][0]] = images[:, inner[0][1], inner[1][1]]
            images = frames
        run(
            address(images), frame[0] * frame[1] * size, frame[1] * size, rows.stride,
            address(flat_y[part]), address(flat_indices[part]), len(images), rows.count,
            columns.count, address(positions), address(offsets),
        )  # fmt: skip

    run_pieces(piece, len(pieces))
    return y, indices


@lru_cache(maxsize=2)
def _scattered(dtype: np.dtype[Any]) -> Callable[..., None]:
    """y[n, indices[n, p]] += x[n, p]; what lies outside is counted in `outside` and left out."""
    k = KernelCode("x indices y planes count size outside", dtype)
    x, indices, y, planes, count, size, outside = k["x indices y planes count size outside"]
    nowhere = outside + 8

    def plane(n: Whole, wrong: Whole) -> list[Whole]:
        target, first = k.at(y, n * size), n * count

        def entry(p: Whole, wrong: Whole) -> list[Whole]:
            index = k.load_whole(indices, first + p)
            place, miss = k.inside(index, size, k.at(target, index), nowhere)
            k.store(k.load(place, 0, 1) + k.load(x, first + p, 1), place)
            return [wrong + miss]

        return k.loop(count, entry, [wrong])

    [wrong] = k.loop(planes, plane, [k.zero()])
    k.store_whole(wrong, outside)
    return ready(k)


def max_unpool2d(
    x: Array, indices: Array, *, shape: tuple[int, ...], out: Array | None = None
) -> Array:
    """`pooling.max_unpool2d` by machine code, into `out` if it is given."""
    where = "max_unpool2d"
    check_indices(where, indices, shape, "shape =")
    expect_shape(where, "x", x, "(N, C, oH, oW)", tuple(indices.shape))
    fits = out is None or (out.dtype == x.dtype and out.flags.carray)
    if not _has_code(x) or indices.dtype != np.int64 or not x.size or not fits:
        y: Array = plain.max_unpool2d(np, x, indices, shape=shape)
        return delivered(y, out)
    x, indices = readable(x, x.dtype), readable(indices, indices.dtype)
    y = np.empty(shape, x.dtype) if out is None else out
    planes, count, size = shape[0] * shape[1], x.shape[2] * x.shape[3], shape[2] * shape[3]
    flat, flat_x, flat_indices = (
        a.reshape(planes, length) for a, length in ((y, size), (x, count), (indices, count))
    )
    pieces = _pieces(planes, x.itemsize * size)
    misses = np.zeros((len(pieces), 2), np.int64)
    run = _scattered(x.dtype)

    def piece(number: int) -> None:
        part = pieces[number]
        flat[part] = 0
        run(
            address(flat_x[part]), address(flat_indices[part]), address(flat[part]),
            part.stop - part.start, count, size, address(misses[number]),
        )  # fmt: skip

    run_pieces(piece, len(pieces))
    if misses[:, 0].any():  # the plain code says what is wrong
        return max_unpool2d_plainly(x, indices, shape, y)
    return y


def max_unpool2d_plainly(x: Array, indices: Array, shape: tuple[int, ...], y: Array) -> Array:
    """`pooling.max_unpool2d` into y."""
    y[...] = plain.max_unpool2d(np, x, indices, shape=shape)
    return y


# Averages -----------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _ones(rows: AxisWindows, columns: AxisWindows, dtype: np.dtype[Any]) -> Array:
    ones = np.ones((1, 1, rows.kernel, columns.kernel), dtype)
    ones.setflags(write=False)
    return ones


@lru_cache(maxsize=64)
def _scale(
    rows: AxisWindows, columns: AxisWindows, include: bool, divide: bool, dtype: np.dtype[Any]
) -> Array:
    scale = average_scale(np, rows, columns, include, divide).astype(dtype)
    scale.setflags(write=False)
    return scale


def avg_pool2d(
    x: Array,
    *,
    kernel: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divide: bool = True,
    out: Array | None = None,
) -> Array:
    """`pooling.avg_pool2d` by machine code, into `out` if it is given."""
    expect_shape("avg_pool2d", "x", x, "(N, C, H, W)")
    rows, columns = average_windows("avg_pool2d", x.shape, kernel, stride, padding, ceil_mode)
    fits = out is None or (out.dtype == x.dtype and out.flags.carray)
    if not _has_code(x) or not direct_fits(x.dtype, rows, columns) or not x.size or not fits:
        y: Array = plain.avg_pool2d(
            np,
            x,
            kernel=kernel,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divide=divide,
        )
        return delivered(y, out)
    x = readable(x, x.dtype)
    shape = (*x.shape[:2], rows.count, columns.count)
    y = np.empty(shape, x.dtype) if out is None else out
    planes = x.shape[0] * x.shape[1]
    flat = y.reshape(planes, 1, rows.count, columns.count)
    ones = _ones(rows, columns, x.dtype)
    direct_conv2d(x.reshape(planes, 1, *x.shape[2:]), ones, rows, columns, 1, flat)
    y *= _scale(rows, columns, count_include_pad, divide, x.dtype)
    return y


def avg_pool2d_gradient(
    g: Array,
    *,
    shape: tuple[int, ...],
    kernel: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divide: bool = True,
    out: Array | None = None,
) -> Array:
    """`pooling.avg_pool2d_gradient` by machine code, into `out` if it is given."""
    where = "avg_pool2d_gradient"
    rows, columns = average_windows(where, shape, kernel, stride, padding, ceil_mode)
    expect_shape(
        where, "the cotangent", g, "(N, C, oH, oW)", (*shape[:2], rows.count, columns.count)
    )
    fits = out is None or (out.dtype == g.dtype and out.flags.carray)
    if not _has_code(g) or not direct_fits(g.dtype, rows, columns) or not g.size or not fits:
        y: Array = plain.avg_pool2d_gradient(
            np,
            g,
            shape=shape,
            kernel=kernel,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divide=divide,
        )
        return delivered(y, out)
    share = g * _scale(rows, columns, count_include_pad, divide, g.dtype)
    y = np.empty(shape, g.dtype) if out is None else out
    planes = shape[0] * shape[1]
    direct_input_gradient(
        readable(share, g.dtype).reshape(planes, 1, *g.shape[2:]),
        _ones(rows, columns, g.dtype),
        rows,
        columns,
        1,
        y.reshape(planes, 1, *shape[2:]),
    )
    return y
