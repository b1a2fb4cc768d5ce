"""States of recurrent layers: where they are during a call, and between calls.

A run over a sequence holds the states of the layers below it in a `StatesOfRun`.  `Remembering` is
the base of the modules that make such runs.  Between two calls states are values that a module
remembers, where gradients end; or inputs and outputs of `WithStates` (over_time.py), through which
gradients pass.  States never broadcast: those of one sample are refused for a batch of three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tapegrad.autograd import Tensor, ops
from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.mode import observer
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.autograd.replay.recording import ReplayError
from tapegrad.autograd.transforms.checkpoint import context_hooks
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.trace import as_tensors
from tapegrad.nn.core.undo import undo_attribute
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = [
    "MODES",
    "PASSED",
    "RUN",
    "Remembering",
    "StatesOfRun",
    "check_states",
    "set_inside",
    "split_states",
]

MODES = ("both", "train", "eval", "neither")

REMEMBERS = (
    "{where}: {name} remembers its states from call to call, which a replayed step would not do. "
    "Pass them through the step instead: nn.WithStates(module)([x, states]) returns [y, states]"
)

NOT_REMEMBERED = (
    "{name}.setHiddenState: call remember() first, or no call starts from these states; "
    "nn.WithStates(module)([x, states]) takes them as an input"
)

TRACKED = (
    "{name}.setHiddenState keeps values, through which no gradient passes, and was given a tracked "
    "Tensor. Pass states as an input, nn.WithStates(module)([x, states]), or detach() them"
)

CHECKPOINTED = (
    "a checkpoint stands between {name} and the module that holds its states (a Sequencer, or "
    "WithStates), and no state leaves a checkpoint: put the checkpoint around that module"
)


class StatesOfRun:
    """The states of the recurrent layers in one run over a sequence.

    states: layer -> its state
    inputs: layer -> the shapes of the input of its last step, which the state fits
    """

    __slots__ = ("inputs", "states")

    def __init__(self, states: dict[Any, Any]) -> None:
        self.states = states
        self.inputs: dict[Any, Any] = {}


# The innermost run over a sequence; None outside of a run.
RUN: ContextVar[StatesOfRun | None] = ContextVar("tapegrad_states", default=None)

# What the innermost WithStates was given, by module, and then the last states; None outside.
PASSED: ContextVar[dict[Any, Any] | None] = ContextVar("tapegrad_passed_states", default=None)


@contextmanager
def set_inside(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    """Give a context variable this value inside the block."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


class _Sealed(dict[Any, Any]):
    """States outside of a checkpoint, which layers inside it may neither read nor leave.

    Nothing can leave a checkpoint but its results: a state that did would belong to the tape that
    the checkpoint drops, and its gradient would not reach the checkpoint's inputs.
    """

    def get(self, layer: Any, default: Any = None) -> Any:
        raise RuntimeError(CHECKPOINTED.format(name=type(layer).__name__))


def _seal_states() -> tuple[AbstractContextManager[Any], Callable[[], AbstractContextManager[Any]]]:
    """The contexts of a checkpoint's first and later runs (`transforms.checkpoint`)."""

    @contextmanager
    def sealed() -> Iterator[None]:
        run = None if RUN.get() is None else StatesOfRun(_Sealed())
        passed = None if PASSED.get() is None else _Sealed()
        with set_inside(RUN, run), set_inside(PASSED, passed):
            yield

    @contextmanager
    def again() -> Iterator[None]:
        with set_inside(RUN, None), set_inside(PASSED, None):
            yield

    return sealed(), again


context_hooks.append(_seal_states)


def check_states(states: Nest, zeros: Nest) -> None:
    """Raise ShapeError unless `states` has the shapes of `zeros`, the first states for an input."""
    found, wanted = ([t.shape for t in leaves(nest)] for nest in (states, zeros))
    if found != wanted:
        found_text, wanted_text = (" and ".join(map(str, shapes)) for shapes in (found, wanted))
        raise ShapeError(
            f"the states have shape {found_text or None}, this input needs {wanted_text}; forget() "
            "drops remembered ones, and states of another batch are not for this one"
        )


def split_states(inputs: Nest) -> tuple[Tensor, Nest, bool]:
    """(x, states or None, whether they are asked for), of an input x or [x, states].

    Raises ShapeError for another list.
    """
    if not isinstance(inputs, (list, tuple)):
        return inputs, None, False
    if len(inputs) != 2 or not isinstance(inputs[0], Tensor):
        raise ShapeError("the input must be x, or a list [x, states] with None for zeros")
    return inputs[0], inputs[1], True


class Remembering(Module):
    """A base of modules over sequences, whose states may outlive a call."""

    keeps: ClassVar[tuple[str, ...]] = ("_remember", "_kept")
    _remember = "neither"
    _kept: Any = None

    def remember(self, mode: str = "both") -> Self:
        """Choose when a call starts from the last states of the call before; returns self.

        mode: in "train"ing or "eval"uation mode, in "both" or in "neither".
        Gradients end where a call begins.  Raises ValueError for another mode.
        """
        if mode not in MODES:
            raise ValueError(f"{type(self).__name__}.remember: {mode!r} is none of {MODES}")
        self._remember = mode
        return self

    def forget(self) -> Self:
        """Drop the remembered states, so that the next call starts from zeros; returns self."""
        self._kept = None
        return self

    def getHiddenState(self) -> Nest:
        """The states that the next call starts from, as untracked Tensors; None for zeros."""
        return self._kept

    def setHiddenState(self, states: Nest) -> Self:
        """Let the next call start from `states`, or from zeros if None; returns self.

        states: what `getHiddenState` returns, as arrays or untracked Tensors; they are copied.
        Raises RuntimeError if nothing is remembered, TypeError for tracked Tensors.
        """
        if states is None:
            return self.forget()
        if self._remember == "neither":
            raise RuntimeError(NOT_REMEMBERED.format(name=type(self).__name__))
        if any(isinstance(t, Tensor) and t.tracked for t in leaves(states)):
            raise TypeError(TRACKED.format(name=type(self).__name__))
        self._kept = map_leaves(lambda t: ops.copy(t).detach(), as_tensors(states))
        return self

    def start_states(self) -> Nest:
        """The states from which a call starts; None for zeros."""
        passed = PASSED.get()
        if passed is not None:
            return passed.get(self)
        return self._kept if self._remembers() else None

    def keep_states(self, states: Nest) -> None:
        """Remember the last states of a call for the next; a failing call restores the old ones."""
        passed = PASSED.get()
        if passed is not None:
            passed[self] = states
        elif self._remembers():
            undo_attribute(self, "_kept")
            self._kept = map_leaves(lambda t: t.detach(), states)

    def passes_states(self) -> bool:
        """Whether `keep_states` keeps them."""
        return PASSED.get() is not None or self._remembers()

    def _remembers(self) -> bool:
        if self._remember not in {"both", "train" if self.train else "eval"}:
            return False
        watching = observer()
        if watching is not None and watching.refuses:
            raise ReplayError(REMEMBERS.format(where=user_line(), name=type(self).__name__))
        return True
