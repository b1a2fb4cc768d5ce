"""tapegrad.scipy.sparse: products with sparse matrices, and sparse systems of equations.

A matrix of SciPy is a constant; `with_data` makes one whose stored entries are a Tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.scipy.declaring import operation, scipy_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand, Shape

__all__ = ["SparseTensor", "matmul", "spsolve", "with_data"]

NOT_SPARSE = "{name} takes a matrix of scipy.sparse or of with_data, and not {given}"
SCALED = "a matrix of shape {shape} times an array of shape {other}"
COUNT = "with_data: the matrix stores {stored} entries, and data has shape {shape}"


class Pattern:
    """Where the stored entries of a matrix are; `turned` is that of the transposed matrix."""

    def __init__(self, rows: Any, columns: Any, shape: tuple[int, int]) -> None:
        self.rows, self.columns, self.shape = rows, columns, shape

    @property
    def turned(self) -> Pattern:
        """The pattern of the transposed matrix."""
        return Pattern(self.columns, self.rows, self.shape[::-1])

    def matrix(self, data: Any, form: str = "csr") -> Any:
        """SciPy's matrix of these entries; those at one place are added."""
        made = scipy_module("sparse").coo_array((data, (self.rows, self.columns)), self.shape)
        return made.asformat(form)


@operation()
def _product(xp: Namespace, data: Array, x: Array, *, pattern: Pattern) -> Array:
    """The matrix times x (n, k)."""
    return np.asarray(pattern.matrix(data) @ x)


def _of_entries(g: Array, x: Array, pattern: Pattern) -> Array:
    """The cotangent of the stored entries: (g xᵀ) at their places."""
    return r.sum(g[pattern.rows] * x[pattern.columns], axis=1)


_product.vjp(
    data=lambda g, x, pattern: _of_entries(g, x, pattern),
    x=lambda g, data, pattern: _product(data, g, pattern=pattern.turned),
)


@operation()
def _solution_of(xp: Namespace, data: Array, b: Array, *, pattern: Pattern) -> Array:
    """x (n, k) with the matrix times x = b (n, k)."""
    factors = scipy_module("sparse.linalg").splu(pattern.matrix(data, "csc"))
    return np.asarray(factors.solve(np.ascontiguousarray(b, dtype=factors.L.dtype)))


_solution_of.vjp(
    data=lambda g, data, pattern, y: (
        -_of_entries(_solution_of(data, g, pattern=pattern.turned), y, pattern)
    ),
    b=lambda g, data, pattern: _solution_of(data, g, pattern=pattern.turned),
)


class SparseTensor:
    """A sparse matrix whose stored entries are an array or a Tensor; made by `with_data`.

    data (k,), in the order of the matrix's coordinates (`A.tocoo()`).  ``A @ x``, ``x @ A``,
    ``t * A``, ``A / t``, ``A.sum()`` and ``A.T`` are as of SciPy's sparse arrays.
    """

    def __init__(self, data: Operand, pattern: Pattern) -> None:
        self.data = as_operand(data)
        self.pattern = pattern

    @property
    def shape(self) -> Shape:
        """(rows, columns)."""
        return self.pattern.shape

    @property
    def T(self) -> SparseTensor:
        """The transposed matrix."""
        return SparseTensor(self.data, self.pattern.turned)

    def __matmul__(self, x: Operand) -> Tensor:
        return matmul(self, x)

    def __rmatmul__(self, x: Operand) -> Tensor:
        return matmul(x, self)

    def dot(self, x: Operand) -> Tensor:
        """The product with a vector or a matrix: ``A @ x``."""
        return matmul(self, x)

    def __mul__(self, x: Operand) -> SparseTensor:
        """The product with each stored entry: of a number, or of an array of the matrix's shape.

        Raises ShapeError for shapes that cannot be broadcast to the matrix's.
        """
        factor = as_operand(x)
        if len(factor.shape):
            try:
                wide = s.broadcast_to(factor, self.shape)
            except ValueError:
                raise ShapeError(SCALED.format(shape=self.shape, other=factor.shape)) from None
            factor = wide[self.pattern.rows, self.pattern.columns]
        return SparseTensor(self.data * factor, self.pattern)

    __rmul__ = __mul__
    __array_ufunc__ = None  # so that arrays leave the operator to these methods

    def __truediv__(self, x: Operand) -> SparseTensor:
        return self * (1 / as_operand(x))

    def __neg__(self) -> SparseTensor:
        return SparseTensor(-self.data, self.pattern)

    def sum(self, axis: int | None = None) -> Tensor:
        """The sum of all entries, or along an axis of the dense matrix: (columns,) or (rows,)."""
        if axis is None:
            return r.sum(self.data)
        ones = np.ones(self.shape[0 if axis in (0, -2) else 1], self.data.dtype)
        return ones @ self if axis in (0, -2) else self @ ones

    def toarray(self) -> Tensor:
        """The dense matrix."""
        return self @ np.eye(self.shape[1])

    def __repr__(self) -> str:
        return f"SparseTensor(shape={self.shape}, {len(self.pattern.rows)} stored entries)"


