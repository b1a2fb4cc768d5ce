"""tapegrad.scipy: SciPy's functions on Tensors, under SciPy's names, module by module.

SciPy itself is imported when a function first needs it.
"""

from tapegrad.autograd.scipy import (
    integrate,
    interpolate,
    linalg,
    ndimage,
    optimize,
    signal,
    sparse,
    special,
    stats,
)

__all__ = [
    "integrate",
    "interpolate",
    "linalg",
    "ndimage",
    "optimize",
    "signal",
    "sparse",
    "special",
    "stats",
]
