"""Layers with weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tapegrad.nn.mxnet.attributes import Attributes, Bool, Int
from tapegrad.nn.mxnet.operator import Call, PartialShape, operator
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["fully_connected"]


def _weight_and_bias(a: Attributes) -> tuple[str, ...]:
    return ("data", "weight") if a.no_bias else ("data", "weight", "bias")


def _fully_connected_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    data, n = inputs[0], a.num_hidden
    if data is not None:
        if a.flatten:
            wide = 0 if 0 in data[1:] else math.prod(data[1:])
            outputs[0] = unify(outputs[0], (data[0], n))
        else:
            wide = data[-1]
            outputs[0] = unify(outputs[0], (*data[:-1], n))
        inputs[1] = unify(inputs[1], (n, wide))
        if outputs[0] is not None and outputs[0][0] > 0:  # a batch that is known behind it
            inputs[0] = (outputs[0][0], *data[1:])
    if not a.no_bias:
        inputs[2] = unify(inputs[2], (n,))


@operator(
    "FullyConnected",
    _weight_and_bias,
    num_hidden=Int(),
    no_bias=Bool(False),
    flatten=Bool(True),
    shapes=_fully_connected_shapes,
)
def fully_connected(call: Call, data: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x Wᵀ + b; data (n, …) -> (n, num_hidden), or (…, k) -> (…, num_hidden) if not `flatten`.

    weight (num_hidden, k), bias (num_hidden,).
    """
    x = data.reshape((data.shape[0], -1)) if call.a.flatten and data.ndim != 2 else data
    y = x @ weight.T
    return y if bias is None else y + bias
