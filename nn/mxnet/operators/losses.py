"""Losses: operators whose output is a prediction and whose gradient ignores the head gradient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import custom_vjp, ops
from tapegrad.nn.criterions.alignment import CTCCriterion
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Choice, Float
from tapegrad.nn.mxnet.compat import faults_of_1_9_1
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.operators.constants import beside
from tapegrad.nn.mxnet.operators.shape_rules import all_alike
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["make_loss", "softmax_output"]


# SoftmaxOutput -----------------------------------------------------------------------------------


def _softmax_output_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    data = inputs[0] = outputs[0] = unify(inputs[0], outputs[0])
    if data is None or inputs[1] is not None:
        return
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
    """softmax(data); its gradient is (p - onehot(label)) · grad_scale / a norm.

    The softmax is over all axes but the first, over axis 1 (`multi_output`) or over the last one
    (`preserve_shape`).  Of a label of data's shape the gradient is p - label.  The head gradient
    counts with `out_grad` only.
    """
    a = call.a
    return _softmax_output(
        data, label, axis=_softmax_axis(a), scale=a.grad_scale, ignore=a.ignore_label,
        use_ignore=a.use_ignore, norm=a.normalization, out_grad=_factor(a), smooth=a.smooth_alpha,
        multi=a.multi_output,
    )  # fmt: skip


def _factor(a: Attributes) -> str:
    """What `out_grad` multiplies the gradient by; MXNet 1.9.1 takes the output by mistake."""
    return "" if not a.out_grad else "output" if faults_of_1_9_1() else "head"


def _softmax_axis(a: Attributes) -> int:
    """1, -1, or 0 for "all but the first"."""
    return 1 if a.multi_output else -1 if a.preserve_shape else 0


@custom_vjp
def _softmax_output(
    data: Any,
    label: Any,
    *,
    axis: int,
    scale: float,
    ignore: float,
    use_ignore: bool,
    norm: str,
    out_grad: str,
    smooth: float,
    multi: bool,
) -> Any:
    if axis:
        return ops.softmax(data, axis=axis)
    return ops.softmax(data.reshape((data.shape[0], -1)), axis=1).reshape(tuple(data.shape))


def _softmax_gradient(
    g: Any,
    y: Any,
    label: Any,
    axis: int,
    scale: float,
    ignore: float,
    use_ignore: bool,
    norm: str,
    out_grad: str,
    smooth: float,
    multi: bool,
) -> Any:
    if tuple(label.shape) == tuple(y.shape):
        slope = (y - label) * scale
        return slope * {"head": g, "output": y}[out_grad] if out_grad else slope
    shape = tuple(y.shape)
    p = y if axis else y.reshape((shape[0], -1))
    along = axis % p.ndim if axis else 1
    label = label.reshape((*p.shape[:along], *p.shape[along + 1 :]))
    classes = p.shape[along]
    places = beside(p, np.arange(classes).reshape((-1,) + (1,) * (p.ndim - along - 1)))
    hit = ops.equal(ops.expand_dims(label, along), places)
    target = ops.where(hit, 1 - smooth, smooth / max(classes - 1, 1)) if smooth else hit
    slope = p - ops.cast(target, dtype=p.dtype)
    counted = ops.not_equal(label, ignore)
    if use_ignore:
        slope = slope * ops.expand_dims(counted, along)
    if norm == "valid":
        slope = slope / ops.maximum(ops.cast(ops.sum(counted), dtype=p.dtype), 1)
    elif norm == "batch":
        slope = slope / (label.shape[0] if multi or p.ndim == 2 else math.prod(label.shape))
    if multi and norm != "valid":
        slope = slope / math.prod(p.shape[2:])
    slope = slope.reshape(shape) * scale
    return slope * {"head": g, "output": y}[out_grad] if out_grad else slope


_softmax_output.vjp(data=_softmax_gradient, label=lambda g, label: label * 0)


# Regressions -------------------------------------------------------------------------------------


def _regression_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    data = inputs[0] = outputs[0] = unify(inputs[0], outputs[0])
    if data is not None and inputs[1] is None:
        inputs[1] = data[:1] if len(data) == 2 and data[1] == 1 else data


@custom_vjp
def _regression(data: Any, label: Any, *, scale: float, kind: str) -> Any:
    return ops.sigmoid(data) if kind == "logistic" else data * 1


def _regression_gradient(g: Any, y: Any, label: Any, scale: float, kind: str) -> Any:
    outputs = max(math.prod(label.shape[1:]), 1)
    gap = y - label.reshape(tuple(y.shape))
    return (ops.sign(gap) if kind == "mae" else gap) * (scale / outputs)


_regression.vjp(data=_regression_gradient, label=lambda g, label: label * 0)

_REGRESSIONS = {
    "LinearRegressionOutput": ("linear", "The data; the gradient is (x - label) / outputs."),
    "LogisticRegressionOutput": (
        "logistic",
        "sigmoid(data); the gradient is (y - label) / outputs.",
    ),
    "MAERegressionOutput": ("mae", "The data; the gradient is sign(x - label) / outputs."),
}


def _declare_regressions() -> None:
    for name, (kind, text) in _REGRESSIONS.items():

        def body(call: Call, data: Tensor, label: Tensor, kind: str = kind) -> Any:
            return _regression(data, label, scale=call.a.grad_scale, kind=kind)

        body.__doc__ = f"{text}  It is not divided by the batch's size."
        operator(
            name,
            "data label",
            loss=True,
            flat="label",
            grad_scale=Float(1.0),
            shapes=_regression_shapes,
        )(body)


_declare_regressions()


def _svm_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    data = inputs[0] = outputs[0] = unify(inputs[0], outputs[0])
    if data is not None and inputs[1] is None:
        inputs[1] = data[:-1]


@custom_vjp
def _svm(data: Any, label: Any, *, margin: float, factor: float, linear: bool) -> Any:
    return data * 1


def _svm_gradient(g: Any, data: Any, label: Any, margin: float, factor: float, linear: bool) -> Any:
    hit = ops.equal(ops.expand_dims(label, -1), beside(data, np.arange(data.shape[-1])))
    sign = ops.where(hit, -1.0, 1.0)
    lack = margin + sign * data
    size = ops.cast(lack > 0, dtype=data.dtype) if linear else 2 * ops.maximum(lack, 0)
    return ops.cast(sign * size * factor, dtype=data.dtype)


_svm.vjp(data=_svm_gradient, label=lambda g, label: label * 0)


@operator(
    "SVMOutput",
    "data label",
    loss=True,
    flat="label",
    shapes=_svm_shapes,
    margin=Float(1.0),
    regularization_coefficient=Float(1.0),
    use_linear=Bool(False),
)
def svm_output(call: Call, data: Tensor, label: Tensor) -> Tensor:
    """The data; the gradient is that of the squared hinge loss of each class against the others."""
    a = call.a
    return _svm(
        data, label, margin=a.margin, factor=a.regularization_coefficient, linear=a.use_linear
    )


# Losses that are computed by other operators -----------------------------------------------------


@custom_vjp
def _loss(data: Any, *, scale: float, norm: str, threshold: float) -> Any:
    return data * 1


def _loss_gradient(g: Any, data: Any, scale: float, norm: str, threshold: float) -> Any:
    slope = data * 0 + scale
    if norm == "batch":
        return slope / data.shape[0]
    if norm == "valid":
        return slope / ops.maximum(ops.cast(ops.sum(data > threshold), dtype=data.dtype), 1)
    return slope


_loss.vjp(data=_loss_gradient)


@operator(
    "MakeLoss",
    loss=True,
    grad_scale=Float(1.0),
    valid_thresh=Float(0.0),
    normalization=Choice("null", words=("batch", "null", "valid")),
    shapes=all_alike,
)
def make_loss(call: Call, data: Tensor) -> Tensor:
    """The data, as a loss: the gradient is grad_scale, over the batch's size or what is valid."""
    a = call.a
    return _loss(data, scale=a.grad_scale, norm=a.normalization, threshold=a.valid_thresh)


