"""Operators without inputs or with the shape of one: zeros, ones, ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd import Tensor
from tapegrad.nn.mxnet.attributes import Bool, DType, Float, Int, Shape, Text
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.operators.shape_rules import all_alike
from tapegrad.nn.mxnet.symbol.inference import known, unify

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.attributes import Attributes

__all__ = ["arange", "full", "ones", "zeros"]

_SINGLE = np.dtype(np.float32)


def _shape_attribute(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    outputs[0] = unify(outputs[0], a.shape or None)


def _filled(call: Call, value: float) -> Tensor:
    shape = call.shape or call.a.shape
    if not known(shape):
        raise MXNetError(f"{call.name}: the shape {shape} is not known here")
    return Tensor(np.full(shape, value, call.a.dtype), device=call.device)


@operator(
    "_zeros", "", shape=Shape(()), ctx=Text(""), dtype=DType(_SINGLE), shapes=_shape_attribute
)
def zeros(call: Call) -> Tensor:
    """Zeros; an executor fills in dimensions that are 0."""
    return _filled(call, 0)


@operator("_ones", "", shape=Shape(()), ctx=Text(""), dtype=DType(_SINGLE), shapes=_shape_attribute)
def ones(call: Call) -> Tensor:
    """Ones; an executor fills in dimensions that are 0."""
    return _filled(call, 1)


@operator("_full", "", shape=Shape(()), ctx=Text(""), dtype=DType(_SINGLE), value=Float(),
          shapes=_shape_attribute)  # fmt: skip
def full(call: Call) -> Tensor:
    """An array of one number."""
    return _filled(call, call.a.value)


@operator(
    "_arange", "", start=Float(), stop=Float(None, none=True), step=Float(1.0), repeat=Int(1),
    infer_range=Bool(False), ctx=Text(""), dtype=DType(_SINGLE),
)  # fmt: skip
def arange(call: Call) -> Tensor:
    """Numbers from start up to stop (from 0 up to start if there is no stop), each repeated."""
    a = call.a
    start, stop = (0.0, a.start) if a.stop is None else (a.start, a.stop)
    y = np.repeat(np.arange(start, stop, a.step), a.repeat)
    return Tensor(y.astype(a.dtype), device=call.device)


@operator("zeros_like", flat="data", shapes=all_alike)
def zeros_like(call: Call, data: Tensor) -> Tensor:
    """Zeros of the shape and type of data."""
    return data * 0


@operator("ones_like", flat="data", shapes=all_alike)
def ones_like(call: Call, data: Tensor) -> Tensor:
    """Ones of the shape and type of data."""
    return data * 0 + 1


@operator("_eye", "", N=Int(), M=Int(0), k=Int(0), ctx=Text(""), dtype=DType(_SINGLE))
def eye(call: Call) -> Tensor:
    """(N, M or N): ones on a diagonal, k above the main one."""
    a = call.a
    return Tensor(np.eye(a.N, a.M or None, a.k, dtype=a.dtype), device=call.device)


@operator(
    "_linspace", "", start=Float(), stop=Float(None, none=True), step=Float(1.0), repeat=Int(1),
    infer_range=Bool(False), ctx=Text(""), dtype=DType(_SINGLE), num=Int(50),
    endpoint=Bool(True),
)  # fmt: skip
def linspace(call: Call) -> Tensor:
    """`num` numbers in equal steps from start to stop."""
    a = call.a
    y = np.linspace(a.start, a.stop, a.num, a.endpoint).astype(a.dtype)
    return Tensor(y, device=call.device)


@operator(
    "_contrib_arange_like", hint="arange_like", flat="data", start=Float(0.0), step=Float(1.0),
    repeat=Int(1), ctx=Text(""), axis=Int(None, none=True),
)  # fmt: skip
def arange_like(call: Call, data: Tensor) -> Tensor:
    """Numbers start, start + step, … in the shape of data, or as many as one axis has entries."""
    a = call.a
    shape = tuple(data.shape) if a.axis is None else (data.shape[a.axis],)
    n = int(np.prod(shape))
    y = a.start + a.step * (np.arange(n) // a.repeat)
    return Tensor(y.astype(np.dtype(data.dtype)).reshape(shape), device=data.device)
