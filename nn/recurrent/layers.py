"""Recurrent layers that see one step at a time, and the decorators that run them over time.

A recurrent layer is a pure step, (x, state) -> (y, state).  While a Sequencer runs, the states of
all the layers below it live in a table of that run, so that recurrent layers may stand anywhere
inside the module that is run, and nothing is left behind afterwards.  Backpropagation through time
is then the ordinary reverse sweep over the tape.  A recurrent layer called on its own takes one
step from a state of zeros.

The source is Element Research's torch/rnn, whose weights and orders of gates are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Self

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.autograd.core.tree import map_leaves
from tapegrad.nn.containers.container import Container
from tapegrad.nn.core import trace as _span
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, fill_, uniform_
from tapegrad.nn.core.labels import class_labels
from tapegrad.nn.core.text import indented, torch7_name
from tapegrad.nn.layers.activation import Sigmoid
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.module import Module

__all__ = [
    "BiSequencer",
    "FastLSTM",
    "GRU",
    "LSTM",
    "LinearRNN",
    "LookupRNN",
    "MuFuRu",
    "RecGRU",
    "RecLSTM",
    "Recursor",
    "Repeater",
    "SAdd",
    "Sequencer",
    "StepGRU",
    "StepLSTM",
]

MODES = ("both", "train", "eval", "neither")

# The states of the recurrent layers in the innermost run over time; None outside of one.
_states: ContextVar[dict[Any, Any] | None] = ContextVar("tapegrad_states", default=None)


@contextmanager
def _running(states: dict[Any, Any]) -> Iterator[None]:
    token = _states.set(states)
    try:
        yield
    finally:
        _states.reset(token)


# Cells --------------------------------------------------------------------------------------------


def lstm_step(gates: Any, c: Any) -> tuple[Any, Any]:
    """(h, c) of the next step; gates (N, 4·H): input, forget, output, candidate."""
    size = c.shape[-1]
    three, candidate = ops.split(gates, (3 * size,), -1)
    i, f, o = ops.split(ops.sigmoid(three), 3, -1)
    c = f * c + i * ops.tanh(candidate)
    return o * ops.tanh(c), c


def gru_step(x_part: Any, h: Any, weights: Any) -> Any:
    """The next h; x_part (N, 3·H): reset, update, candidate; weights (H, 2·H) and (H, H)."""
    both, candidate = ops.split(x_part, (2 * h.shape[-1],), -1)
    reset, update = ops.split(ops.sigmoid(both + h @ weights[0]), 2, -1)
    candidate = ops.tanh(candidate + (reset * h) @ weights[1])
    return candidate + update * (h - candidate)


def zeros(x: Any, *shape: int) -> Tensor:
    """Zeros in the dtype, and on the device, of x."""
    return Tensor(devices.namespace(x._data).zeros(shape, dtype=x.dtype))


def normal_(parameter: Tensor, deviation: float) -> None:
    """Overwrite `parameter` with normal draws of mean 0."""
    stream = devices.generator(parameter.device)
    draws = ops.normal(generator=stream, shape=parameter.shape, dtype=parameter.dtype)
    ops.assign(parameter.detach(), draws * deviation)


def checked_features(x: Any, size: int, axes: tuple[int, ...], name: str = "inputsize") -> None:
    """Raise ShapeError unless x has one of these numbers of axes, the last `size` long."""
    if x.ndim not in axes or x.shape[-1] != size:
        wanted = " or ".join(map(str, axes))
        raise ShapeError(
            f"the input of shape {x.shape} must have {wanted} axes, the last of length {size}, "
            f"{name}"
        )


class StepLSTM(Module):
    """One step of an LSTM without peepholes: [x, h, c] -> [h', c'].

    (i, f, o, g) = [x, h]·weight + bias;  c' = σ(f)·c + σ(i)·tanh g;  h' = σ(o)·tanh c'.
    x: (N, D), h: (N, O), c: (N, H);  weight (D + O, 4·H), bias (4·H,).  With an outputsize O that
    is not the hiddensize H, h' is projected by weightO (H, O).
    Weights start from N(0, 1/(D + O)), biases at 0, those of the forget gate at 1.
    Raises ShapeError for other sizes.  Source: torch/rnn's nn.StepLSTM; S. Hochreiter, J.
    Schmidhuber, "Long short-term memory", 1997.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # sizes
    maskzero = False
    v2 = True

    def __init__(self, inputsize: int, hiddensize: int, outputsize: int | None = None) -> None:
        self.inputsize = inputsize
        self.hiddensize = hiddensize
        self.outputsize = hiddensize if outputsize is None else outputsize
        dtype = default_dtype()
        rows = inputsize + self.outputsize
        self.weight = Parameter(np.empty((rows, 4 * hiddensize), dtype))
        self.bias = Parameter(np.empty(4 * hiddensize, dtype))
        if self.outputsize != hiddensize:
            self.weightO = Parameter(np.empty((hiddensize, self.outputsize), dtype))
        self.reset()

    weightO: Any = None

    def reset(self, stdv: float | None = None) -> None:
        """Draw the weights from N(0, stdv²), stdv² = 1/(D + O) when None; biases to 0 and 1."""
        deviation = 1 / math.sqrt(self.weight.shape[0]) if stdv is None else stdv
        normal_(self.weight, deviation)
        fill_(self.bias, 0.0)
        fill_(self.bias.detach()[self.hiddensize : 2 * self.hiddensize], 1.0)
        if self.weightO is not None:
            normal_(self.weightO, deviation)

    def updateOutput(self, inputs: Any) -> Any:
        x, h, c = _entries(inputs, 3, "[x, h, c]")
        checked_features(x, self.inputsize, (1, 2))
        checked_features(h, self.outputsize, (x.ndim,), "outputsize")
        checked_features(c, self.hiddensize, (x.ndim,), "hiddensize")
        gates = x @ self.weight[: self.inputsize] + h @ self.weight[self.inputsize :] + self.bias
        h, c = lstm_step(gates, c)
        return [h if self.weightO is None else h @ self.weightO, c]

    def __repr__(self) -> str:
        return f"{torch7_name(self)}{sizes(self)}"


