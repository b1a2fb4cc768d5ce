"""Which classes are this package's own, and which gradient methods it derives from forward code.

Running, printing, files and the laws ask for it.  The answers come from the classes and from marks
on methods, never from the name of a file, so that moving a file changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = [
    "gradient_from_tape",
    "has_handwritten_gradient",
    "is_own",
    "own_classes",
    "qualified_name",
]

_PACKAGE = "tapegrad.nn."
_SYSTEMS = ("mxnet",)  # rooms whose classes may have the names of nn's

F = TypeVar("F", bound=Callable[..., Any])


def is_own(cls: type) -> bool:
    """Whether the class is one of tapegrad.nn's: its file is, and declares it under its name.

    A class that merely sets ``__module__``, or that is made inside a function, is no such class.
    """
    module = sys.modules.get(cls.__module__) if cls.__module__.startswith(_PACKAGE) else None
    return module is not None and vars(module).get(cls.__name__) is cls


def qualified_name(cls: type) -> str:
    """The class's name in texts and files: "nn.Linear", "mxnet.Module"; bare if not ours.

    So somebody else's class may have the name of one of ours.
    """
    if not is_own(cls):
        return cls.__name__
    room = cls.__module__.removeprefix(_PACKAGE).partition(".")[0]
    return f"{room if room in _SYSTEMS else 'nn'}.{cls.__name__}"


def own_classes(root: type) -> dict[str, type]:
    """The package's own classes at and below `root`, by their qualified names.

    Raises RuntimeError where two have one name: neither may stand for the other in a file.
    """
    classes: dict[str, type] = {}
    seen: set[type] = set()
    pending = [root]
    while pending:
        cls = pending.pop()
        if cls in seen:
            continue
        seen.add(cls)
        pending.extend(cls.__subclasses__())
        if is_own(cls) and classes.setdefault(qualified_name(cls), cls) is not cls:
            both = f"{classes[qualified_name(cls)].__module__} and {cls.__module__}"
            raise RuntimeError(f"two classes are called {qualified_name(cls)}: in {both}")
    return classes


def gradient_from_tape(method: F) -> F:
    """Mark a gradient method whose result comes from the tape, as not written by hand."""
    method.derived = True  # type: ignore[attr-defined]  # a mark, read below and by the laws
    return method


def has_handwritten_gradient(cls: type) -> bool:
    """Whether the class or a base defines `updateGradInput` or `accGradParameters` by hand."""
    return any(
        not _is_derived(base, vars(base)[name])
        for base in cls.__mro__
        for name in ("updateGradInput", "accGradParameters")
        if name in vars(base)
    )


def _is_derived(cls: type, method: Any) -> bool:
    """Whether `method`, as `cls` defines it, has the mark.

    `functools.wraps` copies the mark onto somebody's own method.  On such a copy it counts in this
    package's classes only.
    """
    return getattr(method, "derived", False) and (not hasattr(method, "__wrapped__") or is_own(cls))
