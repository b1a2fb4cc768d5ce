"""What a file looks like: the first fields of a protobuf message, without reading what is in them.

Files of several systems are protobuf messages, which have no first bytes that say whose they are.
Their fields have numbers, and these tell the systems apart.  A map of a large file is touched where
a field begins, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["SeenField", "is_text", "seen_fields"]

_LONGEST = 10  # bytes of a varint
_WIDTHS = {1: 8, 5: 4}
_BYTES = 2


class SeenField(NamedTuple):
    """A field of a message: its number, how it is written, and where its content lies."""

    number: int
    wire: int  # 0 a varint, 1 eight bytes, 2 bytes with a length, 5 four bytes
    start: int
    end: int


def seen_fields(
    data: Any, start: int = 0, end: int | None = None, most: int = 500
) -> Iterator[Any]:
    """The fields of the message in data[start:end], at most `most`; None where it is no message.

    data: bytes, or a map of a file
    """
    end = len(data) if end is None else min(end, len(data))
    at = start
    for _ in range(most):
        if at >= end:
            return
        key, at = _varint(data, at, end)
        number, wire = key >> 3, key & 7
        size, begin = _WIDTHS.get(wire, 0), at
        if wire == _BYTES:
            size, begin = _varint(data, at, end)
        elif wire == 0:
            size = _varint(data, at, end)[1] - at
        if number < 1 or wire not in (0, 1, 2, 5) or begin < 0 or size < 0 or begin + size > end:
            yield None
            return
        at = begin + size
        yield SeenField(number, wire, begin, at)


def _varint(data: Any, at: int, end: int) -> tuple[int, int]:
    """(the number, the byte behind it); (0, -1) where there is none."""
    value = 0
    for k in range(_LONGEST):
        if not 0 <= at + k < end:
            break
        byte = data[at + k]
        value |= (byte & 0x7F) << (7 * k)
        if byte < 0x80:
            return value, at + k + 1
    return 0, -1


def is_text(first: bytes) -> bool:
    """Whether bytes are those of a text: letters, spaces and ends of lines, and not none."""
    return bool(first) and all(byte >= 32 or byte in b"\t\r\n" for byte in first)
