"""Write a file so that it is complete or not there at all.

The data go to a new file beside the target, which is renamed to the target once everything is on
the disk.  A file in another folder may be on another disk, and could not be renamed then.  Model
files and checkpoints are written so; this room is the lowest that both of their rooms may import.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["remove_leftovers", "replace_file"]

SUFFIX = ".part"


@contextlib.contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that becomes `path` at the end of the block, if nothing is raised.

    A link stays a link, to the new file.
    Raises OSError, and leaves `path` as it was, also where `path` is a folder or a device.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder")
    if target.exists() and not target.is_file():
        raise OSError(f"{target} is no file that could be replaced")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}{SUFFIX}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(temporary, flags | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def remove_leftovers(folder: Path, ending: str) -> None:
    """Remove what processes that were killed left of files in `folder` whose names end so.

    No other process may be writing such a file there.
    """
    for leftover in folder.glob(f".*{ending}.*{SUFFIX}"):
        leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # pragma: no cover  # Windows
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
