"""Products of an array with any strides and a narrow matrix: the array is not copied.

C[i, j] = Σ A[i, p] B[p, j], where entry (i, p) of A lies at the sum of two tables' numbers, one of
the row i and one of the summed index p: so rows and sums may run over several axes of an array in
any order.  Each entry of A is read once for all columns of B and spread over a register, which
asks nothing of its neighbours.  B lies row by row, and stays in the cache.

B and C are cut into strips of columns, for each of which A is read again, and strips into tiles,
whose sums stay in registers.  Registers that cover the last columns overlap, and write the same
numbers twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from tapegrad.autograd.kernels.vector_code import Floats, KernelCode, Whole, lanes_of, ready

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DEPTH", "MOST", "TabledTile", "strips", "tabled_kernel"]

DEPTH = 256  # summed indices of a block: rows of B that stay in the fastest cache
MOST = 8  # rows of a tile, each of which has its address in a register


def _sums(dtype: np.dtype[Any]) -> int:
    """The registers that hold sums, of 32 or of 16."""
    return 24 if lanes_of(dtype) * dtype.itemsize == 64 else 12


class TabledTile(NamedTuple):
    """Some rows of C and all columns of a strip, which `vectors` of `width` columns cover."""

    rows: int
    vectors: int
    width: int


@lru_cache(maxsize=256)
def strips(dtype: np.dtype[Any], n: int) -> list[tuple[int, int, TabledTile]]:
    """(first column, columns, tile) of the parts of n columns that a kernel takes at once."""
    lanes, sums = lanes_of(dtype), _sums(dtype)
    registers = -(-n // lanes)
    count = -(-registers // (sums // 4))  # at least four rows
    step = -(-registers // count) * lanes
    found = []
    for first in range(0, n, step):
        columns, width = min(step, n - first), lanes
        while width > columns:
            width //= 2
        vectors = -(-columns // width)
        rows = min(MOST, sums // vectors // 2 * 2)
        found.append((first, columns, TabledTile(rows, vectors, width)))
    return found


@lru_cache(maxsize=64)
def tabled_kernel(dtype: np.dtype[Any], tile: TabledTile) -> Callable[..., None]:
    """The function of (m a_table c_table depth depth_table a b b_step n c).

    a_table, c_table: int64, where the rows of A and of C begin, in bytes behind a and c
    depth_table: int64, where the summed indices lie, in bytes behind the start of a row of A
    b_step:  the bytes from a row of B to the next; neighbours in memory are columns of B and of C
    """
    rows, vectors, width = tile
    k = KernelCode("m a_table c_table depth depth_table a b b_step n c", dtype)
    m, a_table, c_table, depth, depth_table = k["m a_table c_table depth depth_table"]
    a, b, b_step, n, c = k["a b b_step n c"]
    starts: list[Any] = [v * width for v in range(vectors - 1)]
    starts.append(n - width)

    def block(first: Whole) -> None:
        stop, older = (first + DEPTH).minimum(depth), first.minimum(1)

        def some_rows(i: Whole, count: int) -> None:
            lines = [a + k.load_whole(a_table, i + r) for r in range(count)]

            def add(p: Whole, *sums: Floats) -> list[Floats]:
                at, line = k.load_whole(depth_table, p), b + p * b_step
                right = [k.load(line, start, width) for start in starts]
                found = []
                for r in range(count):
                    left = k.load_all(lines[r] + at, 0, width)
                    found += [
                        sums[r * vectors + v].plus_product(left, right[v]) for v in range(vectors)
                    ]
                return found

            none = [k.all(0.0, width)] * (count * vectors)
            sums = k.loop(stop, add, none, start=first)

            def write(_: Whole, *, with_old: bool) -> None:
                for r in range(count):
                    line, parts = c + k.load_whole(c_table, i + r), sums[r * vectors :]
                    if with_old:
                        parts = [
                            k.load(line, start, width) + part
                            for start, part in zip(starts, parts, strict=False)
                        ]
                    for start, part in zip(starts, parts, strict=False):
                        k.store(part, line, start)

            k.loop(older, lambda _: write(_, with_old=True))
            k.loop(1, lambda _: write(_, with_old=False), start=older)

        whole = m // rows * rows
        k.loop(whole, lambda i: some_rows(i, rows), step=rows)
        k.loop(m, lambda i: some_rows(i, 1), start=whole)

    k.loop(depth, block, step=DEPTH)
    return ready(k)
