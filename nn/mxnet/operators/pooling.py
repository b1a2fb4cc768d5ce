"""Pooling over windows of one, two and three axes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Choice, Int, Shape
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.operators.constants import beside
from tapegrad.nn.mxnet.operators.windows import as_planes, from_planes
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["pooling"]

LAYOUTS = ("NCDHW", "NCHW", "NCW", "NDHWC", "NHWC", "NWC")


def _windows(a: Attributes, lengths: tuple[int, ...]) -> list[tuple[int, int, int, int, int]]:
    """(length, kernel, stride, pad, number of windows) along each axis."""
    if a.global_pool:
        return [(n, n, 1, 0, 1) for n in lengths]
    rank = len(lengths)
    if len(a.kernel) != rank:
        raise ValueError(f"a kernel {a.kernel} takes data with {len(a.kernel) + 2} axes")
    stride, pad = a.stride or (1,) * rank, a.pad or (0,) * rank
    found = []
    for n, k, s, p in zip(lengths, a.kernel, stride, pad, strict=True):
        if n + 2 * p < k:
            raise ValueError(f"kernel {k} is larger than {n} entries with {p} of padding")
        if a.pooling_convention == "same":
            count = math.ceil(n / s)
        elif a.pooling_convention == "full":
            count = math.ceil((n + 2 * p - k) / s) + 1
        else:
            count = (n + 2 * p - k) // s + 1
        found.append((n, k, s, p, count))
    return found


def _pooling_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    data = inputs[0]
    if data is None or 0 in data:
        return
    layout = getattr(a, "layout", None)
    last = layout is not None and not layout.startswith("NC")
    lengths = data[1:-1] if last else data[2:]
    counts = tuple(count for *_, count in _windows(a, lengths))
    y = (data[0], *counts, data[-1]) if last else (*data[:2], *counts)
    outputs[0] = unify(outputs[0], y)


def _workspace(a: Attributes) -> int:
    """The output with the positions of maxima that MKL-DNN's kernels keep."""
    return int(a.pool_type == "max" and bool(a.kernel) and (a.layout or "NC").startswith("NC"))


@operator(
    "Pooling",
    hidden=_workspace,
    shapes=_pooling_shapes,
    kernel=Shape(()),
    pool_type=Choice("max", words=("avg", "lp", "max", "sum")),
    global_pool=Bool(False),
    cudnn_off=Bool(False),
    pooling_convention=Choice("valid", words=("full", "same", "valid")),
    stride=Shape(()),
    pad=Shape(()),
    p_value=Int(None, none=True),
    count_include_pad=Bool(None, none=True),
    layout=Choice(None, none=True, words=LAYOUTS),
)
def pooling(call: Call, data: Tensor) -> Tensor:
    """The maximum, mean, sum or p-norm of each window; of several maxima the first counts.

    Window counts are ⌊(n + 2·pad - kernel) / stride⌋ + 1 ("valid"), rounded up ("full").  A mean
    divides by the entries of the window within the padded image, or within the image alone without
    `count_include_pad`.
    """
    a = call.a
    x = as_planes(data, a.layout)
    found = _windows(a, tuple(x.shape[2:]))
    # what the last windows have beyond the padding is padding, too
    after = [max((count - 1) * s + k - n - p, 0) for n, k, s, p, count in found]
    widths = [
        (0, 0),
        (0, 0),
        *((p, more) for (_, _, _, p, _), more in zip(found, after, strict=True)),
    ]
    kernel, stride = tuple(k for _, k, *_ in found), tuple(s for _, _, s, *_ in found)
    if a.pool_type == "max":
        padded = ops.pad(x, widths, value=-np.inf) if any(map(any, widths)) else x
        return from_planes(_over_windows(padded, kernel, stride, True), a.layout)
    if a.pool_type == "lp":
        x = ops.absolute(x) ** a.p_value
    padded = ops.pad(x, widths) if any(map(any, widths)) else x
    total = _over_windows(padded, kernel, stride, False)
    if a.pool_type == "lp":
        total = total ** (1 / a.p_value)
    elif a.pool_type == "avg":
        outside = a.count_include_pad is None or a.count_include_pad
        total = total / beside(x, _counts(found, outside, np.dtype(x.dtype)))
    return from_planes(total, a.layout)


def _pooling_of_v1(call: Call, data: Tensor) -> Any:
    """`Pooling` as files of before 1.0 have it."""
    a = Attributes("Pooling", pooling.kinds, {})
    vars(a).update(vars(call.a))
    return pooling.body(replace(call, a=a), data)


operator(
    "Pooling_v1",
    shapes=_pooling_shapes,
    kernel=Shape(()),
    pool_type=Choice("max", words=("avg", "max", "sum")),
    global_pool=Bool(False),
    pooling_convention=Choice("valid", words=("full", "valid")),
    stride=Shape(()),
    pad=Shape(()),
)(_pooling_of_v1)


def _counts(found: list[tuple[int, int, int, int, int]], outside: bool, dtype: Any) -> np.ndarray:
    """The entries of each window, those of the padding included if `outside`; 1 where none is."""
    whole = np.ones((1,) * len(found), dtype)
    for axis, (n, k, s, p, count) in enumerate(found):
        start = np.arange(count) * s - p
        end = np.minimum(start + k, n + p)
        inside = end - start if outside else np.minimum(end, n) - np.maximum(start, 0)
        shape = [1] * len(found)
        shape[axis] = count
        whole = whole * inside.reshape(shape).astype(dtype)
    return np.maximum(whole, 1)


def _over_windows(x: Any, kernel: tuple[int, ...], stride: tuple[int, ...], largest: bool) -> Any:
    """The maxima or sums of windows without padding; x (N, C, …)."""
    if len(kernel) == 1:
        y = _over_windows(ops.expand_dims(x, 2), (1, *kernel), (1, *stride), largest)
        return ops.squeeze(y, 2)
    if len(kernel) == 2:
        if largest:
            return ops.max_pool2d(x, kernel, stride)
        return ops.avg_pool2d(x, kernel, stride, divide=False)
    if largest:
        return ops.max_pool3d(x, kernel, stride)
    return ops.avg_pool3d(x, kernel, stride) * math.prod(kernel)
