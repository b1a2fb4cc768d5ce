"""Solving linear equations, and inverses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.batch_rules import align_samples, leading_axes_rule, ndim_of
from tapegrad.autograd.ops.matrices.stacks import check_square, column, row, transpose_matrices

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand, Shape

__all__ = ["inv", "solve", "tensorinv", "tensorsolve"]


@primitive(numpy=np.linalg.solve)
def solve(xp: Namespace, a: Array, b: Array) -> Array:
    """x with a @ x = b: (…, n, n), (…, n, k) -> (…, n, k), or a vector b (n,) -> (…, n).

    Raises LinAlgError when a matrix is singular.
    """
    return xp.linalg.solve(a, b)


def _solve_b(g: Array, a: Array, b_shape: Shape) -> Array:
    if len(b_shape) == 1:
        return solve(transpose_matrices(a), column(g))[..., 0]
    return solve(transpose_matrices(a), g)


def _solve_a(g: Array, a: Array, b_shape: Shape, y: Array) -> Array:
    if len(b_shape) == 1:
        return -(column(_solve_b(g, a, b_shape)) * row(y))
    return -(solve(transpose_matrices(a), g) @ transpose_matrices(y))


solve.vjp(a=_solve_a, b=_solve_b)


def _solve_tangent(t: Array, a: Array, b_shape: Shape, y: Array) -> Array:
    if len(b_shape) == 1:
        return -solve(a, t @ column(y))[..., 0]
    return -solve(a, t @ y)


solve.jvp(a=_solve_tangent, b=lambda t, a: solve(a, t))


@solve.batch
def _solve_batch(a: Array, b: Array, batched: tuple[bool, bool]) -> Array:
    ndim_a, ndim_b = ndim_of(a, batched[0]), ndim_of(b, batched[1])
    if ndim_b > 1:
        ndim = max(ndim_a, ndim_b)
        return solve(
            align_samples(a, ndim) if batched[0] else a, align_samples(b, ndim) if batched[1] else b
        )
    if ndim_a == 2 and not batched[0]:  # one factorization for all samples
        return s.transpose(solve(a, s.transpose(b)))
    columns = s.expand_dims(b, -1)
    y = solve(a, align_samples(columns, ndim_a) if batched[1] else columns)
    return s.reshape(y, y.shape[:-1])


@primitive(numpy=np.linalg.inv)
def inv(xp: Namespace, a: Array) -> Array:
    """The inverse matrices.  Raises LinAlgError when one is singular."""
    return xp.linalg.inv(a)


inv.vjp(a=lambda g, y: -(transpose_matrices(y) @ g @ transpose_matrices(y)))
inv.jvp(a=lambda t, y: -(y @ t @ y))
inv.batch(leading_axes_rule)


@composite(numpy=np.linalg.tensorsolve)
def tensorsolve(a: Operand, b: Operand, axes: Sequence[int] | None = None) -> Tensor:
    """x with Σ a·x = b over the trailing axes of a, as many as make a square matrix of it."""
    a, b = as_operand(a), as_operand(b)
    if axes is not None:
        order = [i for i in range(a.ndim) if i not in axes] + list(axes)
        a = s.transpose(a, tuple(order))
    shape = tuple(a.shape[b.ndim :])
    matrix = s.reshape(a, (b.size, -1))
    check_square(matrix, "tensorsolve")
    return s.reshape(solve(matrix, s.ravel(b)), shape)


@composite(numpy=np.linalg.tensorinv)
def tensorinv(a: Operand, ind: int = 2) -> Tensor:
    """The inverse of a as a map from its last axes to its first `ind`.

    Raises ValueError for an `ind` that is not positive.
    """
    a = as_operand(a)
    if ind <= 0:
        raise ValueError(f"tensorinv: ind is {ind}, not positive")
    shape = (*a.shape[ind:], *a.shape[:ind])
    matrix = s.reshape(a, (int(np.prod(a.shape[:ind], dtype=int)), -1))
    check_square(matrix, "tensorinv")
    return s.reshape(inv(matrix), shape)
