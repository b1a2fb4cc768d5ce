"""How layers on images are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.core.windows import same_padding
from tapegrad.nn.formats.tensorflow.values import CHANNELS_FIRST
from tapegrad.nn.layers.convolution.spatial import (
    SpatialConvolution,
    SpatialConvolutionMM,
    SpatialDilatedConvolution,
    SpatialFullConvolution,
    SpatialShareConvolution,
)
from tapegrad.nn.layers.normalization.batch import BatchNormalization, SpatialBatchNormalization
from tapegrad.nn.layers.normalization.local import SpatialCrossMapLRN
from tapegrad.nn.layers.padding import SpatialReflectionPadding, SpatialZeroPadding
from tapegrad.nn.layers.pooling.fixed import SpatialAveragePooling, SpatialMaxPooling
from tapegrad.nn.layers.upsampling import ResizeBilinear, SpatialUpSamplingNearest, UpSampling2D

if TYPE_CHECKING:
    from tapegrad.nn.formats.tensorflow.writing import LayerWriting

__all__ = ["IMAGE_WRITERS"]

Pads = list[tuple[int, int]]
INVERSE = (
    0,
    2,
    3,
    1,
)  # our axes of images with channels first, as axes of those with channels last


def _ours(w: LayerWriting, layer: Any) -> tuple[int, ...]:
    """The shape of the images, where the layer takes them with channels first."""
    if getattr(layer, "format", "NCHW") != "NCHW":
        raise w.refusal("images with channels first", layer.format)
    return w.images()


def _pads(w: LayerWriting, layer: Any) -> Pads:
    """What is padded before and after height and width, for the size of the example."""
    sides = w.images()[2:]
    kernel, stride = (layer.kH, layer.kW), (layer.dH, layer.dW)
    if min(layer.padH, layer.padW) < 0:
        return same_padding(sides, kernel, stride)
    dilation = (getattr(layer, "dilationH", 1), getattr(layer, "dilationW", 1))
    pads = []
    result = w.result().shape[2:]
    for n, k, s, d, p, m in zip(sides, kernel, stride, dilation, (layer.padH, layer.padW), result,
                                strict=True):  # fmt: skip
        reach = (m - 1) * s + d * (k - 1) + 1  # entries from the first window to the last
        pads.append((p, max(reach - n - p, p if not getattr(layer, "ceil_mode", False) else 0)))
    return pads


def _is_same(w: LayerWriting, layer: Any, pads: Pads) -> bool:
    """Whether TensorFlow's SAME pads just so."""
    dilation = (getattr(layer, "dilationH", 1), getattr(layer, "dilationW", 1))
    spans = tuple(d * (k - 1) + 1 for k, d in zip((layer.kH, layer.kW), dilation, strict=True))
    return pads == same_padding(w.images()[2:], spans, (layer.dH, layer.dW))


def _with_pad(w: LayerWriting, pads: Pads, value: float | None = None) -> str:
    """The input with so much around its images."""
    table = np.array(w.pen.in_graph([(0, 0), (0, 0), *pads]), np.int32)
    ref = w.const("pad/paddings", table)
    if value is None:
        return w.add("Pad", [w.ref(), ref], "pad", Tpaddings=np.dtype("i4"))
    return w.add("PadV2", [w.ref(), ref, w.number("pad/value", value)], "pad")


def _needless(pads: Pads) -> bool:
    """Whether nothing is padded, or only what no window reaches."""
    return all(before == 0 and after <= 0 for before, after in pads)


def _windowed(w: LayerWriting, layer: Any) -> tuple[str, str]:
    """(the input, padded if need be; the attribute padding)."""
    pads = _pads(w, layer)
    if _needless(pads):
        return w.ref(), "VALID"
    if _is_same(w, layer, pads):
        return w.ref(), "SAME"
    return _with_pad(w, pads), "VALID"


