"""What `mx.sym` and `mx.nd` have in common: contrib, linalg, random, … as functions of operators.

`mx.sym.contrib.MultiBoxPrior` is the operator `_contrib_MultiBoxPrior`; automatic names come from
the name in the call ("multiboxprior0").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapegrad.nn.mxnet.declaration import CONTROL_FLOW, find_operator
from tapegrad.nn.mxnet.errors import MXNetError

__all__ = ["finder", "random_functions"]

# make(operator, name in the call) -> the function
Make = Callable[[str, str], Callable[..., Any]]
# call(operator, inputs, settings) -> the result
Run = Callable[[str, Sequence[Any], dict[str, Any]], Any]


def finder(place: str, prefixes: Sequence[str], make: Make) -> Callable[[str], Callable[..., Any]]:
    """A module's ``__getattr__``: the function of the first operator prefix + name that exists.

    place: what the module is called in an error
    It raises AttributeError with the nearest names.
    """

    def attribute(name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        why = ""
        if f"_{name}" in CONTROL_FLOW:
            raise AttributeError(
                f"{place} has no {name!r}: it runs subgraphs, which no symbol does"
            )
        for prefix in prefixes:
            try:
                find_operator(prefix + name)
            except MXNetError as error:
                why = why or str(error)
                continue
            return make(prefix + name, name)
        raise AttributeError(f"{place} has no {name!r}: {why}")

    return attribute


def random_functions(run: Run, kind: type) -> dict[str, Callable[..., Any]]:
    """uniform, normal, …, shuffle by name, for symbols or for arrays.

    run:  calls an operator
    kind: Symbol or NDArray: parameters of this type make draws for each of their entries

    The functions raise ValueError where only some of the parameters are of this type.
    """

    def draw(word: str, given: dict[str, Any], settings: dict[str, Any]) -> Any:
        if any(isinstance(value, kind) for value in given.values()):
            if not all(isinstance(value, kind) for value in given.values()):
                shown = ", ".join(f"{k}={v!r}" for k, v in given.items())
                raise ValueError(f"{word}: all parameters are {kind.__name__}s, or none: {shown}")
            settings.pop("ctx", None)
            return run(f"_sample_{word}", list(given.values()), settings)
        return run(f"_random_{word}", [], {**given, **settings})

    def uniform(
        low: Any = 0, high: Any = 1, shape: Any = None, dtype: Any = None, **more: Any
    ) -> Any:
        """Draws from low up to high."""
        settings = _settings(shape, dtype, more)
        return draw("uniform", {"low": low, "high": high}, settings)

    def normal(
        loc: Any = 0, scale: Any = 1, shape: Any = None, dtype: Any = None, **more: Any
    ) -> Any:
        """Draws with mean loc and standard deviation scale."""
        settings = _settings(shape, dtype, more)
        return draw("normal", {"loc": loc, "scale": scale}, settings)

    def randn(*shape: int, loc: Any = 0, scale: Any = 1, dtype: Any = None, **more: Any) -> Any:
        """`normal` with the shape by position."""
        return normal(loc, scale, shape or None, dtype, **more)

    def poisson(lam: Any = 1, shape: Any = None, dtype: Any = None, **more: Any) -> Any:
        """Draws with mean lam."""
        return draw("poisson", {"lam": lam}, _settings(shape, dtype, more))

    def exponential(scale: Any = 1, shape: Any = None, dtype: Any = None, **more: Any) -> Any:
        """Draws with mean scale."""
        lam = 1.0 / scale
        return draw("exponential", {"lam": lam}, _settings(shape, dtype, more))

    def gamma(
        alpha: Any = 1, beta: Any = 1, shape: Any = None, dtype: Any = None, **more: Any
    ) -> Any:
        """Draws with density x^(alpha - 1) · exp(-x / beta)."""
        settings = _settings(shape, dtype, more)
        return draw("gamma", {"alpha": alpha, "beta": beta}, settings)

    def negative_binomial(
        k: Any = 1, p: Any = 1, shape: Any = None, dtype: Any = None, **more: Any
    ) -> Any:
        """Failures before the k-th success with probability p."""
        return draw("negative_binomial", {"k": k, "p": p}, _settings(shape, dtype, more))

    def generalized_negative_binomial(
        mu: Any = 1, alpha: Any = 1, shape: Any = None, dtype: Any = None, **more: Any
    ) -> Any:
        """Draws with mean mu and variance mu + alpha · mu²."""
        settings = _settings(shape, dtype, more)
        given = {"mu": mu, "alpha": alpha}
        return draw("generalized_negative_binomial", given, settings)

    def randint(low: int, high: int, shape: Any = None, dtype: Any = None, **more: Any) -> Any:
        """Whole numbers from low to high - 1."""
        settings = _settings(shape, dtype, more)
        return run("_random_randint", [], {"low": low, "high": high, **settings})

    def multinomial(
        data: Any, shape: Any = None, get_prob: bool = False, dtype: Any = "int32", **more: Any
    ) -> Any:
        """Numbers of classes by their probabilities along the last axis."""
        settings = _settings(shape, dtype, more)
        return run("_sample_multinomial", [data], {"get_prob": get_prob, **settings})

    def shuffle(data: Any, **more: Any) -> Any:
        """The rows in random order."""
        return run("_shuffle", [data], more)

    functions = (
        uniform, normal, randn, poisson, exponential, gamma, negative_binomial,
        generalized_negative_binomial, randint, multinomial, shuffle,
    )  # fmt: skip
    return {function.__name__: function for function in functions}


def _settings(shape: Any, dtype: Any, more: dict[str, Any]) -> dict[str, Any]:
    given = {"shape": shape, "dtype": dtype, **more}
    return {key: value for key, value in given.items() if value is not None}
