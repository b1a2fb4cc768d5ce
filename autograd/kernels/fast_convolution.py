"""Which way of machine code a convolution takes: Winograd's, direct, or matrix products.

Chosen by shape and dtype.  What no way takes, and whatever comes out infinite or NaN where a way
could not tell why, is left to the plain code of `convolution.py`.

| way | where | error against exact arithmetic |
|---|---|---|
| Winograd F(4×4, 3×3) | 3×3, stride 1, float32, enough work | 10⁻⁵ · (abs x ⋆ abs w) |
| matrix product | 1×1, stride 1, without padding, but for the weight gradient | as the plain code |
| direct | the rest | as the plain code |
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.autograd.kernels import convolution as plain
from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.addresses import delivered, readable
from tapegrad.autograd.kernels.convolution import convolution_windows
from tapegrad.autograd.kernels.direct import (
    direct_conv2d,
    direct_fits,
    direct_input_gradient,
    direct_weight_gradient,
)
from tapegrad.autograd.kernels.products import matmul
from tapegrad.autograd.kernels.threads import run_pieces
from tapegrad.autograd.kernels.windows import AxisWindows, IntOrPair, expect_shape
from tapegrad.autograd.kernels.winograd import (
    winograd_conv2d,
    winograd_fits,
    winograd_weight_gradient,
)

__all__ = ["conv2d", "conv2d_input_gradient", "conv2d_weight_gradient", "way_of"]

Array = np.ndarray[Any, Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def way_of(
    dtype: np.dtype[Any],
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    rows: AxisWindows,
    columns: AxisWindows,
    groups: int,
) -> str:
    """The way of a convolution: "winograd", "product", "direct" or "plain"."""
    if dtype not in FLOATS or not dtype.isnative or 0 in x_shape or 0 in w_shape:
        return "plain"
    if not machine.is_available():
        return "plain"
    both = (rows, columns)
    if all(a.kernel == a.stride == 1 and a.padding == 0 for a in both) and groups == 1:
        return "product" if min(x_shape[1], w_shape[0]) >= 8 else "direct"
    three = all(a.kernel == 3 and a.stride == a.dilation == 1 and a.padding <= 2 for a in both)
    size = (rows.count, columns.count)
    if three and groups == 1 and dtype.itemsize == 4 and winograd_fits(x_shape, w_shape, size):
        return "winograd"
    return "direct" if direct_fits(dtype, rows, columns) else "plain"


def _prepared(
    a: Any, b: Any, out: Array | None, shape: tuple[int, ...]
) -> tuple[Array, Array, Array]:
    """Contiguous arrays of one dtype, and memory for the result, contiguous as well."""
    dtype = np.result_type(a, b)
    a, b = readable(a, dtype), readable(b, dtype)
    fits = out is not None and out.dtype == dtype and out.flags.carray
    y = out if fits and out is not None else np.empty(shape, dtype)
    return a, b, y


def conv2d(
    x: Array,
    w: Array,
    *,
    stride: IntOrPair = (1, 1),
    padding: IntOrPair = (0, 0),
    dilation: IntOrPair = (1, 1),
    groups: int = 1,
    out: Array | None = None,
) -> Array:
    """`convolution.conv2d` by machine code, into `out` if it is given."""
    rows, columns = convolution_windows(
        "conv2d", x.shape, w.shape, stride, padding, dilation, groups
    )
    way = way_of(np.result_type(x, w), x.shape, w.shape, rows, columns, groups)

    def otherwise() -> Array:
        return plain.conv2d(
            np, x, w, stride=stride, padding=padding, dilation=dilation, groups=groups
        )

    if way == "plain":
        return delivered(otherwise(), out)
    shape = (x.shape[0], w.shape[0], rows.count, columns.count)
    a, b, y = _prepared(x, w, out, shape)
    if way == "winograd":
        if not winograd_conv2d(a, b, (rows.padding, columns.padding), y):
            return delivered(otherwise(), out)
    elif way == "product":
        _product(b.reshape(b.shape[:2]), a, y)
    else:
        direct_conv2d(a, b, rows, columns, groups, y)
    return delivered(y, out)


def conv2d_input_gradient(
    g: Array,
    w: Array,
    *,
    shape: tuple[int, ...],
    stride: IntOrPair = (1, 1),
    padding: IntOrPair = (0, 0),
    dilation: IntOrPair = (1, 1),
    groups: int = 1,
    out: Array | None = None,
) -> Array:
    """`convolution.conv2d_input_gradient` by machine code, into `out` if it is given."""
    where = "conv2d_input_gradient"
    rows, columns = convolution_windows(where, shape, w.shape, stride, padding, dilation, groups)
    expected = (shape[0], w.shape[0], rows.count, columns.count)
    expect_shape(where, "the cotangent", g, "(N, O, oH, oW)", expected)
    way = way_of(np.result_type(g, w), tuple(shape), w.shape, rows, columns, groups)

    def otherwise() -> Array:
        return plain.conv2d_input_gradient(
            np, g, w, shape=shape, stride=stride, padding=padding, dilation=dilation, groups=groups
        )

    if way == "plain":
        return delivered(otherwise(), out)
    a, b, y = _prepared(g, w, out, tuple(shape))
    if way == "winograd":
        # The adjoint is the convolution with the kernels turned around, and 2 - padding.
        turned = b[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        if not winograd_conv2d(a, turned, (2 - rows.padding, 2 - columns.padding), y):
            return delivered(otherwise(), out)
    elif way == "product":
        _product(np.ascontiguousarray(b.reshape(b.shape[:2]).T), a, y)
    else:
        direct_input_gradient(a, b, rows, columns, groups, y)
    return delivered(y, out)


def conv2d_weight_gradient(
    x: Array,
    g: Array,
    *,
    shape: tuple[int, ...],
    stride: IntOrPair = (1, 1),
    padding: IntOrPair = (0, 0),
    dilation: IntOrPair = (1, 1),
    groups: int = 1,
    out: Array | None = None,
) -> Array:
    """`convolution.conv2d_weight_gradient` by machine code, into `out` if it is given."""
    where = "conv2d_weight_gradient"
    rows, columns = convolution_windows(where, x.shape, shape, stride, padding, dilation, groups)
    expected = (x.shape[0], shape[0], rows.count, columns.count)
    expect_shape(where, "the cotangent", g, "(N, O, oH, oW)", expected)
    dtype = np.result_type(x, g)
    way = way_of(dtype, x.shape, tuple(shape), rows, columns, groups)

    def otherwise() -> Array:
        return plain.conv2d_weight_gradient(
            np, x, g, shape=shape, stride=stride, padding=padding, dilation=dilation, groups=groups
        )

    if way == "plain" or (way == "product" and not direct_fits(dtype, rows, columns)):
        return delivered(otherwise(), out)
    a, b, y = _prepared(x, g, out, tuple(shape))
    if way == "winograd":
        found = winograd_weight_gradient(a, b, (rows.padding, columns.padding))
        return delivered(otherwise() if found is None else found, out)
    if not direct_weight_gradient(a, b, rows, columns, groups, y):
        return delivered(otherwise(), out)
    return delivered(y, out)


PRODUCT_BYTES = 2**19


def _product(w: Array, x: Array, out: Array) -> None:
    """out[n] = w x[n], with the places of an image as columns."""
    n, places = len(x), x.shape[2] * x.shape[3]
    columns, results = x.reshape(n, -1, places), out.reshape(n, -1, places)
    step = max(1, PRODUCT_BYTES // (columns[0].nbytes + results[0].nbytes))
    parts = [slice(first, first + step) for first in range(0, n, step)]
    run_pieces(lambda i: matmul(w, columns[parts[i]], out=results[parts[i]]), len(parts))
