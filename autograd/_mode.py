"""The recording mode: one context-local switch that every primitive call reads.

The ContextVar holds None in the ordinary mode (calls on tracked Tensors are recorded), so that the
hot path asks one question: ``is None``.  Anything else is a `Mode`: whether to track, and an
observer that is told of every call (the replay recorder).  A ContextVar and not a global, so that
threads and asyncio tasks do not switch each other's recording off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

__all__ = [
    "NO_GRAD",
    "Mode",
    "Observer",
    "about_to_write",
    "current",
    "enable_grad",
    "is_recording",
    "no_grad",
    "observed",
    "watched_writes",
]


class Observer(Protocol):
    """What is told of each primitive call and each in-place write while it is installed."""

    def call(self, primitive: Any, operands: Any, settings: dict[str, Any], results: Any) -> None:
        """A primitive's body ran on bare `operands` and returned the bare arrays `results`."""

    def refuse(self, action: str) -> None:
        """Someone reads a value (`action` says how); an observer may raise."""


class Mode(NamedTuple):
    """A mode other than the ordinary one."""

    track: bool
    observer: Observer | None


NO_GRAD = Mode(track=False, observer=None)
_mode: ContextVar[Mode | None] = ContextVar("tapegrad_mode", default=None)
current = _mode.get


@contextmanager
def _switched(mode: Mode | None) -> Iterator[None]:
    token = _mode.set(mode)
    try:
        yield
    finally:
        _mode.reset(token)


def no_grad() -> Any:
    """A context in which nothing is recorded: results are untracked, memory stays small."""
    mode = current()
    observer = None if mode is None else mode.observer
    return _switched(NO_GRAD if observer is None else Mode(False, observer))


def enable_grad() -> Any:
    """A context in which calls are recorded again, inside `no_grad()`."""
    mode = current()
    observer = None if mode is None else mode.observer
    return _switched(None if observer is None else Mode(True, observer))


def observed(observer: Observer) -> Any:
    """A context in which `observer` is told of every primitive call."""
    return _switched(Mode(is_recording(), observer))


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
