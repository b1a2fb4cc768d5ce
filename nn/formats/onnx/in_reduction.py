"""Operators of ONNX that make one number of several: reductions, products, normalization."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.formats.onnx.in_elementwise import like
from tapegrad.nn.formats.onnx.operators import OperatorCall, reads

if TYPE_CHECKING:
    from collections.abc import Callable

__all__: list[str] = []

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceSum": np.sum, "ReduceMean": np.mean, "ReduceMax": np.max, "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceSumSquare": lambda x, **how: np.sum(np.square(x), **how),
    "ReduceL1": lambda x, **how: np.sum(np.abs(x), **how),
    "ReduceL2": lambda x, **how: np.sqrt(np.sum(np.square(x), **how)),
    "ReduceLogSum": lambda x, **how: np.log(np.sum(x, **how)),
    "ReduceLogSumExp": ops.logsumexp,
}  # fmt: skip


def _reduction(function: Callable[..., Any]) -> Callable[[OperatorCall], Any]:
    def read(call: OperatorCall) -> Any:
        axes = call.whole(1, "axes")
        if not axes and call.number("noop_with_empty_axes", 0):
            return call.x
        how = tuple(axes) if axes else None
        y = function(call.x, axis=how, keepdims=bool(call.number("keepdims", 1)))
        return y if y.dtype == call.x.dtype else y.astype(call.x.dtype)

    return read


for _name, _function in REDUCTIONS.items():
    reads(_name)(_reduction(_function))


@reads("ArgMax", "ArgMin")
def _arg(call: OperatorCall) -> Any:
    function = np.argmax if call.op == "ArgMax" else np.argmin
    axis, keep = int(call.number("axis", 0)), bool(call.number("keepdims", 1))
    if not call.number("select_last_index", 0):
        return function(call.x, axis=axis, keepdims=keep)
    last = call.x.shape[axis] - 1
    return last - function(np.flip(call.x, axis), axis=axis, keepdims=keep)


@reads("CumSum")
def _cumsum(call: OperatorCall) -> Any:
    axis = (call.whole(1) or [0])[0]
    x = np.flip(call.x, axis) if call.number("reverse", 0) else call.x
    y = np.cumsum(x, axis=axis)
    if call.number("exclusive", 0):
        y = y - x
    y = np.flip(y, axis) if call.number("reverse", 0) else y
    return y if y.dtype == call.x.dtype else y.astype(call.x.dtype)


# Products ----------------------------------------------------------------------------------------


@reads("MatMul")
def _matmul(call: OperatorCall) -> Any:
    return np.matmul(call.x, call.inputs[1])


@reads("MatMulInteger")
def _matmul_integer(call: OperatorCall) -> Any:
    a, b = (call.inputs[i].astype(np.int32) for i in (0, 1))
    zeros = [call.input(i) for i in (2, 3)]
    if zeros[0] is not None:
        zero = zeros[0].astype(np.int32)
        a = a - (zero.reshape((-1, 1)) if zero.ndim == 1 and zero.size > 1 else zero)
    if zeros[1] is not None:
        b = b - zeros[1].astype(np.int32)
    return np.matmul(a, b)


@reads("Gemm")
def _gemm(call: OperatorCall) -> Any:
    a = call.x.T if call.number("transA", 0) else call.x
    b = call.inputs[1].T if call.number("transB", 0) else call.inputs[1]
    y = np.matmul(a, b)
    alpha, beta, c = call.number("alpha", 1.0), call.number("beta", 1.0), call.input(2)
    y = y if alpha == 1 else y * alpha
    if c is None:
        return y
    return y + (c if beta == 1 else c * beta)


@reads("Einsum")
def _einsum(call: OperatorCall) -> Any:
    return np.einsum(call.text("equation", ""), *call.inputs)


@reads("Det")
def _det(call: OperatorCall) -> Any:
    return np.linalg.det(call.x)


# Softmax and normalization -----------------------------------------------------------------------

SOFTMAXES: dict[str, Callable[..., Any]] = {"Softmax": ops.softmax, "LogSoftmax": ops.log_softmax}


@reads("Softmax", "LogSoftmax", since=1)
def _softmax_of_rows(call: OperatorCall) -> Any:
    axis = int(call.number("axis", 1))
    axis = axis + call.x.ndim if axis < 0 else axis
    lead = math.prod(call.x.shape[:axis])
    rows = call.x.reshape((lead, math.prod(call.x.shape[axis:])))
    return SOFTMAXES[call.op](rows, axis=1).reshape(call.x.shape)


@reads("Softmax", "LogSoftmax", since=13)
def _softmax(call: OperatorCall) -> Any:
    return SOFTMAXES[call.op](call.x, axis=int(call.number("axis", -1)))


@reads("Hardmax", since=13)
def _hardmax(call: OperatorCall) -> Any:
    axis = int(call.number("axis", -1)) % call.x.ndim
    best = np.argmax(call.x, axis=axis, keepdims=True)
    n = call.x.shape[axis]
    places = np.arange(n).reshape([-1 if i == axis else 1 for i in range(call.x.ndim)])
    return np.equal(places, best).astype(call.x.dtype)


def _channels(value: Any, ndim: int) -> Any:
    """A vector so that it broadcasts along axis 1."""
    return value.reshape((-1, *(1,) * (ndim - 2)))


@reads("BatchNormalization")
def _batch_normalization(call: OperatorCall) -> Any:
    if call.number("training_mode", 0) or (call.opset < 14 and call.count > 1):
        raise call.unsupported("training_mode")
    x = call.x
    scale, bias, mean, var = (_channels(part, x.ndim) for part in call.inputs[1:5])
    root = np.sqrt(var + call.number("epsilon", 1e-5))
    return (x - mean) / root * scale + bias


def _standardized(call: OperatorCall, x: Any, axes: tuple[int, ...]) -> Any:
    mean = np.mean(x, axis=axes, keepdims=True)
    rest = x - mean
    var = np.mean(np.square(rest), axis=axes, keepdims=True)
    return rest / np.sqrt(var + call.number("epsilon", 1e-5)), mean, var


@reads("InstanceNormalization")
def _instance_normalization(call: OperatorCall) -> Any:
    x = call.x
    y, _, _ = _standardized(call, x, tuple(range(2, x.ndim)))
    return y * _channels(call.inputs[1], x.ndim) + _channels(call.inputs[2], x.ndim)


@reads("LayerNormalization")
def _layer_normalization(call: OperatorCall) -> Any:
    x = call.x
    axis = int(call.number("axis", -1)) % x.ndim
    y, mean, var = _standardized(call, x, tuple(range(axis, x.ndim)))
    y = y * call.inputs[1]
    bias = call.input(2)
    y = y if bias is None else y + bias
    if call.count == 1:
        return y
    return [y, mean, like(x, 1) / np.sqrt(var + call.number("epsilon", 1e-5))]


@reads("RMSNormalization")
def _rms_normalization(call: OperatorCall) -> Any:
    x = call.x
    axis = int(call.number("axis", -1)) % x.ndim
    square = np.mean(np.square(x), axis=tuple(range(axis, x.ndim)), keepdims=True)
    return x / np.sqrt(square + call.number("epsilon", 1e-5)) * call.inputs[1]


@reads("GroupNormalization")
def _group_normalization(call: OperatorCall) -> Any:
    x = call.x
    groups = int(call.number("num_groups", 1))
    rows = x.reshape((x.shape[0], groups, math.prod(x.shape[1:]) // groups))
    y, _, _ = _standardized(call, rows, (2,))
    scale, bias = call.inputs[1], call.inputs[2]
    if call.opset < 21:  # of the groups
        y = y * scale.reshape((-1, 1)) + bias.reshape((-1, 1))
        return y.reshape(x.shape)
    return y.reshape(x.shape) * _channels(scale, x.ndim) + _channels(bias, x.ndim)


@reads("LpNormalization")
def _lp_normalization(call: OperatorCall) -> Any:
    axis, p = int(call.number("axis", -1)), call.number("p", 2)
    size = np.abs(call.x) if p == 1 else np.square(call.x)
    total = np.sum(size, axis=axis, keepdims=True)
    norm = total if p == 1 else np.sqrt(total)
    zero = np.equal(norm, 0)
    return np.where(zero, like(call.x, 0), call.x / np.where(zero, like(call.x, 1), norm))


@reads("MeanVarianceNormalization")
def _mean_variance(call: OperatorCall) -> Any:
    axes = tuple(call.ints("axes") or (0, 2, 3))
    rest = call.x - np.mean(call.x, axis=axes, keepdims=True)
    var = np.mean(np.square(rest), axis=axes, keepdims=True)
    return rest / (np.sqrt(var) + 1e-9)


@reads("LRN")
def _lrn(call: OperatorCall) -> Any:
    x, size = call.x, int(call.number("size", 1))
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    widths = [(0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)]
    squares = ops.pad(np.square(x), tuple(widths))
    n = x.shape[1]
    total = squares[:, :n]
    for i in range(1, size):
        total = total + squares[:, i : i + n]
    alpha, beta = call.number("alpha", 1e-4), call.number("beta", 0.75)
    return x / np.power(total * (alpha / size) + call.number("bias", 1.0), like(x, beta))
