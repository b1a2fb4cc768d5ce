"""File formats: which reader and which writer a file belongs to.

Formats stand above the modules that `module.save` is a method of, so they tell this table of
themselves when they are imported, and nobody below imports them.  The package's own are imported
when a format is first asked for, by a function that the front door leaves here: most programs that
import nn read no file.
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
    "opened_by",
    "register_format",
    "save",
]

OWN = "native"  # the kind of files whose name and first bytes say nothing
_FIRST_BYTES = 16


@dataclass(frozen=True)
class FileFormat:
    """A kind of file, and how it is read and written.

    name:       "native", "torch7", …
    suffixes:   endings of names of such files, the usual one first: ".t7"; capitals do not matter
    shared:     endings that other programs' files have too: such a file is read, and `save` does
                not go by them
    load:       (path or bytes, options) -> what is in it
    save:       (path, module)
    recognises: whether the first bytes of a file are such a file's; None where they do not tell
    """

    name: str
    suffixes: tuple[str, ...]
    load: Callable[..., Any]
    save: Callable[..., None]
    recognises: Callable[[bytes], bool] | None = None
    shared: tuple[str, ...] = ()


_formats: dict[str, FileFormat] = {}
_openers: list[Callable[[], Any]] = []
_opening = RLock()  # others wait until the formats are there; a format registers in between


def opened_by(opener: Callable[[], Any]) -> None:
    """Let `opener`, which imports formats, be called once a format is asked for."""
    _openers.append(opener)


def _known() -> dict[str, FileFormat]:
    with _opening:
        while _openers:
            _openers.pop()()
        return _formats


def register_format(kind: FileFormat) -> None:
    """Let files of this kind be loaded and saved.

    Raises ValueError for a name or a suffix that another kind has.
    """
    for known in _known().values():
        taken = {known.name, *known.suffixes, *known.shared}
        taken &= {kind.name, *kind.suffixes, *kind.shared}
        if taken:
            raise ValueError(f"{kind.name}: {', '.join(sorted(taken))} belongs to {known.name}")
    _formats[kind.name] = kind


def formats() -> list[FileFormat]:
    """All kinds of files, in the order in which they were registered."""
    return list(_known().values())


def format_named(path: str | os.PathLike[str], *, shared: bool = True) -> FileFormat | None:
    """The kind of file that the name's ending says, None for an ending that is nobody's.

    shared: whether endings count that other programs' files have too
    """
    suffix = Path(path).suffix.lower()
    for kind in _known().values():
        if suffix in kind.suffixes or (shared and suffix in kind.shared):
            return kind
    return None


def format_of(file: str | os.PathLike[str] | bytes) -> FileFormat | None:
    """The kind of a file that is there: what its first bytes say counts most, then its name.

    None where neither says anything.  Raises OSError for the file itself.
    """
    if isinstance(file, bytes):
        first, named = file[:_FIRST_BYTES], None
    else:
        named = format_named(file)
        with Path(file).open("rb") as stream:
            first = stream.read(_FIRST_BYTES)
    told = (kind for kind in _known().values() if kind.recognises and kind.recognises(first))
    return next(told, None) or named


def save(path: str | os.PathLike[str], module: Any) -> None:
    """Write a module in the format that the name's ending says; in our own for any other ending."""
    (format_named(path, shared=False) or _known()[OWN]).save(path, module)


def load(
    file: str | os.PathLike[str] | bytes,
    *,
    classes: Iterable[type] | Mapping[str, type] = (),
    limits: Any = None,
) -> Any:
    """What is in a model file: the module that `save` wrote, or another system's.

    file:    path, or the bytes themselves.  What the first bytes say counts most, then the name's
             ending; otherwise it is taken for a file of our own.
    classes: your own Module classes that the file may have, or such by the names that the file has
             for them, {"nn.Mine": Mine}
    limits:  how much of a file is accepted, nn.formats.Limits
    Raises FormatError or one of its children for the content, OSError for the file itself.
    """
    options = {"classes": classes} if classes else {}
    return (format_of(file) or _known()[OWN]).load(file, limits=limits, **options)
