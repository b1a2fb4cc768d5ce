"""NumPy's `linalg`: solving, inverting, decomposing matrices, their norms and powers.

All take stacks of matrices in the last two axes.  Formulas are those of Giles, "Collected matrix
derivative results for forward and reverse mode algorithmic differentiation" (2008), for complex
matrices in their gauge-invariant forms, turned into cotangents without a conjugate.

`cholesky` and `eigh` read one triangle of their matrix, as NumPy does, and so their gradient is 0
in the other; the symmetric part of the gradient is the derivative among symmetric matrices.

Eigenvectors and singular vectors have a derivative where their values are distinct; it grows as
1 / gap.  Between exactly equal values the term is left out, which is right for functions of the
space that the vectors span.  Where vectors are complex, only functions that do not depend on their
phase have a derivative.
"""

from typing import TYPE_CHECKING

from tapegrad.autograd.ops.matrices import (
    determinants,
    eigenvalues,
    factorizations,
    norms,
    products,
    singular_values,
    solving,
)
from tapegrad.autograd.ops.matrices.determinants import *
from tapegrad.autograd.ops.matrices.eigenvalues import *
from tapegrad.autograd.ops.matrices.factorizations import *
from tapegrad.autograd.ops.matrices.norms import *
from tapegrad.autograd.ops.matrices.products import *
from tapegrad.autograd.ops.matrices.singular_values import *
from tapegrad.autograd.ops.matrices.solving import *
from tapegrad.autograd.ops.matrices.stacks import close_pairs as close_pairs
from tapegrad.autograd.ops.matrices.stacks import nan_unless_zero as nan_unless_zero

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *determinants.__all__,
        *eigenvalues.__all__,
        *factorizations.__all__,
        *norms.__all__,
        *products.__all__,
        *singular_values.__all__,
        *solving.__all__,
        "close_pairs",
        "nan_unless_zero",
    ]
