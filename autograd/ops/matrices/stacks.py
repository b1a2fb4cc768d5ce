"""Functions of stacks of matrices (…, m, n) that the rules of several files share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.rearranging import diagonal, from_diagonal, tril, triu

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array

__all__ = [
    "adjoint",
    "as_diagonal",
    "check_square",
    "column",
    "conj",
    "diagonal_of",
    "fold_into_triangle",
    "inverse_gaps",
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


def inverse_gaps(w: Array, close: Array) -> Array:
    """1 / (w_j - w_i), 0 on the diagonal and where values are `close`."""
    gaps = row(w) - column(w)
    none = e.logical_or(close, e.equal(gaps, 0))
    return e.where(none, 0, 1 / e.where(none, 1, gaps))


def zero_like(x: Array) -> Array:
    """The number 0, complex if x is."""
    return 0j if x.dtype.kind == "c" else 0
