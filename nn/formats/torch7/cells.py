"""The layers of torch/rnn, which it stores as the modules that they are made of.

A recurrent layer holds the network that computes one step.  Here it holds the learned modules of
that network alone: reading takes them out, after a look at whether it is the network expected;
writing builds it around them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from tapegrad.nn.containers.container import Container
from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError
from tapegrad.nn.formats.torch7.networks import like, module_with, parts_of
from tapegrad.nn.formats.torch7.objects import Table, TorchObject
from tapegrad.nn.module import Module
from tapegrad.nn.recurrent.over_time import MODES

__all__ = [
    "HELPERS",
    "read_bi_sequencer",
    "read_bidirectional",
    "read_criterion_over_time",
    "read_fast_lstm",
    "read_gru",
    "read_linear_rnn",
    "read_lookup_rnn",
    "read_lstm",
    "read_mask_zero_criterion",
    "read_remembering",
    "read_repeater_criterion",
    "write_bi_sequencer",
    "write_bidirectional",
    "write_criterion_over_time",
    "write_fast_lstm",
    "write_gru",
    "write_linear_rnn",
    "write_lookup_rnn",
    "write_lstm",
    "write_mask_zero_criterion",
    "write_masking",
    "write_step",
]

Fields = dict[str, Any]

OTHER_STEP = (
    "the modules of a step as torch/rnn builds them, without dropout, batch normalization or "
    "nngraph"
)
PER_STEP = (
    "a merge that does the same to a step as to a sequence: CAddTable or another of these tables "
    "of single entries, or a JoinTable along an axis counted from the end"
)


# Steps ------------------------------------------------------------------------------------------


def read_fast_lstm(fields: Fields, _version: int) -> Fields:
    """The two Linears; dropout and batch normalization inside are refused."""
    return _sizes(fields) | _linears(fields, _fast_lstm, ("i2g", "o2g"))


def read_gru(fields: Fields, _version: int) -> Fields:
    """The four Linears; dropout inside is refused."""
    return _sizes(fields) | _linears(fields, _gru, ("i2g", "o2g", "i2h", "o2h"))


def read_lstm(fields: Fields, _version: int) -> Fields:
    """Three gates and the hidden layer, each with two Linears, and the gates' peepholes."""
    from tapegrad.nn import CMul, Linear
    from tapegrad.nn.recurrent.layers import Gate, Peephole

    step = _step(fields)
    for peepholes, dropout in ((True, True), (True, False), (False, True), (False, False)):
        size = 1
        wanted = _lstm([_gate_parts(Linear, CMul, size, peepholes) for _ in range(4)], dropout)
        found = _parts(step, len(_parts(wanted, 1000)))
        if [_signature(part) for part in found] == [_signature(p) for p in _parts(wanted, 1000)]:
            break
    else:
        raise UnsupportedError(OTHER_STEP, _names(_parts(step, 100)))
    learned = [part for part in found if isinstance(part, (Linear, CMul))]
    result = _sizes(fields)
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
    from tapegrad.nn import JoinTable, Linear

    joined, linear, transfer = parts_of(_step(fields), JoinTable, Linear, Module)
    if _signature(joined) != _signature(JoinTable(0, 1)):
        raise UnsupportedError(OTHER_STEP, repr(joined))
    return fields | {"modules": [linear, transfer]}


def read_lookup_rnn(fields: Fields, _version: int) -> Fields:
    """The weight of the LookupTable, the Linear and the transfer function."""
    from tapegrad.nn import CAddTable, Linear, LookupTable, ParallelTable

    both, _, transfer = parts_of(_step(fields), ParallelTable, CAddTable, Module)
    table, linear = parts_of(both, LookupTable, Linear)
    weight = table.__dict__.get("weight")
    if weight is None:
        raise FormatError("a LookupTable with a weight", "one without")
    own = {"weight": weight, "modules": [linear, transfer], "inputsize": fields.get("nindex")}
    return {name: value for name, value in fields.items() if name != "nindex"} | own


