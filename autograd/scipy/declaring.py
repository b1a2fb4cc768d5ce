"""How this room declares operations whose body is SciPy's code.

They are primitives like any other, but not in the registry, whose entries answer to every kind of
array: SciPy computes with NumPy's arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from tapegrad.autograd.core.declaration import Primitive, PrimitiveFunction
from tapegrad.autograd.core.specialize import public_function

__all__ = ["operation", "scipy_module"]

MISSING = "tapegrad.scipy.{name} needs SciPy: pip install scipy"


def operation(**declared: Any) -> Callable[[Callable[..., Any]], PrimitiveFunction[..., Any]]:
    """Declare the decorated body, as `primitive` does, without entering it in the registry."""

    def declare(body: Callable[..., Any]) -> PrimitiveFunction[..., Any]:
        function: PrimitiveFunction[..., Any] = public_function(Primitive(body, **declared), body)
        return function

    return declare


def scipy_module(name: str) -> Any:
    """SciPy's module of that name, imported when it is first needed.

    Raises ModuleNotFoundError, and says what to install, where SciPy is missing.
    """
    try:
        return import_module(f"scipy.{name}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(MISSING.format(name=name)) from error
