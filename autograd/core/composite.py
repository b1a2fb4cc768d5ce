"""Composites: functions written in primitives, so they need no rule of their own.

They answer NumPy's functions as primitives do, and appear in the same coverage.  A function becomes
a primitive only where that is measurably faster or more exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tapegrad.autograd.core.declaration import numpy_functions

__all__ = ["composite", "composites"]

_registry: dict[str, Callable[..., Any]] = {}


def composites() -> Mapping[str, Callable[..., Any]]:
    """Every composite declared so far, by name."""
    return MappingProxyType(_registry)


def composite(
    *, numpy: Any = (), differentiable: bool = True, fact: bool = False, writes: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function written in primitives, and the NumPy function(s) it answers.

    differentiable: False for results that carry no derivative
    fact:           the result tells something about arrays (a shape, a truth) and is no Tensor
    writes:         it returns nothing, and writes into its first argument, by ``x[index] = v``
    """

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        function.differentiable = differentiable and not fact  # type: ignore[attr-defined]  # a mark
        function.fact = fact  # type: ignore[attr-defined]  # a mark, read by coverage and the laws
        function.writes = writes  # type: ignore[attr-defined]  # as `fact`
        _registry[function.__name__] = function
        for replaced in numpy if isinstance(numpy, tuple) else (numpy,):
            numpy_functions[replaced] = function
        return function

    return declare
