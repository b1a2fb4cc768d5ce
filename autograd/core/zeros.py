"""Which entries of a gradient's memory may differ from 0, where these are a few rows.

The gradient of a table of vectors is 0 but for the rows that were looked up.  To set it to zero and
to update the table, only these need be touched, if it is known that all others are 0.

That is known of memory that tapegrad has allocated itself and never handed out bare (`.data`,
`.numpy()`, DLPack), once it was set to zero, as long as each write into it says which part it
changes.  Any other write, of which `note_write` tells, ends what is known, until the whole is set
to zero again; memory that is handed out is forgotten for good.

On a GPU the rows are known there only: an index array, in which a row may stand several times, and
which nobody reads on the CPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.mode import announce_write
from tapegrad.autograd.core.node import note_write, owner_of, zeros_by_owner

__all__ = [
    "UncleanPart",
    "KnownZeros",
    "forget_zeros",
    "kept_rows",
    "row_clearers",
    "unclean_parts",
    "set_to_zero",
    "watch_zeros",
    "zeros_of",
]

Array = Any  # NumPy's, or those of a library that launches kernels
LEAST = 1 << 16  # entries of memory that is worth it
# The same on a GPU, where few rows take two launches, in which it writes some megabytes.
LEAST_LAUNCHED = 1 << 20
# What sets rows of a matrix to zero faster than NumPy does: (matrix, rows) -> whether it did.
row_clearers: list[Callable[[Array, Array], bool]] = []
FAR = 4  # rows of a table for each index, from which to sort these is less work
SHARE = 4  # where more than one in so many entries may differ from 0, all are taken


class UncleanPart(NamedTuple):
    """A part of a flat array: its entries from begin to stop, in `height` rows.

    rows: those that may differ from 0, on a GPU with repetitions; None for all
    """

    begin: int
    stop: int
    height: int
    rows: Array | None

    def of(self, array: Array) -> Array:
        """The part's rows in an array of the same length as the one that it is a part of."""
        return array.reshape(-1)[self.begin : self.stop].reshape(self.height, -1)


class KnownZeros:
    """What is known of one memory.

    writes: how many writes there were
    known:  the number of writes at which all entries were 0 but those of `parts`; -1 for never
    parts:  address, bytes -> (number of rows, those that may differ from 0 or None for all,
            whether these are one array that names each row once)
    """

    __slots__ = ("__weakref__", "known", "owner", "parts", "writes")

    def __init__(self, owner: Array) -> None:
        self.owner = weakref.ref(owner, partial(_forget_gone, id(owner)))
        self.writes, self.known = 0, -1
        self.parts: dict[tuple[int, int], tuple[int, list[Array] | None, bool]] = {}

    @property
    def valid(self) -> bool:
        """Whether all entries are 0 but those of `parts`."""
        return self.known == self.writes

    def begin(self) -> int:
        """Before a write that says what it changes; returns what `end` is told after it."""
        before, self.known = (self.writes if self.valid else -1), -1
        return before

    def end(self, before: int, array: Array, rows: Array | None) -> None:
        """After one noted write into rows of an array, or all of it, unless another came too."""
        if before < 0 or not array.flags.c_contiguous:
            return
        key, height = (_address(array), array.nbytes), len(array) if array.ndim else 1
        height_before, old, _ = self.parts.get(key, (height, [], False))
        if rows is None or old is None or height != height_before:
            self.parts[key] = (height, None, False)
        else:
            self.parts[key] = (height, [*old, rows], False)
        self.known = before + 1


def _forget_gone(key: int, reference: weakref.ref[Any]) -> None:
    """Forget the memory of an owner that ends: another may get its id."""
    zeros = zeros_by_owner.get(key)
    if zeros is not None and zeros.owner is reference:
        zeros_by_owner.pop(key, None)


def watch_zeros(array: Any) -> None:
    """Begin to look at memory that has just been allocated, and that nobody else holds."""
    on_cpu = type(array) is np.ndarray
    if array.size < (LEAST if on_cpu else LEAST_LAUNCHED) or array.dtype.kind != "f":
        return
    if on_cpu or (devices.launcher_of(array) is not None and array.dtype.itemsize > 2):
        owner = owner_of(array)
        if type(owner) is type(array) and owner.flags.c_contiguous:
            zeros_by_owner[id(owner)] = KnownZeros(owner)


