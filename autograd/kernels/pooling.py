"""Max and average pooling run as array code, with one pass of array operations for each tap.

The maximum is taken pairwise between the taps of a window, three times faster than PyTorch's loop
and four times faster than argmax over unfolded windows.  The number of the tap that holds the
maximum is kept for each window, as a byte while taps are compared, and becomes a position at the
end.

The derivative of max pooling reads at these positions, `max_pool2d_gather`; its adjoint adds there,
`max_unpool2d`.  Average pooling sums along one axis, then along the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.kernels.scattering import scatter_add
from tapegrad.autograd.kernels.windows import (
    AxisWindows,
    IntOrPair,
    expect_shape,
    image_batches,
    pad_for_windows,
    plane_windows,
)

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.devices import Array, Namespace

__all__ = [
    "average_scale",
    "average_windows",
    "avg_pool2d",
    "avg_pool2d_gradient",
    "check_indices",
    "max_pool2d",
    "max_pool2d_gather",
    "max_unpool2d",
]

BLOCK_BYTES = 2**18


def _lowest_value(xp: Namespace, dtype: np.dtype[Any]) -> float:
    return -xp.inf if dtype.kind == "f" else xp.iinfo(dtype).min


def _window_starts(xp: Namespace, axis: AxisWindows) -> Array:
    return xp.arange(axis.count) * axis.stride - axis.padding


def _first_tap_inside(xp: Namespace, axis: AxisWindows) -> Array:
    """The number of the first tap of each window that lies in the input, after the padding."""
    return (xp.maximum(-_window_starts(xp, axis), 0) + (axis.dilation - 1)) // axis.dilation


def max_pool2d(
    xp: Namespace,
    x: Array,
    *,
    kernel: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = (0, 0),
    dilation: IntOrPair = (1, 1),
    ceil_mode: bool = False,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[Array, Array]:
    """The maximum of each window and its position: (N, C, H, W) -> two of (N, C, oH, oW).

    The position is int64, h · W + w, counted from 0 in the image without padding.  Of equal maxima
    the first in row-major order counts.  A window with a NaN gives NaN and the last NaN's position.
    """
    where = "max_pool2d"
    expect_shape(where, "x", x, "(N, C, H, W)")
    rows, columns = plane_windows(
        where,
        x.shape,
        kernel,
        stride=kernel if stride is None else stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        pooling=True,
    )
    n, channels, _, width = x.shape
    plane = (rows.count, columns.count)
    y = xp.empty((n, channels, *plane), dtype=x.dtype)
    indices = xp.empty(y.shape, dtype=xp.int64)
    taps = rows.kernel * columns.kernel
    small = xp.uint8 if taps <= 256 else xp.int64
    low = _lowest_value(xp, x.dtype)
    # If all entries of a window are as low as the padding, the first tap in the input must win.
    first = _first_tap_inside(xp, rows)[:, None] * columns.kernel + _first_tap_inside(xp, columns)
    first = first.astype(small)
    corner = _window_starts(xp, rows)[:, None] * width + _window_starts(xp, columns)
    down = xp.arange(rows.kernel)[:, None] * (rows.dilation * width)
    offsets = (down + xp.arange(columns.kernel) * columns.dilation).reshape(-1)
    image_bytes = x.dtype.itemsize * channels * rows.count * columns.count
    for part in image_batches(xp, n, image_bytes, block_bytes):
        wide = pad_for_windows(xp, x[part], rows, columns, low)
        best = y[part]
        best[...] = wide[:, :, rows.tap(0), columns.tap(0)]
        winner = xp.empty(best.shape, dtype=small)
        winner[...] = first
        value = xp.empty(best.shape, dtype=x.dtype)
        higher = xp.empty(best.shape, dtype=xp.bool_)
        nan = xp.empty(best.shape, dtype=xp.bool_)
        for tap in range(1, taps):
            i, j = divmod(tap, columns.kernel)
            # One copy costs less than four operations on strided rows.
            value[...] = wide[:, :, rows.tap(i), columns.tap(j)]
            xp.greater(value, best, out=higher)
            xp.not_equal(value, value, out=nan)
            xp.logical_or(higher, nan, out=higher)
            xp.maximum(best, value, out=best)
            # Taps come in rising order, so the last higher tap has the largest number.
            xp.maximum(winner, higher.view(xp.uint8).astype(small, copy=False) * tap, out=winner)
        xp.add(xp.take(offsets, winner), corner, out=indices[part])
    return y, indices


def _batch_indices(xp: Namespace, indices: Array, plane: int) -> Array:
    """Positions in an image -> positions in the flattened batch."""
    n, channels, height, width = indices.shape
    first = xp.arange(n * channels) * plane
    return (indices.reshape(n * channels, height * width) + first[:, None]).reshape(-1)


def check_indices(where: str, indices: Array, shape: tuple[int, ...], name: str) -> None:
    """Raise ShapeError unless indices (N, C, oH, oW) belong to planes of `shape` (N, C, H, W)."""
    expect_shape(where, "indices", indices, "(N, C, oH, oW)")
    if len(shape) != 4 or tuple(indices.shape[:2]) != tuple(shape[:2]):
        raise ShapeError(
            f"{where}: indices of shape {tuple(indices.shape)} do not belong to {name} "
            f"{tuple(shape)}: both start with (N, C)"
        )


def max_pool2d_gather(xp: Namespace, x: Array, indices: Array) -> Array:
    """y[n, c, i, j] = x[n, c] at the flat position indices[n, c, i, j]; x (N, C, H, W)."""
    where = "max_pool2d_gather"
    expect_shape(where, "x", x, "(N, C, H, W)")
    check_indices(where, indices, x.shape, "x of shape")
    plane = x.shape[2] * x.shape[3]
    return xp.take(x.reshape(-1), _batch_indices(xp, indices, plane)).reshape(indices.shape)


def max_unpool2d(xp: Namespace, x: Array, indices: Array, *, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` (N, C, H, W), with x (N, C, oH, oW) added at the flat positions `indices`.

    This is the adjoint of `max_pool2d_gather`: an entry with several windows gets their sum.
    """
    where = "max_unpool2d"
    check_indices(where, indices, shape, "shape =")
    expect_shape(where, "x", x, "(N, C, oH, oW)", tuple(indices.shape))
    plane = shape[2] * shape[3]
    y = xp.zeros(shape[0] * shape[1] * plane, dtype=x.dtype)
    scatter_add(xp, y, _batch_indices(xp, indices, plane), x.reshape(-1))
    return y.reshape(shape)


