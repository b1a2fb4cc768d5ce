"""Convolution of any stride, padding, dilation and groups in registers, without patch matrices.

An image is copied into a *frame*: padded, and taken apart into stride × stride planes, so that every
tap of the kernel reads neighbours where the results are neighbours.  All that is left of a
convolution's geometry is then one offset for each tap and channel.  Results are numbered along the
rows of the frame; those at its right border belong to no window, and are dropped.

`_products` computes some output planes at some neighbouring places, and keeps all their sums in
registers while it goes over the taps.  The input gradient is the same kernel on the frame of the
cotangent, once for each of the stride × stride planes of the input.  `_sums` computes the weight
gradient: for some output planes and some taps the products of two frames, summed.

A list of jobs (addresses of a frame, of weights, of results) goes to the kernel in one call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tapegrad.autograd.kernels.threads import run_pieces, scratch_arrays
from tapegrad.autograd.kernels.vector_code import Floats, Kernel, Whole, lanes_of, ready
from tapegrad.autograd.kernels.windows import AxisWindows

__all__ = ["direct_conv2d", "direct_fits", "direct_input_gradient", "direct_weight_gradient"]

PIECE_BYTES = 2**18  # of frames and results of one piece of work
LEAST_PIECES = 4  # of a batch that does not fit into one
SUM_PIECES = 8  # parts of a batch whose weight gradients are added in the end, at most
SUM_BYTES = 2**22  # that these take
HEIGHTS = (6, 4, 3, 2, 1)  # output planes that are computed together

Array = np.ndarray[Any, Any]


# Kernels ------------------------------------------------------------------------------------------


def _registers(lanes: int, itemsize: int) -> int:
    return 32 if lanes * itemsize == 64 else 16


@lru_cache(maxsize=64)
def _products(dtype: np.dtype[Any], height: int, vectors: int) -> Callable[..., None]:
    """y[r, i, p] = Σₖ w[k, r] · frame[i, p + offset[k]] for r < height, i < rows, p < P.

    For all images and jobs; steps are bytes.
    """
    k = Kernel(
        "jobs count images frames frame_step frame_row weights y y_step y_plane y_row offsets taps "
        "rows P",
        dtype,
    )
    jobs, count, images, frames, frame_step = k["jobs count images frames frame_step"]
    weights, y, y_step, y_plane, offsets = k["weights y y_step y_plane offsets"]
    taps, rows, places, frame_row, y_row = k["taps rows P frame_row y_row"]

    def job(number: Whole, n: Whole) -> None:
        frame = frames + n * frame_step + k.load_whole(jobs, number * 3)
        matrix = weights + k.load_whole(jobs, number * 3 + 1)
        lines = y + n * y_step + k.load_whole(jobs, number * 3 + 2)

        def row(i: Whole) -> None:
            places_of = frame + i * frame_row
            results_of = lines + i * y_row

            def block(p: Whole) -> None:
                from_ = k.at(places_of, p)

                def tap(t: Whole, *sums: Floats) -> list[Floats]:
                    start = k.at(from_, k.load_whole(offsets, t))
                    numbers = k.at(matrix, t * height)
                    entries = [k.load(start, v * k.lanes) for v in range(vectors)]
                    following = []
                    for r in range(height):
                        weight = k.load_all(numbers, r)
                        for v in range(vectors):
                            following.append(sums[r * vectors + v].plus_product(entries[v], weight))
                    return following

                zeros = [k.all(0.0, k.lanes)] * (height * vectors)
                totals = k.loop(taps, tap, zeros)
                into = k.at(results_of, p)
                for r in range(height):
                    for v in range(vectors):
                        k.store(totals[r * vectors + v], into + y_plane * r, v * k.lanes)

            k.starts(places, block, vectors * k.lanes)

        k.loop(rows, row)

    k.loop(images, lambda n: k.loop(count, lambda number: job(number, n)) and None)
    return ready(k)


@lru_cache(maxsize=64)
def _sums(dtype: np.dtype[Any], height: int, taps: int) -> Callable[..., None]:
    """y[r, t] += Σₙₚ g[n, r, p] · frame[n, p + offset[t]]; P a multiple of the lanes; for each job."""
    k = Kernel("jobs count images P g g_step g_plane x x_step offsets y pitch", dtype)
    jobs, count, images, places = k["jobs count images P"]
    g, g_step, g_plane, x, x_step, offsets, y, pitch = k[
        "g g_step g_plane x x_step offsets y pitch"
    ]

    def job(number: Whole) -> None:
        own, frame, first, into = (k.load_whole(jobs, number * 4 + i) for i in range(4))
        shifts = [k.load_whole(offsets, first + t) for t in range(taps)]

        def image(n: Whole, *sums: Floats) -> list[Floats]:
            shares = [g + own + n * g_step + g_plane * r for r in range(height)]
            starts = [k.at(x + frame + n * x_step, shift) for shift in shifts]

            def block(p: Whole, *sums: Floats) -> list[Floats]:
                parts = [k.load(share, p) for share in shares]
                following = list(sums)
                for t, start in enumerate(starts):
                    entries = k.load(start, p)
                    for r, part in enumerate(parts):
                        following[r * taps + t] = sums[r * taps + t].plus_product(entries, part)
                return following

            return k.loop(places, block, sums, step=k.lanes)

        zeros = [k.all(0.0, k.lanes)] * (height * taps)
        totals = k.loop(images, image, zeros)
        for r in range(height):
            line = k.at(y + into, pitch * r)
            for t in range(taps):
                k.store(k.load(line, t, 1) + totals[r * taps + t].total(), line, t)

    k.loop(count, job)
    return ready(k)


# Frames -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Axis:
    """How one axis of images becomes one of frames.

    planes: the stride, by which it is taken apart
    length: of the axis of a plane
    copies: for each plane, (entries of the plane, entries of the image that go there)
    """

    planes: int
    length: int
    copies: tuple[tuple[slice, slice], ...]


@lru_cache(maxsize=512)
def _axis(size: int, step: int, before: int, length: int) -> _Axis:
    """The axis of an image with `before` zeros in front, entry q in plane q mod step at q // step."""
    copies = []
    for plane in range(step):
        first = (plane - before) % step
        start = (first + before) // step
        count = max(0, min(-(-(size - first) // step), length - start))
        stop = first + (count - 1) * step + 1 if count else first
        copies.append((slice(start, start + count), slice(first, stop, step)))
    return _Axis(step, length, tuple(copies))


class _Frames(NamedTuple):
    """The frames of a few images: (images, C, planes down, planes right, height, width)."""

    array: Array
    down: _Axis
    right: _Axis

    def fill(self, images: Array) -> None:
        """Copy images (n, C, H, W) into their frames; zeros around them."""
        self.array.fill(0)
        for a, (row, h) in enumerate(self.down.copies):
            for b, (column, w) in enumerate(self.right.copies):
                self.array[:, :, a, b, row, column] = images[:, :, h, w]


def _frame_shape(channels: int, down: _Axis, right: _Axis) -> tuple[int, ...]:
    return (channels, down.planes, right.planes, down.length, right.length)


def _address(a: Array) -> int:
    address: int = a.__array_interface__["data"][0]
    return address


def _in_pieces(n: int, image_bytes: int) -> list[slice]:
    """Slices of a batch; they do not depend on the number of threads."""
    step = max(1, PIECE_BYTES // max(1, image_bytes))
    if n * image_bytes > PIECE_BYTES:
        step = min(step, -(-n // LEAST_PIECES))
    return [slice(first, min(first + step, n)) for first in range(0, n, step)]


# Plans of `_products` -----------------------------------------------------------------------------


class _Plan(NamedTuple):
    """What `_products` does for each image; it depends on shapes and settings alone.

    index:   where the numbers of its packed weights lie in w
    offsets: for each tap, where it reads in a frame
    jobs:    for each number of planes that are computed together, the bytes from the start of the
             frame, of the weights and of the results to those of a job
    """

    index: Array
    offsets: Array
    jobs: list[tuple[int, Array]]

    def run(self, frames: Array, w: Array, y: Array, lines: _Lines) -> None:
        """Compute y (images, planes, …) of frames and packed weights."""
        arguments = (
            len(frames), _address(frames), frames.strides[0], lines.frame_row * y.itemsize,
            _address(w), _address(y), y.strides[0], y.strides[1], lines.y_row * y.itemsize,
            _address(self.offsets), len(self.offsets), lines.count, lines.places,
        )  # fmt: skip
        for (height, jobs), vectors in zip(self.jobs, lines.vectors, strict=True):
            run = _products(y.dtype, height, vectors)
            run(_address(jobs), len(jobs), *arguments)


class _Lines(NamedTuple):
    """The places of one image: lines of neighbours in the frame, and how they are covered.

    count, places: how many lines of how many places
    frame_row, y_row: the numbers from one line to the next
    vectors: for each entry of a plan's jobs, the registers that cover neighbours
    """

    count: int
    places: int
    frame_row: int
    y_row: int
    vectors: tuple[int, ...]


def _covered(
    heights: tuple[int, ...], places: int, dtype: np.dtype[Any]
) -> tuple[int, tuple[int, ...]]:
    """The cost of a line of places, about its cycles, and the registers that cover neighbours."""
    lanes = lanes_of(dtype)
    total, vectors = 0, []
    for height in heights:
        most = (_registers(lanes, dtype.itemsize) - 1) // (height + 1)
        cost, best = min(
            (-(-places // (v * lanes)) * (max(height * v, height + v) + 3), v)
            for v in range(1, max(1, min(most, places // lanes)) + 1)
        )
        total += cost
        vectors.append(best)
    return total, tuple(vectors)


def _flat(
    heights: tuple[int, ...], size: tuple[int, int], width: int, dtype: np.dtype[Any]
) -> _Lines:
    """Results of `size` in a frame `width` wide as one line; rows must be copied afterwards."""
    places = max(lanes_of(dtype), (size[0] - 1) * width + size[1])
    return _Lines(1, places, 0, 0, _covered(heights, places, dtype)[1])


@lru_cache(maxsize=512)
def _lines(
    heights: tuple[int, ...], size: tuple[int, int], width: int, dtype: np.dtype[Any]
) -> tuple[bool, _Lines]:
    """How to cover results of `size` in a frame `width` wide; True if row by row.

    Row by row, results go where they belong.  All rows in one line fill registers better if rows
    are short; but it also computes the places between rows, and they are copied afterwards.
    """
    flat = _flat(heights, size, width, dtype)
    if size[1] < lanes_of(dtype):
        return False, flat
    cost, vectors = _covered(heights, size[1], dtype)
    if size[0] * cost > 1.25 * _covered(heights, flat.places, dtype)[0]:
        return False, flat
    return True, _Lines(size[0], size[1], width, size[1], vectors)


def _heights(planes: int) -> tuple[int, ...]:
    """The numbers of planes that are computed together, each once, as `_plan` takes them."""
    found: dict[int, None] = {}
    while planes:
        height = next(h for h in HEIGHTS if h <= planes)
        found[height] = None
        planes -= height
    return tuple(found)


def _plan(index: Array, offsets: Array, group_size: int, pitch: int, itemsize: int) -> _Plan:
    """A plan for weights whose places in w are `index` (groups, planes, taps)."""
    groups, planes, taps = index.shape
    group = np.arange(groups)
    jobs: dict[int, list[Array]] = {}
    packed: list[Array] = []
    start = first = 0
    while first < planes:
        height = next(h for h in HEIGHTS if h <= planes - first)
        packed.append(index[:, first : first + height].transpose(0, 2, 1).reshape(-1))
        rows = [group * group_size, start + group * (taps * height), (group * planes + first) * pitch]
        jobs.setdefault(height, []).append(np.stack(rows, axis=1) * itemsize)
        start += groups * taps * height
        first += height
    return _Plan(
        np.concatenate(packed),
        np.ascontiguousarray(offsets, dtype=np.int64).reshape(-1),
        [(h, np.ascontiguousarray(np.concatenate(part), np.int64)) for h, part in jobs.items()],
    )


def direct_fits(dtype: np.dtype[Any], rows: AxisWindows, columns: AxisWindows) -> bool:
    """Whether the results of one image, in rows of the frame, fill a register."""
    return rows.count * columns.count >= lanes_of(dtype)


# The three primitives -----------------------------------------------------------------------------


def _x_axes(rows: AxisWindows, columns: AxisWindows) -> tuple[_Axis, _Axis]:
    down, right = (
        _axis(a.size, a.stride, a.padding, (a.reach - 1) // a.stride + 1) for a in (rows, columns)
    )
    return down, right


def _offsets(channels: int, rows: AxisWindows, columns: AxisWindows) -> Array:
    """Where each tap of each channel reads in a frame, from the place of the result on."""
    down, right = _x_axes(rows, columns)
    plane = down.length * right.length
    k, m = np.arange(rows.kernel) * rows.dilation, np.arange(columns.kernel) * columns.dilation
    vertical = k % rows.stride * columns.stride * plane + k // rows.stride * right.length
    across = m % columns.stride * plane + m // columns.stride
    channel = np.arange(channels) * (rows.stride * columns.stride * plane)
    found = channel[:, None, None] + vertical[:, None] + across
    return np.ascontiguousarray(found, dtype=np.int64).reshape(-1)


@lru_cache(maxsize=256)
def _forward_plan(
    channels: int,
    planes: int,
    groups: int,
    rows: AxisWindows,
    columns: AxisWindows,
    dtype: np.dtype[Any],
) -> tuple[_Plan, bool, _Lines]:
    down, right = _x_axes(rows, columns)
    offsets = _offsets(channels // groups, rows, columns)
    index = np.arange(planes * len(offsets)).reshape(groups, planes // groups, len(offsets))
    group_size = math.prod(_frame_shape(channels, down, right)) // groups
    size = (rows.count, columns.count)
    by_row, lines = _lines(_heights(planes // groups), size, right.length, dtype)
    pitch = rows.count * columns.count if by_row else lines.places
    plan = _plan(index, offsets, group_size, pitch, dtype.itemsize)
    return plan, by_row, lines


def direct_conv2d(
    x: Array, w: Array, rows: AxisWindows, columns: AxisWindows, groups: int, out: Array
) -> None:
    """`conv2d` into `out` (N, O, oH, oW), contiguous as x is; all of one dtype."""
    n, channels = x.shape[:2]
    planes = out.shape[1]
    plan, by_row, lines = _forward_plan(channels, planes, groups, rows, columns, x.dtype)
    weights = w.reshape(-1)[plan.index]
    down, right = _x_axes(rows, columns)
    shape = _frame_shape(channels, down, right)
    as_it_is = shape == (channels, 1, 1, *x.shape[2:]) and rows.padding == columns.padding == 0
    canvas_shape = (0,) if by_row else (planes, lines.places)
    pieces = _in_pieces(n, (math.prod(shape) + math.prod(canvas_shape)) * x.itemsize)

    def piece(number: int) -> None:
        part = pieces[number]
        count = part.stop - part.start
        frames, canvas = scratch_arrays(
            x.dtype, (0,) if as_it_is else (count, *shape), (count, *canvas_shape)
        )
        if as_it_is:
            frames = x[part]
        else:
            _Frames(frames, down, right).fill(x[part])
        plan.run(frames, weights, out[part] if by_row else canvas, lines)
        if not by_row:
            _take_rows(canvas, right.length, out[part])

    run_pieces(piece, len(pieces))


def _take_rows(canvas: Array, width: int, out: Array) -> None:
    """Copy the results out of lines of places, whose rows are `width` apart."""
    images, planes, height, wanted = out.shape
    step = canvas.itemsize
    strides = (*canvas.strides[:2], width * step, step)
    out[...] = np.lib.stride_tricks.as_strided(canvas, (images, planes, height, wanted), strides)


class _Residue(NamedTuple):
    """The entries of an axis of x with one remainder by the stride, and the taps that reach them.

    count:  how many entries
    taps:   numbers of the taps
    shifts: for each tap, how far before an entry's number the number of its window is
    """

    count: int
    taps: tuple[int, ...]
    shifts: tuple[int, ...]


def _residues(axis: AxisWindows) -> list[_Residue]:
    found = []
    for remainder in range(min(axis.stride, axis.size)):
        taps = [
            k
            for k in range(axis.kernel)
            if (k * axis.dilation - axis.padding - remainder) % axis.stride == 0
        ]
        shifts = [(k * axis.dilation - axis.padding - remainder) // axis.stride for k in taps]
        count = -(-(axis.size - remainder) // axis.stride)
        found.append(_Residue(count, tuple(taps), tuple(shifts)))
    return found


def _g_axis(axis: AxisWindows, residues: Sequence[_Residue]) -> tuple[_Axis, int]:
    """The axis of the cotangent's frames, and the zeros in front of it."""
    shifts = [(shift, r.count) for r in residues for shift in r.shifts]
    before = max([0, *(shift for shift, _ in shifts)])
    length = max([1, *(count + before - shift for shift, count in shifts)])
    return _axis(axis.count, 1, before, length), before


class _Target(NamedTuple):
    """The entries of x with one pair of remainders, and how they are computed, if they have taps."""

    where: Any
    plan: _Plan | None
    lines: _Lines | None


class _Backward(NamedTuple):
    """How the input gradient is computed: axes of the cotangent's frames, and the entries of x.

    by_row: whether results go where they belong at once
    places: the most places of one plane, if not
    """

    down: _Axis
    right: _Axis
    by_row: bool
    places: int
    targets: list[_Target]


@lru_cache(maxsize=256)
def _backward_plan(
    channels: int,
    planes: int,
    groups: int,
    rows: AxisWindows,
    columns: AxisWindows,
    dtype: np.dtype[Any],
) -> _Backward:
    vertical, horizontal = _residues(rows), _residues(columns)
    (down, top), (right, left) = _g_axis(rows, vertical), _g_axis(columns, horizontal)
    plane = down.length * right.length
    heights = _heights(channels // groups)
    size = (vertical[0].count, horizontal[0].count)  # the largest
    by_row, _ = _lines(heights, size, right.length, dtype)
    by_row = by_row and rows.stride == columns.stride == 1
    room = max(lanes_of(dtype), size[0] * right.length)
    shape = (groups, planes // groups, channels // groups, rows.kernel, columns.kernel)
    index = np.arange(math.prod(shape)).reshape(shape).transpose(0, 2, 1, 3, 4)
    first = np.arange(planes // groups)[:, None, None] * plane
    targets = []
    for a, row in enumerate(vertical):
        for b, column in enumerate(horizontal):
            both = (slice(a, None, rows.stride), slice(b, None, columns.stride))
            plan = lines = None
            if row.taps and column.taps:
                taps = index[..., list(row.taps), :][..., list(column.taps)]
                starts = (top - np.array(row.shifts)) * right.length
                _, lines = _lines(heights, (row.count, column.count), right.length, dtype)
                if not by_row:
                    lines = _flat(heights, (row.count, column.count), right.length, dtype)
                plan = _plan(
                    taps.reshape(groups, channels // groups, -1),
                    first + starts[:, None] + (left - np.array(column.shifts)),
                    planes // groups * plane,
                    size[0] * size[1] if by_row else room,
                    dtype.itemsize,
                )
            where = (slice(None), slice(None), *both)
            targets.append(_Target(where, plan, lines))
    return _Backward(down, right, by_row, room, targets)


def direct_input_gradient(
    g: Array, w: Array, rows: AxisWindows, columns: AxisWindows, groups: int, out: Array
) -> None:
    """`conv2d_input_gradient` into `out` (N, C, H, W), contiguous as g is; all of one dtype."""
    n, planes = g.shape[:2]
    channels = out.shape[1]
    back = _backward_plan(channels, planes, groups, rows, columns, g.dtype)
    flat = w.reshape(-1)
    weights = [None if t.plan is None else flat[t.plan.index] for t in back.targets]
    shape = _frame_shape(planes, back.down, back.right)
    canvas_shape = (0,) if back.by_row else (channels, back.places)
    pieces = _in_pieces(n, (math.prod(shape) + math.prod(canvas_shape)) * g.itemsize)

    def piece(number: int) -> None:
        part = pieces[number]
        count = part.stop - part.start
        frames, canvas = scratch_arrays(g.dtype, (count, *shape), (count, *canvas_shape))
        _Frames(frames, back.down, back.right).fill(g[part])
        for target, packed in zip(back.targets, weights, strict=True):
            if target.plan is None or target.lines is None or packed is None:
                out[part][target.where] = 0
                continue
            target.plan.run(frames, packed, out[part] if back.by_row else canvas, target.lines)
            if not back.by_row:
                _take_rows(canvas, back.right.length, out[part][target.where])

    run_pieces(piece, len(pieces))


class _SumPlan(NamedTuple):
    """How the weight gradient is computed: see `_sums`."""

    height: int
    width: int
    offsets: Array
    jobs: Array


@lru_cache(maxsize=256)
def _sum_plan(
    channels: int,
    planes: int,
    groups: int,
    rows: AxisWindows,
    columns: AxisWindows,
    places: int,
    dtype: np.dtype[Any],
) -> _SumPlan:
    offsets = _offsets(channels // groups, rows, columns)
    each, taps, size = planes // groups, len(offsets), dtype.itemsize
    height = min(3, each)
    most = (_registers(lanes_of(dtype), size) - 1 - height) // height
    width = min(most, taps)
    # the last of each may overlap with the one before: it counts from where that one ends
    firsts, tap_firsts = np.arange(0, each, height), np.arange(0, taps, width)
    frame = math.prod(_frame_shape(channels, *_x_axes(rows, columns))) // groups * size
    group, first = np.arange(groups)[:, None, None], firsts[:, None]
    jobs = np.empty((groups, len(firsts), len(tap_firsts), 4), np.int64)
    jobs[..., 0] = (group * each + first) * (places * size)
    jobs[..., 1] = group * frame
    jobs[..., 2] = tap_firsts
    rows_of = len(firsts) * height
    line = len(tap_firsts) * width
    jobs[..., 3] = ((group * rows_of + first) * line + tap_firsts) * size
    padded = np.concatenate([offsets, np.full(width, offsets[-1])])
    return _SumPlan(height, width, padded, jobs.reshape(-1, 4))


def direct_weight_gradient(
    x: Array, g: Array, rows: AxisWindows, columns: AxisWindows, groups: int, out: Array
) -> bool:
    """`conv2d_weight_gradient` into `out` (O, C / groups, kH, kW); x and g contiguous, one dtype.

    Returns False if a number in `out` is infinite or NaN: places that belong to no window are zeros
    of g, whose product with an infinite entry would be NaN.
    """
    n, channels = x.shape[:2]
    planes, size = g.shape[1], x.itemsize
    lanes = lanes_of(x.dtype)
    down, right = _x_axes(rows, columns)
    x_shape = _frame_shape(channels, down, right)
    places = -(-rows.count * right.length // lanes) * lanes
    plan = _sum_plan(channels, planes, groups, rows, columns, places, x.dtype)
    each, taps = planes // groups, out[0].size
    lines = -(-each // plan.height) * plan.height
    pitch = -(-taps // plan.width) * plan.width
    room = plan.height - 1  # planes behind the last, which a job of too few reads
    pieces = _in_pieces(n, (math.prod(x_shape) + planes * places) * size)
    shares_of = max(1, min(len(pieces), SUM_PIECES, SUM_BYTES // max(1, groups * lines * pitch * size)))
    sums = np.zeros((shares_of, groups, lines, pitch), x.dtype)
    run = _sums(x.dtype, plan.height, plan.width)
    pad = places - rows.count * right.length

    def piece(number: int) -> None:
        for part in pieces[
            number * len(pieces) // shares_of : (number + 1) * len(pieces) // shares_of
        ]:
            count = part.stop - part.start
            frames, memory = scratch_arrays(
                x.dtype, (count, *x_shape), (count * planes + room, places)
            )
            _Frames(frames, down, right).fill(x[part])
            shares = memory[: count * planes].reshape(count, planes, places)
            memory[count * planes :] = 0
            if pad:
                shares[..., places - pad :] = 0
            grid = shares[..., : places - pad].reshape(count, planes, rows.count, right.length)
            grid[..., columns.count :] = 0
            grid[..., : columns.count] = g[part]
            run(
                _address(plan.jobs), len(plan.jobs), count, places, _address(shares),
                planes * places * size, places * size, _address(frames), frames.strides[0],
                _address(plan.offsets), _address(sums[number]), pitch,
            )  # fmt: skip

    run_pieces(piece, shares_of)
    out[...] = sums.sum(axis=0)[:, :each, :taps].reshape(out.shape)
    return bool(np.isfinite(out).all())
