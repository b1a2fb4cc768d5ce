"""Laws of data: layouts, precision, samples, missing values and empty axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.check.gradients import CheckError
from tapegrad.autograd.check.laws import (
    Laws,
    NotCovered,
    must,
    must_be_close,
    must_be_close_to,
    must_be_equal,
    must_show_nan,
    spoil,
)
from tapegrad.autograd.check.layouts import ODD_LAYOUTS
from tapegrad.autograd.check.report import LawError

if TYPE_CHECKING:
    from tapegrad.autograd.check.functions import FunctionTrial

__all__ = ["LAWS"]

LAWS = Laws("function")

_SINGLE = 1e-4  # by which float32 may differ, relative to the largest number or to 1
_EPSILON = float(np.finfo(np.float32).eps)
_ROUNDINGS = 8

RANDOM = "it draws random numbers, which may depend on layout and precision"


@LAWS()
def memory_layout_does_not_matter(trial: FunctionTrial) -> NotCovered | None:
    """Fortran order, gaps, negative strides and read-only arrays give the same results."""
    if _is_random(trial):
        return NotCovered(RANDOM)
    expected, v = trial.results(), trial.cotangents()
    gradients = trial.gradients(v)
    for name, layout in ODD_LAYOUTS.items():
        point = [layout(x) for x in trial.point]
        for i, (f, e) in enumerate(zip(trial.results(point), expected, strict=True)):
            _must_agree(f, e, f"result {i} of {name} arrays", relative=1e-12)
        found = trial.gradients([layout(c) for c in v], point)
        for which, f, e in zip(trial.names, found, gradients, strict=True):
            what = f"gradient of {which}, {name} arrays"
            must_be_close(f, e, what, relative=1e-11, scale=1.0)
    return None


@LAWS()
def float32_agrees_with_float64(trial: FunctionTrial) -> NotCovered | None:
    """float32 arguments give float32 results and gradients, close to those of float64.

    Integers and booleans among the results keep their type; the last digit may change their values.
    """
    if _is_random(trial):
        return NotCovered(RANDOM)
    single = [x.astype(np.float32) for x in trial.point]
    double = [x.astype(np.float64) for x in single]
    all_single, all_double = trial.results(single), trial.results(double)
    for i, (s, d) in enumerate(zip(all_single, all_double, strict=True)):
        wanted = np.dtype(np.float32) if d.dtype == np.float64 else d.dtype
        must(s.dtype == wanted, f"result {i} of float32 arrays is {s.dtype}")
        if d.dtype.kind == "f":
            _must_be_near(s, d, f"result {i} in float32", trial, double, trial.results, i)
    at_double = trial.values(double)
    v = [c.astype(np.float32) for c in trial.cotangents(at_double)]
    trial.values(single)  # of which the gradients are next
    singles = trial.gradients(v, single)
    doubles = trial.gradients([c.astype(np.float64) for c in v], double)
    wide = [c.astype(np.float64) for c in v]
    for i, (which, s, d) in enumerate(zip(trial.names, singles, doubles, strict=True)):
        must(s.dtype == np.float32, f"gradient of {which} of float32 arrays is {s.dtype}")
        what = f"gradient of {which} in float32"
        _must_be_near(s, d, what, trial, double, lambda point: trial.gradients(wide, point), i)
    return None


@LAWS()
def nan_stays_nan(trial: FunctionTrial) -> None:
    """A NaN in an entry that matters shows in the result, or is refused by an exception."""
    before = trial.results()
    ranked = any(y.dtype.kind in "iu" for y in before)
    for i, x in enumerate(trial.point):
        if not x.size:
            continue
        bad, moved = spoil(x, trial.rng)

        def at(other: np.ndarray, i: int = i) -> list[np.ndarray]:
            return trial.results([*trial.point[:i], other, *trial.point[i + 1 :]])

        after = at(moved)
        try:
            broken = at(bad)
        except (CheckError, LawError):
            raise
        except Exception:  # noqa: BLE001, S112  # the libraries' ways to refuse are many
            continue
        if ranked and _counts_as_largest(at(np.where(np.isnan(bad), np.inf, bad)), broken):
            continue  # the function names places: its order has NaN at the end, as sort has
        for b, a, n in zip(before, after, broken, strict=True):
            if b.dtype.kind == "f":
                must_show_nan(b, a, n, trial.names[i])


@LAWS()
def the_samples_of_a_batch_do_not_meet(trial: FunctionTrial) -> NotCovered | None:
    """Results and input gradients of a batch are those of its samples, where that is asked."""
    count = trial.pair.samples
    if not count:
        return NotCovered("nothing says that the samples of a batch do not meet")
    rows = {np.shape(a)[:1] for a in trial.args[:count]}
    if len(rows) != 1 or () in rows:
        return NotCovered("the arguments have no batch axis in common")
    [(size,)] = rows
    expected = trial.results()
    if size < 2 or any(np.shape(y)[:1] != (size,) for y in expected):
        return NotCovered("the results have no batch axis, or the batch is one sample")
    for row in range(min(size, 4)):
        part = [a[row : row + 1] if i < count else a for i, a in enumerate(trial.args)]
        found = trial.pair.fn(*part)
        found = list(found) if isinstance(found, (list, tuple)) else [found]
        for i, (f, e) in enumerate(zip(found, expected, strict=True)):
            _must_agree(f, e[row : row + 1], f"result {i} of sample {row} alone", relative=1e-11)
    return None


@LAWS(empties=True)
def an_empty_batch_is_fine(trial: FunctionTrial) -> NotCovered | None:
    """Axes of length 0 give results, and gradients with the shapes of the arguments."""
    if all(x.size for x in trial.point):
        return NotCovered("no argument has an axis N or T, which may be empty")
    for name, g, x in zip(trial.names, trial.gradients(trial.cotangents()), trial.point,
                          strict=True):  # fmt: skip
        must(g.shape == x.shape, f"the gradient of {name} has shape {g.shape}, not {x.shape}")
    return None


def _must_be_near(
    single: np.ndarray,
    double: np.ndarray,
    what: str,
    trial: FunctionTrial,
    point: Sequence[np.ndarray],
    compute: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]],
    number: int,
) -> None:
    """Raise LawError unless a float32 array is close to the one of float64.

    It may be as far from it as some roundings of the arguments to float32 move that: a variance of
    nearly equal numbers, divided by, makes much of them.

    compute: what gives the float64 array, at `number` among others, at a point near `point`
    """
    try:
        must_be_close(single, double, what, relative=_SINGLE, scale=1.0)
    except LawError:
        moved = np.zeros(double.shape)
        for _ in range(_ROUNDINGS):
            near = [x * (1 + _EPSILON * trial.rng.uniform(-1, 1, x.shape)) for x in point]
            found = np.asarray(compute(near)[number], np.float64)
            if found.shape != double.shape:
                raise
            with np.errstate(invalid="ignore"):
                moved = np.fmax(moved, np.abs(found - double))
        finite = double[np.isfinite(double)]
        allowed = _SINGLE * max(1.0, float(np.max(np.abs(finite), initial=0.0)))
        must_be_close_to(single, double, what, allowed + _ROUNDINGS * moved)


def _must_agree(found: np.ndarray, expected: np.ndarray, what: str, *, relative: float) -> None:
    if expected.dtype.kind == "f":
        must_be_close(found, expected, what, relative=relative, scale=1.0)
    else:
        must_be_equal(found, expected, what)


def _is_random(trial: FunctionTrial) -> bool:
    return trial.pair.random is not None and trial.pair.random()


def _counts_as_largest(largest: Sequence[np.ndarray], bad: Sequence[np.ndarray]) -> bool:
    """Are results with a NaN those with ∞ in its place, which does not show either?"""
    return all(
        a.shape == b.shape
        and np.array_equal(a, b)
        and not (b.dtype.kind == "f" and np.isnan(b).any())
        for a, b in zip(largest, bad, strict=True)
    )
