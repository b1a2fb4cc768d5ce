"""Registry: classes by name, as mx.optimizer.create("sgd") and its relatives find them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Generic, TypeVar

__all__ = ["Registry"]

T = TypeVar("T")
C = TypeVar("C", bound=type[Any])


class Registry(Generic[T]):
    """Classes by name in lower case."""

    def __init__(self, kind: str):
        self.kind = kind
        self._found: dict[str, Any] = {}

    def enter(self, cls: C, *names: str) -> C:
        """Enter a class under names; a later class of the same name takes its place."""
        for name in names or (cls.__name__,):
            self._found[name.lower()] = cls
        return cls

    def alias(self, name: str, cls: Any) -> None:
        """Enter a class under one more name."""
        self._found[name.lower()] = cls

    def find(self, name: str) -> Any:
        """The class of a name.  Raises ValueError with the nearest ones."""
        found = self._found.get(name.lower())
        if found is None:
            near = get_close_matches(name.lower(), self._found, 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            known = ", ".join(sorted(self._found))
            raise ValueError(f"Cannot find {self.kind} {name}{hint} (there are {known})")
        return found

    def names(self) -> list[str]:
        """All names."""
        return sorted(self._found)
