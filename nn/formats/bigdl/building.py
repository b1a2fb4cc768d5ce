"""Makes modules of the records in BigDL's files.

A class is looked up in a table; nothing that a file names is imported or called.  Layers with
arrays are made without their constructors, so that no memory is asked for by numbers in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.regularizers import L1L2Regularizer, L1Regularizer, L2Regularizer
from tapegrad.nn.core.services import service
from tapegrad.nn.core.state import kept_names
from tapegrad.nn.core.transient import transient_state_of
from tapegrad.nn.formats.bigdl.attributes import NULL, attribute_value
from tapegrad.nn.formats.bigdl.kept import Kept
from tapegrad.nn.formats.bigdl.layouts import RULES
from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError
from tapegrad.nn.formats.common.protobuf import Record
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.nn.formats.bigdl.entry import Entry
    from tapegrad.nn.formats.bigdl.tensors import TensorReader

__all__ = ["PREFIXES", "ModuleReader", "short_name"]

# 2.x has the first in front of its classes, 0.x the second.
PREFIXES = ("com.intel.analytics.bigdl.dllib.nn.", "com.intel.analytics.bigdl.nn.")
NO_CLASS = "a class that is here ({name} is not; missing='keep' makes a module that can't run)"
_REGULARIZERS = (L1L2Regularizer, L1Regularizer, L2Regularizer)
_METHODS = {
    "wRegularizer": "setWRegularizer",
    "bRegularizer": "setBRegularizer",
    "uRegularizer": "setURegularizer",
}


def short_name(name: str) -> str:
    """BigDL's name of a class without its package, which differs between versions."""
    for prefix in PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


