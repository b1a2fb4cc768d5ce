"""An OnnxModel as a record of ONNX's messages, ready to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.onnx.fields import SCHEMA
from tapegrad.nn.formats.onnx.graph import (
    ELEMENT_TYPES,
    Array,
    NodeGraph,
    OnnxModel,
    OnnxNode,
    ValueInfo,
)

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["record_of"]


def record_of(model: OnnxModel) -> Record:
    """The ModelProto of a model; arrays are written from where they lie."""
    imports = [SCHEMA.new("OperatorSetIdProto", domain="", version=model.opset)]
    return SCHEMA.new(
        "ModelProto",
        ir_version=model.ir_version,
        producer_name=model.producer,
        graph=_graph(model.graph),
        opset_import=imports,
    )


def _graph(graph: NodeGraph) -> Record:
    return SCHEMA.new(
        "GraphProto",
        node=[_node(node) for node in graph.nodes],
        name=graph.name,
        initializer=[_tensor(array, name) for name, array in graph.initializers.items()],
        input=[_value_info(info) for info in graph.inputs],
        output=[_value_info(info) for info in graph.outputs],
    )


def _node(node: OnnxNode) -> Record:
    attributes = [_attribute(name, value) for name, value in sorted(node.attributes.items())]
    return SCHEMA.new(
        "NodeProto",
        input=node.inputs,
        output=node.outputs,
        name=node.name,
        op_type=node.op,
        attribute=attributes,
    )


def _attribute(name: str, value: Any) -> Record:
    if isinstance(value, np.ndarray):
        return SCHEMA.new("AttributeProto", name=name, t=_tensor(value, ""), type=4)
    if isinstance(value, float):
        return SCHEMA.new("AttributeProto", name=name, f=value, type=1)
    if isinstance(value, str):
        return SCHEMA.new("AttributeProto", name=name, s=value.encode(), type=3)
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], str):
            texts = [text.encode() for text in value]
            return SCHEMA.new("AttributeProto", name=name, strings=texts, type=8)
        numbers = np.array(value, np.int64)
        return SCHEMA.new("AttributeProto", name=name, ints=numbers, type=7)
    return SCHEMA.new("AttributeProto", name=name, i=int(value), type=2)


def _tensor(array: Array, name: str) -> Record:
    little = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
    return SCHEMA.new(
        "TensorProto",
        dims=np.array(array.shape, np.int64),
        data_type=ELEMENT_TYPES[array.dtype.newbyteorder("=")],
        name=name,
        raw_data=np.asarray(array, little),
    )


def _value_info(info: ValueInfo) -> Record:
    dims = []
    for size in info.shape or ():
        if isinstance(size, int):
            dims.append(SCHEMA.new("Dimension", dim_value=size))
        elif size is not None:
            dims.append(SCHEMA.new("Dimension", dim_param=size))
        else:
            dims.append(SCHEMA.new("Dimension"))
    shape = SCHEMA.new("TensorShapeProto", dim=dims)
    assert info.dtype is not None
    tensor = SCHEMA.new("TensorType", elem_type=ELEMENT_TYPES[info.dtype], shape=shape)
    return SCHEMA.new(
        "ValueInfoProto", name=info.name, type=SCHEMA.new("TypeProto", tensor_type=tensor)
    )
