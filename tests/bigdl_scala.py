"""A small reader of Scala: constructor calls as BigDL's recordings write them, evaluated in Python.

It knows calls with positional and named arguments, type arguments, methods, tuples, literals and
blocks that declare values: what one line of layers_manifest.txt holds.  Names are looked up in a
dict; numbers stay as they are written, 1-based ones too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Call", "evaluate"]

TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d+\.?\d*(?:[eE][-+]?\d+)?[fFdDlL]?)
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<name>[A-Za-z_]\w*)
      | (?P<sign>[-+*/(){}\[\],.;=:])
    )""",
    re.VERBOSE,
)
CONSTANTS = {"true": True, "false": False, "null": None, "None": None}


class Call:
    """The arguments of one call: `positional`, and `named` by their names."""

    def __init__(self, positional: list[Any], named: dict[str, Any]) -> None:
        self.positional = positional
        self.named = named


class Reader:
    """Reads one text from left to right; `names` has what it may refer to."""

    def __init__(self, text: str, names: Mapping[str, Any]) -> None:
        self.text = text
        self.names = dict(names)
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(text.rstrip()):
            match = TOKEN.match(text, position)
            if match is None:
                raise ValueError(f"{text!r}: what is at character {position}?")
            self.tokens.append((str(match.lastgroup), match.group(str(match.lastgroup))))
            position = match.end()
        self.at = 0

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead][1] if self.at + ahead < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> tuple[str, str]:
        if self.at >= len(self.tokens) or wanted not in (None, self.peek()):
            raise ValueError(f"{self.text!r}: {wanted!r} expected, not {self.peek()!r}")
        self.at += 1
        return self.tokens[self.at - 1]

    def expression(self) -> Any:
        value = self.product()
        while self.peek() in ("+", "-"):
            _, sign = self.take()
            other = self.product()
            value = value + other if sign == "+" else value - other
        return value

    def product(self) -> Any:
        value = self.signed()
        while self.peek() in ("*", "/"):
            _, sign = self.take()
            other = self.signed()
            if sign == "*":
                value = value * other
            else:
                whole = isinstance(value, int) and isinstance(other, int)
                value = value // other if whole else value / other
        return value

    def signed(self) -> Any:
        if self.peek() == "-":
            self.take()
            return -self.signed()
        return self.postfix()

    def postfix(self) -> Any:
        value = self.atom()
        while self.peek() == ".":
            self.take()
            _, name = self.take()
            self.type_arguments()
            arguments = self.arguments() if self.peek() == "(" else Call([], {})
            value = self.method(value, name, arguments)
        return value

    def method(self, value: Any, name: str, call: Call) -> Any:
        if name in ("asInstanceOf", "toArray", "toTensor"):
            return value
        if isinstance(value, Call):
            raise TypeError(f"{self.text!r}: no {name} of arguments")
        return getattr(value, name)(*call.positional, **call.named)

    def atom(self) -> Any:
        kind, word = self.take()
        if kind == "number":
            return number(word)
        if kind == "string":
            return word[1:-1]
        if word == "(":
            parts = [self.expression()]
            while self.peek() == ",":
                self.take()
                parts.append(self.expression())
            self.take(")")
            return parts[0] if len(parts) == 1 else tuple(parts)
        if word == "{":
            return self.block()
        if kind != "name":
            raise ValueError(f"{self.text!r}: {word!r} starts no expression")
        return self.reference(word)

    def reference(self, word: str) -> Any:
        if word == "new":
            _, word = self.take()
        if word in CONSTANTS:
            return CONSTANTS[word]
        full = word
        if f"{word}.{self.peek(1)}" in self.names:  # a member of the object beside the class
            self.take(".")
            full = f"{word}.{self.take()[1]}"
        while full not in self.names and self.peek() == ".":  # a package, or an object's member
            self.take()
            _, word = self.take()
            full = f"{full}.{word}"
            if word in self.names and full not in self.names and full[0].islower():
                full = word
        if full not in self.names:
            raise ValueError(f"{self.text!r}: {full!r} is not known here")
        self.type_arguments()
        value = self.names[full]
        if not callable(value) or getattr(value, "is_value", False):
            return value
        call = self.arguments() if self.peek() == "(" else Call([], {})
        made: Callable[..., Any] = value
        return made(*call.positional, **call.named)

    def block(self) -> Any:
        """{ val c = X; c.add(…); c }: the value of the last statement."""
        value = None
        while self.peek() != "}":
            if self.peek() in ("val", "var"):
                self.take()
                _, name = self.take()
                self.take("=")
                made = self.expression()
                self.names[name] = Named(made)
            else:
                value = self.expression()
                value = value.value if isinstance(value, Named) else value
            if self.peek() == ";":
                self.take()
        self.take("}")
        return value

    def type_arguments(self) -> None:
        depth = 0
        while self.peek() == "[" or depth:
            _, word = self.take()
            depth += (word == "[") - (word == "]")
            if not depth:
                return

    def arguments(self) -> Call:
        call = Call([], {})
        self.take("(")
        while self.peek() != ")":
            if self.peek(1) == "=":
                _, name = self.take()
                self.take("=")
                call.named[name] = self.expression()
            else:
                call.positional.append(self.expression())
            if self.peek() == ",":
                self.take()
        self.take(")")
        return call


class Named:
    """A value that a block gave a name: its methods are those of the value."""

    is_value = True

    def __init__(self, value: Any) -> None:
        self.value = value

    def __getattr__(self, name: str) -> Any:
        return getattr(self.value, name)


def number(word: str) -> int | float:
    digits = word.rstrip("fFdDlL")
    whole = digits.isdigit() and word[-1] not in "fFdD"
    return int(digits) if whole else float(digits)


def evaluate(text: str, names: Mapping[str, Any]) -> Any:
    """The value of a Scala expression.

    names: what it may refer to, functions and values.  Raises ValueError for what is not understood
    """
    reader = Reader(text, names)
    value = reader.expression()
    if reader.at != len(reader.tokens):
        raise ValueError(f"{text!r}: {reader.peek()!r} follows the expression")
    return value.value if isinstance(value, Named) else value
