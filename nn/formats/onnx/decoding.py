"""A record of ONNX's messages as an OnnxModel: what is in it is checked, nothing of it is run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsupportedError,
)
from tapegrad.nn.formats.onnx.fields import ATTRIBUTE_TYPES
from tapegrad.nn.formats.onnx.graph import DTYPES, Array, NodeGraph, OnnxModel, OnnxNode, ValueInfo

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record
    from tapegrad.nn.formats.onnx.external import ExternalData

__all__ = ["model_of"]

OWN_DOMAINS = ("", "ai.onnx")
OTHER_TYPES = {8: "strings", 14: "complex numbers", 15: "complex numbers"}
BFLOAT16 = 16
DATA_FIELDS = {
    "f4": "float_data", "f8": "double_data", "i8": "int64_data", "u4": "uint64_data",
    "u8": "uint64_data",
}  # fmt: skip
MOST_ENTRIES = 2**40  # of an array: more than any file has


def model_of(record: Record, limits: Limits, external: ExternalData) -> OnnxModel:
    """The model of a ModelProto.

    Raises FormatError or one of its children, with the place in the graph.
    """
    versions: dict[str, int] = {}
    for entry in record.opset_import:
        if entry.domain in versions:
            raise FormatError("one opset for each domain", entry.domain, path="opset_import")
        versions[entry.domain] = entry.version
    opset = versions.get("", versions.get("ai.onnx", 0))
    if record.functions:
        name = f"{record.functions[0].domain}.{record.functions[0].name}"
        raise UnsupportedError("a graph without functions of its own", name, path="functions")
    if "graph" not in record:
        raise FormatError("a graph", path="root")
    reader = _Decoder(limits, external)
    graph = reader.graph(record.graph, "graph")
    others = {name: version for name, version in versions.items() if name not in OWN_DOMAINS}
    return OnnxModel(graph, opset, record.producer_name, record.ir_version, others)


class _Decoder:
    def __init__(self, limits: Limits, external: ExternalData) -> None:
        self.limits, self.external = limits, external
        self.expanded = 0

    def graph(self, record: Record, path: str) -> NodeGraph:
        if record.sparse_initializer:
            raise UnsupportedError("arrays that are not sparse", path=f"{path}.sparse_initializer")
        initializers: dict[str, Array] = {}
        for i, tensor in enumerate(record.initializer):
            place = f"{path}.initializer[{i}]"
            if not tensor.name or tensor.name in initializers:
                raise FormatError("a name that no other array has", tensor.name, path=place)
            initializers[tensor.name] = self.tensor(tensor, f"{path}.{tensor.name}")
        return NodeGraph(
            [self.node(node, f"{path}.node[{i}]") for i, node in enumerate(record.node)],
            [self.info(info, f"{path}.input[{i}]") for i, info in enumerate(record.input)],
            [
                self.info(info, f"{path}.output[{i}]", typed=False)
                for i, info in enumerate(record.output)
            ],
            initializers,
            record.name,
        )

    def node(self, record: Record, path: str) -> OnnxNode:
        if not record.op_type:
            raise FormatError("an operator", path=path)
        attributes: dict[str, Any] = {}
        for attribute in record.attribute:
            place = f"{path}.{attribute.name}"
            if not attribute.name or attribute.name in attributes:
                raise FormatError("attributes with different names", attribute.name, path=path)
            attributes[attribute.name] = self.attribute(attribute, place)
        domain = "" if record.domain in OWN_DOMAINS else record.domain
        return OnnxNode(
            record.op_type, list(record.input), list(record.output), attributes, record.name, domain
        )

    def attribute(self, record: Record, path: str) -> Any:
        if record.ref_attr_name:
            raise UnsupportedError("an attribute with a value", record.ref_attr_name, path=path)
        kind = ATTRIBUTE_TYPES.get(record.type)
        if kind is None and not record.type:  # the first versions of the format had no types
            present = [name for name in ATTRIBUTE_TYPES.values() if _has(record, name)]
            kind = present[0] if len(present) == 1 else None
        if kind == "i":
            return int(record.i)
        if kind == "f":
            return _shortest(record.f)
        if kind == "s":
            return self.text(record.s, path)
        if kind == "t":
            return self.tensor(record.t, path)
        if kind == "g":
            return self.graph(record.g, path)
        if kind == "ints":
            return [int(value) for value in record.ints]
        if kind == "floats":
            return [_shortest(value) for value in record.floats]
        if kind == "strings":
            return [self.text(value, path) for value in record.strings]
        raise UnsupportedError(
            "a number, text, array, graph, or list of numbers or texts", f"type {record.type}",
            path=path,
        )  # fmt: skip

    @staticmethod
    def text(raw: bytes, path: str) -> str:
        try:
            return bytes(raw).decode("utf-8")
        except UnicodeDecodeError:
            raise FormatError("a text in UTF-8", f"{bytes(raw)!r:.40}", path=path) from None

    def info(self, record: Record, path: str, *, typed: bool = True) -> ValueInfo:
        if not record.name:
            raise FormatError("a name", path=path)
        kind = record.type.which("value") if "type" in record else None
        if kind not in (None, "tensor_type"):
            word = kind.removesuffix("_type").replace("_", " ")
            raise UnsupportedError(f"an array for {record.name}", f"a {word}", path=path)
        tensor = record.type.tensor_type if kind else None
        dtype = None
        if tensor is not None and tensor.elem_type:
            number = 1 if tensor.elem_type == BFLOAT16 else tensor.elem_type
            dtype = DTYPES.get(number)
            if dtype is None and typed:
                found = OTHER_TYPES.get(number, f"element type {number}")
                raise UnsupportedError(f"numbers for {record.name}", found, path=path)
        shape = None
        if tensor is not None and "shape" in tensor:
            sizes: list[int | str | None] = []
            for dim in tensor.shape.dim:
                which = dim.which("value")
                sizes.append(None if which is None else getattr(dim, which))
            if len(sizes) > self.limits.max_ndim:
                raise LimitError(f"at most {self.limits.max_ndim} axes", len(sizes), path=path)
            shape = tuple(
                size if not isinstance(size, int) or size >= 0 else None for size in sizes
            )
        return ValueInfo(record.name, dtype, shape)

    # Arrays ----------------------------------------------------------------------------------

    def tensor(self, record: Record, path: str) -> Array:
        """The array of a TensorProto, a view of the file where its bytes are the array's."""
        number = record.data_type
        if number not in DTYPES and number != BFLOAT16:
            found = OTHER_TYPES.get(number, f"element type {number}")
            raise UnsupportedError("numbers of a type that NumPy has", found, path=path)
        if "segment" in record:
            raise UnsupportedError("an array in one piece", "a segment", path=path)
        dims = [int(size) for size in record.dims]
        if len(dims) > self.limits.max_ndim:
            raise LimitError(f"at most {self.limits.max_ndim} axes", len(dims), path=path)
        if any(size < 0 for size in dims):
            raise FormatError("lengths that are not negative", dims, path=path)
        count = math.prod(dims)
        if count > MOST_ENTRIES:
            raise TruncatedError("an array that the file can hold", f"{count} entries", path=path)
        dtype = np.dtype(np.uint16) if number == BFLOAT16 else DTYPES[number]
        flat = self.entries(record, dtype, count, path)
        if number == BFLOAT16:
            self.expand(4 * count, path)
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        try:
            return flat.reshape(dims)
        except ValueError:  # a length of 0 beside lengths whose product NumPy cannot count
            raise FormatError("lengths that NumPy can count", dims, path=path) from None

    def entries(self, record: Record, dtype: np.dtype[Any], count: int, path: str) -> Any:
        little = dtype.newbyteorder("<")
        if record.data_location:
            if record.data_location != 1:
                raise FormatError("data in the file or beside it", record.data_location, path=path)
            entries = {entry.key: entry.value for entry in record.external_data}
            raw = self.external.read(entries, count * dtype.itemsize, path)
            return np.frombuffer(raw, little)
        if "raw_data" in record:
            raw = record.raw_data
            if raw.nbytes != count * dtype.itemsize:
                kind = TruncatedError if raw.nbytes < count * dtype.itemsize else FormatError
                raise kind(f"{count * dtype.itemsize} bytes", raw.nbytes, path=path)
            flat = np.frombuffer(raw, little) if count else np.empty(0, dtype)
            return self.booleans(flat, path) if dtype.kind == "b" else flat
        name = DATA_FIELDS.get(dtype.str[1:], "int32_data")
        values = getattr(record, name)
        if len(values) != count:
            kind = TruncatedError if len(values) < count else FormatError
            raise kind(f"{count} numbers in {name}", len(values), path=path)
        if values.dtype == dtype:
            return values
        self.expand(count * dtype.itemsize, path)
        if dtype == np.float16:
            return values.astype(np.uint16).view(np.float16)
        return values.astype(dtype)

    def booleans(self, flat: Any, path: str) -> Any:
        if flat.view(np.uint8).max(initial=0) > 1:
            raise FormatError("booleans, which are 0 or 1", path=path)
        return flat

    def expand(self, size: int, path: str) -> None:
        """Count bytes that are made beside the file's own."""
        self.expanded += size
        if self.expanded > self.limits.max_expanded * 16:
            most = self.limits.max_expanded * 16
            raise LimitError(f"at most {most} bytes of arrays that are converted", path=path)


def _shortest(value: float) -> float:
    """The number with the fewest digits that a float32 stands for: 1e-05, not 9.999999747e-06.

    That is what was written, in most cases; a layer that is read again has its very options.
    """
    return float(str(np.float32(value)))


def _has(record: Record, name: str) -> bool:
    try:
        return name in record
    except AttributeError:
        return False
