"""The time that each module takes, forward and backward, by one clock that never counts twice.

While a module is timed, a hook around its forward code (`core.hooks`) turns the clock of this
thread to it and back.  The hook also notes at which serial number of the tape the module begins and
ends, so that a reverse sweep, which turns the clock at each node, knows whose node it is.  What
passes while the clock points to a module is the module's own time, without the modules below it.

A module that is not timed has no hook and pays nothing; sweeps pay one comparison.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

from tapegrad.autograd.core.mode import sweep_follower
from tapegrad.autograd.core.node import next_serial

if TYPE_CHECKING:
    from tapegrad.autograd.core.node import Node

__all__ = ["BACKWARD", "FORWARD", "TIME", "Times", "begins_backward", "measure", "start", "timed"]

TIME = "time"  # the kind of hook (core.hooks) that holds a module's Times
FORWARD, BACKWARD = 0, 1
_MOST = 1 << 16  # noted boundaries of modules on the tape, of which old ones are forgotten


class Times:
    """The own times of one module, forward and backward, in nanoseconds."""

    __slots__ = ("__weakref__", "spent")

    def __init__(self) -> None:
        self.spent = [0, 0]


class _ThreadClock(threading.local):
    """One thread's clock: whose time runs, and which parts of the tape are whose."""

    def __init__(self) -> None:
        self.owner: Times | None = None
        self.kind = FORWARD
        self.since = 0
        self.root: Times | None = None  # the module whose `backward` runs
        self.running: list[Times] = []  # modules whose forward code runs, the outermost first
        self.serials: list[int] = []  # from each of these on, the tape is that of …
        self.owners: list[ref[Times] | None] = []  # … this module, while somebody times it

    def turn(self, owner: Times | None, kind: int) -> None:
        """Let the time from now on be `owner`'s."""
        now = time.perf_counter_ns()
        if self.owner is not None:
            self.owner.spent[self.kind] += now - self.since
        self.owner, self.kind, self.since = owner, kind, now

    def note(self, owner: Times | None, serial: int) -> None:
        """Let the tape from `serial` on be `owner`'s."""
        if not self.running and len(self.serials) > _MOST:
            del self.serials[: _MOST // 2], self.owners[: _MOST // 2]
        self.serials.append(serial)
        self.owners.append(None if owner is None else ref(owner))

    def owner_of(self, serial: int) -> Times | None:
        """Whose code recorded the node with this serial number; None if nobody's is known."""
        position = bisect_right(self.serials, serial)
        owner = self.owners[position - 1] if position else None
        return None if owner is None else owner()


_clock = _ThreadClock()
_timed: WeakSet[Times] = WeakSet()  # while empty, no sweep is followed


def start() -> Times:
    """Begin to time a module: what its hook of the kind TIME holds from now on."""
    times = Times()
    _timed.add(times)
    sweep_follower[0] = _follow
    return times


def timed(times: Times, update: Callable[..., Any], *, by_hand: bool) -> Callable[..., Any]:
    """`update`, a module's forward code, with the clock turned to the module while it runs.

    by_hand: whether one record follows that stands for the entire call (core.by_hand)
    """

    def run(*inputs: Any, **named: Any) -> Any:
        owner, kind = _clock.owner, _clock.kind
        _clock.note(times, next_serial())
        _clock.running.append(times)
        _clock.turn(times, FORWARD)
        try:
            return update(*inputs, **named)
        finally:
            _clock.running.pop()
            around = _clock.running[-1] if _clock.running else None
            _clock.note(around, next_serial() + (2 if by_hand else 0))
            _clock.turn(owner, kind)

    return run


@contextmanager
def measure(times: Times, kind: int) -> Iterator[None]:
    """Let a block's time be a module's, as far as it is not that of a module inside."""
    owner, before, root = _clock.owner, _clock.kind, _clock.root
    if kind == BACKWARD:
        _clock.root = times
    _clock.turn(times, kind)
    try:
        yield
    finally:
        _clock.turn(owner, before)
        _clock.root = root


def begins_backward(times: Times) -> bool:
    """Whether a call of the module's `backward` is yet to be measured: it is no inner call."""
    return _clock.root is not times


class _Visits:
    """What a sweep takes for the nodes that it watches; it turns the clock at each node."""

    __slots__ = ("floor", "root", "watched")

    def __init__(self, watched: Container[Node], floor: int) -> None:
        self.watched, self.floor = watched, floor
        self.root = _clock.owner

    def __contains__(self, node: Node) -> bool:
        if node.serial >= self.floor:
            _clock.turn(_clock.owner_of(node.serial) or self.root, BACKWARD)
        return node in self.watched


def _follow(run: Callable[..., Any], watched: Container[Node], floor: int) -> Any:
    """Run a sweep with the clock turned at each of its nodes."""
    if not _timed:
        sweep_follower[0] = None
        if _timed:  # another thread has begun meanwhile
            sweep_follower[0] = _follow
        return run(watched=watched)
    owner, kind = _clock.owner, _clock.kind
    try:
        return run(watched=_Visits(watched, floor))
    finally:
        _clock.turn(owner, kind)
