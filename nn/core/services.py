"""Services: what a method of every module needs of a room that stands above the modules.

`predict` needs `nn/data`, `quantize` needs all layers, `saveCaffe` a file format; a method may not
import these.  The upper room enters its function here when it is imported, `register_service`, and
the method asks for it by name, `service`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tapegrad.nn.core.files import formats

__all__ = ["register_service", "service"]

ABSENT = (
    "no service {name!r} is registered: import the room that has it (`import tapegrad.nn`), or "
    "register a function with register_service({name!r}); registered are {known}"
)
TAKEN = "the service {name!r} is {other}'s already: give this one another name"

F = TypeVar("F", bound=Callable[..., Any])

_services: dict[str, Callable[..., Any]] = {}


def register_service(name: str) -> Callable[[F], F]:
    """Decorator: the function serves the methods that ask for `name`, as in "predict".

    Raises ValueError for a name that a function of another place has.
    """

    def register(function: F) -> F:
        other = _services.get(name)
        if other is not None and _place(other) != _place(function):
            raise ValueError(TAKEN.format(name=name, other=".".join(_place(other))))
        _services[name] = function
        return function

    return register


def service(name: str) -> Callable[..., Any]:
    """The function that was registered under `name`.  Raises NotImplementedError if none was."""
    if name not in _services:
        formats()  # which imports the package's own; some serve methods that write files
    if name not in _services:
        known = ", ".join(sorted(_services)) or "none"
        raise NotImplementedError(ABSENT.format(name=name, known=known))
    return _services[name]


def _place(function: Callable[..., Any]) -> tuple[str, str]:
    return function.__module__, function.__qualname__
