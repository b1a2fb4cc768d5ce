"""Reads the bytes of a protobuf message, by tables of fields, within limits.

One loop over a map of the file, without recursion.  Each length is compared with the bytes that
remain in its message before anything is made; what is made is counted (`Limits`).  Arrays of fixed
width are views of the map, also those that were written one number at a time: they have strides.

Messages nest at most MAX_DEPTH deep, as for protobuf's own readers.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.nn.formats.common.errors import FormatError, LimitError, Limits, TruncatedError
from tapegrad.nn.formats.common.records import Record, message_of, values_of
from tapegrad.nn.formats.common.tables_of_fields import BYTES, FIXED64, VARINT, Field, Message
from tapegrad.nn.formats.common.varints import decode_varints

__all__ = ["MAX_DEPTH", "read_message"]

MAX_DEPTH = 100
_GROUP, _END_GROUP, _FIXED32 = 3, 4, 5
# Bytes of Python objects: a Record with its dict, an entry of a list or dict, an array.
_RECORD, _ENTRY, _ARRAY = 400, 100, 300
WIRES = {0: "a varint", 1: "8 bytes", 2: "bytes with a length", 5: "4 bytes"}


def _signed32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value


def _signed64(value: int) -> int:
    return value - (1 << 64) if value & (1 << 63) else value


# kind -> the value of a varint of 64 bits
_FROM_VARINT: dict[str, Callable[[int], Any]] = {
    "int32": _signed32,
    "int64": _signed64,
    "uint32": lambda value: value & 0xFFFFFFFF,
    "uint64": lambda value: value,
    "sint32": lambda value: _signed32((value >> 1) ^ -(value & 1)),
    "sint64": lambda value: (value >> 1) ^ -(value & 1),
    "bool": bool,
}
_FROM_FIXED = {
    kind: struct.Struct("<" + code)
    for kind, code in zip(
        ("float", "fixed32", "sfixed32", "double", "fixed64", "sfixed64"), "fIidQq", strict=True
    )
}


class _Frame:
    """A message that is being read: its record, and which field of which parent it is."""

    __slots__ = ("end", "entry", "field", "index", "message", "record", "values")

    def __init__(self, record: Record, end: int, field: Field | None, index: int | None) -> None:
        self.record, self.end, self.field, self.index = record, end, field, index
        self.message, self.values = message_of(record), values_of(record)
        self.entry = field is not None and self.message is field.entry


def read_message(
    data: Any,
    message: Message,
    limits: Limits,
    file: str | None = None,
    skipped: Counter[str] | None = None,
    at: int = 0,
) -> Record:
    """The record in `data`, bytes or a map of a file, from byte `at` to the end.

    skipped: counts the fields that the tables do not have, "Message.17"
    Raises FormatError or one of its children, with the byte and the path.
    """
    return _Walker(data, limits, file, skipped, at).run(message)


class _Walker:
    def __init__(
        self, data: Any, limits: Limits, file: str | None, skipped: Counter[str] | None, at: int
    ) -> None:
        self.data, self.limits, self.file, self.skipped, self.at = data, limits, file, skipped, at
        self.stack: list[_Frame] = []
        self.nodes = 0
        self.left = limits.overhead(len(data))
        # (record, field) with a list of arrays, which are joined at the end
        self.gathered: list[tuple[Record, Field]] = []

    # Errors and limits

    def error(self, kind: type[FormatError], expected: str, found: Any = None) -> FormatError:
        return kind(expected, found, file=self.file, offset=self.at, path=self.path())

    def path(self) -> str:
        words, in_entry = ["root"], False
        for frame in self.stack[1:]:
            inside, in_entry = in_entry, frame.entry
            if frame.field is None or inside:  # the value of an entry is named by its key
                continue
            word = f".{frame.field.name}"
            if frame.entry:
                word += f"[{frame.values.get('key', '')!s:.40}]"
            elif frame.index is not None:
                word += f"[{frame.index}]"
            words.append(word)
        return "".join(words)

    def spend(self, size: int) -> None:
        """One more node, of `size` bytes of memory."""
        self.nodes += 1
        self.left -= size
        if self.nodes > self.limits.max_nodes:
            raise self.error(LimitError, f"at most {self.limits.max_nodes} values", self.nodes)
        if self.left < 0:
            most = self.limits.overhead(len(self.data))
            raise self.error(LimitError, f"values of at most {most} bytes in memory")

    # Numbers

    def varint(self, end: int) -> int:
        data, at = self.data, self.at
        value = shift = 0
        while at < end:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    raise self.error(FormatError, "a number of 64 bits")
                self.at = at
                return value
            shift += 7
            if shift > 63:
                raise self.error(FormatError, "a varint of at most 10 bytes")
        raise self.error(TruncatedError, "the end of a varint")

    def take(self, size: int, end: int) -> int:
        """Where the next `size` bytes begin."""
        if size > end - self.at:
            raise self.error(TruncatedError, f"{size} bytes", end - self.at)
        start = self.at
        self.at += size
        return start

    def number(self, field: Field, end: int) -> Any:
        if field.wire == VARINT:
            return _FROM_VARINT["int32" if field.enum else field.kind](self.varint(end))
        [value] = _FROM_FIXED[field.kind].unpack_from(
            self.data, self.take(8 if field.wire == FIXED64 else 4, end)
        )
        return value

    # The loop

    def run(self, message: Message) -> Record:
        root = self.enter(Record(message), len(self.data), None, None)
        frame, end = root, root.end
        while True:
            if self.at >= end:
                if frame.entry:
                    self.leave_entry(frame)
                self.stack.pop()
                if not self.stack:
                    break
                frame = self.stack[-1]
                end = frame.end
                continue
            start = self.at
            tag = self.varint(end)
            number, wire = tag >> 3, tag & 7
            if not 0 < number < 2**29:
                self.at = start
                raise self.error(FormatError, "the number of a field", number)
            field = frame.message.by_number.get(number)
            if field is None:
                self.skip(frame, number, wire, end)
                continue
            if wire != field.wire:
                if not (wire == BYTES and field.repeated and field.dtype is not None):
                    self.at = start
                    expected = f"{WIRES[field.wire]} for {frame.message.name}.{field.name}"
                    raise self.error(FormatError, expected, WIRES.get(wire, f"wire type {wire}"))
                self.packed(frame, field, end)
            elif field.dtype is not None:
                if field.bulk:
                    self.one_of_bulk(frame, field, start, end)
                else:
                    self.put(frame, field, self.number(field, end), _ENTRY)
            elif field.message is not None or field.entry is not None:
                frame = self.child(frame, field, end)
                end = frame.end
            else:
                self.text(frame, field, end)
        self.join()
        return root.record

    def enter(self, record: Record, end: int, field: Field | None, index: int | None) -> _Frame:
        if len(self.stack) >= min(MAX_DEPTH, self.limits.max_depth):
            most = min(MAX_DEPTH, self.limits.max_depth)
            raise self.error(LimitError, f"messages in messages, at most {most} deep")
        frame = _Frame(record, end, field, index)
        self.stack.append(frame)
        self.spend(_RECORD)
        return frame

    def child(self, frame: _Frame, field: Field, end: int) -> _Frame:
        size = self.varint(end)
        start = self.take(size, end)
        self.at = start
        values = frame.values
        if field.entry is not None:
            return self.enter(Record(field.entry), start + size, field, None)
        assert field.message is not None
        if field.repeated:
            record, found = Record(field.message), values.setdefault(field.name, [])
            entered = self.enter(record, start + size, field, len(found))
            found.append(record)
            return entered
        record = values.get(field.name)
        if record is None:  # and else the parts of one message are merged
            record = Record(field.message)
            setattr(frame.record, field.name, record)
        return self.enter(record, start + size, field, None)

    def leave_entry(self, frame: _Frame) -> None:
        """Enter a key and its value into the map of the parent."""
        entry, field = frame.record, frame.field
        assert field is not None
        value = frame.values.get("value")
        if value is None:
            value = Record(field.message) if field.message is not None else entry.value
        self.stack[-2].values.setdefault(field.name, {})[entry.key] = value

    def put(self, frame: _Frame, field: Field, value: Any, price: int) -> None:
        self.spend(price)
        if field.repeated:
            frame.values.setdefault(field.name, []).append(value)
        elif field.oneof is not None:
            setattr(frame.record, field.name, value)
        else:
            frame.values[field.name] = value

    def text(self, frame: _Frame, field: Field, end: int) -> None:
        size = self.varint(end)
        start = self.take(size, end)
        if field.bulk:
            view = np.frombuffer(self.data, np.uint8, size, start) if size else _NO_BYTES
            self.put(frame, field, view, _ARRAY)
            return
        if size > self.left:
            self.spend(size)  # raises before the copy
        raw = bytes(self.data[start : start + size])
        if field.kind == "bytes":
            self.put(frame, field, raw, _ENTRY + size)
            return
        try:
            value = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            self.at = start + error.start
            expected = f"a text in UTF-8 for {frame.message.name}.{field.name}"
            raise self.error(FormatError, expected, raw[error.start : error.end]) from None
        self.put(frame, field, value, _ENTRY + size if value.isascii() else _ENTRY + 4 * size)

    # Arrays

    def packed(self, frame: _Frame, field: Field, end: int) -> None:
        size = self.varint(end)
        start = self.take(size, end)
        assert field.dtype is not None
        if field.wire == VARINT:
            self.at = start
            if not field.bulk:
                while self.at < start + size:
                    self.put(frame, field, self.number(field, start + size), _ENTRY)
                return
            raw = np.frombuffer(self.data, np.uint8, size, start) if size else _NO_BYTES
            count = int(np.count_nonzero(raw < 0x80))
            self.spend(_ARRAY + 16 * count)
            kind = "int32" if field.enum else field.kind
            values = decode_varints(raw, kind, lambda e, f: self.error(FormatError, e, f))
            self.at = start + size
            self.piece(frame, field, values)
            return
        width = field.dtype.itemsize
        if size % width:
            self.at = start
            raise self.error(FormatError, f"a multiple of {width} bytes", size)
        if field.bulk:
            count = size // width
            if count:
                view = np.frombuffer(self.data, field.dtype, count, start)
                self.spend(_ARRAY)
                self.piece(frame, field, view)
            return
        if size // width * _ENTRY > self.left:
            self.spend(size // width * _ENTRY)
        found = frame.values.setdefault(field.name, [])
        for [value] in _FROM_FIXED[field.kind].iter_unpack(self.data[start : start + size]):
            self.spend(_ENTRY)
            found.append(value)

    def one_of_bulk(self, frame: _Frame, field: Field, start: int, end: int) -> None:
        """Numbers that were written one by one, each with its tag, as far as they go."""
        first = self.at
        if field.wire == VARINT:
            self.spend(_ARRAY)
            self.piece(frame, field, np.array([self.number(field, end)], field.dtype))
            return
        assert field.dtype is not None
        width, head = field.dtype.itemsize, first - start
        self.take(width, end)
        step, count, window = head + width, 1, 64
        tag = np.frombuffer(self.data, np.uint8, head, start)
        while (room := min(window, (end - start) // step - count)) > 0:
            rows = np.frombuffer(self.data, np.uint8, room * step, start + count * step)
            same = (rows.reshape(room, step)[:, :head] == tag).all(1)
            count += room if same.all() else int(same.argmin())
            if not same.all():
                break
            window = min(2 * window, 1 << 16)
        self.at = start + count * step
        self.spend(_ARRAY)
        raw = np.frombuffer(self.data, np.uint8, (count - 1) * step + width, first)
        self.piece(frame, field, np.ndarray((count,), field.dtype, raw, strides=(step,)))

    def piece(self, frame: _Frame, field: Field, values: np.ndarray[Any, Any]) -> None:
        found = frame.values.get(field.name)
        if found is None:
            frame.values[field.name] = [values]
            self.gathered.append((frame.record, field))
        else:
            found.append(values)

    def join(self) -> None:
        """Make one array of the pieces of each bulk field; nearly always there is one."""
        for record, field in self.gathered:
            values = values_of(record)
            pieces = values[field.name]
            if len(pieces) > 1:
                self.spend(sum(piece.nbytes for piece in pieces))
            values[field.name] = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    # Fields that the tables do not have

    def skip(self, frame: _Frame, number: int, wire: int, end: int) -> None:
        if self.skipped is not None:
            self.spend(_ENTRY)
            self.skipped[f"{frame.message.name}.{number}"] += 1
        groups: list[int] = []
        while True:
            if wire == VARINT:
                self.varint(end)
            elif wire in (FIXED64, _FIXED32):
                self.take(8 if wire == FIXED64 else 4, end)
            elif wire == BYTES:
                self.take(self.varint(end), end)
            elif wire == _GROUP:
                groups.append(number)
                if len(groups) > MAX_DEPTH:
                    raise self.error(LimitError, f"groups in groups, at most {MAX_DEPTH} deep")
            elif wire == _END_GROUP and groups and groups[-1] == number:
                groups.pop()
            else:
                raise self.error(FormatError, "a wire type from 0 to 5 in its place", wire)
            if not groups:
                return
            tag = self.varint(end)
            number, wire = tag >> 3, tag & 7


_NO_BYTES = np.empty(0, np.uint8)
