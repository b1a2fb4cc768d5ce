"""The gradient of an LSTM over time, in array code: what runs without machine code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = ["lstm_gradient_by_arrays"]


def lstm_gradient_by_arrays(
    xp: Namespace, cotangent: Array, by_cells: Array | None, given: list[Array], with_x: bool
) -> list[Array]:
    """The cotangents of `lstm_over_time`, all of whose arrays have one dtype and are not empty.

    given: h, c and the gates of all steps, then x, weight, and h and c before the first
    What does not depend on the steps behind one is computed for all at once.
    """
    ys, cs, gates, x, weight, h, c = given
    (steps, samples, inputs), size = x.shape, h.shape[1]
    parts, tanh = gates.reshape(steps, samples, 4, size), xp.tanh(cs)
    i, f, o, n = (parts[:, :, k] for k in range(4))
    # what the cotangent of the cell, for the third that of the result, is multiplied by
    sums = 1 - parts
    sums[:, :, :3] *= parts[:, :, :3]
    sums[:, :, 3] *= 1 + n
    sums[:, :, 0] *= n
    sums[0, :, 1] *= c
    sums[1:, :, 1] *= cs[:-1]
    sums[:, :, 2] *= tanh
    sums[:, :, 3] *= i
    through = (1 - tanh) * (1 + tanh)
    through *= o
    dy, dc = xp.zeros_like(h), xp.zeros_like(c)
    by_state = xp.ascontiguousarray(weight[inputs:].T)
    for t in reversed(range(steps)):
        dy += cotangent[t]
        dc += dy * through[t]
        if by_cells is not None:
            dc += by_cells[t]
        sums[t, :, 2] *= dy
        sums[t, :, :2] *= dc[:, None]
        sums[t, :, 3] *= dc
        dy = sums[t].reshape(samples, 4 * size) @ by_state
        dc *= f[t]
    flat = sums.reshape(steps * samples, 4 * size)
    by_x = (flat @ weight[:inputs].T).reshape(x.shape) if with_x else xp.empty(0, dtype=x.dtype)
    by_weight = xp.empty_like(weight)
    by_weight[:inputs] = x.reshape(steps * samples, inputs).T @ flat
    by_weight[inputs:] = h.T @ sums[0].reshape(samples, -1)
    by_weight[inputs:] += ys[:-1].reshape(-1, size).T @ flat[samples:]
    return [by_x, by_weight, flat.sum(axis=0), dy, dc]
