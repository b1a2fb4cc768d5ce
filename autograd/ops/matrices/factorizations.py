"""Products of triangular and orthogonal matrices: Cholesky and QR."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.batch_rules import leading_axes_rule
from tapegrad.autograd.ops.matrices.solving import solve
from tapegrad.autograd.ops.matrices.stacks import (
    adjoint,
    as_diagonal,
    conj,
    diagonal_of,
    fold_into_triangle,
    transpose_matrices,
)
from tapegrad.autograd.ops.rearranging import tril

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand

__all__ = ["QRResult", "cholesky", "cholesky_lower", "qr", "qr_parts"]

NO_DERIVATIVE = (
    "numpy.linalg.qr on a Tensor of shape {shape}: mode={mode!r} is not supported: it gives parts "
    "that have no derivative; mode='reduced' has one"
)


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Tensor
    R: Tensor


@primitive
def cholesky_lower(xp: Namespace, a: Array) -> Array:
    """L, lower triangular with positive diagonal, such that L Lᴴ is the matrix of a's triangle."""
    return xp.linalg.cholesky(a)


def _cholesky_rule(g: Array, y: Array) -> Array:
    # Murray, "Differentiation of the Cholesky decomposition" (2016): A̅ = L⁻ᴴ Φ(Lᴴ L̅) L⁻¹, where Φ
    # takes the lower triangle and half the diagonal.
    p = tril(adjoint(y) @ conj(g))
    p = p - as_diagonal(diagonal_of(p)) / 2
    lh = adjoint(y)
    left = solve(lh, p)
    return conj(fold_into_triangle(adjoint(solve(lh, adjoint(left))), lower=True))


cholesky_lower.vjp(a=_cholesky_rule)
cholesky_lower.batch(leading_axes_rule)


@composite(numpy=np.linalg.cholesky)
def cholesky(a: Operand, upper: bool = False) -> Tensor:
    """L with L Lᴴ = a, of positive definite a, of which the lower triangle is read; or U = Lᴴ.

    Raises LinAlgError when a is not positive definite.
    """
    a = as_operand(a)
    return adjoint(cholesky_lower(adjoint(a))) if upper else cholesky_lower(a)


@primitive(several=True)
def qr_parts(xp: Namespace, a: Array) -> list[Array]:
    """Q (…, m, n) with orthonormal columns and R (…, n, n) upper triangular, Q R = a, m >= n."""
    return list(xp.linalg.qr(a))


def _qr_rule(g: Array, y: Array) -> Array:
    q, upper = y
    of_q, of_r = (None if part is None else conj(part) for part in g)
    middle = 0
    if of_r is not None:
        middle = upper @ adjoint(of_r)
    if of_q is not None:
        middle = middle - adjoint(of_q) @ q
    below = tril(middle, -1)
    hermitian = below + adjoint(below) + as_diagonal(_real_like(diagonal_of(middle)))
    total = q @ hermitian
    if of_q is not None:
        total = total + of_q
    return conj(transpose_matrices(solve(conj(upper), transpose_matrices(total))))


def _real_like(x: Array) -> Array:
    """The real part in x's own dtype."""
    return e.real(x) + 0j if x.dtype.kind == "c" else x


qr_parts.vjp(a=_qr_rule)
qr_parts.batch(leading_axes_rule)


@composite(numpy=np.linalg.qr)
def qr(a: Operand, mode: str = "reduced") -> QRResult | Tensor:
    """(Q, R) with Q R = a: (…, m, n) -> (…, m, k), (…, k, n), k = min(m, n); or R in mode "r".

    Mode "complete" gives all m columns of Q, which "reduced" gives too unless m > n.
    Differentiable where the first k columns are independent.
    Raises TypeError for mode "raw", and for "complete" where m > n: the further columns are
    arbitrary; ValueError for a mode that NumPy lacks.
    """
    a = as_operand(a)
    m, n = a.shape[-2:]
    if mode == "raw" or (mode == "complete" and m > n):
        raise TypeError(NO_DERIVATIVE.format(mode=mode, shape=tuple(a.shape)))
    if mode not in ("reduced", "complete", "r", "full"):
        raise ValueError(f"qr: the mode is {mode!r}, none of 'reduced', 'complete', 'r', 'raw'")
    if m >= n:
        q, upper = qr_parts(a)
    else:
        q, left = qr_parts(a[..., :m])
        upper = s.concatenate([left, adjoint(q) @ a[..., m:]], -1)
    return upper if mode == "r" else QRResult(q, upper)
