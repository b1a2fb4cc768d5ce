"""A rank whose program has ended says so: nobody waits for it for ever.

MPI notices a process that dies, and not one that leaves: its last act is to wait for the others,
who may be waiting for it in a sum.  So a rank that leaves sends a message to each other one, where
a thread compares: a rank that is in a call which needs the departed one ends all ranks.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapegrad.devices.collectives._group import RankGroup

__all__ = ["Waiting", "watch_for_farewells"]

LEFT = (
    "[rank {rank}] rank {departed} has ended its program, and rank {rank} waits for it in {what}: "
    "all ranks must make the same calls. All ranks end.\n"
)
_EVERY = 0.25  # seconds between two looks
_GRACE = 2.0  # seconds in which a call that all ranks have made ends


class Waiting:
    """Which collective a rank is in, and since when."""

    def __init__(self) -> None:
        self._inside: dict[int, tuple[str, float]] = {}

    @contextmanager
    def inside(self, what: str) -> Iterator[None]:
        """A context of one call, of this thread."""
        thread = threading.get_ident()
        self._inside[thread] = (what, time.monotonic())
        try:
            yield
        finally:
            del self._inside[thread]

    def longest(self) -> tuple[str, float]:
        """The oldest call that has not ended, and for how many seconds; ("", 0) without one."""
        calls = list(self._inside.values())
        if not calls:
            return "", 0.0
        what, since = min(calls, key=lambda call: call[1])
        return what, time.monotonic() - since


def watch_for_farewells(group: RankGroup, communicator: Any, waiting: Waiting) -> None:
    """Start the thread of this rank, and let the rank say farewell when its program ends.

    communicator: one of mpi4py's, that nobody else uses
    """
    ended = threading.Event()

    def watch() -> None:
        departed: list[int] = []
        since = 0.0
        while not ended.wait(_EVERY):
            while communicator.iprobe():
                departed.append(communicator.recv())
                since = time.monotonic()
            what, seconds = waiting.longest()
            if departed and min(seconds, time.monotonic() - since) > _GRACE:
                found = {"rank": group.rank, "departed": departed[0], "what": what}
                sys.stderr.write(LEFT.format(**found))
                sys.stderr.flush()
                group.abort(1)

    thread = threading.Thread(target=watch, name="tapegrad farewells", daemon=True)
    thread.start()

    def leave() -> None:
        ended.set()
        thread.join()
        sent = [
            communicator.isend(group.rank, other)
            for other in range(group.size)
            if other != group.rank
        ]
        for one in sent:  # small messages, which go without a receiver
            one.wait()

    atexit.register(leave)
