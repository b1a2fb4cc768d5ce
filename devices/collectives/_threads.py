"""Ranks as threads of one process: several devices, or several contexts of the CPU.

NumPy and BLAS compute without the interpreter's lock, so that threads on several processors compute
at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from tapegrad.devices._registry import device_of, namespace
from tapegrad.devices._transfer import to_device
from tapegrad.devices.collectives._group import (
    CollectiveError,
    LocalWindow,
    RankGroup,
    Request,
    Window,
    tree_sum,
)
from tapegrad.devices.collectives._worker import Worker

if TYPE_CHECKING:
    from tapegrad.devices._types import Array

__all__ = ["ThreadGroup", "run_in_threads"]

ANOTHER_FAILED = "another rank failed, and with it what this one was waiting for"


class _Meeting:
    """Where the ranks of one thread group leave arrays for each other."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.slots: list[Any] = [None] * size
        self.window: LocalWindow | None = None
        self.barrier = threading.Barrier(size)

    def meet(self) -> None:
        try:
            self.barrier.wait()
        except threading.BrokenBarrierError:
            raise CollectiveError(ANOTHER_FAILED) from None


class ThreadGroup(RankGroup):
    """One of the ranks that `run_in_threads` runs."""

    name = "threads"

    def __init__(self, rank: int, meetings: tuple[_Meeting, _Meeting]) -> None:
        self.rank, self.size = rank, meetings[0].size
        self._now, self._later = meetings  # sums that run beside have a meeting of their own
        self._worker = Worker(f"tapegrad collectives, rank {rank}")

    def abort(self, code: int = 1) -> None:
        """Let every other rank's call fail, and raise SystemExit in this one."""
        for meeting in (self._now, self._later):
            meeting.barrier.abort()
        raise SystemExit(code)

    def _begin_all_reduce(self, buffer: Array, op: str, ordered: bool) -> Request:
        return self._worker.begin(partial(self._combine, buffer, op, ordered))

    def _combine(self, buffer: Array, op: str, ordered: bool) -> None:
        parts = self._exchanged(buffer, self._later)
        xp = namespace(buffer)
        combine: Any = {"sum": xp.add, "max": xp.maximum, "min": xp.minimum}[op]
        if ordered:
            total = tree_sum(parts, combine)
        else:
            total = parts[0]
            for part in parts[1:]:
                total = combine(total, part)
        self._later.meet()  # everybody has read what the others had
        buffer[...] = total

    def _exchanged(self, buffer: Array, meeting: _Meeting) -> list[Array]:
        meeting.slots[self.rank] = buffer
        meeting.meet()
        own = device_of(buffer)
        return [to_device(slot, own) for slot in meeting.slots]

    def _broadcast(self, buffer: Array, root: int) -> None:
        parts = self._exchanged(buffer, self._now)
        if self.rank != root:
            buffer[...] = parts[root]
        self._now.meet()

    def _all_gather(self, buffer: Array) -> Array:
        parts = self._exchanged(buffer, self._now)
        result = namespace(buffer).stack(parts)
        self._now.meet()
        return result

    def _reduce_scatter(self, buffer: Array) -> Array:
        length = len(buffer) // self.size
        own = slice(self.rank * length, (self.rank + 1) * length)
        parts = [part[own] for part in self._exchanged(buffer, self._now)]
        total = parts[0].copy()
        for part in parts[1:]:
            total += part
        self._now.meet()
        return total

    def _window(self, content: Array, root: int) -> Window:
        if self.rank == root:
            self._now.window = LocalWindow(content)
        self._now.meet()
        window = self._now.window
        self._now.meet()
        assert window is not None
        return window

    def _barrier(self) -> None:
        self._now.meet()


def run_in_threads(size: int, function: Callable[[RankGroup], Any]) -> list[Any]:
    """Call `function(group)` in `size` threads at a time; return what each rank returned.

    The context of the caller, such as `no_grad`, is that of each thread.  Raises what the first
    rank that failed raised, after all have ended; ValueError for fewer than one rank.
    """
    if size < 1:
        raise ValueError(f"run_in_threads: at least one rank is needed, not {size}")
    meetings = (_Meeting(size), _Meeting(size))
    results: list[Any] = [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        group = ThreadGroup(rank, meetings) if size > 1 else RankGroup()
        try:
            results[rank] = function(group)
        except BaseException as error:  # noqa: BLE001  # it is raised to the caller
            errors.append(error)
            for meeting in meetings:
                meeting.barrier.abort()

    threads = [
        threading.Thread(target=copy_context().run, args=(run, rank), name=f"rank {rank}")
        for rank in range(size)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
