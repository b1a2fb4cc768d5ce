"""Numeric slopes with an error bar, and the verdict on an analytic slope.

φ(t) = ⟨v, f(x + t·u)⟩ is a function of one number along a line.  Central differences at h, h/4 and
h/16 give two Richardson values R₁, R₂; |R₁ − R₂| bounds the truncation error, and
eps·(Σ|v·y| + Σ|g·x|)/h the rounding error of the values and of the points.  An analytic slope is
accepted within four error bars plus 1e-9 of the *magnitude* of the terms of the sum (so that
cancellation in the sum cannot hide an error).  It is called wrong only if a step 32 times smaller,
or larger where rounding spoils the smaller one, gives the same different value again, the slope
does not jump there, and the noise of the function, which is measured, does not explain the gap.

Rejected: one fixed step and tolerance, which misses errors of 1 % and calls right gradients near
kinks wrong; and the complex step, since most code to be checked is not analytic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tapegrad.autograd.check.laws import RefusedError
from tapegrad.devices import TapegradError

__all__ = [
    "NAN_AT_KINK",
    "ONE_SIDED",
    "REFUSALS",
    "Judgement",
    "Line",
    "Slope",
    "judge",
    "jumps",
    "noise_of",
    "slope_at",
    "taylor_rate",
]

Evaluate = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]

# What code raises on data that it does not take; NumPy's LinAlgError is a ValueError.
REFUSALS = (ValueError, RuntimeError, ArithmeticError, RefusedError)

# Exponents e of the steps: shorter ones against truncation and kinks, longer ones against rounding.
# Each level uses the steps 2^e, 2^e/4, 2^e/16; levels are 32 times apart.
_SHORTER = (-8, -13, -18, -23)
_LONGER = (-3, 2)

# A slope is accurate enough when its error bar is this small beside the sum of magnitudes …
_SHARP = 1e-8
# … and proves nothing when it is wider than this (in float64, and in float32).
_BLUNT, _BLUNT_SINGLE = 1e-5, 1e-2
_TOLERANCE = 1e-9
# The spacing of the points that measure noise, wide enough to show the steps of float32.
_NOISE_SPACING = 2.0**-20

# A gradient whose Taylor remainder falls at this rate is not called wrong for a gap of CLOSE
# tolerances.
RIGHT_RATE, CLOSE = 1.95, 4.0

NAN_AT_KINK = "NaN where the function is finite, at a kink"
ONE_SIDED = "no finite values on both sides"
COARSE = "right at long steps only: the values rise in stairs (coarse rounding, or a rounding step)"


class Line:
    """The function t ↦ φ(t) − φ(0) along x + t·u, with the magnitudes that its rounding depends on.

    It sums the differences of the outputs, not the outputs, so that cancellation between outputs
    loses no digits.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        leaves: Sequence[np.ndarray],
        direction: Sequence[np.ndarray],
        cotangents: Sequence[np.ndarray],
        values: Sequence[np.ndarray],
        gradients: Sequence[np.ndarray] = (),
    ):
        self.evaluate = evaluate
        self.leaves = leaves
        self.direction = direction
        self.cotangents = cotangents
        self.values = values
        self.gradients = gradients
        self.evaluations = 0
        self._values: dict[float, float] = {}
        dtypes = [array.dtype for array in (*values, *leaves) if array.dtype.kind == "f"]
        self.epsilon = max((float(np.finfo(dtype).eps) for dtype in dtypes), default=2.0**-52)
        magnitudes = _dot_magnitudes(cotangents, values)
        if gradients:
            moving = [g * (u != 0) for g, u in zip(gradients, direction, strict=True)]
            magnitudes += _dot_magnitudes(moving, leaves)
        # Terms that cancel inside may be as large as the inputs: x − log Σ eˣ may be exactly 0.
        self.magnitude = max(magnitudes, _largest(cotangents) * _largest(leaves))

    def along(self, direction: Sequence[np.ndarray]) -> Line:
        """The line through the same point in another direction."""
        return Line(
            self.evaluate, self.leaves, direction, self.cotangents, self.values, self.gradients
        )

    @property
    def steps(self) -> list[float]:
        """The step sizes that were evaluated so far, shortest first."""
        return sorted({abs(t) for t in self._values})

    @property
    def shortest(self) -> float:
        """The shortest step that was evaluated so far."""
        return self.steps[0]

    def __call__(self, t: float) -> float:
        """φ(t) − φ(0); NaN where the function has no finite value."""
        if t == 0.0:
            return 0.0
        if t not in self._values:
            self._values[t] = self.at(t)
        return self._values[t]

    def at(self, t: float) -> float:
        """φ(t) − φ(0), evaluated anew and not counted among the steps; NaN where it is refused."""
        point = [
            (leaf + t * move).astype(leaf.dtype, copy=False)
            for leaf, move in zip(self.leaves, self.direction, strict=True)
        ]
        self.evaluations += 1
        try:
            values = self.evaluate(point)
        except REFUSALS as error:
            if isinstance(error, TapegradError):
                raise
            return math.nan  # the point is outside of what the function takes
        with np.errstate(invalid="ignore", over="ignore"):
            return math.fsum(
                float(np.sum(v * (after.astype(np.float64) - before)))
                for v, after, before in zip(self.cotangents, values, self.values, strict=True)
            )


