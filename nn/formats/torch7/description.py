"""Describes modules as the objects of a Torch7 file; building.py has the other direction.

Each attribute that a module keeps becomes the field of its name, positions counted from 1.  What
Torch7's constructors make beside them, and whatever that rule gets wrong, is said per class in the
table of classes.py, or by the class itself: `to_torch7()` returns the fields to write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, default_dtype
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.core.memory import StorageMap
from tapegrad.nn.core.part import known_dtype
from tapegrad.nn.core.state import kept_attributes
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.torch7.building import counts_of
from tapegrad.nn.formats.torch7.classes import (
    class_entries,
    constructor_state,
    new_results,
    private_fields,
    version_of,
)
from tapegrad.nn.formats.torch7.entry import DType, ExactArray
from tapegrad.nn.formats.torch7.objects import TENSOR_TYPES, Storage, Table, TorchObject
from tapegrad.nn.module import Module

__all__ = ["to_objects"]


def to_one_based(value: Any, kind: Any) -> Any:
    """The inverse of `from_one_based`; -1 counts from the end in both."""
    if value is None or not isinstance(kind, str):
        return value
    if isinstance(value, (list, tuple)):
        return [to_one_based(item, kind) for item in value]
    if isinstance(value, np.ndarray):
        return np.where(value >= 0, value + 1, value).astype(value.dtype)
    return value + 1 if value >= 0 else value


def to_objects(
    root: Any, names: Mapping[type, str], instead: Mapping[int, Module] | None = None
) -> Any:
    """`root` with every module as a TorchObject and every Tensor as an array.

    names:   what Torch7 calls each class
    instead: id of a module -> the one to describe in its place
    Raises UnsupportedError, naming the object, for a module of any other class and for attributes
    that Torch7 has nothing for.
    """
    return _Description(names, instead or {}).of(root)


class _Description:
    """The objects that stand for modules and arrays, each made once."""

    def __init__(self, names: Mapping[type, str], instead: Mapping[int, Module]) -> None:
        self.names, self.instead = names, instead
        self.results: dict[tuple[int, Any], Any] = {}
        self.kept: list[Any] = []  # so that no identity is given to two objects
        self.memories: dict[DType, StorageMap] = {}  # by the dtype that it is converted to
        self.zeros: dict[int, np.ndarray[Any, Any]] = {}  # gradients of parameters that have none
        self.pending: list[tuple[str, Any, Any, DType | None]] = []

    def of(self, root: Any) -> Any:
        """Return the object that stands for `root`, with everything below it filled in."""
        result = self._convert(root, "root", None)
        while self.pending:
            self._fill(*self.pending.pop())
        return result

    def _convert(self, item: Any, path: str, dtype: DType | None) -> Any:
        """The counterpart of an item; its parts are filled in later.

        dtype: that of the module which holds the item, and of all its floating point arrays; None
               outside of modules, where arrays keep theirs
        """
        if isinstance(item, (Tensor, np.ndarray)):
            return self._array(item, dtype)
        if isinstance(item, ExactArray):
            return item.array
        if not isinstance(item, (Module, Mapping, list, tuple, TorchObject)):
            return item
        item = self.instead.get(id(item), item)
        key = (id(item), None if isinstance(item, (Module, TorchObject)) else dtype)
        if key not in self.results:
            self.kept.append(item)
            self.results[key] = made = _counterpart(item, self.names, path)
            self.pending.append((path, item, made, dtype))
        return self.results[key]

    def _array(self, value: Any, dtype: DType | None) -> np.ndarray[Any, Any]:
        """An array of its own for each Tensor; those of one memory are views of one memory."""
        array = value if isinstance(value, np.ndarray) else array_of(value)
        wanted = dtype if dtype is not None and array.dtype.kind == "f" else array.dtype
        key = (id(value), wanted)
        if key not in self.results:
            self.kept.append(value)
            convert = self.memories.setdefault(wanted, StorageMap(_to_numpy(wanted)))
            self.results[key] = convert(array)[...]
        found: np.ndarray[Any, Any] = self.results[key]
        return found

    def _fill(self, path: str, item: Any, made: Any, dtype: DType | None) -> None:
        if isinstance(item, Module):
            dtype = _type_of(item, dtype)
            made.fields = Table()
            for name, value in _fields(item, path, self.zeros, dtype).items():
                if value is not None:
                    made.fields[name] = self._convert(value, f"{path}.{name}", dtype)
        elif isinstance(item, TorchObject):
            made.fields = self._convert(item.fields, path, None)
        elif isinstance(item, Mapping):
            for key, value in item.items():
                step = f".{key}" if isinstance(key, str) else f"[{key!r:.40}]"
                made[self._convert(key, f"{path}.<key>", dtype)] = self._convert(
                    value, path + step, dtype
                )
        else:
            made.extend(self._convert(v, f"{path}[{i}]", dtype) for i, v in enumerate(item))


def _to_numpy(dtype: DType) -> Callable[[Any], Any]:
    """A function that moves an array to the CPU and converts it, where that is needed."""
    return lambda array: devices.to_numpy(array).astype(dtype, copy=False)


def _counterpart(item: Any, names: Mapping[type, str], path: str) -> Any:
    if isinstance(item, TorchObject):
        return TorchObject(item.class_name, None, item.version)
    if not isinstance(item, Module):
        return Table() if isinstance(item, Mapping) else []
    cls = type(item)
    if cls not in names:
        expected = "a class that Torch7 has, or one passed in `classes`"
        raise UnsupportedError(expected, f"{cls.__module__}.{cls.__qualname__}", path=path)
    return TorchObject(names[cls], None, version_of(cls))


def _fields(
    module: Module, path: str, zeros: dict[int, np.ndarray[Any, Any]], dtype: DType
) -> dict[str, Any]:
    """The fields that Torch7 would have, still with Tensors and modules among them."""
    output, gradient = new_results(module, dtype)
    fields: dict[str, Any] = {
        "train": bool(module.train),
        "_type": TENSOR_TYPES[dtype],
        "output": output,
        "gradInput": gradient,
    }
    if hasattr(module, "to_torch7"):
        return fields | module.to_torch7()
    kinds, private = counts_of(type(module)), private_fields(type(module))
    for name, value in kept_attributes(module).items():
        if value is None or (name.startswith("_") and name not in private):
            continue
        kind = kinds.get(name)
        if kind is not None and isinstance(value, Tensor):
            fields[name] = to_one_based(devices.to_numpy(array_of(value)), kind)
        else:
            fields[name] = to_one_based(value, kind)
    for entry in class_entries(type(module)):
        for name, usual in entry.options.items():
            if (found := fields.pop(name, usual)) != usual:
                raise UnsupportedError(f"{name}={usual!r}", f"{name}={found!r}", path=path)
        if entry.write is not None:
            try:
                fields = entry.write(module, fields)
            except UnsupportedError as error:
                raise UnsupportedError(error.expected, error.found, path=path) from None
    for name, value in constructor_state(type(module), dtype):
        fields.setdefault(name, value)
    for name, value in list(fields.items()):
        if isinstance(value, Parameter):
            gradient = value.grad
            if gradient is None:
                gradient = zeros.setdefault(id(value), np.zeros(value.shape, value.dtype))
            fields.setdefault(f"grad{name[:1].upper()}{name[1:]}", gradient)
    if isinstance(module, Criterion):  # which has neither in Torch7
        del fields["_type"]
        if module.train:
            del fields["train"]
    for name, value in fields.items():
        if not _is_writable(value):
            raise UnsupportedError(
                f"an attribute that Torch7 can hold, in {type(module).__name__}",
                type(value).__name__,
                path=f"{path}.{name}",
            )
    return fields


def _is_writable(value: Any) -> bool:
    plain = (type(None), bool, int, float, str, np.ndarray, np.generic)
    parts = (Tensor, Module, Table, Storage, TorchObject, ExactArray)
    if isinstance(value, (list, tuple)):
        return all(_is_writable(item) for item in value)
    if isinstance(value, Mapping):
        return all(_is_writable(item) for item in value.values())
    return isinstance(value, (*plain, *parts))


def _type_of(module: Module, around: DType | None) -> DType:
    """The dtype of a module; of one that nothing says it of, that of the module around it."""
    own = known_dtype(module)
    found = np.dtype(around or default_dtype()) if own is None else own
    return found if found in TENSOR_TYPES else np.dtype(np.float64)
