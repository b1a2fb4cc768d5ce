"""Laws of the derivatives of functions with a gradient written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.check.draws import REGIMES
from tapegrad.autograd.check.laws import Laws, NotCovered, must, must_be_close
from tapegrad.autograd.check.probing import probe
from tapegrad.autograd.check.report import Report

if TYPE_CHECKING:
    from tapegrad.autograd.check.functions import FunctionTrial

__all__ = ["LAWS"]

LAWS = Laws("function")


@LAWS(regimes=REGIMES, effort=1.0)
def its_gradient_is_the_derivative(trial: FunctionTrial) -> Report:
    """The hand-written gradient agrees with difference quotients of the function."""
    probes = probe(
        trial.values,
        lambda point, v: trial.gradients(v, point),
        trial.point,
        trial.rng,
        names=trial.names,
    )
    return Report(repr(trial), probes).raise_if_wrong()


@LAWS(regimes=("ordinary", "grid"), effort=0.4)
def its_second_derivative_is_right(trial: FunctionTrial) -> Report | NotCovered:
    """The derivative of the gradient is right, where the library has one."""
    second = trial.pair.second
    if second is None:
        return NotCovered("a gradient written by hand has no second derivative")
    v = trial.cotangents()
    probes = probe(
        lambda point: trial.gradients(v, point),
        lambda point, u: [
            np.asarray(g)
            for i, g in enumerate(second(u, v, trial.with_floats(point)))
            if i in trial.floats
        ],
        trial.point,
        trial.rng,
        kind="second order",
        names=trial.names,
    )
    return Report(repr(trial), probes).raise_if_wrong()


@LAWS()
def its_gradient_is_linear_in_the_cotangent(trial: FunctionTrial) -> None:
    """vjp(2u − 3v) = 2·vjp(u) − 3·vjp(v), and vjp(0) = 0."""
    u, v = trial.cotangents(), trial.cotangents()
    of_u, of_v = trial.gradients(u), trial.gradients(v)
    mixed = trial.gradients([2 * a - 3 * b for a, b in zip(u, v, strict=True)])
    for name, m, a, b in zip(trial.names, mixed, of_u, of_v, strict=True):
        # terms that cancel inside may be as large as the cotangents, and so may their rounding
        terms = (a, b, *u, *v)
        scale = 3 * max(float(np.max(np.abs(term), initial=0)) for term in terms)
        what = f"gradient of {name} for 2u − 3v"
        must_be_close(m, 2 * a - 3 * b, what, relative=1e-12, scale=scale)
    for name, zero in zip(trial.names, trial.gradients([0 * c for c in u]), strict=True):
        must(not np.any(zero), f"the gradient of {name} for the cotangent 0 is not 0")
