"""`kernel_text` and `pieced_text` give the text of a kernel, and what its table holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.compiling.kernel_writer import KernelWriter
from tapegrad.autograd.compiling.space import END, Space

if TYPE_CHECKING:
    import numpy as np

__all__ = ["KernelText", "kernel_text", "pieced_text"]


@dataclass
class KernelText:
    """The text of a kernel, and what its table of addresses holds, in this order.

    reads:   slots that it reads
    writes:  slots that it writes
    scratch: the bytes of each piece of memory that it works in
    kinds:   how the values of reads and writes lie; "end" for what is known after the last row
    columns: entries of a row; 1 where the kernel takes all rows for one
    pieces:  first row and number of rows of each piece that it runs on; none if on all at once
    end:     the text of what follows the last piece, if anything does
    """

    text: str
    reads: list[int]
    writes: list[int]
    scratch: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    columns: int = 1
    pieces: list[tuple[int, int]] = field(default_factory=list)
    end: str = ""


def kernel_text(
    space: Space,
    dtypes: dict[int, np.dtype[Any]],
    stored: set[int],
    *,
    any_length: bool = False,
) -> KernelText:
    """Write the kernel of a space.

    dtypes: of the slots that it reads from outside
    stored: the slots of its results that others need
    any_length: for any number of rows, which the table says in its last entry; where nothing
            depends on where a row ends, for any number of columns of one row
    """
    writer = KernelWriter(space, dtypes, stored)
    if any_length:
        writer.take_length()
    writer.write()
    return KernelText(writer.text(), writer.reads, writer.writes, writer.scratch)


def pieced_text(
    space: Space,
    dtypes: dict[int, np.dtype[Any]],
    stored: set[int],
    pieces: list[tuple[int, int]],
    stride_of: Callable[[list[int]], int],
) -> KernelText:
    """Write the kernel of a space in pieces of rows, each with scratch memory of its own.

    pieces:    first row (or entry, see `is_flat`) and number of rows of each
    stride_of: scratch -> the bytes between the scratch memories of two pieces
    """
    writer = KernelWriter(space, dtypes, stored)
    writer.take_length()
    writer.write(ends=False)
    kernel = KernelText(writer.text(), writer.reads, writer.writes, writer.scratch)
    places = space.places
    kinds = [writer.outside[slot] for slot in writer.reads]
    kinds += ["end" if places[w].phase == END else places[w].kind for w in writer.writes]
    columns = 1 if writer.length == "columns" else writer.columns
    kernel.kinds, kernel.columns, kernel.pieces = kinds, columns, pieces
    if any(place.phase == END for place in places.values()):
        end = KernelWriter(space, dtypes, stored)
        end.write_end(len(pieces), stride_of(kernel.scratch))
        kernel.end = end.text()
    return kernel
