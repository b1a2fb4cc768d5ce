"""Torch7's files: `load`, `load_all` and `save`.

    model = torch7.load("lenet.t7")          # modules, arrays, lists, numbers: whatever was saved
    torch7.save(model, "again.t7")           # Torch7 reads it

Tensors outside modules become NumPy arrays; a table with the keys 1…n becomes a list, another a
Table.  A class that tapegrad does not have stays a TorchObject: its name, and its fields as a
Table.
"""

from __future__ import annotations

import functools
import os
import struct
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tapegrad.autograd.core.former import path_first_formerly
from tapegrad.nn import containers, criterions, layers, recurrent
from tapegrad.nn.containers.graph import Graph, gModule
from tapegrad.nn.core import files
from tapegrad.nn.core.places import replaced
from tapegrad.nn.core.services import register_service
from tapegrad.nn.formats.common.errors import (
    Limits,
    SkippedFunctionWarning,
    UnknownClassWarning,
    UnsupportedError,
)
from tapegrad.nn.formats.common.names import names_of_classes
from tapegrad.nn.formats.common.stand_ins import (
    Rules,
    by_groups,
    flat_view,
    of_one_window,
    stand_ins,
    times_minus_one,
)
from tapegrad.nn.formats.torch7.building import from_objects
from tapegrad.nn.formats.torch7.classes import is_absent
from tapegrad.nn.formats.torch7.description import to_objects
from tapegrad.nn.formats.torch7.objects import Storage, Table, TorchObject
from tapegrad.nn.formats.torch7.over_time import HELPERS
from tapegrad.nn.formats.torch7.reader import read_file_objects
from tapegrad.nn.formats.torch7.writer import WritePlan
from tapegrad.nn.layers.activation import Negative
from tapegrad.nn.layers.convolution.spatial import SpatialConvolution
from tapegrad.nn.layers.pooling.fixed import SpatialAveragePooling
from tapegrad.nn.layers.rearranging import InferReshape
from tapegrad.nn.layers.shape import Flatten
from tapegrad.nn.module import Module

__all__ = ["Storage", "Table", "TorchObject", "load", "load_all", "objects", "save"]

UNKNOWN = (
    "{file} has classes without a counterpart here: {names}. Their objects, and the modules they "
    "are part of, stay tables (TorchObject). Pass classes={{'{first}': YourClass}} to build them."
)

FUNCTIONS = (
    "{file} has functions, which were not read: those of nn.Copy of one type ({paths}), which hand "
    "on what they are given."
)


def load(
    path: str | os.PathLike[str] | bytes,
    *,
    classes: Iterable[type] | Mapping[str, type] = (),
    long_size: int | None = None,
    limits: Limits | None = None,
    strict: bool = False,
) -> Any:
    """The object in a Torch7 file, ASCII or binary, of either byte order.

    path:      the file's path, or its bytes
    classes:   your own classes that the file may have; or a mapping to them from the names that the
               file has for them, {"nn.Mine": Mine}
    long_size: 8 or 4, the bytes of a long in the machine that wrote a binary file; found out if
               omitted
    strict:    raise for classes that tapegrad does not have, instead of warning
    Raises FormatError or one of its children for whatever is wrong with the content (UnsafeError
    for functions: they are code; those of an nn.Copy are passed over, with a warning), OSError for
    the file itself.
    """
    (root,) = read_file_objects(path, long_size=long_size, limits=limits)
    return _built(root, path, classes, strict)


def load_all(
    path: str | os.PathLike[str] | bytes,
    *,
    classes: Iterable[type] | Mapping[str, type] = (),
    long_size: int | None = None,
    limits: Limits | None = None,
    strict: bool = False,
) -> list[Any]:
    """The objects of a file in which several were written one after another; else as `load`."""
    table = Table()
    for number, root in enumerate(
        read_file_objects(path, many=True, long_size=long_size, limits=limits), 1
    ):
        if root is not None:
            table[number] = root
    found = _built(table, path, classes, strict)
    if isinstance(found, list):
        return found
    return [found.get(number) for number in range(1, max(found, default=0) + 1)]


def objects(
    path: str | os.PathLike[str] | bytes,
    *,
    long_size: int | None = None,
    limits: Limits | None = None,
) -> Any:
    """Read a file without building modules: every object of a class is a TorchObject."""
    return read_file_objects(path, long_size=long_size, limits=limits)[0]


