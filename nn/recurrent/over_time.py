"""Modules that run another module at every step of a sequence, and states between sequences.

While a Sequencer runs, one dict holds the states of all recurrent layers below it.  So these layers
may stand anywhere inside the module, and they keep no state afterwards.  Backpropagation through
time is the ordinary reverse sweep over the tape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tapegrad.autograd import Tensor, ops
from tapegrad.autograd.core.tree import leaves
from tapegrad.nn.containers.container import Container
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.text import indent, torch7_name
from tapegrad.nn.core.trace import run_module
from tapegrad.nn.module import Module
from tapegrad.nn.recurrent.states import (
    PASSED,
    RUN,
    Remembering,
    StatesOfRun,
    check_states,
    set_inside,
)
from tapegrad.nn.recurrent.steps import check_step_input, sizes_text, zeros_beside
from tapegrad.nn.recurrent.unseen import are_steps_unseen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tapegrad.autograd.core.types import Nest

__all__ = ["BiSequencer", "Recursor", "Repeater", "Sequencer", "WithStates"]


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

    def parts_of_run(self) -> list[tuple[Module, type[Module]]] | None:
        """The modules for whose steps `run` stands: see `are_steps_unseen`."""
        return None

    def run(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        """(outputs (T, N, outputsize), last state) of all steps of x (T, N, inputsize), T > 0."""
        raise NotImplementedError(f"{type(self).__name__} defines no run(x, state)")

    def all_steps(self, x: Tensor) -> Tensor:
        """The outputs of `run`, from and to the states of the run over the sequence."""
        run, first = RUN.get(), x[0]
        assert run is not None  # a Sequencer calls this
        zeros, state = self.start(first), run.states.get(self)
        if state is None:
            state = zeros
        else:
            check_states(state, zeros)
        y, run.states[self] = self.run(x, state)
        return y

    def updateOutput(self, x: Tensor) -> Tensor:
        self.check(x)
        run = RUN.get()
        if run is None:
            return self.step(x, self.start(x))[0]
        state = run.states.get(self)
        shapes = x.shape if isinstance(x, Tensor) else [leaf.shape for leaf in leaves(x)]
        if state is None:
            state = self.start(x)
        elif run.inputs.get(self) != shapes:
            check_states(state, self.start(x))
        run.inputs[self] = shapes
        y, run.states[self] = self.step(x, state)
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
        run = StatesOfRun(dict(self.start_states() or {}))
        with set_inside(RUN, run):
            y = self._at_once(x)
            if y is None:
                outputs = [self.modules[0](step) for step in steps_of(x)]
                y = outputs if isinstance(x, (list, tuple)) else stack_steps(outputs)
        self.keep_states(run.states)
        return y

    def _at_once(self, x: Nest) -> Nest | None:
        """The outputs by one operation; None if steps are seen, or none computes them."""
        cell = self.modules[0]
        if not isinstance(cell, AbstractRecurrent) or not are_steps_unseen(cell):
            return None
        whole = _whole(x, cell.inputsize)
        if whole is None:
            return None
        y = run_module(cell, (whole,), cell.all_steps)
        return y if whole is x else slices_of(y)

    def getHiddenState(self) -> Nest:
        """The states that the next call starts from, one for each recurrent layer; None for zeros.

        The layers are in the order of `listModules`, without those in a Sequencer inside.
        """
        return None if self._kept is None else self.listed_states(self._kept)

    def setHiddenState(self, states: Nest) -> Self:
        """Let the next call start from `states`, one for each recurrent layer; returns self.

        None stands for zeros.  Raises RuntimeError if nothing is remembered, TypeError for tracked
        Tensors, ShapeError for another number of states.
        """
        super().setHiddenState(states)
        if states is not None:
            self._kept = self.states_by_layer(self._kept)
        return self

    def listed_states(self, states: dict[Any, Any]) -> list[Nest]:
        """The states in a dict by layer, as a list in the order of `listModules`."""
        return [states.get(layer) for layer in self._layers()]

    def states_by_layer(self, states: Nest) -> dict[Any, Any]:
        """The inverse of `listed_states`.  Raises ShapeError for another number of states."""
        layers = self._layers()
        if not isinstance(states, (list, tuple)) or len(states) != len(layers):
            raise ShapeError(f"the states must be a list of {len(layers)}, one for each layer")
        pairs = zip(layers, states, strict=True)
        return {layer: state for layer, state in pairs if state is not None}

    def _layers(self) -> list[AbstractRecurrent]:
        return list(dict.fromkeys(_layers_of_run(self.modules[0])))

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)} @ {next(self._children(first))}"


class WithStates(Container):
    """[y, last states] of a module over sequences, from [x, first states].

    states: a list, one entry for each layer over sequences in the module (SeqLSTM, SeqGRU,
    Sequencer, RNNLayer) in the order of `listModules`; None in place of an entry, or of all of
    them, stands for zeros.  An entry is what the layer keeps: [h, c] of a SeqLSTM, h of a SeqGRU;
    a list of those of its recurrent layers for a Sequencer.  What layers remember is left alone.
    Gradients pass through states, from a decoder into an encoder.
    Raises ShapeError for another number of states, or other shapes.
    """

    def __init__(self, module: Module) -> None:
        super().__init__(module)

    def updateOutput(self, inputs: Nest) -> list[Nest]:
        if not isinstance(inputs, (list, tuple)) or len(inputs) != 2:
            raise ShapeError("the input must be a list [x, states], with None for zeros")
        x, states = inputs
        layers = [m for m in self.modules[0].listModules() if isinstance(m, Remembering)]
        if states is None:
            states = [None] * len(layers)
        if not isinstance(states, (list, tuple)) or len(states) != len(layers):
            names = ", ".join(type(layer).__name__ for layer in layers)
            raise ShapeError(
                f"the states must be a list of {len(layers)}, one for each layer over sequences in "
                f"the module ({names or 'it has none'})"
            )
        passed = {
            layer: layer.states_by_layer(state) if isinstance(layer, Sequencer) else state
            for layer, state in zip(layers, states, strict=True)
            if state is not None
        }
        with set_inside(PASSED, passed):
            y = self.modules[0](x)
        last = [passed.get(layer) for layer in layers]
        pairs = zip(layers, last, strict=True)
        return [
            y,
            [
                layer.listed_states(state) if isinstance(layer, Sequencer) and state else state
                for layer, state in pairs
            ],
        ]

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
        with set_inside(RUN, StatesOfRun({})):
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


def _layers_of_run(module: Any) -> Iterator[AbstractRecurrent]:
    """The recurrent layers whose states a run of `module` over a sequence holds."""
    if isinstance(module, (Sequencer, Repeater)):  # the layers in it have states of their own run
        return
    if isinstance(module, AbstractRecurrent):
        yield module
    for child in module.children():
        yield from _layers_of_run(child)


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


def _whole(x: Nest, size: int) -> Tensor | None:
    """A sequence as one array of floats (T, N, size), T and N > 0; None for any other."""
    steps = x if isinstance(x, (list, tuple)) else [x]
    if not steps or not all(isinstance(step, Tensor) for step in steps):
        return None
    first = steps[0]
    if first.ndim != (3 if x is first else 2) or first.shape[-1] != size or not first.size:
        return None
    if first.dtype.kind != "f" or any(
        step.shape != first.shape or step.dtype != first.dtype for step in steps[1:]
    ):
        return None
    return first if x is first else ops.stack(list(steps))


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
