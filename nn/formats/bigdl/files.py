"""BigDL's models: `load` and `save`, with weights inside or beside, and definitions.

model = nn.load("lenet.bigdl")
model = bigdl.load("lenet.bigdl", weightPath="lenet.bin")
model.saveModule("again.bigdl", overWrite=True)                   # BigDL reads it
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from tapegrad.nn.core import files
from tapegrad.nn.core.places import replaced, source_name
from tapegrad.nn.core.services import register_service
from tapegrad.nn.formats.bigdl.attributes import attr
from tapegrad.nn.formats.bigdl.building import ModuleReader
from tapegrad.nn.formats.bigdl.composite_entries import COMPOSITES, READ_ONLY
from tapegrad.nn.formats.bigdl.description import Describer
from tapegrad.nn.formats.bigdl.fields import DATA_TYPE, SCHEMA
from tapegrad.nn.formats.bigdl.layer_entries import LAYERS
from tapegrad.nn.formats.bigdl.recurrent_entries import RECURRENT
from tapegrad.nn.formats.bigdl.showing import describe
from tapegrad.nn.formats.bigdl.tensors import GLOBAL, LISTS, TensorReader
from tapegrad.nn.formats.bigdl.weight_file import read_storages, write_storages
from tapegrad.nn.formats.common.errors import FormatError, Limits
from tapegrad.nn.formats.common.names import names_of_classes
from tapegrad.nn.formats.common.peeking import seen_fields
from tapegrad.nn.formats.common.stand_ins import Rules, joined_axes, stand_ins
from tapegrad.nn.formats.common.text_writing import write_text
from tapegrad.nn.layers.shape import Flatten

if TYPE_CHECKING:
    from tapegrad.nn.formats.bigdl.entry import Entry
    from tapegrad.nn.formats.common.protobuf import Record
    from tapegrad.nn.module import Module

__all__ = [
    "entries",
    "load",
    "load_definition",
    "records",
    "save",
    "save_definition",
    "written_classes",
]

Path = str | os.PathLike[str]
ROOT = "BigDLModule"
_LISTS = {DATA_TYPE[name]: field for name, (field, _) in LISTS.items()}
_MODULE_TYPE = 7  # the number of this field
_PACKAGE = b"com.intel.analytics.bigdl."
NOT_BIGDL = "a model of BigDL, whose module has a type"


@functools.cache
def entries() -> dict[str, Entry]:
    """How classes lie in the files, by BigDL's names."""
    return {entry.name: entry for entry in (*LAYERS, *COMPOSITES, *RECURRENT, *READ_ONLY)}


@functools.cache
def _by_class() -> dict[type, Entry]:
    return {entry.cls: entry for entry in (*LAYERS, *COMPOSITES, *RECURRENT)} | {
        cls: entry
        for entry in COMPOSITES
        if entry.name == "StaticGraph"
        for cls in (entry.cls, *entry.cls.__bases__)
    }


def written_classes() -> set[type]:
    """The classes that `save` writes as classes of BigDL."""
    return set(_by_class())


def records(path: Path | bytes, limits: Limits | None = None) -> Record:
    """What is in a file, as the message that it is; no module is made.

    Raises FormatError or one of its children for the content, OSError for the file itself.
    """
    root = SCHEMA.read(path, ROOT, limits)
    if not root.moduleType:
        raise FormatError(NOT_BIGDL, file=source_name(path), path="root")
    return root


def load(
    path: Path | bytes,
    *,
    weightPath: Path | bytes | None = None,
    classes: Iterable[type] | Mapping[str, type] = (),
    limits: Limits | None = None,
    missing: Literal["refuse", "keep"] = "refuse",
) -> Module:
    """The module in a file of BigDL, with its names, modes and shared memory.

    path:       the file's path, or its bytes
    weightPath: the file of the weights, where they lie beside
    classes:    your own classes that the file may have; or a mapping to them from the names that
                the file has for them
    missing:    "keep" makes of a class that is not here a module that can be written again, but
                not run
    Raises FormatError or one of its children for the content (UnsupportedError for a class that is
    not here), OSError for a file itself, ValueError for another `missing`.
    """
    if missing not in ("refuse", "keep"):
        raise ValueError(f"missing is 'refuse' or 'keep', not {missing!r}")
    limits = limits or Limits()
    root = records(path, limits)
    separate = None if weightPath is None else read_storages(weightPath, limits)
    tensors = TensorReader(root, limits, source_name(path), separate)
    return _built(root, tensors, classes, source_name(path), missing == "keep")


