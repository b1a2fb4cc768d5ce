"""Classes of other packages that load as ones of nn: cuDNN's twins, LinearNoBias, and replicas.

cuDNN's classes have the names and fields of nn's, and a few of their own that say how a GPU is to
compute.  A model on several GPUs is a DataParallelTable of equal replicas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError
from tapegrad.nn.formats.torch7.objects import Table, TorchObject

if TYPE_CHECKING:
    from tapegrad.nn.formats.torch7.entry import Fields

__all__ = ["REPLICATED", "fields_as_nn", "first_replica", "name_in_nn"]

REPLICATED = "nn.DataParallelTable"

# Classes of the package cudnn whose parameters and results are those of the class of nn that has
# the same name.
_CUDNN = {
    *("BatchNormalization", "Dropout", "LogSoftMax", "ReLU", "Sigmoid", "SoftMax", "Tanh"),
    *("SpatialAveragePooling", "SpatialBatchNormalization", "SpatialConvolution"),
    *("SpatialCrossMapLRN", "SpatialDilatedConvolution", "SpatialFullConvolution"),
    *("SpatialLogSoftMax", "SpatialMaxPooling", "SpatialSoftMax", "TemporalConvolution"),
    *("VolumetricAveragePooling", "VolumetricBatchNormalization", "VolumetricConvolution"),
    *("VolumetricDilatedConvolution", "VolumetricFullConvolution", "VolumetricMaxPooling"),
}

# A Linear that has no bias, or one that is kept at 0.
_NO_BIAS = "nn.LinearNoBias"

_EXCLUDING = "CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING"


def name_in_nn(class_name: str) -> str:
    """The name of the class of nn that a class loads as: itself, for most."""
    package, _, name = class_name.partition(".")
    if class_name == _NO_BIAS:
        return "nn.Linear"
    return f"nn.{name}" if package == "cudnn" and name in _CUDNN else class_name


def fields_as_nn(class_name: str, fields: Fields) -> Fields:
    """The fields of an instance as the class of nn that it loads as has them."""
    if class_name == _NO_BIAS:
        return {name: value for name, value in fields.items() if name not in {"bias", "gradBias"}}
    if not class_name.startswith("cudnn."):
        return fields
    name = class_name.removeprefix("cudnn.")
    if fields.get("groups", 1) != 1:
        raise UnsupportedError(f"a {class_name} of one group", f"groups {fields['groups']!r:.40}")
    own = {key: value for key, value in fields.items() if key not in {"groups", "mode", "nDim"}}
    if name == "SpatialAveragePooling":
        own |= {"count_include_pad": fields.get("mode") != _EXCLUDING, "divide": True}
    if name == "Dropout":
        own.setdefault("v2", True)
    weight = fields.get("weight")
    if name == "TemporalConvolution" and isinstance(weight, np.ndarray) and weight.ndim == 4:
        for key in ("weight", "gradWeight"):
            if isinstance(own.get(key), np.ndarray):
                own[key] = own[key].reshape(weight.shape[0], -1)
    return own


def first_replica(item: Any) -> Any:
    """The first replica of a DataParallelTable; anything else stays as it is.

    Raises FormatError for a DataParallelTable without modules, or of itself.
    """
    seen: set[int] = set()
    while isinstance(item, TorchObject) and item.class_name == REPLICATED:
        parts = item.fields.get("modules") if isinstance(item.fields, Table) else None
        if not isinstance(parts, Table) or 1 not in parts or id(item) in seen:
            found = "itself" if id(item) in seen else type(parts).__name__
            raise FormatError(f"modules in a {REPLICATED}", found, offset=item.offset)
        seen.add(id(item))
        item = parts[1]
    return item
