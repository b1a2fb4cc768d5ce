"""Convolution with 3×3 kernels by Winograd's way, F(4×4, 3×3): a quarter of the multiplications.

A tile of 4×4 results comes from 6×6 entries.  Tiles, kernels and results are transformed by small
matrices, Bᵀ d B, G k Gᵀ and Aᵀ m A; in between, each of the 36 entries is one matrix product over
channels for all tiles.  The matrices have entries up to 8, so float32 loses about a digit, and
float64 is not computed in this way.

The transforms run on channels as vectors, and so images are turned to have channels last, tile by
tile, in memory that a processor's cache holds.  The weight gradient is the adjoint of the same
steps: Gᵀ (Σ Bᵀ d B · A g Aᵀ) G.
Source: A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tapegrad.autograd.kernels.threads import run_pieces, scratch_arrays
from tapegrad.autograd.kernels.vector_code import Floats, Kernel, Whole, ready

__all__ = ["winograd_conv2d", "winograd_fits", "winograd_weight_gradient"]

FLOAT = np.dtype(np.float32)
OUT, IN = 4, 6  # the side of a tile of results, and of the entries that it comes from
AREA = IN * IN
LINE = 16  # numbers in a line of the cache, which are moved together

TILES = 128  # of one piece of work, at least: matrix products of fewer rows are slower

# G of the paper, with the points 0, ±1, ±2 and ∞
KERNEL = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
KERNELS = np.kron(KERNEL, KERNEL).astype(FLOAT)  # on 3×3 entries in a row


def _entries(d: Sequence[Floats]) -> list[Floats]:
    """Bᵀ d for six entries."""
    even, odd = d[4] - 4.0 * d[2], d[3] - 4.0 * d[1]
    near, far = d[4] - d[2], 2.0 * (d[3] - d[1])
    return [
        4.0 * d[0] - 5.0 * d[2] + d[4],
        even + odd,
        even - odd,
        near + far,
        near - far,
        4.0 * d[1] - 5.0 * d[3] + d[5],
    ]


def _results(m: Sequence[Floats]) -> list[Floats]:
    """Aᵀ m for six products."""
    one, minus = m[1] + m[2], m[1] - m[2]
    two, twice = m[3] + m[4], m[3] - m[4]
    return [m[0] + one + two, minus + 2.0 * twice, one + 4.0 * two, minus + 8.0 * twice + m[5]]


def _results_adjoint(g: Sequence[Floats]) -> list[Floats]:
    """A g for the cotangents of four results."""
    even, odd = g[0] + g[2], g[1] + g[3]
    wide, high = g[0] + 4.0 * g[2], 2.0 * g[1] + 8.0 * g[3]
    return [g[0], even + odd, even - odd, wide + high, wide - high, g[3]]


# Kernels ------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _channels_last() -> Callable[..., None]:
    """(C, P) of an image -> entry p at `frame` + table[p], its C channels next to each other."""
    k = Kernel("x frame table C P", FLOAT)
    x, frame, table, channels, count = k["x frame table C P"]

    def block(p: Whole) -> None:
        places = [k.load_whole(table, p + i) for i in range(LINE)]

        def part(c: Whole) -> None:
            for half in range(0, LINE, k.lanes):
                rows = [k.load(x, (c + lane) * count + p + half) for lane in range(k.lanes)]
                for place, entry in zip(places[half:], k.transposed(rows), strict=False):
                    k.store(entry, frame, place + c)

        k.starts(channels, part)

    k.starts(count, block, LINE)
    return ready(k)


@lru_cache(maxsize=1)
def _channels_first() -> Callable[..., None]:
    """The way back, into (C, P); `check` gets a NaN if any number is infinite or NaN."""
    k = Kernel("frame y table C P check", FLOAT)
    frame, y, table, channels, count, check = k["frame y table C P check"]
    k.store(k.all(0.0, k.lanes), check)

    def block(p: Whole) -> None:
        places = [k.load_whole(table, p + i) for i in range(LINE)]

        def part(c: Whole) -> None:
            wrong = k.load(check)
            for half in range(0, LINE, k.lanes):
                some = places[half : half + k.lanes]
                columns = k.transposed([k.load(frame, place + c) for place in some])
                for lane, row in enumerate(columns):
                    k.store(row, y, (c + lane) * count + p + half)
                    wrong = wrong.plus_product(row, k.all(0.0, k.lanes))
            k.store(wrong, check)

        k.starts(channels, part)

    k.starts(count, block, LINE)
    return ready(k)


def _tiles_kernel(
    forward: bool, side: int, inner: Callable[[Sequence[Floats]], list[Floats]]
) -> Callable[..., None]:
    """A transform of all tiles of an image with channels last.

    forward: from the image to 36 matrices (tiles, channels), else from these to the image
    side:    of a tile in the image
    inner:   the transform of one row or column
    """
    k = Kernel("image matrices down right C plane", FLOAT)
    image, matrices, down, right, channels, plane = k["image matrices down right C plane"]
    width = (right * OUT + (side - OUT)) * channels  # of a row of the image

    def row(i: Whole) -> None:
        def tile(j: Whole) -> None:
            corner = k.at(image, (i * OUT) * width + (j * OUT) * channels)
            products = k.at(matrices, (i * right + j) * channels)
            starts = [corner + (r * 4) * width for r in range(side)]

            def part(c: Whole) -> None:
                if forward:
                    columns = [
                        inner([k.load(starts[r], channels * s + c) for r in range(side)])
                        for s in range(side)
                    ]
                    for a in range(IN):
                        changed = inner([column[a] for column in columns])
                        for b, value in enumerate(changed):
                            k.store(value, products, plane * (a * IN + b) + c)
                    return
                columns = [
                    inner([k.load(products, plane * (a * IN + b) + c) for a in range(IN)])
                    for b in range(IN)
                ]
                for r in range(side):
                    for s, value in enumerate(inner([column[r] for column in columns])):
                        k.store(value, starts[r], channels * s + c)

            k.starts(channels, part)

        k.loop(right, tile)

    k.loop(down, row)
    return ready(k)


@lru_cache(maxsize=1)
def _tiles_in() -> Callable[..., None]:
    return _tiles_kernel(True, IN, _entries)


@lru_cache(maxsize=1)
def _tiles_out() -> Callable[..., None]:
    return _tiles_kernel(False, OUT, _results)


@lru_cache(maxsize=1)
def _tiles_back() -> Callable[..., None]:
    return _tiles_kernel(True, OUT, _results_adjoint)


# Pieces -------------------------------------------------------------------------------------------


class _Tiling(NamedTuple):
    """How an image of results is cut into tiles: their numbers, and the images of one piece."""

    down: int
    right: int
    images: int

    @property
    def count(self) -> int:
        """The tiles of a piece."""
        return self.images * self.down * self.right

    @property
    def frame(self) -> tuple[int, int]:
        """The sides of the entries that the tiles come from."""
        return self.down * OUT + IN - OUT, self.right * OUT + IN - OUT

    @property
    def canvas(self) -> tuple[int, int]:
        """The sides of the tiles together."""
        return self.down * OUT, self.right * OUT


def _tiling(n: int, size: tuple[int, int]) -> _Tiling:
    down, right = (-(-side // OUT) for side in size)
    return _Tiling(down, right, min(n, -(-TILES // (down * right))))


@lru_cache(maxsize=128)
def _table(size: tuple[int, int], width: int, padding: tuple[int, int], channels: int) -> Any:
    """Where each entry of an image lies in a frame of rows of `width` entries, channels last."""
    rows, columns = np.arange(size[0]) + padding[0], np.arange(size[1]) + padding[1]
    return ((rows[:, None] * width + columns) * channels).astype(np.int64).reshape(-1)


def winograd_fits(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], size: tuple[int, int]
) -> bool:
    """Whether the kernels can run: vectors of channels and of entries; `size` of the results."""
    lanes = 16  # of the longest register
    return (
        min(x_shape[1], w_shape[0], x_shape[2] * x_shape[3], size[0] * size[1]) >= lanes
        and min(x_shape) > 0
    )


def _plane(tiles: int, width: int) -> int:
    """The numbers from one of the 36 matrices to the next.

    Apart from a multiple of 4096 bytes, for which a cache has few places: 3 times as fast.
    """
    return -(-tiles * width // LINE) * LINE + 3 * LINE


def _matrices(memory: np.ndarray[Any, Any], tiles: int, width: int) -> np.ndarray[Any, Any]:
    """36 matrices (tiles, width) in memory that has them `_plane` apart."""
    rows = memory.reshape(AREA, _plane(tiles, width))[:, : tiles * width]
    return rows.reshape(AREA, tiles, width)


def _address(a: np.ndarray[Any, Any]) -> int:
    address: int = a.__array_interface__["data"][0]
    return address


def winograd_conv2d(
    x: np.ndarray[Any, Any],
    w: np.ndarray[Any, Any],
    padding: tuple[int, int],
    out: np.ndarray[Any, Any],
) -> bool:
    """`conv2d` of x (N, C, H, W) and w (O, C, 3, 3) with stride 1 into `out`; float32, contiguous.

    Returns False if a number in `out` is infinite or NaN: transforms spread such numbers over a
    tile, and overflow earlier, so `out` must then be computed in another way.
    """
    n, channels = x.shape[:2]
    planes, size = out.shape[1], (out.shape[2], out.shape[3])
    tiling = _tiling(n, size)
    taps = np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(9, channels * planes)
    kernels = np.matmul(KERNELS, taps).reshape(AREA, channels, planes)
    frame_shape, canvas_shape = tiling.frame, tiling.canvas
    spread = _table((x.shape[2], x.shape[3]), frame_shape[1], padding, channels)
    gather = _table(size, canvas_shape[1], (0, 0), planes)
    count = -(-n // tiling.images)
    checks = np.zeros((n, 16), FLOAT)
    tiles_in, tiles_out = _tiles_in(), _tiles_out()
    last, first = _channels_last(), _channels_first()

    def piece(number: int) -> None:
        start = number * tiling.images
        images = min(tiling.images, n - start)
        tiles = images * tiling.down * tiling.right
        frame, entries, products, canvas = scratch_arrays(
            FLOAT,
            (math.prod(frame_shape) * channels,),
            (AREA * _plane(tiles, channels),),
            (AREA * _plane(tiles, planes),),
            (math.prod(canvas_shape) * planes,),
        )
        frame.fill(0)
        each = tiling.down * tiling.right
        for i in range(images):
            last(
                _address(x[start + i]), _address(frame), _address(spread), channels, spread.size
            )
            tiles_in(
                _address(frame), _address(entries[i * each * channels :]), tiling.down,
                tiling.right, channels, _plane(tiles, channels),
            )  # fmt: skip
        np.matmul(
            _matrices(entries, tiles, channels),
            kernels,
            out=_matrices(products, tiles, planes),
        )
        for i in range(images):
            tiles_out(
                _address(canvas), _address(products[i * each * planes :]), tiling.down,
                tiling.right, planes, _plane(tiles, planes),
            )  # fmt: skip
            first(
                _address(canvas), _address(out[start + i]), _address(gather), planes, gather.size,
                _address(checks[start + i]),
            )  # fmt: skip

    run_pieces(piece, count)
    return not np.isnan(checks).any()


def winograd_weight_gradient(
    x: np.ndarray[Any, Any], g: np.ndarray[Any, Any], padding: tuple[int, int]
) -> np.ndarray[Any, Any] | None:
    """`conv2d_weight_gradient` for (O, C, 3, 3) and stride 1; float32, contiguous.

    None if a number of it is infinite or NaN.  Pieces are added in order, so that the bits do not
    depend on the number of threads.
    """
    n, channels = x.shape[:2]
    planes, size = g.shape[1], (g.shape[2], g.shape[3])
    tiling = _tiling(n, size)
    frame_shape, canvas_shape = tiling.frame, tiling.canvas
    spread = _table((x.shape[2], x.shape[3]), frame_shape[1], padding, channels)
    onto = _table(size, canvas_shape[1], (0, 0), planes)
    count = -(-n // tiling.images)
    groups = min(count, 8)  # sums of pieces that are added in the end
    sums = np.zeros((groups, AREA, channels, planes), FLOAT)
    tiles_in, tiles_back, last = _tiles_in(), _tiles_back(), _channels_last()
    each = tiling.down * tiling.right

    def piece(group: int) -> None:
        for number in range(group * count // groups, (group + 1) * count // groups):
            start = number * tiling.images
            images = min(tiling.images, n - start)
            tiles = images * each
            frame, entries, canvas, shares, product = scratch_arrays(
            FLOAT,
                (math.prod(frame_shape) * channels,),
                (AREA * _plane(tiles, channels),),
                (math.prod(canvas_shape) * planes,),
                (AREA * _plane(tiles, planes),),
                (AREA * channels * planes,),
            )
            frame.fill(0)
            canvas.fill(0)
            for i in range(images):
                last(
                    _address(x[start + i]), _address(frame), _address(spread), channels,
                    spread.size,
                )  # fmt: skip
                tiles_in(
                    _address(frame), _address(entries[i * each * channels :]), tiling.down,
                    tiling.right, channels, _plane(tiles, channels),
                )  # fmt: skip
                last(_address(g[start + i]), _address(canvas), _address(onto), planes, onto.size)
                tiles_back(
                    _address(canvas), _address(shares[i * each * planes :]), tiling.down,
                    tiling.right, planes, _plane(tiles, planes),
                )  # fmt: skip
            part = product.reshape(AREA, channels, planes)
            np.matmul(
                _matrices(entries, tiles, channels).transpose(0, 2, 1),
                _matrices(shares, tiles, planes),
                out=part,
            )
            sums[group] += part

    run_pieces(piece, groups)
    total = sums.sum(axis=0).reshape(AREA, channels * planes)
    taps = np.matmul(KERNELS.T, total).reshape(3, 3, channels, planes)
    result = np.ascontiguousarray(taps.transpose(3, 2, 0, 1))
    return result if np.isfinite(result).all() else None
