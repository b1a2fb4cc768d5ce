"""Convolution, Deconvolution, FullyConnected, Embedding, UpSampling: layers with weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.core.affine import affine_map
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Choice, DType, Int, Shape
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.operators.windows import (
    as_planes,
    channels_first,
    convolved,
    convolved_back,
    from_planes,
    length,
    of_rank,
    stretched,
)
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["convolution", "deconvolution", "embedding", "fully_connected"]

LAYOUTS = ("NCDHW", "NCHW", "NCW", "NDHWC", "NHWC", "NWC")
_WINDOWS: dict[str, Any] = {
    "kernel": Shape(),
    "stride": Shape(()),
    "dilate": Shape(()),
    "pad": Shape(()),
    "num_filter": Int(),
    "num_group": Int(1),
    "cudnn_tune": Choice(None, none=True, words=("fastest", "limited_workspace", "off")),
    "cudnn_off": Bool(False),
    "layout": Choice(None, none=True, words=LAYOUTS),
}


def _weight_and_bias(a: Attributes) -> tuple[str, ...]:
    return ("data", "weight") if a.no_bias else ("data", "weight", "bias")


# Where the layout says NHWC the weight is (O, …, C) too.


def _planes(shape: tuple[int, ...], layout: str | None) -> tuple[int, ...]:
    return shape if channels_first(layout) else (shape[0], shape[-1], *shape[1:-1])


def _placed(shape: tuple[int, ...], layout: str | None) -> tuple[int, ...]:
    return shape if channels_first(layout) else (shape[0], *shape[2:], shape[1])


def _convolution_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    if not a.no_bias:
        inputs[2] = unify(inputs[2], (a.num_filter,))
    if inputs[0] is None:
        return
    data = _planes(inputs[0], a.layout)
    _must_have_axes(a, data)
    if data[1] % a.num_group or a.num_filter % a.num_group:
        raise ValueError(f"{data[1]} channels and {a.num_filter} filters in {a.num_group} groups")
    weight = (a.num_filter, data[1] // a.num_group, *a.kernel)
    inputs[1] = unify(inputs[1], _placed(weight, a.layout))
    lengths = zip(
        data[2:], a.kernel, of_rank(a, "stride", 1), of_rank(a, "pad", 0), of_rank(a, "dilate", 1),
        strict=True,
    )  # fmt: skip
    y = (data[0], a.num_filter, *(length(*one) for one in lengths))
    outputs[0] = unify(outputs[0], _placed(y, a.layout))
    if outputs[0] is not None:
        inputs[0] = (outputs[0][0], *inputs[0][1:])


def _must_have_axes(a: Attributes, data: tuple[int, ...]) -> None:
    if len(data) != len(a.kernel) + 2:
        raise ValueError(
            f"a kernel {a.kernel} takes data with {len(a.kernel) + 2} axes, not {data}"
        )


@operator(
    "Convolution",
    _weight_and_bias,
    shapes=_convolution_shapes,
    workspace=Int(1024),
    no_bias=Bool(False),
    **_WINDOWS,
)
def convolution(call: Call, data: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Cross-correlation with zeros around, over one, two or three axes.

    data (N, C, …), weight (num_filter, C / num_group, *kernel), bias (num_filter,) -> (N,
    num_filter, …) with lengths ⌊(n + 2·pad - dilate·(k - 1) - 1) / stride⌋ + 1.
    """
    a = call.a
    x, w = as_planes(data, a.layout), as_planes(weight, a.layout)
    y = convolved(
        x, w, of_rank(a, "stride", 1), of_rank(a, "pad", 0), of_rank(a, "dilate", 1), a.num_group
    )
    if bias is not None:
        y = y + bias.reshape((-1,) + (1,) * len(a.kernel))
    return from_planes(y, a.layout)


operator(
    "Convolution_v1",
    _weight_and_bias,
    shapes=_convolution_shapes,
    workspace=Int(1024),
    no_bias=Bool(False),
    **_WINDOWS,
)(convolution.body)


