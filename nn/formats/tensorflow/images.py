"""Operators on images: convolutions, pooling, normalization, resizing, padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tapegrad.autograd import Parameter
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.formats.tensorflow.reading import NodeReading, bare_module
from tapegrad.nn.formats.tensorflow.values import (
    CHANNELS_FIRST,
    Blocks,
    Computed,
    Dim,
    Sizes,
    Unknown,
)
from tapegrad.nn.layers.convolution.spatial import (
    SpatialConvolution,
    SpatialDilatedConvolution,
    SpatialFullConvolution,
)
from tapegrad.nn.layers.normalization.batch import SpatialBatchNormalization
from tapegrad.nn.layers.normalization.local import SpatialCrossMapLRN
from tapegrad.nn.layers.padding import SpatialReflectionPadding, SpatialZeroPadding
from tapegrad.nn.layers.pooling.fixed import SpatialAveragePooling, SpatialMaxPooling
from tapegrad.nn.layers.shape import Padding
from tapegrad.nn.layers.upsampling import ResizeBilinear, UpSampling2D

__all__ = ["READERS"]

Array = np.ndarray[Any, Any]
Pads = tuple[int, int]
ONLY_SIDES = "windows along height and width alone"


def _sides(r: NodeReading, name: str, form: str) -> tuple[int, int]:
    """(height, width) of four numbers in the graph's order; the other two must be 1."""
    numbers = r.wholes(name, 4) or [1, 1, 1, 1]
    height, width = (1, 2) if form == "NHWC" else (2, 3)
    others = [n for i, n in enumerate(numbers) if i not in (height, width)]
    if others != [1, 1]:
        raise r.refusal(ONLY_SIDES, f"{name} {numbers}")
    found = numbers[height], numbers[width]
    if not 1 <= min(found) <= max(found) < 1 << 31:
        raise r.error(f"{name} of at least 1", numbers)
    return found


def _explicit(r: NodeReading, form: str) -> tuple[Pads, Pads]:
    numbers = r.wholes("explicit_paddings", 8)
    if not numbers or min(numbers) < 0 or max(numbers) > 1 << 20:
        raise r.error("eight paddings from 0", numbers)
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    height, width = (1, 2) if form == "NHWC" else (2, 3)
    if any(pair != (0, 0) for i, pair in enumerate(pairs) if i not in (height, width)):
        raise r.refusal(ONLY_SIDES, f"paddings {numbers}")
    return pairs[height], pairs[width]


