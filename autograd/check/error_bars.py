"""Error bars of low precision: how far a result moves when what it is made of is rounded.

A result is as good as its precision allows if it is the exact result of data that differ by a few
roundings (backward stable), but for its own rounding.  How far such data move the result is found
by trying, so nothing needs to know the function's condition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.laws import must, must_be_close_to

__all__ = ["ErrorBars", "cotangents_in", "is_entrywise", "must_be_rounded_only"]

_TRIES = 4  # with random signs; and as many roundings are allowed
_ROUNDINGS = 16

Function = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True)
class ErrorBars:
    """What counts as rounding.

    dtype:     the precision
    rng:       where the signs of tried roundings come from
    entrywise: whether each entry's own size counts, and not the largest one's of its array
    least:     the least such size, since terms that cancel are as large as drawn data are
    share:     the least such size as a part of the largest of all arrays; a gradient that is 0,
               such as that of the input of a normalization, is a difference of such terms
    """

    dtype: np.dtype
    rng: np.random.Generator
    entrywise: bool = False
    least: float = 1.0
    share: float = 2.0**-3


def must_be_rounded_only(
    found: Sequence[np.ndarray],
    exact: Function,
    arguments: Sequence[np.ndarray],
    bars: ErrorBars,
    what: str,
) -> None:
    """Raise LawError unless `found` is exact(arguments) but for some roundings.

    arguments: in float64, exactly those that `found` was made of
    Entries near the largest number, which an intermediate result may pass, are left out.
    """
    unit = float(np.finfo(bars.dtype).eps)
    expected = exact(arguments)
    must(len(found) == len(expected), f"{what}: {len(found)} instead of {len(expected)}")
    moved = [np.zeros(e.shape) for e in expected]
    for _ in range(_TRIES):
        near = [a * (1 + unit * bars.rng.choice([-1.0, 1.0], a.shape)) for a in arguments]
        for i, (value, e) in enumerate(zip(exact(near), expected, strict=True)):
            if value.shape != e.shape:
                return  # the shape depends on the last digit
            if e.dtype.kind != "f":
                continue
            with np.errstate(invalid="ignore"):
                moved[i] = np.fmax(moved[i], np.abs(value - e))
    largest = float(np.finfo(bars.dtype).max) / 64
    least = max(bars.least, bars.share * _largest(expected, largest))
    for i, (f, e) in enumerate(zip(found, expected, strict=True)):
        if e.dtype.kind != "f":
            continue  # a truth or an index may change with the last digit
        size, bar = np.abs(e), moved[i]
        held = np.isfinite(e) & np.isfinite(bar) & (size < largest)
        if not held.any():
            continue
        if not bars.entrywise:
            size = np.full((), max(least, float(np.max(size[held]))))
            bar = np.full((), np.max(bar[held]))
        allowed = _ROUNDINGS * (bar + unit * size) + 16 * float(
            np.finfo(bars.dtype).smallest_subnormal
        )
        must_be_close_to(f, e, f"{what} {i}", np.where(held, allowed, np.inf))


def _largest(arrays: Sequence[np.ndarray], limit: float) -> float:
    sizes = [np.abs(a[np.isfinite(a)]) for a in arrays if a.dtype.kind == "f"]
    return max((float(np.max(s[s < limit], initial=0.0)) for s in sizes), default=0.0)


def is_entrywise(function: Function, arguments: Sequence[np.ndarray]) -> bool:
    """Does each entry of the one result depend on the same entry of each argument only?"""
    results = function(arguments)
    shapes = {a.shape for a in (*arguments, *results)}
    if len(results) != 1 or len(shapes) != 1 or results[0].size < 2:
        return False
    for i, a in enumerate(arguments):
        moved = a.copy()
        moved.reshape(-1)[-1] *= 0.9375  # towards 0, where most intervals of arguments lie
        [value] = function([*arguments[:i], moved, *arguments[i + 1 :]])
        if not np.array_equal(value.reshape(-1)[:-1], results[0].reshape(-1)[:-1]):
            return False
    return True


def cotangents_in(dtype: np.dtype, results: Sequence[np.ndarray], trial: Any) -> list[np.ndarray]:
    """Cotangents of a precision for results; in a long example such that float16 sums would stop.

    There, 0.3 added one by one to 512 becomes 0.5, and added to 1024 nothing.
    """
    if trial.draws.long:
        return [trial.rng.uniform(0.3, 0.35, y.shape).astype(dtype) for y in results]
    return [gaussian(trial.rng, y.shape).astype(dtype) for y in results]
