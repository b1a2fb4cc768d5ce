"""Random directions and cotangents, and how they deal with ties in the data.

Along an ordinary direction, functions such as max, median and ReLU have a kink where entries are
equal or 0, as in data of integers; a right gradient need not match the slope there.  A direction
with *equal components for equal entries* and 0 for zeros keeps ties and zeros: along it such
functions are smooth, and every valid subgradient gives the same slope.  Without ties in the data
the two kinds of direction are the same, so one function makes both.

All components have |component| ≥ 1/4: an error in entry (i, j) of a Jacobian shows as the error
times u_i·v_j, which a component near 0 would hide behind the tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = [
    "gaussian",
    "groups_of",
    "has_ties",
    "move_off_ties",
    "random_direction",
    "tie_components",
]

Arrays = list[np.ndarray]


def gaussian(rng: np.random.Generator, shape: tuple[int, ...] | int) -> np.ndarray:
    """A Gaussian array whose components are each moved 1/4 away from 0."""
    draw = rng.standard_normal(shape)
    if not np.size(draw):
        return draw  # a sum of empty arrays has strides of 0, which not every library takes
    return draw + np.copysign(0.25, draw)


def groups_of(leaves: Sequence[np.ndarray], width: float = 0.0) -> np.ndarray:
    """The group number of each entry of all leaves, in one flat array; −1 where an entry is zero.

    Entries whose values are closer than `width` form one group, across all leaves.  A group that
    holds an entry with |entry| ≤ width counts as zero.
    """
    flat = _concatenate(leaves)
    if flat.size == 0:
        return np.zeros(0, np.intp)
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    groups = np.empty(flat.size, np.intp)
    groups[order] = np.cumsum(np.concatenate(([0], np.diff(ordered) > width)))
    still = np.unique(groups[np.abs(flat) <= width])
    groups[np.isin(groups, still)] = -1
    return groups


def has_ties(groups: np.ndarray) -> bool:
    """Do two entries share a group, or is an entry zero?"""
    moving = groups[groups >= 0]
    return moving.size < groups.size or np.unique(moving).size < moving.size


def random_direction(
    leaves: Sequence[np.ndarray], rng: np.random.Generator, groups: np.ndarray | None = None
) -> Arrays:
    """A random direction shaped like `leaves`: one component per entry, or one per group.

    groups: from `groups_of`; entries of one group get one component, and group −1 gets 0
    """
    total = sum(leaf.size for leaf in leaves)
    flat = gaussian(rng, total)
    if groups is not None and total:
        flat = flat[groups]
        flat[groups < 0] = 0.0
    return _split(flat, leaves)


def tie_components(direction: Sequence[np.ndarray], groups: np.ndarray) -> Arrays:
    """`direction` with one component for all entries of a group, and 0 for group −1."""
    flat = _concatenate(direction)
    component = np.zeros(max(int(groups.max(initial=0)) + 1, 1))
    component[groups[groups >= 0]] = flat[groups >= 0]
    return _split(np.where(groups >= 0, component[groups], 0.0), direction)


def move_off_ties(
    leaves: Sequence[np.ndarray], rng: np.random.Generator, amplitude: float = 2.0**-6
) -> Arrays:
    """A point near `leaves` without ties: x + amplitude · max(1, |x|) · direction."""
    moves = random_direction(leaves, rng)
    return [
        leaf + amplitude * np.maximum(1.0, np.abs(leaf)) * move
        for leaf, move in zip(leaves, moves, strict=True)
    ]


def _concatenate(leaves: Sequence[np.ndarray]) -> np.ndarray:
    rows = [np.asarray(leaf, np.float64).reshape(-1) for leaf in leaves]
    return np.concatenate(rows) if rows else np.zeros(0)


def _split(flat: np.ndarray, leaves: Sequence[np.ndarray]) -> Arrays:
    parts, start = [], 0
    for leaf in leaves:
        parts.append(flat[start : start + leaf.size].reshape(leaf.shape))
        start += leaf.size
    return parts
