"""Recurrent layers over time as one primitive each: `lstm_over_time` and two kinds of GRU.

As calls of their own, fifty steps are some hundred small operations, each with a record.  As a
primitive they are one; the rule is the sweep over time, written out in operations, so that its
derivatives follow.  With the `fast` extra both loops run machine code for what is between the
matrix products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.call import apply
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.late import late_module
from tapegrad.autograd.core.tensor import as_array
from tapegrad.autograd.kernels.recurrent_arrays import lstm_gradient_by_arrays
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.activation import sigmoid
from tapegrad.autograd.ops.arrays import refuse_complex
from tapegrad.autograd.ops.fused_bodies import runs_unrecorded

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

__all__ = ["gru_over_time", "gru_reset_after_over_time", "lstm_over_time"]

kernels = late_module("tapegrad.autograd.kernels.recurrent")
gru_kernels = late_module("tapegrad.autograd.kernels.gru")
reset_after_kernels = late_module("tapegrad.autograd.kernels.gru_reset_after")


@primitive(several=True)
def lstm_over_time(
    xp: Namespace, x: Array, weight: Array, bias: Array, h: Array, c: Array
) -> list[Array]:
    """[h, c, gates] of all steps of an LSTM, from the states h and c before the first.

    gates = σ, σ, σ, tanh of the four parts i, f, o, n of [x, h]·weight + bias;
    c' = f·c + i·n;  h' = o·tanh c'.
    x: (T, N, D);  weight (D + H, 4·H);  bias (4·H,);  h, c: (N, H), real -> (T, N, H), (T, N, H),
    (T, N, 4·H).
    Source: S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997, with the forget gate of
    F. Gers et al., "Learning to forget", 2000; the order of the parts is torch/rnn's.
    """
    for array in (x, weight, bias, h, c):
        refuse_complex(array, "lstm_over_time")
    steps, samples, inputs = x.shape
    size = h.shape[1]
    dtype = xp.result_type(x, weight, bias, h, c)
    gates = (x.reshape(steps * samples, inputs) @ weight[:inputs]).astype(dtype, copy=False)
    gates = gates.reshape(steps, samples, 4 * size)
    ys, cs = (xp.empty((steps, samples, size), dtype=dtype) for _ in range(2))
    opened, by_state = sigmoid.primitive.body, weight[inputs:]
    for t in range(steps):
        total = (h @ by_state).astype(dtype, copy=False)
        total += bias
        total += gates[t]
        gates[t, :, : 3 * size] = opened(xp, total[:, : 3 * size])
        gates[t, :, 3 * size :] = xp.tanh(total[:, 3 * size :])
        i, f, o, n = (gates[t, :, k * size : (k + 1) * size] for k in range(4))
        c = f * c
        c += i * n
        cs[t] = c
        ys[t] = h = o * xp.tanh(c)
    return [ys, cs, gates]


@lstm_over_time.on("numba")
def _lstm_fast(
    xp: Namespace, x: Array, weight: Array, bias: Array, h: Array, c: Array
) -> list[Array]:
    if kernels().fits(x, weight, bias, h, c):
        return kernels().lstm(x, weight, bias, h, c)
    plain: list[Array] = lstm_over_time.primitive.body(xp, x, weight, bias, h, c)
    return plain


def lstm_gradient(
    xp: Namespace,
    cotangent: Array,
    ys: Array,
    cs: Array,
    gates: Array,
    x: Array,
    weight: Array,
    h: Array,
    c: Array,
    by_cells: Array | None = None,
    *,
    with_x: bool,
) -> list[Array]:
    """The cotangents of `lstm_over_time`, from those of h and, if given, of all cells.

    with_x: whether that of x is wanted; else it is empty
    """
    given = [cotangent, ys, cs, gates, x, weight, h, c]
    if xp is np and kernels().fits(*given, *([] if by_cells is None else [by_cells])):
        return kernels().lstm_gradient(
            cotangent, by_cells, [ys, cs, gates], x, weight, h, c, with_x
        )
    return lstm_gradient_by_arrays(xp, cotangent, by_cells, given[1:], with_x)


_GRADIENT = Primitive(lstm_gradient, differentiable=False, several=True)


@lstm_over_time.joint_vjp("x", "weight", "bias", "h", "c")
def _lstm_rule(
    g: Any, y: Any, x: Array, weight: Array, h: Array, c: Array, wanted: tuple[bool, ...]
) -> tuple[Array, ...]:
    g_y, g_c, g_gates = g
    saved = (*y, x, weight, h, c)
    if (
        g_y is not None
        and g_gates is None
        and runs_unrecorded(g_y, saved if g_c is None else (g_c, *saved))
    ):
        given = [g_y, *saved] if g_c is None else [g_y, *saved, g_c]
        if _is_of_one_kind(*map(as_array, given)):
            return tuple(apply(_GRADIENT, (g_y, *saved, g_c), {"with_x": wanted[0]}))
    return _lstm_by_steps(g_y, g_c, g_gates, y, x, weight, h, c)


def _is_of_one_kind(*arrays: Array) -> bool:
    """Whether all are NumPy's, of float32 or float64, and none is empty."""
    first = arrays[0].dtype
    return first in FLOATS and all(
        type(a) is np.ndarray and a.dtype == first and a.size for a in arrays
    )


