"""Nodes that are layers of nn, so that a model can be tuned, changed, and written elsewhere.

`WITH_WEIGHTS` are layers that hold the file's arrays: they are made wherever they fit.  `PLAIN`
ones have no arrays, and are made where the whole graph consists of layers.  An entry returns None
for a node that its layer cannot say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tapegrad.autograd import Parameter
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.layers.activation import (
    Abs,
    Clamp,
    Exp,
    HardSigmoid,
    Identity,
    Log,
    Sigmoid,
    SoftPlus,
    SoftSign,
    Sqrt,
    Tanh,
)
from tapegrad.nn.layers.convolution.plain import Conv1d, Conv2d, Conv3d
from tapegrad.nn.layers.convolution.spatial import (
    SpatialConvolution,
    SpatialDilatedConvolution,
    SpatialFullConvolution,
)
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.normalization.batch import (
    BatchNormalization,
    SpatialBatchNormalization,
    VolumetricBatchNormalization,
)
from tapegrad.nn.layers.normalization.local import SpatialCrossMapLRN
from tapegrad.nn.layers.normalization.sample import LayerNorm
from tapegrad.nn.layers.pooling.fixed import (
    SpatialAveragePooling,
    SpatialDilatedMaxPooling,
    SpatialMaxPooling,
)
from tapegrad.nn.layers.rearranging import InferReshape
from tapegrad.nn.layers.rectifiers import ELU, LeakyReLU, PReLU, ReLU
from tapegrad.nn.layers.softmax import LogSoftMax, SoftMax
from tapegrad.nn.layers.table import (
    CAddTable,
    CDivTable,
    CMaxTable,
    CMinTable,
    CMulTable,
    CSubTable,
    JoinTable,
)

if TYPE_CHECKING:
    from tapegrad.nn.formats.onnx.graph import Array, OnnxNode
    from tapegrad.nn.formats.onnx.in_shapes import Shape
    from tapegrad.nn.module import Module

__all__ = ["LINEAR", "PLAIN", "WITH_WEIGHTS", "LayerNode"]


@dataclass
class LayerNode:
    """A node that may be a layer.

    weights: arrays of the file that may be learned; constants: arrays that are known
    own:     whether an array belongs to this node alone
    """

    node: OnnxNode
    opset: int
    weights: Mapping[str, Array]
    constants: Mapping[str, Array]
    shapes: Mapping[str, Shape]
    parameter: Callable[[str], Parameter]
    own: Callable[[str], bool]

    def array(self, index: int) -> Array | None:
        """The file's array of an input, None if it has none."""
        if index >= len(self.node.inputs):
            return None
        name = self.node.inputs[index]
        found = self.weights.get(name)
        return self.constants.get(name) if found is None else found

    def taken(self, index: int) -> Parameter:
        """The Parameter of an input."""
        return self.parameter(self.node.inputs[index])

    def left_out(self, index: int) -> bool:
        """Whether there is no such input."""
        return index >= len(self.node.inputs) or not self.node.inputs[index]

    def shape(self, index: int = 0) -> Shape | None:
        """The shape of an input, None if it is not known."""
        return self.shapes.get(self.node.inputs[index])

    def get(self, name: str, default: Any) -> Any:
        """An attribute."""
        return self.node.attributes.get(name, default)

    def windows(self, kernel: Any) -> tuple[list[int], list[int], list[int], list[int]] | None:
        """Kernel, strides, padding and dilations, if padding is the same on both sides."""
        many = len(kernel)
        pads = self.get("pads", [0] * 2 * many)
        strides, dilations = (self.get(n, [1] * many) for n in ("strides", "dilations"))
        lists = (pads, strides, dilations)
        if self.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            return None
        if not all(isinstance(each, list) for each in lists):
            return None
        if [len(each) for each in lists] != [2 * many, many, many]:
            return None
        if pads[:many] != pads[many:] or min([*pads, *kernel, *strides, *dilations]) < 0:
            return None
        if min([*kernel, *strides, *dilations]) < 1:
            return None
        return list(kernel), strides, pads[:many], dilations


LINEAR = "x Wᵀ + b"  # what the reader joins of several nodes; no operator of ONNX

RecordedNode: TypeAlias = Callable[[LayerNode], "Module | None"]
WITH_WEIGHTS: dict[str, RecordedNode] = {}
PLAIN: dict[str, RecordedNode] = {}


def _entry(table: dict[str, RecordedNode], *names: str) -> Callable[[RecordedNode], RecordedNode]:
    def enter(function: RecordedNode) -> RecordedNode:
        table.update(dict.fromkeys(names, function))
        return function

    return enter


