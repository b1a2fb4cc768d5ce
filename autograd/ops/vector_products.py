"""Products of vectors, with one another and with matrices: inner, vector, Kronecker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaration import newer_numpy
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import linalg as la
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Operand

__all__ = [
    "cross",
    "kron",
    "linalg_cross",
    "matvec",
    "vdot",
    "vecdot",
    "vecmat",
]


def _conj(x: Array) -> Array:
    return e.conjugate(x) if x.dtype.kind == "c" else x


@composite(numpy=np.vdot)
def vdot(a: Operand, b: Operand) -> Tensor:
    """Σ conj(a)·b over all entries."""
    return la.matmul(s.ravel(e.conjugate(as_operand(a))), s.ravel(as_operand(b)))


@composite(numpy=(np.vecdot, np.linalg.vecdot))
def vecdot(x1: Operand, x2: Operand, *, axis: int = -1) -> Tensor:
    """Σ conj(x1)·x2 along `axis`, with broadcasting."""
    x1, x2 = as_operand(x1), as_operand(x2)
    if axis != -1:
        x1, x2 = s.moveaxis(x1, axis, -1), s.moveaxis(x2, axis, -1)
    y = r.sum(e.conjugate(x1) * x2, axis=-1)
    # Unlike a sum, NumPy's product of integers has their own dtype.
    return y if y.dtype.kind in "fc" else y.astype(np.result_type(x1.dtype, x2.dtype))


@composite(numpy=newer_numpy("matvec"))
def matvec(x1: Operand, x2: Operand) -> Tensor:
    """Matrices times vectors: (…, m, n), (…, n) -> (…, m)."""
    return la.matmul(as_operand(x1), s.expand_dims(as_operand(x2), -1))[..., 0]


@composite(numpy=newer_numpy("vecmat"))
def vecmat(x1: Operand, x2: Operand) -> Tensor:
    """Conjugate vectors times matrices: (…, m), (…, m, n) -> (…, n)."""
    return la.matmul(s.expand_dims(_conj(as_operand(x1)), -2), as_operand(x2))[..., 0, :]


@composite(numpy=np.kron)
def kron(a: Operand, b: Operand) -> Tensor:
    """The Kronecker product: blocks a_ij·b."""
    a, b = as_operand(a), as_operand(b)
    ndim = max(a.ndim, b.ndim)
    first, second = ((1,) * (ndim - x.ndim) + tuple(x.shape) for x in (a, b))
    wide = s.reshape(a, tuple(n for m in first for n in (m, 1)))
    narrow = s.reshape(b, tuple(n for m in second for n in (1, m)))
    return s.reshape(wide * narrow, tuple(p * q for p, q in zip(first, second, strict=True)))


def _cross(a: Array, b: Array) -> Array:
    """The vector product along the last axis."""
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise ShapeError("cross: both operands must have vectors of 3 components")
    (a0, a1, a2), (b0, b1, b2) = ([x[..., i] for i in range(3)] for x in (a, b))
    return s.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], -1)


@composite(numpy=np.cross)
def cross(
    a: Operand,
    b: Operand,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Tensor:
    """The vector product of vectors of 3 components, with broadcasting."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = s.moveaxis(as_operand(a), axisa, -1), s.moveaxis(as_operand(b), axisb, -1)
    return s.moveaxis(_cross(a, b), -1, axisc)


@composite(numpy=np.linalg.cross)
def linalg_cross(x1: Operand, x2: Operand, *, axis: int = -1) -> Tensor:
    """The vector product along `axis`."""
    return cross(x1, x2, axis=axis)