def _lstm_by_steps(
    g_y: Any, g_c: Any, g_gates: Any, y: Any, x: Array, weight: Array, h: Array, c: Array
) -> tuple[Array, ...]:
    ys, cs, gates = y
    steps, samples, inputs = x.shape
    size = h.shape[1]
    g_ys, g_cs, g_parts = (_parts(a, steps) for a in (g_y, g_c, g_gates))
    cells, opened = [c, *_parts(cs, steps)], _parts(gates, steps)
    by_state = weight[inputs:].T
    dy: Any = h * 0
    dc: Any = c * 0
    sums: list[Any] = []
    for t in reversed(range(steps)):
        i, f, o, n = s.split(opened[t], 4, -1)
        tanh = e.tanh(cells[t + 1])
        dy = dy + g_ys[t]
        dc = dc + g_cs[t] + dy * o * (1 - tanh) * (1 + tanh)
        by_gates = s.concatenate([dc * n, dc * cells[t], dy * tanh, dc * i], axis=-1) + g_parts[t]
        openings = opened[t][:, : 3 * size]
        slopes = s.concatenate([openings * (1 - openings), (1 - n) * (1 + n)], axis=-1)
        sums.insert(0, by_gates * slopes)
        dy, dc = sums[0] @ by_state, dc * f
    flat = e.widen_half(_joined(sums, x, weight))  # sums over many samples
    states = _states_before(h, ys)
    by_x = (flat @ weight[:inputs].T).reshape(x.shape)
    by_inputs = x.reshape((steps * samples, inputs)).T @ flat
    by_weight = s.concatenate([by_inputs, states.T @ flat], axis=0)
    return by_x, by_weight, r.sum(flat, axis=0), dy, dc


@lstm_over_time.batch
def _lstm_batch(x: Any, weight: Any, bias: Any, h: Any, c: Any) -> list[Any]:
    inputs, size = x.shape[-1], h.shape[-1]
    samples = len(x)
    ys, cs, gates = [], [], []
    shift = bias.reshape((samples, 1, 4 * size))
    for t in range(x.shape[1]):
        total = x[:, t] @ weight[:, :inputs] + h @ weight[:, inputs:] + shift
        openings, n = sigmoid(total[..., : 3 * size]), e.tanh(total[..., 3 * size :])
        i, f, o = s.split(openings, 3, -1)
        c = f * c + i * n
        h = o * e.tanh(c)
        ys.append(h)
        cs.append(c)
        gates.append(s.concatenate([openings, n], axis=-1))
    if not ys:
        empty = h.reshape((samples, 1, *h.shape[1:]))[:, :0]
        return [empty, empty, s.concatenate([empty] * 4, axis=-1)]
    return [_along_time(parts) for parts in (ys, cs, gates)]


def _parts(a: Any, steps: int) -> list[Any]:
    """The part of each step; zeros for None."""
    if a is None or not steps:
        return [0] * steps
    return [part.reshape(part.shape[1:]) for part in s.split(a, steps, 0)]


def _along_time(parts: list[Any]) -> Any:
    """Arrays (B, N, …), one for each step, as one (B, T, N, …)."""
    wide = [part.reshape((part.shape[0], 1, *part.shape[1:])) for part in parts]
    return s.concatenate(wide, axis=1)


def _joined(parts: list[Any], x: Array, weight: Array) -> Any:
    """The parts of all steps as one matrix, with a row for each sample of each step."""
    if parts:
        return s.concatenate(parts, axis=0)
    return (x.reshape((0, x.shape[2])) @ weight[: x.shape[2]]) * 0


