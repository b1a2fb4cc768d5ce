"""BigDL's recurrent containers and cells in its files.

A cell's arrays are those of its `preTopology`, which reads the input for all steps at once, and
those of the cell itself.  Cells are made by their constructors, after the number of entries in the
file has been compared with what the constructor will make.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.nn import layers, recurrent
from tapegrad.nn.containers.container import ConcatTable, ParallelTable, Sequential
from tapegrad.nn.formats.bigdl.attributes import NULL, array_attr, attr, null_attr
from tapegrad.nn.formats.bigdl.building import short_name
from tapegrad.nn.formats.bigdl.cell_networks import NETWORKS
from tapegrad.nn.formats.bigdl.entry import Entry, declared, regularizer_attr
from tapegrad.nn.formats.bigdl.layouts import RULES
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.common.protobuf import Record
from tapegrad.nn.layers.activation import Identity
from tapegrad.nn.layers.rearranging import Reverse
from tapegrad.nn.layers.table import BifurcateSplitTable, CAddTable
from tapegrad.nn.recurrent.unrolled import BiRecurrent, Recurrent, TimeDistributed

__all__ = ["RECURRENT"]

DROPOUT = "a cell without dropout, p = 0: BigDL lays out its arrays otherwise"


# Cells --------------------------------------------------------------------------------------------


def _numbers(reader: Any, record: Record, names: str, path: str) -> list[int]:
    found = []
    for name in names.split():
        value = reader.attribute(record, name, path)
        if isinstance(value, bool) or not isinstance(value, int):
            raise reader.error("a whole number", f"{value!r:.40}", f"{path}.{name}")
        found.append(value)
    return found


def _truth(reader: Any, record: Record, name: str, usual: bool) -> bool:
    if name not in record.attr:
        return usual
    return bool(record.attr[name].boolValue)


def cell_tensors(reader: Any, record: Record, path: str) -> list[Record]:
    """The tensors of a cell: of what reads the input, and its own."""
    own = reader.tensors_of(record)
    before = record.attr["preTopology"].bigDLModuleValue if "preTopology" in record.attr else None
    if before is None or _truth(reader, record, "includePreTopology", False):
        return list(own)
    return [*reader.tensors_of(before), *own]


def _fill(reader: Any, cell: Any, tensors: list[Record], path: str) -> Any:
    """Put tensors into the layers of a cell, in their order."""
    left = list(tensors)
    for child in cell.modules:
        for name in ("weight", "bias"):
            old = child.__dict__.get(name)
            if old is None:
                continue
            tensor = left.pop(0)
            array = reader.array(tensor, path)
            if name == "weight" and array.ndim == old.ndim + 1:
                array = RULES["grouped"][0](child, array)
            if array.shape != old.shape:
                raise reader.error(f"an array of shape {old.shape}", array.shape, path)
            child.__dict__[name] = reader.tensors.shared(tensor, array, path)
    return cell


def _entries(tensors: list[Record]) -> int:
    return sum(math.prod(tensor.size) for tensor in tensors)


Maker = Callable[[Any, Record, str], tuple[Callable[[], Any], int]]


def _cell_reader(make: Maker) -> Any:
    """A reader of cells.  make: (reader, record, path) -> (constructor's call, entries it makes)"""

    def read(reader: Any, record: Record, path: str, entry: Entry) -> Any:
        if "p" in record.attr and record.attr["p"].doubleValue:
            raise reader.error(DROPOUT, record.attr["p"].doubleValue, path, UnsupportedError)
        tensors = cell_tensors(reader, record, path)
        called, expected = make(reader, record, path)
        if expected != _entries(tensors):
            raise reader.error(f"{expected} entries of arrays", _entries(tensors), path)
        cell = _fill(reader, called(), tensors, path)
        for child in cell.modules:
            child._training = record.train
        return cell

    return read


def _activations(reader: Any, record: Record, path: str) -> dict[str, Any]:
    return {
        name: reader.module_in(record, name, path)
        for name in ("activation", "innerActivation")
        if name in record.attr
    }


def _gated(cls: Any, gates: int, peepholes: int, names: str) -> Maker:
    def make(reader: Any, record: Record, path: str) -> tuple[Callable[[], Any], int]:
        n, h = _numbers(reader, record, names, path)
        inner = _activations(reader, record, path)
        return lambda: cls(n, h, **inner), gates * h * (n + h + 1) + peepholes * h

    return make


def _plain(reader: Any, record: Record, path: str) -> tuple[Callable[[], Any], int]:
    n, h = _numbers(reader, record, "inputSize hiddenSize", path)
    of_input = _truth(reader, record, "isInputWithBias", True)
    of_state = _truth(reader, record, "isHiddenWithBias", True)
    activation = reader.module_in(record, "activation", path)
    count = h * (n + h + of_input + of_state)
    return lambda: recurrent.RnnCell(n, h, activation, of_input, of_state), count


def _convolutional(cls: Any, sides: int) -> Maker:
    def make(reader: Any, record: Record, path: str) -> tuple[Callable[[], Any], int]:
        names = "inputSize outputSize kernelI kernelC stride padding"
        n, h, k, m, stride, padding = _numbers(reader, record, names, path)
        peeps = _truth(reader, record, "withPeephole", True)
        inner = _activations(reader, record, path)
        count = 4 * (h * (n * k**sides + 1) + h * h * m**sides) + 3 * h * peeps
        return lambda: cls(n, h, k, m, stride, padding, withPeephole=peeps, **inner), count

    return make


def _write_regularizers(writer: Any, cell: Any, record: Record) -> None:
    of_input, of_state = cell.readers()
    for name, children, kind in (
        ("wRegularizer", of_input, "w"),
        ("uRegularizer", of_state, "w"),
        ("bRegularizer", of_input, "b"),
    ):
        found = [child._regularizers.get(kind) for child in children]
        regularizer = next((each for each in found if each is not None), None)
        none = null_attr("REGULARIZER")
        record.attr[name] = none if regularizer is None else regularizer_attr(regularizer)


def _write_cell(*numbers: str, size: str = "hiddenSize", activations: str = "") -> Any:
    """A writer of cells.  size: BigDL's name of hiddenSize; numbers: further attributes."""

    def write(writer: Any, cell: Any, record: Record, path: str) -> None:
        if getattr(cell, "p", 0):
            raise UnsupportedError(DROPOUT, cell.p, path=path)
        record.attr["inputSize"] = attr("INT32", cell.inputSize)
        record.attr[size] = attr("INT32", cell.hiddenSize)
        if "p" in numbers:
            record.attr["p"] = attr("DOUBLE", 0.0)
        for name in activations.split():
            record.attr[name] = writer.module_attr(getattr(cell, name), f"{path}.{name}")
        _write_regularizers(writer, cell, record)
        convolutional = type(cell).__name__.startswith("Conv")
        first, own = (None, cell.modules) if convolutional else (cell.modules[0], cell.modules[1:])
        own_records = [writer.describe(child, path) for child in own]
        writer.inherit(record, own_records)
        network = NETWORKS[type(cell).__name__](cell)
        record.attr["is_cell_module"] = attr("BOOL", True)
        record.attr["cell"] = writer.module_attr(network, f"{path}.cell")
        record.attr["preTopology"] = writer.module_attr(first, f"{path}.preTopology")
        record.attr["includePreTopology"] = attr("BOOL", False)

    return write


def _write_rnn(writer: Any, cell: Any, record: Record, path: str) -> None:
    _write_cell(activations="activation")(writer, cell, record, path)
    first, second = cell.modules
    record.attr["isInputWithBias"] = attr("BOOL", first.bias is not None)
    record.attr["isHiddenWithBias"] = attr("BOOL", second.bias is not None)


def _write_convolutional(activations: str) -> Any:
    plain = _write_cell(size="outputSize", activations=activations)

    def write(writer: Any, cell: Any, record: Record, path: str) -> None:
        plain(writer, cell, record, path)
        first, second = cell.modules[:2]
        for name, value in {
            "kernelI": first.kW,
            "kernelC": second.kW,
            "stride": first.dW,
            "padding": first.padW,
        }.items():
            record.attr[name] = attr("INT32", int(value))
        record.attr["cRegularizer"] = null_attr("REGULARIZER")
        record.attr["withPeephole"] = attr("BOOL", cell.withPeephole)

    return write


def _read_several(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    found = reader.attribute(record, "cells", path)
    if not isinstance(found, list) or not found or not hasattr(found[0], "moduleType"):
        raise reader.error("a list of cells", f"{found!r:.40}", f"{path}.cells")
    return entry.cls([reader.build(each, f"{path}.cells[{i}]") for i, each in enumerate(found)])


def _write_several(writer: Any, cell: Any, record: Record, path: str) -> None:
    records = [writer.describe(m, f"{path}.cells[{i}]") for i, m in enumerate(cell.modules)]
    record.attr["cells"] = array_attr("MODULE", records)
    writer.inherit(record, records)
    record.attr["is_cell_module"] = attr("BOOL", True)
    record.attr["cell"] = null_attr("MODULE")
    record.attr["preTopology"] = null_attr("MODULE")
    record.attr["includePreTopology"] = attr("BOOL", False)


# Containers ---------------------------------------------------------------------------------------


def _inside(record: Record, name: str) -> Record | None:
    """The first record of a class in a record, itself or in a few layers of containers."""
    pending = [record]
    for _ in range(16):
        if not pending:
            return None
        here = pending.pop(0)
        if short_name(here.moduleType) == name:
            return here
        pending += [*here.subModules]
        if "layer" in here.attr:
            pending.append(here.attr["layer"].bigDLModuleValue)
    return None


def _topology(reader: Any, record: Record, path: str) -> Any:
    cell = reader.module_in(record, "topology", path)
    if cell is None:
        raise reader.error("a cell", "null", f"{path}.topology")
    return cell


def read_recurrent(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    """A Recurrent, with the normalization of what its cell computes of the input."""
    before = record.attr["preTopology"].bigDLModuleValue if "preTopology" in record.attr else record
    spread = _inside(before, "TimeDistributed")
    module = Recurrent(maskZero=spread is not None and _truth(reader, spread, "maskZero", False))
    module.add(_topology(reader, record, path))
    if _truth(reader, record, "bnorm", False):
        found = _inside(before, "BatchNormalization")
        if found is None:
            raise reader.error("a BatchNormalization", None, f"{path}.preTopology")
        layer: Any = reader.build(found, f"{path}.preTopology")
        module.batchNormParams = {
            name: getattr(layer, name) for name in ("eps", "momentum", "affine")
        }
        module.modules.append(layer)
    return module


def write_recurrent(writer: Any, module: Any, record: Record, path: str) -> None:
    """Write a Recurrent: its cell, and what reads the input for all steps at once."""
    cell = module.getCell()
    record.attr["topology"] = writer.module_attr(cell, f"{path}.topology")
    inner = record.attr["topology"].bigDLModuleValue
    first = inner.attr["preTopology"]
    before: Any = None
    if "bigDLModuleValue" in first:
        before = TimeDistributed(cell.modules[0], module.maskZero)
        if len(module.modules) > 1:
            before = Sequential(before, TimeDistributed(module.modules[1]))
        for layer in (before, *(before.modules if isinstance(before, Sequential) else ())):
            layer._training = module.train
    record.attr["preTopology"] = writer.module_attr(before, f"{path}.preTopology")
    records = [inner]
    if before is not None:
        records.insert(0, record.attr["preTopology"].bigDLModuleValue)
    writer.inherit(record, records)
    write_normalization(record, module.batchNormParams)


def write_normalization(record: Record, params: Any) -> None:
    """Write whether a container normalizes, and how."""
    record.attr["bnorm"] = attr("BOOL", params is not None)
    if params is not None:
        record.attr["bnormEps"] = attr("DOUBLE", float(params.get("eps", 1e-5)))
        record.attr["bnormMomentum"] = attr("DOUBLE", float(params.get("momentum", 0.1)))
        record.attr["bnormAffine"] = attr("BOOL", bool(params.get("affine", True)))
        for name in ("InitWeight", "InitBias", "InitGradWeight", "InitGradBias"):
            record.attr[f"bnorm{name}"] = null_attr("TENSOR")


def _read_decoder(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    [steps] = _numbers(reader, record, "seqLength", path)
    return entry.cls(steps).add(_topology(reader, record, path))


def _write_decoder(writer: Any, module: Any, record: Record, path: str) -> None:
    record.attr["seqLength"] = attr("INT32", module.seqLength)
    record.attr["topology"] = writer.module_attr(module.getCell(), f"{path}.topology")
    cell = record.attr["topology"].bigDLModuleValue
    before = cell.attr["preTopology"]
    if "bigDLModuleValue" in before:  # a decoder's cell reads its input step by step
        cell.attr["includePreTopology"] = attr("BOOL", True)
        own, cell.parameters = cell.parameters, list(before.bigDLModuleValue.parameters)
        cell.parameters += own
    record.attr["preTopology"] = null_attr("MODULE")
    writer.inherit(record, [cell])


def _both_ways(module: Any) -> Sequential:
    """The network of a BiRecurrent: along and against the second axis, then merged."""
    ahead, back = module.modules
    first: Any = ConcatTable(Identity(), Identity())
    if module.isSplitInput:
        first = BifurcateSplitTable(2)
    against = Sequential(Reverse(1), back, Reverse(1))
    merge = CAddTable(True) if module.merge is None else module.merge
    return Sequential(first, ParallelTable(ahead, against), merge)


def _recurrents(record: Record) -> list[Record]:
    """The two Recurrents in the network of a BiRecurrent."""
    found: list[Record] = []
    pending = [record]
    for _ in range(32):
        if not pending:
            break
        here = pending.pop(0)
        if short_name(here.moduleType) == "Recurrent":
            found.append(here)
        else:
            pending[:0] = list(here.subModules)
    return found


def _read_both_ways(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    network = reader.attribute(record, "birnn", path)
    inner = [] if network is NULL else _recurrents(network)
    if len(inner) != 2:
        raise reader.error("two Recurrents", len(inner), f"{path}.birnn")
    merge = reader.module_in(record, "merge", path)
    plain = type(merge) is CAddTable
    split = _truth(reader, record, "isSplitInput", False)
    module = BiRecurrent(None if plain else merge, None, split)
    module.modules = [reader.build(each, f"{path}.birnn") for each in inner]
    return module


def _write_both_ways(writer: Any, module: Any, record: Record, path: str) -> None:
    merge = CAddTable(True) if module.merge is None else module.merge
    record.attr["merge"] = writer.module_attr(merge, f"{path}.merge")
    record.attr["isSplitInput"] = attr("BOOL", module.isSplitInput)
    record.attr["birnn"] = writer.module_attr(_both_ways(module), f"{path}.birnn")
    inner = record.attr["birnn"].bigDLModuleValue
    record.subModules.append(inner)
    writer.inherit(record, [inner])
    write_normalization(record, module.modules[0].batchNormParams)


def _read_spread(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    layer = reader.module_in(record, "layer", path)
    if layer is None:
        raise reader.error("a module", "null", f"{path}.layer")
    return TimeDistributed(layer, _truth(reader, record, "maskZero", False))


def _write_spread(writer: Any, module: Any, record: Record, path: str) -> None:
    record.attr["layer"] = writer.module_attr(module.modules[0], f"{path}.layer")
    record.attr["maskZero"] = attr("BOOL", module.maskZero)
    writer.inherit(record, [record.attr["layer"].bigDLModuleValue])


# Normalization ------------------------------------------------------------------------------------


def _read_normalization(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    module = reader.made(entry, record, path)
    for field, name in (("running_mean", "runningMean"), ("running_var", "runningVar")):
        module.__dict__[field] = reader.buffer(record, name, path)
    size = module.running_mean.shape
    arrays = [module.running_var, *(p for p in (module.weight, module.bias) if p is not None)]
    if any(each.shape != size for each in arrays) or module.affine != (len(arrays) == 3):
        raise reader.error(f"arrays of shape {size}", [each.shape for each in arrays], path)
    return module


def _write_normalization_layer(writer: Any, module: Any, record: Record, path: str) -> None:
    n = module.running_mean.shape[0]
    dtype = module.running_mean.dtype
    record.attr["nOutput"] = attr("INT32", n)
    tensors = {
        "runningMean": module.running_mean,
        "runningVar": module.running_var,
        "saveMean": np.zeros(n, dtype),
        "saveStd": np.ones(n, dtype),
    }
    for name, tensor in tensors.items():
        record.attr[name] = writer.tensor_attr(tensor, f"{path}.{name}")


def _normalization(name: str, extra: str) -> Entry:
    return declared(
        f"{name}(eps:d, momentum:d, affine:b=true, initWeight:T, initBias:T, initGradWeight:T, "
        f"initGradBias:T{extra}) weight bias",
        layers,
        read=_read_normalization,
        write=_write_normalization_layer,
        least=0,
    )


def _entry(name: str, cls: Any, read: Any, write: Any) -> Entry:
    return Entry(name, cls, read=read, write=write)


_BOTH = "activation innerActivation"
RECURRENT: list[Entry] = [
    _entry("RnnCell", recurrent.RnnCell, _cell_reader(_plain), _write_rnn),
    _entry(
        "LSTM",
        recurrent.LSTMCell,
        _cell_reader(_gated(recurrent.LSTMCell, 4, 0, "inputSize hiddenSize")),
        _write_cell("p", activations=_BOTH),
    ),
    _entry(
        "GRU",
        recurrent.GRUCell,
        _cell_reader(_gated(recurrent.GRUCell, 3, 0, "inputSize outputSize")),
        _write_cell("p", size="outputSize", activations=_BOTH),
    ),
    _entry(
        "LSTMPeephole",
        recurrent.LSTMPeephole,
        _cell_reader(_gated(recurrent.LSTMPeephole, 4, 3, "inputSize hiddenSize")),
        _write_cell("p"),
    ),
    _entry(
        "ConvLSTMPeephole",
        recurrent.ConvLSTMPeephole,
        _cell_reader(_convolutional(recurrent.ConvLSTMPeephole, 2)),
        _write_convolutional(_BOTH),
    ),
    _entry(
        "ConvLSTMPeephole3D",
        recurrent.ConvLSTMPeephole3D,
        _cell_reader(_convolutional(recurrent.ConvLSTMPeephole3D, 3)),
        _write_convolutional(""),
    ),
    _entry("MultiRNNCell", recurrent.MultiRNNCell, _read_several, _write_several),
    _entry("Recurrent", Recurrent, read_recurrent, write_recurrent),
    _entry("RecurrentDecoder", recurrent.RecurrentDecoder, _read_decoder, _write_decoder),
    _entry("BiRecurrent", BiRecurrent, _read_both_ways, _write_both_ways),
    _entry("TimeDistributed", TimeDistributed, _read_spread, _write_spread),
    _normalization("BatchNormalization", ""),
    _normalization("SpatialBatchNormalization", ", dataFormat:F@format=NCHW"),
]
