"""Our own format: `save` and `load` of modules, in one safetensors file.

The arrays are ordinary entries under the names of `named_parameters()` ("0.weight"), so that any
program that reads safetensors can use them.  The architecture is JSON in the file's metadata: for
each module its class, by name, and its attributes.  Attributes rather than constructor arguments,
because what was changed after construction (`noBias()`, `add`, a swapped head) counts as well.

Loading makes instances without calling constructors, sets what the file says, and runs nothing.
Classes come from a closed list: those of tapegrad.nn, those that `register` was told of, and those
that the caller passes.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.core.tensor import untracked
from tapegrad.nn.core import files
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.freezing import plain_class
from tapegrad.nn.core.own import is_own
from tapegrad.nn.core.run import ATTRIBUTE
from tapegrad.nn.formats.common.atomic import replacing
from tapegrad.nn.formats.common.errors import FormatError, LimitError, Limits, UnsupportedError
from tapegrad.nn.formats.native import safetensors_file
from tapegrad.nn.module import Module

__all__ = ["FORMAT_VERSION", "architecture", "load", "register", "save"]

FORMAT_VERSION = 1

NOT_OURS = (
    "a file saved by tapegrad (arrays alone are read by nn.formats.safetensors_file.read and go "
    "into a module by load_state_dict)"
)
UNKNOWN_CLASS = (
    "a known class; pass load(path, classes=[{name}]) or decorate it with nn.formats.register"
)

_KINDS: dict[str, type] = {"parameter": Parameter, "buffer": Buffer, "tensor": Tensor}
_NOT_SAVED = {ATTRIBUTE}
_DEEPEST = 60  # lists in lists in … of one attribute

_registered: dict[str, type] = {}

C = TypeVar("C", bound=type)


def register(cls: C) -> C:
    """Let files have modules of this class; a decorator.

    Raises ValueError for a name that another class has.
    """
    known = _known(())
    if known.get(cls.__name__, cls) is not cls:
        raise ValueError(f"another class is called {cls.__name__}: {known[cls.__name__]!r}")
    _registered[cls.__name__] = cls
    return cls


def _known(classes: Iterable[type]) -> dict[str, type]:
    """Module classes by name: tapegrad.nn's, helpers included, the registered, the caller's."""
    own: dict[str, type] = {}
    pending: list[type] = [Module]
    while pending:
        cls = pending.pop()
        pending.extend(cls.__subclasses__())
        if is_own(cls):
            own[cls.__name__] = cls
    return {cls.__name__: cls for cls in classes} | _registered | own


def _records() -> dict[str, type]:
    """The named tuples and dataclasses of tapegrad.nn, which modules keep among their attributes.

    They are data: an instance is made of its fields, without calling its constructor.
    """
    found: dict[str, type] = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("tapegrad.nn.") and not name.startswith("tapegrad.nn.formats"):
            for cls in vars(module).values():
                if isinstance(cls, type) and cls.__module__ == name and _record_fields(cls):
                    found[cls.__name__] = cls
    return found


def _record_fields(cls: type) -> tuple[str, ...]:
    if issubclass(cls, Module):
        return ()
    if issubclass(cls, tuple):
        return getattr(cls, "_fields", ())
    return tuple(f.name for f in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else ()


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
    described = _Description(module)
    text = json.dumps(described.header(), separators=(",", ":"), allow_nan=False)
    metadata = {"format": "tapegrad", "tapegrad": text}
    with replacing(path) as stream:
        safetensors_file.write(stream, described.arrays, metadata)


class _Description:
    """The modules, tensors and arrays that a file will have."""

    def __init__(self, root: Module) -> None:
        self.modules: list[dict[str, Any]] = []
        self.tensors: list[dict[str, Any]] = []
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}
        self._module_numbers: dict[int, int] = {}
        self._tensor_numbers: dict[int, int] = {}
        self._handles: list[tuple[str, Any]] = []
        known = _known(())
        self._records = _records()
        pending: list[tuple[str, Module]] = [("", root)]
        self._pending = pending
        self._number(root, "")
        done = 0
        while done < len(pending):
            name, module = pending[done]
            done += 1
            cls = type(module)
            if known.get(cls.__name__, cls) is not cls:
                expected = f"a class whose name is not that of nn.{cls.__name__}"
                raise UnsupportedError(expected, f"{cls.__module__}", path=name or "the module")
            attributes = {}
            for key, value in vars(module).items():
                if key not in _NOT_SAVED:
                    below = f"{name}.{key}" if name else key
                    attributes[key] = self._encoded(value, below, 0)
            self.modules.append({"class": cls.__name__, "attributes": attributes})
        self._place()

    def header(self) -> dict[str, Any]:
        """What goes into the metadata, as JSON."""
        return {"version": FORMAT_VERSION, "modules": self.modules, "tensors": self.tensors}

    def _number(self, module: Module, name: str) -> int:
        number = self._module_numbers.get(id(module))
        if number is None:
            number = self._module_numbers[id(module)] = len(self._module_numbers)
            if number:
                self._pending.append((name, module))
        return number

    def _encoded(self, value: Any, name: str, depth: int) -> Any:
        if depth > _DEEPEST:
            raise UnsupportedError(f"lists nested at most {_DEEPEST} deep", path=name)
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, np.generic):
            return self._encoded(value.item(), name, depth)
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": str(value)}
        if isinstance(value, Module):
            return {"module": self._number(value, _short(name))}
        if isinstance(value, (Tensor, np.ndarray)):
            return {"tensor": self._tensor(value, name)}
        if isinstance(value, list):
            return [self._encoded(v, f"{name}.{i}", depth + 1) for i, v in enumerate(value)]
        if type(value) is tuple:
            items = [self._encoded(v, f"{name}.{i}", depth + 1) for i, v in enumerate(value)]
            return {"tuple": items}
        if type(value) is dict:
            pairs = [
                [self._encoded(k, name, depth + 1), self._encoded(v, f"{name}.{k}", depth + 1)]
                for k, v in value.items()
            ]
            return {"dict": pairs}
        record = type(value).__name__
        if self._records.get(record) is type(value):
            content = [getattr(value, field) for field in _record_fields(type(value))]
            return {"record": [record, self._encoded(content, name, depth + 1)]}
        if isinstance(value, np.dtype) and value.kind in "fiub":
            return {"dtype": value.name}
        expected = "something that a file can hold without holding code"
        raise UnsupportedError(expected, f"{type(value).__name__}: {value!r:.60}", path=name)

    def _tensor(self, value: Any, name: str) -> int:
        number = self._tensor_numbers.get(id(value))
        if number is None:
            number = self._tensor_numbers[id(value)] = len(self.tensors)
            kind = next((k for k, cls in _KINDS.items() if plain_class(value) is cls), "array")
            if isinstance(value, Tensor) and kind == "array":
                raise UnsupportedError("a Tensor, Parameter or Buffer", type(value).__name__)
            self.tensors.append({"kind": kind})
            self._handles.append((name, value))
        return number

    def _place(self) -> None:
        """Find out which tensors see the same memory, and give each memory a name in the file."""
        views = []
        for number, (name, handle) in enumerate(self._handles):
            data = handle._data if isinstance(handle, Tensor) else handle
            array = devices.to_numpy(data)
            # On a GPU the copies do not overlap; there sharing is seen where views are the same.
            low, high = np.lib.array_utils.byte_bounds(array) if array.size else (-1 - number, 0)
            same = (low, array.shape, array.strides, array.dtype.str)
            views.append((low, high, number, same, array, _short(name)))
        views.sort(key=lambda view: (view[0], view[2]))
        group: list[Any] = []
        end = 0
        for view in views:
            if group and view[0] >= end:
                self._place_group(group)
                group = []
            end = max(end, view[1]) if group else view[1]
            group.append(view)
        if group:
            self._place_group(group)
        order = {entry["data"]: i for i, entry in reversed(list(enumerate(self.tensors)))}
        self.arrays = dict(sorted(self.arrays.items(), key=lambda item: order[item[0]]))

    def _place_group(self, group: list[Any]) -> None:
        _, _, _, same, array, _ = group[0]
        first = min(group, key=lambda view: view[2])
        name = self._unused(first[5])
        if all(view[3] == same for view in group):
            self.arrays[name] = array
            for view in group:
                self.tensors[view[2]]["data"] = name
            return
        low, high = group[0][0], max(view[1] for view in group)
        width = array.dtype.itemsize
        for view in group:
            steps = view[4].strides
            whole = all(s >= 0 and s % width == 0 for s in steps) and not (view[0] - low) % width
            if view[4].dtype != array.dtype or not whole:
                raise UnsupportedError("views of one memory with one dtype", path=view[5])
        self.arrays[name] = as_strided(array, ((high - low) // width,), (width,))
        for start, _, number, _, seen, _ in group:
            self.tensors[number] |= {
                "data": name,
                "shape": list(seen.shape),
                "strides": [step // width for step in seen.strides],
                "offset": (start - low) // width,
            }

    def _unused(self, name: str) -> str:
        return name if name not in self.arrays else f"{name}#{len(self.arrays)}"


def _short(name: str) -> str:
    """The name as `named_parameters` has it: a container's children are called by their number."""
    return ".".join(part for part in name.split(".") if part != "modules")


