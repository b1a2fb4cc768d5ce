"""The record of CuPy's namespace, and the translation of calls from CuPy's parameters to NumPy's.

The strict stand-in computes with NumPy, whose functions take more parameters than CuPy's and
sometimes name or order them differently.  A call is checked against CuPy's signature, from the
record `cupy_namespace.json`, and then rearranged for NumPy's function.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["CUPY", "RECORD", "Parameters"]

RECORD = json.loads(Path(__file__).with_name("cupy_namespace.json").read_text(encoding="utf-8"))
CUPY = f"CuPy {RECORD['cupy']}"


class Parameters:
    """The parameters of one of CuPy's functions, and how to pass them to NumPy's.

    where:  the name of the function in messages
    text:   its signature in the record (see `_record_cupy`)
    call:   NumPy's function of that name, which may order or name its parameters differently
    method: whether it is a method, which is called with the array before the other arguments

    `first_is_array` and `first_is_sequence` say that CuPy takes only an array, or a sequence of
    arrays, as the first argument.  The caller of `bind` checks that.
    """

    def __init__(
        self, where: str, text: str, call: Callable[..., Any], *, method: bool = False
    ) -> None:
        self.where = where
        self.call = call
        self.first_is_array = False
        self.any_positional = self.any_keyword = False
        self.positional: list[str] = []
        keyword_only: list[str] = []
        names = self.positional
        required = 0
        for word in filter(None, text.split(", ")):
            if word == "**":
                self.any_keyword = True
            elif word.startswith("*"):
                names = keyword_only
                self.any_positional = self.any_positional or word != "*"
            else:
                self.first_is_array |= word.endswith("!") and not self.positional
                names.append(word.rstrip("=!"))
                required += names is self.positional and not word.endswith("=")
        self.keywords = frozenset([*self.positional, *keyword_only])
        self.first_is_sequence = self.positional[:1] == ["tup"]
        self._out_at = self.positional.index("out") if "out" in self.positional else None
        self._match(required, method=method)

    def _match(self, required: int, *, method: bool) -> None:
        """Find the leading parameters that NumPy takes by position, and its names for the others.

        required: the number of CuPy's positional parameters without a default
        """
        self.rename: dict[str, str] = {}
        self.foreign: frozenset[str] = frozenset()
        self.direct: frozenset[str] = frozenset()
        self.by_position = len(self.positional)
        try:
            theirs = list(inspect.signature(self.call).parameters.values())
        except (TypeError, ValueError):
            # NumPy's function is compiled and has no signature (in some versions).  Parameters with
            # a default are then passed by CuPy's name, except to `where`, which takes no names.
            if self.positional != ["condition", "x", "y"]:
                self.by_position = required
            self.direct = self.keywords - set(self.positional[:required])
            return
        if method:
            theirs = theirs[1:]
        if any(p.kind is p.VAR_POSITIONAL for p in theirs):
            return
        ordered = [p for p in theirs if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
        known = {p.name for p in theirs if p.kind is not p.POSITIONAL_ONLY}
        names_in_order = {p.name for p in ordered}
        self.by_position = 0
        for ours, their in zip(self.positional, ordered, strict=False):
            if ours != their.name and (ours in names_in_order or their.name in self.keywords):
                break
            if ours != their.name and their.kind is their.POSITIONAL_OR_KEYWORD:
                self.rename[ours] = their.name
            self.by_position += 1
        self.direct = (self.keywords & known) - self.rename.keys()
        takes_any = any(p.kind is p.VAR_KEYWORD for p in theirs)
        if not takes_any:
            reachable = known | set(self.rename) | set(self.positional[: self.by_position])
            self.foreign = frozenset(self.keywords - reachable)

    def out(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The argument `out` of a call, None if there is none."""
        if self._out_at is not None and len(args) > self._out_at:
            return args[self._out_at]
        return kwargs.get("out")

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Sequence[Any], dict[str, Any]]:
        """Check a call against CuPy's parameters; return NumPy's arguments, not unwrapped."""
        if len(args) <= self.by_position and (not kwargs or self.direct.issuperset(kwargs)):
            return args, kwargs
        if kwargs and not self.any_keyword:
            for name in kwargs:
                if name not in self.keywords:
                    raise TypeError(f"{CUPY}: {self.where} takes no keyword argument {name!r}")
        if len(args) > len(self.positional) and not self.any_positional:
            raise TypeError(
                f"{CUPY}: {self.where} takes {len(self.positional)} positional arguments,"
                f" {len(args)} were given"
            )
        if self.any_positional:
            return list(args), kwargs
        ordered = list(args[: self.by_position])
        named = dict(
            zip(self.positional[self.by_position :], args[self.by_position :], strict=False)
        )
        for name, value in kwargs.items():
            if name in named or name in self.positional[: len(args)]:
                raise TypeError(f"{self.where}: argument {name!r} was given twice")
            by_position = name in self.positional[: self.by_position] and name not in self.rename
            if by_position and len(ordered) == self.positional.index(name):
                ordered.append(value)  # NumPy may take it by position only
            else:
                named[name] = value
        return ordered, {self.rename.get(name, name): value for name, value in named.items()}
