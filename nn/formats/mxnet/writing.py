"""A module of nn as a SymbolModule, which MXNet's two files hold: the other way of layers.py.

The module's containers are taken apart into a network of leaf layers, of which each becomes the
call of one operator; its arrays are variables called NAME_weight, NAME_bias, …
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.common.network import NetworkValue
from tapegrad.nn.formats.common.taking_apart import network_of
from tapegrad.nn.formats.mxnet.layers import ACTIVATIONS
from tapegrad.nn.layers.convolution.spatial import (
    SpatialConvolution,
    SpatialConvolutionMM,
    SpatialDilatedConvolution,
    SpatialFullConvolution,
)
from tapegrad.nn.layers.dropout import Dropout
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.normalization.batch import BatchNormalization, SpatialBatchNormalization
from tapegrad.nn.layers.normalization.local import SpatialCrossMapLRN
from tapegrad.nn.layers.pooling.fixed import SpatialAveragePooling, SpatialMaxPooling
from tapegrad.nn.layers.rearranging import InferReshape
from tapegrad.nn.layers.rectifiers import ELU, LeakyReLU, PReLU
from tapegrad.nn.layers.shape import Flatten, Reshape, View
from tapegrad.nn.layers.softmax import LogSoftMax, SoftMax
from tapegrad.nn.layers.table import CAddTable, CMulTable, JoinTable
from tapegrad.nn.mxnet.symbol.symbol import Group, Symbol, from_operator, var
from tapegrad.nn.mxnet.symbol_module import SymbolModule

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.network import Network, NetworkNode
    from tapegrad.nn.module import Module

__all__ = ["SYMBOL_WRITERS", "symbol_module_of"]


class _Writing:
    """One layer that becomes the call of an operator."""

    def __init__(self, node: NetworkNode, network: Network, symbols: dict[Any, Symbol],
                 arrays: dict[str, Any], states: dict[str, Any]) -> None:  # fmt: skip
        self.node, self.layer, self.symbols = node, node.layer, symbols
        self.arrays, self.states = arrays, states
        shapes = [network.types[value].shape for value in node.inputs]
        self.shape, self.shapes = shapes[0], shapes
        self.result = network.types[NetworkValue(node.name)].shape

    def refusal(self, expected: str, found: Any = None) -> UnsupportedError:
        place = f"model{self.node.place} (nn.{type(self.layer).__name__})"
        return UnsupportedError(expected, found, path=place)

    def need(self, fits: bool, expected: str, found: Any = None) -> None:
        """Raise UnsupportedError unless it fits."""
        if not fits:
            raise self.refusal(expected, found)

    def variable(self, name: str, array: Any, *, state: bool = False) -> Symbol:
        """A variable with an array: a parameter, or a state that training moves."""
        full = f"{self.node.name}_{name}"
        values = array if isinstance(array, np.ndarray) else devices.to_numpy(array_of(array))
        (self.states if state else self.arrays)[full] = values
        return var(full)

    def call(self, operator: str, *more: Symbol, **attributes: Any) -> Symbol:
        """The operator of the layer's inputs and more variables."""
        inputs = [self.symbols[value] for value in self.node.inputs]
        settings = {"name": self.node.name, **attributes}
        return from_operator(operator, operator, (*inputs, *more), settings)

    def weights(self, layer: Any, weight: Any = None) -> list[Symbol]:
        found = [self.variable("weight", layer.weight if weight is None else weight)]
        return found if layer.bias is None else [*found, self.variable("bias", layer.bias)]


def _window(w: _Writing, layer: Any) -> dict[str, Any]:
    w.need(len(w.shape) == 4, "a batch of images", f"an input of shape {w.shape}")
    w.need(getattr(layer, "format", "NCHW") == "NCHW", "the format NCHW")
    w.need(min(layer.padH, layer.padW) >= 0, "padding of at least 0", layer.padH)
    return {
        "kernel": (layer.kH, layer.kW),
        "stride": (layer.dH, layer.dW),
        "pad": (layer.padH, layer.padW),
    }


