"""The standard's extension `linalg`: matrices are the last two axes, (…, m, n).

The products stand in the main namespace too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops import counting, matrices, rearranging, vector_products
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import linalg as la
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import device_array, value_of
from tapegrad.autograd.ops.matrices import EighResult, EigResult, QRResult, SlogdetResult, SVDResult
from tapegrad.autograd.surface.array_api import statistics
from tapegrad.autograd.surface.array_api.products import (
    matmul,
    matrix_transpose,
    tensordot,
    vecdot,
)

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Axes, DTypeLike

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """L with L Lᴴ = x, of positive definite matrices, of which the lower triangle is read.

    upper: U with Uᴴ U = x instead, of which the upper triangle is read
    Raises LinAlgError when a matrix is not positive definite.
    """
    return matrices.cholesky(x, upper)


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The vector product along `axis`, of length 3.  Raises ShapeError for another length."""
    for x in (x1, x2):
        if x.shape[axis] != 3:
            raise ShapeError(f"cross: axis {axis} has length {x.shape[axis]}, vectors have 3")
    return vector_products.linalg_cross(x1, x2, axis=axis)


def det(x: Tensor, /) -> Tensor:
    """The determinants of square matrices: (…, n, n) -> (…)."""
    return matrices.det(x)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """The diagonals of matrices, `offset` above the main one: (…, m, n) -> (…, k)."""
    return rearranging.matrix_diagonal(x, offset)


def eig(x: Tensor, /) -> EigResult:
    """(eigenvalues, eigenvectors), complex, of square matrices with distinct eigenvalues."""
    values, vectors = matrices.eig(x)
    return EigResult(_as_complex(values), _as_complex(vectors))


def eigvals(x: Tensor, /) -> Tensor:
    """The eigenvalues, complex, in no particular order, of square matrices."""
    return _as_complex(matrices.eigvals(x))


def _as_complex(x: Tensor) -> Tensor:
    dtype = np.result_type(x.dtype, np.complex64)
    return x if x.dtype == dtype else e.cast(x, dtype=dtype)


def eigh(x: Tensor, /) -> EighResult:
    """(eigenvalues, eigenvectors) of symmetric or Hermitian matrices; the values rise."""
    return matrices.eigh(x)


def eigvalsh(x: Tensor, /) -> Tensor:
    """The eigenvalues, rising, of symmetric or Hermitian matrices: (…, n, n) -> (…, n)."""
    return matrices.eigvalsh(x)


def inv(x: Tensor, /) -> Tensor:
    """The inverses of square matrices.  Raises LinAlgError for singular ones."""
    return matrices.inv(x)


def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: float | str | None = "fro") -> Tensor:
    """A norm of matrices: (…, m, n) -> (…).

    ord: "fro", "nuc", 1, -1, 2, -2, inf, -inf; as in NumPy
    Raises ValueError for another word or number.
    """
    return matrices.matrix_norm(x, keepdims=keepdims, ord=ord)


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """The product of n equal square matrices, of |n| inverses for negative n."""
    return matrices.matrix_power(x, n)


def _of_each(rtol: Any) -> Any:
    """A tolerance as a number, or as an array where there is one for every matrix."""
    if not isinstance(rtol, Tensor):
        return rtol
    numbers = value_of(rtol)
    return numbers.item() if numbers.size == 1 else numbers


def matrix_rank(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """How many singular values are above `rtol` times the largest: (…, m, n) -> (…), int64.

    rtol: a number or one for every matrix; max(m, n) times the dtype's eps when omitted
    Raises ShapeError for x that is no matrix.
    """
    if x.ndim < 2:
        raise ShapeError(f"matrix_rank: x has shape {x.shape}, but matrices have two axes")
    limit = _of_each(rtol)
    if not isinstance(limit, np.ndarray):
        return matrices.matrix_rank(x, rtol=limit)
    values = matrices.svdvals(x)
    largest = r.max(values, axis=-1, keepdims=True)
    return counting.count_nonzero(
        e.greater(values, largest * device_array(limit[..., None], x)), axis=-1
    )


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The product of every entry of a vector with every one of another: (m,), (n,) -> (m, n).

    Raises ShapeError for operands that are no vectors.
    """
    for x in (x1, x2):
        if x.ndim != 1:
            raise ShapeError(f"outer: an operand has shape {x.shape}, but vectors have one axis")
    return la.outer(x1, x2)


def pinv(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """The Moore-Penrose inverses: (…, m, n) -> (…, n, m); differentiable where the rank stays.

    rtol: singular values below this times the largest count as 0; a number or one for every matrix
    """
    limit = _of_each(rtol)
    if not isinstance(limit, np.ndarray):
        return matrices.pinv(x, rtol=limit)
    lead = np.broadcast_shapes(x.shape[:-2], limit.shape)
    flat = s.reshape(s.broadcast_to(x, (*lead, *x.shape[-2:])), (-1, *x.shape[-2:]))
    each = np.broadcast_to(limit, lead).ravel()
    inverses = [matrices.pinv(flat[i], rtol=float(limit)) for i, limit in enumerate(each)]
    return s.reshape(s.stack(inverses), (*lead, x.shape[-1], x.shape[-2]))


def qr(x: Tensor, /, *, mode: str = "reduced") -> QRResult:
    """(Q, R) with Q R = x: (…, m, n) -> (…, m, k), (…, k, n) with k = min(m, n).

    mode: "reduced", or "complete" for square Q, k = m
    The derivative of what depends on the choice of the columns that complete Q is NaN.
    Raises ValueError for another mode.
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr: the mode is {mode!r}, none of 'reduced', 'complete'")
    q, upper = matrices.qr(x, mode)
    return QRResult(q, upper)


def slogdet(x: Tensor, /) -> SlogdetResult:
    """(sign, logabsdet) of the determinants of square matrices, each (…)."""
    return matrices.slogdet(x)


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """y with x1 @ y = x2: (…, n, n), (…, n, k) -> (…, n, k), or a vector x2 (n,) -> (…, n).

    Raises LinAlgError when a matrix is singular.
    """
    return matrices.solve(x1, x2)


def svd(x: Tensor, /, *, full_matrices: bool = True) -> SVDResult:
    """(U, S, Vh) with U diag(S) Vh = x, S falling.

    full_matrices: square U and Vh; else U (…, m, k) and Vh (…, k, n) with k = min(m, n)
    The derivative of what depends on the choice of the vectors that complete a basis is NaN.
    """
    u, values, vh = matrices.svd(x, full_matrices)
    return SVDResult(u, values, vh)


def svdvals(x: Tensor, /) -> Tensor:
    """The singular values, falling: (…, m, n) -> (…, min(m, n))."""
    return matrices.svdvals(x)


def trace(x: Tensor, /, *, offset: int = 0, dtype: DTypeLike = None) -> Tensor:
    """The sums of the diagonals of matrices, `offset` above the main one: (…, m, n) -> (…)."""
    return statistics.sum(rearranging.matrix_diagonal(x, offset), axis=-1, dtype=dtype)


def vector_norm(
    x: Tensor, /, *, axis: Axes = None, keepdims: bool = False, ord: float = 2
) -> Tensor:
    """(Σ |x|^ord)^(1/ord) over `axis`, all axes when None.

    ord: any number; the largest |x| for inf, the smallest for -inf, how many are not 0 for 0
    """
    return matrices.vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)