def write_fast_lstm(module: Any, fields: Fields) -> Fields:
    """The two Linears as fields, and the step around them."""
    linears = (module.i2g, module.o2g)
    step = like(_fast_lstm(*linears, module.outputsize), module, *linears)
    extra = {"cell2gate": True, "affine": True}
    return _stored(module, fields, step) | extra


def write_gru(module: Any, fields: Fields) -> Fields:
    """Two Linears as fields, and the step around all four."""
    linears = (module.i2g, module.o2g, module.i2h, module.o2h)
    step = like(_gru(*linears, module.outputsize), module, *linears)
    fields = {name: value for name, value in fields.items() if name not in {"i2h", "o2h"}}
    return _stored(module, fields, step)


def write_lstm(module: Any, fields: Fields) -> Fields:
    """The step, and as fields the parts of it that torch/rnn names."""
    from tapegrad.nn import CMul

    parts = []
    for name, _ in _GATES:
        gate = getattr(module, name)
        peephole = None
        if gate.cell is not None:
            peephole = module_with(CMul, gate, weight=gate.cell.weight)
        parts.append((gate.input, gate.hidden, peephole))
    if len({part[2] is None for part in (*parts[:2], parts[3])}) > 1:
        raise UnsupportedError("gates that all have a peephole, or none", "some of them")
    step = like(_lstm(parts), module, *(part for gate in parts for part in gate))
    shown, hidden = step.modules[2].modules[0], step.modules[0].modules[1]
    forget, written = hidden.modules[0].modules
    named = {
        "forgetGate": forget.modules[0].modules[0],
        "inputGate": written.modules[0].modules[0],
        "hiddenLayer": written.modules[0].modules[1],
        "outputGate": shown.modules[0].modules[0],
        "cellLayer": hidden,
    }
    return _stored(module, fields, step) | named | {"cell2gate": parts[0][2] is not None}


def write_linear_rnn(module: Any, fields: Fields) -> Fields:
    """The step around the Linear and the transfer function."""
    from tapegrad.nn import JoinTable, Sequential

    step = Sequential(JoinTable(0, 1), *module.modules)
    return _recurrence(module, fields, step, *module.modules)


def write_lookup_rnn(module: Any, fields: Fields) -> Fields:
    """The step around the LookupTable, the Linear and the transfer function."""
    from tapegrad.nn import CAddTable, LookupTable, ParallelTable, Sequential

    linear, transfer = module.modules
    table = LookupTable(1, 1)
    step = Sequential(ParallelTable(table, linear), CAddTable(), transfer)
    written = _recurrence(module, fields, step, linear, transfer)
    table.weight = module.weight
    kept = {k: v for k, v in written.items() if k not in {"weight", "inputsize"}}
    return kept | {"nindex": module.inputsize}


def write_step(module: Any, fields: Fields) -> Fields:
    """What is run at every step is one of the modules that are run at single ones."""
    return fields | {"sharedClones": list(module.modules)}


def write_masking(module: Any, fields: Fields) -> Fields:
    """With masks from the input, which the first version made; later ones are given them."""
    return {"maskzero": module.maskzero, "v2": not module.maskzero} | fields


def _recurrence(module: Any, fields: Fields, step: Any, *given: Any) -> Fields:
    """What torch/rnn's Recurrence has around the network of a step."""
    step = like(step, module, *given)
    own = {"modules": [step], "sharedClones": [step], "outputSize": [module.outputsize]}
    return fields | own


def _sizes(fields: Fields) -> Fields:
    """Sizes under the names used here."""
    sizes = {}
    for theirs, ours in (("inputSize", "inputsize"), ("outputSize", "outputsize")):
        value = fields.get(theirs)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise FormatError(f"a size called {theirs}", f"{value!r:.60}")
        sizes[ours] = value
    return sizes


def _step(fields: Fields) -> Any:
    parts = fields.get("modules")
    if not isinstance(parts, list) or not parts:
        raise FormatError("a list of modules", type(parts).__name__)
    return parts[0]