# Loading --------------------------------------------------------------------------------------


def load(
    file: str | os.PathLike[str] | bytes,
    *,
    classes: Iterable[type] = (),
    limits: Limits | None = None,
) -> Module:
    """The module that `save` wrote: same classes, attributes, sharing, mode and bits.

    file: path, or the bytes themselves;  classes: your own Module classes that the file may have
    Raises FormatError or one of its children (UnsupportedError for a class that is not known),
    OSError for the file itself.
    """
    limits = limits or Limits()
    arrays, metadata = safetensors_file.read(file, limits)
    name = None if isinstance(file, bytes) else os.fspath(file)
    return _Builder(arrays, _header(metadata, name), _known(classes), limits, name).root


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


class _Builder:
    """Makes the modules that a header describes; nothing but __new__ of known classes is called."""

    def __init__(
        self,
        arrays: dict[str, np.ndarray[Any, Any]],
        header: dict[str, Any],
        known: Mapping[str, type],
        limits: Limits,
        name: str | None,
    ) -> None:
        self.file, self.limits = name, limits
        self.expanded = 0
        self.records = _records()
        self.arrays = arrays
        self.used: set[str] = set()
        self.tensors = [self._tensor(e, f"tensors[{i}]") for i, e in enumerate(header["tensors"])]
        if self.used != arrays.keys():
            left = min(arrays.keys() - self.used)
            raise self._error("arrays that tensors use", f"{left!r:.80}", "tensors")
        entries = list(enumerate(header["modules"]))
        self.modules = [self._shell(e, known, f"modules[{i}]") for i, e in entries]
        for number, entry in entries:
            self._fill(self.modules[number], entry["attributes"], f"modules[{number}]")
        self.root = self.modules[0]

    def _error(self, expected: str, found: Any, path: str) -> FormatError:
        return FormatError(expected, found, file=self.file, offset=8, path=path)

    def _tensor(self, entry: dict[str, Any], path: str) -> Any:
        kind, name = entry.get("kind"), entry.get("data")
        array = self.arrays.get(name) if isinstance(name, str) else None
        if array is None or not isinstance(kind, str) or kind not in {*_KINDS, "array"}:
            raise self._error("a kind of tensor, and its data", f"{entry!r:.80}", path)
        self.used.add(name)
        if entry.keys() == {"kind", "data", "shape", "strides", "offset"}:
            array = self._view(array, entry, path)
        elif entry.keys() != {"kind", "data"}:
            raise self._error("shape, strides and offset, or none", f"{entry!r:.80}", path)
        if kind == "parameter":
            if array.dtype.kind != "f":
                raise self._error("a floating point parameter", str(array.dtype), path)
            return Parameter(array)
        if kind == "buffer":
            return Buffer(array)
        return untracked(array) if kind == "tensor" else array

    def _view(self, array: Any, entry: dict[str, Any], path: str) -> np.ndarray[Any, Any]:
        shape, strides, offset = entry["shape"], entry["strides"], entry["offset"]
        numbers = (
            [*shape, *strides] if isinstance(shape, list) and isinstance(strides, list) else [-1]
        )
        numbers.append(offset)
        if not all(type(n) is int and 0 <= n < 2**60 for n in numbers) or array.ndim != 1:
            raise self._error("sizes of a view", f"{entry!r:.80}", path)
        if len(shape) != len(strides) or len(shape) > self.limits.max_ndim:
            raise self._error(f"up to {self.limits.max_ndim} sizes and strides", len(shape), path)
        count = math.prod(shape)
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if not count or last >= array.size:
            raise self._error(f"a view of the {array.size} entries", f"entry {last}", path)
        width = array.dtype.itemsize
        if count > array.size:
            self.expanded += count * width
            if self.expanded > self.limits.max_expanded:
                expected = f"at most {self.limits.max_expanded} bytes of repeated entries"
                raise LimitError(expected, self.expanded, file=self.file, offset=8, path=path)
        steps = [step * width if n > 1 else width for n, step in zip(shape, strides, strict=True)]
        return np.ndarray(shape, array.dtype, array, offset * width, steps)

    def _shell(self, entry: dict[str, Any], known: Mapping[str, type], path: str) -> Any:
        if entry.keys() != {"class", "attributes"} or not isinstance(entry["attributes"], dict):
            raise self._error("class and attributes", f"{entry!r:.80}", path)
        name = entry["class"]
        cls = known.get(name) if isinstance(name, str) else None
        if cls is None:
            expected = UNKNOWN_CLASS.format(name=f"{name!s:.60}")
            raise UnsupportedError(expected, f"{name!r:.60}", file=self.file, offset=8, path=path)
        return cls.__new__(cls)

    def _fill(self, module: Any, attributes: dict[str, Any], path: str) -> None:
        cls = type(module)
        for name, value in attributes.items():
            inherited = getattr(cls, name, None)
            method = callable(inherited) or isinstance(inherited, property)
            if not name.isidentifier() or name.startswith("__") or name in _NOT_SAVED or method:
                raise self._error("the name of an attribute", f"{name!r:.60}", path)
            module.__dict__[name] = self._decoded(value, f"{path}.{name}", 0)
        if type(module.__dict__.get("_training", True)) is not bool:
            raise self._error("true or false", "something else", f"{path}._training")
        parts = module.__dict__.get("modules", [])
        if not isinstance(parts, list) or not all(isinstance(part, Module) for part in parts):
            raise self._error("a list of modules", type(parts).__name__, f"{path}.modules")

    def _decoded(self, value: Any, path: str, depth: int) -> Any:
        if depth > _DEEPEST + 1:
            expected = f"lists nested at most {_DEEPEST} deep"
            raise LimitError(expected, file=self.file, offset=8, path=path)
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, list):
            return [self._decoded(item, path, depth + 1) for item in value]
        if len(value) != 1:
            raise self._error("one of module, tensor, tuple, …", f"{value!r:.80}", path)
        ((kind, content),) = value.items()
        if kind == "module" and type(content) is int and 0 <= content < len(self.modules):
            return self.modules[content]
        if kind == "tensor" and type(content) is int and 0 <= content < len(self.tensors):
            return self.tensors[content]
        if kind == "float" and content in ("nan", "inf", "-inf"):
            return float(content)
        if kind == "dtype" and content in ("float16", "float32", "float64", "int32", "int64"):
            return np.dtype(content)
        if kind == "tuple" and isinstance(content, list):
            return tuple(self._decoded(item, path, depth + 1) for item in content)
        if kind == "record" and isinstance(content, list) and len(content) == 2:
            return self._record(*content, path, depth)
        if kind == "dict" and isinstance(content, list):
            return self._dict(content, path, depth)
        raise self._error("one of module, tensor, tuple, …", f"{value!r:.80}", path)

    def _record(self, name: Any, content: Any, path: str, depth: int) -> Any:
        cls = self.records.get(name) if isinstance(name, str) else None
        if cls is None or not isinstance(content, list):
            raise self._error("a known record, and its fields", f"{name!r:.60}", path)
        values = [self._decoded(item, path, depth + 2) for item in content]
        fields = _record_fields(cls)
        if len(values) != len(fields):
            raise self._error(f"{len(fields)} fields", len(values), path)
        if issubclass(cls, tuple):
            return tuple.__new__(cls, values)
        made = object.__new__(cls)
        for field, value in zip(fields, values, strict=True):
            object.__setattr__(made, field, value)
        return made

    def _dict(self, content: list[Any], path: str, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for pair in content:
            if not isinstance(pair, list) or len(pair) != 2:
                raise self._error("a key and a value", f"{pair!r:.80}", path)
            key = self._decoded(pair[0], path, depth + 1)
            plain = isinstance(key, (str, int, float, bool, type(None)))
            if not plain or key in found:
                raise self._error("a key, each once", f"{key!r:.80}", path)
            found[key] = self._decoded(pair[1], path, depth + 1)
        return found


def _begins_like_ours(first: bytes) -> bool:
    """The length of a header, in 8 bytes, and the brace that every header begins with."""
    return first[8:9] == b"{" and int.from_bytes(first[:8], "little") < 2**32


files.register(files.FileFormat(files.OWN, (".safetensors",), load, save, _begins_like_ours))
