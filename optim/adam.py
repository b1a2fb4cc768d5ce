"""Adam and AdaMax, as Torch7 computes them and as their paper does."""

from __future__ import annotations

from typing import Any

from tapegrad.optim.rule import cast, decayed, optimizer

__all__ = ["adam", "adamax"]


@optimizer(
    counter="t",
    slots=("m", "v"),
    learningRate=1e-3,
    learningRateDecay=0.0,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    weightDecay=0.0,
    decoupledDecay=0.0,
    paper=False,
)
def adam(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    learningRate: Any,
    learningRateDecay: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weightDecay: float,
    decoupledDecay: float,
    paper: bool,
) -> tuple[Any, dict[str, Any]]:
    """One step of Adam: optim.adam(feval, x, config, state) -> x, [f].

    m = β₁m + (1 - β₁)g;  v = β₂v + (1 - β₂)g²;
    x -= rate · √(1 - β₂ᵗ)/(1 - β₁ᵗ) · m / (√v + ε), with t from 1 and ε added before the bias
    correction.  paper: ε is added after it, as in the paper.  feval(x) returns (f, gradient); x, a
    flat array or Tensor, is updated in place.  Options in `config`: learningRate (1e-3),
    learningRateDecay, beta1 (0.9), beta2 (0.999), epsilon (1e-8), weightDecay (added to g),
    decoupledDecay (x shrinks by rate · decay, apart from g).  `state` (`config` if omitted) keeps
    t, m and v.  Raises ValueError for negative rates, TypeError for an unknown option.
    Source: optim.adam of torch/optim; D. Kingma, J. Ba, "Adam", ICLR 2015, algorithm 1;
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """
    before = state["t"]
    t = before + 1
    rate = decayed(learningRate, learningRateDecay, before)
    if weightDecay:
        g = g + x * weightDecay
    if decoupledDecay:
        x = x * cast(xp, 1 - rate * decoupledDecay, x)
    m = beta1 * state["m"] + g * (1 - beta1)
    v = beta2 * state["v"] + (g * g) * (1 - beta2)
    root = xp.sqrt(1 - xp.power(beta2, t))
    step = cast(xp, rate * root / (1 - xp.power(beta1, t)), x)
    small = cast(xp, epsilon * root, x) if paper else epsilon
    return x - step * (m / (xp.sqrt(v) + small)), {"m": m, "v": v}


@optimizer(
    counter="t",
    slots=("m", "u"),
    learningRate=2e-3,
    learningRateDecay=0.0,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-38,
    weightDecay=0.0,
)
def adamax(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    learningRate: Any,
    learningRateDecay: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weightDecay: float,
) -> tuple[Any, dict[str, Any]]:
    """One step of AdaMax: optim.adamax(feval, x, config, state) -> x, [f].

    m = β₁m + (1 - β₁)g;  u = max(β₂u, |g| + ε);  x -= rate/(1 - β₁ᵗ) · m/u, t from 1.
    Options: learningRate (2e-3), learningRateDecay, beta1, beta2, epsilon (1e-38), weightDecay.
    `state` keeps t, m and u.
    Source: optim.adamax of torch/optim; D. Kingma, J. Ba, "Adam", ICLR 2015, algorithm 2.
    """
    before = state["t"]
    if weightDecay:
        g = g + x * weightDecay
    m = beta1 * state["m"] + g * (1 - beta1)
    u = xp.maximum(beta2 * state["u"], xp.abs(g) + epsilon)
    rate = decayed(learningRate, learningRateDecay, before)
    step = cast(xp, rate / (1 - xp.power(beta1, before + 1)), x)
    return x - step * (m / u), {"m": m, "u": u}
