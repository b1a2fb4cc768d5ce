"""The kernel of matrix products: panels of both operands, and tiles whose sums stay in registers.

C = A B for a batch of matrices.  A is cut into blocks of rows and B into blocks of columns, both
into blocks of the summed axis, so that a block of each fits the cache.  A block is copied into
*panels*, in the order in which it is read: for each summed index `rows` entries of A, or `columns`
entries of B.  A *tile*, rows × columns of C, is computed from one panel of each: for each summed
index three registers of B, and each entry of A spread over one register.

Every entry of C is one sum over k in order, cut where blocks are: its bits depend on its row of A,
its column of B and their length, and not on the other rows and columns, nor on how A and B lie.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from tapegrad.autograd.kernels.vector_code import Floats, Int, KernelCode, Whole, lanes_of, ready

if TYPE_CHECKING:
    import numpy as np

__all__ = ["VECTORS", "Tiles", "Way", "packing_kernel", "product_kernel", "tiles_of"]

VECTORS = 3  # registers of B in a tile
DEPTH = 256  # summed indices of a block
GAP = 64  # bytes behind a panel: with steps of a power of two, panels would share few cache lines


class Tiles(NamedTuple):
    """How products of one dtype are cut.

    rows, columns: of a tile
    high, wide: rows and columns of a block, multiples of those of a tile
    """

    rows: int
    columns: int
    high: int
    wide: int

    def room(self, m: int, n: int, depth: int) -> int:
        """The most entries that a block of A and one of B have as panels."""
        high, wide = -(-min(m, self.high) // self.rows), -(-min(n, self.wide) // self.columns)
        return min(depth, DEPTH) * (high * self.rows + wide * self.columns) + GAP * (high + wide)

    def panels_of(self, n: int, depth: int) -> int:
        """The entries that all panels of B have."""
        return -(-n // self.columns) * self.columns * depth


@lru_cache(maxsize=8)
def tiles_of(dtype: np.dtype[Any]) -> Tiles:
    """The tiles of a dtype: half a block of panels each fills about a third of a megabyte."""
    lanes = lanes_of(dtype)
    rows = 8 if lanes * dtype.itemsize == 64 else 4  # of 32 registers, or of 16
    columns = VECTORS * lanes
    entries = 2**19 // dtype.itemsize // DEPTH
    return Tiles(rows, columns, entries // rows * rows, -(-entries // columns) * columns)


class Way(NamedTuple):
    """How an operand is read.

    by_sum: whether neighbours in memory are neighbours along the summed axis
    copied: whether it is copied into panels; else tiles read it where it lies
    ready:  whether it lies in memory as panels, as `packing_kernel` writes those of B
    """

    by_sum: bool
    copied: bool
    ready: bool = False


class _Masked:
    """The first few entries of a vector: how many is known when the kernel runs."""

    def __init__(self, k: KernelCode, count: Whole) -> None:
        lanes = k.lanes
        numbers = ", ".join(f"i64 {lane}" for lane in range(lanes))
        most = k.spread(count, lanes)
        self.k, self.kind = k, k.vector(lanes)
        self.test = k.let(f"icmp slt <{lanes} x i64> <{numbers}>, {most.name}")
        self.mask = f"<{lanes} x i1> {self.test}"

    def load(self, base: Whole, at: int = 0) -> Floats:
        """The entries that count, and zeros behind them."""
        k, kind, name = self.k, self.kind, f"v{self.k.lanes}f{8 * self.k.dtype.itemsize}"
        function = f"@llvm.masked.load.{name}.p0"
        k.declare(f"declare {kind} {function}(ptr, i32, <{k.lanes} x i1>, {kind})")
        place = k.place(base, at, k.item)
        text = (
            f"call {kind} {function}(ptr {place}, i32 {k.dtype.itemsize}, {self.mask}, "
            f"{kind} zeroinitializer)"
        )
        return Floats(k, k.let(text), k.lanes)

    def store(self, value: Floats, base: Whole, at: int = 0) -> None:
        """Write the entries that count and no others."""
        k, kind, name = self.k, self.kind, f"v{self.k.lanes}f{8 * self.k.dtype.itemsize}"
        function = f"@llvm.masked.store.{name}.p0"
        k.declare(f"declare void {function}({kind}, ptr, i32, <{k.lanes} x i1>)")
        place = k.place(base, at, k.item)
        k.do(
            f"call void {function}({kind} {value.name}, ptr {place}, i32 {k.dtype.itemsize}, "
            f"{self.mask})"
        )


class _Panels:
    """Code that copies operands into panels, which go to a kernel under construction."""

    k: KernelCode
    tiles: Tiles
    a_way: Way
    b_way: Way
    odd_rows: int
    odd_vectors: int
    a_step: Whole
    b_step: Whole
    b_gap = GAP  # 0 where panels of B are kept

    @property
    def size(self) -> int:
        """The bytes of a number."""
        return self.k.dtype.itemsize

    def padded(self, width: Whole) -> Whole:
        """How many columns the panels of so many have."""
        return (width + (self.tiles.columns - 1)) // self.tiles.columns * self.tiles.columns

    def pack_a(self, a: Whole, panels: Whole, height: Whole, depth: Whole) -> None:
        k, rows, size = self.k, self.tiles.rows, self.size
        whole = height // rows
        step = depth * (rows * size) + GAP
        left = height - whole * rows - 1  # the last row of the last panel, if it is not full
        if self.a_way.by_sum:

            def panel(i: Whole, last: Whole | None) -> None:
                at, into = a + self.a_step * rows * i, panels + step * i
                self._turned((at, self.a_step), (into, rows, 0), depth, rows, last)

            k.loop(whole, lambda i: panel(i, None))
            if self.odd_rows:
                k.loop((left + 1).minimum(1), lambda _: panel(whole, left))
            return

        def line(p: Whole) -> None:  # neighbours one after the other, for they come by pages
            at, to = a + self.a_step * p, panels + p * (rows * size)
            k.loop(whole, lambda i: k.store(k.load(at + i * (rows * size), 0, rows), to + step * i))
            if self.odd_rows:
                at, to = at + whole * (rows * size), to + step * whole

                def rest(_: Whole) -> None:
                    for r in range(rows):
                        k.store(k.load(at, left.minimum(r), 1), to, r)

                k.loop((left + 1).minimum(1), rest)

        k.loop(depth, line)

    def pack_b(self, b: Whole, panels: Whole, width: Whole, depth: Whole) -> None:
        k, columns, lanes, size = self.k, self.tiles.columns, self.k.lanes, self.size
        whole = width // columns
        step = depth * (columns * size) + self.b_gap
        left = width - whole * columns
        odd = left.minimum(1)
        if self.b_way.by_sum:

            def panel(j: Whole, vectors: int, last: Whole | None) -> None:
                at, into = b + self.b_step * columns * j, panels + step * j
                for v in range(vectors):
                    limit = last if v == vectors - 1 else None
                    place = at + self.b_step * (v * lanes)
                    self._turned(
                        (place, self.b_step), (into, columns, v * lanes), depth, lanes, limit
                    )

            k.loop(whole, lambda j: panel(j, VECTORS, None))
            if self.odd_vectors:
                last = left - ((self.odd_vectors - 1) * lanes + 1)
                k.loop(odd, lambda _: panel(whole, self.odd_vectors, last))
            return
        mask = _Masked(k, left - (self.odd_vectors - 1) * lanes) if self.odd_vectors else None

        def line(p: Whole) -> None:
            at, to = b + self.b_step * p, panels + p * (columns * size)

            def full(j: Whole) -> None:
                for v in range(VECTORS):
                    k.store(k.load(at + j * (columns * size), v * lanes), to + step * j, v * lanes)

            def rest(_: Whole) -> None:
                place, into = at + whole * (columns * size), to + step * whole
                for v in range(self.odd_vectors):
                    last = mask if v == self.odd_vectors - 1 else None
                    part = last.load(place, v * lanes) if last else k.load(place, v * lanes)
                    k.store(part, into, v * lanes)

            k.loop(whole, full)
            if self.odd_vectors:
                k.loop(odd, rest)

        k.loop(depth, line)

    def _turned(
        self,
        lines: tuple[Whole, Whole],
        panel: tuple[Whole, int, int],
        depth: Whole,
        side: int,
        last: Whole | None,
    ) -> None:
        """Copy `side` lines of `depth` neighbours into columns of a panel.

        lines: where the first is, and the step to the next
        panel: where it is, the entries of one of its rows, and the first of these
        last:  the number of the last line that is there; it stands for those behind it too
        """
        k, size = self.k, self.size
        (at, step), (into, pitch, first) = lines, panel
        starts = [at + step * (r if last is None else last.minimum(r)) for r in range(side)]

        def square(p: Whole) -> None:
            rows = [k.load(start, p, side) for start in starts]
            for q, row in enumerate(k.transposed(rows)):
                k.store(row, into + p * (pitch * size), q * pitch + first)

        def single(p: Whole) -> None:
            for r, start in enumerate(starts):
                k.store(k.load(start, p, 1), into + p * (pitch * size), first + r)

        whole = depth // side * side
        k.loop(whole, square, step=side)
        k.loop(depth, single, start=whole)


class _Product(_Panels):
    """The kernel of one kind of operands under construction; see `product_kernel`."""

    def __init__(
        self, dtype: np.dtype[Any], a_way: Way, b_way: Way, rows: int, vectors: int
    ) -> None:
        k = self.k = KernelCode(
            "batch m n depth a a_batch a_step b b_batch b_step c c_batch c_row memory", dtype
        )
        self.tiles = tiles_of(dtype)
        self.a_way, self.b_way = a_way, b_way
        self.odd_rows, self.odd_vectors = rows, vectors
        self.b_gap = 0 if b_way.ready else GAP
        self.m, self.n, self.depth, self.memory = k["m n depth memory"]
        self.a_step, self.b_step, self.c_row = k["a_step b_step c_row"]
        batch, a, a_batch, b, b_batch, c, c_batch = k["batch a a_batch b b_batch c c_batch"]
        k.loop(batch, lambda t: self.one(a + a_batch * t, b + b_batch * t, c + c_batch * t))

    def one(self, a: Whole, b: Whole, c: Whole) -> None:
        """One product of the batch."""
        k, tiles, size = self.k, self.tiles, self.size
        a_at, a_down = (size, self.a_step) if self.a_way.by_sum else (self.a_step, size)
        b_at, b_right = (size, self.b_step) if self.b_way.by_sum else (self.b_step, size)

        def columns(j: Whole) -> None:
            width = (self.n - j).minimum(tiles.wide)

            def deep(p: Whole) -> None:
                depth = (self.depth - p).minimum(DEPTH)
                b_part, a_panels = b + p * b_at + j * b_right, self.memory
                if self.b_way.ready:
                    b_part = b + (j * self.depth + p * self.padded(width)) * size
                elif self.b_way.copied:
                    panels = self.padded(width) // tiles.columns
                    a_panels = a_panels + panels * (depth * (tiles.columns * size) + GAP)
                    self.pack_b(b_part, self.memory, width, depth)
                    b_part = self.memory

                def rows(i: Whole) -> None:
                    height = (self.m - i).minimum(tiles.high)
                    a_part = a + i * a_down + p * a_at
                    if self.a_way.copied:
                        self.pack_a(a_part, a_panels, height, depth)
                        a_part = a_panels
                    place = c + i * self.c_row + j * size
                    self.block(a_part, b_part, place, height, width, depth, p)

                k.loop(self.m, rows, step=tiles.high)

            k.loop(self.depth, deep, step=DEPTH)

        k.loop(self.n, columns, step=tiles.wide)

    # Tiles ----------------------------------------------------------------------------------------

    def block(self, a: Whole, b: Whole, c: Whole, height: Whole, width: Whole, depth: Whole,
              before: Whole) -> None:  # fmt: skip
        """Add the product of two blocks to C, or put it there if it is the first of its sums."""
        k, tiles, size = self.k, self.tiles, self.size
        down, right = height // tiles.rows, width // tiles.columns
        a_panel: Int = depth * (tiles.rows * size) + GAP
        b_panel: Int = depth * (tiles.columns * size) + self.b_gap
        if not self.a_way.copied:
            a_panel = (self.a_step if self.a_way.by_sum else self.k.zero() + size) * tiles.rows
        if not self.b_way.copied:
            b_panel = tiles.columns * size
        older = before.minimum(1)  # 1 if C has the sums of blocks before
        left = width - right * tiles.columns

        def over_rows(b_at: Whole, c_at: Whole, vectors: int, mask: _Masked | None) -> None:
            def tile(rows: int, i: Int) -> None:
                place = c_at + self.c_row * tiles.rows * i
                self.tile((rows, vectors), a + i * a_panel, b_at, place, depth, older, mask)

            k.loop(down, lambda i: tile(tiles.rows, i))
            if self.odd_rows:
                odd = (height - down * tiles.rows).minimum(1)
                k.loop(odd, lambda _: tile(self.odd_rows, down))

        step = tiles.columns * size
        k.loop(right, lambda j: over_rows(b + j * b_panel, c + j * step, VECTORS, None))
        if self.odd_vectors:

            def rest(_: Whole) -> None:
                mask = _Masked(k, left - (self.odd_vectors - 1) * k.lanes)
                over_rows(b + right * b_panel, c + right * step, self.odd_vectors, mask)

            k.loop(left.minimum(1), rest)

    def tile(self, shape: tuple[int, int], a: Whole, b: Whole, c: Whole, depth: Whole,
             older: Whole, mask: _Masked | None) -> None:  # fmt: skip
        k, tiles, size, lanes = self.k, self.tiles, self.size, self.k.lanes
        rows, vectors = shape

        lines = [a]  # of A, where it lies line by line
        for _ in range(rows - 1):
            lines.append(lines[-1] + self.a_step)

        def add(p: Whole, *sums: Floats) -> list[Floats]:
            b_at = b + p * (tiles.columns * size if self.b_way.copied else self.b_step)
            right = [k.load(b_at, v * lanes) for v in range(vectors - 1)]
            some = None if self.b_way.copied else mask
            v = vectors - 1
            right.append(some.load(b_at, v * lanes) if some else k.load(b_at, v * lanes))
            a_at = a + p * (tiles.rows * size if self.a_way.copied else self.a_step)
            found = []
            for r in range(rows):
                by_line = self.a_way == Way(True, False)
                left = k.load_all(lines[r], p) if by_line else k.load_all(a_at, r)
                found += [
                    sums[r * vectors + v].plus_product(left, right[v]) for v in range(vectors)
                ]
            return found

        sums = k.loop(depth, add, [k.all(0.0, lanes)] * (rows * vectors))

        def put(line: Whole, r: int, *, with_old: bool) -> None:
            for v in range(vectors):
                part = mask if v == vectors - 1 else None
                value = sums[r * vectors + v]
                if with_old:
                    old = part.load(line, v * lanes) if part else k.load(line, v * lanes)
                    value = old + value
                if part:
                    part.store(value, line, v * lanes)
                else:
                    k.store(value, line, v * lanes)

        def all_rows(with_old: bool) -> Callable[[Whole], None]:
            def write(_: Whole) -> None:
                line = c
                for r in range(rows):
                    put(line, r, with_old=with_old)
                    line = line + self.c_row

            return write

        k.loop(older, all_rows(True))
        k.loop(1, all_rows(False), start=older)


class _Packing(_Panels):
    """The kernel that copies all of B, a block after the other; see `packing_kernel`."""

    def __init__(self, dtype: np.dtype[Any], b_way: Way, vectors: int) -> None:
        k = self.k = KernelCode("n depth b b_step panels", dtype)
        self.tiles = tiles_of(dtype)
        self.b_way, self.odd_vectors, self.b_gap = b_way, vectors, 0
        n, depth, b, self.b_step, panels = k["n depth b b_step panels"]
        size = self.size
        down, right = (size, self.b_step) if b_way.by_sum else (self.b_step, size)

        def columns(j: Whole) -> None:
            width = (n - j).minimum(self.tiles.wide)

            def deep(p: Whole) -> None:
                place = panels + (j * depth + p * self.padded(width)) * size
                self.pack_b(b + p * down + j * right, place, width, (depth - p).minimum(DEPTH))

            k.loop(depth, deep, step=DEPTH)

        k.loop(n, columns, step=self.tiles.wide)


@lru_cache(maxsize=256)
def packing_kernel(dtype: np.dtype[Any], b_way: Way, vectors: int) -> Callable[..., None]:
    """The function of (n depth b b_step panels), which copies B: see `product_kernel`.

    panels: memory for `Tiles.panels_of` numbers
    """
    return ready(_Packing(dtype, b_way, vectors).k)


@lru_cache(maxsize=256)
def product_kernel(
    dtype: np.dtype[Any], a_way: Way, b_way: Way, rows: int, vectors: int
) -> Callable[..., None]:
    """The function of (batch m n depth a a_batch a_step b b_batch b_step c c_batch c_row memory).

    a_way, b_way: how the operands are read; only such a B may lie `by_sum` that is `copied`
    rows:    how many rows of the last tiles are there, 0 for all
    vectors: how many registers cover the last columns, 0 for all
    Addresses and steps are in bytes; a step is that of the axis whose neighbours are not neighbours
    in memory.  Compiled once for each kind.
    """
    return ready(_Product(dtype, a_way, b_way, rows, vectors).k)
