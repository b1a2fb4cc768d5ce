"""Rules that step by the sign of a mean of gradients: Lion and signSGD."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.optim.core.optimizer import Optimizer
from tapegrad.optim.core.options import option
from tapegrad.optim.core.rule import StateSlot, Update, cast_like, update_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["Lion", "SignSGD", "lion", "signsgd"]


@update_rule(
    counter="t",
    slots=("m",),
)
def lion(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(1e-4, at_least=0, keyword="lr", examples=(0.02, 0.01)),
    beta1: float = option(0.9, at_least=0, below=1, keyword="betas[0]"),
    beta2: float = option(0.99, at_least=0, below=1, keyword="betas[1]"),
    decoupledDecay: float = option(0.0, at_least=0, keyword="weight_decay", examples=(0.0, 0.1)),
) -> Update:
    """Make one step of Lion: x -= rate · (sign(β₁m + (1 - β₁)g) + λx), then m = β₂m + (1 - β₂)g.

    Options: learningRate (1e-4), beta1 (0.9), beta2 (0.99), decoupledDecay λ.  `state` keeps t, m.
    Source: X. Chen et al., "Symbolic discovery of optimization algorithms", 2023, algorithm 2.
    """
    direction = xp.sign(beta1 * state["m"] + g * (1 - beta1))
    if decoupledDecay:
        direction = direction + x * decoupledDecay
    rate = cast_like(xp, learningRate, x)
    return x - rate * direction, {"m": beta2 * state["m"] + g * (1 - beta2)}


class Lion(Optimizer):
    """Run Lion; weight_decay is decoupled."""

    rule = lion


@update_rule(
    counter="t",
    slots={"m": StateSlot(only_if="momentum")},
)
def signsgd(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(1e-3, at_least=0, keyword="lr", examples=(0.005, 0.002)),
    momentum: float = option(0.0, at_least=0),
    weightDecay: float = option(0.0, at_least=0, keyword="weight_decay", examples=(0.0, 0.1)),
) -> Update:
    """Make one step of signSGD: x -= rate · (sign(m) + λx), with m = μm + (1 - μ)g.

    Without momentum, m is g.  Options: learningRate (1e-3), momentum μ, weightDecay λ.  `state`
    keeps t and, with momentum, m.
    Source: J. Bernstein et al., "signSGD", ICML 2018, algorithms 1 and 2 (Signum).
    """
    new = {}
    if momentum:
        g = new["m"] = momentum * state["m"] + g * (1 - momentum)
    direction = xp.sign(g)
    if weightDecay:
        direction = direction + x * weightDecay
    return x - cast_like(xp, learningRate, x) * direction, new


class SignSGD(Optimizer):
    """Run signSGD, with momentum Signum; weight_decay is decoupled."""

    rule = signsgd
