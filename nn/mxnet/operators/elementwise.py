"""Elementwise operators: of two arrays, of an array and a number, of one array."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Bool, Choice, Float
from tapegrad.nn.mxnet.operator import Call, operator
from tapegrad.nn.mxnet.operators.shape_rules import all_alike

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["activation", "elemwise_add"]


@operator("elemwise_add", "lhs rhs", aliases="_plus _Plus _add", shapes=all_alike)
def elemwise_add(call: Call, lhs: Tensor, rhs: Tensor) -> Tensor:
    """lhs + rhs, of one shape."""
    return lhs + rhs


@operator(
    "_plus_scalar", aliases="_PlusScalar", scalar=Float(1.0), is_int=Bool(True), shapes=all_alike
)
def plus_scalar(call: Call, data: Tensor) -> Tensor:
    """data + scalar."""
    return data + call.a.scalar


@operator(
    "Activation",
    act_type=Choice(words=("relu", "sigmoid", "softrelu", "softsign", "tanh")),
    shapes=all_alike,
)
def activation(call: Call, data: Tensor) -> Tensor:
    """relu, sigmoid, softrelu = log(1 + eˣ), softsign = x / (1 + |x|) or tanh, elementwise."""
    kind = call.a.act_type
    if kind == "softrelu":
        return ops.logaddexp(data, 0)
    if kind == "softsign":
        return data / (ops.absolute(data) + 1)
    function = {"relu": ops.relu, "sigmoid": ops.sigmoid, "tanh": ops.tanh}[kind]
    return function(data)
