"""The structure of a module at one time: which Parameters it holds, and whether that has changed.

An optimizer keeps the Parameters that it found.  Where a layer is replaced afterwards, it would go
on with those of the old layer, and the new one would never learn; so it asks before each step.  The
answer costs little: attributes count their assignments, and lists and dicts are compared with what
was in them.
"""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tapegrad.nn.core.part import Part

__all__ = ["Structure", "note_change"]

_changes = [0]  # how many attributes with modules or Parameters have been set, in all modules


def note_change() -> None:
    """Note that an attribute which holds modules, Parameters or Buffers was set or removed."""
    _changes[0] += 1


class Structure:
    """The lists and dicts of a module and of all below it, with what was in them."""

    def __init__(self, module: Part) -> None:
        self._count = _changes[0]
        self._holders = [
            (holder, _items(holder))
            for part in module.listModules()
            for value in vars(part).values()
            for holder in _holders(value, set())
        ]

    def __getstate__(self) -> dict[str, Any]:
        """The content of a copy, which has not looked at its own modules yet."""
        return {"_count": -1, "_holders": []}

    def may_differ(self) -> bool:
        """Whether the module's Parameters may be others now; sure only if False."""
        if self._count != _changes[0]:
            return True
        return any(_have_changed(holder, items) for holder, items in self._holders)


def _items(holder: Any) -> list[Any]:
    """What a list or dict holds.  Their ids would not do: what is replaced may pass its id on."""
    return list(holder.values() if isinstance(holder, dict) else holder)


def _have_changed(holder: Any, items: list[Any]) -> bool:
    if len(holder) != len(items):
        return True
    return not all(map(is_, holder.values() if isinstance(holder, dict) else holder, items))


def _holders(value: Any, seen: set[int]) -> Iterator[Any]:
    """The lists, tuples and dicts in `value`, each once."""
    if isinstance(value, (list, tuple, dict)) and id(value) not in seen:
        seen.add(id(value))
        if not isinstance(value, tuple):
            yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _holders(item, seen)
