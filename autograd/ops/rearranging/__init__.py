"""NumPy's further ways of moving entries: rolling, diagonals, triangles, stacking, inserting.

Diagonals, triangles and `roll_entries` are primitives; the rest is composed of `ops/shape.py` and
`ops/indexing.py`.
"""

from typing import TYPE_CHECKING

from tapegrad.autograd.ops.rearranging import (
    along_axes,
    choosing,
    diagonals,
    joining,
    order,
)
from tapegrad.autograd.ops.rearranging.along_axes import *
from tapegrad.autograd.ops.rearranging.choosing import *
from tapegrad.autograd.ops.rearranging.diagonals import *
from tapegrad.autograd.ops.rearranging.joining import *
from tapegrad.autograd.ops.rearranging.order import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *along_axes.__all__,
        *choosing.__all__,
        *diagonals.__all__,
        *joining.__all__,
        *order.__all__,
    ]