def _placing(a: Attributes, lengths: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(pad, adj) of a Deconvolution: `target_shape`, where it is given, decides both."""
    pad, adj = of_rank(a, "pad", 0), of_rank(a, "adj", 0)
    if not a.target_shape:
        return pad, adj
    stride, dilate = of_rank(a, "stride", 1), of_rank(a, "dilate", 1)
    total = [
        s * (n - 1) + d * (k - 1) + 1 - target
        for n, s, d, k, target in zip(
            lengths, stride, dilate, a.kernel, a.target_shape, strict=True
        )
    ]
    if any(t < 0 for t in total):
        raise ValueError(f"target_shape {a.target_shape} is larger than the output without padding")
    return tuple((t + 1) // 2 for t in total), tuple(t % 2 for t in total)


def _deconvolution_lengths(a: Attributes, lengths: tuple[int, ...]) -> tuple[int, ...]:
    pad, adj = _placing(a, lengths)
    each = zip(
        lengths, a.kernel, of_rank(a, "stride", 1), pad, of_rank(a, "dilate", 1), adj, strict=True
    )
    return tuple(stretched(*one) for one in each)


def _deconvolution_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    if not a.no_bias:
        inputs[2] = unify(inputs[2], (a.num_filter,))
    if inputs[0] is None:
        return
    data = _planes(inputs[0], a.layout)
    _must_have_axes(a, data)
    weight = (data[1], a.num_filter // a.num_group, *a.kernel)
    inputs[1] = unify(inputs[1], _placed(weight, a.layout))
    y = (data[0], a.num_filter, *_deconvolution_lengths(a, data[2:]))
    outputs[0] = unify(outputs[0], _placed(y, a.layout))


@operator(
    "Deconvolution",
    _weight_and_bias,
    shapes=_deconvolution_shapes,
    workspace=Int(512),
    no_bias=Bool(True),
    adj=Shape(()),
    target_shape=Shape(()),
    **_WINDOWS,
)
def deconvolution(call: Call, data: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The transposed convolution; without a bias unless `no_bias` is False.

    data (N, C, …), weight (C, num_filter / num_group, *kernel) -> lengths stride·(n - 1) +
    dilate·(k - 1) + 1 - 2·pad + adj, or `target_shape`.
    """
    a = call.a
    x, w = as_planes(data, a.layout), as_planes(weight, a.layout)
    lengths = tuple(x.shape[2:])
    pad, _ = _placing(a, lengths)
    y = convolved_back(
        x, w, of_rank(a, "stride", 1), pad, of_rank(a, "dilate", 1), a.num_group,
        _deconvolution_lengths(a, lengths),
    )  # fmt: skip
    if bias is not None:
        y = y + bias.reshape((-1,) + (1,) * len(a.kernel))
    return from_planes(y, a.layout)


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
    return x @ weight.T if bias is None else affine_map(x, weight, bias)


_KINDS = DType(np.dtype(np.float32))


def _embedding_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    inputs[1] = unify(inputs[1], (a.input_dim, a.output_dim))
    if inputs[0] is not None:
        outputs[0] = unify(outputs[0], (*inputs[0], a.output_dim))


@operator(
    "Embedding",
    "data weight",
    flat="data",
    input_dim=Int(),
    output_dim=Int(),
    dtype=_KINDS,
    sparse_grad=Bool(False),
    shapes=_embedding_shapes,
)
def embedding(call: Call, data: Tensor, weight: Tensor) -> Tensor:
    """Rows of the weight by their numbers; those out of range are clipped, fractions cut off."""
    at = ops.clip(ops.to_integer(data, dtype=np.dtype(np.int64)), 0, call.a.input_dim - 1)
    return ops.take(weight, at, 0)


def _upsampling_inputs(a: Attributes) -> tuple[str, ...]:
    if a.sample_type == "bilinear":
        return ("data", "weight")
    return tuple(f"arg{i}" for i in range(a.num_args))


def _upsampling_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    data = inputs[0]
    if data is None:
        return
    if a.sample_type == "bilinear":
        size = 2 * a.scale - a.scale % 2
        inputs[1] = unify(inputs[1], (data[1], 1, size, size))
    if all(shape is not None for shape in inputs):
        planes = sum(shape[1] for shape in inputs if shape is not None)
        many = a.sample_type == "nearest" and a.multi_input_mode == "concat"
        y = (data[0], planes if many else data[1], data[2] * a.scale, data[3] * a.scale)
        outputs[0] = unify(outputs[0], y)


@operator(
    "UpSampling",
    _upsampling_inputs,
    initial=dict.fromkeys(("weight", "arg1"), '["bilinear", {}]'),
    scale=Int(),
    num_filter=Int(0),
    sample_type=Choice(words=("bilinear", "nearest")),
    multi_input_mode=Choice("concat", words=("concat", "sum")),
    num_args=Int(1),
    workspace=Int(512),
    shapes=_upsampling_shapes,
)
def up_sampling(call: Call, *args: Tensor) -> Tensor:
    """Images larger by `scale`: entries repeated, or a depthwise Deconvolution with a weight.

    nearest takes several inputs, scaled to one size and joined along axis 1 or summed.
    """
    a, data = call.a, args[0]
    if a.sample_type == "bilinear":
        size, pad = 2 * a.scale - a.scale % 2, math.ceil((a.scale - 1) / 2)
        whole = tuple(n * a.scale for n in data.shape[2:])
        assert size == args[1].shape[-1]
        return convolved_back(
            data, args[1], (a.scale,) * 2, (pad,) * 2, (1, 1), data.shape[1], whole
        )
    high = data.shape[2] * a.scale
    grown = [ops.repeat(ops.repeat(x, high // x.shape[2], 2), high // x.shape[2], 3) for x in args]
    if len(grown) == 1:
        return grown[0]
    if a.multi_input_mode == "concat":
        return ops.concatenate(grown, 1)
    total = grown[0]
    for x in grown[1:]:
        total = total + x
    return total
