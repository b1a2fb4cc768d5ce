"""Operators without inputs or with the shape of one: zeros, ones, ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    return Tensor(np.full(shape, value, call.a.dtype))


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
def arange(call: Call) -> Any:
    """Numbers from start up to stop (from 0 up to start if there is no stop), each repeated."""
    a = call.a
    start, stop = (0.0, a.start) if a.stop is None else (a.start, a.stop)
    return Tensor(np.repeat(np.arange(start, stop, a.step), a.repeat).astype(a.dtype))


@operator("zeros_like", flat="data", shapes=all_alike)
def zeros_like(call: Call, data: Tensor) -> Any:
    """Zeros of the shape and type of data."""
    return data * 0


@operator("ones_like", flat="data", shapes=all_alike)
def ones_like(call: Call, data: Tensor) -> Any:
    """Ones of the shape and type of data."""
    return data * 0 + 1