def _convolution(w: _Writing, layer: Any) -> Symbol:
    windows = _window(w, layer)
    groups = getattr(layer, "nGroup", 1)
    dilation = (getattr(layer, "dilationH", 1), getattr(layer, "dilationW", 1))
    shape = (layer.nOutputPlane, layer.nInputPlane // groups, layer.kH, layer.kW)
    weight = np.asarray(devices.to_numpy(array_of(layer.weight))).reshape(shape)
    return w.call(
        "Convolution", *w.weights(layer, weight), num_filter=layer.nOutputPlane,
        num_group=groups, dilate=dilation, no_bias=layer.bias is None, **windows,
    )  # fmt: skip


def _deconvolution(w: _Writing, layer: Any) -> Symbol:
    return w.call(
        "Deconvolution", *w.weights(layer), num_filter=layer.nOutputPlane,
        adj=(layer.adjH, layer.adjW), no_bias=layer.bias is None, **_window(w, layer),
    )  # fmt: skip


def _linear(w: _Writing, layer: Any) -> Symbol:
    w.need(len(w.shape) == 2, "rows", f"an input of shape {w.shape}")
    return w.call(
        "FullyConnected", *w.weights(layer), num_hidden=layer.weight.shape[0],
        no_bias=layer.bias is None,
    )  # fmt: skip


def _batch_norm(w: _Writing, layer: Any) -> Symbol:
    w.need(getattr(layer, "format", "NCHW") == "NCHW", "the format NCHW")
    w.need(len(w.shape) in (2, 4), "rows or images", f"an input of shape {w.shape}")
    mean = np.asarray(devices.to_numpy(array_of(layer.running_mean)))
    gamma = np.ones_like(mean) if layer.weight is None else layer.weight
    beta = np.zeros_like(mean) if layer.bias is None else layer.bias
    return w.call(
        "BatchNorm", w.variable("gamma", gamma), w.variable("beta", beta),
        w.variable("moving_mean", mean, state=True),
        w.variable("moving_var", layer.running_var, state=True),
        eps=layer.eps, momentum=1 - layer.momentum, fix_gamma=False,
    )  # fmt: skip


def _pooling(w: _Writing, layer: Any) -> Symbol:
    kind = "max" if isinstance(layer, SpatialMaxPooling) else "avg"
    if getattr(layer, "global_pooling", False):
        return w.call("Pooling", kernel=(1, 1), global_pool=True, pool_type=kind)
    windows = _window(w, layer)
    whole = all(
        (n + 2 * p - k) % s == 0
        for n, p, k, s in zip(w.shape[2:], windows["pad"], windows["kernel"], windows["stride"],
                              strict=True)
    )  # fmt: skip
    full = bool(layer.ceil_mode) and not whole
    w.need(not full or windows["pad"] == (0, 0), "no padding where sizes are rounded up")
    attributes: dict[str, Any] = {"pooling_convention": "full" if full else "valid"}
    if kind == "avg":
        w.need(layer.divide, "a mean", "a sum")
        attributes["count_include_pad"] = bool(layer.count_include_pad)
    return w.call("Pooling", pool_type=kind, **windows, **attributes)


def _reshaping(w: _Writing, _: Any) -> Symbol:
    w.need(w.result[:1] == w.shape[:1], "an array whose axis 0 stays", f"{w.result}")
    if len(w.result) == 2:
        return w.call("Flatten")
    return w.call("Reshape", shape=(0, *w.result[1:]))


def _softmax(w: _Writing, layer: Any) -> Symbol:
    fits = len(w.shape) == 2 and getattr(layer, "axis", None) in (None, -1, 1)
    w.need(fits, "a softmax of rows", w.shape)
    return w.call("log_softmax" if isinstance(layer, LogSoftMax) else "softmax")


def _elementwise(w: _Writing, layer: Any) -> Symbol:
    w.need(len(set(w.shapes)) == 1 and len(w.shapes) > 1, "arrays of one shape", w.shapes)
    if isinstance(layer, CAddTable):
        two = len(w.shapes) == 2
        return w.call("elemwise_add") if two else w.call("add_n", num_args=len(w.shapes))
    w.need(len(w.shapes) == 2, "two factors", len(w.shapes))
    return w.call("elemwise_mul")


def _joined(w: _Writing, layer: Any) -> Symbol:
    axis = layer.dimension
    axis += len(w.shape) if axis < 0 else len(w.shape) == (layer.nInputDims or -1) + 1
    return w.call("Concat", dim=axis, num_args=len(w.shapes))


def _leaky(w: _Writing, layer: Any) -> Symbol:
    if isinstance(layer, PReLU):
        return w.call("LeakyReLU", w.variable("gamma", layer.weight), act_type="prelu")
    slope = layer.alpha if isinstance(layer, ELU) else layer.negval
    return w.call("LeakyReLU", act_type="elu" if isinstance(layer, ELU) else "leaky", slope=slope)


def _normalized(w: _Writing, layer: Any) -> Symbol:
    return w.call("LRN", nsize=layer.size, alpha=layer.alpha, beta=layer.beta, knorm=layer.k)


_WORDS: dict[Any, str] = {cls: name for name, cls in ACTIVATIONS.items()}


def _activation(w: _Writing, layer: Any) -> Symbol:
    word = _WORDS[type(layer)]
    in_activation = word in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
    w.need(getattr(layer, "beta", 1) in (None, 1), "beta 1")
    return w.call("Activation", act_type=word) if in_activation else w.call(word)


SYMBOL_WRITERS: dict[type, Callable[[_Writing, Any], Symbol]] = {
    **dict.fromkeys(
        (SpatialConvolution, SpatialConvolutionMM, SpatialDilatedConvolution), _convolution
    ),
    SpatialFullConvolution: _deconvolution,
    Linear: _linear,
    **dict.fromkeys((BatchNormalization, SpatialBatchNormalization), _batch_norm),
    **dict.fromkeys((SpatialMaxPooling, SpatialAveragePooling), _pooling),
    **dict.fromkeys((View, Reshape, Flatten, InferReshape), _reshaping),
    **dict.fromkeys((SoftMax, LogSoftMax), _softmax),
    **dict.fromkeys((CAddTable, CMulTable), _elementwise),
    JoinTable: _joined,
    **dict.fromkeys((LeakyReLU, ELU, PReLU), _leaky),
    SpatialCrossMapLRN: _normalized,
    Dropout: lambda w, layer: w.call("Dropout", p=layer.p),
    **dict.fromkeys(_WORDS, _activation),
}


def symbol_module_of(module: Module, inputs: Any) -> SymbolModule:
    """The module, as it is in evaluate mode, as operators of MXNet.

    inputs: an example of the input, an array or a list of several, with the batch
    Its Parameters and states lie in the module's own memory.
    Raises UnsupportedError, with class and place, for a layer that has no entry in SYMBOL_WRITERS
    and for settings that its operator has not.
    """
    examples = inputs if isinstance(inputs, list) else [inputs]
    with np.errstate(all="ignore"):
        network = network_of(module, *examples)
    symbols: dict[Any, Symbol] = {NetworkValue(name): var(name) for name in network.inputs}
    arrays: dict[str, Any] = {}
    states: dict[str, Any] = {}
    for node in network.sorted():
        writing = _Writing(node, network, symbols, arrays, states)
        write = SYMBOL_WRITERS.get(type(node.layer))
        if write is None:
            raise writing.refusal("a layer that MXNet has an operator for")
        symbols[NetworkValue(node.name)] = write(writing, node.layer)
    missing = [value for value in network.outputs if value not in symbols]
    if missing:
        raise UnsupportedError("outputs that are arrays", str(missing[0]), path="model")
    made = [symbols[value] for value in network.outputs]
    return SymbolModule(made[0] if len(made) == 1 else Group(made), arrays, states, copy=False)
