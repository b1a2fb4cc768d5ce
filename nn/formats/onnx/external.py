"""Arrays that a model keeps in files beside it: read only when asked for, and only from its folder.

A file says where they are, and files come from strangers.  So a location is a name below the
model's folder: relative, without "..", and what it leads to, links followed, must lie there too
(CVE-2022-25882, CVE-2024-27318).
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.common.errors import FormatError, TruncatedError, UnsafeError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = ["ExternalData"]

NOT_ASKED = (
    "arrays inside the file; to read them from files beside it, whose names the file says, call "
    "nn.formats.onnx.load(path, external_data=True)"
)
OUTSIDE = "a file inside the model's folder"


class ExternalData:
    """The files in a model's folder; without a folder every one of them is refused."""

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self.folder = None if folder is None else Path(folder).resolve()
        self._maps: dict[Path, Any] = {}

    def read(self, entries: Mapping[str, str], size: int, path: str) -> Any:
        """`size` bytes of the place that `entries` (location, offset, length) say.

        Raises UnsafeError for another place than the folder, FormatError and TruncatedError for
        what is not there.
        """
        location = entries.get("location", "")
        if self.folder is None:
            raise UnsafeError(NOT_ASKED, location, path=path)
        target = self._inside(location, path)
        offset, length = (_number(entries, key, path) for key in ("offset", "length"))
        if length is not None and length != size:
            raise FormatError(f"{size} bytes of external data", length, path=path)
        if target not in self._maps:
            if not target.is_file():
                raise FormatError("a file with external data", location, path=path)
            has_bytes = target.stat().st_size > 0
            self._maps[target] = np.memmap(target, np.uint8, "r") if has_bytes else b""
        data = self._maps[target]
        start = offset or 0
        if start + size > len(data):
            raise TruncatedError(f"{start + size} bytes in {location}", len(data), path=path)
        return data[start : start + size]

    def _inside(self, location: str, path: str) -> Path:
        parts = {*PurePosixPath(location).parts, *PureWindowsPath(location).parts}
        absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive
        if not location or absolute or ".." in parts or "\0" in location or "\\" in location:
            raise UnsafeError(OUTSIDE, location, path=path)
        assert self.folder is not None
        target = (self.folder / location).resolve()
        if not target.is_relative_to(self.folder):
            raise UnsafeError(OUTSIDE, location, path=path)
        return target


def _number(entries: Mapping[str, str], key: str, path: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise FormatError(f"a number for the {key} of external data", f"{text!r:.40}", path=path)
    return int(text)
