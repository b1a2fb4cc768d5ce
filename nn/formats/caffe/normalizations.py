"""BatchNorm, Scale, Bias, LRN, MVN and Normalize, read and written.

Caffe's BatchNorm has no weight and bias: a Scale behind it does.  Reading, the two become one layer
of nn where the second alone reads the first (`joining`); writing, one layer becomes two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.formats.caffe.reading import Flow, Reading, made
from tapegrad.nn.formats.common.operators import Operator
from tapegrad.nn.layers.distance import Normalize
from tapegrad.nn.layers.normalization.batch import (
    BatchNormalization,
    SpatialBatchNormalization,
    VolumetricBatchNormalization,
)
from tapegrad.nn.layers.normalization.local import SpatialCrossMapLRN, SpatialWithinChannelLRN
from tapegrad.nn.layers.normalization.sample import GroupNorm, InstanceNorm, NormalizeScale
from tapegrad.nn.layers.pointwise import CAdd, CMul, Scale
from tapegrad.nn.layers.rearranging import InferReshape
from tapegrad.nn.layers.shape import Flatten

if TYPE_CHECKING:
    from tapegrad.nn.formats.caffe.writing import Writing

__all__ = ["NORMALIZATIONS", "OPERATORS"]

NORMALIZATIONS = {
    2: BatchNormalization,
    4: SpatialBatchNormalization,
    5: VolumetricBatchNormalization,
}
NOT_STATISTICS = (
    "the mean, the variance and their factor (BigDL writes weight and bias instead, and no "
    "statistics: such a file has lost them)"
)


def read_batch_norm(r: Reading) -> list[Flow]:
    p = r.param("batch_norm_param")
    r.needs(1, 1)
    cls = NORMALIZATIONS.get(4 if r.ndim is None else r.ndim)
    if cls is None:
        raise r.refusal("a blob of 2, 4 or 5 axes", r.ndim)
    stored = len(r.layer.blobs)
    if stored not in (0, 3):
        raise r.error(NOT_STATISTICS, f"{stored} blobs")
    planes = r.length(1)
    if planes is None and stored:
        planes = int(np.prod(r.stored_shape(0) or (0,), dtype=object))
    if planes is None:
        raise r.error("a shape of the input, or weights, which say how many planes there are")
    r.positive("planes", planes)
    mean, variance = r.weight(0, (planes,), 0.0), r.weight(1, (planes,), 1.0)
    factor = r.weight(2, (1,), 1.0)[0]
    factor = factor.dtype.type(0 if factor == 0 else 1 / factor)
    layer = made(
        cls,
        eps=p.eps,
        momentum=1 - p.moving_average_fraction,
        affine=False,
        running_mean=Buffer(mean * factor),
        running_var=Buffer(variance * factor),
        weight=None,
        bias=None,
    )
    return [r.then(layer, r.shape)]


def write_batch_norm(w: Writing, layer: Any) -> list[str]:
    axes = layer.nDim
    if w.ndim() not in (None, axes) or getattr(layer, "format", "NCHW") != "NCHW":
        raise w.refusal(f"a batch of {axes} axes, planes first")
    one = np.ones(1, layer.running_mean.dtype)
    p = {"use_global_stats": True, "eps": layer.eps}
    if layer.momentum != 1 - 0.999:
        p["moving_average_fraction"] = 1 - layer.momentum
    tops = w.put(
        "BatchNorm", blobs=[layer.running_mean, layer.running_var, one], batch_norm_param=p
    )
    if layer.weight is None:
        return tops
    blobs = [layer.weight, layer.bias]
    return w.put("Scale", reads=tops, ending="_scale", blobs=blobs, scale_param={"bias_term": True})


def _broadcast(r: Reading, axis: int, num_axes: int) -> tuple[int, ...]:
    """The shape of Scale's and Bias's blob, with axes of length 1 around it."""
    stored = r.stored_shape(0)
    ndim = 4 if r.ndim is None else r.ndim
    first = r.axis(axis, ndim)
    count = ndim - first if num_axes == -1 else num_axes
    if count < 0 or first + count > ndim:
        raise r.error(f"axes of a blob of {ndim} axes", (axis, num_axes))
    lengths = [r.length(first + i) for i in range(count)]
    if None in lengths and stored is not None and len(stored) == count:
        lengths = list(stored)
    known = [n for n in lengths if n is not None]
    if len(known) < len(lengths):
        raise r.error("a shape of the input, or weights, which say how long the blob is")
    r.positive("lengths", *known, 1)
    return (1,) * first + tuple(known) + (1,) * (ndim - first - count)


def read_scale(r: Reading) -> list[Flow]:
    p = r.param("scale_param")
    if len(r.bottoms) != 1:
        raise r.refusal("a Scale with weights of its own", f"{len(r.bottoms)} bottoms")
    shape = _broadcast(r, p.axis, p.num_axes)
    weight = r.parameter(0, shape, 1.0)
    if p.bias_term:
        flow = r.then(made(Scale, weight=weight, bias=r.parameter(1, shape, 0.0)), r.shape)
    else:
        flow = r.then(made(CMul, weight=weight), r.shape)
    if len([n for n in shape if n != 1]) <= 1:
        r.session.scales.add(flow.value.name)
    return [flow]


def read_bias(r: Reading) -> list[Flow]:
    p = r.param("bias_param")
    if len(r.bottoms) != 1:
        raise r.refusal("a Bias with values of its own", f"{len(r.bottoms)} bottoms")
    shape = _broadcast(r, p.axis, p.num_axes)
    return [r.then(made(CAdd, bias=r.parameter(0, shape, 0.0)), r.shape)]


def _planes_of(w: Writing, parameter: Any) -> dict[str, int]:
    """axis and num_axes of Scale's or Bias's blob, whose shape is that of `parameter`."""
    shape, ndim = parameter.shape, w.ndim()
    if ndim is None:
        raise w.refusal("an example input, which says where the weights go")
    if len(shape) != ndim:  # entries a sample, behind the batch
        kind = w.input_type()
        shape = (1, *(kind.shape[1:] if kind is not None else ()))
    if shape[:1] != (1,):
        raise w.refusal("weights for a sample, not for the batch")
    long = [i for i, n in enumerate(shape) if n != 1] or [1]
    return {"axis": long[0], "num_axes": long[-1] - long[0] + 1}


def _flat(parameter: Any, p: dict[str, int], w: Writing) -> Any:
    """The parameter in the shape of the blob."""
    ndim = w.ndim()
    if len(parameter.shape) != ndim:
        kind = w.input_type()
        shape = (1, *(kind.shape[1:] if kind is not None else ()))
        return parameter.detach().reshape(shape[p["axis"] : p["axis"] + p["num_axes"]])
    shape = parameter.shape[p["axis"] : p["axis"] + p["num_axes"]]
    return parameter.detach().reshape(shape)


def write_scale(w: Writing, layer: Any) -> list[str]:
    p = _planes_of(w, layer.weight)
    blobs = [_flat(layer.weight, p, w), _flat(layer.bias, p, w)]
    return w.put("Scale", blobs=blobs, scale_param={**p, "bias_term": True})


def write_multiplication(w: Writing, layer: Any) -> list[str]:
    p = _planes_of(w, layer.weight)
    return w.put("Scale", blobs=[_flat(layer.weight, p, w)], scale_param=p)


def write_addition(w: Writing, layer: Any) -> list[str]:
    p = _planes_of(w, layer.bias)
    return w.put("Bias", blobs=[_flat(layer.bias, p, w)], bias_param=p)


# Local response -----------------------------------------------------------------------------------


def read_lrn(r: Reading) -> list[Flow]:
    p = r.param("lrn_param")
    r.needs(1, 1)
    if p.local_size % 2 == 0:
        raise r.error("an odd local_size", p.local_size)
    if p.norm_region == 1:
        layer: Any = SpatialWithinChannelLRN(p.local_size, p.alpha, p.beta)
    else:
        layer = SpatialCrossMapLRN(p.local_size, p.alpha, p.beta, p.k)
    return [r.then(layer, r.shape)]


def write_lrn(w: Writing, layer: Any) -> list[str]:
    w.images()
    p = {"local_size": layer.size, "alpha": layer.alpha, "beta": layer.beta}
    if isinstance(layer, SpatialWithinChannelLRN):
        return w.put("LRN", lrn_param={**p, "norm_region": 1})
    return w.put("LRN", lrn_param={**p, "k": layer.k})


def read_mvn(r: Reading) -> list[Flow]:
    p = r.param("mvn_param")
    r.needs(1, 1)
    planes = r.length(1)
    if not p.normalize_variance:
        raise r.refusal("a mean and a variance that become 0 and 1", "normalize_variance: false")
    if planes is None or r.ndim is None or r.ndim < 3:
        raise r.refusal("images of a known number of planes", r.shape)
    # Caffe adds eps to the root, nn to its square; of 1e-9 neither is seen in single precision
    if p.across_channels:
        return [r.then(GroupNorm(1, planes, p.eps**2, affine=False), r.shape)]
    return [r.then(InstanceNorm(planes, p.eps**2, affine=False), r.shape)]


# SSD ----------------------------------------------------------------------------------------------


def read_normalize(r: Reading) -> list[Flow]:
    p = r.param("norm_param")
    r.needs(1, 1)
    planes = r.length(1)
    if planes is None or r.ndim != 4:
        raise r.refusal("images of a known number of planes", r.shape)
    count = 1 if p.channel_shared else planes
    weight = r.parameter(0, (1, count, 1, 1), 1.0)
    if not p.across_spatial:
        layer = made(NormalizeScale, p=2.0, eps=p.eps, scale=1.0, weight=weight)
        return [r.then(layer, r.shape)]
    sides = [n for n in r.shape[1:] if n is not None] if r.shape is not None else []
    if len(sides) != 3:
        raise r.refusal("images of a known size", r.shape)
    layers = (Flatten(), Normalize(2.0, p.eps), InferReshape((-1, *sides)))
    return r.chain(*layers, made(CMul, weight=weight), shape=r.shape)


def write_normalize(w: Writing, layer: Any) -> list[str]:
    w.images()
    shape = layer.weight.shape
    if layer.p != 2 or any(n != 1 for i, n in enumerate(shape) if len(shape) - i != 3):
        raise w.refusal("a norm with p = 2 and a weight for each plane")
    p = {"across_spatial": False, "channel_shared": layer.weight.size == 1, "eps": layer.eps}
    return w.put("Normalize", blobs=[layer.weight.detach().reshape((-1,))], norm_param=p)


OPERATORS = [
    Operator(
        "BatchNorm",
        read_batch_norm,
        dict.fromkeys(NORMALIZATIONS.values(), write_batch_norm),
        note="with the Scale behind it one layer; files without statistics (BigDL's) are refused",
    ),
    Operator("Scale", read_scale, {Scale: write_scale, CMul: write_multiplication},
             note="with one input"),
    Operator("Bias", read_bias, {CAdd: write_addition}, note="with one input"),
    Operator(
        "LRN", read_lrn,
        dict.fromkeys((SpatialCrossMapLRN, SpatialWithinChannelLRN), write_lrn),
    ),
    Operator("MVN", read_mvn, note="of images, the variance too; read only"),
    Operator("Normalize", read_normalize, {NormalizeScale: write_normalize}, note="SSD's"),
]  # fmt: skip
