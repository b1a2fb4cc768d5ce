"""Random numbers: `_random_…` of one distribution, `_sample_…` of one for each entry of arrays.

NumPy's distributions draw from a stream whose seed comes from the executor's generator: equal seeds
give equal numbers here, other ones than MXNet's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import REQUIRED, Attributes, Bool, DType, Float, Int, Shape, Text
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.operators.constants import constant, drawn
from tapegrad.nn.mxnet.operators.shape_rules import all_alike
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.devices import Array, Generator

__all__ = ["DISTRIBUTIONS", "multinomial", "shuffle"]

_SINGLE = np.dtype(np.float32)
Draw = Callable[..., Any]


def stream(generator: Generator) -> np.random.Generator:
    """NumPy's generator with a seed drawn from `generator`."""
    seed = devices.to_numpy(generator.integers(0, 2**62, (2,)))
    return np.random.default_rng([int(n) for n in seed])


def _negative_binomial(rng: Any, k: Any, p: Any, size: Any) -> Any:
    """Failures before the k-th success: a Poisson number with a gamma-distributed mean."""
    p = np.asarray(p, np.float64)
    return rng.poisson(rng.gamma(k, size=size) * (1 - p) / np.maximum(p, 1e-30))


def _generalized(rng: Any, mu: Any, alpha: Any, size: Any) -> Any:
    """Mean mu and variance mu + alpha · mu²; a Poisson number where alpha is 0."""
    alpha = np.asarray(alpha, np.float64)
    safe = np.where(alpha > 0, alpha, 1)
    mean = np.where(alpha > 0, rng.gamma(1 / safe, size=size) * safe, 1) * mu
    return rng.poisson(mean)


# name -> (function of the generator, parameters and a size; parameters with defaults; formula)
DISTRIBUTIONS: dict[str, tuple[Draw, dict[str, Any], str]] = {
    "uniform": (
        lambda rng, low, high, size: low + (np.asarray(high) - low) * rng.random(size),
        {"low": 0.0, "high": 1.0},
        "from low up to high, all equally likely",
    ),
    "normal": (
        lambda rng, loc, scale, size: loc + scale * rng.standard_normal(size),
        {"loc": 0.0, "scale": 1.0},
        "with mean loc and standard deviation scale",
    ),
    "gamma": (
        lambda rng, alpha, beta, size: rng.standard_gamma(alpha, size) * beta,
        {"alpha": 1.0, "beta": 1.0},
        "with density x^(alpha - 1) · exp(-x / beta)",
    ),
    "exponential": (
        lambda rng, lam, size: rng.standard_exponential(size) / lam,
        {"lam": 1.0},
        "with mean 1 / lam",
    ),
    "poisson": (lambda rng, lam, size: rng.poisson(lam, size), {"lam": 1.0}, "with mean lam"),
    "negative_binomial": (
        _negative_binomial,
        {"k": 1, "p": 1.0},
        "of failures before the k-th success with probability p",
    ),
    "generalized_negative_binomial": (
        _generalized,
        {"mu": 1.0, "alpha": 1.0},
        "with mean mu and variance mu + alpha · mu²",
    ),
}
# `_sample_normal` calls its parameters as its formula does.
_OTHER_NAMES = {"loc": "mu", "scale": "sigma"}


@drawn
def _draws(
    *,
    generator: Any,
    distribution: str,
    parameters: tuple[Any, ...],
    shape: tuple[int, ...],
    dtype: Any,
) -> Any:
    """Draws of one distribution."""
    draw = DISTRIBUTIONS[distribution][0]
    return np.asarray(draw(stream(generator), *parameters, shape)).astype(dtype)


@drawn
def _draws_of_each(
    first: Any, second: Any = None, *, generator: Any, distribution: str, shape: Any, dtype: Any
) -> Any:
    """Draws of a distribution for each entry of arrays of parameters: (…) -> (…, *shape)."""
    given = [p for p in (first, second) if p is not None]
    draw = DISTRIBUTIONS[distribution][0]
    open_ = [p.reshape(p.shape + (1,) * len(shape)) for p in given]
    return np.asarray(draw(stream(generator), *open_, (*first.shape, *shape))).astype(dtype)


