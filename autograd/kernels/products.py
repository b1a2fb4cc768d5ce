"""`matmul` by machine code: NumPy's BLAS takes what is small, complex, of integers or of vectors.

What follows from shapes and strides alone is found once, as a plan; a call then has the addresses
to fill in.  Plans belong to a thread, so that nobody else fills in theirs meanwhile.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable
from itertools import product as all_pairs
from typing import Any, NamedTuple

import numpy as np

from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.addresses import address
from tapegrad.autograd.kernels.product_code import (
    VECTORS,
    Way,
    packing_kernel,
    product_kernel,
    tiles_of,
)
from tapegrad.autograd.kernels.threads import (
    blas_alone,
    get_num_threads,
    keeps_up_with_blas,
    run_pieces,
)
from tapegrad.autograd.kernels.turns import leave_turn
from tapegrad.autograd.kernels.vector_code import lanes_of

__all__ = [
    "RightFactor",
    "beats_blas",
    "by_blas",
    "leaves_to_blas",
    "matmul",
    "multiply",
    "product_into",
]

LEAST = [2**20]  # multiplications that are worth the call
FEW = 4  # rows and columns below which BLAS is left the work
LOW = 64  # rows of A up to which B is not worth a copy
NARROW = 48  # columns of B up to which A is not worth a copy
# Steps, and multiplications of all, up to which NumPy is called for each product with one matrix:
# a loop of machine code takes the time of ten such calls to be set up.
FEW_STEPS, FEWEST = 10, 2**22
# Multiplications and rows from which a small product with a turned matrix is worth the kernel.
TURNED, LOWEST = [2**17], 8
KEPT = 512  # plans of a thread
# Multiplications from which BLAS takes a second thread by itself: of vectors, and of matrices.
ALONE, MATRICES_ALONE = 2**13, 2**18
SHARED = 2**22  # multiplications that are worth a second thread
STEP = 48  # rows or columns of which BLAS makes whole blocks: a multiple of what it takes at once
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
Array = np.ndarray[Any, Any]
_local = threading.local()


def matmul(x1: Any, x2: Any, *, out: Any = None) -> Any:
    """`numpy.matmul`, each entry one sum in order: its bits do not depend on the other entries.

    Products that are small, or of vectors, or not of float32 or float64, are NumPy's own; so are
    all on processors without AVX-512.
    """
    # The product of sizes is no smaller than the number of multiplications: most calls end here.
    if x1.size * x2.size < LEAST[0] or not _fits(x1, x2):
        return by_blas(x1, x2, out)
    if x2.ndim == 2 < x1.ndim and x1.flags.c_contiguous:  # one product of all rows
        rows, shape = x1.reshape(-1, x1.shape[-1]), (*x1.shape[:-1], x2.shape[-1])
        if out is None:
            return _product(rows, x2, None).reshape(shape)
        if out.shape == shape and out.flags.c_contiguous:
            _product(rows, x2, out.reshape(-1, shape[-1]))
            return out
    return _product(x1, x2, out)


def _fits(x1: Any, x2: Any) -> bool:
    return (
        x1.ndim >= 2 <= x2.ndim
        and x1.dtype is x2.dtype
        and x1.size * x2.shape[-1] >= LEAST[0]
        and x1.dtype in FLOATS
        and x1.shape[-2] >= FEW <= x2.shape[-1]
        and x1.shape[-1] == x2.shape[-2]
        and beats_blas()
        and keeps_up_with_blas()
    )


def by_blas(x1: Any, x2: Any, out: Any = None) -> Any:
    """`numpy.matmul`, whose BLAS works on the threads of the pool and on none of its own."""
    if get_num_threads() == 1 or not _takes_threads(x1, x2):
        return np.matmul(x1, x2) if out is None else np.matmul(x1, x2, out=out)
    pair = _rows_at_once(x1, x2, out)
    if pair is None:
        return blas_alone(np.matmul, x1, x2, out=out)
    y, *pair = pair
    calls = _calls_of_blas(*pair)

    def piece(number: int) -> None:
        left, right, result = calls[number]
        leave_turn()
        np.matmul(left, right, out=result)

    run_pieces(piece, len(calls))
    return y


def _takes_threads(x1: Any, x2: Any) -> bool:
    """Whether BLAS may take a second thread for the product."""
    if min(x1.ndim, x2.ndim) < 2 or 1 in (x1.shape[-2], x2.shape[-1]):
        return bool(max(x1.size, x2.size) >= ALONE)
    return bool(max(x1.size * x2.shape[-1], x1.shape[-2] * x2.size) > MATRICES_ALONE)


def _rows_at_once(x1: Any, x2: Any, out: Any) -> list[Array] | None:
    """The result, then factors and result of the products to share; None for what is not shared."""
    if min(x1.ndim, x2.ndim) < 2 or x1.dtype is not x2.dtype or x1.dtype.kind not in "fc":
        return None
    (m, depth), n = x1.shape[-2:], x2.shape[-1]
    if depth != x2.shape[-2]:
        return None
    lead = x1.shape[:-2] if x2.ndim == 2 else np.broadcast(x1[..., 0, 0], x2[..., 0, 0]).shape
    if math.prod(lead) * m * depth * n < SHARED:
        return None
    if out is None:
        out = np.empty((*lead, m, n), x1.dtype)
    elif (
        out.shape != (*lead, m, n)
        or out.dtype is not x1.dtype
        or any(np.may_share_memory(out, x) for x in (x1, x2))
    ):
        return None
    if x2.ndim == 2 < x1.ndim and x1.flags.c_contiguous and out.flags.c_contiguous:
        return [out, x1.reshape(-1, depth), x2, out.reshape(-1, n)]
    return [out, x1, x2, out]


def _calls_of_blas(x1: Array, x2: Array, y: Array) -> list[tuple[Array, Array, Array]]:
    """Factors and result for each thread."""
    *lead, m, n = y.shape
    threads = get_num_threads()
    parts = _parts_of(max(lead[0], 1) if lead else max(m, n), threads)
    if lead:
        along = [x.ndim == y.ndim and len(x) > 1 for x in (x1, x2)]
        return [
            (x1[part] if along[0] else x1, x2[part] if along[1] else x2, y[part]) for part in parts
        ]
    if m >= n:
        return [(x1[part], x2, y[part]) for part in parts]
    return [(x1, x2[:, part], y[:, part]) for part in parts]


def _parts_of(length: int, count: int) -> list[slice]:
    """Parts of about one length, of whole vectors where there are enough."""
    step = -(-length // count)
    if step > STEP:
        step = -(-step // STEP) * STEP
    return [slice(first, first + step) for first in range(0, length, step)]


def beats_blas() -> bool:
    """Whether this processor has kernels that are faster than NumPy's BLAS: those of AVX-512."""
    return machine.is_available() and lanes_of(FLOATS[0]) == 16


