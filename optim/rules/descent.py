"""Stochastic gradient descent and its two relatives: Nesterov's look-ahead, and averaging."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad.autograd.core.zeros import unclean_parts, zeros_of
from tapegrad.autograd.kernels.descending import descend, descend_parts, prepared_descent
from tapegrad.autograd.kernels.machine import is_available
from tapegrad.optim.core.optimizer import Optimizer
from tapegrad.optim.core.options import option
from tapegrad.optim.core.rule import (
    State,
    StateSlot,
    Update,
    cast_like,
    decayed_rate,
    scalar_shape,
    update_rule,
)
from tapegrad.optim.core.step import BLOCK

NUMBERS = (int, float)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["ASGD", "SGD", "asgd", "nag", "sgd"]

NESTEROV = "sgd: nesterov needs momentum > 0 and dampening = 0; momentum is {m}, dampening {d}"
NO_MOMENTUM = "nag: momentum must be greater than 0, not {m}; use sgd for none"


def _check_nesterov(o: Mapping[str, Any]) -> None:
    momentum = o["momentum"]
    damping = momentum if o["dampening"] is None else o["dampening"]
    if o["nesterov"] and not (momentum > 0 and damping == 0):
        raise ValueError(NESTEROV.format(m=momentum, d=damping))


@update_rule(
    counter="evalCounter",
    slots={"dfdx": StateSlot(only_if="momentum")},
    check=_check_nesterov,
)
def sgd(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(1e-3, at_least=0, keyword="lr"),
    learningRateDecay: float = option(0.0, at_least=0, keyword=None),
    weightDecay: float = option(0.0, at_least=0, keyword="weight_decay"),
    weightDecays: Any = option(None, keyword=None),
    momentum: float = option(0.0, at_least=0),
    dampening: float | None = None,
    nesterov: bool = False,
    learningRates: Any = option(None, keyword=None),
) -> Update:
    """Make one step of ``x -= rate · g``: optim.sgd(feval, x, config, state) -> x, [f].

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
    return x - cast_like(xp, decayed_rate(learningRate, learningRateDecay, count), x) * g, new


def _is_ordinary(options: Mapping[str, Any]) -> bool:
    """Whether there is no dampening, the same numbers hold for all entries, and there is code."""
    decay, momentum = options["weightDecay"], options["momentum"]
    damping = momentum if options["dampening"] is None else options["dampening"]
    if type(decay) not in NUMBERS or type(momentum) not in NUMBERS or (momentum and damping):
        return False
    if (not decay and options["weightDecays"] is not None) or options["learningRates"] is not None:
        return False
    return is_available()


@sgd.skips_zeros
def _sgd_skips_zeros(options: Mapping[str, Any]) -> bool:
    names = ("momentum", "weightDecay", "weightDecays", "learningRates")
    return all(type(options[n]) in (int, float, type(None)) and not options[n] for n in names)


@sgd.on("numpy")
def _sgd_in_place(
    x: Array, g: Array, state: dict[str, Any], options: dict[str, Any]
) -> bool | None:
    """Without decay and momentum: in blocks that a cache holds, or the rows that differ from 0."""
    if not _sgd_skips_zeros(options):
        return False
    rate = decayed_rate(options["learningRate"], options["learningRateDecay"], state["evalCounter"])
    if np.ndim(rate) or x.dtype.kind != "f":
        return False
    rate = cast_like(np, rate, x)
    parts = unclean_parts(g) if 0 <= rate < np.inf else None  # a step by 0 is none, to the bit
    if parts is not None and all(part.rows is not None for part in parts):
        for part in parts:
            part.of(x)[part.rows] -= rate * part.of(g)[part.rows]
        return None
    for start in range(0, x.size, BLOCK):
        block = slice(start, start + BLOCK)
        x[block] -= rate * g[block]
    return None


@sgd.prepared
def _sgd_prepared(
    x: Array, g: Array, state: dict[str, Any], options: dict[str, Any]
) -> Callable[[], None] | None:
    decay, momentum, rate = options["weightDecay"], options["momentum"], options["learningRate"]
    speed = state["dfdx"] if momentum else None
    if not _is_ordinary(options) or options["learningRateDecay"] or np.ndim(rate):
        return None
    if speed is not None and speed.dtype != x.dtype:
        return None
    if not momentum and not decay and zeros_of(g) is not None:
        return None  # a step of a few rows may be what there is to do
    return prepared_descent(x, g, speed, rate, decay, momentum, bool(options["nesterov"]))


