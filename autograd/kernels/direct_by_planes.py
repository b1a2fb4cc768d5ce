"""Convolution and its gradients with the kernels of `direct_planes.py`, image by image."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad.autograd.kernels.direct_planes import (
    Gathered,
    fits_planes,
    frame_axes,
    panels_of,
    places_of,
    rows_of,
    taps_of,
)
from tapegrad.autograd.kernels.direct_plans import (
    FrameAxis,
    Frames,
    frame_shape,
    in_pieces,
    interleave_rows,
)
from tapegrad.autograd.kernels.residues import cotangent_axis, residues
from tapegrad.autograd.kernels.threads import run_pieces, scratch_arrays
from tapegrad.autograd.kernels.vector_code import lanes_of

if TYPE_CHECKING:
    from tapegrad.autograd.kernels.windows import AxisWindows

__all__ = [
    "conv2d_by_planes",
    "input_gradient_by_planes",
    "stand_planes",
    "weight_gradient_by_planes",
]

SUM_PIECES = 8  # parts of a batch whose weight gradients are added in the end, at most
SUM_BYTES = 2**22  # that these take
FILLED = 1.05  # the most entries of registers for each result, up to which places stand in them

Array = np.ndarray[Any, Any]


def stand_planes(
    planes: int, size: tuple[int, int], width: int, parted: bool, dtype: np.dtype[Any]
) -> bool:
    """Whether planes stand in registers: where a stride parts places, or these leave them empty.

    size: of the results that are computed together, in a frame `width` wide
    """
    lanes = lanes_of(dtype)
    covered = min(size[0] * -(-size[1] // lanes) * lanes, size[0] * width)
    wasteful = parted or covered > FILLED * size[0] * size[1]
    return wasteful and fits_planes(dtype, planes, size[0] * size[1])


@lru_cache(maxsize=64)
def _plan_by_planes(
    channels: int,
    planes: int,
    groups: int,
    rows: AxisWindows,
    columns: AxisWindows,
    dtype: np.dtype[Any],
) -> Gathered:
    each = channels // groups
    return Gathered.of(
        (groups, planes // groups), places_of(rows, columns), taps_of(each, rows, columns),
        each * rows.reach * columns.reach, rows.count * columns.count, dtype,
    )  # fmt: skip


def conv2d_by_planes(
    x: Array, w: Array, rows: AxisWindows, columns: AxisWindows, groups: int, out: Array
) -> None:
    """`direct_conv2d` with output planes in registers."""
    (n, channels), planes = x.shape[:2], out.shape[1]
    plan = _plan_by_planes(channels, planes, groups, rows, columns, x.dtype)
    panels = panels_of(w.reshape(planes, -1), groups, np.empty(w.size, w.dtype))
    down, right = frame_axes(rows, columns)
    shape = frame_shape(channels, down, right)
    as_it_is = shape == (channels, 1, 1, *x.shape[2:])
    pieces = in_pieces(n, (math.prod(shape) + out[0].size) * x.itemsize, out[0].size * w[0].size)

    def piece(number: int) -> None:
        part = pieces[number]
        frames = x[part]
        if not as_it_is:
            [frames] = scratch_arrays(x.dtype, (part.stop - part.start, *shape))
            Frames(frames, down, right).fill(x[part])
        plan.run(frames, panels, out[part], out.strides[1], out.strides[0])

    run_pieces(piece, len(pieces))


class _Remainder(NamedTuple):
    """The entries of x with one pair of remainders, their taps, and their plan if they have any."""

    where: Any
    taps: tuple[slice, slice]
    plan: Gathered | None


@lru_cache(maxsize=64)
def _backward_by_planes(
    channels: int,
    planes: int,
    groups: int,
    rows: AxisWindows,
    columns: AxisWindows,
    dtype: np.dtype[Any],
) -> tuple[FrameAxis, FrameAxis, list[_Remainder]]:
    vertical, horizontal = residues(rows), residues(columns)
    (down, top), (right, left) = cotangent_axis(rows, vertical), cotangent_axis(columns, horizontal)
    plane = down.length * right.length
    first = np.arange(planes // groups)[:, None, None] * plane
    found: list[_Remainder] = []
    for a, row in enumerate(vertical):
        for b, column in enumerate(horizontal):
            plan = None
            if row.taps and column.taps:
                starts = (top - np.array(row.shifts)) * right.length
                plan = Gathered.of(
                    (groups, channels // groups),
                    np.arange(row.size)[:, None] * right.length + np.arange(column.size),
                    first + starts[:, None] + (left - np.array(column.shifts)),
                    planes // groups * plane,
                    row.size * column.size,
                    dtype,
                )
            both = (slice(a, None, rows.stride), slice(b, None, columns.stride))
            where = (slice(None), slice(None), *both)
            found.append(_Remainder(where, (row.reached_by, column.reached_by), plan))
    return down, right, found


def input_gradient_by_planes(
    g: Array, w: Array, rows: AxisWindows, columns: AxisWindows, groups: int, out: Array
) -> None:
    """`direct_input_gradient` with planes of the input in registers."""
    (n, planes), channels = g.shape[:2], out.shape[1]
    down, right, targets = _backward_by_planes(channels, planes, groups, rows, columns, g.dtype)
    turned = w.reshape(groups, planes // groups, channels // groups, rows.kernel, columns.kernel)
    turned = turned.transpose(0, 2, 1, 3, 4)  # (groups, C / groups, O / groups, kH, kW)
    panels = []
    for target in targets:
        own = np.ascontiguousarray(turned[..., target.taps[0], target.taps[1]])
        own = own.reshape(channels, -1)
        panels.append(panels_of(own, groups, np.empty(own.size, own.dtype)) if own.size else own)
    shape = frame_shape(planes, down, right)
    at_once = len(targets) == 1
    sizes = [out[:1][target.where].shape[1:] for target in targets]
    pieces = in_pieces(
        n, (math.prod(shape) + (0 if at_once else out[0].size)) * g.itemsize, g[0].size * w[0].size
    )

    def piece(number: int) -> None:
        part = pieces[number]
        count = part.stop - part.start
        frames, *canvases = scratch_arrays(
            g.dtype, (count, *shape), *([] if at_once else [(count, *size) for size in sizes])
        )
        if at_once:
            canvases = [out[part]]
        Frames(frames, down, right).fill(g[part])
        for target, numbers, canvas in zip(targets, panels, canvases, strict=True):
            if target.plan is None:
                canvas[...] = 0
            else:
                target.plan.run(frames, numbers, canvas, canvas.strides[1], canvas.strides[0])
        if not at_once:
            _interleave(canvases, out[part], (rows.stride, columns.stride))

    run_pieces(piece, len(pieces))


def _interleave(canvases: list[Array], out: Array, strides: tuple[int, int]) -> None:
    """Write the entries of each remainder by the strides to where they belong."""
    wide = min(strides[1], out.shape[3])
    for number in range(0, len(canvases), wide):
        lines = out[:, :, number // wide :: strides[0]]
        row = canvases[number : number + wide]
        if wide == 2 and row[0].shape == row[1].shape:
            interleave_rows(lines, *row)
            continue
        for b, canvas in enumerate(row):
            lines[..., b :: strides[1]] = canvas


@lru_cache(maxsize=64)
def _sums_by_planes(
    channels: int,
    planes: int,
    groups: int,
    rows: AxisWindows,
    columns: AxisWindows,
    dtype: np.dtype[Any],
) -> tuple[Gathered, int]:
    each = channels // groups
    taps = taps_of(each, rows, columns).reshape(-1)
    pitch = -(-taps.size // rows_of(dtype)) * rows_of(dtype)
    taps = np.append(taps, [taps[-1]] * (pitch - taps.size))  # of which none is kept
    shape, group_size = (groups, planes // groups), each * rows.reach * columns.reach
    return Gathered.of(shape, taps, places_of(rows, columns), group_size, pitch, dtype), pitch


def weight_gradient_by_planes(
    x: Array, g: Array, rows: AxisWindows, columns: AxisWindows, groups: int, out: Array
) -> None:
    """`direct_weight_gradient` with output planes in registers."""
    (n, channels), planes, taps = x.shape[:2], g.shape[1], out[0].size
    plan, pitch = _sums_by_planes(channels, planes, groups, rows, columns, x.dtype)
    down, right = frame_axes(rows, columns)
    shape = frame_shape(channels, down, right)
    as_it_is = shape == (channels, 1, 1, *x.shape[2:])
    image_bytes = (math.prod(shape) + g[0].size) * x.itemsize
    pieces = in_pieces(n, image_bytes, g[0].size * out[0].size, summed=True)
    shares = max(1, min(len(pieces), SUM_PIECES, SUM_BYTES // max(1, planes * pitch * x.itemsize)))
    sums = np.zeros((shares, planes, pitch), x.dtype)

    def piece(number: int) -> None:
        for part in pieces[number * len(pieces) // shares : (number + 1) * len(pieces) // shares]:
            count = part.stop - part.start
            frames, panels = scratch_arrays(
                x.dtype, (0,) if as_it_is else (count, *shape), (count, g[0].size)
            )
            if as_it_is:
                frames = x[part]
            else:
                Frames(frames, down, right).fill(x[part])
            panels_of(g[part].reshape(count * planes, -1), count * groups, panels)
            y = sums[number]
            plan.run(frames, panels, y, y.strides[0], panel_step=panels.strides[0])

    run_pieces(piece, shares)
    out[...] = sums.sum(axis=0)[:, :taps].reshape(out.shape)