def _linears(fields: Fields, build: Callable[..., Any], names: tuple[str, ...]) -> Fields:
    from tapegrad.nn import Linear

    wanted = _parts(build(*[Linear(1, 1) for _ in names], 1), 1000)
    found = _parts(_step(fields), len(wanted))
    if [_signature(part) for part in found] != [_signature(part) for part in wanted]:
        raise UnsupportedError(OTHER_STEP, _names(found))
    return dict(zip(names, (part for part in found if isinstance(part, Linear)), strict=True))


# Whatever decides which entries of a table go where.
_DECIDING = ("index", "offset", "length", "dimension", "nInputDims", "addend", "negate", "p")


def _signature(part: Any) -> tuple[Any, ...]:
    """The class of a module and what it does with its input, sizes aside."""
    own = getattr(part, "__dict__", {})
    return (type(part).__name__, *(own.get(name) for name in _DECIDING))


def _names(parts: list[Any]) -> str:
    return ", ".join(type(part).__name__ for part in parts)[:200]


def _parts(root: Any, most: int) -> list[Any]:
    """The module and all below it, parents first, and no more than one beyond `most`."""
    found, pending = [], [root]
    while pending and len(found) <= most:
        part = pending.pop()
        found.append(part)
        below = [] if isinstance(part, (Table, TorchObject)) else _modules(part)
        pending.extend(reversed(below))
    return found


def _modules(module: Any) -> list[Any]:
    below = getattr(module, "__dict__", {}).get("modules", [])
    return below if isinstance(below, list) else []


def _stored(module: Any, fields: Fields, step: Any) -> Fields:
    """What the layers of one step have in torch/rnn under other names, and the step."""
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
    from tapegrad import nn

    each, both, chain = nn.ParallelTable, nn.ConcatTable, nn.Sequential
    gates = chain(
        nn.NarrowTable(0, 2),
        each(i2g, o2g),
        nn.CAddTable(),
        nn.Reshape(4, size),
        nn.SplitTable(0, 2),
        each(nn.Sigmoid(), nn.Tanh(), nn.Sigmoid(), nn.Sigmoid()),
    )
    written = chain(nn.NarrowTable(0, 2), nn.CMulTable())
    kept = chain(both(nn.SelectTable(2), nn.SelectTable(4)), nn.CMulTable())
    shown = chain(
        both(chain(nn.SelectTable(0), nn.Tanh()), nn.SelectTable(1)),
        nn.CMulTable(),
    )
    return chain(
        both(gates, nn.SelectTable(2)),
        nn.FlattenTable(),
        both(chain(both(written, kept), nn.CAddTable()), nn.SelectTable(3)),
        nn.FlattenTable(),
        both(shown, nn.SelectTable(0)),
    )


def _gru(i2g: Any, o2g: Any, i2h: Any, o2h: Any, size: int) -> Any:
    """[x, h] -> h'."""
    from tapegrad import nn

    each, both, chain = nn.ParallelTable, nn.ConcatTable, nn.Sequential
    gates = chain(
        each(i2g, o2g),
        nn.CAddTable(),
        nn.Reshape(2, size),
        nn.SplitTable(0, 2),
        each(nn.Sigmoid(), nn.Sigmoid()),
    )
    reset = chain(nn.NarrowTable(1, 2), nn.CMulTable(), o2h)
    candidate = chain(both(chain(nn.SelectTable(0), i2h), reset), nn.CAddTable(), nn.Tanh())
    share = chain(nn.SelectTable(3), nn.SAdd(-1, negate=True))
    mixed = chain(
        both(
            chain(both(candidate, share), nn.CMulTable()),
            chain(nn.NarrowTable(3, 2), nn.CMulTable()),
        ),
        nn.CAddTable(),
    )
    return chain(
        both(nn.Identity(), gates),
        nn.FlattenTable(),
        both(nn.NarrowTable(0, 4), nn.SelectTable(1)),
        nn.FlattenTable(),
        mixed,
    )


