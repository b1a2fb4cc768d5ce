"""The line of the user's program that runs, and the module that runs, for error messages.

Errors of replay and of anomaly mode name both.  Modules belong to `nn`, which `autograd` does not
import; so `nn` registers two functions here that say which module runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapegrad.devices import Array

__all__ = [
    "GENERATED",
    "is_own_frame",
    "running_module_path",
    "name_in_module",
    "register_module_names",
    "user_line",
]

_PACKAGE = __name__.partition(".")[0]
GENERATED = f"<{_PACKAGE}"  # prefix of the file names of generated source


def is_own_frame(frame: Any) -> bool:
    """Whether a frame runs code of this package, or source that it generated."""
    library = str(frame.f_globals.get("__name__")).partition(".")[0]
    return library == _PACKAGE or frame.f_code.co_filename.startswith(GENERATED)


def user_line(libraries: frozenset[str] = frozenset()) -> str:
    """Return file:line of the innermost frame outside this package and its generated source.

    libraries: names of further packages to look past
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        library = str(frame.f_globals.get("__name__")).partition(".")[0]
        if library not in libraries and not is_own_frame(frame):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "unknown line"


_registered: list[tuple[Callable[[], str], Callable[[Array], str]]] = []  # (path, name)


def register_module_names(path: Callable[[], str], name: Callable[[Array], str]) -> None:
    """Register two functions that tell which module runs.

    path: () -> path of the running module, ``Sequential[1].Linear``; "" outside of every module
    name: array -> the attribute ("weight") of the running module that holds the array, or ""
    """
    _registered.append((path, name))


def running_module_path() -> str:
    """The path of the module that runs, "" outside of every module."""
    return next((text for path, _ in _registered if (text := path())), "")


def name_in_module(array: Array) -> str:
    """The attribute of the running module that holds `array`, or "" if none does."""
    return next((text for _, name in _registered if (text := name(array))), "")