@dataclass(frozen=True)
class Slope:
    """A numeric slope: its value, its truncation and rounding errors, and its first step."""

    value: float
    truncation: float
    rounding: float
    step: float

    @property
    def error(self) -> float:
        """Half-width of the error bar."""
        return self.truncation + self.rounding


@dataclass(frozen=True)
class Judgement:
    """The verdict on an analytic slope, and the numeric slope that it was compared with."""

    verdict: str
    slope: Slope
    tolerance: float
    taylor_rate: float | None = None
    note: str = ""


def slope_at(line: Line, step: float) -> Slope:
    """The slope of φ at 0 from central differences at step, step/4, step/16 (six evaluations)."""
    quotients = [
        (line(step / shrink) - line(-step / shrink)) / (2 * step / shrink) for shrink in (1, 4, 16)
    ]
    first = (16 * quotients[1] - quotients[0]) / 15
    second = (16 * quotients[2] - quotients[1]) / 15
    rounding = 32 * line.epsilon * line.magnitude / step
    if not math.isfinite(second):
        return Slope(math.nan, math.inf, rounding, step)
    return Slope(second, abs(first - second), rounding, step)


def judge(
    line: Line, analytic: float, magnitude: float, *, tolerance: float = _TOLERANCE
) -> Judgement:
    """The Judgement on `analytic` as the value of φ'(0): "ok", "wrong", "kink" or "noisy".

    magnitude: the scale of the terms of Σ g·u: Σ|g·u| of few terms; of many, six times the root of
               the sum of their squares, the size of a sum of independent relative errors.  With
               Σ|g·u|, one wrong entry in a 512 × 512 weight would not be seen.
    It costs six evaluations where the slope is right.
    """
    margin = tolerance * magnitude
    if not math.isfinite(analytic):
        return _judge_not_finite(line, analytic, margin)

    def agrees(slope: Slope) -> bool:
        return abs(analytic - slope.value) <= 4 * slope.error + margin

    def scale(slope: Slope) -> float:
        # a gradient of 0 is judged on the scale of the values, which should then not change
        size = magnitude + abs(slope.value)
        return 1e-3 * line.magnitude if size <= 1e-12 * line.magnitude else size

    best: Slope | None = None
    accused: Slope | None = None
    for exponent in _SHORTER:
        slope = slope_at(line, 2.0**exponent)
        if not math.isfinite(slope.value):
            accused = None
            continue
        if agrees(slope):
            if accused is not None and _too_uncertain_to_acquit(accused, slope, analytic):
                further = slope_at(line, 32 * accused.step)
                if _same_wrong_value(accused, further, analytic, line.magnitude) and not agrees(
                    further
                ):
                    return _confirm(line, analytic, margin, accused, further)
            accused = None
            if best is None or slope.error < best.error:
                best = slope
            if slope.error <= _SHARP * scale(slope):
                break
            if slope.rounding > slope.truncation:
                longer = [slope_at(line, 2.0**exponent) for exponent in _LONGER]
                best = min(
                    [best, *[s for s in longer if math.isfinite(s.value)]], key=lambda s: s.error
                )
                if not agrees(best):
                    # a long step may have crossed a kink, so its disagreement proves nothing
                    best = slope
                break
        elif accused is not None and _same_wrong_value(accused, slope, analytic, line.magnitude):
            return _confirm(line, analytic, margin, accused, slope)
        else:
            accused = slope
    if best is None:
        slope = accused or Slope(math.nan, math.inf, 0.0, 2.0 ** _SHORTER[-1])
        if math.isnan(slope.value):
            return Judgement("noisy", slope, margin, None, ONE_SIDED)
        verdict = "kink" if jumps(line, abs(analytic - slope.value)) else "noisy"
        return Judgement(verdict, slope, margin, None, "no two steps give one slope")
    blunt = _BLUNT if line.epsilon < 1e-12 else _BLUNT_SINGLE
    if best.error > blunt * scale(best):
        return Judgement("noisy", best, margin, None, _noise_note(line))
    return Judgement("ok", best, margin)


