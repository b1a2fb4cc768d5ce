"""Makes the records of BigDL's files out of modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.core.transient import transient_value
from tapegrad.nn.formats.bigdl.attributes import array_attr, attr, null_attr
from tapegrad.nn.formats.bigdl.building import PREFIXES
from tapegrad.nn.formats.bigdl.fields import DATA_TYPE, SCHEMA
from tapegrad.nn.formats.bigdl.kept import Kept, copied
from tapegrad.nn.formats.bigdl.layouts import RULES
from tapegrad.nn.formats.bigdl.reasons import NOT_WRITTEN
from tapegrad.nn.formats.bigdl.tensors import TensorWriter
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.common.wire_reading import MAX_DEPTH

if TYPE_CHECKING:
    from tapegrad.nn.formats.bigdl.entry import Entry
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["Describer", "array_in"]

VERSION = "2.1.0-SNAPSHOT"
NO_CLASS = "a class of BigDL (nn.save(model, 'model.safetensors') writes every class of ours)"
OPTION = "{name}.{field} = {value!r}, which is all that BigDL knows"


def array_in(tensor: Any) -> np.ndarray[Any, Any]:
    """The array of a Parameter or Buffer, in the memory of this machine; no copy where it is."""
    return np.asarray(devices.to_numpy(array_of(tensor.detach())))


class Describer:
    """Makes the records of one file.

    entries: by our classes
    instead: id of a module -> the one to describe in its place
    """

    def __init__(
        self,
        entries: Mapping[type, Entry],
        names: Mapping[type, str],
        instead: Mapping[int, Any] | None = None,
    ) -> None:
        self.entries, self.names, self.instead = entries, names, instead or {}
        self.tensors = TensorWriter()
        self.depth = 0

    def describe(self, module: Any, path: str) -> Record:
        """The record of a module and of all in it.

        Raises UnsupportedError, with the place, for what BigDL does not have.
        """
        module = self.instead.get(id(module), module)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnsupportedError(f"modules in modules, at most {MAX_DEPTH} deep", path=path)
        try:
            return self._kept(module, path) if type(module) is Kept else self._made(module, path)
        finally:
            self.depth -= 1

    def _made(self, module: Any, path: str) -> Record:
        entry = self.entries.get(type(module))
        own = self.names.get(type(module))
        if entry is None and own is None:
            name = type(module).__name__
            reason = NOT_WRITTEN.get(name)
            raise UnsupportedError(NO_CLASS if reason is None else reason, name, path=path)
        name = PREFIXES[0] + entry.name if entry is not None else str(own)
        record = self.frame(module, name, 1 if entry is None else entry.types)
        if entry is None:
            for child in getattr(module, "modules", ()):
                record.subModules.append(self.describe(child, f"{path}.{child}"))
            return record
        for field, value in entry.options.items():
            if getattr(module, field) != value:
                text = OPTION.format(name=type(module).__name__, field=field, value=value)
                raise UnsupportedError(text, repr(getattr(module, field)), path=path)
        for field, rule in entry.arrays:
            found = getattr(module, field)
            if found is not None:
                array = RULES[rule][1](module, array_in(found))
                record.parameters.append(self.tensors.tensor(array, f"{path}.{field}"))
        record.hasParameters = bool(record.parameters)
        if entry.write is not None:
            entry.write(self, module, record, path)
        for param in entry.params:
            if param.name not in record.attr:
                record.attr[param.name] = param.write(module, path)
        return record

    def frame(self, module: Any, name: str, types: int) -> Record:
        """The record of a module without attributes of its own."""
        number = self.tensors.next_id()
        double = module.type() == np.float64
        kind = array_attr("STRING", ["Double" if double else "Float"] * types)
        return SCHEMA.new(
            "BigDLModule",
            name=module._name or "",
            moduleType=name,
            attr={"module_tags": kind, "module_numerics": kind},
            version=VERSION,
            train=bool(module.train),
            namePostfix=transient_value(module, "postfix") or f"{number:08x}",
            id=number,
        )

    def children(self, record: Record, modules: Any, path: str) -> None:
        """Enter the modules of a container, and their parameters, as BigDL does."""
        for i, child in enumerate(modules):
            record.subModules.append(self.describe(child, f"{path}.modules[{i}]"))
        self.inherit(record, record.subModules)

    def inherit(self, record: Record, inner: Any) -> None:
        """List the parameters of modules inside as those of the record."""
        seen = {id(tensor) for tensor in record.parameters}
        for child in inner:
            for tensor in child.parameters:
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    record.parameters.append(tensor)
        record.hasParameters = bool(record.parameters)

    def module_attr(self, module: Any, path: str) -> Record:
        """An attribute that is a module; null for None."""
        if module is None:
            return null_attr("MODULE")
        return attr("MODULE", self.describe(module, path))

    def tensor_attr(self, tensor: Any, path: str) -> Record:
        """An attribute that is a tensor."""
        array = tensor if isinstance(tensor, np.ndarray) else array_in(tensor)
        return attr("TENSOR", self.tensors.tensor(array, path))

    def empty_tensor(self) -> Record:
        """An attribute that is a tensor without entries."""
        return attr(
            "TENSOR",
            SCHEMA.new(
                "BigDLTensor",
                datatype=DATA_TYPE["FLOAT"],
                offset=1,
                storage=SCHEMA.new("TensorStorage", datatype=DATA_TYPE["FLOAT"], id=-1),
                id=self.tensors.next_id(),
            ),
        )

    def null_tensor(self) -> Record:
        """An attribute that is a tensor, null."""
        return null_attr("TENSOR")

    def _kept(self, module: Kept, path: str) -> Record:
        def other(record: Record) -> Record | None:
            array = module.arrays.get(id(record))
            return None if array is None else self.tensors.tensor(array, path)

        record = copied(module.record, other)
        record.id = self.tensors.next_id()
        return record
