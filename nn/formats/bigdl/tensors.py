"""Tensors of BigDL's files: views of storages, which have ids; both ways.

A tensor has sizes, strides and an offset counted from 1 in a storage.  The entries of a storage lie
once in the file: in the tensor that the root's attribute "global_storage" has for it, or in a file
of their own, or (up to 0.5) where a tensor of it comes first.  Tensors of one storage share memory
here as there, and those of one id are one Parameter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Parameter
from tapegrad.nn.formats.bigdl.fields import DATA_TYPE, SCHEMA
from tapegrad.nn.formats.common.errors import FormatError, LimitError, Limits, UnsupportedError

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["GLOBAL", "LISTS", "TensorReader", "TensorWriter", "type_number"]

Array = np.ndarray[Any, Any]

GLOBAL = "global_storage"
# BigDL's type -> the list of a storage, and the type of its arrays
LISTS: dict[str, tuple[str, np.dtype[Any]]] = {
    "FLOAT": ("float_data", np.dtype(np.float32)),
    "DOUBLE": ("double_data", np.dtype(np.float64)),
    "INT32": ("int_data", np.dtype(np.int32)),
    "SHORT": ("int_data", np.dtype(np.int32)),
    "INT64": ("long_data", np.dtype(np.int64)),
    "BOOL": ("bool_data", np.dtype(np.bool_)),
}
TYPES = {dtype: name for name, (_, dtype) in LISTS.items() if name != "SHORT"}
NO_STORAGE = "the entries of storage {id} (a definition has none; a file with weights of its own \
needs weightPath)"


def type_number(dtype: np.dtype[Any], path: str) -> int:
    """BigDL's number of a type.  Raises UnsupportedError for one that it lacks."""
    if dtype not in TYPES:
        raise UnsupportedError("float32 or float64, as BigDL has", str(dtype), path=path)
    return DATA_TYPE[TYPES[dtype]]


# Reading ------------------------------------------------------------------------------------------


class TensorReader:
    """The tensors of one file.

    root:     its module
    separate: storages by id, where they lie in a file of their own
    empty:    whether storages without entries are made of zeros, as of a definition
    Raises FormatError, LimitError.
    """

    def __init__(
        self,
        root: Record,
        limits: Limits,
        file: str | None,
        separate: Mapping[int, Array] | None = None,
        empty: bool = False,
    ) -> None:
        self.limits, self.file, self.empty = limits, file, empty
        self.expanded = 0
        self.arrays: dict[int, Array] = {}
        self.views: dict[Any, Array] = {}
        self.parameters: dict[int, Parameter] = {}
        self.quantized: dict[int, Record] = {}  # storages of int8, by id
        self.found: dict[int, Array] = dict(separate or {})
        for tensor in _tensors_of(root):
            storage = tensor.storage
            name = DATA_TYPE.names.get(storage.datatype or tensor.datatype, "")
            if storage.bytes_data:
                self.quantized.setdefault(storage.id, storage)
            if storage.id and storage.id not in self.found and name in LISTS:
                values = getattr(storage, LISTS[name][0])
                if len(values):
                    self.found[storage.id] = values

    def error(
        self, expected: str, found: Any, path: str, kind: type[FormatError] = FormatError
    ) -> FormatError:
        return kind(expected, found, file=self.file, path=path)

    def array(self, tensor: Record, path: str) -> Array | None:
        """The array of a tensor, a view of its storage; None for a tensor without entries."""
        name = DATA_TYPE.names.get(tensor.datatype, "")
        if name not in LISTS:
            raise self.error("a tensor of numbers", name or tensor.datatype, path, UnsupportedError)
        dtype = LISTS[name][1]
        size, stride = tuple(tensor.size), tuple(tensor.stride)
        if any(n < 0 for n in (*size, *stride)) or len(size) != len(stride):
            raise self.error("sizes, and as many strides", f"{size}, {stride}", path)
        if len(size) > self.limits.max_ndim:
            raise self.error(f"at most {self.limits.max_ndim} sizes", len(size), path, LimitError)
        count = math.prod(size)
        if not count or (not size and not tensor.isScalar):
            return None
        if tensor.storage.id not in self.found and self.empty:
            return self._zeros(size, dtype, path)
        whole = self._storage(tensor, dtype, path)
        first = tensor.offset - 1
        last = first + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if first < 0 or last >= whole.size:
            raise self.error(f"a view of {whole.size} entries", f"entries {first} to {last}", path)
        if count > whole.size:
            self._expand(count * dtype.itemsize, path)
        steps = [
            step * dtype.itemsize if n > 1 else dtype.itemsize
            for n, step in zip(size, stride, strict=True)
        ]
        key = (tensor.storage.id, first, size, tuple(steps))
        if key not in self.views:
            self.views[key] = np.ndarray(size, dtype, whole, first * dtype.itemsize, steps)
        return self.views[key]

    def _expand(self, size: int, path: str) -> None:
        self.expanded += size
        if self.expanded > self.limits.max_expanded:
            expected = f"at most {self.limits.max_expanded} bytes that the file does not hold"
            raise self.error(expected, self.expanded, path, LimitError)

    def _zeros(self, size: tuple[int, ...], dtype: np.dtype[Any], path: str) -> Array:
        self._expand(math.prod(size) * dtype.itemsize, path)
        return np.zeros(size, dtype)

    def _storage(self, tensor: Record, dtype: np.dtype[Any], path: str) -> Array:
        """All entries of a tensor's storage, in memory of their own."""
        number = tensor.storage.id
        if number not in self.arrays:
            if number not in self.found:
                raise self.error(NO_STORAGE.format(id=number), None, path)
            self.arrays[number] = np.array(self.found[number], dtype.newbyteorder("="))
        whole = self.arrays[number]
        if whole.dtype != dtype:
            raise self.error(f"a storage of {dtype}", str(whole.dtype), path)
        return whole

    def shared(self, tensor: Record, array: Array, path: str) -> Parameter:
        """The Parameter of a tensor; the same for tensors of one id.

        array: what the layer has of the tensor, perhaps with other axes
        """
        if array.dtype.kind != "f":
            raise self.error("a parameter of numbers with fractions", str(array.dtype), path)
        known = self.parameters.get(tensor.id) if tensor.id else None
        if known is not None and known.shape == array.shape:
            return known
        found = Parameter(array)
        if tensor.id:
            self.parameters.setdefault(tensor.id, found)
        return found


