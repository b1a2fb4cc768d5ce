"""ONNX's messages as tables of fields: what of onnx.proto this package reads and writes.

The format is proto3, but whether an attribute's zero was written matters, so the tables say proto2.
Fields that are not here are passed over: documentation, training, metadata.
"""

from tapegrad.nn.formats.common.protobuf import Field, Message, Schema

__all__ = ["ATTRIBUTE_TYPES", "SCHEMA"]

# AttributeProto.type -> the field that has the value
ATTRIBUTE_TYPES = {
    1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "floats", 7: "ints", 8: "strings", 9: "tensors",
    10: "graphs", 11: "sparse_tensor", 12: "sparse_tensors", 13: "tp", 14: "type_protos",
}  # fmt: skip

SCHEMA = Schema(
    "onnx",
    "proto2",
    [
        Message(
            "ModelProto",
            Field(1, "ir_version", "int64"),
            Field(2, "producer_name", "string"),
            Field(3, "producer_version", "string"),
            Field(4, "domain", "string"),
            Field(5, "model_version", "int64"),
            Field(7, "graph", "GraphProto"),
            Field(8, "opset_import", "OperatorSetIdProto", repeated=True),
            Field(25, "functions", "FunctionProto", repeated=True),
        ),
        Message(
            "OperatorSetIdProto",
            Field(1, "domain", "string"),
            Field(2, "version", "int64"),
        ),
        Message(
            "FunctionProto",
            Field(1, "name", "string"),
            Field(10, "domain", "string"),
        ),
        Message(
            "GraphProto",
            Field(1, "node", "NodeProto", repeated=True),
            Field(2, "name", "string"),
            Field(5, "initializer", "TensorProto", repeated=True),
            Field(11, "input", "ValueInfoProto", repeated=True),
            Field(12, "output", "ValueInfoProto", repeated=True),
            Field(15, "sparse_initializer", "SparseTensorProto", repeated=True),
        ),
        Message(
            "NodeProto",
            Field(1, "input", "string", repeated=True),
            Field(2, "output", "string", repeated=True),
            Field(3, "name", "string"),
            Field(4, "op_type", "string"),
            Field(5, "attribute", "AttributeProto", repeated=True),
            Field(7, "domain", "string"),
        ),
        Message(
            "AttributeProto",
            Field(1, "name", "string"),
            Field(2, "f", "float"),
            Field(3, "i", "int64"),
            Field(4, "s", "bytes"),
            Field(5, "t", "TensorProto"),
            Field(6, "g", "GraphProto"),
            Field(7, "floats", "float", repeated=True, bulk=True),
            Field(8, "ints", "int64", repeated=True, bulk=True),
            Field(9, "strings", "bytes", repeated=True),
            Field(10, "tensors", "TensorProto", repeated=True),
            Field(11, "graphs", "GraphProto", repeated=True),
            Field(20, "type", "int32"),
            Field(21, "ref_attr_name", "string"),
        ),
        Message(
            "ValueInfoProto",
            Field(1, "name", "string"),
            Field(2, "type", "TypeProto"),
        ),
        Message(
            "TypeProto",
            Field(1, "tensor_type", "TensorType", oneof="value"),
            Field(4, "sequence_type", "OtherType", oneof="value"),
            Field(5, "map_type", "OtherType", oneof="value"),
            Field(8, "sparse_tensor_type", "OtherType", oneof="value"),
            Field(9, "optional_type", "OtherType", oneof="value"),
        ),
        Message("OtherType"),
        Message(
            "TensorType",
            Field(1, "elem_type", "int32"),
            Field(2, "shape", "TensorShapeProto"),
        ),
        Message("TensorShapeProto", Field(1, "dim", "Dimension", repeated=True)),
        Message(
            "Dimension",
            Field(1, "dim_value", "int64", oneof="value"),
            Field(2, "dim_param", "string", oneof="value"),
        ),
        Message(
            "TensorProto",
            Field(1, "dims", "int64", repeated=True, bulk=True),
            Field(2, "data_type", "int32"),
            Field(3, "segment", "Segment"),
            Field(4, "float_data", "float", repeated=True, packed=True, bulk=True),
            Field(5, "int32_data", "int32", repeated=True, packed=True, bulk=True),
            Field(6, "string_data", "bytes", repeated=True),
            Field(7, "int64_data", "int64", repeated=True, packed=True, bulk=True),
            Field(8, "name", "string"),
            Field(9, "raw_data", "bytes", bulk=True),
            Field(10, "double_data", "double", repeated=True, packed=True, bulk=True),
            Field(11, "uint64_data", "uint64", repeated=True, packed=True, bulk=True),
            Field(13, "external_data", "StringStringEntryProto", repeated=True),
            Field(14, "data_location", "int32"),
        ),
        Message("Segment", Field(1, "begin", "int64"), Field(2, "end", "int64")),
        Message(
            "StringStringEntryProto",
            Field(1, "key", "string"),
            Field(2, "value", "string"),
        ),
        Message(
            "SparseTensorProto",
            Field(1, "values", "TensorProto"),
            Field(2, "indices", "TensorProto"),
            Field(3, "dims", "int64", repeated=True),
        ),
    ],
)
