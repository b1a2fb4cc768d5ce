"""What a group of ranks can do together, and the group of one process.

A rank is one of `size` processes, or threads, that run the same program on their shares of the
data.  All ranks call the same functions of the group in the same order, with arrays of equal shapes
and dtypes; each call ends when its result is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tapegrad.devices._errors import TapegradError
from tapegrad.devices._registry import is_array

if TYPE_CHECKING:
    from tapegrad.devices._types import Array

__all__ = [
    "CollectiveError",
    "LocalWindow",
    "RankGroup",
    "Request",
    "SingleProcess",
    "Window",
    "tree_sum",
]

NOT_FLAT = "{what}: a buffer is one C-contiguous array of numbers, not {found}"
NOT_A_POWER = "a sum in the order of a tree needs 1, 2, 4, 8, … ranks, not {size}"
NOT_DIVISIBLE = "reduce_scatter: {length} entries do not divide into {size} equal parts"
NOT_BYTES = "window: its content is (n,) uint8, not {found}"
OPERATIONS = ("sum", "max", "min")


class CollectiveError(TapegradError, RuntimeError):
    """Ranks cannot work together: a library is missing, or a rank failed or called otherwise."""


class Request(Protocol):
    """A collective that was begun and runs on by itself."""

    def wait(self) -> None:
        """Return when the buffer holds the result.  Raises what the collective raised."""


class _Done:
    """A collective that had nothing to wait for."""

    def wait(self) -> None:
        pass


class Window(Protocol):
    """Memory that every rank reads and changes when it likes, one at a time."""

    def read(self) -> Array:
        """Return the content now: (n,) uint8, an array of this rank's own."""

    def update(self, change: Callable[[Array], None]) -> None:
        """Let `change` work on the content in place, while no other rank reads or changes it."""


class LocalWindow:
    """A window of threads of one process."""

    def __init__(self, content: Array) -> None:
        self._content, self._lock = content.copy(), threading.Lock()

    def read(self) -> Array:
        """Return the content now."""
        with self._lock:
            return self._content.copy()

    def update(self, change: Callable[[Array], None]) -> None:
        """Let `change` work on the content."""
        with self._lock:
            change(self._content)


