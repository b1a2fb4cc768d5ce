"""tapegrad.scipy.linalg: functions of matrices, factorizations and solvers, as SciPy calls them.

Where NumPy has the same function ours of the same name runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import linalg as products
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.matrices import (
    determinants,
    eigenvalues,
    factorizations,
    norms,
    singular_values,
    solving,
)
from tapegrad.autograd.ops.matrices.singular_values import pinv
from tapegrad.autograd.ops.matrices.solving import inv
from tapegrad.autograd.ops.matrices.stacks import adjoint, conj, transpose_matrices
from tapegrad.autograd.scipy.declaring import operation, scipy_module

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Axes, Namespace, Operand

__all__ = [
    "block_diag",
    "cho_factor",
    "cho_solve",
    "cholesky",
    "circulant",
    "coshm",
    "cosm",
    "det",
    "eigh",
    "eigvalsh",
    "expm",
    "expm_frechet",
    "hankel",
    "inv",
    "logm",
    "lstsq",
    "lu_factor",
    "lu_solve",
    "norm",
    "pinv",
    "qr",
    "sinhm",
    "sinm",
    "solve",
    "solve_continuous_lyapunov",
    "solve_discrete_lyapunov",
    "solve_sylvester",
    "solve_triangular",
    "sqrtm",
    "svd",
    "svdvals",
    "toeplitz",
]

# Functions of matrices ------------------------------------------------------------------------


def _with_direction(function: Any, a: Array, direction: Array) -> Array:
    """The derivative of a function of matrices at `a` along `direction`.

    It is the upper right block of the function of [[a, direction], [0, a]].
    """
    n = a.shape[-1]
    above = s.concatenate([a, direction], axis=-1)
    below = s.concatenate([e.multiply(a, 0.0), a], axis=-1)
    return function(s.concatenate([above, below], axis=-2))[..., :n, n:]


def _matrix_rule(function: Any) -> Any:
    """The adjoint of the derivative along a direction is the one at the transposed matrix."""
    return lambda g, a: _with_direction(function, transpose_matrices(a), g)


@operation()
def _exponential(xp: Namespace, a: Array) -> Array:
    return scipy_module("linalg").expm(a)


@operation()
def _logarithm(xp: Namespace, a: Array) -> Array:
    return _of_each(scipy_module("linalg").logm, a)


@operation()
def _square_root(xp: Namespace, a: Array) -> Array:
    return _of_each(scipy_module("linalg").sqrtm, a)


def _of_each(function: Any, a: Any) -> Any:
    """SciPy's function of every matrix of a stack (…, n, n)."""
    if a.ndim == 2:
        return function(a)
    found = [function(each) for each in a.reshape(-1, *a.shape[-2:])]
    return np.stack(found).reshape(a.shape) if found else a


_exponential.vjp(a=_matrix_rule(_exponential))
_logarithm.vjp(a=_matrix_rule(_logarithm))
_square_root.vjp(a=_matrix_rule(_square_root))
for _function in (_exponential, _logarithm, _square_root):
    _function.batch(lambda function, operands, settings: function(*operands, **settings))


def _square(a: Operand, name: str) -> Tensor:
    """a, a square matrix or a stack of them, of floats.  Raises ShapeError for another shape."""
    a = as_operand(a)
    if len(a.shape) < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"{name} takes square matrices, (…, n, n), and not shape {a.shape}")
    return a if a.dtype.kind in "fc" else a.astype(np.float64)


def expm(A: Operand) -> Tensor:
    """The exponential of square matrices, (…, n, n) -> (…, n, n)."""
    return _exponential(_square(A, "expm"))


def expm_frechet(A: Operand, E: Operand, compute_expm: bool = True) -> Any:
    """[expm(A), its derivative along E], or that derivative alone; A and E (n, n)."""
    A = _square(A, "expm_frechet")
    slope = _with_direction(_exponential, A, _square(E, "expm_frechet"))
    return (_exponential(A), slope) if compute_expm else slope


def logm(A: Operand) -> Tensor:
    """The principal logarithm of square matrices, (…, n, n) -> (…, n, n); complex where it is."""
    return _logarithm(_square(A, "logm"))


def sqrtm(A: Operand) -> Tensor:
    """The principal square root of square matrices, (…, n, n) -> (…, n, n); complex where it is."""
    return _square_root(_square(A, "sqrtm"))


def _waves(A: Operand, name: str) -> Tensor:
    A = _square(A, name)
    if A.dtype.kind == "c":
        raise TypeError(f"{name} takes real matrices here: write it with expm(1j * A)")
    return expm(A * 1j)


