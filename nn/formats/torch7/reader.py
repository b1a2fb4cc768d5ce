"""Reads the bytes of a Torch7 file into the objects it is made of.

The first bytes say whether it is text or binary, and of which byte order.  Nothing in the file says
whether longs have 64 or 32 bits; `read_file_objects` tries the first, then the second.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO

from tapegrad.nn.core.places import opened
from tapegrad.nn.formats.common.errors import FormatError, LimitError, Limits, TruncatedError
from tapegrad.nn.formats.torch7.encodings import Ascii, Binary, Order

if TYPE_CHECKING:
    from tapegrad.nn.formats.torch7.object_reader import ObjectReader

__all__ = ["read_file_objects"]

NOT_TORCH7 = "a Torch7 file, which begins with a tag from 0 to 8 (nn.load reads safetensors files)"
TRAILING = "the end of the file (load_all reads files with several objects)"


def read_file_objects(
    file: str | os.PathLike[str] | bytes,
    *,
    many: bool = False,
    long_size: int | None = None,
    limits: Limits | None = None,
) -> list[Any]:
    """The objects in a file, or in bytes: one, or with `many` as many as there are.

    long_size: 8 or 4, the bytes of a long in a binary file; None: whichever fits
    Raises FormatError or one of its children, and OSError where the file can't be opened or read.
    """
    limits = limits or Limits()
    if isinstance(file, bytes):
        return _read_stream(io.BytesIO(file), len(file), None, many, long_size, limits)
    name = os.fspath(file)
    with opened(name, limits.max_bytes) as stream:
        size = os.fstat(stream.fileno()).st_size
        return _read_stream(stream, size, name, many, long_size, limits)


def _read_stream(
    stream: BinaryIO,
    size: int,
    name: str | None,
    many: bool,
    long_size: int | None,
    limits: Limits,
) -> list[Any]:
    if limits.max_bytes is not None and size > limits.max_bytes:
        raise LimitError(f"at most {limits.max_bytes} bytes", size, file=name)
    head = stream.read(4)
    if len(head) >= 2 and head[:1] in b"012345678" and head[1:2] in b"\r\n":
        return _attempt(Ascii(stream, size, name, limits), many)
    if len(head) < 4:
        raise TruncatedError(NOT_TORCH7, f"{len(head)} bytes", file=name, offset=0)
    order: Order = "little" if int.from_bytes(head, "little") <= 8 else "big"
    if int.from_bytes(head, order) > 8:
        raise FormatError(NOT_TORCH7, head, file=name, offset=0)
    if long_size is not None:
        return _attempt(Binary(stream, size, name, limits, order, long_size), many)
    reader = Binary(stream, size, name, limits, order, 8)
    try:
        return _attempt(reader, many)
    except FormatError as error:
        if not reader.has_longs:
            raise
        wide = error.with_traceback(None)  # the arrays read so far go with its frames
    del reader
    try:
        return _attempt(Binary(stream, size, name, limits, order, 4), many)
    except FormatError as narrow:
        # The reading that went further is the one that was meant.
        better = narrow if (narrow.offset or 0) > (wide.offset or 0) else wide
    raise better


def _attempt(reader: ObjectReader, many: bool) -> list[Any]:
    reader.stream.seek(0)
    found = [reader.read_object()]
    while many and reader.left():
        found.append(reader.read_object())
    if reader.left():
        raise reader.error(FormatError, TRAILING, f"{reader.left()} more bytes")
    return found
