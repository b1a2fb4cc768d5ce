"""What a recording knows of each value: shape, dtype, strides, and whose memory it is.

A program is compiled for the layouts of its recording.  A call whose arguments lie otherwise in
memory is another variant of the step (`compiled.py`), so a layout is a fact and no guess.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.replay.recording import ProgramSlot

if TYPE_CHECKING:
    from tapegrad.autograd.replay.recording import ArrayForm, ProgramEntry

__all__ = [
    "Layout",
    "Ownership",
    "byte_bounds",
    "layouts_elsewhere",
    "layouts_of",
    "may_overlap",
    "overwritten",
    "slots_in",
]


@dataclass(frozen=True)
class Layout:
    """How one value of a recording lay in memory.

    owner: a number that all values on the same memory have in common
    owns:  whether the value is the whole of its own memory, and no view
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]
    owner: int
    owns: bool

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of the entries."""
        return self.size * self.dtype.itemsize

    @property
    def contiguous(self) -> bool:
        """Whether the entries follow each other in row-major order, without gaps."""
        expected = self.dtype.itemsize
        for length, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if length != 1 and stride != expected:
                return False
            expected *= length
        return True


def layouts_of(forms: Sequence[ArrayForm]) -> list[Layout] | None:
    """The layouts of a recording's values; None if one of them is no aligned NumPy array."""
    if not all(form.plain for form in forms):
        return None
    return [Layout(f.shape, f.dtype, f.strides or (), f.owner, f.owns) for f in forms]


def layouts_elsewhere(forms: Sequence[ArrayForm]) -> list[Layout] | None:
    """The layouts of a recording on another library's arrays; None if that does not tell them."""
    if any(form.plain or form.strides is None for form in forms):
        return None
    return [Layout(f.shape, np.dtype(f.dtype), f.strides or (), f.owner, f.owns) for f in forms]


def byte_bounds(array: Any) -> tuple[int, int] | None:
    """The first address of an array, and the one behind its last; None if its library is silent."""
    if type(array) is np.ndarray:
        first, last = np.lib.array_utils.byte_bounds(array)
        return int(first), int(last)
    address = devices.address_of(array)
    if address is None:
        return None
    steps = [(n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)]
    if not array.size:
        return address, address
    low, high = sum(s for s in steps if s < 0), sum(s for s in steps if s > 0)
    return address + low, address + high + array.dtype.itemsize


def may_overlap(a: Any, b: Any) -> bool:
    """Whether two arrays may have memory in common."""
    if type(a) is np.ndarray and type(b) is np.ndarray:
        return bool(np.may_share_memory(a, b))
    if devices.device_of(a) != devices.device_of(b):
        return False
    one, two = byte_bounds(a), byte_bounds(b)
    return one is None or two is None or (one[0] < two[1] and two[0] < one[1])


def slots_in(value: Any) -> Iterator[int]:
    """The numbers of all slots in a nest of operands or results."""
    for part in leaves(list(value) if isinstance(value, tuple) else value):
        if isinstance(part, ProgramSlot):
            yield part.number


class Ownership:
    """Whose memory each value of a program is, and what may become of it.

    outside: owners of arguments and state, which may overlap in ways that no recording shows
    written: owners that a call overwrites
    leaving: owners of what the step returns, which must be new in each call
    """

    def __init__(
        self,
        layouts: list[Layout],
        entries: Sequence[ProgramEntry],
        outside: Iterator[int],
        result: Any,
    ) -> None:
        self.layouts = layouts
        self.outside = {layouts[n].owner for n in outside}
        self.written = {layouts[slot].owner for entry in entries for slot in overwritten(entry)}
        self.leaving = {layouts[n].owner for n in slots_in([result])}

    def is_plain(self, number: int) -> bool:
        """Whether a value is only read: it comes from inside, and does not leave the step."""
        owner = self.layouts[number].owner
        return not (owner in self.outside or owner in self.written or owner in self.leaving)


def overwritten(entry: ProgramEntry) -> Iterator[int]:
    """The slots that a call may overwrite; an optimizer's step overwrites its lists as well.

    A body that returns its operand may have written into it first.
    """
    primitive = entry.primitive
    if not primitive.view:
        yield from set(slots_in(entry.results)) & set(slots_in(entry.operands))
    if primitive.mutates:
        target = primitive.arguments.index(primitive.mutates)
        yield from slots_in([entry.operands[target]])
        for operand in entry.operands:
            if isinstance(operand, list):
                yield from slots_in(operand)