def cosm(A: Operand) -> Tensor:
    """The cosine of real square matrices, (…, n, n) -> (…, n, n)."""
    return e.real(_waves(A, "cosm"))


def sinm(A: Operand) -> Tensor:
    """The sine of real square matrices, (…, n, n) -> (…, n, n)."""
    return e.imag(_waves(A, "sinm"))


def coshm(A: Operand) -> Tensor:
    """The hyperbolic cosine of square matrices, (…, n, n) -> (…, n, n)."""
    A = _square(A, "coshm")
    return (expm(A) + expm(-A)) / 2


def sinhm(A: Operand) -> Tensor:
    """The hyperbolic sine of square matrices, (…, n, n) -> (…, n, n)."""
    A = _square(A, "sinhm")
    return (expm(A) - expm(-A)) / 2


# Triangles ------------------------------------------------------------------------------------


@operation()
def _triangular(
    xp: Namespace, a: Array, b: Array, *, lower: bool, transposed: bool, unit: bool
) -> Array:
    """x with a x = b, or aᵀ x = b, of which one triangle of a is read; b (n, k)."""
    return scipy_module("linalg").solve_triangular(
        a, b, lower=lower, trans=int(transposed), unit_diagonal=unit
    )


def _triangular_b(g: Array, a: Array, lower: bool, transposed: bool, unit: bool) -> Array:
    return _triangular(a, g, lower=lower, transposed=not transposed, unit=unit)


def _triangular_a(g: Array, a: Array, y: Array, lower: bool, transposed: bool, unit: bool) -> Array:
    pulled = _triangular_b(g, a, lower, transposed, unit)
    full = y @ transpose_matrices(pulled) if transposed else pulled @ transpose_matrices(y)
    mask = np.tri(a.shape[-1], k=-1 if unit else 0)
    return full * -(mask if lower else mask.T)


_triangular.vjp(a=_triangular_a, b=_triangular_b)


def _columns(b: Any) -> tuple[Any, bool]:
    """b as a matrix, and whether it was a vector."""
    b = as_operand(b)
    return (s.reshape(b, (-1, 1)), True) if len(b.shape) == 1 else (b, False)


