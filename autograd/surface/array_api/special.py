"""Special functions, which SciPy looks for in a namespace before it converts arrays to NumPy's.

They are no part of the standard yet (data-apis/array-api, issue 725).  A name is that of
scipy.special, and stands for the primitive that SciPy's function runs on Tensors; names without one
are absent, so that SciPy falls back to its own, which take untracked Tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad.autograd import ops
from tapegrad.autograd.ops.scipy_ufuncs import by_name

__all__: list[str] = []

# Functions that NumPy has too, of which the primitive names NumPy's.
_OF_NUMPY = ("cbrt", "exp2", "expm1", "log1p", "polygamma", "sinc")
_OTHER_NAMES = {"psi": "digamma"}


def __getattr__(name: str) -> Callable[..., Any]:
    known = by_name.get(_OTHER_NAMES.get(name, name))
    if known is None and name in _OF_NUMPY:
        known = getattr(ops, name)
    if known is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    return known


def __dir__() -> list[str]:
    return sorted({*by_name, *_OF_NUMPY, *_OTHER_NAMES})
