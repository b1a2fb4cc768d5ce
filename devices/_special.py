"""`special`: the namespace of special functions (erf, gamma, …) that goes with an array library.

NumPy's arrays use `scipy.special`, CuPy's arrays `cupyx.scipy.special`, and the strict stand-in
uses SciPy behind its own checks.  Nothing is imported before the first call.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapegrad.devices._types import Namespace

__all__ = ["special"]

MISSING = "special functions need SciPy: pip install scipy"


@lru_cache(maxsize=8)
def special(xp: Namespace) -> Namespace:
    """The namespace of special functions for arrays of the namespace `xp`.

    Raises ModuleNotFoundError, and says what to install, where SciPy is missing.
    """
    try:
        name = "cupyx.scipy.special" if xp.__name__ == "cupy" else "scipy.special"
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(MISSING) from error
    return _StrictSpecial(module) if xp.__name__.startswith("strict") else module


class _StrictSpecial:
    """SciPy's special functions, called with strict arrays."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        from tapegrad.devices._strict_array import unwrap_operand, wrap_result

        call = getattr(self._module, name)

        def function(*args: Any) -> Any:
            where = f"cupyx.scipy.special.{name}"
            return wrap_result(call(*[unwrap_operand(a, where) for a in args]), args)

        return function
