"""Right functions with ties, masks and choices, whose gradients are one of several right ones.

Each is a function of one array with the gradient that a library would give.  They are not layers of
`layers.py`, because their examples are drawn to be tied: `tests/nightly` probes them 100,000 times.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["RIGHT_AT_TIES"]

Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _median_rule(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """To all that are in the middle places, in equal shares."""
    ordered, n = np.sort(x, -1), x.shape[-1]
    middle = [ordered[..., k : k + 1] for k in {(n - 1) // 2, n // 2}]
    shares = [(x == m) / np.sum(x == m, -1, keepdims=True) for m in middle]
    return g[..., None] * sum(shares) / len(shares)


def _first_rule(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """To the first of the largest."""
    return g[..., None] * (np.arange(x.shape[-1]) == np.argmax(x, -1)[..., None])


def _shared_rule(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """To all of the largest, in equal shares."""
    largest = x == np.max(x, -1, keepdims=True)
    return g[..., None] * largest / np.sum(largest, -1, keepdims=True)


def _sort_rule(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    places = np.argsort(np.argsort(x, -1, kind="stable"), -1)
    return np.take_along_axis(g, places, -1)


def _two_largest(x: np.ndarray) -> np.ndarray:
    return -np.sort(-x, -1)[..., :2]


def _two_largest_rule(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    rest = np.zeros((*x.shape[:-1], x.shape[-1] - g.shape[-1]))
    return _sort_rule(np.concatenate([g, rest], -1), -x)


def _masked_softmax(x: np.ndarray) -> np.ndarray:
    """Zeros are padding."""
    mask = x != 0
    mask[..., 0] = True
    e = np.exp(x - np.max(np.where(mask, x, -np.inf), -1, keepdims=True)) * mask
    return e / np.sum(e, -1, keepdims=True)


def _masked_softmax_rule(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    y = _masked_softmax(x)
    return y * (g - np.sum(g * y, -1, keepdims=True))


def _mean_of_kept(x: np.ndarray) -> np.ndarray:
    return np.sum(x, -1) / np.maximum(np.sum(x != 0, -1), 1)


def _mean_of_kept_rule(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    return (g / np.maximum(np.sum(x != 0, -1), 1))[..., None] * (x != 0)


def _norm_rule(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """0 at 0."""
    size = np.sqrt(np.sum(x * x, -1, keepdims=True))
    return g[..., None] * x / np.where(size == 0, 1, size)


def _range_rule(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    flat = np.zeros(x.size)
    flat[np.argmax(x)] += g
    flat[np.argmin(x)] -= g
    return flat.reshape(x.shape)


RIGHT_AT_TIES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Rule]] = {
    "median": (lambda x: np.median(x, -1), _median_rule),
    "maximum, first": (lambda x: np.max(x, -1), _first_rule),
    "maximum, shared": (lambda x: np.max(x, -1), _shared_rule),
    "sort": (lambda x: np.sort(x, -1), _sort_rule),
    "two largest": (_two_largest, _two_largest_rule),
    "range": (np.ptp, _range_rule),
    "relu, 0 at 0": (lambda x: np.maximum(x, 0), lambda g, x: g * (x > 0)),
    "relu, 1 at 0": (lambda x: np.maximum(x, 0), lambda g, x: g * (x >= 0)),
    "leaky relu": (lambda x: np.where(x > 0, x, 0.1 * x), lambda g, x: g * np.where(x > 0, 1, 0.1)),
    "absolute value": (np.abs, lambda g, x: g * np.sign(x)),
    "clip": (lambda x: np.clip(x, -1, 1), lambda g, x: g * (np.abs(x) < 1)),
    "x · (x ≠ 0)": (lambda x: x * (x != 0), lambda g, x: g * (x != 0)),
    "relu both ways": (
        lambda x: np.maximum(x, 0) - np.maximum(-x, 0),
        lambda g, x: g * (x > 0) + g * (x < 0),
    ),
    "masked softmax": (_masked_softmax, _masked_softmax_rule),
    "mean of what is kept": (_mean_of_kept, _mean_of_kept_rule),
    "norm": (lambda x: np.sqrt(np.sum(x * x, -1)), _norm_rule),
}