def _tensors_of(root: Record) -> Iterator[Record]:
    """All tensors in a file, the global storage's first; without recursion."""
    values = root.attr
    if GLOBAL in values:
        for value in values[GLOBAL].nameAttrListValue.attr.values():
            if "tensorValue" in value:
                yield value.tensorValue
    stack: list[Any] = [root]
    while stack:
        record = stack.pop()
        for field, value in record.items():
            if field.message is None:
                continue
            inner = value.values() if field.is_map else value if field.repeated else [value]
            if field.kind == "BigDLTensor":
                yield from inner
            elif field.kind != "TensorStorage":
                stack += inner


# Writing ------------------------------------------------------------------------------------------


class TensorWriter:
    """The tensors of one file that is being written; `finish` gives the storages."""

    def __init__(self) -> None:
        self.number = 0
        self.tensors: list[tuple[Record, Array]] = []
        self.of_array: dict[Any, Record] = {}

    def next_id(self) -> int:
        """A number that nothing else in the file has: tensors, storages and modules share them."""
        self.number += 1
        return self.number

    def tensor(self, array: Array, path: str) -> Record:
        """The record of an array, without its entries.  Raises UnsupportedError for its type."""
        if array.dtype.byteorder not in "=|" or any(n % array.itemsize for n in array.strides):
            array = np.array(array, array.dtype.newbyteorder("="))
        if any(n < 0 for n in array.strides):
            array = array.copy()
        start = array.__array_interface__["data"][0]
        key = (start, array.shape, array.strides, array.dtype)
        if key in self.of_array:
            return self.of_array[key]
        number = type_number(array.dtype, path)
        record = SCHEMA.new(
            "BigDLTensor",
            datatype=number,
            size=list(array.shape),
            stride=[n // array.itemsize for n in array.strides],
            offset=1,
            dimension=array.ndim,
            nElements=array.size,
            isScalar=array.ndim == 0,
            storage=SCHEMA.new("TensorStorage", datatype=number),
            id=self.next_id(),
        )
        self.of_array[key] = record
        self.tensors.append((record, array))
        return record

    def finish(self) -> list[tuple[Record, Array]]:
        """Give each tensor its storage; returns (a tensor of it, entries) for each storage.

        Arrays whose memory overlaps have one storage, from their first entry to their last.
        """
        spans = []
        for number, (record, array) in enumerate(self.tensors):
            start, end = np.lib.array_utils.byte_bounds(array)
            spans.append((start, end, array.dtype.str, record, array, number))
        spans.sort(key=lambda span: (span[2], span[0]))
        groups: list[list[Any]] = []
        for span in spans:
            before = groups[-1] if groups else None
            same = before is not None and before[0][2] == span[2]
            if before is not None and same and span[0] < max(each[1] for each in before):
                before.append(span)
            else:
                groups.append([span])
        storages = []
        groups.sort(key=lambda group: min(span[5] for span in group))
        for group in groups:
            group.sort(key=lambda span: span[5])
            start, end = min(each[0] for each in group), max(each[1] for each in group)
            number = self.next_id()
            entries = _whole(group, start, end)
            for first, _, _, record, array, _ in group:
                record.storage.id = number
                record.offset = (first - start) // array.itemsize + 1
            storages.append((group[0][3], entries))
        return storages


def _whole(group: list[Any], start: int, end: int) -> Array:
    """The entries from `start` to `end` of memory that the arrays of a group lie in."""
    first = group[0][4]
    if len(group) == 1 and first.flags.c_contiguous:
        return np.asarray(first.reshape(-1))
    base = first
    while isinstance(base.base, np.ndarray):
        base = base.base
    low, high = np.lib.array_utils.byte_bounds(base)
    if low <= start and end <= high:
        count = (end - start) // first.itemsize
        interface = {
            "data": (start, False),
            "shape": (count,),
            "typestr": first.dtype.str,
            "version": 3,
        }
        return np.asarray(_Memory(interface, base))
    raise UnsupportedError("arrays whose memory is one array's", "several that overlap")


class _Memory:
    """A stretch of memory, which `owner` keeps alive."""

    def __init__(self, interface: dict[str, Any], owner: Array) -> None:
        self.__array_interface__ = interface
        self.owner = owner
