"""The recording mode: one context-local switch that every primitive call reads.

The ContextVar holds None in the ordinary mode (calls on tracked Tensors are recorded), so that the
hot path asks one question: ``is None``.  Anything else is a `Mode`: whether to track, and an
observer that is told of every call (the replay recorder, anomaly mode).  A ContextVar and not a
global, so that threads and asyncio tasks do not switch each other's recording off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, NamedTuple

__all__ = [
    "Forwarder",
    "NO_GRAD",
    "Mode",
    "Observer",
    "about_to_write",
    "current",
    "enable_grad",
    "is_recording",
    "no_grad",
    "observed",
    "observer",
    "reset",
    "switch",
    "watched_writes",
]


class Observer:
    """What is told of each call, write and reversed call while it is installed.

    This one does nothing; the recorder of replay, anomaly mode and batches do more.
    """

    refuses = False  # does `refuse` raise?
    takes_over: ClassVar[bool] = False  # does it run the calls itself, by `take`? (`batching.py`)

    def call(self, primitive: Any, operands: Any, settings: dict[str, Any], results: Any) -> None:
        """A primitive's body ran on bare `operands` and returned the bare arrays `results`.

        Of a call that writes into an operand the results are empty: it has been written.
        """

    def recorded(self, node: Any) -> None:
        """The call that was just told of is on the tape, as `node`."""

    def reverse(
        self, node: Any, places: Sequence[int], g: Any, run: Callable[[], list[Any]]
    ) -> list[Any]:
        """Run the rules of a recorded call: returns what ``run()`` returns.

        That is one cotangent for each of the node's parents at `places`; `g` is the cotangent of
        the node's result.  What `run` calls is told of in between.
        """
        return run()

    def overwritten(self, node: Any, array: Any) -> str:
        """What to add to the error that `array`, saved by `node`, has been written since."""
        return ""

    def take(self, primitive: Any, operands: Any, settings: dict[str, Any], aux: bool) -> Any:
        """Run a call, and return its result, as an observer that takes over."""

    def refuse(self, action: str) -> None:
        """Someone reads a value (`action` says how); an observer may raise."""

    def guard(self, owner: Any, attribute: str) -> None:
        """What is being computed depends on ``owner.attribute``."""


class Forwarder(Observer):
    """An observer that tells the one that was installed before it, `outer`, of everything."""

    def __init__(self, outer: Observer | None) -> None:
        self.outer = Observer() if outer is None else outer
        self.refuses = self.outer.refuses

    def call(self, primitive: Any, operands: Any, settings: dict[str, Any], results: Any) -> None:
        self.outer.call(primitive, operands, settings, results)

    def recorded(self, node: Any) -> None:
        self.outer.recorded(node)

    def reverse(
        self, node: Any, places: Sequence[int], g: Any, run: Callable[[], list[Any]]
    ) -> list[Any]:
        return self.outer.reverse(node, places, g, run)

    def overwritten(self, node: Any, array: Any) -> str:
        return self.outer.overwritten(node, array)

    def refuse(self, action: str) -> None:
        self.outer.refuse(action)

    def guard(self, owner: Any, attribute: str) -> None:
        self.outer.guard(owner, attribute)


class Mode(NamedTuple):
    """A mode other than the ordinary one."""

    track: bool
    observer: Observer | None


NO_GRAD = Mode(track=False, observer=None)
_mode: ContextVar[Mode | None] = ContextVar("tapegrad_mode", default=None)
current = _mode.get
switch = _mode.set
reset = _mode.reset


@contextmanager
def _switched(mode: Mode | None) -> Iterator[None]:
    token = _mode.set(mode)
    try:
        yield
    finally:
        _mode.reset(token)


def no_grad() -> Any:
    """A context in which nothing is recorded: results are untracked, memory stays small."""
    told = observer()
    return _switched(NO_GRAD if told is None else Mode(False, told))


def enable_grad() -> Any:
    """A context in which calls are recorded again, inside `no_grad()`."""
    told = observer()
    return _switched(None if told is None else Mode(True, told))


def observed(observer: Observer) -> Any:
    """A context in which `observer` is told of every primitive call."""
    return _switched(Mode(is_recording(), observer))


def observer() -> Observer | None:
    """The observer that is installed, or None."""
    mode = current()
    return None if mode is None else mode.observer


def is_recording() -> bool:
    """True where a call on a tracked Tensor is recorded, False inside `no_grad()`."""
    mode = current()
    return mode is None or mode.track


# Writes into arrays that exist already ------------------------------------------------------------
#
# Not part of the mode: whoever needs to undo them (checkpoints) must not slow down the other calls.

_watcher: ContextVar[Callable[[Any], None] | None] = ContextVar("tapegrad_writes", default=None)


def about_to_write(array: Any) -> None:
    """Say that the bare `array` is going to be written in place."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(array)


@contextmanager
def watched_writes(watcher: Callable[[Any], None]) -> Iterator[None]:
    """A context in which `watcher`, and those outside it, hear of each write before it is done."""
    outer = _watcher.get()

    def both(array: Any) -> None:
        watcher(array)
        if outer is not None:
            outer(array)

    token = _watcher.set(both)
    try:
        yield
    finally:
        _watcher.reset(token)
