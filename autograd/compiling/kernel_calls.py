"""`bind_kernel` makes a kernel ready to be called, on one thread or in pieces on several.

A large kernel runs in pieces of rows, whose limits depend on its shape alone; so its bits are the
same for any number of threads.  The pieces have tables of their own, with addresses of their first
rows, and scratch memory of their own.  Sums over all rows are joined in the order of the pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.compiling.buffers import ALIGNMENT
from tapegrad.autograd.compiling.kernel_sums import LANES
from tapegrad.autograd.compiling.kernel_writer import is_flat
from tapegrad.autograd.kernels.addresses import address
from tapegrad.autograd.kernels.threads import get_num_threads, run_pieces
from tapegrad.autograd.kernels.turns import call_all

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.kernel_text import KernelText
    from tapegrad.autograd.compiling.layouts import Layout
    from tapegrad.autograd.compiling.space import Space
    from tapegrad.autograd.kernels import machine

__all__ = [
    "KernelCalls",
    "bind_kernel",
    "bytes_of_scratch",
    "calls_in_a_row",
    "pieces_of",
    "stride_of",
]

PIECE = 2**17  # entries, at least, of a piece
MOST = 32  # pieces of a kernel
MOVING = {"full", "row"}  # kinds of values of which each piece has a part of its own

Array = np.ndarray[Any, Any]


def pieces_of(space: Space) -> list[tuple[int, int]]:
    """First row and number of rows of each piece; entries where rows do not matter.

    None where a kernel is so small that it runs at once.
    """
    entries = space.rows * space.columns
    flat = is_flat(space)
    units = entries if flat else space.rows
    # a piece begins with a whole vector, or with the first channel
    whole = LANES if flat else space.shape[1] if space.split == 2 and space.channels else 1
    count = min(MOST, entries // PIECE, units // whole)
    if count < 2:
        return []
    size = -(-units // (count * whole)) * whole
    starts = [start for start in range(0, units, size) if units - start >= whole]
    stops = [*starts[1:], units]  # the last takes the rest
    return [(a, b - a) for a, b in zip(starts, stops, strict=True)] if len(starts) > 1 else []


def stride_of(scratch: list[int]) -> int:
    """The bytes of the scratch memory of one piece."""
    return sum(map(_padded, scratch))


def bytes_of_scratch(kernel: KernelText) -> int:
    """The bytes of scratch memory that a kernel needs, with all pieces."""
    return stride_of(kernel.scratch) * max(1, len(kernel.pieces))


def _padded(nbytes: int) -> int:
    """Bytes from one piece of scratch memory to the next.

    Not a multiple of 4096, for a processor takes addresses that far apart for the same at first.
    """
    return -(-nbytes // ALIGNMENT) * ALIGNMENT + 5 * ALIGNMENT


@dataclass
class _Call:
    """One call of a kernel.

    kernel: owns the code, and so must live as long as the call
    table:  the addresses of all that it reads and writes
    held:   the arrays whose addresses stay in the table, and so must live as long
    moving: (index in the table, slot, bytes from its address) of what lies elsewhere in each call
    """

    kernel: machine.Kernel
    table: Array
    held: list[Array]
    moving: list[tuple[int, int, int]] = field(default_factory=list)

    def row(self) -> list[int]:
        """What `call_all` takes of this call."""
        return [self.kernel.address, self.table.ctypes.data]


@dataclass
class KernelCalls:
    """The calls of one kernel: its pieces, which may run at once, and what follows them.

    made: (slot, shape, dtype) of results that are new arrays in each call
    """

    pieces: list[_Call]
    end: _Call | None = None
    made: list[tuple[int, tuple[int, ...], np.dtype[Any]]] = field(default_factory=list)

    def calls(self) -> list[_Call]:
        """All, in order."""
        return [*self.pieces, *([self.end] if self.end else [])]


def bind_kernel(
    kernel: KernelText,
    compiled: Mapping[str, machine.Kernel],
    fixed: Mapping[int, Array],
    layouts: list[Layout],
    scratch: Array,
) -> KernelCalls:
    """The calls of a kernel on fixed memory, and on arrays that come with each call."""
    known = [*kernel.reads, *kernel.writes]

    def call(text: str, piece: int) -> _Call:
        start, length = kernel.pieces[piece] if kernel.pieces else (0, 0)
        table = np.zeros(len(known) + len(kernel.scratch) + 1, np.intp)
        bound = _Call(compiled[text], table, [scratch])
        for index, slot in enumerate(known):
            kind = kernel.kinds[index] if kernel.pieces else ""
            entries = start * (kernel.columns if kind == "full" else 1) * (kind in MOVING)
            offset = entries * layouts[slot].dtype.itemsize
            if slot in fixed:
                bound.held.append(fixed[slot])
                table[index] = fixed[slot].ctypes.data + offset
            else:
                bound.moving.append((index, slot, offset))
        at = scratch.ctypes.data + piece * stride_of(kernel.scratch)
        for index, nbytes in enumerate(kernel.scratch, start=len(known)):
            table[index] = at
            at += _padded(nbytes)
        table[-1] = length
        return bound

    pieces = [call(kernel.text, piece) for piece in range(max(1, len(kernel.pieces)))]
    end = call(kernel.end, 0) if kernel.end else None
    new = [slot for slot in kernel.writes if slot not in fixed]
    return KernelCalls(pieces, end, [(s, layouts[s].shape, layouts[s].dtype) for s in new])


def calls_in_a_row(kernels: list[KernelCalls]) -> Callable[[list[Any]], object]:
    """The action of several kernels, one after another."""
    row = _list_of([call for k in kernels for call in k.calls()])
    moving = [(c.table, *each) for k in kernels for c in k.calls() for each in c.moving]
    made = [each for k in kernels for each in k.made]
    held = (row, [k.calls() for k in kernels])
    if all(len(k.pieces) == 1 for k in kernels):
        return partial(_call_kernels, row.ctypes.data, made, moving, held)
    # Where there are threads: kernels in a row, then pieces at once, then kernels in a row, …
    parts: list[Callable[[], None]] = []
    waiting: list[_Call] = []

    def call_waiting() -> None:
        if waiting:
            parts.append(partial(_call_list, _list_of(waiting)))
            waiting.clear()

    for kernel in kernels:
        if len(kernel.pieces) == 1:
            waiting.extend(kernel.calls())
            continue
        call_waiting()
        parts.append(partial(_call_at_once, [_list_of([piece]) for piece in kernel.pieces]))
        waiting.extend([kernel.end] if kernel.end else [])
    call_waiting()

    def act(values: list[Any]) -> None:
        if get_num_threads() == 1:
            _call_kernels(row.ctypes.data, made, moving, held, values)
            return
        _fill_tables(made, moving, values)
        for part in parts:
            part()

    return act


def _list_of(calls: list[_Call]) -> Array:
    return np.array([*[number for call in calls for number in call.row()], 0], np.intp)


def _call_list(calls: Array) -> None:
    call_all(calls.ctypes.data)


def _call_at_once(pieces: list[Array]) -> None:
    run_pieces(lambda number: _call_list(pieces[number]), len(pieces))


def _fill_tables(
    made: list[tuple[Any, ...]], moving: list[tuple[Any, ...]], values: list[Any]
) -> None:
    """Make the results that are new arrays, and write the addresses of what has no fixed place."""
    for slot, shape, dtype in made:
        values[slot] = np.empty(shape, dtype)
    for table, index, slot, offset in moving:
        table[index] = address(values[slot]) + offset


def _call_kernels(
    addresses: int,
    made: list[tuple[Any, ...]],
    moving: list[tuple[Any, ...]],
    held: Any,
    values: list[Any],
) -> None:
    """Run kernels; `held` owns the code and memory of the addresses."""
    _fill_tables(made, moving, values)
    call_all(addresses)
