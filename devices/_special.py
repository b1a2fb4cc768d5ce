"""Special functions: the library that has them for an array library.

NumPy's arrays go to SciPy, CuPy's to CuPy's own copy of SciPy's names, the strict stand-in's to
SciPy behind its own checks.  Nothing is loaded before the first call.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

__all__ = ["special"]

MISSING = "special functions need SciPy: pip install scipy"


@lru_cache(maxsize=8)
def special(xp: Any) -> Any:
    """The namespace of special functions for arrays of the namespace `xp`.

    Raises ModuleNotFoundError, and says what to install, where SciPy is missing.
    """
    try:
        name = "cupyx.scipy.special" if xp.__name__ == "cupy" else "scipy.special"
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(MISSING) from error
    return _Strict(module) if xp.__name__.startswith("strict") else module


class _Strict:
    """SciPy's functions on strict arrays."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        from tapegrad.devices._strict_array import unwrapped, wrapped

        call = getattr(self._module, name)

        def function(*args: Any) -> Any:
            where = f"cupyx.scipy.special.{name}"
            return wrapped(call(*[unwrapped(a, where) for a in args]), args)

        return function
