"""Max and average pooling over windows of the last two axes, with rules that close at every order.

Max pooling picks one entry per window; once the picks are known it is linear.  Its derivative
therefore is the pair `max_unpool2d` (add at the picks) and `max_pool2d_gather` (read there), each
the other's adjoint; the picks themselves carry no derivative.  Average pooling is linear anyway.
"""

from __future__ import annotations

from typing import Any

from tapegrad.autograd.kernels import pooling as kernels
from tapegrad.autograd.primitive import primitive

__all__ = [
    "avg_pool2d",
    "avg_pool2d_gradient",
    "max_pool2d",
    "max_pool2d_gather",
    "max_unpool2d",
]


@primitive(aux=("indices",))
def max_pool2d(
    xp: Any,
    x: Any,
    *,
    kernel: Any,
    stride: Any = None,
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    ceil_mode: bool = False,
) -> Any:
    """The maximum of each window: (N, C, H, W) -> (N, C, oH, oW), in x's dtype.

    ``max_pool2d.with_aux`` also gives the picks: int64, h · W + w counted from 0 in the image.
    Settings are an int or a pair (height, width); stride is the kernel by default.  oH is
    ⌊(H + 2·padding - dilation·(kH - 1) - 1) / stride⌋ + 1; `ceil_mode` rounds up, but never to a
    window that would start beyond the image and its first padding.  Padding never wins.  Of equal
    maxima the first in row-major order wins; a NaN in a window makes it NaN.

    Raises ValueError for padding above kernel // 2 (Torch7's rule) and windows larger than the
    padded image.  Source: Torch7's SpatialMaxPooling and SpatialDilatedMaxPooling.
    """
    return kernels.max_pool2d(
        xp,
        x,
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )


@primitive
def max_pool2d_gather(xp: Any, x: Any, indices: Any) -> Any:
    """x[n, c] read at the flat positions indices[n, c]: (N, C, H, W) -> the shape of `indices`.

    `indices` (N, C, oH, oW) are those of `max_pool2d`; that they lie in the image is not checked.
    """
    return kernels.max_pool2d_gather(xp, x, indices)


@primitive
def max_unpool2d(xp: Any, x: Any, indices: Any, *, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` (N, C, H, W) with x (N, C, oH, oW) added at the flat positions `indices`.

    The adjoint of `max_pool2d_gather`: an entry picked by several windows collects all of them.
    """
    return kernels.max_unpool2d(xp, x, indices, shape=shape)


max_pool2d.vjp(x=lambda g, indices, x_shape: max_unpool2d(g, indices, x_shape))
max_pool2d_gather.vjp(x=lambda g, indices, x_shape: max_unpool2d(g, indices, x_shape), indices=None)
max_unpool2d.vjp(x=lambda g, indices: max_pool2d_gather(g, indices), indices=None)


@primitive
def avg_pool2d(
    xp: Any,
    x: Any,
    *,
    kernel: Any,
    stride: Any = None,
    padding: Any = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divide: bool = True,
) -> Any:
    """The sum of each window over its number of entries: (N, C, H, W) -> (N, C, oH, oW).

    That number counts padding, but not what a last window of `ceil_mode` has beyond the padding;
    without `count_include_pad` it counts entries of the image alone.  Without `divide` the average
    is multiplied by the kernel's area, as in Torch7: a full window gives its sum.  Settings, sizes
    and errors are those of `max_pool2d`; stride is the kernel by default (Torch7's layer says 1).
    Source: Torch7's SpatialAveragePooling.
    """
    return kernels.avg_pool2d(
        xp,
        x,
        kernel=kernel,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divide=divide,
    )


@primitive
def avg_pool2d_gradient(
    xp: Any,
    v: Any,
    *,
    shape: tuple[int, ...],
    kernel: Any,
    stride: Any = None,
    padding: Any = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divide: bool = True,
) -> Any:
    """The adjoint of `avg_pool2d`: ⟨result, x⟩ = ⟨v, avg_pool2d(x)⟩ for every x of `shape`.

    v (N, C, oH, oW) -> `shape` = (N, C, H, W): each window hands its share to its entries.
    """
    return kernels.avg_pool2d_gradient(
        xp,
        v,
        shape=shape,
        kernel=kernel,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divide=divide,
    )


avg_pool2d.vjp(
    x=lambda g, x_shape, kernel, stride, padding, ceil_mode, count_include_pad, divide: (
        avg_pool2d_gradient(
            g, x_shape, kernel, stride, padding, ceil_mode, count_include_pad, divide
        )
    )
)
avg_pool2d_gradient.vjp(
    v=lambda g, kernel, stride, padding, ceil_mode, count_include_pad, divide: avg_pool2d(
        g, kernel, stride, padding, ceil_mode, count_include_pad, divide
    )
)
