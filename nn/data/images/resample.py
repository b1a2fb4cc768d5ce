"""Resizing by OpenCV's formulas, in NumPy: where a new pixel takes its values, with what weights.

New pixel i lies at (i + ½)·s − ½ in the old image, s = old / new; positions outside are those of
the edge.  Pillow's resize is another one: it averages over all pixels that a new one covers,
whatever the mode.  Modes by OpenCV's numbers: 0 nearest, 1 linear, 2 cubic (a = −0.75), 3 area,
4 Lanczos over 8 pixels.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["AREA", "CUBIC", "LANCZOS4", "LINEAR", "MODES", "NEAREST", "resample", "saturate"]

NEAREST, LINEAR, CUBIC, AREA, LANCZOS4 = range(5)
MODES = (LINEAR, CUBIC, AREA, NEAREST, LANCZOS4)


def resample(mat: np.ndarray, height: int, width: int, mode: int = LINEAR) -> np.ndarray:
    """The image (h, w, c) at another size, (height, width, c) of its dtype.

    Raises ValueError for a mode that is none of 0 to 4, and for a size below 1.
    """
    if mode not in MODES or height < 1 or width < 1:
        raise ValueError(f"resize: to {height}×{width} in mode {mode}; modes are 0 to 4")
    h, w = mat.shape[:2]
    if (h, w) == (height, width):
        return mat
    shrinks = h >= height and w >= width
    if mode == NEAREST:
        rows, columns = _nearest(h, height), _nearest(w, width)
        return mat[rows[:, None], columns]
    if mode == AREA and shrinks:
        found = np.tensordot(_coverage(h, height), mat.astype(np.float32), axes=(1, 0))
        found = np.tensordot(_coverage(w, width), found, axes=(1, 1)).transpose(1, 0, 2)
    else:
        found = _weighted(mat.astype(np.float32), *_taps(h, height, mode), axis=0)
        found = _weighted(found, *_taps(w, width, mode), axis=1)
    return saturate(found, mat.dtype)


def saturate(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The values in a dtype: rounded to the nearest (halves to even) and clipped for uint8."""
    if dtype == np.uint8:
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return values.astype(dtype, copy=False)


def _nearest(old: int, new: int) -> np.ndarray:
    return np.minimum((np.arange(new) * (old / new)).astype(np.int64), old - 1)


def _coverage(old: int, new: int) -> np.ndarray:
    """(new, old) weights of area averaging: how much of each old pixel a new one covers."""
    scale = old / new
    starts = np.arange(new)[:, None] * scale
    pixels = np.arange(old)[None, :]
    covered = np.minimum(starts + scale, pixels + 1) - np.maximum(starts, pixels)
    return (np.maximum(covered, 0) / scale).astype(np.float32)


def _taps(old: int, new: int, mode: int) -> tuple[np.ndarray, np.ndarray]:
    """(indices, weights), (new, taps) each: the old pixels that make a new one."""
    scale = old / new
    i = np.arange(new)
    if mode == AREA:  # where it enlarges, OpenCV blends two pixels at the borders of old ones only
        first = np.floor(i * scale).astype(np.int64)
        part = (i + 1) - (first + 1) / scale
        part = np.where(part <= 0, 0.0, part - np.floor(part))
        weights = np.stack([1 - part, part], axis=1)
        first_tap = 0
    else:
        at = (i + 0.5) * scale - 0.5
        first = np.floor(at).astype(np.int64)
        part = at - first
        if mode == LINEAR:
            weights, first_tap = np.stack([1 - part, part], axis=1), 0
        elif mode == CUBIC:
            weights, first_tap = _cubic(part), -1
        else:
            weights, first_tap = _lanczos(part), -3
    taps = np.arange(weights.shape[1]) + first_tap
    indices = np.clip(first[:, None] + taps, 0, old - 1)
    return indices, weights.astype(np.float32)


def _cubic(part: np.ndarray, a: float = -0.75) -> np.ndarray:
    """(new, 4) weights of the pixels at −1, 0, 1, 2.  R. Keys, 1981, equation 4, with a."""

    def near(x: np.ndarray) -> np.ndarray:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: np.ndarray) -> np.ndarray:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return np.stack([far(part + 1), near(part), near(1 - part), far(2 - part)], axis=1)


def _lanczos(part: np.ndarray) -> np.ndarray:
    """(new, 8) weights sinc(x)·sinc(x/4) of the pixels at −3 … 4, which sum to 1."""
    x = part[:, None] - np.arange(-3, 5)[None, :]
    weights = np.sinc(x) * np.sinc(x / 4)
    return weights / weights.sum(axis=1, keepdims=True)


def _weighted(image: np.ndarray, indices: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    shape = [1, 1, 1]
    shape[axis] = len(indices)
    total = np.zeros((), np.float32)
    for tap in range(indices.shape[1]):
        part = image.take(indices[:, tap], axis=axis) * weights[:, tap].reshape(shape)
        total = part if tap == 0 else total + part
    return total


def shorter_side(height: int, width: int, size: int) -> tuple[int, int]:
    """(height, width) with the shorter side `size` and the same ratio, cut to whole pixels."""
    if height < width:
        return size, math.floor(width / height * size)
    return math.floor(height / width * size), size
