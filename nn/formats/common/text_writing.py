"""Writes a Record in protobuf's text format."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.common.records import Record

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.tables_of_fields import Field

__all__ = ["text_of"]

_ESCAPES = {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
_ESCAPES |= {ord('"'): '\\"', ord("'"): "\\'", ord("\\"): "\\\\"}


def text_of(record: Record) -> str:
    """The text of a record: a field a line, messages in braces, texts in ASCII."""
    lines: list[str] = []
    _message(record, lines, "")
    return "".join(lines)


def _message(record: Record, lines: list[str], indent: str) -> None:
    for field, value in record.items():
        if field.entry is not None:
            several: Any = [Record(field.entry, {"key": k, "value": v}) for k, v in value.items()]
        else:
            several = value if field.repeated else [value]
        for one in several:
            if isinstance(one, Record):
                lines.append(f"{indent}{field.name} {{\n")
                _message(one, lines, indent + "  ")
                lines.append(f"{indent}}}\n")
            else:
                lines.append(f"{indent}{field.name}: {_scalar(field, one)}\n")


def _scalar(field: Field, value: Any) -> str:
    if field.enum is not None:
        return field.enum.names.get(int(value), str(int(value)))
    if field.kind == "bool":
        return "true" if value else "false"
    if field.kind in ("float", "double"):
        return _real(np.float32(value) if field.kind == "float" else float(value))
    if field.kind in ("string", "bytes"):
        raw = value.encode("utf-8") if isinstance(value, str) else bytes(value)
        return f'"{"".join(map(_character, raw))}"'
    return str(int(value))


def _real(value: Any) -> str:
    """The shortest digits that give the number again."""
    if math.isfinite(value):
        return str(value)
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _character(byte: int) -> str:
    if byte in _ESCAPES:
        return _ESCAPES[byte]
    return chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"
