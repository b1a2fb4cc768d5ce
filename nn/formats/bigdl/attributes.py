"""Attributes of BigDL's modules, as values of Python, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.nn.formats.bigdl.fields import DATA_TYPE, KINDS, SCHEMA

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["NULL", "array_attr", "attr", "null_attr", "value_of"]

NULL = object()  # what an attribute of no value reads as: null
_FIELD_OF = {kind.field: kind for kind in KINDS.values()}
_FORMATS = SCHEMA.enums["InputDataFormat"]
INTEGERS = range(-(2**31), 2**31)


def value_of(value: Record) -> Any:
    """The value of an attribute: numbers, texts, Records, lists of them; NULL for null."""
    name = value.which("value")
    if name is None:
        # a proto3 zero is written inside a oneof, so nothing at all is null
        return NULL
    found = getattr(value, name)
    if name == "dataFormatValue":
        return _FORMATS.names.get(found, found)
    if name == "arrayValue":
        if found.size < 0:
            return NULL
        kind = KINDS.get(DATA_TYPE.names.get(found.datatype, ""))
        return list(getattr(found, kind.several)) if kind and kind.several else []
    return found


def attr(kind: str, value: Any) -> Record:
    """An attribute: `kind` is BigDL's name of the type, "INT32"."""
    number = DATA_TYPE[kind]
    if kind == "DATA_FORMAT":
        value = _FORMATS[value]
    return SCHEMA.new("AttrValue", dataType=number, **{KINDS[kind].field: value})


def null_attr(kind: str) -> Record:
    """An attribute that is null."""
    return SCHEMA.new("AttrValue", dataType=DATA_TYPE[kind])


def array_attr(kind: str, values: Any, null: bool = False) -> Record:
    """An attribute that is a list; None, or `null`, for null."""
    array = SCHEMA.new("ArrayValue", datatype=DATA_TYPE[kind], size=-1)
    if values is not None and not null:
        values = list(values)
        array.size = len(values)
        setattr(array, KINDS[kind].several, values)
    return SCHEMA.new("AttrValue", dataType=DATA_TYPE["ARRAY_VALUE"], arrayValue=array)
