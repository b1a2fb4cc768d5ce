"""How the fields of single layers are brought up to date, and completed, for the table of classes.

Functions called `read_…` take the fields of a file and its version, and return the fields that a
file written today would have; those called `write_…` take the module and the fields that the
general rule makes, and return them with what Torch7's code expects beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Tensor
from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError
from tapegrad.nn.formats.torch7.objects import Storage
from tapegrad.nn.layers.pooling.fixed import SpatialMaxPooling, VolumetricMaxPooling
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.nn.formats.torch7.entry import Fields

__all__ = [
    "read_batch_normalization",
    "read_convolution",
    "read_fractional",
    "read_gradient_reversal",
    "read_index_linear",
    "read_kmeans",
    "read_matrix_convolution",
    "read_pooling",
    "read_reshape",
    "read_sizes",
    "read_unpooling",
    "read_view",
    "read_weight_norm",
    "without",
    "write_bottle",
    "write_criterion",
    "write_cross_entropy",
    "write_index_linear",
    "write_kmeans",
    "write_lookup_table",
    "write_map_table",
    "write_reshape",
    "write_sizes",
    "write_weight_norm",
]

# Reading --------------------------------------------------------------------------------------


def read_batch_normalization(fields: Fields, version: int) -> Fields:
    """Before version 2 there was running_std, the inverse standard deviation."""
    fields = dict(fields)
    if version < 2 and "running_std" in fields and "running_var" not in fields:
        inverse = _array(fields, "running_std")
        with np.errstate(all="ignore"):
            fields["running_var"] = inverse**-2.0 - _number(fields, "eps")
    fields.setdefault("affine", fields.get("weight") is not None)
    return fields


def read_convolution(fields: Fields, _version: int) -> Fields:
    """Once, weights were matrices with a row for each output, and padding was one number."""
    fields = dict(fields)
    if "padding" in fields:
        fields.setdefault("padW", fields["padding"])
        fields.setdefault("padH", fields["padding"])
    for name, default in (("padW", 0), ("padH", 0), ("dW", 1), ("dH", 1)):
        fields.setdefault(name, default)
    if fields.get("weight") is None:  # inside a WeightNorm
        return fields
    weight = _array(fields, "weight")
    if weight.ndim == 2:
        shape = tuple(int(_number(fields, n)) for n in ("nOutputPlane", "nInputPlane", "kH", "kW"))
        if int(np.prod([float(n) for n in shape])) != weight.size or min(shape) < 1:
            raise FormatError(f"a weight for {shape}", f"shape {weight.shape}")
        fields["weight"] = weight.reshape(shape)
    return fields


def read_pooling(fields: Fields, _version: int) -> Fields:
    """Padding, rounding and counting came later; without them windows were counted as below."""
    defaults = {"padW": 0, "padH": 0, "ceil_mode": False}
    return defaults | {"count_include_pad": True, "divide": True} | fields


def read_sizes(*names: str) -> Callable[[Fields, int], Fields]:
    """Storages of sizes are tuples here."""

    def read(fields: Fields, _version: int) -> Fields:
        fields = dict(fields)
        for name in names:
            value = fields.get(name)
            if isinstance(value, Storage):
                fields[name] = tuple(value.array.tolist())
            elif isinstance(value, np.ndarray) and value.ndim == 1 and value.size <= 32:
                fields[name] = tuple(int(n) for n in value)
            elif value is not None and not isinstance(value, tuple):
                raise FormatError(f"sizes called {name}", type(value).__name__)
        return fields

    return read


def read_view(fields: Fields, version: int) -> Fields:
    """numElements is worked out from the sizes, whatever the file says."""
    fields = read_sizes("size")(fields, version)
    sizes = fields.get("size")
    if sizes is None or sum(n == -1 for n in sizes) > 1 or any(n < -1 or n == 0 for n in sizes):
        raise FormatError("positive sizes and at most one -1", f"{sizes}")
    known = 1
    for n in sizes:
        known *= n if n != -1 else 1
    return fields | {"numElements": known}


def read_reshape(fields: Fields, version: int) -> Fields:
    """nelement is worked out from the sizes, whatever the file says."""
    fields = read_sizes("size")(fields, version)
    sizes = fields.get("size")
    if sizes is None or any(n < 0 for n in sizes):
        raise FormatError("sizes", f"{sizes}")
    count = 1
    for n in sizes:
        count *= n
    return fields | {"nelement": count}


def read_gradient_reversal(fields: Fields, _version: int) -> Fields:
    """Version 1 had no factor, which was 1."""
    return {"lambda": 1} | fields


def read_unpooling(fields: Fields, _version: int) -> Fields:
    """The pooling that is undone must remember what it picks; constructors see to it otherwise."""
    pooling = fields.get("pooling")
    if not isinstance(pooling, (SpatialMaxPooling, VolumetricMaxPooling)):
        raise FormatError("a pooling module called pooling", type(pooling).__name__)
    pooling.remember_picks()
    return fields


def read_matrix_convolution(fields: Fields, _version: int) -> Fields:
    """SpatialConvolutionMM has one row for each output, as the oldest files have for all."""
    if fields.get("weight") is None:
        return fields
    weight = _array(fields, "weight")
    return fields | {"weight": weight.reshape(weight.shape[0], -1) if weight.size else weight}


def read_index_linear(fields: Fields, _version: int) -> Fields:
    """What is added to a key there, which counts from 1, makes it one that counts from 0."""
    if fields.get("normalize") not in {0, None}:
        raise UnsupportedError("an IndexLinear that does not normalize", "one that does")
    return fields | {"keysOffset": int(_number(fields, "offset")) + 1}


def read_kmeans(fields: Fields, _version: int) -> Fields:
    """Nothing was counted before the first call."""
    counts = fields.get("clusterSampleCount")
    counted = isinstance(counts, np.ndarray) and counts.any()
    return fields | ({} if counted else {"clusterSampleCount": None})


def read_fractional(fields: Fields, _version: int) -> Fields:
    """The output's sizes are given, or ratios; what is not given is nil, and so no field."""
    sizes = [f"{kind}{axis}" for kind in ("out", "ratio") for axis in "TWH"]
    return dict.fromkeys(sizes) | fields


