"""tapegrad.scipy.ndimage: filters of images of any number of axes, and values between pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.core.tensor import as_array
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.linalg import matmul
from tapegrad.autograd.scipy.declaring import scipy_module

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Operand

__all__ = [
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "laplace",
    "map_coordinates",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
]

# What lies around an image: SciPy's name -> NumPy's.
_AROUND = {
    "reflect": "symmetric",
    "grid-mirror": "symmetric",
    "constant": "constant",
    "grid-constant": "constant",
    "nearest": "edge",
    "mirror": "reflect",
    "wrap": "wrap",
    "grid-wrap": "wrap",
}
MODE = "the mode is {mode!r}, none of {known}"
ORDERS = "map_coordinates: the order is {order}; 0, 1 and 3 have derivatives here"
BETWEEN = ("constant", "nearest", "mirror", "reflect", "grid-mirror", "grid-wrap")


def _floats(x: Operand) -> Tensor:
    x = as_operand(x)
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


def _padded(x: Any, widths: list[tuple[int, int]], mode: str, cval: float) -> Any:
    if mode not in _AROUND:
        raise ValueError(MODE.format(mode=mode, known=", ".join(_AROUND)))
    options = {"constant_values": cval} if _AROUND[mode] == "constant" else {}
    return np.pad(x, widths, _AROUND[mode], **options)  # type: ignore[call-overload]  # a mode by name


# Filters -----------------------------------------------------------------------------------------


def correlate(
    input: Operand,
    weights: Operand,
    output: None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
) -> Tensor:
    """The correlation of an image with weights that have as many axes, of the image's shape.

    mode:   what lies around the image: "reflect", "constant" (cval), "nearest", "mirror", "wrap"
    origin: how far the weights' centre is moved, for all axes or for each
    Raises ShapeError for weights with other axes, ValueError for an unknown mode or an origin
    outside of the weights.
    """
    x, weights = _floats(input), as_operand(weights)
    ndim = len(x.shape)
    if len(weights.shape) != ndim:
        raise ShapeError(f"the image has {ndim} axes, the weights {len(weights.shape)}")
    moves = [origin] * ndim if isinstance(origin, int) else list(origin)
    widths = []
    for size, move in zip(weights.shape, moves, strict=True):
        before = int(size) // 2 + move
        if not 0 <= before < int(size):
            raise ValueError(f"the origin {move} lies outside of {size} weights")
        widths.append((before, int(size) - 1 - before))
    wide = _padded(x, widths, mode, cval)
    total = x * 0.0
    for place in np.ndindex(*map(int, weights.shape)):
        window = tuple(slice(k, k + int(n)) for k, n in zip(place, x.shape, strict=True))
        total = total + weights[place] * wide[window]
    return total


def convolve(
    input: Operand,
    weights: Operand,
    output: None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
) -> Tensor:
    """The convolution of an image with weights that have as many axes; see `correlate`."""
    weights = as_operand(weights)
    ndim = len(weights.shape)
    moves = [origin] * ndim if isinstance(origin, int) else list(origin)
    moves = [-m - (int(size) % 2 == 0) for m, size in zip(moves, weights.shape, strict=True)]
    return correlate(input, s.flip(weights, axis=tuple(range(ndim))), None, mode, cval, moves)


def _along(weights: Operand, axis: int, ndim: int) -> Any:
    """A vector of weights as an array of `ndim` axes."""
    weights = as_operand(weights)
    shape = [1] * ndim
    shape[axis] = int(weights.shape[0])
    return s.reshape(weights, tuple(shape))


def _origins(origin: int, axis: int, ndim: int) -> list[int]:
    moves = [0] * ndim
    moves[axis] = origin
    return moves


def correlate1d(
    input: Operand,
    weights: Operand,
    axis: int = -1,
    output: None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
) -> Tensor:
    """The correlation with a vector of weights along one axis; see `correlate`."""
    ndim = len(as_operand(input).shape)
    moves = _origins(origin, axis, ndim)
    return correlate(input, _along(weights, axis, ndim), None, mode, cval, moves)


def convolve1d(
    input: Operand,
    weights: Operand,
    axis: int = -1,
    output: None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
) -> Tensor:
    """The convolution with a vector of weights along one axis; see `correlate`."""
    weights = as_operand(weights)
    move = -origin - (int(weights.shape[0]) % 2 == 0)
    return correlate1d(input, s.flip(weights), axis, None, mode, cval, move)


def _gaussian(sigma: Any, order: int, radius: int) -> Any:
    """The weights of a Gaussian, or of its derivative of an order, at -radius … radius."""
    x = np.arange(-radius, radius + 1.0)
    bell = e.exp(e.square(x / sigma) * -0.5)
    bell = bell / r.sum(bell)
    # the derivative of q·exp(-x²/2σ²) is (q' - q·x/σ²) times the same
    powers: list[Any] = [1.0]
    for _ in range(order):
        slope = [*[k * c for k, c in enumerate(powers)][1:], 0.0, 0.0]
        fall = [0.0, *[c / (sigma * sigma) for c in powers]]
        powers = [p - q for p, q in zip(slope[: len(fall)], fall, strict=True)]
    factor: Any = 0.0
    for c in reversed(powers):
        factor = factor * x + c
    return bell * factor


def gaussian_filter1d(
    input: Operand,
    sigma: Operand,
    axis: int = -1,
    order: int = 0,
    output: None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | None = None,
) -> Tensor:
    """An image smoothed by a Gaussian along one axis, or by its derivative of an order.

    sigma:    the standard deviation, in pixels; a number, with a derivative
    truncate: how many of them the weights reach, unless `radius` says how many pixels
    """
    reach = int(truncate * float(as_array(sigma)) + 0.5) if radius is None else radius
    weights = s.flip(_gaussian(_floats(sigma), order, reach))
    return correlate1d(input, weights, axis, None, mode, cval)


def gaussian_filter(
    input: Operand,
    sigma: Any,
    order: int | Sequence[int] = 0,
    output: None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | None = None,
    axes: Sequence[int] | None = None,
) -> Tensor:
    """An image smoothed by a Gaussian along all axes, or `axes`; see `gaussian_filter1d`.

    sigma and order: for all axes, or one for each
    """
    x = _floats(input)
    chosen = range(len(x.shape)) if axes is None else axes
    for i, axis in enumerate(chosen):
        own = sigma if np.ndim(sigma) == 0 else sigma[i]
        degree = order if isinstance(order, int) else order[i]
        if float(as_array(own)) > 1e-15:
            x = gaussian_filter1d(x, own, axis, degree, None, mode, cval, truncate, radius=radius)
    return x


def uniform_filter1d(
    input: Operand,
    size: int,
    axis: int = -1,
    output: None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
) -> Tensor:
    """The mean of `size` neighbours along one axis; see `correlate`."""
    return correlate1d(input, np.full(size, 1 / size), axis, None, mode, cval, origin)


def uniform_filter(
    input: Operand,
    size: int | Sequence[int] = 3,
    output: None = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
) -> Tensor:
    """The mean of a block of neighbours, of one size or one for each axis; see `correlate`."""
    x = _floats(input)
    for axis in range(len(x.shape)):
        own = size if isinstance(size, int) else size[axis]
        x = uniform_filter1d(x, own, axis, None, mode, cval, origin)
    return x


def sobel(
    input: Operand, axis: int = -1, output: None = None, mode: str = "reflect", cval: float = 0.0
) -> Tensor:
    """Sobel's derivative along one axis, smoothed along the others."""
    x = correlate1d(input, np.array([-1.0, 0.0, 1.0]), axis, None, mode, cval)
    for other in range(len(x.shape)):
        if other != axis % len(x.shape):
            x = correlate1d(x, np.array([1.0, 2.0, 1.0]), other, None, mode, cval)
    return x


