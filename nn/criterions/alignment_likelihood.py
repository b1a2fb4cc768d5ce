"""The likelihood of labels whose times are not known, over all their alignments, as one primitive.

It is a recursion over time in logarithms.  Recorded step by step, its small operations cost many
times what they compute.  So the primitive computes its gradient at once, by a second recursion
from the end; where derivatives are recorded themselves, the same formula runs in operations.
Impossible alignments have a logarithm that is very low, not -∞, whose differences are NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import ops, primitive
from tapegrad.autograd.core.tensor import as_array
from tapegrad.autograd.kernels import alignments
from tapegrad.autograd.kernels.scattering import scatter_add
from tapegrad.autograd.ops.arrays import refuse_complex
from tapegrad.autograd.ops.batch_rules import merge_samples, split_samples
from tapegrad.autograd.ops.fused_bodies import runs_unrecorded
from tapegrad.autograd.ops.index_template import HOLE

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = ["IMPOSSIBLE", "alignment_likelihood", "least_logarithm"]

IMPOSSIBLE = -1e30


@primitive(aux=("slopes",))
def alignment_likelihood(
    xp: Namespace, x: Array, path: Array, lengths: Array | None = None
) -> tuple[Array, Array]:
    """log Σ exp Σₜ x[t, n, aₜ] over the alignments a of the states of path n.

    An alignment begins with state 0 or 1 of the path, ends with one of the last two, and each step
    stays, goes to the next state, or leaves out a blank between two labels that differ.
    x: log-probabilities (T, N, C), real;  path: what `extended_labels` gives, (N, W), which begins
    with the blank;  lengths: the number of steps of each sample (N, 1), T when None
    -> (N,), `least_logarithm` without an alignment.  Auxiliary: its gradient (T, N, C), 0 there.
    Source: A. Graves et al., "Connectionist temporal classification", ICML 2006, equations 7 to 16.
    """
    refuse_complex(x, "alignment_likelihood")
    steps, samples, classes = x.shape
    logs, shares = _logs_and_shares(xp, _wide(xp, x), path, lengths)
    slopes = xp.zeros(x.shape, dtype=shares.dtype)
    rows = xp.arange(steps * samples).reshape((steps, samples, 1)) * classes
    scatter_add(xp, slopes.reshape(-1), rows + xp.maximum(path, 0), shares)
    logs = xp.maximum(logs.reshape((samples,)), least_logarithm(x.dtype))
    return logs.astype(x.dtype), slopes.astype(x.dtype)


@alignment_likelihood.on("numba")
def _alignment_likelihood_fast(
    xp: Namespace, x: Array, path: Array, lengths: Array | None = None
) -> tuple[Array, Array]:
    found = alignments.alignments(x, path, lengths, IMPOSSIBLE)
    if found is not None:
        return found
    plain: tuple[Array, Array] = alignment_likelihood.primitive.body(xp, x, path, lengths)
    return plain


def least_logarithm(dtype: Any) -> float:
    """The logarithm of what has no alignment: IMPOSSIBLE, or what half precision has of it."""
    return float(np.finfo(dtype).min) if dtype == np.float16 else IMPOSSIBLE


def _wide(xp: Any, x: Any) -> Any:
    """x, or half precision, in which IMPOSSIBLE is ∞, as float32."""
    if x.dtype.itemsize >= 4:
        return x
    return ops.cast(x, dtype=np.dtype(np.float32)) if xp is ops else x.astype(np.float32)


def _logs_and_shares(xp: Any, x: Any, path: Any, lengths: Any) -> tuple[Any, Any]:
    """(logarithms (N, 1), the share of each state in the alignments at each step (T, N, W)).

    xp: of the arrays, or `ops`, in whose operations it is recorded
    """
    emitted = xp.take_along_axis(x, xp.maximum(path, 0)[None], axis=2)
    zero = xp.zeros_like(path[:, :1], dtype=x.dtype)
    low = zero + IMPOSSIBLE
    position = xp.cumsum(xp.ones_like(path), axis=1) - 1
    ends = xp.sum(xp.greater_equal(path, 0), axis=1, keepdims=True) - 1
    # A label can follow the label before its blank, unless the two are equal, as blanks are.
    skips = path[:, 2:] != path[:, :-2]

    def moved(logs: Any, back: bool) -> Any:
        """The logarithms one step on, or one step back, before what is emitted."""
        one = [logs[:, 1:], low] if back else [low, logs[:, :-1]]
        sums = xp.logaddexp(logs, xp.concatenate(one, axis=1))
        if path.shape[1] > 2:
            two = xp.where(skips, logs[:, 2:] if back else logs[:, :-2], low)
            two = xp.concatenate([two, low, low] if back else [low, low, two], axis=1)
            sums = xp.logaddexp(sums, two)
        return sums

    alphas = [xp.where(position == 0, zero, low)]
    for t in range(x.shape[0]):
        following = xp.maximum(moved(alphas[t], False) + emitted[t], IMPOSSIBLE)
        alphas.append(following if lengths is None else xp.where(t < lengths, following, alphas[t]))
    last = xp.take_along_axis(alphas[-1], ends, axis=1)
    before = xp.take_along_axis(alphas[-1], xp.maximum(ends - 1, 0), axis=1)
    logs = xp.logaddexp(last, xp.where(ends > 0, before, low))
    limit = 0.5 * IMPOSSIBLE
    impossible = logs < limit
    logs = xp.where(impossible, low, logs)
    beta = xp.where(xp.logical_or(position == ends, position == ends - 1), zero, low)
    shares = []
    for t in reversed(range(x.shape[0])):
        # A state that no alignment has here has no share, even if what it emits is NaN.
        lost = beta < limit
        nowhere = xp.logical_or(impossible, lost)
        unread = lost
        if lengths is not None:
            unread, nowhere = (xp.logical_or(t >= lengths, where) for where in (lost, nowhere))
        shares.append(xp.where(nowhere, zero, xp.exp(alphas[t + 1] + beta - logs)))
        earlier = moved(xp.where(unread, low, xp.maximum(beta + emitted[t], IMPOSSIBLE)), True)
        beta = earlier if lengths is None else xp.where(t < lengths, earlier, beta)
    return logs, xp.stack(shares[::-1]) if shares else emitted


def _rule(g: Any, x: Any, path: Any, lengths: Any, slopes: Any) -> Any:
    if not runs_unrecorded(g, (x, slopes)):
        steps, samples, _ = x.shape
        _, shares = _logs_and_shares(ops, _wide(ops, x), path, lengths)
        xp = devices.namespace(as_array(x))
        rows = xp.arange(steps).reshape((steps, 1, 1)), xp.arange(samples).reshape((samples, 1))
        states = ops.maximum(path, 0)[None]
        slopes = ops.index_add(shares, [*rows, states], (HOLE, HOLE, HOLE), x.shape)
        slopes = ops.cast(slopes, dtype=x.dtype)
    return g[:, None] * slopes


alignment_likelihood.vjp(x=_rule, path=None, lengths=None)


@alignment_likelihood.batch
def _batch(x: Any, path: Any, lengths: Any) -> tuple[Any, Any]:
    """The samples of all batches are those of one."""
    samples, size = x.shape[0], x.shape[2]
    joined = merge_samples(ops.swapaxes(x, 1, 2))  # (B·N, T, C)
    ends = None if lengths is None else merge_samples(lengths)
    logs, slopes = alignment_likelihood.with_aux(
        ops.swapaxes(joined, 0, 1), merge_samples(path), ends
    )
    slopes = split_samples(ops.swapaxes(slopes, 0, 1), samples, size)
    return split_samples(logs, samples, size), ops.swapaxes(slopes, 1, 2)
