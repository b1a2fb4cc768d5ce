"""Adam and AdaMax, as Torch7 computes them and as their paper does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tapegrad.autograd.core.declaration import NUMBERS
from tapegrad.autograd.kernels.descending import adapt, prepared_adaptation
from tapegrad.autograd.kernels.machine import is_available
from tapegrad.optim.core.optimizer import Optimizer
from tapegrad.optim.core.options import option
from tapegrad.optim.core.rule import Update, cast_like, decayed_rate, update_rule
from tapegrad.optim.core.step import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tapegrad.autograd.core.types import Array, DTypeLike, Namespace

__all__ = ["Adam", "AdamW", "Adamax", "adam", "adamax"]


@update_rule(
    counter="t",
    slots=("m", "v"),
)
def adam(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(1e-3, at_least=0, keyword="lr", examples=(0.05, 0.01)),
    learningRateDecay: float = option(0.0, at_least=0, keyword=None),
    beta1: float = option(0.9, at_least=0, below=1, keyword="betas[0]"),
    beta2: float = option(0.999, at_least=0, below=1, keyword="betas[1]"),
    epsilon: float = option(1e-8, at_least=0, keyword="eps"),
    weightDecay: float = option(0.0, at_least=0, keyword="weight_decay"),
    decoupledDecay: float = option(0.0, at_least=0, keyword=None, examples=(0.0, 0.1)),
    paper: bool = False,
) -> Update:
    """Make one step of Adam: optim.adam(feval, x, config, state) -> x, [f].

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
    rate = decayed_rate(learningRate, learningRateDecay, before)
    if weightDecay:
        g = g + x * weightDecay
    if decoupledDecay:
        x = x * cast_like(xp, 1 - rate * decoupledDecay, x)
    m = beta1 * state["m"] + g * (1 - beta1)
    v = beta2 * state["v"] + (g * g) * (1 - beta2)
    root = xp.sqrt(1 - xp.power(beta2, t))
    step = cast_like(xp, rate * root / (1 - xp.power(beta1, t)), x)
    small = cast_like(xp, epsilon * root, x) if paper else epsilon
    return x - step * (m / (xp.sqrt(v) + small)), {"m": m, "v": v}


def _adam_coefficients(dtype: DTypeLike, t: Array, o: dict[str, Any]) -> tuple[Any, ...]:
    """Compute the coefficients of a step, those of the rule above, in the parameters' dtype."""
    return tuple(np.asarray(value, dtype=dtype) for value in _adam_numbers(t, o))


def _adam_numbers(t: Array, o: dict[str, Any]) -> tuple[Any, ...]:
    """β₁, 1 - β₁, β₂, 1 - β₂, step, ε, weight decay, and what is kept of the parameters."""
    rate = decayed_rate(o["learningRate"], o["learningRateDecay"], t)
    root = np.sqrt(1 - np.power(o["beta2"], t + 1))
    return (
        o["beta1"], 1 - o["beta1"], o["beta2"], 1 - o["beta2"],
        rate * root / (1 - np.power(o["beta1"], t + 1)),
        o["epsilon"] * root if o["paper"] else o["epsilon"],
        o["weightDecay"], 1 - rate * o["decoupledDecay"],
    )  # fmt: skip


@adam.on("numpy")
def _adam_in_place(x: Array, g: Array, state: dict[str, Array], o: dict[str, Any]) -> None:
    """Update x and the slots block by block, by the rule's operations without temporary arrays."""
    b1, a1, b2, a2, step, small, decay, keep = _adam_coefficients(x.dtype, state["t"], o)
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


@adam.on("machine")
def _adam_by_machine(x: Array, g: Array, state: dict[str, Array], o: dict[str, Any]) -> bool | None:
    m, v = state["m"], state["v"]
    if not all(type(a) is np.ndarray and a.dtype == x.dtype for a in (x, g, m, v)):
        return False
    numbers = _adam_coefficients(x.dtype, state["t"], o)
    if any(number.ndim for number in numbers):
        return False
    adapt(x, g, m, v, np.stack(numbers), bool(o["weightDecay"]), bool(o["decoupledDecay"]))
    return None


@adam.prepared
def _adam_prepared(
    x: Array, g: Array, state: dict[str, Array], o: dict[str, Any]
) -> Callable[[], None] | None:
    m, v, t = state["m"], state["v"], state["t"]
    if not is_available() or not all(type(a) is np.ndarray and a.dtype == x.dtype for a in (m, v)):
        return None
    if any(number.ndim for number in _adam_coefficients(x.dtype, t, o)):
        return None
    if not all(type(o[name]) in NUMBERS for name in ("weightDecay", "decoupledDecay")):
        return None  # the loop is made for a decay that is 0, and an array may be written
    return prepared_adaptation(
        x, g, m, v, lambda: _adam_numbers(t, o),
        bool(o["weightDecay"]), bool(o["decoupledDecay"]),
    )  # fmt: skip


class Adam(Optimizer):
    """Run Adam as in the paper: ε after the bias correction; weight_decay is added to g (L2).

    >>> import tapegrad as tg
    >>> w = tg.Parameter(np.array([1.0, -2.0]))
    >>> adam = Adam([w], lr=0.1)
    >>> for _ in range(100):
    ...     adam.zero_grad()
    ...     np.sum(w**2).backward()
    ...     updated = adam.step()
    >>> bool(np.abs(w.numpy()).max() < 0.2)
    True
    """

    rule = adam
    fixed: ClassVar = {"paper": True}


class AdamW(Optimizer):
    """Run Adam with decoupled weight decay: x shrinks by lr · weight_decay."""

    rule = adam
    defaults: ClassVar = {"weight_decay": 1e-2}
    keywords: ClassVar = {"weightDecay": None, "decoupledDecay": "weight_decay"}
    fixed: ClassVar = {"paper": True}


@update_rule(
    counter="t",
    slots=("m", "u"),
)
def adamax(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(2e-3, at_least=0, keyword="lr", examples=(0.05, 0.01)),
    learningRateDecay: float = option(0.0, at_least=0, keyword=None),
    beta1: float = option(0.9, at_least=0, below=1, keyword="betas[0]"),
    beta2: float = option(0.999, at_least=0, below=1, keyword="betas[1]"),
    epsilon: float = option(1e-38, at_least=0, keyword="eps", examples=(1e-8,)),
    weightDecay: float = option(0.0, at_least=0, keyword="weight_decay"),
) -> Update:
    """Make one step of AdaMax: optim.adamax(feval, x, config, state) -> x, [f].

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
    rate = decayed_rate(learningRate, learningRateDecay, before)
    step = cast_like(xp, rate / (1 - xp.power(beta1, before + 1)), x)
    return x - step * (m / u), {"m": m, "u": u}


class Adamax(Optimizer):
    """Run AdaMax; weight_decay is added to g (L2)."""

    rule = adamax
    defaults: ClassVar = {"eps": 1e-8}
