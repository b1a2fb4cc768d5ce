"""What can go wrong with a file, and how much of it is read.

Files come from strangers.  Whatever is in one, a loader returns what it holds or raises FormatError
or one of its children; beside them only the OSError of the file itself can leave it.  Every size
found in a file is compared with the bytes that are left before memory is asked for, and Limits
bounds what no such comparison covers: how many objects there are, and how deep they nest.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from tapegrad.devices import TapegradError

__all__ = [
    "FormatError",
    "LimitError",
    "Limits",
    "TruncatedError",
    "SkippedFunctionWarning",
    "UnknownClassWarning",
    "UnsafeError",
    "UnsupportedError",
]


class FormatError(TapegradError, ValueError):
    """The file is not what its format says it is.

    file, offset, path: where: the file's name, the byte, and the object ("root.modules[1].weight",
    with the file's own keys); None where it is unknown
    expected, found: what should have been there, and what was
    """

    def __init__(
        self,
        expected: str,
        found: Any = None,
        *,
        file: str | os.PathLike[str] | None = None,
        offset: int | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(expected, found)
        self.expected, self.found = expected, found
        self.file = None if file is None else os.fspath(file)
        self.offset, self.path = offset, path

    def __str__(self) -> str:
        where = [str(self.file)] if self.file is not None else []
        if self.offset is not None:
            where.append(f"byte {self.offset}")
        if self.path is not None:
            where.append(f"at {self.path}")
        text = self.expected if self.found is None else f"{self.expected}, found {self.found}"
        return f"{', '.join(where)}: {text}" if where else text


class TruncatedError(FormatError):
    """The file ends too early, or announces more than it holds."""


class LimitError(FormatError):
    """The file asks for more than the Limits allow."""


class UnsupportedError(FormatError):
    """The file, or an object to be saved, has something that no table here knows."""


class UnsafeError(FormatError):
    """The file holds code.  It is never run and never skipped in silence."""


class UnknownClassWarning(UserWarning):
    """A file has classes without a counterpart here; their objects stay plain tables."""


class SkippedFunctionWarning(UserWarning):
    """A file has functions where tapegrad knows without reading them what they do."""


@dataclass(frozen=True)
class Limits:
    """How much of a file is accepted.

    max_bytes:    size of the file; None: any
    max_nodes:    numbers, strings, tables, tensors, … together
    max_depth:    nesting of objects (the readers do not recurse)
    max_ndim:     axes of an array
    max_expanded: bytes that arrays with overlapping entries (stride 0) would take written out, all
                  of them together
    max_overhead: bytes of Python objects other than array data; None: 48 MB and a quarter of the
                  file's size
    """

    max_bytes: int | None = None
    max_nodes: int = 1_000_000
    max_depth: int = 10_000
    max_ndim: int = 32
    max_expanded: int = 64_000_000
    max_overhead: int | None = None

    def overhead(self, size: int) -> int:
        """Bytes of Python objects that a file of `size` bytes may lead to."""
        return 48_000_000 + size // 4 if self.max_overhead is None else self.max_overhead