def laplace(
    input: Operand, output: None = None, mode: str = "reflect", cval: float = 0.0
) -> Tensor:
    """The sum of the second differences along all axes."""
    x, weights = _floats(input), np.array([1.0, -2.0, 1.0])
    total = x * 0.0
    for axis in range(len(x.shape)):
        total = total + correlate1d(x, weights, axis, None, mode, cval)
    return total


# Between pixels ----------------------------------------------------------------------------------


def _inside(index: Any, n: int, mode: str) -> Any:
    """Whole numbers, as pixels that the mode puts there."""
    if mode == "grid-wrap":
        return index % n
    if mode == "nearest":
        return np.clip(index, 0, n - 1)
    if mode in ("reflect", "grid-mirror"):
        index = index % (2 * n)
        return np.where(index < n, index, 2 * n - 1 - index)
    if n == 1:
        return index * 0
    index = index % (2 * n - 2)
    return np.where(index < n, index, 2 * n - 2 - index)


@lru_cache(maxsize=16)
def _prefilter(n: int, mode: str) -> np.ndarray:
    """SciPy's filter that turns n pixels into coefficients of cubic B-splines, as a matrix."""
    found: np.ndarray = scipy_module("ndimage").spline_filter1d(np.eye(n), 3, 0, mode=mode)
    return found


