"""The recording mode is one context-local variable that every primitive call reads.

The ContextVar holds None in the ordinary mode, in which calls on tracked Tensors are recorded; so
the hot path has one test, ``is None``.  Any other value is a `Mode`: whether to record, an observer
that hears of every call (the recorder of replay, anomaly mode), and an interpreter that runs the
calls itself (a batch).  The variable is a ContextVar and no global, so that threads and asyncio
tasks do not switch each other's recording off.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tapegrad.autograd.core.contexts import Context, context

if TYPE_CHECKING:
    from tapegrad.autograd.core.declaration import Primitive
    from tapegrad.autograd.core.node import Node
    from tapegrad.devices import Array

__all__ = [
    "Forwarder",
    "Interpreter",
    "NO_GRAD",
    "Mode",
    "Observer",
    "announce_write",
    "make_mode",
    "current_mode",
    "derivative_depth",
    "enable_grad",
    "interpreter",
    "is_followed",
    "is_recording",
    "may_join",
    "no_grad",
    "install_observer",
    "observer",
    "refuse",
    "reset_mode",
    "sweep_follower",
    "switch_mode",
    "watch",
    "watch_writes",
]


class Observer:
    """An observer hears of each call, write and reversed call while it is installed.

    This base class does nothing; the recorder of replay and anomaly mode derive from it.
    """

    refuses = False  # True if `refuse` raises
    joins = False  # True if several operations may be told as one; see `may_join`

    def call(
        self,
        primitive: Primitive,
        operands: Sequence[Any],
        settings: dict[str, Any],
        results: Sequence[Any],
    ) -> None:
        """A primitive's body ran on bare `operands` and returned the bare arrays `results`.

        The results are empty for a call that writes into an operand; by now it has been written.
        """

    def recorded(self, node: Node) -> None:
        """The call of the last `call` is on the tape, as `node`."""

    def reverse(
        self, node: Node, indices: Sequence[int], g: Any, run: Callable[[], list[Any]]
    ) -> list[Any]:
        """Run the rules of a recorded call, and return what ``run()`` returns.

        indices: of the parents of `node` that get a cotangent; the result has one for each
        g:       the cotangent of the node's result
        The observer hears of the calls that `run` makes.
        """
        return run()

    def push(self, node: Node, tangents: Sequence[Any], run: Callable[[], Any]) -> Any:
        """Run the rules for the tangents of a recorded call, and return what ``run()`` returns.

        tangents: of the parents of `node`, None for one that does not move
        """
        return run()

    def before_delivery(self, node: Node, parent: Node) -> None:
        """A sweep is about to fit and add up the cotangent that `node` sends to `parent`."""

    def after_delivery(self, node: Node) -> None:
        """A sweep has delivered all cotangents that `node` sends to its parents."""

    def explain_overwrite(self, node: Node, array: Array) -> str:
        """Text to add to the error that `array`, saved by `node`, has been written since."""
        return ""

    def refuse(self, action: str) -> None:
        """The program reads a value, by `action`; an observer may raise."""

    def watch(self, owner: Any) -> None:
        """The running step depends on the attributes of `owner`, a module or an optimizer."""


class Forwarder(Observer):
    """An observer that passes everything on to `outer`, the observer installed before it."""

    def __init__(self, outer: Observer | None) -> None:
        self.outer = Observer() if outer is None else outer
        self.refuses = self.outer.refuses
        self.joins = outer is None or outer.joins

    def call(
        self,
        primitive: Primitive,
        operands: Sequence[Any],
        settings: dict[str, Any],
        results: Sequence[Any],
    ) -> None:
        """Tell `outer` (see `Observer.call`)."""
        self.outer.call(primitive, operands, settings, results)

    def recorded(self, node: Node) -> None:
        """Tell `outer` (see `Observer.recorded`)."""
        self.outer.recorded(node)

    def reverse(
        self, node: Node, indices: Sequence[int], g: Any, run: Callable[[], list[Any]]
    ) -> list[Any]:
        """Let `outer` run the rules (see `Observer.reverse`)."""
        return self.outer.reverse(node, indices, g, run)

    def push(self, node: Node, tangents: Sequence[Any], run: Callable[[], Any]) -> Any:
        """Let `outer` run the rules (see `Observer.push`)."""
        return self.outer.push(node, tangents, run)

    def before_delivery(self, node: Node, parent: Node) -> None:
        """Tell `outer` (see `Observer.before_delivery`)."""
        self.outer.before_delivery(node, parent)

    def after_delivery(self, node: Node) -> None:
        """Tell `outer` (see `Observer.after_delivery`)."""
        self.outer.after_delivery(node)

    def explain_overwrite(self, node: Node, array: Array) -> str:
        """Ask `outer` (see `Observer.explain_overwrite`)."""
        return self.outer.explain_overwrite(node, array)

    def refuse(self, action: str) -> None:
        """Tell `outer` (see `Observer.refuse`)."""
        self.outer.refuse(action)

    def watch(self, owner: Any) -> None:
        """Tell `outer` (see `Observer.watch`)."""
        self.outer.watch(owner)


class Interpreter(Protocol):
    """An interpreter runs calls of primitives in place of their bodies while it is installed.

    It installs another mode (`make_mode`) for the calls that it makes itself, and the observer
    hears of those.
    """

    def interpret(
        self, primitive: Primitive, operands: tuple[Any, ...], settings: dict[str, Any], aux: bool
    ) -> Any:
        """Run a call and return its result (see `call.apply`)."""


class Mode(NamedTuple):
    """A mode other than the ordinary one, which is None.

    stream: the interpreter, where it has functions of its own for simple primitives
            (`forward/streaming.py`)
    """

    track: bool
    observer: Observer | None = None
    interpreter: Interpreter | None = None
    stream: Any = None


NO_GRAD = Mode(track=False)
_mode: ContextVar[Mode | None] = ContextVar("tapegrad_mode", default=None)
current_mode = _mode.get
switch_mode = _mode.set
reset_mode = _mode.reset


@context
def _installed_mode(mode: Mode | None) -> Generator[None, None, None]:
    token = _mode.set(mode)
    try:
        yield
    finally:
        _mode.reset(token)


def make_mode(
    track: bool, observer: Observer | None, interpreter: Interpreter | None
) -> Mode | None:
    """The mode with these three values; None for the ordinary mode."""
    if observer is None and interpreter is None:
        return None if track else NO_GRAD
    return Mode(track, observer, interpreter)


@context
def _recording(track: bool) -> Generator[None, None, None]:
    # What else is installed is asked for on entry: a decorator is made long before.
    token = _mode.set(make_mode(track, observer(), interpreter()))
    try:
        yield
    finally:
        _mode.reset(token)


def no_grad() -> Context:
    """A context in which nothing is recorded: results are untracked, memory stays small.

    It is a decorator too, of functions, generators and coroutines.

    >>> import tapegrad as tg
    >>> w = tg.Parameter(np.ones(2))
    >>> with no_grad():
    ...     y = w * 2
    >>> y.tracked
    False
    """
    return _recording(False)


def enable_grad() -> Context:
    """A context, and a decorator, in which calls are recorded again, inside `no_grad()`."""
    return _recording(True)


def install_observer(observer: Observer) -> Context:
    """A context in which `observer`, and no other, hears of every primitive call."""
    return _installed_mode(Mode(is_recording(), observer, interpreter()))


def observer() -> Observer | None:
    """The observer that is installed, or None."""
    mode = current_mode()
    return None if mode is None else mode.observer


def interpreter() -> Interpreter | None:
    """The interpreter that is installed, or None."""
    mode = current_mode()
    return None if mode is None else mode.interpreter


def is_followed() -> bool:
    """True if an observer or an interpreter must see each call, so that calls run on Tensors."""
    mode = current_mode()
    return mode is not None and not (mode.observer is None and mode.interpreter is None)


def may_join() -> bool:
    """True if a layer may make one call of a primitive that stands for several operations.

    Recorded steps are made of the operations themselves, which are optimized together.
    """
    mode = current_mode()
    if mode is None:
        return True
    return mode.interpreter is None and (mode.observer is None or mode.observer.joins)


def is_recording() -> bool:
    """True where calls on tracked Tensors are recorded; False inside `no_grad()`."""
    mode = current_mode()
    return mode is None or mode.track


# The number of derivatives that are being taken around the current call.  Where it is not 0, the
# sweep of an inner derivative must be recorded itself.
derivative_depth: ContextVar[int] = ContextVar("tapegrad_depth", default=0)


def refuse(action: str) -> None:
    """Tell the observer that a value is read; replay cannot repeat what Python decides by it."""
    installed = observer()
    if installed is not None:
        installed.refuse(action)


def watch(owner: Any) -> None:
    """Tell a recording that the step depends on `owner`'s attributes; a change records it anew."""
    installed = observer()
    if installed is not None:
        installed.watch(owner)


# Writes into existing arrays ----------------------------------------------------------------------
#
# Checkpoints watch writes in order to undo them.  The watcher is no part of the mode, since a mode
# would slow down every other call inside a checkpoint.

_watcher: ContextVar[Callable[[Array], None] | None] = ContextVar("tapegrad_writes", default=None)


def announce_write(array: Array) -> None:
    """Tell the watcher that the bare `array` is about to be written in place."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(array)


@contextmanager
def watch_writes(watcher: Callable[[Array], None]) -> Iterator[None]:
    """A context in which `watcher` and the watchers around it hear of writes beforehand."""
    outer = _watcher.get()

    def both(array: Array) -> None:
        watcher(array)
        if outer is not None:
            outer(array)

    token = _watcher.set(both)
    try:
        yield
    finally:
        _watcher.reset(token)


# What runs each reverse sweep that is not recorded, or None: a function of what runs the sweep, the
# nodes to watch, and the floor.  It may pass on a container of its own for the nodes; the sweep
# asks it for every node.  So modules are timed, and the sweep's loop has no clock.
sweep_follower: list[Callable[..., Any] | None] = [None]
