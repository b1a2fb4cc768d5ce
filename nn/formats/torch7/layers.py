"""How the fields of single layers are brought up to date, and completed, for the table of classes.

Functions called `read_…` take the fields of a file and its version, and return the fields that a
file written today would have; those called `write_…` take the module and the fields that the
general rule makes, and return them with what Torch7's code expects beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.core.transient import ATTRIBUTE
from tapegrad.nn.criterions.joint import ParallelCriterion
from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError
from tapegrad.nn.formats.torch7.entry import ExactArray, type_of_fields
from tapegrad.nn.formats.torch7.networks import module_with
from tapegrad.nn.formats.torch7.objects import SKIPPED, TENSOR_TYPES, Storage, module_type
from tapegrad.nn.layers.distance import WeightedEuclidean
from tapegrad.nn.layers.pooling.fixed import SpatialMaxPooling, VolumetricMaxPooling
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.nn.formats.torch7.entry import Fields

__all__ = [
    "read_add_constant",
    "read_average_pooling",
    "read_batch_normalization",
    "read_convolution",
    "read_copy",
    "read_dropout",
    "read_fractional",
    "read_gradient_reversal",
    "read_index_linear",
    "read_kmeans",
    "read_layer_normalization",
    "read_map_table",
    "read_matrix_convolution",
    "read_max_pooling",
    "read_reshape",
    "read_sizes",
    "read_unpooling",
    "read_view",
    "read_weight_norm",
    "read_weights",
    "without",
    "write_add_constant",
    "write_bottle",
    "write_criterion",
    "write_class_simplex",
    "write_connections",
    "write_copy",
    "write_cross_entropy",
    "write_dont_cast",
    "write_euclidean",
    "write_index_linear",
    "write_kmeans",
    "write_layer_normalization",
    "write_linear_weight_norm",
    "write_local_convolution",
    "write_lookup_table",
    "write_only_child",
    "write_nearest",
    "write_reshape",
    "write_size_of",
    "write_sizes",
    "write_sparse_linear",
    "write_weight_norm",
    "write_weights",
]

# Reading --------------------------------------------------------------------------------------


def read_batch_normalization(fields: Fields, version: int) -> Fields:
    """Before version 2 a file had running_std, the inverse standard deviation."""
    fields = dict(fields)
    if version < 2 and "running_std" in fields and "running_var" not in fields:
        inverse = _tensor_field(fields, "running_std")
        with np.errstate(all="ignore"):
            fields["running_var"] = inverse**-2.0 - _number_field(fields, "eps")
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
    weight = _tensor_field(fields, "weight")
    if weight.ndim == 2:
        shape = tuple(
            int(_number_field(fields, n)) for n in ("nOutputPlane", "nInputPlane", "kH", "kW")
        )
        if int(np.prod([float(n) for n in shape])) != weight.size or min(shape) < 1:
            raise FormatError(f"a weight for {shape}", f"shape {weight.shape}")
        fields["weight"] = weight.reshape(shape)
    return fields


def read_max_pooling(fields: Fields, _version: int) -> Fields:
    """Padding and rounding came later than the class."""
    return {"padW": 0, "padH": 0, "ceil_mode": False} | fields


def read_average_pooling(fields: Fields, version: int) -> Fields:
    """Counting of padding came later; before, windows were counted as below."""
    counting = {"count_include_pad": True, "divide": True}
    return counting | read_max_pooling(fields, version)


def read_sizes(*names: str) -> Callable[[Fields, int], Fields]:
    """A function that reads storages of sizes as tuples."""

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
    weight = _tensor_field(fields, "weight")
    return fields | {"weight": weight.reshape(weight.shape[0], -1) if weight.size else weight}


def read_index_linear(fields: Fields, _version: int) -> Fields:
    """Torch7's `offset` makes a key that counts from 1 one that counts from 0, and adds to it."""
    columns = fields.get("normalize", 0)
    if columns not in (0, 4):
        raise FormatError("0 or 4 columns called normalize", f"{columns!r:.40}")
    return fields | {"keysOffset": int(_number_field(fields, "offset")) + 1}


