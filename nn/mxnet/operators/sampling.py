"""Images at other places: grids, bilinear samples, resizing, adaptive means, correlation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Choice, Float, Int, Shape
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.operators.constants import beside
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["averages", "bilinear_sampler", "grid_generator", "interpolations", "sampled"]

_LONG = np.dtype(np.int64)


# Grids -------------------------------------------------------------------------------------------


def _steps(n: int) -> np.ndarray:
    """n numbers from -1 to 1."""
    return np.linspace(-1, 1, n) if n > 1 else np.full(1, -1.0)


def _affine(theta: Any, high: int, wide: int) -> Any:
    """(N, 6) -> (N, 2, high, wide): [x, y] = θ · [x', y', 1] for x', y' from -1 to 1."""
    x, y = np.meshgrid(_steps(wide), _steps(high))
    places = np.stack([x.ravel(), y.ravel(), np.ones(x.size)]).astype(theta.dtype)
    return (theta.reshape((-1, 2, 3)) @ beside(theta, places)).reshape(
        (theta.shape[0], 2, high, wide)
    )


def _warped(flow: Any) -> Any:
    """(N, 2, h, w), a flow in pixels -> each pixel's place plus the flow, from -1 to 1."""
    high, wide = flow.shape[2:]
    x, y = np.meshgrid(np.arange(wide), np.arange(high))
    half = np.array([max(wide - 1, 1), max(high - 1, 1)]).reshape((1, 2, 1, 1)) / 2
    places = np.stack([x, y])[None].astype(flow.dtype)
    return (flow + beside(flow, places)) / beside(flow, half.astype(flow.dtype)) - 1


@operator(
    "GridGenerator",
    hidden=1,
    transform_type=Choice(words=("affine", "warp")),
    target_shape=Shape((0, 0)),
)
def grid_generator(call: Call, data: Tensor) -> Tensor:
    """Places to sample at, x then y, from -1 to 1: (N, 2, h, w).

    affine: data (N, 6) are the rows of a matrix that maps [x, y, 1], for an image of
    `target_shape`; warp: data (N, 2, h, w) is a flow in pixels.
    """
    a = call.a
    return _affine(data, *a.target_shape) if a.transform_type == "affine" else _warped(data)


