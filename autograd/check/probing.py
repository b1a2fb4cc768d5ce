"""probe: one check of a gradient along a random direction with a random cotangent.

The functions here are pure and work on bare arrays.  They check a pair, `evaluate(leaves) ->
outputs` and `pull(leaves, cotangents) -> gradients`, which may come from a tape, a hand-written
rule, or the forward and backward of a module.  After a failure the wrong entries are looked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tapegrad.autograd.check.differentiable import is_differentiable, slope_is_unsteady
from tapegrad.autograd.check.directions import (
    gaussian,
    groups_of,
    has_ties,
    move_off_ties,
    random_direction,
    tie_components,
)
from tapegrad.autograd.check.localise import localise
from tapegrad.autograd.check.report import Probe
from tapegrad.autograd.check.slopes import NAN_AT_KINK, ONE_SIDED, REFUSALS, Judgement, Line, judge
from tapegrad.devices import TapegradError

__all__ = ["NO_VALUES", "compare", "probe"]

Evaluate = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
Pull = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Sequence[np.ndarray]]

NO_VALUES = ("value is not finite", ONE_SIDED)
OFF = "1/64 off the tied point"
FEW_VALUES = 2  # in the arguments together: such a point is probed as it is more often
HUGE = 1e6  # a gradient so many times larger than the slope and the values is as good as infinite


def probe(
    evaluate: Evaluate,
    pull: Pull,
    leaves: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    kind: str = "first order",
    names: Sequence[str] | None = None,
    smooth: Callable[[], bool] | None = None,
) -> tuple[Probe, ...]:
    """Check `pull` against differences of `evaluate` at `leaves`; one probe, more on tied data.

    On tied data the first direction preserves ties and zeros, so that every choice of a subgradient
    passes.  The second is an ordinary one at a point moved 1/64 off the ties, so that an argument
    of zeros, such as a new bias, is checked too.  Now and then, and more often where there are few
    distinct values, a third is an ordinary one at the tied point itself; it accuses only where the
    function is differentiable there, which one direction alone does not show.

    smooth: whether the function is known to have a derivative everywhere; then a gradient of 0 at 0
            is not taken for that of a mask, and tied points are always probed
    """
    leaves = [np.asarray(leaf) for leaf in leaves]
    names = names or [f"argument {i}" for i in range(len(leaves))]
    groups = groups_of(leaves)
    if not has_ties(groups):
        return (_probe_at(evaluate, pull, leaves, None, rng, kind, names, ""),)
    probes = []
    if (groups >= 0).any():
        probes.append(
            _probe_at(evaluate, pull, leaves, groups, rng, kind, names, "ties and zeros kept")
        )
    moved = [
        m.astype(leaf.dtype) for m, leaf in zip(move_off_ties(leaves, rng), leaves, strict=True)
    ]
    probes.append(_probe_at(evaluate, pull, moved, None, rng, kind, names, OFF))
    one_of = 2 if np.unique(groups).size <= FEW_VALUES else 6
    chosen = rng.integers(one_of) == 0
    has_one = smooth is not None and smooth()
    if chosen or has_one:
        probes.append(
            _probe_at(
                evaluate, pull, leaves, None, rng, kind, names, "at the tied point", tied=True,
                smooth=has_one,
            )
        )  # fmt: skip
    return tuple(probes)


def _probe_at(
    evaluate: Evaluate,
    pull: Pull,
    leaves: Sequence[np.ndarray],
    groups: np.ndarray | None,
    rng: np.random.Generator,
    kind: str,
    names: Sequence[str],
    note: str,
    *,
    tied: bool = False,
    smooth: bool = False,
) -> Probe:
    try:
        values = [np.asarray(value) for value in evaluate(leaves)]
    except REFUSALS as error:
        if note != OFF or isinstance(error, TapegradError):
            raise
        return Probe(
            kind, "noisy", math.nan, math.nan, math.inf, 0.0, 0.0, 1, note=f"{note}: {error}"
        )
    if not all(np.isfinite(value).all() for value in values):
        return Probe(kind, "noisy", math.nan, math.nan, math.inf, 0.0, 0.0, 1, note=NO_VALUES[0])
    cotangents = [gaussian(rng, value.shape) for value in values]
    direction = random_direction(leaves, rng, groups)
    return compare(
        evaluate, pull, leaves, direction, cotangents, values,
        kind=kind, names=names, groups=groups, note=note, tied=tied,
        smooth=smooth,
    )  # fmt: skip


def compare(
    evaluate: Evaluate,
    pull: Pull,
    leaves: Sequence[np.ndarray],
    direction: Sequence[np.ndarray],
    cotangents: Sequence[np.ndarray],
    values: Sequence[np.ndarray],
    *,
    kind: str,
    names: Sequence[str],
    groups: np.ndarray | None = None,
    note: str = "",
    tied: bool = False,
    smooth: bool = False,
) -> Probe:
    """A Probe that compares ⟨pull(cotangents), direction⟩ with the numeric slope.

    values: those of `evaluate` at `leaves`
    groups: those that `direction` keeps together
    tied:   whether `leaves` have ties or zeros that `direction` does not keep
    smooth: whether the function is known to have a derivative everywhere
    """
    gradients = [np.asarray(gradient, np.float64) for gradient in pull(leaves, cotangents)]
    for name, leaf, gradient in zip(names, leaves, gradients, strict=True):
        if gradient.shape != leaf.shape:
            return Probe(
                kind, "wrong", math.nan, math.nan, 0.0, 0.0, 0.0, 0,
                note=f"the gradient of {name} has shape {gradient.shape}, "
                f"{name} has shape {leaf.shape}",
            )  # fmt: skip
    if any(np.isnan(gradient).any() for gradient in gradients):
        # entries with a NaN gradient must move, even where the direction kept a zero or a tie
        moves = np.random.default_rng(0)
        direction = [
            np.where(np.isnan(g), gaussian(moves, g.shape), u)
            for g, u in zip(gradients, direction, strict=True)
        ]
    analytic, magnitude = _slope_and_magnitude(gradients, direction, groups)
    line = Line(evaluate, leaves, direction, cotangents, values, gradients)
    judgement = judge(line, analytic, magnitude if math.isfinite(magnitude) else 0.0)
    crossing = groups is None and not tied  # of values that are nearly tied, and not kept so
    if judgement.verdict == "wrong" and crossing and math.isfinite(analytic):
        judgement = _reconsider(line, direction, judgement)
    if judgement.verdict == "wrong" and not _has_one_gradient(
        line, judgement, analytic, magnitude, groups, tied=tied, smooth=smooth
    ):
        judgement = replace(judgement, verdict="kink", note="not differentiable at this point")
    result = Probe(
        kind, judgement.verdict, analytic, judgement.slope.value, judgement.slope.error,
        judgement.tolerance, judgement.slope.step, line.evaluations + 1, judgement.taylor_rate,
        "; ".join(text for text in (note, judgement.note) if text),
    )  # fmt: skip
    if result.verdict != "wrong":
        return result
    entries, diagnosis = localise(
        line, gradients, names, groups, step=judgement.slope.step, scale=magnitude
    )
    return replace(result, entries=entries, diagnosis=diagnosis)


def _has_one_gradient(
    line: Line,
    judgement: Judgement,
    analytic: float,
    magnitude: float,
    groups: np.ndarray | None,
    *,
    tied: bool,
    smooth: bool,
) -> bool:
    """Is there no doubt that the function has a derivative here, where an accusation needs it?

    A direction that keeps ties shows a wrong choice among subgradients without that.  But what is
    huge or infinite there may be right: QR of a singular matrix is smooth along such a direction
    only.
    """
    gap = abs(analytic - judgement.slope.value)
    rng = np.random.default_rng(0)
    if judgement.note == NAN_AT_KINK:
        return True  # which is accused as such
    finite = math.isfinite(analytic)
    if tied and not smooth and finite and not _is_wrong_off_zeros(line):
        return False
    if not tied and groups is not None and _is_doubtful(line, judgement, analytic, magnitude):
        ordinary = line.along(random_direction(line.leaves, rng))
        unsteady = slope_is_unsteady(ordinary, 0.0, judgement.slope.step or 2.0**-13)
        line.evaluations += ordinary.evaluations
        if unsteady:
            return False
    if tied or math.isnan(analytic):
        return is_differentiable(line, judgement.slope, gap, rng)
    return True


def _is_doubtful(line: Line, judgement: Judgement, analytic: float, magnitude: float) -> bool:
    """Is the analytic slope NaN, infinite, or huge beside the numeric one and the values?"""
    if not (math.isfinite(analytic) and math.isfinite(magnitude)):
        return True
    return magnitude > HUGE * (abs(judgement.slope.value) + line.magnitude)


def _is_wrong_off_zeros(line: Line) -> bool:
    """Is the slope still wrong where zeros with the gradient 0 stay zeros?

    A gradient of exactly 0 at 0 is that of a mask, x·(x ≠ 0), or of pieces that meet there.
    """
    moving = [
        np.where((x == 0) & (g == 0), 0.0, u)
        for x, g, u in zip(line.leaves, line.gradients, line.direction, strict=True)
    ]
    if all(np.array_equal(a, b) for a, b in zip(moving, line.direction, strict=True)):
        return True
    analytic, magnitude = _slope_and_magnitude(line.gradients, moving, None)
    calmer = line.along(moving)
    again = judge(calmer, analytic, magnitude)
    line.evaluations += calmer.evaluations
    return again.verdict == "wrong"


def _slope_and_magnitude(
    gradients: Sequence[np.ndarray],
    direction: Sequence[np.ndarray],
    groups: np.ndarray | None,
) -> tuple[float, float]:
    """Σ g·u and its magnitude; entries that do not move count as 0, even with an infinite gradient.

    The magnitude is the smaller of Σ |g·u| and six times the root of Σ (g·u)², which bounds the sum
    of independent errors of many terms.  Entries of one group move together, so they are one term.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        products = [np.where(u == 0, 0.0, g * u) for g, u in zip(gradients, direction, strict=True)]
        try:
            total = math.fsum(float(np.sum(product)) for product in products)
        except (ValueError, OverflowError):  # +inf and −inf met, or the sum is too large
            total = math.nan
        terms = np.concatenate([np.abs(product).reshape(-1) for product in products])
        if groups is not None:
            terms = np.bincount(groups[groups >= 0], terms[groups >= 0])
        return total, min(float(np.sum(terms)), 6 * float(np.sqrt(np.sum(terms * terms))))


