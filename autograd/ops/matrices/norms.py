"""Norms of vectors and matrices, and condition numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import (
    as_constant,
    as_operand,
    device_array,
    normalize_axis,
    value_of,
)
from tapegrad.autograd.ops.distance import guarded_power
from tapegrad.autograd.ops.matrices.singular_values import svdvals
from tapegrad.autograd.ops.matrices.solving import inv

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Axes, Operand

__all__ = ["cond", "matrix_norm", "norm", "vector_norm"]


def _root_of_squares(x: Array, axis: Axes, keepdims: bool) -> Array:
    """√Σ |x|² over `axis`, with the derivative 0 at 0, and the second NaN."""
    return e.guarded_sqrt(r.sum(e.absolute_square(x), axis=axis, keepdims=keepdims))


def _vector_norm(x: Array, order: Any, axis: Axes, keepdims: bool) -> Array:
    order = as_constant(order, "ord")
    if order is None or order == 2 or _is_zero(x, order):
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
    order = float(order)
    # |x|ᵖ is twice differentiable at 0 from order 3 on, though |x| is not.
    powers = guarded_power(x, p=order) if order >= 3 else e.power(e.absolute(x), order)
    powers = r.sum(powers, axis=axis, keepdims=keepdims)
    if order < 1:
        return e.power(powers, 1 / order)
    zero = e.equal(powers, 0)  # derivatives there are those of the order 2
    return e.where(zero, e.guarded_sqrt(powers), e.power(e.where(zero, 1, powers), 1 / order))


def _is_zero(x: Array, order: Any) -> bool:
    """Whether x has no entries, so that its norm, if it is no minimum, is 0."""
    return not x.size and (isinstance(order, str) or order > 0)


def _matrix_norm(x: Array, order: Any, axes: tuple[int, int], keepdims: bool) -> Array:
    order = as_constant(order, "ord")
    first, second = (normalize_axis(a, x.ndim) for a in axes)
    if first == second:
        raise ValueError("norm: the two axes of a matrix are the same")
    if order is None or order in ("fro", "f") or _is_zero(x, order):
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
    x, ord = as_operand(x), as_constant(ord, "ord")
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


def _inverse_or_nan(x: Tensor) -> Tensor:
    """The inverses, NaN for singular matrices."""
    try:
        return inv(x)
    except np.linalg.LinAlgError:
        numbers = value_of(x).reshape(-1, *x.shape[-2:])
        found = np.array([_is_singular(matrix) for matrix in numbers]).reshape(x.shape[:-2])
        singular = device_array(found[..., None, None], x)
        regular = e.where(singular, device_array(np.eye(x.shape[-1], dtype=x.dtype), x), x)
        return e.where(singular, np.nan, inv(regular))


def _is_singular(matrix: np.ndarray) -> bool:
    try:
        np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        return True
    return False


@composite(numpy=np.linalg.cond)
def cond(x: Operand, p: float | str | None = None) -> Tensor:
    """The condition number: largest over smallest singular value, or |x|·|x⁻¹| in the norm p.

    (…, m, n) -> (…), ∞ for singular matrices, and NaN where an entry is.
    """
    x = as_operand(x)
    if p is None or p in (2, -2):
        values = svdvals(x)
        first, last = values[..., 0], values[..., -1]
        y = last / first if p == -2 else first / last
    else:
        y = _matrix_norm(x, p, (-2, -1), keepdims=False) * _matrix_norm(
            _inverse_or_nan(x), p, (-2, -1), keepdims=False
        )
    singular = e.logical_and(e.isnan(y), e.logical_not(r.any(e.isnan(x), axis=(-2, -1))))
    return e.where(singular, np.inf, y)