def taylor_rate(line: Line, analytic: float, steps: Sequence[float]) -> float | None:
    """The exponent r in |φ(t) − φ(0) − t·analytic| ∝ tʳ, fitted over `steps`; None at 0."""
    remainders = [abs(line(step) - step * analytic) for step in steps]
    usable = [
        (math.log2(step), math.log2(remainder))
        for step, remainder in zip(steps, remainders, strict=True)
        if math.isfinite(remainder) and remainder > 8 * line.epsilon * line.magnitude
    ]
    if len(usable) < 2:
        return None
    abscissae, ordinates = zip(*usable, strict=True)
    return float(np.polyfit(abscissae, ordinates, 1)[0])


def _same_wrong_value(first: Slope, second: Slope, analytic: float, size: float) -> bool:
    """Do both slopes give the same value, clearly away from `analytic`?

    size: beside a huge analytic slope every gap is wide, but an error bar as wide as the numeric
          slope and the values is that of a jump
    """
    gap = abs(analytic - second.value)
    agreement = 4 * (first.error + second.error) + 0.02 * gap
    sharp = second.error <= min(gap, max(abs(second.value), size)) / 8
    return abs(first.value - second.value) <= agreement and sharp


def _too_uncertain_to_acquit(accused: Slope, shorter: Slope, analytic: float) -> bool:
    """Does the shorter step agree with everything only because rounding widened its error bar?

    One wrong entry among 512 × 512 is such a case: its error is small beside the sum, and visible
    only at longer steps.  A longer step then has to give the same different value.
    """
    gap = abs(analytic - accused.value)
    both = abs(accused.value - shorter.value) <= 4 * (accused.error + shorter.error)
    return both and shorter.rounding > gap / 32 and accused.error <= gap / 8


def _confirm(line: Line, analytic: float, margin: float, first: Slope, second: Slope) -> Judgement:
    """The judgement on two slopes that differ: wrong unless a jump or noise explains it."""
    gap = abs(analytic - second.value)
    rate = taylor_rate(line, analytic, [first.step / 4**k for k in range(3)])
    shortest = 0.0 if second.step < first.step else first.step / 16
    if jumps(line, gap, shortest):
        return Judgement("kink", second, margin, rate, "the slope jumps at this point")
    if second.value == 0.0 and 1e3 * gap * _TOLERANCE < margin:
        # exactly flat, while the terms of the analytic slope nearly cancel: a staircase too
        return Judgement("noisy", second, margin, rate, COARSE)
    if _agrees_at_long_steps(line, analytic, gap) and not _is_smooth(line, first, second, gap):
        return Judgement("noisy", second, margin, rate, COARSE)
    if rate is not None and rate > RIGHT_RATE and gap <= CLOSE * margin:
        # The remainder falls as for a right gradient, and the gap is near the tolerance: that is
        # what a kink does which only the longest step crosses.
        return Judgement("noisy", second, margin, rate, "too near a kink to tell at the tolerance")
    spread = noise_of(line)
    noise = 8 * spread / first.step * 16
    if gap <= 4 * (first.error + noise) + margin:
        return Judgement("noisy", first, margin, rate, _noise_note(line))
    return Judgement("wrong", min(first, second, key=lambda s: s.error), margin, rate)


def _judge_not_finite(line: Line, analytic: float, margin: float) -> Judgement:
    """The judgement on a slope that is NaN or infinite.

    NaN is wrong where the difference quotients stay bounded; where they jump besides, as those of
    |x| do at 0, it is what many libraries give on purpose, and the note says that.  An infinite
    slope may be right (√x at 0), so it is wrong only where a finite slope is measured.  A slope
    whose error bar is as wide as itself, and as the values, proves nothing.
    """
    slopes = [slope_at(line, 2.0**exponent) for exponent in _SHORTER[:3]]
    finite = [s for s in slopes if math.isfinite(s.value)]
    if len(finite) < 2:
        slope = slopes[-1]
        return Judgement("noisy", slope, margin, None, ONE_SIDED)
    first, second = finite[-2:]
    sides = [abs(line(sign * second.step)) / second.step for sign in (1, -1)]
    if math.isnan(analytic):
        # error bars as large as the quotients would hide that those grow: rounding alone counts
        rounding = 4 * (first.rounding + second.rounding)
        bounded = abs(second.value) <= 2 * abs(first.value) + rounding
        sides_before = [abs(line(sign * first.step)) / first.step for sign in (1, -1)]
        if bounded and max(sides) <= 2 * max(sides_before) + rounding:
            if jumps(line, 0.0):
                return Judgement("wrong", second, margin, None, NAN_AT_KINK)
            if second.error <= 1e-3 * max(abs(second.value), 1e-3 * line.magnitude):
                return Judgement("wrong", second, margin, None, "NaN where the function is finite")
            return Judgement("noisy", second, margin, None, "error bar too wide")
    elif abs(first.value - second.value) <= 4 * (
        first.error + second.error
    ) and second.error <= 1e-3 * max(abs(second.value), 1e-3 * line.magnitude):
        return Judgement("wrong", second, margin, None, "infinite where the slope is finite")
    return Judgement("kink", second, margin, None, "no finite slope at this point")