def _with(module: Module, **arrays: Any) -> Module:
    """The module with these Parameters and Buffers in place of those that it was made with."""
    for name, array in arrays.items():
        setattr(module, name, array)
    return module


# With weights ------------------------------------------------------------------------------------


def _weight_and_bias(n: LayerNode, ndims: tuple[int, ...]) -> tuple[Array, bool] | None:
    """The weight of a layer, and whether there is a bias; None if a layer cannot have them."""
    weight, bias = n.array(1), n.array(2)
    if weight is None or n.node.inputs[1] not in n.weights or weight.ndim not in ndims:
        return None
    if n.left_out(2):
        return weight, False
    if bias is None or bias.ndim != 1 or n.node.inputs[2] not in n.weights:
        return None
    return weight, True


def _is_bias_of(n: LayerNode, size: int) -> bool:
    """Whether a node's bias has `size` numbers."""
    bias = n.array(2)
    return bias is not None and bias.shape == (size,)


@_entry(WITH_WEIGHTS, "Conv")
def _conv(n: LayerNode) -> Module | None:
    found = _weight_and_bias(n, (3, 4, 5))
    if found is None:
        return None
    weight, has_bias = found
    sizes = n.windows(weight.shape[2:])
    group = n.get("group", 1)
    if sizes is None or not isinstance(group, int) or group < 1 or weight.shape[0] % group:
        return None
    if n.get("kernel_shape", list(weight.shape[2:])) != list(weight.shape[2:]):
        return None
    if has_bias and not _is_bias_of(n, len(weight)):
        return None
    kernel, strides, pads, dilations = sizes
    n_in, n_out = weight.shape[1] * group, weight.shape[0]
    if not n_in or not n_out:
        return None
    bias = n.taken(2) if has_bias else None
    if weight.ndim != 4 or (max(dilations) > 1 and group > 1):
        cls = {3: Conv1d, 4: Conv2d, 5: Conv3d}[weight.ndim]
        made: Any = _small(cls, n_in, n_out, group, kernel, strides, pads, dilations)
        return _with(made, weight=n.taken(1), bias=bias)
    (k_h, k_w), (d_h, d_w), (p_h, p_w) = kernel, strides, pads
    if max(dilations) > 1:
        made = SpatialDilatedConvolution(1, 1, 1, 1, d_w, d_h, p_w, p_h, dilations[1], dilations[0])
    else:
        made = SpatialConvolution(1, 1, 1, 1, d_w, d_h, p_w, p_h)
    made.nInputPlane, made.nOutputPlane, made.kW, made.kH = n_in, n_out, k_w, k_h
    if group > 1:
        made.nGroup = group
    return _with(made, weight=n.taken(1), bias=bias)


def _small(cls: Any, n_in: int, n_out: int, groups: int, *sizes: list[int]) -> Any:
    """A convolution made with one channel, so that its own weights take no memory."""
    made = cls(1, 1, tuple(1 for _ in sizes[0]), bias=False)
    made.in_channels, made.out_channels, made.groups = n_in, n_out, groups
    made.kernel_size, made.stride, made.padding, made.dilation = map(tuple, sizes)
    return made


@_entry(WITH_WEIGHTS, "ConvTranspose")
def _conv_transpose(n: LayerNode) -> Module | None:
    found = _weight_and_bias(n, (4,))
    if found is None or not n.left_out(3):
        return None
    weight, has_bias = found
    sizes, group = n.windows(weight.shape[2:]), n.get("group", 1)
    extra = n.get("output_padding", [0, 0])
    if sizes is None or not isinstance(group, int) or group < 1 or weight.shape[0] % group:
        return None
    kernel, strides, pads, dilations = sizes
    if "output_shape" in n.node.attributes or max(dilations) > 1 or len(extra) != 2:
        return None
    if any(not 0 <= e < s for e, s in zip(extra, strides, strict=True)):
        return None
    made = SpatialFullConvolution(
        1, 1, 1, 1, strides[1], strides[0], pads[1], pads[0], extra[1], extra[0]
    )
    made.nInputPlane, made.nOutputPlane = weight.shape[0], weight.shape[1] * group
    made.kW, made.kH = kernel[1], kernel[0]
    if group > 1:
        made.nGroup = group
    return _with(made, weight=n.taken(1), bias=n.taken(2) if has_bias else None)


