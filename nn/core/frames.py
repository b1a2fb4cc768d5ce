"""Which module runs: a frame for each call, inside the frame of the module that called it.

Errors and anomaly mode name the path that the frames say.  Inside a checkpoint other frames stand
for them: its function runs again when the modules that called it may be gone.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tapegrad.autograd import AnomalyError, Tensor
from tapegrad.autograd.core import callsite
from tapegrad.autograd.transforms.checkpoint import surroundings
from tapegrad.nn.core.errors import ShapeError

if TYPE_CHECKING:
    from tapegrad.nn.core.spans import Trace

__all__ = [
    "Frame",
    "FrozenFrame",
    "current_frame",
    "entered",
    "located",
    "module_path",
]

IN_MODULE = "in module "


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


callsite.register_module_names(module_path, name_of)


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
