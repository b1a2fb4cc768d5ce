"""Adding at index arrays, where equal places collect all that is added to them.

NumPy's `add.at` takes any number; CuPy's takes what CUDA adds atomically, and so no complex ones.
"""

from __future__ import annotations

from typing import Any

__all__ = ["scatter_add"]


def scatter_add(xp: Any, y: Any, index: Any, x: Any) -> None:
    """y[index] += x, in place, repeated indices one after the other."""
    if y.dtype.kind == "c":
        xp.add.at(y.real, index, x.real)
        xp.add.at(y.imag, index, x.imag)
    else:
        xp.add.at(y, index, x)
