"""NumPy's `linalg`: solving, inverting, decomposing matrices, their norms and powers.

All take stacks of matrices in the last two axes.  Formulas are those of Giles, "Collected matrix
derivative results for forward and reverse mode algorithmic differentiation" (2008), for complex
matrices in their gauge-invariant forms, turned into cotangents without a conjugate.

`cholesky` and `eigh` read one triangle of their matrix, as NumPy does, and so their gradient is 0
in the other; its symmetric half is the derivative within symmetric matrices.  Eigenvectors and
singular vectors have a derivative where their values are distinct; derivatives grow as 1 / gap, and
between exactly equal values the term is left out, which is right for what depends on their span
only.  Where vectors are complex, only what does not depend on their phase has a derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import linalg as la
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops._arrays import as_operand, axis_of, constant
from tapegrad.autograd.ops.batch_rules import lifted, native, ndim_of
from tapegrad.autograd.ops.rearranging import diagonal, from_diagonal, tril, triu

__all__ = [
    "EigResult",
    "EighResult",
    "QRResult",
    "SVDResult",
    "SlogdetResult",
    "cholesky",
    "cholesky_lower",
    "cond",
    "det",
    "eig",
    "eig_parts",
    "eigh",
    "eigh_parts",
    "eigvals",
    "eigvalsh",
    "int32",
    "inv",
    "lstsq",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "pseudo_inverse",
    "qr",
    "qr_parts",
    "rank_above",
    "slogdet",
    "slogdet_parts",
    "solve",
    "svd",
    "svd_parts",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vector_norm",
]


class EigResult(NamedTuple):
    """What `eig` returns."""

    eigenvalues: Any
    eigenvectors: Any


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Any
    R: Any


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Any
    logabsdet: Any


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: Any
    S: Any
    Vh: Any


def _conj(x: Any) -> Any:
    return e.conjugate(x) if x.dtype.kind == "c" else x


def _t(x: Any) -> Any:
    return s.swapaxes(x, -1, -2)


def _h(x: Any) -> Any:
    return _conj(_t(x))


def _column(x: Any) -> Any:
    return s.expand_dims(x, -1)


def _row(x: Any) -> Any:
    return s.expand_dims(x, -2)


def _diagonal(x: Any) -> Any:
    return diagonal(x, 0, -2, -1)


def _as_diagonal(x: Any) -> Any:
    n = x.shape[-1]
    return from_diagonal(x, (*x.shape, n), 0, -2, -1)


def _square(x: Any, name: str) -> None:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise np.linalg.LinAlgError(f"{name} takes square matrices, not shape {tuple(x.shape)}")


def _in_triangle(x: Any, lower: bool) -> Any:
    """The cotangent of a Hermitian matrix as that of the triangle it is read from."""
    both = (x + _h(x)) / 2
    off, cut = (-1, tril) if lower else (1, triu)
    return cut(both) + cut(both, off)


def _inverse_gaps(w: Any, other: Any = None) -> Any:
    """1 / (w_j - w_i) off the diagonal, 0 on it and between equal values."""
    gaps = _row(w) - _column(w if other is None else other)
    same = e.equal(gaps, 0)
    return e.where(same, 0, 1 / e.where(same, 1, gaps))


# Solving -----------------------------------------------------------------------------------------


@primitive(numpy=np.linalg.solve)
def solve(xp: Any, a: Any, b: Any) -> Any:
    """x with a @ x = b: (…, n, n), (…, n, k) -> (…, n, k), or a vector b (n,) -> (…, n).

    Raises LinAlgError when a matrix is singular.
    """
    return xp.linalg.solve(a, b)


def _solve_b(g: Any, a: Any, b_shape: tuple[int, ...]) -> Any:
    if len(b_shape) == 1:
        return solve(_t(a), _column(g))[..., 0]
    return solve(_t(a), g)


def _solve_a(g: Any, a: Any, b_shape: tuple[int, ...], y: Any) -> Any:
    if len(b_shape) == 1:
        return -(_column(_solve_b(g, a, b_shape)) * _row(y))
    return -(solve(_t(a), g) @ _t(y))


solve.vjp(a=_solve_a, b=_solve_b)


@solve.batch
def _solve_batch(a: Any, b: Any, batched: tuple[bool, bool]) -> Any:
    ndim_a, ndim_b = ndim_of(a, batched[0]), ndim_of(b, batched[1])
    if ndim_b > 1:
        ndim = builtin_max(ndim_a, ndim_b)
        return solve(lifted(a, ndim) if batched[0] else a, lifted(b, ndim) if batched[1] else b)
    if ndim_a == 2 and not batched[0]:  # one factorization for all samples
        return s.transpose(solve(a, s.transpose(b)))
    columns = s.expand_dims(b, -1)
    y = solve(a, lifted(columns, ndim_a) if batched[1] else columns)
    return s.reshape(y, y.shape[:-1])


@primitive(numpy=np.linalg.inv)
def inv(xp: Any, a: Any) -> Any:
    """The inverse matrices.  Raises LinAlgError when one is singular."""
    return xp.linalg.inv(a)


inv.vjp(a=lambda g, y: -(_t(y) @ g @ _t(y)))
inv.batch(native)


@primitive
def pseudo_inverse(xp: Any, a: Any, *, rcond: float | None = None) -> Any:
    """The Moore-Penrose inverses; singular values below rcond times the largest count as 0."""
    n = builtin_max(a.shape[-2:])
    limit = n * float(xp.finfo(a.dtype).eps) if rcond is None else rcond
    return xp.linalg.pinv(a, limit)


builtin_max = max


def _pinv_rule(g: Any, a: Any, y: Any) -> Any:
    # dP = -P dA P + P Pᴴ dAᴴ (I - A P) + (I - P A) dAᴴ Pᴴ P, for matrices of locally constant rank
    g, p, ph = _conj(g), y, _h(y)
    gh = _h(g)
    left, right = gh @ p @ ph, ph @ p @ gh
    return _conj(-(ph @ g @ ph) + (left - a @ (p @ left)) + (right - (right @ p) @ a))


pseudo_inverse.vjp(a=_pinv_rule)
pseudo_inverse.batch(native)


@composite(numpy=np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The Moore-Penrose inverses (…, m, n) -> (…, n, m); differentiable where the rank is constant.

    rcond, rtol: singular values below this times the largest count as 0
    """
    del hermitian  # a shortcut: the result is the same
    limit = rtol if rcond is None else rcond
    return pseudo_inverse(a, None if limit is None else float(limit))


