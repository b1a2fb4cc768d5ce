"""The same entries in another order: rolled, rotated, reversed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, normalize_axis, value_of
from tapegrad.autograd.ops.batch_rules import axis_in_batch
from tapegrad.autograd.ops.indexing import take_slice

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Axes, Namespace, Operand

__all__ = [
    "fliplr",
    "flipud",
    "matrix_transpose",
    "roll",
    "roll_entries",
    "rollaxis",
    "rot90",
]


@primitive
def roll_entries(xp: Namespace, x: Array, *, shift: int | tuple[int, ...], axis: Axes) -> Array:
    """x[(i - shift) mod n] at index i along `axis` of length n; ints, or tuples of them."""
    if type(shift) is not int or type(axis) is not int or not -x.ndim <= axis < x.ndim:
        return xp.roll(x, shift, axis)
    n = x.shape[axis]
    start = -shift % n if n else 0
    before = (slice(None),) * (axis % x.ndim)
    return xp.concatenate((x[(*before, slice(start, n))], x[(*before, slice(start))]), axis)


def _negate_shift(shift: int | tuple[int, ...]) -> int | tuple[int, ...]:
    return tuple(-n for n in shift) if isinstance(shift, tuple) else -shift


roll_entries.vjp(x=lambda g, shift, axis: roll_entries(g, _negate_shift(shift), axis))
roll_entries.jvp(x=lambda t, shift, axis: roll_entries(t, shift, axis))


@roll_entries.batch
def _rolled_batch(x: Array, shift: int | tuple[int, ...], axis: Axes) -> Array:
    if axis is not None:
        return roll_entries(x, shift, axis_in_batch(axis, x.ndim - 1))
    flat = s.reshape(x, (x.shape[0], math.prod(x.shape[1:])))
    return s.reshape(roll_entries(flat, shift, 1), x.shape)


@composite(numpy=np.roll)
def roll(a: Operand, shift: Operand, axis: Axes = None) -> Tensor:
    """x[(i - shift) mod n] at index i along `axis` of length n; of the flattened x if None."""
    if type(shift) is not int:
        shifts = value_of(as_operand(shift))
        shift = tuple(map(int, shifts)) if shifts.ndim else int(shifts)
    return roll_entries(a, shift, tuple(axis) if isinstance(axis, list) else axis)


@composite(numpy=np.rollaxis)
def rollaxis(a: Operand, axis: int, start: int = 0) -> Tensor:
    """x with `axis` moved back until it stands before the axis `start`."""
    a = as_operand(a)
    axis = normalize_axis(axis, a.ndim)
    start = start + a.ndim if start < 0 else start
    return s.moveaxis(a, axis, start - 1 if axis < start else start)


@composite(numpy=np.rot90)
def rot90(m: Operand, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Tensor:
    """x rotated by k quarter turns from the first of `axes` towards the second."""
    m = as_operand(m)
    first, second = (normalize_axis(a, m.ndim) for a in axes)
    if k % 4 == 0:
        return take_slice(m, (...,))  # a view, as the other turns are
    if k % 4 == 2:
        return s.flip(m, (first, second))
    if k % 4 == 1:
        return s.swapaxes(s.flip(m, second), first, second)
    return s.flip(s.swapaxes(m, first, second), second)


@composite(numpy=np.fliplr)
def fliplr(m: Operand) -> Tensor:
    """x reversed along its second axis."""
    return s.flip(m, 1)


@composite(numpy=np.flipud)
def flipud(m: Operand) -> Tensor:
    """x reversed along its first axis."""
    return s.flip(m, 0)


@composite(numpy=(np.matrix_transpose, np.linalg.matrix_transpose))
def matrix_transpose(x: Operand) -> Tensor:
    """x with its last two axes exchanged."""
    return s.swapaxes(x, -1, -2)
