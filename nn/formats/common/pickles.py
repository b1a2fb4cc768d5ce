"""read_pickle: what a pickle holds, by a reader that calls nothing.

A pickle is a program for a machine with a stack; Python's own reader lets it call any function.
This one knows the opcodes that build None, truths, numbers, texts, bytes, lists, tuples and dicts.
A class or function that the pickle names becomes a `Name`, and what it would have called with it a
`Built`: data, which the caller translates or refuses.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsupportedError,
)

__all__ = ["Built", "Name", "Outside", "read_pickle"]


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names: module and qualified name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Built:
    """What a pickle would have made by a call: whom it calls, with what, and the state it sets."""

    maker: Name
    args: tuple[Any, ...]
    state: Any = None
    items: list[Any] = field(default_factory=list)
    pairs: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outside:
    """What lies outside the pickle, by the key that its writer knows it by (a "persistent id")."""

    key: Any


_MARK = object()
_unescape = codecs.getdecoder("raw-unicode-escape")  # found now: reading a file imports nothing
_PRICE = 100  # bytes of an object of Python, or of an entry of a dict


class _Machine:
    def __init__(self, data: bytes, place: str | None, limits: Limits, outside: bool):
        self.data, self.place, self.limits, self.outside = data, place, limits, outside
        self.at = self.nodes = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def error(self, kind: type[FormatError], expected: str, found: Any = None) -> FormatError:
        return kind(expected, found, file=self.place, offset=self.at)

    def take(self, count: int) -> bytes:
        if count < 0 or count > len(self.data) - self.at:
            raise self.error(TruncatedError, f"{count} bytes", len(self.data) - self.at)
        piece = self.data[self.at : self.at + count]
        self.at += count
        return piece

    def line(self) -> str:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise self.error(TruncatedError, "the end of a line")
        piece = self.data[self.at : end]
        self.at = end + 1
        return self.text(piece)

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise self.error(FormatError, f"a text in UTF-8: {error}") from error

    def number(self, code: str) -> Any:
        [value] = struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))
        return value

    def count(self) -> None:
        """One more object, mark or place of the memo; each has its price in memory."""
        self.nodes += 1
        most = min(self.limits.max_nodes, self.limits.overhead(len(self.data)) // _PRICE)
        if self.nodes > most:
            raise self.error(LimitError, f"at most {most} objects", self.nodes)

    def push(self, value: Any) -> None:
        self.count()
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise self.error(FormatError, "an object on the stack")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise self.error(FormatError, "an object on the stack")
        return self.stack[-1]

    def to_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                found = self.stack[i + 1 :]
                del self.stack[i:]
                return found
        raise self.error(FormatError, "a mark on the stack")

    def run(self) -> Any:
        while True:
            code = self.take(1)[0]
            if code == ord("."):
                found = self.pop()
                if self.stack:
                    raise self.error(FormatError, "one object", len(self.stack) + 1)
                return found
            step = _STEPS.get(code)
            if step is None:
                raise self.error(UnsupportedError, "an opcode for data", repr(chr(code)))
            step(self)


def _constant(value: Any) -> Callable[[_Machine], None]:
    return lambda m: m.push(value)


def _of_number(code: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.number(code))


def _bytes_of(code: str, make: Callable[[_Machine, bytes], Any]) -> Callable[[_Machine], None]:
    return lambda m: m.push(make(m, m.take(m.number(code))))


def _tuple_of(count: int) -> Callable[[_Machine], None]:
    def step(m: _Machine) -> None:
        found = [m.pop() for _ in range(count)]
        m.push(tuple(reversed(found)))

    return step


def _put(code: str) -> Callable[[_Machine], None]:
    def step(m: _Machine) -> None:
        m.count()
        m.memo[_place(m) if code == "line" else m.number(code)] = m.top()

    return step


def _get(code: str) -> Callable[[_Machine], None]:
    def step(m: _Machine) -> None:
        key = _place(m) if code == "line" else m.number(code)
        if key not in m.memo:
            raise m.error(FormatError, f"an object in place {key} of the memo")
        m.push(m.memo[key])

    return step


def _place(m: _Machine) -> int:
    text = m.line()
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise m.error(FormatError, "a place of the memo", f"{text[:40]!r}")
    return int(text)


def _mark(m: _Machine) -> None:
    m.count()
    m.stack.append(_MARK)


def _drop_to_mark(m: _Machine) -> None:
    m.to_mark()


def _memoize(m: _Machine) -> None:
    m.count()
    m.memo[len(m.memo)] = m.top()


_PLAIN = (str, bytes, int, float, bool, type(None))


def _key(m: _Machine, key: Any) -> Any:
    if not isinstance(key, (*_PLAIN, tuple)):
        raise m.error(UnsupportedError, "a number or a text as a key", type(key).__name__)
    # the hash of tuples in tuples takes time without bounds: a memo lets one stand in many places
    if isinstance(key, tuple) and any(not isinstance(k, _PLAIN) for k in key):
        raise m.error(UnsupportedError, "numbers and texts in a key")
    return key


def _set(m: _Machine, pairs: list[Any]) -> None:
    if len(pairs) % 2:
        raise m.error(FormatError, "pairs of key and value")
    target = m.top()
    target = target.pairs if isinstance(target, Built) else target
    if not isinstance(target, dict):
        raise m.error(FormatError, "a dict to write into", type(target).__name__)
    for i in range(0, len(pairs), 2):
        target[_key(m, pairs[i])] = pairs[i + 1]


def _set_item(m: _Machine) -> None:
    value, key = m.pop(), m.pop()
    _set(m, [key, value])


def _append(m: _Machine, values: list[Any]) -> None:
    target = m.top()
    target = target.items if isinstance(target, Built) else target
    if not isinstance(target, list):
        raise m.error(FormatError, "a list to add to", type(target).__name__)
    target.extend(values)


def _append_one(m: _Machine) -> None:
    value = m.pop()
    _append(m, [value])


def _named(m: _Machine, module: Any, name: Any) -> None:
    if not isinstance(module, str) or not isinstance(name, str):
        raise m.error(FormatError, "names of a module and of a class")
    m.push(Name(module, name))


def _global(m: _Machine) -> None:
    module = m.line()
    _named(m, module, m.line())


def _stack_global(m: _Machine) -> None:
    name, module = m.pop(), m.pop()
    _named(m, module, name)


def _reduce(m: _Machine) -> None:
    args, maker = m.pop(), m.pop()
    if not isinstance(maker, Name) or not isinstance(args, tuple):
        raise m.error(FormatError, "a name and a tuple of arguments")
    m.push(Built(maker, args))


def _build(m: _Machine) -> None:
    state, target = m.pop(), m.top()
    if not isinstance(target, Built):
        raise m.error(FormatError, "an object that a call made", type(target).__name__)
    target.state = state


def _dict_of(m: _Machine) -> None:
    pairs = m.to_mark()
    m.push({})
    _set(m, pairs)


def _long(m: _Machine, raw: bytes) -> int:
    if len(raw) > 64:
        raise m.error(LimitError, "whole numbers of at most 64 bytes", len(raw))
    return int.from_bytes(raw, "little", signed=True)


def _decimal(m: _Machine) -> None:
    text = m.line().rstrip("L")
    if len(text) > 40:
        raise m.error(LimitError, "whole numbers of at most 40 digits", len(text))
    try:
        m.push({"00": False, "01": True}.get(text, int(text)))
    except ValueError as error:
        raise m.error(FormatError, f"a whole number: {error}") from error


def _fraction(m: _Machine) -> None:
    text = m.line()
    try:
        m.push(float(text))
    except ValueError as error:
        raise m.error(FormatError, f"a number: {text[:40]!r}") from error


def _escaped(m: _Machine) -> None:
    m.push(_unescape(m.line().encode("utf-8", "surrogatepass"))[0])


def _outside(m: _Machine) -> None:
    if not m.outside:
        raise m.error(UnsupportedError, "an opcode for data", "'Q'")
    m.push(Outside(m.pop()))


_STEPS: dict[int, Callable[[_Machine], None]] = {
    0x80: lambda m: None if m.number("B") <= 5 else _too_new(m),
    0x95: lambda m: m.number("Q"),
    ord("("): _mark,
    ord("0"): lambda m: m.pop(),
    ord("1"): _drop_to_mark,
    ord("2"): lambda m: m.push(m.top()),
    ord("N"): _constant(None),
    0x88: _constant(True),
    0x89: _constant(False),
    ord("I"): _decimal,
    ord("L"): _decimal,
    ord("F"): _fraction,
    ord("V"): _escaped,
    ord("J"): _of_number("i"),
    ord("K"): _of_number("B"),
    ord("M"): _of_number("H"),
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    0x8A: _bytes_of("B", _long),
    0x8B: _bytes_of("i", _long),
    ord("X"): _bytes_of("I", _Machine.text),
    0x8C: _bytes_of("B", _Machine.text),
    0x8D: _bytes_of("Q", _Machine.text),
    ord("T"): _bytes_of("i", lambda _, raw: raw),
    ord("U"): _bytes_of("B", lambda _, raw: raw),
    ord("B"): _bytes_of("I", lambda _, raw: raw),
    ord("C"): _bytes_of("B", lambda _, raw: raw),
    0x8E: _bytes_of("Q", lambda _, raw: raw),
    0x96: _bytes_of("Q", lambda _, raw: bytearray(raw)),
    ord("]"): lambda m: m.push([]),
    ord("}"): lambda m: m.push({}),
    ord(")"): lambda m: m.push(()),
    ord("l"): lambda m: m.push(m.to_mark()),
    ord("t"): lambda m: m.push(tuple(m.to_mark())),
    ord("d"): _dict_of,
    0x85: _tuple_of(1),
    0x86: _tuple_of(2),
    0x87: _tuple_of(3),
    ord("a"): _append_one,
    ord("e"): lambda m: _append(m, m.to_mark()),
    ord("s"): _set_item,
    ord("u"): lambda m: _set(m, m.to_mark()),
    ord("p"): _put("line"),
    ord("q"): _put("B"),
    ord("r"): _put("I"),
    ord("g"): _get("line"),
    ord("h"): _get("B"),
    ord("j"): _get("I"),
    0x94: _memoize,
    ord("c"): _global,
    0x93: _stack_global,
    ord("R"): _reduce,
    0x81: _reduce,
    ord("b"): _build,
    ord("Q"): _outside,
}


def _too_new(m: _Machine) -> None:
    raise m.error(UnsupportedError, "a pickle of protocol 0 to 5")


def read_pickle(
    data: bytes,
    place: str | None = None,
    limits: Limits | None = None,
    *,
    outside: bool = False,
) -> Any:
    """What a pickle holds: numbers, texts, bytes, lists, tuples, dicts, `Name` and `Built`.

    outside: whether it may refer to what lies elsewhere, which becomes `Outside`
    Nothing is imported and nothing is called.
    Raises FormatError, or one of its children, for bytes that are no pickle of data.
    """
    machine = _Machine(data, place, limits or Limits(), outside)
    try:
        found = machine.run()
    except (ValueError, OverflowError) as error:
        if isinstance(error, FormatError):
            raise
        raise machine.error(FormatError, f"a pickle: {error}") from error
    if machine.at != len(data):
        raise machine.error(FormatError, "the end of the pickle", f"{len(data) - machine.at} more")
    return found