@operator("make_loss", outputs="loss", loss=True, shapes=all_alike)
def plain_loss(call: Call, data: Tensor) -> Tensor:
    """The data, as a loss: the gradient is 1."""
    return _loss(data, scale=1.0, norm="null", threshold=0.0)


@operator("softmax_cross_entropy", "data label", flat="label")
def softmax_cross_entropy(call: Call, data: Tensor, label: Tensor) -> Tensor:
    """Σ -log softmax(data)[label] over the batch; (n, k), (n,) -> (1,)."""
    at = ops.to_integer(label, dtype=np.dtype(np.int64))
    picked = ops.take_along_axis(ops.log_softmax(data, axis=-1), ops.expand_dims(at, 1), 1)
    return -ops.sum(picked).reshape((1,))


def _ctc_inputs(a: Attributes) -> tuple[str, ...]:
    lengths = [
        *(["data_lengths"] if a.use_data_lengths else []),
        *(["label_lengths"] if a.use_label_lengths else []),
    ]
    return ("data", "label", *lengths)


def _ctc_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    if inputs[0] is not None:
        outputs[0] = unify(outputs[0], (inputs[0][1],))
        for i in range(2, len(inputs)):
            inputs[i] = unify(inputs[i], (inputs[0][1],))


@operator(
    "CTCLoss",
    _ctc_inputs,
    aliases="_contrib_CTCLoss _contrib_ctc_loss ctc_loss",
    outputs="output0",
    hidden=1,
    flat="label data_lengths label_lengths",
    use_data_lengths=Bool(False),
    use_label_lengths=Bool(False),
    blank_label=Choice("first", words=("first", "last")),
    shapes=_ctc_shapes,
)
def ctc_loss(call: Call, data: Tensor, label: Tensor, *lengths: Tensor) -> Tensor:
    """-log of the probability of the labels of each sample; softmax is inside.

    data (T, N, C), label (N, L), lengths (N,) -> (N,).  With blank "first" class 0 is the blank and
    0 pads the labels, with "last" it is C - 1 and -1 pads.
    """
    a = call.a
    given = iter(lengths)
    steps = next(given) if a.use_data_lengths else None
    counts = next(given) if a.use_label_lengths else None
    blank = 0 if a.blank_label == "first" else data.shape[2] - 1
    ended = ops.less_equal(label, 0) if blank == 0 else ops.less(label, 0)
    if counts is not None:
        ended = ops.greater_equal(
            beside(label, np.arange(label.shape[1])), ops.expand_dims(counts, 1)
        )
    ended = ops.cumsum(ops.cast(ended, dtype=label.dtype), axis=1) > 0
    labels = ops.to_integer(ops.where(ended, -1, label), dtype=np.dtype(np.int64))
    criterion = CTCCriterion(blank=blank, reduction="none")
    target = labels if steps is None else [labels, steps]
    return criterion(ops.log_softmax(data, axis=2), target)
