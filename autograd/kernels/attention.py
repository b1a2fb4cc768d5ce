"""Attention without the matrix of scores: softmax(q kᵀ · scale + mask) v, by blocks, both ways.

A block is some queries against some keys.  Rows of scores are never whole: a row remembers the
largest score so far, and the sum of e^(score - largest) so far; where a later block has a larger
score, what was summed is scaled down.  The reverse pass computes the blocks again from these two
numbers, so memory grows with the length of the sequences and not with its square.

How a block is worked on is in `Steps`, for any array library; `CompiledSteps` has machine code.
Where blocks begin depends on shapes alone, and each piece of work writes to places of its own: so
bits do not depend on the number of threads.
Source: T. Dao et al., "FlashAttention: fast and memory-efficient exact attention with
IO-awareness", 2022, algorithms 1 and 4; M. Milakov, N. Gimelshein, "Online normalizer calculation
for softmax", 2018, algorithm 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product as all_pairs
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.addresses import address
from tapegrad.autograd.kernels.attention_code import sloping_kernel, weighing_kernel
from tapegrad.autograd.kernels.products import matmul
from tapegrad.autograd.kernels.threads import run_pieces, scratch_arrays

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = [
    "CompiledSteps",
    "Steps",
    "Task",
    "attend",
    "attend_in_reverse",
    "can_skip",
    "compiled_steps",
]

Shape = tuple[int, ...]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
QUERIES, KEYS = 256, 512  # of a block
ROOM = 2**19  # bytes of a block of scores: two of them fit the cache of a core


class Task(NamedTuple):
    """The arrays of a call, all with the axes `lead` before their last two.

    mask:   booleans, True for what must not be seen, or floats to be added; or None
    causal: whether key number s is hidden from the queries before number s
    """

    q: Array
    k: Array
    v: Array
    mask: Array | None
    causal: bool
    scale: float
    lead: Shape

    @classmethod
    def of(
        cls, xp: Namespace, q: Array, k: Array, v: Array, mask: Array | None, **rest: Any
    ) -> Task:
        """The task of arrays that broadcast."""
        lead = rest["lead"]
        q, k, v = (xp.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (q, k, v))
        if mask is not None:
            mask = xp.broadcast_to(mask, (*lead, q.shape[-2], k.shape[-2]))
        return cls(q, k, v, mask, **rest)


def _slices(length: int, size: int) -> list[slice]:
    return [slice(i, min(i + size, length)) for i in range(0, length, size)]


class Steps:
    """How blocks are cut and worked on: by plain array code.

    skips: whether blocks that a causal mask hides are left out (`can_skip`)
    room:  bytes of a block of scores, `ROOM` when None
    """

    hides_later = False  # whether `weigh` and `slopes` heed a causal mask

    def __init__(
        self, xp: Namespace, task: Task, *, skips: bool = False, room: int | None = None
    ) -> None:
        self.xp, self.task, self.skips = xp, task, skips
        count, length = task.q.shape[-2], task.k.shape[-2]
        high, wide = min(max(count, 1), QUERIES), min(length, QUERIES if task.causal else KEYS)
        entries, looped = (room or ROOM) // task.q.dtype.itemsize, 0
        while looped < len(task.lead) and math.prod(task.lead[looped:]) * high * wide > entries:
            looped += 1
        self.batch = task.lead[looped:]
        high *= max(entries // (math.prod(self.batch) * high * wide or 1), 1)
        self.places: list[Shape] = list(all_pairs(*map(range, task.lead[:looped])))
        self.queries, self.keys = _slices(count, high), _slices(length, wide)
        self.size = min(high, count), wide

    def run(self, function: Callable[[int], object], count: int) -> None:
        """Run function(0), …, function(count - 1)."""
        for number in range(count):
            function(number)

    def product(self, x1: Array, x2: Array, room: int) -> Array:
        """x1 x2, which lasts until the next product in the same room."""
        return self.xp.matmul(x1, x2)

    def add_product(self, into: Array, x1: Array, x2: Array, *, first: bool) -> None:
        """Add x1 x2 to an array, which is not read if this is the first."""
        if first:
            into[...] = self.xp.matmul(x1, x2)
        else:
            into += self.xp.matmul(x1, x2)

    def dots(self, x1: Array, x2: Array) -> Array:
        """Σ x1 · x2 over the last axis, which stays."""
        return self.xp.sum(x1 * x2, axis=-1, keepdims=True)

    def scaled(self, at: Shape, rows: slice) -> Array:
        """Some queries times the scale, until the next."""
        return self.task.q[at][..., rows, :] * self.task.scale

    def begin(self, rows: slice) -> tuple[Array, Array]:
        """(high, total) of rows that have seen no key.

        high is the lowest number and not -inf: so e^(-inf - high) is 0, while scores count that a
        mask has made that low.
        """
        shape, dtype = (*self.batch, rows.stop - rows.start, 1), self.task.q.dtype
        lowest = float(np.finfo(dtype).min)
        return self.xp.full(shape, lowest, dtype), self.xp.zeros(shape, dtype)

    def weigh(
        self, s: Array, high: Array, total: Array, seen: int
    ) -> tuple[Array, Array, Array, Array]:
        """(e^(s - high), high, total, share): a block of scores s renews high and total.

        seen:  how many keys the first query sees by a causal mask, the next one more, …
        share: what the sums so far are to be multiplied by
        """
        xp = self.xp
        most = xp.maximum(high, xp.max(s, axis=-1, keepdims=True))
        weights, share = xp.exp(s - most), xp.exp(high - most)
        return weights, most, total * share + xp.sum(weights, axis=-1, keepdims=True), share

    def slopes(
        self, s: Array, slopes: Array, high: Array, total: Array, mean: Array, seen: int
    ) -> tuple[Array, Array]:
        """(the weights of scores s, the slopes of scores by those of weights).

        mean: Σ weight · slope of whole rows; where a block has these, its own sum is exact where
              one weight is nearly 1
        """
        weights = self.xp.exp(s - high) / total
        if len(self.keys) == 1:
            mean = self.xp.sum(weights * slopes, axis=-1, keepdims=True)
        return weights, weights * (slopes - mean)

    def seen(self, rows: slice, columns: slice) -> int:
        """How many of the keys the first of the queries sees, before other masks than `hide`'s."""
        return rows.start + 1 - columns.start if self.hides_later else columns.stop

    def hide(
        self, s: Array, at: Shape, rows: slice, columns: slice, *, slopes: bool = False
    ) -> Array:
        """Scores with what the masks say; or slopes of scores, 0 where no score was seen."""
        mask, dtype = self.task.mask, s.dtype
        hidden = dtype.type(0 if slopes else -np.inf)
        if mask is not None:
            part = mask[at][..., rows, columns]
            if part.dtype == bool:
                s = self.choose(part, hidden, s)
            elif not slopes:
                s += part
        if self.task.causal and not self.hides_later and columns.stop - 1 > rows.start:
            steps = self.xp.arange(max(rows.stop, columns.stop))
            s = self.choose(steps[columns] > steps[rows, None], hidden, s)
        return s

    def choose(self, where: Array, value: Any, s: Array) -> Array:
        """s, with a value where something holds."""
        return self.xp.where(where, value, s)


