"""Densities of the distributions that `drawing` draws from, differentiable in all inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Attributes, Bool
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["DENSITIES"]


def _generalized(x: Any, mu: Any, alpha: Any) -> Any:
    k = 1 / alpha
    return _negative_binomial(x, k, 1 / (1 + mu * alpha))


def _negative_binomial(x: Any, k: Any, p: Any) -> Any:
    ways = ops.gammaln(x + k) - ops.gammaln(x + 1) - ops.gammaln(k)
    return ways + k * ops.log(p) + x * ops.log1p(-p)


# name -> (inputs behind the sample, log of the density)
DENSITIES: dict[str, tuple[str, Callable[..., Any]]] = {
    "uniform": ("low high", lambda x, low, high: -ops.log(high - low) + x * 0),
    "normal": (
        "mu sigma",
        lambda x, mu, sigma: (
            -0.5 * ops.square((x - mu) / sigma) - ops.log(sigma) - 0.5 * math.log(2 * math.pi)
        ),
    ),
    "gamma": (
        "alpha beta",
        lambda x, alpha, beta: (
            alpha * ops.log(beta) + (alpha - 1) * ops.log(x) - beta * x - ops.gammaln(alpha)
        ),
    ),
    "exponential": ("lam", lambda x, lam: ops.log(lam) - lam * x),
    "poisson": ("lam", lambda x, lam: x * ops.log(lam) - ops.gammaln(x + 1) - lam),
    "negative_binomial": ("k p", _negative_binomial),
    "generalized_negative_binomial": ("mu alpha", _generalized),
}


def _shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    if inputs[0] is not None:
        outputs[0] = inputs[0]


def _declare(word: str, inputs: str, log_density: Callable[..., Any]) -> None:
    def body(call: Call, sample: Tensor, *parameters: Tensor) -> Any:
        more = sample.ndim - parameters[0].ndim
        open_ = [p.reshape(tuple(p.shape) + (1,) * more) for p in parameters]
        y = log_density(sample, *open_)
        return y if call.a.is_log else ops.exp(y)

    body.__doc__ = (
        f"The {word.replace('_', ' ')} density at samples (or its logarithm, `is_log`).\n\n"
        "sample (…, *), parameters (…) -> (…, *)."
    )
    operator(
        f"_random_pdf_{word}", f"sample {inputs}", aliases=f"random_pdf_{word}", shapes=_shapes,
        is_log=Bool(False),
    )(body)  # fmt: skip


for _word, (_inputs, _density) in DENSITIES.items():
    _declare(_word, _inputs, _density)


@operator("_random_pdf_dirichlet", "sample alpha", aliases="random_pdf_dirichlet",
          is_log=Bool(False))  # fmt: skip
def dirichlet_density(call: Call, sample: Tensor, alpha: Tensor) -> Tensor:
    """The Dirichlet density at samples (…, *, k), for alpha (…, k) -> (…, *)."""
    more = sample.ndim - alpha.ndim
    weights = alpha.reshape((*alpha.shape[:-1], *(1,) * more, alpha.shape[-1]))
    y = ops.sum((weights - 1) * ops.log(sample) - ops.gammaln(weights), axis=-1)
    y = y + ops.gammaln(ops.sum(weights, axis=-1))
    return y if call.a.is_log else ops.exp(y)
