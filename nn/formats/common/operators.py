"""The operators of a format: one entry for each, which says how it is read and how it is written.

A format that is made of layers (Caffe, TensorFlow) has one table, `Operators`, with one Operator
for each name that stands in its files.  The table is the only declaration: readers and writers ask
it, it names what is refused, and docs and tests go over its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tapegrad.nn.formats.common.errors import UnsafeError, UnsupportedError

__all__ = ["Operator", "Operators"]


@dataclass(frozen=True)
class Operator:
    """One operator of a format.

    name:    as the format's files have it: "Convolution", "Conv2D"
    read:    (what the format's reader hands on) -> what it takes: layers with their weights; None
             where the operator is only written
    write:   layer class -> (what the format's writer hands on) -> what it takes.  Only these very
             classes: a subclass may compute something else
    aliases: other names of it in files, old ones and misspelled ones
    note:    what a user must know: what is lost, ignored, or the limits of the entry
    """

    name: str
    read: Callable[..., Any] | None = None
    write: Mapping[type, Callable[..., Any]] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    note: str = ""


class Operators:
    """The table of a format's operators.

    format: its name for messages, "Caffe"
    unsafe: names of operators that run code or touch the outside, which raise UnsafeError, with
            what they do
    lists:  the families of entries.  Raises ValueError for a name or a class that two entries have
    """

    def __init__(
        self, format: str, *lists: list[Operator], unsafe: Mapping[str, str] | None = None
    ) -> None:
        self.format, self.unsafe = format, dict(unsafe or {})
        self._readers: dict[str, Operator] = {}
        self._writers: dict[type, tuple[Operator, Callable[..., Any]]] = {}
        self._rows: list[Operator] = []
        for family in lists:
            for operator in family:
                self._enter(operator)

    def _enter(self, operator: Operator) -> None:
        for name in (operator.name, *operator.aliases):
            if name in self._readers or name in self.unsafe:
                raise ValueError(f"{self.format}: two entries for {name}")
            self._readers[name] = operator
        for cls, write in operator.write.items():
            if cls in self._writers:
                raise ValueError(f"{self.format}: two entries write {cls.__name__}")
            self._writers[cls] = (operator, write)
        self._rows.append(operator)

    def __iter__(self) -> Iterator[Operator]:
        return iter(self._rows)

    def __contains__(self, name: str) -> bool:
        return name in self._readers

    def written_classes(self) -> list[type]:
        """The layer classes that the format can say."""
        return list(self._writers)

    def reader(self, name: str, path: str, file: str | None = None) -> Operator:
        """The entry that reads an operator.

        Raises UnsafeError for one that runs code, UnsupportedError for one that has no reader; both
        name it and its place, `path`.
        """
        if name in self.unsafe:
            expected = f"a {self.format} file without code ({self.unsafe[name]})"
            raise UnsafeError(expected, name, path=path, file=file)
        operator = self._readers.get(name)
        if operator is None or operator.read is None:
            expected = f"an operator of {self.format} that tapegrad reads"
            raise UnsupportedError(expected, _shown(name), path=path, file=file)
        return operator

    def writer(self, layer: Any, path: str) -> tuple[Operator, Callable[..., Any]]:
        """The entry that writes a layer, and its function.

        Raises UnsupportedError, which names class and place, where there is none.
        """
        try:
            return self._writers[type(layer)]
        except KeyError:
            expected = f"a layer that {self.format} has a word for"
            raise UnsupportedError(expected, f"nn.{type(layer).__name__}", path=path) from None


def _shown(name: str) -> str:
    """A name out of a file, short enough for a message."""
    return repr(name if len(name) <= 60 else f"{name[:60]}…")
