"""Record: a message of a protobuf file, with its fields as attributes."""

from __future__ import annotations

import math
from collections.abc import Iterator, MutableMapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.tables_of_fields import Field, Message


__all__ = ["Record", "message_of", "set_values"]

ABSENT = "{name} is read from a message that is not there; set the message first, then its fields"
UNKNOWN = "{message} has no field {name!r}; it has {fields}"


class Record:
    """A message: `record.name` is the field's value, or its default where it is absent.

    repeated fields are lists, maps are dicts; both can be changed in place
    bulk fields are arrays (bytes: of uint8), and views of the file, which can't be written to
    enumerations are numbers; messages are Records
    `"name" in record` says whether a field is there (in proto3, a zero is not);
    `del record.name` takes it away;
    `record.which("value")` is the name of the field of a oneof that is there, or None;
    `record.items()` are the fields that are there.
    Raises AttributeError for a name that the message does not have.
    """

    __slots__ = ("_message", "_values")
    _message: Message
    _values: MutableMapping[str, Any]

    def __init__(self, message: Message, values: dict[str, Any] | None = None) -> None:
        object.__setattr__(self, "_message", message)
        object.__setattr__(self, "_values", {} if values is None else values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = self._values.get(name, self)
        return self._absent(name) if found is self else found

    def _field(self, name: str) -> Field:
        field = self._message.by_name.get(name)
        if field is None:
            fields = ", ".join(self._message.by_name)
            raise AttributeError(
                UNKNOWN.format(message=self._message.name, name=name, fields=fields)
            )
        return field

    def _absent(self, name: str) -> Any:
        field = self._field(name)
        if field.bulk and not field.is_map and (field.kind != "bytes" or not field.repeated):
            return np.empty(0, field.dtype or np.uint8)
        if field.repeated:
            empty: Any = {} if field.is_map else []
            if isinstance(self._values, dict):
                self._values[name] = empty
            return empty
        if field.message is None:
            return field.default
        if field.message.absent is None:
            nothing = Record(field.message)
            object.__setattr__(nothing, "_values", MappingProxyType({}))
            field.message.absent = nothing
        return field.message.absent

    def __setattr__(self, name: str, value: Any) -> None:
        field = self._field(name)
        if not isinstance(self._values, dict):
            raise AttributeError(ABSENT.format(name=name))  # noqa: TRY004  # not of a type: it is absent
        if field.oneof is not None:
            for other in self._message.oneofs[field.oneof]:
                self._values.pop(other, None)
        self._values[name] = value

    def __delattr__(self, name: str) -> None:
        self._field(name)
        self._values.pop(name, None)

    def __contains__(self, name: str) -> bool:
        field = self._field(name)
        return name in self._values and _is_there(field, self._values[name])

    def which(self, oneof: str) -> str | None:
        """The name of the field of a oneof that is there.  Raises KeyError for no oneof."""
        names = self._message.oneofs[oneof]
        return next((name for name in names if name in self._values), None)

    def items(self) -> Iterator[tuple[Field, Any]]:
        """(Field, value) of all that is there, in the order of the table."""
        values = self._values
        for field in self._message.fields:
            if field.name in values and _is_there(field, value := values[field.name]):
                yield field, value

    def __eq__(self, other: object) -> bool:
        """Whether the same fields are there, with equal values (NaN is equal to NaN)."""
        if not isinstance(other, Record) or other._message is not self._message:
            return NotImplemented
        mine, others = ({f.name: v for f, v in r.items()} for r in (self, other))
        return mine.keys() == others.keys() and all(
            _equal(value, others[name]) for name, value in mine.items()
        )

    __hash__ = None  # type: ignore[assignment]  # its fields can change

    def __repr__(self) -> str:
        shown = ", ".join(f"{field.name}={value!r:.60}" for field, value in self.items())
        return f"{self._message.name}({shown})"


def _is_there(field: Field, value: Any) -> bool:
    """Whether a field that was set is there in a file."""
    return len(value) > 0 if field.repeated else field.presence or not _is_zero(value)


def message_of(record: Record) -> Message:
    """The table of a record's fields."""
    return record._message  # noqa: SLF001  # its attributes are the fields


def set_values(record: Record) -> MutableMapping[str, Any]:
    """What is set in a record, by the names of fields; for readers, which know what fits."""
    return record._values  # noqa: SLF001  # as above


def _is_zero(value: Any) -> bool:
    """Whether a value is what proto3 leaves out; −0.0 is not."""
    if isinstance(value, np.ndarray):
        return value.size == 0
    if isinstance(value, float):
        return value == 0 and math.copysign(1, value) > 0
    return not value


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, (np.ndarray, float)) or isinstance(b, (np.ndarray, float)):
        return bool(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=_has_nan(a)))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return bool(a == b)


def _has_nan(value: Any) -> bool:
    return np.asarray(value).dtype.kind == "f"
