"""Writes a Record as the bytes of a protobuf message, by tables of fields.

The sizes are computed first, from the inside out; then everything is streamed.  Large arrays are
written from where they lie, a part at a time: nothing of them is copied as a whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.common.records import Record
from tapegrad.nn.formats.common.tables_of_fields import BYTES, VARINT, Field
from tapegrad.nn.formats.common.varints import as_unsigned, encode_varints, varint_sizes
from tapegrad.nn.formats.common.wire_reading import MAX_DEPTH

__all__ = ["varint", "write_message"]

_CHUNK = 1 << 20  # numbers of an array that are converted at once
_LONGEST = 2**31 - 1  # bytes of a file: protobuf's own readers refuse more
TOO_LONG = (
    "a file of less than 2 GiB, as protobuf has them (keep weights in a file of their own, or save "
    "as .safetensors)"
)
_RANGES = {
    "int32": (-(2**31), 2**31),
    "sint32": (-(2**31), 2**31),
    "int64": (-(2**63), 2**63),
    "sint64": (-(2**63), 2**63),
    "uint32": (0, 2**32),
    "uint64": (0, 2**64),
}
_CODES = {
    "float": "<f",
    "fixed32": "<I",
    "sfixed32": "<i",
    "double": "<d",
    "fixed64": "<Q",
    "sfixed64": "<q",
}


def varint(value: int) -> bytes:
    """The bytes of a number from 0 to 2⁶⁴ − 1."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class _Array:
    """Numbers of a field that are converted and written in chunks."""

    def __init__(self, values: np.ndarray[Any, Any], field: Field, path: str) -> None:
        self.values, self.field = values.reshape(-1), field  # a copy where the strides ask for it
        self.kind = "int32" if field.enum else field.kind
        if field.wire == VARINT:
            if values.dtype.kind not in "iub":
                raise UnsupportedError(f"whole numbers for {field.name}", values.dtype, path=path)
            low, high = _RANGES.get(self.kind, (0, 2))
            if values.size and not low <= int(values.min()) <= int(values.max()) < high:
                raise UnsupportedError(f"numbers of {self.kind} for {field.name}", path=path)

    def size(self) -> int:
        if self.field.wire != VARINT:
            assert self.field.dtype is not None  # all numbers but those of VARINT have one
            return self.values.size * self.field.dtype.itemsize
        return sum(int(varint_sizes(part).sum()) for part in self._unsigned())

    def _unsigned(self) -> Iterator[np.ndarray[Any, Any]]:
        step = _CHUNK // 16  # ten bytes for each number meanwhile
        for start in range(0, self.values.size, step):
            yield as_unsigned(self.values[start : start + step], self.kind)

    def pieces(self) -> Iterator[bytes | memoryview]:
        if self.field.wire == VARINT:
            yield from map(encode_varints, self._unsigned())
            return
        for start in range(0, self.values.size, _CHUNK):
            part = np.ascontiguousarray(self.values[start : start + _CHUNK], self.field.dtype)
            yield part.data.cast("B")


