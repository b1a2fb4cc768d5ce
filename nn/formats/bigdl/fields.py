"""The messages of BigDL's files, as tables.

An ArrayValue has a list for each kind of value, and an AttrValue a field: KINDS has them beside
each other, by BigDL's number of the kind.
"""

from __future__ import annotations

from dataclasses import dataclass

from tapegrad.nn.formats.common.protobuf import Enum, Field, Message, Schema

__all__ = ["DATA_TYPE", "KINDS", "SCHEMA", "Kind"]

DATA_TYPE = Enum(
    "DataType",
    {
        name: number
        for number, name in enumerate(
            [
                "INT32",
                "INT64",
                "FLOAT",
                "DOUBLE",
                "STRING",
                "BOOL",
                "CHAR",
                "SHORT",
                "BYTES",
                "REGULARIZER",
                "TENSOR",
                "VARIABLE_FORMAT",
                "INITMETHOD",
                "MODULE",
                "NAME_ATTR_LIST",
                "ARRAY_VALUE",
                "DATA_FORMAT",
                "CUSTOM",
                "SHAPE",
            ]
        )
    },
)
ENUMS = [
    DATA_TYPE,
    Enum("TensorType", {"DENSE": 0, "QUANT": 1}),
    Enum("RegularizerType", {"L1L2Regularizer": 0, "L1Regularizer": 1, "L2Regularizer": 2}),
    Enum("InputDataFormat", {"NCHW": 0, "NHWC": 1}),
    Enum("ShapeType", {"SINGLE": 0, "MULTI": 1}),
    Enum(
        "VarFormat",
        {
            name: number
            for number, name in enumerate(
                [
                    "EMPTY_FORMAT",
                    "DEFAULT",
                    "ONE_D",
                    "IN_OUT",
                    "OUT_IN",
                    "IN_OUT_KW_KH",
                    "OUT_IN_KW_KH",
                    "GP_OUT_IN_KW_KH",
                    "GP_IN_OUT_KW_KH",
                    "OUT_IN_KT_KH_KW",
                ]
            )
        },
    ),
    Enum(
        "InitMethodType",
        {
            name: number
            for number, name in enumerate(
                [
                    "EMPTY_INITIALIZATION",
                    "RANDOM_UNIFORM",
                    "RANDOM_UNIFORM_PARAM",
                    "RANDOM_NORMAL",
                    "ZEROS",
                    "ONES",
                    "CONST",
                    "XAVIER",
                    "BILINEARFILLER",
                ]
            )
        },
    ),
]


@dataclass(frozen=True)
class Kind:
    """A kind of value: its field in an AttrValue, its list in an ArrayValue, and their type."""

    field: str
    several: str
    type: str


KINDS = {
    "INT32": Kind("int32Value", "i32", "int32"),
    "INT64": Kind("int64Value", "i64", "int64"),
    "FLOAT": Kind("floatValue", "flt", "float"),
    "DOUBLE": Kind("doubleValue", "dbl", "double"),
    "STRING": Kind("stringValue", "str", "string"),
    "BOOL": Kind("boolValue", "boolean", "bool"),
    "REGULARIZER": Kind("regularizerValue", "Regularizer", "Regularizer"),
    "TENSOR": Kind("tensorValue", "tensor", "BigDLTensor"),
    "VARIABLE_FORMAT": Kind("variableFormatValue", "variableFormat", "VarFormat"),
    "INITMETHOD": Kind("initMethodValue", "initMethod", "InitMethod"),
    "MODULE": Kind("bigDLModuleValue", "bigDLModule", "BigDLModule"),
    "NAME_ATTR_LIST": Kind("nameAttrListValue", "nameAttrList", "NameAttrList"),
    "ARRAY_VALUE": Kind("arrayValue", "", "ArrayValue"),
    "DATA_FORMAT": Kind("dataFormatValue", "dataFormat", "InputDataFormat"),
    "CUSTOM": Kind("customValue", "custom", "Any"),
    "SHAPE": Kind("shape", "shape", "Shape"),
}

