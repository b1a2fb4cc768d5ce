"""Laws of precision: half precision, saturated data, integers, ties and equal eigenvalues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.error_bars import (
    ErrorBars,
    cotangents_in,
    is_entrywise,
    must_be_rounded_only,
)
from tapegrad.autograd.check.laws import Laws, NotCovered, must
from tapegrad.autograd.check.primitives.scope import numpy_names

if TYPE_CHECKING:
    from tapegrad.autograd.check.primitives.trial import PrimitiveTrial

__all__ = ["LAWS"]

LAWS = Laws("primitive")

_REFUSALS = (TypeError, np.linalg.LinAlgError)
_MOST = 200_000
_SIDE = 2.0**-20  # the step to either side of a tie


@LAWS()
def float16_agrees_with_float64(trial: PrimitiveTrial) -> NotCovered | None:
    """float16 arguments give values and gradients that are right but for some roundings."""
    return _agrees_with_float64(trial, np.dtype(np.float16))


@LAWS(regimes=("constant", "ordinary"), long=True, deep=True)
def float16_sums_lose_nothing(trial: PrimitiveTrial) -> NotCovered | None:
    """Sums of thousands of float16 numbers, in values and gradients, are added in float32."""
    return _agrees_with_float64(trial, np.dtype(np.float16))


@LAWS(regimes=("saturated",), effort=0.4)
def saturated_values_and_gradients_are_precise(trial: PrimitiveTrial) -> NotCovered | None:
    """Far out on both sides, float32 is right; of an elementwise function in each entry's digits.

    What sums entries, as softmax does, may lose small ones beside large ones.
    """
    return _agrees_with_float64(trial, np.dtype(np.float32))


def _agrees_with_float64(trial: PrimitiveTrial, dtype: np.dtype) -> NotCovered | None:
    if not trial.point or "dtype" in trial.call.settings:
        return NotCovered("no argument has a precision, or the result has one of its own")
    with np.errstate(over="ignore"):
        low = [x.astype(dtype) for x in trial.point]
    high = [x.astype(np.float64) for x in low]
    try:
        found = trial.values(low)
    except _REFUSALS:
        return NotCovered(f"it refuses {dtype}")
    if sum(y.size for y in found) > _MOST:
        return NotCovered("its results are too large for a quick check")
    own = dtype == np.float32 and is_entrywise(trial.values, high)
    bars = ErrorBars(dtype, trial.rng, own, 0.0 if trial.draws.long else 1.0)
    if not numpy_names(trial.name):  # else the values are NumPy's, whatever their digits
        must_be_rounded_only(found, trial.values, high, bars, f"{dtype} result")
    if not trial.derives:
        return None
    shapes = [y for y in found if y.dtype.kind == "f"]
    v = cotangents_in(dtype, shapes, trial)
    count = len(low)

    def gradients(arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        return trial.gradients(arguments[count:], arguments[:count])

    gradients_found = trial.gradients(
        [c.astype(y.dtype) for c, y in zip(v, shapes, strict=True)], low
    )
    for i, g in enumerate(gradients_found):
        must(g.dtype == dtype, f"gradient {i} of {dtype} is {g.dtype}")
    wide = [*high, *(c.astype(np.float64) for c in v)]
    must_be_rounded_only(gradients_found, gradients, wide, bars, f"{dtype} gradient")
    return None


def _side(
    trial: PrimitiveTrial,
    point: Sequence[np.ndarray],
    direction: Sequence[np.ndarray],
    v: Sequence[np.ndarray],
    step: float,
) -> float:
    """The slope of ⟨v, f⟩ from `point` to `point` + step · direction."""

    def at(t: float) -> list[np.ndarray]:
        values = trial.values([x + t * u for x, u in zip(point, direction, strict=True)])
        return [y for y in values if y.dtype.kind == "f"]

    pairs = zip(v, at(step), at(0.0), strict=True)
    return sum(float(np.sum(c * (b - y))) for c, b, y in pairs) / step


def _in_one_matrix(direction: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A direction that is 0 but in one matrix (the last two axes) of a stack."""
    matrices = direction.reshape((-1, *direction.shape[-2:])) if direction.ndim > 2 else direction
    if direction.ndim > 2 and len(matrices):
        matrices[np.arange(len(matrices)) != rng.integers(len(matrices))] = 0
    return direction


