"""tapegrad.nn.mxnet.symbol: `mx.sym`, symbols and one function for each operator and alias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad.nn.mxnet.declaration import find_operator
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.symbol.creation import arange, full, ones, zeros
from tapegrad.nn.mxnet.symbol.pairs import hypot, maximum, minimum, power
from tapegrad.nn.mxnet.symbol.symbol import (
    Group,
    Symbol,
    Variable,
    from_operator,
    load,
    load_json,
    var,
)

__all__ = [
    "Group",
    "Symbol",
    "Variable",
    "arange",
    "full",
    "hypot",
    "load",
    "load_json",
    "maximum",
    "minimum",
    "ones",
    "power",
    "var",
    "zeros",
]


def __getattr__(name: str) -> Callable[..., Symbol]:
    """The function of an operator.  Raises AttributeError with the nearest names."""
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        find_operator(name)
    except MXNetError as error:
        raise AttributeError(f"mx.sym has no {name!r}: {error}") from None
    return _function(name, name)


def _function(operator: str, name: str) -> Callable[..., Symbol]:
    def function(*args: Any, **settings: Any) -> Symbol:
        return from_operator(operator, name, args, dict(settings))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = find_operator(operator).body.__doc__
    return function
