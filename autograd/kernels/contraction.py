"""`contract` of two NumPy arrays: a product of matrices that copies as little as it can.

The letters of a contraction are batch letters, those of one operand alone, which make the rows or
the columns, and summed ones.  Each group may stand in any order, and the operands may change
places.  A matrix is read where it lies if both of its groups have one step in memory; so is any
array that is multiplied by a narrow matrix (tabled_products.py); else it is copied.  A result is
written in the order asked for if its rows and its columns have one step there, else it is a
transposed view.  The plan that moves least is made once for all operands with the same letters,
shapes and strides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import product as all_of
from typing import Any, NamedTuple

import numpy as np

from tapegrad.autograd.kernels import machine, products
from tapegrad.autograd.kernels.addresses import address
from tapegrad.autograd.kernels.tabled_products import MOST, strips, tabled_kernel
from tapegrad.autograd.kernels.threads import get_num_threads, keeps_up_with_blas, run_pieces
from tapegrad.autograd.kernels.vector_code import lanes_of

__all__ = ["contract"]

Array = np.ndarray[Any, Any]
Letters = Sequence[str]
Plan = Callable[[Array, Array], Array]
INEXACT = tuple(map(np.dtype, "fdFD"))
FEW = 4  # columns below which products are left to BLAS
LONGEST = 2**13  # numbers of a table, which a plan keeps
STRIPS = 3  # for each of which an operand is read by tables: to copy it takes as long as that
# What it takes to move a number, in multiplications: into a copy; into the panels of a product; by
# tables, along neighbours and across them; and a result that lies in another order, which is copied
# later, if at all.
COPIED, PACKED, TABLED, ACROSS, TURNED = 35, 12, 15, 25, 8


def contract(x1: Array, x2: Array, axes1: str, axes2: str, result: str) -> Array:
    """Σ x1[axes1]·x2[axes2] over the letters that `result` lacks; no letter twice in an operand.

    The result may be a transposed view of new memory.
    """
    plan = _plan(
        axes1, axes2, result, x1.shape, x2.shape, x1.strides, x2.strides, x1.dtype, x2.dtype,
        keeps_up_with_blas(),
    )  # fmt: skip
    return plan(x1, x2)


@lru_cache(maxsize=1024)
def _plan(
    axes1: str, axes2: str, result: str, shape1: tuple[int, ...], shape2: tuple[int, ...],
    strides1: tuple[int, ...], strides2: tuple[int, ...], dtype1: np.dtype[Any],
    dtype2: np.dtype[Any], keeps_up: bool,
) -> Plan:  # fmt: skip
    lone = [
        tuple(i for i, c in enumerate(axes) if c not in other and c not in result)
        for axes, other in ((axes1, axes2), (axes2, axes1))
    ]
    if any(lone):
        return _Summed(axes1, axes2, result, *lone).run
    size = {**dict(zip(axes2, shape2, strict=True)), **dict(zip(axes1, shape1, strict=True))}
    if any(size[c] != n for c, n in zip(axes2, shape2, strict=True)):
        # a letter whose length is 1 on one side only
        return lambda x1, x2: np.asarray(np.einsum(f"{axes1},{axes2}->{result}", x1, x2))
    if set(axes1 + axes2) == set(result):
        return _Multiplied(_in_order(axes1, result), _in_order(axes2, result)).run
    first, second = _Operand(axes1, size, strides1, dtype1), _Operand(axes2, size, strides2, dtype2)
    return min(_candidates(first, second, result, keeps_up), key=lambda found: found.cost).run


class _Summed(NamedTuple):
    """A contraction of operands that have letters of their own which the result lacks."""

    axes1: str
    axes2: str
    result: str
    lone1: tuple[int, ...]
    lone2: tuple[int, ...]

    def run(self, x1: Array, x2: Array) -> Array:
        axes1 = "".join(c for i, c in enumerate(self.axes1) if i not in self.lone1)
        axes2 = "".join(c for i, c in enumerate(self.axes2) if i not in self.lone2)
        wide = np.result_type(x1, x2)  # float16 beside float32 has sums that it cannot hold
        dtype = wide if wide.kind in "fc" else None
        if self.lone1:
            x1 = np.asarray(x1.sum(axis=self.lone1, dtype=dtype))
        if self.lone2:
            x2 = np.asarray(x2.sum(axis=self.lone2, dtype=dtype))
        return contract(x1, x2, axes1, axes2, self.result)


class _Multiplied(NamedTuple):
    """A contraction in which nothing is summed: see `_in_order`."""

    first: tuple[Any, ...]
    second: tuple[Any, ...]

    def run(self, x1: Array, x2: Array) -> Array:
        (order1, index1), (order2, index2) = self.first, self.second
        return np.asarray(x1.transpose(order1)[index1] * x2.transpose(order2)[index2])


def _in_order(axes: str, result: str) -> tuple[Any, ...]:
    """The axes in the result's order, and the index that puts a new one where a letter lacks."""
    order = tuple(axes.index(c) for c in result if c in axes)
    return order, tuple(slice(None) if c in axes else None for c in result)


