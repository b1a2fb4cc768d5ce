"""TensorProto: the arrays of a graph, as views of the file where their bytes lie there as such."""

from __future__ import annotations

import math
import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    TruncatedError,
    UnsupportedError,
)
from tapegrad.nn.formats.tensorflow.fields import SCHEMA

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = [
    "BFLOAT16",
    "DTYPES",
    "array_of_tensor",
    "type_of_number",
    "forget",
    "tensor_of_array",
    "transposed",
]

# number of a DataType -> NumPy's type, and the field that has numbers one by one
DTYPES: dict[int, tuple[str, str]] = {
    1: ("f4", "float_val"), 2: ("f8", "double_val"), 3: ("i4", "int_val"), 4: ("u1", "int_val"),
    5: ("i2", "int_val"), 6: ("i1", "int_val"), 8: ("c8", "scomplex_val"), 9: ("i8", "int64_val"),
    10: ("?", "bool_val"), 17: ("u2", "int_val"), 18: ("c16", "dcomplex_val"),
    19: ("f2", "half_val"), 22: ("u4", "uint32_val"), 23: ("u8", "uint64_val"),
}  # fmt: skip
BFLOAT16 = 14  # NumPy lacks it: such arrays become float32
_NUMBERS = {np.dtype(text): number for number, (text, _) in DTYPES.items()}
_NAMES = {7: "text", 20: "a resource", 21: "a variant", 11: "qint8", 12: "quint8", 13: "qint32"}
_LARGE = 1 << 20  # bytes of an array in another order that is turned when it is written
_STRIP = 256  # rows, whose part of a column stays in the cache
_FILLED = 64_000_000  # bytes that one number, repeated, may become


def type_of_number(number: int, path: str, file: str | None) -> np.dtype[Any]:
    """NumPy's type for that of a tensor.  Raises UnsupportedError for texts, resources, …"""
    if number == BFLOAT16:
        return np.dtype("f4")
    number -= 100 if number > 100 else 0  # a reference to a variable
    if number not in DTYPES:
        found = _NAMES.get(number, f"type {number}")
        raise UnsupportedError("numbers or booleans", found, path=path, file=file)
    return np.dtype(DTYPES[number][0])


def array_of_tensor(
    tensor: Record, path: str, file: str | None, big: bool = False
) -> np.ndarray[Any, Any]:
    """The array of a TensorProto.

    big: whether tensor_content was written by a big-endian machine
    Raises FormatError for a shape that the numbers do not fit, LimitError for one number that
    stands for too many, UnsupportedError for a type that is no number.
    """

    def error(kind: type[FormatError], expected: str, found: Any = None) -> FormatError:
        return kind(expected, found, path=path, file=file)

    brain = tensor.dtype == BFLOAT16
    dtype = type_of_number(tensor.dtype, path, file)
    shape = tuple(int(d.size) for d in tensor.tensor_shape.dim)
    if len(shape) > 32 or tensor.tensor_shape.unknown_rank:
        raise error(LimitError, "at most 32 axes, and as many as are said", len(shape))
    if min(shape, default=0) < 0 or math.prod(max(n, 1) for n in shape) >= 1 << 60:
        raise error(FormatError, "lengths of axes that fit into memory", shape)
    count = math.prod(shape)
    stored = np.dtype("u2") if brain else dtype
    content = tensor.tensor_content
    if len(content):
        if len(content) != count * stored.itemsize:
            kind = TruncatedError if len(content) < count * stored.itemsize else FormatError
            raise error(
                kind, f"{count * stored.itemsize} bytes for the shape {shape}", len(content)
            )
        raw = np.asarray(content).view(np.uint8)
        flat = raw.view(stored.newbyteorder(">" if big else "<"))
    else:
        flat = _listed(tensor, stored, brain, count, error)
    if brain:
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    elif dtype == np.bool and flat.view(np.uint8).max(initial=0) > 1:
        raise error(FormatError, "booleans, 0 or 1", "another byte")
    if not flat.dtype.isnative:
        flat = flat.astype(dtype)
    return flat.reshape(shape)


def _listed(
    tensor: Record, stored: np.dtype[Any], brain: bool, count: int, error: Any
) -> np.ndarray[Any, Any]:
    """Numbers of a field of their own; the last one stands for all that follow."""
    name = "half_val" if brain else DTYPES[_NUMBERS[stored]][1]
    values = np.asarray(getattr(tensor, name))
    if stored.kind == "c":
        values = np.ascontiguousarray(values[: len(values) // 2 * 2]).view(stored)
    elif name == "half_val":
        values = values.astype(np.uint16).view(stored)
    values = values.astype(stored, copy=False)
    if len(values) > count:
        raise error(FormatError, f"{count} numbers", len(values))
    if len(values) < count:
        if count * stored.itemsize > _FILLED:
            raise error(LimitError, f"at most {_FILLED} bytes of repeated numbers", count)
        last = values[-1:] if len(values) else np.zeros(1, stored)
        values = np.concatenate([values, np.repeat(last, count - len(values))])
    return values


def tensor_of_array(array: np.ndarray[Any, Any]) -> Record:
    """A TensorProto.  Raises UnsupportedError for a type that TensorFlow lacks."""
    dtype = array.dtype.newbyteorder("=")
    if dtype not in _NUMBERS:
        raise UnsupportedError("a type that TensorFlow has", str(array.dtype))
    shape = SCHEMA.new("TensorShapeProto", dim=[SCHEMA.new("Dim", size=n) for n in array.shape])
    number = _NUMBERS[dtype]
    if array.size == 1 and dtype.kind in "iuf" and dtype.itemsize > 2:
        # as TensorFlow itself writes them, and other programs expect them
        value = {DTYPES[number][1]: array.reshape(-1)}
        return SCHEMA.new("TensorProto", dtype=number, tensor_shape=shape, **value)
    content = array.astype(dtype.newbyteorder("<"), copy=False)
    if content.flags.c_contiguous or content.nbytes < _LARGE:
        content = np.ascontiguousarray(content).reshape(-1).view(np.uint8)
    return SCHEMA.new("TensorProto", dtype=number, tensor_shape=shape, tensor_content=content)


def transposed(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy of a matrix's transpose, three times as fast as NumPy's for large ones: by strips."""
    out: np.ndarray[Any, Any] = np.empty(matrix.shape[::-1], matrix.dtype)
    for start in range(0, matrix.shape[0], _STRIP):
        out[:, start : start + _STRIP] = matrix[start : start + _STRIP].T
    return out


def forget(array: np.ndarray[Any, Any]) -> None:
    """Let the pages go that hold an array of a mapped file: they would count as our memory."""
    base: Any = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    if not isinstance(base, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return
    start = array.__array_interface__["data"][0]
    offset = start - np.frombuffer(base, np.uint8, 1).__array_interface__["data"][0]
    first = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
    if (length := offset + array.nbytes - first) >= mmap.PAGESIZE:
        base.madvise(mmap.MADV_DONTNEED, first, length)
