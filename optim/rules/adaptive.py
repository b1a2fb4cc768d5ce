"""Rates of each entry from its own gradients: Adagrad, Adadelta, RMSprop, Rprop."""

from __future__ import annotations

from typing import Any

from tapegrad.optim.core.options import Option
from tapegrad.optim.core.rule import Slot, cast, decayed, optimizer

__all__ = ["adadelta", "adagrad", "rmsprop", "rprop"]


@optimizer(
    counter="evalCounter",
    slots={"paramVariance": Slot(start="initialMean")},
    learningRate=Option(1e-3, at_least=0),
    learningRateDecay=Option(0.0, at_least=0),
    weightDecay=Option(0.0, at_least=0),
    epsilon=Option(1e-10, at_least=0),
    initialMean=Option(0.0, at_least=0),
)
def adagrad(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    learningRate: Any,
    learningRateDecay: float,
    weightDecay: float,
    epsilon: float,
    initialMean: float,
) -> tuple[Any, dict[str, Any]]:
    """One step of Adagrad: optim.adagrad(feval, x, config, state) -> x, [f].

    s += g²;  x -= rate · g / (√s + ε).  Options: learningRate (1e-3), learningRateDecay,
    weightDecay, epsilon (1e-10, fixed in Torch7), initialMean of s (0).
    `state` keeps evalCounter and paramVariance, s.
    Source: optim.adagrad of torch/optim; J. Duchi, E. Hazan, Y. Singer, JMLR 12, 2011.
    """
    if weightDecay:
        g = g + x * weightDecay
    total = state["paramVariance"] + g * g
    rate = cast(xp, decayed(learningRate, learningRateDecay, state["evalCounter"]), x)
    return x - rate * (g / (xp.sqrt(total) + epsilon)), {"paramVariance": total}


@optimizer(
    counter="evalCounter",
    slots=("paramVariance", "accDelta"),
    learningRate=Option(1.0, at_least=0),
    rho=0.9,
    eps=Option(1e-6, at_least=0),
    weightDecay=Option(0.0, at_least=0),
)
def adadelta(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    learningRate: Any,
    rho: float,
    eps: float,
    weightDecay: float,
) -> tuple[Any, dict[str, Any]]:
    """One step of Adadelta: optim.adadelta(feval, x, config, state) -> x, [f].

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
    rate = cast(xp, decayed(learningRate, 0.0, state["evalCounter"]), x)
    return x - rate * change, {"paramVariance": squares, "accDelta": moved}


@optimizer(
    counter="evalCounter",
    slots={
        "m": Slot(start="initialMean"),
        "mean": Slot(when="centered"),
        "velocity": Slot(when="momentum"),
    },
    learningRate=Option(1e-2, at_least=0),
    learningRateDecay=Option(0.0, at_least=0),
    alpha=0.99,
    epsilon=Option(1e-8, at_least=0),
    initialMean=Option(0.0, at_least=0),
    weightDecay=Option(0.0, at_least=0),
    momentum=Option(0.0, at_least=0),
    centered=False,
)
def rmsprop(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    learningRate: Any,
    learningRateDecay: float,
    alpha: float,
    epsilon: float,
    initialMean: float,
    weightDecay: float,
    momentum: float,
    centered: bool,
) -> tuple[Any, dict[str, Any]]:
    """One step of RMSprop: optim.rmsprop(feval, x, config, state) -> x, [f].

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
    rate = cast(xp, decayed(learningRate, learningRateDecay, state["evalCounter"]), x)
    new, spread = {"m": m}, m
    if centered:
        new["mean"] = alpha * state["mean"] + g * (1 - alpha)
        spread = m - new["mean"] * new["mean"]
    step = g / (xp.sqrt(spread) + epsilon)
    if momentum:
        step = new["velocity"] = momentum * state["velocity"] + step
    return x - rate * step, new


@optimizer(
    slots={"delta": Slot(), "stepsize": Slot(start="stepsize")},
    repeat="niter",
    stepsize=Option(0.1, at_least=0),
    etaplus=1.2,
    etaminus=0.5,
    stepsizemax=Option(50.0, at_least=0),
    stepsizemin=Option(1e-6, at_least=0),
    niter=1,
)
def rprop(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    stepsize: Any,
    etaplus: float,
    etaminus: float,
    stepsizemax: float,
    stepsizemin: float,
) -> tuple[Any, dict[str, Any]]:
    """Steps of Rprop: optim.rprop(feval, x, config, state) -> x, [f, …].

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