# Products -----------------------------------------------------------------------------------------


class _Operand(NamedTuple):
    """What a plan knows of an operand, or of a result; sizes are those of all letters."""

    axes: str
    size: dict[str, int]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]

    def steps(self, letters: Letters) -> list[int]:
        return [self.strides[self.axes.index(c)] for c in letters]

    def sorted(self, letters: Iterable[str]) -> tuple[str, ...]:
        """The letters as they lie in memory, those with neighbours last."""
        return tuple(sorted(letters, key=lambda c: -self.steps(c)[0]))

    def one_step(self, letters: Letters) -> tuple[int, int] | None:
        """(length, step) of letters that can be walked with one step; None if they cannot."""
        length, step = 1, 0
        for c, of_letter in zip(reversed(letters), reversed(self.steps(letters)), strict=True):
            if self.size[c] == 1:
                continue
            if length == 1:
                step = of_letter
            elif of_letter != length * step:
                return None
            length *= self.size[c]
        return length, step

    def is_matrix(self, rows: Letters, columns: Letters, *, by_row: bool = False) -> bool:
        """Whether products read rows and columns where they lie; or, by row, write them."""
        steps = [self.one_step(rows), self.one_step(columns)]
        if any(found is None or found[1] < 0 for found in steps):
            return False
        (m, down), (n, right) = steps  # type: ignore[misc]  # neither is None
        item = self.dtype.itemsize
        lies_by_row = (n == 1 or right == item) and (m == 1 or down >= n * item)
        lies_by_column = (m == 1 or down == item) and (n == 1 or right >= m * item)
        return lies_by_row or (lies_by_column and not by_row)

    def offsets(self, letters: Letters) -> Array:
        """Bytes from the first to each entry, in the order of the letters: int64 (entries,)."""
        total = np.zeros(1, np.int64)
        for c, step in zip(letters, self.steps(letters), strict=True):
            total = (total[:, None] + np.arange(self.size[c], dtype=np.int64) * step).ravel()
        return total


class _WayToRead(NamedTuple):
    """How an operand becomes matrices.

    order:     its axes, in the order of the matrices
    shape:     (batch …, rows, columns), or with the last two turned
    is_copied: whether it is copied; else it is read where it lies
    is_turned: whether columns come before rows in the copy
    cost:      that of the copy
    """

    order: tuple[int, ...]
    shape: tuple[int, ...]
    is_copied: bool
    is_turned: bool
    cost: int

    def matrices(self, x: Array) -> Array:
        x = x.transpose(self.order)
        if self.is_copied:
            x = np.array(x, order="C")
        y = x.reshape(self.shape)
        return y.swapaxes(-1, -2) if self.is_turned else y


def _reading(
    x: _Operand, batch: Sequence[Letters], rows: Letters, columns: Letters, *, by_row: bool = False
) -> _WayToRead:
    def order(*letters: Letters) -> tuple[int, ...]:
        return tuple(x.axes.index(c) for group in (*batch, *letters) for c in group)

    shape = [math.prod(x.size[c] for c in letters) for letters in (*batch, rows, columns)]
    if all(x.one_step(letters) for letters in batch) and x.is_matrix(rows, columns, by_row=by_row):
        return _WayToRead(order(rows, columns), tuple(shape), False, False, 0)
    # The copy's rows go where the operand has neighbours, so that whole registers move.
    inner = [c for c in x.sorted([*rows, *columns]) if x.size[c] > 1][-1:]
    is_turned = not by_row and bool(inner) and inner[0] in rows
    cost = math.prod(shape) * COPIED
    if is_turned:
        turned = (*shape[:-2], shape[-1], shape[-2])
        return _WayToRead(order(columns, rows), turned, True, True, cost)
    return _WayToRead(order(rows, columns), tuple(shape), True, False, cost)


