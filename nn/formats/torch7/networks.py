"""Layers that are one piece in tapegrad, and networks in Torch7's files.

Reading takes out of the network what the layer consists of; writing builds the network around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Parameter
from tapegrad.nn.containers.container import ConcatTable, ParallelTable, Sequential
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.part import after_restoring
from tapegrad.nn.formats.common.errors import FormatError
from tapegrad.nn.formats.torch7.entry import type_of_fields
from tapegrad.nn.layers.activation import Identity, Sqrt, Square
from tapegrad.nn.layers.convolution.by_table import SpatialConvolutionMap
from tapegrad.nn.layers.convolution.spatial import SpatialConvolution
from tapegrad.nn.layers.lookup import LookupTable
from tapegrad.nn.layers.padding import SpatialZeroPadding
from tapegrad.nn.layers.pointwise import MulConstant
from tapegrad.nn.layers.rectifiers import ReLU, Threshold
from tapegrad.nn.layers.shape import Replicate
from tapegrad.nn.layers.table import MM, CDivTable, CSubTable, JoinTable

if TYPE_CHECKING:
    from tapegrad.nn.formats.torch7.entry import DType, Fields

__all__ = [
    "in_mode_of",
    "module_with",
    "parts_of",
    "read_partial_linear",
    "step_of",
    "write_crelu",
    "write_divisive",
    "write_partial_linear",
    "write_subtractive",
]


def parts_of(module: Any, *classes: type | tuple[type, ...]) -> list[Any]:
    """The children of a container, if they are of these classes.  Raises FormatError otherwise.

    classes: one for each child, or a tuple of those that it may be of
    """
    below = getattr(module, "__dict__", {}).get("modules")
    found = below if isinstance(below, list) else []
    same = len(found) == len(classes) and all(map(isinstance, found, classes))
    if not same:
        options = (cls if isinstance(cls, tuple) else (cls,) for cls in classes)
        names = ", ".join(" or ".join(one.__name__ for one in option) for option in options)
        raise FormatError(f"a network of {names}", f"{[type(part).__name__ for part in found]}")
    return found


def module_with(cls: type[Any], model: Any, **attributes: Any) -> Any:
    """An instance with these attributes, in the mode of `model`; no constructor is called."""
    made: Any = object.__new__(cls)
    made.__dict__.update(attributes)
    after_restoring(made)
    if not model.train:
        made.train = False
    return made


def in_mode_of(network: Any, module: Any, *learned: Any) -> Any:
    """Put a new network into the mode (training or not) of `module`, and return the network.

    learned: modules inside the network that keep their own mode
    """
    pending = [network]
    while pending:
        part = pending.pop()
        if not any(part is other for other in learned):
            part.train = module.train
            pending.extend(part.__dict__.get("modules", ()))
    return network


def step_of(fields: Fields) -> Any:
    """The network of one step, the first module of a recurrent layer."""
    parts = fields.get("modules")
    if not isinstance(parts, list) or not parts:
        raise FormatError("a list of modules", type(parts).__name__)
    return parts[0]


# PartialLinear ----------------------------------------------------------------------------------


def read_partial_linear(fields: Fields, _version: int) -> Fields:
    """Take the weight out of the LookupTable whose rows Torch7 multiplies with the input."""
    both, product = parts_of(fields.get("network"), ParallelTable, MM)
    _, table = parts_of(both, Identity, LookupTable)
    weight, partition = table.__dict__.get("weight"), fields.get("partition")
    if not isinstance(weight, Parameter) or (product.transA, product.transB) != (False, True):
        raise FormatError("a weight that is transposed", type(weight).__name__)
    if not isinstance(partition, np.ndarray):
        raise FormatError("a tensor called partition", type(partition).__name__)
    chosen = partition.reshape(-1).astype(np.int64) - 1
    if np.any(chosen < 0) or np.any(chosen >= weight.shape[0]):
        raise FormatError(f"a partition of {weight.shape[0]} outputs", f"{partition!r:.60}")
    all_chosen = np.array_equal(chosen, np.arange(weight.shape[0]))
    kept = {name: value for name, value in fields.items() if name not in {"network", "allcolumns"}}
    return kept | {"weight": weight, "partition": None if all_chosen else Buffer(chosen)}


def write_partial_linear(module: Any, fields: Fields) -> Fields:
    """Write Torch7's network, the numbers of all outputs, and of those that are computed."""
    table = LookupTable(1, 1)
    network = in_mode_of(Sequential(ParallelTable(Identity(), table), MM(transB=True)), module)
    table.weight = module.weight
    columns = np.arange(1, module.outputsize + 1).astype(type_of_fields(fields))
    chosen = columns if module.partition is None else columns[module.partition.numpy()]
    kept = {name: value for name, value in fields.items() if name not in {"weight", "partition"}}
    return kept | {"network": network, "allcolumns": columns, "partition": chosen}


# CReLU ------------------------------------------------------------------------------------------


def write_crelu(module: Any, fields: Fields) -> Fields:
    """Write the children that Torch7's CReLU has: [x, -x], their join, and a ReLU."""
    both = ConcatTable(Identity(), MulConstant(-1))
    parts = [both, JoinTable(1), ReLU(module.inplace)]
    return fields | {"modules": [in_mode_of(part, module) for part in parts]}


# Local normalization ----------------------------------------------------------------------------


def write_subtractive(module: Any, fields: Fields) -> Fields:
    """Write the modules that Torch7's forward runs: an estimator of means, and two tables."""
    dtype = type_of_fields(fields)
    extra = {
        "subtractor": CSubTable(),
        "divider": CDivTable(),
        "meanestimator": _estimator(module, dtype),
    }
    coefficients = np.ones((1, 1, 1), dtype)
    return fields | {k: in_mode_of(v, module) for k, v in extra.items()} | {"coef": coefficients}


def write_divisive(module: Any, fields: Fields) -> Fields:
    """The modules that its forward runs: estimators of local means and deviations, and others."""
    dtype = type_of_fields(fields)
    extra = {
        "meanestimator": _estimator(module, dtype),
        "stdestimator": Sequential(Square(), *_estimator(module, dtype).modules, Sqrt()),
        "normalizer": CDivTable(),
        "divider": CDivTable(),
        "thresholder": Threshold(module.threshold, module.thresval),
    }
    coefficients = np.ones((1, 1, 1), dtype)
    return fields | {k: in_mode_of(v, module) for k, v in extra.items()} | {"coef": coefficients}


def _estimator(module: Any, dtype: DType) -> Any:
    """A network for the sum over a neighbourhood and all planes, in each plane."""
    planes, kernel = module.nInputPlane, module.kernel.numpy().astype(dtype)
    across, down = kernel.shape[-1] // 2, kernel.shape[0] // 2
    network = Sequential(SpatialZeroPadding(across, across, down, down))
    if kernel.ndim == 2:
        parts: list[tuple[Any, Any]] = [
            (SpatialConvolution(planes, 1, kernel.shape[1], kernel.shape[0]), kernel)
        ]
    else:  # along rows in each plane, then along columns and over the planes
        own = np.repeat(np.arange(planes)[:, None], 2, axis=1)
        parts = [
            (SpatialConvolutionMap(own, len(kernel), 1), kernel),
            (SpatialConvolution(planes, 1, 1, len(kernel)), kernel[:, None]),
        ]
    for part, weight in parts:
        shape = part.weight.shape
        part.weight = Parameter(np.broadcast_to(weight, shape).astype(dtype))
        part.bias = Parameter(np.zeros(part.bias.shape, dtype))
        network.add(part)
    return network.add(Replicate(planes, 0, 3))
