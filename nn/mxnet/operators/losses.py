"""Losses: operators whose output is a prediction and whose gradient ignores the head gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Choice, Float
from tapegrad.nn.mxnet.operator import Call, PartialShape, operator
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["softmax_output"]


def _softmax_output_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    data = inputs[0] = outputs[0] = unify(inputs[0], outputs[0])
    if data is not None and inputs[1] is None:
        if a.multi_output:
            inputs[1] = (data[0], *data[2:])
        else:
            inputs[1] = data[:-1] if a.preserve_shape else data[:1]


@operator(
    "SoftmaxOutput",
    "data label",
    aliases="Softmax",
    loss=True,
    flat="label",
    shapes=_softmax_output_shapes,
    grad_scale=Float(1.0),
    ignore_label=Float(-1.0),
    multi_output=Bool(False),
    use_ignore=Bool(False),
    preserve_shape=Bool(False),
    normalization=Choice("null", words=("batch", "null", "valid")),
    out_grad=Bool(False),
    smooth_alpha=Float(0.0),
)
def softmax_output(call: Call, data: Tensor, label: Tensor) -> Tensor:
    """softmax(data); a stub until the losses are written."""
    return ops.softmax(data, axis=-1)