class CompiledSteps(Steps):
    """The same by machine code, in memory that a thread keeps."""

    def __init__(self, task: Task, *, skips: bool) -> None:
        super().__init__(np, task, skips=skips)
        self.hides_later = skips
        self.dtype = task.q.dtype
        count, (high, wide) = math.prod(self.batch), self.size
        d, e = task.q.shape[-1], task.v.shape[-1]
        sizes = high * wide, high * max(wide, e), max(high, wide) * max(d, e), high * d
        self.rooms = [(count * size,) for size in sizes]

    def run(self, function: Callable[[int], object], count: int) -> None:
        """Run the pieces on threads."""
        run_pieces(function, count)

    def _room(self, number: int, shape: Shape) -> np.ndarray[Any, Any]:
        whole = scratch_arrays(self.dtype, *self.rooms)[number]
        return whole[: math.prod(shape)].reshape(shape)

    def product(self, x1: Array, x2: Array, room: int) -> Array:
        """As of `Steps`."""
        return matmul(x1, x2, out=self._room(room, (*x1.shape[:-1], x2.shape[-1])))

    def add_product(self, into: Array, x1: Array, x2: Array, *, first: bool) -> None:
        """As of `Steps`."""
        if first:
            matmul(x1, x2, out=into)
        else:
            into += self.product(x1, x2, 2)

    def dots(self, x1: Array, x2: Array) -> Array:
        """As of `Steps`."""
        return np.einsum("...i,...i->...", x1, x2)[..., None]

    def scaled(self, at: Shape, rows: slice) -> Array:
        """As of `Steps`."""
        q = self.task.q[at][..., rows, :]
        return np.multiply(q, self.task.scale, out=self._room(3, q.shape))

    def weigh(
        self, s: Array, high: Array, total: Array, seen: int
    ) -> tuple[Array, Array, Array, Array]:
        """As of `Steps`, in place."""
        share = np.empty_like(high)
        places = address(high), address(total), address(share)
        weighing_kernel(self.dtype)(address(s), *self._matrices(s), seen, *places)
        return s, high, total, share

    def slopes(
        self, s: Array, slopes: Array, high: Array, total: Array, mean: Array, seen: int
    ) -> tuple[Array, Array]:
        """As of `Steps`, in place."""
        rows = [np.ascontiguousarray(x) for x in (high, 1 / total, mean)]
        run, places = sloping_kernel(self.dtype, len(self.keys) == 1), map(address, rows)
        run(address(s), address(slopes), *self._matrices(s), seen, *places)
        return s, slopes

    def _matrices(self, s: Array) -> tuple[int, int, int]:
        """How many matrices s has, and their rows and columns."""
        return math.prod(self.batch), s.shape[-2], s.shape[-1]

    def choose(self, where: Array, value: Any, s: Array) -> Array:
        """As of `Steps`, in place."""
        np.copyto(s, value, where=where)
        return s