def read_kmeans(fields: Fields, _version: int) -> Fields:
    """Nothing was counted before the first call."""
    counts = fields.get("clusterSampleCount")
    counted = isinstance(counts, np.ndarray) and counts.any()
    return fields | ({} if counted else {"clusterSampleCount": None})


def read_copy(fields: Fields, _version: int) -> Fields:
    """The types are those of output and gradInput; with functions, both are one."""
    plain = {name: value for name, value in fields.items() if value is not SKIPPED}
    if len(plain) < len(fields):
        return plain
    names = {"intype": "gradInput", "outtype": "output"}
    found = {ours: plain[theirs] for ours, theirs in names.items() if theirs in plain}
    types = {name: TENSOR_TYPES.get(value.dtype) for name, value in found.items()}
    return plain | types if types.get("intype") != types.get("outtype") else plain


def read_dropout(fields: Fields, _version: int) -> Fields:
    """Each entry has a draw of its own; torch/rnn may draw once for an entire batch."""
    if fields.get("mono"):
        raise UnsupportedError("a Dropout that draws for each sample", "one of a batch (mono)")
    return _leaving_out(fields, "noise")


def read_map_table(fields: Fields, _version: int) -> Fields:
    """The copies that share the parameters of the first are made anew where they are needed."""
    parts = fields.get("modules")
    if isinstance(parts, list) and fields.get("shared", True):
        return fields | {"modules": parts[:1]}
    return fields


def read_fractional(fields: Fields, _version: int) -> Fields:
    """The output's sizes are given, or ratios; what is not given is nil, and so no field."""
    sizes = [f"{kind}{axis}" for kind in ("out", "ratio") for axis in "TWH"]
    return dict.fromkeys(sizes) | fields


def read_weight_norm(fields: Fields, version: int) -> Fields:
    """The module comes without its weight, which v and g make; its sizes are beside them."""
    fields = read_sizes("weightSize")(fields, version)
    shape, axis = fields.get("weightSize"), fields.get("outputDim")
    v, g, parts = _tensor_field(fields, "v"), _tensor_field(fields, "g"), fields.get("modules")
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


def read_add_constant(fields: Fields, _version: int) -> Fields:
    """Torch7 has one name for a constant, whether it is a number or a tensor."""
    constant = fields.get("constant_scalar")
    if not isinstance(constant, np.ndarray):
        return fields
    return _leaving_out(fields, "constant_scalar") | {"constant_tensor": constant}


def read_layer_normalization(fields: Fields, _version: int) -> Fields:
    """A reset sets the bias to where it starts by default; files do not say where it did."""
    return {"start": 0} | fields


def read_weights(fields: Fields, _version: int) -> Fields:
    """The factors of several criterions are a storage in nn.MultiCriterion."""
    weights = fields.get("weights")
    if isinstance(weights, Storage):
        return fields | {"weights": weights.array.tolist()}
    return fields


def without(*names: str) -> Callable[[Fields, int], Fields]:
    """A function that reads the fields but these."""
    return lambda fields, _version: _leaving_out(fields, *names)


# Writing --------------------------------------------------------------------------------------


def write_layer_normalization(module: Any, fields: Fields) -> Fields:
    """Torch7 does not keep what a bias starts at."""
    return fields if module.start else _leaving_out(fields, "start")


def write_sizes(module: Any, fields: Fields) -> Fields:
    """Sizes are a storage in Torch7."""
    return fields | {"size": _longs(module.size)}


def write_size_of(name: str) -> Callable[[Any, Fields], Fields]:
    """A function that writes the shape of this parameter beside it, as `size`."""
    return lambda module, fields: fields | {"size": _longs(getattr(module, name).shape)}


def write_reshape(module: Any, fields: Fields) -> Fields:
    """Sizes are a storage in Torch7, and stand a second time behind the size of a batch."""
    return fields | {"size": _longs(module.size), "batchsize": _longs((0, *module.size))}


