"""Singular values, and what is made of them: ranks, pseudo-inverses, least squares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_floating, as_operand
from tapegrad.autograd.ops.batch_rules import leading_axes_rule
from tapegrad.autograd.ops.indexing import take_along_axis
from tapegrad.autograd.ops.matrices.closeness import (
    close_pairs,
    require_cancelled,
    require_zeros,
)
from tapegrad.autograd.ops.matrices.completing import cotangent_from_rest
from tapegrad.autograd.ops.matrices.eigenvalues import eigh, eigvalsh
from tapegrad.autograd.ops.matrices.stacks import (
    adjoint,
    as_diagonal,
    column,
    conj,
    diagonal_of,
    inverse_gaps,
    row,
    transpose_matrices,
    zero_like,
)
from tapegrad.autograd.ops.rearranging import tril
from tapegrad.autograd.ops.sorting import argsort

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand

__all__ = [
    "SVDResult",
    "lstsq",
    "matrix_rank",
    "pinv",
    "pseudo_inverse",
    "rank_above",
    "svd",
    "svd_complete",
    "svd_parts",
    "svdvals",
    "to_int32",
]


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: Tensor
    S: Tensor
    Vh: Tensor


@primitive(several=True)
def svd_parts(xp: Namespace, a: Array) -> list[Array]:
    """U (…, m, k), the singular values (…, k), falling, and Vᴴ (…, k, n); k = min(m, n)."""
    return list(xp.linalg.svd(a, full_matrices=False))


def _svd_rule(g: Array, y: Array) -> Array:
    (of_u, of_s, of_vh), (u, values, vh) = g, y
    zero = zero_like(u)
    v = adjoint(vh)
    sigma = values + zero
    inner = 0 if of_s is None else as_diagonal(of_s + zero)
    total = 0
    left = right = None
    bases = []
    if of_u is not None:
        of_u = conj(of_u)
        free = adjoint(u) @ of_u
        bases.append(free)
        left = free - adjoint(free)
        if u.dtype.kind == "c":
            phase = e.imag(diagonal_of(free)) / values
            inner = inner + as_diagonal(phase * 1j)
        if u.shape[-2] > u.shape[-1]:
            scaled = of_u / row(sigma)
            total = (scaled - u @ (adjoint(u) @ scaled)) @ vh
    if of_vh is not None:
        # conj(conj(transposed)): the cotangent of V in the conjugate pairing
        of_v = transpose_matrices(of_vh)
        free = vh @ of_v
        bases.append(free)
        right = free - adjoint(free)
        if v.shape[-2] > v.shape[-1]:
            scaled = adjoint(of_v) / column(sigma)
            total = total + u @ (scaled - (scaled @ v) @ vh)
    if left is not None or right is not None:
        inner = inner + _turned(0 if left is None else left, 0 if right is None else right, values)
        close = close_pairs(values)
        for free in bases if of_s is not None else ():
            inner = inner + require_zeros(free, close)
            inner = inner + require_zeros(column(of_s) + 0 * free, close)
    return conj(u @ inner @ vh + total)


def _turned(left: Array, right: Array, values: Array) -> Array:
    """(left_ij σ_j + σ_i right_ij) / (σ_j² - σ_i²), without the difference of equal σ.

    left, right: the parts of Uᴴ·U̅ and Vᴴ·V̅ that turn the vectors, antihermitian
    A turn of both bases by the same angle in the space of equal values does not change A.  So its
    cotangent, left + right, is 0 in what is smooth there; the quotient of the rest is ordinary.
    """
    close = close_pairs(values)
    sums = row(values) + column(values)
    zeros = e.equal(sums, 0)
    apart, together = left - right, left + right
    turned = (apart / e.where(zeros, 1, sums) + together * inverse_gaps(values, close)) / 2
    turned = turned - as_diagonal(diagonal_of(turned))
    turned = turned + require_cancelled(together, apart, close)
    return turned + require_zeros(apart, zeros)


svd_parts.vjp(a=_svd_rule)
svd_parts.batch(leading_axes_rule)


@primitive(several=True)
def svd_complete(xp: Namespace, a: Array) -> list[Array]:
    """U (…, m, m), S (…, min(m, n)) and Vᴴ (…, n, n), whose further vectors complete the bases."""
    return list(xp.linalg.svd(a, full_matrices=True))


def _svd_complete_rule(g: Array, y: Array) -> Array:
    (of_u, of_s, of_vh), (u, values, vh) = g, y
    k = values.shape[-1]
    u1, vh1 = u[..., :k], vh[..., :k, :]
    of_u1, of_vh1 = of_u, of_vh
    if of_u is not None and u.shape[-1] > k:
        more = cotangent_from_rest(u1, u[..., k:], conj(of_u[..., k:]))
        of_u1 = of_u[..., :k] + conj(more)
    if of_vh is not None and vh.shape[-2] > k:
        rest, of_rest = adjoint(vh[..., k:, :]), transpose_matrices(of_vh[..., k:, :])
        more = cotangent_from_rest(adjoint(vh1), rest, of_rest)
        of_vh1 = of_vh[..., :k, :] + transpose_matrices(more)
    return _svd_rule((of_u1, of_s, of_vh1), (u1, values, vh1))


svd_complete.vjp(a=_svd_complete_rule)
svd_complete.batch(leading_axes_rule)


@composite(numpy=np.linalg.svd)
def svd(
    a: Operand, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> SVDResult | Tensor:
    """(U, S, Vᴴ) with U diag(S) Vᴴ = a; only S without `compute_uv`.

    full_matrices: U (…, m, m) and Vᴴ (…, n, n), whose further vectors are any that complete the
    bases; the derivative of what depends on their choice is NaN
    hermitian: a is Hermitian, and its lower triangle alone is read; by its eigenvectors
    """
    a = as_operand(a)
    if hermitian:
        return _hermitian_svd(a, compute_uv)
    if not compute_uv:
        return svd_parts(a)[1]
    if full_matrices and a.shape[-1] != a.shape[-2]:
        return SVDResult(*svd_complete(a))
    return SVDResult(*svd_parts(a))


def _hermitian_svd(a: Tensor, compute_uv: bool) -> SVDResult | Tensor:
    """`svd` of the Hermitian matrices whose lower triangles a has."""
    if not compute_uv:
        sizes = e.absolute(eigvalsh(a))
        return s.flip(take_along_axis(sizes, argsort(sizes, -1), -1), -1)
    values, vectors = eigh(a)
    sizes = e.absolute(values)
    order = s.flip(argsort(sizes, -1), -1)
    signs = take_along_axis(e.sign(values), order, -1)
    vectors = take_along_axis(vectors, s.expand_dims(order, -2), -1)
    right = vectors * s.expand_dims(signs, -2)
    return SVDResult(vectors, take_along_axis(sizes, order, -1), adjoint(right))


def _from_lower_triangle(a: Tensor, hermitian: bool) -> Tensor:
    """a, or the Hermitian matrices of its lower triangles."""
    if not hermitian:
        return a
    below = tril(a, -1)
    diagonal = e.real(diagonal_of(a)) if a.dtype.kind == "c" else diagonal_of(a)
    return below + adjoint(below) + as_diagonal(e.cast(diagonal, dtype=a.dtype))


@composite(numpy=np.linalg.svdvals)
def svdvals(x: Operand) -> Tensor:
    """The singular values, falling: (…, m, n) -> (…, min(m, n))."""
    return svd_parts(x)[1]


@primitive(differentiable=False)
def rank_above(
    xp: Namespace, values: Array, *, size: int, rtol: float | None, tol: float | None
) -> Array:
    """How many of the singular values (…, k) are above the tolerance."""
    if tol is not None:
        return (values > tol).sum(axis=-1)
    share = size * float(xp.finfo(values.dtype).eps) if rtol is None else rtol
    return (values > values.max(axis=-1, keepdims=True) * share).sum(axis=-1)


rank_above.batch(leading_axes_rule)


@composite(numpy=np.linalg.matrix_rank, differentiable=False)
def matrix_rank(
    A: Operand, tol: float | None = None, hermitian: bool = False, *, rtol: float | None = None
) -> Tensor:
    """How many singular values are above `tol`, or above `rtol` times the largest."""
    A = as_operand(A)
    if A.ndim < 2:
        return r.any(A).astype(np.intp)
    size = max(A.shape[-2:])
    limits = [None if x is None else float(x) for x in (rtol, tol)]
    values: Any = svd(A, compute_uv=False, hermitian=hermitian)
    return rank_above(values, size, limits[0], limits[1])


@primitive
def pseudo_inverse(xp: Namespace, a: Array, *, rcond: float | None = None) -> Array:
    """The Moore-Penrose inverses, (…, m, n) -> (…, n, m).

    Singular values below rcond times the largest count as 0.
    """
    n = max(a.shape[-2:])
    limit = n * float(xp.finfo(a.dtype).eps) if rcond is None else rcond
    return xp.linalg.pinv(a, limit)


def _pinv_rule(g: Array, a: Array, y: Array) -> Array:
    # dP = -P dA P + P Pᴴ dAᴴ (I - A P) + (I - P A) dAᴴ Pᴴ P, for matrices of locally constant rank
    g, p, ph = conj(g), y, adjoint(y)
    gh = adjoint(g)
    left, right = gh @ p @ ph, ph @ p @ gh
    return conj(-(ph @ g @ ph) + (left - a @ (p @ left)) + (right - (right @ p) @ a))


pseudo_inverse.vjp(a=_pinv_rule)
pseudo_inverse.batch(leading_axes_rule)


@composite(numpy=np.linalg.pinv)
def pinv(
    a: Operand, rcond: float | None = None, hermitian: bool = False, *, rtol: float | None = None
) -> Tensor:
    """The Moore-Penrose inverses (…, m, n) -> (…, n, m); differentiable where the rank is constant.

    rcond, rtol: singular values below this times the largest count as 0
    hermitian:   a is Hermitian, and its lower triangle alone is read
    """
    limit = rtol if rcond is None else rcond
    a = _from_lower_triangle(as_floating(a), hermitian)
    return pseudo_inverse(a, None if limit is None else float(limit))


@composite(numpy=np.linalg.lstsq)
def lstsq(
    a: Operand, b: Operand, rcond: float | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(x, residuals, rank, singular values): x has the least |b - a x|, of full-rank a (m, n).

    Raises ShapeError where the rows of a and b differ.
    """
    a, b = as_operand(a), as_operand(b)
    common = np.result_type(a.dtype, b.dtype)
    if common.kind in "fc" and not a.dtype == b.dtype == common:
        a, b = e.cast(a, dtype=common), e.cast(b, dtype=common)
    m, n = a.shape
    if not a.size:
        raise ShapeError(f"lstsq: a matrix of shape {a.shape} has no entries")
    limit = float(np.finfo(np.result_type(a.dtype, np.float32)).eps) * max(m, n)
    x = pinv(a, limit if rcond is None or rcond < 0 else rcond) @ b
    values = svdvals(a)
    rank = matrix_rank(a, rtol=limit if rcond is None or rcond < 0 else rcond)
    difference = b - a @ x
    squares = r.sum(e.absolute_square(difference), axis=0)
    if m <= n:
        squares = squares.reshape(-1)[:0]
    elif b.ndim == 1:
        squares = s.reshape(squares, (1,))
    return x, squares, to_int32(rank), values


@primitive(differentiable=False)
def to_int32(xp: Namespace, x: Array) -> Array:
    """x, of any shape, as 32-bit integers, which LAPACK counts in."""
    return x.astype(np.int32)


to_int32.batch(leading_axes_rule)