def _coefficients(x: Any, mode: str) -> Any:
    """The coefficients of the cubic B-spline through the pixels, along every axis."""
    for axis in range(len(x.shape)):
        n = int(x.shape[axis])
        moved = s.moveaxis(x, axis, 0)
        filtered = matmul(_prefilter(n, mode), s.reshape(moved, (n, -1)))
        x = s.moveaxis(s.reshape(filtered, moved.shape), 0, axis)
    return x


def _shares(order: int, t: Any) -> list[tuple[int, Any]]:
    """Which pixels count, from the one at or before the point on, at t of the way to the next."""
    if order == 0:
        return [(0, 1.0)]
    if order == 1:
        return [(0, 1 - t), (1, t)]
    u = 1 - t
    return [
        (-1, u * u * u / 6),
        (0, 2 / 3 - t * t * (2 - t) / 2),
        (1, 2 / 3 - u * u * (2 - u) / 2),
        (2, t * t * t / 6),
    ]


def map_coordinates(
    input: Operand,
    coordinates: Operand,
    output: None = None,
    order: int = 3,
    mode: str = "constant",
    cval: float = 0.0,
    prefilter: bool = True,
) -> Tensor:
    """The image at coordinates (d, …), in pixels from the first on -> (…).

    order: 0 for the nearest pixel, 1 for lines, 3 for cubic splines between pixels
    mode:  what is outside: "constant" (cval), "nearest", "mirror", "reflect", "grid-wrap"
    prefilter: whether `input` are pixels, not coefficients of splines
    Derivatives in the image and in the coordinates.  Raises ValueError for another order or mode,
    ShapeError for coordinates of another number of axes.
    """
    if order not in (0, 1, 3):
        raise ValueError(ORDERS.format(order=order))
    if mode not in BETWEEN:
        raise ValueError(MODE.format(mode=mode, known=", ".join(BETWEEN)))
    x, points = _floats(input), _floats(coordinates)
    sizes = [int(n) for n in x.shape]
    if int(points.shape[0]) != len(sizes):
        raise ShapeError(
            f"map_coordinates: the image has {len(sizes)} axes, coordinates {points.shape[0]}"
        )
    where = as_array(points)
    limits = np.array(sizes).reshape(-1, *(1,) * (where.ndim - 1))
    outside = ((where < 0) | (where > limits - 1)).any(axis=0)
    edge = 0
    if mode == "nearest" and order == 3 and prefilter:
        edge = 12  # SciPy's: that far away a spline does not see what ends
        wide: Any = np.pad(x, edge, "edge")
        x = wide
    if order == 3 and prefilter:
        x = _coefficients(x, mode)
    axes = []
    for axis, n in enumerate(int(k) for k in x.shape):
        at = points[axis] + edge
        if mode == "constant":
            at = e.where(outside, 0.0, at)
        elif order == 0 and mode == "mirror":
            at = _folded(at, n)
        known = as_array(at)
        first = np.floor(known + (0.5 if order == 0 else 0)).astype(np.int64)
        shares = _shares(order, at - first)
        axes.append([(_inside(first + k, n, mode), share) for k, share in shares])
    total: Any = 0.0
    for corner in product(*axes):
        weight: Any = 1.0
        for _, share in corner:
            weight = weight * share
        total = total + x[tuple(i for i, _ in corner)] * weight
    return e.where(outside, cval, total) if mode == "constant" else total


def _folded(at: Any, n: int) -> Any:
    """Points mirrored at the first and the last pixel."""
    period = max(2 * n - 2, 1)
    rest = at - period * np.floor(as_array(at) / period)
    return e.where(as_array(rest) > n - 1, period - rest, rest)
