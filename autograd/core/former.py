"""Former spellings: what was renamed is still taken, with a DeprecationWarning that names the new.

Each is declared once, beside what has the new name, by one function of this file; `FORMER` has
them all.  Nothing else in the package may use a former spelling.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

__all__ = [
    "FORMER",
    "FormerSpelling",
    "former_method",
    "former_names",
    "path_first_formerly",
    "renamed_argument",
]

P = ParamSpec("P")
R = TypeVar("R")


class FormerSpelling(NamedTuple):
    """What was written before, and what to write, such as "optimizer.zero()"."""

    old: str
    new: str


FORMER: list[FormerSpelling] = []


def _declare(old: str, new: str) -> FormerSpelling:
    spelling = FormerSpelling(old, new)
    FORMER.append(spelling)
    return spelling


def _warn(spelling: FormerSpelling) -> None:
    """Warn at the line of the user's code, which called the function that calls this one."""
    text = f"{spelling.old} is the former spelling of {spelling.new}"
    warnings.warn(text, DeprecationWarning, stacklevel=3)


def renamed_argument(
    old: str, new: str, *, of: str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take its keyword argument `new` by the name `old` too.

    of: what the warning calls the function, where that is not its own name
    The function raises TypeError where both are given.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        place = of or function.__qualname__.removesuffix(".__init__")
        spelling = _declare(f"{place}({old}=)", f"{place}({new}=)")

        @functools.wraps(function)
        def renamed(*arguments: P.args, **named: P.kwargs) -> R:
            if old in named:
                if new in named:
                    raise TypeError(f"{place}: {new}= is given twice, once as {old}=")
                _warn(spelling)
                named[new] = named.pop(old)
            return function(*arguments, **named)

        return renamed

    return decorate


def path_first_formerly(function: Callable[P, R]) -> Callable[P, R]:
    """Let ``f(obj, path)`` be called as ``f(path, obj)`` too, where only the first is a path."""
    place = function.__qualname__
    spelling = _declare(f"{place}(path, obj)", f"{place}(obj, path)")

    @functools.wraps(function)
    def ordered(*arguments: P.args, **named: P.kwargs) -> R:
        first_two = arguments[:2]
        if [isinstance(each, (str, os.PathLike)) for each in first_two] == [True, False]:
            _warn(spelling)
            return function(*reversed(first_two), *arguments[2:], **named)  # type: ignore[arg-type]  # their order is the point
        return function(*arguments, **named)

    return ordered


def former_method(old: str, new: Callable[P, R]) -> Callable[P, R]:
    """Return a method for a class to have under the name `old`: it calls the method `new`."""
    place, _, name = new.__qualname__.rpartition(".")
    spelling = _declare(f"{place}.{old}()", f"{place}.{name}()")

    def former(*arguments: P.args, **named: P.kwargs) -> R:
        _warn(spelling)
        itself: Any = arguments[0]
        found: R = getattr(itself, name)(*arguments[1:], **named)  # a subclass may have its own
        return found

    former.__name__, former.__qualname__ = old, f"{place}.{old}"
    former.__doc__ = f"Do what `{name}` does, whose former name this is; warns so."
    return former


def former_names(module: str, **names: Callable[..., Any]) -> Callable[[str], Any]:
    """Return the `__getattr__` of an empty module: what it had, by name, is found elsewhere.

    The function raises AttributeError for any other name.
    """
    spellings = {
        old: _declare(f"{module}.{old}", f"{new.__module__}.{new.__qualname__}")
        for old, new in names.items()
    }

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}", name=name)
        _warn(spellings[name])
        return names[name]

    return find
