"""Arrays of varints, protobuf's numbers of 1 to 10 bytes, with NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.nn.formats.common.tables_of_fields import VARINTS

__all__ = ["as_unsigned", "decode_varints", "encode_varints", "varint_sizes"]

_CHUNK = 1 << 16  # numbers that are decoded at once: each needs 10 words meanwhile


def decode_varints(
    raw: np.ndarray[Any, Any], kind: str, error: Callable[[str, Any], Exception]
) -> np.ndarray[Any, Any]:
    """The numbers in bytes (n,) of uint8, of the type that `kind` has.

    error: makes what is raised for a number that does not end, or has more than 64 bits
    """
    ends = np.flatnonzero(raw < 0x80) + 1
    if len(raw) and (not len(ends) or ends[-1] != len(raw)):
        raise error("the end of a varint", None)
    result = np.empty(len(ends), VARINTS[kind])
    for first in range(0, len(ends), _CHUNK):
        last = ends[first : first + _CHUNK]
        begin = np.concatenate([[ends[first - 1] if first else 0], last[:-1]])
        size = last - begin
        longest = int(size.max())
        if longest > 10:
            raise error("varints of at most 10 bytes", longest)
        value = np.zeros(len(last), np.uint64)
        for k in range(longest):
            inside = k < size
            byte = raw[np.where(inside, begin + k, 0)].astype(np.uint64) & np.uint64(0x7F)
            if k == 9 and (byte[inside] > 1).any():
                raise error("numbers of 64 bits", None)
            value |= np.where(inside, byte, np.uint64(0)) << np.uint64(7 * k)
        result[first : first + _CHUNK] = _from_unsigned(value, kind)
    return result


def _from_unsigned(value: np.ndarray[Any, Any], kind: str) -> np.ndarray[Any, Any]:
    if kind == "bool":
        return value != 0
    if kind in ("sint32", "sint64"):
        one = np.uint64(1)
        return ((value >> one) ^ (~(value & one) + one)).astype(VARINTS[kind])
    return value.astype(VARINTS[kind])  # keeps the low bits, as protobuf does


def as_unsigned(values: np.ndarray[Any, Any], kind: str) -> np.ndarray[Any, Any]:
    """The 64 bits that are written for these numbers."""
    if kind in ("sint32", "sint64"):
        wide = values.astype(np.int64)
        return ((wide << 1) ^ (wide >> 63)).view(np.uint64)
    if values.dtype.kind in "ub":
        return values.astype(np.uint64)
    return values.astype(np.int64).view(np.uint64)  # negative numbers have 10 bytes


def varint_sizes(unsigned: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """How many bytes each number needs."""
    size = np.ones(unsigned.shape, np.int64)
    for k in range(1, 10):
        size += unsigned >= np.uint64(1 << (7 * k))
    return size


def encode_varints(unsigned: np.ndarray[Any, Any]) -> bytes:
    """The bytes of numbers (n,) of uint64, one after the other."""
    size = varint_sizes(unsigned)
    columns = np.arange(int(size.max(initial=1)))
    rows = (unsigned[:, None] >> (7 * columns).astype(np.uint64)).astype(np.uint8) & 0x7F
    rows |= np.where(columns < size[:, None] - 1, 0x80, 0).astype(np.uint8)
    return rows[columns < size[:, None]].tobytes()
