"""Archive: the members of a ZIP file, each of whose places is checked before it is used.

Python's zipfile believes the directory at the end of the file, and its errors are of many kinds.
Here the members must lie in the file one after another, without holes or overlaps, each name once,
and as the directory says; nothing is taken out that is larger than announced.  Names are keys and
never paths.  Members are stored or deflated; nothing is encrypted.

    local header, name, extra field, data, [sizes again]    of each member
    directory: an entry of each member
    end: how many, and where the directory begins (again in 64 bits, in large files)
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsupportedError,
)

__all__ = ["Archive", "Member"]

_LOCAL, _ENTRY, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END64, _LOCATOR64 = b"PK\x06\x06", b"PK\x06\x07"
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _SIZES_FOLLOW, _UTF8 = 1, 8, 0x800
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # "see the 64-bit field"
_PRICE = 600  # bytes of Python objects of one member
_PIECE = 1 << 20  # bytes that are inflated at once
NO_END = "the end of a ZIP file, 'PK\\5\\6', in its last bytes"

Data = bytes | memoryview


@dataclass(frozen=True)
class Member:
    """One member: its name, and where its data lie."""

    name: str
    deflated: bool
    start: int  # the first byte of its data
    packed: int  # bytes in the file
    size: int  # bytes when it is inflated
    crc: int


class Archive:
    """The directory of a ZIP file's bytes, or of a file that is mapped into memory.

    Raises FormatError or one of its children for a directory that the members do not agree with.
    """

    def __init__(
        self,
        data: Data | mmap.mmap,
        place: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.mapped = data if isinstance(data, mmap.mmap) else None
        self.data, self.place, self.limits = memoryview(data), place, limits or Limits()
        count, start, end = self._find_directory()
        most = min(self.limits.max_nodes, self.limits.overhead(len(data)) // _PRICE)
        if count > most:
            raise self.error(LimitError, f"at most {most} members", count, start)
        self.members: dict[str, Member] = {}
        headers: list[tuple[int, Member]] = []
        at = start
        for _ in range(count):
            header, member, at = self._read_entry(at, end)
            if member.name in self.members:
                raise self.error(FormatError, "each name once", f"{member.name!r:.80}", at)
            self.members[member.name] = member
            headers.append((header, member))
        if at != end:
            raise self.error(FormatError, f"a directory of {count} members", "more bytes", at)
        self._check_places(headers, start)
        total = sum(member.size for member in self.members.values())
        if total > (most := self.limits.inflated(len(data))):
            raise self.error(LimitError, f"at most {most} bytes when it is inflated", total, start)

    def error(
        self, kind: type[FormatError], expected: str, found: Any = None, at: int | None = None
    ) -> FormatError:
        """An error about this file."""
        return kind(expected, found, file=self.place, offset=at)

    def _numbers(self, code: str, at: int) -> tuple[int, ...]:
        size = struct.calcsize("<" + code)
        if at < 0 or at + size > len(self.data):
            raise self.error(TruncatedError, f"{size} bytes of a header", at=max(at, 0))
        return struct.unpack_from("<" + code, self.data, at)

    def _piece(self, at: int, size: int) -> bytes:
        return bytes(self.data[max(at, 0) : at + size]) if at >= 0 else b""

    def _find_directory(self) -> tuple[int, int, int]:
        """(number of members, first byte of the directory, byte after its last)."""
        tail_start = max(len(self.data) - 22 - _FULL16, 0)
        tail = bytes(self.data[tail_start:])
        found = tail.rfind(_END)
        if found < 0 or len(tail) - found < 22:
            raise self.error(TruncatedError, NO_END, at=len(self.data))
        at = tail_start + found
        disk, first_disk, here, count, size, start, comment = self._numbers("HHHHIIH", at + 4)
        if at + 22 + comment != len(self.data):
            left = len(self.data) - at - 22
            raise self.error(FormatError, f"a comment of {comment} bytes at the end", left, at)
        end = at
        if self._piece(at - 20, 4) == _LOCATOR64:
            _, at64, _ = self._numbers("IQI", at - 16)
            if self._piece(at64, 4) != _END64 or at64 + 56 != at - 20:
                raise self.error(FormatError, "the 64-bit end before its locator", at64, at - 20)
            _, _, _, disk64, first64, here64, count64, size64, start64 = self._numbers(
                "QHHIIQQQQ", at64 + 4
            )
            told = (disk, first_disk, here, count, size, start)
            wide = (disk64, first64, here64, count64, size64, start64)
            full = (_FULL16, _FULL16, _FULL16, _FULL16, _FULL32, _FULL32)
            if any(a not in (b, f) for a, b, f in zip(told, wide, full, strict=True)):
                raise self.error(FormatError, "the same at both ends", told, at)
            disk, first_disk, here, count, size, start = wide
            end = at64
        if disk or first_disk or here != count:
            raise self.error(UnsupportedError, "a ZIP file in one part", at=at)
        if start + size != end:
            raise self.error(FormatError, f"a directory that ends at byte {end}", start + size, at)
        return count, start, end

    def _read_entry(self, at: int, end: int) -> tuple[int, Member, int]:
        """(where the local header is, the member, where the next entry is)."""
        if at + 46 > end or self._piece(at, 4) != _ENTRY:
            raise self.error(FormatError, "an entry of the directory, 'PK\\1\\2'", at=at)
        numbers = self._numbers("HHHHHHIIIHHHHHII", at + 4)
        _, _, flags, method, _, _, crc, packed, size, named, extra, comment = numbers[:12]
        disk, _, _, header = numbers[12:]
        after = at + 46 + named + extra + comment
        if after > end:
            raise self.error(TruncatedError, "an entry within the directory", after, at)
        if flags & _ENCRYPTED:
            raise self.error(UnsupportedError, "members that are not encrypted", at=at)
        if method not in (_STORED, _DEFLATED):
            raise self.error(UnsupportedError, "a member that is stored or deflated", method, at)
        if disk:
            raise self.error(UnsupportedError, "a ZIP file in one part", at=at)
        raw = self._piece(at + 46, named)
        wide = [size, packed, header]
        self._widen(wide, at + 46 + named, extra)
        size, packed, header = wide
        if method == _STORED and packed != size:
            raise self.error(FormatError, "a stored member with its size", (packed, size), at)
        start = self._check_header(header, raw, flags, method)
        name = self._name(raw, flags, at)
        return header, Member(name, method == _DEFLATED, start, packed, size, crc), after

    def _widen(self, sizes: list[int], at: int, length: int) -> None:
        """Put the 64-bit numbers of an extra field in the place of those that are full."""
        end = at + length
        while at + 4 <= end:
            kind, size = self._numbers("HH", at)
            at += 4
            if at + size > end:
                raise self.error(FormatError, "an extra field within its length", size, at)
            if kind == 1:
                place = at
                for i, value in enumerate(sizes):
                    if value == _FULL32 and place + 8 <= at + size:
                        [sizes[i]] = self._numbers("Q", place)
                        place += 8
            at += size

    def _check_header(self, at: int, raw: bytes, flags: int, method: int) -> int:
        """The first byte of the data whose local header lies at `at`, if it agrees."""
        if self._piece(at, 4) != _LOCAL:
            raise self.error(FormatError, "a member's header, 'PK\\3\\4'", at=at)
        own_flags, own_method = self._numbers("HH", at + 6)
        named, extra = self._numbers("HH", at + 26)
        if self._piece(at + 30, named) != raw or own_method != method or own_flags != flags:
            found = self._piece(at + 30, min(named, 80))
            raise self.error(FormatError, f"the header of {raw[:80]!r}", found, at)
        return at + 30 + named + extra

    def _name(self, raw: bytes, flags: int, at: int) -> str:
        try:
            return raw.decode("utf-8" if flags & _UTF8 else "cp437")
        except UnicodeDecodeError as error:
            raise self.error(FormatError, f"a name in UTF-8: {error}", at=at) from error

    def _check_places(self, headers: list[tuple[int, Member]], end: int) -> None:
        """Members lie one after another, from the file's first byte to the directory."""
        headers.sort(key=lambda pair: pair[0])
        at = 0
        for header, member in headers:
            if not self._may_follow(at, header):
                raise self.error(FormatError, f"the next member at byte {at}", header, at)
            at = member.start + member.packed
            if at > end:
                raise self.error(TruncatedError, f"{member.packed} bytes of data", at=member.start)
            [flags] = self._numbers("H", header + 6)
            if not flags & _SIZES_FOLLOW:
                sizes = list(self._numbers("II", header + 18))[::-1]
                named, extra = self._numbers("HH", header + 26)
                self._widen(sizes, header + 30 + named, extra)
                if sizes != [member.size, member.packed]:
                    raise self.error(FormatError, "the sizes of the directory", sizes, header)
        if not self._may_follow(at, end):
            raise self.error(FormatError, "the directory after the last member", end, at)

    def _may_follow(self, at: int, then: int) -> bool:
        """Whether nothing lies between, or the sizes that follow a member's data."""
        return then == at or (then - at in (16, 24) and self._piece(at, 4) == b"PK\x07\x08")

    def pieces(self, member: Member) -> Iterator[Data]:
        """The data of a member, in pieces; all of them are no more than its size, or an error.

        Raises FormatError for data that are not what the directory says.
        """
        packed = self.data[member.start : member.start + member.packed]
        crc = 0
        at = member.start
        for piece in self._inflated(packed, member) if member.deflated else self._cut(packed):
            crc = zlib.crc32(piece, crc)
            yield piece
            if not member.deflated:
                self._forget(at, len(piece))
                at += len(piece)
        if crc != member.crc:
            raise FormatError(
                f"data with the sum {member.crc:08x}",
                f"{crc:08x}",
                file=self.place,
                offset=member.start,
                path=f"{member.name:.80}",
            )

    def _forget(self, start: int, size: int) -> None:
        """Let the pages of a mapped file go that were copied: they would count as our memory."""
        if self.mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
            if (length := start + size - first) >= mmap.PAGESIZE:
                self.mapped.madvise(mmap.MADV_DONTNEED, first, length)

    @staticmethod
    def _cut(packed: memoryview) -> Iterator[Data]:
        for at in range(0, len(packed), _PIECE):
            yield packed[at : at + _PIECE]

    def _inflated(self, packed: memoryview, member: Member) -> Iterator[Data]:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        left, at, waiting = member.size, 0, b""
        try:
            while not inflate.eof:
                if not waiting:
                    waiting = bytes(packed[at : at + _PIECE])
                    at += len(waiting)
                piece = inflate.decompress(waiting, min(_PIECE, left + 1))
                if not piece and not waiting:
                    raise self.error(TruncatedError, "the end of deflated data", at=member.start)
                waiting = inflate.unconsumed_tail
                left -= len(piece)
                if left < 0:
                    expected = f"{member.size} bytes of inflated data"
                    raise self.error(FormatError, expected, "more", member.start)
                yield piece
        except zlib.error as error:
            raise self.error(FormatError, f"deflated data: {error}", at=member.start) from error
        if left or inflate.unused_data or waiting or at < len(packed):
            expected = f"{member.size} bytes of inflated data, and nothing after them"
            raise self.error(FormatError, expected, at=member.start)

    def read(self, member: Member, most: int) -> bytes:
        """All data of a member.  Raises LimitError for more than `most` bytes."""
        if member.size > most:
            raise self.error(LimitError, f"at most {most} bytes", member.size, member.start)
        return b"".join(self.pieces(member))
