"""MNIST's files: u8 0, 0, type, number of axes; u32 for each axis; entries.  All big endian."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from typing import Any

import numpy as np

from tapegrad.nn.core.places import opened
from tapegrad.nn.core.services import register_service
from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsupportedError,
)

__all__ = ["read_idx"]

TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_ZIPPED = b"\x1f\x8b"
_LARGEST = 1 << 32  # bytes of an unpacked file


@register_service("mxnet.read_idx")  # MNISTIter, which stands below
def read_idx(path: str | os.PathLike[str], limits: Limits | None = None) -> np.ndarray:
    """The array in an idx file, which may be compressed by gzip.

    Raises FormatError, or one of its children, for other bytes; OSError.
    """
    place, limits = os.fspath(path), limits or Limits()
    with opened(path) as stream:
        zipped = stream.read(2) == _ZIPPED
        stream.seek(0)
        size = os.fstat(stream.fileno()).st_size
        if zipped:
            with gzip.open(stream) as inner:
                try:
                    return _read(inner, None, place, limits)
                except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                    raise TruncatedError(f"a whole file of gzip: {error}", file=place) from error
        return _read(stream, size, place, limits)


def _read(stream: Any, size: int | None, place: str, limits: Limits) -> np.ndarray:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise FormatError("an idx file, which begins with two zeros", f"{head!r}", file=place)
    kind, axes = head[2], head[3]
    if kind not in TYPES:
        raise UnsupportedError(f"a type among {sorted(TYPES)}", kind, file=place, offset=2)
    if axes > limits.max_ndim:
        raise LimitError(f"at most {limits.max_ndim} axes", axes, file=place, offset=3)
    lengths = stream.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise TruncatedError(f"{axes} lengths", file=place, offset=4)
    shape = struct.unpack(f">{axes}I", lengths)
    dtype = np.dtype(TYPES[kind])
    wanted = math.prod(shape) * dtype.itemsize
    if size is not None and wanted != size - 4 - 4 * axes:
        wrong = TruncatedError if wanted > size - 4 - 4 * axes else FormatError
        raise wrong(f"{wanted} bytes of entries", size - 4 - 4 * axes, file=place)
    data = _at_most(stream, wanted, place)
    if stream.read(1):
        raise FormatError(f"{wanted} bytes of entries, and no more", file=place)
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _at_most(stream: Any, wanted: int, place: str) -> bytes:
    """`wanted` bytes, piece by piece: what a compressed file announces may not be there."""
    if wanted > _LARGEST:
        raise LimitError(f"at most {_LARGEST} bytes", wanted, file=place)
    pieces, left = [], wanted
    while left:
        piece = stream.read(min(left, 1 << 20))
        if not piece:
            raise TruncatedError(f"{wanted} bytes of entries", wanted - left, file=place)
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
