"""tapegrad.scipy.interpolate: cubic splines, and linear interpolation on grids of any dimension.

Derivatives are those in the values, the points where they are known, and the points asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.core.tensor import as_array
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.matrices.solving import solve

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Operand

__all__ = ["CubicSpline", "RegularGridInterpolator", "interp1d"]

INCREASING = "{name}: x must be a vector of increasing numbers, two at least"
KINDS = "interp1d: the kind is {kind!r}; 'linear' and 'cubic' have derivatives here"
OUTSIDE = "{name}: a point lies outside of the grid in dimension {axis}: {value}"


def _knots(x: Operand, name: str) -> Tensor:
    x = _floats(x)
    known = as_array(x)
    if known.ndim != 1 or known.size < 2 or (np.diff(known) <= 0).any():
        raise ValueError(INCREASING.format(name=name))
    return x


def _floats(x: Operand) -> Tensor:
    x = as_operand(x)
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


def _spread(x: Any, ndim: int) -> Any:
    """The vector x with axes of length 1 after its own."""
    return s.reshape(x, (-1, *(1,) * ndim))


class CubicSpline:
    """The piecewise cubic polynomial, twice continuously differentiable, through points (x, y).

    x:        (n,), increasing
    y:        (n, …), or with the n along `axis`
    bc_type:  "not-a-knot", "natural", "clamped", "periodic", or a pair of these (not "periodic") or
              of (order, value): the first or second derivative at both ends
    extrapolate: whether the outer polynomials go on; None for yes, "periodic" where bc_type is
    Raises ValueError for x that does not increase, ShapeError for another number of y.
    """

    def __init__(
        self,
        x: Operand,
        y: Operand,
        axis: int = 0,
        bc_type: Any = "not-a-knot",
        extrapolate: Any = None,
    ) -> None:
        self.x = _knots(x, "CubicSpline")
        y = s.moveaxis(_floats(y), axis, 0)
        n = int(self.x.shape[0])
        if int(y.shape[0]) != n:
            raise ShapeError(f"CubicSpline: x has {n} points, y {y.shape[0]} along axis {axis}")
        self.axis, self._rest = axis % len(y.shape), tuple(int(k) for k in y.shape[1:])
        self._y = s.reshape(y, (n, -1))
        self._steps = self.x[1:] - self.x[:-1]
        self._slopes = (self._y[1:] - self._y[:-1]) / _spread(self._steps, 1)
        self.extrapolate = (
            ("periodic" if bc_type == "periodic" else True) if extrapolate is None else extrapolate
        )
        if isinstance(bc_type, str) and bc_type == "periodic":
            self._tangents = self._periodic()
        else:
            both = (bc_type, bc_type) if isinstance(bc_type, str) else tuple(bc_type)
            self._tangents = self._between(*both)

    def _periodic(self) -> Any:
        h, n = self._steps, int(self.x.shape[0])
        if n == 2:
            return self._y * 0.0
        before = s.concatenate([h[-1:], h[:-1]], axis=0)
        eye = np.eye(n - 1)
        after, previous = np.roll(eye, 1, axis=1), np.roll(eye, -1, axis=1)
        matrix = _spread(2 * (before + h), 1) * eye
        matrix = matrix + _spread(h, 1) * previous + _spread(before, 1) * after
        earlier = s.concatenate([self._slopes[-1:], self._slopes[:-1]], axis=0)
        right = 3 * (_spread(h, 1) * earlier + _spread(before, 1) * self._slopes)
        tangents = solve(matrix, right)
        return s.concatenate([tangents, tangents[:1]], axis=0)

    def _between(self, first: Any, last: Any) -> Any:
        h, slopes, n = self._steps, self._slopes, int(self.x.shape[0])
        if n == 2:  # a line, where nothing is said about its ends
            first = (1, slopes[0]) if _is_free(first) else first
            last = (1, slopes[0]) if _is_free(last) else last
        elif n == 3 and _is_free(first) and _is_free(last):  # a parabola
            curve = (slopes[1] - slopes[0]) / (h[0] + h[1])
            start = slopes[0] - curve * h[0]
            return s.stack([start, slopes[0] + curve * h[0], slopes[1] + curve * h[1]])
        head = self._end(first, h, slopes, 1.0)
        tail = self._end(last, s.flip(h), s.flip(slopes, axis=0), -1.0)
        inside = 3 * (_spread(h[1:], 1) * slopes[:-1] + _spread(h[:-1], 1) * slopes[1:])
        one = s.reshape(h[:1] * 0.0, (1,))
        own = s.concatenate([one + head[0], 2 * (h[:-1] + h[1:]), one + tail[0]], axis=0)
        upper = s.concatenate([one + head[1], h[:-1], one], axis=0)
        lower = s.concatenate([one, h[1:], one + tail[1]], axis=0)
        matrix = _spread(own, 1) * np.eye(n) + _spread(upper, 1) * np.eye(n, k=1)
        matrix = matrix + _spread(lower, 1) * np.eye(n, k=-1)
        row = (1, int(self._y.shape[1]))
        ends = [s.reshape(end[2] + self._y[0] * 0.0, row) for end in (head, tail)]
        return solve(matrix, s.concatenate([ends[0], inside, ends[1]], axis=0))

    def _end(self, condition: Any, h: Any, slopes: Any, sign: float) -> tuple[Any, Any, Any]:
        """The equation at an end: factors of the tangents there and at its neighbour; its right."""
        if _is_free(condition):
            both = h[0] + h[1]
            right = ((h[0] + 2 * both) * h[1] * slopes[0] + h[0] * h[0] * slopes[1]) / both
            return h[1], both, right
        named = {"natural": (2, 0.0), "clamped": (1, 0.0)}
        order, value = named.get(condition, (0, 0)) if isinstance(condition, str) else condition
        if order == 1:
            return 1.0, 0.0, s.reshape(_floats(value) + self._y[0] * 0.0, (-1,))
        if order == 2:
            value = s.reshape(_floats(value) + self._y[0] * 0.0, (-1,))
            return 2.0, 1.0, 3 * slopes[0] - sign * value * h[0] / 2
        raise ValueError(f"CubicSpline: {condition!r} is no condition at an end")

    def __call__(self, x: Operand, nu: int = 0, extrapolate: Any = None) -> Tensor:
        """The spline, or its nu-th derivative, at points of any shape: (…) -> (…, *y's rest)."""
        x = _floats(x)
        beyond = self.extrapolate if extrapolate is None else extrapolate
        ends = as_array(self.x)[[0, -1]]
        flat = s.reshape(x, (-1,))
        if isinstance(beyond, str):
            turns = np.floor((as_array(flat) - ends[0]) / (ends[1] - ends[0]))
            flat = flat - turns * (self.x[-1] - self.x[0])
        at = as_array(flat)
        i = np.clip(
            np.searchsorted(as_array(self.x), at, side="right") - 1, 0, len(self._steps) - 1
        )
        h, slope, tangent = _spread(self._steps[i], 1), self._slopes[i], self._tangents[i]
        bend = (tangent + self._tangents[i + 1] - 2 * slope) / h
        powers = [self._y[i], tangent, (slope - tangent) / h - bend, bend / h]
        for _ in range(nu):
            powers = [k * c for k, c in enumerate(powers)][1:]
        t = _spread(flat - self.x[i], 1)
        y = powers[-1] if powers else self._y[i] * 0.0
        for coefficient in powers[-2::-1]:
            y = y * t + coefficient
        y = y + t * 0.0
        if not beyond:
            y = e.where(((at < ends[0]) | (at > ends[1]))[:, None], np.nan, y)
        y = s.reshape(y, (*x.shape, *self._rest))
        points = len(x.shape)
        order = [*range(points, points + self.axis), *range(points)]
        order += range(points + self.axis, points + len(self._rest))
        return s.transpose(y, tuple(order))


def _is_free(condition: Any) -> bool:
    return isinstance(condition, str) and condition == "not-a-knot"


class RegularGridInterpolator:
    """The multilinear function through values on a grid.

    points: a vector of increasing numbers for each dimension, (n_1,), …, (n_d,)
    values: (n_1, …, n_d, …)
    method: "linear", or "nearest", whose derivative is that in the values
    bounds_error: whether a point outside raises ValueError; otherwise it gets `fill_value`, or
                  where that is None what the function outside of the grid would be
    """

    def __init__(
        self,
        points: Sequence[Operand],
        values: Operand,
        method: str = "linear",
        bounds_error: bool = True,
        fill_value: float | None = np.nan,
    ) -> None:
        self.grid = tuple(_knots(p, "RegularGridInterpolator") for p in points)
        self.values = _floats(values)
        self.method, self.bounds_error, self.fill_value = method, bounds_error, fill_value
        found, expected = self.values.shape, tuple(int(p.shape[0]) for p in self.grid)
        if tuple(found[: len(expected)]) != expected:
            raise ShapeError(
                f"RegularGridInterpolator: the grid is {expected}, the values are {found}"
            )

    def __call__(self, xi: Operand, method: str | None = None) -> Tensor:
        """The function at points (…, d) -> (…, *the rest of values' shape)."""
        method = method or self.method
        if method not in ("linear", "nearest"):
            raise ValueError(f"RegularGridInterpolator: no method {method!r} here")
        d = len(self.grid)
        if isinstance(xi, tuple):
            xi = s.stack([e.add(x, 0.0) for x in np.broadcast_arrays(*xi)], axis=-1)
        xi = _floats(xi)
        shape = (xi.shape if len(xi.shape) > 1 else (1, *xi.shape))[:-1]
        if d == 1 and len(xi.shape) == 1:
            shape = xi.shape
        xi = s.reshape(xi, (-1, d))
        outside = np.zeros(int(xi.shape[0]), bool)
        corners, shares = [], []
        for axis, grid in enumerate(self.grid):
            at, known = xi[:, axis], as_array(grid)
            where = as_array(at)
            wrong = (where < known[0]) | (where > known[-1])
            if self.bounds_error and wrong.any():
                raise ValueError(
                    OUTSIDE.format(name="RegularGridInterpolator", axis=axis, value=where[wrong][0])
                )
            outside |= wrong
            i = np.clip(np.searchsorted(known, where, side="right") - 1, 0, len(known) - 2)
            corners.append(i)
            shares.append((at - grid[i]) / (grid[i + 1] - grid[i]))
        rest = tuple(int(n) for n in self.values.shape[d:])
        if method == "nearest":
            nearest = [
                i + (as_array(share) > 0.5) for i, share in zip(corners, shares, strict=True)
            ]
            total: Any = self.values[tuple(nearest)]
        else:
            total = 0.0
            for corner in product((0, 1), repeat=d):
                weight: Any = 1.0
                for k, share in zip(corner, shares, strict=True):
                    weight = weight * (share if k else 1 - share)
                index = tuple(i + k for i, k in zip(corners, corner, strict=True))
                total = total + self.values[index] * _spread(weight, len(rest))
        if self.fill_value is not None and outside.any():
            total = e.where(outside.reshape(-1, *(1,) * len(rest)), self.fill_value, total)
        return s.reshape(total, (*shape, *rest))


class interp1d:  # noqa: N801  # SciPy's name
    """The function through points (x, y), linear or a cubic spline between them.

    x (n,), increasing; y with n entries along `axis`.  kind: "linear" or "cubic"
    bounds_error: whether a point outside raises ValueError, as where `fill_value` is not given;
    fill_value: what is there, a number, or "extrapolate"
    """

    def __init__(
        self,
        x: Operand,
        y: Operand,
        kind: str = "linear",
        axis: int = -1,
        bounds_error: bool | None = None,
        fill_value: Any = None,
    ) -> None:
        if kind not in ("linear", "cubic"):
            raise ValueError(KINDS.format(kind=kind))
        self._x, y = _knots(x, "interp1d"), _floats(y)
        self.axis = axis % len(y.shape)
        self._raises = fill_value is None if bounds_error is None else bounds_error
        self._fill = np.nan if fill_value is None else fill_value
        self._spline = CubicSpline(self._x, y, self.axis) if kind == "cubic" else None
        self._y = s.moveaxis(y, self.axis, 0)

    def __call__(self, x: Operand) -> Tensor:
        """The function at points of any shape, which takes the place of `axis` in y's shape."""
        x = _floats(x)
        at, known = as_array(x), as_array(self._x)
        outside = (at < known[0]) | (at > known[-1])
        if self._raises and outside.any():
            raise ValueError(OUTSIDE.format(name="interp1d", axis=0, value=at[outside].flat[0]))
        rest = len(self._y.shape) - 1
        if self._spline is not None:
            y = self._spline(x)
            places = tuple(range(self.axis, self.axis + at.ndim))
            y = s.moveaxis(y, places, tuple(range(at.ndim)))
        else:
            i = np.clip(np.searchsorted(known, at, side="right") - 1, 0, len(known) - 2)
            share = (x - self._x[i]) / (self._x[i + 1] - self._x[i])
            share = s.reshape(share, (*at.shape, *(1,) * rest))
            y = self._y[i] * (1 - share) + self._y[i + 1] * share
        if not isinstance(self._fill, str):
            y = e.where(outside.reshape((*at.shape, *(1,) * rest)), self._fill, y)
        return s.moveaxis(y, tuple(range(at.ndim)), tuple(range(self.axis, self.axis + at.ndim)))