@_entry(WITH_WEIGHTS, "Gemm")
def _gemm(n: LayerNode) -> Module | None:
    found = _weight_and_bias(n, (2,))
    attributes = n.node.attributes
    if found is None or attributes.get("transA") or not attributes.get("transB"):
        return None
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        return None
    weight, has_bias = found
    if has_bias and not _is_bias_of(n, len(weight)):
        return None
    return _with(Linear(1, 1), weight=n.taken(1), bias=n.taken(2) if has_bias else None)


@_entry(WITH_WEIGHTS, LINEAR)
def _linear(n: LayerNode) -> Module:
    bias = None if n.left_out(2) else n.taken(2)
    return _with(Linear(1, 1), weight=n.taken(1), bias=bias)


@_entry(WITH_WEIGHTS, "BatchNormalization")
def _batch_normalization(n: LayerNode) -> Module | None:
    shape, arrays = n.shape(), [n.array(i) for i in range(1, 5)]
    classes: dict[int, Any] = {
        2: BatchNormalization, 4: SpatialBatchNormalization, 5: VolumetricBatchNormalization,
    }  # fmt: skip
    if shape is None or len(shape) not in classes or n.get("training_mode", 0):
        return None
    sizes = {None if a is None else a.shape for a in arrays}
    if len(sizes) != 1 or None in sizes or any(a.ndim != 1 for a in arrays if a is not None):
        return None
    weight, bias, mean, var = arrays
    learned = [name in n.weights for name in n.node.inputs[1:3]]
    plain = not any(learned) and np.all(weight == 1) and not np.any(bias)
    if len(n.node.outputs) > 1 or not (plain or all(learned)):
        return None
    made = classes[len(shape)](1, float(n.get("epsilon", 1e-5)), affine=not plain)
    made.momentum = 1 - float(n.get("momentum", 0.9))
    statistics = {"running_mean": Buffer(np.array(mean)), "running_var": Buffer(np.array(var))}
    own = {} if plain else {"weight": n.taken(1), "bias": n.taken(2)}
    return _with(made, **statistics, **own)


@_entry(WITH_WEIGHTS, "PRelu")
def _prelu(n: LayerNode) -> Module | None:
    slope, shape = n.array(1), n.shape()
    if slope is None or shape is None or n.node.inputs[1] not in n.weights or len(shape) < 2:
        return None
    if slope.size != 1 and slope.shape != (slope.size, *(1,) * (len(shape) - 2)):
        return None
    if slope.ndim != 1 and not n.own(n.node.inputs[1]):
        return None
    made = PReLU(0 if slope.size == 1 else slope.size)
    weight = n.taken(1)
    return _with(made, weight=weight if weight.ndim == 1 else Parameter(weight.numpy().reshape(-1)))


@_entry(WITH_WEIGHTS, "LayerNormalization")
def _layer_normalization(n: LayerNode) -> Module | None:
    weight, bias = n.array(1), n.array(2)
    if weight is None or n.node.inputs[1] not in n.weights or len(n.node.outputs) > 1:
        return None
    if n.get("axis", -1) != -weight.ndim or not weight.ndim:
        return None
    if not n.left_out(2) and (bias is None or bias.shape != weight.shape):
        return None
    made = LayerNorm((1,), float(n.get("epsilon", 1e-5)))
    made.normalized_shape = weight.shape
    return _with(made, weight=n.taken(1), bias=None if n.left_out(2) else n.taken(2))


# Without -----------------------------------------------------------------------------------------

SIMPLE: dict[str, Callable[[], Module]] = {
    "Relu": ReLU, "Sigmoid": Sigmoid, "Tanh": Tanh, "Identity": Identity, "Dropout": Identity,
    "Exp": Exp, "Log": Log, "Sqrt": Sqrt, "Abs": Abs, "Softplus": SoftPlus, "Softsign": SoftSign,
}  # fmt: skip


def _simple(make: Callable[[], Module]) -> RecordedNode:
    return lambda n: make() if len(n.node.outputs) == 1 else None


for _name, _make in SIMPLE.items():
    PLAIN[_name] = _simple(_make)


@_entry(PLAIN, "LeakyRelu")
def _leaky_relu(n: LayerNode) -> Module:
    return LeakyReLU(float(n.get("alpha", 0.01)))


@_entry(PLAIN, "Elu")
def _elu(n: LayerNode) -> Module:
    return ELU(float(n.get("alpha", 1.0)))


@_entry(PLAIN, "HardSigmoid")
def _hard_sigmoid(n: LayerNode) -> Module | None:
    usual = abs(n.get("alpha", 0.2) - 0.2) < 1e-7 and n.get("beta", 0.5) == 0.5
    return HardSigmoid() if usual else None