@composite(numpy=np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: float | None = None) -> Any:
    """(x, residuals, rank, singular values): x has the least |b - a x|, of full-rank a (m, n)."""
    a, b = as_operand(a), as_operand(b)
    m, n = a.shape
    limit = float(np.finfo(np.result_type(a.dtype, np.float32)).eps) * builtin_max(m, n)
    x = pinv(a, limit if rcond is None or rcond < 0 else rcond) @ b
    values = svdvals(a)
    rank = matrix_rank(a, rtol=limit if rcond is None or rcond < 0 else rcond)
    difference = b - a @ x
    squares = r.sum(e.absolute_square(difference), axis=0)
    if m <= n:
        squares = squares.reshape(-1)[:0]
    elif b.ndim == 1:
        squares = s.reshape(squares, (1,))
    return x, squares, int32(rank), values


@composite(numpy=np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """x with Σ a·x = b over the trailing axes of a, as many as make a square matrix of it."""
    a, b = as_operand(a), as_operand(b)
    if axes is not None:
        order = [i for i in range(a.ndim) if i not in axes] + list(axes)
        a = s.transpose(a, tuple(order))
    shape = tuple(a.shape[b.ndim :])
    matrix = s.reshape(a, (b.size, -1))
    _square(matrix, "tensorsolve")
    return s.reshape(solve(matrix, s.ravel(b)), shape)


@composite(numpy=np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of a as a map from its last axes to its first `ind`."""
    if ind <= 0:
        raise ValueError(f"tensorinv: ind is {ind}, not positive")
    shape = (*a.shape[ind:], *a.shape[:ind])
    matrix = s.reshape(a, (int(np.prod(a.shape[:ind], dtype=int)), -1))
    _square(matrix, "tensorinv")
    return s.reshape(inv(matrix), shape)


@primitive(differentiable=False)
def int32(xp: Any, x: Any) -> Any:
    """x as 32-bit integers, which LAPACK counts in."""
    return x.astype(np.int32)


int32.batch(native)


# Determinants ------------------------------------------------------------------------------------


@primitive(numpy=np.linalg.det)
def det(xp: Any, a: Any) -> Any:
    """The determinants (…, n, n) -> (…); differentiable where they are not 0."""
    return xp.linalg.det(a)


det.vjp(a=lambda g, a, y: _column(_column(g * y)) * _t(inv(a)))
det.batch(native)


@primitive(several=True)
def slogdet_parts(xp: Any, a: Any) -> Any:
    """The determinants' signs (phases of complex ones) and the logarithms of their moduli."""
    return list(xp.linalg.slogdet(a))


def _slogdet_rule(g: Any, a: Any, y: Any) -> Any:
    # d log det = tr(A⁻¹ dA) =: t;  d logabsdet = Re t,  d sign = i·sign·Im t
    of_sign, of_log = g
    if a.dtype.kind != "c":
        if of_log is None:
            return a * 0
        return _column(_column(of_log)) * _t(inv(a))
    total = 0 if of_log is None else of_log
    if of_sign is not None:
        total = total - 1j * e.real(of_sign * y[0] * 1j)
    return _column(_column(total)) * _t(inv(a))


slogdet_parts.vjp(a=_slogdet_rule)
slogdet_parts.batch(native)


@composite(numpy=np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    """(sign, log |determinant|) of (…, n, n); differentiable where the determinant is not 0."""
    return SlogdetResult(*slogdet_parts(a))


# Decompositions ----------------------------------------------------------------------------------


@primitive
def cholesky_lower(xp: Any, a: Any) -> Any:
    """L, lower triangular with positive diagonal, such that L Lᴴ is the matrix of a's triangle."""
    return xp.linalg.cholesky(a)


def _cholesky_rule(g: Any, y: Any) -> Any:
    # Murray, "Differentiation of the Cholesky decomposition" (2016): A̅ = L⁻ᴴ Φ(Lᴴ L̅) L⁻¹, where Φ
    # takes the lower triangle and half the diagonal.
    p = tril(_h(y) @ _conj(g))
    p = p - _as_diagonal(_diagonal(p)) / 2
    lh = _h(y)
    left = solve(lh, p)
    return _conj(_in_triangle(_h(solve(lh, _h(left))), lower=True))


cholesky_lower.vjp(a=_cholesky_rule)
cholesky_lower.batch(native)


@composite(numpy=np.linalg.cholesky)
def cholesky(a: Any, upper: bool = False) -> Any:
    """L with L Lᴴ = a, of positive definite a, of which the lower triangle is read; or U = Lᴴ.

    Raises LinAlgError when a is not positive definite.
    """
    return _h(cholesky_lower(_h(a))) if upper else cholesky_lower(a)


@primitive(several=True)
def qr_parts(xp: Any, a: Any) -> Any:
    """Q (…, m, n) with orthonormal columns and R (…, n, n) upper triangular, Q R = a, m >= n."""
    return list(xp.linalg.qr(a))


def _qr_rule(g: Any, y: Any) -> Any:
    q, upper = y
    of_q, of_r = (None if part is None else _conj(part) for part in g)
    middle = 0
    if of_r is not None:
        middle = upper @ _h(of_r)
    if of_q is not None:
        middle = middle - _h(of_q) @ q
    below = tril(middle, -1)
    hermitian = below + _h(below) + _as_diagonal(_real_like(_diagonal(middle)))
    total = q @ hermitian
    if of_q is not None:
        total = total + of_q
    return _conj(_t(solve(_conj(upper), _t(total))))


def _real_like(x: Any) -> Any:
    return e.real(x) + 0j if x.dtype.kind == "c" else x


qr_parts.vjp(a=_qr_rule)
qr_parts.batch(native)


@composite(numpy=np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    """(Q, R) with Q R = a: (…, m, n) -> (…, m, k), (…, k, n), k = min(m, n); or R in mode "r".

    Differentiable where the first k columns are independent.  Other modes raise TypeError.
    """
    if mode not in ("reduced", "r"):
        raise TypeError(f"numpy.linalg.qr on a Tensor: mode {mode!r} is not supported")
    m, n = a.shape[-2:]
    if m >= n:
        q, upper = qr_parts(a)
    else:
        q, left = qr_parts(a[..., :m])
        upper = s.concatenate([left, _h(q) @ a[..., m:]], -1)
    return upper if mode == "r" else QRResult(q, upper)


@primitive(several=True)
def eigh_parts(xp: Any, a: Any, *, UPLO: str = "L") -> Any:
    """Eigenvalues (…, n), rising, and eigenvectors (…, n, n), of the Hermitian matrices."""
    return list(xp.linalg.eigh(a, UPLO=UPLO))


def _eigh_rule(g: Any, y: Any, UPLO: str) -> Any:
    (of_w, of_v), (w, v) = g, y
    inner = 0
    if of_w is not None:
        inner = _as_diagonal(of_w)
    if of_v is not None:
        inner = inner + _inverse_gaps(w) * (_h(v) @ _conj(of_v))
    return _conj(_in_triangle(v @ (inner + _zero_like(v)) @ _h(v), UPLO.upper() == "L"))


def _zero_like(x: Any) -> Any:
    return 0j if x.dtype.kind == "c" else 0


eigh_parts.vjp(a=_eigh_rule)
eigh_parts.batch(native)


@composite(numpy=np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of symmetric or Hermitian a, of which one triangle is read."""
    return EighResult(*eigh_parts(a, UPLO))


@composite(numpy=np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """The eigenvalues, rising, of symmetric or Hermitian a, of which one triangle is read."""
    return eigh_parts(a, UPLO)[0]


@primitive(several=True)
def eig_parts(xp: Any, a: Any) -> Any:
    """Eigenvalues (…, n) and eigenvectors of length 1 (…, n, n); real if all values are."""
    return list(xp.linalg.eig(a))


def _eig_rule(g: Any, y: Any) -> Any:
    (of_w, of_v), (w, v) = g, y
    inner = 0
    if of_w is not None:
        inner = _as_diagonal(_conj(of_w))
    if of_v is not None:
        of_v = _conj(of_v)
        vh = _h(v)
        free = vh @ of_v
        # Vectors keep length 1: what would lengthen them does not reach them.
        free = free - (vh @ v) * _row(e.real(_diagonal(free)))
        inner = inner + free * _conj(_inverse_gaps(w))
    return _conj(solve(_h(v), (inner + _zero_like(v)) @ _h(v)))


eig_parts.vjp(a=_eig_rule)
eig_parts.batch(native)


@composite(numpy=np.linalg.eig)
def eig(a: Any) -> Any:
    """(eigenvalues, eigenvectors) of square matrices with distinct eigenvalues."""
    _square(a, "eig")
    return EigResult(*eig_parts(a))


@composite(numpy=np.linalg.eigvals)
def eigvals(a: Any) -> Any:
    """The eigenvalues, in no particular order, of square matrices with distinct eigenvalues."""
    _square(a, "eigvals")
    return eig_parts(a)[0]


@primitive(several=True)
def svd_parts(xp: Any, a: Any) -> Any:
    """U (…, m, k), the singular values (…, k), falling, and Vᴴ (…, k, n); k = min(m, n)."""
    return list(xp.linalg.svd(a, full_matrices=False))


def _svd_rule(g: Any, y: Any) -> Any:
    (of_u, of_s, of_vh), (u, values, vh) = g, y
    zero = _zero_like(u)
    v = _h(vh)
    sigma = values + zero
    inner = 0 if of_s is None else _as_diagonal(of_s + zero)
    gaps = _inverse_gaps(e.square(values)) if of_u is not None or of_vh is not None else None
    total = 0
    if of_u is not None:
        of_u = _conj(of_u)
        free = _h(u) @ of_u
        inner = inner + gaps * (free - _h(free)) * _row(sigma)
        if u.dtype.kind == "c":
            phase = e.imag(_diagonal(free)) / values
            inner = inner + _as_diagonal(phase * 1j)
        if u.shape[-2] > u.shape[-1]:
            scaled = of_u / _row(sigma)
            total = (scaled - u @ (_h(u) @ scaled)) @ vh
    if of_vh is not None:
        of_v = _t(of_vh)  # conj(conj(transposed)): the cotangent of V in the conjugate pairing
        free = vh @ of_v
        inner = inner + _column(sigma) * (gaps * (free - _h(free)))
        if v.shape[-2] > v.shape[-1]:
            scaled = _h(of_v) / _column(sigma)
            total = total + u @ (scaled - (scaled @ v) @ vh)
    return _conj(u @ inner @ vh + total)


svd_parts.vjp(a=_svd_rule)
svd_parts.batch(native)


@composite(numpy=np.linalg.svd)
def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Any:
    """(U, S, Vᴴ) with U diag(S) Vᴴ = a; only S without `compute_uv`.

    Raises TypeError for `full_matrices` of matrices that are not square: their further vectors are
    arbitrary and have no derivative.
    """
    del hermitian  # a shortcut: the result is the same up to signs
    if not compute_uv:
        return svd_parts(a)[1]
    if full_matrices and a.shape[-1] != a.shape[-2]:
        raise TypeError(
            f"numpy.linalg.svd on a Tensor of shape {tuple(a.shape)}: the full matrices' further "
            "vectors have no derivative; say full_matrices=False"
        )
    return SVDResult(*svd_parts(a))


@composite(numpy=np.linalg.svdvals)
def svdvals(x: Any) -> Any:
    """The singular values, falling: (…, m, n) -> (…, min(m, n))."""
    return svd_parts(x)[1]


@primitive(differentiable=False)
def rank_above(xp: Any, values: Any, *, size: int, rtol: float | None, tol: float | None) -> Any:
    """How many of the singular values (…, k) are above the tolerance."""
    if tol is not None:
        return (values > tol).sum(axis=-1)
    share = size * float(xp.finfo(values.dtype).eps) if rtol is None else rtol
    return (values > values.max(axis=-1, keepdims=True) * share).sum(axis=-1)


rank_above.batch(native)


@composite(numpy=np.linalg.matrix_rank, differentiable=False)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """How many singular values are above `tol`, or above `rtol` times the largest."""
    del hermitian
    if A.ndim < 2:
        return r.any(A)
    size = builtin_max(A.shape[-2:])
    limits = [None if x is None else float(x) for x in (rtol, tol)]
    return rank_above(svdvals(A), size, limits[0], limits[1])


# Norms, powers and chains ------------------------------------------------------------------------


def _root_of_squares(x: Any, axis: Any, keepdims: bool) -> Any:
    squares = r.sum(e.absolute_square(x), axis=axis, keepdims=keepdims)
    zero = e.equal(squares, 0)
    return e.where(zero, 0, e.sqrt(e.where(zero, 1, squares)))


def _vector(x: Any, order: Any, axis: Any, keepdims: bool) -> Any:
    if order is None or order == 2:
        return _root_of_squares(x, axis, keepdims)
    if order == np.inf:
        return r.max(e.absolute(x), axis=axis, keepdims=keepdims)
    if order == -np.inf:
        return r.min(e.absolute(x), axis=axis, keepdims=keepdims)
    if order == 0:
        return r.sum(e.cast(e.not_equal(x, 0), dtype=e.absolute(x).dtype), axis, keepdims)
    if order == 1:
        return r.sum(e.absolute(x), axis=axis, keepdims=keepdims)
    if order in ("fro", "f", "nuc"):
        raise ValueError(f"norm: {order!r} is not a norm of vectors")
    powers = e.power(e.absolute(x), float(order))
    return e.power(r.sum(powers, axis=axis, keepdims=keepdims), 1 / float(order))


def _matrix(x: Any, order: Any, axes: tuple[int, int], keepdims: bool) -> Any:
    first, second = (axis_of(a, x.ndim) for a in axes)
    if first == second:
        raise ValueError("norm: the two axes of a matrix are the same")
    if order is None or order in ("fro", "f"):
        return _root_of_squares(x, (first, second), keepdims)
    if order in (1, -1, np.inf, -np.inf):
        along, rest = (first, second) if abs(order) == 1 else (second, first)
        sums = r.sum(e.absolute(x), axis=along, keepdims=True)
        y = (r.max if order > 0 else r.min)(sums, axis=rest, keepdims=True)
    elif order in (2, -2, "nuc"):
        values = svdvals(s.moveaxis(x, (first, second), (-2, -1)))
        reduced = {2: r.max, -2: r.min, "nuc": r.sum}[order](values, axis=-1)
        shape = tuple(1 if i in (first, second) else n for i, n in enumerate(x.shape))
        y = s.reshape(reduced, shape)
    else:
        raise ValueError(f"norm: {order!r} is not a norm of matrices")
    return y if keepdims else s.squeeze(y, (first, second))


@composite(numpy=np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """A norm of vectors along one axis, or of matrices in two; the 2-norm of all entries if None.

    The derivative of a 2-norm at 0 is taken as 0.
    """
    if axis is None:
        if ord is None or (ord in ("fro", "f") and x.ndim == 2) or (ord == 2 and x.ndim == 1):
            return _root_of_squares(x, None, keepdims)
        if x.ndim not in (1, 2):
            raise ValueError("norm: give the axis of an array that is neither vector nor matrix")
        axis = (0, 1) if x.ndim == 2 else 0
    axes = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    if len(axes) == 1:
        return _vector(x, ord, int(axes[0]), keepdims)
    first, second = axes
    return _matrix(x, ord, (first, second), keepdims)


@composite(numpy=np.linalg.vector_norm)
def vector_norm(x: Any, *, axis: Any = None, ord: Any = 2, keepdims: bool = False) -> Any:
    """A norm of the entries over `axis`, all of them when None."""
    if axis is None:
        shape = (1,) * x.ndim
        y = _vector(s.ravel(x), ord, 0, keepdims=False)
        return s.reshape(y, shape) if keepdims else y
    return _vector(x, ord, axis, keepdims)


@composite(numpy=np.linalg.matrix_norm)
def matrix_norm(x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """A norm of the matrices (…, m, n)."""
    return _matrix(x, ord, (-2, -1), keepdims)


@composite(numpy=np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    """The condition number: largest over smallest singular value, or |x|·|x⁻¹| in the norm p."""
    if p is None or p in (2, -2):
        values = svdvals(x)
        first, last = values[..., 0], values[..., -1]
        return last / first if p == -2 else first / last
    return _matrix(x, p, (-2, -1), keepdims=False) * _matrix(inv(x), p, (-2, -1), keepdims=False)


@composite(numpy=np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """The product of n equal matrices, of |n| inverses for negative n; by repeated squaring."""
    _square(a, "matrix_power")
    if n == 0:
        identity = constant(np.eye(a.shape[-1], dtype=a.dtype), a)
        return s.broadcast_to(identity, tuple(a.shape)) + a * 0
    square, exponent = (inv(a), -n) if n < 0 else (a, n)
    y = None
    while exponent:
        if exponent & 1:
            y = square if y is None else y @ square
        exponent >>= 1
        if exponent:
            square = square @ square
    return s.copy(y) if y is a else y


@composite(numpy=np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Any]) -> Any:
    """The matrix product of all, in the order that costs least; the ends may be vectors."""
    operands = [as_operand(a) for a in arrays]
    if len(operands) < 2:
        raise ValueError("multi_dot takes two arrays at least")
    letters = [chr(ord("a") + i) for i in range(len(operands) + 1)]
    terms = [letters[i] + letters[i + 1] for i in range(len(operands))]
    if operands[0].ndim == 1:
        terms[0] = letters[1]
    if operands[-1].ndim == 1:
        terms[-1] = letters[-2]
    result = terms[0][:-1] + terms[-1][1:]
    return la.einsum(",".join(terms) + "->" + result, *operands)
