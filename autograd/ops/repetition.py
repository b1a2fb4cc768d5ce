"""Composites that repeat entries: np.pad with its modes, np.repeat, np.tile."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.tensor import Tensor, array_of
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import (
    as_operand,
    device_array,
    is_fortran,
    normalize_axis,
    value_of,
)
from tapegrad.autograd.ops.indexing import take

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Operand

__all__ = ["repeat", "tile"]

_BY_INDEX = ("edge", "reflect", "symmetric", "wrap")


@composite(numpy=np.pad)
def numpy_pad(
    array: Operand,
    pad_width: int | Sequence[Any] | dict[int, Any],
    mode: str = "constant",
    constant_values: Operand = 0,
) -> Tensor:
    """NumPy's pad with one value, a number or Tensor, or in the modes "edge", "reflect",
    "symmetric" and "wrap".
    """
    array = as_operand(array)
    if isinstance(pad_width, dict):
        by_axis = {normalize_axis(a, array.ndim): w for a, w in pad_width.items()}
        pad_width = [by_axis.get(i, (0, 0)) for i in range(array.ndim)]
        pad_width = [(w, w) if isinstance(w, int) else w for w in pad_width]
    widths = np.broadcast_to(np.asarray(pad_width), (array.ndim, 2))
    pairs = tuple((int(b), int(a)) for b, a in widths)
    if array.ndim > 1 and is_fortran(array):  # as NumPy lays the result out
        turned = numpy_pad(s.transpose(array), pairs[::-1], mode, constant_values)
        return s.transpose(turned)
    if mode == "constant" and not np.ndim(constant_values):
        if not isinstance(constant_values, Tensor):
            return s.pad(array, pairs, constant_values)
        inside = device_array(np.pad(np.ones(array.shape, bool), pairs), array)
        value = e.cast(constant_values, dtype=array.dtype)
        return e.where(inside, s.pad(array, pairs, 0), value)
    if mode not in _BY_INDEX:
        raise TypeError(
            f"np.pad on a Tensor: mode={mode!r} is not supported, or not with several values"
        )
    for axis, pair in enumerate(pairs):
        if pair != (0, 0):
            xp = devices.namespace(array_of(array) if isinstance(array, Tensor) else array)
            order = np.pad(np.arange(array.shape[axis]), pair, mode=mode)  # type: ignore[call-overload]  # one of four modes
            array = take(array, xp.asarray(order), axis)
    return s.copy(array) if not any(width for pair in pairs for width in pair) else array


@composite(numpy=np.repeat)
def repeat(x: Operand, repeats: int | Array, axis: int | None = None) -> Tensor:
    """Each entry of x `repeats` times in a row along `axis`; flattened when None.

    repeats: one number, or one for each index along the axis
    """
    x = as_operand(x)
    if axis is None:
        x, axis = s.ravel(x), 0
    axis = normalize_axis(axis, x.ndim)
    if np.ndim(repeats):
        return take(
            x, device_array(np.repeat(np.arange(x.shape[axis]), value_of(repeats)), x), axis
        )
    shape = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
    wide = s.broadcast_to(s.expand_dims(x, axis + 1), shape)
    y = s.reshape(wide, (*x.shape[:axis], x.shape[axis] * repeats, *x.shape[axis + 1 :]))
    return s.with_own_memory(y, x)


@composite(numpy=np.tile)
def tile(x: Operand, reps: int | Sequence[int]) -> Tensor:
    """x laid out `reps` times along each axis."""
    x = as_operand(x)
    times = tuple(map(operator.index, np.atleast_1d(value_of(reps))))
    ndim = max(x.ndim, len(times))
    if set(times) <= {1}:
        return s.copy(s.reshape(x, (1,) * (ndim - x.ndim) + x.shape), "K")
    lengths = (1,) * (ndim - x.ndim) + x.shape
    times = (1,) * (ndim - len(times)) + times
    interleaved = tuple(n for pair in zip((1,) * ndim, lengths, strict=True) for n in pair)
    wide = tuple(n for pair in zip(times, lengths, strict=True) for n in pair)
    y = s.broadcast_to(s.reshape(x, interleaved), wide)
    y = s.reshape(y, tuple(t * n for t, n in zip(times, lengths, strict=True)))
    return s.with_own_memory(y, x)
