"""Stochastic gradient descent and its two relatives: Nesterov's look-ahead, and averaging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tapegrad.optim.core.options import Option
from tapegrad.optim.core.rule import Slot, cast, decayed, optimizer, scalar

__all__ = ["asgd", "nag", "sgd"]

NESTEROV = "sgd: nesterov needs momentum > 0 and dampening = 0; momentum is {m}, dampening {d}"
NO_MOMENTUM = "nag: momentum must be greater than 0, not {m}; use sgd for none"


def _nesterov_fits(o: Mapping[str, Any]) -> None:
    momentum = o["momentum"]
    damping = momentum if o["dampening"] is None else o["dampening"]
    if o["nesterov"] and not (momentum > 0 and damping == 0):
        raise ValueError(NESTEROV.format(m=momentum, d=damping))


@optimizer(
    counter="evalCounter",
    slots={"dfdx": Slot(when="momentum")},
    check=_nesterov_fits,
    learningRate=Option(1e-3, at_least=0),
    learningRateDecay=Option(0.0, at_least=0),
    weightDecay=Option(0.0, at_least=0),
    weightDecays=None,
    momentum=Option(0.0, at_least=0),
    dampening=None,
    nesterov=False,
    learningRates=None,
)
def sgd(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    learningRate: Any,
    learningRateDecay: float,
    weightDecay: float,
    weightDecays: Any,
    momentum: float,
    dampening: float | None,
    nesterov: bool,
    learningRates: Any,
) -> tuple[Any, dict[str, Any]]:
    """One step of ``x -= rate · g``: optim.sgd(feval, x, config, state) -> x, [f].

    feval(x) returns (f, gradient of x's shape); x, a flat array or Tensor, is updated in place.
    Options in `config`: learningRate (1e-3), learningRateDecay d (rate / (1 + steps·d)),
    weightDecay or weightDecays per entry (g + w·x), momentum m with dampening (m unless given):
    v = m·v + (1 - dampening)·g, the first v being g; nesterov: g + m·v in place of v;
    learningRates: a factor per entry.  `state` (`config` if omitted) keeps evalCounter and dfdx.
    Raises ValueError for negative rates and for nesterov with dampening, TypeError for an unknown
    option.  Source: optim.sgd of torch/optim.
    """
    damping = momentum if dampening is None else dampening
    count = state["evalCounter"]
    if weightDecay:
        g = g + x * weightDecay
    elif weightDecays is not None:
        g = g + x * weightDecays
    new = {}
    if momentum:
        # The first velocity is the gradient itself, undamped.
        later = momentum * state["dfdx"] + g * (1 - damping)
        velocity = xp.where(count == 0, g, later) if damping else later
        new["dfdx"] = velocity
        g = g + velocity * momentum if nesterov else velocity
    if learningRates is not None:
        g = learningRates * g
    return x - cast(xp, decayed(learningRate, learningRateDecay, count), x) * g, new


def _along_velocity(x: Any, state: Any, *, momentum: float, **_: Any) -> Any:
    return x + momentum * state["dfdx"]


def _has_momentum(o: Mapping[str, Any]) -> None:
    if not o["momentum"] > 0:
        raise ValueError(NO_MOMENTUM.format(m=o["momentum"]))


@optimizer(
    counter="evalCounter",
    slots=("dfdx",),
    ahead=_along_velocity,
    check=_has_momentum,
    learningRate=Option(1e-3, at_least=0),
    learningRateDecay=Option(0.0, at_least=0),
    weightDecay=Option(0.0, at_least=0),
    momentum=Option(0.9, at_least=0),
    dampening=None,
    learningRates=None,
)
def nag(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    learningRate: Any,
    learningRateDecay: float,
    weightDecay: float,
    momentum: float,
    dampening: Any,
    learningRates: Any,
) -> tuple[Any, dict[str, Any]]:
    """One step of Nesterov's accelerated gradient: optim.nag(feval, x, config, state) -> x, [f].

    The function is evaluated at x + m·v, and x stays there: x = (x + m·v) - rate·g,
    v = m·v - rate·g.  Options: learningRate (1e-3), learningRateDecay, weightDecay, momentum m
    (0.9), learningRates per entry; dampening is taken and unused, as in Torch7.  `state` keeps
    evalCounter and dfdx, the velocity.  If feval raises, x is put back.
    Raises ValueError for a momentum that is not positive.  Source: optim.nag of torch/optim;
    I. Sutskever et al., "On the importance of initialization and momentum", ICML 2013.
    """
    if weightDecay:
        g = g + x * weightDecay
    if learningRates is not None:
        g = learningRates * g
    count = state["evalCounter"]
    step = cast(xp, decayed(learningRate, learningRateDecay, count), x) * g
    return x - step, {"dfdx": momentum * state["dfdx"] - step}


@optimizer(
    counter="t",
    slots={"ax": Slot(), "eta_t": Slot(scalar, "eta0"), "mu_t": Slot(scalar, 1.0)},
    third="ax",
    options={
        "eta0": Option(1e-4, at_least=0),
        "lambda": Option(1e-4, at_least=0),
        "alpha": 0.75,
        "t0": Option(1e6, at_least=0),
    },
)
def asgd(
    xp: Any, x: Any, g: Any, state: Any, *, eta0: float, alpha: float, t0: float, **rest: Any
) -> tuple[Any, dict[str, Any]]:
    """One step of averaged SGD: optim.asgd(feval, x, config, state) -> x, [f], average.

    x = (1 - λη)x - ηg;  average += μ(x - average), which is x itself while μ = 1;
    η = η₀/(1 + λη₀t)^α and μ = 1/max(1, t - t₀) after t steps.
    Options: eta0 (1e-4), lambda (1e-4), alpha (0.75), t0 (1e6).  `state` keeps t, eta_t, mu_t, ax.
    Source: optim.asgd of torch/optim; B. Polyak, A. Juditsky, "Acceleration of stochastic
    approximation by averaging", 1992; L. Bottou's sgd 2.0.
    """
    decay = rest["lambda"]
    eta, mu = state["eta_t"], state["mu_t"]
    x = x * cast(xp, 1 - decay * eta, x) - cast(xp, eta, x) * g
    average = xp.where(mu == 1, x, state["ax"] + cast(xp, mu, x) * (x - state["ax"]))
    t = state["t"] + 1
    return x, {
        "ax": average,
        "eta_t": eta0 / xp.power(1 + decay * eta0 * t, alpha),
        "mu_t": 1 / xp.maximum(t - t0, 1.0),
    }
