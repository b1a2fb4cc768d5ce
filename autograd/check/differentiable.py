"""is_differentiable: has a function a derivative at a point, as far as differences can tell?

At a tie or a zero many functions have none: there a gradient is a choice, and no choice is accused.
A kink shows along nearly every line through the point.  The median of equal numbers has a slope
along every line, but the slopes are not those of a linear function: the slope along a sum of
directions is not the sum of the slopes.  A function that passes both tests has one gradient only.
"""

from __future__ import annotations

import math

import numpy as np

from tapegrad.autograd.check.slopes import Line, Slope, jumps, slope_at

__all__ = ["is_differentiable", "slope_is_unsteady"]

_SINGLE = 12  # so many entries are moved one by one, more of them in this many parts
_EXACT = 1e-6


def is_differentiable(line: Line, slope: Slope, gap: float, rng: np.random.Generator) -> bool:
    """Is the slope along a line the sum of the slopes along the parts of its direction?

    slope: the numeric slope along the line
    gap:   how far the analytic slope is from it
    It costs some sixty evaluations.
    """
    flat = np.concatenate([np.reshape(u, -1) for u in line.direction])
    moving = np.flatnonzero(flat)
    if moving.size < 2:
        return True  # the line itself is all that moves
    part_of = np.arange(moving.size)
    if moving.size > _SINGLE:
        part_of = rng.permutation(moving.size) % _SINGLE
    total, error, step = 0.0, slope.error, slope.step
    for number in range(min(_SINGLE, moving.size)):
        chosen = moving[part_of == number]
        part = np.zeros_like(flat)
        part[chosen] = flat[chosen]
        along = line.along(_shaped(part, line))
        own = slope_at(along, step)
        line.evaluations += along.evaluations
        if not math.isfinite(own.value) or jumps(along, gap):
            return False
        total, error = total + own.value, error + own.error
    size = max(abs(slope.value), gap if math.isfinite(gap) else 0.0)
    return abs(total - slope.value) <= 4 * error + _EXACT * size


def slope_is_unsteady(line: Line, gap: float, step: float) -> bool:
    """Does a line jump, have a kink, or no finite values near its point?"""
    first, second = slope_at(line, 32 * step), slope_at(line, step)
    if not (math.isfinite(first.value) and math.isfinite(second.value)):
        return True
    apart = abs(first.value - second.value)
    return apart > 4 * (first.error + second.error) or jumps(line, gap)


def _shaped(flat: np.ndarray, line: Line) -> list[np.ndarray]:
    parts, start = [], 0
    for leaf in line.leaves:
        parts.append(flat[start : start + leaf.size].reshape(leaf.shape))
        start += leaf.size
    return parts
