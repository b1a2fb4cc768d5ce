"""Schema: the tables of a protobuf format, and what reads and writes its files by them.

    SCHEMA = Schema("caffe", "proto2", [Message("NetParameter", Field(1, "name", "string"), …)])
    net = SCHEMA.read("model.caffemodel", "NetParameter", limits)      # a Record
    SCHEMA.write(net, stream)
    net = SCHEMA.read_text("deploy.prototxt", "NetParameter", limits)  # the text format
    print(SCHEMA.text(net))

The library `protobuf` takes no part.  It would need descriptors made of these same tables, copies
every array, has no limits on memory, and its Python objects would have to be walked once more; one
loop of our own (wire_reading.py) is shorter than the walker for arrays beside it would be, since
that one must understand every field as well.  In the tests the library is the judge: it reads what
we write, and writes what we read.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Any, BinaryIO, Literal

from tapegrad.nn.core.places import mapped
from tapegrad.nn.formats.common.errors import FormatError, LimitError, Limits
from tapegrad.nn.formats.common.records import Record
from tapegrad.nn.formats.common.tables_of_fields import Enum, Field, Message
from tapegrad.nn.formats.common.text_reading import read_text
from tapegrad.nn.formats.common.text_writing import text_of
from tapegrad.nn.formats.common.wire_reading import read_message
from tapegrad.nn.formats.common.wire_writing import write_message

__all__ = ["Enum", "Field", "Message", "Record", "Schema"]

Source = str | os.PathLike[str] | bytes


class Schema:
    """The messages and enumerations of a format.

    package: the name before those of messages, "caffe"
    syntax:  "proto2" or "proto3", which decides what is packed and which fields have presence
    Raises ValueError for two of a name, and for a field of a kind that is not there.
    """

    def __init__(
        self,
        package: str,
        syntax: Literal["proto2", "proto3"],
        messages: Iterable[Message],
        enums: Iterable[Enum] = (),
    ) -> None:
        messages, enums = list(messages), list(enums)
        self.package, self.syntax = package, syntax
        self.messages = {message.name: message for message in messages}
        self.enums = {enum.name: enum for enum in enums}
        if len(self.messages) + len(self.enums) != len(messages) + len(enums):
            raise ValueError(f"{package}: two messages or enumerations have the same name")
        for message in messages:
            message.link(self.messages, self.enums, syntax)

    def new(self, message: str, /, **values: Any) -> Record:
        """A record of the message of this name, with these fields set."""
        record = Record(self.messages[message])
        for field, value in values.items():
            setattr(record, field, value)
        return record

    def read(
        self,
        source: Source,
        root: str,
        limits: Limits | None = None,
        *,
        skipped: Counter[str] | None = None,
        file: str | None = None,
        at: int = 0,
    ) -> Record:
        """The message `root` in a file or in bytes, from byte `at` to the end.

        Fields marked `bulk` are views of the file, which stays mapped as long as they live; copy
        what should outlive a change of the file.  Fields that the tables lack are passed over.
        skipped: counts those, "NetParameter.17"
        file:    the name in errors, of bytes
        Raises FormatError or one of its children, OSError for a file itself.
        """
        limits = limits or Limits()
        data, name = mapped(source)
        name = file if name is None else name
        if limits.max_bytes is not None and len(data) > limits.max_bytes:
            raise LimitError(f"at most {limits.max_bytes} bytes", len(data), file=name)
        return read_message(data, self.messages[root], limits, name, skipped, at)

    def write(self, record: Record, stream: BinaryIO) -> int:
        """Write a record, arrays a part at a time; returns the number of bytes.

        Raises UnsupportedError for what a field can't hold, before anything is written.
        """
        return write_message(record, stream)

    def read_text(
        self,
        source: Source,
        root: str,
        limits: Limits | None = None,
        *,
        skipped: Counter[str] | None = None,
        file: str | None = None,
    ) -> Record:
        """The message `root` in protobuf's text format, in a file or in bytes.

        skipped: None: a field that the tables lack is an error; else it is counted there
        Raises FormatError or one of its children, OSError for a file itself.
        """
        limits = limits or Limits()
        data, name = mapped(source)
        name = file if name is None else name
        if limits.max_bytes is not None and len(data) > limits.max_bytes:
            raise LimitError(f"at most {limits.max_bytes} bytes", len(data), file=name)
        if 4 * len(data) > limits.overhead(len(data)):  # a character has up to four bytes
            most = limits.overhead(len(data)) // 4
            raise LimitError(f"a text of at most {most} bytes", len(data), file=name)
        try:
            text = bytes(data).decode("utf-8")
        except UnicodeDecodeError as error:
            expected, found = "a text in UTF-8", data[error.start : error.end]
            raise FormatError(expected, found, file=name, offset=error.start) from None
        return read_text(text, self.messages[root], limits, name, skipped)

    def text(self, record: Record) -> str:
        """A record in protobuf's text format."""
        return text_of(record)
