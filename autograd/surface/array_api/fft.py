"""The standard's extension `fft`: discrete Fourier transforms.

norm is "backward" (divide by the number of points in the inverse), "ortho" (by its square root in
both) or "forward" (in the forward transform).  n and s are numbers of points, to which x is cut or
padded with zeros.  Single precision stays single.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.ops import fourier
from tapegrad.autograd.surface.array_api.creation import asarray

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import DTypeLike
    from tapegrad.devices import Device

__all__ = [
    "fft",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfftn",
    "rfft",
    "rfftfreq",
    "rfftn",
]


def fft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """Σ_j x_j exp(-2πi·jk/n) along `axis`, complex."""
    return fourier.fft(x, n, axis, norm)


def ifft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The inverse of `fft`, complex."""
    return fourier.ifft(x, n, axis, norm)


def fftn(
    x: Tensor,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:
    """`fft` over `axes`; over all when None, or over the last ones of which `s` has the lengths."""
    return fourier.fftn(x, s, axes, norm)


def ifftn(
    x: Tensor,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:
    """The inverse of `fftn`, complex."""
    return fourier.ifftn(x, s, axes, norm)


def rfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The first n // 2 + 1 entries of the `fft` of real x, complex."""
    return fourier.rfft(x, n, axis, norm)


def irfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The inverse of `rfft`, real; n is even unless given.  Raises ValueError for an n below 1."""
    return fourier.irfft(x, n, axis, norm)


def rfftn(
    x: Tensor,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:
    """`rfft` along the last of `axes`, then `fft` over the others."""
    return fourier.rfftn(x, s, axes, norm)


def irfftn(
    x: Tensor,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:
    """The inverse of `rfftn`, real."""
    return fourier.irfftn(x, s, axes, norm)


def hfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The transform, real, of a signal with Hermitian symmetry, of which x is the first half."""
    return fourier.hfft(x, n, axis, norm)


def ihfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The inverse of `hfft`, complex."""
    return fourier.ihfft(x, n, axis, norm)


def fftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """x rolled so that the frequency 0 stands in the middle of `axes`."""
    return fourier.fftshift(x, axes)


def ifftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """The inverse of `fftshift`."""
    return fourier.ifftshift(x, axes)


def fftfreq(
    n: int,
    /,
    *,
    d: float = 1.0,
    dtype: DTypeLike = None,
    device: Device | str | None = None,
) -> Tensor:
    """The frequencies of `fft` of n points that are d apart: (n,); float64 when no dtype is given.

    Raises ValueError for a dtype that is not real and floating.
    """
    return _frequencies(np.fft.fftfreq(n, d), dtype, device)


def rfftfreq(
    n: int,
    /,
    *,
    d: float = 1.0,
    dtype: DTypeLike = None,
    device: Device | str | None = None,
) -> Tensor:
    """The frequencies of `rfft` of n points that are d apart: (n // 2 + 1,); float64 by default.

    Raises ValueError for a dtype that is not real and floating.
    """
    return _frequencies(np.fft.rfftfreq(n, d), dtype, device)


def _frequencies(values: np.ndarray, dtype: DTypeLike, device: Device | str | None) -> Tensor:
    if dtype is not None and np.dtype(dtype).kind != "f":
        raise ValueError(f"frequencies are real and floating, not {np.dtype(dtype)}")
    return asarray(values, dtype=dtype, device=device)