# The gates of an LSTM in the order in which they stand in its step, and whether they see the cell.
_GATES = (("forgetGate", True), ("inputGate", True), ("hiddenLayer", False), ("outputGate", True))


def _gate_parts(linear: Any, cmul: Any, size: int, peepholes: bool) -> tuple[Any, Any, Any]:
    """What is learned in a gate, of the smallest size."""
    return linear(size, size), linear(size, size), cmul(size) if peepholes else None


def _lstm(gates: list[tuple[Any, Any, Any]], dropout: bool = True) -> Any:
    """[x, h, c] -> [h', c'], with a Dropout(0) in front of each Linear unless it is an old one."""
    from tapegrad import nn

    each, both, chain = nn.ParallelTable, nn.ConcatTable, nn.Sequential

    def sums(linear: Any, hidden: Any, peephole: Any, transfer: Any) -> Any:
        parts = [chain(nn.Dropout(0), p) if dropout else p for p in (linear, hidden)]
        start = [] if peephole is not None else [nn.NarrowTable(0, 2)]
        parts += [] if peephole is None else [peephole]
        return chain(*start, each(*parts), nn.CAddTable(), transfer)

    forget, write, hidden, show = gates
    kept = chain(both(sums(*forget, nn.Sigmoid()), nn.SelectTable(2)), nn.CMulTable())
    inner = sums(*hidden[:2], None, nn.Tanh())
    written = chain(both(sums(*write, nn.Sigmoid()), inner), nn.CMulTable())
    cell = chain(both(kept, written), nn.CAddTable())
    activated = chain(nn.SelectTable(2), nn.Tanh())
    shown = chain(both(sums(*show, nn.Sigmoid()), activated), nn.CMulTable())
    return chain(
        both(nn.NarrowTable(0, 2), cell),
        nn.FlattenTable(),
        both(shown, nn.SelectTable(2)),
    )


# Over time --------------------------------------------------------------------------------------


class _ReverseSequence(Module):
    """The steps from the last to the first: (T, …) or a list of steps -> the same kind."""

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # none

    def updateOutput(self, x: Any) -> Any:
        return list(reversed(x)) if isinstance(x, (list, tuple)) else x[::-1]


class _ReverseUnreverse(Container):
    """A module that is run against the sequence, and its output turned around again."""

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # a module

    def updateOutput(self, x: Any) -> Any:
        return self.modules[0](x)


# Only files have them: parts of BiSequencer and its like.
HELPERS: dict[str, type] = {
    "nn.ReverseSequence": _ReverseSequence,
    "nn.ReverseUnreverse": _ReverseUnreverse,
}


def read_remembering(fields: Fields, _version: int) -> Fields:
    """States may be kept from one call to the next: in one of four modes."""
    if fields.get("_remember", "neither") not in MODES:
        raise FormatError(f"one of {MODES}", f"{fields['_remember']!r:.60}")
    return fields


def read_bidirectional(fields: Fields, _version: int) -> Fields:
    """The layer that runs along the sequence, the one against it, and their merge."""
    from tapegrad.nn import CAddTable

    ahead, back, merge = _both_ways(fields)
    plain = type(merge) is CAddTable
    return {k: v for k, v in fields.items() if k != "modules"} | {
        "modules": [ahead, back],
        "merge": None if plain else merge,
    }


def read_bi_sequencer(fields: Fields, _version: int) -> Fields:
    """As read_bidirectional; the merge is given single steps here, and whole sequences there."""
    from tapegrad.nn import JoinTable, Sequencer

    ahead, back, merge = _both_ways(fields)
    for module in (ahead, back):
        if not isinstance(module, Sequencer):
            raise UnsupportedError("Sequencers in a BiSequencer", type(module).__name__)
    if isinstance(merge, JoinTable):
        axis, inputs = merge.__dict__.get("dimension"), merge.__dict__.get("nInputDims")
        if inputs is not None or not isinstance(axis, int) or axis == 0:
            raise UnsupportedError(PER_STEP, repr(merge))
        merge = None if axis == -1 else _joining(merge, axis if axis < 0 else axis - 1)
    elif type(merge).__name__ not in _ENTRYWISE:
        raise UnsupportedError(PER_STEP, type(merge).__name__)
    return fields | {"modules": [ahead, back], "merge": merge}