def can_skip(xp: Namespace, task: Task, *others: Array) -> bool:
    """Whether what a causal mask hides adds nothing: if all is finite, for 0 · NaN is not 0.

    others: what the reverse pass reads beside v
    """
    return task.causal and all(bool(xp.isfinite(x).all()) for x in (task.v, *others))


def compiled_steps(task: Task, *, skips: bool) -> CompiledSteps | None:
    """Steps by machine code for NumPy's float32 and float64; None for other arrays."""
    if task.q.dtype not in FLOATS or not task.q.dtype.isnative or not machine.is_available():
        return None
    return CompiledSteps(task, skips=skips)


def attend(steps: Steps) -> tuple[Array, Array, Array]:
    """The result (…, L, e) of attention; and (…, L, 1) the largest score and Σ e^(score - largest).

    The latter two are what `attend_in_reverse` needs to know of the scores.
    """
    xp, task = steps.xp, steps.task
    shape, dtype = (*task.lead, task.q.shape[-2]), task.q.dtype
    y = xp.empty((*shape, task.v.shape[-1]), dtype)
    highs, totals = xp.empty((*shape, 1), dtype), xp.empty((*shape, 1), dtype)
    pieces = list(all_pairs(steps.places, steps.queries))

    def piece(number: int) -> None:
        at, rows = pieces[number]
        high, total = steps.begin(rows)
        q, mixed = steps.scaled(at, rows), None
        for columns in steps.keys:
            if steps.skips and columns.start >= rows.stop:
                break
            s = steps.product(q, _turned(task.k[at][..., columns, :]), 0)
            s = steps.hide(s, at, rows, columns)
            seen = steps.seen(rows, columns)
            weights, high, total, share = steps.weigh(s, high, total, seen)
            v = task.v[at][..., columns, :]
            if mixed is None:
                mixed = steps.product(weights, v, 1)
            else:
                mixed *= share
                mixed += steps.product(weights, v, 2)
        total = xp.where(total == 0, np.nan, total)  # of a query that sees no key
        y[at][..., rows, :] = mixed / total
        highs[at][..., rows, :], totals[at][..., rows, :] = high, total

    steps.run(piece, len(pieces))
    return y, highs, totals