def write_add_constant(_module: Any, fields: Fields) -> Fields:
    """Torch7 has one name for a constant, whether it is a number or a tensor."""
    constant = fields.get("constant_tensor", fields.get("constant_scalar"))
    return _leaving_out(fields, "constant_tensor") | {"constant_scalar": constant}


def write_lookup_table(module: Any, fields: Fields) -> Fields:
    """No padding, -1, is 0 in Torch7; the kind of norm is nil where no norm is bounded."""
    if module.maxNorm is None:
        fields = _leaving_out(fields, "normType")
    return fields | ({"paddingValue": 0} if fields.get("paddingValue") == -1 else {})


def write_padding(module: Any, fields: Fields) -> Fields:
    """Torch7 has no padding that follows from the sides, which BigDL calls -1."""
    if -1 in (module.padW, module.padH):
        raise UnsupportedError("padding of at least 0", f"{module.padW}, {module.padH}")
    return fields


def write_weight_norm(module: Any, fields: Fields) -> Fields:
    """The views are its own axis in front, with the rest flat and not; bias is the module's.

    Torch7 leaves the weight, which v and g make, out of its files.
    """
    shape, axis = module.shape, module.outputDim % len(module.shape)
    rows = shape[axis]
    (inner,) = module.modules
    kept = {n: v for n, v in vars(inner).items() if n not in {"weight", ATTRIBUTE}}
    gradient = module.g.grad
    dtype = type_of_fields(fields)
    return _leaving_out(fields, "shape") | {
        "modules": [module_with(type(inner), inner, **kept)],
        "weightSize": _longs(shape),
        "viewIn": _longs((rows, module.otherDims)),
        "viewOut": _longs((rows, *shape[:axis], *shape[axis + 1 :])),
        "bias": module.bias,
        "outputDim": axis + 1,
        "gradG": np.zeros(rows, dtype) if gradient is None else gradient.reshape((rows,)),
        "_norm": np.zeros(rows, dtype),
        "_scale": np.zeros(rows, dtype),
    }


def write_linear_weight_norm(module: Any, fields: Fields) -> Fields:
    """The weight that v and g make, and room for what is computed on the way to it."""
    room = (module.outputSize, 1)
    made = {name: np.zeros(room, type_of_fields(fields)) for name in ("norm", "scale")}
    return fields | made | {"weight": module.weight.detach()}


def _longs(values: Any) -> Storage:
    return Storage(np.array(values, np.int64).reshape(-1), "torch.LongStorage")


def write_bottle(module: Any, fields: Fields) -> Fields:
    """Room for the sizes that are folded and unfolded, which Torch7 keeps in tensors."""
    sizes = {"inShape": module.nInputDim, "outShape": module.nOutputDim}
    return fields | {name: np.zeros(count, type_of_fields(fields)) for name, count in sizes.items()}


def write_copy(module: Any, fields: Fields) -> Fields:
    """The types are those of output and gradInput; without types they are that of the module."""
    own = type_of_fields(fields)
    kinds = {"gradInput": module.intype, "output": module.outtype}
    made = {}
    for name, kind in kinds.items():
        dtype = own if kind is None else module_type(kind) or np.dtype(kind)
        made[name] = ExactArray(np.empty(0, dtype))
    return _leaving_out(fields, "intype", "outtype") | made


def write_dont_cast(module: Any, fields: Fields) -> Fields:
    """The type that input and output are cast to and from, if they are."""
    if not (module.castin or module.castout):
        return fields
    return fields | {"moduleType": TENSOR_TYPES.get(module.modules[0].type())}


def write_only_child(module: Any, fields: Fields) -> Fields:
    """Write a decorator's only child a second time, as the field `module`."""
    return fields | {"module": module.modules[0]} if module.modules else fields


def write_criterion(module: Any, fields: Fields) -> Fields:
    """Torch7's criterions return the mean or the sum of their losses."""
    if module.reduction is not None:
        found = f"reduction={module.reduction!r}"
        raise UnsupportedError("a criterion that sizeAverage describes", found)
    return {name: value for name, value in fields.items() if name != "reduction"}


