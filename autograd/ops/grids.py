"""Grids between two ends: equal steps, powers, equal ratios."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.mode import is_followed
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, device_array
from tapegrad.autograd.ops.conversion import to_device

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, DTypeLike, Operand
    from tapegrad.devices import Device

__all__ = ["geomspace", "linspace", "logspace"]


def _points(
    start: Array, stop: Array, num: int, endpoint: bool, axis: int, dtype: DTypeLike | None
) -> tuple[Array, Array]:
    """(`num` points along a new axis, the step between them), as NumPy rounds them."""
    num = operator.index(num)
    if num < 0:
        raise ValueError(f"linspace: the number of points is {num}, which is negative")
    target = np.result_type(start.dtype, stop.dtype)
    start, stop = start * 1.0, stop * 1.0
    like = start if isinstance(start, Tensor) else stop
    steps = num - 1 if endpoint else num
    difference = stop - start
    ndim = difference.ndim
    common = np.result_type(start.dtype, stop.dtype)
    numbers = np.arange(num).reshape((-1,) + (1,) * ndim).astype(common)
    k = device_array(numbers, like)
    if steps > 0:
        step = difference / steps
        y = k * step
        # where a step underflows to 0, dividing first keeps the points apart
        y = e.where(r.any(e.equal(step, 0)), k / steps * difference, y)
    else:
        step = difference * np.nan
        y = k * difference
    y = y + start
    if endpoint and num > 1:
        last = s.broadcast_to(s.expand_dims(stop, 0), (1, *y.shape[1:]))
        y = s.concatenate([y[:-1], last], 0)
    y = s.moveaxis(y, 0, axis) if axis else y
    if dtype is None:
        dtype = target if target.kind in "fc" else y.dtype
    if np.dtype(dtype) == y.dtype:
        return y, step
    return (y if np.dtype(dtype).kind in "fc" else e.floor(y)).astype(dtype), step


@composite(numpy=np.linspace)
def linspace(
    start: Operand,
    stop: Operand,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: DTypeLike | None = None,
    axis: int = 0,
    *,
    device: Device | str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """`num` points from start to stop in equal steps, along a new axis.

    retstep: return the step too
    dtype:   integers are rounded down, as in NumPy, and have no derivative
    Raises ValueError for a negative num.
    """
    y, step = _points(as_operand(start), as_operand(stop), num, endpoint, axis, dtype)
    y = y if device is None else to_device(y, device=device)
    return (y, step) if retstep else y


@composite(numpy=np.logspace)
def logspace(
    start: Operand,
    stop: Operand,
    num: int = 50,
    endpoint: bool = True,
    base: Operand = 10.0,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> Tensor:
    """base^x for x in `linspace`; an array of bases broadcasts with start and stop."""
    start, stop = as_operand(start), as_operand(stop)
    if np.ndim(base):
        base = as_operand(base)
        ndim = max(start.ndim, stop.ndim, base.ndim)
        start, stop, base = (
            s.reshape(x, (1,) * (ndim - x.ndim) + tuple(x.shape)) for x in (start, stop, base)
        )
        base = s.expand_dims(base, axis)
    y = e.power(base, _points(start, stop, num, endpoint, axis, None)[0])
    return y if dtype is None or np.dtype(dtype) == y.dtype else y.astype(dtype)


@composite(numpy=np.geomspace)
def geomspace(
    start: Operand,
    stop: Operand,
    num: int = 50,
    endpoint: bool = True,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> Tensor:
    """`num` points from start to stop in equal ratios, both of one sign; complex ones on a spiral.

    Both are turned until start is positive, and the points are turned back.
    Raises ValueError where one end is 0.
    """
    start, stop = as_operand(start), as_operand(stop)
    if not is_followed() and bool(r.any(e.logical_or(e.equal(start, 0), e.equal(stop, 0)))):
        raise ValueError("geomspace: an end is 0, and no ratio leads there")
    common = np.result_type(start.dtype, stop.dtype, 1.0, np.zeros((), dtype))
    start, stop = (x if x.dtype == common else x.astype(common) for x in (start, stop))
    sign = e.sign(start)
    start, stop = start / sign, stop / sign
    y = e.power(10.0, _points(e.log10(start), e.log10(stop), num, endpoint, 0, None)[0])
    if num > 0:
        first = s.expand_dims(s.broadcast_to(start, tuple(y.shape[1:])), 0)
        y = s.concatenate([first, y[1:]], 0)
    if endpoint and num > 1:
        last = s.expand_dims(s.broadcast_to(stop, tuple(y.shape[1:])), 0)
        y = s.concatenate([y[:-1], last], 0)
    y = y * sign
    y = s.moveaxis(y, 0, axis) if axis else y
    target = common if dtype is None else np.dtype(dtype)
    return y if y.dtype == target else y.astype(target)