def _write_convolution(w: LayerWriting, layer: Any) -> None:
    shape = _ours(w, layer)
    kernels = w.array(layer.weight)
    groups = getattr(layer, "nGroup", 1)
    if type(layer) is SpatialConvolutionMM:
        kernels = kernels.reshape(layer.nOutputPlane, layer.nInputPlane, layer.kH, layer.kW)
    dilation = (getattr(layer, "dilationH", 1), getattr(layer, "dilationW", 1))
    blocks = w.pen.nhwc and dilation != (1, 1) and (layer.dH, layer.dW) == (1, 1)
    ref, padding = _in_blocks(w, layer, dilation) if blocks else _windowed(w, layer)
    depthwise = groups > 1 and groups == shape[1]
    if depthwise:
        times = layer.nOutputPlane // groups
        spread = kernels.reshape(groups, times, layer.kH, layer.kW).transpose(2, 3, 0, 1)
    else:
        spread = kernels.transpose(2, 3, 1, 0)
    attributes: dict[str, Any] = {
        "strides": w.four(layer.dH, layer.dW), "padding": padding, "data_format": w.form,
    }  # fmt: skip
    attributes["dilations"] = w.four(*((1, 1) if blocks else dilation))
    op = "DepthwiseConv2dNative" if depthwise else "Conv2D"
    name = w.weight("filter", layer.weight, spread)
    plain = layer.bias is None and not blocks
    ref = w.add(op, [ref, name], "" if plain else "conv2D", **attributes)
    if blocks:
        crops = w.const("crops", np.array([(0, after) for after in _left_over(w, layer, dilation)],
                                          np.int32))  # fmt: skip
        ref = w.add("BatchToSpaceND", [ref, w.integers("block_shape", dilation), crops],
                    "" if layer.bias is None else "joined")  # fmt: skip
    w.give(_biased(w, layer, ref))


def _left_over(w: LayerWriting, layer: Any, dilation: tuple[int, int]) -> list[int]:
    """What makes height and width multiples of the dilation."""
    sides = w.images()[2:]
    pads = _pads(w, layer)
    return [-(n + a + b) % d for n, (a, b), d in zip(sides, pads, dilation, strict=True)]


def _in_blocks(w: LayerWriting, layer: Any, dilation: tuple[int, int]) -> tuple[str, str]:
    """The input in blocks, on which a convolution without dilation does the same: the form in which
    other programs know dilation.
    """
    table = [(a, b + more) for (a, b), more in
             zip(_pads(w, layer), _left_over(w, layer, dilation), strict=True)]  # fmt: skip
    block = w.integers("block", dilation)
    paddings = w.const("paddings", np.array(table, np.int32))
    return w.add("SpaceToBatchND", [w.ref(), block, paddings], "blocks"), "VALID"


def _biased(w: LayerWriting, layer: Any, ref: str) -> str:
    if layer.bias is None:
        return ref
    bias = w.weight("bias", layer.bias, w.array(layer.bias))
    return w.add("BiasAdd", [ref, bias], data_format=w.form)


