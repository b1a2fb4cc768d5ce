"""Operators on quantized numbers, read: products and convolutions of integers.

Sums are those of whole numbers, exactly: a product of a convolution is computed in double
precision, which holds 53 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.formats.onnx.operators import OperatorCall, reader_of, reads

__all__: list[str] = []


def _without_zero(x: Any, zero: Any, dtype: Any, shape: tuple[int, ...]) -> Any:
    """x less its zero point, of which there may be one for each row or channel: then in `shape`."""
    x = x.astype(dtype)
    if zero is None:
        return x
    return x - _along(zero.astype(dtype), shape)


def _along(value: Any, shape: tuple[int, ...]) -> Any:
    return value.reshape(shape) if value.size > 1 and value.ndim == 1 else value


def _quantized(total: Any, scale: Any, zero: Any) -> Any:
    """Whole numbers as those of the zero point's type, with its scale."""
    info = np.iinfo(zero.dtype)
    y = np.rint(total.astype(np.float32) * scale) + zero.astype(np.float32)
    return ops.clip(y, int(info.min), int(info.max)).astype(zero.dtype)


@reads("QLinearMatMul")
def _quantized_product(call: OperatorCall) -> Any:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = call.inputs
    rows, columns = (-1, 1), (1, -1)
    left = _without_zero(a, a_zero, np.int32, rows)
    right = _without_zero(b, b_zero, np.int32, columns)
    scale = _along(a_scale, rows) * _along(b_scale, columns) / y_scale
    return _quantized(np.matmul(left, right), scale, y_zero)


def _convolved(call: OperatorCall, x: Any, x_zero: Any, w: Any, w_zero: Any) -> Any:
    """The sums of a convolution of whole numbers, in double precision."""
    x = _without_zero(x, x_zero, np.float64, (1,))
    w = _without_zero(w, w_zero, np.float64, (-1, *(1,) * (w.ndim - 1)))
    convolution = reader_of("Conv", call.opset)
    assert convolution is not None
    return convolution(OperatorCall("Conv", [x, w], call.attributes, call.opset, 1))


@reads("ConvInteger")
def _convolution_of_integers(call: OperatorCall) -> Any:
    y = _convolved(call, call.x, call.input(2), call.inputs[1], call.input(3))
    return y.astype(np.int32)


@reads("QLinearConv")
def _quantized_convolution(call: OperatorCall) -> Any:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = call.inputs[:8]
    total = _convolved(call, x, x_zero, w, w_zero)
    channels = (-1, *(1,) * (x.ndim - 2))
    bias = call.input(8)
    if bias is not None:
        total = total + bias.astype(np.float64).reshape(channels)
    return _quantized(total, x_scale * _along(w_scale, channels) / y_scale, y_zero)
