"""Diagonals and triangles: primitives, since indexing would cost several calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.batch_rules import axis_in_batch

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand, Shape

__all__ = [
    "diag",
    "diagflat",
    "diagonal",
    "from_diagonal",
    "matrix_diagonal",
    "tril",
    "triu",
]


@primitive(numpy=np.diagonal, view="read-only")
def diagonal(xp: Namespace, x: Array, *, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The diagonal of two axes, moved to the end: x[i, i + offset]; a view."""
    return xp.diagonal(x, offset, axis1, axis2)


@primitive
def from_diagonal(
    xp: Namespace, x: Array, *, shape: Shape, offset: int = 0, axis1: int = 0, axis2: int = 1
) -> Array:
    """Zeros of `shape` with the last axis of x on a diagonal: the adjoint of `diagonal`."""
    y = xp.zeros(shape, dtype=x.dtype)
    index = xp.arange(x.shape[-1])
    view = xp.moveaxis(y, (axis1, axis2), (-2, -1))
    view[..., index + max(0, -offset), index + max(0, offset)] = x
    return y


diagonal.vjp(
    x=lambda g, x_shape, offset, axis1, axis2: from_diagonal(g, x_shape, offset, axis1, axis2)
)
from_diagonal.vjp(x=lambda g, offset, axis1, axis2: diagonal(g, offset, axis1, axis2))
diagonal.jvp(x=lambda t, offset, axis1, axis2: diagonal(t, offset, axis1, axis2))
from_diagonal.jvp(
    x=lambda t, offset, axis1, axis2, y_shape: from_diagonal(t, y_shape, offset, axis1, axis2)
)


@diagonal.batch
def _diagonal_batch(x: Array, offset: int, axis1: int, axis2: int) -> Array:
    return diagonal(x, offset, *axis_in_batch((axis1, axis2), x.ndim - 1))


@from_diagonal.batch
def _from_diagonal_batch(
    x: Array, samples: int, shape: Shape, offset: int, axis1: int, axis2: int
) -> Array:
    return from_diagonal(x, (samples, *shape), offset, *axis_in_batch((axis1, axis2), len(shape)))


@primitive(numpy=np.tril)
def tril(xp: Namespace, m: Array, *, k: int = 0) -> Array:
    """The last two axes on and below the diagonal k, zeros above."""
    return xp.tril(m, k)


@primitive(numpy=np.triu)
def triu(xp: Namespace, m: Array, *, k: int = 0) -> Array:
    """The last two axes on and above the diagonal k, zeros below."""
    return xp.triu(m, k)


tril.vjp(m=lambda g, k: tril(g, k))
triu.vjp(m=lambda g, k: triu(g, k))
tril.jvp(m=lambda t, k: tril(t, k))
triu.jvp(m=lambda t, k: triu(t, k))


def _as_matrices(m: Array) -> Array:
    """NumPy takes a vector for a matrix of equal rows."""
    return m if m.ndim > 2 else s.broadcast_to(s.expand_dims(m, 1), (*m.shape, m.shape[1]))


tril.batch(lambda m, k: tril(_as_matrices(m), k))
triu.batch(lambda m, k: triu(_as_matrices(m), k))


@composite(numpy=np.linalg.diagonal)
def matrix_diagonal(x: Operand, offset: int = 0) -> Tensor:
    """The diagonals of matrices (…, m, n)."""
    return diagonal(x, offset, -2, -1)


@composite(numpy=np.diag)
def diag(v: Operand, k: int = 0) -> Tensor:
    """A matrix with v on its diagonal k; of a matrix, that diagonal.

    Raises ShapeError for other than one or two axes.
    """
    v = as_operand(v)
    if v.ndim == 2:
        return diagonal(v, k)
    if v.ndim != 1:
        raise ShapeError(f"diag takes one axis or two, not {v.ndim}")
    n = len(v) + abs(k)
    return from_diagonal(v, (n, n), k)


@composite(numpy=np.diagflat)
def diagflat(v: Operand, k: int = 0) -> Tensor:
    """A matrix with the entries of v on its diagonal k."""
    return diag(s.ravel(as_operand(v)), k)
