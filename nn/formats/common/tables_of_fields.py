"""The tables from which protobuf files are read and written: fields, messages, enumerations.

A format declares its messages as data, in its own room:

    Message("Shape", Field(1, "dim", "int64", repeated=True), Field(2, "unknown", "bool"))

and hands them to `protobuf.Schema`, which links the names of messages and enumerations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.records import Record

__all__ = ["FIXED", "VARINTS", "Enum", "Field", "Message"]

# kind -> the bits of its number on the wire, and the type of its arrays
VARINTS = {
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
    "uint32": np.dtype("<u4"),
    "uint64": np.dtype("<u8"),
    "sint32": np.dtype("<i4"),
    "sint64": np.dtype("<i8"),
    "bool": np.dtype("?"),
}
FIXED = {
    "float": np.dtype("<f4"),
    "fixed32": np.dtype("<u4"),
    "sfixed32": np.dtype("<i4"),
    "double": np.dtype("<f8"),
    "fixed64": np.dtype("<u8"),
    "sfixed64": np.dtype("<i8"),
}
_TEXTS = {"string": "", "bytes": b""}
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types


class Enum:
    """An enumeration: numbers by name (`numbers`), names by number (`names`).

    Of two names for one number, the first counts when text is written.
    """

    def __init__(self, name: str, numbers: Mapping[str, int]) -> None:
        self.name, self.numbers = name, dict(numbers)
        self.names: dict[int, str] = {}
        for word, number in numbers.items():
            self.names.setdefault(number, word)

    def __getitem__(self, name: str) -> int:
        return self.numbers[name]

    def __repr__(self) -> str:
        return f"Enum({self.name})"


class Field:
    """One field of a message.

    number, name: as the format has them
    kind:     "int32", "float", "string", …, or the name of a Message or an Enum
    repeated: whether there may be several values; `key` makes a map of them, by keys of that kind
    packed:   whether repeated numbers are written in one piece; None: as the syntax says
    default:  the value of an absent field; of an Enum, a name; None: zero, or what is empty
    oneof:    the name of a group of fields, of which the last one that was set counts
    bulk:     numbers, or bytes, come as arrays that are views of the file
    required: whether text and bytes without it are wrong (proto2); not checked when read
    """

    def __init__(
        self,
        number: int,
        name: str,
        kind: str,
        *,
        repeated: bool = False,
        packed: bool | None = None,
        default: Any = None,
        oneof: str | None = None,
        key: str | None = None,
        bulk: bool = False,
        required: bool = False,
    ) -> None:
        self.number, self.name, self.kind = number, name, kind
        self.repeated, self.packed, self.oneof = repeated or key is not None, packed, oneof
        self.key, self.bulk, self.required = key, bulk, required
        self.given_default = self.default = default
        self.message: Message | None = None
        self.enum: Enum | None = None
        self.entry: Message | None = None  # of a map: the message with a key and a value
        self.wire = BYTES
        self.dtype: np.dtype[Any] | None = None  # of numbers
        self.presence = True  # whether a value equal to the default is written

    @property
    def is_map(self) -> bool:
        return self.key is not None

    def link(self, messages: Mapping[str, Message], enums: Mapping[str, Enum], syntax: str) -> None:
        """Find the message or the enumeration that `kind` names.  Raises KeyError for neither."""
        if self.kind in VARINTS:
            self.wire, self.dtype = VARINT, VARINTS[self.kind]
        elif self.kind in FIXED:
            self.dtype = FIXED[self.kind]
            self.wire = FIXED32 if self.dtype.itemsize == 4 else FIXED64
        elif self.kind in enums:
            self.enum, self.wire, self.dtype = enums[self.kind], VARINT, VARINTS["int32"]
        elif self.kind not in _TEXTS:
            self.message = messages[self.kind]
        if self.bulk and self.kind != "bytes" and (self.dtype is None or not self.repeated):
            raise ValueError(f"{self.name}: bulk is for bytes and for repeated numbers")
        proto2 = syntax == "proto2"
        if self.packed is None:
            self.packed = self.dtype is not None and not proto2
        self.presence = proto2 or self.oneof is not None or self.message is not None
        if self.default is None and self.message is None:
            self.default = self._zero(proto2)
        elif self.enum is not None and isinstance(self.default, str):
            self.default = self.enum[self.default]
        if self.key is not None:
            value = Field(2, "value", self.kind, default=self.given_default, bulk=self.bulk)
            self.entry = Message("", Field(1, "key", self.key), value)
            self.entry.link(messages, enums, "proto2")  # an entry is written with both
            self.wire, self.dtype, self.enum = BYTES, None, None  # a map is a list of entries

    def _zero(self, proto2: bool) -> Any:
        if self.enum is not None:
            return next(iter(self.enum.names)) if proto2 else 0
        if self.kind in _TEXTS:
            return _TEXTS[self.kind]
        return False if self.kind == "bool" else 0.0 if self.kind in ("float", "double") else 0

    def __repr__(self) -> str:
        return f"Field({self.number}, {self.name}, {self.kind})"


class Message:
    """A kind of message: its name and its fields."""

    def __init__(self, name: str, *fields: Field) -> None:
        self.name, self.fields = name, fields
        self.by_number = {field.number: field for field in fields}
        self.by_name = {field.name: field for field in fields}
        if not len(fields) == len(self.by_number) == len(self.by_name):
            raise ValueError(f"{name}: two fields have the same number or name")
        self.oneofs: dict[str, list[str]] = {}
        for field in fields:
            if field.oneof is not None:
                self.oneofs.setdefault(field.oneof, []).append(field.name)
        self.absent: Record | None = None  # what a field of this kind reads as where it is not set

    def link(self, messages: Mapping[str, Message], enums: Mapping[str, Enum], syntax: str) -> None:
        """Link all fields."""
        for field in self.fields:
            try:
                field.link(messages, enums, syntax)
            except KeyError:
                raise ValueError(f"{self.name}.{field.name}: what is {field.kind!r}?") from None

    def __repr__(self) -> str:
        return f"Message({self.name})"
