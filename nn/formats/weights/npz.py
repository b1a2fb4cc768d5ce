r"""NumPy's .npz: a ZIP file whose members are arrays, each a short header and its entries.

    \x93NUMPY, two bytes of version, the length of the header (2 bytes, or 4 from version 2 on),
    {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } as text, the entries

`numpy.load` parses the header as Python, and answers broken files with errors of a dozen kinds.
Here the header has exactly three items, and its types are numbers.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    TruncatedError,
    UnsafeError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from tapegrad.nn.formats.weights.archive import Archive, Data, Member

__all__ = ["ENDING", "read_npz", "write_npz"]

ENDING = ".npy"
_MAGIC = b"\x93NUMPY"
_LONGEST = 10_000  # bytes of a header
_MOST = 1 << 60  # entries of an array, axes of length 0 counted as 1
_ITEM = re.compile(
    r"'(?:(descr)': *(?:'([^'\\]*)'|(\[))|(fortran_order)': *(True|False)"
    r"|(shape)': *\(([0-9, L]*)\)) *,? *"
)
_DTYPE = re.compile(r"[<>|=](?:[iu][1248]|f[248]|c8|c16|b1)")

Arrays = dict[str, np.ndarray]


class _ArrayReader:
    """Reads one array from the pieces of its member."""

    def __init__(self, archive: Archive, member: Member) -> None:
        self.archive, self.member = archive, member
        self.pieces = archive.pieces(member)
        self.waiting: memoryview = memoryview(b"")

    def error(self, kind: type[FormatError], expected: str, found: Any = None) -> FormatError:
        return kind(
            expected,
            found,
            file=self.archive.place,
            offset=self.member.start,
            path=f"{self.member.name:.80}",
        )

    def fill(self, target: memoryview) -> None:
        """Put the next bytes into all of `target`."""
        done = 0
        while done < len(target):
            if not len(self.waiting):
                piece: Data | None = next(self.pieces, None)
                if piece is None:
                    raise self.error(TruncatedError, f"{len(target)} bytes", done)
                self.waiting = memoryview(piece)
            count = min(len(target) - done, len(self.waiting))
            target[done : done + count] = self.waiting[:count]
            self.waiting = self.waiting[count:]
            done += count

    def take(self, count: int) -> bytes:
        target = bytearray(count)
        self.fill(memoryview(target))
        return bytes(target)

    def read(self) -> np.ndarray:
        limits = self.archive.limits
        start = self.take(8)
        if start[:6] != _MAGIC or start[6] not in (1, 2, 3) or start[7]:
            raise self.error(FormatError, r"'\x93NUMPY', version 1 to 3", start[:8])
        width = 2 if start[6] == 1 else 4
        length = int.from_bytes(self.take(width), "little")
        if length > _LONGEST:
            raise self.error(LimitError, f"a header of at most {_LONGEST} bytes", length)
        dtype, fortran, shape = self._parse(self.take(length))
        if len(shape) > limits.max_ndim:
            raise self.error(LimitError, f"at most {limits.max_ndim} axes", len(shape))
        size = math.prod(shape) * dtype.itemsize
        left = self.member.size - 8 - width - length
        if size != left:
            kind = TruncatedError if size > left else FormatError
            raise self.error(kind, f"{size} bytes of entries", left)
        array: np.ndarray = np.empty(math.prod(shape), dtype)
        if size:
            self.fill(memoryview(array).cast("B"))  # type: ignore[arg-type]  # a buffer, from 3.12 on
        if next(self.pieces, None) is not None or len(self.waiting):
            raise self.error(FormatError, "nothing after the entries")
        if dtype == np.bool and array.view(np.uint8).max(initial=0) > 1:
            raise self.error(FormatError, "booleans, 0 or 1", "another byte")
        if not dtype.isnative:
            array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
        return array.reshape(shape, order="F" if fortran else "C")

    def _parse(self, raw: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
        text = raw.decode("latin-1")
        found: dict[str, str] = {}
        at = 1
        while text.startswith("{") and (item := _ITEM.match(text, at)):
            name, value = (part for part in item.groups() if part is not None)
            if name in found:
                raise self.error(FormatError, "each item once", name)
            if value == "[":
                raise self.error(UnsupportedError, "numbers or booleans", "records")
            found[name] = value
            at = item.end()
        if text[at:].rstrip(" \n") != "}":
            found = {}
        if found.keys() != {"descr", "fortran_order", "shape"}:
            raise self.error(FormatError, "descr, fortran_order and shape", f"{text:.100}")
        kind = found["descr"]
        if kind.lstrip("<>|=").startswith("O"):
            raise self.error(UnsafeError, "numbers; Python's objects are a pickle, which is code")
        if not _DTYPE.fullmatch(kind):
            raise self.error(
                UnsupportedError, "integers, floats, complex numbers or booleans", kind
            )
        sizes = [part.strip().rstrip("L") for part in found["shape"].split(",")]
        if sizes and not sizes[-1]:
            sizes.pop()  # (3,)
        if not all(part.isdigit() and len(part) < 20 for part in sizes):
            raise self.error(FormatError, "a shape", f"({found['shape']:.80})")
        shape = tuple(map(int, sizes))
        if math.prod(max(n, 1) for n in shape) >= _MOST:
            raise self.error(LimitError, "a shape that fits into memory", f"{shape}")
        return np.dtype(kind), found["fortran_order"] == "True", shape


def read_npz(archive: Archive) -> Arrays:
    """The arrays of a .npz file, by their names without the ending ".npy".

    Raises UnsafeError for Python's objects, UnsupportedError for texts and records, FormatError or
    another of its children for the rest.
    """
    found: Arrays = {}
    for name, member in archive.members.items():
        if not name.endswith(ENDING):
            raise FormatError(
                "members that end in .npy", f"{name!r:.80}", file=archive.place, offset=member.start
            )
        found[name.removesuffix(ENDING)] = _ArrayReader(archive, member).read()
    return found


def write_npz(stream: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, not deflated; numpy.load reads them.

    Raises UnsupportedError for a type that the reader refuses.
    """
    for name, array in arrays.items():
        if not _DTYPE.fullmatch(array.dtype.str):
            raise UnsupportedError("numbers or booleans", str(array.dtype), path=name)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            # a time of its own would make two files of the same arrays differ
            info = zipfile.ZipInfo(f"{name}{ENDING}", (1980, 1, 1, 0, 0, 0))
            with archive.open(info, "w", force_zip64=True) as member:
                header = io.BytesIO()
                described = np.lib.format.header_data_from_array_1_0(array)
                np.lib.format.write_array_header_1_0(header, described)
                member.write(header.getvalue())
                order = array.T if described["fortran_order"] else array
                member.write(np.ascontiguousarray(order).reshape(-1).view(np.uint8).data)
