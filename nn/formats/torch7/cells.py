"""The layers of torch/rnn, which it stores as the modules that they are made of.

A recurrent layer holds the network that computes one step.  Here it holds the learned modules of
that network alone: reading takes them out, after a look at whether it is the network expected;
writing builds it around them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.nn.containers.container import ConcatTable, ParallelTable, Sequential
from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError
from tapegrad.nn.formats.torch7.networks import in_mode_of, module_with, parts_of, step_of
from tapegrad.nn.formats.torch7.objects import Storage, Table, TorchObject
from tapegrad.nn.layers.activation import Identity, Sigmoid, Tanh
from tapegrad.nn.layers.dropout import Dropout
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.lookup import LookupTable
from tapegrad.nn.layers.pointwise import CMul, SAdd
from tapegrad.nn.layers.shape import Reshape
from tapegrad.nn.layers.table import (
    CAddTable,
    CMulTable,
    FlattenTable,
    JoinTable,
    NarrowTable,
    SelectTable,
    SplitTable,
)
from tapegrad.nn.module import Module
from tapegrad.nn.recurrent.layers import Gate, Peephole
from tapegrad.nn.recurrent.masking import LookupTableMaskZero

if TYPE_CHECKING:
    from collections.abc import Callable

    from tapegrad.nn.formats.torch7.entry import Fields

__all__ = [
    "read_fast_lstm",
    "read_gru",
    "read_linear_rnn",
    "read_lookup_rnn",
    "read_lstm",
    "read_recurrence",
    "write_fast_lstm",
    "write_gru",
    "write_linear_rnn",
    "write_lookup_rnn",
    "write_lstm",
    "write_masking",
    "write_step",
]

OTHER_STEP = (
    "the modules of a step as torch/rnn builds them, without dropout, batch normalization or "
    "nngraph"
)

# Steps ------------------------------------------------------------------------------------------


def read_fast_lstm(fields: Fields, _version: int) -> Fields:
    """The two Linears; dropout and batch normalization inside are refused."""
    return _read_cell_sizes(fields) | _linears(fields, _fast_lstm, ("i2g", "o2g"))


def read_gru(fields: Fields, _version: int) -> Fields:
    """The four Linears; dropout inside is refused."""
    return _read_cell_sizes(fields) | _linears(fields, _gru, ("i2g", "o2g", "i2h", "o2h"))


def read_lstm(fields: Fields, _version: int) -> Fields:
    """Three gates and the hidden layer, each with two Linears, and the gates' peepholes."""
    step = step_of(fields)
    for peepholes, dropout in ((True, True), (True, False), (False, True), (False, False)):
        size = 1
        wanted = _lstm([_gate_parts(Linear, CMul, size, peepholes) for _ in range(4)], dropout)
        found = _modules_below(step, len(_modules_below(wanted, 1000)))
        if [_module_signature(part) for part in found] == [
            _module_signature(p) for p in _modules_below(wanted, 1000)
        ]:
            break
    else:
        raise UnsupportedError(OTHER_STEP, _names(_modules_below(step, 100)))
    learned = [part for part in found if isinstance(part, (Linear, CMul))]
    result = _read_cell_sizes(fields)
    for name, has_cell in _GATES:
        linear, hidden = learned.pop(0), learned.pop(0)
        cell = None
        if has_cell and peepholes:
            weight = learned.pop(0).__dict__.get("weight")
            if weight is None:
                raise FormatError("a CMul with a weight", "one without")
            cell = module_with(Peephole, linear, weight=weight)
        result[name] = module_with(Gate, linear, input=linear, hidden=hidden, cell=cell)
    return result


def read_linear_rnn(fields: Fields, _version: int) -> Fields:
    """The Linear and the transfer function."""
    joined, linear, transfer = parts_of(step_of(fields), JoinTable, Linear, Module)
    if _module_signature(joined) != _module_signature(JoinTable(0, 1)):
        raise UnsupportedError(OTHER_STEP, repr(joined))
    return fields | {"modules": [linear, transfer]}