def leaves_to_blas(multiplications: int, steps: int) -> bool:
    """Whether BLAS is faster for a product at each step, where one factor stays.

    It is for a few steps of a few multiplications each, and where registers are narrower than
    AVX2's.
    """
    if steps < FEW_STEPS and multiplications * steps < FEWEST:
        return True
    return not machine.is_available() or lanes_of(FLOATS[0]) < 8


def multiply(x1: Array, x2: Array, out: Array) -> None:
    """out = x1 x2 by machine code, on as many threads as were set, where it takes such arrays."""
    _product(x1, x2, out)


def _product(x1: Array, x2: Array, out: Array | None) -> Array:
    plans: dict[Any, _Plan] = _local.__dict__.setdefault("plans", {})
    y = out
    if y is None or not y.flags.behaved or y.dtype is not x1.dtype:
        shape: tuple[int, ...] = (x1.shape[-2], x2.shape[-1])
        if x1.ndim > 2 or x2.ndim > 2:
            shape = (*np.broadcast_shapes(x1.shape[:-2], x2.shape[:-2]), *shape)
        y = np.empty(shape, x1.dtype)
    threads = get_num_threads()
    key = (
        *(x1.shape, x1.strides, x2.shape, x2.strides, y.shape, y.strides),
        *(x1.dtype.char, threads),
    )
    plan = plans.get(key)
    if plan is None:
        plan = _planned(x1, x2, y, threads)
        if plan is None:  # entries with gaps, in reverse, shapes that do not fit
            return np.matmul(x1, x2, out=out)
        if len(plans) >= KEPT:
            plans.clear()
        plans[key] = plan
    if not plan.run(x1, x2, y):
        return np.matmul(x1, x2, out=out)
    if out is None or y is out:
        return y
    out[...] = y
    return out


def product_into(out: Array) -> Callable[[Array, Array], object]:
    """A function (x1, x2) that writes x1 @ x2 into `out`, for a step that is run again and again.

    BLAS has slow code for a small product whose right factor lies turned, x Wᵀ: the first product
    of every small network takes twice the time of its arithmetic.  The kernel has not, and its call
    costs little where its plan is kept beside the memory.
    """
    known: tuple[Any, ...] = ()  # the strides of operands and the plan, None for BLAS
    places: tuple[Any, ...] = (None, None, 0, 0)  # the operands of the last call, and their places

    def run(x1: Array, x2: Array) -> object:
        nonlocal known, places
        if not known or x1.strides != known[0] or x2.strides != known[1]:
            simple = x1.size * x2.size < LEAST[0] and not _takes_threads(x1, x2)
            known = x1.strides, x2.strides, _plan_of_turned(x1, x2, out), simple
        plan = known[2]
        if plan is None:
            return np.matmul(x1, x2, out=out) if known[3] else matmul(x1, x2, out=out)
        if x1 is not places[0] or x2 is not places[1]:
            a, b = _place(x1), _place(x2)
            if (a | b) % x1.itemsize:
                return np.matmul(x1, x2, out=out)
            places = x1, x2, a, b
        return plan(places[2], places[3])

    return run


