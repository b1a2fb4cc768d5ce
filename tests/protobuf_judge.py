"""The protobuf library as a judge of ours: classes of messages, made of a Schema's own tables.

message = judge(SCHEMA)["NetParameter"].FromString(data)
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tapegrad.nn.formats.common.protobuf import Field, Message, Record, Schema

pytest.importorskip("google.protobuf")
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_number = itertools.count()
TYPES = descriptor_pb2.FieldDescriptorProto


def judge(schema: Schema) -> dict[str, Any]:
    """The library's class for each message of the schema."""
    package = f"judge{next(_number)}"
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax=schema.syntax
    )
    for enum in schema.enums.values():  # in a message each, since values share a scope
        holder = file.message_type.add(name=f"In{enum.name}")
        described = holder.enum_type.add(name=enum.name)
        if len(enum.names) < len(enum.numbers):
            described.options.allow_alias = True
        for name, number in enum.numbers.items():
            described.value.add(name=name, number=number)
    for message in schema.messages.values():
        _describe(file.message_type.add(name=message.name), message, schema, package)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in schema.messages
    }


def _describe(described: Any, message: Message, schema: Schema, package: str) -> None:
    for oneof in message.oneofs:
        described.oneof_decl.add(name=oneof)
    for field in message.fields:
        made = described.field.add(name=field.name, number=field.number)
        made.label = TYPES.LABEL_REPEATED if field.repeated else TYPES.LABEL_OPTIONAL
        if field.is_map:
            nested = "".join(word.capitalize() for word in field.name.split("_"))
            nested = (
                f"{field.name[:1].upper()}{field.name[1:]}Entry"
                if "_" not in field.name
                else f"{nested}Entry"
            )
            entry = described.nested_type.add(name=nested)
            entry.options.map_entry = True
            for part in field.entry.fields:  # type: ignore[union-attr]
                sub = entry.field.add(name=part.name, number=part.number)
                sub.label = TYPES.LABEL_OPTIONAL
                _type(sub, part, package)
            made.type = TYPES.TYPE_MESSAGE
            made.type_name = f".{package}.{message.name}.{nested}"
            continue
        _type(made, field, package)
        if field.repeated and field.dtype is not None:
            made.options.packed = bool(field.packed)
        if field.oneof is not None:
            made.oneof_index = list(message.oneofs).index(field.oneof)
        if field.given_default is not None:
            made.default_value = _default(field)


def _type(made: Any, field: Field, package: str) -> None:
    if field.enum is not None:
        made.type = TYPES.TYPE_ENUM
        made.type_name = f".{package}.In{field.kind}.{field.kind}"
    elif field.message is not None:
        made.type, made.type_name = TYPES.TYPE_MESSAGE, f".{package}.{field.kind}"
    else:
        made.type = getattr(TYPES, f"TYPE_{field.kind.upper()}")


def _default(field: Field) -> str:
    if field.kind == "bool":
        return "true" if field.default else "false"
    return str(field.given_default)


def from_library(message: Any, kind: Message) -> Record:
    """The library's message as a Record, field by field."""
    record = Record(kind)
    for field in kind.fields:
        if field.is_map:
            found = getattr(message, field.name)
            if found:
                of = field.message
                values = {k: from_library(v, of) if of else v for k, v in found.items()}
                setattr(record, field.name, values)
        elif field.repeated:
            several = list(getattr(message, field.name))
            if several and field.message is not None:
                several = [from_library(one, field.message) for one in several]
            if several and field.bulk:
                several = np.array(several, field.dtype) if field.dtype else several  # type: ignore[assignment]
            if len(several):
                setattr(record, field.name, several)
        elif field.presence:
            if message.HasField(field.name):
                one = getattr(message, field.name)
                setattr(
                    record, field.name, from_library(one, field.message) if field.message else one
                )
        else:
            value = getattr(message, field.name)
            if value or (isinstance(value, float) and str(value) == "-0.0"):
                setattr(record, field.name, value)
    return record
