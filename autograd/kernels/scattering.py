"""`scatter_add` adds to the entries that an index names; repeated indices collect all values.

Rows of a matrix are added by machine code, where there is some, with NumPy's bits.  Otherwise
NumPy's `add.at` takes every dtype.  CuPy's takes those that CUDA adds atomically, so not the
complex ones, whose real and imaginary parts are therefore added separately.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.late import late_module

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = ["scatter_add"]

fast = late_module("tapegrad.autograd.kernels.fast_scattering")


def scatter_add(xp: Namespace, y: Array, index: Array, x: Array) -> None:
    """y[index] += x, in place; an entry with repeated indices gets the sum of all its values."""
    alone = index[0] if type(index) is tuple and len(index) == 1 else index
    if xp is np and fast().add_rows(y, alone, x):
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
