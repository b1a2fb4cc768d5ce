"""Graphs of TensorFlow made by hand, in the style of frozen Inception, ResNet and MobileNet.

g = Graph()
x = g.placeholder("input", (None, 8, 8, 3))
y = g.conv("conv1", x, weights, strides=(2, 2), padding="SAME")
data = g.data()
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from tapegrad.nn.formats.tensorflow.fields import SCHEMA
from tapegrad.nn.formats.tensorflow.tensors import DTYPES, tensor_of_array

__all__ = ["Graph", "attribute"]

TYPES = {np.dtype(text): number for number, (text, _) in DTYPES.items()}
BY_NAME = {"T", "dtype", "SrcT", "DstT", "Tidx", "Index", "Tshape"}


def attribute(value: Any) -> Any:
    new = SCHEMA.new
    if isinstance(value, bool):
        return new("AttrValue", b=value)
    if isinstance(value, int):
        return new("AttrValue", i=value)
    if isinstance(value, float):
        return new("AttrValue", f=value)
    if isinstance(value, (str, bytes)):
        return new("AttrValue", s=value if isinstance(value, bytes) else value.encode())
    if isinstance(value, np.dtype):
        return new("AttrValue", type=TYPES[value])
    if isinstance(value, np.ndarray):
        return new("AttrValue", tensor=tensor_of_array(value))
    return new("AttrValue", list=new("ListValue", i=list(value)))


class Graph:
    """A GraphDef that is put together node by node; nodes are named by texts."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []

    def add(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        attr = {key: attribute(value) for key, value in attributes.items()}
        attr.setdefault("T", attribute(np.dtype("f4")))
        self.nodes.append(SCHEMA.new("NodeDef", name=name, op=op, input=list(inputs), attr=attr))
        return name

    def placeholder(self, name: str, shape: Any, dtype: str = "f4") -> str:
        attr = {"dtype": attribute(np.dtype(dtype))}
        if shape is not None:
            dims = [SCHEMA.new("Dim", size=-1 if n is None else n) for n in shape]
            found = SCHEMA.new("TensorShapeProto", dim=dims)
            attr["shape"] = SCHEMA.new("AttrValue", shape=found)
        self.nodes.append(SCHEMA.new("NodeDef", name=name, op="Placeholder", attr=attr))
        return name

    def const(self, name: str, array: Any) -> str:
        array = np.asarray(array)
        if array.dtype == np.int64:
            array = array.astype(np.int32)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        return self.add("Const", name, value=array, dtype=array.dtype)

    def conv(
        self,
        name: str,
        x: str,
        weights: np.ndarray,
        strides: tuple[int, int] = (1, 1),
        padding: str = "SAME",
        op: str = "Conv2D",
        **more: Any,
    ) -> str:
        w = self.const(f"{name}/weights", weights)
        read = self.add("Identity", f"{name}/weights/read", w)
        where = (1, *strides, 1) if more.get("data_format", "NHWC") == "NHWC" else (1, 1, *strides)
        return self.add(op, f"{name}/{op}", x, read, strides=where, padding=padding, **more)

    def batch_norm(self, name: str, x: str, arrays: Any, eps: float = 1e-3, **more: Any) -> str:
        names = [self.const(f"{name}/{i}", a) for i, a in enumerate(arrays)]
        op = more.pop("op", "FusedBatchNorm")
        return self.add(op, f"{name}/{op}", x, *names, epsilon=eps, is_training=False, **more)

    def pool(self, op: str, name: str, x: str, k: int, s: int, padding: str = "SAME") -> str:
        return self.add(op, name, x, ksize=(1, k, k, 1), strides=(1, s, s, 1), padding=padding)

    def data(self, **more: Any) -> bytes:
        out = io.BytesIO()
        versions = SCHEMA.new("VersionDef", producer=27)
        SCHEMA.write(SCHEMA.new("GraphDef", node=self.nodes, versions=versions, **more), out)
        return out.getvalue()