def forget_zeros(array: Any) -> None:
    """Note that other code holds the memory from now on, and may write into it unseen."""
    if zeros_by_owner:
        zeros_by_owner.pop(id(owner_of(array)), None)


def zeros_of(array: Any) -> KnownZeros | None:
    """What is known of the memory of an array; None for nothing."""
    return zeros_by_owner.get(id(owner_of(array))) if zeros_by_owner else None


def unclean_parts(array: Array) -> list[UncleanPart] | None:
    """The parts of an array that may differ from 0.

    None if that is not known, or if the parts are so large that it does not pay.
    """
    zeros = zeros_of(array)
    if zeros is None or not zeros.valid or not array.flags.c_contiguous:
        return None
    first, size = _address(array), array.itemsize
    last, total = first, 0
    found: list[UncleanPart] = []
    for key, (height, rows, distinct) in sorted(zeros.parts.items(), key=itemgetter(0)):
        start, nbytes = key
        stop = start + nbytes
        if stop <= first or start >= first + array.nbytes:
            continue
        if start < last or stop > first + array.nbytes:
            return None  # parts that overlap, or reach beyond
        last = stop
        if rows is not None and not distinct:
            rows = [_joined(array, rows, height)]
            zeros.parts[key] = (height, rows, type(array) is np.ndarray)
        each = None if rows is None else rows[0]
        total += nbytes // size if each is None else each.size * (nbytes // size // height)
        found.append(UncleanPart((start - first) // size, (stop - first) // size, height, each))
    return found if total * SHARE <= array.size else None


def _joined(array: Array, rows: list[Array], height: int) -> Array:
    """All rows: in order, each once; on a GPU as they came, for nobody waits for it."""
    if type(array) is not np.ndarray:
        return rows[0] if len(rows) == 1 else devices.namespace(array).concatenate(rows)
    count = sum(each.size for each in rows)
    far = count and height > FAR * count
    if far and all(each.dtype == np.int64 for each in rows):
        found = np.sort(np.concatenate(rows))
        if found[0] >= 0:  # else some are counted from the end
            first = np.ones(found.size, bool)
            np.not_equal(found[1:], found[:-1], out=first[1:])
            return found[first]
    named = np.zeros(height, bool)
    for each in rows:
        named[each] = True
    return np.flatnonzero(named)


def kept_rows(index: Array) -> Array:
    """A copy of an index of rows, for `KnownZeros.end`."""
    flat = index.reshape(-1)
    return flat.copy() if type(flat) is np.ndarray else flat.astype(np.int64)


def set_to_zero(array: Array) -> None:
    """array[...] = 0, by its parts that may differ from 0 where these are known."""
    zeros = zeros_of(array)
    announce_write(array)
    if zeros is None:
        array[...] = 0
        note_write(array)
        return
    parts = unclean_parts(array)
    before = zeros.begin()
    if parts is None:
        owner = zeros.owner()
        is_all = owner is not None and array.nbytes == owner.nbytes and array.flags.c_contiguous
        before = zeros.writes if is_all else -1
        array[...] = 0
    else:
        for part in parts:
            _clear(part.of(array), part.rows)
    note_write(array)
    if before >= 0:
        first = _address(array)
        for start, nbytes in list(zeros.parts):
            if first <= start < first + array.nbytes:
                del zeros.parts[start, nbytes]
        zeros.known = before + 1


def _clear(part: Array, rows: Array | None) -> None:
    """Set rows of a part to zero, or all: rows in range, for they were found here."""
    if rows is None:
        part[...] = 0
    elif not any(clear(part, rows) for clear in row_clearers):
        part[rows] = 0


def _address(array: Array) -> int:
    if type(array) is np.ndarray:
        address: int = array.__array_interface__["data"][0]
        return address
    return devices.address_of(array) or 0
