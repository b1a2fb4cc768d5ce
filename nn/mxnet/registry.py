"""Registry: classes by name, as mx.optimizer.create("sgd") and its relatives find them.

`mx.registry.get_registry(mx.metric.EvalMetric)` is the dict of all metrics.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Generic, TypeVar

__all__ = ["Registry", "get_registry"]

T = TypeVar("T")
C = TypeVar("C", bound=type[Any])


_all: list[Registry[Any]] = []


class Registry(Generic[T]):
    """Classes by name in lower case."""

    def __init__(self, kind: str):
        self.kind = kind
        self.classes: dict[str, Any] = {}
        _all.append(self)

    def enter(self, cls: C, *names: str) -> C:
        """Enter a class under names; a later class of the same name takes its place."""
        for name in names or (cls.__name__,):
            self.classes[name.lower()] = cls
        return cls

    def alias(self, name: str, cls: type) -> None:
        """Enter a class under one more name."""
        self.classes[name.lower()] = cls

    def find(self, name: str) -> type[Any]:
        """The class of a name.  Raises ValueError with the nearest ones."""
        found = self.classes.get(name.lower())
        if found is None:
            near = get_close_matches(name.lower(), self.classes, 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            known = ", ".join(sorted(self.classes))
            raise ValueError(f"Cannot find {self.kind} {name}{hint} (there are {known})")
        return found

    def items(self) -> list[tuple[str, Any]]:
        """(name, class) of all."""
        return sorted(self.classes.items())

    def names(self) -> list[str]:
        """All names."""
        return sorted(self.classes)


def get_registry(base_class: type) -> dict[str, type]:
    """Name in lower case -> class, of all classes that derive from `base_class`."""
    return {
        name: cls
        for one in _all
        for name, cls in one.items()
        if isinstance(cls, type) and issubclass(cls, base_class)
    }
