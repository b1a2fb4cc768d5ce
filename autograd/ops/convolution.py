"""Convolution in one, two and three dimensions, and its adjoints.

⟨v, conv2d(x, w)⟩ is linear in v, x and w; the three primitives are its derivatives with respect to
each.  So the derivatives of each are the other two, to every order.

The other dimensions are two-dimensional convolutions of rearranged arrays, and need no rules: a
sequence is an image of one row, and a film is convolved frame by frame, the frames that a kernel
spans in time being channels of one image.  That copies the film once per kernel frame, which the
patches of a convolution in three dimensions would do anyway, and once more per kernel pixel.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.core.late import late_module
from tapegrad.autograd.core.pushing import linear_in
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.batch_rules import merge_samples, split_samples
from tapegrad.autograd.ops.indexing import take_slice
from tapegrad.autograd.ops.windows import fold, unfold

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand, Shape

__all__ = [
    "conv1d",
    "conv1d_input_gradient",
    "conv2d",
    "conv2d_input_gradient",
    "conv2d_weight_gradient",
    "conv3d",
    "conv3d_input_gradient",
]

kernels = late_module("tapegrad.autograd.kernels.convolution")
fast = late_module("tapegrad.autograd.kernels.fast_convolution")


@primitive
def conv2d(
    xp: Namespace,
    x: Array,
    w: Array,
    *,
    stride: int | Sequence[int] = (1, 1),
    padding: int | Sequence[int] = (0, 0),
    dilation: int | Sequence[int] = (1, 1),
    groups: int = 1,
) -> Array:
    """y[n, o, i, j] = Σ w[o, c, k, l] · x[n, c, i·stride + k·dilation - padding, …].

    x (N, C, H, W), w (O, C / groups, kH, kW) -> (N, O, oH, oW), where oH is
    ⌊(H + 2·padding - dilation·(kH - 1) - 1) / stride⌋ + 1; their common dtype.  Outside of x there
    are zeros.  Settings are an int or a pair (height, width).  With groups, output planes of a
    group see the channels of that group only.  Like Torch7's SpatialConvolution it does not flip w.

    Raises ShapeError, before computing, for shapes that do not fit, ValueError for settings that
    make no sense.
    """
    return kernels().conv2d(
        xp, x, w, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


@primitive
def conv2d_input_gradient(
    xp: Namespace,
    v: Array,
    w: Array,
    *,
    shape: Shape,
    stride: int | Sequence[int] = (1, 1),
    padding: int | Sequence[int] = (0, 0),
    dilation: int | Sequence[int] = (1, 1),
    groups: int = 1,
) -> Array:
    """The adjoint of conv2d in x: ⟨result, x⟩ = ⟨v, conv2d(x, w)⟩ for every x of `shape`.

    v (N, O, oH, oW), w (O, C / groups, kH, kW) -> `shape` = (N, C, H, W).  On its own it is the
    transposed convolution (Torch7's SpatialFullConvolution).
    """
    return kernels().conv2d_input_gradient(
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
    xp: Namespace,
    x: Array,
    v: Array,
    *,
    shape: Shape,
    stride: int | Sequence[int] = (1, 1),
    padding: int | Sequence[int] = (0, 0),
    dilation: int | Sequence[int] = (1, 1),
    groups: int = 1,
) -> Array:
    """The adjoint of conv2d in w: ⟨result, w⟩ = ⟨v, conv2d(x, w)⟩ for every w of `shape`.

    x (N, C, H, W), v (N, O, oH, oW) -> `shape` = (O, C / groups, kH, kW).
    """
    half = x.dtype == np.float16 and v.dtype == np.float16
    if half:  # sums over a batch and an image, which half precision would stop
        x, v = x.astype(np.float32), v.astype(np.float32)
    y = kernels().conv2d_weight_gradient(
        xp,
        x,
        v,
        shape=shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return y.astype(np.float16) if half else y


# The bodies of the `fast` extra: see kernels/fast_convolution.py.


@conv2d.on("numba")
def _conv2d_compiled(
    xp: Namespace,
    x: Array,
    w: Array,
    *,
    stride: int | Sequence[int] = (1, 1),
    padding: int | Sequence[int] = (0, 0),
    dilation: int | Sequence[int] = (1, 1),
    groups: int = 1,
    out: Array | None = None,
) -> Array:
    return fast().conv2d(
        x, w, stride=stride, padding=padding, dilation=dilation, groups=groups, out=out
    )


@conv2d_input_gradient.on("numba")
def _conv2d_input_compiled(
    xp: Namespace,
    v: Array,
    w: Array,
    *,
    shape: Shape,
    stride: int | Sequence[int] = (1, 1),
    padding: int | Sequence[int] = (0, 0),
    dilation: int | Sequence[int] = (1, 1),
    groups: int = 1,
    out: Array | None = None,
) -> Array:
    return fast().conv2d_input_gradient(
        v,
        w,
        shape=shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        out=out,
    )


@conv2d_weight_gradient.on("numba")
def _conv2d_weight_compiled(
    xp: Namespace,
    x: Array,
    v: Array,
    *,
    shape: Shape,
    stride: int | Sequence[int] = (1, 1),
    padding: int | Sequence[int] = (0, 0),
    dilation: int | Sequence[int] = (1, 1),
    groups: int = 1,
    out: Array | None = None,
) -> Array:
    half = x.dtype == np.float16 and v.dtype == np.float16
    if half:  # as in the plain body
        x, v = x.astype(np.float32), v.astype(np.float32)
    y = fast().conv2d_weight_gradient(
        x,
        v,
        shape=shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        out=None if half else out,
    )
    if not half:
        return y
    if out is None:
        return y.astype(np.float16)
    out[...] = y
    return out


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

# Each is linear in either argument.
for _function in (conv2d, conv2d_input_gradient, conv2d_weight_gradient):
    _function.jvp(**{name: linear_in(_function, name) for name in _function.primitive.arguments})


# Samples of a batch -------------------------------------------------------------------------------
#
# Samples that share weights are more images of one call.  Samples with weights of their own become
# groups of channels, which a convolution keeps apart.


def _merge_into_channels(x: Array) -> Array:
    """(B, N, C, …) -> (N, B·C, …)."""
    axes = (1, 0, *range(2, x.ndim))
    y = s.transpose(x, axes)
    return s.reshape(y, (x.shape[1], x.shape[0] * x.shape[2], *x.shape[3:]))


def _split_channels(y: Array, samples: int, channels: int) -> Array:
    """(N, B·C, …) -> (B, N, C, …) for B samples of C = `channels`."""
    y = s.reshape(y, (y.shape[0], samples, channels, *y.shape[2:]))
    return s.transpose(y, (1, 0, *range(2, y.ndim)))


def _broadcast_to_batch(x: Array, batched: bool, samples: int) -> Array:
    return x if batched else s.broadcast_to(x, (samples, *x.shape))


@conv2d.batch
def _conv2d_batch(
    x: Array,
    w: Array,
    batched: tuple[bool, ...],
    samples: int,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
    groups: int,
) -> Array:
    if not batched[1]:
        y = conv2d(merge_samples(x), w, stride, padding, dilation, groups)
        return split_samples(y, samples, x.shape[1])
    planes = w.shape[1]
    if batched[0] or groups > 1:  # else one x is convolved with the planes of all samples
        x, groups = (
            _merge_into_channels(_broadcast_to_batch(x, batched[0], samples)),
            groups * samples,
        )
    return _split_channels(
        conv2d(x, merge_samples(w), stride, padding, dilation, groups), samples, planes
    )


@conv2d_input_gradient.batch
def _conv2d_input_batch(
    v: Array,
    w: Array,
    batched: tuple[bool, ...],
    samples: int,
    shape: Shape,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
    groups: int,
) -> Array:
    n, channels, *size = shape
    if not batched[1]:
        merged = (samples * n, channels, *size)
        y = conv2d_input_gradient(merge_samples(v), w, merged, stride, padding, dilation, groups)
        return split_samples(y, samples, n)
    v = _merge_into_channels(_broadcast_to_batch(v, batched[0], samples))
    merged = (n, samples * channels, *size)
    y = conv2d_input_gradient(
        v, merge_samples(w), merged, stride, padding, dilation, groups * samples
    )
    return _split_channels(y, samples, channels)


@conv2d_weight_gradient.batch
def _conv2d_weight_batch(
    x: Array,
    v: Array,
    samples: int,
    shape: Shape,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
    groups: int,
) -> Array:
    planes, *rest = shape
    y = conv2d_weight_gradient(
        _merge_into_channels(x),
        _merge_into_channels(v),
        (samples * planes, *rest),
        stride,
        padding,
        dilation,
        groups * samples,
    )
    return split_samples(y, samples, planes)


# One and three dimensions -------------------------------------------------------------------------


def _triple(where: str, name: str, setting: Any, least: int) -> tuple[int, int, int]:
    """A setting as (time, height, width).  Raises ValueError for others, and below `least`."""
    try:
        if isinstance(setting, (tuple, list)):
            first, second, third = (operator.index(value) for value in setting)
        else:
            first = second = third = operator.index(setting)
    except (TypeError, ValueError):
        raise ValueError(
            f"{where}: {name} must be an int or three ints (time, height, width), found {setting!r}"
        ) from None
    if min(first, second, third) < least:
        raise ValueError(f"{where}: {name} must be at least {least}, found {setting!r}")
    return first, second, third


def _expect_axes(where: str, count: int, **shapes: tuple[int, ...]) -> None:
    """Raise ShapeError unless every shape has `count` axes."""
    for name, shape in shapes.items():
        if len(shape) != count:
            raise ShapeError(f"{where}: {name} must have {count} axes, found shape {shape}")


def _expect_channels(where: str, channels: int, w: tuple[int, ...], groups: int) -> None:
    """Raise ShapeError unless w of groups takes as many channels as x has."""
    if groups < 1 or w[1] * groups != channels or w[0] % groups:
        raise ShapeError(
            f"{where}: x has {channels} channels, w of shape {w} takes {w[1]} in each of {groups} "
            f"groups, which share its {w[0]} output planes"
        )


def _as_image(x: Array) -> Array:
    """(N, C, L) -> (N, C, 1, L)."""
    return s.reshape(x, (*x.shape[:2], 1, x.shape[2]))


@composite()
def conv1d(
    x: Operand, w: Operand, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> Tensor:
    """`conv2d` along one axis: x (N, C, L), w (O, C / groups, k) -> (N, O, L')."""
    x, w = as_operand(x), as_operand(w)
    _expect_axes("conv1d", 3, x=x.shape, w=w.shape)
    y = conv2d(_as_image(x), _as_image(w), (1, stride), (0, padding), (1, dilation), groups)
    return s.reshape(y, (*y.shape[:2], y.shape[3]))


@composite()
def conv1d_input_gradient(
    v: Operand,
    w: Operand,
    shape: Shape,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """The adjoint of `conv1d` in x: v (N, O, L'), w (O, C / groups, k) -> `shape` = (N, C, L)."""
    v, w = as_operand(v), as_operand(w)
    _expect_axes("conv1d_input_gradient", 3, v=v.shape, w=w.shape, shape=shape)
    y = conv2d_input_gradient(
        _as_image(v),
        _as_image(w),
        (*shape[:2], 1, shape[2]),
        (1, stride),
        (0, padding),
        (1, dilation),
        groups,
    )
    return s.reshape(y, shape)


def _settings3d(
    where: str,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
) -> tuple[tuple[int, int, int], ...]:
    """The settings of a convolution in three dimensions as triples."""
    return (
        _triple(where, "stride", stride, 1),
        _triple(where, "padding", padding, 0),
        _triple(where, "dilation", dilation, 1),
    )


@composite()
def conv3d(
    x: Operand,
    w: Operand,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """`conv2d` with time in front: x (N, C, T, H, W), w (O, C / groups, kT, kH, kW).

    -> (N, O, T', H', W'), each length as in `conv2d`.  Settings are an int or three (time, height,
    width).  Raises ShapeError for shapes that do not fit, ValueError for settings that make no
    sense.
    """
    x, w = as_operand(x), as_operand(w)
    where = "conv3d"
    _expect_axes(where, 5, x=x.shape, w=w.shape)
    strides, paddings, dilations = _settings3d(where, stride, padding, dilation)
    n, c, _, height, width = x.shape
    _expect_channels(where, c, w.shape, groups)
    o, channels, size = w.shape[:3]
    if paddings[0]:
        around = (paddings[0], paddings[0])
        x = s.pad(x, ((0, 0), (0, 0), around, (0, 0), (0, 0)))
    films = unfold(x, axis=2, size=size, step=strides[0], dilation=dilations[0])
    count = films.shape[2]
    frames = s.reshape(s.transpose(films, (0, 2, 1, 5, 3, 4)), (n * count, c * size, height, width))
    taps = s.reshape(w, (o, channels * size, *w.shape[3:]))
    y = conv2d(frames, taps, strides[1:], paddings[1:], dilations[1:], groups)
    return s.transpose(s.reshape(y, (n, count, *y.shape[1:])), (0, 2, 1, 3, 4))


@composite()
def conv3d_input_gradient(
    v: Operand,
    w: Operand,
    shape: Shape,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """The adjoint of `conv3d` in x: v (N, O, T', H', W'), w -> `shape` = (N, C, T, H, W)."""
    v, w = as_operand(v), as_operand(w)
    where = "conv3d_input_gradient"
    _expect_axes(where, 5, v=v.shape, w=w.shape, shape=shape)
    strides, paddings, dilations = _settings3d(where, stride, padding, dilation)
    n, c, time, height, width = shape
    _expect_channels(where, c, w.shape, groups)
    o, channels, size = w.shape[:3]
    count = v.shape[2]
    frames = s.reshape(s.transpose(v, (0, 2, 1, 3, 4)), (v.shape[0] * count, o, *v.shape[3:]))
    taps = s.reshape(w, (o, channels * size, *w.shape[3:]))
    back = conv2d_input_gradient(
        frames,
        taps,
        (n * count, c * size, height, width),
        strides[1:],
        paddings[1:],
        dilations[1:],
        groups,
    )
    films = s.transpose(s.reshape(back, (n, count, c, size, height, width)), (0, 2, 1, 4, 5, 3))
    long = (n, c, time + 2 * paddings[0], height, width)
    y = fold(films, shape=long, axis=2, step=strides[0], dilation=dilations[0])
    if paddings[0]:
        y = take_slice(y, (slice(None), slice(None), slice(paddings[0], paddings[0] + time)))
    return y
