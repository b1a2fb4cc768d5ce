"""mx.random: seeds and draws, from tapegrad's generators of each device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.nn.core.services import service
from tapegrad.nn.mxnet.context import Context, current_context

__all__ = ["draw_normal", "draw_uniform", "seed"]


def seed(seed_state: int, ctx: Context | str = "all") -> None:
    """Begin all streams of random numbers anew, or that of one context.

    Raises TypeError for a seed that is no whole number.
    """
    if not isinstance(seed_state, (int, np.integer)):
        raise TypeError("seed_state must be int")
    if ctx == "all":
        devices.manual_seed(int(seed_state))
    else:
        devices.generator(Context(ctx).device).seed(int(seed_state))


def draw_uniform(
    low: float, high: float, shape: Sequence[int], ctx: Context | None = None
) -> np.ndarray:
    """Independent draws from U[low, high), float32."""
    stream = devices.generator((ctx or current_context()).device)
    drawn = devices.to_numpy(stream.uniform(tuple(shape), np.dtype(np.float32)))
    return np.asarray(low + (high - low) * drawn, np.float32)


def draw_normal(
    loc: float, scale: float, shape: Sequence[int], ctx: Context | None = None
) -> np.ndarray:
    """Independent draws from N(loc, scale), float32."""
    stream = devices.generator((ctx or current_context()).device)
    drawn = devices.to_numpy(stream.normal(tuple(shape), np.dtype(np.float32)))
    return np.asarray(loc + scale * drawn, np.float32)


def __getattr__(name: str) -> Any:
    """uniform, normal, …: the functions of `mx.nd.random`, which stands above."""
    if name.startswith("_"):
        raise AttributeError(name)
    found = service("mxnet.random_functions")()
    if name not in found:
        raise AttributeError(f"mx.random has no {name!r}; it has seed, {', '.join(found)}")
    return found[name]
