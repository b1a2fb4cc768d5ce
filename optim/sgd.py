"""Stochastic gradient descent, with Torch7's options."""

from __future__ import annotations

from typing import Any

from tapegrad.autograd import Tensor, ops
from tapegrad.optim.rule import decayed, optimizer

__all__ = ["sgd"]

NESTEROV = "sgd: nesterov needs momentum > 0 and dampening = 0; momentum is {m}, dampening {d}"


@optimizer(
    counter="evalCounter",
    slots=("dfdx",),
    learningRate=1e-3,
    learningRateDecay=0.0,
    weightDecay=0.0,
    weightDecays=None,
    momentum=0.0,
    dampening=None,
    nesterov=False,
    learningRates=None,
)
def sgd(
    x: Tensor,
    g: Tensor,
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
    if nesterov and not (momentum > 0 and damping == 0):
        raise ValueError(NESTEROV.format(m=momentum, d=damping))
    count = state["evalCounter"]
    if weightDecay:
        g = g + x * weightDecay
    elif weightDecays is not None:
        g = g + x * weightDecays
    new = {}
    if momentum:
        # The first velocity is the gradient itself, undamped.
        later = momentum * state["dfdx"] + g * (1 - damping)
        velocity = ops.where(count == 0, g, later)
        new["dfdx"] = velocity
        g = g + velocity * momentum if nesterov else velocity
    rate = decayed(learningRate, learningRateDecay, count, x.dtype)
    if learningRates is not None:
        g = learningRates * g
    return x - rate * g, new
