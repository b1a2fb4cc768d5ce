"""Where the user's program is: the line that runs, and the module.

Errors of replay and of anomaly mode name both.  Modules belong to `nn`, which this folder does not
import: a layer above that has something to say registers it here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["GENERATED", "module_path", "name_of", "register", "user_line"]

_PACKAGE = __name__.partition(".")[0]
GENERATED = f"<{_PACKAGE}"  # how the names of files begin that stand for source made by us


def user_line() -> str:
    """file:line of the innermost frame outside this package and the source that it generates."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        ours = name == _PACKAGE or name.startswith(_PACKAGE + ".")
        if not ours and not frame.f_code.co_filename.startswith(GENERATED):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "unknown line"


_registered: list[tuple[Callable[[], str], Callable[[Any], str]]] = []


def register(path: Callable[[], str], name: Callable[[Any], str]) -> None:
    """Say how to learn which module runs.

    path: () -> its path in its parents, ``Sequential[1].Linear``, "" outside of every module
    name: array -> what that module calls it if it is its own ("weight"), else ""
    """
    _registered.append((path, name))


def module_path() -> str:
    """The path of the module that runs, "" outside of every module."""
    return next((found for path, _ in _registered if (found := path())), "")


def name_of(array: Any) -> str:
    """What the module that runs calls `array`, if it is a parameter or buffer of its own."""
    return next((found for _, name in _registered if (found := name(array))), "")