def _states_before(h: Array, ys: Array) -> Any:
    """The states before each step as one matrix, with a row for each sample of each step."""
    steps, samples, size = ys.shape
    if not steps:
        return h[:0]
    states = s.concatenate([h.reshape((1, samples, size)), ys[:-1]], axis=0)
    return states.reshape((steps * samples, size))


# GRU ----------------------------------------------------------------------------------------------


@primitive(several=True)
def gru_over_time(xp: Namespace, x: Array, weight: Array, bias: Array, h: Array) -> list[Array]:
    """[h, gates] of all steps of a GRU, from the state h before the first.

    With [x, h]·weight + bias in three parts: r, u = σ of the first two; n = tanh of the third, in
    which r·h stands for h;  h' = n + u·(h - n).  gates: r, u, n.
    x: (T, N, D);  weight (D + H, 3·H);  bias (3·H,);  h: (N, H), real -> (T, N, H), (T, N, 3·H).
    Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014; the
    order of the parts is torch/rnn's.
    """
    for array in (x, weight, bias, h):
        refuse_complex(array, "gru_over_time")
    steps, samples, inputs = x.shape
    size = h.shape[1]
    dtype = xp.result_type(x, weight, bias, h)
    sums = (x.reshape(steps * samples, inputs) @ weight[:inputs]).reshape(steps, samples, 3 * size)
    ys = xp.empty((steps, samples, size), dtype=dtype)
    gates = xp.empty((steps, samples, 3 * size), dtype=dtype)
    openings, candidate = weight[inputs:, : 2 * size], weight[inputs:, 2 * size :]
    opened = sigmoid.primitive.body
    for t in range(steps):
        total = sums[t] + bias
        gates[t, :, : 2 * size] = opened(xp, total[:, : 2 * size] + h @ openings)
        r, u, n = (gates[t, :, k * size : (k + 1) * size] for k in range(3))
        n[...] = xp.tanh(total[:, 2 * size :] + (r * h) @ candidate)
        ys[t] = h = n + u * (h - n)
    return [ys, gates]


@gru_over_time.on("numba")
def _gru_fast(xp: Namespace, x: Array, weight: Array, bias: Array, h: Array) -> list[Array]:
    if kernels().fits(x, weight, bias, h):
        return gru_kernels().gru(x, weight, bias, h)
    plain: list[Array] = gru_over_time.primitive.body(xp, x, weight, bias, h)
    return plain


def gru_gradient(
    xp: Namespace,
    cotangent: Array,
    ys: Array,
    gates: Array,
    x: Array,
    weight: Array,
    h: Array,
    *,
    with_x: bool,
) -> list[Array]:
    """The cotangents of `gru_over_time`, from that of h; `with_x` as in `lstm_gradient`."""
    return gru_kernels().gru_gradient(cotangent, [ys, gates], x, weight, h, with_x)


_GRU_GRADIENT = Primitive(gru_gradient, differentiable=False, several=True)


@gru_over_time.joint_vjp("x", "weight", "bias", "h")
def _gru_rule(
    g: Any, y: Any, x: Array, weight: Array, h: Array, wanted: tuple[bool, ...]
) -> tuple[Array, ...]:
    g_y, g_gates = g
    saved = (*y, x, weight, h)
    is_simple = g_y is not None and g_gates is None and runs_unrecorded(g_y, saved)
    if is_simple and kernels().fits(*map(as_array, (g_y, *saved))):
        return tuple(apply(_GRU_GRADIENT, (g_y, *saved), {"with_x": wanted[0]}))
    return _gru_by_steps(g_y, g_gates, y, x, weight, h)


def _gru_by_steps(
    g_y: Any, g_gates: Any, y: Any, x: Array, weight: Array, h: Array
) -> tuple[Array, ...]:
    ys, gates = y
    steps, samples, inputs = x.shape
    size = h.shape[1]
    g_ys, g_parts = _parts(g_y, steps), _parts(g_gates, steps)
    states, opened = [h, *_parts(ys, steps)], _parts(gates, steps)
    open_back, new_back = weight[inputs:, : 2 * size].T, weight[inputs:, 2 * size :].T
    dy: Any = h * 0
    sums: list[Any] = []
    lefts: list[Any] = []
    for t in reversed(range(steps)):
        old, (reset, u, n) = states[t], s.split(opened[t], 3, -1)
        by_r, by_u, by_n = (0, 0, 0) if g_gates is None else s.split(g_parts[t], 3, -1)
        dy = dy + g_ys[t]
        sum_n = (dy * (1 - u) + by_n) * (1 - n) * (1 + n)
        sum_u = (dy * (old - n) + by_u) * u * (1 - u)
        by_left = sum_n @ new_back
        sum_r = (by_left * old + by_r) * reset * (1 - reset)
        openings = s.concatenate([sum_r, sum_u], axis=-1)
        dy = dy * u + by_left * reset + openings @ open_back
        sums.insert(0, s.concatenate([openings, sum_n], axis=-1))
        lefts.insert(0, reset * old)
    flat = e.widen_half(_joined(sums, x, weight))  # sums over many samples
    left = s.concatenate(lefts, axis=0) if lefts else h[:0]
    by_x = (flat @ weight[:inputs].T).reshape(x.shape)
    by_states = [
        _states_before(h, ys).T @ flat[:, : 2 * size],
        left.T @ flat[:, 2 * size :],
    ]
    by_inputs = x.reshape((steps * samples, inputs)).T @ flat
    by_weight = s.concatenate([by_inputs, s.concatenate(by_states, axis=1)], axis=0)
    return by_x, by_weight, r.sum(flat, axis=0), dy


