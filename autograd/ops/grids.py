"""Grids between two ends: equal steps, powers, equal ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, device_array

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Operand

__all__ = ["geomspace", "linspace", "logspace"]


@composite(numpy=np.linspace)
def linspace(
    start: Operand, stop: Operand, num: int = 50, endpoint: bool = True, *, axis: int = 0
) -> Tensor:
    """`num` points from start to stop in equal steps, along a new axis."""
    start, stop = as_operand(start) * 1.0, as_operand(stop) * 1.0
    like = start if hasattr(start, "tracked") else stop
    steps = num - 1 if endpoint else num
    shares = np.arange(num) / steps if steps > 0 else np.zeros(num)
    shape = np.broadcast_shapes(tuple(start.shape), tuple(stop.shape))
    dtype = np.result_type(start.dtype, stop.dtype)
    share = device_array(shares.reshape((-1,) + (1,) * len(shape)).astype(dtype), like)
    y = start + (stop - start) * share
    if endpoint and num > 1:
        last = s.broadcast_to(s.expand_dims(stop, 0), (1, *shape)) if shape else stop.reshape(1)
        y = s.concatenate([y[:-1], last], 0)
    return s.moveaxis(y, 0, axis) if axis else y


@composite(numpy=np.logspace)
def logspace(
    start: Operand,
    stop: Operand,
    num: int = 50,
    endpoint: bool = True,
    base: Operand = 10.0,
    *,
    axis: int = 0,
) -> Tensor:
    """base^x for x in `linspace`.

    Raises TypeError for an array as base.
    """
    if np.ndim(base):
        raise TypeError("numpy.logspace on a Tensor: an array as base is not supported")
    return e.power(base, linspace(start, stop, num, endpoint, axis=axis))


@composite(numpy=np.geomspace)
def geomspace(
    start: Operand, stop: Operand, num: int = 50, endpoint: bool = True, *, axis: int = 0
) -> Tensor:
    """`num` points from start to stop in equal ratios, both of one sign; complex ones on a spiral.

    Both are turned until start is positive, and the points are turned back.
    """
    start, stop = as_operand(start), as_operand(stop)
    sign = e.sign(start)
    start, stop = start / sign, stop / sign
    y = e.power(10.0, linspace(e.log10(start), e.log10(stop), num, endpoint))
    if num > 0:
        first = s.expand_dims(s.broadcast_to(start * 1.0, tuple(y.shape[1:])), 0)
        y = s.concatenate([first, y[1:]], 0)
    if endpoint and num > 1:
        last = s.expand_dims(s.broadcast_to(stop * 1.0, tuple(y.shape[1:])), 0)
        y = s.concatenate([y[:-1], last], 0)
    y = y * sign
    return s.moveaxis(y, 0, axis) if axis else y