class StepGRU(Module):
    """One step of a GRU: [x, h] -> h'.

    (r, u) = σ([x, h]·W₁ + b₁);  g = tanh([x, r·h]·W₂ + b₂);  h' = (1 - u)·g + u·h.
    x: (N, D), h: (N, H);  weight (D + H, 3·H) holds W₁ and W₂, bias (3·H,).
    Weights start from N(0, 1/(D + H)), biases at 0.
    Raises ShapeError for other sizes.  Source: torch/rnn's nn.StepGRU; K. Cho et al., "Learning
    phrase representations using RNN encoder-decoder", 2014.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # sizes
    maskzero = False
    v2 = True

    def __init__(self, inputsize: int, outputsize: int) -> None:
        self.inputsize = inputsize
        self.outputsize = outputsize
        dtype = default_dtype()
        self.weight = Parameter(np.empty((inputsize + outputsize, 3 * outputsize), dtype))
        self.bias = Parameter(np.empty(3 * outputsize, dtype))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw the weights from N(0, stdv²), stdv² = 1/(D + H) when None; biases to 0."""
        normal_(self.weight, 1 / math.sqrt(self.weight.shape[0]) if stdv is None else stdv)
        fill_(self.bias, 0.0)

    def updateOutput(self, inputs: Any) -> Any:
        x, h = _entries(inputs, 2, "[x, h]")
        checked_features(x, self.inputsize, (1, 2))
        checked_features(h, self.outputsize, (x.ndim,), "outputsize")
        weights = ops.split(self.weight[self.inputsize :], (2 * self.outputsize,), -1)
        return gru_step(x @ self.weight[: self.inputsize] + self.bias, h, weights)

    def __repr__(self) -> str:
        return f"{torch7_name(self)}{sizes(self)}"


