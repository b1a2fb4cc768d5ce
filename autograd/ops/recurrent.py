"""Recurrent layers over time as one primitive: `lstm_over_time`.

As calls of their own, fifty steps are some hundred small operations, each with a record.  As a
primitive they are one; the rule is the sweep over time, written out in operations, so that its
derivatives follow.  With the `fast` extra both loops run machine code for what is between the
matrix products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.call import apply
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.tensor import as_array
from tapegrad.autograd.kernels import recurrent as kernels
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.activation import sigmoid
from tapegrad.autograd.ops.arrays import refuse_complex
from tapegrad.autograd.ops.fused_bodies import is_plain

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["lstm_over_time"]


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
    sums = (x.reshape(steps * samples, inputs) @ weight[:inputs]).reshape(steps, samples, 4 * size)
    ys, cs = (xp.empty((steps, samples, size), dtype=dtype) for _ in range(2))
    gates = xp.empty((steps, samples, 4 * size), dtype=dtype)
    opened = sigmoid.primitive.body
    for t in range(steps):
        total = sums[t] + (h @ weight[inputs:] + bias)
        gates[t, :, : 3 * size] = opened(xp, total[:, : 3 * size])
        gates[t, :, 3 * size :] = xp.tanh(total[:, 3 * size :])
        i, f, o, n = (gates[t, :, k * size : (k + 1) * size] for k in range(4))
        cs[t] = c = f * c + i * n
        ys[t] = h = o * xp.tanh(c)
    return [ys, cs, gates]


@lstm_over_time.on("numba")
def _lstm_fast(
    xp: Namespace, x: Array, weight: Array, bias: Array, h: Array, c: Array
) -> list[Array]:
    if kernels.fits(x, weight, bias, h, c):
        return kernels.lstm(x, weight, bias, h, c)
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
    return kernels.lstm_gradient(cotangent, by_cells, [ys, cs, gates], x, weight, h, c, with_x)


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
        and is_plain(g_y, saved if g_c is None else (g_c, *saved))
    ):
        given = [g_y, *saved] if g_c is None else [g_y, *saved, g_c]
        if kernels.fits(*map(as_array, given)):
            return tuple(apply(_GRADIENT, (g_y, *saved, g_c), {"with_x": wanted[0]}))
    return _by_steps(g_y, g_c, g_gates, y, x, weight, h, c)


def _by_steps(
    g_y: Any, g_c: Any, g_gates: Any, y: Any, x: Array, weight: Array, h: Array, c: Array
) -> tuple[Array, ...]:
    ys, cs, gates = y
    steps, samples, inputs = x.shape
    size = h.shape[1]

    def parts(a: Any) -> list[Any]:
        if a is None or not steps:
            return [0] * steps
        return [part.reshape(part.shape[1:]) for part in s.split(a, steps, 0)]

    g_ys, g_cs, g_parts = parts(g_y), parts(g_c), parts(g_gates)
    cells, opened = [c, *parts(cs)], parts(gates)
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
    if not steps:
        flat = (x.reshape((0, inputs)) @ weight[:inputs]) * 0
        states = h[:0]
    else:
        flat = s.stack(sums).reshape((steps * samples, 4 * size))
        states = s.concatenate([h.reshape((1, samples, size)), ys[:-1]], axis=0)
        states = states.reshape((steps * samples, size))
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
    return [s.stack(part, axis=1) for part in (ys, cs, gates)]
