"""network_of: a module as a Network of its leaf layers, its containers taken apart.

Containers say how values flow and compute nothing, so each is a rule from the values that flow in
to those that flow out: a value, or a list of values for a table.  What only picks entries of tables
(SelectTable, FlattenTable, Identity, …) is such a rule too.  With an example the values carry
arrays, and every leaf runs once: then tables of unknown length, Bottle and shapes are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, no_grad
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.containers.container import (
    Concat,
    ConcatTable,
    MapTable,
    Parallel,
    ParallelTable,
    Sequential,
)
from tapegrad.nn.containers.decorators import (
    GPU,
    Bottle,
    Checkpoint,
    Decorator,
    DontCast,
    NaN,
    Profile,
    SpectralNorm,
    WeightNorm,
)
from tapegrad.nn.containers.graph import gModule
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.hooks import HOOKS
from tapegrad.nn.core.timing import TIME
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.common.modes import evaluating
from tapegrad.nn.formats.common.network import (
    Network,
    NetworkNode,
    NetworkValue,
    type_of_array,
    unused_name,
)
from tapegrad.nn.layers.activation import Identity
from tapegrad.nn.layers.indexing import Select
from tapegrad.nn.layers.rearranging import InferReshape
from tapegrad.nn.layers.shape import Flatten
from tapegrad.nn.layers.table import (
    FlattenTable,
    JoinTable,
    NarrowTable,
    SelectTable,
    ZipTable,
    ZipTableOneToMany,
)

if TYPE_CHECKING:
    from tapegrad.nn.module import Module

__all__ = ["network_of"]

HAS_MODULES = "a module of layers and containers whose graph is known"
UNKNOWN_TABLE = "an example input, since the length of a table is not known without one"
NESTED = "tables of arrays; nested ones can be flattened by FlattenTable"


class Wire:
    """A value that flows, and its array or table where an example is run."""

    def __init__(self, value: NetworkValue, data: Any = None) -> None:
        self.value, self.data = value, data


Flow: TypeAlias = "Wire | list[Flow]"


def network_of(module: Module, *examples: Any, leaves: Sequence[type] = ()) -> Network:
    """The leaf layers of a module, with their edges and unique names.

    examples: the inputs, as arrays or as shapes with the batch, (1, 3, 224, 224), which are filled
              with zeros of the module's dtype; a list for a table.  Several are a table.  The
              module runs once on them, in evaluate mode and without a tape.  Without any, a graph
              with several inputs has these, any other module one
    leaves:   classes of containers that the format takes whole (Recurrent, …)
    Nodes are called what `setName` says, else by their class and a number: "Linear1".  Inputs are
    called "data", or "data0", "data1", …, or what a graph's first layer is called.  Identity,
    SelectTable and what else only passes values on leave no node.
    Raises UnsupportedError, with class and place, for a module with modules inside that is no
    container known here, for hooks, and where an example is needed.
    """
    taker = _Taker(module, leaves)
    with evaluating(module), no_grad():
        return taker.network(_inputs(module, examples))


def _inputs(module: Module, examples: tuple[Any, ...]) -> Any:
    """The example, or None."""
    if not examples:
        return None
    floats = [p.dtype for _, p in module.named_parameters() if p.dtype.kind == "f"]
    dtype = floats[0] if floats else default_dtype()

    def array(each: Any) -> Any:
        if isinstance(each, Tensor):
            return each.detach()
        if isinstance(each, (list, tuple)) and not all(isinstance(n, int) for n in each):
            return [array(part) for part in each]
        if isinstance(each, (list, tuple)):
            return Tensor(np.zeros(tuple(each), dtype))
        return Tensor(np.asarray(each))

    made = [array(each) for each in examples]
    return made[0] if len(made) == 1 else made


class _Taker:
    """One walk through a module."""

    def __init__(self, root: Module, leaves: Sequence[type]) -> None:
        self.root, self.leaves = root, tuple(leaves)
        self.nodes: list[NetworkNode] = []
        self.types: dict[NetworkValue, Any] = {}
        self.names = {m.getName() for m in root.listModules() if m.hasName()}
        self.taken: set[str] = set()
        self.counts: dict[str, int] = {}
        self.inputs: dict[NetworkValue, str] = {}
        self.runs = False

    def network(self, example: Any) -> Network:
        self.runs = example is not None
        flow = self._start(example)
        out = self.flow(self.root, flow, "")
        wires = out if isinstance(out, list) else [out]
        for wire in wires:
            if isinstance(wire, list):
                raise UnsupportedError(NESTED, "a nested table as output")
        used = self._used_inputs([w for w in wires if isinstance(w, Wire)])
        renamed = {value: NetworkValue(name) for value, name in used.items()}
        for each in self.nodes:
            each.inputs = tuple(renamed.get(value, value) for value in each.inputs)
        outputs = tuple(renamed.get(w.value, w.value) for w in wires if isinstance(w, Wire))
        types = {renamed.get(value, value): kind for value, kind in self.types.items()}
        return Network(self.nodes, tuple(used.values()), outputs, types)

    def _start(self, example: Any) -> Flow:
        count = self.root.nInputs if isinstance(self.root, gModule) else 1
        if isinstance(example, list):
            return [self._input(NetworkValue("", i), part) for i, part in enumerate(example)]
        if count > 1 and example is None:
            return [self._input(NetworkValue("", i), None) for i in range(count)]
        return self._input(NetworkValue(""), example)

    def _input(self, value: NetworkValue, data: Any) -> Flow:
        if isinstance(data, list):
            raise UnsupportedError(NESTED, "a nested table as input")
        self.inputs[value] = ""
        if data is not None:
            self.types[value] = type_of_array(data)
        return Wire(value, data)

    def name_input(self, value: NetworkValue, name: str) -> None:
        """Call an input of the network as the first layer that takes it is called."""
        if value.name == "":
            self.inputs[value] = self.inputs.get(value) or name

    def _used_inputs(self, outputs: list[Wire]) -> dict[NetworkValue, str]:
        """The inputs of the network, with names: those of `_start`, or entries of its table."""
        read = [value for each in self.nodes for value in each.inputs if value.name == ""]
        read += [wire.value for wire in outputs if wire.value.name == ""]
        found = dict(self.inputs)
        if (entries := sorted({v for v in read if v.entry is not None})) and NetworkValue(
            ""
        ) in found:
            if NetworkValue("") in read:
                raise UnsupportedError(UNKNOWN_TABLE, "an input that is an array and a table")
            last = max(v.entry or 0 for v in entries)
            found = {
                NetworkValue("", i): found.get(NetworkValue("", i), "") for i in range(last + 1)
            }
        for number, value in enumerate(found):
            wanted = self.inputs.get(value) or ("data" if len(found) == 1 else f"data{number}")
            found[value] = unused_name(wanted, self.taken)
        return found

    # Containers -----------------------------------------------------------------------------------

    def flow(self, module: Any, flow: Flow, place: str) -> Flow:
        """What comes out of a module for what flows in."""
        hooks = vars(module).get(HOOKS) or {}
        if any(kind != TIME and there for kind, there in hooks.items()):
            raise self.refusal("a module without hooks", module, place)
        if type(module) in self.leaves:
            return self.leaf(module, flow, place)
        for cls, rule in RULES.items():
            if _runs_code_of(module, cls):
                return rule(self, module, flow, place)
        if len(module.listModules()) > 1:
            raise self.refusal(HAS_MODULES, module, place)
        return self.leaf(module, flow, place)

    def leaf(self, module: Any, flow: Flow, place: str, name: str = "") -> Flow:
        """A node for a leaf layer."""
        wires = flow if isinstance(flow, list) else [flow]
        if any(isinstance(wire, list) for wire in wires):
            raise self.refusal(NESTED, module, place)
        name = unused_name(name or self._name(module), self.taken)
        inputs = tuple(wire.value for wire in wires if isinstance(wire, Wire))
        self.nodes.append(NetworkNode(name, module, inputs, isinstance(flow, list), place))
        if not self.runs:
            return Wire(NetworkValue(name))
        try:
            result = module(_data_of(flow))
        except ShapeError as error:
            raise UnsupportedError(f"an example that fits: {error}", path=_path(place)) from None
        return self._wires(NetworkValue(name), result, module, place)

    def _wires(self, value: NetworkValue, result: Any, module: Any, place: str) -> Flow:
        if not isinstance(result, (list, tuple)):
            self.types[value] = type_of_array(result)
            return Wire(value, result)
        wires: list[Flow] = []
        for i, part in enumerate(result):
            if isinstance(part, (list, tuple)):
                raise self.refusal(NESTED, module, place)
            wires.append(self._wires(NetworkValue(value.name, i), part, module, place))
        return wires

    def _name(self, module: Any) -> str:
        if module.hasName():
            name: str = module.getName()
            return name
        kind = type(module).__name__
        while True:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            name = f"{kind}{self.counts[kind]}"
            if name not in self.names:
                return name

    def entries(self, flow: Flow, count: int, module: Any, place: str) -> list[Flow]:
        """The entries of a table, `count` of them or at least that many."""
        if isinstance(flow, list):
            if len(flow) < count:
                raise self.refusal(f"a table of {count}", module, place)
            return flow
        if self.runs:
            raise self.refusal("a table", module, place)
        return [self.entry(flow, i) for i in range(count)]

    def entry(self, flow: Flow, index: int) -> Flow:
        if isinstance(flow, list):
            return flow[index]
        if flow.value.entry is not None:
            raise UnsupportedError(NESTED, f"an entry of {flow.value}")
        return Wire(NetworkValue(flow.value.name, index))

    def known(self, flow: Flow, module: Any, place: str) -> list[Flow]:
        """A table whose length is known."""
        if isinstance(flow, list):
            return flow
        raise self.refusal("a table" if self.runs else UNKNOWN_TABLE, module, place)

    def refusal(self, expected: str, module: Any, place: str) -> UnsupportedError:
        return UnsupportedError(expected, f"nn.{type(module).__name__}", path=_path(place))


def _path(place: str) -> str:
    return f"model{place}"


def _data_of(flow: Flow) -> Any:
    return [_data_of(part) for part in flow] if isinstance(flow, list) else flow.data


def _runs_code_of(module: Any, cls: type) -> bool:
    """Whether the module runs the forward code of the class, not that of a class of its own."""
    code = getattr(type(module), "updateOutput", None)
    return isinstance(module, cls) and code is getattr(cls, "updateOutput", None)


# Rules: how values flow through a container


def _sequential(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    for i, child in enumerate(module.modules):
        flow = taker.flow(child, flow, f"{place}[{i}]")
    return flow


def _branches(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    return [taker.flow(m, flow, f"{place}[{i}]") for i, m in enumerate(module.modules)]


def _joined(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    branches = _branches(taker, module, flow, place)
    return taker.leaf(JoinTable(module.dimension), branches, place, _own_name(module))


def _own_name(module: Any) -> str:
    return module.getName() if module.hasName() else ""


def _side_by_side(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    parts = taker.entries(flow, len(module.modules), module, place)
    return [
        taker.flow(m, part, f"{place}[{i}]")
        for i, (m, part) in enumerate(zip(module.modules, parts, strict=True))
    ]


def _mapped(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    parts = taker.known(flow, module, place)
    modules = module.modules[:1] * len(parts) if module.shared else module.modules
    if len(modules) < len(parts):
        raise taker.refusal(f"a copy of the module for each of {len(parts)} entries", module, place)
    return [
        taker.flow(m, part, f"{place}[{i}]")
        for i, (m, part) in enumerate(zip(modules, parts, strict=False))
    ]


def _sliced(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    branches: list[Flow] = []
    for i, child in enumerate(module.modules):
        part = taker.leaf(Select(module.inputDimension, i), flow, place)
        branches.append(taker.flow(child, part, f"{place}[{i}]"))
    return taker.leaf(JoinTable(module.outputDimension), branches, place)


def _graph(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    parts = [flow] if module.nInputs == 1 else taker.entries(flow, module.nInputs, module, place)
    flows: list[Flow] = []
    for step in module.steps:
        values = [flows[parent] for parent in step.parents]
        if step.input is not None:
            values = [parts[step.input]]
            first = module.modules[step.module] if step.module is not None else None
            if isinstance(first, Identity) and first.hasName() and isinstance(values[0], Wire):
                taker.name_input(values[0].value, first.getName())
        value: Flow = values[0] if len(values) == 1 else list(values)
        if step.selected is not None:
            value = taker.entry(value, step.selected)
        if step.module is not None:
            value = taker.flow(module.modules[step.module], value, f"{place}[{step.module}]")
        flows.append(value)
    results = [flows[number] for number in module.outputs]
    return results[0] if len(results) == 1 else results


def _inner(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    return taker.flow(module.modules[0], flow, f"{place}[0]")


def _uncast(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    if module.castin or module.castout:
        raise taker.refusal("DontCast that converts nothing", module, place)
    return _inner(taker, module, flow, place)


def _weight_computed(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    """The layer inside, a copy whose weight is a Parameter with today's values."""
    layer = module.modules[0]
    plain = object.__new__(type(layer))
    plain.__dict__.update({k: v for k, v in vars(layer).items() if k != "weight"})
    plain.weight = Parameter(array_of(module._weight().detach()).copy())  # noqa: SLF001  # a decorator
    return taker.flow(plain, flow, f"{place}[0]")


