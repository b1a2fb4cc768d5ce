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

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tapegrad.autograd.kernels.addresses import address
from tapegrad.autograd.kernels.products import by_blas, matmul
from tapegrad.autograd.kernels.threads import run_pieces, scratch_arrays
from tapegrad.autograd.kernels.vector_code import lanes_of
from tapegrad.autograd.kernels.winograd_kernels import (
    AREA,
    FLOAT,
    IN,
    LEAST_ROWS,
    LINE,
    OUT,
    STRIP,
    forward_kernel,
    weight_kernel,
)

__all__ = ["winograd_conv2d", "winograd_fits", "winograd_weight_gradient"]

Array = np.ndarray[Any, Any]

# Tiles of a block.  Few, and the 36 matrices of products that run in the kernel stay in a cache of
# half a megabyte; BLAS needs more rows, and weights that fit no cache should be read for many.
OWN_TILES, BLAS_TILES = 24, 128
OWN_BYTES = 1_500_000  # of transformed kernels whose products run here
PIECES = 8  # of the work; sums of each are added in order, so bits depend on no number of threads

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


class _Tiling(NamedTuple):
    """How results are cut into strips, blocks and pieces; of shapes alone.

    right:  tiles next to each other
    tiles:  the most of a block
    lines:  the most rows of tiles of a strip
    own:    whether products run in the kernels, rather than in BLAS
    strips: for each, of x and of y: bytes to its first entry, number of entries, bytes in the
            table, bytes from the frame (or canvas) to where the first entry of the image would lie;
            then its rows of tiles, and its first tile in the block
    blocks: for each, its first strip, how many it has, and how many tiles
    pieces: for each, its first block and how many it has
    table_x, table_y: where the entries of an image lie in a frame, or canvas, of all rows
    """

    right: int
    tiles: int
    lines: int
    own: bool
    strips: Array
    blocks: Array
    pieces: list[tuple[int, int]]
    table_x: Array
    table_y: Array

    def frame_size(self, channels: int) -> int:
        """The numbers in the frame of a strip."""
        return (self.lines * OUT + IN - OUT) * (self.right * OUT + IN - OUT) * channels

    def canvas_size(self, planes: int) -> int:
        """The numbers in the canvas of a strip."""
        return self.lines * OUT * self.right * OUT * planes


