"""mx.nd.random: arrays of random numbers, of one distribution or one for each entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad.nn.core.services import register_service
from tapegrad.nn.mxnet.namespaces import random_functions
from tapegrad.nn.mxnet.ndarray.functions import invoke
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray

_found = random_functions(invoke, NDArray)
uniform, normal, randn = _found["uniform"], _found["normal"], _found["randn"]
poisson, exponential, gamma = _found["poisson"], _found["exponential"], _found["gamma"]
negative_binomial = _found["negative_binomial"]
generalized_negative_binomial = _found["generalized_negative_binomial"]
randint, multinomial, shuffle = _found["randint"], _found["multinomial"], _found["shuffle"]

__all__ = [
    "exponential",
    "gamma",
    "generalized_negative_binomial",
    "multinomial",
    "negative_binomial",
    "normal",
    "poisson",
    "randint",
    "randn",
    "shuffle",
    "uniform",
]


@register_service("mxnet.random_functions")  # mx.random, which stands below
def functions() -> dict[str, Callable[..., Any]]:
    """All functions by name."""
    return dict(_found)