def with_data(matrix: Any, data: Operand | None = None) -> SparseTensor:
    """The matrix with other stored entries, (k,) in the order of its `tocoo()`; its own for None.

    Raises TypeError for what is no matrix of scipy.sparse, ShapeError for another number of data.
    """
    if not scipy_module("sparse").issparse(matrix):
        raise TypeError(NOT_SPARSE.format(name="with_data", given=type(matrix).__name__))
    entries = matrix.tocoo()
    rows, columns = matrix.shape
    pattern = Pattern(entries.row, entries.col, (int(rows), int(columns)))
    if data is None:
        return SparseTensor(entries.data, pattern)
    if np.shape(data) != (len(entries.data),):
        raise ShapeError(COUNT.format(stored=len(entries.data), shape=np.shape(data)))
    return SparseTensor(data, pattern)


def _entries(matrix: Any, name: str) -> SparseTensor:
    if isinstance(matrix, SparseTensor):
        return matrix
    if not scipy_module("sparse").issparse(matrix):
        raise TypeError(NOT_SPARSE.format(name=name, given=type(matrix).__name__))
    return with_data(matrix)


def matmul(a: Any, b: Any) -> Tensor:
    """a @ b, where a or b is a sparse matrix and the other a vector or a matrix, dense.

    Raises TypeError where neither is sparse, ShapeError for shapes that do not fit.
    """
    if scipy_module("sparse").issparse(b) or isinstance(b, SparseTensor):
        turned = matmul(_entries(b, "matmul").T, s.transpose(as_operand(a)))
        return s.transpose(turned)
    matrix, x = _entries(a, "matmul"), as_operand(b)
    if len(x.shape) not in (1, 2) or x.shape[0] != matrix.shape[1]:
        raise ShapeError(f"matmul: the matrix is {matrix.shape}, the other {x.shape}")
    columns = s.reshape(x, (-1, 1)) if len(x.shape) == 1 else x
    y = _product(matrix.data, columns, pattern=matrix.pattern)
    return s.reshape(y, (-1,)) if len(x.shape) == 1 else y


def spsolve(A: Any, b: Operand) -> Tensor:
    """x with A x = b, of a sparse square A; b (n,) or (n, k) -> b's shape.

    Raises RuntimeError where A is singular.
    """
    matrix, b = _entries(A, "spsolve"), as_operand(b)
    if matrix.shape[0] != matrix.shape[1] or b.shape[0] != matrix.shape[0]:
        raise ShapeError(f"spsolve: the matrix is {matrix.shape}, b {b.shape}")
    columns = s.reshape(b, (-1, 1)) if len(b.shape) == 1 else b
    x = _solution_of(matrix.data, columns, pattern=matrix.pattern)
    return s.reshape(x, (-1,)) if len(b.shape) == 1 else x


def _scaled(a: Any, b: Any) -> Any:
    """a * b, of SciPy's sparse array with what the Tensor is, of its matrix the matrix product."""
    is_left = scipy_module("sparse").issparse(a)
    matrix, x = (a, b) if is_left else (b, a)
    if scipy_module("sparse").isspmatrix(matrix) and len(np.shape(x)):
        return matmul(a, b)
    return _entries(matrix, "multiply") * x


def _divided(a: Any, b: Any) -> Any:
    if scipy_module("sparse").issparse(b):
        raise TypeError("a Tensor divided by a sparse matrix has infinite entries; see b.toarray()")
    return _entries(a, "divide") / b


_OPERATORS = {"matmul": matmul, "multiply": _scaled, "divide": _divided}


def operator_of(operation: str, other: Any) -> Callable[[Any, Any], Any] | None:
    """The function of both operands of an operator that met `other`, a matrix of scipy.sparse.

    operation: the primitive's name.  None for what matrices have no answer to.
    """
    return _OPERATORS.get(operation) if scipy_module("sparse").issparse(other) else None
