"""`plane_windows` computes and checks the positions of the windows of convolution and pooling.

Convolution, max pooling and average pooling slide the same windows over their input, so sizes,
padding and error messages are worked out here once.  The geometry is a function of shapes and
settings alone.  It is checked before anything is computed, and cached, since a network uses the
same few geometries again and again.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from tapegrad.autograd.core.errors import ShapeError

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

DEVICE_BYTES = 1 << 28  # of the intermediate arrays of one batch of images on a GPU

__all__ = [
    "AxisWindows",
    "IntOrPair",
    "image_batches",
    "expect_shape",
    "pad_for_windows",
    "plane_windows",
]

# A setting of windows: one int for both axes, or a pair (height, width).
IntOrPair: TypeAlias = int | Sequence[int]


@dataclass(frozen=True, slots=True)
class AxisWindows:
    """Windows along one axis: window o starts at ``o * stride - padding`` in the input."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    count: int  # number of windows, which is the size of the output

    @property
    def extent(self) -> int:
        """Length of one window, with the gaps between dilated taps."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def reach(self) -> int:
        """Length from the start of the padding to the end of the last window."""
        return (self.count - 1) * self.stride + self.extent

    @property
    def needs_no_padding(self) -> bool:
        """True if every window lies in the input, so that none contains padding."""
        return self.padding == 0 and self.reach <= self.size

    def tap(self, index: int) -> slice:
        """The slice of the padded input that tap number `index` reads, over all windows."""
        first = index * self.dilation
        return slice(first, first + (self.count - 1) * self.stride + 1, self.stride)


def _int_pair(setting: Any, where: str, name: str, least: int) -> tuple[int, int]:
    try:
        if isinstance(setting, (tuple, list)):
            first, second = (operator.index(value) for value in setting)
        else:
            first = second = operator.index(setting)
    except (TypeError, ValueError):
        raise ValueError(
            f"{where}: {name} must be an int or a pair of ints (height, width), found {setting!r}"
        ) from None
    if min(first, second) < least:
        raise ValueError(f"{where}: {name} must be at least {least}, found {setting!r}")
    return first, second


def expect_shape(
    where: str, name: str, array: Array, layout: str, expected: tuple[int, ...] | None = None
) -> None:
    """Raise ValueError unless `array` has the four axes of `layout`, and the sizes `expected`."""
    if array.ndim != 4:
        hint = ""
        if array.ndim == 3:
            hint = f": give a single sample a batch axis with {name}[None]"
        raise ShapeError(
            f"{where}: {name} must have the four axes {layout}, found shape {array.shape}{hint}"
        )
    if expected is not None and tuple(array.shape) != expected:
        raise ShapeError(
            f"{where}: {name} must have shape {layout} = {expected}, found {tuple(array.shape)}: "
            "it must come from a call with the same shapes and settings"
        )


def plane_windows(
    where: str,
    shape: tuple[int, ...],
    kernel: IntOrPair,
    *,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    pooling: bool = False,
) -> tuple[AxisWindows, AxisWindows]:
    """The windows along the last two axes of `shape`, height and width; an int setting means both.

    Their number along an axis is ⌊(size + 2·padding - extent) / stride⌋ + 1.  `ceil_mode` takes the
    ceiling instead, but leaves a last window out that would start beyond the input and its leading
    padding.  `pooling` limits the padding to half a kernel, as Torch7 does, since a window could
    otherwise consist of padding alone.  Raises ShapeError for windows that do not fit, ValueError
    for settings that make no sense; the message starts with `where`.
    """
    sizes = (
        _int_pair(kernel, where, "kernel", 1),
        _int_pair(stride, where, "stride", 1),
        _int_pair(padding, where, "padding", 0),
        _int_pair(dilation, where, "dilation", 1),
    )
    options = (bool(ceil_mode), pooling)
    return (
        _axis_windows(where, "height", shape[2], *(first for first, _ in sizes), *options),
        _axis_windows(where, "width", shape[3], *(second for _, second in sizes), *options),
    )


@lru_cache(maxsize=1024)
def _axis_windows(
    where: str,
    name: str,
    size: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    ceil_mode: bool,
    pooling: bool,
) -> AxisWindows:
    if pooling and padding > kernel // 2:
        raise ShapeError(
            f"{where}: padding {padding} is more than half the kernel's {name} {kernel}: "
            f"use at most {kernel // 2}, or a larger kernel"
        )
    extent = dilation * (kernel - 1) + 1
    room = size + 2 * padding - extent
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    if size < 1 or count < 1:
        dilated = f" (kernel {kernel}, dilation {dilation})" if dilation > 1 else ""
        raise ShapeError(
            f"{where}: the window's {name} {extent}{dilated} is more than the padded input's "
            f"{size + 2 * padding} (size {size}, padding {padding}): use a larger input or more "
            "padding, or a smaller kernel or dilation"
        )
    axis = AxisWindows(size, kernel, stride, padding, dilation, count)
    if pooling and dilation > 1:
        for start in range(-padding, 0, stride)[:count]:
            if start + dilation * -(start // dilation) >= size:
                raise ShapeError(
                    f"{where}: dilation {dilation} puts every tap of a window into the padding "
                    f"({name} {size}, kernel {kernel}, padding {padding}): use less of either"
                )
    return axis


def pad_for_windows(
    xp: Namespace, x: Array, rows: AxisWindows, columns: AxisWindows, value: float = 0
) -> Array:
    """x (N, C, H, W) with a border of `value` that the windows reach; x itself without a border."""
    if rows.needs_no_padding and columns.needs_no_padding:
        return x
    # With a stride, the last window may end before the input does, even in the leading padding.
    height = max(0, min(rows.size, rows.reach - rows.padding))
    width = max(0, min(columns.size, columns.reach - columns.padding))
    wide = xp.full((*x.shape[:2], rows.reach, columns.reach), value, dtype=x.dtype)
    wide[
        :,
        :,
        rows.padding : rows.padding + height,
        columns.padding : columns.padding + width,
    ] = x[:, :, :height, :width]
    return wide


def image_batches(xp: Namespace, count: int, bytes_each: int, limit: int) -> Iterator[slice]:
    """Yield slices of `count` images; each has as many as `limit` bytes allow, at least one.

    Intermediate arrays (patches) are many times the size of the input.  With the slices they stay
    in the cache and memory is bounded: 64 planes of 32×32 were measured 1.5 times faster.  A GPU is
    given as many images as DEVICE_BYTES hold, for each call there takes microseconds to begin.
    """
    if xp.__name__ == "cupy":
        limit = max(limit, DEVICE_BYTES)
    step = max(1, limit // max(1, bytes_each))
    for first in range(0, count, step):
        yield slice(first, min(first + step, count))
