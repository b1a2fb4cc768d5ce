"""Elementwise primitives: arithmetic, exponentials, trigonometry, comparisons, selection.

Each operates entry by entry on broadcast operands, so its rule is multiplication by a derivative;
the sweep sums over broadcast axes.  Rules avoid Python numbers where they can: NumPy spends longer
converting one than on ten entries.

Complex derivatives, here and everywhere: the cotangent g of a complex z pairs with a change dz as
Re(g·dz), without a conjugate, so a holomorphic function has the same rule for real and complex
arguments (`multiply` gives g·x2).  The gradient of a real f is ∂f/∂x - i·∂f/∂y, as in HIPS autograd
and JAX; f falls fastest along -conj(g).
"""

from typing import TYPE_CHECKING

from tapegrad.autograd.ops.elementwise import (
    arithmetic,
    comparisons,
    exponentials,
    integers,
    parts,
    representation,
    selection,
    trigonometry,
)
from tapegrad.autograd.ops.elementwise.arithmetic import *
from tapegrad.autograd.ops.elementwise.comparisons import *
from tapegrad.autograd.ops.elementwise.exponentials import *
from tapegrad.autograd.ops.elementwise.integers import *
from tapegrad.autograd.ops.elementwise.parts import *
from tapegrad.autograd.ops.elementwise.representation import *
from tapegrad.autograd.ops.elementwise.selection import *
from tapegrad.autograd.ops.elementwise.trigonometry import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *arithmetic.__all__,
        *comparisons.__all__,
        *exponentials.__all__,
        *integers.__all__,
        *parts.__all__,
        *representation.__all__,
        *selection.__all__,
        *trigonometry.__all__,
    ]
