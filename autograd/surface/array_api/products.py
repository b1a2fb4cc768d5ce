"""Products of vectors and matrices, which both the main namespace and `linalg` have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tapegrad.autograd.ops import linalg as la
from tapegrad.autograd.ops import rearranging, vector_products

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["matmul", "matrix_transpose", "tensordot", "vecdot"]

matmul = la.matmul

ALONG = "vecdot: axis={axis} is not one of the last {n}, which both operands have"


def matrix_transpose(x: Tensor, /) -> Tensor:
    """The last two axes exchanged.  Raises ValueError for x of fewer."""
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose: x has shape {x.shape}, but matrices have two axes")
    return rearranging.matrix_transpose(x)


def tensordot(
    x1: Tensor,
    x2: Tensor,
    /,
    *,
    axes: int | tuple[Sequence[int], Sequence[int]] = 2,
) -> Tensor:
    """Σ x1·x2 over the last `axes` axes of x1 and the first of x2, or over two lists of axes."""
    return la.tensordot(x1, x2, axes)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Σ conj(x1)·x2 along `axis`; the other axes broadcast.

    axis: -1 for the last one, -2, …; both operands have it
    Raises ValueError for another axis.
    """
    n = min(x1.ndim, x2.ndim)
    if not -n <= axis < n:
        raise ValueError(ALONG.format(axis=axis, n=n))
    return vector_products.vecdot(x1, x2, axis=axis)
