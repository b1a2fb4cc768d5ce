"""Which module runs: each call has a frame, inside the frame of the module that called it.

Errors and anomaly mode name the path that the frames spell.  A checkpoint gets frames of its own:
it runs its function again when the calling modules may no longer exist.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tapegrad.autograd import AnomalyError, Tensor
from tapegrad.autograd.core import callsite, running
from tapegrad.autograd.core.other_keywords import note_keyword
from tapegrad.autograd.transforms.checkpoint import context_hooks
from tapegrad.nn.core.errors import ShapeError

if TYPE_CHECKING:
    from tapegrad.nn.core.spans import Trace

__all__ = [
    "Frame",
    "FrozenFrame",
    "current_frame",
    "current_path",
    "enter_frame",
    "run_in_frame",
]

IN_MODULE = "in module "


# Not frozen as dataclasses can be, since each call of a module makes a frame.
@dataclass(eq=False)
class Frame:
    """One call of a module; nobody changes it.

    module: the module that runs; None for the root of a trace
    trace:  the trace that collects spans; None in a plain call
    parent: the frame of the calling module
    undo:   inside a checkpoint, which collects no spans: the trace that undoes changes on failure
    """

    module: Any
    trace: Trace | None
    parent: Frame | None
    undo: Trace | None = None

    @cached_property
    def path(self) -> str:
        """The module's path in its callers, ``Sequential[1].Linear``; "" without a module."""
        outer = self.parent
        while outer is not None and outer.module is None:
            outer = outer.parent
        if outer is None or self.module is outer.module:
            return "" if self.module is None else type(self.module).__name__
        if self.module is None:
            return outer.path
        name = outer.module.name_of_child(self.module)
        return f"{outer.path}{name}.{type(self.module).__name__}"


@dataclass(eq=False)
class FrozenFrame(Frame):
    """The frame of a frozen module.

    own: ids of the Parameters that the module itself holds
    """

    own: frozenset[int] = frozenset()

    def has_constant(self, parameter: Any) -> bool:
        """Whether the module, or a frozen module below it, holds the Parameter."""
        return id(parameter) in self.own or id(parameter) in self._held_below

    @cached_property
    def _held_below(self) -> frozenset[int]:
        parts = [part for part in self.module.listModules() if part._frozen]
        return frozenset(id(p) for part in parts for p in part.own_parameters())


_frame: ContextVar[Frame | None] = ContextVar("tapegrad_module", default=None)
current_frame = _frame.get


@contextmanager
def enter_frame(frame: Frame | None) -> Iterator[None]:
    """Run a block as a part of the call that `frame` describes."""
    token = _frame.set(frame)
    try:
        yield
    finally:
        _frame.reset(token)


def run_in_frame(frame: Frame, function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments) as the call that `frame` describes.

    The module's path is put into an error, once, by the innermost call that has a module.
    """
    token = _frame.set(frame)
    try:
        return function(*arguments)
    except Exception as caught:  # any error: it gets a note and is raised again
        if frame.module is None:
            raise
        refused = running.refusal_behind(caught)
        if refused is None:
            note_keyword(caught)
            _name_module(caught)
            raise
        _name_module(refused)
        raise refused.with_traceback(caught.__traceback__) from None
    finally:
        _frame.reset(token)


def _name_module(error: Exception) -> None:
    """Put the running module's path into an error that has none."""
    known = error.__dict__
    if "_tapegrad_path" in known:
        return
    path = known["_tapegrad_path"] = current_path()
    if isinstance(error, ShapeError):
        error.path = path
    elif not isinstance(error, AnomalyError):  # whose message has the path already
        error.add_note(IN_MODULE + path)


def current_path() -> str:
    """The path of the running module; "" outside of every module."""
    frame = current_frame()
    return "" if frame is None else frame.path


def attribute_name_of(array: Any) -> str:
    """The attribute of the running module that holds `array`; "" if none of its Tensors does."""
    frame = current_frame()
    own = {} if frame is None or frame.module is None else vars(frame.module)
    return next((name for name, t in own.items() if isinstance(t, Tensor) and t._bare is array), "")


callsite.register_module_names(current_path, attribute_name_of)


def _path_where_gradients_flow() -> str:
    """The path of the running module, "" where none runs whose gradient comes from the tape."""
    frame = current_frame()
    if frame is None or frame.module is None or getattr(frame.module, "_by_hand", False):
        return ""
    return frame.path


running.register_running_code(_path_where_gradients_flow)


def checkpoint_contexts() -> tuple[Any, Callable[[], Any]]:
    """Returns a context for a checkpoint's first run, and a function making one for each re-run.

    Modules record no spans inside either.  Spans would keep what the checkpoint drops, and would
    hold nodes that the re-run makes anew.
    """
    frame = current_frame()
    if frame is None:
        return enter_frame(None), lambda: enter_frame(None)
    detached: dict[str, Any] = {"trace": None, "parent": None, "undo": None}
    # The tape holds the function for re-runs, and modules may hold the tape: strong references to
    # modules would make cycles.
    callers: list[tuple[Any, Frame]] = []
    outer: Frame | None = frame
    while outer is not None:
        if outer.module is not None:
            callers.append((weakref.ref(outer.module), replace(outer, module=None, **detached)))
        outer = outer.parent

    def rerun_context() -> Any:
        innermost: Frame | None = None if callers else Frame(None, None, None)
        for reference, caller in reversed(callers):
            innermost = replace(caller, module=reference() or _COLLECTED, parent=innermost)
        return enter_frame(innermost)

    first = replace(frame, trace=None, undo=frame.trace or frame.undo)
    return enter_frame(first), rerun_context


class _CollectedModule:
    """Stands in for a calling module that was garbage-collected, so that code which a checkpoint
    runs again still counts as inside a module.
    """

    def name_of_child(self, _: Any) -> str:
        return ""

    def listModules(self) -> list[Any]:
        return []


_COLLECTED = _CollectedModule()


context_hooks.append(checkpoint_contexts)
