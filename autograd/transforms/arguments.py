"""`argnums`: which arguments of a function are differentiated, by position, by name, or several.

Positions and names are those of the function's parameters, however the caller passes the argument:
``grad(f, "w")`` and ``grad(f, 1)`` both serve ``f(x, w)`` and ``f(x, w=w)``.  The signature is
looked up only where the call itself does not decide, because that takes longer than a small call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Argnums", "Arguments", "function_name", "require_callable"]

Argnums = int | str | Iterable[int | str]

NOT_CALLABLE = (
    "a derivative is of a function, this is of type {type}: pass the function itself, grad(f)(x) "
    "and not grad(f(x))"
)
NOT_ARGNUMS = (
    "argnums={argnums!r}: give the position or the name of an argument of {name}, or several of "
    "them as a tuple"
)
NO_SUCH_NAME = "argnums={argnums!r}: {name} has no argument {which!r}; it has {known}"
NOT_GIVEN = "argnums={argnums!r}: {name} was called without {which}; {call}"
NO_ARGNUMS = "argnums={argnums!r} selects no argument of {name}"
TWICE = "argnums={argnums!r} names an argument of {name} twice"


def function_name(fn: Any) -> str:
    """The name by which messages call a function."""
    return getattr(fn, "__name__", type(fn).__name__)


def require_callable(fn: Any) -> None:
    """Raise TypeError unless fn can be called."""
    if not callable(fn):
        raise TypeError(NOT_CALLABLE.format(type=type(fn).__name__))


class Arguments:
    """The arguments of fn that `argnums` selects.

    may_be_empty: whether `argnums` may select nothing, as for a function without arguments
    Raises TypeError for an fn that is no function, and for what cannot be `argnums`.
    """

    def __init__(
        self, fn: Callable[..., Any], argnums: Argnums, *, may_be_empty: bool = False
    ) -> None:
        require_callable(fn)
        self.fn = fn
        self.argnums = argnums
        self.single = isinstance(argnums, (int, str))
        selected: Any = (argnums,) if self.single else argnums
        if not isinstance(selected, Iterable):
            raise TypeError(NOT_ARGNUMS.format(argnums=argnums, name=function_name(fn)))
        self.selected: tuple[Any, ...] = tuple(selected)
        if not self.selected and not may_be_empty:
            raise TypeError(NO_ARGNUMS.format(argnums=argnums, name=function_name(fn)))
        if any(isinstance(c, bool) or not isinstance(c, (int, str)) for c in self.selected):
            raise TypeError(NOT_ARGNUMS.format(argnums=argnums, name=function_name(fn)))
        # The usual case, one argument by its position from the front, needs no lookup.
        first = self.selected[0] if len(self.selected) == 1 else None
        self._only = first if isinstance(first, int) and first >= 0 else None
        self._names: list[str] | None = None

    def locate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int | str, ...]:
        """The selected arguments of a call, as positions in `args` and keys of `kwargs`.

        Raises TypeError, which names the function and its arguments, for one that was not passed.
        """
        only = self._only
        if only is not None and only < len(args):
            return (only,)
        keys = tuple(self._locate_one(c, args, kwargs) for c in self.selected)
        if len(set(keys)) < len(keys):
            raise TypeError(TWICE.format(argnums=self.argnums, name=function_name(self.fn)))
        return keys

    def _locate_one(
        self, argnum: int | str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> int | str:
        if isinstance(argnum, str):
            if argnum in kwargs:
                return argnum
            names = self._positional()
            if argnum in names and names.index(argnum) < len(args):
                return names.index(argnum)
            if argnum not in self._parameters():
                raise TypeError(self._message(NO_SUCH_NAME, argnum, args, kwargs))
        elif argnum < len(args) and (argnum >= 0 or -argnum <= len(args)):
            return argnum % len(args)
        elif 0 <= argnum < len(self._positional()) and self._positional()[argnum] in kwargs:
            return self._positional()[argnum]
        which = repr(argnum) if isinstance(argnum, str) else f"argument number {argnum}"
        raise TypeError(self._message(NOT_GIVEN, which, args, kwargs))

    def _message(self, text: str, which: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        known = self._parameters()
        count = f"{len(args)} argument{'s' * (len(args) != 1)} by position"
        call = " and ".join([count, *([", ".join(kwargs) + " by name"] if kwargs else [])])
        return text.format(
            argnums=self.argnums,
            name=function_name(self.fn),
            which=which,
            known=", ".join(known) or "none with a name",
            call=f"it was given {call}" + (f", and has {', '.join(known)}" if known else ""),
        )

    def _parameters(self) -> list[str]:
        """The names of all parameters, as far as the signature tells them."""
        return [
            p.name
            for p in _parameters_of(self.fn)
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]

    def _positional(self) -> list[str]:
        """The names of the parameters that can be passed by position."""
        if self._names is None:
            kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            self._names = [p.name for p in _parameters_of(self.fn) if p.kind in kinds]
        return self._names


def _parameters_of(fn: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # some callables written in C
        return []
