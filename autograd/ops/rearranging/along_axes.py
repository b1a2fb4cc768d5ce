"""A function applied to every vector along an axis, and one applied to axis after axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, normalize_axis

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Operand

__all__ = ["apply_along_axis", "apply_over_axes"]


@composite(numpy=np.apply_along_axis)
def apply_along_axis(
    func1d: Callable[..., Operand], axis: int, arr: Operand, *args: Any, **kwargs: Any
) -> Tensor:
    """func1d of every vector along `axis`; the axes of its result stand where that axis stood.

    Raises ShapeError where there is no vector, since the shape of func1d's result is not known.
    """
    arr = as_operand(arr)
    axis = normalize_axis(axis, arr.ndim)
    moved = s.moveaxis(arr, axis, -1)
    outer = moved.shape[:-1]
    rows = s.reshape(moved, (math.prod(outer), moved.shape[-1]))
    if not len(rows):
        raise ShapeError("apply_along_axis: there is no vector to apply the function to")
    results = [as_operand(func1d(row, *args, **kwargs)) for row in rows]
    inner = tuple(results[0].shape)
    y = s.reshape(s.stack(results), (*outer, *inner))
    return s.moveaxis(
        y,
        tuple(range(len(outer), len(outer) + len(inner))),
        tuple(range(axis, axis + len(inner))),
    )


@composite(numpy=np.apply_over_axes)
def apply_over_axes(
    func: Callable[[Tensor, int], Tensor], a: Operand, axes: int | Sequence[int]
) -> Tensor:
    """func(a, axis) for one axis after the other, each result with the axis kept."""
    a = as_operand(a)
    for axis in (axes,) if isinstance(axes, int) else axes:
        y = func(a, axis)
        a = y if y.ndim == a.ndim else s.expand_dims(y, normalize_axis(axis, a.ndim))
    return a
