"""Write the bytes of a Torch7 file: the other direction of reader.py.

`WritePlan` walks over the objects twice, without recursion.  The first walk checks that everything
can be written, and finds the arrays that see the same memory: they become tensors of one storage
and keep their strides.  The second walk writes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.torch7.object_reader import (
    BOOLEAN,
    NIL,
    NUMBER,
    STRING,
    TABLE,
    TORCH,
    objects_of,
)
from tapegrad.nn.formats.torch7.objects import STORAGE_TYPES, Storage, TorchObject

if TYPE_CHECKING:
    from tapegrad.nn.formats.torch7.encodings import Order

__all__ = ["WritePlan"]

Mode = Literal["binary", "ascii"]
_NAMES = {dtype: name for name, dtype in STORAGE_TYPES.items() if not name.startswith("Cuda")}
_CHUNK = 1 << 13


class WritePlan:
    """An object to write, and the storages of its arrays.

    Raises UnsupportedError for what cannot be written, before a byte is written.

    obj: None, booleans, numbers, strings, arrays, lists, tuples, dicts, Table, Storage, TorchObject
    """

    def __init__(self, obj: Any) -> None:
        self.root = obj
        self.kept: list[Any] = []  # so that no identity is given to two objects
        self.tensors: dict[int, tuple[_Span, np.ndarray[Any, Any]]] = {}
        arrays: dict[int, np.ndarray[Any, Any]] = {}
        for path, item in _walk_written(obj):
            if isinstance(item, (np.ndarray, Storage)):
                array = item.array if isinstance(item, Storage) else item
                if _plain_dtype(array) not in _NAMES:
                    raise UnsupportedError("a type that Torch7 has", str(array.dtype), path=path)
            if isinstance(item, np.ndarray) and item.size:
                arrays[id(item)] = item
                self.kept.append(item)
        self._share(arrays)

    def _share(self, arrays: dict[int, np.ndarray[Any, Any]]) -> None:
        """Find which arrays overlap or touch within one allocation: they share a storage."""
        groups: dict[tuple[int, Any, int], list[tuple[int, int, int]]] = {}
        for key, array in arrays.items():
            if not _strided(array):
                self._own(key, array)
                continue
            low, high = np.lib.array_utils.byte_bounds(array)
            phase = low % array.dtype.itemsize
            groups.setdefault((id(_owner(array)), array.dtype, phase), []).append((low, high, key))
        for members in groups.values():
            members.sort()
            together: list[tuple[int, int, int]] = []
            end = 0
            for member in members:
                if together and member[0] > end:
                    self._together(together, arrays, end)
                    together = []
                end = max(end, member[1]) if together else member[1]
                together.append(member)
            self._together(together, arrays, end)

    def _together(
        self,
        members: list[tuple[int, int, int]],
        arrays: dict[int, np.ndarray[Any, Any]],
        end: int,
    ) -> None:
        start, _, first = members[0]
        array = arrays[first]
        count = (end - start) // array.dtype.itemsize
        if len(members) == 1 and count != array.size:
            self._own(first, array)  # the memory between its entries is not written
            return
        span = _Span(as_strided(array, (count,), (array.dtype.itemsize,)), start)
        for _, _, key in members:
            self.tensors[key] = (span, arrays[key])

    def _own(self, key: int, array: np.ndarray[Any, Any]) -> None:
        copy = np.ascontiguousarray(array, dtype=_plain_dtype(array))
        start = np.lib.array_utils.byte_bounds(copy)[0]
        self.tensors[key] = (_Span(copy.reshape(-1), start), copy.reshape(array.shape))

    def _check_short_longs(self) -> None:
        """Raise UnsupportedError for what does not go into 32 bits, before a byte is written."""
        for path, item in _walk_written(self.root):
            array = item.array if isinstance(item, Storage) else item
            if not isinstance(array, np.ndarray):
                continue
            wide = array.dtype == np.int64 and array.size and np.abs(array).max() >= 2**31
            if wide and np.any(array != array.astype(np.int32)):
                found = str(array.reshape(-1)[np.argmax(np.abs(array))])
                raise UnsupportedError("longs of 4 bytes", found, path=path)
            if array.size >= 2**31:
                raise UnsupportedError("sizes of 4 bytes", str(array.size), path=path)

    def header(self, item: TorchObject) -> Any:
        """Return what a file has before an object's fields.

        That is an nn.GPU's type and device, a DataParallelTable's numbers of GPUs, else None.
        """
        known = item.fields if isinstance(item.fields, Mapping) else {}
        if item.class_name != "nn.GPU":
            return known.get("gpuAssignments")
        kept = {i: known.get(name) for i, name in enumerate(("_type", "device"), 1)}
        self.kept.append(kept)
        return kept

    def write(
        self,
        stream: BinaryIO,
        mode: Mode = "binary",
        long_size: int = 8,
        order: Order = "little",
    ) -> None:
        """Write everything to `stream`."""
        if mode not in {"binary", "ascii"} or long_size not in {4, 8}:
            raise ValueError(f"mode is 'binary' or 'ascii', long_size 4 or 8: {mode}, {long_size}")
        if mode == "binary" and long_size == 4:
            self._check_short_longs()
        out = _AsciiOut(stream) if mode == "ascii" else _BinaryOut(stream, long_size, order)
        _emit(self, out)


class _Span:
    """A storage: the memory that some tensors see, and where it begins."""

    __slots__ = ("data", "start")

    def __init__(self, data: np.ndarray[Any, Any], start: int) -> None:
        self.data, self.start = data, start


def _plain_dtype(array: np.ndarray[Any, Any]) -> np.dtype[Any]:
    return np.dtype(np.uint8) if array.dtype == bool else array.dtype.newbyteorder("=")


def _strided(array: np.ndarray[Any, Any]) -> bool:
    """Whether Torch7 can describe this array as it lies."""
    width = array.dtype.itemsize
    known = array.dtype == _plain_dtype(array) and array.dtype.isnative
    return known and all(step >= 0 and step % width == 0 for step in array.strides)


def _owner(array: np.ndarray[Any, Any]) -> Any:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array if array.base is None else array.base


def _pairs(item: Any) -> list[tuple[Any, Any]]:
    """Return (key, value) of a mapping or list that becomes a table; None is left out."""
    if isinstance(item, Mapping):
        pairs = list(item.items())
    else:
        pairs = list(enumerate(item, 1))
    return [(key, value) for key, value in pairs if value is not None]


def _walk_written(obj: Any) -> Iterator[tuple[str, Any]]:
    """(path, thing) for everything below `obj`, each once; raises for what can't be written."""
    stack: list[tuple[str, Any]] = [("root", obj)]
    seen: set[int] = set()
    while stack:
        path, item = stack.pop()
        if item is None or isinstance(item, (bool, float, str, bytes, np.floating, np.bool)):
            continue
        if isinstance(item, (int, np.integer)):
            if abs(int(item)) > 2**53:
                raise UnsupportedError("an integer that a double holds", str(item), path=path)
            continue
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield path, item
        if isinstance(item, TorchObject):
            stack.append((path, item.fields))
        elif isinstance(item, (Mapping, list, tuple)):
            for key, value in _pairs(item):
                step = f".{key}" if isinstance(key, str) else f"[{key!r:.40}]"
                if key is None or (isinstance(key, float) and math.isnan(key)):
                    raise UnsupportedError("a key that Lua has", repr(key), path=path)
                stack.extend(((path + step, value), (f"{path}.<key>", key)))
        elif not isinstance(item, (np.ndarray, Storage)):
            raise UnsupportedError("something that Torch7 has", type(item).__name__, path=path)


