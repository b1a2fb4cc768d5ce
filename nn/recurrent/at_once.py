"""A layer of PyTorch's LSTM or GRU in one direction, all steps at once, with padding or without."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.recurrent.padded_gates import OPEN, SHUT, at_padding

__all__ = ["GateWeights", "run_gru", "run_lstm"]


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
