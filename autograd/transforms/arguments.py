"""Which arguments of a function are differentiated: `argnums` as positions, as names, or several.

A position is that of the function's parameters and a name is one of them, however the caller passes
the argument: ``grad(f, "w")`` serves ``f(x, w)`` and ``f(x, w=w)`` alike, and so does
``grad(f, 1)``.  The signature is only asked where the call itself does not say it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Argnums", "Arguments", "name_of"]

Argnums = int | str | Iterable[int | str]

NOT_ARGNUMS = (
    "argnums={argnums!r}: give the position or the name of an argument of {name}, or several of "
    "them as a tuple"
)
NO_SUCH_NAME = "argnums={argnums!r}: {name} has no argument {given!r}; it has {known}"
NOT_GIVEN = "argnums={argnums!r}: {name} was called without {given}; {call}"
TWICE = "argnums={argnums!r} names an argument of {name} twice"


def name_of(fn: Any) -> str:
    """What messages call a function."""
    return getattr(fn, "__name__", type(fn).__name__)


class Arguments:
    """The arguments of `fn` that `argnums` chooses.  Raises TypeError when it can't choose any."""

    def __init__(self, fn: Callable[..., Any], argnums: Argnums) -> None:
        self.fn = fn
        self.argnums = argnums
        self.single = isinstance(argnums, (int, str))
        chosen: Any = (argnums,) if self.single else argnums
        if not isinstance(chosen, Iterable):
            raise TypeError(NOT_ARGNUMS.format(argnums=argnums, name=name_of(fn)))
        self.chosen: tuple[Any, ...] = tuple(chosen)
        if any(isinstance(c, bool) or not isinstance(c, (int, str)) for c in self.chosen):
            raise TypeError(NOT_ARGNUMS.format(argnums=argnums, name=name_of(fn)))
        # One argument, by its position from the front: nothing to look up in the usual call.
        first = self.chosen[0] if len(self.chosen) == 1 else None
        self._only = first if isinstance(first, int) and first >= 0 else None
        self._names: list[str] | None = None

    def places(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int | str, ...]:
        """Where a call's chosen arguments are: positions in `args` and keys of `kwargs`.

        Raises TypeError, naming the function and its arguments, for one that was not given.
        """
        only = self._only
        if only is not None and only < len(args):
            return (only,)
        places = tuple(self._place(c, args, kwargs) for c in self.chosen)
        if len(set(places)) < len(places):
            raise TypeError(TWICE.format(argnums=self.argnums, name=name_of(self.fn)))
        return places

    def _place(self, given: int | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | str:
        if isinstance(given, str):
            if given in kwargs:
                return given
            names = self._positional()
            if given in names and names.index(given) < len(args):
                return names.index(given)
            if given not in self._parameters():
                raise TypeError(self._message(NO_SUCH_NAME, given, args, kwargs))
        elif given < len(args) and (given >= 0 or -given <= len(args)):
            return given % len(args)
        elif 0 <= given < len(self._positional()) and self._positional()[given] in kwargs:
            return self._positional()[given]
        which = repr(given) if isinstance(given, str) else f"argument number {given}"
        raise TypeError(self._message(NOT_GIVEN, which, args, kwargs))

    def _message(self, text: str, given: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        known = self._parameters()
        count = f"{len(args)} argument{'s' * (len(args) != 1)} by position"
        call = " and ".join([count, *([", ".join(kwargs) + " by name"] if kwargs else [])])
        return text.format(
            argnums=self.argnums,
            name=name_of(self.fn),
            given=given,
            known=", ".join(known) or "none with a name",
            call=f"it was given {call}" + (f", and has {', '.join(known)}" if known else ""),
        )

    def _parameters(self) -> list[str]:
        """The names of all parameters, as far as they are known."""
        return [
            p.name for p in _signature(self.fn) if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]

    def _positional(self) -> list[str]:
        """The names of the parameters that a position can mean."""
        if self._names is None:
            kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            self._names = [p.name for p in _signature(self.fn) if p.kind in kinds]
        return self._names


def _signature(fn: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # some callables written in C
        return []