def read_lookup_rnn(fields: Fields, _version: int) -> Fields:
    """The weight of the LookupTable, the Linear and the transfer function."""
    both, _, transfer = parts_of(step_of(fields), ParallelTable, CAddTable, Module)
    table, linear = parts_of(both, (LookupTable, LookupTableMaskZero), Linear)
    weight = table.__dict__.get("weight")
    if weight is None:
        raise FormatError("a LookupTable with a weight", "one without")
    own = {"weight": weight, "modules": [linear, transfer], "inputsize": fields.get("nindex")}
    own |= {"maskzero": True} if isinstance(table, LookupTableMaskZero) else {}
    return {name: value for name, value in fields.items() if name != "nindex"} | own


def read_recurrence(fields: Fields, _version: int) -> Fields:
    """The size of an output is a table of sizes, or a storage; or a table of these."""
    size = fields.get("outputSize")
    if not _are_output_sizes(size) or not isinstance(fields.get("nInputDim"), int):
        raise FormatError("sizes called outputSize, and nInputDim", f"{size!r:.60}")
    step_of(fields)
    return fields | {"outputSize": size.array.tolist() if isinstance(size, Storage) else size}


def _are_output_sizes(value: Any) -> bool:
    if isinstance(value, Storage):
        return value.array.dtype.kind == "i" and value.array.size > 0
    if not isinstance(value, list) or not value:
        return False
    return all(type(n) is int and n > 0 for n in value) or all(
        isinstance(inner, list) and _are_output_sizes(inner) for inner in value
    )


def write_fast_lstm(module: Any, fields: Fields) -> Fields:
    """The two Linears as fields, and the step around them."""
    linears = (module.i2g, module.o2g)
    step = in_mode_of(_fast_lstm(*linears, module.outputsize), module, *linears)
    extra = {"cell2gate": True, "affine": True}
    return _write_cell(module, fields, step) | extra


def write_gru(module: Any, fields: Fields) -> Fields:
    """Two Linears as fields, and the step around all four."""
    linears = (module.i2g, module.o2g, module.i2h, module.o2h)
    step = in_mode_of(_gru(*linears, module.outputsize), module, *linears)
    fields = {name: value for name, value in fields.items() if name not in {"i2h", "o2h"}}
    return _write_cell(module, fields, step)


def write_lstm(module: Any, fields: Fields) -> Fields:
    """Add the step's network, and the parts of it that torch/rnn keeps as fields as well."""
    parts = []
    for name, _ in _GATES:
        gate = getattr(module, name)
        peephole = None
        if gate.cell is not None:
            peephole = module_with(CMul, gate, weight=gate.cell.weight)
        parts.append((gate.input, gate.hidden, peephole))
    if len({part[2] is None for part in (*parts[:2], parts[3])}) > 1:
        raise UnsupportedError("gates that all have a peephole, or none", "some of them")
    step = in_mode_of(_lstm(parts), module, *(part for gate in parts for part in gate))
    shown, hidden = step.modules[2].modules[0], step.modules[0].modules[1]
    forget, written = hidden.modules[0].modules
    named = {
        "forgetGate": forget.modules[0].modules[0],
        "inputGate": written.modules[0].modules[0],
        "hiddenLayer": written.modules[0].modules[1],
        "outputGate": shown.modules[0].modules[0],
        "cellLayer": hidden,
    }
    return _write_cell(module, fields, step) | named | {"cell2gate": parts[0][2] is not None}


def write_linear_rnn(module: Any, fields: Fields) -> Fields:
    """Add the step's network, made of the layer's Linear and transfer function."""
    step = Sequential(JoinTable(0, 1), *module.modules)
    return _recurrence(module, fields, step, *module.modules)