def _random_shape(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    outputs[0] = unify(outputs[0], a.shape or (1,))


def _sample_shape(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    shape: PartialShape = None
    for one in inputs:
        shape = unify(shape, one)
    inputs[:] = [shape] * len(inputs)
    if shape is not None:
        outputs[0] = unify(outputs[0], (*shape, *a.shape))


_SHAPE: dict[str, Any] = {"shape": Shape(()), "dtype": DType(None, none=True)}


def _parameter(value: Any) -> Float | Int:
    return Int(value) if isinstance(value, int) else Float(value)


def _declare(word: str, parameters: dict[str, Any], formula: str) -> None:
    kinds: dict[str, Any] = {key: _parameter(value) for key, value in parameters.items()}
    names = [_OTHER_NAMES.get(key, key) for key in parameters]
    alias = f" {word}" if word in ("uniform", "normal") else ""

    def body(call: Call) -> Any:
        return _draws(
            generator=call.generator,
            distribution=word,
            parameters=tuple(getattr(call.a, key) for key in parameters),
            shape=call.shape or call.a.shape or (1,),
            dtype=call.a.dtype or _SINGLE,
        )

    def like(call: Call, data: Tensor) -> Any:
        return _draws(
            generator=call.generator,
            distribution=word,
            parameters=tuple(getattr(call.a, key) for key in parameters),
            shape=tuple(data.shape),
            dtype=np.dtype(data.dtype),
        )

    def each(call: Call, *arrays: Tensor) -> Any:
        return _draws_of_each(
            *arrays,
            generator=call.generator,
            distribution=word,
            shape=call.a.shape,
            dtype=call.a.dtype or np.dtype(arrays[0].dtype),
        )

    body.__doc__ = f"Independent draws {formula}."
    like.__doc__ = f"Independent draws {formula}, of the shape of data."
    each.__doc__ = f"Draws {formula} for each entry of the arrays: (…) -> (…, *shape)."
    operator(
        f"_random_{word}", "", aliases=f"random_{word}{alias}", random=True, shapes=_random_shape,
        ctx=Text(""), **kinds, **_SHAPE,
    )(body)  # fmt: skip
    operator(f"_random_{word}_like", random=True, flat="data", shapes=all_alike, **kinds)(like)
    operator(
        f"_sample_{word}", " ".join(names), aliases=f"sample_{word}", random=True,
        flat=" ".join(names), shapes=_sample_shape, **_SHAPE,
    )(each)  # fmt: skip


for _word, (_, _parameters, _formula) in DISTRIBUTIONS.items():
    _declare(_word, _parameters, _formula)


@drawn
def _whole(*, generator: Any, low: int, high: int, shape: tuple[int, ...], dtype: Any) -> Any:
    return stream(generator).integers(low, high, shape).astype(dtype)


@operator(
    "_random_randint", "", aliases="random_randint", random=True, shapes=_random_shape,
    low=Int(REQUIRED), high=Int(REQUIRED), shape=Shape(()), ctx=Text(""),
    dtype=DType(None, none=True),
)  # fmt: skip
def randint(call: Call) -> Array:
    """Whole numbers from low to high - 1, all equally likely; int32 unless dtype says otherwise."""
    a = call.a
    shape = call.shape or a.shape or (1,)
    dtype = a.dtype or np.dtype(np.int32)
    return _whole(generator=call.generator, low=a.low, high=a.high, shape=shape, dtype=dtype)


@drawn
def _order(data: Any, *, generator: Any) -> Any:
    return stream(generator).permutation(data.shape[0])


@operator("_shuffle", aliases="shuffle", random=True, shapes=all_alike)
def shuffle(call: Call, data: Tensor) -> Tensor:
    """The rows (entries of the first axis) in random order."""
    return data[_order(data, generator=call.generator)]


@drawn
def _classes(data: Any, *, generator: Any, shape: tuple[int, ...]) -> Any:
    """Numbers of classes by their probabilities along the last axis."""
    ends = np.cumsum(data.reshape((-1, data.shape[-1])), axis=1, dtype=np.float64)
    count = int(np.prod(shape, dtype=np.int64))
    draws = stream(generator).random((len(ends), count)) * ends[:, -1:]
    found = [np.searchsorted(e, u, side="right") for e, u in zip(ends, draws, strict=True)]
    chosen = np.minimum(np.array(found).reshape((len(ends), count)), data.shape[-1] - 1)
    return chosen.reshape((*data.shape[:-1], *shape)).astype(np.int64)


@constant
def _as_type(x: Any, *, dtype: Any) -> Any:
    return x.astype(dtype)


def _multinomial_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    if inputs[0] is not None:
        shape = (*inputs[0][:-1], *a.shape) or (1,)
        outputs[:] = [unify(one, shape) for one in outputs]


@operator(
    "_sample_multinomial", aliases="sample_multinomial", random=True, shapes=_multinomial_shapes,
    outputs=lambda a: ("output0", "output1") if a.get_prob else ("output",),
    shape=Shape(()), get_prob=Bool(False), dtype=DType(np.dtype(np.int32)),
)  # fmt: skip
def multinomial(call: Call, data: Tensor) -> Tensor | list[Tensor]:
    """Numbers of classes by their probabilities along the last axis: (…, k) -> (…, *shape).

    With `get_prob` the logarithms of their probabilities come second, differentiable in data.
    """
    a = call.a
    at = _classes(data, generator=call.generator, shape=a.shape)
    classes = _as_type(at if at.shape else at.reshape((1,)), dtype=a.dtype)
    if not a.get_prob:
        return classes
    rows = at.reshape((*data.shape[:-1], -1))
    chance = ops.log(ops.take_along_axis(data, rows, data.ndim - 1))
    return [classes, chance.reshape(tuple(classes.shape))]
