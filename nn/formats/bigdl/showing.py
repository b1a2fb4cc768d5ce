"""What `tapegrad show` prints of a model of BigDL: its records, without making a module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from tapegrad.nn.core.places import name_of
from tapegrad.nn.formats.bigdl.attributes import value_of
from tapegrad.nn.formats.bigdl.building import short_name
from tapegrad.nn.formats.bigdl.fields import SCHEMA
from tapegrad.nn.formats.bigdl.tensors import TensorReader
from tapegrad.nn.formats.common.errors import FormatError, Limits

__all__ = ["describe"]


def describe(
    path: str | os.PathLike[str] | bytes, limits: Limits | None = None
) -> Iterator[tuple[int, str, str, dict[str, np.ndarray[Any, Any]]]]:
    """(depth, name, what it is, its arrays) of each line of `tapegrad show`; nothing is run.

    Raises FormatError for the content, OSError for a file itself.
    """
    limits = limits or Limits()
    root = SCHEMA.read(path, "BigDLModule", limits)
    if not root.moduleType:
        raise FormatError("a model of BigDL, whose module has a type", file=name_of(path))
    tensors = TensorReader(root, limits, name_of(path))
    stack: list[tuple[int, str, Any]] = [(0, "", root)]
    while stack:
        depth, label, record = stack.pop()
        words, inner = [], []
        for key, value in record.attr.items():
            found = value_of(value)
            if isinstance(found, (bool, int, float, str)):
                words.append(f"{key} {found!s:.40}")
            elif hasattr(found, "moduleType"):
                inner.append((depth + 1, key, found))
        arrays = {}
        for i, tensor in enumerate(record.parameters if not record.subModules else ()):
            if tensor.storage.id in tensors.found:
                array = tensors.array(tensor, f"parameters[{i}]")
                if array is not None:
                    arrays[f"[{i}]"] = array
        settings = f" ({', '.join(words)})" if words else ""
        name = " ".join(filter(None, (label, record.name))) or "module"
        yield depth, name, f"{short_name(record.moduleType):.60}{settings}", arrays
        inner += [(depth + 1, "", child) for child in record.subModules]
        stack += reversed(inner)
