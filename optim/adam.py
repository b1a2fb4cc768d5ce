"""Adam, as Torch7 computes it."""

from __future__ import annotations

from typing import Any

from tapegrad.autograd import Tensor, ops
from tapegrad.optim.rule import decayed, optimizer

__all__ = ["adam"]


@optimizer(
    counter="t",
    slots=("m", "v"),
    learningRate=1e-3,
    learningRateDecay=0.0,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    weightDecay=0.0,
)
def adam(
    x: Tensor,
    g: Tensor,
    state: Any,
    *,
    learningRate: Any,
    learningRateDecay: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weightDecay: float,
) -> tuple[Any, dict[str, Any]]:
    """One step of Adam: optim.adam(feval, x, config, state) -> x, [f].

    m = β₁m + (1 - β₁)g;  v = β₂v + (1 - β₂)g²;
    x -= rate · √(1 - β₂ᵗ)/(1 - β₁ᵗ) · m / (√v + ε), with t from 1 and ε added before the bias
    correction, unlike in the paper.  feval(x) returns (f, gradient); x, a flat array or Tensor, is
    updated in place.  Options in `config`: learningRate (1e-3), learningRateDecay, beta1 (0.9),
    beta2 (0.999), epsilon (1e-8), weightDecay.  `state` (`config` if omitted) keeps t, m and v.
    Raises ValueError for negative rates, TypeError for an unknown option.
    Source: optim.adam of torch/optim; D. Kingma, J. Ba, "Adam", ICLR 2015, algorithm 1.
    """
    before = state["t"]
    t = before + 1
    if weightDecay:
        g = g + x * weightDecay
    m = beta1 * state["m"] + g * (1 - beta1)
    v = beta2 * state["v"] + (g * g) * (1 - beta2)
    correction = ops.sqrt(1 - ops.power(beta2, t)) / (1 - ops.power(beta1, t))
    rate = decayed(learningRate, learningRateDecay, before, before.dtype)
    step = ops.cast(rate * correction, dtype=x.dtype)
    return x - step * (m / (ops.sqrt(v) + epsilon)), {"m": m, "v": v}
