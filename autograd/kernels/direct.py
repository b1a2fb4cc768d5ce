"""Convolution of any stride, padding, dilation and groups in registers, without patch matrices.

An image is copied into a *frame*: padded, and taken apart into stride × stride planes, so that
every tap of the kernel reads neighbours where the results are neighbours.  All that is left of a
convolution's geometry is then one offset for each tap and channel.  Results are computed row by
row; short rows are joined to one line, with places between them that belong to no window.

The kernel of products computes some output planes at some neighbouring places, and keeps all their
sums in registers while it goes over the taps.  The input gradient is the same kernel on the frame
of the cotangent, once for each of the stride × stride planes of the input.  The kernel of sums
computes the weight gradient: for some output planes and some taps the products of two frames.

A list of jobs (parts of a frame, of weights, of results) goes to a kernel in one call.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad.autograd.kernels.addresses import address
from tapegrad.autograd.kernels.direct_by_planes import (
    conv2d_by_planes,
    input_gradient_by_planes,
    stand_planes,
    weight_gradient_by_planes,
)
from tapegrad.autograd.kernels.direct_planes import fits_planes
from tapegrad.autograd.kernels.direct_plans import (
    FrameAxis,
    Frames,
    JobPlan,
    Lines,
    copy_rows,
    cover,
    cover_at_once,
    frame_axis,
    frame_shape,
    heights_of,
    in_pieces,
    make_plan,
    packed,
    registers,
    sums_kernel,
)
from tapegrad.autograd.kernels.residues import cotangent_axis, residues
from tapegrad.autograd.kernels.threads import run_pieces, scratch_arrays
from tapegrad.autograd.kernels.vector_code import lanes_of

if TYPE_CHECKING:
    from tapegrad.autograd.kernels.windows import AxisWindows

__all__ = ["direct_conv2d", "direct_fits", "direct_input_gradient", "direct_weight_gradient"]

SUM_PIECES = 8  # parts of a batch whose weight gradients are added in the end, at most
SUM_BYTES = 2**22  # that these take

Array = np.ndarray[Any, Any]


def direct_fits(dtype: np.dtype[Any], rows: AxisWindows, columns: AxisWindows) -> bool:
    """Whether the results of one image, in rows of the frame, fill a register."""
    return rows.count * columns.count >= lanes_of(dtype)


def _x_axes(rows: AxisWindows, columns: AxisWindows) -> tuple[FrameAxis, FrameAxis]:
    down, right = (
        frame_axis(a.size, a.stride, a.padding, (a.reach - 1) // a.stride + 1)
        for a in (rows, columns)
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


@lru_cache(maxsize=64)
def _forward_plan(
    channels: int,
    planes: int,
    groups: int,
    rows: AxisWindows,
    columns: AxisWindows,
    dtype: np.dtype[Any],
) -> tuple[JobPlan, bool, Lines]:
    down, right = _x_axes(rows, columns)
    offsets = _offsets(channels // groups, rows, columns)
    group_size = math.prod(frame_shape(channels, down, right)) // groups
    size = (rows.count, columns.count)
    by_row, lines = cover(heights_of(planes // groups), size, right.length, dtype)
    pitch = rows.count * columns.count if by_row else lines.places
    plan = make_plan(
        (groups, planes // groups, len(offsets)), offsets, group_size, pitch, dtype.itemsize
    )
    return plan, by_row, lines


def direct_conv2d(
    x: Array, w: Array, rows: AxisWindows, columns: AxisWindows, groups: int, out: Array
) -> None:
    """`conv2d` into `out` (N, O, oH, oW), contiguous as x is; all of one dtype."""
    n, channels = x.shape[:2]
    planes = out.shape[1]
    size, parted = (rows.count, columns.count), max(rows.stride, columns.stride) > 1
    if stand_planes(planes // groups, size, columns.reach, parted, x.dtype):
        conv2d_by_planes(x, w, rows, columns, groups, out)
        return
    plan, by_row, lines = _forward_plan(channels, planes, groups, rows, columns, x.dtype)
    weights = packed(w.reshape(groups, planes // groups, -1))
    down, right = _x_axes(rows, columns)
    shape = frame_shape(channels, down, right)
    as_it_is = shape == (channels, 1, 1, *x.shape[2:]) and rows.padding == columns.padding == 0
    canvas_shape = (0,) if by_row else (planes, lines.places)
    pieces = in_pieces(
        n, (math.prod(shape) + math.prod(canvas_shape)) * x.itemsize, out[0].size * w[0].size
    )

    def piece(number: int) -> None:
        part = pieces[number]
        count = part.stop - part.start
        frames, canvas = scratch_arrays(
            x.dtype, (0,) if as_it_is else (count, *shape), (count, *canvas_shape)
        )
        if as_it_is:
            frames = x[part]
        else:
            Frames(frames, down, right).fill(x[part])
        plan.run(frames, weights, out[part] if by_row else canvas, lines)
        if not by_row:
            _take_rows(canvas, right.length, out[part])

    run_pieces(piece, len(pieces))


def _take_rows(canvas: Array, width: int, out: Array) -> None:
    """Copy the results out of lines of places, whose rows are `width` apart."""
    images, planes, height, wanted = out.shape
    step = canvas.itemsize
    strides = (*canvas.strides[:2], width * step, step)
    shape = (images, planes, height, wanted)
    copy_rows(out, np.lib.stride_tricks.as_strided(canvas, shape, strides))


class _Target(NamedTuple):
    """The entries of x with one pair of remainders, their taps, and their plan if they have any."""

    where: Any
    taps: tuple[slice, slice]
    plan: JobPlan | None
    lines: Lines | None


class _Backward(NamedTuple):
    """How the input gradient is computed: axes of the cotangent's frames, and the entries of x.

    by_row: whether results go where they belong at once
    places: the most places of one plane, if not
    """

    down: FrameAxis
    right: FrameAxis
    by_row: bool
    places: int
    targets: list[_Target]


@lru_cache(maxsize=64)
def _backward_plan(
    channels: int,
    planes: int,
    groups: int,
    rows: AxisWindows,
    columns: AxisWindows,
    dtype: np.dtype[Any],
) -> _Backward:
    vertical, horizontal = residues(rows), residues(columns)
    (down, top), (right, left) = cotangent_axis(rows, vertical), cotangent_axis(columns, horizontal)
    plane = down.length * right.length
    heights = heights_of(channels // groups)
    size = (vertical[0].size, horizontal[0].size)  # the largest
    by_row, _ = cover(heights, size, right.length, dtype)
    by_row = by_row and rows.stride == columns.stride == 1
    room = max(lanes_of(dtype), size[0] * right.length)
    first = np.arange(planes // groups)[:, None, None] * plane
    targets = []
    for a, row in enumerate(vertical):
        for b, column in enumerate(horizontal):
            both = (slice(a, None, rows.stride), slice(b, None, columns.stride))
            plan = lines = None
            if row.taps and column.taps:
                starts = (top - np.array(row.shifts)) * right.length
                _, lines = cover(heights, (row.size, column.size), right.length, dtype)
                if not by_row:
                    lines = cover_at_once(heights, (row.size, column.size), right.length, dtype)
                plan = make_plan(
                    (
                        groups,
                        channels // groups,
                        planes // groups * len(row.taps) * len(column.taps),
                    ),
                    first + starts[:, None] + (left - np.array(column.shifts)),
                    planes // groups * plane,
                    size[0] * size[1] if by_row else room,
                    dtype.itemsize,
                )
            where = (slice(None), slice(None), *both)
            targets.append(_Target(where, (row.reached_by, column.reached_by), plan, lines))
    return _Backward(down, right, by_row, room, targets)


def direct_input_gradient(
    g: Array, w: Array, rows: AxisWindows, columns: AxisWindows, groups: int, out: Array
) -> None:
    """`conv2d_input_gradient` into `out` (N, C, H, W), contiguous as g is; all of one dtype."""
    n, planes = g.shape[:2]
    channels = out.shape[1]
    size, parted = (rows.size // rows.stride, columns.size // columns.stride), rows.stride > 1
    parted = parted or columns.stride > 1
    if stand_planes(channels // groups, size, columns.reach, parted, g.dtype):
        input_gradient_by_planes(g, w, rows, columns, groups, out)
        return
    back = _backward_plan(channels, planes, groups, rows, columns, g.dtype)
    turned = w.reshape(groups, planes // groups, channels // groups, rows.kernel, columns.kernel)
    turned = turned.transpose(0, 2, 1, 3, 4)  # (groups, C / groups, O / groups, kH, kW)
    weights = [
        packed(turned[..., t.taps[0], t.taps[1]].reshape(*turned.shape[:2], -1))
        for t in back.targets
    ]
    shape = frame_shape(planes, back.down, back.right)
    canvas_shape = (0,) if back.by_row else (channels, back.places)
    pieces = in_pieces(
        n, (math.prod(shape) + math.prod(canvas_shape)) * g.itemsize, g[0].size * w[0].size
    )

    def piece(number: int) -> None:
        part = pieces[number]
        count = part.stop - part.start
        frames, canvas = scratch_arrays(g.dtype, (count, *shape), (count, *canvas_shape))
        Frames(frames, back.down, back.right).fill(g[part])
        for target, numbers in zip(back.targets, weights, strict=True):
            if target.plan is None or target.lines is None:
                out[part][target.where] = 0
                continue
            target.plan.run(frames, numbers, out[part] if back.by_row else canvas, target.lines)
            if not back.by_row:
                _take_rows(canvas, back.right.length, out[part][target.where])

    run_pieces(piece, len(pieces))


class _SumPlan(NamedTuple):
    """How the weight gradient is computed: see `sums_kernel`."""

    height: int
    width: int
    offsets: Array
    jobs: Array


@lru_cache(maxsize=64)
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
    most = (registers(lanes_of(dtype), size) - 1 - height) // height
    width = min(most, taps)
    # the last of each may overlap with the one before: it counts from where that one ends
    firsts, tap_firsts = np.arange(0, each, height), np.arange(0, taps, width)
    frame = math.prod(frame_shape(channels, *_x_axes(rows, columns))) // groups * size
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
    if fits_planes(x.dtype, planes // groups, out[0].size):
        weight_gradient_by_planes(x, g, rows, columns, groups, out)
        return True
    lanes = lanes_of(x.dtype)
    down, right = _x_axes(rows, columns)
    x_shape = frame_shape(channels, down, right)
    places = -(-rows.count * right.length // lanes) * lanes
    plan = _sum_plan(channels, planes, groups, rows, columns, places, x.dtype)
    each, taps = planes // groups, out[0].size
    lines = -(-each // plan.height) * plan.height
    pitch = -(-taps // plan.width) * plan.width
    room = plan.height - 1  # planes behind the last, which a job of too few reads
    image_bytes = (math.prod(x_shape) + planes * places) * size
    pieces = in_pieces(n, image_bytes, g[0].size * out[0].size, summed=True)
    shares_of = max(
        1, min(len(pieces), SUM_PIECES, SUM_BYTES // max(1, groups * lines * pitch * size))
    )
    sums = np.zeros((shares_of, groups, lines, pitch), x.dtype)
    run = sums_kernel(x.dtype, plan.height, plan.width)
    pad = places - rows.count * right.length

    def piece(number: int) -> None:
        for part in pieces[
            number * len(pieces) // shares_of : (number + 1) * len(pieces) // shares_of
        ]:
            count = part.stop - part.start
            frames, memory = scratch_arrays(
                x.dtype, (count, *x_shape), (count * planes + room, places)
            )
            Frames(frames, down, right).fill(x[part])
            shares = memory[: count * planes].reshape(count, planes, places)
            memory[count * planes :] = 0
            if pad:
                shares[..., places - pad :] = 0
            grid = shares[..., : places - pad].reshape(count, planes, rows.count, right.length)
            grid[..., columns.count :] = 0
            copy_rows(grid[..., : columns.count], g[part])
            run(
                address(plan.jobs), len(plan.jobs), count, places, address(shares),
                planes * places * size, places * size, address(frames), frames.strides[0],
                address(plan.offsets), address(sums[number]), pitch,
            )  # fmt: skip

    run_pieces(piece, shares_of)
    out[...] = sums.sum(axis=0)[:, :each, :taps].reshape(out.shape)
    return bool(np.isfinite(out).all())
