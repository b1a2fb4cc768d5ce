"""BigDL's recurrent cells: one step of a network, which Recurrent and RecurrentDecoder run.

A cell splits its step in two, as in BigDL: `prepare` computes what depends on the input alone, for
all steps at once, and `step` the rest.  Called by itself a cell takes one step.  BigDL's LSTM and
GRU are LSTMCell and GRUCell here, since torch/rnn has other equations under their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.gradient_rules import BIAS, RECURRENT
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.trace import as_tensors
from tapegrad.nn.layers.activation import Sigmoid, Tanh
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.pointwise import CMul
from tapegrad.nn.module import Module
from tapegrad.nn.recurrent.at_once import run_gru_cell, run_lstm_cell
from tapegrad.nn.recurrent.states import check_states
from tapegrad.nn.recurrent.steps import check_step_input, zeros_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tapegrad.autograd.core.types import Nest

__all__ = ["GRUCell", "LSTMCell", "LSTMPeephole", "MultiRNNCell", "RnnCell"]

NO_PROBABILITY = "{name}: p is {p}, it must be 0 <= p < 1"


class Cell(Module):
    """One step of a recurrent network: [x, state] -> [y, next state]; the state may be None, zeros.

    x: (N, inputSize) -> y (N, hiddenSize).  Raises ShapeError for other sizes.
    Source: BigDL's Cell.
    """

    keeps: ClassVar[tuple[str, ...]] = ("modules", "inputSize", "hiddenSize")
    promotes = True
    _in_graphs = False
    modules: list[Module]
    inputSize: int
    hiddenSize: int

    def readers(self) -> tuple[list[Module], list[Module]]:
        """The children whose weights are multiplied by the input, and those by the state h."""
        raise NotImplementedError(f"{type(self).__name__} defines no readers()")

    def _set_regularizer(self, method: str, kind: str, regularizer: Any) -> Self:
        """Hand a regularizer to the children: U's to those that read h, the others' to the rest."""
        of_input, of_state = self.readers()
        for child in of_state if kind == RECURRENT else of_input:
            (child.setBRegularizer if kind == BIAS else child.setWRegularizer)(regularizer)
        return self

    def check(self, x: Tensor) -> None:
        """Raise ShapeError unless x may be the input of a step."""
        check_step_input(x, self.inputSize, (2,), "inputSize")

    def start(self, x: Tensor) -> Nest:
        """The state before the first step: zeros; x is the input of that step."""
        return zeros_beside(x, *x.shape[:-1], self.hiddenSize)

    def noises(self, x: Tensor) -> list[Tensor]:
        """The factors of dropout, the same for all steps of a run; none outside of training."""
        return []

    def prepare(self, x: Tensor) -> Tensor:
        """What a step needs of its input x (…, inputSize), for any number of steps at once."""
        return x

    def step(self, part: Tensor, state: Nest, noises: list[Tensor]) -> tuple[Tensor, Nest]:
        """(output, next state), of what `prepare` gave."""
        raise NotImplementedError(f"{type(self).__name__} defines no step(part, state, noises)")

    def parts_of_run(self) -> list[tuple[Module, type[Module]]] | None:
        """The modules for whose steps `run` stands: see `are_steps_unseen`."""
        return None

    def run(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        """(outputs (T, N, hiddenSize), last state) of all steps of x (T, N, inputSize), T > 0."""
        raise NotImplementedError(f"{type(self).__name__} defines no run(x, state)")

    def updateOutput(self, inputs: Nest) -> list[Nest]:
        x, state = inputs if isinstance(inputs, (list, tuple)) and len(inputs) == 2 else (inputs, 0)
        if not isinstance(x, Tensor):
            raise ShapeError("the input must be x, or a list [x, state] with None for zeros")
        self.check(x)
        zeros = self.start(x)
        if not isinstance(inputs, (list, tuple)) or state is None:
            state = zeros
        else:
            check_states(state, zeros)
        return list(self.step(self.prepare(x), state, self.noises(x)))

    def _dropped(self, x: Tensor, p: float, *sizes: int) -> list[Tensor]:
        """Factors of dropout for samples of x, arrays (N, size)."""
        if not p or not self.train:
            return []
        stream = self.random_stream(x)
        shapes = [(*x.shape[:-1], size) for size in sizes]
        kept = [
            ops.bernoulli(generator=stream, p=1 - p, shape=shape, dtype=x.dtype) for shape in shapes
        ]
        return [as_tensors(noise) / (1 - p) for noise in kept]

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({self.inputSize} -> {self.hiddenSize})"


def checked_probability(name: str, p: float) -> float:
    """p.  Raises ValueError unless 0 <= p < 1."""
    if not 0 <= p < 1:
        raise ValueError(NO_PROBABILITY.format(name=name, p=p))
    return p


def times(x: Tensor, noises: list[Tensor], k: int) -> Tensor:
    """x times the factor number k, if there are any."""
    return x * noises[k] if noises else x


class RnnCell(Cell):
    """h' = activation(W x + b + U h + c).

    x: (N, inputSize), h: (N, hiddenSize) -> [h', h'].  The children are Linears with W and b, and
    with U and c.  activation: a module; Tanh() if omitted.  isInputWithBias, isHiddenWithBias:
    whether there are b and c.  Raises ShapeError for other sizes.  Source: BigDL's RnnCell;
    J. Elman, "Finding structure in time", 1990.
    """

    keeps = ("activation",)

    def __init__(
        self,
        inputSize: int,
        hiddenSize: int,
        activation: Module | None = None,
        isInputWithBias: bool = True,
        isHiddenWithBias: bool = True,
    ) -> None:
        self.inputSize, self.hiddenSize = inputSize, hiddenSize
        self.modules = [
            Linear(inputSize, hiddenSize, isInputWithBias),
            Linear(hiddenSize, hiddenSize, isHiddenWithBias),
        ]
        self.activation = Tanh() if activation is None else activation

    def readers(self) -> tuple[list[Module], list[Module]]:
        return self.modules[:1], self.modules[1:]

    def prepare(self, x: Tensor) -> Tensor:
        return self.modules[0](x)

    def step(self, part: Tensor, state: Nest, noises: list[Tensor]) -> tuple[Tensor, Nest]:
        h = self.activation(part + self.modules[1](state))
        return h, h


class _FourGates(Cell):
    """What cells of four gates share: a state [h, c], and dropout for each gate by itself."""

    inputSize: int
    hiddenSize: int
    p: float

    def start(self, x: Tensor) -> Nest:
        return [zeros_beside(x, *x.shape[:-1], self.hiddenSize) for _ in range(2)]

    def noises(self, x: Tensor) -> list[Tensor]:
        return self._dropped(x, self.p, *[self.inputSize] * 4, *[self.hiddenSize] * 4)

    def prepare(self, x: Tensor) -> Tensor:
        return x if self.p else self.modules[0](x)


class _GatedCell(Cell):
    """What LSTM and GRU share: activations, and dropout of the input and the state of each gate."""

    keeps = ("p", "activation", "innerActivation")
    p: float
    activation: Module
    innerActivation: Module

    def _set_options(
        self, p: float, activation: Module | None, innerActivation: Module | None
    ) -> None:
        self.p = checked_probability(type(self).__name__, p)
        self.activation = Tanh() if activation is None else activation
        self.innerActivation = Sigmoid() if innerActivation is None else innerActivation

    def _parts_beside(self, cell: type[Module]) -> list[tuple[Module, type[Module]]] | None:
        """`parts_of_run` of a cell of this class; with dropout it has none."""
        activations = [(self.activation, Tanh), (self.innerActivation, Sigmoid)]
        linears = [(linear, Linear) for linear in self.modules]
        return None if self.p else [(self, cell), *activations, *linears]


class LSTMCell(_FourGates, _GatedCell):
    """BigDL's LSTM: c' = i·g + f·c, h' = o·tanh(c').

    i, f, o = σ and g = tanh of W x + b + U h, whose four parts are i, g, f, o, in this order.
    x: (N, inputSize), state [h, c], both (N, hiddenSize) -> [h', [h', c']].  The children are
    Linears with W (4·hiddenSize, inputSize) and b, and with U (4·hiddenSize, hiddenSize).
    p: the probability of dropping entries of x and h, anew for each gate and alike at all steps;
    then there are eight Linears with biases, those of x first.  activation and innerActivation:
    modules in place of Tanh() and Sigmoid().
    Raises ShapeError for other sizes, ValueError unless 0 <= p < 1.  Source: BigDL's LSTM;
    S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997; Y. Gal, Z. Ghahramani, "A
    theoretically grounded application of dropout in recurrent neural networks", 2016 (p).
    """

    def __init__(
        self,
        inputSize: int,
        hiddenSize: int,
        p: float = 0,
        activation: Module | None = None,
        innerActivation: Module | None = None,
    ) -> None:
        self.inputSize, self.hiddenSize = inputSize, hiddenSize
        self._set_options(p, activation, innerActivation)
        if p:
            sizes = [inputSize] * 4 + [hiddenSize] * 4
            self.modules = [Linear(size, hiddenSize) for size in sizes]
        else:
            self.modules = [
                Linear(inputSize, 4 * hiddenSize),
                Linear(hiddenSize, 4 * hiddenSize, False),
            ]

    def readers(self) -> tuple[list[Module], list[Module]]:
        half = len(self.modules) // 2
        return self.modules[:half], self.modules[half:]

    def step(self, part: Tensor, state: Nest, noises: list[Tensor]) -> tuple[Tensor, Nest]:
        h, c = state
        if self.p:
            parts = [
                self.modules[k](times(part, noises, k))
                + self.modules[4 + k](times(h, noises, 4 + k))
                for k in range(4)
            ]
        else:
            parts = ops.split(part + self.modules[1](h), 4, -1)
        inner = self.innerActivation
        c = inner(parts[0]) * self.activation(parts[1]) + inner(parts[2]) * c
        h = inner(parts[3]) * self.activation(c)
        return h, [h, c]

    def parts_of_run(self) -> list[tuple[Module, type[Module]]] | None:
        return self._parts_beside(LSTMCell)

    def run(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        linears: list[Any] = self.modules  # as `parts_of_run` says
        of_input, of_state = linears
        return run_lstm_cell(x, of_input, of_state, state)


class LSTMPeephole(_FourGates):
    """An LSTM whose gates see the cell: c' = i·g + f·c, h' = o·tanh(c').

    i = σ(a_i + U_i h + w_i·c), f = σ(a_f + U_f h + w_f·c), g = tanh(a_g + U_g h),
    o = σ(a_o + U_o h + w_o·c'); a = W x + b, whose four parts are a_i, a_f, a_g, a_o.
    x: (N, inputSize), state [h, c], both (N, hiddenSize) -> [h', [h', c']].  The children are a
    Linear with W and b, then w_f, U_f, w_i, U_i, U_g, w_o, U_o.
    p: the probability of dropping entries of x and h, as in LSTMCell; then the first four children
    are Linears of the parts of a.
    Raises ShapeError for other sizes, ValueError unless 0 <= p < 1.  Source: BigDL's LSTMPeephole;
    A. Graves, "Generating sequences with recurrent neural networks", 2013, equations 7-11.
    """

    keeps = ("p",)

    def __init__(self, inputSize: int, hiddenSize: int, p: float = 0) -> None:
        self.inputSize, self.hiddenSize = inputSize, hiddenSize
        self.p = checked_probability(type(self).__name__, p)
        first = (
            [Linear(inputSize, hiddenSize) for _ in range(4)]
            if p
            else [Linear(inputSize, 4 * hiddenSize)]
        )
        own: list[Module] = []
        for peeps in (True, True, False, True):
            own += [CMul(hiddenSize)] if peeps else []
            own.append(Linear(hiddenSize, hiddenSize, False))
        self.modules = [*first, *own]

    def readers(self) -> tuple[list[Module], list[Module]]:
        first = 4 if self.p else 1
        own: list[Module] = [m for m in self.modules[first:] if isinstance(m, Linear)]
        return self.modules[:first], own

    def step(self, part: Tensor, state: Nest, noises: list[Tensor]) -> tuple[Tensor, Nest]:
        h, c = state
        if self.p:
            a = [self.modules[k](times(part, noises, k)) for k in range(4)]
        else:
            a = ops.split(part, 4, -1)
        w_f, u_f, w_i, u_i, u_g, w_o, u_o = self.modules[4 if self.p else 1 :]
        states = [times(h, noises, 4 + k) for k in range(4)]
        i = ops.sigmoid(a[0] + u_i(states[0]) + w_i(c))
        f = ops.sigmoid(a[1] + u_f(states[1]) + w_f(c))
        c = f * c + i * ops.tanh(a[2] + u_g(states[2]))
        h = ops.sigmoid(a[3] + u_o(states[3]) + w_o(c)) * ops.tanh(c)
        return h, [h, c]


class GRUCell(_GatedCell):
    """BigDL's GRU: h' = (1 - z)·n + z·h, n = tanh(a_n + U_n (r·h)).

    r, z = σ(a_r + U_r h), σ(a_z + U_z h); a = W x + b, whose three parts are a_r, a_z, a_n.
    x: (N, inputSize), state h (N, outputSize) -> [h', h'].  The children are Linears with W
    (3·outputSize, inputSize) and b, with U_r above U_z (2·outputSize, outputSize), and with U_n.
    p: the probability of dropping entries of x, h and r·h, as in LSTMCell; then the children are
    Linears of a_r, a_z, a_n, U_r, U_z and U_n.  activation and innerActivation: modules in place of
    Tanh() and Sigmoid().
    Raises ShapeError for other sizes, ValueError unless 0 <= p < 1.  Source: BigDL's GRU; K. Cho et
    al., "Learning phrase representations using RNN encoder-decoder", 2014.
    """

    def __init__(
        self,
        inputSize: int,
        outputSize: int,
        p: float = 0,
        activation: Module | None = None,
        innerActivation: Module | None = None,
    ) -> None:
        self.inputSize, self.hiddenSize = inputSize, outputSize
        self._set_options(p, activation, innerActivation)
        size = outputSize
        if p:
            self.modules = [Linear(inputSize, size) for _ in range(3)]
            self.modules += [Linear(size, size, False) for _ in range(3)]
        else:
            self.modules = [
                Linear(inputSize, 3 * size),
                Linear(size, 2 * size, False),
                Linear(size, size, False),
            ]

    def readers(self) -> tuple[list[Module], list[Module]]:
        first = 3 if self.p else 1
        return self.modules[:first], self.modules[first:]

    def noises(self, x: Tensor) -> list[Tensor]:
        return self._dropped(x, self.p, *[self.inputSize] * 3, *[self.hiddenSize] * 3)

    def prepare(self, x: Tensor) -> Tensor:
        return x if self.p else self.modules[0](x)

    def step(self, part: Tensor, state: Nest, noises: list[Tensor]) -> tuple[Tensor, Nest]:
        h = state
        if self.p:
            a_r, a_z, a_n = (self.modules[k](times(part, noises, k)) for k in range(3))
            reset = a_r + self.modules[3](times(h, noises, 3))
            update = a_z + self.modules[4](times(h, noises, 4))
        else:
            gates, a_n = ops.split(part, (2 * self.hiddenSize,), -1)
            reset, update = ops.split(gates + self.modules[1](h), 2, -1)
        r, z = self.innerActivation(reset), self.innerActivation(update)
        n = self.activation(a_n + self.modules[-1](times(r * h, noises, 5)))
        h = n + z * (h - n)
        return h, h

    def parts_of_run(self) -> list[tuple[Module, type[Module]]] | None:
        return self._parts_beside(GRUCell)

    def run(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        linears: list[Any] = self.modules  # as `parts_of_run` says
        return run_gru_cell(x, linears[:1], linears[1:], state)


class MultiRNNCell(Cell):
    """Cells one above the other: the output of each is the input of the next.

    x: (N, …), state a list with the state of each cell -> [the last cell's output, states].
    Raises ValueError without cells, TypeError for what is no cell.  Source: BigDL's MultiRNNCell.
    """

    keeps = ()

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.modules = list(cells)
        if not self.modules:
            raise ValueError("MultiRNNCell: there must be at least one cell")
        for cell in self.modules:
            if not isinstance(cell, Cell):
                raise TypeError(f"MultiRNNCell holds cells, not {type(cell).__name__}")
        first: Any = self.modules[0]
        last: Any = self.modules[-1]
        self.inputSize, self.hiddenSize = first.inputSize, last.hiddenSize

    def readers(self) -> tuple[list[Module], list[Module]]:
        pairs = [cell.readers() for cell in self._cells()]
        return [m for pair in pairs for m in pair[0]], [m for pair in pairs for m in pair[1]]

    def check(self, x: Tensor) -> None:
        self._cells()[0].check(x)

    def _cells(self) -> list[Cell]:
        return [cell for cell in self.modules if isinstance(cell, Cell)]

    def start(self, x: Tensor) -> Nest:
        return [start for _, start in self._along(x, lambda cell, part: cell.start(part))]

    def noises(self, x: Tensor) -> list[Any]:
        return [noise for _, noise in self._along(x, lambda cell, part: cell.noises(part))]

    def _along(self, x: Tensor, make: Callable[[Cell, Tensor], Any]) -> list[tuple[Cell, Any]]:
        """What `make` gives for each cell and an input of its size, of zeros but for the first."""
        found = []
        for cell in self._cells():
            found.append((cell, make(cell, x)))
            start = cell.start(x)
            x = start[0] if isinstance(start, list) else start
        return found

    def step(self, part: Tensor, state: Nest, noises: list[Any]) -> tuple[Tensor, Nest]:
        states = []
        for cell, own, noise in zip(self._cells(), state, noises, strict=True):
            part, following = cell.step(cell.prepare(part), own, noise)
            states.append(following)
        return part, states

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({', '.join(map(repr, self.modules))})"