def _length(r: NodeReading, n: Dim, span: int, stride: int, how: str, pads: Pads) -> Dim:
    """How many windows fit along an axis."""
    if not isinstance(n, int):
        return Unknown()
    if how == "SAME":
        return -(-n // stride)
    if (n := n + sum(pads)) < span:
        raise r.error(f"images not smaller than windows of {span}", n)
    return (n - span) // stride + 1


def _same(n: Dim, span: int, stride: int) -> Pads | None:
    """What TensorFlow's SAME pads before and after an axis; None where that depends on its length,
    which is not known.
    """
    if stride == 1 or span == 1:
        total = span - 1 if stride == 1 else 0
    elif isinstance(n, int):
        total = max((-(-n // stride) - 1) * stride + span - n, 0)
    else:
        return None
    return total // 2, total - total // 2


class _Windows:
    """Kernel, stride, dilation and padding of a node on images (N, C, H, W)."""

    def __init__(
        self,
        r: NodeReading,
        kernel: tuple[int, int],
        shape: tuple[Dim, ...],
        form: str,
        blocks: Any = None,
        padded: tuple[Pads, Pads] | None = None,
    ) -> None:
        self.kernel, self.stride = kernel, _sides(r, "strides", form)
        self.dilation = _sides(r, "dilations", form)
        self.how = r.text("padding", "VALID")
        if blocks is not None:
            self.dilation, self.how = blocks[0], "EXPLICIT"
        spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, self.dilation, strict=True))
        pads: list[Pads | None] = [(0, 0), (0, 0)]
        if self.how == "EXPLICIT":
            pads = list(_explicit(r, form) if blocks is None else blocks[1])
        elif self.how == "SAME":
            pads = [_same(*each) for each in zip(shape[2:], spans, self.stride, strict=True)]
        elif self.how != "VALID":
            raise r.error("padding SAME, VALID or EXPLICIT", self.how)
        self.pads = pads
        given = [(0, 0) if pad is None else pad for pad in pads]
        self.lengths = [
            _length(r, n, span, stride, self.how, pad)
            for n, span, stride, pad in zip(shape[2:], spans, self.stride, given, strict=True)
        ]
        if padded is not None:  # the lengths are those of the padded images
            self.how, self.pads = "EXPLICIT", list(padded)

    @property
    def symmetric(self) -> bool:
        """Whether as much is padded before as after."""
        return all(pad is not None and pad[0] == pad[1] for pad in self.pads)

    @property
    def depends(self) -> bool:
        """Whether the padding is that of SAME and depends on the size of the image."""
        return self.how == "SAME" and any(
            s > 1 and k > 1 for s, k in zip(self.stride, self.kernel, strict=True)
        )

    def settings(self) -> dict[str, int]:
        """kW, … as attributes of our layers; padding -1 is that of SAME for any size."""
        (kh, kw), (dh, dw) = self.kernel, self.stride
        same = self.depends or (self.how == "SAME" and not self.symmetric)
        ph, pw = (-1, -1) if same else (pad[0] if pad else 0 for pad in self.pads)
        return {"kW": kw, "kH": kh, "dW": dw, "dH": dh, "padW": pw, "padH": ph}


def _padded(
    r: NodeReading, flow: Computed, shape: tuple[Dim, ...], w: _Windows, form: str
) -> Computed:
    """The images with zeros around them, where a layer of ours cannot add them itself."""
    if any(pad is None for pad in w.pads):
        raise r.refusal("an input whose height and width are known: give the Placeholder a shape")
    (top, bottom), (left, right) = (pad or (0, 0) for pad in w.pads)
    wide = [
        n + before + after if isinstance(n, int) else n
        for n, (before, after) in zip(shape[2:], ((top, bottom), (left, right)), strict=True)
    ]
    w.how, w.pads = "VALID", [(0, 0), (0, 0)]
    layer = SpatialZeroPadding(left, right, top, bottom)
    return r.then(layer, flow, _in_graph((*shape[:2], *wide), form), flow.order, "pad")


def _in_graph(shape: tuple[Dim, ...], form: str) -> tuple[Dim, ...]:
    return shape if form == "NCHW" else (shape[0], *shape[2:], shape[1])


def _weights(array: Array) -> Array:
    return array.transpose(3, 2, 0, 1)


def _depthwise_weights(array: Array) -> Array:
    high, wide, planes, times = array.shape
    return array.transpose(2, 3, 0, 1).reshape(planes * times, 1, high, wide)


def _read_convolution(r: NodeReading) -> list[Any]:
    r.needs(2)
    blocks = r.ins[0]
    if not isinstance(blocks, Blocks):
        return [_convolution(r, r.flow(0), None)]
    plain = (_sides(r, "strides", "NHWC"), _sides(r, "dilations", "NHWC")) == ((1, 1), (1, 1))
    if blocks.convolve is not None or not plain or r.text("padding") != "VALID":
        raise r.refusal("one convolution of blocks, without stride and padding")

    def convolve(flow: Computed, dilation: tuple[int, int], pads: Any) -> Computed:
        return _convolution(r, flow, (dilation, pads))

    return [replace(blocks, convolve=convolve)]


def _read_blocks(r: NodeReading) -> list[Any]:
    """SpaceToBatchND: the first of the three nodes that are a convolution with dilation."""
    r.needs(3)
    dilation, table = r.integers(1), r.const(2)
    flow, _ = r.images(0)
    if (
        len(dilation) != 2
        or table.shape != (2, 2)
        or not 1 <= min(dilation) <= max(dilation) < 1 << 20
    ):
        raise r.refusal("blocks of images", (dilation, table.shape))
    if not 0 <= table.min() <= table.max() < 1 << 20:
        raise r.error("paddings from 0", table.tolist())
    pads = tuple((int(a), int(b)) for a, b in table)
    return [Blocks(flow, (dilation[0], dilation[1]), (pads[0], pads[1]))]


def _read_joined_blocks(r: NodeReading) -> list[Any]:
    """BatchToSpaceND: the last of them."""
    r.needs(3)
    blocks, crops = r.ins[0], r.const(2)
    if not isinstance(blocks, Blocks) or blocks.convolve is None:
        raise r.refusal("what a convolution made of blocks of images")
    if tuple(r.integers(1)) != blocks.dilation or crops.shape != (2, 2):
        raise r.error(f"the blocks {blocks.dilation}, and crops", r.integers(1))
    pads = []
    for (before, after), (first, last) in zip(blocks.pads, crops.tolist(), strict=True):
        if not (0 <= first <= before and 0 <= last <= after):
            raise r.refusal("crops of no more than what was padded", crops.tolist())
        pads.append((before - first, after - last))
    return [blocks.convolve(blocks.flow, blocks.dilation, tuple(pads))]


def _convolution(r: NodeReading, images: Computed, blocks: Any) -> Computed:
    """Conv2D and DepthwiseConv2dNative; blocks: dilation and padding that other nodes say."""
    form = r.text("data_format", "NHWC")
    kernels = r.const(1)
    flow, shape = r.as_images(images, form)
    if kernels.ndim != 4 or 0 in kernels.shape:
        raise r.error("weights of four axes", kernels.shape)
    high, wide, planes, last = kernels.shape
    depthwise = r.op == "DepthwiseConv2dNative"
    n_in = shape[1] if isinstance(shape[1], int) else planes
    if n_in < 1 or (n_in != planes if depthwise else n_in % planes):
        raise r.error(f"an input of {planes} planes", n_in)
    n_out = planes * last if depthwise else last
    groups = planes if depthwise else n_in // planes
    if n_out % groups:
        raise r.error(f"planes that divide into {groups} groups", n_out)
    flow, before = _without_padding(r, flow)
    w = _Windows(r, (high, wide), shape, form, blocks, before)
    dilated = w.dilation != (1, 1)
    if (w.how == "EXPLICIT" and not w.symmetric) or (
        dilated and w.how == "SAME" and (w.depends or not w.symmetric)
    ):
        flow = _padded(r, flow, shape, w, form)
    attributes = dict[str, Any](nInputPlane=n_in, nOutputPlane=n_out, **w.settings())
    if groups > 1:
        attributes["nGroup"] = groups
    if dilated:
        attributes |= {"dilationW": w.dilation[1], "dilationH": w.dilation[0]}
    turn = _depthwise_weights if depthwise else _weights
    layer = bare_module(
        SpatialDilatedConvolution if dilated else SpatialConvolution,
        **attributes,
        weight=r.parameter(kernels, r.op, turn),
        bias=None,
    )
    return r.of_images(layer, flow, (shape[0], n_out, *w.lengths), form)


def _without_padding(r: NodeReading, flow: Computed) -> tuple[Computed, tuple[Pads, Pads] | None]:
    """The images before equal zeros on both sides, which the convolution itself can add."""
    node = r.layer_of(flow, SpatialZeroPadding)
    if node is None or r.text("padding") != "VALID":
        return flow, None
    layer = node.layer
    if (
        layer.pad_l != layer.pad_r
        or layer.pad_t != layer.pad_b
        or min(layer.pad_l, layer.pad_t) < 0
    ):
        return flow, None
    source = Computed(node.inputs[0], flow.shape, flow.order, sole=False)
    return source, ((layer.pad_t, layer.pad_b), (layer.pad_l, layer.pad_r))


def _read_transposed(r: NodeReading) -> list[Any]:
    """Conv2DBackpropInput: [size of the result, weights, images]."""
    r.needs(3)
    form = r.text("data_format", "NHWC")
    kernels, sizes = r.const(1), r.dims(0)
    flow, shape = r.images(2, form)
    if kernels.ndim != 4 or len(sizes) not in (2, 4) or 0 in kernels.shape:
        raise r.error("weights of four axes, and a size", (kernels.shape, len(sizes)))
    high, wide, n_out, n_in = kernels.shape
    strides, how = _sides(r, "strides", form), r.text("padding", "VALID")
    if _sides(r, "dilations", form) != (1, 1) or how not in ("SAME", "VALID"):
        raise r.refusal("no dilation, and padding SAME or VALID", how)
    wanted = sizes if len(sizes) == 2 else sizes[1:3] if form == "NHWC" else sizes[2:]
    pads, adjusted, cut, lengths = [], [], [], []
    for n, length, k, d in zip(shape[2:], wanted, (high, wide), strides, strict=True):
        if not isinstance(length, int):
            length = (
                Unknown() if not isinstance(n, int) else n * d + max(k - d, 0) * (how == "VALID")
            )
        total = 0
        if how == "SAME":  # for a length that is not known, it is a multiple of the stride
            total = max(k - d, 0)
            if isinstance(n, int) and isinstance(length, int):
                total = max((n - 1) * d + k - length, 0)
        more = 0
        if isinstance(n, int) and isinstance(length, int):
            more = length - ((n - 1) * d + k - total)
        elif how == "SAME":
            more = max(d - k, 0)
        if not 0 <= more < d:
            raise r.error("a size that the strides reach", length)
        odd = total % 2
        pads.append(total // 2)
        adjusted.append(0 if odd else more)
        cut.append(odd - more if odd else 0)
        lengths.append(length)
    layer = bare_module(
        SpatialFullConvolution, nInputPlane=n_in, nOutputPlane=n_out, kW=wide, kH=high,
        dW=strides[1], dH=strides[0], padW=pads[1], padH=pads[0], adjW=adjusted[1],
        adjH=adjusted[0], weight=r.parameter(kernels, r.op, _weights), bias=None,
    )  # fmt: skip
    result = r.of_images(layer, flow, (shape[0], n_out, *lengths), form)
    if any(cut):  # more is padded after than before, which our layer does not do
        cropped = SpatialZeroPadding(0, -cut[1], 0, -cut[0])
        return [r.then(cropped, result, result.shape, result.order, "crop")]
    return [result]


def _read_pooling(r: NodeReading) -> list[Any]:
    r.needs(1)
    form = r.text("data_format", "NHWC")
    flow, shape = r.images(0, form)
    w = _Windows(r, _sides(r, "ksize", form), shape, form)
    if w.how == "EXPLICIT" and not w.symmetric:
        raise r.refusal("the same padding before and after", w.pads)
    if r.op == "MaxPool":
        layer: Any = bare_module(SpatialMaxPooling, **w.settings(), ceil_mode=False)
    else:
        layer = bare_module(
            SpatialAveragePooling, **w.settings(), ceil_mode=False, count_include_pad=False,
            divide=True,
        )  # fmt: skip
        if w.how == "VALID":  # where nothing is padded, as constructors make it
            layer.count_include_pad = True
    return [r.of_images(layer, flow, (*shape[:2], *w.lengths), form)]


# Normalization ------------------------------------------------------------------------------------


def _normalized(
    r: NodeReading, form: str, arrays: tuple[Array, Array, Array, Array], eps: float
) -> list[Any]:
    """(weight, bias, mean, variance) of a batch normalization that is done training."""
    flow, shape = r.images(0, form)
    weight, bias, mean, variance = arrays
    planes = shape[1] if isinstance(shape[1], int) else len(mean)
    if any(a.shape != (planes,) or a.dtype.kind != "f" for a in arrays):
        found = [a.shape for a in arrays]
        raise r.error(f"four vectors of {planes} floats", found)
    layer = bare_module(
        SpatialBatchNormalization, eps=eps, momentum=0.1, affine=True,
        running_mean=Buffer(np.array(mean)), running_var=Buffer(np.array(variance)),
        weight=Parameter(np.array(weight)), bias=Parameter(np.array(bias)),
    )  # fmt: skip
    r.session.charge(4 * mean.nbytes, r.path)
    return [r.of_images(layer, flow, (shape[0], planes, *shape[2:]), form)]


def _read_batch_norm(r: NodeReading) -> list[Any]:
    r.needs(5, 6)
    if r.flag("is_training", default=True):
        raise r.refusal("a graph frozen for inference: is_training false")
    scale, offset, mean, variance = (r.const(i) for i in range(1, 5))
    eps = r.number("epsilon", 1e-4)
    form = r.text("data_format", "NHWC")
    return _normalized(r, form, (scale, offset, mean, variance), eps)


def _read_old_batch_norm(r: NodeReading) -> list[Any]:
    """BatchNormWithGlobalNormalization: [images, mean, variance, bias, weight]."""
    r.needs(5)
    mean, variance, offset, scale = (r.const(i) for i in range(1, 5))
    if not r.flag("scale_after_normalization"):
        scale = np.ones_like(mean)
    eps = r.number("variance_epsilon", 1e-3)
    return _normalized(r, "NHWC", (scale, offset, mean, variance), eps)


def _read_lrn(r: NodeReading) -> list[Any]:
    r.needs(1)
    radius = r.whole("depth_radius", 5)
    flow, shape = r.images(0)
    size = 2 * radius + 1
    if not 0 <= radius < 1 << 20:
        raise r.error("a radius from 0", radius)
    alpha, beta = r.number("alpha", 1.0), r.number("beta", 0.5)
    layer = SpatialCrossMapLRN(size, alpha * size, beta, r.number("bias", 1.0))
    return [r.of_images(layer, flow, shape, "NHWC")]


# Sizes --------------------------------------------------------------------------------------------


def _read_resize(r: NodeReading) -> list[Any]:
    r.needs(2)
    if isinstance(r.ins[1], Sizes) and not r.all_const(1):
        raise r.refusal("a size that is known")
    size = r.integers(1)
    flow, shape = r.images(0)
    if len(size) != 2 or not 1 <= min(size) <= max(size) < 1 << 20:
        raise r.error("a height and a width", size)
    if r.flag("half_pixel_centers"):
        raise r.refusal("half_pixel_centers false: nn's layers begin at the first pixel")
    out = (*shape[:2], *size)
    if r.op == "ResizeBilinear":
        layer: Any = ResizeBilinear(size[0], size[1], r.flag("align_corners"))
        return [r.of_images(layer, flow, out, "NHWC")]
    times = [s // n if isinstance(n, int) and n and s % n == 0 else 0
             for s, n in zip(size, shape[2:], strict=True)]  # fmt: skip
    if 0 in times or r.flag("align_corners"):
        raise r.refusal("multiples of the height and the width", f"{size} for {shape[2:]}")
    return [r.of_images(UpSampling2D(times), flow, out, "NHWC")]


def _read_pad(r: NodeReading) -> list[Any]:
    """Pad, PadV2 and MirrorPad of an array with any number of axes."""
    r.needs(2, 3)
    table = r.const(1)
    flow, shape = r.shaped(0)
    if flow.folded is not None:
        flow = r.session.graph_order(flow, r.path)
    if table.shape != (len(shape), 2) or table.dtype.kind not in "iu":
        raise r.error("two integers for each axis", table.shape)
    if table.size and not 0 <= table.min() <= table.max() < 1 << 20:
        raise r.error("paddings from 0", table.tolist())
    pads = [(int(a), int(b)) for a, b in table]
    value = float(r.const(2).reshape(())) if len(r.ins) == 3 else 0.0
    out = [n + a + b if isinstance(n, int) else n for n, (a, b) in zip(shape, pads, strict=True)]
    if r.op == "MirrorPad" and r.text("mode") != "REFLECT":
        raise r.refusal("the mode REFLECT", r.text("mode"))
    if len(shape) == 4 and flow.order[0] == 0 and pads[0] == (0, 0):
        images = flow if flow.order == CHANNELS_FIRST else None
        if (
            images is None
            and (pads[3] == (0, 0) or pads[1] != (0, 0))
            and (r.session.images or r.op == "MirrorPad")
        ):
            images = r.session.in_order(flow, CHANNELS_FIRST, r.path)
        images = images or flow
        (ca, cb), (top, bottom), (left, right) = (pads[axis] for axis in images.order[1:])
        if (ca, cb) == (0, 0) and (value == 0 or r.op == "MirrorPad"):
            kind = SpatialReflectionPadding if r.op == "MirrorPad" else SpatialZeroPadding
            layer: Any = kind(left, right, top, bottom)
            return [r.then(layer, images, out, images.order)]
    if r.op == "MirrorPad":
        raise r.refusal("mirrored heights and widths", pads)
    result, now = flow, list(shape)
    for axis, (before, after) in enumerate(pads):
        ours = flow.order.index(axis)
        for amount, end in ((-before, "before"), (after, "after")):
            if amount:
                length = now[axis]
                now[axis] = length + abs(amount) if isinstance(length, int) else length
                layer = Padding(ours, amount, value=value)
                result = r.then(layer, result, now, flow.order, f"{end}{axis}")
    return [result]


READERS: dict[str, Callable[[NodeReading], list[Any]]] = {
    "Conv2D": _read_convolution,
    "DepthwiseConv2dNative": _read_convolution,
    "Conv2DBackpropInput": _read_transposed,
    "SpaceToBatchND": _read_blocks,
    "BatchToSpaceND": _read_joined_blocks,
    "MaxPool": _read_pooling,
    "AvgPool": _read_pooling,
    "FusedBatchNorm": _read_batch_norm,
    "BatchNormWithGlobalNormalization": _read_old_batch_norm,
    "LRN": _read_lrn,
    "ResizeBilinear": _read_resize,
    "ResizeNearestNeighbor": _read_resize,
    "Pad": _read_pad,
    "MirrorPad": _read_pad,
}