def _reconsider(line: Line, direction: Sequence[np.ndarray], judgement: Judgement) -> Judgement:
    """The judgement after moving nearly tied values together, which may explain a "wrong" one.

    Values that are closer than the steps may have crossed.  If the gap is gone when they move
    together, crossing caused it, and the verdict becomes "kink".  Only values much closer than the
    usual spacing count, because among many values some are always close.
    """
    values = np.concatenate([np.reshape(leaf, -1) for leaf in line.leaves])
    reach = max(float(np.max(np.abs(u))) for u in direction if u.size)
    low, high = np.quantile(values, (0.1, 0.9))
    spacing = float(high - low) / values.size if values.size > 8 else math.inf
    groups = groups_of(line.leaves, width=min(2 * line.shortest * reach, 0.05 * spacing))
    if not has_ties(groups):
        return judgement
    if not (groups >= 0).any():
        return replace(judgement, verdict="kink", note="every value is nearly tied or nearly zero")
    # otherwise the same direction: a new one might miss the wrong entry by chance
    together = tie_components(direction, groups)
    expected, magnitude = _slope_and_magnitude(line.gradients, together, groups)
    calmer = Line(
        line.evaluate, line.leaves, together, line.cotangents, line.values, line.gradients
    )
    again = judge(calmer, expected, magnitude)
    line.evaluations += calmer.evaluations
    if again.verdict == "wrong":
        return judgement
    return replace(judgement, verdict="kink", note="right once nearly tied values move together")
