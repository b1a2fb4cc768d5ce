"""A SymbolModule as layers of nn, which every other format can be written from.

MXNet's own machine runs any symbol; this table has the operators of networks that other systems
have layers for.  Everything else is refused by its name: the SymbolModule still runs and learns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Parameter, no_grad
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.common.network import Network, NetworkNode, NetworkValue, module_of
from tapegrad.nn.layers.activation import (
    Abs,
    Exp,
    Log,
    Negative,
    Sigmoid,
    SoftPlus,
    SoftSign,
    Sqrt,
    Square,
    Tanh,
)
from tapegrad.nn.layers.convolution.spatial import (
    SpatialConvolution,
    SpatialDilatedConvolution,
    SpatialFullConvolution,
)
from tapegrad.nn.layers.dropout import Dropout
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.normalization.batch import BatchNormalization, SpatialBatchNormalization
from tapegrad.nn.layers.normalization.local import SpatialCrossMapLRN
from tapegrad.nn.layers.pooling.fixed import SpatialAveragePooling, SpatialMaxPooling
from tapegrad.nn.layers.rearranging import InferReshape
from tapegrad.nn.layers.rectifiers import ELU, LeakyReLU, PReLU, ReLU
from tapegrad.nn.layers.softmax import LogSoftMax, SoftMax
from tapegrad.nn.layers.table import CAddTable, CMulTable, JoinTable
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.operators.windows import of_rank

if TYPE_CHECKING:
    from tapegrad.nn.module import Module
    from tapegrad.nn.mxnet.symbol.graph import SymbolNode
    from tapegrad.nn.mxnet.symbol_module import SymbolModule

__all__ = ["ACTIVATIONS", "PASSING", "SYMBOL_LAYERS", "module_of_symbol"]

ACTIVATIONS: dict[str, Callable[[], Module]] = {
    "relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh, "softrelu": SoftPlus, "softsign": SoftSign,
    "abs": Abs, "exp": Exp, "log": Log, "negative": Negative, "sqrt": Sqrt, "square": Square,
}  # fmt: skip
# what only passes its first input on, where no gradient is asked for
PASSING = ("_copy", "BlockGrad", "MakeLoss", "make_loss", "LinearRegressionOutput",
           "MAERegressionOutput")  # fmt: skip


class _Reading:
    """One operator: its attributes, the arrays of its inputs, and how many axes its data have."""

    def __init__(self, node: SymbolNode, arrays: dict[str, Any], ndim: int) -> None:
        self.node, self.a, self.ndim = node, node.read, ndim
        self.arrays = dict(zip(node.input_names, (arrays.get(c.name) for c, _ in node.inputs),
                               strict=False))  # fmt: skip

    def array(self, name: str) -> np.ndarray[Any, Any]:
        found = self.arrays.get(name)
        if found is None:
            raise self.refusal(f"an array for {name}", "none")
        result: np.ndarray[Any, Any] = found
        return result

    def refusal(self, expected: str, found: Any = None) -> UnsupportedError:
        name = self.node.op.name if self.node.op is not None else "variable"
        return UnsupportedError(expected, found, path=f"{name} {self.node.name[:80]!r}")

    def need(self, fits: bool, expected: str, found: Any = None) -> None:
        """Raise UnsupportedError unless it fits."""
        if not fits:
            raise self.refusal(expected, found)

    def window(self, *names: str) -> list[tuple[int, ...]]:
        """kernel, and attributes of two numbers, 1 where they are absent, of pad and adj 0."""
        self.need(len(self.a.kernel) == 2, "a kernel (height, width)", self.a.kernel)
        self.need(self.a.layout in (None, "NCHW"), "the layout NCHW", self.a.layout)
        return [self.a.kernel, *(of_rank(self.a, n, int(n not in ("pad", "adj"))) for n in names)]

    def fill(self, layer: Any, **arrays: Any) -> Any:
        """The layer with these arrays; None takes an array away."""
        for name, value in arrays.items():
            if value is None:
                setattr(layer, name, None)
            elif name.startswith("running"):
                getattr(layer, name).assign(value)
            else:
                setattr(layer, name, Parameter(value))
        return layer


def _convolution(r: _Reading) -> list[Any]:
    (kh, kw), (dh, dw), (ph, pw), (lh, lw) = r.window("stride", "pad", "dilate")
    weight, groups = r.array("weight"), r.a.num_group
    n_out, n_in = weight.shape[0], weight.shape[1] * groups
    if (lh, lw) == (1, 1):
        layer: Any = SpatialConvolution(n_in, n_out, kw, kh, dw, dh, pw, ph, nGroup=groups)
    else:
        r.need(groups == 1, "a dilated convolution without groups", groups)
        layer = SpatialDilatedConvolution(n_in, n_out, kw, kh, dw, dh, pw, ph, lw, lh)
    return [r.fill(layer, weight=weight, bias=None if r.a.no_bias else r.array("bias"))]


def _deconvolution(r: _Reading) -> list[Any]:
    (kh, kw), (dh, dw), (ph, pw), (ah, aw) = r.window("stride", "pad", "adj")
    r.need(r.a.num_group == 1 and not r.a.target_shape, "no groups and no target_shape")
    r.need(set(of_rank(r.a, "dilate", 1)) == {1}, "no dilation")
    weight = r.array("weight")
    n_in, n_out = weight.shape[:2]
    layer = SpatialFullConvolution(n_in, n_out, kw, kh, dw, dh, pw, ph, aw, ah)
    return [r.fill(layer, weight=weight, bias=None if r.a.no_bias else r.array("bias"))]


def _linear(r: _Reading) -> list[Any]:
    weight = r.array("weight")
    layer = Linear(weight.shape[1], weight.shape[0])
    r.fill(layer, weight=weight, bias=None if r.a.no_bias else r.array("bias"))
    r.need(r.a.flatten or r.ndim == 2, "flatten, or rows", r.ndim)
    return [layer] if r.ndim == 2 else [InferReshape((0, -1)), layer]


def _batch_norm(r: _Reading) -> list[Any]:
    r.need(getattr(r.a, "axis", 1) == 1, "statistics over axis 1", getattr(r.a, "axis", 1))
    beta = r.array("beta")
    cls = {2: BatchNormalization, 4: SpatialBatchNormalization}.get(r.ndim)
    if cls is None:
        raise r.refusal("rows or images", f"{r.ndim} axes")
    layer = cls(len(beta), r.a.eps, 1 - r.a.momentum)
    gamma = np.ones_like(beta) if r.a.fix_gamma else r.array("gamma")
    mean, variance = r.array("moving_mean"), r.array("moving_var")
    return [r.fill(layer, weight=gamma, bias=beta, running_mean=mean, running_var=variance)]


def _pooling(r: _Reading) -> list[Any]:
    kind, counted = r.a.pool_type, getattr(r.a, "count_include_pad", None)
    r.need(kind in ("max", "avg"), "the maximum or the mean", kind)
    if r.a.global_pool:
        r.need(kind == "avg" and r.ndim == 4, "a mean over an image", kind)
        return [SpatialAveragePooling(1, 1, globalPooling=True)]
    (kh, kw), (dh, dw), (ph, pw) = r.window("stride", "pad")
    full = r.a.pooling_convention == "full"
    r.need(r.a.pooling_convention != "same", "the convention valid or full")
    r.need(not full or (ph, pw) == (0, 0), "no padding with the convention full", (ph, pw))
    cls: Any = SpatialMaxPooling if kind == "max" else SpatialAveragePooling
    layer = cls(kw, kh, dw, dh, pw, ph)
    if full:
        layer.ceil()
    if kind == "avg" and counted is False:
        layer.setCountExcludePad()
    return [layer]


def _leaky(r: _Reading) -> list[Any]:
    kind, slope = r.a.act_type, r.a.slope
    if kind == "prelu":
        gamma = r.array("gamma").reshape(-1)
        return [r.fill(PReLU(len(gamma) if len(gamma) > 1 else 0), weight=gamma)]
    r.need(kind in ("leaky", "elu"), "leaky, elu or prelu", kind)
    return [LeakyReLU(slope) if kind == "leaky" else ELU(slope)]


def _activation(r: _Reading) -> list[Any]:
    r.need(r.a.act_type in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}", r.a.act_type)
    return [ACTIVATIONS[r.a.act_type]()]


def _plain(r: _Reading) -> list[Any]:
    return [ACTIVATIONS[r.node.op.name if r.node.op is not None else ""]()]


def _reshaped(r: _Reading) -> list[Any]:
    shape = tuple(r.a.shape)
    good = shape[:1] in ((0,), (-1,)) and len(shape) > 1 and not r.a.reverse
    r.need(good and min(shape[1:]) >= -1, "a shape that keeps axis 0 and has no codes", shape)
    return [InferReshape((0, *shape[1:]) if -1 in shape[1:] or shape[0] == 0 else shape)]


def _softmax(r: _Reading) -> list[Any]:
    name = r.node.op.name if r.node.op is not None else ""
    axis = getattr(r.a, "axis", -1)
    r.need(r.ndim == 2 and axis in (-1, 1), "a softmax of rows", f"{r.ndim} axes, axis {axis}")
    r.need(getattr(r.a, "temperature", None) in (None, 1.0), "no temperature")
    return [LogSoftMax() if name == "log_softmax" else SoftMax()]


def _joined(r: _Reading) -> list[Any]:
    return [JoinTable(r.a.dim)]


SYMBOL_LAYERS: dict[str, Callable[[_Reading], list[Any]]] = {
    "Convolution": _convolution,
    "Convolution_v1": _convolution,
    "Deconvolution": _deconvolution,
    "FullyConnected": _linear,
    "BatchNorm": _batch_norm,
    "BatchNorm_v1": _batch_norm,
    "Pooling": _pooling,
    "Pooling_v1": _pooling,
    "Activation": _activation,
    "LeakyReLU": _leaky,
    "LRN": lambda r: [SpatialCrossMapLRN(r.a.nsize, r.a.alpha, r.a.beta, r.a.knorm)],
    "Dropout": lambda r: [Dropout(r.a.p)],
    "Reshape": _reshaped,
    "Flatten": lambda _: [InferReshape((0, -1))],
    "SoftmaxOutput": _softmax,
    "SoftmaxActivation": _softmax,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "LogisticRegressionOutput": lambda _: [Sigmoid()],
    "Concat": _joined,
    "elemwise_add": lambda _: [CAddTable()],
    "add_n": lambda _: [CAddTable()],
    "elemwise_mul": lambda _: [CMulTable()],
    **dict.fromkeys(ACTIVATIONS, _plain),
}
_JOINS = ("Concat", "elemwise_add", "add_n", "elemwise_mul")
_TO_ROWS = ("FullyConnected", "Flatten")


def module_of_symbol(module: SymbolModule, inputs: Any = None) -> Module:
    """The layers that a SymbolModule is made of, named as its operators, in evaluate mode.

    inputs: an example of its input, an array or a list of several, which says how many axes each
            array has; images without it
    Labels are left out.  The layers' arrays lie in the memory of the module's.
    Raises UnsupportedError, with operator and name, for what is not in SYMBOL_LAYERS or has
    settings that its layer has not.
    """
    with no_grad():
        return _network_of(module, inputs)


def _network_of(module: SymbolModule, inputs: Any) -> Module:
    symbol = module.symbol
    parameters, states = module.variables()
    arrays = {name: array.numpy() for name, array in (parameters | states).items()}
    free = [name for name in module.input_names if name not in module.label_names]
    given = inputs if isinstance(inputs, list) else [inputs] * len(free)
    values = {name: NetworkValue(name) for name in free}
    ndims = {name: 4 if x is None else np.ndim(x) for name, x in zip(free, given, strict=False)}
    nodes: list[NetworkNode] = []
    for node in symbol.nodes:
        if node.op is None:
            continue
        sources = [child.name for child, index in node.inputs if child.name in values]
        first = sources[0] if sources else ""
        reading = _Reading(node, arrays, ndims.get(first, 4))
        name = node.op.name
        reading.need(all(index == 0 for _, index in node.inputs), "first outputs of operators")
        reading.need(bool(sources), "an operator of the data", "one of parameters alone")
        ndims[node.name] = 2 if name in _TO_ROWS else reading.ndim
        if name == "Reshape":
            ndims[node.name] = len(reading.a.shape)
        if name in PASSING:
            values[node.name] = values[first]
            continue
        if name not in SYMBOL_LAYERS:
            raise reading.refusal("an operator that other formats have layers for")
        try:
            made = SYMBOL_LAYERS[name](reading)
        except (MXNetError, ValueError, TypeError, IndexError) as error:
            if isinstance(error, UnsupportedError):
                raise
            raise reading.refusal(f"settings that a layer takes: {error!s:.200}") from error
        taken = [values[source] for source in sources] if name in _JOINS else [values[first]]
        for number, layer in enumerate(made):
            last = number == len(made) - 1
            called = node.name if last else f"{node.name}_rows"
            nodes.append(NetworkNode(called, layer, tuple(taken), table=name in _JOINS))
            taken = [NetworkValue(called)]
        values[node.name] = taken[0]
    outputs = [values[node.name] for node, _ in symbol.heads]
    made_module = module_of(Network(nodes, tuple(free), tuple(outputs)))
    made_module.evaluate()
    return made_module
