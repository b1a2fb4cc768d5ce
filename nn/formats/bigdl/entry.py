"""Entry: how a class of BigDL lies in its files; a line of text declares one.

    Linear(inputSize:i#weight.1, outputSize:i#weight.0, withBias:b#bias, …) weight bias

In parentheses are BigDL's attributes, in its order:

    name:kind            the kind says the type in the file and what the value means, see KINDS
    name:kind?v          v in the file is None here
    name:kind>argument   the argument of our constructor, where it has another name
    name:kind@field      our attribute, where it has another name (else it is the argument's)
    name:kind=v          what a file without the attribute means
    name:kind!v          we write v, and read nothing: a choice that we do not have
    name:kind#array.k    the length of an axis of one of our arrays; `#array` alone says whether it
                         is there, or, of kind I, its whole shape.  Such values are not read

Behind them are our arrays in the order of BigDL's parameters; `weight/rule` changes the order of
axes (layouts.py).  A class with arrays is made without its constructor, from what the file has;
others by their constructors, which check what they are given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tapegrad.nn.formats.bigdl.attributes import (
    INTEGERS,
    NULL,
    array_attr,
    attr,
    attribute_value,
    null_attr,
)
from tapegrad.nn.formats.bigdl.fields import SCHEMA
from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["Entry", "Param", "declared", "regularizer_attr"]


def _from_one(value: int) -> int:
    """A position that counts from 1, counted from 0; negative ones count from the end in both."""
    return value - 1 if value > 0 else value


def _to_one(value: int) -> int:
    return value + 1 if value >= 0 else value


def _same(value: Any) -> Any:
    return value


def _integer(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise ValueError("a whole number")
    return int(value)


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("a number")  # noqa: TRY004  # told of the file
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")  # noqa: TRY004  # told of the file
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004  # told of the file
    return value


def _integers(value: Any) -> list[int]:
    if not isinstance(value, list):
        raise ValueError("a list of whole numbers")  # noqa: TRY004  # told of the file
    return [_integer(each) for each in value]


@dataclass(frozen=True)
class AttributeKind:
    """A kind of attribute: BigDL's type, whether there is a list, and what the value becomes."""

    type: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = _same
    several: bool = False


KINDS = {
    "i": AttributeKind("INT32", _integer, _integer),
    "d": AttributeKind("DOUBLE", _real, float),
    "b": AttributeKind("BOOL", _truth, bool),
    "s": AttributeKind("STRING", _text),
    "F": AttributeKind("DATA_FORMAT", _text),
    "a": AttributeKind("INT32", lambda v: _from_one(_integer(v)), lambda v: _to_one(_integer(v))),
    "I": AttributeKind("INT32", _integers, lambda v: [_integer(each) for each in v], True),
    "A": AttributeKind(
        "INT32",
        lambda v: [_from_one(each) for each in _integers(v)],
        lambda v: [_to_one(_integer(each)) for each in v],
        True,
    ),
}
# Attributes that are not ours to keep: initial values, which are null in files of trained models.
NULLS = {"R": "REGULARIZER", "T": "TENSOR", "M": "MODULE"}
_PARAM = re.compile(
    r"(?P<name>\w+):(?P<kind>\w)(?:\?(?P<none>-?\d+))?(?:>(?P<argument>\w+))?"
    r"(?:@(?P<field>\w+))?(?:=(?P<default>[\w.-]+))?"
    r"(?:!(?P<constant>\w+))?(?:#(?P<array>\w+)(?:\.(?P<axis>\d+))?)?"
)
_METHODS = {
    "wRegularizer": "setWRegularizer",
    "bRegularizer": "setBRegularizer",
    "uRegularizer": "setURegularizer",
}