def write_cross_entropy(module: Any, fields: Fields) -> Fields:
    """Write `oldSizeAverage`, with which Torch7's forward compares sizeAverage.

    Torch7 has neither label_smoothing nor axis.
    """
    if module.label_smoothing or module.axis is not None:
        found = f"label_smoothing={module.label_smoothing}, axis={module.axis}"
        raise UnsupportedError("a CrossEntropyCriterion of Torch7", found)
    ours = ("label_smoothing", "axis")
    known = {name: value for name, value in fields.items() if name not in ours}
    return known | {"oldSizeAverage": module.sizeAverage}


def write_class_simplex(module: Any, fields: Fields) -> Fields:
    """Write `_target`, the array into which Torch7 puts the corner that stands for a label."""
    return fields | {"_target": np.zeros(module.nClasses, type_of_fields(fields))}


def write_weights(module: Any, fields: Fields) -> Fields:
    """The factors are a storage in nn.MultiCriterion, and a table in nn.ParallelCriterion."""
    if isinstance(module, ParallelCriterion):
        return fields
    weights = np.array(module.weights, np.float64)
    return fields | {"weights": Storage(weights, "torch.DoubleStorage")}


def write_kmeans(module: Any, fields: Fields) -> Fields:
    """The loss as a number, and room for counting, in the type of the module."""
    counts = module.clusterSampleCount
    counts = np.zeros(module.k) if counts is None else _to_numpy_array(counts)
    made = {"clusterSampleCount": counts.astype(type_of_fields(fields)), "loss": float(module.loss)}
    return fields | made


def write_connections(_module: Any, fields: Fields) -> Fields:
    """The table of connections has the type of the module, as every tensor in it."""
    return fields | {
        "connTable": _to_numpy_array(fields["connTable"]).astype(type_of_fields(fields))
    }


def write_index_linear(module: Any, fields: Fields) -> Fields:
    """Torch7's `offset` makes a key that counts from 1 one that counts from 0.

    Torch7 gathers the gradient of the weight row by row, in tables that are empty in a new layer.
    """
    empty = np.empty(0, type_of_fields(fields))
    own = {"offset": module.keysOffset - 1, "gradWeight": empty, "normalize": module.normalize}
    return _leaving_out(fields, "keysOffset") | own


def write_sparse_linear(module: Any, fields: Fields) -> Fields:
    """Room for one output."""
    return fields | {"output": np.zeros(module.weight.shape[0], type_of_fields(fields))}


def write_euclidean(module: Any, fields: Fields) -> Fields:
    """Backward may use memory to be fast; nn.WeightedEuclidean leaves that nil."""
    return fields if isinstance(module, WeightedEuclidean) else fields | {"fastBackward": True}


def write_local_convolution(module: Any, fields: Fields) -> Fields:
    """Torch7's class always has a bias."""
    if module.bias is None:
        raise UnsupportedError("a SpatialConvolutionLocal with a bias", "one without (noBias)")
    return fields


def write_nearest(module: Any, fields: Fields) -> Fields:
    """Torch7's class enlarges."""
    if module.scale_factor == 1:
        found = "SpatialUpSamplingNearest(1), which is nn.Identity"
        raise UnsupportedError("a scale_factor of at least 2", found)
    return fields


def _to_numpy_array(value: Any) -> np.ndarray[Any, Any]:
    """The entries of a Tensor, or of an array, as NumPy has them."""
    return value if isinstance(value, np.ndarray) else devices.to_numpy(array_of(value))


def _leaving_out(fields: Fields, *names: str) -> Fields:
    return {name: value for name, value in fields.items() if name not in names}


def _tensor_field(fields: Fields, name: str) -> np.ndarray[Any, Any]:
    value = fields.get(name)
    if not isinstance(value, np.ndarray):
        raise FormatError(f"a tensor called {name}", type(value).__name__)
    return value


def _number_field(fields: Fields, name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FormatError(f"a number called {name}", type(value).__name__)
    return value
