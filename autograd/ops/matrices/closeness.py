"""Equal eigen- and singular values, between which vectors have no derivative.

Vectors of equal values are an arbitrary basis of a space.  A function of the space has a derivative
at equal values, and its cotangent does not change when the basis turns.  Of other functions, and
where values and vectors both take part, the cotangent at one basis does not tell the derivative:
√A at A = 1 is smooth, and yet no rule of the parts can find its derivative.  There it is NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops.batch_rules import leading_axes_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["close_pairs", "nan_unless_zero"]

# Values closer than this many units in the last place of their sum count as equal: vectors of
# values that close have less than two correct digits.
CLOSE = 64


@primitive(differentiable=False)
def close_pairs(xp: Namespace, w: Array) -> Array:
    """Whether the values i and j of (…, n) are equal up to rounding, (…, n, n); False for i = j."""
    limit = CLOSE * float(xp.finfo(w.dtype).eps) * xp.abs(w).sum(axis=-1)
    near = xp.abs(w[..., None, :] - w[..., :, None]) <= limit[..., None, None]
    return near & ~xp.eye(w.shape[-1], dtype=bool)


close_pairs.batch(leading_axes_rule)


# What should vanish by cancellation counts as 0 below this share of what cancels.
CANCELLED = 1e-6


@primitive
def nan_unless_zero(xp: Namespace, x: Array, of: Array, where: Array, *, share: float) -> Array:
    """0 in the shape of x (…, n, n), but NaN where `where` holds and x is not 0.

    share: what counts as 0, as a share of the sum of sizes in the matrix `of`
    """
    limit = share * xp.abs(of).sum(axis=(-1, -2), keepdims=True)
    return xp.where(where & ~(xp.abs(x) <= limit), xp.asarray(np.nan, x.dtype), xp.zeros_like(x))


# x is linear in a cotangent, and so the condition on x is one on what multiplies it.
nan_unless_zero.vjp(
    x=lambda g, where, share: nan_unless_zero(g, g, where, share), of=None, where=None
)
nan_unless_zero.batch(leading_axes_rule)


def require_zeros(x: Array, where: Array) -> Array:
    """What a derivative adds to itself that exists only if x is 0 where `where` holds."""
    return nan_unless_zero(x, x, where, 0.0)


def require_cancelled(x: Array, of: Array, where: Array) -> Array:
    """`require_zeros` for an x whose zeros come from cancellation of numbers as large as `of`."""
    return nan_unless_zero(x, of, where, CANCELLED)
