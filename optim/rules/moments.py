"""Adam and AdaMax, as Torch7 computes them and as their paper does."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tapegrad.optim.core.options import Option
from tapegrad.optim.core.rule import BLOCK, cast, decayed, optimizer

__all__ = ["adam", "adamax"]


@optimizer(
    counter="t",
    slots=("m", "v"),
    learningRate=Option(1e-3, at_least=0),
    learningRateDecay=Option(0.0, at_least=0),
    beta1=Option(0.9, at_least=0, below=1),
    beta2=Option(0.999, at_least=0, below=1),
    epsilon=Option(1e-8, at_least=0),
    weightDecay=Option(0.0, at_least=0),
    decoupledDecay=Option(0.0, at_least=0),
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


def _numbers(dtype: Any, t: Any, o: dict[str, Any]) -> tuple[Any, ...]:
    """The coefficients of a step, in the parameters' dtype: those of the rule above."""
    rate = decayed(o["learningRate"], o["learningRateDecay"], t)
    root = np.sqrt(1 - np.power(o["beta2"], t + 1))
    values = (
        o["beta1"], 1 - o["beta1"], o["beta2"], 1 - o["beta2"],
        rate * root / (1 - np.power(o["beta1"], t + 1)),
        o["epsilon"] * root if o["paper"] else o["epsilon"],
        o["weightDecay"], 1 - rate * o["decoupledDecay"],
    )  # fmt: skip
    return tuple(np.asarray(value, dtype=dtype) for value in values)


def _in_place(x: Any, g: Any, state: dict[str, Any], o: dict[str, Any]) -> None:
    """The rule's operations in its order, block by block, without an array per operation."""
    b1, a1, b2, a2, step, small, decay, keep = _numbers(x.dtype, state["t"], o)
    one, two = np.empty(min(BLOCK, x.size), x.dtype), np.empty(min(BLOCK, x.size), x.dtype)
    for start in range(0, x.size, BLOCK):
        part = slice(start, start + BLOCK)
        xs, gs, m, v = x[part], g[part], state["m"][part], state["v"][part]
        w, h = one[: xs.size], two[: xs.size]
        if o["weightDecay"]:
            np.multiply(xs, decay, h)
            gs = np.add(gs, h, h)
        if o["decoupledDecay"]:
            np.multiply(xs, keep, xs)
        np.multiply(gs, a1, w)
        np.multiply(m, b1, m)
        np.add(m, w, m)
        np.multiply(gs, gs, w)
        np.multiply(w, a2, w)
        np.multiply(v, b2, v)
        np.add(v, w, v)
        np.sqrt(v, w)
        np.add(w, small, w)
        np.divide(m, w, w)
        np.multiply(w, step, w)
        np.subtract(xs, w, xs)


@functools.cache
def _loop() -> Any:
    from numba import njit

    # Without fastmath nothing is contracted or reordered: the bits are those of the array code.
    @njit(error_model="numpy", nogil=True, cache=True)
    def loop(x, g, m, v, b1, a1, b2, a2, step, small, decay, keep):  # type: ignore[no-untyped-def]  # numba infers
        for i in range(x.size):
            gi = g[i] + x[i] * decay
            mi = b1 * m[i] + gi * a1
            vi = b2 * v[i] + (gi * gi) * a2
            m[i] = mi
            v[i] = vi
            x[i] = x[i] * keep - step * (mi / (np.sqrt(vi) + small))

    return loop


def _compiled(x: Any, g: Any, state: dict[str, Any], o: dict[str, Any]) -> None:
    numbers = [value[()] for value in _numbers(x.dtype, state["t"], o)]
    _loop()(x, g, state["m"], state["v"], *numbers)


adam.in_place, adam.compiled = _in_place, _compiled


@optimizer(
    counter="t",
    slots=("m", "u"),
    learningRate=Option(2e-3, at_least=0),
    learningRateDecay=Option(0.0, at_least=0),
    beta1=Option(0.9, at_least=0, below=1),
    beta2=Option(0.999, at_least=0, below=1),
    epsilon=Option(1e-38, at_least=0),
    weightDecay=Option(0.0, at_least=0),
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
