"""Describes modules as the objects of a Torch7 file; building.py has the other direction.

Each attribute that a module keeps becomes the field of its name, positions counted from 1.  What
Torch7's constructors make beside them, and whatever that rule gets wrong, is said per class in the
table of classes.py, or by the class itself: `to_torch7()` returns the fields to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.core.state import kept
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.torch7 import classes as torch7_classes
from tapegrad.nn.formats.torch7.building import counts_of
from tapegrad.nn.formats.torch7.objects import Storage, Table, TorchObject
from tapegrad.nn.module import Module

__all__ = ["to_objects"]

_TYPES = {
    np.dtype(np.float64): "torch.DoubleTensor",
    np.dtype(np.float32): "torch.FloatTensor",
    np.dtype(np.float16): "torch.HalfTensor",
}


def to_one_based(value: Any, kind: Any) -> Any:
    """The inverse of `from_one_based`; -1 counts from the end in both."""
    if value is None or not isinstance(kind, str):
        return value
    if isinstance(value, (list, tuple)):
        return [to_one_based(item, kind) for item in value]
    if isinstance(value, np.ndarray):
        return np.where(value >= 0, value + 1, value).astype(value.dtype)
    return value + 1 if value >= 0 else value


def to_objects(root: Any, names: Mapping[type, str]) -> Any:
    """`root` with every module as a TorchObject and every Tensor as an array.

    names: what Torch7 calls each class
    Raises UnsupportedError, naming the object, for a module of any other class and for attributes
    that Torch7 has nothing for.
    """
    results: dict[int, Any] = {}
    kept: list[Any] = []
    pending: list[tuple[str, Any, Any, Any]] = []

    def convert(item: Any, path: str, dtype: Any = None) -> Any:
        if isinstance(item, Tensor):
            return _array(item)
        if not isinstance(item, (Module, Mapping, list, tuple, TorchObject)):
            return item
        if id(item) not in results:
            kept.append(item)
            results[id(item)] = made = _counterpart(item, names, path)
            pending.append((path, item, made, dtype))
        return results[id(item)]

    arrays: dict[int, np.ndarray[Any, Any]] = {}
    zeros: dict[int, np.ndarray[Any, Any]] = {}  # gradients of parameters that have none

    def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
        """One array for each memory seen one way, so that sharing is seen when it is written."""
        kept.append(array_of(tensor))
        return arrays.setdefault(id(array_of(tensor)), devices.to_numpy(array_of(tensor)))

    result = convert(root, "root")
    while pending:
        path, item, made, dtype = pending.pop()
        if isinstance(item, Module):
            dtype = _dtype(item, dtype)
            fields = _fields(item, path, zeros, dtype)
            made.fields = Table()
            for name, value in fields.items():
                if value is not None:
                    made.fields[name] = convert(value, f"{path}.{name}", dtype)
        elif isinstance(item, TorchObject):
            made.fields = convert(item.fields, path, dtype)
        elif isinstance(item, Mapping):
            for key, value in item.items():
                step = f".{key}" if isinstance(key, str) else f"[{key!r:.40}]"
                made[convert(key, f"{path}.<key>", dtype)] = convert(value, path + step, dtype)
        else:
            made.extend(convert(value, f"{path}[{i}]", dtype) for i, value in enumerate(item))
    return result


def _counterpart(item: Any, names: Mapping[type, str], path: str) -> Any:
    if isinstance(item, TorchObject):
        return TorchObject(item.class_name, None, item.version)
    if not isinstance(item, Module):
        return Table() if isinstance(item, Mapping) else []
    cls = type(item)
    if cls not in names:
        expected = "a class that Torch7 has, or one passed in `classes`"
        raise UnsupportedError(expected, f"{cls.__module__}.{cls.__qualname__}", path=path)
    return TorchObject(names[cls], None, torch7_classes.version(cls))


def _fields(
    module: Module, path: str, zeros: dict[int, np.ndarray[Any, Any]], dtype: np.dtype[Any]
) -> dict[str, Any]:
    """The fields that Torch7 would have, still with Tensors and modules among them."""
    fields: dict[str, Any] = {"train": module.train, **_type_fields(module, dtype)}
    if hasattr(module, "to_torch7"):
        return fields | module.to_torch7()
    kinds, private = counts_of(type(module)), torch7_classes.private(type(module))
    for name, value in kept(module).items():
        if value is None or (name.startswith("_") and name not in private):
            continue
        kind = kinds.get(name)
        if kind is not None and isinstance(value, Tensor):
            fields[name] = to_one_based(devices.to_numpy(array_of(value)), kind)
        else:
            fields[name] = to_one_based(value, kind)
    for entry in torch7_classes.entries(type(module)):
        if entry.write is not None:
            try:
                fields = entry.write(module, fields)
            except UnsupportedError as error:
                raise UnsupportedError(error.expected, error.found, path=path) from None
    for name, value in torch7_classes.state(type(module), dtype):
        fields.setdefault(name, value)
    for name, value in list(fields.items()):
        if isinstance(value, Parameter):
            gradient = value.grad
            if gradient is None:
                gradient = zeros.setdefault(id(value), np.zeros(value.shape, value.dtype))
            fields[f"grad{name[:1].upper()}{name[1:]}"] = gradient
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
    parts = (Tensor, Module, Table, Storage, TorchObject)
    if isinstance(value, (list, tuple)):
        return all(_is_writable(item) for item in value)
    if isinstance(value, Mapping):
        return all(_is_writable(item) for item in value.values())
    return isinstance(value, (*plain, *parts))


def _type_fields(module: Module, dtype: np.dtype[Any]) -> dict[str, Any]:
    cls = type(module)
    return {
        "_type": _TYPES[dtype],
        "output": torch7_classes.output(cls, dtype),
        "gradInput": torch7_classes.gradient(cls, dtype),
    }


def _dtype(module: Module, around: np.dtype[Any] | None) -> np.dtype[Any]:
    """The dtype of a module's parameters; without any, that of the module around it."""
    own = next((p.dtype for _, p in module.named_trainable()), around)
    found = np.dtype(module.type() if own is None else own)
    return found if found in _TYPES else np.dtype(np.float64)
