"""The two ways in which a Torch7 file may write its numbers: as a machine has them, or as text."""

from __future__ import annotations

import io
import re
import struct
import sys
from typing import Any, BinaryIO, Literal

import numpy as np

from tapegrad.nn.formats.common.errors import FormatError, Limits, TruncatedError
from tapegrad.nn.formats.torch7.object_reader import ObjectReader

__all__ = ["Ascii", "Binary", "Order"]

Order = Literal["little", "big"]

_INTEGER = re.compile(rb"-?[0-9]{1,20}\Z")
_NUMBER = re.compile(
    rb"[-+]?([0-9]+\.?[0-9]*([eE][-+]?[0-9]+)?|\.[0-9]+|nan|inf|infinity)\Z", re.IGNORECASE
)
_NUMBERS = re.compile(rb"[-+.0-9eEnaNAifIF ]*\Z")
_CHUNK = 1 << 16


class Binary(ObjectReader):
    """Numbers as the machine had them."""

    shortest = 4  # bytes of the shortest object, nil

    def __init__(
        self,
        stream: BinaryIO,
        size: int,
        name: str | None,
        limits: Limits,
        order: Order,
        long_size: int,
    ) -> None:
        super().__init__(stream, size, name, limits)
        if long_size not in {4, 8}:
            raise ValueError(f"long_size is 4 or 8, not {long_size}")
        self.order: Order = order
        self.long_size = long_size
        self.has_longs = False

    def raw(self, count: int) -> bytes:
        data = self.stream.read(count)
        if len(data) != count:
            raise self.error(TruncatedError, f"{count} bytes", f"{len(data)} and the end")
        return data

    def skip(self, count: int) -> None:
        self.stream.seek(count, io.SEEK_CUR)

    def integer(self) -> int:
        return int.from_bytes(self.raw(4), self.order, signed=True)

    def longs(self, count: int) -> list[int]:
        self.has_longs = True
        width = self.long_size
        data = self.raw(count * width)
        return [
            int.from_bytes(data[i : i + width], self.order, signed=True)
            for i in range(0, len(data), width)
        ]

    def double(self) -> float:
        return struct.unpack("<d" if self.order == "little" else ">d", self.raw(8))[0]

    def entries(self, count: int, dtype: np.dtype[Any], kind: str) -> np.ndarray[Any, Any]:
        stored = np.dtype(f"i{self.long_size}") if dtype == np.int64 else dtype
        self.fitting(count, stored.itemsize, f"a {kind}Storage")
        result = np.empty(count, stored)
        view = result.data.cast("B") if count else memoryview(bytearray())
        done = 0
        while done < len(view):
            got = self.stream.readinto(view[done:])  # type: ignore[attr-defined]  # of every file
            if not got:
                raise self.error(TruncatedError, f"{len(view)} bytes", f"{done} and the end")
            done += got
        if self.order != sys.byteorder:
            result.byteswap(inplace=True)
        return result if stored == dtype else result.astype(dtype)


class Ascii(ObjectReader):
    """Numbers as text, a line for each run of them.  Bytes and chars stay bytes, and a newline."""

    shortest = 2

    def line(self, longest: int) -> bytes:
        """The next line without its end."""
        data = self.stream.readline(longest + 2)
        if not data.endswith(b"\n"):
            if self.left():
                raise self.error(FormatError, f"a line of at most {longest} characters", data)
            if data:  # Torch7 reads a last line without an end
                return data
            raise self.error(TruncatedError, "a line", "the end")
        return data[:-2] if data.endswith(b"\r\n") else data[:-1]

    def one(self, token: bytes) -> int:
        if not _INTEGER.match(token):
            raise self.error(FormatError, "a whole number", token)
        return int(token)

    def integer(self) -> int:
        return self.one(self.line(24))

    def longs(self, count: int) -> list[int]:
        if not count:
            return []
        tokens = self.line(24 * count).split(b" ")
        if len(tokens) != count:
            raise self.error(FormatError, f"{count} numbers", f"{len(tokens)}")
        return [self.one(token) for token in tokens]

    def double(self) -> float:
        token = self.line(400)
        if not _NUMBER.match(token):
            raise self.error(FormatError, "a number", token)
        return float(token)

    def raw(self, count: int) -> bytes:
        if not count:
            return b""
        data = self.stream.read(count)
        if len(data) != count:
            raise self.error(TruncatedError, f"{count} characters", f"{len(data)} and the end")
        self.end_of_line()
        return data

    def skip(self, count: int) -> None:
        if count:
            self.stream.seek(count, io.SEEK_CUR)
            self.end_of_line()

    def end_of_line(self) -> None:
        found = self.stream.read(1)
        if found == b"\r":
            found = self.stream.read(1)
        if found not in {b"\n", b""}:
            raise self.error(FormatError, "the end of a line", found)

    def entries(self, count: int, dtype: np.dtype[Any], kind: str) -> np.ndarray[Any, Any]:
        if kind.removeprefix("Cuda") in {"Byte", "Char"}:
            self.fitting(count, 1, f"a {kind}Storage")
            return np.frombuffer(bytearray(self.raw(count)), dtype)
        # n numbers take n characters and n - 1 spaces at least
        self.fitting(2 * count - 1 if count else 0, 1, f"a {kind}Storage of text")
        result = np.empty(count, dtype)
        done, rest = 0, b""
        while done < count:
            data = rest + self.stream.readline(_CHUNK)
            ended = data.endswith(b"\n") or not self.left()
            text = data.rstrip(b"\r\n") if ended else data
            if not _NUMBERS.match(text):
                raise self.error(FormatError, "numbers and spaces", text)
            tokens = text.split()
            rest = b"" if ended or text.endswith(b" ") or not tokens else tokens.pop()
            if done + len(tokens) > count or len(rest) > 400:
                raise self.error(FormatError, f"{count} numbers", f"{done + len(tokens)}")
            result[done : done + len(tokens)] = self.parsed(tokens, dtype)
            done += len(tokens)
            if ended and done < count:
                kind_of_error = FormatError if self.left() else TruncatedError
                raise self.error(kind_of_error, f"{count} numbers", f"{done}")
            if not ended and done == count:
                self.end_of_line()
        return result

    def parsed(self, tokens: list[bytes], dtype: np.dtype[Any]) -> Any:
        """The numbers, in range for their type."""
        try:
            if dtype.kind == "f":
                return [float(token) for token in tokens]
            numbers = [int(token) for token in tokens]
        except ValueError:
            raise self.error(FormatError, f"numbers for {dtype}", b" ".join(tokens)[:60]) from None
        limit = np.iinfo(dtype)
        if numbers and not limit.min <= min(numbers) <= max(numbers) <= limit.max:
            raise self.error(FormatError, f"numbers for {dtype}", f"{max(numbers, key=abs)}")
        return numbers
