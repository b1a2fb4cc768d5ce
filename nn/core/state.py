"""Declarations of a class of modules: its attributes, and which of them other systems count from 1.

    class Narrow(Module):
        keeps = ("dimension", "index", "length")
        counts = {"dimension": "dimension", "index": "index"}

`keeps` names the attributes that instances have beyond those of the bases, in the order in which
the constructor sets them: settings, parameters, buffers, children.  Files and copies hold exactly
these, and whatever a person sets on an instance besides.  A class of somebody else's may declare
nothing; files hold all its attributes then.  `counts` names the settings that Torch7 and its
relatives count from 1, and says what they count.  docs/files.md has the details.

Nothing is inferred from code or from the methods of `Module`: inferred facts would change when
somebody moves a file or adds a method.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from tapegrad.nn.core.own import qualified_name
from tapegrad.nn.core.transient import NOT_KEPT

__all__ = [
    "has_default",
    "kept_attributes",
    "kept_names",
    "saved_record",
    "saved_record_fields",
    "saved_records",
]

NOT_NAMES = "{cls}.keeps is {found!r:.80}: it must be a tuple of names, such as ('weight',)"

_names: WeakKeyDictionary[type, tuple[str, ...]] = WeakKeyDictionary()
_records: list[type] = []

C = TypeVar("C", bound=type)


def kept_names(cls: type) -> tuple[str, ...]:
    """The attributes that a class and its bases declare, those of the bases first.

    Raises TypeError for a declaration that is no tuple of names.
    """
    known = _names.get(cls)
    if known is None:
        names: dict[str, None] = {}
        for base in reversed(cls.__mro__):
            declared = vars(base).get("keeps", ())
            if hasattr(declared, "__get__"):  # a method or property of somebody's with this name
                continue
            if not isinstance(declared, tuple) or not all(type(n) is str for n in declared):
                raise TypeError(NOT_NAMES.format(cls=base.__name__, found=declared))
            names.update(dict.fromkeys(declared))
        known = _names[cls] = tuple(names)
    return known


def kept_attributes(module: Any) -> dict[str, Any]:
    """The attributes of a module that its file holds, in the order in which they were set.

    These are the instance's own.  They lack a declared attribute that was never set, since the
    class has its default, and include one that was set without being declared.
    """
    return {name: value for name, value in vars(module).items() if name not in NOT_KEPT}


def has_default(cls: type, name: str) -> bool:
    """Whether the class has a value of the attribute for instances that do not set it."""
    value = getattr(cls, name, cls)
    return value is not cls and not callable(value) and not hasattr(value, "__set__")


# Records ------------------------------------------------------------------------------------------


def saved_record(cls: C) -> C:
    """Allow instances of a named tuple or dataclass among modules' attributes; a decorator.

    Files hold the fields.  A loader sets them without calling the constructor.
    """
    _records.append(cls)
    return cls


def saved_records() -> Mapping[str, type]:
    """The classes that `saved_record` decorates, by their names in files."""
    return {qualified_name(cls): cls for cls in _records}


def saved_record_fields(cls: Any) -> tuple[str, ...]:
    """The names of the fields of a decorated class, in order."""
    if issubclass(cls, tuple):
        names: tuple[str, ...] = cls._fields  # a named tuple's
        return names
    return tuple(field.name for field in dataclasses.fields(cls))
