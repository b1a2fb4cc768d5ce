"""Our own format: `save` and `load` of modules, in one safetensors file.

The arrays are ordinary entries under the names of `named_parameters()` ("0.weight"), so that any
program that reads safetensors can use them.  The architecture is JSON in the file's metadata: for
each module its class, by name, and its attributes.  Attributes rather than constructor arguments,
because what was changed after construction (`noBias()`, `add`, a swapped head) counts as well.

Loading makes instances without calling constructors, sets what the file says, and runs nothing.
Classes come from a closed list: those of tapegrad.nn, those that `register` was told of, and those
that the caller passes (names.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.atomic_file import replace_file
from tapegrad.nn.core import files
from tapegrad.nn.formats.common.errors import FormatError, Limits, UnsupportedError
from tapegrad.nn.formats.native import safetensors_file
from tapegrad.nn.formats.native.building import Builder
from tapegrad.nn.formats.native.description import FORMAT_VERSION, Description
from tapegrad.nn.formats.native.names import Known, register
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FORMAT_VERSION", "architecture", "load", "register", "save"]

NOT_OURS = (
    "a file saved by tapegrad (arrays alone are read by nn.formats.safetensors_file.read and go "
    "into a module by load_state_dict)"
)

# Saving ---------------------------------------------------------------------------------------


def save(path: str | os.PathLike[str], module: Module) -> None:
    """Write a module to a file that appears whole or not at all; `load` gives it back.

    Parameters and buffers that are shared, or see the same memory, stay so.  Gradients, outputs and
    the tape are not saved.
    Raises UnsupportedError, naming the attribute, for what the format can't hold, with nothing
    written; OSError for the file itself.
    """
    if not isinstance(module, Module):
        raise TypeError(f"a Module is saved, not {type(module).__name__}")
    described = Description(module)
    text = json.dumps(described.header(), separators=(",", ":"), allow_nan=False)
    metadata = {"format": "tapegrad", "tapegrad": text}
    with replace_file(path) as stream:
        safetensors_file.write(stream, described.arrays, metadata)


# Loading --------------------------------------------------------------------------------------


def load(
    file: str | os.PathLike[str] | bytes,
    *,
    classes: Iterable[type] | Mapping[str, type] = (),
    limits: Limits | None = None,
) -> Module:
    """The module that `save` wrote: same classes, attributes, sharing, mode and bits.

    file:    path, or the bytes themselves
    classes: your own Module classes that the file may have, under their own names
    Raises FormatError or one of its children (UnsupportedError for a class that is not known),
    OSError for the file itself, ValueError for a class in `classes` whose name is no word.
    """
    limits = limits or Limits()
    if isinstance(classes, Mapping):
        classes = classes.values()
    arrays, metadata = safetensors_file.read(file, limits)
    name = None if isinstance(file, bytes) else os.fspath(file)
    header = _header(metadata, name)
    return Builder(arrays, header, Known(header["version"], classes), limits, name).root


def architecture(
    file: str | os.PathLike[str] | bytes, limits: Limits | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """(the architecture as the file's JSON says it, arrays without their data)."""
    arrays, metadata = safetensors_file.read(file, limits, data=False)
    return _header(metadata, None if isinstance(file, bytes) else os.fspath(file)), arrays


def _header(metadata: Mapping[str, str], name: str | None) -> dict[str, Any]:
    if metadata.get("format") != "tapegrad" or "tapegrad" not in metadata:
        raise FormatError(NOT_OURS, file=name, offset=8)
    header = safetensors_file.parse_json(
        metadata["tapegrad"], file=name, offset=8, path="architecture"
    )
    if not isinstance(header, dict) or type(header.get("version")) is not int:
        raise FormatError("a version", file=name, offset=8, path="architecture")
    if not 1 <= header["version"] <= FORMAT_VERSION:
        expected = f"version 1 to {FORMAT_VERSION}; a newer tapegrad reads more"
        raise UnsupportedError(
            expected, header["version"], file=name, offset=8, path="architecture"
        )
    if header.keys() != {"version", "modules", "tensors"}:
        raise FormatError("version, modules and tensors", file=name, offset=8, path="architecture")
    for key in ("modules", "tensors"):
        entries = header[key]
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise FormatError("a list of objects", file=name, offset=8, path=key)
    if not header["modules"]:
        raise FormatError("a module", file=name, offset=8, path="modules")
    return header


def _begins_like_ours(first: bytes) -> bool:
    """The length of a header, in 8 bytes, and the brace that every header begins with."""
    return first[8:9] == b"{" and int.from_bytes(first[:8], "little") < 2**32


files.register(files.FileFormat(files.OWN, (".safetensors",), load, save, _begins_like_ours))
