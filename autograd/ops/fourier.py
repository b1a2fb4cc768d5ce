"""Discrete Fourier transforms: NumPy's `fft` in four primitives, the others composed of them.

The transform's matrix is symmetric, and cotangents pair without a conjugate (`elementwise/`), so
the rule of a transform is the same transform.  Lengths are cut or padded before it, by a call of
its own.  norm is "backward" (default), "ortho" or "forward", as in NumPy; results are complex64 for
float32 and complex128 for float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, normalize_axis
from tapegrad.autograd.ops.batch_rules import axes_rule, axis_in_batch
from tapegrad.autograd.ops.rearranging import roll

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand, Shape

__all__ = [
    "double_interior",
    "fft",
    "fft2",
    "fftn",
    "fftshift",
    "forward_transform",
    "half_transform",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "inverse_half_transform",
    "inverse_transform",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftn",
]

_OPPOSITE = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


@primitive
def forward_transform(xp: Namespace, x: Array, *, axes: tuple[int, ...], norm: str) -> Array:
    """y_k = Σ_j x_j exp(-2πi·jk/n) over each of `axes`, scaled by `norm`; complex."""
    return xp.fft.fftn(x, axes=axes, norm=norm)


@primitive
def inverse_transform(xp: Namespace, x: Array, *, axes: tuple[int, ...], norm: str) -> Array:
    """y_k = (1/n) Σ_j x_j exp(2πi·jk/n) over each of `axes`, scaled by `norm`; complex."""
    return xp.fft.ifftn(x, axes=axes, norm=norm)


forward_transform.vjp(x=lambda g, axes, norm: forward_transform(g, axes, norm))
forward_transform.jvp(x=lambda t, axes, norm: forward_transform(t, axes, norm))
forward_transform.batch(
    lambda x, axes, norm: forward_transform(x, axis_in_batch(axes, x.ndim - 1), norm)
)
inverse_transform.vjp(x=lambda g, axes, norm: inverse_transform(g, axes, norm))
inverse_transform.jvp(x=lambda t, axes, norm: inverse_transform(t, axes, norm))
inverse_transform.batch(
    lambda x, axes, norm: inverse_transform(x, axis_in_batch(axes, x.ndim - 1), norm)
)


@primitive
def half_transform(xp: Namespace, x: Array, *, axis: int, norm: str) -> Array:
    """The first n // 2 + 1 entries of the forward transform of real x along `axis`."""
    return xp.fft.rfft(x, axis=axis, norm=norm)


@primitive
def inverse_half_transform(xp: Namespace, x: Array, *, length: int, axis: int, norm: str) -> Array:
    """The real array of `length` along `axis` whose `half_transform` is x."""
    return xp.fft.irfft(x, n=length, axis=axis, norm=norm)