def _emit(plan: WritePlan, out: _BinaryOut | _AsciiOut) -> None:
    indices: dict[int, int] = {}
    stack = [plan.root]
    while stack:
        item = stack.pop()
        if item is None:
            out.integer(NIL)
        elif isinstance(item, (bool, np.bool)):
            out.integer(BOOLEAN)
            out.integer(int(item))
        elif isinstance(item, (int, float, np.integer, np.floating)):
            out.integer(NUMBER)
            out.double(float(item))
        elif isinstance(item, (str, bytes)):
            out.integer(STRING)
            out.string(item)
        else:
            torch = isinstance(item, (np.ndarray, Storage, TorchObject))
            out.integer(TORCH if torch else TABLE)
            known = id(item) in indices
            out.integer(indices.setdefault(id(item), len(indices) + 1))
            if known:
                continue
            if isinstance(item, np.ndarray):
                _emit_tensor(plan, out, item, indices)
            elif isinstance(item, Storage):
                _emit_storage(out, item.array, item.name)
            elif isinstance(item, TorchObject):
                if item.version:
                    out.string(f"V {item.version}")
                out.string(item.class_name)
                count = objects_of(item.class_name, item.version)
                stack.extend([item.fields] if count else [])
                if count == 2:
                    stack.append(plan.header(item))
            else:
                pairs = _pairs(item)
                out.integer(len(pairs))
                for key, value in reversed(pairs):
                    stack.extend((value, key))


