"""A call of a module or function becomes an ONNX graph, by the record of its primitive calls.

Python runs while the call is recorded and never again: loops are unrolled, and the branch that was
taken is the one that the file has.  With a dynamic batch the call is recorded with several sizes of
it, and the records are compared: what differs is computed from the size, or refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.tensor import array_of
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.part import Part
from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError
from tapegrad.nn.formats.common.modes import evaluating
from tapegrad.nn.formats.onnx import (
    out_elementwise,
    out_indexing,
    out_recurrent,
    out_reduction,
    out_selection,
    out_special,
    out_transfer,
    out_windows,
)
from tapegrad.nn.formats.onnx.building import GraphBuilder, GraphValue
from tapegrad.nn.formats.onnx.calls import EXPORTERS, REASONS, Call
from tapegrad.nn.formats.onnx.dims import SIZES, Dim, Size, merge, reduced
from tapegrad.nn.formats.onnx.graph import NodeGraph, OnnxModel, ValueInfo
from tapegrad.nn.formats.onnx.out_modules import MODULES, ModuleCall
from tapegrad.nn.formats.onnx.recording import (
    CallRecord,
    ModuleSpan,
    RecordedNode,
    Slot,
    record,
)
from tapegrad.nn.formats.onnx.tidying import tidied

__all__ = ["OPSETS", "graph_of"]

# they enter the tables
_ = (
    out_elementwise,
    out_indexing,
    out_recurrent,
    out_reduction,
    out_selection,
    out_special,
    out_transfer,
    out_windows,
)

OPSETS = range(17, 22)  # that can be written
IR_VERSIONS = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10}  # of the format, in which each came
BATCH = "batch"

OTHER_BATCH = (
    "the call fails with a batch of {size} samples ({error}): axis 0 of the inputs is no batch, or "
    "the call depends on its size. Export with dynamic_batch=False, or say which axis it is, "
    "dynamic_batch={{0: axis}}"
)
OTHER_PROGRAM = (
    "{where}: the call makes other operations where axis 0 of the inputs is {size} long than where "
    "it is {first}. Export with dynamic_batch=False, or say which axis is that of the samples, as "
    "dynamic_batch={{0: 1}} for an input (T, N, D)"
)
OTHER_ARRAY = (
    "{where}: an array that the call makes with NumPy depends on the size of the batch in a way "
    "that a file cannot say; make it of an input by functions of Tensors, or export with "
    "dynamic_batch=False"
)
RARE = "ONNX has none of SciPy's functions"
NO_ENTRY = "{where}: {name} has no form in ONNX: {reason}"


@dataclass
class _Example:
    """One set of inputs, by the size of its batch; None where the batch is fixed."""

    size: int | None
    inputs: tuple[Any, ...]


def graph_of(
    called: Any,
    inputs: tuple[Any, ...],
    *,
    dynamic_batch: bool | Mapping[int, int],
    opset: int,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> OnnxModel:
    """The model of ``called(*inputs)``.  Raises UnsupportedError, ValueError as `export` does."""
    if opset not in OPSETS:
        raise ValueError(f"opset is {opset}, it must be one of {OPSETS[0]} … {OPSETS[-1]}")
    axes = _batch_axes(inputs, dynamic_batch)
    sizes = SIZES if axes else (None,)
    examples = [_Example(size, _resized(inputs, axes, size)) for size in sizes]
    is_module = isinstance(called, Part)
    names = {id(part): name for name, part in called.named_modules()} if is_module else {}
    parameters = _parameter_names(called) if is_module else {}
    watched = [p for p in called.listModules() if type(p) in MODULES] if is_module else []
    records: list[CallRecord] = []
    slots: list[Slot] = []
    with evaluating(called) if is_module else nullcontext():
        for example in examples:
            try:
                made, slots = record(
                    called, example.inputs, names=names, parameters=parameters, watched=watched
                )
            except (ShapeError, ValueError, IndexError) as error:
                if example.size is None or isinstance(error, FormatError):
                    raise
                text = OTHER_BATCH.format(size=example.size, error=str(error)[:200])
                raise UnsupportedError(text) from error
            records.append(made)
        # still in this mode: what is written of a module depends on it
        writer = _GraphWriter(records, [e.size for e in examples if e.size is not None], opset)
        writer.parameters = parameters
        writer.declare_inputs(slots, axes, input_names)
        writer.write_entries()
        return OnnxModel(writer.finish(output_names), opset, ir_version=IR_VERSIONS[opset])


def _parameter_names(module: Any) -> dict[int, str]:
    """id of the array of each Parameter and Buffer -> its dotted name."""
    named = [*module.named_parameters(), *module.named_buffers()]
    names: dict[int, str] = {}
    for name, tensor in named:
        names.setdefault(id(array_of(tensor)), name)
    return names


def _batch_axes(inputs: tuple[Any, ...], dynamic_batch: bool | Mapping[int, int]) -> dict[int, int]:
    """Number of an input array -> its axis of samples."""
    arrays = [a for a in leaves(list(inputs)) if isinstance(a, Tensor) or devices.is_array(a)]
    if isinstance(dynamic_batch, Mapping):
        for number, axis in dynamic_batch.items():
            if (
                not 0 <= number < len(arrays)
                or not -arrays[number].ndim <= axis < arrays[number].ndim
            ):
                raise ValueError(
                    f"dynamic_batch names axis {axis} of input {number}, and there are "
                    f"{[tuple(a.shape) for a in arrays]}"
                )
        return {number: axis % arrays[number].ndim for number, axis in dynamic_batch.items()}
    if not dynamic_batch or not arrays or not arrays[0].ndim:
        return {}
    samples = arrays[0].shape[0]
    return {i: 0 for i, a in enumerate(arrays) if a.ndim and a.shape[0] == samples}


def _resized(inputs: tuple[Any, ...], axes: Mapping[int, int], size: int | None) -> tuple[Any, ...]:
    """The inputs as arrays, with another number of samples: the same ones, repeated."""
    count = -1

    def changed(leaf: Any) -> Any:
        nonlocal count
        if not isinstance(leaf, Tensor) and not devices.is_array(leaf):
            return leaf
        count += 1
        array = devices.to_numpy(array_of(leaf) if isinstance(leaf, Tensor) else leaf)
        if size is None or count not in axes:
            return np.array(array)
        n = array.shape[axes[count]]
        if not n:
            raise ValueError("an example input has no samples")
        return np.take(array, np.arange(size) % n, axis=axes[count])

    return tuple(map_leaves(changed, list(inputs)))


class _GraphWriter:
    """Writes the entries of records that were made with several batch sizes."""

    def __init__(self, records: Sequence[CallRecord], sizes: Sequence[int], opset: int) -> None:
        self.records = records
        self.first = records[0]
        self.builder = GraphBuilder(opset, sizes)
        self.values: dict[int, GraphValue] = {}
        self.inputs: list[ValueInfo] = []
        self.parameters: dict[int, str] = {}
        self.arrays: dict[int, GraphValue] = {}  # id of a parameter's array -> its GraphValue
        self.views: dict[
            int, tuple[RecordedNode, int]
        ] = {}  # slot -> (entry that made it, its base)
        self.stale: set[int] = set()
        for other, size in zip(records[1:], sizes[1:], strict=True):
            self._compare(other, size, sizes[0])

    def _compare(self, other: CallRecord, size: int, first: int) -> None:
        """Raise UnsupportedError unless both records have the same calls on the same slots."""
        for a, b in zip(self.first.entries, other.entries, strict=False):
            if a.primitive is not b.primitive or a.results != b.results:
                raise UnsupportedError(OTHER_PROGRAM.format(where=a.where, size=size, first=first))
        if len(self.first.entries) != len(other.entries):
            where = max(self.first, other, key=lambda r: len(r.entries)).entries[-1].where
            raise UnsupportedError(OTHER_PROGRAM.format(where=where, size=size, first=first))

    # Inputs and outputs --------------------------------------------------------------------------

    def declare_inputs(
        self, slots: Sequence[Slot], axes: Mapping[int, int], names: Sequence[str] | None
    ) -> None:
        """Enter the arrays of the call as inputs of the graph."""
        usual = ["input"] if len(slots) == 1 else [f"input_{i}" for i in range(len(slots))]
        for i, (slot, name) in enumerate(
            zip(slots, _checked_names(names, usual, "input"), strict=True)
        ):
            dtype = self.first.dtypes[slot.number]
            shape = self.shape(slot.number)
            fresh = self.builder.fresh(name)
            self.values[slot.number] = GraphValue(self.builder, fresh, dtype)
            if i in axes and self.builder.batch_source is None:
                self.builder.batch_source = (fresh, axes[i])
            self.inputs.append(ValueInfo(fresh, dtype, self._described(shape)))

    def shape(self, number: int) -> tuple[Size, ...]:
        """The shape of a slot, with Dims where the records differ."""
        shapes = [each.shapes[number] for each in self.records]
        return tuple(reduced(sizes) for sizes in zip(*shapes, strict=True))

    def _described(self, shape: Sequence[Size]) -> tuple[int | str | None, ...]:
        found: list[int | str | None] = []
        for size in shape:
            if isinstance(size, Dim):
                found.append(BATCH if size == Dim(self.builder.sizes) else None)
            else:
                found.append(size)
        return tuple(found)

    def finish(self, names: Sequence[str] | None) -> NodeGraph:
        """The graph, after its outputs have been named."""
        results = [part for part in leaves(self.first.result) if isinstance(part, Slot)]
        if not results:
            raise UnsupportedError("the call returns no array")
        usual = ["output"] if len(results) == 1 else [f"output_{i}" for i in range(len(results))]
        outputs: list[ValueInfo] = []
        taken: set[str] = set()
        for slot, name in zip(results, _checked_names(names, usual, "output"), strict=True):
            value = self.value_of(slot)
            fresh = self.builder.fresh(name)
            made = any(value.name in node.outputs for node in self.builder.nodes)
            if made and value.name not in taken:
                self._rename(value.name, fresh)
            else:
                self.builder.owner = ""
                copy = self.builder.op("Identity", value)
                self._rename(copy.name, fresh)
            taken.add(fresh)
            dtype, shape = self.first.dtypes[slot.number], self.shape(slot.number)
            outputs.append(ValueInfo(fresh, dtype, self._described(shape)))
        graph = NodeGraph(self.builder.nodes, self.inputs, outputs, self.builder.initializers)
        matrices = {v.name for n, v in self.values.items() if len(self.first.shapes[n]) == 2}
        return tidied(graph, matrices)

    def _rename(self, old: str, new: str) -> None:
        for node in self.builder.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
            node.outputs = [new if name == old else name for name in node.outputs]
        for value in self.values.values():
            if value.name == old:
                value.name = new

    # Values --------------------------------------------------------------------------------------

    def value_of(self, slot: Slot) -> GraphValue:
        """The GraphValue of a slot as it is now."""
        number = slot.number
        if number in self.stale:
            entry, _ = self.views[number]
            self._write_entry(self.first.entries.index(entry))
            self.stale.discard(number)
        if number not in self.values:
            self.values[number] = self._outside(number)
        return self.values[number]

    def _outside(self, number: int) -> GraphValue:
        """The GraphValue of an array that no call made."""
        found = [each.outside[number] for each in self.records]
        first = found[0]
        if all(each.array is first.array for each in found):
            return self.array(first.array, first.name)
        if all(
            each.array.shape == first.array.shape and each.array.tobytes() == first.array.tobytes()
            for each in found
        ):
            return self.array(first.array, "constant")
        return self._made_of_batch(number, [each.array for each in found], first.where)

    def array(self, array: Any, name: str) -> GraphValue:
        """The array as one of the file's, once."""
        if id(array) not in self.arrays:
            dtype = array.dtype.newbyteorder("=")
            plain = array if array.dtype == dtype else array.astype(dtype)
            self.arrays[id(array)] = self.builder.array(plain, name or "constant")
        return self.arrays[id(array)]

    def _made_of_batch(self, number: int, arrays: Sequence[Any], where: str) -> GraphValue:
        """An array whose shape depends on the batch: one number everywhere, or a range."""
        w, shape = self.builder, self.shape(number)
        first = arrays[0].reshape(-1)[:1]
        if all(np.all(array == first) for array in arrays):
            return w.op("Expand", w.number(first[0], first.dtype), w.sizes_of(shape))
        for axis, size in enumerate(shape):
            if isinstance(size, Dim) and all(_counts_along(a, axis) for a in arrays):
                end = w.squeeze(w.dim(size), [0])
                count = w.op("Range", w.number(0, np.int64), end, w.number(1, np.int64))
                turned = w.reshape(count, [-1 if i == axis else 1 for i in range(len(shape))])
                return w.op("Expand", turned, w.sizes_of(shape)).cast(arrays[0].dtype)
        for axis, size in enumerate(shape):
            if isinstance(size, Dim):
                rows = [array.take([0], axis=axis) for array in arrays]
                same = all(
                    row.shape == rows[0].shape and np.array_equal(row, rows[0]) for row in rows
                )
                if same and all(np.all(a == r) for a, r in zip(arrays, rows, strict=True)):
                    return w.op("Expand", w.array(rows[0]), w.sizes_of(shape))
        raise UnsupportedError(OTHER_ARRAY.format(where=where))

    # Entries -------------------------------------------------------------------------------------

    def write_entries(self) -> None:
        """Write all calls, those of modules that have an operator of their own as one."""
        needed, slots = self._needed()
        spans = sorted(self.first.spans, key=lambda span: (span.start, -span.stop))
        spans = [s for s in spans if any(part in slots for part in leaves(s.output))]
        position = 0
        while position < len(self.first.entries):
            entry = self.first.entries[position]
            self.builder.owner = entry.owner
            step = self._write_span(spans, position)
            if not step and position not in needed:
                step = 1
            if not step:
                self._write_entry(position)
                step = 1
            position += step

    def _needed(self) -> tuple[set[int], set[Slot]]:
        """The entries, and the slots, that the result depends on; a write counts as needed."""
        slots = {part for part in leaves(self.first.result) if isinstance(part, Slot)}
        entries: set[int] = set()
        for position in reversed(range(len(self.first.entries))):
            entry = self.first.entries[position]
            if entry.primitive.mutates or not slots.isdisjoint(leaves(list(entry.results))):
                entries.add(position)
                slots.update(p for p in leaves(list(entry.operands)) if isinstance(p, Slot))
        return entries, slots

    def _write_span(self, spans: list[ModuleSpan], position: int) -> int:
        """Write a module's call that begins here as a whole; the number of entries, 0 for none."""
        for span in [span for span in spans if span.start == position and span.stop > position]:
            inputs = [part for part in leaves(span.inputs) if isinstance(part, Slot)]
            outputs = [part for part in leaves(span.output) if isinstance(part, Slot)]
            module_call = ModuleCall(
                self.builder, span.module, [self.value_of(slot) for slot in inputs],
                [self.shape(slot.number) for slot in inputs],
                [(self.first.dtypes[s.number], self.shape(s.number)) for s in outputs],
                lambda tensor: self.array(
                    array_of(tensor), self.parameters.get(id(array_of(tensor)), "constant")
                ),
            )  # fmt: skip
            owner, self.builder.owner = self.builder.owner, self.first.names[id(span.module)]
            written = MODULES[type(span.module)](module_call)
            self.builder.owner = owner
            if written is None:
                continue
            values = [written] if isinstance(written, GraphValue) else list(written)
            for slot, value in zip(outputs, values, strict=True):
                self.values[slot.number] = value.cast(self.first.dtypes[slot.number])
            return span.stop - span.start
        return 0

    def _write_entry(self, position: int) -> None:
        entries = [each.entries[position] for each in self.records]
        entry = entries[0]
        name = entry.primitive.name
        exporter = EXPORTERS.get(name)
        if exporter is None:
            rare = entry.primitive.body.__module__.startswith("tapegrad.autograd.scipy.")
            reason = REASONS.get(name, RARE if rare else "it is declared outside of tapegrad")
            raise UnsupportedError(NO_ENTRY.format(where=entry.where, name=name, reason=reason))
        operands = merge([list(each.operands) for each in entries], entry.where)
        settings = merge([each.settings for each in entries], entry.where)
        results = [part for part in leaves(list(entry.results)) if isinstance(part, Slot)]
        if entry.primitive.mutates and isinstance(entry.operands[0], Slot):
            results = [entry.operands[0]]
        call = Call(
            self.builder, entry.primitive, tuple(self._written(o) for o in operands),
            tuple(self._shapes(o) for o in operands), settings,
            tuple((self.first.dtypes[s.number], self.shape(s.number)) for s in results),
            tuple(self._constant(o) for o in operands),
        )  # fmt: skip
        is_empty = call.results and all(0 in shape for _, shape in call.results)
        written: GraphValue | Sequence[GraphValue]
        try:
            written = _empty(call) if is_empty else exporter(call)
        except FormatError as error:
            raise UnsupportedError(f"{entry.where}: {name}: {error}") from error
        values = [written] if isinstance(written, GraphValue) else list(written)
        for slot, value in zip(results, values, strict=False):
            dtype = self.first.dtypes[slot.number]
            self.values[slot.number] = value.cast(dtype)
        if entry.primitive.mutates:
            self._written_into(results[0].number, entry)
        elif entry.primitive.view and isinstance(entry.operands[0], Slot):
            for slot in results:
                self.views[slot.number] = entry, entry.operands[0].number

    def _written_into(self, number: int, entry: RecordedNode) -> None:
        """Note that the views of an array must be taken again.  Refuses a write into a view."""
        if number in self.views:
            raise UnsupportedError(
                f"{entry.where}: a write into a view; write into the array itself, by its index"
            )
        changed = {number}
        for view, (_, base) in self.views.items():
            if base in changed:
                changed.add(view)
        self.stale |= changed - {number}

    def _written(self, operand: Any) -> Any:
        """The operand of a Call: Values for slots."""
        if isinstance(operand, Slot):
            return self.value_of(operand)
        if isinstance(operand, list):
            return [self._written(part) for part in operand]
        return operand

    def _shapes(self, operand: Any) -> Any:
        if isinstance(operand, Slot):
            return self.shape(operand.number)
        return [self._shapes(part) for part in operand] if isinstance(operand, list) else ()

    def _constant(self, operand: Any) -> Any:
        if not isinstance(operand, Slot) or operand.number not in self.first.outside:
            return None
        return self.first.outside[operand.number].array


def _empty(call: Call) -> list[GraphValue]:
    """Arrays without entries: programs differ in what operators make of these."""
    w = call.builder
    return [
        w.op("ConstantOfShape", w.sizes_of(shape), dtype=dtype, value=np.zeros(1, dtype))
        for dtype, shape in call.results
    ]


def _counts_along(array: Any, axis: int) -> bool:
    """Whether every entry is its place along the axis, from 0."""
    if array.dtype.kind not in "iu":
        return False
    places = np.arange(array.shape[axis]).reshape(
        [-1 if i == axis else 1 for i in range(array.ndim)]
    )
    return bool(np.array_equal(array, np.broadcast_to(places, array.shape)))


def _checked_names(given: Sequence[str] | None, usual: list[str], what: str) -> list[str]:
    if given is None:
        return usual
    if len(given) != len(usual) or len(set(given)) != len(usual) or not all(given):
        raise ValueError(f"{what}_names must be {len(usual)} different names, found {list(given)}")
    return list(given)
