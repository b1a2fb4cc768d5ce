"""The same entries in another order: rolled, turned, reversed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, axis_of, value_of
from tapegrad.autograd.ops.batch_rules import shifted

__all__ = [
    "fliplr",
    "flipud",
    "matrix_transpose",
    "roll",
    "rolled",
    "rollaxis",
    "rot90",
]


@primitive
def rolled(xp: Any, x: Any, *, shift: Any, axis: Any) -> Any:
    """The entries moved `shift` places along `axis`, round the end; ints or tuples of them."""
    if type(shift) is not int or type(axis) is not int or not -x.ndim <= axis < x.ndim:
        return xp.roll(x, shift, axis)
    n = x.shape[axis]
    start = -shift % n if n else 0
    before = (slice(None),) * (axis % x.ndim)
    return xp.concatenate((x[(*before, slice(start, n))], x[(*before, slice(start))]), axis)


def _back(shift: Any) -> Any:
    return tuple(-n for n in shift) if isinstance(shift, tuple) else -shift


rolled.vjp(x=lambda g, shift, axis: rolled(g, _back(shift), axis))


@rolled.batch
def _rolled_batch(x: Any, shift: Any, axis: Any) -> Any:
    if axis is not None:
        return rolled(x, shift, shifted(axis, x.ndim - 1))
    flat = s.reshape(x, (x.shape[0], math.prod(x.shape[1:])))
    return s.reshape(rolled(flat, shift, 1), x.shape)


@composite(numpy=np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """The entries moved `shift` places along `axis`, round the end; of the flattened if None."""
    if type(shift) is not int:
        held = value_of(as_operand(shift))
        shift = tuple(map(int, held)) if held.ndim else int(held)
    return rolled(a, shift, tuple(axis) if isinstance(axis, list) else axis)


@composite(numpy=np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """x with `axis` moved back until it stands before the axis `start`."""
    axis = axis_of(axis, a.ndim)
    start = start + a.ndim if start < 0 else start
    return s.moveaxis(a, axis, start - 1 if axis < start else start)


@composite(numpy=np.rot90)
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """x turned k quarters from the first of `axes` towards the second."""
    first, second = (axis_of(a, m.ndim) for a in axes)
    if k % 4 == 0:
        return s.copy(m)
    if k % 4 == 2:
        return s.flip(m, (first, second))
    if k % 4 == 1:
        return s.swapaxes(s.flip(m, second), first, second)
    return s.flip(s.swapaxes(m, first, second), second)


@composite(numpy=np.fliplr)
def fliplr(m: Any) -> Any:
    """x reversed along its second axis."""
    return s.flip(m, 1)


@composite(numpy=np.flipud)
def flipud(m: Any) -> Any:
    """x reversed along its first axis."""
    return s.flip(m, 0)


@composite(numpy=(np.matrix_transpose, np.linalg.matrix_transpose))
def matrix_transpose(x: Any) -> Any:
    """x with its last two axes exchanged."""
    return s.swapaxes(x, -1, -2)
