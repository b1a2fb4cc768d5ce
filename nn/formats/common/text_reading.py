r"""Reads protobuf's text format, by tables of fields.

    layer { name: "conv"  kernel_size: [3, 3]  pool: MAX }   # comments, lists, names of numbers
    layer < name: 'a\tb' "and on"; >

One loop over the words of the text, without recursion.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.common.errors import FormatError, LimitError, Limits, TruncatedError
from tapegrad.nn.formats.common.records import Record, message_of, values_of
from tapegrad.nn.formats.common.wire_reading import MAX_DEPTH

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.tables_of_fields import Field, Message

__all__ = ["read_text"]

_SPACE = re.compile(r"(?:[\s\x00]+|#[^\n]*)+")
_WORD = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<number>[-+]?\s*(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)[fF]?(?![\w.]))
    |(?P<name>-?\s*[A-Za-z_][\w]*)
    |(?P<mark>[{}<>\[\]:,;])""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(
    rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
_LETTERS = {
    letter.encode(): value.encode()
    for letter, value in zip("ntrabfv\\'\"?", "\n\t\r\a\b\f\v\\'\"?", strict=True)
}
_TRUTHS = {
    **dict.fromkeys(("true", "True", "t", "1"), True),
    **dict.fromkeys(("false", "False", "f", "0"), False),
}
_CLOSING = {"{": "}", "<": ">"}
_LONGEST_NUMBER = 400  # digits: Python takes the square of their number to read them
_RECORD, _ENTRY = 400, 100  # bytes of Python objects


def read_text(
    text: str, message: Message, limits: Limits, file: str | None, skipped: Counter[str] | None
) -> Record:
    """The record in a text.  Raises FormatError or one of its children, with the line."""
    return _Parser(text, limits, file, skipped).run(message)


class _Frame:
    """A message that is being read; `field` is None in one that the tables do not have."""

    __slots__ = ("closing", "entry", "field", "message", "record", "values")

    def __init__(self, record: Record | None, closing: str, field: Field | None) -> None:
        self.record, self.closing, self.field = record, closing, field
        self.message = None if record is None else message_of(record)
        self.values = {} if record is None else values_of(record)
        self.entry = field is not None and self.message is not None and self.message is field.entry


class _Parser:
    def __init__(
        self, text: str, limits: Limits, file: str | None, skipped: Counter[str] | None
    ) -> None:
        self.text, self.limits, self.file, self.skipped = text, limits, file, skipped
        self.at = self.nodes = 0
        self.left = limits.overhead(len(text)) - 4 * len(text)
        self.kind, self.word = "", ""
        self.stack: list[_Frame] = []
        self.bulk: list[tuple[Record, Field]] = []

    def error(self, kind: type[FormatError], expected: str, found: Any = None) -> FormatError:
        line = self.text.count("\n", 0, self.at) + 1
        names = [frame.field.name if frame.field else "?" for frame in self.stack[1:]]
        offset = len(self.text[: self.at].encode("utf-8", "surrogatepass"))
        expected = f"line {line}: {expected}"
        path = ".".join(["root", *names])
        return kind(expected, found, file=self.file, offset=offset, path=path)

    def spend(self, size: int) -> None:
        self.nodes += 1
        self.left -= size
        if self.nodes > self.limits.max_nodes or self.left < 0:
            raise self.error(LimitError, "a text with fewer values")

    # Words

    def next(self) -> None:
        """Go to the next word; its kind is "" at the end of the text."""
        space = _SPACE.match(self.text, self.at)
        if space is not None:
            self.at = space.end()
        found = _WORD.match(self.text, self.at)
        if found is None:
            if self.at < len(self.text):
                raise self.error(FormatError, "a word", repr(self.text[self.at : self.at + 20]))
            self.kind = self.word = ""
            return
        self.kind, self.word, self.at = found.lastgroup or "", found[0], found.end()

    def wrong(self, expected: str) -> FormatError:
        if not self.kind:
            return self.error(TruncatedError, expected, "the end of the text")
        return self.error(FormatError, expected, f"{self.word:.40}")

    # The loop

    def run(self, message: Message) -> Record:
        root = Record(message)
        self.enter(root, "", None)
        self.next()
        while True:
            frame = self.stack[-1]
            if self.word == frame.closing and self.kind in ("", "mark"):
                if len(self.stack) == 1:
                    break
                self.leave(frame)
                self.next()
                while self.kind == "mark" and self.word in ",;":
                    self.next()
                continue
            if self.kind != "name":
                raise self.wrong(f"the name of a field or {frame.closing or 'the end'}")
            self.one_field(frame)
        for record, field in self.bulk:
            values = values_of(record)
            values[field.name] = np.array(values[field.name], field.dtype)
        return root

    def enter(self, record: Record | None, closing: str, field: Field | None) -> None:
        if len(self.stack) >= min(MAX_DEPTH, self.limits.max_depth):
            raise self.error(LimitError, f"messages in messages, at most {MAX_DEPTH} deep")
        self.stack.append(_Frame(record, closing, field))
        self.spend(_RECORD)

    def leave(self, frame: _Frame) -> None:
        self.stack.pop()
        if not frame.entry:
            return
        entry, field = frame.record, frame.field
        assert entry is not None
        assert field is not None
        value = frame.values.get("value")
        if value is None:
            value = Record(field.message) if field.message is not None else entry.value
        self.stack[-1].values.setdefault(field.name, {})[entry.key] = value

    def one_field(self, frame: _Frame) -> None:
        name, message = self.word, frame.message
        field = None if message is None else message.by_name.get(name)
        if message is not None and field is None:
            if self.skipped is None:
                expected = f"a field of {message.name}"
                raise self.error(FormatError, expected, f"{name:.60}")
            self.spend(_ENTRY)
            self.skipped[f"{message.name}.{name:.60}"] += 1
        self.next()
        colon = self.kind == "mark" and self.word == ":"
        if colon:
            self.next()
        if self.kind == "mark" and self.word == "[":
            self.several(frame, field)
        elif self.kind == "mark" and self.word in _CLOSING:
            self.child(frame, field)
            return  # the separators come after its end
        elif not colon:
            raise self.wrong("':' or '{'")
        else:
            self.scalar(frame, field)
        while self.kind == "mark" and self.word in ",;":
            self.next()

    def several(self, frame: _Frame, field: Field | None) -> None:
        """A list of numbers, texts or messages: its messages are read by a parser of their own."""
        if field is not None and not field.repeated:
            raise self.error(FormatError, f"one value for {field.name}", "a list")
        self.next()
        while not (self.kind == "mark" and self.word == "]"):
            if self.kind == "mark" and self.word in _CLOSING:
                depth = len(self.stack)
                self.child(frame, field)
                self.until(depth)
            else:
                self.scalar(frame, field)
            if self.kind == "mark" and self.word == ",":
                self.next()
                if self.kind == "mark" and self.word == "]":
                    raise self.wrong("a value after the comma")
            elif not (self.kind == "mark" and self.word == "]"):
                raise self.wrong("',' or ']'")
        self.next()

    def until(self, depth: int) -> None:
        """Read on until the message that was entered last is left; lists nest as messages do."""
        while len(self.stack) > depth:
            frame = self.stack[-1]
            if self.kind == "mark" and self.word == frame.closing:
                self.leave(frame)
                self.next()
                while len(self.stack) > depth and self.kind == "mark" and self.word in ",;":
                    self.next()
            elif self.kind == "name":
                self.one_field(frame)
            else:
                raise self.wrong(f"the name of a field or {frame.closing}")

    def child(self, frame: _Frame, field: Field | None) -> None:
        closing = _CLOSING[self.word]
        if field is None or frame.record is None:
            self.enter(None, closing, None)
        elif field.entry is not None:
            self.enter(Record(field.entry), closing, field)
        elif field.message is None:
            raise self.wrong(f"a value for {field.name}")
        elif field.repeated:
            record = Record(field.message)
            frame.values.setdefault(field.name, []).append(record)
            self.enter(record, closing, field)
        else:
            if field.name in frame.values:
                raise self.error(FormatError, f"{field.name} once")
            record = Record(field.message)
            setattr(frame.record, field.name, record)
            self.enter(record, closing, field)
        self.next()

    # Values

    def scalar(self, frame: _Frame, field: Field | None) -> None:
        if self.kind not in ("string", "number", "name"):
            raise self.wrong("a value")
        if field is None or frame.record is None:
            kind = self.kind
            self.next()
            while kind == "string" and self.kind == "string":
                self.next()
            return
        if field.message is not None or field.entry is not None:
            raise self.wrong(f"'{{' for {field.name}")
        if not field.repeated and field.name in frame.values:
            raise self.error(FormatError, f"{field.name} once")
        if field.kind in ("string", "bytes"):
            value: Any = self.string(field)
        else:
            value = self.number(field)
            self.next()
        self.spend(_ENTRY)
        if not field.repeated:
            setattr(frame.record, field.name, value)
            return
        if field.bulk and field.dtype is not None and field.name not in frame.values:
            self.bulk.append((frame.record, field))
        frame.values.setdefault(field.name, []).append(value)

    def string(self, field: Field) -> Any:
        pieces: list[bytes] = []
        if self.kind != "string":
            raise self.wrong(f"a text in quotes for {field.name}")
        while self.kind == "string":
            raw = self.word[1:-1].encode("utf-8", "surrogatepass")
            self.spend(_ENTRY + 4 * len(raw))
            pieces.append(_ESCAPE.sub(self.unescaped, raw) if b"\\" in raw else raw)
            self.next()
        whole = b"".join(pieces)
        if field.kind == "bytes":
            return np.frombuffer(whole, np.uint8) if field.bulk else whole
        try:
            return whole.decode("utf-8")
        except UnicodeDecodeError:
            raise self.error(FormatError, f"a text in UTF-8 for {field.name}", whole[:40]) from None

    def unescaped(self, match: re.Match[bytes]) -> bytes:
        octal, hexadecimal, short, long, letter = match.groups()
        if octal or hexadecimal:
            number = int(octal or hexadecimal, 8 if octal else 16)
            if number > 255:
                raise self.error(FormatError, "a byte", match[0].decode())
            return bytes([number])
        if short or long:
            number = int(short or long, 16)
            if number > 0x10FFFF or 0xD800 <= number < 0xE000:
                raise self.error(FormatError, "a character", match[0].decode())
            return chr(number).encode()
        if letter not in _LETTERS:
            raise self.error(FormatError, "an escape that is known", ascii(match[0]))
        return _LETTERS[letter]

    def number(self, field: Field) -> Any:
        word = re.sub(r"\s+", "", self.word)
        if len(word) > _LONGEST_NUMBER:
            raise self.wrong("a number of fewer digits")
        if field.kind == "bool":
            if word not in _TRUTHS:
                raise self.wrong(f"true or false for {field.name}")
            return _TRUTHS[word]
        if field.enum is not None and self.kind == "name":
            if word not in field.enum.numbers:
                raise self.wrong(f"one of {', '.join(field.enum.numbers)} for {field.name}")
            return field.enum.numbers[word]
        if field.kind in ("float", "double"):
            return self.real(word, field)
        if self.kind != "number":
            raise self.wrong(f"a number for {field.name}")
        return self.integer(word, field)

    def real(self, word: str, field: Field) -> float:
        plain = word.lower().removesuffix("f") if "0x" not in word.lower() else word
        if word.lower().lstrip("+-") in ("inf", "infinity", "nan", "inff"):
            plain = word.lower().replace("inff", "inf")
        elif self.kind != "number":
            raise self.wrong(f"a number for {field.name}")
        try:
            value = float(int(plain, 16)) if "0x" in plain.lower() else float(plain)
        except (ValueError, OverflowError):
            raise self.wrong(f"a number for {field.name}") from None
        if field.kind == "float":
            with np.errstate(over="ignore"):
                return float(np.float32(value))
        return value

    def integer(self, word: str, field: Field) -> int:
        sign, digits = (-1, word[1:]) if word.startswith("-") else (1, word.lstrip("+"))
        try:
            if digits[:2].lower() == "0x":
                value = sign * int(digits, 16)
            elif digits[:1] == "0" and digits.isdigit():
                value = sign * int(digits, 8)
            else:
                value = sign * int(digits)
        except ValueError:
            raise self.wrong(f"a whole number for {field.name}") from None
        assert field.dtype is not None
        limits = np.iinfo(field.dtype)
        if not limits.min <= value <= limits.max:
            raise self.wrong(f"a number of {8 * field.dtype.itemsize} bits for {field.name}")
        return value