def sizes(module: Any) -> str:
    """The sizes of a recurrent layer as torch/rnn prints them: "(3 -> 5)", "(3 -> 5 -> 4)"."""
    hidden = getattr(module, "hiddensize", module.outputsize)
    middle = "" if hidden == module.outputsize else f"{hidden} -> "
    return f"({module.inputsize} -> {middle}{module.outputsize})"


def _entries(inputs: Any, count: int, names: str) -> Any:
    if not isinstance(inputs, (list, tuple)) or len(inputs) != count:
        raise ShapeError(f"the input must be a list {names}")
    return inputs


# Layers of one step -------------------------------------------------------------------------------


class AbstractRecurrent(Module):
    """A layer with a state: subclasses define ``start(x)`` and ``step(x, state)``.

    x: (N, inputsize) or (inputsize,) -> (N, outputsize) or (outputsize,), one step; inside a
    Sequencer from the state that the step before left, else from zeros.
    """

    inputsize: int
    outputsize: int

    def start(self, x: Any) -> Any:
        """The state before the first step; zeros."""
        return zeros(x, *x.shape[:-1], self.outputsize)

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
        checked_features(x, self.inputsize, (1, 2))

    def __repr__(self) -> str:
        return f"{torch7_name(self)}{sizes(self)}"


class RecLSTM(AbstractRecurrent):
    """An LSTM without peepholes, step by step: x -> h', with StepLSTM's equations and weights.

    x: (N, D) -> (N, O).  Raises ShapeError for other sizes.  Source: torch/rnn's nn.RecLSTM.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # sizes

    def __init__(self, inputsize: int, hiddensize: int, outputsize: int | None = None) -> None:
        self.modules = [StepLSTM(inputsize, hiddensize, outputsize)]
        self.inputsize = inputsize
        self.hiddensize = hiddensize
        self.outputsize = hiddensize if outputsize is None else outputsize

    def start(self, x: Any) -> Any:
        return [zeros(x, *x.shape[:-1], size) for size in (self.outputsize, self.hiddensize)]

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        h, c = self.modules[0]([x, *state])
        return h, [h, c]


class RecGRU(AbstractRecurrent):
    """A GRU, step by step: x -> h', with StepGRU's equations and weights.

    x: (N, D) -> (N, H).  Raises ShapeError for other sizes.  Source: torch/rnn's nn.RecGRU.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # sizes

    def __init__(self, inputsize: int, outputsize: int) -> None:
        self.modules = [StepGRU(inputsize, outputsize)]
        self.inputsize = inputsize
        self.outputsize = outputsize

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        h = self.modules[0]([x, state])
        return h, h


class LinearRNN(AbstractRecurrent):
    """The simple recurrent network: h' = transfer(W·[x, h] + b).

    x: (N, D) -> (N, H);  W (H, D + H), b (H,), those of a Linear.  transfer: Sigmoid() when None.
    Raises ShapeError for other sizes.  Source: torch/rnn's nn.LinearRNN; J. Elman, "Finding
    structure in time", 1990.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # sizes and a module

    def __init__(self, inputsize: int, outputsize: int, transfer: Module | None = None) -> None:
        self.inputsize = inputsize
        self.outputsize = outputsize
        self.modules = [Linear(inputsize + outputsize, outputsize), transfer or Sigmoid()]

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        linear, transfer = self.modules
        h = transfer(linear(ops.concatenate([x, state], axis=-1)))
        return h, h


class LookupRNN(AbstractRecurrent):
    """The simple recurrent network of symbols: h' = transfer(V[x] + U·h + b).

    x: integers (N,) from 0 to nindex - 1 -> (N, H);  V (nindex, H), U (H, H), b (H,).
    transfer: Sigmoid() when None.  V starts from N(0, 1).
    Raises ShapeError for other indices.  Source: torch/rnn's nn.LookupRNN.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {"input": "index"}

    def __init__(self, nindex: int, outputsize: int, transfer: Module | None = None) -> None:
        self.inputsize = nindex
        self.outputsize = outputsize
        self.weight = Parameter(np.empty((nindex, outputsize), default_dtype()))
        self.modules = [Linear(outputsize, outputsize), transfer or Sigmoid()]
        normal_(self.weight, 1.0)

    def reset(self, stdv: float | None = None) -> None:
        """Draw V from N(0, stdv²), 1 when None, and the rest by its own rule."""
        normal_(self.weight, 1.0 if stdv is None else stdv)
        self.modules[0].reset(stdv)

    def check(self, x: Any) -> None:
        if x.ndim > 1:
            raise ShapeError(f"the input of shape {x.shape} holds not one index a sample")

    def start(self, x: Any) -> Any:
        return zeros(self.weight, *x.shape, self.outputsize)

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        linear, transfer = self.modules
        rows = self.weight[class_labels(x.reshape((-1,)), classes=self.inputsize)]
        h = transfer(rows.reshape(state.shape) + linear(state))
        return h, h


