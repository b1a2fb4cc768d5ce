"""Differences, gradients, integrals and interpolation along an axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.core.mode import is_followed
from tapegrad.autograd.core.nesting import as_one_tensor
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import (
    as_floating,
    as_operand,
    device_array,
    normalize_axis,
    refuse_complex,
)
from tapegrad.autograd.ops.counting import searchsorted
from tapegrad.autograd.ops.indexing import getitem
from tapegrad.autograd.ops.sorting import argsort

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Axes, Operand

__all__ = ["diff", "ediff1d", "gradient", "interp", "trapezoid", "unwrap"]


def _slices(x: Array, axis: int, *bounds: tuple[int | None, int | None]) -> list[Array]:
    """The parts of x between pairs of bounds along `axis`."""
    before = (slice(None),) * axis
    return [x[(*before, slice(*bound))] for bound in bounds]


@composite(numpy=np.diff)
def diff(
    a: Operand,
    n: int = 1,
    axis: int = -1,
    prepend: Operand | None = None,
    append: Operand | None = None,
) -> Tensor:
    """The n-th differences of neighbours along `axis`.

    (…, m, …) -> (…, m - n, …).  Raises ValueError for a negative n.
    """
    a = as_operand(a)
    axis = normalize_axis(axis, a.ndim)
    if n < 0:
        raise ValueError(f"diff: the order {n} is negative")

    def end(x: Array) -> Array:
        x = as_operand(x)
        shape = tuple(1 if i == axis else m for i, m in enumerate(a.shape))
        return s.broadcast_to(x, shape) if x.ndim == 0 else x

    before, after = ([] if x is None else [end(x)] for x in (prepend, append))
    parts = [*before, a, *after]
    y = s.concatenate(parts, axis) if len(parts) > 1 else a
    for _ in range(n):
        later, earlier = _slices(y, axis, (1, None), (None, -1))
        y = later - earlier if y.dtype.kind != "b" else e.not_equal(later, earlier)
    return y


def _where_it_lives(numbers: Operand, like: Tensor) -> Array:
    """Numbers, or a list of them, in the dtype and on the device of `like`; a Tensor as it is."""
    array = as_operand(numbers)
    if isinstance(array, Tensor):
        return array
    return device_array(np.asarray(array, like.dtype), like)


@composite(numpy=np.ediff1d)
def ediff1d(ary: Operand, to_end: Operand | None = None, to_begin: Operand | None = None) -> Tensor:
    """The differences of neighbours in the flattened x, between `to_begin` and `to_end`."""
    y = s.ravel(as_operand(ary))
    y = y[1:] - y[:-1]
    parts = [to_begin, y, to_end]
    pieces = [
        s.ravel(p if hasattr(p, "dtype") else _where_it_lives(p, y)) for p in parts if p is not None
    ]
    return s.concatenate(pieces, 0) if len(pieces) > 1 else y


def _gradient_along(f: Array, spacing: Array, axis: int, edge_order: int) -> Array:
    """The differences of f along one axis over `spacing`: one step, or the coordinates."""
    n = f.shape[axis]
    if n < edge_order + 1:
        raise ShapeError(f"gradient: {n} points are too few for edge_order={edge_order}")
    shape = tuple(-1 if i == axis else 1 for i in range(f.ndim))
    spacing = as_one_tensor(spacing)
    if np.ndim(spacing):
        steps = diff(s.ravel(as_operand(spacing)))
        if steps.shape[0] != n - 1:
            raise ShapeError(f"gradient: {steps.shape[0] + 1} coordinates for {n} points")
        left, right = (s.reshape(h, shape) for h in (steps[:-1], steps[1:]))
        first, second, last = steps[0], steps[min(1, n - 2)], steps[-1]
        before_last = steps[max(0, n - 3)]
    else:
        left = right = first = second = last = before_last = spacing
    low, middle, high = _slices(f, axis, (0, n - 2), (1, n - 1), (2, n))
    if np.ndim(spacing):
        inner = (
            -(right / (left * (left + right))) * low
            + ((right - left) / (left * right)) * middle
            + (left / (right * (left + right))) * high
        )
    else:
        inner = (high - low) / (2 * spacing)

    def at(i: int) -> Array:
        return _slices(f, axis, (i, i + 1 if i != -1 else None))[0]

    if edge_order == 1:
        start, stop = (at(1) - at(0)) / first, (at(n - 1) - at(n - 2)) / last
    else:
        start = (
            -((2 * first + second) / (first * (first + second))) * at(0)
            + ((first + second) / (first * second)) * at(1)
            - (first / (second * (first + second))) * at(2)
        )
        stop = (
            (last / (before_last * (last + before_last))) * at(n - 3)
            - ((last + before_last) / (last * before_last)) * at(n - 2)
            + ((2 * last + before_last) / (last * (last + before_last))) * at(n - 1)
        )
    return s.concatenate([start, inner, stop], axis)


@composite(numpy=np.gradient)
def gradient(
    f: Operand, *varargs: Operand, axis: Axes = None, edge_order: int = 1
) -> Tensor | tuple[Tensor, ...]:
    """Central differences inside, one-sided ones at the ends, along each axis: a tuple, or one.

    varargs:    spacing, or coordinates, of every axis or of all
    edge_order: 1 or 2, the order of the differences at the ends
    Raises TypeError unless there is a spacing for each axis, or one for all.
    """
    f = as_floating(f)
    axes = r.normalize_axes(tuple(axis) if isinstance(axis, list) else axis, f.ndim)
    spacings = varargs or (1.0,)
    if len(spacings) == 1:
        spacings = spacings * len(axes)
    if len(spacings) != len(axes):
        raise TypeError(f"gradient: {len(spacings)} spacings for {len(axes)} axes")
    results = tuple(
        _gradient_along(f, spacing, along, edge_order)
        for spacing, along in zip(spacings, axes, strict=True)
    )
    return results[0] if len(results) == 1 else results


@composite(numpy=np.trapezoid)
def trapezoid(y: Operand, x: Operand | None = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    """∫ y along `axis` by the trapezoidal rule, at the points x, or in steps of dx."""
    y = as_operand(y)
    axis = normalize_axis(axis, y.ndim)
    step: Any = dx
    if x is not None:
        x = as_operand(x)
        step = diff(x, axis=0 if x.ndim == 1 else axis)
        if x.ndim == 1:
            step = s.reshape(step, tuple(-1 if i == axis else 1 for i in range(y.ndim)))
    later, earlier = _slices(y, axis, (1, None), (None, -1))
    return r.sum(step * (later + earlier) / 2, axis=axis)


def _in_one_period(x: Tensor, xp: Tensor, fp: Tensor, period: float) -> tuple[Tensor, ...]:
    """x and the points within one period, the points sorted, and repeated once at both ends."""
    if not period:
        raise ValueError("interp: the period is 0")
    x, xp = e.remainder(x, period), e.remainder(xp, period)
    order = argsort(xp)
    xp, fp = getitem(xp, order), getitem(fp, order)
    xp = s.concatenate([xp[-1:] - period, xp, xp[:1] + period], 0)
    return x, xp, s.concatenate([fp[-1:], fp, fp[:1]], 0)


@composite(numpy=np.interp)
def interp(
    x: Operand,
    xp: Operand,
    fp: Operand,
    left: Operand | None = None,
    right: Operand | None = None,
    period: float | None = None,
) -> Tensor:
    """Linear interpolation at x of the values fp at rising points xp; fp's ends outside.

    Differentiable in x, xp, fp; at a point between two
    intervals the slope is the mean of theirs.
    period: x and xp count modulo it, xp in any order, and left and right are not asked for
    Raises ShapeError unless xp and fp are vectors of one length, and not empty; ValueError for a
    period of 0.
    """
    x, xp, fp = (as_floating(a) for a in (x, xp, fp))
    refuse_complex(x, "numpy.interp")
    refuse_complex(xp, "numpy.interp")
    if period is not None:
        if xp.shape != fp.shape or xp.ndim != 1:
            raise ShapeError("interp: xp and fp must be vectors of one length, and not empty")
        x, xp, fp = _in_one_period(x, xp, fp, abs(period))
        left = right = None
    n = xp.shape[0]
    if not n or fp.shape != xp.shape:
        raise ShapeError("interp: xp and fp must be vectors of one length, and not empty")
    if n == 1:
        inside = fp[0] + (x - x)
    else:
        interval = e.clip(searchsorted(xp, x, side="right") - 1, 0, n - 2)
        x0, x1, y0, y1 = (
            getitem(a, i)
            for a, i in ((xp, interval), (xp, interval + 1), (fp, interval), (fp, interval + 1))
        )
        slope = (y1 - y0) / (x1 - x0)
        knot = e.logical_and(e.equal(x, x0), e.greater(interval, 0))
        if is_followed() or bool(r.any(knot)):
            before = e.maximum(interval - 1, 0)
            earlier = (y0 - getitem(fp, before)) / e.where(knot, x0 - getitem(xp, before), 1)
            slope = e.where(knot, (slope + earlier) / 2, slope)
        inside = y0 + (x - x0) * slope
    below, above = e.less(x, xp[0]), e.greater(x, xp[-1])
    y = e.where(below, fp[0] if left is None else left, inside)
    return e.where(above, fp[-1] if right is None else right, y)


@composite(numpy=np.unwrap)
def unwrap(
    p: Operand, discont: float | None = None, axis: int = -1, *, period: float = math.tau
) -> Tensor:
    """x with multiples of `period` added along `axis` so that no step is longer than half of it."""
    p = as_operand(p)
    axis = normalize_axis(axis, p.ndim)
    limit = max(period / 2, 0.0 if discont is None else discont)
    steps = diff(p, axis=axis)
    half = period / 2
    merge_samples = e.remainder(steps + half, period) - half
    merge_samples = e.where(
        e.logical_and(e.equal(merge_samples, -half), steps > 0), half, merge_samples
    )
    turns = e.where(e.absolute(steps) < limit, 0, merge_samples - steps)
    first, later = _slices(p, axis, (0, 1), (1, None))
    return s.concatenate([first, later + r.cumsum(turns, axis=axis)], axis)
