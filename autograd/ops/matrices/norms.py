"""Norms of vectors and matrices, and condition numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, normalize_axis
from tapegrad.autograd.ops.matrices.singular_values import svdvals
from tapegrad.autograd.ops.matrices.solving import inv

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Axes, Operand

__all__ = ["cond", "matrix_norm", "norm", "vector_norm"]


def _root_of_squares(x: Array, axis: Axes, keepdims: bool) -> Array:
    """√Σ |x|² over `axis`, with the derivative 0 at 0."""
    squares = r.sum(e.absolute_square(x), axis=axis, keepdims=keepdims)
    zero = e.equal(squares, 0)
    return e.where(zero, 0, e.sqrt(e.where(zero, 1, squares)))


def _vector_norm(x: Array, order: Any, axis: Axes, keepdims: bool) -> Array:
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


def _matrix_norm(x: Array, order: Any, axes: tuple[int, int], keepdims: bool) -> Array:
    first, second = (normalize_axis(a, x.ndim) for a in axes)
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
def norm(
    x: Operand, ord: float | str | None = None, axis: Axes = None, keepdims: bool = False
) -> Tensor:
    """A norm of vectors along one axis, or of matrices in two; the 2-norm of all entries if None.

    The derivative of a 2-norm at 0 is taken as 0.
    Raises ValueError without `axis` where x is neither vector nor matrix.
    """
    x = as_operand(x)
    if axis is None:
        if ord is None or (ord in ("fro", "f") and x.ndim == 2) or (ord == 2 and x.ndim == 1):
            return _root_of_squares(x, None, keepdims)
        if x.ndim not in (1, 2):
            raise ValueError("norm: give the axis of an array that is neither vector nor matrix")
        axis = (0, 1) if x.ndim == 2 else 0
    axes = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    if len(axes) == 1:
        return _vector_norm(x, ord, int(axes[0]), keepdims)
    first, second = axes
    return _matrix_norm(x, ord, (first, second), keepdims)


@composite(numpy=np.linalg.vector_norm)
def vector_norm(
    x: Operand, *, axis: Axes = None, ord: float | str | None = 2, keepdims: bool = False
) -> Tensor:
    """A norm of the entries over `axis`, all of them when None."""
    x = as_operand(x)
    if axis is None:
        shape = (1,) * x.ndim
        y = _vector_norm(s.ravel(x), ord, 0, keepdims=False)
        return s.reshape(y, shape) if keepdims else y
    return _vector_norm(x, ord, axis, keepdims)


@composite(numpy=np.linalg.matrix_norm)
def matrix_norm(x: Operand, *, keepdims: bool = False, ord: float | str | None = "fro") -> Tensor:
    """A norm of the matrices (…, m, n)."""
    x = as_operand(x)
    return _matrix_norm(x, ord, (-2, -1), keepdims)


@composite(numpy=np.linalg.cond)
def cond(x: Operand, p: float | str | None = None) -> Tensor:
    """The condition number: largest over smallest singular value, or |x|·|x⁻¹| in the norm p."""
    x = as_operand(x)
    if p is None or p in (2, -2):
        values = svdvals(x)
        first, last = values[..., 0], values[..., -1]
        return last / first if p == -2 else first / last
    return _matrix_norm(x, p, (-2, -1), keepdims=False) * _matrix_norm(
        inv(x), p, (-2, -1), keepdims=False
    )