class _ProductOfMatrices(NamedTuple):
    """A contraction as a product of matrices.

    is_swapped: whether the second operand is the left factor
    written: (shape, order of axes, shape of the matrices) of a result that is written in its order
    lengths: of the letters (batch, rows, columns), for a result that is not
    order:   the result's axes among these
    cost:    in multiplications, of what is not needed for the sums
    """

    is_swapped: bool
    left: _WayToRead
    right: _WayToRead
    written: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None
    lengths: tuple[int, ...]
    order: tuple[int, ...]
    cost: int

    def run(self, x1: Array, x2: Array) -> Array:
        if self.is_swapped:
            x1, x2 = x2, x1
        left, right = self.left.matrices(x1), self.right.matrices(x2)
        if self.written is None:
            y = np.asarray(products.matmul(left, right))
            return y.reshape(self.lengths).transpose(self.order)
        shape, order, matrices = self.written
        y = np.empty(shape, x1.dtype)
        products.matmul(left, right, out=y.transpose(order).reshape(matrices))
        return y


class _Tabled(NamedTuple):
    """A contraction as a product of an operand that is read by tables and a narrow matrix.

    is_swapped: whether the first operand is the narrow one
    sizes:   (rows of a call, depth)
    tables:  of these rows in the operand, in the result, and of the summed indices
    places:  the addresses of the tables
    calls:   bytes from the first row in the operand and in the result, for each call
    narrow:  how the other operand becomes a matrix (depth, n)
    lengths: of the result's axes in memory
    order:   the result's axes among these
    letters: of the operand that is read by tables, of the narrow one, and of the result
    cost:    as of `_ProductOfMatrices`
    """

    is_swapped: bool
    sizes: tuple[int, int]
    tables: tuple[Array, Array, Array]
    places: tuple[int, int, int]
    calls: list[tuple[int, int]]
    narrow: _WayToRead
    lengths: tuple[int, ...]
    order: tuple[int, ...]
    letters: tuple[str, str, str]
    cost: int

    def run(self, x1: Array, x2: Array) -> Array:
        if self.is_swapped:
            x1, x2 = x2, x1
        if not (x1.flags.aligned and x2.flags.aligned):  # a copy may have other strides
            return contract(x1.copy(order="K"), x2.copy(order="K"), *self.letters)
        b, y = self.narrow.matrices(x2), np.empty(self.lengths, x1.dtype)
        at_a, at_b, at_c, step, size = _place(x1), _place(b), address(y), b.strides[0], y.itemsize
        (m, depth), (of_a, of_c, of_sum) = self.sizes, self.places

        def some_rows(first: int, count: int) -> None:
            tables = count, of_a + 8 * first, of_c + 8 * first, depth, of_sum
            for left, n, tile in strips(y.dtype, b.shape[1]):
                kernel, right = tabled_kernel(y.dtype, tile), left * size
                for to_a, to_c in self.calls:
                    kernel(*tables, at_a + to_a, at_b + right, step, n, at_c + to_c + right)

        threads = get_num_threads()
        if threads == 1:
            some_rows(0, m)
        else:
            height = -(-m // threads // MOST) * MOST
            starts = range(0, m, height)
            run_pieces(lambda i: some_rows(starts[i], min(height, m - starts[i])), len(starts))
        return y.transpose(self.order)


def _place(x: Array) -> int:
    """Where the first entry of an array lies, whatever its strides."""
    return address(x if x.flags.c_contiguous else x.T)


def _candidates(
    first: _Operand, second: _Operand, result: str, keeps_up: bool
) -> list[_ProductOfMatrices | _Tabled]:
    found: list[_ProductOfMatrices | _Tabled] = []
    for is_swapped in (False, True):
        x1, x2 = (second, first) if is_swapped else (first, second)
        summed = [c for c in x1.axes if c in x2.axes and c not in result]
        rows = [c for c in result if c not in x2.axes]
        columns = [c for c in result if c not in x1.axes]
        batch = [c for c in result if c in x1.axes and c in x2.axes]
        for r, c, k in all_of(
            dict.fromkeys((tuple(rows), x1.sorted(rows))),
            dict.fromkeys((tuple(columns), x2.sorted(columns))),
            dict.fromkeys((x1.sorted(summed), x2.sorted(summed))),
        ):
            found.append(_product(is_swapped, x1, x2, (batch, r, c, k), result))
        if keeps_up and not batch and _is_tabled(x1, x2, rows, columns, summed):
            letters = x1.sorted(rows), columns, x1.sorted(summed)
            found.append(_tabled(is_swapped, x1, x2, letters, result))
    return found


def _product(
    is_swapped: bool, x1: _Operand, x2: _Operand, letters: Sequence[Letters], result: str
) -> _ProductOfMatrices:
    batch, rows, columns, summed = letters
    size = x1.size
    y = _in_c_order(result, size, x1.dtype)
    is_written = (
        x1.dtype == x2.dtype and x1.dtype in INEXACT and y.is_matrix(rows, columns, by_row=True)
    )
    groups = _joined(batch, [x1, x2, y] if is_written else [x1, x2])
    left, right = _reading(x1, groups, rows, summed), _reading(x2, groups, summed, columns)
    order = (*batch, *rows, *columns)
    m, n, k = (math.prod(size[c] for c in group) for group in (rows, columns, summed))
    entries = math.prod(size[c] for c in batch)
    cost = left.cost + right.cost + entries * (m * k + k * n) * PACKED
    if x1.dtype.kind == "f":  # products are computed for whole registers of columns
        cost += entries * (-n % (64 // x1.dtype.itemsize)) * m * k
    written = None
    if is_written:
        shape = (*(math.prod(size[c] for c in group) for group in groups), m, n)
        written = tuple(size[c] for c in result), tuple(result.index(c) for c in order), shape
    elif order != tuple(result):
        cost += entries * m * n * TURNED
    lengths = tuple(size[c] for c in order)
    place = tuple(order.index(c) for c in result)
    return _ProductOfMatrices(is_swapped, left, right, written, lengths, place, cost)


def _is_tabled(
    x1: _Operand, x2: _Operand, rows: Letters, columns: Letters, summed: Letters
) -> bool:
    """Whether there is a kernel that multiplies x1 by x2 as a narrow matrix."""
    if x1.dtype != x2.dtype or x1.dtype not in products.FLOATS or not machine.is_available():
        return False
    m, n, k = (math.prod(x1.size[c] for c in group) for group in (rows, columns, summed))
    return (
        lanes_of(x1.dtype) * x1.dtype.itemsize >= 32  # with fewer registers, BLAS is faster
        and n >= FEW
        and len(strips(x1.dtype, n)) <= STRIPS
        and m * n * k >= products.LEAST[0]
        and max([k, *(x1.size[c] for c in rows)]) <= LONGEST
    )


def _tabled(
    is_swapped: bool, x1: _Operand, x2: _Operand, letters: Sequence[Letters], result: str
) -> _Tabled:
    rows, columns, summed = letters
    size = x1.size
    m, n, k = (math.prod(size[c] for c in group) for group in (rows, columns, summed))
    y = _in_c_order(result, size, x1.dtype)
    found = y.one_step(columns)
    is_turned = found is None or found[1] not in (0, x1.dtype.itemsize)
    if is_turned:  # columns are not neighbours
        y = _in_c_order("".join((*rows, *columns)), size, x1.dtype)
    narrow = _reading(x2, [], summed, columns, by_row=True)
    inner = x1.sorted([c for c in x1.axes if size[c] > 1])[-1:]
    each = TABLED if inner and inner[0] in summed else ACROSS
    cost = narrow.cost + m * n * TURNED * is_turned
    for _, count, tile in strips(x1.dtype, n):
        cost += (each + tile.vectors * tile.width - count) * m * k + m % tile.rows * 4 * count * k
    split = 0  # the letters before it go from call to call
    while math.prod(size[c] for c in rows[split:]) > LONGEST:
        split += 1
    calls, rows = rows[:split], rows[split:]
    tables = x1.offsets(rows), y.offsets(rows), x1.offsets(summed)
    return _Tabled(
        is_swapped,
        (len(tables[0]), k),
        tables,
        (address(tables[0]), address(tables[1]), address(tables[2])),
        list(zip(x1.offsets(calls).tolist(), y.offsets(calls).tolist(), strict=True)),
        narrow,
        tuple(size[c] for c in y.axes),
        tuple(y.axes.index(c) for c in result),
        (x1.axes, x2.axes, result),
        cost,
    )


def _in_c_order(axes: str, size: dict[str, int], dtype: np.dtype[Any]) -> _Operand:
    """A new array without gaps."""
    strides, step = [], dtype.itemsize
    for c in reversed(axes):
        strides.append(step)
        step *= size[c]
    return _Operand(axes, size, tuple(reversed(strides)), dtype)


def _joined(batch: Letters, operands: Sequence[_Operand]) -> list[tuple[str, ...]]:
    """Batch letters that follow each other in memory, in all operands, as groups."""
    groups: list[tuple[str, ...]] = []
    for c in batch:
        if groups and all(x.one_step((*groups[-1], c)) for x in operands):
            groups[-1] = (*groups[-1], c)
        else:
            groups.append((c,))
    return groups
