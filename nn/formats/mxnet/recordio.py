"""MXNet's record files: one record after another, each in one part or several.

    part: u32 0xCED7230A, u32 (what << 29 | length), bytes, zeros up to a multiple of 4
    what: 0 a whole record, 1 its first part, 2 a part in the middle, 3 the last

A record that holds the magic number at a multiple of 4 is cut there, and the number left out: so
the number begins a part wherever it stands, and a reader can start in the middle of a file.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
from typing import BinaryIO

from tapegrad.nn.core.places import opened, replaced
from tapegrad.nn.core.services import register_service
from tapegrad.nn.formats.common.errors import FormatError, LimitError, Limits, TruncatedError
from tapegrad.nn.formats.mxnet.arrays import read_file

__all__ = ["RecordReader", "RecordWriter", "read_index", "unpack_header"]

MAGIC = 0xCED7230A
_MARK = struct.pack("<I", MAGIC)
_LONGEST = 1 << 29
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_HEADER = struct.Struct("<IfQQ")


@register_service("mxnet.record_reader")  # recordio, which stands below
class RecordReader:
    """Reads a record file, or the bytes of one, from any record's beginning on.

    Raises OSError for the file itself; `read` raises FormatError, or one of its children.
    """

    def __init__(self, path: str | os.PathLike[str] | bytes):
        if isinstance(path, bytes):
            self.place: str | None = None
            self._size = len(path)
            self._stream: BinaryIO = io.BytesIO(path)
            return
        self.place = os.fspath(path)
        self._stream = opened(path)  # open until `close`
        self._size = os.fstat(self._stream.fileno()).st_size

    def tell(self) -> int:
        """The byte where the next record begins."""
        return self._stream.tell()

    def seek(self, at: int) -> None:
        """Go to the byte where a record begins.  Raises FormatError for one outside the file."""
        if not 0 <= at <= self._size:
            raise FormatError(f"a place from 0 to {self._size}", at, file=self.place)
        self._stream.seek(at)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __del__(self) -> None:
        if hasattr(self, "_stream"):
            self._stream.close()

    def read(self) -> bytes | None:
        """The next record; None at the end of the file."""
        record: bytearray | None = None
        while True:
            at = self._stream.tell()
            if at == self._size and record is None:
                return None
            what, piece = self._part(at)
            if what not in ((_WHOLE, _FIRST) if record is None else (_MIDDLE, _LAST)):
                text = "the beginning of a record" if record is None else "its next part"
                raise FormatError(text, f"a part of kind {what}", file=self.place, offset=at)
            if what == _WHOLE:
                return piece
            if record is None:
                record = bytearray(piece)
            else:
                record += _MARK + piece
            if what == _LAST:
                return bytes(record)

    def _part(self, at: int) -> tuple[int, bytes]:
        head = self._stream.read(8)
        if len(head) < 8:
            raise TruncatedError(
                "8 bytes of a record's head", len(head), file=self.place, offset=at
            )
        magic, described = struct.unpack("<II", head)
        if magic != MAGIC:
            raise FormatError(
                f"a record, which begins with {MAGIC:#x}", hex(magic), file=self.place, offset=at
            )
        length = described & (_LONGEST - 1)
        left = self._size - at - 8
        if length > left:
            raise TruncatedError(f"{length} bytes of a record", left, file=self.place, offset=at)
        piece = self._stream.read(length)
        if len(piece) < length:
            raise TruncatedError(
                f"{length} bytes of a record", len(piece), file=self.place, offset=at
            )
        fill = -length % 4
        if len(self._stream.read(fill)) < fill:
            raise TruncatedError(f"{fill} bytes behind a record", file=self.place, offset=at)
        return described >> 29, piece


@register_service("mxnet.record_writer")  # recordio, which stands below
class RecordWriter:
    """Writes a record file, which replaces an old one when it is closed.

    Raises OSError for the file itself.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._stack = contextlib.ExitStack()
        self._stream = self._stack.enter_context(replaced(path))

    def tell(self) -> int:
        """The byte where the next record will begin."""
        return self._stream.tell()

    def write(self, record: bytes) -> None:
        """Add a record.  Raises ValueError for one of 2²⁹ bytes or more."""
        if len(record) >= _LONGEST:
            raise ValueError(f"a record has less than {_LONGEST} bytes, not {len(record)}")
        begin, at = 0, record.find(_MARK)
        while at >= 0:
            if at % 4:
                at = record.find(_MARK, at + 1)
                continue
            self._part(_FIRST if begin == 0 else _MIDDLE, record[begin:at])
            begin = at + 4
            at = record.find(_MARK, begin)
        self._part(_LAST if begin else _WHOLE, record[begin:])

    def _part(self, what: int, piece: bytes) -> None:
        self._stream.write(struct.pack("<II", MAGIC, what << 29 | len(piece)))
        self._stream.write(piece + b"\0" * (-len(piece) % 4))

    def close(self) -> None:
        """Put the file in its place."""
        self._stack.close()

    def discard(self) -> None:
        """Leave the old file, if there is one, as it was."""
        reason = OSError("the file is given up")  # ends the block of a file that shall not appear
        self._stack.__exit__(OSError, reason, None)


@register_service("mxnet.read_record_index")  # recordio, which stands below
def read_index(path: str | os.PathLike[str], limits: Limits | None = None) -> list[tuple[str, int]]:
    """(key as a text, byte) of each line of an index: key, tab, byte.

    Raises FormatError for other lines, LimitError for too many, OSError.
    """
    limits, place = limits or Limits(), os.fspath(path)
    found = []
    data = read_file(path)
    if data.count(b"\n") > limits.max_nodes:
        raise LimitError(f"at most {limits.max_nodes} lines", file=place)
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        key, tab, at = line.strip(b"\r").partition(b"\t")
        if not tab or not at.isdigit() or len(at) > 19:
            raise FormatError("key, tab, byte", f"{line[:80]!r}", file=place, path=f"line {number}")
        try:
            found.append((key.decode("ascii"), int(at)))
        except UnicodeDecodeError as error:
            raise FormatError(
                "a key in ASCII", f"{key[:80]!r}", file=place, path=f"line {number}"
            ) from error
    return found


@register_service("mxnet.unpack_record")  # recordio, which stands below
def unpack_header(record: bytes) -> tuple[int, float, int, int, bytes]:
    """(flag, label, id, id2, the rest) of a record with a header of 24 bytes.

    Raises TruncatedError for fewer bytes, or fewer labels than the flag counts.
    """
    if len(record) < _HEADER.size:
        raise TruncatedError(f"{_HEADER.size} bytes of a header", len(record))
    flag, label, number, second = _HEADER.unpack_from(record)
    if 4 * flag > len(record) - _HEADER.size:
        raise TruncatedError(f"{flag} labels", f"{len(record) - _HEADER.size} bytes")
    return flag, label, number, second, record[_HEADER.size :]


@register_service("mxnet.pack_record")  # recordio, which stands below
def pack_header(flag: int, label: float, number: int, second: int) -> bytes:
    """The 24 bytes of a header.  Raises ValueError for numbers that do not fit."""
    try:
        return _HEADER.pack(flag, label, number, second)
    except struct.error as error:
        raise ValueError(f"flag {flag}, id {number}, id2 {second}: {error}") from error