@gru_over_time.batch
def _gru_batch(x: Any, weight: Any, bias: Any, h: Any) -> list[Any]:
    inputs, size = x.shape[-1], h.shape[-1]
    samples = len(x)
    ys, gates = [], []
    shift = bias.reshape((samples, 1, 3 * size))
    openings, candidate = weight[:, inputs:, : 2 * size], weight[:, inputs:, 2 * size :]
    for t in range(x.shape[1]):
        total = x[:, t] @ weight[:, :inputs] + shift
        opened = sigmoid(total[..., : 2 * size] + h @ openings)
        reset, update = s.split(opened, 2, -1)
        n = e.tanh(total[..., 2 * size :] + (reset * h) @ candidate)
        h = n + update * (h - n)
        ys.append(h)
        gates.append(s.concatenate([opened, n], axis=-1))
    if not ys:
        empty = h.reshape((samples, 1, *h.shape[1:]))[:, :0]
        return [empty, s.concatenate([empty] * 3, axis=-1)]
    return [_along_time(parts) for parts in (ys, gates)]


# PyTorch's GRU ------------------------------------------------------------------------------------


@primitive(several=True)
def gru_reset_after_over_time(
    xp: Namespace, x: Array, weight: Array, bias: Array, shift: Array, h: Array
) -> list[Array]:
    """[h, gates, inner] of all steps of PyTorch's GRU, from the state h before the first.

    a = x·weight[:D] + bias and b = h·weight[D:], in three parts each: r, u = σ(a + b) of the first
    two;  inner = b + shift and n = tanh(a + r·inner) of the third;  h' = n + u·(h - n).
    gates: r, u, n.
    x: (T, N, D);  weight (D + H, 3·H);  bias (3·H,);  shift (H,);  h: (N, H), real -> (T, N, H),
    (T, N, 3·H), (T, N, H).
    Source: torch.nn.GRU; `reset_after` of Keras.
    """
    for array in (x, weight, bias, shift, h):
        refuse_complex(array, "gru_reset_after_over_time")
    steps, samples, inputs = x.shape
    size = h.shape[1]
    dtype = xp.result_type(x, weight, bias, shift, h)
    sums = (x.reshape(steps * samples, inputs) @ weight[:inputs]).reshape(steps, samples, 3 * size)
    ys, inner = (xp.empty((steps, samples, size), dtype=dtype) for _ in range(2))
    gates = xp.empty((steps, samples, 3 * size), dtype=dtype)
    opened = sigmoid.primitive.body
    for t in range(steps):
        total, product = sums[t] + bias, h @ weight[inputs:]
        gates[t, :, : 2 * size] = opened(xp, (total + product)[:, : 2 * size])
        r, u, n = (gates[t, :, k * size : (k + 1) * size] for k in range(3))
        inner[t] = product[:, 2 * size :] + shift
        n[...] = xp.tanh(total[:, 2 * size :] + r * inner[t])
        ys[t] = h = n + u * (h - n)
    return [ys, gates, inner]


@gru_reset_after_over_time.on("numba")
def _gru_reset_after_fast(
    xp: Namespace, x: Array, weight: Array, bias: Array, shift: Array, h: Array
) -> list[Array]:
    if kernels().fits(x, weight, bias, shift, h):
        return reset_after_kernels().gru(x, weight, bias, shift, h)
    body = gru_reset_after_over_time.primitive.body
    plain: list[Array] = body(xp, x, weight, bias, shift, h)
    return plain


