"""Normalization of images by the neighbourhood of each entry: in the plane, or across planes.

Early vision networks used these layers.  A local mean is a convolution with one kernel for all
planes, divided by the same convolution of ones, so that it is a mean at the border too.

K. Jarrett, K. Kavukcuoglu, M. Ranzato, Y. LeCun, "What is the Best Multi-Stage Architecture for
Object Recognition?", ICCV 2009, section 2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Tensor, default_dtype, ops
from tapegrad.nn.containers.container import Sequential
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.half import in_single
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.windows import (
    batch_of,
    channels_first,
    channels_last,
    checked_format,
    drop_added_batch,
)
from tapegrad.nn.layers.pooling.powers import guarded_root
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Operand

__all__ = [
    "SpatialContrastiveNormalization",
    "SpatialCrossMapLRN",
    "SpatialDivisiveNormalization",
    "SpatialSubtractiveNormalization",
    "SpatialWithinChannelLRN",
]


class _LocalNormalization(Module):
    """Normalization by a kernel that averages over a neighbourhood and over all planes."""

    keeps = ("nInputPlane", "kernel")
    promotes = True
    kernel: Buffer

    def _set_kernel(self, nInputPlane: int, kernel: Operand | None, share: float) -> None:
        """Set `self.kernel` to `kernel` divided by its sum and by `share`; None: 9 x 9 ones."""
        self.nInputPlane = nInputPlane
        if kernel is None:
            array = np.ones((9, 9), default_dtype())
        else:
            array = np.array(kernel.numpy() if hasattr(kernel, "numpy") else kernel)
        name = type(self).__name__
        if array.ndim not in (1, 2):
            raise ValueError(f"{name}: the kernel has {array.ndim} axes, it must have 1 or 2")
        if not all(n % 2 for n in array.shape):
            raise ValueError(
                f"{name}: the kernel of shape {array.shape} has no middle: use odd lengths"
            )
        dtype = array.dtype if array.dtype.kind == "f" else default_dtype()
        self.kernel = Buffer((array / (array.sum() * share)).astype(dtype))

    def _local_sum(self, images: Tensor) -> Tensor:
        """Return weighted sums around each pixel, over all planes: (N, C, H, W) -> (N, 1, H, W)."""
        kernel = self.kernel
        planes = ops.sum(images, axis=1, keepdims=True)
        n = kernel.shape[0]
        if kernel.ndim == 2:
            padding = (n // 2, kernel.shape[1] // 2)
            return ops.conv2d(planes, kernel.reshape((1, 1, *kernel.shape)), padding=padding)
        rows = ops.conv2d(planes, kernel.reshape((1, 1, 1, n)), padding=(0, n // 2))
        return ops.conv2d(rows, kernel.reshape((1, 1, n, 1)), padding=(n // 2, 0))

    def _border(self, images: Tensor) -> Tensor:
        """Return the local sum of ones, (1, 1, H, W), which is smaller at the border."""
        shape = (1, *images.shape[1:])
        return self._local_sum(Tensor(np.ones(shape), dtype=images.dtype, device=images.device))

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        images = batch_of(x, "C H W", self.nInputPlane)
        return drop_added_batch(self._normalize(images), x, "C H W")

    def _normalize(self, images: Tensor) -> Tensor:
        """Return the normalized images: (N, C, H, W) -> the same shape."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return torch7_name(self)


class SpatialSubtractiveNormalization(_LocalNormalization):
    """y = x - the local mean over all planes, weighted by the kernel.

    kernel: an array of odd lengths, (k, k'), or (k,) for its outer product with itself; 9 x 9 ones
            if omitted.  The layer keeps a copy divided by its sum and by nInputPlane
    x: (nInputPlane, H, W) or (N, nInputPlane, H, W) -> the same shape.
    Raises ValueError for other kernels, ShapeError for other shapes.
    Source: nn.SpatialSubtractiveNormalization.
    """

    def __init__(self, nInputPlane: int = 1, kernel: Operand | None = None) -> None:
        self._set_kernel(nInputPlane, kernel, nInputPlane)

    def _normalize(self, images: Tensor) -> Tensor:
        return images - self._local_sum(images) / self._border(images)


