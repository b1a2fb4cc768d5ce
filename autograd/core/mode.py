"""The recording mode: one context-local switch that every primitive call reads.

The ContextVar holds None in the ordinary mode (calls on tracked Tensors are recorded), so that the
hot path asks one question: ``is None``.  Anything else is a `Mode`: whether to track, an observer
that is told of every call (the recorder of replay, anomaly mode), and an interpreter that runs the
calls itself (a batch).  A ContextVar and not a global, so that threads and asyncio tasks do not
switch each other's recording off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

__all__ = [
    "Forwarder",
    "Interpreter",
    "NO_GRAD",
    "Mode",
    "Observer",
    "about_to_write",
    "make_mode",
    "current",
    "enable_grad",
    "guard",
    "interpreter",
    "is_followed",
    "is_recording",
    "no_grad",
    "observed",
    "observer",
    "refuse",
    "reset",
    "switch",
    "watched_writes",
]


class Observer:
    """What is told of each call, write and reversed call while it is installed.

    This one does nothing; the recorder of replay and anomaly mode do more.
    """

    refuses = False  # does `refuse` raise?

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

    def handing_on(self, node: Any, parent: Any) -> None:
        """From now on a sweep fits, and adds up, the cotangent that `node` hands to `parent`."""

    def handed_on(self, node: Any) -> None:
        """The cotangents that `node` hands on are where they belong."""

    def overwritten(self, node: Any, array: Any) -> str:
        """What to add to the error that `array`, saved by `node`, has been written since."""
        return ""

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
        """Tell `outer` (see `Observer.call`)."""
        self.outer.call(primitive, operands, settings, results)

    def recorded(self, node: Any) -> None:
        """Tell `outer` (see `Observer.recorded`)."""
        self.outer.recorded(node)

    def reverse(
        self, node: Any, places: Sequence[int], g: Any, run: Callable[[], list[Any]]
    ) -> list[Any]:
        """Let `outer` run the rules (see `Observer.reverse`)."""
        return self.outer.reverse(node, places, g, run)

    def handing_on(self, node: Any, parent: Any) -> None:
        """Tell `outer` (see `Observer.handing_on`)."""
        self.outer.handing_on(node, parent)

    def handed_on(self, node: Any) -> None:
        """Tell `outer` (see `Observer.handed_on`)."""
        self.outer.handed_on(node)

    def overwritten(self, node: Any, array: Any) -> str:
        """Ask `outer` (see `Observer.overwritten`)."""
        return self.outer.overwritten(node, array)

    def refuse(self, action: str) -> None:
        """Tell `outer` (see `Observer.refuse`)."""
        self.outer.refuse(action)

    def guard(self, owner: Any, attribute: str) -> None:
        """Tell `outer` (see `Observer.guard`)."""
        self.outer.guard(owner, attribute)


class Interpreter(Protocol):
    """What runs the calls in the place of their bodies while it is installed.

    It switches the mode for what it calls itself, by `make_mode`; the observer is told of that.
    """

    def take(
        self, primitive: Any, operands: tuple[Any, ...], settings: dict[str, Any], aux: bool
    ) -> Any:
        """Run a call, and return its result (see `call.apply`)."""


class Mode(NamedTuple):
    """A mode other than the ordinary one."""

    track: bool
    observer: Observer | None = None
    interpreter: Interpreter | None = None


NO_GRAD = Mode(track=False)
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


def make_mode(
    track: bool, observer: Observer | None, interpreter: Interpreter | None
) -> Mode | None:
    """The mode with these three, which is None for the ordinary one."""
    if observer is None and interpreter is None:
        return None if track else NO_GRAD
    return Mode(track, observer, interpreter)


def no_grad() -> Any:
    """A context in which nothing is recorded: results are untracked, memory stays small."""
    return _switched(make_mode(False, observer(), interpreter()))


def enable_grad() -> Any:
    """A context in which calls are recorded again, inside `no_grad()`."""
    return _switched(make_mode(True, observer(), interpreter()))


def observed(observer: Observer) -> Any:
    """A context in which `observer`, and no other, is told of every primitive call."""
    return _switched(Mode(is_recording(), observer, interpreter()))


def observer() -> Observer | None:
    """The observer that is installed, or None."""
    mode = current()
    return None if mode is None else mode.observer


def interpreter() -> Interpreter | None:
    """The interpreter that is installed, or None."""
    mode = current()
    return None if mode is None else mode.interpreter


def is_followed() -> bool:
    """Is there an observer or an interpreter, so that calls must be made on Tensors, one by one?"""
    mode = current()
    return mode is not None and not (mode.observer is None and mode.interpreter is None)


def is_recording() -> bool:
    """True where a call on a tracked Tensor is recorded, False inside `no_grad()`."""
    mode = current()
    return mode is None or mode.track


def refuse(action: str) -> None:
    """Tell an observer that a value is being read; replay cannot repeat what Python decides."""
    told = observer()
    if told is not None:
        told.refuse(action)


def guard(owner: Any, attribute: str) -> None:
    """Tell a recording that the step depends on ``owner.attribute``: a change records it anew."""
    told = observer()
    if told is not None:
        told.guard(owner, attribute)


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
