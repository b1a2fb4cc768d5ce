"""What a module keeps, and what of it counts from 1 in other systems: declared once per class.

    class Narrow(Module):
        keeps = ("dimension", "index", "length")
        counts = {"dimension": "dimension", "index": "index"}

`keeps` names the attributes that instances have beyond those of the bases, in the order in which
the constructor sets them: settings, parameters, buffers, children.  Files and copies hold exactly
these, and whatever a person sets on an instance besides.  A class of somebody else's may say
nothing; all its attributes are kept then.  `counts` says which settings are positions that Torch7
and its relatives count from 1, and what they count.  docs/files.md tells the whole.

Nothing is inferred: not from code, not from what `Module` has in the way of methods.  What is
inferred changes when a file is moved or a method is added.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from tapegrad.nn.core.own import qualified_name
from tapegrad.nn.core.transient import ATTRIBUTE

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
    """The attributes that a class declares together with its bases, those of the bases first.

    Raises TypeError for a declaration that is no tuple of names.
    """
    found = _names.get(cls)
    if found is None:
        names: dict[str, None] = {}
        for base in reversed(cls.__mro__):
            declared = vars(base).get("keeps", ())
            if hasattr(declared, "__get__"):  # somebody's method or property that is called so
                continue
            if not isinstance(declared, tuple) or not all(type(n) is str for n in declared):
                raise TypeError(NOT_NAMES.format(cls=base.__name__, found=declared))
            names.update(dict.fromkeys(declared))
        found = _names[cls] = tuple(names)
    return found


def kept_attributes(module: Any) -> dict[str, Any]:
    """The attributes of a module that a file of it holds, in the order in which they were set.

    These are the instance's own: a declared attribute that was never set is missing, since the
    class has its default, and one that was set without being declared is there.
    """
    return {name: value for name, value in vars(module).items() if name != ATTRIBUTE}


def has_default(cls: type, name: str) -> bool:
    """Whether an instance without this attribute finds a value for it in its class."""
    value = getattr(cls, name, cls)
    return value is not cls and not callable(value) and not hasattr(value, "__set__")


# Records ------------------------------------------------------------------------------------------


def saved_record(cls: C) -> C:
    """Let modules keep instances of a named tuple or dataclass among their attributes; a decorator.

    Files hold the fields.  An instance is made of them without calling its constructor.
    """
    _records.append(cls)
    return cls


def saved_records() -> Mapping[str, type]:
    """The classes that `record` was told of, by the names that files have for them."""
    return {qualified_name(cls): cls for cls in _records}


def saved_record_fields(cls: Any) -> tuple[str, ...]:
    """The names of a record's fields, in order."""
    if issubclass(cls, tuple):
        names: tuple[str, ...] = cls._fields  # a named tuple's
        return names
    return tuple(field.name for field in dataclasses.fields(cls))