@_entry(PLAIN, "Clip")
def _clip(n: LayerNode) -> Module | None:
    if n.opset < 11:
        low, high = n.get("min", None), n.get("max", None)
    else:
        arrays = [n.array(i) for i in (1, 2)]
        low, high = (None if a is None else a.reshape(-1)[0].item() for a in arrays)
    return None if low is None or high is None or low >= high else Clamp(low, high)


@_entry(PLAIN, "Softmax", "LogSoftmax")
def _softmax(n: LayerNode) -> Module | None:
    axis, shape = n.get("axis", -1 if n.opset >= 13 else 1), n.shape()
    cls = SoftMax if n.node.op == "Softmax" else LogSoftMax
    if shape is None or (n.opset < 13 and len(shape) != 2) or not isinstance(axis, int):
        return None
    if len(shape) in (2, 4) and axis % len(shape) == 1:
        return cls() if len(shape) == 2 or cls is SoftMax else None
    return SoftMax(axis) if cls is SoftMax else None


@_entry(PLAIN, "LRN")
def _lrn(n: LayerNode) -> Module | None:
    size, shape = n.get("size", 1), n.shape()
    if size % 2 == 0 or shape is None or len(shape) != 4:
        return None
    return SpatialCrossMapLRN(
        size, float(n.get("alpha", 1e-4)), float(n.get("beta", 0.75)), float(n.get("bias", 1.0))
    )


@_entry(PLAIN, "MaxPool", "AveragePool")
def _pool(n: LayerNode) -> Module | None:
    kernel = n.get("kernel_shape", [])
    sizes = n.windows(kernel) if len(kernel) == 2 else None
    if sizes is None or len(n.node.outputs) > 1:
        return None
    (k_h, k_w), (d_h, d_w), (p_h, p_w), dilations = sizes
    if p_h > k_h // 2 or p_w > k_w // 2:
        return None
    if n.node.op == "MaxPool":
        made: Any
        if max(dilations) > 1:
            made = SpatialDilatedMaxPooling(
                k_w, k_h, d_w, d_h, p_w, p_h, dilations[1], dilations[0]
            )
        else:
            made = SpatialMaxPooling(k_w, k_h, d_w, d_h, p_w, p_h)
    elif max(dilations) > 1:
        return None
    else:
        made = SpatialAveragePooling(k_w, k_h, d_w, d_h, p_w, p_h)
        if not n.get("count_include_pad", 0):
            made.setCountExcludePad()
    return made.ceil() if n.get("ceil_mode", 0) else made


@_entry(PLAIN, "GlobalAveragePool")
def _global_average(n: LayerNode) -> Module | None:
    shape = n.shape()
    if shape is None or len(shape) != 4:
        return None
    return SpatialAveragePooling(1, 1, globalPooling=True)


@_entry(PLAIN, "Flatten")
def _flatten(n: LayerNode) -> Module | None:
    return InferReshape((-1,), batchMode=True) if n.get("axis", 1) == 1 else None


@_entry(PLAIN, "Reshape")
def _reshape(n: LayerNode) -> Module | None:
    shape = n.array(1)
    if shape is None or n.get("allowzero", 0):
        return None
    sizes = [int(length) for length in shape.reshape(-1)]
    if min(sizes, default=0) < -1 or sizes.count(-1) > 1:
        return None
    if sizes and sizes[0] == 0:
        return InferReshape(sizes[1:], batchMode=True) if 0 not in sizes[1:] else None
    return InferReshape(sizes)


@_entry(PLAIN, "Concat")
def _concat(n: LayerNode) -> Module | None:
    axis, shape = n.get("axis", 1), n.shape()
    if not isinstance(axis, int) or (axis < 0 and shape is None) or len(n.node.inputs) < 2:
        return None
    return JoinTable(axis if shape is None else axis % len(shape))


TABLES: dict[str, Callable[[], Module]] = {
    "Add": CAddTable, "Sum": CAddTable, "Mul": CMulTable, "Sub": CSubTable, "Div": CDivTable,
    "Max": CMaxTable, "Min": CMinTable,
}  # fmt: skip


def _table(make: Callable[[], Module]) -> RecordedNode:
    def entry(n: LayerNode) -> Module | None:
        shapes = [n.shapes.get(name) for name in n.node.inputs]
        first = shapes[0]
        if first is None or len(shapes) < 2 or any(shape != first for shape in shapes):
            return None
        return None if None in first else make()

    return entry


for _name, _make in TABLES.items():
    PLAIN[_name] = _table(_make)
