"""Modules run at every step of a sequence, and their memory between sequences.

While a Sequencer runs, the states of all the layers below it live in a table of that run, so that
recurrent layers may stand anywhere inside the module that is run, and nothing is left behind
afterwards.  Backpropagation through time is then the ordinary reverse sweep over the tape.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Self

from tapegrad.autograd import ops
from tapegrad.autograd.core.tree import map_leaves
from tapegrad.nn.containers.container import Container
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.text import indent, torch7_name
from tapegrad.nn.core.undo import undo_attribute
from tapegrad.nn.module import Module
from tapegrad.nn.recurrent.steps import check_features, sizes_text, zeros_beside

__all__ = ["BiSequencer", "Recursor", "Repeater", "Sequencer"]

MODES = ("both", "train", "eval", "neither")


# The states of the recurrent layers in the innermost run over time; None outside of one.
_states: ContextVar[dict[Any, Any] | None] = ContextVar("tapegrad_states", default=None)


@contextmanager
def _use_states(states: dict[Any, Any]) -> Iterator[None]:
    token = _states.set(states)
    try:
        yield
    finally:
        _states.reset(token)


class AbstractRecurrent(Module):
    """A layer with a state: subclasses define ``start(x)`` and ``step(x, state)``.

    x: (N, inputsize) or (inputsize,) -> (N, outputsize) or (outputsize,), one step; inside a
    Sequencer from the state that the step before left, else from zeros.
    """

    inputsize: int
    outputsize: int

    def start(self, x: Any) -> Any:
        """The state before the first step; zeros."""
        return zeros_beside(x, *x.shape[:-1], self.outputsize)

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """(output, next state)."""
        raise NotImplementedError(f"{type(self).__name__} defines no step(x, state)")

    def updateOutput(self, x: Any) -> Any:
        self.check(x)
        states = _states.get()
        if states is None:
            return self.step(x, self.start(x))[0]
        state = states.get(self)
        y, states[self] = self.step(x, self.start(x) if state is None else state)
        return y

    def check(self, x: Any) -> None:
        """Raise ShapeError for an input that does not fit."""
        check_features(x, self.inputsize, (1, 2))

    def __repr__(self) -> str:
        return f"{torch7_name(self)}{sizes_text(self)}"


class Recursor(Container):
    """y = module(x): marks a module that is run step by step although it may have no state.

    Source: torch/rnn's nn.Recursor.
    """

    def __init__(self, module: Module) -> None:
        super().__init__(module)

    def updateOutput(self, x: Any) -> Any:
        return self.modules[0](x)

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)} @ {next(self._children(first))}"


class Remembering(Module):
    """What the modules over time share: states that may outlive a call."""

    keeps: ClassVar[tuple[str, ...]] = ("_remember", "_kept")
    _remember = "neither"
    _kept: Any = None

    def remember(self, mode: str = "both") -> Self:
        """Start the next call from the last states of this one: in "train" or "eval" mode, in
        "both" or in "neither"; returns self.  Gradients end where a call begins.
        """
        if mode not in MODES:
            raise ValueError(f"{type(self).__name__}.remember: {mode!r} is none of {MODES}")
        self._remember = mode
        return self

    def forget(self) -> Self:
        """Start the next call from zeros; returns self."""
        self._kept = None
        return self

    def start_states(self) -> Any:
        """The states to start from, None for zeros."""
        mode = "train" if self.train else "eval"
        return self._kept if self._remember in {"both", mode} else None

    def keep_states(self, states: Any) -> None:
        """Remember the states of a call that ends, unless a failure undoes it."""
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

    def updateOutput(self, x: Any) -> Any:
        steps = steps_of(x)
        states: dict[Any, Any] = dict(self.start_states() or {})
        with _use_states(states):
            outputs = [self.modules[0](step) for step in steps]
        self.keep_states(states)
        return outputs if isinstance(x, (list, tuple)) else stack_steps(outputs)

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)} @ {next(self._children(first))}"


class Repeater(Container):
    """The outputs of `seqlen` steps on the same input: x -> [y₁, …].

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

    def updateOutput(self, x: Any) -> Any:
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

    def updateOutput(self, x: Any) -> Any:
        ahead, back = self.modules
        first, second = ahead(steps_of(x)), back(steps_of(x)[::-1])[::-1]
        pairs = zip(first, second, strict=True)
        outputs = [
            ops.concatenate([a, b], axis=-1) if self.merge is None else self.merge([a, b])
            for a, b in pairs
        ]
        return outputs if isinstance(x, (list, tuple)) else stack_steps(outputs)


def steps_of(x: Any) -> list[Any]:
    """The steps of a sequence, a list or the first axis of an array, as a list."""
    if isinstance(x, (list, tuple)):
        steps = list(x)
    elif not x.ndim:
        raise ShapeError("the input is a single number, it has no steps")
    else:
        steps = slices_of(x)
    if not steps:
        raise ShapeError("the sequence has no steps")
    return steps


def slices_of(x: Any) -> list[Any]:
    """x[0], x[1], …, by one operation, whose gradient is one array and not one for each of them."""
    if not x.shape[0]:
        return []
    return [part.reshape(x.shape[1:]) for part in ops.split(x, x.shape[0], 0)]


def stack_steps(outputs: list[Any]) -> Any:
    """Outputs of steps along a new first axis, entry by entry where they are lists."""
    if isinstance(outputs[0], (list, tuple)):
        return [stack_steps(list(parts)) for parts in zip(*outputs, strict=True)]
    return ops.stack(outputs)
