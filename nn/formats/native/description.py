"""Describe a module as a file of our format holds it: JSON, and arrays under names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.freezing import class_before_freezing, is_frozen_itself
from tapegrad.nn.core.own import is_own, qualified_name
from tapegrad.nn.core.state import kept_attributes, saved_record_fields, saved_records
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.common.names import may_be_attribute
from tapegrad.nn.formats.native.names import name_in_files
from tapegrad.nn.module import Module

__all__ = ["DEEPEST", "FORMAT_VERSION", "FROZEN", "KINDS", "Description"]

# The version that files of the own format carry; files of earlier versions are read.
FORMAT_VERSION = 2

FROZEN = "frozen parameter"  # one whose own `freeze` was called
KINDS: dict[str, type] = {"parameter": Parameter, "buffer": Buffer, "tensor": Tensor}
DEEPEST = 60  # levels of nested lists in one attribute


class Description:
    """The modules, tensors and arrays of a file that is about to be written."""

    def __init__(self, root: Module) -> None:
        self.modules: list[dict[str, Any]] = []
        self.tensors: list[dict[str, Any]] = []
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}
        self._module_numbers: dict[int, int] = {}
        self._tensor_numbers: dict[int, int] = {}
        self._handles: list[tuple[str, Any]] = []
        self._records = saved_records()
        self._users_classes: dict[str, type] = {}
        pending: list[tuple[str, Module]] = [("", root)]
        self._pending = pending
        self._number_of_module(root, "")
        done = 0
        while done < len(pending):
            name, module = pending[done]
            done += 1
            attributes = {}
            for key, value in kept_attributes(module).items():
                below = f"{name}.{key}" if name else key
                if not may_be_attribute(type(module), key, value):
                    raise UnsupportedError(
                        "an attribute that a file may have", repr(key), path=below
                    )
                attributes[key] = self._encode(value, below, 0)
            class_name = self._class_name(type(module), name or "the module")
            self.modules.append({"class": class_name, "attributes": attributes})
        self._name_arrays()

    def header(self) -> dict[str, Any]:
        """Return what goes into the metadata as JSON."""
        return {"version": FORMAT_VERSION, "modules": self.modules, "tensors": self.tensors}

    def _class_name(self, cls: type, path: str) -> str:
        """Return a class's name in the file.  Raises UnsupportedError if another class has it."""
        try:
            name = name_in_files(cls)
        except ValueError as error:
            raise UnsupportedError(str(error), path=path) from None
        if not is_own(cls) and self._users_classes.setdefault(name, cls) is not cls:
            expected = f"one class called {name}"
            found = f"{self._users_classes[name].__module__}'s and {cls.__module__}'s"
            raise UnsupportedError(expected, found, path=path)
        return name

    def _number_of_module(self, module: Module, name: str) -> int:
        number = self._module_numbers.get(id(module))
        if number is None:
            number = self._module_numbers[id(module)] = len(self._module_numbers)
            if number:
                self._pending.append((name, module))
        return number

    def _encode(self, value: Any, name: str, depth: int) -> Any:
        if depth > DEEPEST:
            raise UnsupportedError(f"lists nested at most {DEEPEST} deep", path=name)
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, np.generic):
            return self._encode(value.item(), name, depth)
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": str(value)}
        if isinstance(value, Module):
            return {"module": self._number_of_module(value, _without_modules(name))}
        if isinstance(value, (Tensor, np.ndarray)):
            return {"tensor": self._number_of_tensor(value, name)}
        if isinstance(value, list):
            return [self._encode(v, f"{name}.{i}", depth + 1) for i, v in enumerate(value)]
        if type(value) is tuple:
            items = [self._encode(v, f"{name}.{i}", depth + 1) for i, v in enumerate(value)]
            return {"tuple": items}
        if type(value) is dict:
            pairs = [
                [self._encode(k, name, depth + 1), self._encode(v, f"{name}.{k}", depth + 1)]
                for k, v in value.items()
            ]
            return {"dict": pairs}
        record = qualified_name(type(value))
        if self._records.get(record) is type(value):
            content = [getattr(value, field) for field in saved_record_fields(type(value))]
            return {"record": [record, self._encode(content, name, depth + 1)]}
        if isinstance(value, np.dtype) and value.kind in "fiub":
            return {"dtype": value.name}
        expected = "something that a file can hold without holding code"
        raise UnsupportedError(expected, f"{type(value).__name__}: {value!r:.60}", path=name)

    def _number_of_tensor(self, value: Any, name: str) -> int:
        number = self._tensor_numbers.get(id(value))
        if number is None:
            number = self._tensor_numbers[id(value)] = len(self.tensors)
            kind = next(
                (k for k, cls in KINDS.items() if class_before_freezing(value) is cls), "array"
            )
            if isinstance(value, Parameter) and is_frozen_itself(value):
                kind = FROZEN
            if isinstance(value, Tensor) and kind == "array":
                raise UnsupportedError("a Tensor, Parameter or Buffer", type(value).__name__)
            self.tensors.append({"kind": kind})
            self._handles.append((name, value))
        return number

    def _name_arrays(self) -> None:
        """Group the tensors that share memory, and give each shared memory one name in the file."""
        views = []
        for number, (name, handle) in enumerate(self._handles):
            data = array_of(handle) if isinstance(handle, Tensor) else handle
            array = devices.to_numpy(data)
            # Copies from a GPU do not overlap; only tensors that are the same view share there.
            low, high = np.lib.array_utils.byte_bounds(array) if array.size else (-1 - number, 0)
            same = (low, array.shape, array.strides, array.dtype.str)
            views.append((low, high, number, same, array, _without_modules(name)))
        views.sort(key=lambda view: (view[0], view[2]))
        group: list[Any] = []
        end = 0
        for view in views:
            if group and view[0] >= end:
                self._name_group(group)
                group = []
            end = max(end, view[1]) if group else view[1]
            group.append(view)
        if group:
            self._name_group(group)
        order = {entry["data"]: i for i, entry in reversed(list(enumerate(self.tensors)))}
        self.arrays = dict(sorted(self.arrays.items(), key=lambda item: order[item[0]]))

    def _name_group(self, group: list[Any]) -> None:
        _, _, _, same, array, _ = group[0]
        first = min(group, key=lambda view: view[2])
        name = self._unused_name(first[5])
        if all(view[3] == same for view in group):
            self.arrays[name] = array
            for view in group:
                self.tensors[view[2]]["data"] = name
            return
        low, high = group[0][0], max(view[1] for view in group)
        width = array.dtype.itemsize
        for view in group:
            steps = view[4].strides
            aligned = all(s >= 0 and s % width == 0 for s in steps) and not (view[0] - low) % width
            if view[4].dtype != array.dtype or not aligned:
                raise UnsupportedError("views of one memory with one dtype", path=view[5])
        self.arrays[name] = as_strided(array, ((high - low) // width,), (width,))
        for start, _, number, _, view_array, _ in group:
            self.tensors[number] |= {
                "data": name,
                "shape": list(view_array.shape),
                "strides": [step // width for step in view_array.strides],
                "offset": (start - low) // width,
            }

    def _unused_name(self, name: str) -> str:
        return name if name not in self.arrays else f"{name}#{len(self.arrays)}"


def _without_modules(name: str) -> str:
    """Return the name as `named_parameters` has it: without "modules" before a child's number."""
    return ".".join(part for part in name.split(".") if part != "modules")
