"""Kernels of direct convolution, frames of images, and plans of jobs; see `direct.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tapegrad.autograd.kernels.addresses import address
from tapegrad.autograd.kernels.threads import get_num_threads
from tapegrad.autograd.kernels.vector_code import Floats, KernelCode, Whole, lanes_of, ready

__all__ = [
    "FrameAxis",
    "Frames",
    "Lines",
    "JobPlan",
    "copy_rows",
    "cover",
    "cover_at_once",
    "frame_axis",
    "frame_shape",
    "heights_of",
    "in_pieces",
    "interleave_rows",
    "make_plan",
    "packed",
    "registers",
    "sums_kernel",
]

PIECE_BYTES = 2**20  # of frames and results of one piece of work: each costs some calls
PIECE_WORK = 2**23  # multiplications of one piece, which take longer than to wake a thread
LEAST_PIECES = 4  # of a batch whose results are added, and that is more than one of both
HEIGHTS = (6, 4, 3, 2, 1)  # output planes that are computed together

Array = np.ndarray[Any, Any]


# Kernels ------------------------------------------------------------------------------------------


def registers(lanes: int, itemsize: int) -> int:
    """How many registers for vectors a processor has."""
    return 32 if lanes * itemsize == 64 else 16


@lru_cache(maxsize=64)
def _products(dtype: np.dtype[Any], height: int, vectors: int) -> Callable[..., None]:
    """y[r, i, p] = Σₖ w[k, r] · frame[i, p + offset[k]] for r < height, i < rows, p < P.

    For all images and jobs; steps are bytes.
    """
    k = KernelCode(
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
                    weights = [k.load_all(numbers, r) for r in range(height)]
                    return [
                        total.plus_product(entries[i % vectors], weights[i // vectors])
                        for i, total in enumerate(sums)
                    ]

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
def sums_kernel(dtype: np.dtype[Any], height: int, taps: int) -> Callable[..., None]:
    """y[r, t] += Σₙₚ g[n, r, p] · frame[n, p + offset[t]], for each job; P whole registers."""
    k = KernelCode("jobs count images P g g_step g_plane x x_step offsets y pitch", dtype)
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


@lru_cache(maxsize=64)
def _copying(dtype: np.dtype[Any], step: int, width: int) -> Callable[..., None]:
    """Copy rows of every `step`-th number, after `size` zeros from `first` on in each plane.

    All but the numbers of images, planes, … are bytes.  Rows have `width` numbers or more.
    """
    k = KernelCode(
        "images planes rows columns from from_image from_plane from_row into into_image into_plane "
        "into_row first size",
        dtype,
    )
    images, planes, rows, columns, first, size = k["images planes rows columns first size"]
    origin, from_image, from_plane, from_row = k["from from_image from_plane from_row"]
    into, into_image, into_plane, into_row = k["into into_image into_plane into_row"]

    def row(n: Whole, c: Whole, i: Whole) -> None:
        line = origin + from_image * n + from_plane * c + from_row * i
        to = into + into_image * n + into_plane * c + into_row * i
        k.starts(
            columns, lambda p: k.store(k.load_strided(line, p * step, step, width), to, p), width
        )

    def plane(n: Whole, c: Whole) -> None:
        start = first + into_image * n + into_plane * c
        k.starts(size, lambda p: k.store(k.all(0.0, width), start, p), width)
        k.loop(rows, lambda i: row(n, c, i))

    k.loop(images, lambda n: k.loop(planes, lambda c: plane(n, c)) and None)
    return ready(k)


@lru_cache(maxsize=4)
def _interleaving(dtype: np.dtype[Any]) -> Callable[..., None]:
    """Rows of two arrays without gaps, number by number; `into_…` are bytes."""
    k = KernelCode(
        "images planes rows columns evens odds into into_image into_plane into_row", dtype
    )
    images, planes, rows, columns, evens, odds = k["images planes rows columns evens odds"]
    into, into_image, into_plane, into_row = k["into into_image into_plane into_row"]
    lanes = k.lanes
    orders = [
        [number // 2 + first + number % 2 * lanes for number in range(lanes)]
        for first in (0, lanes // 2)
    ]

    def row(n: Whole, c: Whole, i: Whole) -> None:
        start = ((n * planes + c) * rows + i) * columns
        to = into + into_image * n + into_plane * c + into_row * i

        def pair(p: Whole) -> None:
            even, odd = k.load(evens, start + p), k.load(odds, start + p)
            for number, order in enumerate(orders):
                k.store(even.shuffled(odd, order), k.at(to, p * 2), number * lanes)

        k.starts(columns, pair)

    def plane(n: Whole, c: Whole) -> None:
        k.loop(rows, lambda i: row(n, c, i))

    k.loop(images, lambda n: k.loop(planes, lambda c: plane(n, c)) and None)
    return ready(k)


def interleave_rows(into: Array, evens: Array, odds: Array) -> None:
    """into[..., ::2], into[..., 1::2] = evens, odds, which have one shape and no gaps."""
    if evens.shape[3] < lanes_of(into.dtype) or into.strides[3] != into.itemsize:
        into[..., ::2], into[..., 1::2] = evens, odds
        return
    _interleaving(into.dtype)(
        *evens.shape, address(evens), address(odds), _start(into), *into.strides[:3],
    )  # fmt: skip


def copy_rows(into: Array, images: Array, around: Array | None = None) -> None:
    """into[...] = images, both (n, C, H, W); NumPy takes long for many short rows.

    around: what `into` is a part of, with planes without gaps, which get zeros first
    """
    size = into.itemsize
    step = images.strides[3] // size
    if not into.size or step not in {1, 2} or into.strides[3] != size:
        if around is not None:
            around[...] = 0
        into[...] = images
        return
    first, count = (0, 0) if around is None else (_start(around), around[0, 0].size)
    width = 1 << min(into.shape[3], lanes_of(into.dtype)).bit_length() - 1
    _copying(into.dtype, step, width)(
        *into.shape, _start(images), *images.strides[:3], _start(into), *into.strides[:3], first,
        count,
    )  # fmt: skip


def _start(a: Array) -> int:
    """Where an array begins that may have gaps."""
    place: int = a.__array_interface__["data"][0]
    return place


# Frames -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FrameAxis:
    """How one axis of images becomes one of frames.

    planes: the stride, by which it is taken apart
    length: of the axis of a plane
    copies: for each plane, (entries of the plane, entries of the image that go there)
    """

    planes: int
    length: int
    copies: tuple[tuple[slice, slice], ...]


@lru_cache(maxsize=512)
def frame_axis(size: int, step: int, before: int, length: int) -> FrameAxis:
    """The axis of an image behind `before` zeros: entry q in plane q mod step, at q // step."""
    copies = []
    for plane in range(step):
        first = (plane - before) % step
        start = (first + before) // step
        count = max(0, min(-(-(size - first) // step), length - start))
        stop = first + (count - 1) * step + 1 if count else first
        copies.append((slice(start, start + count), slice(first, stop, step)))
    return FrameAxis(step, length, tuple(copies))


class Frames(NamedTuple):
    """The frames of a few images: (images, C, planes down, planes right, height, width)."""

    array: Array
    down: FrameAxis
    right: FrameAxis

    def fill(self, images: Array) -> None:
        """Copy images (n, C, H, W) into their frames; zeros around them."""
        for a, (row, h) in enumerate(self.down.copies):
            for b, (column, w) in enumerate(self.right.copies):
                plane = self.array[:, :, a, b]
                copy_rows(plane[:, :, row, column], images[:, :, h, w], plane)


def frame_shape(channels: int, down: FrameAxis, right: FrameAxis) -> tuple[int, ...]:
    """(C, planes down, planes right, height, width)."""
    return (channels, down.planes, right.planes, down.length, right.length)


def in_pieces(n: int, image_bytes: int, work: int, *, summed: bool = False) -> list[slice]:
    """Slices of a batch, as many for each thread as for any other.

    work:   how many multiplications an image takes
    summed: whether results of images are added, so that no limit may depend on the threads
    """
    step = max(1, PIECE_BYTES // max(1, image_bytes))
    if n * image_bytes > PIECE_BYTES or n * work > PIECE_WORK:
        each = LEAST_PIECES if summed else get_num_threads()
        step = -(-n // (-(-n // (step * each)) * each)) if n else 1
    return [slice(first, min(first + step, n)) for first in range(0, n, step)]


# Plans of `_products` -----------------------------------------------------------------------------


class JobPlan(NamedTuple):
    """What `_products` does for each image; it depends on shapes and settings alone.

    offsets: for each tap, where it reads in a frame
    jobs:    for each number of planes that are computed together, the bytes from the start of the
             frame, of the weights and of the results to those of a job
    """

    offsets: Array
    jobs: list[tuple[int, Array]]

    def run(self, frames: Array, w: Array, y: Array, lines: Lines) -> None:
        """Compute y (images, planes, …) of frames and packed weights."""
        arguments = (
            len(frames), address(frames), frames.strides[0], lines.frame_row * y.itemsize,
            address(w), address(y), y.strides[0], y.strides[1], lines.y_row * y.itemsize,
            address(self.offsets), len(self.offsets), lines.rows, lines.places,
        )  # fmt: skip
        for (height, jobs), vectors in zip(self.jobs, lines.vectors, strict=True):
            run = _products(y.dtype, height, vectors)
            run(address(jobs), len(jobs), *arguments)


class Lines(NamedTuple):
    """The places of one image: lines of neighbours in the frame, and how they are covered.

    rows, places: how many lines of how many places
    frame_row, y_row: the numbers from one line to the next
    vectors: for each entry of a plan's jobs, the registers that cover neighbours
    """

    rows: int
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
        most = (registers(lanes, dtype.itemsize) - 1) // (height + 1)
        cost, best = min(
            (-(-places // (v * lanes)) * (max(height * v, height + v) + 3), v)
            for v in range(1, max(1, min(most, places // lanes)) + 1)
        )
        total += cost
        vectors.append(best)
    return total, tuple(vectors)


def cover_at_once(
    heights: tuple[int, ...], size: tuple[int, int], width: int, dtype: np.dtype[Any]
) -> Lines:
    """Results of `size` in a frame `width` wide as one line; rows must be copied afterwards."""
    places = max(lanes_of(dtype), (size[0] - 1) * width + size[1])
    return Lines(1, places, 0, 0, _covered(heights, places, dtype)[1])


@lru_cache(maxsize=512)
def cover(
    heights: tuple[int, ...], size: tuple[int, int], width: int, dtype: np.dtype[Any]
) -> tuple[bool, Lines]:
    """How to cover results of `size` in a frame `width` wide; True if row by row.

    Row by row, results go where they belong.  All rows in one line fill registers better if rows
    are short; but it also computes the places between rows, and they are copied afterwards.
    """
    flat = cover_at_once(heights, size, width, dtype)
    if size[1] < lanes_of(dtype):
        return False, flat
    cost, vectors = _covered(heights, size[1], dtype)
    if size[0] * cost > 1.25 * _covered(heights, flat.places, dtype)[0]:
        return False, flat
    return True, Lines(size[0], size[1], width, size[1], vectors)


def heights_of(planes: int) -> tuple[int, ...]:
    """The numbers of planes that are computed together, each once, as `make_plan` takes them."""
    found: dict[int, None] = {}
    while planes:
        height = next(h for h in HEIGHTS if h <= planes)
        found[height] = None
        planes -= height
    return tuple(found)


def packed(weights: Array) -> Array:
    """Weights (groups, planes, taps) in the order in which the kernel of products reads them."""
    parts, first, planes = [], 0, weights.shape[1]
    while first < planes:
        height = next(h for h in HEIGHTS if h <= planes - first)
        parts.append(weights[:, first : first + height].transpose(0, 2, 1).reshape(-1))
        first += height
    return np.concatenate(parts)


def make_plan(
    shape: tuple[int, int, int], offsets: Array, group_size: int, pitch: int, itemsize: int
) -> JobPlan:
    """A plan for weights of `shape` (groups, planes, taps), which `packed` has put in order."""
    groups, planes, taps = shape
    group = np.arange(groups)
    jobs: dict[int, list[Array]] = {}
    start = first = 0
    while first < planes:
        height = next(h for h in HEIGHTS if h <= planes - first)
        rows = [
            group * group_size,
            start + group * (taps * height),
            (group * planes + first) * pitch,
        ]
        jobs.setdefault(height, []).append(np.stack(rows, axis=1) * itemsize)
        start += groups * taps * height
        first += height
    return JobPlan(
        np.ascontiguousarray(offsets, dtype=np.int64).reshape(-1),
        [(h, np.ascontiguousarray(np.concatenate(part), np.int64)) for h, part in jobs.items()],
    )
