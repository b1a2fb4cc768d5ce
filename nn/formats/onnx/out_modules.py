"""Modules that ONNX has an operator for: one node in place of the calls that they make.

An entry returns None for a call that the operator cannot say, a single sample for instance; the
primitives of the call are written then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tapegrad.nn.formats.onnx.dims import Dim, Size
from tapegrad.nn.layers.activation import Clamp, HardSigmoid, HardTanh, SoftPlus
from tapegrad.nn.layers.convolution.plain import Conv1d, Conv2d, Conv3d
from tapegrad.nn.layers.convolution.volumetric import (
    VolumetricConvolution,
    VolumetricDilatedConvolution,
    VolumetricFullConvolution,
)
from tapegrad.nn.layers.normalization.batch import (
    BatchNormalization,
    SpatialBatchNormalization,
    VolumetricBatchNormalization,
)
from tapegrad.nn.layers.normalization.local import SpatialCrossMapLRN
from tapegrad.nn.layers.normalization.sample import InstanceNorm, LayerNorm
from tapegrad.nn.layers.pooling.fixed import (
    VolumetricAveragePooling,
    VolumetricDilatedMaxPooling,
    VolumetricMaxPooling,
)
from tapegrad.nn.layers.rectifiers import ELU, LeakyReLU, PReLU, ReLU6
from tapegrad.nn.layers.upsampling import SpatialUpSamplingBilinear
from tapegrad.nn.recurrent.layered import RNNLayer

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.nn.formats.onnx.building import GraphBuilder, GraphValue

__all__ = ["MODULES", "ModuleCall", "ModuleExporter"]


@dataclass(frozen=True)
class ModuleCall:
    """A call of a module that is being written.

    values, shapes: of the arrays in its inputs; results: (dtype, shape) of those in its output
    parameter: a Parameter or Buffer -> its GraphValue
    """

    builder: GraphBuilder
    module: Any
    values: Sequence[GraphValue]
    shapes: Sequence[tuple[Size, ...]]
    results: Sequence[tuple[np.dtype[Any], tuple[Size, ...]]]
    parameter: Callable[[Tensor], GraphValue]

    @property
    def x(self) -> GraphValue:
        """The first input."""
        return self.values[0]

    @property
    def ndim(self) -> int:
        """The axes of the first input."""
        return len(self.shapes[0])

    def same_dtype(self, *tensors: Tensor | None) -> bool:
        """Whether the input and the parameters have one dtype, in which the operator computes."""
        return all(t is None or t.dtype == self.x.dtype for t in tensors)


ModuleExporter: TypeAlias = Callable[[ModuleCall], "GraphValue | Sequence[GraphValue] | None"]

MODULES: dict[type, ModuleExporter] = {}


def _module(*classes: type) -> Callable[[ModuleExporter], ModuleExporter]:
    def enter(function: ModuleExporter) -> ModuleExporter:
        MODULES.update(dict.fromkeys(classes, function))
        return function

    return enter


# Normalization -----------------------------------------------------------------------------------


@_module(BatchNormalization, SpatialBatchNormalization, VolumetricBatchNormalization)
def _batch_normalization(call: ModuleCall) -> GraphValue | None:
    m = call.module
    if call.ndim != m.nDim or m.train or getattr(m, "format", "NCHW") != "NCHW":
        return None
    if not call.same_dtype(m.running_mean, m.running_var, m.weight, m.bias):
        return None
    w, size, dtype = call.builder, m.running_mean.shape, call.x.dtype
    weight = w.array(np.ones(size, dtype)) if m.weight is None else call.parameter(m.weight)
    bias = w.array(np.zeros(size, dtype)) if m.bias is None else call.parameter(m.bias)
    mean, var = call.parameter(m.running_mean), call.parameter(m.running_var)
    return w.op("BatchNormalization", call.x, weight, bias, mean, var, epsilon=float(m.eps))


@_module(LayerNorm)
def _layer_norm(call: ModuleCall) -> GraphValue | None:
    m = call.module
    if m.weight is None or not call.same_dtype(m.weight, m.bias):
        return None
    bias = None if m.bias is None else call.parameter(m.bias)
    axis = -len(m.normalized_shape)
    weight = call.parameter(m.weight)
    return call.builder.op(
        "LayerNormalization", call.x, weight, bias, axis=axis, epsilon=float(m.eps)
    )


@_module(InstanceNorm)
def _instance_norm(call: ModuleCall) -> GraphValue | None:
    m = call.module
    if m.weight is None or m.bias is None or not call.same_dtype(m.weight, m.bias):
        return None
    weight, bias = call.parameter(m.weight), call.parameter(m.bias)
    return call.builder.op("InstanceNormalization", call.x, weight, bias, epsilon=float(m.eps))


@_module(SpatialCrossMapLRN)
def _lrn(call: ModuleCall) -> GraphValue | None:
    m = call.module
    if call.ndim != 4 or m.size % 2 == 0 or getattr(m, "format", "NCHW") != "NCHW":
        return None
    return call.builder.op(
        "LRN", call.x, size=int(m.size), alpha=float(m.alpha), beta=float(m.beta), bias=float(m.k)
    )


# Activations -------------------------------------------------------------------------------------


@_module(LeakyReLU)
def _leaky_relu(call: ModuleCall) -> GraphValue:
    return call.builder.op("LeakyRelu", call.x, alpha=float(call.module.negval))


@_module(ELU)
def _elu(call: ModuleCall) -> GraphValue:
    return call.builder.op("Elu", call.x, alpha=float(call.module.alpha))


@_module(PReLU)
def _prelu(call: ModuleCall) -> GraphValue | None:
    m, w = call.module, call.builder
    if not call.same_dtype(m.weight):
        return None
    slope = call.parameter(m.weight)
    if m.nOutputPlane and call.ndim > 2:
        slope = w.reshape(slope, [m.nOutputPlane, *(1,) * (call.ndim - 2)])
    return w.op("PRelu", call.x, slope)


@_module(HardTanh, Clamp, ReLU6)
def _clip(call: ModuleCall) -> GraphValue | None:
    m, w = call.module, call.builder
    low, high = (0, 6) if isinstance(m, ReLU6) else (m.min_val, m.max_val)
    if call.x.dtype.kind != "f":
        return None
    return w.op("Clip", call.x, w.number(low, call.x.dtype), w.number(high, call.x.dtype))


@_module(SoftPlus)
def _softplus(call: ModuleCall) -> GraphValue | None:
    return call.builder.op("Softplus", call.x) if call.module.beta == 1 else None


@_module(HardSigmoid)
def _hard_sigmoid(call: ModuleCall) -> GraphValue:
    return call.builder.op("HardSigmoid", call.x, alpha=0.2, beta=0.5)


# Windows -----------------------------------------------------------------------------------------


def _convolution(call: ModuleCall, op: str, spatial: int, **settings: Any) -> GraphValue | None:
    m = call.module
    if call.ndim != spatial + 2 or not call.same_dtype(m.weight, m.bias):
        return None
    weight = call.parameter(m.weight)
    bias = None if m.bias is None else call.parameter(m.bias)
    return call.builder.op(op, call.x, weight, bias, **settings)


@_module(Conv1d, Conv2d, Conv3d)
def _grouped(call: ModuleCall) -> GraphValue | None:
    m = call.module
    return _convolution(
        call, "Conv", len(m.kernel_size), kernel_shape=list(m.kernel_size),
        strides=list(m.stride), pads=[*m.padding, *m.padding], dilations=list(m.dilation),
        group=m.groups,
    )  # fmt: skip


@_module(VolumetricConvolution, VolumetricDilatedConvolution)
def _volumetric(call: ModuleCall) -> GraphValue | None:
    m = call.module
    padding = m.along("pad")
    if min(padding) < 0:
        return None
    dilation = m.along("dilation") if hasattr(m, "dilationT") else (1, 1, 1)
    return _convolution(
        call, "Conv", 3, kernel_shape=list(m.along("k")), strides=list(m.along("d")),
        pads=[*padding, *padding], dilations=list(dilation),
    )  # fmt: skip


@_module(VolumetricFullConvolution)
def _volumetric_transposed(call: ModuleCall) -> GraphValue | None:
    m = call.module
    adjustment = list(m.along("adj"))
    strides = m.along("d")
    if len(call.values) != 1 or any(a >= s for a, s in zip(adjustment, strides, strict=True) if a):
        return None
    return _convolution(
        call, "ConvTranspose", 3, kernel_shape=list(m.along("k")), strides=list(strides),
        pads=[*m.along("pad"), *m.along("pad")], group=m.nGroup,
        output_padding=adjustment if any(adjustment) else None,
    )  # fmt: skip


@_module(VolumetricMaxPooling, VolumetricDilatedMaxPooling)
def _volumetric_max(call: ModuleCall) -> GraphValue | None:
    m = call.module
    if call.ndim != 5 or m._remembers or min(m.along("pad")) < 0:  # noqa: SLF001  # our own layer's
        return None
    sides = call.shapes[0][2:]
    if any(isinstance(size, Dim) for size in sides):
        return None
    kernel, stride, padding = m.along("k"), m.along("d"), m.along("pad")
    dilation = m.along("dilation") if hasattr(m, "dilationT") else (1, 1, 1)
    outputs = call.results[0][1][2:]
    ends = [
        max(p, int((o - 1) * s + d * (k - 1) + 1 - p - n))
        for n, k, s, p, d, o in zip(sides, kernel, stride, padding, dilation, outputs, strict=True)
    ]
    if any(end >= k for end, k in zip(ends, kernel, strict=True)):
        return None
    return call.builder.op(
        "MaxPool", call.x, kernel_shape=list(kernel), strides=list(stride),
        pads=[*padding, *ends], dilations=list(dilation) if max(dilation) > 1 else None,
    )  # fmt: skip


@_module(VolumetricAveragePooling)
def _volumetric_average(call: ModuleCall) -> GraphValue | None:
    m = call.module
    if call.ndim != 5 or m.ceil_mode or min(m.along("pad")) < 0:
        return None
    padding = m.along("pad")
    return call.builder.op(
        "AveragePool", call.x, kernel_shape=list(m.along("k")), strides=list(m.along("d")),
        pads=[*padding, *padding], count_include_pad=1 if m.count_include_pad else 0,
    )  # fmt: skip


@_module(SpatialUpSamplingBilinear)
def _bilinear(call: ModuleCall) -> GraphValue | None:
    sizes = call.results[0][1]
    if call.ndim != 4:
        return None
    return call.builder.op(
        "Resize", call.x, None, None, call.builder.sizes_of(sizes), mode="linear",
        coordinate_transformation_mode="align_corners",
    )  # fmt: skip


# Recurrent networks ------------------------------------------------------------------------------

# ONNX's gates by their places among ours: (input, output, forget, cell); (update, reset, hidden).
GATE_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "tanh": (0,), "relu": (0,)}
OPERATORS = {"lstm": "LSTM", "gru": "GRU", "tanh": "RNN", "relu": "RNN"}


@_module(RNNLayer)
def _recurrent(call: ModuleCall) -> list[GraphValue] | None:
    m, w = call.module, call.builder
    parts = 2 if m.cell == "lstm" else 1
    if call.ndim != 3 or len(call.values) not in (1, 1 + parts) or m.train:
        return None
    if not call.same_dtype(*m.weights.values()) or m._remember != "neither":  # noqa: SLF001  # as above
        return None
    directions = 2 if m.bidirectional else 1
    x = w.op("Transpose", call.x, perm=[1, 0, 2]) if m.batch_first else call.x
    given = call.values[1:]
    if given and any(len(shape) != 3 for shape in call.shapes[1:]):
        return None
    last: list[list[GraphValue]] = []
    for layer in range(m.num_layers):
        states = [
            w.slice(state, [layer * directions], [(layer + 1) * directions], [0])
            if m.num_layers > 1 else state
            for state in given
        ]  # fmt: skip
        y, *kept = _layer(call, x, layer, states)
        last.append(kept)
        turned = w.op("Transpose", y, perm=[0, 2, 1, 3])
        x = w.op("Reshape", turned, w.vector([0, 0, -1]))
    result = w.op("Transpose", x, perm=[1, 0, 2]) if m.batch_first else x
    if len(call.results) == 1:
        return [result]
    joined = [
        columns[0] if len(columns) == 1 else w.op("Concat", *columns, axis=0)
        for columns in zip(*last, strict=True)
    ]
    return [result, *joined]


def _layer(
    call: ModuleCall, x: GraphValue, layer: int, states: Sequence[GraphValue]
) -> list[GraphValue]:
    """[outputs, last h, last c] of one layer in all its directions."""
    m, w = call.module, call.builder
    endings = ("", "_reverse") if m.bidirectional else ("",)

    def stacked(kinds: Sequence[str]) -> GraphValue:
        rows = []
        for ending in endings:
            pieces = [
                _in_order(call, call.parameter(m.weights[f"{kind}_l{layer}{ending}"]))
                for kind in kinds
            ]
            row = pieces[0] if len(pieces) == 1 else w.op("Concat", *pieces, axis=0)
            rows.append(w.unsqueeze(row, [0]))
        return rows[0] if len(rows) == 1 else w.op("Concat", *rows, axis=0)

    has_bias = f"bias_ih_l{layer}" in m.weights
    bias = stacked(["bias_ih", "bias_hh"]) if has_bias else None
    activations = ["Relu"] * len(endings) if m.cell == "relu" else None
    count = 3 if m.cell == "lstm" else 2
    return w.ops(
        OPERATORS[m.cell],
        [x, stacked(["weight_ih"]), stacked(["weight_hh"]), bias, None, *states],
        count, hidden_size=m.hidden_features, activations=activations,
        direction="bidirectional" if m.bidirectional else "forward",
        linear_before_reset=1 if m.cell == "gru" else None,
    )  # fmt: skip


def _in_order(call: ModuleCall, rows: GraphValue) -> GraphValue:
    """The rows of a weight or bias, in the order of ONNX's gates."""
    order = GATE_ORDER[call.module.cell]
    if order == tuple(sorted(order)):
        return rows
    w, size = call.builder, call.module.hidden_features
    gates = w.ops("Split", [rows, w.vector([size] * len(order))], len(order), axis=0)
    return w.op("Concat", *(gates[i] for i in order), axis=0)
