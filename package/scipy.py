"""tapegrad.scipy: SciPy's functions on Tensors, under SciPy's names.

    from tapegrad.scipy import linalg
    from tapegrad.scipy.stats import norm

`tapegrad.scipy` is the room `tapegrad.autograd.scipy` under a short name; its modules are entered
under the short name as well, so that each exists once.
"""

from __future__ import annotations

import sys

from tapegrad.autograd import scipy as _room
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

__path__ = _room.__path__  # makes `import tapegrad.scipy.stats` ask for what is entered here
for _name in __all__:
    sys.modules[f"{__name__}.{_name}"] = getattr(_room, _name)