def jumps(line: Line, gap: float, shortest: float = 0.0) -> bool:
    """Does |φ(h) − 2φ(0) + φ(−h)|/h fail to shrink with h over the steps evaluated so far?

    shortest: the shortest step to use; rounding spoils those below
    """
    kinks = [(h, abs(line(h) + line(-h)) / h) for h in line.steps if h >= shortest]
    kinks = [(h, k) for h, k in kinks if math.isfinite(k)]
    if len(kinks) < 2:
        return True
    (short, sharpest), (_, broadest) = kinks[0], kinks[-1]
    if max(k for _, k in kinks[:3]) == 0.0:
        return False
    noise = 16 * line.epsilon * line.magnitude / short
    return sharpest > max(broadest / 8, noise, 1e-4 * gap)


def _agrees_at_long_steps(line: Line, analytic: float, gap: float) -> bool:
    """Do long steps agree with `analytic` much better than short ones?

    Coarsely rounded values such as (x + 1e12) − 1e12 form a staircase.  At short steps its slope is
    0, or, because both kinds of steps are powers of 2, the same wrong value several times.
    """
    steps = [2.0**exponent for exponent in (-3, 0, 3, 6, 9)]
    quotients = [(line.at(step) - line.at(-step)) / (2 * step) for step in steps]
    return sum(abs(quotient - analytic) < gap / 8 for quotient in quotients) >= 2


def _is_smooth(line: Line, first: Slope, second: Slope, gap: float) -> bool:
    """Does φ rise along a smooth curve between the steps, and not in stairs, nor not at all?

    A bounded function with the gradient 0 seems right at long steps, too: its quotients vanish
    there.  Between powers of 2, a staircase is off its slope by a part of a stair.
    """
    if abs(second.value) <= gap / 8:
        return False
    return all(
        _is_cubic(line, slope.step, 2.0**-10 * gap * slope.step) for slope in (first, second)
    )


def _is_cubic(line: Line, step: float, allowed: float) -> bool:
    """Is φ a cubic polynomial, but for `allowed` and rounding, at uneven points up to `step`?"""
    points = np.array([0.23, 0.37, 0.53, 0.71, 0.89, 0.97])
    points = np.concatenate([points, -points])
    values = np.array([line.at(step * float(t)) for t in points])
    if not np.isfinite(values).all():
        return False
    powers = np.stack([points, points**2, points**3], axis=1)
    cubic = powers @ np.linalg.lstsq(powers, values, rcond=None)[0]
    noise = 16 * line.epsilon * line.magnitude
    return bool(np.max(np.abs(values - cubic)) <= max(allowed, noise))


def noise_of(line: Line, spacing: float = _NOISE_SPACING) -> float:
    """The noise of the function along the line, from fourth differences of closely spaced values.

    Moré and Wild, Estimating computational noise (SIAM J. Sci. Comput. 33, 2011), one level.
    """
    values = np.array([line.at(k * spacing) for k in range(-3, 4)])
    fourth = np.diff(values, 4)
    return float(np.sqrt(np.mean(fourth**2) / 70)) if np.isfinite(fourth).all() else math.inf


def _noise_note(line: Line) -> str:
    noise = noise_of(line)
    if line.magnitude and math.isfinite(noise) and line.epsilon < 1e-12:
        relative = noise / line.magnitude
        if 1e-10 < relative < 1e-5:
            return (
                f"values carry noise of {relative:.0e} of their size: "
                "is something inside computed in float32?"
            )
    return "error bar too wide"


def _largest(arrays: Sequence[np.ndarray]) -> float:
    return max((float(np.max(np.abs(array), initial=0.0)) for array in arrays), default=0.0)


def _dot_magnitudes(weights: Sequence[np.ndarray], arrays: Sequence[np.ndarray]) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        total = sum(
            float(np.sum(np.abs(w * a))) for w, a in zip(weights, arrays, strict=True) if w.size
        )
    return total if math.isfinite(total) else 0.0
