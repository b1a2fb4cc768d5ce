"""Operators of ONNX with windows: convolution, pooling, resizing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.formats.onnx.in_elementwise import like
from tapegrad.nn.formats.onnx.operators import OperatorCall, reads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Windows", "windows_of"]

CONVOLUTIONS: dict[int, Callable[..., Any]] = {2: ops.conv2d, 3: ops.conv3d}
TRANSPOSED: dict[int, Callable[..., Any]] = {
    2: ops.conv2d_input_gradient,
    3: ops.conv3d_input_gradient,
}


class Windows:
    """Kernel, strides, dilations and padding of a call, a number for each axis of an image."""

    def __init__(self, call: OperatorCall, kernel: Sequence[int], sides: Sequence[int]) -> None:
        many = len(sides)
        self.kernel = list(kernel)
        self.strides = call.ints("strides") or [1] * many
        self.dilations = call.ints("dilations") or [1] * many
        pads = call.ints("pads") or [0] * 2 * many
        lists = (self.kernel, self.strides, self.dilations, pads)
        if [len(each) for each in lists] != [many, many, many, 2 * many]:
            raise call.wrong(f"settings for {many} axes", [len(each) for each in lists])
        if min([*self.kernel, *self.strides, *self.dilations], default=1) < 1 or min(pads) < 0:
            raise call.wrong("lengths of at least 1, and padding of at least 0")
        self.before, self.after = pads[:many], pads[many:]
        self.spans = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        auto = call.text("auto_pad", "NOTSET")
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            for i, n in enumerate(sides):
                total = (-(-n // self.strides[i]) - 1) * self.strides[i] + self.spans[i] - n
                small, large = max(total, 0) // 2, max(total, 0) - max(total, 0) // 2
                upper = auto == "SAME_UPPER"
                self.before[i], self.after[i] = (small, large) if upper else (large, small)
        elif auto not in ("NOTSET", "VALID"):
            raise call.wrong("a kind of auto_pad", auto)

    @property
    def symmetric(self) -> bool:
        """Whether as much is added after each axis as before it."""
        return self.before == self.after


def windows_of(call: OperatorCall, kernel: Sequence[int], x: Any) -> Windows:
    """The windows of a call on x (N, C, …)."""
    if x.ndim < 3:
        raise call.wrong("an input (N, C, …)", x.shape)
    return Windows(call, kernel, x.shape[2:])


def _bordered(x: Any, before: Sequence[int], after: Sequence[int], fill: float = 0) -> Any:
    if not any((*before, *after)):
        return x
    return ops.pad(x, ((0, 0), (0, 0), *zip(before, after, strict=True)), fill)


def _as_tensor(x: Any) -> Any:
    return x if isinstance(x, Tensor) else Tensor(x)


@reads("Conv")
def _conv(call: OperatorCall) -> Any:
    x, w, bias = call.x, call.inputs[1], call.input(2)
    windows = windows_of(call, w.shape[2:], x)
    padding = windows.before
    if not windows.symmetric:
        x, padding = _bordered(x, windows.before, windows.after), [0] * len(padding)
    groups = int(call.number("group", 1))
    if x.ndim == 3:
        y = ops.conv2d(
            np.expand_dims(x, 2), np.expand_dims(w, 2), (1, *windows.strides), (0, *padding),
            (1, *windows.dilations), groups,
        )[:, :, 0]  # fmt: skip
    elif x.ndim - 2 in CONVOLUTIONS:
        y = CONVOLUTIONS[x.ndim - 2](
            x, w, tuple(windows.strides), tuple(padding), tuple(windows.dilations), groups
        )
    else:
        raise call.unsupported(f"{x.ndim - 2} axes")
    return y if bias is None else y + bias.reshape((-1, *(1,) * (x.ndim - 2)))


@reads("ConvTranspose")
def _conv_transpose(call: OperatorCall) -> Any:
    x, w, bias = call.x, call.inputs[1], call.input(2)
    many = x.ndim - 2
    windows = windows_of(call, w.shape[2:], x)
    extra = call.ints("output_padding") or [0] * many
    groups = int(call.number("group", 1))
    full = [
        (n - 1) * s + span
        for n, s, span in zip(x.shape[2:], windows.strides, windows.spans, strict=True)
    ]
    before, after = _cut(call, windows, full, extra)
    if many == 1:
        x, w = np.expand_dims(x, 2), np.expand_dims(w, 2)
    lead = (0,) * (1 if many == 1 else 0)
    ones = (1,) * len(lead)
    shape = (x.shape[0], w.shape[1] * groups, *ones, *full)
    function = TRANSPOSED.get(len(shape) - 2)
    if function is None:
        raise call.unsupported(f"{many} axes")
    y = function(
        x, w, shape=shape, stride=(*ones, *windows.strides), padding=(*lead, *(0,) * many),
        dilation=(*ones, *windows.dilations), groups=groups,
    )  # fmt: skip
    y = y[:, :, 0] if many == 1 else y
    # padding cuts the full result; output_padding adds zeros, where padding cut nothing
    wide = [max(-a, 0) for a in after]
    y = _bordered(y, [0] * many, wide)
    sides = [n + w for n, w in zip(full, wide, strict=True)]
    cut = tuple(slice(b, n - max(a, 0)) for b, a, n in zip(before, after, sides, strict=True))
    y = y[(slice(None), slice(None), *cut)]
    return y if bias is None else y + bias.reshape((-1, *(1,) * many))


def _cut(
    call: OperatorCall, windows: Windows, full: Sequence[int], extra: Sequence[int]
) -> tuple[list[int], list[int]]:
    """How much of the full result is cut off before and after each axis."""
    before = list(windows.before)
    after = [a - e for a, e in zip(windows.after, extra, strict=True)]
    target = call.ints("output_shape")
    auto = call.text("auto_pad", "NOTSET")
    if target is not None:
        target = target[-len(full) :]
    elif auto.startswith("SAME"):
        target = [s * n for s, n in zip(windows.strides, call.x.shape[2:], strict=True)]
    if target is not None:
        for i, (size, n, e) in enumerate(zip(target, full, extra, strict=True)):
            total = n + e - size
            small = total // 2
            first = small if auto == "SAME_UPPER" else total - small
            before[i], after[i] = max(first, 0), total - max(first, 0) - e
    return before, after


# Pooling -----------------------------------------------------------------------------------------


def _kernel(call: OperatorCall) -> list[int]:
    kernel = call.ints("kernel_shape")
    if not kernel:
        raise call.wrong("kernel_shape")
    return kernel


def _ends(call: OperatorCall, windows: Windows, sides: Sequence[int]) -> list[int]:
    """The padding after each axis that the last window needs, with ceil_mode."""
    ends = list(windows.after)
    if not call.number("ceil_mode", 0):
        return ends
    for i, n in enumerate(sides):
        room = n + windows.before[i] + windows.after[i] - windows.spans[i]
        count = -(-room // windows.strides[i]) + 1
        if (count - 1) * windows.strides[i] >= n + windows.before[i]:
            count -= 1
        reach = (count - 1) * windows.strides[i] + windows.spans[i]
        ends[i] = max(ends[i], reach - n - windows.before[i])
    return ends


def _pooled(
    function2: Callable[..., Any], function3: Callable[..., Any], x: Any, windows: Windows,
    **more: Any,
) -> Any:  # fmt: skip
    """A primitive of pooling over 1, 2 or 3 axes of x, which has its border already."""
    kernel, strides = tuple(windows.kernel), tuple(windows.strides)
    if x.ndim == 3:
        dilation = {"dilation": (1, *windows.dilations)} if "dilation" in more else {}
        y = function2(np.expand_dims(x, 2), (1, *kernel), (1, *strides), **{**more, **dilation})
        return y[:, :, 0]
    return (function2 if x.ndim == 4 else function3)(x, kernel, strides, **more)


@reads("MaxPool")
def _max_pool(call: OperatorCall) -> Any:
    x = call.x
    windows = windows_of(call, _kernel(call), x)
    if x.ndim > 5:
        raise call.unsupported(f"{x.ndim - 2} axes")
    ends = _ends(call, windows, x.shape[2:])
    lowest = -math.inf if x.dtype.kind == "f" else int(np.iinfo(x.dtype).min)
    wide = _as_tensor(_bordered(x, windows.before, ends, lowest))
    dilation = {"dilation": tuple(windows.dilations)} if max(windows.dilations) > 1 else {}
    if call.count == 1:
        return _pooled(ops.max_pool2d, ops.max_pool3d, wide, windows, **dilation)
    if x.ndim != 4 or call.number("storage_order", 0):
        raise call.unsupported("positions in other than two axes")
    y, places = ops.max_pool2d.with_aux(
        wide, tuple(windows.kernel), tuple(windows.strides), **dilation
    )
    n, c, height, width = x.shape
    rows, columns = places // wide.shape[3], places % wide.shape[3]
    flat = (rows - windows.before[0]) * width + (columns - windows.before[1])
    planes = np.arange(n * c).reshape((n, c, 1, 1)) * (height * width)
    return [y, (flat + planes).astype(np.int64)]


@reads("AveragePool")
def _average_pool(call: OperatorCall) -> Any:
    x = call.x
    windows = windows_of(call, _kernel(call), x)
    if x.ndim > 5 or max(windows.dilations) > 1:
        raise call.unsupported("dilations, and more than three axes")
    ends = _ends(call, windows, x.shape[2:])
    mean = _pooled(ops.avg_pool2d, ops.avg_pool3d, _bordered(x, windows.before, ends), windows)
    if not any((*windows.before, *ends)):
        return mean
    include = bool(call.number("count_include_pad", 0))
    shares = np.ones(())
    for i, n in enumerate(x.shape[2:]):
        first = np.arange(mean.shape[2 + i]) * windows.strides[i] - windows.before[i]
        low = -windows.before[i] if include else 0
        high = n + windows.after[i] if include else n
        count = np.minimum(first + windows.kernel[i], high) - np.maximum(first, low)
        shares = np.multiply.outer(shares, windows.kernel[i] / np.maximum(count, 1))
    return mean * shares.astype(x.dtype)


@reads("LpPool")
def _lp_pool(call: OperatorCall) -> Any:
    x, p = call.x, call.number("p", 2)
    windows = windows_of(call, _kernel(call), x)
    if max(windows.dilations) > 1:
        raise call.unsupported("dilations")
    powers = np.power(np.abs(x), like(x, p))
    wide = _bordered(powers, windows.before, _ends(call, windows, x.shape[2:]))
    mean = _pooled(ops.avg_pool2d, ops.avg_pool3d, wide, windows)
    return np.power(mean * math.prod(windows.kernel), like(x, 1 / p))


@reads("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global_pool(call: OperatorCall) -> Any:
    x = call.x
    axes = tuple(range(2, x.ndim))
    if call.op == "GlobalAveragePool":
        return np.mean(x, axis=axes, keepdims=True)
    if call.op == "GlobalMaxPool":
        return np.max(x, axis=axes, keepdims=True)
    p = call.number("p", 2)
    total = np.sum(np.power(np.abs(x), like(x, p)), axis=axes, keepdims=True)
    return np.power(total, like(x, 1 / p))


@reads("MaxUnpool")
def _max_unpool(call: OperatorCall) -> Any:
    x, places = call.x, call.inputs[1]
    windows = windows_of(call, _kernel(call), x)
    sides = [
        (n - 1) * s + k - b - a
        for n, s, k, b, a in zip(
            x.shape[2:], windows.strides, windows.kernel, windows.before, windows.after, strict=True
        )
    ]
    shape = [*x.shape[:2], *sides]
    if call.whole(2) not in (None, shape):
        raise call.unsupported("an output_shape of its own, which programs read differently")
    y = Tensor(np.zeros(math.prod(shape), x.dtype)) * 1
    y[places.reshape(-1)] = x.reshape(-1)
    return y.reshape(tuple(shape))


# Resizing ----------------------------------------------------------------------------------------


@reads("Upsample")
def _upsample(call: OperatorCall) -> Any:
    given = call.host(1)
    scales = call.attributes.get("scales") if given is None else given.tolist()
    return _resized(call, scales, None, "asymmetric", "floor")


@reads("Resize", since=10)
def _resize_10(call: OperatorCall) -> Any:
    scales = np.asarray(call.host(1)).tolist()
    return _resized(call, scales, None, "asymmetric", "floor")


@reads("Resize", since=11)
def _resize(call: OperatorCall) -> Any:
    scales, sizes = call.host(2), call.whole(3)
    given = None if scales is None or not scales.size else [float(s) for s in scales.reshape(-1)]
    if call.number("antialias", 0) or call.number("exclude_outside", 0):
        raise call.unsupported("antialias and exclude_outside")
    if call.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise call.unsupported("keep_aspect_ratio_policy")
    coordinates = call.text("coordinate_transformation_mode", "half_pixel")
    nearest = call.text("nearest_mode", "round_prefer_floor")
    return _resized(call, given, sizes, coordinates, nearest)


def _resized(call: OperatorCall, scales: Any, sizes: Any, coordinates: str, nearest: str) -> Any:
    x, mode = call.x, call.text("mode", "nearest")
    axes = call.ints("axes") or list(range(x.ndim))
    if scales is None and sizes is None:
        raise call.wrong("scales or sizes")
    for i, axis in enumerate(axes):
        n = x.shape[axis]
        size = int(sizes[i]) if sizes else math.floor(n * scales[i])
        scale = size / n if sizes else scales[i]
        if size == n and scale == 1:
            continue
        if size < 1:
            raise call.wrong("sizes of at least 1", size)
        places = _places(call, size, n, scale, coordinates)
        if mode == "nearest":
            x = np.take(x, _nearest(call, places, n, nearest), axis=axis)
        elif mode in ("linear", "bilinear"):
            x = _mixed(x, axis, _linear(places, n))
        elif mode == "cubic":
            x = _mixed(x, axis, _cubic(places, n, call.number("cubic_coeff_a", -0.75)))
        else:
            raise call.unsupported(f"mode {mode!r}")
    return x


def _places(call: OperatorCall, size: int, n: int, scale: float, coordinates: str) -> Any:
    """Where the entries of the result lie among those of the input."""
    out = np.arange(size)
    if coordinates == "asymmetric":
        return out / scale
    if coordinates == "align_corners":
        last = n * scale - 1
        return out * ((n - 1) / last) if last > 0 and size > 1 else out * 0.0
    if coordinates == "pytorch_half_pixel":
        return (out + 0.5) / scale - 0.5 if size > 1 else out * 0.0
    if coordinates == "half_pixel":
        return (out + 0.5) / scale - 0.5
    if coordinates == "half_pixel_symmetric":
        adjusted = size / (n * scale)
        return n / 2 * (1 - adjusted) + (out + 0.5) / scale - 0.5
    raise call.unsupported(f"coordinates {coordinates!r}")


def _nearest(call: OperatorCall, places: Any, n: int, mode: str) -> Any:
    if mode == "floor":
        found = np.floor(places)
    elif mode == "ceil":
        found = np.ceil(places)
    elif mode == "round_prefer_floor":
        found = np.ceil(places - 0.5)
    elif mode == "round_prefer_ceil":
        found = np.floor(places + 0.5)
    else:
        raise call.unsupported(f"nearest_mode {mode!r}")
    return np.clip(found, 0, n - 1).astype(np.int64)


def _linear(places: Any, n: int) -> Any:
    """Row i has the shares of the entries around place i."""
    inside = np.clip(places, 0, n - 1)
    low = np.floor(inside).astype(np.int64)
    share = inside - low
    matrix = np.zeros((len(places), n))
    rows = np.arange(len(places))
    matrix[rows, low] += 1 - share
    matrix[rows, np.minimum(low + 1, n - 1)] += share
    return matrix


def _cubic(places: Any, n: int, a: float) -> Any:
    low = np.floor(places).astype(np.int64)
    matrix = np.zeros((len(places), n))
    rows = np.arange(len(places))
    for i in range(-1, 3):
        t = np.abs(places - (low + i))
        near = (a + 2) * t**3 - (a + 3) * t**2 + 1
        far = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
        np.add.at(matrix, (rows, np.clip(low + i, 0, n - 1)), np.where(t <= 1, near, far))
    return matrix


def _mixed(x: Any, axis: int, matrix: Any) -> Any:
    """A product with a matrix along an axis."""
    moved = np.moveaxis(x, axis, -1)
    return np.moveaxis(np.matmul(moved, matrix.T.astype(x.dtype)), -1, axis)
