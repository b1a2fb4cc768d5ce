"""Follow-the-regularized-leader: weights whose gradients are small are exactly 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.optim.core.optimizer import Optimizer
from tapegrad.optim.core.options import option
from tapegrad.optim.core.rule import StateSlot, Update, cast_like, update_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["Ftrl", "ftrl"]


@update_rule(
    counter="evalCounter",
    slots={"accum": StateSlot(start="initialAccumulatorValue"), "linear": StateSlot()},
)
def ftrl(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(1e-3, at_least=0, keyword="lr", examples=(0.05, 0.01)),
    learningRatePower: float = option(-0.5, keyword="lr_power", examples=(-0.5, -1.0)),
    initialAccumulatorValue: float = option(
        0.1, at_least=0, keyword="initial_accumulator_value", examples=(0.1, 0.5)
    ),
    l1RegularizationStrength: float = option(0.0, at_least=0, keyword="l1"),
    l2RegularizationStrength: float = option(0.0, at_least=0, keyword="l2"),
    l2ShrinkageRegularizationStrength: float = option(0.0, at_least=0, keyword="l2_shrinkage"),
) -> Update:
    """Make one step of FTRL-proximal: optim.ftrl(feval, x, config, state) -> x, [f].

    g' = g + 2·shrinkage·x;  n' = n + g'²;  z += g' - (n'^-p - n^-p)/rate · x;
    x = (sign(z)·l1 - z) / (n'^-p/rate + 2·l2) where |z| > l1, else 0.
    Options: learningRate (1e-3), learningRatePower p (-0.5), initialAccumulatorValue of n (0.1),
    l1RegularizationStrength, l2RegularizationStrength, l2ShrinkageRegularizationStrength (0).
    `state` keeps evalCounter, accum n and linear z.  A rate of 0 leaves x where it is.
    Source: optim.Ftrl of BigDL; H. B. McMahan et al., "Ad click prediction: a view from the
    trenches", KDD 2013, algorithm 1.
    """
    l1 = l1RegularizationStrength
    if l2ShrinkageRegularizationStrength:
        g = g + x * (2 * l2ShrinkageRegularizationStrength)
    before = xp.power(state["accum"], -learningRatePower)
    accum = state["accum"] + g * g
    after = xp.power(accum, -learningRatePower)
    # With a rate of 0 the quotients are infinite: x stays, and so does what is kept about it.
    moves = xp.asarray(learningRate) > 0
    rate = cast_like(xp, xp.where(moves, learningRate, 1.0), x)
    linear = state["linear"] + g - (after - before) / rate * x
    curvature = after / rate + 2 * l2RegularizationStrength
    new = (xp.sign(linear) * l1 - linear) / xp.where(curvature > 0, curvature, 1)
    new = xp.where(xp.abs(linear) <= l1, xp.zeros_like(x), new)
    return xp.where(moves, new, x), {
        "accum": xp.where(moves, accum, state["accum"]),
        "linear": xp.where(moves, linear, state["linear"]),
    }


class Ftrl(Optimizer):
    """Run FTRL-proximal: weights whose gradients are small become exactly 0, by l1."""

    rule = ftrl
