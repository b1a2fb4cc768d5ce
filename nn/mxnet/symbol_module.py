"""SymbolModule: a symbol with its parameters as an nn.Module."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.core.tree import leaves
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.module import Module
from tapegrad.nn.mxnet.context import cpu
from tapegrad.nn.mxnet.errors import MXNetError, MXNetValueError
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
from tapegrad.nn.mxnet.symbol.inference import known
from tapegrad.nn.mxnet.symbol.running import RunPlan
from tapegrad.nn.mxnet.symbol.symbol import Symbol, load_json

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.symbol.graph import SymbolNode

__all__ = ["SymbolLayer", "SymbolModule"]

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
Completed = tuple[dict[str, tuple[int, ...]], dict[int, tuple[int, ...]]]
_MOST_SHAPES = 64  # of inputs whose consequences a plan remembers


class SymbolLayer(Module):
    """The parameters of one operator of a SymbolModule, under the names of its inputs.

    kind: the operator's name.  Raises NotImplementedError when it is called: only the whole runs.
    """

    def __init__(self, kind: str):
        self.kind = kind

    def updateOutput(self, *inputs: Any) -> Tensor:
        raise NotImplementedError(
            f"the parameters of {self.kind} run with their model; for a part of it take "
            "symbol.get_internals()[name] and make a SymbolModule"
        )

    updateOutput.abstract = True  # type: ignore[attr-defined]  # a mark: the laws skip this one

    def __repr__(self) -> str:
        return f"mxnet.SymbolLayer ({self.kind})"


class SymbolModule(Module):
    """A symbol with its parameters: an nn.Module with the names of its layers.

    symbol:     an mx.sym.Symbol, or the text of symbol.json
    arg_params: arrays by the names of variables: they become Parameters, "fc1_weight" of the
                operator fc1 as ``module.fc1.weight``
    aux_params: running means and the like, which become Buffers; training moves them in `forward`
    copy:       False lets both lie in the memory of the arrays that were given
    All other variables are inputs, `input_names`, in the order in which the symbol needs them.
    Labels of loss heads come last, and may be left out: the output of such a head needs none.
    Gives the symbol's output, or a list of several.  A state that begins as zeros of unknown size
    takes the size of the data.  Raises MXNetError for an array whose name no variable has; in a
    call MXNetError that is a ValueError for other numbers of inputs and shapes that do not fit.
    """

    # And its layers, under their own names.
    keeps = ("symbol_text", "layers", "places", "input_names", "label_names")

    def __init__(
        self,
        symbol: Symbol | str,
        arg_params: Mapping[str, Any] | None = None,
        aux_params: Mapping[str, Any] | None = None,
        *,
        copy: bool = True,
    ):
        graph = load_json(symbol) if isinstance(symbol, str) else symbol
        self.symbol_text = graph.tojson()
        arg_params, aux_params = dict(arg_params or {}), dict(aux_params or {})
        variables = {n.name: n for n in graph.nodes if n.op is None}
        unknown = [name for name in (*arg_params, *aux_params) if name not in variables]
        if unknown:
            raise MXNetError(f"the symbol has no variable {unknown[0]!r}")
        users = _users(graph)
        self.layers: dict[str, SymbolLayer] = {}
        self.places: dict[str, list[str]] = {}
        for name in variables:
            is_state = name in aux_params
            if is_state or name in arg_params:
                value = _values(aux_params[name] if is_state else arg_params[name], copy)
                learned = not is_state and value.dtype.kind in "fc"
                self._put(name, users.get(name), Parameter(value) if learned else Buffer(value))
        free = [name for name in graph.list_arguments() if name not in self.places]
        missing = [name for name in graph.list_auxiliary_states() if name not in self.places]
        if missing:
            raise MXNetError(f"the state {missing[0]!r} has no value: give it in aux_params")
        labels = [name for name in free if _is_label(users.get(name), name)]
        self.input_names = [name for name in free if name not in labels] + labels
        self.label_names = labels

    def _put(self, name: str, user: SymbolNode | None, value: Tensor) -> None:
        """Set a Parameter or Buffer: as an attribute of its layer, or of the module itself."""
        layer = user.name if user is not None else ""
        key = name.removeprefix(f"{layer}_")
        if user is None or user.op is None or key == name or not _free(SymbolLayer, key):
            self.places[name] = ["", name]
            if _free(type(self), name) and not hasattr(self, name):
                setattr(self, name, value)
            else:
                self.layers.setdefault("", SymbolLayer("variables"))
                self.places[name] = ["", f"v{len(self.places)}"]
                setattr(self.layers[""], self.places[name][1], value)
            return
        holder = self._layer(layer)
        if holder is None:
            holder = SymbolLayer(user.op.name)
            if _free(type(self), layer) and not hasattr(self, layer):
                setattr(self, layer, holder)
            else:
                self.layers[layer] = holder
        setattr(holder, key, value)
        self.places[name] = [layer, key]

    def _layer(self, name: str) -> SymbolLayer | None:
        found = self.layers.get(name, vars(self).get(name))
        return found if isinstance(found, SymbolLayer) else None

    def variable(self, name: str) -> Tensor:
        """The Parameter or Buffer of a variable, by MXNet's name.  Raises KeyError for another."""
        layer, key = self.places[name]
        holder: Any = self if not layer and key in vars(self) else self._layer(layer)
        found = vars(holder).get(key) if holder is not None else None
        if not isinstance(found, Tensor):
            raise KeyError(name)
        return found

    @property
    def symbol(self) -> Symbol:
        """The symbol."""
        return load_json(self.symbol_text)

    def arg_params(self) -> dict[str, NDArray]:
        """Copies of the Parameters by MXNet's names, in the symbol's order."""
        return _copies(self.variables()[0])

    def aux_params(self) -> dict[str, NDArray]:
        """Copies of the states by MXNet's names, in the symbol's order."""
        return _copies(self.variables()[1])

    def variables(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(Parameters, states) themselves by MXNet's names, in the symbol's order."""
        names = self.symbol.list_arguments(), self.symbol.list_auxiliary_states()
        parameters, states = (
            {n: self.variable(n) for n in part if n in self.places} for part in names
        )
        return parameters, states

    def updateOutput(self, *inputs: Any) -> Any:
        given = [x for x in leaves(list(inputs)) if x is not None]
        names, least = self.input_names, len(self.input_names) - len(self.label_names)
        if not least <= len(given) <= len(names):
            raise MXNetValueError(
                f"the inputs are {', '.join(names)}; {len(given)} were given, and only the last "
                f"{len(self.label_names)} may be left out"
            )
        values = {name: self.variable(name) for name in self.places}
        values |= dict(zip(names, given, strict=False))
        plan = _plan(self.symbol_text)
        filled: dict[int, tuple[int, ...]] = {}
        if len(given) < len(names) or plan.open:
            shapes = tuple((name, tuple(x.shape)) for name, x in values.items())
            missing, filled = plan.completed(shapes)
            like = given[0].dtype if given else np.dtype(np.float32)
            for name in names[len(given) :]:
                values[name] = Tensor(np.zeros(missing[name], like))
        generator = devices.generator(given[0].device) if given else None
        run = plan(values, train=bool(self.train), generator=generator, filled=filled)
        for name, value in run.writes.items():
            state = values[name]
            if isinstance(state, Buffer):  # of a Parameter, γ that is held at 1: it stays
                state.assign(value.detach())
        return run.outputs[0] if len(run.outputs) == 1 else run.outputs

    def __repr__(self) -> str:
        names = ", ".join(self.input_names)
        return f"mxnet.SymbolModule ({names} -> {', '.join(self.symbol.list_outputs())})"


class _OpenRunPlan(RunPlan):
    """A RunPlan that knows whether some of its nodes take their shapes from the data."""

    def __init__(self, symbol: Symbol):
        super().__init__(symbol.heads)
        self.symbol = symbol
        self.opened = [
            node
            for node in self.nodes
            if node.op is not None and not node.inputs
            and not known(getattr(node.read, "shape", (1,)))
        ]  # fmt: skip
        self.open = bool(self.opened)
        self._known: dict[Shapes, Completed] = {}

    def completed(self, shapes: Shapes) -> Completed:
        """(shapes of all variables, whole shapes of nodes that take them from the data)."""
        if shapes not in self._known:
            found = self.symbol.shapes(dict(shapes))
            unknown = found.unknown()
            if unknown:
                raise MXNetValueError(
                    f"the shape of {', '.join(unknown)} does not follow from the inputs'"
                )
            variables = {n.name: tuple(found[n, 0] or ()) for n in found.nodes if n.op is None}
            if len(self._known) >= _MOST_SHAPES:
                self._known.clear()
            self._known[shapes] = (
                variables, {id(n): tuple(found[n, 0] or ()) for n in self.opened}
            )  # fmt: skip
        return self._known[shapes]


@functools.lru_cache(maxsize=32)
def _plan(text: str) -> _OpenRunPlan:
    return _OpenRunPlan(load_json(text))


def _users(graph: Symbol) -> dict[str, SymbolNode]:
    """Variable -> the first node that takes it."""
    found: dict[str, SymbolNode] = {}
    for node in graph.nodes:
        for child, _ in node.inputs:
            if child.op is None:
                found.setdefault(child.name, node)
    return found


def _is_label(user: SymbolNode | None, name: str) -> bool:
    """Whether a variable is the label of a loss head."""
    if user is None or user.op is None or not user.op.loss(user.read):
        return False
    at = [child.name for child, _ in user.inputs].index(name)
    return user.input_names[at] == "label"


def _free(cls: type, name: str) -> bool:
    """Whether an attribute of this name hides nothing of the class."""
    return name.isidentifier() and not name.startswith("_") and not hasattr(cls, name)


def _copies(variables: dict[str, Tensor]) -> dict[str, NDArray]:
    return {name: NDArray(Tensor(np.array(x.numpy())), cpu()) for name, x in variables.items()}


def _values(x: Any, copy: bool) -> np.ndarray:
    if isinstance(x, NDArray):
        return x.asnumpy() if copy else x.tensor.numpy()
    return np.array(x) if copy else np.asarray(x)
