"""Build modules from a file of our format.  Nothing in the file decides what code is run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Parameter
from tapegrad.autograd.core.tensor import untracked
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.memory import share_missing_gradients
from tapegrad.nn.core.own import is_own
from tapegrad.nn.core.part import after_restoring
from tapegrad.nn.core.state import saved_record_fields
from tapegrad.nn.formats.common.errors import FormatError, LimitError, Limits, UnsupportedError
from tapegrad.nn.formats.common.names import attribute_name, may_be_attribute
from tapegrad.nn.formats.native.description import DEEPEST, FROZEN, KINDS
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.nn.formats.native.names import KnownClasses

__all__ = ["Builder"]

UNKNOWN_CLASS = (
    "a known class; pass load(path, classes=[{name}]) or decorate it with nn.formats.register_class"
)


class Builder:
    """Makes the modules that a header describes, calling only __new__ of known classes."""

    def __init__(
        self,
        arrays: dict[str, np.ndarray[Any, Any]],
        header: dict[str, Any],
        known: KnownClasses,
        limits: Limits,
        name: str | None,
    ) -> None:
        self.file, self.limits = name, limits
        self.expanded = 0
        self.known = known
        self.arrays = arrays
        self.used: set[str] = set()
        self.tensors = [
            self._make_tensor(e, f"tensors[{i}]") for i, e in enumerate(header["tensors"])
        ]
        if self.used != arrays.keys():
            unused = min(arrays.keys() - self.used)
            raise self._error("arrays that tensors use", f"{unused!r:.80}", "tensors")
        entries = list(enumerate(header["modules"]))
        self.modules = [self._new_instance(e, f"modules[{i}]") for i, e in entries]
        for number, entry in entries:
            self._set_attributes(self.modules[number], entry["attributes"], f"modules[{number}]")
        for module in self.modules:
            after_restoring(module)
        share_missing_gradients(t for t in self.tensors if isinstance(t, Parameter))
        self.root = self.modules[0]

    def _error(self, expected: str, found: Any, path: str) -> FormatError:
        return FormatError(expected, found, file=self.file, offset=8, path=path)

    def _make_tensor(self, entry: dict[str, Any], path: str) -> Any:
        kind, name = entry.get("kind"), entry.get("data")
        array = self.arrays.get(name) if isinstance(name, str) else None
        if (
            array is None
            or name is None
            or not isinstance(kind, str)
            or kind not in {*KINDS, FROZEN, "array"}
        ):
            raise self._error("a kind of tensor, and its data", f"{entry!r:.80}", path)
        self.used.add(name)
        if entry.keys() == {"kind", "data", "shape", "strides", "offset"}:
            array = self._make_view(array, entry, path)
        elif entry.keys() != {"kind", "data"}:
            raise self._error("shape, strides and offset, or none", f"{entry!r:.80}", path)
        if kind in ("parameter", FROZEN):
            if array.dtype.kind != "f":
                raise self._error("a floating point parameter", str(array.dtype), path)
            return Parameter(array).freeze() if kind == FROZEN else Parameter(array)
        if kind == "buffer":
            return Buffer(array)
        return untracked(array) if kind == "tensor" else array

    def _make_view(self, array: Any, entry: dict[str, Any], path: str) -> np.ndarray[Any, Any]:
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

    def _new_instance(self, entry: dict[str, Any], path: str) -> Any:
        if entry.keys() != {"class", "attributes"} or not isinstance(entry["attributes"], dict):
            raise self._error("class and attributes", f"{entry!r:.80}", path)
        name = entry["class"]
        cls: Any = self.known.module(name) if isinstance(name, str) else None
        if cls is None:
            expected = UNKNOWN_CLASS.format(name=f"{name!s:.60}")
            raise UnsupportedError(expected, f"{name!r:.60}", file=self.file, offset=8, path=path)
        return cls.__new__(cls)

    def _set_attributes(self, module: Any, attributes: dict[str, Any], path: str) -> None:
        cls = type(module)
        for name_in_file, value in attributes.items():
            name = attribute_name(cls, name_in_file)
            decoded = self._decode(value, f"{path}.{name}", 0)
            if not may_be_attribute(cls, name, decoded) or name in module.__dict__:
                raise self._error("the name of an attribute", f"{name_in_file!r:.60}", path)
            module.__dict__[name] = decoded
        if type(module.__dict__.get("_training", True)) is not bool:
            raise self._error("true or false", "something else", f"{path}._training")
        if not isinstance(module.__dict__.get("_type"), (np.dtype, type(None))):
            raise self._error("a dtype", "something else", f"{path}._type")
        parts = module.__dict__.get("modules", [])
        if not isinstance(parts, list) or not all(isinstance(part, Module) for part in parts):
            raise self._error("a list of modules", type(parts).__name__, f"{path}.modules")

    def _decode(self, value: Any, path: str, depth: int) -> Any:
        if depth > DEEPEST + 1:
            expected = f"lists nested at most {DEEPEST} deep"
            raise LimitError(expected, file=self.file, offset=8, path=path)
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, list):
            return [self._decode(item, path, depth + 1) for item in value]
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
            return tuple(self._decode(item, path, depth + 1) for item in content)
        if kind == "record" and isinstance(content, list) and len(content) == 2:
            record, fields = content
            return self._make_record(record, fields, path, depth)
        if kind == "dict" and isinstance(content, list):
            return self._make_dict(content, path, depth)
        raise self._error("one of module, tensor, tuple, …", f"{value!r:.80}", path)

    def _make_record(self, name: Any, content: Any, path: str, depth: int) -> Any:
        cls = self.known.record(name) if isinstance(name, str) else None
        if cls is None or not isinstance(content, list):
            raise self._error("a known record, and its fields", f"{name!r:.60}", path)
        values = [self._decode(item, path, depth + 2) for item in content]
        fields = saved_record_fields(cls)
        if len(values) != len(fields):
            raise self._error(f"{len(fields)} fields", len(values), path)
        if issubclass(cls, tuple):
            return tuple.__new__(cls, values)
        instance = object.__new__(cls)
        for field, value in zip(fields, values, strict=True):
            object.__setattr__(instance, field, value)
        return instance

    def _make_dict(self, content: list[Any], path: str, depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for pair in content:
            if not isinstance(pair, list) or len(pair) != 2:
                raise self._error("a key and a value", f"{pair!r:.80}", path)
            key = self._decode(pair[0], path, depth + 1)
            is_plain = isinstance(key, (str, int, float, bool, type(None)))
            # A module of ours is compared by identity, so that as a key it runs no code.
            is_ours = isinstance(key, Module) and is_own(type(key))
            if not (is_plain or is_ours) or key in result:
                raise self._error("a key, each once", f"{pair[0]!r:.80}", path)
            result[key] = self._decode(pair[1], path, depth + 1)
        return result
