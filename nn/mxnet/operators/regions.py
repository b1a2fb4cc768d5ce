"""Regions of images: ROIPooling, ROIAlign, and convolution at places that another layer gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Choice, Float, Int, Shape
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.operators.constants import beside, constant
from tapegrad.nn.mxnet.operators.sampling import sampled
from tapegrad.nn.mxnet.operators.windows import length, of_rank
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["deformable_convolution", "roi_align", "roi_pooling"]

_LONG = np.dtype(np.int64)


def _roi_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    data, rois = inputs
    inputs[1] = unify(rois, (0, 5))
    if data is not None and rois is not None:
        h, w = a.pooled_size
        planes = data[1] // (h * w) if getattr(a, "position_sensitive", False) else data[1]
        outputs[0] = unify(outputs[0], (rois[0], planes, h, w))


def _round(x: np.ndarray) -> np.ndarray:
    """Halves away from zero, as C rounds."""
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


@constant
def _largest_places(
    data: np.ndarray, rois: np.ndarray, *, size: tuple[int, int], scale: float
) -> np.ndarray:
    """(R, C, h, w): the number of the first largest entry of each part of each region in its
    image's H·W entries, -1 where a part is empty.
    """
    high, wide = data.shape[2:]
    places = np.full((len(rois), data.shape[1], *size), -1, np.int64)
    corners = _round((rois[:, 1:] * np.float32(scale)).astype(rois.dtype)).astype(np.int64)
    for r, (left, top, right, bottom) in enumerate(corners):
        image = data[min(max(int(rois[r, 0]), 0), len(data) - 1)]
        rows = _parts(top, max(bottom - top + 1, 1), size[0], high)
        columns = _parts(left, max(right - left + 1, 1), size[1], wide)
        for i, (y0, y1) in enumerate(rows):
            for j, (x0, x1) in enumerate(columns):
                if y1 <= y0 or x1 <= x0:
                    continue
                found = image[:, y0:y1, x0:x1].reshape(len(image), -1).argmax(1)
                row, column = np.divmod(found, x1 - x0)
                places[r, :, i, j] = (y0 + row) * wide + x0 + column
    return places


def _parts(start: int, n: int, count: int, limit: int) -> list[tuple[int, int]]:
    """The bounds of `count` parts of n entries from `start`, cut at 0 and at the limit."""
    step = np.float32(n) / np.float32(count)
    found = []
    for i in range(count):
        begin = int(np.floor(np.float32(i) * step)) + start
        end = int(np.ceil(np.float32(i + 1) * step)) + start
        found.append((min(max(begin, 0), limit), min(max(end, 0), limit)))
    return found


@operator(
    "ROIPooling",
    "data rois",
    flat="rois",
    hidden=1,
    shapes=_roi_shapes,
    pooled_size=Shape(),
    spatial_scale=Float(),
)
def roi_pooling(call: Call, data: Tensor, rois: Tensor) -> Tensor:
    """The largest entry of each of h × w parts of regions; 0 of an empty part.

    data (N, C, H, W), rois (R, 5) of [image, x1, y1, x2, y2] that spatial_scale makes pixels, both
    ends included -> (R, C, h, w).
    """
    n, channels, high, wide = data.shape
    at = _largest_places(data, rois, size=call.a.pooled_size, scale=call.a.spatial_scale)
    image = ops.clip(ops.to_integer(rois[:, 0], dtype=_LONG), 0, n - 1).reshape((-1, 1, 1, 1))
    plane = beside(data, np.arange(channels).reshape((1, -1, 1, 1)))
    flat = data.reshape((n, channels, high * wide))
    return ops.where(ops.less(at, 0), 0, flat[image, plane, ops.maximum(at, 0)])


@constant
def _means(
    rois: np.ndarray, *, first: int, n: int, parts: int, scale: float, samples: int, aligned: bool
) -> np.ndarray:
    """(R, parts, n): the weight of each of n entries of an axis in each part of each region."""
    shift = 0.5 if aligned else 0.0
    begin = rois[:, first] * scale - shift
    size = rois[:, first + 2] * scale - shift - begin
    if not aligned:
        size = np.maximum(size, 1)
    weights = np.zeros((len(rois), parts, n), rois.dtype)
    for r in range(len(rois)):
        step = size[r] / parts
        count = samples if samples > 0 else max(int(np.ceil(step)), 0)
        if count == 0:
            continue
        at = begin[r] + (np.arange(parts)[:, None] + (np.arange(count) + 0.5) / count) * step
        valid = (at >= -1) & (at <= n)
        at = np.maximum(at, 0)
        low = np.minimum(at.astype(np.int64), n - 1)
        share = np.where(low >= n - 1, 0, at - low)
        rows = np.arange(parts)[:, None] + 0 * low
        np.add.at(weights[r], (rows, low), np.where(valid, 1 - share, 0) / count)
        np.add.at(weights[r], (rows, np.minimum(low + 1, n - 1)), np.where(valid, share, 0) / count)
    return weights


@operator(
    "_contrib_ROIAlign",
    "data rois",
    flat="rois",
    hint="roialign",
    shapes=_roi_shapes,
    pooled_size=Shape(),
    spatial_scale=Float(),
    sample_ratio=Int(-1),
    position_sensitive=Bool(False),
    aligned=Bool(False),
)
def roi_align(call: Call, data: Tensor, rois: Tensor) -> Tensor:
    """The mean of bilinear samples in each of h × w parts of regions.

    data (N, C, H, W), rois (R, 5) of [image, x1, y1, x2, y2] -> (R, C, h, w); (R, C / (h·w), h, w)
    where each part has channels of its own (`position_sensitive`).  sample_ratio² samples a part;
    as many as it has pixels if that is not positive.  `aligned` shifts regions by half a pixel.
    """
    # a sample is the product of one weight per axis, so a part's mean is rows · image · columns
    a, (h, w) = call.a, call.a.pooled_size
    n, channels, high, wide = data.shape
    settings = {"scale": a.spatial_scale, "samples": a.sample_ratio, "aligned": a.aligned}
    rows = _means(rois, first=2, n=high, parts=h, **settings)
    columns = _means(rois, first=1, n=wide, parts=w, **settings)
    image = ops.to_integer(rois[:, 0], dtype=_LONG)
    chosen = data[ops.clip(image, 0, n - 1)]
    if a.position_sensitive:
        chosen = chosen.reshape((rois.shape[0], channels // (h * w), h, w, high, wide))
        y = ops.einsum("rcijhw,rih,rjw->rcij", chosen, rows, columns)
    else:
        y = ops.einsum("rchw,rih,rjw->rcij", chosen, rows, columns)
    # a negative number of an image stands for a region that is not there
    return ops.where(ops.less(image, 0).reshape((-1, 1, 1, 1)), 0, y)


# Deformable convolution --------------------------------------------------------------------------


def _deformable_inputs(a: Attributes) -> tuple[str, ...]:
    return ("data", "offset", "weight") if a.no_bias else ("data", "offset", "weight", "bias")


def _deformable_lengths(a: Attributes, lengths: tuple[int, ...]) -> tuple[int, ...]:
    each = zip(
        lengths, a.kernel, of_rank(a, "stride", 1), of_rank(a, "pad", 0), of_rank(a, "dilate", 1),
        strict=True,
    )  # fmt: skip
    return tuple(length(*one) for one in each)


def _deformable_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    if not a.no_bias:
        inputs[3] = unify(inputs[3], (a.num_filter,))
    data = inputs[0]
    if data is None:
        return
    if len(a.kernel) != 2 or len(data) != 4:
        raise ValueError(f"a kernel {a.kernel} of two axes takes data with 4 axes, not {data}")
    inputs[2] = unify(inputs[2], (a.num_filter, data[1] // a.num_group, *a.kernel))
    size = _deformable_lengths(a, data[2:])
    planes = 2 * a.num_deformable_group * a.kernel[0] * a.kernel[1]
    inputs[1] = unify(inputs[1], (data[0], planes, *size))
    outputs[0] = unify(outputs[0], (data[0], a.num_filter, *size))


@operator(
    "_contrib_DeformableConvolution",
    _deformable_inputs,
    hint="deformableconvolution",
    shapes=_deformable_shapes,
    kernel=Shape(),
    stride=Shape(()),
    dilate=Shape(()),
    pad=Shape(()),
    num_filter=Int(),
    num_group=Int(1),
    num_deformable_group=Int(1),
    workspace=Int(1024),
    no_bias=Bool(False),
    layout=Choice(None, none=True, words=("NCDHW", "NCHW", "NCW")),
)
def deformable_convolution(
    call: Call, data: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Convolution whose kernel's entries lie at their places plus offsets, sampled bilinearly.

    data (N, C, H, W), offset (N, 2·groups·kh·kw, h, w) of rows then columns for each entry of the
    kernel, weight (num_filter, C / num_group, kh, kw) -> (N, num_filter, h, w).
    """
    a = call.a
    n, channels, high, wide = data.shape
    (kh, kw), groups = a.kernel, a.num_deformable_group
    stride, pad, dilate = (
        of_rank(a, "stride", 1), of_rank(a, "pad", 0), of_rank(a, "dilate", 1)
    )  # fmt: skip
    h, w = offset.shape[2:]
    moved = offset.reshape((n, groups, kh * kw, 2, h, w))
    i, j = np.divmod(np.arange(kh * kw), kw)
    dtype = np.dtype(data.dtype)
    rows = (np.arange(h) * stride[0] - pad[0])[None, :, None] + (i * dilate[0])[:, None, None]
    columns = (np.arange(w) * stride[1] - pad[1])[None, None, :] + (j * dilate[1])[:, None, None]
    # each deformable group of channels is an image of its own
    images = data.reshape((n * groups, channels // groups, high, wide))
    y = (moved[:, :, :, 0] + beside(data, rows.astype(dtype))).reshape((n * groups, kh * kw, h, w))
    x = (moved[:, :, :, 1] + beside(data, columns.astype(dtype))).reshape(
        (n * groups, kh * kw, h, w)
    )
    patches = sampled(images, x, y).reshape(
        (n, a.num_group, channels // a.num_group * kh * kw, h * w)
    )
    kernels = weight.reshape((a.num_group, a.num_filter // a.num_group, -1))
    result = (kernels @ patches).reshape((n, a.num_filter, h, w))
    return result if bias is None else result + bias.reshape((-1, 1, 1))
