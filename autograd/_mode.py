"""The recording mode: one context-local switch that every primitive call reads.

The ContextVar holds None in the ordinary mode (calls on tracked Tensors are recorded), so that the
hot path asks one question: ``is None``.  Anything else is a `Mode`: whether to track, and an
observer that is told of every call (the replay recorder).  A ContextVar and not a global, so that
threads and asyncio tasks do not switch each other's recording off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, NamedTuple, Protocol

__all__ = [
    "NO_GRAD",
    "Mode",
    "Observer",
    "current",
    "enable_grad",
    "is_recording",
    "no_grad",
    "observed",
    "reset",
    "switch",
]


class Observer(Protocol):
    """What is told of each primitive call and each in-place write while it is installed.

    takes_over: it runs the calls itself, by its method `take` (see `batching.py`)
    """

    takes_over: ClassVar[bool]

    def call(self, primitive: Any, operands: Any, settings: dict[str, Any], results: Any) -> None:
        """A primitive's body ran on bare `operands` and returned the bare arrays `results`."""

    def take(self, primitive: Any, operands: Any, settings: dict[str, Any], aux: bool) -> Any:
        """Run a call, and return its result, as an observer that takes over."""

    def refuse(self, action: str) -> None:
        """Someone reads a value (`action` says how); an observer may raise."""


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
