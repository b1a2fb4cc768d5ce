"""Which names the code of a step reads, and which objects it could read settings from."""

from __future__ import annotations

import dis
import functools
import sys
import types
from typing import Any

__all__ = [
    "attributes_of",
    "is_data",
    "is_of_library",
    "may_hold_settings",
    "name_of",
    "names_in",
]

# Packages whose objects hold nobody's settings, but where a class says otherwise (_step_results).
_WITHOUT_SETTINGS = {"tapegrad", "numpy", "scipy", "cupy", "numba", "pytest", "_pytest"}
# Packages whose functions and modules read no settings of somebody else's.
_LIBRARIES = _WITHOUT_SETTINGS | set(sys.stdlib_module_names) - {"__main__"}


def is_of_library(name: Any) -> bool:
    """True for the name of a module of NumPy, Python's own library or this package."""
    return isinstance(name, str) and name.partition(".")[0] in _LIBRARIES


def may_hold_settings(value: Any) -> bool:
    """True for a module, class or object of somebody's, whose attributes code may read."""
    if isinstance(value, types.ModuleType):
        return not is_of_library(value.__name__)
    if isinstance(value, type):
        return not is_of_library(value.__module__)
    if type(value).__module__.partition(".")[0] in _WITHOUT_SETTINGS:
        return False
    return hasattr(value, "__dict__") or hasattr(type(value), "__slots__")


def attributes_of(owner: Any) -> Any:
    """The attributes of an object, as a mapping that shows them as they are at each look."""
    return owner.__dict__ if hasattr(owner, "__dict__") else _Slots(owner)


class _Slots:
    """The attributes of an object without a `__dict__`."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        slots = [vars(base).get("__slots__", ()) for base in type(owner).__mro__]
        self.names = [n for s in slots for n in ((s,) if isinstance(s, str) else s)]

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute's value, if it is set."""
        return getattr(self.owner, name, default) if name in self.names else default


def is_data(name: str, value: Any) -> bool:
    """True for an attribute of a class that is no function, descriptor or part of Python."""
    if name.startswith("__") or isinstance(value, type):
        return False
    return not callable(value) and not hasattr(type(value), "__get__")


@functools.lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """(global names, names of attributes) that the code reads, with those of functions inside.

    A text may be a name too, as in ``getattr(o, "scale")``, ``vars(o)["scale"]`` and
    ``globals()["SCALE"]``.
    """
    global_names: set[str] = set()
    attributes: set[str] = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
            global_names.add(instruction.argval)
        elif instruction.opname in {"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"}:
            attributes.add(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = names_in(constant)
            global_names |= inner[0]
            attributes |= inner[1]
        elif isinstance(constant, str) and constant.isidentifier():
            attributes.add(constant)
            if "globals" in code.co_names:
                global_names.add(constant)
    return frozenset(global_names), frozenset(attributes)


def name_of(value: Any) -> str:
    """What messages call a value: its own name, or its class's."""
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else type(value).__name__