class ModuleReader:
    """Makes the modules of one file.

    entries: by BigDL's names without package; classes: the caller's own, by their names in files
    keep:    whether a class that is not here becomes a module that can't run
    """

    def __init__(
        self,
        tensors: TensorReader,
        entries: Mapping[str, Entry],
        classes: Mapping[str, type],
        file: str | None,
        keep: bool = False,
    ) -> None:
        self.tensors, self.entries, self.classes = tensors, entries, classes
        self.file, self.keep = file, keep

    def error(
        self, expected: str, found: Any, path: str, kind: type[FormatError] = FormatError
    ) -> FormatError:
        return kind(expected, found, file=self.file, path=path)

    def build(self, record: Record, path: str) -> Module:
        """The module of a record, with its name, mode and regularizers.

        Raises FormatError, UnsupportedError for a class that is not here.
        """
        name = short_name(record.moduleType)
        path = f"{path}<{name.rpartition('.')[2]:.40}>"
        entry = self.entries.get(name)
        try:
            module = self._make(entry, name, record, path)
            self._set_regularizers(module, record, path)
        except FormatError:
            raise
        except (ValueError, TypeError, AttributeError, ArithmeticError, LookupError) as error:
            text = f"values that {name.rpartition('.')[2]:.60} takes: {error!s:.200}"
            raise FormatError(text, file=self.file, path=path) from error
        if record.name:
            module._name = record.name
        if record.namePostfix.isalnum():
            transient_state_of(module).postfix = record.namePostfix
        if not record.train:
            module._training = False
        numeric = record.attr.get("module_numerics")
        kinds: Any = NULL if numeric is None else attribute_value(numeric)
        if isinstance(kinds, list) and kinds[:1] == ["Double"]:
            module.__dict__["_type"] = np.dtype(np.float64)
        return module

    def _make(self, entry: Entry | None, name: str, record: Record, path: str) -> Module:
        if entry is None:
            own = self.classes.get(record.moduleType) or self.classes.get(name.rpartition(".")[2])
            if own is not None and issubclass(own, Module):
                module: Any = own()
                for child in record.subModules:
                    module.add(self.build(child, path))
                made_own: Module = module
                return made_own
            if self.keep:
                return Kept(record, self._arrays_of(record, path))
            raise self.error(NO_CLASS.format(name=f"{name:.80}"), None, path, UnsupportedError)
        if entry.read is not None:
            made: Module = entry.read(self, record, path, entry)
            return made
        return self.made(entry, record, path)

    def made(self, entry: Entry, record: Record, path: str) -> Any:
        """The module that the table of its class says."""
        values = entry.values(record.attr, self.file, path)
        if entry.check is not None:
            values = entry.check(values)
        if entry.made:
            return entry.cls(**values)
        module: Any = entry.cls.__new__(entry.cls)
        kept = set(kept_names(entry.cls))
        for field, value in {**values, **entry.more}.items():
            if field in kept or hasattr(entry.cls, field):
                module.__dict__[field] = tuple(value) if isinstance(value, list) else value
        self.set_arrays(module, entry, record, path)
        return module

    def tensors_of(self, record: Record) -> list[Record]:
        """The tensors of a module's own parameters, those of old files too."""
        if record.parameters:
            return list(record.parameters)
        return [getattr(record, name) for name in ("weight", "bias") if name in record]

    def set_arrays(self, module: Any, entry: Entry, record: Record, path: str) -> None:
        """Set the parameters of a module that has no constructor's; a last one may be missing."""
        tensors = self.tensors_of(record)
        least = entry.least
        if least is None:
            least = len(entry.arrays) - (entry.arrays[-1][0] == "bias" and len(entry.arrays) > 1)
        if not least <= len(tensors) <= len(entry.arrays):
            raise self.error(f"{least} to {len(entry.arrays)} arrays", len(tensors), path)
        for number, (field, rule) in enumerate(entry.arrays):
            if number >= len(tensors):
                module.__dict__[field] = None
                continue
            where = f"{path}.parameters[{number}]"
            array = self.array(tensors[number], where)
            module.__dict__[field] = self.tensors.shared(
                tensors[number], RULES[rule][0](module, array), where
            )

    def array(self, tensor: Record, path: str) -> np.ndarray[Any, Any]:
        """The array of a tensor.  Raises FormatError for one without entries."""
        found = self.tensors.array(tensor, path)
        if found is None:
            raise self.error("a tensor with entries", "none", path)
        return found

    def buffer(self, record: Record, name: str, path: str) -> Buffer:
        """The buffer of an attribute that is a tensor."""
        value = attribute_value(record.attr[name]) if name in record.attr else NULL
        if not isinstance(value, Record):
            raise self.error("a tensor", "nothing", f"{path}.{name}")
        return Buffer(self.array(value, f"{path}.{name}"))

    def attribute(self, record: Record, name: str, path: str) -> Any:
        """The value of an attribute; NULL for null.  Raises FormatError where it is missing."""
        if name not in record.attr:
            raise self.error(f"the attribute {name}", None, path)
        return attribute_value(record.attr[name])

    def module_in(self, record: Record, name: str, path: str) -> Module | None:
        """The module of an attribute; None for null."""
        value = attribute_value(record.attr[name]) if name in record.attr else NULL
        if value is NULL:
            return None
        if not isinstance(value, Record) or not hasattr(value, "moduleType"):
            raise self.error("a module", f"{value!r:.40}", f"{path}.{name}")
        return self.build(value, f"{path}.{name}")

    def children(self, record: Record, path: str) -> list[Module]:
        """The modules inside of a container."""
        return [
            self.build(child, f"{path}.subModules[{i}]")
            for i, child in enumerate(record.subModules)
        ]

    def quantized(self, module: Module) -> Module:
        """The layer of int8 weights that a layer becomes."""
        made: Module = service("quantize")(module)
        return made

    def _set_regularizers(self, module: Any, record: Record, path: str) -> None:
        for name, method in _METHODS.items():
            value = attribute_value(record.attr[name]) if name in record.attr else NULL
            if value is NULL:
                continue
            if not isinstance(value, Record) or value.regularizerType >= len(_REGULARIZERS):
                raise self.error("a regularizer", f"{value!r:.40}", f"{path}.{name}")
            numbers = [*value.regularData, 0.0, 0.0][:2]
            cls = _REGULARIZERS[value.regularizerType]
            made: Any = (
                L1L2Regularizer(*numbers)
                if cls is L1L2Regularizer
                else L2Regularizer(numbers[1])
                if cls is L2Regularizer
                else L1Regularizer(numbers[0])
            )
            getattr(module, method)(made)

    def _arrays_of(self, record: Record, path: str) -> dict[int, np.ndarray[Any, Any]]:
        """The arrays of all tensors in a record that is kept as it is, by the records' ids."""
        found: dict[int, np.ndarray[Any, Any]] = {}
        stack: list[Any] = [record]
        while stack:
            here = stack.pop()
            for field, value in here.items():
                if field.message is None:
                    continue
                inner = value.values() if field.is_map else value if field.repeated else [value]
                if field.kind != "BigDLTensor":
                    stack += inner
                    continue
                for tensor in inner:
                    array = self.tensors.array(tensor, path)
                    if array is not None:
                        found[id(tensor)] = array
        return found
