"""The messages of TensorFlow's GraphDef, as tables of fields."""

from __future__ import annotations

from tapegrad.nn.formats.common.protobuf import Field, Message, Schema

__all__ = ["SCHEMA"]


def _numbers(number: int, name: str, kind: str) -> Field:
    """A field of many numbers, which are read as one array."""
    return Field(number, name, kind, repeated=True, bulk=True, packed=True)


SCHEMA = Schema(
    "tensorflow",
    "proto3",
    [
        Message(
            "GraphDef",
            Field(1, "node", "NodeDef", repeated=True),
            Field(2, "library", "FunctionDefLibrary"),
            Field(4, "versions", "VersionDef"),
        ),
        Message(
            "FunctionDefLibrary",
            Field(1, "function", "FunctionDef", repeated=True),
        ),
        Message("FunctionDef", Field(1, "signature", "OpDef")),
        Message("OpDef", Field(1, "name", "string")),
        Message("VersionDef", Field(1, "producer", "int32"), Field(2, "min_consumer", "int32")),
        Message(
            "NodeDef",
            Field(1, "name", "string"),
            Field(2, "op", "string"),
            Field(3, "input", "string", repeated=True),
            Field(4, "device", "string"),
            Field(5, "attr", "AttrValue", key="string"),
        ),
        Message(
            "AttrValue",
            Field(1, "list", "ListValue", oneof="value"),
            Field(2, "s", "bytes", oneof="value"),
            Field(3, "i", "int64", oneof="value"),
            Field(4, "f", "float", oneof="value"),
            Field(5, "b", "bool", oneof="value"),
            Field(6, "type", "int32", oneof="value"),
            Field(7, "shape", "TensorShapeProto", oneof="value"),
            Field(8, "tensor", "TensorProto", oneof="value"),
            Field(9, "placeholder", "string", oneof="value"),
            Field(10, "func", "NameAttrList", oneof="value"),
        ),
        Message("NameAttrList", Field(1, "name", "string")),
        Message(
            "ListValue",
            Field(2, "s", "bytes", repeated=True),
            Field(3, "i", "int64", repeated=True),
            Field(4, "f", "float", repeated=True),
            Field(5, "b", "bool", repeated=True),
            Field(6, "type", "int32", repeated=True),
            Field(7, "shape", "TensorShapeProto", repeated=True),
        ),
        Message(
            "TensorShapeProto",
            Field(2, "dim", "Dim", repeated=True),
            Field(3, "unknown_rank", "bool"),
        ),
        Message("Dim", Field(1, "size", "int64"), Field(2, "name", "string")),
        Message(
            "TensorProto",
            Field(1, "dtype", "int32"),
            Field(2, "tensor_shape", "TensorShapeProto"),
            Field(4, "tensor_content", "bytes", bulk=True),
            _numbers(5, "float_val", "float"),
            _numbers(6, "double_val", "double"),
            _numbers(7, "int_val", "int32"),
            Field(8, "string_val", "bytes", repeated=True),
            _numbers(9, "scomplex_val", "float"),
            _numbers(10, "int64_val", "int64"),
            _numbers(11, "bool_val", "bool"),
            _numbers(12, "dcomplex_val", "double"),
            _numbers(13, "half_val", "int32"),
            _numbers(16, "uint32_val", "uint32"),
            _numbers(17, "uint64_val", "uint64"),
        ),
    ],
)
