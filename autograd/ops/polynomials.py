"""NumPy's polynomials as vectors of coefficients, highest power first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.core.mode import is_followed
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import (
    as_floating,
    as_operand,
    device_array,
    value_of,
    wrap_like,
)
from tapegrad.autograd.ops.facts import zeros_like
from tapegrad.autograd.ops.matrices import eigvals, inv, lstsq, pinv
from tapegrad.autograd.ops.vector_convolution import convolve

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Operand

__all__ = [
    "poly",
    "polyadd",
    "polyder",
    "polydiv",
    "polyfit",
    "polyint",
    "polymul",
    "polysub",
    "polyval",
    "roots",
    "vander",
]


def _coefficients(p: Operand) -> Tensor:
    """The coefficients p as a vector."""
    p = as_operand(p)
    return p if p.ndim else s.reshape(p, (1,))


def _pad_front(a: Array, n: int) -> Tensor:
    """The vector a with zeros in front, so that it has at least n entries."""
    return s.pad(a, ((n - a.shape[0], 0),)) if a.shape[0] < n else a


@composite(numpy=np.polyval)
def polyval(p: Operand, x: Operand) -> Tensor:
    """The value at x, by Horner's rule."""
    p, x = _coefficients(p), as_operand(x)
    y: Any = zeros_like(x)
    for i in range(p.shape[0]):
        y = y * x + p[i]
    return y


@composite(numpy=np.polyadd)
def polyadd(a1: Operand, a2: Operand) -> Tensor:
    """The coefficients of the sum."""
    a1, a2 = _coefficients(a1), _coefficients(a2)
    n = max(a1.shape[0], a2.shape[0])
    return _pad_front(a1, n) + _pad_front(a2, n)


@composite(numpy=np.polysub)
def polysub(a1: Operand, a2: Operand) -> Tensor:
    """The coefficients of the difference."""
    a1, a2 = _coefficients(a1), _coefficients(a2)
    n = max(a1.shape[0], a2.shape[0])
    return _pad_front(a1, n) - _pad_front(a2, n)


@composite(numpy=np.polymul)
def polymul(a1: Operand, a2: Operand) -> Tensor:
    """The coefficients of the product, without leading zeros of the factors."""
    return convolve(_trim_leading_zeros(_coefficients(a1)), _trim_leading_zeros(_coefficients(a2)))


def _trim_leading_zeros(a: Array) -> Tensor:
    """The vector a without the zeros in front; its last entry always stays."""
    nonzero = np.flatnonzero(value_of(a))
    return a[int(nonzero[0]) :] if len(nonzero) else a[-1:]


@composite(numpy=np.polydiv)
def polydiv(u: Operand, v: Operand) -> tuple[Tensor, Tensor]:
    """(quotient, remainder) of two polynomials."""
    u, v = _coefficients(u) * 1.0, _coefficients(v) * 1.0
    dtype = np.result_type(u.dtype, v.dtype)
    u, v = (x if x.dtype == dtype else e.cast(x, dtype=dtype) for x in (u, v))
    m, n = u.shape[0] - 1, v.shape[0] - 1
    quotient = []
    rest = u
    for _ in range(m - n + 1):
        factor = rest[0] / v[0]
        quotient.append(factor)
        head = rest[1 : n + 1] - factor * v[1:]
        rest = s.concatenate([head, rest[n + 1 :]], 0)
    if not quotient:
        return u[:1] * 0, u
    numbers = value_of(rest)
    start = 0
    while start < rest.shape[0] - 1 and np.isclose(numbers[start], 0, rtol=1e-14):
        start += 1
    rest = rest[start:] if rest.shape[0] else u[:1] * 0
    return s.stack(quotient), rest


@composite(numpy=np.polyder)
def polyder(p: Operand, m: int = 1) -> Tensor:
    """The coefficients of the m-th derivative."""
    y = _coefficients(p)
    if y.dtype.kind not in "fc":
        y = y.astype(np.promote_types(y.dtype, np.int64))
    for _ in range(m):
        n = y.shape[0] - 1
        y = y[:-1] * device_array(np.arange(n, 0, -1), y)
    return y


@composite(numpy=np.polyint)
def polyint(p: Operand, m: int = 1, k: float | Sequence[float] | None = None) -> Tensor:
    """The coefficients of the m-th integral, with the constants k (0 when None)."""
    y = as_floating(_coefficients(p))
    constants = [0.0] * m if k is None else list(np.broadcast_to(np.atleast_1d(k), (m,)))
    for last in constants:
        n = y.shape[0]
        y = y / device_array(np.arange(n, 0, -1), y)
        y = s.concatenate([y, device_array(np.array([last], dtype=y.dtype), y)], 0)
    return y


