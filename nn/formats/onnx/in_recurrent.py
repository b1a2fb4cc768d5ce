"""ONNX's LSTM, GRU and RNN, step by step, in its order of gates.

An axis of directions is in front of all parameters.  Of sequences of several lengths the steps
behind the end give 0 and leave the state as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.formats.onnx.operators import OperatorCall, reads

__all__: list[str] = []

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "Tanh": np.tanh,
    "Sigmoid": ops.sigmoid,
    "Relu": ops.relu,
    "Softsign": ops.softsign,
    "HardSigmoid": lambda x: ops.clip(x * 0.2 + 0.5, 0, 1),
    "Softplus": lambda x: np.logaddexp(x, np.asarray(0, x.dtype)),
}
DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}

Step = Callable[[Any, list[Any]], list[Any]]  # (x W + …, state) -> next state


@reads("LSTM", "GRU", "RNN")
def _recurrent(call: OperatorCall) -> list[Any]:
    if call.number("layout", 0):
        return _batch_first(call)
    x, w, r = call.inputs[:3]
    if call.number("input_forget", 0) or call.number("clip", 0):
        raise call.unsupported("input_forget and clip")
    x, w, r = (part if isinstance(part, Tensor) else Tensor(part) for part in (x, w, r))
    if x.ndim != 3 or w.ndim != 3 or r.ndim != 3 or w.shape[1] != GATES[call.op] * r.shape[2]:
        raise call.wrong("inputs (T, N, D), (directions, gates·H, D) and (…, H)",
                         (x.shape, w.shape, r.shape))  # fmt: skip
    directions, size = w.shape[0], r.shape[2]
    direction = call.text("direction", "forward")
    if directions != (2 if direction == "bidirectional" else 1):
        raise call.wrong(f"parameters of direction {direction}", directions)
    lengths = call.host(4)
    masks = None if lengths is None else np.arange(x.shape[0])[:, None] < lengths
    outputs, last = [], []
    for d in range(directions):
        backwards = direction == "reverse" or d == 1
        y, state = _direction(call, d, (x, w[d], r[d]), _start(call, d, x, size), backwards, masks)
        outputs.append(y)
        last.append(state)
    result = np.stack(outputs, axis=1)
    return [result, *(np.stack(parts) for parts in zip(*last, strict=True))]


def _batch_first(call: OperatorCall) -> list[Any]:
    """The outputs of layout 1, where the batch is the first axis of inputs, states and outputs."""
    inputs = [
        np.moveaxis(part, 1, 0) if i in (0, 5, 6) and part is not None else part
        for i, part in enumerate(call.inputs)
    ]
    attributes = {**call.attributes, "layout": 0}
    y, *last = _recurrent(OperatorCall(call.op, inputs, attributes, call.opset, call.count))
    return [np.moveaxis(y, 2, 0), *(np.moveaxis(state, 1, 0) for state in last)]


def _start(call: OperatorCall, d: int, x: Any, size: int) -> list[Any]:
    """The first state of a direction: given, or zeros."""
    states = []
    for index in (5, 6) if call.op == "LSTM" else (5,):
        given = call.input(index)
        zeros = np.zeros((x.shape[1], size), x.dtype)
        states.append(Tensor(zeros) if given is None else given[d])
    return states


def _direction(
    call: OperatorCall, d: int, given: tuple[Any, Any, Any], state: list[Any], backwards: bool,
    masks: Any,
) -> tuple[Any, list[Any]]:  # fmt: skip
    """(outputs (T, N, H), last state) of one direction."""
    x, w, r = given
    size, gates = r.shape[1], GATES[call.op]
    bias = call.input(3)
    both = None if bias is None else (bias[d][: gates * size], bias[d][gates * size :])
    step = STEPS[call.op](call, d, r, None if both is None else both[1])
    parts = np.matmul(x, w.T)
    parts = parts if both is None else parts + both[0]
    outputs: list[Any] = [None] * x.shape[0]
    order = range(x.shape[0])[::-1] if backwards else range(x.shape[0])
    for t in order:
        new = step(parts[t], state)
        if masks is not None:
            inside = masks[t][:, None]
            outputs[t] = np.where(inside, new[0], np.zeros((), x.dtype))
            state = [np.where(inside, n, old) for n, old in zip(new, state, strict=True)]
        else:
            outputs[t], state = new[0], new
    return np.stack(outputs), state


def _activations(call: OperatorCall, d: int) -> Sequence[Callable[[Any], Any]]:
    usual = DEFAULTS[call.op]
    names: Any = call.attributes.get("activations")
    chosen = list(names[d * len(usual) : (d + 1) * len(usual)] if names else usual)
    if len(chosen) != len(usual) or any(name not in ACTIVATIONS for name in chosen):
        raise call.unsupported(f"activations {', '.join(map(str, names or ()))}")
    if call.attributes.get("activation_alpha") or call.attributes.get("activation_beta"):
        raise call.unsupported("activation_alpha and activation_beta")
    return [ACTIVATIONS[name] for name in chosen]


def _parts(value: Any, count: int) -> list[Any]:
    """A row of gates taken apart."""
    size = value.shape[-1] // count
    return [value[..., i * size : (i + 1) * size] for i in range(count)]


def _lstm(call: OperatorCall, d: int, r: Any, bias: Any) -> Step:
    f, g, h = _activations(call, d)
    peepholes = call.input(7)
    looks = None if peepholes is None else _parts(peepholes[d], 3)  # of input, output, forget

    def step(x_part: Any, state: list[Any]) -> list[Any]:
        hidden, cell = state
        total = x_part + np.matmul(hidden, r.T)
        total = total if bias is None else total + bias
        i, o, forget, c = _parts(total, 4)
        if looks is not None:
            i, forget = i + looks[0] * cell, forget + looks[2] * cell
        new = f(forget) * cell + f(i) * g(c)
        if looks is not None:
            o = o + looks[1] * new
        return [f(o) * h(new), new]

    return step


def _gru(call: OperatorCall, d: int, r: Any, bias: Any) -> Step:
    f, g = _activations(call, d)
    size = r.shape[1]
    gates, own = r[: 2 * size], r[2 * size :]
    b_gates = None if bias is None else bias[: 2 * size]
    b_own = None if bias is None else bias[2 * size :]
    after = bool(call.number("linear_before_reset", 0))

    def step(x_part: Any, state: list[Any]) -> list[Any]:
        [hidden] = state
        total = x_part[..., : 2 * size] + np.matmul(hidden, gates.T)
        total = total if b_gates is None else total + b_gates
        update, reset = (f(part) for part in _parts(total, 2))
        if after:
            inner = np.matmul(hidden, own.T)
            inner = reset * (inner if b_own is None else inner + b_own)
        else:
            inner = np.matmul(reset * hidden, own.T)
            inner = inner if b_own is None else inner + b_own
        candidate = g(x_part[..., 2 * size :] + inner)
        return [candidate + update * (hidden - candidate)]

    return step


def _rnn(call: OperatorCall, d: int, r: Any, bias: Any) -> Step:
    [f] = _activations(call, d)

    def step(x_part: Any, state: list[Any]) -> list[Any]:
        total = x_part + np.matmul(state[0], r.T)
        return [f(total if bias is None else total + bias)]

    return step


STEPS: dict[str, Callable[[OperatorCall, int, Any, Any], Step]] = {
    "LSTM": _lstm,
    "GRU": _gru,
    "RNN": _rnn,
}