def _must_lie_between(slope: float, sides: Sequence[float], magnitude: float, where: str) -> None:
    leeway = 1e-4 * (abs(sides[0]) + abs(sides[1]) + abs(slope)) + 1e-5 * magnitude
    must(
        min(sides) - leeway <= slope <= max(sides) + leeway,
        f"{where}: the slope by the gradient is {slope:.6g}, those to both sides are "
        f"{sides[0]:.6g} and {sides[1]:.6g}",
    )


@LAWS(effort=0.4)
def at_a_tie_its_gradient_lies_between_those_of_both_sides(
    trial: PrimitiveTrial,
) -> NotCovered | None:
    """Where two entries are equal, the gradient is none that no side of the tie has."""
    places = [(i, j) for i, x in enumerate(trial.point) for j in range(x.size)]
    if len(places) < 2:
        return NotCovered("it has no two entries")
    if trial.draws.spectra:
        return NotCovered("its matrices are made of eigenvalues, not of entries")
    one, other = (places[k] for k in trial.rng.choice(len(places), 2, replace=False))
    point = [x.copy() for x in trial.point]
    point[one[0]].reshape(-1)[one[1]] = point[other[0]].reshape(-1)[other[1]]
    try:
        values = [y for y in trial.values(point) if y.dtype.kind == "f"]
    except np.linalg.LinAlgError:
        return NotCovered("the matrix with a tie is refused")
    v = [gaussian(trial.rng, y.shape) for y in values]
    direction = [np.zeros(x.shape) for x in point]
    direction[one[0]].reshape(-1)[one[1]] = 1.0
    slope = float(trial.gradients(v, point)[one[0]].reshape(-1)[one[1]])
    try:
        sides, nearer = (
            [_side(trial, point, direction, v, sign * step) for sign in (1, -1)]
            for step in (_SIDE, _SIDE / 4)
        )
    except ValueError:
        return NotCovered("the shape of its result depends on ties")
    if not np.isfinite([*sides, slope]).all():
        return NotCovered("it is not finite beside the tie")
    steep = 1e-2 * (abs(sides[0]) + abs(sides[1]) + 1e-3)
    if any(abs(s - n) > steep for s, n in zip(sides, nearer, strict=True)):
        return NotCovered("its slopes change too much beside the tie")
    magnitude = sum(float(np.sum(np.abs(c * y))) for c, y in zip(v, values, strict=True))
    _must_lie_between(slope, sides, magnitude, f"entries {one} and {other} are equal")
    return None


@LAWS(regimes=("degenerate",), effort=0.5)
def at_equal_eigenvalues_its_gradient_is_right_or_nan(trial: PrimitiveTrial) -> Any:
    """Of matrices with equal or zero eigen- or singular values: right, refused or NaN."""
    if not trial.draws.spectra:
        return NotCovered("the case makes no matrix of its eigenvalues")
    try:
        v = trial.cotangents()
        gradients = trial.gradients(v)
    except np.linalg.LinAlgError:
        return None
    # One matrix of a stack: the slopes of two may rise on different sides.
    direction = [_in_one_matrix(gaussian(trial.rng, x.shape), trial.rng) for x in trial.point]
    near, far = (
        [_side(trial, trial.point, direction, v, sign * step) for sign in (1, -1)]
        for step in (_SIDE, 64 * _SIDE)
    )
    grows = any(abs(n) > 8 * abs(f) + 1e-3 for n, f in zip(near, far, strict=True))
    with np.errstate(invalid="ignore"):
        slope = sum(float(np.sum(g * u)) for g, u in zip(gradients, direction, strict=True))
    if grows or not np.isfinite(near).all():
        must(not np.isfinite(slope), f"it jumps here, and its gradient is a number: {slope:.6g}")
        return None
    smooth = abs(near[0] - near[1]) <= 1e-3 * (abs(near[0]) + abs(near[1]))
    if np.isnan(slope):
        must(not smooth, f"the gradient is NaN, and the slope is {near[0]:.6g}")
        return None
    magnitude = sum(float(np.sum(np.abs(c))) for c in v)
    _must_lie_between(slope, near, magnitude, "equal eigenvalues")
    return None
