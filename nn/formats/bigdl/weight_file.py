"""BigDL's file of weights beside a model: storages by id, big-endian, with an MD5 digest."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from tapegrad.nn.core.places import mapped
from tapegrad.nn.formats.common.errors import FormatError, LimitError, Limits, TruncatedError

__all__ = ["MAGIC", "read_weights", "write_weights"]

MAGIC = 3721
_MAGIC = struct.pack(">i", MAGIC)
_DIGEST = 16
# BigDL's number of a type, which is none of those of its protobuf messages
_TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype(">f4"),
    1: np.dtype(">f8"),
    3: np.dtype("?"),
    5: np.dtype(">i4"),
    6: np.dtype(">i2"),
    7: np.dtype(">i8"),
    9: np.dtype("i1"),
}
_NUMBERS = {dtype.newbyteorder("="): number for number, dtype in _TYPES.items()}
_CHUNK = 1 << 20


def read_weights(source: Any, limits: Limits) -> dict[int, np.ndarray[Any, Any]]:
    """{id of the storage: its entries, a view of the file}.

    Raises FormatError or one of its children for the content, OSError for the file itself.
    """
    data, name = mapped(source)
    if limits.max_bytes is not None and len(data) > limits.max_bytes:
        raise LimitError(f"at most {limits.max_bytes} bytes", len(data), file=name)
    at = 0

    def take(what: str) -> int:
        nonlocal at
        if len(data) - at < 4:
            raise TruncatedError(what, f"{len(data) - at} bytes", file=name, offset=at)
        [number] = struct.unpack_from(">i", data, at)
        at += 4
        return int(number)

    if take("BigDL's number of such files") != MAGIC:
        raise FormatError(f"{MAGIC}, which begins a file of BigDL's weights", file=name, offset=0)
    count = take("the number of storages")
    if not 0 <= count <= (len(data) - at) // 12:
        raise TruncatedError(f"{count} storages", f"{len(data)} bytes", file=name, offset=4)
    if count > limits.max_nodes or count * 400 > limits.overhead(len(data)):
        raise LimitError("fewer storages", count, file=name, offset=4)
    found: dict[int, np.ndarray[Any, Any]] = {}
    for _ in range(count):
        start = at
        number, kind, size = take("an id"), take("a type"), take("a size")
        dtype = _TYPES.get(kind)
        if dtype is None:
            raise FormatError("a type of numbers", kind, file=name, offset=start)
        if size < 0 or size * dtype.itemsize > len(data) - at:
            left = len(data) - at
            raise TruncatedError(f"{size} entries", f"{left} bytes", file=name, offset=start)
        if number in found:
            raise FormatError("each storage once", number, file=name, offset=start)
        found[number] = np.frombuffer(data, dtype, size, at) if size else np.empty(0, dtype)
        at += size * dtype.itemsize
    end = at
    if take("the length of the digest") != _DIGEST or len(data) - at != _DIGEST:
        expected = f"{_DIGEST} bytes of an MD5 digest, and the end"
        raise FormatError(expected, f"{len(data) - at} bytes", file=name, offset=end)
    digest = hashlib.md5(usedforsecurity=False)
    for begin in range(0, end, _CHUNK):
        digest.update(data[begin : min(begin + _CHUNK, end)])
    if digest.digest() != bytes(data[at:]):
        raise FormatError("the digest of the bytes before it", "another", file=name, offset=at)
    return found


def write_weights(stream: BinaryIO, storages: Sequence[tuple[int, np.ndarray[Any, Any]]]) -> None:
    """Write (id, entries) of each storage."""
    digest = hashlib.md5(usedforsecurity=False)

    def put(data: Any) -> None:
        digest.update(data)
        stream.write(data)

    put(_MAGIC + struct.pack(">i", len(storages)))
    for number, entries in storages:
        kind = _NUMBERS[entries.dtype]
        put(struct.pack(">iii", number, kind, entries.size))
        for start in range(0, entries.size, _CHUNK):
            put(entries[start : start + _CHUNK].astype(_TYPES[kind]).tobytes())
    stream.write(struct.pack(">i", _DIGEST) + digest.digest())
