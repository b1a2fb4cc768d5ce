"""Functions of stacks of matrices (…, m, n) that the rules of several files share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.batch_rules import leading_axes_rule
from tapegrad.autograd.ops.rearranging import diagonal, from_diagonal, tril, triu

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = [
    "adjoint",
    "as_diagonal",
    "check_square",
    "close_pairs",
    "column",
    "conj",
    "diagonal_of",
    "fold_into_triangle",
    "inverse_gaps",
    "nan_unless_zero",
    "require_cancelled",
    "require_zeros",
    "row",
    "transpose_matrices",
    "zero_like",
]


def conj(x: Array) -> Array:
    """The complex conjugate; x itself when real, without a call."""
    return e.conjugate(x) if x.dtype.kind == "c" else x


def transpose_matrices(x: Array) -> Array:
    """The transposed matrices."""
    return s.swapaxes(x, -1, -2)


def adjoint(x: Array) -> Array:
    """The conjugate transposed matrices."""
    return conj(transpose_matrices(x))


def column(x: Array) -> Array:
    """Vectors as matrices of one column."""
    return s.expand_dims(x, -1)


def row(x: Array) -> Array:
    """Vectors as matrices of one row."""
    return s.expand_dims(x, -2)


def diagonal_of(x: Array) -> Array:
    """The diagonals (…, n) of matrices (…, n, n)."""
    return diagonal(x, 0, -2, -1)


def as_diagonal(x: Array) -> Array:
    """Matrices with the vectors (…, n) on their diagonals."""
    n = x.shape[-1]
    return from_diagonal(x, (*x.shape, n), 0, -2, -1)


def check_square(x: Array, name: str) -> None:
    """Raise LinAlgError, naming the operation, unless the matrices are square."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise np.linalg.LinAlgError(f"{name} takes square matrices, not shape {tuple(x.shape)}")


def fold_into_triangle(x: Array, lower: bool) -> Array:
    """The cotangent of the triangle that a Hermitian matrix is read from, given the matrix's."""
    both = (x + adjoint(x)) / 2
    off, cut = (-1, tril) if lower else (1, triu)
    return cut(both) + cut(both, off)


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


def inverse_gaps(w: Array, close: Array) -> Array:
    """1 / (w_j - w_i), 0 on the diagonal and where values are `close`."""
    gaps = row(w) - column(w)
    none = e.logical_or(close, e.equal(gaps, 0))
    return e.where(none, 0, 1 / e.where(none, 1, gaps))


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


def zero_like(x: Array) -> Array:
    """The number 0, complex if x is."""
    return 0j if x.dtype.kind == "c" else 0