def gru_reset_after_gradient(
    xp: Namespace,
    cotangent: Array,
    ys: Array,
    gates: Array,
    inner: Array,
    x: Array,
    weight: Array,
    h: Array,
    *,
    with_x: bool,
) -> list[Array]:
    """The cotangents of `gru_reset_after_over_time`, from that of h; `with_x` as in
    `lstm_gradient`.
    """
    results = [ys, gates, inner]
    return reset_after_kernels().gru_gradient(cotangent, results, x, weight, h, with_x)


_RESET_AFTER_GRADIENT = Primitive(gru_reset_after_gradient, differentiable=False, several=True)


@gru_reset_after_over_time.joint_vjp("x", "weight", "bias", "shift", "h")
def _gru_reset_after_rule(
    g: Any, y: Any, x: Array, weight: Array, h: Array, wanted: tuple[bool, ...]
) -> tuple[Array, ...]:
    g_y, g_gates, g_inner = g
    saved = (*y, x, weight, h)
    is_simple = g_y is not None and g_gates is None and g_inner is None
    is_simple = is_simple and runs_unrecorded(g_y, saved)
    if is_simple and kernels().fits(*map(as_array, (g_y, *saved))):
        return tuple(apply(_RESET_AFTER_GRADIENT, (g_y, *saved), {"with_x": wanted[0]}))
    return _gru_reset_after_by_steps(g, y, x, weight, h)


def _gru_reset_after_by_steps(
    g: Any, y: Any, x: Array, weight: Array, h: Array
) -> tuple[Array, ...]:
    ys, gates, inner = y
    steps, samples, inputs = x.shape
    size = h.shape[1]
    g_ys, g_parts, g_inners = (_parts(a, steps) for a in g)
    states, opened, inners = [h, *_parts(ys, steps)], _parts(gates, steps), _parts(inner, steps)
    by_state = weight[inputs:].T
    dy: Any = h * 0
    sums: list[Any] = []  # of the input's part, and of the state's
    state_sums: list[Any] = []
    for t in reversed(range(steps)):
        reset, u, n = s.split(opened[t], 3, -1)
        by_r, by_u, by_n = (0, 0, 0) if g[1] is None else s.split(g_parts[t], 3, -1)
        dy = dy + g_ys[t]
        sum_n = (dy * (1 - u) + by_n) * (1 - n) * (1 + n)
        sum_u = (dy * (states[t] - n) + by_u) * u * (1 - u)
        sum_r = (sum_n * inners[t] + by_r) * reset * (1 - reset)
        openings = s.concatenate([sum_r, sum_u], axis=-1)
        state_sums.insert(0, s.concatenate([openings, sum_n * reset + g_inners[t]], axis=-1))
        sums.insert(0, s.concatenate([openings, sum_n], axis=-1))
        dy = dy * u + state_sums[0] @ by_state
    flat = e.widen_half(_joined(sums, x, weight))  # sums over many samples
    flat_states = e.widen_half(_joined(state_sums, x, weight))
    by_x = (flat @ weight[:inputs].T).reshape(x.shape)
    by_inputs = x.reshape((steps * samples, inputs)).T @ flat
    by_states = _states_before(h, ys).T @ flat_states
    by_weight = s.concatenate([by_inputs, by_states], axis=0)
    return by_x, by_weight, r.sum(flat, axis=0), r.sum(flat_states[:, 2 * size :], axis=0), dy


@gru_reset_after_over_time.batch
def _gru_reset_after_batch(x: Any, weight: Any, bias: Any, shift: Any, h: Any) -> list[Any]:
    inputs, size = x.shape[-1], h.shape[-1]
    samples = len(x)
    ys, gates, inners = [], [], []
    bias, shift = bias.reshape((samples, 1, 3 * size)), shift.reshape((samples, 1, size))
    for t in range(x.shape[1]):
        total, product = x[:, t] @ weight[:, :inputs] + bias, h @ weight[:, inputs:]
        opened = sigmoid((total + product)[..., : 2 * size])
        reset, update = s.split(opened, 2, -1)
        inner = product[..., 2 * size :] + shift
        n = e.tanh(total[..., 2 * size :] + reset * inner)
        h = n + update * (h - n)
        ys.append(h)
        gates.append(s.concatenate([opened, n], axis=-1))
        inners.append(inner)
    if not ys:
        empty = h.reshape((samples, 1, *h.shape[1:]))[:, :0]
        return [empty, s.concatenate([empty] * 3, axis=-1), empty]
    return [_along_time(parts) for parts in (ys, gates, inners)]
