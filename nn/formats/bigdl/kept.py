"""Kept: a module of a class that is not here, as its file has it.  It can be written, not run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.common.protobuf import Record
from tapegrad.nn.formats.common.records import message_of
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Kept", "copied"]


class Kept(Module):
    """A module of BigDL whose class is not here.

    record: what the file says of it; arrays: those of its tensors, by the ids of their records
    Raises UnsupportedError when it runs.
    """

    keeps = ("record", "arrays")

    def __init__(self, record: Record, arrays: dict[int, np.ndarray[Any, Any]]) -> None:
        self.record, self.arrays = record, arrays

    def updateOutput(self, x: Any) -> Any:
        raise UnsupportedError(f"a class that is here; {self.record.moduleType} was kept, not read")

    def __repr__(self) -> str:
        return f"Kept({self.record.moduleType})"


def copied(record: Record, other: Callable[[Record], Record | None]) -> Record:
    """A copy of a record; `other` gives what stands in the place of a record inside, or None."""
    made = Record(message_of(record))
    for field, value in record.items():
        if field.message is None:
            setattr(made, field.name, value)
        elif field.is_map:
            setattr(made, field.name, {k: other(v) or copied(v, other) for k, v in value.items()})
        elif field.repeated:
            setattr(made, field.name, [other(v) or copied(v, other) for v in value])
        else:
            setattr(made, field.name, other(value) or copied(value, other))
    return made