def write_lookup_rnn(module: Any, fields: Fields) -> Fields:
    """Add the step's network, made of a LookupTable and the layer's Linear and transfer."""
    linear, transfer = module.modules
    table: Any = LookupTableMaskZero(1, 1) if module.maskzero else LookupTable(1, 1)
    step = Sequential(ParallelTable(table, linear), CAddTable(), transfer)
    written = _recurrence(module, fields, step, linear, transfer)
    table.weight = module.weight
    kept = {k: v for k, v in written.items() if k not in {"weight", "inputsize", "maskzero"}}
    return kept | {"nindex": module.inputsize}


def write_step(module: Any, fields: Fields) -> Fields:
    """List the module that runs at every step among torch/rnn's clones for single steps."""
    return fields | {"sharedClones": list(module.modules)}


def write_masking(module: Any, fields: Fields) -> Fields:
    """Write the first version (v2 False) for a layer that makes its mask from the input.

    A layer of the second version is given its mask.
    """
    return {"maskzero": module.maskzero, "v2": not module.maskzero} | fields


def _recurrence(module: Any, fields: Fields, step: Any, *given: Any) -> Fields:
    """Add the fields by which torch/rnn's Recurrence holds the network of a step."""
    step = in_mode_of(step, module, *given)
    own = {"modules": [step], "sharedClones": [step], "outputSize": [module.outputsize]}
    return fields | own


def _read_cell_sizes(fields: Fields) -> Fields:
    """Return the sizes under the names that tapegrad uses.  Raises FormatError for no size."""
    sizes = {}
    for field, attribute in (("inputSize", "inputsize"), ("outputSize", "outputsize")):
        value = fields.get(field)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise FormatError(f"a size called {field}", f"{value!r:.60}")
        sizes[attribute] = value
    return sizes


def _linears(fields: Fields, build: Callable[..., Any], names: tuple[str, ...]) -> Fields:
    wanted = _modules_below(build(*[Linear(1, 1) for _ in names], 1), 1000)
    found = _modules_below(step_of(fields), len(wanted))
    if [_module_signature(part) for part in found] != [_module_signature(part) for part in wanted]:
        raise UnsupportedError(OTHER_STEP, _names(found))
    return dict(zip(names, (part for part in found if isinstance(part, Linear)), strict=True))


# The attributes that decide which entries of a table go where.
_DECIDING = ("index", "offset", "length", "dimension", "nInputDims", "addend", "negate", "p")


def _module_signature(part: Any) -> tuple[Any, ...]:
    """Return what two modules that compute the same share: class and attributes, but no sizes."""
    own = getattr(part, "__dict__", {})
    return (type(part), *(own.get(name) for name in _DECIDING))


def _names(parts: list[Any]) -> str:
    return ", ".join(type(part).__name__ for part in parts)[:200]


def _modules_below(root: Any, most: int) -> list[Any]:
    """Return a module and all below it, parents first, but at most one more than `most`."""
    found: list[Any] = []
    pending = [root]
    while pending and len(found) <= most:
        part = pending.pop()
        found.append(part)
        below = [] if isinstance(part, (Table, TorchObject)) else _children_of(part)
        pending.extend(reversed(below))
    return found


def _children_of(module: Any) -> list[Any]:
    below = getattr(module, "__dict__", {}).get("modules", [])
    return below if isinstance(below, list) else []


def _write_cell(module: Any, fields: Fields, step: Any) -> Fields:
    """Add the step's network, and write the sizes under the names that torch/rnn has."""
    fields = {k: v for k, v in fields.items() if k not in {"inputsize", "outputsize"}}
    return fields | {
        "inputSize": module.inputsize,
        "outputSize": module.outputsize,
        "modules": [step],
        "sharedClones": [step],
        "p": 0,
        "mono": False,
    }


