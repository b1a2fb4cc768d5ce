"""Eigenvalues and eigenvectors, of Hermitian matrices and of square ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.batch_rules import leading_axes_rule
from tapegrad.autograd.ops.matrices.solving import solve
from tapegrad.autograd.ops.matrices.stacks import (
    adjoint,
    as_diagonal,
    check_square,
    close_pairs,
    column,
    conj,
    diagonal_of,
    fold_into_triangle,
    inverse_gaps,
    require_cancelled,
    require_zeros,
    row,
    zero_like,
)

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand

__all__ = [
    "EigResult",
    "EighResult",
    "eig",
    "eig_parts",
    "eigh",
    "eigh_parts",
    "eigvals",
    "eigvalsh",
    "require_basis",
]


class EigResult(NamedTuple):
    """What `eig` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


# A matrix lacks eigenvectors if a singular value of those found is below this many units in the
# last place.
LEAST_ANGLE = 1000


@primitive(several=True)
def eigh_parts(xp: Namespace, a: Array, *, UPLO: str = "L") -> list[Array]:
    """Eigenvalues (…, n), rising, and eigenvectors (…, n, n), of the Hermitian matrices."""
    return list(xp.linalg.eigh(a, UPLO=UPLO))


def _eigh_rule(g: Array, y: Array, UPLO: str) -> Array:
    (of_w, of_v), (w, v) = g, y
    inner = 0
    if of_w is not None:
        inner = as_diagonal(of_w)
    if of_v is not None:
        turned, close = adjoint(v) @ conj(of_v), close_pairs(w)
        inner = inner + inverse_gaps(w, close) * turned
        if of_w is None:  # what depends on the space only does not change when its vectors turn
            inner = inner + require_cancelled(turned - adjoint(turned), turned, close)
        else:
            inner = inner + require_zeros(turned, close)
            inner = inner + require_zeros(column(of_w) + 0 * turned, close)
    return conj(fold_into_triangle(v @ (inner + zero_like(v)) @ adjoint(v), UPLO.upper() == "L"))


eigh_parts.vjp(a=_eigh_rule)
eigh_parts.batch(leading_axes_rule)


@composite(numpy=np.linalg.eigh)
def eigh(a: Operand, UPLO: str = "L") -> EighResult:
    """(eigenvalues, eigenvectors) of symmetric or Hermitian a, of which one triangle is read."""
    return EighResult(*eigh_parts(a, UPLO))


@composite(numpy=np.linalg.eigvalsh)
def eigvalsh(a: Operand, UPLO: str = "L") -> Tensor:
    """The eigenvalues, rising, of symmetric or Hermitian a, of which one triangle is read."""
    return eigh_parts(a, UPLO)[0]


@primitive(several=True)
def eig_parts(xp: Namespace, a: Array) -> list[Array]:
    """Eigenvalues (…, n) and eigenvectors of length 1 (…, n, n); real if all values are."""
    return list(xp.linalg.eig(a))


def _eig_rule(g: Array, y: Array) -> Array:
    (of_w, of_v), (w, v) = g, y
    inner = 0
    if of_w is not None:
        inner = as_diagonal(conj(of_w))
    if of_v is not None:
        of_v = conj(of_v)
        vh = adjoint(v)
        free = vh @ of_v
        # Eigenvectors keep length 1, so a change along the vector itself has no effect.
        free = free - (vh @ v) * row(e.real(diagonal_of(free)))
        close = close_pairs(w)
        inner = inner + free * conj(inverse_gaps(w, close))
        # Any basis of a space is one of eigenvectors, so nothing smooth depends on the choice.
        sizes = e.absolute(vh) @ e.absolute(of_v)
        inner = inner + require_cancelled(free, sizes, close)
        if of_w is not None:
            inner = inner + require_zeros(column(conj(of_w)) + 0 * free, close)
    return conj(solve(adjoint(require_basis(v)), (inner + zero_like(v)) @ adjoint(v)))


@primitive
def require_basis(xp: Namespace, v: Array) -> Array:
    """The matrices v, as NaN where their columns are dependent up to rounding."""
    values = xp.linalg.svd(v, compute_uv=False)
    limit = LEAST_ANGLE * v.shape[-1] * float(xp.finfo(v.dtype).eps)
    is_basis = (values > limit).all(axis=-1)
    return xp.where(is_basis[..., None, None], v, xp.asarray(np.nan, v.dtype))


require_basis.vjp(v=lambda g: g)
require_basis.batch(leading_axes_rule)


eig_parts.vjp(a=_eig_rule)
eig_parts.batch(leading_axes_rule)


@composite(numpy=np.linalg.eig)
def eig(a: Operand) -> EigResult:
    """(eigenvalues, eigenvectors) of square matrices with distinct eigenvalues."""
    a = as_operand(a)
    check_square(a, "eig")
    return EigResult(*eig_parts(a))


@composite(numpy=np.linalg.eigvals)
def eigvals(a: Operand) -> Tensor:
    """The eigenvalues, in no particular order, of square matrices with distinct eigenvalues."""
    a = as_operand(a)
    check_square(a, "eigvals")
    return eig_parts(a)[0]
