"""Rules with a rate for each entry, from its own gradients: Adagrad, Adadelta, RMSprop, Rprop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tapegrad.optim.core.optimizer import Optimizer
from tapegrad.optim.core.options import option
from tapegrad.optim.core.rule import StateSlot, Update, cast_like, decayed_rate, update_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["Adadelta", "Adagrad", "RMSprop", "Rprop", "adadelta", "adagrad", "rmsprop", "rprop"]


@update_rule(
    counter="evalCounter",
    slots={"paramVariance": StateSlot(start="initialMean")},
)
def adagrad(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(1e-3, at_least=0, keyword="lr", examples=(0.1, 0.01)),
    learningRateDecay: float = option(0.0, at_least=0, keyword="lr_decay"),
    weightDecay: float = option(0.0, at_least=0, keyword="weight_decay"),
    epsilon: float = option(1e-10, at_least=0, keyword="eps"),
    initialMean: float = option(0.0, at_least=0, keyword="initial_accumulator_value"),
) -> Update:
    """Make one step of Adagrad: optim.adagrad(feval, x, config, state) -> x, [f].

    s += g²;  x -= rate · g / (√s + ε).  Options: learningRate (1e-3), learningRateDecay,
    weightDecay, epsilon (1e-10, fixed in Torch7), initialMean of s (0).
    `state` keeps evalCounter and paramVariance, s.
    Source: optim.adagrad of torch/optim; J. Duchi, E. Hazan, Y. Singer, JMLR 12, 2011.
    """
    if weightDecay:
        g = g + x * weightDecay
    total = state["paramVariance"] + g * g
    rate = cast_like(xp, decayed_rate(learningRate, learningRateDecay, state["evalCounter"]), x)
    return x - rate * (g / (xp.sqrt(total) + epsilon)), {"paramVariance": total}


class Adagrad(Optimizer):
    """Run Adagrad; weight_decay is added to g (L2)."""

    rule = adagrad
    defaults: ClassVar = {"lr": 1e-2}


@update_rule(
    counter="evalCounter",
    slots=("paramVariance", "accDelta"),
)
def adadelta(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(1.0, at_least=0, keyword="lr"),
    rho: float = 0.9,
    eps: float = option(1e-6, at_least=0),
    weightDecay: float = option(0.0, at_least=0, keyword="weight_decay"),
) -> Update:
    """Make one step of Adadelta: optim.adadelta(feval, x, config, state) -> x, [f].

    s = ρs + (1 - ρ)g²;  Δ = √(a + ε)/√(s + ε) · g;  a = ρa + (1 - ρ)Δ²;  x -= rate · Δ.
    Options: rho (0.9), eps (1e-6), weightDecay, learningRate (1, fixed in Torch7).  `state` keeps
    evalCounter, paramVariance s and accDelta a.
    Source: optim.adadelta of torch/optim; M. Zeiler, arXiv:1212.5701, algorithm 1.
    """
    if weightDecay:
        g = g + x * weightDecay
    squares = rho * state["paramVariance"] + (g * g) * (1 - rho)
    change = xp.sqrt(state["accDelta"] + eps) / xp.sqrt(squares + eps) * g
    moved = rho * state["accDelta"] + (change * change) * (1 - rho)
    rate = cast_like(xp, learningRate, x)
    return x - rate * change, {"paramVariance": squares, "accDelta": moved}


class Adadelta(Optimizer):
    """Run Adadelta; weight_decay is added to g (L2)."""

    rule = adadelta


@update_rule(
    counter="evalCounter",
    slots={
        "m": StateSlot(start="initialMean"),
        "mean": StateSlot(only_if="centered"),
        "velocity": StateSlot(only_if="momentum"),
    },
)
def rmsprop(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(1e-2, at_least=0, keyword="lr", examples=(0.02, 0.01)),
    learningRateDecay: float = option(0.0, at_least=0, keyword=None),
    alpha: float = 0.99,
    epsilon: float = option(1e-8, at_least=0, keyword="eps"),
    initialMean: float = option(0.0, at_least=0, keyword=None),
    weightDecay: float = option(0.0, at_least=0, keyword="weight_decay"),
    momentum: float = option(0.0, at_least=0),
    centered: bool = False,
) -> Update:
    """Make one step of RMSprop: optim.rmsprop(feval, x, config, state) -> x, [f].

    m = αm + (1 - α)g²;  x -= rate · g / (√m + ε).  Options: learningRate (1e-2),
    learningRateDecay, alpha (0.99), epsilon (1e-8), initialMean (0), weightDecay; beyond Torch7:
    centered (the running mean of g, squared, is taken from m) and momentum μ (x -= rate · b with
    b = μb + g/…).  `state` keeps m (and evalCounter, which Torch7 does not count).
    Source: optim.rmsprop of torch/optim; G. Hinton, "Neural networks for machine learning", lecture
    6e.
    """
    if weightDecay:
        g = g + x * weightDecay
    m = alpha * state["m"] + (g * g) * (1 - alpha)
    rate = cast_like(xp, decayed_rate(learningRate, learningRateDecay, state["evalCounter"]), x)
    new, spread = {"m": m}, m
    if centered:
        new["mean"] = alpha * state["mean"] + g * (1 - alpha)
        spread = m - new["mean"] * new["mean"]
    step = g / (xp.sqrt(spread) + epsilon)
    if momentum:
        step = new["velocity"] = momentum * state["velocity"] + step
    return x - rate * step, new


class RMSprop(Optimizer):
    """Run RMSprop; weight_decay is added to g (L2)."""

    rule = rmsprop


@update_rule(
    slots={"delta": StateSlot(), "stepsize": StateSlot(start="stepsize")},
    repeat="niter",
    options={"niter": option(1, at_least=0, keyword=None)},
)
def rprop(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    stepsize: Any = option(0.1, at_least=0, keyword="lr", examples=(0.01, 0.1)),
    etaminus: float = option(0.5, keyword="etas[0]"),
    etaplus: float = option(1.2, keyword="etas[1]"),
    stepsizemin: float = option(1e-6, at_least=0, keyword="step_sizes[0]"),
    stepsizemax: float = option(50.0, at_least=0, keyword="step_sizes[1]"),
) -> Update:
    """Make steps of Rprop: optim.rprop(feval, x, config, state) -> x, [f, …].

    Each entry has its own step size, multiplied by etaplus (1.2) where the gradient kept its sign,
    by etaminus (0.5) where it changed, within [stepsizemin, stepsizemax] (1e-6, 50); an entry
    whose sign changed does not move.  stepsize (0.1) is the first one, niter the steps of a call.
    `state` keeps delta, the last gradient, and stepsize.
    Source: optim.rprop of torch/optim; M. Riedmiller, H. Braun, ICNN 1993.
    """
    agreement = g * state["delta"]
    factor = xp.where(agreement > 0, etaplus, xp.where(agreement < 0, etaminus, 1.0))
    steps = state["stepsize"] * xp.asarray(factor, dtype=x.dtype)
    steps = xp.minimum(xp.maximum(steps, stepsizemin), stepsizemax)
    kept = xp.where(agreement < 0, xp.zeros_like(g), g)
    return x - xp.sign(kept) * steps, {"delta": kept, "stepsize": steps}


class Rprop(Optimizer):
    """Run Rprop; lr is the first step size of each entry."""

    rule = rprop
    defaults: ClassVar = {"lr": 1e-2}
