"""Modules that run another module at every step of a sequence, and states between sequences.

While a Sequencer runs, one dict holds the states of all recurrent layers below it.  So these layers
may stand anywhere inside the module, and they keep no state afterwards.  Backpropagation through
time is the ordinary reverse sweep over the tape.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tapegrad.autograd import ops
from tapegrad.autograd.core.tree import map_leaves
from tapegrad.nn.containers.container import Container
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.text import indent, torch7_name
from tapegrad.nn.core.undo import undo_attribute
from tapegrad.nn.module import Module
from tapegrad.nn.recurrent.steps import check_step_input, sizes_text, zeros_beside

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Nest

__all__ = ["BiSequencer", "Recursor", "Repeater", "Sequencer"]

MODES = ("both", "train", "eval", "neither")


# The states of the recurrent layers in the innermost run over a sequence; None outside of a run.
_states: ContextVar[dict[Any, Any] | None] = ContextVar("tapegrad_states", default=None)


@contextmanager
def _use_states(states: dict[Any, Any]) -> Iterator[None]:
    """Let the recurrent layers that run inside the block keep their states in `states`."""
    token = _states.set(states)
    try:
        yield
    finally:
        _states.reset(token)


class AbstractRecurrent(Module):
    """A layer with a state: subclasses define ``start(x)`` and ``step(x, state)``.

    x: (N, inputsize) or (inputsize,) -> (N, outputsize) or (outputsize,): one step.  Inside a
    Sequencer it starts from the state that the last step left, otherwise from zeros.
    """

    inputsize: int
    outputsize: int

    def start(self, x: Tensor) -> Nest:
        """The state before the first step: zeros."""
        return zeros_beside(x, *x.shape[:-1], self.outputsize)

    def step(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        """(output, next state)."""
        raise NotImplementedError(f"{type(self).__name__} defines no step(x, state)")

    def updateOutput(self, x: Tensor) -> Tensor:
        self.check(x)
        states = _states.get()
        if states is None:
            return self.step(x, self.start(x))[0]
        state = states.get(self)
        y, states[self] = self.step(x, self.start(x) if state is None else state)
        return y

    def check(self, x: Tensor) -> None:
        """Raise ShapeError for an input that does not fit."""
        check_step_input(x, self.inputsize, (1, 2))

    def __repr__(self) -> str:
        return f"{torch7_name(self)}{sizes_text(self)}"


class Recursor(Container):
    """y = module(x): marks a module as one that runs step by step, with or without a state.

    Source: torch/rnn's nn.Recursor.
    """

    def __init__(self, module: Module) -> None:
        super().__init__(module)

    def updateOutput(self, x: Nest) -> Nest:
        return self.modules[0](x)

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)} @ {next(self._children(first))}"


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

    def start_states(self) -> Nest:
        """The states from which a call starts; None for zeros."""
        mode = "train" if self.train else "eval"
        return self._kept if self._remember in {"both", mode} else None

    def keep_states(self, states: Nest) -> None:
        """Remember the last states of a call for the next; a failing call restores the old ones."""
        mode = "train" if self.train else "eval"
        if self._remember not in {"both", mode}:
            return
        undo_attribute(self, "_kept")
        self._kept = map_leaves(lambda t: t.detach(), states)


class Sequencer(Remembering, Container):
    """yₜ = module(xₜ), from the first step to the last; states pass from step to step.

    x: (T, N, …) -> (T, N, …), or a list with an entry for each step -> a list.
    Raises ShapeError for an input without steps.  Source: torch/rnn's nn.Sequencer.
    """

    def __init__(self, module: Module) -> None:
        stateful = isinstance(module, (AbstractRecurrent, Recursor))
        super().__init__(module if stateful else Recursor(module))
        self._remember = "neither"

    def updateOutput(self, x: Nest) -> Nest:
        steps = steps_of(x)
        states: dict[Any, Any] = dict(self.start_states() or {})
        with _use_states(states):
            outputs = [self.modules[0](step) for step in steps]
        self.keep_states(states)
        return outputs if isinstance(x, (list, tuple)) else stack_steps(outputs)

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)} @ {next(self._children(first))}"


class Repeater(Container):
    """[y₁, …]: the outputs of `seqlen` steps of the module on the same input x.

    x: what the module takes.  Raises ValueError unless seqlen > 0.
    Source: torch/rnn's nn.Repeater.
    """

    keeps = ("seqlen",)

    def __init__(self, module: Module, seqlen: int) -> None:
        if seqlen < 1:
            raise ValueError(f"Repeater: seqlen is {seqlen}, it must be at least 1")
        stateful = isinstance(module, (AbstractRecurrent, Recursor))
        super().__init__(module if stateful else Recursor(module))
        self.seqlen = seqlen

    def updateOutput(self, x: Nest) -> list[Nest]:
        with _use_states({}):
            return [self.modules[0](x) for _ in range(self.seqlen)]

    def describe(self, first: int) -> str:
        arrows = "     V         V             V     "
        last = self.seqlen - 1 + first
        lines = [
            "[  input,    input,  ...,  input  ]",
            arrows,
            next(self._children(first)),
            arrows,
            f"[output({first}),output({first + 1}),...,output({last})]",
        ]
        return f"{torch7_name(self)} {{\n  {indent(lines, 2)}\n}}"


class BiSequencer(Container):
    """yₜ = merge([forwardₜ, backwardₜ]): one module runs along the steps, another against them.

    x: (T, N, …) or a list of steps -> the same kind.
    backward: a module of its own; a newly drawn copy of `forward` when None.  merge: a module of
    the list of both outputs; when None they are concatenated along their last axis.
    Raises ShapeError for an input without steps.  Source: torch/rnn's nn.BiSequencer.
    """

    keeps = ("merge",)

    def __init__(
        self, forward: Module, backward: Module | None = None, merge: Module | None = None
    ) -> None:
        if backward is None:
            backward = forward.clone()
            backward.reset()
        super().__init__(Sequencer(forward), Sequencer(backward))
        self.merge = merge

    def updateOutput(self, x: Nest) -> Nest:
        ahead, back = self.modules
        first, second = ahead(steps_of(x)), back(steps_of(x)[::-1])[::-1]
        pairs = zip(first, second, strict=True)
        outputs = [
            ops.concatenate([a, b], axis=-1) if self.merge is None else self.merge([a, b])
            for a, b in pairs
        ]
        return outputs if isinstance(x, (list, tuple)) else stack_steps(outputs)


def steps_of(x: Nest) -> list[Nest]:
    """The steps of a sequence, which is a list, or an array with the steps along its first axis.

    Raises ShapeError for a sequence without steps.
    """
    if isinstance(x, (list, tuple)):
        steps = list(x)
    elif not x.ndim:
        raise ShapeError("the input is a single number, it has no steps")
    else:
        steps = slices_of(x)
    if not steps:
        raise ShapeError("the sequence has no steps")
    return steps


def slices_of(x: Tensor) -> list[Tensor]:
    """[x[0], x[1], …], by one operation; its gradient fills one array, not one for each step."""
    if not x.shape[0]:
        return []
    return [part.reshape(x.shape[1:]) for part in ops.split(x, x.shape[0], 0)]


def stack_steps(outputs: list[Nest]) -> Nest:
    """The outputs of all steps as one array, with the steps along a new first axis.

    Outputs that are lists give a list of such arrays.
    """
    if isinstance(outputs[0], (list, tuple)):
        return [stack_steps(list(parts)) for parts in zip(*outputs, strict=True)]
    return ops.stack(outputs)