def attend_in_reverse(
    steps: Steps, g: Array, y: Array, highs: Array, totals: Array, bias_shape: Shape | None = None
) -> list[Array]:
    """The cotangents of q, k and v from that of y, before broadcasting; and that of a mask.

    bias_shape: the mask's shape, if its cotangent is asked for; it is one of floats
    """
    xp, task, dtype = steps.xp, steps.task, steps.task.q.dtype
    by_q, by_k, by_v = (xp.empty(x.shape, dtype) for x in (task.q, task.k, task.v))
    means = steps.dots(g, y)
    by_bias = None
    if bias_shape is not None:
        own = (*(1,) * (len(task.lead) + 2 - len(bias_shape)), *bias_shape)
        by_bias = xp.zeros(own, dtype)

    def piece(number: int) -> None:
        at = steps.places[number]
        into = by_q[at]
        for columns in steps.keys:
            k, v = (x[at][..., columns, :] for x in (task.k, task.v))
            into_k, into_v = (x[at][..., columns, :] for x in (by_k, by_v))
            seeing = [r for r in steps.queries if not steps.skips or columns.start < r.stop]
            for rows in seeing:
                q, g_rows, first = steps.scaled(at, rows), g[at][..., rows, :], rows is seeing[0]
                s = steps.hide(steps.product(q, _turned(k), 0), at, rows, columns)
                high, total, mean = (x[at][..., rows, :] for x in (highs, totals, means))
                slopes, seen = steps.product(g_rows, _turned(v), 1), steps.seen(rows, columns)
                weights, slopes = steps.slopes(s, slopes, high, total, mean, seen)
                slopes = steps.hide(slopes, at, rows, columns, slopes=True)
                steps.add_product(into_v, _turned(weights), g_rows, first=first)
                steps.add_product(into_k, _turned(slopes), q, first=first)
                steps.add_product(into[..., rows, :], slopes, k, first=not columns.start)
                if by_bias is not None:
                    _add_to(
                        by_bias, slopes, (*at, *(slice(None),) * len(steps.batch), rows, columns)
                    )
            if not seeing:
                into_k[...] = into_v[...] = 0
        into *= task.scale

    if by_bias is None:
        steps.run(piece, len(steps.places))
        return [by_q, by_k, by_v]
    for number in range(len(steps.places)):  # all pieces may add to one bias
        piece(number)
    return [by_q, by_k, by_v, by_bias.reshape(bias_shape)]


def _add_to(total: Array, part: Array, place: tuple[Any, ...]) -> None:
    """Add a part of an array that broadcasting made from `total`; an int in `place` is one axis."""
    inside = tuple(
        (0 if isinstance(at, int) else slice(None)) if size == 1 else at
        for at, size in zip(place, total.shape, strict=True)
    )
    target = total[inside]
    axes = tuple(axis for axis in range(part.ndim) if target.shape[axis] == 1 < part.shape[axis])
    total[inside] += part.sum(axis=axes, keepdims=True) if axes else part


def _turned(x: Array) -> Array:
    """x with its last two axes exchanged."""
    return x.swapaxes(-1, -2)
