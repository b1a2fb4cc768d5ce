"""Primitives of windows: convolution, pooling, unfolding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.kernels.windows import AxisWindows, plane_windows
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.onnx.calls import Call, counted_axis, fixed, refuses, writes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tapegrad.nn.formats.onnx.building import GraphBuilder, GraphValue
    from tapegrad.nn.formats.onnx.dims import Size

__all__: list[str] = []

INT64 = np.dtype(np.int64)


def _pair(setting: Any) -> list[int]:
    values = setting if isinstance(setting, (tuple, list)) else (setting, setting)
    return [int(value) for value in values]


@writes("conv2d")
def _conv2d(call: Call) -> GraphValue:
    kernel = fixed(call.shapes[1][2:], "the size of a kernel")
    padding = _pair(call.setting("padding"))
    return call.builder.op(
        "Conv", call.value(0, call.dtype), call.value(1, call.dtype),
        kernel_shape=kernel, strides=_pair(call.setting("stride")), pads=[*padding, *padding],
        dilations=_pair(call.setting("dilation")), group=int(call.setting("groups")),
    )  # fmt: skip


@writes("conv2d_input_gradient")
def _conv2d_input_gradient(call: Call) -> GraphValue:
    stride, padding = _pair(call.setting("stride")), _pair(call.setting("padding"))
    dilation = _pair(call.setting("dilation"))
    kernel = fixed(call.shapes[1][2:], "the size of a kernel")
    image = fixed(call.setting("shape")[2:], "the size of an image")
    outputs = fixed(call.shapes[0][2:], "the size of an image")
    extra = [
        n - ((o - 1) * s + d * (k - 1) + 1 - 2 * p)
        for n, o, s, d, k, p in zip(image, outputs, stride, dilation, kernel, padding, strict=True)
    ]
    w = call.builder
    y = w.op(
        "ConvTranspose", call.value(0, call.dtype), call.value(1, call.dtype),
        kernel_shape=kernel, strides=stride, pads=[*padding, *padding], dilations=dilation,
        group=int(call.setting("groups")),
        output_padding=extra if any(extra) and _allowed(extra, stride, dilation) else None,
    )  # fmt: skip
    if any(extra) and not _allowed(extra, stride, dilation):
        y = w.pad(y, [0] * 4, [0, 0, *extra])
    return y


def _allowed(extra: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> bool:
    """Whether ONNX takes the numbers as output_padding."""
    return all(0 <= e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True))


# Pooling -----------------------------------------------------------------------------------------


def _windows(call: Call, name: str, shape: Sequence[Size]) -> tuple[AxisWindows, AxisWindows]:
    height, width = fixed(shape[2:], "the size of an image")
    stride = call.setting("stride")
    has_dilation = "dilation" in call.primitive.settings
    return plane_windows(
        name, (1, 1, height, width), call.setting("kernel"),
        stride=call.setting("kernel") if stride is None else stride,
        padding=call.setting("padding"),
        dilation=call.setting("dilation") if has_dilation else 1,
        ceil_mode=call.setting("ceil_mode"), pooling=True,
    )  # fmt: skip


def _rounds_up_plainly(axis: AxisWindows) -> bool:
    """Whether the number of windows is the quotient rounded up: no last one was left out.

    ONNX's versions differ in what they do with a last window that begins in the padding.
    """
    room = axis.size + 2 * axis.padding - axis.extent
    return axis.count == -(-room // axis.stride) + 1


def _ends(windows: Sequence[AxisWindows]) -> list[int]:
    """How much must be added after each axis for the last window, at least the padding."""
    return [max(axis.padding, axis.reach - axis.padding - axis.size) for axis in windows]


def _geometry(windows: Sequence[AxisWindows], ends: Sequence[int]) -> dict[str, Any]:
    """Attributes of windows, the padding after each axis being `ends`."""
    return {
        "kernel_shape": [axis.kernel for axis in windows],
        "strides": [axis.stride for axis in windows],
        "pads": [*(axis.padding for axis in windows), *ends],
    }


@writes("max_pool2d")
def _max_pool2d(call: Call) -> list[GraphValue]:
    w, x = call.builder, call.value(0, call.dtype)
    windows = _windows(call, "max_pool2d", call.shapes[0])
    ends = _ends(windows)
    settings = _geometry(windows, ends)
    if call.setting("ceil_mode") and all(map(_rounds_up_plainly, windows)):
        ends = [axis.padding for axis in windows]
        settings = {**_geometry(windows, ends), "ceil_mode": 1}
    if any(axis.dilation != 1 for axis in windows):
        settings["dilations"] = [axis.dilation for axis in windows]
    if any(end >= axis.kernel for end, axis in zip(ends, windows, strict=True)):
        lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -math.inf
        x = w.pad(x, [0] * 4, [0, 0, *(e - a.padding for e, a in zip(ends, windows, strict=True))],
                  fill=lowest)  # fmt: skip
        if len(call.results) > 1:
            raise UnsupportedError("positions of maxima in windows that reach far beyond the image")
        settings["pads"] = [axis.padding for axis in windows] * 2
    if len(call.results) == 1:
        return [w.op("MaxPool", x, **settings)]
    maxima, places = w.ops("MaxPool", [x], 2, dtypes=(None, INT64), **settings)
    area = math.prod(axis.size for axis in windows)
    # ONNX counts from the first entry of the batch, max_pool2d from that of the plane
    return [maxima, w.op("Mod", places, w.number(area, INT64))]


@writes("max_pool2d_gather")
def _max_pool2d_gather(call: Call) -> GraphValue:
    w = call.builder
    n, c, height, width = call.shapes[0]
    flat = w.reshape(call.x, [n, c, height * width])
    places = w.reshape(call.value(1, INT64), [n, c, call.shapes[1][2] * call.shapes[1][3]])
    return w.reshape(w.op("GatherElements", flat, places, axis=2), call.shape)


@writes("max_unpool2d")
def _max_unpool2d(call: Call) -> GraphValue:
    w = call.builder
    n, c, height, width = call.setting("shape")
    zeros = w.op("Expand", w.number(0, call.dtype), w.sizes_of([n, c, height * width]))
    size = call.shapes[0][2] * call.shapes[0][3]
    places = w.reshape(call.value(1, INT64), [n, c, size])
    entries = w.reshape(call.value(0, call.dtype), [n, c, size])
    y = w.op("ScatterElements", zeros, places, entries, axis=2, reduction="add")
    return w.reshape(y, call.setting("shape"))


def _counts(axis: AxisWindows, include_pad: bool) -> np.ndarray[Any, Any]:
    """How many entries count in each window along an axis."""
    starts = np.arange(axis.count) * axis.stride - axis.padding
    low = -axis.padding if include_pad else 0
    high = axis.size + (axis.padding if include_pad else 0)
    return np.minimum(starts + axis.kernel, high) - np.maximum(starts, low)


def _area_shares(call: Call, windows: Sequence[AxisWindows]) -> np.ndarray[Any, Any]:
    """What the sum of each window is multiplied by, (oH, oW)."""
    include = bool(call.setting("count_include_pad"))
    counts = np.outer(*(_counts(axis, include) for axis in windows))
    area = 1 if call.setting("divide") else math.prod(axis.kernel for axis in windows)
    return area / np.maximum(counts, 1)


def _tiles(axis: AxisWindows) -> bool:
    """Whether the windows lie side by side and fill the axis."""
    return axis.kernel == axis.stride and not axis.padding and axis.reach == axis.size


def _ones(w: GraphBuilder, channels: int, windows: Sequence[AxisWindows], dtype: Any) -> GraphValue:
    shape = (channels, 1, *(axis.kernel for axis in windows))
    return w.array(np.ones(shape, dtype), "ones")


@writes("avg_pool2d")
def _avg_pool2d(call: Call) -> GraphValue:
    w, x = call.builder, call.value(0, call.dtype)
    windows = _windows(call, "avg_pool2d", call.shapes[0])
    ends = _ends(windows)
    plain = all(end == axis.padding for end, axis in zip(ends, windows, strict=True))
    if plain:
        include = 1 if call.setting("count_include_pad") else 0
        settings = _geometry(windows, ends)
        y = w.op("AveragePool", x, count_include_pad=include, **settings)
        return y if call.setting("divide") else y * math.prod(axis.kernel for axis in windows)
    (channels,) = fixed(call.shapes[0][1:2], "the number of planes")
    ones = _ones(w, channels, windows, call.dtype)
    sums = w.op("Conv", x, ones, group=channels, **_geometry(windows, ends))
    return sums * w.array(_area_shares(call, windows).astype(call.dtype), "shares")


@writes("avg_pool2d_gradient")
def _avg_pool2d_gradient(call: Call) -> GraphValue:
    w, v = call.builder, call.value(0, call.dtype)
    shape = call.setting("shape")
    windows = _windows(call, "avg_pool2d_gradient", shape)
    ends = _ends(windows)
    (channels,) = fixed(shape[1:2], "the number of planes")
    shares = _area_shares(call, windows)
    if np.ptp(shares) == 0 and all(map(_tiles, windows)):
        scales = np.array([1, 1, *(axis.kernel for axis in windows)], np.float32)
        y = w.op(
            "Resize", v, None, w.array(scales, "scales"), mode="nearest",
            coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip
        return y if shares.flat[0] == 1 else y * float(shares.flat[0])
    if np.any(shares != 1):
        v = v * w.array(shares.astype(call.dtype), "shares")
    left = [
        axis.size + axis.padding + end - axis.reach for axis, end in zip(windows, ends, strict=True)
    ]
    ones = _ones(w, channels, windows, call.dtype)
    y = w.op("ConvTranspose", v, ones, group=channels, **_geometry(windows, ends))
    return w.pad(y, [0] * 4, [0, 0, *left]) if any(left) else y


# Unfolding ---------------------------------------------------------------------------------------


@writes("unfold")
def _unfold(call: Call) -> GraphValue:
    w = call.builder
    axis = counted_axis(call.setting("axis"), call.ndim)
    (count,) = fixed(call.shape[axis : axis + 1], "the number of windows")
    size, step, dilation = (call.setting(name) for name in ("size", "step", "dilation"))
    places = np.arange(count)[:, None] * step + np.arange(size) * dilation
    y = w.op("Gather", call.x, w.array(places.astype(np.int64), "places"), axis=axis)
    order = [*range(axis + 1), *range(axis + 2, call.ndim + 1), axis + 1]
    return w.op("Transpose", y, perm=order) if order != sorted(order) else y


@writes("fold")
def _fold(call: Call) -> GraphValue:
    w, shape = call.builder, call.setting("shape")
    axis = counted_axis(call.setting("axis"), len(shape))
    count, size, length = fixed(
        [call.shapes[0][axis], call.shapes[0][-1], shape[axis]], "the number of windows"
    )
    places = np.arange(count)[:, None] * call.setting("step") + np.arange(size) * call.setting(
        "dilation"
    )
    spread = np.zeros((count * size, length), dtype=call.dtype)
    spread[np.arange(count * size), places.reshape(-1)] = 1
    last = call.ndim - 1
    rest = [a for a in range(last) if a != axis]
    x = w.op("Transpose", call.x, perm=[*rest, axis, last])
    x = w.reshape(x, [*(call.shapes[0][a] for a in rest), count * size])
    # a product with a constant of zeros and ones adds the entries of each place
    y = w.op("MatMul", x, w.array(spread, "places"))
    order = [*rest, axis]
    return w.op("Transpose", y, perm=[order.index(a) for a in range(last)])


refuses("the gradient of weights, which no model computes", "conv2d_weight_gradient")
