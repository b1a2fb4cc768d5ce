"""The decorators of torch/rnn that run layers over time, and its criterions of sequences.

In Torch7 two layers in both directions are one network, in which one of them stands
between modules that turn the sequence around.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.nn.containers.container import ConcatTable, Container, Sequential
from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError
from tapegrad.nn.formats.torch7.networks import in_mode_of, module_with, parts_of, step_of
from tapegrad.nn.layers.table import (
    CAddTable,
    CDivTable,
    CMaxTable,
    CMinTable,
    CMulTable,
    CSubTable,
    JoinTable,
)
from tapegrad.nn.module import Module
from tapegrad.nn.recurrent.over_time import Sequencer
from tapegrad.nn.recurrent.states import MODES

if TYPE_CHECKING:
    from tapegrad.nn.formats.torch7.entry import Fields

__all__ = [
    "HELPERS",
    "read_bi_sequencer",
    "read_bidirectional",
    "read_criterion_over_time",
    "read_mask_zero_criterion",
    "read_remembering",
    "read_repeater",
    "read_repeater_criterion",
    "read_seq_gru",
    "write_bi_sequencer",
    "write_bidirectional",
    "write_criterion_over_time",
    "write_mask_zero_criterion",
]

PER_STEP = (
    "a merge that does the same to a step as to a sequence: CAddTable or another of these tables "
    "of single entries, or a JoinTable along an axis counted from the end"
)


class _ReverseSequence(Module):
    """The steps from the last to the first: (T, …) or a list of steps -> the same kind."""

    def updateOutput(self, x: Any) -> Any:
        return list(reversed(x)) if isinstance(x, (list, tuple)) else x[::-1]


class _ReverseUnreverse(Container):
    """Run a module that turns the sequence around, runs over it, and turns the output around."""

    def updateOutput(self, x: Any) -> Any:
        return self.modules[0](x)


# Only files have them: parts of BiSequencer and its like.
HELPERS: dict[str, type] = {
    "nn.ReverseSequence": _ReverseSequence,
    "nn.ReverseUnreverse": _ReverseUnreverse,
}


def read_remembering(fields: Fields, _version: int) -> Fields:
    """Check the mode that says when states are kept from call to call.  Raises FormatError."""
    if fields.get("_remember", "neither") not in MODES:
        raise FormatError(f"one of {MODES}", f"{fields['_remember']!r:.60}")
    return fields


def read_repeater(fields: Fields, _version: int) -> Fields:
    """Read the number of steps, which old files call nStep.  Raises FormatError for no number."""
    steps = fields.get("seqlen", fields.get("nStep"))
    if type(steps) is not int or steps < 1:
        raise FormatError("a number of steps called seqlen", f"{steps!r:.60}")
    return fields | {"seqlen": steps}


def read_seq_gru(fields: Fields, _version: int) -> Fields:
    """Rename the sizes of old files.  Raises UnsupportedError for batchfirst."""
    if fields.get("batchfirst"):
        raise UnsupportedError("sequences with the steps in front", "batchfirst")
    names = (("inputSize", "inputsize"), ("outputSize", "outputsize"))
    fields = fields | {new: fields[old] for old, new in names if old in fields}
    return {name: value for name, value in fields.items() if name not in dict(names)}


def read_bidirectional(fields: Fields, _version: int) -> Fields:
    """Take the two layers and the merge out of Torch7's network.

    The first layer runs along the sequence, the second against it.
    """
    ahead, back, merge = _both_ways(fields)
    plain = type(merge) is CAddTable
    return {k: v for k, v in fields.items() if k != "modules"} | {
        "modules": [ahead, back],
        "merge": None if plain else merge,
    }


def read_bi_sequencer(fields: Fields, _version: int) -> Fields:
    """As read_bidirectional; Torch7's merge gets entire sequences, and tapegrad's single steps."""
    ahead, back, merge = _both_ways(fields)
    for module in (ahead, back):
        if not isinstance(module, Sequencer):
            raise UnsupportedError("Sequencers in a BiSequencer", type(module).__name__)
    if isinstance(merge, JoinTable):
        axis, inputs = merge.__dict__.get("dimension"), merge.__dict__.get("nInputDims")
        if inputs is not None or not isinstance(axis, int) or axis == 0:
            raise UnsupportedError(PER_STEP, repr(merge))
        merge = None if axis == -1 else _joining(merge, axis if axis < 0 else axis - 1)
    elif type(merge) not in _ENTRYWISE:
        raise UnsupportedError(PER_STEP, type(merge).__name__)
    return fields | {"modules": [ahead, back], "merge": merge}


def write_bidirectional(module: Any, fields: Fields) -> Fields:
    """Write the network of both layers; a merge of None becomes a sum."""
    merge = CAddTable() if module.merge is None else module.merge
    return _written_both_ways(module, fields, merge)


def write_bi_sequencer(module: Any, fields: Fields) -> Fields:
    """Write the network of both layers, with a merge that takes entire sequences."""
    merge = module.merge
    if merge is None:
        merge = JoinTable(-1)
    elif isinstance(merge, JoinTable):
        if merge.nInputDims is not None:
            raise UnsupportedError(PER_STEP, repr(merge))
        merge = _joining(merge, merge.dimension + (merge.dimension >= 0))
    elif type(merge) not in _ENTRYWISE:
        raise UnsupportedError(PER_STEP, type(merge).__name__)
    return _written_both_ways(module, fields, merge)


def _joining(merge: Any, axis: int) -> Any:
    """The same merge along another axis."""
    return module_with(JoinTable, merge, dimension=axis, nInputDims=None)


_ENTRYWISE = (CAddTable, CSubTable, CMulTable, CDivTable, CMaxTable, CMinTable)


def _both_ways(fields: Fields) -> tuple[Any, Any, Any]:
    both, merge = parts_of(step_of(fields), ConcatTable, Module)
    ahead, reversing = parts_of(both, Module, _ReverseUnreverse)
    (inner,) = parts_of(reversing, Sequential)
    _, back, _ = parts_of(inner, _ReverseSequence, Module, _ReverseSequence)
    return ahead, back, merge


def _written_both_ways(module: Any, fields: Fields, merge: Any) -> Fields:
    ahead, back = module.modules
    inner = Sequential(_ReverseSequence(), back, _ReverseSequence())
    both = ConcatTable(ahead, _ReverseUnreverse(inner))
    given = (ahead, back, *(() if module.merge is None else (merge,)))
    network = in_mode_of(Sequential(both, merge), module, *given)
    return {k: v for k, v in fields.items() if k != "merge"} | {"modules": [network]}


def read_criterion_over_time(fields: Fields, _version: int) -> Fields:
    """Take the criterion of the first step; Torch7 runs clones of it at the others."""
    clones = fields.get("clones")
    first = clones[0] if isinstance(clones, list) and clones else fields.get("criterion")
    if not isinstance(first, Module):
        raise FormatError("a criterion", type(first).__name__)
    return {k: v for k, v in fields.items() if k != "clones"} | {"criterion": first}


def read_repeater_criterion(fields: Fields, version: int) -> Fields:
    """As read_criterion_over_time; an average over the steps is refused."""
    if fields.get("sizeAverage"):
        raise UnsupportedError("a RepeaterCriterion without sizeAverage", "one with it")
    fields = read_criterion_over_time(fields, version)
    return {k: v for k, v in fields.items() if k != "sizeAverage"}


def write_criterion_over_time(module: Any, fields: Fields) -> Fields:
    """Write the criterion as the first of Torch7's clones."""
    fields = {k: v for k, v in fields.items() if k != "criterion"}
    return {"sizeAverage": False} | fields | {"clones": [module.criterion]}


def read_mask_zero_criterion(fields: Fields, _version: int) -> Fields:
    """Read the second version, which is given its mask.  Raises UnsupportedError for the first."""
    if not fields.get("v2"):
        raise UnsupportedError("a MaskZeroCriterion that is given its mask", "one that makes it")
    return {"criterion": fields.get("criterion")}


def write_mask_zero_criterion(_module: Any, fields: Fields) -> Fields:
    """Write the second version (v2), which is given its mask in each call."""
    return fields | {"v2": True}