def _bottle(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    if not isinstance(flow, Wire) or flow.data is None:
        raise taker.refusal("an example input, which says how many axes are folded", module, place)
    shape = flow.data.shape
    folded = len(shape) - module.nInputDim + 1
    if folded <= 1:
        return _inner(taker, module, flow, place)
    flow = taker.leaf(Flatten(0, folded - 1), flow, place)
    flow = taker.flow(module.modules[0], flow, f"{place}[0]")
    if not isinstance(flow, Wire):
        raise taker.refusal(NESTED, module, place)
    sizes = (-1, *shape[1:folded], *flow.data.shape[1:])
    return taker.leaf(InferReshape(sizes, False), flow, place)


def _selected(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    if not isinstance(module.index, int):
        raise taker.refusal("a number of an entry", module, place)
    if module.index < 0:
        return taker.known(flow, module, place)[module.index]
    return taker.entries(flow, module.index + 1, module, place)[module.index]


def _narrowed(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    stop = module.offset + module.length
    return taker.entries(flow, stop, module, place)[module.offset : stop]


def _flattened(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    found: list[Flow] = []
    waiting = [flow]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each[::-1]
        else:
            found.append(each)
    if not isinstance(flow, list):
        return taker.known(flow, module, place)
    return found


def _zipped(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    parts = [taker.known(part, module, place) for part in taker.known(flow, module, place)]
    return [list(each) for each in zip(*parts, strict=True)]


def _zipped_to_many(taker: _Taker, module: Any, flow: Flow, place: str) -> Flow:
    one, many = taker.entries(flow, 2, module, place)
    return [[one, other] for other in taker.known(many, module, place)]


def _passed(_taker: _Taker, _module: Any, flow: Flow, _place: str) -> Flow:
    return flow


RULES: dict[type, Callable[[_Taker, Any, Flow, str], Flow]] = {
    Sequential: _sequential,
    ConcatTable: _branches,
    Concat: _joined,
    ParallelTable: _side_by_side,
    MapTable: _mapped,
    Parallel: _sliced,
    gModule: _graph,
    Checkpoint: _inner,
    NaN: _inner,
    Profile: _inner,
    GPU: _inner,
    DontCast: _uncast,
    WeightNorm: _weight_computed,
    SpectralNorm: _weight_computed,
    Bottle: _bottle,
    Decorator: _inner,  # a subclass that adds nothing around the call
    Identity: _passed,
    SelectTable: _selected,
    NarrowTable: _narrowed,
    FlattenTable: _flattened,
    ZipTable: _zipped,
    ZipTableOneToMany: _zipped_to_many,
}
