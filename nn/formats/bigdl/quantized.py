"""BigDL's quantized layers, which are read: int8 weights, and the largest of each row.

What BigDL multiplies is int8 · largest / 127, row by row; our quantized layers do the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.bigdl.attributes import value_of
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.common.protobuf import Record

if TYPE_CHECKING:
    from tapegrad.nn.formats.bigdl.entry import Entry

__all__ = ["read_quantized"]

LARGEST = 127


def read_quantized(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    """The quantized layer of a record: its table is that of the layer which it was made of."""
    values = entry.values(record.attr, reader.file, path)
    layer = entry.cls.__new__(entry.cls)
    layer.__dict__.update(values)
    name = "weight" if "weight" in record.attr else "weights"
    found = value_of(record.attr[name]) if name in record.attr else None
    tensors = found if isinstance(found, list) else [found]
    if not tensors or not all(isinstance(tensor, Record) for tensor in tensors):
        raise reader.error("tensors of quantized weights", None, f"{path}.{name}")
    weights = [
        dequantized(reader, tensor, f"{path}.{name}[{i}]") for i, tensor in enumerate(tensors)
    ]
    weight = np.concatenate(weights)
    layer.__dict__["weight"] = reader.tensors.shared(tensors[0], weight, path)
    layer.__dict__["bias"] = None
    if "bias" in record:
        bias = reader.array(record.bias, f"{path}.bias")
        layer.__dict__["bias"] = reader.tensors.shared(record.bias, bias, path)
    return reader.quantized(layer)


def dequantized(reader: Any, tensor: Record, path: str) -> np.ndarray[Any, Any]:
    """int8 · largest / 127 of a quantized tensor."""
    storage = reader.tensors.quantized.get(tensor.storage.id)
    size = tuple(tensor.size)
    if storage is None or len(storage.bytes_data) != 1 or not size or min(size) < 1:
        raise reader.error("the bytes of a quantized tensor", None, path, UnsupportedError)
    numbers = storage.bytes_data[0].view(np.int8)
    rows = size[0]
    if numbers.size != np.prod(size, dtype=object) or len(storage.float_data) < 2 * rows:
        raise reader.error(f"{size} bytes, and the range of each row", numbers.size, path)
    high, low = storage.float_data[:rows], storage.float_data[rows : 2 * rows]
    largest = np.maximum(np.abs(high), np.abs(low))
    scale = (largest / LARGEST).astype(np.float32).reshape(-1, *[1] * (len(size) - 1))
    return np.asarray(numbers.reshape(size).astype(np.float32) * scale)
