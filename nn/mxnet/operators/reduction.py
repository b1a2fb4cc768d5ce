"""Sums, extremes, orders and products over axes.  A result without axes has the shape (1,)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import custom_vjp, ops
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Choice, DType, Float, Int, Shape
from tapegrad.nn.mxnet.declaration import Call, operator
from tapegrad.nn.mxnet.operators.constants import beside, constant

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["argmax", "dot", "softmax"]

_SINGLE = np.dtype(np.float32)
_REDUCE: dict[str, Any] = {
    "axis": Shape(None, none=True),
    "keepdims": Bool(False),
    "exclude": Bool(False),
}


def axes_of(a: Attributes, ndim: int) -> tuple[int, ...]:
    """The axes that an operator reduces: all for None, the others with `exclude`."""
    if a.axis is None or a.axis == ():
        return tuple(range(ndim))
    axes = tuple(axis % ndim for axis in a.axis)
    return tuple(i for i in range(ndim) if i not in axes) if getattr(a, "exclude", False) else axes


def with_axis(y: Tensor) -> Tensor:
    """y, of shape (1,) if it has no axes."""
    return y if y.shape else y.reshape((1,))


@custom_vjp
def tied_extreme(x: Tensor, *, axes: tuple[int, ...], keepdims: bool, largest: bool) -> Tensor:
    """The largest or smallest entry over axes."""
    return (np.max if largest else np.min)(x, axis=axes, keepdims=keepdims)


def _to_all_ties(
    g: Any, x: Any, y: Any, axes: tuple[int, ...], keepdims: bool, largest: bool
) -> Any:
    if not keepdims:
        g, y = np.expand_dims(g, axes), np.expand_dims(y, axes)
    return g * (x == y)


tied_extreme.vjp(x=_to_all_ties)


@operator("sum", aliases="sum_axis", **_REDUCE)
def sum_(call: Call, data: Tensor) -> Tensor:
    """The sum over axes."""
    return with_axis(ops.sum(data, axis=axes_of(call.a, data.ndim), keepdims=call.a.keepdims))


@operator("mean", **_REDUCE)
def mean(call: Call, data: Tensor) -> Tensor:
    """The mean over axes."""
    return with_axis(ops.mean(data, axis=axes_of(call.a, data.ndim), keepdims=call.a.keepdims))


@operator("prod", **_REDUCE)
def prod(call: Call, data: Tensor) -> Tensor:
    """The product over axes."""
    return with_axis(ops.prod(data, axis=axes_of(call.a, data.ndim), keepdims=call.a.keepdims))


@operator("nansum", **_REDUCE)
def nansum(call: Call, data: Tensor) -> Tensor:
    """The sum over axes, NaN counting as 0."""
    return with_axis(ops.nansum(data, axis=axes_of(call.a, data.ndim), keepdims=call.a.keepdims))


@operator("nanprod", **_REDUCE)
def nanprod(call: Call, data: Tensor) -> Tensor:
    """The product over axes, NaN counting as 1."""
    y = ops.where(ops.isnan(data), 1, data)
    return with_axis(ops.prod(y, axis=axes_of(call.a, data.ndim), keepdims=call.a.keepdims))


def _extremes(call: Call, data: Tensor, largest: bool) -> Any:
    axes = axes_of(call.a, data.ndim)
    return with_axis(tied_extreme(data, axes=axes, keepdims=call.a.keepdims, largest=largest))


@operator("max", aliases="max_axis", **_REDUCE)
def max_(call: Call, data: Tensor) -> Tensor:
    """The largest entry over axes; each of several equal ones gets the whole gradient."""
    return _extremes(call, data, True)


@operator("min", aliases="min_axis", **_REDUCE)
def min_(call: Call, data: Tensor) -> Tensor:
    """The smallest entry over axes; each of several equal ones gets the whole gradient."""
    return _extremes(call, data, False)


@operator(
    "norm",
    ord=Int(2),
    axis=Shape(None, none=True),
    out_dtype=DType(None, none=True),
    keepdims=Bool(False),
)
def norm(call: Call, data: Tensor) -> Tensor:
    """√Σx² (ord 2) or Σ|x| (ord 1) over axes."""
    axes, keep = axes_of(call.a, data.ndim), call.a.keepdims
    if call.a.ord == 1:
        return with_axis(ops.sum(ops.absolute(data), axis=axes, keepdims=keep))
    return with_axis(ops.guarded_sqrt(ops.sum(ops.square(data), axis=axes, keepdims=keep)))


# Orders: positions are numbers of the type float32 -----------------------------------------------


def _positions(y: Any, dtype: Any = _SINGLE) -> Any:
    return ops.cast(with_axis(y), dtype=dtype)


@operator("argmax", flat="data", axis=Int(None, none=True), keepdims=Bool(False))
def argmax(call: Call, data: Tensor) -> Tensor:
    """The position of the first largest entry along an axis, of all entries without one."""
    return _positions(ops.argmax(data, axis=call.a.axis, keepdims=call.a.keepdims))


@operator("argmin", flat="data", axis=Int(None, none=True), keepdims=Bool(False))
def argmin(call: Call, data: Tensor) -> Tensor:
    """The position of the first smallest entry along an axis, of all entries without one."""
    return _positions(ops.argmin(data, axis=call.a.axis, keepdims=call.a.keepdims))


@operator("argmax_channel", flat="data")
def argmax_channel(call: Call, data: Tensor) -> Tensor:
    """The position of the first largest entry along axis 1."""
    return _positions(ops.argmax(data, axis=1))


def _ordered(data: Tensor, axis: int | None, ascending: bool) -> tuple[Any, Any, int]:
    """(data, positions in order along the axis, the axis); equal entries keep their order."""
    if axis is None:
        data, axis = data.reshape((-1,)), 0
    axis %= data.ndim
    at = ops.argsort(data if ascending else -data, axis=axis)
    return data, at, axis


@operator("sort", outputs="output0", hidden=1, axis=Int(-1, none=True), is_ascend=Bool(True))
def sort(call: Call, data: Tensor) -> Tensor:
    """The entries in order along an axis; of the flattened array without one."""
    data, at, axis = _ordered(data, call.a.axis, call.a.is_ascend)
    return ops.take_along_axis(data, at, axis)


@operator(
    "argsort",
    flat="data",
    axis=Int(-1, none=True),
    is_ascend=Bool(True),
    dtype=DType(_SINGLE),
)
def argsort(call: Call, data: Tensor) -> Tensor:
    """The positions that put the entries in order along an axis."""
    _, at, _ = _ordered(data, call.a.axis, call.a.is_ascend)
    return _positions(at, call.a.dtype)


@constant
def _mask(data: Any, at: Any, *, axis: int) -> Any:
    """1 at places along an axis, else 0."""
    found = np.zeros(data.shape, data.dtype)
    np.put_along_axis(found, at, 1, axis)
    return found


def _topk_outputs(a: Attributes) -> list[str]:
    return ["output0", "output1"] if a.ret_typ == "both" else ["output"]


@operator(
    "topk",
    outputs=_topk_outputs,
    axis=Int(-1, none=True),
    k=Int(1),
    ret_typ=Choice("indices", words=("both", "indices", "mask", "value")),
    is_ascend=Bool(False),
    dtype=DType(_SINGLE),
)
def topk(call: Call, data: Tensor) -> Tensor:
    """The k largest entries along an axis (smallest if `is_ascend`): values, positions or a mask.

    k = 0 means all.
    """
    a, shape = call.a, data.shape
    flat, at, axis = _ordered(data, a.axis, a.is_ascend)
    count = a.k or flat.shape[axis]
    at = ops.take(at, beside(at, np.arange(count)), axis)
    if a.ret_typ == "mask":
        return _mask(flat, at, axis=axis).reshape(tuple(shape))
    values = ops.take_along_axis(flat, at, axis)
    positions = _positions(at, a.dtype)
    return {"both": [values, positions], "indices": positions, "value": values}[a.ret_typ]


# Products ----------------------------------------------------------------------------------------

_TRANSPOSED: dict[str, Any] = {
    "transpose_a": Bool(False),
    "transpose_b": Bool(False),
    "forward_stype": Choice(None, none=True, words=("csr", "default", "row_sparse")),
}


@operator("dot", "lhs rhs", **_TRANSPOSED)
def dot(call: Call, lhs: Tensor, rhs: Tensor) -> Tensor:
    """The sum over the last axis of lhs and the first of rhs; `transpose_…` reverses the axes."""
    lhs = ops.transpose(lhs) if call.a.transpose_a else lhs
    rhs = ops.transpose(rhs) if call.a.transpose_b else rhs
    return with_axis(ops.tensordot(lhs, rhs, 1))


@operator("batch_dot", "lhs rhs", **_TRANSPOSED)
def batch_dot(call: Call, lhs: Tensor, rhs: Tensor) -> Tensor:
    """The matrix products of two stacks; `transpose_…` exchanges the last two axes."""
    lhs = ops.swapaxes(lhs, -1, -2) if call.a.transpose_a else lhs
    rhs = ops.swapaxes(rhs, -1, -2) if call.a.transpose_b else rhs
    return ops.matmul(lhs, rhs)


# Normalized exponentials -------------------------------------------------------------------------

_SOFTMAX: dict[str, Any] = {
    "axis": Int(-1),
    "temperature": Float(None, none=True),
    "dtype": DType(None, none=True),
    "use_length": Bool(False, none=True),
}


def _softmax_inputs(a: Attributes) -> tuple[str, ...]:
    return ("data", "length") if a.use_length else ("data",)


def _normalized(call: Call, data: Tensor, length: Tensor | None, function: Any, out: float) -> Any:
    a = call.a
    x = data if a.temperature is None else data / a.temperature
    if a.dtype is not None:
        x = ops.cast(x, dtype=a.dtype)
    if length is None:
        return function(x, axis=a.axis)
    axis = a.axis % x.ndim
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    places = beside(x, np.arange(x.shape[axis]).reshape(shape))
    valid = ops.less(places, ops.expand_dims(length, axis))
    y = function(ops.where(valid, x, -np.inf), axis=a.axis)
    return ops.where(valid, y, out)


@operator("softmax", _softmax_inputs, flat="length", **_SOFTMAX)
def softmax(call: Call, data: Tensor, length: Tensor | None = None) -> Tensor:
    """eˣ / Σ eˣ along an axis, of the first `length` entries only if it is given."""
    return _normalized(call, data, length, ops.softmax, 0.0)


@operator("log_softmax", _softmax_inputs, flat="length", **_SOFTMAX)
def log_softmax(call: Call, data: Tensor, length: Tensor | None = None) -> Tensor:
    """log of `softmax`, without overflow."""
    return _normalized(call, data, length, ops.log_softmax, 0.0)


@operator("softmin", _softmax_inputs, flat="length", **_SOFTMAX)
def softmin(call: Call, data: Tensor, length: Tensor | None = None) -> Tensor:
    """`softmax` of -x."""
    return _normalized(call, -data, length, ops.softmax, 0.0)


@operator("SoftmaxActivation", mode=Choice("instance", words=("channel", "instance")))
def softmax_activation(call: Call, data: Tensor) -> Tensor:
    """softmax of all entries of each sample, or along axis 1 in the mode "channel"."""
    if call.a.mode == "channel":
        return ops.softmax(data, axis=1)
    return ops.softmax(data.reshape((data.shape[0], -1)), axis=1).reshape(tuple(data.shape))
