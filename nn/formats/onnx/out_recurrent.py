"""Recurrent layers over time, step by step: ONNX's own operators give no gates and no cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.onnx.calls import Call, writes
from tapegrad.nn.formats.onnx.dims import Dim

if TYPE_CHECKING:
    from tapegrad.nn.formats.onnx.building import GraphValue

__all__: list[str] = []


@writes("lstm_over_time")
def _lstm(call: Call) -> list[GraphValue]:
    w = call.builder
    x, weight, bias, h, c = (call.value(i, call.dtype) for i in range(5))
    (steps, _, inputs), size = call.shapes[0], call.shapes[3][1]
    if isinstance(steps, Dim):
        raise UnsupportedError("an LSTM over a number of steps that varies")
    if not steps:
        none = w.slice(w.unsqueeze(h, [0]), [0], [0], [0])
        return [none, none, w.op("Concat", *[none] * 4, axis=2)]
    sums = w.op("MatMul", x, w.slice(weight, [0], [inputs], [0])) + bias
    by_state = w.slice(weight, [inputs], [inputs + size], [0])
    found: list[list[GraphValue]] = []
    for t in range(steps):
        part = w.squeeze(w.slice(sums, [t], [t + 1], [0]), [0])
        total = part + w.op("MatMul", h, by_state)
        openings = w.op("Sigmoid", w.slice(total, [0], [3 * size], [1]))
        new = w.op("Tanh", w.slice(total, [3 * size], [4 * size], [1]))
        i, f, o = w.ops("Split", [openings, w.sizes_of([size] * 3)], 3, axis=1)
        c = f * c + i * new
        h = o * w.op("Tanh", c)
        gates = w.op("Concat", openings, new, axis=1)
        found.append([w.unsqueeze(value, [0]) for value in (h, c, gates)])
    return [w.op("Concat", *values, axis=0) for values in zip(*found, strict=True)]


@writes("gru_over_time")
def _gru(call: Call) -> list[GraphValue]:
    w = call.builder
    x, weight, bias, h = (call.value(i, call.dtype) for i in range(4))
    (steps, _, inputs), size = call.shapes[0], call.shapes[3][1]
    if isinstance(steps, Dim):
        raise UnsupportedError("a GRU over a number of steps that varies")
    if not steps:
        none = w.slice(w.unsqueeze(h, [0]), [0], [0], [0])
        return [none, w.op("Concat", *[none] * 3, axis=2)]
    sums = w.op("MatMul", x, w.slice(weight, [0], [inputs], [0])) + bias
    by_state = w.slice(weight, [inputs], [inputs + size], [0])
    openings = w.slice(by_state, [0], [2 * size], [1])
    candidate = w.slice(by_state, [2 * size], [3 * size], [1])
    found: list[list[GraphValue]] = []
    for t in range(steps):
        part = w.squeeze(w.slice(sums, [t], [t + 1], [0]), [0])
        total = w.slice(part, [0], [2 * size], [1]) + w.op("MatMul", h, openings)
        opened = w.op("Sigmoid", total)
        r, u = w.ops("Split", [opened, w.sizes_of([size] * 2)], 2, axis=1)
        last = w.slice(part, [2 * size], [3 * size], [1])
        new = w.op("Tanh", last + w.op("MatMul", r * h, candidate))
        h = new + u * (h - new)
        gates = w.op("Concat", opened, new, axis=1)
        found.append([w.unsqueeze(value, [0]) for value in (h, gates)])
    return [w.op("Concat", *values, axis=0) for values in zip(*found, strict=True)]


@writes("gru_reset_after_over_time")
def _gru_reset_after(call: Call) -> list[GraphValue]:
    w = call.builder
    x, weight, bias, shift, h = (call.value(i, call.dtype) for i in range(5))
    (steps, _, inputs), size = call.shapes[0], call.shapes[4][1]
    if isinstance(steps, Dim):
        raise UnsupportedError("a GRU over a number of steps that varies")
    if not steps:
        none = w.slice(w.unsqueeze(h, [0]), [0], [0], [0])
        return [none, w.op("Concat", *[none] * 3, axis=2), none]
    sums = w.op("MatMul", x, w.slice(weight, [0], [inputs], [0])) + bias
    by_state = w.slice(weight, [inputs], [inputs + size], [0])
    found: list[list[GraphValue]] = []
    for t in range(steps):
        part = w.squeeze(w.slice(sums, [t], [t + 1], [0]), [0])
        product = w.op("MatMul", h, by_state)
        opened = w.op("Sigmoid", w.slice(part + product, [0], [2 * size], [1]))
        r, u = w.ops("Split", [opened, w.sizes_of([size] * 2)], 2, axis=1)
        inner = w.slice(product, [2 * size], [3 * size], [1]) + shift
        new = w.op("Tanh", w.slice(part, [2 * size], [3 * size], [1]) + r * inner)
        h = new + u * (h - new)
        gates = w.op("Concat", opened, new, axis=1)
        found.append([w.unsqueeze(value, [0]) for value in (h, gates, inner)])
    return [w.op("Concat", *values, axis=0) for values in zip(*found, strict=True)]
