"""Shares of a batch: consecutive samples, as equal in number as they can be."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.autograd.core.tree import map_leaves
from tapegrad.optim.core.samples import samples_in

__all__ = ["cut_share", "share_bounds"]

NOT_FIRST = (
    "a batch of {samples} samples has an array of shape {shape}: to be shared out among ranks, "
    "each array has the samples along its first axis"
)


def share_bounds(samples: int, parts: int, part: int) -> tuple[int, int]:
    """Return where share number `part` of `parts` begins and ends: the first ones are longer."""
    each, more = divmod(samples, parts)
    start = part * each + min(part, more)
    return start, start + each + (part < more)


def cut_share(batch: tuple[Any, ...], parts: int, part: int) -> tuple[Any, ...]:
    """Return share number `part` of a batch (x, …, target), of nests of arrays alike.

    Raises ValueError for an array whose first axis is not that of the samples.
    """
    samples = samples_in(batch[-1])
    start, stop = share_bounds(samples, parts, part)

    def own(leaf: Any) -> Any:
        if np.ndim(leaf) == 0:
            return leaf
        if len(leaf) != samples:
            raise ValueError(NOT_FIRST.format(samples=samples, shape=np.shape(leaf)))
        return leaf[start:stop]

    return tuple(map_leaves(own, entry) for entry in batch)
