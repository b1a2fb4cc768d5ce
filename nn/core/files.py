"""The table of file formats: which reader and which writer a file belongs to.

Formats are rooms above the modules that `module.save` is a method of, so the modules cannot import
them.  Each format enters itself here with `register_format` when it is imported.  The package's own
formats are imported when a format is first asked for, by a function that the front door hands to
`add_importer`: most programs that import nn read no file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any

import numpy as np

from tapegrad.nn.core.part import Part
from tapegrad.nn.core.places import mapped, opened, suffix_of

__all__ = [
    "NATIVE",
    "FileFormat",
    "InputType",
    "Line",
    "add_importer",
    "detect_format",
    "format_by_suffix",
    "formats",
    "load",
    "register_format",
    "save",
]

NATIVE = "native"  # the format of files of which neither name nor first bytes say one
_FIRST_BYTES = 16
NOT_A_MODULE = (
    "save(module, path) writes a Module, not {found}; nn.formats.torch7.save(obj, path) writes "
    "other objects too"
)


Line = tuple[int, str, str, dict[str, np.ndarray[Any, Any]]]
InputType = tuple[tuple[int, ...], str]


@dataclass(frozen=True)
class FileFormat:
    """A file format: its names, and how such files are read and written.

    name:       "native", "torch7", …
    suffixes:   the endings of names of such files, the usual one first: ".t7"; case does not matter
    shared:     endings that other programs' files have too: `load` goes by them, `save` does not
    load:       (path or bytes, options) -> what is in the file
    save:       (module, path)
    read_arrays:  (path or bytes, limits) -> arrays by name, for `load_weights`; None where files of
                the format have modules only
    write_arrays: (arrays by name, path), for `save_weights`; None likewise
    recognises: whether a file begins with the given bytes; None where no file of another format
                could be told apart so
    matches:    whether all of a file, bytes or a map of it, looks like one of the format; it is
                asked where neither first bytes nor the name say anything
    save_from:  (module, inputs, path): as `save`, for a format whose files say the shapes of the
                inputs, or which has other layers for an input of this shape; inputs: an example, an
                array or a list of several
    input_types: (path or bytes, limits) -> (shape, dtype) of each input, as a file states them; an
                empty list where it does not, or not all of them
    describe:   (path or bytes, limits) -> (depth, name, what it is, arrays by name) of each line
                that shows a file; nothing is built
    as_layers:  (module, inputs or None) -> the same in layers of nn, where `load` gives modules
                that no other format holds
    """

    name: str
    suffixes: tuple[str, ...]
    load: Callable[..., Any]
    save: Callable[..., None]
    recognises: Callable[[bytes], bool] | None = None
    shared: tuple[str, ...] = ()
    read_arrays: Callable[..., Any] | None = None
    write_arrays: Callable[..., None] | None = None
    matches: Callable[[Any], bool] | None = None
    save_from: Callable[..., None] | None = None
    input_types: Callable[..., list[InputType]] | None = None
    describe: Callable[..., Iterator[Line]] | None = None
    as_layers: Callable[..., Any] | None = None


_formats: dict[str, FileFormat] = {}
_importers: list[Callable[[], Any]] = []
_importing = RLock()  # other threads wait for the import, during which `register_format` comes here


def add_importer(importer: Callable[[], Any]) -> None:
    """Call `importer`, which imports formats, when a format is first asked for."""
    _importers.append(importer)


def _all_formats() -> dict[str, FileFormat]:
    with _importing:
        while _importers:
            _importers.pop()()
        return _formats


def register_format(kind: FileFormat) -> None:
    """Let files of this format be loaded and saved.

    Raises ValueError for a name or a suffix that another format has, and for a suffix that is not
    small letters after a dot.
    """
    for suffix in (*kind.suffixes, *kind.shared):
        if not suffix.startswith(".") or suffix != suffix.lower():
            raise ValueError(f"{kind.name}: a suffix is small letters after a dot, not {suffix!r}")
    for other in _all_formats().values():
        common = {other.name, *other.suffixes, *other.shared}
        common &= {kind.name, *kind.suffixes, *kind.shared}
        if common:
            raise ValueError(f"{kind.name}: {', '.join(sorted(common))} belongs to {other.name}")
    _formats[kind.name] = kind


def formats() -> list[FileFormat]:
    """Return all formats, in the order in which they were registered."""
    return list(_all_formats().values())


def format_by_suffix(path: str | os.PathLike[str], *, shared: bool = True) -> FileFormat | None:
    """Return the format that a file name's ending says; None if no format has the ending.

    shared: whether endings that other programs' files have too count
    """
    suffix = suffix_of(path)
    for kind in _all_formats().values():
        if suffix in kind.suffixes or (shared and suffix in kind.shared):
            return kind
    return None


def detect_format(path: str | os.PathLike[str] | bytes) -> FileFormat | None:
    """Return the format of an existing file: by its first bytes, else its name, else its content.

    path: the file's path, or its bytes
    None where none of them says anything.  Raises OSError for the file itself.
    """
    if isinstance(path, bytes):
        first, by_suffix = path[:_FIRST_BYTES], None
    else:
        by_suffix = format_by_suffix(path)
        with opened(path) as stream:
            first = stream.read(_FIRST_BYTES)
    for kind in _all_formats().values():
        if kind.recognises and kind.recognises(first):
            return kind
    return by_suffix or _format_by_content(path)


def _format_by_content(path: str | os.PathLike[str] | bytes) -> FileFormat | None:
    data, _ = mapped(path)
    for kind in _all_formats().values():
        if kind.matches and kind.matches(data):
            return kind
    return None


def save(module: Any, path: str | os.PathLike[str], *, inputs: Any = None) -> None:
    """Write a module to a file, which `load` reads; `module.save(path)` does the same.

    inputs: an example of the module's input, an array or a list of several: ".onnx", ".pb",
            ".caffemodel" and ".params" say its shape, and ".t7" and ".bigdl" then have other layers
            that do the same in the place of those that they lack
    The name's ending says the format: Torch7's for ".t7" and ".t7b", …, our own for any that no
    format has.  The file appears complete or not at all.
    Raises UnsupportedError for what the format cannot hold, OSError for the file itself, TypeError
    for what is no Module or no path.

    >>> from tapegrad import nn
    >>> save(nn.Linear(2, 1), "linear.t7")
    >>> nn.load("linear.t7")
    nn.Linear(2 -> 1)
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"save(module, path) takes a path, not a {type(path).__name__}")
    if not isinstance(module, Part):
        raise TypeError(NOT_A_MODULE.format(found=type(module).__name__))
    kind = format_by_suffix(path, shared=False) or _all_formats()[NATIVE]
    if inputs is not None and kind.save_from is not None:
        kind.save_from(module, inputs, path)
    else:
        kind.save(module, path)


def load(
    path: str | os.PathLike[str] | bytes,
    *,
    classes: Iterable[type] | Mapping[str, type] = (),
    limits: Any = None,
) -> Any:
    """Return what is in a model file: the module that `save` wrote, or another system's.

    path:    the file's path, or its bytes.  The first bytes say the format, or else the name's
             ending, or else what the content looks like; a file of which nothing says anything is
             read as one of our own format
    classes: your own Module classes that the file may have; or a mapping to them from the names
             that the file has for them, {"nn.Mine": Mine}
    limits:  how much of a file is accepted, nn.formats.Limits
    Raises FormatError or one of its children for the content, OSError for the file itself.

    >>> from tapegrad import nn
    >>> nn.save(nn.Sequential(nn.Linear(2, 1)), "model.t7")
    >>> load("model.t7")[0].weight.shape
    (1, 2)
    """
    options = {"classes": classes} if classes else {}
    return (detect_format(path) or _all_formats()[NATIVE]).load(path, limits=limits, **options)
