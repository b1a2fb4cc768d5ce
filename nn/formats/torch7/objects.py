"""What a Torch7 file is made of, as Python objects that know nothing of modules.

Numbers, strings, booleans and nil are Python's, tensors are NumPy arrays, those of one storage
views of one memory.  For the rest: Table, because a Lua table tells 1 from true and may have
anything as a key; Storage, because Torch7's modules have some outside tensors; TorchObject for an
instance of any class, by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, MutableMapping
from typing import Any

import numpy as np

__all__ = [
    "SKIPPED",
    "STORAGE_TYPES",
    "TENSOR_TYPES",
    "Storage",
    "Table",
    "TorchObject",
    "module_type",
]

# The types of entries by the names that tensor and storage classes are made of.  What was on a GPU
# is written as the same numbers.
_ENTRIES = {
    "Byte": np.uint8,
    "Char": np.int8,
    "Short": np.int16,
    "Int": np.int32,
    "Long": np.int64,
    "Half": np.float16,
    "Float": np.float32,
    "Double": np.float64,
}
STORAGE_TYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(entry) for name, entry in _ENTRIES.items()},
    **{f"Cuda{name}": np.dtype(entry) for name, entry in _ENTRIES.items() if name != "Float"},
    "Cuda": np.dtype(np.float32),
}

# The types that a module may have.
TENSOR_TYPES = {
    np.dtype(np.float64): "torch.DoubleTensor",
    np.dtype(np.float32): "torch.FloatTensor",
    np.dtype(np.float16): "torch.HalfTensor",
}


def module_type(name: Any) -> np.dtype[Any] | None:
    """The floating dtype that the name of a tensor type stands for; None for any other."""
    found = STORAGE_TYPES.get(name[6:-6]) if isinstance(name, str) else None
    return found if found in TENSOR_TYPES and f"torch.{name[6:-6]}Tensor" == name else None


class _Key:
    """A key that Python would confuse with another: a boolean, or an object by its identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.value is other.value

    def __hash__(self) -> int:
        return object.__hash__(self.value)


class Table(MutableMapping[Any, Any]):
    """A Lua table: a mapping that keeps the keys 1 and True apart.

    Keys may be numbers, strings, booleans, or any object, which is then found by its identity.
    Fields with a name can be read as attributes would be: ``table["epoch"]``.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Any = ()) -> None:
        self._items: dict[Any, Any] = {}
        for key, value in items.items() if hasattr(items, "items") else items:  # dict: 1 is True
            self[key] = value

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._items[_stored_key(key)]
        except KeyError:
            raise KeyError(key) from None

    def __setitem__(self, key: Any, value: Any) -> None:
        self._items[_stored_key(key)] = value

    def __delitem__(self, key: Any) -> None:
        del self._items[_stored_key(key)]

    def __iter__(self) -> Iterator[Any]:
        for key in self._items:
            yield key.value if isinstance(key, _Key) else key

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: Any) -> bool:
        return _stored_key(key) in self._items

    # Equal is only the same table, as in Lua; comparing entries would not end for a cyclic one.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def is_list(self) -> bool:
        """Whether the keys are exactly 1, 2, … n."""
        size = len(self._items)
        return all(type(key) is int and 1 <= key <= size for key in self._items)

    def as_list(self) -> list[Any]:
        """The values under 1, 2, … n."""
        return [self._items[i] for i in range(1, len(self._items) + 1)]

    def __repr__(self) -> str:
        shown = [f"{key!r:.40}" if _is_plain_key(key) else "…" for key in itertools.islice(self, 8)]
        return f"Table({len(self)} entries: {', '.join(shown)})"


def _is_plain_key(key: Any) -> bool:
    return isinstance(key, (str, bytes)) or type(key) in {int, float}


def _stored_key(key: Any) -> Any:
    if _is_plain_key(key):
        return key
    if isinstance(key, (np.integer, np.floating)):
        return key.item()
    return _Key(key)


class Storage:
    """A storage outside a tensor, such as the sizes of a View; `array` has one axis."""

    __slots__ = ("array", "name")

    def __init__(self, array: np.ndarray[Any, Any], name: str | None = None) -> None:
        self.array = array
        self.name = name

    def __repr__(self) -> str:
        return f"Storage({self.array.dtype}, {self.array.size} entries)"


class _Skipped:
    """Stands for a function in a file whose bytes were passed over, neither read nor run."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "a function that was not read"


SKIPPED = _Skipped()


class TorchObject:
    """An instance of a class by name: ``obj.class_name``, ``obj.version``, ``obj.fields``.

    `fields` is a Table, or whatever the file has for a class that is stored as something else;
    `offset` the byte of the file where the instance begins, None for one that was not read.
    """

    __slots__ = ("class_name", "fields", "offset", "version")

    def __init__(
        self, class_name: str, fields: Any = None, version: int = 1, offset: int | None = None
    ) -> None:
        self.class_name = class_name
        self.fields = Table() if fields is None else fields
        self.version = version
        self.offset = offset

    def __getitem__(self, name: Any) -> Any:
        return self.fields[name]

    def __repr__(self) -> str:
        return f"TorchObject({self.class_name!r})"