class RankGroup:
    """Ranks that work together.

    rank: the number of this one, from 0;  size: how many there are
    name: how they exchange arrays: "one process", "mpi", "threads"
    """

    name = "one process"
    rank = 0
    size = 1

    def __repr__(self) -> str:
        return f"<{self.name}: rank {self.rank} of {self.size}>"

    # Buffers --------------------------------------------------------------------------------------

    def all_reduce(self, buffer: Array, op: str = "sum", *, ordered: bool = False) -> None:
        """buffer = Σ over ranks of buffer, in place, with equal bits on every rank.

        buffer:  any shape, C-contiguous, of equal shape and dtype everywhere
        op:      "sum", "max" or "min"
        ordered: add in the order of a binary tree over the ranks, so that 2 or 4 ranks that hold
                 the sums of a tree's branches make the bits of one rank that adds the tree itself
        Raises CollectiveError for another buffer; ValueError for another op, and with `ordered` for
        a number of ranks that is no power of two.
        """
        if self._checked_reduction(buffer, op, ordered=ordered):
            self._all_reduce(buffer, op, ordered)

    def all_reduce_later(self, buffer: Array, op: str = "sum", *, ordered: bool = False) -> Request:
        """Begin an `all_reduce`; nobody may touch `buffer` until the result's `wait()` returns.

        Those that were begun run in their order, beside what this rank computes.  Raises as
        `all_reduce` does.
        """
        if not self._checked_reduction(buffer, op, ordered=ordered):
            return _Done()
        return self._begin_all_reduce(buffer, op, ordered)

    def _checked_reduction(self, buffer: Array, op: str, *, ordered: bool) -> bool:
        """Whether there is something to sum.  Raises as `all_reduce` does."""
        _check_buffer(buffer, "all_reduce")
        if op not in OPERATIONS:
            raise ValueError(f"all_reduce: op is one of {', '.join(OPERATIONS)}, not {op!r}")
        if buffer.dtype.kind == "b" or (buffer.dtype.kind == "c" and op != "sum"):
            raise CollectiveError(f"all_reduce: there is no {op} of {buffer.dtype}")
        if ordered and self.size & (self.size - 1):
            raise ValueError(NOT_A_POWER.format(size=self.size))
        return self.size > 1

    def broadcast(self, buffer: Array, root: int = 0) -> None:
        """buffer = the one of rank `root`, in place.

        Raises CollectiveError for what is no buffer, ValueError for a root that is no rank.
        """
        _check_buffer(buffer, "broadcast")
        if not 0 <= root < self.size:
            raise ValueError(f"broadcast: root is a rank from 0 to {self.size - 1}, not {root}")
        if self.size > 1:
            self._broadcast(buffer, root)

    def all_gather(self, buffer: Array) -> Array:
        """Return the buffers of all ranks in the order of the ranks: (…) -> (size, …).

        Raises CollectiveError for what is no buffer.
        """
        _check_buffer(buffer, "all_gather")
        if self.size == 1:
            return buffer[None].copy()
        return self._all_gather(buffer)

    def reduce_scatter(self, buffer: Array) -> Array:
        """Return this rank's part of Σ over ranks of buffer: (size · n,) -> (n,).

        Raises CollectiveError for what is no buffer, ValueError for a length that does not divide.
        """
        _check_buffer(buffer, "reduce_scatter")
        if buffer.ndim != 1 or len(buffer) % self.size:
            raise ValueError(NOT_DIVISIBLE.format(length=buffer.shape, size=self.size))
        if self.size == 1:
            return buffer.copy()
        return self._reduce_scatter(buffer)

    def barrier(self) -> None:
        """Return when every rank has come here."""
        if self.size > 1:
            self._barrier()

    # Numbers and bytes ----------------------------------------------------------------------------

    def sum_numbers(self, *numbers: float, ordered: bool = False) -> list[float]:
        """Return Σ over ranks of each number, in float64."""
        values = np.array(numbers, np.float64)
        self.all_reduce(values, ordered=ordered)
        return values.tolist()

    def all_gather_bytes(self, content: bytes) -> list[bytes]:
        """Return the bytes of all ranks, of any lengths, in the order of the ranks."""
        if self.size == 1:
            return [content]
        lengths = self.all_gather(np.array([len(content)], np.int64))[:, 0]
        padded = np.zeros(max(int(lengths.max()), 1), np.uint8)
        padded[: len(content)] = np.frombuffer(content, np.uint8)
        parts = self.all_gather(padded)
        return [part[:n].tobytes() for part, n in zip(parts, lengths, strict=True)]

    def broadcast_bytes(self, content: bytes | None, root: int = 0) -> bytes:
        """Return the bytes of rank `root`; what the other ranks give is not looked at."""
        if self.size == 1:
            return content or b""
        given = (content or b"") if self.rank == root else b""
        length = np.array([len(given)], np.int64)
        self.broadcast(length, root)
        buffer = np.zeros(max(int(length[0]), 1), np.uint8)
        buffer[: len(given)] = np.frombuffer(given, np.uint8)
        self.broadcast(buffer, root)
        return buffer[: int(length[0])].tobytes()

    def abort(self, code: int = 1) -> None:
        """End all ranks at once, with this exit code; of one process, raise SystemExit."""
        raise SystemExit(code)

    def window(self, content: Array, root: int = 0) -> Window:
        """Open memory of rank `root` to all ranks: (n,) bytes, uint8, with `content` of that rank.

        Every rank opens it, with content of one length; afterwards each uses it alone.
        Raises CollectiveError for what are no bytes, ValueError for a root that is no rank.
        """
        _check_buffer(content, "window")
        if content.dtype != np.uint8 or content.ndim != 1:
            raise CollectiveError(NOT_BYTES.format(found=f"{content.dtype}{content.shape}"))
        if not 0 <= root < self.size:
            raise ValueError(f"window: root is a rank from 0 to {self.size - 1}, not {root}")
        return LocalWindow(content) if self.size == 1 else self._window(content, root)

    # What a kind of group does for more than one rank ---------------------------------------------

    def _all_reduce(self, buffer: Array, op: str, ordered: bool) -> None:
        self._begin_all_reduce(buffer, op, ordered).wait()

    def _begin_all_reduce(self, buffer: Array, op: str, ordered: bool) -> Request:
        raise NotImplementedError

    def _broadcast(self, buffer: Array, root: int) -> None:
        raise NotImplementedError

    def _all_gather(self, buffer: Array) -> Array:
        raise NotImplementedError

    def _reduce_scatter(self, buffer: Array) -> Array:
        raise NotImplementedError

    def _barrier(self) -> None:
        raise NotImplementedError

    def _window(self, content: Array, root: int) -> Window:
        raise NotImplementedError


class SingleProcess(RankGroup):
    """One rank: every sum is what was given."""


def _check_buffer(buffer: Any, what: str) -> None:
    if not is_array(buffer):
        raise CollectiveError(NOT_FLAT.format(what=what, found=f"a {type(buffer).__name__}"))
    if buffer.dtype.kind not in "biufc" or not buffer.flags.c_contiguous:
        layout = "" if buffer.flags.c_contiguous else " that is not contiguous"
        found = f"an array of {buffer.dtype}{layout}"
        raise CollectiveError(NOT_FLAT.format(what=what, found=found))


def tree_sum(parts: Sequence[Any], add: Callable[[Any, Any], Any] = np.add) -> Any:
    """Add neighbours, then the sums of neighbours, and so on: ((0 + 1) + (2 + 3)) + …

    parts: 1, 2, 4, 8, … of them;  add: two of them -> their sum
    The bits do not depend on how the tree's branches are shared out.  Raises ValueError for another
    number of parts.
    """
    if not parts or len(parts) & (len(parts) - 1):
        raise ValueError(NOT_A_POWER.format(size=len(parts)))
    while len(parts) > 1:
        parts = [add(parts[i], parts[i + 1]) for i in range(0, len(parts), 2)]
    return parts[0]