class Peephole(Module):
    """y = weight·c, entry by entry, with weights from U(-s, s), s = 1/√size."""

    def __init__(self, size: int) -> None:
        self.weight = Parameter(np.empty(size, default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw the weight from U(-s, s): s = 1/√size, or stdv·√3."""
        s = bound(self.weight.size, stdv)
        uniform_(self.weight, -s, s)

    def updateOutput(self, c: Any) -> Any:
        return c * self.weight


class Gate(Module):
    """The input of a gate: V·x + b + U·h, and w·c where it sees the cell."""

    def __init__(self, inputsize: int, outputsize: int, *, cell: bool) -> None:
        self.input = Linear(inputsize, outputsize)
        self.hidden = Linear(outputsize, outputsize, bias=False)
        self.cell = Peephole(outputsize) if cell else None

    def updateOutput(self, inputs: Any) -> Any:
        x, h, *c = inputs
        total = self.input(x) + self.hidden(h)
        return total if self.cell is None else total + self.cell(c[0])


class LSTM(AbstractRecurrent):
    """An LSTM with peepholes, step by step: x -> h'.

    f = σ(V₁·x + U₁·h + w₁·c + b₁), i = σ(V₂·x + U₂·h + w₂·c + b₂), g = tanh(V₃·x + U₃·h + b₃);
    c' = f·c + i·g;  o = σ(V₄·x + U₄·h + w₄·c' + b₄);  h' = o·tanh c'.
    x: (N, D) -> (N, H);  V (H, D), U (H, H), b (H,), and w (H,), a diagonal matrix.
    Raises ShapeError for other sizes.
    Source: torch/rnn's nn.LSTM; A. Graves et al., "Speech recognition with deep recurrent neural
    networks", 2013, equations 3 to 7.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # sizes

    def __init__(self, inputsize: int, outputsize: int) -> None:
        self.inputsize = inputsize
        self.outputsize = outputsize
        self.forgetGate = Gate(inputsize, outputsize, cell=True)
        self.inputGate = Gate(inputsize, outputsize, cell=True)
        self.hiddenLayer = Gate(inputsize, outputsize, cell=False)
        self.outputGate = Gate(inputsize, outputsize, cell=True)

    def start(self, x: Any) -> Any:
        return [zeros(x, *x.shape[:-1], self.outputsize)] * 2

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        h, c = state
        f, i = (ops.sigmoid(gate([x, h, c])) for gate in (self.forgetGate, self.inputGate))
        c = f * c + i * ops.tanh(self.hiddenLayer([x, h]))
        h = ops.sigmoid(self.outputGate([x, h, c])) * ops.tanh(c)
        return h, [h, c]


class FastLSTM(AbstractRecurrent):
    """An LSTM without peepholes, step by step, in two matrix products: x -> h'.

    (i, g, f, o) = V·x + U·h + b;  c' = σ(f)·c + σ(i)·tanh g;  h' = σ(o)·tanh c'.
    x: (N, D) -> (N, H);  V (4·H, D), b (4·H,), U (4·H, H): two Linears.
    Raises ShapeError for other sizes.  Source: torch/rnn's nn.FastLSTM.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # sizes

    def __init__(self, inputsize: int, outputsize: int) -> None:
        self.inputsize = inputsize
        self.outputsize = outputsize
        self.i2g = Linear(inputsize, 4 * outputsize)
        self.o2g = Linear(outputsize, 4 * outputsize, bias=False)

    def start(self, x: Any) -> Any:
        return [zeros(x, *x.shape[:-1], self.outputsize)] * 2

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        h, c = state
        i, g, f, o = ops.split(self.i2g(x) + self.o2g(h), 4, -1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        return h, [h, c]


class GRU(AbstractRecurrent):
    """A GRU, step by step: x -> h'.

    (r, u) = σ(V₁·x + U₁·h + b₁);  g = tanh(V₂·x + U₂·(r·h) + b₂);  h' = (1 - u)·g + u·h.
    x: (N, D) -> (N, H);  V₁ (2·H, D), U₁ (2·H, H), V₂ (H, D), U₂ (H, H): four Linears.
    Raises ShapeError for other sizes.  Source: torch/rnn's nn.GRU, without its dropout.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # sizes

    def __init__(self, inputsize: int, outputsize: int) -> None:
        self.inputsize = inputsize
        self.outputsize = outputsize
        self.i2g = Linear(inputsize, 2 * outputsize)
        self.o2g = Linear(outputsize, 2 * outputsize, bias=False)
        self.i2h = Linear(inputsize, outputsize)
        self.o2h = Linear(outputsize, outputsize, bias=False)

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        reset, update = ops.split(ops.sigmoid(self.i2g(x) + self.o2g(state)), 2, -1)
        candidate = ops.tanh(self.i2h(x) + self.o2h(reset * state))
        h = candidate + update * (state - candidate)
        return h, h

    def __repr__(self) -> str:
        return f"{torch7_name(self)}{sizes(self).removesuffix(')')}, 0.00)"


class MuFuRu(AbstractRecurrent):
    """The multi-function recurrent unit, step by step: x -> h'.

    r = σ(Wᵣ·[x, h] + bᵣ);  v = tanh(Wᵥ·[x, r·h] + bᵥ);  h' = Σₖ pₖ·opₖ(h, v), unit by unit, with
    p the softmax over the operations of W_p·[x, h] + b_p.
    x: (N, D) -> (N, H).  ops: names among OPERATIONS; all of them when None.
    Raises ValueError for another name, ShapeError for other sizes.
    Source: D. Weissenborn, T. Rocktäschel, "MuFuRU: the multi-function recurrent unit", 2016,
    section 2; torch/rnn's module of this name departs from it (docs/torch7_files.md).
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # sizes and names
    OPERATIONS: ClassVar[Mapping[str, Callable[[Any, Any], Any]]] = {
        "keep": lambda h, _: h,
        "replace": lambda _, v: v,
        "mul": lambda h, v: h * v,
        "diff": lambda h, v: ops.absolute(h - v) * 0.5,
        "forget": lambda h, _: h * 0,
        "max": ops.maximum,
        "min": ops.minimum,
    }

    def __init__(self, inputsize: int, outputsize: int, ops: Any = None) -> None:
        self.inputsize = inputsize
        self.outputsize = outputsize
        self.ops = list(self.OPERATIONS if ops is None else ops)
        unknown = [name for name in self.ops if name not in self.OPERATIONS]
        if unknown or not self.ops:
            raise ValueError(
                f"MuFuRu: the operations are {list(self.OPERATIONS)}, not {unknown or 'none'}"
            )
        size = inputsize + outputsize
        self.reset_gate = Linear(size, outputsize)
        self.candidate = Linear(size, outputsize)
        self.mixture = Linear(size, outputsize * len(self.ops))

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        both = ops.concatenate([x, state], axis=-1)
        kept = ops.sigmoid(self.reset_gate(both)) * state
        v = ops.tanh(self.candidate(ops.concatenate([x, kept], axis=-1)))
        shares = self.mixture(both).reshape((*state.shape[:-1], len(self.ops), -1))
        results = ops.stack([self.OPERATIONS[name](state, v) for name in self.ops], axis=-2)
        h = ops.sum(ops.softmax(shares, axis=-2) * results, axis=-2)
        return h, h


# Over time ----------------------------------------------------------------------------------------


class Recursor(Container):
    """y = module(x): marks a module that is run step by step although it may have no state.

    Source: torch/rnn's nn.Recursor.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # a module

    def __init__(self, module: Module) -> None:
        super().__init__(module)

    def updateOutput(self, x: Any) -> Any:
        return self.modules[0](x)

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)} @ {next(self._children(first))}"