def _emit_tensor(
    plan: WritePlan,
    out: _BinaryOut | _AsciiOut,
    array: np.ndarray[Any, Any],
    indices: dict[int, int],
) -> None:
    name = _NAMES[_plain_dtype(array)]
    out.string("V 1")
    out.string(f"torch.{name}Tensor")
    if not array.size:
        out.integer(0)
        out.longs([1])
        out.integer(NIL)
        return
    span, view = plan.tensors[id(array)]
    width = view.dtype.itemsize
    start = np.lib.array_utils.byte_bounds(view)[0]
    out.integer(max(view.ndim, 1))
    out.longs(view.shape or [1])
    out.longs([step // width for step in view.strides] or [1])
    out.longs([(start - span.start) // width + 1])
    out.integer(TORCH)
    known = id(span) in indices
    out.integer(indices.setdefault(id(span), len(indices) + 1))
    if not known:
        _emit_storage(out, span.data, None)


def _emit_storage(
    out: _BinaryOut | _AsciiOut, data: np.ndarray[Any, Any], name: str | None
) -> None:
    out.string("V 1")
    kind = _NAMES[_plain_dtype(data)]
    out.string(name or f"torch.{kind}Storage")
    out.longs([data.size])
    out.entries(data.reshape(-1), kind)


class _BinaryOut:
    """Numbers as a machine with this byte order and these longs has them."""

    def __init__(self, stream: BinaryIO, long_size: int, order: Order) -> None:
        self.stream, self.long_size, self.order = stream, long_size, order

    def integer(self, value: int) -> None:
        self.stream.write(value.to_bytes(4, self.order, signed=True))

    def longs(self, values: Any) -> None:
        width = self.long_size
        for value in values:
            self.stream.write(int(value).to_bytes(width, self.order, signed=True))

    def double(self, value: float) -> None:
        self.stream.write(np.array(value, "<f8" if self.order == "little" else ">f8").tobytes())

    def string(self, value: str | bytes) -> None:
        data = _encoded(value)
        self.integer(len(data))
        self.stream.write(data)

    def entries(self, data: np.ndarray[Any, Any], kind: str) -> None:
        for at in range(0, data.size, _CHUNK):
            piece = data[at : at + _CHUNK]
            if kind == "Long" and self.long_size == 4:
                piece = piece.astype(np.int32)
            if self.order != sys.byteorder:
                piece = piece.byteswap()
            self.stream.write(piece.tobytes())


class _AsciiOut:
    """Numbers as text with the digits that bring each back exactly."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def integer(self, value: int) -> None:
        self.stream.write(b"%d\n" % value)

    def longs(self, values: Any) -> None:
        self.stream.write(" ".join(str(int(value)) for value in values).encode() + b"\n")

    def double(self, value: float) -> None:
        self.stream.write(f"{value:.17g}\n".encode())

    def string(self, value: str | bytes) -> None:
        data = _encoded(value)
        self.integer(len(data))
        if data:
            self.stream.write(data + b"\n")

    def entries(self, data: np.ndarray[Any, Any], kind: str) -> None:
        if not data.size:
            return
        if kind in {"Byte", "Char"}:
            self.stream.write(data.tobytes())
        else:
            form = {"Double": "{:.17g}", "Float": "{:.9g}", "Half": "{:.9g}"}.get(kind, "{}")
            for at in range(0, data.size, _CHUNK):
                texts = [form.format(value) for value in data[at : at + _CHUNK].tolist()]
                self.stream.write((" " if at else "").encode() + " ".join(texts).encode())
        self.stream.write(b"\n")


def _encoded(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