def _built(root: Record, tensors: TensorReader, classes: Any, file: Any, keep: bool) -> Module:
    own = names_of_classes(classes)
    return ModuleReader(tensors, entries(), own, file, keep).build(root, "root")


def load_definition(
    path: Path | bytes,
    *,
    classes: Iterable[type] | Mapping[str, type] = (),
    limits: Limits | None = None,
) -> Module:
    """The module of a definition, whose arrays are zeros: the file has only their sizes.

    `reset()` draws them, `loadWeights` fills them.
    Raises FormatError or one of its children for the content, LimitError for arrays of more than
    `limits.max_expanded` bytes; OSError for the file itself.
    """
    limits = limits or Limits()
    file = source_name(path)
    root = SCHEMA.read_text(path, ROOT, limits, skipped=Counter())
    if not root.moduleType:
        raise FormatError(NOT_BIGDL, file=file, path="root")
    tensors = TensorReader(root, limits, file, empty=True)
    return _built(root, tensors, classes, file, False)


RULES: Rules = {Flatten: joined_axes}


def _described(
    module: Module, classes: Any, instead: Mapping[int, Module] | None = None
) -> tuple[Record, list[Any]]:
    own = {cls: name for name, cls in names_of_classes(classes).items()}
    describer = Describer(_by_class(), own, instead)
    root = describer.describe(module, "root")
    return root, describer.tensors.finish()


def save(
    module: Module,
    path: Path,
    *,
    weightPath: Path | None = None,
    classes: Iterable[type] | Mapping[str, type] = (),
) -> None:
    """Write a module so that BigDL's `loadModule` reads it.

    weightPath: a file of its own for the weights.  Each file appears whole or not at all, the
    weights first.
    Raises UnsupportedError, with the place, for what BigDL does not have, before anything is
    written; OSError for a file itself.
    """
    _write(*_described(module, classes), path, weightPath)


def _save_from(module: Module, inputs: Any, path: Path, weightPath: Path | None = None) -> None:
    """Write a module, with stand-ins for what BigDL has not, as the input's shape says."""
    _write(*_described(module, (), stand_ins(module, RULES, inputs)), path, weightPath)


def _write(root: Record, storages: list[Any], path: Path, weightPath: Path | None) -> None:
    if weightPath is not None:
        with replaced(weightPath) as stream:
            write_storages(stream, [(tensor.storage.id, a) for tensor, a in storages])
    else:
        root.attr[GLOBAL] = _global_storage(storages)
    with replaced(path) as stream:
        SCHEMA.write(root, stream)


def _global_storage(storages: list[Any]) -> Record:
    """The attribute of the root that has the entries of all storages, by an id of a tensor."""
    table = {}
    for tensor, entries_ in storages:
        whole = SCHEMA.new("TensorStorage", datatype=tensor.datatype, id=tensor.storage.id)
        setattr(whole, _LISTS[tensor.datatype], entries_)
        copy = SCHEMA.new("BigDLTensor", **{f.name: v for f, v in tensor.items()})
        copy.storage = whole
        table[str(tensor.id)] = attr("TENSOR", copy)
    return attr("NAME_ATTR_LIST", SCHEMA.new("NameAttrList", name=GLOBAL, attr=table))


def save_definition(module: Module, path: Path) -> None:
    """Write the text of a module, with the sizes of its arrays and without their entries.

    Raises UnsupportedError as `save`, OSError for the file itself.
    """
    root, _ = _described(module, ())
    with replaced(path) as stream:
        write_text(root, stream)


def _looks_like(data: Any) -> bool:
    """Whether a file is a message whose seventh field is the name of a class of BigDL's."""
    for field in seen_fields(data):
        if field is None:
            return False
        if field.number == _MODULE_TYPE and field.wire == 2:
            return bytes(data[field.start : field.end]).startswith(_PACKAGE)
    return False


files.register_format(
    files.FileFormat(
        "bigdl",
        (".bigdl",),
        load,
        save,
        matches=_looks_like,
        save_from=_save_from,
        describe=describe,
    )
)


@register_service("save_module")
def save_module(module: Any, path: Path, weightPath: Path | None) -> None:
    """Write a module for `saveModule`.  Raises UnsupportedError for what BigDL does not have."""
    save(module, path, weightPath=weightPath)


register_service("save_definition")(save_definition)
