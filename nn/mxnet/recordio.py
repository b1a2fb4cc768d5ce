"""`mx.recordio`: files of records, with an index or without, and records that hold pictures.

Source: mx.recordio.
"""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from tapegrad.nn.core.services import service

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import Key, PathLike


__all__ = [
    "IRHeader",
    "MXIndexedRecordIO",
    "MXRecordIO",
    "RecordShard",
    "pack",
    "pack_img",
    "unpack",
    "unpack_img",
]


class IRHeader(NamedTuple):
    """The header of a picture's record.

    flag:  the number of labels if they are several, else 0
    label: a number, or an array of several
    id:    the picture's number; id2 is MXNet's for later use
    """

    flag: int
    label: Any
    id: int
    id2: int


class MXRecordIO:
    """A file of records, open for reading ("r") or writing ("w").

    A file that is written replaces an old one when it is closed.  Raises ValueError for another
    flag, OSError; reading raises FormatError for what is no record.
    Source: mx.recordio.MXRecordIO.
    """

    _file: Any = None

    def __init__(self, uri: PathLike, flag: str):
        self.uri, self.flag = str(uri), flag
        self.is_open = False
        self.writable = flag == "w"
        if flag not in ("r", "w"):
            raise ValueError(f"Invalid flag {flag}: it is 'r' or 'w'")
        self.open()

    def open(self) -> None:
        """Open the file; a closed one of flag "w" is written anew."""
        kind = "mxnet.record_writer" if self.writable else "mxnet.record_reader"
        self._file = service(kind)(self.uri)
        self.is_open = True

    def close(self) -> None:
        """Close the file.  Does nothing if it is closed."""
        if self.is_open:
            self.is_open = False
            self._file.close()

    def reset(self) -> None:
        """Go to the beginning; a file of flag "w" is written anew."""
        self.close()
        self.open()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at the interpreter's end much is gone already
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self.writable and self.is_open:
            self.is_open = False
            self._file.discard()
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        if self.writable:
            raise TypeError("a record file that is being written cannot be copied")
        found = dict(self.__dict__)
        found.pop("_file", None)
        return found

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.is_open:
            self.open()

    def tell(self) -> int:
        """The byte where the next record begins."""
        self._must_be_open()
        return int(self._file.tell())

    def write(self, buf: bytes) -> None:
        """Add a record.  Raises AssertionError for a file that is not open for writing."""
        self._must_be_open()
        if not self.writable:
            raise AssertionError(f"{self.uri} is open for reading")
        self._file.write(buf.encode() if isinstance(buf, str) else bytes(buf))

    def read(self) -> bytes | None:
        """The next record; None at the end.

        Raises AssertionError for a file that is not open for reading, FormatError for other bytes.
        """
        self._must_be_open()
        if self.writable:
            raise AssertionError(f"{self.uri} is open for writing")
        found: bytes | None = self._file.read()
        return found

    def _must_be_open(self) -> None:
        if not self.is_open:
            raise AssertionError(f"{self.uri} is closed: call open()")


class MXIndexedRecordIO(MXRecordIO):
    """A file of records with a second file, key -> byte, so that any record is found at once.

    key_type: what makes a key of its text
    Raises as `MXRecordIO`.  Source: mx.recordio.MXIndexedRecordIO.
    """

    def __init__(
        self, idx_path: PathLike, uri: PathLike, flag: str, key_type: Callable[[Any], Any] = int
    ):
        self.idx_path, self.key_type = str(idx_path), key_type
        self.idx: dict[Any, int] = {}
        self.keys: list[Any] = []
        super().__init__(uri, flag)

    def open(self) -> None:
        """Open both files."""
        super().open()
        self.idx, self.keys = {}, []
        if not self.writable and Path(self.idx_path).is_file():
            for text, at in service("mxnet.read_record_index")(self.idx_path):
                key = self.key_type(text)
                self.idx[key] = at
                self.keys.append(key)

    def close(self) -> None:
        """Close both files."""
        if not self.is_open:
            return
        super().close()
        if self.writable:
            text = "".join(f"{key}\t{self.idx[key]}\n" for key in self.keys)
            service("mxnet.write_file")(self.idx_path, text.encode())

    def seek(self, idx: Key) -> None:
        """Go to a record by its key.

        Raises KeyError, AssertionError for a file that is written.
        """
        self._must_be_open()
        if self.writable:
            raise AssertionError(f"{self.uri} is open for writing")
        self._file.seek(self.idx[idx])

    def read_idx(self, idx: Key) -> bytes | None:
        """The record of a key.  Raises KeyError, FormatError."""
        self.seek(idx)
        return self.read()

    def write_idx(self, idx: Key, buf: bytes) -> None:
        """Add a record under a key.  Raises AssertionError as `write`."""
        key = self.key_type(idx)
        at = self.tell()
        self.write(buf)
        self.idx[key] = at
        self.keys.append(key)