def write_bidirectional(module: Any, fields: Fields) -> Fields:
    """The network of both layers, with the sum that is the merge of none."""
    from tapegrad.nn import CAddTable

    merge = CAddTable() if module.merge is None else module.merge
    return _written_both_ways(module, fields, merge)


def write_bi_sequencer(module: Any, fields: Fields) -> Fields:
    """The network of both layers, with a merge that takes whole sequences."""
    from tapegrad.nn import JoinTable

    merge = module.merge
    if merge is None:
        merge = JoinTable(-1)
    elif isinstance(merge, JoinTable):
        if merge.nInputDims is not None:
            raise UnsupportedError(PER_STEP, repr(merge))
        merge = _joining(merge, merge.dimension + (merge.dimension >= 0))
    elif type(merge).__name__ not in _ENTRYWISE:
        raise UnsupportedError(PER_STEP, type(merge).__name__)
    return _written_both_ways(module, fields, merge)


def _joining(merge: Any, axis: int) -> Any:
    """The same merge along another axis."""
    from tapegrad.nn import JoinTable

    return module_with(JoinTable, merge, dimension=axis, nInputDims=None)


_ENTRYWISE = {"CAddTable", "CSubTable", "CMulTable", "CDivTable", "CMaxTable", "CMinTable"}


def _both_ways(fields: Fields) -> tuple[Any, Any, Any]:
    from tapegrad.nn import ConcatTable, Sequential

    both, merge = parts_of(_step(fields), ConcatTable, Module)
    ahead, reversing = parts_of(both, Module, _ReverseUnreverse)
    (inner,) = parts_of(reversing, Sequential)
    _, back, _ = parts_of(inner, _ReverseSequence, Module, _ReverseSequence)
    return ahead, back, merge


def _written_both_ways(module: Any, fields: Fields, merge: Any) -> Fields:
    from tapegrad.nn import ConcatTable, Sequential

    ahead, back = module.modules
    inner = Sequential(_ReverseSequence(), back, _ReverseSequence())
    both = ConcatTable(ahead, _ReverseUnreverse(inner))
    given = (ahead, back, *(() if module.merge is None else (merge,)))
    network = like(Sequential(both, merge), module, *given)
    return {k: v for k, v in fields.items() if k != "merge"} | {"modules": [network]}


def read_criterion_over_time(fields: Fields, _version: int) -> Fields:
    """The criterion of the first step; those of others are its clones."""
    clones = fields.get("clones")
    first = clones[0] if isinstance(clones, list) and clones else fields.get("criterion")
    if not isinstance(first, Module):
        raise FormatError("a criterion", type(first).__name__)
    return {k: v for k, v in fields.items() if k != "clones"} | {"criterion": first}


def read_repeater_criterion(fields: Fields, version: int) -> Fields:
    """As read_criterion_over_time; an average over the steps is not there."""
    if fields.get("sizeAverage"):
        raise UnsupportedError("a RepeaterCriterion without sizeAverage", "one with it")
    fields = read_criterion_over_time(fields, version)
    return {k: v for k, v in fields.items() if k != "sizeAverage"}


def write_criterion_over_time(module: Any, fields: Fields) -> Fields:
    """The criterion as the first of its clones."""
    fields = {k: v for k, v in fields.items() if k != "criterion"}
    return {"sizeAverage": False} | fields | {"clones": [module.criterion]}


def read_mask_zero_criterion(fields: Fields, _version: int) -> Fields:
    """The mask is given; the first version made it from the input."""
    if not fields.get("v2"):
        raise UnsupportedError("a MaskZeroCriterion that is given its mask", "one that makes it")
    return {"criterion": fields.get("criterion")}


def write_mask_zero_criterion(_module: Any, fields: Fields) -> Fields:
    """The mask is given, and not in the file."""
    return fields | {"v2": True}
