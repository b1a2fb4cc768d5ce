"""Every class that Torch7's format needs to know something particular about: one table.

A class that is not in it, or says nothing of some matter, follows the nearest base that does, and
else the general rule (building.py, description.py).  What is to be done with fields is found for a
class and all its bases, bases first.  A new layer needs an entry only where it differs from that
rule, or where Torch7 has no such class: in layer_entries.py, or in composite_entries.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tapegrad.nn.formats.torch7.bigdl_entries import BIGDL
from tapegrad.nn.formats.torch7.composite_entries import COMPOSITES
from tapegrad.nn.formats.torch7.entry import ClassEntry, DType, Results, empty_tensor
from tapegrad.nn.formats.torch7.layer_entries import LAYERS

__all__ = [
    "CLASSES",
    "constructor_state",
    "class_entries",
    "is_absent",
    "is_ignored",
    "new_results",
    "private_fields",
    "version_of",
]

CLASSES: dict[type, ClassEntry] = LAYERS | COMPOSITES | BIGDL


def is_absent(cls: type) -> bool:
    """Whether Torch7 has no class like this one."""
    return cls in CLASSES and CLASSES[cls].absent


def class_entries(cls: type) -> Iterator[ClassEntry]:
    """The entries of the bases of a class, and its own, the most general first."""
    return (CLASSES[base] for base in reversed(cls.__mro__) if base in CLASSES)


def constructor_state(cls: type, dtype: DType) -> Iterator[tuple[str, Any]]:
    """(name, value) of the fields that a module of this class must have, its own first."""
    for entry in reversed(list(class_entries(cls))):
        for name, value in entry.state.items():
            yield name, value(dtype) if callable(value) else value


def is_ignored(cls: type, name: str) -> bool:
    """Whether a field of this name is working memory of Torch7's, which is not read."""
    return any(name in entry.state or name in entry.ignores for entry in class_entries(cls))


def new_results(module: Any, dtype: DType) -> Results:
    """The `output` and `gradInput` that Torch7's constructor gives this module."""
    cls = type(module)
    output: Any = _nearest(cls, "output", empty_tensor)(dtype)
    gradient: Any = _nearest(cls, "gradient", empty_tensor)(dtype)
    results = _nearest(cls, "results", None)
    if results is not None:
        own = results(module, lambda inner: new_results(inner, dtype))
        output = output if own[0] is None else own[0]
        gradient = gradient if own[1] is None else own[1]
    return output, gradient


def version_of(cls: type) -> int:
    """The version that Torch7 wrote for this class; one of its bases may have another."""
    return CLASSES[cls].version if cls in CLASSES else 1


def private_fields(cls: type) -> tuple[str, ...]:
    """The declared names with an underscore in front that are fields in Torch7's files."""
    return tuple(name for entry in class_entries(cls) for name in entry.private)


def _nearest(cls: type, what: str, default: Any) -> Any:
    found = (getattr(entry, what) for entry in reversed(list(class_entries(cls))))
    return next((value for value in found if value is not None), default)
