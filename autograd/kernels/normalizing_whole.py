"""Normalization by one kernel, where all entries of one mean lie in a cache.

So it is with groups of channels, and with the columns of a small batch.  What several ways of
normalizing share stands here too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.kernels import normalizing_code
from tapegrad.autograd.kernels.addresses import address, readable
from tapegrad.autograd.kernels.threads import run_pieces
from tapegrad.autograd.kernels.vector_code import lanes_of

if TYPE_CHECKING:
    from tapegrad.autograd.kernels.normalization import Work

__all__ = ["WHOLE", "in_form", "numbers_of", "pieces_of_rows", "row_numbers", "summed"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
PIECE_BYTES = 2**18


def in_form(values: Array, shape: Any) -> Array:
    """A copy in another shape: no view, since `compile` gives each result a place of its own."""
    found = np.empty(shape, values.dtype)
    found.reshape(-1)[...] = values.reshape(-1)
    return found


def pieces_of_rows(rows: int, row_bytes: int) -> list[tuple[int, int]]:
    """(first, number) of rows for one thread at a time."""
    step = max(1, PIECE_BYTES // max(row_bytes, 1))
    return [(first, min(step, rows - first)) for first in range(0, rows, step)]


def row_numbers(work: Work, x: Array, eps: float) -> Array:
    """1 / entries of one mean, and eps."""
    return np.array([1 / work.length, eps], x.dtype)


def numbers_of(work: Work, x: Array, own: Array | None, default: float) -> Array:
    """The weights or biases, one for each member of a group or each column, flat."""
    shape = work.spread if work.kind == "groups" else work.lead
    if own is None:
        return np.full(shape, default, x.dtype)
    if own.size == math.prod(shape):
        return readable(own, x.dtype)
    return np.ascontiguousarray(np.broadcast_to(own.reshape(work.spread), shape))


def summed(work: Work, found: Array, own: Shape) -> Array:
    """The cotangents of all weights, added up along those that are one: in the shape `own`."""
    if found.size != math.prod(own):
        axes = tuple(a for a, n in enumerate(work.spread) if n == 1)
        found = found.reshape(work.lead).sum(axis=axes, dtype=np.float64).astype(found.dtype)
    return in_form(found, own)


def _group_pieces(work: Work, x: Array) -> tuple[list[tuple[int, int]], int, int, int]:
    """Pieces of groups, the number of weights of a group, the points of each, and the period."""
    period, members = work.spread
    pieces = pieces_of_rows(math.prod(work.lead), work.length * x.itemsize)
    return pieces, members, work.length // members, period


def _normalize_groups(
    work: Work, x: Array, weights: tuple[Array, Array], eps: float, into: tuple[Array, ...]
) -> None:
    y, mean, var = into
    size, numbers = x.itemsize, row_numbers(work, x, eps)
    run = normalizing_code.groups_normalized(x.dtype)
    pieces, members, points, period = _group_pieces(work, x)

    def part(number: int) -> None:
        first, several = pieces[number]
        moved = first * work.length * size
        run(
            address(x) + moved, address(y) + moved, several, members, points, address(weights[0]),
            address(weights[1]), first, period, address(numbers), address(mean) + first * size,
            address(var) + first * size,
        )  # fmt: skip

    run_pieces(part, len(pieces))


def _group_gradients(
    work: Work, g: Array, x: Array, scale: Array, moments: tuple[Array, Array], eps: float, y: Array
) -> Array:
    """Write the cotangent of x into y, and return the sums for all weights and all biases."""
    (mean, var), size, numbers = moments, x.itemsize, row_numbers(work, x, eps)
    run = normalizing_code.group_gradients(x.dtype)
    pieces, members, points, period = _group_pieces(work, x)
    sums = np.zeros((len(pieces), 2, period * members), x.dtype)

    def part(number: int) -> None:
        first, several = pieces[number]
        moved = first * work.length * size
        run(
            address(g) + moved, address(x) + moved, address(y) + moved, several, members, points,
            address(scale), first, period, address(numbers), address(mean) + first * size,
            address(var) + first * size, address(sums) + number * sums[0].nbytes,
        )  # fmt: skip

    run_pieces(part, len(pieces))
    return sums[0] if len(sums) == 1 else sums.sum(0, dtype=np.float64).astype(x.dtype)


def _column_pieces(work: Work, x: Array) -> tuple[list[tuple[int, int]], int]:
    """Pieces of neighbouring columns, each of whole strips of a kernel, and how many there are."""
    columns = math.prod(work.lead)
    strip = 4 * lanes_of(x.dtype)
    step = max(1, PIECE_BYTES // (work.length * strip * x.itemsize)) * strip
    return [(first, min(step, columns - first)) for first in range(0, columns, step)], columns


def _normalize_columns(
    work: Work, x: Array, weights: tuple[Array, Array], eps: float, into: tuple[Array, ...]
) -> None:
    numbers, rows = row_numbers(work, x, eps), work.length
    run = normalizing_code.columns_normalized(x.dtype)
    pieces, columns = _column_pieces(work, x)

    def part(number: int) -> None:
        first, several = pieces[number]
        moved = first * x.itemsize
        y, mean, var, scale, shift = (address(a) + moved for a in (*into, *weights))
        run(
            address(x) + moved, y, rows, several, columns, scale, shift, address(numbers), mean, var
        )

    run_pieces(part, len(pieces))


def _column_gradients(
    work: Work, g: Array, x: Array, scale: Array, moments: tuple[Array, Array], eps: float, y: Array
) -> Array:
    """Write the cotangent of x into y, and return the sums for all weights and all biases."""
    numbers, rows = row_numbers(work, x, eps), work.length
    run = normalizing_code.column_gradients(x.dtype)
    pieces, columns = _column_pieces(work, x)
    sums = np.empty((2, columns), x.dtype)

    def part(number: int) -> None:
        first, several = pieces[number]
        moved = first * x.itemsize
        places = [address(a) + moved for a in (g, x, y, scale, *moments)]
        products = address(sums) + moved
        run(
            *places[:3], rows, several, columns, places[3], address(numbers), *places[4:],
            products, products + columns * x.itemsize,
        )  # fmt: skip

    run_pieces(part, len(pieces))
    return sums


# Kind of work -> (forward, reverse), by one kernel each.
WHOLE: dict[str, tuple[Any, Any]] = {
    "groups": (_normalize_groups, _group_gradients),
    "short columns": (_normalize_columns, _column_gradients),
}
