"""Where the windows of a convolution or a pooling lie along each axis, and what is wrong with them.

Convolution, max and average pooling slide the same windows, so sizes, padding and complaints are
worked out here once.  Nothing here looks at data: the geometry is a function of shapes and
settings, it is checked before anything is computed, and it is cached, since a network asks for the
same few again and again.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tapegrad.autograd.core.errors import ShapeError

__all__ = ["Axis", "batches", "expect_shape", "padded", "plane_windows"]


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows along one axis: window o starts at ``o * stride - padding`` in the input."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    count: int  # of windows, that is the size of the output

    @property
    def extent(self) -> int:
        """Length that one window spans, holes between dilated taps included."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def reach(self) -> int:
        """Length that all windows together span, counted from the start of the padding."""
        return (self.count - 1) * self.stride + self.extent

    @property
    def inside(self) -> bool:
        """Whether every window lies in the input, so that none meets padding."""
        return self.padding == 0 and self.reach <= self.size

    def tap(self, index: int) -> slice:
        """What the tap number `index` of every window reads, in the padded input."""
        first = index * self.dilation
        return slice(first, first + (self.count - 1) * self.stride + 1, self.stride)


def _pair(setting: Any, where: str, name: str, least: int) -> tuple[int, int]:
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
    where: str, name: str, array: Any, layout: str, expected: tuple[int, ...] | None = None
) -> None:
    """Raise unless `array` has as many axes as `layout` names, and the sizes `expected`."""
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
    kernel: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    pooling: bool = False,
) -> tuple[Axis, Axis]:
    """The windows along the last two axes of `shape`, height then width; ints mean both.

    Their number is ⌊(size + 2·padding - extent) / stride⌋ + 1, or with the ceiling in `ceil_mode`,
    where a last window that would start beyond the input and its leading padding is left out.
    `pooling` asks for padding of at most half a kernel, as Torch7 does: otherwise a window could
    hold nothing but padding.  Raises ShapeError for windows that do not fit, ValueError for
    settings that make no sense; the message starts with `where`.
    """
    sizes = (
        _pair(kernel, where, "kernel", 1),
        _pair(stride, where, "stride", 1),
        _pair(padding, where, "padding", 0),
        _pair(dilation, where, "dilation", 1),
    )
    options = (bool(ceil_mode), pooling)
    return (
        _axis(where, "height", shape[2], *(first for first, _ in sizes), *options),
        _axis(where, "width", shape[3], *(second for _, second in sizes), *options),
    )


@lru_cache(maxsize=1024)
def _axis(
    where: str,
    name: str,
    size: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    ceil_mode: bool,
    pooling: bool,
) -> Axis:
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
        spread = f" (kernel {kernel}, dilation {dilation})" if dilation > 1 else ""
        raise ShapeError(
            f"{where}: the window's {name} {extent}{spread} is more than the padded input's "
            f"{size + 2 * padding} (size {size}, padding {padding}): use a larger input or more "
            "padding, or a smaller kernel or dilation"
        )
    axis = Axis(size, kernel, stride, padding, dilation, count)
    if pooling and dilation > 1:
        for start in range(-padding, 0, stride)[:count]:
            if start + dilation * -(start // dilation) >= size:
                raise ShapeError(
                    f"{where}: dilation {dilation} puts every tap of a window into the padding "
                    f"({name} {size}, kernel {kernel}, padding {padding}): use less of either"
                )
    return axis


def padded(xp: Any, x: Any, rows: Axis, columns: Axis, value: float = 0) -> Any:
    """x (N, C, H, W) with `value` around it as far as the windows reach; x itself if they don't."""
    if rows.inside and columns.inside:
        return x
    # With a stride, windows may end before the input does, or even within the leading padding.
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


def batches(count: int, bytes_each: int, limit: int) -> Iterator[slice]:
    """Slices that cover `count` images, each holding as many as `limit` bytes allow, at least one.

    Intermediate arrays many times the size of the input (patches) then stay in the cache, and
    memory stays bounded: measured 1.5 times faster on 64 planes of 32×32.
    """
    step = max(1, limit // max(1, bytes_each))
    for first in range(0, count, step):
        yield slice(first, min(first + step, count))
