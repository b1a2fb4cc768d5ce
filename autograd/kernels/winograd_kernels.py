"""The transforms and products of Winograd's convolution as machine code; see `winograd.py`.

Work comes in *strips*, some rows of tiles of one image, and *blocks* of strips whose 36 matrices
fit into a cache.  The entries of a strip are turned to have channels last, in a padded *frame*;
results are turned back from a *canvas*.  Where the matrices are small, their products run here as
well, for BLAS copies its operands first; else the kernel stops between the stages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from tapegrad.autograd.kernels.vector_code import Floats, Int, KernelCode, Whole, ready

__all__ = [
    "AREA",
    "FLOAT",
    "IN",
    "LEAST_ROWS",
    "LINE",
    "OUT",
    "STRIP",
    "forward_kernel",
    "weight_kernel",
]

FLOAT = np.dtype(np.float32)
OUT, IN = 4, 6  # the side of a tile of results, and of the entries that it comes from
AREA = IN * IN
LINE = 16  # numbers in a line of the cache, which are moved together
LEAST_ROWS = 6  # of matrices whose products run here
STRIP = 10  # whole numbers that say what a strip is; see `winograd.py`


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


# Stages -------------------------------------------------------------------------------------------


def _clear(k: KernelCode, memory: Whole, count: Int) -> None:
    """Zeros, up to a register more than `count`."""
    k.loop(count, lambda i: k.store(k.all(0.0, k.lanes), memory, i), step=k.lanes)


def _channels_last(
    k: KernelCode, x: Whole, frame: Whole, table: Whole, channels: Whole, count: Whole, pitch: Whole
) -> None:
    """Entry p < `count` of each channel goes to `frame` + table[p]; channels are `pitch` apart."""

    def block(p: Whole) -> None:
        places = [k.load_whole(table, p + i) for i in range(LINE)]

        def part(c: Whole) -> None:
            for half in range(0, LINE, k.lanes):
                rows = [k.load(x, (c + lane) * pitch + p + half) for lane in range(k.lanes)]
                for place, entry in zip(places[half:], k.transposed(rows), strict=False):
                    k.store(entry, frame, place + c)

        k.starts(channels, part)

    k.starts(count, block, LINE)


def _channels_first(
    k: KernelCode,
    canvas: Whole,
    y: Whole,
    table: Whole,
    channels: Whole,
    count: Whole,
    pitch: Whole,
    check: Whole,
) -> None:
    """The way back; `check` gets a NaN if any number is infinite or NaN."""

    def block(p: Whole) -> None:
        places = [k.load_whole(table, p + i) for i in range(LINE)]

        def part(c: Whole) -> None:
            wrong = k.load(check)
            for half in range(0, LINE, k.lanes):
                some = places[half : half + k.lanes]
                columns = k.transposed([k.load(canvas, place + c) for place in some])
                for lane, row in enumerate(columns):
                    k.store(row, y, (c + lane) * pitch + p + half)
                    wrong = wrong.plus_product(row, k.all(0.0, k.lanes))
            k.store(wrong, check)

        k.starts(channels, part)

    k.starts(count, block, LINE)


def _each_tile(
    k: KernelCode, down: Whole, right: Whole, body: Callable[[Whole, Whole, Whole], None]
) -> None:
    """Run body(row, column, number) for each tile of a strip."""
    k.loop(down, lambda i: k.loop(right, lambda j: body(i, j, i * right + j)) and None)


def _tiles_to_matrices(
    k: KernelCode,
    image: Whole,
    matrices: Whole,
    down: Whole,
    right: Whole,
    channels: Whole,
    plane: Whole,
    side: int,
    transform: Callable[[Sequence[Floats]], list[Floats]],
) -> None:
    """Transform tiles whose `side` is 6 (entries) or 4 (cotangents of results)."""
    width = (right * OUT + (side - OUT)) * channels

    def tile(i: Whole, j: Whole, number: Whole) -> None:
        corner = k.at(image, (i * OUT) * width + (j * OUT) * channels)
        rows = [corner + width * (FLOAT.itemsize * r) for r in range(side)]
        target = k.at(matrices, number * channels)

        def part(c: Whole) -> None:
            columns = [
                transform([k.load(row, channels * s + c) for row in rows]) for s in range(side)
            ]
            for a in range(IN):
                for b, value in enumerate(transform([column[a] for column in columns])):
                    k.store(value, target, plane * (a * IN + b) + c)

        k.starts(channels, part)

    _each_tile(k, down, right, tile)


def _matrices_to_tiles(
    k: KernelCode,
    matrices: Whole,
    canvas: Whole,
    down: Whole,
    right: Whole,
    channels: Whole,
    plane: Whole,
) -> None:
    """Transform products to tiles of results."""
    width = right * OUT * channels

    def tile(i: Whole, j: Whole, number: Whole) -> None:
        corner = k.at(canvas, (i * OUT) * width + (j * OUT) * channels)
        source = k.at(matrices, number * channels)

        def part(c: Whole) -> None:
            columns = [
                _results([k.load(source, plane * (a * IN + b) + c) for a in range(IN)])
                for b in range(IN)
            ]
            for r in range(OUT):
                for s, value in enumerate(_results([column[r] for column in columns])):
                    k.store(value, k.at(corner, width * r), channels * s + c)

        k.starts(channels, part)

    _each_tile(k, down, right, tile)


def _outer(
    sums: Sequence[Floats], factors: Sequence[Floats], weights: Sequence[Floats]
) -> list[Floats]:
    """Sums, weight by weight, plus the products of each weight with all factors."""
    return [
        total.plus_product(factors[i % len(factors)], weights[i // len(factors)])
        for i, total in enumerate(sums)
    ]


def _products(
    k: KernelCode,
    a: Whole,
    b: Whole,
    y: Whole,
    tiles: Whole,
    inner: Whole,
    outer: Whole,
    vectors: int,
) -> None:
    """y (tiles, outer) = a (tiles, inner) · b (inner, outer); at least LEAST_ROWS tiles."""

    def columns(o: Whole) -> None:
        def rows(t: Whole) -> None:
            lines = [k.at(a, (t + r) * inner) for r in range(LEAST_ROWS)]

            def term(c: Whole, *sums: Floats) -> list[Floats]:
                row = k.at(b, c * outer + o)
                factors = [k.load(row, v * k.lanes) for v in range(vectors)]
                weights = [k.load_all(line, c) for line in lines]
                return _outer(sums, factors, weights)

            totals = k.loop(inner, term, [k.all(0.0, k.lanes)] * (LEAST_ROWS * vectors))
            for r in range(LEAST_ROWS):
                into = k.at(y, (t + r) * outer + o)
                for v in range(vectors):
                    k.store(totals[r * vectors + v], into, v * k.lanes)

        k.starts(tiles, rows, LEAST_ROWS)

    k.starts(outer, columns, vectors * k.lanes)


def _sums(
    k: KernelCode,
    a: Whole,
    b: Whole,
    y: Whole,
    tiles: Whole,
    inner: Whole,
    outer: Whole,
    vectors: int,
) -> None:
    """y (inner, outer) += aᵀ b of a (tiles, inner), b (tiles, outer); sides are multiples."""
    height = 4

    def columns(o: Whole) -> None:
        def rows(c: Whole) -> None:
            def term(t: Whole, *sums: Floats) -> list[Floats]:
                row, weights = k.at(b, t * outer + o), k.at(a, t * inner + c)
                factors = [k.load(row, v * k.lanes) for v in range(vectors)]
                return _outer(sums, factors, [k.load_all(weights, r) for r in range(height)])

            totals = k.loop(tiles, term, [k.all(0.0, k.lanes)] * (height * vectors))
            for r in range(height):
                into = k.at(y, (c + r) * outer + o)
                for v in range(vectors):
                    k.store(k.load(into, v * k.lanes) + totals[r * vectors + v], into, v * k.lanes)

        k.loop(inner, rows, step=height)

    k.loop(outer, columns, step=vectors * k.lanes)


# Kernels ------------------------------------------------------------------------------------------


def _each_strip(
    k: KernelCode, block: Whole, strips: Whole, body: Callable[[list[Whole]], None]
) -> Whole:
    """Run `body` on the numbers of each strip of a block; returns the tiles of the block."""
    first, count, tiles = (k.load_whole(block, i) for i in range(3))
    k.loop(
        count,
        lambda i: body([k.load_whole(strips, (first + i) * STRIP + f) for f in range(STRIP)]),
    )
    return tiles


@lru_cache(maxsize=8)
def forward_kernel(stages: str, vectors: int) -> Callable[..., None]:
    """Convolve: stages "in" (to matrices), "product" and "out" (to results), of some blocks."""
    k = KernelCode(
        "blocks count strips x table_x C x_pitch frame frame_size entries entries_plane kernels "
        "products products_plane canvas y table_y O y_pitch right check",
        FLOAT,
    )
    blocks, count, strips, right, check = k["blocks count strips right check"]
    x, table_x, channels, x_pitch, frame = k["x table_x C x_pitch frame"]
    entries, entries_plane, kernels = k["entries entries_plane kernels"]
    products, products_plane, canvas = k["products products_plane canvas"]
    y, table_y, planes, y_pitch, frame_size = k["y table_y O y_pitch frame_size"]

    def block(number: Whole) -> None:
        which = blocks + number * (3 * 8)

        def into(strip: list[Whole]) -> None:
            _clear(k, frame, frame_size)
            at, size, table, shift = strip[:4]
            _channels_last(k, x + at, frame + shift, table_x + table, channels, size, x_pitch)
            target = k.at(entries, strip[9] * channels)
            _tiles_to_matrices(
                k, frame, target, strip[8], right, channels, entries_plane, IN, _entries
            )

        def out_of(strip: list[Whole]) -> None:
            at, size, table, shift = strip[4:8]
            source = k.at(products, strip[9] * planes)
            _matrices_to_tiles(k, source, canvas, strip[8], right, planes, products_plane)
            _channels_first(
                k, canvas + shift, y + at, table_y + table, planes, size, y_pitch, check
            )

        if "in" in stages:
            _each_strip(k, which, strips, into)
        if "product" in stages:
            tiles = k.load_whole(which, 2)
            k.loop(
                AREA,
                lambda e: _products(
                    k,
                    k.at(entries, e * entries_plane),
                    k.at(kernels, e * channels * planes),
                    k.at(products, e * products_plane),
                    tiles,
                    channels,
                    planes,
                    vectors,
                ),
            )
        if "out" in stages:
            _each_strip(k, which, strips, out_of)

    k.loop(count, block)
    return ready(k)


@lru_cache(maxsize=8)
def weight_kernel(stages: str, vectors: int) -> Callable[..., None]:
    """The weight gradient before its last transform: stages "in" and "product", of some blocks."""
    k = KernelCode(
        "blocks count strips x table_x C x_pitch frame frame_size entries entries_plane sums "
        "shares shares_plane canvas canvas_size g table_g O g_pitch right",
        FLOAT,
    )
    blocks, count, strips, right = k["blocks count strips right"]
    x, table_x, channels, x_pitch, frame = k["x table_x C x_pitch frame"]
    entries, entries_plane, sums = k["entries entries_plane sums"]
    shares, shares_plane, canvas, canvas_size = k["shares shares_plane canvas canvas_size"]
    g, table_g, planes, g_pitch, frame_size = k["g table_g O g_pitch frame_size"]

    def block(number: Whole) -> None:
        which = blocks + number * (3 * 8)

        def into(strip: list[Whole]) -> None:
            _clear(k, frame, frame_size)
            at, size, table, shift = strip[:4]
            _channels_last(k, x + at, frame + shift, table_x + table, channels, size, x_pitch)
            target = k.at(entries, strip[9] * channels)
            _tiles_to_matrices(
                k, frame, target, strip[8], right, channels, entries_plane, IN, _entries
            )
            _clear(k, canvas, canvas_size)
            at, size, table, shift = strip[4:8]
            _channels_last(k, g + at, canvas + shift, table_g + table, planes, size, g_pitch)
            target = k.at(shares, strip[9] * planes)
            _tiles_to_matrices(
                k, canvas, target, strip[8], right, planes, shares_plane, OUT, _results_adjoint
            )

        if "in" in stages:
            _each_strip(k, which, strips, into)
        if "product" in stages:
            tiles = k.load_whole(which, 2)
            k.loop(
                AREA,
                lambda e: _sums(
                    k,
                    k.at(entries, e * entries_plane),
                    k.at(shares, e * shares_plane),
                    k.at(sums, e * channels * planes),
                    tiles,
                    channels,
                    planes,
                    vectors,
                ),
            )

    k.loop(count, block)
    return ready(k)
