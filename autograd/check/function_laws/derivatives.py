"""Laws of the derivatives of functions with a gradient written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.draws import REGIMES
from tapegrad.autograd.check.laws import (
    Laws,
    NotCovered,
    must,
    must_be_close,
    must_be_transposed,
)
from tapegrad.autograd.check.probing import NO_VALUES, probe
from tapegrad.autograd.check.report import Report

if TYPE_CHECKING:
    from tapegrad.autograd.check.functions import FunctionTrial

__all__ = ["LAWS"]

LAWS = Laws("function")

NOT_FINITE = "the values are not finite here"
_SINGLES = 6  # so many arguments are tracked one by one


@LAWS(regimes=REGIMES, effort=1.0)
def its_gradient_is_the_derivative(trial: FunctionTrial) -> Report | NotCovered:
    """The hand-written gradient agrees with difference quotients of the function."""
    if not _all_finite(trial.values()):
        return NotCovered(NOT_FINITE)
    probes = probe(
        trial.values,
        lambda point, v: trial.gradients(v, point),
        trial.point,
        trial.rng,
        names=trial.names,
        smooth=trial.is_smooth,
    )
    if all(any(note in p.note for note in NO_VALUES) and not p.resolved for p in probes):
        return NotCovered(NOT_FINITE)  # at the border of the domain, or around it
    return Report(repr(trial), probes).raise_if_wrong()


@LAWS(regimes=("ordinary", "grid"), effort=0.4)
def its_second_derivative_is_right(trial: FunctionTrial) -> Report | NotCovered:
    """The derivatives of the gradient, by the arguments and by the cotangent, are right."""
    v, count = trial.cotangents(), len(trial.point)
    if not _all_finite(trial.gradients(v)):
        return NotCovered(NOT_FINITE)
    _, of_v = trial.second([0 * x for x in trial.point], v)

    def pull(leaves: Sequence[np.ndarray], u: Sequence[np.ndarray]) -> list[np.ndarray]:
        by_point, by_v = trial.second(u, leaves[count:] or v, leaves[:count])
        return by_point if of_v is None else [*by_point, *(by_v or [])]

    probes = probe(
        lambda leaves: trial.gradients(leaves[count:] or v, leaves[:count]),
        pull,
        trial.point if of_v is None else [*trial.point, *v],
        trial.rng,
        kind="second order",
        names=[*trial.names, *(f"cotangent {i}" for i in range(len(of_v or ())))],
    )
    return Report(repr(trial), probes).raise_if_wrong()


@LAWS()
def its_gradient_is_linear_in_the_cotangent(trial: FunctionTrial) -> None:
    """vjp(2u − 3v) = 2·vjp(u) − 3·vjp(v), and vjp(0) = 0 where values and gradients are finite."""
    u, v = trial.cotangents(), trial.cotangents()
    of_u, of_v = trial.gradients(u), trial.gradients(v)
    mixed = trial.gradients([2 * a - 3 * b for a, b in zip(u, v, strict=True)])
    for name, m, a, b in zip(trial.names, mixed, of_u, of_v, strict=True):
        # terms that cancel inside may be as large as the cotangents, and so may their rounding
        terms = (a, b, *u, *v)
        scale = 3 * max(float(np.max(np.abs(term), initial=0)) for term in terms)
        what = f"gradient of {name} for 2u − 3v"
        must_be_close(m, 2 * a - 3 * b, what, relative=1e-12, scale=scale)
    if not _all_finite([*trial.values(), *of_u]):
        return
    for name, zero in zip(trial.names, trial.gradients([0 * c for c in u]), strict=True):
        must(not np.any(zero), f"the gradient of {name} for the cotangent 0 is not 0")


@LAWS()
def pushed_tangents_agree_with_its_gradient(trial: FunctionTrial) -> NotCovered | None:
    """⟨v, J·u⟩ = ⟨Jᵀ·v, u⟩ for a rule for tangents that is written by hand, too."""
    values = trial.values()
    u = [gaussian(trial.rng, x.shape).astype(x.dtype) for x in trial.point]
    pushed = trial.tangents(u)
    if pushed is None:
        return NotCovered("it has no rule for tangents")
    for i, (t, y) in enumerate(zip(pushed, values, strict=True)):
        must(t.shape == y.shape, f"tangent {i} has shape {t.shape}, its result {y.shape}")
    v = trial.cotangents(values)
    must_be_transposed(v, pushed, trial.gradients(v), u)
    return None


@LAWS()
def tracking_fewer_arguments_changes_no_gradient(trial: FunctionTrial) -> NotCovered | None:
    """Each argument's gradient is the same where the others are frozen, inputs and parameters."""
    count = len(trial.point)
    if count < 2:
        return NotCovered("it has one argument with a gradient")
    v = trial.cotangents()
    together = trial.gradients(v)
    tracked = [{i} for i in range(count)]
    if count > _SINGLES:
        tracked = [tracked[i] for i in sorted(trial.rng.permutation(count)[:_SINGLES])]
    if count > 2:
        tracked += [set(range(count)) - {i} for i in (0, count - 1)]
    for some in tracked:
        found = trial.partial(v, some)
        if found is None:
            return NotCovered("its arguments cannot be tracked one by one")
        others = "alone" if len(some) == 1 else "where one other is frozen"
        for i in sorted(some):
            what = f"gradient of {trial.names[i]}, tracked {others},"
            must_be_close(found[i], together[i], what, relative=1e-11, scale=1.0)
    return None


def _all_finite(arrays: Sequence[np.ndarray]) -> bool:
    return all(np.isfinite(a).all() for a in arrays)
