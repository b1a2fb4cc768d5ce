"""Composites are functions written in primitives, so they need no derivative rule of their own.

NumPy's functions on Tensors may call composites as they call primitives, and the coverage table
lists both.  A function becomes a primitive only where that is measurably faster or more exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from tapegrad.autograd.core.declaration import numpy_functions

__all__ = ["composite", "composites"]

F = TypeVar("F", bound=Callable[..., Any])
_registry: dict[str, Callable[..., Any]] = {}


def composites() -> Mapping[str, Callable[..., Any]]:
    """All composites that have been declared, by name."""
    return MappingProxyType(_registry)


def composite(
    *,
    numpy: Callable[..., Any] | tuple[Callable[..., Any], ...] = (),
    differentiable: bool = True,
    fact: bool = False,
    writes: bool = False,
) -> Callable[[F], F]:
    """Return a decorator that registers a function written in primitives.

    numpy:          NumPy function(s) that call it when an argument is a Tensor

    differentiable: False for results that carry no derivative
    fact:           the result is no Tensor but a fact about arrays (a shape, a truth value)
    writes:         the function returns nothing and writes into its first argument
    """

    def declare(function: F) -> F:
        function.differentiable = differentiable and not fact  # type: ignore[attr-defined]  # a mark
        function.fact = fact  # type: ignore[attr-defined]  # a mark, read by coverage and the laws
        function.writes = writes  # type: ignore[attr-defined]  # as `fact`
        _registry[function.__name__] = function
        for replaced in numpy if isinstance(numpy, tuple) else (numpy,):
            numpy_functions[replaced] = function
        return function

    return declare
