"""Random directions and cotangents, and the data's ties.

Along an ordinary direction a function with ties (max, median, ReLU at 0) has a kink exactly where
integer-valued data sit, and no subgradient need match there: nobody may be accused.  A direction
that gives *equal entries equal components* and zeros none keeps every tie tied and every zero
zero: along it such functions are smooth, and each valid subgradient must give the same slope.
For data without ties the two kinds of direction are the same thing, so there is one function.

Components are kept away from 0 (|component| ≥ 1/4): one wrong entry (i, j) of a Jacobian shows as
u_i·v_j times its error, and a component near 0 would hide it behind the tolerance.
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
    """A Gaussian array, each component moved 1/4 away from 0."""
    draw = rng.standard_normal(shape)
    return draw + np.copysign(0.25, draw)


def groups_of(leaves: Sequence[np.ndarray], width: float = 0.0) -> np.ndarray:
    """Group number of every entry of all leaves in one flat row; −1 where the entry is zero.

    Entries closer than `width` to a neighbour in value, in whichever leaf, form one group; a group
    that holds an entry with |entry| ≤ width counts as zero.
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
    """Whether any two entries share a group, or any entry is zero."""
    moving = groups[groups >= 0]
    return moving.size < groups.size or np.unique(moving).size < moving.size


def random_direction(
    leaves: Sequence[np.ndarray], rng: np.random.Generator, groups: np.ndarray | None = None
) -> Arrays:
    """A random direction shaped like `leaves`: one component per entry, or one per group.

    With `groups` (of `groups_of`) entries of one group move together and group −1 stays put.
    """
    total = sum(leaf.size for leaf in leaves)
    flat = gaussian(rng, total)
    if groups is not None and total:
        flat = flat[groups]
        flat[groups < 0] = 0.0
    return _split(flat, leaves)


def tie_components(direction: Sequence[np.ndarray], groups: np.ndarray) -> Arrays:
    """`direction` with entries of one group moving as one of them did, and group −1 not at all."""
    flat = _concatenate(direction)
    chosen = np.zeros(max(int(groups.max(initial=0)) + 1, 1))
    chosen[groups[groups >= 0]] = flat[groups >= 0]
    return _split(np.where(groups >= 0, chosen[groups], 0.0), direction)


def move_off_ties(
    leaves: Sequence[np.ndarray], rng: np.random.Generator, amplitude: float = 2.0**-6
) -> Arrays:
    """The same point moved off its ties: x + amplitude · max(1, |x|) · direction."""
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
