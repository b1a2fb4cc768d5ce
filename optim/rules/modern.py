"""Rules younger than Torch7: Lion, signSGD, and those that look at a whole parameter at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.optim.core.options import Option
from tapegrad.optim.core.rule import Slot, cast, decayed, optimizer

__all__ = ["adafactor", "lamb", "lars", "lion", "muon", "signsgd"]


@optimizer(
    counter="t",
    slots=("m",),
    learningRate=Option(1e-4, at_least=0),
    beta1=Option(0.9, at_least=0, below=1),
    beta2=Option(0.99, at_least=0, below=1),
    decoupledDecay=Option(0.0, at_least=0),
)
def lion(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    learningRate: Any,
    beta1: float,
    beta2: float,
    decoupledDecay: float,
) -> tuple[Any, dict[str, Any]]:
    """One step of Lion: x -= rate · (sign(β₁m + (1 - β₁)g) + λx), then m = β₂m + (1 - β₂)g.

    Options: learningRate (1e-4), beta1 (0.9), beta2 (0.99), decoupledDecay λ.  `state` keeps t, m.
    Source: X. Chen et al., "Symbolic discovery of optimization algorithms", 2023, algorithm 2.
    """
    direction = xp.sign(beta1 * state["m"] + g * (1 - beta1))
    if decoupledDecay:
        direction = direction + x * decoupledDecay
    rate = cast(xp, decayed(learningRate, 0.0, state["t"]), x)
    return x - rate * direction, {"m": beta2 * state["m"] + g * (1 - beta2)}


@optimizer(
    counter="t",
    slots={"m": Slot(when="momentum")},
    learningRate=Option(1e-3, at_least=0),
    momentum=Option(0.0, at_least=0),
    weightDecay=Option(0.0, at_least=0),
)
def signsgd(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    learningRate: Any,
    momentum: float,
    weightDecay: float,
) -> tuple[Any, dict[str, Any]]:
    """One step of signSGD: x -= rate · (sign(m) + λx), m = μm + (1 - μ)g, which is g without μ.

    Options: learningRate (1e-3), momentum μ, weightDecay λ.  `state` keeps t and, with momentum, m.
    Source: J. Bernstein et al., "signSGD", ICML 2018, algorithms 1 and 2 (Signum).
    """
    new = {}
    if momentum:
        g = new["m"] = momentum * state["m"] + g * (1 - momentum)
    direction = xp.sign(g)
    if weightDecay:
        direction = direction + x * weightDecay
    return x - cast(xp, decayed(learningRate, 0.0, state["t"]), x) * direction, new


@optimizer(
    counter="t",
    slots=("m", "v"),
    whole=True,
    learningRate=Option(1e-3, at_least=0),
    beta1=Option(0.9, at_least=0, below=1),
    beta2=Option(0.999, at_least=0, below=1),
    epsilon=Option(1e-6, at_least=0),
    decoupledDecay=Option(0.0, at_least=0),
)
def lamb(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    learningRate: Any,
    beta1: float,
    beta2: float,
    epsilon: float,
    decoupledDecay: float,
) -> tuple[Any, dict[str, Any]]:
    """One step of LAMB: x -= rate · |x|/|r| · r, with r = m̂/(√v̂ + ε) + λx, for each parameter.

    m̂ and v̂ are Adam's corrected means; the ratio is 1 where |x| or |r| is 0.
    Options: learningRate (1e-3), beta1, beta2, epsilon (1e-6), decoupledDecay λ.
    Source: Y. You et al., "Large batch optimization for deep learning", ICLR 2020, algorithm 2.
    """
    t = state["t"] + 1
    m = beta1 * state["m"] + g * (1 - beta1)
    v = beta2 * state["v"] + (g * g) * (1 - beta2)
    first = cast(xp, 1 - xp.power(beta1, t), x)
    second = cast(xp, 1 - xp.power(beta2, t), x)
    r = (m / first) / (xp.sqrt(v / second) + epsilon) + x * decoupledDecay
    rate = cast(xp, decayed(learningRate, 0.0, state["t"]), x)
    return x - (rate * _ratio(xp, _norm(xp, x), _norm(xp, r))) * r, {"m": m, "v": v}


@optimizer(
    counter="t",
    slots=("v",),
    whole=True,
    learningRate=Option(0.1, at_least=0),
    momentum=Option(0.9, at_least=0),
    weightDecay=Option(0.0, at_least=0),
    trust=1e-3,
)
def lars(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    learningRate: Any,
    momentum: float,
    weightDecay: float,
    trust: float,
) -> tuple[Any, dict[str, Any]]:
    """One step of LARS: v = μv + rate · η|x|/(|g| + λ|x|) · (g + λx);  x -= v, for each parameter.

    The ratio is 1 where |x| or |g| is 0.
    Options: learningRate (0.1), momentum μ (0.9), weightDecay λ, trust η (1e-3).
    Source: Y. You, I. Gitman, B. Ginsburg, arXiv:1708.03888, algorithm 1.
    """
    size, slope = _norm(xp, x), _norm(xp, g)
    local = _ratio(xp, trust * size, (slope + weightDecay * size) * xp.sign(slope))
    rate = cast(xp, decayed(learningRate, 0.0, state["t"]), x)
    v = momentum * state["v"] + (rate * local) * (g + x * weightDecay)
    return x - v, {"v": v}


def _rows(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-1], 1) if len(shape) > 1 else shape


def _columns(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-2], 1, shape[-1]) if len(shape) > 1 else (0,)


@optimizer(
    counter="t",
    slots={"row": Slot(_rows), "column": Slot(_columns)},
    whole=True,
    learningRate=Option(1e-2, at_least=0),
    beta2Decay=-0.8,
    epsilon=Option(1e-3, at_least=0),
    smallest=None,
    clipping=1.0,
    decoupledDecay=Option(0.0, at_least=0),
)
def adafactor(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    learningRate: Any,
    beta2Decay: float,
    epsilon: float,
    smallest: float | None,
    clipping: float,
    decoupledDecay: float,
) -> tuple[Any, dict[str, Any]]:
    """One step of Adafactor: second moments of matrices kept as row and column means.

    v = row · column / mean(row), each a running mean of g² with weight t^beta2Decay (-0.8);
    u = g/√v, divided by max(1, rms(u)/clipping);
    x -= min(rate, 1/√t) · max(epsilon, rms(x)) · u, for each parameter; vectors keep all of v.
    Options: learningRate (1e-2), beta2Decay, epsilon (1e-3), smallest (the dtype's eps), clipping
    (1), decoupledDecay.
    Source: N. Shazeer, M. Stern, "Adafactor", ICML 2018; relative steps as PyTorch takes them.
    """
    t = state["t"] + 1
    tiny = float(np.finfo(x.dtype).eps) if smallest is None else smallest
    weight = cast(xp, xp.power(t, beta2Decay), x)
    rate = decayed(learningRate, 0.0, state["t"])
    relative = cast(xp, xp.minimum(rate, 1 / xp.sqrt(t)), x)
    alpha = xp.maximum(epsilon, _rms(xp, x)) * relative
    if decoupledDecay:
        x = x * cast(xp, 1 - rate * decoupledDecay, x)
    new = {}
    squares = g * g
    if x.ndim > 1:
        row = state["row"] + (squares.mean(axis=-1, keepdims=True) - state["row"]) * weight
        column = state["column"]
        column = column + (squares.mean(axis=-2, keepdims=True) - column) * weight
        new = {"row": row, "column": column}
        variance = row * column / xp.maximum(row.mean(axis=-2, keepdims=True), tiny)
    else:
        variance = new["row"] = state["row"] + (squares - state["row"]) * weight
    update = g / xp.sqrt(xp.maximum(variance, tiny * tiny))
    return x - (alpha / xp.maximum(1.0, _rms(xp, update) / clipping)) * update, new


@optimizer(
    counter="t",
    slots=("m",),
    whole=True,
    learningRate=Option(1e-3, at_least=0),
    momentum=Option(0.95, at_least=0),
    nesterov=True,
    decoupledDecay=Option(0.1, at_least=0),
    steps=5,
    coefficients=(3.4445, -4.7750, 2.0315),
    epsilon=Option(1e-7, at_least=0),
    match=False,
)
def muon(
    xp: Any,
    x: Any,
    g: Any,
    state: Any,
    *,
    learningRate: Any,
    momentum: float,
    nesterov: bool,
    decoupledDecay: float,
    steps: int,
    coefficients: tuple[float, float, float],
    epsilon: float,
    match: bool,
) -> tuple[Any, dict[str, Any]]:
    """One step of Muon: x -= rate · √max(1, rows/columns) · orthogonal(m), for each matrix.

    m = μm + (1 - μ)g;  nesterov: (1 - μ)g + μm is orthogonalised instead;  orthogonal(U S Vᵀ) ≈
    U Vᵀ by `steps` Newton-Schulz steps a X + (b X Xᵀ + c (X Xᵀ)²) X, in x's dtype.  x shrinks by
    rate · decoupledDecay.  match: the factor is 0.2·√max(rows, columns), which matches the size of
    AdamW's updates.  Further axes belong to the columns; a vector is one row.
    Options: learningRate (1e-3), momentum (0.95), nesterov (true), decoupledDecay (0.1).
    Source: K. Jordan, "Muon: an optimizer for hidden layers", 2024; J. Liu et al., "Muon is
    scalable for LLM training", arXiv:2502.16982.
    """
    m = momentum * state["m"] + g * (1 - momentum)
    direction = g * (1 - momentum) + m * momentum if nesterov else m
    matrix = direction.reshape((x.shape[0], -1) if x.ndim > 1 else (1, -1))
    rows, columns = matrix.shape
    X = matrix.T if rows > columns else matrix
    X = X / xp.maximum(_norm(xp, X), epsilon)
    a, b, c = coefficients
    for _ in range(steps):
        gram = X @ X.T
        X = a * X + (b * gram + c * (gram @ gram)) @ X
    X = X.T if rows > columns else X
    factor = 0.2 * math.sqrt(max(rows, columns)) if match else math.sqrt(max(1, rows / columns))
    rate = decayed(learningRate, 0.0, state["t"])
    x = x * cast(xp, 1 - rate * decoupledDecay, x)
    return x - cast(xp, rate * factor, x) * X.reshape(x.shape), {"m": m}


def _norm(xp: Any, x: Any) -> Any:
    return xp.sqrt((x * x).sum())


def _rms(xp: Any, x: Any) -> Any:
    return xp.sqrt((x * x).mean())


def _ratio(xp: Any, above: Any, below: Any) -> Any:
    """above / below, or 1 where one of them is 0."""
    both = (above > 0) & (below > 0)
    return xp.where(both, above / xp.where(both, below, xp.ones_like(below)), xp.ones_like(above))
