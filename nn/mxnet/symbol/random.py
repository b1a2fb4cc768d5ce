"""mx.sym.random: symbols of random numbers, of one distribution or one for each entry."""

from __future__ import annotations

from tapegrad.nn.mxnet.namespaces import random_functions
from tapegrad.nn.mxnet.symbol.functions import run
from tapegrad.nn.mxnet.symbol.symbol import Symbol

_found = random_functions(run, Symbol)
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