def solve_triangular(
    a: Operand,
    b: Operand,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Tensor:
    """x with a x = b; a (n, n), of which one triangle is read, b (n,) or (n, k) -> b's shape.

    trans: 0 or "N"; 1 or "T" for aᵀ x = b; 2 or "C" for aᴴ x = b
    Raises LinAlgError where the triangle is singular.
    """
    kind = {0: "N", 1: "T", 2: "C"}.get(trans, trans)  # type: ignore[arg-type]  # a string is not there
    if kind not in ("N", "T", "C"):
        raise ValueError(f"trans is {trans!r}, none of 0, 1, 2, 'N', 'T', 'C'")
    a = _square(a, "solve_triangular")
    columns, flat = _columns(b)
    a = conj(a) if kind == "C" else a
    x = _triangular(a, columns, lower=lower, transposed=kind != "N", unit=unit_diagonal)
    return s.reshape(x, (-1,)) if flat else x


def cholesky(
    a: Operand, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> Tensor:
    """U with Uᴴ U = a, of positive definite a (n, n), of which the same triangle is read.

    lower: whether L with L Lᴴ = a is returned
    Raises LinAlgError where a is not positive definite.
    """
    return factorizations.cholesky(_square(a, "cholesky"), upper=not lower)


def cho_factor(
    a: Operand, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Tensor, bool]:
    """[`cholesky`, lower], for `cho_solve`; the other triangle is 0."""
    return cholesky(a, lower), lower


def cho_solve(
    c_and_lower: tuple[Operand, bool],
    b: Operand,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Tensor:
    """x with a x = b, of a's `cho_factor`; b (n,) or (n, k) -> b's shape."""
    c, lower = c_and_lower
    first = solve_triangular(c, b, "N" if lower else "C", lower)
    return solve_triangular(c, first, "C" if lower else "N", lower)


@operation(aux=("pivots",))
def _lu(xp: Namespace, a: Array) -> tuple[Array, Array]:
    """L and U in one matrix (n, n), and the row that each row was swapped with."""
    return scipy_module("linalg").lu_factor(a)


def _order_of(pivots: Any) -> Any:
    """The order of a's rows in L U."""
    order = np.arange(len(pivots))
    for i, k in enumerate(np.asarray(pivots)):
        order[[i, k]] = order[[k, i]]
    return order


def _lu_rule(g: Array, y: Array, pivots: Array) -> Array:
    """P L⁻ᵀ (strict lower of Lᵀ g + upper of g Uᵀ) U⁻ᵀ, of the triangles of g."""
    n = y.shape[-1]
    strict = np.tri(n, k=-1)
    lower, upper = y * strict + np.eye(n), y * strict.T + y * np.eye(n)
    inner = (transpose_matrices(lower) @ (g * strict)) * strict
    inner = inner + ((g * (1 - strict)) @ transpose_matrices(upper)) * (1 - strict)
    left = _triangular(lower, inner, lower=True, transposed=True, unit=True)
    right = _triangular(upper, transpose_matrices(left), lower=False, transposed=False, unit=False)
    bare = pivots.numpy() if hasattr(pivots, "numpy") else pivots
    return transpose_matrices(right)[np.argsort(_order_of(bare))]


_lu.vjp(a=_lu_rule)


def lu_factor(
    a: Operand, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Tensor, Any]:
    """[L and U in one matrix, the rows that were swapped], of a (n, n), for `lu_solve`."""
    lu, pivots = _lu.with_aux(_square(a, "lu_factor"))
    return lu, pivots.numpy() if hasattr(pivots, "numpy") else pivots


def lu_solve(
    lu_and_piv: tuple[Operand, Any],
    b: Operand,
    trans: int = 0,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Tensor:
    """x with a x = b, of a's `lu_factor`; b (n,) or (n, k) -> b's shape.

    trans: 1 for aᵀ x = b, 2 for aᴴ x = b
    """
    lu, pivots = lu_and_piv
    columns, flat = _columns(b)
    order = _order_of(pivots)
    if trans:
        first = solve_triangular(lu, columns, trans)
        x = solve_triangular(lu, first, trans, True, True)[np.argsort(order)]
    else:
        x = solve_triangular(lu, solve_triangular(lu, columns[order], 0, True, True))
    return s.reshape(x, (-1,)) if flat else x


# Matrix equations -----------------------------------------------------------------------------


@operation()
def _sylvester(xp: Namespace, a: Array, b: Array, q: Array) -> Array:
    return scipy_module("linalg").solve_sylvester(a, b, q)


def _sylvester_q(g: Array, a: Array, b: Array) -> Array:
    return _sylvester(transpose_matrices(a), transpose_matrices(b), g)


_sylvester.vjp(
    a=lambda g, a, b, y: -(_sylvester_q(g, a, b) @ transpose_matrices(y)),
    b=lambda g, a, b, y: -(transpose_matrices(y) @ _sylvester_q(g, a, b)),
    q=_sylvester_q,
)


def solve_sylvester(a: Operand, b: Operand, q: Operand) -> Tensor:
    """X with a X + X b = q; a (m, m), b (n, n), q (m, n) -> (m, n)."""
    a, b = _square(a, "solve_sylvester"), _square(b, "solve_sylvester")
    return _sylvester(a, b, as_operand(q))


def solve_continuous_lyapunov(a: Operand, q: Operand) -> Tensor:
    """X with a X + X aᴴ = q; a and q (n, n) -> (n, n)."""
    a = _square(a, "solve_continuous_lyapunov")
    return _sylvester(a, adjoint(a), as_operand(q))


def solve_discrete_lyapunov(a: Operand, q: Operand, method: str | None = None) -> Tensor:
    """X with a X aᴴ - X + q = 0; a and q (n, n) -> (n, n), by one system of n² equations."""
    a, q = _square(a, "solve_discrete_lyapunov"), as_operand(q)
    n = int(a.shape[0])
    big = s.reshape(products.einsum("ij,kl->ikjl", a, conj(a)), (n * n, n * n))
    x = solving.solve(np.eye(n * n) - big, s.reshape(q, (n * n,)))
    return s.reshape(x, (n, n))


def solve(
    a: Operand,
    b: Operand,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: str | None = None,
    transposed: bool = False,
) -> Tensor:
    """x with a x = b; a (n, n), b (n,) or (n, k) -> b's shape.

    assume_a:   what is known of a: "sym", "her" and "pos" read one triangle, the lower one if
                `lower`; "lower triangular" and "upper triangular" as well
    transposed: whether aᵀ x = b is solved
    """
    a = _square(a, "solve")
    name = (assume_a or "gen").replace("_", " ")
    if name in ("lower triangular", "upper triangular"):
        return solve_triangular(a, b, int(transposed), name.startswith("lower"))
    if name in ("sym", "symmetric", "her", "hermitian", "pos", "positive definite"):
        half = np.tri(int(a.shape[-1]), k=-1)
        half = half if lower else half.T
        other = adjoint if name.startswith(("her", "pos")) else transpose_matrices
        a = a * (half + np.eye(int(a.shape[-1]))) + other(a * half)
    if transposed:
        a = transpose_matrices(a)
    return solving.solve(a, as_operand(b))


def lstsq(a: Operand, b: Operand, cond: float | None = None, **options: Any) -> Any:
    """[x, residues, rank, singular values] of the least squares solution of a x = b."""
    return singular_values.lstsq(a, b, rcond=cond)


def det(a: Operand, overwrite_a: bool = False, check_finite: bool = True) -> Tensor:
    """The determinants of (…, n, n), (…)."""
    return determinants.det(_square(a, "det"))


def norm(
    a: Operand,
    ord: Any = None,
    axis: Axes = None,
    keepdims: bool = False,
    check_finite: bool = True,
) -> Tensor:
    """The norm of vectors or matrices; see np.linalg.norm."""
    return norms.norm(a, ord, axis, keepdims)


def svd(
    a: Operand,
    full_matrices: bool = True,
    compute_uv: bool = True,
    overwrite_a: bool = False,
    check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:
    """[U, the singular values, Vᴴ], or the singular values alone; see np.linalg.svd."""
    return singular_values.svd(a, full_matrices, compute_uv)


def svdvals(a: Operand, overwrite_a: bool = False, check_finite: bool = True) -> Tensor:
    """The singular values, in falling order."""
    return singular_values.svdvals(a)


def eigh(a: Operand, b: Operand | None = None, lower: bool = True, **options: Any) -> Any:
    """[eigenvalues, eigenvectors] of a v = w v, or a v = w b v; a Hermitian, b positive."""
    if b is None:
        return tuple(eigenvalues.eigh(a, "L" if lower else "U"))
    root = factorizations.cholesky(_square(b, "eigh"))
    a = _square(a, "eigh")
    inner = solving.solve(root, adjoint(solving.solve(root, adjoint(a))))
    values, vectors = eigenvalues.eigh(inner, "L" if lower else "U")
    return values, solving.solve(adjoint(root), vectors)


def eigvalsh(a: Operand, b: Operand | None = None, lower: bool = True, **options: Any) -> Tensor:
    """The eigenvalues that `eigh` returns."""
    values: Tensor = eigh(a, b, lower)[0]
    return values


def qr(
    a: Operand, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", **options: Any
) -> Any:
    """[Q, R] of a (m, n), or (R,) for mode "r"; see np.linalg.qr."""
    if mode == "r":
        return (factorizations.qr(a, "r"),)
    return tuple(factorizations.qr(a, {"economic": "reduced", "full": "complete"}[mode]))


# Matrices of a pattern ------------------------------------------------------------------------


def block_diag(*arrs: Operand) -> Tensor:
    """The matrix with the given ones, (m, n) each, along its diagonal, and 0 elsewhere.

    Raises ShapeError for arrays of more than two axes.
    """
    blocks = [as_operand(a) for a in arrs] or [as_operand(np.zeros((1, 0)))]
    blocks = [s.reshape(a, (1, -1)) if len(a.shape) < 2 else a for a in blocks]
    width, rows, start = sum(int(a.shape[1]) for a in blocks), [], 0
    for block in blocks:
        if len(block.shape) != 2:
            raise ShapeError(f"block_diag takes matrices, and not shape {block.shape}")
        end = start + int(block.shape[1])
        rows.append(s.pad(block, ((0, 0), (start, width - end))))
        start = end
    return s.concatenate(rows, axis=0)


def toeplitz(c: Operand, r: Operand | None = None) -> Tensor:
    """The matrix with the first column c (m,) and the first row r (n,), or the conjugate of c."""
    c = s.reshape(as_operand(c), (-1,))
    r = conj(c) if r is None else s.reshape(as_operand(r), (-1,))
    m, n = int(c.shape[0]), int(r.shape[0])
    values = s.concatenate([s.flip(r)[: n - 1], c], axis=0)
    return values[np.arange(m)[:, None] - np.arange(n) + n - 1]


def circulant(c: Operand) -> Tensor:
    """The matrix whose columns are c (n,), each one entry further down: (n, n)."""
    c = s.reshape(as_operand(c), (-1,))
    n = int(c.shape[0])
    return c[(np.arange(n)[:, None] - np.arange(n)) % n]


def hankel(c: Operand, r: Operand | None = None) -> Tensor:
    """The matrix with the first column c (m,) and the last row r (n,), or zeros."""
    c = s.reshape(as_operand(c), (-1,))
    r = e.multiply(c, 0) if r is None else s.reshape(as_operand(r), (-1,))
    values = s.concatenate([c, r[1:]], axis=0)
    return values[np.arange(int(c.shape[0]))[:, None] + np.arange(int(r.shape[0]))]
