"""Which generator the transformers draw from.

By default the CPU's, which `manual_seed` seeds.  What runs transformers in several threads gives
each piece of work a generator of its own, so that the draws do not depend on which thread is first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from tapegrad import devices

__all__ = ["draw_from", "current_draws", "generator_for", "weighted_order"]

_current: ContextVar[devices.Generator | None] = ContextVar("tapegrad_data_draws", default=None)


def current_draws() -> devices.Generator:
    """The generator to draw from here: that of `draw_from`, or the CPU's default one."""
    return _current.get() or devices.generator("cpu")


@contextmanager
def draw_from(generator: devices.Generator | int) -> Iterator[None]:
    """Let transformers draw from this generator, or from one of this seed, in a with statement.

    The choice holds for this thread only.
    """
    if isinstance(generator, int):
        generator = devices.Generator("cpu", generator)
    token = _current.set(generator)
    try:
        yield
    finally:
        _current.reset(token)


def generator_for(seed: int, *numbers: int) -> devices.Generator:
    """A generator that depends on a seed and on what it is for, such as an epoch and a batch."""
    words = np.random.SeedSequence([seed, *numbers]).generate_state(4, np.uint32)
    return devices.Generator("cpu", int.from_bytes(words.tobytes(), "little"))


def weighted_order(weights: np.ndarray, n: int, generator: devices.Generator) -> np.ndarray:
    """`n` indices, each drawn with a probability in proportion to its weight, with replacement.

    Raises ValueError for weights that are no probabilities.
    """
    weights = np.asarray(weights, np.float64)
    if not (
        weights.ndim == 1 and np.isfinite(weights).all() and (weights >= 0).all() and weights.any()
    ):
        raise ValueError("sampling weights: one for each sample, at least 0, finite, not all 0")
    ends = np.cumsum(weights)
    at = generator.uniform((n,), np.float64) * ends[-1]
    last = int(np.flatnonzero(weights)[-1])
    return np.minimum(np.searchsorted(ends, at, side="right"), last)