MESSAGES = [
    Message(
        "BigDLModule",
        Field(1, "name", "string"),
        Field(2, "subModules", "BigDLModule", repeated=True),
        Field(3, "weight", "BigDLTensor"),  # written up to 0.5
        Field(4, "bias", "BigDLTensor"),
        Field(5, "preModules", "string", repeated=True),
        Field(6, "nextModules", "string", repeated=True),
        Field(7, "moduleType", "string"),
        Field(8, "attr", "AttrValue", key="string"),
        Field(9, "version", "string"),
        Field(10, "train", "bool"),
        Field(11, "namePostfix", "string"),
        Field(12, "id", "int32"),
        Field(13, "inputShape", "Shape"),
        Field(14, "outputShape", "Shape"),
        Field(15, "hasParameters", "bool"),
        Field(16, "parameters", "BigDLTensor", repeated=True),
        Field(17, "isMklInt8Enabled", "bool"),
        Field(18, "inputDimMasks", "int32"),
        Field(19, "inputScales", "AttrValue", repeated=True),
        Field(20, "outputDimMasks", "int32"),
        Field(21, "outputScales", "AttrValue", repeated=True),
        Field(22, "weightDimMasks", "int32"),
        Field(23, "weightScales", "AttrValue", repeated=True),
    ),
    Message(
        "BigDLTensor",
        Field(1, "datatype", "DataType"),
        Field(2, "size", "int32", repeated=True),
        Field(3, "stride", "int32", repeated=True),
        Field(4, "offset", "int32"),
        Field(5, "dimension", "int32"),
        Field(6, "nElements", "int32"),
        Field(7, "isScalar", "bool"),
        Field(8, "storage", "TensorStorage"),
        Field(9, "id", "int32"),
        Field(10, "tensorType", "TensorType"),
    ),
    Message(
        "TensorStorage",
        Field(1, "datatype", "DataType"),
        Field(2, "float_data", "float", repeated=True, bulk=True),
        Field(3, "double_data", "double", repeated=True, bulk=True),
        Field(4, "bool_data", "bool", repeated=True, bulk=True),
        Field(5, "string_data", "string", repeated=True),
        Field(6, "int_data", "int32", repeated=True, bulk=True),
        Field(7, "long_data", "int64", repeated=True, bulk=True),
        Field(8, "bytes_data", "bytes", repeated=True, bulk=True),
        Field(9, "id", "int32"),
    ),
    Message(
        "AttrValue",
        Field(1, "dataType", "DataType"),
        Field(2, "subType", "string"),
        *(
            Field(number, kind.field, kind.type, oneof="value")
            for number, kind in enumerate(KINDS.values(), 3)
        ),
    ),
    Message(
        "ArrayValue",
        Field(1, "size", "int32"),
        Field(2, "datatype", "DataType"),
        *(
            Field(number, kind.several, kind.type, repeated=True)
            for number, kind in enumerate((k for k in KINDS.values() if k.several), 3)
        ),
    ),
    Message(
        "NameAttrList", Field(1, "name", "string"), Field(2, "attr", "AttrValue", key="string")
    ),
    Message(
        "Regularizer",
        Field(1, "regularizerType", "RegularizerType"),
        Field(2, "regularData", "double", repeated=True),
    ),
    Message(
        "InitMethod",
        Field(1, "methodType", "InitMethodType"),
        Field(2, "data", "double", repeated=True),
    ),
    Message(
        "Shape",
        Field(1, "shapeType", "ShapeType"),
        Field(2, "ssize", "int32"),
        Field(3, "shapeValue", "int32", repeated=True),
        Field(4, "shape", "Shape", repeated=True),
    ),
    Message("Any", Field(1, "type_url", "string"), Field(2, "value", "bytes")),
]

SCHEMA = Schema("com.intel.analytics.bigdl.serialization", "proto3", MESSAGES, ENUMS)