@lru_cache(maxsize=32)
def _work(
    x_shape: tuple[int, ...], planes: int, size: tuple[int, int], padding: tuple[int, int]
) -> _Tiling:
    n, channels, height, width = x_shape
    down, right = (-(-side // OUT) for side in size)
    own = AREA * channels * planes * FLOAT.itemsize <= OWN_BYTES
    own = own and down * right >= LEAST_ROWS and right <= 2 * OWN_TILES
    most = OWN_TILES if own else BLAS_TILES
    lines = min(down, max(1, most // right, -(-LEAST_ROWS // right) if own else 1))
    while own and down % lines and (down % lines) * right < LEAST_ROWS:
        lines += 1  # else the last strip of an image would be too small
    lines = min(lines, down)
    item, wide = FLOAT.itemsize, right * OUT + IN - OUT
    strips: list[list[int]] = []
    blocks: list[list[int]] = []
    tiles = 0
    for image in range(n):
        for i in range(0, down, lines):
            rows = min(lines, down - i)
            first, stop = max(0, i * OUT - padding[0]), (i + rows) * OUT + IN - OUT - padding[0]
            stop = min(height, stop)
            y_stop = min(size[0], (i + rows) * OUT)
            if not blocks or tiles + rows * right > most:
                blocks.append([len(strips), 0, 0])
                tiles = 0
            strips.append(
                [
                    (image * channels * height + first) * width * item,
                    (stop - first) * width,
                    first * width * 8,
                    -i * OUT * wide * channels * item,
                    (image * planes * size[0] + i * OUT) * size[1] * item,
                    (y_stop - i * OUT) * size[1],
                    i * OUT * size[1] * 8,
                    -i * OUT * right * OUT * planes * item,
                    rows,
                    tiles,
                ]
            )
            tiles += rows * right
            blocks[-1][1] += 1
            blocks[-1][2] = tiles
    count = min(PIECES, len(blocks))
    limits = [number * len(blocks) // count for number in range(count + 1)]
    return _Tiling(
        right,
        max(block[2] for block in blocks),
        lines,
        own,
        np.array(strips, np.int64).reshape(-1, STRIP),
        np.array(blocks, np.int64),
        [(a, b - a) for a, b in pairwise(limits)],
        _table((height, width), wide, padding, channels),
        _table(size, right * OUT, (0, 0), planes),
    )


def _table(size: tuple[int, int], width: int, padding: tuple[int, int], channels: int) -> Array:
    """Where each entry of an image lies in a frame of rows of `width` entries, channels last."""
    rows, columns = np.arange(size[0]) + padding[0], np.arange(size[1]) + padding[1]
    return ((rows[:, None] * width + columns) * channels).astype(np.int64).reshape(-1)


def winograd_fits(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], size: tuple[int, int]
) -> bool:
    """Whether the kernels can run, and are worth it; `size` of the results.

    They need vectors of channels and of entries, and tiles enough for the transformed weights.
    """
    n, channels, height, width = x_shape
    down, right = (-(-side // OUT) for side in size)
    # the smallest strip is one row of tiles, its first or last row of entries
    enough = min(channels, w_shape[0], height * width, size[0] * size[1]) >= LINE
    strips = down == 1 or (min(width, size[1]) * (size[0] - (down - 1) * OUT)) >= LINE
    most = 2.2 * size[0] * size[1]  # of the work may be beyond the border of results
    worth = n * down * right >= 64 and down * right * OUT * OUT <= most
    return enough and strips and worth


def _plane(tiles: int, width: int) -> int:
    """The numbers from one of the 36 matrices to the next.

    Apart from a multiple of 4096 bytes, for which a cache has few places: 3 times as fast.
    """
    return -(-tiles * width // LINE) * LINE + 3 * LINE


def _matrices(memory: Array, plane: int, tiles: int, width: int) -> Array:
    """36 matrices (tiles, width) in memory that has them `plane` apart."""
    rows = memory.reshape(AREA, plane)[:, : tiles * width]
    return rows.reshape(AREA, tiles, width)


def _vectors(planes: int, exactly: bool) -> int:
    """How many registers of a row of results the products take; 0 if they do not fit."""
    lanes = lanes_of(FLOAT)
    if exactly:
        return 2 if planes % (2 * lanes) == 0 else 1 if planes % lanes == 0 else 0
    return 2 if planes >= 2 * lanes else 1


def winograd_conv2d(x: Array, w: Array, padding: tuple[int, int], out: Array) -> bool:
    """`conv2d` of x (N, C, H, W) and w (O, C, 3, 3) with stride 1 into `out`; float32, contiguous.

    Returns False if a number in `out` is infinite or NaN: transforms spread such numbers over a
    tile, and overflow earlier, so `out` must then be computed in another way.
    """
    channels, planes, size = x.shape[1], out.shape[1], (out.shape[2], out.shape[3])
    work = _work(x.shape, planes, size, padding)
    taps = np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(9, channels * planes)
    kernels = by_blas(KERNELS, taps).reshape(AREA, channels, planes)
    checks = np.zeros((len(work.pieces), LINE), FLOAT)
    entries_plane, products_plane = _plane(work.tiles, channels), _plane(work.tiles, planes)
    sizes = (
        (work.frame_size(channels),), (AREA * entries_plane,),
        (AREA * products_plane,), (work.canvas_size(planes),),
    )  # fmt: skip
    vectors = _vectors(planes, exactly=False)
    stages = ["in product out"] if work.own else ["in", "out"]
    run, *rest = (forward_kernel(text, vectors) for text in stages)

    def piece(number: int) -> None:
        first, count = work.pieces[number]
        frame, entries, products, canvas = scratch_arrays(FLOAT, *sizes)
        arguments = (
            address(work.strips), address(x), address(work.table_x), channels,
            x.shape[2] * x.shape[3], address(frame), frame.size, address(entries), entries_plane,
            address(kernels), address(products), products_plane, address(canvas), address(out),
            address(work.table_y), planes, size[0] * size[1], work.right,
            address(checks[number]),
        )  # fmt: skip
        if work.own:
            run(address(work.blocks[first:]), count, *arguments)
            return
        for block in range(first, first + count):
            which, tiles = address(work.blocks[block:]), int(work.blocks[block, 2])
            run(which, 1, *arguments)
            matmul(
                _matrices(entries, entries_plane, tiles, channels),
                kernels,
                out=_matrices(products, products_plane, tiles, planes),
            )
            rest[0](which, 1, *arguments)

    run_pieces(piece, len(work.pieces))
    return not np.isnan(checks).any()


def winograd_weight_gradient(x: Array, g: Array, padding: tuple[int, int]) -> Array | None:
    """`conv2d_weight_gradient` for (O, C, 3, 3) and stride 1; float32, contiguous.

    None if a number of it is infinite or NaN.
    """
    channels, planes, size = x.shape[1], g.shape[1], (g.shape[2], g.shape[3])
    work = _work(x.shape, planes, size, padding)
    vectors = _vectors(planes, exactly=True)
    own = work.own and vectors > 0 and channels % 4 == 0
    run = weight_kernel("in product" if own else "in", max(1, vectors))
    sums = np.zeros((len(work.pieces), AREA, channels, planes), FLOAT)
    entries_plane, shares_plane = _plane(work.tiles, channels), _plane(work.tiles, planes)
    sizes = (
        (work.frame_size(channels),), (AREA * entries_plane,),
        (AREA * shares_plane,), (work.canvas_size(planes),),
    )  # fmt: skip

    def piece(number: int) -> None:
        first, count = work.pieces[number]
        frame, entries, shares, canvas = scratch_arrays(FLOAT, *sizes)
        arguments = (
            address(work.strips), address(x), address(work.table_x), channels,
            x.shape[2] * x.shape[3], address(frame), frame.size, address(entries), entries_plane,
            address(sums[number]), address(shares), shares_plane, address(canvas), canvas.size,
            address(g), address(work.table_y), planes, size[0] * size[1], work.right,
        )  # fmt: skip
        if own:
            run(address(work.blocks[first:]), count, *arguments)
            return
        for block in range(first, first + count):
            tiles = int(work.blocks[block, 2])
            run(address(work.blocks[block:]), 1, *arguments)
            sums[number] += matmul(
                _matrices(entries, entries_plane, tiles, channels).transpose(0, 2, 1),
                _matrices(shares, shares_plane, tiles, planes),
            )

    run_pieces(piece, len(work.pieces))
    total = sums.sum(axis=0).reshape(AREA, channels * planes)
    taps = by_blas(KERNELS.T, total).reshape(3, 3, channels, planes)
    result = np.ascontiguousarray(taps.transpose(3, 2, 0, 1))
    return result if np.isfinite(result).all() else None