class SpatialDivisiveNormalization(_LocalNormalization):
    """y = x / σ with σ² the local mean of x² over all planes, weighted by the kernel.

    Where σ is not above `threshold`, x is divided by `thresval` instead.
    kernel, shapes and errors as in SpatialSubtractiveNormalization.
    Source: nn.SpatialDivisiveNormalization.
    """

    keeps = ("threshold", "thresval")

    def __init__(
        self,
        nInputPlane: int = 1,
        kernel: Operand | None = None,
        threshold: float = 1e-4,
        thresval: float | None = None,
    ) -> None:
        one_axis = kernel is not None and np.ndim(np.asarray(kernel)) == 1
        self._set_kernel(nInputPlane, kernel, nInputPlane**0.5 if one_axis else nInputPlane)
        self.threshold = threshold
        self.thresval = threshold if thresval is None else thresval

    def _normalize(self, images: Tensor) -> Tensor:
        deviation = guarded_root(self._local_sum(ops.square(images)), 2) / self._border(images)
        small = ops.less_equal(deviation, self.threshold)  # False for NaN, which stays
        return images / ops.where(small, self.thresval, deviation)


class SpatialContrastiveNormalization(Module):
    """SpatialSubtractiveNormalization, then SpatialDivisiveNormalization, with one kernel.

    Arguments, shapes and errors are theirs.  Source: nn.SpatialContrastiveNormalization.
    """

    keeps = ("nInputPlane", "threshold", "thresval", "normalizer")
    promotes = True

    def __init__(
        self,
        nInputPlane: int = 1,
        kernel: Operand | None = None,
        threshold: float = 1e-4,
        thresval: float | None = None,
    ) -> None:
        self.nInputPlane = nInputPlane
        self.threshold = threshold
        self.thresval = threshold if thresval is None else thresval
        self.normalizer = Sequential(
            SpatialSubtractiveNormalization(nInputPlane, kernel),
            SpatialDivisiveNormalization(nInputPlane, kernel, threshold, thresval),
        )

    @property
    def kernel(self) -> Buffer:
        """The kernel of the divisive layer."""
        last: Any = self.normalizer.get(1)
        return last.kernel

    def updateOutput(self, x: Tensor) -> Tensor:
        return self.normalizer(x)

    def __repr__(self) -> str:
        return torch7_name(self)


class SpatialCrossMapLRN(Module):
    """y[c] = x[c] / (k + alpha / size · Σ x[c']²)^beta, over the `size` planes c' around c.

    x: (C, H, W) or (N, C, H, W) -> the same shape; planes are the last axis with format "NHWC".
    Raises ValueError for an even size or another format, ShapeError for other shapes.
    Source: nn.SpatialCrossMapLRN; A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification
    with Deep Convolutional Neural Networks", 2012, section 3.3.
    """

    keeps = ("size", "alpha", "beta", "k", "format")
    promotes = True
    format = "NCHW"

    def __init__(
        self,
        size: int,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1,
        format: str = "NCHW",
    ) -> None:
        if size < 1 or not size % 2:
            raise ValueError(
                f"SpatialCrossMapLRN: size must be odd, so that planes have neighbours "
                f"on both sides alike, found {size}"
            )
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        if checked_format(format) != "NCHW":
            self.format = format

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        x = channels_first(x, self.format)
        images = batch_of(x, "C H W")
        half = self.size // 2
        squares = ops.pad(ops.square(images), ((0, 0), (half, half), (0, 0), (0, 0)))
        sums = ops.sum(ops.unfold(squares, axis=1, size=self.size), axis=-1)
        scale = sums * (self.alpha / self.size) + self.k
        y = drop_added_batch(images * scale**-self.beta, x, "C H W")
        return channels_last(y, self.format)

    def __repr__(self) -> str:
        return torch7_name(self)


class SpatialWithinChannelLRN(Module):
    """y = x / (1 + alpha·m)^beta, with m the mean of x² over size x size pixels of the same plane.

    x: (C, H, W) or (N, C, H, W) -> the same shape; beyond the border there are zeros.
    Raises ValueError for an even size, ShapeError for other shapes.
    Source: BigDL's SpatialWithinChannelLRN.
    """

    keeps = ("size", "alpha", "beta")
    promotes = True

    def __init__(self, size: int = 5, alpha: float = 1, beta: float = 0.75) -> None:
        if size < 1 or not size % 2:
            raise ValueError(f"SpatialWithinChannelLRN: size must be odd, found {size}")
        self.size, self.alpha, self.beta = size, alpha, beta

    @in_single
    def updateOutput(self, x: Tensor) -> Tensor:
        images = batch_of(x, "C H W")
        half = self.size // 2
        mean = ops.avg_pool2d(ops.square(images), self.size, 1, half)
        y = images * (mean * self.alpha + 1) ** -self.beta
        return drop_added_batch(y, x, "C H W")