def _plan_of_turned(x1: Array, x2: Array, out: Array) -> Callable[[int, int], None] | None:
    """What multiplies arrays at two addresses into `out`; None where BLAS is faster, or needed."""
    if not (x1.ndim == x2.ndim == out.ndim == 2 and x1.dtype is x2.dtype is out.dtype in FLOATS):
        return None
    (m, depth), n, size = x1.shape, x2.shape[1], x1.itemsize
    is_turned = x2.strides == (size, size * depth) and x1.strides == (size * depth, size)
    if not is_turned or not TURNED[0] <= m * depth * n < LEAST[0] or m < LOWEST:
        return None
    if not beats_blas() or address(out) % size or out.strides != (size * n, size):
        return None
    plan = _planned(x1, x2, out, 1)
    assert plan is not None  # such arrays have one
    [part] = plan.parts
    room = np.empty(plan.memory + 64, np.uint8)
    table: Any = part.table
    table[10], table[13] = address(out), address(room) + -address(room) % 64

    def multiply(a: int, b: int, _held: Any = (room, out)) -> None:
        table[4], table[7] = a, b
        part.run(table)

    return multiply


class RightFactor:
    """A matrix as panels, for many products with it on the right.

    b: (depth, n), of float32 or float64; what is written into it later may count or not
    is_plain: whether NumPy's BLAS shall make the products
    """

    def __init__(self, b: Array, is_plain: bool) -> None:
        self.is_plain = is_plain
        # BLAS takes longer for one that is turned, many times over
        self.b = np.ascontiguousarray(b) if self.is_plain else _readable(b)
        self.depth, self.n = b.shape
        if not self.is_plain:
            self._pack()

    def _pack(self) -> None:
        dtype, tiles = self.b.dtype, tiles_of(self.b.dtype)
        self._vectors = -(-(self.n % tiles.columns) // (tiles.columns // VECTORS))
        room = np.empty(tiles.panels_of(self.n, self.depth) + 64 // dtype.itemsize, dtype)
        self._panels = room[-address(room) % 64 // dtype.itemsize :]
        by_sum, step = _lines(self.b, False)
        pack = packing_kernel(dtype, Way(by_sum, True), self._vectors)
        pack(self.n, self.depth, _place(self.b), step, address(self._panels))

    def kernel(self, m: int, a_step: int, c_step: int) -> tuple[Any, list[int]]:
        """The kernel of the product with m rows, and the table of its arguments.

        The addresses of the left factor and of the result, numbers 4 and 10, are left out.
        """
        tiles = tiles_of(self.b.dtype)
        ways = Way(True, False), Way(False, True, True)  # a few rows are not worth a copy
        function = product_kernel(self.b.dtype, *ways, m % tiles.rows, self._vectors)
        table = [1, m, self.n, self.depth, 0, 0, a_step, address(self._panels), 0, 0, 0, 0, c_step]
        return function, [*table, 0]


class _Part(NamedTuple):
    """What one thread does of a product: some of its matrices, rows or columns.

    run:    takes the table of a kernel's arguments
    table:  of what does not change; addresses are filled in
    places: for each call of the kernel, bytes from the start of A, B and C
    """

    run: Callable[[Any], None]
    table: Any
    places: list[tuple[int, ...]]


class _Plan(NamedTuple):
    """How arrays of certain shapes and strides are multiplied.

    sizes:  the bytes from the first to the last entry of A, B and C
    memory: bytes for panels
    """

    itemsize: int
    sizes: tuple[int, ...]
    parts: list[_Part]
    memory: int

    def run(self, x1: Array, x2: Array, y: Array) -> bool:
        """Write the product into y; False if the arrays overlap or are not aligned."""
        a, b, c = _place(x1), _place(x2), address(y)
        if (a | b | c) % self.itemsize:
            return False
        of_a, of_b, of_c = self.sizes
        if (a < c + of_c and c < a + of_a) or (b < c + of_c and c < b + of_b):
            return False

        def part(number: int) -> None:
            run, table, places = self.parts[number]
            table[13] = _memory(self.memory)
            for to_a, to_b, to_c in places:
                table[4], table[7], table[10] = a + to_a, b + to_b, c + to_c
                run(table)

        if len(self.parts) == 1:
            part(0)
        else:
            run_pieces(part, len(self.parts))
        return True


def _planned(x1: Array, x2: Array, y: Array, threads: int) -> _Plan | None:
    """The plan of arrays like these for so many threads; None for such as kernels cannot take."""
    (m, depth), n, size = x1.shape[-2:], x2.shape[-1], x1.itemsize
    lead = np.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    if y.shape != (*lead, m, n) or y.strides[-1] != size:
        return None
    if min(*y.strides, *x1.strides, *x2.strides) < 0:
        return None
    a, b = np.broadcast_to(x1, (*lead, m, depth)), np.broadcast_to(x2, (*lead, depth, n))
    if size not in a.strides[-2:] or size not in b.strides[-2:]:
        return None
    (a_by_sum, a_step), (b_by_sum, b_step) = _lines(a, True), _lines(b, False)
    tiles = tiles_of(x1.dtype)
    a_way, b_way = Way(a_by_sum, n > NARROW), Way(b_by_sum, b_by_sum or m > LOW)
    *outer, batch = lead or (1,)
    steps = [x.strides[-3] if lead else 0 for x in (a, b, y)]
    places = [
        tuple(sum(i * x.strides[axis] for axis, i in enumerate(at)) for x in (a, b, y))
        for at in all_pairs(*map(range, outer))
    ]
    parts = []
    wholes = 1, 1, tiles.rows, tiles.columns
    for share in _shares((len(places), batch, m, n), wholes, threads):
        matrices, rows, columns = (part.stop - part.start for part in share[1:])
        vectors = -(-(columns % tiles.columns) // (tiles.columns // VECTORS))
        kernel: Any = product_kernel(x1.dtype, a_way, b_way, rows % tiles.rows, vectors)
        table = (ctypes.c_int64 * 14)(
            matrices, rows, columns, depth, 0, steps[0], a_step, 0, steps[1], b_step, 0, steps[2],
            y.strides[-2], 0,
        )  # fmt: skip
        matrix, row, column = (part.start for part in share[1:])
        moved = (
            matrix * steps[0] + row * (a_step if a_by_sum else size),
            matrix * steps[1] + column * (b_step if b_by_sum else size),
            matrix * steps[2] + row * y.strides[-2] + column * size,
        )
        own = [tuple(map(sum, zip(place, moved, strict=True))) for place in places[share[0]]]
        parts.append(_Part(kernel.at, table, own))
    return _Plan(
        size,
        tuple(
            sum((length - 1) * step for length, step in zip(x.shape, x.strides, strict=True)) + size
            for x in (x1, x2, y)
        ),
        parts,
        tiles.room(m, n, depth) * size,
    )


def _shares(lengths: tuple[int, ...], wholes: tuple[int, ...], threads: int) -> list[list[slice]]:
    """Parts of (calls, matrices, rows, columns) for each thread: one of the four is shared.

    Matrices are, if there are enough; else the longer side, since each thread packs the other.
    wholes: what a part of each is a multiple of
    """
    everything = [slice(0, length) for length in lengths]
    if threads == 1:
        return [everything]
    several = [axis for axis in (0, 1) if lengths[axis] % threads == 0 or lengths[axis] > 8]
    axis = several[0] if several else 2 if lengths[2] >= lengths[3] else 3
    step = -(-lengths[axis] // threads // wholes[axis]) * wholes[axis]
    return [
        [*everything[:axis], slice(i, min(i + step, lengths[axis])), *everything[axis + 1 :]]
        for i in range(0, lengths[axis], step)
    ]


def _lines(x: Array, is_left: bool) -> tuple[bool, int]:
    """(whether neighbours of matrices are so along the summed axis, the step of the other axis)."""
    by_columns = x.strides[-1] == x.itemsize
    return by_columns == is_left, x.strides[-2 if by_columns else -1]


def _readable(x: Array) -> Array:
    """A matrix or a copy of it, whose rows or columns have no gaps."""
    if x.flags.aligned and x.itemsize in x.strides and min(x.strides) >= 0:
        return x
    return np.array(x, order="C")


def _place(x: Array) -> int:
    """Where an array begins that may be transposed."""
    return address(x if x.flags.c_contiguous else x.T)


def _memory(nbytes: int) -> int:
    """The address of memory for panels, which this thread keeps."""
    kept: tuple[int, int, Array] | None = getattr(_local, "memory", None)
    if kept is None or kept[0] < nbytes:
        room = np.empty(nbytes + 64, np.uint8)
        place = address(room)
        kept = _local.memory = (nbytes, place + -place % 64, room)
    return kept[1]