class RecordShard:
    """A file of records as one of the files of `nn.data.SampleFiles`.

    idx_path, uri: the files of an `MXIndexedRecordIO`
    decode: from a record's bytes to the arrays of a sample (x, …, target), of equal shapes
    Raises as `MXIndexedRecordIO`.
    """

    def __init__(
        self, idx_path: PathLike, uri: PathLike, decode: Callable[[bytes], tuple[Any, ...]]
    ) -> None:
        self._records = MXIndexedRecordIO(idx_path, uri, "r")
        self._decode = decode

    def __len__(self) -> int:
        return len(self._records.keys)

    def read(self, start: int, stop: int) -> tuple[Any, ...]:
        """Return the arrays of the records start to stop - 1, each (stop - start, …).

        Raises FormatError for a damaged file.
        """
        keys = self._records.keys[start:stop]
        if not keys:
            one = self.read(0, 1)
            return tuple(array[:0] for array in one)
        samples = [self._decode(self._records.read_idx(key) or b"") for key in keys]
        return tuple(np.stack(arrays) for arrays in zip(*samples, strict=True))


def pack(header: IRHeader | tuple[Any, ...], s: bytes) -> bytes:
    """A record of a header and bytes; several labels stand before the bytes.

    Raises ValueError for numbers that do not fit into the header.
    """
    header = IRHeader(*header)
    if isinstance(header.label, numbers.Number):
        return _packed(header._replace(flag=0), header.label, s)
    label = np.asarray(header.label, np.float32).reshape(-1)
    return _packed(header._replace(flag=label.size), 0, label.astype("<f4").tobytes() + s)


def _packed(header: IRHeader, label: Any, rest: bytes) -> bytes:
    head: bytes = service("mxnet.pack_record")(header.flag, label, header.id, header.id2)
    return head + rest


def unpack(s: bytes) -> tuple[IRHeader, bytes]:
    """The header and the bytes of a record.  Raises FormatError for a record that is too short."""
    flag, label, number, second, rest = service("mxnet.unpack_record")(s)
    header = IRHeader(flag, label, number, second)
    if flag:
        header = header._replace(label=np.frombuffer(rest, "<f4", flag).astype(np.float32))
        rest = rest[4 * flag :]
    return header, rest


def unpack_img(s: bytes, iscolor: int = -1) -> tuple[IRHeader, np.ndarray]:
    """The header and the picture of a record, (H, W) or (H, W, channels), blue first as in OpenCV.

    iscolor: 1: three channels, 0: gray, -1: as the picture has
    Raises FormatError for other bytes, ImportError without Pillow.
    """
    header, data = unpack(s)
    image = service("mxnet.decode_image")(data, {1: 3, 0: 1}.get(iscolor, 0))
    return header, _swapped(image[:, :, 0] if image.shape[2] == 1 else image)


def pack_img(
    header: IRHeader | tuple[Any, ...], img: np.ndarray, quality: int = 95, img_fmt: str = ".jpg"
) -> bytes:
    """A record of a header and a picture, blue first as in OpenCV.

    quality: of JPEG 1 to 100; for PNG how hard it tries, 0 to 9
    Raises ValueError for another shape or ending, ImportError without Pillow.
    """
    return pack(header, service("mxnet.encode_image")(_swapped(np.asarray(img)), quality, img_fmt))


def _swapped(image: np.ndarray) -> np.ndarray:
    """Blue first for red first, and the other way."""
    if image.ndim != 3 or image.shape[2] < 3:
        return image
    return np.concatenate([image[:, :, 2::-1], image[:, :, 3:]], axis=2)