class Remembering(Module):
    """What the modules over time share: states that may outlive a call."""

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

    def remembered(self) -> Any:
        """The states to start from, None for zeros."""
        mode = "train" if self.train else "eval"
        return self._kept if self._remember in {"both", mode} else None

    def keep_states(self, states: Any) -> None:
        """Remember the states of a call that ends, unless a failure undoes it."""
        mode = "train" if self.train else "eval"
        if self._remember not in {"both", mode}:
            return
        before = self._kept

        def undo() -> Callable[[], None]:
            def restore() -> None:
                self._kept = before

            return restore

        _span.on_failure(id(self), undo)
        self._kept = map_leaves(lambda t: t.detach(), states)


class Sequencer(Remembering, Container):
    """yₜ = module(xₜ), from the first step to the last; states pass from step to step.

    x: (T, N, …) -> (T, N, …), or a list with an entry for each step -> a list.
    Raises ShapeError for an input without steps.  Source: torch/rnn's nn.Sequencer.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # a module

    def __init__(self, module: Module) -> None:
        stateful = isinstance(module, (AbstractRecurrent, Recursor))
        super().__init__(module if stateful else Recursor(module))
        self._remember = "neither"

    def updateOutput(self, x: Any) -> Any:
        steps = steps_of(x)
        states: dict[Any, Any] = dict(self.remembered() or {})
        with _running(states):
            outputs = [self.modules[0](step) for step in steps]
        self.keep_states(states)
        return outputs if isinstance(x, (list, tuple)) else stacked(outputs)

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)} @ {next(self._children(first))}"


class Repeater(Container):
    """The outputs of `seqlen` steps on the same input: x -> [y₁, …].

    x: what the module takes.  Raises ValueError unless seqlen > 0.
    Source: torch/rnn's nn.Repeater.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # a module and a count

    def __init__(self, module: Module, seqlen: int) -> None:
        if seqlen < 1:
            raise ValueError(f"Repeater: seqlen is {seqlen}, it must be at least 1")
        stateful = isinstance(module, (AbstractRecurrent, Recursor))
        super().__init__(module if stateful else Recursor(module))
        self.seqlen = seqlen

    def updateOutput(self, x: Any) -> Any:
        with _running({}):
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
        return f"{torch7_name(self)} {{\n  {indented(lines, 2)}\n}}"


class BiSequencer(Container):
    """yₜ = merge([forwardₜ, backwardₜ]): one module runs along the steps, another against them.

    x: (T, N, …) or a list of steps -> the same kind.
    backward: a module of its own; a newly drawn copy of `forward` when None.  merge: a module of
    the list of both outputs; when None they are concatenated along their last axis.
    Raises ShapeError for an input without steps.  Source: torch/rnn's nn.BiSequencer.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # modules

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
        return outputs if isinstance(x, (list, tuple)) else stacked(outputs)


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


def stacked(outputs: list[Any]) -> Any:
    """Outputs of steps along a new first axis, entry by entry where they are lists."""
    if isinstance(outputs[0], (list, tuple)):
        return [stacked(list(parts)) for parts in zip(*outputs, strict=True)]
    return ops.stack(outputs)


class SAdd(Module):
    """y = x + addend, or its negative, elementwise: any shape -> the same shape.

    negate: return -(x + addend).  Source: torch/rnn's nn.SAdd.
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # a number and a flag

    def __init__(self, addend: float, negate: bool = False) -> None:
        self.addend = addend
        self.negate = negate

    def updateOutput(self, x: Any) -> Any:
        y = x + self.addend
        return -y if self.negate else y
