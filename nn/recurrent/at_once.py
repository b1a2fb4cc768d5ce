"""All steps of an LSTM or a GRU at once: layers of PyTorch, with padding or without, and cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.recurrent.padded_gates import OPEN, SHUT, at_padding
from tapegrad.nn.recurrent.steps import zeros_beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tapegrad.autograd.core.types import Nest
    from tapegrad.nn.layers.linear import Linear

__all__ = ["GateWeights", "run_gru", "run_gru_cell", "run_lstm", "run_lstm_cell"]


class GateWeights(NamedTuple):
    """PyTorch's: W_ih (gates·H, D) and W_hh (gates·H, H), and the biases of both (gates·H,)."""

    of_input: Tensor
    of_state: Tensor
    input_bias: Tensor
    state_bias: Tensor

    def joined(self) -> Tensor:
        """[W_ih, W_hh] (gates·H, D + H)."""
        both: Tensor = ops.concatenate([self.of_input, self.of_state], axis=1)
        return both


def run_lstm(
    x: Tensor, weights: GateWeights, states: list[Tensor], mask: Tensor | None, is_reverse: bool
) -> tuple[Tensor, list[Tensor]]:
    """(outputs (T, N, H), [h, c] of the last step) of x (T, N, D), T > 0.

    Where mask (T, N, 1) is True, a step gives 0 and leaves the states as they are.  No gates leave
    both as they are; so the steps of each sample come first, in order, and the padding behind them.
    """
    size = weights.of_state.shape[1]

    def in_order(parameter: Tensor) -> Tensor:
        """The gates of `lstm_over_time` are i, f, o, g."""
        i_f, g, o = ops.split(parameter, (2 * size, 3 * size), 0)
        whole: Tensor = ops.concatenate([i_f, o, g], axis=0)
        return whole

    operands = (
        in_order(weights.joined()).T,
        in_order(weights.input_bias + weights.state_bias),
        *states,
    )
    along = _turned(x, is_reverse)
    paddings = None if mask is None else _turned(mask, is_reverse)
    if paddings is None:
        y, cells, _ = ops.lstm_over_time(along, *operands)
        return _turned(y, is_reverse), [y[-1], cells[-1]]
    padded = paddings.reshape(paddings.shape[:2])
    order = ops.argsort(padded, axis=0)  # a stable one
    along = _picked(ops.where(paddings, 0, along), order)  # whatever stands there, also NaN
    y, cells, _ = ops.lstm_over_time(along, *operands)
    counts = ops.sum(ops.logical_not(padded), axis=0, keepdims=True)
    last = [
        _picked(ops.concatenate([first.reshape((1, *first.shape)), a], axis=0), counts)[0]
        for first, a in zip(states, (y, cells), strict=True)
    ]
    y = ops.where(paddings, 0, _picked(y, ops.argsort(order, axis=0)))
    return _turned(y, is_reverse), last


def _picked(a: Tensor, steps: Tensor) -> Tensor:
    """a[steps[t, n], n] for each t and n, by rows of a matrix: their gradient adds up fast."""
    rows = steps * a.shape[1] + np.arange(a.shape[1])
    picked: Tensor = a.reshape((-1, a.shape[2]))[rows]
    return picked


def run_gru(
    x: Tensor, weights: GateWeights, h: Tensor, mask: Tensor | None, is_reverse: bool
) -> tuple[Tensor, Tensor]:
    """(outputs (T, N, H), h of the last step), as `run_lstm` has them."""
    size = weights.of_state.shape[1]
    along = _turned(x, is_reverse)
    paddings = None if mask is None else _turned(mask, is_reverse)
    # the state's bias of the third part stands behind the reset gate
    gates, inner = ops.split(weights.state_bias, (2 * size,), 0)
    bias = weights.input_bias + ops.concatenate([gates, inner * 0], axis=0)
    operands = (along, weights.joined().T, bias)
    if paddings is not None:
        factors = ops.cast(ops.logical_not(paddings), dtype=x.dtype)
        operands = at_padding(*operands, factors, [SHUT, OPEN, 0])  # h' = 0 + 1·(h - 0)
    y, _, _ = ops.gru_reset_after_over_time(*operands, inner, h)
    last, y = y[-1], _turned(y, is_reverse)
    return (y if mask is None else ops.where(mask, 0, y)), last


def _turned(a: Tensor, is_reverse: bool) -> Tensor:
    return ops.flip(a, axis=0) if is_reverse else a


# Cells --------------------------------------------------------------------------------------------


def run_lstm_cell(
    x: Tensor, of_input: Linear, of_state: Linear, state: Nest
) -> tuple[Tensor, Nest]:
    """(outputs (T, N, H), [h, c] of the last step) of x (T, N, D), T > 0, from the state [h, c].

    of_input, of_state: Linears of all gates, in torch/rnn's and BigDL's order i, g, f, o
    """

    def in_order(parameter: Tensor) -> Tensor:
        """The gates of `lstm_over_time` are i, f, o, g."""
        size = len(parameter) // 4
        i, g, f_o = ops.split(parameter, (size, 2 * size), 0)
        whole: Tensor = ops.concatenate([i, f_o, g], axis=0)
        return whole

    weight, bias = _joined([of_input], [of_state])
    y, cells, _ = ops.lstm_over_time(x, in_order(weight).T, in_order(bias), *state)
    return y, [y[-1], cells[-1]]


def run_gru_cell(
    x: Tensor, of_input: Sequence[Linear], of_state: Sequence[Linear], h: Tensor
) -> tuple[Tensor, Tensor]:
    """(outputs (T, N, H), h of the last step) of x (T, N, D), T > 0, from the state h.

    of_input, of_state: Linears that have the gates r, u and n together, in this order; the last of
    the state sees r·h
    """
    weight, bias = _joined(of_input, of_state)
    y, _ = ops.gru_over_time(x, weight.T, bias, h)
    return y, y[-1]


def _joined(of_input: Sequence[Linear], of_state: Sequence[Linear]) -> tuple[Tensor, Tensor]:
    """(weight (gates·H, D + H), bias (gates·H,)) of Linears that have some of the gates each."""
    weights = [ops.concatenate([m.weight for m in part], axis=0) for part in (of_input, of_state)]
    biases = [
        ops.concatenate([_bias_of(m) for m in part], axis=0)
        for part in (of_input, of_state)
        if any(m.bias is not None for m in part)
    ]
    bias = sum(biases[1:], biases[0]) if biases else zeros_beside(weights[0], len(weights[0]))
    return ops.concatenate(weights, axis=1), bias


def _bias_of(linear: Linear) -> Tensor:
    return zeros_beside(linear.weight, len(linear.weight)) if linear.bias is None else linear.bias