def sampled(data: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear samples of data (N, C, H, W) at pixels x, y (N, …) -> (N, C, …); 0 outside.

    Each of the four neighbours that lies outside of the image counts as 0.
    """
    n, channels, high, wide = data.shape
    flat = ops.moveaxis(data, 1, -1).reshape((n * high * wide, channels))
    base = beside(data, (np.arange(n) * (high * wide)).reshape((n,) + (1,) * (x.ndim - 1)))
    left, top = ops.floor(x), ops.floor(y)
    total: Any = 0
    for down in (0, 1):
        for right in (0, 1):
            column, row = left + right, top + down
            # 1 - |distance|, written so that its slope is that of the square that holds the place
            part_x = x - left if right else 1 - (x - left)
            part_y = y - top if down else 1 - (y - top)
            inside = ops.logical_and(
                ops.logical_and(ops.greater_equal(column, 0), ops.less_equal(column, wide - 1)),
                ops.logical_and(ops.greater_equal(row, 0), ops.less_equal(row, high - 1)),
            )
            at = ops.to_integer(ops.where(inside, row * wide + column, 0), dtype=_LONG) + base
            weight = ops.where(inside, part_x * part_y, 0)
            total = total + flat[at] * ops.expand_dims(weight, -1)
    return ops.moveaxis(total, -1, 1)


def _at_grid(data: Any, grid: Any) -> Any:
    high, wide = data.shape[2:]
    return sampled(data, (grid[:, 0] + 1) * ((wide - 1) / 2), (grid[:, 1] + 1) * ((high - 1) / 2))


@operator("BilinearSampler", "data grid", hidden=1, cudnn_off=Bool(None, none=True))
def bilinear_sampler(call: Call, data: Tensor, grid: Tensor) -> Tensor:
    """Bilinear samples of images at a grid of x and y from -1 to 1; 0 outside of the image.

    data (N, C, H, W), grid (N, 2, h, w) -> (N, C, h, w).
    """
    return _at_grid(data, grid)


def _transformer_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    if inputs[0] is not None:
        inputs[1] = unify(inputs[1], (inputs[0][0], 6))
        outputs[0] = unify(outputs[0], (*inputs[0][:2], *a.target_shape))


@operator(
    "SpatialTransformer",
    "data loc",
    hidden=2,
    shapes=_transformer_shapes,
    target_shape=Shape((0, 0)),
    transform_type=Choice(words=("affine",)),
    sampler_type=Choice(words=("bilinear",)),
    cudnn_off=Bool(None, none=True),
)
def spatial_transformer(call: Call, data: Tensor, loc: Tensor) -> Tensor:
    """`BilinearSampler` at the affine grid of loc (N, 6): (N, C, H, W) -> (N, C, *target_shape)."""
    return _at_grid(data, _affine(loc, *call.a.target_shape))


# Resizing: along each axis one matrix ------------------------------------------------------------


def interpolations(n: int, m: int, align_corners: bool) -> np.ndarray:
    """(m, n): m linear interpolations of n entries, each row with one or two numbers."""
    at = np.arange(m, dtype=np.float64)
    if align_corners:
        at = at * ((n - 1) / (m - 1) if m > 1 else 0)
    else:
        at = np.maximum((at + 0.5) * (n / m) - 0.5, 0)
    low = np.minimum(at.astype(np.int64), n - 1)
    share = at - low
    matrix = np.zeros((m, n))
    rows = np.arange(m)
    np.add.at(matrix, (rows, low), 1 - share)
    np.add.at(matrix, (rows, np.minimum(low + 1, n - 1)), share)
    return matrix


def averages(n: int, m: int) -> np.ndarray:
    """(m, n): the means of m parts of n entries, part i from ⌊i·n/m⌋ to ⌈(i + 1)·n/m⌉."""
    matrix = np.zeros((m, n))
    for i in range(m):
        begin, end = i * n // m, -(-(i + 1) * n // m)
        matrix[i, begin:end] = 1 / (end - begin)
    return matrix


def _along_both(data: Any, rows: np.ndarray, columns: np.ndarray) -> Any:
    """rows · data · columnsᵀ of each image."""
    dtype = np.dtype(data.dtype)
    return (beside(data, rows.astype(dtype)) @ data) @ beside(data, columns.T.astype(dtype))


_MODES = ("like", "odd_scale", "size", "to_even_down", "to_even_up", "to_odd_down", "to_odd_up")


def _resized(a: Attributes, n: int, size: int, scale: float | None, like: int) -> int:
    """The new length of an axis of n entries."""
    if a.mode == "like":
        return like
    if a.mode == "odd_scale":
        scale = 1.0 if scale is None else scale
        return int(n * scale) if n % 2 == 0 else int((n - 1) * scale) + 1
    if a.mode == "size":
        return size if scale is None else int(n * scale)
    even, up = a.mode.startswith("to_even"), a.mode.endswith("up")
    return n if (n % 2 == 0) == even else n + (1 if up else -1)


def _resize_inputs(a: Attributes) -> tuple[str, ...]:
    return ("data", "like") if a.mode == "like" else ("data",)


@operator(
    "_contrib_BilinearResize2D",
    _resize_inputs,
    flat="like",
    hint="bilinearresize2d",
    height=Int(1),
    width=Int(1),
    scale_height=Float(None, none=True),
    scale_width=Float(None, none=True),
    mode=Choice("size", words=_MODES),
    align_corners=Bool(True),
)
def bilinear_resize(call: Call, data: Tensor, like: Tensor | None = None) -> Tensor:
    """Images in another size by linear interpolation: (N, C, H, W) -> (N, C, h, w).

    The size is height and width, or H and W times the scales, or that of `like`, or the nearest
    odd or even one, as `mode` says.  With `align_corners` the corners stay where they are.
    """
    a = call.a
    high, wide = data.shape[2:]
    other = like.shape[2:] if like is not None else (0, 0)
    h = _resized(a, high, a.height, a.scale_height, other[0])
    w = _resized(a, wide, a.width, a.scale_width, other[1])
    return _along_both(
        data, interpolations(high, h, a.align_corners), interpolations(wide, w, a.align_corners)
    )


@operator("_contrib_AdaptiveAvgPooling2D", hint="adaptiveavgpooling2d", output_size=Shape(()))
def adaptive_mean(call: Call, data: Tensor) -> Tensor:
    """Means over h × w nearly equal parts of each image; of the whole one if no size is given."""
    size = call.a.output_size or (1,)
    h, w = size[0], size[-1]
    high, wide = data.shape[2:]
    return _along_both(data, averages(high, h), averages(wide, w))


# Correlation -------------------------------------------------------------------------------------


@operator(
    "Correlation",
    "data1 data2",
    hidden=2,
    kernel_size=Int(1),
    max_displacement=Int(1),
    stride1=Int(1),
    stride2=Int(1),
    pad_size=Int(0),
    is_multiply=Bool(True),
)
def correlation(call: Call, data1: Tensor, data2: Tensor) -> Tensor:
    """Products of patches of two images, one channel for each displacement of the second.

    The mean over kernel and channels of data1 · data2 (|data1 - data2| without `is_multiply`);
    displacements go row by row from -max_displacement to max_displacement in steps of stride2.
    """
    a = call.a
    pad, reach, kernel = a.pad_size, a.max_displacement, a.kernel_size
    widths = [(0, 0), (0, 0), (pad, pad), (pad, pad)]
    first, second = ops.pad(data1, widths), ops.pad(data2, widths)
    high, wide = first.shape[2:]
    border = reach + (kernel - 1) // 2
    h, w = (math.ceil((n - 2 * border) / a.stride1) for n in (high, wide))
    if h < 1 or w < 1:
        raise ValueError(f"max_displacement {reach} leaves nothing of {high} × {wide} pixels")
    radius = reach // a.stride2
    taps = [(i, j) for i in range(kernel) for j in range(kernel)]
    channels = []
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            total: Any = 0
            for i, j in taps:
                one = _cut(first, reach + i, reach + j, h, w, a.stride1)
                two = _cut(
                    second, reach + i + down * a.stride2, reach + j + right * a.stride2, h, w,
                    a.stride1,
                )  # fmt: skip
                pair = one * two if a.is_multiply else ops.absolute(one - two)
                total = total + ops.sum(pair, axis=1)
            channels.append(total / (len(taps) * data1.shape[1]))
    return ops.stack(channels, 1)


def _cut(x: Any, top: int, left: int, high: int, wide: int, step: int) -> Any:
    return x[
        :, :, top : top + step * (high - 1) + 1 : step, left : left + step * (wide - 1) + 1 : step
    ]
