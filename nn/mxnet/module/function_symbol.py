"""symbol_of: any module, or function of Tensors, as a Symbol.

The function becomes one node of an operator of its own, whose inputs are variables: data, labels,
and each parameter and buffer of the module.  So executors, Monitor, Group and composition need not
know of it.  A symbol.json cannot hold it: symbols of functions are made by the script.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Tensor, custom_vjp, no_grad, stop_gradient
from tapegrad.autograd.core.mode import watch
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.functional_call import shadow_of
from tapegrad.nn.core.part import Part
from tapegrad.nn.mxnet.declaration import Call, Operator, PartialShape
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, as_array
from tapegrad.nn.mxnet.symbol.graph import SymbolNode
from tapegrad.nn.mxnet.symbol.inference import TYPE_FLAGS, known_all
from tapegrad.nn.mxnet.symbol.naming import current_names
from tapegrad.nn.mxnet.symbol.symbol import Symbol

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.attributes import Attributes

__all__ = ["FunctionOperator", "functions_of", "symbol_of"]

NO_INPUT = (
    "{name} has no argument {missing!r}: data_names and label_names are names of its arguments "
    "({known})"
)
TWICE = "{name}: the parameters {first!r} and {second!r} would both be called {both!r}"


@dataclass
class FunctionOperator(Operator):
    """The operator of one function.

    first:   first values of parameters and states, by name of the variable
    states:  the variables that are states
    fixed:   the parameters that are not trained
    targets: the Tensors of a module that take trained values, by name of the variable
    """

    first: dict[str, np.ndarray] = field(default_factory=dict)
    states: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    targets: dict[str, Tensor] = field(default_factory=dict)

    def receive(self, values: Mapping[str, NDArray]) -> None:
        """Write trained values into the module's own parameters and buffers."""
        for name, target in self.targets.items():
            if name in values:
                target.data[...] = values[name].tensor.data


def functions_of(symbol: Symbol) -> list[FunctionOperator]:
    """The operators of functions in a symbol's graph."""
    return [node.op for node in symbol.nodes if isinstance(node.op, FunctionOperator)]


def symbol_of(
    given: object,
    data_names: Sequence[str] = ("data",),
    label_names: Sequence[str] = (),
    *,
    loss: Callable[..., Any] | None = None,
    outputs: Sequence[str] = ("output",),
    name: str | None = None,
) -> Symbol:
    """A Symbol of a module or function of Tensors; a Symbol is returned as it is.

    given:    an `nn.Module` (a `gModule` too), which gets the data, a list of them if there are
              several: its parameters and buffers become variables "0_weight", "conv1_bias", with
              its own values as first values; or a function, whose arguments are variables by name:
              data, labels, and others, whose defaults (arrays) are their first values
    loss:     a criterion, or a function of (output, label).  The outputs stay predictions; their
              gradient is the loss's, whatever the head gradient is.  A criterion that averages is
              multiplied by the number of rows, since a Module divides by it (`rescale_grad`).
              A function with labels and without `loss` returns its loss itself, whose sum is
              differentiated.
    outputs:  the names of the outputs, if there are several
    name:     the node's name; its outputs are called NAME_output
    Raises TypeError for anything else, ValueError for a data or label name that is no argument.
    """
    if isinstance(given, Symbol):
        return given
    if isinstance(given, Part):
        function: _Function = _OfModule(given, data_names, label_names if loss is not None else ())
    elif callable(given):
        function = _OfFunction(given, data_names, label_names, loss)
    else:
        raise TypeError(
            f"a Module takes a Symbol, an nn.Module or a function, not {type(given).__name__}"
        )
    labels = [n for n in label_names if n in function.names]

    def body(call: Call, *inputs: Tensor) -> list[Tensor]:
        values = dict(zip(function.names, inputs, strict=True))
        watch(given)
        found = function(values, call.train)
        results = list(found) if isinstance(found, (list, tuple)) else [found]
        if not labels:
            return results
        if loss is None:
            return [
                _with_loss(stop_gradient(results[0]), results[0]),
                *map(stop_gradient, results[1:]),
            ]
        if not call.train:
            return results
        watch(loss)
        targets = [values[n] for n in labels]
        value = loss(_one_or_all(results), _one_or_all(targets))
        if _averages(loss):
            value = value * len(results[0])
        return [_with_loss(stop_gradient(results[0]), value), *map(stop_gradient, results[1:])]

    def shapes(a: Attributes, inputs: list[PartialShape], found: list[PartialShape]) -> None:
        for i, key in enumerate(function.names):
            if inputs[i] is None and key in labels and inputs[0] is not None:
                inputs[i] = inputs[0][:1]  # in evaluate mode nobody reads them
        if known_all(inputs):
            found[:] = _shapes_on_zeros(body, Call(a), function, inputs)

    op = FunctionOperator(
        "Function", body, {}, lambda _: function.names,
        auxiliary=lambda _: tuple(function.states), outputs=lambda _: tuple(outputs),
        loss=lambda _: bool(labels), flat=frozenset(labels), hint="function", infer=shapes,
        first=function.first, states=frozenset(function.states),
        fixed=frozenset(function.fixed), targets=function.targets,
    )  # fmt: skip
    node = SymbolNode(op, current_names().get(name, function.hint), {})
    for key in function.names:
        node.inputs.append((SymbolNode(None, key, _attributes(function.first.get(key))), 0))
    return Symbol([(node, i) for i in range(len(outputs))])


