"""Rules that need all entries of a parameter at once: LAMB, LARS, Adafactor, Muon."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Parameter  # noqa: TC001  # people may resolve annotations
from tapegrad.optim.core.optimizer import Optimizer
from tapegrad.optim.core.options import option
from tapegrad.optim.core.rule import StateSlot, Update, cast_like, decayed_rate, update_rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tapegrad.autograd.core.types import Array, Namespace, Shape

__all__ = ["LAMB", "LARS", "Adafactor", "Muon", "adafactor", "lamb", "lars", "muon"]


@update_rule(
    counter="t",
    slots=("m", "v"),
    needs_whole_array=True,
)
def lamb(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(1e-3, at_least=0, keyword="lr", examples=(0.02, 0.01)),
    beta1: float = option(0.9, at_least=0, below=1, keyword="betas[0]"),
    beta2: float = option(0.999, at_least=0, below=1, keyword="betas[1]"),
    epsilon: float = option(1e-6, at_least=0, keyword="eps"),
    decoupledDecay: float = option(0.0, at_least=0, keyword="weight_decay", examples=(0.0, 0.1)),
) -> Update:
    """Make one step of LAMB: x -= rate · |x|/|r| · r, with r = m̂/(√v̂ + ε) + λx, for each parameter.

    m̂ and v̂ are Adam's corrected means; the ratio is 1 where |x| or |r| is 0.
    Options: learningRate (1e-3), beta1, beta2, epsilon (1e-6), decoupledDecay λ.
    Source: Y. You et al., "Large batch optimization for deep learning", ICLR 2020, algorithm 2.
    """
    t = state["t"] + 1
    m = beta1 * state["m"] + g * (1 - beta1)
    v = beta2 * state["v"] + (g * g) * (1 - beta2)
    first = cast_like(xp, 1 - xp.power(beta1, t), x)
    second = cast_like(xp, 1 - xp.power(beta2, t), x)
    r = (m / first) / (xp.sqrt(v / second) + epsilon) + x * decoupledDecay
    rate = cast_like(xp, learningRate, x)
    return x - (rate * _quotient_or_one(xp, _norm(xp, x), _norm(xp, r))) * r, {"m": m, "v": v}


class LAMB(Optimizer):
    """Run LAMB; weight_decay is λ."""

    rule = lamb


@update_rule(
    counter="t",
    slots=("v",),
    needs_whole_array=True,
)
def lars(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(0.1, at_least=0, keyword="lr", examples=(0.5, 0.1)),
    learningRateDecay: float = option(0.0, at_least=0, keyword=None),
    momentum: float = option(0.9, at_least=0),
    weightDecay: float = option(0.0, at_least=0, keyword="weight_decay", examples=(0.0, 0.1)),
    trust: float = option(1e-3, examples=(0.1,)),
) -> Update:
    """Make one step of LARS: v = μv + rate · η|x|/(|g| + λ|x|) · (g + λx);  x -= v.

    The norms are those of each parameter, and the ratio is 1 where |x| or |g| is 0.
    Options: learningRate (0.1), learningRateDecay d (rate / (1 + steps·d)), momentum μ (0.9),
    weightDecay λ, trust η (1e-3).
    Source: Y. You, I. Gitman, B. Ginsburg, arXiv:1708.03888, algorithm 1.
    """
    size, slope = _norm(xp, x), _norm(xp, g)
    local = _quotient_or_one(xp, trust * size, (slope + weightDecay * size) * xp.sign(slope))
    rate = cast_like(xp, decayed_rate(learningRate, learningRateDecay, state["t"]), x)
    v = momentum * state["v"] + (rate * local) * (g + x * weightDecay)
    return x - v, {"v": v}


class LARS(Optimizer):
    """Run LARS; weight_decay is λ."""

    rule = lars


def _row_shape(shape: Shape) -> Shape:
    return (*shape[:-1], 1) if len(shape) > 1 else shape


def _column_shape(shape: Shape) -> Shape:
    return (*shape[:-2], 1, shape[-1]) if len(shape) > 1 else (0,)


@update_rule(
    counter="t",
    slots={"row": StateSlot(_row_shape), "column": StateSlot(_column_shape)},
    needs_whole_array=True,
)
def adafactor(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(1e-2, at_least=0, keyword="lr", examples=(0.02, 0.01)),
    beta2Decay: float = option(-0.8, keyword="beta2_decay"),
    smallest: float | None = option(None, keyword="eps[0]"),
    epsilon: float = option(1e-3, at_least=0, keyword="eps[1]"),
    clipping: float = option(1.0, keyword="d"),
    decoupledDecay: float = option(0.0, at_least=0, keyword="weight_decay", examples=(0.0, 0.1)),
) -> Update:
    """Make one step of Adafactor: second moments of matrices kept as row and column means.

    v = row · column / mean(row), each a running mean of g² with weight t^beta2Decay (-0.8);
    u = g/√v, divided by max(1, rms(u)/clipping);
    x -= min(rate, 1/√t) · max(epsilon, rms(x)) · u, for each parameter; vectors keep all of v.
    Options: learningRate (1e-2), beta2Decay, epsilon (1e-3), smallest (the dtype's eps), clipping
    (1), decoupledDecay.
    Source: N. Shazeer, M. Stern, "Adafactor", ICML 2018; relative steps as PyTorch takes them.
    """
    t = state["t"] + 1
    tiny = float(np.finfo(x.dtype).eps) if smallest is None else smallest
    weight = cast_like(xp, xp.power(t, beta2Decay), x)
    relative = cast_like(xp, xp.minimum(learningRate, 1 / xp.sqrt(t)), x)
    alpha = xp.maximum(epsilon, _rms(xp, x)) * relative
    if decoupledDecay:
        x = x * cast_like(xp, 1 - learningRate * decoupledDecay, x)
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


class Adafactor(Optimizer):
    """Run Adafactor; eps are (the dtype's if None, ε), d is the clipping.

    weight_decay is decoupled: x shrinks by lr · weight_decay.
    """

    rule = adafactor


@update_rule(
    counter="t",
    slots=("m",),
    needs_whole_array=True,
)
def muon(
    xp: Namespace,
    x: Array,
    g: Array,
    state: dict[str, Array],
    *,
    learningRate: Any = option(1e-3, at_least=0, keyword="lr", examples=(0.02, 0.01)),
    momentum: float = option(0.95, at_least=0),
    nesterov: bool = True,
    decoupledDecay: float = option(0.1, at_least=0, keyword="weight_decay", examples=(0.0, 0.1)),
    steps: int = option(5, keyword="ns_steps"),
    coefficients: tuple[float, float, float] = option(
        (3.4445, -4.7750, 2.0315), keyword="ns_coefficients"
    ),
    epsilon: float = option(1e-7, at_least=0, keyword="eps"),
    match: bool = option(False, keyword="match_adamw"),
) -> Update:
    """Make one step of Muon: x -= rate · √max(1, rows/columns) · orthogonal(m), for each matrix.

    m = μm + (1 - μ)g;  nesterov: (1 - μ)g + μm is orthogonalised instead;  orthogonal(U S Vᵀ) ≈
    U Vᵀ by `steps` Newton-Schulz steps a X + (b X Xᵀ + c (X Xᵀ)²) X, in x's dtype.  x shrinks by
    rate · decoupledDecay.  match: the factor is 0.2·√max(rows, columns), which matches the size of
    AdamW's updates.  Further axes belong to the columns; a vector is one row.
    Options: learningRate (1e-3), momentum (0.95), nesterov (true), decoupledDecay (0.1), steps (5),
    coefficients a, b, c, epsilon (1e-7, the least norm that m is divided by), match (false).
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
    x = x * cast_like(xp, 1 - learningRate * decoupledDecay, x)
    return x - cast_like(xp, learningRate * factor, x) * X.reshape(x.shape), {"m": m}


class Muon(Optimizer):
    """Run Muon on weights of two or more axes; weight_decay is decoupled."""

    rule = muon

    def check_parameters(self, named: Mapping[str, Parameter]) -> None:
        """Refuse vectors, which have no singular values to even out."""
        vectors = [name for name, p in named.items() if p.ndim < 2]
        if vectors:
            raise ValueError(
                f"Muon is for parameters of two or more axes; give {', '.join(vectors)} to another "
                "optimizer, such as AdamW({name: p for name, p in module.named_parameters() "
                "if p.ndim < 2})"
            )


def _norm(xp: Namespace, x: Array) -> Array:
    return xp.sqrt((x * x).sum())


def _rms(xp: Namespace, x: Array) -> Array:
    return xp.sqrt((x * x).mean())


def _quotient_or_one(xp: Namespace, above: Array, below: Array) -> Array:
    """Return above / below, or 1 where one of them is 0."""
    both = (above > 0) & (below > 0)
    return xp.where(both, above / xp.where(both, below, xp.ones_like(below)), xp.ones_like(above))
