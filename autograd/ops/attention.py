"""Attention as one primitive, which never has the matrix of its scores in memory.

As a composition, softmax(q kᵀ) v keeps a number for each pair of a query and a key, for the reverse
pass.  `scaled_dot_product_attention` works by blocks and computes them again in reverse
(`kernels/attention.py`).  Where its derivatives are recorded, batched or pushed forward, its rule
is that of the composition.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.call import apply
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.core.late import late_module
from tapegrad.autograd.core.mode import interpreter, is_recording
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.activation import softmax
from tapegrad.autograd.ops.arrays import as_constant, device_array, refuse_complex
from tapegrad.autograd.ops.batch_rules import align_samples, ndim_of
from tapegrad.autograd.ops.fused_bodies import LEAST
from tapegrad.autograd.ops.linalg import matmul

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace, Shape
    from tapegrad.autograd.kernels.attention import Steps, Task

__all__ = ["scaled_dot_product_attention"]

kernels = late_module("tapegrad.autograd.kernels.attention")

NAME = "scaled_dot_product_attention"
ON_DEVICE = 2**28  # bytes of a block of scores on a GPU, which has many cores to fill
NO_FIT = (
    "q {q}, k {k} and v {v} do not fit: they are (…, L, d), (…, S, d) and (…, S, e), with S at "
    "least 1 and leading axes that broadcast"
)
NO_MASK = "the mask has dtype {dtype}: it must be of booleans, True for what is hidden, or floats"
NO_MASK_SHAPE = "the mask of shape {mask} does not broadcast to the scores (…, {count}, {length})"


@primitive(aux=("highest", "total"))
def scaled_dot_product_attention(
    xp: Namespace,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Array, Array, Array]:
    """softmax(q kᵀ · scale + mask) v: each query's average of v, by its likeness to the keys.

    q (…, L, d), k (…, S, d), v (…, S, e) -> (…, L, e), leading axes broadcast.  Real; integers are
    computed in float64, float16 in float32.
    mask: broadcasts to (…, L, S): booleans, True where a query must not see a key, or floats to add
    to the scores, such as -inf or a learned bias.  causal: query l sees no key after number l.
    scale: 1/√d when None.  A query that sees no key has NaN.
    Memory grows with L + S and not with L·S, in the reverse pass too; where derivatives of the
    derivatives are recorded, batched or pushed forward, it is that of the composition.
    Raises ShapeError for shapes that do not fit, TypeError for complex numbers, a mask of
    integers and a scale that is tracked (multiply q by it).  `with_aux` gives the largest score of
    each query as well, and its Σ e^(score - largest), without derivatives.
    Source: T. Dao et al., "FlashAttention", 2022; A. Vaswani et al., "Attention is all you need",
    2017, section 3.2.1.
    """
    task = _task(xp, q, k, v, mask, causal, scale)
    return _attend(kernels().Steps(xp, task, skips=kernels().can_skip(xp, task)), q, k, v)


@scaled_dot_product_attention.on("numba")
def _attention_fast(
    xp: Namespace,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Array, Array, Array]:
    return _attend(_fast_steps(_task(xp, q, k, v, mask, causal, scale)), q, k, v)


@scaled_dot_product_attention.on("cuda")
def _attention_on_device(
    xp: Namespace,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Array, Array, Array]:
    task = _task(xp, q, k, v, mask, causal, scale)
    return _attend(kernels().Steps(xp, task, room=ON_DEVICE), q, k, v)


def _task(
    xp: Namespace, q: Array, k: Array, v: Array, mask: Array | None, causal: bool, scale: Any
) -> Task:
    """The call in the dtype that it is computed in.  Raises for what does not fit."""
    q, k, v = (xp.asarray(x) for x in (q, k, v))
    for x in (q, k, v):
        refuse_complex(x, NAME)
    if mask is not None:
        mask = xp.asarray(mask)
        if mask.dtype.kind not in "bf":
            raise TypeError(NO_MASK.format(dtype=mask.dtype))
    lead = _lead(q.shape, k.shape, v.shape)
    dtype = np.result_type(q.dtype, k.dtype, v.dtype)
    dtype = _WIDER.get(dtype.char, dtype) if dtype.kind == "f" else np.dtype(np.float64)
    if mask is not None:
        lead = _lead_with(mask.shape, lead, q.shape[-2], k.shape[-2])
        mask = mask if mask.dtype == bool else mask.astype(dtype, copy=False)
    q, k, v = (x.astype(dtype, copy=False) for x in (q, k, v))
    scale = _scale(q, scale)
    return kernels().Task.of(xp, q, k, v, mask, lead=lead, causal=bool(causal), scale=scale)


_WIDER = {"e": np.dtype(np.float32)}


def _lead(q: Shape, k: Shape, v: Shape) -> Shape:
    """The leading axes of the result.  Raises ShapeError for shapes that do not fit."""
    if min(len(q), len(k), len(v)) >= 2 and q[-1] == k[-1] and k[-2] == v[-2] > 0:
        with suppress(ValueError):
            return np.broadcast_shapes(q[:-2], k[:-2], v[:-2])
    raise ShapeError(NO_FIT.format(q=q, k=k, v=v))


def _lead_with(mask: Shape, lead: Shape, count: int, length: int) -> Shape:
    """The leading axes of scores (…, L, S) with a mask.  Raises ShapeError if it does not fit."""
    try:
        shape = np.broadcast_shapes(mask, (*lead, count, length))
    except ValueError:
        shape = ()
    if shape[-2:] != (count, length):
        raise ShapeError(NO_MASK_SHAPE.format(mask=mask, count=count, length=length))
    return shape[:-2]


def _fast_steps(task: Task, *others: Array) -> Steps:
    large = task.q.size * task.k.shape[-2] >= LEAST[0]
    skips = kernels().can_skip(np, task, *others)
    steps = kernels().compiled_steps(task, skips=skips) if large else None
    return kernels().Steps(np, task, skips=skips) if steps is None else steps


def _attend(steps: Steps, *given: Array) -> tuple[Array, Array, Array]:
    y, highest, total = kernels().attend(steps)
    half = all(getattr(x, "dtype", None) == np.float16 for x in given)
    return (y.astype(np.float16) if half else y), highest, total


# In reverse ---------------------------------------------------------------------------------------


def attention_gradient(
    xp: Namespace,
    cotangent: Array,
    result: Array,
    q: Array,
    k: Array,
    v: Array,
    highest: Array,
    total: Array,
    mask: Array | None = None,
    *,
    causal: bool,
    scale: float | None,
    of_mask: bool,
) -> list[Array]:
    """The cotangents of q, k and v, before broadcasting; and that of the mask, if it is asked for.

    highest, total: what `scaled_dot_product_attention` says beside its result
    """
    task = _task(xp, q, k, v, mask, causal, scale)
    skips = kernels().can_skip(xp, task, task.q, task.k, cotangent, result)
    return _reverse(
        kernels().Steps(xp, task, skips=skips), cotangent, result, highest, total, mask, of_mask
    )


_GRADIENT = Primitive(attention_gradient, differentiable=False, several=True)


@_GRADIENT.on("numba")
def _gradient_fast(
    xp: Namespace,
    cotangent: Array,
    result: Array,
    q: Array,
    k: Array,
    v: Array,
    highest: Array,
    total: Array,
    mask: Array | None = None,
    *,
    causal: bool,
    scale: float | None,
    of_mask: bool,
) -> list[Array]:
    task = _task(xp, q, k, v, mask, causal, scale)
    steps = _fast_steps(task, task.q, task.k, cotangent, result)
    return _reverse(steps, cotangent, result, highest, total, mask, of_mask)


@_GRADIENT.on("cuda")
def _gradient_on_device(
    xp: Namespace,
    cotangent: Array,
    result: Array,
    q: Array,
    k: Array,
    v: Array,
    highest: Array,
    total: Array,
    mask: Array | None = None,
    *,
    causal: bool,
    scale: float | None,
    of_mask: bool,
) -> list[Array]:
    steps = kernels().Steps(xp, _task(xp, q, k, v, mask, causal, scale), room=ON_DEVICE)
    return _reverse(steps, cotangent, result, highest, total, mask, of_mask)


def _reverse(
    steps: Steps,
    g: Array,
    y: Array,
    highest: Array,
    total: Array,
    mask: Array | None,
    of_mask: bool,
) -> list[Array]:
    dtype = steps.task.q.dtype
    g, y = (x.astype(dtype, copy=False) for x in (g, y))
    shape = mask.shape if of_mask and mask is not None else None
    return kernels().attend_in_reverse(steps, g, y, highest, total, shape)


@scaled_dot_product_attention.joint_vjp("q", "k", "v", "mask")
def _attention_rule(
    g: Array,
    y: Array,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    highest: Array,
    total: Array,
    causal: bool,
    scale: float | None,
    wanted: tuple[bool, ...],
) -> tuple[Array | None, ...]:
    if _is_unrecorded(g, y, q, k, v, mask):
        settings = {"causal": causal, "scale": scale, "of_mask": wanted[3]}
        found = apply(_GRADIENT, (g, y, q, k, v, highest, total, mask), settings)
        return tuple(found) if wanted[3] else (*found, None)
    weights, q = _weights(q, k, mask, causal, scale)
    g, k, v = (e.widen_half(x) for x in (g, k, v))
    by_weights = matmul(g, _turned(v))
    mean = r.sum(weights * by_weights, axis=-1, keepdims=True)
    slopes = _hidden(weights * (by_weights - mean), mask, causal, 0)
    by_q = matmul(slopes, k) * _scale(q, scale)
    return by_q, matmul(_turned(slopes), q), matmul(_turned(weights), g), slopes


def _is_unrecorded(*values: Any) -> bool:
    """Whether no derivative of the rule is recorded or batched."""
    if interpreter() is not None:
        return False
    return not is_recording() or not any(isinstance(x, Tensor) and x.tracked for x in values)


# As a composition ---------------------------------------------------------------------------------


def _scale(q: Array, scale: float | None) -> float:
    if scale is None:
        return 1 / math.sqrt(q.shape[-1] or 1)
    return float(as_constant(scale, "scale"))


def _turned(x: Array) -> Array:
    return s.swapaxes(x, -1, -2)


def _hidden(scores: Array, mask: Array | None, causal: bool, value: float) -> Array:
    """The scores, with a value where a mask of booleans or the causal one hides them."""
    if mask is not None and mask.dtype == bool:
        scores = e.where(mask, value, scores)
    if causal:
        later = np.triu(np.ones(scores.shape[-2:], bool), k=1)
        scores = e.where(device_array(later, scores), value, scores)
    return scores


def _weights(
    q: Array, k: Array, mask: Array | None, causal: bool, scale: float | None
) -> tuple[Array, Array]:
    """(the weights (…, L, S) by which v is averaged, q · scale)."""
    q = e.widen_half(q) * _scale(q, scale)
    scores = matmul(q, _turned(e.widen_half(k)))
    if mask is not None and mask.dtype != bool:
        scores = scores + e.cast(mask, dtype=scores.dtype)
    return softmax(_hidden(scores, mask, causal, -math.inf), axis=-1), q


def _push(
    by_scores: Array, q: Array, k: Array, v: Array, mask: Array | None, causal: bool, scale: Any
) -> Array:
    """The tangent of the result, from that of the scores."""
    weights, _ = _weights(q, k, mask, causal, scale)
    moved = weights * _hidden(by_scores, mask, causal, 0)
    return matmul(moved - weights * r.sum(moved, axis=-1, keepdims=True), v)


scaled_dot_product_attention.jvp(
    q=lambda t, q, k, v, mask, causal, scale: _push(
        matmul(e.widen_half(t) * _scale(q, scale), _turned(k)), q, k, v, mask, causal, scale
    ),
    k=lambda t, q, k, v, mask, causal, scale: _push(
        matmul(e.widen_half(q) * _scale(q, scale), _turned(t)), q, k, v, mask, causal, scale
    ),
    v=lambda t, q, k, mask, causal, scale: matmul(_weights(q, k, mask, causal, scale)[0], t),
    mask=lambda t, q, k, v, mask, causal, scale: _push(t, q, k, v, mask, causal, scale),
)


@scaled_dot_product_attention.batch
def _attention_batch(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    causal: bool,
    scale: float | None,
    batched: tuple[bool, ...],
) -> tuple[Any, ...]:
    given = [(x, b) for x, b in zip((q, k, v, mask), batched, strict=True) if x is not None]
    ndim = max(ndim_of(x, b) for x, b in given)
    aligned = [align_samples(x, ndim) if b else x for x, b in given]
    return scaled_dot_product_attention.with_aux(*aligned, causal=causal, scale=scale)
