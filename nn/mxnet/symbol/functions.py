"""The functions of `mx.sym` and its namespaces: one for each operator and alias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapegrad.nn.mxnet.declaration import find_operator
from tapegrad.nn.mxnet.symbol.symbol import Symbol, from_operator

__all__ = ["function_of", "run"]


def function_of(operator: str, name: str) -> Callable[..., Symbol]:
    """The function of an operator; automatic names count by `name`."""

    def function(*args: Any, **settings: Any) -> Symbol:
        return from_operator(operator, name, args, dict(settings))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = find_operator(operator).body.__doc__
    return function


def run(operator: str, inputs: Sequence[Any], settings: dict[str, Any]) -> Symbol:
    """The symbol of an operator on inputs."""
    return from_operator(operator, operator, list(inputs), dict(settings))
