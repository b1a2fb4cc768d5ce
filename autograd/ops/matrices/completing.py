"""Vectors that complete an orthonormal basis, and the derivatives of what does not depend on them.

The vectors C beside Q are any basis of the space that is orthogonal to Q's.  That space has a
derivative, dC = -Q dQᴴ C, and what depends on the basis has none: its derivative is NaN.  One real
vector is free in its sign only, so anything smooth that is made of it has a derivative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.arrays import device_array
from tapegrad.autograd.ops.matrices.closeness import require_cancelled
from tapegrad.autograd.ops.matrices.stacks import adjoint

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = ["cotangent_from_rest"]


def cotangent_from_rest(first: Array, rest: Array, of_rest: Array) -> Array:
    """What the cotangent of the completing vectors adds to that of the first ones.

    first (…, m, k), rest (…, m, j): orthonormal columns; cotangents in the conjugate pairing
    """
    turned = adjoint(rest) @ of_rest
    apart = device_array(~np.eye(rest.shape[-1], dtype=bool), rest)
    apart = e.logical_and(apart, e.equal(turned, turned))  # of the shape that `turned` has
    unknown = require_cancelled(turned - adjoint(turned), turned, apart)
    return -(rest @ ((adjoint(of_rest) + unknown @ adjoint(rest)) @ first))
