"""linalg: products and factors of stacks of matrices, over the last two axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Float, Int
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.operators.constants import beside
from tapegrad.nn.mxnet.operators.shape_rules import all_alike
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["gemm", "potrf", "trsm"]


def _turned(x: Any, transposed: bool) -> Any:
    return ops.swapaxes(x, -1, -2) if transposed else x


def _triangle(x: Any, lower: bool) -> Any:
    return ops.tril(x) if lower else ops.triu(x)


_PRODUCT: dict[str, Any] = {
    "transpose_a": Bool(False),
    "transpose_b": Bool(False),
    "alpha": Float(1.0),
    "axis": Int(-2),
}


def _product(call: Call, first: Tensor, second: Tensor) -> Any:
    a = call.a
    pair = [ops.moveaxis(x, a.axis, -2) if a.axis not in (-2, x.ndim - 2) else x
            for x in (first, second)]  # fmt: skip
    y = ops.matmul(_turned(pair[0], a.transpose_a), _turned(pair[1], a.transpose_b)) * a.alpha
    return y if a.axis in (-2, y.ndim - 2) else ops.moveaxis(y, -2, a.axis)


@operator("_linalg_gemm", "A B C", aliases="linalg_gemm", beta=Float(1.0), **_PRODUCT)
def gemm(call: Call, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """alpha · op(A) · op(B) + beta · C; rows are along `axis`."""
    return _product(call, A, B) + C * call.a.beta


@operator("_linalg_gemm2", "A B", aliases="linalg_gemm2", **_PRODUCT)
def gemm2(call: Call, A: Tensor, B: Tensor) -> Tensor:
    """alpha · op(A) · op(B); rows are along `axis`."""
    return _product(call, A, B)


@operator("_linalg_syrk", "A", aliases="linalg_syrk", transpose=Bool(False), alpha=Float(1.0))
def syrk(call: Call, A: Tensor) -> Tensor:
    """alpha · A · Aᵀ, or alpha · Aᵀ · A with `transpose`."""
    other = _turned(A, True)
    return (ops.matmul(other, A) if call.a.transpose else ops.matmul(A, other)) * call.a.alpha


def _second_alike(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    inputs[1] = outputs[0] = unify(inputs[1], outputs[0])


_TRIANGLE: dict[str, Any] = {
    "transpose": Bool(False),
    "rightside": Bool(False),
    "lower": Bool(True),
    "alpha": Float(1.0),
}


@operator("_linalg_trmm", "A B", aliases="linalg_trmm", shapes=_second_alike, **_TRIANGLE)
def trmm(call: Call, A: Tensor, B: Tensor) -> Tensor:
    """alpha · op(A) · B with a triangular A (B · op(A) with `rightside`)."""
    a = call.a
    factor = _turned(_triangle(A, a.lower), a.transpose)
    return (ops.matmul(B, factor) if a.rightside else ops.matmul(factor, B)) * a.alpha


@operator("_linalg_trsm", "A B", aliases="linalg_trsm", shapes=_second_alike, **_TRIANGLE)
def trsm(call: Call, A: Tensor, B: Tensor) -> Tensor:
    """X of op(A) · X = alpha · B with a triangular A (X · op(A) = alpha · B with `rightside`)."""
    a = call.a
    factor = _turned(_triangle(A, a.lower), a.transpose)
    if a.rightside:
        return _turned(ops.solve(_turned(factor, True), _turned(B * a.alpha, True)), True)
    return ops.solve(factor, B * a.alpha)


@operator("_linalg_potrf", "A", aliases="linalg_potrf", shapes=all_alike, lower=Bool(True))
def potrf(call: Call, A: Tensor) -> Tensor:
    """The triangular L with L · Lᵀ = A, for a symmetric positive A (Lᵀ if not `lower`)."""
    half = (A + _turned(A, True)) / 2
    return _turned(ops.cholesky(half), not call.a.lower)


@operator("_linalg_potri", "A", aliases="linalg_potri", shapes=all_alike, lower=Bool(True))
def potri(call: Call, A: Tensor) -> Tensor:
    """(L · Lᵀ)⁻¹ of a triangular L = A; A is Lᵀ if not `lower`."""
    factor = _turned(_triangle(A, call.a.lower), not call.a.lower)
    inverse = ops.inv(factor)
    return ops.matmul(_turned(inverse, True), inverse)


@operator("_linalg_sumlogdiag", "A", aliases="linalg_sumlogdiag")
def sumlogdiag(call: Call, A: Tensor) -> Tensor:
    """The sum of the logarithms of the diagonal."""
    y = ops.sum(ops.log(ops.diagonal(A, 0, -2, -1)), axis=-1)
    return y if y.shape else y.reshape((1,))


@operator("_linalg_extractdiag", "A", aliases="linalg_extractdiag", offset=Int(0))
def extractdiag(call: Call, A: Tensor) -> Tensor:
    """The diagonal `offset` above the main one: (…, n, n) -> (…, n - |offset|)."""
    return ops.diagonal(A, call.a.offset, -2, -1)


def _diagonal_places(n: int, offset: int) -> tuple[np.ndarray, np.ndarray]:
    along = np.arange(n)
    return along + max(-offset, 0), along + max(offset, 0)


@operator("_linalg_makediag", "A", aliases="linalg_makediag", offset=Int(0))
def makediag(call: Call, A: Tensor) -> Tensor:
    """A matrix with these entries on a diagonal: (…, n) -> (…, n + |offset|, n + |offset|)."""
    n, offset = A.shape[-1], call.a.offset
    size = n + abs(offset)
    rows, columns = _diagonal_places(n, offset)
    hit = np.zeros((n, size * size), np.dtype(A.dtype))
    hit[np.arange(n), rows * size + columns] = 1
    return ops.matmul(ops.expand_dims(A, -2), beside(A, hit)).reshape((*A.shape[:-1], size, size))


def _triangle_places(n: int, offset: int, lower: bool) -> tuple[np.ndarray, np.ndarray]:
    """The places of a triangle, row by row; an offset of the other side's sign cuts it."""
    if offset > 0 or (offset == 0 and not lower):
        return np.triu_indices(n, offset)
    return np.tril_indices(n, offset)


