"""Layers over sequences in plain NumPy, for the state machine: no tape, no modules, no states kept.

A layer is a function of everything that it depends on: its parameters, in the order of
`named_parameters`; x, the states before the first step and a mask of padding. It returns the output
and the states after the last step. The equations are written from the sources that the layers name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapegrad import nn

Arrays = list[np.ndarray]


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def lstm_step(x, h, c, weight, bias, size):
    """Gates in torch/rnn's order: input, forget, output, candidate."""
    gates = np.concatenate([x, h], axis=1) @ weight + bias
    i, f, o, g = (gates[:, k * size : (k + 1) * size] for k in range(4))
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x, h, weight, bias):
    """Gates in torch/rnn's order: reset, update, candidate, of which the last sees r·h."""
    size = h.shape[1]
    gates = sigmoid(np.concatenate([x, h], axis=1) @ weight[:, : 2 * size] + bias[: 2 * size])
    r, u = gates[:, :size], gates[:, size:]
    g = np.tanh(np.concatenate([x, r * h], axis=1) @ weight[:, 2 * size :] + bias[2 * size :])
    return (1 - u) * g + u * h


def over_time(step, x, states, mask, resets=True):
    """Run `step(x, states) -> (y, states)`; padding gives 0 and resets or keeps the states."""
    outputs = []
    for t in range(len(x)):
        y, new = step(x[t], states)
        if mask is not None:
            padding = mask[t][:, None]
            y = np.where(padding, 0, y)
            new = [
                np.where(padding, 0 if resets else old, state)
                for old, state in zip(states, new, strict=True)
            ]
        outputs.append(y)
        states = new
    return outputs, states


def seq_lstm(parameters, x, states, mask):
    weight, bias, *projection = parameters
    size = weight.shape[1] // 4

    def step(x, states):
        h, c = lstm_step(x, *states, weight, bias, size)
        h = h @ projection[0] if projection else h
        return h, [h, c]

    outputs, states = over_time(step, x, states, mask)
    return np.reshape(outputs, (*x.shape[:2], states[0].shape[1])), states


def seq_gru(parameters, x, states, mask):
    def step(x, states):
        h = gru_step(x, states[0], *parameters)
        return h, [h]

    outputs, states = over_time(step, x, states, mask)
    return np.reshape(outputs, (*x.shape[:2], states[0].shape[1])), states


def both_ways(layer, parameters, x, states, mask):
    """The sum of a layer along the sequence and one against it."""
    half, part = len(parameters) // 2, len(states) // 2
    turned = None if mask is None else mask[::-1]
    first, ahead = layer(parameters[:half], x, states[:part], mask)
    second, back = layer(parameters[half:], x[::-1], states[part:], turned)
    return first + second[::-1], [*ahead, *back]


def stepped(parameters, x, states, _mask):
    """A RecLSTM, then a RecGRU."""

    def step(x, states):
        h, c = lstm_step(x, *states[:2], *parameters[:2], states[1].shape[1])
        y = gru_step(h, states[2], *parameters[2:])
        return y, [h, c, y]

    outputs, states = over_time(step, x, states, None)
    return np.stack(outputs), states


def pytorch_step(cell, a, b, states):
    """PyTorch's equations; a and b are the parts of the input and of the state."""
    size = states[0].shape[1]
    a, b = ([part[:, k : k + size] for k in range(0, part.shape[1], size)] for part in (a, b))
    if cell == "tanh":
        return [np.tanh(a[0] + b[0])]
    if cell == "gru":
        z = sigmoid(a[1] + b[1])
        return [(1 - z) * np.tanh(a[2] + sigmoid(a[0] + b[0]) * b[2]) + z * states[0]]
    i, f, g, o = (one + other for one, other in zip(a, b, strict=True))
    c = sigmoid(f) * states[1] + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


def layered(module, parameters, x, states, mask):
    """RNNLayer: its options are read from the module."""
    first, ways = module.batch_first, 1 + module.bidirectional
    x, mask = (x.swapaxes(0, 1), None if mask is None else mask.T) if first else (x, mask)
    last: list[Arrays] = []
    for layer in range(module.num_layers):
        outputs = []
        for way in range(ways):
            w_ih, w_hh, b_ih, b_hh = parameters[4 * len(last) : 4 * len(last) + 4]

            def step(x, states, w_ih=w_ih, w_hh=w_hh, b_ih=b_ih, b_hh=b_hh):
                a, b = x @ w_ih.T + b_ih, states[0] @ w_hh.T + b_hh
                new = pytorch_step(module.cell, a, b, states)
                return new[0], new

            start = [state[layer * ways + way] for state in states]
            order = -1 if way else 1
            given = None if mask is None else mask[::order]
            y, end = over_time(step, x[::order], start, given, resets=False)
            outputs.append(np.reshape(y, (*x.shape[:2], module.hidden_features))[::order])
            last.append(end)
        x = np.concatenate(outputs, axis=-1)
    y = x.swapaxes(0, 1) if first else x
    return y, [np.stack(parts) for parts in zip(*last, strict=True)]


