"""LAYOUTS: functions that store an array differently in memory and keep its values.

Code that uses a raw pointer, assumes contiguous memory, or writes into its argument works on
contiguous arrays and fails on some of these.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["LAYOUTS", "ODD_LAYOUTS"]


def _gapped(x: np.ndarray) -> np.ndarray:
    if x.ndim == 0:
        return x
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def _reversed(x: np.ndarray) -> np.ndarray:
    return x if x.ndim == 0 else np.ascontiguousarray(x[::-1])[::-1]


def _read_only(x: np.ndarray) -> np.ndarray:
    copy = x.copy()
    copy.setflags(write=False)
    return copy


ODD_LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Fortran-ordered": lambda x: x.copy(order="F"),
    "gapped": _gapped,
    "reversed": _reversed,
    "read-only": _read_only,
}

# Ways to lay an array in memory, by name: each takes an array and returns one with equal entries.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": lambda x: x.copy(order="C"),
    **ODD_LAYOUTS,
}
