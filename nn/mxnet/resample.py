"""resized: a picture in another size, as OpenCV does it.

Methods: 0 nearest, 1 linear between two pixels, 2 cubic between four, 3 the mean of an area,
4 Lanczos between eight; 9: 2 if it grows, 3 if it shrinks, else 1; 10: any of 0 to 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["resized"]

_CUBIC = -0.75  # OpenCV's slope at 1
_LANCZOS = 4
_GROWING = -3  # the mean of an area where a side grows: between two pixels, by where the areas end


def resized(
    image: np.ndarray,
    width: int,
    height: int,
    method: int = 1,
    draws: np.random.RandomState | None = None,
) -> np.ndarray:
    """The picture (H, W, channels) as (height, width, channels), of the same type.

    draws: what method 10 draws from, a RandomState; NumPy's global generator if omitted
    Raises ValueError for another method or a size below 1.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a picture has at least one pixel, not {width} x {height}")
    rows, columns = image.shape[:2]
    if method == 9:
        grows, shrinks = width > columns and height > rows, width < columns and height < rows
        method = 2 if grows else 3 if shrinks else 1
    elif method == 10:
        method = int((draws or np.random).randint(0, 5))
    if method not in range(5):
        raise ValueError(f"interpolation is 0 to 4, 9 or 10, not {method}")
    if (width, height) == (columns, rows):
        return image
    if method == 3 and (width > columns or height > rows):
        method = _GROWING
    found = _along(image.astype(np.float64), height, 0, method)
    found = _along(found, width, 1, method)
    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        found = np.clip(np.rint(found), limits.min, limits.max)
    return found.astype(image.dtype)


def _along(image: np.ndarray, size: int, axis: int, method: int) -> np.ndarray:
    old = image.shape[axis]
    if old == size:
        return image
    step = old / size
    if method == 3:
        return _means(image, size, axis)
    if method == 0:
        return image.take(np.minimum((np.arange(size) * step).astype(int), old - 1), axis)
    places = (np.arange(size) + 0.5) * step - 0.5
    if method == _GROWING:
        first = np.floor(np.arange(size) * step)
        places = first + np.maximum(np.arange(1, size + 1) - (first + 1) / step, 0) % 1
    first = np.floor(places).astype(int)
    weights = _weights(places - first, method)
    begin = 1 - len(weights) // 2
    total: Any = 0.0
    shape = [1] * image.ndim
    shape[axis] = size
    for k, w in enumerate(weights):
        at = np.clip(first + begin + k, 0, old - 1)
        total = total + image.take(at, axis) * w.reshape(shape)
    return np.asarray(total)


def _weights(t: np.ndarray, method: int) -> list[np.ndarray]:
    """The weights of the pixels around a place that lies `t` behind a pixel."""
    if method in (1, _GROWING):
        return [1 - t, t]
    if method == 2:
        return [_cubic(np.abs(t - k)) for k in range(-1, 3)]
    found = [
        np.sinc(t - k) * np.sinc((t - k) / _LANCZOS) for k in range(1 - _LANCZOS, 1 + _LANCZOS)
    ]
    total = sum(found)
    return [w / total for w in found]


def _cubic(d: np.ndarray) -> np.ndarray:
    near = ((_CUBIC + 2) * d - (_CUBIC + 3)) * d * d + 1
    far = ((_CUBIC * d - 5 * _CUBIC) * d + 8 * _CUBIC) * d - 4 * _CUBIC
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _means(image: np.ndarray, size: int, axis: int) -> np.ndarray:
    """The mean over the stretch of each new pixel; a pixel at its end counts in part."""
    old = image.shape[axis]
    summed = np.concatenate([np.zeros_like(image.take([0], axis)), image.cumsum(axis)], axis)
    edges = np.arange(size + 1) * (old / size)
    low = np.minimum(edges.astype(int), old)
    part = edges - low
    high = np.minimum(low + 1, old)
    shape = [1] * image.ndim
    shape[axis] = size + 1
    part = part.reshape(shape)
    at = summed.take(low, axis) * (1 - part) + summed.take(high, axis) * part
    return np.diff(at, axis=axis) / (old / size)
