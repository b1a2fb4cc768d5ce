"""RNN: several layers of LSTM, GRU or plain cells over time, with cuDNN's one vector of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Choice, Float, Int
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.symbol.inference import unify
from tapegrad.nn.recurrent.at_once import GateWeights, run_gru, run_lstm

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["parameter_count", "rnn"]

GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}


def parameter_count(a: Attributes, inputs: int) -> int:
    """The length of the vector of weights and biases for data with `inputs` entries a step."""
    h, directions, gates = a.state_size, 2 if a.bidirectional else 1, GATES[a.mode]
    p = a.projection_size or h
    total = 0
    for layer in range(a.num_layers):
        width = inputs if layer == 0 else p * directions
        total += directions * gates * h * (width + p + 2)
        if a.projection_size:
            total += directions * p * h
    return total


def _inputs(a: Attributes) -> tuple[str, ...]:
    return (
        "data", "parameters", "state",
        *(("state_cell",) if a.mode == "lstm" else ()),
        *(("sequence_length",) if a.use_sequence_length else ()),
    )  # fmt: skip


def _outputs(a: Attributes) -> tuple[str, ...]:
    if not a.state_outputs:
        return ("output",)
    return ("output", "state_output", *(("statecell_output",) if a.mode == "lstm" else ()))


def _shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    data = inputs[0]
    if data is None:
        return
    steps, samples, width = data
    directions = 2 if a.bidirectional else 1
    p = a.projection_size or a.state_size
    layers = a.num_layers * directions
    if width:
        inputs[1] = unify(inputs[1], (parameter_count(a, width),))
    inputs[2] = unify(inputs[2], (layers, samples, p))
    if a.mode == "lstm":
        inputs[3] = unify(inputs[3], (layers, samples, a.state_size))
    if a.use_sequence_length:
        inputs[-1] = unify(inputs[-1], (samples,))
    outputs[0] = unify(outputs[0], (steps, samples, p * directions))
    if a.state_outputs:
        outputs[1] = unify(outputs[1], (layers, samples, p))
        if a.mode == "lstm":
            outputs[2] = unify(outputs[2], (layers, samples, a.state_size))


@operator(
    "RNN",
    _inputs,
    outputs=_outputs,
    random=True,
    flat="sequence_length",
    shapes=_shapes,
    state_size=Int(),
    num_layers=Int(),
    bidirectional=Bool(False),
    mode=Choice(words=("gru", "lstm", "rnn_relu", "rnn_tanh")),
    p=Float(0.0),
    state_outputs=Bool(False),
    projection_size=Int(None, none=True),
    lstm_state_clip_min=Float(None, none=True),
    lstm_state_clip_max=Float(None, none=True),
    lstm_state_clip_nan=Bool(False),
    use_sequence_length=Bool(False),
)
def rnn(call: Call, data: Tensor, parameters: Tensor, state: Tensor, *more: Tensor) -> list[Tensor]:
    """Recurrent layers over (T, N, C): gates i, f, c, o (lstm) and r, z, n (gru).

    parameters: layer by layer, direction by direction W (gates·H, C) and R (gates·H, H), then
    likewise both biases; state (layers · directions, N, H) -> (T, N, directions · H).
    Dropout `p` works between layers in training mode.
    """
    a = call.a
    rest = list(more)
    cell = rest.pop(0) if a.mode == "lstm" else None
    lengths = rest.pop(0) if a.use_sequence_length else None
    weights = _weights(a, parameters, data.shape[2])
    directions = 2 if a.bidirectional else 1
    x: Any = data
    last_h, last_c = [], []
    for layer in range(a.num_layers):
        found = []
        for direction in range(directions):
            i = layer * directions + direction
            y, h, c = _layer(
                a,
                x,
                weights[i],
                state[i],
                None if cell is None else cell[i],
                lengths,
                direction == 1,
            )
            found.append(y)
            last_h.append(h)
            last_c.append(c)
        x = ops.concatenate(found, 2) if directions == 2 else found[0]
        if a.p and call.train and layer < a.num_layers - 1:
            kept = ops.less(call.uniform(x.shape, x.dtype), 1 - a.p)
            x = x * (ops.cast(kept, dtype=x.dtype) / (1 - a.p))
    results = [x]
    if a.state_outputs:
        results.append(ops.stack(last_h))
        if a.mode == "lstm":
            results.append(ops.stack(last_c))
    return results


def _weights(a: Attributes, vector: Any, inputs: int) -> list[list[Any]]:
    """[W, R, b_W, b_R] (and the projection) of each layer and direction."""
    h, gates, directions = a.state_size, GATES[a.mode], 2 if a.bidirectional else 1
    p = a.projection_size or h
    found: list[list[Any]] = []
    at = 0

    def part(*shape: int) -> Any:
        nonlocal at
        size = int(np.prod(shape))
        piece = vector[at : at + size].reshape(shape)
        at += size
        return piece

    for layer in range(a.num_layers):
        width = inputs if layer == 0 else p * directions
        for _ in range(directions):
            one = [part(gates * h, width), part(gates * h, p)]
            found.append([*one, part(p, h)] if a.projection_size else one)
    for one in found:
        one[2:2] = [part(gates * h), part(gates * h)]
    return found


def _layer(
    a: Attributes, x: Any, w: list[Any], h: Any, c: Any, lengths: Any, backward: bool
) -> tuple[Any, Any, Any]:
    """(outputs, last h, last c) of one layer in one direction."""
    steps = x.shape[0]
    if steps and _is_at_once(a):
        inside = None if lengths is None else ops.less(np.arange(steps).reshape(-1, 1), lengths)
        mask = None if inside is None else ops.expand_dims(ops.logical_not(inside), 2)
        weights = GateWeights(*w)
        if a.mode == "gru":
            return *run_gru(x, weights, h, mask, backward), None
        y, (h, c) = run_lstm(x, weights, [h, c], mask, backward)
        return y, h, c
    projected = x @ w[0].T + w[2]
    outputs: list[Any] = [None] * steps
    for step in range(steps):
        t = steps - 1 - step if backward else step
        new_h, new_c = _cell(a, projected[t], w, h, c)
        if lengths is not None:
            inside = ops.expand_dims(ops.less(t, lengths), 1)
            outputs[t] = ops.where(inside, new_h, 0)
            h = ops.where(inside, new_h, h)
            c = None if c is None else ops.where(inside, new_c, c)
        else:
            h, c = new_h, new_c
            outputs[t] = h
    return ops.stack(outputs), h, c


def _is_at_once(a: Attributes) -> bool:
    """Whether one operation makes all steps: not of what shortens or bounds the states."""
    is_bounded = a.lstm_state_clip_min is not None and a.lstm_state_clip_max is not None
    return a.mode == "gru" or (a.mode == "lstm" and not a.projection_size and not is_bounded)


def _cell(a: Attributes, x: Any, w: list[Any], h: Any, c: Any) -> tuple[Any, Any]:
    """The next h and c, of all that is not made at once."""
    n = a.state_size
    gates = x + h @ w[1].T + w[3]
    if a.mode != "lstm":
        return (ops.relu if a.mode == "rnn_relu" else ops.tanh)(gates), None
    i, f, g, o = (gates[:, k * n : (k + 1) * n] for k in range(4))
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
    if a.lstm_state_clip_min is not None and a.lstm_state_clip_max is not None:
        c = ops.clip(c, a.lstm_state_clip_min, a.lstm_state_clip_max)
    h = ops.sigmoid(o) * ops.tanh(c)
    return (h @ w[4].T if a.projection_size else h), c
