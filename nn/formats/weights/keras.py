"""from_keras: weights by Keras' names and axes, by ours and PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

__all__ = ["from_keras"]


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _kernel(x: np.ndarray) -> np.ndarray:
    """(in, out) -> (out, in); (kh, kw, in, out) -> (out, in, kh, kw), for any number of axes."""
    return np.moveaxis(np.moveaxis(x, -1, 0), -1, 1) if x.ndim > 1 else x


def _depthwise(x: np.ndarray) -> np.ndarray:
    """(kh, kw, channels, times) -> (channels × times, 1, kh, kw)."""
    if x.ndim != 4:
        return x
    high, wide, channels, times = x.shape
    return np.ascontiguousarray(x.transpose(2, 3, 0, 1)).reshape(channels * times, 1, high, wide)


# Keras' name of an array -> ours, and what becomes of its axes.
_NAMES: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "kernel": ("weight", _kernel),
    "depthwise_kernel": ("weight", _depthwise),
    "embeddings": ("weight", _same),
    "gamma": ("weight", _same),
    "beta": ("bias", _same),
    "bias": ("bias", _same),
    "moving_mean": ("running_mean", _same),
    "moving_variance": ("running_var", _same),
}


def from_keras(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of a Keras file, with our names and axes: "dense/dense/kernel:0" -> "dense.weight".

    arrays: what `load_weights` gave of an .h5 file: kernels are (in, out) or (kh, kw, in, out), and
            become (out, in) and (out, in, kh, kw).  The path's other parts are joined by dots, each
            once where it stands twice in a row; "model_weights" in front is left out.  An array
            that is called otherwise keeps its name and axes
    The file says no more than names: a kernel of a recurrent layer, or of a transposed
    convolution, whose axes mean something else, is to be turned by hand.
    Raises ValueError for two arrays that would have one name.
    """
    found: dict[str, np.ndarray] = {}
    for full, array in arrays.items():
        *path, last = full.removeprefix("model_weights/").split("/")
        last = last.partition(":")[0]
        name, turn = _NAMES.get(last, (last, _same))
        parts: list[str] = []
        for part in (*path, name):
            if not parts or parts[-1] != part:
                parts.append(part)
        ours = ".".join(parts)
        if ours in found:
            raise ValueError(f"from_keras: two arrays would be called {ours}, one of them {full}")
        found[ours] = turn(array)
    return found
