"""MXNet's lists of arrays: .params and .nd files of every version in, dense ones of 1.9.1 out.

All numbers are little endian:

    u64 0x112, u64 0, u64 n, n arrays, u64 k, k names (u64 length, UTF-8)
    array V2:  u32 0xF993FAC9, i32 storage (0 dense, 1 row_sparse, 2 csr), [sparse: storage shape],
               shape, i32 device, i32 number, i32 type, [sparse: for each index array its type and
               shape], entries, [index arrays]
    V3 (0xF993FACA): dense, 0 axes are a number; V1 (0xF993FAC8): no storage; V0: u32 axes, u32 …
    shape:     i32 axes, i64 each; a shape without axes ends the array: it is none
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from mmap import mmap
from typing import Any

import numpy as np

from tapegrad.autograd import Tensor
from tapegrad.nn.core.places import copy_of_view, mapped, opened, replaced, size_of
from tapegrad.nn.core.services import register_service
from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsupportedError,
)
from tapegrad.nn.mxnet.context import cpu
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, as_array

__all__ = [
    "load_arrays",
    "mapped_file",
    "read_array",
    "read_arrays",
    "save_arrays",
    "write_array",
    "write_arrays",
]

LIST = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
TYPES = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "?")
_BFLOAT16 = 12
_MOST = 1 << 56  # entries of an array, axes of length 0 counted as 1: NumPy makes no larger one
_INDEX_ARRAYS = {0: 0, 1: 1, 2: 2}
Found = list[NDArray] | dict[str, NDArray]


class _Reader:
    """A file's bytes with a position; every size is compared with what is left first.

    data: bytes, or a map of a file, of which the pages are given back whose entries were copied
    """

    def __init__(self, data: bytes | mmap, place: str | None, limits: Limits):
        self.data, self.place, self.limits = data, place, limits
        self.at = 0
        self.nodes = 0

    def error(self, kind: type[FormatError], expected: str, found: Any = None) -> FormatError:
        return kind(expected, found, file=self.place, offset=self.at)

    def skip(self, count: int, what: str) -> int:
        """Go past so many bytes: where they begin."""
        if count > len(self.data) - self.at:
            raise self.error(
                TruncatedError, f"{count} bytes of {what}", f"{len(self.data) - self.at}"
            )
        self.at += count
        return self.at - count

    def take(self, count: int, what: str) -> bytes:
        start = self.skip(count, what)
        return bytes(self.data[start : self.at])

    def number(self, code: str, what: str) -> int:
        [value] = struct.unpack("<" + code, self.take(struct.calcsize("<" + code), what))
        return int(value)

    def count(self, least: int, what: str) -> int:
        """A number of items of at least `least` bytes each."""
        value = self.number("Q", what)
        if value * least > len(self.data) - self.at:
            raise self.error(
                TruncatedError, f"{what}: {value} do not fit into the rest of the file"
            )
        self.nodes += value
        if self.nodes > self.limits.max_nodes:
            raise self.error(LimitError, f"at most {self.limits.max_nodes} objects", self.nodes)
        return value

    def shape(self, code: str = "q", axes: int | None = None) -> tuple[int, ...] | None:
        axes = self.number("i", "number of axes") if axes is None else axes
        if axes == -1:
            return None
        if not 0 <= axes <= self.limits.max_ndim:
            raise self.error(LimitError, f"at most {self.limits.max_ndim} axes", axes)
        found = tuple(self.number(code, "length of an axis") for _ in range(axes))
        if any(n < 0 for n in found):
            raise self.error(FormatError, "lengths of axes from 0", found)
        if math.prod(max(n, 1) for n in found) > _MOST:
            raise self.error(LimitError, f"at most {_MOST} entries along axes", found)
        return found

    def type(self) -> tuple[np.dtype[Any], bool]:
        """(type of the entries, whether they are bfloat16 in 16 bits)."""
        flag = self.number("i", "type of entries")
        if flag == _BFLOAT16:
            return np.dtype("<u2"), True
        if not 0 <= flag < len(TYPES):
            raise self.error(UnsupportedError, f"a type from 0 to {len(TYPES) - 1}, or 12", flag)
        return np.dtype(TYPES[flag]), False

    def entries(self, shape: tuple[int, ...], kind: tuple[np.dtype[Any], bool]) -> np.ndarray:
        dtype, brain = kind
        size = math.prod(shape)
        start = self.skip(size * dtype.itemsize, "entries")
        values = np.frombuffer(self.data, dtype, size, start) if size else np.empty(0, dtype)
        if brain:
            found = (copy_of_view(values, np.uint32) << 16).view(np.float32)
        else:
            found = copy_of_view(values, dtype.newbyteorder("="))
        return found.reshape(shape)


def read_arrays(
    data: bytes | mmap, place: str | None = None, limits: Limits | None = None
) -> Found:
    """The arrays of a file's bytes, or of its map: a dict by name, or a list where they have none.

    Raises FormatError, or one of its children, for bytes that are no such list.
    """
    reader = _Reader(data, place, limits or Limits())
    if reader.number("Q", "the magic number") != LIST:
        raise FormatError("MXNet's list of arrays begins with 0x112", file=place, offset=0)
    reader.number("Q", "the reserved number")
    arrays = [_array(reader) for _ in range(reader.count(4, "arrays"))]
    names = []
    for _ in range(reader.count(8, "names")):
        length = reader.number("Q", "length of a name")
        try:
            names.append(reader.take(length, "a name").decode())
        except UnicodeDecodeError as error:
            raise reader.error(FormatError, f"a name in UTF-8: {error}") from error
    if reader.at != len(data):
        raise reader.error(
            FormatError, "the end of the file", f"{len(data) - reader.at} bytes more"
        )
    if not names:
        return arrays
    if len(names) != len(arrays):
        raise reader.error(FormatError, f"a name for each of {len(arrays)} arrays", len(names))
    if len(set(names)) != len(names):
        raise reader.error(FormatError, "names that differ")
    return dict(zip(names, arrays, strict=True))


def read_array(data: bytes, place: str | None = None, limits: Limits | None = None) -> NDArray:
    """The array of the bytes of one.  Raises FormatError, or one of its children."""
    reader = _Reader(data, place, limits or Limits())
    found = _array(reader)
    if reader.at != len(data):
        raise reader.error(
            FormatError, "the end of the array", f"{len(data) - reader.at} bytes more"
        )
    return found


def _array(reader: _Reader) -> NDArray:
    magic = reader.number("I", "the version of an array")
    storage = 0
    if magic == V3:
        storage = reader.number("i", "kind of storage")
        if storage:
            raise reader.error(UnsupportedError, "a dense array in version 3", storage)
        shape = reader.shape()
    elif magic == V2:
        storage = reader.number("i", "kind of storage")
        if storage not in _INDEX_ARRAYS:
            raise reader.error(FormatError, "storage 0, 1 or 2", storage)
        if storage:
            reader.shape()  # MXNet may write a stale one; the index arrays say how many entries
        shape = reader.shape()
    elif magic == V1:
        shape = reader.shape()
    elif magic <= reader.limits.max_ndim:
        shape = reader.shape("I", magic)
    else:
        raise reader.error(FormatError, "an array of version 0 to 3", hex(magic))
    if shape is None or (not shape and magic != V3):
        return _made(np.zeros((0,), np.float32))
    reader.number("i", "kind of device")
    reader.number("i", "number of device")
    kind = reader.type()
    if storage:
        return _made(_sparse(reader, storage, shape, kind))
    return _made(reader.entries(shape, kind))


def _sparse(
    reader: _Reader, storage: int, shape: tuple[int, ...], kind: tuple[np.dtype[Any], bool]
) -> np.ndarray:
    """The dense array of a row_sparse or csr one."""
    indices = []
    for _ in range(_INDEX_ARRAYS[storage]):
        index_kind = reader.type()
        index_shape = reader.shape()
        if index_shape is None or len(index_shape) != 1 or index_kind[0].kind not in "iu":
            raise reader.error(FormatError, "index arrays of whole numbers with one axis")
        indices.append((index_shape, index_kind))
    if storage == 2 and len(shape) != 2:
        raise reader.error(FormatError, "a csr array with two axes", shape)
    count = indices[-1][0][0]
    inner = (count, *shape[1:]) if storage == 1 else (count,)
    values = reader.entries(inner, kind)
    at = [reader.entries(*one) for one in indices]
    size = math.prod(shape) * values.itemsize
    if size > max(reader.limits.max_expanded, len(reader.data)):
        raise reader.error(LimitError, f"at most {reader.limits.max_expanded} bytes dense", size)
    dense = np.zeros(shape, values.dtype)
    rows, columns = (at[0], None) if storage == 1 else _rows_of_csr(reader, at[0], at[1], shape)
    limit = shape[0] if storage == 1 else shape[1]
    places = rows if columns is None else columns
    if places.size and (places.min() < 0 or places.max() >= limit):
        raise reader.error(FormatError, f"indices from 0 to {limit - 1}")
    if columns is None:
        dense[rows] = values
    else:
        dense[rows, columns] = values
    return dense


def _rows_of_csr(
    reader: _Reader, starts: np.ndarray, columns: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    counts = np.diff(starts)
    fits = starts.size == shape[0] + 1 and starts.size and starts[0] == 0
    if not fits or (counts < 0).any() or starts[-1] != columns.size:
        raise reader.error(FormatError, "a start for each row, from 0 to the number of entries")
    return np.repeat(np.arange(shape[0]), counts), columns


def _made(values: np.ndarray) -> NDArray:
    return NDArray(Tensor(values), cpu())


def write_arrays(arrays: Sequence[NDArray], names: Sequence[str] = ()) -> bytes:
    """The bytes of a file, as MXNet 1.9.1 writes them.

    Raises UnsupportedError for a type that MXNet lacks.
    """
    return b"".join(_pieces(arrays, names))


def _pieces(arrays: Sequence[NDArray], names: Sequence[str]) -> Iterator[bytes | memoryview]:
    """The bytes of a file, one piece after the other; entries are not copied."""
    yield struct.pack("<QQQ", LIST, 0, len(arrays))
    for x in arrays:
        yield from _written(x)
    yield struct.pack("<Q", len(names))
    for name in names:
        text = name.encode()
        yield struct.pack("<Q", len(text)) + text


def write_array(x: NDArray) -> bytes:
    """The bytes of one array.  Raises UnsupportedError for a type that MXNet lacks."""
    return b"".join(_written(x))


def _written(x: NDArray) -> list[bytes | memoryview]:
    values = x.tensor.numpy()
    code = _code_of(values.dtype)
    shape = values.shape
    return [
        struct.pack("<Ii", V2, 0),
        struct.pack(f"<i{len(shape)}q", len(shape), *shape),
        struct.pack("<iii", x.context.device_typeid, x.context.device_id, code),
        np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        .reshape(-1)
        .view(np.uint8)
        .data,
    ]


def _code_of(dtype: np.dtype[Any]) -> int:
    kind = dtype.newbyteorder("<").str.replace("|", "")
    codes = {np.dtype(code).str.replace("|", ""): i for i, code in enumerate(TYPES)}
    if kind not in codes:
        raise UnsupportedError(f"MXNet has no arrays of {dtype}")
    return codes[kind]


@register_service("mxnet.load_arrays_from_bytes")
def load_from_bytes(buf: bytes) -> Found:
    """The arrays of a file's bytes.  Raises FormatError."""
    return read_arrays(bytes(buf))


