"""Two-dimensional convolution and its two adjoints: three bilinear maps, each the others' rule.

⟨v, conv2d(x, w)⟩ is linear in v, x and w; the three primitives are its derivatives with respect to
each.  So differentiating any of them gives the other two again, and every order is closed.
"""

from __future__ import annotations

from typing import Any

from tapegrad.autograd.kernels import convolution as kernels
from tapegrad.autograd.primitive import primitive

__all__ = ["conv2d", "conv2d_input_gradient", "conv2d_weight_gradient"]


@primitive
def conv2d(
    xp: Any,
    x: Any,
    w: Any,
    *,
    stride: Any = (1, 1),
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    groups: int = 1,
) -> Any:
    """y[n, o, i, j] = Σ w[o, c, k, l] · x[n, c, i·stride + k·dilation - padding, …].

    x (N, C, H, W), w (O, C / groups, kH, kW) -> (N, O, oH, oW), where oH is
    ⌊(H + 2·padding - dilation·(kH - 1) - 1) / stride⌋ + 1; their common dtype.  Outside of x there
    are zeros.  Settings are an int or a pair (height, width).  With groups, output planes of a
    group see the channels of that group only.  Like Torch7's SpatialConvolution it does not flip w.

    Raises ValueError, before computing, for shapes and settings that do not fit.
    """
    return kernels.conv2d(
        xp, x, w, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


@primitive
def conv2d_input_gradient(
    xp: Any,
    v: Any,
    w: Any,
    *,
    shape: tuple[int, ...],
    stride: Any = (1, 1),
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    groups: int = 1,
) -> Any:
    """The adjoint of conv2d in x: ⟨result, x⟩ = ⟨v, conv2d(x, w)⟩ for every x of `shape`.

    v (N, O, oH, oW), w (O, C / groups, kH, kW) -> `shape` = (N, C, H, W).  On its own it is the
    transposed convolution (Torch7's SpatialFullConvolution).
    """
    return kernels.conv2d_input_gradient(
        xp,
        v,
        w,
        shape=shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


@primitive
def conv2d_weight_gradient(
    xp: Any,
    x: Any,
    v: Any,
    *,
    shape: tuple[int, ...],
    stride: Any = (1, 1),
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    groups: int = 1,
) -> Any:
    """The adjoint of conv2d in w: ⟨result, w⟩ = ⟨v, conv2d(x, w)⟩ for every w of `shape`.

    x (N, C, H, W), v (N, O, oH, oW) -> `shape` = (O, C / groups, kH, kW).
    """
    return kernels.conv2d_weight_gradient(
        xp,
        x,
        v,
        shape=shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


conv2d.vjp(
    x=lambda g, w, x_shape, stride, padding, dilation, groups: conv2d_input_gradient(
        g, w, x_shape, stride, padding, dilation, groups
    ),
    w=lambda g, x, w_shape, stride, padding, dilation, groups: conv2d_weight_gradient(
        x, g, w_shape, stride, padding, dilation, groups
    ),
)
conv2d_input_gradient.vjp(
    v=lambda g, w, stride, padding, dilation, groups: conv2d(
        g, w, stride, padding, dilation, groups
    ),
    w=lambda g, v, w_shape, stride, padding, dilation, groups: conv2d_weight_gradient(
        g, v, w_shape, stride, padding, dilation, groups
    ),
)
conv2d_weight_gradient.vjp(
    x=lambda g, v, x_shape, stride, padding, dilation, groups: conv2d_input_gradient(
        v, g, x_shape, stride, padding, dilation, groups
    ),
    v=lambda g, x, stride, padding, dilation, groups: conv2d(
        x, g, stride, padding, dilation, groups
    ),
)