@operator("_linalg_extracttrian", "A", aliases="linalg_extracttrian", offset=Int(0),
          lower=Bool(True))  # fmt: skip
def extracttrian(call: Call, A: Tensor) -> Tensor:
    """The entries of a triangle, row by row: (…, n, n) -> (…, k)."""
    rows, columns = _triangle_places(A.shape[-1], call.a.offset, call.a.lower)
    return A[..., beside(A, rows), beside(A, columns)]


@operator("_linalg_maketrian", "A", aliases="linalg_maketrian", offset=Int(0), lower=Bool(True))
def maketrian(call: Call, A: Tensor) -> Tensor:
    """A matrix with these entries in a triangle, row by row: (…, k) -> (…, n, n)."""
    count, offset = A.shape[-1], abs(call.a.offset)
    n = round((np.sqrt(1 + 8 * count) - 1) / 2) + offset
    rows, columns = _triangle_places(n, call.a.offset, call.a.lower)
    if len(rows) != count:
        raise ValueError(f"{count} entries fill no triangle")
    hit = np.zeros((count, n * n), np.dtype(A.dtype))
    hit[np.arange(count), rows * n + columns] = 1
    return ops.matmul(ops.expand_dims(A, -2), beside(A, hit)).reshape((*A.shape[:-1], n, n))


@operator("_linalg_gelqf", "A", aliases="linalg_gelqf", outputs="output0 output1")
def gelqf(call: Call, A: Tensor) -> list[Tensor]:
    """Q with orthonormal rows and a lower triangular L with L · Q = A; L's diagonal is positive."""
    q, r = ops.qr(_turned(A, True))
    sign = ops.where(ops.less(ops.diagonal(r, 0, -2, -1), 0), -1.0, 1.0)
    sign = ops.cast(ops.expand_dims(sign, -2), dtype=A.dtype)
    return [_turned(q * sign, True), _turned(r, True) * sign]


@operator("_linalg_syevd", "A", aliases="linalg_syevd", outputs="output0 output1")
def syevd(call: Call, A: Tensor) -> list[Tensor]:
    """U, λ with A = Uᵀ · diag(λ) · U for a symmetric A; eigenvectors are the rows of U."""
    found = ops.eigh((A + _turned(A, True)) / 2)
    return [_turned(found.eigenvectors, True), found.eigenvalues]


@operator("_linalg_inverse", "A", aliases="linalg_inverse", shapes=all_alike)
def inverse(call: Call, A: Tensor) -> Tensor:
    """A⁻¹."""
    return ops.inv(A)


@operator("_linalg_det", "A", aliases="linalg_det", hidden=2)
def determinant(call: Call, A: Tensor) -> Tensor:
    """The determinant: (…, n, n) -> (…), (1,) of one matrix."""
    y = ops.det(A)
    return y if y.shape else y.reshape((1,))


@operator("_linalg_slogdet", "A", aliases="linalg_slogdet", outputs="output0 output1", hidden=2)
def slogdet(call: Call, A: Tensor) -> list[Tensor]:
    """The sign of the determinant, and the logarithm of its size."""
    found = ops.slogdet(A)
    return [y if y.shape else y.reshape((1,)) for y in (found.sign, found.logabsdet)]


@operator("khatri_rao", "args", variadic="num_args", num_args=Int())
def khatri_rao(call: Call, *args: Tensor) -> Tensor:
    """Kronecker products column by column: (n, k), (m, k), … -> (n·m·…, k)."""
    y: Any = args[0]
    for x in args[1:]:
        pair = ops.expand_dims(y, 1) * ops.expand_dims(x, 0)
        y = pair.reshape((-1, x.shape[1]))
    return y if len(args) > 1 else y * 1