@register_service("mxnet.load_arrays")
def load_arrays(path: str | os.PathLike[str], limits: Limits | None = None) -> Found:
    """The arrays of a file: a dict by name, or a list where they have none.

    Raises FormatError, or one of its children; OSError.
    """
    limits = limits or Limits()
    return read_arrays(mapped_file(path, limits), os.fspath(path), limits)


def mapped_file(path: str | os.PathLike[str], limits: Limits) -> bytes | mmap:
    """A map of a file, or its bytes.  Raises LimitError for one that is too large; OSError."""
    size = size_of(path)
    if limits.max_bytes is not None and size > limits.max_bytes:
        raise LimitError(f"at most {limits.max_bytes} bytes", size, file=os.fspath(path))
    data: bytes | mmap = mapped(path)[0]
    return data


@register_service("mxnet.save_arrays")
def save_arrays(path: str | os.PathLike[str], data: Any) -> None:
    """Write an array, a list of them, or a dict of them by name.

    The file is replaced at the end, or stays as it was.
    Raises TypeError for other data, UnsupportedError for a type that MXNet lacks, OSError.
    """
    if isinstance(data, NDArray):
        data = [data]
    if isinstance(data, Mapping):
        arrays, names = [as_array(x) for x in data.values()], [str(name) for name in data]
    elif isinstance(data, (list, tuple)):
        arrays, names = [as_array(x) for x in data], []
    else:
        raise TypeError(
            "data needs to either be a NDArray, dict of str, NDArray pairs or a list of NDarrays."
        )
    for x in arrays:
        _code_of(x.tensor.dtype)
    with replaced(path) as stream:
        for piece in _pieces(arrays, names):
            stream.write(piece)


@register_service("mxnet.write_file")
def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace a file by these bytes, or leave it as it was.  Raises OSError."""
    with replaced(path) as stream:
        stream.write(data)


@register_service("mxnet.read_file")
def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file.  Raises OSError."""
    with opened(path) as stream:
        return stream.read()
