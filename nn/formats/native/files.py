"""`save` and `load` in our own format: a module in one safetensors file.

The arrays are ordinary entries under the names of `named_parameters()` ("0.weight"), so that any
program that reads safetensors can use them.  The architecture is JSON in the file's metadata: the
class name and the attributes of each module.  The file holds attributes and not constructor
arguments, because a module can change after construction (`noBias()`, `add`, a swapped head).

`load` makes instances without calling constructors, sets their attributes, and runs nothing.
Classes come from a closed list: tapegrad.nn's, those passed to `register_class`, and those that the
caller passes to `load` (names.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.core import files
from tapegrad.nn.core.places import opened, replaced
from tapegrad.nn.core.services import register_service
from tapegrad.nn.formats.common.errors import FormatError, Limits, UnsupportedError
from tapegrad.nn.formats.native import safetensors_file
from tapegrad.nn.formats.native.building import Builder
from tapegrad.nn.formats.native.description import FORMAT_VERSION, Description
from tapegrad.nn.formats.native.names import KnownClasses, register_class
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor

__all__ = ["FORMAT_VERSION", "architecture", "load", "register_class", "save"]

NO_WEIGHTS = "a file that saveWeights wrote; nn.load reads one that save wrote"
_JAVA = b"\xac\xed\x00\x05"  # a stream of Java's objects
JAVA = (
    "a file that saveWeights wrote here; this is a serialized object of Java, as BigDL's "
    "saveWeights writes it (in BigDL, load it into its model and write that by saveModule, which "
    "nn.load reads)"
)
NOT_OURS = (
    "a file saved by tapegrad (nn.load_weights reads arrays alone, and load_state_dict puts them "
    "into a module)"
)

# Saving ---------------------------------------------------------------------------------------


def save(module: Module, path: str | os.PathLike[str]) -> None:
    """Write a module to a file, which `load` reads.  The file appears complete or not at all.

    Parameters and buffers that are shared, or are views of one memory, are so after `load` too.
    Gradients, outputs and the tape are not saved.
    Raises UnsupportedError, naming the attribute, for what the format cannot hold, before anything
    is written; OSError for the file itself; TypeError for what is no Module.
    """
    if not isinstance(module, Module):
        raise TypeError(f"save(module, path) writes a Module, not {type(module).__name__}")
    described = Description(module)
    text = json.dumps(described.header(), separators=(",", ":"), allow_nan=False)
    metadata = {"format": "tapegrad", "tapegrad": text}
    with replaced(path) as stream:
        safetensors_file.write(stream, described.arrays, metadata)


# Loading --------------------------------------------------------------------------------------


def load(
    path: str | os.PathLike[str] | bytes,
    *,
    classes: Iterable[type] | Mapping[str, type] = (),
    limits: Limits | None = None,
) -> Module:
    """Return the module that `save` wrote: same classes, attributes, sharing, mode and bits.

    path:    the file's path, or its bytes
    classes: your own Module classes that the file may have; or a mapping to them from the names
             that the file has for them, {"Mine": Mine}
    Raises FormatError or one of its children (UnsupportedError for a class that is not known),
    OSError for the file itself, ValueError for a class in `classes` whose name is no word.
    """
    limits = limits or Limits()
    arrays, metadata = safetensors_file.read(path, limits)
    name = None if isinstance(path, bytes) else os.fspath(path)
    header = _parse_architecture(metadata, name)
    return Builder(arrays, header, KnownClasses(header["version"], classes), limits, name).root


def architecture(
    path: str | os.PathLike[str] | bytes, limits: Limits | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Return the architecture as the file's JSON has it, and arrays without their data.

    path: the file's path, or its bytes
    Raises FormatError or one of its children for the content, OSError for the file itself.
    """
    arrays, metadata = safetensors_file.read(path, limits, data=False)
    name = None if isinstance(path, bytes) else os.fspath(path)
    return _parse_architecture(metadata, name), arrays


def _parse_architecture(metadata: Mapping[str, str], name: str | None) -> dict[str, Any]:
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


def _recognises(first: bytes) -> bool:
    """Whether a file begins with the length of a header, in 8 bytes, and a header's first brace."""
    return first[8:9] == b"{" and int.from_bytes(first[:8], "little") < 2**32


def read_arrays(
    path: str | os.PathLike[str] | bytes, limits: Limits | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of any safetensors file by name.  Raises FormatError, OSError."""
    return safetensors_file.read(path, limits)[0]


def write_arrays(arrays: Mapping[str, np.ndarray[Any, Any]], path: str | os.PathLike[str]) -> None:
    """Write arrays by name, without a module.  Raises UnsupportedError, OSError."""
    with replaced(path) as stream:
        safetensors_file.write(stream, arrays, {})


files.register_format(
    files.FileFormat(
        files.NATIVE,
        (".safetensors",),
        load,
        save,
        _recognises,
        read_arrays=read_arrays,
        write_arrays=write_arrays,
    )
)


# Weights by the names of their layers -------------------------------------------------------------


@register_service("save_weights")
def write_layer_weights(
    table: Mapping[str, Mapping[str, Tensor]], path: str | os.PathLike[str]
) -> None:
    """Write arrays by layer and name, called "layer/weight" in the file, without gradients.

    Raises UnsupportedError for a dtype that the format lacks, OSError for the file itself.
    """
    arrays = {
        f"{layer}/{name}": np.asarray(devices.to_numpy(array_of(tensor.detach())))
        for layer, entries in table.items()
        for name, tensor in entries.items()
        if not name.startswith("grad")
    }
    with replaced(path) as stream:
        safetensors_file.write(stream, arrays, {"format": "tapegrad weights"})


@register_service("load_weights")
def read_layer_weights(
    path: str | os.PathLike[str], limits: Limits | None = None
) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """Return {layer: {name: array}} as `write_layer_weights` wrote it.

    Raises FormatError or one of its children for the content, OSError for the file itself.
    """
    with opened(path) as stream:
        if stream.read(len(_JAVA)) == _JAVA:
            raise UnsupportedError(JAVA, file=os.fspath(path), offset=0)
    arrays, metadata = safetensors_file.read(path, limits or Limits())
    if metadata.get("format") != "tapegrad weights":
        raise FormatError(NO_WEIGHTS, file=os.fspath(path), offset=8)
    table: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    for full, array in arrays.items():
        layer, _, name = full.rpartition("/")
        table.setdefault(layer, {})[name] = array
    return table
