"""`scatter_add` adds to the entries that an index names; repeated indices collect all values.

Rows of a matrix are added by machine code, where there is some, with NumPy's bits; or at once all
rows that an index names for the first time, then those that it names again.  Otherwise NumPy's
`add.at`, which takes long for rows, takes every dtype.  CuPy's takes those that CUDA adds
atomically, so not the complex ones, whose real and imaginary parts are therefore added separately.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.late import late_module

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = ["scatter_add"]

fast = late_module("tapegrad.autograd.kernels.fast_scattering")
FEWEST_ROWS, LEAST_COLUMNS = 32, 8  # for which sorting pays
MOST_TURNS = 16


def _add_by_turns(y: Array, index: Any, x: Any) -> bool:
    """y[index] += x for an array of integers, each sum in the index's order.

    False, and nothing is written, where it does not pay.
    """
    if not all(type(a) is np.ndarray for a in (y, index, x)) or y.dtype.kind != "f":
        return False
    if index.dtype.kind not in "iu" or index.size < FEWEST_ROWS or not len(y):
        return False
    if y.itemsize < 4 or x.dtype != y.dtype or x.shape != index.shape + y.shape[1:]:
        return False
    rows = len(y)
    if math.prod(y.shape[1:]) < LEAST_COLUMNS or np.may_share_memory(x, y):
        return False
    flat = index.reshape(-1)
    if int(flat.min()) < -rows or int(flat.max()) >= rows:
        return False
    flat = flat.astype(np.int64) % rows
    order = np.argsort(flat, kind="stable")
    named = flat[order]
    starts = np.flatnonzero(np.concatenate([[True], named[1:] != named[:-1]]))
    lengths = np.diff(starts, append=len(named))
    if lengths.max() > MOST_TURNS:
        return False
    values = x.reshape(-1, *y.shape[1:])
    for turn in range(int(lengths.max())):
        places = order[starts[lengths > turn] + turn]
        y[flat[places]] += values[places]
    return True


def scatter_add(xp: Namespace, y: Array, index: Array, x: Array) -> None:
    """y[index] += x, in place; an entry with repeated indices gets the sum of all its values."""
    alone = index[0] if type(index) is tuple and len(index) == 1 else index
    if xp is np and (fast().add_rows(y, alone, x) or _add_by_turns(y, alone, x)):
        return
    if y.dtype.kind == "c":
        xp.add.at(y.real, index, x.real)
        xp.add.at(y.imag, index, x.imag)
    elif y.dtype == np.float16:  # thousands of values for one entry would stop growing
        wide = y.astype(np.float32)
        xp.add.at(wide, index, x)
        y[...] = wide
    else:
        xp.add.at(y, index, x)