class _Turned:
    """The bytes of an array of several axes, row by row, where its memory has another order."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values = values

    def __len__(self) -> int:
        return self.values.nbytes

    def pieces(self) -> Iterator[memoryview]:
        row = max(1, self.values.nbytes // len(self.values))
        step = max(1, 4 * _CHUNK // row)
        for start in range(0, len(self.values), step):
            part = np.ascontiguousarray(self.values[start : start + step])
            yield part.reshape(-1).view(np.uint8).data


def write_message(record: Record, stream: BinaryIO) -> int:
    """Write the bytes of `record`, and return their number.

    Raises UnsupportedError for what protobuf, or a field, can't hold, before anything is written.
    """
    parts: list[Any] = []
    size = _message(record, parts, "root", 1)
    if size > _LONGEST:
        raise UnsupportedError(TOO_LONG, f"{size} bytes")
    small = bytearray()
    for part in parts:
        if isinstance(part, bytes):
            small += part
            if len(small) < _CHUNK:
                continue
        stream.write(small)
        small = bytearray()
        if isinstance(part, (_Array, _Turned)):
            stream.writelines(part.pieces())
        elif not isinstance(part, bytes):
            stream.write(part)
    stream.write(small)
    return size


def _message(record: Record, parts: list[Any], path: str, depth: int) -> int:
    """Append the parts of a message; returns their size."""
    if depth > MAX_DEPTH:
        raise UnsupportedError(f"messages in messages, at most {MAX_DEPTH} deep", path=path)
    total = 0
    for field, value in record.items():
        place = f"{path}.{field.name}"
        if field.entry is not None:
            for key, entry in value.items():
                pair = Record(field.entry, {"key": key, "value": entry})
                total += _length_first(field, pair, parts, f"{place}[{key!s:.40}]", depth)
        elif field.message is not None:
            several = field.repeated
            for i, child in enumerate(value if several else [value]):
                where = f"{place}[{i}]" if several else place
                total += _length_first(field, child, parts, where, depth)
        elif field.dtype is not None and field.repeated:
            total += _numbers(field, value, parts, place)
        else:
            for one in value if field.repeated else [value]:
                total += _one(field, one, parts, place)
    return total


def _length_first(field: Field, child: Record, parts: list[Any], path: str, depth: int) -> int:
    at = len(parts)
    parts.append(b"")
    if field.entry is not None and field.message is not None and depth + 2 > MAX_DEPTH:
        raise UnsupportedError(f"messages in messages, at most {MAX_DEPTH} deep", path=path)
    size = _message(child, parts, path, depth + 1)
    parts[at] = varint(field.number << 3 | BYTES) + varint(size)
    return len(parts[at]) + size


def _numbers(field: Field, value: Any, parts: list[Any], path: str) -> int:
    """Numbers of a repeated field, packed or one by one."""
    if not field.packed:
        values = value.reshape(-1).tolist() if isinstance(value, np.ndarray) else value
        return sum(_one(field, one, parts, path) for one in values)
    if isinstance(value, np.ndarray):
        array = _Array(value, field, path)
        size = array.size()
        head = varint(field.number << 3 | BYTES) + varint(size)
        parts += [head, array]
        return len(head) + size
    body = b"".join(_number(field, one, path) for one in value)
    head = varint(field.number << 3 | BYTES) + varint(len(body))
    parts.append(head + body)
    return len(head) + len(body)


def _one(field: Field, value: Any, parts: list[Any], path: str) -> int:
    tag = varint(field.number << 3 | field.wire)
    if field.dtype is not None:
        parts.append(tag + _number(field, value, path))
        return len(parts[-1])
    if field.kind == "string":
        if not isinstance(value, str):
            raise UnsupportedError("a text", type(value).__name__, path=path)
        try:
            body: Any = value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UnsupportedError("a text that UTF-8 has", ascii(value), path=path) from error
    elif isinstance(value, np.ndarray):
        if value.size and not value.flags.c_contiguous:
            body = _Turned(value)
        else:
            body = np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
    elif isinstance(value, (bytes, bytearray, memoryview)):
        body = bytes(value)
    else:
        raise UnsupportedError("bytes", type(value).__name__, path=path)
    head = tag + varint(len(body))
    parts += [head, body]
    return len(head) + len(body)


def _number(field: Field, value: Any, path: str) -> bytes:
    kind = "int32" if field.enum else field.kind
    if field.wire != VARINT:
        try:
            return struct.pack(_CODES[kind], value)
        except (struct.error, OverflowError) as error:
            raise UnsupportedError(f"a number of {kind}", repr(value), path=path) from error
    if kind == "bool":
        return b"\1" if value else b"\0"
    number = int(value)
    low, high = _RANGES[kind]
    if not low <= number < high:
        raise UnsupportedError(f"a number of {kind}", repr(value), path=path)
    if kind in ("sint32", "sint64"):
        number = number << 1 ^ (-1 if number < 0 else 0)
    return varint(number & (2**64 - 1))