@dataclass(frozen=True)
class Param:
    """One attribute of a class; the fields are those of the text that declares it."""

    name: str
    kind: str
    argument: str
    field: str
    none: int | None = None
    default: Any = NULL
    constant: Any = NULL
    array: str | None = None
    axis: int | None = None

    def read(self, attrs: Mapping[str, Record], file: str | None, path: str) -> Any:
        """The value in the file, in our numbers.  Raises FormatError for what it can't be."""
        place = f"{path}.{self.name}"
        if self.name not in attrs:
            if self.default is NULL:
                raise FormatError(f"the attribute {self.name}", file=file, path=path)
            return self.default
        value, kind = attribute_value(attrs[self.name]), KINDS[self.kind]
        if value is NULL:
            if self.default is not NULL:
                return self.default
            raise FormatError("a value", "null", file=file, path=place)
        try:
            return None if self.none is not None and value == self.none else kind.read(value)
        except ValueError as error:
            raise FormatError(str(error), f"{value!r:.60}", file=file, path=place) from None

    def write(self, module: Any, path: str) -> Record:
        """The attribute of a module.  Raises UnsupportedError for what BigDL can't be told."""
        if self.kind in NULLS:
            regularizer = _regularizer_of(module, self.name) if self.kind == "R" else None
            if regularizer is not None:
                return regularizer_attr(regularizer)
            return null_attr(NULLS[self.kind])
        kind = KINDS[self.kind]
        try:
            value = self._value(module)
            if value is None:
                if self.none is None and not kind.several:
                    raise ValueError("a value")  # noqa: TRY301  # beside what kinds raise
                value = self.none
            else:
                value = kind.write(value)
            if kind.type == "INT32" and value is not None:
                for number in value if kind.several else [value]:
                    if number not in INTEGERS:
                        raise ValueError("a number of 32 bits")  # noqa: TRY301  # as above
        except (ValueError, TypeError, AttributeError) as error:
            name = type(module).__name__
            expected = f"{name}.{self.name}: {error}"
            raise UnsupportedError(expected, path=f"{path}.{self.field}") from error
        return array_attr(kind.type, value) if kind.several else attr(kind.type, value)

    def _value(self, module: Any) -> Any:
        if self.constant is not NULL:
            return self.constant
        if self.array is None:
            return getattr(module, self.field)
        found = getattr(module, self.array)
        if self.axis is not None:
            return found.shape[self.axis]
        return found.shape if self.kind == "I" else found is not None


def _regularizer_of(module: Any, name: str) -> Any:
    return module._regularizers.get(name[0])


def regularizer_attr(regularizer: Any) -> Record:
    """The attribute of a regularizer."""
    kinds = SCHEMA.enums["RegularizerType"]
    name = type(regularizer).__name__
    if name not in kinds.numbers:
        name = "L1L2Regularizer"
    made = SCHEMA.new(
        "Regularizer",
        regularizerType=kinds[name],
        regularData=[float(regularizer.l1), float(regularizer.l2)],
    )
    return attr("REGULARIZER", made)


@dataclass(frozen=True)
class Entry:
    """How a class lies in BigDL's files.

    name, cls: BigDL's name, and our class
    params:    its attributes; arrays: (our attribute, rule for its axes) in BigDL's order
    check:     (values) -> our constructor's arguments, or attributes: what one attribute alone can
               not say; raises ValueError
    made:      whether the constructor makes it (of classes with arrays it doesn't)
    read:      (reader, record, path, entry) -> module, for classes that are more than attributes
    write:     (writer, module, record, path) sets what the table can't say
    options:   our attributes that BigDL lacks, with the value that means what BigDL does; another
               can't be written
    least:     how many of the arrays a file must have; None: all, but for a bias behind others
    types:     how many types the Scala class has; BigDL's loader counts them
    more:      further attributes of a layer that is made without its constructor
    """

    name: str
    cls: Any
    params: tuple[Param, ...] = ()
    arrays: tuple[tuple[str, str], ...] = ()
    check: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    made: bool = True
    read: Callable[[Any, Record, str, Any], Any] | None = None
    write: Callable[[Any, Any, Record, str], None] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    least: int | None = None
    types: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)

    def values(self, attrs: Mapping[str, Record], file: str | None, path: str) -> dict[str, Any]:
        """What the attributes of a record say, by the arguments of our constructor (`made`) or by
        our attributes.
        """
        return {
            (param.argument if self.made else param.field): param.read(attrs, file, path)
            for param in self.params
            if param.kind in KINDS and param.array is None and param.constant is NULL
        }


def declared(text: str, classes: Any, **options: Any) -> Entry:
    """The entry that a line declares.  classes: what has our class by BigDL's name.

    Raises ValueError for a line that is no declaration.
    """
    match = re.fullmatch(r"(\w+)(?:\((.*)\))?((?: \w+(?:/\w+)?)*)", text.strip())
    if match is None:
        raise ValueError(f"no declaration: {text}")
    params = []
    for word in filter(None, re.split(r",\s*", match[2] or "")):
        found = _PARAM.fullmatch(word)
        if found is None:
            raise ValueError(f"{match[1]}: no attribute: {word}")
        argument = found["argument"] or found["name"]
        params.append(
            Param(
                found["name"],
                found["kind"],
                argument,
                found["field"] or argument,
                None if found["none"] is None else int(found["none"]),
                NULL if found["default"] is None else _default(found["default"]),
                NULL if found["constant"] is None else _default(found["constant"]),
                found["array"],
                None if found["axis"] is None else int(found["axis"]),
            )
        )
    arrays = [(w.partition("/")[0], w.partition("/")[2]) for w in (match[3] or "").split()]
    options.setdefault("made", not arrays)
    cls = options.pop("cls", None) or getattr(classes, match[1])
    return Entry(match[1], cls, tuple(params), tuple(arrays), **options)


def _default(word: str) -> Any:
    known: dict[str, Any] = {"true": True, "false": False, "none": None}
    if word in known:
        return known[word]
    try:
        return int(word)
    except ValueError:
        try:
            return float(word)
        except ValueError:
            return word