def _tap_counts(xp: Namespace, axis: AxisWindows, count_include_pad: bool) -> Array:
    """The number of taps of each window in the padded input, or in the input alone."""
    start = _window_starts(xp, axis)
    end = xp.minimum(start + axis.kernel, axis.size + axis.padding)
    if not count_include_pad:
        start, end = xp.maximum(start, 0), xp.minimum(end, axis.size)
    return end - start


def average_scale(
    xp: Namespace, rows: AxisWindows, columns: AxisWindows, count_include_pad: bool, divide: bool
) -> Array:
    """What the sum of each window is multiplied by: float64, () or (oH, oW)."""
    full = rows.kernel * columns.kernel
    if rows.needs_no_padding and columns.needs_no_padding:
        return xp.asarray(1 / full if divide else 1.0)
    heights = _tap_counts(xp, rows, count_include_pad)
    widths = _tap_counts(xp, columns, count_include_pad)
    return (1 if divide else full) / (heights[:, None] * widths)


def _scale_averages(
    xp: Namespace,
    x: Array,
    rows: AxisWindows,
    columns: AxisWindows,
    count_include_pad: bool,
    divide: bool,
) -> Array:
    scale = average_scale(xp, rows, columns, count_include_pad, divide)
    return x * (scale.astype(x.dtype) if x.dtype.kind in "fc" else scale)


def average_windows(
    where: str,
    shape: tuple[int, ...],
    kernel: IntOrPair,
    stride: IntOrPair | None,
    padding: IntOrPair,
    ceil_mode: bool,
) -> tuple[AxisWindows, AxisWindows]:
    """The windows of average pooling; stride is the kernel by default."""
    return plane_windows(
        where,
        shape,
        kernel,
        stride=kernel if stride is None else stride,
        padding=padding,
        ceil_mode=ceil_mode,
        pooling=True,
    )


def avg_pool2d(
    xp: Namespace,
    x: Array,
    *,
    kernel: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divide: bool = True,
) -> Array:
    """The sum of each window over its number of entries: (N, C, H, W) -> (N, C, oH, oW).

    The number counts entries of x and padding, but nothing beyond the padding, where a last window
    of `ceil_mode` may reach; without `count_include_pad` it counts entries of x alone.  Without
    `divide` the average is multiplied by the kernel's area, as in Torch7's SpatialAveragePooling,
    so that a full window gives its sum.  Integers give float64.
    """
    expect_shape("avg_pool2d", "x", x, "(N, C, H, W)")
    rows, columns = average_windows("avg_pool2d", x.shape, kernel, stride, padding, ceil_mode)
    wide = pad_for_windows(xp, x, rows, columns)
    total = xp.array(wide[:, :, rows.tap(0)])
    for i in range(1, rows.kernel):
        total += wide[:, :, rows.tap(i)]
    y = xp.array(total[:, :, :, columns.tap(0)])
    for j in range(1, columns.kernel):
        y += total[:, :, :, columns.tap(j)]
    return _scale_averages(xp, y, rows, columns, count_include_pad, divide)


def avg_pool2d_gradient(
    xp: Namespace,
    g: Array,
    *,
    shape: tuple[int, ...],
    kernel: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divide: bool = True,
) -> Array:
    """The adjoint of `avg_pool2d` on inputs of `shape`: an entry gets the shares of its windows."""
    where = "avg_pool2d_gradient"
    rows, columns = average_windows(where, shape, kernel, stride, padding, ceil_mode)
    expect_shape(
        where, "the cotangent", g, "(N, C, oH, oW)", (*shape[:2], rows.count, columns.count)
    )
    share = _scale_averages(xp, g, rows, columns, count_include_pad, divide)
    top, left = rows.padding, columns.padding
    height = max(rows.reach, top + rows.size)
    width = max(columns.reach, left + columns.size)
    total = xp.zeros((*share.shape[:3], width), dtype=share.dtype)
    for j in range(columns.kernel):
        total[:, :, :, columns.tap(j)] += share
    y = xp.zeros((*share.shape[:2], height, width), dtype=share.dtype)
    for i in range(rows.kernel):
        y[:, :, rows.tap(i)] += total
    return xp.ascontiguousarray(y[:, :, top : top + rows.size, left : left + columns.size])
