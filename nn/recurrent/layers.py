"""Recurrent layers that see one step at a time.

A layer defines a pure step, (x, state) -> (y, state), and the state before the first step.  The
modules of `over_time.py` run these steps over a sequence and hold the states meanwhile.  A
recurrent layer called by itself takes one step from a state of zeros.  Weights and orders of gates
are those of the source, Element Research's torch/rnn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad.autograd import Parameter, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, normal_, uniform_
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.layers.activation import Sigmoid
from tapegrad.nn.layers.indexing import to_indices
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.module import Module
from tapegrad.nn.recurrent.at_once import run_gru_cell, run_lstm_cell
from tapegrad.nn.recurrent.masking import lookup_rows
from tapegrad.nn.recurrent.over_time import AbstractRecurrent
from tapegrad.nn.recurrent.steps import StepGRU, StepLSTM, sizes_text, zeros_beside

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Nest

__all__ = ["FastLSTM", "GRU", "LSTM", "LinearRNN", "LookupRNN", "MuFuRu", "RecGRU", "RecLSTM"]


class RecLSTM(AbstractRecurrent):
    """An LSTM without peepholes, step by step: x -> h', with StepLSTM's equations and weights.

    x: (N, D) -> (N, O).  Raises ShapeError for other sizes.  Source: torch/rnn's nn.RecLSTM.
    """

    keeps = ("modules", "inputsize", "hiddensize", "outputsize")
    promotes = True

    def __init__(self, inputsize: int, hiddensize: int, outputsize: int | None = None) -> None:
        self.modules = [StepLSTM(inputsize, hiddensize, outputsize)]
        self.inputsize = inputsize
        self.hiddensize = hiddensize
        self.outputsize = hiddensize if outputsize is None else outputsize

    def start(self, x: Tensor) -> Nest:
        return [zeros_beside(x, *x.shape[:-1], size) for size in (self.outputsize, self.hiddensize)]

    def step(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        h, c = self.modules[0]([x, *state])
        return h, [h, c]

    def parts_of_run(self) -> list[tuple[Module, type[Module]]] | None:
        (inner,) = self.modules
        projects = getattr(inner, "weightO", None) is not None
        return None if projects else [(self, RecLSTM), (inner, StepLSTM)]

    def run(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        inner: Any = self.modules[0]
        y, cells, _ = ops.lstm_over_time(x, inner.weight, inner.bias, *state)
        return y, [y[-1], cells[-1]]


class RecGRU(AbstractRecurrent):
    """A GRU, step by step: x -> h', with StepGRU's equations and weights.

    x: (N, D) -> (N, H).  Raises ShapeError for other sizes.  Source: torch/rnn's nn.RecGRU.
    """

    keeps = ("modules", "inputsize", "outputsize")
    promotes = True

    def __init__(self, inputsize: int, outputsize: int) -> None:
        self.modules = [StepGRU(inputsize, outputsize)]
        self.inputsize = inputsize
        self.outputsize = outputsize

    def step(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        h = self.modules[0]([x, state])
        return h, h

    def parts_of_run(self) -> list[tuple[Module, type[Module]]]:
        return [(self, RecGRU), (self.modules[0], StepGRU)]

    def run(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        inner: Any = self.modules[0]
        y, _ = ops.gru_over_time(x, inner.weight, inner.bias, state)
        return y, y[-1]


class LinearRNN(AbstractRecurrent):
    """The simple recurrent network: h' = transfer(W·[x, h] + b).

    x: (N, D) -> (N, H);  W (H, D + H), b (H,), those of a Linear.  transfer: Sigmoid() when None.
    Raises ShapeError for other sizes.  Source: torch/rnn's nn.LinearRNN; J. Elman, "Finding
    structure in time", 1990.
    """

    keeps = ("inputsize", "outputsize", "modules")
    promotes = True

    def __init__(self, inputsize: int, outputsize: int, transfer: Module | None = None) -> None:
        self.inputsize = inputsize
        self.outputsize = outputsize
        self.modules = [Linear(inputsize + outputsize, outputsize), transfer or Sigmoid()]

    def step(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        linear, transfer = self.modules
        h = transfer(linear(ops.concatenate([x, state], axis=-1)))
        return h, h


class LookupRNN(AbstractRecurrent):
    """The simple recurrent network of symbols: h' = transfer(V[x] + U·h + b).

    x: integers (N,) from 0 to nindex - 1 -> (N, H);  V (nindex, H), U (H, H), b (H,).
    transfer: Sigmoid() when None.  V starts from N(0, 1).
    maskzero: set for one whose table is a LookupTableMaskZero, which only files have: V has a row
    in front for the padding, a negative index, that is read as zeros and takes no part.
    Raises ShapeError for other indices.  Source: torch/rnn's nn.LookupRNN.
    """

    keeps = ("inputsize", "outputsize", "weight", "modules", "maskzero")
    counts: ClassVar[Mapping[str, str]] = {"input": "index"}
    maskzero = False

    def __init__(self, nindex: int, outputsize: int, transfer: Module | None = None) -> None:
        self.inputsize = nindex
        self.outputsize = outputsize
        self.weight = Parameter(np.empty((nindex, outputsize), default_dtype()))
        self.modules = [Linear(outputsize, outputsize), transfer or Sigmoid()]
        normal_(self.weight, 0.0, 1.0)

    def reset(self, stdv: float | None = None) -> None:
        """Draw V from N(0, stdv²), 1 when None, and the Linear's parameters by its rule."""
        normal_(self.weight, 0.0, 1.0 if stdv is None else stdv)
        self.modules[0].reset(stdv)

    def check(self, x: Tensor) -> None:
        if x.ndim > 1:
            raise ShapeError(f"the input of shape {x.shape} must hold one index for each sample")

    def start(self, x: Tensor) -> Nest:
        return zeros_beside(self.weight, *x.shape, self.outputsize)

    def step(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        linear, transfer = self.modules
        if self.maskzero:
            padding = ops.less(x, 0)
            rows = lookup_rows(self.weight[1:], ops.where(padding, 0, x), padding)
        else:
            rows = self.weight[to_indices(x.reshape((-1,)), self.inputsize, rows=True)]
        h = transfer(rows.reshape(state.shape) + linear(state))
        return h, h


class Peephole(Module):
    """y = weight·c, entry by entry, with weights from U(-s, s), s = 1/√size."""

    keeps = ("weight",)
    promotes = True

    def __init__(self, size: int) -> None:
        self.weight = Parameter(np.empty(size, default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw the weight from U(-s, s): s = 1/√size, or stdv·√3."""
        s = bound(self.weight.size, stdv)
        uniform_(self.weight, -s, s)

    def updateOutput(self, c: Tensor) -> Tensor:
        return c * self.weight


class Gate(Module):
    """y = V·x + b + U·h, plus w·c with `cell`: the sum that goes into a gate of an LSTM."""

    keeps = ("input", "hidden", "cell")
    promotes = True

    def __init__(self, inputsize: int, outputsize: int, *, cell: bool) -> None:
        self.input = Linear(inputsize, outputsize)
        self.hidden = Linear(outputsize, outputsize, bias=False)
        self.cell = Peephole(outputsize) if cell else None

    def updateOutput(self, inputs: Nest) -> Tensor:
        x, h, *cells = inputs
        total: Tensor = self.input(x) + self.hidden(h)
        return total if self.cell is None else total + self.cell(cells[0])


class LSTM(AbstractRecurrent):
    """An LSTM with peepholes, step by step: x -> h'.

    f = σ(V₁·x + U₁·h + w₁·c + b₁), i = σ(V₂·x + U₂·h + w₂·c + b₂), g = tanh(V₃·x + U₃·h + b₃);
    c' = f·c + i·g;  o = σ(V₄·x + U₄·h + w₄·c' + b₄);  h' = o·tanh c'.
    x: (N, D) -> (N, H);  V (H, D), U (H, H), b (H,), and w (H,), a diagonal matrix.
    Raises ShapeError for other sizes.
    Source: torch/rnn's nn.LSTM; A. Graves et al., "Speech recognition with deep recurrent neural
    networks", 2013, equations 3 to 7.
    """

    keeps = ("inputsize", "outputsize", "forgetGate", "inputGate", "hiddenLayer", "outputGate")
    promotes = True

    def __init__(self, inputsize: int, outputsize: int) -> None:
        self.inputsize = inputsize
        self.outputsize = outputsize
        self.forgetGate = Gate(inputsize, outputsize, cell=True)
        self.inputGate = Gate(inputsize, outputsize, cell=True)
        self.hiddenLayer = Gate(inputsize, outputsize, cell=False)
        self.outputGate = Gate(inputsize, outputsize, cell=True)

    def start(self, x: Tensor) -> Nest:
        return [zeros_beside(x, *x.shape[:-1], self.outputsize)] * 2

    def step(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
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

    keeps = ("inputsize", "outputsize", "i2g", "o2g")
    promotes = True

    def __init__(self, inputsize: int, outputsize: int) -> None:
        self.inputsize = inputsize
        self.outputsize = outputsize
        self.i2g = Linear(inputsize, 4 * outputsize)
        self.o2g = Linear(outputsize, 4 * outputsize, bias=False)

    def start(self, x: Tensor) -> Nest:
        return [zeros_beside(x, *x.shape[:-1], self.outputsize)] * 2

    def step(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        h, c = state
        i, g, f, o = ops.split(self.i2g(x) + self.o2g(h), 4, -1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        return h, [h, c]

    def parts_of_run(self) -> list[tuple[Module, type[Module]]]:
        return [(self, FastLSTM), (self.i2g, Linear), (self.o2g, Linear)]

    def run(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        return run_lstm_cell(x, self.i2g, self.o2g, state)


class GRU(AbstractRecurrent):
    """A GRU, step by step: x -> h'.

    (r, u) = σ(V₁·x + U₁·h + b₁);  g = tanh(V₂·x + U₂·(r·h) + b₂);  h' = (1 - u)·g + u·h.
    x: (N, D) -> (N, H);  V₁ (2·H, D), U₁ (2·H, H), V₂ (H, D), U₂ (H, H): four Linears.
    Raises ShapeError for other sizes.  Source: torch/rnn's nn.GRU, without its dropout.
    """

    keeps = ("inputsize", "outputsize", "i2g", "o2g", "i2h", "o2h")
    promotes = True

    def __init__(self, inputsize: int, outputsize: int) -> None:
        self.inputsize = inputsize
        self.outputsize = outputsize
        self.i2g = Linear(inputsize, 2 * outputsize)
        self.o2g = Linear(outputsize, 2 * outputsize, bias=False)
        self.i2h = Linear(inputsize, outputsize)
        self.o2h = Linear(outputsize, outputsize, bias=False)

    def step(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        reset, update = ops.split(ops.sigmoid(self.i2g(x) + self.o2g(state)), 2, -1)
        candidate = ops.tanh(self.i2h(x) + self.o2h(reset * state))
        h = candidate + update * (state - candidate)
        return h, h

    def parts_of_run(self) -> list[tuple[Module, type[Module]]]:
        linears = [self.i2g, self.o2g, self.i2h, self.o2h]
        return [(self, GRU), *((linear, Linear) for linear in linears)]

    def run(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        return run_gru_cell(x, [self.i2g, self.i2h], [self.o2g, self.o2h], state)

    def __repr__(self) -> str:
        return f"{torch7_name(self)}{sizes_text(self).removesuffix(')')}, 0.00)"


class MuFuRu(AbstractRecurrent):
    """The multi-function recurrent unit, step by step: x -> h'.

    r = σ(Wᵣ·x + bᵣ + Uᵣ·h + cᵣ);  v = tanh(Wᵥ·[x, r·h] + bᵥ);  h' = Σₖ pₖ·opₖ(h, v), unit by unit,
    with p the softmax over the operations of W_p·[x, h] + b_p.  The parameters are torch/rnn's, in
    its order: Wᵣ, bᵣ, Uᵣ, cᵣ, Wᵥ, bᵥ, W_p, b_p.
    x: (N, D) -> (N, H).  ops: names among OPERATIONS; all of them when None.
    Raises ValueError for another name, ShapeError for other sizes.
    Source: D. Weissenborn, T. Rocktäschel, "MuFuRU: the multi-function recurrent unit", 2016,
    section 2; torch/rnn's module of this name computes something else (docs/torch7_files.md).
    """

    keeps = ("inputsize", "outputsize", "ops", "reset_gate", "reset_state", "candidate", "mixture")
    reset_state: Any = None  # None in files of the first versions: reset_gate is then of [x, h]
    promotes = True
    OPERATIONS: ClassVar[Mapping[str, Callable[[Any, Any], Any]]] = {
        "keep": lambda h, _: h,
        "replace": lambda _, v: v,
        "mul": lambda h, v: h * v,
        "diff": lambda h, v: ops.absolute(h - v) * 0.5,
        "forget": lambda h, _: h * 0,
        "sqrt_diff": lambda h, v: ops.sqrt(ops.absolute(h - v)) * 0.25,
        "max": ops.maximum,
        "min": ops.minimum,
    }

    def __init__(self, inputsize: int, outputsize: int, ops: Iterable[str] | None = None) -> None:
        self.inputsize = inputsize
        self.outputsize = outputsize
        self.ops = list(self.OPERATIONS if ops is None else ops)
        unknown = [name for name in self.ops if name not in self.OPERATIONS]
        if unknown or not self.ops:
            raise ValueError(
                f"MuFuRu: the operations are {list(self.OPERATIONS)}, not {unknown or 'none'}"
            )
        size = inputsize + outputsize
        self.reset_gate = Linear(inputsize, outputsize)
        self.reset_state = Linear(outputsize, outputsize)
        self.candidate = Linear(size, outputsize)
        self.mixture = Linear(size, outputsize * len(self.ops))

    def step(self, x: Tensor, state: Nest) -> tuple[Tensor, Nest]:
        x_and_state = ops.concatenate([x, state], axis=-1)
        if self.reset_state is None:
            gate = self.reset_gate(x_and_state)
        else:
            gate = self.reset_gate(x) + self.reset_state(state)
        reset_state = ops.sigmoid(gate) * state
        v = ops.tanh(self.candidate(ops.concatenate([x, reset_state], axis=-1)))
        shares = self.mixture(x_and_state).reshape(
            (*state.shape[:-1], len(self.ops), state.shape[-1])
        )
        results = ops.stack([self.OPERATIONS[name](state, v) for name in self.ops], axis=-2)
        h = ops.sum(ops.softmax(shares, axis=-2) * results, axis=-2)
        return h, h