class _Function:
    """What a symbol needs of a function: names of all its inputs, and what they begin with."""

    hint = "function"

    def __init__(self) -> None:
        self.names: list[str] = []
        self.states: list[str] = []
        self.fixed: list[str] = []
        self.first: dict[str, np.ndarray] = {}
        self.targets: dict[str, Tensor] = {}

    def __call__(self, values: Mapping[str, Tensor], train: bool) -> Any:
        raise NotImplementedError


class _OfModule(_Function):
    """A module: its data, labels for the loss, parameters and buffers are inputs."""

    def __init__(self, module: Any, data_names: Sequence[str], label_names: Sequence[str]):
        super().__init__()
        self.module, self.data_names = module, list(data_names)
        self.hint = type(module).__name__.lower()
        self.paths: dict[str, str] = {}
        trained = {name for name, _ in module.named_trainable()}
        for path, tensor in (*module.named_parameters(), *module.named_buffers()):
            name = path.replace(".", "_")
            if name in self.paths:
                other = self.paths[name]
                text = TWICE.format(name=type(module).__name__, first=other, second=path, both=name)
                raise ValueError(text)
            self.paths[name] = path
            self.first[name], self.targets[name] = tensor.numpy(), tensor
            if isinstance(tensor, Buffer):
                self.states.append(name)
            elif path not in trained:
                self.fixed.append(name)
        self.names = [*data_names, *self.paths, *label_names]

    def __call__(self, values: Mapping[str, Tensor], train: bool) -> Any:
        given: dict[str, Tensor] = {}
        for name, path in self.paths.items():
            x = values[name]
            # a Buffer on the executor's memory, so that what the module assigns arrives there
            given[path] = Buffer(x._bare) if name in self.states else x
        own = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        shadow = shadow_of(self.module, {id(own[path]): x for path, x in given.items()})
        shadow.train(train)
        return shadow(_one_or_all([values[name] for name in self.data_names]))


class _OfFunction(_Function):
    """A function: its arguments are inputs, their defaults first values."""

    def __init__(
        self, function: Callable[..., Any], data_names: Sequence[str], label_names: Sequence[str],
        loss: Any,
    ):  # fmt: skip
        super().__init__()
        self.function = function
        arguments = inspect.signature(function).parameters
        self.arguments = list(arguments)
        name = getattr(function, "__name__", "function")
        self.hint = name.lower() if name.isidentifier() else "function"
        self.names = [*arguments, *(n for n in label_names if loss is not None)]
        for one in data_names:
            if one not in arguments:
                known = ", ".join(arguments)
                raise ValueError(NO_INPUT.format(name=name, missing=one, known=known))
        self.first = {
            key: as_array(argument.default).asnumpy()
            for key, argument in arguments.items()
            if argument.default is not inspect.Parameter.empty
        }

    def __call__(self, values: Mapping[str, Tensor], train: bool) -> Any:
        return self.function(**{name: values[name] for name in self.arguments})


@custom_vjp
def _with_loss(data: Any, loss: Any) -> Any:
    """The data, as the output of a graph whose gradient is that of Σ loss."""
    return data * 1


_with_loss.vjp(data=None, loss=lambda g, loss: loss * 0 + 1)


def _shapes_on_zeros(
    body: Callable[..., list[Tensor]],
    call: Call,
    function: _Function,
    shapes: Sequence[PartialShape],
) -> list[PartialShape]:
    zeros = []
    for name, shape in zip(function.names, shapes, strict=True):
        first = function.first.get(name)
        dtype = np.float32 if first is None else first.dtype
        zeros.append(Tensor(np.zeros(shape or (), dtype)))
    with no_grad(), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [tuple(y.shape) or (1,) for y in body(call, *zeros)]


def _averages(loss: Any) -> bool:
    reduction = getattr(loss, "reduction", None)
    return bool(getattr(loss, "sizeAverage", False)) if reduction is None else reduction == "mean"


def _one_or_all(items: list[Any]) -> Any:
    return items[0] if len(items) == 1 else items


def _attributes(first: np.ndarray | None) -> dict[str, str]:
    """The shape and type of a variable that has first values."""
    if first is None:
        return {}
    shape = str(tuple(first.shape))
    return {"__shape__": shape, "__dtype__": str(TYPE_FLAGS.index(first.dtype.name))}