@primitive
def double_interior(xp: Namespace, x: Array, *, length: int, axis: int) -> Array:
    """x with the entries doubled that stand for two of the full transform of `length`."""
    y = x + x
    index: list[Any] = [slice(None)] * x.ndim
    for single in (0,) if length % 2 else (0, length // 2):
        index[axis] = single
        y[tuple(index)] = x[tuple(index)]
    return y


double_interior.vjp(x=lambda g, length, axis: double_interior(g, length, axis))
double_interior.jvp(x=lambda t, length, axis: double_interior(t, length, axis))
double_interior.batch(axes_rule)


def _half_rule(g: Array, x_shape: Shape, axis: int, norm: str) -> Array:
    # The sweep keeps the real part: x is real.
    return forward_transform(_resize(g, x_shape[axis], axis), (axis,), norm)


def _inverse_half_rule(g: Array, length: int, axis: int, norm: str) -> Array:
    y = e.conjugate(half_transform(g, axis, _OPPOSITE[norm]))
    return double_interior(y, length, axis)


half_transform.vjp(x=_half_rule)
half_transform.jvp(x=lambda t, axis, norm: half_transform(t, axis, norm))
half_transform.batch(axes_rule)
inverse_half_transform.vjp(x=_inverse_half_rule)
inverse_half_transform.jvp(
    x=lambda t, length, axis, norm: inverse_half_transform(t, length, axis, norm)
)
inverse_half_transform.batch(axes_rule)


def _resize(x: Array, n: int | None, axis: int) -> Array:
    """x cut or padded with zeros at the end of `axis`."""
    if n is None or x.shape[axis] == n:
        return x
    if n < 1:
        raise ValueError(f"a transform needs at least one point, n is {n}")
    axis = normalize_axis(axis, x.ndim)
    if x.shape[axis] > n:
        return x[(slice(None),) * axis + (slice(n),)]
    return s.pad(x, tuple((0, n - x.shape[i] if i == axis else 0) for i in range(x.ndim)))


def _resize_axes(
    a: Tensor, lengths: Sequence[int] | None, axes: Sequence[int] | None
) -> tuple[Tensor, tuple[int, ...]]:
    """The array cut or padded to `lengths` along `axes`, and these axes counted from 0."""
    if axes is None:
        axes = range(a.ndim) if lengths is None else range(a.ndim - len(lengths), a.ndim)
    axes = tuple(normalize_axis(axis, a.ndim) for axis in axes)
    if lengths is not None:
        for n, axis in zip(lengths, axes, strict=True):
            a = _resize(a, None if n == -1 else n, axis)
    return a, axes


@composite(numpy=np.fft.fftn)
def fftn(
    a: Operand,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Tensor:
    """The forward transform over `axes` (all when None), cut or padded to the lengths `s`."""
    a, axes = _resize_axes(as_operand(a), s, axes)
    return forward_transform(a, axes, norm or "backward")


@composite(numpy=np.fft.ifftn)
def ifftn(
    a: Operand,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Tensor:
    """The inverse transform over `axes` (all when None), cut or padded to the lengths `s`."""
    a, axes = _resize_axes(as_operand(a), s, axes)
    return inverse_transform(a, axes, norm or "backward")


@composite(numpy=np.fft.fft2)
def fft2(
    a: Operand,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = (-2, -1),
    norm: str | None = None,
) -> Tensor:
    """The forward transform over the last two axes."""
    return fftn(a, s, axes, norm)


@composite(numpy=np.fft.ifft2)
def ifft2(
    a: Operand,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = (-2, -1),
    norm: str | None = None,
) -> Tensor:
    """The inverse transform over the last two axes."""
    return ifftn(a, s, axes, norm)


@composite(numpy=np.fft.fft)
def fft(a: Operand, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The forward transform along `axis`, of x cut or padded to n points."""
    return fftn(a, None if n is None else (n,), (axis,), norm)


@composite(numpy=np.fft.ifft)
def ifft(a: Operand, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse transform along `axis`, of x cut or padded to n points."""
    return ifftn(a, None if n is None else (n,), (axis,), norm)


@composite(numpy=np.fft.rfft)
def rfft(a: Operand, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The forward transform of real x along `axis`: (…, n) -> (…, n // 2 + 1)."""
    a = as_operand(a)
    axis = normalize_axis(axis, a.ndim)
    return half_transform(_resize(a, n, axis), axis, norm or "backward")


@composite(numpy=np.fft.irfft)
def irfft(a: Operand, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `rfft`, real: (…, n // 2 + 1) -> (…, n), n even unless given.

    Raises ValueError for an n below 1.
    """
    a = as_operand(a)
    axis = normalize_axis(axis, a.ndim)
    length = 2 * (a.shape[axis] - 1) if n is None else n
    if length < 1:
        raise ValueError(f"a transform needs at least one point, n is {length}")
    return inverse_half_transform(
        _resize(a, length // 2 + 1, axis), length, axis, norm or "backward"
    )


@composite(numpy=np.fft.rfftn)
def rfftn(
    a: Operand,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Tensor:
    """`rfft` along the last of `axes`, then the forward transform over the others."""
    a, axes = _resize_axes(as_operand(a), s, axes)
    y = rfft(a, None, axes[-1], norm)
    return fftn(y, None, axes[:-1], norm) if len(axes) > 1 else y


@composite(numpy=np.fft.irfftn)
def irfftn(
    a: Operand,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Tensor:
    """The inverse of `rfftn`, real."""
    a = as_operand(a)
    if axes is None:
        axes = range(a.ndim) if s is None else range(a.ndim - len(s), a.ndim)
    axes = tuple(normalize_axis(axis, a.ndim) for axis in axes)
    first = None if s is None else tuple(s[:-1])
    y = ifftn(a, first, axes[:-1], norm) if len(axes) > 1 else a
    return irfft(y, None if s is None or s[-1] == -1 else s[-1], axes[-1], norm)


@composite(numpy=np.fft.rfft2)
def rfft2(
    a: Operand,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = (-2, -1),
    norm: str | None = None,
) -> Tensor:
    """`rfftn` over the last two axes."""
    return rfftn(a, s, axes, norm)


@composite(numpy=np.fft.irfft2)
def irfft2(
    a: Operand,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = (-2, -1),
    norm: str | None = None,
) -> Tensor:
    """`irfftn` over the last two axes."""
    return irfftn(a, s, axes, norm)


@composite(numpy=np.fft.hfft)
def hfft(a: Operand, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The transform, real, of a signal with Hermitian symmetry, of which a is the first half."""
    return irfft(e.conjugate(as_operand(a)), n, axis, _OPPOSITE[norm or "backward"])


@composite(numpy=np.fft.ihfft)
def ihfft(a: Operand, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `hfft`."""
    return e.conjugate(rfft(a, n, axis, _OPPOSITE[norm or "backward"]))


def _roll_half(x: Operand, axes: int | Sequence[int] | None, sign: int) -> Tensor:
    """x rolled by half the length of each of `axes`, forwards or (sign -1) backwards."""
    x = as_operand(x)
    rolled = range(x.ndim) if axes is None else (axes,) if isinstance(axes, int) else axes
    shifts = tuple(x.shape[a] // 2 if sign > 0 else -(x.shape[a] // 2) for a in rolled)
    return roll(x, shifts, tuple(rolled))


@composite(numpy=np.fft.fftshift)
def fftshift(x: Operand, axes: int | Sequence[int] | None = None) -> Tensor:
    """x rolled so that the frequency 0 stands in the middle of `axes`."""
    return _roll_half(x, axes, 1)


@composite(numpy=np.fft.ifftshift)
def ifftshift(x: Operand, axes: int | Sequence[int] | None = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _roll_half(x, axes, -1)