def _fast_lstm(i2g: Any, o2g: Any, size: int) -> Any:
    """[x, h, c] -> [h', c']."""
    each, both, chain = ParallelTable, ConcatTable, Sequential
    gates = chain(
        NarrowTable(0, 2),
        each(i2g, o2g),
        CAddTable(),
        Reshape(4, size),
        SplitTable(0, 2),
        each(Sigmoid(), Tanh(), Sigmoid(), Sigmoid()),
    )
    written = chain(NarrowTable(0, 2), CMulTable())
    kept = chain(both(SelectTable(2), SelectTable(4)), CMulTable())
    shown = chain(
        both(chain(SelectTable(0), Tanh()), SelectTable(1)),
        CMulTable(),
    )
    return chain(
        both(gates, SelectTable(2)),
        FlattenTable(),
        both(chain(both(written, kept), CAddTable()), SelectTable(3)),
        FlattenTable(),
        both(shown, SelectTable(0)),
    )


def _gru(i2g: Any, o2g: Any, i2h: Any, o2h: Any, size: int) -> Any:
    """[x, h] -> h'."""
    each, both, chain = ParallelTable, ConcatTable, Sequential
    gates = chain(
        each(i2g, o2g),
        CAddTable(),
        Reshape(2, size),
        SplitTable(0, 2),
        each(Sigmoid(), Sigmoid()),
    )
    reset = chain(NarrowTable(1, 2), CMulTable(), o2h)
    candidate = chain(both(chain(SelectTable(0), i2h), reset), CAddTable(), Tanh())
    share = chain(SelectTable(3), SAdd(-1, negate=True))
    mixed = chain(
        both(
            chain(both(candidate, share), CMulTable()),
            chain(NarrowTable(3, 2), CMulTable()),
        ),
        CAddTable(),
    )
    return chain(
        both(Identity(), gates),
        FlattenTable(),
        both(NarrowTable(0, 4), SelectTable(1)),
        FlattenTable(),
        mixed,
    )


# The gates of an LSTM in the order in which they stand in its step, and whether they see the cell.
_GATES = (("forgetGate", True), ("inputGate", True), ("hiddenLayer", False), ("outputGate", True))


def _gate_parts(linear: Any, cmul: Any, size: int, peepholes: bool) -> tuple[Any, Any, Any]:
    """Return the modules of a gate that have parameters: two Linears, and a CMul or None."""
    return linear(size, size), linear(size, size), cmul(size) if peepholes else None


def _lazy_dropout() -> Any:
    """Return a Dropout(0) with the fields of one that keeps its mask from step to step."""
    dropout: Any = Dropout(0)
    dropout.lazy, dropout.flag, dropout.mono = True, True, False
    return dropout


def _lstm(gates: list[tuple[Any, Any, Any]], dropout: bool = True) -> Any:
    """[x, h, c] -> [h', c'].

    dropout: whether a Dropout(0) stands in front of each Linear, as in all but old files
    """
    each, both, chain = ParallelTable, ConcatTable, Sequential

    def sums(linear: Any, hidden: Any, peephole: Any, transfer: Any) -> Any:
        parts = [chain(_lazy_dropout(), p) if dropout else p for p in (linear, hidden)]
        start = [] if peephole is not None else [NarrowTable(0, 2)]
        parts += [] if peephole is None else [peephole]
        return chain(*start, each(*parts), CAddTable(), transfer)

    forget, write, hidden, show = gates
    kept = chain(both(sums(*forget, Sigmoid()), SelectTable(2)), CMulTable())
    inner = sums(*hidden[:2], None, Tanh())
    written = chain(both(sums(*write, Sigmoid()), inner), CMulTable())
    cell = chain(both(kept, written), CAddTable())
    activated = chain(SelectTable(2), Tanh())
    shown = chain(both(sums(*show, Sigmoid()), activated), CMulTable())
    return chain(
        both(NarrowTable(0, 2), cell),
        FlattenTable(),
        both(shown, SelectTable(2)),
    )
