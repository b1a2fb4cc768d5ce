"""Direct convolution with output planes in the lanes of registers, whatever the width of rows is.

`direct.py` computes neighbouring places at once.  Rows that do not fill registers, and the planes
into which a stride takes an image apart, cost it an eighth of its time and more.  Here a register
holds output planes, and a tile has a few places, each with a place of its own in the frame: a frame
is a padded image, and a product is Σₖ frame[place[r] + offset[k]] · panel[k].

- forward: k runs over taps and channels, the panels are weights
- input gradient: the same on the cotangent, for each remainder of places by the stride
- weight gradient: k runs over places, r over taps, and the panels are cotangents
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad.autograd.kernels.addresses import address
from tapegrad.autograd.kernels.direct_plans import FrameAxis, frame_axis
from tapegrad.autograd.kernels.product_code import tiles_of
from tapegrad.autograd.kernels.vector_code import Floats, KernelCode, Whole, lanes_of, ready

if TYPE_CHECKING:
    from tapegrad.autograd.kernels.windows import AxisWindows

__all__ = ["Gathered", "fits_planes", "frame_axes", "panels_of", "places_of", "rows_of", "taps_of"]

VECTORS = 2  # registers of planes in a tile; an odd one is a tile of its own

Array = np.ndarray[Any, Any]


def rows_of(dtype: np.dtype[Any]) -> int:
    """How many places a tile has; their sums, of two registers each, stay in registers.

    Of AVX2's sixteen, LLVM fills no more than ten with sums and keeps all in registers.
    """
    return 5 if lanes_of(dtype) == 8 and dtype.itemsize == 4 else tiles_of(dtype).rows


def fits_planes(dtype: np.dtype[Any], planes: int, places: int) -> bool:
    """Whether planes fill registers, and places a tile."""
    lanes = lanes_of(dtype)
    return planes % lanes == 0 and lanes >= rows_of(dtype) <= places


# Kernels ------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _gathered(dtype: np.dtype[Any], vectors: int, *, summed: bool) -> Callable[..., None]:
    """y[o, r] = Σₖ frame[place[r] + offset[k]] · panel[k, o] of each image, or plus their sum.

    For each job of (bytes to its frame, panel and results); places and offsets are in numbers.
    """
    k = KernelCode(
        "jobs count images frames frame_step places rows offsets depth panels panel_step y y_step "
        "y_plane",
        dtype,
    )
    jobs, count, images, frames, frame_step = k["jobs count images frames frame_step"]
    places, rows, offsets, depth = k["places rows offsets depth"]
    panels, panel_step, y, y_step, y_plane = k["panels panel_step y y_step y_plane"]
    height, lanes, size = rows_of(dtype), k.lanes, dtype.itemsize

    def sums(frame: Whole, panel: Whole, first: Whole, before: list[Floats]) -> list[Floats]:
        starts = [k.at(frame, k.load_whole(places, first + r)) for r in range(height)]

        def add(t: Whole, *sums: Floats) -> list[Floats]:
            offset, line = k.load_whole(offsets, t), panel + t * (vectors * lanes * size)
            right = [k.load(line, v * lanes) for v in range(vectors)]
            found = []
            for r, start in enumerate(starts):
                left = k.load_all(start, offset)
                found += [
                    sums[r * vectors + v].plus_product(left, right[v]) for v in range(vectors)
                ]
            return found

        return k.loop(depth, add, before)

    def put(sums: list[Floats], into: Whole) -> None:
        side = lanes if lanes % height else height  # of squares, whose last lines may be double
        for v in range(vectors):
            for first in range(0, lanes, side):
                lines = [sums[min(r, height - 1) * vectors + v] for r in range(side)]
                square = [line.shuffled(line, range(first, first + side)) for line in lines]
                for o, found in enumerate(k.transposed(square)):
                    keep(found, into + y_plane * (v * lanes + first + o))

    def keep(found: Floats, at: Whole) -> None:
        done = 0
        while done < height:
            width = 1 << (height - done).bit_length() - 1
            part = found.shuffled(found, range(done, done + width))
            k.store(k.load(at, done, width) + part if summed else part, at, done)
            done += width

    zeros = [k.all(0.0, lanes)] * (height * vectors)

    def job(number: Whole) -> None:
        own = [k.load_whole(jobs, number * 3 + i) for i in range(3)]
        frame, panel, lines = frames + own[0], panels + own[1], y + own[2]

        def tile_of_sums(i: Whole) -> None:
            def image(n: Whole, *before: Floats) -> list[Floats]:
                return sums(frame + frame_step * n, panel + panel_step * n, i, list(before))

            put(k.loop(images, image, zeros), k.at(lines, i))

        def each_image(n: Whole) -> None:
            def tile(i: Whole) -> None:
                first = i.minimum(rows - height)  # the last may overlap
                found = sums(frame + frame_step * n, panel, first, zeros)
                put(found, k.at(lines + y_step * n, first))

            k.loop(rows, tile, step=height)

        if summed:
            k.loop(rows, tile_of_sums, step=height)  # rows are whole tiles
        else:
            k.loop(images, each_image)

    k.loop(count, job)
    return ready(k)


@lru_cache(maxsize=16)
def _turning(dtype: np.dtype[Any], vectors: int) -> Callable[..., None]:
    """panel[k, o] = source[o, k] for the planes o of each panel of each group; steps are bytes."""
    k = KernelCode("groups group_step count source step depth into", dtype)
    groups, group_step, count = k["groups group_step count"]
    source, step, depth, into = k["source step depth into"]
    lanes, size = k.lanes, dtype.itemsize
    wide = vectors * lanes

    def panel(group: Whole, number: Whole) -> None:
        moved = group_step * group
        line = source + moved + step * wide * number
        to = into + moved + depth * (wide * size) * number
        starts = [line + step * i for i in range(wide)]

        def square(p: Whole) -> None:
            place = to + p * (wide * size)
            for v in range(vectors):
                rows = [k.load(start, p) for start in starts[v * lanes : (v + 1) * lanes]]
                for q, row in enumerate(k.transposed(rows)):
                    k.store(row, place, q * wide + v * lanes)

        def single(p: Whole) -> None:
            for i, start in enumerate(starts):
                k.store(k.load(start, p, 1), to + p * (wide * size), i)

        whole = depth // lanes * lanes
        k.loop(whole, square, step=lanes)
        k.loop(depth, single, start=whole)

    k.loop(groups, lambda group: k.loop(count, lambda number: panel(group, number)) and None)
    return ready(k)


# Panels and jobs ----------------------------------------------------------------------------------


def panels_of(planes: Array, groups: int, out: Array) -> Array:
    """(groups · O, depth) without gaps as panels into `out`, of the same size; returns `out`."""
    (total, depth), lanes = planes.shape, lanes_of(planes.dtype)
    each, step = total // groups, planes.strides[0]
    full, odd = divmod(each // lanes, VECTORS)
    at, into = address(planes), address(out)
    if full:
        _turning(planes.dtype, VECTORS)(groups, each * step, full, at, step, depth, into)
    if odd:
        rest = full * VECTORS * lanes * step
        _turning(planes.dtype, odd)(groups, each * step, 1, at + rest, step, depth, into + rest)
    return out


class Gathered(NamedTuple):
    """What `_gathered` does for each image; it depends on shapes and settings alone.

    places, offsets: numbers from the start of a group's frame, of r and of k
    jobs: for each number of registers, (bytes to a job's frame, panel and results) in an image
    """

    places: Array
    offsets: Array
    jobs: list[tuple[int, Array]]

    @classmethod
    def of(
        cls, shape: tuple[int, int], places: Array, offsets: Array, group_size: int, pitch: int,
        dtype: np.dtype[Any],
    ) -> Gathered:  # fmt: skip
        """For `shape` (groups, planes of each), all in numbers.

        group_size: of a group's frame;  pitch: from one plane of results to the next
        """
        (groups, each), size, lanes = shape, dtype.itemsize, lanes_of(dtype)
        depth, group = offsets.size, np.arange(groups)[:, None]
        full, odd = divmod(each // lanes, VECTORS)
        jobs = []
        for vectors, firsts in (
            (VECTORS, np.arange(full) * VECTORS * lanes),
            (odd, np.array([full * VECTORS * lanes])),
        ):
            if vectors and len(firsts):
                planes = group * each + firsts
                parts = [np.broadcast_to(group * group_size, planes.shape), planes * depth]
                found = np.stack([*parts, planes * pitch], axis=-1) * size
                jobs.append((vectors, np.ascontiguousarray(found.reshape(-1, 3), np.int64)))
        first, second = (np.ascontiguousarray(a, np.int64).reshape(-1) for a in (places, offsets))
        return cls(first, second, jobs)

    def run(
        self, frames: Array, panels: Array, y: Array, y_plane: int, y_step: int = 0,
        panel_step: int | None = None,
    ) -> None:  # fmt: skip
        """Fill y, whose planes are `y_plane` bytes apart and whose images are `y_step` bytes apart.

        panel_step: bytes from the panels of an image to those of the next; then y gets the sum
        """
        for vectors, jobs in self.jobs:
            run = _gathered(frames.dtype, vectors, summed=panel_step is not None)
            run(
                address(jobs), len(jobs), len(frames), address(frames), frames.strides[0],
                address(self.places), len(self.places), address(self.offsets), len(self.offsets),
                address(panels), panel_step or 0, address(y), y_step, y_plane,
            )  # fmt: skip


# Geometry -----------------------------------------------------------------------------------------


def frame_axes(rows: AxisWindows, columns: AxisWindows) -> tuple[FrameAxis, FrameAxis]:
    """The axes of an image with its padding."""
    down, right = (frame_axis(a.size, 1, a.padding, a.reach) for a in (rows, columns))
    return down, right


def places_of(rows: AxisWindows, columns: AxisWindows) -> Array:
    """Where each window begins in a plane of a frame."""
    down, right = np.arange(rows.count) * rows.stride, np.arange(columns.count) * columns.stride
    return down[:, None] * columns.reach + right


def taps_of(channels: int, rows: AxisWindows, columns: AxisWindows) -> Array:
    """Where each tap of each channel reads, from the start of its window on."""
    down, right = (
        np.arange(rows.kernel) * rows.dilation,
        np.arange(columns.kernel) * columns.dilation,
    )
    plane = np.arange(channels)[:, None, None] * (rows.reach * columns.reach)
    return plane + down[:, None] * columns.reach + right
