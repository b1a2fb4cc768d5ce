"""ClassEntry: what Torch7's format needs to know of a class, beside the general rule.

`classes.py` has the table of them.  An attribute that is not declared in an entry goes into a field
of its name and back; what an entry says, it says for the subclasses of its class too, but for
`absent`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapegrad.nn.formats.torch7.objects import Storage, Table

__all__ = [
    "DType",
    "ClassEntry",
    "Fields",
    "Maker",
    "bytes_",
    "integers",
    "longs",
    "one",
    "table",
    "tables",
    "tensor",
    "tensors",
    "zeros",
]

Fields = dict[str, Any]
DType = np.dtype[Any]
Maker = Callable[[DType], Any]


@dataclass(frozen=True)
class ClassEntry:
    """What is particular about a class in Torch7's files.

    read:     (fields, version) -> the fields as a file written today would have them: brings old
              layouts up to date, and takes out of a network what a layer of ours consists of
    write:    (module, fields) -> the fields with what Torch7's code expects to be there and this
              package does without, such as buffers that only a constructor makes
    state:    what Torch7's constructors leave in a module for its methods to work with.  A file is
              read there without calling constructors, so what a method needs and does not make by
              itself must be in the file; when one is read here, it is left out.  Values, and
              functions that make them for a dtype
    output, gradient: the `output` and `gradInput` of a new module, made for a dtype; a tensor of no
              entries where no class says otherwise
    version:  the number that the last Torch7 wrote; 1 where no class says otherwise
    private:  declared names with an underscore in front that are fields there too
    absent:   Torch7 has no such class (subclasses may be classes of Torch7's)
    """

    read: Callable[[Fields, int], Fields] | None = None
    write: Callable[[Any, Fields], Fields] | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    output: Maker | None = None
    gradient: Maker | None = None
    version: int | None = None
    private: tuple[str, ...] = ()
    absent: bool = False


# What Torch7's constructors make ------------------------------------------------------------------


def tensor(dtype: DType) -> Any:
    """A tensor of no entries, in the type of the module."""
    return np.empty(0, dtype)


def one(dtype: DType) -> Any:
    """A tensor of one entry, 1."""
    return np.ones(1, dtype)


def zeros(size: int) -> Maker:
    """A tensor of zeros."""
    return lambda dtype: np.zeros(size, dtype)


def longs(size: int) -> Maker:
    """A storage of longs, 0."""
    return lambda _: Storage(np.zeros(size, np.int64), "torch.LongStorage")


def integers(_: DType) -> Any:
    """A tensor of no integers."""
    return np.empty(0, np.int64)


def bytes_(_: DType) -> Any:
    """A tensor of no bytes."""
    return np.empty(0, np.uint8)


def table(_: DType) -> Any:
    """An empty table."""
    return Table()


def tables(*names: str) -> dict[str, Any]:
    """An empty table under each name."""
    return dict.fromkeys(names, table)


def tensors(count: int, size: int = 0) -> Maker:
    """A table of tensors, of `size` zeros each."""
    return lambda dtype: [np.zeros(size, dtype) for _ in range(count)]
