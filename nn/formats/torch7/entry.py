"""ClassEntry: what Torch7's format needs to know of a class, beside the general rule.

`classes.py` has the table of them.  An attribute that no entry speaks of goes into a field of its
name and back; what an entry says holds for the subclasses of its class too, but for `absent` and
`version`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapegrad.nn.formats.torch7.objects import Storage, Table, module_type

__all__ = [
    "ClassEntry",
    "DType",
    "ExactArray",
    "Fields",
    "Maker",
    "Results",
    "type_of_fields",
    "empty_bytes",
    "empty_longs",
    "empty_table",
    "empty_tables",
    "empty_tensor",
    "long_storage",
    "no_field",
    "table_of_tensors",
    "tensor_of_one",
    "zero_tensor",
]

Fields = dict[str, Any]
DType = np.dtype[Any]
Maker = Callable[[DType], Any]
Results = tuple[Any, Any]  # (output, gradInput)


@dataclass(frozen=True)
class ClassEntry:
    """What is particular about a class in Torch7's files.

    read:     (fields, version) -> the fields as a file written today would have them: brings old
              layouts up to date, and takes out of a network what a layer of ours consists of;
              raises FormatError for fields that no such class has, UnsupportedError for what
              tapegrad has nothing for
    write:    (module, fields) -> the fields with what Torch7's code expects and tapegrad does
              without, such as buffers that only a constructor makes; raises UnsupportedError for
              what Torch7 has nothing for
    state:    what Torch7's constructors leave in a module for its methods to work with.  Torch7
              reads a file without calling constructors, so what a method needs and does not make by
              itself must be in the file; when tapegrad reads it, it is left out.  Values, and
              functions that make them for a dtype
    ignores:  further fields that methods of Torch7, or older versions, leave in a module
    output, gradient: the `output` and `gradInput` of a new module, made for a dtype; a tensor of no
              entries where no class says otherwise
    results:  (module, function) -> (output, gradInput) of a new module that has those of modules
              inside, which the function returns; None for one of the two: as `output`, `gradient`
    version:  the number that the last Torch7 wrote; 1 where the class says nothing
    private:  declared names with an underscore in front that are fields in Torch7 too
    options:  attributes that Torch7 lacks, with the value that means what Torch7 does: left out of
              its files; another value cannot be written
    absent:   Torch7 has no such class (subclasses may be classes of Torch7's)
    """

    read: Callable[[Fields, int], Fields] | None = None
    write: Callable[[Any, Fields], Fields] | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    ignores: tuple[str, ...] = ()
    output: Maker | None = None
    gradient: Maker | None = None
    results: Callable[[Any, Callable[[Any], Results]], Results] | None = None
    version: int = 1
    private: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    absent: bool = False


class ExactArray:
    """An array whose type does not follow that of the module around it."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array


def type_of_fields(fields: Fields) -> DType:
    """The type of the module that these fields, which are about to be written, belong to."""
    found = module_type(fields["_type"])
    assert found is not None
    return found


# What Torch7's constructors make ------------------------------------------------------------------


def no_field(_: DType) -> Any:
    """Nothing: nil, which is no field."""
    return None


def empty_tensor(dtype: DType) -> Any:
    """A tensor of no entries, in the type of the module."""
    return np.empty(0, dtype)


def tensor_of_one(dtype: DType) -> Any:
    """A tensor of one entry, 1."""
    return np.ones(1, dtype)


def zero_tensor(size: int) -> Maker:
    """A tensor of zeros."""
    return lambda dtype: np.zeros(size, dtype)


def long_storage(size: int) -> Maker:
    """A storage of longs, 0."""
    return lambda _: Storage(np.zeros(size, np.int64), "torch.LongStorage")


def empty_longs(_: DType) -> Any:
    """A tensor of no integers."""
    return np.empty(0, np.int64)


def empty_bytes(_: DType) -> Any:
    """A tensor of no bytes."""
    return np.empty(0, np.uint8)


def empty_table(_: DType) -> Any:
    """An empty table."""
    return Table()


def empty_tables(*names: str) -> dict[str, Any]:
    """An empty table under each name."""
    return dict.fromkeys(names, empty_table)


def table_of_tensors(count: int, size: int = 0) -> Maker:
    """A table of tensors, of `size` zeros each."""
    return lambda dtype: [np.zeros(size, dtype) for _ in range(count)]
