"""Shares of a batch: consecutive samples, as equal in number as they can be."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.autograd.core.tree import map_leaves
from tapegrad.optim.core.samples import samples_in

__all__ = ["cut_share", "own_shares", "share_bounds"]

NOT_FIRST = (
    "a batch of {samples} samples has an array of shape {shape}: to be shared out among ranks, "
    "each array has the samples along its first axis"
)
OTHER_PARTS = (
    "the data comes in {found} shares for this rank, and {wanted} are asked for: give SampleFiles "
    "as many stretches as DataParallel has shards, or a multiple"
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


def own_shares(batch: tuple[Any, ...], parts: int, first: int, count: int) -> list[tuple[Any, ...]]:
    """Return shares `first` to `first + count - 1` of `parts`, of a batch that all ranks have.

    A batch with an attribute `shares` is what this rank has alone, in parts that are joined to
    `count` shares.  Raises ValueError where they do not divide, and as `cut_share` does.
    """
    found = getattr(batch, "shares", None)
    if found is None:
        return [cut_share(batch, parts, first + i) for i in range(count)]
    each, rest = divmod(len(found), count)
    if rest or not each:
        raise ValueError(OTHER_PARTS.format(found=len(found), wanted=count))
    return [
        tuple(np.concatenate(arrays) for arrays in zip(*found[i : i + each], strict=True))
        for i in range(0, len(found), each)
    ]