@composite(numpy=np.poly)
def poly(seq_of_zeros: Operand) -> Tensor:
    """The coefficients of the polynomial with these roots, or of a matrix's characteristic one."""
    zeros = as_floating(seq_of_zeros)
    if zeros.ndim == 2:
        zeros = eigvals(zeros)
    y = zeros[:1] * 0 + 1
    for i in range(zeros.shape[0]):
        y = s.pad(y, ((0, 1),)) - s.pad(y * zeros[i], ((1, 0),))
    if y.dtype.kind == "c" and not is_followed():
        numbers = np.sort(value_of(zeros))
        if np.array_equal(numbers, np.sort(numbers.conj())):  # roots in pairs: real coefficients
            return e.real(y)
    return y


@composite(numpy=np.roots)
def roots(p: Operand) -> Tensor:
    """The roots, as eigenvalues of the companion matrix; differentiable where they are distinct."""
    p = _coefficients(p)
    nonzero = np.flatnonzero(value_of(p))
    if not len(nonzero):
        return p[:0]
    trailing = p.shape[0] - 1 - int(nonzero[-1])
    p = p[int(nonzero[0]) : int(nonzero[-1]) + 1]
    n = p.shape[0] - 1
    if n < 1:
        return device_array(np.zeros(trailing, dtype=p.dtype), p) + p[:1] * 0
    top = s.reshape(-(p[1:] / p[0]), (1, n))
    below = device_array(np.eye(n - 1, n, dtype=p.dtype), p)
    y = eigvals(s.concatenate([top, below], 0))
    if not trailing:
        return y
    return s.concatenate([y, device_array(np.zeros(trailing, dtype=y.dtype), y)], 0)


@composite(numpy=np.vander)
def vander(x: Operand, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of the vector x as columns, falling unless `increasing`."""
    x = as_operand(x)
    if (common := np.promote_types(x.dtype, np.int64)) != x.dtype:  # NumPy's choice
        x = x.astype(common)
    count = x.shape[0] if N is None else N
    columns = [s.broadcast_to(wrap_like(np.ones((), x.dtype), x), tuple(x.shape))]  # of NaN too
    for _ in range(count - 1):
        columns.append(columns[-1] * x if len(columns) > 1 else x)
    columns = columns[:count] if increasing else columns[:count][::-1]
    return s.stack(columns, 1) if count > 0 else s.reshape(x[:0], (x.shape[0], 0))


@composite(numpy=np.polyfit)
def polyfit(
    x: Operand,
    y: Operand,
    deg: int,
    rcond: float | None = None,
    full: bool = False,
    w: Operand | None = None,
    cov: bool | str = False,
) -> Any:
    """The coefficients of the polynomial of degree `deg` with the least squared error at x.

    x: (m,), y: (m,) or (m, k) -> (deg + 1,) or (deg + 1, k)
    rcond: singular values below this times the largest count as 0; m times the precision of x
    full:  return (coefficients, residuals, rank, singular values, rcond)
    w:     weights of the (not squared) errors
    cov:   return (coefficients, their covariances); "unscaled" without the variance of the errors
    Raises ShapeError for points and values that do not fit, ValueError where the points are too few
    for the covariances.
    """
    x, y, count = as_floating(x), as_operand(y), int(deg) + 1
    if count < 1:
        raise ValueError(f"polyfit: the degree {deg} is negative")
    if x.ndim != 1 or y.ndim not in (1, 2) or not x.size or y.shape[0] != x.shape[0]:
        raise ShapeError(f"polyfit: x {tuple(x.shape)} and y {tuple(y.shape)} do not fit")
    y = y * 1.0
    matrix = vander(x, count)
    if w is not None:
        w = as_floating(w)
        matrix = matrix * s.reshape(w, (-1, 1))
        y = y * (w if y.ndim == 1 else s.reshape(w, (-1, 1)))
    scale = e.sqrt(r.sum(e.square(matrix), axis=0))
    limit = x.shape[0] * float(np.finfo(x.dtype).eps) if rcond is None else rcond
    lhs = matrix / scale
    if full:
        scaled, residuals, rank, values = lstsq(lhs, y, limit)
    else:
        scaled = pinv(lhs, limit) @ y
    coefficients = scaled / (scale if y.ndim == 1 else s.reshape(scale, (-1, 1)))
    if full:
        return coefficients, residuals, rank, values, limit
    if not cov:
        return coefficients
    covariances = inv(s.transpose(lhs) @ lhs) / (s.reshape(scale, (-1, 1)) * scale)
    if cov == "unscaled":
        factor: Any = 1.0
    else:
        free = x.shape[0] - count
        if free <= 0:
            raise ValueError(f"polyfit: {x.shape[0]} points are too few to scale the covariances")
        factor = r.sum(e.square(y - lhs @ scaled), axis=0) / free
    if y.ndim == 1:
        return coefficients, covariances * factor
    return coefficients, s.expand_dims(covariances, -1) * factor