@path_first_formerly
def save(
    obj: Any,
    path: str | os.PathLike[str],
    *,
    mode: Literal["binary", "ascii"] = "binary",
    long_size: int = 8,
    byte_order: Literal["little", "big"] = "little",
    classes: Iterable[type] | Mapping[str, type] = (),
) -> None:
    """Write `obj` so that Torch7's torch.load reads it.

    obj: modules, Tensors, arrays, numbers, strings, booleans, None, and lists, tuples and dicts of
    them.  classes: as in `load`; a class of yours without a name given is called "nn." and its
    own.  Arrays that share memory share a storage; transposed and other views keep their strides.
    The file appears whole or not at all.
    Raises UnsupportedError, naming the object, for what Torch7 has nothing for, before anything is
    written; OSError for the file itself, TypeError for what is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"save(obj, path) takes a path, not a {type(path).__name__}")
    _write(obj, path, {}, mode, long_size, byte_order, classes)


def _write(
    obj: Any,
    path: str | os.PathLike[str],
    instead: Mapping[int, Module],
    mode: Literal["binary", "ascii"] = "binary",
    long_size: int = 8,
    byte_order: Literal["little", "big"] = "little",
    classes: Iterable[type] | Mapping[str, type] = (),
) -> None:
    names = {cls: name for name, cls in (known() | names_of_classes(classes)).items()}
    plan = WritePlan(to_objects(obj, names, instead))
    with replaced(path) as stream:
        plan.write(stream, mode, long_size, byte_order)


@functools.cache
def known() -> dict[str, type]:
    """The classes of tapegrad that Torch7 has too, by the names that it has for them."""
    found: dict[str, Any] = {}
    for room in (containers, layers, recurrent, criterions):
        found |= {f"nn.{name}": getattr(room, name) for name in room.__all__}
    modules = {k: v for k, v in found.items() if isinstance(v, type) and issubclass(v, Module)}
    return HELPERS | {name: cls for name, cls in modules.items() if not is_absent(cls)}


def _built(root: Any, path: Any, classes: Iterable[type] | Mapping[str, type], strict: bool) -> Any:
    name = None if isinstance(path, bytes) else os.fspath(path)
    result, unknown, skipped = from_objects(root, known() | names_of_classes(classes), name)
    if unknown and strict:
        raise UnsupportedError("classes that are known here", ", ".join(unknown), file=name)
    if unknown:
        text = UNKNOWN.format(file=name or "the data", names=", ".join(unknown), first=unknown[0])
        warnings.warn(text, UnknownClassWarning, stacklevel=3)
    if skipped:
        text = FUNCTIONS.format(file=name or "the data", paths=", ".join(skipped[:3]))
        warnings.warn(text, SkippedFunctionWarning, stacklevel=3)
    return result


def _as_nngraph(graph: Graph, _: Any) -> Module:
    """BigDL's Graph as the gModule that it is."""
    made = gModule.__new__(gModule)
    vars(made).update(vars(graph))
    return made


RULES: Rules = {
    Flatten: flat_view,
    InferReshape: flat_view,
    Graph: _as_nngraph,
    SpatialAveragePooling: of_one_window,
    SpatialConvolution: by_groups,
    Negative: times_minus_one,
}


def _save_from(
    module: Module,
    inputs: Any,
    path: str | os.PathLike[str],
    mode: Literal["binary", "ascii"] = "binary",
) -> None:
    """Write a module, with stand-ins for what Torch7 has not, as the input's shape says."""
    _write(module, path, stand_ins(module, RULES, inputs), mode)


def _recognises(first: bytes) -> bool:
    """Whether a file begins with an object of version 1, or with the first table."""
    return first.startswith(_BEGINNINGS)


# the type (4 an object, 3 a table), the first index, and of an object the text "V 1"
_BEGINNINGS = (
    *(b"4\n1\n3\nV 1\n", b"3\n1\n"),
    *(struct.pack(f"{order}iii3s", 4, 1, 3, b"V 1") for order in "<>"),
    *(struct.pack(f"{order}ii", 3, 1) for order in "<>"),
)

files.register_format(
    files.FileFormat(
        "torch7",
        (".t7", ".t7b"),
        load,
        save,
        _recognises,
        shared=(".th", ".net", ".dat"),
        save_from=_save_from,
    )
)


@register_service("save_torch")
def save_torch(module: Any, path: str | os.PathLike[str]) -> None:
    """Write a module for `saveTorch`.  Raises UnsupportedError for what Torch7 does not have."""
    save(module, path)