def read_weight_norm(fields: Fields, version: int) -> Fields:
    """The module comes without its weight, which v and g make; its sizes are beside them."""
    fields = read_sizes("weightSize")(fields, version)
    shape, axis = fields.get("weightSize"), fields.get("outputDim")
    v, g, parts = _array(fields, "v"), _array(fields, "g"), fields.get("modules")
    if not shape or not isinstance(axis, int) or not 1 <= abs(axis) <= len(shape):
        raise FormatError("sizes and a dimension of them", f"{shape}, {axis!r:.40}")
    rows = shape[axis - 1 if axis > 0 else axis]
    count = 1
    for n in shape:
        count *= n
    if min(shape) < 1 or v.shape != (rows, count // rows) or g.size != rows:
        raise FormatError(f"v and g for a weight {shape}", f"shapes {v.shape} and {g.shape}")
    if not isinstance(parts, list) or len(parts) != 1:
        raise FormatError("a list of one module", type(parts).__name__)
    if not isinstance(parts[0], Module):
        raise FormatError("a module", type(parts[0]).__name__)
    norm = np.sqrt(np.sum(np.square(v), axis=1, keepdims=True) + 1e-4)
    axis = axis - 1 if axis > 0 else axis % len(shape)
    made = (v * (g.reshape(rows, 1) / norm)).reshape(rows, *shape[:axis], *shape[axis + 1 :])
    parts[0].__dict__["weight"] = Tensor(np.moveaxis(made, 0, axis))
    kept = {name: fields[name] for name in ("modules", "v", "g", "outputDim")}
    kept |= {name: fields.get(name) for name in ("gradV", "gradG")}
    return kept | {"g": g.reshape(rows, 1), "shape": shape, "otherDims": count // rows}


def without(*names: str) -> Callable[[Fields, int], Fields]:
    """What the last forward left behind is not kept."""

    def read(fields: Fields, _version: int) -> Fields:
        return {name: value for name, value in fields.items() if name not in names}

    return read


# Writing --------------------------------------------------------------------------------------


def write_sizes(module: Any, fields: Fields) -> Fields:
    """Sizes are a storage there."""
    return fields | {"size": _longs(module.size)}


def write_reshape(module: Any, fields: Fields) -> Fields:
    """Sizes are a storage there, and stand a second time behind that of a batch."""
    return fields | {"size": _longs(module.size), "batchsize": _longs((0, *module.size))}


def write_lookup_table(_module: Any, fields: Fields) -> Fields:
    """Padding -1, none, is 0 there."""
    return fields | ({"paddingValue": 0} if fields.get("paddingValue") == -1 else {})


def write_weight_norm(module: Any, fields: Fields) -> Fields:
    """Its bias is the module's; the views are its own axis in front, with the rest flat and not."""
    shape, axis = module.shape, module.outputDim % len(module.shape)
    sizes = {
        "weightSize": _longs(shape),
        "viewIn": _longs((shape[axis], module.otherDims)),
        "viewOut": _longs((shape[axis], *shape[:axis], *shape[axis + 1 :])),
    }
    bias = {"bias": module.bias, "outputDim": axis + 1}
    fields = {name: value for name, value in fields.items() if name != "shape"}
    return fields | sizes | bias


def _longs(values: Any) -> Storage:
    return Storage(np.array(values, np.int64), "torch.LongStorage")


def write_bottle(module: Any, fields: Fields) -> Fields:
    """Room for the sizes that are folded and unfolded, which Torch7 keeps in tensors."""
    dtype = fields["gradInput"].dtype
    sizes = {"inShape": module.nInputDim, "outShape": module.nOutputDim}
    return fields | {name: np.zeros(count, dtype) for name, count in sizes.items()}


def write_map_table(module: Any, fields: Fields) -> Fields:
    """The module that is mapped stands beside the list of its copies."""
    return fields | {"module": module.modules[0]} if module.modules else fields


def write_criterion(module: Any, fields: Fields) -> Fields:
    """Torch7's criterions return the mean or the sum of their losses."""
    if module.reduction is not None:
        found = f"reduction={module.reduction!r}"
        raise UnsupportedError("a criterion that sizeAverage describes", found)
    return {name: value for name, value in fields.items() if name != "reduction"}


def write_cross_entropy(module: Any, fields: Fields) -> Fields:
    """What forward compares sizeAverage with."""
    if module.label_smoothing or module.axis is not None:
        found = f"label_smoothing={module.label_smoothing}, axis={module.axis}"
        raise UnsupportedError("a CrossEntropyCriterion of Torch7", found)
    return fields | {"oldSizeAverage": module.sizeAverage}


def write_kmeans(module: Any, fields: Fields) -> Fields:
    """Room for counting."""
    counts = np.zeros(module.k, fields["gradInput"].dtype)
    return {"clusterSampleCount": counts} | fields


def write_index_linear(module: Any, fields: Fields) -> Fields:
    """What is added to a key there, which counts from 1, makes it one that counts from 0."""
    fields = {name: value for name, value in fields.items() if name != "keysOffset"}
    return fields | {"offset": module.keysOffset - 1}


def _array(fields: Fields, name: str) -> np.ndarray[Any, Any]:
    value = fields.get(name)
    if not isinstance(value, np.ndarray):
        raise FormatError(f"a tensor called {name}", type(value).__name__)
    return value


def _number(fields: Fields, name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FormatError(f"a number called {name}", type(value).__name__)
    return value
