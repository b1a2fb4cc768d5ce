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
    conj,
    diagonal_of,
    fold_into_triangle,
    inverse_gaps,
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
]


class EigResult(NamedTuple):
    """What `eig` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


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
        inner = inner + inverse_gaps(w) * (adjoint(v) @ conj(of_v))
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
        inner = inner + free * conj(inverse_gaps(w))
    return conj(solve(adjoint(v), (inner + zero_like(v)) @ adjoint(v)))


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