@sgd.on("machine")
def _sgd_by_machine(
    x: Array, g: Array, state: dict[str, Any], options: dict[str, Any]
) -> bool | None:
    decay, momentum = options["weightDecay"], options["momentum"]
    if not _is_ordinary(options) or not isinstance(x, np.ndarray):
        return False
    rate = decayed_rate(options["learningRate"], options["learningRateDecay"], state["evalCounter"])
    speed = state["dfdx"] if momentum else None
    if np.ndim(rate) or (speed is not None and speed.dtype != x.dtype):
        return False
    rate = float(cast_like(np, rate, x))
    if not momentum and not decay and 0 <= rate < np.inf:
        parts = unclean_parts(g)  # a step by a gradient of 0 is none, to the bit
        if parts is not None:
            descend_parts(x, g, parts, rate)
            return None
    descend(x, g, speed, rate, decay, momentum, bool(options["nesterov"]))
    return None


class SGD(Optimizer):
    """Run SGD with momentum μ: v = μv + (1 - dampening)(g + λx), x -= lr · v; λ is weight_decay.

    >>> import tapegrad as tg
    >>> w = tg.Parameter(np.array([1.0]))
    >>> sgd = SGD([w], lr=0.1)
    >>> np.sum(w**2).backward()
    >>> updated = sgd.step()
    >>> w.item()
    0.8
    """

    rule = sgd
    defaults: ClassVar = {"dampening": 0.0}


def _shift_along_velocity(x: Tensor, state: State, *, momentum: float, **_: Any) -> Tensor:
    return x + momentum * state["dfdx"]


def _check_momentum(o: Mapping[str, Any]) -> None:
    if not o["momentum"] > 0:
        raise ValueError(NO_MOMENTUM.format(m=o["momentum"]))


@update_rule(
    counter="evalCounter",
    slots=("dfdx",),
    evaluate_at=_shift_along_velocity,
    check=_check_momentum,
)
def nag(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(1e-3, at_least=0, keyword="lr"),
    learningRateDecay: float = option(0.0, at_least=0, keyword=None),
    weightDecay: float = option(0.0, at_least=0, keyword="weight_decay"),
    momentum: float = option(0.9, at_least=0),
    dampening: Any = option(None, keyword=None),
    learningRates: Any = option(None, keyword=None),
) -> Update:
    """Make one step of Nesterov's gradient descent: optim.nag(feval, x, config, state) -> x, [f].

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
    step = cast_like(xp, decayed_rate(learningRate, learningRateDecay, count), x) * g
    return x - step, {"dfdx": momentum * state["dfdx"] - step}


@update_rule(
    counter="t",
    slots={
        "ax": StateSlot(),
        "eta_t": StateSlot(scalar_shape, "eta0"),
        "mu_t": StateSlot(scalar_shape, 1.0),
    },
    also_returns="ax",
    options={"lambda": option(1e-4, at_least=0, keyword="lambd", examples=(1e-4, 0.01))},
)
def asgd(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    eta0: float = option(1e-4, at_least=0, keyword="lr", examples=(0.1, 0.05)),
    alpha: float = 0.75,
    t0: float = option(1e6, at_least=0, examples=(1e6, 2)),
    **rest: Any,
) -> Update:
    """Make one step of averaged SGD: optim.asgd(feval, x, config, state) -> x, [f], average.

    x = (1 - λη)x - ηg;  average += μ(x - average), which is x itself while μ = 1;
    η = η₀/(1 + λη₀t)^α and μ = 1/max(1, t - t₀) after t steps.
    Options: eta0 (1e-4), lambda (1e-4), alpha (0.75), t0 (1e6).  `state` keeps t, eta_t, mu_t, ax.
    Source: optim.asgd of torch/optim; B. Polyak, A. Juditsky, "Acceleration of stochastic
    approximation by averaging", 1992; L. Bottou's sgd 2.0.
    """
    decay = rest["lambda"]
    eta, mu = state["eta_t"], state["mu_t"]
    x = x * cast_like(xp, 1 - decay * eta, x) - cast_like(xp, eta, x) * g
    average = xp.where(mu == 1, x, state["ax"] + cast_like(xp, mu, x) * (x - state["ax"]))
    t = state["t"] + 1
    return x, {
        "ax": average,
        "eta_t": eta0 / xp.power(1 + decay * eta0 * t, alpha),
        "mu_t": 1 / xp.maximum(t - t0, 1.0),
    }


class ASGD(Optimizer):
    """Run averaged SGD, λ being lambd; the averages are in `state_dict`."""

    rule = asgd
    defaults: ClassVar = {"lr": 1e-2}
