"""The errors of model files, and the limits on what is read of a file.

Files come from strangers.  Whatever a file holds, a loader returns the content or raises
FormatError or one of its children; only the OSError of the file itself may come beside them.  Each
size in a file is compared with the bytes that remain before memory is asked for.  Limits bounds
what no such comparison covers: the number of objects, and how deep they nest.
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
    """The file does not keep to its format.

    expected, found: what should be in the file, and what is
    file, offset, path: where that is: the file's name, the byte, and the object by the file's own
    keys, "root.modules[1].weight"; None where it is unknown
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
    """The file needs more than the Limits allow."""


class UnsupportedError(FormatError):
    """The file, or the object to be saved, has a part that this package does not translate."""


class UnsafeError(FormatError):
    """The file holds code, which is never run and never skipped in silence."""


class UnknownClassWarning(UserWarning):
    """A file has classes that this package lacks; their objects stay plain tables."""


class SkippedFunctionWarning(UserWarning):
    """A file has functions where tapegrad knows without reading them what they do."""


@dataclass(frozen=True)
class Limits:
    """How much of a file is accepted.

    max_bytes:    size of the file; None: any
    max_nodes:    numbers, strings, tables, tensors, … together
    max_depth:    nesting of objects (the readers do not recurse)
    max_ndim:     axes of an array
    max_expanded: bytes of all arrays with overlapping entries (stride 0) together, each entry
                  counted as often as it appears
    max_ratio:    bytes that each byte of a deflated file may become, beyond max_expanded
    max_overhead: bytes of Python objects other than array data; None: 48 MB and a quarter of the
                  file's size
    """

    max_bytes: int | None = None
    max_nodes: int = 1_000_000
    max_depth: int = 10_000
    max_ndim: int = 32
    max_expanded: int = 64_000_000
    max_overhead: int | None = None
    max_ratio: int = 100

    def overhead(self, size: int) -> int:
        """Return how many bytes of Python objects a file of `size` bytes may need."""
        return 48_000_000 + size // 4 if self.max_overhead is None else self.max_overhead

    def inflated(self, size: int) -> int:
        """Return how many bytes a deflated file of `size` bytes may become."""
        return self.max_expanded + self.max_ratio * size