def attention(parameters, x, *, heads, causal, attn_mask, padding):
    """Attention of x (N, T, E) to itself; a mask of booleans or of floats for each kind."""
    weight, bias, w_out, b_out = parameters
    n, t, size = x.shape
    q, k, v = (
        (x @ weight[i * size : (i + 1) * size].T + bias[i * size : (i + 1) * size])
        .reshape(n, t, heads, -1)
        .swapaxes(1, 2)
        for i in range(3)
    )
    scores = q @ k.swapaxes(2, 3) / np.sqrt(size // heads)
    later = np.triu(np.ones((t, t), bool), 1) if causal else None
    for mask in (attn_mask, None if padding is None else padding[:, None, None, :], later):
        if mask is not None:
            scores = np.where(mask, -np.inf, scores) if mask.dtype == bool else scores + mask
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return (weights @ v).swapaxes(1, 2).reshape(n, t, size) @ w_out.T + b_out


@dataclass
class Kind:
    """A layer, and what the model knows of its class.

    run:    (parameters, x, states, mask) -> (y, last states), plain NumPy; states as flat lists
    widths: the shape of each state for n samples
    nest:   a flat list of states as the layer takes and returns it; None: WithStates only
    listed: the same as an entry of nn.WithStates, or of each of the layers in it
    """

    module: Any
    run: Callable[..., tuple[np.ndarray, Arrays]]
    widths: Callable[[int], list[tuple[int, ...]]]
    nest: Callable[[Arrays], Any] | None
    listed: Callable[[Arrays], list[Any]]
    remembers: bool = True
    masks: bool = True
    sets_masks: bool = True
    batch_first: bool = False


def make_kind(name: str, rng: np.random.Generator, size: int) -> Kind:
    """A layer of the class `name`, with random sizes and options, for inputs of `size` entries."""
    h, o = rng.integers(1, 4, 2).tolist()
    if name == "SeqLSTM":
        o = h if rng.random() < 0.5 else o
        module = nn.SeqLSTM(size, h, o)
        return Kind(module, seq_lstm, lambda n: [(n, o), (n, h)], list, lambda s: [list(s)])
    if name == "SeqGRU":
        module = nn.SeqGRU(size, h)
        return Kind(module, seq_gru, lambda n: [(n, h)], lambda s: s[0], lambda s: [s[0]])
    if name in ("SeqBLSTM", "SeqBGRU"):
        layer = seq_lstm if name == "SeqBLSTM" else seq_gru
        count = 4 if layer is seq_lstm else 2
        return Kind(
            getattr(nn, name)(size, h),
            lambda *args: both_ways(layer, *args),
            lambda n: [(n, h)] * count,
            None,
            lambda s: [s[:2], s[2:]] if count == 4 else list(s),
            remembers=False,
        )
    if name == "Sequencer":
        module = nn.Sequencer(nn.Sequential(nn.RecLSTM(size, h), nn.RecGRU(h, o)))
        shapes = lambda n: [(n, h), (n, h), (n, o)]  # noqa: E731
        nest = lambda s: [s[:2], s[2]]  # noqa: E731
        return Kind(module, stepped, shapes, None, lambda s: [nest(s)], masks=False)
    cell = name.removeprefix("RNNLayer-")
    layers, ways = rng.integers(1, 3, 2).tolist()
    first = bool(rng.random() < 0.5)
    module = nn.RNNLayer(cell, size, h, layers, True, first, bidirectional=ways == 2)
    parts = 2 if cell == "lstm" else 1
    nest = list if parts == 2 else (lambda s: s[0])
    return Kind(
        module,
        lambda *args: layered(module, *args),
        lambda n: [(layers * ways, n, h)] * parts,
        nest,
        lambda s: [nest(s)],
        sets_masks=False,
        batch_first=first,
    )


KINDS = (
    "SeqLSTM",
    "SeqGRU",
    "Sequencer",
    "SeqBLSTM",
    "SeqBGRU",
    "RNNLayer-lstm",
    "RNNLayer-gru",
    "RNNLayer-tanh",
)
