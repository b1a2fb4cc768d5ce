"""Recurrent networks of several layers and both directions, in PyTorch's equations.

Torch7's LSTM and GRU are other networks (with peepholes, without a bias of the state's part) and
keep their names, so PyTorch's three classes are one class here, which is told its equations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, uniform_
from tapegrad.nn.core.masks import checked_mask
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.layers.dropout import Dropout
from tapegrad.nn.recurrent.at_once import GateWeights, run_gru, run_lstm
from tapegrad.nn.recurrent.over_time import slices_of
from tapegrad.nn.recurrent.states import Remembering, check_states, split_states
from tapegrad.nn.recurrent.steps import zeros_beside

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["RNNLayer"]

GATES = {"lstm": 4, "gru": 3, "tanh": 1, "relu": 1}

WRONG_INPUT = "the input of shape {shape} is not {axes} with D = {size}, in_features"


class RNNLayer(Remembering):
    """A recurrent network over an entire sequence, of several layers and one or two directions.

    cell: the equations of a step, PyTorch's, with a = W_ih·x + b_ih and b = W_hh·h + b_hh:
      "lstm": (i, f, g, o) = a + b;  c' = σ(f)·c + σ(i)·tanh g;  h' = σ(o)·tanh c'
      "gru":  (r, z, n) = a, (r', z', n') = b;  h' = (1 - Z)·tanh(n + σ(r + r')·n') + Z·h, with
              Z = σ(z + z')
      "tanh", "relu": h' = tanh(a + b) or max(a + b, 0)
    x: (T, N, D), with batch_first (N, T, D), or (T, D) of a single sample -> the same with
    directions·H in place of D = in_features; H = hidden_features.  The next layer sees the
    concatenated outputs of both directions; in training it sees them through Dropout(dropout).
    Or [x, states] -> [y, last states]: h (layers·directions, N, H), and [h, c] for "lstm"; None
    for zeros.  For a single sample states have no axis N.  An RNNLayer can `remember` its states.
    mask: booleans (T, N), or as the axes of x are, True for padding.  A padded step gives 0 and
    leaves the state as it is, in both directions, so that the last states are those of the last
    steps: what PyTorch computes of packed sequences.
    `weights` holds weight_ih_l0 (gates·H, D), weight_hh_l0 (gates·H, H), bias_ih_l0 and bias_hh_l0
    (gates·H,), then those with "_reverse", then those of layer 1: PyTorch's names and order.  All
    start from U(-s, s), s = 1/√H.
    Raises ValueError for another cell, num_layers < 1 and dropout outside of [0, 1); ShapeError for
    other shapes.
    Source: torch.nn.LSTM, GRU and RNN; S. Hochreiter, J. Schmidhuber, "Long short-term memory",
    1997; K. Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.
    """

    keeps = (
        "cell",
        "in_features",
        "hidden_features",
        "num_layers",
        "batch_first",
        "bidirectional",
        "dropout",
        "weights",
    )

    def __init__(
        self,
        cell: str,
        in_features: int,
        hidden_features: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        if cell not in GATES:
            raise ValueError(f"RNNLayer: cell is {cell!r}, it must be one of {list(GATES)}")
        if num_layers < 1:
            raise ValueError(f"RNNLayer: num_layers is {num_layers}, it must be at least 1")
        self.cell = cell
        self.in_features = in_features
        self.hidden_features = hidden_features
        self.num_layers = num_layers
        self.batch_first = bool(batch_first)
        self.bidirectional = bool(bidirectional)
        self.dropout = Dropout(dropout)
        rows, dtype = GATES[cell] * hidden_features, default_dtype()
        self.weights: dict[str, Parameter] = {}
        for layer in range(num_layers):
            size = hidden_features * len(self._endings()) if layer else in_features
            for ending in self._endings():
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (rows, size),
                    "weight_hh": (rows, hidden_features),
                }
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                for name, shape in shapes.items():
                    parameter = Parameter(np.empty(shape, dtype))
                    self.weights[f"{name}_l{layer}{ending}"] = parameter
        self._remember = "neither"
        self.reset()

    @property
    def _recurrent_weights(self) -> tuple[str, ...]:
        return tuple(f"weights.{name}" for name in self.weights if name.startswith("weight_hh"))

    def _endings(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def reset(self, stdv: float | None = None) -> None:
        """Draw weights and biases from U(-s, s): s = 1/√H, or stdv·√3."""
        s = bound(self.hidden_features, stdv)
        for parameter in self.weights.values():
            uniform_(parameter, -s, s)

    def updateOutput(self, inputs: Nest, mask: Tensor | None = None) -> Nest:
        x, given, with_states = split_states(inputs)
        single = x.ndim == 2
        self._check_shape(x, single)
        turned = self.batch_first and not single
        if single:
            x = x.reshape((x.shape[0], 1, x.shape[1]))
        if mask is not None:
            axes = "(T,)" if single else "(N, T)" if turned else "(T, N)"
            mask = checked_mask(mask, inputs_shape(x, single), axes)
            mask = mask.reshape((-1, 1)) if single else mask.T if turned else mask
        if turned:
            x = x.transpose((1, 0, 2))
        states = self._first_states(given, x, single)
        mask = None if mask is None else mask.reshape((*mask.shape, 1))
        last: list[list[Tensor]] = []
        for layer in range(self.num_layers):
            if layer:
                x = self.dropout(x)
            outputs = []
            for ending in self._endings():
                y, state = self._run_along(x, f"_l{layer}{ending}", states[len(last)], mask)
                outputs.append(y)
                last.append(state)
            x = outputs[0] if len(outputs) == 1 else ops.concatenate(outputs, axis=-1)
        y = x.transpose((1, 0, 2)) if turned else x
        if single:
            y = y.reshape((y.shape[0], y.shape[2]))
        kept = [ops.stack(parts) for parts in zip(*last, strict=True)]
        if single:
            kept = [part.reshape((part.shape[0], part.shape[2])) for part in kept]
        result: Nest = kept if self.cell == "lstm" else kept[0]
        self.keep_states(result)
        return [y, result] if with_states else y

    def _first_states(self, given: Nest, x: Tensor, single: bool) -> list[list[Tensor]]:
        """For each layer and direction [h] or [h, c], each (N, H); x is (T, N, D)."""
        count, n, size = self.num_layers * len(self._endings()), x.shape[1], self.hidden_features
        states = self.start_states() if given is None else given
        shape = (count, size) if single else (count, n, size)
        parts = 2 if self.cell == "lstm" else 1
        if states is None:
            return [[zeros_beside(x, n, size) for _ in range(parts)] for _ in range(count)]
        zeros = [zeros_beside(x, *shape) for _ in range(parts)]
        check_states(states, zeros)
        listed = states if self.cell == "lstm" else [states]
        columns = [slices_of(state.reshape((count, n, size))) for state in listed]
        return [list(row) for row in zip(*columns, strict=True)]

    def _run_along(
        self, x: Tensor, ending: str, state: list[Tensor], mask: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """(outputs (T, N, H), last state) of one layer in one direction; mask: (T, N, 1)."""
        if x.shape[0] and self.cell in ("lstm", "gru"):
            weights = self._weights_of(x, ending)
            is_reverse = ending.endswith("_reverse")
            if self.cell == "lstm":
                return run_lstm(x, weights, state, mask, is_reverse)
            y, h = run_gru(x, weights, state[0], mask, is_reverse)
            return y, [h]
        weight_ih, weight_hh = (self.weights[f"weight_{kind}{ending}"] for kind in ("ih", "hh"))
        x_part = x @ weight_ih.T
        for kind in ("ih", "hh"):
            if f"bias_{kind}{ending}" in self.weights:
                x_part = x_part + self.weights[f"bias_{kind}{ending}"]
        parts, weight = slices_of(x_part), weight_hh.T
        paddings = None if mask is None else slices_of(mask)
        order = list(range(len(parts)))
        if ending.endswith("_reverse"):
            order.reverse()
        outputs: dict[int, Tensor] = {}
        for t in order:
            new = self._step(parts[t] + state[0] @ weight)
            if paddings is None:
                outputs[t], state = new[0], new
            else:
                padded = paddings[t]
                outputs[t] = ops.where(padded, 0, new[0])
                state = [ops.where(padded, old, s) for old, s in zip(state, new, strict=True)]
        if not outputs:
            return zeros_beside(x, 0, x.shape[1], self.hidden_features), state
        return ops.stack([outputs[t] for t in range(len(parts))]), state

    def _weights_of(self, x: Tensor, ending: str) -> GateWeights:
        of_input, of_state = (self.weights[f"weight_{kind}{ending}"] for kind in ("ih", "hh"))
        if f"bias_ih{ending}" in self.weights:
            first, second = (self.weights[f"bias_{kind}{ending}"] for kind in ("ih", "hh"))
            return GateWeights(of_input, of_state, first, second)
        zeros = zeros_beside(x, len(of_input))
        return GateWeights(of_input, of_state, zeros, zeros)

    def _step(self, total: Tensor) -> list[Tensor]:
        """The next state of a plain cell; total (N, H) is a + b of the class's equations."""
        return [(ops.tanh if self.cell == "tanh" else ops.relu)(total)]

    def _check_shape(self, x: Tensor, single: bool) -> None:
        if x.ndim not in (2, 3) or x.shape[-1] != self.in_features:
            axes = "(T, D)" if single else "(N, T, D)" if self.batch_first else "(T, N, D)"
            raise ShapeError(WRONG_INPUT.format(shape=x.shape, axes=axes, size=self.in_features))

    def __repr__(self) -> str:
        sizes = f"{self.in_features} -> {self.hidden_features}"
        layers = f", {self.num_layers} layers" if self.num_layers > 1 else ""
        both = ", both directions" if self.bidirectional else ""
        return f"{torch7_name(self)}({self.cell}, {sizes}{layers}{both})"


def inputs_shape(x: Tensor, single: bool) -> tuple[int, ...]:
    """The shape of a mask for an input: its axes before the last, without a single sample's N."""
    return x.shape[:1] if single else x.shape[:2]