def _write_full_convolution(w: LayerWriting, layer: Any) -> None:
    if w.at.table:
        raise w.refusal("one array as input", "a table with the size")
    shape, result = w.images(), w.result().shape
    if getattr(layer, "nGroup", 1) != 1:
        raise w.refusal("one group", layer.nGroup)
    how = "VALID"
    if (layer.padH, layer.padW) != (0, 0) or any(
        m != (n - 1) * d + max(k, d) and m != (n - 1) * d + k
        for m, n, d, k in zip(result[2:], shape[2:], (layer.dH, layer.dW), (layer.kH, layer.kW),
                              strict=True)
    ):  # fmt: skip
        how = "SAME"
        same = same_padding(result[2:], (layer.kH, layer.kW), (layer.dH, layer.dW))
        wanted = [
            (n - 1) * d + k - m
            for m, n, d, k in zip(
                result[2:], shape[2:], (layer.dH, layer.dW), (layer.kH, layer.kW), strict=True
            )
        ]
        fits = [
            -(-m // d) == n and before == p and before + after == max(total, 0)
            for m, n, d, (before, after), p, total in zip(
                result[2:], shape[2:], (layer.dH, layer.dW), same, (layer.padH, layer.padW), wanted,
                strict=True)
        ]  # fmt: skip
        if not all(fits):
            raise w.refusal("padding that TensorFlow's SAME or VALID has", (layer.padH, layer.padW))
    sizes = _size_of_result(w, result)
    kernels = w.array(layer.weight).transpose(2, 3, 1, 0)
    name = w.weight("filter", layer.weight, kernels)
    ref = w.add(
        "Conv2DBackpropInput", [sizes, name, w.ref()], "" if layer.bias is None else "conv2D",
        strides=w.four(layer.dH, layer.dW), padding=how, data_format=w.form,
    )  # fmt: skip
    w.give(_biased(w, layer, ref))


def _size_of_result(w: LayerWriting, result: tuple[int, ...]) -> str:
    """The lengths of the result; with any batch, they are computed from the input's."""
    if w.pen.batch is not None:
        return w.integers("size", w.pen.in_graph([w.pen.batch, *result[1:]]))
    whole = w.pen.add("Shape", f"{w.name}/shape", [w.ref()], T=w.type())
    cut = [w.integers(name, [n]) for name, n in (("from", 0), ("to", 1), ("by", 1))]
    batch = w.add("StridedSlice", [whole, *cut], "batch", shrink_axis_mask=1, Index=np.dtype("i4"))
    lengths = w.pen.in_graph(["batch", *result[1:]])
    parts = [batch if n == "batch" else w.const(f"length{i}", np.array(n, np.int32))
             for i, n in enumerate(lengths)]  # fmt: skip
    return w.add("Pack", parts, "size", N=4, axis=0)


def _write_max_pooling(w: LayerWriting, layer: Any) -> None:
    _ours(w, layer)
    pads = _pads(w, layer)
    ref, padding = w.ref(), "VALID"
    if not _needless(pads):
        if _is_same(w, layer, pads):
            padding = "SAME"
        else:
            ref = _with_pad(w, pads, -np.inf)
    _pool(w, layer, "MaxPool", ref, padding)


def _pool(w: LayerWriting, layer: Any, op: str, ref: str, padding: str) -> None:
    w.give(
        w.add(
            op, [ref], ksize=w.four(layer.kH, layer.kW), strides=w.four(layer.dH, layer.dW),
            padding=padding, data_format=w.form,
        )
    )  # fmt: skip


def _write_average_pooling(w: LayerWriting, layer: Any) -> None:
    _ours(w, layer)
    if not layer.divide:
        raise w.refusal("means", "sums, divide False")
    if layer.global_pooling:
        axes = w.integers("axes", sorted(w.axis(a) for a in (2, 3)))
        w.give(w.add("Mean", [w.ref(), axes], keep_dims=True, Tidx=np.dtype("i4")))
        return
    pads = _pads(w, layer)
    ref, padding = w.ref(), "VALID"
    if not _needless(pads):
        counted = layer.count_include_pad and (max(layer.padH, layer.padW) > 0 or layer.padH < 0)
        if not counted and _is_same(w, layer, pads):
            padding = "SAME"
        elif counted and not layer.ceil_mode:
            ref = _with_pad(w, pads)
        else:
            raise w.refusal("padding that counts as zeros, or as SAME does not count", pads)
    _pool(w, layer, "AvgPool", ref, padding)


def _write_batch_norm(w: LayerWriting, layer: Any) -> None:
    _ours(w, layer)
    mean, variance = w.array(layer.running_mean), w.array(layer.running_var)
    weight = np.ones_like(mean) if layer.weight is None else w.array(layer.weight)
    bias = np.zeros_like(mean) if layer.bias is None else w.array(layer.bias)
    names = [w.const(name, array) for name, array in (
        ("scale", weight), ("offset", bias), ("mean", mean), ("variance", variance))]  # fmt: skip
    w.give(
        w.add("FusedBatchNorm", [w.ref(), *names], epsilon=float(layer.eps), is_training=False,
              data_format=w.form)
    )  # fmt: skip


def _write_vector_norm(w: LayerWriting, layer: Any) -> None:
    """BatchNormalization of vectors: multiplied and added."""
    if len(w.shape()) != 2:
        raise w.refusal("a batch of vectors", w.shape())
    mean, variance = w.array(layer.running_mean), w.array(layer.running_var)
    scale = 1 / np.sqrt(variance + np.asarray(layer.eps, mean.dtype))
    scale = scale if layer.weight is None else scale * w.array(layer.weight)
    shift = -mean * scale if layer.bias is None else w.array(layer.bias) - mean * scale
    product = w.add("Mul", [w.ref(), w.const("scale", scale)], "product")
    w.give(w.add("Add", [product, w.const("shift", shift)]))


def _channels_last(w: LayerWriting, op: str, more: list[str], **attributes: Any) -> None:
    """An operator that TensorFlow has for images with channels last alone."""
    if w.pen.nhwc:
        w.give(w.add(op, [w.ref(), *more], **attributes))
        return
    turned = w.turned(w.ref(), INVERSE, "last")
    w.give(w.turned(w.add(op, [turned, *more], "whole", **attributes), CHANNELS_FIRST))


def _write_lrn(w: LayerWriting, layer: Any) -> None:
    _ours(w, layer)
    _channels_last(
        w, "LRN", [], depth_radius=layer.size // 2, bias=float(layer.k),
        alpha=float(layer.alpha / layer.size), beta=float(layer.beta),
    )  # fmt: skip


def _write_zero_padding(w: LayerWriting, layer: Any) -> None:
    pads = [(layer.pad_t, layer.pad_b), (layer.pad_l, layer.pad_r)]
    flat = [n for pair in pads for n in pair]
    if len(w.shape()) != 4:
        raise w.refusal("a batch of images", w.shape())
    if min(flat) < 0:
        _cropped(w, pads)
        return
    table = np.array(w.pen.in_graph([(0, 0), (0, 0), *pads]), np.int32)
    if type(layer) is SpatialReflectionPadding:
        w.give(w.add("MirrorPad", [w.ref(), w.const("paddings", table)], mode="REFLECT",
                     Tpaddings=np.dtype("i4")))  # fmt: skip
    else:
        ref = w.const("paddings", table)
        w.give(w.add("Pad", [w.ref(), ref], Tpaddings=np.dtype("i4")))


def _cropped(w: LayerWriting, pads: Pads) -> None:
    if max(n for pair in pads for n in pair) > 0 or type(w.at.layer) is SpatialReflectionPadding:
        raise w.refusal("padding, or cutting off")
    result = w.result().shape
    begin = w.integers("begin", w.pen.in_graph([0, 0, *(-before for before, _ in pads)]))
    size = w.integers("size", w.pen.in_graph([-1, -1, *result[2:]]))
    w.give(w.add("Slice", [w.ref(), begin, size], Index=np.dtype("i4")))


def _write_resize(w: LayerWriting, layer: Any) -> None:
    _ours(w, layer)
    bilinear = type(layer) is ResizeBilinear
    size = w.integers("size", w.result().shape[2:])
    _channels_last(
        w, "ResizeBilinear" if bilinear else "ResizeNearestNeighbor", [size],
        align_corners=bilinear and layer.alignCorners, half_pixel_centers=False,
    )  # fmt: skip


IMAGE_WRITERS: dict[str, dict[type, Callable[[LayerWriting, Any], None]]] = {
    "Conv2D": {
        SpatialConvolution: _write_convolution,
        SpatialConvolutionMM: _write_convolution,
        SpatialShareConvolution: _write_convolution,
        SpatialDilatedConvolution: _write_convolution,
    },
    "Conv2DBackpropInput": {SpatialFullConvolution: _write_full_convolution},
    "MaxPool": {SpatialMaxPooling: _write_max_pooling},
    "AvgPool": {SpatialAveragePooling: _write_average_pooling},
    "FusedBatchNorm": {
        SpatialBatchNormalization: _write_batch_norm,
        BatchNormalization: _write_vector_norm,
    },
    "LRN": {SpatialCrossMapLRN: _write_lrn},
    "Pad": {SpatialZeroPadding: _write_zero_padding},
    "MirrorPad": {SpatialReflectionPadding: _write_zero_padding},
    "ResizeBilinear": {ResizeBilinear: _write_resize},
    "ResizeNearestNeighbor": {UpSampling2D: _write_resize, SpatialUpSamplingNearest: _write_resize},
}
