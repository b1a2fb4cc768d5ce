"""Which module runs: frames, the spans of a stateful call, and the way back from a failed one.

A frame says where in the tree of modules the program is, which errors and anomaly mode tell.  A
trace holds the spans, one for each call of a module, and an undo log: when a call inside it raises,
buffers and random generators are put back, so that a wrong shape changes no state.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tapegrad.autograd import AnomalyError, Tensor
from tapegrad.autograd.core import callsite
from tapegrad.autograd.core.node import note_write
from tapegrad.autograd.transforms.checkpoint import surroundings
from tapegrad.nn.core.errors import ShapeError

if TYPE_CHECKING:
    from tapegrad.autograd.core.node import Node

__all__ = [
    "Frame",
    "FrozenFrame",
    "Span",
    "Trace",
    "current_frame",
    "entered",
    "located",
    "module_path",
    "on_failure",
    "undo_attribute",
    "undo_write",
]

IN_MODULE = "in module "


@dataclass
class Span:
    """One call of a module inside a trace."""

    reference: Any  # weak: the module keeps the trace, so a strong one would be a cycle
    nodes: list[Node | None]  # the identity node of each input leaf, None where nothing is tracked
    inputs: Any
    output: Any

    def keep(self, name: str, value: Any) -> None:
        """Store a result on the module, if it is still there."""
        module = self.reference()
        if module is not None:
            module.keep(name, value)


@dataclass
class Trace:
    """A stateful call: the spans inside it, and how to undo what it changed."""

    first: int
    spans: list[Span] = field(default_factory=list)
    undo: dict[Hashable, Callable[[], None]] = field(default_factory=dict)

    @property
    def root(self) -> Span:
        """The span of the module whose `forward` was called; the last to finish."""
        return self.spans[-1]

    def restore(self) -> None:
        """Put back what changed since the trace was opened."""
        for action in reversed(list(self.undo.values())):
            action()
        self.undo.clear()


@dataclass(frozen=True)
class Frame:
    """The module that is being run, the trace it belongs to (None in a plain call), and the frame
    of the module that called it.

    undo: the trace that changes are undone with when there is none to put spans in
    """

    module: Any
    trace: Trace | None
    parent: Frame | None
    undo: Trace | None = None
    frozen: ClassVar[bool] = False  # are there Parameters that are constants to the module?

    @cached_property
    def path(self) -> str:
        """The module's path in those that called it, ``Sequential[1].Linear``; "" without one."""
        outer = self.parent
        while outer is not None and outer.module is None:
            outer = outer.parent
        if outer is None or self.module is outer.module:
            return "" if self.module is None else type(self.module).__name__
        if self.module is None:
            return outer.path
        name = outer.module.name_of_child(self.module)
        return f"{outer.path}{name}.{type(self.module).__name__}"


@dataclass(frozen=True)
class FrozenFrame(Frame):
    """The frame of a frozen module.

    own: ids of the Parameters that the module itself holds
    """

    own: frozenset[int] = frozenset()
    frozen: ClassVar[bool] = True

    def has_constant(self, parameter: Any) -> bool:
        """Whether the Parameter is the module's, or that of a frozen module below it."""
        return id(parameter) in self.own or id(parameter) in self._below

    @cached_property
    def _below(self) -> frozenset[int]:
        parts = [part for part in self.module.listModules() if part._frozen]
        return frozenset(id(p) for part in parts for p in part.own_parameters())


_frame: ContextVar[Frame | None] = ContextVar("tapegrad_module", default=None)
current_frame = _frame.get


@contextmanager
def entered(frame: Frame | None) -> Iterator[None]:
    """Run a block as part of `frame.module`."""
    token = _frame.set(frame)
    try:
        yield
    finally:
        _frame.reset(token)


def module_path() -> str:
    """The path of the module that is being run, "" outside of every module."""
    frame = current_frame()
    return "" if frame is None else frame.path


def name_of(array: Any) -> str:
    """What the module that is being run calls `array`, "" if it is none of its own Tensors."""
    frame = current_frame()
    own = {} if frame is None or frame.module is None else vars(frame.module)
    return next((name for name, t in own.items() if isinstance(t, Tensor) and t._data is array), "")


callsite.register(module_path, name_of)


def on_failure(key: Hashable, make: Callable[[], Callable[[], None]]) -> None:
    """Log, once per key and trace, how to undo a change that is about to be made.

    make: called if this is the first change under `key`; keeps what is there, returns the undoing
    """
    frame = current_frame()
    trace = None if frame is None else frame.trace or frame.undo
    if trace is not None and key not in trace.undo:
        trace.undo[key] = make()


def undo_write(tensor: Tensor) -> None:
    """Give `tensor` its present entries back if the call that is running fails."""

    def keep() -> Callable[[], None]:
        array, old = tensor._data, tensor._data.copy()

        def restore() -> None:
            array[...] = old
            note_write(array)

        return restore

    on_failure(id(tensor._data), keep)  # the log keeps this array, so that its id stays its own


def undo_attribute(owner: Any, name: str) -> None:
    """Let ``owner.name`` be its present value again if the call that is running fails."""

    def keep() -> Callable[[], None]:
        old = getattr(owner, name)
        return lambda: setattr(owner, name, old)

    on_failure((id(owner), name), keep)


def checkpoint_contexts() -> tuple[Any, Callable[[], Any]]:
    """Returns a context for a checkpoint's first run, and a function making one for each re-run.

    Modules record no spans inside either.  Spans would keep what the checkpoint drops, and their
    nodes would not be those of the re-run.
    """
    frame = current_frame()
    if frame is None:
        return entered(None), lambda: entered(None)
    alone: dict[str, Any] = {"trace": None, "parent": None, "undo": None}
    # Modules may hold the tape, which holds this: strong references would be cycles.
    callers, outer = [], frame
    while outer is not None:
        if outer.module is not None:
            callers.append((weakref.ref(outer.module), replace(outer, module=None, **alone)))
        outer = outer.parent

    def later() -> Any:
        again = None if callers else Frame(None, None, None)
        for reference, caller in reversed(callers):
            again = replace(caller, module=reference() or _GONE, parent=again)
        return entered(again)

    first = replace(frame, trace=None, undo=frame.trace or frame.undo)
    return entered(first), later


class _Gone:
    """Stands in for a caller that was garbage-collected, so that code which a checkpoint runs again
    still counts as inside a module.
    """

    def name_of_child(self, _: Any) -> str:
        return ""

    def listModules(self) -> list[Any]:
        return []


_GONE = _Gone()


surroundings.append(checkpoint_contexts)


@contextmanager
def located() -> Iterator[None]:
    """Put the path of the module that is being run into errors; the innermost one that sees it."""
    try:
        yield
    except Exception as error:  # every error, since it is only annotated and raised again
        known = error.__dict__
        if "_tapegrad_path" not in known:
            path = known["_tapegrad_path"] = module_path()
            if isinstance(error, ShapeError):
                error.path = path
            elif not isinstance(error, AnomalyError):  # which names it itself
                error.add_note(IN_MODULE + path)
        raise
