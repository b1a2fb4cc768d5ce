"""File formats: which reader and which writer a file belongs to.

Formats import modules, so `module.save` cannot import formats.  Each format registers itself here
when it is imported.  The package's own are imported when a program first asks for a format, by a
function that the front door registers here: most programs that import nn read no file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

__all__ = [
    "OWN",
    "FileFormat",
    "format_named",
    "format_of",
    "formats",
    "load",
    "import_formats_with",
    "register",
    "save",
]

OWN = "native"  # the format of files whose name and first bytes name no other
_FIRST_BYTES = 16


@dataclass(frozen=True)
class FileFormat:
    """A kind of file, and how to read and write it.

    name:       "native", "torch7", …
    suffixes:   endings of names of such files, the usual one first: ".t7"; capitals do not matter
    shared:     endings that other programs' files have too: `load` accepts them, `save` ignores
                them
    load:       (path or bytes, options) -> the content
    save:       (path, module) -> None
    recognises: whether a file with these first bytes is of this kind; None where they do not tell
    """

    name: str
    suffixes: tuple[str, ...]
    load: Callable[..., Any]
    save: Callable[..., None]
    recognises: Callable[[bytes], bool] | None = None
    shared: tuple[str, ...] = ()


_formats: dict[str, FileFormat] = {}
_openers: list[Callable[[], Any]] = []
_opening = RLock()  # other threads wait for the imports; a format registers while it is held


def import_formats_with(opener: Callable[[], Any]) -> None:
    """Register `opener`, which imports formats; the first use of a format calls it."""
    _openers.append(opener)


def _registered_formats() -> dict[str, FileFormat]:
    with _opening:
        while _openers:
            _openers.pop()()
        return _formats


def register(kind: FileFormat) -> None:
    """Add a kind of file to those that `load` and `save` know.

    Raises ValueError for a name or a suffix that another kind has.
    """
    for known in _registered_formats().values():
        clashes = {known.name, *known.suffixes, *known.shared}
        clashes &= {kind.name, *kind.suffixes, *kind.shared}
        if clashes:
            raise ValueError(f"{kind.name}: {', '.join(sorted(clashes))} belongs to {known.name}")
    _formats[kind.name] = kind


def formats() -> list[FileFormat]:
    """All kinds of files, in the order in which they were registered."""
    return list(_registered_formats().values())


def format_named(path: str | os.PathLike[str], *, shared: bool = True) -> FileFormat | None:
    """The kind of file that has this ending of the name; None for an unknown ending.

    shared: whether to accept endings that other programs' files have too
    """
    suffix = Path(path).suffix.lower()
    for kind in _registered_formats().values():
        if suffix in kind.suffixes or (shared and suffix in kind.shared):
            return kind
    return None


def format_of(file: str | os.PathLike[str] | bytes) -> FileFormat | None:
    """The kind of an existing file: its first bytes decide, then the ending of its name.

    None where neither tells.  Raises OSError for a file that cannot be read.
    """
    if isinstance(file, bytes):
        first, named = file[:_FIRST_BYTES], None
    else:
        named = format_named(file)
        with Path(file).open("rb") as stream:
            first = stream.read(_FIRST_BYTES)
    for kind in _registered_formats().values():
        if kind.recognises and kind.recognises(first):
            return kind
    return named


def save(path: str | os.PathLike[str], module: Any) -> None:
    """Write a module in the format of the name's ending; in our own format for any other ending."""
    (format_named(path, shared=False) or _registered_formats()[OWN]).save(path, module)


def load(
    file: str | os.PathLike[str] | bytes,
    *,
    classes: Iterable[type] | Mapping[str, type] = (),
    limits: Any = None,
) -> Any:
    """Read a model file: the module that `save` wrote, or another system's model.

    file:    path, or the bytes themselves.  The first bytes decide which format it is, then the
             ending of the name; a file that neither tells is read as one of our own.
    classes: your own Module classes that the file may contain, or a mapping from the names that the
             file has for them, {"nn.Mine": Mine}
    limits:  how large the parts of a file may be, nn.formats.Limits
    Raises FormatError or one of its children for the content, OSError for a file that cannot be
    read.
    """
    options = {"classes": classes} if classes else {}
    return (format_of(file) or _registered_formats()[OWN]).load(file, limits=limits, **options)
